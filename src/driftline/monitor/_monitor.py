"""The monitor: a platform, rules, sinks and a store, and one call a tick."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, cast

import numpy as np
from attrs import frozen

from driftline._clock import Clock, SystemClock
from driftline.errors import ConfigError, InputError, StoreBusy
from driftline.monitor._backoff import Backoff
from driftline.monitor._keep import Keep
from driftline.monitor._lanes import Sink, lanes_of
from driftline.monitor._outbox import Outbox
from driftline.monitor._run import Run
from driftline.monitor._sources import (
    Answer,
    Ask,
    AsyncPlatform,
    Patience,
    Platform,
    aask_all,
    ask_all,
)
from driftline.monitor._tick import Conversation, Parts, tick
from driftline.records import Sample, Store
from driftline.rules import INHIBITIONS, Inhibition, Rule
from driftline.stores import MemoryStore


@frozen(kw_only=True)
class Budget:
    """How much real time a run may take.

    Attributes:
        total: the whole run; a question on its way may outlast it.
        delivery: the part that is kept for sending, so that a slow platform holds up no page.
    """

    total: timedelta = timedelta(minutes=4)
    delivery: timedelta = timedelta(seconds=30)

    def __attrs_post_init__(self) -> None:
        """Refuse a part that is no part."""
        if not timedelta(0) < self.delivery <= self.total:
            msg = f"delivery={self.delivery} must be above 0 and not above total={self.total}"
            raise InputError(msg)


class Monitor:
    """Watches deployments: asks, judges, remembers, tells. One call of `run_once` is one tick.

    It runs when it is called and never by itself: from cron, from your scheduler, or from a loop
    of your service (`arun_once`). Runs may come late, twice or at the same time: rules judge the
    times that the numbers carry, and the store sees to it that one run works at a time.

    Attributes:
        name: its name in the store and in dedup keys.
        deployments: who is watched.
        rules: what is judged.
    """

    def __init__(
        self,
        platform: Platform | AsyncPlatform | None,
        *,
        deployments: Sequence[str] = (),
        rules: Sequence[Rule],
        sinks: Sequence[Sink] = (),
        store: Store | None = None,
        name: str = "monitor",
        clock: Clock | None = None,
        budget: Budget | None = None,
        inhibitions: Sequence[Inhibition] = INHIBITIONS,
        log_lines: int = 10,
        forward: bool = True,
        workers: int = 8,
        on_problem: Literal["report", "raise"] = "report",
        backoff: Backoff | None = None,
        lease: timedelta = timedelta(seconds=60),
        seed: int | None = None,
    ) -> None:
        """Keep the parts; nothing is asked, opened or sent yet.

        Args:
            platform: whom to ask, such as a `driftline.PlatformClient`; an async one for
                `arun_once`. None when all numbers come from you.
            deployments: whom to watch, ``"owner/deployment"``.
            rules: what to judge; their names must differ.
            sinks: whom to tell: anything with ``send(alert)`` or ``push(samples)``; their names
                must differ.
            store: where to remember; in memory, for as long as this object lives, unless given.
            name: name of the monitor; monitors that share a store need names that differ.
            clock: where the time comes from.
            budget: how much real time a run may take.
            inhibitions: which alerts silence which.
            log_lines: how many error lines of the deployment travel with an alert; 0 for none,
                and then no logs are asked for.
            forward: whether to pass on numbers, the platform's and yours, to the sinks that
                take numbers, with a heartbeat of the monitor.
            workers: how many questions to the platform are on their way at once.
            on_problem: whether `run_once` raises an `ExceptionGroup` after a run in which
                deployments could not be asked; otherwise they are in `Run.problems`.
            backoff: when what a sink did not take is tried again.
            lease: how long a run that died keeps others out.
            seed: of the jitter in the back-off; None for a different one in each process.

        Raises:
            InputError: a value cannot be used.
            ConfigError: two rules or two sinks have one name.
        """
        if not name or "/" in name:
            msg = f"name={name!r} must be a name without slashes"
            raise InputError(msg)
        self.name = name
        self.deployments = _references(deployments)
        self.rules = _distinct(rules)
        self._platform = platform
        self._store: Store = store if store is not None else MemoryStore()
        self._clock: Clock = clock or SystemClock()
        self._watch = SystemClock()  # a time budget is real time, whatever the clock says
        self._budget = budget or Budget()
        self._workers = workers
        self._on_problem = on_problem
        self._lease = lease
        self._lanes = lanes_of(sinks)
        self._space = f"monitor/{name}"
        self._outbox = Outbox(
            self._store,
            self._space,
            self._lanes,
            clock=self._clock,
            backoff=backoff or Backoff(),
            rng=np.random.default_rng(seed),
        )
        self._parts = Parts(
            name=name,
            space=self._space,
            rules=self.rules,
            deployments=self.deployments,
            inhibitions=tuple(inhibitions),
            store=self._store,
            outbox=self._outbox,
            from_platform=platform is not None,
            forward=forward,
            log_lines=log_lines,
            delivery_seconds=self._budget.delivery.total_seconds(),
        )

    # --- a tick ------------------------------------------------------------------------------

    def run_once(self, samples: Iterable[Sample] = ()) -> Run:
        """Ask, judge, remember, tell; once.

        Args:
            samples: your own numbers: volume, drift, mAP, anything. What is left out is not
                observed, never zero.

        Returns:
            What was done. When another run of this monitor is at work, `Run.busy` says so and
            nothing was done; your samples were not taken, so pass them again.

        Raises:
            StoreError: the store failed; nothing was told that is not remembered.
            ConfigError: the platform is async; use `arun_once`.
            ExceptionGroup: deployments could not be asked, and `on_problem` is ``"raise"``.
        """
        if _is_async(self._platform):
            msg = f"{self._platform!r} is async: await monitor.arun_once() instead"
            raise ConfigError(msg)
        try:
            keep = self._keep()
        except StoreBusy as exc:
            return self._busy(exc)
        try:
            return self._finished(self._drive(samples, keep))
        except StoreBusy as exc:  # taken over on the way: the other run does the rest
            return self._busy(exc)
        finally:
            keep.release()

    async def arun_once(self, samples: Iterable[Sample] = ()) -> Run:
        """As `run_once`, for services: nothing blocks the loop.

        An async platform is awaited, a blocking one is asked in threads; sinks that block run in
        threads, sinks with an async ``send`` or ``push`` on the loop.
        """
        try:
            keep = await asyncio.to_thread(self._keep)
        except StoreBusy as exc:
            return self._busy(exc)
        try:
            return self._finished(await self._adrive(samples, keep))
        except StoreBusy as exc:
            return self._busy(exc)
        finally:
            await asyncio.to_thread(keep.release)

    def _drive(self, samples: Iterable[Sample], keep: Keep) -> Run:
        conversation = tick(self._parts, samples, keep, self._clock.now(), None)
        patience = self._patience()
        said = _step(conversation, None)
        while not isinstance(said, Run):
            said = _step(conversation, self._ask(said, patience, keep))
        return said

    async def _adrive(self, samples: Iterable[Sample], keep: Keep) -> Run:
        loop = asyncio.get_running_loop()
        conversation = tick(self._parts, samples, keep, self._clock.now(), loop)
        patience = self._patience()
        said = await asyncio.to_thread(_step, conversation, None)
        while not isinstance(said, Run):
            answers = await self._aask(said, patience, keep)
            said = await asyncio.to_thread(_step, conversation, answers)
        return said

    def _ask(self, asks: Sequence[Ask], patience: Patience, keep: Keep) -> Sequence[Answer]:
        platform = cast("Platform", self._platform)
        return ask_all(platform, asks, patience, workers=self._workers, touch=keep.touch)

    async def _aask(self, asks: Sequence[Ask], patience: Patience, keep: Keep) -> Sequence[Answer]:
        if not _is_async(self._platform):
            return await asyncio.to_thread(self._ask, asks, patience, keep)

        async def touch() -> None:
            await asyncio.to_thread(keep.touch)

        platform = cast("AsyncPlatform", self._platform)
        return await aask_all(platform, asks, patience, workers=self._workers, touch=touch)

    def _keep(self) -> Keep:
        return Keep(self._store, self._space, self._clock, self._lease)

    def _busy(self, exc: StoreBusy) -> Run:
        return Run(monitor=self.name, at=self._clock.now(), busy=str(exc))

    def _patience(self) -> Patience:
        for_asking = self._budget.total - self._budget.delivery
        return Patience(self._watch, self._watch.monotonic() + for_asking.total_seconds())

    def _finished(self, run: Run) -> Run:
        errors = [problem.error for problem in run.problems if problem.error is not None]
        if self._on_problem == "raise" and errors:
            msg = f"{len(errors)} problems in a run of {self.name!r}; all else was done"
            raise ExceptionGroup(msg, errors)
        return run

    def __repr__(self) -> str:
        """Say what it watches."""
        sinks = [lane.name for lane in self._lanes]
        return (
            f"Monitor({self.name!r}, deployments={len(self.deployments)}, "
            f"rules={[rule.name for rule in self.rules]}, sinks={sinks})"
        )


def _step(conversation: Conversation, answers: Sequence[Answer] | None) -> Sequence[Ask] | Run:
    """The next questions, or the report when there are no more."""
    try:
        return next(conversation) if answers is None else conversation.send(answers)
    except StopIteration as stop:
        run: Run = stop.value
        return run


def _is_async(platform: object) -> bool:
    metrics: Callable[..., Any] | None = getattr(platform, "metrics", None)
    return inspect.iscoroutinefunction(metrics)


def _references(deployments: Sequence[str]) -> tuple[str, ...]:
    if isinstance(deployments, str) or not all(deployments):
        msg = f"deployments={deployments!r} must be a list of names such as ['acme/line-3']"
        raise InputError(msg)
    return tuple(dict.fromkeys(deployments))


def _distinct(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    names = [rule.name for rule in rules]
    if twice := {name for name in names if names.count(name) > 1}:
        msg = (
            f"two rules are called {min(twice)!r}, so that their alerts could not be told apart; "
            'give one of them another name, such as name="latency-budget-warning"'
        )
        raise ConfigError(msg)
    return tuple(rules)
