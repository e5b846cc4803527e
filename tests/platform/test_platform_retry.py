"""When a call is sent again, and how long it waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline._retry import Retry, exchange, http_date, retry_after_seconds
from driftline._wire import Call, Reply, drive
from driftline.errors import InputError, Unreachable

GET = Call(method="GET", path="/x")
PATCH = Call(method="PATCH", path="/x", idempotent=False)


def lost(*, sent):
    error = Unreachable("lost")
    error.sent = sent
    return error


def talk(call, answers, retry=None):
    """Run an exchange over prepared answers; return its end and the waits of the calls sent."""
    answers = iter(answers)
    waits = []

    def send(sent):
        waits.append(sent.after_seconds)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return drive(exchange(call, retry or Retry()), send), waits


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_idempotent_is_repeated(status):
    """A call that does no harm twice is repeated on what may pass, after 0.5 s and 1 s."""
    reply, waits = talk(GET, [Reply(status=status), Reply(status=status), Reply(status=200)])

    assert 200 == reply.status
    assert [0.0, 0.5, 1.0] == waits


@pytest.mark.parametrize("status", [200, 201, 202, 301, 400, 401, 402, 403, 404, 405, 413, 422])
def test_final(status):
    """What a later try cannot better is final."""
    reply, waits = talk(GET, [Reply(status=status)])

    assert status == reply.status
    assert [0.0] == waits


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_ambiguous_is_not_repeated(status):
    """What may have been done is not sent again when doing it twice does harm."""
    reply, waits = talk(PATCH, [Reply(status=status)])

    assert status == reply.status
    assert [0.0] == waits


def test_refused_before_done():
    """A 429 was surely not done: it is repeated for every call."""
    reply, waits = talk(PATCH, [Reply(status=429, headers={"retry-after": "7"}), Reply(status=202)])

    assert 202 == reply.status
    assert [0.0, 7.0] == waits


def test_unreachable():
    """A connection that never stood is tried again; one that broke only where that is harmless."""
    assert 200 == talk(GET, [lost(sent=True), Reply(status=200)])[0].status
    assert 200 == talk(PATCH, [lost(sent=False), Reply(status=200)])[0].status
    with pytest.raises(Unreachable):
        talk(PATCH, [lost(sent=True)])


def test_last_error_counts():
    """When the attempts are used up, the last reply or error is the answer."""
    reply, _ = talk(GET, [lost(sent=True), Reply(status=503), Reply(status=502)])
    assert 502 == reply.status

    with pytest.raises(Unreachable):
        talk(GET, [Reply(status=503), Reply(status=503), lost(sent=True)])


def test_too_long_a_wait_is_final():
    """A wait beyond the bound is handed on: coming back earlier would only be refused again."""
    reply, waits = talk(GET, [Reply(status=429, headers={"retry-after": "61"})])

    assert 429 == reply.status
    assert [0.0] == waits


@pytest.mark.parametrize(
    ("method", "reads"),
    [("GET", True), ("HEAD", True), ("POST", False), ("PATCH", False), ("PUT", False)],
)
def test_only_reads_are_harmless(method, reads):
    """Unless a call says otherwise, only a read may be repeated on a doubt."""
    assert reads is Call(method=method, path="/x").idempotent
    assert Call(method=method, path="/x", idempotent=True).idempotent


def test_once():
    """One attempt is no repeat."""
    reply, waits = talk(GET, [Reply(status=503)], Retry(attempts=1))

    assert 503 == reply.status
    assert [0.0] == waits


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 13:00:30 +0100", 30.0),
    ],
)
def test_retry_after(value, seconds):
    """Seconds, or a date held against the reply's own (RFC 9110, 10.2.3)."""
    headers = {"retry-after": value, "date": "Sun, 22 Nov 2026 12:00:00 GMT"}

    assert seconds == retry_after_seconds(Reply(status=429, headers=headers))


def test_retry_after_date_alone():
    """A date without the reply's own says nothing about how long."""
    reply = Reply(status=429, headers={"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"})

    assert retry_after_seconds(reply) is None


@given(st.text(max_size=60))
def test_any_header(value):
    """No header makes the policy raise, and a wait is never negative or endless."""
    headers = {"retry-after": value, "date": value}
    wait = retry_after_seconds(Reply(status=429, headers=headers))

    assert wait is None or 0 <= wait < float("inf")
    http_date(value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": "x"},
        {"attempts": 2.5},
        {"first_backoff_seconds": "1"},
        {"first_backoff_seconds": -1},
        {"longest_backoff_seconds": float("nan")},
        {"longest_wait_seconds": float("inf")},
    ],
)
def test_refused_policy(wrong):
    """A policy that cannot be followed is refused at birth, by name."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        Retry(**wrong)
