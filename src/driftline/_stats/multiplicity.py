"""Many cells, one answer: adjusted p-values.

A family-wise error rate is what an alert needs: one person is paged, a few cells are read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_TIE = 1 - 1e-9
"""Equal relabellings may differ in the last bit; they count as equal."""


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's step-down adjusted p-values: family-wise, under any dependence (Holm 1979).

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    result = np.empty_like(p)
    result[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return result


def unadjusted(t: FloatArray, observed: FloatArray) -> FloatArray:
    """Share of the relabellings in which a cell alone is at least as large as observed.

    Args:
        t: ``(rows, n_cells)`` statistics, the truth first.
        observed: ``(n_cells,)`` what to compare; the truth itself, or a deflated one.
    """
    result: FloatArray = (t >= observed * _TIE).mean(axis=0)
    return result


def weighted_max_t(
    t: FloatArray, observed: FloatArray, groups: IntArray, shares: FloatArray, *, alpha: float
) -> FloatArray:
    """Adjusted p-values of cells in groups: largest t within a group, smallest p across them.

    Within a group every cell is measured against the group's largest statistic (Westfall and
    Young 1993), so that correlated cells cost little. Across groups the smallest p, divided by
    the group's share, is measured against its own distribution over the same relabellings: a
    hundred cameras do not dilute the cells of all cameras together. Cells that are significant
    at `alpha` are then set aside and the rest judged again, until no more fall (sequential
    rejection: Goeman and Solari 2010). The family-wise error rate at `alpha` is exact for
    exchangeable blocks.

    Args:
        t: ``(rows, n_cells)`` statistics of each relabelling, the truth first.
        observed: ``(n_cells,)`` statistics to judge: ``t[0]``, or less.
        groups: ``(n_cells,)`` index of each cell's group.
        shares: ``(n_groups,)`` weight of each group, above 0.
        alpha: level at which cells are set aside.

    Returns:
        ``(n_cells,)`` p-values, at least ``1 / rows``.
    """
    n_rows, n_cells = t.shape
    p = np.ones(n_cells)
    left = np.ones(n_cells, dtype=bool)
    floor = 0.0
    while left.any():
        found = _one_step(t[:, left], observed[left], groups[left], shares)
        p[left] = np.maximum(found, floor)
        new = left & (p <= alpha)
        if not new.any():
            break
        floor = float(p[new].max())
        left &= ~new
    result: FloatArray = np.maximum(p, 1 / n_rows)
    return result


def _one_step(
    t: FloatArray, observed: FloatArray, groups: IntArray, shares: FloatArray
) -> FloatArray:
    n_rows = len(t)
    smallest = np.full(n_rows, np.inf)
    mine = np.empty(len(observed))
    for g in np.unique(groups):
        inside = groups == g
        top = t[:, inside].max(axis=1)
        ranked = np.sort(top)
        np.minimum(smallest, _share_above(ranked, top) / shares[g], out=smallest)
        mine[inside] = _share_above(ranked, observed[inside]) / shares[g]
    ranked = np.sort(smallest)
    result: FloatArray = np.searchsorted(ranked, mine / _TIE, side="right") / n_rows
    return result


def _share_above(ranked: FloatArray, value: FloatArray) -> FloatArray:
    below = np.searchsorted(ranked, value * _TIE, side="left")
    result: FloatArray = np.maximum(len(ranked) - below, 1) / len(ranked)
    return result


def _checked(p_values: npt.ArrayLike) -> FloatArray:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not bool(np.all((p >= 0) & (p <= 1))):
        msg = f"p-values must be one row of numbers in [0, 1], got {p!r}"
        raise InputError(msg)
    return p
