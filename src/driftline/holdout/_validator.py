"""Runs a model over labelled frames and scores it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from attrs import evolve

from driftline._checks import part, refuse_number
from driftline._clock import Clock, as_clock
from driftline._progress import Progress, bar
from driftline.errors import InputError, RateLimited
from driftline.holdout._checkpoint import Checkpoint
from driftline.holdout._checks import ClassMapping, class_numbers, translate
from driftline.holdout._dataset import Holdout
from driftline.holdout._evaluation import Evaluation, EvaluationOptions, Role, evaluate
from driftline.holdout._frames import LabelledFrame, LabelledFrames, frames_of, names_of
from driftline.holdout._local import LocalModel
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

    The model is one of three: weights on this machine, run by ultralytics in a child process of
    their own; anything with ``predict``, such as the deployed endpoint; or what it found already.

    Attributes:
        data: the labelled frames, or the path they are read from.
    """

    def __init__(
        self,
        data: str | Path | LabelledFrames | Sequence[Any],
        model: str
        | Path
        | LocalModel
        | Predictor
        | Sequence[Detections]
        | Mapping[str, Detections],
        *,
        split: str | None = None,
        train: str | Path | Holdout | Iterable[str | Path] | None = None,
        class_mapping: ClassMapping | None = None,
        class_names: Mapping[int, str] | Sequence[str] | None = None,
        calls_per_minute: float | None = None,
        checkpoint: str | Path | None = None,
        clock: Clock | None = None,
        **options: Unpack[EvaluationOptions],
    ) -> None:
        """Keep the parts; nothing is opened or predicted yet.

        Args:
            data: a `Holdout`; the path of one (see `Holdout.open`); or one `LabelledFrame` (or
                anything with image and truth) per frame.
            model: the path of weights, or `LocalModel` with more to say of how to run them;
                anything with ``predict(image) -> Detections``; or the predictions themselves, in
                the order of the frames or by the name of the frame.
            split: which split of the data, where it is a path; None: see `Holdout.open`.
            train: what the model was trained on (a `Holdout`, a data YAML whose split ``train`` is
                read, or paths of images): pictures that are in both are refused. None: not checked.
            class_mapping: name of a class of the model → name of a class of the holdout, or None
                to leave it out, where the two name or number their classes differently.
            class_names: index → name of every class; None takes the names that labels and
                predictions carry.
            calls_per_minute: ask the model no more often than this; None: as fast as it answers.
            checkpoint: file to which each answer of a predictor is added at once; None: kept in
                memory only.
            clock: where the time comes from; None: the machine's.
            **options: see `driftline.holdout.EvaluationOptions`. Left out, ``settings`` are those
                that an attribute ``context`` of the model records, and ``at`` is the time of
                the validation.

        Raises:
            InputError: an argument is of another kind, or the model can do none of this.
        """
        if calls_per_minute is not None:
            what = "above 0, or None for no limit"
            refuse_number("calls_per_minute", calls_per_minute, what, above=0, most=1e9)
        if isinstance(model, (str, Path)):
            model = LocalModel(model)
        if not (
            callable(getattr(model, "predict", None))
            or isinstance(model, (LocalModel, Sequence, Mapping))
        ):
            msg = (
                "model must have predict(image) -> Detections, or be a path of weights or the "
                f"predictions; got {type(model).__name__}"
            )
            raise InputError(msg)
        self.data = data
        self._model = model
        self._split = split
        self._train = train
        if class_mapping is not None:
            what = "a mapping of names to names or None"
            part(class_mapping, Mapping, name="class_mapping", what=what)
        self._class_mapping = class_mapping
        self._class_names = None if class_names is None else names_of(class_names)
        self._spacing_seconds = 0.0 if calls_per_minute is None else 60.0 / calls_per_minute
        self._checkpoint = None
        if checkpoint is not None:
            what = "the path of a file"
            self._checkpoint = Path(part(checkpoint, (str, Path), name="checkpoint", what=what))
        self._clock = as_clock(clock)
        self._options = options
        self._found: dict[int, Detections] = {}

    def __repr__(self) -> str:
        """Number of frames, and how many are predicted."""
        whole = str(self.data) if isinstance(self.data, (str, Path)) else f"{len(self.data)} frames"
        return f"HoldoutValidator({whole}, {len(self._found)} predicted)"

    def validate(self, *, progress: bool | None = None) -> Evaluation:
        """Check the data, predict what is not predicted yet, and score it.

        Args:
            progress: write how far it is to standard error; None: from two seconds on, where
                that is a terminal.

        Raises:
            TooLittleData: there is no labelled object that counts.
            ContextMismatch: labels and model name their classes differently, or the checkpoint
                is of other frames or another model.
            InputError: a frame has no image or no prediction, there is no such file, or a frame
                is among those the model was trained on.
            UnreadableData: labels or pictures do not parse or open.
            MissingExtra: a package is missing, such as ultralytics for local weights.
            ModelError: the local weights failed.
            PlatformError: the endpoint failed; call again to go on.
        """
        options = EvaluationOptions(**self._options)
        data = self._opened()
        if isinstance(data, Holdout):
            options["role"], data = _part(data, options.get("role"))
            self._check(data)
        frames = frames_of(data)
        names = self._names(data)
        options.setdefault("at", self._clock.now())
        if isinstance(self._model, LocalModel):
            return self._validate_local(self._model, frames, names, options, progress=progress)
        predictions = self._predictions(frames, names, progress=progress)
        options.setdefault("settings", _settings(self._model))  # an endpoint tells more by and by
        return evaluate(frames, predictions, class_names=names or None, **options)

    def _validate_local(
        self,
        model: LocalModel,
        frames: Sequence[LabelledFrame],
        names: Mapping[int, str],
        options: EvaluationOptions,
        *,
        progress: bool | None,
    ) -> Evaluation:
        names = names or {
            index: name for frame in frames for index, name in frame.truth.class_names.items()
        }
        if not names:
            msg = "the labels carry no names of classes to hold the model's against; pass class_names="
            raise InputError(msg)
        run = model.run(frames, names, class_mapping=self._class_mapping, progress=progress)
        options.setdefault("settings", run.settings)
        evaluation = evaluate(frames, run.predictions, class_names=names, **options)
        return evolve(evaluation, notes=(*evaluation.notes, *run.notes(frames)))

    def _opened(self) -> LabelledFrames | Sequence[Any]:
        if isinstance(self.data, (str, Path)):
            self.data = Holdout.open(self.data, split=self._split)
        return self.data

    def _check(self, data: Holdout) -> None:
        """Pictures open, none was trained on, and the classes agree where they are known."""
        train = self._train
        if isinstance(train, (str, Path)):
            train = Holdout.open(train, split="train")
        at_hand = isinstance(self._model, (Sequence, Mapping))
        if not at_hand or train is not None:
            data.check(train=train)

    def _names(self, data: LabelledFrames | Sequence[Any]) -> dict[int, str]:
        """Index → name of every class of the labels; empty where nobody named them all."""
        if self._class_names is not None:
            return self._class_names
        return dict(data.class_names) if isinstance(data, Holdout) else {}

    def _predictions(
        self, frames: Sequence[LabelledFrame], names: Mapping[int, str], *, progress: bool | None
    ) -> Sequence[Detections]:
        """The detections of each frame, in the numbers of the labels."""
        model = self._model
        if isinstance(model, Mapping):
            return self._meant(_by_name(frames, model), names)
        if isinstance(model, Sequence):
            return self._meant(model, names)
        assert not isinstance(model, (str, Path, LocalModel))
        return self._meant(self._asked(model, frames, names, progress=progress), names)

    def _meant(self, found: Sequence[Detections], names: Mapping[int, str]) -> Sequence[Detections]:
        if self._class_mapping is None:
            return found
        model = _known_names(self._model) or {
            index: name for one in found for index, name in one.class_names.items()
        }
        there = set(model.values())
        mapping = {name: meant for name, meant in self._class_mapping.items() if name in there}
        numbers = class_numbers(names, model, mapping)  # of predictions at hand not all are known
        return [translate(one, numbers, names) for one in found]

    def _agree(self, names: Mapping[int, str]) -> None:
        """Refuse a model that names or numbers its classes otherwise, as soon as it says so."""
        if names and (model := _known_names(self._model)):
            class_numbers(names, model, self._class_mapping)

    def _asked(
        self,
        model: Predictor,
        frames: Sequence[LabelledFrame],
        names: Mapping[int, str],
        *,
        progress: bool | None,
    ) -> list[Detections]:
        self._agree(names)
        file = None if self._checkpoint is None else Checkpoint(self._checkpoint)
        if file is not None:
            self._found |= file.open(frames, self._options.get("settings", _settings(model)))
        with Progress(shown=progress) as line:
            for index, frame in enumerate(frames):
                if index in self._found:
                    continue
                found = self._ask(model, frame, index)
                self._agree(names)
                self._found[index] = found
                if file is not None:
                    file.add(index, found)
                line.tell(bar(index + 1, len(frames), "frames"))
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
                what = "Detections: what predict(image) gives"
                return part(found, Detections, name="prediction", what=what)
        raise AssertionError


def _settings(model: object) -> Settings:
    """What the model says of itself."""
    context = getattr(model, "context", None)
    if isinstance(context, Settings):
        return context
    return Settings.of(context) if isinstance(context, Context) else Settings()


def _known_names(model: object) -> Mapping[int, str]:
    """Index → name of all classes of a model; empty where it does not say, or not yet."""
    return _settings(model).class_names


def _part(holdout: Holdout, role: Role | None) -> tuple[Role, Holdout]:
    """The frames of a role; a holdout of one kind is that kind."""
    golden, recent = holdout.golden, holdout.recent
    if role is None:
        role = "golden" if len(golden) and not len(recent) else "recent"
    chosen = golden if role == "golden" else recent
    return role, chosen if len(chosen) else holdout


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
