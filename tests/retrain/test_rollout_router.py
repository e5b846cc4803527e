"""Dealing keys: deterministic, sticky, fair, quick, and unlike in every rollout."""

import math
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline import errors
from driftline.retrain import Arm
from driftline.retrain._router import Table

KEYS = [f"cam-{i}" for i in range(20_000)]


def table(share, salt="r1", **options):
    return Table(salt=salt, deployment="acme/a", canary="acme/b", share=share, stage=0, **options)


def candidates(share, salt="r1"):
    route = table(share, salt).lookup()
    return {key for key in KEYS if route(key).arm is Arm.CANDIDATE}


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_share(share):
    """The candidate gets its share of the keys."""
    # Five standard deviations of a binomial.
    allowed = 5 * math.sqrt(share * (1 - share) / len(KEYS))

    assert abs(len(candidates(share)) / len(KEYS) - share) < allowed


def test_ends():
    """At 0 no key goes to the candidate, at 1 every key."""
    assert set() == candidates(0.0)
    assert set(KEYS) == candidates(1.0)


def test_sticky_through_stages():
    """A key that the candidate serves stays with it when the share grows."""
    assert candidates(0.05) < candidates(0.25) < candidates(0.5)


def test_rollouts_deal_apart():
    """The early keys of one rollout are not those of the next."""
    both = candidates(0.25, "r1") & candidates(0.25, "r2")

    # Independent: a sixteenth of the keys, give or take five standard deviations.
    assert abs(len(both) / len(KEYS) - 1 / 16) < 5 * math.sqrt(15 / 256 / len(KEYS))


@given(st.text(), st.floats(0, 1))
def test_deterministic(key, share):
    """Two routers of one rollout agree about every text."""
    try:
        first = table(share).lookup()(key)
    except errors.InputError:  # a lone surrogate is no text
        return

    assert first == table(share).lookup()(key)


def test_same_in_every_process():
    """Another process, with another hash seed, deals the same keys."""
    code = (
        "from driftline.retrain._router import Table;"
        "route = Table(salt='r1', deployment='acme/a', canary='acme/b', share=.25, stage=0).lookup();"
        "print(''.join(str(int(str(route(f'cam-{i}')) == 'acme/b')) for i in range(500)))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=1200,
        env={"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"},
    )
    ours = table(0.25).lookup()

    assert "".join(str(int(str(ours(key)) == "acme/b")) for key in KEYS[:500]) == (
        seen.stdout.strip()
    )


def test_same_in_every_thread():
    """Threads that share a router agree."""
    route = table(0.25).lookup()
    expected = [route(key) for key in KEYS[:2000]]
    wrong = []

    def work():
        wrong.extend(1 for _ in range(5) if [route(key) for key in KEYS[:2000]] != expected)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong


def test_shadow_serves_the_incumbent():
    """Where frames are copied, the incumbent's answer is served to all."""
    route = table(0.0, copies=0.5).lookup()
    seen = [route(key) for key in KEYS[:2000]]

    assert {"acme/a"} == {r.deployment for r in seen}
    assert 800 < sum(r.copy_to == "acme/b" for r in seen) < 1200


@pytest.mark.parametrize("key", [7, None, b"cam-1", "\ud800"])
def test_bad_key(key):
    """A key that is no text is refused by name."""
    with pytest.raises(errors.InputError, match="must be text"):
        table(0.5).lookup()(key)
