"""Average precision of ranked detections, on the sample and on thousands of resamples of it.

Matching detections to objects happens image by image, so a resample of images changes weights
and nothing else: average precision is computed from a ranking and one weight per image, how
often the image was drawn, or 1 / the probability that it was picked for labelling.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
from attrs import frozen

__all__ = [
    "RECALL_GRID",
    "ApMethod",
    "Ranking",
    "average_precision",
    "precision_at_recalls",
    "replicate_average_precision",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ApMethod = Literal["coco101", "ultralytics"]

RECALL_GRID: FloatArray = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is read; built as the COCO API does, rounding included."""

_EPSILON = float(np.spacing(1.0))  # COCO API: tp / (fp + tp + spacing(1))
_ROUNDING = 1e-9  # a whole number less an error of this size is that whole number
_CHUNK_CELLS = 1_000_000  # rows x replicates held at once; 8 MB, about a level-2 cache


@frozen(kw_only=True, eq=False)
class Ranking:
    """The detections of one class, most confident first, judged at T thresholds.

    Attributes:
        unit: ``(n,)`` index of the image each detection belongs to.
        hit: ``(T, n)`` True where it is a true positive.
        ignored: ``(T, n)`` True where it counts neither for nor against (crowds, ignored
            regions, sizes outside the range).
        truth: ``(n_units,)`` labelled objects of the class in each image, ignored ones left out.
    """

    unit: IntArray
    hit: BoolArray
    ignored: BoolArray
    truth: FloatArray


def average_precision(
    ranking: Ranking, weights: FloatArray, *, method: ApMethod = "coco101"
) -> FloatArray:
    """``(T,)`` average precision in [0, 1]; NaN where no weighted object is labelled.

    Args:
        ranking: the ranked detections.
        weights: ``(n_units,)`` weight of each image, 0 or more.
        method: "coco101" reads the precision envelope at 101 recalls (COCO API, Lin et al.
            2014); "ultralytics" interpolates it linearly between the points and takes the
            trapezoid rule over the same recalls, as ``yolo val`` does. They differ by about
            1e-3.

    >>> ranking = Ranking(
    ...     unit=np.array([0, 1]), hit=np.array([[True, False]]),
    ...     ignored=np.array([[False, False]]), truth=np.array([1.0, 1.0]))
    >>> average_precision(ranking, np.ones(2)).round(3).tolist()  # half the recalls, precision 1
    [0.505]
    """
    n_truth = float(ranking.truth @ weights)
    if n_truth <= 0:
        return np.full(len(ranking.hit), np.nan)
    own = weights[ranking.unit]
    area = _coco_area if method == "coco101" else _trapezoid_area
    return np.array(
        [
            area(np.cumsum(own * hit)[kept], np.cumsum(own * kept)[kept], n_truth)
            for hit, kept in zip(ranking.hit, ~ranking.ignored, strict=True)
        ]
    )


def precision_at_recalls(
    ranking: Ranking, weights: FloatArray, *, threshold: int = 0
) -> FloatArray:
    """``(101,)`` precision envelope at `RECALL_GRID`, 0 beyond the last recall; NaN: no objects.

    Its mean is the "coco101" average precision at that threshold.

    Args:
        ranking: the ranked detections.
        weights: ``(n_units,)`` weight of each image, 0 or more.
        threshold: index of the threshold.
    """
    n_truth = float(ranking.truth @ weights)
    if n_truth <= 0:
        return np.full(len(RECALL_GRID), np.nan)
    own, kept = weights[ranking.unit], ~ranking.ignored[threshold]
    hits = np.cumsum(own * ranking.hit[threshold])[kept]
    return _coco_read(hits, np.cumsum(own * kept)[kept], n_truth)


def _coco_read(hits: FloatArray, seen: FloatArray, n_truth: float) -> FloatArray:
    envelope = np.append(_falling(hits / (seen + _EPSILON)), 0.0)
    read: FloatArray = envelope[np.searchsorted(hits / n_truth, RECALL_GRID, side="left")]
    return read


def _coco_area(hits: FloatArray, seen: FloatArray, n_truth: float) -> float:
    return float(_coco_read(hits, seen, n_truth).sum() / len(RECALL_GRID))


def _trapezoid_area(hits: FloatArray, seen: FloatArray, n_truth: float) -> float:
    present = seen > 0
    hits, seen = hits[present], seen[present]
    if not len(hits):
        return 0.0
    recall = hits / n_truth
    x = np.concatenate([[0.0], recall, [recall[-1], 1.0]])
    y = _falling(np.concatenate([[1.0], hits / seen, [0.0, 0.0]]))
    read = np.interp(RECALL_GRID, x, y)
    return float(RECALL_GRID[1] * (read.sum() - (read[0] + read[-1]) / 2))


def _falling(precision: FloatArray) -> FloatArray:
    """The precision envelope: at each rank the best precision from there on (axis 0)."""
    envelope: FloatArray = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return envelope


def replicate_average_precision(
    ranking: Ranking, weights: FloatArray, *, method: ApMethod = "coco101"
) -> FloatArray:
    """``(replicates, T)`` average precision under each row of weights; NaN as above.

    Detections that miss at every threshold are the long tail of a detector; they are added up
    once, and only the ranks of the others are looked at. Precision falls between hits, so the
    envelope needs the ranks of hits alone.

    Args:
        ranking: the ranked detections.
        weights: ``(replicates, n_units)`` weights.
        method: as in `average_precision`.
    """
    never_counted = ranking.ignored.all(axis=0)
    plain_miss = np.asarray(~(ranking.hit | ranking.ignored).any(axis=0))
    rows = np.flatnonzero(~plain_miss & ~never_counted)
    area = _coco_areas if method == "coco101" else _trapezoid_areas
    answer = np.empty((len(weights), len(ranking.hit)))
    for part in _chunks(len(weights), max(len(rows), 1)):
        by_unit = np.ascontiguousarray(weights[part].T)
        n_truth = ranking.truth @ by_unit
        misses = _running_misses(ranking.unit, plain_miss, rows, by_unit)
        own = by_unit[ranking.unit[rows]]
        with np.errstate(divide="ignore", invalid="ignore"):
            for t, (hits, seen) in enumerate(_counts(ranking, rows, own, misses)):
                answer[part, t] = np.where(n_truth > 0, area(hits, seen, n_truth), np.nan)
    return answer


def _chunks(replicates: int, rows: int) -> Iterator[slice]:
    size = max(1, _CHUNK_CELLS // rows)
    return (slice(start, start + size) for start in range(0, replicates, size))


def _running_misses(
    unit: IntArray, plain_miss: BoolArray, rows: IntArray, by_unit: FloatArray
) -> FloatArray:
    """``(rows, replicates)`` weight of the plain misses ranked before each row."""
    misses = np.flatnonzero(plain_miss)
    before = np.searchsorted(rows, misses)  # the first row that follows each miss
    told = before < len(rows)
    # Few (row, image) pairs: one product of a small matrix of counts. Many: add row by row.
    if len(rows) * len(by_unit) <= 4 * max(len(misses), 1) + 4_000_000:
        counts = np.zeros((len(rows), len(by_unit)))
        np.add.at(counts, (before[told], unit[misses[told]]), 1.0)
        gaps = counts @ by_unit
    else:
        gaps = np.zeros((len(rows), by_unit.shape[1]))
        starts, where = np.unique(before[told], return_index=True)
        gaps[starts] = np.add.reduceat(by_unit[unit[misses[told]]], where, axis=0)
    return np.asarray(np.cumsum(gaps, axis=0), dtype=np.float64)


def _counts(
    ranking: Ranking, rows: IntArray, own: FloatArray, misses: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """At each threshold, running weight of hits and of all counted detections at the hits."""
    ignored = ranking.ignored[:, rows]
    every = misses + np.cumsum(own, axis=0) if not ignored.any() else None
    for hit, skipped in zip(ranking.hit[:, rows], ignored, strict=True):
        seen = misses + np.cumsum(own * ~skipped[:, None], axis=0) if every is None else every
        at = np.flatnonzero(hit)
        yield np.cumsum(own[at], axis=0), seen[at]


def _coco_areas(hits: FloatArray, seen: FloatArray, n_truth: FloatArray) -> FloatArray:
    if not len(hits):
        return np.zeros(hits.shape[1])
    envelope = _falling(hits / (seen + _EPSILON))
    passed = np.floor(hits * (100.0 / n_truth) + _ROUNDING)  # recalls of the grid up to here
    passed[1:] -= passed[:-1].copy()
    passed[0] += 1.0  # recall 0 itself
    return np.asarray(np.einsum("kb,kb->b", envelope, passed) / len(RECALL_GRID))


def _trapezoid_areas(hits: FloatArray, seen: FloatArray, n_truth: FloatArray) -> FloatArray:
    """The trapezoid rule in closed form, segment by segment between neighbouring hits.

    The envelope is flat between two hits: after a miss it jumps down at the first of them, and
    without one precision rises to the second, whose value is then that of both. Past the last
    hit it is zero.
    """
    if not len(hits):
        return np.zeros(hits.shape[1])
    step = RECALL_GRID[1]
    recall = np.concatenate([np.zeros((1, hits.shape[1])), hits / n_truth])
    envelope = _falling(np.where(seen > 0, hits / seen, 0.0))
    points = np.diff(np.ceil(recall / step - _ROUNDING), axis=0)  # of the grid, up to each recall
    inner = (points * envelope).sum(axis=0)
    # Recall 0 lies on the envelope as well, which begins at 1 where no miss comes first.
    return np.where(hits[-1] > 0, step * (inner - envelope[0] / 2), 0.0)
