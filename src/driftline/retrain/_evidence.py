"""What a policy may look at: plain facts, small enough to be stored for years and replayed.

Rich objects (a drift report, a trend, alerts) are boiled down at birth, so that a decision can be
made again next year from what was written down, without the parts that measured it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any, Literal, get_args

from attrs import asdict, field, frozen
from attrs.validators import optional

from driftline._checks import a, not_negative, number, one_of, part, parts
from driftline._clock import as_utc
from driftline.drift import DriftReport, VolumeReport, VolumeVerdict
from driftline.drift import Verdict as DriftVerdict
from driftline.errors import InputError, UnreadableData
from driftline.holdout import Comparison, ComparisonVerdict, Trend, TrendVerdict
from driftline.records import Alert, AlertStatus, Metric
from driftline.retrain._plain import optional_utc, plain

AccuracyVerdict = Literal["holding", "falling", "too little data"]
Concern = Literal["latency", "errors", "health", "traffic", "detections", "other"]


BASELINE_WEEKS = 4
"""How many first weeks are the baseline, as in `driftline.holdout.Trend`."""

_TEXT = a(str, "text")
_SHARE = number("a number from 0 to 1", least=0, most=1)
_POINTS = optional(number("from -1 to 1; 0.05 is 5 points", least=-1, most=1))
_FINITE = optional(number("a finite number"))
_COUNT = optional(number("a whole number, 0 or more", least=0, whole=True))
_AGE = optional(not_negative)
_KNOWN = optional(a(bool, "True, False or None"))

NORMAL_95 = 1.96
"""Half-width of a 95 % interval in standard errors of a normal law."""

CONCERNS: Mapping[str, Concern] = {
    Metric.LATENCY_P50_MS: "latency",
    Metric.LATENCY_P95_MS: "latency",
    Metric.ERRORS: "errors",
    Metric.HEALTHY: "health",
    Metric.REQUESTS: "traffic",
    Metric.FRAMES: "traffic",
    Metric.DETECTIONS: "detections",
}
"""What an alert is about, by the metric its rule judges."""


@frozen(kw_only=True)
class Shift:
    """One cell of a drift report that moved.

    Attributes:
        feature: name of the feature, such as "confidence" or "area".
        camera: camera, "" for all together.
        class_name: class, "" for all together.
        effect: largest distance between the two distribution functions, 0 to 1.
        direction: where it moved, in the report's words.
        p_value: adjusted p-value; None where the method has none.
        frames: frames of the week that the cell is about; None where not recorded.
        at: threshold where the evidence is strongest, in the feature's own unit; None where there
            is none.
    """

    feature: str = field(validator=_TEXT)
    effect: float = field(validator=_SHARE)
    p_value: float | None = field(default=None, validator=optional(_SHARE))
    direction: str = field(default="", validator=_TEXT)
    camera: str = field(default="", validator=_TEXT)
    class_name: str = field(default="", validator=_TEXT)
    frames: int | None = field(default=None, validator=_COUNT)
    at: float | None = field(default=None, validator=_FINITE)

    def __str__(self) -> str:
        """The shift in a few words, with effect and p-value."""
        where = f" of camera {self.camera}" if self.camera else ""
        what = f" of class {self.class_name}" if self.class_name else ""
        way = f" {self.direction}" if self.direction else ""
        chance = "" if self.p_value is None else f", p={self.p_value:.2g}"
        return f"{self.feature}{where}{what} moved{way} (D={self.effect:.3f}{chance})"


def _shifts(values: Iterable[Shift]) -> tuple[Shift, ...]:
    return parts(values, Shift, name="shifts", what="a Shift(…)")


@frozen(kw_only=True)
class DriftFacts:
    """A drift report, boiled down.

    Attributes:
        verdict: the report's verdict.
        shifts: the flagged cells, largest effect first.
        method: the test that was used.
        frames: frames of the week under test.
    """

    verdict: DriftVerdict = field(validator=one_of(*get_args(DriftVerdict)))
    shifts: tuple[Shift, ...] = field(default=(), converter=_shifts)
    method: str = field(default="", validator=_TEXT)
    frames: int | None = field(default=None, validator=_COUNT)


@frozen(kw_only=True)
class AccuracyFacts:
    """An accuracy trend or comparison, boiled down.

    Attributes:
        verdict: whether mAP@0.5:0.95 holds on the recent set.
        drop: how far it fell, in mAP (0.031 is 3.1 points); negative when it rose.
        drop_low: lower end of the 95 % interval of the drop.
        drop_high: upper end of it.
        latest: the newest mAP, 0 to 1.
        latest_drop: how far the newest week alone lies below the first weeks, in mAP; a drop of
            the last weeks together may be over already.
        latest_drop_low: lower end of the 95 % interval of `latest_drop`.
        basis: what the verdict rests on, in one line.
    """

    verdict: AccuracyVerdict = field(validator=one_of(*get_args(AccuracyVerdict)))
    drop: float | None = field(default=None, validator=_POINTS)
    drop_low: float | None = field(default=None, validator=_FINITE)
    drop_high: float | None = field(default=None, validator=_FINITE)
    latest: float | None = field(default=None, validator=optional(_SHARE))
    latest_drop: float | None = field(default=None, validator=_POINTS)
    latest_drop_low: float | None = field(default=None, validator=_FINITE)
    basis: str = field(default="", validator=_TEXT)

    def __str__(self) -> str:
        """The drop with its interval."""
        if self.drop is None:
            return f"mAP: {self.verdict}"
        fell = self.drop > 0
        ends = (self.drop_low, self.drop_high) if fell else (self.drop_high, self.drop_low)
        low, high = (None if end is None else end if fell else -end for end in ends)
        interval = (
            "" if low is None or high is None else f" (95 % {_points(low)} to {_points(high)})"
        )
        word = "fell" if fell else "rose"
        return f"mAP@0.5:0.95 {word} by {_points(abs(self.drop))} points{interval}"


@frozen(kw_only=True)
class VolumeFacts:
    """A volume report, boiled down.

    Attributes:
        verdict: whether fewer boxes were found than usual in as many frames.
        summary: the report in a sentence.
    """

    verdict: VolumeVerdict = field(validator=one_of(*get_args(VolumeVerdict)))
    summary: str = field(default="", validator=_TEXT)


def _volume(value: VolumeReport | VolumeFacts | None) -> VolumeFacts | None:
    if value is None or isinstance(value, VolumeFacts):
        return value
    what = "a VolumeReport, as DriftDetector(...).volume() gives it"
    report = part(value, VolumeReport, name="volume", what=what)
    return VolumeFacts(verdict=report.verdict, summary=report.summary)


def _since(value: datetime) -> datetime:
    return as_utc(value, name="since")


@frozen(kw_only=True)
class AlertFacts:
    """A firing alert, boiled down.

    Attributes:
        concern: what it is about.
        rule: name of the rule.
        summary: the alert's own summary.
        since: when the breach began, UTC.
        deployment: ``"owner/deployment"``, or "".
    """

    concern: Concern = field(validator=one_of(*get_args(Concern)))
    rule: str = field(validator=_TEXT)
    summary: str = field(validator=_TEXT)
    since: datetime = field(converter=_since)
    deployment: str = field(default="", validator=_TEXT)


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _drift(value: DriftReport | DriftFacts | None) -> DriftFacts | None:
    if value is None or isinstance(value, DriftFacts):
        return value
    what = "a DriftReport, as DriftDetector(...).compare() gives it"
    part(value, DriftReport, name="drift", what=what)
    shifts = [
        Shift(
            feature=cell.feature,
            camera=cell.camera or "",
            class_name=cell.class_name or "",
            effect=cell.effect,
            direction=cell.direction,
            p_value=None if math.isnan(cell.p_value) else cell.p_value,
            frames=cell.n_frames,
            at=None if math.isnan(cell.at) else cell.at,
        )
        for cell in value.flags
    ]
    return DriftFacts(
        verdict=value.verdict,
        shifts=tuple(sorted(shifts, key=lambda shift: -shift.effect)),
        method=value.method,
        frames=value.n_frames,
    )


def _accuracy(value: Trend | Comparison | AccuracyFacts | None) -> AccuracyFacts | None:
    if isinstance(value, Trend):
        return _trend(value)
    if isinstance(value, Comparison):
        return _comparison(value)
    if value is None:
        return None
    what = "a Trend, as Trend.of(evaluations) gives it, or a Comparison"
    return part(value, AccuracyFacts, name="accuracy", what=what)


def _trend(trend: Trend) -> AccuracyFacts:
    if trend.verdict in {"intact", "broken integrity"}:
        msg = (
            "accuracy= takes the trend of the recent set; a fixed model cannot move on the golden "
            "set, pass that trend as golden_intact="
        )
        raise InputError(msg)
    low, high = trend.drop_interval or (None, None)
    latest_drop, latest_drop_low = _latest_drop(trend)
    return AccuracyFacts(
        verdict=_verdict_of_trend(trend.verdict),
        drop=trend.drop,
        drop_low=low,
        drop_high=high,
        latest=trend.points[-1].map if trend.points else None,
        latest_drop=latest_drop,
        latest_drop_low=latest_drop_low,
        basis=trend.reason,
    )


def _latest_drop(trend: Trend) -> tuple[float | None, float | None]:
    """The newest week below the mean of the first, with the lower end of its 95 % interval."""
    first = trend.points[: min(BASELINE_WEEKS, trend.weeks - 1)]
    if not first:
        return None, None
    drop = fmean(point.corrected for point in first) - trend.points[-1].corrected
    errors = [point.standard_error for point in first if point.standard_error is not None]
    latest = trend.points[-1].standard_error
    if latest is None or len(errors) < len(first):
        return drop, None
    spread = math.hypot(latest, math.hypot(*errors) / len(errors))
    return drop, drop - NORMAL_95 * spread


def _verdict_of_trend(verdict: TrendVerdict) -> AccuracyVerdict:
    return verdict if verdict == "holding" or verdict == "falling" else "too little data"  # noqa: PLR1714 - narrows the type


def _comparison(comparison: Comparison) -> AccuracyFacts:
    """This week's evaluation held against the baseline's: the drop is the difference, negated."""
    difference = comparison.difference
    low, high = difference.interval or (None, None)
    verdicts: Mapping[ComparisonVerdict, AccuracyVerdict] = {
        "better": "holding",
        "no difference shown": "holding",
        "worse": "falling",
        "too little data": "too little data",
    }
    return AccuracyFacts(
        verdict=verdicts[comparison.verdict],
        drop=None if difference.corrected is None else -difference.corrected,
        drop_low=None if high is None else -high,
        drop_high=None if low is None else -low,
        basis=f"{comparison.verdict}, {comparison.pairing} frames",
    )


def _golden(value: Trend | bool | None) -> bool | None:  # noqa: FBT001 - a converter takes one value
    if not isinstance(value, Trend):
        return value
    return {"intact": True, "broken integrity": False}.get(value.verdict)


def _alerts(values: Iterable[Alert | AlertFacts]) -> tuple[AlertFacts, ...]:
    given = parts(values, (Alert, AlertFacts), name="alerts", what="an Alert")
    return tuple(
        value
        if isinstance(value, AlertFacts)
        else AlertFacts(
            concern=CONCERNS.get(value.metric, "other"),
            rule=value.rule,
            summary=value.summary,
            since=value.since,
            deployment=value.deployment,
        )
        for value in given
        if isinstance(value, AlertFacts) or (value.status is AlertStatus.FIRING and not value.test)
    )


@frozen(kw_only=True)
class Evidence:
    """What a policy may look at; what is left out is not known, never calm.

    Attributes:
        drift: this week's `DriftReport`.
        volume: this week's `VolumeReport`.
        accuracy: `Trend` of the recent set, or a `Comparison` of its last evaluation with the
            baseline's.
        golden_intact: `Trend` of the golden set, or whether it scores as on the first day.
        estimated_precision_drop: fall of the precision estimated without labels, -1 (it rose)
            to 1.
        alerts: alerts; only those that fire and are no drill count.
        healthy: answer of the last health check.
        holdout_age: time since the holdout was drawn or refreshed as a whole
            (`driftline.holdout.Holdout.age`).
        model_age: time since the model was deployed; of the guide's clauses none asks for it: a
            model is not worse for being old. It is there for a clause of your own.
        since_retrain: time since the last retraining ended.
        retrain_cost: what a retraining would cost, in the unit of `RetrainPolicy.budget`.
        at: the time this evidence is about, UTC.
    """

    drift: DriftFacts | None = field(default=None, converter=_drift)
    volume: VolumeFacts | None = field(default=None, converter=_volume)
    accuracy: AccuracyFacts | None = field(default=None, converter=_accuracy)
    golden_intact: bool | None = field(default=None, converter=_golden, validator=_KNOWN)
    estimated_precision_drop: float | None = field(default=None, validator=_POINTS)
    alerts: tuple[AlertFacts, ...] = field(default=(), converter=_alerts)
    healthy: bool | None = field(default=None, validator=_KNOWN)
    holdout_age: timedelta | None = field(default=None, validator=_AGE)
    model_age: timedelta | None = field(default=None, validator=_AGE)
    since_retrain: timedelta | None = field(default=None, validator=_AGE)
    retrain_cost: float | None = field(
        default=None, validator=optional(number("0 or more", least=0))
    )
    at: datetime | None = field(default=None, converter=optional_utc)

    @property
    def moved(self) -> tuple[Shift, ...]:
        """The flagged cells of the drift report, largest effect first."""
        return () if self.drift is None else self.drift.shifts

    @property
    def confidence_moved(self) -> bool | None:
        """Whether confidence moved; None when too little was observed to say."""
        if self.drift is None or self.drift.verdict == "too little data":
            return None
        return any("confidence" in shift.feature for shift in self.drift.shifts)

    @property
    def accuracy_known(self) -> bool:
        """Whether labels say something about this week."""
        return self.accuracy is not None and self.accuracy.verdict != "too little data"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self, value_serializer=plain)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evidence:
        """The evidence that `to_dict` wrote.

        Raises:
            UnreadableData: it is not what `to_dict` writes.
        """
        try:
            return _evidence(values)
        except (KeyError, TypeError, ValueError) as exc:
            msg = f"this is no stored evidence: {type(exc).__name__}: {exc}"
            raise UnreadableData(msg) from exc


def _evidence(values: Mapping[str, Any]) -> Evidence:
    fields: dict[str, Any] = dict(values)
    for name in ("holdout_age", "model_age", "since_retrain"):
        if values[name] is not None:
            fields[name] = timedelta(seconds=values[name])
    if values["drift"] is not None:
        shifts = tuple(Shift(**shift) for shift in values["drift"]["shifts"])
        drift: dict[str, Any] = {**values["drift"], "shifts": shifts}
        fields["drift"] = DriftFacts(**drift)
    if values["volume"] is not None:
        fields["volume"] = VolumeFacts(**values["volume"])
    if values["accuracy"] is not None:
        fields["accuracy"] = AccuracyFacts(**values["accuracy"])
    fields["alerts"] = tuple(_alert_facts(alert) for alert in values["alerts"])
    fields["at"] = None if values["at"] is None else datetime.fromisoformat(values["at"])
    return Evidence(**fields)


def _alert_facts(values: Mapping[str, Any]) -> AlertFacts:
    fields: dict[str, Any] = {**values, "since": datetime.fromisoformat(values["since"])}
    return AlertFacts(**fields)
