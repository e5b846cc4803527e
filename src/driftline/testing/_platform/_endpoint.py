"""One deployment: its life, its traffic, and what a test may script of both."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal, TypeAlias, TypeVar

import numpy as np
from attrs import frozen

from driftline.errors import InputError
from driftline.testing._clock import FrozenClock
from driftline.testing._platform._behaviour import Arrivals, Behaviour, Even, Noisy
from driftline.testing._platform._faults import Fault, FaultPlan
from driftline.testing._platform._ledger import METRICS_RETENTION_US, Ledger
from driftline.testing._platform._logbook import (
    LOGS_RETENTION_US,
    HttpRequest,
    Logbook,
    LogSeverity,
    severity_of,
)
from driftline.testing._platform._router import Operation, Refused
from driftline.testing._platform._time import DAY, MINUTE, Stopwatch, iso, microseconds

Status: TypeAlias = Literal["creating", "deploying", "ready", "stopping", "stopped", "failed"]

T = TypeVar("T")
ABORTED: Final = "No instance was available and the request was aborted"


@frozen(kw_only=True)
class Transition:
    """A change on its way.

    Attributes:
        to: status it ends in.
        begun: when, microseconds since 1970 (simulated).
        seconds: how long it takes.
        due: reading of the stopwatch at its end.
        model: model served afterwards; None serves none.
        failure: what goes wrong at its end; None for nothing.
    """

    to: Status
    begun: int
    seconds: float
    due: float
    model: str | None
    failure: str | None


@frozen(kw_only=True)
class Setting:
    """What a deployment is made of and shares with the rest of its platform."""

    owner: str
    clock: FrozenClock
    stopwatch: Stopwatch
    lock: threading.RLock
    faults: FaultPlan
    base_url: Callable[[], str]
    seed: int | None


class LocalDeployment:
    """A deployment of a `LocalPlatform`, as a test scripts it.

    Everything here holds from the present simulated moment on; `history` alone writes the past.
    """

    def __init__(
        self,
        setting: Setting,
        slug: str,
        *,
        model: str,
        name: str,
        region: str,
        status: Status,
        behaviour: Behaviour,
    ) -> None:
        """Made by `LocalPlatform.add_deployment`."""
        self._setting = setting
        self._behaviour = behaviour
        self._ledger = Ledger()
        self._logbook = Logbook()
        self._rng = np.random.default_rng([setting.seed or 0, zlib.crc32(slug.encode())])
        self._arrivals: Arrivals = Even() if setting.seed is None else Noisy.of(self._rng)
        self._pending: Transition | None = None
        self._break_next: str | None = None
        self._cold_seconds: float | None = None
        self._warm_at: float | None = None
        now = self._now()
        self._traffic_until = now
        self._created = self._updated = now
        self._deployed: int | None = now if status in {"ready", "stopping", "stopped"} else None
        self._status: Status = status
        self._model = model
        self._serving: str | None = model if status == "ready" else None
        self._message: str | None = None
        self._slug = slug
        self._name = name
        self._region = region
        self._id = hashlib.sha256(f"{setting.owner}/{slug}/{now}".encode()).hexdigest()[:24]

    # -- what it is

    @property
    def slug(self) -> str:
        """Its name in addresses."""
        return self._slug

    @property
    def reference(self) -> str:
        """``"owner/slug"``: how clients name it."""
        return f"{self._setting.owner}/{self._slug}"

    @property
    def id(self) -> str:
        """Its database id: 24 hexadecimal digits."""
        return self._id

    @property
    def status(self) -> Status:
        """Where it is in its life, at this simulated moment."""
        with self._setting.lock:
            self._settle()
            return self._status

    @property
    def model(self) -> str:
        """The model it was last told to serve, ``"project/model"``."""
        with self._setting.lock:
            self._settle()
            return self._model

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves now."""
        return self._behaviour

    # -- what a test scripts

    def behave(
        self,
        *,
        requests_per_minute: float | None = None,
        p95_ms: float | None = None,
        p50_ms: float | None = None,
        error_rate: float | None = None,
        healthy: bool | None = None,
    ) -> None:
        """Change how it behaves from now on; what is left out stays as it is.

        Args:
            requests_per_minute: synthetic requests a minute; 0 stops the traffic.
            p95_ms: 95th percentile of the latency, milliseconds.
            p50_ms: median of the latency, milliseconds; half of `p95_ms` unless ever set.
            error_rate: share of requests that fail with 503, 0 to 1.
            healthy: whether it answers health checks and predictions.

        Raises:
            InputError: a value no endpoint could have.
        """
        with self._setting.lock:
            self._settle(close=True)
            now = self._behaviour
            self._behaviour = Behaviour(
                requests_per_minute=_either(requests_per_minute, now.requests_per_minute),
                p95_ms=_either(p95_ms, now.p95_ms),
                p50_ms=_either(p50_ms, now.p50_ms),
                error_rate=_either(error_rate, now.error_rate),
                healthy=_either(healthy, now.healthy),
            )

    def slow_down(self, factor: float) -> None:
        """Multiply its latency from now on: a regression, or below 1 its end.

        Raises:
            InputError: `factor` is not above 0.
        """
        now = self._behaviour
        self.behave(p50_ms=now.median_ms * factor, p95_ms=now.p95_ms * factor)

    def history(
        self,
        duration: timedelta,
        *,
        requests_per_minute: float,
        p95_ms: float = 160.0,
        p50_ms: float | None = None,
        error_rate: float = 0.0,
        until: timedelta = timedelta(0),
    ) -> None:
        """Write synthetic traffic into the past, ending `until` before now; the clock stays.

        Args:
            duration: how long it lasts; the part older than 30 days is dropped.
            requests_per_minute: requests a minute.
            p95_ms: 95th percentile of the latency, milliseconds.
            p50_ms: median of the latency, milliseconds; None is half of `p95_ms`.
            error_rate: share of requests that fail, 0 to 1.
            until: distance of its end from now.

        Raises:
            InputError: a duration that is not above zero, or a value no endpoint could have.
        """
        if duration <= timedelta(0) or until < timedelta(0):
            msg = f"duration={duration!r} must be above zero and until={until!r} not below it"
            raise InputError(msg)
        behaviour = Behaviour(
            requests_per_minute=requests_per_minute,
            p95_ms=p95_ms,
            p50_ms=p50_ms,
            error_rate=error_rate,
        )
        with self._setting.lock:
            now = self._now()
            end = now - until // timedelta(microseconds=1)
            start = max(end - duration // timedelta(microseconds=1), now - _KEPT_US)
            past = Even() if self._setting.seed is None else self._arrivals
            self._ledger.add_minutes(past.rows(behaviour, start, end))

    def cold_start(self, seconds: float = 20.0) -> None:
        """Scale to zero: the next request starts an instance, which takes `seconds`.

        Until it is up, requests are aborted (429 in its log, unhealthy, 503 to the client).

        Raises:
            InputError: `seconds` is not above 0.
        """
        if seconds <= 0:
            msg = f"cold_start(seconds={seconds!r}) must be above 0"
            raise InputError(msg)
        with self._setting.lock:
            self._cold_seconds, self._warm_at = seconds, None

    def fault(
        self,
        kind: Fault,
        *,
        on: Operation | None = "predict",
        times: int | None = 1,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Let calls about this deployment go wrong.

        Args:
            kind: what goes wrong, see `Fault`; an int is an HTTP status.
            on: the operation it hits; None hits all.
            times: how often; None until `clear_faults`.
            retry_after_seconds: the ``Retry-After`` of a status; None sends none.

        Raises:
            InputError: a kind, an operation or a number that means nothing here.
        """
        self._setting.faults.add(
            kind, on=on, slug=self._slug, times=times, retry_after_seconds=retry_after_seconds
        )

    def clear_faults(self) -> None:
        """Forget the faults of this deployment that are still to come."""
        self._setting.faults.clear(self._slug)

    def break_next_transition(
        self, message: str = "The new revision did not become healthy"
    ) -> None:
        """Let the next start or replace fail at its end.

        A failed replace leaves the old model serving; a failed start leaves it ``failed``.
        """
        with self._setting.lock:
            self._break_next = message

    def log(self, message: str, *, severity: LogSeverity = "INFO") -> None:
        """Write a line into its log."""
        with self._setting.lock:
            self._logbook.write(self._now(), message, severity=severity)

    # -- what the routes ask of it, under the platform's lock

    def begin(self, to: Status, *, model: str | None, seconds: float) -> Status:
        """Begin a transition; the status right after, which is its end when it takes no time."""
        now = self._now()
        due = self._setting.stopwatch.seconds() + seconds
        failure, self._break_next = (self._break_next, None) if model else (None, self._break_next)
        self._pending = Transition(
            to=to, begun=now, seconds=seconds, due=due, model=model, failure=failure
        )
        self._updated = now
        self._message = None
        if self._status != "creating":
            self._status = "stopping" if to == "stopped" else "deploying"
        if to == "stopped":
            self._close_traffic(now)
            self._serving = None
        self._settle()
        return self._status

    def require(self, *statuses: Status, to_do: str) -> None:
        """Refuse what its status does not allow.

        Raises:
            Refused: 400.
        """
        self._settle()
        if self._status not in statuses:
            raise Refused(400, f"Cannot {to_do} deployment with status: {self._status}")

    def rename(self, name: str) -> None:
        """Give it another display name; its slug stays."""
        self._name = name

    @property
    def busy(self) -> bool:
        """Whether a transition is on its way."""
        self._settle()
        return self._pending is not None

    @property
    def serving(self) -> str | None:
        """The model that answers now; None when none does."""
        self._settle()
        return self._serving

    @property
    def service_url(self) -> str | None:
        """Its own address, once it has been ready."""
        if self._deployed is None:
            return None
        return f"{self._setting.base_url()}/service/{self._id}"

    def wake(self) -> bool:
        """Whether an instance is up; the first that asks a cold endpoint starts one."""
        if self._cold_seconds is None:
            return True
        seconds = self._setting.stopwatch.seconds()
        if self._warm_at is None:
            self._warm_at = seconds + self._cold_seconds
            self.log("Starting a new instance: none is running", severity="INFO")
            return False
        if seconds < self._warm_at:
            return False
        self._cold_seconds = self._warm_at = None
        self.log("Application startup complete", severity="DEFAULT")
        return True

    def fails(self) -> bool:
        """Whether this request is one of the failing ones."""
        return bool(self._rng.random() < self._behaviour.failing)

    def draw_ms(self) -> float:
        """A latency of the present behaviour."""
        return self._behaviour.latency_ms(min(max(float(self._rng.random()), 1e-6), 1 - 1e-6))

    def record(self, *, method: str, path: str, status: int, ms: float, agent: str) -> None:
        """Enter one real request into metrics and log."""
        now = self._now()
        url = f"{self.service_url or ''}{path}"
        request = HttpRequest(
            method=method, url=url, status=status, latency_ms=ms, user_agent=agent
        )
        message = ABORTED if status == 429 else f"{method} {path} {status}"  # noqa: PLR2004 - an HTTP status
        self._ledger.add_request(now, ms=ms, failed=status >= 400)  # noqa: PLR2004 - an HTTP status
        self._logbook.write(now, message, severity=severity_of(status), request=request)

    @property
    def ledger(self) -> Ledger:
        """Its traffic up to now."""
        self._settle()
        return self._ledger

    @property
    def logbook(self) -> Logbook:
        """Its log up to now."""
        self._settle()
        return self._logbook

    def wire(self, *, task: str, metadata: bool = False) -> dict[str, object]:
        """As the contract's ``Deployment``."""
        self._settle()
        project, model = self._model.split("/")
        fields: dict[str, object | None] = {
            "id": self._id,
            "owner": self._setting.owner,
            "project": project,
            "model": model,
            "task": task,
            "deployment": self._slug,
            "name": self._name,
            "status": self._status,
            "statusMessage": self._message,
            "region": self._region,
            "serviceUrl": self.service_url,
            "resources": {"cpu": 1, "memoryGi": 2, "minInstances": 0, "maxInstances": 1},
            "deployedAt": None if self._deployed is None else iso(self._deployed, digits=0),
            "createdAt": iso(self._created, digits=0),
            "updatedAt": iso(self._updated, digits=0),
            "metadata": {} if metadata else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def region(self) -> str:
        """Where it runs."""
        return self._region

    # -- time passing

    def _now(self) -> int:
        return microseconds(self._setting.clock.now())

    def _settle(self, *, close: bool = False) -> None:
        """Let everything happen that was due by now."""
        now = self._now()
        pending = self._pending
        if pending is not None and self._setting.stopwatch.seconds() >= pending.due:
            at = min(now, pending.begun + round(pending.seconds * 1e6))
            self._close_traffic(at)
            self._pending = None
            self._arrive(pending, at)
        self._close_traffic(now if close else now // MINUTE * MINUTE)
        self._ledger.forget_before(now - _KEPT_US)
        self._logbook.forget_before(now - LOGS_RETENTION_US)

    def _arrive(self, done: Transition, at: int) -> None:
        self._updated = at
        if done.failure is not None:
            self._message = done.failure
            self._status = "ready" if self._serving else "failed"
            self._logbook.write(at, done.failure, severity="ERROR")
            return
        self._status = done.to
        self._serving = done.model
        if done.model is not None:
            self._model = done.model
            self._deployed = at
            self._logbook.write(at, f"Serving {done.model}", severity="NOTICE")

    def _close_traffic(self, until: int) -> None:
        """Enter the synthetic traffic up to a moment; none while nothing is served."""
        start = max(self._traffic_until, until - _KEPT_US)
        if until <= self._traffic_until:
            # A clock that was set back: no traffic is written twice.
            return
        self._traffic_until = until
        if self._serving is not None and self._behaviour.requests_per_minute > 0:
            self._ledger.add_minutes(self._arrivals.rows(self._behaviour, start, until))

    def __repr__(self) -> str:
        """Say which it is and how it is."""
        return f"LocalDeployment({self.reference!r}, {self.status}, {self.model!r})"


def _either(new: T | None, old: T) -> T:
    return old if new is None else new


_KEPT_US: Final = METRICS_RETENTION_US + DAY
"""A day more than is served, so that no bucket of a range is cut."""
