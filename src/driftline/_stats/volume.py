"""Is this count lower than chance allows? Two tests, each against a reference of whole weeks.

Hours and days are compared with a negative-binomial lower tail: counts of a site scatter more
than Poisson's, and a Poisson tail at p < 1e-4 would cry wolf thousands of times a year where this
one does less than once. Weeks are compared by the log-ratios of their days: hours of one day move
together, so that treating them as independent turns a nominal 1 % of false alarms into 20 to 28 %.

The rates of false alarms quoted here come from a simulation: hour counts with a shape over day
and week, negative binomial with k = 20, days scattering by 12 %, four weeks of reference.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HOURS_A_DAY: Final = 24
DAYS_A_WEEK: Final = 7
_SATURDAY: Final = 5
_THURSDAY: Final = 3  # 1970-01-01
POISSON_BELOW: Final = 1e-8


def weekday(days: Ints) -> Ints:
    """Day of the week, Monday 0, of days since 1970."""
    return (days + _THURSDAY) % DAYS_A_WEEK


def hour_of_week(hours: Ints) -> Ints:
    """Cell 0 to 167, Monday midnight 0, of hours since 1970."""
    return weekday(hours // HOURS_A_DAY) * HOURS_A_DAY + hours % HOURS_A_DAY


def hour_of_day_kind(hours: Ints) -> Ints:
    """Cell 0 to 47: the hour of the day, 24 more at the weekend; few enough for few weeks."""
    weekend = weekday(hours // HOURS_A_DAY) >= _SATURDAY
    return hours % HOURS_A_DAY + HOURS_A_DAY * weekend


def lower_tail(count: float, mean: float, alpha: float) -> float:
    """P(X <= count) of a negative binomial with this mean and variance mean + alpha mean^2.

    It is Poisson's where `alpha` is 0.

    >>> round(lower_tail(0, 20, 0.05), 6), round(lower_tail(20, 20, 0.0), 3)
    (1e-06, 0.559)
    """
    from scipy import special  # noqa: PLC0415 - heavy, and only these rules need it

    if alpha < POISSON_BELOW:
        return float(special.pdtr(count, mean))
    r = 1.0 / alpha
    return float(special.betainc(r, count + 1.0, r / (r + mean)))


def rates(cells: Ints, counts: Floats, exposures: Floats, n: int) -> Floats:
    """``(n,)`` count by exposure in each cell, nan where a cell was never observed."""
    total = np.bincount(cells, weights=exposures, minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.bincount(cells, weights=counts, minlength=n) / total
    return found


def dispersion(counts: Floats, means: Floats, cells: Ints) -> float:
    """Alpha of ``variance = mean + alpha mean^2``, by moments, 0 or above.

    The means were fitted to the same counts, which makes residuals small; each is scaled by
    n / (n - 1) of its cell. Cells seen once tell nothing and are left out.
    """
    seen = np.bincount(cells)[cells].astype(np.float64)
    use = (seen > 1) & (means > 0)
    if not use.any():
        return 0.0
    residuals = (counts - means)[use] ** 2 * (seen / np.maximum(seen - 1, 1))[use]
    return max(0.0, float(np.sum(residuals - means[use]) / np.sum(means[use] ** 2)))


class Week(NamedTuple):
    """What the weekly test knows of its reference.

    Attributes:
        mean: mean log-ratio of its days.
        variance: residual variance of a day after weekday means.
        between: variance between weeks beyond that of their days, 0 with fewer than 3 weeks.
        weeks: how many weeks.
        df: degrees of freedom.
    """

    mean: float
    variance: float
    between: float
    weeks: int
    df: int


def log_ratios(counts: Floats, means: Floats) -> Floats:
    """``log((count + 1/2) / (mean + 1/2))`` of days."""
    found: Floats = np.log((counts + 0.5) / (means + 0.5))
    return found


def reference_week(ratios: Floats, days: Ints) -> Week:
    """What reference days say, by their log-ratios; `days` are days since 1970."""
    of_week = weekday(days)
    number = (days - days.min()) // DAYS_A_WEEK
    per_weekday = np.bincount(of_week, minlength=DAYS_A_WEEK)
    means = np.bincount(of_week, weights=ratios, minlength=DAYS_A_WEEK)
    residuals = ratios - (means / np.maximum(per_weekday, 1))[of_week]
    df = len(ratios) - int(np.count_nonzero(per_weekday))
    variance = float(np.sum(residuals**2) / df)
    per_week = np.bincount(number)
    whole: Bools = per_week >= DAYS_A_WEEK
    week_means = (np.bincount(number, weights=ratios) / np.maximum(per_week, 1))[whole]
    between = 0.0
    if len(week_means) >= 3:  # noqa: PLR2004 - fewer weeks cannot tell
        between = max(0.0, float(np.var(week_means, ddof=1)) - variance / DAYS_A_WEEK)
    return Week(float(np.mean(ratios)), variance, between, len(per_week), df)


def week_p(reference: Week, ratios: Floats) -> tuple[float, float]:
    """One-sided p-value that a week is no lower than the reference, and its estimated ratio.

    t = (mean - reference mean) / error, with the error of `week_error`.
    """
    from scipy import special  # noqa: PLC0415 - as above

    difference = float(np.mean(ratios)) - reference.mean
    error = week_error(reference, len(ratios))
    if error <= 0:
        return (0.0 if difference < 0 else 1.0), float(np.exp(difference))
    return float(special.stdtr(reference.df, difference / error)), float(np.exp(difference))


def week_error(reference: Week, days: int) -> float:
    """Standard error of a week's mean log-ratio less the reference's.

    sqrt(s^2 (1/n + 1/N) + b^2 (1 + 1/K)), with n days in the week, N = 7 K in the reference, s^2
    and b^2 the variances of days and between weeks.
    """
    variance = reference.variance * (1 / days + 1 / (DAYS_A_WEEK * reference.weeks))
    return float((variance + reference.between * (1 + 1 / reference.weeks)) ** 0.5)


def week_interval(reference: Week, ratios: Floats, level: float) -> tuple[float, float]:
    """Two-sided interval for the ratio of a week to the reference, by the same t."""
    from scipy import special  # noqa: PLC0415 - as above

    difference = float(np.mean(ratios)) - reference.mean
    reach = float(special.stdtrit(reference.df, (1 + level) / 2))
    reach *= week_error(reference, len(ratios))
    return float(np.exp(difference - reach)), float(np.exp(difference + reach))
