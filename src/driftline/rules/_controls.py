"""What people and other alerts say about who is told: silences, inhibitions, acknowledgements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from attrs import Attribute, field, frozen

from driftline._checks import a, part, parts
from driftline._clock import as_utc
from driftline.errors import InputError


def _utc(value: datetime) -> datetime:
    return as_utc(value, name="a time of a silence")


def _utc_or_none(value: datetime | None) -> datetime | None:
    return None if value is None else _utc(value)


_PATTERN: Final = "a pattern of names, such as 'latency-budget*', or '*' for any"


def _labels(value: Mapping[str, str]) -> Mapping[str, str]:
    given = part(value, Mapping, name="labels", what="a dictionary of label and value")
    parts([*given, *given.values()], str, name="labels", what="text")
    return dict(given)


def _patterns(value: Iterable[str]) -> tuple[str, ...]:
    return parts(value, str, name="silences", what=_PATTERN)


def _said(_instance: object, attribute: Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        msg = (
            f"{attribute.name}={value!r} must not be empty: whoever finds the silence wants to know"
        )
        raise InputError(msg)


def _later(instance: Silence, _attribute: Attribute[Any], value: datetime | None) -> None:
    if value is not None and value <= instance.start:
        msg = f"a silence that ends at {value} must begin before, not at {instance.start}"
        raise InputError(msg)


@frozen(kw_only=True)
class Silence:
    """For a while, people are not told of some alerts. Their state is tracked all the same.

    When it ends and the alert is still open, they are told then.

    Attributes:
        author: who asked for it.
        reason: why.
        start: from when, UTC.
        end: until when, UTC; None: until it is lifted (the rule is disabled).
        rule: pattern of rule names, ``*`` for any.
        deployment: pattern of deployments.
        labels: labels a slice must carry.
    """

    author: str = field(validator=_said)
    reason: str = field(validator=_said)
    start: datetime = field(converter=_utc)
    end: datetime | None = field(converter=_utc_or_none, validator=_later)
    rule: str = field(default="*", validator=a(str, _PATTERN))
    deployment: str = field(default="*", validator=a(str, _PATTERN))
    labels: Mapping[str, str] = field(factory=dict, converter=_labels)

    def covers(self, rule: str, deployment: str, labels: Mapping[str, str]) -> bool:
        """Whether it is about this subject, at whatever time."""
        return (
            fnmatchcase(rule, self.rule)
            and fnmatchcase(deployment, self.deployment)
            and all(labels.get(name) == value for name, value in self.labels.items())
        )

    def holds(self, at: datetime) -> bool:
        """Whether it is on at a time."""
        return self.start <= at and (self.end is None or at < self.end)

    def __str__(self) -> str:
        """Why people are not told, for people."""
        if self.end is None:
            return f"disabled by {self.author}: {self.reason}"
        return f"silenced by {self.author} until {self.end:%Y-%m-%d %H:%M} UTC: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "author": self.author,
            "reason": self.reason,
            "start": self.start.isoformat(),
            "end": None if self.end is None else self.end.isoformat(),
            "rule": self.rule,
            "deployment": self.deployment,
            "labels": dict(self.labels),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Silence:
        """The silence again."""
        end = value["end"]
        return cls(
            author=value["author"],
            reason=value["reason"],
            start=datetime.fromisoformat(value["start"]),
            end=None if end is None else datetime.fromisoformat(end),
            rule=value["rule"],
            deployment=value["deployment"],
            labels=value["labels"],
        )


@frozen(kw_only=True)
class Inhibition:
    """While one rule fires on a deployment, people are not told of others on the same one.

    Attributes:
        by: pattern of the names of the rules that inhibit.
        silences: patterns of the names of the rules that are inhibited.
    """

    by: str = field(validator=a(str, _PATTERN))
    silences: tuple[str, ...] = field(converter=_patterns)

    def covers(self, rule: str) -> bool:
        """Whether a rule of this name is inhibited."""
        return any(fnmatchcase(rule, pattern) for pattern in self.silences)


INHIBITIONS: Final = (
    Inhibition(
        by="endpoint-health*",
        silences=("latency-budget*", "error-rate*", "request-volume*", "detection-volume*"),
    ),
    Inhibition(by="threshold:accuracy.*", silences=("threshold:drift.*",)),
)
"""What a monitor uses unless told otherwise: a dead endpoint explains its latency, errors and
volume; lost accuracy makes the drift that came with it no second message."""
