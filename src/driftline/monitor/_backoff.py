"""When an item that was not taken is tried again."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from attrs import field, frozen

from driftline._checks import not_negative


@frozen(kw_only=True)
class Backoff:
    """Exponential, capped, with jitter; the other side's word goes first.

    After the first failure an item is due at once: the next run is a wait of its own. From the
    second on the wait is drawn evenly from the upper half of ``first * 2**n`` up to `longest`,
    so that a fleet of monitors does not come back in step (equal jitter).

    Attributes:
        first: wait after the second failure.
        longest: bound on the doubled wait.
        longest_asked: bound on a wait that the other side asks for.
    """

    first: timedelta = field(default=timedelta(seconds=10), validator=not_negative)
    longest: timedelta = field(default=timedelta(minutes=15), validator=not_negative)
    longest_asked: timedelta = field(default=timedelta(hours=6), validator=not_negative)

    def wait(
        self, attempts: int, asked_seconds: float | None, rng: np.random.Generator
    ) -> timedelta:
        """How long to wait after `attempts` failures, the last of which just happened."""
        if asked_seconds is not None:
            return min(timedelta(seconds=max(0.0, asked_seconds)), self.longest_asked)
        if attempts <= 1:
            return timedelta(0)
        doubled = min(self.first * (1 << min(attempts - 2, 40)), self.longest)
        return doubled * float(rng.uniform(0.5, 1.0))
