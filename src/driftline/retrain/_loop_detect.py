"""Show frames to a model a little at a time, so that no call of a loop takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from attrs import frozen

from driftline._clock import Clock
from driftline.errors import RateLimited
from driftline.holdout import Evaluation, LabelledFrame, LocalModel, Settings, evaluate
from driftline.holdout._checkpoint import Checkpoint
from driftline.holdout._checks import class_numbers
from driftline.records import Context, Detections
from driftline.retrain._backend import Detector


@frozen(kw_only=True, eq=False)
class Found:
    """What a model found in some frames, in their order, and under which settings."""

    detections: tuple[Detections, ...]
    settings: Settings


@frozen(kw_only=True)
class NotYet:
    """How far it got; the next call goes on there."""

    done: int
    frames: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.done} of {self.frames} frames shown to the model"


def show(
    detector: Detector,
    frames: Sequence[LabelledFrame],
    class_names: Mapping[int, str],
    *,
    file: Path,
    clock: Clock,
    patience: timedelta,
) -> Found | NotYet:
    """What a model finds; answers are kept in a file, and a call ends when patience does.

    Args:
        detector: the model. Weights on this machine see all frames in one child process.
        frames: what to show.
        class_names: index → name of every class; a model that differs is refused.
        file: where answers are kept.
        clock: where the time comes from.
        patience: how long to go on.

    Raises:
        ContextMismatch: the model names or numbers its classes otherwise.
    """
    if isinstance(detector, LocalModel):
        run = detector.run(frames, class_names)
        return Found(detections=run.predictions, settings=run.settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(file)
    known = checkpoint.open(frames, settings_of(detector))
    give_up = clock.monotonic() + patience.total_seconds()
    for index, frame in enumerate(frames):
        if index in known:
            continue
        if clock.monotonic() >= give_up:
            return NotYet(done=len(known), frames=len(frames))
        try:
            known[index] = detector.predict(frame.image)
        except RateLimited:
            return NotYet(done=len(known), frames=len(frames))
        checkpoint.add(index, known[index])
    _agree(class_names, settings_of(detector), known)
    found = tuple(known[index] for index in range(len(frames)))
    return Found(detections=found, settings=settings_of(detector))


def score(
    frames: Sequence[LabelledFrame], found: Found, names: Mapping[int, str], *, replicates: int
) -> Evaluation:
    """Score what a model found."""
    return evaluate(
        frames,
        found.detections,
        class_names=names,
        settings=found.settings,
        replicates=replicates,
    )


def settings_of(detector: object) -> Settings:
    """What a detector says of itself."""
    context = getattr(detector, "context", None)
    return Settings.of(context) if isinstance(context, Context) else Settings()


def _agree(names: Mapping[int, str], settings: Settings, known: Mapping[int, Detections]) -> None:
    """Refuse a model that names or numbers its classes otherwise, where it says so."""
    seen = {index: name for one in known.values() for index, name in one.class_names.items()}
    if settings.class_names:
        class_numbers(names, settings.class_names)
    elif seen:
        class_numbers({index: names.get(index, "") for index in seen}, seen)
