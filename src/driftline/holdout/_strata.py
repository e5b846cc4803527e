"""Confidences of a week as counts: what can be said without labels is computed from these."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import part
from driftline._clock import as_utc
from driftline.errors import ContextMismatch, InputError
from driftline.holdout._matching import box_areas
from driftline.holdout._table import MatchTable
from driftline.records import Detections

__all__ = ["ConfidenceCounts", "Strata"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BINS: Final = 50
TERCILES: Final = 3
LARGE_CLASS: Final = 100
"""Detections from which a class has strata of its own; smaller ones share theirs."""


@frozen(kw_only=True)
class Strata:
    """Which cell a detection belongs to: class or group of small classes, size, confidence.

    Attributes:
        confidence: detections below this are left out.
        class_names: index → name of every class.
        group_of_class: index of the class → group; small classes share one.
        area_edges: two areas, px², that split the holdout's detections into three equal parts.
    """

    confidence: float
    class_names: Mapping[int, str]
    group_of_class: Mapping[int, int]
    area_edges: tuple[float, float]

    @classmethod
    def of(cls, table: MatchTable, names: Mapping[int, str], *, confidence: float) -> Strata:
        """The strata that a holdout has detections enough for."""
        used = table.confidence >= confidence
        sizes = np.bincount(table.class_index[used], minlength=len(table.classes))
        large = [index for index, size in enumerate(sizes) if size >= LARGE_CLASS]
        groups = {
            class_id: large.index(index) if index in large else len(large)
            for index, class_id in enumerate(table.classes)
        }
        edges = np.quantile(table.area[used], [1 / 3, 2 / 3]) if used.any() else np.zeros(2)
        return cls(
            confidence=confidence,
            class_names=dict(names),
            group_of_class=groups,
            area_edges=(float(edges[0]), float(edges[1])),
        )

    @property
    def cells(self) -> int:
        """Number of cells: (class, size, bin of confidence), classes counted one by one."""
        return len(self.group_of_class) * TERCILES * BINS

    def cell(self, class_id: IntArray, area: FloatArray, confidence: FloatArray) -> IntArray:
        """``(n,)`` cell of each detection.

        Raises:
            InputError: a class is not in the holdout's list.
        """
        place = {one: index for index, one in enumerate(self.group_of_class)}
        if unknown := sorted({int(one) for one in class_id} - place.keys()):
            msg = f"class {unknown[0]} is none of the holdout's: {dict(self.class_names)}"
            raise InputError(msg)
        index = np.array([place[int(one)] for one in class_id], dtype=np.int64)
        size = np.digitize(area, self.area_edges)
        scaled = (confidence - self.confidence) / max(1.0 - self.confidence, 1e-9)
        bins = np.clip((scaled * BINS).astype(np.int64), 0, BINS - 1)
        return (index * TERCILES + size) * BINS + bins

    def group_cells(self) -> IntArray:
        """``(cells,)`` index of (group, size, bin) for each cell."""
        groups = np.array(list(self.group_of_class.values()))
        rows = groups[:, None] * TERCILES + np.arange(TERCILES)
        return np.asarray(rows.reshape(-1)[:, None] * BINS + np.arange(BINS)).reshape(-1)


@frozen(kw_only=True, eq=False)
class ConfidenceCounts:
    """Detections of a period as counts by camera, day, class, size and confidence.

    Memory does not grow with traffic; the counts of two machines add up with `merge`.

    Attributes:
        strata: which cell a detection belongs to.
        blocks: (camera, day in UTC) → ``(cells,)`` counts.
        frames: (camera, day in UTC) → number of frames, those without detections included.
    """

    strata: Strata
    blocks: dict[tuple[str, date], IntArray] = field(factory=dict)
    frames: dict[tuple[str, date], int] = field(factory=dict)

    def __repr__(self) -> str:
        """Its frames, cameras and days."""
        cameras, days = ({key[part] for key in self.frames} for part in (0, 1))
        return f"ConfidenceCounts({self.n_frames} frames, {len(cameras)} cameras, {len(days)} days)"

    @property
    def n_frames(self) -> int:
        """Number of frames observed."""
        return sum(self.frames.values())

    def observe(self, detections: Detections, *, at: datetime, camera: str = "") -> None:
        """Count the detections of one frame; frames without any must be observed as well.

        Args:
            detections: what was found; those below the threshold of the strata are left out.
            at: when the frame was taken, aware.
            camera: which camera took it.

        Raises:
            InputError: `detections` is something else, `at` is naive, or a class is not in the
                holdout's list.
        """
        part(detections, Detections, name="detections", what="Detections")
        part(camera, str, name="camera", what="the name of a camera")
        key = (camera, as_utc(at, name="at").date())
        used = detections.confidence >= self.strata.confidence
        cell = self.strata.cell(
            detections.class_id[used],
            box_areas(detections.xyxy[used]),
            detections.confidence[used],
        )
        block = self.blocks.setdefault(key, np.zeros(self.strata.cells, dtype=np.int64))
        np.add.at(block, cell, 1)
        self.frames[key] = self.frames.get(key, 0) + 1

    def merge(self, other: ConfidenceCounts) -> ConfidenceCounts:
        """The counts of both together.

        Raises:
            ContextMismatch: they were counted for different calibrations.
        """
        part(other, ConfidenceCounts, name="other", what="ConfidenceCounts")
        if self.strata != other.strata:
            msg = "counts made for different calibrations do not add up; count with one calibrator"
            raise ContextMismatch(msg, fields=("strata",))
        merged = ConfidenceCounts(strata=self.strata)
        for one in (self, other):
            for key, block in one.blocks.items():
                merged.blocks[key] = merged.blocks.get(key, np.zeros_like(block)) + block
                merged.frames[key] = merged.frames.get(key, 0) + one.frames[key]
        return merged
