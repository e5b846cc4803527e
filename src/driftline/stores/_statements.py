"""Every statement, once, for both dialects. Times are microseconds since 1970 UTC."""

from __future__ import annotations

from typing import Final

GET: Final = "SELECT value, version FROM driftline_documents WHERE space = :space AND key = :key"
SCAN: Final = "SELECT key, value, version FROM driftline_documents WHERE space = :space"
PUT: Final = (
    "INSERT INTO driftline_documents (space, key, value, version) "
    "VALUES (:space, :key, :value, 1) "
    "ON CONFLICT (space, key) DO UPDATE "
    "SET value = excluded.value, version = driftline_documents.version + 1"
)
PUT_NEW: Final = (
    "INSERT INTO driftline_documents (space, key, value, version) "
    "VALUES (:space, :key, :value, 1) ON CONFLICT (space, key) DO NOTHING"
)
PUT_AT: Final = (
    "UPDATE driftline_documents SET value = :value, version = version + 1 "
    "WHERE space = :space AND key = :key AND version = :version"
)
REMOVE: Final = "DELETE FROM driftline_documents WHERE space = :space AND key = :key"
REMOVE_AT: Final = REMOVE + " AND version = :version"

APPEND: Final = (
    "INSERT INTO driftline_history (space, key, at, record) VALUES (:space, :key, :at, :record)"
)
TRIM: Final = "DELETE FROM driftline_history WHERE space = :space AND at < :before"
_LINES: Final = (
    "SELECT key, at, record FROM driftline_history "
    "WHERE space = :space AND at >= :since AND at < :until"
)
_NEWEST: Final = " ORDER BY at DESC, id DESC LIMIT :last"
HISTORY: Final = _LINES + _NEWEST
HISTORY_OF_KEY: Final = _LINES + " AND key = :key" + _NEWEST

_ITEM: Final = "id, queue, key, payload, created, due, expires, attempts, error"
ENQUEUE: Final = (
    "INSERT INTO driftline_items (queue, key, payload, created, due, expires, attempts, error) "
    "VALUES (:queue, :key, :payload, :created, :due, :expires, 0, '')"
)
WAITING: Final = (
    f"SELECT {_ITEM} FROM driftline_items WHERE queue = :queue ORDER BY id LIMIT :limit"  # noqa: S608 - constants only
)
QUEUES: Final = (
    "SELECT queue, COUNT(*) FROM driftline_items "
    "WHERE substr(queue, 1, :length) = :prefix GROUP BY queue"
)
SETTLE: Final = "DELETE FROM driftline_items WHERE id = :id"
POSTPONE: Final = (
    "UPDATE driftline_items SET due = :due, error = :error, attempts = attempts + 1 WHERE id = :id"
)
BURY: Final = (
    f"INSERT INTO driftline_dead ({_ITEM}, at, reason) "  # noqa: S608 - constants only
    # The casts tell PostgreSQL what types the two are.
    f"SELECT {_ITEM}, CAST(:at AS BIGINT), CAST(:reason AS TEXT) "
    "FROM driftline_items WHERE id = :id"
)
DEAD: Final = (
    f"SELECT {_ITEM}, at, reason FROM driftline_dead "  # noqa: S608 - constants only
    "WHERE substr(queue, 1, :length) = :prefix ORDER BY at DESC, id DESC LIMIT :limit"
)
REVIVE: Final = (
    "INSERT INTO driftline_items (queue, key, payload, created, due, expires, attempts, error) "
    "SELECT queue, key, payload, CAST(:at AS BIGINT), CAST(:at AS BIGINT), NULL, 0, '' "
    "FROM driftline_dead WHERE id = :id"
)
UNBURY: Final = "DELETE FROM driftline_dead WHERE id = :id"

ACQUIRE: Final = (
    "INSERT INTO driftline_leases (name, holder, token, since, until) "
    "VALUES (:name, :holder, 1, :since, :until) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, "
    "token = driftline_leases.token + 1, since = excluded.since, until = excluded.until "
    # `Lease.holds` in SQL: it has run out, or was taken by a clock that has been set back since.
    "WHERE driftline_leases.until <= :since "
    "OR driftline_leases.since - :since >= driftline_leases.until - driftline_leases.since"
)
LEASE: Final = "SELECT holder, token, since, until FROM driftline_leases WHERE name = :name"
RENEW: Final = (
    "UPDATE driftline_leases SET since = :since, until = :until "
    "WHERE name = :name AND token = :token"
)
RELEASE: Final = "UPDATE driftline_leases SET until = since WHERE name = :name AND token = :token"
# Changes nothing; what counts is that it finds the row, and keeps it until the commit.
HOLD: Final = "UPDATE driftline_leases SET holder = holder WHERE name = :name AND token = :token"
