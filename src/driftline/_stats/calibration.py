"""Calibration: from a score to the probability that it is right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["expected_calibration_error", "isotonic", "shrunken_isotonic"]

FloatArray = npt.NDArray[np.float64]


def isotonic(values: FloatArray, weights: FloatArray) -> FloatArray:
    """The non-decreasing sequence nearest to `values` in weighted squares (pool adjacent violators).

    Barlow et al. 1972. A value of weight 0 takes what its neighbours give it.

    Args:
        values: ``(n,)``.
        weights: ``(n,)``, 0 or more.

    Returns:
        ``(n,)`` non-decreasing; zeros where all weights are 0.

    >>> isotonic(np.array([0.1, 0.5, 0.3]), np.ones(3)).tolist()
    [0.1, 0.4, 0.4]
    """
    heard = np.flatnonzero(weights > 0)
    if not len(heard):
        return np.zeros(len(values))
    means: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values[heard].tolist(), weights[heard].tolist(), strict=True):
        mean, mass, length = value, weight, 1
        while means and means[-1] > mean:
            before, held, count = means.pop(), masses.pop(), lengths.pop()
            mean = (mean * mass + before * held) / (mass + held)
            mass, length = mass + held, length + count
        means.append(mean)
        masses.append(mass)
        lengths.append(length)
    fitted = np.repeat(means, lengths)
    return np.asarray(np.interp(np.arange(len(values)), heard, fitted), dtype=np.float64)


def shrunken_isotonic(
    hits: FloatArray, counts: FloatArray, pooled: FloatArray, *, strength: float = 5.0
) -> FloatArray:
    """Calibration of a small stratum, drawn towards that of all strata together.

    Args:
        hits: ``(n,)`` true positives in each bin of confidence.
        counts: ``(n,)`` detections in each bin.
        pooled: ``(n,)`` precision of all strata together in each bin.
        strength: how many detections the pooled precision is worth in each bin.

    Returns:
        ``(n,)`` non-decreasing precision.

    >>> shrunken_isotonic(np.zeros(2), np.zeros(2), np.array([0.2, 0.8])).tolist()
    [0.2, 0.8]
    """
    mass = counts + strength
    return isotonic((hits + strength * pooled) / mass, mass)


def expected_calibration_error(
    confidence: FloatArray, precision: FloatArray, counts: FloatArray
) -> float:
    """Mean distance of confidence from precision over bins, weighted by detections.

    Naeini et al. 2015 (AAAI); for detections as in Kuppers et al. 2020 (CVPRW), without position.

    Args:
        confidence: ``(n,)`` mean confidence of each bin.
        precision: ``(n,)`` share of true positives in each bin.
        counts: ``(n,)`` detections in each bin; empty bins do not count.

    Returns:
        0 to 1; NaN without detections.

    >>> round(expected_calibration_error(np.array([0.9]), np.array([0.7]), np.array([10.0])), 3)
    0.2
    """
    held = counts > 0
    if not held.any():
        return float("nan")
    gaps = np.abs(confidence[held] - precision[held])
    return float(gaps @ counts[held] / counts[held].sum())
