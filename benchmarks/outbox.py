"""What it costs to tell: alerts a CPU second through the outbox, kept until each sink has them.

    OMP_NUM_THREADS=1 python benchmarks/outbox.py [alerts]

An incident in which every deployment of a fleet fires at once: each alert is written before it is
sent, sent to sinks that take it at once, and struck out when the sink has answered, so that what
is measured is the outbox and its store. Beside it stand what one would write instead: a loop that
keeps nothing, a table of one's own in SQLite that is emptied in order, and `persist-queue` (where it
is installed). A table of one's own has no order by problem, no patience, no expiry, no dead letters
and no thread a sink.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
from kit import Discard, cpu

from driftline import Alert
from driftline.monitor import Backoff
from driftline.monitor._codec import alert_from_json, alert_to_json
from driftline.monitor._lanes import Lane
from driftline.monitor._outbox import Outbox
from driftline.records import Store
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import FrozenClock, example_alert

LEASE = timedelta(hours=1)


def incident(n: int) -> list[Alert]:
    """One alert a deployment."""
    return [
        example_alert(key=f"latency-budget:acme/line-{i}", deployment=f"acme/line-{i}")
        for i in range(n)
    ]


def through_the_outbox(store: Store, alerts: Sequence[Alert], sinks: int = 1) -> None:
    """Write all, send all, settle all, under a lease as a run does."""
    clock = FrozenClock(alerts[0].at)
    outbox = Outbox(
        store,
        "benchmark",
        [Lane(Discard(), f"sink-{i}") for i in range(sinks)],
        clock=clock,
        backoff=Backoff(),
        rng=np.random.default_rng(0),
    )
    lease = store.acquire("benchmark", holder="me", now=clock.now(), duration=LEASE)
    store.write(outbox.tell(alerts, clock.now()), lease=lease)
    done = outbox.deliver(seconds=300, write=lambda changes: store.write(changes, lease=lease))
    store.release(lease)
    assert len(done.delivered) == sinks * len(alerts), done.problems


def keeping_nothing(alerts: Sequence[Alert]) -> None:
    """A loop over the sink: what a crash or an outage loses."""
    sink = Discard()
    for alert in alerts:
        sink.send(alert)


def table_by_hand(path: Path, alerts: Sequence[Alert]) -> None:
    """A table in SQLite: written together, struck out one by one, each durable before the next."""
    sink = Discard()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, alert TEXT)")
        connection.execute("BEGIN IMMEDIATE")
        rows = [(json.dumps(alert_to_json(alert)),) for alert in alerts]
        connection.executemany("INSERT INTO box (alert) VALUES (?)", rows)
        connection.execute("COMMIT")
        for number, text in connection.execute("SELECT id, alert FROM box ORDER BY id").fetchall():
            sink.send(alert_from_json(json.loads(text)))
            connection.execute("DELETE FROM box WHERE id = ?", (number,))


def persist_queue(path: Path, alerts: Sequence[Alert]) -> None:
    """A package for it: an acknowledged queue in SQLite."""
    from persistqueue import SQLiteAckQueue

    sink = Discard()
    waiting = SQLiteAckQueue(str(path), auto_commit=True)
    for alert in alerts:
        waiting.put(alert_to_json(alert))
    for _ in alerts:
        item = waiting.get()
        sink.send(alert_from_json(item))
        waiting.ack(item)
    waiting.close()


@contextmanager
def sqlite() -> Iterator[SqlStore]:
    """A store in a file of its own, opened before the clock starts."""
    with tempfile.TemporaryDirectory() as folder, SqlStore(f"sqlite:///{folder}/a.db") as store:
        store.get("a", "b")
        yield store


def in_a_folder(work: Callable[[Path], object]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return cpu(lambda: work(Path(folder) / "box"))[0]


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    alerts = incident(n)
    through_the_outbox(MemoryStore(), alerts)  # what loads late is loaded now
    costs = {"outbox, in memory": cpu(lambda: through_the_outbox(MemoryStore(), alerts))[0]}
    for sinks in (1, 3):
        with sqlite() as store:
            took, _ = cpu(lambda: through_the_outbox(store, alerts, sinks))  # noqa: B023  called at once
        costs[f"outbox, SQLite, {sinks} sink{'s' * (sinks > 1)}"] = took
    costs["instead: a loop that keeps nothing"] = cpu(lambda: keeping_nothing(alerts))[0]
    costs["instead: a table by hand, SQLite"] = in_a_folder(lambda at: table_by_hand(at, alerts))
    try:
        costs["instead: persist-queue, SQLite"] = in_a_folder(lambda at: persist_queue(at, alerts))
    except ImportError:
        print("(persist-queue is not installed: not compared)")
    base = costs["outbox, SQLite, 1 sink"]
    print(f"{n:,} alerts   {'':22}{'CPU s':>8}{'us an alert':>13}{'alerts/CPU s':>14}{'x':>8}")
    for name, took in costs.items():
        print(f"{name:36}{took:8.3f}{took / n * 1e6:13.1f}{n / took:14,.0f}{took / base:8.2f}")


if __name__ == "__main__":
    main()
