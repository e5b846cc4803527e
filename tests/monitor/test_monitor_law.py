"""The law: restarts, late runs and doubled runs tell what one calm series of runs tells."""

import threading
from datetime import timedelta
from itertools import chain, cycle, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_support import LINE, MINUTE, START, Table, changes, errors, latency

from driftline import Monitor, rules
from driftline.monitor._keep import Keep
from driftline.records import Metric, Sample
from driftline.rules import NoDataPolicy
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import FrozenClock, RecordingSink

HOURS = 6


def scene(seed):
    """Some hours of trouble, the same for the same seed."""

    def trouble(minute, salt):
        block = int(minute // 7)
        return (block * 2654435761 + salt * 40503 + seed * 97) % 1009 / 1009

    def paint(table):
        table.p95 = lambda minute: 400.0 if trouble(minute // 4, 1) < 0.35 else 100.0
        table.errors = lambda minute: 6.0 if trouble(minute, 2) < 0.3 else 0.0
        table.requests = lambda minute: 2.0 if trouble(minute // 6, 3) < 0.2 else 60.0

    return paint


RULES = [
    latency(no_data=NoDataPolicy.ALERT, no_data_after=25 * MINUTE),
    errors(),
    rules.RequestVolume(runbook="Call"),
    rules.Threshold(
        series=Metric.DETECTIONS, below=10, every=10 * MINUTE, samples=2, runbook="Look"
    ),
]


def story(runs, paint, store, *, always_new=True):
    """(key, change, time) of all that happened, and (key, status) of all that was told."""
    clock = FrozenClock(START)
    table, sink = Table(clock), RecordingSink()
    paint(table)
    monitor = None
    passed = START - timedelta(hours=1)
    for at in runs:
        clock.set(at)
        if monitor is None or always_new:
            monitor = Monitor(
                table,
                deployments=[LINE],
                rules=RULES,
                sinks=[sink],
                store=store,
                clock=clock,
                seed=1,
            )
        samples = []
        while passed + MINUTE <= at:
            minute = (passed - START) / MINUTE
            samples.append(
                Sample(metric=Metric.DETECTIONS, value=5 if table.p95(minute) > 200 else 50, at=passed, width=MINUTE)
            )  # fmt: skip
            passed += MINUTE
        monitor.run_once(samples=samples)
    happened = [(t.key, t.change.value, t.at) for t in monitor.transitions()]
    return sorted(happened, key=lambda each: (each[0], each[2])), sorted(
        (a.key, a.status.value, a.since) for a in sink.alerts
    )


CALM = [START + i * 5 * MINUTE for i in range(HOURS * 12 + 1)]


@given(
    st.integers(0, 50),
    st.lists(st.integers(1, 45), min_size=4, max_size=30),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
@settings(max_examples=20, deadline=None)
def test_late_doubled_and_restarted(seed, waits, doubled):
    """Runs that come up to three quarters of an hour late, twice, and each after a restart."""
    runs, at = [START], START
    steps = zip(chain(waits, repeat(45)), cycle(doubled), strict=False)
    while at < CALM[-1]:
        wait, twice = next(steps)
        at = min(at + wait * MINUTE, CALM[-1])
        runs += [at, at] if twice else [at]

    calm = story(CALM, scene(seed), MemoryStore(), always_new=False)
    assert calm == story(runs, scene(seed), MemoryStore())


def test_the_scenes_are_eventful():
    """The law would be empty if nothing happened: every rule fires in some scene."""
    keys = set()
    for seed in range(8):
        happened, _ = story(CALM, scene(seed), MemoryStore())
        keys |= {key.rsplit("-", 1)[0] for key, change, _ in happened if change == "firing"}
    assert {rule.name for rule in RULES} == keys


def test_an_hour_late_judges_the_hour(tmp_path):
    """A cron that slept an hour and a half judges by wider buckets what they can judge."""
    late = [START, START + 95 * MINUTE]
    punctual = [START + i * 5 * MINUTE for i in range(20)]

    def bad(table):
        table.bad_between(15, 50)

    with SqlStore(f"sqlite:///{tmp_path}/d.db") as store:
        a = story(late, bad, store)
    b = story(punctual, bad, MemoryStore())
    of_latency = [each for each in a[1] if each[0].startswith("latency")]
    assert of_latency == [each for each in b[1] if each[0].startswith("latency")]
    assert ["firing", "resolved"] == [status for _, status, _ in of_latency]


class TestOverlap:
    def test_one_works_the_other_leaves(self, make, table, store):
        """Of two runs at once one does the work, the other says who does and does nothing."""
        inside, done = threading.Event(), threading.Event()

        def slow(what, _):
            inside.set()
            assert done.wait(60)

        table.fault = slow
        table.bad_between(-60, 60)
        reports = []
        worker = threading.Thread(target=lambda: reports.append(make().run_once()))
        worker.start()
        assert inside.wait(60)
        busy = make().run_once()
        done.set()
        worker.join(60)

        assert "is held by" in busy.busy
        assert "nothing done" in str(busy)
        assert (0, ()) == (busy.judged, busy.delivered)
        assert "" == reports[0].busy
        assert 1 == len(reports[0].alerts)

    def test_a_run_that_died_does_not_hold_for_ever(self, make, store, clock, sink, table):
        """The lease of a run that was killed runs out."""
        table.bad_between(-60, 60)
        store.acquire("monitor/monitor", holder="killed", now=clock.now(), duration=MINUTE)
        assert make().run_once().busy
        clock.advance(MINUTE)
        assert not make().run_once().busy
        assert 1 == len(sink.alerts)

    def test_an_overtaken_run_writes_nothing(self, make, table, store, clock, sink):
        """A run that was suspended longer than its lease finds that another did its work."""
        table.bad_between(-60, 60)

        def overtaken(what, _):
            if what == "metrics":
                clock.advance(2 * MINUTE)
                other = store.acquire(
                    "monitor/monitor", holder="other", now=clock.now(), duration=MINUTE
                )
                store.release(other)

        table.fault = overtaken
        run = make().run_once()
        assert "taken over" in run.busy
        assert [] == sink.attempts
        table.fault = lambda *_: None
        make().run_once()
        assert 1 == len(sink.alerts)

    @pytest.mark.parametrize("cadence", [None, 5 * MINUTE])
    def test_overtaken_while_it_tells(self, make, table, store, sink, cadence):
        """What was judged and written is reported, whoever tells the rest of it."""
        table.bad_between(-60, 60)
        plain = sink.send

        def slow(alert):
            clock = table.clock
            clock.advance(2 * MINUTE)
            store.acquire("monitor/monitor", holder="other", now=clock.now(), duration=MINUTE)
            return plain(alert)

        sink.send = slow
        run = make(cadence=cadence).run_once()

        assert "" == run.busy
        assert (1, 1) == (len(run.alerts), len(sink.alerts))
        assert "firing" in changes(run)
        assert ["telling ended early"] == [p.message[:19] for p in run.problems]
        assert changes(run) == [t.change.value for t in make().transitions()]

    def test_overtaken_between_rounds(self, make, store, clock, monkeypatch):
        """A run that loses its lease while it asks a second time reports the first round."""
        monkeypatch.setattr(Keep, "due", True)
        names = [f"acme/line-{i}" for i in range(4)]

        class Halves(Table):
            calls_per_minute = 3

            def metrics(self, deployment, /, window="1h"):
                if len(self.asked) == 2:
                    clock.advance(2 * MINUTE)
                    store.acquire("monitor/monitor", holder="b", now=clock.now(), duration=MINUTE)
                return super().metrics(deployment, window=window)

        table = Halves(clock, names)
        table.bad_between(-60, 60)
        run = make(platform=table, deployments=names, workers=1, log_lines=0).run_once()

        assert "" == run.busy
        assert names[:2] == sorted({alert.deployment for alert in run.alerts})
        assert "the run ended early" in str(run)

    def test_other_monitors_do_not_mind(self, make, store, clock):
        """Monitors of other names share the store without meeting."""
        store.acquire("monitor/monitor", holder="x", now=clock.now(), duration=MINUTE)
        assert not make(name="other").run_once().busy


class TestSamples:
    def test_in_parts(self, make, clock, sink):
        """The samples of a window may come in several runs; the window is judged when it is whole."""
        rule = rules.Threshold(
            series="x", above=10, every=10 * MINUTE, aggregate="sum", runbook="Look"
        )
        for minute in range(12):
            clock.advance(MINUTE)
            sample = Sample(metric="x", value=2, at=START + minute * MINUTE, width=MINUTE)
            make(platform=None, rules=[rule]).run_once(samples=[sample])
        (alert,) = sink.alerts
        assert (20.0, START) == (alert.value, alert.since)

    def test_corrected_before_it_is_judged(self, make, clock, sink):
        """A sample passed again before its window is judged replaces the earlier one."""
        rule = rules.Threshold(series="x", above=10, every=10 * MINUTE, runbook="Look")
        for value in (99, 1):
            clock.advance(5 * MINUTE)
            make(platform=None, rules=[rule]).run_once(
                samples=[Sample(metric="x", value=value, at=START, width=MINUTE)]
            )
        clock.advance(5 * MINUTE)
        run = make(platform=None, rules=[rule]).run_once()
        assert [] == sink.alerts
        assert () == run.transitions

    def test_slices_are_judged_apart(self, make, clock, sink):
        """Each camera has its own state and key."""
        rule = rules.Threshold(series="x", above=1, runbook="Look")
        samples = [
            Sample(metric="x", value=i, at=START, deployment=LINE, labels={"camera": f"cam-{i}"})
            for i in range(4)
        ]
        make(platform=None, rules=[rule]).run_once(samples=samples)
        assert [{"camera": "cam-2"}, {"camera": "cam-3"}] == [dict(a.labels) for a in sink.alerts]
        assert 2 == len({alert.key for alert in sink.alerts})

    def test_two_widths_under_one_name(self, make, clock):
        """Samples of two widths cannot be one series, and the report says so."""
        rule = rules.Threshold(series="x", above=1, every=60 * MINUTE, runbook="Look")
        samples = [
            Sample(metric="x", value=1, at=START, width=MINUTE),
            Sample(metric="x", value=1, at=START + MINUTE, width=5 * MINUTE),
        ]
        run = make(platform=None, rules=[rule]).run_once(samples=samples)
        assert "give samples of another width another label" in str(run.problems[0])

    def test_nothing_piles_up(self, make, store, clock):
        """What every rule has judged is forgotten; what no rule wants is never kept."""
        rule = rules.Threshold(series="x", above=1, every=5 * MINUTE, runbook="Look")
        for _ in range(50):
            clock.advance(5 * MINUTE)
            samples = [
                Sample(metric=metric, value=0, at=clock.now() - i * MINUTE, width=MINUTE)
                for i in range(1, 6)
                for metric in ("x", "unwanted")
            ]
            make(platform=None, rules=[rule]).run_once(samples=samples)
        kept = [
            len(column["t"])
            for document in store.scan("monitor/monitor/samples")
            for column in document.value.values()
        ]
        assert max(kept) <= 5

    def test_your_own_endpoint(self, make, clock, sink):
        """Without a platform, latency and errors of your own endpoint are judged the same."""
        for _ in range(6):
            clock.advance(5 * MINUTE)
            samples = [
                Sample(metric=metric, value=value, at=clock.now() - i * MINUTE, width=MINUTE, deployment="mine")
                for i in range(1, 6)
                for metric, value in ((Metric.LATENCY_P95_MS, 400), (Metric.REQUESTS, 60), (Metric.ERRORS, 6))
            ]  # fmt: skip
            make(platform=None).run_once(samples=samples)
        assert {"error-rate", "latency-budget"} == {alert.rule for alert in sink.alerts}

    def test_detections_by_the_platforms_requests(self, make, table, clock, sink):
        """Detections may be counted per request of the platform's own count."""
        rule = rules.DetectionVolume(exposure=Metric.REQUESTS, usual=4, runbook="Look")
        for run in range(8):
            clock.advance(5 * MINUTE)
            each = 240.0 if run < 3 else 60.0
            samples = [
                Sample(metric=Metric.DETECTIONS, value=each, at=clock.now() - i * MINUTE, width=MINUTE, deployment=LINE)
                for i in range(1, 6)
            ]  # fmt: skip
            make(rules=[rule]).run_once(samples=samples)
        (alert,) = sink.alerts
        assert 1.0 == alert.value
