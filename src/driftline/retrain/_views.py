"""What there is to see of decisions and rollouts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from driftline._draw import Axis, Picture, Role, Table, Tone, View
from driftline._draw._pictures import Row, ranked

if TYPE_CHECKING:
    from driftline.retrain._decision import Decision
    from driftline.retrain._guard import Difference, Judgement
    from driftline.retrain._loop_status import LoopStatus
    from driftline.retrain._rollout import RolloutStatus

ACTION_TONES: Final[Mapping[str, Tone]] = {
    "retrain": "bad",
    "infra": "bad",
    "investigate": "warn",
    "collect": "warn",
    "watch": "warn",
    "none": "good",
}
_VERDICT_TONES: Final[Mapping[str, Tone]] = {"promote": "good", "hold": "warn", "roll back": "bad"}
_PHASE_TONES: Final[Mapping[str, Tone]] = {
    "promoted": "good",
    "rolling back": "bad",
    "rolled back": "bad",
    "awaiting approval": "warn",
}
_ENDS: Final[Mapping[str, Tone]] = {"done": "good", "refused": "warn"}
_MARKS: Final = {"x": "done", ">": "now", "!": "ended here", " ": "-"}
_ARMS: Final[Mapping[Role, str]] = {
    "bad": "worse than tolerated",
    "good": "not worse",
    "unknown": "not settled yet",
}


_NEXT: Final = ("frames", "camera", "class", "size", "hours", "why")


def view_of_decision(one: Decision) -> View:
    """A decision for a notebook."""
    rows = [
        (
            item.frames,
            item.camera or "all",
            item.class_name or "all",
            item.size or "all",
            item.hours,
            item.why,
        )
        for item in one.collect
    ]
    return View(
        kind=f"decision, {one.confidence} evidence",
        verdict=one.action.value,
        tone=ACTION_TONES[one.action.value],
        headline=one.reasons[0],
        lines=[f"First: {one.runbook}", *one.reasons[1:]],
        facts=[] if one.at is None else [("at", f"{one.at:%Y-%m-%d %H:%M} UTC")],
        tables=[Table(head=_NEXT, rows=rows, caption="label next")],
        notes=[f"also {found.action.value}: {found.reason}" for found in one.also],
    )


def judgement(one: Judgement, *, title: str = "") -> Picture:
    """Both arms measure by measure: the difference as a share of what is tolerated."""
    known = [found for found in one.differences if not math.isnan(found.difference)]
    rows = [
        Row(name=_measured(found), value=found.difference / found.tolerance, role=_role(found))
        for found in known
    ]
    rules = {"tolerated": 1.0}
    if not all(found.measure.up_is_worse for found in known):
        rules[""] = -1.0
    return ranked(
        title=title or f"{one.verdict.capitalize()}: {'; '.join(one.reasons)}",
        detail="" if known else "nothing was observed in both arms yet",
        axis=Axis(label="candidate less incumbent, as a multiple of the tolerance"),
        rows=rows,
        rules=rules if known else None,
        labels=_ARMS,
    )


def _role(found: Difference) -> Role:
    return "bad" if found.is_worse else "good" if found.is_fine else "unknown"


def _measured(found: Difference) -> str:
    if math.isnan(found.incumbent):
        return f"{found.measure}: {found.difference:+.3g}"
    return f"{found.measure}: {found.incumbent:.3g} to {found.candidate:.3g}"


def view_of_judgement(one: Judgement) -> View:
    """A judgement for a notebook."""
    return View(
        kind="comparison of the arms",
        verdict=one.verdict.value,
        tone=_VERDICT_TONES[one.verdict.value],
        pictures=[judgement(one)],
        notes=[str(found) for found in one.differences],
    )


def rollout(one: RolloutStatus) -> Picture:
    """The arms of a rollout, titled with where it stands."""
    return judgement(one.judgement, title=rollout_told(one))


def rollout_told(one: RolloutStatus) -> str:
    """Where a rollout stands, in one sentence."""
    if not one.phase.dealing:
        return f"{one.phase.capitalize()}: {one.reason}"
    where = f"stage {one.stage + 1} of {len(one.stages)}, {100 * one.share:.3g} % of the keys"
    return f"{one.judgement.verdict.capitalize()} in {where}: {'; '.join(one.judgement.reasons)}"


def view_of_rollout(one: RolloutStatus) -> View:
    """A rollout for a notebook."""
    steps = [(f"{s.at:%Y-%m-%d %H:%M}", s.stage + 1, s.phase.value, s.reason) for s in one.steps]
    return View(
        kind=f"rollout on {one.deployment}",
        verdict=one.phase.value,
        tone=_PHASE_TONES.get(one.phase.value, "unknown"),
        headline="" if one.phase.dealing else rollout_told(one),
        facts=[
            ("model", f"{one.previous} to {one.candidate}, on trial on {one.canary}"),
            (
                "candidate",
                f"{100 * one.share:.3g} % of the keys, {one.frames:,} frames in this stage",
            ),
        ],
        pictures=[rollout(one)] if one.phase.dealing else [],
        tables=[
            Table(head=("at, UTC", "stage", "phase", "why"), rows=steps, caption="what happened")
        ],
        notes=[one.note] if one.note else [],
    )


def view_of_loop(one: LoopStatus, steps: Sequence[str], marks: Sequence[str]) -> View:
    """A retraining for a notebook.

    Args:
        one: where it stands.
        steps: names of the steps.
        marks: how each stands, as `str` marks it.
    """
    said = {note.step: note.said for note in one.notes}  # the newest of each step
    rows = [
        (number, step, _MARKS[mark], said.get(number, ""))
        for number, (step, mark) in enumerate(zip(steps, marks, strict=True), 1)
    ]
    waits: Tone = "warn" if one.asks else "unknown"
    why = one.reasons[0] if one.reasons else one.decision.trigger
    return View(
        kind=f"retraining of {one.name}, loop {one.id}",
        verdict=one.move.value,
        tone=_ENDS.get(one.move.value, "bad") if one.over else waits,
        headline=f"Waits for {one.waits_for}" if one.waits_for else why,
        lines=one.reasons[1:],
        facts=[("from", one.incumbent), ("to", one.candidate or "-")],
        tables=[Table(head=("no.", "step", "stands", "what was done"), rows=rows)],
    )
