"""Periods of equal length, laid end to end; weeks begin on Monday."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._clock import as_duration
from driftline.errors import InputError
from driftline.records import as_timedelta64

MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
"""Where the count of periods begins: a Monday, so that periods of seven days are weeks."""
DAY = timedelta(days=1)


@frozen(kw_only=True)
class Calendar:
    """How time is cut into periods.

    Attributes:
        period: length of a period; it divides a day, or is a whole number of days.
        utc_offset: how far local midnight lies before midnight UTC: ``timedelta(hours=1)``
            for days of Central European standard time. It is fixed: a day has 24 hours, so
            daylight saving time moves the clock on the wall against the day, by one hour.
    """

    period: timedelta = DAY
    utc_offset: timedelta = timedelta(0)

    def __attrs_post_init__(self) -> None:
        """Refuse periods that do not line up with days."""
        period = as_duration(self.period, name="period")
        if period <= timedelta(0) or (DAY % period if period < DAY else period % DAY):
            msg = f"period={period} must divide a day or be a whole number of days"
            raise InputError(msg)
        if abs(as_duration(self.utc_offset, name="utc_offset")) >= DAY:
            msg = f"utc_offset={self.utc_offset} must be less than a day"
            raise InputError(msg)

    def start(self, at: datetime) -> datetime:
        """Start of the period that an aware time falls in, UTC."""
        anchor = MONDAY - self.utc_offset
        return anchor + (at - anchor) // self.period * self.period

    def starts(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
        """Start of the period that each time (UTC) falls in, datetime64[us]."""
        exact = times.astype("datetime64[us]")
        if np.isnat(exact).any():
            msg = "a time is missing (NaT); every frame needs the time it was taken at"
            raise InputError(msg)
        step = as_timedelta64(self.period)
        anchor = np.datetime64((MONDAY - self.utc_offset).replace(tzinfo=None), "us")
        return anchor + (exact - anchor) // step * step
