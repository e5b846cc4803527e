"""Days are relabelled: the test is least squares, exact, and blind to a constant."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline._stats.multiplicity import (
    benjamini_hochberg,
    holm,
    unadjusted,
    weighted_max_t,
)
from driftline._stats.permutation import contrast, count_splits, splits, studentised
from driftline.errors import InputError

WEEKDAY, WEEKEND = 0, 1


def site(n_reference=28, n_current=7):
    """Which days are current, and which are weekends."""
    days = np.arange(n_reference + n_current)
    return days >= n_reference, (days % 7 >= 5).astype(int)


def least_squares(values, weights, strata, current):
    """The t-statistic of the group in a weighted regression with a mean for each stratum."""
    x = np.column_stack([current, *[strata == s for s in np.unique(strata)]]).astype(float)
    xtw = x.T * weights
    beta = np.linalg.solve(xtw @ x, xtw @ values)
    rss = (weights * (values - x @ beta) ** 2).sum()
    error = math.sqrt(rss / ((weights > 0).sum() - x.shape[1]) * np.linalg.inv(xtw @ x)[0, 0])
    return beta[0], error


class TestSplits:
    def test_keeps_strata(self):
        """Every relabelling has five current weekdays and two current weekend days."""
        current, strata = site()
        rows = splits(current, strata, n=300, rng=np.random.default_rng(0))

        assert rows.shape == (300, 35)
        assert (rows[0] == current).all()
        assert (rows[:, strata == WEEKDAY].sum(axis=1) == 5).all()
        assert (rows[:, strata == WEEKEND].sum(axis=1) == 2).all()

    def test_all_of_them(self):
        """Where there are few enough, every relabelling comes exactly once, the truth first."""
        current, strata = site(7, 7)
        rows = splits(current, strata, n=2000, rng=np.random.default_rng(0))

        assert len(rows) == count_splits(current, strata) == math.comb(10, 5) * math.comb(4, 2)
        assert len(np.unique(rows, axis=0)) == len(rows)
        assert (rows[0] == current).all()

    def test_seed(self):
        """The same seed gives the same relabellings."""
        current, strata = site()
        a, b = (splits(current, strata, n=50, rng=np.random.default_rng(7)) for _ in range(2))

        assert (a == b).all()


class TestStudentised:
    def test_least_squares(self):
        """Each t is that of weighted least squares with a mean for each stratum."""
        rng = np.random.default_rng(1)
        current, strata = site()
        values, weights = rng.normal(size=(35, 6)), rng.uniform(0.2, 1, size=(35, 2))
        weights[3, 1] = 0.0
        scores = studentised(values, weights, np.array([0, 3]), strata=strata, rows=current[None])

        for j in range(6):
            slope, error = least_squares(values[:, j], weights[:, j // 3], strata, current)
            assert scores.t_column[j] == pytest.approx(slope / error)
        np.testing.assert_allclose(
            scores.t[0], [abs(scores.t_column[:3]).max(), abs(scores.t_column[3:]).max()]
        )

    def test_contrast(self):
        """Difference and error are the coefficient and standard error of the same regression."""
        rng = np.random.default_rng(2)
        current, strata = site()
        values, weights = rng.normal(size=(35, 3)), rng.uniform(0.2, 1, size=35)
        difference, error = contrast(values, weights[:, None], strata=strata, current=current)

        for j in range(3):
            expected = least_squares(values[:, j], weights, strata, current)
            assert (difference[j], error[j]) == pytest.approx(expected)

    @given(st.floats(-5, 5), st.floats(0.1, 10))
    @settings(max_examples=25, deadline=None)
    def test_scale(self, shift, scale):
        """Adding a constant or changing the unit changes no statistic."""
        rng = np.random.default_rng(3)
        current, strata = site()
        rows = splits(current, strata, n=40, rng=rng)
        values, weights = rng.normal(size=(35, 4)), rng.uniform(0.2, 1, size=(35, 1))
        one, other = (
            studentised(v, weights, np.array([0]), strata=strata, rows=rows).t
            for v in (values, shift + scale * values)
        )

        np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_exact(self):
        """With exchangeable days the p-value of a cell is uniform, whatever its distribution.

        Heavy-tailed days, 1,000 draws: P(p <= 0.05) is 0.05 with a standard error of 0.007.
        """
        rng = np.random.default_rng(4)
        current, strata = site(14, 7)
        rows = splits(current, strata, n=200, rng=rng)
        p = []
        for _ in range(1000):
            values = rng.standard_t(2, size=(21, 5)) + rng.standard_t(2, size=(21, 1))
            t = studentised(values, np.ones((21, 1)), np.array([0]), strata=strata, rows=rows).t
            p.append(unadjusted(t, t[0])[0])
        p = np.array(p)

        assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.021)
        assert p.mean() == pytest.approx(0.5, abs=0.03)

    def test_no_scatter(self):
        """Columns without any difference give 0; a shift without any scatter a large number."""
        current, strata = site()
        values = np.column_stack([np.full(35, 0.3), current.astype(float)])
        scores = studentised(
            values, np.ones((35, 1)), np.array([0]), strata=strata, rows=current[None]
        )

        assert scores.t_column[0] == 0
        assert 1e4 < scores.t[0, 0] < np.inf

    def test_shapes(self):
        """Arrays that do not fit are refused."""
        current, strata = site()
        with pytest.raises(InputError, match="do not fit"):
            studentised(
                np.ones((35, 2)), np.ones((34, 1)), np.array([0]), strata=strata, rows=current[None]
            )


class TestAdjusted:
    def test_one_group(self):
        """With one group the first step is Westfall and Young's single-step maxT."""
        rng = np.random.default_rng(5)
        t = np.abs(rng.normal(size=(400, 8)))
        expected = (t.max(axis=1)[:, None] >= t[0]).mean(axis=0)
        found = weighted_max_t(t, t[0], np.zeros(8, dtype=int), np.ones(1), alpha=1e-9)

        np.testing.assert_allclose(found, np.maximum(expected, 1 / 400))

    def test_family_wise(self):
        """Under the null, some cell of two unequal groups falls at 0.05 in 5 % of families.

        2,000 draws: standard error 0.005.
        """
        rng = np.random.default_rng(6)
        groups, shares = np.repeat([0, 1], [3, 40]), np.array([0.6, 0.4])
        common = rng.normal(size=(2000, 99 + 1, 1))
        hits = 0
        for c in common:
            t = np.abs(rng.normal(size=(100, 43)) + c)
            hits += weighted_max_t(t, t[0], groups, shares, alpha=0.05).min() <= 0.05

        assert hits / 2000 == pytest.approx(0.05, abs=0.015)

    def test_many_cameras_do_not_dilute(self):
        """A cell of the small group needs the same evidence beside ten cells or a thousand."""
        rng = np.random.default_rng(7)
        small = np.abs(rng.normal(size=(1000, 2)))
        small[0] = 3.3
        p = []
        for n in (10, 1000):
            t = np.concatenate([small, np.abs(rng.normal(size=(1000, n)))], axis=1)
            groups = np.repeat([0, 1], [2, n])
            p.append(weighted_max_t(t, t[0], groups, np.array([0.5, 0.5]), alpha=0.01)[0])

        assert p[1] == pytest.approx(p[0], abs=0.003)

    def test_step_down(self):
        """Once a cell has fallen, the others are judged without it, and never better than it."""
        rng = np.random.default_rng(8)
        t = np.abs(rng.normal(size=(1000, 3)))
        t[:, 0] *= 3
        t[0] = [30.0, 3.2, 0.1]
        one = weighted_max_t(t, t[0], np.zeros(3, dtype=int), np.ones(1), alpha=1e-9)
        stepped = weighted_max_t(t, t[0], np.zeros(3, dtype=int), np.ones(1), alpha=0.01)

        assert stepped[1] < 0.01 < one[1]
        assert stepped[0] <= stepped[1] <= stepped[2]

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    @settings(max_examples=100)
    def test_holm(self, p):
        """Adjusted p-values keep the order, are no smaller, and never above Bonferroni's."""
        raw, adjusted = np.array(p), holm(p)

        assert (adjusted >= raw - 1e-15).all()
        assert (adjusted <= np.minimum(raw * len(raw), 1) + 1e-12).all()
        assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= -1e-15).all()

    def test_discovery(self):
        """Benjamini and Hochberg's adjustment is scipy's."""
        from scipy.stats import false_discovery_control

        p = [0.001, 0.2, 0.03, 0.04, 0.9]

        np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))

    @pytest.mark.parametrize("bad", [[-0.1], [1.5], [[0.1]], [float("nan")]])
    def test_refused(self, bad):
        """What is no p-value is refused."""
        with pytest.raises(InputError):
            holm(bad)
