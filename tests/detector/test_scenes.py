"""The frame source: what it draws, and that what it says about it is true."""

import sys
from itertools import islice

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import InputError, MissingExtra
from driftline.testing import CLASS_NAMES, Frame, Scenes, compose, elongate, hollow, write_yolo
from driftline.testing._scenes import truth_of

numbers = st.integers(0, 10_000)


def without(scene, i):
    """The scene without object `i`."""
    kept = np.arange(len(scene.class_id)) != i
    names = ("class_id", "centre", "radius", "angle", "colour", "stretch", "hollow", "lot")
    return evolve(scene, **{name: getattr(scene, name)[kept] for name in names})


def drawn_box(scene, i):
    """Box of the pixels that object `i` alone changes."""
    with_it = Frame.of(scene, number=0).image.astype(int)
    changed = np.abs(with_it - Frame.of(without(scene, i), number=0).image).max(axis=2) > 0
    y, x = np.nonzero(changed)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@settings(max_examples=20, deadline=None)
@given(number=numbers, seed=st.integers(0, 99))
def test_random_access(number, seed):
    """A frame is the same picture whoever asks for it, alone or among others."""
    alone = Scenes(seed=seed).frame(number)
    *_, last = Scenes(seed=seed).frames(3, start=max(0, number - 2))
    again = Scenes(seed=seed).frame(number)

    np.testing.assert_array_equal(alone.image, again.image)
    np.testing.assert_array_equal(alone.truth.xyxy, again.truth.xyxy)
    if number >= 2:
        np.testing.assert_array_equal(alone.image, last.image)


@settings(max_examples=60, deadline=None)
@given(
    number=numbers,
    step=st.sampled_from([compose(), hollow(1.0), elongate(0.6), elongate(1.6), elongate(2.0)]),
)
def test_boxes_are_tight(number, step):
    """The true box is the box of the pixels an object changes.

    One pixel of slack a side: a sliver thinner than a sample is not drawn, a started pixel is.
    Only the last object is sure to be covered by no other.
    """
    scene = step(Scenes(seed=5, empty=0.0).frame(number)).scene
    last = len(scene.class_id) - 1

    np.testing.assert_allclose(drawn_box(scene, last), scene.boxes()[last], atol=1.01)


@settings(max_examples=60, deadline=None)
@given(number=numbers, size=st.sampled_from([64, 128, 200]))
def test_objects_stay_inside_and_apart(number, size):
    """Every object lies in the frame whole, and covers a tenth of another one's box at most."""
    boxes = Scenes(seed=6, size=size).frame(number).truth.xyxy
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)

    assert (boxes >= 0.0).all()
    assert (boxes <= size).all()
    for i in range(len(boxes)):
        for j in range(i):
            sides = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            assert np.clip(sides, 0, None).prod() <= 0.1 * min(area[i], area[j]) + 1e-9


def test_world_is_as_described():
    """One frame in twenty is empty, the others hold 1 to 5 objects of 14 to 40 px, evenly mixed.

    2000 frames: a share of 0.05 has a standard error of 0.005; the classes, one of 0.006.
    They are drawn at a quarter of the size.
    """
    scenes = [frame.scene for frame in map(Scenes(seed=8, size=32).frame, range(2000))]
    counts = np.array([len(scene.class_id) for scene in scenes])
    classes = np.concatenate([scene.class_id for scene in scenes])
    nominal = 4 * np.concatenate(
        [2 * s.radius / np.array([1.0, 1.2, 1.3])[s.class_id] for s in scenes]
    )

    assert abs((counts == 0).mean() - 0.05) < 4 * 0.005
    assert counts.max() == 5
    np.testing.assert_allclose(np.bincount(classes) / len(classes), 1 / 3, atol=4 * 0.006)
    assert nominal.min() >= 14.0
    assert nominal.max() <= 40.0
    assert max(len(scene.segments) for scene in scenes) == 4


def test_cameras_keep_their_backgrounds():
    """A camera looks the same whatever the seed; another camera looks otherwise.

    The median over 30 frames leaves the background: grain of 8 and light of +-8 grey levels
    give it a standard error near 2.
    """

    def look(camera, seed):
        frames = Scenes(seed=seed, cameras=(camera,), clutter=0).frames(30)
        return np.median([frame.image for frame in frames], axis=0)

    same = np.abs(look("gate", 1) - look("gate", 2)).mean()
    other = np.abs(look("gate", 1) - look("yard", 1)).mean()

    assert same < 6.0
    assert other > 12.0


def test_cameras_take_turns():
    """Frame i comes from camera i modulo their number, and one camera can be asked alone."""
    scenes = Scenes(seed=1, cameras=("a", "b", "c"))
    of_b = list(scenes.of_camera("b", 4, start=3))

    assert ["a", "b", "c", "a"] == [frame.camera for frame in scenes.frames(4)]
    assert [4, 7, 10, 13] == [frame.number for frame in of_b]
    assert {"b"} == {frame.camera for frame in of_b}


def test_stream_goes_on():
    """The endless stream is the numbered frames one after the other."""
    scenes = Scenes(seed=2)

    assert [7, 8, 9] == [frame.number for frame in islice(scenes.stream(start=7), 3)]


def test_lengths_grow_with_the_frame():
    """A frame of twice the side shows objects of twice the length."""
    small, large = Scenes(seed=3), Scenes(seed=3, size=256)

    np.testing.assert_allclose(
        2 * small.frame(1).scene.radius, large.frame(1).scene.radius, rtol=1e-12
    )
    assert (256, 256) == large.frame(1).truth.image_size


def test_mix_and_crowd():
    """The mix of classes and the number of objects follow what was asked for."""
    circles = [*Scenes(seed=4, mix=(1, 0, 0)).frames(40)]
    crowd = [*Scenes(seed=4, objects=(4, 6), empty=0.0).frames(40)]

    assert {0} == {int(c) for frame in circles for c in frame.truth.class_id}
    assert np.mean([len(frame.truth) for frame in crowd]) > 3.5


def test_truth():
    """The truth is sure, named, and for the frame's size."""
    truth = Scenes(seed=7).frame(1).truth

    assert (truth.confidence == 1.0).all()
    assert CLASS_NAMES == truth.class_names
    assert (128, 128) == truth.image_size


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"size": 16}, "size=16"),
        ({"cameras": ()}, "cameras="),
        ({"cameras": "cam-1"}, "cameras='cam-1'"),
        ({"objects": (0, 3)}, r"objects=\(0, 3\)"),
        ({"objects": (4, 3)}, r"objects=\(4, 3\)"),
        ({"empty": 1.5}, "empty=1.5"),
        ({"clutter": -1}, "clutter=-1"),
        ({"mix": (0, 0, 0)}, "mix="),
        ({"mix": (1, 1)}, "mix="),
        ({"size": (48, 64)}, r"size=\(48, 64\) must be the side of a square"),
        ({"size": 64.5}, "size=64.5"),
        ({"seed": "today"}, "seed='today'"),
        ({"cameras": 3}, "cameras=3 must be a list"),
        ({"objects": 3}, "objects=3 must be a list"),
        ({"objects": (1, "b")}, r"objects\[1\]='b' must be a whole number"),
        ({"objects": (1, 2, 3)}, r"objects=\(1, 2, 3\)"),
        ({"clutter": 1.5}, "clutter=1.5"),
        ({"mix": 3}, "mix=3 must be a list"),
        ({"mix": (1, float("nan"), 1)}, "mix="),
    ],
)
def test_impossible_worlds(wrong, names):
    """A world that cannot be drawn is refused when it is made, with the value."""
    with pytest.raises(InputError, match=names):
        Scenes(**wrong)


def test_impossible_questions():
    """There is no frame below 0 and no camera of another name."""
    with pytest.raises(InputError, match="frame -1"):
        Scenes().frame(-1)
    with pytest.raises(InputError, match="'cam-9'"):
        Scenes().of_camera("cam-9", 1)


def test_frame_checks_its_parts():
    """A frame is (height, width, 3) uint8, and its truth is for that size."""
    none = truth_of(np.empty((0, 4)), [], image_size=(8, 8))
    with pytest.raises(InputError, match="float64"):
        Frame(image=np.zeros((8, 8, 3)), truth=none)
    with pytest.raises(InputError, match=r"the image is \(8, 9\)"):
        Frame(image=np.zeros((8, 9, 3), np.uint8), truth=none)


def test_write_yolo(tmp_path):
    """A written dataset holds the same pixels and, to a hundredth of a pixel, the same boxes."""
    from PIL import Image

    frames = [*Scenes(seed=9).frames(6)]
    data = write_yolo(tmp_path, frames[:4], "train")
    data = write_yolo(tmp_path, frames[4:], "test")

    assert "train: images/train\ntest: images/test\nnames:\n  0: circle\n" in data.read_text()
    assert str(tmp_path) not in data.read_text()
    for frame, split in zip(frames, ["train"] * 4 + ["test"] * 2, strict=True):
        name = f"{frame.camera}-{frame.number:06d}"
        image = np.asarray(Image.open(tmp_path / "images" / split / f"{name}.png"))
        text = (tmp_path / "labels" / split / f"{name}.txt").read_text()
        rows = np.array([line.split() for line in text.splitlines()], dtype=float).reshape(-1, 5)
        centre, half = rows[:, 1:3] * 128, rows[:, 3:] * 64
        np.testing.assert_array_equal(frame.image, image)
        np.testing.assert_array_equal(frame.truth.class_id, rows[:, 0])
        np.testing.assert_allclose(np.c_[centre - half, centre + half], frame.truth.xyxy, atol=0.01)


def test_write_yolo_refuses_doubles(tmp_path):
    """Two frames of one camera and one number would overwrite each other: refused."""
    frame = Scenes().frame(1)

    with pytest.raises(InputError, match="cam-2-000001"):
        write_yolo(tmp_path, [frame, frame])


def test_write_yolo_without_pillow(tmp_path, monkeypatch):
    """Without Pillow the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtra, match=r"driftline\[testing\]"):
        write_yolo(tmp_path, Scenes().frames(1))
