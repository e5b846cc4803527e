"""Workers: many threads and processes watch, and nothing is lost, doubled or slowed down."""

import math
import multiprocessing
import os
import threading
import time
from datetime import timedelta

import pytest
from rollout_kit import CANARY, GUARD, MAIN, NEW, found, rolling

from driftline import Rollout, errors
from driftline.retrain import Guard, Outcome, RolloutRouter, Stage
from driftline.retrain._arms import Scale, agreement
from driftline.stores import MemoryStore, SqlStore

HALF = (Stage(share=0.5), Stage(share=1.0))
SHADOW = (Stage(share=0, copies=1.0), Stage(share=0.5))


def observe(worker, frames, name):
    for number in range(frames):
        key = f"{name}-{number}"
        worker.observe(worker.route(key), Outcome(latency_ms=5.0), key=key)


def seen(rollout):
    return sum(rollout._known().ledger.stage.frames.values())


def test_threads():
    """Eight threads of one worker: every frame is counted once, while the counts are handed in."""
    with rolling(stages=HALF, sync_every=timedelta(milliseconds=1)) as (local, rollout):
        rollout.advance()
        threads = [threading.Thread(target=observe, args=(rollout, 500, f"t{i}")) for i in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            local.clock.advance(timedelta(milliseconds=2))  # a hand-in is due
            time.sleep(0.001)
        for thread in threads:
            thread.join()
        rollout.sync()

        assert 4000 == seen(rollout)


def test_workers_share_a_store():
    """Workers that race for the document all get theirs in."""
    store = MemoryStore()
    with rolling(store, stages=HALF) as (_, rollout):
        rollout.advance()
        failures = []

        def work(number):
            try:
                with RolloutRouter(store, MAIN) as worker:
                    for batch in range(10):
                        observe(worker, 20, f"w{number}-{batch}")
                        worker.sync()
            except errors.StoreError as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [] == failures
        assert 6 * 10 * 20 == seen(rollout)


def _child(url, number):
    with SqlStore(url) as store, RolloutRouter(store, MAIN) as worker:
        observe(worker, 300, f"p{number}")


def test_processes(tmp_path):
    """Processes deal alike, and their counts add up in the database."""
    url = f"sqlite:///{tmp_path}/rollout.db"
    context = multiprocessing.get_context("spawn")
    with SqlStore(url) as store, rolling(store, stages=HALF) as (_, rollout):
        rollout.advance()
        children = [context.Process(target=_child, args=(url, i)) for i in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join(1200)

        assert [0, 0, 0] == [child.exitcode for child in children]
        assert 900 == seen(rollout)
        share = rollout._known().ledger.stage.frames["candidate"] / 900
        # Five standard deviations of a binomial.
        assert abs(share - 0.5) < 5 * math.sqrt(0.25 / 900)


def forks(test):
    """A test that forks this process, in which other threads may run."""
    warned = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    needed = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    return needed(warned(test))


def status_of_child(work):
    """How a child ended that did this and no more."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


@forks
def test_fork(tmp_path):
    """A forked worker does not hand in what its parent saw."""
    url = f"sqlite:///{tmp_path}/rollout.db"
    with SqlStore(url) as store, rolling(store, stages=HALF) as (_, rollout):
        rollout.advance()
        with RolloutRouter(store, MAIN, sync_every=None) as worker:
            observe(worker, 100, "parent")

            def work():
                observe(worker, 10, "child")
                worker.sync()

            assert 0 == status_of_child(work)
            assert 10 == seen(rollout)

        assert 110 == seen(rollout)


@forks
def test_fork_before_a_frame_is_run(tmp_path):
    """The first frame that a forked worker runs, when a hand-in is due, is all it hands in."""
    url = f"sqlite:///{tmp_path}/rollout.db"
    with SqlStore(url) as store, rolling(store, stages=HALF) as (local, rollout):
        rollout.advance()
        hour = timedelta(hours=1)
        with RolloutRouter(store, MAIN, sync_every=hour, clock=local.clock) as worker:
            observe(worker, 100, "parent")
            local.clock.advance(2 * hour)

            def work():
                worker.run("child", lambda _deployment: found(1))
                worker.sync()

            assert 0 == status_of_child(work)
            assert 1 == seen(rollout)

        assert 101 == seen(rollout)


def test_store_is_away():
    """While the store fails frames go where they went, and what was seen is handed in later."""
    store = MemoryStore()
    with rolling(store, stages=HALF) as (_, rollout):
        rollout.advance()
        worker = RolloutRouter(store, MAIN)
        worker.sync()
        before = [worker.route(f"k{i}") for i in range(50)]
        get = store.get

        def broken(space, key):
            raise errors.StoreError("the disk is full")

        store.get = broken
        observe(worker, 30, "w")
        with pytest.raises(errors.StoreError):
            worker.sync()
        observe(worker, 30, "v")
        store.get = get

        assert before == [worker.route(f"k{i}") for i in range(50)]

        worker.sync()

        assert 60 == seen(rollout)


def test_failing_store_never_fails_a_frame():
    """A hand-in that comes due within `run` and fails is logged, not raised."""
    store = MemoryStore()
    with rolling(store, stages=HALF) as (_, rollout):
        rollout.advance()
        worker = RolloutRouter(store, MAIN, sync_every=timedelta(microseconds=1))

        def broken(space, key):
            raise errors.StoreError("the disk is full")

        store.get = broken

        assert MAIN == worker.run("cam-1", lambda deployment: deployment)


def test_late_frames_are_not_compared():
    """What was seen in a stage that is over does not count for the next."""
    with rolling(stages=HALF) as (_, rollout):
        rollout.advance()
        worker = RolloutRouter(rollout._store, MAIN, sync_every=None)
        worker.sync()
        observe(worker, 40, "w")
        rollout.roll_back("no")
        worker.sync()

        assert 40 == rollout.status().late
        assert MAIN == worker.route("w-1").deployment


def test_no_rollout():
    """A worker without a rollout sends everything to the main deployment and records nothing."""
    store = MemoryStore()
    with RolloutRouter(store, MAIN) as worker:
        observe(worker, 10, "w")

        assert MAIN == worker.route("w").deployment
    assert store.get("retrain/rollout", MAIN) is None


def test_run_watches():
    """`run` calls the right deployment and counts errors, slow answers and detections."""
    with rolling(stages=HALF) as (_, rollout):
        rollout.advance()
        asked = []

        def call(deployment):
            asked.append(deployment)
            if deployment == CANARY:
                raise OSError("connection reset")
            return found(4)

        for number in range(60):
            try:
                rollout.run(f"cam-{number}", call)
            except OSError:
                pass
        rollout.sync()
        stage = rollout._known().ledger.stage

        assert {MAIN, CANARY} == set(asked)
        assert 1.0 == stage.of("candidate", "errors").mean
        assert 0.0 == stage.of("incumbent", "errors").mean
        assert 4 / 20 == pytest.approx(stage.of("incumbent", "boxes").mean)


@pytest.mark.parametrize(
    "fault", [errors.InputError("x"), errors.RateLimited("x"), errors.RefusedInput("x")]
)
def test_callers_faults_do_not_count(fault):
    """An error that says nothing about the model is raised and not counted."""
    with rolling(stages=HALF) as (_, rollout):
        rollout.advance()

        def call(deployment):
            raise fault

        with pytest.raises(type(fault)):
            rollout.run("cam-1", call)
        rollout.sync()

        assert 0 == seen(rollout)


def test_shadow_copies():
    """In shadow both are asked, the incumbent's answer is served, and the pair is compared."""
    guard = Guard(block=timedelta(0), latency_ms=1e6)
    with rolling(stages=SHADOW, guard=guard) as (_, rollout):
        rollout.advance()
        served = [
            len(rollout.run(f"f{i}", lambda d: found(3 if d == MAIN else 5))) for i in range(20)
        ]
        stop_waiting = time.monotonic() + 60
        while seen(rollout) < 40 and time.monotonic() < stop_waiting:
            time.sleep(0.01)
            rollout.sync()
        rollout.close()
        stage = rollout._known().ledger.stage

        assert [3] * 20 == served
        assert 20 == stage.of("paired", "boxes").n
        assert 2 / 20 == pytest.approx(2 * stage.of("paired", "boxes").mean - 1)
        assert 0.75 == pytest.approx(stage.of("paired", "agreement").mean)


def test_shadow_harms_nobody():
    """A candidate that fails or hangs in shadow costs the caller nothing but a bounded queue."""
    guard = Guard(block=timedelta(0), latency_ms=1e6)
    gate, waited_out = threading.Event(), []
    with rolling(stages=SHADOW, guard=guard) as (_, rollout):
        rollout.advance()

        def call(deployment):
            if deployment == CANARY:
                waited_out.extend([] if gate.wait(60) else [deployment])
                raise RuntimeError("weights do not load")
            return found(3)

        answers = [rollout.run(f"f{i}", call) for i in range(200)]

        assert 200 == len(answers)

        gate.set()
        rollout.close()
        pairs = rollout._known().ledger.stage.of("paired", "errors")

        assert [] == waited_out  # no call was there until the candidate came back
        assert 1 <= pairs.n <= 32 + 2
        assert 1.0 == 2 * pairs.mean - 1


def test_scale():
    """An outcome becomes numbers from 0 to 1; what it does not tell is left out."""
    scale = Scale(latency_ms=100, boxes=10)

    assert {"errors": 1.0} == scale.of(Outcome(ok=False, latency_ms=7))
    assert {"errors": 0.0, "slow": 1.0} == scale.of(Outcome(latency_ms=101))
    assert {"errors": 0.0, "boxes": 0.0} == scale.of(Outcome(detections=found(0)))
    assert {"errors": 0.0, "boxes": 1.0, "confidence": 0.5} == pytest.approx(
        scale.of(Outcome(detections=found(30, 0.5)))
    )


def test_outcome_is_checked():
    """A latency that cannot be is refused."""
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(errors.InputError, match="latency_ms"):
            Outcome(latency_ms=value)


def test_agreement():
    """Boxes agree when class and place do, each once."""
    assert 1.0 == agreement(found(3), found(3))
    assert 1.0 == agreement(found(0), found(0))
    assert 0.0 == agreement(found(3), found(0))
    assert 0.8 == pytest.approx(agreement(found(2), found(3)))


def test_guard_of_the_document_is_followed():
    """Workers measure by the guard of the rollout, not by one of their own."""
    with rolling(stages=HALF, guard=Guard(latency_ms=1.0, block=timedelta(0))) as (_, rollout):
        rollout.advance()
        with RolloutRouter(rollout._store, MAIN) as worker:
            observe(worker, 10, "w")

        assert 1.0 == rollout._known().ledger.stage.of("candidate", "slow").mean


def test_repr():
    """It says what it follows; no store password, no key."""
    rollout = Rollout(
        None, MemoryStore(), MAIN, canary=CANARY, candidate=NEW, stages=HALF, guard=GUARD
    )

    assert "Rollout('acme/line-3', 0 to 'acme/line-3')" == repr(rollout)
