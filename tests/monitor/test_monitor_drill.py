"""Drills: synthetic through the whole engine, and against a deployment of a local platform."""

import itertools
import threading
from datetime import timedelta

import pytest
from monitor_support import LINE, MINUTE, RUNBOOK, START, errors, latency, told

from driftline import Monitor, PlatformClient, rules
from driftline.errors import ConfigError, DeliveryFailed, DeliveryRefused, InputError, StoreBusy
from driftline.monitor import Budget, drill_bad_images, drill_paused_traffic
from driftline.records import Metric, Receipt
from driftline.rules import Judgement
from driftline.testing import FrozenClock, LocalPlatform, RecordingSink
from terminal import at_a_terminal

EVERY_RULE = [
    latency(),
    errors(),
    rules.EndpointHealth(runbook=RUNBOOK),
    rules.NoData(runbook=RUNBOOK),
    rules.Threshold(series=Metric.MAP, below=0.5, runbook=RUNBOOK),
    rules.RequestVolume(runbook=RUNBOOK),
    rules.DetectionVolume(mode="hourly", runbook=RUNBOOK),
    rules.DetectionVolume(mode="weekly", name="detection-volume-weekly", runbook=RUNBOOK),
]


class TestSynthetic:
    def test_every_rule_through_every_sink(self, make, sink):
        """Each rule fires on its own example; each sink takes alert and end; the report says so."""
        other = RecordingSink(name="other")
        drill = make(rules=EVERY_RULE, sinks=[sink, other]).drill()

        assert drill.ok, str(drill)
        assert 2 * len(EVERY_RULE) == len(drill.lines)
        for taken in (sink, other):
            assert [rule.name for rule in EVERY_RULE] == [
                a.rule for a in taken.alerts[: len(EVERY_RULE)]
            ]
            assert ["firing"] * len(EVERY_RULE) + ["resolved"] * len(EVERY_RULE) == [
                alert.status.value for alert in taken.alerts
            ]
        assert "all well" in str(drill)
        assert all(line.fired_after_seconds < 5 for line in drill.lines)

    def test_marked_and_under_its_own_key(self, make, table, sink):
        """A drill's alert is a test, and its key is never that of a real one."""
        table.bad_between(-60, 60)
        monitor = make(rules=[latency()])
        monitor.run_once()
        monitor.drill("latency-budget")
        real, *drilled = sink.alerts

        assert not real.test
        assert all(alert.test for alert in drilled)
        assert {alert.key for alert in drilled}.isdisjoint({real.key})
        assert drilled[0].key.startswith("drill-")
        assert RUNBOOK == drilled[0].runbook
        assert LINE == drilled[0].deployment

    def test_tells_of_nothing_else(self, make, table, clock, sink):
        """What waits for a sink is left to the next run: a drill sends what it made and no more."""
        table.bad_between(-60, 60)
        sink.fail(DeliveryFailed("503"), times=1)
        monitor = make(rules=[latency()], forward=False)
        monitor.run_once()
        clock.advance(5 * MINUTE)
        monitor.drill()
        assert [True, True] == [alert.test for alert in sink.alerts]
        monitor.run_once()

        assert [True, True, False] == [alert.test for alert in sink.alerts]

    def test_leaves_no_trace(self, make, table, sink, store):
        """After a drill the monitor stands where it stood, and nothing waits."""
        monitor = make()
        monitor.run_once()
        before = (monitor.status(), monitor.transitions())
        monitor.drill()
        assert before == (monitor.status(), monitor.transitions())
        assert {} == store.queues()
        assert () == monitor.alerts()

    def test_one_rule(self, make, sink):
        """One rule by name, or by itself."""
        rule = latency()
        for which in ("latency-budget", rule):
            assert {"latency-budget"} == {line.rule for line in make().drill(which).lines}
        with pytest.raises(InputError, match="no rule is called"):
            make().drill("latency")

    def test_silences_do_not_keep_it_back(self, make, clock, sink):
        """Whoever drills wants to see it."""
        monitor = make()
        monitor.silence(author="ada", reason="x", end=clock.now() + MINUTE)
        assert monitor.drill().ok

    def test_a_dead_sink_is_found(self, make, sink, store, clock):
        """What a sink does not take is in the report, and a beginning is not sent hours later."""
        dead = RecordingSink(name="dead")
        dead.fail(DeliveryFailed("503"), times=None)
        monitor = make(sinks=[sink, dead])
        drill = monitor.drill("latency-budget")

        assert not drill.ok
        assert [("recording", True), ("dead", False)] == [
            (line.sink, line.ok) for line in drill.lines
        ]
        assert "503" in str(drill)
        dead.recover()
        clock.advance(timedelta(hours=1))
        monitor.run_once()
        assert ["resolved"] == [alert.status.value for alert in dead.alerts]  # the harmless half

    def test_a_refusing_sink_leaves_no_dead_letter(self, make, sink):
        """A refusal is in the report; a dead letter of a drill is of no use to anybody."""
        sink.fail(DeliveryRefused("401: bad key"), times=None)
        monitor = make()
        drill = monitor.drill("latency-budget")
        assert "401: bad key" in drill.lines[0].error
        assert () == monitor.dead_letters()

    def test_a_hanging_sink_is_found(self, make, watch, monkeypatch):
        """A sink that never answers costs the drill its budget."""
        asked, gate, looks = threading.Event(), threading.Event(), itertools.count()

        class Hangs:
            name = "hangs"

            def send(self, alert):
                asked.set()
                assert gate.wait(60)
                return Receipt(sink=self.name)

        # From then on a second passes between one look and the next.
        monkeypatch.setattr(watch, "monotonic", lambda: next(looks) if asked.is_set() else 0)
        budget = Budget(total=timedelta(seconds=2), delivery=timedelta(seconds=0.3))
        drill = make(sinks=[Hangs()], budget=budget).drill("latency-budget")
        gate.set()
        assert "no answer" in drill.lines[0].error

    def test_without_a_sink(self, make):
        """A monitor that tells nobody is not well."""
        drill = make(sinks=[]).drill()
        assert not drill.ok
        assert "nobody would be told" in str(drill)

    def test_a_rule_that_cannot_fire(self, make):
        """A rule that does not fire on its own example is found."""

        class Blind(rules.LatencyBudget):
            def judge(self, reading):
                return Judgement.nothing()

        drill = make(rules=[Blind(p95_ms=1, runbook=RUNBOOK)]).drill()
        assert "blind does not fire on its own example" in drill.problems[0]

    def test_not_while_a_run_is_at_work(self, make, store, clock):
        """It waits for its turn."""
        store.acquire("monitor/monitor", holder="a run", now=clock.now(), duration=MINUTE)
        with pytest.raises(StoreBusy):
            make().drill()


@pytest.fixture
def local():
    with LocalPlatform(start=START) as platform:
        line = platform.deployment("line-3")
        line.history(timedelta(hours=2), requests_per_minute=60)
        line.behave(requests_per_minute=60)
        yield platform


@pytest.fixture
def client(local):
    with PlatformClient(api_key=local.api_key, base_url=local.url, clock=local.clock) as client:
        yield client


@pytest.fixture
def watching(local, client, sink):
    def made(**how):
        parts = {
            "deployments": [LINE],
            "rules": [errors(), rules.RequestVolume(runbook="Call the site")],
            "sinks": [sink],
            "clock": local.clock,
            **how,
        }
        return Monitor(client, **parts)

    return made


class TestAgainstADeployment:
    def test_bad_images(self, local, client, watching, sink):
        """Malformed images make the error-rate rule fire; when they stop it recovers."""
        drill = drill_bad_images(watching(), client, LINE, clock=local.clock)

        assert drill.ok, str(drill)
        assert "likely cause: payload" in drill.fired.reason
        assert 400 in {line.http_status for line in drill.fired.logs}
        assert timedelta(minutes=5) <= drill.fired_after <= timedelta(minutes=10)
        assert [("error-rate", "firing"), ("error-rate", "resolved")] == told(sink)
        assert drill.sent == sum(call.operation == "predict" for call in local.calls)

    def test_told_at_a_terminal(self, client, watching, monkeypatch):
        """Who drills at a terminal sees what is waited for, and for how long already."""
        screen = at_a_terminal(monkeypatch)
        drill_bad_images(watching(), client, LINE)
        firing, over, end = screen.getvalue().split("\n")
        head = "\rdrill of error-rate: waiting until it is "

        assert firing.startswith(f"{head}firing, 0 of at most 45 minutes{head}firing, 1 of")
        assert over.startswith(f"{head}resolved, 0 of at most 45 minutes{head}resolved, 1 of")
        assert "" == end

    def test_bad_images_without_traffic(self, local, client, watching, sink):
        """On a deployment without traffic, good images bring the minutes that recover."""
        local.deployment("line-3").behave(requests_per_minute=0)
        good = _png()
        drill = drill_bad_images(
            watching(rules=[errors()]), client, LINE, good_image=good, clock=local.clock
        )
        assert drill.ok, str(drill)

    def test_paused_traffic(self, local, watching, sink):
        """Paused traffic makes the volume rule fire; when it flows again it recovers."""
        line = local.deployment("line-3")
        monitor = watching()
        monitor.run_once()
        drill = drill_paused_traffic(
            monitor,
            LINE,
            pause=lambda: line.behave(requests_per_minute=0),
            resume=lambda: line.behave(requests_per_minute=60),
            clock=local.clock,
        )
        assert drill.ok, str(drill)
        assert timedelta(minutes=10) <= drill.fired_after <= timedelta(minutes=20)
        assert [("request-volume", "firing"), ("request-volume", "resolved")] == told(sink)

    def test_traffic_flows_again_whatever_happens(self, local, watching):
        """A drill that breaks down resumes the traffic."""
        flowing = []

        def samples():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            drill_paused_traffic(
                watching(), LINE, pause=lambda: flowing.append(False),
                resume=lambda: flowing.append(True), clock=local.clock, samples=samples,
            )  # fmt: skip
        assert [False, True] == flowing

    def test_a_rule_that_sleeps_is_found(self, local, client, watching):
        """A limit that nothing passes is reported, not waited for for ever."""
        sleepy = rules.ErrorRate(above=0.99, runbook=RUNBOOK)
        drill = drill_bad_images(
            watching(rules=[sleepy]),
            client,
            LINE,
            clock=local.clock,
            patience=timedelta(minutes=10),
        )
        assert not drill.ok
        assert "did not fire within" in str(drill)

    def test_checked_before_anything_is_broken(self, local, client, watching):
        """A rule or deployment that the monitor does not have is refused first."""
        with pytest.raises(InputError, match="the monitor has the rules"):
            drill_bad_images(watching(), client, "acme/other", clock=local.clock)
        with pytest.raises(InputError):
            drill_paused_traffic(watching(), LINE, pause=print, resume=print, rule="nonsense")
        assert not [call for call in local.calls if call.operation == "predict"]

    @pytest.mark.parametrize(
        ("how", "said"),
        [
            ({"per_minute": 0}, "per_minute=0 must be 1 or more"),
            ({"patience": 45}, "patience=45 must be a timedelta"),
            ({"clock": FrozenClock}, "clock=.* is a class"),
            ({"monitor": "cron"}, "monitor='cron' must be a driftline.Monitor"),
        ],
    )
    def test_refused(self, client, watching, how, said):
        """What would drill nothing, or break down on the way, is refused first."""
        with pytest.raises(InputError, match=said):
            drill_bad_images(**{"monitor": watching(), **how}, platform=client, deployment=LINE)

    def test_the_time_is_the_monitors(self, local, client, watching):
        """Unless told otherwise a drill waits on the clock that its monitor judges by."""
        assert drill_bad_images(watching(), client, LINE).ok

    def test_alone(self, local, client, watching, store, clock):
        """While another run of the monitor is at work, a drill stops and says so."""
        store.acquire("monitor/monitor", holder="cron", now=START, duration=timedelta(days=1))
        with pytest.raises(ConfigError, match="another run"):
            drill_bad_images(watching(store=store), client, LINE, clock=local.clock)


def _png():
    from driftline.platform._images import encode_png
    from driftline.testing import Scenes

    return encode_png(Scenes(seed=0).frame(0).image)
