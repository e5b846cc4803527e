"""How right the detector was in a week that nobody labelled.

From logged detections only what was found can be judged: precision, and how many true objects
were found per frame. What was missed leaves no trace, so there is no recall and no mAP here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._checks import chosen, part, refuse_number
from driftline._draw import Shown, View
from driftline._stats.bootstrap import generator, group_index, half_samples
from driftline._stats.calibration import isotonic, shrunken_isotonic
from driftline._stats.intervals import Estimate, bias_corrected
from driftline._stats.prediction_powered import prediction_powered_ratio
from driftline.errors import ContextMismatch, InputError, TooLittleData
from driftline.holdout import _views
from driftline.holdout._evaluation import Evaluation, sample_time
from driftline.holdout._matching import IOU_THRESHOLDS
from driftline.holdout._scores import AT_50, cluster_keys, unknown
from driftline.holdout._strata import BINS, ConfidenceCounts, Strata
from driftline.holdout._table import MatchTable
from driftline.records import Metric, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PrecisionCalibrator", "PrecisionEstimate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FEWEST_LABELLED: Final = 50
FEWEST_DETECTIONS: Final = 100
ASSUMPTION: Final = (
    "a detection of a given confidence, class and size is right as often as it was on the holdout"
)
CANNOT_SEE: Final = "missed objects, new kinds of false alarms with high confidence, and boxes that sit worse are invisible to it"


@frozen(kw_only=True, repr=False)
class PrecisionEstimate(Shown):
    """Precision of a period.

    Attributes:
        precision: share of the detections that are right at IoU 0.5.
        overlap_precision: the same, mean over IoU 0.50 to 0.95; unknown with labels (PPI++).
        true_positives_per_frame: right detections (IoU 0.5) per frame.
        per_class: name of the class → precision.
        per_camera: camera → precision; invalid cameras are left out.
        method: "calibration" (no labels of the period) or "PPI++" (some random frames labelled).
        assumption: what must hold for the numbers to be right.
        invalid_cameras: cameras left out, because the assumption is known to fail there.
        n_frames: frames of the period, invalid cameras left out.
        n_detections: detections of it at or above `confidence`.
        n_labelled: labelled frames of the period, 0 without.
        confidence: threshold of the detections that were counted.
        labels_alone: PPI++: precision from the labelled frames alone, to see what was gained.
        trust: PPI++: weight of the calibration, 0 (useless this week) to 1.
        notes: what to know before the numbers are trusted.
    """

    precision: Estimate
    true_positives_per_frame: Estimate
    method: Literal["calibration", "PPI++"]
    assumption: str
    n_frames: int
    n_detections: int
    confidence: float
    overlap_precision: Estimate
    per_class: Mapping[str, Estimate]
    per_camera: Mapping[str, Estimate]
    invalid_cameras: tuple[str, ...] = ()
    n_labelled: int = 0
    labels_alone: Estimate | None = None
    trust: float | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The numbers with intervals, the assumption, and what to know."""
        lines = [
            f"precision {self.precision} ({self.method})",
            f"true positives per frame {self.true_positives_per_frame}",
            f"assumes: {self.assumption}",
        ]
        if self.invalid_cameras:
            lines.append(f"invalid for cameras {', '.join(self.invalid_cameras)}: left out")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _view(self) -> View:
        return _views.view_of_precision(self)

    def to_samples(self, *, at: datetime, deployment: str = "") -> tuple[Sample, ...]:
        """The precision as metrics: overall, by class and by camera; unknown ones are left out."""
        parts: list[tuple[Estimate, dict[str, str]]] = [(self.precision, {})]
        parts += [(one, {"class": name}) for name, one in self.per_class.items()]
        parts += [(one, {"camera": name}) for name, one in self.per_camera.items()]
        return tuple(
            Sample(
                metric=Metric.PRECISION_ESTIMATE,
                value=one.value,
                at=sample_time(at, None),
                deployment=deployment,
                labels=labels | {"method": self.method},
            )
            for one, labels in parts
            if one.value is not None
        )


class PrecisionCalibrator:
    """How often a detection of each confidence, class and size is right, learned on a holdout.

    The curve of each stratum (class by third of size) is isotonic in confidence and drawn
    towards that of all strata (isotonic calibration per class is the state of the art for
    detectors: Kuzucu et al. 2024, arXiv 2405.20459). Applied to the counts of a week it gives
    precision, as confidence-based performance estimation does for classifiers.

    Attributes:
        strata: the cells in which a week is counted.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        *,
        confidence: float | None = None,
        replicates: int = 200,
        rng: np.random.Generator | int = 0,
    ) -> None:
        """Learn the curves, and how unsure they are.

        Args:
            evaluation: of the holdout, with its detections.
            confidence: threshold of the detections to judge; None: the operating confidence.
            replicates: half-samples of the holdout behind the intervals.
            rng: seed or generator.

        Raises:
            InputError: the evaluation's detections were not kept, or an argument is of another
                kind.
            TooLittleData: fewer than 100 detections at or above the threshold.
        """
        part(evaluation, Evaluation, name="evaluation", what="an Evaluation")
        table = evaluation.table
        if table is None:
            msg = (
                "the detections of the evaluation were not kept; evaluate again to calibrate on it"
            )
            raise InputError(msg)
        if confidence is None:
            point = evaluation.overall.operating
            confidence = 0.0 if point is None else point.confidence
        refuse_number("confidence", confidence, "a number from 0 to 1", least=0, most=1)
        self._evaluation = evaluation
        self._rng = generator(rng)
        self.strata = Strata.of(table, evaluation.settings.class_names, confidence=confidence)
        rows = _counted(table, confidence)
        if len(rows) < FEWEST_DETECTIONS:
            msg = (
                f"{len(rows)} detections at confidence {confidence:g} or more on the holdout; "
                f"a calibration needs at least {FEWEST_DETECTIONS}"
            )
            raise TooLittleData(msg)
        self._cell = _cells_of(self.strata, table, rows)
        groups = group_index(cluster_keys(table, evaluation.cluster_by))
        halves = half_samples(groups, replicates=replicates, rng=self._rng) * table.weights
        right = table.hit_at(AT_50)[rows].astype(np.float64)
        quality = np.stack([right, _share_of_thresholds(table)[rows]])
        frames = table.frame[rows]
        self._curves = _Curves(
            fitted=self._fit(quality, table.weights[frames]),
            drawn=np.stack([self._fit(quality, weights[frames]) for weights in halves]),
            units=int(groups.max()) + 1,
            level=evaluation.level,
        )

    def __repr__(self) -> str:
        """What it was learned from."""
        return f"PrecisionCalibrator({len(self._cell)} detections of {self._curves.units} units)"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Confidence against precision on the holdout it was learned from.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return self._evaluation.calibration.plot(ax)

    def _fit(self, quality: FloatArray, weights: FloatArray) -> FloatArray:
        """``(2, cells)`` probability to be right at IoU 0.5, and mean over thresholds, per cell."""
        to_group = self.strata.group_cells()
        n_cells = int(to_group.max()) + 1
        cell = to_group[self._cell]
        counts = _per_cell(cell, weights, n_cells)
        fitted = []
        for right in quality:
            hits = _per_cell(cell, weights * right, n_cells)
            pooled = _pooled(hits.sum(axis=0), counts.sum(axis=0))
            rows = [shrunken_isotonic(*pair, pooled) for pair in zip(hits, counts, strict=True)]
            fitted.append(np.concatenate(rows)[to_group])
        return np.stack(fitted)

    def counts(self) -> ConfidenceCounts:
        """Empty counts, to observe a week with."""
        return ConfidenceCounts(strata=self.strata)

    def estimate(
        self, week: ConfidenceCounts, *, drifted_cameras: Iterable[str] = ()
    ) -> PrecisionEstimate:
        """Precision of a week without labels.

        Args:
            week: what was observed, counted with `counts`.
            drifted_cameras: cameras whose object sizes or positions drifted (moved, new lens):
                there the holdout says nothing, so they are left out and named.

        Raises:
            ContextMismatch: the week was counted for another calibration.
            TooLittleData: nothing was observed, or only by drifted cameras.
        """
        self._require_own(week)
        drifted = chosen(drifted_cameras, str, name="drifted_cameras", what="the name of a camera")
        invalid = tuple(sorted({camera for camera, _ in week.frames} & drifted))
        keys = sorted(key for key in week.frames if key[0] not in invalid)
        if not keys:
            msg = (
                f"nothing was observed outside the drifted cameras {', '.join(invalid)}; label random frames"
                if invalid
                else "no frame was observed in this week"
            )
            raise TooLittleData(msg)
        blocks = np.stack([week.blocks[key] for key in keys]).astype(np.float64)
        frames = np.array([week.frames[key] for key in keys], dtype=np.float64)
        days = group_index([day.isoformat() for _, day in keys])
        halves = half_samples(days, replicates=len(self._curves.drawn), rng=self._rng)
        part = _Week(
            curves=self._curves,
            blocks=blocks,
            frames=frames,
            halves=halves,
            days=int(days.max()) + 1,
        )
        cameras = sorted({camera for camera, _ in keys})
        whole = np.ones(len(keys), dtype=np.bool_)
        return PrecisionEstimate(
            precision=part.precision(whole),
            overlap_precision=part.precision(whole, kind=1),
            true_positives_per_frame=part.per_frame(),
            per_class={
                name: part.precision(whole, cells=self._cells_of_class(index))
                for index, name in enumerate(self._names())
            },
            per_camera={
                camera: part.precision(np.array([key[0] == camera for key in keys]))
                for camera in cameras
            },
            method="calibration",
            assumption=ASSUMPTION,
            invalid_cameras=invalid,
            n_frames=int(frames.sum()),
            n_detections=int(blocks.sum()),
            confidence=self.strata.confidence,
            notes=(CANNOT_SEE, *_day_notes(part.days)),
        )

    def combine(self, week: ConfidenceCounts, labelled: Evaluation) -> PrecisionEstimate:
        """Precision of a week of which some random frames were labelled.

        Unlike `estimate` it rests on no assumption about the detector: where the calibration is
        wrong this week, the labels correct it, and only the gain in width is lost.

        Args:
            week: what was observed in all frames, drifted cameras included.
            labelled: at least 50 frames of the week, drawn at random (or weighted by 1 /
                inclusion probability), none of which is in the calibration's holdout.

        Raises:
            ContextMismatch: week or labels were made under other settings.
            InputError: the labelled detections were not kept, or are those of the holdout.
            TooLittleData: fewer than 50 labelled frames, or no detection in them.
        """
        self._require_own(week)
        part(labelled, Evaluation, name="labelled", what="an Evaluation")
        self._evaluation.settings.require_same(labelled.settings)
        table = labelled.table
        if table is None or labelled.truth_digest == self._evaluation.truth_digest:
            msg = "labelled must be an evaluation, with its detections, of other frames than the holdout"
            raise InputError(msg)
        n = len(table.frames)
        if n < FEWEST_LABELLED:
            msg = f"{n} labelled frames; combining needs at least {FEWEST_LABELLED} random ones"
            raise TooLittleData(msg)
        rows = _counted(table, self.strata.confidence)
        found = np.bincount(table.frame[rows], minlength=n).astype(float)
        if not found.any():
            msg = f"no detection at confidence {self.strata.confidence:g} or more in the labelled frames"
            raise TooLittleData(msg)
        hits = table.hit_at(AT_50)[rows].astype(float)
        chance = self._curves.fitted[0][_cells_of(self.strata, table, rows)]
        truth, said = (_per_frame(table.frame[rows], one, n) for one in (hits, chance))
        total = np.sum([block @ self._curves.fitted[0] for block in week.blocks.values()])
        n_detections = int(sum(block.sum() for block in week.blocks.values()))
        powered = prediction_powered_ratio(
            truth,
            said,
            found,
            table.weights,
            predicted_of_all=float(total / n_detections),
            units_of_all=week.n_frames,
            level=self._curves.level,
        )
        per_frame = prediction_powered_ratio(
            truth,
            said,
            np.ones(n),
            table.weights,
            predicted_of_all=float(total / week.n_frames),
            units_of_all=week.n_frames,
            level=self._curves.level,
            bounds=(0.0, float("inf")),
        )
        lacking = unknown("not estimated from labels and counts together", self._curves.level)
        return PrecisionEstimate(
            precision=powered.estimate,
            overlap_precision=lacking,
            true_positives_per_frame=per_frame.estimate,
            per_class={},
            per_camera={},
            method="PPI++",
            assumption="the labelled frames are a random sample of the week's frames",
            n_frames=week.n_frames,
            n_detections=n_detections,
            n_labelled=n,
            confidence=self.strata.confidence,
            labels_alone=powered.labels_alone,
            trust=powered.trust,
        )

    def _require_own(self, week: ConfidenceCounts) -> None:
        part(week, ConfidenceCounts, name="week", what="what counts() of this calibrator gives")
        if week.strata != self.strata:
            msg = "the week was counted for another calibration; count with counts() of this one"
            raise ContextMismatch(msg, fields=("strata",))

    def _names(self) -> list[str]:
        return [self.strata.class_names[index] for index in self.strata.group_of_class]

    def _cells_of_class(self, index: int) -> slice:
        size = self.strata.cells // len(self.strata.group_of_class)
        return slice(index * size, (index + 1) * size)


@frozen(kw_only=True, eq=False)
class _Curves:
    """Probability to be right in each cell, two kinds: at IoU 0.5, and mean over thresholds.

    Attributes:
        fitted: ``(2, cells)`` learned on the whole holdout.
        drawn: ``(replicates, 2, cells)`` learned on each half-sample of it.
        units: independent units of the holdout.
        level: confidence level of intervals.
    """

    fitted: FloatArray
    drawn: FloatArray
    units: int
    level: float


@frozen(kw_only=True, eq=False)
class _Week:
    """Counts of a week, k blocks of a camera and day each, under the curves.

    Attributes:
        curves: the curves.
        blocks: ``(k, cells)`` counts.
        frames: ``(k,)`` frames.
        halves: ``(replicates, k)`` weights of half-samples of the days.
        days: number of days.
    """

    curves: _Curves
    blocks: FloatArray
    frames: FloatArray
    halves: FloatArray
    days: int

    def precision(
        self, keys: npt.NDArray[np.bool_], *, kind: int = 0, cells: slice = slice(None)
    ) -> Estimate:
        """Precision of some blocks and cells."""
        blocks = self.blocks[keys][:, cells]
        total = float(blocks.sum())
        if not total:
            return unknown("no detection at or above the threshold", self.curves.level)
        value = float((blocks @ self.curves.fitted[kind, cells]).sum()) / total
        drawn = self.halves[:, keys] @ blocks
        above = (drawn * self.curves.drawn[:, kind, cells]).sum(axis=1)
        return self._summary(value, above, drawn.sum(axis=1), upper=1.0)

    def per_frame(self) -> Estimate:
        """True positives per frame."""
        value = float((self.blocks @ self.curves.fitted[0]).sum() / self.frames.sum())
        above = ((self.halves @ self.blocks) * self.curves.drawn[:, 0]).sum(axis=1)
        return self._summary(value, above, self.halves @ self.frames, upper=np.inf)

    def _summary(
        self, value: float, above: FloatArray, below: FloatArray, *, upper: float
    ) -> Estimate:
        ratio = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
        level = self.curves.level
        units = self.days if self.days > 1 else self.curves.units
        return bias_corrected(value, ratio, level=level, units=units, bounds=(0.0, upper))


def _counted(table: MatchTable, confidence: float) -> IntArray:
    """Rows of the detections that count at or above a confidence."""
    return np.flatnonzero((table.confidence >= confidence) & ~table.ignored_at(AT_50))


def _cells_of(strata: Strata, table: MatchTable, rows: IntArray) -> IntArray:
    classes = np.array(table.classes)[table.class_index[rows]]
    return strata.cell(classes, table.area[rows], table.confidence[rows])


def _per_cell(cell: IntArray, values: FloatArray, n_cells: int) -> FloatArray:
    """``(strata, bins)`` sums."""
    sums = np.bincount(cell, weights=values, minlength=n_cells)
    return sums.reshape(-1, BINS).astype(np.float64)


def _per_frame(frame: IntArray, values: FloatArray, n: int) -> FloatArray:
    return np.bincount(frame, weights=values, minlength=n).astype(np.float64)


def _share_of_thresholds(table: MatchTable) -> FloatArray:
    """``(d,)`` share of the IoU thresholds at which a detection is right."""
    levels = [table.hit_at(threshold) for threshold in range(len(IOU_THRESHOLDS))]
    return np.asarray(np.mean(levels, axis=0), dtype=np.float64)


def _pooled(hits: FloatArray, counts: FloatArray) -> FloatArray:
    rates = np.divide(hits, counts, out=np.zeros_like(hits), where=counts > 0)
    return isotonic(rates, counts)


def _day_notes(days: int) -> tuple[str, ...]:
    if days > 1:
        return ()
    return ("one day was observed: how much days differ is not in the interval",)
