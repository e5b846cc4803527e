"""A retraining as one small document: which step it is at, what was made, who said yes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from attrs import asdict, evolve, field, frozen

from driftline.errors import StoreError
from driftline.retrain._decision import Decision

FORMAT: Final = 2
"""Version of the document; another one is refused, not guessed at."""

Gate: TypeAlias = Literal["review", "money", "rollout"]
"""What needs somebody's yes: the labels, the cost of a training, the traffic."""
GATES: Final[tuple[Gate, ...]] = ("review", "money", "rollout")


class Move(StrEnum):
    """What the loop does next; the names of the guide's seven steps lie in `STEPS`."""

    SAMPLE = "sample"
    ANNOTATE = "annotate"
    REVIEW = "review"
    FREEZE = "freeze the dataset"
    START = "start the training"
    TRAIN = "train"
    VALIDATE = "validate"
    ROLL_OUT = "roll out"
    BASELINE = "take the baseline"
    ANNOUNCE = "announce"
    STOP = "stop"
    DONE = "done"
    REFUSED = "refused"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled back"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in {Move.DONE, Move.REFUSED, Move.ABORTED, Move.ROLLED_BACK}


STEPS: Final[tuple[str, ...]] = (
    "detect",
    "sample",
    "annotate",
    "retrain",
    "validate",
    "deploy",
    "lock",
)
"""The guide's seven steps."""


@frozen(kw_only=True)
class Note:
    """One line of the record: what was done.

    Attributes:
        at: when, UTC.
        step: number of the guide's step, 1 to 7.
        said: what was done, and why.
    """

    at: datetime
    step: int
    said: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.step} {STEPS[self.step - 1]}: {self.said}"


@frozen(kw_only=True)
class Yes:
    """A yes, and what it was said to.

    Attributes:
        by: who said it.
        said: what was asked.
        most_cents: what it might cost; None for no money or no bound.
    """

    by: str
    said: str
    most_cents: float | None = None


@frozen(kw_only=True)
class State:
    """A retraining at one moment.

    Attributes:
        id: of this loop: the same decision gives the same.
        name: what is retrained.
        decision: what opened it.
        incumbent: the model that served when it was opened: training starts from it, and a
            rollback goes back to it.
        move: what is done next.
        step: number of the guide's step, 1 to 7, that the last line of the record is of.
        began: when it was opened, UTC.
        since: when it came to this move, UTC.
        attempt: number of the training, from 1.
        approved: gate → the yes.
        facts: what was made so far, by name; JSON values.
        reasons: why it ended, empty before.
        notes: what was done, oldest first.
    """

    id: str
    name: str
    decision: Decision
    incumbent: str
    move: Move = Move.SAMPLE
    step: int = 1
    began: datetime
    since: datetime
    attempt: int = 1
    approved: Mapping[str, Yes] = field(factory=dict)
    facts: Mapping[str, Any] = field(factory=dict)
    reasons: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def key(self) -> str:
        """What the things that this loop makes are found by."""
        return f"{self.id}-{self.attempt}"

    @property
    def candidate(self) -> str:
        """The model that was trained, "" before."""
        model: str = self.facts.get("candidate", "")
        return model

    @property
    def handing_over(self) -> bool:
        """Whether traffic may have been moved."""
        return "handover" in self.facts

    def to(self, move: Move, said: str, *, step: int, now: datetime, **changes: Any) -> State:
        """The state at another move, with a line on what was done."""
        note = Note(at=now, step=step, said=said)
        return evolve(self, move=move, step=step, since=now, notes=(*self.notes, note), **changes)

    def learned(self, **facts: Any) -> State:
        """The state with more that was made."""
        return evolve(self, facts={**self.facts, **facts})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _PLAIN},
            "decision": self.decision.to_dict(),
            "move": self.move.value,
            "began": self.began.isoformat(),
            "since": self.since.isoformat(),
            "approved": {gate: asdict(yes) for gate, yes in self.approved.items()},
            "facts": dict(self.facts),
            "reasons": list(self.reasons),
            "notes": [[note.at.isoformat(), note.step, note.said] for note in self.notes],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> State:
        """What `to_json` wrote.

        Raises:
            StoreError: it was written by another version.
        """
        if value.get("format") != FORMAT:
            msg = (
                f"the stored retraining has format {value.get('format')!r}, this version reads "
                f"{FORMAT}; finish it with the version that began it"
            )
            raise StoreError(msg)
        plain: dict[str, Any] = {name: value[name] for name in _PLAIN}
        return cls(
            **plain,
            decision=Decision.from_dict(value["decision"]),
            move=Move(value["move"]),
            began=datetime.fromisoformat(value["began"]),
            since=datetime.fromisoformat(value["since"]),
            approved={gate: Yes(**yes) for gate, yes in value["approved"].items()},
            facts=value["facts"],
            reasons=tuple(value["reasons"]),
            notes=tuple(
                Note(at=datetime.fromisoformat(at), step=step, said=said)
                for at, step, said in value["notes"]
            ),
        )


_PLAIN: Final = ("id", "name", "incumbent", "step", "attempt")


def begin(decision: Decision, *, name: str, incumbent: str, now: datetime) -> State:
    """The state of a retraining that a decision opens."""
    state = State(
        id=loop_id(decision, name=name),
        name=name,
        decision=decision,
        incumbent=incumbent,
        began=now,
        since=now,
    )
    return state.to(Move.SAMPLE, decision.trigger, step=1, now=now)


def loop_id(decision: Decision, *, name: str) -> str:
    """Twelve hex digits that belong to this decision about this deployment."""
    said = json.dumps([name, decision.to_dict()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]
