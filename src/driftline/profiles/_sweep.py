"""One pass over the boxes and frames of a call: each is judged, then put into the bins of its row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

import numpy as np
from attrs import frozen

from driftline.errors import InputError
from driftline.profiles._cells import REJECTED_BINS, Layout
from driftline.profiles._columns import Columns, Mask, checked, computed, own_features
from driftline.profiles._features import (
    DEFAULT_FEATURES,
    Batch,
    Feature,
    FloatArray,
    IntArray,
    Tally,
)
from driftline.profiles._judge import LARGEST_PX, REJECTED, Codes, codes, said

_NEVER_MISSING = frozenset(id(f) for f in DEFAULT_FEATURES if f.level == "box")


@frozen(kw_only=True, eq=False)
class Lines:
    """Boxes (or frames) that are counted, and where.

    Attributes:
        block: ``(n,)`` int64 number of the (camera, period) block of each, or ``(1,)`` of all.
        class_id: ``(n,)`` int64; zeros for frames.
        bins: of each feature, its first bin in the row and ``(n,)`` int64 bins from there on, -1
            for a value that is missing; worked out as they are asked for, once.
    """

    block: IntArray
    class_id: IntArray
    bins: Iterator[tuple[int, IntArray]]


class Sweep:
    """The boxes and then the frames of some columns.

    Args:
        columns: what to count.
        features: what is counted of them.
        count_invalid: leave out boxes that cannot be counted; otherwise refuse them.
        judged: every box is known to be countable.
    """

    def __init__(
        self,
        columns: Columns,
        features: Sequence[Feature],
        *,
        count_invalid: bool,
        judged: bool = False,
    ) -> None:
        """Judge the frames."""
        self._columns, self._judged, self._count_invalid = columns, judged, count_invalid
        self._tally = Tally(len(columns.block))
        self._rejected: list[tuple[str, IntArray]] = []
        self._placed = {
            "box": _placed(features, Layout.boxes(features)),
            "frame": _placed(features, Layout.frames(features)),
        }
        formulas = {f.name for f in own_features(features)} - set(columns.values)
        self._formulas = {
            level: any(f.name in formulas for f, _ in placed)
            for level, placed in self._placed.items()
        }
        self._good = None if judged else self._good_frames()

    def boxes(self) -> Iterator[Lines]:
        """Of one chunk after the other, the boxes that are counted."""
        early = self._formulas["box"]  # a formula may look at all boxes of the frames
        if early:
            for boxes in self._columns.chunks():
                self._add(self._judged_batch(boxes, note=False)[0])
        block = self._columns.block
        one = bool((block == block[:1]).all())
        for boxes in self._columns.chunks():
            batch, keep = self._judged_batch(boxes, note=True)
            if not len(batch.confidence):
                continue  # formulas would divide by frames without area
            if not early and self._placed["frame"]:
                self._add(batch)
            yield Lines(
                block=block[:1] if one else block.take(batch.frame),
                class_id=batch.class_id,
                bins=self._box_bins(batch, boxes, keep),
            )

    def frames(self) -> Lines:
        """The frames that are counted; asked for after the boxes."""
        block, good = self._columns.block, self._good
        if good is not None:
            self._rejected.append(("rejected.frame", block[~good]))
        kept = block if good is None else block[good]
        return Lines(block=kept, class_id=np.zeros_like(kept), bins=self._frame_bins())

    def rejected(self) -> Iterator[tuple[int, IntArray]]:
        """Bin of the row of frames and blocks of what was not counted; asked for at the end."""
        layout = {name: offset for name, offset, _ in Layout.frames(())}
        for name, block in self._rejected:
            yield layout[name], block

    def _add(self, batch: Batch) -> None:
        self._tally.add(batch.frame, batch.confidence)

    def _good_frames(self) -> Mask | None:
        """Which frames have an area (None: all); refuse the others unless they are counted."""
        columns = self._columns
        area = (columns.height > 0) & (columns.height <= LARGEST_PX)
        area &= (columns.width > 0) & (columns.width <= LARGEST_PX)
        if area.all():
            return None
        if not self._count_invalid:
            index = int(np.flatnonzero(~area)[0])
            size = f"{columns.width[index]:g} x {columns.height[index]:g} px"
            msg = (
                f"frame {index} of {size} has no area; pass its true size, or count such frames as "
                'rejected with invalid="count"'
            )
            raise InputError(msg)
        good: Mask = np.broadcast_to(area, columns.block.shape)
        return good

    def _judged_batch(self, boxes: slice, *, note: bool) -> tuple[Batch, Mask | None]:
        """The boxes of a chunk that are counted, and which they are (None: all)."""
        batch = self._columns.batch(boxes, self._tally)
        if self._judged:
            return batch, None
        found = codes(
            batch.xyxy.T,
            confidence=batch.confidence,
            class_id=batch.class_id,
            height=batch.frame_height,
            width=batch.frame_width,
        )
        if found is None:
            return batch, None
        if not self._count_invalid:
            _refuse(self._columns, boxes, found)
        if note:
            block = np.broadcast_to(self._columns.of_box(self._columns.block, boxes), found.shape)
            for number, name in enumerate(REJECTED_BINS, start=1):
                self._rejected.append((name, block[found == number]))
        keep: Mask = found == 0
        return batch.where(keep), keep

    def _box_bins(
        self, batch: Batch, boxes: slice, keep: Mask | None
    ) -> Iterator[tuple[int, IntArray]]:
        for feature, offset in self._placed["box"]:
            if feature.name in self._columns.values:
                part = np.asarray(self._columns.values[feature.name], dtype=np.float64)[boxes]
                values = part if keep is None else part[keep]
            else:
                values = computed(feature, batch, len(batch.confidence))
            yield offset, _bins(feature, values)

    def _frame_bins(self) -> Iterator[tuple[int, IntArray]]:
        columns, good, m = self._columns, self._good, len(self._columns.block)
        boxes = slice(None) if self._formulas["frame"] else slice(0)
        batch = columns.batch(boxes, self._tally)
        for feature, offset in self._placed["frame"]:
            given = columns.values.get(feature.name)
            values = computed(feature, batch, m) if given is None else checked(feature, given, m)
            yield offset, _bins(feature, values if good is None else values[good])


def _placed(features: Sequence[Feature], layout: Layout) -> list[tuple[Feature, int]]:
    """The features of a row, each with its first bin."""
    known = {f.name: f for f in features}
    return [(known[name], offset) for name, offset, _ in layout if name in known]


def _bins(feature: Feature, values: FloatArray) -> IntArray:
    return (feature.bin_numbers if id(feature) in _NEVER_MISSING else feature.bin)(values)


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
