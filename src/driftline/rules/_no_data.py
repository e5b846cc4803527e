"""Numbers that ought to come and do not."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from attrs import Factory, field, frozen

from driftline._checks import not_negative
from driftline.records import Metric, Series, Severity
from driftline.rules._checks import SEVERITY, named
from driftline.rules._examples import constant
from driftline.rules._judgement import Judgement, Reading
from driftline.rules._latency import minutes_text
from driftline.rules._rule import NoDataPolicy, Rule


def _own_name(rule: NoData) -> str:
    return f"no-data:{rule.series}"


@frozen(kw_only=True)
class NoData(Rule):
    """Fires when nothing has been seen of a metric for `no_data_after`.

    It also fires when the source has not answered for that long: a dead platform is no data
    either. The summary says which of the two it is.

    Attributes:
        series: the metric that ought to come.
    """

    series: str = Metric.REQUESTS
    name: str = field(default=Factory(_own_name, takes_self=True), validator=named)
    severity: Severity = field(default=Severity.ERROR, validator=SEVERITY)
    no_data: NoDataPolicy = field(default=NoDataPolicy.ALERT, init=False)
    no_data_after: timedelta = field(default=timedelta(minutes=30), validator=not_negative)

    def metrics(self) -> tuple[str, ...]:
        """The metric that ought to come."""
        return (self.series,)

    def judge(self, reading: Reading) -> Judgement:
        """Whatever comes is good."""
        found = reading.get(self.series)
        return Judgement.of(found, breach=np.zeros(len(found), dtype=np.bool_), threshold=0.0)

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """One bucket and then nothing, or a bucket each minute."""
        if breach:
            return tuple(
                Series(metric=s.metric, times=s.times[:1], values=s.values[:1], width=s.width)
                for s in constant(self, {self.series: 1.0}, breach=True, start=start)
            )
        return constant(self, {self.series: 1.0}, breach=False, start=start)

    def summary(self, value: float, threshold: float) -> str:
        """That nothing comes."""
        del value, threshold
        return f"no {self.series} has been seen"

    def expected(self, threshold: float) -> str:
        """How often something ought to come."""
        del threshold
        return f"something at least every {minutes_text(self.no_data_after)}"
