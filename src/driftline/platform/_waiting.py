"""How long to wait for work of the Platform's, and what to say when it takes too long."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from driftline._clock import Clock
from driftline.errors import PlatformError, TransitionFailed
from driftline.platform._transition import Ending

PROCESSING_POLL: Final = timedelta(seconds=5)
"""How often a dataset that is processed is looked at."""
PROCESSING_TIMEOUT: Final = timedelta(hours=1)
"""How long processing may take; the Platform states no bound."""


class Patience:
    """Looks on while something is worked on, for a bounded time."""

    def __init__(
        self,
        what: str,
        ending: Ending,
        *,
        clock: Clock,
        missed: str = "it was not done",
        path: str = "",
    ) -> None:
        """Begin to look.

        Args:
            what: what is waited for, in words.
            ending: how long and how often to look.
            clock: where time comes from.
            missed: what to say when it takes too long.
            path: where to look, for errors.
        """
        self._what = what
        self._ending = ending
        self._clock = clock
        self._missed = missed
        self._path = path
        self._began = clock.monotonic()

    @property
    def elapsed(self) -> timedelta:
        """How long it has been."""
        return timedelta(seconds=self._clock.monotonic() - self._began)

    def told(self, state: object) -> str:
        """What is waited for, how long already, and what was seen last."""
        passed = timedelta(seconds=round(self.elapsed.total_seconds()))
        return f"waiting for {self._what}, {passed}: {'not seen yet' if state is None else state}"

    def pause_seconds(self, state: object, trouble: PlatformError | None) -> float:
        """Seconds until the next look.

        Args:
            state: what was seen last.
            trouble: why the last look saw nothing, None when it did.

        Raises:
            TransitionFailed: there is no time left.
        """
        left = self._ending.timeout - self.elapsed
        if left <= timedelta(0):
            seen = f"the last look failed: {trouble}" if trouble else f"it stands at: {state}"
            why = f"{self._missed} within {self._ending.timeout}; {seen}"
            raise self.failed(why) from trouble
        return min(left, self._ending.poll).total_seconds()

    def failed(self, why: str) -> TransitionFailed:
        """The error of an end that nobody wanted."""
        return TransitionFailed(f"{self._what}: {why}", method="GET", path=self._path)
