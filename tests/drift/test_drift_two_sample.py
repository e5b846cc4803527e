"""Distances on counts: exact where they can be, with a certified bound where they cannot."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from attrs import asdict
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from scipy.spatial import distance

from driftline._stats.two_sample import (
    chi_square,
    grouped,
    jensen_shannon,
    kolmogorov_sf,
    ks_of_rows,
    ks_p_value,
    population_stability,
    quantile_groups,
    standard_deviations,
    wasserstein_of_rows,
)
from driftline.drift import ks_2samp
from driftline.errors import InputError
from driftline.profiles import AREA, CONFIDENCE

values = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)


def largest_distance(a, b):
    """The KS distance of raw values, by its definition."""
    x = np.concatenate([a, b])
    f, g = (np.searchsorted(np.sort(v), x, side="right") / len(v) for v in (a, b))
    return np.abs(f - g).max()


def histogram(feature, x):
    return np.bincount(feature.bin(x), minlength=feature.n_bins)


def table(counts):
    """A table of one row."""
    return np.array([counts], dtype=float)


def ks_of(a, b):
    """The statistics of one pair."""
    rows = ks_of_rows(table(a), table(b))
    return SimpleNamespace(**{name: value[0] for name, value in asdict(rows).items()})


def wasserstein(a, b, positions):
    """The distance of one pair, and its bound."""
    (distance,), (bound,) = wasserstein_of_rows(table(a), table(b), positions)
    return distance, bound


class TestKolmogorov:
    def test_tail(self):
        """The survival function is scipy's to 1e-13, on both series and across the switch."""
        x = np.concatenate([np.linspace(0, 6, 3001), [1.18, np.nextafter(1.18, 2)]])

        np.testing.assert_allclose(kolmogorov_sf(x), special.kolmogorov(x), atol=1e-13)

    @pytest.mark.parametrize(("n", "m"), [(60, 90), (200, 200), (1160, 5000), (10**5, 10**6)])
    def test_p_value(self, n, m):
        """p-values are within 5 % of scipy's asymptotic ones down to 0.001."""
        size = n * m / (n + m)
        d = np.linspace(0.6, 1.95, 40) / np.sqrt(size)
        expected = stats.kstwo.sf(d, np.round(size))

        np.testing.assert_allclose(ks_p_value(d, n, m), expected, rtol=0.05)


class TestKS:
    @given(values, values)
    @settings(max_examples=200, deadline=None)
    def test_certified(self, a, b):
        """The KS distance of the raw values lies between the statistic and `high`."""
        ks = ks_of(histogram(CONFIDENCE, a), histogram(CONFIDENCE, b))
        raw = largest_distance(a, b)

        assert ks.statistic - 1e-12 <= raw <= ks.high + 1e-12

    @given(values, values)
    @settings(max_examples=100, deadline=None)
    def test_width(self, a, b):
        """The certified interval is no wider than the fullest bin of either side."""
        ha, hb = histogram(CONFIDENCE, a), histogram(CONFIDENCE, b)
        ks = ks_of(ha, hb)

        assert ks.high - ks.statistic <= max(ha.max() / len(a), hb.max() / len(b)) + 1e-12

    def test_against_raw(self):
        """On 1,000 bins of confidence, statistic and p-value are those of raw scores."""
        rng = np.random.default_rng(0)
        a = 0.25 + 0.75 * rng.beta(3, 1.6, 20_000)
        b = 0.25 + 0.75 * rng.beta(2.9, 1.65, 30_000)
        ks = ks_of(histogram(CONFIDENCE, a), histogram(CONFIDENCE, b))
        raw = stats.ks_2samp(a, b)

        assert ks.statistic == pytest.approx(raw.statistic, abs=ks.high - ks.statistic)
        assert ks.high - ks.statistic < 0.003
        assert ks_p_value(ks.high, len(a), len(b)) <= raw.pvalue * 1.05
        assert raw.pvalue <= ks.p_value * 1.05

    def test_sign(self):
        """Lower confidences make the signed distance positive, at the edge they fell below."""
        ks = ks_of([0, 0, 10, 10], [10, 10, 0, 0])

        assert (ks.signed, ks.edge) == (1.0, 1)

    def test_by_hand(self):
        """Shares of 0.5, 1, 1 against 0.2, 0.5, 1: every field."""
        ks = ks_of([50, 50, 0], [40, 60, 100])

        assert (0.5, -0.5, 1) == (ks.statistic, ks.signed, ks.edge)
        assert ks.high == pytest.approx(0.8)  # all the reference's second bin, none of the week's
        assert ks.p_value == float(ks_p_value(0.5, 100, 200))

    def test_either_side_may_hide_more(self):
        """The upper end is the larger of both ways round, so that swapping the sides keeps it."""
        a, b = [50, 50, 0], [40, 60, 100]

        assert ks_of(a, b).high == ks_of(b, a).high
        assert ks_of(a, b).signed == -ks_of(b, a).signed

    def test_rows(self):
        """A table of pairs gives what each pair gives alone."""
        rng = np.random.default_rng(5)
        a, b = rng.integers(1, 40, (2, 7, 12)).astype(float)
        rows = ks_of_rows(a, b)

        for i in range(7):
            one = ks_of(a[i], b[i])
            assert (one.statistic, one.high, one.signed, one.edge, one.p_value) == (
                rows.statistic[i],
                rows.high[i],
                rows.signed[i],
                rows.edge[i],
                rows.p_value[i],
            )

    def test_one_bin(self):
        """A single bin holds no distance at its edges, and might hide any."""
        ks = ks_of([5], [7])

        assert (ks.statistic, ks.high) == (0.0, 1.0)


@pytest.mark.parametrize("compare", [population_stability, jensen_shannon, chi_square])
class TestRefused:
    @pytest.mark.parametrize(
        ("a", "b"), [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([1], [1, 1]), ([-1, 2], [1, 1])]
    )
    def test_what(self, compare, a, b):
        """Empty sides, other shapes and negative counts are refused, and said."""
        says = "have no common bins" if len(a) != len(b) else "histogram must hold counts"
        with pytest.raises(InputError, match=says):
            compare(a, b)

    @pytest.mark.parametrize(
        ("a", "b", "side"), [([0, 0], [1, 1], "reference"), ([1, 1], [2, -1], "current")]
    )
    def test_side(self, compare, a, b, side):
        """The side that cannot be compared is named; a table is no histogram."""
        with pytest.raises(InputError, match=f"the {side} histogram"):
            compare(a, b)
        with pytest.raises(InputError, match="no common bins"):
            compare([[1, 2]], [[1, 2]])


class TestRaw:
    def test_same_as_scipy(self):
        """Statistic and p-value are scipy's, to the bit."""
        rng = np.random.default_rng(1)
        a, b = rng.normal(size=500), rng.normal(0.2, 1, size=700)
        mine, its = ks_2samp(a, b), stats.ks_2samp(a, b)

        assert (its.statistic, its.pvalue) == (mine.statistic, mine.p_value)
        assert mine.direction == "higher"
        assert (mine.n_reference, mine.n_current) == (500, 700)

    def test_direction(self):
        """Values that fell are called lower."""
        assert ks_2samp([3, 4, 5], [1, 2, 3]).direction == "lower"
        assert ks_2samp([1, 2], [1, 2]).direction == ""

    @pytest.mark.parametrize("bad", [[], [float("nan")], [float("inf"), 1.0]])
    def test_refused(self, bad):
        """An empty side, nan and infinity are refused by name."""
        with pytest.raises(InputError, match="current"):
            ks_2samp([1.0], bad)


class TestWasserstein:
    @given(st.lists(st.floats(-12, -1), min_size=2, max_size=50),
           st.lists(st.floats(-12, -1), min_size=2, max_size=50))  # fmt: skip
    @settings(max_examples=100, deadline=None)
    def test_bound(self, a, b):
        """The distance of the raw values is within the stated bound of the binned one."""
        found, bound = wasserstein(histogram(AREA, a), histogram(AREA, b), AREA.centers)

        assert found == pytest.approx(stats.wasserstein_distance(a, b), abs=bound + 1e-9)
        assert bound <= 1 / 32 + 1e-9

    @given(st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any),
           st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any))  # fmt: skip
    @settings(deadline=None)
    def test_of_positions(self, a, b):
        """The distance is scipy's for values at the bins' middles, however unevenly they lie."""
        positions = np.array([-3.0, -1.0, 0.0, 0.5, 4.0])
        found, _ = wasserstein(a, b, positions)

        assert found == pytest.approx(
            stats.wasserstein_distance(positions, positions, a, b), abs=1e-12
        )

    def test_bound_is_half_a_width_a_side(self):
        """Widths of 2, 1 and 1: the mean width where the reference is and where the week is."""
        positions = np.array([0.0, 2.0, 3.0])
        _, bound = wasserstein([3, 1, 0], [0, 1, 1], positions)

        assert bound == pytest.approx(((3 * 2 + 1 * 1) / 4 + (1 + 1) / 2) / 2)
        assert (0.0, 0.0) == wasserstein([3], [4], np.array([1.0]))

    def test_rows(self):
        """A table of pairs gives what each pair gives alone; so do the deviations."""
        rng = np.random.default_rng(6)
        a, b = rng.integers(1, 40, (2, 7, 12)).astype(float)
        positions = np.cumsum(rng.random(12))
        distances, bounds = wasserstein_of_rows(a, b, positions)

        for i in range(7):
            assert wasserstein(a[i], b[i], positions) == pytest.approx((distances[i], bounds[i]))
        expected = [standard_deviations(table(row), positions)[0] for row in a]
        assert expected == pytest.approx(standard_deviations(a, positions).tolist())

    def test_spread(self):
        """The standard deviation is that of the values at the bins' middles."""
        x = np.array([1.0, 2.0, 4.0])

        some, none = standard_deviations(np.array([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0]]), x)
        assert some == pytest.approx(np.std([1, 2, 2, 4]))
        assert np.isnan(none)


class TestChance:
    def test_same_distribution(self):
        """Two samples of one distribution give what `chance` says, within Monte Carlo error."""
        rng = np.random.default_rng(2)
        p = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
        pairs = [(rng.multinomial(500, p), rng.multinomial(800, p)) for _ in range(400)]
        psi = np.array([population_stability(a, b)[0] for a, b in pairs])
        js = np.array([jensen_shannon(a, b)[0] ** 2 for a, b in pairs])
        psi_chance, js_chance = population_stability(*pairs[0])[1], jensen_shannon(*pairs[0])[1]

        # 400 draws of a scaled chi-square with 4 degrees: standard error 3.5 % of the mean
        assert psi.mean() == pytest.approx(psi_chance, rel=0.11)
        assert js.mean() == pytest.approx(js_chance**2, rel=0.11)

    def test_index_is_jeffreys_divergence(self):
        """Both relative entropies of the smoothed shares together, whatever the prior."""
        a, b = np.array([50, 30, 20]), np.array([20, 20, 160])
        for prior in (0.5, 2.0):
            index, chance = population_stability(a, b, prior=prior)
            expected = stats.entropy(a + prior, b + prior) + stats.entropy(b + prior, a + prior)

            assert (index, chance) == pytest.approx((expected, 2 * (1 / 100 + 1 / 200)))
        assert population_stability(a, b) == population_stability(a, b, prior=0.5)

    def test_empty_bins(self):
        """A bin that is empty on one side is rare, not infinite."""
        index, _ = population_stability([100, 100, 0], [100, 100, 1])

        assert index < 0.02

    def test_jensen_shannon(self):
        """The distance is scipy's, base 2; disjoint histograms are at distance 1."""
        a, b = np.array([5, 3, 2]), np.array([1, 1, 8])

        assert jensen_shannon(a, b)[0] == pytest.approx(distance.jensenshannon(a, b, 2))
        assert jensen_shannon([1, 0], [0, 1])[0] == pytest.approx(1.0)
        assert jensen_shannon([7, 9], [7, 9])[0] == 0.0
        assert jensen_shannon([3, 0, 9], [5, 0, 2])[0] == pytest.approx(
            distance.jensenshannon([3, 9], [5, 2], 2)
        )


class TestChiSquare:
    def test_against_scipy(self):
        """Statistic and p-value are those of scipy's contingency test."""
        a, b = [40, 30, 20], [60, 20, 40]
        statistic, p_value, v = chi_square(a, b)
        expected = stats.chi2_contingency([a, b], correction=False)

        assert (statistic, p_value) == pytest.approx((expected.statistic, expected.pvalue))
        assert v == pytest.approx(np.sqrt(expected.statistic / 210))

    def test_absent_class(self):
        """A class that neither side has seen changes nothing; a single class cannot differ."""
        assert chi_square([4, 0, 6], [5, 0, 5]) == chi_square([4, 6], [5, 5])
        assert chi_square([4], [9])[1] == 1.0


class TestGroups:
    def test_deciles(self):
        """Ten groups of about a tenth of the reference each."""
        rng = np.random.default_rng(3)
        counts = histogram(CONFIDENCE, rng.beta(3, 2, 50_000))
        shares = grouped(counts, quantile_groups(counts)) / counts.sum()

        assert len(shares) == 10
        np.testing.assert_allclose(shares, 0.1, atol=0.01)

    def test_by_hand(self):
        """Two halves: a bin goes where its middle lies, an empty one with the filled bin below.

        The empty first bin has none below and goes with the first that is filled.
        """
        groups = quantile_groups([0, 3, 0, 2, 5, 0], n_groups=2)

        assert [0, 0, 0, 0, 1, 1] == groups.tolist()
        assert [5, 5] == grouped([0, 3, 0, 2, 5, 0], groups).tolist()

    def test_few_values(self):
        """Groups are never empty in the reference, even with few distinct values."""
        counts = np.array([0, 900, 0, 50, 50, 0])

        assert (grouped(counts, quantile_groups(counts)) > 0).all()


def raw_sides(name):
    """Two sides of more than ten thousand values, apart in one way."""
    rng = np.random.default_rng(4)
    n = 20_000
    score = 0.25 + 0.75 * rng.beta(3.0, 1.6, n)
    return {
        "shifted": (score, 0.25 + 0.75 * rng.beta(2.9, 1.65, n // 2)),
        "calm": (score, 0.25 + 0.75 * rng.beta(3.0, 1.6, n + 7)),
        "rounded": (score.round(2), (score[:12_000] - 0.01).round(2)),
        "few values": (rng.integers(0, 5, n).astype(float), rng.integers(0, 5, n).astype(float)),
        "all alike": (np.ones(n), np.ones(n)),
        "apart": (score, score + 2.0),
        "apart, lower": (score + 2.0, score),
        "far outlier": (np.append(score, 1e300), rng.random(n)),
        "no finite span": (np.append(score, [1.7e308, -1.7e308]), rng.random(n)),
        "hardly any span": (5e-324 * rng.integers(0, 3, n), 5e-324 * rng.integers(0, 4, n)),
        "float32": (score.astype(np.float32), rng.beta(3.0, 1.7, n).astype(np.float32)),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["shifted", "calm", "rounded", "few values", "all alike", "apart", "apart, lower",
     "far outlier", "no finite span", "hardly any span", "float32"],
)  # fmt: skip
def test_raw_values_give_scipys_numbers(name):
    """Statistic, p-value and place are scipy's, though few values are sorted.

    To the last bit with scipy 1.17; others subtract in another order, which moves the statistic
    by some 1e-16 and the p-value by that times n.
    """
    a, b = raw_sides(name)
    expected, found = stats.ks_2samp(a, b), ks_2samp(a, b)

    assert found.statistic == pytest.approx(expected.statistic, rel=1e-13)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.at == expected.statistic_location
    if expected.statistic:
        assert found.direction == ("higher" if expected.statistic_sign > 0 else "lower")
