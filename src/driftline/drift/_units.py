"""Which unit of the reference each camera and class of one side is, and how much each side holds."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.drift._days import Days, index_of

IntArray: TypeAlias = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)


class Level(IntEnum):
    """What a cell is about."""

    ALL = 0
    CAMERA = 1
    CLASS = 2
    PAIR = 3


class Split(TypedDict):
    """The units of a level, as `Days.whole` takes them."""

    unit: IntArray
    n_units: int


@frozen(kw_only=True, eq=False)
class Units:
    """Which unit each camera, class and pair of one side is in terms of the reference.

    Attributes:
        camera: ``(n_cameras,)`` index of the camera in the reference; the number of its
            cameras for one it has not.
        kind: ``(n_classes,)`` index of the class in the reference, -1 for one it has not.
        pair: ``(n_cameras, n_classes)`` index of the pair, -1 for none.
        n_cameras: cameras of the reference, and one more.
        n_classes: classes of the reference.
        n_pairs: pairs of the reference.
    """

    camera: IntArray
    kind: IntArray
    pair: IntArray
    n_cameras: int
    n_classes: int
    n_pairs: int

    @classmethod
    def of(cls, days: Days, *, reference: Days, pair: IntArray, n_pairs: int) -> Units:
        """The units of one side, `pair` being as `Units.pair`."""
        n = len(reference.cameras)
        camera = index_of(days.cameras, reference.cameras)
        return cls(
            camera=np.where(camera < 0, n, camera),
            kind=index_of(days.class_ids.tolist(), reference.class_ids.tolist()),
            pair=pair,
            n_cameras=n + 1,
            n_classes=len(reference.class_ids),
            n_pairs=n_pairs,
        )

    def by(self, level: Level) -> Split:
        """The units of a level."""
        if level <= Level.CAMERA:
            return {"unit": self.camera, "n_units": self.n_cameras}
        if level == Level.CLASS:
            unit = np.tile(self.kind, (len(self.camera), 1))
            return {"unit": unit, "n_units": self.n_classes}
        return {"unit": self.pair, "n_units": self.n_pairs}


@frozen(kw_only=True, eq=False)
class Sizes:
    """How much one side holds; index -1 of cameras and classes stands for all of them.

    Attributes:
        boxes: ``(n_cameras, n_classes)`` int64.
        frames: ``(n_cameras,)`` int64.
        days_with_boxes: ``(n_cameras, n_classes)`` int64 days with any.
        days_with_frames: ``(n_cameras,)`` int64 days with any.
    """

    boxes: IntArray
    frames: IntArray
    days_with_boxes: IntArray
    days_with_frames: IntArray

    @classmethod
    def of(cls, days: Days, units: Units) -> Sizes:
        """Of one side."""
        n, k = units.n_cameras, units.n_classes
        kind = np.where(units.kind < 0, k, units.kind)
        by_kind = gathered(days.boxes.transpose(2, 0, 1), kind, k + 2)
        boxes = gathered(by_kind.transpose(2, 1, 0), units.camera, n + 1)
        boxes[..., -1] = boxes.sum(axis=2)
        boxes[-1] = boxes.sum(axis=0)
        frames = gathered(days.frames.T, units.camera, n + 1)
        frames[-1] = frames.sum(axis=0)
        return cls(
            boxes=boxes.sum(axis=1),
            frames=frames.sum(axis=1),
            days_with_boxes=(boxes > 0).sum(axis=1),
            days_with_frames=(frames > 0).sum(axis=1),
        )

    def days_with(self, camera: int, class_index: int, *, boxes: bool) -> int:
        """Days with boxes, or with frames, of a camera and class."""
        if boxes:
            return int(self.days_with_boxes[camera, class_index])
        return int(self.days_with_frames[camera])


def gathered(values: npt.NDArray[T], unit: IntArray, n_units: int) -> npt.NDArray[T]:
    """The entries ``values[i]`` added up by their unit: ``(n_units, ...)``."""
    total = np.zeros((n_units, *values.shape[1:]), dtype=values.dtype)
    np.add.at(total, unit, values)
    return total
