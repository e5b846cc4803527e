"""The async face: the same runs, with nothing that blocks the loop."""

import asyncio
import queue
import threading

import pytest
from monitor_support import MINUTE, told

from driftline.errors import ConfigError
from driftline.records import Receipt, Sample
from driftline.stores import MemoryStore
from driftline.testing import RecordingSink


class AsyncTable:
    """The table, awaited."""

    def __init__(self, table):
        self.table = table

    async def metrics(self, deployment, /, window="1h"):
        await asyncio.sleep(0)
        return self.table.metrics(deployment, window=window)

    async def health(self, deployment, /):
        await asyncio.sleep(0)
        return self.table.health(deployment)

    async def logs(self, deployment, /, *, limit, severity):
        for entry in self.table.logs(deployment, limit=limit, severity=severity):
            await asyncio.sleep(0)
            yield entry


class AsyncSink:
    """A user's sink on the service's loop."""

    name = "async"

    def __init__(self):
        self.alerts, self.loops, self.pushed = [], set(), 0

    async def send(self, alert):
        await asyncio.sleep(0)
        self.loops.add(asyncio.get_running_loop())
        self.alerts.append(alert)
        return Receipt(sink=self.name)

    async def push(self, samples):
        await asyncio.sleep(0)
        self.pushed += len(samples)
        return Receipt(sink=self.name, count=len(samples))


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_the_same_story(make, table, clock, sink, kind):
    """An async platform and a blocking one lead to the same alerts through either face."""
    table.bad_between(5, 35)
    platform = AsyncTable(table) if kind == "async" else table

    async def service():
        for _ in range(13):
            clock.advance(5 * MINUTE)
            await make(platform=platform).arun_once(
                samples=[Sample(metric="x", value=1, at=clock.now())]
            )

    asyncio.run(service())
    assert [("latency-budget", "firing"), ("latency-budget", "resolved")] == told(sink)
    assert any(sample.metric == "x" for sample in sink.samples)


def test_async_platform_needs_the_async_face(make, table):
    """The blocking face says so instead of handing out coroutines."""
    with pytest.raises(ConfigError, match="arun_once"):
        make(platform=AsyncTable(table)).run_once()


def test_async_sinks_run_on_the_loop(make, table):
    """An async sink is awaited where the service lives; in a blocking run it gets a loop of its own."""
    sink = AsyncSink()
    table.bad_between(-60, 60)

    async def service():
        await make(sinks=[sink]).arun_once()
        return asyncio.get_running_loop()

    loop = asyncio.run(service())
    assert {loop} == sink.loops
    assert 1 == len(sink.alerts)
    assert sink.pushed > 100

    make(sinks=[sink], name="blocking").run_once()
    assert 2 == len(sink.alerts)


def test_the_loop_goes_on(make, table):
    """A blocking sink, a blocking platform and the store block no other task of the loop."""
    stuck, helped = queue.SimpleQueue(), set()

    def until_helped(who):
        """Block the thread until a task of the loop has run."""
        done = threading.Event()
        stuck.put((who, done))
        assert done.wait(60)

    class BlockingSink(RecordingSink):
        def send(self, alert):
            until_helped("sink")
            return super().send(alert)

    class BlockingStore(MemoryStore):
        def write(self, changes, *, lease=None):
            until_helped("store")
            super().write(changes, lease=lease)

    async def help_out():
        while True:
            await asyncio.sleep(0.001)
            while not stuck.empty():
                who, done = stuck.get()
                helped.add(who)
                done.set()

    async def service():
        task = asyncio.create_task(help_out())
        run = await make(sinks=[BlockingSink()], store=BlockingStore()).arun_once()
        task.cancel()
        return run

    table.bad_between(-60, 60)
    table.fault = lambda *_: until_helped("platform")
    run = asyncio.run(service())
    assert 1 == len(run.alerts) == len(run.delivered) - 1
    assert {"platform", "sink", "store"} == helped


def test_problems_are_gathered(make, table):
    """What cannot be asked is a problem of the run, in either face."""
    table.fault = lambda what, d: OSError("no route") if d == "acme/dead" else None
    run = asyncio.run(
        make(platform=AsyncTable(table), deployments=["acme/line-3", "acme/dead"]).arun_once()
    )
    assert ["acme/dead"] == [problem.deployment for problem in run.problems]


def test_overlap(make, table):
    """Two tasks at once: one works, the other leaves."""
    platform = AsyncTable(table)
    table.bad_between(-60, 60)

    async def service():
        monitor = make(platform=platform)
        return await asyncio.gather(monitor.arun_once(), monitor.arun_once())

    reports = asyncio.run(service())
    assert [False, True] == sorted(bool(report.busy) for report in reports)


def test_cancelled(make, table):
    """A cancelled run gives its lease back."""

    async def service():
        asking = asyncio.Event()

        class Never(AsyncTable):
            async def metrics(self, deployment, /, window="1h"):
                asking.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(make(platform=Never(table)).arun_once())
        await asyncio.wait_for(asking.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await make(platform=AsyncTable(table)).arun_once()

    run = asyncio.run(service())
    assert "" == run.busy
