"""Many frames in one call: what the user's arrays must look like, and the columns they become."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from driftline.errors import InputError
from driftline.profiles._columns import Columns, Values, known
from driftline.profiles._counter import Counter
from driftline.profiles._features import FloatArray, IntArray
from driftline.profiles._given import as_cameras, as_times
from driftline.profiles._periods import Calendar
from driftline.records import as_datetime

Cameras: TypeAlias = str | Sequence[str] | npt.NDArray[np.generic]
FrameTimes: TypeAlias = datetime | Sequence[datetime] | npt.NDArray[np.datetime64]


def count_many(
    counter: Counter,
    calendar: Calendar,
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
) -> None:
    """Count boxes of many frames (see `ProfileBuilder.observe_many`)."""
    scores = _floats(confidence, "confidence", 1)
    boxes = _floats(xyxy, "xyxy", 2) if len(scores) else np.zeros((0, 4))
    n = len(scores)
    sizes = np.asarray(image_size, dtype=np.float64).reshape(-1, 2)
    m = _frame_count(frames, sizes, camera, at)
    index = _whole(frame, "frame", n, m)
    if boxes.shape != (n, 4):
        msg = f"xyxy has shape {boxes.shape}, expected ({n}, 4), one row a confidence"
        raise InputError(msg)
    counter.count(
        Columns(
            xyxy=boxes,
            confidence=scores,
            class_id=_whole(class_id, "class_id", n, None),
            frame=index,
            block=_blocks(counter, calendar, camera, at, m),
            height=sizes[:, 0],
            width=sizes[:, 1],
            values=known(values, counter.own),
        )
    )


def _floats(value: npt.ArrayLike, name: str, ndim: int) -> npt.NDArray[np.floating]:
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind != "f" or (array.ndim != ndim and array.size):
        msg = f"{name} must be numbers in {ndim} dimension(s), got {array.dtype} of shape {array.shape}"
        raise InputError(msg)
    return array if array.size else array.reshape((0,) * ndim)


def _whole(value: npt.ArrayLike, name: str, n: int, below: int | None) -> npt.NDArray[np.integer]:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        whole = array.astype(np.int64) if array.dtype.kind in "fb" else None
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
    said = {} if frames is None else {"frames": int(frames)}
    if len(sizes) != 1:
        said["image_size"] = len(sizes)
    if not isinstance(camera, str):
        said["camera"] = len(camera)
    if not isinstance(at, datetime):
        said["at"] = len(at)
    if not said:
        msg = "say how many frames there are, frames=…: those without boxes count as well"
        raise InputError(msg)
    if len(set(said.values())) > 1:
        msg = f"camera, at and image_size have one entry a frame, or are single; got {said}"
        raise InputError(msg)
    return next(iter(said.values()))


def _blocks(
    counter: Counter, calendar: Calendar, camera: Cameras, at: FrameTimes, m: int
) -> IntArray:
    """``(m,)`` int64 number of each frame's (camera, period) block."""
    names, to_name = _camera_numbers(camera)
    times = as_times([at] if isinstance(at, datetime) else at)
    starts, to_start = np.unique(calendar.starts(times), return_inverse=True)
    pair = np.broadcast_to(to_name * len(starts) + to_start.reshape(-1), (m,))
    present, inverse = np.unique(pair, return_inverse=True)
    begins = [as_datetime(start) for start in starts]
    numbers = [
        counter.block(names[p // len(starts)], begins[p % len(starts)]) for p in present.tolist()
    ]
    return np.array(numbers, dtype=np.int64)[inverse.reshape(-1)]


def _camera_numbers(camera: Cameras) -> tuple[list[str], IntArray]:
    each: list[Any] = [camera] if isinstance(camera, str) else np.asarray(camera).tolist()
    known: dict[Any, int] = {}
    numbers = [known.setdefault(name, len(known)) for name in each]
    return as_cameras(list(known)).tolist(), np.array(numbers, dtype=np.int64)
