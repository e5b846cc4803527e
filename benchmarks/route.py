"""What routing and watching a frame cost, beside what one would write instead.

    python benchmarks/route.py

The alternatives are the usual ones: a coin (which is not sticky), CRC-32 modulo 100 (which deals
the same keys first in every rollout), MD5 modulo 100 (which is what most feature flags do).
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
import timeit
import zlib
from collections.abc import Callable

from driftline.retrain import Guard, Outcome, RolloutRouter
from driftline.retrain._arms import Counts, Tally
from driftline.retrain._guard import Ledger, Question, judge
from driftline.retrain._router import Table
from driftline.retrain._stages import SHARES, begin, checked_stages
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock

KEYS = [f"acme/site-4/camera-{i:04d}" for i in range(1000)]
CALLS = 200


def microseconds(call: Callable[[str], object], repeats: int = 7) -> float:
    """Best time of one call, as `timeit` advises."""
    rounds = CALLS // 10
    best = min(timeit.repeat(lambda: [call(key) for key in KEYS], number=rounds, repeat=repeats))
    return best / rounds / len(KEYS) * 1e6


def coin(_key: str) -> bool:
    return random.random() < 0.05


def crc(key: str) -> bool:
    return zlib.crc32(f"rollout-7:{key}".encode()) % 100 < 5


def md5(key: str) -> bool:
    return int(hashlib.md5(f"rollout-7:{key}".encode()).hexdigest(), 16) % 100 < 5


def in_threads(call: Callable[[str], object], threads: int) -> float:
    """Microseconds of one call while several threads do nothing else, by the wall clock."""

    def work() -> None:
        for _ in range(CALLS):
            for key in KEYS:
                call(key)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - began) / (CALLS * len(KEYS) * threads) * 1e6


def router() -> RolloutRouter:
    """A worker in the midst of a stage of 5 %."""
    clock = FrozenClock()
    state = begin(
        salt="rollout-7",
        refs=("acme/line-3", "acme/line-3-next"),
        models=("vision/model-v2", "vision/model-v1"),
        stages=checked_stages(SHARES),
        guard=Guard(),
        now=clock.now(),
    ).run(now=clock.now())
    made = RolloutRouter(MemoryStore(), "acme/line-3", clock=clock, sync_every=None)
    made._follow(state)  # noqa: SLF001 - a rollout without a platform
    return made


def judging() -> float:
    """Milliseconds of one judgement of all four measures."""
    tallies = {
        f"{arm}/{measure}": Tally(n=n, total=0.03 * n, spread=0.03 * n)
        for arm, n in (("incumbent", 95_000), ("candidate", 5_000))
        for measure in ("errors", "slow", "boxes", "confidence")
    }
    ledger = Ledger(open=Counts(tallies=tallies, frames={"candidate": 5_000}))
    question = Question(guard=Guard(), paired=False)
    return min(timeit.repeat(lambda: judge(question, ledger), number=5, repeat=5)) / 5 * 1e3


def main() -> None:
    worker = router()
    table = Table(salt="r", deployment="acme/a", canary="acme/b", share=0.05, stage=0)
    ours = microseconds(worker.route)
    print(f"rollout.route(key)            {ours:6.2f} us   (promised: under 5 us)")
    print(f"  in 4 threads                {in_threads(worker.route, 4):6.2f} us")
    for name, other in (("coin, not sticky", coin), ("crc32, affine", crc), ("md5 hex", md5)):
        cost = microseconds(other)
        print(f"{name:<28}  {cost:6.2f} us   ours is {ours / cost:.1f} times that")
    print(f"the table alone               {microseconds(table.lookup()):6.2f} us")
    outcome, route = Outcome(latency_ms=90.0), worker.route("k")
    print(
        "rollout.observe(route, ...)   "
        f"{microseconds(lambda key: worker.observe(route, outcome, key=key), 3):6.2f} us"
    )
    print(f"one judgement                 {judging():6.2f} ms, whatever the number of frames")


if __name__ == "__main__":
    main()
