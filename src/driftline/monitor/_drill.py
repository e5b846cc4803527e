"""A fire drill: a synthetic breach through the whole engine, out to every sink, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve, frozen

from driftline._clock import Clock
from driftline._draw import Shown, Table, View
from driftline.monitor._codec import transition_to_json
from driftline.monitor._engine import Telling
from driftline.monitor._keep import Keep
from driftline.monitor._outbox import Deliveries
from driftline.monitor._run import Delivered
from driftline.monitor._subjects import Subject, dedup_key
from driftline.monitor._tick import Parts
from driftline.monitor._words import worded
from driftline.records import Alert, AlertStatus, Append, Change, Drop, Receipt
from driftline.rules import Phase, Rule
from driftline.rules._follow import Followed, Segment, follow
from driftline.rules._notify import Told, notify
from driftline.rules._rehearsal import after, rehearsal, step_of
from driftline.rules._state import State
from driftline.rules._time import instant, micros, span


@frozen(kw_only=True)
class DrillLine:
    """One rule and one sink.

    Attributes:
        rule: name of the rule.
        sink: name of the sink.
        key: dedup key of the synthetic alert.
        fired: the sink's word that it took the alert, None when it did not.
        fired_after_seconds: how long that took.
        resolved: its word that it took the end, None when it did not.
        resolved_after_seconds: how long that took.
        error: what went wrong, "" for nothing.
    """

    rule: str
    sink: str
    key: str
    fired: Receipt | None
    fired_after_seconds: float
    resolved: Receipt | None
    resolved_after_seconds: float
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the sink took the alert and its end."""
        return self.fired is not None and self.resolved is not None

    def __str__(self) -> str:
        """One line for people."""
        if self.ok:
            took = f"fired in {self.fired_after_seconds:.2f} s, resolved in {self.resolved_after_seconds:.2f} s"
            return f"{self.rule} → {self.sink}: {took}"
        return f"{self.rule} → {self.sink}: FAILED: {self.error}"


@frozen(kw_only=True)
class Drill(Shown):
    """What came of a drill.

    Attributes:
        monitor: name of the monitor.
        at: when, UTC.
        lines: one for each rule and each alert sink.
        problems: rules that did not fire on their own example, monitors without a sink.
    """

    monitor: str
    at: datetime
    lines: tuple[DrillLine, ...]
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every sink took every alert and its end."""
        return bool(self.lines) and not self.problems and self._good == len(self.lines)

    @property
    def _good(self) -> int:
        return sum(line.ok for line in self.lines)

    def __repr__(self) -> str:
        """Say how it went."""
        return f"Drill({self.monitor!r}, ok={self.ok}, {self._good} of {len(self.lines)} delivered)"

    def __str__(self) -> str:
        """Everything, the worst first."""
        head = f"drill of {self.monitor} at {self.at:%Y-%m-%d %H:%M:%S} UTC: "
        lines = [head + ("all well" if self.ok else "NOT WELL")]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  {line}" for line in sorted(self.lines, key=lambda line: line.ok)]
        return "\n".join(lines)

    def _view(self) -> View:
        rows = [
            (
                line.rule,
                line.sink,
                "ok" if line.ok else "FAILED",
                f"{line.fired_after_seconds:.2f} s",
                f"{line.resolved_after_seconds:.2f} s",
                line.error,
            )
            for line in sorted(self.lines, key=lambda line: line.ok)
        ]
        head = ("rule", "sink", "result", "fired in", "resolved in", "error")
        return View(
            kind=f"drill of {self.monitor} at {self.at:%Y-%m-%d %H:%M:%S} UTC",
            verdict="all well" if self.ok else "not well",
            tone="good" if self.ok else "bad",
            headline=f"{self._good} of {len(self.lines)} alerts went out and back",
            lines=self.problems,
            tables=[Table(head=head, rows=rows)],
        )


@frozen(kw_only=True)
class _Act:
    """One rule's part in a drill."""

    rule: Rule
    subject: Subject
    key: str
    breach: Segment
    fired: Followed
    opened: Alert


def drill(
    parts: Parts,
    rules: Sequence[Rule],
    deployment: str,
    *,
    keep: Keep,
    clock: Clock,
    sinks: Sequence[str],
) -> Drill:
    """Fire, tell, end, tell again."""
    now = clock.now()
    problems = [] if sinks else ["no sink takes alerts: nobody would be told"]
    acts: list[_Act] = []
    for rule in rules:
        act = _fired(parts, rule, Subject(deployment), now)
        if act is None:
            problems.append(f"{rule.name} does not fire on its own example; see check_rule")
        else:
            acts.append(act)
    keys = frozenset(act.key for act in acts)
    keep.write(
        [
            *_lines(parts, [(act, act.fired) for act in acts]),
            *parts.outbox.tell([act.opened for act in acts], now, at_once=True),
        ]
    )
    fired = _delivered(parts, keep, keys)
    # A try may have arrived although nobody said so; its end is sent in any case, and harmless.
    keep.write(parts.outbox.withdraw(keys))
    ended = [(act, _calm(act)) for act in acts]
    problems += [
        f"{act.rule.name} does not recover on its own example; see check_rule"
        for act, over in ended
        if over.state.phase is Phase.FIRING
    ]
    closed = [_closed(act.opened, clock.now()) for act in acts]
    keep.write([*_lines(parts, ended), *parts.outbox.tell(closed, clock.now(), at_once=True)])
    over = _delivered(parts, keep, keys)
    # What a sink refused for good is in the report; a dead letter of a drill is of no use.
    keep.write(
        [Drop(id=dead.id) for d in (fired, over) for dead in d.dead_letters if dead.key in keys]
    )
    lines = [_line(act, sink, fired, over) for act in acts for sink in sinks]
    return Drill(monitor=parts.name, at=now, lines=tuple(lines), problems=tuple(problems))


def _fired(parts: Parts, rule: Rule, subject: Subject, now: datetime) -> _Act | None:
    """A rule after its own example of a breach that ends now; None when it does not fire."""
    key = dedup_key(parts.name, rule.name, subject, drill=True)
    step = step_of(rule)
    first = instant(micros(now) // step * step)
    trial = rehearsal(rule, breach=True, start=first)
    assert trial.start is not None
    assert trial.end is not None
    start = instant((trial.start - (trial.end - trial.start)) // step * step)
    breach = rehearsal(rule, breach=True, start=start)
    fired = _followed(rule, State(), {}, breach, subject)
    told = _told(rule, fired, now)
    if not told.notices:
        return None
    notice = told.notices[0]
    telling = Telling(key=key, rule=rule, place=(rule.name, subject), notice=notice)
    alert = worded(telling, told.state, (), now=micros(now), log_lines=0)
    opened = evolve(alert, test=True, reason="drill: this breach is synthetic")
    return _Act(rule=rule, subject=subject, key=key, breach=breach, fired=fired, opened=opened)


def _followed(
    rule: Rule, state: State, memory: Mapping[str, Any], segment: Segment, subject: Subject
) -> Followed:
    assert segment.end is not None
    return follow(
        rule,
        state,
        memory,
        [segment],
        deployment=subject.deployment,
        labels={},
        now=segment.end + span(rule.delay),
    )


def _told(rule: Rule, followed: Followed, now: datetime) -> Told:
    return notify(
        rule,
        followed.state,
        followed.steps,
        withheld=lambda _at: "",
        acknowledged=False,
        now=micros(now),
    )


def _calm(act: _Act) -> Followed:
    """The rule after calm has followed the breach."""
    start = instant(after(act.rule, act.breach))
    calm = rehearsal(act.rule, breach=False, start=start)
    return _followed(act.rule, act.fired.state, act.fired.memory, calm, act.subject)


def _closed(opened: Alert, now: datetime) -> Alert:
    return evolve(opened, status=AlertStatus.RESOLVED, at=now, reason="drill over", window_end=now)


def _lines(parts: Parts, acts: Sequence[tuple[_Act, Followed]]) -> list[Change]:
    """Transitions of a drill, in a history of their own."""
    return [
        Append(
            space=f"{parts.space}/drills",
            key=act.key,
            at=instant(step.at),
            record=transition_to_json((act.rule.name, act.subject), step),
        )
        for act, followed in acts
        for step in followed.steps
    ]


def _delivered(parts: Parts, keep: Keep, keys: frozenset[str]) -> Deliveries:
    return parts.outbox.deliver(seconds=parts.delivery_seconds, write=keep.write, only=keys)


def _line(act: _Act, sink: str, fired: Deliveries, over: Deliveries) -> DrillLine:
    opening = [d for d in fired.delivered if d.sink == sink and d.key == act.key]
    ending = [
        d
        for d in over.delivered
        if d.sink == sink and d.key == act.key and d.status is AlertStatus.RESOLVED
    ]
    mine = (sink, act.key)
    errors = [f.error for d in (fired, over) for f in d.failed if (f.sink, f.key) == mine]
    errors += [x.reason for d in (fired, over) for x in d.dead_letters if (x.sink, x.key) == mine]
    whole = opening and ending
    return DrillLine(
        rule=act.rule.name,
        sink=sink,
        key=act.key,
        fired=opening[0].receipt if opening else None,
        fired_after_seconds=_seconds(opening),
        resolved=ending[0].receipt if ending else None,
        resolved_after_seconds=_seconds(ending),
        error="" if whole else (errors[0] if errors else "no answer"),
    )


def _seconds(found: Sequence[Delivered]) -> float:
    """From the decision to the receipt; a clock that stands still knows only the call."""
    return max((max(d.waited_seconds, d.took_seconds) for d in found[:1]), default=0.0)
