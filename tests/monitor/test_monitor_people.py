"""People's part: silences, disabled rules, acknowledgements, repeats, inhibition, flapping, groups."""

from datetime import timedelta

import pytest
from monitor_support import LINE, MINUTE, START, changes, errors, latency, told

from driftline import Severity, rules
from driftline.errors import InputError, StoreBusy
from driftline.monitor import Grouping
from driftline.records import Delivery, Metric, Sample
from driftline.rules import Inhibition
from driftline.testing import RecordingSink

BOTH = [("latency-budget", "firing"), ("latency-budget", "resolved")]


def runs(make, clock, count, *, every=5 * MINUTE, **how):
    """Some runs, each a restart; the last report."""
    run = None
    for _ in range(count):
        run = make(**how).run_once()
        clock.advance(every)
    return run


class TestSilence:
    def test_nobody_is_told_meanwhile(self, make, table, clock, sink):
        """In a maintenance window alerts are tracked and nobody is told, not even the end."""
        table.bad_between(-60, 10)
        make().silence(author="ada", reason="new model", end=START + timedelta(hours=1))
        first = make().run_once()
        runs(make, clock, 6)

        assert [] == sink.attempts
        assert ["pending", "firing", "suppressed"] == changes(first)
        assert (
            "silenced by ada until 2026-11-23 13:00 UTC: new model" == first.transitions[-1].reason
        )
        assert [] == [standing.key for standing in make().status() if standing.told]

    def test_told_when_it_ends(self, make, table, clock, sink):
        """An alert that outlives the window is told then."""
        table.bad_between(-60, 600)
        make().silence(author="ada", reason="new model", end=START + 22 * MINUTE)
        runs(make, clock, 5)
        assert [] == sink.attempts
        run = runs(make, clock, 1)
        assert ["released"] == changes(run)
        assert [("latency-budget", "firing")] == told(sink)

    def test_the_end_is_told_though(self, make, table, clock, sink):
        """An alert that was told before the silence is ended within it."""
        table.bad_between(-60, 10)
        make().run_once()
        make().silence(author="ada", reason="we know", end=START + timedelta(hours=9))
        runs(make, clock, 6)
        assert BOTH == told(sink)

    def test_a_late_run_judges_by_the_time_of_the_breach(self, make, table, clock, sink):
        """A breach within the window is withheld by a run that comes after the window as well."""
        table.bad_between(5, 30)
        monitor = make()
        monitor.run_once()
        monitor.silence(author="ada", reason="deploy", end=START + 45 * MINUTE)
        clock.advance(55 * MINUTE)
        make().run_once()
        assert [] == sink.attempts

    def test_outlived_and_over(self, make, table, clock, sink):
        """What outlived the window and ended before anybody looked is told, and then ended."""
        table.bad_between(5, 40)
        monitor = make()
        monitor.run_once()
        monitor.silence(author="ada", reason="deploy", end=START + 25 * MINUTE)
        clock.advance(57 * MINUTE)
        make().run_once()
        assert BOTH == told(sink)

    def test_of_others(self, make, table, clock, sink):
        """A silence is about what it matches only."""
        table.bad_between(-60, 60)
        for how in (
            {"rule": "error-*"},
            {"deployment": "acme/line-4"},
            {"labels": {"camera": "a"}},
        ):
            make().silence(author="ada", reason="x", end=START + timedelta(hours=1), **how)
        make().run_once()
        assert BOTH[:1] == told(sink)

    def test_lifted(self, make, table, clock, sink):
        """A silence can be ended early, and one to come be taken back."""
        table.bad_between(-60, 600)
        name = make().silence(author="ada", reason="x", end=START + timedelta(hours=9))
        make().run_once()
        clock.advance(5 * MINUTE)
        make().lift(name)
        make().run_once()
        assert BOTH[:1] == told(sink)

        later = make().silence(
            author="ada", reason="x", start=clock.now() + MINUTE, end=clock.now() + 2 * MINUTE
        )
        make().lift(later)
        assert [name] == list(make().silences())
        with pytest.raises(InputError, match="no silence"):
            make().lift("nonsense")

    def test_forgotten_a_day_later(self, make, clock):
        """A silence that is over for a day is not kept."""
        make().silence(author="ada", reason="x", end=START + MINUTE)
        runs(make, clock, 2, every=timedelta(hours=23))
        assert 1 == len(make().silences())
        runs(make, clock, 1)
        assert {} == make().silences()


class TestDisabled:
    def test_until_enabled(self, make, table, clock, sink):
        """A disabled rule tells nobody until it is enabled; its state is tracked."""
        table.bad_between(-60, 600)
        make().disable("latency-budget", author="ada", reason="being tuned")
        run = runs(make, clock, 3)
        assert [] == sink.attempts
        assert "disabled by ada: being tuned" in str(make().status()[-1])
        make().enable("latency-budget")
        run = make().run_once()
        assert (["released"], BOTH[:1]) == (changes(run), told(sink))

    def test_must_exist(self, make):
        """A name that no rule has is refused."""
        with pytest.raises(InputError, match="no rule is called 'latency'"):
            make().disable("latency", author="ada", reason="x")
        with pytest.raises(InputError, match="no rule is called 'latency'"):
            make().enable("latency")


class TestRepeats:
    def test_until_acknowledged(self, make, table, clock, sink):
        """A rule may repeat itself until somebody takes the alert on; the count says how often."""
        how = {"rules": [latency(renotify=10 * MINUTE)]}
        table.bad_between(-60, 600)
        runs(make, clock, 5, **how)  # 0 .. 20 min
        assert ["", "still firing (repeat 1)", "still firing (repeat 2)"] == [
            a.reason for a in sink.alerts
        ]
        make(**how).acknowledge(sink.alerts[0].key, author="ada", note="on it")
        runs(make, clock, 10, **how)
        assert 3 == len(sink.alerts)
        assert make(**how).status()[0].acknowledged

    def test_not_for_ever(self, make, table, clock, sink):
        """Repeats end at their limit."""
        table.bad_between(-60, 6000)
        runs(make, clock, 40, rules=[latency(renotify=10 * MINUTE, renotify_limit=2)])
        assert 3 == len(sink.alerts)

    def test_an_acknowledgement_ends_with_its_alert(self, make, table, clock, sink):
        """The next alert under the same key is repeated again."""
        how = {"rules": [latency(renotify=10 * MINUTE)]}
        table.p95 = lambda minute: 400.0 if minute < 5 or 60 <= minute else 100.0
        make(**how).run_once()
        make(**how).acknowledge(sink.alerts[0].key, author="ada")
        runs(make, clock, 22, **how)
        assert 0 < sum("repeat" in alert.reason for alert in sink.alerts)

    def test_only_open_ones(self, make):
        """What is not open cannot be acknowledged."""
        with pytest.raises(InputError, match="no open alert has the key"):
            make().acknowledge("nonsense", author="ada")

    def test_off_by_default(self, make, table, clock, sink):
        """Without a word about it people are told once."""
        table.bad_between(-60, 6000)
        runs(make, clock, 20, every=timedelta(hours=1))
        assert 1 == len(sink.alerts)

    def test_severity_that_rises(self, make, table, clock, sink):
        """People are told again when the severity rises, and not when it falls."""
        table.bad_between(-60, 600)
        for severity in (Severity.WARNING, Severity.CRITICAL, Severity.WARNING):
            make(rules=[latency(severity=severity)]).run_once()
            clock.advance(5 * MINUTE)
        assert ["", "severity rose from warning"] == [alert.reason for alert in sink.alerts]
        assert 1 == len({alert.key for alert in sink.alerts})


class TestInhibition:
    def how(self, **more):
        return {"rules": [rules.EndpointHealth(runbook="Restart it"), latency(), errors()], **more}

    def test_endpoint_down_silences_the_rest(self, make, table, clock, sink):
        """While the endpoint is down, its latency and errors are tracked and not told."""
        table.healthy = False
        table.p95 = lambda minute: 400.0 if minute >= 5 else 100.0
        table.errors = lambda minute: 6.0 if minute >= 5 else 0.0
        runs(make, clock, 8, **self.how())
        assert [("endpoint-health", "firing")] == told(sink)
        suppressed = [s.suppressed for s in make(**self.how()).status() if s.suppressed]
        assert ["inhibited: endpoint-health fires on the same deployment"] * 2 == suppressed

    def test_told_when_it_is_up_again(self, make, table, clock, sink):
        """What is still wrong when the endpoint is back is told then."""
        table.healthy = False
        table.p95 = lambda minute: 400.0 if minute >= 5 else 100.0
        runs(make, clock, 8, **self.how())
        table.healthy = True
        runs(make, clock, 1, **self.how())
        assert [
            ("endpoint-health", "firing"),
            ("endpoint-health", "resolved"),
            ("latency-budget", "firing"),
        ] == sorted(told(sink))

    def test_of_the_same_deployment_only(self, make, table, clock, sink):
        """Another deployment's alerts are told."""
        table.known = {LINE, "acme/other"}
        table.healthy = False
        table.p95 = lambda minute: 400.0 if minute >= 5 else 100.0
        only = rules.EndpointHealth(runbook="Restart it", deployments=LINE)
        runs(make, clock, 8, rules=[only, latency()], deployments=[LINE, "acme/other"])
        assert {"acme/other"} == {a.deployment for a in sink.alerts if a.rule == "latency-budget"}

    def test_your_own(self, make, clock, sink):
        """Lost accuracy makes drift no second message; other pairs can be named."""
        drift = rules.Threshold(series="drift.statistic", above=0.1, runbook="Look")
        accuracy = rules.Threshold(series="accuracy.map", below=0.5, runbook="Retrain")
        samples = [
            Sample(metric="drift.statistic", value=0.3, at=START),
            Sample(metric="accuracy.map", value=0.3, at=START),
        ]
        make(platform=None, rules=[drift, accuracy]).run_once(samples=samples)
        assert ["threshold:accuracy.map"] == [alert.rule for alert in sink.alerts]

        sink.alerts.clear()
        own = [Inhibition(by="threshold:drift.*", silences=("threshold:accuracy.*",))]
        make(platform=None, rules=[drift, accuracy], inhibitions=own, name="b").run_once(
            samples=samples
        )
        assert ["threshold:drift.statistic"] == [alert.rule for alert in sink.alerts]


class TestHealth:
    def test_asked_only_on_request_and_not_too_often(self, make, table, clock):
        """A health call wakes a sleeping endpoint: it is made once in five minutes at most."""
        runs(make, clock, 5)
        assert "health" not in {what for what, _, _ in table.asked}
        rule = rules.EndpointHealth(runbook="Restart it")
        runs(make, clock, 20, every=MINUTE, rules=[rule], name="b", forward=False)
        assert 4 == sum(what == "health" for what, _, _ in table.asked)

    def test_no_answer_is_no_verdict(self, make, table, clock, sink):
        """When the platform cannot be asked, the endpoint is neither well nor ill."""
        table.fault = lambda what, _: OSError("no route") if what == "health" else None
        run = runs(make, clock, 4, rules=[rules.EndpointHealth(runbook="Restart it")])
        assert [] == sink.alerts
        assert "its health could not be asked" in str(run.problems[0])


class TestFlapping:
    def test_one_open_alert(self, make, table, clock, sink):
        """An alert that comes and goes becomes one that stays open, says so once, and ends once."""
        flickering = rules.Threshold(
            series=Metric.LATENCY_P95_MS, above=250, every=5 * MINUTE, runbook="Look"
        )
        table.p95 = lambda minute: 400.0 if minute < 150 and minute // 5 % 2 else 100.0
        runs(make, clock, 60, rules=[flickering], forward=False)
        reasons = [alert.reason for alert in sink.alerts]

        assert 1 == sum("comes and goes" in reason for reason in reasons)
        assert "resolved" == sink.alerts[-1].status.value
        assert len(sink.alerts) <= 9  # of 30 comings and goings
        assert {"flapping", "steady"} <= {
            t.change.value for t in make(rules=[flickering]).transitions()
        }

    def test_can_be_switched_off(self, make, table, clock, sink):
        """Without it every coming and going is told."""
        flickering = rules.Threshold(
            series=Metric.LATENCY_P95_MS,
            above=250,
            every=5 * MINUTE,
            flap_detection=False,
            runbook="Look",
        )
        table.p95 = lambda minute: 400.0 if 0 <= minute < 150 and minute // 5 % 2 else 100.0
        runs(make, clock, 60, rules=[flickering], forward=False)
        assert 30 == len(sink.alerts)


class TestGroups:
    NAMES = tuple(f"acme/line-{i}" for i in range(6))

    def how(self, **more):
        return {
            "deployments": self.NAMES, "rules": [latency()], "grouping": Grouping(at_least=3), **more
        }  # fmt: skip

    def test_one_message_for_many(self, make, table, clock, sink):
        """Alerts that begin together are told as one, and their end as one."""
        table.known = set(self.NAMES)
        table.bad_between(5, 25)
        runs(make, clock, 12, **self.how())
        first, last = sink.alerts

        assert first.summary.startswith("6 alerts of latency-budget: acme/line-0, acme/line-1")
        assert (first.key, "resolved") == (last.key, last.status.value)
        assert first.runbook

    def test_few_are_told_one_by_one(self, make, table, clock, sink):
        """Below the number, each is told by itself."""
        table.known = set(self.NAMES)
        table.bad_between(-60, 60)
        make(**self.how(grouping=Grouping(at_least=7))).run_once()
        assert 6 == len({alert.key for alert in sink.alerts})

    def test_members_come_and_go(self, make, table, clock, sink):
        """An open group takes in what begins later, tells so after a while, ends with its last."""
        monitor = make(platform=None, **self.how(rules=[self.threshold()], deployments=()))

        def run(*bad):
            samples = [
                Sample(metric="x", value=float(i in bad), at=clock.now(), deployment=name)
                for i, name in enumerate(self.NAMES)
            ]
            monitor.run_once(samples=samples)
            clock.advance(3 * MINUTE)
            return len(sink.alerts)

        assert [1, 1, 2, 2, 3] == [run(0, 1, 2), run(0, 1, 2, 3), run(0, 1, 2, 3), run(3), run()]
        assert sink.alerts[1].summary.startswith("4 alerts of")
        assert 1 == len(monitor.transitions(last=1))
        assert ["firing"] * 2 + ["resolved"] == [alert.status.value for alert in sink.alerts]
        assert () == monitor.alerts()

    @staticmethod
    def threshold():
        return rules.Threshold(series="x", above=0.5, runbook="Look")

    def test_repeated_as_one(self, make, table, clock):
        """Sinks that want the firing set get the group, not its members."""
        am = RecordingSink(name="am", delivery=Delivery(repeat_firing=True))
        table.known = set(self.NAMES)
        table.bad_between(-60, 600)
        runs(make, clock, 3, **self.how(sinks=[am]))
        assert [1, 3] == [len({alert.key for alert in am.alerts}), len(am.alerts)]
        assert 1 == len(make(**self.how()).alerts())

    def test_by_deployment(self, make, table, clock, sink):
        """Or by what they happen on."""
        table.bad_between(-60, 60)
        table.errors = lambda _minute: 6.0
        make(
            rules=[latency(), errors(), latency(name="b")],
            grouping=Grouping(by="deployment", at_least=3),
        ).run_once()
        (alert,) = sink.alerts
        assert alert.summary.startswith(
            "3 alerts on acme/line-3: latency-budget: p95 latency is 400 ms"
        )

    def test_switched_off(self, make, table, clock, sink):
        """When grouping is taken out, open groups are still seen to their end."""
        table.known = set(self.NAMES)
        table.bad_between(5, 25)
        runs(make, clock, 6, **self.how())
        runs(make, clock, 8, **self.how(grouping=None))
        assert ["firing", "resolved"] == [alert.status.value for alert in sink.alerts]

    def test_a_group_has_two(self):
        """A group of one is none."""
        with pytest.raises(InputError, match="at_least"):
            Grouping(at_least=1)


class TestLearning:
    def test_forget(self, make, table, clock, sink):
        """After a change that was meant to be, a rule can learn anew what is usual."""
        how = {"rules": [rules.RequestVolume(runbook="Call")]}
        table.requests = lambda minute: 60.0 if minute < 5 else 20.0
        runs(make, clock, 8, **how)
        assert [("request-volume", "firing")] == told(sink)
        make(**how).forget("request-volume", deployment=LINE)
        runs(make, clock, 12, **how)
        assert [("request-volume", "firing"), ("request-volume", "resolved")] == told(sink)

    def test_not_while_a_run_is_at_work(self, make, store, clock):
        """It waits for its turn."""
        store.acquire("monitor/monitor", holder="a run", now=clock.now(), duration=MINUTE)
        with pytest.raises(StoreBusy):
            make().forget("latency-budget", deployment=LINE)
