"""What a detector found in one frame, and under which settings it looked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def _boxes(value: npt.ArrayLike) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    return array.reshape(0, 4) if array.size == 0 else array


def _floats(value: npt.ArrayLike) -> FloatArray:
    return np.asarray(value, dtype=np.float64)


def _ints(value: npt.ArrayLike) -> IntArray:
    array = np.asarray(value)
    if array.size and not bool(np.all(array == array.astype(np.int64))):
        msg = f"class_id must hold whole numbers, got {array.dtype} {array[:5]!r}"
        raise InputError(msg)
    return array.astype(np.int64)


@frozen(kw_only=True, eq=False)
class Detections:
    """The boxes of one frame; a frame without any is `Detections` with empty arrays.

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
    class_names: Mapping[int, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Refuse arrays that do not fit each other; values are judged where they are used."""
        n = len(self.confidence)
        if self.xyxy.shape != (n, 4) or self.class_id.shape != (n,) or self.confidence.ndim != 1:
            msg = (
                f"xyxy {self.xyxy.shape}, confidence {self.confidence.shape} and class_id "
                f"{self.class_id.shape} must be (n, 4), (n,) and (n,) for one n"
            )
            raise InputError(msg)
        height, width = self.image_size
        if height <= 0 or width <= 0:
            msg = f"image_size={self.image_size} must be (height, width) in pixels, both above 0"
            raise InputError(msg)

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.confidence)


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
    conf: float | None = None
    iou: float | None = None
    imgsz: int | None = None
    ultralytics: str | None = None
    class_names: Mapping[int, str] = field(factory=dict)


class Predictor(Protocol):
    """Anything that turns a frame into detections: an endpoint, local weights, your own."""

    def predict(self, image: Any) -> Detections:
        """Detections of one frame (``(height, width, 3)`` uint8 RGB, or a path)."""
        ...
