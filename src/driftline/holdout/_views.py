"""What there is to see of evaluations, trends, comparisons and calibrations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from driftline._draw import Axis, Picture, Role, Table, Tone, View, days
from driftline._draw._pictures import MOST_ROWS, Row, precision_recall, ranked, reliability, weeks
from driftline._draw._svg import shortened
from driftline._stats.average_precision import RECALL_GRID, precision_at_recalls
from driftline._stats.trend import compared

if TYPE_CHECKING:
    from driftline._stats.intervals import Estimate, Interval
    from driftline.holdout._calibration import Calibration
    from driftline.holdout._comparison import Change, Comparison
    from driftline.holdout._evaluation import Evaluation
    from driftline.holdout._label_free import PrecisionEstimate
    from driftline.holdout._scores import Score
    from driftline.holdout._trend import Trend

MAP: Final = "mAP@0.5:0.95"
TONES: Final[Mapping[str, Tone]] = {
    "holding": "good",
    "falling": "bad",
    "intact": "good",
    "broken integrity": "bad",
    "better": "good",
    "worse": "bad",
    "no difference shown": "unknown",
    "too little data": "unknown",
}


# Trend ---------------------------------------------------------------------------------------


def trend(one: Trend) -> Picture:
    """The weeks with their intervals, and the two levels that are held against each other."""
    timed = all(point.at is not None for point in one.points)
    at = [point.week if point.at is None else days(point.at) for point in one.points]
    intervals = [_ends(point.interval) for point in one.points]
    values = [point.corrected for point in one.points]
    return weeks(
        title=trend_told(one),
        detail=_trend_numbers(one),
        x=Axis(label="week of", scale="time") if timed else Axis(label="week"),
        y=Axis(label=MAP),
        at=at,
        value=values,
        low=[low for low, _ in intervals],
        high=[high for _, high in intervals],
        tone=TONES[one.verdict],
        levels=_levels(one, at, values),
    )


def _levels(
    one: Trend, at: Sequence[float], values: Sequence[float]
) -> list[tuple[float, float, float, str]]:
    """The first and the last weeks, as the trend compares them."""
    if one.drop is None or one.role == "golden":
        return []
    n, m = compared(len(at))
    return [
        (at[0], at[n - 1], fmean(values[:n]), f"mean of the first {n}"),
        (at[-m], at[-1], fmean(values[-m:]), f"mean of the last {m}"),
    ]


def trend_told(one: Trend) -> str:
    """The verdict in one sentence."""
    if one.verdict == "too little data" or one.drop is None:
        return f"Too little data for a trend: {one.reason}"
    first, last = one.points[0].map, one.points[-1].map
    if one.verdict == "intact":
        return f"Intact: the frozen set still scores {last:.3f}"
    if one.verdict == "broken integrity":
        return f"Broken integrity: the frozen set scored {first:.3f} and now {last:.3f}"
    way = "below" if one.drop > 0 else "above"
    moved = f"the last weeks are {100 * abs(one.drop):.1f} points {way} the first"
    return f"{MAP} is falling: {moved}" if one.verdict == "falling" else f"{MAP} holds: {moved}"


def _trend_numbers(one: Trend) -> str:
    told = [f"weeks: {one.weeks}"]
    if one.drop_interval is not None:
        low, high = one.drop_interval
        told.append(f"last less first {-100 * high:+.1f} to {-100 * low:+.1f} points (95 %)")
    if one.z is not None:
        told.append(f"z = {one.z:.2f}, alarm below {one.threshold}")
    if one.verdict == "holding" and one.detectable_drop is not None:
        told.append(f"a drop of {100 * one.detectable_drop:.1f} points would show in 80 %")
    return "; ".join(told)


def view_of_trend(one: Trend) -> View:
    """A trend for a notebook."""
    return View(
        kind=f"trend of the {one.role} set",
        verdict=one.verdict,
        tone=TONES[one.verdict],
        headline="" if one.points else trend_told(one),
        facts=[("deployment", one.deployment)] if one.deployment else [],
        lines=[one.reason] if one.drop is not None else [],
        pictures=[trend(one)] if one.points else [],
        notes=one.notes,
    )


# Evaluation ----------------------------------------------------------------------------------


def evaluation(one: Evaluation) -> Picture:
    """Precision over recall of each class; where the detections were not kept, the scores."""
    curves = {} if one.table is None else _curves(one)
    if not curves:
        return scores(one)
    points = {
        name: (recall, precision)
        for name, score in one.per_class.items()
        if score.operating is not None
        and (recall := score.operating.recall.value) is not None
        and (precision := score.operating.precision.value) is not None
    }
    used = one.overall.operating
    rings = "" if used is None else f"; rings: at confidence {used.confidence:g}"
    return precision_recall(
        title=_told_at_50(one),
        detail=f"{one.n_frames:,} frames{rings}",
        curves=curves,
        points=points,
    )


def _curves(
    one: Evaluation,
) -> dict[str, tuple[Sequence[float], npt.NDArray[np.float64]]]:
    """Recall and precision of the classes that have objects, the weakest first."""
    assert one.table is not None
    weakest = sorted(one.per_class, key=lambda name: one.per_class[name].map50 or 0.0)
    places = {name: index for index, name in enumerate(one.per_class)}
    curves = {}
    for name in weakest:
        precision = precision_at_recalls(one.table.ranking(places[name]), one.table.weights)
        if np.isfinite(precision).all():
            curves[name] = (RECALL_GRID.tolist(), precision)
    return curves


def scores(one: Evaluation) -> Picture:
    """Average precision of classes, sizes and tags with intervals, the lowest of each first."""
    parts: list[tuple[Role, list[Score]]] = [
        ("reference", _lowest(one.per_class)),
        ("other", _lowest(one.per_size)),
        *(("good", _lowest(found)) for found in one.per_tag.values()),
    ]
    many = sum(len(group) for _, group in parts) > MOST_ROWS
    rows = [
        Row(name=score.name, value=float(score), low=low, high=high, role=role)
        for role, group in parts
        for score in group[: MOST_ROWS // len(parts) if many else None]
        for low, high in [_ends(score.map_interval)]
    ]
    rest = "; the lowest of each" if many else ""
    labels: dict[Role, str] = {"reference": "class", "other": "size"}
    if one.per_tag:
        labels["good"] = ", ".join(one.per_tag)
    return ranked(
        title=evaluation_told(one),
        detail=f"{100 * one.level:g} % intervals, {one.n_frames:,} frames{rest}",
        axis=Axis(label="average precision, mean over IoU 0.50 to 0.95", low=0.0),
        rows=rows,
        rules={"all": one.map} if math.isfinite(one.map) else {},
        labels=labels,
    )


def _lowest(scores: Mapping[str, Score]) -> list[Score]:
    """Those that are known, the lowest first."""
    return sorted((score for score in scores.values() if score.map is not None), key=float)


def evaluation_told(one: Evaluation) -> str:
    """The score in one sentence, with the class that is detected worst."""
    known = {name: score.map for name, score in one.per_class.items()}
    return f"{MAP} is {_told(one.overall.estimate)}{_weakest(known)}"


def _told_at_50(one: Evaluation) -> str:
    known = {name: score.map50 for name, score in one.per_class.items()}
    return f"mAP@0.5 is {_told(one.overall.estimate50)}{_weakest(known)}"


def _weakest(scores: Mapping[str, float | None]) -> str:
    known = {name: score for name, score in scores.items() if score is not None}
    if len(known) < 2:  # noqa: PLR2004  one class is all there is
        return ""
    name = min(known, key=known.__getitem__)
    return f"; weakest is {shortened(name)} at {known[name]:.3f}"


def view_of_evaluation(one: Evaluation) -> View:
    """An evaluation for a notebook."""
    facts = [("frames", f"{one.n_frames:,}, {one.n_units:,} independent"), ("set", one.role)]
    if one.at is not None:
        facts.append(("week of", f"{one.at:%Y-%m-%d}"))
    if one.deployment:
        facts.append(("deployment", one.deployment))
    if one.overall.operating is not None:
        facts.append(("used", str(one.overall.operating)))
    rows = [_score_row(score) for score in (one.overall, *one.per_class.values())]
    return View(
        kind="evaluation",
        verdict=f"mAP {one.map:.3f}",
        headline=evaluation_told(one),
        facts=facts,
        pictures=[evaluation(one), scores(one), calibration(one.calibration)],
        tables=[Table(head=("class", MAP, "interval", "mAP@0.5", "objects"), rows=rows)],
        notes=one.notes,
    )


def _score_row(score: Score) -> tuple[str, ...]:
    interval = "-" if score.map_interval is None else str(score.map_interval)
    return (score.name, _number(score.map), interval, _number(score.map50), f"{score.n_truth:,}")


# Calibration ---------------------------------------------------------------------------------


def calibration(one: Calibration) -> Picture:
    """Confidence against precision, bin by bin."""
    known = [
        (found.confidence, found.precision.value, *_ends(found.precision.interval))
        for found in one.bins
        if found.confidence is not None and found.precision.value is not None
    ]
    confidence, precision, low, high = zip(*known, strict=True) if known else ((), (), (), ())
    return reliability(
        title=_calibration_told(one),
        detail=f"{sum(found.n for found in one.bins):,} detections in ten bins of confidence",
        confidence=confidence,
        precision=precision,
        low=low,
        high=high,
    )


def _calibration_told(one: Calibration) -> str:
    if one.error is None:
        return "Calibration is unknown: no detections"
    gaps = [
        found.n * (found.precision.value - found.confidence)
        for found in one.bins
        if found.confidence is not None and found.precision.value is not None
    ]
    lean = sum(gaps) / sum(found.n for found in one.bins)
    if abs(lean) < one.error / 2:
        return f"Confidence is off by {one.error:.2f} on average, up and down"
    word = "less often" if lean < 0 else "more often"
    return f"Detections are right {word} than they say: off by {one.error:.2f} on average"


def view_of_calibration(one: Calibration) -> View:
    """A calibration for a notebook."""
    return View(kind="calibration", pictures=[calibration(one)])


# Comparison, label-free estimate -------------------------------------------------------------


def comparison(one: Comparison) -> Picture:
    """Differences of classes, sizes and tags with intervals, those that moved in colour."""
    kinds = [one.per_class, one.per_size, *one.per_tag.values()]
    changes = [change for kind in kinds for change in kind.values()]
    rows = [
        Row(name="all", value=one.difference.value or 0.0, low=low, high=high, role="ink")
        for low, high in [_ends(one.difference.interval)]
        if one.difference.value is not None
    ]
    rows += [_change_row(change) for change in sorted(changes, key=_moved_most)]
    return ranked(
        title=_comparison_told(one),
        detail=f"first less other, {one.pairing}; colour: differs after correction for looking at many",
        axis=Axis(label="difference in average precision, IoU 0.50 to 0.95"),
        rows=[row for row in rows if math.isfinite(row.value)],
        rules={"no difference": 0.0},
    )


def _moved_most(change: Change) -> tuple[bool, float]:
    return (not change.moved, -abs(change.difference.value or 0.0))


def _change_row(change: Change) -> Row:
    value = math.nan if change.difference.value is None else change.difference.value
    low, high = _ends(change.difference.interval)
    role: Role = "unknown" if not change.moved else "good" if value > 0 else "bad"
    return Row(name=change.name, value=value, low=low, high=high, role=role)


def _comparison_told(one: Comparison) -> str:
    if one.difference.value is None:
        return "Too little data to compare"
    said = {
        "better": "The first is better",
        "worse": "The first is worse",
        "no difference shown": "No difference is shown",
        "too little data": "Too little data to compare",
    }[one.verdict]
    ends = one.difference.interval
    interval = "" if ends is None else f" ({100 * ends.low:+.1f} to {100 * ends.high:+.1f})"
    return f"{said}: {100 * one.difference.value:+.1f} points of {MAP}{interval}"


def view_of_comparison(one: Comparison) -> View:
    """A comparison for a notebook."""
    sure = "-" if one.probability is None else f"{100 * one.probability:.1f} %"
    return View(
        kind="comparison",
        verdict=one.verdict,
        tone=TONES[one.verdict],
        facts=[
            ("probability that the first is better", sure),
            ("frames", f"{one.pairing}, {one.n_shared:,} shared"),
        ],
        pictures=[comparison(one)],
        notes=one.notes,
    )


def view_of_precision(one: PrecisionEstimate) -> View:
    """A precision without labels for a notebook."""
    parts = {**one.per_class, **one.per_camera}
    rows = [
        (name, _number(found.value), str(found.interval or "-")) for name, found in parts.items()
    ]
    notes = list(one.notes)
    if one.invalid_cameras:
        notes.append(f"invalid for cameras {', '.join(one.invalid_cameras)}: left out")
    return View(
        kind="precision without labels" if one.method == "calibration" else "precision, few labels",
        headline=f"Precision is about {_told(one.precision)}",
        facts=[
            ("method", one.method),
            ("assumes", one.assumption),
            ("true positives per frame", one.true_positives_per_frame),
            ("data", f"{one.n_frames:,} frames, {one.n_detections:,} detections"),
        ],
        tables=[Table(head=("class or camera", "precision", "interval"), rows=rows)],
        notes=notes,
    )


def _told(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"unknown ({estimate.reason})"
    if estimate.interval is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({100 * estimate.level:g} % {estimate.interval})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (math.nan, math.nan) if interval is None else (interval.low, interval.high)
