"""Runs a model over labelled frames and scores it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from driftline._clock import Clock, SystemClock
from driftline.errors import InputError, RateLimited
from driftline.holdout._checkpoint import Checkpoint
from driftline.holdout._evaluation import Evaluation, EvaluationOptions, evaluate
from driftline.holdout._frames import LabelledFrame, LabelledFrames, frames_of
from driftline.holdout._settings import Settings
from driftline.records import Context, Detections, Predictor

__all__ = ["HoldoutValidator"]

_ATTEMPTS = 5
_DEFAULT_WAIT_SECONDS = 60.0  # where a rate limit names no wait: the Platform counts per minute


class HoldoutValidator:
    """Scores a model on a holdout.

    Frames are asked for one at a time, at most `calls_per_minute`; a rate limit is waited for.
    What was predicted is kept, so that after an error `validate` goes on where it stopped; with
    `checkpoint` it does so in a later process as well.

    Attributes:
        data: the labelled frames.
    """

    def __init__(
        self,
        data: LabelledFrames | Sequence[Any],
        model: Predictor | Sequence[Detections] | Mapping[str, Detections],
        *,
        class_names: Mapping[int, str] | Sequence[str] | None = None,
        calls_per_minute: float | None = None,
        checkpoint: str | Path | None = None,
        clock: Clock | None = None,
        **options: Unpack[EvaluationOptions],
    ) -> None:
        """Keep the parts; nothing is opened or predicted yet.

        Args:
            data: one `LabelledFrame` (or anything with image and truth) per frame.
            model: anything with ``predict(image) -> Detections``, or the predictions themselves,
                in the order of the frames or by the name of the frame.
            class_names: index → name of every class; None takes the names that labels and
                predictions carry.
            calls_per_minute: ask the model no more often than this; None: as fast as it answers.
            checkpoint: file to which each answer is added at once; None: kept in memory only.
            clock: where the time comes from; None: the machine's.
            **options: see `driftline.holdout.EvaluationOptions`. Left out, ``settings`` are those
                that an attribute ``context`` of the model records, and ``at`` is the time of
                the validation.

        Raises:
            InputError: `calls_per_minute` is not above 0, or the model can do none of this.
        """
        if calls_per_minute is not None and not calls_per_minute > 0:
            msg = f"calls_per_minute={calls_per_minute} must be above 0, or None for no limit"
            raise InputError(msg)
        for name, value in (("data", data), ("model", model)):
            if isinstance(value, (str, Path)):
                msg = f"{name}={str(value)!r} is a path; pass labelled frames and a predictor"
                raise InputError(msg)
        if not (
            callable(getattr(model, "predict", None)) or isinstance(model, (Sequence, Mapping))
        ):
            msg = (
                f"model must have predict(image) -> Detections, or be the predictions; "
                f"got {type(model).__name__}"
            )
            raise InputError(msg)
        self.data = data
        self._model = model
        self._class_names = class_names
        self._spacing_seconds = 0.0 if calls_per_minute is None else 60.0 / calls_per_minute
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._clock = clock or SystemClock()
        self._options = options
        self._found: dict[int, Detections] = {}

    def __repr__(self) -> str:
        """Number of frames, and how many are predicted."""
        return f"HoldoutValidator({len(self.data)} frames, {len(self._found)} predicted)"

    def validate(self, *, progress: bool = False) -> Evaluation:
        """Predict what is not predicted yet, and score it.

        Args:
            progress: write how far it is to standard error.

        Raises:
            TooLittleData: there is no labelled object that counts.
            ContextMismatch: labels and model name their classes differently, or the checkpoint
                is of other frames or another model.
            InputError: a frame has no image or no prediction.
            PlatformError: the endpoint failed; call again to go on.
        """
        frames = frames_of(self.data)
        options = EvaluationOptions(**self._options)
        settings = options.setdefault("settings", _settings(self._model))
        options.setdefault("at", self._clock.now())
        predictions = self._predictions(frames, settings, progress=progress)
        return evaluate(frames, predictions, class_names=self._class_names, **options)

    def _predictions(
        self, frames: Sequence[LabelledFrame], settings: Settings, *, progress: bool
    ) -> Sequence[Detections]:
        model = self._model
        if isinstance(model, Mapping):
            return _by_name(frames, model)
        if isinstance(model, Sequence):
            return model
        file = None if self._checkpoint is None else Checkpoint(self._checkpoint)
        if file is not None:
            self._found |= file.open(frames, settings)
        for index, frame in enumerate(frames):
            if index in self._found:
                continue
            found = self._ask(model, frame, index)
            self._found[index] = found
            if file is not None:
                file.add(index, found)
            if progress:
                sys.stderr.write(f"\r{index + 1} of {len(frames)} frames")
        if progress:
            sys.stderr.write("\n")
        return [self._found[index] for index in range(len(frames))]

    def _ask(self, model: Predictor, frame: LabelledFrame, index: int) -> Detections:
        """One prediction, no sooner than the pace allows; a rate limit is waited for."""
        if frame.image is None:
            msg = f"frame {frame.id or index} has no image to predict; give images, or predictions as model"
            raise InputError(msg)
        for attempt in range(_ATTEMPTS):
            started = self._clock.monotonic()
            try:
                found = model.predict(frame.image)
            except RateLimited as exc:
                if attempt == _ATTEMPTS - 1:
                    raise
                self._clock.sleep(exc.retry_after_seconds or _DEFAULT_WAIT_SECONDS)
            else:
                rest = self._spacing_seconds - (self._clock.monotonic() - started)
                if rest > 0:
                    self._clock.sleep(rest)
                return found
        raise AssertionError


def _settings(model: object) -> Settings:
    """What the model says of itself."""
    context = getattr(model, "context", None)
    if isinstance(context, Settings):
        return context
    return Settings.of(context) if isinstance(context, Context) else Settings()


def _by_name(
    frames: Sequence[LabelledFrame], predictions: Mapping[str, Detections]
) -> list[Detections]:
    missing = [frame.id or "without a name" for frame in frames if frame.id not in predictions]
    if missing:
        msg = (
            f"no prediction for {len(missing)} of {len(frames)} frames, such as {missing[0]!r}; "
            "a frame in which nothing was found needs empty Detections"
        )
        raise InputError(msg)
    return [predictions[frame.id] for frame in frames]
