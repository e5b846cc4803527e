"""Every failure by its meaning, with what a program needs to act on it."""

from __future__ import annotations

import httpx
import pytest
from platform_server import KEY, Answer, deployment_row

from driftline import errors
from driftline.platform import Call, Retry

ONCE = Retry(attempts=1)


def detail():
    return Answer(json={"deployment": deployment_row(), "region": "us"})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RefusedInput),
        (401, errors.NotAuthorized),
        (402, errors.PaymentRequired),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.RefusedInput),
        (408, errors.PlatformBroken),
        (409, errors.Conflict),
        (413, errors.RefusedInput),
        (418, errors.RefusedInput),
        (422, errors.RefusedInput),
        (429, errors.RateLimited),
        (500, errors.PlatformBroken),
        (502, errors.PlatformBroken),
        (503, errors.PlatformBroken),
        (302, errors.UnreadableReply),
    ],
)
def test_meaning(face, status, kind):
    """A status is an error of its own kind: verb, path, status, request id and words."""
    answer = Answer(
        status=status,
        json={"error": "Cannot stop deployment with status: stopped"},
        headers={"x-request-id": "req-7"},
    )
    with pytest.raises(errors.PlatformError) as caught:
        face(lambda _: answer, retry=ONCE).deployment("acme/line-3")

    error = caught.value
    assert kind is type(error)
    assert ("GET", "/api/deployments/acme/line-3", status, "req-7") == (
        error.method,
        error.path,
        error.status,
        error.request_id,
    )
    assert "Cannot stop deployment with status: stopped" == error.said
    assert error.said in str(error)
    assert "req-7" in str(error)


def test_unreachable(face):
    """No reply at all, after three attempts."""
    client = face(lambda _: httpx.ConnectError("refused"))
    with pytest.raises(errors.Unreachable, match=r"no reply from platform\.example") as caught:
        client.deployment("acme/line-3")

    assert 3 == len(client.calls)
    assert not caught.value.sent


def test_repeats(face, caplog):
    """A passing failure costs time only: the call is repeated after 0.5 s and 1 s, and logged."""
    caplog.set_level("INFO", logger="driftline")
    answers = iter([Answer(status=503), httpx.ReadTimeout("slow"), detail()])
    client = face(lambda _: next(answers))

    assert "acme/line-3" == client.deployment("acme/line-3").ref
    assert [0.5, 1.0] == client.clock.slept
    assert "GET /api/deployments/acme/line-3: 503, again in 0.5 s" in caplog.text
    assert "GET /api/deployments/acme/line-3: no reply, again in 1.0 s" in caplog.text


@pytest.mark.parametrize(
    ("json", "headers", "wait"),
    [
        ({"error": "slow"}, {"Retry-After": "7"}, 7.0),
        ({"error": "slow", "retryAfter": 9}, {}, 9.0),
        ({"error": "slow", "retryAfter": 9}, {"Retry-After": "7"}, 7.0),
        (
            {"error": "slow", "resetAt": "2026-11-22T12:00:30.000Z"},
            {"Date": "Sun, 22 Nov 2026 12:00:00 GMT"},
            30.0,
        ),
        (
            {"error": "slow"},
            {
                "Date": "Sun, 22 Nov 2026 12:00:00 GMT",
                "X-RateLimit-Reset": "2026-11-22T12:00:12Z",
            },
            12.0,
        ),
        ({"error": "slow"}, {}, None),
        ({"error": "slow", "retryAfter": "soon", "resetAt": "never"}, {}, None),
        ({"error": "slow", "resetAt": "2026-11-22T12:00:30Z"}, {}, None),
        (["not", "an", "object"], {"X-RateLimit-Reset": "never"}, None),
    ],
)
def test_rate_limited(face, json, headers, wait):
    """The wait of a 429 is read wherever it stands, and none of the places is needed."""
    answer = Answer(status=429, json=json, headers=headers)
    with pytest.raises(errors.RateLimited) as caught:
        face(lambda _: answer, retry=ONCE).deployment("acme/line-3")

    assert wait == caught.value.retry_after_seconds


def test_rate_limit_is_waited_out(face):
    """A 429 is waited out for as long as it asks."""
    answers = iter([Answer(status=429, headers={"Retry-After": "7"}), detail()])
    client = face(lambda _: next(answers))
    client.deployment("acme/line-3")

    assert 7.0 == client.clock.time


def test_long_rate_limit(face):
    """A wait of more than a minute is handed to the caller instead of asking too early."""
    client = face(lambda _: Answer(status=429, json={"error": "x", "retryAfter": 3600}))
    with pytest.raises(errors.RateLimited, match="wait 3600 s") as caught:
        client.deployment("acme/line-3")

    assert 3600.0 == caught.value.retry_after_seconds
    assert 1 == len(client.calls)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!DOCTYPE html>\n<title>Sign in</title>", "is no JSON; it begins '<!DOCTYPE html>"),
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b'{"deployment": NaN}', "is no JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"7", "$: expected an object, got 7"),
        (b"9" * 5000, "is no JSON"),
    ],
)
def test_unreadable(face, body, words):
    """A success that says something else is an unreadable reply, with its beginning."""
    with pytest.raises(errors.UnreadableReply) as caught:
        face(lambda _: Answer(body=body)).deployment("acme/line-3")

    assert words in str(caught.value)
    assert caught.value.problems


def test_redirection_is_named_without_its_query(face):
    """A redirection names the host it leads to and nothing more: it may be signed."""
    answer = Answer(status=307, headers={"Location": "https://login.example/x?sig=s3cret"})
    with pytest.raises(errors.UnreadableReply, match=r"redirection to login\.example") as caught:
        face(lambda _: answer).deployment("acme/line-3")

    assert "s3cret" not in str(caught.value)


def test_strange_redirection(face):
    """A redirection to nowhere is one all the same."""
    with pytest.raises(errors.UnreadableReply, match="a redirection, which is not followed"):
        face(lambda _: Answer(status=302, headers={"Location": "http://["})).deployment("acme/x")


def test_words_are_tamed(face):
    """The Platform's words come as one printable line of bounded length, keys masked."""
    said = f"bad\r\n\x1b[31mkey {KEY}\ud800 " + "x" * 1000
    body = '{"error": "' + said.encode("unicode_escape").decode().replace("\\x", "\\u00") + '"}'
    with pytest.raises(errors.NotAuthorized) as caught:
        face(lambda _: Answer(status=401, body=body.encode())).deployment("acme/line-3")

    assert caught.value.said.startswith("bad [31mkey ***")
    assert len(caught.value.said) <= 300
    assert caught.value.said.isprintable()
    str(caught.value).encode()


def test_html_error(face):
    """An error page of a proxy has no words of the Platform, and its own status."""
    answer = Answer(status=502, body=b"<html>Bad gateway</html>")
    with pytest.raises(errors.PlatformBroken) as caught:
        face(lambda _: answer, retry=ONCE).deployment("acme/line-3")

    assert "" == caught.value.said


def test_everything_is_one_family(face):
    """One except clause catches them all."""
    with pytest.raises(errors.DriftlineError):
        face(lambda _: Answer(status=401)).deployment("acme/line-3")


def test_request(face):
    """A call without a method of its own is paced, repeated and refused like the others."""
    answers = iter([Answer(status=503), Answer(json={"ok": 1}), Answer(status=204, body=b"")])
    client = face(lambda _: next(answers))

    assert {"ok": 1} == client.request(Call(method="GET", path="/api/models/acme/line/v3"))
    assert client.request(Call(method="DELETE", path="/api/x", idempotent=False)) is None

    client = face(lambda _: Answer(status=402, json={"error": "Insufficient credits"}))
    start = Call(method="POST", path="/api/training/start", json={}, idempotent=False)
    with pytest.raises(errors.PaymentRequired, match="Insufficient credits"):
        client.request(start)

    client = face(lambda _: Answer(body=b"<html>"))
    with pytest.raises(errors.UnreadableReply):
        client.request(Call(method="GET", path="/api/x"))


def test_money_is_not_spent_twice(face):
    """What costs is sent once when nobody knows whether it was done."""
    for failure in (Answer(status=500), Answer(status=503), httpx.ReadTimeout("slow")):
        client = face(lambda _, failure=failure: failure)
        with pytest.raises(errors.PlatformError):
            client.request(Call(method="POST", path="/api/training/start"))

        assert 1 == len(client.calls)
