"""What a fleet costs over HTTP: processor time, memory and calls of a run, and of the paper plan.

The Platform is `driftline.testing.LocalPlatform`, one server an owner, in a process of its own, so
that what is measured is the monitor: HTTP, decoding, judging, SQLite. Time is simulated, so that
the rate limits are kept without waiting. Beside it stands the loop a user would write: one
`PlatformClient` after the other, p95 compared with a number, the state as JSON in SQLite.

    python benchmarks/fleet.py [deployments ...]
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from driftline import Monitor, PlatformClient, rules
from driftline.monitor import Fleet
from driftline.records import Metric
from driftline.stores import SqlStore
from driftline.testing import FrozenClock, LocalPlatform

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
CADENCE = timedelta(minutes=5)
OWNERS = 5
RULES = (
    rules.LatencyBudget(p95_ms=250, samples=3, runbook="Check instances and cold starts."),
    rules.ErrorRate(above=0.01, minutes=5, runbook="Read the error lines."),
    rules.RequestVolume(runbook="Is the camera on?"),
    rules.NoData(runbook="Is the deployment stopped?"),
)


class Together(FrozenClock):
    """Simulated time on which those who wait at the same time wait together."""

    def sleep(self, seconds: float) -> None:
        """Move to the end of the sleep, unless somebody is there already."""
        until = self.monotonic() + seconds
        with self._lock:
            self._move(max(0.0, until - self._monotonic))


def serve(pipe: Connection, deployments: int) -> None:
    """The platforms, in a process of their own; a message moves their clock."""
    clock = FrozenClock(START)
    with ExitStack() as stack:
        found = []
        for k in range(OWNERS):
            local = LocalPlatform(
                owner=f"owner-{k}", deployments=(), clock=clock, rate_limits=None, seed=k
            )
            for i in range(deployments // OWNERS):
                one = local.add_deployment(f"line-{i}", model=f"vision/model-v{i % 8}")
                one.history(timedelta(hours=1), requests_per_minute=60)
                one.behave(requests_per_minute=60)
            found.append(stack.enter_context(local))
        pipe.send([(local.owner, local.url, local.api_key) for local in found])
        while (now := pipe.recv()) is not None:
            before = sum(len(local.calls) for local in found)
            clock.set(now)
            pipe.send(before)


def by_hand(clients: dict[str, PlatformClient], names: list[str], path: Path) -> None:
    """A loop over the fleet as users write it."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT)")
        known = dict(connection.execute("SELECT key, value FROM state").fetchall())
        rows = []
        for name in names:
            state = json.loads(known.get(name, '{"over": 0}'))
            found = clients[name.partition("/")[0]].metrics(name)
            p95 = found.series[Metric.LATENCY_P95_MS].values[-5:].mean()
            state["over"] = state["over"] + 1 if p95 > 250 else 0
            rows.append((name, json.dumps(state)))
        connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)
    connection.close()


def measured(deployments: int) -> None:
    """One row: a fleet of this size."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(there, deployments))
    process.start()
    clock = Together(START)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        clients = {
            owner: stack.enter_context(PlatformClient(api_key=key, base_url=url, clock=clock))
            for owner, url, key in here.recv()
        }
        store = stack.enter_context(SqlStore(f"sqlite:///{folder}/fleet.db"))
        monitor = Monitor(clients, deployments=Fleet(), rules=RULES, store=store, log_lines=0)
        cpu, simulated = [], []
        calls = 0
        for _ in range(5):
            here.send(clock.now())
            here.recv()
            began, start = clock.now(), time.process_time()
            run = monitor.run_once()
            cpu.append(time.process_time() - start)
            simulated.append((clock.now() - began).total_seconds())
            assert run.ok, run
            clock.set(began + CADENCE)
        here.send(clock.now())
        calls = here.recv()
        size = sum(path.stat().st_size for path in Path(folder).glob("fleet.db*"))
        start = time.process_time()
        by_hand(clients, list(monitor.deployments), Path(folder) / "hand.db")
        hand = time.process_time() - start
    here.send(None)
    process.join()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{deployments:12}{cpu[0]:10.2f}{median(cpu[1:]):12.2f}{median(simulated):14.0f}"
        f"{calls / 5:11.0f}{memory:10.0f}{size / 1e6:10.1f}{hand:10.2f}",
        flush=True,
    )


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [100, 400, 1000]
    print(
        f"{len(RULES)} rules, {OWNERS} owners with a key each; CPU seconds of the monitor's process"
    )
    print(
        f"{'deployments':>12}{'first run':>10}{'steady run':>12}{'simulated s':>14}"
        f"{'calls/run':>11}{'peak MB':>10}{'store MB':>10}{'by hand':>10}"
    )
    for size in sizes:
        worker = multiprocessing.get_context("spawn").Process(target=measured, args=(size,))
        worker.start()  # a process each, so that peaks do not mix
        worker.join()


if __name__ == "__main__":
    main()
