"""The Platform's NDJSON export of a dataset.

One line for the dataset (task, class names), then one an image (name, address, size, split,
labels). The stock converter needs a train split, an event loop of its own and another package;
this one needs neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from driftline._files import write_whole
from driftline.errors import InputError, UnreadableData
from driftline.holdout._frames import LabelledFrame, Truth
from driftline.holdout._images import image_size
from driftline.holdout._parsed import MALFORMED, Parsed, Problems, edges, inside, truth_from_shares

__all__ = ["Fetch", "read_ndjson"]

Fetch = Callable[[str], bytes]
"""Gets the content at an address; such as ``lambda url: httpx.get(url).content``."""

_BOX: Final = 5  # class and four numbers
_MOST_PX: Final = 10**10
"""More pixels than any picture has."""
_MOST_LINE: Final = 64_000_000
_MOST_IMAGE_BYTES: Final = 100_000_000  # the Platform takes images up to 100 MB


def read_ndjson(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    fetch: Fetch | None = None,
) -> Parsed:
    """Read an NDJSON export.

    Args:
        path: the file.
        images: folder that holds the images under the names of the export, and that fetched ones
            are written to; None: ``<name of the file>-images`` beside it.
        split: take only the frames of this split; None: all.
        fetch: gets the images that are not in the folder yet, from the signed addresses of the
            export (valid for 7 days); None: nothing is fetched, and frames without a picture
            can be scored with predictions at hand only.

    Raises:
        InputError: there is no such file or split, a name leads out of the folder, or an address
            is not https.
        UnreadableData: a line or an image does not parse.
        MissingExtra: Pillow is not installed.
    """
    if not path.is_file():
        msg = f"no NDJSON export at {str(path)!r}"
        raise InputError(msg)
    lines = _lines(path)
    names = _class_names(next(lines, {}), path)
    root = images or path.with_name(f"{path.stem}-images")
    problems = Problems(str(path))
    frames, splits, unlabelled = [], set(), []
    for number, record in enumerate(lines, start=2):
        if record.get("type") != "image":
            continue
        splits.add(str(record.get("split")))
        if split is not None and record.get("split") != split:
            continue
        try:
            frame = _frame(record, root, names, fetch)
        except UnreadableData as exc:
            problems.add(f"line {number}", exc)
            continue
        if record.get("annotations") is None:
            unlabelled.append(frame.id)
        frames.append(frame)
    problems.refuse()
    if not frames:
        msg = f"no image of split {split!r} in {str(path)!r}; it has the splits {sorted(splits)}"
        raise InputError(msg)
    return Parsed(frames=tuple(frames), class_names=names, root=root, unlabelled=tuple(unlabelled))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as exc:
                msg = f"line {number} of {str(path)!r} is no JSON: {str(exc)[:200]}"
                raise UnreadableData(msg) from exc
            if not isinstance(record, dict):
                msg = f"line {number} of {str(path)!r} is no JSON object"
                raise UnreadableData(msg)
            yield record


def _class_names(head: Mapping[str, Any], path: Path) -> dict[int, str]:
    if head.get("type") != "dataset":
        msg = f'{str(path)!r} does not begin with a line of "type": "dataset"; is it an export of the Platform?'
        raise UnreadableData(msg)
    if head.get("task", "detect") not in ("detect", "segment", "obb", "pose"):
        msg = f"{str(path)!r} is a dataset for {head.get('task')!r}, which has no boxes"
        raise InputError(msg)
    given = head.get("class_names")
    try:
        pairs = given.items() if isinstance(given, dict) else enumerate(given or [])
        names = {int(index): str(name) for index, name in pairs}
    except MALFORMED as exc:
        msg = f"class_names of {str(path)!r} do not parse: {exc}"
        raise UnreadableData(msg) from exc
    if not names or len(set(names.values())) < len(names):
        msg = f"class_names of {str(path)!r} are missing, or two are alike: {names}"
        raise UnreadableData(msg)
    return names


def _frame(
    record: Mapping[str, Any], root: Path, names: Mapping[int, str], fetch: Fetch | None
) -> LabelledFrame:
    file = inside(root, record.get("file"))
    if fetch is not None and not file.is_file():
        _fetch(record.get("url"), _landing(file, root), fetch)
    there = file.is_file()
    size = image_size(file) if there else _claimed(record)
    return LabelledFrame(
        truth=_truth(record.get("annotations"), size, names),
        image=file if there else None,
        id=str(record["file"]),
        tags={"split": str(record["split"])} if record.get("split") else {},
    )


def _claimed(record: Mapping[str, Any]) -> tuple[int, int]:
    width, height = record.get("width"), record.get("height")
    if (
        isinstance(width, int)
        and isinstance(height, int)
        and width > 0
        and height > 0
        and width * height <= _MOST_PX
    ):
        return height, width
    msg = f"{record.get('file')!r} has no width and height, and no picture in the folder of images"
    raise UnreadableData(msg)


def _landing(file: Path, root: Path) -> Path:
    """Where a picture is written: below its folder also when links are followed.

    Raises:
        InputError: a link leads out of the folder.
    """
    place = file.resolve()
    if not place.is_relative_to(root.resolve()):
        msg = f"{str(file)!r} leads out of {str(root)!r} by a link; nothing is written there"
        raise InputError(msg)
    return place


def _fetch(url: object, file: Path, fetch: Fetch) -> None:
    parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        msg = f"{file.name!r} has no https address to fetch it from"
        raise InputError(msg)
    content = fetch(str(url))
    if len(content) > _MOST_IMAGE_BYTES:
        msg = f"{file.name!r} has {len(content)} bytes; at most {_MOST_IMAGE_BYTES} are kept"
        raise UnreadableData(msg)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content, what="an image")


def _truth(annotations: object, size: tuple[int, int], names: Mapping[int, str]) -> Truth:
    if annotations is None:
        annotations = {}
    if not isinstance(annotations, dict):
        msg = f"annotations are no object: {str(annotations)[:80]}"
        raise UnreadableData(msg)
    rows = [
        (row[0], *edges(*row[1:5]))
        for kind in ("boxes", "pose")
        for row in _rows(annotations, kind)
    ]
    rows += [_outline(row) for kind in ("segments", "obb") for row in _rows(annotations, kind)]
    unique = np.array(list(dict.fromkeys(rows)), dtype=np.float64).reshape(-1, 5)
    return truth_from_shares(unique[:, 0].astype(np.int64), unique[:, 1:], size, names)


def _rows(annotations: Mapping[str, Any], kind: str) -> list[list[float]]:
    """Class and coordinates of each object, all finite."""
    rows = annotations.get(kind) or []
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        msg = f"{kind} are no list of lists of class and coordinates"
        raise UnreadableData(msg)
    try:
        numbers = [[float(value) for value in row] for row in rows]
    except MALFORMED as exc:
        msg = f"{kind} hold something that is no number: {exc}"
        raise UnreadableData(msg) from exc
    for row in numbers:
        if len(row) < _BOX or not np.isfinite(row).all() or row[0] != int(row[0]):
            msg = f"{kind} hold {row[:6]}, which is no class and its coordinates"
            raise UnreadableData(msg)
    return numbers


def _outline(row: Sequence[float]) -> tuple[float, float, float, float, float]:
    if len(row) % 2 == 0:
        msg = f"an outline has {len(row) - 1} coordinates; x and y in turn are read"
        raise UnreadableData(msg)
    points = np.array(row[1:]).reshape(-1, 2)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return row[0], left, top, right, bottom
