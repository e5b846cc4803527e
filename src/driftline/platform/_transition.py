"""When a start, a stop or a replace has ended, well or not: judged from what is seen, no I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import field, frozen

from driftline._checks import positive
from driftline.errors import TransitionFailed
from driftline.platform._deployment import Deployment, DeploymentStatus

POLL: Final = timedelta(seconds=3)
"""How often a transition is looked at: the Platform's own page does so every 3 s."""
TRANSITION_TIMEOUT: Final = timedelta(minutes=15)
"""How long a transition may take before it counts as failed. The Platform states no bound;
building a revision and its first cold start take minutes."""
UNMOVED: Final = timedelta(seconds=30)
"""How long a deployment may show no sign of a transition before that counts as its end."""


@frozen(kw_only=True)
class Ending:
    """Whether and how to wait for the end of a transition.

    Attributes:
        wait: whether to wait at all.
        timeout: how long it may take.
        poll: how often to look.
    """

    wait: bool = True
    timeout: timedelta = field(default=TRANSITION_TIMEOUT, validator=positive)
    poll: timedelta = field(default=POLL, validator=positive)


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

    def __init__(self, goal: Goal, *, asked_for: bool) -> None:
        """Begin to look.

        Args:
            goal: where it should end.
            asked_for: whether the change was asked for just now, so that a status ``failed``
                may be that of before.
        """
        self.goal = goal
        self._asked_for = asked_for
        self._moved = False

    def ended(self, seen: Deployment, elapsed: timedelta) -> bool:
        """Whether the goal is reached, so long after the first look.

        Raises:
            TransitionFailed: it ended elsewhere.
        """
        if self.goal.reached(seen):
            return True
        if seen.status.transitional:
            self._moved = True
            return False
        failed = seen.status is DeploymentStatus.FAILED and not self._asked_for
        if self._moved or failed or elapsed >= UNMOVED:
            msg = f"{seen.ref}: it did not get to {self.goal} but rests at: {seen}"
            raise TransitionFailed(msg, method="GET", path=f"/api/deployments/{seen.ref}")
        return False
