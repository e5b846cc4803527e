"""Who is judged: a deployment or a slice of it, and the key an alert about it has for life."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

_DIGEST = 20


class Subject(NamedTuple):
    """A deployment, or one slice of it.

    Attributes:
        deployment: ``"owner/deployment"``, or "".
        labels: the slice, as sorted pairs.
    """

    deployment: str
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, deployment: str, labels: Mapping[str, str]) -> Subject:
        """The subject of a sample."""
        return cls(deployment, tuple(sorted(labels.items())))

    @property
    def text(self) -> str:
        """Its name in the store."""
        return json.dumps([self.deployment, dict(self.labels)], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Subject:
        """The subject again."""
        deployment, labels = json.loads(text)
        return cls.of(deployment, labels)


Place: TypeAlias = tuple[str, Subject]
"""A rule's name and a subject."""


def in_words(deployment: str, labels: Mapping[str, str]) -> str:
    """A subject for people.

    >>> in_words("acme/line-3", {"camera": "cam-1"})
    'acme/line-3 [camera=cam-1]'
    """
    told = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return f"{deployment or 'no deployment'}{f' [{told}]' if told else ''}"


def dedup_key(monitor: str, rule: str, subject: Subject, *, drill: bool = False) -> str:
    """The key of an alert: the rule's name for people, and a digest of whose it is.

    It holds neither value nor time nor severity nor threshold, so that editing a rule keeps its
    open alerts; at most 69 characters (Datadog takes 100).
    """
    whose = [monitor, rule, subject.deployment, dict(subject.labels), drill]
    text = json.dumps(whose, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()[:_DIGEST]
    readable = "".join(c if c.isalnum() or c in "-_.:" else "-" for c in rule)[:40]
    return f"{'drill-' if drill else ''}{readable}-{digest}"
