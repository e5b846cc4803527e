"""Make the pictures of the explanation pages: ``python docs/make_pictures.py [drift accuracy rollout]``.

Each shows what the project's own code said of a world in which the truth is known; the titles are
put together from the results. It is one draw each, with the first seed and not the nicest: rates
over many sites, years and rollouts stand in the pages. Each is drawn for the light and for the dark
theme of the site. Takes about 45 CPU seconds.
Needs the extras ``plots`` and ``testing``, onnxruntime, and the worlds of the tests.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import matplotlib as mpl
import numpy as np
from make_screenshot import draw_pair
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "tests" / room) for room in ("drift", "retrain")]

import rollout_kit  # noqa: E402
from sites import profile  # noqa: E402
from worlds import CALM, SHIFTS, Boxes, Site, World  # noqa: E402

from driftline import (  # noqa: E402
    DriftDetector,
    DriftReport,
    Evaluation,
    HoldoutValidator,
    Trend,
)
from driftline._draw import Axis, Dots, Line, Picture, Role, Rule, plot  # noqa: E402
from driftline.drift import Method  # noqa: E402
from driftline.retrain import Difference, Guard, Phase, Stage  # noqa: E402
from driftline.testing import OnnxDetector, Scenes  # noqa: E402

SEED = 1
REFERENCE_WEEKS, CALM_WEEKS, SHIFTED_WEEKS = 4, 16, 4
YEAR_WEEKS, LABELLED_A_WEEK = 52, 120
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
TOLERATED, INCUMBENT_FAILS, WORSE_FAILS = 0.02, 0.01, 0.06
FRAMES_A_LOOK, MOST_LOOKS = 40, 75


def main() -> None:
    """Draw those that are named, or all."""
    mpl.use("agg")
    pictures: dict[str, Callable[[], Callable[[], Figure]]] = {
        "drift": drift,
        "accuracy": accuracy,
        "rollout": rollout,
    }
    for name in sys.argv[1:] or pictures:
        draw_pair(pictures[name](), f"explained-{name}", colours=128)


# Drift ---------------------------------------------------------------------------------------


def drift() -> Callable[[], Figure]:
    """A calm site and then a real shift, as plain KS and as the default see it."""
    world, shift = World(), SHIFTS["confidence -.05"]
    site = Site(world, np.random.default_rng(SEED), REFERENCE_WEEKS)
    begins = REFERENCE_WEEKS + CALM_WEEKS
    n = begins + SHIFTED_WEEKS
    weeks = [site.week(CALM if number < begins else shift) for number in range(n)]
    profiles = [profile(boxes, world, number) for number, boxes in enumerate(weeks)]
    told: dict[Method, list[DriftReport]] = {"ks": [], "block": []}
    for method, reports in told.items():
        detector = DriftDetector(reference=profiles[:REFERENCE_WEEKS], method=method)
        for week in profiles[REFERENCE_WEEKS:]:
            reports.append(detector.compare(week, previous=reports))
    ks, block = ([report.flagged for report in told[method]] for method in ("ks", "block"))
    shifted = told["block"][CALM_WEEKS:]
    seen = [report.flagged for report in shifted].index(True) + 1
    confirmed = [report.drifted is True for report in shifted].index(True) + 1
    title = (
        f"Plain KS flags {sum(ks[:CALM_WEEKS])} of {CALM_WEEKS} calm weeks, the default "
        f"{sum(block[:CALM_WEEKS])}; it flags a real shift in its week {seen} and confirms it in "
        f"week {confirmed}"
    )
    return partial(_draw_drift, title, weeks, [ks, block])


def _draw_drift(title: str, weeks: list[Boxes], flags: list[list[bool]]) -> Figure:
    begins, n = REFERENCE_WEEKS + CALM_WEEKS, len(weeks)
    figure, (top, bottom) = plt.subplots(
        2, figsize=(7.5, 5.4), layout="constrained", height_ratios=(3, 1.3)
    )
    x = Axis(label="week", low=0.0, high=float(n + 1))
    start = Rule(at=begins + 0.5, across="x", role="ink", text="confidence -0.05")
    plot(
        Picture(
            title=title,
            detail="simulated site: 5 cameras, weather shared by all, boxes that share frames; "
            f"reference weeks 1 to {REFERENCE_WEEKS}",
            x=Axis(label="", low=x.low, high=x.high),
            y=Axis(label="mean confidence"),
            marks=[*_daily(weeks), start],
        ),
        top,
    )
    plot(
        Picture(
            title="",
            x=x,
            y=Axis(label="", scale="names", names=("plain KS", "default")),
            marks=[*_flags(flags), Rule(at=start.at, across="x", role="ink")],
        ),
        bottom,
    )
    return figure


def _daily(weeks: list[Boxes]) -> list[Dots]:
    """The mean confidence of each day of the reference, and of the weeks after it."""
    n = len(weeks)
    means = [
        np.bincount(boxes.day, weights=boxes.confidence) / np.bincount(boxes.day) for boxes in weeks
    ]
    at = [number + 0.57 + np.arange(7) / 7 for number in range(n)]
    cut = REFERENCE_WEEKS
    return [
        Dots(x=np.ravel(at[:cut]), y=np.ravel(means[:cut]), label="days of the reference"),
        Dots(x=np.ravel(at[cut:]), y=np.ravel(means[cut:]), role="current", label="days watched"),
    ]


def _flags(rows: list[list[bool]]) -> list[Dots]:
    """A disc for each week that was flagged, a ring for each that was not."""
    marks = []
    looks: dict[bool, tuple[Role, str]] = {
        True: ("bad", "flagged"),
        False: ("muted", "not flagged"),
    }
    for flagged, (role, label) in looks.items():
        places = [
            (REFERENCE_WEEKS + 1 + number, row)
            for row, flags in enumerate(rows)
            for number, flag in enumerate(flags)
            if flag is flagged
        ]
        x, y = zip(*places, strict=True)
        marks.append(Dots(x=x, y=y, role=role, label=label, hollow=not flagged))
    return marks


# Accuracy ------------------------------------------------------------------------------------


def accuracy() -> Callable[[], Figure]:
    """A year of a model that nobody touches: its trend, and where the rule of thumb alarms."""
    detector = OnnxDetector(ROOT / "detector" / "shapes.onnx")
    evaluations = [
        HoldoutValidator(
            data=list(islice(Scenes(seed=week).stream(), LABELLED_A_WEEK)),
            model=detector,
            at=FIRST_DAY + week * timedelta(weeks=1),
            replicates=300,
        ).validate()
        for week in range(YEAR_WEEKS)
    ]
    so_far = [evaluations[: week + 1] for week in range(YEAR_WEEKS)]
    thumb = [
        week
        for week, seen in enumerate(so_far)
        if Trend.of(seen, rule="three falling weeks").verdict == "falling"
    ]
    ours = [week for week, seen in enumerate(so_far) if Trend.of(seen).verdict == "falling"]
    return partial(_draw_accuracy, evaluations, thumb, ours)


def _draw_accuracy(evaluations: list[Evaluation], thumb: list[int], ours: list[int]) -> Figure:
    points = Trend.of(evaluations).points
    weeks = [week + 1.0 for week in range(YEAR_WEEKS)]
    value = [point.corrected for point in points]
    low, high = zip(*(point.interval for point in points if point.interval), strict=True)
    figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    plot(
        Picture(
            title="The model never changed: three falling weeks in a row alarm in "
            f"{_weeks(thumb)} of the year, the trend rule in {_weeks(ours)}",
            detail=f"demo detector, {LABELLED_A_WEEK} new labelled frames a week, 95 % intervals",
            x=Axis(label="week", low=0.0, high=YEAR_WEEKS + 1.0),
            y=Axis(label="mAP@0.5:0.95"),
            marks=[
                *(
                    Line(x=(at, at), y=ends, role="grid")
                    for at, *ends in zip(weeks, low, high, strict=True)
                ),
                Line(x=weeks, y=value, width=1.0),
                Dots(x=weeks, y=value, label="a week"),
                Dots(
                    x=[weeks[week] for week in thumb],
                    y=[value[week] for week in thumb],
                    role="bad",
                    label="three falling weeks",
                ),
            ],
        ),
        ax,
    )
    return figure


def _weeks(places: list[int]) -> str:
    """Weeks by number, counted from 1."""
    numbers = [str(place + 1) for place in places]
    if not numbers:
        return "none"
    return f"week{'s' * (len(numbers) > 1)} {' and '.join(numbers)}"


# Rollout -------------------------------------------------------------------------------------


def rollout() -> Callable[[], Figure]:
    """Two candidates on half of the traffic, until the guard is sure of each."""
    worse, last = watched(WORSE_FAILS)
    good, _ = watched(INCUMBENT_FAILS)
    assert last is Phase.ROLLED_BACK
    return partial(_draw_rollout, worse, good)


def _draw_rollout(worse: list[Difference], good: list[Difference]) -> Figure:
    needed = worse[-1].needed[0]
    cleared = next(seen.observations for seen in good if seen.is_fine)
    high = 10 * max(needed, good[-1].not_worse)
    figure, (top, bottom) = plt.subplots(
        2, figsize=(7.5, 6.4), layout="constrained", height_ratios=(1, 1.5)
    )
    most = float(good[-1].observations)
    plot(
        Picture(
            title=f"The guard sends the worse candidate back after {worse[-1].observations:,} of its "
            f"frames, and clears the good one after {cleared:,}",
            detail=f"true share of calls that fail: incumbent {_percent(INCUMBENT_FAILS)}, worse "
            f"candidate {_percent(WORSE_FAILS)}, good one {_percent(INCUMBENT_FAILS)}; "
            f"{_percent(TOLERATED)} more is tolerated",
            x=Axis(label="", low=0.0, high=most),
            y=Axis(label="failed calls so far", low=0.0, percent=True),
            marks=[
                _line(good, lambda seen: seen.incumbent, "muted", "incumbent"),
                _line(worse, lambda seen: seen.candidate, "bad", "worse candidate"),
                _line(good, lambda seen: seen.candidate, "good", "good candidate"),
            ],
        ),
        top,
    )
    plot(
        Picture(
            title="",
            x=Axis(label="frames of the candidate", low=0.0, high=most),
            y=Axis(label="evidence (odds against chance)", scale="log", low=0.01, high=high),
            marks=[
                _line(worse, lambda seen: seen.worse, "bad", "worse one: is it worse?"),
                _line(good, lambda seen: seen.not_worse, "good", "good one: is it not worse?"),
                _line(good, lambda seen: seen.worse, "other", "good one: is it worse?"),
                Rule(at=needed, role="ink", text=f"needed: {needed:.0f}"),
            ],
        ),
        bottom,
    )
    return figure


def watched(fails: float) -> tuple[list[Difference], Phase]:
    """What a rollout's guard says of a candidate, look by look, until it is rolled back."""
    world = rollout_kit.World(SEED)
    world.error_rate = {"incumbent": INCUMBENT_FAILS, "candidate": fails}
    guard = Guard(errors=TOLERATED, slow=None, boxes=None, confidence=None, block=timedelta(0))
    plan = [Stage(share=0.5, dwell=timedelta(days=1))]
    looks: list[Difference] = []
    with rollout_kit.rolling(stages=plan, guard=guard) as (local, running):
        status = running.advance()
        while status.phase.dealing and len(looks) < MOST_LOOKS:
            world.serve(running, FRAMES_A_LOOK)
            local.clock.advance(timedelta(seconds=FRAMES_A_LOOK))
            status = running.advance()
            looks += status.judgement.differences
    return looks, status.phase


def _line(
    seen: list[Difference], read: Callable[[Difference], float], role: Role, label: str
) -> Line:
    return Line(
        x=[one.observations for one in seen], y=[read(one) for one in seen], role=role, label=label
    )


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


if __name__ == "__main__":
    main()
