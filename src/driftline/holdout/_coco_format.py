"""COCO's JSON of images, annotations and categories."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from driftline.errors import InputError, UnreadableData
from driftline.holdout._frames import LabelledFrame, Truth
from driftline.holdout._images import image_size
from driftline.holdout._parsed import MALFORMED, Parsed, Problems, inside, text_of

__all__ = ["read_coco"]

_MOST_BYTES = 1_000_000_000


def read_coco(
    path: Path, *, images: Path | None = None, rename: Callable[[str], str] | None = None
) -> Parsed:
    """Read a COCO file of ground truth.

    Classes are numbered from 0 in the order of the categories' ids, for COCO's own ids have gaps.
    ``iscrowd`` makes a crowd, ``ignore`` an object that is not judged, ``area`` decides its size.

    Args:
        path: the JSON.
        images: folder that the file names are below; None: ``images`` beside the JSON where it
            exists, else the folder of the JSON.
        rename: gives the name below that folder of each file that is named; None: its own.

    Raises:
        InputError: there is no such file, or a name leads out of the folder.
        UnreadableData: the JSON, an annotation or the head of an image does not parse.
        MissingExtra: Pillow is not installed.
    """
    content = _json(path)
    root = images or (path.parent / "images" if (path.parent / "images").is_dir() else path.parent)
    problems = Problems(str(path))
    numbers, names = _categories(content["categories"], path)
    by_image = _by_image(content, problems)
    frames = []
    for listed in content["images"]:
        image = dict(listed)
        if rename is not None:
            image["file_name"] = rename(str(image.get("file_name", "")))
        try:
            frames.append(_frame(image, by_image[image["id"]], root, numbers, names))
        except UnreadableData as exc:
            problems.add(f"image {image.get('id')!r}", exc)
        except MALFORMED as exc:
            if isinstance(exc, InputError):
                raise
            problems.add(f"image {image.get('id')!r}", f"does not parse: {exc!r}")
    problems.refuse()
    return Parsed(frames=tuple(frames), class_names=names, root=root)


def _json(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        msg = f"no COCO file at {str(path)!r}"
        raise InputError(msg)
    try:
        content = json.loads(text_of(path, most_bytes=_MOST_BYTES))
    except (ValueError, RecursionError) as exc:
        msg = f"{str(path)!r} is no JSON: {str(exc)[:200]}"
        raise UnreadableData(msg) from exc
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part), list) and all(isinstance(one, dict) for one in content[part])
        for part in parts
    ):
        msg = f"{str(path)!r} is no COCO ground truth: it needs lists of images, annotations and categories"
        raise UnreadableData(msg)
    if not content["images"]:
        msg = f"{str(path)!r} lists no image"
        raise InputError(msg)
    return content


def _categories(
    categories: Sequence[Mapping[str, Any]], path: Path
) -> tuple[dict[int, int], dict[int, str]]:
    """Category id → index, and index → name."""
    try:
        named = sorted((int(one["id"]), str(one["name"])) for one in categories)
    except MALFORMED as exc:
        msg = f"a category of {str(path)!r} has no id and name: {exc!r}"
        raise UnreadableData(msg) from exc
    ids, names = [one[0] for one in named], [one[1] for one in named]
    if len(set(ids)) < len(ids) or len(set(names)) < len(names) or not ids:
        msg = f"{str(path)!r} has no categories, or two with one id or name: {named}"
        raise UnreadableData(msg)
    return {one: index for index, one in enumerate(ids)}, dict(enumerate(names))


def _by_image(
    content: Mapping[str, list[Any]], problems: Problems
) -> Mapping[Any, list[Mapping[str, Any]]]:
    known = [image.get("id") for image in content["images"]]
    named = all(isinstance(one, int | float | str) for one in known)
    if not named or len({repr(one) for one in known}) < len(known):
        problems.add("images", "two have one id, or one has none that is a number or text")
        problems.refuse()
    grouped: defaultdict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    there = {repr(one) for one in known}
    for annotation in content["annotations"]:
        image = annotation.get("image_id")
        if repr(image) not in there:
            problems.add(
                f"annotation {annotation.get('id')!r}",
                f"is of image {image!r}, which is not listed",
            )
            continue
        grouped[image].append(annotation)
    return grouped


def _frame(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    root: Path,
    numbers: Mapping[int, int],
    names: Mapping[int, str],
) -> LabelledFrame:
    file = inside(root, image.get("file_name"))
    size = image_size(file)
    claimed = (int(image.get("height", size[0])), int(image.get("width", size[1])))
    if claimed != size:
        msg = (
            f"is listed as {claimed[1]} x {claimed[0]} px; {file.name!r} has {size[1]} x {size[0]}"
        )
        raise UnreadableData(msg)
    boxes = np.array([_box(one) for one in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    outside = (boxes < -1.0) | (boxes > np.tile([size[1], size[0]], 2) + 1.0)
    if outside.any() or not np.isfinite(boxes).all():
        row = int(np.flatnonzero(outside.any(axis=1) | ~np.isfinite(boxes).all(axis=1))[0])
        msg = f"bbox {annotations[row].get('bbox')} does not lie in {size[1]} x {size[0]} px"
        raise UnreadableData(msg)
    unknown = [one.get("category_id") for one in annotations if one["category_id"] not in numbers]
    if unknown:
        msg = f"category {unknown[0]!r} is not listed"
        raise UnreadableData(msg)
    truth = Truth(
        xyxy=boxes,
        class_id=[numbers[one["category_id"]] for one in annotations],
        image_size=size,
        crowd=[bool(one.get("iscrowd", 0)) for one in annotations],
        ignore=[bool(one.get("ignore", 0)) for one in annotations],
        area=[
            float(one.get("area", (box[2] - box[0]) * (box[3] - box[1])))
            for one, box in zip(annotations, boxes, strict=True)
        ],
        class_names=names,
    )
    return LabelledFrame(truth=truth, image=file, id=str(image["file_name"]))


def _box(annotation: Mapping[str, Any]) -> list[float]:
    left, top, width, height = (float(value) for value in annotation["bbox"])
    if width < 0 or height < 0:
        msg = f"bbox {annotation['bbox']} has a negative width or height"
        raise UnreadableData(msg)
    return [left, top, width, height]
