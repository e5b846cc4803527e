"""A rule's own example, made ready for the engine."""

from __future__ import annotations

from datetime import datetime, timedelta

from driftline.errors import InputError
from driftline.rules._follow import Segment
from driftline.rules._rule import NoDataPolicy, Rule
from driftline.rules._time import ceil, micros, span, starts_of

MINUTE = timedelta(minutes=1)


def rehearsal(rule: Rule, *, breach: bool, start: datetime) -> Segment:
    """The example as a source would answer it, settled to its end.

    Where the rule minds missing data, a breach goes on in silence for as long as it takes.

    Raises:
        InputError: the example has no bucket.
    """
    series = rule.example(breach=breach, start=start)
    ends = [int(starts_of(s)[-1]) + (span(s.width) or span(MINUTE)) for s in series if len(s)]
    if not ends:
        msg = f"{rule.name}: example(breach={breach}) has no bucket, so it shows nothing"
        raise InputError(msg)
    end = max(ends)
    if breach and rule.no_data in {NoDataPolicy.ALERT, NoDataPolicy.BREACH}:
        end += span(rule.no_data_after) + span(MINUTE)
    return Segment(series={s.metric: s for s in series}, start=micros(start), end=end)


def step_of(rule: Rule) -> int:
    """What the start of an example is a multiple of, microseconds."""
    return span(rule.every if rule.every is not None else MINUTE)


def after(rule: Rule, segment: Segment) -> int:
    """The earliest start of an example that comes after a segment, microseconds since 1970."""
    assert segment.end is not None
    return ceil(segment.end, step_of(rule))
