"""A rollout as one small document: where it stands, why, and what it has seen. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from attrs import evolve, field, frozen

from driftline._checks import not_negative, number, parts
from driftline._clock import as_utc
from driftline.errors import InputError, StoreError
from driftline.retrain._arms import PAIRED, Arm, Counts
from driftline.retrain._guard import Guard, Judgement, Ledger, Question, Verdict, judge
from driftline.retrain._router import Table

FORMAT: Final = 1
"""Version of the document; another one is refused, not guessed at."""
SHARES: Final = (0.05, 0.25, 0.5, 1.0)
REMEMBERED_WORKERS: Final = 512
"""Workers whose last batch is remembered, to recognise one that is handed in twice."""


class Phase(StrEnum):
    """Where a rollout stands."""

    PREPARING = "preparing"
    """the canary does not serve the candidate yet; all traffic goes to the main deployment"""
    RUNNING = "running"
    """traffic is split as the stage says"""
    AWAITING_APPROVAL = "awaiting approval"
    """the last stage is passed; traffic stays as it is until somebody approves the replace"""
    PROMOTING = "promoting"
    """the main deployment is being replaced; traffic stays as it is"""
    PROMOTED = "promoted"
    """the main deployment serves the candidate, and all traffic goes there"""
    ROLLING_BACK = "rolling back"
    """all traffic goes to the main deployment, which is being brought back if need be"""
    ROLLED_BACK = "rolled back"
    """the main deployment serves the previous model, and all traffic goes there"""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in {Phase.PROMOTED, Phase.ROLLED_BACK}

    @property
    def dealing(self) -> bool:
        """Whether traffic goes as the stage says."""
        return self in {Phase.RUNNING, Phase.AWAITING_APPROVAL, Phase.PROMOTING}


_SHARE = number("a share, 0 to 1", least=0, most=1)


@frozen(kw_only=True)
class Stage:
    """One step of a rollout.

    Attributes:
        share: share of keys that the candidate serves, 0 to 1; 0 for shadow.
        copies: share of keys whose frames are also sent to the candidate without its answers
            being served, 0 to 1; only with share 0.
        dwell: how long the stage lasts at least.
        frames: how many frames the candidate must see at least.
    """

    share: float = field(validator=_SHARE)
    copies: float = field(default=0.0, validator=_SHARE)
    dwell: timedelta = field(default=timedelta(hours=1), validator=not_negative)
    frames: int = field(
        default=200, validator=number("a whole number, 0 or more", least=0, whole=True)
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a stage in which the candidate sees nothing."""
        if (self.share > 0) == (self.copies > 0):
            msg = (
                f"share={self.share!r} with copies={self.copies!r}: a stage either serves the "
                "candidate's answers (share above 0) or copies frames to it (copies above 0)"
            )
            raise InputError(msg)

    @property
    def shadow(self) -> bool:
        """Whether the candidate gets copies only."""
        return self.copies > 0

    def __str__(self) -> str:
        """The share in words."""
        return f"{100 * (self.copies or self.share):.3g} %" + (" (copies)" if self.shadow else "")


def checked_stages(stages: Iterable[Stage | float]) -> tuple[Stage, ...]:
    """Stages of a rollout; a plain number is a share with the default dwell and frames.

    Raises:
        InputError: there is none, shares do not grow, or no stage compares the two models.
    """
    given = parts(stages, object, name="stages", what="a Stage or a share from 0 to 1")
    made = tuple(s if isinstance(s, Stage) else Stage(share=_number(s)) for s in given)
    if not made:
        msg = "stages is empty; pass shares such as (0.05, 0.25, 0.5, 1.0)"
        raise InputError(msg)
    shares = [stage.share for stage in made]
    if any(b <= a for a, b in pairwise(shares)):
        msg = f"shares must grow from stage to stage, got {shares}"
        raise InputError(msg)
    if made[0].share == 1:
        msg = "the first stage gives the candidate all traffic: nothing is left to compare it to"
        raise InputError(msg)
    if made[-1].share == 1 and made[-2].shadow:
        msg = "a stage below 1 must come before the one at 1, for the incumbent to compare to"
        raise InputError(msg)
    return made


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        msg = f"a stage must be a Stage or a share from 0 to 1, got {value!r}"
        raise InputError(msg)
    return float(value)


@frozen(kw_only=True)
class Step:
    """One change of a rollout, for the record.

    Attributes:
        at: when, UTC.
        phase: where it stands since.
        stage: number of the stage.
        reason: why.
    """

    at: datetime
    phase: Phase
    stage: int
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.phase} (stage {self.stage + 1}): {self.reason}"


@frozen(kw_only=True)
class Order:
    """A replace that was decided: written down before it is sent, so that it is sent once.

    Attributes:
        ref: deployment to be replaced.
        model: what it is to serve.
        at: when it was decided, UTC.
        taken: whether the Platform said that it takes it.
        sent: how often it was sent, or was about to be.
    """

    ref: str
    model: str
    at: datetime
    taken: bool = False
    sent: int = 1


@frozen(kw_only=True)
class Batch:
    """What one worker hands in at a time.

    Attributes:
        worker: who.
        number: 1 for its first batch, one more each time.
        stage: number of the stage it was seen in.
        counts: what was seen.
    """

    worker: str
    number: int
    stage: int
    counts: Counts


@frozen(kw_only=True)
class State:
    """A rollout at one moment.

    Attributes:
        salt: name of the rollout, which deals the keys.
        deployment: ``"owner/slug"`` of the main deployment.
        canary: that of the deployment of the candidate.
        candidate: ``"project/model"`` on trial.
        previous: ``"project/model"`` that served before: what a rollback goes back to.
        stages: the plan.
        guard: how the arms are compared.
        began: when, UTC.
        phase: where it stands.
        stage: number of the present stage, from 0.
        since: when the present stage began, UTC.
        epoch_since: when the present epoch of the guard began, UTC.
        ledger: what was seen.
        steps: what happened, oldest first.
        order: the replace under way, None for none.
        approved: who approved the replace, "" for nobody.
        late: frames that came after their stage was over; they are not compared.
        batches: number of the last batch of each worker, newest last.
    """

    salt: str
    deployment: str
    canary: str
    candidate: str
    previous: str
    stages: tuple[Stage, ...]
    guard: Guard
    began: datetime
    phase: Phase = Phase.PREPARING
    stage: int = 0
    since: datetime
    epoch_since: datetime
    ledger: Ledger = field(factory=Ledger)
    steps: tuple[Step, ...] = ()
    order: Order | None = None
    approved: str = ""
    late: int = 0
    batches: Mapping[str, int] = field(factory=dict)

    # --- what follows from it -----------------------------------------------------------------

    @property
    def plan(self) -> Stage:
        """The present stage."""
        return self.stages[self.stage]

    @property
    def question(self) -> Question:
        """What the guard asks in this stage."""
        return Question(guard=self.guard, paired=self.plan.shadow)

    @property
    def frames(self) -> int:
        """Frames the candidate saw in this stage."""
        return self.ledger.stage.frames.get(PAIRED if self.plan.shadow else Arm.CANDIDATE, 0)

    @property
    def reason(self) -> str:
        """Why it stands where it stands."""
        return self.steps[-1].reason if self.steps else ""

    @property
    def forth(self) -> Order | None:
        """The order that brings the candidate to the main deployment; a rollback must outlast it."""
        order = self.order
        forth = order is not None and (order.ref, order.model) == (self.deployment, self.candidate)
        return order if forth else None

    @property
    def table(self) -> Table:
        """Where keys go."""
        quiet = not self.phase.dealing
        return Table(
            salt=self.salt,
            deployment=self.deployment,
            canary=self.canary,
            share=0.0 if quiet else self.plan.share,
            copies=0.0 if quiet else self.plan.copies,
            stage=-1 if quiet else self.stage,
        )

    def judgement(self, now: datetime) -> Judgement:
        """What the guard concludes now."""
        return judge(self.question, self.ledger, too_early=self._too_early(now))

    def _too_early(self, now: datetime) -> str:
        left = self.since + self.plan.dwell - now
        missing = self.plan.frames - self.frames
        parts = [f"{left} to go"] if left > timedelta(0) else []
        parts += [f"{missing} candidate frames to go"] if missing > 0 else []
        return f"the stage has {' and '.join(parts)}" if parts else ""

    # --- what happens to it -------------------------------------------------------------------

    def move(self, phase: Phase, reason: str, *, now: datetime, **changes: Any) -> State:
        """The state after a change of phase."""
        stage: int = changes.get("stage", self.stage)
        step = Step(at=now, phase=phase, stage=stage, reason=reason)
        return evolve(self, phase=phase, steps=(*self.steps, step), **changes)

    def run(self, *, now: datetime) -> State:
        """The state when the canary serves the candidate and the first stage begins."""
        reason = f"{self.canary} serves {self.candidate}; {self.plan} of the keys"
        return self.move(Phase.RUNNING, reason, now=now, since=now, epoch_since=now)

    def merge(self, batch: Batch) -> State:
        """The state with what a worker saw; the same batch again changes nothing."""
        if self.batches.get(batch.worker, 0) >= batch.number:
            return self
        kept = {name: n for name, n in self.batches.items() if name != batch.worker}
        newest = dict(list({**kept, batch.worker: batch.number}.items())[-REMEMBERED_WORKERS:])
        if not self.phase.dealing or batch.stage != self.stage:
            late = self.late + sum(batch.counts.frames.values())
            return evolve(self, batches=newest, late=late)
        ledger = evolve(self.ledger, open=self.ledger.open + batch.counts)
        return evolve(self, batches=newest, ledger=ledger)

    def turn_epoch(self, now: datetime) -> State:
        """The state with a new epoch, where the present one is over."""
        if now < self.epoch_since + self.guard.epoch:
            return self
        return evolve(self, epoch_since=now, ledger=self.question.close(self.ledger))

    def follow(self, judgement: Judgement, *, now: datetime) -> State:
        """The state after a judgement."""
        reason = "; ".join(judgement.reasons)
        if judgement.verdict is Verdict.ROLL_BACK:
            return self.roll_back(reason, now=now)
        if judgement.verdict is Verdict.HOLD or self.phase is not Phase.RUNNING:
            return self.turn_epoch(now)
        if self.stage + 1 == len(self.stages):
            return self.move(Phase.AWAITING_APPROVAL, reason, now=now)
        following = self.stages[self.stage + 1]
        ledger = self.question.next_stage(self.ledger, soak=following.share == 1)
        return self.move(
            Phase.RUNNING,
            f"{following} of the keys, because {reason}",
            now=now,
            stage=self.stage + 1,
            since=now,
            epoch_since=now,
            ledger=ledger,
        )

    def roll_back(self, reason: str, *, now: datetime) -> State:
        """The state when all traffic is to go back; nothing changes when it is back already."""
        if self.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
            return self
        return self.move(Phase.ROLLING_BACK, reason, now=now, order=self.forth, approved="")

    # --- as JSON ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        order = self.order
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: getattr(self, name).isoformat() for name in _TIMES},
            "stages": [
                {**{n: getattr(s, n) for n in _STAGE}, "dwell": s.dwell.total_seconds()}
                for s in self.stages
            ],
            "guard": self.guard.to_json(),
            "phase": self.phase.value,
            "ledger": self.ledger.to_json(),
            "steps": [[s.at.isoformat(), s.phase.value, s.stage, s.reason] for s in self.steps],
            "order": None
            if order is None
            else [order.ref, order.model, order.at.isoformat(), order.taken, order.sent],
            "batches": dict(self.batches),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> State:
        """What `to_json` wrote.

        Raises:
            StoreError: it was written by another version.
        """
        if value.get("format") != FORMAT:
            msg = (
                f"the stored rollout has format {value.get('format')!r}, this version reads "
                f"{FORMAT}; finish it with the version that began it"
            )
            raise StoreError(msg)
        plain: dict[str, Any] = {name: value[name] for name in _PLAIN}
        plain |= {name: datetime.fromisoformat(value[name]) for name in _TIMES}
        order = value["order"]
        return cls(
            **plain,
            stages=tuple(
                Stage(**{n: s[n] for n in _STAGE}, dwell=timedelta(seconds=s["dwell"]))
                for s in value["stages"]
            ),
            guard=Guard.from_json(value["guard"]),
            phase=Phase(value["phase"]),
            ledger=Ledger.from_json(value["ledger"]),
            steps=tuple(
                Step(at=datetime.fromisoformat(at), phase=Phase(phase), stage=stage, reason=reason)
                for at, phase, stage, reason in value["steps"]
            ),
            order=None
            if order is None
            else Order(
                ref=order[0],
                model=order[1],
                at=datetime.fromisoformat(order[2]),
                taken=order[3],
                sent=order[4],
            ),
            batches=value["batches"],
        )


_PLAIN: Final = (
    "salt",
    "deployment",
    "canary",
    "candidate",
    "previous",
    "stage",
    "approved",
    "late",
)
_TIMES: Final = ("began", "since", "epoch_since")
_STAGE: Final = ("share", "copies", "frames")


def begin(
    *,
    salt: str,
    refs: tuple[str, str],
    models: tuple[str, str],
    stages: tuple[Stage, ...],
    guard: Guard,
    now: datetime,
) -> State:
    """The state of a rollout that begins.

    Args:
        salt: its name.
        refs: main deployment and canary.
        models: candidate and previous model.
        stages: the plan.
        guard: how the arms are compared.
        now: the time.
    """
    at = as_utc(now, name="now")
    state = State(
        salt=salt,
        deployment=refs[0],
        canary=refs[1],
        candidate=models[0],
        previous=models[1],
        stages=stages,
        guard=guard,
        began=at,
        since=at,
        epoch_since=at,
    )
    return state.move(Phase.PREPARING, f"{models[0]} is to follow {models[1]} on {refs[0]}", now=at)
