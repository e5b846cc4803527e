"""Share of failed requests above a limit for some minutes."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from attrs import Factory, field, frozen

from driftline._checks import number, positive
from driftline.records import Metric, Series, as_timedelta64
from driftline.rules._checks import AT_LEAST_ONE, as_minutes, recovery_side
from driftline.rules._examples import constant
from driftline.rules._judgement import Gap, Judgement, Reading
from driftline.rules._latency import minutes_text
from driftline.rules._rule import Rule
from driftline.rules._time import as_times, starts_of
from driftline.rules._windows import at_times, windows

_FRACTION = number("a fraction in [0, 1), such as 0.01 for 1 %", least=0, below=1)


def _hold(rule: ErrorRate) -> timedelta:
    return timedelta(minutes=rule.minutes)


@frozen(kw_only=True)
class ErrorRate(Rule):
    """Fires when the share of failed requests stays above a limit for some minutes.

    The guide pages above 1 % for 5 minutes or more. The rate of a minute is its errors by its
    requests, both counts of 1-minute buckets; the Platform's own rate field is never used,
    as its unit is stated nowhere. Errors are 4xx and 5xx answers, so refused input counts.
    A minute without requests is no sample; a minute with requests for which the Platform lists
    no errors had none. The minutes are those with requests: 5 minutes means five minutes that
    each were above the limit, with no good one in between.

    Attributes:
        above: the limit as a fraction, in [0, 1); a minute above it breaches.
        minutes: for how many minutes.
        recover_below: a minute at or below this fraction is good; None: the limit itself.
        min_requests: a minute with fewer requests is no sample.
    """

    above: float = field(validator=_FRACTION)
    minutes: float = field(default=5, converter=as_minutes)
    recover_below: float | None = field(default=None, validator=recovery_side("above"))
    min_requests: int = field(default=1, validator=AT_LEAST_ONE)
    recover_samples: int = field(default=5, validator=AT_LEAST_ONE)
    every: timedelta = field(default=timedelta(minutes=1), validator=positive)
    hold: timedelta = field(default=Factory(_hold, takes_self=True), init=False)
    unit: str = ""

    def metrics(self) -> tuple[str, ...]:
        """Errors and requests."""
        return (Metric.ERRORS, Metric.REQUESTS)

    def judge(self, reading: Reading) -> Judgement:
        """One sample for each minute with requests."""
        if Metric.REQUESTS not in reading.series or Metric.ERRORS not in reading.series:
            reason = "counts of errors and of requests are both needed, one is missing"
            return Judgement.nothing(
                gaps=(Gap(start=reading.start, end=reading.end, reason=reason),)
            )
        requests = reading.series[Metric.REQUESTS]
        buckets = starts_of(requests)
        errors = at_times(reading.series[Metric.ERRORS], buckets, missing=0.0)
        found = windows(buckets, self.every)
        total = found.sum(requests.values)
        seen = total >= max(self.min_requests, 1e-9)
        rate = found.sum(errors)[seen] / total[seen]
        starts = as_times(found.starts[seen])
        recovered = self.above if self.recover_below is None else self.recover_below
        return Judgement(
            starts=starts,
            ends=starts + as_timedelta64(self.every),
            values=rate,
            breach=rate > self.above,
            good=rate <= recovered,
            thresholds=np.full(len(rate), float(self.above)),
        )

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """A thousand requests a minute: half-way between the limit and all failing, or none."""
        share = (1 + self.above) / 2 if breach else 0.0
        requests = max(1000.0, float(self.min_requests))
        return constant(
            self,
            {Metric.ERRORS: share * requests, Metric.REQUESTS: requests},
            breach=breach,
            start=start,
        )

    def summary(self, value: float, threshold: float) -> str:
        """The rate in percent and the limit."""
        return f"{100 * value:.3g} % of requests fail, the limit is {100 * threshold:.3g} %"

    def expected(self, threshold: float) -> str:
        """The limit and for how long it may be passed."""
        return (
            f"at most {100 * threshold:.3g} % of requests failing; pages after "
            f"{minutes_text(self.hold)} above it"
        )
