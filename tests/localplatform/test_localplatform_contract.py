"""Every kind of reply is one the official contract allows; paths, auth and validation as it says."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from localkit import LINE, client_of, two_boxes

from driftline.testing import LocalPlatform

KEYLESS = {"Authorization": ""}
FRAME = {"file": ("frame.png", b"no image", "image/png")}
CREATE = {
    "project": "vision",
    "model": "model-v2",
    "deployment": "line-9",
    "name": "Line 9",
    "region": "us-central1",
}

READS = [
    "/api/account/summary",
    "/api/deployments/acme",
    "/api/deployments/acme?status=ready&model=vision/model-v1&limit=100",
    LINE,
    f"{LINE}/health",
    *(f"{LINE}/metrics?range={window}" for window in ("1h", "6h", "24h", "7d", "30d")),
    f"{LINE}/metrics",
    f"{LINE}/metrics?sparkline=true",
    f"{LINE}/metrics?sparkline=false",
    f"{LINE}/logs",
    f"{LINE}/logs?severity=ERROR,WARNING&limit=200",
]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("requests_per_minute", [0, 40])
def test_reads(local, http, conforms, path, requests_per_minute):
    """What is read conforms, with traffic and without."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=requests_per_minute, error_rate=0.05)
    local.clock.advance(timedelta(hours=26, seconds=30))

    conforms(reply := http.get(path))
    assert 200 == reply.status_code, reply.text


@pytest.mark.parametrize("data", [{}, {"normalize": "true", "decimals": "3", "conf": "0.01"}])
def test_predict(http, conforms, image, data):
    """A prediction conforms."""
    conforms(reply := http.post(f"{LINE}/predict", files={"file": image}, data=data))
    assert 200 == reply.status_code, reply.text


def test_life(local, http, conforms):
    """Creating, stopping, starting, replacing and deleting conform, done at once and over time."""
    replies = [
        http.post("/api/deployments/acme", json=CREATE),
        http.get("/api/deployments/acme/line-9"),
        http.get("/api/deployments/acme/line-9/health"),
        http.get("/api/deployments/acme?status=creating"),
        http.patch(LINE, json={"action": "stop"}),
        http.get(f"{LINE}/metrics"),
        http.patch(LINE, json={"action": "start"}),
    ]
    local.clock.advance(timedelta(minutes=1))
    replace = {"action": "replace", "project": "vision", "model": "model-v2", "name": "Line three"}
    replies += [http.patch(LINE, json=replace), http.get(LINE), http.delete(LINE)]

    assert [201, 200, 400, 200, 200, 400, 202, 202, 200, 200] == [r.status_code for r in replies]
    for reply in replies:
        conforms(reply)


def test_slow_stop(conforms):
    """A stop that takes time conforms as well."""
    with LocalPlatform(deployments=["line-3"], stop_seconds=5) as local, client_of(local) as http:
        conforms(reply := http.patch(LINE, json={"action": "stop"}))

    assert (202, "stopping") == (reply.status_code, reply.json()["status"])


REFUSED = [
    (401, "GET", "/api/account/summary", {"headers": KEYLESS}),
    (401, "GET", LINE, {"headers": {"Authorization": "Bearer ul_" + 40 * "0"}}),
    (401, "GET", LINE, {"headers": {"Authorization": "ul_" + 40 * "0"}}),
    (400, "GET", "/api/deployments/acme/Line-3", {}),
    (400, "GET", "/api/deployments/Acme/line-3", {}),
    (400, "GET", "/api/deployments/abc", {}),
    (400, "GET", f"/api/deployments/{33 * 'a'}/line-3", {}),
    (400, "GET", "/api/deployments/acme/line--3", {}),
    (400, "GET", "/api/deployments/acme?limit=0", {}),
    (400, "GET", "/api/deployments/acme?limit=101", {}),
    (400, "GET", "/api/deployments/acme?limit=2.5", {}),
    (400, "GET", "/api/deployments/acme?limit=many", {}),
    (400, "GET", "/api/deployments/acme?status=asleep", {}),
    (400, "GET", "/api/deployments/acme?model=model-v1", {}),
    (403, "GET", "/api/deployments/somebody-else", {}),
    (404, "GET", "/api/deployments/somebody-else/line-3", {}),
    (404, "GET", "/api/deployments/acme/line-4", {}),
    (404, "GET", "/api/deployments/acme/line-4/metrics", {}),
    (400, "GET", f"{LINE}/metrics?range=2h", {}),
    (400, "GET", f"{LINE}/metrics?sparkline=yes", {}),
    (400, "GET", f"{LINE}/metrics?view=detail", {}),
    (400, "GET", f"{LINE}/logs?severity=DEFAULT", {}),
    (400, "GET", f"{LINE}/logs?severity=error", {}),
    (400, "GET", f"{LINE}/logs?limit=201", {}),
    (400, "GET", f"{LINE}/logs?pageToken=%21", {}),
    (400, "GET", f"{LINE}/logs?pageToken=bm90aGluZw==", {}),
    (400, "POST", f"{LINE}/predict", {}),
    (400, "POST", f"{LINE}/predict", {"data": {"conf": "0.5"}}),
    (400, "POST", f"{LINE}/predict", {"files": FRAME}),
    (400, "PATCH", LINE, {}),
    (400, "PATCH", LINE, {"content": b"[]"}),
    (400, "PATCH", LINE, {"json": {"action": "restart"}}),
    (400, "PATCH", LINE, {"json": {"action": "stop", "force": True}}),
    (400, "PATCH", LINE, {"json": {"action": "start"}}),
    (400, "PATCH", LINE, {"json": {"action": "replace", "project": "vision"}}),
    (400, "PATCH", LINE, {"json": {"action": "replace", "project": "Vision", "model": "m"}}),
    (404, "PATCH", LINE, {"json": {"action": "replace", "project": "vision", "model": "m"}}),
    (409, "PATCH", LINE, {"json": {"action": "replace", "project": "vision", "model": "model-v1"}}),
    (400, "POST", "/api/deployments/acme", {"json": {**CREATE, "region": "moon-east1"}}),
    (400, "POST", "/api/deployments/acme", {"json": {**CREATE, "name": " "}}),
    (400, "POST", "/api/deployments/acme", {"json": {**CREATE, "deployment": "Line 9"}}),
    (403, "POST", "/api/deployments/somebody-else", {"json": CREATE}),
    (404, "POST", "/api/deployments/acme", {"json": {**CREATE, "model": "model-v7"}}),
    (409, "POST", "/api/deployments/acme", {"json": {**CREATE, "deployment": "line-3"}}),
]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refusals(http, case):
    """What is wrong is refused with the contract's status, and says so."""
    status, method, path, options = case
    reply = http.request(method, path, **options)

    assert status == reply.status_code, reply.text
    assert reply.json()["error"]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refusals_conform(http, conforms, case):
    """Every refusal is one the contract knows of that path."""
    _, method, path, options = case

    conforms(http.request(method, path, **options))


def test_anonymous_list(local):
    """Without a key a list needs a model, and private models are not there."""
    with httpx.Client(base_url=local.url, timeout=60) as stranger:
        whole = stranger.get("/api/deployments/acme")
        one = stranger.get("/api/deployments/acme?model=vision/model-v1")

    assert (401, 404) == (whole.status_code, one.status_code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/deployments"),
        ("GET", "/api/monitoring"),
        ("POST", "/api/deployments/0123456789abcdef01234567/start"),
        ("PUT", LINE),
        ("GET", f"{LINE}/predict"),
    ],
)
def test_retired(http, method, path):
    """Paths of the time before owner/name addresses, and wrong methods, are not allowed."""
    reply = http.request(method, path)

    assert 405 == reply.status_code
    assert "Method not allowed" == reply.json()["error"]


def test_id_address_looks_absent(local, http):
    """An old address by id parses as owner and slug, and is not found."""
    gone = http.get(f"/api/deployments/{local.deployment('line-3').id}/metrics")

    assert 404 == gone.status_code


def test_unknown_path(http):
    """A path nobody knows is not found."""
    assert 404 == http.get("/api/nothing/here").status_code
    assert 404 == http.get("/").status_code


def test_too_large():
    """An upload above the limit hears so, although it is sent to the end."""
    with (
        LocalPlatform(
            deployments=["line-3"], detector=two_boxes, max_upload_bytes=100_000
        ) as local,
        client_of(local) as http,
    ):
        reply = http.post(f"{LINE}/predict", files={"file": bytes(300_000)})
        endless = http.post(f"{LINE}/predict", files={"file": bytes(390_000)})

    assert [413, 413] == [reply.status_code, endless.status_code]


def test_rate_limited(http, conforms):
    """The 429 conforms, and says how long to wait in body and headers."""
    replies = [http.patch(LINE, json={"action": "nothing"}) for _ in range(11)]
    conforms(last := replies[-1])

    assert [400] * 10 + [429] == [reply.status_code for reply in replies]
    assert str(last.json()["retryAfter"]) == last.headers["retry-after"]
    assert last.json()["resetAt"] == last.headers["x-ratelimit-reset"]


def test_planned_statuses(local, http, conforms):
    """Scripted server errors have the contract's body."""
    for status in (429, 503):
        local.fault(status, on="metrics")
        reply = http.get(f"{LINE}/metrics")
        assert status == reply.status_code
        if status == 503:
            conforms(reply)


def test_newer_fields(image):
    """Fields that came after the contract are sent only where asked for."""
    with (
        LocalPlatform(deployments=["line-3"], detector=two_boxes, newer_fields=True) as local,
        client_of(local) as http,
    ):
        detail = http.get(LINE).json()["deployment"]
        metadata = http.post(f"{LINE}/predict", files={"file": image}).json()["metadata"]

    assert {} == detail["metadata"]
    assert ["box", "can"] == metadata["classNames"]
