"""kill -9 at random points of hundreds of runs: no transition lost, nothing under a second key."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest

from driftline import Monitor
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import FrozenClock, RecordingSink

SUPPORT = Path(__file__).parent.parent / "monitor"


def calm(runs):
    """Transitions and alerts of the same runs when nobody is killed."""
    sys.path.insert(0, str(SUPPORT))
    try:
        import kill_nursery as nursery
    finally:
        sys.path.remove(str(SUPPORT))
    clock = FrozenClock(nursery.START)
    table, sink = nursery.Table(clock), RecordingSink()
    nursery.paint(table)
    monitor = Monitor(
        table, deployments=[nursery.LINE], rules=nursery.RULES, sinks=[sink], store=MemoryStore(),
        clock=clock, log_lines=0,
    )  # fmt: skip
    for number in range(runs):
        clock.set(nursery.START + number * timedelta(minutes=5))
        monitor.run_once()
    return monitor.transitions(), sink.alerts


def story(transitions):
    return sorted((t.key, t.at, t.change.value, t.value, t.since) for t in transitions)


def survive(url, folder, runs, seed):
    """Runs with kills; how many were killed, the transitions kept, and what each sink took."""
    receipts = folder / "receipts"
    receipts.touch()
    done = subprocess.run(
        [sys.executable, SUPPORT / "kill_nursery.py", url, receipts, str(runs), str(seed)],
        capture_output=True, text=True, timeout=1200, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr[-3000:]
    with SqlStore(url) as store:
        transitions = Monitor(None, rules=[], store=store).transitions()
        assert {} == store.queues()
    taken = [json.loads(line) for line in receipts.read_text().splitlines()]
    return json.loads(done.stdout)["killed"], transitions, taken


def check(url, folder, runs, seed):
    expected, alerts = calm(runs)
    killed, transitions, taken = survive(url, folder, runs, seed)

    # Enough died, and enough happened, for this to mean something.
    assert killed > runs / 4
    assert len(alerts) > runs / 15
    # No transition is lost, none is there twice, and each has its time.
    assert story(expected) == story(transitions)
    for sink in ("a", "b"):
        mine = [
            (key, status, datetime.fromisoformat(since))
            for name, key, status, since in taken
            if name == sink
        ]
        for key in {alert.key for alert in alerts}:
            told = [(status, since) for own, status, since in mine if own == key]
            wanted = [(a.status.value, a.since) for a in alerts if a.key == key]
            # At least once and in order: what came twice came twice in a row.
            assert wanted == [one for one, _ in groupby(told)]
        assert {key for key, _, _ in mine} == {alert.key for alert in alerts}
    return killed, len(taken), 2 * len(alerts)


def test_sqlite(tmp_path):
    """120 runs on SQLite."""
    check(f"sqlite:///{tmp_path}/d.db", tmp_path, 120, 1)


def test_postgres(postgres, tmp_path):
    """60 runs on PostgreSQL."""
    check(postgres.new_schema(), tmp_path, 60, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_hundreds_of_runs(tmp_path, seed):
    """500 runs, five times."""
    print(check(f"sqlite:///{tmp_path}/d.db", tmp_path, 500, 100 + seed))


@pytest.mark.slow
def test_hundreds_of_runs_on_postgres(postgres, tmp_path):
    """400 runs on PostgreSQL."""
    print(check(postgres.new_schema(), tmp_path, 400, 7))
