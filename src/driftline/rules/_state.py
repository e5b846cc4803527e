"""What the engine remembers of one rule on one subject, and the word for each change of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from attrs import fields, frozen


class Phase(Enum):
    """Where a rule stands on a subject."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


class Change(Enum):
    """What happened to an alert; each is a transition that the store keeps."""

    PENDING = "pending"
    """a first sample breached; not enough yet"""
    CLEARED = "cleared"
    """it was pending and is calm again"""
    FIRING = "firing"
    """the breach was held: there is an alert"""
    RESOLVED = "resolved"
    """the alert is over"""
    NO_DATA = "no data"
    """samples have stayed away for longer than the rule allows"""
    SUPPRESSED = "suppressed"
    """there is an alert, and people are not told: silenced, inhibited or disabled"""
    RELEASED = "released"
    """what kept people from being told is over, and the alert is not"""
    REPEATED = "repeated"
    """people are told again: the alert is still open"""
    ESCALATED = "escalated"
    """people are told again: the severity rose"""
    FLAPPING = "flapping"
    """it comes and goes: one open alert until it calms down"""
    STEADY = "steady"
    """it stopped coming and going"""


@frozen(kw_only=True, slots=False)
class State:
    """One rule on one subject. Times are microseconds since 1970, 0 for "not yet".

    Attributes:
        phase: where it stands.
        until: all windows that end by then are accounted for.
        first_start: start of the first sample ever.
        last_start: start of the last sample judged; nothing at or before it is judged again.
        last_end: end of the last sample judged.
        recent: verdicts of the last samples, oldest first, ``"1"`` for a breach.
        since: start of the breach that is going on.
        held_us: how long it has been held.
        good: good samples in a row.
        good_since: end of the first of them.
        no_data_since: since when samples have stayed away too long.
        value: the value observed last.
        threshold: what it was held against.
        window_start: start of the time the last verdict rests on.
        window_end: end of it.
        phases: last samples as bits, newest lowest: 1 where it was firing after the sample.
        flapping: whether it comes and goes.
        told: severity people were told last while it is open to them, "" when it is not.
        told_at: when, by the run's clock.
        told_count: how often they were told again.
        suppressed: why they are not told, "" when they are.
        reason: why it is firing (likely cause), or why it ended.
        alert: the alert as it was last sent, as JSON; None when there is none.
        resolved_at: when people were told the end, by the run's clock.
    """

    phase: Phase = Phase.OK
    until: int = 0
    first_start: int = 0
    last_start: int = 0
    last_end: int = 0
    recent: str = ""
    since: int = 0
    held_us: int = 0
    good: int = 0
    good_since: int = 0
    no_data_since: int = 0
    value: float = 0.0
    threshold: float = 0.0
    window_start: int = 0
    window_end: int = 0
    phases: int = 0
    flapping: bool = False
    told: str = ""
    told_at: int = 0
    told_count: int = 0
    suppressed: str = ""
    reason: str = ""
    alert: Mapping[str, Any] | None = None
    resolved_at: int = 0

    def to_json(self) -> dict[str, Any]:
        """Only what differs from a blank state."""
        found = {name: value for name, value in vars(self).items() if value != _BLANK[name]}
        if "phase" in found:
            found["phase"] = self.phase.value
        return found

    def but(self, changes: Mapping[str, Any]) -> State:
        """The state with some fields changed.

        It is `attrs.evolve` at a tenth of the cost: a fleet changes thousands of states a run,
        and a state has 25 fields.
        """
        changed = object.__new__(State)
        vars(changed).update(vars(self))
        vars(changed).update(changes)
        return changed

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> State:
        """The state again; what a newer version wrote beside is left out."""
        known = {name: value[name] for name in _NAMES if name in value}
        if "phase" in known:
            known["phase"] = Phase(known["phase"])
        return cls(**known)


_NAMES: Final = tuple(attribute.name for attribute in fields(State))
_BLANK: Final = {attribute.name: attribute.default for attribute in fields(State)}


@frozen(kw_only=True)
class Step:
    """One change that the verdicts brought about. Times are microseconds since 1970.

    Attributes:
        change: what happened.
        phase: where the rule stands after it.
        at: when, in the time of the series: the end of the sample that decided.
        since: start of the breach.
        value: the value that decided.
        threshold: what it was held against.
        window_start: start of the time that was evaluated.
        window_end: end of it.
        reason: why, where the verdicts alone do not say.
    """

    change: Change
    phase: Phase
    at: int
    since: int
    value: float
    threshold: float
    window_start: int
    window_end: int
    reason: str = ""
