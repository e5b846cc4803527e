"""Steps of an alert's life → what people are told. Pure: (state, steps, now) → (state, notices).

People are told once that it fires and once that it is over. They are told again only on purpose:
a repeat the rule asks for, a severity that rose, an alert that begins to flap. What is withheld
from them is tracked, and told when the hindrance ends and the alert has not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve, frozen

from driftline.records import AlertStatus, Severity
from driftline.rules._rule import Rule
from driftline.rules._state import Change, Phase, State, Step
from driftline.rules._time import span

RANK: Final = {severity.value: rank for rank, severity in enumerate(Severity)}


@frozen(kw_only=True)
class Notice:
    """Something people are to be told.

    Attributes:
        status: whether the alert fires or is over.
        step: what it rests on.
        note: why they are told again, "" at the first time.
    """

    status: AlertStatus
    step: Step
    note: str = ""


@frozen(kw_only=True)
class Told:
    """What came of some steps: the state, what people are told, and all transitions in order."""

    state: State
    notices: tuple[Notice, ...]
    steps: tuple[Step, ...]


def notify(
    rule: Rule,
    state: State,
    steps: Sequence[Step],
    *,
    withheld: Callable[[int], str],
    acknowledged: bool,
    now: int,
) -> Told:
    """What people are told of some steps, and of an alert that is still open at `now`.

    Args:
        rule: its severity and how often it repeats itself.
        state: after the steps.
        steps: what happened.
        withheld: time (microseconds) → why people were not to be told then, "" for nothing.
        acknowledged: whether somebody has taken it on, so that it is not repeated.
        now: the run's time, microseconds since 1970.
    """
    if not steps and state.phase is not Phase.FIRING:
        return Told(state=state, notices=(), steps=())
    voice = _Voice(rule, state, withheld, now)
    voice.flapping = _flapped_before(state, steps)
    for step in steps:
        voice.take(step)
    voice.still_open(acknowledged=acknowledged)
    return voice.result()


def _flapped_before(state: State, steps: Sequence[Step]) -> bool:
    for step in steps:
        if step.change in (Change.FLAPPING, Change.STEADY):
            return step.change is Change.STEADY
    return state.flapping


class _Voice:
    """One pass over steps; holds what people know."""

    def __init__(self, rule: Rule, state: State, withheld: Callable[[int], str], now: int) -> None:
        self.rule = rule
        self.state = state
        self.withheld = withheld
        self.now = now
        self.told = state.told
        self.told_at = state.told_at
        self.told_count = state.told_count
        self.suppressed = state.suppressed
        self.resolved_at = state.resolved_at
        self.flapping = False
        self.notices: list[Notice] = []
        self.steps: list[Step] = []

    def take(self, step: Step) -> None:
        self.steps.append(step)
        if step.change is Change.FLAPPING:
            self.flapping = True
            if self.told:
                self.tell(
                    AlertStatus.FIRING,
                    step,
                    "it comes and goes; this stays open until it calms down",
                )
        elif step.change is Change.STEADY:
            self.flapping = False
            if self.told and step.phase is Phase.OK:
                self.tell(AlertStatus.RESOLVED, step)
        elif step.change is Change.FIRING:
            self.fire(step)
        elif step.change is Change.RESOLVED:
            self.resolve(step)

    def fire(self, step: Step) -> None:
        if self.told:  # open to people although it was over: it flaps
            return
        # By the time of the breach, so that a late run tells no more than a punctual one; and by
        # the present, as who silences now wants silence now.
        if why := self.withheld(step.at) or self.withheld(self.now):
            self.suppress(step, why)
        else:
            self.tell(AlertStatus.FIRING, step)

    def resolve(self, step: Step) -> None:
        withheld = self.withheld(step.at) or self.withheld(self.now)
        if self.suppressed and not self.told and not withheld:
            # The hindrance ended before the alert did: run by run, people would have been told.
            self.release(step)
        self.suppressed = ""
        if self.told and not self.flapping:
            self.tell(AlertStatus.RESOLVED, step)

    def still_open(self, *, acknowledged: bool) -> None:
        if self.state.phase is not Phase.FIRING:
            return
        why = self.withheld(self.now)
        if not self.told:
            if not why:
                self.release(self.current(Change.RELEASED))
            else:
                self.suppressed = why
        elif not why:
            self.again(acknowledged=acknowledged)

    def again(self, *, acknowledged: bool) -> None:
        every = self.rule.renotify
        if RANK[self.rule.severity.value] < RANK[self.told]:
            step = self.current(Change.ESCALATED)
            self.steps.append(step)
            self.tell(AlertStatus.FIRING, step, f"severity rose from {self.told}")
        elif (
            every is not None
            and not acknowledged
            and self.told_count < self.rule.renotify_limit
            and self.now - self.told_at >= span(every)
        ):
            step = self.current(Change.REPEATED)
            self.steps.append(step)
            count = self.told_count + 1
            self.tell(AlertStatus.FIRING, step, f"still firing (repeat {count})")
            self.told_count = count

    def suppress(self, step: Step, why: str) -> None:
        self.suppressed = why
        self.steps.append(evolve(step, change=Change.SUPPRESSED, reason=why))

    def release(self, step: Step) -> None:
        released = evolve(step, change=Change.RELEASED, reason=self.suppressed)
        self.suppressed = ""
        self.steps.append(released)
        self.tell(AlertStatus.FIRING, evolve(released, reason=self.state.reason))

    def tell(self, status: AlertStatus, step: Step, note: str = "") -> None:
        if status is AlertStatus.FIRING:
            self.told_count = 0 if not self.told else self.told_count
            self.told = self.rule.severity.value
            self.told_at = self.now
        else:
            self.told, self.told_at, self.told_count = "", 0, 0
            self.resolved_at = self.now
        self.notices.append(Notice(status=status, step=step, note=note))

    def current(self, change: Change) -> Step:
        state = self.state
        return Step(
            change=change,
            phase=state.phase,
            at=max(state.last_end, state.window_end),
            since=state.since or state.window_start,
            value=state.value,
            threshold=state.threshold,
            window_start=state.window_start,
            window_end=state.window_end,
            reason=state.reason,
        )

    def result(self) -> Told:
        state = self.state.but(
            {
                "told": self.told,
                "told_at": self.told_at,
                "told_count": self.told_count,
                "suppressed": self.suppressed,
                "resolved_at": self.resolved_at,
            }
        )
        return Told(state=state, notices=tuple(self.notices), steps=tuple(self.steps))
