"""Calls per minute and key, by category, over a sliding window."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from driftline._checks import refuse_number, refuse_other

RATE_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "default": 100,
        "training": 10,
        "upload": 10,
        "predict": 20,
        "export": 20,
        "download": 30,
        "mutation": 10,
        "hydrate": 20,
        "clustering": 10,
    }
)
"""Calls a minute, per key and category: the Platform's REST API page, "Rate limits"."""

WINDOW_SECONDS: Final = 60.0


class RateLimiter:
    """Counts calls of the last minute; each category has its own counter."""

    def __init__(self, limits: Mapping[str, int] | None) -> None:
        """Keep the limits; None limits nothing, a category left out has the default's.

        Raises:
            InputError: a category nobody knows, or a limit below 1.
        """
        for category, limit in (limits or {}).items():
            refuse_other("a category of rate_limits", category, RATE_LIMITS)
            refuse_number(f"rate_limits[{category!r}]", limit, "1 or more", least=1, whole=True)
        self._limits = None if limits is None else {**RATE_LIMITS, **limits}
        self._calls: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, category: str, *, now: float) -> float | None:
        """Count one call at `now` (seconds); the seconds to wait when there is no room for it."""
        if self._limits is None:
            return None
        with self._lock:
            calls = self._calls.setdefault(category, deque())
            while calls and calls[0] <= now - WINDOW_SECONDS:
                calls.popleft()
            if len(calls) < self._limits[category]:
                calls.append(now)
                return None
            return calls[0] + WINDOW_SECONDS - now

    @staticmethod
    def whole_seconds(wait: float) -> int:
        """The wait as a ``Retry-After`` says it: whole seconds, never too few."""
        return max(1, math.ceil(wait))
