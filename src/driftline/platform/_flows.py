"""The core: every call of both faces as a conversation without I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from attrs import evolve, frozen

from driftline._checks import part
from driftline._clock import Clock
from driftline._http import checked_base_url
from driftline._progress import Progress
from driftline._retry import TOO_MANY, Retry, exchange
from driftline._wire import Call, Flow, Reply, Upload
from driftline.errors import (
    Conflict,
    InputError,
    NotAuthorized,
    NotFound,
    PlatformBroken,
    PlatformError,
    RateLimited,
    Unreachable,
    UnreadableReply,
)
from driftline.platform import _calls, _decode
from driftline.platform._calls import PredictOptions
from driftline.platform._deployment import (
    Address,
    Deployment,
    DeploymentList,
    DeploymentStatus,
    Ref,
    Wanted,
    checked_owner,
    checked_status,
    parse_model,
    parse_ref,
)
from driftline.platform._errors import error_of, succeeded, unreadable
from driftline.platform._health import Health
from driftline.platform._listing import split
from driftline.platform._logs import LogPage, LogWalk
from driftline.platform._metrics import DeploymentMetrics, ErrorRateUnit, View, Window
from driftline.platform._pace import Pace
from driftline.platform._prediction import Prediction
from driftline.platform._reading import Node, UnreadableError, parse, read
from driftline.platform._transition import Ending, Goal, Watch
from driftline.platform._waiting import Patience

T = TypeVar("T")
_log = logging.getLogger("driftline.platform")

LONGEST_HOLD_SECONDS: Final = 60.0
"""Limits are counted by the minute, so a 429 holds the other callers no longer than one."""


@frozen(kw_only=True)
class Settings:
    """What a client was told once.

    Attributes:
        clock: where time comes from.
        pace: what spaces calls out.
        retry: how often and how patiently a call is repeated.
        metrics_lag: how late the Platform's metrics are.
        error_rate_unit: unit of its ``errorRate``; None: not known.
    """

    clock: Clock
    pace: Pace
    retry: Retry
    metrics_lag: timedelta
    error_rate_unit: ErrorRateUnit | None


class Core:
    """The conversations with the Platform. Remembers who the key is and which id is where."""

    def __init__(self, settings: Settings, *, owner: str | None) -> None:
        """Keep the settings; nothing is asked yet."""
        self._settings = settings
        self._owner = None if owner is None else checked_owner(owner)
        self._by_id: dict[Wanted, Address] = {}
        self._service_urls: dict[Address, str] = {}
        self._models: dict[Address, tuple[str, str | None]] = {}

    # --- one call ---------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        return self._settings.clock

    @property
    def calls_per_minute(self) -> int:
        """Calls that the key may make in a minute."""
        return self._settings.pace.default_per_minute

    def exchange(self, call: Call, *, retry: Retry | None = None) -> Flow[Reply]:
        """Send a call, repeat it where that is right, and answer its success.

        Args:
            call: what to send.
            retry: how often and how patiently; None is the client's own.

        Raises:
            PlatformError: it did not succeed.
        """
        patience = retry or self._settings.retry
        reply = yield from exchange(call, patience, wait_of=partial(self._wait, call))
        if succeeded(reply):
            return reply
        raise error_of(call, reply, said=_decode.words(reply), wait=self._wait(call, reply))

    def _wait(self, call: Call, reply: Reply) -> float | None:
        wait = _decode.wait_seconds(reply)
        if reply.status == TOO_MANY and wait is not None:
            self._settings.pace.hold(call, min(wait, LONGEST_HOLD_SECONDS))
        return wait

    def ask(
        self, call: Call, decode: Callable[[Node], T], *, retry: Retry | None = None
    ) -> Flow[T]:
        """Send a call and read the answer.

        Args:
            call: what to send.
            decode: what makes the answer of the reply's JSON.
            retry: as in `exchange`.

        Raises:
            PlatformError: it did not succeed, or the answer is not what the contract says.
        """
        reply = yield from self.exchange(call, retry=retry)
        try:
            return read(parse(reply.content), decode)
        except UnreadableError as exc:
            problems = exc.problems
        raise unreadable(call, reply, problems)

    def request(self, call: Call) -> Flow[object]:
        """Send a call that has no method here; answer its JSON, None for an empty body."""
        part(call, Call, name="call", what="a driftline.platform.Call(…)")
        reply = yield from self.exchange(call)
        if not reply.content:
            return None
        try:
            return parse(reply.content)
        except UnreadableError as exc:
            problems = exc.problems
        raise unreadable(call, reply, problems)

    def watched(
        self,
        call: Call,
        decode: Callable[[Node], T],
        patience: Patience,
        ended: Callable[[T], bool],
    ) -> Flow[T]:
        """The first answer that `ended` takes, asked for until patience is at its end.

        Raises:
            TransitionFailed: it took too long.
        """
        seen: T | None = None
        with Progress(shown=None) as line:
            while True:
                trouble: PlatformError | None = None
                try:
                    seen = yield from self.ask(call, decode)
                    if ended(seen):
                        return seen
                except (PlatformBroken, Unreachable, RateLimited) as exc:
                    trouble = exc  # the work outlives a bad minute of the Platform's
                call = evolve(call, after_seconds=patience.pause_seconds(seen, trouble))
                line.tell(patience.told(seen))

    # --- where a deployment is --------------------------------------------------------------

    def owner(self) -> Flow[str]:
        """The owner that references without one mean."""
        if self._owner is None:
            self._owner = yield from self.ask(_calls.account(), _decode.username)
        return self._owner

    def address(self, ref: Ref) -> Flow[Address]:
        """Where a deployment is."""
        wanted = parse_ref(ref)
        if wanted in self._by_id:
            return self._by_id[wanted]
        owner = wanted.owner or (yield from self.owner())
        if not wanted.may_be_id:
            return Address(owner, wanted.name)
        self._by_id[wanted] = yield from self._look_up(owner, wanted.name)
        return self._by_id[wanted]

    def _look_up(self, owner: str, name: str) -> Flow[Address]:
        listed = yield from self._listed(owner, status=None, model=None)
        for deployment in listed:
            if name in {deployment.id, deployment.slug}:
                return Address(deployment.owner, deployment.slug)
        among = f"the {len(listed)} deployments of {owner!r}"
        if listed.unlisted:
            among = (
                f"the first {len(listed)} of {listed.total} deployments of {owner!r}, "
                "which is all the Platform lists"
            )
        msg = f"no deployment with the id {name!r} among {among}; pass 'owner/deployment' instead"
        call = _calls.deployments(owner, status=None, model=None)
        raise NotFound(msg, method=call.method, path=call.path)

    def resolve(self, ref: Ref) -> Flow[str]:
        """``"owner/deployment"`` of a reference."""
        return str((yield from self.address(ref)))

    def _at(self, ref: Ref, ask: Callable[[Address], Flow[T]]) -> Flow[T]:
        address = yield from self.address(ref)
        try:
            return (yield from ask(address))
        except NotFound:
            self._by_id.pop(parse_ref(ref), None)  # it may have been renamed: look again next time
            raise

    # --- reading ----------------------------------------------------------------------------

    def deployments(
        self, *, status: DeploymentStatus | str | None, model: str | None, owner: str | None
    ) -> Flow[DeploymentList]:
        """The deployments of a workspace."""
        if model is not None:
            parse_model(model)
        wanted = None if status is None else checked_status(status)
        named = (yield from self.owner()) if owner is None else checked_owner(owner)
        return (yield from self._listed(named, status=wanted, model=model))

    def _listed(
        self, owner: str, *, status: DeploymentStatus | None, model: str | None
    ) -> Flow[DeploymentList]:
        def page(state: DeploymentStatus | None, name: str | None) -> Flow[DeploymentList]:
            call = _calls.deployments(owner, status=state, model=name)
            return self.ask(call, _decode.deployment_list)

        listed = yield from page(status, model)
        if listed.unlisted and len(listed) >= _calls.LIST_LIMIT:
            listed = yield from split(listed, page, status=status, model=model)
        if listed.unlisted:
            _log.warning(
                "%s has %d deployments, of which the Platform lists %d: "
                "the other %d are reached by 'owner/deployment' only",
                owner,
                listed.total,
                len(listed),
                listed.unlisted,
            )
        return listed

    def deployment(self, ref: Ref) -> Flow[Deployment]:
        """One deployment."""
        return self._at(ref, self._deployment)

    def _deployment(self, address: Address) -> Flow[Deployment]:
        return self.ask(_calls.deployment(address), _decode.deployment_detail)

    def metrics(self, ref: Ref, *, window: Window, view: View) -> Flow[DeploymentMetrics]:
        """What a deployment did over a window."""
        if window not in _calls.WINDOWS or view not in _calls.VIEWS:
            msg = (
                f"window={window!r} must be one of {', '.join(_calls.WINDOWS)}, "
                f"and view={view!r} one of {', '.join(_calls.VIEWS)}"
            )
            raise InputError(msg)
        return self._at(ref, partial(self._metrics, window=window, view=view))

    def _metrics(self, address: Address, *, window: Window, view: View) -> Flow[DeploymentMetrics]:
        def decode(body: Node) -> DeploymentMetrics:
            asked = _decode.Question(
                deployment=str(address),
                window=window,
                view=view,
                lag=self._settings.metrics_lag,
                error_rate_unit=self._settings.error_rate_unit,
                at=self._settings.clock.now(),
            )
            return _decode.metrics(body, asked)

        return self.ask(_calls.metrics(address, window=window, view=view), decode)

    def log_page(self, ref: Ref, walk: LogWalk) -> Flow[LogPage]:
        """The next page of a walk through a log."""

        def ask(address: Address) -> Flow[LogPage]:
            call = _calls.logs(
                address,
                severities=walk.asked.severities,
                limit=walk.page_size,
                page_token=walk.token,
            )
            return self.ask(call, _decode.log_page)

        return self._at(ref, ask)

    def health(self, ref: Ref) -> Flow[Health]:
        """The answer to a ping."""

        def ask(address: Address) -> Flow[Health]:
            def decode(body: Node) -> Health:
                at = self._settings.clock.now()
                return _decode.health(body, deployment=str(address), at=at)

            return self.ask(_calls.health(address), decode)

        return self._at(ref, ask)

    def predict(
        self, ref: Ref, image: Upload | str, options: PredictOptions, *, direct: bool
    ) -> Flow[Prediction]:
        """What a deployment finds in an image."""

        def ask(address: Address) -> Flow[Prediction]:
            url = (yield from self._service_url(address)) if direct else None
            call = _calls.predict(address, image, options, service_url=url)
            try:
                found = yield from self.ask(call, partial(_decode.prediction, options=options))
            except PlatformError as exc:
                self._service_urls.pop(address, None)  # it may have moved: look again next time
                if direct and isinstance(exc, NotAuthorized):
                    exc.add_note("an endpoint's own address takes only the key it was made with")
                raise
            named = yield from self._model(address, found.context.model)
            return evolve(found, context=evolve(found.context, model=named))

        return self._at(ref, ask)

    def _model(self, address: Address, path: str | None) -> Flow[str | None]:
        """The model at an address, by the one name that it has everywhere.

        A reply names a path of the server's, if any ("Model path used, when the predict service
        reports one", contract 0.1.9). That is nobody's name, but it changes with the model: then
        the deployment is asked again. None where it is not known just now: not recorded.
        """
        if path is None:
            return None
        before, known = self._models.get(address, (None, None))
        if path == before:
            return known
        named: str | None = path
        try:
            seen = yield from self.ask(_calls.deployment(address), _decode.deployment_detail)
        except (PlatformBroken, Unreachable, RateLimited):
            return None  # the prediction was made and billed; its model is asked for next time
        except PlatformError:
            pass  # a key that may predict and not look: the path is all that tells models apart
        else:
            if seen.status.transitional:
                return None  # either of two models may have answered
            named = seen.model_address
        self._models[address] = path, named
        return named

    def _service_url(self, address: Address) -> Flow[str]:
        if address not in self._service_urls:
            call = _calls.deployment(address)
            url = yield from self.ask(call, _own_url)
            if url is None:
                msg = f"{address} has no address of its own before it was ready for the first time"
                raise Conflict(msg, method=call.method, path=call.path)
            self._service_urls[address] = url
        return self._service_urls[address]

    # --- changing ---------------------------------------------------------------------------

    def start(self, ref: Ref, ending: Ending) -> Flow[Deployment]:
        """Start a deployment."""
        return self._change(ref, _calls.start(), Goal(status=DeploymentStatus.READY), ending)

    def stop(self, ref: Ref, ending: Ending) -> Flow[Deployment]:
        """Stop a deployment."""
        return self._change(ref, _calls.stop(), Goal(status=DeploymentStatus.STOPPED), ending)

    def replace(
        self, ref: Ref, model: str, *, name: str | None, ending: Ending
    ) -> Flow[Deployment]:
        """Roll out another model."""
        project, slug = parse_model(model)
        goal = Goal(status=DeploymentStatus.READY, model=(project, slug))
        return self._change(ref, _calls.replace(project, slug, name), goal, ending)

    def _change(
        self, ref: Ref, body: Mapping[str, str], goal: Goal, ending: Ending
    ) -> Flow[Deployment]:
        address = yield from self.address(ref)
        call = _calls.change(address, body)
        try:
            taken = yield from self.ask(call, _decode.accepted)
        except (Unreachable, PlatformBroken, UnreadableReply) as exc:
            exc.add_note(
                f"{body['action']} may have been taken: read the deployment before asking again"
            )
            raise
        if taken.slug is not None:
            address = Address(address.owner, taken.slug)
        if not ending.wait:
            return (yield from self._deployment(address))
        return (yield from self._watched(address, Watch(goal, asked_for=True), ending))

    def wait(
        self, ref: Ref, *, until: DeploymentStatus | str, model: str | None, ending: Ending
    ) -> Flow[Deployment]:
        """Wait for a transition that somebody asked for."""
        wanted = None if model is None else parse_model(model)
        goal = Goal(status=checked_status(until), model=wanted)
        watch = Watch(goal, asked_for=False)
        return self._at(ref, partial(self._watched, watch=watch, ending=ending))

    def _watched(self, address: Address, watch: Watch, ending: Ending) -> Flow[Deployment]:
        call = _calls.deployment(address)
        missed = f"it did not get to {watch.goal}"
        patience = Patience(str(address), ending, clock=self.clock, missed=missed, path=call.path)
        return self.watched(
            call,
            _decode.deployment_detail,
            patience,
            lambda seen: watch.ended(seen, patience.elapsed),
        )


def _own_url(body: Node) -> str | None:
    url = _decode.deployment_detail(body).service_url
    return None if url is None else checked_base_url(url, credential=True)
