"""Listing, looking up and addressing deployments."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from platform_server import Answer, deployment_row

from driftline.errors import InputError, NotFound, UnreadableReply
from driftline.platform import DeploymentStatus

ID = "65f0000000000000000000a1"
OTHER_ID = "65f0000000000000000000b2"


def listing(*rows, total=None):
    return Answer(
        json={
            "deployments": list(rows),
            "total": len(rows) if total is None else total,
            "region": "us",
        }
    )


def detail(**changes):
    return Answer(json={"deployment": deployment_row(**changes), "region": "us"})


def routes(**answers):
    """Answers by path; what is not there is a 404."""

    def script(asked):
        return answers.get(asked.path, Answer(status=404, json={"error": "Not found"}))

    return script


def test_record(face):
    """A deployment is a frozen record: units in names, aware UTC times, absent things None."""
    found = face(lambda _: detail()).deployment("acme/line-3")

    assert "acme/line-3" == found.ref
    assert "line/yolo26s-v3" == found.model_ref
    assert DeploymentStatus.READY is found.status
    assert (2.0, 4.0, 0, 1) == (
        found.resources.cpu,
        found.resources.memory_gib,
        found.resources.min_instances,
        found.resources.max_instances,
    )
    assert datetime(2026, 11, 20, 7, 55, 0, 123456, tzinfo=UTC) == found.updated_at
    assert UTC is found.created_at.tzinfo
    assert (None, None, "", {}) == (
        found.api_key_id,
        found.metered,
        found.status_message,
        found.metadata,
    )
    assert "acme/line-3: ready, line/yolo26s-v3, us-central1" == str(found)
    with pytest.raises(AttributeError):
        found.status = DeploymentStatus.STOPPED


def test_newer_contract(face):
    """What contract 0.1.99 added is read; what nobody knows is ignored."""
    row = {
        "metered": True,
        "camera": "rtsp://user:pw@cam",
        "cameraApplying": False,
        "metadata": {"line": 3},
        "colour": "blue",
    }
    found = face(lambda _: detail(**row)).deployment("acme/line-3")

    assert found.metered is True
    assert {"line": 3} == found.metadata
    assert "rtsp://user:pw@cam" == found.camera
    assert "pw" not in repr(found)


def test_deleted_model_and_unborn(face):
    """A deployment whose model is deleted, or that was never ready, lacks what it lacks."""
    gone = {"project": ..., "model": ..., "serviceUrl": ..., "deployedAt": ..., "task": None}
    found = face(lambda _: detail(**gone, status="creating")).deployment("acme/line-3")

    assert found.model_ref is None
    assert (None, None, None) == (found.service_url, found.deployed_at, found.task)
    assert found.status.transitional
    assert "model deleted" in str(found)


def test_listing(face):
    """A listing asks for 100 rows, and passes filters on."""
    client = face(lambda _: listing(deployment_row(), deployment_row(deployment="line-4")))
    found = client.deployments(status="ready", model="line/yolo26s-v3")

    assert ["acme/line-3", "acme/line-4"] == [one.ref for one in found]
    assert isinstance(found, list)
    assert (2, 0, "us") == (found.total, found.unlisted, found.region)
    assert "/api/deployments/acme" == client.calls[0].path
    assert {"limit": "100", "status": "ready", "model": "line/yolo26s-v3"} == client.calls[0].query


def test_unlisted(face, caplog):
    """What the Platform does not list is counted, and warned of."""
    caplog.set_level(logging.WARNING)
    found = face(lambda _: listing(deployment_row(), total=137)).deployments()

    assert (137, 136) == (found.total, found.unlisted)
    assert "acme has 137 deployments, of which the Platform lists 1" in caplog.text


def test_empty_listing(face):
    """No deployments are an empty list."""
    found = face(lambda _: listing()).deployments(owner="other")

    assert [] == found
    assert 0 == found.unlisted


def test_default_owner(face):
    """Without an owner the account is asked, once."""
    script = routes(
        **{
            "/api/account/summary": Answer(json={"username": "jane-doe", "teams": []}),
            "/api/deployments/jane-doe/line-3": detail(owner="jane-doe"),
        }
    )
    client = face(script, owner=None)

    assert "jane-doe/line-3" == client.deployment("line-3").ref
    assert "jane-doe" == client.owner()
    assert "jane-doe/line-3" == client.resolve("line-3")
    assert [
        "GET /api/account/summary",
        "GET /api/deployments/jane-doe/line-3",
    ] == client.paths


def test_full_reference_asks_nothing(face):
    """``owner/deployment`` is resolved without a call."""
    client = face(routes())

    assert "acme/line-3" == client.resolve("acme/line-3")
    assert [] == client.calls


def test_by_id(face):
    """A database id is looked up in the listing, once; the id path is never called."""
    script = routes(
        **{
            "/api/deployments/acme": listing(
                deployment_row(id=OTHER_ID, deployment="line-9"), deployment_row()
            ),
            "/api/deployments/acme/line-3": detail(),
        }
    )
    client = face(script)
    client.deployment(ID)
    client.deployment(f"acme/{ID}")
    client.deployment(ID)

    assert 2 == client.paths.count("GET /api/deployments/acme")
    assert 3 == client.paths.count("GET /api/deployments/acme/line-3")
    assert not any(ID in path for path in client.paths)


def test_id_not_found(face):
    """An id that is not listed is not found, and the error says how far was looked."""
    client = face(lambda _: listing(deployment_row()))
    with pytest.raises(NotFound, match=f"'{OTHER_ID}' among the 1 deployments of 'acme'"):
        client.deployment(OTHER_ID)

    client = face(lambda _: listing(deployment_row(), total=137))
    with pytest.raises(NotFound, match=r"the first 1 of 137 .* all the Platform lists"):
        client.deployment(OTHER_ID)


def test_renamed(face):
    """A deployment that moved under a remembered id is looked up again after a 404."""
    names = iter(["old", "new"])
    current = {"name": "old"}

    def script(asked):
        if asked.path == "/api/deployments/acme":
            return listing(deployment_row(deployment=next(names)))
        if asked.path == f"/api/deployments/acme/{current['name']}":
            return detail(deployment=current["name"])
        return Answer(status=404, json={"error": "Deployment not found"})

    client = face(script)
    client.deployment(ID)
    current["name"] = "new"
    with pytest.raises(NotFound):
        client.deployment(ID)

    assert "acme/new" == client.deployment(ID).ref


def test_record_as_reference(face):
    """A deployment is its own reference."""
    client = face(lambda _: detail())
    found = client.deployment("acme/line-3")

    assert "acme/line-3" == client.deployment(found).ref


@pytest.mark.parametrize(
    "ref",
    ["", "/", "a/b/c", "Acme/line", "acme/line_3", "acme/", "/x", "-a", "a--b", "a/../b", None, 7],
)
def test_bad_reference(face, ref):
    """What is no reference is refused before anything is asked."""
    client = face(routes())
    with pytest.raises(InputError, match="is no deployment"):
        client.deployment(ref)

    assert [] == client.calls


def test_bad_filters(face):
    """Filters that the Platform would refuse are refused here."""
    client = face(routes())
    with pytest.raises(InputError, match="'asleep' must be one of creating"):
        client.deployments(status="asleep")
    with pytest.raises(InputError, match="pass 'project/model'"):
        client.deployments(model="yolo26s")
    with pytest.raises(InputError, match="owner='acme/line-3' is no workspace"):
        client.deployments(owner="acme/line-3")
    assert [] == client.calls


def test_strange_account(face):
    """An account whose name can stand in no URL is a fault of the reply."""
    script = lambda _: Answer(json={"username": "../admin"})  # noqa: E731
    with pytest.raises(UnreadableReply, match=r"\$\.username: is no name"):
        face(script, owner=None).deployment("line-3")


def test_hashable(face):
    """Deployments go into sets and keys."""
    found = face(lambda _: detail(metadata={"a": []})).deployment("acme/line-3")

    assert {found} == {found}


def test_all_faults_together(face):
    """Everything that is missing or wrong is reported at once, each with its JSON path."""
    row = deployment_row(
        id=...,
        status="hibernating",
        createdAt="yesterday",
        resources={"cpu": "two", "memoryGi": 4, "minInstances": 0.5, "maxInstances": True},
    )
    client = face(
        lambda _: Answer(json={"deployments": [deployment_row(), row], "region": "us"}),
    )
    with pytest.raises(UnreadableReply) as caught:
        client.deployments()

    paths = {problem.partition(":")[0] for problem in caught.value.problems}
    assert {
        "$.total",
        "$.deployments[1].id",
        "$.deployments[1].status",
        "$.deployments[1].createdAt",
        "$.deployments[1].resources.cpu",
        "$.deployments[1].resources.minInstances",
        "$.deployments[1].resources.maxInstances",
    } == paths
    assert "(and 4 more)" in str(caught.value)
    assert 200 == caught.value.status
