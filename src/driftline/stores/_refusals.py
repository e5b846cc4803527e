"""The refusals that both stores have in common."""

from __future__ import annotations

from datetime import datetime, timedelta

from driftline._checks import refuse_negative, refuse_number
from driftline._clock import as_utc
from driftline.errors import InputError, StoreBusy, StoreConflict
from driftline.records import Lease


def checked_count(name: str, count: int | None) -> int | None:
    """How many are asked for; None for all.

    Raises:
        InputError: it is no number, or one of those of which databases make different things.
    """
    if count is None:
        return None
    refuse_number(name, count, "0 or more, or None for all", least=0, whole=True)
    return count


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
