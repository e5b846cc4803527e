"""Perturbations: the picture changes as said, and the truth goes with it."""

import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from driftline.errors import InputError, MissingExtra
from driftline.testing import (
    Frame,
    Scenes,
    blur,
    compose,
    darken,
    elongate,
    hollow,
    jpeg,
    noise,
    shift,
    zoom_out,
)
from driftline.testing._scenes import truth_of

SCENES = Scenes(seed=11, empty=0.0)
EVERY = [
    blur(1.5),
    darken(0.5),
    noise(20),
    jpeg(20),
    zoom_out(0.6),
    shift(12, -7),
    hollow(0.5),
    elongate(1.5),
    compose(elongate(1.3), zoom_out(0.8), noise(8), jpeg(50)),
]
NOTHING = [blur(0), darken(1), noise(0), zoom_out(1), shift(0), hollow(0), elongate(1), compose()]


def plate(left, top, right, bottom, *, height=60, width=90):
    """A white rectangle on black, not square, as a user's own frame."""
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255
    truth = truth_of([[left, top, right, bottom]], [1], image_size=(height, width))
    return Frame(image=image, truth=truth, camera="own", number=3)


def white_box(image):
    """Box of the brighter half of the picture's levels."""
    y, x = np.nonzero(image[..., 0] > 127)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.mark.parametrize("step", EVERY, ids=repr)
def test_same_frame_same_result(step):
    """Every step is a function: it gives the same again and leaves its input alone."""
    frame = SCENES.frame(5)
    before = frame.image.copy()
    once, twice = step(frame), step(frame)

    np.testing.assert_array_equal(once.image, twice.image)
    np.testing.assert_array_equal(before, frame.image)
    assert (once.image != before).any()
    assert (frame.camera, frame.number) == (once.camera, once.number)


@pytest.mark.parametrize("step", NOTHING, ids=repr)
def test_nothing_changes_nothing(step):
    """At the harmless end of its scale a step leaves pixels and truth as they are."""
    frame = SCENES.frame(6)

    np.testing.assert_array_equal(frame.image, step(frame).image)
    np.testing.assert_allclose(frame.truth.xyxy, step(frame).truth.xyxy, atol=1e-12)


@pytest.mark.parametrize("step", [blur(2), darken(0.3), noise(30), jpeg(10)], ids=repr)
def test_pixels_leave_the_truth_alone(step):
    """What happens to the pixels alone moves no box."""
    frame = SCENES.frame(7)

    assert frame.truth is step(frame).truth


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.7])
def test_blur_is_gaussian(sigma):
    """The blur is scipy's Gaussian filter cut at 3 sigma, to one grey level of rounding."""
    frame = plate(20, 10, 50, 40)
    reach = int(np.ceil(3 * sigma))
    expected = ndimage.gaussian_filter(
        frame.image.astype(float), (sigma, sigma, 0), mode="nearest", radius=(reach, reach, 0)
    )

    np.testing.assert_allclose(blur(sigma)(frame).image, expected, atol=0.51)


def test_darken_scales():
    """Darkening multiplies every value, rounded to the nearest whole one."""
    frame = SCENES.frame(3)

    np.testing.assert_array_equal(np.rint(frame.image * np.float32(0.4)), darken(0.4)(frame).image)


def test_noise_has_its_sigma():
    """Noise adds its standard deviation; frames and seeds each draw their own.

    On mid grey nothing is clipped; 16 200 values give the estimate a standard error of 0.6 %.
    """
    grey = Frame(
        image=np.full((60, 90, 3), 128, np.uint8),
        truth=truth_of(np.empty((0, 4)), [], image_size=(60, 90)),
    )
    other = Frame(image=grey.image, truth=grey.truth, number=1)
    added = noise(20)(grey).image.astype(float) - 128

    assert abs(added.std() / 20 - 1) < 4 * 0.006
    assert (noise(20)(other).image != noise(20)(grey).image).any()
    assert (noise(20, seed=1)(grey).image != noise(20)(grey).image).any()


def test_jpeg_is_pillow_s():
    """The picture is what Pillow reads back, and lower quality is further away."""
    frame = SCENES.frame(4)
    buffer = BytesIO()
    Image.fromarray(frame.image).save(buffer, "JPEG", quality=30, subsampling=2)
    away = [np.abs(jpeg(q)(frame).image.astype(int) - frame.image).mean() for q in (90, 60, 30, 10)]

    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), jpeg(30)(frame).image)
    assert sorted(away) == away


def test_jpeg_without_pillow(monkeypatch):
    """Without Pillow the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingExtra, match=r"driftline\[testing\]"):
        jpeg(50)(SCENES.frame(0))


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(0.3, 1.0),
    left=st.integers(0, 50),
    top=st.integers(0, 25),
    wide=st.integers(20, 40),
    high=st.integers(20, 35),
)
def test_zoom_out_takes_the_boxes_along(scale, left, top, wide, high):
    """After the camera moved back the true box still surrounds the object, to a pixel."""
    far = zoom_out(scale)(plate(left, top, left + wide, top + high))

    np.testing.assert_allclose(white_box(far.image), far.truth.xyxy[0], atol=1.0)
    extent = far.truth.xyxy[0, 2:] - far.truth.xyxy[0, :2]
    # the frame shrinks to whole pixels: 0.5 px of 60 or 90, on an object of at most 40
    np.testing.assert_allclose([wide * scale, high * scale], extent, atol=0.5)


@settings(max_examples=80, deadline=None)
@given(
    right=st.integers(-120, 120),
    down=st.integers(-80, 80),
    left=st.integers(0, 60),
    top=st.integers(0, 40),
)
def test_shift_moves_and_clips_the_boxes(right, down, left, top):
    """A pushed camera moves the box and clips it; mostly gone means gone from the truth."""
    frame = plate(left, top, left + 30, top + 20)
    pushed = shift(right, down)(frame)
    moved = np.clip(frame.truth.xyxy[0] + [right, down, right, down], 0, [90, 60, 90, 60])
    in_view = (moved[2:] - moved[:2]).prod() / 600

    assert int(in_view >= 0.25) == len(pushed.truth)
    if len(pushed.truth):
        np.testing.assert_array_equal(moved, pushed.truth.xyxy[0])
        np.testing.assert_array_equal(moved, white_box(pushed.image))


def test_moved_camera_fills_with_the_median():
    """What nobody has seen is shown in the picture's median colour."""
    frame = plate(20, 10, 50, 40)
    frame = Frame(image=np.maximum(frame.image, 40), truth=frame.truth)

    assert (shift(10)(frame).image[:, :10] == 40).all()
    assert (zoom_out(0.5)(frame).image[:10] == 40).all()


def test_zoom_out_does_not_alias():
    """Stripes of one pixel become grey when the camera moves back, not other stripes."""
    image = np.zeros((128, 128, 3), np.uint8)
    image[:, ::2] = 200
    frame = Frame(image=image, truth=truth_of(np.empty((0, 4)), [], image_size=(128, 128)))
    inside = zoom_out(0.45)(frame).image[50:78, 50:78].astype(int)

    assert abs(inside - 100).max() <= 12


def test_hollow_takes_a_share():
    """The chosen share of the objects comes hollow, and a larger share includes a smaller one."""
    small = Scenes(seed=11, empty=0.0, size=32, clutter=0)
    lots = [small.frame(i) for i in range(300)]

    def hollowed(fraction):
        return np.concatenate([hollow(fraction)(f).scene.hollow for f in lots])

    some, more = hollowed(0.3), hollowed(0.6)

    # 850 objects: the standard error of a share of 0.3 is 0.016
    assert abs(some.mean() - 0.3) < 4 * 0.016
    assert (more | ~some).all()
    assert hollowed(1.0).all()


def test_hollow_shows_what_is_behind():
    """In the middle of a hollow object the background is seen; its box stays."""
    frame = Scenes(seed=11, empty=0.0, objects=(1, 1), clutter=0).frame(3)
    x, y = frame.scene.centre[0].astype(int)
    ring = hollow(1.0)(frame)
    plain = np.median(frame.image.reshape(-1, 3), axis=0)

    assert np.linalg.norm(ring.image[y, x] - plain) < 60
    assert np.linalg.norm(frame.image[y, x] - plain) > 60
    np.testing.assert_array_equal(frame.truth.xyxy, ring.truth.xyxy)


def test_elongate_makes_longer():
    """Objects twice as long have larger boxes, none beyond the frame, and keep their class."""
    frames = [SCENES.frame(i) for i in range(50)]
    plain = np.concatenate([f.truth.xyxy for f in frames])
    longer = [elongate(2.0)(f) for f in frames]
    long = np.concatenate([f.truth.xyxy for f in longer])

    area = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (plain, long)]
    assert (area[1] > area[0]).all()
    assert (long >= 0).all()
    assert (long <= 128).all()
    for before, after in zip(frames, longer, strict=True):
        np.testing.assert_array_equal(before.truth.class_id, after.truth.class_id)


@pytest.mark.parametrize("step", [hollow(0.5), elongate(1.5)], ids=repr)
def test_new_objects_come_first(step):
    """Objects cannot be drawn anew into changed pixels or somebody's photograph."""
    with pytest.raises(InputError, match="before steps on pixels"):
        compose(blur(1), step)(SCENES.frame(1))
    with pytest.raises(InputError, match="frame of Scenes"):
        step(plate(10, 10, 30, 30))


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (blur, -1.0),
        (darken, 1.2),
        (noise, -3.0),
        (jpeg, 0),
        (jpeg, 100),
        (zoom_out, 0.0),
        (zoom_out, 1.5),
        (hollow, 2.0),
        (elongate, 0.1),
        (elongate, 3.0),
        (blur, "soft"),
        (jpeg, 5.5),
    ],
)
def test_impossible_strengths(make, value):
    """A strength off its scale is refused when the step is made, with the value."""
    with pytest.raises(InputError, match=rf"{make.__name__}\({value}\)"):
        make(value)


def test_steps_have_names():
    """A step prints as it was written, for tables and test ids."""
    assert "blur(2)" == blur(2.0).name
    assert "shift(4, -2)" == shift(4, -2).name
    assert "zoom_out(0.5) then jpeg(30)" == compose(zoom_out(0.5), jpeg(30)).name
