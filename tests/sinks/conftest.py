"""Vendors on loopback that hold every call against a schema."""

import pytest
from sinks_support import OfficialJudge, contracts, judge

from driftline.testing import LocalVendors

VARIABLES = (
    "DD_API_KEY",
    "DD_APP_KEY",
    "DD_SITE",
    "PAGERDUTY_ROUTING_KEY",
    "GRAFANA_SERVICE_ACCOUNT_TOKEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "APPRISE_URLS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    """No credential or proxy of the machine that runs the tests."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def vendors():
    """Vendors that judge by our own schemas."""
    with LocalVendors(judge=judge, hang_seconds=5) as local:
        yield local


@pytest.fixture(params=["own schema", "official contract"])
def judged(request):
    """Vendors that judge by our own schemas, and once more by the official ones."""
    judging = judge if request.param == "own schema" else OfficialJudge(contracts())
    with LocalVendors(judge=judging) as local:
        yield local
