"""Driftline's own client against the local platform: waiting takes no time, trouble has its name."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import numpy as np
import pytest
from localkit import NAMES, two_boxes

from driftline import errors
from driftline.platform import AsyncPlatformClient, PlatformClient
from driftline.records import Metric
from driftline.testing import LocalPlatform


@pytest.fixture
def local():
    with LocalPlatform(
        deployments=["line-3"], detector=two_boxes, models={"vision/model-v2": None}
    ) as platform:
        yield platform


@pytest.fixture
def client(local):
    with PlatformClient(base_url=local.url, api_key=local.api_key, clock=local.clock) as platform:
        yield platform


def test_reading(local, client):
    """Listing, metrics, logs and health come out as records."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60, error_rate=0.05, p95_ms=180)
    local.clock.advance(timedelta(hours=1))
    metrics = client.metrics("acme/line-3")
    p95 = metrics.series[Metric.LATENCY_P95_MS].settled

    assert ["acme/line-3"] == [deployment.ref for deployment in client.deployments()]
    assert line.id == client.deployment(line.id).id
    assert 58 * 60 == metrics.summary.total_requests
    assert pytest.approx(0.05) == metrics.summary.error_rate
    assert {180.0} == set(p95.values)
    assert 300 == len(list(client.logs("line-3", limit=300)))
    assert client.health("line-3").healthy


def test_the_filling_bucket_is_not_settled(local, client):
    """What the platform still fills, the client does not settle."""
    local.deployment("line-3").behave(requests_per_minute=60)
    local.clock.advance(timedelta(minutes=10, seconds=20))
    requests = client.metrics("acme/line-3").series[Metric.REQUESTS]

    assert [60] * 8 + [20] == list(requests.values)
    assert [60] * 8 == list(requests.settled.values)


@pytest.mark.parametrize("direct", [False, True])
def test_predict(local, client, image, direct):
    """Predictions are detections in pixels."""
    prediction = client.predict("acme/line-3", image, normalize=True, decimals=10, direct=direct)

    expected = [[0, 0, 6, 6], [8, 12, 24, 36.123456789]]

    # Ten decimals of a share of 64 px.
    assert np.allclose(expected, prediction.detections.xyxy, rtol=0, atol=1e-8)
    assert NAMES == dict(prediction.detections.class_names)


def test_pacing_waits_in_simulated_time(local, client):
    """Two and a half minutes' worth of calls meets no 429, and the wait is simulated."""
    began = local.clock.monotonic()
    for _ in range(250):
        client.deployment("acme/line-3")

    assert {200} == {call.status for call in local.calls}
    assert local.clock.monotonic() - began >= 120


def test_retry_after_waits_in_simulated_time(local, client):
    """A 429 is waited out as long as it says, without waiting."""
    local.fault(429, on="detail", retry_after_seconds=40)
    client.deployment("acme/line-3")

    assert [429, 200] == [call.status for call in local.calls]
    assert (local.calls[1].at - local.calls[0].at) >= timedelta(seconds=40)


def test_impatient_client():
    """A client that does not pace itself meets the limit, and waits as it is told.

    The limit counts real seconds as well: a small one is met on the busiest machine.
    """
    with (
        LocalPlatform(deployments=["line-3"], rate_limits={"default": 3}) as local,
        PlatformClient(
            base_url=local.url,
            api_key=local.api_key,
            clock=local.clock,
            rate_limits={"default": 1000},
            retry=None,
        ) as client,
    ):
        for _ in range(4):
            client.deployment("acme/line-3")

    assert [200, 200, 200, 429, 200] == [call.status for call in local.calls]


def test_replace_is_polled_in_simulated_time(local, client):
    """A replace is waited for over its simulated minute."""
    began = local.clock.monotonic()
    deployment = client.replace("acme/line-3", "vision/model-v2")

    assert "vision/model-v2" == deployment.model_ref
    assert 60 <= local.clock.monotonic() - began < 66


def test_failed_replace(local, client):
    """A rollout that fails is told, and the old model serves."""
    local.deployment("line-3").break_next_transition("Weights do not load")
    with pytest.raises(errors.TransitionFailed, match="Weights do not load"):
        client.replace("acme/line-3", "vision/model-v2")

    assert "vision/model-v1" == local.deployment("line-3").model


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", errors.Unreachable),
        ("truncated", errors.Unreachable),
        ("malformed", errors.UnreadableReply),
        ("unexpected", errors.UnreadableReply),
        (401, errors.NotAuthorized),
        (402, errors.PaymentRequired),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.RefusedInput),
        (422, errors.RefusedInput),
        (429, errors.RateLimited),
        (500, errors.PlatformBroken),
        (502, errors.PlatformBroken),
        (503, errors.PlatformBroken),
    ],
)
def test_trouble_has_a_name(local, client, kind, error):
    """Every kind of trouble is the error that says whose fault it is."""
    local.fault(kind, on="metrics", times=None)
    with pytest.raises(error):
        client.metrics("acme/line-3")
    local.clear_faults()

    assert "acme/line-3" == client.metrics("acme/line-3").deployment


def test_hang(local):
    """A hang is unreachable, after the client's own patience."""
    local.fault("hang", on="detail", times=None)
    with (
        PlatformClient(
            base_url=local.url,
            api_key=local.api_key,
            clock=local.clock,
            timeout=timedelta(seconds=0.1),
        ) as client,
        pytest.raises(errors.Unreachable),
    ):
        client.deployment("acme/line-3")


def test_async(local, image):
    """The async face waits in the same simulated time; all thirty get through.

    Calls in flight when somebody sleeps arrive after the jump, so some may meet a 429 and are
    repeated.
    """

    async def main():
        async with AsyncPlatformClient(
            base_url=local.url, api_key=local.api_key, clock=local.clock
        ) as client:
            found = await asyncio.gather(*(client.predict("line-3", image) for _ in range(30)))
            return found, await client.replace("line-3", "vision/model-v2")

    found, deployment = asyncio.run(main())

    assert {2} == {len(prediction.detections) for prediction in found}
    assert "vision/model-v2" == deployment.model_ref
