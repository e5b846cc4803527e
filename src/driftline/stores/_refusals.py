"""The refusals that both stores have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import get_args

from driftline._checks import LARGEST_INTEGER, part, parts, refuse_negative, refuse_number
from driftline._clock import as_utc
from driftline.errors import InputError, StoreBusy, StoreConflict
from driftline.records import Change, Lease


def checked_count(name: str, count: int | None) -> int | None:
    """How many are asked for; None for all.

    Raises:
        InputError: it is no number, or one of those of which databases make different things.
    """
    if count is None:
        return None
    what = "0 or more, in 64 bits, or None for all"
    refuse_number(name, count, what, least=0, most=LARGEST_INTEGER, whole=True)
    return count


def checked_names(**names: str) -> None:
    """Raise unless each is text: to a database anything else is a name that nothing has.

    Raises:
        InputError: one is no text.
    """
    for name, value in names.items():
        part(value, str, name=name, what="text")


def checked_changes(changes: Sequence[Change]) -> tuple[Change, ...]:
    """What is to be written.

    Raises:
        InputError: it is no list of changes.
    """
    what = "a change, such as a driftline.records.Put(…)"
    return parts(changes, get_args(Change), name="changes", what=what)


def checked_lease(lease: Lease) -> Lease:
    """A lease that a store gave.

    Raises:
        InputError: it is none.
    """
    return part(lease, Lease, name="lease", what="a lease, as acquire(…) answers it")


def term(now: datetime, duration: timedelta) -> tuple[datetime, datetime]:
    """From when to when a lease lasts.

    Raises:
        InputError: the duration is none, is negative, or ends after the last year there is.
    """
    since = as_utc(now, name="now")
    refuse_negative("duration", duration)
    try:
        return since, since + duration
    except OverflowError:
        msg = f"duration={duration} from {since.isoformat()} on ends after the year 9999"
        raise InputError(msg) from None


def busy(held: Lease) -> StoreBusy:
    """Somebody else holds the lease."""
    return StoreBusy(
        f"{held.name!r} is held by {held.holder} until {held.until.isoformat()}; "
        "that run works, come back later"
    )


def lost(lease: Lease) -> StoreBusy:
    """The lease was taken over."""
    return StoreBusy(
        f"{lease.name!r} was taken over after {lease.until.isoformat()}; nothing was written"
    )


def conflict(space: str, key: str, version: int | None) -> StoreConflict:
    """The document is not at that version."""
    return StoreConflict(
        f"document {key!r} of {space!r} is not at version {version}; read it and decide again"
    )
