"""A dashboard and alert rules of Grafana, over a Prometheus that `GrafanaSink` writes to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from driftline._checks import refuse_negative, refuse_no_text
from driftline.reports._exported import Exported, as_json
from driftline.reports._panels import Limit, Panel, panels
from driftline.reports._prometheus import LATE, VALUE, alerting
from driftline.reports._promql import STANDS, checked, duration
from driftline.rules import Rule
from driftline.sinks._names import NAMESPACE, prometheus_name

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
UNITS: Final = {"ms": "ms", "share": "percentunit", "number": "short"}
COLUMNS: Final = 24
"""Columns of Grafana's grid; ours is two panels wide."""
HEIGHT: Final = 8


def grafana_dashboard(rules: Sequence[Rule], *, title: str = "Driftline") -> Exported:
    """A dashboard of the numbers a monitor forwards, with the limits of its rules as lines.

    It asks for its data source when it is opened, and shows the markers of `GrafanaSink`.

    Args:
        rules: such as ``monitor.rules``.
        title: of the dashboard; its uid is made of it.
    """
    refuse_no_text("title", title)
    found = [_panel(number, panel) for number, panel in enumerate(panels(rules))]
    return Exported(
        text=as_json(
            {
                "uid": f"driftline-{_digest(title)}",
                "title": title,
                "tags": ["driftline"],
                "schemaVersion": 39,
                "editable": True,
                "refresh": "1m",
                "timezone": "utc",
                "time": {"from": "now-24h", "to": "now"},
                "templating": {"list": _variables()},
                "annotations": {"list": [_MARKERS]},
                "panels": found,
            }
        )
    )


_MARKERS: Final = {
    "name": "Alerts and changes",
    "enable": True,
    "iconColor": "red",
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "target": {"type": "tags", "tags": ["driftline"], "matchAny": True, "limit": 100},
}


def _variables() -> list[dict[str, Any]]:
    requests = prometheus_name(f"{NAMESPACE}.endpoint.requests")
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "deployment",
            "label": "Deployment",
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": f"label_values({requests}, deployment)", "refId": "deployments"},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    width = COLUMNS // 2
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": number % 2 * width, "y": number // 2 * HEIGHT, "w": width, "h": HEIGHT},
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": DATASOURCE,
                "expr": _expression(panel, metric),
                "legendFormat": _legend(panel, metric),
            }
            for at, metric in enumerate(panel.metrics)
        ],
    }


def _field(panel: Panel) -> dict[str, Any]:
    style = "line" if panel.limits else "off"
    return {
        "unit": UNITS[panel.unit],
        "custom": {"thresholdsStyle": {"mode": style}, "spanNulls": False},
        "thresholds": {"mode": "absolute", "steps": _steps(panel.limits)},
    }


def _steps(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    """Colours from the lowest value up: red beyond a limit, green on its good side."""
    falls = any(not limit.above for limit in limits)
    ordered = sorted(limits, key=lambda limit: limit.value)
    return [
        {"color": "red" if falls else "green", "value": None},
        *({"color": "red" if one.above else "green", "value": one.value} for one in ordered),
    ]


def _expression(panel: Panel, metric: str) -> str:
    chosen = _chosen(panel, metric)
    if panel.standing:
        return f"last_over_time({chosen}[{duration(STANDS)}])"
    if panel.per:
        return f"sum_over_time({chosen}[5m]) / sum_over_time({_chosen(panel, panel.per)}[5m])"
    return chosen


def _chosen(panel: Panel, metric: str) -> str:
    name = prometheus_name(f"{NAMESPACE}.{metric}")
    return f'{name}{{deployment=~"$deployment"}}' if panel.chosen else name


def _legend(panel: Panel, metric: str) -> str:
    labels = [f"{{{{{name}}}}}" for name in panel.by]
    several = [metric.rpartition(".")[2]] if len(panel.metrics) > 1 else []
    return " ".join([*labels, *several])


def grafana_alert_rules(
    rules: Sequence[Rule],
    *,
    datasource_uid: str,
    folder: str = "Driftline",
    late: timedelta = LATE,
) -> Exported:
    """The monitor's rules as a provisioning file of Grafana's own alerting (12 and later).

    The expressions are those of `prometheus_rules`, with the same promises; a rule fires for each
    series the expression answers with, as when Grafana imports rules of Prometheus. A recovery
    threshold is not in them, as it rests on a series of alerts that only Prometheus keeps.

    Args:
        rules: such as ``monitor.rules``.
        datasource_uid: uid of the Prometheus data source.
        folder: folder of the rules.
        late: as in `prometheus_rules`.
    """
    refuse_no_text("datasource_uid", datasource_uid)
    refuse_no_text("folder", folder)
    refuse_negative("late", late)
    found = {rule.name: alerting(rule, late, recovery=False) for rule in checked(rules)}
    group = {
        "orgId": 1,
        "name": "driftline",
        "folder": folder,
        "interval": "1m",
        "rules": [
            _rule(alert, datasource_uid) for alert in found.values() if not isinstance(alert, str)
        ],
    }
    return Exported(
        text=as_json({"apiVersion": 1, "groups": [group]}),
        left_out={name: why for name, why in found.items() if isinstance(why, str)},
    )


def _rule(alert: dict[str, Any], datasource_uid: str) -> dict[str, Any]:
    kept = alert.get("keep_firing_for")
    return {
        "uid": f"driftline-{_digest(alert['alert'])}",
        "title": _unread(alert["alert"]),
        "condition": "C",
        "data": [
            _query("A", datasource_uid, {"expr": alert["expr"], "instant": True}),
            # Whatever comes back breaches, a 0 as well.
            _query("B", "__expr__", {"type": "math", "expression": "is_number($A)"}),
            _query("C", "__expr__", _ABOVE_ZERO),
        ],
        "for": alert.get("for", "0s"),
        **({"keepFiringFor": kept} if kept else {}),
        "noDataState": "OK",  # no answer is what a calm expression answers
        "execErrState": "Error",
        "labels": {name: _unread(text) for name, text in alert["labels"].items()},
        "annotations": {
            name: text.replace(VALUE, VALUE.replace("$value", "$values.A.Value"))
            for name, text in alert["annotations"].items()
        },
        "isPaused": False,
    }


_ABOVE_ZERO: Final = {
    "type": "threshold",
    "expression": "B",
    "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
}


def _query(ref: str, datasource: str, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": ref,
        "datasourceUid": datasource,
        "relativeTimeRange": {"from": 600, "to": 0},
        "model": {"refId": ref, **model},
    }


def _unread(text: str) -> str:
    """Text in which provisioning finds no variable of the environment to fill in."""
    return text.replace("$", "$$")


def _digest(text: str) -> str:
    """A few characters that a name always has."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
