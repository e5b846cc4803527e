"""A clock that stands still until somebody sleeps on it or moves it."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from driftline._clock import as_duration, as_utc
from driftline.errors import InputError

MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""Where a clock starts unless told otherwise: a Monday at midnight, so that weeks come out whole."""


class FrozenClock:
    """Simulated time: it moves when somebody sleeps on it, advances it or sets it, and only then.

    Safe to share between threads and tasks. It satisfies `driftline.typing.Clock`, so that a
    client, a monitor or a sink that is given it waits without waiting.

    >>> clock = FrozenClock()
    >>> clock.sleep(90)
    >>> clock.now().isoformat()
    '2026-01-05T00:01:30+00:00'
    """

    def __init__(self, start: datetime = MONDAY) -> None:
        """Start at an aware time; by default Monday 2026-01-05, midnight UTC.

        Raises:
            InputError: `start` has no time zone.
        """
        self._lock = threading.Lock()
        self._now = as_utc(start, name="start")
        self._monotonic = 0.0
        self._sleeps: list[float] = []

    def now(self) -> datetime:
        """The simulated time, aware, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Simulated seconds since the clock was made; never goes back, even when it is set back."""
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds` at once; nothing happens when they are not above 0."""
        if seconds <= 0:
            return
        with self._lock:
            self._move(seconds)
            self._sleeps.append(seconds)

    async def asleep(self, seconds: float) -> None:
        """Advance by `seconds` at once, and let other tasks run."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    def advance(self, by: timedelta) -> None:
        """Move forward.

        Raises:
            InputError: `by` is negative; `set` moves a clock back.
        """
        if as_duration(by, name="by") < timedelta(0):
            msg = f"advance({by!r}) would go back; use set() to move the clock back on purpose"
            raise InputError(msg)
        with self._lock:
            self._move(by.total_seconds())

    def set(self, when: datetime) -> None:
        """Move to `when`, forward or back; `monotonic` grows with a move forward and else stays.

        Raises:
            InputError: `when` has no time zone.
        """
        target = as_utc(when, name="when")
        with self._lock:
            self._monotonic += max(0.0, (target - self._now).total_seconds())
            self._now = target

    @property
    def sleeps(self) -> tuple[float, ...]:
        """Every sleep so far, in seconds, in order: what pacing and back-off asked for."""
        with self._lock:
            return tuple(self._sleeps)

    def _move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def __repr__(self) -> str:
        """Say what time it is."""
        return f"FrozenClock({self.now().isoformat()})"
