"""Logs page by page, and pings."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from platform_server import KEY, Answer

from driftline.errors import InputError, UnreadableReply
from driftline.platform import ERROR_SEVERITIES, SEVERITIES
from driftline.records import Metric

NEWEST = datetime(2026, 11, 22, 12, tzinfo=UTC)


def entry(number, **more):
    at = NEWEST - timedelta(seconds=number)
    return {
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "severity": "ERROR",
        "message": f"line {number}",
        **more,
    }


def book(total):
    """A log of so many lines, cut into pages as the Platform does."""

    def script(asked):
        first, size = int(asked.query.get("pageToken", 0)), int(asked.query["limit"])
        last = min(first + size, total)
        body = {"entries": [entry(number) for number in range(first, last)]}
        if last < total:
            body["nextPageToken"] = str(last)
        return Answer(json=body)

    return script


def test_entry(face):
    """A line has its time, severity and words, and the request it is about."""
    request = {
        "method": "POST",
        "url": "https://line-3.example.run.app/predict",
        "status": 429,
        "latencyMs": 12.5,
        "userAgent": "curl",
    }
    body = {"entries": [entry(0, severity="WARNING", message="{}", httpRequest=request), entry(1)]}
    first, second = face(lambda _: Answer(json=body)).logs("acme/line-3")

    assert (NEWEST, "WARNING", "{}") == (first.at, first.severity, first.message)
    assert ("POST", 429, 12.5, "curl") == (
        first.request.method,
        first.request.status,
        first.request.latency_ms,
        first.request.user_agent,
    )
    assert second.request is None
    line = first.to_line()
    assert (NEWEST, "WARNING", "{}", 429) == (
        line.at,
        line.severity,
        line.message,
        line.http_status,
    )
    assert second.to_line().http_status is None
    assert (
        "2026-11-22T12:00:00Z WARNING POST https://line-3.example.run.app/predict → 429 {}"
        == str(first)
    )


def test_keys_are_masked(face):
    """A key that somebody logged does not get into an alert."""
    request = {"method": "GET", "url": f"/p?key={KEY}", "status": 401, "latencyMs": 1}
    body = {"entries": [entry(0, message=f"denied {KEY}", httpRequest=request)]}
    (found,) = face(lambda _: Answer(json=body)).logs("acme/line-3")

    assert KEY not in repr(found)
    assert "denied ul_***" == found.message


def test_limit(face):
    """So many lines and no more: pages of 200, the last as large as needed."""
    client = face(book(1000))
    found = list(client.logs("acme/line-3", limit=450))

    assert [f"line {number}" for number in range(450)] == [one.message for one in found]
    assert ["200", "200", "50"] == [asked.query["limit"] for asked in client.calls]


def test_default_limit(face):
    """200 lines by default, in one call."""
    client = face(book(1000))

    assert 200 == len(list(client.logs("acme/line-3")))
    assert 1 == len(client.calls)


def test_everything(face):
    """Without a limit, all there is."""
    assert 401 == len(list(face(book(401)).logs("acme/line-3", limit=None)))


def test_nothing(face):
    """A limit of nothing asks nothing; an empty log is empty."""
    client = face(book(10))
    assert [] == list(client.logs("acme/line-3", limit=0))
    assert [] == client.calls
    assert [] == list(face(book(0)).logs("acme/line-3"))


def test_lazily():
    """Pages are fetched as they are needed."""
    from platform_server import Face

    client = Face("sync", book(1000))
    lines = client.logs("acme/line-3", limit=None)
    assert [] == client.calls
    next(lines)
    assert 1 == len(client.calls)
    client.shut()


def test_since(face):
    """Older lines than asked for are not read, nor are pages behind them."""
    client = face(book(1000))
    since = NEWEST - timedelta(seconds=250)
    found = list(client.logs("acme/line-3", limit=None, since=since))

    assert 251 == len(found)
    assert since == found[-1].at
    assert 2 == len(client.calls)


def test_empty_pages(face):
    """A page without lines may lead to one with lines."""

    def script(asked):
        token = asked.query.get("pageToken")
        if token == "b":
            return Answer(json={"entries": [entry(0)]})
        return Answer(json={"entries": [], "nextPageToken": "a" if token is None else "b"})

    assert 1 == len(list(face(script).logs("acme/line-3")))


def test_pages_are_bounded(face, caplog):
    """Empty pages without end are given up, and said so."""
    caplog.set_level(logging.WARNING)

    def script(asked):
        return Answer(
            json={
                "entries": [],
                "nextPageToken": asked.query.get("pageToken", "") + "x",
            }
        )

    client = face(script)

    assert [] == list(client.logs("acme/line-3", max_pages=7))
    assert 7 == len(client.calls)
    assert "more than 7 pages" in caplog.text


def test_circle(face):
    """Pages that lead in a circle are a fault, not an endless log."""
    script = lambda _: Answer(json={"entries": [entry(0)], "nextPageToken": "same"})  # noqa: E731
    client = face(script)
    with pytest.raises(UnreadableReply, match="circle") as caught:
        list(client.logs("acme/line-3"))

    assert ("$.nextPageToken: comes twice",) == caught.value.problems
    assert 2 == len(client.calls)


def test_severities(face):
    """Severities are matched exactly by the Platform, so that "errors" are five of them."""
    client = face(book(1))
    list(client.logs("acme/line-3", severity=ERROR_SEVERITIES))
    list(client.logs("acme/line-3", severity="error, warning"))
    list(client.logs("acme/line-3"))

    assert ["WARNING,ERROR,CRITICAL,ALERT,EMERGENCY", "ERROR,WARNING", None] == [
        asked.query.get("severity") for asked in client.calls
    ]
    assert set(ERROR_SEVERITIES) < set(SEVERITIES)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"severity": "DEFAULT"}, "'DEFAULT' cannot be asked for"),
        ({"severity": ["ERROR", "fatal"]}, "'FATAL' cannot be asked for"),
        ({"severity": 5}, "severity=5"),
        ({"limit": -1}, "limit=-1"),
        ({"limit": "all"}, "limit='all'"),
        ({"limit": 1.5}, "limit=1.5"),
        ({"max_pages": 0}, "max_pages=0"),
        ({"since": datetime(2026, 11, 22)}, "no time zone"),
        ({"since": "2026-11-22"}, "since='2026-11-22'"),
    ],
)
def test_refused(face, wrong, words):
    """What cannot be asked is refused at the call, before the first line is read."""
    client = face(book(1))
    with pytest.raises(InputError, match=words):
        client.client.logs("acme/line-3", **wrong)


def test_faults(face):
    """Lines that are not what the contract says are named by path."""
    body = {"entries": [entry(0), {"timestamp": 7, "httpRequest": {"method": "GET"}}]}
    with pytest.raises(UnreadableReply) as caught:
        list(face(lambda _: Answer(json=body)).logs("acme/line-3"))

    assert {
        "$.entries[1].timestamp",
        "$.entries[1].severity",
        "$.entries[1].message",
        "$.entries[1].httpRequest.url",
        "$.entries[1].httpRequest.status",
        "$.entries[1].httpRequest.latencyMs",
    } == {problem.partition(":")[0] for problem in caught.value.problems}


def test_healthy(face):
    """A ping answers with the endpoint's own status, the latency, and our time."""
    client = face(lambda _: Answer(json={"healthy": True, "status": 200, "latencyMs": 88.5}))
    found = client.health("acme/line-3")

    assert (True, 200, 88.5, "") == (found.healthy, found.status, found.latency_ms, found.error)
    assert client.clock.now() == found.at
    (sample,) = found.to_samples()
    assert (Metric.HEALTHY, 1.0, "acme/line-3") == (
        sample.metric,
        sample.value,
        sample.deployment,
    )


def test_unhealthy_is_an_answer(face):
    """An unhealthy endpoint is no error of the call."""
    answer = Answer(json={"healthy": False, "latencyMs": 55000, "error": "timeout"})
    found = face(lambda _: answer).health("acme/line-3")

    assert (False, None, "timeout") == (found.healthy, found.status, found.error)
    assert 0.0 == found.to_samples()[0].value


def test_ping_is_not_repeated(face):
    """A ping wakes the endpoint and may cost: it is not repeated when it may have arrived."""
    from driftline.errors import PlatformBroken

    client = face(lambda _: Answer(status=503))
    with pytest.raises(PlatformBroken):
        client.health("acme/line-3")

    assert 1 == len(client.calls)
