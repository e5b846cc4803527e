"""Evidence that may be looked at after every frame, from sums that add in any order.

An e-process starts at 1, and as long as a hypothesis holds its expectation stays at most 1 at
whatever moment one looks, so it ever reaches 1/alpha with probability at most alpha (Ville's
inequality; Ramdas, Gruenwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 2023). Here each is a mixture over a fixed grid of bets of

    exp(bet * (sum - n * mean) - penalty(bet))

which depends on the numbers through sums only: workers may hand theirs in in any order. The
penalties are those of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences" (Annals of Statistics 2021): sub-Bernoulli for shares of
events (its table 3), empirical Bernstein for other numbers in [0, 1] (its theorem 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.retrain._arms import Tally

FloatArray = npt.NDArray[np.float64]
Evidence = Callable[[float], float]

_BETS: Final = 24
_ODDS: Final[FloatArray] = np.geomspace(3e-3, 6.0, _BETS)
"""Bets on events: logarithms of odds ratios. A step of 1.4 costs the best bet under 3 %."""
_SHARES: Final[FloatArray] = np.geomspace(3e-4, 0.9, _BETS)
"""Bets on other numbers, below 1 where the penalty of empirical Bernstein becomes infinite."""
_SHARE_PENALTY: Final[FloatArray] = -np.log1p(-_SHARES) - _SHARES
_GROWTH: Final[FloatArray] = np.expm1(_ODDS)
_FALL: Final[FloatArray] = np.expm1(-_ODDS)
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_STEPS: Final = 36
"""Cuts by the golden section: an interval of 1 shrinks to 3e-8."""


def log_evidence(exponents: FloatArray) -> float:
    """Logarithm of the mean of ``exp(exponents)``."""
    top = float(exponents.max())
    return top + math.log(float(np.exp(exponents - top).mean()))


def above(tally: Tally, *, events: bool) -> Evidence:
    """Evidence (log) that the mean is greater than a value, as a function of that value.

    Args:
        tally: the numbers, at most one conditional mean above the value.
        events: whether they are 0 or 1 (or means of such): sub-Bernoulli, else empirical
            Bernstein.
    """
    if events:
        return lambda mean: log_evidence(_ODDS * tally.total - tally.n * np.log1p(mean * _GROWTH))
    fixed = _SHARE_PENALTY * tally.spread
    return lambda mean: log_evidence(_SHARES * (tally.total - tally.n * mean) - fixed)


def below(tally: Tally, *, events: bool) -> Evidence:
    """Evidence (log) that the mean is less than a value, as a function of that value."""
    if events:
        return lambda mean: log_evidence(-_ODDS * tally.total - tally.n * np.log1p(mean * _FALL))
    fixed = _SHARE_PENALTY * tally.spread
    return lambda mean: log_evidence(_SHARES * (tally.n * mean - tally.total) - fixed)


def exceeds(first: Tally, second: Tally, by: float, *, events: bool) -> float:
    """Evidence (log) that one arm's mean exceeds the other's by more than `by`.

    The hypothesis it speaks against, ``first - second <= by``, leaves open where the means lie.
    For each place the product of the two arms' e-processes is one; the least of them is one for
    all places. The logarithm is convex in the place, so a golden section finds it.

    Args:
        first: numbers of the arm that may have the greater mean.
        second: those of the other.
        by: difference of means, -1 to 1.
        events: as in `above`.
    """
    if not first.n or not second.n:
        return 0.0
    greater, less = above(first, events=events), below(second, events=events)
    return _least(
        lambda mean: greater(min(1.0, mean + by)) + less(mean), low=max(0.0, -by), high=1.0
    )


def _least(function: Evidence, *, low: float, high: float) -> float:
    """Least value of a convex function on an interval."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    least = min(function(low), function(high), at_left, at_right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
            least = min(least, at_left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
            least = min(least, at_right)
    return least
