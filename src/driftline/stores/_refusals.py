"""The refusals that both stores have in common."""

from __future__ import annotations

from driftline.errors import StoreBusy, StoreConflict
from driftline.records import Lease


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
