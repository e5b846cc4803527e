"""Logs: newest first, by severity, page by page, for a week."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localkit import LINE

from driftline.testing import LocalPlatform
from driftline.testing._platform._logbook import token_of
from driftline.testing._platform._router import Request
from driftline.testing._platform._time import DAY


def page(http, **query):
    reply = http.get(f"{LINE}/logs", params=query)
    assert 200 == reply.status_code, reply.text
    return reply.json()


def pages(http, **query):
    """Every page, as long as one names a next."""
    found = [page(http, **query)]
    while "nextPageToken" in found[-1]:
        found.append(page(http, pageToken=found[-1]["nextPageToken"], **query))
    return found


def test_nothing(http):
    """A quiet log is one empty page."""
    assert {"entries": []} == page(http)


def test_default_and_largest_page(local, http):
    """50 lines unless asked for more, 200 at most."""
    local.deployment("line-3").history(timedelta(hours=1), requests_per_minute=10)

    assert 50 == len(page(http)["entries"])
    assert 200 == len(page(http, limit=200)["entries"])


def test_severities_are_exact(local, http):
    """A severity asked for is that one, not those above it; DEFAULT comes only unasked."""
    line = local.deployment("line-3")
    for severity in ("DEFAULT", "INFO", "WARNING", "ERROR", "CRITICAL"):
        line.log(severity.lower(), severity=severity)

    def said(**query):
        return [entry["message"] for entry in page(http, **query)["entries"]]

    assert ["critical", "error", "warning", "info", "default"] == said()
    assert ["error"] == said(severity="ERROR")
    assert ["critical", "warning"] == said(severity="CRITICAL,WARNING")


def test_requests_are_lines(local, http, image):
    """Real requests are lines with their request: INFO, WARNING for 4xx, ERROR for 5xx."""
    http.post(f"{LINE}/predict", files={"file": image})
    http.post(f"{LINE}/predict", files={"file": b"nothing"})
    local.deployment("line-3").behave(error_rate=1.0)
    http.post(f"{LINE}/predict", files={"file": image})
    entries = page(http)["entries"]
    url = http.get(LINE).json()["deployment"]["serviceUrl"]

    assert ["ERROR", "WARNING", "INFO"] == [entry["severity"] for entry in entries]
    assert [503, 400, 200] == [entry["httpRequest"]["status"] for entry in entries]
    assert {f"{url}/predict"} == {entry["httpRequest"]["url"] for entry in entries}
    assert entries[0]["httpRequest"]["userAgent"].startswith("python-httpx")


def test_synthetic_requests_are_lines(local, http):
    """Every synthetic request has a line at its own time; as many errors as were scripted."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=30, error_rate=0.1, p95_ms=200)
    local.clock.advance(timedelta(minutes=10))
    entries = [entry for one in pages(http, limit=200) for entry in one["entries"]]
    times = [datetime.fromisoformat(entry["timestamp"]) for entry in entries]
    latencies = [entry["httpRequest"]["latencyMs"] for entry in entries]

    assert 300 == len(entries)
    assert 30 == sum(entry["severity"] == "ERROR" for entry in entries)
    assert sorted(set(times), reverse=True) == times
    assert [100, 200] == [pytest.approx(np.quantile(latencies, q), rel=0.05) for q in (0.5, 0.95)]


def test_empty_page_with_a_next(local, http):
    """A page looks back a day: it may be empty and still name a next one, as captured."""
    line = local.deployment("line-3")
    line.log("boom", severity="ERROR")
    local.clock.advance(timedelta(days=3))
    found = pages(http, severity="ERROR")

    assert [0, 0, 0, 1] == [len(one["entries"]) for one in found]
    assert "boom" == found[-1]["entries"][0]["message"]


def test_retention(local, http):
    """Lines are kept seven days."""
    local.deployment("line-3").log("old", severity="ERROR")
    local.clock.advance(timedelta(days=6, hours=23))
    assert 1 == sum(len(one["entries"]) for one in pages(http))
    local.clock.advance(timedelta(hours=2))
    assert 0 == sum(len(one["entries"]) for one in pages(http))


def test_rare_errors_are_found(local, http):
    """A week of traffic with few errors is read page by page to its end, quickly."""
    line = local.deployment("line-3")
    line.history(timedelta(days=7), requests_per_minute=60, error_rate=0.0005)
    found = pages(http, severity="ERROR", limit=200)

    # 604 800 requests, one error in 2000; the newest and the oldest may fall outside.
    assert 300 <= sum(len(one["entries"]) for one in found) <= 303
    assert len(found) <= 8


def test_lifecycle_lines(local, http):
    """A cold start and a rollout leave lines."""
    local.deployment("line-3").cold_start(20)
    http.get(f"{LINE}/health")
    local.clock.advance(timedelta(seconds=20))
    http.get(f"{LINE}/health")
    severities = [entry["severity"] for entry in page(http)["entries"]]

    assert ["INFO", "DEFAULT", "WARNING", "INFO"] == severities


@given(
    lines=st.lists(st.tuples(st.integers(0, 8 * 24 * 60), st.sampled_from(["INFO", "ERROR"]))),
    rates=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 4)), max_size=4),
    limit=st.integers(1, 9),
    severities=st.sampled_from([None, frozenset({"ERROR"}), frozenset({"INFO", "ERROR"})]),
)
@settings(max_examples=60, deadline=None)
def test_pages_are_a_partition(lines, rates, limit, severities):
    """Page by page one sees each line of the last seven days once, newest first."""
    local = LocalPlatform()
    line = local.add_deployment("line-3")
    for minutes, severity in sorted(lines):
        local.clock.set(local.clock.now().replace(day=5, hour=0, minute=0))
        local.clock.advance(timedelta(minutes=minutes))
        line.log("line", severity=severity)
    for minutes, rate in rates:
        line.behave(requests_per_minute=rate, error_rate=0.3)
        local.clock.advance(timedelta(minutes=minutes))
    now = local._world.now_us()

    def read(limit):
        seen, before = [], None
        for _ in range(3000):
            found, before = line.logbook.page(
                line.ledger.minutes(0, now + 1),
                url="http://x",
                now=now,
                before=before,
                severities=severities,
                limit=limit,
            )
            assert len(found) <= limit
            seen += [entry.key for entry in found]
            if before is None:
                return seen
        raise AssertionError("pages do not end")

    seen = read(limit)

    assert sorted(seen, reverse=True) == seen
    assert len(set(seen)) == len(seen)
    assert read(100_000) == seen
    assert all(now - 7 * DAY <= key[0] <= now for key in seen)


@pytest.mark.parametrize("token", ["", "x", "é", token_of((1, 2, 3))[:-2], "MS4yLjMuNA=="])
def test_strange_tokens(http, token):
    """A token nobody gave out is refused."""
    assert 400 == http.get(f"{LINE}/logs", params={"pageToken": token}).status_code


def test_request_repr():
    """What is printed of a request shows no body."""
    assert "12 bytes" in repr(Request(method="GET", path="/", body=b"x" * 12))
