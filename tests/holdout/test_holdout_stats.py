"""The plain statistics under the accuracy, against scipy, closed forms and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftline._stats.bootstrap import generator, group_index
from driftline._stats.calibration import expected_calibration_error, isotonic, shrunken_isotonic
from driftline._stats.intervals import (
    Estimate,
    Interval,
    bias_corrected,
    normal_cdf,
    normal_quantile,
    rule_of_three,
    t_quantile,
)
from driftline._stats.prediction_powered import prediction_powered_ratio
from driftline._stats.trend import (
    compared,
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


@pytest.mark.parametrize("level", [-0.1, 0.0, 1.0, 1.5])
def test_levels_lie_between_0_and_1(level):
    """A level that is no probability is named; both ends would be no interval at all."""
    for quantile in (normal_quantile, lambda level: t_quantile(level, 5)):
        with pytest.raises(InputError, match=f"level={level} must be between 0 and 1"):
            quantile(level)


def test_rule_of_three_is_the_exact_bound():
    """1.96 such errors are what n units without an event leave possible at 95 %: 1 - 0.05^(1/n)."""
    for n in (100, 1000):
        exact = stats.beta.ppf(0.95, 1, n)  # Clopper and Pearson for 0 of n
        assert rule_of_three(n) * stats.norm.ppf(0.975) == pytest.approx(exact, rel=0.02)


def test_ends_belong_to_an_interval():
    """What lies on an end is not excluded; what lies beyond either is."""
    interval = Interval(0.4, 0.6)

    assert [True, False, False, True] == [interval.excludes(x) for x in (0.39, 0.4, 0.6, 0.61)]


@pytest.mark.parametrize(
    ("units", "replicates", "known"),
    [(2, [0.4, 0.6], True), (1, [0.4, 0.6], False), (9, [0.4, np.nan], False)],
)
def test_a_spread_needs_two(units, replicates, known):
    """Two units and two known resamples give an interval; one of either only the value."""
    estimate = bias_corrected(
        0.5, np.array(replicates), units=units, level=0.9, bounds=(0.0, 1.0), reason="few labels"
    )

    assert (0.5, 0.9) == (estimate.value, estimate.level)
    assert known is (estimate.interval is not None)
    if known:
        assert estimate.standard_error == pytest.approx(np.std(replicates, ddof=1))
        assert "few labels" == estimate.reason
        assert (0.0, 1.0) == estimate.interval  # t with one degree of freedom is wide: cut
    else:
        assert f"few labels; no interval: {units} independent unit(s)" in estimate.reason


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

    assert (some.bias, some.reason) == (pytest.approx(0.0), "")
    assert none.interval is None


def test_estimates_speak():
    """Value, interval, reason."""
    known = Estimate(value=0.5, interval=Interval(0.4, 0.6), reason="rough")

    assert str(known) == "0.500 (95 % 0.400 to 0.600); rough"
    assert str(Estimate(value=0.5)) == "0.500"
    assert str(Estimate(value=None, reason="no labels")) == "unknown (no labels)"
    assert Estimate(value=None).corrected is None
    assert known.interval.excludes(0.7)
    assert not known.interval.excludes(0.5)


def test_a_generator_is_used_as_it_is():
    """A generator goes on where it was; a seed begins anew."""
    own = np.random.default_rng(5)

    assert generator(own) is own
    assert generator(5).random() == generator(5).random() == own.random()


def test_groups_by_first_sight():
    """Numbers are handed out in order."""
    assert group_index(["x", "y", "x", "z"]).tolist() == [0, 1, 0, 2]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=12),
)
@settings(deadline=None)
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


def test_calibration_error_weighs_by_detections():
    """The mean gap over detections; a bin without any does not count, whatever its numbers."""
    confidence, precision = np.array([0.9, 0.5, 0.1]), np.array([0.6, 0.6, 0.9])

    error = expected_calibration_error(confidence, precision, np.array([3.0, 1.0, 0.0]))

    assert error == pytest.approx((3 * 0.3 + 1 * 0.1) / 4)


def labelled(n=200, *, slope=0.6, seed=6):
    """Totals of a sample, and predictions that follow them in part."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(3.0, 1.0, n)
    return slope * predicted + rng.normal(1.0, 0.5, n), predicted, np.ones(n)


def test_labels_alone_are_the_t_interval():
    """Without use for predictions, the mean of a sample with scipy's t-interval."""
    truth, _, ones = labelled()
    powered = prediction_powered_ratio(
        truth, ones, ones, ones, predicted_of_all=9.0, units_of_all=1000, bounds=(0.0, 9.0)
    )
    expected = stats.t.interval(0.95, len(truth) - 1, truth.mean(), stats.sem(truth))

    assert powered.trust == 0.0
    for one in (powered.estimate, powered.labels_alone):
        assert one.value == pytest.approx(truth.mean())
        assert one.interval == pytest.approx(expected)
        assert (one.bias, one.reason) == (0.0, "")


def test_many_predictions_are_a_regression():
    """With predictions for ever more units the estimate is the regression line at their mean.

    Its variance is the residual one: PPI++ with the best weight is the classical regression
    estimator (Cochran 1977, 7.3).
    """
    truth, predicted, ones = labelled()
    line = stats.linregress(predicted, truth)
    powered = prediction_powered_ratio(
        truth, predicted, ones, ones, predicted_of_all=2.5, units_of_all=10**12, bounds=(0.0, 9.0)
    )
    residuals = truth - line.intercept - line.slope * predicted

    assert powered.trust == pytest.approx(line.slope)
    assert powered.estimate.value == pytest.approx(line.intercept + line.slope * 2.5)
    assert powered.estimate.standard_error == pytest.approx(stats.sem(residuals), rel=1e-6)


def test_few_predictions_are_trusted_less():
    """As many predictions as labels halve the weight that minimises the variance.

    var(y - w f) / n + w^2 var(f) / N is least at w = slope / (1 + n / N).
    """
    truth, predicted, ones = labelled()
    n = len(truth)
    powered = prediction_powered_ratio(
        truth, predicted, ones, ones, predicted_of_all=3.0, units_of_all=n, bounds=(0.0, 9.0)
    )
    half = stats.linregress(predicted, truth).slope / 2
    variance = ((truth - half * predicted).var(ddof=1) + half**2 * predicted.var(ddof=1)) / n

    assert powered.trust == pytest.approx(half)
    assert powered.estimate.standard_error == pytest.approx(variance**0.5)


def test_trust_stays_between_0_and_1():
    """Predictions against the labels get no weight, timid ones no more than whole."""
    for slope, trust in ((-0.6, 0.0), (3.0, 1.0)):
        truth, predicted, ones = labelled(slope=slope)
        powered = prediction_powered_ratio(
            truth, predicted, ones, ones, predicted_of_all=3.0, units_of_all=10**9
        )
        assert trust == powered.trust


def test_ratios_are_of_totals():
    """A unit of twice the size that counts twice is two units; the unit of weights is free."""
    truth, predicted, _ = labelled(20)
    size = np.arange(1.0, 21.0)
    weights = np.tile([1.0, 2.0], 10)
    settings = {"predicted_of_all": 0.4, "units_of_all": 500, "bounds": (0.0, 9.0)}
    one = prediction_powered_ratio(truth, predicted, size, weights, **settings)
    other = prediction_powered_ratio(truth, predicted, size, 7 * weights, **settings)

    assert one.labels_alone.value == pytest.approx((weights @ truth) / (weights @ size))
    assert one.estimate.value == pytest.approx(other.estimate.value)
    assert one.estimate.standard_error == pytest.approx(other.estimate.standard_error)


def test_a_ratio_is_cut_to_its_range():
    """Where correction would leave the range, value and interval end at its edge."""
    truth, predicted, ones = labelled()
    powered = prediction_powered_ratio(
        truth, predicted, ones, ones, predicted_of_all=2.5, units_of_all=10**9, bounds=(0.0, 1.0)
    )

    assert (1.0, (1.0, 1.0)) == (powered.estimate.value, powered.estimate.interval)


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


def test_weeks_that_are_compared():
    """Up to four at either end, never one twice."""
    found = [compared(n) for n in (2, 3, 7, 8, 20)]

    assert [(1, 1), (1, 2), (3, 4), (4, 4), (4, 4)] == found
    assert (6, 6) == compared(20, baseline=6)
    assert (-3.0, 2**0.5) == pytest.approx(recent_difference(np.array([5.0, 2.0]), np.ones(2)))


def test_errors_of_a_difference_add_up():
    """The error of each mean is the root of the summed variances over its number."""
    errors = np.array([1.0, 2.0, 2.0, 4.0, 4.0])
    five = recent_difference(np.array([1.0, 3.0, 4.0, 5.0, 9.0]), errors)

    assert five.slope == pytest.approx(6.0 - 2.0)
    assert five.standard_error == pytest.approx(np.sqrt((4 + 16 + 16) / 9 + (1 + 4) / 4))


def test_union_is_the_lower_of_both():
    """Each statistic is its estimate over its error: a slope of -2 a week, a step of -4."""
    found = union_test(np.arange(4.0), np.array([6.0, 4.0, 2.0, 0.0]), np.full(4, 0.5))

    assert found.slope == pytest.approx(-2 / (0.5 / np.sqrt(5)))
    assert found.recent == pytest.approx(-4 / 0.5)
    assert found.lowest == found.slope


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


def test_scatter_in_closed_form():
    """One pair is one squared normal, cut at 6.63; each further pair is worth a little less."""
    one = excess_scatter(np.array([0.0, 2.0]), np.array([0.6, 0.8]))  # 4 over 0.36 + 0.64
    cut = excess_scatter(np.array([0.0, 99.0]), np.ones(2))
    three = excess_scatter(np.array([0.0, 3.0, 0.0, 3.0]), np.ones(4))  # squares of 9 / 2
    freedom = 3 / (1 + 0.5 * 2 / 3)

    assert one == pytest.approx(4 / stats.chi2.ppf(0.9, 1))
    assert cut == pytest.approx(6.63 / stats.chi2.ppf(0.9, 1))
    assert three == pytest.approx(4.5 * freedom / stats.chi2.ppf(0.9, freedom))


def test_a_jump_is_no_scatter():
    """One step, however large, hardly widens the errors: it is what a trend looks for."""
    assert excess_scatter(np.array([0.0] * 8 + [50.0] * 8), np.ones(16)) == 1.0


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=9, unique=True))
@settings(deadline=None)
def test_mann_kendall_is_kendalls_tau(values):
    """Exact p-values of scipy's Kendall test, one-sided."""
    expected = stats.kendalltau(np.arange(len(values)), values, alternative="less", method="exact")

    ours = mann_kendall(np.array(values, dtype=float))

    assert ours.p_falling == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize("n", [10, 11])
def test_mann_kendall_of_many_is_normal(n):
    """Up to ten values the law is counted out, from eleven on it is normal, corrected by one."""
    values = np.random.default_rng(n).permutation(n).astype(float)
    s = int(sum(np.sign(values[j] - values[i]) for j in range(n) for i in range(j)))
    for sign in (1, -1):
        ours = mann_kendall(sign * values)
        if n <= 10:
            p = stats.kendalltau(
                np.arange(n), sign * values, alternative="less", method="exact"
            ).pvalue
        else:
            p = stats.norm.cdf(
                (abs(s) - 1) * np.sign(sign * s) / np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
            )
        assert (ours.s, ours.p_falling) == (sign * s, pytest.approx(p, abs=1e-12))


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
