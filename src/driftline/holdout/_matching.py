"""Which detection found which object: the rules of the COCO API, for all thresholds at once.

Lin et al. 2014 (arXiv 1405.0312) and the COCO API's evaluation code: detections are taken most
confident first; each takes the free object of its class that it overlaps best, if by no less
than the threshold; crowds can be taken again and again; judged objects go before unjudged ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.errors import InputError
from driftline.holdout._frames import Truth
from driftline.records import Detections

__all__ = ["AREA_RANGES", "IOU_THRESHOLDS", "FrameMatch", "SizeRange", "match_frame"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

IOU_THRESHOLDS: Final[FloatArray] = np.linspace(0.5, 0.95, 10)
"""The ten thresholds of mAP@0.5:0.95, built as the COCO API does, rounding included."""


@frozen
class SizeRange:
    """A range of areas, px², both ends included (COCO API)."""

    name: str
    low: float
    high: float


AREA_RANGES: Final = (
    SizeRange("all", 0.0, 1e10),
    SizeRange("small", 0.0, 32.0**2),
    SizeRange("medium", 32.0**2, 96.0**2),
    SizeRange("large", 96.0**2, 1e10),
)
"""The area ranges of the COCO API; "all" comes first."""

_AREAS = np.array([[size.low, size.high] for size in AREA_RANGES])
_EXACT = 1.0 - 1e-10  # COCO API: min(threshold, 1 - 1e-10)


@frozen(kw_only=True, eq=False)
class FrameMatch:
    """What became of each detection of one frame, in order of falling confidence.

    Attributes:
        order: ``(n,)`` index of the detection in the `Detections` it came from; those beyond the
            limit per class are left out.
        hit: ``(n, sizes, thresholds)`` True where it found a judged object.
        ignored: ``(n, sizes, thresholds)`` True where it counts neither for nor against.
    """

    order: IntArray
    hit: BoolArray
    ignored: BoolArray


def outside(areas: FloatArray) -> BoolArray:
    """``(n, sizes)`` True where an area lies outside the range."""
    return (areas[:, None] < _AREAS[:, 0]) | (areas[:, None] > _AREAS[:, 1])


def overlaps(boxes: FloatArray, truth: FloatArray, crowd: BoolArray) -> FloatArray:
    """``(n, m)`` intersection over union; over the area of the detection where it is a crowd."""
    width = np.minimum(boxes[:, None, 2], truth[:, 2]) - np.maximum(boxes[:, None, 0], truth[:, 0])
    height = np.minimum(boxes[:, None, 3], truth[:, 3]) - np.maximum(boxes[:, None, 1], truth[:, 1])
    common = np.where((width > 0) & (height > 0), width * height, 0.0)
    area, truth_area = box_areas(boxes), box_areas(truth)
    union = np.where(crowd, area[:, None], area[:, None] + truth_area - common)
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def box_areas(boxes: FloatArray) -> FloatArray:
    """``(n,)`` area of the boxes, px²; 0 for one that is turned inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]


def match_frame(truth: Truth, found: Detections, *, max_detections: int | None) -> FrameMatch:
    """Match the detections of one frame with its labelled objects.

    Args:
        truth: the labelled objects.
        found: the detections.
        max_detections: keep the most confident of each class up to this number (COCO: 100);
            None keeps all.

    Raises:
        InputError: a detection has a confidence or a box that is no number.
    """
    if not bool(np.isfinite(found.xyxy).all() and np.isfinite(found.confidence).all()):
        msg = "predictions hold NaN or infinite boxes or confidences; leave such boxes out"
        raise InputError(msg)
    order = _ranked(found, max_detections)
    shape = (len(order), len(AREA_RANGES), len(IOU_THRESHOLDS))
    hit, ignored = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    boxes = found.xyxy[order]
    if len(truth) and len(order):
        iou = overlaps(boxes, truth.xyxy, truth.crowds)
        iou[found.class_id[order, None] != truth.class_id] = 0.0
        _take(truth, iou, hit, ignored)
    ignored |= outside(box_areas(boxes))[:, :, None] & ~hit
    return FrameMatch(order=order, hit=hit, ignored=ignored)


def _ranked(found: Detections, max_detections: int | None) -> IntArray:
    order = np.argsort(-found.confidence, kind="stable")
    if max_detections is None or len(order) <= max_detections:
        return order
    classes = found.class_id[order]
    kept = [np.flatnonzero(classes == one)[:max_detections] for one in np.unique(classes)]
    return order[np.sort(np.concatenate(kept))]


def _take(truth: Truth, iou: FloatArray, hit: BoolArray, ignored: BoolArray) -> None:
    """Let each detection take its object, in place, for every size and threshold."""
    unjudged = truth.unjudged[:, None] | outside(truth.areas)  # (m, sizes)
    unjudged = unjudged.T[:, None, :]  # (sizes, 1, m)
    crowd = truth.crowds
    needed = np.minimum(IOU_THRESHOLDS, _EXACT)[None, :, None]
    free = np.ones((len(AREA_RANGES), len(IOU_THRESHOLDS), len(truth)), dtype=np.bool_)
    for row in np.flatnonzero((iou >= IOU_THRESHOLDS[0]).any(axis=1)):
        near = np.flatnonzero(iou[row] >= IOU_THRESHOLDS[0])
        fits = free[:, :, near] & (iou[row, near] >= needed)
        judged = fits & ~unjudged[:, :, near]
        wanted = np.where(judged.any(axis=2, keepdims=True), judged, fits)
        worth = np.where(wanted, iou[row, near], 0.0)
        best = near[len(near) - 1 - worth[:, :, ::-1].argmax(axis=2)]  # the last of equals
        taken = fits.any(axis=2)
        passed = np.take_along_axis(unjudged[:, 0, :], best, axis=1)
        hit[row], ignored[row] = taken & ~passed, taken & passed
        size, threshold = np.nonzero(taken & ~crowd[best])
        free[size, threshold, best[size, threshold]] = False
