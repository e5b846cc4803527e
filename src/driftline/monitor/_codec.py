"""Alerts, transitions and samples as JSON: only this file knows the names they have in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from driftline.monitor._run import Notice, Transition
from driftline.monitor._subjects import Place
from driftline.records import Alert, AlertStatus, Link, LogLine, Sample, Series, Severity
from driftline.rules import Change
from driftline.rules._state import Step
from driftline.rules._time import instant, micros, span, starts_of

_TIMES = ("window_start", "window_end", "since", "at")
_PLAIN = (
    "key",
    "rule",
    "summary",
    "expected",
    "runbook",
    "deployment",
    "metric",
    "value",
    "threshold",
    "unit",
    "reason",
    "test",
)


def alert_to_json(alert: Alert) -> dict[str, Any]:
    """An alert as a JSON object."""
    return {
        **{name: getattr(alert, name) for name in _PLAIN},
        **{name: getattr(alert, name).isoformat() for name in _TIMES},
        "severity": alert.severity.value,
        "status": alert.status.value,
        "links": [[link.url, link.text] for link in alert.links],
        "logs": [
            [line.at.isoformat(), line.severity, line.message, line.http_status]
            for line in alert.logs
        ],
        "labels": dict(alert.labels),
    }


def alert_from_json(value: Mapping[str, Any]) -> Alert:
    """The alert again; what an older version did not write has its default."""
    fields: dict[str, Any] = {name: value[name] for name in _PLAIN if name in value}
    fields |= {name: datetime.fromisoformat(value[name]) for name in _TIMES}
    return Alert(
        **fields,
        severity=Severity(value["severity"]),
        status=AlertStatus(value["status"]),
        links=tuple(Link(url=url, text=text) for url, text in value["links"]),
        logs=tuple(
            LogLine(
                at=datetime.fromisoformat(at),
                severity=severity,
                message=message,
                http_status=status,
            )
            for at, severity, message, status in value["logs"]
        ),
        labels=value["labels"],
    )


def transition_to_json(place: Place, step: Step) -> dict[str, Any]:
    """A transition as the history keeps it."""
    rule, subject = place
    return {
        "change": step.change.value,
        "rule": rule,
        "deployment": subject.deployment,
        "labels": dict(subject.labels),
        "value": step.value,
        "threshold": step.threshold,
        "since": instant(step.since).isoformat(),
        "reason": step.reason,
    }


def transition_from_json(key: str, at: datetime, record: Mapping[str, Any]) -> Transition:
    """The transition again."""
    return Transition(
        key=key,
        change=Change(record["change"]),
        at=at,
        rule=record["rule"],
        deployment=record["deployment"],
        labels=record["labels"],
        value=record["value"],
        threshold=record["threshold"],
        since=datetime.fromisoformat(record["since"]),
        reason=record["reason"],
    )


def notice_to_json(notice: Notice) -> dict[str, Any]:
    """What the history keeps of a notice beside its key and its time."""
    return {
        "sink": notice.sink,
        "status": notice.status.value,
        "decided": notice.decided_at.isoformat(),
        "attempts": notice.attempts,
        "reference": notice.reference,
    }


def notice_from_json(key: str, at: datetime, record: Mapping[str, Any]) -> Notice:
    """The notice again."""
    return Notice(
        key=key,
        sink=record["sink"],
        status=AlertStatus(record["status"]),
        at=at,
        decided_at=datetime.fromisoformat(record["decided"]),
        attempts=record["attempts"],
        reference=record["reference"],
    )


def series_to_json(series: Series) -> dict[str, Any]:
    """A series by columns: what its samples share is written once."""
    return {
        "metric": series.metric,
        "deployment": series.deployment,
        "labels": dict(series.labels),
        "width": span(series.width),
        "t": starts_of(series).tolist(),
        "v": series.values.tolist(),
    }


def samples_to_json(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """Samples by columns, those that share all but time and value together."""
    ordered = sorted(samples, key=_column)
    return [
        {
            "metric": metric,
            "deployment": deployment,
            "labels": dict(labels),
            "width": width,
            "t": [micros(sample.at) for sample in group],
            "v": [sample.value for sample in group],
        }
        for (metric, deployment, labels, width), members in groupby(ordered, key=_column)
        for group in [list(members)]
    ]


def _column(sample: Sample) -> tuple[str, str, tuple[tuple[str, str], ...], int]:
    labels = tuple(sorted(sample.labels.items()))
    return (str(sample.metric), sample.deployment, labels, span(sample.width))


def samples_from_json(columns: Sequence[Mapping[str, Any]]) -> tuple[Sample, ...]:
    """The samples again."""
    found: list[Sample] = []
    for column in columns:
        of = partial(
            Sample,
            metric=column["metric"],
            width=timedelta(microseconds=column["width"]),
            deployment=column["deployment"],
            labels=column["labels"],
        )
        times = map(instant, column["t"])
        found += [of(value=v, at=at) for at, v in zip(times, column["v"], strict=True)]
    return tuple(found)
