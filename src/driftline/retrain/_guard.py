"""Whether a candidate may see more traffic: promote, hold or roll back. Pure, may look always.

Rolling back and promoting are two questions with two answers. *Is it worse now?* is asked of
every epoch of the rollout, with a start at each epoch, so that a candidate that goes bad late is
not excused by its past. *Is it not worse?* is asked of the present stage alone, because the split
of the traffic, and with it what the arms are shown, changes between stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, evolve, field, fields, frozen
from attrs.validators import optional

from driftline._checks import Check, not_negative, number, positive
from driftline._draw import Shown, View, plot
from driftline.errors import InputError
from driftline.retrain import _views
from driftline.retrain._arms import PAIRED, Arm, Counts, Measure, Scale, Tally
from driftline.retrain._boundary import above, at, below, exceeds
from driftline.retrain._plain import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TIMES: Final = 1000.0
"""Beyond so many times the frames seen, "more frames" is no advice."""


class Verdict(StrEnum):
    """What a guard concludes."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll back"


_TOLERANCE: Check = optional(number("a number above 0, or None to leave the measure out", above=0))


@frozen(kw_only=True)
class Guard:
    """How much worse a candidate may be, and how sure one must be.

    Tolerances are differences, candidate less incumbent; None leaves a measure out. The defaults
    of `latency_ms` is the p95 budget of the guide; `slow` allows its 5 % of slow answers to
    become 7 %. Every other default is a choice of ours that a service should look at.

    Attributes:
        errors: share of calls that may fail more, 0 to 1.
        slow: share of answers that may be over the budget more, 0 to 1.
        boxes: boxes a frame that it may find more or fewer.
        confidence: how much the mean confidence of a frame may differ, 0 to 1.
        latency_ms: budget of one answer, ms.
        most_boxes: frames with more boxes count as this many.
        alpha: probability of ever rolling back a candidate that is never worse by more than the
            tolerances, and of promoting, in a stage, one that is worse; (0, 1).
        block: frames of one key in so much time are one observation, because those of one camera
            resemble each other; zero counts each frame alone.
        epoch: how often the question "is it worse now?" is put afresh.
    """

    errors: float | None = field(default=0.005, validator=_TOLERANCE)
    slow: float | None = field(default=0.02, validator=_TOLERANCE)
    boxes: float | None = field(default=0.5, validator=_TOLERANCE)
    confidence: float | None = field(default=0.05, validator=_TOLERANCE)
    latency_ms: float = 250.0
    most_boxes: int = 20
    alpha: float = field(
        default=0.05, validator=number("a number between 0 and 1", above=0, below=1)
    )
    block: timedelta = field(default=timedelta(minutes=1), validator=not_negative)
    epoch: timedelta = field(default=timedelta(minutes=30), validator=positive)

    def __attrs_post_init__(self) -> None:
        """Refuse a guard that guards nothing, and tolerances beyond what can be."""
        scale = self.scale
        if not self.tolerances:
            msg = "a guard needs at least one of errors, slow, boxes and confidence"
            raise InputError(msg)
        for measure, tolerance in self.tolerances.items():
            if tolerance >= 1:
                most = scale.boxes if measure is Measure.BOXES else 1
                msg = f"{measure}={getattr(self, measure)!r} tolerates all there is; below {most}"
                raise InputError(msg)

    @property
    def scale(self) -> Scale:
        """How outcomes are measured."""
        return Scale(latency_ms=self.latency_ms, boxes=self.most_boxes)

    @property
    def tolerances(self) -> dict[Measure, float]:
        """Tolerances of the measures that are compared, on the scale from 0 to 1."""
        given = {
            Measure.ERRORS: self.errors,
            Measure.SLOW: self.slow,
            Measure.BOXES: None if self.boxes is None else self.boxes / self.most_boxes,
            Measure.CONFIDENCE: self.confidence,
        }
        return {measure: value for measure, value in given.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Plain values; times in seconds."""
        return asdict(self, value_serializer=plain)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Guard:
        """The guard that `to_json` wrote."""
        known = {item.name for item in fields(cls)}
        given: dict[str, Any] = {name: value for name, value in values.items() if name in known}
        given |= {name: timedelta(seconds=values[name]) for name in ("block", "epoch")}
        return cls(**given)


@frozen(kw_only=True)
class Difference:
    """One measure, candidate less incumbent.

    Attributes:
        measure: what is compared.
        incumbent: mean of the incumbent, in people's units; nan where paired or not observed.
        candidate: that of the candidate.
        difference: candidate less incumbent; nan while an arm has no observation.
        tolerance: how large it may be.
        observations: of the candidate in this stage; a block of frames is one.
        worse: evidence that it is worse than the tolerance, as odds against chance.
        not_worse: evidence that it is not.
        needed: what either must reach, `worse` first.
    """

    measure: Measure
    incumbent: float
    candidate: float
    difference: float
    tolerance: float
    observations: int
    worse: float
    not_worse: float
    needed: tuple[float, float]

    @property
    def is_worse(self) -> bool:
        """Whether it is credibly worse by more than the tolerance."""
        return self.worse >= self.needed[0]

    @property
    def is_fine(self) -> bool:
        """Whether it is credibly not worse by more than the tolerance."""
        return self.not_worse >= self.needed[1]

    def __str__(self) -> str:
        """The difference in one line, with what it rests on."""
        if math.isnan(self.difference):
            return f"{self.measure}: not observed in both arms"
        return (
            f"{self.measure} {self.moved}, {self.observations} observations: evidence of worse "
            f"{self.worse:.3g} ({self.needed[0]:.3g} needed), of not worse {self.not_worse:.3g} "
            f"({self.needed[1]:.3g} needed)"
        )

    @property
    def moved(self) -> str:
        """How far the candidate is from the incumbent, and how far it may be."""
        way = "" if self.measure.up_is_worse else "+/-"
        both = (
            f"{self.difference:+.4g}"
            if math.isnan(self.incumbent)
            else f"from {self.incumbent:.4g} to {self.candidate:.4g}"
        )
        return f"{both}, tolerance {way}{self.tolerance:.4g}"


@frozen(kw_only=True, repr=False)
class Judgement(Shown):
    """What a guard concludes from what it has seen so far.

    Attributes:
        verdict: promote, hold or roll back.
        reasons: why, in sentences with the numbers; never empty.
        differences: measure by measure.
        frames_needed: candidate frames still needed to promote, if those to come look like those
            seen; None where more frames would not do or nothing can be said yet.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    differences: tuple[Difference, ...] = ()
    frames_needed: int | None = None

    def __str__(self) -> str:
        """The verdict with its reasons and numbers."""
        lines = [f"{self.verdict.value.upper()}: {'; '.join(self.reasons)}"]
        return "\n".join([*lines, *(f"  {difference}" for difference in self.differences)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Both arms measure by measure, as multiples of what is tolerated; the title is the verdict.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.judgement(self), ax)

    def _view(self) -> View:
        return _views.view_of_judgement(self)


@frozen(kw_only=True)
class Ledger:
    """What a guard must remember.

    Attributes:
        closed: counts of the stage's epochs that are over.
        open: counts of the present epoch.
        epoch: number of the present epoch, from 1, through all stages.
        rung: number of the present stage, from 1.
        carried: evidence (log) of worse from before, by scale and claim (see `Question.worse`).
        reference: the incumbent's counts of the stage before, where it has no traffic any more.
    """

    closed: Counts = field(factory=Counts)
    open: Counts = field(factory=Counts)
    epoch: int = 1
    rung: int = 1
    carried: Mapping[str, float] = field(factory=dict)
    reference: Counts | None = None

    @property
    def stage(self) -> Counts:
        """Counts of the whole stage."""
        return self.closed + self.present

    @property
    def present(self) -> Counts:
        """Counts of the present epoch, with what they are compared to."""
        return self.open if self.reference is None else self.open + self.reference

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "closed": self.closed.to_json(),
            "open": self.open.to_json(),
            "epoch": self.epoch,
            "rung": self.rung,
            "carried": dict(self.carried),
            "reference": None if self.reference is None else self.reference.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ledger:
        """What `to_json` wrote."""
        reference = value["reference"]
        return cls(
            closed=Counts.from_json(value["closed"]),
            open=Counts.from_json(value["open"]),
            epoch=value["epoch"],
            rung=value["rung"],
            carried=value["carried"],
            reference=None if reference is None else Counts.from_json(reference),
        )


@frozen(kw_only=True)
class Claim:
    """One thing that can be wrong with a candidate: a measure, and the way it moved."""

    measure: Measure
    down: bool

    @property
    def name(self) -> str:
        """Key of the claim in a ledger."""
        return f"{self.measure} {'down' if self.down else 'up'}"


@frozen(kw_only=True)
class Question:
    """A guard's claims, put to counts.

    Attributes:
        guard: the tolerances.
        paired: whether the counts are differences on the same frames (shadow), not two arms.
    """

    guard: Guard
    paired: bool

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All that can be wrong."""
        return tuple(
            Claim(measure=measure, down=down)
            for measure in self.guard.tolerances
            for down in ((False,) if measure.up_is_worse else (False, True))
        )

    def log_worse(self, claim: Claim, counts: Counts) -> float:
        """Evidence (log) that the difference is beyond the tolerance that way."""
        tolerance = self.guard.tolerances[claim.measure]
        if self.paired:
            tally = counts.of(PAIRED, claim.measure)
            if claim.down:
                return at(below(tally, events=False), (1 - tolerance) / 2)
            return at(above(tally, events=False), (1 + tolerance) / 2)
        incumbent, candidate = self._arms(claim.measure, counts)
        greater, less = (incumbent, candidate) if claim.down else (candidate, incumbent)
        return exceeds(greater, less, tolerance, events=claim.measure.up_is_worse)

    def log_fine(self, claim: Claim, counts: Counts) -> float:
        """Evidence (log) that it is within the tolerance that way."""
        tolerance = self.guard.tolerances[claim.measure]
        if self.paired:
            tally = counts.of(PAIRED, claim.measure)
            if claim.down:
                return at(above(tally, events=False), (1 - tolerance) / 2)
            return at(below(tally, events=False), (1 + tolerance) / 2)
        incumbent, candidate = self._arms(claim.measure, counts)
        greater, less = (candidate, incumbent) if claim.down else (incumbent, candidate)
        return exceeds(greater, less, -tolerance, events=claim.measure.up_is_worse)

    def _arms(self, measure: Measure, counts: Counts) -> tuple[Tally, Tally]:
        return counts.of(Arm.INCUMBENT, measure), counts.of(Arm.CANDIDATE, measure)

    def fine(self, measure: Measure, counts: Counts) -> float:
        """Evidence (log) that a measure is within its tolerance, whichever way."""
        return min(self.log_fine(c, counts) for c in self.claims if c.measure == measure)

    def worse(self, claim: Claim, ledger: Ledger) -> float:
        """Evidence (log) of worse, from whichever moment on it was.

        Half of it is gathered by epochs, which sees a fault that begins late; half by stages,
        which sees a small one that no epoch has frames enough for. The mean of two e-processes
        is one.
        """
        by_epoch = self._from_any(claim, ledger, "epoch", ledger.epoch, ledger.present)
        by_stage = self._from_any(claim, ledger, "stage", ledger.rung, ledger.stage)
        return _log_add(by_epoch, by_stage) - math.log(2)

    def _from_any(
        self, claim: Claim, ledger: Ledger, scale: str, number: int, counts: Counts
    ) -> float:
        """Evidence (log) of worse, from any period of a scale on.

        It is a mixture over the period j in which it may have begun, with weights 1 / (j (j + 1))
        that sum to 1, of the products of the periods' e-processes from there on. Its parts are
        e-processes, so it is one, and it follows from its value a period before: the sum of
        Shiryaev and Roberts, with weights (Shin, Ramdas and Rinaldo, "E-detectors: a
        nonparametric framework for sequential change detection", 2024). Where periods are
        compared to one past of the incumbent a product would count that past twice: then each
        period stands for itself.

        Args:
            claim: what may be wrong.
            ledger: what was carried over.
            scale: ``"epoch"`` or ``"stage"``.
            number: of the present period, from 1.
            counts: what was seen in it.
        """
        carried = ledger.carried.get(f"{scale}/{claim.name}", -math.inf)
        weight = -math.log(number * (number + 1))
        now = self.log_worse(claim, counts)
        if ledger.reference is not None:
            return _log_add(carried, weight + now)
        return _log_add(carried, weight) + now

    def close(self, ledger: Ledger) -> Ledger:
        """The ledger with the present epoch over."""
        carried = {
            f"epoch/{claim.name}": self._from_any(
                claim, ledger, "epoch", ledger.epoch, ledger.present
            )
            for claim in self.claims
        }
        return evolve(
            ledger,
            closed=ledger.closed + ledger.open,
            open=Counts(),
            epoch=ledger.epoch + 1,
            carried={**ledger.carried, **carried},
        )

    def next_stage(self, ledger: Ledger, *, soak: bool) -> Ledger:
        """The ledger for the stage after.

        Args:
            ledger: that of the stage that ends.
            soak: whether the candidate will have all traffic, so that it is to be compared to
                the incumbent of the stage that ends.
        """
        carried = {
            f"stage/{claim.name}": self._from_any(claim, ledger, "stage", ledger.rung, ledger.stage)
            for claim in self.claims
        }
        closed = self.close(ledger)
        return evolve(
            closed,
            closed=Counts(),
            rung=ledger.rung + 1,
            carried={**closed.carried, **carried},
            reference=ledger.stage.only(Arm.INCUMBENT) if soak else None,
        )

    def difference(self, measure: Measure, ledger: Ledger) -> Difference:
        """One measure, with the evidence either way."""
        unit = self.guard.most_boxes if measure is Measure.BOXES else 1
        stage = ledger.stage
        incumbent, candidate = self._arms(measure, stage)
        pairs = stage.of(PAIRED, measure)
        gap = (2 * pairs.mean - 1) if self.paired else candidate.mean - incumbent.mean
        claims = [claim for claim in self.claims if claim.measure == measure]
        return Difference(
            measure=measure,
            incumbent=math.nan if self.paired else incumbent.mean * unit,
            candidate=math.nan if self.paired else candidate.mean * unit,
            difference=gap * unit,
            tolerance=self.guard.tolerances[measure] * unit,
            observations=pairs.n if self.paired else candidate.n,
            worse=_odds(max(self.worse(claim, ledger) for claim in claims)),
            not_worse=_odds(self.fine(measure, stage)),
            needed=(len(self.claims) / self.guard.alpha, 1 / self.guard.alpha),
        )

    def more_frames(self, ledger: Ledger) -> int | None:
        """Candidate frames still to come until all is within tolerance, if all stays alike."""
        stage = ledger.stage
        frames = stage.frames.get(PAIRED if self.paired else Arm.CANDIDATE, 0)

        def enough(factor: float) -> bool:
            counts = stage.times(factor)
            needed = -math.log(self.guard.alpha)
            return all(self.fine(m, counts) >= needed for m in self.guard.tolerances)

        if not frames or not enough(MOST_TIMES):
            return None
        return math.ceil(frames * (_least_factor(enough) - 1))


def _least_factor(enough: Callable[[float], bool]) -> float:
    """Least factor that is enough, found by halving its logarithm, within 2 %."""
    low, high = 0.0, math.log(MOST_TIMES)
    while high - low > 0.02:  # noqa: PLR2004 - an estimate of frames to come is not finer
        middle = (low + high) / 2
        low, high = (low, middle) if enough(math.exp(middle)) else (middle, high)
    return math.exp(high)


def judge(question: Question, ledger: Ledger, *, too_early: str = "") -> Judgement:
    """What follows from what was seen.

    Args:
        question: the claims and tolerances.
        ledger: what was seen.
        too_early: why the stage must last longer whatever was seen, "" when it need not.
    """
    differences = tuple(question.difference(m, ledger) for m in question.guard.tolerances)
    if worse := [difference for difference in differences if difference.is_worse]:
        reasons = tuple(_credibly_worse(difference) for difference in worse)
        return Judgement(verdict=Verdict.ROLL_BACK, reasons=reasons, differences=differences)
    unsure = [difference for difference in differences if not difference.is_fine]
    if not unsure and not too_early:
        reason = f"all within tolerance: {', '.join(d.measure for d in differences)}"
        return Judgement(verdict=Verdict.PROMOTE, reasons=(reason,), differences=differences)
    needed = question.more_frames(ledger) if unsure else 0
    return Judgement(
        verdict=Verdict.HOLD,
        reasons=tuple(_doubts(unsure, needed, too_early)),
        differences=differences,
        frames_needed=needed,
    )


def _credibly_worse(found: Difference) -> str:
    return (
        f"{found.measure} credibly worse: {found.moved} (evidence {found.worse:.3g}, "
        f"{found.needed[0]:.3g} needed, {found.observations} observations)"
    )


def _doubts(unsure: list[Difference], needed: int | None, too_early: str) -> Iterator[str]:
    if too_early:
        yield too_early
    unseen = [d.measure.value for d in unsure if math.isnan(d.difference)]
    if unseen:
        yield f"not observed in both arms: {', '.join(unseen)} (None in the guard leaves one out)"
    seen = [d.measure.value for d in unsure if not math.isnan(d.difference)]
    if seen:
        more = (
            f"about {needed} more candidate frames like these would settle it"
            if needed is not None
            else "more frames like these would not settle it"
            if not unseen
            else "how many more it takes cannot be said yet"
        )
        yield f"not certain yet: {', '.join(seen)}; {more}"


def _log_add(one: float, other: float) -> float:
    top = max(one, other)
    if top == -math.inf:
        return top
    return top + math.log(math.exp(one - top) + math.exp(other - top))


def _odds(log_evidence: float) -> float:
    """Evidence as odds; beyond 1e12 it is all the same."""
    return math.exp(min(log_evidence, 27.6))
