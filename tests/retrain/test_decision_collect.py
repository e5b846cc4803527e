"""What to label next: of all that moved, as many frames as show a gain worth having."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import InputError
from driftline.holdout import frames_needed
from driftline.retrain import (
    Action,
    AlertFacts,
    Collection,
    Decision,
    DriftFacts,
    Evidence,
    Finding,
    RetrainPolicy,
    Shift,
)


def asked(*shifts: Shift, **policy) -> tuple[Collection, ...]:
    drift = DriftFacts(verdict="drift", shifts=shifts)
    return RetrainPolicy(**policy).decide(Evidence(drift=drift)).collect


def shift(effect=0.1, feature="confidence", **where) -> Shift:
    return Shift(feature=feature, effect=effect, **where)


def places(collect) -> dict[tuple[str, str, str], int]:
    return {(one.camera, one.class_name, one.size): one.frames for one in collect}


def test_every_camera_gets_a_part():
    """Not the most shifted camera alone is asked for, but each that moved."""
    collect = asked(
        shift(0.3, camera="a", frames=1000),
        shift(0.1, camera="b", frames=1000),
        shift(0.1, camera="c", frames=1000),
    )

    assert {("a", "", ""): 228, ("b", "", ""): 93, ("c", "", ""): 93} == places(collect)
    assert "a" == collect[0].camera


def test_more_frames_more_labels():
    """A camera that sees twice as many frames gets twice the part beyond the least of each."""
    found = places(asked(shift(camera="a", frames=2000), shift(camera="b", frames=1000)))

    assert 414 == sum(found.values())
    assert 2 == pytest.approx((found["a", "", ""] - 25) / (found["b", "", ""] - 25), rel=0.02)


def test_classes_and_sizes():
    """Classes and sizes that moved are asked for by name, in words annotators can use."""
    collect = asked(
        shift(camera="a", class_name="truck", feature="area", direction="lower"),
        shift(class_name="van", feature="height", direction="higher"),
        shift(feature="area", direction="wider"),
    )

    assert {("a", "truck", "small"), ("", "van", "large")} == set(places(collect))
    texts = [str(one) for one in collect]
    assert any(
        "of camera a that show small boxes of truck, all hours alike: area" in t for t in texts
    )
    assert any("frames that show large boxes of van" in text for text in texts)


def test_the_whole_gives_way_to_its_parts():
    """A shift of all cameras together asks for nothing of its own where single ones moved."""
    assert {("a", "", "")} == set(places(asked(shift(0.3), shift(0.1, camera="a"))))
    assert {("", "", "")} == set(places(asked(shift(0.3))))


def test_says_what_they_will_show():
    """The request names how many frames in all show which gain; a larger gain asks for fewer."""
    assert "414 in all show a change of 2 points of mAP" in asked(shift(camera="a"))[0].why

    fewer = asked(shift(camera="a"), minimum_gain=0.05)
    assert frames_needed(0.05, paired=True) == sum(one.frames for one in fewer)
    assert "67 in all show a change of 5 points of mAP" in fewer[0].why


def test_nothing_moved():
    """Without a place that moved, frames of all of them are asked for."""
    (one,) = RetrainPolicy().decide(Evidence()).collect

    assert "label 414 frames, all hours alike: 414 in all show" in str(one)


def test_hours_of_one_s_own():
    """A clause that knows the hours says so; the request is told apart from that of other hours."""
    night = Collection(frames=50, camera="a", hours="18:00 to 06:00", why="it is dark")

    def dark(_evidence, _policy):
        return Finding(action=Action.COLLECT, reason="x", runbook="y", collect=(night,))

    policy = RetrainPolicy(clauses=(*RetrainPolicy().clauses, dark))
    drift = DriftFacts(verdict="drift", shifts=(shift(camera="a"),))
    collect = policy.decide(Evidence(drift=drift)).collect

    assert "label 50 frames of camera a, 18:00 to 06:00: it is dark" == str(night)
    assert [414, 50] == [one.frames for one in collect]


moved = st.lists(
    st.builds(
        Shift,
        feature=st.sampled_from(["confidence", "area", "width", "class"]),
        effect=st.floats(0, 1),
        direction=st.sampled_from(["", "lower", "higher", "wider"]),
        camera=st.sampled_from(["", *"abcdefgh"]),
        class_name=st.sampled_from(["", "car", "truck"]),
        frames=st.none() | st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=40,
)
quick = settings(max_examples=100, deadline=None)  # the machine of the tests may be busy


@quick
@given(moved, st.sampled_from([0.01, 0.02, 0.05, 0.2]))
def test_sums(shifts, gain):
    """Whatever moved, the requests add up to the frames that show the gain, or to one a place."""
    collect = asked(*shifts, minimum_gain=gain)
    needed = frames_needed(max(gain, 0.02), paired=True)

    assert max(needed, len(collect)) == sum(one.frames for one in collect)
    assert len(collect) == len(places(collect))


@quick
@given(moved)
def test_covers(shifts):
    """Every camera and class that moved is asked for, each with frames enough where there is room."""
    collect = asked(*shifts)
    least = min(25, 414 // len(collect))

    assert {one.camera for one in shifts} <= {one.camera for one in collect} | {""}
    assert {one.class_name for one in shifts} <= {one.class_name for one in collect} | {""}
    assert all(one.frames >= least for one in collect)


@quick
@given(moved, st.randoms(use_true_random=False))
def test_stable(shifts, rng: random.Random):
    """The order of the evidence does not matter, and the same evidence asks for the same."""
    shuffled = list(shifts)
    rng.shuffle(shuffled)

    assert places(asked(*shifts)) == places(asked(*shuffled))
    assert asked(*shifts) == asked(*shifts)


def test_many_cameras():
    """A fleet larger than the frames needed gets one frame each at the least."""
    collect = asked(*[shift(camera=f"cam-{n}") for n in range(600)])

    assert [1] * 600 == [one.frames for one in collect]


GOOD = {"action": Action.WATCH, "reason": "x", "runbook": "y"}
DECIDED = {"action": Action.WATCH, "reasons": ("x",), "runbook": "y", "confidence": "weak"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Collection(frames=0, why="x"), "frames=0 must be a whole number, 1 or more"),
        (lambda: Collection(frames="20", why="x"), "frames='20' must be"),
        (lambda: Collection(frames=1, why="x", camera=None), "camera=None must be text"),
        (lambda: Collection(frames=1, why="x", size="tiny"), "size='tiny' must be one of"),
        (lambda: Finding(**GOOD | {"reason": 3}), "reason=3 must be text"),
        (lambda: Finding(**GOOD | {"runbook": None}), "runbook=None must be text"),
        (lambda: Finding(**GOOD, strength="firm"), "strength='firm' must be one of 'strong'"),
        (lambda: Finding(**GOOD, collect="all"), "collect='all' must be a list"),
        (lambda: Finding(**GOOD, collect=[3]), r"collect\[0\]=3 must be a Collection"),
        (lambda: Decision(**DECIDED | {"action": "watch"}), "action='watch' must be one of"),
        (lambda: Decision(**DECIDED | {"reasons": "x"}), "reasons='x' must be a list"),
        (lambda: Decision(**DECIDED | {"reasons": ()}), "a decision has a reason"),
        (lambda: Decision(**DECIDED | {"confidence": 0.9}), "confidence=0.9 must be one of"),
        (lambda: Decision(**DECIDED, also=["x"]), r"also\[0\]='x' must be a Finding"),
        (lambda: Decision(**DECIDED, at="now"), "at='now' must be an aware time"),
        (lambda: RetrainPolicy(minimum_gain="1"), "minimum_gain='1' must be from 0 to less than 1"),
        (lambda: RetrainPolicy(budget="40"), "budget='40' must be 0 or more"),
        (lambda: RetrainPolicy(holdout_frames=2.5), "holdout_frames=2.5 must be"),
        (lambda: RetrainPolicy(cooldown="14d"), "cooldown='14d' must be a timedelta"),
        (lambda: RetrainPolicy(clauses=len), "clauses=.* must be a list"),
        (lambda: RetrainPolicy(clauses=["x"]), r"clauses\[0\]='x' must be a function"),
        (lambda: RetrainPolicy().decide({}), r"evidence=\{\} must be an Evidence"),
        (
            lambda: RetrainPolicy(clauses=[lambda *_: 3]).decide(Evidence()),
            "<lambda>=3 must be a Finding",
        ),
        (lambda: Evidence(alerts="latency"), "alerts='latency' must be a list"),
        (lambda: Evidence(alerts=["latency"]), r"alerts\[0\]='latency' must be an Alert"),
        (lambda: Evidence(golden_intact=1), "golden_intact=1 must be True, False or None"),
        (lambda: Evidence(healthy=[]), r"healthy=\[\] must be True, False or None"),
        (lambda: Evidence(estimated_precision_drop="x"), "estimated_precision_drop='x'"),
        (lambda: Evidence(holdout_age="90 days"), "holdout_age='90 days' must be a timedelta"),
        (lambda: Evidence(retrain_cost="40"), "retrain_cost='40' must be 0 or more"),
        (lambda: Evidence(at="monday"), "at='monday' must be an aware time"),
        (lambda: Shift(feature=3, effect=0.1), "feature=3 must be text"),
        (lambda: Shift(feature="area", effect="0.1"), "effect='0.1' must be a number from 0 to 1"),
        (lambda: Shift(feature="area", effect=0.1, frames=-1), "frames=-1 must be"),
        (lambda: DriftFacts(verdict="calm", shifts="area"), "shifts='area' must be a list"),
        (lambda: DriftFacts(verdict="calm", frames="many"), "frames='many' must be"),
        (lambda: AlertFacts(concern="latency", rule="r", summary="s", since=3), "since=3 must be"),
    ],
)
def test_named(make, said):
    """A value that cannot be used is named with its field and what would do."""
    with pytest.raises(InputError, match=said):
        make()
