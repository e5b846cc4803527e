"""What one run did, said in full: nothing that was not judged or not delivered is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain

from attrs import evolve, field, frozen

from driftline._draw import Shown, View
from driftline.monitor import _views
from driftline.monitor._subjects import in_words
from driftline.records import Alert, AlertStatus, Receipt
from driftline.rules import Change


@frozen(kw_only=True)
class Transition:
    """One change in the life of an alert, as the store keeps it.

    Attributes:
        key: dedup key of the alert.
        change: what happened.
        at: when, in the time of the series, UTC.
        rule: name of the rule.
        deployment: ``"owner/deployment"``, or "".
        labels: the slice.
        value: the value that decided.
        threshold: what it was held against.
        since: start of the breach, UTC.
        reason: why, where there is more to say than the numbers do.
    """

    key: str
    change: Change
    at: datetime
    rule: str
    deployment: str
    labels: Mapping[str, str] = field(factory=dict)
    value: float
    threshold: float
    since: datetime
    reason: str = ""

    @property
    def name(self) -> str:
        """Rule and subject in words."""
        return f"{self.rule} on {in_words(self.deployment, self.labels)}"

    def __str__(self) -> str:
        """One line for people."""
        reason = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.at:%Y-%m-%d %H:%M} {self.name}: "
            f"{self.change.value} at {self.value:.4g}, threshold {self.threshold:.4g}{reason}"
        )


@frozen(kw_only=True)
class Delivered:
    """A sink took something.

    Attributes:
        sink: name of the sink.
        key: dedup key of the alert, "" for numbers.
        status: firing or resolved, None for numbers.
        receipt: the sink's word.
        waited_seconds: from the decision to the receipt, by the monitor's clock.
        took_seconds: how long the sink took, in real time.
        repeated: True when the sink had it before and wants it again at each run.
    """

    sink: str
    key: str
    status: AlertStatus | None
    receipt: Receipt
    waited_seconds: float
    took_seconds: float = 0.0
    repeated: bool = False


@frozen(kw_only=True)
class Notice:
    """A sink took the beginning or the end of an alert, as the store keeps it.

    Attributes:
        key: dedup key of the alert.
        sink: name of the sink.
        status: firing or resolved.
        at: when the sink took it, UTC.
        decided_at: when it was decided, UTC.
        attempts: how many it took.
        reference: what the sink calls it, such as the id of an incident; "" where it says nothing.
    """

    key: str
    sink: str
    status: AlertStatus
    at: datetime
    decided_at: datetime
    attempts: int
    reference: str = ""

    def __str__(self) -> str:
        """One line for people."""
        name = f" as {self.reference}" if self.reference else ""
        tries = f" at attempt {self.attempts}" if self.attempts > 1 else ""
        return f"{self.at:%Y-%m-%d %H:%M} {self.sink} took {self.status.value} of {self.key}{name}{tries}"


@frozen(kw_only=True)
class Failed:
    """A sink did not take something this time; the outbox keeps it.

    Attributes:
        sink: name of the sink.
        key: dedup key of the alert, "" for numbers.
        error: what the sink said.
        attempts: how often it was tried.
        next_at: not tried again before, UTC.
    """

    sink: str
    key: str
    error: str
    attempts: int
    next_at: datetime


@frozen(kw_only=True)
class DeadLetter:
    """Something was given up: the sink refused it for good, or its time was over.

    Attributes:
        id: what `driftline.Monitor.revive` takes.
        sink: name of the sink.
        key: dedup key of the alert, "" for numbers.
        reason: why.
        at: when it was given up, UTC.
        alert: the alert, None for numbers.
    """

    id: int
    sink: str
    key: str
    reason: str
    at: datetime
    alert: Alert | None = None


@frozen(kw_only=True)
class Unjudged:
    """Time that a rule could not judge: neither calm nor a breach.

    Attributes:
        rule: name of the rule.
        deployment: ``"owner/deployment"``, or "".
        labels: the slice.
        start: start of it, UTC.
        end: end of it, UTC.
        reason: why.
    """

    rule: str
    deployment: str
    labels: Mapping[str, str] = field(factory=dict)
    start: datetime
    end: datetime
    reason: str

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.rule} on {in_words(self.deployment, self.labels)}, "
            f"{self.start:%Y-%m-%d %H:%M} to {self.end:%H:%M}: {self.reason}"
        )


@frozen(kw_only=True)
class Problem:
    """Something that did not work and did not stop the run.

    Attributes:
        deployment: about which deployment, "" for none in particular.
        message: what, and what it means for the run.
        error: the exception, None where there was none.
    """

    deployment: str
    message: str
    error: Exception | None = field(default=None, eq=False)

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.deployment}: {self.message}" if self.deployment else self.message


@frozen(kw_only=True)
class Run(Shown):
    """What one run of a monitor did.

    Attributes:
        monitor: name of the monitor.
        at: the time of the run, UTC.
        busy: who is at work instead, "" when this run was; then all else is empty.
        judged: how many samples got a verdict.
        transitions: what happened to alerts, in order.
        alerts: what was decided to be told in this run; each goes to every alert sink.
        delivered: what sinks took in this run.
        failed: what sinks did not take; kept, and tried again.
        dead_letters: what was given up in this run.
        dead: how many dead letters there are in all, until somebody revives or drops them.
        unjudged: time that could not be judged.
        problems: what else did not work, such as a deployment that could not be asked.
        unreached: deployments that were not asked because time was used up; next time they are
            the first, after what fires or is pending.
        unlisted: deployments of a `driftline.monitor.Fleet` that no listing showed and
            its `also` does not name.
    """

    monitor: str
    at: datetime
    busy: str = ""
    judged: int = 0
    transitions: tuple[Transition, ...] = ()
    alerts: tuple[Alert, ...] = ()
    delivered: tuple[Delivered, ...] = ()
    failed: tuple[Failed, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    dead: int = 0
    unjudged: tuple[Unjudged, ...] = ()
    problems: tuple[Problem, ...] = ()
    unreached: tuple[str, ...] = ()
    unlisted: int = 0

    @property
    def ok(self) -> bool:
        """Whether this run was at work and nothing failed, was given up or went wrong."""
        return not (self.busy or self.failed or self.dead_letters or self.problems)

    def __repr__(self) -> str:
        """Say how much happened."""
        if self.busy:
            return f"Run({self.monitor!r}, busy={self.busy!r})"
        return (
            f"Run({self.monitor!r}, judged={self.judged}, transitions={len(self.transitions)}, "
            f"alerts={len(self.alerts)}, delivered={len(self.delivered)}, "
            f"failed={len(self.failed)}, dead_letters={len(self.dead_letters)}, "
            f"unjudged={len(self.unjudged)}, problems={len(self.problems)})"
        )

    def __str__(self) -> str:
        """Everything, the loudest first."""
        head = f"{self.monitor} at {self.at:%Y-%m-%d %H:%M:%S} UTC"
        if self.busy:
            return f"{head}: nothing done, {self.busy}"
        lines = [f"{head}: {self.judged} samples judged"]
        if self.dead:
            lines.append(f"  DEAD LETTERS: {self.dead} given up and not yet dealt with")
        lines += [
            f"  GIVEN UP by {d.sink}: {d.key or 'numbers'}: {d.reason}" for d in self.dead_letters
        ]
        lines += [
            f"  NOT DELIVERED by {f.sink}: {f.key or 'numbers'}: {f.error} "
            f"(attempt {f.attempts}, next after {f.next_at:%H:%M:%S})"
            for f in self.failed
        ]
        lines += [f"  PROBLEM {problem}" for problem in self.problems]
        lines += [
            f"  ALERT {a.status.value} {a.severity.value} {a.deployment}: {a.summary}"
            for a in self.alerts
        ]
        lines += [f"  {transition}" for transition in self.transitions]
        alerts = sum(d.status is not None for d in self.delivered)
        if self.delivered:
            numbers = len(self.delivered) - alerts
            lines.append(f"  delivered: alerts {alerts}, batches of numbers {numbers}")
        lines += [f"  unjudged {gap}" for gap in self.unjudged]
        return "\n".join(lines)

    def _view(self) -> View:
        return _views.view_of_run(self)


def merged(rounds: Sequence[Run]) -> Run:
    """The rounds of one run as one report."""
    if len(rounds) == 1:
        return rounds[0]
    return evolve(
        rounds[-1],
        at=rounds[0].at,
        judged=sum(run.judged for run in rounds),
        transitions=tuple(chain(*(run.transitions for run in rounds))),
        alerts=tuple(chain(*(run.alerts for run in rounds))),
        delivered=tuple(chain(*(run.delivered for run in rounds))),
        failed=tuple(chain(*(run.failed for run in rounds))),
        dead_letters=tuple(chain(*(run.dead_letters for run in rounds))),
        unjudged=tuple(chain(*(run.unjudged for run in rounds))),
        problems=tuple(chain(*(run.problems for run in rounds))),
    )
