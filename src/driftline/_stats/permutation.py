"""A two-sample test that permutes whole blocks (days), for many correlated cells at once.

Boxes of one frame, one camera-day and one static scene depend on each other; whole days, all
cameras together, come closest to exchangeable units. So days are relabelled, never boxes
(Winkler et al. 2014, "Permutation inference for the general linear model", exchangeability
blocks), strata such as weekday and weekend apart. In every relabelling each cell gives the
largest weighted least squares t-statistic over its thresholds; the first row is the truth, which
makes the Monte Carlo p-values valid and never zero (Phipson and Smyth 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_ROWS_AT_ONCE = 256
"""Relabellings multiplied in one go, so that the product stays in the processor's cache."""
_NOTHING = 1e-14
"""Scatter below this share of the weights is rounding."""
_NEARLY_ONE = 1 - 1e-9
"""Largest squared correlation let through: a shift without any scatter has a finite t."""


def count_splits(current: BoolArray, strata: IntArray) -> int:
    """How many different relabellings there are."""
    return math.prod(
        math.comb(int(mine.sum()), int((mine & current).sum()))
        for mine in (strata == s for s in np.unique(strata))
    )


def splits(current: BoolArray, strata: IntArray, *, n: int, rng: np.random.Generator) -> BoolArray:
    """Relabellings of blocks within strata: all of them where there are at most `n`.

    Args:
        current: ``(n_blocks,)`` which blocks are under test.
        strata: ``(n_blocks,)`` labels; a relabelling keeps the number of current blocks of each.
        n: largest number of rows.
        rng: randomness.

    Returns:
        ``(rows, n_blocks)`` bool; row 0 is `current` itself.

    >>> truth = np.array([False, False, True])
    >>> splits(truth, np.zeros(3, dtype=int), n=10, rng=np.random.default_rng(0)).astype(int)
    array([[0, 0, 1],
           [1, 0, 0],
           [0, 1, 0]])
    """
    if count_splits(current, strata) <= n:
        rows = _all_splits(current, strata)
        other = rows[(rows != current).any(axis=1)]
        return np.concatenate([current[None], other])
    rows = np.tile(current, (n, 1))
    for s in np.unique(strata):
        where = np.flatnonzero(strata == s)
        order = np.argsort(rng.random((n, len(where))), axis=1)
        rows[:, where] = current[where][order]
    rows[0] = current
    return rows


def _all_splits(current: BoolArray, strata: IntArray) -> BoolArray:
    choices: list[Sequence[tuple[int, ...]]] = []
    for s in np.unique(strata):
        mine = np.flatnonzero(strata == s)
        choices.append(list(combinations(mine.tolist(), int(current[mine].sum()))))
    picks = [sum(parts, ()) for parts in product(*choices)]
    rows = np.zeros((len(picks), len(current)), dtype=bool)
    for row, pick in zip(rows, picks, strict=True):
        row[list(pick)] = True
    return rows


@frozen(kw_only=True, eq=False)
class Scores:
    """What the relabellings gave for each cell and, in the truth, for each threshold.

    Attributes:
        t: ``(rows, n_cells)`` float64 largest absolute t-statistic of each cell.
        t_column: ``(n_columns,)`` float64 signed t-statistic of each threshold.
    """

    t: FloatArray
    t_column: FloatArray


def studentised(
    values: FloatArray,
    weights: FloatArray,
    starts: IntArray,
    *,
    strata: IntArray,
    rows: BoolArray,
) -> Scores:
    """Weighted t-statistics of every relabelling; the largest over the thresholds of each cell.

    With weights w, strata s and S = sum of w * (value - stratum mean) over the current blocks,
    h = sum over s of W1 * W0 / W (the weights of current, reference and both): the difference
    is S / h, its share of the scatter S^2 / (h * RSS), and t = r * sqrt(df / (1 - r^2)). Because
    the scatter is that within the groups, a shift does not hide behind the scatter it makes.

    Args:
        values: ``(n_blocks, n_columns)`` one number a block and threshold.
        weights: ``(n_blocks, n_cells)`` at least 0; 0 where a cell has nothing in a block.
        starts: ``(n_cells,)`` first column of each cell, strictly increasing from 0.
        strata: ``(n_blocks,)`` labels.
        rows: ``(rows, n_blocks)`` relabellings, the truth first (`splits`).

    Raises:
        InputError: the shapes do not fit.
    """
    n_columns = values.shape[1]
    if weights.shape != (len(values), len(starts)) or rows.shape[1] != len(values):
        msg = f"values {values.shape}, weights {weights.shape}, rows {rows.shape} and {len(starts)} cells do not fit"
        raise InputError(msg)
    cell = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n_columns)))
    scaled, _ = _standardised(values, weights[:, cell], strata)
    marks = rows.astype(np.float64)
    root = np.sqrt(_information(marks, weights, strata))
    freedom = _freedom(weights, strata)
    largest = np.empty((len(rows), len(starts)))
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        part = marks[at : at + _ROWS_AT_ONCE] @ scaled
        np.abs(part, out=part)
        np.maximum.reduceat(part, starts, axis=1, out=largest[at : at + _ROWS_AT_ONCE])
    truth = marks[0] @ scaled / root[0][cell]
    return Scores(t=_t(largest / root, freedom), t_column=_t(truth, freedom[cell]))


def contrast(
    values: FloatArray, weights: FloatArray, *, strata: IntArray, current: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Weighted mean of the current blocks less that of the others, within strata, and its error.

    Args:
        values: ``(n_blocks, n_columns)``.
        weights: ``(n_blocks, n_columns)`` or ``(n_blocks, 1)`` at least 0.
        strata: ``(n_blocks,)`` labels.
        current: ``(n_blocks,)`` which blocks are under test.

    Returns:
        ``(n_columns,)`` differences, and their standard errors from the scatter within groups.
    """
    scaled, rss = _standardised(values, np.broadcast_to(weights, values.shape), strata)
    marks = current[None].astype(np.float64)
    information = _information(marks, weights, strata)[0]
    correlation = (marks @ scaled)[0] / np.sqrt(information)
    difference = correlation * np.sqrt(rss / information)
    left = rss * np.maximum(1 - correlation**2, 1 - _NEARLY_ONE)
    return difference, np.sqrt(left / _freedom(weights, strata) / information)


def _standardised(
    values: FloatArray, weights: FloatArray, strata: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Weighted deviations from the stratum's mean over the root of their sum of squares."""
    centred = _centred(values, weights, strata)
    rss = (weights * centred**2).sum(axis=0)
    flat = rss <= _NOTHING * weights.sum(axis=0)  # a threshold that no block differs at
    scaled = weights * centred / np.sqrt(np.where(flat, 1.0, rss))
    scaled[:, flat] = 0.0
    return scaled, np.where(flat, 0.0, rss)


def _information(marks: FloatArray, weights: FloatArray, strata: IntArray) -> FloatArray:
    """``(rows, n_cells)`` sum over strata of W1 * W0 / W; infinite where a side is empty."""
    total_information = np.zeros((len(marks), weights.shape[1]))
    for s in np.unique(strata):
        mine = strata == s
        total = weights[mine].sum(axis=0)
        inside = marks[:, mine] @ weights[mine]
        total_information += inside * (total - inside) / np.where(total > 0, total, 1.0)
    result: FloatArray = np.where(total_information > 0, total_information, np.inf)
    return result


def _freedom(weights: FloatArray, strata: IntArray) -> FloatArray:
    """``(n_cells,)`` degrees of freedom left within the groups, at least 1."""
    blocks = (weights > 0).sum(axis=0)
    result: FloatArray = np.maximum(blocks - 1 - len(np.unique(strata)), 1).astype(np.float64)
    return result


def _centred(values: FloatArray, weights: FloatArray, strata: IntArray) -> FloatArray:
    result = np.array(values, dtype=np.float64)
    for s in np.unique(strata):
        mine = strata == s
        total = weights[mine].sum(axis=0)
        mean = (weights[mine] * values[mine]).sum(axis=0) / np.where(total > 0, total, 1.0)
        result[mine] -= mean
    return result


def _t(correlation: FloatArray, freedom: FloatArray) -> FloatArray:
    square = np.minimum(correlation**2, _NEARLY_ONE)
    result: FloatArray = np.sign(correlation) * np.sqrt(freedom * square / (1 - square))
    return result
