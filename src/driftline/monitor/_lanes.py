"""One lane a sink: a thread that sends, so that a sink that hangs or fails holds up no other.

A lane makes one attempt an item, in order, and leaves the later items of a key alone once one of
them failed. It writes nothing: what happened goes to a queue, and whoever runs the delivery
settles it in the store.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from driftline._checks import part, parts
from driftline._clock import SystemClock
from driftline.errors import ConfigError, DeliveryFailed, DeliveryRefused
from driftline.records import AlertSink, Delivery, Item, MetricSink, Receipt

Sink: TypeAlias = AlertSink | MetricSink

GIVE_WAY_AFTER: Final = 3
"""Failures in a row after which a lane leaves the rest for the next run."""


_WATCH: Final = SystemClock()


@frozen(kw_only=True)
class Parcel:
    """Something to send: an item of the outbox, or a repeat that needs none.

    Attributes:
        key: parcels of one key leave in order.
        send: hands it to the sink.
        item: the item of the outbox, None for a repeat.
        payload: the alert, None for numbers.
        settled: set once what became of it is written.
    """

    key: str
    send: Callable[[], object]
    item: Item | None
    payload: Any
    settled: threading.Event = field(factory=threading.Event, eq=False, repr=False)


@frozen(kw_only=True)
class Outcome:
    """What became of a parcel after so many seconds: a receipt or an error."""

    lane: Lane
    parcel: Parcel
    receipt: Receipt | None = None
    error: Exception | None = None
    seconds: float = 0.0


class Lane:
    """One sink and the thread that serves it.

    Attributes:
        sink: whom it serves.
        name: the sink's name.
        delivery: how the sink wants to be served.
        alerts: whether the sink takes alerts.
        metrics: whether the sink takes numbers.
        sending: what is with the sink right now.
        stuck: between two runs, whether a call of an earlier one has not come back. Not whether
            the thread lives: one that has handed in its last outcome may take a while to end.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        """Keep the sink; nothing runs yet."""
        self.sink = sink
        self.name = name
        self.delivery: Delivery = part(
            getattr(sink, "delivery", None) or Delivery(),
            Delivery,
            name=f"delivery of the sink {name!r}",
            what="a driftline.typing.Delivery(…)",
        )
        self.alerts = isinstance(sink, AlertSink)
        self.metrics = isinstance(sink, MetricSink)
        self.sending: Parcel | None = None
        self.stuck = False
        self._stop = threading.Event()

    def start(
        self,
        parcels: Sequence[Parcel],
        outcomes: queue.SimpleQueue[Outcome | Lane],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        """Send in a thread of its own; each outcome goes to the queue, and the lane at the end."""
        self._stop = threading.Event()
        self.stuck = True
        threading.Thread(
            target=self._work,
            args=(tuple(parcels), outcomes, loop, self._stop),
            name=f"driftline-{self.name}",
            daemon=True,  # a sink that never comes back must not keep the process alive
        ).start()

    def stop(self) -> None:
        """Send nothing more after what is being sent."""
        self._stop.set()

    def _work(
        self,
        parcels: Sequence[Parcel],
        outcomes: queue.SimpleQueue[Outcome | Lane],
        loop: asyncio.AbstractEventLoop | None,
        stop: threading.Event,
    ) -> None:
        try:
            self._send_all(parcels, outcomes, loop, stop)
        finally:
            self.stuck = False
            outcomes.put(self)

    def _send_all(
        self,
        parcels: Sequence[Parcel],
        outcomes: queue.SimpleQueue[Outcome | Lane],
        loop: asyncio.AbstractEventLoop | None,
        stop: threading.Event,
    ) -> None:
        failed_keys: set[str] = set()
        sent: dict[str, Parcel] = {}
        failures = 0
        for parcel in parcels:
            if stop.is_set() or failures >= GIVE_WAY_AFTER:
                break
            if parcel.key in failed_keys:
                continue
            if parcel.key in sent and not _waited(sent[parcel.key].settled, stop):
                break
            if parcel.payload is not None:  # numbers may come twice in any order
                sent[parcel.key] = parcel
            self.sending = parcel
            outcome = self._attempt(parcel, loop)
            self.sending = None
            outcomes.put(outcome)
            failures = 0 if outcome.error is None else failures + 1
            if outcome.error is not None and not isinstance(outcome.error, DeliveryRefused):
                failed_keys.add(parcel.key)

    def _attempt(self, parcel: Parcel, loop: asyncio.AbstractEventLoop | None) -> Outcome:
        began = _WATCH.monotonic()
        try:
            receipt = _awaited(parcel.send(), loop)
        except Exception as exc:  # noqa: BLE001 - border: a sink of the user's may raise anything
            return Outcome(lane=self, parcel=parcel, error=exc)
        seconds = _WATCH.monotonic() - began
        if not isinstance(receipt, Receipt):
            error = DeliveryFailed(
                f"{self.name} returned {receipt!r} instead of a Receipt; whether it took the alert "
                "is unknown, so it is sent again"
            )
            return Outcome(lane=self, parcel=parcel, error=error)
        return Outcome(lane=self, parcel=parcel, receipt=receipt, seconds=seconds)

    def __repr__(self) -> str:
        """Say whom it serves."""
        return f"Lane({self.name!r})"


def _waited(settled: threading.Event, stop: threading.Event) -> bool:
    """Whether it was settled before the lane was stopped."""
    while not settled.wait(0.1):
        if stop.is_set():
            return False
    return True


def _awaited(found: object, loop: asyncio.AbstractEventLoop | None) -> object:
    """What a coroutine of an async sink returns: run on the service's loop where there is one."""
    if not inspect.isawaitable(found):
        return found
    if loop is not None:
        return asyncio.run_coroutine_threadsafe(_plain(found), loop).result()
    return asyncio.run(_plain(found))


async def _plain(awaitable: Awaitable[object]) -> object:
    return await awaitable


def lanes_of(sinks: Sequence[Sink]) -> tuple[Lane, ...]:
    """A lane for each sink.

    Raises:
        InputError: something is no sink, or says in no `Delivery` how it wants to be served.
        ConfigError: two sinks have one name.
    """
    lanes: dict[str, Lane] = {}
    what = "a sink, with send(alert) or push(samples)"
    for sink in parts(sinks, (AlertSink, MetricSink), name="sinks", what=what):
        name = str(getattr(sink, "name", "") or type(sink).__name__)
        if name in lanes:
            msg = (
                f"two sinks are called {name!r}, so that the outbox could not tell what is whose; "
                "give one of them another name"
            )
            raise ConfigError(msg)
        lanes[name] = Lane(sink, name)
    return tuple(lanes.values())
