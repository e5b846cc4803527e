"""The local platform, as users start and script it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

from driftline._checks import part
from driftline.errors import ConfigError, InputError
from driftline.testing._clock import MONDAY, FrozenClock
from driftline.testing._platform import (
    _account,
    _dataset_routes,
    _datasets,
    _deployments,
    _image_routes,
    _models,
    _predict,
    _training,
    _uploads,
)
from driftline.testing._platform._behaviour import Behaviour
from driftline.testing._platform._endpoint import LocalDeployment, Status
from driftline.testing._platform._faults import Fault
from driftline.testing._platform._limits import RATE_LIMITS, RateLimiter
from driftline.testing._platform._router import OWNER, OWNER_LENGTH, SLUG_LENGTH, Operation, Router
from driftline.testing._platform._server import Server
from driftline.testing._platform._training import same_detector
from driftline.testing._platform._workspace import Trainer, Workspace
from driftline.testing._platform._world import Detector, ReceivedCall, Rules, World

if TYPE_CHECKING:
    from driftline.testing._platform._datasets import LocalDataset
    from driftline.testing._scenes import Frame

_ROUTER: Final = Router(
    (
        *_account.ROUTES,
        *_deployments.ROUTES,
        *_predict.ROUTES,
        *_dataset_routes.ROUTES,
        *_image_routes.ROUTES,
        *_uploads.ROUTES,
        *_models.ROUTES,
        *_training.ROUTES,
    ),
    retired=_deployments.RETIRED,
)
_STORAGE: Final = Router(_uploads.STORAGE_ROUTES)
LARGEST_ARCHIVE: Final = 2**30
"""Largest archive the storage host takes, bytes; they are held in memory."""
DEFAULT_DEPLOYMENT: Final = "line-3"
DEFAULT_MODEL: Final = "vision/model-v1"
DEFAULT_MODELS: Final = (DEFAULT_MODEL, "vision/model-v2")


def _shape_finder() -> Detector:
    from driftline.testing._detectors import (  # noqa: PLC0415 - only where nobody gave a detector
        ShapeFinder,
    )

    # All it can find: the threshold is the caller's, as on the Platform.
    return ShapeFinder(conf=0.01)


class LocalPlatform:
    """A real HTTP server on loopback that speaks the Platform's contract.

    Time is simulated: pass `clock` to your client, and pacing, ``Retry-After`` and polling wait
    without waiting. Clients on their own clock meet rate limits and transitions in real time.

    >>> with LocalPlatform() as local:
    ...     local.deployment("line-3")
    LocalDeployment('acme/line-3', ready, 'vision/model-v1')
    """

    def __init__(
        self,
        *,
        owner: str = "acme",
        deployments: Iterable[str] | None = None,
        detector: Detector | None = None,
        models: Mapping[str, Detector | None] | None = None,
        rate_limits: Mapping[str, int] | None = RATE_LIMITS,
        clock: FrozenClock | None = None,
        start: datetime = MONDAY,
        deploy_seconds: float = 60.0,
        stop_seconds: float = 0.0,
        metrics_lag: timedelta = timedelta(minutes=2),
        max_upload_bytes: int = 100_000_000,
        hang_seconds: float = 30.0,
        newer_fields: bool = False,
        seed: int | None = None,
        trainer: Trainer = same_detector,
        epoch_seconds: float = 60.0,
        ingest_seconds: float = 5.0,
        credits_cents: float = 2500.0,
    ) -> None:
        """Keep what it shall be; it listens from `start` or the ``with`` statement on.

        Args:
            owner: the workspace, 4 to 32 lower-case letters, digits and single hyphens.
            deployments: slugs of ready deployments of the model ``"vision/model-v1"``. None is
                one, ``"line-3"``, which gives way to the first that is added before it was used.
            detector: what models without one of their own detect with: a callable from a
                ``(height, width, 3)`` uint8 RGB frame to `Detections`. None finds the plain
                shapes that `driftline.testing` renders.
            models: ``"project/model"`` to its detector, None for `detector`; by default
                ``"vision/model-v1"`` and ``"vision/model-v2"``.
            rate_limits: calls a minute by category, the Platform's own by default; None for
                no limits.
            clock: simulated time to share; None starts one at `start`.
            start: where the clock starts, aware.
            deploy_seconds: how long creating, starting and replacing take, simulated or real.
            stop_seconds: how long stopping takes; 0 answers ``stopped`` at once.
            metrics_lag: how far metrics lie behind; the newest bucket is still filling.
            max_upload_bytes: largest request body, else 413.
            hang_seconds: real seconds after which a ``"hang"`` gives up.
            newer_fields: also send the fields added after the published contract
                (``metadata`` of a deployment, ``classNames`` of a prediction).
            seed: makes synthetic traffic random, the same for the same seed; None makes every
                minute like the last.
            trainer: what a training gives: called with `TrainingData`, the base model's
                detector and the arguments of the call, by the request that first sees the
                training's end; everybody else waits meanwhile. By default the model stays as
                it was.
            epoch_seconds: how long an epoch takes, simulated or real.
            ingest_seconds: how long processing an upload takes.
            credits_cents: what the workspace may spend on trainings.

        Raises:
            InputError: a value outside its range.
        """
        part(owner, str, name="owner", what="the name of a workspace")
        if len(owner) not in OWNER_LENGTH or not OWNER.fullmatch(owner):
            msg = f"owner={owner!r} must be 4 to 32 lower-case letters, digits and single hyphens"
            raise InputError(msg)
        what = "a FrozenClock, which simulated time is kept on"
        self._clock = (
            FrozenClock(start)
            if clock is None
            else part(clock, FrozenClock, name="clock", what=what)
        )
        self._hang_seconds = hang_seconds
        self._detector = detector
        self._world = World(
            owner=owner,
            api_key=f"ul_{hashlib.sha256(owner.encode()).hexdigest()[:40]}",
            clock=self._clock,
            limiter=RateLimiter(rate_limits),
            rules=Rules(
                deploy_seconds=deploy_seconds,
                stop_seconds=stop_seconds,
                metrics_lag=metrics_lag,
                max_upload_bytes=max_upload_bytes,
                newer_fields=newer_fields,
                seed=seed,
            ),
            default_detector=self._default_detector,
            workspace=Workspace(
                owner=owner,
                trainer=trainer,
                epoch_seconds=epoch_seconds,
                ingest_seconds=ingest_seconds,
                credits_cents=credits_cents,
            ),
        )
        if isinstance(deployments, str):
            msg = f"deployments={deployments!r} must be a list of slugs: [{deployments!r}]"
            raise InputError(msg)
        self._server: Server | None = None
        self._storage: Server | None = None
        self._provisional = False
        for reference, own in (dict.fromkeys(DEFAULT_MODELS) if models is None else models).items():
            self.add_model(reference, own)
        for slug in (DEFAULT_DEPLOYMENT,) if deployments is None else deployments:
            self.add_deployment(slug)
        self._provisional = deployments is None

    # -- where it is

    @property
    def url(self) -> str:
        """Base URL, ``http://127.0.0.1:port``.

        Raises:
            ConfigError: it does not listen yet.
        """
        if self._server is None:
            msg = "the LocalPlatform does not listen; use it in a with statement, or call start()"
            raise ConfigError(msg)
        return self._server.url

    @property
    def api_key(self) -> str:
        """The one key it accepts; the same for the same owner."""
        return self._world.api_key

    @property
    def storage_url(self) -> str:
        """Base URL of the storage host, another port: uploads go there, never with the key.

        Raises:
            ConfigError: it does not listen yet.
        """
        if self._storage is None:
            msg = "the LocalPlatform does not listen; use it in a with statement, or call start()"
            raise ConfigError(msg)
        return self._storage.url

    @property
    def credits_cents(self) -> float:
        """What the workspace has left to spend."""
        with self._world.lock:
            return self._world.workspace.credits_cents

    @property
    def owner(self) -> str:
        """The workspace."""
        return self._world.owner

    @property
    def clock(self) -> FrozenClock:
        """Its simulated time."""
        return self._clock

    # -- what is there

    def add_model(self, reference: str, detector: Detector | None = None) -> None:
        """Add a model, ``"project/model"``, with its own detector or the platform's.

        Raises:
            InputError: the reference is not two slugs.
        """
        parts = reference.split("/")
        if len(parts) != 2 or not all(_is_slug(part) for part in parts):  # noqa: PLR2004 - project/model
            msg = f"model {reference!r} must be 'project/model', lower-case words joined by hyphens"
            raise InputError(msg)
        with self._world.lock:
            self._world.models[reference] = detector

    def add_deployment(
        self,
        slug: str,
        *,
        model: str = DEFAULT_MODEL,
        name: str | None = None,
        region: str = "europe-west1",
        status: Status = "ready",
        requests_per_minute: float = 0.0,
        p95_ms: float = 160.0,
        p50_ms: float | None = None,
        error_rate: float = 0.0,
    ) -> LocalDeployment:
        """Add a deployment; a model nobody added yet is added with it.

        Args:
            slug: its name in addresses.
            model: ``"project/model"``.
            name: display name; None is the slug.
            region: where it claims to run.
            status: where it is in its life, with nothing on its way.
            requests_per_minute: synthetic requests a minute from now on.
            p95_ms: 95th percentile of its latency, milliseconds.
            p50_ms: median of its latency, milliseconds; None is half of `p95_ms`.
            error_rate: share of requests that fail, 0 to 1.

        Raises:
            InputError: the slug is taken or no slug, or a value is outside its range.
        """
        self._give_way()
        if slug in self._world.deployments:
            msg = f"there is a deployment {slug!r} already; take another name"
            raise InputError(msg)
        if not _is_slug(slug):
            msg = f"deployment {slug!r} must be lower-case words joined by hyphens"
            raise InputError(msg)
        behaviour = Behaviour(
            requests_per_minute=requests_per_minute,
            p95_ms=p95_ms,
            p50_ms=p50_ms,
            error_rate=error_rate,
        )
        if model not in self._world.models:
            self.add_model(model)
        with self._world.lock:
            return self._world.deploy(
                slug,
                model=model,
                name=name or slug,
                region=region,
                behaviour=behaviour,
                status=status,
            )

    def deployment(self, slug: str) -> LocalDeployment:
        """The deployment of that slug, or of that ``"owner/slug"``.

        Raises:
            InputError: there is none.
        """
        self._provisional = False
        with self._world.lock:
            found = self._world.deployments.get(slug.removeprefix(f"{self.owner}/"))
            known = sorted(self._world.deployments)
        if found is None:
            msg = f"no deployment {slug!r} here; there are {known}"
            raise InputError(msg)
        return found

    def add_dataset(
        self,
        slug: str,
        *,
        frames: Iterable[Frame] = (),
        split: Literal["train", "val", "test"] = "train",
        class_names: Iterable[str] | None = None,
    ) -> LocalDataset:
        """Add a private dataset that is ready.

        Args:
            slug: its name in addresses.
            frames: its images with their labels; stored as JPEG, as the Platform does.
            split: the part they belong to.
            class_names: names of its classes; None are those of the frames.

        Raises:
            InputError: the slug is taken or no slug.
            MissingExtra: Pillow is not installed.
        """
        if not _is_slug(slug):
            msg = f"dataset {slug!r} must be lower-case words joined by hyphens"
            raise InputError(msg)
        given = list(frames)
        known = dict(pair for frame in given for pair in frame.truth.class_names.items())
        names = [known.get(i, str(i)) for i in range(max(known, default=-1) + 1)]
        with self._world.lock:
            _datasets.require_free(self._world, slug)
            made = _datasets.make_dataset(
                self._world, slug, name=slug, class_names=class_names or names
            )
            members = [_datasets.member_of(frame, split) for frame in given]
            made.add(self._world, members, split=split, policy="keep_both")
        return made

    def dataset(self, slug: str) -> LocalDataset:
        """The dataset of that slug, or of that ``"owner/slug"``, as it is now.

        Raises:
            InputError: there is none.
        """
        self._world.settle()
        with self._world.lock:
            found = self._world.workspace.datasets.get(slug.removeprefix(f"{self.owner}/"))
            known = sorted(self._world.workspace.datasets)
        if found is None:
            msg = f"no dataset {slug!r} here; there are {known}"
            raise InputError(msg)
        return found

    # -- what happens

    def break_next_ingest(self, message: str = "The archive cannot be read") -> None:
        """Let the next ingest fail, with these words."""
        with self._world.lock:
            self._world.workspace.break_ingest = message

    def break_next_training(self, message: str = "CUDA out of memory", *, epoch: int = 1) -> None:
        """Let the next training fail once so many epochs are done, with these words."""
        with self._world.lock:
            self._world.workspace.break_training = (message, epoch)

    def fault(
        self,
        kind: Fault,
        *,
        on: Operation | None = None,
        times: int | None = 1,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Let calls go wrong, whichever deployment they are about.

        Args:
            kind: what goes wrong, see `Fault`; an int is an HTTP status.
            on: the operation it hits; None hits all.
            times: how often; None until `clear_faults`.
            retry_after_seconds: the ``Retry-After`` of a status; None sends none.

        Raises:
            InputError: a kind, an operation or a number that means nothing here.
        """
        self._world.faults.add(
            kind, on=on, slug=None, times=times, retry_after_seconds=retry_after_seconds
        )

    def clear_faults(self) -> None:
        """Forget every fault still to come."""
        self._world.faults.clear()

    @property
    def calls(self) -> tuple[ReceivedCall, ...]:
        """The calls received so far, oldest first; the newest 100 000 are kept."""
        with self._world.lock:
            return tuple(self._world.calls)

    # -- life

    def start(self) -> Self:
        """Listen on two free ports of 127.0.0.1: its own and that of its storage host.

        Raises:
            ConfigError: it listens already.
        """
        if self._server is not None:
            msg = f"this LocalPlatform listens already, on {self._server.url}"
            raise ConfigError(msg)
        self._server = Server(
            lambda request: self._world.answer(_ROUTER, request),
            request_id=self._world.next_request_id,
            max_body=self._world.rules.max_upload_bytes,
            hang_seconds=self._hang_seconds,
        )
        self._storage = Server(
            lambda request: self._world.answer(_STORAGE, request),
            request_id=self._world.next_request_id,
            max_body=LARGEST_ARCHIVE,
            hang_seconds=self._hang_seconds,
        )
        self._world.base_url = self._server.url
        self._world.workspace.storage_url = self._storage.url
        self._server.open()
        self._storage.open()
        return self

    def close(self) -> None:
        """Stop listening and leave no socket and no thread behind."""
        for server in (self._server, self._storage):
            if server is not None:
                server.close()
        self._server = self._storage = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Say where it is and what is there; never the key."""
        where = self._server.url if self._server is not None else "closed"
        return (
            f"LocalPlatform({self.owner!r}, {where}, deployments={list(self._world.deployments)})"
        )

    def _give_way(self) -> None:
        """Drop the deployment that is there by default, unless somebody has used it."""
        if self._provisional and not self._world.calls:
            self._world.deployments.clear()
        self._provisional = False

    def _default_detector(self) -> Detector:
        if self._detector is None:
            self._detector = _shape_finder()
        return self._detector


def _is_slug(text: str) -> bool:
    return len(text) in SLUG_LENGTH and bool(OWNER.fullmatch(text))
