"""Two workers at each tick, in processes of their own, of which one may be killed; run by the tests.

    python fleet_nursery.py URL FOLDER TICKS SEED

It loads everything once and forks two children for each tick. They share the store, the name and
the deployments. In most ticks one of them dies by SIGKILL at one of the points where the platform,
the store or a sink is called. What was asked and what was taken is kept in files of the folder.

No real second counts, so that a busy machine changes nothing: both ask before either goes on, and
the clock that they share stands still until one has died, when it moves by a lease.
"""

import json
import os
import sys
import threading
import time
from datetime import timedelta
from multiprocessing.sharedctypes import RawArray, RawValue
from pathlib import Path

import numpy as np
from monitor_support import MINUTE, START, Table, latency
from mortal import Mortal, MortalStore, fork, noted

from driftline import Monitor
from driftline._clock import SystemClock
from driftline.records import Receipt
from driftline.stores import SqlStore

NAMES = [f"acme/line-{i}" for i in range(24)]
RULES = [latency()]
LAST = 3
LEASE = timedelta(seconds=30)
"""The shortest there is: a lease later it is still the same minute."""
PATIENCE_SECONDS = 60
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


class Tick(SystemClock):
    """What the workers of a tick share: its time, and who has begun to ask.

    Plain shared memory without a lock, which one that is killed could take along.
    """

    def __init__(self, number):
        self._start, self._passed, self._arrived = when(number), RawValue("d"), RawArray("b", 2)

    def now(self):
        return self._start + timedelta(seconds=self._passed.value)

    def meet(self, worker):
        """Go on as soon as the other one is asking as well, or has ended."""
        self._arrived[worker] = True
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not all(self._arrived):
            if time.monotonic() > give_up:
                raise TimeoutError("the other worker asks nothing")
            time.sleep(0.002)

    def ended(self, worker, *, died):
        """Nobody waits for one that has ended, and the leases of one that died run out."""
        if died:
            self._passed.value += LEASE.total_seconds()
        self._arrived[worker] = True


def work(worker, number, clock, url, folder, *, dies_at=None) -> None:
    """One worker's run in the tick of this number."""
    mortal = Mortal(dies_at)

    class Sink:
        """Takes an alert by a line in a file."""

        name = "pager"

        def send(self, alert):
            mortal.point()
            noted(folder / "taken", [alert.key, alert.status.value, alert.since.isoformat()])
            mortal.point()
            return Receipt(sink=self.name)

    class Shared(Table):
        """A table of which a worker may ask eight questions in a round."""

        calls_per_minute = 9

        def _ask(self, what, deployment, more=""):
            mortal.point()
            noted(folder / "asked", [number, worker, deployment])
            clock.meet(worker)
            super()._ask(what, deployment, more)

    table = paint(Shared(clock, NAMES))
    Monitor(
        table, deployments=NAMES, rules=RULES, sinks=[Sink()], store=MortalStore(url, mortal),
        clock=clock, lease=LEASE, cadence=CADENCE, log_lines=0, workers=2,
    ).run_once()  # fmt: skip


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    ticks, rng = int(sys.argv[3]), np.random.default_rng(int(sys.argv[4]))
    if url.startswith("postgresql"):
        import psycopg  # noqa: F401 - once, not in each child
    with SqlStore(url) as store:
        store.scan("tables are made before two workers need them")
    killed, hunted = [], []
    for number in range(ticks):
        hunts = 0 < number < ticks - LAST and rng.random() < 0.8
        victim, at = (int(rng.integers(0, 2)), int(rng.integers(1, 50))) if hunts else (None, None)
        tick = Tick(number)
        children = {
            fork(work, w, number, tick, url, folder, dies_at=at if w == victim else None): w
            for w in (0, 1)
        }
        hunted += [number] if hunts else []
        while children:
            child, status = os.wait()
            died = os.WIFSIGNALED(status)
            tick.ended(children.pop(child), died=died)
            if died:
                killed.append(number)
            elif os.WEXITSTATUS(status):
                sys.exit(f"a worker of tick {number} failed")
    print(json.dumps([killed, hunted]))


if __name__ == "__main__":
    main()
