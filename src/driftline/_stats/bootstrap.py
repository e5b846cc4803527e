"""Resampling by weights: a replicate is how much each unit counts in it.

A statistic that is computed from weights of units then needs no copy of the data per replicate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from driftline._checks import refuse_number

__all__ = ["generator", "group_index", "half_samples"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


MOST_REPLICATES = 1_000_000
"""More tell nothing more, and take more memory than there is."""


def generator(rng: np.random.Generator | int) -> np.random.Generator:
    """A generator from itself or from a seed; the same seed gives the same numbers.

    Raises:
        InputError: it is neither.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    refuse_number("seed", rng, "a whole number from 0 on, or a Generator", least=0, whole=True)
    return np.random.default_rng(int(rng))


def group_index(keys: Sequence[str]) -> IntArray:
    """``(n,)`` number of the group of each key, groups numbered in order of first sight.

    >>> group_index(["a", "b", "a"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def half_samples(
    groups: IntArray,
    *,
    replicates: int,
    rng: np.random.Generator | int,
    strata: IntArray | None = None,
) -> FloatArray:
    """Weights of the repeated half-sample bootstrap: a random half counts twice, the other not.

    Saigo, Shao & Sitter 2001 (Survey Methodology 27:189). As in the usual bootstrap, the spread
    of a statistic over the replicates is its standard error. But a replicate is an honest sample
    of half the size, without copies, so the shift of its mean tells how the statistic depends on
    the size of the sample; and each half comes with the other one, so that for a mean the shift
    is exactly 0. With an odd number of groups, one at random counts once in both halves.

    Args:
        groups: ``(n,)`` group of each row, 0 to the number of groups less one; rows of one group
            count alike.
        replicates: number of resamples, rounded up to an even one.
        rng: generator or seed.
        strata: ``(n_groups,)`` stratum of each group; each stratum is halved. None: one stratum.

    Returns:
        ``(replicates, n)`` float64 weights 0, 1 or 2; rows 2k and 2k + 1 add up to 2.

    >>> weights = half_samples(np.array([0, 0, 1, 2, 3]), replicates=4, rng=1)
    >>> float(weights[0].sum() + weights[1].sum()), bool((weights[:, 0] == weights[:, 1]).all())
    (10.0, True)
    """
    what = f"at least 2, a half and the other one, and at most {MOST_REPLICATES:,}"
    refuse_number("replicates", replicates, what, least=2, most=MOST_REPLICATES, whole=True)
    if not len(groups):
        return np.zeros((replicates + replicates % 2, 0))
    source = generator(rng)
    n_groups = int(groups.max()) + 1
    of_group = np.zeros(n_groups, dtype=np.int64) if strata is None else strata
    pairs = (replicates + 1) // 2
    weights = np.ones((2 * pairs, n_groups))
    for stratum in np.unique(of_group):
        members = np.flatnonzero(of_group == stratum)
        half = len(members) // 2
        order = members[np.argsort(source.random((pairs, len(members))), axis=1)]
        chosen, rest = order[:, :half], order[:, half : 2 * half]
        rows = 2 * np.arange(pairs)[:, None]
        weights[rows, chosen], weights[rows, rest] = 2.0, 0.0
        weights[rows + 1, chosen], weights[rows + 1, rest] = 0.0, 2.0
    return weights[:, groups]
