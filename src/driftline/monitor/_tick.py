"""One round, as a conversation: it yields questions to the platform, is sent answers, and reports.

Nothing here knows whether the platform is asked in threads or awaited; both drivers are in
`driftline.monitor._drive`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import evolve, frozen

from driftline.monitor._book import Book
from driftline.monitor._claims import Claims
from driftline.monitor._clients import Clients
from driftline.monitor._codec import (
    alert_from_json,
    alert_to_json,
    samples_to_json,
    series_to_json,
    transition_from_json,
    transition_to_json,
)
from driftline.monitor._engine import UNWATCHED, Findings, Observations, judge
from driftline.monitor._fleet import Watched
from driftline.monitor._gather import Gathered, gather
from driftline.monitor._groups import Grouping, Groups
from driftline.monitor._intake import Intake
from driftline.monitor._keep import Keep
from driftline.monitor._outbox import Deliveries, Outbox, Repeat
from driftline.monitor._redact import redacted
from driftline.monitor._run import Problem, Run
from driftline.monitor._sources import Answer, Ask
from driftline.monitor._subjects import dedup_key
from driftline.monitor._words import worded
from driftline.records import (
    Alert,
    AlertStatus,
    Append,
    Change,
    LogLine,
    Remove,
    Sample,
    Series,
    Store,
)
from driftline.rules import Change as Happened
from driftline.rules import Inhibition, Phase, Rule
from driftline.rules._time import instant, micros, span, starts_of

Right: TypeAlias = Keep | Claims
Conversation: TypeAlias = Generator[Sequence[Ask], Sequence[Answer], Run]

LOGS_ASKED: Final = 200
"""Lines asked for to tell a cause from: one page of the Platform."""
LOGS_OF: Final = 10
"""Deployments whose logs are asked for in one run: when hundreds fire at once, their pages must
not wait for hundreds of log pages, each of which counts against the rate limit."""
HEARTBEAT: Final = "monitor.heartbeat"
"""1 at each run, for a dead-man's switch in the system that takes the numbers: when it stays
away, the monitor is dead, and no silence of its sinks means anything."""
OPEN_ALERTS: Final = "monitor.open_alerts"
"""How many alerts are open after a run."""


@frozen(kw_only=True)
class Parts:
    """What a run works with; the arguments of `driftline.Monitor`."""

    name: str
    space: str
    rules: Sequence[Rule]
    watched: Watched
    clients: Clients
    inhibitions: Sequence[Inhibition]
    store: Store
    outbox: Outbox
    grouping: Grouping | None
    forward: bool
    log_lines: int
    delivery_seconds: float


@frozen(kw_only=True)
class Round:
    """What one round is about.

    Attributes:
        asks: what is asked.
        waiting: who is due to be asked, in this round or later.
        watched: everybody who is watched, asked in this round or not.
        resting: of these, who need not have metrics.
        first: whether it is the run's first one, to which belongs what is done once.
        samples: the caller's numbers.
        changes: what is to be written besides.
        problems: what is wrong already.
        now: its time.
    """

    asks: Sequence[Ask]
    waiting: Sequence[str]
    watched: frozenset[str]
    resting: frozenset[str]
    first: bool
    samples: Iterable[Sample]
    changes: Sequence[Change]
    problems: Sequence[Problem]
    now: datetime

    @property
    def asked(self) -> tuple[str, ...]:
        """Who is asked, in order."""
        return tuple(dict.fromkeys(ask.deployment for ask in self.asks))


def tick(
    parts: Parts,
    this: Round,
    book: Book,
    keep: Right,
    loop: asyncio.AbstractEventLoop | None,
) -> Conversation:
    """The round."""
    now = this.now
    answers: Sequence[Answer] = ()
    if this.asks:
        answers = yield this.asks
    if keep.secure():
        book = Book.load(parts.store, parts.space)
        book.meet(this.waiting, now)
    kept = f"{parts.space}/samples"
    intake = Intake.load(kept, parts.store.scan(kept))
    gathered = gather(answers, parts.rules, book, now, this.resting)
    fresh, problems = intake.add([*this.samples, *gathered.samples])
    found = judge(_observations(parts, this, book, intake, gathered))
    lines: dict[str, list[LogLine]] = {}
    if asks := _log_questions(parts, this, found, gathered):
        lines = _log_lines((yield asks), problems)
    groups = Groups(monitor=parts.name, space=f"{parts.space}/groups", grouping=parts.grouping)
    groups.load({d.key: d.value for d in parts.store.scan(groups.space)})
    alerts = groups.merge(_word(parts, found, book, lines, micros(now)), micros(now))
    columns = _columns(gathered, fresh, book) if parts.forward else []
    columns += _heartbeat(parts, found, now) if parts.forward and this.first else []
    book.take(found)
    _trim(parts, intake, found)
    history = _history(parts, found)
    # From here on nothing is lost: what happened and what is to be told are durable, together,
    # before anything is sent.
    keep.write(
        [
            *this.changes,
            *book.changes(found),
            *book.forgotten(this.watched, now),
            *intake.changes(),
            *book.expired_silences(now),
            *history,
            *_acknowledged_over(parts, found, book),
            *groups.changes(),
            *parts.outbox.tell(alerts, now),
            *parts.outbox.forward(columns, now),
            *keep.settled(),
        ]
    )
    done = parts.outbox.deliver(
        seconds=parts.delivery_seconds,
        write=keep.write,
        repeats=_repeats(found, groups, alerts, now) if this.first else (),
        loop=loop,
    )
    problems = [*this.problems, *gathered.problems, *problems]
    run = _report(parts, found, done, history, now=now, alerts=alerts, problems=problems)
    return evolve(run, unreached=tuple(gathered.late))


def _observations(
    parts: Parts, this: Round, book: Book, intake: Intake, gathered: Gathered
) -> Observations:
    passed = intake.series()
    seen = this.watched | {subject.deployment for subject in passed}
    left = {d: UNWATCHED for d, page in book.pages.items() if page.asked and d not in seen}
    return Observations(
        monitor=parts.name,
        rules=parts.rules,
        deployments=this.watched,
        asked=this.asked,
        answers=gathered.answers,
        refused=gathered.refused,
        silent=frozenset(gathered.silent),
        gone=left | gathered.gone,
        passed=passed,
        states=book.states(),
        memories=book.memories,
        silences=tuple(book.silences.values()),
        inhibitions=parts.inhibitions,
        acknowledged=book.acknowledged,
        now=micros(this.now),
        from_platform=parts.clients.given,
    )


def _log_questions(parts: Parts, this: Round, found: Findings, gathered: Gathered) -> list[Ask]:
    """The logs of each deployment of which something is told that fires, if it can be asked."""
    if not parts.clients.given or not parts.log_lines:
        return []
    wanted = dict.fromkeys(
        telling.place[1].deployment
        for telling in found.tellings
        if telling.notice.status is AlertStatus.FIRING
    )
    can = this.watched - gathered.silent - set(gathered.gone)
    asks = [Ask(what="logs", deployment=d, limit=LOGS_ASKED) for d in wanted if d in can]
    return asks[:LOGS_OF]


def _log_lines(answers: Sequence[Answer], problems: list[Problem]) -> dict[str, list[LogLine]]:
    """Deployment → its error lines, newest first, redacted. An alert goes without them if need be."""
    found: dict[str, list[LogLine]] = {}
    for answer in answers:
        if answer.error is not None:
            message = (
                f"its alert goes without log lines: {type(answer.error).__name__}: {answer.error}"
            )
            problems.append(
                Problem(deployment=answer.ask.deployment, message=message, error=answer.error)
            )
        else:
            found[answer.ask.deployment] = [redacted(line) for line in answer.value]
    return found


def _word(
    parts: Parts, found: Findings, book: Book, lines: Mapping[str, Sequence[LogLine]], now: int
) -> list[Alert]:
    """Every telling as an alert; a state remembers its last one."""
    before = book.states()
    alerts: list[Alert] = []
    for telling in found.tellings:
        state = found.states.get(telling.place) or before.get(telling.place)
        own = lines.get(telling.place[1].deployment, ())
        alert = worded(telling, state, own, now=now, log_lines=parts.log_lines)
        alerts.append(alert)
        if telling.place in found.states:
            told = found.states[telling.place].but({"alert": alert_to_json(alert)})
            found.states[telling.place] = told
    _forget_alerts(parts, found, now)
    return alerts


def _forget_alerts(parts: Parts, found: Findings, now: int) -> None:
    """Drop the words of alerts that are over and that no sink wants repeated any more."""
    longest = span(parts.outbox.repeat_resolved_for)
    for place, state in found.states.items():
        if state.alert is not None and not state.told and now - state.resolved_at >= longest:
            found.states[place] = state.but({"alert": None})


def _columns(gathered: Gathered, fresh: Sequence[Sample], book: Book) -> list[dict[str, Any]]:
    """Numbers to pass on: what settled since the last run, and what callers passed anew."""
    columns: list[dict[str, Any]] = []
    for deployment, segments in gathered.answers.items():
        page, segment = book.page(deployment), segments[-1]
        assert segment.end is not None
        for series in segment.series.values():
            new = _between(series, page.forwarded, segment.end)
            if len(new):
                columns.append(series_to_json(new))
        page.forwarded = max(page.forwarded, segment.end)
    return columns + samples_to_json(fresh)


def _between(series: Series, start: int, end: int) -> Series:
    """The buckets that end after `start` and not after `end`."""
    ends = starts_of(series) + span(series.width)
    first, last = np.searchsorted(ends, [start, end], side="right").tolist()
    return Series(
        metric=series.metric,
        times=series.times[first:last],
        values=series.values[first:last],
        width=series.width,
        deployment=series.deployment,
        labels=series.labels,
    )


def _heartbeat(parts: Parts, found: Findings, now: datetime) -> list[dict[str, Any]]:
    still = sum(state.phase is Phase.FIRING for state in found.states.values())
    labels = {"monitor": parts.name}
    return samples_to_json(
        [
            Sample(metric=HEARTBEAT, value=1.0, at=now, labels=labels),
            Sample(metric=OPEN_ALERTS, value=float(still), at=now, labels=labels),
        ]
    )


def _trim(parts: Parts, intake: Intake, found: Findings) -> None:
    """Forget the samples that every rule has judged."""
    using: dict[tuple[str, str], list[int]] = {}
    rules = {rule.name: rule for rule in parts.rules}
    for (name, subject), state in found.states.items():
        for metric in rules[name].metrics() if name in rules else ():
            using.setdefault((subject.deployment, metric), []).append(state.until)
    for subject, columns in intake.columns.items():
        for metric in columns:
            untils = using.get((subject.deployment, metric))
            intake.forget(subject, metric, min(untils) if untils else _NEVER)


_NEVER: Final = 1 << 62


def _history(parts: Parts, found: Findings) -> list[Append]:
    """What happened to alerts, as the history keeps it."""
    return [
        Append(
            space=f"{parts.space}/transitions",
            key=dedup_key(parts.name, *place),
            at=instant(step.at),
            record=transition_to_json(place, step),
        )
        for place, step in found.steps
    ]


def _acknowledged_over(parts: Parts, found: Findings, book: Book) -> list[Change]:
    """An acknowledgement ends with the alert it was for."""
    over = {
        dedup_key(parts.name, *place)
        for place, step in found.steps
        if step.change is Happened.RESOLVED
    }
    return [
        Remove(space=f"{parts.space}/acknowledged", key=key) for key in over & book.acknowledged
    ]


def _repeats(
    found: Findings, groups: Groups, alerts: Sequence[Alert], now: datetime
) -> list[Repeat]:
    """Alerts that were told before, for the sinks that want them at each run."""
    just_told = {alert.key for alert in alerts}
    repeats = [
        Repeat(alert=evolve(alert_from_json(group.alert), at=now))
        for group in groups.open.values()
        if group.alert["key"] not in just_told
    ]
    for state in found.states.values():
        if state.alert is None or state.alert["key"] in just_told:
            continue
        if groups.told_as_one(state.alert["key"]):
            continue
        alert = alert_from_json(state.alert)
        if state.told:
            value = state.value if alert.value is not None else None
            repeats.append(Repeat(alert=evolve(alert, value=value, at=now)))
        else:
            repeats.append(Repeat(alert=alert, resolved_at=instant(state.resolved_at)))
    return repeats


def _report(
    parts: Parts,
    found: Findings,
    done: Deliveries,
    history: Sequence[Append],
    *,
    now: datetime,
    alerts: Sequence[Alert],
    problems: Sequence[Problem],
) -> Run:
    return Run(
        monitor=parts.name,
        at=now,
        judged=found.judged,
        transitions=tuple(transition_from_json(e.key, e.at, e.record) for e in history),
        alerts=tuple(alerts),
        delivered=tuple(done.delivered),
        failed=tuple(done.failed),
        dead_letters=tuple(done.dead_letters),
        dead=len(parts.store.dead(f"{parts.space}/")),
        unjudged=tuple(found.unjudged),
        problems=(*problems, *done.problems),
    )
