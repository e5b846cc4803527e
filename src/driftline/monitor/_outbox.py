"""What was decided to be told, until every sink has it: at least once, in order, each on its own.

Items are written with the transitions they tell of, in one transaction, before anything is sent.
Every sink has its own queues, so each proceeds at its own pace. What a sink cannot take now waits
with growing patience; what it refuses for good, and what is too old to be of use, becomes a dead
letter. A run that dies between a sink's receipt and the note of it sends that item once more,
under the same dedup key.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen

from driftline._clock import Clock, SystemClock
from driftline.errors import DeliveryRefused, StoreBusy
from driftline.monitor._backoff import Backoff
from driftline.monitor._codec import (
    alert_from_json,
    alert_to_json,
    notice_to_json,
    samples_from_json,
)
from driftline.monitor._lanes import Lane, Outcome, Parcel
from driftline.monitor._redact import redact
from driftline.monitor._run import DeadLetter, Delivered, Failed, Notice, Problem
from driftline.records import (
    Alert,
    AlertSink,
    AlertStatus,
    Append,
    Bury,
    Change,
    DeadItem,
    Enqueue,
    Item,
    MetricSink,
    Postpone,
    Put,
    Sample,
    Settle,
    Store,
)

METRICS_LIFETIME: Final = timedelta(hours=1)
"""A number that is later than this is of no use to a dashboard (Datadog takes none that are)."""
CHUNK: Final = 1000
"""Samples of one item."""
_WAKE_SECONDS: Final = 5.0


@define
class Deliveries:
    """What became of items in one delivery; grows while it goes on."""

    delivered: list[Delivered] = field(factory=list)
    failed: list[Failed] = field(factory=list)
    dead_letters: list[DeadLetter] = field(factory=list)
    problems: list[Problem] = field(factory=list)


@frozen(kw_only=True)
class Repeat:
    """An alert that some sinks want again at each run."""

    alert: Alert
    resolved_at: datetime | None = None


class Outbox:
    """The queues of one monitor and the lanes that empty them."""

    def __init__(
        self,
        store: Store,
        space: str,
        lanes: Sequence[Lane],
        *,
        clock: Clock,
        backoff: Backoff,
        rng: np.random.Generator,
        wait: timedelta = timedelta(0),
        collapse: bool = False,
    ) -> None:
        """Keep where items are and who takes them.

        Args:
            store: where items are.
            space: prefix of the monitor's spaces and queues.
            lanes: who takes them.
            clock: where the time comes from.
            backoff: when what was not taken is tried again.
            rng: of its jitter.
            wait: how long an alert is held back; one that ends meanwhile is not told.
            collapse: whether an alert that ended before its beginning was ever tried is told at
                all; it always is not while `wait` holds it back.
        """
        self._store = store
        self._space = space
        self._lanes = lanes
        self._clock = clock
        self._watch = SystemClock()  # waiting for threads is real time, whatever the clock says
        self._backoff = backoff
        self._rng = rng
        self._wait = wait
        self._collapse = collapse
        self._late: dict[str, queue.SimpleQueue[Outcome | Lane]] = {}

    @property
    def repeat_resolved_for(self) -> timedelta:
        """How long some sink wants the end of an alert repeated."""
        wanted = [lane.delivery.repeat_resolved_for for lane in self._lanes if lane.alerts]
        return max(wanted, default=timedelta(0))

    def alerts_queue(self, lane: Lane) -> str:
        """Name of a sink's queue of alerts."""
        return f"{self._space}/{lane.name}/alerts"

    def metrics_queue(self, lane: Lane) -> str:
        """Name of a sink's queue of numbers."""
        return f"{self._space}/{lane.name}/metrics"

    def tell(
        self, alerts: Iterable[Alert], now: datetime, *, at_once: bool = False
    ) -> list[Change]:
        """An item for each alert and each sink that takes alerts, held back unless `at_once`."""
        held = timedelta(0) if at_once else self._wait
        changes: list[Change] = []
        for alert in alerts:
            payload = {"alert": alert_to_json(alert)}
            for lane in self._lanes:
                if lane.alerts:
                    life = lane.delivery.time_to_live
                    changes.append(
                        Enqueue(
                            queue=self.alerts_queue(lane),
                            key=alert.key,
                            payload=payload,
                            at=now,
                            due=now + held if _fires(alert) else now,
                            expires=None if life is None else now + life,
                        )
                    )
        return changes

    def withdraw(self, keys: frozenset[str]) -> list[Change]:
        """Take back what is told to fire and was not taken yet; ends of alerts stay."""
        return [
            Settle(id=item.id)
            for lane in self._lanes
            for item in self._waiting(lane)[0]
            if item.key in keys and firing(item)
        ]

    def forward(self, columns: Sequence[Mapping[str, Any]], now: datetime) -> list[Change]:
        """Items with numbers for each sink that takes numbers."""
        changes: list[Change] = []
        takers = [lane for lane in self._lanes if lane.metrics]
        for chunk in _chunks(columns) if takers else ():
            for lane in takers:
                life = min(lane.delivery.time_to_live or METRICS_LIFETIME, METRICS_LIFETIME)
                changes.append(
                    Enqueue(
                        queue=self.metrics_queue(lane),
                        key="",
                        payload={"series": chunk},
                        at=now,
                        expires=now + life,
                    )
                )
        return changes

    def deliver(
        self,
        *,
        seconds: float,
        write: Callable[[Sequence[Change]], None],
        repeats: Sequence[Repeat] = (),
        loop: asyncio.AbstractEventLoop | None = None,
        only: frozenset[str] | None = None,
    ) -> Deliveries:
        """Send what is due, each sink in a thread of its own, for so many real seconds at most.

        When the lease is lost meanwhile it ends early and says so: what it was to tell is durable,
        and whoever has taken over tells it.

        Args:
            seconds: bound on the whole.
            write: writes changes under the run's lease, and keeps the lease; called every few
                seconds, with nothing when there is nothing.
            repeats: what is to be sent again without an item.
            loop: the service's loop, for sinks that are async.
            only: just the items of these keys.
        """
        done = Deliveries()
        running: dict[str, Lane] = {}
        outcomes: queue.SimpleQueue[Outcome | Lane] = queue.SimpleQueue()
        try:
            self._take_late(done, write)
            for lane in self._lanes:
                parcels = self._parcels(lane, done, write, repeats, only)
                if lane.stuck:
                    self._report_stuck(lane, parcels, done)
                elif parcels:
                    lane.start(parcels, outcomes, loop)
                    running[lane.name] = lane
            self._collect(running, outcomes, done, write, seconds)
        except StoreBusy as exc:
            for lane in running.values():
                lane.stop()
            message = f"telling ended early, another run goes on with it: {exc}"
            done.problems.append(Problem(deployment="", message=message, error=exc))
        self._report_strangers(done)
        return done

    def _parcels(
        self,
        lane: Lane,
        done: Deliveries,
        write: Callable[[Sequence[Change]], None],
        repeats: Sequence[Repeat],
        only: frozenset[str] | None,
    ) -> list[Parcel]:
        """What a lane may send now, in order; what is too old is buried on the way."""
        now = self._clock.now()
        alerts, numbers = self._waiting(lane)
        gone = self._expire(lane, (*alerts, *numbers), done, write)
        gone |= self._collapsed(alerts, now, write)
        hold = self._store.get(f"{self._space}/holds", lane.name)
        until = now if hold is None else datetime.fromisoformat(hold.value["until"])
        if now < until <= now + self._backoff.longest_asked:  # later: the clock was set back
            return []
        longest = max(self._backoff.longest, self._wait)
        own = [i for i in alerts if i.id not in gone and (only is None or i.key in only)]
        due = _due(own, now, longest)
        parcels = [self._alert_parcel(lane, item) for item in due]
        if only is None:
            keys = {item.key for item in alerts}
            parcels += self._repeat_parcels(lane, repeats, keys, now)
            due = _due([item for item in numbers if item.id not in gone], now, longest)
            parcels += [self._metric_parcel(lane, item) for item in due]
        return parcels

    def _expire(
        self,
        lane: Lane,
        items: Sequence[Item],
        done: Deliveries,
        write: Callable[[Sequence[Change]], None],
    ) -> set[int]:
        """Give up what is too old: alerts become dead letters, numbers are merely reported."""
        now = self._clock.now()
        expired = [item for item in items if item.expires and item.expires <= now]
        alerts = [item for item in expired if item.key]
        reason = "too old to be of use: its time to live was over before the sink took it"
        write(
            [
                Bury(id=item.id, at=now, reason=reason) if item.key else Settle(id=item.id)
                for item in expired
            ]
        )
        done.dead_letters += [letter(DeadItem(item=i, at=now, reason=reason)) for i in alerts]
        if dropped := len(expired) - len(alerts):
            message = f"sink {lane.name}: {dropped} batches of numbers were dropped: {reason}"
            done.problems.append(Problem(deployment="", message=message))
        return {item.id for item in expired}

    def _collapsed(
        self, alerts: Sequence[Item], now: datetime, write: Callable[[Sequence[Change]], None]
    ) -> set[int]:
        """Forget beginnings that were never tried and whose end is here already, with the end."""
        gone: set[int] = set()
        begun: dict[str, list[Item]] = {}
        for item in alerts:
            waiting = begun.setdefault(item.key, [])
            if firing(item):
                waiting.append(item)
            else:
                untold = waiting and not any(each.attempts for each in waiting)
                # One due later than the wait was put there by a clock that has been set back.
                held = bool(waiting) and now < waiting[0].due <= now + self._wait
                if untold and (self._collapse or held):
                    gone |= {each.id for each in waiting} | {item.id}
                waiting.clear()
        write([Settle(id=number) for number in sorted(gone)])
        return gone

    def _waiting(self, lane: Lane) -> tuple[Sequence[Item], Sequence[Item]]:
        alerts = self._store.waiting(self.alerts_queue(lane)) if lane.alerts else ()
        numbers = self._store.waiting(self.metrics_queue(lane)) if lane.metrics else ()
        return alerts, numbers

    @staticmethod
    def _alert_parcel(lane: Lane, item: Item) -> Parcel:
        assert isinstance(lane.sink, AlertSink)
        alert = alert_from_json(item.payload["alert"])
        return Parcel(key=item.key, send=partial(lane.sink.send, alert), item=item, payload=alert)

    @staticmethod
    def _metric_parcel(lane: Lane, item: Item) -> Parcel:
        assert isinstance(lane.sink, MetricSink)
        push = partial(_pushed, lane.sink, item.payload["series"])
        return Parcel(key=" numbers", send=push, item=item, payload=None)

    @staticmethod
    def _repeat_parcels(
        lane: Lane, repeats: Sequence[Repeat], waiting: set[str], now: datetime
    ) -> list[Parcel]:
        if not lane.alerts or not isinstance(lane.sink, AlertSink):
            return []
        wanted = [
            repeat.alert
            for repeat in repeats
            if repeat.alert.key not in waiting
            and (
                lane.delivery.repeat_firing
                if repeat.resolved_at is None
                else now - repeat.resolved_at < lane.delivery.repeat_resolved_for
            )
        ]
        return [
            Parcel(key=a.key, send=partial(lane.sink.send, a), item=None, payload=a) for a in wanted
        ]

    def _collect(
        self,
        running: dict[str, Lane],
        outcomes: queue.SimpleQueue[Outcome | Lane],
        done: Deliveries,
        write: Callable[[Sequence[Change]], None],
        seconds: float,
    ) -> None:
        deadline = self._watch.monotonic() + seconds
        try:
            left = seconds
            while running and left > 0:
                # Below 0 after a pause of the machine: what has come meanwhile is taken all the same.
                left = deadline - self._watch.monotonic()
                found = _drain(outcomes, min(left, _WAKE_SECONDS))
                came = [outcome for outcome in found if isinstance(outcome, Outcome)]
                write(self._settle(came, done))
                for outcome in came:
                    outcome.parcel.settled.set()
                for lane in found:
                    if isinstance(lane, Lane):
                        running.pop(lane.name, None)
        finally:
            for lane in running.values():
                lane.stop()
        for lane in running.values():
            self._late[lane.name] = outcomes
            if (parcel := lane.sending) is not None:
                error = TimeoutError(
                    f"no answer within {seconds:g} s; whether it arrived is unknown, so it is "
                    "sent again under the same key"
                )
                write(self._settle([Outcome(lane=lane, parcel=parcel, error=error)], done))

    def _settle(self, outcomes: Sequence[Outcome], done: Deliveries) -> list[Change]:
        """What to write of some outcomes; the report is written on the way."""
        changes: list[Change] = []
        for outcome in outcomes:
            if outcome.error is None:
                changes += self._taken(outcome, done)
            elif isinstance(outcome.error, DeliveryRefused) and outcome.parcel.item is not None:
                changes += self._refused(outcome, done)
            else:
                changes += self._later(outcome, done)
        return changes

    def _taken(self, outcome: Outcome, done: Deliveries) -> list[Change]:
        parcel, receipt, now = outcome.parcel, outcome.receipt, self._clock.now()
        assert receipt is not None
        alert: Alert | None = parcel.payload
        created = now if parcel.item is None else parcel.item.created
        done.delivered.append(
            Delivered(
                sink=outcome.lane.name,
                key="" if alert is None else alert.key,
                status=None if alert is None else alert.status,
                receipt=receipt,
                waited_seconds=max(0.0, (now - created).total_seconds()),
                took_seconds=outcome.seconds,
                repeated=parcel.item is None,
            )
        )
        if parcel.item is None:
            return []
        changes: list[Change] = [Settle(id=parcel.item.id)]
        if alert is not None:
            notice = Notice(
                key=alert.key,
                sink=outcome.lane.name,
                status=alert.status,
                at=now,
                decided_at=created,
                attempts=parcel.item.attempts + 1,
                reference=receipt.reference,
            )
            record = notice_to_json(notice)
            changes.append(
                Append(space=f"{self._space}/notices", key=alert.key, at=now, record=record)
            )
        return changes

    def _refused(self, outcome: Outcome, done: Deliveries) -> list[Change]:
        item, now = outcome.parcel.item, self._clock.now()
        assert item is not None
        reason = _told(outcome.error)
        done.dead_letters.append(letter(DeadItem(item=item, at=now, reason=reason)))
        return [Bury(id=item.id, at=now, reason=reason)]

    def _later(self, outcome: Outcome, done: Deliveries) -> list[Change]:
        parcel, now = outcome.parcel, self._clock.now()
        asked: float | None = getattr(outcome.error, "retry_after_seconds", None)
        attempts = 1 if parcel.item is None else parcel.item.attempts + 1
        due = now + self._backoff.wait(attempts, asked, self._rng)
        error = _told(outcome.error)
        key = "" if parcel.payload is None else parcel.key
        done.failed.append(
            Failed(sink=outcome.lane.name, key=key, error=error, attempts=attempts, next_at=due)
        )
        changes: list[Change] = []
        if parcel.item is not None:
            changes.append(Postpone(id=parcel.item.id, due=due, error=error))
        if asked:
            # Who asks to wait means all that comes from us, not one alert.
            value = {"until": due.isoformat()}
            changes.append(Put(space=f"{self._space}/holds", key=outcome.lane.name, value=value))
        return changes

    def _take_late(self, done: Deliveries, write: Callable[[Sequence[Change]], None]) -> None:
        """Settle what sinks took after an earlier run had given up waiting for them."""
        for name, outcomes in list(self._late.items()):
            # Asked before the last look, so that nothing can come in between and be forgotten.
            over = not any(lane.stuck for lane in self._lanes if lane.name == name)
            found = [o for o in _drain(outcomes, 0.0) if isinstance(o, Outcome) and o.receipt]
            write(self._settle(found, done))
            if over:
                del self._late[name]

    def _report_stuck(self, lane: Lane, parcels: Sequence[Parcel], done: Deliveries) -> None:
        text = "a call of an earlier run has not come back; nothing else is sent until it does"
        done.problems.append(Problem(deployment="", message=f"sink {lane.name}: {text}"))
        done.failed += [
            Failed(
                sink=lane.name,
                key="" if p.payload is None else p.key,
                error=text,
                attempts=p.item.attempts,
                next_at=p.item.due,
            )
            for p in parcels
            if p.item is not None
        ]

    def _report_strangers(self, done: Deliveries) -> None:
        known = {self.alerts_queue(lane) for lane in self._lanes if lane.alerts}
        known |= {self.metrics_queue(lane) for lane in self._lanes if lane.metrics}
        for name, count in self._store.queues(f"{self._space}/").items():
            if name not in known:
                sink = name.removeprefix(f"{self._space}/")
                message = f"{count} items wait for sink {sink!r}, which this monitor does not have"
                done.problems.append(Problem(deployment="", message=message))


def letter(dead: DeadItem) -> DeadLetter:
    """A dead item as people see it."""
    item = dead.item
    alert = item.payload.get("alert")
    return DeadLetter(
        id=item.id,
        sink=item.queue.split("/")[-2],
        key=item.key,
        reason=dead.reason,
        at=dead.at,
        alert=None if alert is None else alert_from_json(alert),
    )


def _pushed(sink: MetricSink, columns: Sequence[Mapping[str, Any]]) -> object:
    """Push numbers, made of their columns only now: a fleet's first hour is many."""
    samples: Sequence[Sample] = samples_from_json(columns)
    return sink.push(samples)


def _fires(alert: Alert) -> bool:
    return alert.status is AlertStatus.FIRING


def firing(item: Item) -> bool:
    """Whether an item tells that an alert fires."""
    alert = item.payload.get("alert")
    return alert is not None and alert["status"] == AlertStatus.FIRING.value


def _due(items: Sequence[Item], now: datetime, longest: timedelta) -> list[Item]:
    """The items that may go: those due, but none behind an earlier one of its key that is not.

    One that is due later than `longest`, the longest wait there is, was put off by a clock that
    has been set back since: it goes at once, not when the clock is there again.
    """
    held: set[str] = set()
    found = []
    for item in items:
        if item.key in held:
            continue
        if now < item.due <= now + longest:
            held.add(item.key)
        else:
            found.append(item)
    return found


def _drain(outcomes: queue.SimpleQueue[Outcome | Lane], seconds: float) -> list[Outcome | Lane]:
    """What is in the queue, after waiting for a first one."""
    found: list[Outcome | Lane] = []
    try:
        found.append(outcomes.get(timeout=seconds) if seconds > 0 else outcomes.get_nowait())
        while True:
            found.append(outcomes.get_nowait())
    except queue.Empty:
        return found


def _told(error: Exception | None) -> str:
    name = type(error).__name__
    text = redact(str(error))
    return f"{name}: {text}" if text else name


def _chunks(columns: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Columns in lots of at most `CHUNK` samples; a longer column is a lot of its own."""
    lot: list[Mapping[str, Any]] = []
    size = 0
    for column in columns:
        if lot and size + len(column["t"]) > CHUNK:
            yield lot
            lot, size = [], 0
        lot.append(column)
        size += len(column["t"])
    if lot:
        yield lot
