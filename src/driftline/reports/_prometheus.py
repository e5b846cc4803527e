"""Alert rules of Prometheus, Mimir and whatever else reads its rule files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import evolve

from driftline._checks import refuse_negative
from driftline.reports._exported import Exported, as_yaml
from driftline.reports._promql import (
    MINUTE,
    Condition,
    checked,
    condition,
    duration,
    quoted,
    window,
)
from driftline.rules import Rule
from driftline.sinks._names import prometheus_name

LATE: Final = timedelta(minutes=7)
"""How late numbers are by default: those of the Platform two minutes
(`driftline.platform.METRICS_LAG`), and five between the runs of a monitor."""


def prometheus_rules(rules: Sequence[Rule], *, late: timedelta = LATE) -> Exported:
    """The monitor's rules as a rule file of Prometheus (2.42 and later).

    An alert begins and ends with the sample with which the monitor's does, `late` after it, as
    long as there is traffic: where a window has no sample the monitor waits for the next one,
    while ``for`` begins anew. Labels become labels, so that every slice is judged on its own.
    Flap detection, silences and inhibitions are Alertmanager's work.

    Args:
        rules: such as ``monitor.rules``.
        late: how long numbers take to arrive: the Platform's two minutes and the time between
            two runs. An earlier look would judge windows that are half empty.
    """
    refuse_negative("late", late)
    found = {rule.name: alerting(rule, late) for rule in checked(rules)}
    alerts = [alert for alert in found.values() if not isinstance(alert, str)]
    group = {"name": "driftline", "interval": "1m", "rules": alerts}
    return Exported(
        text=as_yaml({"groups": [group]}),
        left_out={name: why for name, why in found.items() if isinstance(why, str)},
    )


def alerting(rule: Rule, late: timedelta, *, recovery: bool = True) -> dict[str, Any] | str:
    """One alert rule, with its recovery threshold or without, or why there is none."""
    asked = condition(rule)
    if isinstance(asked, str):
        return asked
    return {
        "alert": rule.name,
        "expr": expression(rule, asked if recovery else evolve(asked, recovery=""), late),
        **_lasting("for", _pending(rule, asked)),
        **_lasting("keep_firing_for", _kept(rule, asked)),
        "labels": {"severity": rule.severity.value, "rule": _plain(rule.name)},
        "annotations": _said(rule, asked),
    }


def expression(rule: Rule, asked: Condition, late: timedelta) -> str:
    """PromQL that is true while the newest sample breaches, or after a breach is not yet good."""
    offset = late + rule.delay
    back = f" offset {duration(offset)}" if offset else ""
    newest = window(asked.every, step=asked.every) + back
    told = f"last_over_time(({asked.sample} {asked.limit}){newest})"
    if asked.recovery:
        own = f'ALERTS{{alertname={quoted(rule.name)}, alertstate="firing"}}'
        told += (
            f" or last_over_time(({asked.sample} {asked.recovery}){newest})"
            f" and ignoring(alertname, alertstate, rule, severity) {own}"
        )
    return (
        f"({told}) and on() last_over_time({asked.gate}[{duration(max(late, MINUTE))}])"
        if asked.gate
        else told
    )


def _pending(rule: Rule, asked: Condition) -> timedelta:
    """From the end of the first breaching sample to that of the one that makes the rule fire."""
    if rule.every is None and rule.samples == 1:
        return rule.hold
    count = max(rule.samples, math.ceil(rule.hold / asked.every))
    return (count - 1) * asked.every


def _kept(rule: Rule, asked: Condition) -> timedelta:
    """From the end of the first good sample to that of the one that ends the alert."""
    if rule.every is None and rule.recover_samples == 1:
        return rule.keep_firing
    return max((rule.recover_samples - 1) * asked.every, rule.keep_firing)


def _lasting(name: str, value: timedelta) -> dict[str, str]:
    return {name: duration(value)} if value else {}


def _said(rule: Rule, asked: Condition) -> Mapping[str, str]:
    """What people are told, in the words of the rule; the value is Prometheus' to fill in."""
    unit = f" {_plain(rule.unit)}" if rule.unit else ""
    words = {
        "summary": f"{_plain(rule.name)} is at {VALUE}{unit}",
        "expected": "" if asked.threshold is None else _plain(rule.expected(asked.threshold)),
        "runbook": _plain(rule.runbook),
        **{f"link_{prometheus_name(link.text)}": _plain(link.url) for link in rule.links},
    }
    return {name: text for name, text in words.items() if text}


VALUE: Final = '{{ $value | printf "%.4g" }}'
"""The number that breached, in a template of an annotation."""


def _plain(text: str) -> str:
    """Text in which a template finds nothing to fill in."""
    return text.replace("{{", '{{ "{{" }}')
