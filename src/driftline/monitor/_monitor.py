"""The monitor: a platform, rules, sinks and a store, and one call a tick."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, get_args

import numpy as np
from attrs import evolve, frozen

from driftline._checks import (
    part,
    parts,
    refuse_negative,
    refuse_no_time,
    refuse_number,
    refuse_other,
)
from driftline._clock import Clock, SystemClock, as_clock
from driftline._draw import plot
from driftline.errors import ConfigError, InputError, StoreBusy
from driftline.monitor import _views
from driftline.monitor._backoff import Backoff
from driftline.monitor._book import Book, memory_key
from driftline.monitor._codec import alert_from_json
from driftline.monitor._drill import Drill, drill
from driftline.monitor._groups import Grouping
from driftline.monitor._keep import Keep
from driftline.monitor._lanes import Sink, lanes_of
from driftline.monitor._outbox import Outbox, letter
from driftline.monitor._run import DeadLetter, Run, Transition
from driftline.monitor._sources import (
    Answer,
    Ask,
    AsyncPlatform,
    Patience,
    Platform,
    aask_all,
    ask_all,
)
from driftline.monitor._standing import Standing, standing
from driftline.monitor._subjects import Subject
from driftline.monitor._tick import Conversation, Parts, tick, transition_from_json
from driftline.records import Alert, Drop, Put, Remove, Revive, Sample, Store
from driftline.rules import INHIBITIONS, Inhibition, Phase, Rule, Silence
from driftline.stores import MemoryStore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")
OnProblem: TypeAlias = Literal["report", "raise"]


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
        refuse_no_time("total", self.total)
        refuse_no_time("delivery", self.delivery)
        if self.delivery > self.total:
            msg = f"delivery={self.delivery} must not be above total={self.total}"
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
        grouping: Grouping | None = None,
        wait: timedelta = timedelta(0),
        collapse: bool = False,
        log_lines: int = 10,
        forward: bool = True,
        workers: int = 8,
        on_problem: OnProblem = "report",
        backoff: Backoff | None = None,
        lease: timedelta = timedelta(seconds=60),
        seed: int | None = None,
    ) -> None:
        """Keep the parts; nothing is asked, opened or sent yet.

        Args:
            platform: whom to ask, such as a `driftline.PlatformClient`; an async one for
                `arun_once`. None when all numbers come from you.
            deployments: whom to watch, ``"owner/deployment"``.
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
        if not part(name, str, name="name", what="a name without slashes") or "/" in name:
            msg = f"name={name!r} must be a name without slashes"
            raise InputError(msg)
        refuse_negative("wait", wait)
        refuse_no_time("lease", lease)
        refuse_number("workers", workers, "1 or more", least=1, whole=True)
        refuse_number("log_lines", log_lines, "0 or more", least=0, whole=True)
        refuse_other("on_problem", on_problem, get_args(OnProblem))
        self.name = name
        self.deployments = _references(deployments)
        self.rules = _distinct(rules)
        self._platform = _asked(platform)
        self._store = _store(store)
        self._clock = _clock_of(clock, platform)
        self._watch = SystemClock()  # a time budget is real time, whatever the clock says
        self._budget = _of(Budget, budget, "budget") or Budget()
        self._workers = workers
        self._on_problem = on_problem
        self._lease = lease
        self._lanes = lanes_of(sinks)
        self._sinks = tuple(lane.name for lane in self._lanes if lane.alerts)
        self._space = f"monitor/{name}"
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
            deployments=self.deployments,
            inhibitions=parts(
                inhibitions, Inhibition, name="inhibitions", what="a driftline.rules.Inhibition"
            ),
            store=self._store,
            outbox=self._outbox,
            grouping=_of(Grouping, grouping, "grouping"),
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

    def deliver(self) -> Run:
        """Only tell what is still to be told; for services that come by more often than they ask."""
        try:
            keep = self._keep()
        except StoreBusy as exc:
            return self._busy(exc)
        try:
            seconds = self._budget.delivery.total_seconds()
            done = self._outbox.deliver(seconds=seconds, write=keep.write)
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
            name = rule if isinstance(rule, str) else rule.name
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

    # --- what people say ---------------------------------------------------------------------

    def silence(
        self,
        *,
        author: str,
        reason: str,
        end: datetime,
        start: datetime | None = None,
        rule: str = "*",
        deployment: str = "*",
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Do not tell people of some alerts for a while; their state is tracked all the same.

        Args:
            author: who asks for it.
            reason: why.
            end: until when.
            start: from when; now, unless given.
            rule: pattern of rule names.
            deployment: pattern of deployments.
            labels: labels a slice must carry.

        Returns:
            Its name, for `lift`.
        """
        return self._silenced(
            Silence(
                author=author,
                reason=reason,
                start=start or self._clock.now(),
                end=end,
                rule=rule,
                deployment=deployment,
                labels=labels or {},
            )
        )

    def disable(self, rule: str, *, author: str, reason: str, deployment: str = "*") -> str:
        """Tell nobody of a rule until it is enabled again; answer a name for `lift`.

        Raises:
            InputError: no rule is called so.
        """
        self._known(rule)
        silence = Silence(
            author=author,
            reason=reason,
            start=self._clock.now(),
            end=None,
            rule=rule,
            deployment=deployment,
        )
        return self._silenced(silence)

    def enable(self, rule: str) -> None:
        """End whatever disables a rule; an alert that is still open is told at the next run."""
        self._known(rule)
        for name, silence in self.silences().items():
            if silence.end is None and silence.rule == rule:
                self.lift(name)

    def lift(self, name: str) -> None:
        """End a silence now.

        Raises:
            InputError: there is none of this name.
        """
        silence = self.silences().get(name)
        if silence is None:
            msg = f"no silence is called {name!r}; monitor.silences() lists them"
            raise InputError(msg)
        now = self._clock.now()
        space = f"{self._space}/silences"
        if silence.start >= now:
            self._store.write([Remove(space=space, key=name)])
        elif silence.end is None or silence.end > now:
            # It is kept for a day: a late run still judges the time it was on.
            self._store.write(
                [Put(space=space, key=name, value=evolve(silence, end=now).to_json())]
            )

    def silences(self) -> dict[str, Silence]:
        """Silences and disabled rules by name, those that are over included for a day."""
        found = self._store.scan(f"{self._space}/silences")
        return {document.key: Silence.from_json(document.value) for document in found}

    def acknowledge(self, key: str, *, author: str, note: str = "") -> None:
        """Say that somebody has taken on an open alert: it is not repeated to people any more.

        Nothing is sent to any sink: an acknowledgement there is a person's own act. It ends with
        the alert.

        Raises:
            InputError: no open alert has this key.
        """
        keys = [standing.key for standing in self.status() if standing.phase is Phase.FIRING]
        if key not in keys:
            msg = f"no open alert has the key {key!r}; open are {', '.join(keys) or 'none'}"
            raise InputError(msg)
        value = {"author": author, "note": note, "at": self._clock.now().isoformat()}
        self._store.write([Put(space=f"{self._space}/acknowledged", key=key, value=value)])

    def forget(
        self, rule: str, *, deployment: str, labels: Mapping[str, str] | None = None
    ) -> None:
        """Let a rule learn anew what is usual, after a change that was meant to be.

        Raises:
            InputError: no rule is called so.
            StoreBusy: a run is at work; try again when it is done.
        """
        self._known(rule)
        keep = self._keep()
        try:
            place = (rule, Subject.of(deployment, labels or {}))
            keep.write([Remove(space=f"{self._space}/memory", key=memory_key(place))])
        finally:
            keep.release()

    # --- what there is to know ---------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """Where its time comes from."""
        return self._clock

    @property
    def platform(self) -> Platform | AsyncPlatform | None:
        """Whom it asks, None when all numbers come from you."""
        return self._platform

    @property
    def sinks(self) -> dict[str, Sink]:
        """Whom it tells, by name."""
        return {lane.name: lane.sink for lane in self._lanes}

    def status(self) -> tuple[Standing, ...]:
        """Where every rule stands on everything it judges, by the last run."""
        book = Book.load(self._store, self._space)
        severities = {rule.name: rule.severity for rule in self.rules}
        return tuple(
            standing(self.name, place, state, severities.get(place[0]), book.acknowledged)
            for place, state in sorted(book.states().items())
        )

    def alerts(self) -> tuple[Alert, ...]:
        """The alerts people have been told of and that are not over, as they were last told."""
        groups = [d.value for d in self._store.scan(f"{self._space}/groups")]
        members = {key for group in groups for key in group["members"]}
        single = [
            state.alert
            for state in Book.load(self._store, self._space).states().values()
            if state.told and state.alert is not None and state.alert["key"] not in members
        ]
        return tuple(map(alert_from_json, [group["alert"] for group in groups] + single))

    def transitions(
        self, *, since: datetime | None = None, key: str | None = None, last: int | None = None
    ) -> tuple[Transition, ...]:
        """What happened to alerts, by time; see `driftline.records.Store.history`."""
        found = self._store.history(f"{self._space}/transitions", key, since=since, last=last)
        return tuple(transition_from_json(e.key, e.at, e.record) for e in found)

    def drills(self) -> tuple[Transition, ...]:
        """What happened to the synthetic alerts of `drill`, by time."""
        found = self._store.history(f"{self._space}/drills")
        return tuple(transition_from_json(e.key, e.at, e.record) for e in found)

    def plot(self, ax: Axes | None = None, *, since: datetime | None = None) -> Axes:
        """When alerts were pending, firing and not told: a row for each rule and subject.

        Args:
            ax: where to draw; None makes a figure of its own.
            since: from when on; None: all that the store keeps.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        history = self.transitions(since=since)
        return plot(_views.alerts(history, since=since, now=self._clock.now()), ax)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What was given up, newest first, until it is revived or dropped."""
        return tuple(letter(dead) for dead in self._store.dead(f"{self._space}/"))

    def revive(self, number: int) -> None:
        """Send a dead letter again at the next run, after what made it one was mended.

        Raises:
            InputError: there is none of this number.
        """
        self._dead(number)
        self._store.write([Revive(id=number, at=self._clock.now())])

    def drop(self, number: int) -> None:
        """Forget a dead letter that is dealt with.

        Raises:
            InputError: there is none of this number.
        """
        self._dead(number)
        self._store.write([Drop(id=number)])

    def _dead(self, number: int) -> None:
        if number not in {dead.id for dead in self.dead_letters()}:
            msg = f"no dead letter has the number {number}; monitor.dead_letters() lists them"
            raise InputError(msg)

    def _silenced(self, silence: Silence) -> str:
        name = f"{silence.start:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        put = Put(space=f"{self._space}/silences", key=name, value=silence.to_json(), version=0)
        self._store.write([put])
        return name

    def _known(self, rule: str) -> None:
        names = [each.name for each in self.rules]
        if rule not in names:
            msg = f"no rule is called {rule!r}; there are {', '.join(names)}"
            raise InputError(msg)

    # --- the two drivers ---------------------------------------------------------------------

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
            if keep.due:
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


def _clock_of(clock: Clock | None, platform: object) -> Clock:
    """The clock that was passed, else the platform's own: simulated time is shared time."""
    shared = getattr(platform, "clock", None) if clock is None else clock
    return as_clock(shared if clock is not None or hasattr(shared, "asleep") else None)


def _is_async(platform: object) -> bool:
    metrics: Callable[..., Any] | None = getattr(platform, "metrics", None)
    return inspect.iscoroutinefunction(metrics)


def _asked(platform: T) -> T:
    if platform is not None and not callable(getattr(platform, "metrics", None)):
        msg = (
            f"platform={platform!r} has no metrics(); pass a PlatformClient, or None when all "
            "numbers come from you"
        )
        raise InputError(msg)
    return platform


def _store(store: Store | None) -> Store:
    what = 'a store, such as SqlStore("sqlite:///driftline.db")'
    return MemoryStore() if store is None else part(store, Store, name="store", what=what)


def _of(kind: type[T], value: T | None, name: str) -> T | None:
    return value if value is None else part(value, kind, name=name, what=f"a {kind.__name__}(…)")


def _references(deployments: Sequence[str]) -> tuple[str, ...]:
    names = parts(deployments, str, name="deployments", what="a name such as 'acme/line-3'")
    if not all(names):
        msg = f"deployments={deployments!r} holds an empty name; name each, such as 'acme/line-3'"
        raise InputError(msg)
    return tuple(dict.fromkeys(names))


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
