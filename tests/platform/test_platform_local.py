"""Both faces over a real server: the local Platform, with its clock, limits and incidents."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import numpy as np
import pytest

from driftline import errors
from driftline.platform import (
    ERROR_SEVERITIES,
    AsyncPlatformClient,
    DeploymentStatus,
    PlatformClient,
)
from driftline.profiles import Profile, ProfileBuilder
from driftline.records import Detections, Metric
from driftline.testing import LocalPlatform

IMAGE = np.full((48, 64, 3), 127, np.uint8)


def one_box(frame):
    """A detector that finds one box in every frame."""
    height, width = frame.shape[:2]
    return Detections(
        xyxy=[[1, 2, 20, 30]],
        confidence=[0.5],
        class_id=[0],
        image_size=(height, width),
        class_names={0: "part"},
    )


class Both:
    """A client of one face, called without ``await``."""

    def __init__(self, kind, local, **options):
        options = {"base_url": local.url, "api_key": local.api_key, "clock": local.clock, **options}
        self._runner = asyncio.Runner() if kind == "async" else None
        self._client = (AsyncPlatformClient if kind == "async" else PlatformClient)(**options)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if self._runner is None:
            return method
        return lambda *args, **options: self._runner.run(self._await(method(*args, **options)))

    async def _await(self, answer):
        return [item async for item in answer] if hasattr(answer, "__aiter__") else await answer

    def shut(self):
        self.close()
        if self._runner is not None:
            self._runner.close()


@pytest.fixture
def local():
    with LocalPlatform(deployments=["line-3"], detector=one_box, newer_fields=True) as platform:
        yield platform


@pytest.fixture(params=["sync", "async"])
def client(request, local):
    client = Both(request.param, local)
    yield client
    client.shut()


def test_an_incident(local, client):
    """A calm half hour, then latency and errors: seen in series, summary and log."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60, p95_ms=120)
    local.clock.advance(timedelta(minutes=30))
    line.behave(requests_per_minute=60, p95_ms=480, error_rate=0.1)
    local.clock.advance(timedelta(minutes=20))
    metrics = client.metrics("line-3")
    p95 = metrics.series[Metric.LATENCY_P95_MS].settled
    # No fewer lines than failed in ten minutes.
    failures = list(client.logs("line-3", severity=ERROR_SEVERITIES, limit=60))

    assert 120.0 == p95.values[0]
    assert 480.0 == p95.values[-1]
    assert timedelta(minutes=1) == p95.width
    assert 0.0 < metrics.summary.error_rate < 0.1
    assert metrics.summary.error_rate_unit in {"fraction", "percent"}
    assert 60 == len(failures)
    assert failures == sorted(failures, key=lambda entry: entry.at, reverse=True)
    assert metrics.settled_until == metrics.series[Metric.LATENCY_P95_MS].settled_until


@pytest.mark.parametrize("window", ["1h", "6h", "24h", "7d", "30d"])
def test_every_window(local, client, window):
    """Every window is read; widths agree with the spacing of what came."""
    line = local.deployment("line-3")
    line.history(timedelta(days=30), requests_per_minute=10)
    line.behave(requests_per_minute=10)
    local.clock.advance(timedelta(minutes=5, seconds=20))
    found = client.metrics("line-3", window)
    requests = found.series[Metric.REQUESTS]

    assert len(requests) > 1
    assert np.timedelta64(requests.width, "us") == np.diff(requests.times).min()
    assert len(requests) > len(requests.settled) > 0
    assert found.summary.total_requests > 0


def test_every_view(local, client):
    """Three shapes of the same hour agree where they speak of the same."""
    local.deployment("line-3").history(timedelta(hours=2), requests_per_minute=30)
    full = client.metrics("line-3")
    overview = client.metrics("line-3", view="overview")
    sparkline = client.metrics("line-3", view="sparkline")

    assert full.summary.total_requests == overview.summary.total_requests
    assert full.summary.p95_latency_ms == overview.summary.p95_latency_ms
    assert full.series[Metric.REQUESTS].values.tolist() == (
        overview.series[Metric.REQUESTS].values.tolist()
    )
    assert sum(sparkline.requests_24h) == sparkline.summary.total_requests


def test_idle(local, client):
    """An idle endpoint is no data, not zero milliseconds."""
    found = client.metrics("line-3")

    assert found.summary.p95_latency_ms is None
    assert found.summary.error_rate is None
    assert 0 == len(found.series[Metric.LATENCY_P95_MS])


def test_life(local, client):
    """Stop, start and replace, each waited for in simulated time."""
    assert DeploymentStatus.STOPPED is client.stop("line-3").status
    with pytest.raises(errors.PlatformError):
        client.metrics("line-3")
    assert DeploymentStatus.READY is client.start("line-3").status
    before = client.deployment("line-3").model_ref
    assert "vision/model-v2" == client.replace("line-3", "vision/model-v2").model_ref
    assert before == client.replace("line-3", before).model_ref
    with pytest.raises(errors.Conflict):
        client.replace("line-3", before)


def test_two_waiters(local, client):
    """One starts it without waiting, another waits."""
    client.stop("line-3")
    started = client.start("line-3", wait=False)

    assert DeploymentStatus.DEPLOYING is started.status
    assert DeploymentStatus.READY is client.wait("line-3").status


def test_predictions(local, client, tmp_path):
    """Arrays, bytes and files, by way of the Platform and at the endpoint's own address."""
    from driftline.platform import encode_png

    path = tmp_path / "frame.png"
    path.write_bytes(encode_png(IMAGE))
    for image in (IMAGE, encode_png(IMAGE), path, str(path)):
        for direct in (False, True):
            dets = client.predict("line-3", image, direct=direct).detections
            assert [[1, 2, 20, 30]] == dets.xyxy.tolist()
            assert (48, 64) == dets.image_size


def test_endpoint_is_a_predictor(local):
    """What evaluates a local model takes the endpoint."""
    with PlatformClient(base_url=local.url, api_key=local.api_key, clock=local.clock) as platform:
        endpoint = platform.endpoint("line-3")
        dets = endpoint.predict(IMAGE)

    assert [[1, 2, 20, 30]] == dets.xyxy.tolist()
    assert ("acme/vision/model-v1", 0.01) == (endpoint.context.model, endpoint.context.conf)
    assert {0: "part"} == dict(endpoint.context.class_names)


def test_one_name_of_a_model(local):
    """Predictions and endpoint name the model alike, so that profiles of both merge."""
    with PlatformClient(base_url=local.url, api_key=local.api_key, clock=local.clock) as platform:
        endpoint = platform.endpoint("line-3", conf=0.25, imgsz=640)
        told = platform.predict("line-3", IMAGE, conf=0.25, imgsz=640).context
        direct = platform.predict("line-3", IMAGE, conf=0.25, imgsz=640, direct=True).context
        contexts = [endpoint.context, told, direct]
        endpoint.predict(IMAGE)
        builders = [ProfileBuilder(context=each) for each in [*contexts, endpoint.context]]

    assert {"acme/vision/model-v1"} == {each.model for each in contexts}
    assert told == endpoint.context
    Profile.merge(*(builder.profile() for builder in builders))


def test_the_model_is_looked_up_once(local):
    """A path of the server's is turned into a name once, and again when the model was replaced."""
    with PlatformClient(base_url=local.url, api_key=local.api_key, clock=local.clock) as platform:
        for _ in range(3):
            platform.predict("line-3", IMAGE)
        looked = [call for call in local.calls if call.operation == "detail"]
        endpoint = platform.endpoint("line-3")
        platform.replace("line-3", "vision/model-v2")
        replaced = platform.predict("line-3", IMAGE).context.model
        endpoint.predict(IMAGE)

    assert 1 == len(looked)
    assert "acme/vision/model-v2" == replaced == endpoint.context.model


def test_wrong_key(local):
    """A key that is not theirs is not authorised, and not shown."""
    wrong = "ul_" + "0" * 40
    with (
        PlatformClient(wrong, local.url, clock=local.clock) as platform,
        pytest.raises(errors.NotAuthorized) as caught,
    ):
        platform.deployments()

    assert wrong not in str(caught.value)
    assert caught.value.request_id


def test_a_fleet_meets_no_429(local):
    """Several clients of one key, one after the other, get through without a refusal."""
    fleet = [
        PlatformClient(base_url=local.url, api_key=local.api_key, clock=local.clock)
        for _ in range(4)
    ]
    for number in range(240):
        fleet[number % 4].metrics("acme/line-3")
    for number in range(45):
        fleet[number % 4].predict("acme/line-3", IMAGE)
    for one in fleet:
        one.close()

    assert {200} == {call.status for call in local.calls}


@pytest.mark.slow
def test_a_fleet_of_threads_in_real_time(local):
    """Eight threads with four clients, on the machine's clock, for a minute and a half: no 429."""
    fleet = [PlatformClient(base_url=local.url, api_key=local.api_key) for _ in range(4)]
    failures = []

    def caller(client):
        try:
            for _ in range(25):
                client.deployment("acme/line-3")
        except errors.PlatformError as exc:
            failures.append(exc)

    began = time.monotonic()
    threads = [threading.Thread(target=caller, args=(fleet[n % 4],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in fleet:
        one.close()

    assert [] == failures
    assert {200} == {call.status for call in local.calls}
    assert 200 == len(local.calls)
    assert 61 <= time.monotonic() - began < 75
