"""The ratios that must hold: fails when one has grown past its bound.

    OMP_NUM_THREADS=1 python benchmarks/ratios.py [NAME ...]

The table below is the one place where they are. A ratio is CPU time of ours over CPU time of the
reference, measured in turns in this process (imports: in processes of their own), and the least of ours over
the least of theirs is judged: other processes only ever add, by what they push out of the caches.
Bounds lie well above what was last measured: they are there for what doubles, not for what trembles.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from typing import TypeAlias

import judge_fleet
import map_bootstrap
import numpy as np
import outbox
import route
import weekly_check
import weight
from kit import Discard, cpu
from observe import WHEN, histograms, reply
from scipy import stats

from driftline import Monitor
from driftline.drift import DriftDetector, ks_2samp
from driftline.holdout import evaluate
from driftline.holdout._evaluation import Scoring, _resample
from driftline.profiles import CONFIDENCE, Profile, ProfileBuilder
from driftline.records import Detections
from driftline.stores import SqlStore
from driftline.testing import FrozenClock

Work: TypeAlias = Callable[[], object]
Turns: TypeAlias = list[tuple[float, float]]
"""What ours and what the reference took, a pair a turn."""
TURNS = 5
SHORT = 50
"""Turns of what takes milliseconds."""


def turns(ours: Work, theirs: Work, times: int = TURNS) -> Turns:
    """CPU seconds of both, after a turn that is not counted; garbage is collected in between."""
    ours(), theirs()
    taken = []
    for _ in range(times):
        gc.collect()
        gc.disable()  # as `timeit` does: the heap of the rest is no cost of either side
        taken.append((cpu(ours)[0], cpu(theirs)[0]))
        gc.enable()
    return taken


# What is measured ---------------------------------------------------------------------------------


def sides(n: int = 1_000_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2026)
    return 0.25 + 0.75 * rng.beta(3.0, 1.6, n), 0.25 + 0.75 * rng.beta(2.9, 1.65, n)


def two_samples() -> Turns:
    a, b = sides()
    return turns(lambda: ks_2samp(a, b), lambda: stats.ks_2samp(a, b))


def from_counts() -> Turns:
    a, b = sides()

    def profile(values: np.ndarray, day: int) -> Profile:
        counts = np.bincount(CONFIDENCE.bin(values), minlength=CONFIDENCE.n_bins)
        return Profile.from_counts(
            {"confidence": counts[None, None, None]},
            periods=[WHEN.replace(hour=0) + timedelta(days=day)],
            cameras=["line-3"],
            frames=[[len(values)]],
        )

    def ours() -> None:
        DriftDetector(reference=profile(a, 0), method="ks").compare(profile(b, 7))

    return turns(ours, lambda: stats.ks_2samp(a, b))


def observe_reply() -> Turns:
    rng = np.random.default_rng(0)
    bodies = [reply(rng, 10) for _ in range(100)]  # milliseconds: less than a turn at the core
    replies = [Detections.from_platform(json.loads(body)) for body in bodies]
    builder, seconds = ProfileBuilder(), count()

    def ours() -> None:
        for found in replies:
            builder.observe(found, camera="c", at=WHEN + timedelta(seconds=next(seconds)))

    return turns(ours, lambda: deque(map(json.loads, bodies), maxlen=0), SHORT)


def count_boxes() -> Turns:
    n, rng = 1_000_000, np.random.default_rng(0)
    corner = rng.random((n, 2)) * 400
    found = Detections(
        xyxy=np.hstack([corner, corner + 1 + rng.random((n, 2)) * 199]),
        confidence=rng.beta(4, 2, n),
        class_id=rng.integers(0, 5, n),
        image_size=(640, 640),
    )
    frame = np.arange(n) // 10

    def ours() -> None:
        Profile.from_arrays(
            xyxy=found.xyxy,
            confidence=found.confidence,
            class_id=found.class_id,
            frame=frame,
            image_size=(640, 640),
            camera="c",
            at=WHEN,
            frames=n // 10,
        )

    return turns(ours, lambda: histograms(found), 3)


def route_key() -> Turns:
    worker = route.router()

    def each(call: Callable[[str], object]) -> Work:
        return lambda: [call(key) for key in route.KEYS]

    return turns(each(worker.route), each(route.md5), SHORT)


def weekly() -> Turns:
    few, many = (_week_check(n, doublings=d) for n, d in ((10_000, 0), (160_000, 6)))
    return turns(many, few)


def _week_check(boxes: int, *, doublings: int) -> Work:
    """The check of so many boxes a side, counted again and again until there are enough."""
    rng = np.random.default_rng([2026, boxes])
    reference, week = weekly_check.REFERENCE_DAYS, weekly_check.WEEK_DAYS
    sizes = [boxes // reference] * reference + [boxes // week] * week
    days = [
        weekly_check.one_day(i, n, cameras=3, classes=4, rng=rng)[0] for i, n in enumerate(sizes)
    ]
    for _ in range(doublings):
        days = [Profile.merge(day, day) for day in days]
    before, now = Profile.merge(*days[:reference]), Profile.merge(*days[reference:])
    return lambda: DriftDetector(reference=before, permutations=weekly_check.RELABELLINGS).compare(
        now
    )


def bootstrap() -> Turns:
    labels, predictions = map_bootstrap.world(300, 3, seed=1)
    data, found = map_bootstrap.coco_data(labels, predictions, list(range(300)), 3)
    coco, rng = map_bootstrap.by_pycocotools(data, found), np.random.default_rng(2)
    table = evaluate(labels, predictions, replicates=2).table
    assert table is not None
    scoring = Scoring(replicates=1000)

    def all_replicates() -> None:
        table.replicates(_resample(table, scoring).weights, method="coco101")

    taken = turns(all_replicates, lambda: map_bootstrap.accumulate_again(coco, rng), 3)
    return [(ours / scoring.replicates, theirs) for ours, theirs in taken]  # a replicate each


def judging() -> Turns:
    clock = FrozenClock(judge_fleet.START)
    table = judge_fleet.Table(200, clock)
    with tempfile.TemporaryDirectory() as folder, SqlStore(f"sqlite:///{folder}/a.db") as store:
        monitor = Monitor(
            table, deployments=table.names, rules=judge_fleet.RULES, store=store,
            sinks=[Discard()], clock=clock, forward=False, log_lines=0, workers=1,
        )  # fmt: skip

        def runs() -> Iterator[tuple[float, float]]:
            while True:
                table.prepare()
                ours = cpu(monitor.run_once)[0]
                yield ours, judge_fleet.by_hand(table, Path(folder) / "hand.db")
                clock.advance(5 * judge_fleet.MINUTE)

        return list(islice(runs(), 1, 1 + TURNS))  # the first run judges a whole hour


def telling() -> Turns:
    alerts = outbox.incident(500)
    with tempfile.TemporaryDirectory() as folder, outbox.sqlite() as store:
        return turns(
            lambda: outbox.through_the_outbox(store, alerts),
            lambda: outbox.table_by_hand(Path(folder) / "hand.db", alerts),
        )


def importing(code: str, reference: str) -> Turns:
    def one(code: str) -> float:
        return weight.process(code).cpu_seconds

    one(code)
    return [(one(code), one(reference)) for _ in range(TURNS)]


def memory() -> Turns:
    ours, theirs = (weight.process(code).peak_mb for code in (weight.EVERY_NAME, weight.MUST))
    return [(ours, theirs)]


def wheel_kilobytes() -> Turns:
    with tempfile.TemporaryDirectory() as folder:
        return [(weight.wheel(Path(folder)).stat().st_size / 1000, 1.0)]


# What must hold -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One line of the table.

    Attributes:
        name: to ask for it alone.
        what: ours / what a user would pick or does anyway.
        bound: it may not lie above this.
        source: why this bound.
        last: what it was when last looked at, 29 November 2026, Python 3.11, 2 busy cores.
        turns: measures both sides.
    """

    name: str
    what: str
    bound: float
    source: str
    last: float
    turns: Callable[[], Turns]


PROMISED = "a promise of README.md or the benchmarks' page"
TWICE = "about twice the last figure"
RATIOS = (
    Ratio(
        name="ks", what="ks_2samp / scipy's, 1e6 values a side",
        bound=0.33, source=PROMISED, last=0.12, turns=two_samples,
    ),
    Ratio(
        name="counts", what="from_counts and compare / scipy's ks_2samp, 1e6 a side",
        bound=0.33, source=PROMISED, last=0.14, turns=from_counts,
    ),
    Ratio(
        name="observe", what="observe / json.loads of the same reply, 10 boxes",
        bound=1.5, source=TWICE, last=0.78, turns=observe_reply,
    ),
    Ratio(
        name="boxes", what="from_arrays / np.histogram of its features, 1e6 boxes",
        bound=2.4, source=TWICE, last=1.2, turns=count_boxes,
    ),
    Ratio(
        name="route", what="route / MD5 modulo 100",
        bound=1.5, source=TWICE, last=0.8, turns=route_key,
    ),
    Ratio(
        name="weekly", what="weekly check of 1e7 boxes a side / of 1e4",
        bound=4, source=TWICE, last=1.9, turns=weekly,
    ),
    Ratio(
        name="bootstrap", what="a replicate of mAP / pycocotools' accumulate, 300 frames",
        bound=0.02, source=PROMISED, last=0.0079, turns=bootstrap,
    ),
    Ratio(
        name="judge", what="a run of 200 deployments, 5 rules / loops by hand, SQLite",
        bound=1.3, source=TWICE, last=0.58, turns=judging,
    ),
    Ratio(
        name="outbox", what="500 alerts through the outbox / a table by hand, SQLite",
        bound=2.5, source=TWICE, last=1.2, turns=telling,
    ),
    Ratio(
        name="import", what="import driftline / a bare start of Python",
        bound=2.5, source="importing it does nothing", last=1.4,
        turns=lambda: importing("import driftline", "pass"),
    ),
    Ratio(
        name="names", what="every public name / import numpy, httpx, attr",
        bound=7, source=TWICE, last=4.1,
        turns=lambda: importing(weight.EVERY_NAME, weight.MUST),
    ),
    Ratio(
        name="memory", what="peak MB of every public name / of numpy, httpx, attr",
        bound=2, source="a third above the last figure", last=1.48, turns=memory,
    ),
    Ratio(
        name="packages", what="packages of a plain install",
        bound=11, source="attrs, httpx, numpy, scipy and what these need", last=11,
        turns=lambda: [(len(weight.packages("driftline")), 1.0)],
    ),
    Ratio(
        name="wheel", what="kB of the wheel",
        bound=1200, source="a third above the last figure", last=874, turns=wheel_kilobytes,
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="some only", metavar="NAME")
    options = parser.parse_args()
    known = {ratio.name for ratio in RATIOS}
    if unknown := set(options.names) - known:
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(sorted(known))}")
    print("| name | ours / the reference | bound | why | last | now | turns |")
    print("|---|---|---|---|---|---|---|")
    above = []
    for ratio in RATIOS:
        if options.names and ratio.name not in options.names:
            continue
        found = ratio.turns()
        now = min(ours for ours, _ in found) / min(theirs for _, theirs in found)
        each = [ours / theirs for ours, theirs in found]
        print(
            f"| {ratio.name} | {ratio.what} | {ratio.bound:g} | {ratio.source} | {ratio.last:.3g} "
            f"| {now:.3g} | {min(each):.3g} to {max(each):.3g} |",
            flush=True,
        )
        if now > ratio.bound:
            above.append(f"{ratio.name} is {now:.3g}, above {ratio.bound:g}")
    if above:
        raise SystemExit("; ".join(above))


if __name__ == "__main__":
    main()
