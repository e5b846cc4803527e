"""The monitor: a platform, rules, sinks and a store, and one call a tick."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from driftline._checks import (
    part,
    parts,
    refuse_negative,
    refuse_no_time,
    refuse_number,
    refuse_other,
)
from driftline._clock import Clock, as_clock
from driftline.errors import ConfigError, InputError, StoreBusy
from driftline.monitor._asking import TOUCH_SECONDS
from driftline.monitor._backoff import Backoff
from driftline.monitor._claims import Claims
from driftline.monitor._clients import Client, Clients
from driftline.monitor._drill import Drill, drill
from driftline.monitor._drive import Budget, Driver
from driftline.monitor._fleet import Roster, Watched, checked
from driftline.monitor._groups import Grouping
from driftline.monitor._lanes import Sink, lanes_of
from driftline.monitor._outbox import Outbox
from driftline.monitor._people import People
from driftline.monitor._rounds import rounds
from driftline.monitor._run import Run
from driftline.monitor._tick import Conversation, Parts, Right
from driftline.records import Sample, Store
from driftline.rules import INHIBITIONS, Inhibition, Rule
from driftline.stores import MemoryStore

T = TypeVar("T")
OnProblem: TypeAlias = Literal["report", "raise"]
SHORTEST_LEASE: Final = timedelta(seconds=3 * TOUCH_SECONDS)
"""A run that is at work may miss two renewals in a row and still keep its lease."""


class Monitor(People):
    """Watches deployments: asks, judges, remembers, tells. One call of `run_once` is one tick.

    It runs when it is called and never by itself: from cron, from your scheduler, or from a loop
    of your service (`arun_once`). Runs may come late, twice or at the same time: rules judge the
    times that the numbers carry, and the store sees to it that one run works at a time, or, with
    a `cadence`, that several share the deployments.

    Attributes:
        name: its name in the store and in dedup keys.
        rules: what is judged.
    """

    def __init__(
        self,
        platform: Client | Mapping[str, Client] | None,
        *,
        deployments: Watched = (),
        rules: Sequence[Rule],
        sinks: Sequence[Sink] = (),
        store: Store | None = None,
        name: str = "monitor",
        clock: Clock | None = None,
        budget: Budget | None = None,
        inhibitions: Sequence[Inhibition] = INHIBITIONS,
        grouping: Grouping | None = None,
        wait: timedelta = timedelta(0),
        collapse: bool = False,
        log_lines: int = 10,
        forward: bool = True,
        workers: int = 8,
        on_problem: OnProblem = "report",
        backoff: Backoff | None = None,
        lease: timedelta = timedelta(seconds=60),
        cadence: timedelta | None = None,
        seed: int | None = None,
    ) -> None:
        """Keep the parts; nothing is asked, opened or sent yet.

        Args:
            platform: whom to ask, such as a `driftline.PlatformClient`; an async one for
                `arun_once`. Where each owner has a key of its own, their clients by owner:
                ``{"acme": PlatformClient(…), …}``. None when all numbers come from you.
            deployments: whom to watch: names, ``"owner/deployment"``, a `Fleet` to be found, or
                a function that answers names at each run.
            rules: what to judge; their names must differ. None at all is for passing numbers on
                and for reading what a store remembers.
            sinks: whom to tell: anything with ``send(alert)`` or ``push(samples)``; their names
                must differ.
            store: where to remember; in memory, for as long as this object lives, unless given.
            name: name of the monitor; monitors that share a store need names that differ.
            clock: where the time comes from; that of the platform where it shows one, else the
                machine's.
            budget: how much real time a run may take.
            inhibitions: which alerts silence which.
            grouping: when alerts that begin together are told as one; None: never.
            wait: how long an alert is held back; one that is over by then is not told.
            collapse: whether to keep back an alert that was over before its sink could be
                reached; by default people are told of it late, and then of its end.
            log_lines: how many error lines of the deployment travel with an alert; 0 for none,
                and then no logs are asked for.
            forward: whether to pass on numbers, the platform's and yours, to the sinks that
                take numbers, with a heartbeat of the monitor.
            workers: how many questions to one client are on their way at once.
            on_problem: whether `run_once` raises an `ExceptionGroup` after a run in which
                deployments could not be asked; otherwise they are in `Run.problems`.
            backoff: when what a sink did not take is tried again.
            lease: how long a run that died keeps others out; half a minute or more.
            cadence: for several workers that share a store, and the name: how often a deployment
                is asked, by whichever of them comes first, such as every five minutes. None: one
                run works at a time and asks about everything.
            seed: of the jitter in the back-off; None for a different one in each process.

        Raises:
            InputError: a value cannot be used.
            ConfigError: two rules or two sinks have one name, or nobody can be asked about a
                deployment.
        """
        _check_name(name)
        refuse_negative("wait", wait)
        _check_lease(lease)
        refuse_number("workers", workers, "1 or more", least=1, whole=True)
        refuse_number("log_lines", log_lines, "0 or more", least=0, whole=True)
        refuse_other("on_problem", on_problem, get_args(OnProblem))
        if cadence is not None:
            refuse_no_time("cadence", cadence)
        if seed is not None:
            refuse_number("seed", seed, "a whole number, 0 or more", least=0, whole=True)
        part(collapse, bool, name="collapse", what="True or False")
        part(forward, bool, name="forward", what="True or False")
        clients = Clients(platform)
        self._platform = platform
        super().__init__(
            name=name,
            rules=_distinct(rules),
            store=_store(store),
            clock=as_clock(clients.clock if clock is None else clock),
            lease=lease,
        )
        budget = _of(Budget, budget, "budget") or Budget()
        self._driver = Driver(clients, workers=workers, budget=budget)
        self._cadence = cadence
        self._on_problem = on_problem
        self._lanes = lanes_of(sinks)
        self._sinks = tuple(lane.name for lane in self._lanes if lane.alerts)
        self._outbox = Outbox(
            self._store,
            self._space,
            self._lanes,
            clock=self._clock,
            backoff=_of(Backoff, backoff, "backoff") or Backoff(),
            rng=np.random.default_rng(seed),
            wait=wait,
            collapse=collapse,
        )
        self._parts = Parts(
            name=name,
            space=self._space,
            rules=self.rules,
            watched=checked(deployments, clients),
            clients=clients,
            inhibitions=parts(
                inhibitions, Inhibition, name="inhibitions", what="a driftline.rules.Inhibition"
            ),
            store=self._store,
            outbox=self._outbox,
            grouping=_of(Grouping, grouping, "grouping"),
            forward=forward,
            log_lines=log_lines,
            delivery_seconds=budget.delivery.total_seconds(),
        )

    @property
    def deployments(self) -> tuple[str, ...]:
        """Who is watched; of a `Fleet`, those found so far."""
        where = self._parts
        return Roster.load(where.watched, where.clients, self._store, self._space).names

    @property
    def platform(self) -> Client | Mapping[str, Client] | None:
        """Whom it asks, None when all numbers come from you."""
        return self._platform

    @property
    def sinks(self) -> dict[str, Sink]:
        """Whom it tells, by name."""
        return {lane.name: lane.sink for lane in self._lanes}

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
            InputError: something among the samples is no `Sample`.
            StoreError: the store failed; nothing was told that is not remembered.
            ConfigError: the platform is async; use `arun_once`.
            ExceptionGroup: deployments could not be asked, and `on_problem` is ``"raise"``.
        """
        if self._parts.clients.is_async:
            msg = "the platform is async: await monitor.arun_once() instead"
            raise ConfigError(msg)
        given = _samples(samples)
        try:
            keep = self._right()
        except StoreBusy as exc:
            return self._busy(exc)
        try:
            return self._finished(self._driver.run(self._rounds(given, keep, None), keep))
        except StoreBusy as exc:  # taken over on the way: the other run does the rest
            return self._busy(exc)
        finally:
            keep.release()

    async def arun_once(self, samples: Iterable[Sample] = ()) -> Run:
        """As `run_once`, for services: nothing blocks the loop.

        An async platform is awaited, a blocking one is asked in threads; sinks that block run in
        threads, sinks with an async ``send`` or ``push`` on the loop.
        """
        given = _samples(samples)
        try:
            keep = await asyncio.to_thread(self._right)
        except StoreBusy as exc:
            return self._busy(exc)
        try:
            conversation = self._rounds(given, keep, asyncio.get_running_loop())
            return self._finished(await self._driver.arun(conversation, keep))
        except StoreBusy as exc:
            return self._busy(exc)
        finally:
            await asyncio.to_thread(keep.release)

    def deliver(self) -> Run:
        """Only tell what is still to be told; for services that come by more often than they ask."""
        try:
            keep = self._keep()
        except StoreBusy as exc:
            return self._busy(exc)
        try:
            done = self._outbox.deliver(seconds=self._parts.delivery_seconds, write=keep.write)
        finally:
            keep.release()
        return Run(
            monitor=self.name,
            at=self._clock.now(),
            delivered=tuple(done.delivered),
            failed=tuple(done.failed),
            dead_letters=tuple(done.dead_letters),
            dead=len(self._store.dead(f"{self._space}/")),
            problems=tuple(done.problems),
        )

    def drill(self, rule: str | Rule | None = None, *, deployment: str | None = None) -> Drill:
        """Make a rule fire on a synthetic breach, tell every alert sink, and end it again.

        The breach is the rule's own `driftline.rules.Rule.example`. It goes through the same
        judgement, life cycle, store and delivery as a real one, under a dedup key of its own,
        and is marked as a test; silences do not keep it back. What no sink took is withdrawn.

        Args:
            rule: which rule, or its name; None: every one.
            deployment: whose name the alerts carry; the first one watched, unless given.

        Returns:
            Which sink took what, after how long; `Drill.ok` when every sink took everything.

        Raises:
            InputError: no rule is called so.
            StoreBusy: a run is at work; try again when it is done.
        """
        names = {each.name: each for each in self.rules}
        if rule is None:
            chosen = self.rules
        else:
            what = "the name of a rule, or a rule"
            given = part(rule, (str, Rule), name="rule", what=what)
            name = given if isinstance(given, str) else given.name
            self._known(name)
            chosen = (names[name],)
        keep = self._keep()
        try:
            whose = deployment or (self.deployments[0] if self.deployments else "")
            return drill(
                self._parts, chosen, whose, keep=keep, clock=self._clock, sinks=self._sinks
            )
        finally:
            keep.release()

    def _right(self) -> Right:
        if self._cadence is None:
            return self._keep()
        return Claims(self._store, self._space, self._clock, self._lease)

    def _rounds(
        self, samples: Iterable[Sample], keep: Right, loop: asyncio.AbstractEventLoop | None
    ) -> Conversation:
        return rounds(
            self._parts, samples, keep, clock=self._clock, cadence=self._cadence, loop=loop
        )

    def _busy(self, exc: StoreBusy) -> Run:
        return Run(monitor=self.name, at=self._clock.now(), busy=str(exc))

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
            f"Monitor({self.name!r}, deployments={self._parts.watched!r}, "
            f"rules={[rule.name for rule in self.rules]}, sinks={sinks})"
        )


def _check_name(name: str) -> None:
    if not part(name, str, name="name", what="a name without slashes") or "/" in name:
        msg = f"name={name!r} must be a name without slashes"
        raise InputError(msg)


def _check_lease(lease: timedelta) -> None:
    refuse_no_time("lease", lease)
    if lease < SHORTEST_LEASE:
        msg = (
            f"lease={lease} must be {SHORTEST_LEASE} or more: a run renews it every "
            f"{TOUCH_SECONDS:g} s, and one that does not get round to it is overtaken"
        )
        raise InputError(msg)


def _samples(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    what = "a Sample, as to_samples() of a profile, report or evaluation gives them"
    return parts(samples, Sample, name="samples", what=what)


def _store(store: Store | None) -> Store:
    what = 'a store, such as SqlStore("sqlite:///driftline.db")'
    return MemoryStore() if store is None else part(store, Store, name="store", what=what)


def _of(kind: type[T], value: T | None, name: str) -> T | None:
    return value if value is None else part(value, kind, name=name, what=f"a {kind.__name__}(…)")


def _distinct(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    judged = parts(rules, Rule, name="rules", what="a rule, such as rules.LatencyBudget(…)")
    names = [rule.name for rule in judged]
    if twice := {name for name in names if names.count(name) > 1}:
        msg = (
            f"two rules are called {min(twice)!r}, so that their alerts could not be told apart; "
            'give one of them another name, such as name="latency-budget-warning"'
        )
        raise ConfigError(msg)
    return judged
