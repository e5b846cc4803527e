"""From evidence to one decision: the guide's table, and what it leaves open.

A clause is a small function from evidence to a finding, or to nothing. The policy asks every clause
and lets the finding whose action ranks highest lead; the rest is told as well, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from attrs import evolve, field, frozen
from attrs.validators import optional

from driftline._checks import not_negative, number, part, parts
from driftline.holdout import frames_needed
from driftline.holdout._manifest import QUARTER
from driftline.records import Entry
from driftline.retrain._backtest import Backtest, Threshold, backtest, points
from driftline.retrain._collect import spread
from driftline.retrain._decision import STRENGTHS, Action, Collection, Decision, Finding
from driftline.retrain._evidence import AccuracyFacts, AlertFacts, Concern, Evidence, Shift

Clause = Callable[[Evidence, "RetrainPolicy"], Finding | None]
"""One row of the decision table: what it finds in the evidence, or None where it has nothing to say."""

RANK = (
    Action.RETRAIN,
    Action.INFRA,
    Action.INVESTIGATE,
    Action.COLLECT,
    Action.WATCH,
    Action.NONE,
)
"""Which finding leads. Labels that fell outrank all else; an endpoint that is not well explains
missing traffic, so infra outranks investigate; a shift alone is only watched (the guide)."""

SMALLEST_WORTH = 0.02
"""Smallest change of mAP that labels are asked for: a point less asks for four times as many."""


def broken_integrity(evidence: Evidence, _policy: RetrainPolicy) -> Finding | None:
    """A fixed model on the golden set cannot move: when it does, the serving chain has changed."""
    if evidence.golden_intact is not False:
        return None
    return Finding(
        action=Action.INVESTIGATE,
        reason="the golden holdout scores differently although the model is the same",
        runbook=(
            "Compare export, preprocessing, driver and weights digest with the day the baseline "
            "was locked; do not retrain on top of it."
        ),
        strength="strong",
    )


def accuracy_fell(evidence: Evidence, policy: RetrainPolicy) -> Finding | None:
    """Guide: a shift together with a drop of mAP means retrain; a drop alone as well (its runbook)."""
    accuracy = evidence.accuracy
    if accuracy is None or accuracy.verdict != "falling" or _recovered(evidence, policy):
        return None
    moved = evidence.moved
    shift = f"; {moved[0]}" if moved else "; no distribution moved, so check the labels first"
    finding = Finding(
        action=Action.RETRAIN,
        reason=f"{accuracy}{_newest_week(accuracy)}{shift}",
        runbook=(
            "Sample the shifted frames into a new dataset version, review labels, retrain from "
            "the previous best.pt, promote only if better on holdout and on recent frames."
        ),
        strength="strong" if moved else "moderate",
        collect=policy.to_collect(moved),
    )
    return policy.held_back(finding, evidence) or policy.priced(finding, evidence)


def _newest_week(accuracy: AccuracyFacts) -> str:
    """The drop is that of the last weeks together; what a reader sees first is the newest week."""
    if accuracy.latest_drop is None or accuracy.latest_drop <= 0:
        return ""
    return f", the newest week alone is {100 * accuracy.latest_drop:.1f} below the first weeks"


def accuracy_recovered(evidence: Evidence, policy: RetrainPolicy) -> Finding | None:
    """A trend remembers four weeks: when the newest is back, the cause has gone by itself."""
    accuracy = evidence.accuracy
    if accuracy is None or accuracy.verdict != "falling" or not _recovered(evidence, policy):
        return None
    latest = "" if accuracy.latest is None else f" ({accuracy.latest:.3f})"
    return Finding(
        action=Action.WATCH,
        reason=f"{accuracy} over the last weeks, but this week's{latest} is back",
        runbook="Find out what went away; keep the frames of the bad weeks for the next dataset.",
        strength="moderate",
    )


def _recovered(evidence: Evidence, policy: RetrainPolicy) -> bool:
    """The newest week is back: less than half of the drop is left, and not credibly any of worth.

    Both are asked for: a steady decline leaves the newest week lowest, and one noisy week of a
    steady decline must not call it over.
    """
    accuracy = evidence.accuracy
    if accuracy is None or accuracy.latest_drop is None or accuracy.drop is None:
        return False
    low = accuracy.latest_drop if accuracy.latest_drop_low is None else accuracy.latest_drop_low
    return accuracy.latest_drop < accuracy.drop / 2 and low < policy.minimum_gain


def endpoint_unwell(evidence: Evidence, _policy: RetrainPolicy) -> Finding | None:
    """Guide: a latency regression is infra, not the model; so are errors and failed health."""
    unwell = [alert.summary for alert in _about(evidence, "latency", "errors", "health")]
    if evidence.healthy is False:
        unwell.append("the last health check failed")
    if not unwell:
        return None
    return Finding(
        action=Action.INFRA,
        reason="; ".join(unwell),
        runbook=(
            "Look at instances, cold starts, region and the deployment's error logs; the model "
            "does not change by itself, so do not retrain for this."
        ),
        strength="strong",
    )


def volume_fell(evidence: Evidence, _policy: RetrainPolicy) -> Finding | None:
    """Guide: detection volume down with stable confidence means investigate."""
    alerts, volume = _about(evidence, "traffic", "detections"), evidence.volume
    fallen = [alert.summary for alert in alerts]
    if volume is not None and volume.verdict == "fewer":
        fallen.append(volume.summary)
    if not fallen:
        return None
    stable = {
        None: "whether confidence is stable is not known",
        True: "confidence moved as well",
        False: "confidence is stable",
    }[evidence.confidence_moved]
    traffic = any(alert.concern == "traffic" for alert in alerts)
    first = (
        "Check that cameras and the caller still send frames"
        if traffic
        else "Look at frames of the last hour: a bug after the detector, a camera knocked or covered"
    )
    return Finding(
        action=Action.INVESTIGATE,
        reason=f"{'; '.join(fallen)}; {stable}",
        runbook=f"{first}, or a scene that is quieter for a known reason.",
        strength="moderate",
    )


def shift_alone(evidence: Evidence, policy: RetrainPolicy) -> Finding | None:
    """Guide: a confidence shift alone is watched; without labels, say which would decide."""
    drift = evidence.drift
    if drift is None or drift.verdict not in {"watch", "drift"}:
        return None
    accuracy = evidence.accuracy
    if accuracy is not None and accuracy.verdict == "falling":
        return None
    shifts = ", ".join(str(shift) for shift in evidence.moved[:3]) or (
        "drift was confirmed in the weeks before; this week shows none"
    )
    if accuracy is None or accuracy.verdict == "too little data":
        return Finding(
            action=Action.COLLECT if drift.verdict == "drift" else Action.WATCH,
            reason=f"{shifts}; whether mAP fell is not known",
            runbook="Label the frames asked for, then decide again; do not retrain on a guess.",
            strength="moderate" if drift.verdict == "drift" else "weak",
            collect=policy.to_collect(evidence.moved),
        )
    return Finding(
        action=Action.WATCH,
        reason=f"{shifts}; mAP holds ({accuracy})",
        runbook="Look at frames of the shifted cells, keep the weekly holdout run, do not retrain.",
        strength="strong" if drift.verdict == "drift" else "weak",
    )


def estimate_fell(evidence: Evidence, policy: RetrainPolicy) -> Finding | None:
    """An estimate without labels is a reason to label, never a reason to retrain."""
    if evidence.estimated_precision_drop is None or evidence.accuracy_known:
        return None
    if evidence.estimated_precision_drop < policy.minimum_gain:
        return None
    return Finding(
        action=Action.COLLECT,
        reason=(
            "precision is estimated to have fallen by "
            f"{100 * evidence.estimated_precision_drop:.1f} points (without labels)"
        ),
        runbook="Label a random sample of this week's frames, then decide again.",
        strength="weak",
        collect=policy.to_collect(evidence.moved),
    )


def other_alert(evidence: Evidence, _policy: RetrainPolicy) -> Finding | None:
    """What fires is told, also where the table has no row for it; it only keeps calm from leading."""
    firing = _about(evidence, "other")
    if not firing:
        return None
    return Finding(
        action=Action.WATCH,
        reason="; ".join(alert.summary for alert in firing),
        runbook=f"Follow the runbook of the rule {firing[0].rule!r}; the guide's table has no row for it.",
        strength="weak",
    )


def holdout_stale(evidence: Evidence, policy: RetrainPolicy) -> Finding | None:
    """Guide: the holdout is refreshed each quarter."""
    if evidence.holdout_age is None or evidence.holdout_age < policy.holdout_lifetime:
        return None
    return Finding(
        action=Action.COLLECT,
        reason=(
            f"the holdout is {evidence.holdout_age.days} days old; "
            f"it is refreshed every {policy.holdout_lifetime.days}"
        ),
        runbook="Draw a new random stratified sample of production frames and label it.",
        strength="moderate",
        collect=(Collection(frames=policy.holdout_frames, why="refresh the holdout"),),
    )


def too_little(evidence: Evidence, policy: RetrainPolicy) -> Finding | None:
    """Not knowing is not calm: say what to collect."""
    unknown = []
    if evidence.drift is None or evidence.drift.verdict == "too little data":
        unknown.append("whether distributions moved (too few frames observed)")
    if not evidence.accuracy_known:
        unknown.append("whether mAP holds (no recent labelled frames)")
    if not unknown:
        return None
    return Finding(
        action=Action.COLLECT if len(unknown) > 1 else Action.NONE,
        reason=f"not known: {' and '.join(unknown)}",
        runbook="Observe a full week with ProfileBuilder and label a random sample of its frames.",
        strength="weak",
        collect=() if evidence.accuracy_known else policy.to_collect(evidence.moved),
    )


GUIDE_CLAUSES: tuple[Clause, ...] = (
    broken_integrity,
    accuracy_fell,
    accuracy_recovered,
    endpoint_unwell,
    volume_fell,
    other_alert,
    shift_alone,
    estimate_fell,
    holdout_stale,
    too_little,
)
"""The guide's decision table, row by row; the first row that finds something decides."""


def _all_calm(evidence: Evidence) -> str:
    """Why nothing is to be done; of the endpoint, only what was handed in is told."""
    well = "the last health check passed" if evidence.healthy else "no alert was handed in"
    return f"distributions are calm, mAP holds and {well}"


def _about(evidence: Evidence, *concerns: Concern) -> tuple[AlertFacts, ...]:
    return tuple(alert for alert in evidence.alerts if alert.concern in concerns)


def _clauses(values: Iterable[Clause]) -> tuple[Clause, ...]:
    what = "a function from Evidence and RetrainPolicy to a Finding or None"
    return parts(values, Callable, name="clauses", what=what)


@frozen(kw_only=True)
class RetrainPolicy:
    """Decides whether to retrain, watch, investigate, collect labels, or call infra.

    It is a pure function of `Evidence`: the same evidence gives the same decision.

    Attributes:
        minimum_gain: a smaller drop of mAP is not worth a retraining, 0 to below 1 (0.01 = one
            point; the guide's runbook names one point).
        cooldown: no second retraining before this has passed (14 days: two weekly runs are
            needed to see what the first one did).
        budget: most a retraining may cost, in the unit of `Evidence.retrain_cost`; None: no bound.
        holdout_lifetime: age at which the holdout is due for renewal (guide: each quarter; 91
            days, as `driftline.holdout.Holdout.due`).
        holdout_frames: size of a holdout (guide: 200 to 500 frames).
        clauses: what is asked, in the order reasons are told at equal rank.
    """

    minimum_gain: float = field(
        default=0.01,
        validator=number("from 0 to less than 1 of mAP, 0.01 is one point", least=0, below=1),
    )
    cooldown: timedelta = field(default=timedelta(days=14), validator=not_negative)
    budget: float | None = field(
        default=None, validator=optional(number("0 or more, or None for no bound", least=0))
    )
    holdout_lifetime: timedelta = field(default=QUARTER, validator=not_negative)
    holdout_frames: int = field(
        default=300,
        validator=number("1 or more, the guide names 200 to 500 frames", least=1, whole=True),
    )
    clauses: tuple[Clause, ...] = field(default=GUIDE_CLAUSES, converter=_clauses, repr=False)

    def decide(self, evidence: Evidence) -> Decision:
        """The decision that this evidence supports.

        Args:
            evidence: what is known; what is left out counts as not known, never as calm.

        Returns:
            The action of the highest rank with its reasons; every other finding in ``also``.
        """
        part(evidence, Evidence, name="evidence", what="an Evidence(…)")
        findings = [found for clause in self.clauses if (found := self._asked(clause, evidence))]
        if not findings:
            return Decision(
                action=Action.NONE,
                reasons=(_all_calm(evidence),),
                runbook="Nothing to do; the next weekly run will look again.",
                confidence="strong",
                at=evidence.at,
            )
        findings.sort(key=lambda found: (RANK.index(found.action), STRENGTHS.index(found.strength)))
        leading = findings[0]
        same = [found for found in findings if found.action is leading.action]
        return Decision(
            action=leading.action,
            reasons=tuple(found.reason for found in same),
            runbook=leading.runbook,
            confidence=leading.strength,
            collect=_distinct(found.collect for found in findings),
            also=tuple(found for found in findings if found.action is not leading.action),
            at=evidence.at,
        )

    @property
    def trigger(self) -> str:
        """When it asks for a retraining, in one sentence; clauses of your own are named."""
        budget = "" if self.budget is None else f" and for at most {self.budget:g}"
        guide = (
            f"labels show mAP@0.5:0.95 to have fallen by {points(self.minimum_gain)} or more "
            f"and not to be back, {self.cooldown.days} days or more after the last "
            f"retraining{budget}"
        )
        own = [_name(clause) for clause in self.clauses if clause not in GUIDE_CLAUSES]
        asks = [guide] if accuracy_fell in self.clauses else []
        asks += [f"{name} asks for it" for name in own]
        return f"retrain when {', or when '.join(asks)}" if asks else "never retrain"

    def backtest(
        self,
        history: Iterable[Evidence | Entry],
        *,
        thresholds: Mapping[str, Sequence[Threshold]] | None = None,
    ) -> Backtest:
        """When this policy would have asked for a retraining, and what others would have done.

        A retraining that was not made would have changed what came after it, and nobody knows
        how: each policy is replayed as if a retraining changed nothing and as if it cured what it
        was for, with cooldown and budget as they would have run (`Backtest.assumed`).

        Args:
            history: evidence of one deployment, each with its time, in any order; or what a store
                kept of it: entries whose record is `Evidence.to_dict`.
            thresholds: name of a field → values to try; every combination is replayed. None tries
                gains of 0 to 5 points with cooldowns of one to eight weeks, {} this policy alone.

        Raises:
            InputError: there is no evidence, one has no time, or a threshold cannot be used.
            UnreadableData: an entry of the store is no evidence.
        """
        return backtest(self, history, thresholds)

    def _asked(self, clause: Clause, evidence: Evidence) -> Finding | None:
        found = clause(evidence, self)
        what = "a Finding or None: that is what a clause returns"
        return None if found is None else part(found, Finding, name=_name(clause), what=what)

    def held_back(self, finding: Finding, evidence: Evidence) -> Finding | None:
        """`finding` turned into a watch when something speaks against retraining now, else None."""
        against = self._against(evidence)
        if not against:
            return None
        return evolve(
            finding,
            action=Action.WATCH,
            reason=f"{finding.reason}; a retraining is held back: {'; '.join(against)}",
            runbook="Keep watching; lift the bound named in the reason if it cannot wait.",
        )

    def priced(self, finding: Finding, evidence: Evidence) -> Finding:
        """`finding`, which says so where a budget could not be held against any cost."""
        if self.budget is None or evidence.retrain_cost is not None:
            return finding
        unknown = f"what it would cost is not known, the budget is {self.budget:g}"
        return evolve(finding, reason=f"{finding.reason}; {unknown}")

    def _against(self, evidence: Evidence) -> list[str]:
        against = []
        drop = evidence.accuracy.drop if evidence.accuracy is not None else None
        if drop is not None and drop < self.minimum_gain:
            against.append(
                f"the drop of {100 * drop:.1f} points is below minimum_gain "
                f"({100 * self.minimum_gain:.1f})"
            )
        since = evidence.since_retrain
        if since is not None and since < self.cooldown:
            against.append(
                f"the last one was {since.days} days ago (cooldown {self.cooldown.days})"
            )
        cost = evidence.retrain_cost
        if self.budget is not None and cost is not None and cost > self.budget:
            against.append(f"it would cost {cost:g}, the budget is {self.budget:g}")
        return against

    def to_collect(self, shifts: tuple[Shift, ...]) -> tuple[Collection, ...]:
        """The frames whose labels would decide: of all that moved, enough for a credible gain.

        Every camera, class and size that moved gets a part, by how many of its frames moved.
        """
        worth = max(self.minimum_gain, SMALLEST_WORTH)
        frames = frames_needed(worth, paired=True)
        why = f"{frames} in all show a change of {100 * worth:.3g} points of mAP"
        return spread(shifts, frames, why) if shifts else (Collection(frames=frames, why=why),)


def _name(clause: Clause) -> str:
    return str(getattr(clause, "__name__", clause))


def _distinct(groups: Iterable[tuple[Collection, ...]]) -> tuple[Collection, ...]:
    """One request a place: the largest, in the order they were asked for."""
    largest: dict[tuple[str, str, str, str], Collection] = {}
    for item in (item for group in groups for item in group):
        place = (item.camera, item.class_name, item.size, item.hours)
        if place not in largest or item.frames > largest[place].frames:
            largest[place] = item
    return tuple(largest.values())
