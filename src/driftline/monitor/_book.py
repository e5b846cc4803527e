"""What a monitor remembers between runs, read at the start and written once at the end."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, field

from driftline.monitor._engine import Findings
from driftline.monitor._subjects import Place, Subject
from driftline.records import Change, Put, Remove, Store
from driftline.rules import Phase, Silence
from driftline.rules._state import State
from driftline.rules._time import micros, span


@define(kw_only=True)
class Page:
    """What is remembered of one deployment.

    Attributes:
        states: rule and subject → state.
        forwarded: up to when its numbers were forwarded, microseconds since 1970.
        missed: how many runs in a row it was not to be found.
        missed_at: when last.
        asked: when the platform was last asked about it.
        since: until then, from when on it counts as waiting.
    """

    states: dict[Place, State] = field(factory=dict)
    forwarded: int = 0
    missed: int = 0
    missed_at: int = 0
    asked: int = 0
    since: int = 0

    @property
    def waits_from(self) -> int:
        """From when on it waits to be asked; 0 when nobody has met it."""
        return self.asked or self.since

    @property
    def urgent(self) -> bool:
        """Whether something fires or is about to."""
        return any(state.phase is not Phase.OK for state in self.states.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        rules: dict[str, dict[str, Any]] = {}
        for (rule, subject), state in self.states.items():
            labels = json.dumps(dict(subject.labels)) if subject.labels else ""
            rules.setdefault(rule, {})[labels] = state.to_json()
        missed = [self.missed, self.missed_at]
        value = {"rules": rules, "f": self.forwarded, "m": missed, "a": self.asked}
        return value if self.asked else value | {"s": self.since}

    @classmethod
    def from_json(cls, deployment: str, value: Mapping[str, Any]) -> Page:
        """The page again."""
        missed, missed_at = value["m"]
        return cls(
            states={
                (rule, Subject.of(deployment, json.loads(labels) if labels else {})): (
                    State.from_json(state)
                )
                for rule, states in value["rules"].items()
                for labels, state in states.items()
            },
            forwarded=value["f"],
            missed=missed,
            missed_at=missed_at,
            asked=value.get("a", 0),
            since=value.get("s", 0),
        )


@define(kw_only=True)
class Book:
    """All pages, and what people have said.

    Attributes:
        space: prefix of the monitor's spaces in the store.
        pages: deployment → page.
        stored: pages as they were read.
        memories: what rules remember.
        silences: by their names in the store.
        acknowledged: keys somebody has taken on.
    """

    space: str
    pages: dict[str, Page]
    stored: dict[str, Mapping[str, Any]]
    memories: dict[Place, Mapping[str, Any]]
    silences: dict[str, Silence]
    acknowledged: frozenset[str]

    @classmethod
    def load(cls, store: Store, space: str) -> Book:
        """Read everything."""
        pages = store.scan(f"{space}/state")
        return cls(
            space=space,
            pages={d.key: Page.from_json(d.key, d.value) for d in pages},
            stored={d.key: d.value for d in pages},
            memories={_place(d.key): d.value for d in store.scan(f"{space}/memory")},
            silences={d.key: Silence.from_json(d.value) for d in store.scan(f"{space}/silences")},
            acknowledged=frozenset(d.key for d in store.scan(f"{space}/acknowledged")),
        )

    def states(self) -> dict[Place, State]:
        """Every state."""
        return {
            place: state for page in self.pages.values() for place, state in page.states.items()
        }

    def page(self, deployment: str) -> Page:
        """The page of a deployment, blank when there is none yet."""
        return self.pages.setdefault(deployment, Page())

    def meet(self, deployments: Iterable[str], now: datetime) -> None:
        """Note from when on new ones wait: a moment longer than whoever was asked longest ago.

        So they come before all that is calm and behind what fires. It is remembered, so that they
        are asked in the end even where time does not suffice for what fires.
        """
        pages = [self.page(deployment) for deployment in deployments]
        since = min((page.asked for page in pages if page.asked), default=micros(now)) - 1
        for page in pages:
            if not page.waits_from:
                page.since = since

    def take(self, found: Findings) -> None:
        """Take over the states of a run."""
        for place, state in found.states.items():
            self.page(place[1].deployment).states[place] = state
        for place in found.dropped:
            self.page(place[1].deployment).states.pop(place, None)

    def changes(self, found: Findings) -> list[Change]:
        """What to write of the pages and memories."""
        changes: list[Change] = []
        for deployment, page in self.pages.items():
            value = page.to_json()
            if value != self.stored.get(deployment):
                changes.append(Put(space=f"{self.space}/state", key=deployment, value=value))
        changes += [
            Put(space=f"{self.space}/memory", key=memory_key(place), value=memory)
            for place, memory in found.memories.items()
        ]
        changes += [
            Remove(space=f"{self.space}/memory", key=memory_key(place))
            for place in found.dropped
            if place in self.memories
        ]
        return changes

    def forgotten(self, watched: Collection[str], now: datetime) -> list[Change]:
        """Deployments that nobody has watched for 30 days go, with what rules learnt of them."""
        old = micros(now) - KEPT
        gone = {
            deployment
            for deployment, page in self.pages.items()
            if 0 < page.waits_from < old and deployment not in watched
        }
        return [
            *(
                Remove(space=f"{self.space}/{kind}", key=deployment)
                for deployment in gone
                for kind in ("state", "claims")
            ),
            *(
                Remove(space=f"{self.space}/memory", key=memory_key(place))
                for place in self.memories
                if place[1].deployment in gone
            ),
        ]

    def expired_silences(self, now: datetime) -> Iterable[Change]:
        """Silences that are over go, a day later: a late run still judges by them."""
        return [
            Remove(space=f"{self.space}/silences", key=key)
            for key, silence in self.silences.items()
            if silence.end is not None and (now - silence.end).total_seconds() > _DAY
        ]


_DAY = 86_400.0
KEPT: Final = span(timedelta(days=30))
"""As long as the Platform keeps its metrics."""


def memory_key(place: Place) -> str:
    """Name of a rule's memory of a subject in the store."""
    rule, subject = place
    return json.dumps([rule, subject.deployment, dict(subject.labels)], separators=(",", ":"))


def _place(text: str) -> Place:
    rule, deployment, labels = json.loads(text)
    return (rule, Subject.of(deployment, labels))
