"""What people are told, in words: a telling becomes an alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import evolve

from driftline.monitor._cause import likely_cause
from driftline.monitor._codec import alert_from_json
from driftline.monitor._engine import Telling
from driftline.records import Alert, AlertStatus, LogLine, Metric
from driftline.rules import Phase, Rule
from driftline.rules._state import State
from driftline.rules._time import instant

AROUND: Final = timedelta(minutes=5)
"""How far around the breach a log line may lie to tell its cause."""


def worded(
    telling: Telling, state: State | None, lines: Sequence[LogLine], *, now: int, log_lines: int
) -> Alert:
    """The alert of a telling.

    Args:
        telling: what people are to be told.
        state: the state of the rule on the subject, None when it is gone.
        lines: newest error lines of the deployment, redacted.
        now: microseconds since 1970.
        log_lines: how many lines travel with the alert.
    """
    if telling.notice.status is AlertStatus.RESOLVED:
        before = state.alert if state is not None else None
        return _resolved(telling, before, now)
    rule = telling.rule
    assert rule is not None
    step = telling.notice.step
    still = state is not None and state.phase is Phase.FIRING
    last = instant(now if still else step.window_end) + AROUND
    about = [line for line in lines if instant(step.since) - AROUND <= line.at <= last]
    return _firing(telling, rule, lines[:log_lines], about, now=now)


def _firing(
    telling: Telling,
    rule: Rule,
    lines: Sequence[LogLine],
    about: Sequence[LogLine] = (),
    *,
    now: int,
) -> Alert:
    """The alert: `lines` travel with it, those `about` the breach may tell the cause."""
    step, subject = telling.notice.step, telling.place[1]
    missing = step.reason == "no data"
    reasons = [telling.notice.note, "" if missing else step.reason]
    if rule.metric == Metric.ERRORS:
        reasons.append(likely_cause(about))
    return Alert(
        key=telling.key,
        rule=rule.name,
        severity=rule.severity,
        status=AlertStatus.FIRING,
        summary=_missing(telling, rule) if missing else rule.summary(step.value, step.threshold),
        expected=rule.expected(step.threshold),
        runbook=rule.runbook,
        window_start=instant(step.window_start),
        window_end=instant(step.window_end),
        since=instant(step.since),
        at=instant(now),
        deployment=subject.deployment,
        metric=rule.metric,
        value=None if missing else step.value,
        threshold=None if missing else step.threshold,
        unit=rule.unit,
        reason="; ".join(filter(None, reasons)),
        links=rule.links,
        logs=tuple(lines),
        labels=dict(subject.labels),
    )


def _missing(telling: Telling, rule: Rule) -> str:
    since = instant(telling.notice.step.window_start)
    why = ": the platform does not answer" if telling.silent else ""
    return f"no {rule.metric} since {since:%Y-%m-%d %H:%M} UTC{why}"


def _resolved(telling: Telling, before: Mapping[str, Any] | None, now: int) -> Alert:
    """The end of an alert, in the words it was told with."""
    step = telling.notice.step
    if before is None:
        assert telling.rule is not None
        opened = _firing(telling, telling.rule, (), now=now)
    else:
        opened = alert_from_json(before)
    judged_again = step.window_end > step.window_start and step.reason == "recovered"
    return evolve(
        opened,
        status=AlertStatus.RESOLVED,
        at=instant(now),
        window_end=instant(max(step.window_end, step.window_start)),
        value=step.value if judged_again else opened.value,
        reason=step.reason,
        logs=(),
    )
