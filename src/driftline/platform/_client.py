"""The blocking face of the Platform: one line a method; the core has the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from driftline._clock import Clock
from driftline._http import HttpClient, Transport
from driftline._retry import Retry
from driftline._secret import Secret
from driftline._wire import Call, Flow, drive
from driftline.platform._calls import PredictOptions
from driftline.platform._card import Card, Rounds, card
from driftline.platform._deployment import Deployment, DeploymentList, DeploymentStatus, Ref
from driftline.platform._endpoint import LOWEST_CONF, Endpoint
from driftline.platform._health import Health
from driftline.platform._images import Image, load_image
from driftline.platform._learning import Datasets, Models, Training
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


class PlatformClient:
    """Ultralytics Platform: deployments, and the datasets, models and trainings behind them.

    One client serves many threads. All clients of one key in this process share its rate limits:
    calls wait their turn instead of running into a 429. No call follows a redirection, and the
    key goes to no host but the Platform's (and, on request, a deployment's own address).

    Deployments are named ``"owner/deployment"`` as in their URL; a bare name takes the client's
    owner, a 24-digit id is looked up in the listing. `driftline.errors` says what may go wrong:
    every method may raise `driftline.errors.PlatformError`, by meaning, and
    `driftline.errors.InputError` for an argument.
    """

    _base_url = ""  # shown by a traceback in the midst of __init__

    def __init__(
        self,
        api_key: str | Secret | None = None,
        base_url: str | None = None,
        owner: str | None = None,
        clock: Clock | None = None,
        *,
        http_client: HttpClient | None = None,
        timeout: timedelta = TIMEOUT,
        retry: Retry | None = None,
        rate_limits: Mapping[str, int] | None = None,
        metrics_lag: timedelta = METRICS_LAG,
        error_rate_unit: ErrorRateUnit | None = None,
    ) -> None:
        """Keep what to ask and how; nothing is sent yet.

        Args:
            api_key: ``ul_…``; else the environment's ``ULTRALYTICS_API_KEY``.
            base_url: where the Platform is; else the environment's
                ``ULTRALYTICS_PLATFORM_URL``, else https://platform.ultralytics.com.
            owner: workspace that names without an owner belong to; else that of the key.
            clock: where time comes from and where waiting is done; else the machine's.
            http_client: an httpx client to use; it is not closed by this one.
            timeout: bound on each step of a call; pings and predictions take 90 s at least
                the first time, because an endpoint may have to wake up.
            retry: how often and how patiently a call is repeated.
            rate_limits: calls a minute by category where your plan's differ from the
                documented ones (``default`` 100, ``predict`` 20, ``mutation`` 10).
            metrics_lag: how late the Platform's metrics are; newer buckets are not settled.
            error_rate_unit: what unit the Platform's own ``errorRate`` has, if you know;
                it is stated nowhere, so that it is not used where counts are missing.

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
        self._transport = Transport(
            parts.base_url,
            authorization=key,
            headers=parts.headers,
            client=http_client,
            clock=parts.clock,
            pace=parts.pace,
            timeout_seconds=timeout.total_seconds(),
        )
        learning = Learning(parts.core)
        self._datasets = Datasets(self._run, learning)
        self._models = Models(self._run, learning)
        self._training = Training(self._run, learning)

    def _run(self, flow: Flow[T]) -> T:
        with self._transport.masking():
            return drive(flow, self._transport.send)

    # --- reading ----------------------------------------------------------------------------

    def deployments(
        self,
        *,
        status: DeploymentStatus | str | None = None,
        model: str | None = None,
        owner: str | None = None,
    ) -> DeploymentList:
        """The deployments of a workspace.

        The Platform lists 100 and has no next page. Of a larger workspace the list is put
        together by status and model, in up to 60 further calls; `DeploymentList.total` says how
        many there are, and a warning is logged where that is more than were found.

        Args:
            status: only those of this status.
            model: only those of this model, ``"project/model"``.
            owner: workspace; else the client's.
        """
        return self._run(self._core.deployments(status=status, model=model, owner=owner))

    def deployment(self, ref: Ref) -> Deployment:
        """One deployment."""
        return self._run(self._core.deployment(ref))

    def resolve(self, ref: Ref) -> str:
        """``"owner/deployment"`` of a reference; asks only where the reference does not say."""
        return self._run(self._core.resolve(ref))

    def metrics(self, ref: Ref, window: Window = "1h", view: View = "full") -> DeploymentMetrics:
        """What a deployment did over a window that ends now.

        Args:
            ref: which one.
            window: ``1h``, ``6h``, ``24h``, ``7d`` or ``30d``. Buckets are a minute long in
                ``1h`` only, so that a rule over five minutes needs that one.
            view: ``full``; ``overview`` (requests, errors and p95; the Platform of 0.1.99 and
                later); or ``sparkline`` (24 hourly counts without times, whatever the window).
        """
        return self._run(self._core.metrics(ref, window=window, view=view))

    def logs(
        self,
        ref: Ref,
        *,
        limit: int | None = 200,
        severity: str | Iterable[str] | None = None,
        since: datetime | None = None,
        max_pages: int = LOG_PAGES,
    ) -> Iterator[LogEntry]:
        """The lines of a deployment's log, newest first; pages are fetched as they are needed.

        Args:
            ref: which one.
            limit: most lines; None for as many as there are.
            severity: exactly these (the Platform knows no threshold); None for all. For what
                people mean by errors, pass `ERROR_SEVERITIES`.
            since: none older than this.
            max_pages: most pages; a warning is logged where there are more.
        """
        asked = LogQuestion(severities=severity, limit=limit, since=since, max_pages=max_pages)
        return self._lines(ref, LogWalk(asked))

    def _lines(self, ref: Ref, walk: LogWalk) -> Iterator[LogEntry]:
        while walk.more:
            page = self._run(self._core.log_page(ref, walk))
            yield from walk.take(page)

    def health(self, ref: Ref) -> Health:
        """Ping a deployment. An unhealthy one is an answer, no error.

        A ping wakes an endpoint that scaled to zero (up to a minute), counts as a request in its
        metrics and may cost: it does not belong into the loop that polls metrics.
        """
        return self._run(self._core.health(ref))

    def card(self, ref: Ref) -> Card:
        """A deployment at a glance: status, health, 24 hours of numbers, the newest log lines.

        It pings an endpoint that is ready; see `health` for what that means.
        """
        return self._run(card(self._core, ref))

    def watch_card(
        self,
        ref: Ref,
        *,
        duration: timedelta | None = None,
        show: Callable[[Card], None] | None = None,
    ) -> Card:
        """Show the card of a deployment and keep it up to date, as the Platform's page does.

        Numbers and log are asked for every 60 s, the status every 15 s (3 s while it changes),
        the health 20 s after it was bad. It blocks until it is interrupted or the time is over;
        in a notebook ``asyncio.create_task(client.watch_card(ref))`` of the async client does
        not. What fails later than the first look is shown, not raised.

        Args:
            ref: which one.
            duration: for how long; None: until it is interrupted.
            show: what to do with each card; None: show it in place in a notebook, write it to
                standard output elsewhere.

        Returns:
            The last card.
        """
        rounds = Rounds(self.clock, duration, show)
        while True:
            due = rounds.due
            seen = self._run(card(self._core, ref, rounds.card, due))
            pause = rounds.take(seen, due)
            if pause is None:
                return seen
            self.clock.sleep(pause)

    def predict(
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
        """What a deployment finds in an image or a video.

        Args:
            ref: which one.
            image: a path, a URL, the bytes of a file, or a uint8 array (RGB).
            conf: confidence threshold, 0.01 to 1. The Platform's default, 0.25, cuts the
                distribution of confidences off; for drift and accuracy look lower.
            iou: IoU threshold of the non-maximum suppression, 0 to 0.95.
            imgsz: inference size, px, 32 to 1280; None is the model's own.
            normalize: have coordinates sent from 0 to 1; here they are pixels again.
            decimals: decimal places of coordinates, 0 to 10.
            bits: bits of a depth map, 8, 12 or 16.
            vid_stride: look at every n-th frame of a video.
            direct: ask the endpoint at its own address: no limit of 20 calls a minute, but it
                takes no other key than the one it was made with.
        """
        options = PredictOptions(
            conf=conf,
            iou=iou,
            imgsz=imgsz,
            normalize=normalize,
            decimals=decimals,
            bits=bits,
            vid_stride=vid_stride,
        )
        return self._predict(ref, options, direct, image)

    def _predict(self, ref: Ref, options: PredictOptions, direct: bool, image: Image) -> Prediction:  # noqa: FBT001 - private, bound by partial
        loaded = load_image(image)
        return self._run(self._core.predict(ref, loaded, options, direct=direct))

    def endpoint(
        self,
        ref: Ref,
        *,
        conf: float = LOWEST_CONF,
        iou: float = 0.7,
        imgsz: int | None = None,
        direct: bool = False,
    ) -> Endpoint:
        """A deployment as a detector, for whatever takes a `driftline.records.Predictor`.

        Args:
            ref: which one; it is looked up now, so that its detections carry the model's name.
            conf: as in `predict`; the lowest by default, because a higher one cuts off what
                the mean average precision and the distribution of confidences are made of.
            iou: as in `predict`.
            imgsz: as in `predict`.
            direct: as in `predict`.
        """
        options = PredictOptions(conf=conf, iou=iou, imgsz=imgsz)
        deployment = self.deployment(ref)
        return Endpoint(deployment, options, partial(self._predict, deployment, options, direct))

    # --- changing ---------------------------------------------------------------------------

    def start(
        self,
        ref: Ref,
        *,
        wait: bool = True,
        timeout: timedelta = TRANSITION_TIMEOUT,
        poll: timedelta = POLL,
    ) -> Deployment:
        """Start a stopped deployment; it costs from then on.

        Args:
            ref: which one.
            wait: whether to wait until it is ready.
            timeout: how long that may take.
            poll: how often to look.

        Returns:
            The deployment as it stands then.

        Raises:
            TransitionFailed: it ended elsewhere, or not in time.
        """
        return self._run(self._core.start(ref, Ending(wait=wait, timeout=timeout, poll=poll)))

    def stop(
        self,
        ref: Ref,
        *,
        wait: bool = True,
        timeout: timedelta = TRANSITION_TIMEOUT,
        poll: timedelta = POLL,
    ) -> Deployment:
        """Stop a deployment: it answers nobody until it is started again.

        Arguments, answer and errors as in `start`.
        """
        return self._run(self._core.stop(ref, Ending(wait=wait, timeout=timeout, poll=poll)))

    def replace(
        self,
        ref: Ref,
        model: str,
        *,
        name: str | None = None,
        wait: bool = True,
        timeout: timedelta = TRANSITION_TIMEOUT,
        poll: timedelta = POLL,
    ) -> Deployment:
        """Roll another model out to a deployment, all at once.

        The old model serves until the new one is healthy, then all traffic moves; address and
        key stay. If it fails the old model stays. Record `Deployment.model_ref` before: rolling
        back is a replace with that one.

        Args:
            ref: which one.
            model: ``"project/model"`` of the same workspace.
            name: new name for people; None keeps the old.
            wait: whether to wait until the new model serves.
            timeout: how long that may take.
            poll: how often to look.

        Returns:
            The deployment as it stands then.

        Raises:
            Conflict: that model is deployed already, or a transition is under way.
            TransitionFailed: it ended elsewhere, or not in time.
        """
        ending = Ending(wait=wait, timeout=timeout, poll=poll)
        return self._run(self._core.replace(ref, model, name=name, ending=ending))

    def wait(
        self,
        ref: Ref,
        until: DeploymentStatus | str = DeploymentStatus.READY,
        *,
        model: str | None = None,
        timeout: timedelta = TRANSITION_TIMEOUT,
        poll: timedelta = POLL,
    ) -> Deployment:
        """Wait for a transition that was asked for elsewhere.

        Args:
            ref: which one.
            until: the status it should get to.
            model: ``"project/model"`` that it should serve then; None for any.
            timeout: how long that may take.
            poll: how often to look.

        Raises:
            TransitionFailed: it ended elsewhere, or not in time.
        """
        ending = Ending(timeout=timeout, poll=poll)
        return self._run(self._core.wait(ref, until=until, model=model, ending=ending))

    # --- what models learn from -------------------------------------------------------------

    @property
    def datasets(self) -> Datasets:
        """Datasets: made, filled, frozen, read and labelled."""
        return self._datasets

    @property
    def models(self) -> Models:
        """Models: made, read and downloaded."""
        return self._models

    @property
    def training(self) -> Training:
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

    def owner(self) -> str:
        """The workspace that names without an owner belong to."""
        return self._run(self._core.owner())

    def request(self, call: Call) -> object:
        """Send a call that has no method here: paced, repeated and refused like the others.

        Args:
            call: what to send; to another host it goes without the key.

        Returns:
            The JSON of the answer; None for an empty one.
        """
        return self._run(self._core.request(call))

    def close(self) -> None:
        """Close the connections it opened itself."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Say where it leads; never the key."""
        return f"PlatformClient({self._base_url!r})"
