"""A sink that keeps what it got, and fails when told to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from driftline._checks import part
from driftline.errors import DeliveryError
from driftline.records import Alert, AlertStatus, Delivery, Receipt, Sample


class RecordingSink:
    """Keeps every alert and sample it accepts; fails when told to.

    >>> from driftline.errors import DeliveryFailed
    >>> sink = RecordingSink()
    >>> sink.fail(DeliveryFailed("503"), times=2)
    >>> sink.push([])
    Traceback (most recent call last):
        ...
    driftline.errors.DeliveryFailed: 503

    Attributes:
        name: name of the sink in receipts and in the outbox.
        delivery: how it wants to be served.
        alerts: alerts accepted, oldest first.
        samples: samples accepted, oldest first.
        attempts: alerts that were tried, refused ones included, oldest first.
    """

    def __init__(self, *, name: str = "recording", delivery: Delivery | None = None) -> None:
        """Begin empty and accepting."""
        self.name = name
        self.delivery = delivery if delivery is not None else Delivery()
        self.alerts: list[Alert] = []
        self.samples: list[Sample] = []
        self.attempts: list[Alert] = []
        self._script: deque[DeliveryError | None] = deque()
        self._always: DeliveryError | None = None
        self._lock = threading.Lock()

    def fail(self, error: DeliveryError, *, times: int | None = 1) -> None:
        """Raise `error` at the next `times` calls; with None, until `recover` is called."""
        part(error, DeliveryError, name="error", what="a DeliveryError, as sinks raise them")
        with self._lock:
            if times is None:
                self._always = error
            else:
                self._script.extend([error] * times)

    def accept(self, *, times: int = 1) -> None:
        """Accept the next `times` calls, after what `fail` has lined up."""
        with self._lock:
            self._script.extend([None] * times)

    def recover(self) -> None:
        """Accept everything from now on."""
        with self._lock:
            self._script.clear()
            self._always = None

    def send(self, alert: Alert) -> Receipt:
        """Keep one alert, or raise what was lined up.

        Raises:
            DeliveryError: as scripted by `fail`.
        """
        with self._lock:
            self.attempts.append(alert)
            self._follow_script()
            self.alerts.append(alert)
        return Receipt(sink=self.name, reference=alert.key)

    def push(self, samples: Sequence[Sample]) -> Receipt:
        """Keep some samples, or raise what was lined up.

        Raises:
            DeliveryError: as scripted by `fail`.
        """
        with self._lock:
            self._follow_script()
            self.samples.extend(samples)
        return Receipt(sink=self.name, count=len(samples))

    def check(self) -> Receipt:
        """Say that it is there."""
        return Receipt(sink=self.name, detail="keeps what it gets in memory")

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The newest alert of each key that has not been resolved, oldest key first."""
        with self._lock:
            newest = {alert.key: alert for alert in self.alerts}
        return tuple(a for a in newest.values() if a.status is AlertStatus.FIRING)

    def _follow_script(self) -> None:
        error = self._script.popleft() if self._script else self._always
        if error is not None:
            raise error

    def __repr__(self) -> str:
        """Say how much it holds."""
        return f"RecordingSink({len(self.alerts)} alerts, {len(self.samples)} samples)"
