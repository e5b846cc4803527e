"""Resampling by multiplicities: a replicate is how often each unit was drawn.

A statistic that is computed from weights of units then needs no copy of the data per replicate
(Efron & Tibshirani 1993, An Introduction to the Bootstrap).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.errors import InputError

__all__ = ["generator", "group_index", "multiplicities"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def generator(rng: np.random.Generator | int) -> np.random.Generator:
    """A generator from itself or from a seed; the same seed gives the same numbers."""
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


def group_index(keys: list[str] | tuple[str, ...]) -> IntArray:
    """``(n,)`` number of the group of each key, groups numbered in order of first sight.

    >>> group_index(["a", "b", "a"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def multiplicities(
    groups: IntArray,
    *,
    replicates: int,
    rng: np.random.Generator | int,
    strata: IntArray | None = None,
) -> FloatArray:
    """How often each row is drawn when whole groups are drawn with replacement.

    Args:
        groups: ``(n,)`` group of each row, 0 to the number of groups less one; rows of one group
            are drawn together.
        replicates: number of resamples.
        rng: generator or seed.
        strata: ``(n_groups,)`` stratum of each group; as many groups are drawn from a stratum as
            it has. None: one stratum.

    Returns:
        ``(replicates, n)`` float64 counts.

    >>> drawn = multiplicities(np.array([0, 0, 1]), replicates=4, rng=1)
    >>> drawn.shape, bool((drawn[:, 0] == drawn[:, 1]).all())
    ((4, 3), True)
    """
    if replicates < 1:
        msg = f"replicates={replicates} must be at least 1"
        raise InputError(msg)
    if not len(groups):
        return np.zeros((replicates, 0))
    source = generator(rng)
    n_groups = int(groups.max()) + 1
    of_group = np.zeros(n_groups, dtype=np.int64) if strata is None else strata
    counts = np.empty((replicates, n_groups))
    for stratum in np.unique(of_group):
        members = np.flatnonzero(of_group == stratum)
        counts[:, members] = _draws(len(members), replicates, source)
    return counts[:, groups]


def _draws(n: int, replicates: int, source: np.random.Generator) -> FloatArray:
    drawn = source.integers(n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * replicates).reshape(replicates, n).astype(float)
