"""The files that annotators get and give back: YOLO labels, COCO JSON, a list to tick off."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

import numpy as np
from attrs import evolve

from driftline._files import write_whole
from driftline.errors import ContextMismatch, InputError, UnreadableData
from driftline.holdout import Truth
from driftline.holdout._coco_format import read_coco
from driftline.holdout._parsed import Problems, text_of
from driftline.holdout._yolo_format import read_class_names, read_labels
from driftline.records import Detections

__all__ = [
    "coco_of",
    "read_coco_labels",
    "read_list",
    "read_yolo_labels",
    "write_list",
]

LIST_NAME: Final = "review.csv"
COCO_NAME: Final = "annotations.json"
CLASSES_NAME: Final = "classes.txt"
"""Beside the labels: without it labelImg opens none of them."""
_COLUMNS: Final = (
    "rank", "file", "camera", "taken_at", "score_bits", "why", "proposed_boxes", "reviewed",
)  # fmt: skip
_MOST_LIST_BYTES = 64_000_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_YES: Final = frozenset({"yes", "y", "x", "1", "true", "ja", "done"})
_NO: Final = frozenset({"", "no", "n", "0", "false"})
_NOT_LABELS: Final = frozenset({"classes", "train", "val", "test", "readme", "license", "obj"})


def coco_of(
    frames: Sequence[tuple[str, Detections]], class_names: Mapping[int, str]
) -> dict[str, Any]:
    """COCO's JSON of files and the boxes proposed for them.

    Images are numbered by rank, categories by class, both from 1: importers take 0 for "none".
    """
    annotations: list[dict[str, Any]] = []
    for image_id, (_, found) in enumerate(frames, start=1):
        for box, kind, confidence in zip(
            found.xyxy.tolist(), found.class_id.tolist(), found.confidence.tolist(), strict=True
        ):
            left, top, right, bottom = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": kind + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                    "score": confidence,
                }
            )
    return {
        "info": {"description": "Boxes proposed by a model, for people to correct"},
        "images": [
            {
                "id": rank,
                "file_name": name,
                "height": found.image_size[0],
                "width": found.image_size[1],
            }
            for rank, (name, found) in enumerate(frames, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": name} for k, name in sorted(class_names.items())],
    }


# The list -----------------------------------------------------------------------------------


def write_list(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the list of frames, best first; people tick off the last column."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(row[column]) for column in _COLUMNS] for row in rows)
    write_whole(path, text.getvalue().encode(), what="the list of frames")


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def read_list(path: Path, files: Sequence[str]) -> set[str]:
    """The files that are ticked off; none where there is no list.

    Raises:
        UnreadableData: with the line that is of an unknown file, or neither yes nor no.
    """
    if not path.is_file():
        return set()
    problems, known, ticked = Problems(str(path)), set(files), set[str]()
    text = text_of(path, most_bytes=_MOST_LIST_BYTES)
    delimiter = ";" if ";" in text.partition("\n")[0] else ","  # what spreadsheets write in Europe
    reader = csv.DictReader(StringIO(text), delimiter=delimiter)
    try:
        for row in reader:
            name, said = str(row.get("file") or ""), str(row.get("reviewed") or "").strip().lower()
            if name not in known:
                problems.add(f"line {reader.line_num}", f"no frame {name[:80]!r} in this batch")
            elif said not in _YES | _NO:
                problems.add(
                    f"line {reader.line_num}", f"reviewed={said[:80]!r} is neither yes nor no"
                )
            elif said in _YES:
                ticked.add(name)
    except csv.Error as exc:
        problems.add(f"line {reader.line_num}", exc)
    problems.refuse()
    return ticked


# Labels that come back ----------------------------------------------------------------------


def read_yolo_labels(
    folder: Path, sizes: Mapping[str, tuple[int, int]], class_names: Mapping[int, str]
) -> dict[str, Truth]:
    """File → labels, of a folder with a label file for each frame that was looked at.

    Args:
        folder: with ``labels`` in it or itself of labels; a data YAML in it says how its
            classes are numbered.
        sizes: file → ``(height, width)`` px of every frame of the batch.
        class_names: index → name, as the batch counts.

    Raises:
        InputError: there is no such folder.
        UnreadableData: with file and line of what is no label, or of a frame nobody asked for.
        ContextMismatch: a label is of a class that the batch does not have.
    """
    if not folder.is_dir():
        msg = f"no folder of labels at {str(folder)!r}"
        raise InputError(msg)
    root = folder / "labels" if (folder / "labels").is_dir() else folder
    theirs = _names_in(folder, root) or dict(class_names)
    stems = {PurePosixPath(name).stem: name for name in sizes}
    problems, found = Problems(str(folder)), dict[str, Truth]()
    for path in sorted(root.rglob("*.txt")):
        name, where = stems.get(_original(path.stem)), path.relative_to(folder).as_posix()
        if name is None:
            if path.stem.lower() not in _NOT_LABELS:
                problems.add(where, "labels of a frame that is not in this batch")
            continue
        if name in found:
            problems.add(where, f"a second file of labels for {name}")
            continue
        try:
            truth = read_labels(path, sizes[name], theirs)
        except UnreadableData as exc:
            problems.add(where, exc)
            continue
        if truth is not None:
            found[name] = _renumbered(truth, class_names, where)
    problems.refuse()
    return found


def read_coco_labels(
    path: Path, images: Path, files: Sequence[str], class_names: Mapping[int, str]
) -> dict[str, Truth]:
    """File → labels, of a COCO JSON; a frame it lists without annotations has no objects.

    Raises:
        InputError: there is no such file, or a name leads out of the folder of the images.
        UnreadableData: with the image that does not parse or is not in the batch.
        ContextMismatch: a label is of a class that the batch does not have.
    """
    parsed = read_coco(path, images=images, rename=lambda name: _own_name(name, files))
    problems, found = Problems(str(path)), dict[str, Truth]()
    for frame in parsed.frames:
        where = f"image {frame.id}"
        if frame.id not in files or frame.id in found:
            problems.add(where, "is listed twice" if frame.id in found else "is not in this batch")
            continue
        found[frame.id] = _renumbered(frame.truth, class_names, f"{path.name}: {where}")
    problems.refuse()
    return found


def _original(name: str) -> str:
    """Label Studio puts eight hexadecimal digits before the name of an uploaded file."""
    return re.sub(r"^[0-9a-f]{8}-", "", name)


def _own_name(name: str, files: Sequence[str]) -> str:
    """The file of the batch that an export names, wherever it says that it is."""
    own = _original(PureWindowsPath(name).name)
    return own if own in files else name


def _names_in(folder: Path, labels: Path) -> dict[int, str] | None:
    """The classes by all files that number them; None where there is none.

    Raises:
        ContextMismatch: two of them disagree.
    """
    found = {path: read_class_names(path) for path in sorted(folder.glob("*.y*ml"))}
    lists = {folder / "classes.txt", folder / "obj.names", labels / CLASSES_NAME}
    for path in sorted(one for one in lists if one.is_file()):
        lines = text_of(path, most_bytes=_MOST_LIST_BYTES).split("\n")
        found[path] = dict(enumerate(line.strip() for line in lines if line.strip()))
    different = [path for path in found if found[path] != next(iter(found.values()))]
    if different:
        first = next(iter(found))
        msg = (
            f"{str(first)!r} numbers the classes {found[first]}, {str(different[0])!r} "
            f"{found[different[0]]}: which numbers the labels have is not known; start labelImg with "
            f"the classes of the batch (labelImg images labels/{CLASSES_NAME} labels)"
        )
        raise ContextMismatch(msg, fields=("class_names",))
    return next(iter(found.values()), None)


def _renumbered(truth: Truth, class_names: Mapping[int, str], where: str) -> Truth:
    """The same labels by our numbers: tools number classes as they like.

    Raises:
        ContextMismatch: a label is of a class that the batch does not have.
    """
    index_of = {name: index for index, name in class_names.items()}
    names = [truth.class_names[int(one)] for one in truth.class_id]
    if unknown := sorted(set(names) - index_of.keys()):
        msg = (
            f"{where} has a {unknown[0]!r}; the batch knows {sorted(index_of)}: name it so in the "
            "tool, or begin a batch with that class"
        )
        raise ContextMismatch(msg, fields=("class_names",))
    classes = np.array([index_of[name] for name in names], dtype=np.int64)
    return evolve(truth, class_id=classes, class_names=dict(class_names))


def to_json(path: Path, content: object) -> None:
    """Write JSON for machines and for people."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
