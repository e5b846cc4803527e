"""Start, stop, replace, and waiting for their end."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta

import httpx
import pytest
from platform_server import Answer, Face, deployment_row

from driftline.errors import (
    Conflict,
    InputError,
    NotFound,
    PlatformBroken,
    RateLimited,
    RefusedInput,
    TransitionFailed,
    Unreachable,
    UnreadableReply,
)
from driftline.platform import DeploymentStatus
from terminal import at_a_terminal

TAKEN = Answer(status=202, json={"success": True, "status": "deploying", "message": "Deploying"})
OLD = {"project": "line", "model": "yolo26s-v3"}
NEW = {"project": "line", "model": "yolo26s-v4"}


def state(status="ready", **changes):
    return Answer(json={"deployment": deployment_row(status=status, **changes), "region": "us"})


def story(*states, change=TAKEN):
    """Answers a change, and then each look with the next state; the last one stays."""
    states = list(states)

    def script(asked):
        if asked.method == "PATCH":
            return change
        return states.pop(0) if len(states) > 1 else states[0]

    return script


def bodies(client):
    return [json.loads(asked.body) for asked in client.calls if asked.method == "PATCH"]


def test_replace(face):
    """A replace waits until the new model serves."""
    client = face(
        story(state(**OLD), state("deploying", **OLD), state("deploying", **NEW), state(**NEW))
    )
    found = client.replace("acme/line-3", "line/yolo26s-v4")

    assert ("line/yolo26s-v4", DeploymentStatus.READY) == (found.model_ref, found.status)
    assert [{"action": "replace", "project": "line", "model": "yolo26s-v4"}] == bodies(client)
    assert ["PATCH", "GET", "GET", "GET", "GET"] == [asked.method for asked in client.calls]
    assert [3.0, 3.0, 3.0] == client.clock.slept


def test_start_and_stop(face):
    """A start waits for ready, a stop for stopped."""
    client = face(story(state("stopped"), state("deploying"), state("ready")))
    assert DeploymentStatus.READY is client.start("acme/line-3").status
    assert [{"action": "start"}] == bodies(client)

    client = face(story(state("ready"), state("stopping"), state("stopped")))
    assert DeploymentStatus.STOPPED is client.stop("acme/line-3").status
    assert [{"action": "stop"}] == bodies(client)


def test_not_waiting(face):
    """Who does not wait gets the deployment as it stands."""
    client = face(story(state("deploying", **OLD)))
    found = client.replace("acme/line-3", "line/yolo26s-v4", wait=False)

    assert DeploymentStatus.DEPLOYING is found.status
    assert ["PATCH", "GET"] == [asked.method for asked in client.calls]
    assert 0.0 == client.clock.time


def test_failed_replace(face):
    """When the Platform goes back to the old model the replace has failed, at once."""
    message = "Revision failed its health check"
    client = face(story(state("deploying", **OLD), state("ready", statusMessage=message, **OLD)))
    with pytest.raises(TransitionFailed, match=message) as caught:
        client.replace("acme/line-3", "line/yolo26s-v4")

    assert "did not get to ready with line/yolo26s-v4 but rests at" in str(caught.value)
    assert "/api/deployments/acme/line-3" == caught.value.path
    assert 3.0 == client.clock.time


def test_replace_that_never_begins(face):
    """Ready with the old model is not yet a failure just after the change, but is after 30 s."""
    client = face(story(state(**OLD)))
    with pytest.raises(TransitionFailed, match="rests at"):
        client.replace("acme/line-3", "line/yolo26s-v4")

    assert 30.0 == client.clock.time


def test_failed_status(face):
    """A deployment that was moving and is failed has failed."""
    with pytest.raises(TransitionFailed, match="failed"):
        face(story(state("deploying"), state("failed"))).start("acme/line-3")


def test_start_of_a_failed_one(face):
    """The failed state before a start is not taken for its end."""
    client = face(story(state("failed"), state("deploying"), state("ready")))

    assert DeploymentStatus.READY is client.start("acme/line-3").status


def test_timeout(face):
    """A transition that does not end in time has failed; the last look says where it stands."""
    client = face(story(state("deploying", **OLD)))
    with pytest.raises(
        TransitionFailed, match="within 0:00:10; it stands at: acme/line-3: deploying"
    ):
        client.replace("acme/line-3", "line/yolo26s-v4", timeout=timedelta(seconds=10))

    assert [3.0, 3.0, 3.0, 1.0] == client.clock.slept


def test_told_at_a_terminal(face, monkeypatch):
    """Who waits at a terminal sees for how long and for what."""
    screen = at_a_terminal(monkeypatch)
    client = face(story(state("deploying", **OLD), state("deploying", **OLD), state(**NEW)))
    client.replace("acme/line-3", "line/yolo26s-v4")
    told = [
        f"\rwaiting for acme/line-3, 0:00:0{seconds}: acme/line-3: deploying" for seconds in (0, 3)
    ]
    rows = screen.getvalue().split(", line/yolo26s-v3, us-central1")

    assert [*told, "\n"] == rows


def test_many_wait_at_a_terminal(monkeypatch):
    """Of many who wait at once the first has the line, and the next when it is done."""
    screen = at_a_terminal(monkeypatch)
    stories = {
        f"line-{n}": story(*[state("deploying", **OLD)] * looks, state(**NEW))
        for n, looks in ((3, 3), (4, 6))
    }
    client = Face("async", lambda asked: stories[asked.path.rpartition("/")[2]](asked))

    async def both():
        return await asyncio.gather(
            *(client.client.replace(f"acme/{slug}", "line/yolo26s-v4") for slug in stories)
        )

    with asyncio.Runner() as runner:
        runner.run(both())
    client.shut()
    rows = re.findall("waiting for acme/(line-.),|(\n)", screen.getvalue())
    told = [slug or end for slug, end in rows]
    first = told.index("\n")

    assert {"line-3"} == set(told[:first])
    assert {"line-4"} == set(told[first + 1 : -1])
    assert "\n" == told[-1]


def test_a_bad_minute(face):
    """Looks that fail in passing do not end the waiting."""
    looks = iter(
        [
            state("deploying", **OLD),
            *[Answer(status=503)] * 3,
            *[httpx.ReadTimeout("slow")] * 3,
            *[Answer(status=429, headers={"Retry-After": "90"})],
            state(**NEW),
        ]
    )
    client = face(lambda asked: TAKEN if asked.method == "PATCH" else next(looks))

    assert "line/yolo26s-v4" == client.replace("acme/line-3", "line/yolo26s-v4").model_ref


def test_bad_minutes_end(face):
    """When every look fails until the time is up, the last failure is the cause."""
    client = face(lambda asked: TAKEN if asked.method == "PATCH" else Answer(status=503))
    with pytest.raises(TransitionFailed, match=r"the last look failed: .*503") as caught:
        client.replace("acme/line-3", "line/yolo26s-v4", timeout=timedelta(seconds=20))

    assert isinstance(caught.value.__cause__, PlatformBroken)


def test_gone_meanwhile(face):
    """A deployment that was deleted while one waits is not found: no waiting helps."""
    looks = iter([state("deploying"), Answer(status=404, json={"error": "gone"})])
    with pytest.raises(NotFound):
        face(lambda asked: TAKEN if asked.method == "PATCH" else next(looks)).start("acme/line-3")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(status=500), PlatformBroken),
        (Answer(status=502, json={"error": "Model replacement failed"}), PlatformBroken),
        (httpx.ReadTimeout("slow"), Unreachable),
        (Answer(json={"status": "ready"}), UnreadableReply),
    ],
)
def test_ambiguous_change_is_not_repeated(face, answer, kind):
    """A change that may have been taken is sent once, and the error says what to do."""
    client = face(lambda _: answer)
    with pytest.raises(kind) as caught:
        client.replace("acme/line-3", "line/yolo26s-v4")

    assert 1 == len(client.calls)
    assert "may have been taken: read the deployment" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, RefusedInput), (404, NotFound), (409, Conflict)]
)
def test_refused_change(face, status, kind):
    """A change that was refused is an error with the Platform's words, and sent once."""
    answer = Answer(status=status, json={"error": "Cannot stop deployment with status: stopped"})
    client = face(lambda _: answer)
    with pytest.raises(kind, match="Cannot stop deployment with status: stopped"):
        client.stop("acme/line-3")

    assert 1 == len(client.calls)


def test_change_that_surely_was_not_taken(face):
    """After a 429, or a connection that never stood, the change is sent again."""
    answers = iter(
        [
            Answer(status=429, json={"error": "slow", "retryAfter": 4}),
            httpx.ConnectError("refused"),
            Answer(json={"success": True, "status": "stopped", "message": "Stopped"}),
            state("stopped"),
        ]
    )
    client = face(lambda _: next(answers))

    assert DeploymentStatus.STOPPED is client.stop("acme/line-3").status
    assert [4.0, 1.0] == client.clock.slept


def test_rate_limited_change(face):
    """A change that is refused for too long is an error with its wait."""
    client = face(lambda _: Answer(status=429, headers={"Retry-After": "300"}))
    with pytest.raises(RateLimited) as caught:
        client.start("acme/line-3")

    assert 300.0 == caught.value.retry_after_seconds


def test_new_slug(face):
    """Where a change renames the deployment (0.1.99), the new name is looked at."""
    taken = {"success": True, "status": "ready", "message": "ok", "deployment": "line-3b"}

    def script(asked):
        if asked.method == "PATCH":
            return Answer(status=202, json=taken)
        assert asked.path == "/api/deployments/acme/line-3b"
        return state(deployment="line-3b", **NEW)

    client = face(script)
    found = client.replace("acme/line-3", "line/yolo26s-v4", name="Line 3 B")

    assert "acme/line-3b" == found.ref
    assert "Line 3 B" == bodies(client)[0]["name"]


def test_unsuccessful_success(face):
    """A 200 that says it was no success is unreadable."""
    answer = Answer(json={"success": False, "status": "ready", "message": "no"})
    with pytest.raises(UnreadableReply, match=r"\$\.success"):
        face(lambda _: answer).start("acme/line-3")


def test_wait(face):
    """Waiting for what was asked for elsewhere."""
    client = face(story(state("deploying"), state("ready", **NEW)))
    assert "line/yolo26s-v4" == client.wait("acme/line-3").model_ref

    client = face(story(state("stopping"), state("stopped")))
    assert DeploymentStatus.STOPPED is client.wait("acme/line-3", "stopped").status

    client = face(story(state("ready", **OLD), state("deploying"), state("ready", **NEW)))
    assert client.wait("acme/line-3", model="line/yolo26s-v4").model_ref == "line/yolo26s-v4"
    assert ["GET"] * 3 == [asked.method for asked in client.calls]


def test_wait_for_what_is(face):
    """What is reached already is not waited for."""
    client = face(story(state("ready")))
    client.wait("acme/line-3")

    assert 0.0 == client.clock.time


def test_wait_for_the_failed(face):
    """A failed deployment gets nowhere unless somebody asks."""
    client = face(story(state("failed", statusMessage="no weights")))
    with pytest.raises(TransitionFailed, match="no weights"):
        client.wait("acme/line-3")
    assert 0.0 == client.clock.time

    assert DeploymentStatus.FAILED is face(story(state("failed"))).wait("acme/x", "failed").status


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("acme/line-3", "yolo26s-v4"), {}, "'yolo26s-v4' is no model"),
        (("acme/line-3", "a/b/c"), {}, "'a/b/c' is no model"),
        (("acme/line-3", None), {}, "None is no model"),
        (("acme/line-3", "line/v4"), {"timeout": timedelta(0)}, "timeout=0:00:00"),
        (("acme/line-3", "line/v4"), {"poll": timedelta(seconds=-1)}, "poll=-1 day"),
    ],
)
def test_refused_arguments(face, arguments, options, words):
    """What cannot be meant is refused before anything is changed."""
    client = face(story(state()))
    with pytest.raises(InputError, match=words):
        client.replace(*arguments, **options)

    assert [] == client.calls


def test_wait_until_nonsense(face):
    """A status that does not exist is never reached."""
    with pytest.raises(InputError, match="'gone' must be one of"):
        face(story(state())).wait("acme/line-3", "gone")


@pytest.mark.parametrize("wrong", [{"timeout": 60}, {"poll": 3}, {"timeout": timedelta(0)}])
def test_patience_is_a_length_of_time(face, wrong):
    """A bare number, or no time at all, is refused before anything is started."""
    client = face(lambda _: pytest.fail("nothing is to be sent"))

    with pytest.raises(InputError, match=next(iter(wrong))):
        client.start("acme/line-3", **wrong)
