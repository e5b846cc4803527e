"""Time is I/O: it comes in as a parameter, and only this file reads the machine's clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from driftline.errors import InputError


class Clock(Protocol):
    """What Driftline needs of time.

    `driftline.testing.FrozenClock` and ``LocalPlatform().clock`` satisfy it in tests.
    """

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, blocking this thread."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, blocking this thread."""
        time.sleep(max(0.0, seconds))

    async def asleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        await asyncio.sleep(max(0.0, seconds))

    def __repr__(self) -> str:
        """Say what it is."""
        return "SystemClock()"


def as_utc(value: datetime, *, name: str) -> datetime:
    """The same instant in UTC.

    Raises:
        InputError: `value` is naive, so that nobody can know which instant it means.
    """
    if value.tzinfo is None:
        msg = (
            f"{name}={value.isoformat()} has no time zone; "
            "pass an aware time, such as datetime.now(timezone.utc)"
        )
        raise InputError(msg)
    return value.astimezone(UTC)
