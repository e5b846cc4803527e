"""What a run costs beyond the HTTP: a thousand deployments, five rules each, one call.

The platform is a table in memory, so that what is measured is asking, judging, remembering in
SQLite and reporting. Beside it stands what a user would write instead: the same five judgements
as loops over samples, with the alert state as JSON in SQLite, without life cycle and outbox.

    python benchmarks/judge_fleet.py [deployments]
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
from kit import Discard

from driftline import Monitor, Receipt, Sample, rules
from driftline.records import Metric, Series
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import FrozenClock

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULES = (
    rules.LatencyBudget(p95_ms=250, samples=3, runbook="Roll back to the previous model"),
    rules.ErrorRate(above=0.01, minutes=5, runbook="Read the error log"),
    rules.RequestVolume(runbook="Call the site: is the camera on?"),
    rules.NoData(runbook="Is the deployment stopped?"),
    rules.Threshold(
        series=Metric.LATENCY_P50_MS, above=200, every=timedelta(minutes=5), runbook="Add instances"
    ),
)


class Table:
    """A platform that has its answers ready: 60 one-minute buckets of four series."""

    def __init__(self, deployments: int, clock: FrozenClock, seed: int = 0) -> None:
        """Name the deployments."""
        self.clock = clock
        self.rng = np.random.default_rng(seed)
        self.names = [f"acme/line-{i}" for i in range(deployments)]
        self.answers: dict[str, SimpleNamespace] = {}

    def prepare(self) -> None:
        """Make the answers of now; not part of what is measured."""
        now = self.clock.now()
        start = now - timedelta(hours=1)
        first = np.datetime64(start.replace(tzinfo=None), "us")
        times = first + np.arange(60) * np.timedelta64(60, "s")
        settled = now - 2 * MINUTE
        for name in self.names:
            values = {
                Metric.REQUESTS: self.rng.poisson(60, 60).astype(float),
                Metric.ERRORS: self.rng.poisson(0.1, 60).astype(float),
                Metric.LATENCY_P50_MS: self.rng.gamma(40, 2, 60),
                Metric.LATENCY_P95_MS: self.rng.gamma(40, 4, 60),
            }
            series = {
                metric: Series(
                    metric=metric, deployment=name, times=times, values=found, width=MINUTE,
                    settled_until=settled,
                )
                for metric, found in values.items()
            }  # fmt: skip
            self.answers[name] = SimpleNamespace(series=series, start=start, settled_until=settled)

    def metrics(self, deployment: str, /, window: str = "1h") -> SimpleNamespace:
        """The prepared answer."""
        del window
        return self.answers[deployment]

    def health(self, deployment: str, /) -> SimpleNamespace:
        """Not asked here."""
        raise NotImplementedError(deployment)

    def logs(
        self, deployment: str, /, *, limit: int | None, severity: Iterable[str] | None
    ) -> Iterator[object]:
        """Nothing."""
        del deployment, limit, severity
        return iter(())


class DiscardNumbers(Discard):
    """A sink that takes numbers as well."""

    name = "numbers"

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Take some samples."""
        return Receipt(sink=self.name, count=len(samples))


def by_hand(table: Table, path: Path) -> float:
    """The same judgements as a user would write them: loops, dicts, one JSON a deployment."""
    began = time.process_time()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT)")
        known = dict(connection.execute("SELECT key, value FROM state").fetchall())
        rows = []
        for name in table.names:
            state = json.loads(known.get(name, "{}"))
            answer = table.metrics(name)
            rows.append((name, json.dumps(_judged_by_hand(answer.series, state))))
        connection.executemany(
            "INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            rows,
        )
    connection.close()
    return time.process_time() - began


def _judged_by_hand(series: Mapping[str, Series], state: dict) -> dict:
    points: dict[datetime, dict[str, float]] = defaultdict(dict)
    for metric, found in series.items():
        for sample in found.settled.samples():
            points[sample.at][metric] = sample.value
    windows: dict[datetime, list[dict[str, float]]] = defaultdict(list)
    for at, point in points.items():
        windows[at - timedelta(minutes=at.minute % 5, seconds=at.second)].append(point)
    over = errors = 0
    for _, members in sorted(windows.items()):
        requests = sum(m[Metric.REQUESTS] for m in members)
        p95 = sum(m[Metric.LATENCY_P95_MS] * m[Metric.REQUESTS] for m in members) / max(requests, 1)
        over = over + 1 if p95 > 250 else 0
        for member in members:
            rate = member[Metric.ERRORS] / max(member[Metric.REQUESTS], 1)
            errors = errors + 1 if rate > 0.01 else 0
    rates = [sum(m[Metric.REQUESTS] for m in members) for members in windows.values()]
    low = sum(rate < median(rates) / 2 for rate in rates[-2:])
    return {**state, "over": over, "errors": errors, "low": low, "at": str(max(points))}


def measure(deployments: int, store: object, sinks: list) -> tuple[float, float, float]:
    """CPU seconds of the first run, of a steady one, and of a run in which every rule fires."""
    clock = FrozenClock(START)
    table = Table(deployments, clock)
    numbers = any(hasattr(sink, "push") for sink in sinks)
    monitor = Monitor(
        table, deployments=table.names, rules=RULES, store=store, sinks=sinks, clock=clock,
        forward=numbers, log_lines=0, workers=1,
    )  # fmt: skip
    costs = []
    for _ in range(5):
        table.prepare()
        began = time.process_time()
        run = monitor.run_once()
        costs.append(time.process_time() - began)
        assert not run.problems, run.problems[:3]
        clock.advance(5 * MINUTE)
    return costs[0], median(costs[1:]), run.judged


def main() -> None:
    deployments = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        table = Table(deployments, FrozenClock(START))
        table.prepare()
        by_hand(table, Path(folder) / "hand.db")
        hand = by_hand(table, Path(folder) / "hand.db")
        print(f"{deployments} deployments x {len(RULES)} rules, CPU seconds beyond the HTTP")
        print(f"  {'':38}{'first run':>10}{'steady run':>12}{'samples':>9}")
        for label, store, sinks in (
            ("in memory", MemoryStore(), [Discard()]),
            ("SQLite", SqlStore(f"sqlite:///{folder}/a.db"), [Discard()]),
            (
                "SQLite, all numbers to one sink",
                SqlStore(f"sqlite:///{folder}/b.db"),
                [DiscardNumbers()],
            ),
        ):
            first, steady, judged = measure(deployments, store, sinks)
            print(f"  {label:38}{first:10.3f}{steady:12.3f}{judged:9}")
        print(f"  {'loops by hand, SQLite, no life cycle':38}{hand:10.3f}{hand:12.3f}")


if __name__ == "__main__":
    main()
