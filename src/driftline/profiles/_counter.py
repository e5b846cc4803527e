"""The state that grows while detections come in: a buffer of fixed size, then rows of bins.

A `Counter` knows neither locks nor profiles; a `ProfileBuilder` owns one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np

from driftline.errors import InputError
from driftline.profiles._cells import Cells, Layout
from driftline.profiles._columns import (
    BOX_CAPACITY,
    Buffer,
    Columns,
    of_one_frame,
    own_features,
)
from driftline.profiles._features import Feature, FloatArray, IntArray
from driftline.profiles._parts import Part
from driftline.profiles._rows import Flat, Row
from driftline.profiles._sweep import Lines, Sweep
from driftline.records import Detections, as_datetime, as_datetime64

BLOCKS = 1_000_000
"""More (camera, period) blocks than this are refused: what names them is then no camera."""


class Counter:
    """Counts of boxes and frames by block.

    Args:
        features: what is counted.
        count_invalid: judge boxes here and count the rejected ones; otherwise refuse them.
    """

    def __init__(self, features: Sequence[Feature], *, count_invalid: bool) -> None:
        """Lay out the rows and the buffers."""
        self.features = tuple(features)
        self.box_layout, self.frame_layout = Layout.boxes(features), Layout.frames(features)
        self.count_invalid = count_invalid
        self.blocks: dict[tuple[str, datetime], int] = {}
        self.box_rows: dict[tuple[int, int], Row] = {}
        self.frame_rows: dict[int, Row] = {}
        self.own = own_features(features)
        self._buffer = Buffer(self.own)

    def block(self, camera: str, start: datetime) -> int:
        """The number of a (camera, period) block, new or known."""
        number = self.blocks.get((camera, start))
        if number is None:
            number = len(self.blocks)
            if number >= BLOCKS:
                msg = (
                    f"camera={camera!r} would be block {BLOCKS:,} of (camera, period): name "
                    "cameras, not requests, and take finished periods out with drain()"
                )
                raise InputError(msg)
            self.blocks[camera, start] = number
        return number

    def add(self, detections: Detections, block: int, values: dict[str, FloatArray]) -> None:
        """Take in one frame; it has been judged, unless rejected boxes are counted."""
        if len(detections) > BOX_CAPACITY:
            self.count(of_one_frame(detections, block=block, values=values))
            return
        if not self._buffer.takes(len(detections)):
            self.fold()
        self._buffer.put(detections, block, values)

    def fold(self) -> None:
        """Count what waits in the buffer."""
        if self._buffer.n_frames:
            self.count(self._buffer.taken(), judged=not self.count_invalid)

    def count(self, columns: Columns, *, judged: bool = False) -> None:
        """Count boxes and frames.

        Args:
            columns: what to count.
            judged: every box is known to be countable.
        """
        sweep = Sweep(columns, self.features, count_invalid=self.count_invalid, judged=judged)
        for lines in sweep.boxes():
            for number, class_id, flat in _grouped(lines, self.box_layout):
                self._box_row(number, class_id).add(flat)
        for number, _, flat in _grouped(sweep.frames(), self.frame_layout):
            self._frame_row(number).add(flat)
        for offset, block in sweep.rejected():
            for number, n in zip(*np.unique(block, return_counts=True), strict=True):
                self._frame_row(int(number)).add_counts(np.array([offset]), np.array([n]))

    def absorb(self, part: Part) -> None:
        """Add counts that were made elsewhere, in a part whose names are each there once."""
        starts = [as_datetime(start) for start in part.periods]
        _, n, k = part.shape
        places: list[int] = np.unique(part.frames.keys // self.frame_layout.width).tolist()
        pair = {p: self.block(part.cameras[p % n], starts[p // n]) for p in places}
        for place, bins, counts in _rows(part.boxes, self.box_layout.width):
            row = self._box_row(pair[place // k], int(part.class_ids[place % k]))
            row.add_counts(bins, counts)
        for place, bins, counts in _rows(part.frames, self.frame_layout.width):
            self._frame_row(pair[place]).add_counts(bins, counts)

    def part(self) -> Part:
        """What was counted."""
        self.fold()
        keys = list(self.blocks)
        cameras, periods = sorted({c for c, _ in keys}), sorted({p for _, p in keys})
        ids = sorted({class_id for _, class_id in self.box_rows})
        camera = {name: i for i, name in enumerate(cameras)}
        period = {start: i for i, start in enumerate(periods)}
        index = {class_id: i for i, class_id in enumerate(ids)}
        place = [period[p] * len(cameras) + camera[c] for c, p in keys]
        boxes = {place[b] * len(ids) + index[k]: row for (b, k), row in self.box_rows.items()}
        frames = {place[b]: row for b, row in self.frame_rows.items()}
        return Part(
            cameras=cameras,
            periods=np.array([as_datetime64(p) for p in periods], dtype="datetime64[us]"),
            class_ids=np.array(ids, dtype=np.int64),
            boxes=_cells(boxes, self.box_layout.width),
            frames=_cells(frames, self.frame_layout.width),
        )

    def _box_row(self, block: int, class_id: int) -> Row:
        row = self.box_rows.get((block, class_id))
        if row is None:
            row = self.box_rows[block, class_id] = Row(self.box_layout.width)
        return row

    def _frame_row(self, block: int) -> Row:
        row = self.frame_rows.get(block)
        if row is None:
            row = self.frame_rows[block] = Row(self.frame_layout.width)
        return row


def _cells(rows: Mapping[int, Row], width: int) -> Cells:
    """The cells of rows by their block's number; in order, so that nothing need be sorted."""
    keys, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for number in sorted(rows):
        bins, several = rows[number].cells()
        keys.append(bins + number * width)
        counts.append(several)
    return Cells(keys=np.concatenate(keys), counts=np.concatenate(counts))


def _rows(cells: Cells, width: int) -> Iterator[tuple[int, IntArray, IntArray]]:
    """Number of the row, bins and counts of each row that holds something."""
    number, bins = np.divmod(cells.keys, width)
    ends = [*np.flatnonzero(np.diff(number, prepend=-1)).tolist(), len(number)]
    for start, end in pairwise(ends):
        yield int(number[start]), bins[start:end], cells.counts[start:end]


def _grouped(lines: Lines, layout: Layout) -> Iterator[tuple[int, int, Flat]]:
    """Block, class and bins in the row of each (block, class) that occurs."""
    n = len(lines.class_id)
    if n == 0:
        return
    flat = np.zeros((len(layout.names), n), dtype=np.int32)
    used = 1
    for line, (offset, bins) in enumerate(lines.bins, start=1):
        np.add(bins, offset, out=flat[line], casting="unsafe")
        flat[line, bins < 0] = layout.width
        used += 1
    flat = flat[:used]
    stride = int(lines.class_id.max()) + 1
    code = lines.block * stride + lines.class_id
    low, high = int(code.min()), int(code.max())
    if low == high:
        yield (*divmod(low, stride), flat.reshape(-1))
        return
    order = _order(code - low, high - low + 1)
    code, flat = code[order], flat[:, order]
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]])).tolist()
    for start, end in zip(starts, [*starts[1:], len(code)], strict=True):
        yield (*divmod(int(code[start]), stride), flat[:, start:end].reshape(-1))


def _order(code: IntArray, span: int) -> IntArray:
    """Order that brings equal codes together; numpy sorts 16-bit numbers by radix, in O(n)."""
    if span <= 2**16:
        return np.argsort(code.astype(np.uint16), kind="stable")
    return np.argsort(code)
