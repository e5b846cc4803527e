"""The schema, as numbered steps that are never edited once they are released.

A database knows how many steps it has seen. A newer Driftline does the missing ones when it opens
it, in one transaction; an older one refuses a database that has seen more than it knows.
"""

from __future__ import annotations

from typing import Final

from driftline.errors import StoreError
from driftline.stores._dialects import Connection, Dialect

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE driftline_documents (
            space TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, version BIGINT NOT NULL,
            PRIMARY KEY (space, key))""",
        """CREATE TABLE driftline_history (
            id {id}, space TEXT NOT NULL, key TEXT NOT NULL, at BIGINT NOT NULL,
            record TEXT NOT NULL)""",
        "CREATE INDEX driftline_history_by_key ON driftline_history (space, key, at, id)",
        "CREATE INDEX driftline_history_by_time ON driftline_history (space, at, id)",
        """CREATE TABLE driftline_items (
            id {id}, queue TEXT NOT NULL, key TEXT NOT NULL, payload TEXT NOT NULL,
            created BIGINT NOT NULL, due BIGINT NOT NULL, expires BIGINT,
            attempts BIGINT NOT NULL, error TEXT NOT NULL)""",
        "CREATE INDEX driftline_items_by_queue ON driftline_items (queue, id)",
        """CREATE TABLE driftline_dead (
            id BIGINT NOT NULL PRIMARY KEY, queue TEXT NOT NULL, key TEXT NOT NULL,
            payload TEXT NOT NULL, created BIGINT NOT NULL, due BIGINT NOT NULL, expires BIGINT,
            attempts BIGINT NOT NULL, error TEXT NOT NULL, at BIGINT NOT NULL,
            reason TEXT NOT NULL)""",
        """CREATE TABLE driftline_leases (
            name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, token BIGINT NOT NULL,
            since BIGINT NOT NULL, until BIGINT NOT NULL)""",
    ),
)


def migrate(connection: Connection, dialect: Dialect) -> None:
    """Bring a database up to date.

    Raises:
        StoreError: it was written by a newer Driftline.
    """
    with connection.transaction():
        if dialect.lock_migrations:
            connection.rows(dialect.lock_migrations, {})
        connection.run("CREATE TABLE IF NOT EXISTS driftline_schema (step BIGINT NOT NULL)", {})
        (row,) = connection.rows("SELECT COALESCE(MAX(step), 0) FROM driftline_schema", {})
        seen = int(row[0])
        if seen > len(MIGRATIONS):
            msg = (
                f"{dialect.label} has schema {seen}, this version knows {len(MIGRATIONS)}: "
                "it was written by a newer Driftline; install that one"
            )
            raise StoreError(msg)
        for step, statements in enumerate(MIGRATIONS[seen:], start=seen + 1):
            for statement in statements:
                connection.run(statement.format(**dialect.types), {})
            connection.run("INSERT INTO driftline_schema (step) VALUES (:step)", {"step": step})
