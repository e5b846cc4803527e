"""Frames for labels: bounded, seeded, fair where it says so, and unsure where it says so."""

import math
import threading
from collections import Counter
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_kit import MONDAY, frame, nothing, one_box, profile_of, stream

from driftline.errors import InputError
from driftline.profiles import (
    DEFAULT_FEATURES,
    Feature,
    FrameReservoir,
    ProfileBuilder,
    Region,
    class_weights,
    uncertainty,
)
from driftline.profiles._choose import apart, descriptors, proportional, spread
from driftline.records import Detections


def scores(*confidence, class_id=None):
    """A frame of boxes with these confidences."""
    n = len(confidence)
    return Detections(
        xyxy=[[0, 0, 9, 9]] * n,
        confidence=confidence,
        class_id=[0] * n if class_id is None else class_id,
        image_size=(9, 9),
    )


def filled(seen, **settings) -> FrameReservoir:
    """A reservoir that was offered a stream."""
    reservoir = FrameReservoir(**settings)
    for i, (found, camera, at) in enumerate(seen):
        reservoir.offer(found, camera=camera, at=at, frame=f"{camera}/{i}")
    return reservoir


def names(sampled):
    """Which frames they are."""
    return [s.frame for s in sampled]


# The score -----------------------------------------------------------------------------------


def test_uncertainty_is_entropy():
    """One bit at 0.5, nothing at 0 and 1, the closed form between; a frame adds its boxes up."""
    quarter = -0.25 * math.log2(0.25) - 0.75 * math.log2(0.75)

    assert 1.0 == uncertainty(scores(0.5))
    assert 0.0 == uncertainty(scores(0.0, 1.0)) == uncertainty(nothing())
    assert math.isclose(1 + 2 * quarter, uncertainty(scores(0.5, 0.25, 0.75)))


def test_a_crowd_counts_ten_boxes():
    """The ten most unsure of them, so that crowded frames do not fill the queue."""
    assert 10.0 == uncertainty(scores(*[0.5] * 10, *[0.9] * 500))


def test_rare_classes_weigh_more():
    """v = min(5, sqrt(median / n)); Brust et al. 2019 weigh by class."""
    weights = {0: 1.0, 1: 3.0}
    week = profile_of(
        [
            (scores(*[0.5] * n, class_id=[k] * n), "c", MONDAY)
            for k, n in [(0, 400), (1, 100), (2, 1)]
        ]
    )

    assert 4.0 == uncertainty(scores(0.5, 0.5, class_id=[0, 1]), class_weights=weights)
    assert 1.0 == uncertainty(scores(0.5, class_id=[9]), class_weights=weights)
    assert {0: 0.5, 1: 1.0, 2: 5.0} == class_weights(week)
    assert {} == class_weights(ProfileBuilder().profile())


def test_a_calibrated_probability_takes_the_place_of_the_confidence():
    """A map that knows that 0.9 is a coin's throw finds it."""
    found = scores(0.9, 0.1)

    assert 1.0 == uncertainty(found, probability=lambda d: np.where(d.confidence > 0.8, 0.5, 0.0))


def test_hostile_scores_are_not_counted():
    """nan and numbers beyond one have no entropy."""
    assert 1.0 == uncertainty(scores(0.5, float("nan"), 1.5, -1))


# The reservoir -------------------------------------------------------------------------------


def test_it_is_bounded():
    """However many frames, at most cameras x keep x (uncertain + uniform)."""
    reservoir = filled(stream(1, 3000, step=timedelta(minutes=10)), uncertain=3, uniform=2, keep=4)

    assert 3 * 4 * (3 + 2) == len(reservoir)
    assert "<FrameReservoir: 60 frames of 3 cameras>" == repr(reservoir)


def test_the_newest_strata_stay():
    """Days beyond `keep` are let go, camera by camera; late frames of such days are not taken."""
    reservoir = filled(stream(1, 240, cameras=1), keep=2, uniform=4)
    days = {s.at.date() for s in reservoir.uniform()}
    late = reservoir.offer(one_box(), camera="cam-0", at=MONDAY, frame="late")

    assert {(MONDAY + timedelta(days=8)).date(), (MONDAY + timedelta(days=9)).date()} == days
    assert not late


def test_a_clock_that_is_wrong_costs_one_stratum():
    """A camera in the year 2100 does not wipe out the others, nor its own."""
    reservoir = filled(stream(1, 240, cameras=2), keep=3, uniform=4)
    reservoir.offer(
        one_box(), camera="cam-0", at=datetime(2100, 1, 1, tzinfo=MONDAY.tzinfo), frame="x"
    )
    days = Counter(s.camera for s in reservoir.uniform())

    assert {"cam-0": 2 * 4 + 1, "cam-1": 3 * 4} == days


def test_order_does_not_matter():
    """Same seed and frames: same sample, in any order; another seed gives another."""
    seen = [(d, c, at, f"{i}") for i, (d, c, at) in enumerate(stream(1, 400))]

    def sample(frames, seed):
        reservoir = FrameReservoir(uncertain=5, uniform=5, seed=seed)
        for found, camera, at, name in frames:
            reservoir.offer(found, camera=camera, at=at, frame=name)
        return set(names(reservoir.uniform())), set(names(reservoir.uncertain()))

    assert sample(seen, 7) == sample(seen[::-1], 7)
    assert sample(seen, 7)[0] != sample(seen, 8)[0]
    assert sample(seen, 7)[1] != sample(seen, 8)[1]


def test_uniform_is_uniform():
    """Over 400 seeds each of 40 frames is kept 10 times in 40: chi2 of 39 df below 76 (p=0.0004)."""
    seen = list(stream(1, 40, cameras=1, step=timedelta(minutes=1)))
    kept = Counter()
    for seed in range(400):
        kept.update(names(filled(seen, uniform=10, uncertain=0, seed=seed).uniform()))
    expected = 400 * 10 / 40
    chi2 = sum((kept[f"cam-0/{i}"] - expected) ** 2 for i in range(40)) / (expected * (1 - 10 / 40))

    assert chi2 < 76


def test_inclusion_probabilities_are_true():
    """Weighted by its inverse, the sample's total is the total: unbiased over 600 seeds.

    The standard error of the mean of 600 estimates is worked out from them; 4 of these.
    """
    rng = np.random.default_rng(2)
    seen = [(frame(rng, 1 + i % 7), "c", MONDAY + timedelta(minutes=i)) for i in range(60)]
    total = sum(len(d) for d, _, _ in seen)
    weighted, uniform = [], []
    for seed in range(600):
        reservoir = filled(seen, uncertain=12, uniform=12, seed=seed)
        weighted.append(
            sum(len(s.detections) / s.inclusion_probability for s in reservoir.uncertain())
        )
        uniform.append(
            sum(len(s.detections) / s.inclusion_probability for s in reservoir.uniform())
        )

    for estimates in (weighted, uniform):
        error = np.std(estimates) / math.sqrt(len(estimates))
        assert abs(np.mean(estimates) - total) < 4 * error
        assert error < 0.02 * total


def test_unsure_frames_are_kept_more_often():
    """A frame of ten coin throws is kept ten times as readily as one of a single one."""
    seen = [
        (scores(*[0.5] * (10 if i % 10 == 0 else 1)), "c", MONDAY + timedelta(minutes=i))
        for i in range(200)
    ]
    kept = filled(seen, uncertain=20, uniform=0).uncertain()

    assert sum(s.score > 5 for s in kept) >= 5
    assert kept[0].score == max(s.score for s in kept)


def test_frames_without_boxes_are_only_in_the_uniform_sample():
    """There is nothing to be unsure of, and missed objects are found at random only."""
    reservoir = filled([(nothing(), "c", MONDAY)] * 3)

    assert 0 == len(reservoir.uncertain())
    assert 3 == len(reservoir.uniform())


def test_a_function_is_called_only_for_frames_that_are_kept():
    """Nothing is encoded in vain: 1,000 frames, 8 places, about 8 (1 + ln 125) = 47 calls."""
    calls = []
    reservoir = FrameReservoir(uncertain=0, uniform=8)
    rng = np.random.default_rng(0)
    for i in range(1000):

        def encode(i=i):
            calls.append(i)
            return b"jpeg %d" % i

        reservoir.offer(frame(rng, 2), camera="c", at=MONDAY + timedelta(seconds=i), frame=encode)

    assert 8 == len(reservoir.uniform())
    assert len(calls) < 100
    assert {type(s.frame) for s in reservoir.uniform()} == {bytes}


def test_the_callers_arrays_are_not_kept():
    """What was kept does not change when the caller's arrays do; bad boxes are left out of it."""
    found = scores(0.5, float("nan"))
    reservoir = filled([(found, "c", MONDAY)])
    found.confidence[:] = 0.9

    assert [0.5] == reservoir.uniform()[0].detections.confidence.tolist()


def test_threads_share_it():
    """Four threads offer; the sample is that of one."""
    seen = [(d, c, at, f"{i}") for i, (d, c, at) in enumerate(stream(1, 800))]
    shared, alone = FrameReservoir(uncertain=3, uniform=3), FrameReservoir(uncertain=3, uniform=3)

    def offer(frames, reservoir):
        for found, camera, at, name in frames:
            reservoir.offer(found, camera=camera, at=at, frame=name)

    threads = [threading.Thread(target=offer, args=(seen[i::4], shared)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    offer(seen, alone)
    last = {s.at.date() for s in alone.uniform()}

    assert {s.at.date() for s in shared.uniform()} == last
    assert len(shared) == len(alone)


@pytest.mark.parametrize(
    "settings",
    [{"uncertain": -1}, {"uniform": -1}, {"keep": 0}, {"per": timedelta(0)}],
)
def test_wrong_sizes_are_refused(settings):
    """Nothing negative, nothing without extent."""
    with pytest.raises(InputError, match=next(iter(settings))):
        FrameReservoir(**settings)


# Through the builder -------------------------------------------------------------------------


def test_the_builder_offers_frames():
    """One call counts and samples."""
    reservoir = FrameReservoir(uniform=4, uncertain=4)
    builder = ProfileBuilder(frames=reservoir)
    for i, (found, camera, at) in enumerate(stream(1, 60)):
        builder.observe(found, camera=camera, at=at, frame=f"{i}")

    assert 60 == builder.profile().frames
    assert 3 * 3 * 4 == len(reservoir.uniform())


def test_a_builder_without_reservoir_says_so():
    """A frame that would be lost is refused, and nothing is counted."""
    builder = ProfileBuilder()

    with pytest.raises(InputError, match="FrameReservoir"):
        builder.observe(one_box(), camera="c", at=MONDAY, frame="a")

    assert 0 == builder.profile().frames


# Choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "frames"),
    [
        (Region(), {"none", "two", "cat"}),
        (Region(camera="other"), set()),
        (Region(class_id=1), {"cat"}),
        (Region(feature="class", class_id=1), {"cat"}),
        (Region(class_name="1"), {"cat"}),
        (Region(class_name="dog"), set()),
        (Region(feature="boxes_per_frame", low=2), {"two"}),
        (Region(feature="frame_confidence", low=0.5, high=0.6), {"two"}),
        (Region(feature="area", low=-0.1), {"cat"}),
        (Region(class_id=0, feature="area", low=-0.1), set()),
    ],
)
def test_regions(region, frames):
    """By camera, class, and range of a feature of boxes or frames."""
    reservoir = FrameReservoir(probability=lambda d: np.full(len(d), 0.5))
    small = Detections(
        xyxy=[[0, 0, 5, 5]] * 2, confidence=[0.5, 0.6], class_id=[0, 0], image_size=(50, 50)
    )
    large = Detections(xyxy=[[0, 0, 50, 50]], confidence=[0.9], class_id=[1], image_size=(50, 50))
    one = Detections(xyxy=[[0, 0, 5, 5]], confidence=[0.2], class_id=[0], image_size=(50, 50))
    for name, found in [("two", small), ("cat", large), ("none", one)]:
        reservoir.offer(found, camera="c", at=MONDAY, frame=name)

    assert frames == set(names(reservoir.uncertain(regions=[region])))


def test_regions_of_own_features():
    """A feature with a formula is looked up among the reservoir's features; another is refused."""
    right = Feature(name="right", level="box", edges=[5.0], compute=lambda batch: batch.xyxy[:, 2])
    reservoir = filled([(one_box(), "c", MONDAY)], features=[*DEFAULT_FEATURES, right])

    assert 1 == len(reservoir.uncertain(regions=[Region(feature="right", low=100)]))
    with pytest.raises(InputError, match="'hue'"):
        reservoir.uncertain(regions=[Region(feature="hue")])


@pytest.mark.parametrize(
    ("cell", "region"),
    [
        ({"direction": "lower", "at": 0.4}, Region(camera="c", feature="confidence", high=0.4)),
        ({"direction": "higher", "at": 0.4}, Region(camera="c", feature="confidence", low=0.4)),
        ({"direction": "wider", "at": 0.4}, Region(camera="c", feature="confidence")),
        (
            {"class_name": "cat", "direction": "lower", "at": 0.4, "camera": None},
            Region(class_name="cat", feature="confidence", high=0.4),
        ),
        ({"feature": "class", "direction": "more", "at": 3.0}, Region(camera="c", class_id=3)),
        ({"feature": "class", "direction": "fewer", "at": 3.0}, Region(camera="c")),
    ],
)
def test_regions_of_drifted_cells(cell, region):
    """A cell of a report says where to look."""
    made = {"feature": "confidence", "camera": "c", "class_name": None, "flagged": True, **cell}

    assert region == Region.of(SimpleNamespace(**made))


def test_uniform_keeps_the_proportions_of_traffic():
    """A camera with three times the frames gets three times the places."""
    busy = [(one_box(), "busy", MONDAY + timedelta(seconds=i)) for i in range(300)]
    quiet = [(one_box(), "quiet", MONDAY + timedelta(seconds=i)) for i in range(100)]
    sampled = filled(busy + quiet, uniform=50).uniform(40)

    assert Counter(busy=30, quiet=10) == Counter(s.camera for s in sampled)
    assert {0.1} == {s.inclusion_probability for s in sampled}


# The pure parts ------------------------------------------------------------------------------


def test_apart():
    """Best first, the gap and the quota hold, cameras do not disturb one another."""
    minute = timedelta(minutes=1)
    places = [
        ("a", MONDAY),
        ("a", MONDAY + minute / 2),
        ("b", MONDAY),
        ("a", MONDAY + minute),
        ("a", MONDAY + 5 * minute),
    ]

    assert [0, 2, 3, 4] == apart(places, limit=9, gap=minute, quota=None)
    assert [0, 2, 3] == apart(places, limit=9, gap=minute, quota=2)
    assert [0, 2] == apart(places, limit=2, gap=minute, quota=None)


def test_spread_takes_the_farthest():
    """Greedy k-centre on a line: the ends, then the middle."""
    points = np.array([[0.0], [0.1], [10.0], [5.0], [9.9]])

    assert [0, 2, 3] == spread(points, 3)
    assert sorted(spread(points, 9)) == [0, 1, 2, 3, 4]


def test_descriptors_tell_frames_apart():
    """Equal frames have equal rows; other classes, places, sizes and scores do not."""
    base = {"xyxy": [[0, 0, 9, 9]], "confidence": [0.5], "class_id": [0], "image_size": (99, 99)}
    frames = [
        Detections(**base),
        Detections(**base),
        Detections(**{**base, "class_id": [1]}),
        Detections(**{**base, "xyxy": [[60, 60, 69, 69]]}),
        Detections(**{**base, "xyxy": [[0, 0, 3, 3]]}),
        Detections(**{**base, "confidence": [0.9]}),
        Detections(xyxy=[], confidence=[], class_id=[], image_size=(99, 99)),
    ]
    rows = descriptors(frames)

    assert np.isfinite(rows).all()
    assert np.array_equal(rows[0], rows[1])
    assert 6 == len(np.unique(rows, axis=0))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6),
    st.integers(0, 120),
)
def test_proportional_parts(parts, n):
    """All that can be taken is taken, no part above its limit."""
    sizes = [max(a, b) for a, b in parts]
    limits = [min(a, b) for a, b in parts]
    taken = proportional(sizes, limits, n)

    assert min(n, sum(limits)) == sum(taken)
    assert all(0 <= t <= most for t, most in zip(taken, limits, strict=True))


def test_proportional_is_the_largest_remainder():
    """Hamilton's method: 5 places by 6 : 3 : 1 are 3, 1.5 and 0.5; the first of equal remainders."""
    assert [3, 2, 0] == proportional([6, 3, 1], [9, 9, 9], 5)
