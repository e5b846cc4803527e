"""What to ask a platform, and what its answers mean to the engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import define, field

from driftline.errors import NotFound, RefusedInput
from driftline.monitor._book import Book, Page
from driftline.monitor._engine import PLATFORM_METRICS
from driftline.monitor._run import Problem
from driftline.monitor._sources import Answer, Ask, NotAsked
from driftline.monitor._subjects import Subject
from driftline.platform import Window
from driftline.records import Metric, Sample
from driftline.rules import EndpointHealth, Rule
from driftline.rules._follow import Segment
from driftline.rules._time import floor, instant, micros, span

WINDOWS: Final[Mapping[Window, timedelta]] = {
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""The windows a platform answers for beyond the last hour, finest buckets first."""
FINEST: Final = timedelta(minutes=58)
"""How far back the window of an hour surely reaches: a call takes time."""
GONE_AFTER: Final = 2
"""Runs in a row in which a deployment is not to be found before it counts as gone (Grafana's
``missingSeriesEvalsToResolve``)."""
GONE_APART: Final = span(timedelta(minutes=1))
"""Runs closer together than this count as one for that."""
GONE: Final = (
    "the deployment is gone: the Platform does not know it any more, or this key may not see it"
)


@define(kw_only=True)
class Gathered:
    """Answers, sorted by what they mean; see `driftline.monitor._engine.Observations`.

    Attributes:
        late: deployments that were not asked because the run's time was used up.
    """

    answers: dict[str, list[Segment]] = field(factory=dict)
    refused: dict[str, str] = field(factory=dict)
    silent: set[str] = field(factory=set)
    gone: dict[str, str] = field(factory=dict)
    samples: list[Sample] = field(factory=list)
    problems: list[Problem] = field(factory=list)
    late: list[str] = field(factory=list)


def questions(
    rules: Sequence[Rule], deployments: Sequence[str], book: Book, now: datetime, *, numbers: bool
) -> list[Ask]:
    """What to ask: metrics of each deployment, and health where it is due.

    Args:
        rules: what is judged.
        deployments: who is watched, the most urgent first.
        book: what was judged before.
        now: the run's time.
        numbers: whether metrics are wanted even where no rule judges them.
    """
    asks: list[Ask] = []
    for deployment in deployments:
        asked = [r for r in rules if r.metric in PLATFORM_METRICS and r.applies(deployment, {})]
        if asked or numbers:
            until = _judged_until(rules, book.pages.get(deployment))
            if until and instant(until) < now - FINEST:
                asks.append(
                    Ask(what="metrics", deployment=deployment, window=_reaching(until, now))
                )
            asks.append(Ask(what="metrics", deployment=deployment))
        if _health_due(rules, book, deployment, now) is not None:
            asks.append(Ask(what="health", deployment=deployment))
    return asks


URGENCY: Final = 3
"""How many times longer a deployment counts as waiting while something fires or is pending there.
So it comes before what the last run did not reach, and that before all else; yet where time never
suffices for all, nobody waits for ever."""


def by_urgency(deployments: Iterable[str], book: Book, now: datetime) -> list[str]:
    """Deployments that the book has met, whoever waits most urgently first."""
    at = micros(now)

    def waited(deployment: str) -> int:
        page = book.page(deployment)
        return (at - page.waits_from) * (URGENCY if page.urgent else 1)

    return sorted(deployments, key=waited, reverse=True)


def _judged_until(rules: Sequence[Rule], page: Page | None) -> int | None:
    """The earliest time up to which a rule has judged the platform's numbers of a deployment."""
    asked = {rule.name for rule in rules if rule.metric in PLATFORM_METRICS}
    states = () if page is None else page.states.items()
    times = [s.until for (name, subject), s in states if name in asked and not subject.labels]
    return min((time for time in times if time), default=None)


def _reaching(until: int, now: datetime) -> Window:
    """The finest window that reaches back so far, the widest when none does."""
    for window, length in WINDOWS.items():
        if instant(until) >= now - length:
            return window
    return "30d"


def _health_due(rules: Iterable[Rule], book: Book, deployment: str, now: datetime) -> int | None:
    """The moment to ask for health at, None when it was asked in this stretch already."""
    for rule in rules:
        if isinstance(rule, EndpointHealth) and rule.applies(deployment, {}):
            at = floor(micros(now), span(rule.ask_every))
            page = book.pages.get(deployment, Page())
            state = page.states.get((rule.name, Subject(deployment)))
            if state is None or state.last_start < at:
                return at
    return None


def gather(
    answers: Sequence[Answer],
    rules: Sequence[Rule],
    book: Book,
    now: datetime,
    resting: Collection[str] = (),
) -> Gathered:
    """Sort answers by what they mean.

    Args:
        answers: what came back.
        rules: what is judged.
        book: what was judged before.
        now: the run's time.
        resting: deployments that need not have metrics.
    """
    found = Gathered()
    skipped: dict[str, list[str]] = {}
    for answer in answers:
        deployment = answer.ask.deployment
        if isinstance(answer.error, NotAsked):
            if answer.error.silent:
                skipped.setdefault(str(answer.error), []).append(deployment)
                found.silent.add(deployment)
            else:
                found.late.append(deployment)
        elif answer.ask.what == "health":
            _health(found, answer, rules, book, now)
        elif answer.error is not None:
            _unanswered(found, answer, answer.error, resting)
        else:
            _answered(found, answer)
    found.silent -= set(found.answers)
    found.late = list(dict.fromkeys(found.late))
    found.problems += [
        Problem(deployment="", message=f"{some(whom)}: {why}") for why, whom in skipped.items()
    ]
    _count_missing(found, answers, book, micros(now))
    for answer in answers:
        if not isinstance(answer.error, NotAsked):
            book.page(answer.ask.deployment).asked = micros(now)
    return found


def _answered(found: Gathered, answer: Answer) -> None:
    value, deployment = answer.value, answer.ask.deployment
    if value.start is None or value.settled_until is None:
        message = (
            f"the {answer.ask.window} metrics came without times; nothing can be judged by them"
        )
        found.problems.append(Problem(deployment=deployment, message=message))
        return
    segment = Segment(
        series=value.series, start=micros(value.start), end=micros(value.settled_until)
    )
    found.answers.setdefault(deployment, []).append(segment)


def _unanswered(
    found: Gathered, answer: Answer, error: Exception, resting: Collection[str]
) -> None:
    deployment = answer.ask.deployment
    if not (isinstance(error, RefusedInput) and deployment in resting):
        message = f"no metrics of the last {answer.ask.window}: {type(error).__name__}: {error}"
        found.problems.append(Problem(deployment=deployment, message=message, error=error))
    if isinstance(error, RefusedInput):
        found.refused[deployment] = f"the Platform has no metrics: {error.said or error}"
    elif not isinstance(error, NotFound):
        found.silent.add(deployment)


def _health(
    found: Gathered, answer: Answer, rules: Sequence[Rule], book: Book, now: datetime
) -> None:
    deployment = answer.ask.deployment
    if answer.error is not None:
        message = f"its health could not be asked: {type(answer.error).__name__}: {answer.error}"
        found.problems.append(Problem(deployment=deployment, message=message, error=answer.error))
    elif (at := _health_due(rules, book, deployment, now)) is not None:
        found.samples.append(
            Sample(
                metric=Metric.HEALTHY,
                value=float(answer.value.healthy),
                at=instant(at),
                deployment=deployment,
            )
        )


def some(deployments: Iterable[str]) -> str:
    """A few of them by name, and how many more.

    >>> some(["a/1", "a/2", "a/3", "a/4", "a/5"])
    'a/1, a/2, a/3 and 2 more'
    """
    names = sorted(set(deployments))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - enough to recognise


def _count_missing(found: Gathered, answers: Sequence[Answer], book: Book, now: int) -> None:
    """Count the runs in which a deployment was not to be found, and take it for gone in the end."""
    missing = {a.ask.deployment for a in answers if isinstance(a.error, NotFound)}
    for deployment in {a.ask.deployment for a in answers if a.ask.what == "metrics"}:
        page = book.page(deployment)
        if deployment in found.answers:
            page.missed = page.missed_at = 0
        elif deployment in missing and now - page.missed_at >= GONE_APART:
            page.missed, page.missed_at = min(page.missed + 1, GONE_AFTER), now
    found.gone = {d: GONE for d, page in book.pages.items() if page.missed >= GONE_AFTER}
