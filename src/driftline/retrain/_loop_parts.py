"""What a retraining is put together from, and what one move may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from attrs import field, frozen

from driftline._clock import Clock
from driftline.holdout import Holdout
from driftline.platform import TrainArgs
from driftline.profiles import Profile, SampledFrame
from driftline.records import Receipt
from driftline.retrain._backend import RetrainBackend
from driftline.retrain._loop_book import Book
from driftline.retrain._loop_frames import LoopFrame
from driftline.retrain._loop_state import Gate, Move, State
from driftline.retrain._promotion import PromotionRule
from driftline.retrain._rollout import Rollout

PROPOSE_ABOVE: Final = 0.5
"""Confidence above which a detection is proposed as a label (the guide's runbook)."""

Deploy: TypeAlias = Callable[[str], "Rollout | None"]
"""Brings a model to its users: gradually by the `Rollout` it answers with, or at once (None).
Asked again for a model that serves already it changes nothing. To stop, it is asked for the
previous model: at once it goes back; a `Rollout` is only looked at, and rolled back."""


class MarkSink(Protocol):
    """A sink that shows events; Datadog's, Grafana's and PagerDuty's do."""

    def mark(
        self,
        summary: str,
        *,
        at: datetime,
        deployment: str = "",
        details: Mapping[str, str | float] | None = None,
    ) -> Receipt:
        """Show that something was changed."""
        ...


@frozen(kw_only=True)
class Ask:
    """Something that needs a yes.

    Attributes:
        gate: "review", "money" or "rollout".
        name: what is retrained.
        said: what happens after a yes.
        most_cents: what it may cost; None where it costs no money or nothing bounds it.
    """

    gate: Gate
    name: str
    said: str
    most_cents: float | None = None

    def __str__(self) -> str:
        """For people."""
        return f"{self.gate}: {self.said}"


ApproveFunction: TypeAlias = Callable[[Ask], bool]
"""Says yes or no to what a retraining asks for."""


@frozen(kw_only=True, eq=False)
class Parts:
    """What a retraining is put together from; see `RetrainLoop`."""

    name: str
    book: Book
    backend: RetrainBackend
    incumbent: str | Callable[[], str]
    sample: Callable[[], Iterable[SampledFrame]]
    read: Callable[[str], bytes]
    source: Holdout | str | Path
    args: TrainArgs
    deploy: Deploy
    rule: PromotionRule
    baseline: Callable[[datetime, datetime], Profile | None] | None
    baseline_days: int
    sinks: Sequence[MarkSink]
    approve: ApproveFunction | None
    folder: Path
    clock: Clock
    patience: timedelta

    @cached_property
    def holdout(self) -> Holdout:
        """The golden holdout, opened when it is first needed."""
        return self.source if isinstance(self.source, Holdout) else Holdout.open(self.source)

    @property
    def golden(self) -> Holdout:
        """Its locked frames; all of it where none are."""
        locked = self.holdout.golden
        return locked if len(locked) else self.holdout

    def serving(self) -> str:
        """The model that serves, as far as it can be known, by a name that keeps its meaning."""
        given = self.incumbent
        return self.backend.keep(given if isinstance(given, str) else given())

    @property
    def pixels(self) -> Path:
        """Where the files of frames are."""
        return self.folder / "frames"

    def frames(self, state: State) -> tuple[LoopFrame, ...]:
        """The frames of a retraining, read when they are needed."""
        return self.book.frames(state.id, self.class_names)

    def review(self, state: State) -> Path:
        """Where people look at labels."""
        return self.folder / state.id / "review"

    @property
    def class_names(self) -> Mapping[int, str]:
        """Index → name of every class."""
        return self.holdout.class_names


@frozen(kw_only=True)
class Done:
    """The move is done.

    Attributes:
        said: what was done.
        facts: what was made.
        frames: the frames as they are now; None: unchanged.
        to: the next move, where it is not the one of the table.
        reasons: why the loop ends, where it does.
    """

    said: str
    facts: Mapping[str, Any] = field(factory=dict)
    frames: tuple[LoopFrame, ...] | None = None
    to: Move | None = None
    reasons: tuple[str, ...] = ()


@frozen
class Wait:
    """The move is not done; the next call looks again."""

    said: str


Answer: TypeAlias = Done | Wait
