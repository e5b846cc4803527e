"""What no profile can be made of is refused by name, whatever its type."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from profile_kit import MONDAY, one_box, stream

from driftline.errors import InputError, UnreadableData
from driftline.profiles import (
    CONFIDENCE,
    Calendar,
    Feature,
    FrameReservoir,
    Profile,
    ProfileBuilder,
    Region,
    class_weights,
    from_coco,
    queue,
    uncertainty,
    within,
)

NAIVE = datetime(2026, 11, 2)
HALF = "cam-\ud800"
RAGGED = [[1, 2], [3]]


@pytest.fixture(scope="module")
def week():
    """A day of two cameras."""
    builder = ProfileBuilder()
    for found, camera, at in stream(1, 24, cameras=2):
        builder.observe(found, camera=camera, at=at)
    return builder.profile()


def many(**changes):
    """Two boxes of two frames in one call, with something changed."""
    table = {
        "xyxy": [[0, 0, 9, 9]] * 2,
        "confidence": [0.5] * 2,
        "class_id": [0, 1],
        "frame": [0, 1],
        "image_size": (9, 9),
        "camera": ["a", "b"],
        "at": [MONDAY] * 2,
    }
    return Profile.from_arrays(**(table | changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("xyxy", RAGGED),
        ("confidence", RAGGED),
        ("class_id", [np.inf, 0]),
        ("class_id", RAGGED),
        ("frame", [np.nan, 0]),
        ("image_size", "640x480"),
        ("image_size", (480, 640, 3)),
        ("camera", 3),
        ("camera", [["a", "b"]]),
        ("camera", ["a", []]),
        ("camera", ["a", HALF]),
        ("at", 3),
        ("at", [MONDAY, NAIVE]),
        ("frames", "two"),
        ("frames", -1),
        ("values", 3),
        ("values", {3: [1, 2]}),
        ("context", "yolo26s"),
        ("features", np.array(3)),
        ("invalid", np.zeros(2)),
    ],
)
def test_wrong_columns(name, value):
    """Rows of several lengths, words for numbers, single things for lists."""
    with pytest.raises(InputError):
        many(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("camera", HALF), ("camera", 3), ("detections", []), ("at", NAIVE), ("frame", 3)],
)
def test_wrong_offers(name, value):
    """A reservoir by itself is as careful as the builder, and keeps nothing of it."""
    reservoir = FrameReservoir()
    offer = {"detections": one_box(), "camera": "a", "at": MONDAY, "frame": "a"}
    with pytest.raises(InputError):
        reservoir.offer(**(offer | {name: value}))

    assert 0 == len(reservoir)


@pytest.mark.parametrize(
    "settings",
    [
        {"uncertain": "many"},
        {"uniform": 1.5},
        {"keep": 0},
        {"per": 3600},
        {"seed": "one"},
        {"seed": 2**127},
        {"class_weights": {0: "high"}},
        {"class_weights": [1.0]},
        {"probability": 0.5},
        {"features": [3]},
    ],
)
def test_wrong_reservoirs(settings):
    """Refused at birth, by the name of the argument."""
    with pytest.raises(InputError, match=next(iter(settings))):
        FrameReservoir(**settings)


WRONG = {
    "slice by a number": lambda week: week.slice(camera=3),
    "slice from a naive time": lambda week: week.slice(start=NAIVE),
    "slice by half a class": lambda week: week.slice(class_id=0.5),
    "select a number": lambda week: week.select(3),
    "counts of a list": lambda week: week.counts(["area"]),
    "coarsen by seconds": lambda week: week.coarsen(86400),
    "ignore a number": lambda week: Profile.merge(week, week, ignore=3),
    "no bytes": lambda _: Profile.from_bytes("profile"),
    "no number of bytes": lambda week: Profile.from_bytes(week.to_bytes(), max_bytes="1 GB"),
    "naive start": lambda _: Calendar().start(NAIVE),
    "starts of words": lambda _: Calendar().starts("monday"),
    "no name": lambda _: Feature(name=3, level="box", edges=[1.0]),
    "level of arrays": lambda _: Feature(name="a", level=np.zeros(2), edges=[1.0]),
    "bins of words": lambda _: CONFIDENCE.bin("high"),
    "bins without end": lambda _: Feature.uniform(
        "a", level="box", bins_per_unit=1, first_edge=0, n_bins=10**12
    ),
    "counts of a list of counts": lambda week: Profile.from_counts(
        [1], periods=week.periods, cameras=week.cameras
    ),
    "weights of no profile": lambda _: class_weights([1]),
    "how unsure a list is": lambda _: uncertainty([]),
    "how unsure by a number": lambda _: uncertainty(one_box(), probability=0.5),
    "one chance for all": lambda _: uncertainty(one_box(), probability=lambda _: 0.5),
    "a queue of words": lambda _: queue(["a"], 3, gap=timedelta(0)),
    "a queue of many": lambda _: queue([], "many", gap=timedelta(0)),
    "frames since a naive time": lambda _: within([], start=NAIVE),
    "unsure since a naive time": lambda _: FrameReservoir().uncertain(start=NAIVE),
    "random until a naive time": lambda _: FrameReservoir().uniform(end=NAIVE),
    "a camera for all images": lambda _: from_coco({"images": []}, camera="cam-1"),
    "a name no file has": lambda _: from_coco("coco\0.json"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=list(WRONG))
def test_wrong_arguments(call, week):
    """An error of ours, and no other, also from arguments that look harmless."""
    with pytest.raises(InputError):
        call(week)


def test_one_name_is_a_name(week):
    """Not the letters it is made of."""
    assert week.select(["area"]) == week.select("area")


def test_numbers_of_numpy_are_numbers(week):
    """An index out of an array chooses a class as well as one that was typed."""
    assert week.slice(class_id=1) == week.slice(class_id=np.int64(1))


def test_class_names_of_any_text_can_be_kept():
    """JSON may hold half of a surrogate pair, which UTF-8 cannot; the file keeps it."""
    builder = ProfileBuilder()
    found = one_box()
    object.__setattr__(found, "class_names", {0: "cup \ud83e"})
    builder.observe(found, camera="a", at=MONDAY)
    week = builder.profile()

    assert week == Profile.from_bytes(week.to_bytes())


def test_parquet_of_no_calendar(tmp_path, week):
    """A header that no profile has is the file's fault."""
    pq = pytest.importorskip("pyarrow.parquet")
    week.to_parquet(tmp_path / "week.parquet")
    table = pq.read_table(tmp_path / "week.parquet")
    head = table.schema.metadata[b"driftline.profile"].replace(b"86400.0", b"7.0")
    pq.write_table(
        table.replace_schema_metadata({b"driftline.profile": head}), tmp_path / "odd.parquet"
    )
    with pytest.raises(UnreadableData, match="period"):
        Profile.from_parquet(tmp_path / "odd.parquet")


def test_a_region_sees_frames_of_its_time():
    """Aware times of any zone bound the frames."""
    reservoir = FrameReservoir()
    reservoir.offer(one_box(), camera="a", at=MONDAY, frame="a")

    assert 1 == len(reservoir.uncertain(regions=[Region()], start=MONDAY.astimezone(UTC)))
