"""One run: who is watched, and a round for each minute's worth of questions, the urgent first.

A key may ask so much in a minute. Whoever waits for the next one is asked in the next round, and
what was found meanwhile is judged and told already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Generator, Iterable, Sequence
from datetime import datetime, timedelta

from attrs import evolve, frozen

from driftline._clock import Clock
from driftline.errors import StoreBusy
from driftline.monitor._book import Book
from driftline.monitor._fleet import Roster
from driftline.monitor._gather import by_urgency, questions, some
from driftline.monitor._run import Problem, Run, merged
from driftline.monitor._sources import USED_UP, Answer, Ask
from driftline.monitor._tick import Conversation, Parts, Right, Round, tick
from driftline.records import Sample
from driftline.rules._time import floor, micros, span


@frozen(kw_only=True)
class _Choice:
    """Whom a round is to ask.

    Attributes:
        now: its time.
        book: what is remembered.
        watched: everybody.
        waiting: all that is due to be asked, the urgent first.
        asks: of this, what the keys' minutes carry; it is ours to ask.
    """

    now: datetime
    book: Book
    watched: frozenset[str]
    waiting: Sequence[Ask]
    asks: Sequence[Ask]


def rounds(
    parts: Parts,
    samples: Iterable[Sample],
    keep: Right,
    *,
    clock: Clock,
    cadence: timedelta | None,
    loop: asyncio.AbstractEventLoop | None,
) -> Conversation:
    """The run.

    Args:
        parts: what it works with.
        samples: the caller's numbers.
        keep: the right to work.
        clock: where the time comes from.
        cadence: in each stretch of this length a deployment is asked once, whoever does it; None:
            in each run.
        loop: the service's loop, for sinks that are async.

    Raises:
        StoreBusy: somebody else is at work, or has taken over, and nothing was done.
    """
    roster = Roster.load(parts.watched, parts.clients, parts.store, parts.space)
    problems = yield from _listed(roster, clock.now())
    began = clock.now()
    due = None if cadence is None else floor(micros(began), span(cadence))
    done: set[str] = set()
    reports: list[Run] = []
    while True:
        choice = _choice(parts, roster, keep, done=done, due=due, clock=clock)
        if reports and not choice.asks:
            break
        this = Round(
            asks=choice.asks,
            waiting=tuple(dict.fromkeys(ask.deployment for ask in choice.waiting)),
            watched=choice.watched,
            resting=roster.resting,
            first=not reports,
            samples=() if reports else samples,
            changes=() if reports else roster.changes(),
            problems=() if reports else problems,
            now=choice.now,
        )
        try:
            reports.append((yield from tick(parts, this, choice.book, keep, loop)))
        except StoreBusy as exc:
            if not reports:
                raise
            reports[-1] = evolve(reports[-1], problems=(*reports[-1].problems, _taken_over(exc)))
            break
        keep.yield_turn()
        done.update(this.asked)
        if reports[-1].unreached:
            done -= set(reports[-1].unreached)
            left = [ask for ask in choice.waiting if ask.deployment not in done]
            reports[-1] = _cut_short(reports[-1], left)
            break
    return evolve(merged(reports), unlisted=roster.unlisted)


def _listed(
    roster: Roster, now: datetime
) -> Generator[Sequence[Ask], Sequence[Answer], list[Problem]]:
    asks = roster.questions(now)
    answers: Sequence[Answer] = ()
    if asks:
        answers = yield asks
    return roster.take(answers, now)


def _choice(
    parts: Parts, roster: Roster, keep: Right, *, done: set[str], due: int | None, clock: Clock
) -> _Choice:
    """The next round's questions, claimed; none when nothing is left."""
    while True:
        others = keep.taken() | done
        book = Book.load(parts.store, parts.space)
        watched, now = _watched(roster, book), clock.now()
        left = [d for d in watched if d not in others and _due(book, d, due)]
        waiting = _asks(parts, left, book, now)
        asks = parts.clients.round(waiting)
        if keep.claim(list(dict.fromkeys(ask.deployment for ask in asks))):
            break
        # Another worker was quicker: look again at what is left.
    return _Choice(now=now, book=book, watched=frozenset(watched), waiting=waiting, asks=asks)


def _watched(roster: Roster, book: Book) -> tuple[str, ...]:
    """Whom the roster names; before it is complete, also whom an earlier run asked, if we can."""
    if roster.known:
        return roster.names
    asked = (deployment for deployment, page in book.pages.items() if page.asked)
    before = filter(roster.clients.has, asked)
    return tuple(dict.fromkeys((*roster.names, *before)))


def _due(book: Book, deployment: str, since: int | None) -> bool:
    """Whether nobody has asked about it since then."""
    page = book.pages.get(deployment)
    return since is None or page is None or page.asked < since


def _asks(parts: Parts, waiting: Collection[str], book: Book, now: datetime) -> list[Ask]:
    if not parts.clients.given:
        return []
    book.meet(waiting, now)
    ordered = by_urgency(waiting, book, now)
    return questions(parts.rules, ordered, book, now, numbers=parts.forward)


def _cut_short(run: Run, waiting: Iterable[Ask]) -> Run:
    """The report of the last round, with everybody for whom time did not suffice."""
    unreached = tuple(dict.fromkeys(ask.deployment for ask in waiting))
    problem = Problem(deployment="", message=f"{some(unreached)}: {USED_UP}")
    return evolve(run, unreached=unreached, problems=(*run.problems, problem))


def _taken_over(exc: StoreBusy) -> Problem:
    return Problem(deployment="", message=f"the run ended early: {exc}", error=exc)
