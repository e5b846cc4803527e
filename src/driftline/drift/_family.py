"""The cells that are tested together: every feature, of all cameras, each camera, each class.

The reference is laid out once and kept; a week is counted on the reference's thresholds and put
behind it, so that every cell is a few columns over the days of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline.drift._curves import (
    CLASS_QUANTILES,
    GRID_QUANTILES,
    Curves,
    Grid,
    curves,
    thresholds,
    together,
    unshared,
    weights_of,
)
from driftline.drift._days import CLASS_MIX, Days, index_of
from driftline.drift._units import Level, Sizes, Units
from driftline.profiles import Profile

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

PRIMARY = ("confidence", "area", "boxes_per_frame", "frame_confidence", CLASS_MIX)
"""Features that most of the error rate is spent on."""
BY_CLASS = ("confidence", "area")
"""Features that are tested within each class as well."""
REDUNDANT = ("width", "height")
"""Features left out unless asked for: area and aspect say the same."""
ALL, CAMERA, CLASS, CAMERA_CLASS, OTHER = range(5)
SHARES = np.array([0.32, 0.43, 0.10, 0.05, 0.10])
"""Share of the error rate of each group of cells: all together, each camera, each class, each
class on each camera, and the other features."""
ONE_BIN = "nearly every value is in one bin"
NOISE = 100.0
"""Boxes (frames) of a camera-day at which counting scatters as much as days do."""
MIN_COUNT = 100
"""Boxes (frames) each side of a cell needs: below, the noise in D alone is near 0.1."""
MIN_DAYS = 3
"""Days of the week with data that a cell needs."""
MIN_REFERENCE_DAYS = 7
"""Days of the reference with data that a cell needs: one complete week."""


@frozen(kw_only=True, eq=False)
class Candidate:
    """A cell with its columns.

    Attributes:
        feature: name of the feature.
        camera: index of the camera, -1 for all.
        class_index: index of the class in the reference, -1 for all.
        group: index into `SHARES`.
        values: ``(n_days, k)`` deviations of each day at each threshold.
        judged: ``(n_days, k)`` the deviations the test looks at: for a camera, what its
            neighbours do not share.
        weight: ``(n_days,)`` weight of each day.
        pooled: ``(k,)`` pooled curve at the thresholds.
        at: ``(k,)`` index of the feature's inner edge (of the class) at each threshold.
        reason: why it cannot be tested; "" where it can.
    """

    feature: str
    camera: int = -1
    class_index: int = -1
    group: int = ALL
    values: FloatArray = field(factory=lambda: np.zeros((0, 0)))
    judged: FloatArray = field(factory=lambda: np.zeros((0, 0)))
    weight: FloatArray = field(factory=lambda: np.zeros(0))
    pooled: FloatArray = field(factory=lambda: np.zeros(0))
    at: IntArray = field(factory=lambda: np.zeros(0, dtype=np.int64))
    reason: str = ""


@frozen(kw_only=True, eq=False)
class Reference:
    """The reference, laid out by day.

    Attributes:
        days: its counts by day.
        features: names of the features that are compared.
    """

    days: Days
    features: tuple[str, ...]

    @classmethod
    def of(cls, profile: Profile, *, features: Sequence[str], part: timedelta) -> Reference:
        """Lay out a profile; `part` is as `part_length` gives it."""
        return cls(days=Days.of(profile, part=part), features=tuple(features))

    @cached_property
    def cameras(self) -> IntArray:
        """``(n_cameras,)``: every camera is a unit of its own."""
        return np.arange(len(self.days.cameras))

    @cached_property
    def pairs(self) -> IntArray:
        """``(n_pairs, 2)`` int64 camera and class of each class with enough boxes on a camera."""
        return np.argwhere(self.days.boxes.sum(axis=0) >= MIN_COUNT)

    @cached_property
    def pair_of(self) -> IntArray:
        """``(n_cameras, n_classes)`` int64 index of the pair, -1 where there is none."""
        index = np.full(self.days.boxes.shape[1:], -1, dtype=np.int64)
        index[self.pairs[:, 0], self.pairs[:, 1]] = np.arange(len(self.pairs))
        return index

    @cached_property
    def units(self) -> Units:
        """The units of the reference itself."""
        return self.units_of(self.days, self.pair_of)

    def units_of(self, days: Days, pair: IntArray) -> Units:
        """The units of any side; `pair` as `pair_units` gives it."""
        return Units.of(days, reference=self.days, pair=pair, n_pairs=len(self.pairs))

    @cached_property
    def sizes(self) -> Sizes:
        """How much the reference holds."""
        return Sizes.of(self.days, self.units)

    def whole(self, feature: str, level: Level) -> IntArray:
        """Counts ``(n_units, feature bins)`` of all days together; worked out once."""
        key = (feature, level)
        if key not in self._wholes:
            self._wholes[key] = self.days.whole(feature, **self.units.by(level))
        return self._wholes[key]

    @cached_property
    def _wholes(self) -> dict[tuple[str, Level], IntArray]:
        return {}

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """Feature → the thresholds it is counted at; the class mix has none."""
        return self._grids(GRID_QUANTILES)

    @cached_property
    def class_grids(self) -> dict[str, Grid]:
        """Feature → the fewer thresholds that single classes are counted at."""
        return self._grids(CLASS_QUANTILES)

    def _grids(self, quantiles: int) -> dict[str, Grid]:
        one = np.zeros(len(self.cameras), dtype=np.int64)
        return {
            name: Grid.of(self.days.whole(name, unit=one, n_units=1)[0], quantiles=quantiles)
            for name in self.features
            if self.ordered(name)
        }

    def ordered(self, feature: str) -> bool:
        """Whether the bins of a feature have an order."""
        return self.days.features[feature].kind == "ordered"

    def of_box(self, feature: str) -> bool:
        """Whether it is a number of a box."""
        return self.days.features[feature].level == "box"

    @cached_property
    def by_camera(self) -> dict[str, IntArray]:
        """Feature → counts ``(n_days, n_parts, n_cameras, n_bins)`` of the reference."""
        return {name: self.count(self.days, name) for name in self.features}

    @cached_property
    def by_pair(self) -> dict[str, IntArray]:
        """Feature → counts ``(n_days, n_parts, n_pairs, n_bins)`` of the reference."""
        return {name: self.count_pairs(self.days, name) for name in self.by_class}

    @property
    def by_class(self) -> tuple[str, ...]:
        """The features that are tested within each class."""
        return tuple(name for name in self.features if name in BY_CLASS)

    def count(self, days: Days, feature: str) -> IntArray:
        """Counts of any side by the reference's cameras, on its thresholds."""
        unit = index_of(days.cameras, self.days.cameras)
        grid = self.grids.get(feature)
        n_bins = days.n_bins(feature) if grid is None else grid.n_bins
        lookup = np.arange(n_bins) if grid is None else grid.lookup
        return days.counted(
            feature, unit=unit, n_units=len(self.cameras), lookup=lookup, n_bins=n_bins
        )

    def pair_units(self, days: Days) -> IntArray:
        """``(its cameras, its classes)`` int64: which of the reference's pairs each is, or -1."""
        camera = index_of(days.cameras, self.days.cameras)
        class_index = index_of(days.class_ids.tolist(), self.days.class_ids.tolist())
        unit = np.full((len(camera), max(1, len(class_index))), -1, dtype=np.int64)
        known = np.ix_(camera >= 0, class_index >= 0)
        unit[known] = self.pair_of[np.ix_(camera[camera >= 0], class_index[class_index >= 0])]
        return unit

    def count_pairs(self, days: Days, feature: str) -> IntArray:
        """Counts of any side by the reference's pairs of camera and class."""
        grid = self.class_grids[feature]
        return days.counted(
            feature,
            unit=self.pair_units(days),
            n_units=len(self.pairs),
            lookup=grid.lookup,
            n_bins=grid.n_bins,
        )


@frozen(kw_only=True, eq=False)
class Sides:
    """The reference and a week, one after the other.

    Attributes:
        reference: the reference.
        week: the week.
        noise: boxes (frames) at which the scatter of counting equals that of days (`weights_of`).
    """

    reference: Reference
    week: Days
    noise: float = NOISE

    @cached_property
    def current(self) -> BoolArray:
        """``(n_days,)`` which days are of the week."""
        n, m = len(self.reference.days.days), len(self.week.days)
        return np.arange(n + m) >= n

    @cached_property
    def kind(self) -> BoolArray:
        """``(n_days,)`` weekends, which are compared with weekends only.

        A kind of day that only one side has is left out by `curves`: five working days are
        compared with the working days of the reference.
        """
        return np.concatenate([self.reference.days.weekend, self.week.weekend])

    @cached_property
    def class_ids(self) -> IntArray:
        """``(n_classes,)`` int64 classes of both sides: the bins of the class mix."""
        return np.union1d(self.reference.days.class_ids, self.week.class_ids)

    @cached_property
    def by_camera(self) -> dict[str, IntArray]:
        """Feature → counts ``(n_days, n_parts, n_cameras, n_bins)`` of both sides."""
        result = {}
        for name in self.reference.features:
            mine, its = self.reference.by_camera[name], self.reference.count(self.week, name)
            if name == CLASS_MIX:
                mine = spread(mine, self.reference.days.class_ids, self.class_ids)
                its = spread(its, self.week.class_ids, self.class_ids)
            result[name] = np.concatenate([mine, its])
        return result

    @cached_property
    def by_pair(self) -> dict[str, IntArray]:
        """Feature → counts ``(n_days, n_parts, n_pairs, n_bins)`` of both sides."""
        return {
            name: np.concatenate(
                [self.reference.by_pair[name], self.reference.count_pairs(self.week, name)]
            )
            for name in self.reference.by_class
        }

    def cells(self) -> list[Candidate]:
        """Every cell, named only: for methods that need no days."""
        pairs, result = self.reference.pairs, []
        for name in self.reference.features:
            group = OTHER if name not in PRIMARY else ALL
            result.append(Candidate(feature=name, group=group))
            result += [
                Candidate(feature=name, camera=u, group=max(group, CAMERA))
                for u in self.reference.cameras.tolist()
            ]
        for name in self.reference.by_class:
            for k in np.unique(pairs[:, 1]).tolist():
                result.append(Candidate(feature=name, class_index=k, group=CLASS))
                result += [
                    Candidate(feature=name, camera=u, class_index=k, group=CAMERA_CLASS)
                    for u in pairs[pairs[:, 1] == k, 0].tolist()
                ]
        return result

    def candidates(self) -> list[Candidate]:
        """Every cell with its columns, those that cannot be tested with the reason."""
        result = []
        for name in self.reference.features:
            result += self._of_cameras(name)
        for name in self.reference.by_class:
            result += self._of_classes(name)
        return result

    def _of_cameras(self, name: str) -> list[Candidate]:
        ordered = self.reference.ordered(name)
        of = self._curves(self.by_camera[name], ordered=ordered)
        edges = self.reference.grids[name].edges if ordered else np.arange(of.pooled.shape[1])
        units = np.flatnonzero(self._some(of))
        single = self._single(name, of, self.reference.cameras, edges)
        other = name not in PRIMARY
        return [
            self._joint(name, of, units, edges, group=OTHER if other else ALL),
            *(evolve(c, camera=u, group=OTHER if other else CAMERA) for u, c in enumerate(single)),
        ]

    def _of_classes(self, name: str) -> list[Candidate]:
        pairs, edges = self.reference.pairs, self.reference.class_grids[name].edges
        if not len(pairs):
            return []
        of = self._curves(self.by_pair[name], ordered=True)
        some, result = self._some(of), []
        for k in np.unique(pairs[:, 1]).tolist():
            units = np.flatnonzero(pairs[:, 1] == k)
            joint = self._joint(name, of, units[some[units]], edges, group=CLASS)
            result.append(evolve(joint, class_index=k))
            result += [
                evolve(c, camera=int(pairs[u, 0]), class_index=k, group=CAMERA_CLASS)
                for u, c in zip(units, self._single(name, of, units, edges), strict=True)
            ]
        return result

    def _curves(self, counts: IntArray, *, ordered: bool) -> Curves:
        return curves(counts, current=self.current, kind=self.kind, ordered=ordered)

    @staticmethod
    def _some(of: Curves) -> BoolArray:
        """Units with enough days to take part in a joint cell."""
        result: BoolArray = (of.blocks[0] >= MIN_REFERENCE_DAYS) & (of.blocks[1] >= MIN_DAYS)
        return result

    @staticmethod
    def _enough(of: Curves) -> BoolArray:
        """Units with enough days and counts for a cell of their own."""
        result: BoolArray = Sides._some(of) & (of.counted >= MIN_COUNT).all(axis=0)
        return result

    def _joint(
        self, name: str, of: Curves, units: IntArray, edges: IntArray, *, group: int
    ) -> Candidate:
        """All units together."""
        before, now = of.counted[:, units].sum(axis=1).tolist()
        if min(before, now) < MIN_COUNT:
            what = "boxes" if self.reference.of_box(name) else "frames"
            reason = (
                f"{now:,} {what} this week and {before:,} in the reference from cameras with "
                f"{MIN_DAYS} days this week and {MIN_REFERENCE_DAYS} in the reference in "
                f"comparable hours, {MIN_COUNT} are needed on each side"
            )
            return Candidate(feature=name, group=group, reason=reason)
        values, weight, pooled = together(of, units, self.noise)
        keep, _ = thresholds(pooled, ordered=self.reference.ordered(name))
        return Candidate(
            feature=name,
            group=group,
            values=values[:, keep],
            judged=values[:, keep],
            weight=weight,
            pooled=pooled[keep],
            at=edges[keep],
            reason="" if len(keep) else ONE_BIN,
        )

    def _single(self, name: str, of: Curves, units: IntArray, edges: IntArray) -> list[Candidate]:
        """Each of some units by itself, judged against the others."""
        enough, ordered = self._enough(of)[units], self.reference.ordered(name)
        own = unshared(of, units[enough], self.noise, ordered=ordered)
        place, result = np.cumsum(enough) - 1, []
        for i, u in enumerate(units.tolist()):
            if not enough[i]:
                result.append(Candidate(feature=name, reason=self._reason(name, of, u)))
                continue
            keep, level = thresholds(of.pooled[u], ordered=ordered)
            result.append(
                Candidate(
                    feature=name,
                    values=of.deviation[:, u][:, keep],
                    judged=own[:, place[i]][:, level],
                    weight=weights_of(of.size[:, u], self.noise),
                    pooled=of.pooled[u][keep],
                    at=edges[keep],
                    reason="" if len(keep) else ONE_BIN,
                )
            )
        return result

    def _reason(self, name: str, of: Curves, unit: int) -> str:
        """Why a unit cannot be tested."""
        what = "boxes" if self.reference.of_box(name) else "frames"
        before, now = of.counted[:, unit].tolist()
        if min(before, now) < MIN_COUNT:
            return (
                f"{now:,} {what} this week and {before:,} in the reference in comparable hours, "
                f"{MIN_COUNT} are needed on each side"
            )
        days_before, days_now = of.blocks[:, unit].tolist()
        return (
            f"{days_now} days with {what} this week and {days_before} in the reference, "
            f"{MIN_DAYS} and {MIN_REFERENCE_DAYS} are needed"
        )


def spread(counts: IntArray, ids: IntArray, wanted: IntArray) -> IntArray:
    """Counts by class with the classes of both sides."""
    result = np.zeros((*counts.shape[:-1], len(wanted)), dtype=np.int64)
    if len(ids):
        result[..., np.searchsorted(wanted, ids)] = counts
    return result
