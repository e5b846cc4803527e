"""Which time a sample is sent with: intakes of metrics take the recent past only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from driftline.records import Sample

STANDING: Final = ("accuracy.", "drift.")
"""Prefixes of metrics that state a result which stands until the next one (weekly mAP, drift)."""


def stamped(
    sample: Sample, *, now: datetime, oldest: timedelta, standing: Sequence[str]
) -> tuple[datetime | None, bool]:
    """The time to send a sample with, and whether that is not its own.

    A sample is sent with the end of the time it covers, when it was known at the earliest, and
    never with a time in the future. One that is older than the intake takes is sent with the
    present time where its result still stands; any other would lie about when it was, and has
    no time.
    """
    at = min(sample.at + sample.width, now)
    if now - at <= oldest:
        return at, False
    return (now, True) if sample.metric.startswith(tuple(standing)) else (None, False)
