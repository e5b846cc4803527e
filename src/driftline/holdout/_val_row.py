"""The precision and recall that ``yolo val`` prints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.holdout._scores import AT_50
from driftline.holdout._table import MatchTable

__all__ = ["ValRow"]

FloatArray = npt.NDArray[np.float64]

_GRID: FloatArray = np.linspace(0.0, 1.0, 1000)
_WINDOW = 101  # points of the box filter: a tenth of the grid, made odd


@frozen(kw_only=True)
class ValRow:
    """Precision and recall at the confidence with the best mean F1 (IoU 0.5).

    Each is the plain mean over classes with labelled objects, read from curves of 1000 points,
    where the mean F1, smoothed over a tenth of the range, is largest (Ultralytics,
    ``ap_per_class``). The confidence is chosen on the very frames it is judged on, so the row
    flatters; `OperatingPoint` is what the deployed threshold does.

    Attributes:
        confidence: the confidence that was chosen.
        precision: mean precision there, [0, 1].
        recall: mean recall there, [0, 1].
        f1: mean F1 there, [0, 1].
    """

    confidence: float
    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, table: MatchTable) -> ValRow:
        """The row of a table with at least one object that counts."""
        curves = [
            curve
            for index in range(len(table.classes))
            if (curve := _curves(table, index)) is not None
        ]
        precision, recall = (np.array([pair[part] for pair in curves]) for part in (0, 1))
        f1 = 2 * precision * recall / (precision + recall + 1e-16)
        best = int(_smooth(f1.mean(axis=0)).argmax())
        return cls(
            confidence=float(_GRID[best]),
            precision=float(precision[:, best].mean()),
            recall=float(recall[:, best].mean()),
            f1=float(f1[:, best].mean()),
        )


def _curves(table: MatchTable, class_index: int) -> tuple[FloatArray, FloatArray] | None:
    n_truth = float(table.truth_counts(class_index) @ table.weights)
    if n_truth <= 0:
        return None
    chosen = (table.class_index == class_index) & ~table.ignored_at(AT_50)
    if not chosen.any():
        return np.zeros(len(_GRID)), np.zeros(len(_GRID))
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-table.confidence[rows], kind="stable")]
    own = table.weights[table.frame[rows]]
    hits, seen = np.cumsum(own * table.hit_at(AT_50)[rows]), np.cumsum(own)
    falling = -table.confidence[rows]
    return (
        np.interp(-_GRID, falling, hits / seen, left=1.0),
        np.interp(-_GRID, falling, hits / n_truth, left=0.0),
    )


def _smooth(values: FloatArray) -> FloatArray:
    edge = _WINDOW // 2
    padded = np.pad(values, edge, mode="edge")
    return np.convolve(padded, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
