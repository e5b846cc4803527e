"""What the tests of the sinks share: schemas of the vendors' payloads, and real servers."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from jsonschema import Draft4Validator, Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from driftline.testing import VendorCall
from reserved_port import reserved_port


def text(limit: int = 100_000, least: int = 1) -> dict:
    return {"type": "string", "minLength": least, "maxLength": limit}


TAGS = {"type": "array", "items": text(200), "minItems": 1, "maxItems": 100}
STAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
URL = {"type": "string", "pattern": "^https?://[^ ]+$", "maxLength": 2048}
LABELS = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": text(4000),
}


def closed(required: dict, **optional: dict) -> dict:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def listed(item: dict, least: int = 0, most: int = 100_000) -> dict:
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


POINT = closed({"timestamp": {"type": "integer"}, "value": {"type": "number"}})
SERIES = closed(
    {
        "metric": {"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_.]{0,199}$"},
        "type": {"const": 3},
        "points": listed(POINT, 1),
        "tags": listed(text(200), 0, 100),
    }
)
EVENT_ATTRIBUTES = closed(
    {"status": {"enum": ["error", "warn", "ok"]}, "priority": {"enum": list("12345")}},
    links=listed(closed({"category": text(), "url": URL, "title": text(300)}), 1, 20),
    custom={"type": "object", "maxProperties": 100},
)
EVENT = closed(
    {
        "title": text(500),
        "message": text(4000),
        "category": {"const": "alert"},
        "aggregation_key": text(100),
        "integration_id": {"const": "custom-events"},
        "tags": TAGS,
        "timestamp": STAMP,
        "attributes": EVENT_ATTRIBUTES,
    }
)
CHANGE = closed(
    {
        "title": text(500),
        "message": text(4000),
        "category": {"const": "change"},
        "integration_id": {"const": "custom-events"},
        "tags": TAGS,
        "timestamp": STAMP,
        "attributes": closed(
            {
                "changed_resource": closed({"name": text(), "type": {"const": "configuration"}}),
                "change_metadata": {"type": "object", "maxProperties": 100},
            }
        ),
    }
)
CHECK = closed(
    {
        "check": text(),
        "host_name": text(255),
        "status": {"enum": [0, 1, 2, 3]},
        "tags": TAGS,
        "message": text(500),
    }
)
PD_LINKS = listed(closed({"href": URL, "text": text(2000, 0)}), 0, 20)
PD_PAYLOAD = closed(
    {
        "summary": text(1024),
        "source": text(1024),
        "severity": {"enum": ["critical", "error", "warning", "info"]},
        "timestamp": STAMP,
        "component": text(1024),
        "group": text(1024),
        "class": text(1024),
        "custom_details": {"type": "object"},
    }
)
PD_KEYS = {"routing_key": text(32, 32), "dedup_key": text(255)}
PD_EVENT = {
    "oneOf": [
        closed(
            {
                **PD_KEYS,
                "event_action": {"const": "trigger"},
                "payload": PD_PAYLOAD,
                "client": text(),
                "links": PD_LINKS,
            },
            client_url=URL,
        ),
        closed({**PD_KEYS, "event_action": {"const": "resolve"}}),
    ]
}
PD_CHANGE = closed(
    {
        "routing_key": text(32, 32),
        "payload": closed(
            {
                "summary": text(1024),
                "source": text(1024),
                "timestamp": STAMP,
                "custom_details": {"type": "object"},
            }
        ),
    },
    links=PD_LINKS,
)
AM_ALERT = closed(
    {
        "labels": {**LABELS, "minProperties": 1},
        "annotations": LABELS,
        "startsAt": {"type": "string"},
        "endsAt": {"type": "string"},
    },
    generatorURL=URL,
)
MARKER = {
    "time": {"type": "integer", "minimum": 10**12},  # milliseconds, not seconds
    "tags": listed(text(100), 2),
    "text": text(4000),
}
IRM = closed(
    {
        "alert_uid": text(255),
        "title": text(500),
        "state": {"enum": ["alerting", "ok"]},
        "message": text(4000),
    },
    link_to_upstream_details=URL,
)

OWN_SCHEMAS = {
    "POST /api/v2/series": closed({"series": listed(SERIES, 1)}),
    "POST /api/v2/events": closed(
        {"data": closed({"type": {"const": "event"}, "attributes": {"oneOf": [EVENT, CHANGE]}})}
    ),
    "POST /api/v1/check_run": listed(CHECK, 1),
    "POST /v2/enqueue": PD_EVENT,
    "POST /v2/change/enqueue": PD_CHANGE,
    "POST /api/v2/alerts": listed(AM_ALERT),
    "POST /api/annotations": closed(MARKER, timeEnd={"type": "integer"}),
    "PATCH /api/annotations/\\d+": closed({"timeEnd": {"type": "integer"}, "text": text(4000)}),
    "POST .*/formatted_webhook/.*": IRM,
}

SIZES = {"/api/v2/series": 512_000, "/v2/enqueue": 512_000, "/v2/change/enqueue": 512_000}
"""Bytes of a body as sent: Datadog's intake and PagerDuty's events."""


def judge(call: VendorCall) -> str | None:
    """What is wrong with a call by our own reading of the vendors' documentation."""
    if call.size > SIZES.get(call.path, 10_000_000):
        return f"{call.size} bytes are too many for {call.path}"
    if call.path.endswith("/v1/metrics"):
        return otlp_fault(call)
    schema = next((s for p, s in OWN_SCHEMAS.items() if matches(p, call)), None)
    return fault(Draft202012Validator(schema), call) if schema is not None else None


def matches(pattern: str, call: VendorCall) -> bool:
    return re.fullmatch(pattern, f"{call.method} {call.path}") is not None


def fault(validator, call: VendorCall) -> str | None:
    try:
        body = call.json
    except ValueError as exc:
        return f"no JSON: {exc}"
    error = next(iter(validator.iter_errors(body)), None)
    return None if error is None else f"{error.json_path}: {error.message[:300]}"


def otlp_fault(call: VendorCall) -> str | None:
    """The strict parse of OpenTelemetry's own protobuf definition."""
    from google.protobuf.json_format import ParseDict, ParseError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    try:
        ParseDict(call.json, ExportMetricsServiceRequest())
    except (ParseError, ValueError) as exc:
        return str(exc)
    return None


# -- the official contracts


def contracts() -> Path:
    folder = os.environ.get("DRIFTLINE_CONTRACTS")
    if not folder:
        pytest.skip("DRIFTLINE_CONTRACTS names no folder with the vendors' official specifications")
    return Path(folder)


OFFICIAL = {
    "POST /api/v2/series": ("datadog_v2.openapi.json", "/components/schemas/MetricPayload"),
    "POST /api/v2/events": (
        "datadog_v2.openapi.json",
        "/components/schemas/EventCreateRequestPayload",
    ),
    "POST /api/v1/check_run": ("datadog_v1.openapi.json", "/components/schemas/ServiceChecks"),
    "POST /v2/enqueue": (
        "pagerduty_events_v2.openapi.json",
        "/paths/~1enqueue/post/requestBody/content/application~1json/schema",
    ),
    "POST /v2/change/enqueue": (
        "pagerduty_events_v2.openapi.json",
        "/paths/~1change~1enqueue/post/requestBody/content/application~1json/schema",
    ),
    "POST /api/v2/alerts": ("alertmanager_api_v2.swagger.json", "/definitions/postableAlerts"),
    "POST /api/annotations": (
        "grafana_annotations.openapi3.json",
        "/components/schemas/PostAnnotationsCmd",
    ),
    "PATCH /api/annotations/\\d+": (
        "grafana_annotations.openapi3.json",
        "/components/schemas/PatchAnnotationsCmd",
    ),
    "POST .*/formatted_webhook/.*": ("grafana_irm_formatted_webhook.schema.json", ""),
}
_KNOWN_PATHS = {
    "GET /api/v1/validate": ("datadog_v1.openapi.json", "/api/v1/validate"),
    "GET /api/v2/alerts": ("alertmanager_api_v2.swagger.json", "/alerts"),
    "GET /api/v2/status": ("alertmanager_api_v2.swagger.json", "/status"),
    "GET /api/annotations": ("grafana_annotations.openapi3.json", "/annotations"),
}


class OfficialJudge:
    """Holds every call against the specification its vendor publishes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._documents: dict[str, dict] = {}
        self.judged: set[str] = set()

    def __call__(self, call: VendorCall) -> str | None:
        if call.path.endswith("/v1/metrics"):
            return otlp_fault(call)
        for pattern, (file, path) in _KNOWN_PATHS.items():
            if matches(pattern, call):
                assert "get" in self._document(file)["paths"][path]
                return self._parameters(file, path, call)
        for pattern, (file, pointer) in OFFICIAL.items():
            if matches(pattern, call):
                self.judged.add(pattern)
                return fault(self._validator(file, pointer), call)
        return None

    def _parameters(self, file: str, path: str, call: VendorCall) -> str | None:
        known = {
            parameter["name"]
            for parameter in self._document(file)["paths"][path]["get"].get("parameters", [])
            if parameter.get("in") == "query"
        }
        unknown = set(call.query) - known
        return f"unknown parameters {unknown}" if unknown else None

    def _document(self, file: str) -> dict:
        if file not in self._documents:
            self._documents[file] = json.loads((self._folder / file).read_text())
        return self._documents[file]

    def _validator(self, file: str, pointer: str) -> Draft4Validator:
        # OpenAPI 3.0 and Swagger 2.0 build on this draft.
        resource = Resource(contents=self._document(file), specification=DRAFT4)
        registry = Registry().with_resource(file, resource)
        return Draft4Validator(
            {"$ref": f"{file}#{pointer}"}, registry=registry, format_checker=FormatChecker()
        )


# -- real servers


def program(name: str) -> str:
    """A program of the distribution; missing in CI is a failure, elsewhere a loud skip."""
    found = shutil.which(name)
    if found is None:
        absent(
            f"the program {name!r} is not installed (apt-get install prometheus prometheus-alertmanager)"
        )
    return found


def rotel() -> str:
    """The OTLP collector that the package ``rotel`` bundles."""
    if sys.version_info >= (3, 14):
        pytest.skip("rotel is not released for Python 3.14")
    spec = find_spec("rotel")
    if spec is None or spec.origin is None:
        absent("the package 'rotel' (dependency group 'tests') is not installed")
    return str(Path(spec.origin).with_name("rotel-agent"))


def absent(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def running(command: list[str], *, ready: str, log: Path, **environment: str):
    """A server that was started here, from ready to ended."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:
            wait_for(lambda: answers(ready) or ended(process, log))
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def ended(process: subprocess.Popen, log: Path) -> bool:
    if process.poll() is not None:
        pytest.fail(f"{process.args[0]} ended at once:\n{log.read_text()[-2000:]}")
    return False


def answers(url: str) -> bool:
    """Whether anything answers there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


def wait_for(holds) -> None:
    """Wait until it holds; the bound is there for a defect, not for a busy machine."""
    until = time.monotonic() + 60
    while not holds():
        if time.monotonic() > until:
            pytest.fail("did not happen within a minute")
        time.sleep(0.05)


def get_json(url: str):
    with urllib.request.urlopen(url, timeout=60) as reply:
        return json.load(reply)


ALERTMANAGER = """
global:
  resolve_timeout: {resolve_timeout}
route:
  receiver: hook
  group_by: [alert_key]
  group_wait: 0s
  group_interval: 100ms
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - url: {hook}
        send_resolved: true
"""


@contextlib.contextmanager
def alertmanager(folder: Path, *, hook: str, resolve_timeout: str = "5m"):
    """A real Alertmanager without neighbours; yields its URL."""
    binary = program("prometheus-alertmanager")
    url = f"127.0.0.1:{reserved_port()}"
    config = folder / "alertmanager.yml"
    config.write_text(ALERTMANAGER.format(hook=hook, resolve_timeout=resolve_timeout))
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={url}",
        "--cluster.listen-address=",
    ]
    with running(command, ready=f"http://{url}/-/ready", log=folder / "alertmanager.log"):
        yield f"http://{url}"


@contextlib.contextmanager
def prometheus(folder: Path, *options: str, config: str = ""):
    """A real Prometheus that scrapes nothing; yields its URL."""
    binary = program("prometheus")
    url = f"127.0.0.1:{reserved_port()}"
    file = folder / "prometheus.yml"
    file.write_text(config or "scrape_configs: []\n")
    command = [
        binary,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={url}",
        *options,
    ]
    with running(command, ready=f"http://{url}/-/ready", log=folder / "prometheus.log"):
        yield f"http://{url}"


@contextlib.contextmanager
def otlp_collector(folder: Path):
    """A real OTLP receiver that prints what it takes; yields its URL and its log."""
    port, grpc = reserved_port(), reserved_port()
    log = folder / "rotel.log"
    command = [
        rotel(),
        "start",
        "--otlp-http-endpoint",
        f"127.0.0.1:{port}",
        "--otlp-grpc-endpoint",
        f"127.0.0.1:{grpc}",
        "--exporter",
        "blackhole",
        "--debug-log",
        "metrics",
        "--debug-log-verbosity",
        "detailed",
        "--pid-file",
        str(folder / "rotel.pid"),
    ]
    # It is linked to this Python's library, which the system's loader may not know.
    library = str(sysconfig.get_config_var("LIBDIR"))
    ready = f"http://127.0.0.1:{port}/"
    with running(command, ready=ready, log=log, LD_LIBRARY_PATH=library):
        yield f"http://127.0.0.1:{port}", log
