"""Periods of equal length, laid end to end; weeks begin on Monday."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._clock import as_duration, as_utc
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
        """Start of the period that an aware time falls in, UTC.

        Raises:
            InputError: `at` is naive, or its period does not end within the years 1 to 9999.
        """
        moment, anchor = as_utc(at, name="at"), MONDAY - self.utc_offset
        try:
            start = anchor + (moment - anchor) // self.period * self.period
            _ = start + self.period
        except OverflowError as exc:
            raise _out_of_time(at.isoformat()) from exc
        return start

    def starts(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
        """Start of the period that each time (UTC) falls in, datetime64[us].

        Raises:
            InputError: `times` are no datetime64, one is missing, or the period of one does not
                end within the years 1 to 9999.
        """
        given: object = times
        if not isinstance(given, np.ndarray) or given.dtype.kind != "M":
            msg = f"times={given!r:.200} must be an array of datetime64, in UTC"
            raise InputError(msg)
        exact = times.astype("datetime64[us]")
        if np.isnat(exact).any():
            msg = "a time is missing (NaT); every frame needs the time it was taken at"
            raise InputError(msg)
        step = as_timedelta64(self.period)
        anchor = np.datetime64((MONDAY - self.utc_offset).replace(tzinfo=None), "us")
        starts = anchor + (exact - anchor) // step * step
        if (far := (starts < _FIRST) | (starts > _LAST - step)).any():
            raise _out_of_time(str(exact[far][0]))
        return starts


_FIRST = np.datetime64(datetime.min, "us")  # noqa: DTZ901  a datetime64 has no zone
_LAST = np.datetime64(datetime.max, "us")  # noqa: DTZ901  as above


def _out_of_time(at: str) -> InputError:
    return InputError(f"at={at} lies at the end of time; check the clock of the camera")
