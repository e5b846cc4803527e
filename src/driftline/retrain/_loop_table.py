"""The machine of a retraining as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from driftline.retrain import _lock
from driftline.retrain import _loop_asks as ask
from driftline.retrain import _loop_steps as do
from driftline.retrain._loop_parts import Answer, Ask, Parts
from driftline.retrain._loop_state import Gate, Move, State


@frozen(kw_only=True)
class Row:
    """One move.

    Attributes:
        step: number of the guide's step.
        does: the function.
        then: the move after it.
        gate: what needs a yes before it, with the function that says what for; None there: nothing.
    """

    step: int
    does: Callable[[Parts, State], Answer]
    then: Move
    gate: Gate | None = None
    asks: Callable[[Parts, State], Ask | None] | None = None


TABLE: Final[Mapping[Move, Row]] = {
    Move.SAMPLE: Row(step=2, does=do.sample, then=Move.ANNOTATE),
    Move.ANNOTATE: Row(step=3, does=do.annotate, then=Move.REVIEW),
    Move.REVIEW: Row(
        step=3,
        does=do.take_review,
        then=Move.FREEZE,
        gate="review",
        asks=ask.for_labels,
    ),
    Move.FREEZE: Row(step=4, does=do.freeze, then=Move.START),
    Move.START: Row(step=4, does=do.start, then=Move.TRAIN, gate="money", asks=ask.for_money),
    Move.TRAIN: Row(step=4, does=do.train, then=Move.VALIDATE),
    Move.VALIDATE: Row(step=5, does=do.validate, then=Move.ROLL_OUT),
    Move.ROLL_OUT: Row(
        step=6,
        does=do.roll_out,
        then=Move.BASELINE,
        gate="rollout",
        asks=ask.for_traffic,
    ),
    Move.BASELINE: Row(step=7, does=_lock.take_baseline, then=Move.ANNOUNCE),
    Move.ANNOUNCE: Row(step=7, does=_lock.announce, then=Move.DONE),
    Move.STOP: Row(step=6, does=do.stop, then=Move.ABORTED),
}
"""The machine: each move, the guide's step it belongs to, what it needs and what comes after."""


def step_of(state: State) -> int:
    """Number of the guide's step that it stands at; where it is over or stopped, came to."""
    row = TABLE.get(state.move)
    return state.step if row is None or state.move is Move.STOP else row.step
