"""Several workers of one monitor: who asks what, who was overtaken, who died."""

import asyncio
import threading
from datetime import timedelta

import pytest
from monitor_support import MINUTE, Table, latency, told

from driftline import rules
from driftline.errors import InputError
from driftline.monitor import _claims
from driftline.monitor._claims import Claims
from driftline.records import Sample
from driftline.stores import SqlStore

NAMES = [f"acme/line-{i}" for i in range(6)]
CADENCE = 5 * MINUTE


@pytest.fixture
def table(clock):
    return Table(clock, NAMES)


@pytest.fixture
def worker(make):
    """Makes a worker; all of them share the store."""

    def made(**how):
        return make(**{"deployments": NAMES, "rules": [latency()], "cadence": CADENCE, **how})

    return made


def asked(table):
    return [deployment for _, deployment, _ in table.asked]


def test_once_in_a_cadence(worker, table, clock):
    """In each five minutes a deployment is asked once, by whichever worker comes first."""
    for _ in range(3):
        table.asked.clear()
        runs = [worker().run_once() for _ in range(3)]
        clock.advance(CADENCE)
        assert sorted(NAMES) == sorted(asked(table))
        assert all(run.ok for run in runs)


def test_two_at_once(worker, clock):
    """Two that work at the same time never ask the same, and together ask everything."""
    barrier, tables = threading.Barrier(2), []

    class Meeting(Table):
        calls_per_minute = 3

        def metrics(self, deployment, /, window="1h"):
            if not self.asked:
                barrier.wait(60)
            return super().metrics(deployment, window=window)

    def work():
        tables.append(table := Meeting(clock, NAMES))
        worker(platform=table, workers=1).run_once()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(NAMES) == sorted(asked(tables[0]) + asked(tables[1]))
    assert all(table.asked for table in tables)


def test_overtaken(worker, table, clock, sink):
    """One that was suspended while another did its work tells nothing a second time."""
    asking, go_on = threading.Event(), threading.Event()

    class Suspended(Table):
        def metrics(self, deployment, /, window="1h"):
            answer = super().metrics(deployment, window=window)
            asking.set()
            assert go_on.wait(60)
            return answer

    slow = Suspended(clock, NAMES)
    for each in (slow, table):
        each.bad_between(-60, 600)
    runs = []
    thread = threading.Thread(target=lambda: runs.append(worker(platform=slow).run_once()))
    thread.start()
    assert asking.wait(60)
    clock.advance(2 * MINUTE)  # its claims run out
    first = worker().run_once()
    go_on.set()
    thread.join()

    assert 6 == len(first.alerts)
    assert ((), ()) == (runs[0].alerts, runs[0].transitions)
    assert [("latency-budget", "firing")] * 6 == told(sink)
    assert 2 * 6 == len(worker().transitions())  # pending and firing, once each


def test_taken_over(worker, table, clock, store):
    """What a worker that died was at waits for its lease, and is asked by the next that comes."""
    dead = Claims(store, "monitor/monitor", clock, timedelta(seconds=60))
    dead.taken()
    assert dead.claim(NAMES[:4])
    worker().run_once()
    assert sorted(NAMES[4:]) == sorted(asked(table))
    clock.advance(MINUTE)
    worker().run_once()
    assert sorted(NAMES) == sorted(asked(table))
    assert not dead.claim(NAMES[:4])


def test_nothing_left_to_ask(worker, clock, sink):
    """A worker that comes too late to ask judges the samples it is given, and tells."""
    rule = rules.Threshold(series="queue.length", above=10, runbook="Add a consumer.")
    worker(rules=[latency(), rule]).run_once()
    run = worker(rules=[latency(), rule]).run_once(
        samples=[Sample(metric="queue.length", value=11, at=clock.now())]
    )
    assert run.ok
    assert [(rule.name, "firing")] == told(sink)


def test_a_turn_that_never_comes(worker, store, clock, watch, monkeypatch):
    """A worker that cannot write says who is at work, and its questions are free for others."""
    monkeypatch.setattr(_claims, "SystemClock", lambda: watch)
    lease = store.acquire("monitor/monitor", holder="ada", now=clock.now(), duration=CADENCE)
    run = worker(lease=timedelta(seconds=30)).run_once()
    assert sum(watch.sleeps) > 30
    assert "ada" in run.busy
    store.release(lease)
    assert worker().run_once().judged


def test_async_workers(worker, table, clock):
    """Workers in the tasks of one service share as well."""

    async def service():
        await asyncio.gather(*(worker().arun_once() for _ in range(2)))

    asyncio.run(service())
    assert sorted(NAMES) == sorted(asked(table))


def test_sqlite_of_one_machine(worker, table, tmp_path):
    """Two workers of one machine may share SQLite."""
    with (
        SqlStore(f"sqlite:///{tmp_path}/d.db") as one,
        SqlStore(f"sqlite:///{tmp_path}/d.db") as two,
    ):
        assert worker(store=one).run_once().ok
        assert worker(store=two).run_once().ok
    assert sorted(NAMES) == sorted(asked(table))


def test_a_cadence_is_a_time(worker):
    """A cadence of no time is refused."""
    with pytest.raises(InputError, match="cadence"):
        worker(cadence=timedelta(0))
