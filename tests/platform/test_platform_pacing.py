"""A fleet of callers stays under the limits of its key."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platform_server import KEY, Answer, Face, HandClock, deployment_row

from driftline._clock import SystemClock
from driftline._secret import Secret
from driftline._wire import Call
from driftline.platform import PlatformClient
from driftline.platform._calls import PER_MINUTE
from driftline.platform._pace import PERIOD_SECONDS, Pace, Pacer, _pacers, shared_pacer


def most_in_a_minute(times, period=60.0):
    """The most calls that any window of a minute sees, wherever it begins."""
    times = sorted(times)
    return max(
        (sum(1 for other in times if start <= other < start + period) for start in times),
        default=0,
    )


def detail(_):
    return Answer(json={"deployment": deployment_row(), "region": "us"})


@given(
    gaps=st.lists(st.floats(0, 5), max_size=120),
    limit=st.integers(1, 12),
)
@settings(max_examples=60)
def test_law(gaps, limit):
    """However calls arrive, no minute sees more than the limit, and nobody overtakes."""
    clock = HandClock()
    pacer = Pacer(clock)
    times = []
    for gap in gaps:
        clock.time += gap
        times.append(clock.time + pacer.reserve("x", limit))

    assert most_in_a_minute(times) <= limit
    # A reserved time comes back as a wait: the sum may be off by one place of a float.
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(times))


def test_at_once_until_the_limit():
    """A minute's worth goes at once; the next waits for the first to leave the window."""
    pacer = Pacer(HandClock())

    assert [0.0] * 100 == [pacer.reserve("default", 100) for _ in range(100)]
    assert PERIOD_SECONDS == pacer.reserve("default", 100)


def test_categories_do_not_disturb():
    """Predictions that wait do not hold metrics up."""
    pace = Pace(Pacer(HandClock()), PER_MINUTE)
    for _ in range(20):
        assert 0.0 == pace(Call(method="POST", path="/", category="predict"))

    assert PERIOD_SECONDS == pace(Call(method="POST", path="/", category="predict"))
    assert 0.0 == pace(Call(method="GET", path="/"))
    assert 0.0 == pace(Call(method="POST", path="/", category="direct"))


def test_threads():
    """Eight threads that reserve at once keep to one limit together."""
    clock = HandClock()
    pacer = Pacer(clock)
    times = []
    guard = threading.Lock()

    def caller():
        for _ in range(50):
            at = clock.time + pacer.reserve("default", 100)
            with guard:
                times.append(at)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 400 == len(times)
    assert 100 == most_in_a_minute(times)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_clients_of_one_key_share(kind):
    """Several clients of one key on one clock stay under the limit together, without a 429."""
    clock = HandClock()
    arrived = []

    def script(asked):
        arrived.append(clock.time)
        return detail(asked)

    fleet = [Face(kind, script, clock=clock) for _ in range(3)]
    for number in range(250):
        fleet[number % 3].deployment("acme/line-3")
    for one in fleet:
        one.shut()

    assert 100 == most_in_a_minute(arrived)
    assert 2 * PERIOD_SECONDS == pytest.approx(clock.time)


def test_keys_do_not_share():
    """Another key, another Platform or another clock has a minute of its own."""
    clock = HandClock()
    pacer = shared_pacer("https://a", Secret(KEY), clock)

    assert pacer is shared_pacer("https://a", Secret(KEY), clock)
    pacer.reserve("default", 1)
    assert pacer is not shared_pacer("https://a", Secret(KEY[:-1] + "f"), clock)
    assert pacer is not shared_pacer("https://b", Secret(KEY), clock)
    assert pacer is not shared_pacer("https://a", Secret(KEY), HandClock())


def test_system_clocks_share():
    """Two clients on the machine's clock share, although each has a clock object of its own."""
    first = shared_pacer("https://shared.example", Secret(KEY), SystemClock())

    assert first is shared_pacer("https://shared.example", Secret(KEY), SystemClock())


def test_a_closed_client_is_remembered():
    """A client a call does not get around the limit."""
    clock = HandClock()
    arrived = []

    def script(asked):
        arrived.append(clock.time)
        return detail(asked)

    for _ in range(120):
        client = Face("sync", script, clock=clock)
        client.deployment("acme/line-3")
        client.shut()

    assert 100 == most_in_a_minute(arrived)


def test_idle_pacers_are_forgotten():
    """What no longer matters does not pile up, and the key itself is nowhere in it."""
    clock = HandClock()
    mine = shared_pacer("https://idle.example", Secret(KEY), clock)
    mine.reserve("default", 100)
    shared_pacer("https://other.example", Secret(KEY), HandClock())
    assert mine in _pacers.values()

    clock.time += 2 * PERIOD_SECONDS
    shared_pacer("https://other.example", Secret(KEY), HandClock())

    assert mine not in _pacers.values()
    assert KEY not in repr(_pacers)


def test_limits_are_settings(caplog):
    """A plan with other limits says so; who waits is told why."""
    caplog.set_level("INFO", logger="driftline")
    clock = HandClock()
    client = Face("sync", detail, clock=clock, rate_limits={"default": 2})
    for _ in range(5):
        client.deployment("acme/line-3")
    client.shut()

    assert 2 * PERIOD_SECONDS == pytest.approx(clock.time)
    assert "default calls: 2 a minute are used up, waiting 61.0 s" in caplog.text


def test_a_429_holds_the_others():
    """When the Platform says 429 all the same, nobody of that category asks before it is over."""
    clock = HandClock()
    answers = iter([Answer(status=429, headers={"Retry-After": "30"})])
    first = Face("sync", lambda asked: next(answers, None) or detail(asked), clock=clock)
    second = Face("sync", detail, clock=clock)
    first.deployment("acme/line-3")
    waited = clock.time

    pacer = shared_pacer("https://platform.example", Secret(KEY), clock)
    clock.time = 10.0
    assert 20.0 == pacer.reserve("default", 100)
    assert 30.0 == waited
    first.shut()
    second.shut()


def test_the_last_429_holds_the_others_too():
    """When nobody waits it out, the others are spared all the same."""
    from driftline.errors import RateLimited
    from driftline.platform import Retry

    clock = HandClock()
    script = lambda _: Answer(status=429, headers={"Retry-After": "30"})  # noqa: E731
    client = Face("sync", script, clock=clock, retry=Retry(attempts=1))
    with pytest.raises(RateLimited):
        client.deployment("acme/line-3")
    client.shut()

    pacer = shared_pacer("https://platform.example", Secret(KEY), clock)
    assert 30.0 == pacer.reserve("default", 100)


def test_an_endless_429_holds_a_minute():
    """A wait of years, said by mistake, does not stop the fleet for years."""
    from driftline.errors import RateLimited

    clock = HandClock()
    client = Face("sync", lambda _: Answer(status=429, headers={"Retry-After": "1e9"}), clock=clock)
    with pytest.raises(RateLimited):
        client.deployment("acme/line-3")
    client.shut()

    pacer = shared_pacer("https://platform.example", Secret(KEY), clock)
    assert 60.0 == pacer.reserve("default", 100)


def test_a_limiter_that_counts(monkeypatch):
    """A server that refuses the 101st call of any minute refuses none of a paced fleet."""
    from platform_server import ScriptedServer

    clock = HandClock()
    arrived, refused = [], []
    guard = threading.Lock()

    def script(asked):
        with guard:
            recent = [at for at in arrived if at > clock.time - 60]
            if len(recent) >= 100:
                refused.append(clock.time)
                return Answer(status=429, json={"error": "Rate limit exceeded"})
            arrived.append(clock.time)
        return detail(asked)

    with ScriptedServer(script) as server:
        with (
            PlatformClient(KEY, server.url, clock=clock) as one,
            PlatformClient(KEY, server.url, clock=clock) as two,
        ):
            for _ in range(110):
                one.deployment("acme/line-3")
                two.deployment("acme/line-3")

    assert [] == refused
    assert 220 == len(arrived)
