"""Confidence sequences: they hold at every look, and do not depend on how the data came in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline._stats.sequential import BoundedMean, difference
from driftline.errors import InputError

units = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@given(units, st.data())
def test_batches_do_not_matter(values, data):
    """One call with all values and many calls with some give the same interval."""
    cut = data.draw(st.integers(0, len(values)))
    whole = BoundedMean(alpha=0.05).observe(values)
    parts = BoundedMean(alpha=0.05).observe(values[:cut]).observe(values[cut:])

    # Sums in another order differ by rounding only.
    np.testing.assert_allclose(whole.interval, parts.interval, rtol=1e-9, atol=1e-12)


@given(units)
def test_interval_holds_its_centre(values):
    """The interval lies in [0, 1], the right way round."""
    low, high = BoundedMean(alpha=0.05).observe(values).interval

    assert 0 <= low <= high <= 1


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_looking_always_is_allowed(rate):
    """Looking after every hundred of 5,000 observations errs in at most alpha of 400 runs.

    The bound is 5 %; a run of 400 exceeds 8 % by chance with probability below 1 %.
    """
    rng = np.random.default_rng(20261123)
    missed = 0
    for _ in range(400):
        mean = BoundedMean(alpha=0.05)
        outside = False
        for chunk in np.split(rng.random(5000) < rate, 50):
            mean = mean.observe(chunk)
            low, high = mean.interval
            outside |= not low <= rate <= high
        missed += outside

    assert missed / 400 <= 0.08


def test_difference_is_found():
    """An error rate of 6 % against 1 % is certain after 2,000 requests an arm."""
    rng = np.random.default_rng(7)
    bad = BoundedMean(alpha=0.025).observe(rng.random(2000) < 0.06)
    good = BoundedMean(alpha=0.025).observe(rng.random(2000) < 0.01)
    low, high = difference(bad, good)

    assert 0 < low < 0.05 < high


def test_nothing_observed():
    """Without an observation all is possible."""
    assert (0.0, 1.0) == BoundedMean(alpha=0.05).interval


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_out_of_range(value):
    """A value that is no share is refused by name."""
    with pytest.raises(InputError, match="must lie in"):
        BoundedMean(alpha=0.05).observe([value])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_width_shrinks(seed):
    """Ten times the data gives a narrower interval."""
    x = np.random.default_rng(seed).random(5000)
    few = BoundedMean(alpha=0.05).observe(x[:500]).interval
    many = BoundedMean(alpha=0.05).observe(x).interval

    assert many[1] - many[0] < few[1] - few[0]
