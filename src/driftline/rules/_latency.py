"""p95 latency over budget in several samples in a row."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from attrs import field, frozen

from driftline._checks import number, positive
from driftline.records import Metric, Series, as_timedelta64
from driftline.rules._checks import AT_LEAST_ONE, recovery_side
from driftline.rules._examples import constant
from driftline.rules._judgement import Floats, Judgement, Reading
from driftline.rules._rule import Rule
from driftline.rules._time import Micros, as_times, starts_of
from driftline.rules._windows import at_times, windows


@frozen(kw_only=True)
class LatencyBudget(Rule):
    """Fires when the p95 latency is over budget in `samples` samples in a row.

    A sample is a window of `every` (5 minutes: the guide's poll), and the guide pages on three
    or more consecutive ones. The p95 of a window is the mean of its buckets' p95 weighted by
    their requests. That is an approximation, as the percentile of several buckets cannot be
    had from theirs: it lies between the smallest and the largest of them, and it is what the
    Platform's own pages show. A window without requests is no sample.

    Attributes:
        p95_ms: the budget, ms; a sample above it breaches.
        recover_below_ms: a sample at or below it is good; None: the budget itself.
    """

    p95_ms: float = field(validator=number("a number of milliseconds above 0", above=0))
    recover_below_ms: float | None = field(default=None, validator=recovery_side("p95_ms"))
    samples: int = field(default=3, validator=AT_LEAST_ONE)
    recover_samples: int = field(default=2, validator=AT_LEAST_ONE)
    every: timedelta = field(default=timedelta(minutes=5), validator=positive)
    unit: str = "ms"

    def metrics(self) -> tuple[str, ...]:
        """p95 and, for the weights, requests."""
        return (Metric.LATENCY_P95_MS, Metric.REQUESTS)

    def judge(self, reading: Reading) -> Judgement:
        """One sample for each window with requests."""
        starts, p95 = self._samples(reading)
        times = as_times(starts)
        recovered = self.p95_ms if self.recover_below_ms is None else self.recover_below_ms
        return Judgement(
            starts=times,
            ends=times + as_timedelta64(self.every),
            values=p95,
            breach=p95 > self.p95_ms,
            good=p95 <= recovered,
            thresholds=np.full(len(p95), float(self.p95_ms)),
        )

    def _samples(self, reading: Reading) -> tuple[Micros, Floats]:
        p95 = reading.get(Metric.LATENCY_P95_MS)
        times = starts_of(p95)
        requests = reading.series.get(Metric.REQUESTS)
        # Without a series of requests nobody can weight; every bucket then counts the same.
        weights = (
            np.ones(len(times)) if requests is None else at_times(requests, times, missing=0.0)
        )
        seen = (weights > 0) & (p95.values > 0)  # p95 = 0 on the wire means "no data"
        if not seen.all():
            times, weights, values = times[seen], weights[seen], p95.values[seen]
        else:
            values = p95.values
        found = windows(times, self.every)
        return found.starts, found.sum(values * weights) / found.sum(weights)

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """A constant p95: half as much again as the budget, or half of what counts as good."""
        good = self.p95_ms if self.recover_below_ms is None else self.recover_below_ms
        p95 = 1.5 * self.p95_ms if breach else 0.5 * good
        return constant(
            self, {Metric.LATENCY_P95_MS: p95, Metric.REQUESTS: 60.0}, breach=breach, start=start
        )

    def summary(self, value: float, threshold: float) -> str:
        """Value, budget and over how many samples."""
        return f"p95 latency is {value:.0f} ms, the budget is {threshold:.0f} ms"

    def expected(self, threshold: float) -> str:
        """The budget and the samples it is judged by."""
        return (
            f"p95 at or below {threshold:.0f} ms; pages after {self.samples} samples "
            f"of {minutes_text(self.every)} above it"
        )


def minutes_text(duration: timedelta) -> str:
    """A duration in its largest whole unit.

    >>> minutes_text(timedelta(minutes=5)), minutes_text(timedelta(hours=2))
    ('5 min', '2 h')
    """
    seconds = int(duration.total_seconds())
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {name}"
    return f"{duration.total_seconds():g} s"
