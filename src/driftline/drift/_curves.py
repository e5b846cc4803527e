"""Counts become one curve a day and unit, like compared with like.

A unit is a camera, or a class on a camera. Its curve on a day is the cumulative share at some
thresholds (the share of each bin where bins have no order), taken within each part of the day and
averaged with fixed shares of the parts: an evening that had more traffic than others does not
look like a change. Cameras are averaged with fixed shares as well.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

GRID_QUANTILES = 96
"""Thresholds a feature is counted at, spread evenly over the reference values."""
CLASS_QUANTILES = 24
"""The same for single classes, of which there may be hundreds."""
GRID_EVEN = 1 / 3
"""Further thresholds for each of those, spread evenly over the bins: values never seen before."""
LEVELS = np.concatenate(
    [[0.01, 0.02, 0.035, 0.05, 0.075], np.arange(0.1, 0.91, 0.05), [0.925, 0.95, 0.965, 0.98, 0.99]]
)
"""Where on its pooled distribution a cell is tested: close together in the tails, 5 % apart."""
MIN_NEIGHBOURS = 3
"""Neighbours from which a median cannot be moved by one of them."""
MANY_NEIGHBOURS = 12
"""Units above which the median of all serves as that of the others."""
MIN_CLASS_SHARE = 0.002
"""A class with a smaller share of the boxes is not tested by itself."""


@frozen(kw_only=True, eq=False)
class Grid:
    """The thresholds that a feature is counted at.

    Attributes:
        edges: ``(n_thresholds,)`` int64 index of the inner edge of the feature at each.
        lookup: ``(feature bins,)`` int64: the coarse bin of each bin.
    """

    edges: IntArray
    lookup: IntArray

    @property
    def n_bins(self) -> int:
        """Number of coarse bins."""
        return len(self.edges) + 1

    @classmethod
    def of(cls, counts: IntArray, *, quantiles: int) -> Grid:
        """Thresholds for one histogram ``(feature bins,)`` of the reference."""
        n, n_even = len(counts), round(quantiles * GRID_EVEN)
        if n <= quantiles + n_even:
            edges = np.arange(n - 1)
        else:
            cumulative = np.cumsum(counts)
            levels = (np.arange(quantiles) + 0.5) / quantiles * cumulative[-1]
            even = np.linspace(0, n - 2, n_even).astype(np.int64)
            edges = np.unique(np.concatenate([np.searchsorted(cumulative, levels), even]))
            edges = edges[edges < n - 1]
        return cls(edges=edges.astype(np.int64), lookup=np.searchsorted(edges, np.arange(n)))


@frozen(kw_only=True, eq=False)
class Curves:
    """What a day says of each unit, less what all days of its kind say.

    Attributes:
        deviation: ``(n_days, n_units, n_thresholds)`` float64.
        size: ``(n_days, n_units)`` float64: boxes (frames) the curve is worth, 0 for none.
        pooled: ``(n_units, n_thresholds)`` float64: the curve of all days together.
        share: ``(n_units,)`` float64: share of all boxes (frames) in comparable parts of days.
        counted: ``(2, n_units)`` int64: boxes (frames) of each side in comparable parts.
        blocks: ``(2, n_units)`` int64: days of each side with any.
    """

    deviation: FloatArray
    size: FloatArray
    pooled: FloatArray
    share: FloatArray
    counted: IntArray
    blocks: IntArray


def curves(counts: IntArray, *, current: BoolArray, kind: BoolArray, ordered: bool) -> Curves:
    """Standardise counts.

    Args:
        counts: ``(n_days, n_parts, n_units, n_bins)`` of both sides, one after the other.
        current: ``(n_days,)`` which days are under test.
        kind: ``(n_days,)`` which are weekend; each kind of day is compared with its own.
        ordered: whether the bins have an order.
    """
    counts = _comparable(counts, current, kind)
    total = counts.sum(axis=3)
    curve = np.cumsum(counts, axis=3)[..., :-1] if ordered else counts
    inverse = np.divide(1.0, total, out=np.zeros(total.shape), where=total > 0)
    part_total = total.sum(axis=0)
    part_share = part_total / np.maximum(part_total.sum(axis=0), 1)
    deviation, weight = np.zeros(curve.shape[:1] + curve.shape[2:]), (total > 0) * part_share
    present = weight.sum(axis=1)
    for k in np.unique(kind):
        mine = kind == k
        of_kind = total[mine].sum(axis=0)
        mean = curve[mine].sum(axis=0) / np.maximum(of_kind, 1)[..., None]
        own = curve[mine] * inverse[mine][..., None] - mean
        deviation[mine] = np.einsum("dpu,dpub->dub", weight[mine], own)
    deviation /= np.where(present > 0, present, 1.0)[..., None]
    variance = np.einsum("dpu,dpu->du", weight**2, inverse)
    size = np.divide(present**2, variance, out=np.zeros(variance.shape), where=variance > 0)
    of_unit = total.sum(axis=(0, 1))
    by_day = total.sum(axis=1)
    sides = (~current, current)
    return Curves(
        deviation=deviation,
        size=size,
        pooled=np.einsum(
            "pu,pub->ub", part_share, curve.sum(axis=0) / np.maximum(part_total, 1)[..., None]
        ),
        share=of_unit / max(int(of_unit.sum()), 1),
        counted=np.stack([by_day[side].sum(axis=0) for side in sides]),
        blocks=np.stack([(by_day[side] > 0).sum(axis=0) for side in sides]),
    )


def _comparable(counts: IntArray, current: BoolArray, kind: BoolArray) -> IntArray:
    """Without the parts of a kind of day that only one side has."""
    total = counts.sum(axis=3)
    kept = counts
    for k in np.unique(kind):
        mine = kind == k
        both = (total[mine & current] > 0).any(axis=0) & (total[mine & ~current] > 0).any(axis=0)
        if not both.all():
            kept = kept.copy() if kept is counts else kept
            kept[np.ix_(mine)] *= both[None, :, :, None]
    return kept


def together(
    one: Curves, units: IntArray, noise: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Several units as one, with fixed shares.

    Args:
        one: the curves of the units.
        units: ``(k,)`` index of the units.
        noise: as in `weights_of`.

    Returns:
        Deviations ``(n_days, n_thresholds)``, weights ``(n_days,)`` and the pooled curve
        ``(n_thresholds,)``.
    """
    share = one.share[units] / max(one.share[units].sum(), 1e-12)
    there = share * (one.size[:, units] > 0)
    total = there.sum(axis=1)
    mixed = there / np.where(total > 0, total, 1.0)[:, None]
    deviation = np.einsum("du,dub->db", mixed, one.deviation[:, units])
    weight = weights_of(one.size[:, units], noise)
    variance = (mixed**2 / np.where(weight > 0, weight, 1.0)).sum(axis=1)
    joint = np.divide(1.0, variance, out=np.zeros(len(variance)), where=total > 0)
    return deviation, joint * (total > 0), share @ one.pooled[units]


def weights_of(size: FloatArray, noise: float) -> FloatArray:
    """Weight of a day: ``size / (size + noise)``.

    A day's curve scatters for two reasons: the day itself, and how few boxes it had. `noise` is
    the number of boxes at which both are equal; a day with many more counts as one day, whether
    it had ten thousand or ten million.
    """
    result: FloatArray = size / (size + noise)
    return result


def thresholds(pooled: FloatArray, *, ordered: bool) -> tuple[IntArray, IntArray]:
    """Which thresholds of a cell are tested.

    Returns:
        ``(k,)`` int64 indexes into the pooled curve, and ``(k,)`` which of `LEVELS` (which bin,
        where bins have no order) each stands for.
    """
    if not ordered:
        found = np.flatnonzero(pooled > MIN_CLASS_SHARE)
        return found, found
    found, level = np.unique(_at_levels(pooled), return_index=True)
    keep = (pooled[found] >= 0.005) & (pooled[found] <= 0.995)  # noqa: PLR2004  half a percent
    return found[keep], level[keep]


def _at_levels(pooled: FloatArray) -> IntArray:
    """Where a pooled curve reaches each of `LEVELS`."""
    return np.minimum(np.searchsorted(pooled, LEVELS), len(pooled) - 1)


def unshared(one: Curves, units: IntArray, noise: float, *, ordered: bool) -> FloatArray:
    """What each unit does that its neighbours do not do on the same days.

    Weather, and whatever else moves all cameras alike, is in the median of the others' curves
    at the same level of their own distributions; as much of it as the unit's days follow
    (a regression slope in [0, 1]) is taken off. A single unit that moves hardly moves a median,
    so that it cannot make its neighbours look as if they had. With fewer than three neighbours
    nothing is taken off.

    Args:
        one: the curves of all units.
        units: ``(k,)`` units that have enough data.
        noise: as in `weights_of`.
        ordered: whether the bins have an order.

    Returns:
        ``(n_days, k, n_levels)`` deviations at `LEVELS` (at the bins, where they have no order).
    """
    own = one.deviation[:, units]
    if ordered and own.size:
        at = np.stack([_at_levels(one.pooled[u]) for u in units.tolist()])
        own = np.take_along_axis(own, at[None], axis=2)
    size = one.size[:, units]
    return less_neighbours(own, weights_of(size, noise), size > 0)


def less_neighbours(own: FloatArray, weight: FloatArray, there: BoolArray) -> FloatArray:
    """Deviations less what follows the median of the other units: see `unshared`.

    Args:
        own: ``(n_days, k, n_levels)``.
        weight: ``(n_days, k)`` weight of each day in the slope.
        there: ``(n_days, k)`` whether a unit has data on a day.
    """
    n = own.shape[1]
    if n < 1 + MIN_NEIGHBOURS or not own.size:
        return own
    result = own.copy()
    everyone = _median(own, there) if n > MANY_NEIGHBOURS else None
    for i in range(n):
        others = np.arange(n) != i
        median = _median(own[:, others], there[:, others]) if everyone is None else everyone
        w = weight[:, i, None]
        square = (w * median**2).sum(axis=0)
        slope = (w * own[:, i] * median).sum(axis=0) / np.where(square > 0, square, 1.0)
        result[:, i] -= np.clip(slope, 0.0, 1.0) * median
    return result


def _median(values: FloatArray, there: BoolArray) -> FloatArray:
    """``(n_days, n_levels)`` median over the units that have data on the day; 0 without any."""
    n = there.sum(axis=1)
    ranked = np.sort(np.where(there[..., None], values, np.inf), axis=1)
    low, high = np.maximum(n - 1, 0) // 2, n // 2
    high = np.minimum(high, values.shape[1] - 1)
    days = np.arange(len(values))
    middle = (ranked[days, low] + ranked[days, high]) / 2
    return np.where((n > 0)[:, None], middle, 0.0)
