"""A monitor on a table, with a sink that keeps what it gets."""

import pytest
from monitor_support import LINE, START, Table, errors, latency

from driftline import Monitor
from driftline.monitor import _drive, _keep, _outbox
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, RecordingSink


@pytest.fixture
def clock():
    return FrozenClock(START)


@pytest.fixture(autouse=True)
def watch(monkeypatch):
    """The seconds of a run's budget: they pass when a test says so, not on a busy machine."""
    passing = FrozenClock()
    for module in (_drive, _keep, _outbox):
        monkeypatch.setattr(module, "SystemClock", lambda: passing)
    return passing


@pytest.fixture
def table(clock):
    return Table(clock)


@pytest.fixture
def sink():
    return RecordingSink()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def make(table, clock, sink, store):
    """Makes a monitor; what is given replaces the defaults. Each call is a restart."""

    def made(**how):
        parts = {
            "deployments": [LINE],
            "rules": [latency(), errors()],
            "sinks": [sink],
            "store": store,
            "clock": clock,
            "seed": 0,
            **how,
        }
        return Monitor(parts.pop("platform", table), **parts)

    return made
