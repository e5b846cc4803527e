"""Which frames go to people: the laws of the choice, whatever was sampled."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import InputError
from driftline.profiles import FrameReservoir, Region, SampledFrame
from driftline.records import Detections
from driftline.retrain import Selection

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def found(rng, n):
    """N boxes in 640 x 480 px."""
    corner = rng.random((n, 2)) * (400, 300)
    return Detections(
        xyxy=np.hstack([corner, corner + 20 + rng.random((n, 2)) * 100]),
        confidence=rng.random(n),
        class_id=rng.integers(0, 4, n),
        image_size=(480, 640),
    )


def sampled(seed, n, *, cameras=3, step=timedelta(minutes=7), random_every=3):
    """N frames that were sampled: every third at random, its chance between 1 in 4 and 1."""
    rng = np.random.default_rng(seed)
    return [
        SampledFrame(
            frame=f"{i}",
            camera=f"cam-{rng.integers(cameras)}",
            at=MONDAY + i * step,
            detections=found(rng, int(rng.integers(0, 6))),
            score=float(rng.random() * 10),
            source="uniform" if i % random_every == 0 else "uncertain",
            inclusion_probability=float(rng.choice([0.25, 0.5, 1.0])),
        )
        for i in range(n)
    ]


pools = st.builds(
    sampled,
    st.integers(0, 10**6),
    st.integers(0, 120),
    cameras=st.integers(1, 4),
    step=st.sampled_from([timedelta(seconds=10), timedelta(minutes=1), timedelta(hours=1)]),
)


@settings(deadline=None, max_examples=60)
@given(pool=pools, budget=st.integers(0, 150), share=st.sampled_from([0.0, 0.25, 0.6, 1.0]))
def test_the_laws(pool, budget, share):
    """Never above the budget, no frame twice, chosen ones apart, random ones with a probability."""
    selection = Selection.of([*pool, *pool[::2]], budget=budget, random_share=share)
    keys = [frame.key for frame in selection.frames]
    at_random = sum(frame.source == "uniform" for frame in pool)

    assert len(selection) <= budget
    assert len(set(keys)) == len(keys)
    assert set(keys) <= {frame.key for frame in pool}
    assert min(round(budget * share), at_random) == len(selection.random)
    assert all(0 < frame.inclusion_probability <= 1 for frame in selection.random)
    assert {None} >= {frame.inclusion_probability for frame in selection.chosen}
    for camera in {frame.camera for frame in selection.chosen}:
        times = sorted(frame.at for frame in selection.chosen if frame.camera == camera)
        other = [frame.at for frame in selection.random if frame.camera == camera]
        assert all(b - a >= timedelta(seconds=60) for a, b in pairwise(times))
        assert all(abs(a - b) >= timedelta(seconds=60) for a in times for b in other)


@settings(deadline=None, max_examples=30)
@given(pool=pools, budget=st.integers(0, 60), seed=st.integers(0, 9))
def test_the_same_seed_the_same_selection(pool, budget, seed):
    """In whatever order the frames come."""
    first = Selection.of(pool, budget=budget, seed=seed)
    again = Selection.of(pool[::-1], budget=budget, seed=seed)

    assert [f.key for f in first.frames] == [f.key for f in again.frames]
    assert [f.inclusion_probability for f in first.frames] == [
        f.inclusion_probability for f in again.frames
    ]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), budget=st.integers(8, 60))
def test_no_camera_and_day_takes_more_than_twice_its_part(seed, budget):
    """Where there are frames enough; the quota is STATISTICS' 2 ceil(b / (cameras x days))."""
    pool = sampled(seed, 1500, cameras=3, step=timedelta(minutes=4))
    chosen = Selection.of(pool, budget=budget).chosen
    parts = {(frame.camera, frame.at.date()) for frame in pool}
    most = Counter((frame.camera, frame.at.date()) for frame in chosen).most_common(1)[0][1]

    assert most <= 2 * -(-len(chosen) // len(parts))


def test_a_quarter_is_random():
    """And it is spread through the queue: whoever stops half-way has looked at both parts."""
    selection = Selection.of(sampled(1, 400), budget=40)
    half = selection.frames[:20]

    assert (30, 10) == (len(selection.chosen), len(selection.random))
    assert 5 == sum(frame.source == "uniform" for frame in half)
    assert "Selection(30 chosen and 10 random of 40 frames)" == repr(selection)


def test_the_most_uncertain_frame_comes_first():
    """Then the one least like it."""
    pool = sampled(3, 200)
    chosen = Selection.of(pool, budget=30, random_share=0).chosen

    assert max(frame.score for frame in pool) == chosen[0].score


def test_the_random_part_stands_for_all_frames():
    """Weighted by 1 / probability the number of boxes is unbiased, over 2000 seeds of both draws.

    The standard error of the mean of the estimates is worked out from them; 4 of these.
    """
    rng = np.random.default_rng(5)
    boxes = rng.integers(0, 9, 300)
    empty = found(rng, 0)
    chance = np.where(np.arange(300) < 100, 0.9, 0.3)  # a quiet and a busy camera
    estimates = []
    for seed in range(2000):
        kept = rng.random(300) < chance
        pool = [
            SampledFrame(
                frame=str(i),
                camera=f"cam-{i // 100}",
                at=MONDAY + timedelta(minutes=i),
                detections=empty,
                score=0.0,
                source="uniform",
                inclusion_probability=float(chance[i]),
            )
            for i in np.flatnonzero(kept).tolist()
        ]
        drawn = Selection.of(pool, budget=40, random_share=1.0, seed=seed).frames
        assert 40 == len(drawn)
        estimates.append(sum(boxes[int(f.frame)] / f.inclusion_probability for f in drawn))
    error = np.std(estimates) / len(estimates) ** 0.5

    assert abs(np.mean(estimates) - boxes.sum()) < 4 * error
    assert error < 0.01 * boxes.sum()


def test_every_frame_of_production_is_as_likely():
    """A frame that was rarely sampled is drawn as much more often: both draws are one chance."""
    pool = sampled(2, 600, random_every=1)
    probabilities = {
        round(f.inclusion_probability, 9) for f in Selection.of(pool, budget=40).random
    }

    assert 1 == len(probabilities)


def test_a_quota_gives_way_before_the_budget():
    """Where one camera and day have nearly all the frames, they get more than twice their part."""
    rng = np.random.default_rng(1)
    times = [("busy", MONDAY + timedelta(minutes=2 * i)) for i in range(50)]
    times += [("quiet", MONDAY + timedelta(days=i)) for i in range(9)]
    pool = [
        SampledFrame(
            frame=f"{i}",
            camera=camera,
            at=at,
            detections=found(rng, 2),
            score=1.0,
            source="uncertain",
            inclusion_probability=None,
        )
        for i, (camera, at) in enumerate(times)
    ]

    assert 40 == len(Selection.of(pool, budget=40, random_share=0).chosen)


def test_a_report_says_where_and_when():
    """The chosen ones are of its flagged cells, all are of its week."""
    cell = SimpleNamespace(
        feature="confidence",
        camera="cam-1",
        class_name=None,
        direction="lower",
        at=0.3,
        flagged=True,
    )
    report = SimpleNamespace(
        cells=[cell], start=MONDAY + timedelta(days=1), end=MONDAY + timedelta(days=3)
    )
    selection = Selection.of(sampled(4, 900), budget=20, drift=report)

    assert {"cam-1"} == {frame.camera for frame in selection.chosen}
    assert len({frame.camera for frame in selection.random}) > 1
    assert all(report.start <= frame.at < report.end for frame in selection.frames)
    assert all((frame.detections.confidence < 0.3).any() for frame in selection.chosen)


def test_a_reservoir_and_a_selection_agree_on_the_laws():
    """What a reservoir kept goes in as it comes out."""
    reservoir = FrameReservoir(uncertain=30, uniform=10)
    for frame in sampled(6, 500):
        reservoir.offer(frame.detections, camera=frame.camera, at=frame.at, frame=frame.frame)
    selection = Selection.of([*reservoir.uncertain(), *reservoir.uniform()], budget=40)

    assert (30, 10) == (len(selection.chosen), len(selection.random))


def test_pictures_are_chosen_like_names():
    """A reservoir may keep the content of a frame; two of one moment have an order as well."""
    pool = [evolve(f, frame=f.frame.encode(), at=MONDAY) for f in sampled(4, 60)]
    first, again = (Selection.of(some, budget=9, gap=timedelta(0)) for some in (pool, pool[::-1]))

    assert 9 == len(first)
    assert [f.frame for f in first.frames] == [f.frame for f in again.frames]


def test_what_is_short_is_said():
    """Fewer frames than people could look at."""
    selection = Selection.of(sampled(1, 5), budget=40)

    assert "35 short" in str(selection)
    assert 0 == len(Selection.of([], budget=3))


@pytest.mark.parametrize(("budget", "share"), [(-1, 0.25), (4, 1.1), (4, float("nan"))])
def test_wrong_budgets_are_refused(budget, share):
    """A negative number of frames, or a share that is none."""
    with pytest.raises(InputError, match="budget"):
        Selection.of([], budget=budget, random_share=share)


def test_an_unknown_feature_is_refused():
    """A region of a feature without a formula is no empty region."""
    with pytest.raises(InputError, match="'hue'"):
        Selection.of(sampled(1, 20), budget=4, regions=[Region(feature="hue")])
