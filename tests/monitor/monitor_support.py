"""A platform as a table of minutes, and a clock: what the monitor's tests stand on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np

from driftline import rules
from driftline.errors import NotFound
from driftline.records import LogLine, Metric, Series

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUNBOOK = "Roll back to the previous model"
LINE = "acme/line-3"
WIDTHS = {"1h": (60, 1), "6h": (360, 5), "24h": (1440, 60), "7d": (10080, 60), "30d": (43200, 240)}


def latency(**how):
    return rules.LatencyBudget(p95_ms=250, samples=3, runbook=RUNBOOK, **how)


def errors(**how):
    return rules.ErrorRate(above=0.01, minutes=5, runbook=RUNBOOK, **how)


class Table:
    """Answers as the Platform does: buckets by window, a lag, a rule for each number.

    Each number is a function of the minute since the start; `requests` of 0 leaves the bucket out.
    """

    def __init__(self, clock, deployments=(LINE,)):
        self.clock = clock
        self.known = set(deployments)
        self.p95: Callable[[float], float] = lambda _minute: 100.0
        self.errors: Callable[[float], float] = lambda _minute: 0.0
        self.requests: Callable[[float], float] = lambda _minute: 60.0
        self.healthy = True
        self.lines: list[LogLine] = []
        self.fault: Callable[[str, str], Exception | None] = lambda _what, _deployment: None
        self.asked: list[tuple[str, str, str]] = []

    def _ask(self, what, deployment, more=""):
        self.asked.append((what, deployment, more))
        if (error := self.fault(what, deployment)) is not None:
            raise error
        if deployment not in self.known:
            raise NotFound(f"{deployment} is not there", status=404)

    def metrics(self, deployment, /, window="1h"):
        self._ask("metrics", deployment, window)
        now = self.clock.now()
        length, width = WIDTHS[window]
        start = now - length * MINUTE
        first = -(-(start - START) // (width * MINUTE)) * width
        minutes = np.arange(first, (now - START) / MINUTE, width)
        made = {
            Metric.REQUESTS: [width * self.requests(m) for m in minutes],
            Metric.ERRORS: [width * self.errors(m) for m in minutes],
            Metric.LATENCY_P95_MS: [self.p95(m) for m in minutes],
        }
        seen = np.array(made[Metric.REQUESTS]) > 0
        origin = np.datetime64(START.replace(tzinfo=None), "us")
        times = origin + (minutes[seen] * 60_000_000).astype(np.int64).view("m8[us]")
        return SimpleNamespace(
            start=start,
            settled_until=now - 2 * MINUTE,
            series={
                metric: Series(
                    metric=metric, deployment=deployment, times=times, width=width * MINUTE,
                    values=np.array(values, dtype=float)[seen],
                )
                for metric, values in made.items()
            },
        )  # fmt: skip

    def health(self, deployment, /):
        self._ask("health", deployment)
        return SimpleNamespace(healthy=self.healthy)

    def logs(self, deployment, /, *, limit, severity):
        self._ask("logs", deployment)
        assert "ERROR" in severity
        for line in self.lines[:limit]:
            yield SimpleNamespace(to_line=lambda line=line: line)

    def bad_between(self, first, last, p95=400.0):
        """p95 is over budget from one minute to another."""
        self.p95 = lambda minute: p95 if first <= minute < last else 100.0


def told(sink):
    """(rule, status) of what a sink took, in order."""
    return [(alert.rule, alert.status.value) for alert in sink.alerts]


def changes(run):
    """What happened, by name."""
    return [transition.change.value for transition in run.transitions]
