"""Two workers at each tick, in processes of their own, of which one may be killed; run by the tests.

    python fleet_nursery.py URL FOLDER TICKS SEED

It loads everything once and forks two children for each tick. They share the store, the name and
the deployments. In most ticks one of them dies by SIGKILL at one of the points where the platform,
the store or a sink is called. What was asked and what was taken is kept in files of the folder.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
from monitor_support import MINUTE, START, Table, latency

from driftline import Monitor
from driftline._clock import SystemClock
from driftline.monitor import _monitor
from driftline.records import Receipt
from driftline.stores import SqlStore

NAMES = [f"acme/line-{i}" for i in range(24)]
RULES = [latency()]
LAST = 3
LEASE = timedelta(minutes=1)
SHORT = timedelta(seconds=0.5)
"""In a tick in which somebody dies: the other goes on when the dead one's time is over."""
CADENCE = 5 * MINUTE


def when(tick):
    """The time of a tick, off the minute: what a run sees must not depend on its seconds."""
    return START + tick * CADENCE + timedelta(seconds=5)


def paint(table):
    """Every deployment is bad for a while, each at its own time."""
    numbers = {name: i for i, name in enumerate(NAMES)}
    plain, turn = table.metrics, threading.Lock()

    def metrics(deployment, /, window="1h"):
        shift = 3 * numbers[deployment]
        with turn:  # several threads ask
            table.p95 = lambda minute: 400.0 if (minute + shift) % 80 < 25 else 100.0
            return plain(deployment, window=window)

    table.metrics = metrics
    return table


class Moving(SystemClock):
    """Real seconds after a simulated start: leases of the dead run out."""

    def __init__(self, start):
        self.start, self.began = start, time.monotonic()

    def now(self):
        return self.start + timedelta(seconds=time.monotonic() - self.began)


def noted(path: Path, line) -> None:
    """A line in a file, safely on disk."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def work(worker, tick, url, folder, *, lease, dies_at=None) -> None:
    """One worker's run."""
    passed = 0

    def point():
        nonlocal passed
        passed += 1
        if passed == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    class Watched(SqlStore):
        """A store at whose every call the worker may die, before it or after."""

        def write(self, changes, *, lease=None):
            point()
            super().write(changes, lease=lease)
            point()

        def scan(self, space):
            point()
            return super().scan(space)

        def acquire(self, name, **how):
            found = super().acquire(name, **how)
            point()
            return found

    class Sink:
        """Takes an alert by a line in a file."""

        name = "pager"

        def send(self, alert):
            point()
            noted(folder / "taken", [alert.key, alert.status.value, alert.since.isoformat()])
            point()
            return Receipt(sink=self.name)

    class Shared(Table):
        """A table of which a worker may ask eight questions in a round."""

        calls_per_minute = 9

        def _ask(self, what, deployment, more=""):
            point()
            noted(folder / "asked", [tick, worker, deployment])
            super()._ask(what, deployment, more)

    clock = Moving(when(tick))
    table = paint(Shared(clock, NAMES))
    Monitor(
        table, deployments=NAMES, rules=RULES, sinks=[Sink()], store=Watched(url), clock=clock,
        lease=lease, cadence=CADENCE, log_lines=0, workers=2,
    ).run_once()  # fmt: skip


def fork(*who, **how):
    child = os.fork()
    if child:
        return child
    try:
        work(*who, **how)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    _monitor.SHORTEST_LEASE = timedelta(0)  # this process has real seconds; its children too
    url, folder = sys.argv[1], Path(sys.argv[2])
    ticks, rng = int(sys.argv[3]), np.random.default_rng(int(sys.argv[4]))
    if url.startswith("postgresql"):
        import psycopg  # noqa: F401 - once, not in each child
    with SqlStore(url) as store:
        store.scan("tables are made before two workers need them")
    killed, hunted = [], []
    for tick in range(ticks):
        victim = int(rng.integers(0, 2)) if 0 < tick < ticks - LAST and rng.random() < 0.8 else None
        at = int(rng.integers(1, 45))
        lease = LEASE if victim is None else SHORT
        children = [
            fork(w, tick, url, folder, lease=lease, dies_at=at if w == victim else None)
            for w in (0, 1)
        ]
        hunted += [] if victim is None else [tick]
        for child in children:
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                killed.append(tick)
            elif os.WEXITSTATUS(status):
                sys.exit(f"a worker of tick {tick} failed")
    print(json.dumps([killed, hunted]))


if __name__ == "__main__":
    main()
