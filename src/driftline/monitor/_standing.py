"""Where a rule stands on a subject, for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from driftline._draw import Shown
from driftline.monitor._subjects import Place, dedup_key, in_words
from driftline.records import Severity
from driftline.rules import Phase
from driftline.rules._state import State
from driftline.rules._time import instant


@frozen(kw_only=True, repr=False)
class Standing(Shown):
    """Where a rule stands on a subject.

    Attributes:
        key: dedup key of its alert.
        rule: name of the rule.
        deployment: ``"owner/deployment"``, or "".
        labels: the slice.
        phase: ok, pending or firing.
        severity: of the rule; None when the monitor does not have it any more.
        value: the value judged last.
        threshold: what it was held against.
        since: start of the breach that is going on, None for none.
        seen: end of the last sample judged, None before the first.
        told: whether people have been told and the alert is not over.
        suppressed: why they are not told, "" when nothing keeps them from it.
        flapping: whether it comes and goes.
        acknowledged: whether somebody has taken it on.
    """

    key: str
    rule: str
    deployment: str
    labels: Mapping[str, str] = field(factory=dict)
    phase: Phase
    severity: Severity | None
    value: float
    threshold: float
    since: datetime | None
    seen: datetime | None
    told: bool
    suppressed: str
    flapping: bool
    acknowledged: bool

    def __str__(self) -> str:
        """One line for people."""
        since = f" since {self.since:%Y-%m-%d %H:%M}" if self.since else ""
        marks = [
            self.suppressed,
            "flapping" if self.flapping else "",
            "acknowledged" if self.acknowledged else "",
        ]
        told = f" ({'; '.join(filter(None, marks))})" if any(marks) else ""
        return f"{self.rule} on {in_words(self.deployment, self.labels)}: {self.phase.value}{since}{told}"


def standing(
    monitor: str,
    place: Place,
    state: State,
    severity: Severity | None,
    acknowledged: frozenset[str],
) -> Standing:
    """The standing that a state means."""
    rule, subject = place
    key = dedup_key(monitor, rule, subject)
    return Standing(
        key=key,
        rule=rule,
        deployment=subject.deployment,
        labels=dict(subject.labels),
        phase=state.phase,
        severity=severity,
        value=state.value,
        threshold=state.threshold,
        since=instant(state.since) if state.since else None,
        seen=instant(state.last_end) if state.last_end else None,
        told=bool(state.told),
        suppressed=state.suppressed,
        flapping=state.flapping,
        acknowledged=key in acknowledged,
    )
