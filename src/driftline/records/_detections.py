"""What a detector found in one frame, and under which settings it looked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from attrs import field, frozen
from attrs.validators import optional

from driftline._checks import a, is_size, numbers
from driftline._draw import Shown, View
from driftline.errors import InputError
from driftline.records import _adapters, _views
from driftline.records._adapters import BoxFormat

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NAMES = a(Mapping, 'names by index, such as {0: "person"}')
_SHARE = a(Real, "a number from 0 to 1")


def _boxes(value: npt.ArrayLike) -> FloatArray:
    array = numbers(value, "xyxy")
    return array.reshape(0, 4) if array.size == 0 else array


def _floats(value: npt.ArrayLike) -> FloatArray:
    return numbers(value, "confidence")


def _ints(value: npt.ArrayLike) -> IntArray:
    try:
        array = np.asarray(value)
    except ValueError as exc:  # rows of different lengths
        msg = f"class_id must hold whole numbers, got {value!r:.200}"
        raise InputError(msg) from exc
    if array.dtype.kind == "i":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind not in "uf" and array.size:
        msg = f"class_id must hold whole numbers, got {array.dtype} {array.reshape(-1)[:5]!r}"
        raise InputError(msg)
    if array.size and not bool(np.all(array == array.astype(np.int64))):
        msg = f"class_id must hold whole numbers, got {array.dtype} {array.reshape(-1)[:5]!r}"
        raise InputError(msg)
    return array.astype(np.int64)


@frozen(kw_only=True, eq=False, repr=False)
class Detections(Shown):
    """The boxes of one frame; a frame without any is `Detections` with empty arrays.

    The ``from_*`` methods read what others write; none of their packages is imported. Oriented
    boxes, segments and poses become the upright boxes around them.

    Attributes:
        xyxy: ``(n, 4)`` float64: left, top, right, bottom in pixels of the frame.
        confidence: ``(n,)`` float64 in [0, 1].
        class_id: ``(n,)`` int64 index of the class.
        image_size: ``(height, width)`` of the frame in pixels.
        class_names: index → name, where known.
    """

    xyxy: FloatArray = field(converter=_boxes)
    confidence: FloatArray = field(converter=_floats)
    class_id: IntArray = field(converter=_ints)
    image_size: tuple[int, int]
    class_names: Mapping[int, str] = field(factory=dict, validator=_NAMES)

    def __attrs_post_init__(self) -> None:
        """Refuse arrays that do not fit each other; values are judged where they are used."""
        n = self.confidence.size
        shapes = self.xyxy.shape, self.confidence.shape, self.class_id.shape
        if shapes != ((n, 4), (n,), (n,)):
            msg = (
                f"xyxy {self.xyxy.shape}, confidence {self.confidence.shape} and class_id "
                f"{self.class_id.shape} must be (n, 4), (n,) and (n,) for one n"
            )
            raise InputError(msg)
        if not is_size(self.image_size):
            msg = f"image_size={self.image_size!r} must be (height, width) in pixels, both above 0"
            raise InputError(msg)

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.confidence)

    def __repr__(self) -> str:
        """Number of boxes and size of the frame."""
        height, width = self.image_size
        return f"<Detections: {len(self)} {'box' if len(self) == 1 else 'boxes'} in {width} x {height} px>"

    @classmethod
    def from_arrays(
        cls,
        boxes: npt.ArrayLike,
        confidence: npt.ArrayLike,
        class_id: npt.ArrayLike,
        *,
        image_size: tuple[int, int],
        format: BoxFormat = "xyxy",  # noqa: A002  torchvision's word
        normalized: bool = False,
        class_names: Mapping[int, str] | None = None,
    ) -> Detections:
        """Boxes in one of the usual formats.

        Args:
            boxes: ``(n, 4)``, or ``(n, 5)`` for ``"cxcywhr"``.
            confidence: ``(n,)`` in [0, 1].
            class_id: ``(n,)`` whole numbers.
            image_size: ``(height, width)`` of the frame, px.
            format: ``"xyxy"``: left, top, right, bottom; ``"xywh"``: left, top, width, height
                (COCO); ``"cxcywh"``: centre, width, height (YOLO labels, and what Ultralytics
                calls xywh); ``"cxcywhr"``: the same turned by r radians. The names are those of
                ``torchvision.ops.box_convert``.
            normalized: the boxes are shares of the frame's width and height, not pixels.
            class_names: index → name.

        >>> Detections.from_arrays(
        ...     [[0.5, 0.5, 0.2, 0.4]], [0.9], [0],
        ...     image_size=(100, 200), format="cxcywh", normalized=True,
        ... ).xyxy.tolist()
        [[80.0, 30.0, 120.0, 70.0]]
        """
        return cls(
            **_adapters.of_arrays(
                boxes,
                confidence,
                class_id,
                image_size=image_size,
                format=format,
                normalized=normalized,
                class_names=class_names or {},
            )
        )

    @classmethod
    def from_polygons(
        cls,
        polygons: Iterable[npt.ArrayLike],
        confidence: npt.ArrayLike,
        class_id: npt.ArrayLike,
        *,
        image_size: tuple[int, int],
        normalized: bool = False,
        class_names: Mapping[int, str] | None = None,
    ) -> Detections:
        """The boxes around outlines: corners of oriented boxes, segments, keypoints.

        Args:
            polygons: n outlines, each ``(k, 2)`` or flat x, y, x, y, …; k may differ.
            confidence: ``(n,)`` in [0, 1].
            class_id: ``(n,)`` whole numbers.
            image_size: ``(height, width)`` of the frame, px.
            normalized: points are shares of the frame's width and height, not pixels.
            class_names: index → name.
        """
        return cls(
            **_adapters.of_polygons(
                polygons,
                confidence,
                class_id,
                image_size=image_size,
                normalized=normalized,
                class_names=class_names or {},
            )
        )

    @classmethod
    def from_platform(cls, reply: Mapping[str, Any], *, normalized: bool = False) -> Detections:
        """The JSON of a Platform predict call on one image, or one entry of its ``images``.

        Args:
            reply: the decoded JSON.
            normalized: the call was made with ``normalize=true``; the reply does not say so.

        Raises:
            InputError: it holds several images (`frames_from_platform`), a result without box,
                or boxes that are plainly normalised although `normalized` is False.
        """
        return cls(**_adapters.of_platform(reply, normalized=normalized))

    @classmethod
    def frames_from_platform(
        cls, reply: Mapping[str, Any], *, normalized: bool = False
    ) -> tuple[Detections, ...]:
        """Every image of a Platform predict reply: those of a video, one a frame."""
        images = _adapters.images_of(reply)
        return tuple(cls.from_platform(image, normalized=normalized) for image in images)

    @classmethod
    def from_summary(
        cls,
        rows: Sequence[Mapping[str, Any]],
        *,
        image_size: tuple[int, int],
        normalized: bool = False,
    ) -> Detections:
        """The rows of Ultralytics' ``Results.summary()``, or of ``json.loads(Results.to_json())``.

        Args:
            rows: each with class, confidence and box (or segments, or keypoints).
            image_size: ``(height, width)`` of the frame, px, which the rows do not tell.
            normalized: they were made with ``normalize=True``.
        """
        return cls(**_adapters.of_summary(rows, image_size=image_size, normalized=normalized))

    @classmethod
    def from_ultralytics(cls, result: Any) -> Detections:
        """One ``ultralytics.engine.results.Results``: detect, segment, pose or obb.

        Raises:
            InputError: it has neither boxes nor oriented boxes (classification, semantic
                segmentation, depth).
        """
        return cls(**_adapters.of_ultralytics(result))

    @classmethod
    def from_supervision(cls, detections: Any, *, image_size: tuple[int, int]) -> Detections:
        """One ``supervision.Detections``.

        Args:
            detections: with ``xyxy``, ``confidence`` and ``class_id``.
            image_size: ``(height, width)`` of the frame, px, which they do not tell.
        """
        return cls(**_adapters.of_supervision(detections, image_size=image_size))

    @classmethod
    def from_coco(
        cls,
        annotations: Iterable[Mapping[str, Any]],
        *,
        image_size: tuple[int, int],
        confidence: float | None = None,
        categories: Iterable[Mapping[str, Any]] = (),
    ) -> Detections:
        """COCO results (``bbox``, ``score``, ``category_id``) or annotations of one image.

        Args:
            annotations: those of one image; ``bbox`` is left, top, width, height in px, and
                polygons stand in where it is missing. Crowds (``iscrowd``) are left out: they
                outline a region, not an object.
            image_size: ``(height, width)`` of the frame, px.
            confidence: of entries without a score, such as 1.0 for labels.
            categories: COCO's list of ``{"id": …, "name": …}``.
        """
        return cls(
            **_adapters.of_coco(
                annotations, image_size=image_size, confidence=confidence, categories=categories
            )
        )

    def _view(self) -> View:
        return _views.view_of_detections(self)


@frozen(kw_only=True)
class Context:
    """The settings a set of detections was made under; None and empty mean "not recorded".

    Detections of different contexts must not be compared: a confidence threshold truncates
    the distribution, another image size moves it.

    Attributes:
        model: name or address of the model.
        weights_digest: ``sha256:…`` of the weights.
        conf: confidence threshold, [0, 1].
        iou: IoU threshold of the non-maximum suppression, [0, 1].
        imgsz: inference size, px.
        ultralytics: version that made them.
        class_names: index → name.
    """

    model: str | None = None
    weights_digest: str | None = None
    conf: float | None = field(default=None, validator=optional(_SHARE))
    iou: float | None = field(default=None, validator=optional(_SHARE))
    imgsz: int | None = None
    ultralytics: str | None = None
    class_names: Mapping[int, str] = field(factory=dict, validator=_NAMES)


class Predictor(Protocol):
    """Anything that turns a frame into detections: an endpoint, local weights, your own."""

    def predict(self, image: Any) -> Detections:
        """Detections of one frame (``(height, width, 3)`` uint8 RGB, or a path)."""
        ...
