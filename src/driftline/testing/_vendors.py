"""Datadog, PagerDuty, an Alertmanager, Grafana and an OTLP receiver on loopback, in one server."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

from attrs import define, field, frozen

from driftline.errors import ConfigError
from driftline.testing._platform._router import Request, Response
from driftline.testing._platform._server import Server

MAX_BODY: Final = 50_000_000


@frozen(kw_only=True)
class VendorCall:
    """One call a vendor received.

    Attributes:
        method: HTTP verb.
        path: path, without the query.
        query: query parameters.
        headers: header names in lower case.
        body: the body, unpacked where it was compressed.
        size: bytes that were sent, compressed as they were.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict, repr=lambda headers: f"<{len(headers)}>")
    body: bytes = field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    size: int = 0

    @property
    def json(self) -> Any:
        """The body as JSON; ``NaN`` and its like are refused, as they are no JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body, parse_constant=_no_constant)


@frozen(kw_only=True)
class VendorReply(Response):
    """What a vendor answers: status, headers, and `body` as JSON or `content` as it is."""


Trouble: TypeAlias = VendorReply | Literal["hang", "reset"] | int
"""What goes wrong: a reply of one's own, a hang, a reset, or a status with a JSON error."""

Judge: TypeAlias = Callable[[VendorCall], str | None]
"""Says what is wrong with a call, which then gets a 400 with these words; None: nothing."""


@define
class _State:
    """What the vendors keep."""

    incidents: dict[str, bool] = field(factory=dict)
    alerts: dict[str, dict[str, Any]] = field(factory=dict)
    markers: dict[int, dict[str, Any]] = field(factory=dict)

    def active(self) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        return [a for a in self.alerts.values() if datetime.fromisoformat(a["endsAt"]) > now]

    def open_keys(self) -> frozenset[str]:
        alerts = {alert["labels"].get("alert_key", "") for alert in self.active()}
        return frozenset(alerts | {key for key, is_open in self.incidents.items() if is_open})


class LocalVendors:
    """A loopback server that takes what the sinks send, keeps it, and fails when told to.

    Each vendor's paths are its own, so that one address serves all of them.

    >>> with LocalVendors() as vendors:
    ...     vendors.calls
    ()
    """

    def __init__(self, *, judge: Judge | None = None, hang_seconds: float = 30.0) -> None:
        """Keep what it shall be; it listens within a ``with`` statement.

        Args:
            judge: what else a call must satisfy, such as the vendor's published schema.
            hang_seconds: real seconds after which a ``"hang"`` gives up.
        """
        self._judge = judge
        self._hang_seconds = hang_seconds
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._calls: list[VendorCall] = []
        self._troubles: deque[tuple[str, Trouble]] = deque()
        self._state = _State()

    def __enter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        self._server = Server(
            self._answer, request_id=lambda: "-", max_body=MAX_BODY, hang_seconds=self._hang_seconds
        )
        self._server.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close every connection and stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def url(self) -> str:
        """Base URL, ``http://127.0.0.1:port``.

        Raises:
            ConfigError: it does not listen.
        """
        if self._server is None:
            msg = "the LocalVendors do not listen; use them in a with statement"
            raise ConfigError(msg)
        return self._server.url

    @property
    def calls(self) -> tuple[VendorCall, ...]:
        """The calls received so far, oldest first."""
        with self._lock:
            return tuple(self._calls)

    @property
    def open_keys(self) -> frozenset[str]:
        """Keys of what is open: PagerDuty's and IRM's incidents, Datadog's and Alertmanager's alerts."""
        with self._lock:
            return self._state.open_keys()

    @property
    def alerts(self) -> tuple[dict[str, Any], ...]:
        """The Alertmanager's active alerts."""
        with self._lock:
            return tuple(self._state.active())

    @property
    def markers(self) -> tuple[dict[str, Any], ...]:
        """Grafana's annotations, oldest first."""
        with self._lock:
            return tuple(self._state.markers.values())

    def trouble(self, what: Trouble, *, on: str = "/", times: int = 1) -> None:
        """Let the next calls whose path begins with `on` go wrong."""
        with self._lock:
            self._troubles.extend((on, what) for _ in range(times))

    def _answer(self, request: Request) -> Response:
        call = VendorCall(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=_unpacked(request),
            size=len(request.body),
        )
        with self._lock:
            self._calls.append(call)
            if (planned := self._planned(call.path)) is not None:
                return planned
            if said := self._judge(call) if self._judge is not None else None:
                return VendorReply(status=400, body={"errors": [said]})
            return self._reply(call)

    def _planned(self, path: str) -> Response | None:
        for index, (on, what) in enumerate(self._troubles):
            if path.startswith(on):
                del self._troubles[index]
                if isinstance(what, int):
                    return VendorReply(status=what, body={"error": f"scripted {what}"})
                return VendorReply(damage=what) if isinstance(what, str) else what
        return None

    def _reply(self, call: VendorCall) -> VendorReply:
        for (method, path), answer in _ANSWERS.items():
            if call.method == method and path in call.path:
                return answer(self._state, call)
        return VendorReply(status=200 if call.method == "POST" else 404)

    def __repr__(self) -> str:
        """Say where they listen."""
        return f"LocalVendors({self._server.url if self._server else 'closed'!r})"


def _validate(state: _State, call: VendorCall) -> VendorReply:
    del state
    known = bool(call.headers.get("dd-api-key"))
    return VendorReply(status=200 if known else 403, body={"valid": known, "status": "ok"})


def _series(state: _State, call: VendorCall) -> VendorReply:
    del state, call
    return VendorReply(status=202, body={"errors": []})


def _event(state: _State, call: VendorCall) -> VendorReply:
    attributes = call.json["data"]["attributes"]
    if attributes["category"] == "alert":
        status = attributes["attributes"]["status"]
        state.incidents[attributes.get("aggregation_key", "")] = status != "ok"
    return VendorReply(status=202, body={"data": {"type": "event"}})


def _service_check(state: _State, call: VendorCall) -> VendorReply:
    del state, call
    return VendorReply(status=202, body={"status": "ok"})


def _enqueue(state: _State, call: VendorCall) -> VendorReply:
    event = call.json
    key = event.get("dedup_key", "")
    if event.get("event_action") == "trigger":
        state.incidents[key] = True
    elif key in state.incidents:  # an end without a beginning is taken and dropped
        state.incidents[key] = False
    said = {"status": "success", "message": "Event processed", "dedup_key": key}
    return VendorReply(status=202, body=said)


def _post_alerts(state: _State, call: VendorCall) -> VendorReply:
    for alert in call.json:
        state.alerts[json.dumps(alert["labels"], sort_keys=True)] = alert
    return VendorReply(content=b"", headers={"Content-Type": "text/plain"})


def _get_alerts(state: _State, call: VendorCall) -> VendorReply:
    name, _, value = call.query.get("filter", "=").partition("=")
    wanted = value.strip('"')
    found = [a for a in state.active() if not name or a["labels"].get(name) == wanted]
    return VendorReply(content=json.dumps(found).encode())


def _status(state: _State, call: VendorCall) -> VendorReply:
    del state, call
    return VendorReply(body={"versionInfo": {"version": "local"}, "cluster": {}})


def _otlp(state: _State, call: VendorCall) -> VendorReply:
    del state, call
    return VendorReply(body={})


def _find_markers(state: _State, call: VendorCall) -> VendorReply:
    tag = call.query.get("tags", "")
    found = [m for m in state.markers.values() if tag in m["tags"]]
    return VendorReply(content=json.dumps(found[: int(call.query.get("limit", 100))]).encode())


def _set_marker(state: _State, call: VendorCall) -> VendorReply:
    number = len(state.markers) + 1
    state.markers[number] = {"id": number, "timeEnd": call.json["time"], **call.json}
    return VendorReply(body={"id": number, "message": "Annotation added"})


def _change_marker(state: _State, call: VendorCall) -> VendorReply:
    number = int(call.path.rpartition("/")[2])
    if number not in state.markers:
        return VendorReply(status=404, body={"message": "Annotation not found"})
    state.markers[number] |= call.json
    return VendorReply(body={"message": "Annotation patched"})


def _irm(state: _State, call: VendorCall) -> VendorReply:
    body = call.json
    state.incidents[body["alert_uid"]] = body["state"] == "alerting"
    return VendorReply(content=b'"Ok."')


def _irm_page(state: _State, call: VendorCall) -> VendorReply:
    del state, call
    page = b"<html>Integration link</html>"
    return VendorReply(content=page, headers={"Content-Type": "text/html"})


_ANSWERS: Final[dict[tuple[str, str], Callable[[_State, VendorCall], VendorReply]]] = {
    ("GET", "/api/v1/validate"): _validate,
    ("GET", "/api/v2/validate_keys"): _validate,
    ("POST", "/api/v2/series"): _series,
    ("POST", "/api/v2/events"): _event,
    ("POST", "/api/v1/check_run"): _service_check,
    ("POST", "/v2/enqueue"): _enqueue,
    ("POST", "/v2/change/enqueue"): _series,
    ("POST", "/api/v2/alerts"): _post_alerts,
    ("GET", "/api/v2/alerts"): _get_alerts,
    ("GET", "/api/v2/status"): _status,
    ("POST", "/v1/metrics"): _otlp,
    ("GET", "/api/annotations"): _find_markers,
    ("POST", "/api/annotations"): _set_marker,
    ("PATCH", "/api/annotations/"): _change_marker,
    ("POST", "/formatted_webhook/"): _irm,
    ("GET", "/formatted_webhook/"): _irm_page,
}


def _unpacked(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "")
    if encoding == "gzip":
        return gzip.decompress(request.body)
    return zlib.decompress(request.body) if encoding == "deflate" else request.body


def _no_constant(name: str) -> float:
    msg = f"{name} is no JSON"
    raise ValueError(msg)
