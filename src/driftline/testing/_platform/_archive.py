"""What is in an uploaded archive: images, their labels in YOLO form, and names of classes."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, TypeAlias

from attrs import field, frozen

Fetch: TypeAlias = Callable[[str], bytes | None]
"""The content of an address that the local storage host gave out; None for any other."""

_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
_SPLITS: Final = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_BLOCK: Final = re.compile(r"^names:[^\S\n]*\n((?:[ \t]+.*\n?|-.*\n?)+)", re.MULTILINE)
_INLINE: Final = re.compile(r"^names:\s*\[(.*?)\]", re.MULTILINE | re.DOTALL)
_BOX: Final = 5
"""Numbers of a line that is a box: class, centre x, centre y, width, height."""


class BrokenArchiveError(Exception):
    """The archive cannot be read; the words are the Platform's to say."""


@frozen(kw_only=True)
class Member:
    """One image of an archive.

    Attributes:
        name: its file name.
        content: its bytes; None where they could not be had.
        split: the part that its folder names.
        labels: its labels, as the Platform's contract writes them.
    """

    name: str
    content: bytes | None = field(repr=False)
    split: str
    labels: tuple[dict[str, Any], ...]


def members_of(content: bytes, filename: str, fetch: Fetch) -> tuple[list[Member], tuple[str, ...]]:
    """The images of an archive, and the names of the classes where it has them.

    Raises:
        BrokenArchiveError: it cannot be read.
    """
    if filename.lower().endswith(".ndjson"):
        return _ndjson(content, fetch)
    try:
        files = dict(_zipped(content) if filename.lower().endswith(".zip") else _tarred(content))
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError) as exc:
        msg = f"The archive cannot be read: {exc}"
        raise BrokenArchiveError(msg) from None
    found = [
        Member(
            name=PurePosixPath(path).name,
            content=image,
            split=_split_of(path),
            labels=_labels_of(path, files),
        )
        for path, image in sorted(files.items())
        if PurePosixPath(path).suffix.lower() in _IMAGES
    ]
    return found, _class_names(files)


def _zipped(content: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, archive.read(info)


def _tarred(content: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for info in archive:
            opened = archive.extractfile(info) if info.isfile() else None
            if opened is not None:
                yield info.name, opened.read()


def _split_of(path: str) -> str:
    named = [_SPLITS[part] for part in PurePosixPath(path).parts if part in _SPLITS]
    return named[-1] if named else "train"


def _labels_of(path: str, files: Mapping[str, bytes]) -> tuple[dict[str, Any], ...]:
    beside = str(PurePosixPath(path).with_suffix(".txt"))
    folder = re.sub(r"(^|/)images/", r"\1labels/", beside)
    text = files.get(folder, files.get(beside, b"")).decode("utf-8", "replace")
    rows = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    return tuple(label_of(row) for row in rows)


def label_of(row: list[float]) -> dict[str, Any]:
    """A line of YOLO form as a label: a box, or a polygon with the box around it."""
    class_id, *place = row
    if len(row) == _BOX:
        return {"classId": int(class_id), "bbox": [round(value, 5) for value in place]}
    xs, ys = place[0::2], place[1::2]
    box = [
        (min(xs) + max(xs)) / 2,
        (min(ys) + max(ys)) / 2,
        max(xs) - min(xs),
        max(ys) - min(ys),
    ]
    bbox = [round(value, 5) for value in box]
    return {"classId": int(class_id), "bbox": bbox, "segments": [round(v, 5) for v in place]}


def _class_names(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The names of a ``data.yaml``: a list, or a mapping in order."""
    texts = [
        content.decode("utf-8", "replace")
        for path, content in files.items()
        if path.endswith((".yaml", ".yml"))
    ]
    for text in texts:
        if inline := _INLINE.search(text):
            return tuple(word.strip(" '\"\n") for word in inline[1].split(","))
        if block := _BLOCK.search(text):
            lines = [line.strip() for line in block[1].splitlines() if line.strip()]
            return tuple(re.sub(r"^(-|\d+:)\s*", "", line).strip("'\"") for line in lines)
    return ()


def _ndjson(content: bytes, fetch: Fetch) -> tuple[list[Member], tuple[str, ...]]:
    try:
        rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        names = rows[0].get("class_names", {}) if rows and rows[0]["type"] == "dataset" else {}
        found = [
            Member(
                name=row["file"],
                content=fetch(row.get("url", "")),
                split=row.get("split", "train"),
                labels=tuple(
                    label_of([float(value) for value in box])
                    for box in row.get("annotations", {}).get("boxes", ())
                ),
            )
            for row in rows
            if row["type"] == "image"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        msg = f"The NDJSON cannot be read: {exc}"
        raise BrokenArchiveError(msg) from None
    return found, tuple(names[key] for key in sorted(names, key=int))
