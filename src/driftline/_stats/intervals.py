"""Intervals: a number with how sure it is."""

from __future__ import annotations

from math import erfc, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._checks import refuse_number

__all__ = [
    "Estimate",
    "Interval",
    "bias_corrected",
    "normal_cdf",
    "normal_quantile",
    "rule_of_three",
    "t_quantile",
]

FloatArray = npt.NDArray[np.float64]

NO_SPREAD = 1e-12
"""Numbers that differ by less are the same but for rounding."""


class Interval(NamedTuple):
    """Both ends of an interval; unpacks as ``low, high``."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside."""
        return not self.low <= value <= self.high

    def __str__(self) -> str:
        """Three decimals, as in ``0.512 to 0.548``."""
        return f"{self.low:.3f} to {self.high:.3f}"


@frozen(kw_only=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: the plain number, None where it cannot be given.
        interval: its interval at `level`, around the value less its bias; None where it cannot
            be given.
        standard_error: standard error, None where it cannot be given.
        bias: estimated small-sample bias of `value`, None where it cannot be given.
        level: confidence level of the interval, such as 0.95.
        reason: why something is missing or rough, "" where nothing is.
    """

    value: float | None
    interval: Interval | None = None
    standard_error: float | None = None
    bias: float | None = None
    level: float = 0.95
    reason: str = ""

    @property
    def corrected(self) -> float | None:
        """The value less its bias: what to compare between samples of different size."""
        return None if self.value is None else self.value - (self.bias or 0.0)

    def __str__(self) -> str:
        """Value, interval and reason, as far as there are any."""
        if self.value is None:
            return f"unknown ({self.reason})"
        interval = "" if self.interval is None else f" ({100 * self.level:g} % {self.interval})"
        return f"{self.value:.3f}{interval}" + (f"; {self.reason}" if self.reason else "")


def _checked(level: float) -> float:
    refuse_number("level", level, "between 0 and 1, such as 0.95", above=0, below=1)
    return 0.5 + level / 2


def normal_quantile(level: float) -> float:
    """Half-width of a two-sided interval in standard errors, 1.96 for 0.95.

    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    from scipy.special import ndtri  # noqa: PLC0415 - scipy loads on first use, never at import

    return float(ndtri(_checked(level)))


def normal_cdf(z: float) -> float:
    """Probability that a standard normal number is below `z`.

    >>> normal_cdf(0.0)
    0.5
    """
    return erfc(-z / sqrt(2.0)) / 2.0


def t_quantile(level: float, degrees_of_freedom: float) -> float:
    """`normal_quantile` for a standard error estimated with few degrees of freedom (Student).

    >>> round(t_quantile(0.95, 9), 3)
    2.262
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - scipy loads on first use, never at import

    return float(stdtrit(degrees_of_freedom, _checked(level)))


def rule_of_three(units: int) -> float:
    """Standard error to use where none was seen: what n units never showed may be in 3/n of them.

    Hanley & Lippman-Hand 1983 (JAMA 249:1743): 3/n is the upper 95 % bound of an event that did
    not happen in n trials.

    >>> round(rule_of_three(100) * normal_quantile(0.95), 3)
    0.03
    """
    return 3.0 / units / normal_quantile(0.95)


def bias_corrected(
    value: float,
    replicates: FloatArray,
    *,
    level: float = 0.95,
    units: int,
    bias_order: float = 1.0,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    reason: str = "",
) -> Estimate:
    """Estimate from half-sample replicates: value less bias, plus and minus t standard errors.

    If the bias of samples of size n falls as n ** -bias_order, then that of half the size is
    2 ** bias_order times as large, and the mean of the replicates lies
    (2 ** bias_order - 1) biases above the value. So bias = (mean - value) / (2 ** bias_order - 1).

    Args:
        value: the number on the whole sample.
        replicates: ``(n,)`` the number on each half-sample (`_stats.bootstrap.half_samples`); NaN
            where it was undefined there.
        level: confidence level.
        units: how many independent units (images, camera-days) were halved; t has one degree
            of freedom less.
        bias_order: 1 for smooth statistics such as ratios.
        bounds: range the number can take; the interval is cut to it.
        reason: what else there is to say about the number.

    >>> import numpy as np
    >>> bias_corrected(0.5, np.array([0.49, 0.51]), units=200).bias
    0.0
    """
    known = replicates[np.isfinite(replicates)]
    if units < 2 or len(known) < 2:  # noqa: PLR2004 - a spread needs two
        lacking = f"no interval: {units} independent unit(s), at least 2 are needed"
        return Estimate(value=value, level=level, reason=_joined(reason, lacking))
    bias = float(known.mean() - value) / (2.0**bias_order - 1.0)
    error = float(known.std(ddof=1))
    if error <= NO_SPREAD:
        error = rule_of_three(units)
        told = f"every resample gives the same value: the interval is the rule of three on {units} units"
        reason = _joined(reason, told)
    half = t_quantile(level, units - 1) * error
    low, high = (float(np.clip(value - bias + side * half, *bounds)) for side in (-1, 1))
    return Estimate(
        value=value,
        interval=Interval(low, high),
        standard_error=error,
        bias=bias,
        level=level,
        reason=reason,
    )


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
