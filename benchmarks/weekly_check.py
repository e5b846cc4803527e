"""What the weekly check costs: ten thousand boxes a side or ten million, the same.

    OMP_NUM_THREADS=1 python benchmarks/weekly_check.py [--cameras 3] [--classes 4]

Four reference weeks and one week are counted first; what is measured is the check of the counts,
with all features and 2,000 relabellings of days, by a detector that is new (as in a cron job) and
by one that has compared before. Beside it stands the same idea without counts: whole days of raw
confidences relabelled and a plain KS distance for each relabelling, for one feature of all cameras
together; it is timed for a few relabellings and scaled up.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from kit import cpu

from driftline.drift import DriftDetector
from driftline.profiles import Profile

FloatArray: TypeAlias = npt.NDArray[np.float64]

START = datetime(2026, 11, 2, tzinfo=UTC)
REFERENCE_DAYS, WEEK_DAYS = 28, 7
BOXES_PER_FRAME = 5
RELABELLINGS = 2000
LIMIT_SECONDS = 0.3


def one_day(
    number: int, boxes: int, *, cameras: int, classes: int, rng: np.random.Generator
) -> tuple[Profile, FloatArray]:
    """The counts of a day, and its raw confidences; days differ a little, as they do."""
    frames = max(cameras, boxes // BOXES_PER_FRAME)
    side = np.exp(rng.normal(np.log(50), 0.7, (boxes, 2))).clip(6, 250)
    corner = rng.random((boxes, 2)) * [640 - 250, 480 - 250]
    confidence = 0.25 + 0.75 * rng.beta(3.0 * np.exp(rng.normal(0, 0.05)), 1.6, boxes)
    profile = Profile.from_arrays(
        xyxy=np.hstack([corner, corner + side]),
        confidence=confidence,
        class_id=rng.integers(classes, size=boxes),
        frame=rng.integers(frames, size=boxes),
        image_size=(480, 640),
        camera=np.array([f"line-{i}" for i in range(cameras)])[np.arange(frames) % cameras],
        at=START + timedelta(days=number),
        frames=frames,
    )
    return profile, confidence


def by_hand(days: Sequence[FloatArray], times: int, rng: np.random.Generator) -> float:
    """CPU seconds of all relabellings of raw days, from a few."""
    from scipy.stats import ks_2samp

    ks_2samp(days[0][:100], days[1][:100])

    def relabel() -> None:
        for _ in range(times):
            order = rng.permutation(len(days))
            week, reference = order[:WEEK_DAYS], order[WEEK_DAYS:]
            ks_2samp(
                np.concatenate([days[i] for i in reference]),
                np.concatenate([days[i] for i in week]),
            )

    return cpu(relabel)[0] / times * RELABELLINGS


def check(boxes: int, *, cameras: int, classes: int, repeats: int) -> float:
    """Print what a check of `boxes` boxes a side costs; gives that of a new detector."""
    rng = np.random.default_rng([2026, boxes])
    sizes = [boxes // REFERENCE_DAYS] * REFERENCE_DAYS + [boxes // WEEK_DAYS] * WEEK_DAYS
    days = [one_day(i, n, cameras=cameras, classes=classes, rng=rng) for i, n in enumerate(sizes)]
    reference = Profile.merge(*(profile for profile, _ in days[:REFERENCE_DAYS]))
    week = Profile.merge(*(profile for profile, _ in days[REFERENCE_DAYS:]))
    new, again = [], []
    for _ in range(repeats):
        detector = DriftDetector(reference=reference, permutations=RELABELLINGS)
        new.append(cpu(lambda: detector.compare(week))[0])  # noqa: B023  called at once
        seconds, report = cpu(lambda: detector.compare(week))  # noqa: B023
        again.append(seconds)
    hand = by_hand([raw for _, raw in days], max(2, min(50, 1_000_000 // boxes)), rng)
    print(
        f"| {boxes:,} | {len(report.cells)} | {min(new):.3f} | {min(again):.3f} "
        f"| {hand:,.1f} | {hand / min(new):,.0f}x |",
        flush=True,
    )
    return min(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{options.cameras} cameras, {options.classes} classes, {RELABELLINGS} relabellings; CPU s\n"
    )
    print(
        "| boxes a side | cells | new detector | again | raw days by hand, one cell | times new |"
    )
    print("|---|---|---|---|---|---|")
    worst = max(
        check(n, cameras=options.cameras, classes=options.classes, repeats=options.repeats)
        for n in options.sizes
    )
    verdict = "within" if worst < LIMIT_SECONDS else "ABOVE"
    print(f"\nThe dearest check costs {worst:.3f} s: {verdict} the limit of {LIMIT_SECONDS:g} s")


if __name__ == "__main__":
    main()
