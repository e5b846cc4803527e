"""Whole microseconds since 1970: what the engine counts in, exact where floats are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.records import Series

Micros = npt.NDArray[np.int64]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(when: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (when - EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The aware time of so many microseconds since 1970, in UTC."""
    return EPOCH + timedelta(microseconds=us)


def span(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // _MICROSECOND


def floor(us: int, every: int) -> int:
    """The latest multiple of `every` that is not after `us`: windows are aligned to the clock."""
    return us // every * every


def ceil(us: int, every: int) -> int:
    """The earliest multiple of `every` that is not before `us`."""
    return -(-us // every) * every


def starts_of(series: Series) -> Micros:
    """The bucket starts of a series in microseconds, without a copy."""
    return series.times.astype("datetime64[us]", copy=False).view(np.int64)


def as_times(us: Micros) -> npt.NDArray[np.datetime64]:
    """Microseconds as the datetime64[us] of a series, without a copy."""
    return us.astype(np.int64, copy=False).view("datetime64[us]")
