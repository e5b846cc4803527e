"""When a start, a stop or a replace has ended, well or not: judged from what is seen, no I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import field, frozen

from driftline._clock import Clock, as_duration
from driftline.errors import InputError, PlatformError, TransitionFailed
from driftline.platform._deployment import Address, Deployment, DeploymentStatus

POLL: Final = timedelta(seconds=3)
"""How often a transition is looked at: the Platform's own page does so every 3 s."""
TRANSITION_TIMEOUT: Final = timedelta(minutes=15)
"""How long a transition may take before it counts as failed. The Platform states no bound;
building a revision and its first cold start take minutes."""
UNMOVED: Final = timedelta(seconds=30)
"""How long a deployment may show no sign of a transition before that counts as its end."""


def _positive(_instance: object, attribute: object, value: timedelta) -> None:
    name = getattr(attribute, "name", "time")
    if as_duration(value, name=name) <= timedelta(0):
        msg = f"{name}={value} must be above 0"
        raise InputError(msg)


@frozen(kw_only=True)
class Ending:
    """Whether and how to wait for the end of a transition.

    Attributes:
        wait: whether to wait at all.
        timeout: how long it may take.
        poll: how often to look.
    """

    wait: bool = True
    timeout: timedelta = field(default=TRANSITION_TIMEOUT, validator=_positive)
    poll: timedelta = field(default=POLL, validator=_positive)


@frozen(kw_only=True)
class Goal:
    """Where a transition is to end.

    Attributes:
        status: the status to be reached.
        model: ``(project, model)`` that must be deployed then; None for any.
    """

    status: DeploymentStatus
    model: tuple[str, str] | None = None

    def reached(self, deployment: Deployment) -> bool:
        """Whether this is it."""
        deployed = (deployment.project, deployment.model)
        return deployment.status is self.status and self.model in {None, deployed}

    def __str__(self) -> str:
        """In words."""
        return self.status.value + (f" with {'/'.join(self.model)}" if self.model else "")


class Watch:
    """Looks on while a deployment moves towards a goal.

    A deployment that rests elsewhere has failed to get there if it was seen on its way (on a
    failed replace the Platform goes back to the old model), or if it showed no sign of moving
    for `UNMOVED`: what is read just after a change may still be the state before it.
    """

    def __init__(self, goal: Goal, ending: Ending, *, clock: Clock, asked_for: bool) -> None:
        """Begin to look.

        Args:
            goal: where it should end.
            ending: how long and how often to look.
            clock: where time comes from.
            asked_for: whether the change was asked for just now, so that a status ``failed``
                may be that of before.
        """
        self._goal = goal
        self._ending = ending
        self._clock = clock
        self._asked_for = asked_for
        self._began = clock.monotonic()
        self._moved = False
        self._last: Deployment | None = None

    @property
    def _elapsed(self) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - self._began)

    def ended(self, seen: Deployment) -> bool:
        """Whether the goal is reached.

        Raises:
            TransitionFailed: it ended elsewhere.
        """
        self._last = seen
        if self._goal.reached(seen):
            return True
        if seen.status.transitional:
            self._moved = True
            return False
        failed = seen.status is DeploymentStatus.FAILED and not self._asked_for
        if self._moved or failed or self._elapsed >= UNMOVED:
            raise _failure(seen.ref, f"it did not get to {self._goal} but rests at: {seen}")
        return False

    def pause_seconds(self, address: Address, trouble: PlatformError | None) -> float:
        """Seconds until the next look.

        Args:
            address: what is looked at.
            trouble: why the last look saw nothing, None when it did.

        Raises:
            TransitionFailed: there is no time left.
        """
        left = self._ending.timeout - self._elapsed
        if left <= timedelta(0):
            state = f"the last look failed: {trouble}" if trouble else f"it stands at: {self._last}"
            why = f"it did not get to {self._goal} within {self._ending.timeout}; {state}"
            raise _failure(str(address), why) from trouble
        return min(left, self._ending.poll).total_seconds()


def _failure(ref: str, why: str) -> TransitionFailed:
    return TransitionFailed(f"{ref}: {why}", method="GET", path=f"/api/deployments/{ref}")
