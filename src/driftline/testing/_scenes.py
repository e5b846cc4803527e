"""A frame source: pictures of coloured shapes with their true boxes, drawn on demand.

Every draw comes from the seed and the number of the frame, so frame 7 is the same picture
whoever asks for it and in whatever order. A camera is known by its name alone: two `Scenes`
with different seeds show other objects in front of the same backgrounds, as two weeks would.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline._checks import number, parts, refuse_other
from driftline.errors import InputError
from driftline.records import Detections
from driftline.testing._pillow import pillow

__all__ = ["CLASS_NAMES", "Frame", "Scene", "Scenes", "truth_of", "write_yolo"]

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]

CLASS_NAMES: Final = MappingProxyType({0: "circle", 1: "square", 2: "triangle"})
"""Index → name of the shapes that `Scenes` draws."""

_CORNERS: Final = (0, 4, 3)  # of the polygon of each class; 0: a circle
_REACH: Final = np.array([1.0, 1.2, 1.3])  # circumradius / nominal radius: similar areas
_DIAMETER_PX: Final = (14.0, 40.0)  # at 128 px; grows with the frame
_NOMINAL_PX: Final = 128
_SUPERSAMPLING: Final = 4
_SENSOR_NOISE: Final = 8.0  # grey levels, standard deviation
_HOLE: Final = 0.55  # inner size of a hollow object / its outer size
_OVERLAP: Final = 0.1  # of the smaller box; what is allowed between two objects
_PLACES: Final = 24  # places tried for an object before the frame goes without it


@frozen(kw_only=True, eq=False)
class Scene:
    """What a frame is drawn from; all lengths in pixels, n objects and m clutter lines.

    Attributes:
        camera: whose background it is.
        size: side of the square frame.
        entropy: seed and number of the frame; the sensor noise is drawn from it.
        light: brightness added to the whole frame, grey levels.
        class_id: ``(n,)`` key of `CLASS_NAMES`.
        centre: ``(n, 2)`` x, y.
        radius: ``(n,)`` radius of the circle around each object.
        angle: ``(n,)`` rotation, radians.
        colour: ``(n, 3)`` RGB in [0, 255].
        stretch: ``(n,)`` length along the object's own x axis, 1 for the plain shape.
        hollow: ``(n,)`` True where only the outline is drawn.
        lot: ``(n,)`` uniform in [0, 1): the objects below a fraction become a new variant.
        segments: ``(m, 4)`` x0, y0, x1, y1 of the clutter lines.
        strokes: ``(m,)`` their widths.
        inks: ``(m, 3)`` their RGB.
    """

    camera: str
    size: int
    entropy: tuple[int, int]
    light: float
    class_id: npt.NDArray[np.int64]
    centre: Array
    radius: Array
    angle: Array
    colour: Array
    stretch: Array
    hollow: npt.NDArray[np.bool_]
    lot: Array
    segments: Array
    strokes: Array
    inks: Array

    def boxes(self) -> Array:
        """``(n, 4)`` xyxy, the tight boxes of the objects, clipped to the frame."""
        whole = np.concatenate([self.centre, self.centre], axis=1) + self.reach()
        return np.clip(whole, 0.0, float(self.size))

    def reach(self) -> Array:
        """``(n, 4)``: left, top, right and bottom of each tight box, from the centre."""
        return _reach(self.class_id, self.radius, self.angle, self.stretch)

    def nudged(self) -> Scene:
        """The same with every object moved into the frame whole, where it fits."""
        reach = self.reach()
        inside = np.clip(self.centre, -reach[:, :2], self.size - reach[:, 2:])
        return evolve(self, centre=inside)


@frozen(kw_only=True, eq=False)
class Frame:
    """One picture and what is truly in it.

    Attributes:
        image: ``(height, width, 3)`` uint8 RGB.
        truth: the true boxes, each with confidence 1.
        camera: name of the camera that took it.
        number: its place in the sequence; perturbations with chance draw from it.
        scene: what it was drawn from, None for a picture from elsewhere or one whose pixels
            were changed afterwards; only a frame with a scene can be drawn anew with other
            objects.
    """

    image: Image
    truth: Detections
    camera: str = "cam-1"
    number: int = 0
    scene: Scene | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        """Refuse a picture of another form, or one whose truth is for another size."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:  # noqa: PLR2004 - (h, w, RGB)
            msg = (
                f"image must be (height, width, 3) uint8, got {self.image.shape} {self.image.dtype}"
            )
            raise InputError(msg)
        if self.image.shape[:2] != tuple(self.truth.image_size):
            msg = f"truth is for {self.truth.image_size}, the image is {self.image.shape[:2]}"
            raise InputError(msg)

    def __repr__(self) -> str:
        """Camera, number, size and count."""
        height, width = self.image.shape[:2]
        return (
            f"Frame({self.camera} #{self.number}, {width}x{height} px, {len(self.truth)} objects)"
        )

    @classmethod
    def of(cls, scene: Scene, *, number: int) -> Frame:
        """Draw the scene."""
        truth = truth_of(scene.boxes(), scene.class_id, image_size=(scene.size, scene.size))
        image = _draw(scene)
        return cls(image=image, truth=truth, camera=scene.camera, number=number, scene=scene)


def truth_of(
    xyxy: npt.ArrayLike, class_id: npt.ArrayLike, *, image_size: tuple[int, int]
) -> Detections:
    """Boxes that are known, as `Detections` with confidence 1 and the names of the shapes."""
    return Detections(
        xyxy=np.asarray(xyxy, dtype=np.float64),
        confidence=np.ones(len(np.asarray(class_id))),
        class_id=np.asarray(class_id),
        image_size=image_size,
        class_names=CLASS_NAMES,
    )


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return parts(value, str, name="cameras", what="the name of a camera")


@frozen(kw_only=True)
class Scenes:
    """A world to film: coloured circles, squares and triangles before textured backgrounds.

    Between 1 and 5 objects of 14 to 40 px (at 128 px; lengths grow with the frame) on a
    sloped, textured background of the camera's own, up to 4 lines of clutter, sensor noise
    of 8 grey levels, one frame in twenty without objects. Objects are drawn with 4 by 4 samples
    a pixel; their boxes are the exact ones of the geometry.

    Attributes:
        seed: of every draw, 0 or above.
        size: side of the square frames, px, 32 or above.
        cameras: names; frame i comes from camera ``i % len(cameras)``.
        objects: fewest and most objects of a frame that is not empty.
        empty: share of frames without objects, [0, 1].
        clutter: most lines of clutter in a frame.
        mix: weights of circle, square and triangle, need not sum to 1.

    >>> scenes = Scenes(seed=7)
    >>> scenes.frame(3)
    Frame(cam-4 #3, 128x128 px, 3 objects)
    >>> [len(frame.truth) for frame in scenes.frames(5)]
    [0, 5, 5, 3, 2]
    """

    seed: int = field(default=0, validator=number("0 or above", least=0, whole=True))
    size: int = field(
        default=128, validator=number("the side of a square, 32 px or above", least=32, whole=True)
    )
    cameras: tuple[str, ...] = field(default=("cam-1", "cam-2", "cam-3", "cam-4"), converter=_names)
    objects: tuple[int, int] = (1, 5)
    empty: float = field(default=0.05, validator=number("a share, 0 to 1", least=0, most=1))
    clutter: int = field(default=4, validator=number("0 or above", least=0, whole=True))
    mix: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __attrs_post_init__(self) -> None:
        """Refuse a world that cannot be drawn."""
        bounds = parts(self.objects, Integral, name="objects", what="a whole number")
        mix = parts(self.mix, Real, name="mix", what="a weight")
        weights = len(mix) == len(CLASS_NAMES) and min(mix) >= 0.0 and 0.0 < sum(mix) < math.inf
        checks = {
            f"cameras={self.cameras} must name at least one camera": len(self.cameras) > 0,
            f"objects={self.objects} must be (fewest, most), 1 or above": (
                len(bounds) == 2 and 1 <= bounds[0] <= bounds[1]  # noqa: PLR2004 - fewest, most
            ),
            f"mix={self.mix} must be three weights, not all 0": weights,
        }
        for message, holds in checks.items():
            if not holds:
                raise InputError(message)

    def frame(self, number: int) -> Frame:
        """Frame `number`, 0 or above, whatever was drawn before it.

        Raises:
            InputError: the number is below 0.
        """
        if number < 0:
            msg = f"frame {number}: frames are numbered from 0"
            raise InputError(msg)
        return Frame.of(self._scene(number), number=number)

    def frames(self, n: int, *, start: int = 0) -> Iterator[Frame]:
        """`n` frames from number `start` on, drawn as they are asked for."""
        return (self.frame(number) for number in range(start, start + n))

    def stream(self, *, start: int = 0) -> Iterator[Frame]:
        """Frames without end, from number `start` on."""
        while True:
            yield self.frame(start)
            start += 1

    def of_camera(self, camera: str, n: int, *, start: int = 0) -> Iterator[Frame]:
        """The next `n` frames of one camera, from number `start` on.

        Raises:
            InputError: there is no such camera.
        """
        if camera not in self.cameras:
            msg = f"camera {camera!r} is none of {self.cameras}"
            raise InputError(msg)
        numbers = range(start, start + n * len(self.cameras))
        mine = (i for i in numbers if self.cameras[i % len(self.cameras)] == camera)
        return (self.frame(number) for number in islice(mine, n))

    def _scene(self, number: int) -> Scene:
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence((self.seed, number, 0))))
        camera = self.cameras[number % len(self.cameras)]
        zoom = self.size / _NOMINAL_PX
        n = (
            0
            if rng.random() < self.empty
            else int(rng.integers(self.objects[0], self.objects[1] + 1))
        )
        class_id = rng.choice(len(self.mix), size=n, p=np.asarray(self.mix) / sum(self.mix))
        radius = _REACH[class_id] * rng.uniform(*_DIAMETER_PX, size=n) * zoom / 2.0
        angle = rng.uniform(0.0, 2.0 * np.pi, size=n)
        reach = _reach(class_id, radius, angle, np.ones(n))
        centre, placed = _place(rng, reach, self.size)
        m = int(rng.integers(self.clutter + 1))
        scene = Scene(
            camera=camera,
            size=self.size,
            entropy=(self.seed, number),
            light=float(rng.uniform(-8.0, 8.0)),
            class_id=class_id.astype(np.int64),
            centre=centre,
            radius=radius,
            angle=angle,
            colour=_colours(rng, n, background=_mean_colour(camera, self.size)),
            stretch=np.ones(n),
            hollow=np.zeros(n, dtype=np.bool_),
            lot=rng.random(n),
            segments=rng.uniform(0.0, self.size, size=(m, 4)),
            strokes=rng.uniform(1.0, 2.5, size=m) * zoom,
            inks=rng.uniform(30.0, 225.0, size=(m, 3)),
        )
        return _keep(scene, placed)


def _keep(scene: Scene, kept: npt.NDArray[np.bool_]) -> Scene:
    names = ("class_id", "centre", "radius", "angle", "colour", "stretch", "hollow", "lot")
    return evolve(scene, **{name: getattr(scene, name)[kept] for name in names})


def _reach(class_id: npt.NDArray[np.int64], radius: Array, angle: Array, stretch: Array) -> Array:
    """``(n, 4)``: left, top, right and bottom of each tight box, from the object's centre."""
    out = np.empty((len(class_id), 4))
    for i, (c, r, a, s) in enumerate(zip(class_id, radius, angle, stretch, strict=True)):
        cos, sin = np.cos(a), np.sin(a)
        if _CORNERS[c] == 0:  # the tight box of a rotated ellipse
            half = r * np.array([np.hypot(s * cos, sin), np.hypot(s * sin, cos)])
            out[i] = np.concatenate([-half, half])
            continue
        turns = np.pi / _CORNERS[c] * (2.0 * np.arange(_CORNERS[c]) + 1.0)
        x, y = r * s * np.cos(turns), r * np.sin(turns)
        corners = np.stack([cos * x - sin * y, sin * x + cos * y])
        out[i] = np.concatenate([corners.min(axis=1), corners.max(axis=1)])
    return out


def _place(
    rng: np.random.Generator, reach: Array, size: int
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Centres inside the frame that hardly overlap; False where no place was found."""
    n = len(reach)
    spots = rng.random((n, _PLACES, 2))
    low, high = -reach[:, None, :2], size - reach[:, None, 2:]
    candidates = low + spots * (high - low)
    centre, placed, taken = np.zeros((n, 2)), np.zeros(n, dtype=np.bool_), np.empty((0, 4))
    for i in range(n):
        boxes = np.concatenate([candidates[i], candidates[i]], axis=1) + reach[i]
        free = np.flatnonzero(_overlap(boxes, taken).max(axis=1, initial=0.0) <= _OVERLAP)
        if free.size and bool((high[i] > low[i]).all()):
            centre[i], placed[i] = candidates[i, free[0]], True
            taken = np.concatenate([taken, boxes[free[:1]]])
    return centre, placed


def _overlap(a: Array, b: Array) -> Array:
    """``(len(a), len(b))``: shared area / area of the smaller box."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(sides, 0.0, None).prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b))
    return np.asarray(shared / np.minimum(area_a[:, None], area_b[None, :]), dtype=np.float64)


def _colours(rng: np.random.Generator, n: int, *, background: Array) -> Array:
    """``(n, 3)`` RGB that stand out from the mean of the background by 70 grey levels."""
    candidates = rng.uniform(10.0, 245.0, size=(n, 16, 3))
    distance = np.linalg.norm(candidates - background, axis=2)
    chroma = candidates.max(axis=2) - candidates.min(axis=2)
    fit = (distance > 70.0) & (chroma > 60.0)  # noqa: PLR2004 - grey levels; as the docstring says
    chosen = np.where(fit.any(axis=1), fit.argmax(axis=1), distance.argmax(axis=1))
    return np.asarray(candidates[np.arange(n), chosen], dtype=np.float64)


@lru_cache(maxsize=64)
def _background(camera: str, size: int) -> Pixels:
    """``(size, size, 3)``: grey with a tint, a slope, soft blotches and a fine weave."""
    rng = np.random.Generator(np.random.SFC64(crc32(camera.encode())))
    y, x = np.meshgrid(*[np.linspace(-0.5, 0.5, size)] * 2, indexing="ij")
    colour = rng.uniform(75.0, 180.0) + rng.uniform(-22.0, 22.0, size=3)
    slope = rng.uniform(-35.0, 35.0, size=2)
    blotches = _enlarge(rng.normal(0.0, 7.0, size=(7, 7)), size)
    waves = 2.0 * np.pi * rng.uniform(6.0, 20.0, size=2) * rng.choice((-1.0, 1.0), size=2)
    weave = rng.uniform(1.0, 5.0) * np.sin(waves[0] * x + waves[1] * y)
    grey = slope[0] * x + slope[1] * y + blotches + weave
    out: Pixels = (grey[..., None] + colour).astype(np.float32)
    out.setflags(write=False)
    return out


@lru_cache(maxsize=64)
def _mean_colour(camera: str, size: int) -> Array:
    mean = _background(camera, size).mean(axis=(0, 1), dtype=np.float64)
    return np.asarray(mean, dtype=np.float64)


def _enlarge(coarse: Array, size: int) -> Array:
    """Bilinear enlargement of a square of values to ``(size, size)``."""
    at = np.linspace(0.0, len(coarse) - 1.0, size)
    ticks = np.arange(len(coarse))
    weights = np.clip(1.0 - np.abs(at[:, None] - ticks[None, :]), 0.0, None)
    return np.asarray(weights @ coarse @ weights.T, dtype=np.float64)


def _draw(scene: Scene) -> Image:
    canvas = _background(scene.camera, scene.size) + np.float32(scene.light)
    for segment, stroke, ink in zip(scene.segments, scene.strokes, scene.inks, strict=True):
        corner, coverage = _line(segment, stroke, scene.size)
        _paint(canvas, corner, coverage, ink)
    for i, box in enumerate(scene.boxes()):
        corner, coverage = _object(scene, i, box)
        _paint(canvas, corner, coverage, scene.colour[i])
    seed = np.random.SeedSequence((*scene.entropy, 1))
    grain = np.random.Generator(np.random.SFC64(seed)).standard_normal(canvas.shape, np.float32)
    canvas += grain * np.float32(_SENSOR_NOISE)
    return np.asarray(np.clip(np.rint(canvas), 0.0, 255.0), dtype=np.uint8)


def _paint(canvas: Pixels, corner: tuple[int, int], coverage: Pixels, colour: Array) -> None:
    top, left = corner
    height, width = coverage.shape
    part = canvas[top : top + height, left : left + width]
    part += coverage[..., None] * (colour.astype(np.float32) - part)


def _line(segment: Array, stroke: float, size: int) -> tuple[tuple[int, int], Pixels]:
    """Top-left pixel and coverage of a line: how near each pixel's centre is to the segment."""
    ends = segment.reshape(2, 2)
    left, top = np.floor(np.clip(ends.min(axis=0) - stroke, 0.0, size - 1.0)).astype(int)
    right, bottom = np.ceil(np.clip(ends.max(axis=0) + stroke, 1.0, size)).astype(int)
    x = (np.arange(left, right) + 0.5 - segment[0]).astype(np.float32)[None, :]
    y = (np.arange(top, bottom) + 0.5 - segment[1]).astype(np.float32)[:, None]
    dx, dy = (segment[2:] - segment[:2]).astype(np.float32)
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy + np.float32(1e-6)), 0.0, 1.0)
    distance = np.hypot(x - along * dx, y - along * dy)
    coverage = np.clip(np.float32(stroke / 2.0 + 0.5) - distance, 0.0, 1.0)
    return (int(top), int(left)), coverage.astype(np.float32)


def _object(scene: Scene, i: int, box: Array) -> tuple[tuple[int, int], Pixels]:
    """Top-left pixel of object `i` and its coverage there, from 4 by 4 samples a pixel."""
    k = _SUPERSAMPLING
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    cx, cy = scene.centre[i]
    x = ((np.arange(left * k, right * k) + 0.5) / k - cx).astype(np.float32)[None, :]
    y = ((np.arange(top * k, bottom * k) + 0.5) / k - cy).astype(np.float32)[:, None]
    cos, sin = np.float32(np.cos(scene.angle[i])), np.float32(np.sin(scene.angle[i]))
    u = (cos * x + sin * y) / np.float32(scene.radius[i] * scene.stretch[i])
    v = (cos * y - sin * x) / np.float32(scene.radius[i])
    gauge = _gauge(int(scene.class_id[i]), u, v)
    inside = gauge <= 1.0
    if scene.hollow[i]:
        inside &= gauge > _HOLE
    rows = inside.reshape(bottom - top, k, -1).sum(axis=1, dtype=np.float32)
    samples = rows.reshape(bottom - top, right - left, k).sum(axis=2)
    return (int(top), int(left)), samples / np.float32(k * k)


def _gauge(class_id: int, u: Pixels, v: Pixels) -> Pixels:
    """How far out a point lies: 1 on the outline of the shape in the unit circle."""
    corners = _CORNERS[class_id]
    if corners == 0:
        return np.hypot(u, v)
    normals = 2.0 * np.pi / corners * np.arange(corners)
    sides = [u * np.float32(np.cos(t)) + v * np.float32(np.sin(t)) for t in normals]
    return np.asarray(np.maximum.reduce(sides) / np.float32(np.cos(np.pi / corners)), np.float32)


def write_yolo(
    folder: str | Path,
    frames: Iterable[Frame],
    split: Literal["train", "val", "test"] = "train",
) -> Path:
    """Write frames as one split of a YOLO dataset and return the path of its ``data.yaml``.

    Images go to ``images/<split>/<camera>-<number>.png``, labels (class, centre x, centre y,
    width, height, as shares of the frame) to ``labels/<split>/….txt``. ``data.yaml`` names the
    splits that exist and no folder outside, so the dataset may be moved. The names of splits
    are the ones that ultralytics resolves.

    Raises:
        InputError: two frames of the call have one camera and one number, or there is no such
            split.
        MissingExtra: Pillow is not installed.
    """
    refuse_other("split", split, ("train", "val", "test"))
    files = pillow("writing a PNG")
    root = Path(folder)
    images, labels = (root / kind / split for kind in ("images", "labels"))
    for place in (images, labels):
        place.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    for frame in frames:
        name = f"{frame.camera}-{frame.number:06d}"
        if name in written:
            msg = f"two frames are {name}: one camera takes one frame of a number"
            raise InputError(msg)
        written.add(name)
        files.fromarray(frame.image).save(images / f"{name}.png")
        (labels / f"{name}.txt").write_text(_label_text(frame.truth), encoding="utf-8")
    return _write_yaml(root)


def _label_text(truth: Detections) -> str:
    height, width = truth.image_size
    centre = (truth.xyxy[:, :2] + truth.xyxy[:, 2:]) / 2.0 / (width, height)
    extent = (truth.xyxy[:, 2:] - truth.xyxy[:, :2]) / (width, height)
    rows = np.concatenate([centre, extent], axis=1)
    return "".join(
        f"{class_id} " + " ".join(f"{value:.6f}" for value in row) + "\n"
        for class_id, row in zip(truth.class_id, rows, strict=True)
    )


def _write_yaml(root: Path) -> Path:
    splits = [s for s in ("train", "val", "test") if (root / "images" / s).is_dir()]
    lines = [f"{s}: images/{s}" for s in splits]
    lines += ["names:", *(f"  {index}: {name}" for index, name in CLASS_NAMES.items())]
    path = root / "data.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
