"""How a platform is asked: in threads, or in tasks of a loop, each client on its own.

An answer that does not come is a problem in the run's report and stops nothing. A client that keeps
silent several times in a row is not asked again in that run; one whose key's minute is used up
holds up no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from typing import Any, Final, cast

from attrs import define, field

from driftline._clock import Clock
from driftline.errors import Unreachable
from driftline.monitor._clients import Client, Clients
from driftline.monitor._sources import (
    USED_UP,
    Answer,
    Ask,
    AsyncDirectory,
    AsyncPlatform,
    Directory,
    NotAsked,
    Platform,
)
from driftline.platform import ERROR_SEVERITIES
from driftline.records import LogLine

SILENT_AFTER: Final = 5
"""Calls without a reply in a row after which the platform counts as dead for the run."""
TOUCH_SECONDS: Final = 10.0
"""How often whoever waits says that it is still at work."""


@define
class Patience:
    """Whether to go on asking in this run.

    Attributes:
        clock: the machine's clock: a time budget is real time.
        deadline: its `monotonic` at which time is used up.
        silent: calls without reply in a row, by client.
    """

    clock: Clock
    deadline: float
    silent: Counter[int] = field(factory=Counter)

    def refusal(self, client: Client) -> NotAsked | None:
        """Why not to ask any more, None to go on."""
        if (times := self.silent[id(client)]) >= SILENT_AFTER:
            return NotAsked(
                f"not asked: the platform did not reply {times} times in a row; "
                "the next run makes up for it",
                silent=True,
            )
        if self.clock.monotonic() >= self.deadline:
            return NotAsked(USED_UP, silent=False)
        return None

    def learn(self, client: Client, error: Exception | None) -> None:
        """Count what came back."""
        silent = isinstance(error, Unreachable)
        self.silent[id(client)] = self.silent[id(client)] + 1 if silent else 0


def _perform(client: Client, ask: Ask) -> Any:
    if ask.what == "deployments":
        directory = cast("Directory", client)
        return directory.deployments(owner=ask.deployment or None, status=ask.status)
    platform = cast("Platform", client)
    if ask.what == "metrics":
        return platform.metrics(ask.deployment, window=ask.window)
    if ask.what == "health":
        return platform.health(ask.deployment)
    entries = platform.logs(ask.deployment, limit=ask.limit, severity=ERROR_SEVERITIES)
    return [entry.to_line() for entry in islice(entries, ask.limit)]


async def _aperform(client: Client, ask: Ask) -> Any:
    if ask.what == "deployments":
        directory = cast("AsyncDirectory", client)
        return await directory.deployments(owner=ask.deployment or None, status=ask.status)
    platform = cast("AsyncPlatform", client)
    if ask.what == "metrics":
        return await platform.metrics(ask.deployment, window=ask.window)
    if ask.what == "health":
        return await platform.health(ask.deployment)
    lines: list[LogLine] = []
    async for entry in platform.logs(ask.deployment, limit=ask.limit, severity=ERROR_SEVERITIES):
        lines.append(entry.to_line())
        if len(lines) >= ask.limit:
            break
    return lines


def ask_all(
    clients: Clients,
    asks: Sequence[Ask],
    patience: Patience,
    *,
    workers: int,
    touch: Callable[[], None],
) -> list[Answer]:
    """Every question answered or refused, those to one client in order.

    Args:
        clients: who is asked.
        asks: what.
        patience: until when.
        workers: how many questions are on their way to one client at once.
        touch: called every few seconds.
    """

    def one(client: Client, ask: Ask) -> Answer:
        if (refusal := patience.refusal(client)) is not None:
            return Answer(ask=ask, error=refusal)
        try:
            answer = Answer(ask=ask, value=_perform(client, ask))
        except Exception as exc:  # noqa: BLE001 - border: a platform of the user's may raise anything
            answer = Answer(ask=ask, error=exc)
        patience.learn(client, answer.error)
        return answer

    futures: list[Future[Answer]] = []
    with ExitStack() as pools:
        for client, mine in clients.sorted(asks):
            pool = ThreadPoolExecutor(min(workers, len(mine)), thread_name_prefix="driftline-ask")
            pools.enter_context(pool)
            futures += [pool.submit(one, client, ask) for ask in mine]
        for future in futures:
            while not wait([future], timeout=TOUCH_SECONDS).done:
                touch()
            touch()
    return [future.result() for future in futures]


async def aask_all(
    clients: Clients,
    asks: Sequence[Ask],
    patience: Patience,
    *,
    workers: int,
    touch: Callable[[], Awaitable[None]],
) -> list[Answer]:
    """Every question answered or refused, those to one client in order, on the running loop."""

    async def one(client: Client, ask: Ask, gate: asyncio.Semaphore) -> Answer:
        async with gate:
            if (refusal := patience.refusal(client)) is not None:
                return Answer(ask=ask, error=refusal)
            try:
                answer = Answer(ask=ask, value=await _aperform(client, ask))
            except Exception as exc:  # noqa: BLE001 - border: a platform of the user's may raise anything
                answer = Answer(ask=ask, error=exc)
            patience.learn(client, answer.error)
            return answer

    tasks: list[asyncio.Task[Answer]] = []
    for client, mine in clients.sorted(asks):
        gate = asyncio.Semaphore(workers)
        tasks += [asyncio.ensure_future(one(client, ask, gate)) for ask in mine]
    try:
        for task in tasks:
            while not (await asyncio.wait([task], timeout=TOUCH_SECONDS))[0]:
                await touch()
            await touch()
    finally:
        for task in tasks:  # when the run was cancelled, its questions are as well
            task.cancel()
    return [task.result() for task in tasks]
