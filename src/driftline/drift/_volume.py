"""Whether less is found in as many frames: the weekly rate test, on the counts of profiles.

Traffic is not judged here: frames are the exposure, so that a camera that sends fewer frames has
not found less in them. Each hour of the week of each camera has a rate of its own. The alerting
rule with the same test is `driftline.rules.DetectionVolume`; this is the evidence of a week.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import asdict, evolve, field, frozen

from driftline._stats.multiplicity import holm
from driftline._stats.volume import (
    DAYS_A_WEEK,
    log_ratios,
    rates,
    reference_week,
    week_interval,
    week_p,
    weekday,
)
from driftline.drift._days import DAY, part_length
from driftline.profiles import Profile

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
VolumeVerdict: TypeAlias = Literal["usual", "fewer", "too little data"]
"""What a week's volume amounts to, as `VolumeReport.verdict` says it."""

LEAST_DROP = 0.15
"""The least drop a week is told of, as in `driftline.rules.DetectionVolume`."""
LEVEL = 0.95
"""Level of the intervals for the ratio."""
SHOWN = 3
"""Cells that a summary names."""
DAYS_NEEDED, REFERENCE_DAYS_NEEDED = 5, 14
"""Days with frames that a week needs, and the reference: two of each weekday show their scatter."""


@frozen(kw_only=True)
class VolumeCell:
    """Boxes of a week against those that its frames usually hold.

    Attributes:
        camera: name of the camera; None for all together.
        boxes: boxes of the week, in hours that the reference knows.
        expected: how many so many frames of these cameras and hours usually hold.
        frames: frames of the week.
        ratio: boxes over expected, days weighted alike (a geometric mean); nan where not known.
        ratio_low: lower end of its 95 % interval.
        ratio_high: upper end of it.
        p_value: one-sided, that it is no less than usual, adjusted for all cells (Holm).
        fell: significantly, and by a drop worth telling.
        reason: why there is no test; "" where there is one.
    """

    camera: str | None
    boxes: int = 0
    expected: float = 0.0
    frames: int = 0
    ratio: float = math.nan
    ratio_low: float = math.nan
    ratio_high: float = math.nan
    p_value: float = math.nan
    fell: bool = False
    reason: str = ""

    def __str__(self) -> str:
        """The finding in one line."""
        name = "all cameras" if self.camera is None else self.camera
        if self.reason:
            return f"{name}: not tested, {self.reason}"
        return (
            f"{name}: {100 * self.ratio:.0f} % of the usual boxes a frame "
            f"({100 * self.ratio_low:.0f} to {100 * self.ratio_high:.0f} %, p={self.p_value:.2g}), "
            f"{self.boxes:,} boxes in {self.frames:,} frames{', FEWER' if self.fell else ''}"
        )


def _cells(values: Iterable[VolumeCell]) -> tuple[VolumeCell, ...]:
    return tuple(values)


@frozen(kw_only=True)
class VolumeReport:
    """How much was found in the frames of a week, all cameras together and each.

    Attributes:
        start: start of the week, UTC; None when nothing was observed.
        end: end of it, UTC.
        alpha: level of the test, for all cells together.
        cells: all cameras together, then each camera of the reference.
        confidence_moved: whether confidence drifted in the same week; None where not known. Fewer
            boxes at stable confidence are a bug, a camera or a quieter scene, not a worse model.
    """

    start: datetime | None
    end: datetime | None
    alpha: float
    cells: tuple[VolumeCell, ...] = field(converter=_cells)
    confidence_moved: bool | None = None

    @property
    def verdict(self) -> VolumeVerdict:
        """Whether any cell fell; else "too little data" where all together cannot be tested."""
        if any(cell.fell for cell in self.cells):
            return "fewer"
        return "too little data" if self.cells[0].reason else "usual"

    @property
    def summary(self) -> str:
        """What fell most surely, or else how all cameras together do, with the numbers."""
        fallen = sorted((c for c in self.cells if c.fell), key=lambda cell: cell.p_value)
        shown = [str(cell) for cell in fallen[:SHOWN] or self.cells[:1]]
        more = len(fallen) - len(shown)
        return "; ".join([*shown, f"and {more} more"] if more > 0 else shown)

    def __str__(self) -> str:
        """The verdict in a sentence to pass on."""
        told = ""
        if self.verdict == "fewer" and self.confidence_moved is not None:
            told = f"; confidence {'moved as well' if self.confidence_moved else 'is stable'}"
        return f"{self.verdict}: {self.summary}{told}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: nan becomes None, times ISO 8601 in UTC."""
        plain: dict[str, Any] = asdict(self) | {"verdict": self.verdict}
        plain["start"] = None if self.start is None else self.start.isoformat()
        plain["end"] = None if self.end is None else self.end.isoformat()
        plain["cells"] = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in cell.items()}
            for cell in plain["cells"]
        ]
        return plain


@frozen(kw_only=True, eq=False)
class _Side:
    """A profile by period: which local day, which hour of the week, how much.

    Attributes:
        day: ``(n_periods,)`` int64 local days since 1970.
        cell: ``(n_periods,)`` int64 slot of the week.
        n_cells: slots of a week.
        frames: ``(n_periods, n_cameras)``.
        boxes: ``(n_periods, n_cameras)``.
    """

    day: IntArray
    cell: IntArray
    n_cells: int
    frames: FloatArray
    boxes: FloatArray

    @classmethod
    def of(cls, profile: Profile, cameras: Sequence[str]) -> _Side:
        """Lay out a profile by some cameras; those it has not seen sent nothing."""
        part = part_length(profile.period, profile.period)
        local = profile.periods.astype("datetime64[us]") + np.timedelta64(
            profile.calendar.utc_offset, "us"
        )
        day = local.astype("datetime64[D]")
        slot = (local - day) // np.timedelta64(part, "us")
        number = day.astype(np.int64)
        place = {name: i for i, name in enumerate(profile.cameras)}
        columns = [place.get(name, len(place)) for name in cameras]
        frames, boxes = (
            np.pad(table, ((0, 0), (0, 1)))[:, columns].astype(np.float64)
            for table in (profile.frames_by_block(), profile.boxes_by_block())
        )
        return cls(
            day=number,
            cell=weekday(number) * (DAY // part) + slot.astype(np.int64),
            n_cells=DAYS_A_WEEK * (DAY // part),
            frames=frames,
            boxes=boxes,
        )

    def usual(self) -> FloatArray:
        """``(n_cells, n_cameras)`` boxes a frame; nan where nothing was observed."""
        each = zip(self.boxes.T, self.frames.T, strict=True)
        return np.stack([rates(self.cell, b, f, self.n_cells) for b, f in each], axis=1)

    def by_day(self, usual: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Days, and ``(n_days, n_cameras + 1)`` boxes and expected ones; the last is all together."""
        rate = usual[self.cell]
        known = np.isfinite(rate)
        expected = np.where(known, np.where(known, rate, 0.0) * self.frames, 0.0)
        days, index = np.unique(self.day, return_inverse=True)
        total = np.zeros((2, len(days), self.frames.shape[1] + 1))
        for table, values in zip(total, (self.boxes * known, expected), strict=True):
            np.add.at(table[:, :-1], index.reshape(-1), values)
            table[:, -1] = table[:, :-1].sum(axis=1)
        return days, total[0], total[1]


def volume_of(
    reference: Profile, week: Profile, *, alpha: float, confidence_moved: bool | None
) -> VolumeReport:
    """The weekly test of each camera and of all together (see `DriftDetector.volume`)."""
    before = _Side.of(reference, reference.cameras)
    now = _Side.of(week, reference.cameras)
    usual = before.usual()
    earlier, later = before.by_day(usual), now.by_day(usual)
    n = len(reference.cameras)
    cells = []
    for column in (n, *range(n)):
        cell = VolumeCell(
            camera=None if column == n else reference.cameras[column],
            boxes=int(later[1][:, column].sum()),
            expected=float(later[2][:, column].sum()),
            frames=int(now.frames.sum() if column == n else now.frames[:, column].sum()),
        )
        cells.append(_tested(cell, _of(earlier, column), _of(later, column)))
    return VolumeReport(
        start=week.start,
        end=week.end,
        alpha=alpha,
        cells=_judged(cells, alpha),
        confidence_moved=confidence_moved,
    )


def _of(side: tuple[IntArray, FloatArray, FloatArray], column: int) -> tuple[IntArray, FloatArray]:
    """Days on which boxes are to be expected, and their log-ratios."""
    days, boxes, expected = side
    there = expected[:, column] > 0
    return days[there], log_ratios(boxes[there, column], expected[there, column])


def _tested(
    cell: VolumeCell,
    earlier: tuple[IntArray, FloatArray],
    later: tuple[IntArray, FloatArray],
) -> VolumeCell:
    days, ratios = earlier
    if len(days) < REFERENCE_DAYS_NEEDED or len(later[0]) < DAYS_NEEDED:
        reason = (
            f"{len(later[0])} days this week and {len(days)} in the reference in hours that both "
            f"have, {DAYS_NEEDED} and {REFERENCE_DAYS_NEEDED} are needed"
        )
        return evolve(cell, reason=reason)
    known = reference_week(ratios, days)
    p_value, ratio = week_p(known, later[1])
    low, high = week_interval(known, later[1], LEVEL)
    return evolve(cell, ratio=ratio, ratio_low=low, ratio_high=high, p_value=p_value)


def _judged(cells: Sequence[VolumeCell], alpha: float) -> list[VolumeCell]:
    tested = [i for i, cell in enumerate(cells) if not cell.reason]
    adjusted = holm([cells[i].p_value for i in tested]).tolist()
    result = list(cells)
    for i, p in zip(tested, adjusted, strict=True):
        fell = p < alpha and cells[i].ratio <= 1 - LEAST_DROP
        result[i] = evolve(cells[i], p_value=p, fell=fell)
    return result
