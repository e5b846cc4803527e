"""The monitor on a real HTTP server that speaks the Platform's contract: late, dead, stopped, gone."""

import asyncio
from datetime import timedelta

import pytest
from monitor_support import LINE, MINUTE, RUNBOOK, START, errors, latency, told

from driftline import AsyncPlatformClient, Monitor, PlatformClient, rules
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform


@pytest.fixture
def local():
    with LocalPlatform(start=START, rate_limits=None) as platform:
        line = platform.deployment("line-3")
        line.history(timedelta(hours=3), requests_per_minute=60)
        line.behave(requests_per_minute=60)
        yield platform


@pytest.fixture
def watch(local, sink):
    """A run; each on a new client and monitor, as cron does it."""
    store = MemoryStore()

    def run(**how):
        with PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as client:
            parts = {
                "deployments": [LINE],
                "rules": [latency(), errors(), rules.RequestVolume(runbook=RUNBOOK)],
                "sinks": [sink],
                "store": store,
                "clock": local.clock,
                **how,
            }
            return Monitor(client, **parts).run_once()

    return run


def test_regression_pages_once(local, watch, sink):
    """An endpoint that becomes three times as slow pages once and, mended, tells the end."""
    watch()
    local.deployment("line-3").slow_down(3)
    for run in range(14):
        if run == 7:
            local.deployment("line-3").slow_down(1 / 3)
        local.clock.advance(5 * MINUTE)
        watch()
    assert [("latency-budget", "firing"), ("latency-budget", "resolved")] == told(sink)
    assert 480 == pytest.approx(sink.alerts[0].value, rel=0.02)


def test_two_hours_late(local, watch, sink):
    """What wider buckets can judge is judged; what they cannot is unjudged, and said."""
    watch()
    local.clock.advance(20 * MINUTE)
    local.deployment("line-3").behave(p95_ms=480, p50_ms=240)
    local.clock.advance(40 * MINUTE)
    local.deployment("line-3").behave(p95_ms=160, p50_ms=80, error_rate=0.1)
    local.clock.advance(30 * MINUTE)
    local.deployment("line-3").behave(error_rate=0.0)
    local.clock.advance(80 * MINUTE)
    run = watch()

    assert [("latency-budget", "firing"), ("latency-budget", "resolved")] == told(sink)
    assert START + 20 * MINUTE == sink.alerts[0].since
    (gap,) = [gap for gap in run.unjudged if gap.rule == "error-rate"]
    assert "cannot make up samples of 0:01:00" in gap.reason
    assert timedelta(minutes=105) < gap.end - gap.start < timedelta(minutes=115)


def test_dead_for_hours(local, watch, sink):
    """A platform that is dead for two hours costs nothing that its wider buckets can tell."""
    watch()
    local.fault(503, times=None)
    local.deployment("line-3").slow_down(3)
    for _ in range(24):
        local.clock.advance(5 * MINUTE)
        run = watch()
        assert "PlatformBroken" in str(run.problems[0])
        assert () == run.alerts
    local.clear_faults()
    local.clock.advance(5 * MINUTE)
    watch()
    assert [("latency-budget", "firing")] == told(sink)
    assert sink.alerts[0].since == START


@pytest.mark.parametrize("fault", [503, 429, "reset", "malformed"])
def test_faults_are_problems_not_alarms(local, watch, sink, fault):
    """Whatever a call meets, the run goes on, says so, and nothing is taken for calm or breach."""
    watch()
    local.fault(fault, times=None, **({"retry_after_seconds": 1.0} if fault == 429 else {}))
    local.clock.advance(5 * MINUTE)
    run = watch()
    assert (0, 0, 1) == (run.judged, len(run.alerts), len(run.problems))
    local.clear_faults()
    local.clock.advance(5 * MINUTE)
    assert 0 < watch().judged
    assert [] == sink.alerts


def test_a_wrong_key(local, sink):
    """A key that is not accepted is a problem of each deployment, not an alarm."""
    wrong = "ul_" + "0" * 40
    with PlatformClient(api_key=wrong, base_url=local.url, clock=local.clock) as client:
        run = Monitor(client, deployments=[LINE], rules=[latency()], clock=local.clock).run_once()
    assert "NotAuthorized" in str(run.problems[0])
    assert wrong not in str(run)


def test_silence_of_the_whole_platform(local, watch):
    """After five calls without a reply the rest of the fleet is not tried in that run."""
    for i in range(20):
        local.add_deployment(f"other-{i}")
    local.close()
    names = [f"acme/other-{i}" for i in range(20)]
    with PlatformClient(
        api_key=local.api_key, base_url="http://127.0.0.1:9", clock=local.clock
    ) as client:
        monitor = Monitor(
            client, deployments=names, rules=[latency()], clock=local.clock, workers=1
        )
        run = monitor.run_once()
    assert 6 == len(run.problems)
    assert any("did not reply 5 times in a row" in str(problem) for problem in run.problems)
    assert any("and 12 more" in str(problem) for problem in run.problems)


def test_gone(local, watch, sink):
    """A deployment that is not to be found in two runs is gone: what was open is ended with that."""
    local.deployment("line-3").slow_down(3)
    local.clock.advance(20 * MINUTE)
    watch()
    local.deployment("line-3").fault(404, on=None, times=None)
    local.clock.advance(5 * MINUTE)
    assert ["firing"] == [alert.status.value for alert in sink.alerts]
    watch()
    watch()  # the same minute again: it does not count twice
    assert ["firing"] == [alert.status.value for alert in sink.alerts]
    local.clock.advance(5 * MINUTE)
    run = watch()
    assert ["firing", "resolved"] == [alert.status.value for alert in sink.alerts]
    assert "the deployment is gone" in sink.alerts[-1].reason
    assert "NotFound" in str(run.problems[0])


def test_back_again(local, watch, sink):
    """One that was not to be found for a single run is not gone."""
    local.deployment("line-3").slow_down(3)
    local.clock.advance(20 * MINUTE)
    watch()
    for _ in range(3):
        local.deployment("line-3").fault(404, on=None, times=2)
        local.clock.advance(5 * MINUTE)
        watch()
        local.deployment("line-3").clear_faults()
        local.clock.advance(5 * MINUTE)
        watch()
    assert ["firing"] == [alert.status.value for alert in sink.alerts]


def test_stopped(local, watch, sink):
    """While a deployment is stopped its time is unjudged: no traffic then is no alarm."""
    watch()
    with PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as client:
        client.stop(LINE)
        local.deployment("line-3").behave(requests_per_minute=0)
        for _ in range(6):
            local.clock.advance(5 * MINUTE)
            run = watch()
            assert "the Platform has no metrics" in run.unjudged[0].reason
        client.start(LINE)
    local.deployment("line-3").behave(requests_per_minute=60)
    for _ in range(6):
        local.clock.advance(5 * MINUTE)
        watch()
    assert [] == sink.alerts


def test_health(local, watch, sink):
    """A sick endpoint pages once, and its own error alert is withheld."""
    rule = rules.EndpointHealth(runbook="Restart it")
    watch(rules=[rule, errors()])
    local.deployment("line-3").behave(healthy=False)
    for _ in range(4):
        local.clock.advance(5 * MINUTE)
        watch(rules=[rule, errors()])
    assert ("endpoint-health", "firing") == told(sink)[-1]


def test_async_client(local, sink):
    """The async client through the async face: the same page."""
    local.deployment("line-3").slow_down(3)
    local.clock.advance(20 * MINUTE)

    async def service():
        async with AsyncPlatformClient(
            api_key=local.api_key, base_url=local.url, clock=local.clock
        ) as client:
            monitor = Monitor(
                client, deployments=[LINE], rules=[latency()], sinks=[sink], clock=local.clock
            )
            return await monitor.arun_once()

    run = asyncio.run(service())
    assert () == run.problems
    assert [("latency-budget", "firing")] == told(sink)
