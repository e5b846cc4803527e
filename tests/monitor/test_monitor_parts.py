"""The monitor's small pure parts: what may go, in which lots, and what fired when."""

import queue
from datetime import timedelta
from typing import ClassVar

import numpy as np
import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from monitor_support import LINE, MINUTE, START, latency

from driftline.errors import DeliveryFailed, DeliveryRefused
from driftline.monitor import Backoff
from driftline.monitor._engine import UNWATCHED, Observations, _fired, judge
from driftline.monitor._lanes import Outcome, Parcel, lanes_of
from driftline.monitor._outbox import (
    CHUNK,
    Deliveries,
    Outbox,
    _chunks,
    _drain,
    _due,
    _told,
    letter,
)
from driftline.monitor._subjects import Subject, dedup_key
from driftline.monitor._tick import _between
from driftline.records import (
    AlertStatus,
    Bury,
    DeadItem,
    Item,
    Postpone,
    Put,
    Receipt,
    Series,
    Settle,
)
from driftline.rules import Change, Phase
from driftline.rules._state import State, Step
from driftline.rules._time import micros
from driftline.stores import MemoryStore
from driftline.testing import FrozenClock, RecordingSink


def item(number, key="a", *, due=START, **how):
    return Item(id=number, queue="m/pager/alerts", key=key, payload={}, created=START, due=due,
                **how)  # fmt: skip


class TestDue:
    LONGEST = timedelta(minutes=15)

    def test_in_order_of_each_key(self):
        """What is not due holds up what is behind it under its key, and nothing else."""
        later = START + MINUTE
        items = [item(1), item(2, "b", due=later), item(3, "b"), item(4), item(5, "c")]

        assert [1, 4, 5] == [i.id for i in _due(items, START, self.LONGEST)]
        assert [1, 2, 3, 4, 5] == [i.id for i in _due(items, later, self.LONGEST)]

    @pytest.mark.parametrize(
        ("seconds", "goes"), [(-1, True), (0, True), (1, False), (900, False), (901, True)]
    )
    def test_bounds(self, seconds, goes):
        """From its time on, and at once if that is further off than any wait: the clock was ahead."""
        one = item(1, due=START + timedelta(seconds=seconds))

        assert goes is bool(_due([one], START, self.LONGEST))


class TestLots:
    @given(st.lists(st.integers(0, 2 * CHUNK), max_size=12))
    @example([CHUNK - 1, 1, CHUNK, 1, CHUNK - 1, 1])
    def test_all_in_order_and_none_too_large(self, sizes):
        """Lots hold every column in order, at most so many samples unless it is one column, and
        no lot could have taken the first column of the next."""
        columns = [{"n": i, "t": [0] * size} for i, size in enumerate(sizes)]
        lots = list(_chunks(columns))
        counts = [sum(len(column["t"]) for column in lot) for lot in lots]

        assert columns == [column for lot in lots for column in lot]
        assert all(lots)
        for lot, count in zip(lots, counts, strict=True):
            assert count <= CHUNK or 1 == len(lot)
        for count, after in zip(counts, lots[1:], strict=False):
            assert count + len(after[0]["t"]) > CHUNK


class TestOutcomes:
    """Whatever a lane hands in at once is settled together."""

    @pytest.fixture
    def pager(self):
        return lanes_of([RecordingSink(name="pager")])[0]

    def outcome(self, lane, number, **how):
        parcel = Parcel(key="", send=None, item=item(number, "" if number > 2 else "a"),
                        payload=None)  # fmt: skip
        return Outcome(lane=lane, parcel=parcel, **how)

    def test_all_are_written(self, pager):
        """The receipt of one, the refusal of another and the failure of a third; in their order."""
        clock = FrozenClock(START)
        outbox = Outbox(MemoryStore(), "m", [pager], clock=clock, backoff=Backoff(),
                        rng=np.random.default_rng(0))  # fmt: skip
        done, receipt = Deliveries(), Receipt(sink="pager")
        changes = outbox._settle(
            [
                self.outcome(pager, 1, error=DeliveryRefused("400")),
                self.outcome(pager, 3, receipt=receipt),
                self.outcome(pager, 4, error=DeliveryFailed("429", retry_after_seconds=60.0)),
                self.outcome(pager, 5, receipt=receipt),
            ],
            done,
        )
        hold = {"until": (START + MINUTE).isoformat()}

        assert [
            Bury(id=1, at=START, reason="DeliveryRefused: 400"),
            Settle(id=3),
            Postpone(id=4, due=START + MINUTE, error="DeliveryFailed: 429"),
            Put(space="m/holds", key="pager", value=hold),
            Settle(id=5),
        ] == changes
        assert (2, 1, 1) == (len(done.delivered), len(done.failed), len(done.dead_letters))

    @pytest.mark.parametrize(("seconds", "asked"), [(7.0, [7.0]), (0.0, [])])
    def test_waits_for_the_first_alone(self, pager, seconds, asked):
        """It sleeps until a first one is there, if it may, and takes all there is."""

        class Waited(queue.SimpleQueue):
            waits: ClassVar[list[float]] = []

            def get(self, *, timeout):
                self.waits.append(timeout)
                return self.get_nowait()

        outcomes, both = Waited(), [self.outcome(pager, n) for n in (1, 2)]
        Waited.waits.clear()
        for one in both:
            outcomes.put(one)

        assert both == _drain(outcomes, seconds)
        assert [] == _drain(outcomes, 0.0)
        assert asked == Waited.waits


class TestWords:
    def test_errors(self):
        """An error is told by name and words, one without words by name."""
        assert "DeliveryFailed: 503" == _told(DeliveryFailed("503"))
        assert "TimeoutError" == _told(TimeoutError())

    def test_letters(self):
        """A dead letter names the sink out of the queue's name; numbers have no alert."""
        dead = letter(DeadItem(item=item(7, ""), at=START + MINUTE, reason="too old"))

        assert (7, "pager", "", "too old", START + MINUTE, None) == (
            dead.id, dead.sink, dead.key, dead.reason, dead.at, dead.alert,
        )  # fmt: skip


class TestBetween:
    @pytest.mark.parametrize(
        ("start", "end", "kept"), [(0, 3, [0, 1, 2]), (1, 2, [1]), (1, 1, []), (3, 9, [3, 4])]
    )
    def test_buckets_that_settled(self, start, end, kept):
        """Buckets that end after the one and not after the other moment; all else stays."""
        origin = np.datetime64(START.replace(tzinfo=None), "us")
        times = origin + np.arange(5) * np.timedelta64(60_000_000, "us")
        series = Series(metric="queue", times=times, values=np.arange(5.0), width=MINUTE,
                        deployment=LINE, labels={"camera": "one"})  # fmt: skip
        found = _between(series, micros(START + start * MINUTE), micros(START + end * MINUTE))

        assert kept == found.values.tolist()
        assert times[kept].tolist() == found.times.tolist()
        assert ("queue", LINE, {"camera": "one"}, MINUTE) == (
            found.metric, found.deployment, dict(found.labels), found.width,
        )  # fmt: skip


class TestFired:
    @staticmethod
    def steps(*told):
        return [
            Step(change=change, phase=Phase.OK, at=at, since=0, value=0.0, threshold=0.0,
                 window_start=0, window_end=0)
            for change, at in told
        ]  # fmt: skip

    def test_stretches(self):
        """From firing to resolved, again and again; what fires still has no end."""
        steps = self.steps((Change.FIRING, 3), (Change.RESOLVED, 5), (Change.FIRING, 8))

        assert [(3, 5), (8, None)] == _fired(State(), steps)

    def test_went_on(self):
        """What fired before fires from the beginning of time on; what did not may only end."""
        firing = evolve(State(), phase=Phase.FIRING)

        assert [(0, 5)] == _fired(firing, self.steps((Change.RESOLVED, 5)))
        assert [(0, None)] == _fired(firing, [])
        assert [] == _fired(State(), self.steps((Change.RESOLVED, 5)))


class TestOrphans:
    """States that nobody judges any more: what fired is ended, and people are told why."""

    NOW = micros(START)
    FIRING = State(phase=Phase.FIRING, since=NOW - 9, told="critical", until=NOW - 1)
    OTHER = ("removed", Subject(LINE))
    AWAY = ("latency-budget", Subject("acme/away"))
    HERE = ("latency-budget", Subject(LINE))

    def judged(self, states, **how):
        return judge(
            Observations(monitor="m", rules=[latency()], deployments=[LINE], asked=[LINE],
                         now=self.NOW, states=states, **how)
        )  # fmt: skip

    def test_removed_and_unwatched(self):
        """A removed rule's state goes; of a deployment that is not watched what was learnt stays."""
        blank = ("removed", Subject("acme/calm"))
        found = self.judged(
            {self.HERE: State(), self.OTHER: self.FIRING, blank: State(), self.AWAY: self.FIRING}
        )
        reasons = {place: (step.change, step.at, step.reason) for place, step in found.steps}

        assert [self.OTHER, blank] == found.dropped
        assert [self.HERE, self.AWAY] == list(found.states)
        assert {
            self.OTHER: (Change.RESOLVED, self.NOW, "the rule was removed from the monitor"),
            self.AWAY: (Change.RESOLVED, self.NOW, UNWATCHED),
        } == reasons
        assert [
            (dedup_key("m", *place), place, AlertStatus.RESOLVED)
            for place in (self.OTHER, self.AWAY)
        ] == [(t.key, t.place, t.notice.status) for t in found.tellings]
        assert (Phase.OK, self.NOW, "") == (
            (ended := found.states[self.AWAY]).phase, ended.resolved_at, ended.told,
        )  # fmt: skip

    def test_gone(self):
        """What the platform does not know any more is ended with the reason that is given."""
        found = self.judged({self.AWAY: self.FIRING}, gone={"acme/away": "it was deleted"})

        assert ["it was deleted"] == [step.reason for _, step in found.steps]

    def test_untold(self):
        """Of what people were not told, they are not told the end."""
        found = self.judged({self.AWAY: evolve(self.FIRING, told="")})

        assert ([], 1) == (found.tellings, len(found.steps))

    def test_stopped(self):
        """While the platform has nothing to say the time is unjudged, from what was judged last."""
        known = State(until=self.NOW - 60_000_000)
        refused = {LINE: "it is stopped"}
        first = self.judged({}, refused=refused)
        later = self.judged({self.HERE: known}, refused=refused)
        (gap,) = later.unjudged

        assert [] == first.unjudged
        assert self.NOW == first.states[self.HERE].until == later.states[self.HERE].until
        assert ("latency-budget", LINE, {}, START - MINUTE, START, "it is stopped") == (
            gap.rule, gap.deployment, dict(gap.labels), gap.start, gap.end, gap.reason,
        )  # fmt: skip
