"""Memory that survives a restart: the `driftline.records.Store` protocol, kept."""

from driftline.stores._memory import MemoryStore

__all__ = ["MemoryStore"]
