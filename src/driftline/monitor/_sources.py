"""What a monitor asks of a platform, and how it asks: in threads, or in tasks of a loop.

`driftline.PlatformClient` and `driftline.AsyncPlatformClient` answer; so does any object of yours
with the same three methods. An answer that does not come is a problem in the run's report and
stops nothing. A platform that keeps silent several times in a row is not asked again in that run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal, Protocol, TypeAlias

from attrs import define, frozen

from driftline._clock import Clock
from driftline.errors import DriftlineError, Unreachable
from driftline.records import LogLine, Series

Window: TypeAlias = Literal["1h", "6h", "24h", "7d", "30d"]

SILENT_AFTER: Final = 5
"""Calls without a reply in a row after which the platform counts as dead for the run."""
TOUCH_SECONDS: Final = 10.0
"""How often whoever waits says that it is still at work."""
ERRORS: Final = ("WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
"""Severities of what people mean by errors. The Platform matches them exactly, and its own page
counts warnings in, because an aborted cold start is a WARNING with HTTP status 429."""


class Observed(Protocol):
    """What ``metrics`` answers; `driftline.platform.DeploymentMetrics` is one."""

    @property
    def series(self) -> Mapping[str, Series]:
        """Metric → series."""
        ...

    @property
    def start(self) -> datetime | None:
        """From when on the answer is complete; None when it has no times."""
        ...

    @property
    def settled_until(self) -> datetime | None:
        """Up to when it will not change any more."""
        ...


class Healthy(Protocol):
    """What ``health`` answers; `driftline.platform.Health` is one."""

    @property
    def healthy(self) -> bool:
        """Whether the endpoint answered well."""
        ...


class LogEntry(Protocol):
    """What ``logs`` yields; `driftline.platform.LogEntry` is one."""

    def to_line(self) -> LogLine:
        """The line as an alert carries it."""
        ...


class Platform(Protocol):
    """What a monitor asks; `driftline.PlatformClient` is one."""

    def metrics(self, deployment: str, /, window: Window = "1h") -> Observed:
        """What an endpoint did over the window that ends now."""
        ...

    def health(self, deployment: str, /) -> Healthy:
        """Whether it answers; asked only for `driftline.rules.EndpointHealth`."""
        ...

    def logs(
        self, deployment: str, /, *, limit: int | None, severity: Iterable[str] | None
    ) -> Iterable[LogEntry]:
        """Lines of its log, newest first."""
        ...


class AsyncPlatform(Protocol):
    """The same, awaited; `driftline.AsyncPlatformClient` is one."""

    async def metrics(self, deployment: str, /, window: Window = "1h") -> Observed:
        """What an endpoint did over the window that ends now."""
        ...

    async def health(self, deployment: str, /) -> Healthy:
        """Whether it answers."""
        ...

    def logs(
        self, deployment: str, /, *, limit: int | None, severity: Iterable[str] | None
    ) -> AsyncIterable[LogEntry]:
        """Lines of its log, newest first."""
        ...


@frozen(kw_only=True)
class Ask:
    """One question.

    Attributes:
        what: which.
        deployment: about which deployment.
        window: of metrics: which window.
        limit: of logs: how many lines.
    """

    what: Literal["metrics", "health", "logs"]
    deployment: str
    window: Window = "1h"
    limit: int = 0


@frozen(kw_only=True)
class Answer:
    """What came of it: `error` is None when `value` holds."""

    ask: Ask
    value: Any = None
    error: Exception | None = None


class NotAsked(DriftlineError):
    """A question was left out.

    Attributes:
        silent: True when the platform keeps silent, False when the run's time was used up.
    """

    def __init__(self, message: str, *, silent: bool) -> None:
        """Keep why."""
        super().__init__(message)
        self.silent = silent


@define
class Patience:
    """Whether to go on asking.

    Attributes:
        clock: the machine's clock: a time budget is real time.
        deadline: its `monotonic` at which time is used up.
        silent: calls without reply in a row.
    """

    clock: Clock
    deadline: float
    silent: int = 0

    def refusal(self) -> NotAsked | None:
        """Why not to ask any more, None to go on."""
        if self.silent >= SILENT_AFTER:
            return NotAsked(
                f"not asked: the platform did not reply {self.silent} times in a row; "
                "the next run makes up for it",
                silent=True,
            )
        if self.clock.monotonic() >= self.deadline:
            return NotAsked(
                "not asked: the run's time was used up; the next run makes up for it "
                "(Budget(total=…) gives more)",
                silent=False,
            )
        return None

    def learn(self, error: Exception | None) -> None:
        """Count what came back."""
        self.silent = self.silent + 1 if isinstance(error, Unreachable) else 0


def _perform(platform: Platform, ask: Ask) -> Any:
    if ask.what == "metrics":
        return platform.metrics(ask.deployment, window=ask.window)
    if ask.what == "health":
        return platform.health(ask.deployment)
    entries = platform.logs(ask.deployment, limit=ask.limit, severity=ERRORS)
    return [entry.to_line() for entry in islice(entries, ask.limit)]


async def _aperform(platform: AsyncPlatform, ask: Ask) -> Any:
    if ask.what == "metrics":
        return await platform.metrics(ask.deployment, window=ask.window)
    if ask.what == "health":
        return await platform.health(ask.deployment)
    lines: list[LogLine] = []
    async for entry in platform.logs(ask.deployment, limit=ask.limit, severity=ERRORS):
        lines.append(entry.to_line())
        if len(lines) >= ask.limit:
            break
    return lines


def ask_all(
    platform: Platform,
    asks: Sequence[Ask],
    patience: Patience,
    *,
    workers: int,
    touch: Callable[[], None],
) -> list[Answer]:
    """Every question answered or refused, in order; `touch` is called every few seconds."""

    def one(ask: Ask) -> Answer:
        if (refusal := patience.refusal()) is not None:
            return Answer(ask=ask, error=refusal)
        try:
            answer = Answer(ask=ask, value=_perform(platform, ask))
        except Exception as exc:  # noqa: BLE001 - border: a platform of the user's may raise anything
            answer = Answer(ask=ask, error=exc)
        patience.learn(answer.error)
        return answer

    if not asks:
        return []
    with ThreadPoolExecutor(min(workers, len(asks)), thread_name_prefix="driftline-ask") as pool:
        futures = [pool.submit(one, ask) for ask in asks]
        for future in futures:
            while not wait([future], timeout=TOUCH_SECONDS).done:
                touch()
            touch()
        return [future.result() for future in futures]


async def aask_all(
    platform: AsyncPlatform,
    asks: Sequence[Ask],
    patience: Patience,
    *,
    workers: int,
    touch: Callable[[], Awaitable[None]],
) -> list[Answer]:
    """Every question answered or refused, in order, on the running loop."""
    if not asks:
        return []
    gate = asyncio.Semaphore(workers)

    async def one(ask: Ask) -> Answer:
        async with gate:
            if (refusal := patience.refusal()) is not None:
                return Answer(ask=ask, error=refusal)
            try:
                answer = Answer(ask=ask, value=await _aperform(platform, ask))
            except Exception as exc:  # noqa: BLE001 - border: a platform of the user's may raise anything
                answer = Answer(ask=ask, error=exc)
            patience.learn(answer.error)
            return answer

    tasks = [asyncio.ensure_future(one(ask)) for ask in asks]
    try:
        for task in tasks:
            while not (await asyncio.wait([task], timeout=TOUCH_SECONDS))[0]:
                await touch()
            await touch()
    finally:
        for task in tasks:  # when the run was cancelled, its questions are as well
            task.cancel()
    return [task.result() for task in tasks]
