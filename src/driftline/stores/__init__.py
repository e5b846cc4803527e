"""Memory that survives a restart: the `driftline.records.Store` protocol, kept."""

from driftline.stores._memory import MemoryStore
from driftline.stores._sql import SqlStore

__all__ = ["MemoryStore", "SqlStore"]
