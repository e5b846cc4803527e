"""Labels of a few, predictions for all: prediction-powered inference.

Angelopoulos, Duchi & Zrnic 2023 (PPI++, arXiv 2311.01453): the labelled sample is corrected by
how much its predictions differ from those of everything. Wrong predictions cost width, never
validity, because the weight they get is chosen by how well they follow the labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline._stats.intervals import (
    NO_SPREAD,
    Estimate,
    Interval,
    rule_of_three,
    t_quantile,
)

__all__ = ["Powered", "prediction_powered_ratio"]

FloatArray = npt.NDArray[np.float64]


class Powered(NamedTuple):
    """A ratio from labels and predictions.

    Attributes:
        estimate: both together.
        labels_alone: what the labels say without predictions.
        trust: weight of the predictions, 0 (useless) to 1 (as good as labels).
    """

    estimate: Estimate
    labels_alone: Estimate
    trust: float


def prediction_powered_ratio(
    truth: FloatArray,
    predicted: FloatArray,
    size: FloatArray,
    weights: FloatArray,
    *,
    predicted_of_all: float,
    units_of_all: int,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Powered:
    """Estimate sum(truth) / sum(size) over all units, of which some are labelled.

    Args:
        truth: ``(n,)`` labelled total of each sampled unit, such as its true positives.
        predicted: ``(n,)`` predicted total of the same units.
        size: ``(n,)`` size of the same units, such as their detections; ones for a mean.
        weights: ``(n,)`` 1 / probability that the unit was sampled.
        predicted_of_all: sum(predicted) / sum(size) over all units.
        units_of_all: number of all units.
        level: confidence level.
        bounds: range the ratio can take.

    >>> ones = np.ones(4)
    >>> powered = prediction_powered_ratio(
    ...     np.array([1.0, 0, 1, 0]), np.array([1.0, 0, 1, 0]), ones, ones,
    ...     predicted_of_all=0.6, units_of_all=10**6)
    >>> round(powered.estimate.value, 3), powered.trust > 0.999
    (0.6, True)
    """
    n = len(truth)
    whole = float(weights @ size)
    label_ratio = float(weights @ truth) / whole
    predicted_ratio = float(weights @ predicted) / whole
    share = weights * n / whole
    by_label = share * (truth - label_ratio * size)  # influence of each unit on the ratio
    by_prediction = share * (predicted - predicted_ratio * size)
    spread = float(by_prediction.var(ddof=1))
    together = float(np.cov(by_label, by_prediction)[0, 1])
    rare = 1.0 + n / units_of_all
    trust = min(max(together / (spread * rare), 0.0), 1.0) if spread > 0 else 0.0
    value = label_ratio - trust * (predicted_ratio - predicted_of_all)
    variance = float((by_label - trust * by_prediction).var(ddof=1)) / n
    variance += trust**2 * spread / units_of_all
    alone = float(by_label.var(ddof=1)) / n
    return Powered(
        _estimate(value, variance, n, level, bounds),
        _estimate(label_ratio, alone, n, level, bounds),
        trust,
    )


def _estimate(
    value: float, variance: float, n: int, level: float, bounds: tuple[float, float]
) -> Estimate:
    error, reason = variance**0.5, ""
    if error <= NO_SPREAD:
        error = rule_of_three(n)
        reason = f"no labelled unit differs: the interval is the rule of three on {n} units"
    half = t_quantile(level, n - 1) * error
    low, high = (float(np.clip(value + side * half, *bounds)) for side in (-1, 1))
    return Estimate(
        value=float(np.clip(value, *bounds)),
        interval=Interval(low, high),
        standard_error=error,
        bias=0.0,
        level=level,
        reason=reason,
    )
