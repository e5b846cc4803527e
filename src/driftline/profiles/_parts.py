"""Putting profiles together: blocks get new names, cells move with their block, equal ones add.

A cell number is ``block * width + bin``, and a block number counts (period, camera, class) of its
own names. Work is done a block at a time, so that what a merge costs is a few passes over the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline.profiles._cells import Cells, Layout
from driftline.profiles._features import Feature, IntArray
from driftline.profiles._given import N, Times

Mask = npt.NDArray[np.bool_]


def _no_cells() -> Cells:
    return Cells()


@frozen(kw_only=True, eq=False)
class Part:
    """Counts under their own names, which may repeat, be in any order, and be of nothing.

    Attributes:
        cameras: ``(c,)`` names.
        periods: ``(p,)`` datetime64[us] starts.
        class_ids: ``(k,)`` int64.
        boxes: cells of (period, camera, class, bin).
        frames: cells of (period, camera, bin).
    """

    cameras: Sequence[str]
    periods: Times
    class_ids: IntArray
    boxes: Cells = field(factory=_no_cells)
    frames: Cells = field(factory=_no_cells)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of periods, cameras and classes; one class where there are none."""
        return len(self.periods), max(1, len(self.cameras)), max(1, len(self.class_ids))


@frozen(kw_only=True, eq=False)
class _Blocks:
    """The blocks that hold something.

    Attributes:
        number: ``(b,)`` int64, increasing.
        length: ``(b,)`` int64 cells of each.
        period: ``(b,)`` int64 index.
        camera: ``(b,)`` int64 index.
        class_index: ``(b,)`` int64 index, 0 in frames.
    """

    number: IntArray
    length: IntArray
    period: IntArray
    camera: IntArray
    class_index: IntArray

    @classmethod
    def of(cls, cells: Cells, *, width: int, n_cameras: int, n_classes: int) -> _Blocks:
        block = cells.keys // width
        starts = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]])[: len(block)])
        number = block[starts]
        rest, class_index = np.divmod(number, n_classes)
        period, camera = np.divmod(rest, n_cameras)
        return cls(
            number=number,
            length=np.diff(starts, append=len(block)),
            period=period,
            camera=camera,
            class_index=class_index,
        )


def _blocks(part: Part, features: Sequence[Feature]) -> tuple[_Blocks, _Blocks]:
    _, n, k = part.shape
    return (
        _Blocks.of(part.boxes, width=Layout.boxes(features).width, n_cameras=n, n_classes=k),
        _Blocks.of(part.frames, width=Layout.frames(features).width, n_cameras=n, n_classes=1),
    )


def kept(
    part: Part, features: Sequence[Feature], keep: Callable[[IntArray, IntArray, IntArray], Mask]
) -> Part:
    """The blocks for whose period, camera and class index `keep` says so."""
    boxes, frames = (
        _where(cells, np.repeat(keep(b.period, b.camera, b.class_index), b.length))
        for cells, b in zip((part.boxes, part.frames), _blocks(part, features), strict=True)
    )
    return evolve(part, boxes=boxes, frames=frames)


def _where(cells: Cells, mask: Mask) -> Cells:
    return Cells(keys=cells.keys[mask], counts=cells.counts[mask])


def narrowed(part: Part, features: Sequence[Feature], chosen: Sequence[Feature]) -> Part:
    """The same with some of the features only."""
    pairs = [
        (part.boxes, Layout.boxes(features), Layout.boxes(chosen)),
        (part.frames, Layout.frames(features), Layout.frames(chosen)),
    ]
    boxes, frames = (_to_layout(*pair) for pair in pairs)
    return evolve(part, boxes=boxes, frames=frames)


def _to_layout(cells: Cells, old: Layout, new: Layout) -> Cells:
    block, flat = np.divmod(cells.keys, old.width)
    flat = old.moved_to(new)[flat]
    keep = flat >= 0
    return Cells.total(block[keep] * new.width + flat[keep], cells.counts[keep])


def united(parts: Sequence[Part], features: Sequence[Feature]) -> Part:
    """All together, in the one canonical form: names sorted, each once, none of nothing."""
    blocks = [_blocks(part, features) for part in parts]
    periods, to_period = _renamed(
        [p.periods for p in parts], [[b.period for b in pair] for pair in blocks]
    )
    cameras, to_camera = _renamed(
        [np.array([*p.cameras, ""], dtype=np.object_)[:-1] for p in parts],
        [[b.camera for b in pair] for pair in blocks],
    )
    class_ids, to_class = _renamed(
        [p.class_ids for p in parts], [[pair[0].class_index] for pair in blocks]
    )
    n, k = max(1, len(cameras)), max(1, len(class_ids))
    boxes, frames = [], []
    for i, (part, (box, frame)) in enumerate(zip(parts, blocks, strict=True)):
        row = to_period[i][box.period] * n + to_camera[i][box.camera]
        number = row * k + to_class[i][box.class_index]
        boxes.append(_moved(part.boxes, box, number, Layout.boxes(features).width))
        number = to_period[i][frame.period] * n + to_camera[i][frame.camera]
        frames.append(_moved(part.frames, frame, number, Layout.frames(features).width))
    return Part(
        cameras=cameras.tolist(),
        periods=periods,
        class_ids=class_ids,
        boxes=_added(boxes),
        frames=_added(frames),
    )


def _renamed(
    names: Sequence[npt.NDArray[N]], used: Sequence[Sequence[IntArray]]
) -> tuple[npt.NDArray[N], list[IntArray]]:
    """The names that are used, sorted, and where each part's index went (-1: nowhere)."""
    seen = []
    for own, indexes in zip(names, used, strict=True):
        there = np.zeros(len(own), dtype=bool)
        for index in indexes:
            there[index] = True
        seen.append(there)
    new, to = np.unique(
        np.concatenate([own[there] for own, there in zip(names, seen, strict=True)]),
        return_inverse=True,
    )
    ends = np.cumsum([int(there.sum()) for there in seen])
    moves = []
    for there, where in zip(seen, np.split(to.reshape(-1), ends[:-1]), strict=True):
        move = np.full(len(there), -1, dtype=np.int64)
        move[there] = where
        moves.append(move)
    return new, moves


def _moved(cells: Cells, blocks: _Blocks, number: IntArray, width: int) -> Cells:
    """The cells with their blocks renumbered; they may come out of order."""
    shift = (number - blocks.number) * width
    if not shift.any():
        return cells
    return Cells(keys=cells.keys + np.repeat(shift, blocks.length), counts=cells.counts)


def _added(parts: Sequence[Cells]) -> Cells:
    filled = [cells for cells in parts if len(cells.keys)]
    if len(filled) == 1 and bool((filled[0].keys[1:] > filled[0].keys[:-1]).all()):
        return filled[0]
    return Cells.sum(filled)
