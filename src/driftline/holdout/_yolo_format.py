"""Ultralytics' own layout: a data YAML, folders of images, a text file of labels for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.errors import InputError, MissingExtra, UnreadableData
from driftline.holdout._frames import LabelledFrame, Truth
from driftline.holdout._images import image_size, is_image
from driftline.holdout._parsed import MALFORMED, Parsed, Problems, edges, text_of, truth_from_shares

__all__ = [
    "label_line",
    "read_class_names",
    "read_folder",
    "read_labels",
    "read_yolo",
    "write_yaml",
    "yaml_text",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SPLITS: Final = ("test", "val", "train")
_MOST_YAML_BYTES = 4_000_000
_MOST_LABEL_BYTES = 16_000_000
_MOST_LIST_BYTES = 256_000_000
_BOX = 5  # class, centre x, centre y, width, height


def read_yolo(data: Path, *, split: str | None = None) -> Parsed:
    """Read one split of a data YAML.

    Args:
        data: the YAML. A relative ``path:`` and the splits are relative to its folder, never to
            a folder of the user's settings.
        split: which; None takes ``test``, else ``val``.

    Raises:
        InputError: there is no such file or split, or the YAML holds a ``download:`` key.
        UnreadableData: the YAML, a label or the head of an image does not parse.
        MissingExtra: PyYAML or Pillow is not installed.
    """
    content = _yaml(data)
    names = _class_names(content, data)
    root = data.parent / _root(content, data)
    chosen = _split(content, split, data)
    images = _images(content[chosen], root, data)
    return _read(images, root=root, class_names=names, source=f"{data} ({chosen})")


def read_folder(folder: Path, class_names: Mapping[int, str]) -> Parsed:
    """Read a folder of images with labels beside them, or in ``labels`` beside ``images``."""
    root = folder / "images" if (folder / "images").is_dir() else folder
    images = _below(root)
    if not images:
        msg = f"no image in {str(folder)!r}; pass the folder that holds images, or a data YAML"
        raise InputError(msg)
    return _read(images, root=folder, class_names=class_names, source=str(folder))


def label_line(class_id: int, box: npt.ArrayLike, image_size: tuple[int, int]) -> str:
    """One line of a label file: class, centre and extent as shares of the frame.

    >>> label_line(2, [10, 20, 30, 60], (100, 200))
    '2 0.1 0.4 0.1 0.4'
    """
    height, width = image_size
    left, top, right, bottom = np.clip(np.asarray(box, dtype=np.float64), 0, [width, height] * 2)
    shares = ((left + right) / 2 / width, (top + bottom) / 2 / height)
    extent = ((right - left) / width, (bottom - top) / height)
    return " ".join([str(int(class_id)), *(f"{value:.9g}" for value in (*shares, *extent))])


def write_yaml(path: Path, splits: Mapping[str, str], class_names: Mapping[int, str]) -> None:
    """Write a data YAML."""
    path.write_text(yaml_text(splits, class_names), encoding="utf-8")


def yaml_text(splits: Mapping[str, str], class_names: Mapping[int, str]) -> str:
    """A data YAML; names are quoted as JSON, which YAML reads.

    >>> print(yaml_text({"train": "images/train"}, {0: "person: adult"}), end="")
    train: "images/train"
    names:
      0: "person: adult"
    """
    json = import_module("json")
    lines = [f"{split}: {json.dumps(folder)}" for split, folder in splits.items()]
    lines += ["names:", *(f"  {index}: {json.dumps(name)}" for index, name in class_names.items())]
    return "\n".join(lines) + "\n"


def read_class_names(data: Path) -> dict[int, str]:
    """Index → name of the classes of a data YAML; errors as of `read_yolo`."""
    return _class_names(_yaml(data), data)


def _yaml(data: Path) -> dict[str, Any]:
    try:
        yaml = import_module("yaml")
    except ImportError as exc:
        extra = "holdout"
        raise MissingExtra(extra, needed_for="reading a data YAML", package="pyyaml") from exc
    if not data.is_file():
        msg = f"no data YAML at {str(data)!r}"
        raise InputError(msg)
    try:
        content = yaml.safe_load(text_of(data, most_bytes=_MOST_YAML_BYTES))
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        msg = f"{str(data)!r} is no YAML: {str(exc)[:200]}"
        raise UnreadableData(msg) from exc
    if not isinstance(content, dict):
        msg = f"{str(data)!r} holds no mapping with names: and a split; is it a data YAML?"
        raise UnreadableData(msg)
    if "download" in content:
        # ultralytics runs it, with exec() or a shell, when images are missing
        msg = (
            f"{str(data)!r} holds a download: key, which the stock validator would execute; "
            "fetch the images yourself, then remove the key"
        )
        raise InputError(msg)
    return {str(key): value for key, value in content.items()}


def _root(content: Mapping[str, Any], data: Path) -> str:
    given = content.get("path") or ""
    if not isinstance(given, str) or "\0" in given:
        msg = f"path: of {str(data)!r} is no path: {str(given)[:80]!r}"
        raise UnreadableData(msg)
    return given


def _class_names(content: Mapping[str, Any], data: Path) -> dict[int, str]:
    given = content.get("names")
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(given, dict):
        pairs = given.items()
    elif isinstance(given, list):
        pairs = enumerate(given)
    else:
        msg = f"{str(data)!r} holds no names: of classes (a list, or index → name)"
        raise UnreadableData(msg)
    try:
        names = {int(index): str(name) for index, name in pairs}
    except MALFORMED as exc:
        msg = f"names: of {str(data)!r} has an index that is no whole number: {exc}"
        raise UnreadableData(msg) from exc
    count = content.get("nc", len(names))
    if sorted(names) != list(range(len(names))) or count != len(names) or not names:
        msg = f"{str(data)!r} names classes {sorted(names)} with nc: {count}; they must count from 0 without a gap"
        raise UnreadableData(msg)
    if len(set(names.values())) < len(names):
        msg = f"two classes have one name in {str(data)!r}: {names}"
        raise UnreadableData(msg)
    return names


def _split(content: Mapping[str, Any], split: str | None, data: Path) -> str:
    there = [name for name in SPLITS if content.get(name)]
    wanted = [split] if split is not None else ["test", "val"]
    for name in wanted:
        if content.get(name):
            return name
    what = f"split {split!r}" if split else "split test: or val:"
    msg = f"{str(data)!r} has no {what}; it has {there or 'none'}: pass split= to name one"
    raise InputError(msg)


def _images(entry: object, root: Path, data: Path) -> list[Path]:
    """The images of a split: folders, images, or text files that list images."""
    found: list[Path] = []
    for one in entry if isinstance(entry, list) else [entry]:
        if not isinstance(one, str) or "\0" in one:
            msg = f"{str(data)!r} has a split that is no path: {one!r}"
            raise UnreadableData(msg)
        try:
            found += _expand(root / one, data)
        except OSError as exc:  # a name no file system takes, a folder nobody may read
            msg = f"{str(data)!r} names {one[:80]!r}, which cannot be read: {exc.strerror}"
            raise UnreadableData(msg) from exc
    if not found:
        msg = f"no image in the split {entry!r} of {str(data)!r}"
        raise InputError(msg)
    return list(dict.fromkeys(found))


def _expand(path: Path, data: Path) -> list[Path]:
    if path.is_dir():
        return _below(path)
    if path.is_file() and path.suffix.lower() == ".txt":
        lines = text_of(path, most_bytes=_MOST_LIST_BYTES).splitlines()
        return [path.parent / line.strip() for line in lines if line.strip()]
    if path.is_file() and is_image(path):
        return [path]
    msg = f"{str(data)!r} names {str(path)!r}, which is no folder, list or image"
    raise InputError(msg)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file())


def labels_of(image: Path) -> Path:
    """The label file of an image: the last folder ``images`` becomes ``labels`` (Ultralytics)."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read(
    images: Sequence[Path], *, root: Path, class_names: Mapping[int, str], source: str
) -> Parsed:
    problems = Problems(source)
    frames, unlabelled = [], []
    for image in images:
        name = _name(image, root)
        labels = labels_of(image)
        try:
            size = image_size(image)
            truth = read_labels(labels, size, class_names)
        except UnreadableData as exc:
            problems.add(name, exc)
            continue
        if truth is None:
            unlabelled.append(name)
            truth = Truth(xyxy=[], class_id=[], image_size=size, class_names=class_names)
        frames.append(LabelledFrame(truth=truth, image=image, id=name))
    for orphan in _without_image(images):
        problems.add(_name(orphan, root), "labels without an image")
    if frames and len(unlabelled) == len(frames):
        problems.add(labels_of(images[0]).parent, "no label file for any of the images")
    problems.refuse()
    return Parsed(
        frames=tuple(frames), class_names=class_names, root=root, unlabelled=tuple(unlabelled)
    )


def _without_image(images: Sequence[Path]) -> list[Path]:
    """Label files in the folders of the labels that no image stands for."""
    expected = {labels_of(image) for image in images}
    listed = {image.parent for image in images}
    folders = {
        labels_of(image).parent for image in images if labels_of(image).parent != image.parent
    }
    if len(folders) != len(listed):
        return []
    found = sorted(one for folder in folders if folder.is_dir() for one in folder.glob("*.txt"))
    present = {labels_of(one) for folder in listed for one in folder.iterdir() if is_image(one)}
    return [one for one in found if one not in expected | present and one.name != "classes.txt"]


def _name(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def read_labels(path: Path, size: tuple[int, int], class_names: Mapping[int, str]) -> Truth | None:
    """The labels of one image of ``(height, width)`` px; None when there is no file of labels.

    Raises:
        UnreadableData: with the number of the line that is no label.
    """
    if not path.is_file():
        return None
    rows = [line.split() for line in text_of(path, most_bytes=_MOST_LABEL_BYTES).splitlines()]
    parsed = [_row(row, number) for number, row in enumerate(rows, start=1) if row]
    # exact repetitions are one object, as for ultralytics
    unique = list(dict.fromkeys(parsed))
    classes = np.array([one[0] for one in unique], dtype=np.int64)
    shares = np.array([one[1:] for one in unique], dtype=np.float64).reshape(-1, 4)
    return truth_from_shares(classes, shares, size, class_names)


def _row(row: Sequence[str], number: int) -> tuple[int, float, float, float, float]:
    """Class and edges of one line: a box, or the box around an outline."""
    try:
        values = np.array([float(value) for value in row])
    except ValueError as exc:
        msg = f"label line {number} is no row of numbers: {exc}"
        raise UnreadableData(msg) from exc
    outline = len(row) > _BOX + 1 and len(row) % 2 == 1
    if not (len(row) == _BOX or outline):
        msg = (
            f"label line {number} has {len(row)} values; class, centre x, centre y, width, height, "
            "or class and the points of an outline are read"
        )
        raise UnreadableData(msg)
    if not np.isfinite(values).all() or values[0] != round(values[0]) or values[0] < 0:
        msg = f"label line {number} has class {row[0]!r} or a value that is not finite"
        raise UnreadableData(msg)
    if outline:
        points = values[1:].reshape(-1, 2)
        return (int(values[0]), *points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    x, y, width, height = values[1:].tolist()
    return (int(values[0]), *edges(x, y, width, height))
