"""Time is I/O: it comes in as a parameter, and only this file reads the machine's clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
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
        InputError: `value` is no time, naive, so that nobody can know which instant it means, or
            outside the years of the calendar.
    """
    given: object = value
    if not isinstance(given, datetime):
        msg = f"{name}={given!r} must be an aware time, such as datetime.now(timezone.utc)"
        raise InputError(msg)
    if value.tzinfo is None:
        msg = (
            f"{name}={value.isoformat()} has no time zone; "
            "pass an aware time, such as datetime.now(timezone.utc)"
        )
        raise InputError(msg)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        msg = f"{name}={value.isoformat()} lies outside the years 1 to 9999 of UTC"
        raise InputError(msg) from None


def as_optional_utc(value: datetime | None, *, name: str = "at") -> datetime | None:
    """`as_utc`, and None for None; a converter of attrs for fields that may be unknown."""
    return None if value is None else as_utc(value, name=name)


def as_duration(value: timedelta, *, name: str) -> timedelta:
    """`value`, which may be of any length.

    Raises:
        InputError: it is no timedelta: a bare number does not say whether it means seconds.
    """
    given: object = value
    if not isinstance(given, timedelta):
        msg = f"{name}={given!r} must be a timedelta, such as timedelta(seconds=30)"
        raise InputError(msg)
    return value


def as_clock(clock: Clock | None) -> Clock:
    """The clock that was passed, else the machine's.

    Raises:
        InputError: it cannot do what a `Clock` does.
    """
    if clock is None:
        return SystemClock()
    if isinstance(clock, type):
        msg = f"clock={clock!r} is a class; pass an object of it, {clock.__name__}()"
        raise InputError(msg)
    verbs = ("now", "monotonic", "sleep", "asleep")
    if missing := [verb for verb in verbs if not callable(getattr(clock, verb, None))]:
        msg = (
            f"clock={clock!r} has no {missing[0]}(); pass an object with {', '.join(verbs)}, "
            "such as driftline.testing.FrozenClock(), or None for the machine's clock"
        )
        raise InputError(msg)
    return clock
