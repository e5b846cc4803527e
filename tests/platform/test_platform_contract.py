"""What we ask, and what our tests answer, is what the official contract allows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from platform_server import Answer, Face, deployment_row
from test_platform_logs import entry
from test_platform_metrics import SPARKLINE, full, minutes
from test_platform_predict import box, reply, result

from driftline.platform import ERROR_SEVERITIES

DEPLOYMENT = "/api/deployments/{owner}/{deployment}"


@pytest.fixture(scope="module")
def contract():
    folder = os.environ.get("DRIFTLINE_CONTRACTS")
    if not folder:
        pytest.skip("DRIFTLINE_CONTRACTS names no folder with the official contracts")
    path = Path(folder) / "ultralytics-platform-0.1.9.openapi.json"
    return json.loads(path.read_text())


def check(contract, schema, value):
    """Hold a value against a schema of the contract."""
    jsonschema = pytest.importorskip("jsonschema")
    document = {"components": contract["components"], **schema}
    jsonschema.Draft202012Validator(document).validate(value)


def operation(contract, asked):
    """The operation of a call, and the path it is documented under."""
    for path, verbs in contract["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        if re.fullmatch(pattern, asked.path) and asked.method.lower() in verbs:
            return verbs[asked.method.lower()], path
    pytest.fail(f"{asked.method} {asked.path} is not in the contract")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("DeploymentDetailResponse", {"deployment": deployment_row(), "region": "us"}),
        (
            "ListDeploymentsResponse",
            {"deployments": [deployment_row()], "total": 1, "region": "us"},
        ),
        ("DeploymentMetricsResponse", full(requests=minutes((3, 1)))),
        ("DeploymentSparklineData", SPARKLINE),
        ("DeploymentLogsResponse", {"entries": [entry(0)], "nextPageToken": "x"}),
        ("DeploymentHealthResponse", {"healthy": False, "latencyMs": 1, "error": "x"}),
        (
            "PredictResponse",
            reply(result(box=box()), result(segments={"x": [1], "y": [2]}), result("ok", 1)),
        ),
        ("UpdatingDeploymentResponse", {"success": True, "status": "deploying", "message": ""}),
    ],
)
def test_our_answers(contract, schema, value):
    """The replies that the tests of this folder answer with are what the contract says."""
    check(contract, {"$ref": f"#/components/schemas/{schema}"}, value)


def answers(asked):
    """An answer to every call."""
    tail = asked.path.rpartition("/")[2]
    known = {
        "metrics": SPARKLINE if "sparkline" in asked.query else full(),
        "logs": {"entries": [entry(0)]},
        "health": {"healthy": True, "latencyMs": 1},
        "predict": reply(result(box=box())),
        "summary": {"username": "acme"},
        "acme": {"deployments": [deployment_row()], "total": 1, "region": "us"},
    }
    if asked.method == "PATCH":
        return Answer(json={"success": True, "status": "ready", "message": ""})
    return Answer(json=known.get(tail, {"deployment": deployment_row(), "region": "us"}))


def test_our_calls(contract):
    """Every call goes to a documented path, with documented parameters of documented form."""
    client = Face("sync", answers, owner=None)
    client.deployments(status="ready", model="line/yolo26s-v3")
    client.deployment("line-3")
    for window in ("1h", "6h", "24h", "7d", "30d"):
        client.metrics("acme/line-3", window)
    client.metrics("acme/line-3", view="sparkline")
    list(client.logs("acme/line-3", severity=ERROR_SEVERITIES))
    client.health("acme/line-3")
    client.predict("acme/line-3", np.zeros((4, 4, 3), np.uint8), imgsz=640, decimals=3, bits=8)
    client.predict("acme/line-3", "https://example.com/a.jpg", normalize=True)
    client.start("acme/line-3", wait=False)
    client.stop("acme/line-3", wait=False)
    client.replace("acme/line-3", "line/yolo26s-v4", name="Line 3", wait=False)
    client.shut()

    for asked in client.calls:
        documented, _ = operation(contract, asked)
        parameters = {one["name"]: one for one in documented.get("parameters", ())}
        for name, value in asked.query.items():
            schema = parameters[name]["schema"]
            typed = int(value) if schema["type"] == "integer" else value
            check(contract, schema, typed)
        body = documented.get("requestBody", {}).get("content", {})
        if "application/json" in body:
            check(contract, body["application/json"]["schema"], json.loads(asked.body))
        if "multipart/form-data" in body:
            names = set(re.findall(rb'name="(\w+)"', asked.body))
            allowed = body["multipart/form-data"]["schema"]["anyOf"][0]["properties"]
            assert {name.decode() for name in names} <= set(allowed)


def test_everything_of_deployments(contract):
    """Nothing that reads or changes a deployment is left out, but to make and to delete one."""
    client = Face("sync", answers)
    client.deployments()
    client.deployment("acme/line-3")
    client.metrics("acme/line-3")
    list(client.logs("acme/line-3"))
    client.health("acme/line-3")
    client.predict("acme/line-3", b"x")
    client.stop("acme/line-3", wait=False)
    client.shut()
    asked = {(one.method.lower(), operation(contract, one)[1]) for one in client.calls}
    documented = {
        (verb, path)
        for path, verbs in contract["paths"].items()
        if path.startswith("/api/deployments")
        for verb in verbs
    }

    assert {("post", "/api/deployments/{owner}"), ("delete", DEPLOYMENT)} == documented - asked
