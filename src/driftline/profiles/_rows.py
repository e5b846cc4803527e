"""The bins of one block while detections come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from driftline.profiles._features import IntArray

Flat: TypeAlias = npt.NDArray[np.int32]

_OVERHEAD = 32
"""A small array takes about as much memory as 32 int32 beside what it holds."""


class Row:
    """The bins of one block: a list of bin numbers while they are few, then an array of counts."""

    __slots__ = ("counts", "size", "waiting", "width")

    def __init__(self, width: int) -> None:
        """An empty row; bin number `width` is for values that have no bin, and is not given out."""
        self.width = width
        self.counts: IntArray | None = None
        self.waiting: list[Flat] = []
        self.size = 0

    def add(self, flat: Flat) -> None:
        """Count some bin numbers."""
        if self.counts is not None:
            self._count(self.counts, flat)
            return
        self.waiting.append(flat)
        self.size += len(flat) + _OVERHEAD
        if self.size > 2 * self.width:
            self._settle()

    def add_counts(self, bins: IntArray, counts: IntArray) -> None:
        """Count bins several times; no bin is named twice."""
        if self.counts is None and int(counts.sum()) < self.width:
            self.add(np.repeat(bins, counts).astype(np.int32))
        else:
            self._dense()[bins] += counts

    def cells(self) -> tuple[IntArray, IntArray]:
        """Bins that are not zero, and their counts."""
        if self.counts is None:
            waiting, counts = np.unique(_together(self.waiting), return_counts=True)
            inside = waiting < self.width
            return waiting[inside].astype(np.int64), counts[inside].astype(np.int64)
        bins = np.flatnonzero(self.counts[: self.width]).astype(np.int64)
        return bins, self.counts[bins]

    def _settle(self) -> None:
        """Make one array of the list; when that is as large as the counts, make it counts."""
        flat = _together(self.waiting)
        self.waiting, self.size = [flat], len(flat) + _OVERHEAD
        if self.size > self.width:
            self._dense()

    def _dense(self) -> IntArray:
        if self.counts is None:
            self.counts = np.bincount(_together(self.waiting), minlength=self.width + 1)
            self.waiting = []
        return self.counts

    def _count(self, counts: IntArray, flat: Flat) -> None:
        if len(flat) > self.width // 4:
            counts += np.bincount(flat, minlength=self.width + 1)
        else:
            np.add.at(counts, flat, 1)


def _together(waiting: Sequence[Flat]) -> Flat:
    return np.concatenate(waiting) if waiting else np.zeros(0, dtype=np.int32)
