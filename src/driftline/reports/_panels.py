"""What a dashboard shows, in words that are nobody's yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from attrs import evolve, frozen

from driftline.monitor._tick import HEARTBEAT, OPEN_ALERTS
from driftline.records import Metric
from driftline.reports._promql import checked, condition
from driftline.rules import NoData, Rule, Threshold
from driftline.sinks._intake import STANDING

Unit: TypeAlias = Literal["ms", "share", "number"]


@frozen(kw_only=True)
class Limit:
    """A line that a number should not cross.

    Attributes:
        value: where it is, in the panel's unit.
        above: whether what lies above it breaches; else what lies below.
        rule: name of the rule it is of.
    """

    value: float
    above: bool
    rule: str


@frozen(kw_only=True)
class Panel:
    """One picture.

    Attributes:
        title: what it shows.
        metrics: its lines.
        per: a metric every line is divided by, "" for none.
        by: labels whose values have a line of their own.
        unit: of the values.
        limits: lines that should not be crossed.
    """

    title: str
    metrics: tuple[str, ...]
    per: str = ""
    by: tuple[str, ...] = ("deployment",)
    unit: Unit = "number"
    limits: tuple[Limit, ...] = ()

    @property
    def chosen(self) -> bool:
        """Whether it shows the deployments that are chosen on the dashboard."""
        return "deployment" in self.by

    @property
    def standing(self) -> bool:
        """Whether its numbers stand until the next one, such as a weekly accuracy."""
        return all(metric.startswith(STANDING) for metric in self.metrics)


ALWAYS: Final = (
    Panel(title="p95 latency", metrics=(Metric.LATENCY_P95_MS,), unit="ms"),
    Panel(
        title="Share of failed requests",
        metrics=(Metric.ERRORS,),
        per=Metric.REQUESTS,
        unit="share",
    ),
    Panel(title="Requests", metrics=(Metric.REQUESTS,)),
    Panel(title="Objects found per frame", metrics=(Metric.DETECTIONS,), per=Metric.FRAMES),
    Panel(
        title="Drift: distance from the reference",
        metrics=(Metric.DRIFT_STATISTIC,),
        by=("deployment", "feature", "camera", "class"),
        unit="share",
    ),
    Panel(
        title="mAP@0.5:0.95 with its 95 % interval",
        metrics=(Metric.MAP, Metric.MAP_LOW, Metric.MAP_HIGH),
        by=("deployment", "set"),
        unit="share",
    ),
    Panel(title="Answers its health check", metrics=(Metric.HEALTHY,)),
    Panel(title="Open alerts", metrics=(OPEN_ALERTS,), by=("monitor",)),
    Panel(title="The monitor ran", metrics=(HEARTBEAT,), by=("monitor",)),
)
"""Every number Driftline sends by itself, the most telling first."""


def panels(rules: Sequence[Rule]) -> tuple[Panel, ...]:
    """The pictures for some rules: what is always shown with their limits, and their own numbers.

    Raises:
        InputError: one is no rule.
    """
    given = checked(rules)
    shown = {metric for panel in ALWAYS for metric in panel.metrics}
    own = dict.fromkeys(
        rule.metric for rule in given if rule.metric not in shown and not isinstance(rule, NoData)
    )
    found = (*ALWAYS, *(Panel(title=metric, metrics=(metric,)) for metric in own))
    return tuple(evolve(panel, limits=_limits(panel, given)) for panel in found)


def _limits(panel: Panel, rules: Sequence[Rule]) -> tuple[Limit, ...]:
    limits = []
    for rule in rules:
        asked = condition(rule)
        if isinstance(asked, str) or asked.threshold is None or rule.metric != panel.metrics[0]:
            continue
        if panel.per and isinstance(rule, Threshold):
            continue  # its limit is one of the count, and the panel shows a share
        above = asked.limit.startswith(">")
        limits.append(Limit(value=asked.threshold, above=above, rule=rule.name))
    return tuple(limits)
