"""Only this file knows how others write down boxes; none of their packages is imported.

Each function gives the fields of a `Detections`. What is not a box (an oriented box, a segment, the
keypoints of a pose) counts by the upright box around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Literal, NoReturn, ParamSpec, TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from driftline.errors import InputError

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoxFormat: TypeAlias = Literal["xyxy", "xywh", "cxcywh", "cxcywhr"]
ImageSize: TypeAlias = tuple[int, int]


P = ParamSpec("P")
T = TypeVar("T")


class Fields(TypedDict):
    """The fields of a `Detections`."""

    xyxy: npt.ArrayLike
    confidence: npt.ArrayLike
    class_id: npt.ArrayLike
    image_size: ImageSize
    class_names: Mapping[int, str]


def _foreign(what: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """For what reads other people's objects: whatever they lack, the caller is told what to pass."""

    def wrap(read: Callable[P, T]) -> Callable[P, T]:
        @wraps(read)
        def reader(*args: P.args, **options: P.kwargs) -> T:
            try:
                return read(*args, **options)
            except InputError:
                raise
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
                msg = f"{args[0]!r:.200} is not {what}: {exc}"
                raise InputError(msg) from exc

        return reader

    return wrap


def _table(boxes: Sequence[Sequence[float]]) -> FloatArray:
    """``(n, 4)`` float64 of rows of four; also of none."""
    try:
        table = np.array(boxes, dtype=np.float64).reshape(len(boxes), -1)
    except (TypeError, ValueError, OverflowError):
        table = np.empty((len(boxes), 0))
    if boxes and table.shape[1] != 4:  # noqa: PLR2004 - a box has four sides
        wrong = next((box for box in boxes if not _is_box(box)), boxes[0])
        msg = f"boxes must be four numbers each, got {wrong!r:.200}"
        raise InputError(msg)
    return table.reshape(-1, 4)


def _is_box(box: Sequence[float]) -> bool:
    try:
        return np.array(box, dtype=np.float64).shape == (4,)
    except (TypeError, ValueError, OverflowError):
        return False


# Plain arrays ------------------------------------------------------------------------------


@_foreign("an array of boxes, (n, 4)")
def of_arrays(
    boxes: npt.ArrayLike,
    confidence: npt.ArrayLike,
    class_id: npt.ArrayLike,
    *,
    image_size: ImageSize,
    format: BoxFormat,  # noqa: A002  torchvision's word
    normalized: bool,
    class_names: Mapping[int, str],
) -> Fields:
    """Boxes in one of the usual formats (see `Detections.from_arrays`)."""
    if format not in _TO_XYXY:
        msg = f"format={format!r} must be one of {', '.join(_TO_XYXY)}"
        raise InputError(msg)
    width = 5 if format == "cxcywhr" else 4
    array = np.asarray(boxes, dtype=np.float64)
    array = array.reshape(0, width) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != width:  # noqa: PLR2004  rows and columns
        msg = f"boxes of shape {array.shape} are not (n, {width}), which {format!r} asks for"
        raise InputError(msg)
    if normalized:
        array = array * _scale(image_size)[:width]
    return Fields(
        xyxy=_TO_XYXY[format](array),
        confidence=confidence,
        class_id=class_id,
        image_size=image_size,
        class_names=class_names,
    )


def _scale(image_size: ImageSize) -> FloatArray:
    """What one row of a normalised box is multiplied by; an angle stays."""
    height, width = image_size
    return np.array([width, height, width, height, 1.0])


def _of_corner(xywh: FloatArray) -> FloatArray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:4]], axis=1)


def _of_center(cxcywh: FloatArray) -> FloatArray:
    half = cxcywh[:, 2:4] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def _of_rotated(cxcywhr: FloatArray) -> FloatArray:
    """Upright box around a box that is turned by r radians."""
    cos, sin = np.abs(np.cos(cxcywhr[:, 4])), np.abs(np.sin(cxcywhr[:, 4]))
    width = cxcywhr[:, 2] * cos + cxcywhr[:, 3] * sin
    height = cxcywhr[:, 2] * sin + cxcywhr[:, 3] * cos
    return _of_center(np.column_stack([cxcywhr[:, :2], width, height]))


_TO_XYXY: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "xyxy": lambda boxes: boxes,
    "xywh": _of_corner,
    "cxcywh": _of_center,
    "cxcywhr": _of_rotated,
}


@_foreign("a list of outlines, each (k, 2)")
def of_polygons(
    polygons: Iterable[npt.ArrayLike],
    confidence: npt.ArrayLike,
    class_id: npt.ArrayLike,
    *,
    image_size: ImageSize,
    normalized: bool,
    class_names: Mapping[int, str],
) -> Fields:
    """The boxes around outlines (see `Detections.from_polygons`)."""
    boxes = [_around(outline, place=f"polygon {i}") for i, outline in enumerate(polygons)]
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Fields(
        xyxy=array * _scale(image_size)[:4] if normalized else array,
        confidence=confidence,
        class_id=class_id,
        image_size=image_size,
        class_names=class_names,
    )


def _around(outline: npt.ArrayLike, *, place: str) -> list[float]:
    """The upright box around points, given as ``(k, 2)`` or as x, y, x, y and so on."""
    points = np.asarray(outline, dtype=np.float64)
    if points.ndim == 1 and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):  # noqa: PLR2004  x and y
        msg = f"{place} has shape {points.shape}, not (k, 2) with at least one point"
        raise InputError(msg)
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


# Ultralytics Platform, and the rows of Results.summary() -------------------------------------


@_foreign("the JSON of a predict call, nor one of its images")
def of_platform(reply: Mapping[str, Any], *, normalized: bool) -> Fields:
    """One image of a predict reply (see `Detections.from_platform`)."""
    images = [reply] if "results" in reply else images_of(reply)
    if len(images) != 1:
        msg = f"the reply has {len(images)} images; Detections.frames_from_platform gives them all"
        raise InputError(msg)
    image = images[0]
    shape, rows = image.get("shape"), image.get("results")
    if not isinstance(shape, Sequence) or len(shape) != 2:  # noqa: PLR2004  height and width
        msg = f"shape={shape!r} of the image is not [height, width]"
        raise InputError(msg)
    if not isinstance(rows, Sequence):
        msg = f"results={rows!r} of the image is not a list"
        raise InputError(msg)
    return of_summary(rows, image_size=(int(shape[0]), int(shape[1])), normalized=normalized)


@_foreign("the JSON of a predict call")
def images_of(reply: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The images of a predict reply."""
    images = reply.get("images")
    if not isinstance(images, Sequence):
        msg = f"no list of images in the reply, only {sorted(reply)[:8]}; pass the whole JSON of a predict call"
        raise InputError(msg)
    return images


@_foreign("a list of rows of Results.summary()")
def of_summary(
    rows: Sequence[Mapping[str, Any]], *, image_size: ImageSize, normalized: bool
) -> Fields:
    """Rows of name, class, confidence and box (see `Detections.from_summary`)."""
    try:
        boxes = [
            (b["x1"], b["y1"], b["x2"], b["y2"])
            if (b := row.get("box")) and "x3" not in b
            else _box_of(row)
            for row in rows
        ]
        confidence = [row["confidence"] for row in rows]
        class_id = [row["class"] for row in rows]
    except KeyError as exc:
        msg = f"a result lacks {exc.args[0]!r}: {_first_without(rows, str(exc.args[0]))!r}"
        raise InputError(msg) from exc
    array = _table(boxes)
    if normalized:
        array *= _scale(image_size)[:4]
    elif len(array) and array.max() <= 1.0 < max(image_size) and array.max() > 0.0:
        msg = (
            f"no box of {len(array)} reaches beyond 1 px in a frame of {image_size[1]} x "
            f"{image_size[0]} px: pass normalized=True if the reply was asked for with normalize"
        )
        raise InputError(msg)
    return Fields(
        xyxy=array,
        confidence=confidence,
        class_id=class_id,
        image_size=image_size,
        class_names={row["class"]: row["name"] for row in rows if "name" in row},
    )


def _box_of(row: Mapping[str, Any]) -> list[float]:
    """The box around an oriented box, a segment or keypoints."""
    box = row.get("box")
    if box is not None:
        corners = [(box[f"x{i}"], box[f"y{i}"]) for i in range(1, 5)]
        return _around(corners, place="an oriented box")
    for kind in ("segments", "keypoints"):
        if row.get(kind) is not None:
            return _around(_points(row[kind]), place=kind)
    msg = f"a result holds no box, segment or keypoints: {dict(row)!r}; classes of a whole image are not detections"
    raise InputError(msg)


def _points(outline: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Points of a segment, or those keypoints that were seen."""
    pairs = list(zip(outline["x"], outline["y"], strict=True))
    visible = outline.get("visible")
    return (
        pairs
        if visible is None
        else [p for p, seen in zip(pairs, visible, strict=True) if seen > 0]
    )


def _first_without(rows: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    return next((dict(row) for row in rows if key not in row), {})


# Ultralytics and supervision, in memory --------------------------------------------------------


@_foreign("one Results of Ultralytics; pass each of what model.predict() gives")
def of_ultralytics(result: Any) -> Fields:
    """One ``ultralytics.engine.results.Results`` (see `Detections.from_ultralytics`)."""
    if isinstance(result, list | tuple):
        msg = f"a list of {len(result)} results: pass each of them, they are one frame each"
        raise InputError(msg)
    found = getattr(result, "obb", None)
    if found is None:
        found = getattr(result, "boxes", None)
    height, width = result.orig_shape
    if found is None:
        _refuse_whole_image(result)
    return Fields(
        xyxy=array_of(found.xyxy),
        confidence=array_of(found.conf),
        class_id=array_of(found.cls),
        image_size=(int(height), int(width)),
        class_names=dict(result.names),
    )


def _refuse_whole_image(result: Any) -> NoReturn:
    kinds = ("probs", "semantic_mask", "depth", "masks", "keypoints")
    there = [kind for kind in kinds if getattr(result, kind, None) is not None]
    msg = f"the result has neither boxes nor obb (but {', '.join(there) or 'nothing else'}): it tells no detections"
    raise InputError(msg)


@_foreign("a supervision.Detections")
def of_supervision(found: Any, *, image_size: ImageSize) -> Fields:
    """One ``supervision.Detections`` (see `Detections.from_supervision`)."""
    n = len(found.xyxy)
    for name in ("confidence", "class_id"):
        if getattr(found, name) is None and n:
            msg = f"{name} of the detections is None; set it before, drift of what is not known cannot be told"
            raise InputError(msg)
    names = found.data.get("class_name", ()) if found.data else ()
    class_id = np.zeros(0) if found.class_id is None else array_of(found.class_id)
    return Fields(
        xyxy=array_of(found.xyxy),
        confidence=np.zeros(0) if found.confidence is None else array_of(found.confidence),
        class_id=class_id,
        image_size=image_size,
        class_names={int(i): str(name) for i, name in zip(class_id, names, strict=False)},
    )


def array_of(value: Any) -> npt.NDArray[Any]:
    """An array of an array or of a tensor, on whatever device it is."""
    if hasattr(value, "detach"):
        value = value.detach()
    if hasattr(value, "cpu"):
        value = value.cpu()
    return np.asarray(value)


# COCO --------------------------------------------------------------------------------------


@_foreign("a list of COCO results or annotations of one image")
def of_coco(
    annotations: Iterable[Mapping[str, Any]],
    *,
    image_size: ImageSize,
    confidence: float | None,
    categories: Iterable[Mapping[str, Any]],
) -> Fields:
    """Results or annotations of one image in COCO's form (see `Detections.from_coco`)."""
    rows = [row for row in annotations if not row.get("iscrowd")]
    pictures = {row["image_id"] for row in rows if "image_id" in row}
    if len(pictures) > 1:
        msg = f"annotations of {len(pictures)} images, {sorted(pictures)[:3]}, …: group them by image_id first"
        raise InputError(msg)
    return Fields(
        xyxy=coco_boxes(rows),
        confidence=[coco_score(row, confidence) for row in rows],
        class_id=[coco_category(row) for row in rows],
        image_size=image_size,
        class_names={int(c["id"]): str(c["name"]) for c in categories},
    )


def coco_boxes(rows: Sequence[Mapping[str, Any]]) -> FloatArray:
    """``(n, 4)`` left, top, right, bottom of entries, px."""
    return _of_corner(_table([_coco_box(row) for row in rows]))


def _coco_box(row: Mapping[str, Any]) -> Sequence[float]:
    if "bbox" in row:
        box: Sequence[float] = row["bbox"]
        return box
    outline = row.get("segmentation")
    if isinstance(outline, list) and outline:
        points = np.concatenate(
            [np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in outline]
        )
        left, top, right, bottom = _around(points, place="segmentation")
        return [left, top, right - left, bottom - top]
    msg = f"an annotation has neither bbox nor polygons: {sorted(row)}"
    raise InputError(msg)


def coco_category(row: Mapping[str, Any]) -> int:
    if "category_id" not in row:
        msg = f"an annotation has no category_id: {sorted(row)}"
        raise InputError(msg)
    given = row["category_id"]
    if isinstance(given, str):
        msg = f"category_id {given!r} is a text: write the id that the categories list for it"
        raise InputError(msg)
    category: int = given
    return category


def coco_score(row: Mapping[str, Any], confidence: float | None) -> float:
    score: float | None = row.get("score", confidence)
    if score is None:
        msg = f"an annotation has no score: {sorted(row)}; pass confidence=1.0 for labels"
        raise InputError(msg)
    return score
