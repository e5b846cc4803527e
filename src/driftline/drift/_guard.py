"""The guard against weeks that differ for no reason: when weeks scatter more than their days.

Days are taken as exchangeable. Where weather lasts or weeks have moods of their own, the mean of
a week scatters more than seven free days would, and a test that permutes days alarms too often.
The excess is estimated from all weeks so far, of the reference and monitored ones alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.drift._curves import less_neighbours
from driftline.drift._days import CLASS_MIX, DAYS_OF_WEEK, Days
from driftline.drift._family import Candidate, Reference
from driftline.drift._report import DriftReport, Memory

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

SUMMARIES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Where on the reference's distribution a day is summarised."""
CLASSES = 8
"""The most frequent classes stand for the class mix."""
FEWEST_DAYS = 4
"""Days with data that each week of a pair needs."""
LARGEST_RATIO = 12.0
"""A single pair of weeks counts at most this much: one odd week is not a site's nature."""
LONGEST_HISTORY = 27 * DAYS_OF_WEEK
"""Days that are looked at: the newest half year."""
OVERLAP = 1.5
"""Pairs that begin on every day are worth this many times those that begin once a week."""
FEWEST_RATIOS = 3.0
"""Independent ratios below which nothing is concluded."""
SHOWN_LEVEL = 0.9
"""Level of the quantile that ratios are divided by for a lower 90 % bound."""
TRUE_RATIO = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0)
"""How many times more weeks may scatter than free days would make them, and ..."""
MEAN_RATIO = (1.0, 1.192, 1.369, 1.687, 1.968, 2.219, 2.654, 3.021, 3.62, 4.302, 5.115, 6.155, 7.516,
              8.734)  # fmt: skip
"""... the mean r then: that of 13 f B / (1 + (f - 1) B) with B ~ Beta(1/2, 6). The squared
difference is also in the s^2 it is divided by, so that r is at most 13 and runs behind f."""


@frozen(kw_only=True, eq=False)
class Baseline:
    """How a day is summarised, in terms of the reference alone.

    So that the summary of a week never changes, whatever weeks come after it.
    """

    reference: Reference

    @cached_property
    def own(self) -> Memory:
        """The days of the reference themselves."""
        return self.summarise(self.reference.days)

    def summarise(self, days: Days) -> Memory:
        """How far each day lay from the reference, camera by camera and for all together."""
        means = {name: self._one(name, days) for name in self.reference.features}
        return Memory(
            days=[d.isoformat() for d in days.dates],
            cameras=self.reference.days.cameras,
            means={name: np.round(m, 6).tolist() for name, m in means.items()},
        )

    def _one(self, name: str, days: Days) -> FloatArray:
        """``(n_days, n_cameras + 1, n_summaries)``; nan where a camera had nothing."""
        mine, its = self.reference.by_camera[name], self.reference.count(days, name)
        if name == CLASS_MIX:
            its = _known(its, days.class_ids, self.reference.days.class_ids)
        ordered = self.reference.ordered(name)
        part_total = mine.sum(axis=(0, 3))
        share = part_total / np.maximum(part_total.sum(axis=0), 1)
        camera_share = part_total.sum(axis=0) / max(int(part_total.sum()), 1)
        at = self._thresholds(mine, ordered=ordered)
        kinds = self._kinds
        own, total = _at(its, at, ordered=ordered)
        deviation = np.zeros(own.shape)
        weekend = days.weekend if len(kinds) > 1 else np.zeros(len(days.days), dtype=bool)
        for k, of_kind in kinds.items():
            base, n = _at(mine[of_kind].sum(axis=0)[None], at, ordered=ordered)
            days_of = weekend == k
            deviation[days_of] = (own[days_of] - base) * (n > 0)[..., None]
        present = share * (total > 0)
        covered = present.sum(axis=1)
        cameras = np.einsum("dpu,dpus->dus", present, deviation)
        cameras /= np.where(covered > 0, covered, np.nan)[..., None]
        weight = camera_share * (covered > 0)
        together = np.einsum("du,dus->ds", weight, np.nan_to_num(cameras))
        together /= np.where(weight.sum(axis=1) > 0, weight.sum(axis=1), np.nan)[:, None]
        return np.concatenate([cameras, together[:, None]], axis=1)

    @cached_property
    def _kinds(self) -> Mapping[bool, npt.NDArray[np.bool_]]:
        weekend = self.reference.days.weekend
        if min(weekend.sum(), (~weekend).sum()) < 2:  # noqa: PLR2004  a kind of day needs two
            return {False: np.ones(len(weekend), dtype=bool)}
        return {False: ~weekend, True: weekend}

    @staticmethod
    def _thresholds(counts: IntArray, *, ordered: bool) -> IntArray:
        """``(n_cameras, n_summaries)`` int64 bins that the summaries of each camera are taken at."""
        of_camera = counts.sum(axis=(0, 1))
        if not ordered:
            top = np.sort(np.argsort(-of_camera.sum(axis=0), kind="stable")[:CLASSES])
            return np.tile(top, (len(of_camera), 1))
        cumulative = np.cumsum(of_camera, axis=1)
        levels = np.array(SUMMARIES) * cumulative[:, -1:]
        below = (cumulative[:, None, :] < levels[..., None]).sum(axis=2)
        last: IntArray = np.minimum(below, of_camera.shape[1] - 1)
        return last


def _at(counts: IntArray, at: IntArray, *, ordered: bool) -> tuple[FloatArray, IntArray]:
    """Shares ``(n, n_parts, n_cameras, n_summaries)`` at each camera's own bins, and totals."""
    total = counts.sum(axis=3)
    curve = np.cumsum(counts, axis=3) if ordered else counts
    picked = np.take_along_axis(curve, at[None, None], axis=3)
    return picked / np.maximum(total, 1)[..., None], total


def _known(counts: IntArray, ids: IntArray, wanted: IntArray) -> IntArray:
    """Counts by class with the reference's classes only, in its order."""
    result = np.zeros((*counts.shape[:-1], max(1, len(wanted))), dtype=np.int64)
    shared, mine, its = np.intersect1d(ids, wanted, return_indices=True)
    if len(shared):
        result[..., its] = counts[..., mine]
    return result


@frozen(kw_only=True, eq=False)
class History:
    """The newest half year, one day after the other, and which days are in flagged weeks.

    Attributes:
        means: feature → ``(n_days, n_cameras + 1, n_summaries)`` float64 over every day of the
            calendar from the first to the last, at most `LONGEST_HISTORY` of them; nan where
            nothing was seen.
        flagged: ``(n_days,)`` bool.
        newest: index of the first day of the newest week; below 0 where it is older than that.
    """

    means: Mapping[str, FloatArray]
    flagged: npt.NDArray[np.bool_]
    newest: int

    @classmethod
    def of(cls, own: Memory, earlier: Sequence[DriftReport]) -> History:
        """The days of the reference and of earlier weeks."""
        parts = [(own, False), *((r.memory, r.flagged) for r in earlier if r.memory.days)]
        days = [
            np.array(memory.days, dtype="datetime64[D]").astype(np.int64) for memory, _ in parts
        ]
        last = max(int(d.max()) for d in days)
        first = max(min(int(d.min()) for d in days), last - LONGEST_HISTORY + 1)
        recent = [at >= first for at in days]
        flagged = np.zeros(last - first + 1, dtype=bool)
        means: dict[str, FloatArray] = {}
        for name in own.means:
            shape = np.shape(own.means[name])[1:]
            series = np.full((len(flagged), *shape), np.nan)
            for at, new, (memory, _) in zip(days, recent, parts, strict=True):
                if np.shape(memory.means.get(name, ()))[1:] == shape:
                    table = np.asarray(memory.means[name], dtype=np.float64)
                    series[at[new] - first] = table[new]
            means[name] = _unshared(series)
        for at, new, (_, hit) in zip(days, recent, parts, strict=True):
            flagged[at[new] - first] = hit
        newest = days[1] if len(days) > 1 else days[0]
        return cls(means=means, flagged=flagged, newest=int(newest.min()) - first)

    def ratios(self, name: str, *, step: int) -> FloatArray:
        """``(n_pairs, n_cameras + 1)`` r of pairs of weeks, the averages over the summaries.

        Pairs in which a week was flagged and the other not are left out: their difference is
        already explained. A single r counts at most `LARGEST_RATIO`.

        Args:
            name: feature.
            step: days from one pair to the next; 7 keeps to the newest week's own weekday.
        """
        series = self.means[name]
        pair = 2 * DAYS_OF_WEEK
        starts = np.arange(self.newest % step, len(series) - pair + 1, step)
        if not len(starts):
            return np.zeros((0, series.shape[1]))
        inside = starts[:, None] + np.arange(pair)
        hits = self.flagged[inside]
        windows = series[inside][hits.all(axis=1) | ~hits.any(axis=1)]
        return np.minimum(_ratio(windows), LARGEST_RATIO)


def _unshared(series: FloatArray) -> FloatArray:
    """The series with each camera less what its neighbours share, as its cells are judged."""
    cameras = series[:, :-1]
    there: npt.NDArray[np.bool_] = np.asarray(np.isfinite(cameras).all(axis=2))
    own = np.where(there[..., None], cameras, 0.0)
    left = less_neighbours(own, np.asarray(there, dtype=np.float64), there)
    return np.concatenate([np.where(there[..., None], left, np.nan), series[:, -1:]], axis=1)


def _ratio(windows: FloatArray) -> FloatArray:
    """The r of ``(n_pairs, 14, n_units, n_summaries)``: ``(n_pairs, n_units)``; nan where unknown."""
    there = np.isfinite(windows)
    filled = np.where(there, windows, 0.0)
    n = there.sum(axis=1)
    a, b = there[:, :DAYS_OF_WEEK].sum(axis=1), there[:, DAYS_OF_WEEK:].sum(axis=1)
    mean_a = filled[:, :DAYS_OF_WEEK].sum(axis=1) / np.maximum(a, 1)
    mean_b = filled[:, DAYS_OF_WEEK:].sum(axis=1) / np.maximum(b, 1)
    mean = filled.sum(axis=1) / np.maximum(n, 1)
    squares = (np.where(there, windows - mean[:, None], 0.0) ** 2).sum(axis=1)
    expected = squares / np.maximum(n - 1, 1) * (1 / np.maximum(a, 1) + 1 / np.maximum(b, 1))
    known = (np.minimum(a, b) >= FEWEST_DAYS) & (expected > 0)
    r = np.where(known, (mean_b - mean_a) ** 2 / np.where(known, expected, 1.0), np.nan)
    return _nanmean(r, axis=2)


def _nanmean(values: FloatArray, axis: int) -> FloatArray:
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    result: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def chi_square_quantile(level: float, freedom: float) -> float:
    """Quantile of chi-square by Wilson and Hilferty's cube (1931), within 1 % from three degrees on.

    >>> round(chi_square_quantile(0.5, 10), 2)
    9.35
    """
    spread = 2 / (9 * freedom)
    z = NormalDist().inv_cdf(level)
    return float(freedom * (1 - spread + z * math.sqrt(spread)) ** 3)


def _pooled(ratios: Sequence[FloatArray], worth: float) -> float:
    """Median-unbiased factor from r of all features, where an excess is shown; else 1.

    An estimate of a factor that is 1 is noise, and would cost every calm site some power: it is
    used only where its lower 90 % bound is above 1.

    Args:
        ratios: ``(n_pairs,)`` of each feature.
        worth: how many independent ratios all features of one pair are worth.
    """
    mean = _nanmean(np.stack(ratios), axis=0)
    shown = _bounded(mean, SHOWN_LEVEL, worth) > 1
    return _bounded(mean, 0.5, worth) if shown else 1.0


def _bounded(ratios: FloatArray, level: float, worth: float) -> float:
    """Lower bound of the factor at ``1 - level`` from ratios worth `worth` each; at least 1."""
    known = ratios[np.isfinite(ratios)]
    if len(known) * worth < FEWEST_RATIOS:
        return 1.0
    freedom = len(known) * worth
    return max(1.0, float(known.sum()) * worth / chi_square_quantile(level, freedom))


def _true(mean_ratio: float, weeks: float) -> float:
    """Factor by which the t-statistic of a week must be allowed for, from the mean r of pairs.

    With a true ratio f the difference between the week and a reference of `weeks` weeks has f
    times the variance that free days give. The scatter that t is measured in holds the moods of
    the reference's own weeks as well, which takes part of that back: its expectation is
    1 + (f - 1) (weeks - 1) / (7 weeks + 5) times that of days.
    """
    f = float(np.interp(mean_ratio, MEAN_RATIO, TRUE_RATIO))
    return f / (1 + (f - 1) * (weeks - 1) / (DAYS_OF_WEEK * weeks + 5))


@frozen(kw_only=True)
class Inflation:
    """How much more weeks scatter than their days would make them.

    For two weeks one after the other, r = (difference of their means)^2 over what free days
    would give, s^2 (1 / n1 + 1 / n2), is about 1 where days are exchangeable. Successive
    differences do not see a slow drift. The factor is the larger of two: a median-unbiased one
    from all features together (weather spares none of them) where they show an excess, and the
    lower 90 % bound of the feature's own. So there is no factor without evidence, and evidence
    is shared. `_true` makes up for what r runs behind.

    Attributes:
        together: feature → factor of the cells of all cameras, at least 1.
        cameras: factor of the cells of single cameras, at least 1.
    """

    together: Mapping[str, float]
    cameras: float

    @classmethod
    def of(cls, own: Memory, earlier: Sequence[DriftReport]) -> Inflation:
        """From the days of the reference and the reports of earlier weeks, newest first."""
        history = History.of(own, earlier)
        n = len(history.means) / 2
        weekly = {name: history.ratios(name, step=DAYS_OF_WEEK) for name in history.means}
        daily = [history.ratios(name, step=1)[:, -1] for name in weekly]
        pooled = max(
            _pooled([r[:, -1] for r in weekly.values()], n),
            _pooled(daily, n * OVERLAP / DAYS_OF_WEEK),
        )
        single = _pooled([_nanmean(r[:, :-1], axis=1) for r in weekly.values()], 2 * n)
        weeks = max(1.0, len(own.days) / DAYS_OF_WEEK)
        return cls(
            together={
                name: _true(max(pooled, _bounded(r[:, -1], SHOWN_LEVEL, 1.0)), weeks)
                for name, r in weekly.items()
            },
            cameras=_true(min(pooled, single), weeks),
        )

    def phi(self, candidate: Candidate) -> float:
        """The factor of a cell."""
        factor = self.together.get(candidate.feature, 1.0)
        return factor if candidate.camera < 0 else min(factor, self.cameras)
