"""The builder in the request path: exact, thread-safe, bounded, and clear about what it refuses."""

import gc
import pickle
import sys
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_kit import HEIGHT, MONDAY, WIDTH, frame, nothing, one_box, profile_of, stream

from driftline.errors import ContextMismatch, InputError
from driftline.profiles import (
    CONFIDENCE,
    DEFAULT_FEATURES,
    Feature,
    FrameReservoir,
    Profile,
    ProfileBuilder,
)
from driftline.profiles._judge import countable, good
from driftline.records import Context, Detections

NAN, INF = float("nan"), float("inf")

HOSTILE = {
    "nan confidence": ({"confidence": NAN}, "confidence", r"confidence=nan"),
    "inf confidence": ({"confidence": INF}, "confidence", r"confidence=inf"),
    "a little above one": ({"confidence": 1.0000001}, "confidence", r"confidence=1\.0000001"),
    "negative confidence": ({"confidence": -0.1}, "confidence", r"confidence=-0\.1"),
    "nan in a box": ({"xyxy": (0, NAN, 9, 9)}, "box", r"xyxy=\[0\.0, nan"),
    "inf in a box": ({"xyxy": (0, 0, INF, 9)}, "box", r"inf"),
    "absurd pixels": ({"xyxy": (0, 0, 1e300, 9)}, "box", r"1e\+300"),
    "inverted in x": ({"xyxy": (9, 0, 8, 9)}, "box", r"left <= right"),
    "inverted in y": ({"xyxy": (0, 9, 9, 8)}, "box", r"top <= bottom"),
    "negative box": ({"xyxy": (-9, -9, -5, -5)}, "outside", r"outside its frame of 640 x 480"),
    "right of the frame": ({"xyxy": (641, 0, 650, 9)}, "outside", r"outside"),
    "below the frame": ({"xyxy": (0, 481, 9, 490)}, "outside", r"outside"),
    "negative class": ({"class_id": -1}, "class", r"class_id=-1"),
    "absurd class": ({"class_id": 65536}, "class", r"class_id=65536"),
}
hostile = pytest.mark.parametrize(
    ("settings", "reason", "said"), HOSTILE.values(), ids=list(HOSTILE)
)


@hostile
def test_hostile_boxes_are_refused(settings, reason, said):
    """By default the call is refused, names the value, and counts nothing of the frame."""
    builder = ProfileBuilder()

    with pytest.raises(InputError, match=said):
        builder.observe(one_box(**settings), camera="c", at=MONDAY)

    assert 0 == builder.profile().frames


@hostile
def test_hostile_boxes_are_counted_as_rejected(settings, reason, said):
    """With invalid="count" the frame counts, the box does not, and its reason is kept."""
    builder = ProfileBuilder(invalid="count")
    bad, fine = one_box(**settings), one_box(confidence=0.25)
    both = Detections(
        xyxy=[*bad.xyxy, *fine.xyxy],
        confidence=[*bad.confidence, *fine.confidence],
        class_id=[*bad.class_id, *fine.class_id],
        image_size=(HEIGHT, WIDTH),
    )

    builder.observe(both, camera="c", at=MONDAY)
    week = builder.profile()

    assert {reason: 1} == week.rejected
    assert (1, 1) == (week.frames, week.boxes)
    assert 1 == week.counts("boxes_per_frame")[0, 0, 1]
    assert 1 == week.counts("frame_confidence")[0, 0, 250]
    assert f"rejected for its {reason}: 1" in str(week)


@hostile
def test_the_quick_judgement_is_the_slow_one(settings, reason, said):
    """Few boxes are judged in plain Python, many in numpy; the answer is one."""
    bad, fine = one_box(**settings), one_box()

    assert not good(bad)
    assert not countable(bad).any()
    assert good(fine)
    assert countable(fine).all()


numbers = st.one_of(
    st.floats(width=64), st.sampled_from([0.0, -0.0, 1.0, 480.0, 640.0, 640.1, -1e-9, 1e9, 1e10])
)


@settings(max_examples=300, deadline=None)
@given(st.tuples(numbers, numbers, numbers, numbers), numbers, st.integers(-2, 2**17))
def test_both_judgements_agree_on_every_float(xyxy, confidence, class_id):
    """Also on infinities, nan, signed zeros and borders."""
    found = one_box(xyxy=xyxy, confidence=confidence, class_id=class_id)

    assert good(found) == bool(countable(found).all())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.tuples(numbers, numbers, numbers, numbers), numbers), max_size=5))
def test_whatever_comes_every_box_is_counted_once(rows):
    """Boxes counted and boxes rejected are the boxes observed, in every feature."""
    found = Detections(
        xyxy=[box for box, _ in rows],
        confidence=[c for _, c in rows],
        class_id=[0] * len(rows),
        image_size=(HEIGHT, WIDTH),
    )
    builder = ProfileBuilder(invalid="count")

    builder.observe(found, camera="c", at=MONDAY)
    week = builder.profile()

    assert 1 == week.frames
    assert len(rows) == week.boxes + sum(week.rejected.values())
    for feature in week.histograms:
        if feature.level == "box":
            assert week.boxes == week.counts(feature.name).sum()


def test_frames_without_area_are_refused():
    """There is no share of nothing: `Detections` refuses such frames at birth."""
    wrong = [(480, 640, 3), 640, None, ("480", "640")]
    for size in [(0, 640), (480, 0), (-1, 5), (NAN, 640), (INF, 640), *wrong]:
        with pytest.raises(InputError, match="image_size"):
            one_box(image_size=size)


def test_a_naive_time_is_refused():
    """Nobody can know which instant it means."""
    with pytest.raises(InputError, match="time zone"):
        ProfileBuilder().observe(nothing(), camera="c", at=datetime(2026, 11, 2))


@pytest.mark.parametrize("at", [1.7e9, "2026-11-02", MONDAY.date()])
def test_what_is_no_time_is_refused(at):
    """A number of seconds, a text or a date names no instant; the message names the argument."""
    with pytest.raises(InputError, match=r"^at="):
        ProfileBuilder().observe(nothing(), camera="c", at=at)


@pytest.mark.parametrize("found", [None, np.zeros((2, 6)), {"boxes": []}])
def test_foreign_detections_are_refused(found):
    """The message names the ways to make `Detections`; what is counted is nothing."""
    builder = ProfileBuilder()
    with pytest.raises(InputError, match="from_ultralytics"):
        builder.observe(found, camera="c", at=MONDAY)

    assert 0 == builder.profile().frames


def test_a_context_is_a_context():
    """A name of a model is refused at birth."""
    with pytest.raises(InputError, match="context='yolo26s'"):
        ProfileBuilder(context="yolo26s")


@pytest.mark.parametrize("at", [datetime.max, datetime.min])
def test_the_end_of_time_is_refused(at):
    """A camera whose clock is broken; also where its day would end after the last one."""
    builder = ProfileBuilder(utc_offset=timedelta(hours=5))

    with pytest.raises(InputError, match="check the clock"):
        builder.observe(nothing(), camera="c", at=at.replace(tzinfo=UTC))

    builder.observe(nothing(), camera="c", at=MONDAY)
    assert 1 == builder.profile().frames


@pytest.mark.parametrize("camera", [3, "", None])
def test_a_camera_is_a_name(camera):
    """A number is refused, and no name too: it stands for all cameras. Nothing is counted."""
    builder = ProfileBuilder(frames=FrameReservoir())
    with pytest.raises(InputError, match=f"camera={camera!r} must be a name"):
        builder.observe(nothing(), camera=camera, at=MONDAY, frame="a")

    assert 0 == builder.profile().frames


def test_invalid_is_one_of_two_words():
    """Anything else is refused at birth."""
    with pytest.raises(InputError, match="invalid='ignore' must be one of 'raise', 'count'"):
        ProfileBuilder(invalid="ignore")


def test_frames_without_boxes_count():
    """They are frames, and their boxes per frame is 0."""
    week = profile_of([(nothing(), "c", MONDAY)] * 5)

    assert (5, 0) == (week.frames, week.boxes)
    assert 5 == week.counts("boxes_per_frame")[0, 0, 0]
    assert (1, 1, 0) == week.counts("class").shape


def test_an_empty_week():
    """A builder that saw nothing gives a profile that says so, and samples of nothing."""
    week = ProfileBuilder().profile()

    assert "<Profile: nothing observed>" == repr(week)
    assert () == week.to_samples()
    assert (0, 0, 1000) == week.counts("confidence").shape
    assert (0, 0) == (week.frames, week.boxes)


def test_a_camera_that_is_missing_is_not_zero():
    """A camera that was silent on a day has no frames there; one never seen is not listed."""
    week = profile_of([(one_box(), "a", MONDAY), (one_box(), "b", MONDAY + timedelta(days=1))])

    assert [[1, 0], [0, 1]] == week.frames_by_block().tolist()
    assert ("a", "b") == week.cameras
    assert 0 == week.slice(camera="c").frames
    assert 6 == len(week.to_samples())


def test_profile_is_a_snapshot():
    """Observing goes on after it, and does not change it."""
    builder = ProfileBuilder()
    builder.observe(one_box(), camera="c", at=MONDAY)
    first = builder.profile()
    builder.observe(one_box(), camera="c", at=MONDAY)

    assert (1, 2) == (first.frames, builder.profile().frames)
    assert builder.profile() == builder.profile()


def test_drain_begins_anew():
    """What is drained is given out once; the parts are the whole."""
    seen = list(stream(3, 50))
    builder = ProfileBuilder()
    parts = []
    for i, (found, camera, at) in enumerate(seen):
        builder.observe(found, camera=camera, at=at)
        if i % 7 == 0:
            parts.append(builder.drain())
    parts.append(builder.drain())

    assert 0 == builder.profile().frames
    assert profile_of(seen) == Profile.merge(*parts)


def test_the_callers_arrays_are_not_kept():
    """An array that is used again after the call does not change what was counted."""
    found = one_box(confidence=0.25)
    builder = ProfileBuilder()
    builder.observe(found, camera="c", at=MONDAY)
    found.confidence[:] = 0.9
    found.xyxy[:] = 0

    assert 1 == builder.profile().counts("confidence")[0, 0, 250]


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1023, 1024, 1025, 70_000])
def test_every_size_of_frame_takes_the_same_way(n):
    """Through the buffer or past it, one frame or many, a box counts once in each feature."""
    rng = np.random.default_rng(n)
    week = profile_of([(frame(rng, n), "c", MONDAY), (frame(rng, 3), "c", MONDAY)])

    assert (2, n + 3) == (week.frames, week.boxes)
    for name in ("confidence", "area", "width", "height", "aspect", "center_x", "center_y"):
        assert n + 3 == week.counts(name).sum()
    assert 2 == week.counts("boxes_per_frame").sum()


def test_counts_are_those_of_numpy():
    """Held against histograms made the plain way, block by block and class by class."""
    seen = list(stream(11, 800, step=timedelta(minutes=37)))
    week = profile_of(seen)

    for p, start in enumerate(week.periods):
        for c, camera in enumerate(week.cameras):
            mine = [
                d
                for d, name, at in seen
                if name == camera and np.datetime64(at.replace(tzinfo=None), "D") == start
            ]
            assert len(mine) == week.frames_by_block()[p, c]
            scores = np.concatenate([d.confidence for d in mine] or [np.zeros(0)])
            ids = np.concatenate([d.class_id for d in mine] or [np.zeros(0)])
            edges = np.concatenate([[-np.inf], CONFIDENCE.edges, [np.inf]])
            for k, class_id in enumerate(week.class_ids):
                expected, _ = np.histogram(scores[ids == class_id], edges)
                assert np.array_equal(expected, week.counts("confidence", by_class=True)[p, c, k])
            lengths = np.bincount([len(d) for d in mine] or [0], minlength=89)
            if mine:
                assert np.array_equal(lengths, week.counts("boxes_per_frame")[p, c])


def test_threads_lose_nothing():
    """Four threads observe while another takes snapshots and drains; every frame is counted once."""
    builder = ProfileBuilder()
    seen = [list(stream(seed, 400, step=timedelta(minutes=7))) for seed in range(4)]
    parts, stop = [], threading.Event()

    def observe(frames):
        for found, camera, at in frames:
            builder.observe(found, camera=camera, at=at)

    def take():
        while not stop.is_set():
            builder.profile()
            parts.append(builder.drain())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=observe, args=(frames,)) for frames in seen]
        taker = threading.Thread(target=take)
        for thread in [*workers, taker]:
            thread.start()
        for thread in workers:
            thread.join()
        stop.set()
        taker.join()
    finally:
        sys.setswitchinterval(interval)
    parts.append(builder.drain())

    assert profile_of([f for frames in seen for f in frames]) == Profile.merge(*parts)


def test_memory_does_not_grow_with_traffic():
    """After the first frames, ten times as many add less than 100 kB (one block's rows: 40 kB)."""
    rng = np.random.default_rng(5)
    some = [frame(rng) for _ in range(200)]
    builder = ProfileBuilder()

    def observe(times):
        for _ in range(times):
            for found in some:
                builder.observe(found, camera="c", at=MONDAY)

    observe(10)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        observe(100)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 100_000


def test_quiet_classes_take_little_memory():
    """A class with few boxes costs a list of bins, not a row of counts (25 kB)."""
    builder = ProfileBuilder()
    n = 2000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for k in range(n):
            builder.observe(one_box(class_id=k), camera="c", at=MONDAY)
        builder.profile()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / n < 2_000


def test_too_many_cameras_are_refused(monkeypatch):
    """A request id in place of a camera's name would grow for ever; the message says so."""
    monkeypatch.setattr("driftline.profiles._counter.BLOCKS", 3)
    builder = ProfileBuilder()

    with pytest.raises(InputError, match="name cameras, not requests"):
        for i in range(5):
            builder.observe(nothing(), camera=f"request-{i}", at=MONDAY)

    assert 3 == builder.profile().frames


def test_class_names_are_learned():
    """Names come with the detections; one class has one name."""
    builder = ProfileBuilder(context=Context(model="m.pt"))
    cat = Detections(
        xyxy=[[0, 0, 9, 9]],
        confidence=[0.5],
        class_id=[0],
        image_size=(9, 9),
        class_names={0: "cat"},
    )
    dog = Detections(
        xyxy=[[0, 0, 9, 9]],
        confidence=[0.5],
        class_id=[0],
        image_size=(9, 9),
        class_names={0: "dog"},
    )
    builder.observe(cat, camera="c", at=MONDAY)

    with pytest.raises(ContextMismatch, match="class 0 is 'cat' and 'dog'"):
        builder.observe(dog, camera="c", at=MONDAY)

    week = builder.profile()
    assert 1 == week.frames
    assert Context(model="m.pt", class_names={0: "cat"}) == week.context
    assert {0: "cat"} == week.class_names


# The user's own features ---------------------------------------------------------------------

BRIGHTNESS = Feature(name="brightness", level="frame", edges=[0.25, 0.5, 0.75], unit="0 to 1")
BOTTOM = Feature(
    name="bottom",
    level="box",
    edges=np.linspace(0.1, 0.9, 9),
    compute=lambda batch: batch.xyxy[:, 3] / batch.frame_height,
)
MOST = Feature(
    name="most",
    level="frame",
    edges=[0.5],
    compute=lambda batch: [batch.confidence.max() if len(batch.confidence) else NAN],
)
OWN = [*DEFAULT_FEATURES, BRIGHTNESS, BOTTOM, MOST]


def test_own_features():
    """With a formula, or with values that the caller passes; nan has no bin and is not counted."""
    builder = ProfileBuilder(features=OWN)
    for found, brightness in [(one_box(), 0.3), (one_box(confidence=0.2), 0.9), (nothing(), NAN)]:
        builder.observe(found, camera="c", at=MONDAY, values={"brightness": brightness})
    week = builder.profile()

    assert [0, 1, 0, 1] == week.counts("brightness")[0, 0].tolist()
    assert [1, 1] == week.counts("most")[0, 0].tolist()
    assert 2 == week.counts("bottom")[0, 0, 1]
    assert 3 == week.frames


def test_own_values_pass_through_the_buffer():
    """Values stay with their boxes over many frames, also when the profile is of several classes."""
    weight = Feature(name="weight", level="box", edges=np.arange(1, 50))
    builder = ProfileBuilder(features=[CONFIDENCE, weight])
    rng = np.random.default_rng(8)
    all_ids, all_values = [], []
    for _ in range(600):
        found = frame(rng, int(rng.integers(0, 8)))
        values = rng.integers(0, 50, len(found))
        all_ids += found.class_id.tolist()
        all_values += values.tolist()
        builder.observe(found, camera="c", at=MONDAY, values={"weight": values})
    counts = builder.profile().counts("weight", by_class=True)[0, 0]
    expected = np.zeros_like(counts)
    np.add.at(expected, (all_ids, all_values), 1)

    assert np.array_equal(expected, counts)


def test_own_values_of_rejected_boxes_are_left_out():
    """The value goes with its box."""
    weight = Feature(name="weight", level="box", edges=[1.0, 2.0])
    builder = ProfileBuilder(features=[CONFIDENCE, weight], invalid="count")
    found = Detections(
        xyxy=[[0, 0, 9, 9]] * 3, confidence=[0.5, NAN, 0.5], class_id=[0, 0, 0], image_size=(9, 9)
    )
    builder.observe(found, camera="c", at=MONDAY, values={"weight": [0, 1, 2]})

    assert [1, 0, 1] == builder.profile().counts("weight")[0, 0].tolist()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "'brightness' has no formula"),
        ({"brightness": [0.1, 0.2]}, "shape"),
        ({"brightness": 0.1, "contrast": 1.0}, "contrast"),
        ({"brightness": 0.1, "bottom": [1.0, 2.0]}, "shape"),
        ({"brightness": 0.1, "confidence": [1.0]}, "confidence"),
    ],
)
def test_wrong_values_are_refused(values, said):
    """Missing, unknown or too many values; nothing of the frame is counted."""
    builder = ProfileBuilder(features=OWN)

    with pytest.raises(InputError, match=said):
        builder.observe(one_box(), camera="c", at=MONDAY, values=values)

    assert 0 == builder.profile().frames


def test_an_error_in_a_formula_reaches_its_own_caller():
    """It is raised by the call whose frame it is of, not later in somebody else's."""

    def formula(batch):
        if batch.confidence[0] > 0.9:
            raise ZeroDivisionError
        return batch.confidence

    builder = ProfileBuilder(
        features=[Feature(name="x", level="box", edges=[0.5], compute=formula)]
    )
    builder.observe(one_box(), camera="c", at=MONDAY)
    with pytest.raises(ZeroDivisionError):
        builder.observe(one_box(confidence=0.95), camera="c", at=MONDAY)
    builder.observe(one_box(), camera="c", at=MONDAY)

    assert 2 == builder.profile().frames


def test_repr_says_what_is_counted():
    """Features and period, no counts."""
    assert "<ProfileBuilder: confidence by camera and 1:00:00>" == repr(
        ProfileBuilder(features=[CONFIDENCE], period=timedelta(hours=1))
    )


@pytest.mark.parametrize(
    "period", [timedelta(0), timedelta(hours=5), timedelta(days=1.5), -timedelta(1)]
)
def test_periods_line_up_with_days(period):
    """They divide a day, or are whole days."""
    with pytest.raises(InputError, match="divide a day"):
        ProfileBuilder(period=period)


def test_a_period_is_a_length_of_time():
    """A word is refused, and so is a bare number."""
    for wrong in ("day", 24):
        with pytest.raises(InputError, match=r"^period="):
            ProfileBuilder(period=wrong)


def test_offsets_are_less_than_a_day():
    """A time zone is."""
    with pytest.raises(InputError, match="utc_offset"):
        ProfileBuilder(utc_offset=timedelta(days=1))


def test_a_profile_can_be_pickled():
    """Worker processes hand it back, although formulas of features are functions without a name."""
    week = profile_of(stream(1, 20), features=[*DEFAULT_FEATURES, BOTTOM])

    assert week == pickle.loads(pickle.dumps(week))


def test_features_are_features():
    """A name in place of a feature is refused; features from a generator are all counted."""
    for wrong in (3, "area", ["area"]):
        with pytest.raises(InputError, match="features"):
            ProfileBuilder(features=wrong)

    builder = ProfileBuilder(features=(each for each in DEFAULT_FEATURES))
    assert [each.name for each in DEFAULT_FEATURES] == [
        each.name for each in builder.profile().histograms
    ]
