"""Counts that somebody else counted, checked and put into tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from driftline._checks import array_of
from driftline.errors import InputError
from driftline.profiles._cells import BOXES, FRAMES, REJECTED_BINS, Layout, Table
from driftline.profiles._features import Feature, IntArray
from driftline.profiles._judge import CLASSES, refuse_nameless
from driftline.profiles._periods import Calendar
from driftline.records import as_datetime64

Times: TypeAlias = npt.NDArray[np.datetime64]
N = TypeVar("N", bound=np.generic)


def as_times(times: Sequence[datetime] | Times) -> Times:
    """Aware times, or datetime64 in UTC, as datetime64[us]."""
    if isinstance(times, np.ndarray) and times.dtype.kind == "M":
        return times.astype("datetime64[us]")
    try:
        listed = list(times)
    except TypeError as exc:
        msg = f"{times!r:.200} must be a list of aware times, or an array of datetime64 in UTC"
        raise InputError(msg) from exc
    return np.array([as_datetime64(t) for t in listed], dtype="datetime64[us]")


def as_starts(periods: Sequence[datetime] | Times, calendar: Calendar) -> Times:
    """Starts of periods as datetime64[us]; refuse a time inside a period."""
    times = as_times(periods)
    inside = calendar.starts(times) != times
    if inside.any():
        msg = (
            f"{times[inside][0]} is inside a period of {calendar.period}, which begins at "
            f"{calendar.starts(times)[inside][0]} UTC; pass the start"
        )
        raise InputError(msg)
    return times


def as_cameras(cameras: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """``(n,)`` names of cameras; refuse what is none."""
    names = as_words(cameras, "cameras")
    for name in names.tolist():
        refuse_nameless(name)
    return names


def as_words(words: npt.ArrayLike, name: str) -> npt.NDArray[np.object_]:
    """``(n,)`` of whatever there is, one beside the other; refuse a single one, and tables."""
    array = np.asarray(words, dtype=np.object_)
    if array.ndim != 1:
        msg = f"{name}={words!r:.200} must be a list of names"
        raise InputError(msg)
    return array


def one_a_row(column: npt.ArrayLike, name: str, n: int) -> npt.NDArray[Any]:
    """A column of n entries; refuse another number of them."""
    array = array_of(column, name)
    if array.shape != (n,):
        msg = f"{name} has shape {array.shape}, expected ({n},), one a row"
        raise InputError(msg)
    return array


def distinct(column: npt.NDArray[N], name: str, n: int) -> tuple[npt.NDArray[N], IntArray]:
    """The distinct values of a column of n entries, and which of them each entry is."""
    values, index = np.unique(one_a_row(column, name, n), return_inverse=True)
    return values, index.reshape(-1)


def as_class_ids(class_ids: npt.ArrayLike) -> IntArray:
    """Class indexes as int64; refuse what cannot be one."""
    ids = whole(class_ids, "class_ids")
    if ids.ndim != 1:
        msg = f"class_ids={class_ids!r:.200} must be a list of indexes"
        raise InputError(msg)
    if len(ids) and int(ids.max()) >= CLASSES:
        msg = f"class_id {int(ids.max())} is not in [0, {CLASSES})"
        raise InputError(msg)
    return ids


def whole(value: npt.ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> IntArray:
    """An array of whole numbers of at least 0, as int64; refuse anything else."""
    array = array_of(value, name)
    if shape is not None and array.shape != shape:
        msg = f"{name} has shape {array.shape}, expected {shape}"
        raise InputError(msg)
    if array.dtype.kind not in "iuf" and array.size:
        msg = f"{name} must hold whole numbers, got {array.dtype}"
        raise InputError(msg)
    fine = (array >= 0) & (array < 2**62) & (array == np.floor(array))
    if not fine.all():
        msg = f"{name} must hold whole numbers of at least 0, got {array[~fine].reshape(-1)[0]!r}"
        raise InputError(msg)
    return array.astype(np.int64)


def dense_tables(
    counts: Mapping[str, npt.ArrayLike],
    *,
    block: tuple[int, int],
    class_count: int,
    frames: npt.ArrayLike | None,
    features: Sequence[Feature],
) -> tuple[Table, Table]:
    """The tables of boxes and frames from dense arrays (see `Profile.from_counts`)."""
    shapes = {
        f.name: (*block, class_count, f.n_bins) if f.level == "box" else (*block, f.n_bins)
        for f in features
    }
    arrays = {n: whole(counts[n], f"counts of {n!r}", shape) for n, shape in shapes.items()}
    per_class = (*block, class_count)
    boxes = whole(counts.get(BOXES, _box_totals(features, arrays, per_class)), BOXES, per_class)
    seen = whole(_frame_totals(arrays) if frames is None else frames, FRAMES, block)
    arrays |= {BOXES: boxes[..., None], FRAMES: seen[..., None]}
    box_layout, frame_layout = Layout.boxes(features), Layout.frames(features)
    return (
        Table.joined([_dense(arrays[n], offset) for n, offset, _ in box_layout]),
        Table.joined([_dense(arrays[n], offset) for n, offset, _ in frame_layout if n in arrays]),
    )


def _dense(array: IntArray, offset: int) -> Table:
    where = np.nonzero(array)
    class_index = where[2] if array.ndim == 4 else np.zeros_like(where[0])  # noqa: PLR2004  has classes
    return Table(
        period=where[0],
        camera=where[1],
        class_index=class_index,
        bin=where[-1] + offset,
        count=array[where],
    )


def _box_totals(
    features: Sequence[Feature], arrays: Mapping[str, IntArray], shape: tuple[int, ...]
) -> npt.ArrayLike:
    first = next((f.name for f in features if f.level == "box"), None)
    return np.zeros(shape, dtype=np.int64) if first is None else arrays[first].sum(axis=-1)


def _frame_totals(arrays: Mapping[str, IntArray]) -> npt.ArrayLike:
    if "boxes_per_frame" not in arrays:
        msg = "pass frames=, the frames of each (period, camera), or counts of 'boxes_per_frame'"
        raise InputError(msg)
    total: IntArray = arrays["boxes_per_frame"].sum(axis=-1)
    return total


def long_tables(
    *,
    feature: npt.NDArray[np.object_],
    period: IntArray,
    camera: IntArray,
    class_index: IntArray,
    bins: IntArray,
    count: IntArray,
    features: Sequence[Feature],
) -> tuple[Table, Table]:
    """The tables of boxes and frames from one row a count (see `Profile.from_rows`)."""
    names = set(feature.tolist())
    known = {BOXES, FRAMES, *REJECTED_BINS, *(f.name for f in features)}
    if not names <= known:
        msg = f"rows of {sorted(map(str, names - known))}, which are not among the features {sorted(known)}"
        raise InputError(msg)
    columns = {"period": period, "camera": camera, "class_index": class_index, "count": count}

    def table(layout: Layout, present: set[str]) -> Table:
        parts = []
        for name, offset, size in layout:
            mine = feature == name
            if name not in present or not mine.any():
                continue
            if int(bins[mine].max()) >= size:
                msg = f"bin {int(bins[mine].max())} of {name!r}, which has {size} bins"
                raise InputError(msg)
            picked = {key: column[mine] for key, column in columns.items()}
            parts.append(Table(bin=bins[mine] + offset, **picked))
        return Table.joined(parts)

    box_layout, frame_layout = Layout.boxes(features), Layout.frames(features)
    boxes, frames = table(box_layout, names), table(frame_layout, names)
    if BOXES not in names:
        boxes = _with_totals(
            boxes, box_layout, next((f.name for f in features if f.level == "box"), None)
        )
    if FRAMES not in names and len(feature):
        if "boxes_per_frame" not in names:
            msg = "rows need the feature 'frames' (bin 0), or 'boxes_per_frame' to count them from"
            raise InputError(msg)
        frames = _with_totals(frames, frame_layout, "boxes_per_frame")
    return boxes, frames


def _with_totals(table: Table, layout: Layout, source: str | None) -> Table:
    """The table and the sums of one feature as its first bin, which counts boxes or frames."""
    if source is None:
        return table
    offset, size = layout.span(source)
    mine = (table.bin >= offset) & (table.bin < offset + size)
    total = Table(
        period=table.period[mine],
        camera=table.camera[mine],
        class_index=table.class_index[mine],
        bin=np.zeros(int(mine.sum()), dtype=np.int64),
        count=table.count[mine],
    )
    return Table.joined([table, total])
