"""What a rule concludes and what a sink answers: the two sides meet in these records only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from attrs import Attribute, field, frozen
from attrs.validators import optional

from driftline._checks import a, not_negative, positive
from driftline._clock import as_utc
from driftline._draw import Shown, View
from driftline.errors import InputError
from driftline.records import _views
from driftline.records._samples import Sample


def _utc(value: datetime) -> datetime:
    return as_utc(value, name="a time of an alert")


def _useful(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        msg = f"runbook={value!r} must say what to do first: an alert without one is noise"
        raise InputError(msg)


class Severity(Enum):
    """How urgent an alert is, most urgent first; the names are PagerDuty's."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class AlertStatus(Enum):
    """Where an alert stands when it is sent."""

    FIRING = "firing"
    RESOLVED = "resolved"


@frozen(kw_only=True)
class Link:
    """Something to open from an alert."""

    url: str
    text: str


@frozen(kw_only=True)
class LogLine:
    """One line of a deployment's log, redacted of secrets before it is put here."""

    at: datetime
    severity: str
    message: str
    http_status: int | None = None


@frozen(kw_only=True, repr=False)
class Alert(Shown):
    """What went wrong, what was expected, over which time, since when, and what to do.

    Attributes:
        key: dedup key, at most 100 characters; the same for the whole life of an alert and
            free of value, time and severity.
        rule: name of the rule.
        deployment: ``"owner/deployment"``, or "" where it belongs to none.
        metric: the metric the rule judges (`Metric`, or a user's own), "" where there is none;
            it tells what the alert is about: latency, errors, volume, accuracy.
        severity: how urgent.
        status: firing or resolved.
        summary: what went wrong, in one line, with value and unit.
        expected: what was expected instead, in one line.
        value: the number observed last, in `unit`; None where there is none.
        threshold: the number it was held against, in `unit`; None where there is none.
        unit: unit of both.
        window_start: start of the time that was evaluated, UTC.
        window_end: end of it, UTC.
        since: when the breach began, UTC.
        at: when this was decided, UTC.
        runbook: what to do first, in one line; never empty.
        reason: on resolve, why it ended ("recovered", "deployment gone"); on firing, the
            likely cause where it is known; else "".
        links: further places to look at.
        logs: newest error lines of the deployment, newest first.
        labels: further dimensions (camera, class, model).
        test: True for a drill: the alert is synthetic.
    """

    key: str
    rule: str
    severity: Severity = field(validator=a(Severity, "a Severity, such as Severity.WARNING"))
    status: AlertStatus = field(validator=a(AlertStatus, "AlertStatus.FIRING or .RESOLVED"))
    summary: str
    expected: str
    runbook: str = field(validator=_useful)
    window_start: datetime = field(converter=_utc)
    window_end: datetime = field(converter=_utc)
    since: datetime = field(converter=_utc)
    at: datetime = field(converter=_utc)
    deployment: str = ""
    metric: str = ""
    value: float | None = None
    threshold: float | None = None
    unit: str = ""
    reason: str = ""
    links: tuple[Link, ...] = ()
    logs: tuple[LogLine, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    test: bool = False

    def _view(self) -> View:
        return _views.view_of_alert(self)


@frozen(kw_only=True)
class Receipt:
    """A sink's word that it took something.

    What it did not take it raises: `driftline.errors.DeliveryFailed` when it may work later,
    `driftline.errors.DeliveryRefused` when it never will as it stands.

    Attributes:
        sink: name of the sink.
        reference: the other side's identifier, "" when it gave none.
        detail: one line for people, "" when there is nothing to say.
        count: how many items were taken.
    """

    sink: str
    reference: str = ""
    detail: str = ""
    count: int = 1


@runtime_checkable
class AlertSink(Protocol):
    """Anything that takes an alert."""

    def send(self, alert: Alert) -> Receipt:
        """Take one alert.

        Raises:
            DeliveryFailed: it may work later; the outbox tries again.
            DeliveryRefused: it never will as it stands; the outbox gives it up, loudly.
        """
        ...


@runtime_checkable
class MetricSink(Protocol):
    """Anything that takes numbers."""

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Take some samples; errors as in `AlertSink.send`."""
        ...


@frozen(kw_only=True)
class Delivery:
    """How a sink wants to be served; a sink says so in an attribute ``delivery``, or takes this.

    Attributes:
        repeat_firing: send the whole firing set again at each run (an Alertmanager forgets
            what is not repeated); otherwise an alert is sent when it changes.
        repeat_resolved_for: how long a resolve is repeated.
        time_to_live: an undelivered item older than this is given up; None: never.
    """

    repeat_firing: bool = field(default=False, validator=a(bool, "True or False"))
    repeat_resolved_for: timedelta = field(default=timedelta(0), validator=not_negative)
    time_to_live: timedelta | None = field(default=None, validator=optional(positive))
