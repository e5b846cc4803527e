"""The state that grows while detections come in: a buffer of fixed size, then rows of bins.

A `Counter` knows neither locks nor profiles; a `ProfileBuilder` owns one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NoReturn

import numpy as np

from driftline.errors import InputError
from driftline.profiles._cells import REJECTED_BINS, Cells, Layout
from driftline.profiles._columns import (
    BOX_CAPACITY,
    Buffer,
    Columns,
    Mask,
    Tally,
    checked,
    computed,
    of_one_frame,
    own_features,
)
from driftline.profiles._features import (
    DEFAULT_FEATURES,
    Batch,
    Feature,
    FloatArray,
    IntArray,
    Level,
)
from driftline.profiles._judge import LARGEST_PX, REJECTED, Codes, codes, said
from driftline.profiles._parts import Part
from driftline.profiles._rows import Flat, Row
from driftline.records import Detections, as_datetime64

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
        good = None if judged else self._good_frames(columns)
        chunks = list(columns.chunks())
        kept = [None if judged else self._judged(columns, boxes) for boxes in chunks]
        tally = Tally(len(columns.block))
        for boxes, keep in zip(chunks, kept, strict=True):
            frame, confidence = columns.frame[boxes], columns.confidence[boxes]
            tally.add(*((frame, confidence) if keep is None else (frame[keep], confidence[keep])))
        for boxes, keep in zip(chunks, kept, strict=True):
            self._count_boxes(columns, columns.batch(boxes, keep, tally), boxes, keep)
        self._count_frames(columns, tally, good)

    def absorb(self, other: Counter) -> None:
        """Add another counter's counts to these."""
        numbers = {number: self.block(*key) for key, number in other.blocks.items()}
        for (block, class_id), row in other.box_rows.items():
            self._box_row(numbers[block], class_id).join(row)
        for block, row in other.frame_rows.items():
            self._frame_row(numbers[block]).join(row)

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

    def _good_frames(self, columns: Columns) -> Mask | None:
        """Which frames have an area (None: all); refuse the others unless they are counted."""
        area = (columns.height > 0) & (columns.height <= LARGEST_PX)
        area &= (columns.width > 0) & (columns.width <= LARGEST_PX)
        if area.all():
            return None
        if not self.count_invalid:
            index = int(np.flatnonzero(~area)[0])
            size = f"{columns.width[index]:g} x {columns.height[index]:g} px"
            msg = (
                f"frame {index} of {size} has no area; pass its true size, or count such frames as "
                'rejected with invalid="count"'
            )
            raise InputError(msg)
        good: Mask = np.broadcast_to(area, columns.block.shape)
        return good

    def _judged(self, columns: Columns, boxes: slice) -> Mask | None:
        """Which of some boxes are counted (None: all); count or refuse the others."""
        found = codes(
            xyxy=columns.xyxy[boxes],
            confidence=columns.confidence[boxes],
            class_id=columns.class_id[boxes],
            height=columns.of_box(columns.height, boxes),
            width=columns.of_box(columns.width, boxes),
        )
        if not found.any():
            return None
        if not self.count_invalid:
            _refuse(columns, boxes, found)
        block = columns.of_box(columns.block, boxes)
        for number, name in enumerate(REJECTED_BINS, start=1):
            self._count_bin(name, np.broadcast_to(block, found.shape)[found == number])
        keep: Mask = found == 0
        return keep

    def _count_bin(self, name: str, block: IntArray) -> None:
        """Count once for each entry of `block` in a one-bin feature of its row."""
        offset, _ = self.frame_layout.span(name)
        for number, n in zip(*np.unique(block, return_counts=True), strict=True):
            self._frame_row(int(number)).add_counts(np.array([offset]), np.array([n]))

    def _count_boxes(self, columns: Columns, batch: Batch, boxes: slice, keep: Mask | None) -> None:
        n = len(batch.confidence)
        flat = np.zeros((len(self.box_layout.names), n), dtype=np.int32)
        for line, (feature, offset) in enumerate(self._placed("box"), start=1):
            if feature.name in columns.values:
                part = np.asarray(columns.values[feature.name], dtype=np.float64)[boxes]
                values = part if keep is None else part[keep]
            else:
                values = computed(feature, batch, n)
            _bins(feature, values, offset, self.box_layout.width, flat[line])
        block = columns.block if len(columns.block) == 1 else columns.block[batch.frame]
        for number, class_id, part_flat in _grouped(block, batch.class_id, flat):
            self._box_row(number, class_id).add(part_flat)

    def _count_frames(self, columns: Columns, tally: Tally, good: Mask | None) -> None:
        m = len(columns.block)
        own = [f for f in self.own if f.level == "frame" and f.name not in columns.values]
        batch = columns.batch(slice(None) if own else slice(0), None, tally)
        flat = np.zeros((1 + len(self._placed("frame")), m), dtype=np.int32)
        for line, (feature, offset) in enumerate(self._placed("frame"), start=1):
            given = columns.values.get(feature.name)
            values = computed(feature, batch, m) if given is None else checked(feature, given, m)
            _bins(feature, values, offset, self.frame_layout.width, flat[line])
        block = columns.block
        if good is not None:
            self._count_bin("rejected.frame", block[~good])
            block, flat = block[good], flat[:, good]
        for number, _, part in _grouped(block, np.zeros_like(block), flat):
            self._frame_row(number).add(part)

    def _placed(self, level: Level) -> list[tuple[Feature, int]]:
        """The features of a level, each with its first bin in the row."""
        layout = self.box_layout if level == "box" else self.frame_layout
        places = {name: offset for name, offset, _ in layout}
        return [(f, places[f.name]) for f in self.features if f.level == level]


def _refuse(columns: Columns, boxes: slice, found: Codes) -> NoReturn:
    """Raise for the first box of a chunk that cannot be counted."""
    index = int(np.flatnonzero(found)[0])
    place = boxes.start + index
    frame = int(columns.frame[place])
    raise InputError(
        said(
            place,
            REJECTED[found[index] - 1],
            xyxy=np.asarray(columns.xyxy[place], dtype=np.float64),
            confidence=float(columns.confidence[place]),
            class_id=int(columns.class_id[place]),
            height=float(columns.height[min(frame, len(columns.height) - 1)]),
            width=float(columns.width[min(frame, len(columns.width) - 1)]),
        )
    )


def _bins(feature: Feature, values: FloatArray, offset: int, width: int, out: Flat) -> None:
    """Put the bins of some values into a line of the row's bins; nan goes to the bin not given out."""
    if feature.name in _NEVER_MISSING:
        np.add(feature.bin_numbers(values), offset, out=out, casting="unsafe")
        return
    bins = feature.bin(values)
    np.add(bins, offset, out=out, casting="unsafe")
    out[bins < 0] = width


_NEVER_MISSING = frozenset(f.name for f in DEFAULT_FEATURES if f.level == "box")


def _cells(rows: Mapping[int, Row], width: int) -> Cells:
    """The cells of rows by their block's number; in order, so that nothing need be sorted."""
    keys, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for number in sorted(rows):
        bins, several = rows[number].cells()
        keys.append(bins + number * width)
        counts.append(several)
    return Cells(keys=np.concatenate(keys), counts=np.concatenate(counts))


def _grouped(block: IntArray, class_id: IntArray, flat: Flat) -> Iterator[tuple[int, int, Flat]]:
    """Block, class and bin numbers of each (block, class) that occurs."""
    if flat.shape[1] == 0:
        return
    stride = int(class_id.max()) + 1
    code = block * stride + class_id
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
