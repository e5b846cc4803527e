"""Simulated time: it stands still, moves at once when told, and is safe to share."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import InputError
from driftline.testing import FrozenClock
from driftline.typing import Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_stands_still():
    """Real time does not move it."""
    clock = FrozenClock(NOON)
    time.sleep(0.01)

    assert NOON == clock.now()
    assert 0.0 == clock.monotonic()


def test_is_a_clock():
    """It fits where the library takes a clock."""
    clock: Clock = FrozenClock()
    clock.sleep(1)

    assert 0 == clock.now().weekday()


def test_starts_in_utc():
    """A start in another zone is the same instant."""
    clock = FrozenClock(datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))))

    assert NOON == clock.now()
    assert UTC == clock.now().tzinfo


@pytest.mark.parametrize("make", [FrozenClock, FrozenClock().set])
def test_naive_time(make):
    """A time without a zone is refused."""
    with pytest.raises(InputError, match="no time zone"):
        make(datetime(2026, 3, 1))


@given(st.lists(st.floats(0, 1e6, allow_nan=False), max_size=20))
def test_sleeps_add_up(sleeps):
    """The time that passed is the sum of all sleeps, on both faces, to a microsecond a sleep."""
    clock = FrozenClock(NOON)
    for seconds in sleeps:
        clock.sleep(seconds)

    assert abs((clock.now() - NOON).total_seconds() - sum(sleeps)) <= 1e-6 * (1 + len(sleeps))
    assert pytest.approx(sum(sleeps)) == clock.monotonic()
    assert tuple(s for s in sleeps if s > 0) == clock.sleeps


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_no_sleep(seconds):
    """Sleeping for nothing, or less, does nothing."""
    clock = FrozenClock(NOON)
    clock.sleep(seconds)

    assert NOON == clock.now()
    assert () == clock.sleeps


def test_async_sleep_lets_others_run():
    """Another task gets its turn while one sleeps."""
    clock, seen = FrozenClock(NOON), []

    async def other():
        seen.append(clock.now())

    async def main():
        task = asyncio.create_task(other())
        await clock.asleep(30)
        assert task.done()

    asyncio.run(main())

    assert [NOON + timedelta(seconds=30)] == seen


def test_never_advances_back():
    """Only `set` goes back."""
    clock = FrozenClock(NOON)
    with pytest.raises(InputError, match="would go back"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(InputError, match="by=5 must be a timedelta"):
        clock.advance(5)
    clock.set(NOON - timedelta(days=1))

    assert NOON - timedelta(days=1) == clock.now()


def test_monotonic_never_goes_back():
    """Setting the clock back leaves the monotonic face; setting it forward moves it."""
    clock = FrozenClock(NOON)
    clock.advance(timedelta(seconds=5))
    clock.set(NOON)
    assert 5.0 == clock.monotonic()
    clock.set(NOON + timedelta(seconds=7))
    assert 12.0 == clock.monotonic()


def test_threads_lose_no_time():
    """Sleeps of many threads all count."""
    clock = FrozenClock(NOON)

    def nap():
        for _ in range(500):
            clock.sleep(1)

    threads = [threading.Thread(target=nap) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert NOON + timedelta(seconds=4000) == clock.now()
