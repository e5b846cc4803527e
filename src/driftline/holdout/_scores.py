"""From matched detections to numbers: average precision, operating point, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from types import NoneType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._checks import refuse_kinds
from driftline._draw import Shown
from driftline._stats.average_precision import ApMethod
from driftline._stats.bootstrap import group_index, half_samples
from driftline._stats.intervals import Estimate, Interval, bias_corrected
from driftline.errors import InputError
from driftline.holdout._table import MatchTable

__all__ = ["OperatingPoint", "Score"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

AT_50 = 0
AT_75 = 5
AP_BIAS_ORDER = 2 / 3
"""Average precision is biased upward by about n ** -2/3: its precision envelope is a running
maximum, and rare classes have few points. In simulations with 1 to 20 classes and 100 to 500
images the corrected value was within 0.004 of the truth, where the plain one was up to 0.019
above it; with the order 1 of a smooth statistic 0.010 of it remained."""
FEW_UNITS = 20
"""Images below which a holdout is too small to be one; the guide recommends 200 to 500."""
FEW_TRUTHS = 25
"""Labelled objects below which a class makes the mean of classes biased and its own score unsure."""


@frozen(kw_only=True)
class OperatingPoint:
    """What the detector does at the confidence it is used at (IoU 0.5).

    Attributes:
        confidence: detections below this are left out.
        precision: true positives / counted detections; unknown without detections.
        recall: true positives / labelled objects; unknown without objects.
        f1: 2 true positives / (counted detections + labelled objects).
        true_positives: weighted count.
        false_positives: weighted count.
        false_negatives: weighted count.
    """

    confidence: float
    precision: Estimate
    recall: Estimate
    f1: Estimate
    true_positives: float
    false_positives: float
    false_negatives: float

    def __str__(self) -> str:
        """The three numbers with their intervals."""
        return (
            f"at confidence {self.confidence:g}: precision {self.precision}, recall {self.recall}, "
            f"F1 {self.f1}"
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """The point that `driftline.holdout.Evaluation.to_dict` wrote."""
        estimates = {
            name: estimate_from_dict(values[name]) for name in ("precision", "recall", "f1")
        }
        return cls(**dict(values, **estimates))


@frozen(kw_only=True, repr=False)
class Score(Shown):
    """How well one part of the holdout is detected: all of it, a class, a size or a tag.

    Attributes:
        name: name of the part.
        estimate: average precision, mean over IoU 0.50 to 0.95 (and over the classes that have
            labelled objects), with its uncertainty.
        estimate50: the same at IoU 0.50 alone.
        estimate75: the same at IoU 0.75 alone.
        n_truth: labelled objects that count.
        n_frames: frames that hold at least one of them.
        n_detections: detections (of any confidence).
        operating: precision, recall and F1 where they are used; None for a size, where a false
            positive has no size that a label could tell.
    """

    name: str
    estimate: Estimate
    estimate50: Estimate
    estimate75: Estimate
    n_truth: int
    n_frames: int
    n_detections: int
    operating: OperatingPoint | None = None

    @property
    def map(self) -> float | None:
        """Average precision, mean over IoU 0.50 to 0.95, [0, 1]; None where it is unknown."""
        return self.estimate.value

    @property
    def map50(self) -> float | None:
        """Average precision at IoU 0.50, [0, 1]; None where it is unknown."""
        return self.estimate50.value

    @property
    def map75(self) -> float | None:
        """Average precision at IoU 0.75, [0, 1]; None where it is unknown."""
        return self.estimate75.value

    @property
    def map_interval(self) -> Interval | None:
        """Interval of `map`; None where it is unknown."""
        return self.estimate.interval

    @property
    def reason(self) -> str:
        """Why a number is missing or rough; "" where none is."""
        return self.estimate.reason

    def __float__(self) -> float:
        """`map`, NaN where it is unknown."""
        return float("nan" if self.map is None else self.map)

    def __str__(self) -> str:
        """Name, score and counts."""
        return f"{self.name}: {self.estimate} ({self.n_truth} objects in {self.n_frames} frames)"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Score:
        """The score that `driftline.holdout.Evaluation.to_dict` wrote."""
        estimates = {
            name: estimate_from_dict(values[name])
            for name in ("estimate", "estimate50", "estimate75")
        }
        refuse_kinds(values, dict.fromkeys(("n_truth", "n_frames", "n_detections"), Integral))
        operating = values["operating"]
        point = None if operating is None else OperatingPoint.from_dict(operating)
        return cls(**dict(values, **estimates, operating=point))


_ESTIMATE: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("value", "standard_error", "bias"), (Real, NoneType)),
    "level": Real,
    "reason": str,
}


def estimate_from_dict(values: Mapping[str, Any]) -> Estimate:
    """An estimate from plain values."""
    refuse_kinds(values, _ESTIMATE)
    interval = values["interval"]
    made = dict(values, interval=None if interval is None else Interval(*interval))
    return Estimate(**made)


@frozen(kw_only=True, eq=False)
class Resample:
    """A table with the resamples that all its numbers share.

    Attributes:
        table: the matched detections.
        weights: ``(replicates, n)`` how much each frame counts, times its weight.
        units: number of independent units that were halved.
        method: how average precision is computed.
        level: confidence level.
        confidence: operating confidence.
    """

    table: MatchTable
    weights: FloatArray
    units: int
    method: ApMethod
    level: float
    confidence: float

    @classmethod
    def draw(
        cls,
        table: MatchTable,
        *,
        cluster_by: tuple[str, ...],
        replicates: int,
        rng: np.random.Generator | int,
        method: ApMethod,
        level: float,
        confidence: float,
    ) -> Resample:
        """Halve the frames, or whole clusters of them, again and again."""
        groups = group_index(cluster_keys(table, cluster_by))
        drawn = half_samples(groups, replicates=replicates, rng=rng)
        return cls(
            table=table,
            weights=drawn * table.weights,
            units=int(groups.max()) + 1 if len(groups) else 0,
            method=method,
            level=level,
            confidence=confidence,
        )

    def summary(
        self, value: float, replicates: FloatArray, *, bias_order: float = 1.0, reason: str = ""
    ) -> Estimate:
        """A number in [0, 1] with the interval that its replicates give."""
        return bias_corrected(
            value,
            replicates,
            level=self.level,
            units=self.units,
            bias_order=bias_order,
            bounds=(0.0, 1.0),
            reason=reason,
        )


def cluster_keys(table: MatchTable, cluster_by: tuple[str, ...]) -> list[str]:
    """Name of the independent unit that each frame belongs to.

    Raises:
        InputError: a frame lacks one of the tags.
    """
    if not cluster_by:
        return list(table.frames)
    for frame, tags in zip(table.frames, table.tags, strict=True):
        if missing := [name for name in cluster_by if name not in tags]:
            msg = (
                f"frame {frame} has no tag {missing[0]!r} to cluster by; its tags are {dict(tags)}"
            )
            raise InputError(msg)
    return ["\x1f".join(tags[name] for name in cluster_by) for tags in table.tags]


def unknown(reason: str, level: float) -> Estimate:
    """An estimate that says why there is none."""
    return Estimate(value=None, level=level, reason=reason)


def score(
    resample: Resample,
    name: str,
    points: FloatArray,
    replicates: FloatArray,
    *,
    classes: IntArray | None = None,
    size: int = 0,
    operating: bool = True,
) -> Score:
    """The score of some classes at one size.

    Args:
        resample: the table and its resamples.
        name: name of the part.
        points: ``(classes, thresholds)`` average precision of every class.
        replicates: ``(replicates, classes, thresholds)`` the same per resample.
        classes: index of the classes to take the mean of; None: all.
        size: index of the size range.
        operating: whether to work out the operating point.
    """
    table = resample.table
    chosen = np.arange(len(table.classes)) if classes is None else classes
    of_class = np.isin(table.truth_class, chosen) & table.judged(size)
    found = int(np.isin(table.class_index, chosen).sum())
    n_truth = int(of_class.sum())
    reason = _reason(name, n_truth, found, resample.units)
    estimates = [
        _mean(resample, points[chosen][:, at], replicates[:, chosen][:, :, at], reason)
        for at in (slice(None), slice(AT_50, AT_50 + 1), slice(AT_75, AT_75 + 1))
    ]
    return Score(
        name=name,
        estimate=estimates[0],
        estimate50=estimates[1],
        estimate75=estimates[2],
        n_truth=n_truth,
        n_frames=len(np.unique(table.truth_frame[of_class])),
        n_detections=found,
        operating=operating_point(resample, chosen) if operating else None,
    )


def _reason(name: str, n_truth: int, found: int, units: int) -> str:
    if not n_truth:
        return f"no labelled object of {name} in the holdout"
    told = []
    if not found:
        told.append(f"no prediction of {name} in any frame: nothing of it is found")
    if units < FEW_UNITS:
        told.append(f"{units} independent images are fewer than {FEW_UNITS}: the interval is rough")
    return "; ".join(told)


def _mean(resample: Resample, points: FloatArray, replicates: FloatArray, reason: str) -> Estimate:
    if not len(points) or np.isnan(points).all():
        return unknown(reason, resample.level)
    return resample.summary(
        float(np.nanmean(points)),
        mean_where_known(replicates),
        bias_order=AP_BIAS_ORDER,
        reason=reason,
    )


def mean_where_known(replicates: FloatArray) -> FloatArray:
    """``(replicates,)`` mean over classes and thresholds, absent classes left out; NaN: all absent."""
    known = ~np.isnan(replicates)
    total = np.where(known, replicates, 0.0).sum(axis=(1, 2))
    count = known.sum(axis=(1, 2))
    means: FloatArray = np.full(len(total), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def operating_counts(
    table: MatchTable, classes: IntArray, confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``(n,)`` true positives, counted detections and labelled objects of each frame, IoU 0.5."""
    n = len(table.frames)
    used = np.isin(table.class_index, classes) & (table.confidence >= confidence)
    counted = used & ~table.ignored_at(AT_50)
    objects = np.isin(table.truth_class, classes) & table.judged()
    return (
        np.bincount(table.frame[counted & table.hit_at(AT_50)], minlength=n).astype(float),
        np.bincount(table.frame[counted], minlength=n).astype(float),
        np.bincount(table.truth_frame[objects], minlength=n).astype(float),
    )


def operating_point(resample: Resample, classes: IntArray) -> OperatingPoint:
    """Precision, recall and F1 of some classes at the operating confidence."""
    confidence = resample.confidence
    hits, found, truth = operating_counts(resample.table, classes, confidence)
    return OperatingPoint(
        confidence=confidence,
        precision=_ratio(
            resample, hits, found, f"no detection at confidence {confidence:g} or more"
        ),
        recall=_ratio(resample, hits, truth, "no labelled object"),
        f1=_ratio(resample, 2 * hits, found + truth, "no detection and no labelled object"),
        true_positives=float(hits @ resample.table.weights),
        false_positives=float((found - hits) @ resample.table.weights),
        false_negatives=float((truth - hits) @ resample.table.weights),
    )


def _ratio(resample: Resample, part: FloatArray, whole: FloatArray, reason: str) -> Estimate:
    total = float(whole @ resample.table.weights)
    if total <= 0:
        return unknown(reason, resample.level)
    above, below = resample.weights @ part, resample.weights @ whole
    replicates = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return resample.summary(float(part @ resample.table.weights) / total, replicates)
