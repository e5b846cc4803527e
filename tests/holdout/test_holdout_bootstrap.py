"""Resampling weights give the same score as resampled images."""

import numpy as np
import pytest
from attrs import evolve
from holdout_scenes import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from driftline._stats.average_precision import (
    RECALL_GRID,
    Ranking,
    average_precision,
    precision_at_recalls,
    replicate_average_precision,
)
from driftline._stats.bootstrap import group_index, half_samples
from driftline.errors import InputError
from driftline.holdout import LabelledFrame, evaluate

METHODS = ("coco101", "ultralytics")


def ranking(rng, *, images, detections, ignored=0.0):
    level = rng.integers(0, 11, detections) * (rng.random(detections) < 0.6)
    hit = level > np.arange(10)[:, None]
    unit = rng.integers(images, size=detections)
    truth = np.bincount(unit[hit[0]], minlength=images) + rng.poisson(0.7, images)
    return Ranking(
        unit=unit,
        hit=hit,
        ignored=(rng.random(hit.shape) < ignored) & ~hit,
        truth=truth.astype(float),
    )


def by_definition(one, weights, threshold, method):
    """Average precision of the weighted list, one detection after the other."""
    total = sum(weights[i] * n for i, n in enumerate(one.truth))
    hits, seen, points = 0.0, 0.0, []
    for unit, hit, ignored in zip(
        one.unit, one.hit[threshold], one.ignored[threshold], strict=True
    ):
        if not ignored and weights[unit] > 0:
            hits, seen = hits + weights[unit] * hit, seen + weights[unit]
            points.append((hits / total, hits / seen))
    if method == "coco101":
        reached = [[p for r, p in points if r >= want] for want in RECALL_GRID]
        return np.mean([max(some, default=0.0) for some in reached])
    recall = [0.0, *(r for r, _ in points), points[-1][0] if points else 0.0, 1.0]
    precision = [1.0, *(p for _, p in points), 0.0, 0.0]
    envelope = [max(precision[i:]) for i in range(len(precision))]
    return trapezoid(np.interp(RECALL_GRID, recall, envelope), RECALL_GRID)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_average_precision_by_definition(method, seed):
    """The best precision at each of 101 recalls or later, or the area below the envelope.

    Weights are such that no recall falls on the grid, where rounding would decide.
    """
    rng = np.random.default_rng(seed)
    one = ranking(rng, images=12, detections=40, ignored=0.15)
    weights = rng.uniform(0.3, 2.0, 12) * (rng.random(12) < 0.8)
    found = average_precision(one, weights, method=method)

    assert found == pytest.approx(
        [by_definition(one, weights, t, method) for t in range(10)], abs=1e-12
    )
    if method == "coco101":
        for t in (0, 4):
            curve = precision_at_recalls(one, weights, threshold=t)
            assert (len(curve), curve.mean()) == (101, pytest.approx(found[t]))
        assert np.array_equal(
            precision_at_recalls(one, weights), precision_at_recalls(one, weights, threshold=0)
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_resamples_by_definition(method, seed):
    """Off the grid, every resample has at every threshold exactly what its weights define."""
    rng = np.random.default_rng(seed)
    one = ranking(rng, images=12, detections=60, ignored=0.15 * (seed % 2))
    one = evolve(one, truth=one.truth + 0.37)
    weights = rng.uniform(0.3, 2.0, (4, 12)) * (rng.random((4, 12)) < 0.7)
    found = replicate_average_precision(one, weights, method=method)

    assert found == pytest.approx(
        np.array([[by_definition(one, row, t, method) for t in range(10)] for row in weights]),
        abs=1e-9,
    )


def test_nothing_labelled_is_unknown():
    """Without a weighted object there is no recall: nan; with one and no detection it is 0."""
    one = ranking(np.random.default_rng(0), images=3, detections=9)
    none = Ranking(
        unit=one.unit[:0], hit=one.hit[:, :0], ignored=one.ignored[:, :0], truth=np.ones(3)
    )
    for method in METHODS:
        assert np.isnan(average_precision(one, np.zeros(3), method=method)).all()
        assert [0.0] * 10 == average_precision(none, np.ones(3), method=method).tolist()
        assert (
            np.zeros((2, 10)).tolist()
            == replicate_average_precision(none, np.ones((2, 3)), method=method).tolist()
        )
    assert np.isnan(precision_at_recalls(one, np.zeros(3))).all()
    assert [0.0] * 101 == precision_at_recalls(none, np.ones(3)).tolist()


@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 40),
    detections=st.integers(0, 120),
    ignored=st.sampled_from([0.0, 0.2]),
    whole=st.booleans(),
    method=st.sampled_from(METHODS),
)
@settings(max_examples=150, deadline=None)
def test_fast_kernel_is_the_plain_one(*, seed, images, detections, ignored, whole, method):
    """Under whole and broken weights, zeros included, for both conventions."""
    rng = np.random.default_rng(seed)
    one = ranking(rng, images=images, detections=detections, ignored=ignored)
    weights = rng.poisson(1.0, (5, images)).astype(float)
    if not whole:
        weights = weights * rng.uniform(0.2, 3.0, (5, images))

    fast = replicate_average_precision(one, weights, method=method)
    plain = np.array([average_precision(one, row, method=method) for row in weights])

    assert np.array_equal(np.isnan(fast), np.isnan(plain))
    # The plain one compares recalls with a grid that is itself rounded (as the COCO API does):
    # where a recall falls on the grid, one of the 101 points may differ.
    assert np.nan_to_num(fast) == pytest.approx(np.nan_to_num(plain), abs=1.01 / len(RECALL_GRID))
    recalls = 100 * np.cumsum(weights[:, one.unit] * one.hit[0], axis=1)
    truth = (weights @ one.truth)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        on_grid = np.abs(recalls / truth - np.round(recalls / truth)) < 1e-6
    if not on_grid[recalls > 0].any():
        assert np.nan_to_num(fast[:, 0]) == pytest.approx(np.nan_to_num(plain[:, 0]), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_copies(method):
    """A frame of weight 3 counts like three copies of it."""
    rng = np.random.default_rng(3)
    labels, predictions = scene(rng, frames=15, ignore=0.1, crowd=0.1)
    copies = rng.integers(1, 4, 15)
    frames = [LabelledFrame(truth=one, weight=n) for one, n in zip(labels, copies, strict=True)]

    weighted = evaluate(frames, predictions, ap=method, replicates=2)
    copied = evaluate(
        [label for label, n in zip(labels, copies, strict=True) for _ in range(n)],
        [found for found, n in zip(predictions, copies, strict=True) for _ in range(n)],
        ap=method,
        replicates=2,
    )

    assert weighted.map == pytest.approx(copied.map, abs=1e-12)
    recalls = [one.overall.operating.recall.value for one in (weighted, copied)]
    assert recalls[0] == pytest.approx(recalls[1], abs=1e-12)
    for first, second in zip(weighted.calibration.bins, copied.calibration.bins, strict=True):
        assert first.precision.value == pytest.approx(second.precision.value, abs=1e-12)
    assert any("weighted frames" in note for note in weighted.notes)


def test_halves_are_halves():
    """Each half and the other one make the whole; groups stay together; strata are halved each."""
    groups = group_index(["a", "a", "b", "c", "d", "e", "f"])
    strata = np.array([0, 0, 1, 1, 1, 1])

    weights = half_samples(groups, replicates=60, rng=1, strata=strata)

    assert np.all(weights[0::2] + weights[1::2] == 2.0)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.all(weights[:, [0, 2]].sum(axis=1) == 2.0)  # a and b: one of the two, twice
    assert np.all(weights[:, 3:].sum(axis=1) == 4.0)


def test_odd_numbers_of_replicates_get_their_other_half():
    """Replicates come in pairs: three asked for are four, and two are enough."""
    assert [(4, 5), (4, 5), (2, 5)] == [
        half_samples(np.arange(5), replicates=n, rng=1).shape for n in (3, 4, 2)
    ]


def test_an_odd_one_counts_once():
    """Five groups: two count twice, two not, one once."""
    weights = half_samples(np.arange(5), replicates=40, rng=1)

    assert np.all(np.sort(weights, axis=1) == [0, 0, 1, 2, 2])


def test_spread_of_a_mean_is_its_standard_error():
    """For a mean the half-samples give s / sqrt(n), and no bias at all."""
    values = np.random.default_rng(4).normal(size=200)
    weights = half_samples(np.arange(200), replicates=4000, rng=1)
    means = weights @ values / 200

    expected = values.std(ddof=1) / np.sqrt(200)

    assert means.std() == pytest.approx(expected, rel=0.04)  # 1 / sqrt(4000): 3 standard errors
    assert means.mean() == pytest.approx(values.mean(), abs=1e-12)


def test_same_seed_same_interval():
    """Randomness is a parameter."""
    labels, predictions = scene(np.random.default_rng(1), frames=30)

    first, again, other = (
        evaluate(labels, predictions, replicates=50, rng=seed) for seed in (7, 7, 8)
    )

    assert first.map_interval == again.map_interval
    assert first.map_interval != other.map_interval


def test_clusters_widen_the_interval():
    """Forty copies of the same ten frames are ten frames, if the tags say so."""
    labels, predictions = scene(np.random.default_rng(2), frames=10)
    frames = [
        LabelledFrame(truth=label, tags={"camera": str(index)})
        for _ in range(40)
        for index, label in enumerate(labels)
    ]

    naive = evaluate(frames, predictions * 40, by=(), replicates=300)
    honest = evaluate(frames, predictions * 40, by=(), cluster_by="camera", replicates=300)
    ten = evaluate(labels, predictions)

    assert (naive.n_units, honest.n_units) == (400, 10)
    assert naive.overall.estimate.standard_error < honest.overall.estimate.standard_error / 4
    assert honest.overall.estimate.standard_error == pytest.approx(
        ten.overall.estimate.standard_error, rel=0.15
    )


def test_cluster_tag_must_be_there():
    """A frame that belongs to no cluster is named."""
    labels, predictions = scene(np.random.default_rng(2), frames=3)

    with pytest.raises(InputError, match="frame 0 has no tag 'camera'"):
        evaluate(labels, predictions, cluster_by="camera")


def test_long_tails_are_added_row_by_row():
    """Where the table of counts would be too large, the misses are summed another way."""
    rng = np.random.default_rng(6)
    one = ranking(rng, images=3000, detections=4000)
    weights = half_samples(np.arange(3000), replicates=2, rng=1)

    fast = replicate_average_precision(one, weights)
    plain = np.array([average_precision(one, row) for row in weights])

    assert fast == pytest.approx(plain, abs=1.01 / len(RECALL_GRID))
    assert fast.mean() == pytest.approx(plain.mean(), abs=1e-4)


def test_nothing_to_draw():
    """No frames, no weights; fewer than two replicates are none."""
    assert half_samples(np.zeros(0, dtype=np.int64), replicates=3, rng=1).shape == (4, 0)
    with pytest.raises(InputError, match="replicates=1 must be at least 2"):
        half_samples(np.arange(4), replicates=1, rng=1)
