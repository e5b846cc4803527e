"""What a cell says besides its test: counts, plain distances, effective sizes, the two curves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from driftline.drift._cell import Cell, Curve
from driftline.drift._days import CLASS_MIX
from driftline.drift._family import Candidate, Reference, Sides, spread
from driftline.drift._plain import Plain, compare_rows, effective_sizes
from driftline.drift._units import Level, Sizes, Units, gathered
from driftline.profiles import Feature

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

CURVE_POINTS = 60
"""Largest number of points of a curve that a report keeps."""


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
    def _units(self) -> Units:
        week = self.sides.week
        return self._reference.units_of(week, self._reference.pair_units(week))

    @cached_property
    def _whole(self) -> dict[tuple[str, Level], tuple[IntArray, IntArray]]:
        return {}

    @cached_property
    def _plain(self) -> dict[tuple[str, Level], list[Plain | None]]:
        return {}

    @cached_property
    def _effective(self) -> dict[tuple[str, Level], tuple[FloatArray, FloatArray]]:
        return {}

    def histograms(self, candidate: Candidate) -> tuple[IntArray, IntArray]:
        """``(feature bins,)`` counts of the reference and of the week, every bin."""
        before, now = self._tables(candidate.feature, _level(candidate))
        row = self._row(candidate)
        return before[row], now[row]

    def _tables(self, name: str, level: Level) -> tuple[IntArray, IntArray]:
        """Counts of both sides, a row a unit of the level."""
        key = (name, level)
        if key not in self._whole:
            if level == Level.ALL:
                both = [t.sum(axis=0, keepdims=True) for t in self._tables(name, Level.CAMERA)]
            else:
                both = [
                    self._reference.whole(name, level),
                    self.sides.week.whole(name, **self._units.by(level)),
                ]
                if name == CLASS_MIX:
                    days, ids = (self._reference.days, self.sides.week), self.sides.class_ids
                    both = [spread(c, d.class_ids, ids) for c, d in zip(both, days, strict=True)]
            self._whole[key] = (both[0], both[1])
        return self._whole[key]

    def _row(self, candidate: Candidate) -> int:
        camera, k = candidate.camera, candidate.class_index
        if k < 0:
            return max(camera, 0)
        return int(self._reference.pair_of[camera, k]) if camera >= 0 else k

    def plain(self, candidate: Candidate) -> Plain | None:
        """The plain comparison; None where a side has no counts."""
        key = (candidate.feature, _level(candidate))
        if key not in self._plain:
            self._plain[key] = compare_rows(self.feature(key[0]), *self._tables(*key))
        return self._plain[key][self._row(candidate)]

    def feature(self, name: str) -> Feature:
        """The feature of a name."""
        return self._reference.days.features[name]

    def edge_value(self, name: str, edge: int) -> float:
        """Value of an inner edge of a feature; the class's index for the class mix."""
        if name == CLASS_MIX:
            return float(self.sides.class_ids[edge])
        feature = self.feature(name)
        return float(feature.edges[edge]) if feature.kind == "ordered" else float(edge)

    def cell(self, candidate: Candidate) -> Cell:
        """The cell without its verdict, the plain comparison included where there is one."""
        camera, k = candidate.camera, candidate.class_index
        of_box = self._reference.of_box(candidate.feature)
        before, now = self._sizes
        cell = Cell(
            feature=candidate.feature,
            camera=None if camera < 0 else self._reference.days.cameras[camera],
            class_name=self._class_name(k),
            unit=self.feature(candidate.feature).unit,
            reason=candidate.reason,
            n_boxes=int(now.boxes[camera, k]),
            n_frames=int(now.frames[camera]),
            n_blocks=int(now.days_with(camera, k, boxes=of_box)),
            n_reference_boxes=int(before.boxes[camera, k]),
            n_reference_frames=int(before.frames[camera]),
            n_reference_blocks=int(before.days_with(camera, k, boxes=of_box)),
        )
        return _with_plain(cell, self.plain(candidate))

    def _class_name(self, k: int) -> str | None:
        if k < 0:
            return None
        index = int(self._reference.days.class_ids[k])
        return self.class_names.get(index, str(index))

    @cached_property
    def _sizes(self) -> tuple[Sizes, Sizes]:
        return self._reference.sizes, Sizes.of(self.sides.week, self._units)

    def effective(self, candidate: Candidate) -> tuple[float, float]:
        """Effective sizes of the reference and the week."""
        key = (candidate.feature, _level(candidate))
        if key not in self._effective:
            by_day = self._by_day(*key)
            current = self.sides.current
            self._effective[key] = (
                effective_sizes(by_day[~current]),
                effective_sizes(by_day[current]),
            )
        before, now = self._effective[key]
        row = self._row(candidate)
        return float(before[row]), float(now[row])

    def _by_day(self, name: str, level: Level) -> FloatArray:
        """``(n_days, n_units, n_bins)`` counts of both sides, a unit a row of the level."""
        counts = self.sides.by_camera[name] if level <= Level.CAMERA else self.sides.by_pair[name]
        by_day: FloatArray = counts.sum(axis=1).astype(np.float64)
        if level == Level.ALL:
            total: FloatArray = by_day.sum(axis=1, keepdims=True)
            return total
        if level == Level.CLASS:
            kind = self._reference.pairs[:, 1]
            return gathered(by_day.swapaxes(0, 1), kind, self._units.n_classes).swapaxes(0, 1)
        return by_day

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


def _level(candidate: Candidate) -> Level:
    return Level((candidate.camera >= 0) + 2 * (candidate.class_index >= 0))


def _with_plain(cell: Cell, plain: Plain | None) -> Cell:
    if plain is None:
        return cell
    return evolve(
        cell,
        ks_statistic=plain.ks_statistic,
        ks_high=plain.ks_high,
        ks_p_value=plain.ks_p_value,
        wasserstein_sd=plain.wasserstein_sd,
    )
