"""The plain statistics under the accuracy, against scipy, closed forms and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftline._stats.bootstrap import group_index
from driftline._stats.calibration import expected_calibration_error, isotonic, shrunken_isotonic
from driftline._stats.intervals import (
    Estimate,
    Interval,
    bias_corrected,
    normal_cdf,
    normal_quantile,
    t_quantile,
)
from driftline._stats.trend import (
    excess_scatter,
    falling_run,
    mann_kendall,
    recent_difference,
    theil_sen,
    union_test,
    weighted_slope,
)
from driftline.errors import InputError


def test_quantiles():
    """Those of scipy.stats, without importing it."""
    assert normal_quantile(0.95) == pytest.approx(stats.norm.ppf(0.975), abs=1e-12)
    assert t_quantile(0.9, 7) == pytest.approx(stats.t.ppf(0.95, 7), abs=1e-10)
    for z in (-9.0, -2.0, 0.0, 3.0):
        assert normal_cdf(z) == pytest.approx(stats.norm.cdf(z), rel=1e-12)


def test_bias_is_read_from_the_shift():
    """A bias c / n ** a doubles its ** a on half the units: the formula returns c / n ** a."""
    for order, c in ((1.0, 0.3), (2 / 3, -0.2)):
        n = 100
        value = 0.5 + c / n**order
        half = 0.5 + c / (n / 2) ** order
        replicates = half + np.array([-0.01, 0.01])

        estimate = bias_corrected(value, replicates, units=n, bias_order=order)

        assert estimate.corrected == pytest.approx(0.5, abs=1e-12)
        assert estimate.interval == pytest.approx(
            (
                0.5 - t_quantile(0.95, 99) * replicates.std(ddof=1),
                0.5 + t_quantile(0.95, 99) * replicates.std(ddof=1),
            )
        )


def test_no_spread_is_no_certainty():
    """If all resamples agree, the rule of three stands in: 3 / n."""
    estimate = bias_corrected(1.0, np.ones(50), units=60, bounds=(0.0, 1.0), reason="so far")

    assert estimate.interval == pytest.approx((0.95, 1.0), abs=2e-3)
    assert estimate.reason.startswith("so far; every resample gives the same value")


def test_unknown_replicates_are_left_out():
    """Where a resample lacks the class it says nothing; with none left there is no interval."""
    some = bias_corrected(0.5, np.array([0.4, np.nan, 0.6]), units=10)
    none = bias_corrected(0.5, np.array([np.nan, np.nan]), units=10)

    assert some.bias == pytest.approx(0.0)
    assert none.interval is None


def test_estimates_speak():
    """Value, interval, reason."""
    known = Estimate(value=0.5, interval=Interval(0.4, 0.6), reason="rough")

    assert str(known) == "0.500 (95 % 0.400 to 0.600); rough"
    assert str(Estimate(value=None, reason="no labels")) == "unknown (no labels)"
    assert Estimate(value=None).corrected is None
    assert known.interval.excludes(0.7)
    assert not known.interval.excludes(0.5)


def test_groups_by_first_sight():
    """Numbers are handed out in order."""
    assert group_index(["x", "y", "x", "z"]).tolist() == [0, 1, 0, 2]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=12),
)
def test_isotonic_is_the_min_max_formula(pairs):
    """Isotonic regression is max over starts of min over ends of the means between."""
    values = np.array([pair[0] for pair in pairs])
    weights = np.array([pair[1] for pair in pairs], dtype=float)

    fitted = isotonic(values, weights)

    assert np.all(np.diff(fitted) >= -1e-12)
    for i in np.flatnonzero(weights > 0):
        best = max(
            min(
                np.average(values[a : b + 1], weights=weights[a : b + 1])
                for b in range(i, len(values))
                if weights[a : b + 1].sum() > 0
            )
            for a in range(i + 1)
            if weights[a : i + 1].sum() > 0
        )
        assert fitted[i] == pytest.approx(best, abs=1e-9)


def test_isotonic_of_nothing():
    """Without weight there is nothing to fit."""
    assert isotonic(np.array([0.3, 0.2]), np.zeros(2)).tolist() == [0.0, 0.0]


def test_a_small_stratum_leans_on_the_pool():
    """Few detections hardly move the pooled curve, many replace it."""
    pool = np.array([0.2, 0.5, 0.8])

    few = shrunken_isotonic(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]), pool)
    many = shrunken_isotonic(np.array([0, 0, 900.0]), np.full(3, 1000.0), pool)

    assert few == pytest.approx([0.2, 2.5 / 6, 5.0 / 6])
    assert many == pytest.approx([0.001, 0.0025, 0.9], abs=2e-3)


def test_calibration_error_of_nothing():
    """No detections: not a number, not zero."""
    assert np.isnan(expected_calibration_error(np.zeros(2), np.zeros(2), np.zeros(2)))


def test_slope_is_weighted_least_squares():
    """That of a textbook normal equation."""
    rng = np.random.default_rng(1)
    times, values = np.sort(rng.random(9)) * 10, rng.normal(size=9)
    errors = rng.uniform(0.5, 2, 9)
    design = np.stack([np.ones(9), times], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    expected = covariance @ design.T @ (values / errors)

    slope, error = weighted_slope(times, values, errors)

    assert slope == pytest.approx(expected[1])
    assert error == pytest.approx(np.sqrt(covariance[1, 1]))
    with pytest.raises(InputError, match="two different times"):
        weighted_slope(np.ones(3), values[:3], errors[:3])


def test_recent_difference_splits_short_histories():
    """Five weeks: two against three; ten: the first four against the last four."""
    five = recent_difference(np.array([2.0, 2, 1, 1, 1]), np.ones(5))
    ten = recent_difference(np.array([1.0] * 4 + [9, 9] + [3.0] * 4), np.ones(10))

    assert five.slope == -1.0
    assert five.standard_error == pytest.approx(np.sqrt(1 / 2 + 1 / 3))
    assert ten.slope == 2.0
    assert ten.standard_error == pytest.approx(np.sqrt(1 / 2))
    with pytest.raises(InputError, match="cannot be split"):
        recent_difference(np.ones(1), np.ones(1))


def test_both_statistics_are_standard_normal():
    """Without a change each has mean 0 and spread 1."""
    rng = np.random.default_rng(2)
    found = np.array(
        [union_test(np.arange(11.0), rng.normal(0, 0.3, 11), np.full(11, 0.3)) for _ in range(2000)]
    )

    assert found.mean(axis=0) == pytest.approx([0, 0], abs=0.07)  # 3 / sqrt(2000)
    assert found.std(axis=0) == pytest.approx([1, 1], abs=0.05)


def test_scatter_is_one_unless_evident():
    """Plain noise gives 1 nearly always; noise of three times the stated error does not."""
    rng = np.random.default_rng(3)
    plain = [excess_scatter(rng.normal(0, 1, 20), np.ones(20)) for _ in range(400)]
    wild = [excess_scatter(rng.normal(0, 3, 20), np.ones(20)) for _ in range(400)]

    assert np.mean(np.array(plain) > 1) < 0.15  # 10 % by design, Monte-Carlo error 3 %
    assert np.median(wild) > 2


def test_a_jump_is_no_scatter():
    """One step, however large, hardly widens the errors: it is what a trend looks for."""
    assert excess_scatter(np.array([0.0] * 8 + [50.0] * 8), np.ones(16)) == 1.0


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=9, unique=True))
def test_mann_kendall_is_kendalls_tau(values):
    """Exact p-values of scipy's Kendall test, one-sided."""
    expected = stats.kendalltau(np.arange(len(values)), values, alternative="less", method="exact")

    ours = mann_kendall(np.array(values, dtype=float))

    assert ours.p_falling == pytest.approx(expected.pvalue, abs=1e-9)


def test_mann_kendall_with_ties_is_normal():
    """With ties the continuity-corrected normal law; all equal say nothing."""
    falling = mann_kendall(np.array([3.0, 3, 2, 2, 1, 1, 0, 0]))

    assert falling.s == -24
    assert falling.p_falling == pytest.approx(
        stats.norm.cdf(-23 / np.sqrt((8 * 7 * 21 - 4 * 2 * 1 * 9) / 18))
    )
    assert mann_kendall(np.ones(5)).p_falling == 0.5


def test_theil_sen():
    """That of scipy."""
    rng = np.random.default_rng(4)
    times, values = np.arange(12.0), rng.normal(size=12)

    assert theil_sen(times, values) == pytest.approx(stats.theilslopes(values, times).slope)


@pytest.mark.parametrize(
    ("values", "run"),
    [([], 0), ([1], 0), ([2, 1], 1), ([3, 2, 1], 2), ([1, 2, 1], 1), ([3, 2, 2], 0), ([1, 2], 0)],
)
def test_falling_run(values, run):
    """How often in a row it fell, up to now."""
    assert falling_run(np.array(values, dtype=float)) == run
