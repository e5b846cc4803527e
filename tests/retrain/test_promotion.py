"""When a candidate may take the incumbent's place."""

import math

import numpy as np
import pytest
from attrs import evolve

from driftline import Detections
from driftline._stats.intervals import Estimate
from driftline.errors import InputError
from driftline.holdout import evaluate
from driftline.retrain import Promotion, PromotionRule
from driftline.retrain._promotion import lower_bound, upper_bound

RULE = PromotionRule(replicates=200)
RNG = np.random.default_rng(5)


def world(n=120):
    """Frames with two objects each, of two classes."""
    corner = RNG.integers(0, 60, (n, 2, 2)).astype(float)
    return [
        Detections(
            xyxy=np.hstack([c, c + 30]),
            confidence=np.ones(2),
            class_id=np.array([0, 1]),
            image_size=(100, 100),
        )
        for c in corner
    ]


TRUTH = world()


def model(jitter=0.0, *, blind_to=None, blind=0.0, seed=1):
    """A detector that is off by some pixels, and misses a share of one class."""
    rng = np.random.default_rng(seed)
    found = []
    for one in TRUTH:
        keep = ~((one.class_id == blind_to) & (rng.random(2) < blind))
        boxes = one.xyxy + rng.normal(0, jitter, one.xyxy.shape) if jitter else one.xyxy
        found.append(
            evolve(
                one,
                xyxy=boxes[keep],
                confidence=0.5 + 0.5 * rng.random(int(keep.sum())),
                class_id=one.class_id[keep],
            )
        )
    return evaluate(TRUTH, found, class_names=["cup", "can"], replicates=200)


PRESENT = model(2.0)
BETTER, SAME, WORSE = model(0.5), model(2.0, seed=2), model(5.0)


def judged(golden, recent, rule=RULE):
    return rule.judge(
        golden=golden.compare(PRESENT, replicates=200),
        recent=recent.compare(PRESENT, replicates=200),
    )


def test_better_on_both():
    """More on recent frames and no less on golden ones is a promotion, whatever the mode."""
    assert judged(BETTER, BETTER).promote
    assert judged(BETTER, BETTER, evolve(RULE, strict=True)).promote


def test_says_what_it_rests_on():
    """A promotion names both bounds, and what they had to be above."""
    promoted = judged(BETTER, BETTER)
    comparison = BETTER.compare(PRESENT, replicates=200)
    change, bound = comparison.difference.value, lower_bound(comparison.difference)
    said = f"mAP {change:+.3f}, at least {bound:+.3f} (95 %), above"

    assert (f"golden: {said} -0.010", f"recent: {said} +0.000") == promoted.reasons
    assert str(promoted) == f"promote: {'; '.join(promoted.reasons)}"


def test_same_on_golden():
    """No change on golden frames passes with a margin that the holdout can show, not strictly."""
    wide = evolve(RULE, golden_margin=0.1, class_margin=0.2)

    assert judged(SAME, BETTER, wide).promote
    assert not judged(SAME, BETTER, evolve(wide, strict=True)).promote


@pytest.mark.parametrize("pair", [(WORSE, BETTER), (BETTER, WORSE), (BETTER, SAME)])
def test_refused(pair):
    """A loss on golden frames, or no gain on recent ones, is refused, and the reason names it."""
    refused = judged(*pair)

    name, comparison = (
        ("golden", pair[0].compare(PRESENT, replicates=200))
        if pair[0] is WORSE
        else ("recent", pair[1].compare(PRESENT, replicates=200))
    )
    least = -0.01 if name == "golden" else 0.0
    change, bound = comparison.difference.value, lower_bound(comparison.difference)

    assert not refused.promote
    assert refused.reasons[0] == (
        f"{name}: mAP {change:+.3f}, at least {bound:+.3f} (95 %), not above {least:+.3f}"
    )
    assert str(refused) == f"refuse: {'; '.join(refused.reasons)}"


def test_one_class_pays():
    """A gain in the mean does not pay for a class that is lost."""
    uneven = model(0.3, blind_to=1, blind=0.5)
    comparison = uneven.compare(PRESENT, replicates=200)
    refused = judged(uneven, uneven)

    assert comparison.per_class["can"].difference.value < -0.05 < comparison.difference.value
    assert any("class can on golden: average precision" in reason for reason in refused.reasons)


def test_a_rare_class():
    """With too few objects to prove a class whole, only a proven fall is refused, and it is named."""
    few = evolve(RULE, class_objects=1000)
    gone = judged(BETTER, model(0.3, blind_to=1, blind=1.0), few)
    shaken = judged(BETTER, BETTER, few)

    assert not gone.promote
    assert "class can on recent: average precision" in gone.reasons[-1]
    assert "below -0.050" in gone.reasons[-1]
    assert shaken.promote
    assert (
        "too few objects of a class on recent to prove it whole: cup (120), can (120)"
        == (shaken.reasons[-1])
    )


def test_other_frames():
    """Scores on different frames are no comparison; it is said of which set."""
    half = evaluate(TRUTH[:60], TRUTH[:60], class_names=["cup", "can"], replicates=50)

    with pytest.raises(InputError, match=r"^the golden comparison is .*same frames"):
        judged(half, BETTER)
    with pytest.raises(InputError, match=r"^the recent comparison is .*same frames"):
        judged(BETTER, half)


def test_no_number():
    """Where there is no difference to bound, nothing is promoted, and the reason is handed on."""
    unknown = Estimate(value=None, reason="no object")
    comparison = evolve(BETTER.compare(PRESENT, replicates=200), difference=unknown)
    refused = RULE.judge(golden=comparison, recent=comparison)

    assert (-math.inf, math.inf) == (lower_bound(unknown), upper_bound(unknown))
    assert not refused.promote
    assert ("golden: unknown (no object)", "recent: unknown (no object)") == refused.reasons


def test_bounds_are_one_sided():
    """95 % on one side of the corrected difference: 1.645 standard errors."""
    found = Estimate(value=0.03, bias=0.02, standard_error=0.1)

    assert 0.01 - 0.1 * 1.6448536 == pytest.approx(lower_bound(found))
    assert 0.01 + 0.1 * 1.6448536 == pytest.approx(upper_bound(found))


def test_kept():
    """A verdict survives the store."""
    verdict = judged(WORSE, BETTER)

    assert verdict == Promotion.from_dict(verdict.to_dict())


@pytest.mark.parametrize(
    ("name", "what"),
    [("golden_margin", "a number from 0 to 1"), ("class_margin", "a number from 0 to 1"),
     ("class_objects", "1 or more"), ("replicates", "1 or more")],
)  # fmt: skip
def test_settings(name, what):
    """Margins are from 0 to 1 and counts whole and at least 1; else the setting is named."""
    refused, taken = ((-0.1, 1.1), (0, 1)) if "margin" in name else ((0, 1.5), (1, 10**6))
    for value in refused:
        with pytest.raises(InputError, match=f"^{name}={value!r} must be {what}$"):
            PromotionRule(**{name: value})
    for value in taken:
        assert value == getattr(PromotionRule(**{name: value}), name)
