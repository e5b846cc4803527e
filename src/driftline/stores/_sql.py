"""A store in SQLite, the default for schedulers, or PostgreSQL, for fleets."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import singledispatch
from itertools import groupby
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from attrs import evolve

from driftline._clock import SystemClock, as_utc
from driftline._fork import begin_anew_after_fork
from driftline.errors import InputError, StoreError
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
from driftline.stores import _statements as sql
from driftline.stores._dialects import Connection, Dialect, Postgres, Row, Sqlite, Values
from driftline.stores._json import decode, encode
from driftline.stores._migrations import migrate
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

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ALL: Final = 1 << 62
_IDLE_SECONDS: Final = 30.0
"""A connection that rested longer is asked whether it still lives: a server may have restarted."""


class SqlStore:
    """Keeps everything in a SQL database.

    ``sqlite:///driftline.db`` is a file in the working directory, ``sqlite:////var/lib/d.db`` one
    with an absolute path; ``postgresql://user@host/name`` needs the extra ``postgres``. The
    database opens with the first call, makes its tables (``driftline_…``) or brings them up to
    date, and closes with `close`, at the end of a ``with``, or with the process. One object
    serves many threads; a process that forked opens its own connection.
    """

    def __init__(self, url: str) -> None:
        """Keep where the database is; nothing is opened yet.

        Raises:
            InputError: the URL is neither of SQLite nor of PostgreSQL.
        """
        try:
            self._dialect = _dialect(url)
        finally:
            del url  # a traceback that shows local variables must not show its password
        self._watch = SystemClock()
        self._open: Connection | None = None
        self._used = 0.0
        self._closer: weakref.finalize[[], SqlStore] | None = None
        self._parents: Connection | None = None
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """At birth, and in a forked process, which must not even close its parent's connection."""
        self._lock = threading.RLock()
        if self._closer is not None:
            self._closer.detach()
        self._parents = self._open or self._parents  # kept: what is forgotten is closed
        self._open = self._closer = None

    # --- reading -----------------------------------------------------------------------------

    def get(self, space: str, key: str) -> Document | None:
        """One document, None when there is none."""
        checked_names(space=space, key=key)
        rows = self._rows(sql.GET, {"space": space, "key": key})
        return None if not rows else _document(space, key, *rows[0])

    def scan(self, space: str) -> Sequence[Document]:
        """All documents of a space, by key."""
        checked_names(space=space)
        rows = sorted(self._rows(sql.SCAN, {"space": space}))
        return [_document(space, *row) for row in rows]

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
        values = {
            "space": space,
            "since": -_ALL if since is None else _micros(since),
            "until": _ALL if until is None else _micros(until),
            "last": _count("last", last),
        }
        if key is None:
            rows = self._rows(sql.HISTORY, values)
        else:
            rows = self._rows(sql.HISTORY_OF_KEY, {**values, "key": key})
        return [
            Entry(space=space, key=own, at=_instant(at), record=decode(text))
            for own, at, text in reversed(rows)
        ]

    def waiting(self, queue: str, *, limit: int | None = None) -> Sequence[Item]:
        """What waits in a queue, in order, due or not."""
        checked_names(queue=queue)
        values = {"queue": queue, "limit": _count("limit", limit)}
        return [_item(row) for row in self._rows(sql.WAITING, values)]

    def queues(self, prefix: str = "") -> Mapping[str, int]:
        """How many items wait in each queue whose name begins so."""
        checked_names(prefix=prefix)
        rows = self._rows(sql.QUEUES, {"prefix": prefix, "length": len(prefix)})
        return {name: int(count) for name, count in sorted(rows)}

    def dead(self, prefix: str = "", *, limit: int | None = None) -> Sequence[DeadItem]:
        """What was given up in the queues whose name begins so, newest first."""
        checked_names(prefix=prefix)
        values = {"prefix": prefix, "length": len(prefix), "limit": _count("limit", limit)}
        return [
            DeadItem(item=_item(row[:9]), at=_instant(row[9]), reason=row[10])
            for row in self._rows(sql.DEAD, values)
        ]

    # --- writing -----------------------------------------------------------------------------

    def write(self, changes: Sequence[Change], *, lease: Lease | None = None) -> None:
        """Do all changes or none of them, see `driftline.records.Store.write`."""
        steps = [step for change in checked_changes(changes) for step in _steps(change)]
        with self._transaction() as connection:
            if lease is not None and not connection.run(sql.HOLD, _held(lease)):
                raise lost(lease)
            _execute(connection, steps)

    def acquire(self, name: str, *, holder: str, now: datetime, duration: timedelta) -> Lease:
        """Take a lease that is free or has run out, see `driftline.records.Store.acquire`."""
        checked_names(name=name, holder=holder)
        since, until = term(now, duration)
        values = {"name": name, "holder": holder, "since": _micros(since), "until": _micros(until)}
        with self._transaction() as connection:
            taken = connection.run(sql.ACQUIRE, values)
            ((owner, token, begin, end),) = connection.rows(sql.LEASE, {"name": name})
        lease = Lease(
            name=name,
            holder=owner,
            token=int(token),
            since=_instant(begin),
            until=_instant(end),
        )
        if not taken:
            raise busy(lease)
        return lease

    def renew(self, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
        """The same lease, until later."""
        since, until = term(now, duration)
        values = {**_held(lease), "since": _micros(since), "until": _micros(until)}
        with self._transaction() as connection:
            if not connection.run(sql.RENEW, values):
                raise lost(lease)
        return evolve(lease, since=since, until=until)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        with self._transaction() as connection:
            connection.run(sql.RELEASE, _held(lease))

    # --- the connection ----------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            if self._closer is not None:
                self._closer()
            self._open = self._closer = None

    def __enter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Say where it is; never the password."""
        return f"SqlStore({self._dialect.label!r})"

    def _rows(self, statement: str, values: Values) -> Sequence[Row]:
        with self._connection() as connection:
            return connection.rows(statement, values)

    @contextmanager
    def _transaction(self) -> Generator[Connection]:
        with self._connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        """The open connection, for this thread alone; what the driver raises becomes ours."""
        with self._lock:
            try:
                yield self._opened()
            except UnicodeEncodeError as exc:
                msg = f"{exc.object!r:.80} cannot be the name of anything in a database: {exc}"
                raise InputError(msg) from exc
            except self._dialect.errors as exc:
                if self._dialect.lost(exc):
                    self.close()
                msg = f"{self._dialect.label}: {self._dialect.redact(str(exc))}"
                error = StoreError(msg)
            else:
                return
        # Outside the handler: the driver's exception may hold values and the password.
        raise error

    def _opened(self) -> Connection:
        connection = self._open
        if connection is not None:
            rested = self._watch.monotonic() - self._used
            if rested < _IDLE_SECONDS or connection.alive():
                self._used = self._watch.monotonic()
                return connection
            self.close()
        connection = self._dialect.connect()
        try:
            migrate(connection, self._dialect)
        except BaseException:
            connection.close()
            raise
        self._open, self._used = connection, self._watch.monotonic()
        self._closer = weakref.finalize(self, connection.close)
        return connection


def _dialect(url: str) -> Dialect:
    given: object = url
    try:
        if not isinstance(given, str):
            got = f"{type(given)}"
        else:
            scheme, _, rest = url.partition("://")
            if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
                return Sqlite(rest[1:])
            if scheme in {"postgresql", "postgres"} and rest:
                return Postgres(url)
            # Of a text without a scheme nothing is shown: any part of it may be a password.
            got = f"{scheme}://…" if rest and scheme.isalnum() else "another text"
    finally:
        given = url = scheme = rest = ""
    msg = (
        f"the URL of a store begins with sqlite:/// (a path follows) or postgresql://, got {got}; "
        "for memory alone use MemoryStore()"
    )
    raise InputError(msg)


class _Step(NamedTuple):
    """One statement of a change.

    Attributes:
        statement: what to execute.
        values: with which values.
        demanded: the document that must be found at its version, None for no demand.
    """

    statement: str
    values: Values
    demanded: Put | Remove | None = None


@singledispatch
def _steps(change: Change) -> list[_Step]:
    """The statements of a change."""
    raise AssertionError(change)


@_steps.register
def _put(change: Put) -> list[_Step]:
    values = {
        "space": change.space,
        "key": change.key,
        "value": encode(change.value),
        "version": change.version,
    }
    if change.version is None:
        return [_Step(sql.PUT, values)]
    return [_Step(sql.PUT_AT if change.version else sql.PUT_NEW, values, change)]


@_steps.register
def _remove(change: Remove) -> list[_Step]:
    values = {"space": change.space, "key": change.key, "version": change.version}
    if change.version is None:
        return [_Step(sql.REMOVE, values)]
    return [_Step(sql.REMOVE_AT, values, change)]


@_steps.register
def _append(change: Append) -> list[_Step]:
    values = {
        "space": change.space,
        "key": change.key,
        "at": _micros(change.at),
        "record": encode(change.record),
    }
    return [_Step(sql.APPEND, values)]


@_steps.register
def _trim(change: Trim) -> list[_Step]:
    return [_Step(sql.TRIM, {"space": change.space, "before": _micros(change.before)})]


@_steps.register
def _enqueue(change: Enqueue) -> list[_Step]:
    values = {
        "queue": change.queue,
        "key": change.key,
        "payload": encode(change.payload),
        "created": _micros(change.at),
        "due": _micros(change.due or change.at),
        "expires": None if change.expires is None else _micros(change.expires),
    }
    return [_Step(sql.ENQUEUE, values)]


@_steps.register
def _settle(change: Settle) -> list[_Step]:
    return [_Step(sql.SETTLE, {"id": change.id})]


@_steps.register
def _postpone(change: Postpone) -> list[_Step]:
    values = {"id": change.id, "due": _micros(change.due), "error": _text(change.error)}
    return [_Step(sql.POSTPONE, values)]


@_steps.register
def _bury(change: Bury) -> list[_Step]:
    values = {"id": change.id, "at": _micros(change.at), "reason": _text(change.reason)}
    return [_Step(sql.BURY, values), _Step(sql.SETTLE, values)]


@_steps.register
def _revive(change: Revive) -> list[_Step]:
    values = {"id": change.id, "at": _micros(change.at)}
    return [_Step(sql.REVIVE, values), _Step(sql.UNBURY, values)]


@_steps.register
def _drop(change: Drop) -> list[_Step]:
    return [_Step(sql.UNBURY, {"id": change.id})]


def _execute(connection: Connection, steps: Sequence[_Step]) -> None:
    """Execute in order; runs of one statement without demands go to the driver at once."""
    for (statement, demanding), group in groupby(
        steps, key=lambda step: (step.statement, step.demanded is not None)
    ):
        if not demanding:
            connection.run_many(statement, [step.values for step in group])
            continue
        for step in group:
            if not connection.run(statement, step.values):
                assert step.demanded is not None
                raise conflict(step.demanded.space, step.demanded.key, step.demanded.version)


def _document(space: str, key: str, text: str, version: int) -> Document:
    return Document(space=space, key=key, value=decode(text), version=int(version))


def _item(row: Row) -> Item:
    number, queue, key, payload, created, due, expires, attempts, error = row
    return Item(
        id=int(number),
        queue=queue,
        key=key,
        payload=decode(payload),
        created=_instant(created),
        due=_instant(due),
        expires=None if expires is None else _instant(expires),
        attempts=int(attempts),
        error=error,
    )


def _held(lease: Lease) -> dict[str, Any]:
    held = checked_lease(lease)
    return {"name": held.name, "token": held.token}


def _count(name: str, count: int | None) -> int:
    checked = checked_count(name, count)
    return _ALL if checked is None else checked


def _text(text: str) -> str:
    """What any database takes as text: PostgreSQL takes neither NUL nor lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _micros(when: datetime) -> int:
    return (as_utc(when, name="a time of the store") - _EPOCH) // _MICROSECOND


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(us))
