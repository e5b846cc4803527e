"""Two detectors that need no torch: one of our own for drawn shapes, one for any YOLO ``.onnx``.

Both are called with an image and answer `Detections`; both tell the `Context` they work under.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cached_property
from hashlib import file_digest
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import part, refuse_number
from driftline.errors import InputError, MissingExtra, ModelError, UnreadableData
from driftline.records import Context, Detections
from driftline.testing._pillow import pillow
from driftline.testing._scenes import CLASS_NAMES

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxDetector", "ShapeFinder", "letterbox", "non_max_suppression"]

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.float32]

_MAX_DETECTIONS: Final = 300  # ultralytics' max_det: what its predictions and scores are cut at
_GREY: Final = 114.0  # what YOLO pads with

# Area of a shape / area of the circle around it: 1, 2/pi, 3*sqrt(3)/(4*pi). Measured on
# pixels, grain lowers the first and blunt corners raise the others; these are the medians over
# the objects of 300 frames of `Scenes` that were found with an IoU above 0.8.
_FULLNESS: Final = np.array([0.94, 0.715, 0.50])
_CONTRAST: Final = 34.0  # grey levels from the background that make a pixel part of a shape
_SMALLEST: Final = 40  # pixels; below it is noise or clutter


def as_image(image: npt.ArrayLike | str | Path) -> Image:
    """The image as ``(height, width, 3)`` uint8 RGB; a path is read with Pillow.

    Raises:
        InputError: another shape or type, or no file at the path.
        MissingExtra: a path was given and Pillow is not installed.
        UnreadableData: the file at the path is no image.
    """
    if isinstance(image, str | Path):
        return _read(Path(image))
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:  # noqa: PLR2004 - (h, w, RGB)
        msg = f"image must be (height, width, 3) uint8 RGB, got {array.shape} {array.dtype}"
        raise InputError(msg)
    return array


def _read(path: Path) -> Image:
    files = pillow("reading an image file")
    if not path.is_file():
        msg = f"no image at {str(path)!r}"
        raise InputError(msg)
    try:
        with files.open(path) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except OSError as exc:
        msg = f"{path.name!r} is no image that Pillow can read: {exc}"
        raise UnreadableData(msg) from exc


@frozen(kw_only=True)
class ShapeFinder:
    """Finds the circles, squares and triangles of `Scenes` by contrast and fullness.

    No learning: what stands out from a smooth background is one object, and the share of its
    surrounding circle that it fills tells which (1 for a circle, 0.64 for a square, 0.41 for a
    triangle). Its confidence falls with contrast and with doubt about the shape, so darkness,
    blur, noise and unknown objects show in it as they do in a trained detector.
    It knows nothing of other pictures.

    Attributes:
        conf: confidence from which a detection is reported, [0, 1].

    >>> from driftline.testing import Scenes
    >>> len(ShapeFinder()(Scenes(seed=7).frame(3).image))
    3
    """

    conf: float = field(default=0.25)

    def __attrs_post_init__(self) -> None:
        """Refuse a threshold that is none."""
        _in_unit("conf", self.conf)

    @property
    def context(self) -> Context:
        """The settings it works under."""
        return Context(model="shape-finder", conf=self.conf, class_names=CLASS_NAMES)

    def __call__(self, image: npt.ArrayLike | str | Path) -> Detections:
        """Detections of one frame, ``(height, width, 3)`` uint8 RGB or a path, surest first."""
        from scipy import ndimage  # noqa: PLC0415 - costs 0.2 s at import

        pixels = as_image(image)
        smooth = ndimage.uniform_filter(pixels.astype(np.float32), size=(3, 3, 1))
        contrast = np.linalg.norm(smooth - _backdrop(smooth), axis=2)
        labels, _ = ndimage.label(_solid(contrast > _CONTRAST))
        found = [
            shape
            for window in ndimage.find_objects(labels)
            if (shape := _describe(contrast, window)) is not None
        ]
        return self._detections(found, pixels.shape[:2])

    def predict(self, image: npt.ArrayLike | str | Path) -> Detections:
        """The same as calling it."""
        return self(image)

    def _detections(
        self, found: list[tuple[Array, float, int]], image_size: tuple[int, ...]
    ) -> Detections:
        sure = sorted((s for s in found if s[1] >= self.conf), key=lambda s: -s[1])
        return Detections(
            xyxy=np.array([box for box, _, _ in sure]).reshape(-1, 4),
            confidence=np.array([score for _, score, _ in sure]),
            class_id=np.array([shape for _, _, shape in sure], dtype=np.int64),
            image_size=(image_size[0], image_size[1]),
            class_names=CLASS_NAMES,
        )


def _backdrop(pixels: Pixels) -> Pixels:
    """A quadratic surface a channel, fitted to the pixels that lie near it."""
    height, width = pixels.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).astype(np.float32)
    step = max(1, min(height, width) // 32)
    basis = terms[::step, ::step].reshape(-1, 6)
    colours = pixels[::step, ::step].reshape(-1, 3)
    weights = np.zeros((6, 3), dtype=np.float32)
    weights[0] = np.median(colours, axis=0)
    for _ in range(4):
        distance = np.linalg.norm(colours - basis @ weights, axis=1)
        near = distance <= max(_CONTRAST, float(np.quantile(distance, 0.4)))
        weights = np.linalg.lstsq(basis[near], colours[near], rcond=None)[0]
    return np.asarray(terms @ weights, dtype=np.float32)


def _solid(mask: Mask) -> Mask:
    """The mask without what is thinner than about five pixels; corners grow back."""
    from scipy import ndimage  # noqa: PLC0415 - costs 0.2 s at import

    opened = ndimage.binary_opening(mask, np.ones((5, 5), dtype=np.bool_))
    cross = ndimage.generate_binary_structure(2, 1)
    return np.asarray(ndimage.binary_dilation(opened, cross, iterations=3, mask=mask), np.bool_)


def _describe(contrast: Pixels, window: tuple[slice, ...]) -> tuple[Array, float, int] | None:
    """Box, confidence and class of what stands out in one window of the picture.

    The outline lies where the contrast is half of the object's own: the smoothed edge crosses
    it where the sharp one was.
    """
    from scipy import ndimage  # noqa: PLC0415 - costs 0.2 s at import

    rows, columns = (slice(max(s.start - 1, 0), s.stop + 1) for s in window)
    part = contrast[rows, columns]
    strength = float(np.quantile(part[part > _CONTRAST], 0.6))
    mask = _solid(part > strength / 2.0)
    area = int(mask.sum())
    if area < _SMALLEST:
        return None
    y, x = np.nonzero(mask)
    box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], dtype=np.float64)
    radius = np.quantile(np.hypot(x - x.mean(), y - y.mean()), 0.99) + 0.5
    doubt = np.abs(area / (np.pi * radius**2) - _FULLNESS)
    shape = int(doubt.argmin())
    solid = area / int(ndimage.binary_fill_holes(mask).sum())  # below 1: an outline, no shape
    doubtless = solid**2 * np.exp(-((doubt[shape] / 0.1) ** 2))
    confidence = (1.0 - np.exp(-strength / 60.0)) * doubtless
    return box + np.tile([columns.start, rows.start], 2), float(confidence), shape


class OnnxDetector:
    """A YOLO detection model exported to ``.onnx``, on onnxruntime: no torch, no ultralytics.

    Does around the model what ultralytics does around its own: letterboxing, threshold,
    non-maximum suppression by class, boxes back in pixels of the frame (8.4's ``predict``;
    resizing is plain bilinear, so frames of the model's own size agree best).
    Models that suppress inside (YOLOv10, YOLO26 as exported by default) work as well.

    The file is read at the first use. Detections are for 300 boxes a frame at most, the
    surest first.

    Args:
        path: the ``.onnx`` file.
        conf: confidence above which a detection is reported, [0, 1].
        iou: overlap above which the less sure of two boxes of a class goes, [0, 1].
        imgsz: inference size, px; None: the size the model was exported for.
        threads: threads of one prediction; 1 leaves the cores to other work.

    Raises:
        InputError: there is no such file, or a number out of range.
        MissingExtra: (at the first use) onnxruntime is not installed.
        ModelError: (at the first use) the file is no YOLO detection model in ONNX.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        conf: float = 0.25,
        iou: float = 0.7,
        imgsz: int | None = None,
        threads: int = 1,
    ) -> None:
        """Keep the settings; nothing is read yet."""
        part(path, (str, Path), name="path", what="the path of a .onnx file")
        self._path = Path(path)
        if not self._path.is_file():
            msg = f"no weights at {str(path)!r}: pass the path of a .onnx file"
            raise InputError(msg)
        self._conf, self._iou = _in_unit("conf", conf), _in_unit("iou", iou)
        refuse_number("threads", threads, "1 or above", least=1, whole=True)
        if imgsz is not None:
            refuse_number("imgsz", imgsz, "px, 1 or above", least=1, whole=True)
        self._imgsz, self._threads = imgsz, threads

    def __repr__(self) -> str:
        """File name and settings."""
        return f"OnnxDetector({self._path.name!r}, conf={self._conf:g}, iou={self._iou:g})"

    def __call__(self, image: npt.ArrayLike | str | Path) -> Detections:
        """Detections of one frame, ``(height, width, 3)`` uint8 RGB or a path, surest first."""
        pixels = as_image(image)
        padded, scale, corner = letterbox(pixels, self._size)
        boxes, scores, classes = self._decode(self._infer(padded))
        height, width = pixels.shape[:2]
        boxes = np.clip((boxes - np.tile(corner, 2)) / scale, 0.0, [width, height, width, height])
        return Detections(
            xyxy=boxes,
            confidence=scores,
            class_id=classes,
            image_size=(height, width),
            class_names=self.class_names,
        )

    def predict(self, image: npt.ArrayLike | str | Path) -> Detections:
        """The same as calling it."""
        return self(image)

    @cached_property
    def class_names(self) -> Mapping[int, str]:
        """Index → name as the model carries them, empty where it carries none."""
        text = self._facts.get("names", "{}")
        try:
            return {int(index): str(name) for index, name in dict(ast.literal_eval(text)).items()}
        except (ValueError, TypeError, SyntaxError) as exc:
            msg = f"{self._path.name!r} carries the class names {text!r}, which do not parse"
            raise ModelError(msg) from exc

    @cached_property
    def context(self) -> Context:
        """The settings it works under, with the sha256 of the weights."""
        with self._path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        return Context(
            model=self._path.name,
            weights_digest=f"sha256:{digest}",
            conf=self._conf,
            iou=self._iou,
            imgsz=max(self._size),
            ultralytics=self._facts.get("version"),
            class_names=self.class_names,
        )

    @cached_property
    def _session(self) -> InferenceSession:
        try:
            import onnxruntime  # noqa: PLC0415 - heavy, and an extra
        except ImportError as exc:
            extra = "onnx"
            raise MissingExtra(extra, needed_for="OnnxDetector", package="onnxruntime") from exc
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self._threads
        options.log_severity_level = 4  # what is wrong comes as an exception
        provider = ["CPUExecutionProvider"]
        try:
            return onnxruntime.InferenceSession(str(self._path), options, providers=provider)
        except _onnx_errors() as exc:
            msg = f"onnxruntime cannot load {self._path.name!r} ({exc}): export it again to .onnx"
            raise ModelError(msg) from exc

    @cached_property
    def _facts(self) -> Mapping[str, str]:
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @cached_property
    def _size(self) -> tuple[int, int]:
        """Height and width the model takes."""
        shape = self._session.get_inputs()[0].shape
        if len(shape) != 4 or shape[1] not in (3, "channels"):  # noqa: PLR2004 - (n, RGB, h, w)
            msg = f"{self._path.name!r} takes {shape}, not RGB images (n, 3, height, width)"
            raise ModelError(msg)
        fixed = [side for side in shape[2:] if isinstance(side, int)]
        if len(fixed) == 2:  # noqa: PLR2004 - height, width
            if self._imgsz is not None and {self._imgsz} != set(fixed):
                msg = f"imgsz={self._imgsz}, but {self._path.name!r} was exported for {fixed}"
                raise InputError(msg)
            return fixed[0], fixed[1]
        known = ast.literal_eval(self._facts.get("imgsz", "[640, 640]"))
        height, width = (self._imgsz, self._imgsz) if self._imgsz else known
        return int(height), int(width)

    def _infer(self, padded: Pixels) -> Array:
        entry = self._session.get_inputs()[0]
        kind = np.float16 if entry.type == "tensor(float16)" else np.float32
        batch = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=kind)
        try:
            (raw, *_) = self._session.run(None, {entry.name: batch})
        except _onnx_errors() as exc:
            msg = f"{self._path.name!r} failed on a frame: {exc}"
            raise ModelError(msg) from exc
        return np.asarray(raw, dtype=np.float64)

    def _decode(self, raw: Array) -> tuple[Array, Array, Ints]:
        if raw.ndim != 3:  # noqa: PLR2004 - (image, ., .)
            msg = f"{self._path.name!r} answers {raw.shape}: it is no YOLO detection model"
            raise ModelError(msg)
        if self._facts.get("end2end") == "True":
            rows = raw[0][raw[0][:, 4] > self._conf]
            return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
        boxes, scores, classes = _candidates(raw[0], self._conf)
        kept = non_max_suppression(boxes, scores, classes, iou=self._iou)[:_MAX_DETECTIONS]
        return boxes[kept], scores[kept], classes[kept]


def letterbox(image: Image, size: tuple[int, int]) -> tuple[Pixels, float, Array]:
    """Fit an image into ``size`` (height, width), centred on grey, its proportions kept.

    Returns:
        ``(height, width, 3)`` float32 in [0, 1]; the scale; ``(2,)`` x and y of the corner, so
        that a box of the frame times the scale plus the corner is a box of the result.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    # ultralytics rounds half a pixel of padding down at the top and the left
    top, left = round((size[0] - h) / 2 - 0.1), round((size[1] - w) / 2 - 0.1)
    out = np.full((*size, 3), _GREY / 255.0, dtype=np.float32)
    out[top : top + h, left : left + w] = _resize(image, h, w) / np.float32(255.0)
    return out, scale, np.array([left, top], dtype=np.float64)


def _resize(image: Image, height: int, width: int) -> Pixels:
    """Bilinear between the four nearest pixels, centres at halves, values back to whole numbers."""
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    above, below, down = _neighbours(image.shape[0], height)
    left, right, along = _neighbours(image.shape[1], width)
    rows = image[above] * (1 - down[:, None, None]) + image[below] * down[:, None, None]
    out = rows[:, left] * (1 - along[None, :, None]) + rows[:, right] * along[None, :, None]
    return np.asarray(np.rint(out), dtype=np.float32)


def _neighbours(source: int, target: int) -> tuple[Ints, Ints, Pixels]:
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0.0, source - 1.0)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (at - low).astype(np.float32)


def _candidates(raw: Array, conf: float) -> tuple[Array, Array, Ints]:
    """Boxes above the threshold from ``(4 + classes, anchors)``: centre, extent, scores."""
    scores = raw[4:].max(axis=0)
    sure = scores > conf
    centre, half = raw[:2, sure].T, raw[2:4, sure].T / 2.0
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes, scores[sure], raw[4:, sure].argmax(axis=0).astype(np.int64)


def non_max_suppression(xyxy: Array, confidence: Array, class_id: Ints, *, iou: float) -> Ints:
    """Indices of the boxes that stay, the surest first.

    Greedy, as torchvision's: the surest box stays, boxes of its class that overlap it by more
    than `iou` go, and again with the rest. Equal confidences keep their order.

    >>> boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10]])
    >>> non_max_suppression(boxes, np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1]), iou=0.5)
    array([0, 2])
    """
    order = np.argsort(-confidence, kind="stable")
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    kept: list[int] = []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        sides = np.minimum(xyxy[first, 2:], xyxy[rest, 2:])
        sides = np.clip(sides - np.maximum(xyxy[first, :2], xyxy[rest, :2]), 0.0, None)
        shared = sides.prod(axis=1)
        union = area[first] + area[rest] - shared
        # Divided, as torchvision does: multiplied, an IoU of exactly `iou` could be rounded above it.
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        order = rest[(overlap <= iou) | (class_id[rest] != class_id[first])]
    return np.array(kept, dtype=np.int64)


def _onnx_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: classes of a compiled module, without a base of their own."""
    state = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state"))
    return tuple(e for e in state.values() if isinstance(e, type) and issubclass(e, Exception))


def _in_unit(name: str, value: float) -> float:
    refuse_number(name, value, "in [0, 1]", least=0, most=1)
    return value
