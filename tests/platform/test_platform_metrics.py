"""Metrics in their three shapes, and what they do not say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from platform_server import Answer

from driftline.errors import InputError, UnreadableReply
from driftline.platform._buckets import as_series, bucket_width
from driftline.platform._decode import _unit_of
from driftline.records import Metric, as_datetime64

END = datetime(2026, 11, 22, 12, tzinfo=UTC)
SERIES = (
    "requests",
    "errors",
    "latencyP50",
    "latencyP95",
    "cpuUtilization",
    "memoryUtilization",
    "instanceCount",
)
MINUTE = timedelta(minutes=1)


def iso(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def minutes(*pairs):
    """Points so many minutes before the end."""
    return [{"timestamp": iso(END - ago * MINUTE), "value": value} for ago, value in pairs]


def full(summary=None, **series):
    counts = {
        "totalRequests": 42,
        "errorCount": 1,
        "errorRate": 0.024,
        "avgLatencyMs": 120,
        "p50LatencyMs": 100,
        "p95LatencyMs": 180.5,
        "p99LatencyMs": 240,
    }
    return {
        "deploymentId": "65f0000000000000000000a1",
        "region": "us-central1",
        "timeRange": {"start": iso(END - timedelta(hours=1)), "end": iso(END)},
        "summary": {**counts, **(summary or {})},
        "timeSeries": {name: series.get(name, []) for name in SERIES},
    }


def overview(summary=None, **series):
    body = full(**series)
    body["summary"] = {
        "totalRequests": 42,
        "errorRate": 0.024,
        "p95LatencyMs": 180.5,
        **(summary or {}),
    }
    body["timeSeries"] = {
        name: series.get(name, []) for name in ("requests", "errors", "latencyP95")
    }
    return body


SPARKLINE = {"requests24h": [0, 3, 5], "totalRequests": 8, "errorRate": 0.5, "avgLatencyMs": 99}


def fetch(face, body, window="1h", view="full", **options):
    return face(lambda _: Answer(json=body), **options).metrics("acme/line-3", window, view)


def test_full(face):
    """The full view: summary with units in names, one series a metric, times in UTC."""
    body = full(
        requests=minutes((10, 20), (11, 22)),
        errors=minutes((11, 1)),
        latencyP95=minutes((10, 180.5)),
        cpuUtilization=minutes((10, 0.0)),
    )
    found = fetch(face, body)

    assert ("acme/line-3", "1h", "full") == (found.deployment, found.window, found.view)
    assert (END - timedelta(hours=1), END) == (found.start, found.end)
    assert UTC is found.received_at.tzinfo
    summary = found.summary
    assert (42.0, 1.0, 120.0, 100.0, 180.5, 240.0) == (
        summary.total_requests,
        summary.error_count,
        summary.avg_latency_ms,
        summary.p50_latency_ms,
        summary.p95_latency_ms,
        summary.p99_latency_ms,
    )
    assert {
        Metric.REQUESTS,
        Metric.ERRORS,
        Metric.LATENCY_P50_MS,
        Metric.LATENCY_P95_MS,
        Metric.CPU_UTILIZATION,
        Metric.MEMORY_UTILIZATION,
        Metric.INSTANCES,
    } == set(found.series)
    requests = found.series[Metric.REQUESTS]
    assert [22.0, 20.0] == requests.values.tolist()
    assert [as_datetime64(END - 11 * MINUTE), as_datetime64(END - 10 * MINUTE)] == list(
        requests.times
    )
    assert ("acme/line-3", MINUTE) == (requests.deployment, requests.width)
    assert [0.0] == found.series[Metric.CPU_UTILIZATION].values.tolist()
    assert "acme/line-3, last 1h: 42 requests, 2.4 % errors, p95 180 ms" == str(found)


def test_what_is_asked(face):
    """Each view is asked for in the Platform's words."""
    client = face(lambda asked: Answer(json=SPARKLINE if "sparkline" in asked.query else full()))
    client.metrics("acme/line-3", "6h")
    client.metrics("acme/line-3", "6h", "overview")
    client.metrics("acme/line-3", view="sparkline")

    assert [
        {"range": "6h"},
        {"range": "6h", "view": "overview"},
        {"range": "1h", "sparkline": "true"},
    ] == [asked.query for asked in client.calls]


def test_no_traffic(face):
    """No traffic is no data: no latency of zero, no rate of zero, empty series that are settled."""
    nothing = dict.fromkeys(
        ("totalRequests", "errorCount", "errorRate", "avgLatencyMs", "p50LatencyMs"), 0
    )
    found = fetch(face, full({**nothing, "p95LatencyMs": 0, "p99LatencyMs": 0}))

    summary = found.summary
    assert 0.0 == summary.total_requests
    assert [None] * 5 == [
        summary.error_rate,
        summary.avg_latency_ms,
        summary.p50_latency_ms,
        summary.p95_latency_ms,
        summary.p99_latency_ms,
    ]
    assert all(0 == len(series) for series in found.series.values())
    assert END - timedelta(minutes=2) == found.series[Metric.REQUESTS].settled_until
    assert () == found.to_samples()
    assert "acme/line-3, last 1h: no requests" == str(found)


def test_zero_latency_is_no_data(face):
    """A bucket with a latency of 0 is dropped; a count of 0 is a count."""
    body = full(
        requests=minutes((11, 0), (10, 4)),
        errors=minutes((11, 0)),
        latencyP95=minutes((11, 0), (10, 99)),
        latencyP50=minutes((11, 0)),
    )
    found = fetch(face, body).series

    assert [0.0, 4.0] == found[Metric.REQUESTS].values.tolist()
    assert [0.0] == found[Metric.ERRORS].values.tolist()
    assert [99.0] == found[Metric.LATENCY_P95_MS].values.tolist()
    assert 0 == len(found[Metric.LATENCY_P50_MS])


def test_unordered(face):
    """Points in any order come out in order; the same point twice is one."""
    body = full(requests=minutes((5, 1), (9, 3), (5, 1), (7, 2)))

    assert [3.0, 2.0, 1.0] == fetch(face, body).series[Metric.REQUESTS].values.tolist()


def test_contradiction(face):
    """One bucket with two values is a fault of the reply."""
    with pytest.raises(UnreadableReply) as caught:
        fetch(face, full(requests=minutes((5, 1), (5, 2))))

    assert (
        "$.timeSeries.requests[1].timestamp: comes twice, with 1 and 2",
    ) == caught.value.problems


def test_newest_buckets_are_not_settled(face):
    """Metrics lag two minutes: at an even minute the two newest buckets are left out."""
    body = full(requests=minutes(*((ago, ago) for ago in range(1, 6))))
    series = fetch(face, body).series[Metric.REQUESTS]

    assert [5.0, 4.0, 3.0, 2.0, 1.0] == series.values.tolist()
    assert [5.0, 4.0, 3.0] == series.settled.values.tolist()


def test_three_newest_between_minutes(face):
    """In mid-minute the bucket under way and two before it are left out."""
    body = full(requests=minutes(*((ago, ago) for ago in range(6))))
    body["timeRange"]["end"] = iso(END + timedelta(seconds=30))
    series = fetch(face, body).series[Metric.REQUESTS]

    assert [5.0, 4.0, 3.0] == series.settled.values.tolist()


def test_lag_is_a_parameter(face):
    """Who knows the lag better says so."""
    body = full(requests=minutes((1, 1), (2, 2), (5, 5)))
    found = fetch(face, body, metrics_lag=timedelta(0))

    assert [5.0, 2.0, 1.0] == found.series[Metric.REQUESTS].settled.values.tolist()
    assert END == found.settled_until


def test_samples_are_settled(face):
    """What goes into metrics stores is settled."""
    found = fetch(face, full(requests=minutes((1, 1), (5, 5)), errors=minutes((5, 1))))

    assert [
        (Metric.REQUESTS, 5.0, END - 5 * MINUTE, MINUTE, "acme/line-3"),
        (Metric.ERRORS, 1.0, END - 5 * MINUTE, MINUTE, "acme/line-3"),
    ] == [(one.metric, one.value, one.at, one.width, one.deployment) for one in found.to_samples()]


@pytest.mark.parametrize(
    ("window", "ago", "width"),
    [
        ("1h", [50, 10], timedelta(minutes=1)),  # stated, although traffic was sparse
        ("1h", [10, 9.5], timedelta(seconds=30)),  # finer than stated
        ("1h", [], timedelta(minutes=1)),
        ("30d", [5000, 300], timedelta(hours=4)),
        ("6h", [30, 25, 10], timedelta(minutes=5)),
        ("24h", [180, 60, 0], timedelta(hours=1)),
        ("7d", [60], timedelta(0)),  # one bucket tells no width
    ],
)
def test_width(window, ago, width):
    """The width is the stated one or the smallest spacing of any series."""
    assert width == bucket_width(window, [END - one * MINUTE for one in ago])


def test_width_over_all_series(face):
    """Sparse series take the width that a denser one shows."""
    body = full(requests=minutes((30, 1), (20, 1), (15, 1)), errors=minutes((30, 1), (15, 1)))
    found = fetch(face, body, window="6h").series

    assert timedelta(minutes=5) == found[Metric.ERRORS].width
    assert timedelta(minutes=5) == found[Metric.INSTANCES].width


@given(
    st.dictionaries(
        st.integers(0, 10_000).map(lambda ago: END - ago * MINUTE),
        st.floats(0, 1e6),
        max_size=50,
    )
)
def test_series_law(points):
    """Whatever the points, a series is ordered, complete, and without latencies of zero."""
    options = {"deployment": "acme/x", "width": MINUTE, "settled_until": END}
    counts = as_series(Metric.REQUESTS, points, **options)
    latencies = as_series(Metric.LATENCY_P95_MS, points, **options)

    assert len(points) == len(counts)
    assert math.isclose(sum(points.values()), counts.values.sum(), rel_tol=1e-9, abs_tol=1e-9)
    assert bool(np.all(np.diff(counts.times) > np.timedelta64(0, "us")))
    assert sorted(value for value in points.values() if value) == sorted(latencies.values)


@pytest.mark.parametrize(
    ("raw", "errors", "rate", "unit"),
    [
        (0.0238, 1, 1 / 42, "fraction"),
        (2.38, 1, 1 / 42, "percent"),
        (0.02, 1, 1 / 42, "fraction"),  # rounded to two places
        (0, 0, 0.0, None),
        (0.5, 1, 1 / 42, None),  # fits neither
        (7, 0, 0.0, "percent"),  # no share is above 1
    ],
)
def test_error_rate(face, raw, errors, rate, unit):
    """The rate comes from counts; the Platform's own is kept, and its unit found out."""
    summary = fetch(face, full({"errorRate": raw, "errorCount": errors})).summary

    assert rate == summary.error_rate
    assert raw == summary.error_rate_raw
    assert unit == summary.error_rate_unit


def test_counts_of_different_moments(face):
    """More errors than requests tell no rate."""
    assert fetch(face, full({"errorCount": 43})).summary.error_rate is None


@given(
    rate=st.floats(1e-6, 1),
    unit=st.sampled_from(["fraction", "percent"]),
    places=st.sampled_from([2, 3, 4, 17]),
)
def test_unit_is_never_mistaken(rate, unit, places):
    """From a rate that was rounded to two places or more, the unit is told rightly or not at all."""
    raw = round(rate * (100 if unit == "percent" else 1), places)

    assert _unit_of(raw, rate) in {unit, None}


def test_overview(face):
    """The overview has three series; its rate is computed from them."""
    body = overview(
        {"errorRate": 25},
        requests=minutes((9, 10), (8, 30)),
        errors=minutes((8, 10)),
        latencyP95=minutes((8, 180)),
    )
    found = fetch(face, body, view="overview")

    assert "overview" == found.view
    assert {Metric.REQUESTS, Metric.ERRORS, Metric.LATENCY_P95_MS} == set(found.series)
    assert (0.25, 25.0, "percent") == (
        found.summary.error_rate,
        found.summary.error_rate_raw,
        found.summary.error_rate_unit,
    )
    assert (180.5, None, None) == (
        found.summary.p95_latency_ms,
        found.summary.error_count,
        found.summary.avg_latency_ms,
    )


def test_overview_without_counts(face):
    """Where an overview has no counts the rate is unknown, unless the user knows its unit."""
    body = overview({"errorRate": 0.5})

    assert fetch(face, body, view="overview").summary.error_rate is None
    told = {"view": "overview", "error_rate_unit": "percent"}
    assert 0.005 == fetch(face, body, **told).summary.error_rate
    told["error_rate_unit"] = "fraction"
    assert 0.5 == fetch(face, body, **told).summary.error_rate
    assert "error rate unknown" in str(fetch(face, body, view="overview"))


def test_overview_of_an_older_platform(face):
    """A Platform that knows no overview answers in full, and that is read as such."""
    assert "full" == fetch(face, full(), view="overview").view


def test_sparkline(face):
    """A sparkline has 24 hours of counts, a mean latency, no times, and no rate of known unit."""
    found = fetch(face, SPARKLINE, view="sparkline")

    assert ("sparkline", "24h") == (found.view, found.window)
    assert (0.0, 3.0, 5.0) == found.requests_24h
    assert (8.0, 99.0, None, None, 0.5) == (
        found.summary.total_requests,
        found.summary.avg_latency_ms,
        found.summary.p95_latency_ms,
        found.summary.error_rate,
        found.summary.error_rate_raw,
    )
    assert {} == dict(found.series)
    assert found.settled_until is None
    assert "8 requests, error rate unknown, p95 unknown" in str(found)


def test_sparkline_without_traffic(face):
    """An idle endpoint's sparkline is empty, its latency no data."""
    idle = {"requests24h": [], "totalRequests": 0, "errorRate": 0, "avgLatencyMs": 0}
    found = fetch(face, idle, view="sparkline", error_rate_unit="fraction")

    assert () == found.requests_24h
    assert (None, None) == (found.summary.avg_latency_ms, found.summary.error_rate)


def test_impossible_unit(face):
    """A unit that the number contradicts is reported with the way out."""
    body = {**SPARKLINE, "errorRate": 2.4}
    with pytest.raises(UnreadableReply, match="cannot be a fraction; set error_rate_unit"):
        fetch(face, body, view="sparkline", error_rate_unit="fraction")


def test_full_view_is_demanded(face):
    """Who asks for all of it hears what is missing, by path, all at once."""
    body = full(requests=[{"timestamp": "11:00", "value": "many"}, {"timestamp": iso(END)}])
    del body["summary"]["errorCount"]
    del body["timeSeries"]["latencyP95"]
    body["timeRange"]["start"] = "2026-11-22T11:00:00"
    body["summary"]["p95LatencyMs"] = -1
    with pytest.raises(UnreadableReply) as caught:
        fetch(face, body)

    assert {
        "$.timeRange.start",
        "$.summary.errorCount",
        "$.summary.p95LatencyMs",
        "$.timeSeries.latencyP95",
        "$.timeSeries.requests[0].timestamp",
        "$.timeSeries.requests[0].value",
        "$.timeSeries.requests[1].value",
    } == {problem.partition(":")[0] for problem in caught.value.problems}


@pytest.mark.parametrize(("window", "view"), [("2h", "full"), ("1h", "all"), (None, "full")])
def test_bad_question(face, window, view):
    """A window or view that does not exist is refused here."""
    with pytest.raises(InputError, match="must be one of 1h, 6h, 24h, 7d, 30d"):
        fetch(face, full(), window, view)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics_lag": timedelta(seconds=-1)},
        {"error_rate_unit": "permille"},
        {"rate_limits": {"default": 0}},
    ],
)
def test_bad_settings(face, wrong):
    """Settings that cannot be meant are refused at birth, by name."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        face(lambda _: Answer(), **wrong)


def test_metrics_are_read_only(face):
    """Nobody can add a series to what was measured."""
    found = fetch(face, full())
    with pytest.raises(TypeError):
        found.series["x"] = None
    assert "DeploymentMetrics('acme/line-3', window='1h', view='full', requests=42)" == repr(found)
