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

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.retrain._arms import Tally

FloatArray = npt.NDArray[np.float64]
Evidence = Callable[[FloatArray], FloatArray]

_BETS: Final = 24
_ODDS: Final[FloatArray] = np.geomspace(3e-3, 6.0, _BETS)
"""Bets on events: logarithms of odds ratios. A step of 1.4 costs the best bet under 3 %."""
_SHARES: Final[FloatArray] = np.geomspace(3e-4, 0.9, _BETS)
"""Bets on other numbers, below 1 where the penalty of empirical Bernstein becomes infinite."""
_SHARE_PENALTY: Final[FloatArray] = -np.log1p(-_SHARES) - _SHARES
_GROWTH: Final[FloatArray] = np.expm1(_ODDS)
_FALL: Final[FloatArray] = np.expm1(-_ODDS)
_PLACES: Final = 33
"""Places looked at in one sweep for the least of a convex function."""
_SWEEPS: Final = 6
"""Each sweep leaves a sixteenth of the interval: 6e-8 of it in the end."""


def log_evidence(exponents: FloatArray) -> FloatArray:
    """Logarithm of the mean of ``exp(exponents)`` over the bets.

    Args:
        exponents: ``(bets, k)``.
    """
    top = exponents.max(axis=0)
    sums: FloatArray = top + np.log(np.exp(exponents - top).mean(axis=0))
    return sums


def above(tally: Tally, *, events: bool) -> Evidence:
    """Evidence (log) that the mean is greater than a value, as a function of ``(k,)`` values.

    Args:
        tally: the numbers, at most one conditional mean above the value.
        events: whether they are 0 or 1 (or means of such): sub-Bernoulli, else empirical
            Bernstein.
    """
    return _evidence(tally, sign=1, events=events)


def below(tally: Tally, *, events: bool) -> Evidence:
    """Evidence (log) that the mean is less than a value, as a function of ``(k,)`` values."""
    return _evidence(tally, sign=-1, events=events)


def _evidence(tally: Tally, *, sign: int, events: bool) -> Evidence:
    if events:
        won, lost = sign * _ODDS * tally.total, _GROWTH if sign > 0 else _FALL
        return lambda means: log_evidence(won[:, None] - tally.n * np.log1p(lost[:, None] * means))
    fixed = sign * _SHARES * tally.total - _SHARE_PENALTY * tally.spread
    slope = sign * _SHARES * tally.n
    return lambda means: log_evidence(fixed[:, None] - slope[:, None] * means)


def exceeds(first: Tally, second: Tally, by: float, *, events: bool) -> float:
    """Evidence (log) that one arm's mean exceeds the other's by more than `by`.

    The hypothesis it speaks against, ``first - second <= by``, leaves open where the means lie.
    For each place the product of the two arms' e-processes is one; the least of them is one for
    all places. The logarithm is convex in the place, so that sweeps close in on the least.

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
        lambda means: greater(np.minimum(1.0, means + by)) + less(means), max(0.0, -by), 1.0
    )


def at(evidence: Evidence, mean: float) -> float:
    """Evidence at one value."""
    return float(evidence(np.array([mean]))[0])


def _least(function: Evidence, low: float, high: float) -> float:
    """Least value of a convex function on an interval."""
    least = float("inf")
    for _ in range(_SWEEPS):
        places = np.linspace(low, high, _PLACES)
        values = function(places)
        best = int(values.argmin())
        least = min(least, float(values[best]))
        low, high = float(places[max(0, best - 1)]), float(places[min(_PLACES - 1, best + 1)])
    return least
