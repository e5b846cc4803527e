"""Whatever comes back, only errors of Driftline's own tree come out."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from platform_server import Answer, Face, deployment_row
from test_platform_metrics import SPARKLINE, full, minutes, overview
from test_platform_predict import box, reply, result

from driftline.errors import DriftlineError, UnreadableReply
from driftline.platform import Retry
from driftline.platform._reading import (
    MOST_FAULTS,
    Node,
    UnreadableError,
    masked,
    one_line,
    parse,
    read,
    shown,
)

LOG = {
    "entries": [
        {
            "timestamp": "2026-11-22T12:00:00Z",
            "severity": "ERROR",
            "message": "x",
            "httpRequest": {"method": "GET", "url": "/", "status": 500, "latencyMs": 1},
        }
    ]
}
CALLS = {
    "deployment": (
        {"deployment": deployment_row(metadata={"a": 1}), "region": "us"},
        lambda client: client.deployment("acme/line-3"),
    ),
    "deployments": (
        {"deployments": [deployment_row()], "total": 1, "region": "us"},
        lambda client: client.deployments(),
    ),
    "by id": (
        {"deployments": [deployment_row()], "total": 1, "region": "us"},
        lambda client: client.resolve("65f0000000000000000000a1"),
    ),
    "full": (
        full(requests=minutes((3, 4), (2, 1)), latencyP95=minutes((3, 4.5))),
        lambda client: client.metrics("acme/line-3").to_samples(),
    ),
    "overview": (
        overview(requests=minutes((3, 4)), errors=minutes((3, 1))),
        lambda client: str(client.metrics("acme/line-3", "6h", "overview")),
    ),
    "sparkline": (SPARKLINE, lambda client: client.metrics("acme/line-3", view="sparkline")),
    "logs": (LOG, lambda client: [str(one) for one in client.logs("acme/line-3", max_pages=3)]),
    "health": (
        {"healthy": True, "status": 200, "latencyMs": 3, "error": ""},
        lambda client: client.health("acme/line-3").to_samples(),
    ),
    "predict": (
        reply(result(box=box()), result(segments={"x": [1], "y": [2]}), result("ok", 1)),
        lambda client: client.predict("acme/line-3", b"x", normalize=True),
    ),
    "direct": (
        {"deployment": deployment_row(), "region": "us", **reply(result(box=box()))},
        lambda client: client.predict("acme/line-3", b"x", direct=True),
    ),
    "stop": (
        {
            "success": True,
            "status": "stopped",
            "message": "",
            "deployment": deployment_row(status="stopped"),
            "region": "us",
        },
        lambda client: client.stop("acme/line-3"),
    ),
    "account": ({"username": "jane-doe"}, lambda client: client.owner()),
}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**53, -1, 0, 1, 1e308, -1e308, 1e-308, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        [
            "2026-11-22T12:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2026-11-22T12:00:00",
            "2026-W01-1T00:00Z",
            "T",
            "ready",
            "failed",
            "\ud800",
            "../../x",
            "https://x",
            "ul_0123456789abcdef",
        ]
    ),
)
NAMES = sorted({name for body, _ in CALLS.values() for name in json.dumps(body).split('"')[1::2]})
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=4)), inner, max_size=8),
    ),
    max_leaves=25,
)


def places(value, at=()):
    """The path of every value in a document."""
    yield at
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*at, name))
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))


def put(document, at, value):
    """The document with something else at one place; without it where `value` is ``...``."""
    if not at:
        return None if value is ... else value
    document = copy.deepcopy(document)
    inner = document
    for step in at[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return document


def ask(name, content, status=200):
    """Make a call whose every answer is this; only errors of our tree may come out."""
    answer = Answer(status=status, body=content)
    client = Face(
        "sync",
        lambda _: answer,
        owner=None if name == "account" else "acme",
        retry=Retry(attempts=1),
    )
    try:
        CALLS[name][1](client)
    except DriftlineError as exc:
        str(exc).encode()
        assert len(str(exc)) < 2000
        return exc
    finally:
        client.shut()
    return None


@pytest.mark.parametrize("name", CALLS)
def test_good(name):
    """Every body that the tests below spoil is good before."""
    error = ask(name, json.dumps(CALLS[name][0]).encode())

    assert error is None or (name == "stop" and isinstance(error, UnreadableReply))


@pytest.mark.parametrize("name", CALLS)
@given(body=ANYTHING)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(body=[])
def test_anything(name, body):
    """Any JSON at all."""
    ask(name, json.dumps(body).encode())


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_place(name, data):
    """A good body with anything, or nothing, at one of its places."""
    good = CALLS[name][0]
    at = data.draw(st.sampled_from(sorted(places(good), key=str)))
    value = data.draw(st.one_of(st.just(...), SCALARS, ANYTHING))
    ask(name, json.dumps(put(good, at, value)).encode())


@given(content=st.binary(max_size=60), status=st.integers(200, 599))
@settings(max_examples=100, deadline=None)
def test_any_bytes(content, status):
    """Any bytes under any status."""
    ask("deployment", content, status)


@given(st.binary(max_size=40))
def test_parse(content):
    """A document is read, or is unreadable with a reason; there is no third way."""
    try:
        parse(content)
    except UnreadableError as exc:
        assert exc.problems


def test_many_faults():
    """A hundred of 200 × 9 missing fields are told, the others counted."""
    body = {"deployments": [{} for _ in range(200)], "total": 200, "region": "us"}
    error = ask("deployments", json.dumps(body).encode())

    assert MOST_FAULTS + 1 == len(error.problems)
    assert error.problems[-1] == "$: and 1700 more"


@given(st.text())
def test_masked_text(text):
    """Text from outside becomes one printable, encodable line without a key."""
    line = one_line(text + " ul_0123456789abcdef0123456789abcdef01234567", longest=500)

    line.encode()
    assert "0123456789abcdef" not in line
    assert "\n" not in line
    assert "\x1b" not in line
    masked(text).encode()


def test_shown():
    """A value in a message is short, whatever it is."""
    assert "a list of 3" == shown([1, 2, 3])
    assert "an object of 1" == shown({"a": 1})
    assert len(shown("x" * 10_000)) <= 60
    assert "a number of 33220 bits" == shown(10**10_000)


def test_paths():
    """A fault is told once, with its path; what lies below a missing value is not told again."""

    def decode(body: Node) -> tuple[str, float]:
        return body["a"]["b"].text(), body["c"].items()[1]["d"].number(high=3)

    with pytest.raises(UnreadableError) as caught:
        read({"c": [0, {"d": 7}]}, decode)

    assert (
        "$.a: is missing",
        "$.c[1].d: expected a finite number to 3, got 7",
    ) == caught.value.problems
    assert ("x", 2.5) == read({"a": {"b": "x"}, "c": [0, {"d": 2.5}]}, decode)


def test_refused_record_is_a_fault():
    """A record that refuses what was read is a fault of the reply."""
    from driftline.errors import InputError

    def decode(body: Node) -> None:
        raise InputError("image_size=(0, 0) must be above 0")

    with pytest.raises(UnreadableError, match=r"\$: image_size"):
        read({}, decode)
