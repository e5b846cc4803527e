"""Week after week: is the model falling, holding, or is there too little data to say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from numbers import Integral, Real
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from attrs import asdict, evolve, frozen

from driftline._checks import parts, refuse_kinds, refuse_other
from driftline._draw import Shown, View, plot
from driftline._stats.intervals import Interval, normal_quantile
from driftline._stats.trend import (
    Slope,
    excess_scatter,
    falling_run,
    mann_kendall,
    recent_difference,
    theil_sen,
    union_test,
    weighted_slope,
)
from driftline.errors import InputError, UnreadableData
from driftline.holdout import _views
from driftline.holdout._evaluation import Evaluation, Role, sample_time
from driftline.holdout._integrity import changed_frames
from driftline.holdout._parsed import reading
from driftline.records import Metric, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Trend", "TrendPoint", "TrendRule", "TrendVerdict"]

FloatArray = npt.NDArray[np.float64]

TrendRule = Literal["union", "three falling weeks", "one point below for three weeks"]
"""When mAP counts as falling; "union" is calibrated, the two others are the usual rules of thumb."""
TrendVerdict = Literal["holding", "falling", "too little data", "intact", "broken integrity"]
"""What a trend concludes: the first two of recent frames, the last two of the frozen set."""

SCHEMA: Final = "driftline.trend/1"
BASELINE_WEEKS: Final = 4
ALARM_Z: Final = -2.93  # 5 % false alarms a year, see _stats.trend.union_test
FEWEST_WEEKS: Final = 3
ONE_POINT: Final = 0.01
SAME_MAP: Final = 0.002  # hardware and library noise moves mAP by up to about 1e-3
_WEEK: Final = timedelta(days=7)
_WEAKNESS: Final[Mapping[TrendRule, str]] = {
    "union": "",
    "three falling weeks": (
        "three falling weeks in a row are weak evidence: without any change they come up in 86 % of years"
    ),
    "one point below for three weeks": (
        "a drop of more than 1.0 point three weeks running is weak evidence: it knows neither the "
        "error of a week nor that of the baseline"
    ),
}


@frozen(kw_only=True)
class TrendPoint:
    """The score of one week.

    Attributes:
        week: time since the first point, in weeks.
        map: mAP@0.5:0.95, [0, 1].
        corrected: the same less its small-sample bias: weeks of different size compare.
        standard_error: standard error of it.
        interval: its interval.
        n_frames: labelled frames.
        at: start of the week, UTC; None where it was not said.
    """

    week: float
    map: float
    corrected: float
    standard_error: float | None
    interval: Interval | None
    n_frames: int
    at: datetime | None = None


@frozen(kw_only=True)
class Trend(Shown):
    """How mAP@0.5:0.95 of one model moved over the weeks.

    A model that is not changed scores the same on the same frames for ever. So only a random
    sample of each week's frames has a trend (role "recent"); on the frozen set (role "golden") a
    change means that something broke: export, preprocessing, driver, or the wrong weights.

    Attributes:
        verdict: recent: "falling", "holding" or "too little data"; golden: "intact",
            "broken integrity" or "too little data".
        reason: the verdict in one sentence with its numbers.
        role: what the points are.
        rule: the rule that was used.
        points: the weeks, oldest first.
        slope_per_week: change of mAP per week by weighted least squares; None: too little data.
        interval: its 95 % interval.
        drop: mean of the first weeks less mean of the last (up to four each); positive when it
            fell. Golden: first less last. None: too little data.
        drop_interval: its 95 % interval; None for golden, which has no sampling error.
        median_slope_per_week: median of the slopes of all pairs of weeks (Theil 1950, Sen 1968),
            which one bad week hardly moves; it decides nothing.
        mann_kendall_p: one-sided p-value of the Mann-Kendall test for falling; it decides
            nothing: judged each week at 0.05 it alarms falsely in most years.
        weeks_down: how many weeks in a row, up to the last, were below the one before.
        z: statistic of the rule "union", in standard errors; None: not used.
        threshold: `z` below this is "falling".
        scatter: factor (>= 1) by which the variance between weeks exceeds what the intervals
            explain; z is divided by its root.
        detectable_drop: drop of the last weeks that the rule finds with 80 % probability.
        changed_frames: golden: frames whose detections differ from the first evaluation.
        notes: what to know before the verdict is trusted.
    """

    verdict: TrendVerdict
    reason: str
    role: Role
    rule: TrendRule
    points: tuple[TrendPoint, ...]
    slope_per_week: float | None = None
    interval: Interval | None = None
    drop: float | None = None
    drop_interval: Interval | None = None
    median_slope_per_week: float | None = None
    mann_kendall_p: float | None = None
    weeks_down: int = 0
    z: float | None = None
    threshold: float = ALARM_Z
    scatter: float = 1.0
    detectable_drop: float | None = None
    changed_frames: tuple[str, ...] = ()
    deployment: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation], *, rule: TrendRule = "union") -> Trend:
        """The trend of some evaluations of one model.

        Args:
            evaluations: one a week. Their times order them; without times they are taken as
                consecutive weeks in the order given. Recent sets must be disjoint random samples
                of about equal size.
            rule: "union" alarms falsely in 5 % of years; the two others are the guide's rules of
                thumb, kept for those who must follow them.

        Raises:
            ContextMismatch: the evaluations were made under different settings or models.
            InputError: they mix roles, only some carry a time, two have the same time, or one
                holds frames that were selected because they drifted or looked unsure.
        """
        refuse_other("rule", rule, _WEAKNESS)
        given = parts(evaluations, Evaluation, name="evaluations", what="an Evaluation")
        ordered = _ordered(given)
        for later in ordered[1:]:
            ordered[0].settings.require_same(later.settings)
        points = _points(ordered)
        if ordered and ordered[0].role == "golden":
            return _golden(ordered, points)
        return _recent(ordered, points, rule)

    @property
    def weeks(self) -> int:
        """Number of weeks."""
        return len(self.points)

    def __repr__(self) -> str:
        """Verdict, slope and number of weeks."""
        slope = "" if self.slope_per_week is None else f", {self.slope_per_week:+.4f} a week"
        return f"Trend({self.verdict!r}{slope}, {self.weeks} weeks, {self.role})"

    def __str__(self) -> str:
        """Verdict, reason, weeks and notes."""
        lines = [f"{self.verdict}: {self.reason}"]
        lines += [
            f"  week {point.week:g}: {point.map:.3f}"
            + ("" if point.interval is None else f" ({point.interval})")
            + f", {point.n_frames} frames"
            for point in self.points
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """The weeks with their intervals and the levels that were compared, titled with the verdict.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.trend(self), ax)

    def _view(self) -> View:
        return _views.view_of_trend(self)

    def to_samples(self, *, at: datetime | None = None) -> tuple[Sample, ...]:
        """Slope, drop and verdict as metrics; what is unknown is left out.

        Args:
            at: time of the samples; None takes that of the last evaluation.

        Raises:
            InputError: there is neither.
        """
        if not self.points or self.verdict == "too little data":
            return ()
        when = sample_time(at, self.points[-1].at)
        numbers: dict[Metric, float | None] = (
            {Metric.GOLDEN_BROKEN: float(self.verdict == "broken integrity")}
            if self.role == "golden"
            else {
                Metric.MAP_FALLING: float(self.verdict == "falling"),
                Metric.MAP_SLOPE: self.slope_per_week,
                Metric.MAP_DROP: self.drop,
            }
        )
        return tuple(
            Sample(metric=metric, value=value, at=when, deployment=self.deployment)
            for metric, value in numbers.items()
            if value is not None
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self, value_serializer=_plain) | {"schema": SCHEMA}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trend:
        """The trend that `to_dict` wrote.

        Raises:
            UnreadableData: it was written in a form this version does not know.
        """
        with reading("trend"):
            return cls._read(values)

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> Trend:
        if values.get("schema") != SCHEMA:
            msg = f"schema {values.get('schema')!r} is not {SCHEMA!r}, which this version reads"
            raise UnreadableData(msg)
        refuse_kinds(values, _TREND)
        for name, words in (("verdict", TrendVerdict), ("role", Role), ("rule", TrendRule)):
            refuse_other(name, values[name], get_args(words))
        fewest = 1 if values["role"] == "golden" else FEWEST_WEEKS
        if values["drop"] is not None and len(values["points"]) < fewest:
            msg = f"a trend of {len(values['points'])} weeks has a drop"
            raise UnreadableData(msg)
        plain = {name: value for name, value in values.items() if name != "schema"}
        made = dict(
            plain,
            points=tuple(_point_from_dict(point) for point in values["points"]),
            interval=_interval(values["interval"]),
            drop_interval=_interval(values["drop_interval"]),
            changed_frames=parts(values["changed_frames"], str, name="changed_frames", what="text"),
            notes=parts(values["notes"], str, name="notes", what="text"),
        )
        return cls(**made)


_MAYBE: Final = (Real, NoneType)
_TREND: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("slope_per_week", "drop", "median_slope_per_week", "mann_kendall_p"), _MAYBE),
    **dict.fromkeys(("z", "detectable_drop"), _MAYBE),
    **dict.fromkeys(("threshold", "scatter"), Real),
    "weeks_down": Integral,
    "deployment": str,
}
_POINT: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("week", "map", "corrected"), Real),
    "standard_error": _MAYBE,
    "n_frames": Integral,
}


def _plain(_instance: object, _attribute: object, value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _interval(values: Sequence[float] | None) -> Interval | None:
    return None if values is None else Interval(*values)


def _point_from_dict(values: Mapping[str, Any]) -> TrendPoint:
    refuse_kinds(values, _POINT)
    at = values["at"]
    made = dict(
        values,
        interval=_interval(values["interval"]),
        at=None if at is None else datetime.fromisoformat(at),
    )
    return TrendPoint(**made)


def _ordered(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    timed = [one.at for one in evaluations if one.at is not None]
    if timed and len(timed) < len(evaluations):
        msg = f"{len(evaluations) - len(timed)} of {len(evaluations)} evaluations have no time; pass at= to all or none"
        raise InputError(msg)
    if len(set(timed)) < len(timed):
        msg = "two evaluations have the same time; pool their frames and evaluate them once"
        raise InputError(msg)
    if len({one.role for one in evaluations}) > 1:
        msg = "golden and recent sets are different things; make a trend of each"
        raise InputError(msg)
    if selected := sum(one.n_selected for one in evaluations if one.role == "recent"):
        msg = (
            f"{selected} frames were selected, not drawn: their score tells of the selection; "
            "make a trend of random frames, or give each its weight, 1 / probability"
        )
        raise InputError(msg)
    places = sorted(range(len(timed)), key=timed.__getitem__)
    return [evaluations[place] for place in places] if timed else list(evaluations)


def _points(ordered: Sequence[Evaluation]) -> tuple[TrendPoint, ...]:
    start = ordered[0].at if ordered else None
    return tuple(
        TrendPoint(
            week=float(place) if start is None or one.at is None else (one.at - start) / _WEEK,
            map=one.map,
            corrected=_or(one.overall.estimate.corrected, one.map),
            standard_error=one.overall.estimate.standard_error,
            interval=one.map_interval,
            n_frames=one.n_frames,
            at=one.at,
        )
        for place, one in enumerate(ordered)
    )


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _recent(
    ordered: Sequence[Evaluation], points: tuple[TrendPoint, ...], rule: TrendRule
) -> Trend:
    errors = [point.standard_error for point in points if point.standard_error is not None]
    trend = Trend(
        verdict="too little data",
        reason=f"weeks so far: {len(points)}; a trend needs at least {FEWEST_WEEKS}",
        role="recent",
        rule=rule,
        points=points,
        deployment=ordered[0].deployment if ordered else "",
        notes=_notes(ordered, rule),
    )
    if len(points) < FEWEST_WEEKS:
        return trend
    if len(errors) < len(points):
        return evolve(trend, reason="a week has too few frames for an interval")
    return _judged(trend, np.array(errors))


def _judged(trend: Trend, errors: FloatArray) -> Trend:
    times = np.array([point.week for point in trend.points])
    values = np.array([point.corrected for point in trend.points])
    scatter = excess_scatter(values, errors)
    widened = errors * scatter**0.5
    slope = weighted_slope(times, values, widened)
    rise = recent_difference(values, widened, baseline=BASELINE_WEEKS)
    z = union_test(times, values, widened, baseline=BASELINE_WEEKS).lowest
    down = falling_run(values)
    falling: Mapping[TrendRule, bool] = {
        "union": z < ALARM_Z,
        "three falling weeks": down >= FEWEST_WEEKS,
        "one point below for three weeks": _point_below(values),
    }
    return evolve(
        trend,
        verdict="falling" if falling[trend.rule] else "holding",
        reason=_told(slope, rise, z, down),
        slope_per_week=slope.slope,
        interval=_around(slope.slope, slope.standard_error),
        drop=-rise.slope,
        drop_interval=_around(-rise.slope, rise.standard_error),
        median_slope_per_week=theil_sen(times, values),
        mann_kendall_p=mann_kendall(values).p_falling,
        weeks_down=down,
        z=z,
        scatter=scatter,
        # Alarm with 80 %: the shift must pass the threshold by the 80 % quantile of a normal.
        detectable_drop=(normal_quantile(0.6) - ALARM_Z) * rise.standard_error,
    )


def _point_below(values: FloatArray) -> bool:
    """Each of the last three weeks is more than one point below the mean of the first ones."""
    first = min(BASELINE_WEEKS, len(values) - FEWEST_WEEKS)
    if first < 1:
        return False
    return bool((values[-FEWEST_WEEKS:] < values[:first].mean() - ONE_POINT).all())


def _around(value: float, error: float) -> Interval:
    half = normal_quantile(0.95) * error
    return Interval(value - half, value + half)


def _told(slope: Slope, rise: Slope, z: float, down: int) -> str:
    change = rise.slope
    low, high = _around(abs(change), rise.standard_error)
    return (
        f"mAP@0.5:0.95 changes by {100 * slope.slope:+.2f} points a week; the last weeks are "
        f"{100 * abs(change):.1f} points {'below' if change < 0 else 'above'} the first "
        f"(95 % {100 * low:.1f} to {100 * high:.1f}); z = {z:.2f}, alarm below {ALARM_Z}; "
        f"weeks down in a row: {down}"
    )


def _notes(ordered: Sequence[Evaluation], rule: TrendRule) -> tuple[str, ...]:
    notes = [_WEAKNESS[rule]] if _WEAKNESS[rule] else []
    digests = [one.truth_digest for one in ordered]
    if len(set(digests)) < len(digests):
        notes.append(
            "two evaluations share the same frames: a model that is not changed cannot move on "
            'them; draw new random frames each week, or say role="golden"'
        )
    sizes = [one.n_frames for one in ordered]
    if sizes and max(sizes) > 2 * min(sizes):
        notes.append(
            f"weeks hold {min(sizes)} to {max(sizes)} frames: small samples are biased upward, and "
            "the correction is not perfect; keep the number of frames the same"
        )
    return tuple(notes)


def _golden(ordered: Sequence[Evaluation], points: tuple[TrendPoint, ...]) -> Trend:
    first, last = ordered[0], ordered[-1]
    frames = {one.truth_digest for one in ordered}
    if len(frames) > 1:
        msg = "the golden set changed between the evaluations; a golden set is frozen: compare within one version"
        raise InputError(msg)
    drop = first.map - last.map
    changed = changed_frames(first, last)
    moved = abs(drop) > SAME_MAP
    verdict: TrendVerdict = "broken integrity" if moved or changed else "intact"
    reason = (
        f"the frozen set scored {first.map:.4f} and now {last.map:.4f}; "
        f"{'not compared' if changed is None else len(changed)} frames changed their detections"
    )
    if verdict == "broken integrity":
        reason += ": look at export, preprocessing, driver and weights, not at the world"
    if len(points) < 2:  # noqa: PLR2004 - the first and one to hold against it
        verdict, reason = "too little data", "one evaluation; the next will be held against it"
    return Trend(
        verdict=verdict,
        reason=reason,
        role="golden",
        rule="union",
        points=points,
        drop=drop,
        changed_frames=changed or (),
        deployment=first.deployment,
    )
