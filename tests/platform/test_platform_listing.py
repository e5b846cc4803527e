"""Owners with more deployments than the Platform lists in one reply."""

import pytest

from driftline import PlatformClient
from driftline.platform import DeploymentStatus
from driftline.platform._listing import MOST_CALLS
from driftline.testing import LocalPlatform


@pytest.fixture
def local():
    with LocalPlatform(deployments=()) as platform:
        yield platform


@pytest.fixture
def client(local):
    with PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as opened:
        yield opened


def fill(local, number, *, first=0, **how):
    for i in range(first, first + number):
        local.add_deployment(f"line-{i}", **how)


def listings(local):
    return [call for call in local.calls if call.operation == "list"]


def test_a_hundred(local, client):
    """A hundred come in one call."""
    fill(local, 100)

    assert 100 == len(client.deployments())
    assert 1 == len(listings(local))


def test_by_status(local, client):
    """More than that are found by their status, without asking further than needed."""
    fill(local, 90)
    fill(local, 60, first=90, status="stopped")
    found = client.deployments()

    assert {f"line-{i}" for i in range(150)} == {one.slug for one in found}
    assert (150, 0) == (found.total, found.unlisted)
    assert 3 == len(listings(local))


def test_by_model(local, client):
    """A status that is cut off as well is split by the models that were seen."""
    fill(local, 60, model="vision/model-v1")
    fill(local, 60, first=60, model="vision/model-v2")
    fill(local, 120, first=120, model="vision/model-v3")
    fill(local, 20, first=240, status="failed", model="vision/model-v3")
    found = client.deployments()

    # The first hundred show two models, the failed ones the third, of which a hundred are listed.
    assert (260, 240, 20) == (found.total, len(found), found.unlisted)
    assert {one.slug for one in found} >= {f"line-{i}" for i in (*range(220), *range(240, 260))}


def test_what_stays_unseen(local, client, caplog):
    """One model with more than a hundred deployments cannot be listed in full, and that is said."""
    fill(local, 130)
    found = client.deployments(status="ready")

    assert (100, 130, 30) == (len(found), found.total, found.unlisted)
    assert "the other 30 are reached by 'owner/deployment' only" in caplog.text


def test_asked_for_one_status(local, client):
    """A listing of one status is split by model alone."""
    fill(local, 80, model="vision/model-v1")
    fill(local, 80, first=80, model="vision/model-v2")
    found = client.deployments(status=DeploymentStatus.READY)

    assert (160, 0) == (len(found), found.unlisted)
    assert all(call.query["status"] == "ready" for call in listings(local))


def test_bounded(local, client):
    """A workspace of many models does not use up the minute of its key."""
    for i in range(300):
        local.add_deployment(f"line-{i}", model=f"vision/model-v{i}")
    client.deployments()

    assert len(listings(local)) <= MOST_CALLS + 1
