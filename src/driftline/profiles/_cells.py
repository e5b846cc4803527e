"""Sparse counts: which cell holds how many. A cell is a (period, camera[, class], bin) number.

Only this file packs and unpacks cell numbers; merge is addition of counts of equal cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import parts
from driftline.errors import InputError
from driftline.profiles._features import Feature, IntArray
from driftline.profiles._judge import REJECTED

BOXES = "class"
"""Name of the one bin of a class that counts its boxes: the class mix."""
FRAMES = "frames"
"""Name of the bin that counts frames."""
REJECTED_BINS = tuple(f"rejected.{reason}" for reason in REJECTED)
"""Names of the bins that count what was rejected."""


def _empty() -> IntArray:
    return np.zeros(0, dtype=np.int64)


@frozen(kw_only=True, eq=False)
class Cells:
    """Counts of the cells that are not zero.

    Attributes:
        keys: ``(n,)`` int64 cell numbers, strictly increasing.
        counts: ``(n,)`` int64, each at least 1.
    """

    keys: IntArray = field(factory=_empty)
    counts: IntArray = field(factory=_empty)

    @classmethod
    def total(cls, keys: IntArray, counts: IntArray) -> Cells:
        """Add the counts of equal keys, in whatever order they come; no count is zero."""
        if len(keys) == 0:
            return cls()
        order = np.argsort(keys, kind="stable")  # merges runs that are sorted already, in O(n)
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        return cls(keys=keys[starts], counts=np.add.reduceat(counts, starts))

    @classmethod
    def sum(cls, parts: Sequence[Cells]) -> Cells:
        """The counts of some cells together."""
        if not parts:
            return cls()
        return cls.total(
            np.concatenate([cells.keys for cells in parts]),
            np.concatenate([cells.counts for cells in parts]),
        )

    def same_as(self, other: Cells) -> bool:
        """Whether every cell holds the same count."""
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.counts, other.counts)


@frozen(kw_only=True)
class Layout:
    """Where each feature's bins lie in the row of bins of one block.

    Attributes:
        names: features in order.
        sizes: number of bins of each.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @classmethod
    def boxes(cls, features: Sequence[Feature]) -> Layout:
        """The row of a (period, camera, class) block: its boxes, then each box feature."""
        own = [f for f in features if f.level == "box"]
        return cls(names=(BOXES, *(f.name for f in own)), sizes=(1, *(f.n_bins for f in own)))

    @classmethod
    def frames(cls, features: Sequence[Feature]) -> Layout:
        """The row of a (period, camera) block: frames, rejections, then each frame feature."""
        own = [f for f in features if f.level == "frame"]
        return cls(
            names=(FRAMES, *REJECTED_BINS, *(f.name for f in own)),
            sizes=(1, *(1 for _ in REJECTED_BINS), *(f.n_bins for f in own)),
        )

    @property
    def width(self) -> int:
        """Number of bins of the row."""
        return sum(self.sizes)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """Name, first bin and number of bins of each feature."""
        offset = 0
        for name, size in zip(self.names, self.sizes, strict=True):
            yield name, offset, size
            offset += size

    def span(self, name: str) -> tuple[int, int]:
        """First bin and number of bins of a feature."""
        places = {own: (offset, size) for own, offset, size in self}
        return places[name]

    def named(self, bins: IntArray) -> tuple[npt.NDArray[np.object_], IntArray]:
        """The feature that each bin of the row belongs to, and its bin there."""
        offsets = np.array([offset for _, offset, _ in self], dtype=np.int64)
        index = np.searchsorted(offsets, bins, side="right") - 1
        return np.array(self.names, dtype=np.object_)[index], bins - offsets[index]

    def moved_to(self, other: Layout) -> IntArray:
        """``(width,)`` int64: the bin of `other` that each bin becomes, -1 where it has none."""
        move = np.full(self.width, -1, dtype=np.int64)
        for name, offset, size in self:
            if name in other.names:
                start, _ = other.span(name)
                move[offset : offset + size] = np.arange(start, start + size)
        return move


@frozen(kw_only=True, eq=False)
class Table:
    """Counts by indexes into names that may repeat and be in any order.

    Attributes:
        period: ``(n,)`` int64 index of the period.
        camera: ``(n,)`` int64 index of the camera.
        class_index: ``(n,)`` int64 index of the class, 0 where there are no classes.
        bin: ``(n,)`` int64 bin in the row of the block (`Layout`).
        count: ``(n,)`` int64.
    """

    period: IntArray = field(factory=_empty)
    camera: IntArray = field(factory=_empty)
    class_index: IntArray = field(factory=_empty)
    bin: IntArray = field(factory=_empty)
    count: IntArray = field(factory=_empty)

    @classmethod
    def of(cls, cells: Cells, *, n_cameras: int, n_classes: int, width: int) -> Table:
        """The cells of a profile, unpacked; `n_classes` is 1 where there are no classes."""
        rest, flat = np.divmod(cells.keys, width)
        rest, class_index = np.divmod(rest, n_classes)
        period, camera = np.divmod(rest, max(1, n_cameras))
        return cls(
            period=period, camera=camera, class_index=class_index, bin=flat, count=cells.counts
        )

    @classmethod
    def joined(cls, tables: Sequence[Table]) -> Table:
        """One after the other."""
        if not tables:
            return cls()
        return cls(
            period=np.concatenate([t.period for t in tables]),
            camera=np.concatenate([t.camera for t in tables]),
            class_index=np.concatenate([t.class_index for t in tables]),
            bin=np.concatenate([t.bin for t in tables]),
            count=np.concatenate([t.count for t in tables]),
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> Table:
        """The rows that are kept."""
        return Table(
            period=self.period[keep],
            camera=self.camera[keep],
            class_index=self.class_index[keep],
            bin=self.bin[keep],
            count=self.count[keep],
        )

    def packed(self, *, n_cameras: int, n_classes: int, width: int) -> Cells:
        """The cells of a profile: the inverse of `of`; equal cells are added, zeros left out."""
        keys = ((self.period * n_cameras + self.camera) * n_classes + self.class_index) * width
        seen = self.count > 0
        return Cells.total((keys + self.bin)[seen], self.count[seen])


def check_names(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Refuse two features of one name, and names that the profile keeps for itself."""
    checked = parts(features, Feature, name="features", what="a Feature")
    names = [f.name for f in checked]
    kept = {BOXES, FRAMES, *REJECTED_BINS}
    wrong = sorted({n for n in names if names.count(n) > 1 or n in kept})
    if wrong:
        msg = f"feature names {wrong} are taken; give each feature its own name"
        raise InputError(msg)
    return checked
