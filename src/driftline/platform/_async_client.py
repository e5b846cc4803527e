"""The async face of the Platform: `PlatformClient` with ``await``; a test compares the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from driftline._clock import Clock
from driftline._http import AsyncHttpClient, AsyncTransport
from driftline._retry import Retry
from driftline._secret import Secret
from driftline._wire import Call, Flow, adrive
from driftline.platform._async_learning import AsyncDatasets, AsyncModels, AsyncTraining
from driftline.platform._calls import PredictOptions
from driftline.platform._card import Card, Rounds, card
from driftline.platform._deployment import Deployment, DeploymentList, DeploymentStatus, Ref
from driftline.platform._endpoint import LOWEST_CONF, AsyncEndpoint
from driftline.platform._health import Health
from driftline.platform._images import Image, load_image
from driftline.platform._learning_flows import Learning
from driftline.platform._logs import LOG_PAGES, LogEntry, LogQuestion, LogWalk
from driftline.platform._metrics import (
    METRICS_LAG,
    DeploymentMetrics,
    ErrorRateUnit,
    View,
    Window,
)
from driftline.platform._prediction import Prediction
from driftline.platform._setup import KEY_VARIABLE, TIMEOUT, set_up
from driftline.platform._transition import POLL, TRANSITION_TIMEOUT, Ending

T = TypeVar("T")


class AsyncPlatformClient:
    """Ultralytics Platform for async services: `PlatformClient` with ``await`` before each call.

    Names, arguments, answers and errors are those of `PlatformClient`, where they are explained;
    `logs` is iterated with ``async for``. It belongs to one event loop at a time.
    """

    _base_url = ""  # shown by a traceback in the midst of __init__

    def __init__(
        self,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        owner: str | None = None,
        clock: Clock | None = None,
        *,
        http_client: AsyncHttpClient | None = None,
        timeout: timedelta = TIMEOUT,
        retry: Retry | None = None,
        rate_limits: Mapping[str, int] | None = None,
        metrics_lag: timedelta = METRICS_LAG,
        error_rate_unit: ErrorRateUnit | None = None,
    ) -> None:
        """Keep what to ask and how; nothing is sent yet. Arguments as of `PlatformClient`.

        Raises:
            MissingCredential: there is no key.
            InputError: an argument cannot be used.
        """
        try:
            key = Secret.from_argument(api_key, variable=KEY_VARIABLE, what="Platform API key")
        finally:
            del api_key  # a traceback that shows local variables must not show it
        parts = set_up(
            key,
            base_url=base_url,
            owner=owner,
            clock=clock,
            retry=retry,
            rate_limits=rate_limits,
            metrics_lag=metrics_lag,
            error_rate_unit=error_rate_unit,
            timeout=timeout,
        )
        self._base_url = parts.base_url
        self._core = parts.core
        self._transport = AsyncTransport(
            parts.base_url,
            authorization=key,
            headers=parts.headers,
            client=http_client,
            clock=parts.clock,
            pace=parts.pace,
            timeout_seconds=timeout.total_seconds(),
        )
        learning = Learning(parts.core)
        self._datasets = AsyncDatasets(self._run, learning)
        self._models = AsyncModels(self._run, learning)
        self._training = AsyncTraining(self._run, learning)

    async def _run(self, flow: Flow[T]) -> T:
        with self._transport.masking():
            return await adrive(flow, self._transport.send)

    # --- reading ----------------------------------------------------------------------------

    async def deployments(
        self,
        *,
        status: DeploymentStatus | str | None = None,
        model: str | None = None,
        owner: str | None = None,
    ) -> DeploymentList:
        """The deployments of a workspace; see `PlatformClient.deployments`."""
        return await self._run(self._core.deployments(status=status, model=model, owner=owner))

    async def deployment(self, ref: Ref) -> Deployment:
        """One deployment."""
        return await self._run(self._core.deployment(ref))

    async def resolve(self, ref: Ref) -> str:
        """``"owner/deployment"`` of a reference; see `PlatformClient.resolve`."""
        return await self._run(self._core.resolve(ref))

    async def metrics(
        self, ref: Ref, window: Window = "1h", view: View = "full"
    ) -> DeploymentMetrics:
        """What a deployment did over a window; see `PlatformClient.metrics`."""
        return await self._run(self._core.metrics(ref, window=window, view=view))

    def logs(
        self,
        ref: Ref,
        *,
        limit: int | None = 200,
        severity: str | Iterable[str] | None = None,
        since: datetime | None = None,
        max_pages: int = LOG_PAGES,
    ) -> AsyncIterator[LogEntry]:
        """The lines of a deployment's log, newest first; see `PlatformClient.logs`."""
        asked = LogQuestion(severities=severity, limit=limit, since=since, max_pages=max_pages)
        return self._lines(ref, LogWalk(asked))

    async def _lines(self, ref: Ref, walk: LogWalk) -> AsyncIterator[LogEntry]:
        while walk.more:
            page = await self._run(self._core.log_page(ref, walk))
            for entry in walk.take(page):
                yield entry

    async def health(self, ref: Ref) -> Health:
        """Ping a deployment; see `PlatformClient.health`."""
        return await self._run(self._core.health(ref))

    async def card(self, ref: Ref) -> Card:
        """A deployment at a glance; see `PlatformClient.card`."""
        return await self._run(card(self._core, ref))

    async def watch_card(
        self,
        ref: Ref,
        *,
        duration: timedelta | None = None,
        show: Callable[[Card], None] | None = None,
    ) -> Card:
        """Show the card of a deployment and keep it up to date; see `PlatformClient.watch_card`.

        As a task it leaves a notebook free, and ends when it is cancelled.
        """
        rounds = Rounds(self.clock, duration, show)
        while True:
            due = rounds.due
            seen = await self._run(card(self._core, ref, rounds.card, due))
            pause = rounds.take(seen, due)
            if pause is None:
                return seen
            await self.clock.asleep(pause)

    async def predict(
        self,
        ref: Ref,
        image: Image,
        *,
        conf: float = 0.25,
        iou: float = 0.7,
        imgsz: int | None = None,
        normalize: bool = False,
        decimals: int | None = None,
        bits: int | None = None,
        vid_stride: int | None = None,
        direct: bool = False,
    ) -> Prediction:
        """What a deployment finds in an image or a video; see `PlatformClient.predict`."""
        options = PredictOptions(
            conf=conf,
            iou=iou,
            imgsz=imgsz,
            normalize=normalize,
            decimals=decimals,
            bits=bits,
            vid_stride=vid_stride,
        )
        return await self._predict(ref, options, direct, image)

    async def _predict(
        self,
        ref: Ref,
        options: PredictOptions,
        direct: bool,  # noqa: FBT001 - private, bound by partial
        image: Image,
    ) -> Prediction:
        loaded = await asyncio.to_thread(load_image, image)
        return await self._run(self._core.predict(ref, loaded, options, direct=direct))

    async def endpoint(
        self,
        ref: Ref,
        *,
        conf: float = LOWEST_CONF,
        iou: float = 0.7,
        imgsz: int | None = None,
        direct: bool = False,
    ) -> AsyncEndpoint:
        """A deployment as a detector to await; see `PlatformClient.endpoint`."""
        options = PredictOptions(conf=conf, iou=iou, imgsz=imgsz)
        deployment = await self.deployment(ref)
        ask = partial(self._predict, deployment, options, direct)
        return AsyncEndpoint(deployment, options, ask)

    # --- changing ---------------------------------------------------------------------------

    async def start(
        self,
        ref: Ref,
        *,
        wait: bool = True,
        timeout: timedelta = TRANSITION_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = POLL,
    ) -> Deployment:
        """Start a stopped deployment; see `PlatformClient.start`."""
        ending = Ending(wait=wait, timeout=timeout, poll=poll)
        return await self._run(self._core.start(ref, ending))

    async def stop(
        self,
        ref: Ref,
        *,
        wait: bool = True,
        timeout: timedelta = TRANSITION_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = POLL,
    ) -> Deployment:
        """Stop a deployment; see `PlatformClient.stop`."""
        ending = Ending(wait=wait, timeout=timeout, poll=poll)
        return await self._run(self._core.stop(ref, ending))

    async def replace(
        self,
        ref: Ref,
        model: str,
        *,
        name: str | None = None,
        wait: bool = True,
        timeout: timedelta = TRANSITION_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = POLL,
    ) -> Deployment:
        """Roll another model out to a deployment; see `PlatformClient.replace`."""
        ending = Ending(wait=wait, timeout=timeout, poll=poll)
        return await self._run(self._core.replace(ref, model, name=name, ending=ending))

    async def wait(
        self,
        ref: Ref,
        until: DeploymentStatus | str = DeploymentStatus.READY,
        *,
        model: str | None = None,
        timeout: timedelta = TRANSITION_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = POLL,
    ) -> Deployment:
        """Wait for a transition that was asked for elsewhere; see `PlatformClient.wait`."""
        ending = Ending(timeout=timeout, poll=poll)
        return await self._run(self._core.wait(ref, until=until, model=model, ending=ending))

    # --- what models learn from -------------------------------------------------------------

    @property
    def datasets(self) -> AsyncDatasets:
        """Datasets: made, filled, frozen, read and labelled."""
        return self._datasets

    @property
    def models(self) -> AsyncModels:
        """Models: made, read and downloaded."""
        return self._models

    @property
    def training(self) -> AsyncTraining:
        """Trainings: started, watched and cancelled."""
        return self._training

    # --- everything else --------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """Where its time comes from; a `driftline.Monitor` without a clock of its own takes it."""
        return self._core.clock

    @property
    def calls_per_minute(self) -> int:
        """Calls that its key may make in a minute, predictions and the like apart."""
        return self._core.calls_per_minute

    async def owner(self) -> str:
        """The workspace that names without an owner belong to."""
        return await self._run(self._core.owner())

    async def request(self, call: Call) -> object:
        """Send a call that has no method here; see `PlatformClient.request`."""
        return await self._run(self._core.request(call))

    async def close(self) -> None:
        """Close the connections it opened itself."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    def __repr__(self) -> str:
        """Say where it leads; never the key."""
        return f"AsyncPlatformClient({self._base_url!r})"
