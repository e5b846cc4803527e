"""The holdout as an object: what it consists of, what becomes of it, and what must hold."""

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from driftline.errors import (
    ContextMismatch,
    InputError,
    TooLittleData,
    UnreadableData,
)
from driftline.holdout import (
    Holdout,
    HoldoutValidator,
    LabelledFrame,
    Manifest,
    PoolFrame,
    Provenance,
)
from driftline.holdout._checks import class_numbers
from driftline.holdout._sampling import _allocate
from driftline.records import Detections
from driftline.testing import CLASS_NAMES, Scenes, ShapeFinder, darken, jpeg, shift, write_yolo

NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)
NAMES = list(CLASS_NAMES.values())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    return write_yolo(root, Scenes(seed=5, empty=0.0).frames(12), "test")


@pytest.fixture
def data(written, tmp_path):
    shutil.copytree(written.parent, tmp_path / "set")
    return tmp_path / "set" / "data.yaml"


def holdout_of(n, *, seed=5, start=0, **options):
    frames = [
        LabelledFrame(truth=one.truth, image=one.image, id=f"s{seed}-{one.number}")
        for one in Scenes(seed=seed, empty=0.0).frames(n, start=start)
    ]
    return Holdout.of(frames, CLASS_NAMES, **options)


# --- what it consists of ------------------------------------------------------------------------


def test_the_same_holdout_has_the_same_digest(data):
    """Moved as a whole it is the same; one label, one pixel or one class name more and it is not."""
    first = Holdout.open(data).digest
    shutil.copytree(data.parent, data.parent.parent / "moved")
    moved = data.parent.parent / "moved"
    assert first == Holdout.open(moved).digest

    label = min((moved / "labels" / "test").glob("*.txt"))
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    assert first != Holdout.open(moved).digest
    shutil.copyfile(data.parent / "labels" / "test" / label.name, label)
    assert first == Holdout.open(moved).digest
    picture = min((moved / "images" / "test").glob("*.png"))
    pixels = np.array(Image.open(picture))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    assert first != Holdout.open(moved).digest
    (data.parent / "data.yaml").write_text(data.read_text().replace("circle", "disc"))
    assert first != Holdout.open(data).digest


def test_a_saved_holdout_is_held_against_its_manifest(data):
    """Golden frames cannot change, come or go unseen."""
    Holdout.open(data).lock().save()
    again = Holdout.open(data)
    assert 12 == len(again.golden)
    label = min((data.parent / "labels" / "test").glob("*.txt"))
    before = label.read_text()

    label.write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ContextMismatch, match=r"cam-1-000000.png: changed"):
        Holdout.open(data)
    label.write_text(before)
    picture = data.parent / "images" / "test" / f"{label.stem}.png"
    picture.unlink()
    label.unlink()
    with pytest.raises(ContextMismatch, match=r"cam-1-000000.png: missing"):
        Holdout.open(data)


def test_manifest_round_trip(tmp_path):
    """What was written is read; what was changed by hand is not."""
    manifest = Manifest(
        class_names={0: "a"},
        frames={
            "x": Provenance(part="golden", source="cam-1", taken_at=NOW, image_sha256="sha256:1"),
            "y": Provenance(added_at=NOW, probability=0.25, labels_digest="2"),
        },
        tags={"x": {"camera": "cam-1"}},
        drawn=True,
        refreshed_at=NOW,
    )

    assert manifest == Manifest.load(manifest.save(tmp_path))
    file = manifest.save(tmp_path / "m.json")
    content = json.loads(file.read_text())
    content["frames"]["x"]["image_sha256"] = "sha256:3"
    file.write_text(json.dumps(content))
    with pytest.raises(UnreadableData, match="changed by hand"):
        Manifest.load(file)


@pytest.mark.parametrize("content", ["", "7", "{}", '{"schema": "x"}', "[" * 100_000])
def test_a_file_that_is_no_manifest(tmp_path, content):
    """Also beside data that is read."""
    (tmp_path / "m.json").write_text(content)

    with pytest.raises(UnreadableData, match=r"no manifest|schema"):
        Manifest.load(tmp_path / "m.json")


@pytest.mark.parametrize("tags", ["x", {"x": "cam-1"}, {"x": None}, [1]])
def test_tags_that_are_none_are_no_manifest(tmp_path, tags):
    """Tags are outside the digest, so that their form is looked at when they are read."""
    file = Manifest(class_names={0: "a"}, frames={"x": Provenance()}).save(tmp_path / "m.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tags": tags}))

    with pytest.raises(UnreadableData, match="no manifest"):
        Manifest.load(file)


def test_a_name_that_no_encoding_carries_is_no_manifest(tmp_path):
    """Half of a surrogate pair is valid JSON, and has no digest."""
    file = Manifest(class_names={0: "a"}, frames={"x": Provenance()}).save(tmp_path / "m.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"class_names": {"0": "\ud800"}}))

    with pytest.raises(UnreadableData, match="no manifest"):
        Manifest.load(file)


def test_differences_name_what_differs():
    """What one of the two did not record does not differ."""
    a = Manifest(
        class_names={0: "a"}, frames={"x": Provenance(image_sha256="1"), "y": Provenance()}
    )
    b = Manifest(
        class_names={0: "b"}, frames={"x": Provenance(image_sha256="2", labels_digest="3")}
    )

    assert () == a.differences(a)
    assert ("classes {0: 'a'} and {0: 'b'}", "x: another picture", "y: only in the first") == (
        a.differences(b)
    )
    with pytest.raises(ContextMismatch, match="not the same holdout: classes") as caught:
        a.require_same(b)
    assert ("holdout",) == caught.value.fields


def test_parts_and_roles():
    """The validator scores the recent part, or the golden one; a locked set is golden by itself."""
    locked = holdout_of(20, seed=1).lock()
    mixed = locked.refresh(holdout_of(25, seed=2), at=NOW)
    perfect = {frame.id: frame.truth for frame in mixed}

    recent = HoldoutValidator(mixed, as_found(perfect), replicates=2).validate()
    golden = HoldoutValidator(mixed, as_found(perfect), role="golden", replicates=2).validate()
    alone = HoldoutValidator(locked, as_found(perfect), replicates=2).validate()

    assert ("recent", 25) == (recent.role, recent.n_frames)
    assert ("golden", 20) == (golden.role, golden.n_frames)
    assert ("golden", 20) == (alone.role, alone.n_frames)


def as_found(truths):
    """Labels as detections that are sure of themselves."""
    return {
        name: Detections(
            xyxy=one.xyxy,
            confidence=np.ones(len(one)),
            class_id=one.class_id,
            image_size=one.image_size,
        )
        for name, one in truths.items()
    }


def test_refresh_links_the_quarters():
    """Golden frames stay, a random share of the recent ones links, the new ones are recent."""
    first = holdout_of(40, seed=1, added_at=NOW)
    later = NOW + timedelta(weeks=13)

    second = first.refresh(holdout_of(30, seed=2), at=later, overlap=0.25, seed=3)

    assert (0, 30, 10) == (len(second.golden), len(second.recent), len(second.link))
    assert {one.id for one in second.link} < {one.id for one in first}
    assert [one.id for one in second.link] == [
        one.id for one in first.refresh(holdout_of(30, seed=2), at=later, seed=3).link
    ]
    assert later + timedelta(weeks=13) == second.due
    third = second.refresh(holdout_of(30, seed=4), at=later)
    assert {one.id for one in third.link} <= {one.id for one in second.recent}
    with pytest.raises(InputError, match="is in both quarters"):
        first.refresh(holdout_of(30, seed=1), at=later)
    with pytest.raises(ContextMismatch, match="class 0 is 'circle'"):
        first.refresh(Holdout.of(holdout_of(3, seed=9), ["a", "b", "c"]), at=later)
    with pytest.raises(InputError, match="overlap=2"):
        first.refresh(holdout_of(30, seed=2), at=later, overlap=2)


def test_due():
    """Thirteen weeks after the recent frames were drawn; unknown where nobody said when."""
    assert holdout_of(3).due is None
    assert not holdout_of(3).is_due(NOW)
    drawn = holdout_of(3, added_at=NOW)

    assert NOW + timedelta(days=91) == drawn.due
    assert not drawn.is_due(NOW + timedelta(days=90))
    assert drawn.is_due(NOW + timedelta(days=91))
    assert timedelta(days=90) == drawn.age(NOW + timedelta(days=90))
    assert holdout_of(3).age(NOW) is None
    with pytest.raises(InputError, match="before the holdout was drawn, 20"):
        drawn.age(NOW - timedelta(days=1))


def joined_by(holdout, frames):
    """The holdout and the frames of another, each with the time it has there."""
    return evolve(
        holdout,
        frames=(*holdout.frames, *frames.frames),
        provenance={**holdout.provenance, **frames.provenance},
    )


@given(days=st.lists(st.integers(0, 400), max_size=4), locked=st.booleans())
def test_frames_that_join_postpone_nothing(days, locked):
    """A refresh is due a quarter after the draw, whatever frames joined since, or were locked."""
    holdout = holdout_of(4, seed=1, added_at=NOW)
    due = holdout.due
    for number, later in enumerate(days):
        at = NOW + timedelta(days=later)
        holdout = joined_by(
            holdout.lock() if locked else holdout, holdout_of(2, seed=2 + number, added_at=at)
        )

        assert due == holdout.due

    holdout = holdout.refresh(holdout_of(4, seed=9), at=due)

    assert due + timedelta(weeks=13) == holdout.due


def test_due_is_written_down(tmp_path):
    """What was drawn, locked, grown, written and read again is due when it was."""
    grown = joined_by(
        holdout_of(3, seed=1, added_at=NOW).lock(),
        holdout_of(2, seed=2, added_at=NOW + timedelta(weeks=12)),
    )
    again = Holdout.open(grown.write_yolo(tmp_path / "set"))
    later = Holdout.open(again.write_yolo(tmp_path / "next"))

    assert NOW + timedelta(weeks=13) == grown.due == again.due == later.due
    assert (3, 2) == (len(later.golden), len(later.recent))


def test_written_and_read_again(tmp_path):
    """Labels, tags, weights and provenance survive; train: is not among the splits."""
    frames = [
        evolve(one, tags={"camera": "north"}, weight=4.0) for one in holdout_of(5, added_at=NOW)
    ]
    holdout = Holdout.of(frames, CLASS_NAMES, source="line-3", added_at=NOW)

    file = holdout.write_yolo(tmp_path / "set")
    again = Holdout.open(file)

    for ours, theirs in zip(again, holdout, strict=True):
        np.testing.assert_allclose(ours.truth.xyxy, theirs.truth.xyxy, atol=1e-5)
        assert ({"camera": "north"}, 4.0) == (ours.tags, ours.weight)
    assert holdout.due == again.due
    assert "train" not in file.read_text()
    assert {"line-3"} == {one.source for one in again.provenance.values()}
    with pytest.raises(InputError, match="not empty"):
        holdout.write_yolo(tmp_path / "set")
    with pytest.raises(InputError, match="no picture"):
        Holdout.of([evolve(holdout[0], image=None)], CLASS_NAMES).write_yolo(tmp_path / "other")


def test_ids_name_one_frame():
    """Two of one name, or one without, are refused; of() numbers frames without names."""
    frame = holdout_of(1)[0]
    with pytest.raises(InputError, match="two frames have the id"):
        Holdout(frames=[frame, frame], class_names=NAMES)
    with pytest.raises(InputError, match="no frame 'x'"):
        holdout_of(2).without(["x"])

    unnamed = Holdout.of(Scenes(seed=1).frames(2), CLASS_NAMES)
    assert ["frame-000000", "frame-000001"] == [one.id for one in unnamed]
    assert ["frame-000001"] == [one.id for one in unnamed.without(["frame-000000"])]


# --- drawing ------------------------------------------------------------------------------------


def pool(n, *, cameras=("a", "b", "c"), share=(0.7, 0.2, 0.1), seed=0):
    rng = np.random.default_rng(seed)
    picks = rng.choice(len(cameras), size=n, p=share)
    return [
        PoolFrame(
            image=f"{index}.png",
            id=f"{index}",
            camera=cameras[pick],
            at=NOW + timedelta(minutes=17 * index),
        )
        for index, pick in enumerate(picks)
    ]


def test_the_sample_is_stratified():
    """Each camera and part of the day gives its share, to one frame."""
    frames = pool(5000)

    sample = Holdout.sample(frames, n=300, seed=1, at=NOW)

    assert 300 == len(sample) == len({one.id for one in sample.frames})
    assert 12 == len(sample.strata)
    for stratum in sample.strata:
        assert abs(stratum.picked - 300 * stratum.size / 5000) < 1.5
        assert stratum.probability == stratum.picked / stratum.size
    drawn = Counter(frozenset(tags.items()) for tags in sample.tags)
    assert drawn == {frozenset(one.tags.items()): one.picked for one in sample.strata}
    assert sample.notes == ()


def test_each_frame_is_as_likely():
    """Over 400 draws every frame of a stratum is picked as often, and as the probability says.

    200 of 1000 frames: counts of 80 with a standard deviation of 8; the largest of 1000 is within
    4.5 of them by chance once in 150 runs, and the seeds are fixed.
    """
    frames = pool(1000)
    counts = Counter(
        frame.id
        for seed in range(400)
        for frame in Holdout.sample(frames, n=200, by="camera", seed=seed).frames
    )

    seen = np.array([counts[str(index)] for index in range(1000)])
    assert abs(seen - 80).max() < 4.5 * 8
    assert abs(seen[:500].mean() - seen[500:].mean()) < 4 * 8 * np.sqrt(2 / 500)


def test_the_same_seed_the_same_sample():
    """And it goes through a stream once, keeping little of it."""
    frames = pool(1000)

    first = Holdout.sample(frames, n=200, seed=1)
    assert [one.id for one in first.frames] == [
        one.id for one in Holdout.sample(iter(frames), n=200, seed=1).frames
    ]
    assert [one.id for one in first.frames] != [
        one.id for one in Holdout.sample(frames, n=200, seed=2).frames
    ]


def test_small_samples_come_with_a_warning():
    """How wide the interval will be; fewer than 20 or more than 500 are refused."""
    with pytest.warns(
        UserWarning, match=r"50 frames: the 95 % interval of mAP will be about ±0\.05"
    ):
        sample = Holdout.sample(pool(300), n=50, by="camera", seed=1)
    assert 1 == len(sample.notes)

    for n in (19, 501):
        with pytest.raises(InputError, match=f"n={n}: a holdout takes 20 to 500 frames"):
            Holdout.sample(pool(1000), n=n, seed=1)
    with pytest.raises(TooLittleData, match="100 frames cannot give a sample of 200"):
        Holdout.sample(pool(100), n=200, seed=1)


def test_what_cannot_be_drawn_by():
    """A frame without time has no part of the day; strata must not outnumber the frames."""
    bare = [PoolFrame(image="x.png", id=str(index)) for index in range(300)]
    with pytest.raises(InputError, match="no tag 'daypart' and no time"):
        Holdout.sample(bare, n=200, seed=1)
    with pytest.raises(InputError, match="no tag 'site'"):
        Holdout.sample(bare, n=200, by="site", seed=1)
    many = [evolve(one, tags={"site": one.id}) for one in bare]
    with pytest.raises(InputError, match="300 strata cannot each give one of 200"):
        Holdout.sample(many, n=200, by=["site"], seed=1)
    with pytest.raises(InputError, match="two frames have the id '0'"):
        Holdout.sample([*bare, bare[0]], n=200, by=[], seed=1)
    with pytest.raises(InputError, match="no time zone"):
        PoolFrame(image="x.png", at=datetime(2026, 11, 2))


def test_parts_of_the_day_are_those_of_the_place():
    """Six in the morning in UTC is noon six hours further east."""
    frames = [PoolFrame(image="x", id=str(index), at=NOW) for index in range(200)]
    east = timezone(timedelta(hours=6))

    (utc,) = Holdout.sample(frames, n=200, by="daypart", seed=1).strata
    (there,) = Holdout.sample(frames, n=200, by="daypart", seed=1, zone=east).strata

    assert ({"daypart": "morning"}, {"daypart": "afternoon"}) == (utc.tags, there.tags)


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=20),
    share=st.floats(0, 1),
)
@settings(deadline=None)
def test_allocation(sizes, share):
    """It sums to n, takes one of each stratum, never more than there are, and is near proportion."""
    whole = sum(sizes)
    n = max(len(sizes), round(share * whole))
    keys = {(str(index),): size for index, size in enumerate(sizes)}

    picked = _allocate(keys, n)

    assert n == sum(picked.values())
    assert all(1 <= picked[key] <= size for key, size in keys.items())


def test_export_is_labelled_and_opened(tmp_path):
    """Pictures and manifest go out; labels come in; weights are 1 / probability."""
    scenes = list(Scenes(seed=3, cameras=("a", "b")).frames(60))
    pool_frames = [
        PoolFrame(image=one.image, camera=one.camera, at=NOW, id=f"f{one.number}", source="line-3")
        for one in scenes
    ]
    with pytest.warns(UserWarning):
        sample = Holdout.sample(pool_frames, n=20, seed=1, at=NOW)

    file = sample.export(tmp_path / "set", NAMES)
    with pytest.raises(UnreadableData, match="no label file"):
        Holdout.open(file)
    truth_of = {f"f{one.number}": one.truth for one in scenes}
    labels = tmp_path / "set" / "labels" / "test"
    for frame in sample.frames:
        empty = np.zeros((0, 5))
        truth = truth_of[frame.id]
        rows = (
            np.column_stack(
                [
                    truth.class_id,
                    (truth.xyxy[:, :2] + truth.xyxy[:, 2:]) / 256,
                    (truth.xyxy[:, 2:] - truth.xyxy[:, :2]) / 128,
                ]
            )
            if len(truth)
            else empty
        )
        (labels / f"{frame.id}.txt").write_text(
            "".join(" ".join([str(int(row[0])), *map(str, row[1:])]) + "\n" for row in rows)
        )
    holdout = Holdout.open(file)

    assert {3.0} == {one.weight for one in holdout}
    assert {"a", "b"} == {one.tags["camera"] for one in holdout}
    assert {"morning"} == {one.tags["daypart"] for one in holdout}
    assert {("line-3", NOW, NOW)} == {
        (one.source, one.taken_at, one.added_at) for one in holdout.provenance.values()
    }
    assert NOW + timedelta(weeks=13) == holdout.due
    found = HoldoutValidator(holdout, ShapeFinder(), replicates=50).validate()
    assert {"a", "b"} == set(found.per_tag["camera"])
    (labels / f"{sample.frames[0].id}.txt").unlink()
    with pytest.raises(UnreadableData, match=r"1 of 20 frames .* have no label file"):
        Holdout.open(file)
    with pytest.raises(InputError, match="not empty"):
        sample.export(tmp_path / "set", NAMES)


def test_hostile_ids_stay_in_the_folder(tmp_path):
    """An id is a name of one file, whatever it says."""
    frames = [PoolFrame(image=np.zeros((8, 8, 3), np.uint8), id=f"../../{i}") for i in range(20)]
    with pytest.warns(UserWarning):
        sample = Holdout.sample(frames, n=20, by=[], seed=1)

    sample.export(tmp_path / "a" / "b", NAMES)

    assert ["a"] == [one.name for one in tmp_path.iterdir()]
    assert 20 == len(list((tmp_path / "a" / "b" / "images" / "test").glob("*.png")))


# --- classes ------------------------------------------------------------------------------------


def test_classes_must_agree():
    """In name and order; the difference is named, and a mapping offered."""
    ours = {0: "cat", 1: "dog"}

    assert {0: 0, 1: 1} == class_numbers(ours, {0: "cat", 1: "dog"})
    with pytest.raises(ContextMismatch) as caught:
        class_numbers(ours, {0: "dog", 1: "cat"})
    assert "class 0 is 'cat' in the holdout and 'dog' in the model (2 of 2" in str(caught.value)
    assert "class_mapping={'dog': 'dog', 'cat': 'cat'}" in str(caught.value)
    with pytest.raises(ContextMismatch, match="class 1 is 'dog' in the holdout and not there in"):
        class_numbers(ours, {0: "cat"})


def test_a_mapping_says_what_is_meant():
    """Other order, other words, classes left out."""
    ours = {0: "cat", 1: "dog"}

    assert {0: 1, 1: 0} == class_numbers(ours, {0: "dog", 1: "cat"}, {})
    assert {0: 0, 1: None, 2: 1} == class_numbers(
        ours, {0: "kitten", 1: "car", 2: "dog"}, {"kitten": "cat", "car": None}
    )
    with pytest.raises(InputError, match=r"the model's \['car'\] are no classes of the holdout"):
        class_numbers(ours, {0: "cat", 1: "car"}, {})
    with pytest.raises(InputError, match=r"class_mapping names \['cow'\], which the model"):
        class_numbers(ours, ours, {"cow": "cat"})
    with pytest.raises(InputError, match=r"class_mapping names \['cow'\], which the holdout"):
        class_numbers(ours, ours, {"cat": "cow"})


class Named:
    """A detector that says how it numbers its classes."""

    def __init__(self, context, find):
        self.context = context
        self.find = find

    def predict(self, image):
        return self.find(image)


def test_a_predictor_of_other_classes_is_refused_before_it_is_asked(data):
    """Not after 500 calls; with a mapping it is scored as meant."""
    from driftline.records import Context

    finder = ShapeFinder()
    swapped = {0: "square", 1: "circle", 2: "triangle"}
    calls = []

    def find(image):
        calls.append(image)
        found = finder.predict(image)
        kinds = np.array([1, 0, 2])[found.class_id] if len(found) else found.class_id
        return evolve(found, class_id=kinds, class_names=swapped)

    model = Named(Context(class_names=swapped), find)
    with pytest.raises(ContextMismatch, match="class 0 is 'circle' in the holdout and 'square'"):
        HoldoutValidator(data, model).validate()
    assert [] == calls

    meant = HoldoutValidator(data, model, class_mapping={}, replicates=2).validate()
    plain = HoldoutValidator(data, finder, replicates=2).validate()
    assert plain.map == meant.map


# --- leakage ------------------------------------------------------------------------------------


def test_leaks_are_found(tmp_path):
    """The same picture, compressed, half as large, or a little darker."""
    holdout = holdout_of(6, seed=5)
    frames = list(Scenes(seed=5, empty=0.0).frames(6))
    small = Image.fromarray(frames[3].image).resize((64, 64), Image.Resampling.BILINEAR)
    small.save(tmp_path / "small.jpg", quality=75)
    train = [frames[0], jpeg(40)(frames[1]), darken(0.95)(frames[2])]
    for index, frame in enumerate(train):
        Image.fromarray(frame.image).save(tmp_path / f"{index}.png")

    found = holdout.leaks(sorted(tmp_path.iterdir()))

    assert ["s5-0", "s5-1", "s5-2", "s5-3"] == [one.frame for one in found]
    assert ["0.png", "1.png", "2.png", "small.jpg"] == [
        one.train.rpartition("/")[2] for one in found
    ]
    with pytest.raises(InputError, match="4 of 6 frames are pictures the model was trained on"):
        holdout.check(train=sorted(tmp_path.iterdir()))
    holdout.without([one.frame for one in found]).check(train=sorted(tmp_path.iterdir()))


def test_other_pictures_of_a_camera_that_stands_still_are_no_leaks():
    """Before one background, objects in other places: 200 times 200 pairs."""
    one_camera = Scenes(seed=5, cameras=("cam-1",), empty=0.0)
    frames = list(one_camera.frames(400))

    ours = Holdout.of(frames[:200], CLASS_NAMES)
    theirs = Holdout.of(frames[200:], CLASS_NAMES)

    assert () == ours.leaks(theirs)


def test_a_moved_object_is_another_picture():
    """And so is a camera that was pushed."""
    frames = list(Scenes(seed=5, empty=0.0).frames(8))
    moved = Holdout.of([shift(12, 4)(one) for one in frames], CLASS_NAMES)

    assert () == Holdout.of(frames, CLASS_NAMES).leaks(moved)


def test_the_validator_checks_for_leaks(data):
    """Given a YAML, its split train is what the model was trained on."""
    train = data.parent.parent / "train"
    write_yolo(train, Scenes(seed=5, empty=0.0).frames(3), "train")

    with pytest.raises(InputError, match="3 of 12 frames are pictures the model was trained on"):
        HoldoutValidator(data, ShapeFinder(), train=train / "data.yaml").validate()


def test_empty_frames_are_not_held_against_it():
    """Before a camera that stands still they all look alike."""
    empty = list(Scenes(seed=5, cameras=("a",), empty=1.0).frames(6))

    assert () == Holdout.of(empty[:3], CLASS_NAMES).leaks(Holdout.of(empty[3:], CLASS_NAMES))
