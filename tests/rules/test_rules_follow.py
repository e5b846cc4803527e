"""From series to what is new in them: late, twice, too wide, half covered, still filling."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules_support import MINUTE, START

from driftline import rules
from driftline.records import Metric, Series
from driftline.rules import Change, Phase
from driftline.rules._follow import Segment, follow
from driftline.rules._state import State
from driftline.rules._time import instant, micros, span

RUNBOOK = "Look"
US = span(MINUTE)
T0 = micros(START)


def made(metric, values, *, first=0, width=1):
    """A series of buckets of `width` minutes, the first one `first` minutes after the start."""
    times = T0 + (first + width * np.arange(len(values))) * US
    return Series(
        metric=metric,
        times=times.astype(np.int64).view("datetime64[us]"),
        values=np.array(values, dtype=float),
        width=width * MINUTE,
    )


def segment(p95, *, first=0, start=None, end=None, width=1, answered=True):
    """What a platform answers: p95 by minute, ten requests each."""
    series = {
        Metric.LATENCY_P95_MS: made(Metric.LATENCY_P95_MS, p95, first=first, width=width),
        Metric.REQUESTS: made(Metric.REQUESTS, [10.0] * len(p95), first=first, width=width),
    }
    last = first + width * len(p95)
    return Segment(
        series=series,
        start=T0 + (first if start is None else start) * US if answered else None,
        end=T0 + (last if end is None else end) * US,
    )


def run(rule, segments, state=None, *, now=10_000):
    return follow(
        rule, state or State(), {}, segments, deployment="d", labels={}, now=T0 + now * US
    )


def latency(**how):
    return rules.LatencyBudget(p95_ms=250, samples=2, runbook=RUNBOOK, **how)


def minutes(us: int) -> float:
    return (us - T0) / US


class TestWhatIsNew:
    def test_a_bucket_still_filling_is_not_judged(self):
        """Nothing after the end of what is settled counts, nor a window that reaches beyond."""
        found = run(latency(), [segment([400] * 20, end=13)])
        assert (2, 10) == (found.judged, minutes(found.state.until))

    def test_twice_is_once(self):
        """The same answer judged again changes nothing."""
        once = run(latency(), [segment([400] * 20)])
        twice = run(latency(), [segment([400] * 20)], once.state)
        assert ((), 0) == (twice.steps, twice.judged)
        assert once.state == twice.state

    def test_only_whole_windows_of_the_answer(self):
        """A window of which the answer has only a part is not judged by that part."""
        found = run(latency(), [segment([400] * 20, first=3)])
        assert 3 == found.judged

    def test_late_is_the_same(self):
        """An hour at once gives what twelve runs give, at the same times."""
        values = [100] * 15 + [400] * 20 + [100] * 25
        at_once = run(latency(), [segment(values)])
        state, steps = State(), []
        for i in range(0, 60, 5):
            part = run(latency(), [segment(values, end=i + 5)], state)
            state, steps = part.state, [*steps, *part.steps]
        assert list(at_once.steps) == steps
        assert [Change.PENDING, Change.FIRING, Change.RESOLVED] == [s.change for s in steps]

    def test_delay(self):
        """Time younger than the delay waits."""
        found = run(latency(delay=7 * MINUTE), [segment([400] * 20)], now=20)
        assert 2 == found.judged


class TestGaps:
    def test_uncovered_time_is_unjudged(self):
        """Time between the last run and the answer's start is reported, not taken for calm."""
        first = run(latency(), [segment([100] * 10)])
        later = run(latency(), [segment([100] * 10, first=30)], first.state)

        (gap,) = later.gaps
        assert (instant(T0 + 10 * US), instant(T0 + 30 * US)) == (gap.start, gap.end)

    def test_wider_buckets_that_fit(self):
        """Five-minute buckets make up five-minute samples as well as one-minute ones do."""
        first = run(latency(), [segment([100] * 10)])
        wide = segment([400] * 12, first=0, width=5)
        fine = segment([400] * 10, first=48)
        later = run(latency(), [wide, fine], first.state)

        assert () == later.gaps
        assert Phase.FIRING is later.state.phase
        assert 15 == minutes(next(s for s in later.steps if s.change is Change.PENDING).at)

    def test_wider_buckets_that_do_not_fit(self):
        """What ten-minute buckets cannot judge is unjudged, and says why."""
        first = run(latency(), [segment([100] * 10)])
        wide = segment([400] * 6, first=0, width=10)
        fine = segment([400] * 11, first=49)
        later = run(latency(), [wide, fine], first.state)

        (gap,) = later.gaps
        assert (instant(T0 + 10 * US), instant(T0 + 50 * US)) == (gap.start, gap.end)
        assert "cannot make up samples" in gap.reason
        assert 2 == later.judged

    def test_a_breach_lasts_over_a_gap(self):
        """Unjudged time neither ends an alert nor counts as recovery."""
        first = run(latency(), [segment([400] * 10)])
        later = run(latency(), [segment([400] * 10, first=40)], first.state)
        assert (Phase.FIRING, ()) == (later.state.phase, later.steps)

    def test_wide_windows_begin_with_the_first_answer(self):
        """A rule of hours wants to know from its first look on, though no hour was whole then."""
        rule = rules.Threshold(
            series=Metric.LATENCY_P95_MS, above=250, every=timedelta(hours=1), runbook=RUNBOOK
        )
        found = run(rule, [segment([400] * 58, first=5)])
        assert (0, 60) == (found.judged, minutes(found.state.until))


class TestSamplesOfCallers:
    def rule(self, **how):
        return rules.Threshold(series="x", above=1, runbook=RUNBOOK, **how)

    def samples(self, values, *, first=0, width=1):
        return Segment(
            series={"x": made("x", values, first=first, width=width)},
            start=None,
            end=T0 + 1_000_000 * US,
        )

    def test_a_day_late(self):
        """What comes a day late is judged, if nothing later of the same slice was."""
        assert 3 == run(self.rule(), [self.samples([2, 2, 2])], now=2000).judged

    def test_old_news(self):
        """A sample that is not newer than the last one judged is not judged again."""
        first = run(self.rule(), [self.samples([2, 2, 2])])
        assert 1 == run(self.rule(), [self.samples([0, 0, 0, 0])], first.state).judged

    def test_overlapping_weeks(self):
        """A weekly number each day: each is new although it begins before the last one ended."""
        state, judged = State(), 0
        for day in range(3):
            one = self.samples([2], first=day * 1440, width=7 * 1440)
            found = run(self.rule(), [one], state, now=20_000)
            state, judged = found.state, judged + found.judged
        assert 3 == judged

    def test_not_yet_over(self):
        """A sample that covers time to come is not judged yet."""
        assert 0 == run(self.rule(), [self.samples([2], width=60)], now=59).judged
        assert 1 == run(self.rule(), [self.samples([2], width=60)], now=60).judged

    def test_windows_wait_until_they_are_whole(self):
        """A window of samples is judged once it is over."""
        rule = self.rule(every=5 * MINUTE)
        found = run(rule, [self.samples([2] * 8)], now=9)
        assert (1, 5) == (found.judged, minutes(found.state.until))


@given(
    st.lists(st.sampled_from([100, 220, 400]), min_size=30, max_size=120),
    st.lists(st.integers(1, 50), max_size=8),
    st.sampled_from([(1, None), (2, None), (2, 4)]),
)
@settings(max_examples=150, deadline=None)
def test_runs_may_come_whenever(values, waits, hold):
    """Whatever the times of the runs, and however often each comes, the steps are the same.

    The source keeps its buckets for an hour, as the Platform does its finest ones, and the runs
    are less than an hour apart.
    """
    rule = rules.LatencyBudget(
        p95_ms=250, samples=hold[0], of=hold[1], recover_below_ms=200, runbook=RUNBOOK
    )
    # The first look decides what is the first window judged: it is the same for both.
    first = run(rule, [segment(values, end=10)])
    at_once = run(rule, [segment(values)], first.state)
    state, steps, clock = first.state, [], 10
    for wait in [*waits, 50, 50, 50]:
        clock = min(clock + wait, len(values))
        since = max(0, clock - 60)
        for _ in range(2):
            part = run(rule, [segment(values[since:], first=since, end=clock)], state)
            state, steps = part.state, [*steps, *part.steps]

    assert list(at_once.steps) == steps


@pytest.mark.parametrize("width", [3, 7, 60])
def test_odd_widths_are_unjudged(width):
    """Buckets whose width does not divide a window cannot make it up."""
    found = run(latency(), [segment([400] * 10, width=width)])
    assert (0, 1) == (found.judged, len(found.gaps))
