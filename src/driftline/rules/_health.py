"""Whether the endpoint answers when it is asked."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import field, frozen

from driftline._checks import positive
from driftline.records import Metric, Series
from driftline.rules._checks import AT_LEAST_ONE
from driftline.rules._examples import constant
from driftline.rules._judgement import Judgement, Reading
from driftline.rules._rule import Rule


@frozen(kw_only=True)
class EndpointHealth(Rule):
    """Fires when the endpoint does not answer well.

    Opt-in with a price: a monitor that has this rule asks each deployment once in `ask_every`. That
    wakes an endpoint that scaled to zero, may take it a minute, may cost, and counts as a request
    in its metrics (contract 0.1.9). While it fires, the alerts on latency, errors and volume of
    the same deployment are withheld: they would say the same.

    Attributes:
        ask_every: how often each deployment is asked at most, however often the monitor runs.
    """

    samples: int = field(default=2, validator=AT_LEAST_ONE)
    ask_every: timedelta = field(default=timedelta(minutes=5), validator=positive)

    def metrics(self) -> tuple[str, ...]:
        """1 healthy, 0 not."""
        return (Metric.HEALTHY,)

    def judge(self, reading: Reading) -> Judgement:
        """One sample for each answer."""
        found = reading.get(Metric.HEALTHY)
        return Judgement.of(found, breach=found.values < 1, threshold=1.0)

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """Unhealthy, or healthy, at each asking."""
        return constant(
            self,
            {Metric.HEALTHY: 0.0 if breach else 1.0},
            breach=breach,
            start=start,
            width=self.ask_every,
            moments=True,
        )

    def summary(self, value: float, threshold: float) -> str:
        """That it does not answer."""
        del value, threshold
        return "the endpoint does not answer its health check"

    def expected(self, threshold: float) -> str:
        """That it does."""
        del threshold
        return f"a healthy answer; pages after {self.samples} failed checks in a row"
