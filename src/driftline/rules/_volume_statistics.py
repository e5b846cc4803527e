"""Counts hour by hour: learn some weeks, then judge each hour, day or week against them.

The reference is learnt once, from the first whole days on, and stays: the deployment's first
weeks are what its volume is held against. `driftline.Monitor.forget` begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from attrs import define

from driftline._stats import volume as tests
from driftline._stats.volume import DAYS_A_WEEK, HOURS_A_DAY, Ints, Week
from driftline.rules._judgement import Gap, Judgement
from driftline.rules._time import as_times, instant
from driftline.rules._volume_plain import Counts
from driftline.rules._windows import binned

HOUR: Final = 3_600_000_000

HOURLY_P: Final = 1e-4
"""0.7 false alarms a year of hours; Poisson's tail at the same p has 2,257."""
RUN_P: Final = 1e-2
RUN: Final = 3
"""Three hours in a row below 1e-2: 0.17 false alarms a year, and the way to see a part missing."""
DAILY_P: Final = 1e-3
"""0.6 false alarms a year of days."""
WEEKLY_P: Final = 1e-2
"""0.7 % of calm weeks pass it (0.5 % with the variance between weeks)."""
FEWEST: Final = 5.0
"""An hour with fewer expected is not judged alone."""
TOGETHER: Final = 20.0
"""Hours with few are judged together once this many are expected of them."""
DAYS_OF_WEEK_NEEDED: Final = 5

Resolution = Literal["hourly", "daily", "weekly"]


def judge(
    counts: Counts,
    memory: Mapping[str, Any],
    *,
    resolution: Resolution,
    weeks: int,
    drop: float,
) -> Judgement:
    """Samples of whole hours, days or weeks, each with a verdict.

    Args:
        counts: whole hours, in order.
        memory: what the last judgement left.
        resolution: what is judged.
        weeks: how many weeks to learn.
        drop: for weeks: the share that must be missing, beside the p-value.
    """
    course = _Course(memory, resolution=resolution, weeks=weeks, drop=drop)
    for start, count, exposure in zip(
        counts.starts.tolist(), counts.counts.tolist(), counts.exposures.tolist(), strict=True
    ):
        course.take(_Amount(start // HOUR, 1, count, exposure))
    return course.judgement()


@define
class _Amount:
    """What was counted in some hours.

    Attributes:
        hour: the first of them, hours since 1970.
        hours: how many.
        count: counted.
        exposure: per what.
        mean: what was to be expected.
    """

    hour: int
    hours: int
    count: float
    exposure: float
    mean: float = 0.0

    def plus(self, other: _Amount) -> _Amount:
        """Both together; the second comes later."""
        return _Amount(
            self.hour,
            other.hour + other.hours - self.hour,
            self.count + other.count,
            self.exposure + other.exposure,
            self.mean + other.mean,
        )

    def to_json(self) -> list[float]:
        """As JSON."""
        return [self.hour, self.hours, self.count, self.exposure, self.mean]


class _Course:
    """Hours as they come; holds what is remembered and the samples made on the way."""

    def __init__(
        self, memory: Mapping[str, Any], *, resolution: Resolution, weeks: int, drop: float
    ) -> None:
        self.memory: dict[str, Any] = dict(memory)
        self.resolution = resolution
        self.cells = _WEEK_CELLS if resolution == "weekly" else _DAY_CELLS
        self.weeks = weeks
        self.drop = drop
        self.rows: list[tuple[int, int, float, float, bool, bool]] = []
        self.gaps: list[Gap] = []

    def take(self, hour: _Amount) -> None:
        """One more hour."""
        if "fit" not in self.memory and not self.learnt(hour):
            return
        cell = _cells(np.array([hour.hour]), self.cells)[0]
        rate = self.memory["fit"]["rate"][cell]
        if rate is None:
            self.gap(hour, "the reference has nothing at this hour of the week")
            return
        hour.mean = rate * hour.exposure
        if self.resolution == "hourly":
            self.hourly(hour)
        else:
            self.daily(hour)

    # --- learning ----------------------------------------------------------------------------

    def learnt(self, hour: _Amount) -> bool:
        """Whether the reference is complete before this hour; else the hour goes into it."""
        first = self.memory.get("from")
        if first is None:
            first = -(-hour.hour // HOURS_A_DAY)  # the first whole day
            self.memory = {"from": first, "h": [], "c": [], "e": []}
        today = hour.hour // HOURS_A_DAY
        past = today - first
        if past >= DAYS_A_WEEK * self.weeks and self.fit(before=today):
            return True
        if past >= 0:
            for name, value in (("h", hour.hour), ("c", hour.count), ("e", hour.exposure)):
                self.memory[name] = [*self.memory[name], value]
        told = min(max(past, 0), DAYS_A_WEEK * self.weeks)
        self.gap(hour, f"learning what is usual: {told} of {DAYS_A_WEEK * self.weeks} days")
        return False

    def fit(self, *, before: int) -> bool:
        """Make the reference of the days that are over; False when too few were observed."""
        hours = np.array(self.memory["h"], dtype=np.int64)
        over = hours < before * HOURS_A_DAY
        hours = hours[over]
        counts = np.array(self.memory["c"], dtype=np.float64)[over]
        exposures = np.array(self.memory["e"], dtype=np.float64)[over]
        days = hours // HOURS_A_DAY
        if len(np.unique(days)) < _OBSERVED * DAYS_A_WEEK * self.weeks:
            return False
        cells = _cells(hours, self.cells)
        rate = tests.rates(cells, counts, exposures, self.cells)
        means = rate[cells] * exposures
        found: dict[str, Any] = {"rate": [None if r != r else r for r in rate.tolist()]}  # noqa: PLR0124 - nan
        whole, index = np.unique(days, return_inverse=True)
        day_counts = binned(index, counts, len(whole))
        day_means = binned(index, means, len(whole))
        if self.resolution == "hourly":
            found["alpha"] = tests.dispersion(counts, means, cells)
        elif self.resolution == "daily":
            kinds = (tests.weekday(whole) >= DAYS_A_WEEK - 2).astype(np.int64)
            found["alpha"] = tests.dispersion(day_counts, day_means, kinds)
        else:
            ratios = tests.log_ratios(day_counts, day_means)
            found["week"] = list(tests.reference_week(ratios, whole))
        self.memory = {"from": self.memory["from"], "fit": found}
        return True

    # --- judging -----------------------------------------------------------------------------

    def hourly(self, hour: _Amount) -> None:
        """Judge an hour, or keep it until enough are expected of several."""
        if kept := self.memory.pop("kept", None):
            hour = _Amount(*kept).plus(hour)
        if hour.mean < (FEWEST if hour.hours == 1 else TOGETHER):
            self.memory["kept"] = hour.to_json()
            return
        p = tests.lower_tail(hour.count, hour.mean, self.memory["fit"]["alpha"])
        before = self.memory.pop("low", 0)
        low = before + 1 if p < RUN_P else 0
        if low:
            self.memory["low"] = low
        self.sample(hour, breach=p < HOURLY_P or low >= RUN, good=p >= RUN_P)

    def daily(self, hour: _Amount) -> None:
        """Add an hour to its day; judge the day once it is over."""
        kept = self.memory.pop("day", None)
        day = None if kept is None else _Amount(*kept)
        if day is not None and day.hour // HOURS_A_DAY != hour.hour // HOURS_A_DAY:
            self.day_over(day)
            day = None
        day = hour if day is None else day.plus(hour)
        if hour.hour % HOURS_A_DAY == HOURS_A_DAY - 1:
            self.day_over(day)
        else:
            self.memory["day"] = day.to_json()

    def day_over(self, day: _Amount) -> None:
        if self.resolution == "weekly":
            self.weekly(day)
            return
        p = tests.lower_tail(day.count, day.mean, self.memory["fit"]["alpha"])
        self.sample(_whole(day, 1), breach=p < DAILY_P, good=p >= RUN_P)

    def weekly(self, day: _Amount) -> None:
        """Add a day to its week of the reference's rhythm; judge the week once it is over."""
        number = (day.hour // HOURS_A_DAY - self.memory["from"]) // DAYS_A_WEEK
        kept = self.memory.pop("week", None)
        if kept is not None and kept["number"] != number:
            self.week_over(kept)
            kept = None
        days: list[list[float]] = [] if kept is None else kept["days"]
        week = {"number": number, "days": [*days, day.to_json()]}
        last = (day.hour // HOURS_A_DAY - self.memory["from"]) % DAYS_A_WEEK == DAYS_A_WEEK - 1
        if last:
            self.week_over(week)
        else:
            self.memory["week"] = week

    def week_over(self, week: Mapping[str, Any]) -> None:
        days = [_Amount(*day) for day in week["days"]]
        total = days[0]
        for day in days[1:]:
            total = total.plus(day)
        start = (self.memory["from"] + DAYS_A_WEEK * week["number"]) * HOURS_A_DAY
        total.hour = start
        if len(days) < DAYS_OF_WEEK_NEEDED:
            self.gap(_whole(total, DAYS_A_WEEK), f"only {len(days)} days of the week were observed")
            return
        counts = np.array([day.count for day in days])
        means = np.array([day.mean for day in days])
        reference = Week(*self.memory["fit"]["week"])
        p, ratio = tests.week_p(reference, tests.log_ratios(counts, means))
        breach = p < WEEKLY_P and ratio <= 1 - self.drop
        self.sample(_whole(total, DAYS_A_WEEK), breach=breach, good=not breach)

    # --- what comes of it --------------------------------------------------------------------

    def sample(self, amount: _Amount, *, breach: bool, good: bool) -> None:
        start, end = amount.hour * HOUR, (amount.hour + amount.hours) * HOUR
        value, usual = amount.count / amount.exposure, amount.mean / amount.exposure
        self.rows.append((start, end, value, usual, breach, good and not breach))

    def gap(self, amount: _Amount, reason: str) -> None:
        start, end = instant(amount.hour * HOUR), instant((amount.hour + amount.hours) * HOUR)
        last = self.gaps[-1] if self.gaps else None
        if last is not None and last.end == start and last.reason == reason:
            self.gaps[-1] = Gap(start=last.start, end=end, reason=reason)
        else:
            self.gaps.append(Gap(start=start, end=end, reason=reason))

    def judgement(self) -> Judgement:
        columns = list(zip(*self.rows, strict=True)) or [()] * 6
        return Judgement(
            starts=as_times(np.array(columns[0], dtype=np.int64)),
            ends=as_times(np.array(columns[1], dtype=np.int64)),
            values=np.array(columns[2], dtype=np.float64),
            thresholds=np.array(columns[3], dtype=np.float64),
            breach=np.array(columns[4], dtype=np.bool_),
            good=np.array(columns[5], dtype=np.bool_),
            gaps=tuple(self.gaps),
            memory=self.memory,
        )


_OBSERVED: Final = 0.75


def _cells(hours: Ints, n: int) -> Ints:
    return tests.hour_of_week(hours) if n == _WEEK_CELLS else tests.hour_of_day_kind(hours)


_WEEK_CELLS: Final = DAYS_A_WEEK * HOURS_A_DAY
_DAY_CELLS: Final = 2 * HOURS_A_DAY


def _whole(amount: _Amount, days: int) -> _Amount:
    """The same amount, said of the whole days that it was observed in."""
    first = amount.hour // HOURS_A_DAY * HOURS_A_DAY
    return _Amount(first, days * HOURS_A_DAY, amount.count, amount.exposure, amount.mean)
