"""The plain methods, right on counts: what the guide says, and what others offer.

They pool all boxes and take them as independent. They are kept by name, because people know
them and want to compare; the default is in `driftline.drift._block`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._stats.two_sample import (
    chi_square,
    grouped,
    jensen_shannon,
    ks_from_counts,
    ks_p_value,
    population_stability,
    quantile_groups,
    standard_deviation,
    wasserstein_from_counts,
)
from driftline.profiles import Feature

if TYPE_CHECKING:
    from driftline.drift._report import Method

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

THRESHOLDS = {"wasserstein": 0.1, "psi": 0.1, "jensen_shannon": 0.1}
"""Where the distances alarm: Evidently's defaults for large samples (its documentation, 0.7)."""


@frozen(kw_only=True)
class Plain:
    """Two histograms, compared in every plain way at once.

    Attributes:
        ks_statistic: pooled KS distance at the bins, or the largest difference of a class share.
        ks_high: the largest it can be for the raw values.
        ks_p_value: its p-value for independent values; chi-square's for the class mix.
        signed: the difference at its largest, current less reference.
        edge: index of the inner edge, or of the class, where it is largest.
        wasserstein_sd: Wasserstein distance in standard deviations of the reference, nan for
            the class mix.
        wasserstein_error: how far that of the raw values can be from it.
    """

    ks_statistic: float
    ks_high: float
    ks_p_value: float
    signed: float
    edge: int
    wasserstein_sd: float
    wasserstein_error: float


def compare_counts(feature: Feature, reference: IntArray, current: IntArray) -> Plain:
    """Compare two histograms of one feature, neither of them empty."""
    if feature.kind == "nominal":
        gap = current / current.sum() - reference / reference.sum()
        at = int(np.abs(gap).argmax())
        largest = float(abs(gap[at]))
        return Plain(
            ks_statistic=largest,
            ks_high=largest,
            ks_p_value=chi_square(reference, current)[1],
            signed=float(gap[at]),
            edge=at,
            wasserstein_sd=math.nan,
            wasserstein_error=0.0,
        )
    ks = ks_from_counts(reference, current)
    centers = feature.centers
    distance, error = wasserstein_from_counts(reference, current, centers)
    sd = standard_deviation(reference, centers)
    return Plain(
        ks_statistic=ks.statistic,
        ks_high=ks.high,
        ks_p_value=ks.p_value,
        signed=ks.signed,
        edge=ks.edge,
        wasserstein_sd=distance / sd if sd > 0 else math.nan,
        wasserstein_error=error / sd if sd > 0 else math.nan,
    )


def distance(
    method: Method, feature: Feature, reference: IntArray, current: IntArray, plain: Plain
) -> tuple[float, float, float]:
    """Statistic, p-value (nan for a distance) and what the bins can hide, of a plain method."""
    if method == "wasserstein":
        return plain.wasserstein_sd, math.nan, plain.wasserstein_error
    if method in ("psi", "jensen_shannon"):
        groups = np.arange(len(reference))
        if feature.kind == "ordered":
            groups = quantile_groups(reference)
        a, b = grouped(reference, groups), grouped(current, groups)
        measure = population_stability if method == "psi" else jensen_shannon
        return measure(a, b)[0], math.nan, 0.0
    if method == "chi_square":
        _, p_value, v = chi_square(reference, current)
        return v, p_value, 0.0
    return plain.ks_statistic, plain.ks_p_value, plain.ks_high - plain.ks_statistic


def effective_size(by_day: FloatArray) -> float:
    """Independent values that clustered ones are worth: N over Rao and Scott's design effect.

    With C_d the cumulative counts of day d, n_d its size, F the pooled curve and J days:
    U_d = C_d - n_d F, v = J / (J - 1) * sum of U_d^2 / N^2, and the design effect is the sum of
    v over the thresholds divided by that of F (1 - F) / N, at least 1 (Rao and Scott 1981,
    first-order correction).

    Args:
        by_day: ``(n_days, n_bins)`` counts.
    """
    size = by_day.sum(axis=1)
    days = size > 0
    n, j = float(size.sum()), int(days.sum())
    if j < 2 or n <= 0:  # noqa: PLR2004  one cluster has no scatter
        return math.nan
    cumulative = np.cumsum(by_day[days], axis=1)[:, :-1]
    pooled = cumulative.sum(axis=0) / n
    free = pooled * (1 - pooled)
    some = free > 1e-3  # noqa: PLR2004  thresholds in the far tails say nothing about clustering
    if not some.any():
        return n
    residual = (cumulative - size[days][:, None] * pooled)[:, some]
    variance = j / (j - 1) * (residual**2).sum(axis=0) / n**2
    return n / max(1.0, float(variance.sum() / (free[some] / n).sum()))


def effective_ks(statistic: float, n: float, m: float) -> float:
    """p-value of a KS distance with effective sizes; nan where one is not known."""
    return float(ks_p_value(statistic, n, m)) if n > 0 and m > 0 else math.nan
