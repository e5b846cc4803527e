"""A dashboard and monitors of Datadog, over the metrics that `DatadogSink` submits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from driftline._checks import part, refuse_negative, refuse_no_text
from driftline.records import Metric, Severity
from driftline.reports._exported import Exported, as_json
from driftline.reports._panels import Limit, Panel, panels
from driftline.reports._prometheus import LATE
from driftline.reports._promql import MINUTE, checked, condition
from driftline.rules import (
    DetectionVolume,
    EndpointHealth,
    ErrorRate,
    LatencyBudget,
    NoData,
    NoDataPolicy,
    RequestVolume,
    Rule,
    Threshold,
)
from driftline.rules._volume import VolumeRule
from driftline.sinks._intake import STANDING
from driftline.sinks._names import NAMESPACE, datadog_name

DAY: Final = timedelta(days=1)
TAG_LIMIT: Final = 200
"""Characters of a tag; a sink sends no more."""
_NEVER: Final = -1_000_000_000.0
"""A limit that no number of ours lies below."""

PRIORITY: Final = {
    Severity.CRITICAL: 1,
    Severity.ERROR: 2,
    Severity.WARNING: 3,
    Severity.INFO: 5,
}


@frozen(kw_only=True)
class Query:
    """One number over time, as Datadog asks for it.

    Attributes:
        over: what is made of the points of some time, such as ``"min(last_15m)"``: above a limit
            when all of them are.
        text: the query.
        limit: the limit.
        above: whether what lies above it breaches.
        recovery: the limit of recovery, None for the same.
    """

    over: str
    text: str
    limit: float
    above: bool
    recovery: float | None = None

    def __str__(self) -> str:
        """The query of a monitor."""
        return f"{self.over}:{self.text} {'>' if self.above else '<'} {self.limit:.12g}"


def datadog_monitors(
    rules: Sequence[Rule], *, notify: str = "", late: timedelta = LATE
) -> Exported:
    """The monitor's rules as a JSON list of Datadog's monitors.

    Each is a body of ``POST /api/v1/monitor``. Datadog aligns its windows to the minute at which
    it looks and not to the clock, weighs the minutes of a p95 alike, and learns no usual volume:
    it compares with the hour before. Tags are in lower case there, and a rule whose `deployments`
    holds ``?`` or ``[`` is left out: Datadog's only wildcard is ``*``. A monitor over the service check of
    `driftline.sinks.datadog.DatadogSink` has none of these differences; these ones see
    that also the sender is alive.

    Args:
        rules: such as ``monitor.rules``.
        notify: who is told, such as ``"@pagerduty-line-3"``; the end of each message.
        late: how long numbers take to arrive, as in `prometheus_rules`.
    """
    part(notify, str, name="notify", what="text")
    refuse_negative("late", late)
    given = checked(rules)
    found = {rule.name: _query(rule) for rule in given}
    return Exported(
        text=as_json(
            [
                _monitor(rule, query, notify, late)
                for rule in given
                if not isinstance(query := found[rule.name], str)
            ]
        ),
        left_out={name: why for name, why in found.items() if isinstance(why, str)},
    )


def _monitor(rule: Rule, query: Query, notify: str, late: timedelta) -> dict[str, Any]:
    thresholds = {"critical": query.limit}
    if query.recovery is not None:
        thresholds["critical_recovery"] = query.recovery
    silence = isinstance(rule, NoData) or rule.no_data in {NoDataPolicy.ALERT, NoDataPolicy.BREACH}
    patience = math.ceil((rule.no_data_after + late) / MINUTE)
    repeat = rule.renotify
    return {
        "name": f"{rule.name} on {{{{deployment.name}}}}",
        "type": "query alert",
        "query": str(query),
        "message": _message(rule, notify),
        "tags": ["source:driftline", f"rule:{rule.name}"],
        "priority": PRIORITY[rule.severity],
        "options": {
            "thresholds": thresholds,
            "evaluation_delay": int((late + rule.delay).total_seconds()),
            "require_full_window": not isinstance(rule, (Threshold, NoData)),
            "notify_no_data": silence,
            **({"no_data_timeframe": patience} if silence else {}),
            **({} if repeat is None else {"renotify_interval": math.ceil(repeat / MINUTE)}),
            "include_tags": True,
        },
    }


def _message(rule: Rule, notify: str) -> str:
    asked = condition(rule)
    expected = (
        f"Expected: {rule.expected(asked.threshold)}"
        if not isinstance(asked, str) and asked.threshold is not None
        else ""
    )
    links = [f"{link.text}: {link.url}" for link in rule.links]
    told = "\n\n".join(filter(None, [f"First: {rule.runbook}", expected, *links]))
    # What looks like a variable of Datadog's is none of ours.
    told = f"{{{{{{{{raw}}}}}}}}{told}{{{{{{{{/raw}}}}}}}}" if "{{" in told else told
    return "\n\n".join(filter(None, [told, notify]))


def _query(rule: Rule) -> Query | str:
    """What to ask Datadog, or why it cannot be asked."""
    asked = condition(rule)
    if isinstance(asked, str):
        return asked
    return _unsaid(rule) or _ASKED[type(rule)](rule)


def _unsaid(rule: Rule) -> str:
    """Why its slices cannot be named, "" where they can: Datadog's one wildcard is ``*``."""
    if set("?[") & set(rule.deployments):
        return f"deployments={rule.deployments!r}: Datadog knows no ? and no [ in a pattern, only *"
    for name, value in _where(rule).items():
        if len(f"{name}:{value}") > TAG_LIMIT or not _tag(value):
            return f"where={{{name!r}: {value!r}}}: Datadog keeps no such tag as it is"
    return ""


def _latency(rule: LatencyBudget) -> Query:
    text = _one("avg", Metric.LATENCY_P95_MS, rule, rule.every)
    return _held(rule, text, rule.p95_ms, above=True, recovery=rule.recover_below_ms)


def _errors(rule: ErrorRate) -> Query:
    errors = _one("sum", Metric.ERRORS, rule, rule.every)
    text = f"default_zero({errors}) / {_one('sum', Metric.REQUESTS, rule, rule.every)}"
    return _held(rule, text, rule.above, above=True, recovery=rule.recover_below)


def _health(rule: EndpointHealth) -> Query:
    text = _one("min", Metric.HEALTHY, rule)
    over = f"max({_last(rule.samples * rule.ask_every)})"
    return Query(over=over, text=text, limit=1, above=False)


def _silence(rule: NoData) -> Query:
    """It never breaches: what notifies is its silence."""
    text = _one("max", rule.series, rule)
    over = f"max({_last(rule.no_data_after)})"
    return Query(over=over, text=text, limit=_NEVER, above=False)


def _held(
    rule: Rule, text: str, limit: float, *, above: bool, recovery: float | None = None
) -> Query:
    """A query that breaches when each of the rule's windows does."""
    assert rule.every is not None
    count = max(rule.samples, math.ceil(rule.hold / rule.every))
    return Query(
        over=f"{'min' if above else 'max'}({_last(count * rule.every)})",
        text=text,
        limit=limit,
        above=above,
        recovery=recovery,
    )


def _volume(rule: VolumeRule) -> Query:
    assert rule.every is not None
    if isinstance(rule, DetectionVolume):
        found = _one("sum", Metric.DETECTIONS, rule, rule.every)
        text, unit = f"{found} / {_one('sum', rule.exposure, rule, rule.every)}", 1.0
    else:
        requests = _one("sum", Metric.REQUESTS, rule, rule.every)
        text, unit = f"default_zero({requests})", rule.every / MINUTE
    if rule.usual is not None:
        return _held(rule, text, (1 - rule.drop) * rule.usual * unit, above=False)
    over = f"pct_change(avg({_last(rule.hold or rule.every)}),1h_ago)"
    return Query(over=over, text=text, limit=-100 * rule.drop, above=False)


def _threshold(rule: Threshold) -> Query:
    """Of all slices of a deployment the one that breaches first."""
    above = rule.above is not None
    text = _one("max" if above else "min", rule.series, rule)
    if rule.every is not None:
        how = {"mean": "avg", "last": "avg"}.get(rule.aggregate, rule.aggregate)
        rolled = f"{text}.rollup({how}, {int(rule.every.total_seconds())})"
        return _held(rule, rolled, rule.limit, above=above, recovery=rule.recovery)
    # A weekly number is there for one look; a monitor without data keeps its state.
    over = DAY if rule.series.startswith(STANDING) else max(rule.hold, 5 * MINUTE)
    return Query(
        over=f"{'min' if above else 'max'}({_last(over)})",
        text=text,
        limit=rule.limit,
        above=above,
        recovery=rule.recovery,
    )


_ASKED: Final[Mapping[type[Rule], Callable[[Any], Query]]] = {
    LatencyBudget: _latency,
    ErrorRate: _errors,
    RequestVolume: _volume,
    DetectionVolume: _volume,
    EndpointHealth: _health,
    NoData: _silence,
    Threshold: _threshold,
}


def _one(how: str, metric: str, rule: Rule, every: timedelta | None = None) -> str:
    """A metric by deployment, its points of a window made into one."""
    roll = "" if every is None else f".rollup({how}, {int(every.total_seconds())})"
    name = datadog_name(f"{NAMESPACE}.{metric}")
    return f"{how}:{name}{{{','.join(_tags(rule)) or '*'}}} by {{deployment}}{roll}"


def _tags(rule: Rule) -> list[str]:
    """The tags of the slices that a rule is for, as Datadog keeps them."""
    whose = [] if rule.deployments == "*" else [_tag(f"deployment:{rule.deployments}", kept="*")]
    return [*whose, *(_tag(f"{name}:{value}") for name, value in sorted(_where(rule).items()))]


def _where(rule: Rule) -> Mapping[str, str]:
    return rule.where if isinstance(rule, Threshold) else {}


def _tag(text: str, *, kept: str = "") -> str:
    """A tag as Datadog stores it, and must be asked for.

    Lower case, an underscore for whatever else is not allowed, one for several, and none at the
    end (https://docs.datadoghq.com/developers/guide/what-best-practices-are-recommended-for-naming-metrics-and-tags/).

    Args:
        text: the tag.
        kept: characters to keep although no tag may have them.

    >>> _tag("camera:Cam 1, left"), _tag("deployment:acme/line_*", kept="*")
    ('camera:cam_1_left', 'deployment:acme/line_*')
    """
    allowed = re.sub(rf"[^\w:./{re.escape(kept)}-]", "_", text.lower())
    return re.sub("_+", "_", allowed).rstrip("_")


def _last(over: timedelta) -> str:
    """A window of Datadog's.

    >>> _last(timedelta(minutes=15)), _last(timedelta(days=1))
    ('last_15m', 'last_1440m')
    """
    return f"last_{max(1, math.ceil(over / MINUTE))}m"


def datadog_dashboard(rules: Sequence[Rule], *, title: str = "Driftline") -> Exported:
    """A dashboard of the numbers a monitor forwards, with the limits of its rules as markers.

    A body of ``POST /api/v1/dashboard``, or what "Import dashboard JSON" takes.

    Args:
        rules: such as ``monitor.rules``.
        title: of the dashboard.
    """
    refuse_no_text("title", title)
    board = {
        "title": title,
        "description": "Made by driftline.reports.datadog_dashboard from the rules of a monitor.",
        "layout_type": "ordered",
        "template_variables": [
            {"name": "deployment", "prefix": "deployment", "defaults": ["*"]},
        ],
        "widgets": [{"definition": _widget(panel)} for panel in panels(rules)],
    }
    return Exported(text=as_json(board))


def _widget(panel: Panel) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "show_legend": True,
        "requests": [
            {
                "response_format": "timeseries",
                "display_type": "line",
                "queries": _queries(panel),
                "formulas": [
                    {"formula": f"a{at} / per" if panel.per else f"a{at}"}
                    for at in range(len(panel.metrics))
                ],
            }
        ],
        "markers": [_marker(limit) for limit in panel.limits],
    }


def _queries(panel: Panel) -> list[dict[str, str]]:
    named = {f"a{at}": metric for at, metric in enumerate(panel.metrics)}
    named |= {"per": panel.per} if panel.per else {}
    by, chosen = ",".join(panel.by), "$deployment" if panel.chosen else "*"
    counts = {Metric.REQUESTS, Metric.ERRORS, Metric.FRAMES, Metric.DETECTIONS}
    return [
        {
            "data_source": "metrics",
            "name": name,
            "query": f"{how}:{datadog_name(f'{NAMESPACE}.{metric}')}{{{chosen}}} by {{{by}}}"
            f"{'.rollup(sum)' if how == 'sum' else ''}",
        }
        for name, metric in named.items()
        for how in ["sum" if metric in counts else "avg"]
    ]


def _marker(limit: Limit) -> dict[str, str]:
    return {
        "value": f"y = {limit.value:.12g}",
        "display_type": "error dashed",
        "label": f"{limit.rule}: {'above' if limit.above else 'below'} alerts",
    }
