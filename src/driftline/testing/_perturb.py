"""What happens to cameras and objects in the field, as steps from a frame to a frame.

A step changes the picture and keeps the truth with it: where the camera moves, the boxes move.
Steps on pixels work on any `Frame`, yours too. `hollow` and `elongate` change the objects
themselves, so they need a frame as it was drawn and come first.
The same frame gives the same result: what has chance in it draws from the frame's number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from zlib import crc32

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline._checks import refuse_number
from driftline.errors import InputError
from driftline.records import Detections
from driftline.testing._pillow import pillow
from driftline.testing._scenes import Frame, Scene

__all__ = [
    "Perturbation",
    "blur",
    "compose",
    "darken",
    "elongate",
    "hollow",
    "jpeg",
    "noise",
    "shift",
    "zoom_out",
]

Image = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.float32]

_VISIBLE = 0.25  # share of a box that must stay in view for its object to count as seen


@frozen
class Perturbation:
    """A named step from a frame to a frame; call it.

    Attributes:
        name: what it does and how strongly, as written: ``blur(2)``.
        step: does it.
    """

    name: str
    step: Callable[[Frame], Frame] = field(repr=False)

    def __call__(self, frame: Frame) -> Frame:
        """The frame after the step; the given one stays as it is."""
        return self.step(frame)


def compose(*steps: Perturbation) -> Perturbation:
    """The steps one after the other, the first one first.

    >>> compose(zoom_out(0.85), blur(1.0)).name
    'zoom_out(0.85) then blur(1)'
    """

    def step(frame: Frame) -> Frame:
        for each in steps:
            frame = each(frame)
        return frame

    return Perturbation(" then ".join(each.name for each in steps) or "nothing", step)


def blur(sigma: float) -> Perturbation:
    """Out of focus: a Gaussian of `sigma` px, 0 or above; the border is repeated outwards."""
    refuse_number(f"blur({sigma}): sigma", sigma, "0 px or above", least=0)

    def step(frame: Frame) -> Frame:
        height, width = frame.image.shape[:2]
        return _repaint(
            frame, _resample(frame.image, _gaussian(height, sigma), _gaussian(width, sigma))
        )

    return Perturbation(f"blur({sigma:g})", step)


def darken(factor: float) -> Perturbation:
    """Less light: every value times `factor`, in [0, 1]."""
    refuse_number(f"darken({factor}): factor", factor, "in [0, 1]", least=0, most=1)

    def step(frame: Frame) -> Frame:
        return _repaint(frame, frame.image.astype(np.float32) * np.float32(factor))

    return Perturbation(f"darken({factor:g})", step)


def noise(sigma: float, *, seed: int = 0) -> Perturbation:
    """A poorer sensor: Gaussian noise of `sigma` grey levels, 0 or above, on every channel."""
    refuse_number(f"noise({sigma}): sigma", sigma, "0 grey levels or above", least=0)

    def step(frame: Frame) -> Frame:
        entropy = np.random.SeedSequence((seed, frame.number, crc32(frame.camera.encode())))
        rng = np.random.Generator(np.random.SFC64(entropy))
        pixels = frame.image.astype(np.float32)
        pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(sigma)
        return _repaint(frame, pixels)

    return Perturbation(f"noise({sigma:g})", step)


def jpeg(quality: int) -> Perturbation:
    """A narrower line: JPEG there and back at `quality` in [1, 95], 4:2:0, libjpeg's scale.

    Raises:
        MissingExtra: (when called on a frame) Pillow is not installed.
    """
    refuse_number(
        f"jpeg({quality}): quality", quality, "whole, in [1, 95]", least=1, most=95, whole=True
    )

    def step(frame: Frame) -> Frame:
        files = pillow("jpeg()")
        buffer = BytesIO()
        files.fromarray(frame.image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        return _repaint(frame, np.asarray(files.open(buffer).convert("RGB"), dtype=np.uint8))

    return Perturbation(f"jpeg({quality})", step)


def zoom_out(scale: float) -> Perturbation:
    """The camera moved back: everything `scale` times as large, in (0, 1], about the centre.

    The picture shrinks to whole pixels and the boxes by exactly as much; what comes into view
    around it is unknown and shown in the picture's median colour.
    """
    refuse_number(f"zoom_out({scale}): scale", scale, "in (0, 1]", above=0, most=1)

    def step(frame: Frame) -> Frame:
        height, width = frame.image.shape[:2]
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        small = _resample(frame.image, _triangle(h, height), _triangle(w, width))
        top, left = (height - h) // 2, (width - w) // 2
        around = (top, height - h - top), (left, width - w - left)
        truth = _seen(frame.truth, np.array([w / width, h / height]), np.array([left, top]))
        return evolve(_repaint(frame, _surround(frame, small, *around)), truth=truth)

    return Perturbation(f"zoom_out({scale:g})", step)


def shift(right: int, down: int = 0) -> Perturbation:
    """The camera was pushed: the picture moves by whole px (below 0: to the left, up).

    Boxes are clipped, and an object of whose box less than a quarter stays in view is not in
    the truth any more; what comes into view is shown in the picture's median colour.
    """
    for name, pixels in (("right", right), ("down", down)):
        refuse_number(f"shift({right}, {down}): {name}", pixels, "whole px", whole=True)

    def step(frame: Frame) -> Frame:
        height, width = frame.image.shape[:2]
        x, y = int(np.clip(right, -width, width)), int(np.clip(down, -height, height))
        kept = frame.image[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
        around = (max(0, y), max(0, -y)), (max(0, x), max(0, -x))
        truth = _seen(frame.truth, np.ones(2), np.array([x, y]))
        return evolve(_repaint(frame, _surround(frame, kept, *around)), truth=truth)

    return Perturbation(f"shift({right}, {down})" if down else f"shift({right})", step)


def hollow(fraction: float) -> Perturbation:
    """A new variant: this share of the objects, in [0, 1], comes as outlines only.

    Raises:
        InputError: (when called on a frame) the frame does not know what it was drawn from.
    """
    refuse_number(f"hollow({fraction}): fraction", fraction, "in [0, 1]", least=0, most=1)
    name = f"hollow({fraction:g})"

    def change(scene: Scene) -> Scene:
        return evolve(scene, hollow=scene.hollow | (scene.lot < fraction))

    return Perturbation(name, lambda frame: _redraw(frame, change, name))


def elongate(factor: float) -> Perturbation:
    """A new variant: every object `factor` times as long along its own axis, 0.5 to 2.

    Boxes are the tight ones of the longer objects. An object that would stick out of the frame
    is moved in, so that all of it is seen; longer objects may cover one another.

    Raises:
        InputError: (when called on a frame) the frame does not know what it was drawn from.
    """
    refuse_number(f"elongate({factor}): factor", factor, "in [0.5, 2]", least=0.5, most=2)
    name = f"elongate({factor:g})"

    def change(scene: Scene) -> Scene:
        return evolve(scene, stretch=scene.stretch * factor).nudged()

    return Perturbation(name, lambda frame: _redraw(frame, change, name))


def _redraw(frame: Frame, change: Callable[[Scene], Scene], name: str) -> Frame:
    if frame.scene is None:
        msg = f"{name} draws the objects anew: call it on a frame of Scenes, before steps on pixels"
        raise InputError(msg)
    return Frame.of(change(frame.scene), number=frame.number)


def _repaint(frame: Frame, pixels: Image | Pixels) -> Frame:
    image = np.clip(np.rint(pixels), 0.0, 255.0).astype(np.uint8)
    return evolve(frame, image=image, scene=None)


def _seen(
    truth: Detections, scale: npt.NDArray[np.float64], corner: npt.NDArray[np.float64]
) -> Detections:
    """The truth scaled by (x, y) and moved to `corner`, clipped, without what left the view."""
    height, width = truth.image_size
    whole = truth.xyxy * np.tile(scale, 2) + np.tile(corner, 2)
    clipped = np.clip(whole, 0.0, [width, height, width, height])
    in_view, in_all = ((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (clipped, whole))
    kept = in_view >= _VISIBLE * in_all
    return Detections(
        xyxy=clipped[kept],
        confidence=truth.confidence[kept],
        class_id=truth.class_id[kept],
        image_size=truth.image_size,
        class_names=truth.class_names,
    )


def _surround(
    frame: Frame, pixels: Image | Pixels, rows: tuple[int, int], columns: tuple[int, int]
) -> Pixels:
    """Widen by (top, bottom) and (left, right) in the median colour: few objects move that."""
    height, width = frame.image.shape[:2]
    out = np.empty((height, width, 3), dtype=np.float32)
    out[...] = np.median(frame.image, axis=(0, 1))
    out[rows[0] : height - rows[1], columns[0] : width - columns[1]] = pixels
    return out


def _resample(image: Image, rows: Pixels, columns: Pixels) -> Pixels:
    """``rows @ image @ columns.T`` for each channel: any separable change of the pixels."""
    height, width = image.shape[:2]
    mixed = rows @ image.reshape(height, width * 3).astype(np.float32)
    out = np.einsum("xw,hwc->hxc", columns, mixed.reshape(-1, width, 3), optimize=True)
    return np.asarray(out, dtype=np.float32)


@lru_cache(maxsize=32)
def _gaussian(length: int, sigma: float) -> Pixels:
    """``(length, length)`` weights of a Gaussian cut at 3 sigma, its border repeated outwards."""
    reach = int(np.ceil(3.0 * sigma))
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    source = np.clip(np.arange(length)[:, None] + offsets, 0, length - 1)
    weights = np.zeros((length, length), dtype=np.float32)
    np.add.at(weights, (np.arange(length)[:, None], source), kernel / kernel.sum())
    return weights


@lru_cache(maxsize=32)
def _triangle(target: int, source: int) -> Pixels:
    """``(target, source)`` weights of a shrinking: a triangle as wide as two target pixels.

    What Pillow's BILINEAR does when it shrinks, so that fine texture does not alias.
    """
    scale = source / target
    at = (np.arange(target)[:, None] + 0.5) * scale
    weights = np.clip(1.0 - np.abs(at - np.arange(source) - 0.5) / scale, 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
