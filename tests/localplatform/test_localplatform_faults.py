"""Scripted trouble arrives as scripted, ends, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack

import httpx
import pytest
from localkit import LINE, client_of, wait_for_a_call

from driftline.errors import InputError
from driftline.testing import LocalPlatform
from driftline.testing._platform._router import Response
from driftline.testing._platform._server import MAX_CONNECTIONS, Server

METRICS = f"{LINE}/metrics"


def raw(local: LocalPlatform, data: bytes) -> bytes:
    """What comes back for bytes sent as they are, until the other side closes."""
    port = int(local.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_hang(local, http):
    """A hang gives no reply; the client's own time-out ends it, and the next call works."""
    local.fault("hang", on="metrics")
    with pytest.raises(httpx.ReadTimeout):
        http.get(METRICS, timeout=0.2)

    wait_for_a_call(local)  # else the next one may be the one that hangs
    assert 200 == http.get(METRICS).status_code


def test_hang_is_bounded():
    """A client that never gives up is let go after `hang_seconds`."""
    with (
        LocalPlatform(deployments=["line-3"], hang_seconds=0.2) as local,
        client_of(local, timeout=None) as http,
    ):
        local.fault("hang")
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(METRICS)


def test_closing_ends_a_hang():
    """Closing the platform does not wait for a hang, and leaves no thread."""
    before = set(threading.enumerate())
    failures = []

    def ask(url, key):
        try:
            httpx.get(url + METRICS, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        except httpx.HTTPError as exc:
            failures.append(exc)

    with LocalPlatform(deployments=["line-3"], hang_seconds=3600) as local:
        local.fault("hang")
        client = threading.Thread(target=ask, args=(local.url, local.api_key))
        client.start()
        wait_for_a_call(local)
    client.join()

    # Not a time-out: the platform let go, not the client.
    assert [httpx.RemoteProtocolError] == [type(failure) for failure in failures]
    assert set(threading.enumerate()) <= before


def test_closing_ends_idle_connections():
    """Connections that clients keep open do not keep the platform open."""
    before = set(threading.enumerate())
    local = LocalPlatform(deployments=["line-3"]).start()
    clients = [client_of(local) for _ in range(5)]
    for client in clients:
        client.get(LINE)
    local.close()
    for client in clients:
        client.close()

    assert set(threading.enumerate()) <= before


def test_closing_waits_for_threads():
    """A thread whose connection has ended already is waited for: closing leaves none behind."""
    ended, go = threading.Event(), threading.Event()

    class Lingering(Server):
        def _converse(self, request, client_address):
            super()._converse(request, client_address)
            ended.set()
            assert go.wait(60)

    server = Lingering(
        lambda _: Response(content=b"", headers={}), request_id=str, max_body=1, hang_seconds=1
    )
    server.open()
    httpx.get(server.url, timeout=60)
    assert ended.wait(60)
    closing = threading.Thread(target=server.close)
    closing.start()
    closing.join(0.2)
    waits = closing.is_alive()
    go.set()
    closing.join(60)

    assert (True, False) == (waits, closing.is_alive())


def test_reset(local, http):
    """A reset is a reset."""
    local.fault("reset")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        http.get(METRICS)


def test_truncated(local, http):
    """A truncated reply ends before its length."""
    local.fault("truncated")
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        http.get(METRICS)


def test_malformed_and_unexpected(local, http):
    """Complete replies that are no JSON, and JSON that is no reply."""
    local.fault("malformed")
    local.fault("unexpected")
    malformed, unexpected = http.get(METRICS), http.get(METRICS)

    assert [200, 200] == [malformed.status_code, unexpected.status_code]
    with pytest.raises(ValueError):
        malformed.json()
    assert {"unexpected"} == set(unexpected.json())


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 409, 413, 418, 422, 429, 500, 502, 503]
)
def test_status(local, http, status):
    """Any status, with the Platform's error body, and a wait where one is asked for."""
    local.fault(status)
    local.fault(status, retry_after_seconds=7)
    plain, waiting = http.get(METRICS), http.get(METRICS)

    assert [status, status] == [plain.status_code, waiting.status_code]
    assert plain.json()["error"]
    assert "retry-after" not in plain.headers
    assert "7" == waiting.headers["retry-after"]


def test_where_and_how_often(local, http):
    """A fault hits its operation and its deployment, as often as asked, in order."""
    line, other = local.deployment("line-3"), local.add_deployment("line-4")
    line.fault(503, on="metrics", times=2)
    line.fault(500, on=None)
    assert 200 == http.get(f"/api/deployments/acme/{other.slug}/metrics").status_code
    assert 500 == http.get(LINE).status_code
    assert [503, 503, 200] == [http.get(METRICS).status_code for _ in range(3)]


def test_until_cleared(local, http):
    """A fault without an end lasts until it is cleared, with its own deployment's or all."""
    local.fault(503, on="list", times=None)
    local.deployment("line-3").fault(500, on="metrics", times=None)
    assert [503] * 3 == [http.get("/api/deployments/acme").status_code for _ in range(3)]
    local.deployment("line-3").clear_faults()
    assert (503, 200) == (
        http.get("/api/deployments/acme").status_code,
        http.get(METRICS).status_code,
    )
    local.clear_faults()
    assert 200 == http.get("/api/deployments/acme").status_code


def test_failed_predictions_are_traffic(local, http, image):
    """A scripted status of predict or health is an error of the endpoint; one of metrics is not."""
    line = local.deployment("line-3")
    for operation in ("predict", "health", "metrics"):
        line.fault(503, on=operation)
    service = http.get(LINE).json()["deployment"]["serviceUrl"]
    statuses = [
        http.post(f"{service}/predict", files={"file": image}).status_code,
        http.get(f"{LINE}/health").status_code,
        http.get(METRICS).status_code,
    ]
    local.clock.sleep(600)
    summary = http.get(METRICS).json()["summary"]

    assert [503, 503, 503] == statuses
    assert (2, 2) == (summary["totalRequests"], summary["errorCount"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "explode"},
        {"kind": 200},
        {"kind": 600},
        {"kind": 503, "times": 0},
        {"kind": 503, "on": "metric"},
    ],
)
def test_impossible_faults(local, wrong):
    """A fault that means nothing is refused."""
    with pytest.raises(InputError):
        local.fault(wrong.pop("kind"), **wrong)


def test_calls(local, http):
    """What was received can be asserted on: in order, with its status, at its simulated time."""
    http.get(METRICS, params={"range": "1h"})
    local.clock.sleep(5)
    http.get("/nowhere")
    local.fault("reset")
    with pytest.raises(httpx.HTTPError):
        http.get(LINE)
    first, second, third = local.calls

    assert ("metrics", 200, {"range": "1h"}) == (first.operation, first.status, first.query)
    assert (None, 404, "/nowhere") == (second.operation, second.status, second.path)
    assert 5.0 == (second.at - first.at).total_seconds()
    assert ("detail", None, "GET") == (third.operation, third.status, third.method)


def test_chunked_upload(http, image):
    """A body in chunks is a body."""
    files = {"file": ("frame.png", image, "image/png")}
    whole = httpx.Request("POST", http.base_url, files=files)
    content = whole.read()

    def pieces():
        for start in range(0, len(content), 100):
            yield content[start : start + 100]

    kind = {"Content-Type": whole.headers["content-type"]}
    reply = http.post(f"{LINE}/predict", content=pieces(), headers=kind)

    assert 200 == reply.status_code, reply.text


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_broken_requests(local, request_):
    """A request whose length nobody can tell is a 400, and the connection ends."""
    assert raw(local, request_).startswith(b"HTTP/1.1 400")


def test_half_a_request(local, http):
    """A client that goes away in the middle harms nobody."""
    port = int(local.url.rpartition(":")[2])
    for data in (b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(data)

    assert 200 == http.get(LINE).status_code


def test_a_bug_is_a_500():
    """What goes wrong in an answer is that call's 500; the next one is served."""
    asked = []

    def answer(request):
        asked.append(request.path)
        if len(asked) == 1:
            raise KeyError("lost")
        return Response(content=b"raw", headers={"Content-Type": "text/plain"})

    server = Server(answer, request_id=lambda: "-", max_body=1, hang_seconds=1)
    server.open()
    first, second = (
        httpx.get(server.url + "/one", timeout=60),
        httpx.get(server.url + "/two", timeout=60),
    )
    server.close()

    assert (500, 200) == (first.status_code, second.status_code)
    assert "lost" in first.json()["error"]
    assert ("raw", "text/plain") == (second.text, second.headers["content-type"])


def test_head(local):
    """A HEAD gets no body."""
    reply = raw(local, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 404")
    assert reply.endswith(b"\r\n\r\n")


def test_connections_are_bounded():
    """One connection too many is turned away; a place that is freed is given again."""
    with LocalPlatform(deployments=["line-3"]) as local:
        address = ("127.0.0.1", int(local.url.rpartition(":")[2]))
        with ExitStack() as many:
            for _ in range(MAX_CONNECTIONS):
                many.enter_context(socket.create_connection(address))
            while len(local._server._live) < MAX_CONNECTIONS:
                time.sleep(0.005)
            with pytest.raises(httpx.TransportError):
                httpx.get(local.url, timeout=60)
        while local._server._live:
            time.sleep(0.005)

        assert 404 == httpx.get(local.url, timeout=60).status_code
