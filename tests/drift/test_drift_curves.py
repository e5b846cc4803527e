"""Counts become curves that compare like with like, and a guard that learns how weeks scatter."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sites import MONDAY, reference_and_weeks
from worlds import World

from driftline.drift import DriftDetector
from driftline.drift._curves import Grid, curves, thresholds, together, unshared, weights_of
from driftline.drift._days import Days, part_length
from driftline.drift._guard import (
    MEAN_RATIO,
    TRUE_RATIO,
    Inflation,
    _ratio,
    _true,
    chi_square_quantile,
)
from driftline.drift._plain import effective_sizes
from driftline.errors import InputError

DAY = np.timedelta64(1, "D")


def world_counts(rng, *, days=21, parts=2, units=3, bins=6, size=400):
    """Counts whose distribution differs by unit and part, and scatters by day."""
    base = rng.dirichlet(np.ones(bins) * 4, size=(parts, units))
    mixed = 0.8 * base[None] + 0.2 * rng.dirichlet(np.ones(bins), size=(days, parts, units))
    return rng.multinomial(size, mixed)


def sides(days=21, current=7):
    d = np.arange(days)
    return {"current": d >= days - current, "kind": d % 7 >= 5}


class TestCurves:
    @given(st.integers(0, 1000), st.integers(2, 40))
    @settings(max_examples=20, deadline=None)
    def test_traffic(self, seed, factor):
        """More traffic in one part of the day changes no curve, only how much it is worth."""
        rng = np.random.default_rng(seed)
        counts = world_counts(rng)
        busy = counts.copy()
        busy[:, 1] *= factor
        fixed = {"ordered": True, **sides()}
        one, two = curves(counts, **fixed), curves(busy, **fixed)
        separately = [curves(counts[:, [p]], **fixed).deviation for p in (0, 1)]
        weight = 1 / (1 + factor)

        np.testing.assert_allclose(one.deviation, sum(separately) / 2, atol=1e-12)
        np.testing.assert_allclose(
            two.deviation, weight * separately[0] + (1 - weight) * separately[1], atol=1e-12
        )

    def test_centred(self):
        """Deviations of a kind of day add up to nothing, weighted by counts."""
        rng = np.random.default_rng(0)
        counts = world_counts(rng, parts=1)
        found = curves(counts, ordered=True, **sides())
        kind = sides()["kind"]

        for k in (True, False):
            total = (found.size[kind == k, :, None] * found.deviation[kind == k]).sum(axis=0)
            np.testing.assert_allclose(total, 0, atol=1e-8)

    def test_absent_part(self):
        """A part of the day that only the reference has is left out of the comparison."""
        rng = np.random.default_rng(1)
        counts = world_counts(rng)
        counts[14:, 0] = 0
        found = curves(counts, ordered=True, **sides())
        only = curves(counts[:, [1]], ordered=True, **sides())

        np.testing.assert_allclose(found.deviation, only.deviation, atol=1e-12)
        np.testing.assert_array_equal(found.counted, only.counted)

    def test_absent_day(self):
        """A unit without data on a day has size 0 and says nothing."""
        counts = world_counts(np.random.default_rng(2))
        counts[3, :, 1] = 0
        found = curves(counts, ordered=True, **sides())

        assert found.size[3, 1] == 0
        assert (found.deviation[3, 1] == 0).all()
        assert found.blocks[0, 1] == 13

    def test_together(self):
        """Units are averaged with their fixed shares; a silent unit leaves the rest in place."""
        counts = world_counts(np.random.default_rng(3))
        counts[5, :, 2] = 0
        found = curves(counts, ordered=True, **sides())
        deviation, weight, pooled = together(found, np.array([0, 1, 2]), 100.0)
        share = found.share

        expected = (share[:2, None] * found.deviation[5, :2]).sum(axis=0) / share[:2].sum()
        np.testing.assert_allclose(deviation[5], expected)
        np.testing.assert_allclose(pooled, share @ found.pooled)
        assert 0 < weight[5] < weight[4]

    def test_weights(self):
        """Ten million boxes make one day, as ten thousand do; ten boxes make a tenth of one."""
        w = weights_of(np.array([10.0, 1e4, 1e7]), 90.0)

        assert w == pytest.approx([0.1, 0.991, 1.0], abs=1e-3)

    def test_unshared(self):
        """What all units share is taken off; what one does alone stays, and marks no other."""
        rng = np.random.default_rng(4)
        counts = world_counts(rng, units=6, size=5000)
        found = curves(counts, ordered=True, **sides())
        weather = rng.normal(0, 0.1, size=(21, 1, 1))
        own = rng.normal(0, 0.01, size=found.deviation.shape)
        own[14:, 2] += 0.2
        one = evolve(found, deviation=weather + own)
        left = unshared(one, np.arange(6), 1.0, ordered=False)

        assert left.std(axis=0).max(axis=1)[[0, 1, 3, 4, 5]].max() < 0.04
        assert abs(left[14:, 2].mean() - left[:14, 2].mean()) > 0.15
        assert abs(left[14:, 0].mean() - left[:14, 0].mean()) < 0.05

    def test_few_neighbours(self):
        """With two neighbours or fewer nothing is taken off."""
        counts = world_counts(np.random.default_rng(5))
        found = curves(counts, ordered=True, **sides())

        np.testing.assert_array_equal(
            unshared(found, np.arange(3), 1.0, ordered=False), found.deviation
        )


class TestThresholds:
    def test_grid(self):
        """Every bin has a coarse bin, in order, and the reference is spread over them."""
        counts = np.random.default_rng(0).poisson(stats.norm.pdf(np.linspace(-4, 4, 1000)) * 500)
        grid = Grid.of(counts, quantiles=96)
        coarse = np.bincount(grid.lookup, weights=counts)

        assert (np.diff(grid.lookup) >= 0).all()
        assert grid.lookup[-1] + 1 == grid.n_bins
        assert coarse.max() < 0.02 * counts.sum()

    def test_edges(self):
        """The coarse cumulative counts are the fine ones at the chosen edges."""
        counts = np.random.default_rng(1).integers(0, 9, size=400)
        grid = Grid.of(counts, quantiles=24)
        coarse = np.bincount(grid.lookup, weights=counts)

        np.testing.assert_array_equal(np.cumsum(coarse)[:-1], np.cumsum(counts)[grid.edges])

    def test_chosen(self):
        """Thresholds cover the distribution from 1 % to 99 %, and never a certainty."""
        pooled = np.linspace(0.0, 1.0, 300)
        found, level = thresholds(pooled, ordered=True)

        assert pooled[found].min() >= 0.005
        assert pooled[found].max() <= 0.995
        assert np.abs(np.diff(pooled[found])).max() < 0.06
        assert len(found) == len(level) == 27

    def test_classes(self):
        """Classes of less than two in a thousand are not tested by themselves."""
        found, _ = thresholds(np.array([0.9, 0.001, 0.099]), ordered=False)

        assert found.tolist() == [0, 2]


class TestDays:
    @pytest.mark.parametrize(
        ("period", "wanted", "part"), [(1, 6, 6), (4, 6, 8), (24, 6, 24), (12, 6, 12), (1, 24, 24)]
    )
    def test_parts(self, period, wanted, part):
        """A part is whole periods, divides the day, and is at least as long as wanted."""
        from datetime import timedelta

        found = part_length(timedelta(hours=period), timedelta(hours=wanted))

        assert found == timedelta(hours=part)

    def test_too_long(self):
        """Weekly periods have no days."""
        from datetime import timedelta

        with pytest.raises(InputError, match="day or hour"):
            part_length(timedelta(weeks=1), timedelta(hours=6))

    def test_local_days(self):
        """Days begin at local midnight, and Saturday and Sunday are the weekend."""
        from datetime import timedelta

        reference, _ = reference_and_weeks(World(frames=20, cameras=1), 0, 0, reference_weeks=1)
        days = Days.of(reference, part=timedelta(hours=6))

        assert days.dates[0] == MONDAY.date()
        assert days.weekend.tolist() == [False] * 5 + [True] * 2
        assert days.frames.sum() == reference.frames
        assert days.boxes.sum() == reference.boxes


class TestEffectiveSize:
    def test_clusters(self):
        """Days that repeat one box a thousand times are worth one box each."""
        by_day = np.zeros((30, 1, 20))
        by_day[np.arange(30), 0, np.random.default_rng(0).integers(0, 20, 30)] = 1000

        assert effective_sizes(by_day)[0] == pytest.approx(30, rel=0.1)

    def test_independent(self):
        """Independent boxes are worth nearly themselves."""
        by_day = np.random.default_rng(1).multinomial(2000, np.ones(20) / 20, size=30)

        assert effective_sizes(by_day[:, None].astype(float))[0] > 0.7 * 60_000

    def test_unknown(self):
        """One day says nothing about days."""
        assert np.isnan(effective_sizes(np.ones((1, 1, 5)))[0])


class TestGuard:
    def test_quantile(self):
        """Wilson and Hilferty's quantile is within 1 % of chi-square's from three degrees on."""
        for freedom in (3, 7.5, 40, 200):
            for level in (0.5, 0.9):
                assert chi_square_quantile(level, freedom) == pytest.approx(
                    stats.chi2.ppf(level, freedom), rel=0.01
                )

    def test_mean_ratios(self):
        """The table of mean ratios is that of simulated weeks, within 2 % (2e5 pairs: 0.5 %)."""
        rng = np.random.default_rng(0)
        for true, mean in zip(TRUE_RATIO, MEAN_RATIO, strict=True):
            week = np.sqrt((true - 1) / 7)
            pairs = rng.normal(size=(50_000, 14)) + np.repeat(
                rng.normal(0, week, (50_000, 2)), 7, axis=1
            )
            ratio = _ratio(pairs[:, :, None, None])[:, 0]

            assert ratio.mean() == pytest.approx(mean, rel=0.02)

    def test_t_statistics_of_moody_weeks(self):
        """Divided by the factor of a known ratio, t has the variance of calm weeks (7 %: 2e4 sites).

        A single calm week against four has t with 33 degrees of freedom, variance 33 / 31; weeks
        that scatter four times as much as days would make them must come near it.
        """
        rng = np.random.default_rng(1)
        days = rng.normal(size=(20_000, 35))
        days += np.repeat(rng.normal(0, np.sqrt(3 / 7), (20_000, 5)), 7, axis=1)
        t = stats.ttest_ind(days[:, 28:], days[:, :28], axis=1).statistic

        assert np.var(t) / _true(np.interp(4.0, TRUE_RATIO, MEAN_RATIO), 4) == pytest.approx(
            33 / 31, rel=0.07
        )

    @staticmethod
    def factor(world, seed, weeks=6):
        reference, later = reference_and_weeks(world, seed, weeks)
        detector = DriftDetector(reference=reference, permutations=100)
        reports = []
        for week in later:
            reports.append(detector.compare(week, previous=reports))
        inflation = Inflation.of(detector._baseline.own, reports[::-1])
        return inflation.together["confidence"], inflation.cameras

    def test_exchangeable(self):
        """Without week effects the factor stays near 1; with severe ones it is well above."""
        calm = [self.factor(World(frames=60), s) for s in range(3)]
        moody = [self.factor(World(frames=60, week=0.05), s) for s in range(3)]

        assert np.mean([c[0] for c in calm]) < 1.6
        assert np.mean([m[0] for m in moody]) > 2.5
        assert np.mean([m[1] for m in moody]) < np.mean([m[0] for m in moody])

    def test_memory_is_constant(self):
        """The days a report remembers do not depend on the weeks before it."""
        reference, weeks = reference_and_weeks(World(frames=60), 0, 2)
        detector = DriftDetector(reference=reference, permutations=100)
        first = detector.compare(weeks[0])

        assert (
            detector.compare(weeks[1]).memory == detector.compare(weeks[1], previous=[first]).memory
        )
