"""Series → what a rule has not judged yet, in whole windows → its verdicts → its state.

Pure. What a source answered is judged up to where it is settled, and time the answer does not
cover, or covers in buckets too wide for the rule, is a gap: unjudged, never calm. What callers
pass as samples is judged as it comes; a sample at or before the last one judged is old.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from attrs import field, frozen

from driftline.records import Series
from driftline.rules._judgement import Gap, Reading
from driftline.rules._lifecycle import advance
from driftline.rules._rule import NoDataPolicy, Rule
from driftline.rules._state import State, Step
from driftline.rules._time import ceil, floor, instant, micros, span, starts_of

MINUTE: Final = span(timedelta(minutes=1))


@frozen(kw_only=True, eq=False)
class Segment:
    """Series of one subject over one stretch of time, with one bucket width a metric.

    Attributes:
        series: metric → series.
        start: from when on it is complete, microseconds since 1970; None where nobody
            promises completeness (samples that callers pass).
        end: up to when it is settled; None when the source did not answer.
        clips: clipped series, kept for the other rules that look at the same stretch.
    """

    series: Mapping[str, Series]
    start: int | None
    end: int | None
    clips: dict[tuple[str, int, int], Series] = field(factory=dict, init=False, repr=False)

    def clip(self, metric: str, first: int, last: int) -> Series:
        """The buckets `first` up to, not including, `last`."""
        series = self.series[metric]
        if first == 0 and last == len(series):
            return series
        key = (metric, first, last)
        if key not in self.clips:
            self.clips[key] = _part(series, first, last)
        return self.clips[key]


def _part(series: Series, first: int, last: int) -> Series:
    """A slice of a series, without a second check.

    What was checked needs none, and it would cost a fleet more than all its judgements.
    """
    part = object.__new__(Series)
    for name in ("metric", "width", "deployment", "labels"):
        object.__setattr__(part, name, getattr(series, name))
    object.__setattr__(part, "times", series.times[first:last])
    object.__setattr__(part, "values", series.values[first:last])
    object.__setattr__(part, "settled_until", None)
    return part


@frozen(kw_only=True)
class Followed:
    """A rule's state on a subject after some segments.

    Attributes:
        state: the state.
        memory: what the rule wants to remember.
        steps: what happened, in order.
        gaps: time that was not judged.
        judged: how many samples got a verdict.
    """

    state: State
    memory: Mapping[str, Any]
    steps: tuple[Step, ...] = ()
    gaps: tuple[Gap, ...] = ()
    judged: int = 0


def follow(
    rule: Rule,
    state: State,
    memory: Mapping[str, Any],
    segments: Sequence[Segment],
    *,
    deployment: str,
    labels: Mapping[str, str],
    now: int,
) -> Followed:
    """Judge what is new in some segments, which must be in order of time."""
    steps: list[Step] = []
    gaps: list[Gap] = []
    judged = 0
    for i, segment in enumerate(segments):
        stretch = _stretch(rule, state, segment, segments[i + 1 : i + 2], now)
        if stretch is None:
            state = _begun(rule, state, segment)
            continue
        start, end = stretch
        if segment.start is not None and 0 < state.until < start:
            gaps.append(_gap(state.until, start, "the answer of the source begins later"))
        if reason := _too_wide(rule, segment):
            if state.until or not segments[i + 1 :]:
                gaps.append(_gap(start, end, reason))
            state = state.but({"until": end})
            continue
        if not state.last_end and rule.no_data is not NoDataPolicy.KEEP:
            state = state.but({"last_end": start})  # silence is counted from the first look
        reading = Reading(
            deployment=deployment,
            labels=labels,
            series=_clipped(rule, segment, start, end),
            start=instant(start),
            end=instant(end),
            answered=segment.start is not None,
            memory=memory,
        )
        judgement = rule.judge(reading)
        memory = judgement.memory
        gaps += judgement.gaps
        judged += len(judgement)
        horizon = None if segment.end is None else end
        until = _shown_until(rule, reading)
        state, happened = advance(rule, state, judgement, horizon=horizon, until=until)
        steps += happened
    return Followed(state=state, memory=memory, steps=tuple(steps), gaps=tuple(gaps), judged=judged)


def _stretch(
    rule: Rule, state: State, segment: Segment, following: Sequence[Segment], now: int
) -> tuple[int, int] | None:
    """Start and end of the time to judge in a segment, aligned to the rule's windows."""
    every = span(rule.every) if rule.every is not None else None
    end = segment.end if segment.end is not None else now
    if rule.delay or segment.start is None:
        # What a source says is settled is settled, whatever our clock shows.
        end = min(end, now - span(rule.delay))
    start = state.until if segment.start is None else max(state.until, segment.start)
    if following and following[0].start is not None:
        # The finer answer takes over at its first whole window.
        end = min(end, ceil(following[0].start, every or MINUTE))
    if segment.start is None:
        begins = [int(starts_of(series)[0]) for series in segment.series.values() if len(series)]
        start = max(start, floor(min(begins, default=end), every or 1))
    if every is not None:
        start, end = ceil(start, every), floor(end, every)
    return (start, end) if start < end or segment.start is None else None


def _begun(rule: Rule, state: State, segment: Segment) -> State:
    """From when on the rule wants to know, where not even one window is whole yet."""
    if state.until or segment.start is None:
        return state
    every = span(rule.every) if rule.every is not None else 1
    return state.but({"until": ceil(segment.start, every)})


def _too_wide(rule: Rule, segment: Segment) -> str:
    """Why the buckets cannot make up the rule's windows, "" when they can."""
    if rule.every is None:
        return ""
    for metric in rule.metrics():
        series = segment.series.get(metric)
        if series is None or not len(series):
            continue
        if not series.width:
            if segment.start is not None:
                return "nobody knows how wide the buckets are"
            continue
        if series.width > rule.every or rule.every % series.width:
            return (
                f"buckets of {series.width} cannot make up samples of {rule.every}: "
                "the source keeps finer ones only for the last hour"
            )
    return ""


def _clipped(rule: Rule, segment: Segment, start: int, end: int) -> dict[str, Series]:
    clipped = {}
    for metric in rule.metrics():
        if (series := segment.series.get(metric)) is not None:
            times = starts_of(series)
            first = int(times.searchsorted(start))
            # A bucket that ends at the end is whole. A moment at the end belongs to what follows,
            # unless nothing is promised to follow.
            moments = not series.width and segment.start is not None
            side: Literal["left", "right"] = "left" if moments else "right"
            last = int(times.searchsorted(end - span(series.width), side=side))
            clipped[metric] = segment.clip(metric, first, max(first, last))
    return clipped


def _shown_until(rule: Rule, reading: Reading) -> int:
    """Up to when the rule has now seen all it is going to see."""
    if reading.answered:
        return micros(reading.end)
    # Samples may come a day late or overlap (a weekly number a day), so what tells old from new
    # is only the start of the newest one shown.
    newest = max((int(starts_of(s)[-1]) for s in reading.series.values() if len(s)), default=-1)
    if rule.every is None or newest < 0:
        return newest + 1
    return floor(newest, span(rule.every)) + span(rule.every)


def _gap(start: int, end: int, reason: str) -> Gap:
    return Gap(start=instant(start), end=instant(end), reason=reason)
