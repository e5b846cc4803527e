"""A store that lives as long as its object: for tests, notebooks and services that may forget."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import singledispatchmethod
from typing import TypeVar

from attrs import define, evolve, field, frozen

from driftline._clock import as_utc
from driftline._fork import begin_anew_after_fork
from driftline.records import (
    Append,
    Bury,
    Change,
    DeadItem,
    Document,
    Drop,
    Enqueue,
    Entry,
    Item,
    Lease,
    Postpone,
    Put,
    Remove,
    Revive,
    Settle,
    Trim,
)
from driftline.stores._json import decode, encode
from driftline.stores._refusals import (
    busy,
    checked_changes,
    checked_count,
    checked_lease,
    checked_names,
    conflict,
    lost,
    term,
)

T = TypeVar("T")


@frozen(kw_only=True)
class _Stored:
    """An item with its payload as text, so that nobody shares an object."""

    item: Item
    text: str

    def thawed(self) -> Item:
        """The item with its payload."""
        return evolve(self.item, payload=decode(self.text))


@define(kw_only=True)
class _Tables:
    """Everything that is stored; values are JSON texts."""

    documents: dict[tuple[str, str], tuple[str, int]] = field(factory=dict)
    history: list[tuple[str, str, datetime, str]] = field(factory=list)
    items: dict[int, _Stored] = field(factory=dict)
    dead: dict[int, tuple[_Stored, datetime, str]] = field(factory=dict)
    last_item: int = 0

    def copy(self) -> _Tables:
        """The same tables, to be changed apart."""
        return _Tables(
            documents=dict(self.documents),
            history=list(self.history),
            items=dict(self.items),
            dead=dict(self.dead),
            last_item=self.last_item,
        )

    @singledispatchmethod
    def apply(self, change: Change) -> None:
        """Do one change."""
        raise AssertionError(change)

    @apply.register
    def _put(self, change: Put) -> None:
        place = (change.space, change.key)
        version = self.documents[place][1] if place in self.documents else 0
        if change.version is not None and change.version != version:
            raise conflict(change.space, change.key, change.version)
        self.documents[place] = (encode(change.value), version + 1)

    @apply.register
    def _remove(self, change: Remove) -> None:
        found = self.documents.pop((change.space, change.key), None)
        if change.version is not None and (found is None or found[1] != change.version):
            raise conflict(change.space, change.key, change.version)

    @apply.register
    def _append(self, change: Append) -> None:
        self.history.append((change.space, change.key, change.at, encode(change.record)))

    @apply.register
    def _trim(self, change: Trim) -> None:
        self.history = [
            line for line in self.history if line[0] != change.space or line[2] >= change.before
        ]

    @apply.register
    def _enqueue(self, change: Enqueue) -> None:
        self.last_item += 1
        item = Item(
            id=self.last_item,
            queue=change.queue,
            key=change.key,
            payload={},
            created=change.at,
            due=change.due or change.at,
            expires=change.expires,
        )
        self.items[item.id] = _Stored(item=item, text=encode(change.payload))

    @apply.register
    def _settle(self, change: Settle) -> None:
        self.items.pop(change.id, None)

    @apply.register
    def _postpone(self, change: Postpone) -> None:
        if (stored := self.items.get(change.id)) is not None:
            item = evolve(
                stored.item, due=change.due, error=change.error, attempts=stored.item.attempts + 1
            )
            self.items[change.id] = evolve(stored, item=item)

    @apply.register
    def _bury(self, change: Bury) -> None:
        if (stored := self.items.pop(change.id, None)) is not None:
            self.dead[change.id] = (stored, change.at, change.reason)

    @apply.register
    def _revive(self, change: Revive) -> None:
        if (dead := self.dead.pop(change.id, None)) is not None:
            item = dead[0].thawed()
            self._enqueue(
                Enqueue(queue=item.queue, key=item.key, payload=item.payload, at=change.at)
            )

    @apply.register
    def _drop(self, change: Drop) -> None:
        self.dead.pop(change.id, None)


class MemoryStore:
    """Keeps everything in memory and the same promises as `SqlStore`, but survives nothing."""

    def __init__(self) -> None:
        """Begin empty."""
        self._tables = _Tables()
        self._leases: dict[str, Lease] = {}
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """At birth, and in a forked process, which goes on with a copy of its own."""
        self._lock = threading.RLock()

    def get(self, space: str, key: str) -> Document | None:
        """One document, None when there is none."""
        checked_names(space=space, key=key)
        with self._lock:
            found = self._tables.documents.get((space, key))
        return None if found is None else _document(space, key, *found)

    def scan(self, space: str) -> Sequence[Document]:
        """All documents of a space, by key."""
        checked_names(space=space)
        with self._lock:
            found = sorted(item for item in self._tables.documents.items() if item[0][0] == space)
        return [_document(space, key, *value) for (_, key), value in found]

    def history(
        self,
        space: str,
        key: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> Sequence[Entry]:
        """Lines of a history, see `driftline.records.Store.history`."""
        checked_names(space=space, **({} if key is None else {"key": key}))
        begin = None if since is None else as_utc(since, name="since")
        end = None if until is None else as_utc(until, name="until")
        with self._lock:
            found = [
                line
                for line in self._tables.history
                if line[0] == space
                and key in (None, line[1])
                and (begin is None or line[2] >= begin)
                and (end is None or line[2] < end)
            ]
        found.sort(key=lambda line: line[2])
        return [
            Entry(space=s, key=k, at=at, record=decode(text))
            for s, k, at, text in _tail(found, checked_count("last", last))
        ]

    def waiting(self, queue: str, *, limit: int | None = None) -> Sequence[Item]:
        """What waits in a queue, in order, due or not."""
        checked_names(queue=queue)
        with self._lock:
            found = [s for s in self._tables.items.values() if s.item.queue == queue]
        return [stored.thawed() for stored in found[: checked_count("limit", limit)]]

    def queues(self, prefix: str = "") -> Mapping[str, int]:
        """How many items wait in each queue whose name begins so."""
        checked_names(prefix=prefix)
        with self._lock:
            names = [stored.item.queue for stored in self._tables.items.values()]
        return dict(sorted(Counter(name for name in names if name.startswith(prefix)).items()))

    def dead(self, prefix: str = "", *, limit: int | None = None) -> Sequence[DeadItem]:
        """What was given up in the queues whose name begins so, newest first."""
        checked_names(prefix=prefix)
        with self._lock:
            found = [d for d in self._tables.dead.values() if d[0].item.queue.startswith(prefix)]
        found.sort(key=lambda dead: (dead[1], dead[0].item.id), reverse=True)
        newest = found[: checked_count("limit", limit)]
        return [DeadItem(item=s.thawed(), at=at, reason=why) for s, at, why in newest]

    def write(self, changes: Sequence[Change], *, lease: Lease | None = None) -> None:
        """Do all changes or none of them, see `driftline.records.Store.write`."""
        given = checked_changes(changes)
        with self._lock:
            if lease is not None:
                self._check(checked_lease(lease))
            tables = self._tables.copy()
            for change in given:
                tables.apply(change)
            self._tables = tables

    def acquire(self, name: str, *, holder: str, now: datetime, duration: timedelta) -> Lease:
        """Take a lease that is free or has run out, see `driftline.records.Store.acquire`."""
        checked_names(name=name, holder=holder)
        since, until = term(now, duration)
        with self._lock:
            held = self._leases.get(name)
            if held is not None and held.holds(since):
                raise busy(held)
            token = 1 if held is None else held.token + 1
            lease = Lease(name=name, holder=holder, token=token, since=since, until=until)
            self._leases[name] = lease
        return lease

    def renew(self, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
        """The same lease, until later."""
        since, until = term(now, duration)
        with self._lock:
            self._check(checked_lease(lease))
            renewed = evolve(lease, since=since, until=until)
            self._leases[lease.name] = renewed
        return renewed

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        with self._lock:
            held = self._leases.get(checked_lease(lease).name)
            if held is not None and held.token == lease.token:
                self._leases[lease.name] = evolve(held, until=held.since)

    def _check(self, lease: Lease) -> None:
        held = self._leases.get(lease.name)
        if held is None or held.token != lease.token:
            raise lost(lease)

    def close(self) -> None:
        """Nothing to close; what is stored stays until the object goes."""

    def __repr__(self) -> str:
        """Say how much it holds."""
        tables = self._tables
        return f"MemoryStore({len(tables.documents)} documents, {len(tables.items)} waiting)"


def _document(space: str, key: str, text: str, version: int) -> Document:
    return Document(space=space, key=key, value=decode(text), version=version)


def _tail(lines: list[T], last: int | None) -> list[T]:
    return lines if last is None else lines[max(0, len(lines) - last) :]
