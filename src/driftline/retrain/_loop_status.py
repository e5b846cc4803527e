"""Where a retraining stands, for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import field, frozen

from driftline._draw import Shown, View
from driftline.retrain import _views
from driftline.retrain._decision import Decision
from driftline.retrain._loop_parts import Ask
from driftline.retrain._loop_state import STEPS, Move, Note, State
from driftline.retrain._loop_table import step_of
from driftline.retrain._promotion import Promotion


@frozen(kw_only=True, repr=False)
class LoopStatus(Shown):
    """Where a retraining stands; ``str()`` is a picture of its seven steps.

    Attributes:
        id: of this loop; the same decision gives the same.
        name: what is retrained.
        decision: what opened it.
        move: what is done next, or how it ended.
        step: number of the guide's step that it stands at or ended at, 1 to 7.
        incumbent: the model it started from and goes back to.
        candidate: the model it trained, "" before.
        began: when it was opened, UTC.
        since: when it came to this move, UTC.
        at: the time of this status, UTC.
        did: what the call did that answered with this status, "" for nothing.
        waits_for: what it waits for, "" for nothing.
        asks: what needs a yes now (`RetrainLoop.approve`); None for nothing.
        approved: gate → who said yes.
        promotion: what the rule said of the candidate; None before.
        scores: set → role → mAP@0.5:0.95; empty before.
        reasons: why it ended, empty before and where it ended well.
        facts: all that was made and learned, by name, also where the candidate was refused.
        notes: what was done, oldest first.
    """

    id: str
    name: str
    decision: Decision
    move: Move
    step: int
    incumbent: str
    candidate: str
    began: datetime
    since: datetime
    at: datetime
    did: str = ""
    waits_for: str = ""
    asks: Ask | None = None
    approved: Mapping[str, str] = field(factory=dict)
    promotion: Promotion | None = None
    scores: Mapping[str, Mapping[str, float | None]] = field(factory=dict)
    reasons: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.move.over

    @property
    def reference(self) -> Path | None:
        """File of the profile that is the new normal (`Profile.read`); None before."""
        return Path(self.facts["reference"]) if "reference" in self.facts else None

    @property
    def holdout(self) -> Path | None:
        """The holdout with this loop's random frames (`Holdout.open`); None before."""
        return Path(self.facts["holdout"]) if "holdout" in self.facts else None

    def __str__(self) -> str:
        """The seven steps, what each did, and where it stands."""
        lines = [f"retraining of {self.name}, loop {self.id}: {self.move}"]
        for number, step in enumerate(STEPS, 1):
            said = [note.said for note in self.notes if note.step == number]
            lines.append(f"  [{self._mark(number)}] {number} {step:<9}{said[-1] if said else ''}")
        lines += [f"  because {reason}" for reason in self.reasons]
        if self.waits_for:
            lines.append(f"  waits for: {self.waits_for}")
        return "\n".join(line.rstrip() for line in lines)

    def _view(self) -> View:
        return _views.view_of_loop(self, STEPS, [self._mark(n + 1) for n in range(len(STEPS))])

    def _mark(self, number: int) -> str:
        if self.move is Move.DONE or number < self.step:
            return "x"
        if number > self.step:
            return " "
        return "!" if self.over else ">"


def status_of(
    state: State, *, now: datetime, did: str = "", waits_for: str = "", asks: Ask | None = None
) -> LoopStatus:
    """The status of a state."""
    promotion = state.facts.get("promotion")
    return LoopStatus(
        id=state.id,
        name=state.name,
        decision=state.decision,
        move=state.move,
        step=step_of(state),
        incumbent=state.incumbent,
        candidate=state.candidate,
        began=state.began,
        since=state.since,
        at=now,
        did=did,
        waits_for=waits_for or ("" if asks is None else f"a yes to {asks}"),
        asks=asks,
        approved={gate: yes.by for gate, yes in state.approved.items()},
        promotion=None if promotion is None else Promotion.from_dict(promotion),
        scores=state.facts.get("scores", {}),
        reasons=state.reasons,
        facts=state.facts,
        notes=state.notes,
    )
