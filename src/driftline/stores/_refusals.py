"""The refusals that both stores have in common."""

from __future__ import annotations

from driftline._checks import refuse_number
from driftline.errors import StoreBusy, StoreConflict
from driftline.records import Lease


def checked_count(name: str, count: int | None) -> int | None:
    """How many are asked for; None for all.

    Raises:
        InputError: it is no number: databases differ in what they make of a negative one.
    """
    if count is not None:
        refuse_number(name, count, "0 or more, or None for all", least=0, whole=True)
    return count


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
