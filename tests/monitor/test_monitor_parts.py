"""The monitor's small pure parts: what may go, in which lots, and what fired when."""

from datetime import timedelta

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from monitor_support import LINE, MINUTE, START

from driftline.errors import DeliveryFailed
from driftline.monitor._engine import _fired
from driftline.monitor._outbox import CHUNK, _chunks, _due, _told, letter
from driftline.monitor._tick import _between
from driftline.records import DeadItem, Item, Series
from driftline.rules import Change, Phase
from driftline.rules._state import State, Step
from driftline.rules._time import micros


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
