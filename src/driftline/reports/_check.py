"""What is configured, which extras are there, which credentials work, and what is still missing."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import platform as machine
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from attrs import field, frozen

from driftline._checks import part
from driftline._clock import SystemClock, as_optional_utc, as_utc
from driftline._draw import Shown, Table, View
from driftline.errors import DriftlineError
from driftline.monitor import Monitor
from driftline.monitor._clients import Client, Clients
from driftline.platform import PlatformClient, Retry
from driftline.platform._calls import deployments
from driftline.platform._setup import KEY_VARIABLE
from driftline.records import AlertSink, Metric, MetricSink
from driftline.retrain import RetrainPolicy
from driftline.retrain._policy import accuracy_fell
from driftline.rules import Change, Rule

HOLDOUT_AGE: Final = timedelta(days=8)
"""The guide's checklist: the last holdout run is less than eight days old."""
WEEK: Final = timedelta(days=7)
PATIENCE: Final = timedelta(seconds=10)
SHOWN: Final = 20
"""Deployments that are looked up; the Platform takes a hundred calls a minute."""

VARIABLES: Final = {
    KEY_VARIABLE: "Ultralytics Platform",
    "DD_API_KEY": "Datadog",
    "DD_APP_KEY": "Datadog, for events",
    "PAGERDUTY_ROUTING_KEY": "PagerDuty",
    "GRAFANA_SERVICE_ACCOUNT_TOKEN": "Grafana, for markers",
}


@frozen(kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: what it belongs to.
        what: what was looked at.
        ok: whether it is well; None where there is nothing to be well or not.
        told: what was found.
        next: what to do about it, "" for nothing.
    """

    area: str
    what: str
    ok: bool | None
    told: str
    next: str = ""

    def __str__(self) -> str:
        """One line for people."""
        todo = f"; {self.next}" if self.next else ""
        return f"{_MARKS[self.ok]} {self.what}: {self.told}{todo}"


_MARKS: Final = {True: "ok", False: "NO", None: "--"}


@frozen(kw_only=True, repr=False)
class Checkup(Shown):
    """What a look at everything found.

    Attributes:
        at: when, UTC.
        findings: what was looked at, in order.
    """

    at: datetime
    findings: tuple[Finding, ...] = field(converter=tuple[Finding, ...])

    @property
    def ok(self) -> bool:
        """Whether nothing that was looked at is wrong."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.findings if finding.ok is False)

    def _areas(self) -> dict[str, list[Finding]]:
        areas: dict[str, list[Finding]] = {}
        for finding in self.findings:
            areas.setdefault(finding.area, []).append(finding)
        return areas

    def __repr__(self) -> str:
        """Say how it went."""
        return f"<Checkup: {len(self.findings)} looked at, {len(self.wrong)} wrong>"

    def __str__(self) -> str:
        """Everything, a line each."""
        head = "all well" if self.ok else f"{len(self.wrong)} to mend"
        lines = [f"driftline, {self.at:%Y-%m-%d %H:%M} UTC: {head}"]
        for area, findings in self._areas().items():
            lines += [area, *(f"  {finding}" for finding in findings)]
        return "\n".join(lines)

    def _view(self) -> View:
        return View(
            kind="Check",
            verdict="all well" if self.ok else f"{len(self.wrong)} to mend",
            tone="good" if self.ok else "bad",
            headline=str(self.wrong[0]) if self.wrong else "",
            facts=[("at", f"{self.at:%Y-%m-%d %H:%M} UTC")],
            tables=[
                Table(
                    head=("State", "What", "Found", "Next"),
                    rows=[(_MARKS[f.ok], f.what, f.told, f.next) for f in findings],
                    caption=area,
                )
                for area, findings in self._areas().items()
            ],
        )


def check(
    monitor: Monitor | None = None,
    *,
    policy: RetrainPolicy | None = None,
    evaluated: datetime | None = None,
) -> Checkup:
    """Look at what is installed and configured, and with a monitor answer the guide's checklist.

    It asks only hosts you have configured: the Platform, where there is a key for it, and with a
    monitor the Platform and sinks it was given (each sink's own ``check``, which pages nobody).
    No credential is shown. Nothing is drilled: `Monitor.drill` is what does that.

    Args:
        monitor: whose parts to look at.
        policy: what decides on a retraining; else one with the defaults.
        evaluated: when the last holdout run was; left out, it is told from the newest accuracy
            the monitor has judged.

    Raises:
        InputError: an argument is of another kind.
    """
    if monitor is not None:
        part(monitor, Monitor, name="monitor", what="a driftline.Monitor(…)")
    if policy is not None:
        part(policy, RetrainPolicy, name="policy", what="a driftline.RetrainPolicy(…)")
    evaluated = as_optional_utc(evaluated, name="evaluated")
    findings = [*_installed(), *_credentials(probe=monitor is None)]
    if monitor is not None:
        now = monitor.clock.now()
        findings += _parts(monitor)
        findings += _checklist(monitor, policy or RetrainPolicy(), evaluated, now)
    else:
        now = SystemClock().now()
    return Checkup(at=now, findings=findings)


def _installed() -> Iterator[Finding]:
    version = importlib.metadata.version("driftline")
    told = f"{version} on Python {machine.python_version()}, {machine.system()}"
    yield Finding(area="Installed", what="driftline", ok=None, told=told)
    for extra, packages in sorted(_extras().items()):
        found = {package: _version(package) for package in packages}
        missing = [package for package, version in found.items() if not version]
        told = ", ".join(f"{package} {version}" for package, version in found.items() if version)
        yield Finding(
            area="Installed",
            what=f"extra {extra}",
            ok=None if missing else True,
            told=f"not there: {', '.join(missing)}" if missing else told,
            next=f'pip install "driftline[{extra}]"' if missing else "",
        )


def _extras() -> dict[str, list[str]]:
    """Extra → names of the packages it brings, as the distribution itself says."""
    extras: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("driftline") or []:
        package = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", line)
        if package and extra:
            extras.setdefault(extra[1], []).append(package[0])
    return extras


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _credentials(*, probe: bool) -> Iterator[Finding]:
    for variable, what in VARIABLES.items():
        there = bool(os.environ.get(variable))
        told = "set" if there else "not set"
        yield Finding(area="Environment", what=variable, ok=None, told=f"{told} ({what})")
    if probe and os.environ.get(KEY_VARIABLE):
        yield _tried("Environment", "the Platform takes the key", _ask_environment)


def _ask_environment() -> str:
    with PlatformClient(timeout=PATIENCE, retry=Retry(attempts=1)) as platform:
        return f"{platform!r} answers; the key is of {platform.owner()}"


def _tried(area: str, what: str, do: Callable[[], str]) -> Finding:
    try:
        return Finding(area=area, what=what, ok=True, told=do())
    except DriftlineError as exc:
        told = f"{type(exc).__name__}: {exc}"
    except Exception as exc:  # noqa: BLE001 - isolation border: parts of users' own raise anything
        told = f"{type(exc).__name__}; its words are left out, as they may hold a credential"
    return Finding(area=area, what=what, ok=False, told=told)


def _parts(monitor: Monitor) -> Iterator[Finding]:
    area = f"Monitor {monitor.name}"
    names = ", ".join(rule.name for rule in monitor.rules) or "none: nothing is judged"
    yield Finding(area=area, what="rules", ok=bool(monitor.rules), told=names)
    yield _tried(area, "store", lambda: f"{len(monitor.status())} states are kept")
    yield from _watched(area, monitor)
    if not any(isinstance(sink, AlertSink) for sink in monitor.sinks.values()):
        yield Finding(area=area, what="sinks", ok=False, told="none takes alerts: nobody is told")
    for name, sink in monitor.sinks.items():
        yield _sink(area, name, sink)
    if dead := monitor.dead_letters():
        told = f"{len(dead)} not delivered and given up, such as {dead[0]}"
        todo = "mend the sink, then monitor.revive(number), or monitor.drop(number)"
        yield Finding(area=area, what="dead letters", ok=False, told=told, next=todo)


def _watched(area: str, monitor: Monitor) -> Iterator[Finding]:
    clients = Clients(monitor.platform)
    if not clients.given:
        yield Finding(area=area, what="platform", ok=None, told="none: all numbers come from you")
        return
    for owner in clients.owners or ("",):
        yield _key(area, owner, clients.of(owner))
    names = monitor.deployments
    for ref in names[:SHOWN]:
        look = getattr(clients.of(ref), "deployment", None)
        if callable(look) and not clients.is_async:
            yield _tried(area, f"deployment {ref}", partial(_stands, look, ref))
    if more := len(names[SHOWN:]):
        yield Finding(area=area, what="deployments", ok=None, told=f"{more} more not looked at")
    if not names:
        told = "none is known; a Fleet lists them at its first run"
        yield Finding(area=area, what="deployments", ok=None, told=told)


def _key(area: str, owner: str, client: Client) -> Finding:
    """Whether a key works, whoever is watched with it."""
    what = f"platform {owner}".rstrip()
    if not isinstance(client, PlatformClient):
        return Finding(area=area, what=what, ok=None, told=f"{client!r} was not asked")
    return _tried(area, what, partial(_lists, client, owner))


def _lists(client: PlatformClient, owner: str) -> str:
    whose = owner or client.owner()
    client.request(deployments(whose, status=None, model=None))
    return f"{client!r} lists the deployments of {whose}"


def _stands(look: Callable[[str], object], ref: str) -> str:
    return str(look(ref)).removeprefix(f"{ref}: ")


def _sink(area: str, name: str, sink: AlertSink | MetricSink) -> Finding:
    look = getattr(sink, "check", None)
    if not callable(look) or inspect.iscoroutinefunction(look):
        told = "it has no check(); drill it"
        return Finding(area=area, what=f"sink {name}", ok=None, told=told)
    return _tried(area, f"sink {name}", lambda: getattr(look(), "detail", "") or "answers")


def _checklist(
    monitor: Monitor, policy: RetrainPolicy, evaluated: datetime | None, now: datetime
) -> Iterator[Finding]:
    area = "Checklist of the guide"
    fired = _drilled(monitor)
    yield _alert(area, "an alert on p95 latency", monitor.rules, Metric.LATENCY_P95_MS, fired)
    yield _alert(area, "an alert on detection volume", monitor.rules, Metric.DETECTIONS, fired)
    yield _holdout(area, monitor, evaluated, now)
    yield Finding(area=area, what="the retraining trigger", ok=True, told=trigger(policy))


def _drilled(monitor: Monitor) -> dict[str, datetime]:
    """Rule → when it last fired in a drill."""
    return {t.rule: t.at for t in monitor.drills() if t.change is Change.FIRING}


def _alert(
    area: str, what: str, rules: tuple[Rule, ...], metric: Metric, fired: dict[str, datetime]
) -> Finding:
    mine = [rule.name for rule in rules if metric in rule.metrics()]
    last = max(((fired[name], name) for name in mine if name in fired), default=None)
    if not mine:
        told, todo = "there is none", f"add a rule that judges {metric}"
    elif last is None:
        told, todo = f"{mine[0]} never fired in a drill", f"monitor.drill({mine[0]!r})"
    else:
        told, todo = f"{last[1]} last fired in a drill on {last[0]:%Y-%m-%d}", ""
    return Finding(area=area, what=what, ok=last is not None, told=told, next=todo)


def _holdout(area: str, monitor: Monitor, evaluated: datetime | None, now: datetime) -> Finding:
    what = f"a holdout run less than {HOLDOUT_AGE.days} days ago"
    if evaluated is not None:
        age = now - as_utc(evaluated, name="evaluated")
        ok, told = age < HOLDOUT_AGE, f"the last was {age.days} days ago"
    else:
        judged = {rule.name for rule in monitor.rules if rule.metric.startswith("accuracy.")}
        seen = max((s.seen for s in monitor.status() if s.rule in judged and s.seen), default=None)
        # An accuracy carries the start of the week its frames are of, which was scored after it.
        ok = seen is not None and now - seen < WEEK + HOLDOUT_AGE
        told = f"the newest accuracy is of the week from {seen:%Y-%m-%d}" if seen else "unknown"
    todo = (
        "run HoldoutValidator, pass evaluation.to_samples() to the monitor and have a rule on "
        "accuracy.map, or say evaluated="
    )
    return Finding(area=area, what=what, ok=ok, told=told, next="" if ok else todo)


def trigger(policy: RetrainPolicy) -> str:
    """When a policy asks for a retraining, in one sentence."""
    if accuracy_fell not in policy.clauses:
        names = ", ".join(getattr(clause, "__name__", repr(clause)) for clause in policy.clauses)
        return f"retrain when one of your clauses says so: {names}"
    least = f"{100 * policy.minimum_gain:.3g}"
    cost = "" if policy.budget is None else f", at a cost of at most {policy.budget:g}"
    return (
        "retrain when mAP@0.5:0.95 of the weekly holdout has credibly fallen, by at least "
        f"{least} {'point' if least == '1' else 'points'}, and the last retraining is "
        f"{policy.cooldown.days} days ago{cost}"
    )
