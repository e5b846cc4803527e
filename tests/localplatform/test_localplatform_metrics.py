"""Metrics are what passed through the endpoint, per bucket of each range."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localkit import LINE, client_of, two_boxes

from driftline.errors import InputError
from driftline.testing import Behaviour, LocalPlatform
from driftline.testing._platform._behaviour import Even, Noisy
from driftline.testing._platform._ledger import LEVELS, SHARES, Ledger
from driftline.testing._platform._time import HOUR, MINUTE, iso

MINUTES = timedelta(minutes=1)
WIDTHS = {"1h": 1, "6h": 5, "24h": 60, "7d": 60, "30d": 240}


def read(http, window="1h", **more):
    reply = http.get(f"{LINE}/metrics", params={"range": window, **more})
    assert 200 == reply.status_code, reply.text
    return reply.json()


def values(metrics, name):
    return {point["timestamp"]: point["value"] for point in metrics["timeSeries"][name]}


@pytest.mark.parametrize("window", WIDTHS)
def test_idle(http, window):
    """An idle endpoint has zeros and empty arrays, as captured from the Platform."""
    metrics = read(http, window)

    assert {0} == set(metrics["summary"].values())
    assert [[]] * 7 == list(metrics["timeSeries"].values())
    assert [] == read(http, window, sparkline="true")["requests24h"]


@pytest.mark.parametrize(("window", "minutes"), WIDTHS.items())
def test_widths(local, http, window, minutes):
    """One minute at 1h up to four hours at 30d; buckets begin at whole multiples, whole ones only."""
    local.deployment("line-3").history(timedelta(days=31), requests_per_minute=10)
    local.clock.advance(timedelta(minutes=7, seconds=20))
    starts = [datetime.fromisoformat(at) for at in values(read(http, window), "requests")]

    assert {minutes * MINUTES} == set(np.diff(starts))
    assert all(start.timestamp() % (60 * minutes) == 0 for start in starts)
    assert (
        starts[0]
        >= local.clock.now()
        - {
            "1h": timedelta(hours=1),
            "6h": timedelta(hours=6),
            "24h": timedelta(days=1),
            "7d": timedelta(days=7),
            "30d": timedelta(days=30),
        }[window]
    )


def test_script_is_what_is_read(local, http):
    """Even traffic reads exactly as it was scripted."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=120, p95_ms=300, p50_ms=90, error_rate=0.05)
    local.clock.advance(timedelta(hours=2))
    metrics = read(http)

    assert {120} == set(values(metrics, "requests").values())
    assert {6} == set(values(metrics, "errors").values())
    assert {90} == set(values(metrics, "latencyP50").values())
    assert {300} == set(values(metrics, "latencyP95").values())
    assert 58 * 120 == metrics["summary"]["totalRequests"]
    assert 0.05 == metrics["summary"]["errorRate"]


def test_lag(local, http):
    """The newest two minutes are not there yet, and the bucket before them is still filling."""
    local.deployment("line-3").behave(requests_per_minute=60)
    local.clock.advance(timedelta(minutes=10, seconds=30))
    requests = values(read(http), "requests")

    assert "2026-01-05T00:08:00.000Z" == max(requests)
    assert 30 == requests["2026-01-05T00:08:00.000Z"]
    assert {60} == {count for at, count in requests.items() if at < "2026-01-05T00:08"}


def test_errors_have_points_only_where_they_occur(local, http):
    """A minute without errors has no error point: series need not align."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60)
    local.clock.advance(5 * MINUTES)
    line.behave(error_rate=0.5)
    local.clock.advance(MINUTES)
    line.behave(error_rate=0.0)
    local.clock.advance(10 * MINUTES)
    metrics = read(http)

    assert {"2026-01-05T00:05:00.000Z": 30} == values(metrics, "errors")
    assert 14 == len(values(metrics, "requests"))


def test_regression_and_recovery(local, http):
    """A latency regression begins and ends when it was scripted."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60, p95_ms=100)
    for factor in (3, 1 / 3, 1):
        local.clock.advance(5 * MINUTES)
        line.slow_down(factor)
    p95 = [round(value) for value in values(read(http), "latencyP95").values()]

    assert [100] * 5 + [300] * 5 + [100] * 3 == p95


def test_traffic_stop(local, http):
    """No traffic leaves no buckets."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60)
    local.clock.advance(5 * MINUTES)
    line.behave(requests_per_minute=0)
    local.clock.advance(20 * MINUTES)

    assert 5 == len(values(read(http), "requests"))


def test_change_within_a_minute(local, http):
    """A change in the middle of a minute splits it."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=60)
    local.clock.advance(timedelta(seconds=90))
    line.behave(requests_per_minute=20)
    local.clock.advance(timedelta(minutes=5))

    assert [60, 40, 20, 20] == list(values(read(http), "requests").values())[:4]


def test_real_requests_count(local, http, image):
    """Predictions and health checks over HTTP are requests, and refused ones errors."""
    http.post(f"{LINE}/predict", files={"file": image})
    http.post(f"{LINE}/predict", files={"file": b"nothing"})
    http.get(f"{LINE}/health")
    local.clock.advance(5 * MINUTES)
    summary = read(http)["summary"]

    assert (3, 1) == (summary["totalRequests"], summary["errorCount"])
    assert 0 < summary["p50LatencyMs"] <= summary["p95LatencyMs"] <= summary["p99LatencyMs"]


def test_reading_counts_nothing(local, http):
    """Listing and reading metrics and logs is no traffic of the endpoint."""
    for path in ("", "/metrics", "/logs"):
        http.get(LINE + path)
    local.clock.advance(5 * MINUTES)

    assert 0 == read(http)["summary"]["totalRequests"]


def test_retention(local, http):
    """Metrics are kept 30 days."""
    line = local.deployment("line-3")
    line.history(timedelta(days=1), requests_per_minute=1)
    local.clock.advance(timedelta(days=29))
    assert read(http, "30d")["summary"]["totalRequests"] > 0
    local.clock.advance(timedelta(days=1, hours=4))
    assert 0 == read(http, "30d")["summary"]["totalRequests"]


def test_a_year_passes(local, http):
    """Skipping a year writes what is kept."""
    local.deployment("line-3").behave(requests_per_minute=600)
    local.clock.advance(timedelta(days=365))
    total = read(http, "30d")["summary"]["totalRequests"]

    # Whole buckets only: up to 4 hours less at the old end, and two minutes at the new one.
    assert 600 * 60 * (30 * 24 - 4) - 1200 <= total <= 600 * 60 * 24 * 30


def test_what_is_too_old_is_forgotten(local):
    """Three months of traffic hold no more rows than what is kept and a little."""
    line = local.deployment("line-3")
    line.behave(requests_per_minute=1)
    for _ in range(90):
        local.clock.advance(timedelta(days=1))
        line.record(method="GET", path="/health", status=200, ms=1.0, agent="test")
    ledger = line.ledger

    assert len(ledger.minutes(0, 1 << 62)) <= 33 * 24 * 60
    assert len(ledger._requests) <= 33
    assert len(line.logbook._lines) <= 10


def test_history(local, http):
    """A past with a regression in it: pieces are laid end to end, the clock stays."""
    line = local.deployment("line-3")
    line.history(20 * MINUTES, requests_per_minute=10, until=20 * MINUTES)
    line.history(20 * MINUTES, requests_per_minute=10, p95_ms=900)
    p95 = list(values(read(http), "latencyP95").values())

    assert [160] * 20 + [900] * 18 == p95


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration": timedelta(0)},
        {"until": -MINUTES},
        {"requests_per_minute": -1},
        {"p95_ms": 0},
        {"p95_ms": 10, "p50_ms": 20},
        {"error_rate": 1.1},
    ],
)
def test_impossible_history(local, wrong):
    """What no endpoint could have done is refused."""
    asked = {"duration": MINUTES, "requests_per_minute": 1, **wrong}
    with pytest.raises(InputError):
        local.deployment("line-3").history(asked.pop("duration"), **asked)


def test_not_ready(local, http):
    """Metrics and logs of a deployment that is not ready are refused."""
    http.patch(LINE, json={"action": "stop"})

    assert [400, 400] == [http.get(f"{LINE}/{what}").status_code for what in ("metrics", "logs")]


@given(
    pauses=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    rate=st.floats(0, 300),
    errors=st.floats(0, 1),
    noisy=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_reading_changes_nothing(pauses, rate, errors, noisy):
    """However often somebody looks, the same traffic has passed."""
    totals = []
    for looks in (False, True):
        local = LocalPlatform(seed=3 if noisy else None)
        line = local.add_deployment("line-3", requests_per_minute=rate, error_rate=errors)
        for seconds in pauses:
            local.clock.advance(timedelta(seconds=seconds))
            if looks:
                assert line.ledger is not None
        rows = line.ledger.minutes(0, 1 << 62)
        totals.append((rows.at.tolist(), rows.requests.tolist(), rows.errors.tolist(), rows.ms))

    assert totals[0][:3] == totals[1][:3]
    assert np.array_equal(totals[0][3], totals[1][3])


@given(
    rate=st.floats(0, 500), errors=st.floats(0, 1), cuts=st.lists(st.integers(0, 3600), max_size=8)
)
def test_even_traffic_loses_nothing(rate, errors, cuts):
    """However time is cut, the number of requests and errors is the rate times the time."""
    behaviour, arrivals, start = Behaviour(requests_per_minute=rate, error_rate=errors), Even(), 0
    requests = failed = 0
    for cut in [*sorted(cut * 1_000_000 for cut in cuts), 3600 * 1_000_000]:
        rows = arrivals.rows(behaviour, start, cut)
        requests, failed, start = requests + rows.requests.sum(), failed + rows.errors.sum(), cut

    assert requests in {int(rate * 60 + 1e-6), int(rate * 60)}
    # The carried fraction is exact to 1e-9 a piece.
    assert abs(failed - int(requests * errors + 1e-6)) <= 1
    assert (rows.errors <= rows.requests).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * HOUR - 1), st.floats(0.1, 1e5), st.booleans()), max_size=60
    )
)
def test_buckets_of_real_requests(requests):
    """Counts and percentiles of real requests are those of numpy, bucket by bucket."""
    ledger = Ledger()
    for at, ms, failed in requests:
        ledger.add_request(at, ms=ms, failed=failed)
    buckets = ledger.buckets(start=0, cut=2 * HOUR, width=5 * MINUTE)
    inside = [request for request in requests if request[0] < 2 * HOUR]
    by_bucket = {}
    for at, ms, failed in inside:
        by_bucket.setdefault(at // (5 * MINUTE) * 5 * MINUTE, []).append((ms, failed))

    assert sorted(by_bucket) == buckets.at.tolist()
    for index, at in enumerate(buckets.at.tolist()):
        ms, failed = zip(*by_bucket[at], strict=True)
        assert (len(ms), sum(failed)) == (buckets.requests[index], buckets.errors[index])
        lower = np.quantile(ms, [0.5, 0.95], method="inverted_cdf")
        assert pytest.approx(lower) == [buckets.p50_ms[index], buckets.p95_ms[index]]
    if inside:
        assert pytest.approx(np.mean([ms for _, ms, _ in inside])) == buckets.mean_ms


def test_levels():
    """Each stored level lies in its stratum; p50, p95 and p99 are among them; shares sum to 1."""
    upper = np.cumsum(SHARES)

    assert pytest.approx(1) == upper[-1]
    assert ((upper - SHARES < LEVELS) & (LEVELS < upper)).all()
    assert {0.5, 0.95, 0.99} <= set(LEVELS.tolist())


def test_noise_is_as_large_as_it_should_be():
    """Noisy minutes vary as samples of that size do: counts as Poisson, p95 as an order statistic.

    2000 minutes of 100 requests. The mean count is 100 with a Monte-Carlo error of 10/sqrt(2000)
    = 0.22, the errors' share 0.1 with 0.0007; bounds are four errors. The spread of the p95 is
    compared with that of numpy on as many real samples of 100: the standard error of the ratio
    of two standard deviations is 1/sqrt(2000) = 2.2 %, the bound 9 %.
    """
    rng = np.random.default_rng(11)
    behaviour = Behaviour(requests_per_minute=100, p50_ms=100, p95_ms=200, error_rate=0.1)
    rows = Noisy.of(rng).rows(behaviour, 0, 2000 * MINUTE)
    real = np.quantile(
        100 * np.exp(behaviour.sigma * rng.standard_normal((2000, 100))), 0.95, axis=1
    )
    p95 = rows.ms[:, LEVELS.tolist().index(0.95)]

    assert abs(rows.requests.mean() - 100) < 0.9
    assert 0.9 < rows.requests.var() / 100 < 1.15
    assert abs(rows.errors.sum() / rows.requests.sum() - 0.1) < 0.0028
    assert abs(np.log(p95).std() / np.log(real).std() - 1) < 0.09
    assert (np.diff(rows.ms, axis=1) >= 0).all()


def test_same_seed():
    """The same seed is the same traffic; another one is not."""

    def read_with(seed):
        with (
            LocalPlatform(detector=two_boxes, deployments=["line-3"], seed=seed) as local,
            client_of(local) as http,
        ):
            local.deployment("line-3").behave(requests_per_minute=60)
            local.clock.advance(timedelta(hours=1))
            return values(read(http), "latencyP95")

    assert read_with(5) == read_with(5)
    assert read_with(5) != read_with(6)


def test_times_are_written_like_the_platforms():
    """Milliseconds and a Z, as captured."""
    assert "1970-01-01T00:00:01.500Z" == iso(1_500_000)
    assert "1970-01-01T00:00:01Z" == iso(1_500_000, digits=0)
