"""A fleet under the rate limits of its keys: who is asked when, and what a short run leaves out."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from datetime import timedelta

import pytest
from monitor_support import MINUTE, START, Table, latency

from driftline import AsyncPlatformClient, Monitor, PlatformClient
from driftline.monitor import Budget, Fleet
from driftline.monitor._book import Book, Page
from driftline.monitor._gather import by_urgency
from driftline.monitor._subjects import Subject
from driftline.platform import Retry
from driftline.records import Receipt
from driftline.rules import Phase
from driftline.rules._state import State
from driftline.rules._time import micros
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, LocalPlatform

OWNERS = {"acme": 170, "brick": 90, "crane": 60, "delta": 50, "ember": 30}
CADENCE = timedelta(minutes=5)


class SharedTime(FrozenClock):
    """A frozen clock on which those who sleep at the same time sleep together, not in turn."""

    def sleep(self, seconds):
        target = self.monotonic() + seconds
        with self._lock:
            self._move(max(0.0, target - self._monotonic))

    async def asleep(self, seconds):
        target = self.monotonic() + seconds
        await asyncio.sleep(0)
        with self._lock:
            self._move(max(0.0, target - self._monotonic))


@pytest.fixture
def clock():
    return SharedTime(START)


@pytest.fixture
def locals_(clock):
    """Five owners with 400 deployments, each owner with a key and its limits; 170 are too many to list."""
    with ExitStack() as stack:
        found = {}
        for owner, number in OWNERS.items():
            local = LocalPlatform(owner=owner, deployments=(), clock=clock)
            for i in range(number):
                local.add_deployment(
                    f"line-{i}",
                    model=f"vision/model-v{1 + i % 2}",
                    requests_per_minute=60,
                    status="stopped" if owner == "acme" and i >= 150 else "ready",
                )
            found[owner] = stack.enter_context(local)
        yield found


def clients_of(locals_, clock, kind=PlatformClient):
    return {
        owner: kind(api_key=local.api_key, base_url=local.url, clock=clock, retry=Retry(attempts=1))
        for owner, local in locals_.items()
    }


def calls(locals_, operation="metrics"):
    """(owner, deployment) of what was asked, by time."""
    found = [
        (call.at, owner, call.path.split("/")[-2])
        for owner, local in locals_.items()
        for call in local.calls
        if call.operation == operation
    ]
    return [f"{owner}/{slug}" for _, owner, slug in sorted(found, key=lambda one: one[0])]


def statuses(locals_):
    """What the platforms replied."""
    return {call.status for local in locals_.values() for call in local.calls}


@pytest.fixture
def cron(locals_, clock, sink):
    """A run with five new clients; what it did, the simulated time it took, who was asked."""
    store = MemoryStore()

    def blocking(**how):
        with ExitStack() as stack:
            clients = clients_of(locals_, clock)
            for client in clients.values():
                stack.enter_context(client)
            return Monitor(clients, **how).run_once()

    async def awaited(**how):
        async with AsyncExitStack() as stack:
            clients = clients_of(locals_, clock, AsyncPlatformClient)
            for client in clients.values():
                await stack.enter_async_context(client)
            return await Monitor(clients, **how).arun_once()

    def run(kind):
        # One question at a time to each client, so that they arrive in order.
        how = {"deployments": Fleet(), "rules": [latency()], "sinks": [sink], "store": store,
               "workers": 1}  # fmt: skip
        began, before = clock.now(), len(calls(locals_))
        done = blocking(**how) if kind == "blocking" else asyncio.run(awaited(**how))
        took = clock.now() - began
        clock.advance(max(timedelta(0), CADENCE - took))
        return done, took, calls(locals_)[before:]

    return run


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_four_hundred(locals_, clock, sink, cron, kind):
    """All are found and judged within five minutes, without one refusal; what fires comes first."""
    sick = {"acme/line-149", "acme/line-77", "ember/line-3"}
    for name in sick:
        owner, slug = name.split("/")
        locals_[owner].deployment(slug).slow_down(3)
    clock.advance(25 * MINUTE)
    judged = 0
    for number in range(2):
        done, took, asked = cron(kind)

        assert took < CADENCE
        assert 400 == len(set(asked)) == len(asked)
        assert ((), 0, ()) == (done.unreached, done.unlisted, done.problems)
        judged += done.judged
        assert judged >= 380 * (4 + number)  # of each the whole windows so far, at the least
        assert {200, 400} == statuses(locals_)  # 400: no metrics of what is stopped
    assert sick == {alert.deployment for alert in sink.firing}
    # In the second run they fire already: of their owners they are the first to be asked.
    for owner in ("acme", "ember"):
        mine = [name for name in asked if name.startswith(owner)]
        urgent = sick & set(mine)
        assert urgent == set(mine[: len(urgent)])


class Counted(Table):
    """A table that says how much it may be asked in a minute."""

    calls_per_minute = 20


class Times:
    """A sink that notes how many calls had been made when it was told."""

    name = "times"

    def __init__(self, table):
        self.table, self.at = table, []

    def send(self, alert):
        self.at.append((alert.status.value, len(self.table.asked)))
        return Receipt(sink=self.name)


def test_told_before_the_rest_is_asked(make, clock):
    """What fires is told after the first minute's calls, not after the last ones."""
    names = [f"acme/line-{i}" for i in range(90)]
    table = Counted(clock, names)
    times = Times(table)
    how = {"platform": table, "deployments": names, "rules": [latency()], "sinks": [times]}
    make(**how).run_once()
    table.bad_between(0, 600)
    for _ in range(4):
        clock.advance(5 * MINUTE)
        table.asked.clear()
        run = make(**how, log_lines=0).run_once()
    assert 90 == len(table.asked) == len({deployment for _, deployment, _ in table.asked})
    assert 90 == len(run.alerts)
    assert [18, 36, 54, 72, 90] == sorted({count for _, count in times.at})


def test_rounds_are_one_run(make, clock, sink):
    """Several rounds make one report: one heartbeat, the samples once, everything judged."""
    names = [f"acme/line-{i}" for i in range(50)]
    table = Counted(clock, names)
    run = make(platform=table, deployments=names, rules=[latency()]).run_once()

    assert 50 * 12 - 50 <= run.judged <= 50 * 12
    assert 1 == sum(sample.metric == "monitor.heartbeat" for sample in sink.samples)
    assert run.ok


def test_a_short_run(make, clock, watch):
    """A run that is cut short says whom it did not reach, and the next one begins with them."""
    names = [f"acme/line-{i}" for i in range(60)]
    table = Table(clock, names)
    table.fault = lambda *_: watch.advance(timedelta(seconds=0.02))
    budget = Budget(total=timedelta(seconds=1), delivery=timedelta(seconds=0.2))
    how = {"platform": table, "deployments": names, "rules": [latency()], "budget": budget}
    make(platform=Table(clock, names), deployments=names, rules=[latency()]).run_once()
    seen = []
    for _ in range(2):
        clock.advance(5 * MINUTE)
        table.asked.clear()
        run = make(**how, workers=1).run_once()
        seen.append(({name for _, name, _ in table.asked}, set(run.unreached), run))
    (asked, unreached, run), (then, _, _) = seen

    assert 40 == len(asked)  # 0.8 s for asking
    assert set(names) == asked | unreached
    assert not asked & unreached
    assert f"and {len(unreached) - 3} more: not asked: the run's time was used up" in str(run)
    assert not run.ok
    assert unreached <= then


def test_nobody_waits_for_ever(clock):
    """Where time suffices for six of thirty, what fires is asked more often, but not alone."""
    names = [f"acme/line-{i}" for i in range(30)]
    sick = set(names[10:16])
    fires = {("latency-budget", Subject(name)): State(phase=Phase.FIRING) for name in sick}
    pages = {name: Page(states={p: s for p, s in fires.items() if p[1].deployment == name})
             for name in names}  # fmt: skip
    book = Book(
        space="", pages=pages, stored={}, memories={}, silences={}, acknowledged=frozenset()
    )
    often = Counter()
    for run in range(40):
        clock.advance(5 * MINUTE)
        book.meet(names, clock.now())
        asked = by_urgency(names, book, clock.now())[:6]
        for name in asked:
            book.page(name).asked = micros(clock.now())
        if run >= 5:  # everybody is new at first
            often.update(asked)
    assert set(names) == set(often)
    assert min(often[name] for name in sick) >= 2 * max(often[n] for n in set(names) - sick)


def test_new_ones_behind_what_fires(make, clock):
    """What fires is asked first, then who is new, then who is calm."""
    table = Table(clock, [f"acme/line-{i}" for i in range(6)])
    plain = table.metrics

    def metrics(deployment, /, window="1h"):
        table.p95 = lambda _: 400.0 if deployment in {"acme/line-1", "acme/line-2"} else 100.0
        return plain(deployment, window=window)

    table.metrics = metrics
    names = [f"acme/line-{i}" for i in range(4)]
    how = {"platform": table, "rules": [latency()], "workers": 1, "log_lines": 0}
    make(deployments=names, **how).run_once()
    clock.advance(5 * MINUTE)
    table.asked.clear()
    make(deployments=[*names, "acme/line-4", "acme/line-5"], **how).run_once()
    assert [1, 2, 4, 5, 0, 3] == [int(name[-1]) for _, name, _ in table.asked]


def test_new_ones_are_asked_in_the_end(make, clock, watch):
    """Where everything known fires and takes all the time, a new one is reached all the same."""
    names = [f"acme/line-{i}" for i in range(5)]

    class Ending(Counted):
        calls_per_minute = 3

        def metrics(self, deployment, /, window="1h"):
            if len(self.asked) >= 2:  # time for two a run, and what is on its way
                watch.advance(timedelta(seconds=0.25))
            return super().metrics(deployment, window=window)

    budget = Budget(total=timedelta(seconds=0.4), delivery=timedelta(seconds=0.2))
    seen = set()
    for _ in range(9):
        table = Ending(clock, names)
        table.bad_between(-60, 6000)
        run = make(
            platform=table, deployments=names, rules=[latency()], workers=1, log_lines=0,
            forward=False, cadence=CADENCE, budget=budget,
        ).run_once()  # fmt: skip
        assert run.unreached
        seen |= {name for _, name, _ in table.asked}
        clock.advance(CADENCE)
    assert set(names) == seen
