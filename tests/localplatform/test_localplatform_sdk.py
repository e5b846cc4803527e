"""The vendor's own SDK works against the local platform as it does against the real one."""

from __future__ import annotations

import asyncio
import types
import typing
from datetime import timedelta

import pytest
import ultralytics_platform.types as vendor
from localkit import two_boxes, wait_for_a_call
from ultralytics_platform import APIConnectionError, APIError, AsyncPlatform, Platform

from driftline.testing import LocalPlatform


@pytest.fixture
def local():
    with LocalPlatform(
        deployments=["line-3", "line-4"],
        detector=two_boxes,
        models={"vision/model-v2": None},
        deploy_seconds=0,
        newer_fields=True,
        hang_seconds=5,
    ) as platform:
        platform.deployment("line-3").behave(requests_per_minute=30, error_rate=0.1, p95_ms=240)
        platform.clock.advance(timedelta(hours=30, seconds=30))
        yield platform


@pytest.fixture
def sdk(local):
    with Platform(api_key=local.api_key, base_url=local.url, max_retries=0) as platform:
        yield platform


def fits(value, kind) -> bool:
    """Whether a decoded reply is of one of the SDK's types, down to the last leaf."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    checks = {
        typing.Literal: lambda: value in arguments,
        typing.Union: lambda: any(fits(value, option) for option in arguments),
        types.UnionType: lambda: any(fits(value, option) for option in arguments),
        typing.NotRequired: lambda: fits(value, arguments[0]),
        list: lambda: isinstance(value, list) and all(fits(v, arguments[0]) for v in value),
        dict: lambda: (
            isinstance(value, dict) and all(fits(v, arguments[1]) for v in value.values())
        ),
    }
    if origin is not None:
        return checks[origin]()
    if typing.is_typeddict(kind):
        return isinstance(value, dict) and fits_fields(value, kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind is typing.Any or isinstance(value, kind)


def fits_fields(value, kind) -> bool:
    hints = typing.get_type_hints(kind, include_extras=True)
    optional = {n for n, hint in hints.items() if typing.get_origin(hint) is typing.NotRequired}
    known = set(hints) - optional <= set(value) <= set(hints)
    return known and all(fits(item, hints[name]) for name, item in value.items())


def test_the_check_can_fail():
    """The comparison with the SDK's types notices what is missing, extra or of another type."""
    good = {"healthy": True, "latencyMs": 3}
    bad = [
        {"healthy": True},
        {**good, "x": 1},
        {**good, "latencyMs": "3"},
        {**good, "status": None},
    ]

    assert fits(good, vendor.DeploymentsHealthResponse)
    assert not any(fits(value, vendor.DeploymentsHealthResponse) for value in bad)


def test_account_and_list(sdk, local):
    """The account names the owner; the list filters and counts."""
    summary = sdk.account.summary()
    everything = sdk.deployments.list(local.owner)
    one = sdk.deployments.list(local.owner, status="ready", model="vision/model-v1", limit=1)
    none = sdk.deployments.list(local.owner, status="failed")

    assert fits(summary, vendor.AccountSummaryResponse)
    assert local.owner == summary["username"]
    for reply in (everything, one, none):
        assert fits(reply, vendor.DeploymentsListResponse), reply
    assert ["line-3", "line-4"] == [d["deployment"] for d in everything["deployments"]]
    assert (1, 2) == (len(one["deployments"]), one["total"])
    assert 0 == none["total"]


def test_detail(sdk, local):
    """One deployment, by owner and name."""
    reply = sdk.deployments.retrieve("acme", "line-3")

    assert fits(reply, vendor.DeploymentsRetrieveResponse)
    assert local.deployment("line-3").id == reply["deployment"]["id"]


@pytest.mark.parametrize("window", ["1h", "6h", "24h", "7d", "30d"])
def test_metrics(sdk, window):
    """All three shapes, for every range, and they agree."""
    full = sdk.deployments.metrics("acme", "line-3", range=window)
    overview = sdk.deployments.metrics("acme", "line-3", range=window, view="overview")
    sparkline = sdk.deployments.metrics("acme", "line-3", range=window, sparkline="true")

    assert fits(full, vendor.DeploymentsMetricsResponseVariant1)
    assert fits(overview, vendor.DeploymentsMetricsResponseVariant2)
    assert fits(sparkline, vendor.DeploymentsMetricsResponseVariant3)
    total = full["summary"]["totalRequests"]
    assert total > 0
    assert total == overview["summary"]["totalRequests"] == sparkline["totalRequests"]
    assert total == sum(point["value"] for point in full["timeSeries"]["requests"])
    assert total == sum(sparkline["requests24h"])
    assert 240 == full["summary"]["p95LatencyMs"] == overview["summary"]["p95LatencyMs"]


def test_logs_page_by_page(sdk, local):
    """Pages follow one another, newest first, none twice, down to the first request."""
    seen, token = [], None
    while True:
        more = {} if token is None else {"page_token": token}
        page = sdk.deployments.logs("acme", "line-3", severity="ERROR", limit=100, **more)
        assert fits(page, vendor.DeploymentsLogsResponse)
        seen += [entry["timestamp"] for entry in page["entries"]]
        token = page.get("nextPageToken")
        if token is None:
            break

    assert 30 * 60 * 30 * 0.1 == len(seen) == len(set(seen))
    assert sorted(seen, reverse=True) == seen


def test_health(sdk, local):
    """A health check, well and unwell: 200 either way."""
    well = sdk.deployments.health("acme", "line-4")
    local.deployment("line-4").behave(healthy=False)
    unwell = sdk.deployments.health("acme", "line-4")

    assert fits(well, vendor.DeploymentsHealthResponse)
    assert fits(unwell, vendor.DeploymentsHealthResponse)
    assert (True, False) == (well["healthy"], unwell["healthy"])


def test_predict(sdk, image):
    """A prediction on an image of the caller's, with the caller's settings."""
    body = {"file": image, "conf": 0.5, "normalize": True, "decimals": 3}
    reply = sdk.deployments.predict("acme", "line-4", body=body)

    assert fits(reply, vendor.DeploymentsPredictResponse)
    (found,) = reply["images"][0]["results"]
    box = {"x1": 0.0, "y1": 0.0, "x2": 0.094, "y2": 0.125}
    assert {"name": "can", "class": 1, "confidence": 0.9, "box": box} == found
    assert [48, 64] == reply["images"][0]["shape"]


def test_replace_stop_start_delete(sdk, local):
    """The life of a deployment through the SDK."""
    replace = {"action": "replace", "project": "vision", "model": "model-v2"}
    created = sdk.deployments.create(
        "acme",
        project="vision",
        model="model-v1",
        deployment="line-5",
        name="Line 5",
        region="europe-west1",
    )
    updates = [
        sdk.deployments.update("acme", "line-3", body=body)
        for body in (replace, {"action": "stop"}, {"action": "start"})
    ]

    assert fits(created, vendor.DeploymentsCreateResponse)
    assert all(fits(reply, vendor.DeploymentsUpdateResponse) for reply in updates)
    assert ["ready", "stopped", "ready"] == [reply["status"] for reply in updates]
    assert "model-v2" == sdk.deployments.retrieve("acme", "line-3")["deployment"]["model"]
    assert "ready" == sdk.deployments.retrieve("acme", "line-5")["deployment"]["status"]
    assert {"success": True} == sdk.deployments.delete("acme", "line-5")
    with pytest.raises(APIError) as gone:
        sdk.deployments.retrieve("acme", "line-5")
    assert 404 == gone.value.status_code


def test_errors(sdk, local):
    """Errors carry status, words and the request id."""
    with pytest.raises(APIError) as stopped:
        for _ in range(2):
            sdk.deployments.update("acme", "line-3", body={"action": "stop"})

    assert 400 == stopped.value.status_code
    assert {"error": "Cannot stop deployment with status: stopped"} == stopped.value.json
    assert stopped.value.request_id


def test_wrong_key(local):
    """A wrong key is a 401, as on the Platform."""
    with (
        Platform(api_key="ul_" + 40 * "f", base_url=local.url, max_retries=0) as stranger,
        pytest.raises(APIError) as refused,
    ):
        stranger.account.summary()

    assert 401 == refused.value.status_code


@pytest.mark.parametrize("kind", ["hang", "reset", "truncated"])
def test_trouble_on_the_wire(sdk, local, kind):
    """What breaks on the way is a connection error to the SDK."""
    local.fault(kind)
    with pytest.raises(APIConnectionError):
        sdk.deployments.list("acme", timeout=0.3)

    wait_for_a_call(local)  # else the next one may be the one in trouble
    assert 2 == sdk.deployments.list("acme")["total"]


def test_retries_in_real_time(local):
    """The SDK's own retry waits as Retry-After says, in real time, and gets through."""
    local.fault(429, on="detail", retry_after_seconds=0.05)
    local.fault(503, on="detail", retry_after_seconds=0.05)
    with Platform(api_key=local.api_key, base_url=local.url) as platform:
        platform.deployments.retrieve("acme", "line-3")

    assert [429, 503, 200] == [call.status for call in local.calls]


def test_async(local):
    """The async face as well."""

    async def main():
        platform = AsyncPlatform(api_key=local.api_key, base_url=local.url)
        try:
            return await asyncio.gather(
                platform.deployments.list("acme"),
                platform.deployments.metrics("acme", "line-3", range="1h"),
                platform.deployments.health("acme", "line-3"),
            )
        finally:
            await platform.close()

    listed, metrics, health = asyncio.run(main())

    assert 2 == listed["total"]
    assert metrics["summary"]["totalRequests"] > 0
    assert health["healthy"]
