"""A rollout killed anywhere goes on where it was: one rollout, one replace, no lost traffic."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from rollout_kit import CANARY, MAIN, NEW, OLD, replaces, rolling

from driftline import Rollout
from driftline.errors import PlatformError, StoreError, Unreachable
from driftline.retrain import Guard, Outcome, Phase, Stage
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform

NO_TIME, LAG = timedelta(0), timedelta(seconds=20)
QUICK = {
    "stages": (
        Stage(share=0.5, dwell=NO_TIME, frames=50),
        Stage(share=1.0, dwell=NO_TIME, frames=50),
    ),
    "guard": Guard(errors=0.1, slow=None, boxes=None, confidence=None, block=NO_TIME),
    "auto_promote": True,
}


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Fragile:
    """An object whose n-th call dies, before or after it did its work."""

    def __init__(self, inner, fuse):
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name):
        return self._fuse.around(getattr(self._inner, name), name)


class Fuse:
    def __init__(self, at=None, *, after=False):
        self.at, self.after, self.count = at, after, 0

    def around(self, call, name):
        def lit(*args, **kwargs):
            self.count += 1
            dies = self.count - 1 == self.at
            if dies and not self.after:
                raise Killed(name)
            answer = call(*args, **kwargs)
            if dies:
                raise Killed(name)
            return answer

        return lit


class Part:
    """The four methods of a store that a rollout uses, each of which may die."""

    def __init__(self, inner, fuse):
        self._inner = inner
        for name in ("get", "write"):
            setattr(self, name, fuse.around(getattr(inner, name), name))

    def _pass(self, *args, **kwargs):
        raise NotImplementedError

    scan = history = waiting = queues = dead = acquire = renew = release = _pass


def make(local, platform, store, fuse):
    return Rollout(
        Fragile(platform, fuse),
        Part(store, fuse),
        MAIN,
        canary=CANARY,
        candidate=NEW,
        clock=local.clock,
        **QUICK,
    )


def serve(rollout, frames=400):
    for number in range(frames):
        key = f"frame-{number}"
        rollout.observe(rollout.route(key), Outcome(latency_ms=9.0), key=key)
    rollout.sync()


def run_to(rollout, phase):
    """Traffic and scheduler calls until a phase."""
    rollout.advance()
    for _ in range(20):
        serve(rollout)
        if rollout.advance().phase is phase:
            return
    raise AssertionError(str(rollout.status()))


def calls_of_a_whole_run(end):
    fuse = Fuse()
    with rolling(deploy_seconds=4) as (local, plain):
        end(make(local, plain._platform, MemoryStore(), fuse))
    return fuse.count


def promote(rollout):
    run_to(rollout, Phase.PROMOTED)


def promote_and_back(rollout):
    rollout.advance()
    if rollout.status().phase not in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}:
        run_to(rollout, Phase.PROMOTED)
        rollout.roll_back("no")
    assert Phase.ROLLED_BACK is rollout.advance().phase


def test_killed_after_every_call():
    """Killed after any one call to the store or the Platform, it ends in one replace.

    Between two calls nothing happens that anybody could see, so that dying before a call is
    dying after the one before.
    """
    total = calls_of_a_whole_run(promote)
    assert total > 30
    for at in range(total):
        store = MemoryStore()
        with rolling(deploy_seconds=4) as (local, plain):
            dying = make(local, plain._platform, store, Fuse(at, after=True))
            with pytest.raises(Killed):
                promote(dying)
            promote(make(local, plain._platform, store, Fuse()))

            assert [("line-3", 202)] == replaces(local), at
            assert NEW == local.deployment("line-3").model
            phases = [entry.record["phase"] for entry in store.history("retrain/rollout", MAIN)]
            assert [
                "preparing",
                "running",
                "running",
                "awaiting approval",
                "promoting",
                "promoted",
            ] == phases, at


def test_killed_on_the_way_back():
    """Killed at any call of a rollback after promotion, the old model comes back by one replace."""
    total = calls_of_a_whole_run(promote_and_back)
    for at in range(calls_of_a_whole_run(promote), total):
        store = MemoryStore()
        with rolling(deploy_seconds=4) as (local, plain):
            dying = make(local, plain._platform, store, Fuse(at, after=True))
            with pytest.raises(Killed):
                promote_and_back(dying)
            promote_and_back(make(local, plain._platform, store, Fuse()))

            assert [("line-3", 202)] * 2 == replaces(local), at
            assert OLD == local.deployment("line-3").model


def test_traffic_stays_after_a_crash():
    """While nobody calls advance, workers go on dealing by the stage that was reached."""
    store = MemoryStore()
    with rolling() as (local, plain):
        dying = make(local, plain._platform, store, Fuse())
        dying.advance()
        before = [dying.route(f"k{i}") for i in range(500)]
        dying._platform = Fragile(plain._platform, Fuse(0))
        with pytest.raises(Killed):
            dying.advance()
        worker = make(local, plain._platform, store, Fuse())
        worker.sync()

        assert before == [worker.route(f"k{i}") for i in range(500)]


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from driftline import PlatformClient
from driftline.stores import SqlStore
from driftline.testing import FrozenClock
from test_rollout_crash import *
url, key, database, at = sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
clock = FrozenClock()
class Here:
    pass
Here.clock = clock
class KillFuse(Fuse):
    def around(self, call, name):
        lit = super().around(call, name)
        def deadly(*args, **kwargs):
            try:
                return lit(*args, **kwargs)
            except Killed:
                os.kill(os.getpid(), signal.SIGKILL)
        return deadly
with PlatformClient(base_url=url, api_key=key, clock=clock) as platform:
    promote(make(Here, platform, SqlStore(database), KillFuse(at if at >= 0 else None, after=at % 2 == 1)))
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_kill_9(tmp_path):
    """Processes that are killed by the system, one after another, make one rollout together."""
    database = f"sqlite:///{tmp_path}/rollout.db"
    with LocalPlatform(deployments=[], deploy_seconds=0, rate_limits=None) as local:
        local.add_deployment("line-3", model=OLD)
        local.add_deployment("line-3-next", model=NEW)

        def child(at):
            return subprocess.run(
                [
                    sys.executable,
                    "-c",
                    CHILD,
                    str(Path(__file__).parent),
                    local.url,
                    local.api_key,
                    database,
                    str(at),
                ],
                capture_output=True,
                text=True,
                timeout=1200,
                check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

        for at in (3, 14, 21, 8, 5):
            seen = child(at)
            assert seen.returncode in {-signal.SIGKILL, 0}, seen.stderr
        last = child(-1)

        assert "done" in last.stdout, last.stderr
        assert [("line-3", 200)] == replaces(local)
        assert NEW == local.deployment("line-3").model


def test_two_schedulers_at_once():
    """Schedulers that call at the same moment, from many threads, send one replace."""
    store = MemoryStore()
    with rolling() as (local, plain):
        first = make(local, plain._platform, store, Fuse())
        to_the_replace(first)
        failures = []

        def work():
            mine = make(local, plain._platform, store, Fuse())
            try:
                mine.advance()
            except PlatformError as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [] == failures
        assert Phase.PROMOTED is first.advance().phase
        assert [("line-3", 202)] == replaces(local)


class Far:
    """A Platform far away: the reply to a replace may be lost, and what it shows may be old."""

    def __init__(self, real, clock, *, heard=False, lag=NO_TIME):
        self.real, self.clock, self.heard, self.lag = real, clock, heard, lag
        self.old, self.until = None, clock.now()

    def deployment(self, ref):
        late = ref == MAIN and self.clock.now() < self.until
        return self.old if late else self.real.deployment(ref)

    def replace(self, ref, model, *, wait=True):
        self.old, self.until = self.real.deployment(ref), self.clock.now() + self.lag
        self.real.replace(ref, model, wait=wait)
        if not self.heard:
            raise Unreachable("the reply was lost")


def to_the_replace(rollout):
    """All stages; the next call replaces the main deployment."""
    for _ in QUICK["stages"]:
        rollout.advance()
        serve(rollout)


def test_reply_is_lost():
    """A replace whose reply never came is looked for before it is sent again."""
    with rolling(**QUICK) as (local, rollout):
        rollout._platform = Far(rollout._platform, local.clock)
        to_the_replace(rollout)
        with pytest.raises(Unreachable):
            rollout.advance()

        assert Phase.PROMOTED is rollout.advance().phase
        assert [("line-3", 202)] == replaces(local)


def test_platform_shows_the_state_before():
    """What is read just after a replace may be old: it is looked at again, not sent again."""
    with rolling(**QUICK) as (local, rollout):
        rollout._platform = Far(rollout._platform, local.clock, lag=LAG)
        to_the_replace(rollout)
        with pytest.raises(Unreachable):
            rollout.advance()

        assert Phase.PROMOTED is rollout.advance().phase
        assert [("line-3", 202)] == replaces(local)


@pytest.mark.parametrize("heard", [True, False])
def test_called_off_while_a_replace_is_on_its_way(heard):
    """A rollback just after a replace, of which nothing is to be seen yet, outlasts it."""
    with rolling(**QUICK) as (local, rollout):
        rollout._platform = Far(rollout._platform, local.clock, lag=LAG, heard=heard)
        to_the_replace(rollout)
        with suppress(Unreachable):
            rollout.advance(wait=False)
        assert Phase.PROMOTING is rollout.status().phase
        assert Phase.ROLLING_BACK is rollout.roll_back("no", wait=False).phase
        with suppress(Unreachable):
            rollout.advance()

        assert Phase.ROLLED_BACK is rollout.advance().phase
        assert OLD == local.deployment("line-3").model


def test_batch_is_counted_once():
    """A batch that was written although the store said it failed is not counted twice."""
    store = MemoryStore()
    with rolling(store, **QUICK) as (_, rollout):
        rollout.advance()
        real = store.write

        def stutter(changes, *, lease=None):
            real(changes, lease=lease)
            store.write = real
            raise StoreError("connection lost after the commit")

        store.write = stutter
        with pytest.raises(StoreError):
            serve(rollout)
        rollout.sync()

        assert 400 == sum(rollout._known().ledger.stage.frames.values())
