"""Runs of a monitor in child processes that are killed at random points; started by the tests.

    python kill_nursery.py URL RECEIPTS RUNS SEED

It loads everything once and forks a child for each run, so that hundreds of runs take seconds.
A child dies by SIGKILL, either at one of the points where the store or a sink is called, before or
after the call, or after a random time. The last runs are let live, so that the story can end.
"""

import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
from monitor_support import LINE, MINUTE, START, Table, errors, latency
from mortal import Mortal, MortalStore, fork, noted

from driftline import Monitor
from driftline.records import Receipt
from driftline.testing import FrozenClock

RULES = [latency(), errors()]
LAST = 12
LONGEST_SECONDS = 0.05


def paint(table):
    table.p95 = lambda minute: 400.0 if minute % 70 < 25 else 100.0
    table.errors = lambda minute: 6.0 if 40 <= minute % 110 < 60 else 0.0


class FileSink:
    """Takes an alert by a line in a file, safely on disk before it says so."""

    def __init__(self, name: str, path: Path, mortal: Mortal) -> None:
        self.name, self.path, self.point = name, path, mortal.point

    def send(self, alert):
        self.point()
        noted(self.path, [self.name, alert.key, alert.status.value, alert.since.isoformat()])
        self.point()
        return Receipt(sink=self.name)


def run(number: int, url: str, receipts: Path, dies_at: int | None) -> None:
    """One run of a fresh monitor, `number` ticks after the start."""
    mortal = Mortal(dies_at)
    clock = FrozenClock(START + number * 5 * MINUTE)
    table = Table(clock)
    paint(table)
    sinks = [FileSink(name, receipts, mortal) for name in ("a", "b")]
    Monitor(
        table, deployments=[LINE], rules=RULES, sinks=sinks, store=MortalStore(url, mortal),
        clock=clock, lease=timedelta(seconds=60), log_lines=0,
    ).run_once()  # fmt: skip


def main() -> None:
    url, receipts, runs, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if url.startswith("postgresql"):
        import psycopg  # noqa: F401 - once, not in each child
    rng = np.random.default_rng(seed)
    killed = unlucky = 0
    for number in range(runs):
        # Never more than half an hour without a run that lives: the finest buckets last an hour.
        lives = number == 0 or number >= runs - LAST or unlucky >= 6 or rng.random() < 0.3
        at_point = int(rng.integers(1, 24)) if not lives and rng.random() < 0.6 else None
        child = fork(run, number, url, receipts, at_point)
        if not lives and at_point is None:
            time.sleep(float(rng.uniform(0, LONGEST_SECONDS)))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status)
        if not died and os.WEXITSTATUS(status):
            sys.exit(f"run {number} failed")
        killed += died
        unlucky = unlucky + 1 if died else 0
    print(json.dumps({"killed": killed}))


if __name__ == "__main__":
    main()
