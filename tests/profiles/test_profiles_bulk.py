"""Many frames in one call count as the same frames one by one; counts made elsewhere fit in."""

import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_kit import HEIGHT, MONDAY, WIDTH, frames, profile_of, stream

from driftline.errors import InputError
from driftline.profiles import (
    AREA,
    BOXES_PER_FRAME,
    CONFIDENCE,
    DEFAULT_FEATURES,
    FRAME_CONFIDENCE,
    Feature,
    Profile,
    ProfileBuilder,
)
from driftline.records import Context, Detections

NAN = float("nan")


def columns(seen):
    """The frames of a stream as arrays."""
    lengths = [len(d) for d, _, _ in seen]
    return {
        "xyxy": np.concatenate([d.xyxy for d, _, _ in seen]),
        "confidence": np.concatenate([d.confidence for d, _, _ in seen]),
        "class_id": np.concatenate([d.class_id for d, _, _ in seen]),
        "frame": np.repeat(np.arange(len(seen)), lengths),
        "image_size": [d.image_size for d, _, _ in seen],
        "camera": [camera for _, camera, _ in seen],
        "at": [at for _, _, at in seen],
    }


@settings(max_examples=40, deadline=None)
@given(
    st.lists(frames, min_size=1, max_size=8), st.integers(1, 5), st.randoms(use_true_random=False)
)
def test_many_is_one_by_one(seen, chunk, random):
    """Whatever the chunk, and whatever the order of the boxes."""
    table = columns(seen)
    order = list(range(len(table["confidence"])))
    random.shuffle(order)
    for name in ("xyxy", "confidence", "class_id", "frame"):
        table[name] = table[name][order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftline.profiles._columns.CHUNK", chunk)
        whole = Profile.from_arrays(**table)

    assert profile_of(seen).box_cells.same_as(whole.box_cells)
    for name in ("boxes_per_frame", "class", "area"):
        assert np.array_equal(profile_of(seen).counts(name), whole.counts(name))


def test_many_frames_of_many_chunks():
    """Six chunks of boxes from sorted frames are exactly the frames one by one."""
    seen = list(stream(4, 3000, step=timedelta(minutes=11)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftline.profiles._columns.CHUNK", 1300)

        assert profile_of(seen) == Profile.from_arrays(**columns(seen))


@pytest.mark.parametrize("table", [0, 2**22])
def test_a_table_and_sorted_numbers_count_alike(table, monkeypatch):
    """Where a table of all rows would be too large, the numbers that occur are sorted instead."""
    seen = list(stream(4, 400, step=timedelta(minutes=11)))
    monkeypatch.setattr("driftline.profiles._columns.CHUNK", 50)
    monkeypatch.setattr("driftline.profiles._bulk.TABLE", table)

    assert profile_of(seen) == Profile.from_arrays(**columns(seen))


def test_many_joins_what_was_observed():
    """A builder may take both."""
    seen = list(stream(4, 60))
    builder = ProfileBuilder()
    for found, camera, at in seen[:30]:
        builder.observe(found, camera=camera, at=at)
    builder.observe_many(**columns(seen[30:]))

    assert profile_of(seen) == builder.profile()


def test_one_camera_time_and_size_for_all():
    """Single values stand for every frame; the number of frames is then said."""
    table = {
        "xyxy": np.array([[0, 0, 10, 10], [5, 5, 20, 30]], dtype=np.float32),
        "confidence": np.array([0.25, 0.75], dtype=np.float32),
        "class_id": np.array([1, 1], dtype=np.uint8),
        "frame": [1, 1],
        "image_size": (HEIGHT, WIDTH),
    }
    week = Profile.from_arrays(**table, camera="c", at=MONDAY, frames=3)

    assert (3, 2) == (week.frames, week.boxes)
    assert [2, 0, 1] == week.counts("boxes_per_frame")[0, 0, :3].tolist()
    assert 1 == week.counts("frame_confidence")[0, 0, 500]
    times = np.array(["2026-11-02", "2026-11-02", "2026-11-02"], dtype="datetime64[s]")
    assert week == Profile.from_arrays(**table, camera=np.array(["c", "c", "c"]), at=times)


def test_many_cameras_and_classes_in_one_chunk():
    """Groups beyond what 16 bits can number are told apart as well."""
    rng = np.random.default_rng(0)
    n = 3000
    camera, class_id = rng.integers(0, 1000, n), rng.integers(0, 200, n)
    week = Profile.from_arrays(
        xyxy=np.tile([0, 0, 9, 9], (n, 1)),
        confidence=rng.random(n),
        class_id=class_id,
        frame=np.arange(n),
        image_size=(9, 9),
        camera=[f"{c:03}" for c in camera],
        at=MONDAY,
    )
    expected = np.zeros((1000, 200), dtype=int)
    np.add.at(expected, (camera, class_id), 1)

    assert np.array_equal(
        expected[expected.any(axis=1)][:, expected.any(axis=0)], week.counts("class")[0]
    )


def test_no_boxes_at_all():
    """A week of empty frames is a week of frames."""
    empty = {"xyxy": [], "confidence": [], "class_id": [], "frame": [], "image_size": (9, 9)}
    week = Profile.from_arrays(**empty, camera="c", at=MONDAY, frames=7)

    assert (7, 0) == (week.frames, week.boxes)
    assert 0 == Profile.from_arrays(**empty, camera="c", at=MONDAY, frames=0).frames
    builder = ProfileBuilder()
    builder.observe_many(**empty, camera="c", at=MONDAY, frames=7)
    assert week == builder.profile()


@pytest.mark.parametrize("size", [(9, 9), (0, 9), (9, NAN)])
def test_a_call_of_rejected_boxes_only(size):
    """Where no box of a call can be counted the reasons are, and nothing warns."""
    builder = ProfileBuilder(invalid="count")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        builder.observe_many(
            xyxy=[[0, 0, NAN, 9]],
            confidence=[0.5],
            class_id=[0],
            frame=[0],
            image_size=size,
            camera="c",
            at=MONDAY,
            frames=1,
        )
    week = builder.profile()

    assert (0, 1) == (week.boxes, week.rejected["box"])


@pytest.mark.parametrize("class_id", [10**12, 2**63])
def test_a_class_beyond_all_classes_is_rejected(class_id):
    """One stray number in a column is one rejected box, whatever its size."""
    builder = ProfileBuilder(invalid="count")
    builder.observe_many(
        xyxy=[[0, 0, 9, 9]] * 2,
        confidence=[0.5] * 2,
        class_id=np.array([class_id, 3], dtype=np.uint64),
        frame=[0, 0],
        image_size=(9, 9),
        camera="c",
        at=MONDAY,
        frames=1,
    )
    week = builder.profile()

    assert (1, {"class": 1}) == (week.boxes, week.rejected)
    assert [3] == week.class_ids.tolist()


WRONG = {
    "xyxy": ({"xyxy": np.zeros((3, 4))}, r"expected \(2, 4\)"),
    "words": ({"confidence": ["high", "low"]}, "confidence must be numbers"),
    "class": ({"class_id": [0.5, 1]}, "class_id must hold whole numbers"),
    "class words": ({"class_id": ["a", "b"]}, "class_id must hold whole numbers"),
    "short": ({"class_id": [1]}, r"expected \(2,\)"),
    "frame": ({"frame": [0, 9]}, "frame holds 9"),
    "negative frame": ({"frame": [-1, 0]}, "frame holds -1"),
    "no frames": ({"frames": None}, "say how many frames"),
    "two lengths": ({"camera": ["a", "b"]}, r"'frames': 3, 'camera': 2"),
    "camera": ({"camera": [1, 2, 3]}, "camera=1 must be a name"),
    "no camera": ({"camera": ""}, "camera='' must be a name"),
    "naive": ({"at": [datetime(2026, 11, 2)] * 3}, "time zone"),
    "end of time": ({"at": datetime.max.replace(tzinfo=UTC)}, "end of time"),
    "before time": ({"at": np.array(["-0001-01-01"] * 3, dtype="datetime64[s]")}, "end of time"),
    "far future": ({"at": np.array(["99999-01-01"] * 3, dtype="datetime64[s]")}, "end of time"),
    "missing time": ({"at": np.array(["NaT"] * 3, dtype="datetime64[s]")}, "NaT"),
    "values": ({"values": {"brightness": [1, 2, 3]}}, "brightness"),
    "confidence": ({"confidence": [0.5, 1.0000001]}, r"box 1: confidence=1\.0000001"),
    "box": ({"xyxy": [[0, 0, 9, 9], [9, 0, 8, 9]]}, "box 1: xyxy"),
    "size": ({"image_size": [(9, 9), (0, 9), (9, 9)]}, "frame 1 of 9 x 0 px has no area"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=list(WRONG))
def test_wrong_arrays_are_refused(change, said):
    """The message names the value; nothing of the call is counted."""
    builder = ProfileBuilder()
    table = {
        "xyxy": [[0, 0, 9, 9], [0, 0, 5, 5]],
        "confidence": [0.5, 0.5],
        "class_id": [0, 1],
        "frame": [0, 2],
        "image_size": (9, 9),
        "camera": "c",
        "at": MONDAY,
        "frames": 3,
    }

    with pytest.raises(InputError, match=said):
        builder.observe_many(**{**table, **change})

    assert 0 == builder.profile().frames


def test_rejected_of_many():
    """Bad boxes are counted by reason and block, bad frames too; the rest is counted."""
    week = Profile.from_arrays(
        xyxy=[[0, 0, 9, 9], [0, 0, NAN, 9], [0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 5, 5]],
        confidence=[0.5, 0.5, 2.0, 0.5, 0.5],
        class_id=[0, 0, 0, -3, 2],
        frame=[0, 0, 1, 1, 2],
        image_size=[(9, 9), (9, 9), (0, 9), (9, 9)],
        camera=["a", "a", "b", "b"],
        at=[MONDAY] * 4,
        invalid="count",
    )

    assert {"box": 1, "confidence": 1, "class": 1, "outside": 1, "frame": 1} == week.rejected
    assert (3, 1) == (week.frames, week.boxes)
    assert [[2, 1]] == week.frames_by_block().tolist()
    assert {"outside": 1, "frame": 1} == week.slice(camera="b").rejected


def test_own_features_of_many():
    """Formulas see all frames of the call; values come as columns."""
    share = Feature(
        name="share_high",
        level="frame",
        edges=[0.5],
        compute=lambda batch: np.bincount(
            batch.frame, weights=batch.confidence > 0.5, minlength=len(batch.boxes_per_frame)
        ),
    )
    weight = Feature(name="weight", level="box", edges=[1.0, 2.0])
    week = Profile.from_arrays(
        xyxy=[[0, 0, 9, 9]] * 3,
        confidence=[0.4, 0.9, 0.1],
        class_id=[0, 0, 0],
        frame=[2, 2, 0],
        image_size=(9, 9),
        camera="c",
        at=[MONDAY] * 3,
        values={"weight": [0, 1, 2]},
        features=[*DEFAULT_FEATURES, share, weight],
    )

    assert [2, 1] == week.counts("share_high")[0, 0].tolist()
    assert [1, 1, 1] == week.counts("weight")[0, 0].tolist()


def test_ten_million_boxes_in_one_frame():
    """Hostile, but only numbers: it is worked on in chunks (a tenth of it here, for time)."""
    n = 1_000_000
    rng = np.random.default_rng(0)
    corner = rng.random((n, 2), dtype=np.float32) * 400
    found = Detections(
        xyxy=np.hstack([corner, corner + 10]),
        confidence=rng.random(n),
        class_id=np.zeros(n, dtype=np.int64),
        image_size=(HEIGHT, WIDTH),
    )
    week = profile_of([(found, "c", MONDAY)])

    assert (1, n) == (week.frames, week.boxes)
    assert 1 == week.counts("boxes_per_frame")[0, 0, -1]


# Counts made elsewhere -----------------------------------------------------------------------


def test_counts_give_the_profile_back():
    """`from_counts` is the inverse of `counts`, whatever the order of the names."""
    week = profile_of(stream(5, 200), context=Context(conf=0.25))
    turn = slice(None, None, -1)
    counts = {
        name: week.counts(name, by_class=True)[turn, turn, turn]
        if week.features[name].level == "box"
        else week.counts(name)[turn, turn]
        for name in week.features
    }
    again = Profile.from_counts(
        counts,
        periods=week.periods[turn],
        cameras=week.cameras[turn],
        class_ids=week.class_ids[turn],
        context=week.context,
    )

    assert week == again


def test_counts_of_some_features():
    """Boxes come from the first box feature, frames from boxes_per_frame or from `frames`."""
    confidence = np.zeros((1, 1, 1, 1000), dtype=int)
    confidence[..., 400] = 7
    week = Profile.from_counts(
        {"confidence": confidence}, periods=[MONDAY], cameras=["c"], frames=[[3]]
    )

    assert (3, 7) == (week.frames, week.boxes)
    assert ["confidence", "class"] == list(week.features)
    assert 7 == week.counts("class")[0, 0, 0]
    assert "boxes_per_frame" not in week.features


BAD_COUNTS = {
    "shape": ({"confidence": np.zeros((1, 1, 1000))}, {}, r"expected \(1, 1, 1, 1000\)"),
    "negative": ({"confidence": np.full((1, 1, 1, 1000), -1)}, {}, "at least 0, got .*-1"),
    "half": ({"confidence": np.full((1, 1, 1, 1000), 0.5)}, {}, "whole numbers"),
    "nan": ({"confidence": np.full((1, 1, 1, 1000), NAN)}, {}, "whole numbers"),
    "words": ({"confidence": np.full((1, 1, 1, 1000), "x")}, {}, "whole numbers"),
    "unknown": ({"size": np.zeros((1, 1, 1, 5))}, {}, "size"),
    "no frames": ({"confidence": np.zeros((1, 1, 1, 1000))}, {"frames": None}, "frames="),
    "inside": ({}, {"periods": [MONDAY + timedelta(hours=1)]}, "inside a period"),
    "class": ({}, {"class_ids": [-1]}, "class_ids"),
    "large class": ({}, {"class_ids": [2**16]}, "65536"),
    "camera": ({}, {"cameras": [7]}, "camera=7"),
}


@pytest.mark.parametrize(("counts", "change", "said"), BAD_COUNTS.values(), ids=list(BAD_COUNTS))
def test_wrong_counts_are_refused(counts, change, said):
    """The value and its name are in the message."""
    place = {"periods": [MONDAY], "cameras": ["c"], "class_ids": [0], "frames": [[1]]}

    with pytest.raises(InputError, match=said):
        Profile.from_counts(counts, **{**place, **change})


def test_rows_give_the_profile_back():
    """`from_rows` is the inverse of `to_rows`, in any order; halves of a count add up."""
    week = profile_of(stream(6, 200), invalid="count", context=Context(model="m"))
    rows = week.to_rows()
    order = np.random.default_rng(0).permutation(len(rows["count"]))
    mixed = {name: column[order] for name, column in rows.items()}
    doubled = {name: np.concatenate([column, column]) for name, column in mixed.items()}

    assert week == Profile.from_rows(**mixed, context=week.context)
    assert week + week == Profile.from_rows(**doubled, context=week.context)


def test_rows_of_a_group_by():
    """What SQL gives: the class mix and the frames follow from the features."""
    week = profile_of(stream(6, 200))
    rows = week.to_rows()
    keep = ~np.isin(rows["feature"].astype(str), ["class", "frames"])

    assert week == Profile.from_rows(**{name: column[keep] for name, column in rows.items()})


def test_rows_of_frames_only():
    """A query may count volume alone."""
    week = Profile.from_rows(
        camera=["c"] * 2,
        period=[MONDAY] * 2,
        class_id=[-1, 0],
        feature=["boxes_per_frame", "class"],
        bin=[2, 0],
        count=[5, 10],
        features=[BOXES_PER_FRAME],
    )
    silent = Profile.from_rows(
        camera=["c"],
        period=[MONDAY],
        class_id=[-1],
        feature=["boxes_per_frame"],
        bin=[0],
        count=[5],
        features=[BOXES_PER_FRAME],
    )

    assert (5, 10) == (week.frames, week.boxes)
    assert (5, 0) == (silent.frames, silent.boxes)


def test_no_rows():
    """A group-by over nothing gives an empty profile of the features asked for."""
    empty = dict.fromkeys(("camera", "period", "class_id", "feature", "bin", "count"), ())

    assert ProfileBuilder(features=[AREA]).profile() == Profile.from_rows(**empty, features=[AREA])


BAD_ROWS = {
    "feature": ({"feature": ["size"]}, "size"),
    "bin": ({"bin": [1000]}, "bin 1000 of 'confidence', which has 1000 bins"),
    "negative": ({"bin": [-1]}, "bin must hold whole numbers"),
    "count": ({"count": [0.5]}, "count must hold whole numbers"),
    "short": ({"camera": ["a", "b"]}, "camera has shape"),
    "nobody": ({"camera": [None]}, "camera=None"),
    "inside": ({"period": [datetime(2026, 11, 2, 1, tzinfo=UTC)]}, "inside a period"),
}


@pytest.mark.parametrize(("change", "said"), BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_wrong_rows_are_refused(change, said):
    """The value and its column are in the message."""
    row = {
        "camera": ["c"],
        "period": [MONDAY],
        "class_id": [0],
        "feature": ["confidence"],
        "bin": [3],
        "count": [1],
    }

    with pytest.raises(InputError, match=said):
        Profile.from_rows(**{**row, **change})


def test_rows_without_frames_are_refused():
    """Without frames there is no exposure, and no volume."""
    with pytest.raises(InputError, match="'frames'"):
        Profile.from_rows(
            camera=["c"], period=[MONDAY], class_id=[0], feature=["confidence"], bin=[3], count=[1]
        )


# Reading a profile ---------------------------------------------------------------------------


def test_unknown_features_are_named():
    """With those that there are."""
    week = profile_of(stream(1, 5), features=[CONFIDENCE, BOXES_PER_FRAME, FRAME_CONFIDENCE])

    with pytest.raises(InputError, match="no feature 'area' in this profile; it has confidence"):
        week.counts("area")
    with pytest.raises(InputError, match="has no class"):
        week.counts("boxes_per_frame", by_class=True)


def test_select_keeps_the_rest():
    """Fewer features, the same frames and classes."""
    week = profile_of(stream(1, 50))
    part = week.select(["confidence"])

    assert ["confidence", "class"] == list(part.features)
    assert (week.frames, week.boxes) == (part.frames, part.boxes)
    assert np.array_equal(week.counts("confidence"), part.counts("confidence"))
    assert np.array_equal(week.counts("class"), part.counts("class"))


def test_slices_of_several():
    """Names and indexes may be given in a collection; times are the starts of periods."""
    week = profile_of(stream(1, 72))
    part = week.slice(
        camera=["cam-0", "cam-2"],
        class_id={0, 1},
        start=MONDAY + timedelta(days=1),
        end=MONDAY + timedelta(days=2),
    )

    assert ("cam-0", "cam-2") == part.cameras
    assert [0, 1] == part.class_ids.tolist()
    assert [np.datetime64("2026-11-03")] == part.periods.tolist()[:0] + list(part.periods)


def test_mean_confidence_is_close():
    """The bins' middles are at most 0.0005 from the scores; 0.5 ± 0.3 here over 500 boxes."""
    rng = np.random.default_rng(3)
    scores = rng.beta(3, 2, 500)
    week = Profile.from_arrays(
        xyxy=np.tile([0, 0, 9, 9], (500, 1)),
        confidence=scores,
        class_id=np.zeros(500, dtype=int),
        frame=np.zeros(500, dtype=int),
        image_size=(9, 9),
        camera="c",
        at=[MONDAY],
    )

    assert abs(scores.mean() - week.mean_confidence()[0, 0]) < 0.0005


def test_samples():
    """Frames, boxes and mean confidence of each camera and period, as the volume rule takes them."""
    seen = list(stream(9, 30))
    samples = profile_of(seen).to_samples(deployment="acme/line-3")
    first = [s for s in samples if s.labels == {"camera": "cam-1"} and s.at == MONDAY]
    mine = [d for d, camera, at in seen if camera == "cam-1" and at < MONDAY + timedelta(days=1)]
    values = {s.metric: s.value for s in first}

    assert {"detections.frames", "detections.count", "detections.confidence_mean"} == set(values)
    assert len(mine) == values["detections.frames"]
    assert sum(map(len, mine)) == values["detections.count"]
    assert {timedelta(days=1)} == {s.width for s in samples}
    assert {"acme/line-3"} == {s.deployment for s in samples}


def test_samples_leave_out_what_is_still_filling():
    """A day that has not ended is not judged; a block without boxes has no mean."""
    week = profile_of(stream(9, 30))
    done = week.to_samples(until=MONDAY + timedelta(days=1, hours=6))
    empty = {"xyxy": [], "confidence": [], "class_id": [], "frame": [], "image_size": (9, 9)}
    silent = Profile.from_arrays(**empty, camera="c", at=[MONDAY])

    assert {MONDAY} == {s.at for s in done}
    assert ["detections.frames", "detections.count"] == [s.metric for s in silent.to_samples()]
    assert 2 == len(Profile.merge(silent).select([]).to_samples())


def test_a_person_can_read_it():
    """How much of what, from when to when, under which settings, by camera and class."""
    week = profile_of(
        stream(1, 30), context=Context(model="best.pt", conf=0.25, class_names={0: "cat"})
    )
    text = str(week)

    assert (
        "<Profile: 30 frames, 79 boxes of 5 classes, 3 cameras, "
        "2026-11-02 00:00 to 2026-11-04 00:00 UTC>" == repr(week)
    )
    for line in ("  model: best.pt", "  conf: 0.25", "  cam-0: 10 frames", "  cat: "):
        assert line in text
