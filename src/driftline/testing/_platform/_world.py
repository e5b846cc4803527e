"""What all routes share: one owner, its models and deployments, its limits and its faults."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline._checks import not_negative, number
from driftline.records import Detections
from driftline.testing._clock import FrozenClock
from driftline.testing._platform._behaviour import Behaviour
from driftline.testing._platform._endpoint import LocalDeployment, Setting, Status
from driftline.testing._platform._faults import FaultPlan
from driftline.testing._platform._limits import RateLimiter
from driftline.testing._platform._router import (
    Operation,
    Refused,
    Request,
    Response,
    Route,
    Router,
    check_slugs,
)
from driftline.testing._platform._time import Stopwatch, iso, microseconds
from driftline.testing._platform._training import settle
from driftline.testing._platform._workspace import Workspace

Image: TypeAlias = npt.NDArray[np.uint8]
"""``(height, width, 3)``, RGB."""
Detector: TypeAlias = Callable[[Image], Detections]
"""Finds what is in one frame."""


@frozen(kw_only=True)
class ReceivedCall:
    """One call the platform received.

    Attributes:
        at: simulated time of its arrival.
        method: HTTP verb.
        path: path, without the query.
        query: query parameters.
        status: HTTP status of the reply; None when the reply was a hang or a reset.
        operation: what it asked for; None when no route took it.
    """

    at: datetime
    method: str
    path: str
    query: Mapping[str, str]
    status: int | None
    operation: Operation | None


@frozen(kw_only=True)
class Rules:
    """How strict and how quick the platform is."""

    deploy_seconds: float = field(validator=number("0 or more", least=0))
    stop_seconds: float = field(validator=number("0 or more", least=0))
    metrics_lag: timedelta = field(validator=not_negative)
    max_upload_bytes: int = field(validator=number("1 or more", least=1, whole=True))
    newer_fields: bool
    seed: int | None


_KEPT_CALLS: Final = 100_000


class World:
    """The state behind the routes; `lock` guards all of it."""

    def __init__(
        self,
        *,
        owner: str,
        api_key: str,
        clock: FrozenClock,
        limiter: RateLimiter,
        rules: Rules,
        default_detector: Callable[[], Detector],
        workspace: Workspace,
    ) -> None:
        """An empty workspace."""
        self.owner = owner
        self.api_key = api_key
        self.clock = clock
        self.stopwatch = Stopwatch(clock)
        self.limiter = limiter
        self.rules = rules
        self.workspace = workspace
        self.lock = threading.RLock()
        self.detecting = threading.Lock()
        self.faults = FaultPlan()
        self.models: dict[str, Detector | None] = {}
        self.deployments: dict[str, LocalDeployment] = {}
        self.calls: deque[ReceivedCall] = deque(maxlen=_KEPT_CALLS)
        self.base_url = ""
        self._default_detector = default_detector
        self._requests = 0

    def now_us(self) -> int:
        """The simulated time, microseconds since 1970."""
        return microseconds(self.clock.now())

    def next_request_id(self) -> str:
        """A request id."""
        with self.lock:
            self._requests += 1
            return f"local-{self._requests:08d}"

    def deployment(self, request: Request) -> LocalDeployment:
        """The deployment a path names.

        Raises:
            Refused: 404, it is absent or somebody else's; the Platform does not say which.
        """
        found = self.deployments.get(request.slugs["deployment"])
        if found is None or request.slugs["owner"] != self.owner:
            raise Refused(404, "Deployment not found")
        return found

    def deploy(
        self,
        slug: str,
        *,
        model: str,
        name: str,
        region: str,
        behaviour: Behaviour,
        status: Status,
    ) -> LocalDeployment:
        """Add a deployment in that status, with nothing on its way."""
        setting = Setting(
            owner=self.owner,
            clock=self.clock,
            stopwatch=self.stopwatch,
            lock=self.lock,
            faults=self.faults,
            base_url=lambda: self.base_url,
            seed=self.rules.seed,
        )
        made = LocalDeployment(
            setting,
            slug,
            model=model,
            name=name,
            region=region,
            status=status,
            behaviour=behaviour,
        )
        self.deployments[slug] = made
        return made

    def detector(self, model: str) -> Detector:
        """What a model detects with."""
        return self.models.get(model) or self._default_detector()

    def settle(self) -> None:
        """Let every ingest, batch and training that is due come to its end."""
        with self.lock:
            for dataset in self.workspace.datasets.values():
                dataset.settle(self)
            for record in tuple(self.workspace.records.values()):
                settle(self, record)

    def service(self, request: Request) -> LocalDeployment:
        """The deployment whose own address a path is.

        Raises:
            Refused: 404.
        """
        with self.lock:
            for deployment in self.deployments.values():
                if deployment.id == request.slugs["service"]:
                    return deployment
        raise Refused(404, "Not found")

    def authorize(self, request: Request, route: Route) -> None:
        """Refuse a missing, malformed or unknown key.

        Raises:
            Refused: 401.
        """
        header = request.headers.get("authorization")
        if (header is None and route.anonymous) or header == f"Bearer {self.api_key}":
            return
        if "service" in request.slugs:
            # What an endpoint itself turns away is an error in its metrics.
            self._record(self.service(request), request, status=401, path="/predict")
        raise Refused(401, "Authentication required" if header is None else "Invalid API key")

    def limit(self, route: Route) -> None:
        """Refuse a call there is no room for.

        The body and both headers are those of the Platform's REST API page, "Rate limits".

        Raises:
            Refused: 429.
        """
        if route.category is None:
            return
        wait = self.limiter.take(route.category, now=self.stopwatch.seconds())
        if wait is None:
            return
        seconds = self.limiter.whole_seconds(wait)
        reset = iso(self.now_us() + round(wait * 1e6))
        raise Refused(
            429,
            "Rate limit exceeded",
            headers={"Retry-After": str(seconds), "X-RateLimit-Reset": reset},
            more={"retryAfter": seconds, "resetAt": reset},
        )

    def _fault(self, operation: Operation, request: Request) -> Response | None:
        """What was planned to go wrong; a failed prediction or ping shows in the endpoint's traffic."""
        if "service" in request.slugs:
            deployment: LocalDeployment | None = self.service(request)
        else:
            deployment = self.deployments.get(request.slugs.get("deployment", ""))
        response = self.faults.next(operation, deployment.slug if deployment else None)
        if response and deployment and operation in {"predict", "health"} and not response.damage:
            self._record(deployment, request, status=response.status, path=f"/{operation}")
        return response

    def _record(
        self, deployment: LocalDeployment, request: Request, *, status: int, path: str
    ) -> None:
        with self.lock:
            deployment.record(
                method=request.method,
                path=path,
                status=status,
                ms=deployment.draw_ms(),
                agent=request.headers.get("user-agent", ""),
            )

    def answer(self, router: Router, request: Request) -> Response:
        """The reply to a request, and a note of it in `calls`."""
        at = self.clock.now()
        operation: Operation | None = None
        try:
            route, request = router.find(request)
            operation = route.operation
            self.authorize(request, route)
            self.limit(route)
            check_slugs(request.slugs)
            self.settle()
            response = self._fault(operation, request)
            if response is None or response.damage == "truncated":
                damage = None if response is None else response.damage
                response = evolve(route.handler(self, request), damage=damage)
        except Refused as refused:
            response = refused.response
        self.calls.append(
            ReceivedCall(
                at=at,
                method=request.method,
                path=request.path,
                query=dict(request.query),
                status=None if response.damage in {"hang", "reset"} else response.status,
                operation=operation,
            )
        )
        return response
