"""Rate limits: by category, over a sliding minute, of simulated or of real time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from localkit import LINE, client_of, two_boxes

from driftline.testing import LocalPlatform
from driftline.testing._platform._limits import RATE_LIMITS, RateLimiter


def test_default(http):
    """A hundred reads a minute, and not one more."""
    statuses = [http.get(LINE).status_code for _ in range(101)]

    assert [200] * 100 + [429] == statuses


def test_categories_are_apart(http, image):
    """Predictions have 20 and changes 10, beside the reads."""
    predict = [http.post(f"{LINE}/predict", files={"file": image}).status_code for _ in range(21)]
    mutation = [http.patch(LINE, json={}).status_code for _ in range(11)]

    assert [200] * 20 + [429] == predict
    assert [400] * 10 + [429] == mutation
    assert 200 == http.get(LINE).status_code


def test_waiting_in_simulated_time(local, http):
    """After the wait that the 429 names there is room, half-way there is none."""
    for _ in range(100):
        http.get(LINE)
    refused = http.get(LINE)
    wait = int(refused.headers["retry-after"])
    reset = datetime.fromisoformat(refused.json()["resetAt"])

    # Real seconds count as well: a machine as busy as that would fail every other test.
    assert 30 <= wait <= 60
    assert timedelta(seconds=wait - 1) <= reset - local.clock.now() <= timedelta(seconds=wait)
    local.clock.sleep(wait / 2)
    assert 429 == http.get(LINE).status_code
    local.clock.sleep(wait / 2)
    assert 200 == http.get(LINE).status_code


def test_waiting_in_real_time():
    """A client on its own clock waits in real time, whatever the simulated clock has done.

    The window is shortened to half a second so that the test need not wait a minute.
    """
    with LocalPlatform(deployments=["line-3"]) as local, client_of(local) as http:
        local.clock.advance(timedelta(days=3))
        for _ in range(10):
            http.patch(LINE, json={})
        assert 429 == http.patch(LINE, json={}).status_code
        local.clock.sleep(59.5)
        time.sleep(0.5)
        assert 400 == http.patch(LINE, json={}).status_code


def test_off():
    """Limits can be off."""
    with (
        LocalPlatform(deployments=["line-3"], rate_limits=None) as local,
        client_of(local) as http,
    ):
        assert {200} == {http.get(LINE).status_code for _ in range(150)}


def test_own_limits(image):
    """A limit can be another; what is left out keeps the Platform's."""
    with (
        LocalPlatform(
            deployments=["line-3"], detector=two_boxes, rate_limits={"predict": 2}
        ) as local,
        client_of(local) as http,
    ):
        predict = [
            http.post(f"{LINE}/predict", files={"file": image}).status_code for _ in range(3)
        ]
        reads = [http.get(LINE).status_code for _ in range(101)]

    assert [200, 200, 429] == predict
    assert [200] * 100 + [429] == reads


def test_unauthorized_calls_cost_nothing(http):
    """A call with a wrong key takes nobody's room."""
    for _ in range(150):
        http.get(LINE, headers={"Authorization": "Bearer nobody"})

    assert 200 == http.get(LINE).status_code


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=300),
    st.sampled_from(sorted(RATE_LIMITS)),
)
def test_never_more_than_the_limit(gaps, category):
    """No minute ever holds more than the limit, and a refusal's wait is exactly enough."""
    limiter, now, taken = RateLimiter(RATE_LIMITS), 0.0, []
    for gap in gaps:
        now += gap
        wait = limiter.take(category, now=now)
        if wait is None:
            taken.append(now)
        else:
            assert 0 < wait <= 60
            assert RATE_LIMITS[category] == sum(now - 60 < at for at in taken)
    for at in taken:
        assert sum(at - 60 < other <= at for other in taken) <= RATE_LIMITS[category]


@pytest.mark.parametrize(("wait", "whole"), [(0.001, 1), (1.0, 1), (11.2, 12), (60.0, 60)])
def test_whole_seconds(wait, whole):
    """A Retry-After is never too short."""
    assert whole == RateLimiter.whole_seconds(wait)
