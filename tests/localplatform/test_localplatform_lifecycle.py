"""Deployments: created, started, stopped, replaced all or nothing, cold, over simulated time."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from localkit import LINE, client_of, two_boxes

from driftline._clock import SystemClock
from driftline.errors import ConfigError, InputError
from driftline.records import Detections
from driftline.testing import Behaviour, FrozenClock, LocalPlatform

REPLACE = {"action": "replace", "project": "vision", "model": "model-v2"}


def nothing(image: np.ndarray) -> Detections:
    return Detections(xyxy=[], confidence=[], class_id=[], image_size=image.shape[:2])


@pytest.fixture
def local():
    with LocalPlatform(
        deployments=["line-3"],
        detector=two_boxes,
        models={"vision/model-v2": nothing},
        rate_limits=None,
    ) as platform:
        yield platform


def detail(http):
    return http.get(LINE).json()["deployment"]


def found(http, image):
    reply = http.post(f"{LINE}/predict", files={"file": image})
    assert 200 == reply.status_code, reply.text
    return len(reply.json()["images"][0]["results"])


def test_replace(local, http, image):
    """The old model serves until the new one is healthy; then all traffic moves at once."""
    before = detail(http)
    started = http.patch(LINE, json=REPLACE)
    during = detail(http), found(http, image)
    local.clock.advance(timedelta(seconds=59))
    almost = detail(http), found(http, image)
    local.clock.advance(timedelta(seconds=1))
    after = detail(http), found(http, image)

    assert (202, "deploying") == (started.status_code, started.json()["status"])
    assert ("deploying", "model-v1", 2) == (during[0]["status"], during[0]["model"], during[1])
    assert ("deploying", "model-v1", 2) == (almost[0]["status"], almost[0]["model"], almost[1])
    assert ("ready", "model-v2", 0) == (after[0]["status"], after[0]["model"], after[1])
    for kept in ("id", "region", "serviceUrl", "createdAt", "deployment"):
        assert before[kept] == after[0][kept]
    assert "2026-01-05T00:01:00Z" == after[0]["deployedAt"]


def test_one_at_a_time(http):
    """While one operation runs another is a conflict."""
    http.patch(LINE, json=REPLACE)

    assert 409 == http.patch(LINE, json=REPLACE).status_code
    assert 400 == http.patch(LINE, json={"action": "stop"}).status_code


def test_failed_replace(local, http, image):
    """A revision that does not become healthy leaves the old model serving, and says why."""
    local.deployment("line-3").break_next_transition("Weights do not load")
    http.patch(LINE, json=REPLACE)
    local.clock.advance(timedelta(minutes=1))
    after = detail(http)

    assert ("ready", "model-v1", "Weights do not load") == (
        after["status"],
        after["model"],
        after["statusMessage"],
    )
    assert 2 == found(http, image)
    http.patch(LINE, json=REPLACE)
    local.clock.advance(timedelta(minutes=1))
    assert "model-v2" == detail(http)["model"]
    assert "statusMessage" not in detail(http)


def test_failed_at_once():
    """Where nothing takes time a failed replace is a 502."""
    with (
        LocalPlatform(
            deployments=["line-3"], models={"vision/model-v2": nothing}, deploy_seconds=0
        ) as local,
        client_of(local) as http,
    ):
        local.deployment("line-3").break_next_transition()
        reply = http.patch(LINE, json=REPLACE)

        assert 502 == reply.status_code
        assert "model-v1" == detail(http)["model"]


def test_failed_start(local, http):
    """A start that fails ends in failed, from where it can be started again."""
    line = local.deployment("line-3")
    http.patch(LINE, json={"action": "stop"})
    line.break_next_transition("Out of memory")
    http.patch(LINE, json={"action": "start"})
    local.clock.advance(timedelta(minutes=1))
    assert ("failed", "Out of memory") == (line.status, detail(http)["statusMessage"])

    http.patch(LINE, json={"action": "start"})
    local.clock.advance(timedelta(minutes=1))
    assert "ready" == line.status


def test_stopped(local, http, image):
    """What is stopped predicts nothing, is unhealthy, and has no synthetic traffic."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60)
    local.clock.advance(timedelta(minutes=10))
    http.patch(LINE, json={"action": "stop"})
    local.clock.advance(timedelta(minutes=20))
    refused = http.post(f"{LINE}/predict", files={"file": image})
    health = http.get(f"{LINE}/health").json()
    http.patch(LINE, json={"action": "start"})
    local.clock.advance(timedelta(minutes=5))
    requests = http.get(f"{LINE}/metrics", params={"range": "1h"}).json()["timeSeries"]["requests"]

    assert 400 == refused.status_code
    assert "stopped" in refused.json()["error"]
    assert not health["healthy"]
    # Ten minutes before the stop; after it one minute of starting and two of lag are missing.
    assert 10 + 2 == len(requests)


def test_slow_stop():
    """A stop that takes time passes through stopping."""
    with (
        LocalPlatform(deployments=["line-3"], stop_seconds=10) as local,
        client_of(local) as http,
    ):
        http.patch(LINE, json={"action": "stop"})
        during = detail(http)["status"]
        local.clock.sleep(10)

        assert ("stopping", "stopped") == (during, detail(http)["status"])


def test_create(local, http, image):
    """A created deployment has no address before it is ready."""
    body = {
        "project": "vision",
        "model": "model-v2",
        "deployment": "line-9",
        "name": "Line 9",
        "region": "europe-west4",
    }
    created = http.post("/api/deployments/acme", json=body).json()
    path = "/api/deployments/acme/line-9"
    during = http.get(path).json()["deployment"]
    early = http.post(f"{path}/predict", files={"file": image}).status_code
    local.clock.advance(timedelta(minutes=1))
    after = http.get(path).json()["deployment"]

    assert "creating" == created["status"] == during["status"]
    assert {"serviceUrl", "deployedAt"} == set(after) - set(during)
    assert (400, "ready", "Line 9") == (early, after["status"], after["name"])
    assert created["id"] == after["id"]


def test_delete(local, http):
    """A deleted deployment is gone from list, address and handle."""
    http.delete(LINE)

    assert 0 == http.get("/api/deployments/acme").json()["total"]
    assert 404 == http.get(LINE).status_code
    with pytest.raises(InputError, match="line-3"):
        local.deployment("line-3")


def test_cold_start(local, http, image):
    """A cold endpoint wakes at the first request, aborts until it is up, and then serves."""
    local.deployment("line-3").cold_start(20)
    local.clock.advance(timedelta(hours=1))
    first = http.get(f"{LINE}/health").json()
    second = http.post(f"{LINE}/predict", files={"file": image})
    local.clock.advance(timedelta(seconds=20))
    third = http.post(f"{LINE}/predict", files={"file": image})
    warnings = http.get(f"{LINE}/logs", params={"severity": "WARNING"}).json()["entries"]

    assert (False, 429) == (first["healthy"], first["status"])
    assert (503, 200) == (second.status_code, third.status_code)
    assert [429, 429] == [entry["httpRequest"]["status"] for entry in warnings]


@pytest.mark.parametrize("status", ["creating", "deploying", "stopping", "stopped", "failed"])
def test_any_state(status):
    """A deployment may be put into any state, and stays there."""
    with LocalPlatform() as local, client_of(local) as http:
        local.add_deployment("line-3", status=status)
        local.clock.advance(timedelta(days=1))
        listed = http.get("/api/deployments/acme", params={"status": status}).json()

        assert (status, 1) == (detail(http)["status"], listed["total"])
        assert 400 == http.get(f"{LINE}/metrics").status_code


def test_unhealthy(local, http, image):
    """An endpoint that does not answer fails health checks and every request."""
    line = local.deployment("line-3")
    line.behave(healthy=False, requests_per_minute=10)
    health = http.get(f"{LINE}/health")
    refused = http.post(f"{LINE}/predict", files={"file": image})
    local.clock.advance(timedelta(minutes=10))
    summary = http.get(f"{LINE}/metrics").json()["summary"]

    assert (200, False, 503) == (
        health.status_code,
        health.json()["healthy"],
        health.json()["status"],
    )
    assert 503 == refused.status_code
    assert 1.0 == summary["errorRate"]


def test_handles(local):
    """A handle says what it is; a platform says what it has, never its key."""
    line = local.deployment("acme/line-3")

    assert ("line-3", "acme/line-3", "vision/model-v1") == (line.slug, line.reference, line.model)
    assert "acme/line-3" in repr(line)
    assert "line-3" in repr(local)
    assert local.api_key not in repr(local)
    assert "closed" in repr(LocalPlatform())


def test_ready_to_use():
    """Without a word there is a deployment, and a model to replace its own with."""
    with LocalPlatform() as local, client_of(local) as http:
        before = detail(http)
        replaced = http.patch(LINE, json=REPLACE)

    assert ("line-3", "ready", "model-v1") == tuple(
        before[name] for name in ("deployment", "status", "model")
    )
    assert 202 == replaced.status_code


def test_the_default_gives_way():
    """The deployment that is there by default is gone with the first that is added, if unused."""
    unused, asked, called = LocalPlatform(), LocalPlatform(), LocalPlatform()
    asked.deployment("line-3")
    with called, client_of(called) as http:
        http.get(LINE)
        for local in (unused, asked, called):
            local.add_deployment("line-4")
            local.add_deployment("line-5")

    assert "['line-4', 'line-5']" in repr(unused)
    assert "['line-3', 'line-4', 'line-5']" in repr(asked)
    assert "['line-3', 'line-4', 'line-5']" in repr(called)
    assert "deployments=[]" in repr(LocalPlatform(deployments=()))


def test_shared_clock():
    """Two platforms may share one time."""
    clock = FrozenClock()
    one, two = LocalPlatform(clock=clock), LocalPlatform(owner="other", clock=clock)

    assert one.clock is clock is two.clock
    assert one.api_key != two.api_key


def test_life_of_the_server():
    """Without `start` there is no address; it starts once; closing twice is fine."""
    local = LocalPlatform()
    with pytest.raises(ConfigError, match="with statement"):
        _ = local.url
    with local, pytest.raises(ConfigError, match="already"):
        local.start()
    local.close()
    with local:
        assert local.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "make",
    [
        lambda: LocalPlatform(owner="abc"),
        lambda: LocalPlatform(owner="Acme"),
        lambda: LocalPlatform(models={"model": None}),
        lambda: LocalPlatform(models={"a/b/c": None}),
        lambda: LocalPlatform(deployments=["Line 3"]),
        lambda: LocalPlatform(deployments=["line-3", "line-3"]),
        lambda: LocalPlatform(rate_limits={"reading": 3}),
        lambda: LocalPlatform(rate_limits={"default": 0}),
        lambda: LocalPlatform(rate_limits={"default": "100"}),
        lambda: LocalPlatform(owner=4),
        lambda: LocalPlatform(clock=SystemClock()),
        lambda: LocalPlatform(epoch_seconds="60"),
        lambda: LocalPlatform(deploy_seconds=-1),
        lambda: LocalPlatform(metrics_lag=120),
        lambda: LocalPlatform(max_upload_bytes=0),
        lambda: Behaviour(requests_per_minute="60"),
        lambda: Behaviour(p95_ms=100, p50_ms=200),
        lambda: LocalPlatform().deployment("line-9"),
        lambda: LocalPlatform().add_deployment("line-3").behave(error_rate=-0.1),
        lambda: LocalPlatform().add_deployment("line-3").slow_down(0),
        lambda: LocalPlatform().add_deployment("line-3").cold_start(0),
    ],
)
def test_impossible(make):
    """What cannot be is refused with the offending value."""
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize(
    ("deployments", "said"),
    [
        ("line-3", r"must be a list of slugs: \['line-3'\]"),
        (["line-3", "line-3"], "there is a deployment 'line-3' already"),
        (["Line 3"], "'Line 3' must be lower-case words"),
    ],
)
def test_names_that_cannot_be(deployments, said):
    """A text in place of a list, a name twice, or no name: each is told for what it is."""
    with pytest.raises(InputError, match=said):
        LocalPlatform(deployments=deployments)
