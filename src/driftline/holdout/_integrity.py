"""Whether a model that should be the same still finds the same on the same frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.holdout._evaluation import Evaluation
from driftline.holdout._table import MatchTable

__all__ = ["changed_frames"]

FloatArray = npt.NDArray[np.float64]

_NOISE = 0.01
"""Confidences differ by less than this between machines that compute the same."""
_NONE: FloatArray = np.zeros(0)


def changed_frames(first: Evaluation, second: Evaluation) -> tuple[str, ...] | None:
    """Names of the frames whose detections differ by more than numerical noise.

    Detections below the operating confidence do not count: there noise decides which are kept.

    Returns:
        The names in order; None when the detections of either were not kept.
    """
    if first.predictions_digest == second.predictions_digest:
        return ()
    if first.table is None or second.table is None:
        return None
    floor = _floor(first)
    a, b = first.table, second.table
    suspects = [
        index
        for index, pair in enumerate(zip(a.prediction_digests, b.prediction_digests, strict=True))
        if pair[0] != pair[1]
    ]
    return tuple(a.frames[index] for index in suspects if _differs(a, b, index, floor))


def _floor(evaluation: Evaluation) -> float:
    point = evaluation.overall.operating
    return 0.0 if point is None else point.confidence


def _differs(first: MatchTable, second: MatchTable, frame: int, floor: float) -> bool:
    a, b = _sure(first, frame, floor), _sure(second, frame, floor)
    return any(_apart(a.get(one, _NONE), b.get(one, _NONE), floor) for one in a.keys() | b)


def _sure(table: MatchTable, frame: int, floor: float) -> dict[int, FloatArray]:
    """Class → falling confidences of one frame, down to the floor less noise."""
    rows = np.flatnonzero(table.frame == frame)
    rows = rows[table.confidence[rows] >= floor - _NOISE]
    classes = table.class_index[rows]
    return {int(one): table.confidence[rows[classes == one]] for one in np.unique(classes)}


def _apart(first: FloatArray, second: FloatArray, floor: float) -> bool:
    """Whether two falling lists differ; one that noise pushed below the floor is not missing."""
    n = max(len(first), len(second))
    padded = [
        np.pad(one, (0, n - len(one)), constant_values=floor - _NOISE) for one in (first, second)
    ]
    return bool((np.abs(padded[0] - padded[1]) > 2 * _NOISE).any())
