"""Time series: points of unknown order → arrays, with a width and a mark where they settle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np

from driftline.platform._metrics import Window
from driftline.records import Metric, Series

Points: TypeAlias = Mapping[datetime, float]

STATED_WIDTH: Final[Mapping[Window, timedelta]] = {
    "1h": timedelta(minutes=1),
    "30d": timedelta(hours=4),
}
"""The Platform's docs (``deploy/monitoring.md``) say "one minute for 1h … four hours for 30d"
and leave out the three between; those are read off the spacing."""

LATENCIES: Final = frozenset({Metric.LATENCY_P50_MS, Metric.LATENCY_P95_MS})


def bucket_width(window: Window, times: Iterable[datetime]) -> timedelta:
    """Length of a bucket: the stated one, or the smallest spacing, whichever is less.

    Buckets without traffic may be missing, so spacing alone can only be too wide. Zero where
    nothing is stated and fewer than two buckets are there.

    Args:
        window: the window asked for.
        times: starts of buckets, of all series of the reply together.
    """
    ordered = sorted(set(times))
    spacings = [later - earlier for earlier, later in pairwise(ordered)]
    if stated := STATED_WIDTH.get(window):
        spacings.append(stated)
    return min(spacings, default=timedelta(0))


def as_series(
    metric: Metric,
    points: Points,
    *,
    deployment: str,
    width: timedelta,
    settled_until: datetime,
) -> Series:
    """One series, in order of time.

    A latency of 0 is dropped: no answer takes no time, it is how the Platform writes "no data"
    (captured replies of idle endpoints).
    """
    kept = sorted(
        (at, value) for at, value in points.items() if value != 0 or metric not in LATENCIES
    )
    return Series(
        metric=metric,
        deployment=deployment,
        times=np.array(
            [at.astimezone(UTC).replace(tzinfo=None) for at, _ in kept], "datetime64[us]"
        ),
        values=np.array([value for _, value in kept], np.float64),
        width=width,
        settled_until=settled_until,
    )
