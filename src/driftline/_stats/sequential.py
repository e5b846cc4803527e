"""Confidence sequences: intervals that may be looked at after every observation.

A confidence sequence covers the true mean at all times at once with probability 1 - alpha, so
stopping when it looks good is allowed. This one is the predictable plug-in empirical Bernstein
sequence of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting"
(JRSS-B 2024), theorem 2: it adapts to the variance and needs a few numbers of state.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.errors import InputError

FloatArray = npt.NDArray[np.float64]

LARGEST_BET = 0.5
"""Truncation of the bets; the paper's recommendation is 1/2 or 3/4."""


@frozen(kw_only=True)
class BoundedMean:
    """What a confidence sequence for the mean of values in [0, 1] must remember.

    The observations must have the same conditional mean given the past (independent ones have).

    Attributes:
        alpha: probability that the truth is ever outside, (0, 1).
        n: observations so far.
        total: their sum.
        spread: sum of squared distances to the running mean of the moment.
        bets: sum of the bets.
        weighted: sum of bet times observation.
        penalty: sum of the variance terms.

    >>> mean = BoundedMean(alpha=0.05).observe([0.0, 1.0] * 500)
    >>> low, high = mean.interval
    >>> round(low, 2), round(high, 2)
    (0.44, 0.56)
    """

    alpha: float
    n: int = 0
    total: float = 0.0
    spread: float = 0.0
    bets: float = 0.0
    weighted: float = 0.0
    penalty: float = 0.0

    def observe(self, values: npt.ArrayLike) -> BoundedMean:
        """The state after some more observations, in the order they came.

        Args:
            values: ``(k,)`` in [0, 1].

        Raises:
            InputError: a value is outside [0, 1] or not a number.
        """
        x = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if x.size == 0:
            return self
        if not bool(np.all((x >= 0) & (x <= 1))):
            msg = f"values must lie in [0, 1], got {float(x[~((x >= 0) & (x <= 1))][0])!r}"
            raise InputError(msg)
        t = self.n + np.arange(1, len(x) + 1)
        means = (0.5 + self.total + np.cumsum(x)) / (t + 1)
        spreads = self.spread + np.cumsum((x - means) ** 2)
        mean_before = np.concatenate(([(0.5 + self.total) / (self.n + 1)], means[:-1]))
        variance_before = (0.25 + np.concatenate(([self.spread], spreads[:-1]))) / t
        bets = np.minimum(
            LARGEST_BET,
            np.sqrt(2 * math.log(2 / self.alpha) / (variance_before * t * np.log1p(t))),
        )
        psi = -np.log1p(-bets) - bets
        return BoundedMean(
            alpha=self.alpha,
            n=self.n + len(x),
            total=self.total + float(x.sum()),
            spread=float(spreads[-1]),
            bets=self.bets + float(bets.sum()),
            weighted=self.weighted + float(bets @ x),
            penalty=self.penalty + float(psi @ (x - mean_before) ** 2),
        )

    @property
    def mean(self) -> float:
        """The plain mean; nan before the first observation."""
        return self.total / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound of the mean, within [0, 1]; valid at every look."""
        if self.n == 0:
            return 0.0, 1.0
        centre = self.weighted / self.bets
        margin = (math.log(2 / self.alpha) + self.penalty) / self.bets
        return max(0.0, centre - margin), min(1.0, centre + margin)


def difference(first: BoundedMean, second: BoundedMean) -> tuple[float, float]:
    """Bounds of the mean of `first` minus the mean of `second`, valid at every look.

    The two sequences hold at once with probability at least 1 - (alpha1 + alpha2): union bound.
    """
    (a_low, a_high), (b_low, b_high) = first.interval, second.interval
    return a_low - b_high, a_high - b_low
