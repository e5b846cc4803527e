"""Two workers share a fleet, and one is killed with -9: nothing is lost, nothing doubled."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from driftline import Monitor
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import FrozenClock, RecordingSink

SUPPORT = Path(__file__).parent.parent / "monitor"
sys.path.insert(0, str(SUPPORT))
import fleet_nursery as nursery  # noqa: E402 - it lives beside the monitor's tests

sys.path.remove(str(SUPPORT))


def alone(ticks):
    """Transitions and alerts when one worker does it all and nobody is killed."""
    clock, sink = FrozenClock(nursery.START), RecordingSink()
    table = nursery.paint(nursery.Table(clock, nursery.NAMES))
    monitor = Monitor(
        table, deployments=nursery.NAMES, rules=nursery.RULES, sinks=[sink], store=MemoryStore(),
        clock=clock, log_lines=0,
    )  # fmt: skip
    for tick in range(ticks):
        clock.set(nursery.when(tick))
        monitor.run_once()
    return monitor.transitions(), sink.alerts


def story(transitions):
    return sorted((t.key, t.at, t.change.value, t.value, t.since) for t in transitions)


def lines(path):
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()]


def check(url, folder, ticks, seed):
    done = subprocess.run(
        [sys.executable, SUPPORT / "fleet_nursery.py", url, folder, str(ticks), str(seed)],
        capture_output=True, text=True, timeout=1200, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr[-3000:]
    killed, hunted = map(set, json.loads(done.stdout))
    expected, alerts = alone(ticks)
    with SqlStore(url) as store:
        transitions = Monitor(None, rules=[], store=store).transitions()
        assert {} == store.queues()
        claims = [claim.value for claim in store.scan("monitor/monitor/claims")]
        assert {0} == {claim["until"] - claim["since"] for claim in claims}
    taken, asked = lines(folder / "taken"), lines(folder / "asked")

    # Enough died, and enough happened, for this to mean something.
    assert len(killed) >= ticks / 4
    assert len(alerts) >= ticks
    # No transition is lost, none is there twice, and each has its time.
    assert story(expected) == story(transitions)
    for key in {alert.key for alert in alerts}:
        told = [(status, since) for own, status, since in taken if own == key]
        wanted = [(a.status.value, a.since.isoformat()) for a in alerts if a.key == key]
        assert wanted == [one for one, _ in groupby(told)]
    # What was sent twice, in a row and under one key, was on its way when a worker died.
    assert len(taken) - len(alerts) <= len(killed)
    for tick in set(range(ticks)) - hunted:
        # Nobody asks what the other asks, both work, and everybody is asked.
        mine = Counter(name for when, _, name in asked if when == tick)
        assert {1} == set(mine.values())
        assert set(nursery.NAMES) == set(mine)
        assert {0, 1} == {worker for when, worker, _ in asked if when == tick}
    return len(killed), len(taken), len(alerts)


def test_postgres(postgres, tmp_path):
    """Fourteen ticks on PostgreSQL."""
    check(postgres.new_schema(), tmp_path, 14, 3)


def test_sqlite(tmp_path):
    """Eight ticks of two workers on one machine, with SQLite."""
    check(f"sqlite:///{tmp_path}/d.db", tmp_path, 8, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many(postgres, tmp_path, seed):
    """Two hundred ticks, three times."""
    print(check(postgres.new_schema(), tmp_path, 200, 50 + seed))
