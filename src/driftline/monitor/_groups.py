"""One message for one incident: alerts that begin together are told together.

A platform that slows down pages once, with the list of deployments, instead of three hundred
times. Members come and go; the group is over when the last of them is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from attrs import define, evolve, field, frozen

from driftline._checks import not_negative, number, one_of
from driftline.monitor._codec import alert_from_json, alert_to_json
from driftline.monitor._subjects import in_words
from driftline.records import Alert, AlertStatus, Change, Put, Remove, Severity
from driftline.rules._time import instant, span

_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_NAMED = 10


@frozen(kw_only=True)
class Grouping:
    """When alerts are told as one.

    Attributes:
        by: what they have in common: the rule (many deployments, one kind of trouble) or the
            deployment (one deployment, many kinds).
        at_least: how many must begin in one run; fewer are told one by one.
        interval: how often an open group is told again when its members changed.
    """

    by: Literal["rule", "deployment"] = field(
        default="rule", validator=one_of("rule", "deployment")
    )
    at_least: int = field(
        default=3, validator=number("2 or more: one is no group", least=2, whole=True)
    )
    interval: timedelta = field(default=timedelta(minutes=5), validator=not_negative)

    def of(self, alert: Alert) -> str:
        """What the group of an alert is called."""
        return alert.rule if self.by == "rule" else alert.deployment


@define(kw_only=True)
class Group:
    """An open group.

    Attributes:
        alert: as it was last told.
        members: key of each member → its alert, as JSON.
        told_at: when it was last told, microseconds since 1970.
        changed: whether its members changed since.
    """

    alert: Mapping[str, Any]
    members: dict[str, Mapping[str, Any]]
    told_at: int
    changed: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "alert": self.alert,
            "members": self.members,
            "told_at": self.told_at,
            "changed": self.changed,
        }


@define(kw_only=True)
class Groups:
    """All open groups of a monitor, and how they change in a run.

    Attributes:
        monitor: name of the monitor.
        space: where they are kept.
        grouping: when alerts are told as one; None: never, but open groups are seen to their end.
        open: name → group.
        stored: as they were read.
    """

    monitor: str
    space: str
    grouping: Grouping | None
    open: dict[str, Group] = field(factory=dict)
    stored: dict[str, Mapping[str, Any]] = field(factory=dict)

    def load(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """As the last run left them."""
        self.stored = dict(documents)
        self.open = {
            name: Group(
                alert=value["alert"],
                members=dict(value["members"]),
                told_at=value["told_at"],
                changed=value["changed"],
            )
            for name, value in documents.items()
        }

    def told_as_one(self, key: str) -> bool:
        """Whether an alert is a member of an open group."""
        return any(key in group.members for group in self.open.values())

    def merge(self, alerts: Sequence[Alert], now: int) -> list[Alert]:
        """What is told in place of some alerts."""
        beginning: dict[str, list[Alert]] = {}
        often = Counter(alert.key for alert in alerts)
        single = [
            alert
            for alert in alerts
            if not self._absorbed(alert)
            and not (often[alert.key] == 1 and self._begins(alert, beginning))
        ]
        opened = [
            a for name, members in beginning.items() for a in self._opened(name, members, now)
        ]
        # The most urgent go first: a slow sink may not get through all of them in this run.
        return sorted([*single, *opened, *self._news(now)], key=lambda a: _RANK[a.severity])

    def _absorbed(self, alert: Alert) -> bool:
        """Whether an open group takes the alert in."""
        for name, group in self.open.items():
            joins = self.grouping is not None and self.grouping.of(alert) == name
            if alert.key in group.members or (joins and alert.status is AlertStatus.FIRING):
                if alert.status is AlertStatus.FIRING:
                    group.members[alert.key] = alert_to_json(evolve(alert, logs=()))
                else:
                    del group.members[alert.key]
                group.changed = True
                return True
        return False

    def _begins(self, alert: Alert, beginning: dict[str, list[Alert]]) -> bool:
        """Whether the alert may be one of a new group: it begins, and does not end in this run."""
        if self.grouping is None or alert.status is not AlertStatus.FIRING:
            return False
        beginning.setdefault(self.grouping.of(alert), []).append(alert)
        return True

    def _opened(self, name: str, members: Sequence[Alert], now: int) -> list[Alert]:
        if self.grouping is None or len(members) < self.grouping.at_least:
            return list(members)
        alert = self._worded(name, members, now, logs=True)
        self.open[name] = Group(
            alert=alert_to_json(alert),
            members={m.key: alert_to_json(evolve(m, logs=())) for m in members},
            told_at=now,
        )
        return [alert]

    def _news(self, now: int) -> list[Alert]:
        """Groups that are over, and open ones whose members changed some time ago."""
        told: list[Alert] = []
        interval = span(self.grouping.interval) if self.grouping is not None else 0
        for name, group in list(self.open.items()):
            if not group.members:
                del self.open[name]
                opened = alert_from_json(group.alert)
                told.append(
                    evolve(
                        opened,
                        status=AlertStatus.RESOLVED,
                        at=instant(now),
                        reason="all of them recovered or ended",
                        logs=(),
                    )
                )
            elif group.changed and now - group.told_at >= interval:
                members = [alert_from_json(member) for member in group.members.values()]
                alert = evolve(self._worded(name, members, now), logs=())
                group.alert, group.told_at, group.changed = alert_to_json(alert), now, False
                told.append(alert)
        return told

    def _worded(
        self, name: str, members: Sequence[Alert], now: int, *, logs: bool = False
    ) -> Alert:
        first = min(members, key=lambda member: _RANK[member.severity])
        by_rule = self.grouping is None or self.grouping.by == "rule"
        whose = [
            in_words(m.deployment, m.labels) if by_rule else f"{m.rule}: {m.summary}"
            for m in members
        ]
        more = f" and {len(whose) - _NAMED} more" if len(whose) > _NAMED else ""
        kinds = (
            f"{len(members)} alerts of {name}" if by_rule else f"{len(members)} alerts on {name}"
        )
        digest = hashlib.sha256(json.dumps([self.monitor, "group", name]).encode()).hexdigest()[:20]
        return evolve(
            first,
            key=f"group-{digest}",
            summary=f"{kinds}: {', '.join(whose[:_NAMED])}{more}",
            deployment="" if by_rule else first.deployment,
            since=min(member.since for member in members),
            window_start=min(member.window_start for member in members),
            window_end=max(member.window_end for member in members),
            at=instant(now),
            value=None,
            threshold=None,
            logs=first.logs if logs else (),
            labels={"group": name},
        )

    def changes(self) -> list[Change]:
        """What to write."""
        now = {name: group.to_json() for name, group in self.open.items()}
        written: list[Change] = [
            Put(space=self.space, key=name, value=value)
            for name, value in now.items()
            if value != self.stored.get(name)
        ]
        return written + [
            Remove(space=self.space, key=name) for name in self.stored if name not in now
        ]
