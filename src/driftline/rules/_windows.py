"""Buckets → windows: fixed lengths of the series' own time, aligned to the clock.

A window is known by its start, a whole multiple of its length since 1970 UTC. Sums over windows
are sums over integers' bins (one ``bincount``), so a thousand buckets cost what one costs.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from attrs import frozen

from driftline.records import Series
from driftline.rules._judgement import Floats
from driftline.rules._time import Micros, span, starts_of


@frozen(kw_only=True, eq=False)
class Windows:
    """The windows that hold something of a series.

    Attributes:
        starts: ``(n,)`` int64 start of each window, microseconds since 1970, increasing.
        of_bucket: ``(buckets,)`` int64: index into `starts` of each bucket's window.
    """

    starts: Micros
    of_bucket: Micros

    def sum(self, values: Floats) -> Floats:
        """``(n,)`` sum of the buckets' values in each window."""
        return binned(self.of_bucket, values, len(self.starts))


def binned(index: Micros, values: Floats, n: int) -> Floats:
    """``(n,)`` sum of the values with each index."""
    return np.bincount(index, weights=values, minlength=n).astype(np.float64, copy=False)


def windows(times: Micros, every: timedelta) -> Windows:
    """The windows of length `every` that the buckets begin in; `times` must increase."""
    number = times // span(every)
    if not len(number):
        return Windows(starts=number, of_bucket=number)
    new = np.empty(len(number), dtype=np.bool_)
    new[0] = True
    np.not_equal(number[1:], number[:-1], out=new[1:])
    return Windows(starts=number[new] * span(every), of_bucket=np.cumsum(new) - 1)


def at_times(series: Series, times: Micros, *, missing: float) -> Floats:
    """``(len(times),)`` value of a series in the buckets that begin at `times`."""
    own = starts_of(series)
    if own.shape == times.shape and bool((own == times).all()):
        return series.values
    if not len(own):
        return np.full(len(times), missing)
    index = np.minimum(np.searchsorted(own, times), len(own) - 1)
    return np.where(own[index] == times, series.values[index], missing)
