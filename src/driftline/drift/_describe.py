"""What a cell says besides its test: counts, plain distances, effective sizes, the two curves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.drift._cell import Cell, Curve
from driftline.drift._days import CLASS_MIX, Days, index_of
from driftline.drift._family import Candidate, Reference, Sides, spread
from driftline.drift._plain import Plain, compare_counts, effective_size
from driftline.profiles import Feature

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

CURVE_POINTS = 60
"""Largest number of points of a curve that a report keeps."""


class _Split(TypedDict):
    unit: IntArray
    n_units: int


@frozen(kw_only=True, eq=False)
class Described:
    """Both sides of a comparison, for descriptions.

    Attributes:
        sides: the reference and the week.
        class_names: index → name.
    """

    sides: Sides
    class_names: Mapping[int, str]

    @property
    def _reference(self) -> Reference:
        return self.sides.reference

    @cached_property
    def _units(self) -> tuple[_Units, _Units]:
        mine, its = self._reference.days, self.sides.week
        return (
            _Units.of(mine, self._reference, self._reference.pair_of),
            _Units.of(its, self._reference, self._reference.pair_units(its)),
        )

    @cached_property
    def _whole(self) -> dict[tuple[str, int], tuple[IntArray, IntArray]]:
        return {}

    def histograms(self, candidate: Candidate) -> tuple[IntArray, IntArray]:
        """``(feature bins,)`` counts of the reference and of the week, every bin."""
        before, now = self._tables(candidate)
        row = self._row(candidate)
        return (before.sum(axis=0), now.sum(axis=0)) if row is None else (before[row], now[row])

    def _tables(self, candidate: Candidate) -> tuple[IntArray, IntArray]:
        """Counts of both sides by the kind of unit the cell is one of."""
        name = candidate.feature
        level = (candidate.camera >= 0) + 2 * (candidate.class_index >= 0)
        key = (name, max(level, 1))
        if key not in self._whole:
            days = (self._reference.days, self.sides.week)
            both = [d.whole(name, **u.by(level)) for d, u in zip(days, self._units, strict=True)]
            if name == CLASS_MIX:
                ids = self.sides.class_ids
                both = [spread(c, d.class_ids, ids) for c, d in zip(both, days, strict=True)]
            self._whole[key] = (both[0], both[1])
        return self._whole[key]

    def _row(self, candidate: Candidate) -> int | None:
        camera, k = candidate.camera, candidate.class_index
        if k < 0:
            return camera if camera >= 0 else None
        return int(self._reference.pair_of[camera, k]) if camera >= 0 else k

    def feature(self, name: str) -> Feature:
        """The feature of a name."""
        return self._reference.days.features[name]

    def edge_value(self, name: str, edge: int) -> float:
        """Value of an inner edge of a feature; the class's index for the class mix."""
        if name == CLASS_MIX:
            return float(self.sides.class_ids[edge])
        feature = self.feature(name)
        return float(feature.edges[edge]) if feature.kind == "ordered" else float(edge)

    def cell(self, candidate: Candidate) -> tuple[Cell, Plain | None]:
        """The cell without its verdict, and the plain comparison where both sides have counts."""
        before, now = self.histograms(candidate)
        camera = candidate.camera
        boxes_before, frames_before, days_before = self._size(candidate, week=False)
        boxes, frames, days = self._size(candidate, week=True)
        cell = Cell(
            feature=candidate.feature,
            camera=None if camera < 0 else self._reference.days.cameras[camera],
            class_name=self._class_name(candidate.class_index),
            unit=self.feature(candidate.feature).unit,
            reason=candidate.reason,
            n_boxes=boxes,
            n_frames=frames,
            n_blocks=days,
            n_reference_boxes=boxes_before,
            n_reference_frames=frames_before,
            n_reference_blocks=days_before,
        )
        if not before.sum() or not now.sum():
            return cell, None
        return cell, compare_counts(self.feature(candidate.feature), before, now)

    def _class_name(self, k: int) -> str | None:
        if k < 0:
            return None
        index = int(self._reference.days.class_ids[k])
        return self.class_names.get(index, str(index))

    def _size(self, candidate: Candidate, *, week: bool) -> tuple[int, int, int]:
        """Boxes, frames and days with any, of one side of a cell."""
        days, units = (self.sides.week if week else self._reference.days), self._units[week]
        camera = np.ones(len(units.camera), dtype=bool)
        kind = np.ones(len(units.kind), dtype=bool)
        if candidate.camera >= 0:
            camera = units.camera == candidate.camera
        if candidate.class_index >= 0:
            kind = units.kind == candidate.class_index
        boxes = days.boxes[:, camera][..., kind].sum(axis=(1, 2))
        frames = days.frames[:, camera].sum(axis=1)
        by_day = boxes if self._reference.of_box(candidate.feature) else frames
        return int(boxes.sum()), int(frames.sum()), int((by_day > 0).sum())

    def effective(self, candidate: Candidate) -> tuple[float, float]:
        """Effective sizes of the reference and the week."""
        camera, k = candidate.camera, candidate.class_index
        if k < 0:
            counts, cameras = self.sides.by_camera[candidate.feature], self._reference.cameras
            mine = (cameras == camera) | (camera < 0)
        else:
            counts, pairs = self.sides.by_pair[candidate.feature], self._reference.pairs
            mine = (pairs[:, 1] == k) & ((pairs[:, 0] == camera) | (camera < 0))
        by_day = counts[:, :, mine].sum(axis=(1, 2)).astype(np.float64)
        current = self.sides.current
        return effective_size(by_day[~current]), effective_size(by_day[current])

    def curve(self, candidate: Candidate) -> Curve:
        """The two distributions at up to `CURVE_POINTS` bin edges where either of them moves."""
        before, now = (h.astype(np.float64) for h in self.histograms(candidate))
        names: list[str] = []
        if self.feature(candidate.feature).kind == "nominal":
            edges, f, g = np.arange(len(before)), before / before.sum(), now / now.sum()
            names = [self.class_names.get(int(k), str(k)) for k in self.sides.class_ids]
        else:
            f, g = np.cumsum(before)[:-1] / before.sum(), np.cumsum(now)[:-1] / now.sum()
            edges = np.unique(np.searchsorted((f + g) / 2, np.linspace(0.002, 0.998, CURVE_POINTS)))
            edges = edges[edges < len(f)]
        return Curve(
            at=[self.edge_value(candidate.feature, int(e)) for e in edges],
            reference=f[edges].round(6).tolist(),
            current=g[edges].round(6).tolist(),
            names=names,
        )


@frozen(kw_only=True, eq=False)
class _Units:
    """Which unit each camera, class and pair of one side is in terms of the reference.

    Attributes:
        camera: ``(n_cameras,)`` index of the camera in the reference; the number of its
            cameras for one it has not.
        kind: ``(n_classes,)`` index of the class in the reference, -1 for one it has not.
        pair: ``(n_cameras, n_classes)`` index of the pair, -1 for none.
        n_cameras: cameras of the reference, and one more.
        n_classes: classes of the reference.
        n_pairs: pairs of the reference.
    """

    camera: IntArray
    kind: IntArray
    pair: IntArray
    n_cameras: int
    n_classes: int
    n_pairs: int

    @classmethod
    def of(cls, days: Days, reference: Reference, pair: IntArray) -> _Units:
        """The units of one side."""
        n = len(reference.cameras)
        camera = index_of(days.cameras, reference.days.cameras)
        place = {k: i for i, k in enumerate(reference.days.class_ids.tolist())}
        return cls(
            camera=np.where(camera < 0, n, camera),
            kind=np.array([place.get(k, -1) for k in days.class_ids.tolist()], dtype=np.int64),
            pair=pair,
            n_cameras=n + 1,
            n_classes=len(place),
            n_pairs=len(reference.pairs),
        )

    def by(self, level: int) -> _Split:
        """The units of a level: 0 and 1 cameras, 2 classes, 3 pairs."""
        if level <= 1:
            return {"unit": self.camera, "n_units": self.n_cameras}
        if level == 2:  # noqa: PLR2004  named above
            unit = np.tile(self.kind, (len(self.camera), 1))
            return {"unit": unit, "n_units": self.n_classes}
        return {"unit": self.pair, "n_units": self.n_pairs}
