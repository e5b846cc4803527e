"""Rules as PromQL, on the metrics as `driftline.sinks.grafana.GrafanaSink` writes them.

A sample of a rule is the value of a window that is aligned to the clock, and so it is here: a
subquery with a step is evaluated at multiples of the step
(https://prometheus.io/docs/prometheus/latest/querying/examples/#subquery). A number stands at the
end of the time it covers, so that a window is a range that ends at its end and, a millisecond
short, leaves out the one before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from driftline._checks import parts
from driftline.monitor._tick import HEARTBEAT
from driftline.records import Metric
from driftline.rules import (
    DetectionVolume,
    EndpointHealth,
    ErrorRate,
    LatencyBudget,
    NoData,
    RequestVolume,
    Rule,
    Threshold,
)
from driftline.rules._volume import VolumeRule
from driftline.rules._volume_plain import ENOUGH, MEMORY
from driftline.sinks._intake import STANDING
from driftline.sinks._names import NAMESPACE, prometheus_name

MINUTE: Final = timedelta(minutes=1)
STANDS: Final = timedelta(days=8)
"""How long a weekly number stands: a week, and a day for the job that makes the next one."""
USUAL: Final = timedelta(days=1)
"""A series that was seen within a day is one that ought to come."""


@frozen(kw_only=True)
class Condition:
    """A rule's samples and its limit.

    Attributes:
        sample: PromQL of the value of the window that ends when it is evaluated.
        limit: the comparison that breaches, such as ``"> 250"``.
        every: length of a window.
        recovery: the comparison of a sample that is not good yet; "" where that is `limit`.
        gate: PromQL that must hold when the alert is evaluated, "" for nothing.
        threshold: the limit where it is a number, None where it is learnt.
    """

    sample: str
    limit: str
    every: timedelta
    threshold: float | None = None
    recovery: str = ""
    gate: str = ""


def duration(value: timedelta) -> str:
    """A duration as Prometheus writes it.

    >>> duration(timedelta(minutes=15) - timedelta(milliseconds=1)), duration(timedelta(hours=1))
    ('14m59s999ms', '1h')
    """
    left, parts = value // timedelta(milliseconds=1), []
    for size, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")):
        count, left = divmod(left, size)
        parts += [f"{count}{name}"] if count else []
    return "".join(parts) or "0s"


def number(value: float) -> str:
    """A number as PromQL, and people, read it."""
    return f"{value:.12g}"


def quoted(text: str) -> str:
    r"""A string of PromQL, whose escapes are Go's.

    >>> print(quoted('say "a"'))
    "say \"a\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def series(metric: str, rule: Rule) -> str:
    """The series of a metric that a rule is for."""
    matchers = []
    if rule.deployments != "*":
        matchers.append(f"deployment=~{quoted(regex(rule.deployments))}")
    if isinstance(rule, Threshold):
        matchers += [f"{prometheus_name(k)}={quoted(v)}" for k, v in sorted(rule.where.items())]
    name = prometheus_name(f"{NAMESPACE}.{metric}")
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def regex(pattern: str) -> str:
    r"""A pattern of `fnmatch` as an anchored regular expression of Prometheus, which is RE2.

    `fnmatch.translate` is of no use: Python's ends in ``\Z`` and may look ahead, and RE2
    (https://github.com/google/re2/wiki/Syntax) knows neither.

    >>> regex("acme/line-[12]*"), regex("line-[!3-5]?")
    ('acme/line\\-[12].*', 'line\\-[^3-5].')
    """
    return "".join(_spelt(*part.groups()) for part in _PARTS.finditer(pattern))


_PARTS: Final = re.compile(r"\[(!?+)(\]?+[^]]*)\]|(.)", re.DOTALL)
"""A class, whose first character may be the bracket that would else end it, or a character."""


def _spelt(negated: str | None, among: str | None, one: str | None) -> str:
    if among is None:
        return {"*": ".*", "?": "."}.get(one or "", re.escape(one or ""))
    parts = re.findall(r"(.)-(.)|(.)", among, re.DOTALL)
    kept = [
        re.escape(single) or f"{re.escape(first)}-{re.escape(last)}"
        for first, last, single in parts
        if first <= last  # a range that runs backwards holds nothing
    ]
    if not kept:
        return "." if negated else r"[^\s\S]"
    return f"[{'^' if negated else ''}{''.join(kept)}]"


def window(length: timedelta, *, step: timedelta | None = None) -> str:
    """The range of one window, a millisecond short; with `step`, as a subquery."""
    end = f":{duration(step)}" if step is not None else ""
    return f"[{duration(length - timedelta(milliseconds=1))}{end}]"


def condition(rule: Rule) -> Condition | str:
    """What a rule asks for, or why PromQL has no word for it."""
    if rule.samples > 1 and rule.every is None and not isinstance(rule, EndpointHealth):
        return f"samples={rule.samples} of numbers that come when they come; pass every="
    if rule.of is not None and rule.of > rule.samples:
        return f"{rule.samples} of {rule.of} samples: queries know consecutive ones only"
    # The very class: what a subclass judges, nobody knows.
    say = _SAID.get(type(rule))
    return say(rule) if say else f"{type(rule).__name__} is your own: only Python knows its verdict"


def _latency(rule: LatencyBudget) -> Condition:
    """The mean of the minutes' p95, weighted by their requests; alike where nobody counts these."""
    p95 = f"last_over_time({series(Metric.LATENCY_P95_MS, rule)}{window(MINUTE)})"
    requests = f"last_over_time({series(Metric.REQUESTS, rule)}{window(MINUTE)})"
    span = window(rule.every, step=MINUTE)
    sample = (
        f"(sum_over_time(({p95} * {requests}){span})"
        f" / sum_over_time(({requests} > 0 and {p95} > 0){span})"
        f" or avg_over_time({series(Metric.LATENCY_P95_MS, rule)}{window(rule.every)}))"
    )
    recovery = rule.recover_below_ms
    return Condition(
        sample=sample,
        limit=f"> {number(rule.p95_ms)}",
        threshold=rule.p95_ms,
        recovery="" if recovery is None else f"> {number(recovery)}",
        every=rule.every,
    )


def _errors(rule: ErrorRate) -> Condition:
    """Errors by requests; a minute for which no errors are listed had none."""
    errors = f"sum_over_time({series(Metric.ERRORS, rule)}{window(rule.every)})"
    requests = f"sum_over_time({series(Metric.REQUESTS, rule)}{window(rule.every)})"
    recovery = rule.recover_below
    return Condition(
        sample=f"({errors} or 0 * {requests}) / ({requests} >= {rule.min_requests})",
        limit=f"> {number(rule.above)}",
        threshold=rule.above,
        recovery="" if recovery is None else f"> {number(recovery)}",
        every=rule.every,
    )


def _volume(rule: VolumeRule) -> Condition | str:
    if rule.mode != "plain":
        return f"mode={rule.mode!r} learns weekday and time of day, which no query can"
    gate = ""
    if isinstance(rule, DetectionVolume):
        sample, exposure = _detected(rule)
    else:
        sample, exposure = _requested(rule)
        gate = prometheus_name(f"{NAMESPACE}.{HEARTBEAT}")
    if rule.usual is None:
        limit = _learnt(rule, sample, exposure)
        return Condition(sample=sample, limit=limit, every=rule.every, gate=gate)
    least = (1 - rule.drop) * rule.usual
    return Condition(
        sample=f"({sample} and {number(rule.usual)} * {exposure} >= {number(rule.min_expected)})",
        limit=f"< {number(least)}",
        threshold=least,
        every=rule.every,
        gate=gate,
    )


def _detected(rule: DetectionVolume) -> tuple[str, str]:
    """Detections by frame, and the frames."""
    frames = f"(sum_over_time({series(rule.exposure, rule)}{window(rule.every)}) > 0)"
    found = f"sum_over_time({series(Metric.DETECTIONS, rule)}{window(rule.every)})"
    return f"{found} / {frames}", frames


def _requested(rule: VolumeRule) -> tuple[str, str]:
    """Requests by minute, and the minutes, with the labels of the series.

    A minute without requests is listed nowhere; it had none as long as the monitor looks.
    """
    seen = series(Metric.REQUESTS, rule)
    none = f"0 * last_over_time({seen}[{duration(USUAL)}])"
    minutes = f"({none} + {number(rule.every / MINUTE)})"
    return f"(sum_over_time({seen}{window(rule.every)}) or {none}) / {minutes}", minutes


def _learnt(rule: VolumeRule, sample: str, exposure: str) -> str:
    """Below a share of the median of the last hour, where enough is known and expected."""
    hour = f"{window(MEMORY * rule.every, step=rule.every)} offset {duration(rule.every)}"
    usual = f"quantile_over_time(0.5, ({sample}){hour})"
    return (
        f"< ({number(1 - rule.drop)} * {usual}"
        f" and {usual} * {exposure} >= {number(rule.min_expected)}"
        f" and count_over_time(({sample}){hour}) >= {ENOUGH})"
    )


def _health(rule: EndpointHealth) -> Condition:
    """The last answer: it is asked once in a while, and not on the minute."""
    value = f"last_over_time({series(Metric.HEALTHY, rule)}{window(2 * rule.ask_every)})"
    return Condition(sample=value, limit="< 1", threshold=1, every=rule.ask_every)


def _silence(rule: NoData) -> Condition:
    """A series that came within a day and does not any more."""
    seen = series(rule.series, rule)
    silent = f"unless count_over_time({seen}{window(rule.no_data_after)})"
    last = f"last_over_time({seen}[{duration(USUAL)}])"
    return Condition(sample=last, limit=silent, every=MINUTE)


def _threshold(rule: Threshold) -> Condition:
    side = ">" if rule.above is not None else "<"
    if rule.every is not None:
        length, how = rule.every, {"mean": "avg"}.get(rule.aggregate, rule.aggregate)
        span = window(length)
    else:
        standing = rule.series.startswith(STANDING)
        length, how = MINUTE, "last"
        span = f"[{duration(STANDS if standing else USUAL)}]"
    return Condition(
        sample=f"{how}_over_time({series(rule.series, rule)}{span})",
        limit=f"{side} {number(rule.limit)}",
        threshold=rule.limit,
        recovery="" if rule.recovery is None else f"{side} {number(rule.recovery)}",
        every=length,
    )


_SAID: Final[Mapping[type[Rule], Callable[[Any], Condition | str]]] = {
    LatencyBudget: _latency,
    ErrorRate: _errors,
    RequestVolume: _volume,
    DetectionVolume: _volume,
    EndpointHealth: _health,
    NoData: _silence,
    Threshold: _threshold,
}


def checked(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules.

    Raises:
        InputError: one is none.
    """
    return parts(rules, Rule, name="rules", what="a rule, such as rules.LatencyBudget(…)")
