"""The suite that every sink passes, ours and yours."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from attrs import define, evolve, field

from driftline.errors import DeliveryError
from driftline.records import (
    Alert,
    AlertSink,
    AlertStatus,
    Delivery,
    Link,
    LogLine,
    Metric,
    MetricSink,
    Receipt,
    Sample,
    Severity,
)

Sink: TypeAlias = AlertSink | MetricSink

THREADS: Final = 8
SHOWN: Final = 200
ONE_ATTEMPT_SECONDS: Final = 30.0
"""A call that takes longer waits or repeats by itself, which is the outbox's work."""


def example_alert(**changes: Any) -> Alert:
    """A firing alert as a latency rule sends it, five minutes old at most, with your changes.

    >>> example_alert(severity=Severity.WARNING).severity
    <Severity.WARNING: 'warning'>
    """
    now = datetime.now(UTC)
    alert = Alert(
        key="latency-budget:acme/line-3",
        rule="latency_budget",
        severity=Severity.CRITICAL,
        status=AlertStatus.FIRING,
        summary="p95 latency is 412 ms",
        expected="at most 250 ms in 3 windows of 5 minutes",
        runbook="Compare with the deployment before; roll back if it began with it.",
        window_start=now - timedelta(minutes=15),
        window_end=now,
        since=now - timedelta(minutes=5),
        at=now,
        deployment="acme/line-3",
        metric=Metric.LATENCY_P95_MS,
        value=412.0,
        threshold=250.0,
        unit="ms",
        links=(Link(url="https://platform.example/acme/line-3", text="Deployment"),),
        logs=(LogLine(at=now, severity="ERROR", message="worker timed out", http_status=504),),
    )
    return evolve(alert, **changes)


def check_sink(
    make: Callable[[], Sink],
    *,
    make_broken: Callable[[], Sink] | None = None,
    secrets: Sequence[str] = (),
    open_keys: Callable[[], Collection[str]] | None = None,
) -> None:
    """Check that a sink behaves as the outbox of `driftline.Monitor` expects.

    Its verbs may be plain or async. It must answer with receipts, raise nothing but
    `driftline.errors.DeliveryError`, take what is extremely long or strange without refusing it,
    bear repeating under the same key and an end without a beginning, be safe to call from several
    threads, make one attempt a call, and show its credentials nowhere: not in its ``repr``, a
    receipt, an error with its traceback and its local variables, or a log record of any level.

    >>> from driftline.testing import RecordingSink
    >>> check_sink(RecordingSink)

    Args:
        make: makes a sink that works. It is called several times; what has ``close`` is closed.
        make_broken: makes one whose other side refuses or is gone, to see how it fails.
        secrets: the credentials it was given.
        open_keys: what is open on the other side at the moment, where that can be seen; with
            it, repeating must open one thing and a resolve close it.

    Raises:
        ExceptionGroup: of an AssertionError for each thing that is wrong.
    """
    suite = _Suite(make=make, make_broken=make_broken, secrets=secrets, open_keys=open_keys)
    with _captured_logs() as records:
        for check in (
            suite.shape,
            suite.receipts,
            suite.extremes,
            suite.repeating,
            suite.threads,
            suite.failure,
        ):
            suite.run(check)
    suite.run(lambda: suite.hidden("a log record", *(_rendered(record) for record in records)))
    if suite.faults:
        msg = f"{suite.about} is no sink as Driftline needs it"
        raise ExceptionGroup(msg, suite.faults)


@define(kw_only=True)
class _Suite:
    """The checks, one method each; what they find is gathered."""

    make: Callable[[], Sink]
    make_broken: Callable[[], Sink] | None
    secrets: Sequence[str]
    open_keys: Callable[[], Collection[str]] | None
    about: str = "the sink"
    faults: list[AssertionError] = field(factory=list)

    def run(self, check: Callable[[], None]) -> None:
        try:
            check()
        except AssertionError as fault:
            self.faults.append(fault)

    def shape(self) -> None:
        with _made(self.make) as sink:
            self.about = type(sink).__name__
            named = getattr(sink, "name", "a name")
            _expect(isinstance(named, str) and named, f"its name is {named!r}, not a word")
            delivery = getattr(sink, "delivery", Delivery())
            _expect(isinstance(delivery, Delivery), f"its delivery is {delivery!r}, no Delivery")
            can = isinstance(sink, AlertSink | MetricSink)
            _expect(can, "it has neither send(alert) nor push(samples)")
            self.hidden("its repr", repr(sink), str(sink))

    def receipts(self) -> None:
        for severity in Severity:
            with _made(self.make) as sink:
                alert = example_alert(severity=severity, test=True, key=f"check-{severity.value}")
                self.take(sink, alert)
                self.take(sink, _resolved(alert))
        with _made(self.make) as sink:
            self.give(sink, [])
            self.give(sink, _samples())

    def extremes(self) -> None:
        for alert in _strange_alerts():
            with _made(self.make) as sink:
                self.take(sink, alert)
                self.take(sink, _resolved(alert))
        with _made(self.make) as sink:
            self.give(sink, _strange_samples())

    def repeating(self) -> None:
        with _made(self.make) as sink:
            never = example_alert(key="check-never-fired")
            alert = example_alert(key="check-repeated")
            before = self.opened()
            self.take(sink, _resolved(never))
            self.same(before, "an end without a beginning opened something")
            self.take(sink, alert)
            self.take(sink, evolve(alert, value=430.0, summary="p95 latency is 430 ms"))
            if isinstance(sink, AlertSink):
                self.same(before + 1, "sending twice under one key must open one thing")
            self.take(sink, _resolved(alert))
            self.take(sink, _resolved(alert))
            self.same(before, "a resolve must close what was opened")

    def threads(self) -> None:
        with _made(self.make) as sink, ThreadPoolExecutor(THREADS) as pool:
            alerts = [example_alert(key=f"check-thread-{n}") for n in range(2 * THREADS)]
            list(pool.map(lambda alert: self.take(sink, alert), alerts))
            list(pool.map(lambda alert: self.take(sink, _resolved(alert)), alerts))

    def failure(self) -> None:
        if self.make_broken is None:
            return
        with _made(self.make_broken) as sink:
            if isinstance(sink, AlertSink):
                self.refuse(lambda: sink.send(example_alert()))
            if isinstance(sink, MetricSink):
                self.refuse(lambda: sink.push(_samples()), may_count_none=True)

    def take(self, sink: Sink, alert: Alert) -> None:
        if isinstance(sink, AlertSink):
            receipt = self.called("send", alert, lambda: sink.send(alert))
            self.receipt(receipt, sink)

    def give(self, sink: Sink, samples: Sequence[Sample]) -> None:
        if isinstance(sink, MetricSink):
            receipt = self.called("push", samples, lambda: sink.push(samples))
            self.receipt(receipt, sink)

    def called(self, verb: str, what: object, do: Callable[[], object]) -> object:
        try:
            return _answer(do())
        except DeliveryError as error:
            self.hidden("an error", *_told(error))
            msg = f"{verb} refused {_short(what)}: {error}"
            raise AssertionError(msg) from error
        except Exception as error:
            msg = f"{verb} raised {error!r} at {_short(what)}; only DeliveryError may leave a sink"
            raise AssertionError(msg) from error

    def refuse(self, do: Callable[[], object], *, may_count_none: bool = False) -> None:
        began = time.monotonic()
        try:
            answer = _answer(do())
        except DeliveryError as error:
            self.hidden("an error", *_told(error))
        except Exception as error:
            msg = f"a broken sink raised {error!r}; only DeliveryError may leave a sink"
            raise AssertionError(msg) from error
        else:
            # A sink of several parts may have been made without the one for samples.
            none = may_count_none and isinstance(answer, Receipt) and answer.count == 0
            _expect(none, f"a broken sink answered {answer!r} instead of raising DeliveryError")
        took = time.monotonic() - began
        _expect(took < ONE_ATTEMPT_SECONDS, f"a failing call took {took:.0f} s: one attempt a call")

    def receipt(self, receipt: object, sink: Sink) -> None:
        _expect(isinstance(receipt, Receipt), f"it answered {receipt!r} instead of a Receipt")
        assert isinstance(receipt, Receipt)
        name = getattr(sink, "name", receipt.sink)
        _expect(receipt.sink == name, f"the receipt says {receipt.sink!r}, the sink {name!r}")
        self.hidden("a receipt", repr(receipt))

    def hidden(self, where: str, *texts: str) -> None:
        shown = any(secret in text for secret in self.secrets for text in texts)
        _expect(not shown, f"{where} shows a credential")

    def opened(self) -> int:
        return len(self.open_keys()) if self.open_keys is not None else 0

    def same(self, expected: int, otherwise: str) -> None:
        found = self.opened()
        if self.open_keys is not None:
            _expect(found == expected, f"{otherwise}: {found} open, not {expected}")


def _answer(found: object) -> object:
    """What a verb answered; an async one is awaited on a loop of its own."""
    return asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found


async def _awaited(found: Awaitable[object]) -> object:
    return await found


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


@contextmanager
def _made(make: Callable[[], Sink]) -> Generator[Sink, None, None]:
    sink = make()
    try:
        yield sink
    finally:
        close = getattr(sink, "close", None)
        if callable(close):
            close()


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _captured_logs() -> Generator[list[logging.LogRecord], None, None]:
    """Every record of every logger, down to the lowest level."""
    root = logging.getLogger()
    keeping, level = _Keeping(), root.level
    root.addHandler(keeping)
    root.setLevel(logging.NOTSET)
    try:
        yield keeping.records
    finally:
        root.removeHandler(keeping)
        root.setLevel(level)


def _rendered(record: logging.LogRecord) -> str:
    return logging.Formatter("%(name)s %(message)s").format(record)


def _told(error: BaseException) -> Iterator[str]:
    """What an error shows: its words, its traceback and the local variables below this suite."""
    yield repr(error)
    yield "".join(traceback.format_exception(error))
    chain = [error]
    for one in chain:  # it grows as causes are found
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield " ".join(repr(value) for value in frame.f_locals.values())
        chain += [e for e in (one.__cause__, one.__context__) if e is not None and e not in chain]


def _short(what: object) -> str:
    text = repr(what)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _resolved(alert: Alert) -> Alert:
    return evolve(alert, status=AlertStatus.RESOLVED, reason="recovered")


def _samples() -> list[Sample]:
    now = datetime.now(UTC)
    five = timedelta(minutes=5)
    return [
        Sample(metric=Metric.LATENCY_P95_MS, value=412.0, at=now - five, width=five),
        Sample(metric=Metric.MAP, value=0.412, at=now, labels={"camera": "cam-1"}),
    ]


_STRANGE: Final = 'é — 温度 🚦 \u202e\u0000\x1b[31m\ud800 "quoted" \\ {brace} %s\nnext line'


def _strange_alerts() -> list[Alert]:
    now = datetime.now(UTC)
    long = _STRANGE * 1000  # longer than any limit of any vendor's field
    line = LogLine(at=now, severity="ERROR", message=long)
    links = tuple(Link(url=f"https://wiki.example/{'x' * n * 40}", text=long) for n in range(60))
    empty = {"expected": "", "deployment": "", "metric": "", "unit": "", "links": (), "logs": ()}
    return [
        example_alert(key="k" * 100, summary=long, expected=long, runbook=long, reason=long),
        example_alert(key="check-long-key:" + "é" * 85, rule=long, deployment=long, unit=long),
        example_alert(key="check-many-labels", labels={f"{n} {_STRANGE}": long for n in range(9)}),
        example_alert(key="check-labels", labels={f"label-{n}": _STRANGE * 40 for n in range(300)}),
        example_alert(key="check-links", links=(*links, Link(url=_STRANGE, text=""))),
        example_alert(key="check-logs", logs=(line,) * 100),
        example_alert(key="check-nan", value=math.nan, threshold=math.inf),
        example_alert(key="check-none", value=None, threshold=None, **empty),
        example_alert(key="check-old", at=now - timedelta(days=3), since=now - timedelta(days=4)),
    ]


def _strange_samples() -> list[Sample]:
    now = datetime.now(UTC)
    return [
        Sample(metric="my.metric-é", value=1e308, at=now, labels={_STRANGE: _STRANGE * 1000}),
        Sample(metric=Metric.DETECTIONS, value=-0.0, at=now, deployment=_STRANGE * 100),
        Sample(metric=Metric.DRIFT_STATISTIC, value=5e-324, at=now - timedelta(days=7)),
        *(
            Sample(metric=Metric.CONFIDENCE_MEAN, value=0.5, at=now, labels={"camera": f"cam-{n}"})
            for n in range(3000)
        ),
    ]
