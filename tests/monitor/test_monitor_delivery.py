"""Delivery: outages of each sink and of all, order, patience, refusals, expiry, hanging sinks."""

import queue
import threading
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_support import MINUTE, START, Table, errors, latency

from driftline import Monitor, rules
from driftline.errors import DeliveryFailed, DeliveryRefused, InputError, StoreBusy, StoreError
from driftline.monitor import Backoff, Budget, Failed, Notice, Problem
from driftline.monitor._lanes import Lane, Parcel, lanes_of
from driftline.monitor._tick import HEARTBEAT, OPEN_ALERTS
from driftline.records import AlertStatus, Delivery, Metric, Receipt, Sample, Settle
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, RecordingSink

DOWN = DeliveryFailed("503")
QUICK = Budget(total=timedelta(seconds=5), delivery=timedelta(seconds=0.4))


def pages(sink):
    return [(alert.rule, alert.status.value) for alert in sink.alerts]


def ended(name):
    """Wait for the thread of this name."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)
            assert not thread.is_alive()


class AlertsOnly:
    """A user's sink: one method."""

    def __init__(self, name):
        self.name, self.got, self.down = name, [], False

    def send(self, alert):
        if self.down:
            raise DOWN
        self.got.append((alert.rule, alert.status.value))
        return Receipt(sink=self.name)


class TestOutages:
    @pytest.mark.parametrize("dead", [(0,), (1,), (2,), (0, 1, 2)])
    def test_nothing_is_lost(self, make, table, clock, dead):
        """While each sink in turn, or all of them, is dead for hours, the others lose nothing and
        the dead ones get everything afterwards, in order."""
        sinks = [AlertsOnly(f"s{i}") for i in range(3)]
        table.p95 = lambda minute: 400.0 if minute % 60 < 25 else 100.0
        table.errors = lambda minute: 6.0 if minute % 90 > 70 else 0.0
        everything = None
        for run in range(60):
            clock.advance(5 * MINUTE)
            for i in dead:
                sinks[i].down = 10 <= run < 40
            make(sinks=sinks, rules=[latency(), errors()]).run_once()
        everything = sinks[0].got

        assert 10 < len(everything)
        for sink in sinks:
            for rule in ("latency-budget", "error-rate"):
                mine = [status for name, status in sink.got if name == rule]
                assert mine == [status for name, status in everything if name == rule]
                assert mine == (["firing", "resolved"] * len(mine))[: len(mine)]

    def test_one_dead_sink_holds_up_no_other(self, make, table, sink):
        """The others are told in the same run."""
        dead = RecordingSink(name="dead")
        dead.fail(DOWN, times=None)
        table.bad_between(-60, 60)
        run = make(sinks=[dead, sink]).run_once()

        assert [("latency-budget", "firing")] == pages(sink)
        assert [("dead", 1)] == [
            (failed.sink, failed.attempts) for failed in run.failed if failed.key
        ]

    def test_deliver_between_runs(self, make, table, clock, sink):
        """`deliver` tells what is left without asking anybody."""
        sink.fail(DOWN, times=None)
        table.bad_between(-60, 60)
        monitor = make()
        monitor.run_once()
        asked = len(table.asked)
        sink.recover()
        run = monitor.deliver()

        assert [("latency-budget", "firing")] == pages(sink)
        assert (asked, 1) == (len(table.asked), sum(d.status is not None for d in run.delivered))

    def test_the_store_is_dead(self, make, table, sink):
        """When nothing can be remembered, nothing is told: the next run tells it."""

        class Dying(MemoryStore):
            def write(self, changes, *, lease=None):
                raise StoreError("disk full")

        table.bad_between(-60, 60)
        with pytest.raises(StoreError, match="disk full"):
            make(store=Dying()).run_once()
        assert [] == sink.attempts
        make().run_once()
        assert [("latency-budget", "firing")] == pages(sink)


class TestOrder:
    def test_an_end_never_overtakes_its_beginning(self, make, table, clock, sink):
        """While the beginning waits, so does the end of the same alert; other alerts go."""
        table.bad_between(-60, 5)
        sink.fail(DOWN, times=1)
        make(forward=False).run_once()
        table.errors = lambda _minute: 6.0
        sink.fail(DeliveryFailed("429", retry_after_seconds=0.0), times=0)
        for _ in range(4):
            clock.advance(5 * MINUTE)
            make(forward=False).run_once()
        mine = [status for rule, status in pages(sink) if rule == "latency-budget"]
        assert ["firing", "resolved"] == mine

    def test_a_failed_key_blocks_only_itself(self, make, table, clock):
        """One alert that a sink chokes on does not keep back the others."""

        class Chokes(AlertsOnly):
            def send(self, alert):
                if alert.rule == "latency-budget":
                    raise DOWN
                return super().send(alert)

        sink = Chokes("chokes")
        table.bad_between(-60, 60)
        table.errors = lambda _minute: 6.0
        run = make(sinks=[sink], rules=[latency(), errors()]).run_once()
        assert [("error-rate", "firing")] == sink.got
        assert ["latency-budget"] == [f.key.rsplit("-", 1)[0] for f in run.failed]

    def test_most_urgent_first(self, make, table, sink):
        """Pages go before warnings."""
        warning = rules.Threshold(
            series=Metric.LATENCY_P95_MS, above=250, runbook="Look", name="a-warning"
        )
        table.bad_between(-60, 60)
        make(rules=[warning, latency()]).run_once()
        assert ["latency-budget", "a-warning"] == [alert.rule for alert in sink.alerts]


class TestPatience:
    def test_grows_and_is_bounded(self):
        """The first retry is the next run; then waits double, with jitter, up to a bound."""
        rng = np.random.default_rng(0)
        backoff = Backoff(first=timedelta(seconds=10), longest=timedelta(minutes=5))
        assert timedelta(0) == backoff.wait(1, None, rng)
        for attempts in range(2, 60):
            whole = min(10 * 2 ** (attempts - 2), 300)
            waits = [backoff.wait(attempts, None, rng).total_seconds() for _ in range(50)]
            assert whole / 2 <= min(waits) < max(waits) <= whole

    def test_the_other_side_knows_best(self):
        """A wait that is asked for is kept, up to a bound."""
        rng = np.random.default_rng(0)
        assert timedelta(seconds=77) == Backoff().wait(9, 77.0, rng)
        assert timedelta(hours=6) == Backoff().wait(1, 1e9, rng)

    def test_retry_after_holds_the_whole_sink(self, make, table, clock, sink):
        """Who asks to wait is left alone by every alert until then."""
        sink.fail(DeliveryFailed("429", retry_after_seconds=600.0), times=1)
        table.bad_between(-60, 60)
        make(forward=False).run_once()
        table.errors = lambda _minute: 6.0
        clock.advance(5 * MINUTE)
        make(forward=False).run_once()
        assert 1 == len(sink.attempts)
        clock.advance(6 * MINUTE)
        make(forward=False).run_once()
        assert {("latency-budget", "firing"), ("error-rate", "firing")} == set(pages(sink))

    def test_not_before_its_time(self, make, table, clock, sink):
        """After two failures an item waits, and the report says until when."""
        sink.fail(DOWN, times=2)
        table.bad_between(-60, 60)
        make(forward=False).run_once()
        failed = make(forward=False).run_once().failed
        assert ([2], clock.now() < failed[0].next_at) == ([f.attempts for f in failed], True)
        make(forward=False).run_once()
        assert 2 == len(sink.attempts)
        clock.advance(MINUTE)
        make(forward=False).run_once()
        assert [("latency-budget", "firing")] == pages(sink)


class TestReports:
    def test_late(self, make, table, clock, sink):
        """What failed and what was taken after it is told in full, and kept beside the alert."""
        sink.fail(DOWN, times=1)
        table.bad_between(-60, 60)
        began = clock.now()
        run = make(forward=False).run_once()
        (alert,) = run.alerts
        failed = Failed(sink="recording", key=alert.key, error="DeliveryFailed: 503", attempts=1,
                        next_at=began)  # fmt: skip
        assert (failed,) == run.failed
        clock.advance(5 * MINUTE)
        (taken,) = make(forward=False).run_once().delivered
        monitor = make(forward=False)
        (notice,) = monitor.notices(key=alert.key)

        assert ("recording", alert.key, AlertStatus.FIRING, 300.0, False) == (
            taken.sink, taken.key, taken.status, taken.waited_seconds, taken.repeated,
        )  # fmt: skip
        assert Receipt(sink="recording", reference=alert.key) == taken.receipt
        assert Notice(key=alert.key, sink="recording", status=AlertStatus.FIRING,
                      at=began + 5 * MINUTE, decided_at=began, attempts=2,
                      reference=alert.key) == notice  # fmt: skip
        assert f"recording took firing of {alert.key} as {alert.key} at attempt 2" in str(notice)
        assert () == monitor.notices(since=began + 6 * MINUTE)

    def test_numbers(self, make, table, sink):
        """Numbers have no key and no status, and leave no line beside any alert."""
        sink.fail(DOWN, times=1)
        failed = make().run_once().failed
        taken = make().run_once().delivered

        assert [("recording", "", 1)] == [(f.sink, f.key, f.attempts) for f in failed]
        assert [("recording", "", None)] * 2 == [(d.sink, d.key, d.status) for d in taken]
        assert () == make().notices()

    def test_given_up(self, make, table, clock, sink):
        """A dead letter says who refused what, when and why."""
        sink.fail(DeliveryRefused("400: no such key"), times=1)
        table.bad_between(-60, 60)
        run = make(forward=False).run_once()
        (dead,) = run.dead_letters

        assert ("recording", run.alerts[0].key, "DeliveryRefused: 400: no such key", clock.now(),
                run.alerts[0]) == (dead.sink, dead.key, dead.reason, dead.at, dead.alert)  # fmt: skip


class TestGivenUp:
    def test_refused_for_good(self, make, table, sink):
        """A permanent refusal is a dead letter, told loudly in every report until dealt with."""
        sink.fail(DeliveryRefused("400: no such routing key"), times=1)
        table.bad_between(-60, 60)
        run = make(forward=False).run_once()

        (dead,) = run.dead_letters
        assert ("recording", "latency-budget") == (dead.sink, dead.alert.rule)
        assert "GIVEN UP by recording" in str(run)
        assert "DEAD LETTERS: 1" in str(make(forward=False).run_once())
        assert 1 == len(sink.attempts)

    def test_revived(self, make, table, sink):
        """Once the cause is mended, a dead letter can be sent again, or dropped."""
        sink.fail(DeliveryRefused("400"), times=1)
        table.bad_between(-60, 60)
        monitor = make(forward=False)
        monitor.run_once()
        with pytest.raises(InputError, match="no dead letter"):
            monitor.revive(99)
        monitor.revive(monitor.dead_letters()[0].id)
        assert () == monitor.dead_letters()
        monitor.run_once()
        assert [("latency-budget", "firing")] == pages(sink)

    def refused(self, make, table, clock, sink, *, times):
        """An hour of trouble that is over, with the first so many words of it refused."""
        sink.fail(DeliveryRefused("400"), times=times)
        table.bad_between(-60, 0)
        for _ in range(4):
            make(rules=[latency()], forward=False).run_once()
            clock.advance(5 * MINUTE)
        return make(rules=[latency()], forward=False)

    def test_revived_after_its_end(self, make, table, clock, sink):
        """A beginning that comes after its end was told is followed by the end once more."""
        monitor = self.refused(make, table, clock, sink, times=1)
        assert [("latency-budget", "resolved")] == pages(sink)
        monitor.revive(monitor.dead_letters()[0].id)
        monitor.run_once()

        assert ["firing", "resolved"] == [status for _, status in pages(sink)[1:]]
        assert () == sink.firing

    @pytest.mark.parametrize("newest_first", [True, False])
    def test_both_revived(self, make, table, clock, sink, newest_first):
        """Beginning and end are told in their order, in whichever they are revived."""
        monitor = self.refused(make, table, clock, sink, times=2)
        letters = monitor.dead_letters()
        for dead in letters if newest_first else letters[::-1]:
            monitor.revive(dead.id)
        monitor.run_once()

        assert ["firing", "resolved"] == [status for _, status in pages(sink)]

    def test_an_old_letter_does_not_end_what_fires(self, make, table, clock, sink):
        """While the alert fires anew, neither its old beginning nor its old end may be told."""
        monitor = self.refused(make, table, clock, sink, times=2)
        table.bad_between(20, 60)
        clock.advance(20 * MINUTE)
        monitor.run_once()
        assert ["firing"] == [status for _, status in pages(sink)]

        for dead in monitor.dead_letters():
            with pytest.raises(InputError, match=rf"firing since .* drop\({dead.id}\) it"):
                monitor.revive(dead.id)
        assert 2 == len(monitor.dead_letters())

    def test_not_revived_during_a_run(self, make, table, sink, store, clock):
        """A run at work may be telling the very end of the alert: come back when it is done."""
        sink.fail(DeliveryRefused("400"), times=1)
        table.bad_between(-60, 60)
        monitor = make(forward=False)
        monitor.run_once()
        store.acquire("monitor/monitor", holder="a run", now=clock.now(), duration=MINUTE)
        with pytest.raises(StoreBusy, match="a run"):
            monitor.revive(monitor.dead_letters()[0].id)

    def test_dropped(self, make, table, sink):
        """A dead letter that is dealt with can be forgotten."""
        sink.fail(DeliveryRefused("400"), times=1)
        table.bad_between(-60, 60)
        monitor = make(forward=False)
        monitor.run_once()
        monitor.drop(monitor.dead_letters()[0].id)
        assert 0 == monitor.run_once().dead

    def test_the_end_goes_although_the_beginning_did_not(self, make, table, clock, sink):
        """A refused beginning does not keep back the end."""
        sink.fail(DeliveryRefused("400"), times=1)
        table.bad_between(-60, 0)
        make(forward=False).run_once()
        for _ in range(3):
            clock.advance(5 * MINUTE)
            make(forward=False).run_once()
        assert [("latency-budget", "resolved")] == pages(sink)

    def test_too_old(self, make, table, clock):
        """An alert that a sink can use for an hour only is given up after it, loudly, not tried."""
        sink = RecordingSink(delivery=Delivery(time_to_live=timedelta(hours=1)))
        sink.fail(DOWN, times=None)
        table.bad_between(-60, 600)
        make(sinks=[sink], forward=False).run_once()
        clock.advance(61 * MINUTE)
        monitor = make(sinks=[sink], forward=False)
        (dead,) = monitor.run_once().dead_letters

        assert "too old" in dead.reason
        assert clock.now() == dead.at
        assert (dead,) == monitor.dead_letters()
        assert 1 == len(sink.attempts)

    def test_unexpected_errors_are_tried_again(self, make, table, clock):
        """A bug in a sink is reported by its name and loses nothing."""

        class Buggy(AlertsOnly):
            def send(self, alert):
                if self.down:
                    raise KeyError("routing")
                return super().send(alert)

        sink = Buggy("buggy")
        sink.down = True
        table.bad_between(-60, 60)
        run = make(sinks=[sink]).run_once()
        assert "KeyError: 'routing'" == run.failed[0].error
        sink.down = False
        make(sinks=[sink]).run_once()
        assert [("latency-budget", "firing")] == sink.got

    def test_no_receipt_is_no_delivery(self, make, table):
        """A sink that returns nothing has not said that it took the alert."""

        class Mute(AlertsOnly):
            def send(self, alert):
                super().send(alert)

        table.bad_between(-60, 60)
        run = make(sinks=[Mute("mute")]).run_once()
        assert "instead of a Receipt" in run.failed[0].error

    def test_secrets_in_errors(self, make, table, sink):
        """What looks like a credential in a sink's error is masked in report and store."""
        sink.fail(DeliveryFailed("POST https://u:hunter2@x/ failed"), times=1)
        table.bad_between(-60, 60)
        run = make(forward=False).run_once()
        assert "hunter2" not in str(run)

    def test_a_sink_that_left(self, make, table, sink):
        """What waits for a sink that the monitor does not have any more is reported."""
        sink.fail(DOWN, times=None)
        table.bad_between(-60, 60)
        make(forward=False).run_once()
        run = make(sinks=[], forward=False).run_once()
        assert "1 items wait for sink 'recording/alerts'" in str(run.problems[0])

    def test_a_sink_that_takes_alerts_no_more(self, make, table, sink):
        """So are alerts for a sink whose successor of the same name takes numbers alone."""

        class Numbers:
            name = "recording"

            def push(self, samples):
                return Receipt(sink=self.name, count=len(samples))

        sink.fail(DOWN, times=None)
        table.bad_between(-60, 60)
        make().run_once()
        run = make(sinks=[Numbers()]).run_once()

        message = "1 items wait for sink 'recording/alerts', which this monitor does not have"
        assert (Problem(deployment="", message=message),) == run.problems


class TestHanging:
    class Hangs(AlertsOnly):
        def __init__(self, name):
            super().__init__(name)
            self.asked, self.gate = threading.Event(), threading.Event()

        def send(self, alert):
            self.asked.set()
            assert self.gate.wait(60)
            return super().send(alert)

    def test_holds_up_nobody(self, make, table, clock, watch):
        """A sink that never answers costs the run its budget and the others nothing; what it took
        after all is settled later, and it is told nothing twice."""
        hanging = self.Hangs("hanging")

        class Other(RecordingSink):
            def send(self, alert):
                assert hanging.asked.wait(60)
                return super().send(alert)

        class Store(MemoryStore):
            """Time is up when the first receipt is written."""

            def write(self, changes, *, lease=None):
                super().write(changes, lease=lease)
                if any(isinstance(change, Settle) for change in changes):
                    watch.advance(QUICK.delivery)

        other = Other()
        table.bad_between(-60, 60)
        monitor = make(sinks=[hanging, other], budget=QUICK, forward=False, store=Store())
        run = monitor.run_once()
        assert [("latency-budget", "firing")] == pages(other)
        assert [] == hanging.got
        assert "no answer within 0.4 s" in run.failed[0].error

        (alert,) = run.alerts
        run = monitor.run_once()  # still hanging: it is left alone
        assert "has not come back" in str(run.problems[0])
        assert [("hanging", alert.key, 1)] == [(f.sink, f.key, f.attempts) for f in run.failed]

        hanging.gate.set()
        ended("driftline-hanging")
        run = monitor.run_once()
        assert 1 == len([d for d in run.delivered if d.sink == "hanging"])
        clock.advance(30 * MINUTE)
        monitor.run_once()
        assert [("latency-budget", "firing")] == hanging.got

    def test_a_thread_that_lingers(self):
        """A lane that has handed in its last outcome is free, though its thread has not ended."""
        over, gate = threading.Event(), threading.Event()

        class Outcomes(queue.SimpleQueue):
            def put(self, item, *more):
                super().put(item, *more)
                if isinstance(item, Lane):
                    over.set()
                    assert gate.wait(60)

        (lane,), asked = lanes_of([AlertsOnly("pager")]), threading.Event()

        def send():
            assert asked.wait(60)
            return Receipt(sink="pager")

        lane.start([Parcel(key="k", send=send, item=None, payload=None)], Outcomes(), None)
        assert lane.stuck
        asked.set()
        assert over.wait(60)
        assert not lane.stuck
        gate.set()
        ended("driftline-pager")

    def test_a_pause_of_the_machine(self, make, table, watch):
        """What sinks took before the time was up is settled, even if nobody looked until later."""
        settling = threading.Event()

        class Second(AlertsOnly):
            def send(self, alert):
                assert settling.wait(60)
                return super().send(alert)

        class Store(MemoryStore):
            def write(self, changes, *, lease=None):
                if any(isinstance(change, Settle) for change in changes) and not settling.is_set():
                    settling.set()
                    ended("driftline-second")
                    watch.advance(QUICK.delivery)
                super().write(changes, lease=lease)

        table.bad_between(-60, 60)
        sinks = [AlertsOnly("first"), Second("second")]
        run = make(sinks=sinks, budget=QUICK, store=Store()).run_once()
        assert ["first", "second"] == sorted(delivered.sink for delivered in run.delivered)
        assert () == run.failed

    def test_slow_platform_leaves_time_to_tell(self, make, table, sink, watch):
        """When asking used up the time, what is known is still judged and told."""
        names = [f"acme/line-{i}" for i in range(6)]
        table.known = set(names)
        table.bad_between(-60, 60)

        def slow(what, _deployment):
            if what == "metrics":
                watch.advance(timedelta(seconds=0.1))

        table.fault = slow
        budget = Budget(total=timedelta(seconds=0.75), delivery=timedelta(seconds=0.5))
        run = make(deployments=names, budget=budget, workers=1, log_lines=0).run_once()
        assert 3 == len(sink.alerts)
        assert "time was used up" in str(run.problems[0])
        run = make(deployments=names, budget=budget, workers=1, log_lines=0).run_once()
        assert 6 == len({alert.deployment for alert in sink.alerts})  # whoever waited longest first

    def test_budget_is_checked(self):
        """The part for sending is a part of the whole."""
        with pytest.raises(InputError, match="delivery"):
            Budget(total=timedelta(seconds=1), delivery=timedelta(seconds=2))


class TestRepeating:
    def test_firing_set_at_each_run(self, make, table, clock):
        """A sink that forgets gets the firing set at each run, and ends for as long as it asks."""
        am = RecordingSink(
            name="am", delivery=Delivery(repeat_firing=True, repeat_resolved_for=12 * MINUTE)
        )
        table.bad_between(5, 35)
        for _ in range(14):
            clock.advance(5 * MINUTE)
            make(sinks=[am], rules=[latency()]).run_once()
        statuses = [alert.status.value for alert in am.alerts]
        assert ["firing"] * 5 + ["resolved"] * 3 == statuses
        assert 1 == len({alert.key for alert in am.alerts})
        assert 1 == len({alert.since for alert in am.alerts})
        times = [alert.at for alert in am.alerts[:5]]
        assert times == sorted(set(times))

    def test_others_are_told_once(self, make, table, clock, sink):
        """Sinks that remember are not bothered."""
        am = RecordingSink(name="am", delivery=Delivery(repeat_firing=True))
        table.bad_between(-60, 600)
        for _ in range(4):
            make(sinks=[sink, am]).run_once()
            clock.advance(5 * MINUTE)
        assert (1, 4) == (len(sink.alerts), len(am.alerts))

    def test_a_failed_repeat_is_reported_and_forgotten(self, make, table, clock):
        """The next run repeats anyway."""
        am = RecordingSink(name="am", delivery=Delivery(repeat_firing=True))
        table.bad_between(-60, 600)
        make(sinks=[am], forward=False).run_once()
        am.fail(DOWN, times=1)
        clock.advance(5 * MINUTE)
        (failed,) = make(sinks=[am], forward=False).run_once().failed
        assert (am.alerts[0].key, 1, clock.now()) == (failed.key, failed.attempts, failed.next_at)
        assert {} == make(sinks=[am])._store.queues()


class TestHeldBack:
    def test_over_before_it_was_told(self, make, table, clock, sink):
        """With a wait, an alert that is over by then is not told."""
        table.bad_between(-60, 8)
        monitor = make(wait=30 * MINUTE, rules=[latency()], forward=False)
        for _ in range(10):
            monitor.run_once()
            clock.advance(5 * MINUTE)
        assert [] == sink.attempts
        assert ["pending", "firing", "resolved"] == [t.change.value for t in monitor.transitions()]

    def test_two_at_once(self, make, table, clock, sink):
        """Each alert that is over by then is not told, however many there are."""
        table.bad_between(-60, 8)
        table.errors = lambda minute: 6.0 if minute < 8 else 0.0
        monitor = make(wait=30 * MINUTE, forward=False)
        for _ in range(10):
            monitor.run_once()
            clock.advance(5 * MINUTE)
        assert [] == sink.attempts
        assert 2 == [t.change.value for t in monitor.transitions()].count("resolved")

    def test_a_drill_does_not_wait(self, make, sink):
        """A drill tries the way to people, not their patience."""
        assert make(wait=30 * MINUTE, rules=[latency()]).drill().ok
        assert ["firing", "resolved"] == [status for _, status in pages(sink)]

    def test_told_after_the_wait(self, make, table, clock, sink):
        """One that lasts is told when the wait is over."""
        table.bad_between(-60, 600)
        monitor = make(wait=12 * MINUTE, rules=[latency()], forward=False)
        for expected in (0, 0, 0, 1):
            monitor.run_once()
            assert expected == len(sink.alerts)
            clock.advance(5 * MINUTE)

    def test_collapsed_after_an_outage(self, make, table, clock, sink):
        """On request, what began and ended while a sink could not be tried is not told late."""
        table.bad_between(-60, 8)
        sink.fail(DeliveryFailed("429", retry_after_seconds=3000.0), times=1)
        table.errors = lambda minute: 6.0 if minute < -30 else 0.0
        how = {"collapse": True, "forward": False, "rules": [latency(), errors()]}
        for _ in range(14):
            make(**how).run_once()
            clock.advance(5 * MINUTE)
        # What was tried is told with its end, what was not is told no more.
        assert 1 == len({alert.rule for alert in sink.alerts})
        assert ["firing", "resolved"] == [alert.status.value for alert in sink.alerts]

    def test_several_over_at_once(self, make, clock, sink):
        """Each that began and ended within the wait is told to nobody, whichever ended last."""
        rule = rules.Threshold(series="x", above=1, runbook="Look")
        for value in (9, 0):
            clock.advance(MINUTE)
            at = clock.now() - MINUTE
            samples = [
                Sample(metric="x", value=value, at=at, width=MINUTE, labels={"camera": camera})
                for camera in "abc"
            ]
            monitor = make(platform=None, rules=[rule], forward=False, wait=30 * MINUTE)
            monitor.run_once(samples=samples)
        clock.advance(40 * MINUTE)
        monitor.run_once()

        assert [] == sink.attempts
        assert 3 == [t.change.value for t in monitor.transitions()].count("resolved")

    def test_not_held_back_by_a_clock_that_was_ahead(self, make, clock, sink):
        """What began and ended while the clock was a day ahead, untried, is told when it is right."""
        rule = rules.Threshold(series="x", above=1, runbook="Look")
        how = {"platform": None, "rules": [rule], "forward": False}
        sink.fail(DeliveryFailed("429", retry_after_seconds=3000.0), times=1)
        clock.advance(24 * 60 * MINUTE)
        for camera, value in (("a", 9), ("b", 9), ("b", 0)):
            clock.advance(MINUTE)
            at, labels = clock.now() - MINUTE, {"camera": camera}
            sample = Sample(metric="x", value=value, at=at, width=MINUTE, labels=labels)
            make(**how).run_once(samples=[sample])
        assert [] == sink.alerts

        clock.set(START + MINUTE)
        make(**how).run_once()
        heard = [(alert.labels["camera"], alert.status.value) for alert in sink.alerts]
        assert [("a", "firing"), ("b", "firing"), ("b", "resolved")] == heard


class TestNumbers:
    def test_forwarded_once(self, make, table, clock, sink):
        """Each settled bucket, and each sample of the caller's, is passed on once."""
        for _ in range(4):
            clock.advance(5 * MINUTE)
            samples = [
                Sample(metric="x", value=1.0, at=START), Sample(metric="x", value=2.0, at=clock.now()),
            ]  # fmt: skip
            make().run_once(samples=samples)
            make().run_once(samples=samples)
        seen = [
            (s.metric, s.deployment, s.at)
            for s in sink.samples
            if not s.metric.startswith("monitor.")
        ]
        assert len(set(seen)) == len(seen)
        latencies = [s.at for s in sink.samples if s.metric == Metric.LATENCY_P95_MS]
        assert latencies == [latencies[0] + i * MINUTE for i in range(len(latencies))]
        assert 5 == sum(s.metric == "x" for s in sink.samples)

    def test_heartbeat(self, make, sink):
        """Each run says that it lives, so that silence can be told from death."""
        make().run_once()
        make(name="other").run_once()
        beats = [s.labels["monitor"] for s in sink.samples if s.metric == HEARTBEAT]
        assert ["monitor", "other"] == beats

    def test_open_alerts(self, make, table, clock, sink):
        """And how many alerts are open, of all that it judges."""
        table.bad_between(-60, 1)
        for _ in range(2):
            make().run_once()
            clock.advance(60 * MINUTE)
        told = [s.value for s in sink.samples if s.metric == OPEN_ALERTS]
        assert [1.0, 0.0] == told

    def test_kept_for_an_hour(self, make, table, clock, sink):
        """Numbers that a sink did not take within the hour are dropped, and the report says so."""
        sink.fail(DOWN, times=None)
        make(rules=[]).run_once()
        clock.advance(61 * MINUTE)
        sink.recover()
        run = make(rules=[]).run_once()
        assert "batches of numbers were dropped" in str(run.problems[0])
        assert () == run.dead_letters
        # The hour itself is not lost: the platform still has it.
        assert START - 30 * MINUTE < min(s.at for s in sink.samples)

    def test_not_on_request(self, make, sink):
        """With forward=False sinks get alerts only."""
        make(forward=False).run_once()
        assert [] == sink.samples

    def test_a_sink_for_numbers_alone(self, make, table):
        """A sink with push and no send gets no alert."""

        class Numbers:
            name = "numbers"

            def __init__(self):
                self.count = 0

            def push(self, samples):
                self.count += len(samples)
                return Receipt(sink=self.name, count=len(samples))

        numbers = Numbers()
        table.bad_between(-60, 60)
        make(sinks=[numbers]).run_once()
        assert numbers.count > 100

    def test_alerts_go_first(self, make, table, sink):
        """A page does not wait for dashboards."""
        order = []
        send, push = sink.send, sink.push
        sink.send = lambda alert: (order.append("alert"), send(alert))[1]
        sink.push = lambda samples: (order.append("numbers"), push(samples))[1]
        table.bad_between(-60, 60)
        make().run_once()
        assert ["alert", "numbers"] == order


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=20, max_size=40))
@settings(max_examples=25, deadline=None)
def test_any_pattern_of_outages(outages):
    """Whatever pattern of failures two sinks show, each gets the same story, once and in order."""
    clock = FrozenClock(START)
    table = Table(clock)
    table.p95 = lambda minute: 400.0 if minute % 60 < 25 else 100.0
    store, sinks = MemoryStore(), [AlertsOnly("a"), AlertsOnly("b")]
    for down in [*outages, *[[False, False]] * 4]:
        clock.advance(20 * MINUTE)
        for sink, dead in zip(sinks, down, strict=True):
            sink.down = dead
        Monitor(
            table, deployments=["acme/line-3"], rules=[latency()], sinks=sinks, store=store, clock=clock, seed=0
        ).run_once()  # fmt: skip

    a, b = (sink.got for sink in sinks)
    assert a == b
    assert [status for _, status in a] == (["firing", "resolved"] * len(a))[: len(a)]
