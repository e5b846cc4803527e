"""Boxes and frames side by side: what one call brings, or one fold of the buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._checks import numbers, part
from driftline.errors import InputError
from driftline.profiles._features import (
    DEFAULT_FEATURES,
    Batch,
    Feature,
    FloatArray,
    IntArray,
    Tally,
)
from driftline.records import Detections

BOX_CAPACITY = 1024
"""Boxes that wait to be folded together, so that numpy's cost a call is shared by many."""
FRAME_CAPACITY = 512
"""Frames that wait to be folded together."""
CHUNK = 2**15
"""Boxes of a large call that are worked on at a time: their columns fit a level-2 cache of 1 MB."""

Values: TypeAlias = Mapping[str, npt.ArrayLike]
Mask: TypeAlias = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)


@frozen(kw_only=True, eq=False)
class Columns:
    """Boxes and frames of one call or one fold.

    Attributes:
        xyxy: ``(n, 4)`` px.
        confidence: ``(n,)``.
        class_id: ``(n,)``.
        frame: ``(n,)`` index of the frame, 0 to m - 1.
        block: ``(m,)`` number of each frame's (camera, period) block.
        height: ``(m,)`` px, or ``(1,)`` where all frames have one size.
        width: ``(m,)`` px, or ``(1,)``.
        values: user's features by name: ``(n,)`` or ``(m,)`` values; those that are missing
            are computed.
    """

    xyxy: npt.NDArray[np.floating]
    confidence: npt.NDArray[np.floating]
    class_id: npt.NDArray[np.integer]
    frame: npt.NDArray[np.integer]
    block: IntArray
    height: FloatArray
    width: FloatArray
    values: Values

    def chunks(self) -> Iterator[slice]:
        """Slices of the boxes."""
        for low in range(0, len(self.confidence), CHUNK):
            yield slice(low, low + CHUNK)

    def of_box(self, column: npt.NDArray[T], boxes: slice) -> npt.NDArray[T]:
        """A column of the frames as a column of their boxes."""
        return column if len(column) == 1 else column.take(self.frame[boxes])

    def batch(self, boxes: slice, tally: Tally) -> Batch:
        """What features are computed from, of some boxes; each column lies in one piece."""
        return Batch(
            sides=np.array(self.xyxy[boxes].T, dtype=np.float64, order="C"),
            confidence=np.asarray(self.confidence[boxes], dtype=np.float64),
            class_id=np.asarray(self.class_id[boxes], dtype=np.int64),
            frame=np.asarray(self.frame[boxes], dtype=np.int64),
            frame_height=self.of_box(self.height, boxes),
            frame_width=self.of_box(self.width, boxes),
            tally=tally,
        )


class Buffer:
    """Frames that wait to be counted together; it never grows.

    Args:
        own: the user's own features, whose values wait with the boxes.
    """

    def __init__(self, own: Sequence[Feature]) -> None:
        """Take the memory once."""
        self.n_boxes = 0
        self.n_frames = 0
        self._xyxy = np.empty((BOX_CAPACITY, 4))
        self._confidence = np.empty(BOX_CAPACITY)
        self._class_id = np.empty(BOX_CAPACITY, dtype=np.int64)
        self._sizes: list[tuple[int, int]] = []
        self._lengths: list[int] = []
        self._blocks: list[int] = []
        self._values = {
            f.name: np.empty(BOX_CAPACITY if f.level == "box" else FRAME_CAPACITY) for f in own
        }
        self._of_box = {f.name for f in own if f.level == "box"}

    def takes(self, n_boxes: int) -> bool:
        """Whether one more frame of so many boxes finds room."""
        return self.n_boxes + n_boxes <= BOX_CAPACITY and self.n_frames < FRAME_CAPACITY

    def put(self, detections: Detections, block: int, values: Mapping[str, FloatArray]) -> None:
        """Copy one frame in."""
        start, end = self.n_boxes, self.n_boxes + len(detections.confidence)
        if end > start:
            self._xyxy[start:end] = detections.xyxy
            self._confidence[start:end] = detections.confidence
            self._class_id[start:end] = detections.class_id
        for name, value in values.items():
            place = (
                slice(start, end)
                if name in self._of_box
                else slice(self.n_frames, self.n_frames + 1)
            )
            self._values[name][place] = value
        self._sizes.append(detections.image_size)
        self._lengths.append(end - start)
        self._blocks.append(block)
        self.n_boxes = end
        self.n_frames += 1

    def taken(self) -> Columns:
        """Everything that waits; the buffer is empty afterwards, and its memory is used again."""
        n, m = self.n_boxes, self.n_frames
        one_size = len(set(self._sizes)) == 1
        sizes = np.array(self._sizes[:1] if one_size else self._sizes, dtype=np.float64)
        columns = Columns(
            xyxy=self._xyxy[:n],
            confidence=self._confidence[:n],
            class_id=self._class_id[:n],
            frame=np.repeat(np.arange(m), self._lengths),
            block=np.array(self._blocks, dtype=np.int64),
            height=sizes[:, 0],
            width=sizes[:, 1],
            values={
                name: v[: n if name in self._of_box else m] for name, v in self._values.items()
            },
        )
        self.n_boxes = self.n_frames = 0
        self._sizes, self._lengths, self._blocks = [], [], []
        return columns


def of_one_frame(
    detections: Detections, *, block: int = 0, values: Values | None = None
) -> Columns:
    """One frame as columns."""
    height, width = detections.image_size
    return Columns(
        xyxy=detections.xyxy,
        confidence=detections.confidence,
        class_id=detections.class_id,
        frame=np.zeros(len(detections), dtype=np.int64),
        block=np.array([block], dtype=np.int64),
        height=np.array([height], dtype=np.float64),
        width=np.array([width], dtype=np.float64),
        values=values or {},
    )


def batch_of_one_frame(detections: Detections) -> Batch:
    """What features are computed from, of one frame."""
    tally = Tally(1)
    batch = of_one_frame(detections).batch(slice(None), tally)
    tally.add(batch.frame, batch.confidence)
    return batch


def checked(feature: Feature, values: npt.ArrayLike, n: int) -> FloatArray:
    """The values of a feature as ``(n,)`` float64; refuse another number of them."""
    array = numbers(values, f"values of {feature.name!r}")
    if array.ndim == 0 and feature.level == "frame":
        array = array.reshape(1)
    if array.shape != (n,):
        msg = f"{feature.name!r} has values of shape {array.shape}, expected ({n},): one a {feature.level}"
        raise InputError(msg)
    return array


def computed(feature: Feature, batch: Batch, n: int) -> FloatArray:
    """The values of a feature by its own formula."""
    if feature.compute is None:
        msg = f"{feature.name!r} has no formula; pass values={{{feature.name!r}: …}}"
        raise InputError(msg)
    return checked(feature, feature.compute(batch), n)


def own_features(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Those that do not come with Driftline: their values are worked out at once, not in a fold."""
    return tuple(f for f in features if not any(f is d for d in DEFAULT_FEATURES))


def known(values: Values | None, own: Sequence[Feature]) -> Values:
    """The values that came with a call; refuse those of features that are not counted."""
    if values is None:
        return {}
    part(values, Mapping, name="values", what="a mapping of names of features to their values")
    if unknown := sorted(map(str, set(values) - {f.name for f in own})):
        msg = (
            f"values of {unknown}, which are not among your own features; pass them as features=[…]"
        )
        raise InputError(msg)
    return values


def own_values(
    detections: Detections, values: Values | None, own: Sequence[Feature]
) -> dict[str, FloatArray]:
    """The user's own features of one frame, worked out and checked before anything is counted."""
    given = known(values, own)
    batch = batch_of_one_frame(detections)
    sizes = {"box": len(detections), "frame": 1}
    return {
        f.name: checked(f, given[f.name], sizes[f.level])
        if f.name in given
        else computed(f, batch, sizes[f.level])
        for f in own
    }
