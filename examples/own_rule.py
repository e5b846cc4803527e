"""A rule of one's own: the slowest requests take many times the usual, checked by the suite ours pass.

p95 may be within budget while one request in twenty waits for a cold start. This rule looks at
p95 / p50 in each bucket. Run it anywhere: it needs no network.
"""

from datetime import datetime, timedelta

import numpy as np
from attrs import frozen

from driftline import Monitor, PlatformClient
from driftline.records import Metric, Series
from driftline.rules import Judgement, Reading, Rule, constant
from driftline.sinks import LogSink
from driftline.testing import LocalPlatform, check_rule


@frozen(kw_only=True)
class LongTail(Rule):
    """Fires when p95 is more than `times` the median in `samples` buckets in a row."""

    times: float = 8.0
    samples: int = 5
    name: str = "long-tail"

    def metrics(self) -> tuple[str, ...]:
        return (Metric.LATENCY_P50_MS, Metric.LATENCY_P95_MS)

    def judge(self, reading: Reading) -> Judgement:
        p50, p95 = reading.get(Metric.LATENCY_P50_MS), reading.get(Metric.LATENCY_P95_MS)
        both, at50, at95 = np.intersect1d(p50.times, p95.times, return_indices=True)
        median, slow = p50.values[at50], p95.values[at95]
        seen = (median > 0) & (slow > 0)  # 0 on the wire means "no data"
        ratio = Series(
            metric="latency.tail",
            times=both[seen],
            values=slow[seen] / median[seen],
            width=p95.width,
        )
        return Judgement.of(ratio, breach=ratio.values > self.times, threshold=self.times)

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        p95 = 20.0 * (self.times * 1.5 if breach else 2.0)
        values = {Metric.LATENCY_P50_MS: 20.0, Metric.LATENCY_P95_MS: p95}
        return constant(self, values, breach=breach, start=start)

    def summary(self, value: float, threshold: float) -> str:
        return f"p95 is {value:.1f} times the median, {threshold:.0f} times is the most"

    def expected(self, threshold: float) -> str:
        return f"p95 at most {threshold:.0f} times the median"


def main() -> None:
    rule = LongTail(runbook="Look for cold starts: raise min_instances, then compare p95 again.")
    check_rule(rule)
    print("the rule passes the suite")

    with (
        LocalPlatform(deployments=["line-3"]) as local,
        PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as platform,
    ):
        monitor = Monitor(
            platform,
            deployments=["acme/line-3"],
            rules=[rule],
            sinks=[LogSink()],
            clock=local.clock,
        )
        local.deployment("line-3").behave(requests_per_minute=60, p95_ms=900, p50_ms=60)
        for _ in range(4):
            local.clock.advance(timedelta(minutes=5))
            for alert in monitor.run_once().alerts:
                print(alert.status.value, alert.summary, sep=": ")


if __name__ == "__main__":
    main()
