"""What intakes of metrics have in common: they take the recent past, and so much at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from driftline.records import Sample

T = TypeVar("T")

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


def batches(sized: Iterable[tuple[T, int]], limit: int) -> Iterator[list[T]]:
    """Items in their order, in lists of at most `limit` bytes; a larger item goes alone.

    >>> list(batches([("a", 2), ("b", 2), ("c", 9), ("d", 1)], 4))
    [['a', 'b'], ['c'], ['d']]
    """
    batch: list[T] = []
    total = 0
    for item, size in sized:
        if batch and total + size > limit:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch
