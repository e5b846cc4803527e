"""Days are relabelled: the test is least squares, exact, and blind to a constant."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline._stats.multiplicity import (
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

    def test_only_as_many_as_asked(self):
        """All 210 relabellings where 210 are asked for; where 209 are, a sample of that size."""
        current, strata = site(4, 6)[0], np.zeros(10, dtype=int)
        assert count_splits(current, strata) == 210

        every = splits(current, strata, n=210, rng=np.random.default_rng(0))
        some = splits(current, strata, n=209, rng=np.random.default_rng(0))

        assert (210, 210) == (len(every), len(np.unique(every, axis=0)))
        assert len(some) == 209 > len(np.unique(some, axis=0))
        assert (some[0] == current).all()

    def test_every_block_is_drawn_alike(self):
        """A random relabelling takes 5 of 25 weekdays: each in a fifth of 4,000, give or take."""
        current, strata = site()
        rows = splits(current, strata, n=4000, rng=np.random.default_rng(9))
        share = rows[:, strata == WEEKDAY].mean(axis=0)

        np.testing.assert_allclose(share, 0.2, atol=0.026)  # 4 standard errors of 0.0063

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
        """Adding a constant or changing a unit, of values or weights, changes no statistic."""
        rng = np.random.default_rng(3)
        current, strata = site()
        rows = splits(current, strata, n=40, rng=rng)
        values, weights = rng.normal(size=(35, 4)), rng.uniform(0.2, 1, size=(35, 1))
        one, other = (
            studentised(v, w, np.array([0]), strata=strata, rows=rows).t
            for v, w in ((values, weights), (shift + scale * values, weights / 1000))
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

    def test_rows_do_not_meet(self):
        """Six hundred relabellings at once give what each gives alone."""
        rng = np.random.default_rng(10)
        current, strata = site()
        rows = splits(current, strata, n=600, rng=rng)
        values, weights = rng.normal(size=(35, 3)), rng.uniform(0.2, 1, size=(35, 2))
        starts = np.array([0, 2])
        together = studentised(values, weights, starts, strata=strata, rows=rows)

        for i in (0, 1, 255, 256, 511, 512, 599):
            alone = studentised(values, weights, starts, strata=strata, rows=rows[i : i + 1])
            np.testing.assert_allclose(together.t[i], alone.t[0])
        assert together.t.shape == (600, 2)

    def test_one_sided_stratum(self):
        """A stratum that only one side has says nothing of the difference, only of the scatter."""
        rng = np.random.default_rng(11)
        current = np.array([False] * 8 + [True] * 4)
        strata = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0])
        values = rng.normal(size=(12, 1))
        scores = studentised(
            values, np.ones((12, 1)), np.array([0]), strata=strata, rows=current[None]
        )
        slope, error = least_squares(values[:, 0], np.ones(12), strata, current)

        assert scores.t_column[0] == pytest.approx(slope / error)

    def test_nothing_to_compare(self):
        """A cell without weight, or with weight on one side only, has a t of 0."""
        rng = np.random.default_rng(12)
        current, strata = site()
        weights = np.column_stack([np.zeros(35), ~current]).astype(float)
        scores = studentised(
            rng.normal(size=(35, 2)), weights, np.array([0, 1]), strata=strata, rows=current[None]
        )

        assert [0.0, 0.0] == scores.t[0].tolist() == scores.t_column.tolist()

    def test_few_blocks(self):
        """With three blocks and two groups one degree of freedom is left, and never none."""
        current, strata = np.array([False, False, True]), np.zeros(3, dtype=int)
        for weights, t in (([1.0, 1.0, 1.0], 3 / math.sqrt(3)), ([1.0, 0.0, 1.0], math.inf)):
            scores = studentised(
                np.array([[0.0], [2.0], [4.0]]),
                np.array(weights)[:, None],
                np.array([0]),
                strata=strata,
                rows=current[None],
            )
            # 4 - 1 over sqrt(2 (1 + 1 / 2)); of two blocks, a shift without any scatter
            assert (
                scores.t_column[0] == pytest.approx(t)
                if t < math.inf
                else (1e4 < scores.t_column[0] < math.inf)
            )

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

    def test_by_definition(self):
        """Two groups: the smallest p over share, against its law over the same relabellings."""
        rng = np.random.default_rng(13)
        t = np.abs(rng.normal(size=(60, 5)))
        groups, shares = np.array([0, 1, 0, 1, 1]), np.array([0.3, 0.7])

        def p_within(row, g, value):
            tops = [max(r[j] for j in range(5) if groups[j] == g) for r in t]
            return sum(top >= value for top in tops) / len(t) / shares[g]

        smallest = [min(p_within(r, groups[j], r[j]) for j in range(5)) for r in t]
        expected = [
            sum(s <= p_within(t[0], groups[j], t[0, j]) + 1e-12 for s in smallest) / len(t)
            for j in range(5)
        ]

        np.testing.assert_allclose(weighted_max_t(t, t[0], groups, shares, alpha=1e-9), expected)

    def test_rounding_is_a_tie(self):
        """A relabelling that differs in the last bits counts as equal, here and in the family."""
        t = np.array([[3.0], [3.0 * (1 - 1e-12)], [3.0 * (1 + 1e-12)], [2.9]])
        one = np.zeros(1, dtype=int)

        assert [0.75] == unadjusted(t, t[0]).tolist()
        assert [0.75] == weighted_max_t(t, t[0], one, np.ones(1), alpha=1e-9).tolist()

    def test_alone(self):
        """The share of relabellings at least as large, cell by cell; a deflated truth is held lower."""
        t = np.array([[3.0, 1.0], [4.0, 0.5], [2.0, 2.0], [1.0, 3.0]])

        assert [0.5, 0.75] == unadjusted(t, t[0]).tolist()
        assert [0.75, 1.0] == unadjusted(t, t[0] / 2).tolist()
        assert [1.0] == unadjusted(np.zeros((4, 1)), np.zeros(1)).tolist()

    def test_set_aside(self):
        """What has fallen at `alpha` leaves the family: the rest are judged as if alone.

        A p-value of exactly `alpha` falls.
        """
        t = np.array([[9.0, 2.0], *[[5.0, 1.0]] * 18, [5.0, 3.0]])  # 20 rows
        groups, shares = np.zeros(2, dtype=int), np.ones(1)

        assert [0.05, 1.0] == weighted_max_t(t, t[0], groups, shares, alpha=0.049).tolist()
        assert [0.05, 0.1] == weighted_max_t(t, t[0], groups, shares, alpha=0.05).tolist()

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
    @settings(max_examples=100, deadline=None)
    def test_holm(self, p):
        """Adjusted p-values keep the order, are no smaller, and never above Bonferroni's."""
        raw, adjusted = np.array(p), holm(p)

        assert (adjusted >= raw - 1e-15).all()
        assert (adjusted <= np.minimum(raw * len(raw), 1) + 1e-12).all()
        assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= -1e-15).all()

    @given(st.lists(st.sampled_from([0.0, 0.004, 0.01, 0.02, 0.3, 1.0]), min_size=1, max_size=6))
    @settings(max_examples=100, deadline=None)
    def test_holm_is_closed_bonferroni(self, p):
        """A hypothesis falls where Bonferroni rejects every set that holds it (Marcus 1976)."""
        cells = range(len(p))
        sets = [s for k in cells for s in combinations(cells, k + 1)]
        expected = [
            max(min(1.0, len(s) * min(p[i] for i in s)) for s in sets if cell in s)
            for cell in cells
        ]

        np.testing.assert_allclose(holm(p), expected)

    @pytest.mark.parametrize("bad", [[-0.1], [1.5], [[0.1]], [float("nan")]])
    def test_refused(self, bad):
        """What is no p-value is refused, and shown."""
        with pytest.raises(InputError, match=r"one row of numbers in \[0, 1\], got array"):
            holm(bad)
