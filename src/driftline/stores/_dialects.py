"""What SQLite and PostgreSQL do differently, and nothing else; every statement is shared.

Statements are written with ``:name`` parameters and the few type names below. The driver of
PostgreSQL is an extra and is imported when a connection is opened.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote

from driftline._clock import SystemClock
from driftline._discreet import masked_text
from driftline._secret import MASK
from driftline.errors import InputError, MissingExtra

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = Mapping[str, Any]

_LOCK_SECONDS: Final = 30.0
"""How long a lock that another holds is waited for, in both dialects, before it is an error."""


class Connection(Protocol):
    """An open connection; each dialect has one."""

    def rows(self, statement: str, values: Values) -> Sequence[Row]:
        """The rows of a query."""
        ...

    def run(self, statement: str, values: Values) -> int:
        """Execute a statement; how many rows it changed."""
        ...

    def run_many(self, statement: str, many: Sequence[Values]) -> None:
        """Execute a statement once for each set of values."""
        ...

    def transaction(self) -> Any:
        """A context in which everything is done, durably, or nothing."""
        ...

    def alive(self) -> bool:
        """Whether it still answers."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Sqlite:
    """SQLite through the standard library: one file, durable at each commit."""

    types: Final = {"id": "INTEGER PRIMARY KEY AUTOINCREMENT"}
    errors: Final[tuple[type[Exception], ...]] = (sqlite3.Error,)
    lock_migrations: Final = ""  # its transactions are exclusive anyway

    def __init__(self, path: str) -> None:
        """Keep the path."""
        self.path = path
        self.label = f"sqlite:///{path}"

    def connect(self) -> Connection:
        """Open the file, or make it."""
        return _SqliteConnection(self.path)

    def lost(self, _error: Exception) -> bool:
        """Whether an error means that the connection is of no use any more."""
        return False

    def redact(self, text: str) -> str:
        """A driver's message; there is nothing to hide in it."""
        return text


class _SqliteConnection:
    def __init__(self, path: str) -> None:
        self._raw = sqlite3.connect(
            path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _write_ahead(self._raw)
            # FULL: what is committed survives a power cut.
            self._raw.execute("PRAGMA synchronous=FULL")
        except BaseException:
            self._raw.close()
            raise

    def rows(self, statement: str, values: Values) -> Sequence[Row]:
        return self._raw.execute(statement, values).fetchall()

    def run(self, statement: str, values: Values) -> int:
        return self._raw.execute(statement, values).rowcount

    def run_many(self, statement: str, many: Sequence[Values]) -> None:
        self._raw.executemany(statement, many)

    @contextmanager
    def transaction(self) -> Generator[None]:
        # IMMEDIATE takes the write lock at once: a transaction that begins by reading could not
        # get it later without failing when another writer came between.
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._raw.execute("ROLLBACK")
            raise
        self._raw.execute("COMMIT")

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()


def _write_ahead(raw: sqlite3.Connection) -> None:
    """Have a write-ahead log, so that readers do not wait for the writer.

    The switch needs the file for itself, and SQLite's own time-out does not wait for that: two
    that open a new file at once would each hold what the other waits for, so one is told "locked"
    at once. The file remembers the switch, hence only a new one has it to wait for.
    """
    watch = SystemClock()
    deadline = watch.monotonic() + _LOCK_SECONDS
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or watch.monotonic() > deadline:
                raise
            watch.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - no secret; parts the waiters
        else:
            return


_SHOWN: Final = frozenset(
    {
        "application_name", "connect_timeout", "dbname", "host", "hostaddr", "port", "sslmode",
        "target_session_attrs", "user",
    }
)  # fmt: skip
"""Parameters of a URL whose values may be read; others hold passwords, and names may be encoded."""


class _Reading:
    """A URL of PostgreSQL as it may be shown, and what must not be.

    By libpq's own rules (https://www.postgresql.org/docs/current/libpq-connect.html): user and
    password end at the first @ before any slash, which may come after a question mark.
    """

    def __init__(self, url: str) -> None:
        scheme, _, place = url.partition("://")
        there = re.match("([^@/]*)@", place)
        user, colon, password = there[1].partition(":") if there else ("", "", "")
        server, mark, query = place[there.end() if there else 0 :].partition("?")
        self.clear = _clear(server)
        self.secrets = [password] if password else []
        pairs = [self._pair(pair) for pair in query.split("&")]
        account = f"{user}{colon}{MASK if password else ''}@" if there else ""
        self.label = f"{scheme}://{account}{server if self.clear else MASK}{mark}{'&'.join(pairs)}"

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if name in _SHOWN or not value:
            return pair
        self.secrets.append(value)
        return f"{name}{equals}{MASK}"


def _clear(server: str) -> bool:
    """Whether a server's hosts have ports, if any, and no word that may belong to a password."""
    hosts = server.partition("/")[0].split(",")
    ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts]  # [::1] is a host
    return "@" not in server and all(port.isdigit() for port in ports if port)


class Postgres:
    """PostgreSQL through psycopg 3."""

    types: Final = {"id": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}
    # Two processes that start at once must not both migrate; the number is ours alone.
    lock_migrations: Final = "SELECT pg_advisory_xact_lock(7203840918273645)"

    def __init__(self, url: str) -> None:
        """Keep the URL; it is shown without its password.

        Raises:
            InputError: it has an @ or a / where they would be read as the end of the password.
        """
        reading = _Reading(url)
        self._url, self._secrets, self.label = url, reading.secrets, reading.label
        del url  # a traceback that shows local variables must not show it
        if not reading.clear:
            msg = (
                f"{self.label}: an @ or / in the user's name or password must be written %40 or "
                '%2F, as urllib.parse.quote(password, safe="") does'
            )
            raise InputError(msg)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises."""
        return (_psycopg().Error,)

    def connect(self) -> Connection:
        """Open a connection.

        Raises:
            MissingExtra: psycopg is not installed.
        """
        return _PostgresConnection(_psycopg(), self._url)

    def lost(self, error: Exception) -> bool:
        """Whether an error means that the connection is of no use any more."""
        psycopg = _psycopg()
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)

    def redact(self, text: str) -> str:
        """A driver's message without the password, which it may quote, decoded or not."""
        both = {*self._secrets, *map(unquote, self._secrets)}
        return masked_text(text, sorted(both, key=len, reverse=True))


class _PostgresConnection:
    def __init__(self, driver: Any, url: str) -> None:
        # Autocommit: a transaction begins where `transaction` says so and nowhere else.
        # A server that is gone without a word, or a lock nobody gives back, is an error in half
        # a minute, as it is with SQLite, not a run that never ends.
        gone = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
        self._raw = driver.connect(
            url, autocommit=True, connect_timeout=10, tcp_user_timeout=30_000, **gone
        )
        self._raw.execute(f"SET lock_timeout = '{_LOCK_SECONDS:.0f}s'")

    def rows(self, statement: str, values: Values) -> Sequence[Row]:
        found: Sequence[Row] = self._raw.execute(_translated(statement), values).fetchall()
        return found

    def run(self, statement: str, values: Values) -> int:
        changed: int = self._raw.execute(_translated(statement), values).rowcount
        return changed

    def run_many(self, statement: str, many: Sequence[Values]) -> None:
        with self._raw.cursor() as cursor:
            cursor.executemany(_translated(statement), many)

    def transaction(self) -> Any:
        return self._raw.transaction()

    def alive(self) -> bool:
        try:
            self._raw.execute("SELECT 1")
        except _psycopg().Error:
            return False
        return True

    def close(self) -> None:
        self._raw.close()


Dialect: TypeAlias = Sqlite | Postgres
_EXTRA: Final = "postgres"


def _translated(statement: str) -> str:
    """``:name`` → ``%(name)s``."""
    return re.sub(r":(\w+)", r"%(\1)s", statement)


def _psycopg() -> Any:
    try:
        import psycopg  # noqa: PLC0415 - an extra, needed for PostgreSQL only
    except ImportError as exc:
        url = 'SqlStore("postgresql://…")'
        raise MissingExtra(_EXTRA, needed_for=url, package="psycopg") from exc
    return psycopg
