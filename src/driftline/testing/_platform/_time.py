"""The two times the local platform lives in: simulated for what it records, both for waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from driftline.testing._clock import FrozenClock

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(when: datetime) -> int:
    """Microseconds since 1970 of an aware time: exact, as floats are not."""
    return (when - EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The aware time of so many microseconds since 1970."""
    return EPOCH + timedelta(microseconds=us)


def iso(us: int, *, digits: int = 3) -> str:
    """ISO 8601 with ``Z``, as the Platform writes times: 0, 3 or 6 digits of the second."""
    spec = {0: "seconds", 3: "milliseconds", 6: "microseconds"}[digits]
    return instant(us).isoformat(timespec=spec).removesuffix("+00:00") + "Z"


class Stopwatch:
    """Seconds that passed on either clock: the simulated ones plus the real ones.

    A client on the simulated clock waits by sleeping on it and needs no real time; anybody
    else's client waits in real time while the simulated clock stands still. Adding both serves
    both, and neither can be starved by the other's jumps.
    """

    def __init__(self, clock: FrozenClock) -> None:
        """Start both."""
        self._clock = clock
        self._simulated = clock.monotonic()
        self._real = time.monotonic()

    def seconds(self) -> float:
        """Seconds since the start."""
        simulated = self._clock.monotonic() - self._simulated
        return simulated + time.monotonic() - self._real
