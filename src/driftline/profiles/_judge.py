"""Which boxes can be counted, and why the others cannot: the one policy on hostile numbers."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from driftline._checks import refuse_other
from driftline.errors import InputError
from driftline.profiles._features import FloatArray
from driftline.records import Detections

Invalid: TypeAlias = Literal["raise", "count"]
Codes: TypeAlias = npt.NDArray[np.int8]

REJECTED = ("confidence", "box", "outside", "class", "frame")
"""Why a box was not counted, in the order the reasons are looked for; ``"frame"`` counts frames
without area, whose boxes are ``"outside"``."""
CLASSES = 2**16
"""A class index is below this; LVIS has 1,203 classes and Objects365 has 365."""
LARGEST_PX = 1e9
"""No coordinate or side is longer: it is no pixel, and products of a few still are numbers."""
_SMALL = 64


def counted(invalid: Invalid) -> bool:
    """Whether boxes that cannot be counted are counted as rejected, or refused."""
    refuse_other("invalid", invalid, get_args(Invalid))
    return invalid == "count"


def codes(
    sides: FloatArray,
    *,
    confidence: FloatArray,
    class_id: npt.NDArray[np.integer],
    height: FloatArray,
    width: FloatArray,
) -> Codes | None:
    """``(n,)`` int8: 0 for a box that can be counted, else 1 + its reason's place in `REJECTED`.

    None where all can be counted, which is found out quickly: by extremes, not box by box.

    Args:
        sides: ``(4, n)`` left, top, right, bottom, px.
        confidence: ``(n,)``.
        class_id: ``(n,)``.
        height: ``(n,)`` or ``(1,)`` height of each box's frame, px.
        width: ``(n,)`` or ``(1,)`` width of each box's frame, px.
    """
    if _all_good(sides, confidence, class_id, height, width):
        return None
    left, top, right, bottom = sides
    area = (height > 0) & (width > 0) & (height <= LARGEST_PX) & (width <= LARGEST_PX)
    faults = (
        ~((confidence >= 0) & (confidence <= 1)),
        ~((left <= right) & (top <= bottom) & (np.abs(sides) <= LARGEST_PX).all(axis=0)),
        ~((right >= 0) & (bottom >= 0) & (left <= width) & (top <= height) & area),
        (class_id < 0) | (class_id >= CLASSES),
    )
    found = np.zeros(len(confidence), dtype=np.int8)
    for number in reversed(range(len(faults))):
        found[faults[number]] = number + 1
    return found


def _all_good(
    sides: FloatArray,
    confidence: FloatArray,
    class_id: npt.NDArray[np.integer],
    height: FloatArray,
    width: FloatArray,
) -> bool:
    """Whether no box has a fault; a nan makes an extreme nan, which compares as false."""
    if not len(confidence):
        return True
    left, top, right, bottom = sides
    return bool(
        confidence.min() >= 0
        and confidence.max() <= 1
        and class_id.min() >= 0
        and class_id.max() < CLASSES
        and height.min() > 0
        and width.min() > 0
        and max(height.max(), width.max()) <= LARGEST_PX
        and min(left.min(), top.min()) >= -LARGEST_PX
        and min(right.min(), bottom.min()) >= 0
        and max(right.max(), bottom.max()) <= LARGEST_PX
        and (left <= np.minimum(right, width)).all()
        and (top <= np.minimum(bottom, height)).all()
    )


def good(detections: Detections) -> bool:
    """Whether every box can be counted; the same answer as `codes`, quicker for few boxes."""
    height, width = detections.image_size
    if len(detections) > _SMALL:
        return _codes_of(detections) is None
    for (left, top, right, bottom), confidence, class_id in zip(
        detections.xyxy.tolist(),
        detections.confidence.tolist(),
        detections.class_id.tolist(),
        strict=True,
    ):
        if not (
            0.0 <= confidence <= 1.0
            and -LARGEST_PX <= left <= right <= LARGEST_PX
            and -LARGEST_PX <= top <= bottom <= LARGEST_PX
            and right >= 0
            and bottom >= 0
            and left <= width
            and top <= height
            and 0 <= class_id < CLASSES
        ):
            return False
    return True


def _codes_of(detections: Detections) -> Codes | None:
    height, width = detections.image_size
    return codes(
        np.ascontiguousarray(detections.xyxy.T, dtype=np.float64),
        confidence=detections.confidence,
        class_id=detections.class_id,
        height=np.array([height], dtype=np.float64),
        width=np.array([width], dtype=np.float64),
    )


def refuse_nameless(camera: str) -> None:
    """Raise unless the camera has a name: in reports, "" stands for all cameras together."""
    if not issubclass(type(camera), str) or not camera or not in_utf8(camera):
        msg = f"camera={camera!r} must be a name that UTF-8 can hold, such as 'cam-1'"
        raise InputError(msg)


def in_utf8(text: str) -> bool:
    """Whether files can hold a text: half of a surrogate pair they cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_foreign(detections: object) -> None:
    """Raise unless it is `Detections`."""
    if not isinstance(detections, Detections):
        msg = (
            f"{type(detections).__name__} is no Detections; make them with Detections(xyxy=…) or "
            "one of its from_… methods (from_ultralytics, from_supervision, from_coco, …)"
        )
        raise InputError(msg)


def countable(detections: Detections) -> npt.NDArray[np.bool_]:
    """``(n,)`` bool: which boxes can be counted."""
    found = _codes_of(detections)
    return np.ones(len(detections), dtype=bool) if found is None else found == 0


def refuse_bad(detections: Detections) -> None:
    """Raise for the first box that cannot be counted.

    Raises:
        InputError: naming the box, its value, and what would do.
    """
    if good(detections):
        return
    height, width = detections.image_size
    found = _codes_of(detections)
    if found is None:
        return
    index = int(np.flatnonzero(found)[0])
    raise InputError(
        said(
            index,
            REJECTED[found[index] - 1],
            xyxy=detections.xyxy[index],
            confidence=float(detections.confidence[index]),
            class_id=int(detections.class_id[index]),
            height=height,
            width=width,
        )
    )


def said(
    index: int,
    reason: str,
    *,
    xyxy: FloatArray,
    confidence: float,
    class_id: int,
    height: float,
    width: float,
) -> str:
    """What is wrong with a box, in words."""
    box = f"xyxy={[float(v) for v in xyxy]}"
    fault = {
        "confidence": f"confidence={confidence!r} is not in [0, 1]",
        "box": f"{box} is not left <= right, top <= bottom in pixels (within 1e9)",
        "outside": f"{box} lies outside its frame of {width:g} x {height:g} px",
        "class": f"class_id={class_id} is not in [0, {CLASSES})",
    }[reason]
    return f'box {index}: {fault}; correct it, or count such boxes as rejected with invalid="count"'
