"""The two drivers run one conversation in the same way."""

from __future__ import annotations

import asyncio

import pytest

from driftline._wire import Call, Reply, Upload, adrive, drive
from driftline.errors import Unreachable


def chat(log):
    """Two calls; a failure of the first is answered by a third."""
    try:
        reply = yield Call(method="GET", path="/one")
    except Unreachable:
        log.append("unreachable")
        reply = yield Call(method="GET", path="/other")
    log.append(reply.status)
    reply = yield Call(method="GET", path="/two")
    return reply.status


def sync_run(flow, send):
    return drive(flow, send)


def async_run(flow, send):
    async def asend(call):
        return send(call)

    return asyncio.run(adrive(flow, asend))


@pytest.fixture(params=[sync_run, async_run])
def run(request):
    return request.param


def test_answer(run):
    """The return value of the generator is the answer."""
    log = []

    assert 202 == run(chat(log), lambda call: Reply(status={"/one": 201, "/two": 202}[call.path]))
    assert [201] == log


def test_failure_is_thrown_in(run):
    """A transport failure is the conversation's to decide about."""
    log = []

    def send(call):
        if call.path == "/one":
            raise Unreachable("no")
        return Reply(status=200)

    assert 200 == run(chat(log), send)
    assert ["unreachable", 200] == log


def test_unanswered_failure_leaves(run):
    """One that the conversation does not take leaves it, and the generator is closed."""
    flow = chat([])

    def send(call):
        if call.path == "/two":
            raise Unreachable("gone")
        return Reply(status=200)

    with pytest.raises(Unreachable, match="gone"):
        run(flow, send)
    assert flow.gi_frame is None


def test_other_errors_close(run):
    """A bug in the transport is not thrown in; the generator is closed all the same."""
    flow = chat([])

    def send(call):
        raise KeyError(call.path)

    with pytest.raises(KeyError):
        run(flow, send)
    assert flow.gi_frame is None


def test_empty_conversation(run):
    """A conversation may end before it says anything."""

    def silent():
        return 7
        yield

    assert 7 == run(silent(), lambda call: Reply(status=200))


def test_reprs_hold_no_bodies():
    """A call or reply in a traceback shows sizes in place of bodies and headers."""
    call = Call(method="PUT", path="/x", content=b"abc", files={"f": Upload(content=b"de")})
    reply = Reply(status=200, headers={"set-cookie": "s3cret"}, content=b"s3cret")

    assert "<3 bytes>" in repr(call)
    assert "<2 bytes>" in repr(call)
    assert "s3cret" not in repr(reply)
    assert "None" in repr(Call(method="GET", path="/x"))
