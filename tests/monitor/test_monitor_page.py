"""The promise: over budget three samples in a row pages once, with all there is to say, and the end is told."""

from datetime import datetime, timedelta

import pytest
from monitor_support import LINE, MINUTE, RUNBOOK, START, changes, errors, latency, told

from driftline import PlatformClient, Severity, rules
from driftline.errors import ConfigError, InputError
from driftline.monitor import Backoff, Budget, Fleet, Grouping
from driftline.records import Delivery, Link, LogLine, Metric, Sample
from driftline.rules import NoDataPolicy
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, RecordingSink, example_alert


def line(clock, message="{}", *, status=None, minutes_ago=3, severity="ERROR"):
    return LogLine(
        at=clock.now() - minutes_ago * MINUTE,
        severity=severity,
        message=message,
        http_status=status,
    )


class TestOnePage:
    def test_one_run_from_breach_to_request(self, make, table, clock, sink):
        """A breach that the first answer holds is with the sink when the first run returns."""
        table.bad_between(-60, 60)
        run = make().run_once()

        assert [("latency-budget", "firing")] == told(sink)
        assert [Severity.CRITICAL] == [alert.severity for alert in run.alerts]
        assert 1 == sum(delivered.status is not None for delivered in run.delivered)

    def test_paged_once_and_told_the_end(self, make, table, clock, sink):
        """Through an hour of runs and restarts there is one page and one end."""
        table.bad_between(5, 35)
        for _ in range(13):
            clock.advance(5 * MINUTE)
            make().run_once()

        assert [("latency-budget", "firing"), ("latency-budget", "resolved")] == told(sink)
        page, end = sink.alerts
        assert page.key == end.key
        assert START + 5 * MINUTE == page.since == end.since
        assert "recovered" == end.reason

    def test_what_a_page_says(self, make, table, clock, sink):
        """What went wrong, what was expected, over which time, since when, the runbook, links."""
        link = Link(url="https://wiki.example/latency", text="Latency")
        table.bad_between(5, 600)
        monitor = make(rules=[latency(links=(link,))])
        for _ in range(5):
            clock.advance(5 * MINUTE)
            monitor.run_once()
        (page,) = sink.alerts

        assert "p95 latency is 400 ms, the budget is 250 ms" == page.summary
        assert "p95 at or below 250 ms; pages after 3 samples of 5 min above it" == page.expected
        assert (START + 5 * MINUTE, START + 20 * MINUTE) == (page.window_start, page.window_end)
        assert (400.0, 250.0, "ms") == (page.value, page.threshold, page.unit)
        assert (RUNBOOK, (link,), LINE) == (page.runbook, page.links, page.deployment)
        assert Metric.LATENCY_P95_MS == page.metric
        assert clock.now() == page.at
        assert not page.test

    def test_two_samples_are_no_page(self, make, table, clock, sink):
        """Two over budget and one within it page nobody."""
        table.bad_between(5, 15)
        for _ in range(10):
            clock.advance(5 * MINUTE)
            make().run_once()
        assert [] == sink.alerts

    def test_keys_hold_no_value(self, make, table, clock, sink):
        """The same trouble has the same key in every life of it, whatever value and severity."""
        table.p95 = lambda minute: 400.0 + minute if minute % 60 < 30 else 100.0
        for _ in range(24):
            clock.advance(5 * MINUTE)
            make().run_once()
        severe = make(rules=[latency(severity=Severity.WARNING), errors()])
        clock.advance(30 * MINUTE)
        severe.run_once()
        assert 1 == len({alert.key for alert in sink.alerts})
        assert all(len(alert.key) <= 100 for alert in sink.alerts)
        assert 4 <= len(sink.alerts)

    def test_numbers_of_callers(self, make, clock, sink):
        """mAP, KS statistics and anything else are judged as they are passed."""
        rule = rules.Threshold(series=Metric.MAP, below=0.5, runbook="Retrain")
        monitor = make(platform=None, rules=[rule])
        for value in (0.6, 0.4, 0.55):
            clock.advance(timedelta(days=7))
            monitor.run_once(samples=[Sample(metric=Metric.MAP, value=value, at=clock.now())])
        assert [
            ("threshold:accuracy.map", "firing"),
            ("threshold:accuracy.map", "resolved"),
        ] == told(sink)


class TestLogs:
    def page(self, make, table, clock, sink, **how):
        table.bad_between(-60, 60)
        run = make(rules=[latency()], **how).run_once()
        return sink.alerts[0], run

    def test_newest_lines_travel_along(self, make, table, clock, sink):
        """The page carries the newest error lines of the deployment."""
        table.lines = [line(clock, f"line {i}", minutes_ago=i) for i in range(50)]
        page, _ = self.page(make, table, clock, sink, log_lines=4)
        assert ["line 0", "line 1", "line 2", "line 3"] == [each.message for each in page.logs]

    def test_secrets_stay_at_home(self, make, table, clock, sink):
        """What looks like a credential is masked before it is stored or sent."""
        secrets = [
            "ul_" + "0123456789abcdef" * 2 + "01234567",
            "hunter2secret",
            "eyJhbGciOi.eyJzdWIi.c2ln",
        ]
        table.lines = [
            line(clock, f"key {secrets[0]} refused"),
            line(clock, f"connect postgresql://app:{secrets[1]}@db/x failed"),
            line(clock, f"Authorization: Bearer {secrets[2]}"),
        ]
        page, _ = self.page(make, table, clock, sink)
        for secret in secrets:
            assert secret not in repr(page)

    def test_a_page_goes_without_them(self, make, table, clock, sink):
        """When the logs cannot be had, the page goes all the same and the report says so."""
        table.fault = lambda what, _: OSError("logs are down") if what == "logs" else None
        page, run = self.page(make, table, clock, sink)
        assert () == page.logs
        assert "without log lines: OSError: logs are down" in str(run.problems[0])

    def test_none_are_asked_for(self, make, table, clock, sink):
        """With log_lines=0 nobody is asked."""
        self.page(make, table, clock, sink, log_lines=0)
        assert "logs" not in {what for what, _, _ in table.asked}

    def test_not_of_hundreds_at_once(self, make, table, clock, sink):
        """When everything fires at once, ten logs are read and every page goes."""
        names = [f"acme/line-{i}" for i in range(40)]
        table.known = set(names)
        table.bad_between(-60, 60)
        make(deployments=names).run_once()
        assert (40, 10) == (len(sink.alerts), sum(what == "logs" for what, _, _ in table.asked))


class TestLikelyCause:
    @pytest.mark.parametrize(
        ("status", "name"),
        [
            (401, "authentication"), (403, "authentication"), (400, "payload"), (413, "payload"),
            (422, "payload"), (429, "capacity"), (500, "infrastructure"), (503, "infrastructure"),
        ],
    )  # fmt: skip
    def test_by_status(self, make, table, sink, *, status, name):
        """An error alert names the family of the statuses in the log."""
        table.errors = lambda _minute: 6.0
        table.lines = [line(table.clock, status=status)] * 3 + [line(table.clock, status=404)]
        make(rules=[errors()]).run_once()
        (page,) = sink.alerts
        assert f"likely cause: {name}" in page.reason
        assert f"3 x {status}" in page.reason

    @pytest.mark.parametrize(
        ("message", "name"),
        [
            ("CUDA out of memory", "infrastructure"), ("cannot identify image file", "payload"),
            ("Unauthorized", "authentication"), ("rate limit exceeded", "capacity"),
        ],
    )  # fmt: skip
    def test_by_words(self, make, table, sink, *, message, name):
        """Lines without a status tell it by their words."""
        table.errors = lambda _minute: 6.0
        table.lines = [line(table.clock, message)]
        make(rules=[errors()]).run_once()
        assert f"likely cause: {name}" in sink.alerts[0].reason

    def test_unknown(self, make, table, clock, sink):
        """Lines from another time and lines that say nothing name no cause."""
        table.errors = lambda minute: 6.0 if minute >= -30 else 0.0
        table.lines = [line(clock, status=500, minutes_ago=50), line(clock, "hm")]
        make(rules=[errors()]).run_once()
        assert "cause" not in sink.alerts[0].reason

    def test_only_of_errors(self, make, table, clock, sink):
        """A latency alert guesses nothing."""
        table.bad_between(-60, 60)
        table.lines = [line(clock, status=500)]
        make(rules=[latency()]).run_once()
        assert "" == sink.alerts[0].reason


class TestConfiguration:
    def test_edited_threshold_keeps_the_alert(self, make, table, clock, sink):
        """Raising the threshold of an open alert ends it under its own key."""
        table.bad_between(-60, 600)
        make(rules=[latency()]).run_once()
        for _ in range(3):
            clock.advance(5 * MINUTE)
            make(rules=[rules.LatencyBudget(p95_ms=500, samples=3, runbook=RUNBOOK)]).run_once()
        assert ["firing", "resolved"] == [status for _, status in told(sink)]
        assert 1 == len({alert.key for alert in sink.alerts})

    def test_removed_rule_ends_its_alert(self, make, table, clock, sink):
        """An alert of a rule that is not there any more is ended, and says why."""
        table.bad_between(-60, 600)
        make(rules=[latency()]).run_once()
        run = make(rules=[errors()]).run_once()
        assert ["resolved"] == changes(run)
        assert "the rule was removed from the monitor" == sink.alerts[-1].reason
        assert [] == changes(make(rules=[errors()]).run_once())

    def test_unwatched_deployment_ends_its_alert(self, make, table, clock, sink):
        """So is one of a deployment that is not watched any more."""
        table.bad_between(-60, 600)
        make().run_once()
        make(deployments=["acme/other"]).run_once()
        assert "not watched any more" in sink.alerts[-1].reason

    def test_nothing_is_ended_because_nobody_looked(self, make, table, clock, sink):
        """A monitor that slept for a day ends nothing it has not seen recover."""
        table.bad_between(-60, 60 * 60)
        make().run_once()
        clock.advance(timedelta(days=1))
        make().run_once()
        assert ["firing"] == [status for _, status in told(sink)]

    @pytest.mark.parametrize(
        "bad",
        [
            {"rules": [latency(), latency()]},
            {"sinks": [RecordingSink(), RecordingSink()]},
        ],
    )
    def test_two_of_one_name(self, make, bad):
        """Two rules or two sinks of one name could not be told apart."""
        with pytest.raises(ConfigError, match="called"):
            make(**bad)

    @pytest.mark.parametrize("bad", [{"sinks": [object()]}, {"name": "a/b"}, {"deployments": LINE}])
    def test_refuses(self, make, bad):
        """What is no sink, no name and no list is refused at once."""
        with pytest.raises(InputError):
            make(**bad)

    def test_two_thresholds_side_by_side(self, make, table, clock, sink):
        """A warning and a page on one metric are two rules with two names."""
        warning = latency(name="latency-warning", severity=Severity.WARNING)
        table.bad_between(-60, 60)
        make(rules=[latency(), warning]).run_once()
        assert ["latency-budget", "latency-warning"] == [alert.rule for alert in sink.alerts]
        assert 2 == len({alert.key for alert in sink.alerts})

    def test_rules_for_some_deployments(self, make, table, clock, sink):
        """A rule may be for some deployments only."""
        table.known = {"acme/a", "acme/b"}
        table.bad_between(-60, 60)
        make(deployments=["acme/a", "acme/b"], rules=[latency(deployments="*/a")]).run_once()
        assert ["acme/a"] == [alert.deployment for alert in sink.alerts]


class TestReport:
    def test_says_everything(self, make, table, clock, sink):
        """The report of a run can be read by people."""
        table.bad_between(-60, 60)
        table.fault = lambda what, d: OSError("no route") if d == "acme/dead" else None
        run = make(deployments=[LINE, "acme/dead"]).run_once()
        text = str(run)
        assert "ALERT firing critical acme/line-3: p95 latency is 400 ms" in text
        assert "PROBLEM acme/dead: no metrics of the last 1h: OSError: no route" in text
        assert not run.ok
        assert repr(run).startswith("Run('monitor', judged=")

    def test_raises_on_demand(self, make, table):
        """With on_problem="raise" the errors come as a group, after everything was done."""
        table.fault = lambda what, d: OSError("no route") if d == "acme/dead" else None
        monitor = make(deployments=[LINE, "acme/dead"], on_problem="raise")
        with pytest.raises(ExceptionGroup, match="1 problems"):
            monitor.run_once()
        assert monitor.status()

    def test_calm(self, make):
        """A calm run is ok and says how much it judged."""
        run = make().run_once()
        assert run.ok
        assert run.judged > 60

    def test_status(self, make, table, clock):
        """Where everything stands can be asked at any time."""
        table.bad_between(-60, 60)
        make().run_once()
        found = {standing.rule: standing for standing in make().status()}
        assert "firing" == found["latency-budget"].phase.value
        assert found["latency-budget"].told
        assert "ok" == found["error-rate"].phase.value
        assert "latency-budget on acme/line-3: firing since" in str(found["latency-budget"])
        assert [found["latency-budget"].key] == [alert.key for alert in make().alerts()]

    def test_transitions_are_kept(self, make, table, clock):
        """What happened can be asked of the store, by time and by key."""
        table.bad_between(5, 35)
        for _ in range(13):
            clock.advance(5 * MINUTE)
            make().run_once()
        found = make().transitions()
        assert ["pending", "firing", "resolved"] == [each.change.value for each in found]
        assert found[-1:] == make().transitions(key=found[0].key, last=1)
        assert () == make().transitions(since=clock.now())


class TestNoData:
    def test_silence_of_traffic(self, make, table, clock, sink):
        """A platform that answers and has nothing to tell is no data."""
        table.requests = lambda minute: 60.0 if minute < 0 or minute > 60 else 0.0
        monitor = make(rules=[rules.NoData(runbook="Is it stopped?")])
        for _ in range(16):
            clock.advance(5 * MINUTE)
            monitor.run_once()
        page, end = sink.alerts
        assert "no endpoint.requests since 2026-11-23 12:00 UTC" == page.summary
        assert START + 30 * MINUTE == page.window_end
        assert (None, "resolved") == (page.value, end.status.value)

    def test_dead_platform(self, make, table, clock, sink):
        """A platform that does not answer is no data either, and the page says which it is."""
        monitor = make(rules=[rules.NoData(runbook="Is the Platform down?"), latency()])
        monitor.run_once()
        table.fault = lambda *_: OSError("no route")
        for _ in range(8):
            clock.advance(5 * MINUTE)
            monitor.run_once()
        (page,) = sink.alerts
        assert "the platform does not answer" in page.summary
        table.fault = lambda *_: None
        clock.advance(5 * MINUTE)
        monitor.run_once()
        assert [
            ("no-data:endpoint.requests", "firing"),
            ("no-data:endpoint.requests", "resolved"),
        ] == told(sink)

    def test_a_dead_platform_is_no_silence_to_others(self, make, table, clock, sink):
        """A rule that resolves on silence does not take a dead platform for silence."""
        monitor = make(rules=[latency(no_data=NoDataPolicy.OK, no_data_after=10 * MINUTE)])
        table.bad_between(-60, 600)
        monitor.run_once()
        table.fault = lambda *_: OSError("no route")
        for _ in range(8):
            clock.advance(5 * MINUTE)
            monitor.run_once()
        assert ["firing"] == [status for _, status in told(sink)]

    def test_samples_that_never_came(self, make, clock, sink):
        """A metric that was never passed is missing as well, for each deployment."""
        monitor = make(platform=None, rules=[rules.NoData(series=Metric.DETECTIONS, runbook="Ask")])
        for _ in range(8):
            monitor.run_once()
            clock.advance(5 * MINUTE)
        assert [LINE] == [alert.deployment for alert in sink.alerts]


class _Served:
    """A sink that says how it wants to be served."""

    name = "served"

    def __init__(self, delivery):
        self.delivery = delivery

    def send(self, alert):
        """Never called."""


class TestArguments:
    """What cannot work is refused when the monitor is made, not in the night it is needed."""

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            ({"rules": latency()}, "rules=.* must be a list"),
            ({"rules": [rules.LatencyBudget]}, r"rules\[0\]=.* is a class"),
            ({"rules": ["latency"]}, r"rules\[0\]='latency' must be a rule"),
            ({"sinks": RecordingSink()}, "sinks=.* must be a list"),
            ({"sinks": [RecordingSink]}, r"sinks\[0\]=.* is a class"),
            ({"store": "sqlite:///driftline.db"}, "store='sqlite:///driftline.db' must be a store"),
            ({"store": MemoryStore}, "store=.* is a class"),
            ({"clock": datetime.now}, r"clock=.* has no now\(\)"),
            ({"clock": FrozenClock}, "clock=.* is a class"),
            ({"platform": "acme"}, r"platform='acme' has no metrics\(\)"),
            ({"deployments": [3]}, r"deployments\[0\]=3 must be"),
            ({"deployments": [""]}, "holds an empty name"),
            ({"name": None}, "name=None must be a name"),
            ({"inhibitions": ["latency"]}, r"inhibitions\[0\]='latency'"),
            ({"budget": timedelta(minutes=4)}, "budget=.* must be a Budget"),
            ({"grouping": "rule"}, "grouping='rule' must be a Grouping"),
            ({"backoff": 3}, "backoff=3 must be a Backoff"),
            ({"wait": 60}, "wait=60 must be a timedelta"),
            ({"wait": timedelta(seconds=-1)}, "wait=.* must not be negative"),
            ({"lease": 60}, "lease=60 must be a timedelta"),
            ({"lease": timedelta(0)}, "lease=.* must be above 0"),
            ({"lease": timedelta(seconds=29)}, "lease=0:00:29 must be 0:00:30 or more"),
            ({"workers": 0}, "workers=0 must be 1 or more"),
            ({"log_lines": "10"}, "log_lines='10' must be 0 or more"),
            ({"on_problem": "ignore"}, "on_problem='ignore' must be one of 'report', 'raise'"),
            ({"platform": PlatformClient}, "platform=.* is a class"),
            ({"platform": {"acme": PlatformClient}}, "platform=.* is a class"),
            ({"deployments": Fleet}, "deployments=.* is a class"),
            ({"sinks": [_Served({"repeat_firing": True})]}, "delivery of the sink 'served'="),
            ({"forward": "no"}, "forward='no' must be True or False"),
            ({"collapse": 1}, "collapse=1 must be True or False"),
            ({"seed": -1}, "seed=-1 must be a whole number"),
            ({"seed": "today"}, "seed='today' must be a whole number"),
        ],
    )
    def test_refused(self, make, bad, said):
        """The message names the argument, the value and what would do."""
        with pytest.raises(InputError, match=said):
            make(**bad)

    @pytest.mark.parametrize(
        ("made", "said"),
        [
            (lambda: Budget(total=240), "total=240 must be a timedelta"),
            (lambda: Grouping(at_least=1), "at_least=1 must be 2 or more"),
            (lambda: Grouping(by="camera"), "by='camera' must be one of"),
            (lambda: Backoff(first=10), "first=10 must be a timedelta"),
            (lambda: Fleet(match=3), "match=3 must be a pattern"),
            (lambda: Delivery(time_to_live=5), "time_to_live=5 must be a timedelta"),
            (lambda: Delivery(repeat_resolved_for=-MINUTE), "repeat_resolved_for=.* not be neg"),
            (lambda: Delivery(repeat_firing="no"), "repeat_firing='no' must be True or False"),
            (lambda: example_alert(severity="critical"), "severity='critical' must be a Severity"),
            (lambda: example_alert(status="firing"), "status='firing' must be AlertStatus"),
        ],
    )
    def test_parts(self, made, said):
        """So do the small records a monitor takes."""
        with pytest.raises(InputError, match=said):
            made()

    def test_nobody_to_watch(self, make):
        """A list that turned out empty is no list of whom to watch: nobody would be asked."""
        with pytest.raises(ConfigError, match="deployments= names nobody"):
            make(deployments=[])
        assert () == make(platform=None, deployments=[]).deployments

    @pytest.mark.parametrize("samples", [3, "volume", [3], [{"metric": "a.b"}], Sample])
    def test_samples(self, make, store, samples):
        """What is no sample is refused before anything is asked, and holds nobody up."""
        monitor = make()
        with pytest.raises(InputError, match="samples"):
            monitor.run_once(samples)

        assert not monitor.run_once().busy

    def test_generator(self, make, table, sink):
        """Rules may come from a generator: all of them are judged."""
        table.bad_between(-60, 60)
        make(rules=(rule for rule in [latency()])).run_once()
        assert 1 == len(sink.alerts)

    def test_nothing_to_judge(self, make):
        """No rules and no sinks at all: for reading what a store remembers."""
        assert () == make(rules=[], sinks=[]).alerts()
