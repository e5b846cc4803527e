"""Whether a number that is measured once a week, with a known error, is going down.

The rules and their false alarms were simulated for 52 weeks of independent normal errors: of the
years without any change, how many hold at least one alarm.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.errors import InputError

__all__ = [
    "MannKendall",
    "Slope",
    "Union",
    "compared",
    "excess_scatter",
    "falling_run",
    "mann_kendall",
    "recent_difference",
    "theil_sen",
    "union_test",
    "weighted_slope",
]

FloatArray = npt.NDArray[np.float64]

_EXACT_UP_TO = 10  # points up to which the exact law of Kendall's S is counted out


class Slope(NamedTuple):
    """A straight line through points with known errors.

    Attributes:
        slope: change per unit of time.
        standard_error: its standard error.
    """

    slope: float
    standard_error: float


class Union(NamedTuple):
    """The two statistics of the default rule, in standard errors; negative is down.

    Attributes:
        slope: slope over the whole history.
        recent: mean of the last weeks against that of the baseline.
    """

    slope: float
    recent: float

    @property
    def lowest(self) -> float:
        """The more telling of the two."""
        return min(self.slope, self.recent)


class MannKendall(NamedTuple):
    """Kendall's S over time.

    Attributes:
        s: later-and-higher pairs less later-and-lower pairs.
        p_falling: one-sided p-value against "no trend", for falling.
    """

    s: int
    p_falling: float


def weighted_slope(times: FloatArray, values: FloatArray, errors: FloatArray) -> Slope:
    """Least squares with weights 1 / errors², the errors being known.

    Args:
        times: ``(n,)``, at least two of them different.
        values: ``(n,)``.
        errors: ``(n,)`` standard errors, above 0.

    >>> slope, error = weighted_slope(np.arange(3.0), np.array([1.0, 2.0, 3.0]), np.ones(3))
    >>> round(slope, 6), round(error, 3)
    (1.0, 0.707)
    """
    weights = 1.0 / errors**2
    centred = times - np.average(times, weights=weights)
    spread = float(weights @ centred**2)
    if spread <= 0:
        msg = "a slope needs at least two different times"
        raise InputError(msg)
    return Slope(float(weights @ (centred * values)) / spread, spread**-0.5)


def compared(n: int, *, baseline: int = 4) -> tuple[int, int]:
    """How many of the first and of the last of n values `recent_difference` compares.

    >>> compared(20), compared(5)
    ((4, 4), (2, 3))
    """
    first = min(baseline, n // 2)
    return first, min(baseline, n - first)


def recent_difference(values: FloatArray, errors: FloatArray, *, baseline: int = 4) -> Slope:
    """Mean of the last values less that of the first.

    Of 8 values or more it is the last four less the first four (`baseline`); of fewer, the later
    half less the earlier one, so that a collapse in the third week need not wait for the eighth.

    Returns:
        The difference (as `slope`) and its standard error.
    """
    if len(values) < 2:  # noqa: PLR2004 - one on each side
        msg = f"{len(values)} value(s) cannot be split into earlier and later ones"
        raise InputError(msg)
    first, last = compared(len(values), baseline=baseline)
    difference = values[-last:].mean() - values[:first].mean()
    variance = (errors[-last:] ** 2).sum() / last**2 + (errors[:first] ** 2).sum() / first**2
    return Slope(float(difference), float(variance**0.5))


def union_test(
    times: FloatArray, values: FloatArray, errors: FloatArray, *, baseline: int = 4
) -> Union:
    """Slope over all weeks, and the last weeks against the first, each in standard errors.

    The slope finds a slow decline, the difference finds a step; an alarm on the lower of the two
    finds both. Judged each week from the third on, an alarm below -2.93 happens in 5.0 % of the
    years without a change (40 000 simulated years, Monte-Carlo error 0.1 %).

    Args:
        times: ``(n,)`` in weeks.
        values: ``(n,)``.
        errors: ``(n,)`` standard errors of the values, above 0; the values are independent.
        baseline: number of weeks at either end that are compared.
    """
    slope, slope_error = weighted_slope(times, values, errors)
    difference, difference_error = recent_difference(values, errors, baseline=baseline)
    return Union(slope / slope_error, difference / difference_error)


def falling_run(values: FloatArray) -> int:
    """How many times in a row, up to the last value, each was below the one before.

    >>> falling_run(np.array([3.0, 4.0, 3.5, 3.0]))
    2
    """
    rises = np.flatnonzero(np.diff(values) >= 0)
    return len(values) - 1 - (int(rises[-1]) + 1 if len(rises) else 0) if len(values) else 0


def theil_sen(times: FloatArray, values: FloatArray) -> float:
    """Median of the slopes of all pairs (Theil 1950, Sen 1968): one bad week hardly moves it.

    >>> theil_sen(np.arange(4.0), np.array([0.0, 1.0, 2.0, 99.0]))
    17.0
    """
    later, earlier = np.tril_indices(len(times), -1)
    return float(np.median((values[later] - values[earlier]) / (times[later] - times[earlier])))


def mann_kendall(values: FloatArray) -> MannKendall:
    """Mann-Kendall test for a falling sequence; exact up to 10 values without ties, else normal.

    Four values can give no p-value below 1/24.

    >>> mann_kendall(np.array([4.0, 3.0, 2.0, 1.0])).p_falling
    0.041666666666666664
    """
    later, earlier = np.tril_indices(len(values), -1)
    s = int(np.sign(values[later] - values[earlier]).sum())
    n, counts = len(values), np.unique(values, return_counts=True)[1]
    if n <= _EXACT_UP_TO and counts.max(initial=1) == 1:
        return MannKendall(s, _exact_tail(n, s))
    from scipy.special import ndtr  # noqa: PLC0415 - scipy loads on first use, never at import

    variance = (n * (n - 1) * (2 * n + 5) - (counts * (counts - 1) * (2 * counts + 5)).sum()) / 18
    z = 0.0 if variance <= 0 else (s - np.sign(s)) / variance**0.5
    return MannKendall(s, float(ndtr(z)))


def _exact_tail(n: int, s: int) -> float:
    """P(S <= s) when all orders of n values are equally likely, by counting inversions."""
    orders = np.ones(1)
    for size in range(2, n + 1):
        orders = np.convolve(orders, np.ones(size))
    ascents = np.arange(len(orders))  # pairs that rise; S = 2 x ascents - all pairs
    return float(orders[2 * ascents - n * (n - 1) // 2 <= s].sum() / factorial(n))


def excess_scatter(values: FloatArray, errors: FloatArray) -> float:
    """By which factor (>= 1) neighbouring values differ more than their errors explain, in variance.

    Only what is evident counts: the mean squared difference, in its expected unit, is divided by
    its 90 % upper quantile. A single jump is what a trend looks for, so each squared difference
    is cut at 6.63 (the 99 % quantile of chi-squared, 1 degree of freedom).

    Args:
        values: ``(n,)`` in order of time, n >= 2.
        errors: ``(n,)`` standard errors.

    >>> excess_scatter(np.array([1.0, 1.1, 0.9]), np.ones(3))
    1.0
    """
    from scipy.special import chdtri  # noqa: PLC0415 - scipy loads on first use, never at import

    squares = np.minimum(np.diff(values) ** 2 / (errors[1:] ** 2 + errors[:-1] ** 2), 6.63)
    pairs = len(squares)
    # Neighbouring differences share a value: their squares correlate by 1/4, so fewer count.
    freedom = pairs / (1 + 0.5 * (pairs - 1) / pairs)
    return max(1.0, float(squares.mean() * freedom / chdtri(freedom, 0.10)))
