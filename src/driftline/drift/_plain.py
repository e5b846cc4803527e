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
    ks_of_rows,
    ks_p_value,
    population_stability,
    quantile_groups,
    standard_deviations,
    wasserstein_of_rows,
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


def compare_rows(feature: Feature, reference: IntArray, current: IntArray) -> list[Plain | None]:
    """Compare histograms of one feature, row by row ``(n_rows, n_bins)``; None where one is empty."""
    filled = np.flatnonzero(reference.any(axis=1) & current.any(axis=1))
    result: list[Plain | None] = [None] * len(reference)
    some = (_classes if feature.kind == "nominal" else _histograms)(
        feature, reference[filled].astype(np.float64), current[filled].astype(np.float64)
    )
    for row, plain in zip(filled.tolist(), some, strict=True):
        result[row] = plain
    return result


def _classes(_feature: Feature, reference: FloatArray, current: FloatArray) -> list[Plain]:
    result = []
    for before, now in zip(reference, current, strict=True):
        gap = now / now.sum() - before / before.sum()
        at = int(np.abs(gap).argmax())
        largest = float(abs(gap[at]))
        result.append(
            Plain(
                ks_statistic=largest,
                ks_high=largest,
                ks_p_value=chi_square(before, now)[1],
                signed=float(gap[at]),
                edge=at,
                wasserstein_sd=math.nan,
                wasserstein_error=0.0,
            )
        )
    return result


def _histograms(feature: Feature, reference: FloatArray, current: FloatArray) -> list[Plain]:
    ks, centers = ks_of_rows(reference, current), feature.centers
    distance, error = wasserstein_of_rows(reference, current, centers)
    sd = standard_deviations(reference, centers)
    sd = np.where(sd > 0, sd, np.nan)
    columns = (ks.statistic, ks.high, ks.p_value, ks.signed, ks.edge, distance / sd, error / sd)
    return [
        Plain(
            ks_statistic=statistic,
            ks_high=high,
            ks_p_value=p_value,
            signed=signed,
            edge=edge,
            wasserstein_sd=moved,
            wasserstein_error=hidden,
        )
        for statistic, high, p_value, signed, edge, moved, hidden in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


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


def effective_sizes(by_day: FloatArray) -> FloatArray:
    """Independent values that clustered ones are worth: N over Rao and Scott's design effect.

    With C_d the cumulative counts of day d, n_d its size, F the pooled curve and J days:
    U_d = C_d - n_d F, v = J / (J - 1) * sum of U_d^2 / N^2, and the design effect is the sum of
    v over the thresholds divided by that of F (1 - F) / N, at least 1 (Rao and Scott 1981,
    first-order correction). Thresholds in the far tails, which say nothing about clustering, are
    left out.

    Args:
        by_day: ``(n_days, n_units, n_bins)`` counts.

    Returns:
        ``(n_units,)``; nan where fewer than two days have counts, because one has no scatter.
    """
    size = by_day.sum(axis=2)
    days, n = (size > 0).sum(axis=0), size.sum(axis=0)
    known = np.maximum(n, 1.0)
    cumulative = np.cumsum(by_day, axis=2)[..., :-1]
    pooled = cumulative.sum(axis=0) / known[:, None]
    free = pooled * (1 - pooled)
    free *= free > 1e-3  # noqa: PLR2004  the far tails
    cumulative -= size[..., None] * pooled
    square = np.einsum("dub,dub,ub->u", cumulative, cumulative, free > 0)
    variance = days / np.maximum(days - 1, 1) * square / known**2
    expected = free.sum(axis=1) / known
    effect = np.divide(variance, expected, out=np.ones(len(n)), where=expected > 0)
    result: FloatArray = np.where(days > 1, n / np.maximum(effect, 1.0), np.nan)
    return result


def effective_ks(statistic: float, n: float, m: float) -> float:
    """p-value of a KS distance with effective sizes; nan where one is not known."""
    return float(ks_p_value(statistic, n, m)) if n > 0 and m > 0 else math.nan
