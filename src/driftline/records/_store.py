"""What the parts that must remember need of a store; `driftline.stores` keeps the promise.

Four facilities, each small: documents with a version to compare and swap, an append-only
history, outgoing items in order, and leases. Whatever belongs together is written together:
`Store.write` takes any mix of changes and does all of them or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen
from attrs.validators import optional

from driftline._checks import LARGEST_INTEGER, a, number
from driftline._clock import as_utc

JsonObject: TypeAlias = Mapping[str, Any]
"""What ``json.dumps`` takes and ``json.loads`` gives back equal: str keys, no NaN."""

_TEXT = a(str, "text")
_OBJECT = a(Mapping, "a JSON object, such as a dict")
_WHOLE = number("a whole number from 0 to 2**63 - 1", least=0, most=LARGEST_INTEGER, whole=True)


def _utc(value: datetime) -> datetime:
    return as_utc(value, name="a time of the store")


def _utc_or_none(value: datetime | None) -> datetime | None:
    return None if value is None else _utc(value)


@frozen(kw_only=True)
class Document:
    """A JSON object under a name.

    Attributes:
        space: whose it is, such as ``"monitor/state"``; parts do not read each other's spaces.
        key: its name within the space.
        value: the object.
        version: 1 when it was first written, one more at each write.
    """

    space: str
    key: str
    value: JsonObject
    version: int


@frozen(kw_only=True)
class Entry:
    """One line of a history.

    Attributes:
        space: whose it is.
        key: what it is about.
        at: the time it is about, UTC.
        record: what happened.
    """

    space: str
    key: str
    at: datetime
    record: JsonObject


@frozen(kw_only=True)
class Item:
    """Something that waits to be sent.

    Attributes:
        id: place in the order; later items have greater ones.
        queue: to whom.
        key: items of one key leave in order.
        payload: what to send.
        created: when it was written, UTC.
        due: not to be tried before, UTC.
        expires: not to be tried after, UTC; None: never too late.
        attempts: how often it was tried in vain.
        error: what came of the last try, "" before the first.
    """

    id: int
    queue: str
    key: str
    payload: JsonObject
    created: datetime
    due: datetime
    expires: datetime | None = None
    attempts: int = 0
    error: str = ""


@frozen(kw_only=True)
class DeadItem:
    """Something that was given up, and why."""

    item: Item
    at: datetime
    reason: str


@frozen(kw_only=True)
class Lease:
    """The right to work alone for a while.

    Attributes:
        name: what is held.
        holder: who holds it.
        token: greater than that of every earlier holder: a write that carries an old one is
            refused, so that a run that was suspended cannot overwrite its successor's work.
        since: when it was taken, or renewed, UTC.
        until: end of it unless renewed, UTC.
    """

    name: str
    holder: str
    token: int = field(validator=_WHOLE)
    since: datetime
    until: datetime

    def holds(self, now: datetime) -> bool:
        """Whether it keeps others out.

        Not when it has run out, and not when it was taken further ahead of `now` than it is
        long: then the clock was wrong and has been set back since, and who took it may be long
        gone. Less than that may be the difference between the clocks of two machines.
        """
        return now < self.until and self.since - now < self.until - self.since


@frozen(kw_only=True)
class Put:
    """Write a document.

    Attributes:
        space: as in `Document`.
        key: as in `Document`.
        value: as in `Document`.
        version: the version it was read at, 0 when it must be new, None to write in any case.
    """

    space: str = field(validator=_TEXT)
    key: str = field(validator=_TEXT)
    value: JsonObject = field(validator=_OBJECT)
    version: int | None = field(default=None, validator=optional(_WHOLE))


@frozen(kw_only=True)
class Remove:
    """Delete a document, if it is there; `version` as in `Put`, but never 0."""

    space: str = field(validator=_TEXT)
    key: str = field(validator=_TEXT)
    version: int | None = field(default=None, validator=optional(_WHOLE))


@frozen(kw_only=True)
class Append:
    """Add a line to a history; nothing ever changes one."""

    space: str = field(validator=_TEXT)
    key: str = field(validator=_TEXT)
    at: datetime = field(converter=_utc)
    record: JsonObject = field(validator=_OBJECT)


@frozen(kw_only=True)
class Trim:
    """Forget the lines of a history's space that are about a time before this."""

    space: str = field(validator=_TEXT)
    before: datetime = field(converter=_utc)


@frozen(kw_only=True)
class Enqueue:
    """Add an item to the end of a queue."""

    queue: str = field(validator=_TEXT)
    key: str = field(validator=_TEXT)
    payload: JsonObject = field(validator=_OBJECT)
    at: datetime = field(converter=_utc)
    due: datetime | None = field(default=None, converter=_utc_or_none)
    expires: datetime | None = field(default=None, converter=_utc_or_none)


@frozen(kw_only=True)
class Settle:
    """The item was sent, or is not to be sent any more: forget it."""

    id: int = field(validator=_WHOLE)


@frozen(kw_only=True)
class Postpone:
    """The item was tried in vain: one more attempt, next at `due`."""

    id: int = field(validator=_WHOLE)
    due: datetime = field(converter=_utc)
    error: str = field(validator=_TEXT)


@frozen(kw_only=True)
class Bury:
    """The item is given up: move it to the dead."""

    id: int = field(validator=_WHOLE)
    at: datetime = field(converter=_utc)
    reason: str = field(validator=_TEXT)


@frozen(kw_only=True)
class Revive:
    """A dead item is to be tried again: back to the end of its queue, without expiry."""

    id: int = field(validator=_WHOLE)
    at: datetime = field(converter=_utc)


@frozen(kw_only=True)
class Drop:
    """A dead item is dealt with: forget it."""

    id: int = field(validator=_WHOLE)


Change: TypeAlias = (
    Put | Remove | Append | Trim | Enqueue | Settle | Postpone | Bury | Revive | Drop
)
"""One of the writes that a store does all together or not at all."""


@runtime_checkable
class Store(Protocol):
    """Memory that survives a restart.

    Every method may raise `driftline.errors.StoreError`. Methods may be called from any thread.
    """

    def get(self, space: str, key: str) -> Document | None:
        """One document, None when there is none."""
        ...

    def scan(self, space: str) -> Sequence[Document]:
        """All documents of a space, by key."""
        ...

    def history(
        self,
        space: str,
        key: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> Sequence[Entry]:
        """Lines of a history in order of time, those of one time in order of writing.

        Args:
            space: whose.
            key: about what; None: everything in the space.
            since: from this time on, inclusive.
            until: up to this time, exclusive.
            last: only so many, the newest.
        """
        ...

    def waiting(self, queue: str, *, limit: int | None = None) -> Sequence[Item]:
        """What waits in a queue, in order, due or not."""
        ...

    def queues(self, prefix: str = "") -> Mapping[str, int]:
        """How many items wait in each queue whose name begins so; empty ones are left out."""
        ...

    def dead(self, prefix: str = "", *, limit: int | None = None) -> Sequence[DeadItem]:
        """What was given up in the queues whose name begins so, newest first."""
        ...

    def write(self, changes: Sequence[Change], *, lease: Lease | None = None) -> None:
        """Do all changes, durably, or none of them.

        Raises:
            StoreConflict: a document is not at the version a change was made for.
            StoreBusy: `lease` has been taken over by somebody else.
        """
        ...

    def acquire(self, name: str, *, holder: str, now: datetime, duration: timedelta) -> Lease:
        """Take a lease that nobody has, or that does not hold any more (`Lease.holds`).

        Raises:
            StoreBusy: somebody else holds it; the message says who and until when.
            InputError: the duration is none, is negative, or ends after the year 9999.
        """
        ...

    def renew(self, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
        """The same lease, until later.

        Raises:
            StoreBusy: it has been taken over.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Give a lease back; nothing happens when it has been taken over."""
        ...
