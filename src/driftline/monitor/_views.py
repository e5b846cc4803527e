"""What there is to see of runs and of the history of alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import define, field

from driftline._draw import Picture, Role, Table, View, days
from driftline._draw._pictures import MOST_ROWS, timeline
from driftline.rules import Change

if TYPE_CHECKING:
    from driftline.monitor._run import Run, Transition

_Span = tuple[datetime, datetime, Role, str]
_QUIET = timedelta(days=1)


@define
class _Life:
    """How one alert came and went."""

    name: str
    spans: list[_Span] = field(factory=list)
    pending: datetime | None = None
    firing: datetime | None = None
    untold: datetime | None = None

    def follow(self, step: Transition) -> None:
        """Take in what happened next."""
        match step.change:
            case Change.PENDING:
                self.pending = step.since
            case Change.CLEARED:
                self._close(step.at)
            case Change.FIRING:
                self.pending = step.since
                self._close(step.at)
                self.firing = step.at
            case Change.RESOLVED:
                self.firing = self.firing or step.since  # its beginning may be forgotten
                self._close(step.at)
            case Change.SUPPRESSED:
                self.untold = step.at
            case Change.RELEASED if self.untold is not None:
                self.spans.append((self.untold, step.at, "muted", "not told"))
                self.untold = None
            case _:
                pass

    def _close(self, at: datetime) -> None:
        if self.pending is not None and self.firing is None:
            self.spans.append((self.pending, at, "warn", "breach, not firing yet"))
        if self.firing is not None:
            self.spans.append((self.firing, at, "bad", "firing"))
        if self.untold is not None:
            self.spans.append((self.untold, at, "muted", "not told"))
        self.pending = self.firing = self.untold = None

    def until(self, now: datetime) -> list[_Span]:
        """All of it, what is open up to now."""
        self._close(now)
        return sorted(self.spans, key=lambda span: span[2] == "muted")  # on top of the others


def alerts(transitions: Sequence[Transition], *, since: datetime | None, now: datetime) -> Picture:
    """What breached and fired when, a row for each rule and subject, the latest on top.

    Args:
        transitions: all that is known, by time: an alert may be open from long before `since`.
        since: left end of the picture; None: the first of the transitions.
        now: right end.
    """
    lives: dict[str, _Life] = {}
    for step in transitions:
        life = lives.pop(step.key, _Life(step.name))
        life.follow(step)
        lives[step.key] = life  # the latest last
    start = since or min((step.since for step in transitions), default=now - _QUIET)
    firing = [life for life in lives.values() if life.firing is not None]
    title = _told(firing) if firing else ""
    rows = [
        (life.name, seen)
        for life in reversed(lives.values())
        if (seen := [span for span in life.until(now) if span[1] > start])
    ]
    fired = sum(role == "bad" for _, seen in rows for _, _, role, _ in seen)
    quiet = f"No alert is firing; {fired} fired and ended" if fired else "No alert has fired"
    more = len(rows) - MOST_ROWS
    spans: list[tuple[int, float, float, Role, str]] = [
        (row, days(left), days(right), role, label)
        for row, (_, mine) in enumerate(rows[:MOST_ROWS])
        for left, right, role, label in mine
    ]
    return timeline(
        title=title or quiet,
        detail=f"{more} more are not shown" if more > 0 else "",
        names=[name for name, _ in rows[:MOST_ROWS]],
        spans=spans,
        start=days(start),
        end=days(now),
    )


def _told(firing: Sequence[_Life]) -> str:
    if len(firing) > 1:
        return f"{len(firing)} alerts are firing: {', '.join(life.name for life in firing[:3])}"
    only = firing[0]
    assert only.firing is not None
    return f"{only.name} is firing since {only.firing:%Y-%m-%d %H:%M} UTC"


def view_of_run(run: Run) -> View:
    """A run for a notebook."""
    rows = [
        (alert.severity.value, alert.status.value, alert.deployment, alert.summary, alert.runbook)
        for alert in run.alerts
    ]
    return View(
        kind=f"run of {run.monitor} at {run.at:%Y-%m-%d %H:%M:%S} UTC",
        verdict="busy" if run.busy else "ok" if run.ok else "not ok",
        tone="unknown" if run.busy else "good" if run.ok else "bad",
        headline=run.busy or _run_told(run),
        lines=list(_loud(run)),
        tables=[
            Table(
                head=("severity", "status", "deployment", "what", "first"),
                rows=rows,
                caption="alerts",
            ),
            Table(head=("what happened",), rows=[(str(step),) for step in run.transitions]),
        ],
        notes=[f"unjudged: {gap}" for gap in run.unjudged],
    )


def _run_told(run: Run) -> str:
    told = f"{len(run.alerts)} alerts" if run.alerts else "No alert"
    return f"{told}, {run.judged:,} samples judged"


def _loud(run: Run) -> Iterator[str]:
    if run.dead:
        yield f"{run.dead} dead letters: given up and not yet dealt with"
    for letter in run.dead_letters:
        yield f"given up by {letter.sink}: {letter.key or 'numbers'}: {letter.reason}"
    for failed in run.failed:
        yield f"not delivered by {failed.sink}: {failed.key or 'numbers'}: {failed.error}"
    for problem in run.problems:
        yield str(problem)
