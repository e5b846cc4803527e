"""A rollout whose workers meet in PostgreSQL: counted once, killed without harm."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from rollout_kit import MAIN, NEW, OLD, replaces, rolling
from test_rollout_crash import CHILD
from test_rollout_workers import HALF, observe, seen

from driftline.retrain import RolloutRouter
from driftline.stores import SqlStore
from driftline.testing import LocalPlatform


def test_workers_race(postgres):
    """Four workers, each with a connection of its own: every frame is counted once."""
    url = postgres.new_schema()
    with SqlStore(url) as store, rolling(store, stages=HALF) as (_, rollout):
        rollout.advance()

        def work(number):
            with SqlStore(url) as mine, RolloutRouter(mine, MAIN) as worker:
                for batch in range(5):
                    observe(worker, 20, f"w{number}-{batch}")
                    worker.sync()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rollout.sync()

        assert 400 == seen(rollout)


def test_kill_9(postgres):
    """Processes killed by the system, one after another, make one rollout and one replace."""
    url = postgres.new_schema()
    with LocalPlatform(deployments=[], deploy_seconds=0, rate_limits=None) as local:
        local.add_deployment("line-3", model=OLD)
        local.add_deployment("line-3-next", model=NEW)
        ends = []
        for at in (3, 14, 21, -1):
            command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), local.url,
                       local.api_key, url, str(at)]  # fmt: skip
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=1200, check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            assert done.returncode in {0, -signal.SIGKILL}, done.stderr[-2000:]
            ends.append(done.returncode)

        assert [-signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0] == ends
        assert [("line-3", 200)] == replaces(local)
        assert NEW == local.deployment("line-3").model
        with SqlStore(url) as store:
            phases = [e.record["phase"] for e in store.history("retrain/rollout", MAIN)]
        assert "promoted" == phases[-1]
        assert 1 == phases.count("promoting")
