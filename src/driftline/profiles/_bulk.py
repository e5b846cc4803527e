"""Many frames in one call: the user's arrays become columns, and those one part of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from driftline._checks import array_of, numbers, refuse_number
from driftline.errors import InputError
from driftline.profiles._cells import Cells, Layout
from driftline.profiles._columns import Columns, Values, known, own_features
from driftline.profiles._counter import BLOCKS
from driftline.profiles._features import FloatArray, IntArray
from driftline.profiles._given import Times, as_cameras, as_times, as_words
from driftline.profiles._judge import CLASSES
from driftline.profiles._parts import Part
from driftline.profiles._periods import Calendar
from driftline.profiles._settings import Settings
from driftline.profiles._sweep import Lines, Sweep

Cameras: TypeAlias = str | Sequence[str] | npt.NDArray[np.generic]
FrameTimes: TypeAlias = datetime | Sequence[datetime] | npt.NDArray[np.datetime64]

TABLE = 2**22
"""Bins of all rows up to which every one has its place in a table (32 MB); beyond, numbers of
bins are sorted and counted."""

_TOO_GREAT = 2.0**63
"""Greater doubles are no 64-bit numbers."""

LOOKS = 64
"""A table has at most so many bins a box: looking through it costs less than sorting then."""


def count_many(
    settings: Settings,
    *,
    xyxy: npt.ArrayLike,
    confidence: npt.ArrayLike,
    class_id: npt.ArrayLike,
    frame: npt.ArrayLike,
    image_size: npt.ArrayLike,
    camera: Cameras,
    at: FrameTimes,
    frames: int | None,
    values: Values | None,
) -> Part:
    """Count boxes of many frames (see `ProfileBuilder.observe_many`)."""
    scores = _floats(confidence, "confidence", 1)
    boxes = _floats(xyxy, "xyxy", 2) if len(scores) else np.zeros((0, 4))
    n = len(scores)
    sizes = _sizes(image_size)
    m = _frame_count(frames, sizes, camera, at)
    index = _whole(frame, "frame", n, m)
    if boxes.shape != (n, 4):
        msg = f"xyxy has shape {boxes.shape}, expected ({n}, 4), one row a confidence"
        raise InputError(msg)
    kinds = _whole(class_id, "class_id", n, None)
    cameras, to_camera = _camera_numbers(camera)
    starts, to_start = _period_numbers(settings.calendar, at)
    block = np.ascontiguousarray(np.broadcast_to(to_start * len(cameras) + to_camera, (m,)))
    _refuse_many(block, len(starts) * len(cameras), cameras)
    columns = Columns(
        xyxy=boxes,
        confidence=scores,
        class_id=kinds,
        frame=index,
        block=block,
        height=sizes[:, 0],
        width=sizes[:, 1],
        values=known(values, own_features(settings.features)),
    )
    sweep = Sweep(columns, settings.features, count_invalid=settings.count_invalid)
    n_blocks = len(starts) * len(cameras)
    n_classes = min(max(0, int(kinds.max())) + 1, CLASSES) if n else 1  # others are not counted
    box_width, frame_width = (
        Layout.boxes(settings.features).width,
        Layout.frames(settings.features).width,
    )
    box_counts = _Counts(n_blocks * n_classes, box_width, n)
    for lines in sweep.boxes():
        box_counts.add(lines, n_classes)
    frame_counts = _Counts(n_blocks, frame_width, m)
    frame_counts.add(sweep.frames(), 1)
    for offset, blocks in sweep.rejected():
        frame_counts.add_bins(blocks * frame_width + offset)
    return Part(
        cameras=cameras,
        periods=starts,
        class_ids=np.arange(n_classes),
        boxes=box_counts.cells(),
        frames=frame_counts.cells(),
    )


class _Counts:
    """How many of each bin of each row: a table where it is small, else what occurs, sorted.

    Args:
        n_rows: number of rows.
        width: bins of a row.
        n: how many boxes (frames) will come.
    """

    def __init__(self, n_rows: int, width: int, n: int) -> None:
        """Nothing yet."""
        self._width = width
        small = n_rows * width <= min(TABLE, LOOKS * n + width)
        self._table = np.zeros(n_rows * width, dtype=np.int64) if small else None
        self._waiting: list[Cells] = []
        self._sorted = 0

    def add(self, lines: Lines, n_classes: int) -> None:
        """Count each once, and each of its bins."""
        row = lines.class_id
        if len(lines.block) > 1 or lines.block.any():
            row = lines.block * n_classes + row
        start = row * self._width
        some = bool(start.any())
        self.add_bins(start)
        for offset, bins in lines.bins:
            at = bins + start if some else bins
            if bins.size and int(bins.min()) < 0:
                at = at[bins >= 0]
            self.add_bins(at, offset)

    def add_bins(self, bins: IntArray, offset: int = 0) -> None:
        """Count bins, numbered through all rows from an offset on."""
        if self._table is not None:
            np.add.at(self._table[offset:], bins, 1)
            return
        keys, counts = np.unique(bins, return_counts=True)
        self._waiting.append(Cells(keys=keys + offset, counts=counts))
        if sum(len(cells.keys) for cells in self._waiting) > 2 * self._sorted + TABLE:
            self._waiting = [self.cells()]
            self._sorted = len(self._waiting[0].keys)

    def cells(self) -> Cells:
        """What was counted."""
        if self._table is not None:
            keys = np.flatnonzero(self._table > 0)
            return Cells(keys=keys, counts=self._table[keys])
        return Cells.sum(self._waiting)


def _refuse_many(block: IntArray, possible: int, cameras: Sequence[str]) -> None:
    if possible > BLOCKS and len(np.unique(block)) > BLOCKS:
        msg = (
            f"{len(cameras):,} cameras make more than {BLOCKS:,} blocks of (camera, period): name "
            "cameras, not requests, or cut the call in two"
        )
        raise InputError(msg)


def _sizes(image_size: npt.ArrayLike) -> FloatArray:
    """``(1, 2)`` or ``(m, 2)`` heights and widths."""
    sizes = numbers(image_size, "image_size")
    if sizes.size and (sizes.ndim not in (1, 2) or sizes.shape[-1] != 2):  # noqa: PLR2004
        msg = f"image_size has shape {sizes.shape}, expected (2,), height and width, or (m, 2)"
        raise InputError(msg)
    return sizes.reshape(-1, 2)


def _floats(value: npt.ArrayLike, name: str, ndim: int) -> npt.NDArray[np.floating]:
    array = array_of(value, name)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind != "f" or (array.ndim != ndim and array.size):
        msg = f"{name} must be numbers in {ndim} dimension(s), got {array.dtype} of shape {array.shape}"
        raise InputError(msg)
    return array if array.size else array.reshape((0,) * ndim)


def _whole(value: npt.ArrayLike, name: str, n: int, below: int | None) -> npt.NDArray[np.integer]:
    array = array_of(value, name)
    if array.dtype.kind not in "iu":
        fits = array.dtype.kind in "fb" and bool(np.all(np.abs(array) < _TOO_GREAT))
        whole = array.astype(np.int64) if fits else None
        if whole is None or not np.array_equal(whole, array):
            msg = f"{name} must hold whole numbers, got {array.dtype} {array.reshape(-1)[:3]!r}"
            raise InputError(msg)
        array = whole
    if array.shape != (n,):
        msg = f"{name} has shape {array.shape}, expected ({n},), one a confidence"
        raise InputError(msg)
    if below is not None and n and not (int(array.min()) >= 0 and int(array.max()) < below):
        wrong = int(array.min()) if int(array.min()) < 0 else int(array.max())
        msg = (
            f"{name} holds {wrong}, but there are frames 0 to {below - 1}; number the frames from 0"
        )
        raise InputError(msg)
    return array


def _frame_count(frames: int | None, sizes: FloatArray, camera: Cameras, at: FrameTimes) -> int:
    said = {}
    if frames is not None:
        refuse_number("frames", frames, "a whole number of frames", least=0, whole=True)
        said["frames"] = int(frames)
    if len(sizes) != 1:
        said["image_size"] = len(sizes)
    if not isinstance(camera, str):
        said["camera"] = _length(camera, "camera")
    if not isinstance(at, datetime):
        said["at"] = _length(at, "at")
    if not said:
        msg = "say how many frames there are, frames=…: those without boxes count as well"
        raise InputError(msg)
    if len(set(said.values())) > 1:
        msg = f"camera, at and image_size have one entry a frame, or are single; got {said}"
        raise InputError(msg)
    return next(iter(said.values()))


def _length(value: Sequence[object] | npt.NDArray[Any], name: str) -> int:
    try:
        return len(value)
    except TypeError as exc:
        msg = f"{name}={value!r:.200} must be one for all frames, or a list with one a frame"
        raise InputError(msg) from exc


def _period_numbers(calendar: Calendar, at: FrameTimes) -> tuple[Times, IntArray]:
    """The periods that occur, sorted, and which of them each time is in."""
    starts = calendar.starts(as_times([at] if isinstance(at, datetime) else at))
    number = starts.view(np.int64) // (calendar.period // timedelta(microseconds=1))
    if not len(number):
        return starts, number
    low, high = int(number.min()), int(number.max())
    if high - low >= BLOCKS:
        names, index = np.unique(starts, return_inverse=True)
        return names, index.reshape(-1)
    first = np.full(high - low + 1, -1, dtype=np.int64)
    first[number - low] = np.arange(len(number))
    seen = np.flatnonzero(first >= 0)
    place = np.cumsum(first >= 0) - 1
    return starts[first[seen]], place[number - low]


def _camera_numbers(camera: Cameras) -> tuple[list[str], IntArray]:
    """The names, sorted, and which of them each frame has."""
    each = [camera] if isinstance(camera, str) else as_words(camera, "camera").tolist()
    try:
        distinct = list(dict.fromkeys(each))
    except TypeError as exc:
        msg = f"camera={camera!r:.200} must hold names, one a frame"
        raise InputError(msg) from exc
    names = sorted(as_cameras(distinct).tolist())
    place = {name: i for i, name in enumerate(names)}
    return names, np.fromiter(map(place.__getitem__, each), dtype=np.int64, count=len(each))
