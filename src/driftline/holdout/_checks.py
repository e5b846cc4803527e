"""What must hold before a score means anything: classes agree, pictures open, nothing leaked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from driftline._checks import part
from driftline.errors import ContextMismatch, InputError, UnreadableData
from driftline.holdout._frames import LabelledFrame
from driftline.holdout._images import THUMBNAIL, pixels, thumbnail
from driftline.holdout._parsed import Problems
from driftline.records import Detections

__all__ = ["ClassMapping", "Leak", "check_pictures", "class_numbers", "leaks", "translate"]

ClassMapping = Mapping[str, str | None]
"""Name of a class of the model → name of the class of the holdout, or None to leave it out."""

Colours = npt.NDArray[np.float32]

MOST_DIFFERENCE: Final = 40.0
"""Levels of a colour, of 255: no cell of the thumbnails of one picture and its copy differs by more.

Measured on 300 frames of 128 px, where compression shows most, before one background: copies half
as large or 5 % darker differ by up to 16, JPEG of quality 75 by up to 35 and of quality 40 by 40 in
95 of 100; pictures with objects elsewhere by 71 and more."""

_COARSE = 8  # side of the thumbnails that candidates are looked for with
_CHUNK = 4096


@frozen(kw_only=True)
class Leak:
    """A picture of the holdout that a model was trained on, or one hardly different.

    Attributes:
        frame: id of the frame of the holdout.
        train: id or path of the training picture.
        difference: the largest difference of a cell of their thumbnails, levels of 255.
    """

    frame: str
    train: str
    difference: float

    def __str__(self) -> str:
        """Both names."""
        return f"{self.frame} is {self.train}"


def class_numbers(
    holdout: Mapping[int, str], model: Mapping[int, str], mapping: ClassMapping | None = None
) -> dict[int, int | None]:
    """Index of each class of the model → index in the holdout, or None to leave it out.

    The stock validator never compares the two: a model that numbers its classes otherwise gets a
    score without a warning (ultralytics threads 20248, 18872, 19796).

    Args:
        holdout: index → name.
        model: index → name.
        mapping: what differing names mean; classes it does not hold go by their own names.

    Raises:
        ContextMismatch: names or order differ and no mapping says what is meant.
        InputError: the mapping names a class that is not there.

    >>> class_numbers({0: "cat", 1: "dog"}, {0: "dog", 1: "cat"}, {"dog": "dog", "cat": "cat"})
    {0: 1, 1: 0}
    """
    if mapping is None:
        if dict(holdout) != dict(model):
            raise _mismatch(holdout, model)
        return {index: index for index in model}
    part(mapping, Mapping, name="class_mapping", what="a mapping of names to names or None")
    index_of = {name: index for index, name in holdout.items()}
    names = list(index_of)
    unknown = [name for name in mapping if name not in model.values()]
    missing = [name for name in mapping.values() if name is not None and name not in names]
    if unknown or missing:
        msg = (
            f"class_mapping names {unknown or missing}, which the "
            f"{'model' if unknown else 'holdout'} does not have; it has "
            f"{sorted(model.values()) if unknown else sorted(index_of)}"
        )
        raise InputError(msg)
    meant = {index: mapping.get(name, name) for index, name in model.items()}
    lost = [name for name in meant.values() if name is not None and name not in index_of]
    if lost:
        msg = (
            f"the model's {lost} are no classes of the holdout and class_mapping does not say what "
            "they are; map each to a class of the holdout, or to None to leave it out"
        )
        raise InputError(msg)
    return {index: None if name is None else index_of[name] for index, name in meant.items()}


def _mismatch(holdout: Mapping[int, str], model: Mapping[int, str]) -> ContextMismatch:
    wrong = sorted(
        index for index in holdout.keys() | model.keys() if holdout.get(index) != model.get(index)
    )
    index = wrong[0]
    said = [repr(names[index]) if index in names else "not there" for names in (holdout, model)]
    offer = {name: name if name in holdout.values() else None for name in model.values()}
    msg = (
        f"class {index} is {said[0]} in the holdout and {said[1]} in the model "
        f"({len(wrong)} of {len(holdout.keys() | model.keys())} classes differ): the score would be "
        f"of the wrong classes. If both mean the same, say how: class_mapping={offer}"
    )
    return ContextMismatch(msg, fields=("class_names",))


def translate(
    found: Detections, numbers: Mapping[int, int | None], class_names: Mapping[int, str]
) -> Detections:
    """The same detections with the holdout's numbers; classes to be left out are left out.

    Raises:
        InputError: a detection is of a class that is not among the numbers.
    """
    unknown = sorted({int(one) for one in found.class_id} - numbers.keys())
    if unknown:
        msg = f"a detection is of class {unknown[0]}, which the model does not name"
        raise InputError(msg)
    meant = [numbers[int(one)] for one in found.class_id]
    kept = np.array([one is not None for one in meant], dtype=np.bool_)
    return evolve(
        found,
        xyxy=found.xyxy[kept],
        confidence=found.confidence[kept],
        class_id=np.array([one for one in meant if one is not None], dtype=np.int64),
        class_names=dict(class_names),
    )


def check_pictures(frames: Sequence[LabelledFrame], source: str) -> None:
    """Open and decode every picture, and hold its size against that of the labels.

    Raises:
        UnreadableData: with every picture that is missing, broken or of another size.
    """
    problems = Problems(source)
    for frame in frames:
        if not isinstance(frame.image, (str, Path)):
            continue
        try:
            shape = pixels(Path(frame.image)).shape[:2]
        except UnreadableData as exc:
            problems.add(frame.id, exc)
            continue
        if tuple(shape) != tuple(frame.truth.image_size):
            problems.add(frame.id, f"has {shape} px, its labels are for {frame.truth.image_size}")
    problems.refuse()


def leaks(holdout: Sequence[tuple[str, Any]], train: Sequence[tuple[str, Any]]) -> tuple[Leak, ...]:
    """Pictures that are in both, also compressed, resized or brightened anew.

    Two pictures of a camera that stands still differ only by what moves in them: without anything
    in them they count as one.

    Args:
        holdout: id and picture (path, or ``(height, width, 3)`` uint8 RGB) of each frame.
        train: the same of the training pictures.

    Returns:
        For each frame of the holdout that leaked the training picture nearest to it.

    Raises:
        UnreadableData: a picture does not open.
    """
    mine = _levelled([_thumbnail(picture) for _, picture in holdout])
    found: dict[int, tuple[float, str]] = {}
    for start in range(0, len(train), _CHUNK):
        some = train[start : start + _CHUNK]
        theirs = _levelled([_thumbnail(picture) for _, picture in some])
        for row, column in _candidates(mine, theirs):
            difference = float(np.abs(mine[row] - theirs[column]).max())
            if difference <= MOST_DIFFERENCE:
                found[row] = min(found.get(row, (np.inf, "")), (difference, some[column][0]))
    return tuple(
        Leak(frame=holdout[row][0], train=name, difference=round(difference, 2))
        for row, (difference, name) in sorted(found.items())
    )


def _thumbnail(picture: Any) -> Colours:
    return thumbnail(Path(picture) if isinstance(picture, (str, Path)) else picture)


def _levelled(thumbnails: Sequence[Colours]) -> Colours:
    """``(n, 32, 32, 3)`` without the overall colour."""
    stack = np.array(thumbnails, dtype=np.float32).reshape(-1, THUMBNAIL, THUMBNAIL, 3)
    level: Colours = stack.mean(axis=(1, 2), keepdims=True)
    return np.asarray(stack - level, dtype=np.float32)


def _candidates(first: Colours, second: Colours) -> list[tuple[int, int]]:
    """Pairs whose coarse thumbnails are near: the mean of cells differs by no more than a cell."""
    a, b = _coarse(first), _coarse(second)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * a @ b.T
    rows, columns = np.nonzero(squares <= a.shape[1] * MOST_DIFFERENCE**2 + 1.0)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _coarse(stack: Colours) -> Colours:
    side = THUMBNAIL // _COARSE
    cells = stack.reshape(-1, _COARSE, side, _COARSE, side, 3).mean(axis=(2, 4))
    return np.asarray(cells.reshape(len(stack), 3 * _COARSE**2), dtype=np.float32)
