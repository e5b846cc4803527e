"""Sparse counts: which cell holds how many. A cell is a (period, camera[, class], bin) number.

Only this file packs and unpacks cell numbers; merge is addition of counts of equal cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import field, frozen

from driftline.errors import InputError
from driftline.profiles._features import Feature, IntArray

BOXES = "class"
"""Name of the one bin a class that counts its boxes: the class mix."""
FRAMES = "frames"
"""Name of the bin that counts frames."""
REJECTED = ("confidence", "box", "outside", "class", "frame")
"""Why a box or frame was not counted; each reason has one bin a block."""


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
        """Add the counts of equal keys, in whatever order they come; zeros are dropped."""
        seen = counts > 0
        if not seen.all():
            keys, counts = keys[seen], counts[seen]
        if len(keys) == 0:
            return cls()
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        return cls(keys=keys[starts], counts=np.add.reduceat(counts, starts))

    def __eq__(self, other: object) -> bool:
        """Whether every cell holds the same count."""
        if not isinstance(other, Cells):
            return NotImplemented
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]  # arrays inside: not a dictionary key

    def __len__(self) -> int:
        """Number of cells that are not zero."""
        return len(self.keys)


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
        fixed = (FRAMES, *(f"rejected.{reason}" for reason in REJECTED))
        return cls(
            names=(*fixed, *(f.name for f in own)),
            sizes=(*(1 for _ in fixed), *(f.n_bins for f in own)),
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
        for own, offset, size in self:
            if own == name:
                return offset, size
        msg = f"no feature {name!r} here; there are {', '.join(self.names)}"
        raise InputError(msg)


def pack(indexes: Sequence[IntArray], shape: Sequence[int]) -> IntArray:
    """One number from several indexes, the last changing fastest."""
    keys = np.zeros_like(indexes[0], dtype=np.int64)
    for index, size in zip(indexes, shape, strict=True):
        keys = keys * size + index
    return keys


def unpack(keys: IntArray, shape: Sequence[int]) -> list[IntArray]:
    """The indexes that `pack` made a number of."""
    indexes: list[IntArray] = []
    for size in reversed(shape[1:]):
        keys, index = np.divmod(keys, size)
        indexes.append(index)
    return [keys, *reversed(indexes)]


def check_names(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Refuse two features of one name, and names that the profile keeps for itself."""
    names = [f.name for f in features]
    kept = {BOXES, FRAMES, *(f"rejected.{reason}" for reason in REJECTED)}
    wrong = sorted({n for n in names if names.count(n) > 1 or n in kept})
    if wrong:
        msg = f"feature names {wrong} are taken; give each feature its own name"
        raise InputError(msg)
    return tuple(features)
