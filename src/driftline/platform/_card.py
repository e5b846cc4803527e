"""What the Platform's card of a deployment shows, and how often it looks again."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final

from attrs import evolve, field, frozen

from driftline._clock import Clock, as_duration
from driftline._draw import Shown, Table, Tone, View
from driftline._wire import Flow
from driftline.errors import PlatformError
from driftline.platform._deployment import Deployment, DeploymentStatus, Ref
from driftline.platform._flows import Core
from driftline.platform._health import Health
from driftline.platform._logs import LogEntry, LogQuestion, LogWalk
from driftline.platform._metrics import DeploymentMetrics
from driftline.platform._transition import POLL

NUMBERS_EVERY: Final = timedelta(seconds=60)
STATUS_EVERY: Final = timedelta(seconds=15)
HEALTH_AGAIN: Final = timedelta(seconds=20)
"""How often the Platform's own page looks: at numbers and log, at the status (at `POLL` while
that changes), and at the health of an endpoint that was not well. One that is well is left alone:
a ping counts as a request and keeps it from scaling to zero."""
RED: Final = 0.05
"""Share of failed requests from which on the Platform's page shows it in red."""
LINES: Final = 20

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\].*?(?:\x07|\x1b\\)|[@-_])")


def plain(text: str) -> str:
    r"""A log line without the colours of a terminal, on one line.

    >>> plain("\x1b[31mfailed\x1b[0m\tat \x1b]0;title\x07step 3")
    'failed at step 3'
    """
    bare = _ESCAPES.sub("", text)
    return " ".join("".join(c if c.isprintable() else " " for c in bare).split())


@frozen(kw_only=True)
class Card(Shown):
    """A deployment at a glance.

    Attributes:
        deployment: what it is and where it stands.
        metrics: its last 24 hours; None where they could not be asked for.
        health: what it answered to a ping; None where it was not pinged, as it is not ready.
        logs: its newest log lines, newest first.
        at: when this was seen, UTC.
        problems: part (``"status"``, ``"numbers"``, ``"log"`` or ``"health"``) → why it could not
            be asked for when it last was; what is shown of it is from before.
    """

    deployment: Deployment
    at: datetime
    metrics: DeploymentMetrics | None = None
    health: Health | None = None
    logs: tuple[LogEntry, ...] = ()
    problems: Mapping[str, str] = field(factory=dict)

    @property
    def error_rate(self) -> float | None:
        """Errors by requests of 24 hours, 0 to 1; None where it is not known."""
        return None if self.metrics is None else self.metrics.summary.error_rate

    @property
    def red(self) -> bool:
        """Whether so many requests fail that the Platform shows it in red: 5 % or more."""
        return self.error_rate is not None and self.error_rate >= RED

    def __str__(self) -> str:
        """The card for people."""
        # The time of numbers that are new would make each card differ from the one before.
        facts = [*self._facts(), *(self._age() if "numbers" in self.problems else [])]
        state = [f"{name}: {value}" for name, value in facts]
        lines = [f"{entry.at:%H:%M:%S} {entry.severity} {_said(entry)}" for entry in self.logs]
        return "\n".join([f"{self.deployment.ref}: {self._verdict()[0]}", *state, *lines])

    def __repr__(self) -> str:
        """Say what it shows."""
        return f"<Card {self.deployment.ref}: {self._verdict()[0]}, {_moment(self.at)}>"

    def _verdict(self) -> tuple[str, Tone]:
        status = self.deployment.status
        if status is DeploymentStatus.FAILED:
            return "failed", "bad"
        if self.health is not None and not self.health.healthy:
            return "unhealthy", "bad"
        if self.red:
            return f"{_percent(self.error_rate)} of requests fail", "bad"
        if status is DeploymentStatus.READY:
            return "ready", "good"
        return status.value, "warn" if status.transitional else "unknown"

    def _facts(self) -> Iterator[tuple[str, str]]:
        summary = None if self.metrics is None else self.metrics.summary
        yield "status", " ".join(filter(None, [self.deployment.status, self._why()]))
        yield "model", self.deployment.model_ref or "deleted"
        yield "requests in 24 h", "unknown" if summary is None else f"{summary.total_requests:,.0f}"
        p95 = None if summary is None else summary.p95_latency_ms
        yield "p95 latency in 24 h", "no data" if p95 is None else f"{p95:,.0f} ms"
        yield "errors in 24 h", _percent(self.error_rate) + (" (5 % or more)" if self.red else "")
        yield "health", _answered(self.health)
        for part, problem in self.problems.items():
            yield f"{part} not seen", problem

    def _age(self) -> list[tuple[str, str]]:
        when = None if self.metrics is None else self.metrics.received_at
        return [] if when is None else [("numbers of", _moment(when))]

    def _why(self) -> str:
        said = plain(self.deployment.status_message)
        return f"({said})" if said else ""

    def _view(self) -> View:
        word, tone = self._verdict()
        rows = [(f"{entry.at:%m-%d %H:%M:%S}", entry.severity, _said(entry)) for entry in self.logs]
        return View(
            kind="Endpoint",
            verdict=word,
            tone=tone,
            headline=self.deployment.ref,
            facts=[*self._facts(), *self._age(), ("seen", _moment(self.at))],
            tables=[Table(head=("Time (UTC)", "Severity", "Line"), rows=rows, caption="Log")],
        )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _said(entry: LogEntry) -> str:
    request = entry.request
    asked = f"{request.method} {request.url} → {request.status} " if request else ""
    return plain(asked + entry.message)


def _percent(share: float | None) -> str:
    return "no data" if share is None else f"{100 * share:.2g} %"


def _answered(health: Health | None) -> str:
    if health is None:
        return "not asked"
    word = "healthy" if health.healthy else f"unhealthy: {plain(health.error) or health.status}"
    return f"{word} ({health.latency_ms:,.0f} ms)"


@frozen(kw_only=True)
class Due:
    """What to ask for in one round."""

    status: bool = True
    numbers: bool = True
    health: bool = True


def card(core: Core, ref: Ref, before: Card | None = None, due: Due | None = None) -> Flow[Card]:
    """A card, or an earlier one brought up to date; only the first look may fail as a whole."""
    due = due or Due()
    problems = {} if before is None else dict(before.problems)
    if before is None:
        seen = Card(deployment=(yield from core.deployment(ref)), at=core.clock.now())
    else:
        seen = evolve(before, at=core.clock.now())
        if due.status:
            deployment = yield from _tolerant(core.deployment(ref), "status", problems)
            seen = evolve(seen, deployment=deployment or seen.deployment)
    if due.numbers:
        metrics = yield from _tolerant(
            core.metrics(ref, window="24h", view="full"), "numbers", problems
        )
        page = yield from _tolerant(core.log_page(ref, _newest()), "log", problems)
        logs = seen.logs if page is None else page.entries[:LINES]
        seen = evolve(seen, metrics=metrics or seen.metrics, logs=logs)
    if seen.deployment.status is not DeploymentStatus.READY:
        seen = evolve(seen, health=None)
        problems.pop("health", None)
    elif due.health or seen.health is None:
        health = yield from _tolerant(core.health(ref), "health", problems)
        seen = evolve(seen, health=health or seen.health)
    return evolve(seen, problems=problems)


def _newest() -> LogWalk:
    return LogWalk(LogQuestion(limit=LINES, max_pages=1))


def _tolerant(flow: Flow[Any], part: str, problems: dict[str, str]) -> Flow[Any]:
    """What a part answers; its problem stands until it does."""
    try:
        found = yield from flow
    except PlatformError as exc:
        problems[part] = f"{type(exc).__name__}: {exc}"
        return None
    problems.pop(part, None)
    return found


class Rounds:
    """When to look at what again, and for how long."""

    def __init__(
        self, clock: Clock, duration: timedelta | None, show: Callable[[Card], None] | None
    ) -> None:
        """Begin; the first round asks for everything."""
        self._clock = clock
        self._show = show or in_place()
        now = clock.monotonic()
        self._end = (
            None
            if duration is None
            else now + as_duration(duration, name="duration").total_seconds()
        )
        self._at = {"status": now, "numbers": now, "health": now}
        self.card: Card | None = None

    @property
    def due(self) -> Due:
        """What is due now."""
        now = self._clock.monotonic()
        return Due(**{name: at <= now for name, at in self._at.items()})

    def take(self, seen: Card, asked: Due) -> float | None:
        """Show a card; answer the seconds until the next round, None when it is over."""
        self.card = seen
        self._show(seen)
        now = self._clock.monotonic()
        moving = seen.deployment.status.transitional
        ill = seen.health is not None and not seen.health.healthy
        if asked.status:
            self._at["status"] = now + (POLL if moving else STATUS_EVERY).total_seconds()
        if asked.numbers:
            self._at["numbers"] = now + NUMBERS_EVERY.total_seconds()
        if not ill:
            self._at["health"] = float("inf")
        elif asked.health or self._at["health"] == float("inf"):
            self._at["health"] = now + HEALTH_AGAIN.total_seconds()
        pause = max(0.0, min(self._at.values()) - now)
        return None if self._end is not None and now + pause > self._end else pause


def in_place() -> Callable[[Card], None]:
    """Shows cards one in place of the other in a notebook; elsewhere writes them when they change."""
    handle: list[Any] = []
    said: list[str] = []

    def show(seen: Card) -> None:
        if handle:
            handle[0].update(seen)
        elif _in_notebook():
            handle.append(import_module("IPython.display").display(seen, display_id=True))
        elif said[-1:] != [str(seen)]:
            said[:] = [str(seen)]
            sys.stdout.write(f"{seen}\n\n")

    return show


def _in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, which has loaded IPython already."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
