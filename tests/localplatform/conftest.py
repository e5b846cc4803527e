"""A platform on loopback, a plain HTTP client for it, and the official contract."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator
from localkit import client_of, encoded, two_boxes
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from driftline.testing import LocalPlatform


@pytest.fixture
def image() -> bytes:
    return encoded()


@pytest.fixture
def local() -> Iterator[LocalPlatform]:
    with LocalPlatform(
        deployments=["line-3"], detector=two_boxes, models={"vision/model-v2": None}
    ) as platform:
        yield platform


@pytest.fixture
def http(local: LocalPlatform) -> Iterator[httpx.Client]:
    with client_of(local) as client:
        yield client


@pytest.fixture(scope="session")
def contract() -> dict:
    folder = os.environ.get("DRIFTLINE_CONTRACTS")
    if not folder:
        pytest.skip("DRIFTLINE_CONTRACTS does not name the folder of the official contracts")
    text = (Path(folder) / "ultralytics-platform-0.1.9.openapi.json").read_text(encoding="utf-8")
    return json.loads(text)


@pytest.fixture(scope="session")
def conforms(contract: dict) -> Callable[[httpx.Response], None]:
    """Fails unless a reply is one the contract allows for its path, method and status."""
    resource = Resource(contents=contract, specification=DRAFT202012)
    registry = Registry().with_resource("urn:contract", resource)
    paths = [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), operations)
        for template, operations in contract["paths"].items()
    ]

    def absolute(schema):
        if isinstance(schema, dict):
            return {
                key: "urn:contract" + value if key == "$ref" else absolute(value)
                for key, value in schema.items()
            }
        return [absolute(item) for item in schema] if isinstance(schema, list) else schema

    def check(response: httpx.Response) -> None:
        request = response.request
        operations = next(ops for path, ops in paths if path.fullmatch(request.url.path))
        replies = operations[request.method.lower()]["responses"]
        assert str(response.status_code) in replies, (request, response.text)
        schema = replies[str(response.status_code)]["content"]["application/json"]["schema"]
        body = response.json()
        if response.status_code == 429:
            # The Platform's REST page documents both, the contract's schema has neither.
            assert body.pop("retryAfter") > 0
            assert body.pop("resetAt").endswith("Z")
        Draft202012Validator(absolute(schema), registry=registry).validate(body)
        assert response.headers["x-request-id"]
        assert response.headers["content-type"].startswith("application/json")

    return check
