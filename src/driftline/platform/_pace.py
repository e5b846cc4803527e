"""Client-side pacing: all callers of one key in this process share one minute.

The limits belong to the key, not to the client object, so the only shared state of the package is
here: who called when. It holds no key, only a salted digest of it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

from driftline._clock import Clock, SystemClock
from driftline._fork import begin_anew_after_fork
from driftline._secret import Secret
from driftline._wire import Call

_log = logging.getLogger("driftline.platform")

PERIOD_SECONDS: Final = 61.0
"""The Platform counts by the minute. A second more, because calls do not travel at one speed:
one that was slow must not arrive in the minute of its successors."""


class _Lane:
    """The calls of one category, in the order they go."""

    def __init__(self) -> None:
        self.times: deque[float] = deque()
        self.held_until = float("-inf")

    def reserve(self, now: float, limit: int) -> float:
        """The time the next call may go, no earlier than any before it."""
        while self.times and self.times[0] <= now - PERIOD_SECONDS:
            self.times.popleft()
        at = max(now, self.held_until, self.times[-1] if self.times else now)
        if len(self.times) >= limit:
            at = max(at, self.times[-limit] + PERIOD_SECONDS)
        self.times.append(at)
        return at


class Pacer:
    """Gives every call its time, so that no 61 s see more calls of a category than its limit.

    Calls go at once until a minute's worth is used up, and then one by one as the earliest ones
    leave the window; nobody overtakes.
    """

    def __init__(self, clock: Clock) -> None:
        """Keep the clock that times are read from."""
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """At birth, and in a forked process, which knows what was used up and paces itself."""
        self._lock = threading.Lock()

    def reserve(self, category: str, limit: int) -> float:
        """Take a place; answer the seconds until it is due."""
        with self._lock:
            now = self._clock.monotonic()
            return self._lanes.setdefault(category, _Lane()).reserve(now, limit) - now

    def hold(self, category: str, seconds: float) -> None:
        """Let no further call of the category go for a while: the Platform said 429."""
        with self._lock:
            lane = self._lanes.setdefault(category, _Lane())
            lane.held_until = max(lane.held_until, self._clock.monotonic() + seconds)

    @property
    def idle(self) -> bool:
        """Whether forgetting it would change nothing."""
        with self._lock:
            now = self._clock.monotonic()
            return all(
                lane.held_until <= now and (not lane.times or lane.times[-1] < now - PERIOD_SECONDS)
                for lane in self._lanes.values()
            )


_SALT: Final = secrets.token_bytes(16)
_pacers: dict[tuple[str, bytes, int], Pacer] = {}
_guard = threading.Lock()


def shared_pacer(base_url: str, key: Secret, clock: Clock) -> Pacer:
    """The pacer of a key at a Platform: the same for every client of this process.

    Clients on a clock of their own (tests) share with those on the same clock object only.
    """
    digest = hashlib.sha256(_SALT + key.reveal().encode()).digest()
    name = (base_url, digest, 0 if isinstance(clock, SystemClock) else id(clock))
    with _guard:
        for other in [other for other, pacer in _pacers.items() if other != name and pacer.idle]:
            del _pacers[other]
        return _pacers.setdefault(name, Pacer(clock))


class Pace:
    """What a transport asks before each call: seconds to wait, the place reserved."""

    def __init__(self, pacer: Pacer, per_minute: Mapping[str, int]) -> None:
        """Keep whose minute it is, and the limits by category."""
        self._pacer = pacer
        self._per_minute = dict(per_minute)

    @property
    def default_per_minute(self) -> int:
        """The limit of the calls that have no category of their own."""
        return self._per_minute["default"]

    def __call__(self, call: Call) -> float:
        """Seconds until the call may go; 0 for a category without a limit."""
        limit = self._per_minute.get(call.category)
        if limit is None:
            return 0.0
        wait = self._pacer.reserve(call.category, limit)
        if wait > 0:
            _log.info(
                "%s calls: %d a minute are used up, waiting %.1f s", call.category, limit, wait
            )
        return wait

    def hold(self, call: Call, seconds: float) -> None:
        """Hold the other callers of the category back as well."""
        if call.category in self._per_minute:
            self._pacer.hold(call.category, seconds)
