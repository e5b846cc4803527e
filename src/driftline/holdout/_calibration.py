"""Whether a confidence of 0.7 is right in 7 of 10 cases, on the holdout."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._checks import refuse_kinds
from driftline._draw import Shown, View, plot
from driftline._stats.calibration import expected_calibration_error
from driftline._stats.intervals import Estimate
from driftline.errors import UnreadableData
from driftline.holdout import _views
from driftline.holdout._scores import AT_50, Resample, estimate_from_dict, unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Calibration", "CalibrationBin"]

FloatArray = npt.NDArray[np.float64]

_BINS = 10


@frozen(kw_only=True)
class CalibrationBin:
    """Detections of about one confidence.

    Attributes:
        low: lower end of the confidences, within the bin.
        high: upper end; within the bin only where it is 1.
        confidence: mean confidence in the bin; None when the bin is empty.
        precision: share of them that are true positives at IoU 0.5.
        n: detections in the bin, those that do not count left out.
    """

    low: float
    high: float
    confidence: float | None
    precision: Estimate
    n: int

    def __str__(self) -> str:
        """Confidence against precision."""
        confidence = "-" if self.confidence is None else f"{self.confidence:.3f}"
        return f"{self.low:.1f} to {self.high:.1f}: said {confidence}, right {self.precision} (n={self.n})"


@frozen(kw_only=True, repr=False)
class Calibration(Shown):
    """Confidence against precision in ten bins.

    Attributes:
        bins: the ten bins, lowest confidence first.
        error: expected calibration error, 0 to 1 (Kuppers et al. 2020); None without detections.
    """

    bins: tuple[CalibrationBin, ...]
    error: float | None

    def __str__(self) -> str:
        """One line a bin."""
        lines = [str(one) for one in self.bins if one.n]
        told = "unknown: no detections" if self.error is None else f"{self.error:.3f}"
        return "\n".join([f"expected calibration error {told}", *lines])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Confidence against precision with intervals: the diagonal is as right as it says.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.calibration(self), ax)

    def _view(self) -> View:
        return _views.view_of_calibration(self)

    @classmethod
    def of(cls, resample: Resample) -> Calibration:
        """Calibration of all classes together."""
        table = resample.table
        n = len(table.frames)
        counted = ~table.ignored_at(AT_50)
        bins = np.minimum((table.confidence * _BINS).astype(np.int64), _BINS - 1)
        made = [_bin(resample, index, counted & (bins == index), n) for index in range(_BINS)]
        said = np.array([0.0 if one.confidence is None else one.confidence for one in made])
        right = np.array(
            [0.0 if one.precision.value is None else one.precision.value for one in made]
        )
        weights = table.weights[table.frame[counted]]
        mass = np.bincount(bins[counted], weights=weights, minlength=_BINS).astype(np.float64)
        error = expected_calibration_error(said, right, mass)
        return cls(bins=tuple(made), error=None if np.isnan(error) else error)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that `driftline.holdout.Evaluation.to_dict` wrote."""
        for one in values["bins"]:
            refuse_kinds(one, _BIN)
        bins = [
            CalibrationBin(**dict(one, precision=estimate_from_dict(one["precision"])))
            for one in values["bins"]
        ]
        refuse_kinds(values, {"error": (Real, NoneType)})
        if values["error"] is not None and not sum(one.n for one in bins):
            msg = "a calibration of no detections has an error"
            raise UnreadableData(msg)
        return cls(bins=tuple(bins), error=values["error"])


_BIN: Final[Mapping[str, Any]] = {
    "low": Real,
    "high": Real,
    "confidence": (Real, NoneType),
    "n": Integral,
}


def _bin(resample: Resample, index: int, chosen: npt.NDArray[np.bool_], n: int) -> CalibrationBin:
    table = resample.table
    frames = table.frame[chosen]
    found = np.bincount(frames, minlength=n).astype(float)
    hits = np.bincount(table.frame[chosen & table.hit_at(AT_50)], minlength=n).astype(float)
    mass = table.weights[frames]
    low, high = index / _BINS, (index + 1) / _BINS
    if not len(frames):
        nothing = unknown("no detection in this bin", resample.level)
        return CalibrationBin(low=low, high=high, confidence=None, precision=nothing, n=0)
    below = resample.weights @ found
    replicates = np.divide(
        resample.weights @ hits, below, out=np.full(len(below), np.nan), where=below > 0
    )
    value = float(hits @ table.weights) / float(found @ table.weights)
    return CalibrationBin(
        low=low,
        high=high,
        confidence=float(np.average(table.confidence[chosen], weights=mass)),
        precision=resample.summary(value, replicates),
        n=len(frames),
    )
