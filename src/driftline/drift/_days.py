"""A profile laid out by day: which day, which part of it, which camera, which class, which bin.

Only this file reads the cells of a profile; everything after it works on dense arrays of counts
whose first axis is the day.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from driftline.errors import InputError
from driftline.profiles import Feature, Profile
from driftline.profiles._cells import BOXES, FRAMES, Layout, Table
from driftline.records import as_datetime

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
Days64: TypeAlias = npt.NDArray[np.datetime64]

CLASS_MIX = BOXES
"""Name of the feature whose bins are the classes."""
DAY = timedelta(days=1)
DAYS_OF_WEEK = 7


def part_length(period: timedelta, wanted: timedelta) -> timedelta:
    """The shortest part of a day, at least `wanted` long, that whole periods make up.

    >>> part_length(timedelta(hours=4), timedelta(hours=6))
    datetime.timedelta(seconds=28800)
    """
    if period > DAY:
        msg = f"periods of {period} are too long to tell days apart; build profiles by day or hour"
        raise InputError(msg)
    n = DAY // period
    fitting = [k for k in range(1, n + 1) if n % k == 0 and period * k >= min(wanted, DAY)]
    return period * fitting[0]


def complete_days(profile: Profile, until: datetime | None) -> list[datetime]:
    """Ends of the local days of a profile that end by `until` (the end of its last period)."""
    if not len(profile.periods):
        return []
    last = as_datetime(profile.periods[-1]) + profile.period if until is None else until
    offset = np.timedelta64(profile.calendar.utc_offset, "us")
    days = np.unique((profile.periods + offset).astype("datetime64[D]"))
    ends = [
        as_datetime(end)
        for end in (days + np.timedelta64(1, "D")).astype("datetime64[us]") - offset
    ]
    return [end for end in ends if end <= last]


def _texts(days: Days64) -> list[str]:
    return [str(day) for day in days]


@frozen(kw_only=True, eq=False)
class Days:
    """Counts of a profile with local days.

    Attributes:
        days: ``(n_days,)`` datetime64[D] local days with at least one frame, increasing.
        n_parts: parts a day is cut into.
        cameras: names of the cameras.
        class_ids: ``(n_classes,)`` int64.
        features: name → feature, the class mix included.
        frames: ``(n_days, n_cameras)`` int64 frames.
        boxes: ``(n_days, n_cameras, n_classes)`` int64 boxes.
        rows: feature → its counts; in each table ``period`` is ``day * n_parts + part`` and
            ``bin`` counts from the feature's first bin.
    """

    days: Days64
    n_parts: int
    cameras: tuple[str, ...]
    class_ids: IntArray
    features: Mapping[str, Feature]
    frames: IntArray
    boxes: IntArray
    rows: Mapping[str, Table]

    @classmethod
    def of(cls, profile: Profile, *, part: timedelta) -> Days:
        """Lay out a profile; `part` is as `part_length` gives it."""
        offset = np.timedelta64(profile.calendar.utc_offset, "us")
        local = profile.periods.astype("datetime64[us]") + offset
        day_of = local.astype("datetime64[D]")
        days, day = np.unique(day_of, return_inverse=True)
        n_parts = DAY // part
        inside = (local - day_of) // np.timedelta64(part, "us")
        slot = day.reshape(-1) * n_parts + inside.astype(np.int64)
        boxes, frames = profile.tables()
        rows = {
            **_by_feature(boxes, Layout.boxes(profile.histograms), slot),
            **_by_feature(frames, Layout.frames(profile.histograms), slot),
        }
        seen, found = rows.pop(FRAMES), rows[CLASS_MIX]
        shape = (len(days), len(profile.cameras), max(1, len(profile.class_ids)))
        n_frames = np.zeros(shape[:2], dtype=np.int64)
        np.add.at(n_frames, (seen.period // n_parts, seen.camera), seen.count)
        n_boxes = np.zeros(shape, dtype=np.int64)
        np.add.at(n_boxes, (found.period // n_parts, found.camera, found.class_index), found.count)
        rows[CLASS_MIX] = evolve(found, bin=found.class_index)
        return cls(
            days=days,
            n_parts=n_parts,
            cameras=profile.cameras,
            class_ids=profile.class_ids,
            features=profile.features,
            frames=n_frames,
            boxes=n_boxes[..., : len(profile.class_ids)],
            rows=rows,
        )

    @property
    def dates(self) -> tuple[date, ...]:
        """The days as dates."""
        return tuple(self.days.astype(object).tolist())

    @property
    def texts(self) -> list[str]:
        """The days as ISO dates."""
        return _texts(self.days)

    @property
    def empty(self) -> list[str]:
        """ISO dates of the days between the first and the last that have no frame at all."""
        if not len(self.days):
            return []
        every = np.arange(self.days[0], self.days[-1])
        return _texts(np.setdiff1d(every, self.days))

    @property
    def weekend(self) -> npt.NDArray[np.bool_]:
        """``(n_days,)`` Saturdays and Sundays; day 0 of numpy's calendar is a Thursday."""
        weekend: npt.NDArray[np.bool_] = (self.days.astype(np.int64) + 3) % 7 >= 5  # noqa: PLR2004
        return weekend

    def counted(
        self, feature: str, *, unit: IntArray, n_units: int, lookup: IntArray, n_bins: int
    ) -> IntArray:
        """Counts ``(n_days, n_parts, n_units, n_bins)`` of a feature.

        Args:
            feature: name of the feature.
            unit: ``(n_cameras,)`` or ``(n_cameras, n_classes)`` int64: which unit a camera, or
                a camera's class, belongs to; -1 for none.
            n_units: number of units.
            lookup: ``(feature bins,)`` int64: the bin each bin of the feature goes to.
            n_bins: number of those.
        """
        rows = self.rows[feature]
        to = unit[rows.camera] if unit.ndim == 1 else unit[rows.camera, rows.class_index]
        index = (rows.period * n_units + to) * n_bins + lookup[rows.bin]
        count = rows.count
        if to.size and int(to.min()) < 0:
            index, count = index[to >= 0], count[to >= 0]
        shape = (len(self.days), self.n_parts, n_units, n_bins)
        total = np.bincount(index, weights=count, minlength=int(np.prod(shape)))
        return total.astype(np.int64).reshape(shape)

    def whole(self, feature: str, *, unit: IntArray, n_units: int) -> IntArray:
        """Counts ``(n_units, feature bins)`` of all days together, every bin of the feature."""
        rows, n_bins = self.rows[feature], self.n_bins(feature)
        to = unit[rows.camera] if unit.ndim == 1 else unit[rows.camera, rows.class_index]
        index, count = to * n_bins + rows.bin, rows.count
        if to.size and int(to.min()) < 0:
            index, count = index[to >= 0], count[to >= 0]
        total = np.bincount(index, weights=count, minlength=n_units * n_bins)
        return total.astype(np.int64).reshape(n_units, n_bins)

    def n_bins(self, feature: str) -> int:
        """Number of bins of a feature."""
        return (
            max(1, len(self.class_ids)) if feature == CLASS_MIX else self.features[feature].n_bins
        )


def _by_feature(table: Table, layout: Layout, slot: IntArray) -> dict[str, Table]:
    """The rows of each feature, brought together by one sort: numpy's is a radix sort for 16 bits."""
    sizes = np.array(layout.sizes)
    feature = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)[table.bin]
    order = np.argsort(feature, kind="stable")
    ends = np.cumsum(np.bincount(feature, minlength=len(sizes))).tolist()
    period = slot[table.period] if len(slot) else table.period
    result = {}
    for (name, offset, _), start, end in zip(layout, [0, *ends], ends, strict=False):
        mine = order[start:end]
        result[name] = Table(
            period=period[mine],
            camera=table.camera[mine],
            class_index=table.class_index[mine],
            bin=table.bin[mine] - offset,
            count=table.count[mine],
        )
    return result


def index_of(names: Sequence[Hashable], wanted: Sequence[Hashable]) -> IntArray:
    """Where each of `names` (or numbers) is in `wanted`; -1 where it is not."""
    place = {name: i for i, name in enumerate(wanted)}
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)
