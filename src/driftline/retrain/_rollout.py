"""Bring a new model to an endpoint step by step, and back if it is worse."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from attrs import evolve, frozen

from driftline._clock import Clock
from driftline._draw import Shown, View, plot
from driftline._progress import Progress
from driftline.errors import (
    ConfigError,
    Conflict,
    InputError,
    PlatformBroken,
    PlatformError,
    StoreConflict,
    TransitionFailed,
    Unreachable,
    UnreadableReply,
)
from driftline.platform import Deployment, DeploymentStatus, Ref
from driftline.platform._deployment import parse_model
from driftline.platform._transition import POLL, TRANSITION_TIMEOUT, UNMOVED
from driftline.records import Remove, Sample, Store
from driftline.retrain import _views
from driftline.retrain._guard import Guard, Judgement, Verdict
from driftline.retrain._stages import (
    SHARES,
    Order,
    Phase,
    Stage,
    State,
    Step,
    begin,
    checked_stages,
)
from driftline.retrain._worker import SPACE, SYNC_EVERY, RolloutRouter, whole_ref

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_log = logging.getLogger("driftline.retrain")

MOST_SENT: Final = 3
"""How often a replace is sent whose reply was never seen and that nothing came of."""
_SERVING: Final = (DeploymentStatus.READY, DeploymentStatus.DEPLOYING)
"""Statuses in which a deployment answers: the old revision serves while a new one deploys."""


class RolloutPlatform(Protocol):
    """What a rollout needs of the Platform; `driftline.PlatformClient` has it."""

    def deployment(self, ref: Ref) -> Deployment:
        """One deployment."""
        ...

    def replace(self, ref: Ref, model: str, *, wait: bool = True) -> Deployment:
        """Roll another model out to it, all at once."""
        ...


@frozen(kw_only=True)
class Proposal:
    """A replace that waits for somebody's yes.

    Attributes:
        action: ``"prepare"``: bring the candidate to the canary, which serves nobody yet;
            ``"promote"``: bring it to the main deployment, for everybody.
        deployment: ``"owner/deployment"`` to be replaced.
        model: ``"project/model"`` it is to serve.
        instead_of: what it serves now; None where that model was deleted.
        judgement: what the arms showed; None before they were compared.
    """

    action: Literal["prepare", "promote"]
    deployment: str
    model: str
    instead_of: str | None
    judgement: Judgement | None = None

    def __str__(self) -> str:
        """What is to be done, and on what ground."""
        ground = "" if self.judgement is None else f"\n{self.judgement}"
        return (
            f"{self.action}: {self.deployment} to serve {self.model} "
            f"instead of {self.instead_of or 'a deleted model'}{ground}"
        )


Approve: TypeAlias = Callable[[Proposal], bool]


@frozen(kw_only=True, repr=False)
class RolloutStatus(Shown):
    """Where a rollout stands.

    Attributes:
        deployment: the main deployment.
        canary: the deployment of the candidate.
        candidate: ``"project/model"`` on trial.
        previous: what a rollback goes back to.
        phase: where it stands.
        stage: number of the present stage, from 0.
        stages: the plan.
        since: when the stage began, UTC.
        at: the time of this status, UTC.
        share: share of keys that the candidate serves now, on the canary.
        frames: frames the candidate saw in this stage.
        judgement: what the guard concludes now.
        steps: what happened, oldest first.
        approved: who approved the replace, "" for nobody.
        late: frames that came after their stage was over and were not compared.
        note: what stands in the way, "" for nothing; of `Rollout.advance` only.
    """

    deployment: str
    canary: str
    candidate: str
    previous: str
    phase: Phase
    stage: int
    stages: tuple[Stage, ...]
    since: datetime
    at: datetime
    share: float
    frames: int
    judgement: Judgement
    steps: tuple[Step, ...]
    approved: str = ""
    late: int = 0
    note: str = ""

    @property
    def reason(self) -> str:
        """Why it stands where it stands."""
        return self.steps[-1].reason

    def __str__(self) -> str:
        """The rollout in a few lines, with the numbers it rests on."""
        lines = [
            f"{self.deployment}: {self.previous} -> {self.candidate} (on {self.canary})",
            f"{self.phase} since {self.steps[-1].at:%Y-%m-%d %H:%M:%S} UTC: {self.reason}",
        ]
        if self.phase.dealing:
            plan = self.stages[self.stage]
            lines.append(
                f"stage {self.stage + 1} of {len(self.stages)}, {plan} of the keys, "
                f"{self.frames} candidate frames"
            )
            lines.append(str(self.judgement))
        if self.note:
            lines.append(self.note)
        return "\n".join(lines)

    def to_samples(self) -> list[Sample]:
        """The share, and the difference of each measure, for a metric sink."""
        labels = {"candidate": self.candidate}

        def sample(metric: str, value: float, **more: str) -> Sample:
            return Sample(
                metric=metric,
                value=value,
                at=self.at,
                deployment=self.deployment,
                labels=labels | more,
            )

        differences = [d for d in self.judgement.differences if not math.isnan(d.difference)]
        return [
            sample("rollout.share", self.share),
            *(sample("rollout.difference", d.difference, measure=d.measure) for d in differences),
        ]

    def plot(self, ax: Axes | None = None) -> Axes:
        """The two arms measure by measure; the title says where the rollout stands.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.rollout(self), ax)

    def _view(self) -> View:
        return _views.view_of_rollout(self)


class Rollout(RolloutRouter):
    """A candidate's way to an endpoint: a second deployment, a growing share, a guard, a replace.

    The Platform moves all traffic at once. So the candidate serves on a deployment of its own
    (the canary), and callers ask `route` which of the two a frame goes to. `advance`, called
    by a scheduler, compares both and decides: the next stage, no change, or all the way back.
    After the last stage the main deployment is replaced, so that its address stays.

    Everything is one document in the store, written before it is done: after a crash, anywhere,
    `advance` goes on where it was, and traffic is where it was.
    """

    def __init__(
        self,
        platform: RolloutPlatform | None,
        store: Store,
        deployment: str,
        *,
        canary: str,
        candidate: str,
        stages: Iterable[Stage | float] = SHARES,
        guard: Guard | None = None,
        approve: Approve | None = None,
        auto_promote: bool = False,
        name: str | None = None,
        clock: Clock | None = None,
        sync_every: timedelta | None = SYNC_EVERY,
    ) -> None:
        """Keep what to do; nothing is asked or changed yet.

        Args:
            platform: a `PlatformClient`; None in workers that only route and observe.
            store: where the rollout is remembered; one that all workers share.
            deployment: ``"owner/deployment"``, the main deployment: its address stays.
            canary: ``"owner/deployment"`` of a second deployment, for the candidate. Making and
                stopping it is yours: it costs.
            candidate: ``"project/model"`` that is to serve.
            stages: shares of keys that the candidate serves, or `Stage` objects;
                ``Stage(share=0, copies=0.1)`` is shadow.
            guard: how the arms are compared.
            approve: asked before a replace; True approves. Not asked before a rollback.
            auto_promote: the last stage ends in the replace without asking.
            name: deals the keys; the same name deals the same keys first. Else the deployment
                and the candidate.
            clock: where time comes from; else the machine's.
            sync_every: as in `RolloutRouter`.

        Raises:
            InputError: an argument cannot be used.
        """
        super().__init__(store, deployment, clock=clock, sync_every=sync_every)
        self._platform = platform
        self._canary = whole_ref(canary, name="canary")
        if self._canary == self._deployment:
            msg = f"canary={canary!r} is the deployment itself; it needs a second one"
            raise InputError(msg)
        self._candidate = "/".join(parse_model(candidate))
        self._stages = checked_stages(stages)
        self._guard = Guard() if guard is None else guard
        self._approve = _checked_function(approve)
        self._auto_promote = auto_promote
        self._salt = f"{self._deployment}:{self._candidate}" if name is None else name

    # --- what people ask ----------------------------------------------------------------------

    @property
    def candidate(self) -> str:
        """``"project/model"`` that is to serve."""
        return self._candidate

    def status(self) -> RolloutStatus:
        """Where the rollout stands, read from the store.

        Raises:
            ConfigError: none has begun.
            StoreError: the store failed.
        """
        return self._status(self._known())

    def approve(self, by: str) -> RolloutStatus:
        """Say yes to the replace that `advance` will then do.

        Args:
            by: who says so, for the record.

        Raises:
            InputError: nobody is named.
            ConfigError: nothing awaits approval.
        """
        if not by.strip():
            msg = f"by={by!r} must name who approves"
            raise InputError(msg)

        def change(state: State) -> State:
            if state.phase is not Phase.AWAITING_APPROVAL:
                msg = f"{state.deployment} is {state.phase}: nothing awaits approval"
                raise ConfigError(msg)
            return evolve(state, approved=by)

        return self._status(self._changed(change))

    def roll_back(self, reason: str, *, wait: bool = True) -> RolloutStatus:
        """Send all traffic back now, whatever the phase, and replace back where need be.

        Args:
            reason: why, for the record.
            wait: as in `advance`.

        Raises:
            ConfigError: none has begun.
            PlatformError: traffic goes back in any case; call `advance` to bring the main
                deployment back.
        """
        now = self._clock.now()
        self._changed(lambda state: state.roll_back(reason, now=now))
        return self._go(wait=wait)

    def forget(self) -> None:
        """Let the same candidate be rolled out again; only when it is over.

        Raises:
            ConfigError: it is not over.
        """
        found = self._read()
        if found is None:
            return
        state, version = found
        if not state.phase.over:
            msg = f"{state.deployment} is {state.phase}; roll_back() ends it"
            raise ConfigError(msg)
        self._store.write([Remove(space=SPACE, key=self._deployment, version=version)])
        self._follow(None)

    # --- what a scheduler calls ---------------------------------------------------------------

    def advance(self, *, wait: bool = True) -> RolloutStatus:
        """Do whatever is due: begin, compare, change the stage, replace, roll back.

        Call it as often as you like, from as many places: it changes nothing that is not due.

        Args:
            wait: whether to wait for a replace under way, up to 15 minutes; else the next call
                looks again.

        Raises:
            ConfigError: the rollout cannot begin or is another than the one under way.
            TransitionFailed: a rollback could not be carried out.
            PlatformError: the Platform could not be asked; nothing was changed.
            StoreError: the store failed.
        """
        self._begin()
        self.sync()
        return self._go(wait=wait)

    def _go(self, *, wait: bool) -> RolloutStatus:
        give_up = self._clock.monotonic() + TRANSITION_TIMEOUT.total_seconds()
        with Progress(shown=None) as line:
            while True:
                before = self._known()
                note = self._step(before)
                after = self._known()
                moved = (after.phase, after.stage) != (before.phase, before.stage)
                if moved:
                    _log.info("%s: %s", self._deployment, after.steps[-1])
                elif not (wait and note.under_way) or self._clock.monotonic() >= give_up:
                    self._follow(after)
                    return self._status(after, note=note.text)
                else:
                    line.tell(f"rollout of {self._deployment}: {note.text}")
                    self._clock.sleep(POLL.total_seconds())

    def _step(self, state: State) -> _Note:
        if state.phase.over:
            return _Note("")
        if state.phase is Phase.PREPARING:
            return self._prepare(state)
        if state.phase is Phase.PROMOTING:
            return self._promote(state)
        if state.phase is Phase.ROLLING_BACK:
            return self._bring_back(state)
        return self._judge(state)

    # --- begin --------------------------------------------------------------------------------

    def _begin(self) -> None:
        found = self._read()
        if found is not None and self._continues(found[0]):
            return
        now = self._clock.now()
        main = self._at.deployment(self._deployment)
        state = begin(
            salt=self._salt,
            refs=(self._deployment, self._canary),
            models=(self._candidate, self._to_go_back_to(main)),
            stages=self._stages,
            guard=self._guard,
            now=now,
        )
        try:
            self._write(state, 0 if found is None else found[1], before=None)
        except StoreConflict:  # somebody else began at the same time
            self._continues(self._known())

    def _continues(self, state: State) -> bool:
        """Whether the rollout in the store is this one.

        Raises:
            ConfigError: it is another one and not over.
        """
        same = state.candidate == self._candidate
        if state.phase.over:
            return same
        plan = (state.canary, state.salt, state.stages, state.guard)
        ours = (self._canary, self._salt, self._stages, self._guard)
        if same and plan == ours:
            return True
        what = "with another plan" if same else f"of {state.candidate}"
        msg = (
            f"a rollout {what} is under way on {state.deployment} ({state.phase} since "
            f"{state.since:%Y-%m-%d %H:%M} UTC); finish it or roll_back() before this one"
        )
        raise ConfigError(msg)

    def _to_go_back_to(self, main: Deployment) -> str:
        if main.status is not DeploymentStatus.READY:
            msg = f"{main.ref} is {main.status}; a rollout begins when it is ready"
            raise ConfigError(msg)
        if main.model_ref is None:
            msg = f"the model of {main.ref} was deleted: there would be nothing to roll back to"
            raise ConfigError(msg)
        if main.model_ref == self._candidate:
            msg = f"{main.ref} serves {self._candidate} already"
            raise ConfigError(msg)
        return main.model_ref

    def _prepare(self, state: State) -> _Note:
        canary = self._at.deployment(state.canary)
        serves = canary.model_ref == state.candidate
        if canary.status is DeploymentStatus.READY and serves:
            now = self._clock.now()
            self._changed(
                lambda s: evolve(s, order=None).run(now=now) if s.phase is Phase.PREPARING else s
            )
            return _Note("")
        if canary.status.transitional:
            return _Note(f"waiting for {canary}", under_way=True)
        if canary.status is not DeploymentStatus.READY:
            return _Note(f"{state.canary} is {canary.status}: platform.start({state.canary!r})")
        if state.order is None and not self._says_yes("prepare", canary, state):
            return _Note(
                f"{state.canary} serves {canary.model_ref}: platform.replace({state.canary!r}, "
                f"{state.candidate!r}), or approve= a proposal to 'prepare'"
            )
        note = self._replace(state, canary, state.candidate)
        return note or _Note(f"{state.canary} did not take {state.candidate}: {canary}")

    # --- compare ------------------------------------------------------------------------------

    def _judge(self, state: State) -> _Note:
        main = self._at.deployment(state.deployment)
        if main.model_ref == state.candidate and main.status is DeploymentStatus.READY:
            self._end(state.phase, Phase.PROMOTED, f"somebody replaced {main.ref} by hand")
            return _Note("")
        if trouble := self._trouble(state, main):
            self._decide_back(trouble)
            return _Note("")
        now = self._clock.now()

        def change(now_stored: State) -> State:
            if (now_stored.phase, now_stored.stage) != (state.phase, state.stage):
                return now_stored  # somebody else was faster
            return now_stored.follow(now_stored.judgement(now), now=now)

        after = self._changed(change)
        if after.phase is not Phase.AWAITING_APPROVAL or state.phase is not after.phase:
            return _Note("")
        return self._ask(after, now)

    def _decide_back(self, reason: str) -> None:
        """Decide to roll back; the next step carries it out."""
        now = self._clock.now()
        self._changed(lambda state: state.roll_back(reason, now=now))

    def _trouble(self, state: State, main: Deployment) -> str:
        """Why the two deployments can no longer be compared, "" when they can."""
        if main.model_ref != state.previous:
            return f"{main.ref} serves {main.model_ref} now, not {state.previous}"
        canary = self._at.deployment(state.canary)
        if canary.model_ref != state.candidate or canary.status not in _SERVING:
            return f"{canary.ref} should serve {state.candidate}, but: {canary}"
        return ""

    def _ask(self, state: State, now: datetime) -> _Note:
        by = state.approved
        if not by and state.order is None:  # after a failed replace only a person's word counts
            main = self._at.deployment(state.deployment)
            by = "auto_promote" if self._auto_promote else ""
            by = by or ("the approve function" if self._says_yes("promote", main, state) else "")
        if not by:
            return _Note(
                f"{state.deployment} is to be replaced by {state.candidate}: approve(by=...) it"
            )

        def change(stored: State) -> State:
            if stored.phase is not Phase.AWAITING_APPROVAL:
                return stored
            reason = f"approved by {by}"
            return stored.move(Phase.PROMOTING, reason, now=now, approved=by, order=None)

        self._changed(change)
        return _Note("")

    def _says_yes(
        self, action: Literal["prepare", "promote"], target: Deployment, state: State
    ) -> bool:
        if self._approve is None:
            return False
        judgement = state.judgement(self._clock.now()) if action == "promote" else None
        proposal = Proposal(
            action=action,
            deployment=target.ref,
            model=state.candidate,
            instead_of=target.model_ref,
            judgement=judgement,
        )
        return self._approve(proposal) is True

    # --- replace ------------------------------------------------------------------------------

    def _promote(self, state: State) -> _Note:
        now = self._clock.now()
        judgement = state.judgement(now)
        if judgement.verdict is Verdict.ROLL_BACK:
            self._decide_back("; ".join(judgement.reasons))
            return _Note("")
        main = self._at.deployment(state.deployment)
        if main.model_ref == state.candidate and main.status is DeploymentStatus.READY:
            reason = f"{main.ref} serves {state.candidate}; {state.canary} may be stopped"
            self._end(Phase.PROMOTING, Phase.PROMOTED, reason)
            return _Note("")
        if main.model_ref not in {state.previous, state.candidate}:
            self._decide_back(f"somebody else brought {main.model_ref} to {main.ref}")
            return _Note("")
        if (note := self._replace(state, main, state.candidate)) is not None:
            return note
        reason = f"the replace failed, so that nothing changed: {main}"

        def change(stored: State) -> State:
            if stored.phase is not Phase.PROMOTING:
                return stored
            return stored.move(Phase.AWAITING_APPROVAL, reason, now=now, approved="")

        self._changed(change)
        return _Note("")

    def _bring_back(self, state: State) -> _Note:
        main = self._at.deployment(state.deployment)
        if main.model_ref == state.previous and main.status is DeploymentStatus.READY:
            # What is read just after a replace may be old: it may still be on its way.
            if state.forth is not None and self._clock.now() < state.forth.at + UNMOVED:
                text = f"waiting for a sign of the replace of {main.ref} that was under way"
                return _Note(text, under_way=True)
            self._end(Phase.ROLLING_BACK, Phase.ROLLED_BACK, state.reason)
            return _Note("")
        if main.model_ref not in {state.previous, state.candidate}:
            reason = f"{state.reason}; {main.ref} serves {main.model_ref}, which is left alone"
            self._end(Phase.ROLLING_BACK, Phase.ROLLED_BACK, reason)
            return _Note("")
        if (note := self._replace(state, main, state.previous)) is not None:
            return note
        self._changed(lambda stored: evolve(stored, order=None))
        msg = f"{main.ref} did not go back to {state.previous}: {main}; call advance() again"
        raise TransitionFailed(msg)

    def _end(self, expected: Phase, phase: Phase, reason: str) -> None:
        now = self._clock.now()
        self._changed(
            lambda s: s.move(phase, reason, now=now, order=None) if s.phase is expected else s
        )

    def _replace(self, state: State, seen: Deployment, model: str) -> _Note | None:
        """See to it that a deployment is asked once to serve a model; None when that failed.

        The order is written down by compare-and-swap before it is sent, so that of many callers
        one sends it. A caller that dies in between leaves an order without a reply: it is sent
        again when the deployment shows no sign of it for `UNMOVED`.
        """
        asked = state.order
        order = asked if asked is not None and asked.model == model else None
        if seen.status.transitional:
            if order is not None and not order.taken:
                self._note_taken(order)
            return _Note(f"waiting for {seen}", under_way=True)
        if seen.status is not DeploymentStatus.READY:
            return _Note(f"{seen.ref} is {seen.status}: platform.start({seen.ref!r})")
        now = self._clock.now()
        if order is not None and now < order.at + UNMOVED:
            return _Note(f"waiting for a sign that {seen.ref} takes {model}", under_way=True)
        if order is not None and (order.taken or order.sent >= MOST_SENT):
            return None
        sent = 1 if order is None else order.sent + 1
        mine = Order(ref=seen.ref, model=model, at=now, sent=sent)
        if self._claim(state, mine):
            self._send(mine)
        return _Note(f"{seen.ref} is to serve {model}", under_way=True)

    def _claim(self, state: State, mine: Order) -> bool:
        """Whether this caller is the one that sends the order."""
        won: list[Order] = []

        def change(stored: State) -> State:
            won.clear()
            if (stored.phase, stored.order) != (state.phase, state.order):
                return stored
            won.append(mine)
            return evolve(stored, order=mine)

        self._changed(change)
        return bool(won)

    def _send(self, order: Order) -> None:
        try:
            self._at.replace(order.ref, order.model, wait=False)
        except Conflict as exc:  # on its way or there already: the next look tells
            _log.info("replace of %s: %s", order.ref, exc)
            return
        except (Unreachable, PlatformBroken, UnreadableReply):
            raise  # it may have been taken: the order stays, and the next look tells
        except PlatformError:
            self._changed(lambda s: evolve(s, order=None) if s.order == order else s)
            raise
        self._note_taken(order)

    def _note_taken(self, order: Order) -> None:
        self._changed(
            lambda s: evolve(s, order=evolve(order, taken=True)) if s.order == order else s
        )

    # --- small things -------------------------------------------------------------------------

    @property
    def _at(self) -> RolloutPlatform:
        if self._platform is None:
            msg = "this Rollout was made without a platform: it can route and observe only"
            raise ConfigError(msg)
        return self._platform

    def _known(self) -> State:
        found = self._read()
        if found is None:
            msg = f"no rollout has begun on {self._deployment}; call advance()"
            raise ConfigError(msg)
        return found[0]

    def _changed(self, change: Callable[[State], State]) -> State:
        state = self._update(change)
        if state is None:
            msg = f"no rollout has begun on {self._deployment}; call advance()"
            raise ConfigError(msg)
        return state

    def _status(self, state: State, *, note: str = "") -> RolloutStatus:
        now = self._clock.now()
        return RolloutStatus(
            deployment=state.deployment,
            canary=state.canary,
            candidate=state.candidate,
            previous=state.previous,
            phase=state.phase,
            stage=state.stage,
            stages=state.stages,
            since=state.since,
            at=now,
            share=state.table.share,
            frames=state.frames,
            judgement=state.judgement(now),
            steps=state.steps,
            approved=state.approved,
            late=state.late,
            note=note,
        )


def _checked_function(approve: Approve | None) -> Approve | None:
    """`approve`, if it can be asked.

    Raises:
        InputError: it is no function: ``approve=True`` would be easy to write.
    """
    given: object = approve
    if given is not None and not callable(given):
        msg = f"approve={given!r} must be a function that takes a Proposal, or None"
        raise InputError(msg)
    return approve


@frozen
class _Note:
    """What a step has to say: what it waits for, and whether that comes by itself."""

    text: str
    under_way: bool = False
