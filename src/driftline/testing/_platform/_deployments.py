"""``/api/deployments/{owner}[/{deployment}[/metrics|/logs|/health]]``, but for predict."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

from driftline.testing._platform._behaviour import Behaviour
from driftline.testing._platform._body import json_of, slug_of
from driftline.testing._platform._endpoint import ABORTED, LocalDeployment, Status
from driftline.testing._platform._ledger import LENGTH_US, WIDTH_US, Buckets, Floats, Ints
from driftline.testing._platform._logbook import LOGS_RETENTION_US, key_of, severities_of, token_of
from driftline.testing._platform._router import (
    OWNER,
    Refused,
    Request,
    Response,
    Route,
    choice,
    whole,
)
from driftline.testing._platform._time import MINUTE, iso

if TYPE_CHECKING:
    from driftline.testing._platform._world import World

TASK: Final = "detect"
DATA_REGION: Final = "eu"
REGIONS: Final = frozenset(
    {
        "asia-east1",
        "asia-northeast1",
        "asia-northeast2",
        "asia-south1",
        "asia-southeast3",
        "europe-north1",
        "europe-north2",
        "europe-southwest1",
        "europe-west1",
        "europe-west4",
        "europe-west8",
        "europe-west9",
        "me-west1",
        "northamerica-south1",
        "us-central1",
        "us-east1",
        "us-east4",
        "us-east5",
        "us-south1",
        "us-west1",
        "africa-south1",
        "asia-east2",
        "asia-northeast3",
        "asia-southeast1",
        "asia-southeast2",
        "asia-south2",
        "australia-southeast1",
        "australia-southeast2",
        "europe-central2",
        "europe-west10",
        "europe-west12",
        "europe-west2",
        "europe-west3",
        "europe-west6",
        "me-central1",
        "northamerica-northeast1",
        "northamerica-northeast2",
        "southamerica-east1",
        "southamerica-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    }
)
_LONGEST_NAME: Final = 100
_LONGEST_TOKEN: Final = 4096
_HEALTH_PATH: Final = "/health"


def _list(world: World, request: Request) -> Response:
    status = choice(request.query, "status", get_args(Status))
    limit = whole(request.query, "limit", low=1, high=100, default=20)
    model = request.query.get("model")
    if model is not None and not _is_reference(model):
        raise Refused(400, f"Invalid model: {model}; expected project/model")
    known = "authorization" in request.headers
    if not known and model is None:
        raise Refused(401, "Authentication required")
    if not known or request.slugs["owner"] != world.owner:
        # Everything here is private, and what is not visible is not found.
        raise (
            Refused(404, "Model not found") if model else Refused(403, "Workspace access required")
        )
    with world.lock:
        found = [
            deployment
            for deployment in world.deployments.values()
            if status in {None, deployment.status} and model in {None, deployment.model}
        ]
        wire = [deployment.wire(task=TASK) for deployment in found[:limit]]
    return Response(body={"deployments": wire, "total": len(found), "region": DATA_REGION})


def _create(world: World, request: Request) -> Response:
    if request.slugs["owner"] != world.owner:
        raise Refused(403, "Workspace access required")
    body = json_of(request)
    project, model, slug = (slug_of(body, name) for name in ("project", "model", "deployment"))
    name = _name(body, required=True)
    region = body.get("region")
    if not isinstance(region, str) or region not in REGIONS:
        raise Refused(400, f"Invalid region: {region}")
    with world.lock:
        if f"{project}/{model}" not in world.models:
            raise Refused(404, "Model not found")
        if slug in world.deployments:
            raise Refused(409, "Deployment name already exists")
        made = world.deploy(
            slug,
            model=f"{project}/{model}",
            name=name or slug,
            region=region,
            behaviour=Behaviour(),
            status="creating",
        )
        reply = {
            "id": made.id,
            "deployment": slug,
            "status": "creating",
            "message": "Deployment started",
            "region": region,
        }
        made.begin("ready", model=f"{project}/{model}", seconds=world.rules.deploy_seconds)
    return Response(status=201, body=reply)


def _detail(world: World, request: Request) -> Response:
    with world.lock:
        wire = world.deployment(request).wire(task=TASK, metadata=world.rules.newer_fields)
    return Response(body={"deployment": wire, "region": DATA_REGION})


def _update(world: World, request: Request) -> Response:
    body = json_of(request)
    action = body.get("action")
    with world.lock:
        deployment = world.deployment(request)
        if action == "start" and set(body) == {"action"}:
            deployment.require("stopped", "failed", to_do="start")
            status = deployment.begin(
                "ready", model=deployment.model, seconds=world.rules.deploy_seconds
            )
        elif action == "stop" and set(body) == {"action"}:
            deployment.require("ready", to_do="stop")
            status = deployment.begin("stopped", model=None, seconds=world.rules.stop_seconds)
        elif action == "replace" and {"project", "model"} <= set(body) <= _REPLACE:
            status = _replace(world, deployment, body)
        else:
            raise Refused(400, "Invalid update: expected the action start, stop or replace")
    said = {
        "ready": "Deployment ready",
        "stopped": "Deployment stopped",
        "deploying": "Deployment update started",
        "stopping": "Deployment is stopping",
        "failed": "Deployment failed",
    }[status]
    if status == "failed":
        raise Refused(502, said)
    done = status in {"ready", "stopped"}
    return Response(
        status=200 if done else 202, body={"success": True, "status": status, "message": said}
    )


_REPLACE: Final = frozenset({"action", "project", "model", "name"})


def _replace(world: World, deployment: LocalDeployment, body: dict[str, Any]) -> Status:
    wanted = f"{slug_of(body, 'project')}/{slug_of(body, 'model')}"
    name = _name(body, required=False)
    if deployment.busy:
        raise Refused(409, "Deployment state changed")
    deployment.require("ready", to_do="replace")
    if wanted not in world.models:
        raise Refused(404, "Model not found")
    if wanted == deployment.model:
        raise Refused(409, "Model is already deployed")
    if name is not None:
        deployment.rename(name)
    status = deployment.begin("ready", model=wanted, seconds=world.rules.deploy_seconds)
    if status == "ready" and deployment.model != wanted:
        raise Refused(502, "Model replacement failed")
    return status


def _delete(world: World, request: Request) -> Response:
    with world.lock:
        del world.deployments[world.deployment(request).slug]
    return Response(body={"success": True})


def _health(world: World, request: Request) -> Response:
    agent = request.headers.get("user-agent", "")
    with world.lock:
        deployment = world.deployment(request)
        if deployment.service_url is None:
            raise Refused(400, "Deployment has no service URL")
        status, ms, error = _probe(deployment)
        if deployment.serving is not None:
            deployment.record(method="GET", path=_HEALTH_PATH, status=status, ms=ms, agent=agent)
    body: dict[str, object] = {
        "healthy": error is None,
        "status": status,
        "latencyMs": round(ms, 3),
    }
    if error is not None:
        body["error"] = error
    return Response(body=body)


def _probe(deployment: LocalDeployment) -> tuple[int, float, str | None]:
    """Status, latency and fault of a health check, which also wakes the endpoint."""
    if deployment.serving is None:
        return 404, 0.0, "The endpoint is not running"
    if not deployment.wake():
        return 429, 0.0, ABORTED
    ms = deployment.draw_ms()
    if not deployment.behaviour.healthy:
        return 503, ms, "The endpoint answered 503"
    return 200, ms, None


def _metrics(world: World, request: Request) -> Response:
    window = choice(request.query, "range", WIDTH_US, default="24h") or "24h"
    sparkline = choice(request.query, "sparkline", ("true", "false"), default="false")
    overview = choice(request.query, "view", ("overview",))
    with world.lock:
        deployment = world.deployment(request)
        deployment.require("ready", to_do="read metrics of")
        now = world.now_us()
        lag = world.rules.metrics_lag // timedelta(microseconds=1)
        width = WIDTH_US[window]
        # Only whole buckets at the old end: a part of one would look like a drop of traffic.
        start = -(-(now - LENGTH_US[window]) // width) * width
        buckets = deployment.ledger.buckets(start=start, cut=now - lag, width=width)
        base: dict[str, object] = {
            "deploymentId": deployment.id,
            "region": deployment.region,
            "timeRange": {"start": iso(now - LENGTH_US[window]), "end": iso(now)},
        }
    if sparkline == "true":
        return Response(body=_sparkline(buckets, grid=range(start, now, width)))
    return Response(body={**base, **(_overview(buckets) if overview else _full(buckets, width))})


def _totals(buckets: Buckets) -> tuple[int, int, float]:
    requests, errors = int(buckets.requests.sum()), int(buckets.errors.sum())
    return requests, errors, errors / requests if requests else 0


def _sparkline(buckets: Buckets, *, grid: range) -> dict[str, object]:
    requests, _, rate = _totals(buckets)
    seen = dict(zip(buckets.at.tolist(), buckets.requests.tolist(), strict=True))
    return {
        # Without times only a full grid can be drawn; an idle endpoint has none (captured).
        "requests24h": [seen.get(at, 0) for at in grid] if seen else [],
        "totalRequests": requests,
        "errorRate": rate,
        "avgLatencyMs": round(buckets.mean_ms, 3),
    }


def _overview(buckets: Buckets) -> dict[str, object]:
    requests, _, rate = _totals(buckets)
    p95 = round(buckets.percentiles_ms[1], 3)
    return {
        "summary": {"totalRequests": requests, "errorRate": rate, "p95LatencyMs": p95},
        "timeSeries": _series(
            buckets, {"requests": buckets.requests, "latencyP95": buckets.p95_ms}
        ),
    }


def _full(buckets: Buckets, width: int) -> dict[str, object]:
    requests, errors, rate = _totals(buckets)
    p50, p95, p99 = (round(value, 3) for value in buckets.percentiles_ms)
    busy = (buckets.requests * buckets.p50_ms * 1000 / width).clip(0.01, 1.0)
    values = {
        "requests": buckets.requests,
        "latencyP50": buckets.p50_ms,
        "latencyP95": buckets.p95_ms,
        "cpuUtilization": busy,
        "memoryUtilization": 0.4 + 0.2 * busy,
        "instanceCount": buckets.requests.clip(1, 1),
    }
    return {
        "summary": {
            "totalRequests": requests,
            "errorCount": errors,
            "errorRate": rate,
            "avgLatencyMs": round(buckets.mean_ms, 3),
            "p50LatencyMs": p50,
            "p95LatencyMs": p95,
            "p99LatencyMs": p99,
        },
        "timeSeries": _series(buckets, values),
    }


def _series(buckets: Buckets, values: dict[str, Floats | Ints]) -> dict[str, object]:
    """Points of each series; errors have none in buckets that saw none.

    A count of a kind that did not occur has no point, so series need not align.
    """
    stamps = [iso(at) for at in buckets.at.tolist()]
    series: dict[str, object] = {
        name: [
            {"timestamp": stamp, "value": round(value, 3)}
            for stamp, value in zip(stamps, array.tolist(), strict=True)
        ]
        for name, array in values.items()
    }
    series["errors"] = [
        {"timestamp": stamp, "value": count}
        for stamp, count in zip(stamps, buckets.errors.tolist(), strict=True)
        if count
    ]
    return series


def _logs(world: World, request: Request) -> Response:
    severities = severities_of(request.query)
    limit = whole(request.query, "limit", low=1, high=200, default=50)
    token = request.query.get("pageToken")
    if token is not None and len(token) > _LONGEST_TOKEN:
        raise Refused(400, "Invalid pageToken")
    before = None if token is None else key_of(token)
    with world.lock:
        deployment = world.deployment(request)
        deployment.require("ready", to_do="read logs of")
        now = world.now_us()
        lines, following = deployment.logbook.page(
            # A row is at most a minute long, so one that reaches into the week begins then.
            deployment.ledger.minutes(now - LOGS_RETENTION_US - MINUTE, now + 1),
            url=f"{deployment.service_url}/predict",
            now=now,
            before=before,
            severities=severities,
            limit=limit,
        )
    body: dict[str, object] = {"entries": [line.wire() for line in lines]}
    if following is not None:
        body["nextPageToken"] = token_of(following)
    return Response(body=body)


def _name(body: dict[str, Any], *, required: bool) -> str | None:
    value = body.get("name")
    if value is None and not required:
        return None
    fits = isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.strip()
    if not fits or not isinstance(value, str) or not value.isprintable():
        raise Refused(400, f"Invalid name: {value}")
    return value


def _is_reference(text: str) -> bool:
    parts = text.split("/")
    return len(parts) == 2 and all(OWNER.fullmatch(part) for part in parts)  # noqa: PLR2004 - project/model


_ONE: Final = "/api/deployments/{owner}/{deployment}"
ROUTES: Final = (
    Route("GET", "/api/deployments/{owner}", _list, "list", anonymous=True),
    Route("POST", "/api/deployments/{owner}", _create, "create", category="mutation"),
    Route("GET", _ONE, _detail, "detail"),
    Route("PATCH", _ONE, _update, "update", category="mutation"),
    Route("DELETE", _ONE, _delete, "delete", category="mutation"),
    Route("GET", f"{_ONE}/metrics", _metrics, "metrics"),
    Route("GET", f"{_ONE}/health", _health, "health"),
    Route("GET", f"{_ONE}/logs", _logs, "logs"),
)
RETIRED: Final = ("/api/deployments", "/api/monitoring")
"""Paths of the API before 2026-08-12, addressed by database id."""
