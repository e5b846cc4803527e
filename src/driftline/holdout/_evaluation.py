"""How accurate a model is on labelled frames, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack, get_args

import numpy as np
from attrs import asdict, evolve, field, frozen

from driftline._checks import chosen, part, parts, refuse_kinds, refuse_number, refuse_other
from driftline._clock import as_optional_utc, as_utc
from driftline._draw import Shown, View, plot
from driftline._stats.average_precision import ApMethod
from driftline._stats.intervals import Interval
from driftline.errors import ContextMismatch, InputError, TooLittleData, UnreadableData
from driftline.holdout import _views
from driftline.holdout._calibration import Calibration
from driftline.holdout._comparison import Comparison, compare
from driftline.holdout._frames import (
    LabelledFrame,
    LabelledFrames,
    content_digest,
    frames_of,
    names_of,
)
from driftline.holdout._matching import AREA_RANGES
from driftline.holdout._parsed import reading
from driftline.holdout._scores import FEW_TRUTHS, FEW_UNITS, Resample, Score, score
from driftline.holdout._settings import Settings
from driftline.holdout._table import MatchTable
from driftline.holdout._val_row import ValRow
from driftline.records import Detections, Metric, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Evaluation", "EvaluationOptions", "Role", "evaluate"]

Role = Literal["recent", "golden"]
"""What a set of frames is for: this week's random sample, or the frozen set that never changes."""

SCHEMA: Final = "driftline.evaluation/1"
LOW_CONFIDENCE: Final = 0.01  # yolo val keeps 0.001 and above; little is lost up to here
COCO_MAX_DETECTIONS: Final = 100  # COCO API: maxDets[-1]; yolo val keeps what the predictor kept


class EvaluationOptions(TypedDict, total=False):
    """What may be said about how to score; every option has a default.

    Attributes:
        ap: "coco101" (default; the COCO API) or "ultralytics" (as ``yolo val``).
        max_detections: detections of a class kept per frame; left out: 100 for "coco101" (COCO
            API), all for "ultralytics".
        operating_confidence: confidence the detector is used at; default 0.25, the default of
            Ultralytics' predict.
        by: tags to break the score down by; default ("camera",). Frames without the tag are
            left out of the breakdown.
        cluster_by: tags that together name an independent unit, such as ("camera", "day");
            default none: each frame is one.
        replicates: bootstrap resamples; default 1000.
        level: confidence level of intervals; default 0.95.
        rng: seed or generator of the bootstrap; default 0.
        settings: settings the predictions were made under.
        role: "recent" (default): a random sample of the period's frames; "golden": the frozen
            set on which a fixed model cannot move.
        at: start of the period the frames come from, aware.
        deployment: ``"owner/deployment"``, or "".
    """

    ap: ApMethod
    max_detections: int | None
    operating_confidence: float
    by: Sequence[str]
    cluster_by: Sequence[str]
    replicates: int
    level: float
    rng: np.random.Generator | int
    settings: Settings
    role: Role
    at: datetime | None
    deployment: str


def _names(value: Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else parts(value, str, name="by", what="a tag")


@frozen(kw_only=True, eq=False)
class Scoring:
    """The options, filled in and checked."""

    ap: ApMethod = "coco101"
    max_detections: int | None = None
    operating_confidence: float = 0.25
    by: tuple[str, ...] = field(default=("camera",), converter=_names)
    cluster_by: tuple[str, ...] = field(default=(), converter=_names)
    replicates: int = 1000
    level: float = 0.95
    rng: np.random.Generator | int = 0
    settings: Settings = field(factory=Settings)
    role: Role = "recent"
    at: datetime | None = field(default=None, converter=as_optional_utc)
    deployment: str = ""

    def __attrs_post_init__(self) -> None:
        """Refuse what no score can be made with."""
        refuse_other("ap", self.ap, get_args(ApMethod))
        refuse_other("role", self.role, get_args(Role))
        what = "a number between 0 and 1"
        refuse_number("operating_confidence", self.operating_confidence, what, least=0, most=1)
        if self.max_detections is not None:
            what = "at least 1, or None for all"
            refuse_number("max_detections", self.max_detections, what, least=1, whole=True)
        part(
            self.settings, Settings, name="settings", what="Settings, such as Settings.of(context)"
        )

    @property
    def limit(self) -> int | None:
        """Detections of a class kept per frame."""
        if self.max_detections is not None:
            return self.max_detections
        return COCO_MAX_DETECTIONS if self.ap == "coco101" else None


@frozen(kw_only=True, eq=False, repr=False)
class Evaluation(Shown):
    """The accuracy of one model on one set of labelled frames.

    Attributes:
        overall: the score of all classes together.
        per_class: name of a class → its score; classes without labelled objects are there and
            say so.
        per_size: "small", "medium", "large" (COCO: split at 32² and 96² px) → score.
        per_tag: tag → value of the tag → score of the frames that have it.
        calibration: confidence against precision.
        val_row: precision and recall as ``yolo val`` prints them.
        settings: what the score depends on besides the frames.
        role: "recent" or "golden".
        at: start of the period the frames come from, UTC; None where it was not said.
        deployment: ``"owner/deployment"``, or "".
        n_frames: labelled frames.
        n_units: independent units that were resampled (frames, or clusters of them).
        n_selected: frames that were not picked at random; with any, the score is not that of
            the stream, and no trend is made of it.
        level: confidence level of every interval.
        replicates: bootstrap resamples behind every interval.
        cluster_by: tags that name an independent unit; empty: each frame is one.
        truth_digest: digest of the labelled frames: the same holdout, the same digest.
        predictions_digest: digest of all predictions.
        notes: what to know before the numbers are trusted.
        table: the matched detections, from which scores can be compared frame by frame; None
            when they were not kept.
    """

    overall: Score
    per_class: Mapping[str, Score]
    per_size: Mapping[str, Score]
    per_tag: Mapping[str, Mapping[str, Score]]
    calibration: Calibration
    val_row: ValRow
    settings: Settings
    role: Role
    at: datetime | None
    deployment: str
    n_frames: int
    n_units: int
    n_selected: int
    level: float
    replicates: int
    cluster_by: tuple[str, ...]
    truth_digest: str
    predictions_digest: str
    notes: tuple[str, ...] = ()
    table: MatchTable | None = None

    @property
    def map(self) -> float:
        """mAP@0.5:0.95, [0, 1]: mean over classes with labelled objects."""
        return float(self.overall)

    @property
    def map50(self) -> float:
        """mAP@0.5, [0, 1]."""
        return _known(self.overall.map50)

    @property
    def map75(self) -> float:
        """mAP@0.75, [0, 1]."""
        return _known(self.overall.map75)

    @property
    def map_interval(self) -> Interval | None:
        """Interval of mAP@0.5:0.95 at `level`, small-sample bias removed; None: too few frames."""
        return self.overall.map_interval

    def __repr__(self) -> str:
        """The score, its interval and the counts."""
        interval = "" if self.map_interval is None else f" ({self.map_interval})"
        return f"Evaluation(map={self.map:.3f}{interval}, {self.n_frames} frames, {self.role})"

    def __str__(self) -> str:
        """The score for people: overall, by class, by size, by tag, and what to know."""
        lines = [
            f"mAP@0.5:0.95 {self.overall.estimate}",
            f"mAP@0.5 {self.overall.estimate50}",
            f"{self.overall.operating}",
            *(f"  class {one}" for one in self.per_class.values()),
            *(f"  size {one}" for one in self.per_size.values()),
        ]
        for tag, scores in self.per_tag.items():
            lines += [f"  {tag} {one}" for one in scores.values()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Precision over recall of each class at IoU 0.5, titled with mAP and the weakest class.

        Where the detections were not kept, the scores of the parts instead (`plot_scores`).

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.evaluation(self), ax)

    def plot_scores(self, ax: Axes | None = None) -> Axes:
        """Average precision of every class, size and tag, with intervals.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.scores(self), ax)

    def _view(self) -> View:
        return _views.view_of_evaluation(self)

    def compare(
        self,
        other: Evaluation,
        *,
        replicates: int = 1000,
        rng: np.random.Generator | int = 0,
        allow: Sequence[str] = (),
    ) -> Comparison:
        """Hold this evaluation against another: difference, interval, probability, which part.

        Frames that are in both (same name, same labels) are drawn together in each resample, so
        that what is hard in them cancels; the other frames are drawn independently.

        Args:
            other: what this one is held against, such as the deployed model's.
            replicates: bootstrap resamples.
            rng: seed or generator of the bootstrap.
            allow: names of settings that may differ; the model and its weights always may.

        Raises:
            ContextMismatch: the evaluations were made under different settings.
            InputError: their intervals have different levels, or an argument is of another kind.
        """
        part(other, Evaluation, name="other", what="an Evaluation")
        but = chosen(allow, str, name="allow", what="the name of a setting")
        return compare(self, other, replicates=replicates, rng=rng, allow=but)

    def to_samples(self, *, at: datetime | None = None) -> tuple[Sample, ...]:
        """The score as metrics; what is unknown is left out.

        Args:
            at: time of the samples; None takes that of the evaluation.

        Raises:
            InputError: there is neither.
        """
        when = sample_time(at, self.at)
        parts = {"class": self.per_class, "size": self.per_size, **self.per_tag}
        numbers: list[tuple[Metric, float | None, dict[str, str]]] = [
            (Metric.MAP, self.overall.map, {}),
            (Metric.MAP50, self.overall.map50, {}),
        ]
        if self.map_interval is not None:
            numbers += [(Metric.MAP_LOW, self.map_interval.low, {})]
            numbers += [(Metric.MAP_HIGH, self.map_interval.high, {})]
        numbers += [
            (Metric.AP, one.map, {part: name})
            for part, scores in parts.items()
            for name, one in scores.items()
        ]
        return tuple(
            Sample(
                metric=metric,
                value=value,
                at=when,
                deployment=self.deployment,
                labels=labels | {"set": self.role},
            )
            for metric, value, labels in numbers
            if value is not None
        )

    def to_dict(self, *, table: bool = True) -> dict[str, Any]:
        """Plain values, ready for JSON.

        Args:
            table: keep the matched detections, without which two evaluations can be compared
                only as if their frames were different.
        """
        plain = {
            name: getattr(self, name)
            for name in (
                "role",
                "deployment",
                "n_frames",
                "n_units",
                "n_selected",
                "level",
                "replicates",
                "truth_digest",
                "predictions_digest",
            )
        }
        return plain | {
            "schema": SCHEMA,
            "at": None if self.at is None else self.at.isoformat(),
            "cluster_by": list(self.cluster_by),
            "notes": list(self.notes),
            "settings": self.settings.to_dict(),
            "overall": asdict(self.overall),
            "per_class": _scores_to_dict(self.per_class),
            "per_size": _scores_to_dict(self.per_size),
            "per_tag": {tag: _scores_to_dict(scores) for tag, scores in self.per_tag.items()},
            "calibration": asdict(self.calibration),
            "val_row": asdict(self.val_row),
            "table": self.table.to_dict() if table and self.table is not None else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote.

        Raises:
            UnreadableData: it was written in a form this version does not know.
        """
        with reading("evaluation"):
            return cls._read(values)

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> Evaluation:
        if values.get("schema") != SCHEMA:
            msg = f"schema {values.get('schema')!r} is not {SCHEMA!r}, which this version reads"
            raise UnreadableData(msg)
        refuse_kinds(values, _KINDS)
        refuse_other("role", values["role"], get_args(Role))
        plain = {name: value for name, value in values.items() if name != "schema"}
        table = values["table"]
        made = dict(
            plain,
            at=None if values["at"] is None else datetime.fromisoformat(values["at"]),
            cluster_by=parts(values["cluster_by"], str, name="cluster_by", what="a tag"),
            notes=parts(values["notes"], str, name="notes", what="text"),
            settings=Settings.from_dict(values["settings"]),
            overall=Score.from_dict(values["overall"]),
            per_class=_scores_from_dict(values["per_class"]),
            per_size=_scores_from_dict(values["per_size"]),
            per_tag={tag: _scores_from_dict(scores) for tag, scores in values["per_tag"].items()},
            calibration=Calibration.from_dict(values["calibration"]),
            val_row=ValRow(**values["val_row"]),
            table=None if table is None else MatchTable.from_dict(table),
        )
        one = cls(**made)
        if one.table is not None and len(one.table.classes) != len(one.per_class):
            msg = f"{len(one.per_class)} classes have a table of {len(one.table.classes)}"
            raise UnreadableData(msg)
        return one


_KINDS: Final[Mapping[str, Any]] = {
    "deployment": str,
    "n_frames": Integral,
    "n_units": Integral,
    "n_selected": Integral,
    "level": Real,
    "replicates": Integral,
    "truth_digest": str,
    "predictions_digest": str,
}


def sample_time(given: datetime | None, recorded: datetime | None) -> datetime:
    """The time of a sample.

    Raises:
        InputError: there is none.
    """
    if given is not None:
        return as_utc(given, name="at")
    if recorded is None:
        msg = "the evaluation has no time; pass at=, the start of the week its frames come from"
        raise InputError(msg)
    return recorded


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _scores_to_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in scores.items()}


def _scores_from_dict(values: Mapping[str, Any]) -> dict[str, Score]:
    return {name: Score.from_dict(one) for name, one in values.items()}


def evaluate(
    labels: LabelledFrames | Sequence[Any],
    predictions: Sequence[Detections],
    *,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    **options: Unpack[EvaluationOptions],
) -> Evaluation:
    """Score predictions against labels.

    Args:
        labels: one `LabelledFrame`, `Truth` or `Detections` per frame.
        predictions: the detections of each frame, in the same order and in pixels of the same
            image; keep low confidences (0.001, as ``yolo val``), for a higher threshold cuts
            the end off the precision-recall curve.
        class_names: index → name of every class; None takes the names that labels and
            predictions carry.
        **options: see `EvaluationOptions`.

    Raises:
        TooLittleData: there is no labelled object that counts, so that nothing can be scored.
        ContextMismatch: labels and predictions name their classes differently.
        InputError: the numbers of frames and predictions differ, or a value cannot be used.

    >>> from driftline.records import Detections, Metric, Sample
    >>> label = Detections(xyxy=[[0, 0, 10, 10]], confidence=[1], class_id=[0], image_size=(32, 32))
    >>> found = Detections(xyxy=[[0, 0, 10, 8]], confidence=[0.9], class_id=[0], image_size=(32, 32))
    >>> round(evaluate([label] * 20, [found] * 20, class_names=["cup"]).map, 3)  # IoU 0.8: 7 of 10
    0.7
    """
    scoring = Scoring(**options)
    frames = frames_of(labels)
    found = parts(predictions, Detections, name="predictions", what="the Detections of a frame")
    names = _class_names(class_names, frames, found)
    table = MatchTable.of(frames, found, classes=tuple(sorted(names)), max_detections=scoring.limit)
    if not table.judged().any():
        msg = (
            f"no labelled object in {len(frames)} frames: mAP is unknown, not zero; "
            "check that the labels were found and are not all crowds or ignored"
        )
        raise TooLittleData(msg)
    selected = sum(frame.chosen == "selected" for frame in frames)
    return _evaluation(table, names, scoring, selected)


def _evaluation(
    table: MatchTable, names: Mapping[int, str], scoring: Scoring, selected: int
) -> Evaluation:
    resample = _resample(table, scoring)
    points = table.average_precision(table.weights, method=scoring.ap)
    replicates = table.replicates(resample.weights, method=scoring.ap)
    per_class = {
        names[class_id]: score(
            resample, names[class_id], points, replicates, classes=np.array([index])
        )
        for index, class_id in enumerate(table.classes)
    }
    return Evaluation(
        overall=score(resample, "all", points, replicates),
        per_class=per_class,
        per_size=_per_size(resample),
        per_tag={tag: parts for tag in scoring.by if (parts := _per_tag(table, tag, scoring))},
        calibration=Calibration.of(resample),
        val_row=ValRow.of(table),
        settings=_settings(scoring, names),
        role=scoring.role,
        at=scoring.at,
        deployment=scoring.deployment,
        n_frames=len(table.frames),
        n_units=resample.units,
        n_selected=selected,
        level=scoring.level,
        replicates=scoring.replicates,
        cluster_by=scoring.cluster_by,
        truth_digest=content_digest(table.truth_digests),
        predictions_digest=content_digest(table.prediction_digests),
        notes=(
            *_truncation(scoring.settings.conf),
            *_notes(table, resample.units, per_class, selected),
        ),
        table=table,
    )


def _settings(scoring: Scoring, names: Mapping[int, str]) -> Settings:
    return evolve(scoring.settings, class_names=names, ap=scoring.ap, max_detections=scoring.limit)


def _resample(table: MatchTable, scoring: Scoring) -> Resample:
    return Resample.draw(
        table,
        cluster_by=scoring.cluster_by,
        replicates=scoring.replicates,
        rng=scoring.rng,
        method=scoring.ap,
        level=scoring.level,
        confidence=scoring.operating_confidence,
    )


def _per_size(resample: Resample) -> dict[str, Score]:
    table = resample.table
    answer = {}
    for index, size in enumerate(AREA_RANGES):
        if size.name == "all":
            continue
        points = table.average_precision(table.weights, method=resample.method, size=index)
        replicates = table.replicates(resample.weights, method=resample.method, size=index)
        answer[size.name] = score(
            resample, size.name, points, replicates, size=index, operating=False
        )
    return answer


def _per_tag(table: MatchTable, tag: str, scoring: Scoring) -> dict[str, Score]:
    values = sorted({tags[tag] for tags in table.tags if tag in tags})
    answer = {}
    for value in values:
        chosen = [index for index, tags in enumerate(table.tags) if tags.get(tag) == value]
        part = table.part(np.array(chosen))
        resample = _resample(part, scoring)
        points = part.average_precision(part.weights, method=scoring.ap)
        replicates = part.replicates(resample.weights, method=scoring.ap)
        answer[value] = score(resample, value, points, replicates)
    return answer


def _truncation(conf: float | None) -> tuple[str, ...]:
    if conf is None or conf <= LOW_CONFIDENCE:
        return ()
    note = (
        f"predictions stop at confidence {conf:g}: the end of the precision-recall curve is missing, "
        "so mAP is lower than at 0.001, where yolo val stops"
    )
    return (note,)


def _notes(
    table: MatchTable, units: int, per_class: Mapping[str, Score], selected: int
) -> tuple[str, ...]:
    notes = []
    if selected:
        notes.append(
            f"{selected} of {len(table.frames)} frames were selected, not drawn: the score is theirs, "
            "not that of the stream"
        )
    if not len(table.confidence):
        notes.append(
            f"no prediction in any of {len(table.frames)} frames: mAP is 0 because nothing is found; "
            "check the model, its confidence threshold and the frames"
        )
    if units < FEW_UNITS:
        notes.append(
            f"{units} independent units are fewer than {FEW_UNITS}: the interval is rough; "
            "200 to 500 frames are recommended"
        )
    absent = [name for name, one in per_class.items() if not one.n_truth]
    if absent:
        notes.append(f"no labelled object of {', '.join(absent)}: left out of the mean of classes")
    rare = [name for name, one in per_class.items() if 0 < one.n_truth < FEW_TRUTHS]
    if rare:
        notes.append(
            f"fewer than {FEW_TRUTHS} labelled objects of {', '.join(rare)}: their scores are unsure, "
            "and they bias the mean of classes upward"
        )
    if table.weights.min() < table.weights.max():
        effective = table.weights.sum() ** 2 / (table.weights**2).sum()
        notes.append(f"weighted frames: worth {effective:.0f} of {len(table.frames)} (Kish 1965)")
    return tuple(notes)


def _class_names(
    given: Mapping[int, str] | Sequence[str] | None,
    frames: Sequence[LabelledFrame],
    predictions: Sequence[Detections],
) -> dict[int, str]:
    """Name of every class that is scored, names of different sources held against each other."""
    names: dict[int, str] = {}
    if given is not None:
        names = names_of(given)
    for source in (
        *(frame.truth.class_names for frame in frames),
        *(one.class_names for one in predictions),
    ):
        _require_same_names(names, source)
        if given is None:
            names |= source
    seen = {int(index) for frame in frames for index in frame.truth.class_id}
    found = {int(index) for one in predictions for index in one.class_id}
    if given is not None and (unknown := sorted((seen | found) - names.keys())):
        whose = "labels" if unknown[0] in seen else "predictions"
        msg = f"{whose} hold class {unknown[0]}, which class_names={names} does not name"
        raise InputError(msg)
    names |= {index: str(index) for index in seen | found if index not in names}
    if len(set(names.values())) < len(names):
        msg = f"two classes have one name: {names}"
        raise InputError(msg)
    return names


def _require_same_names(names: Mapping[int, str], source: Mapping[int, str]) -> None:
    differing = sorted(index for index in names.keys() & source if names[index] != source[index])
    if differing:
        index = differing[0]
        msg = (
            f"class {index} is {names[index]!r} in one place and {source[index]!r} in another; "
            "labels and model must name and number their classes alike"
        )
        raise ContextMismatch(msg, fields=("class_names",))
