"""The decision table of the guide, row by row, and what it leaves open."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline import Detections, Trend, errors
from driftline.holdout import Holdout, LabelledFrame, Provenance, Truth, evaluate
from driftline.retrain import (
    AccuracyFacts,
    Action,
    AlertFacts,
    Decision,
    DriftFacts,
    Evidence,
    Finding,
    RetrainPolicy,
    Shift,
)

AT = datetime(2026, 11, 2, tzinfo=UTC)
CALM = DriftFacts(verdict="calm", frames=4000)
SHIFT = Shift(feature="confidence", effect=0.12, p_value=0.001, direction="left", camera="cam-3")
MOVED = DriftFacts(verdict="drift", shifts=(SHIFT,), frames=4000)
HOLDS = AccuracyFacts(verdict="holding", drop=0.002, drop_low=-0.02, drop_high=0.024)
FELL = AccuracyFacts(verdict="falling", drop=0.06, drop_low=0.03, drop_high=0.09)


NOTHING_TO_DO = Decision(
    action=Action.NONE, reasons=("calm",), runbook="Nothing.", confidence="strong"
).to_dict()


def alert(concern: str) -> AlertFacts:
    return AlertFacts(concern=concern, rule="r", summary=f"{concern} out of bounds", since=AT)


def evaluation(week: int, quality: int, role: str = "recent"):
    """Forty frames of one object each; `quality` of ten are found, the rest are missed."""
    rng = np.random.default_rng(week if role == "recent" else 0)
    truths, found = [], []
    for _ in range(40):
        left, top = rng.uniform(0, 60, 2)
        box = [[left, top, left + 30, top + 30]]
        hit = rng.random() < quality / 10
        truths.append(Detections(xyxy=box, confidence=[1.0], class_id=[0], image_size=(100, 100)))
        found.append(
            Detections(
                xyxy=box if hit else [],
                confidence=[rng.uniform(0.5, 1)] if hit else [],
                class_id=[0] if hit else [],
                image_size=(100, 100),
            )
        )
    return evaluate(
        truths,
        found,
        class_names=["thing"],
        role=role,
        at=AT + timedelta(weeks=week),
        replicates=200,
    )


def decide(**facts) -> Decision:
    return RetrainPolicy().decide(Evidence(at=AT, **facts))


def test_shift_alone_is_watched():
    """A confidence shift with mAP holding means watch."""
    decision = decide(drift=MOVED, accuracy=HOLDS)

    assert Action.WATCH is decision.action
    assert "confidence of camera cam-3" in decision.reasons[0]


def test_shift_with_drop_means_retrain():
    """A confidence shift with a drop of mAP means retrain, on firm ground."""
    decision = decide(drift=MOVED, accuracy=FELL)

    assert Action.RETRAIN is decision.action
    assert "strong" == decision.confidence
    assert "6.0 points" in decision.reasons[0]
    assert "cam-3" == decision.collect[0].camera


def test_volume_down_with_stable_confidence_means_investigate():
    """Fewer detections while confidence is stable means investigate."""
    decision = decide(drift=CALM, accuracy=HOLDS, alerts=[alert("detections")])

    assert Action.INVESTIGATE is decision.action
    assert "confidence is stable" in decision.reasons[0]


@pytest.mark.parametrize("concern", ["latency", "errors", "health"])
def test_latency_is_infra(concern):
    """A latency regression, errors or failed health is infra, not the model."""
    decision = decide(drift=CALM, accuracy=HOLDS, alerts=[alert(concern)])

    assert Action.INFRA is decision.action


def test_latency_beside_drift_is_told_too():
    """When the model fell and latency rose at once, both are told and the model leads."""
    decision = decide(drift=MOVED, accuracy=FELL, alerts=[alert("latency")])

    assert Action.RETRAIN is decision.action
    assert [Action.INFRA] == [found.action for found in decision.also]


def test_all_calm():
    """When everything was looked at and is well, nothing is to be done."""
    decision = decide(drift=CALM, accuracy=HOLDS)

    assert Action.NONE is decision.action
    assert "strong" == decision.confidence


def test_nothing_known_is_not_calm():
    """Without observations and labels the answer is what to collect, not that all is well."""
    decision = decide()

    assert Action.COLLECT is decision.action
    assert decision.collect


def test_confirmed_shift_without_labels_asks_for_labels():
    """A confirmed shift without labelled frames names the camera to label, and how many frames."""
    decision = decide(drift=MOVED)

    assert Action.COLLECT is decision.action
    assert "label 414 frames of camera cam-3" in str(decision.collect[0])


def test_single_week_without_labels_is_watched():
    """One flagged week without labels is watched, on weak ground."""
    decision = decide(drift=DriftFacts(verdict="watch", shifts=(SHIFT,)))

    assert Action.WATCH is decision.action
    assert "weak" == decision.confidence


def test_drop_without_shift_still_retrains():
    """Labels outrank distributions: a drop alone retrains, and says to check the labels first."""
    decision = decide(drift=CALM, accuracy=FELL)

    assert Action.RETRAIN is decision.action
    assert "check the labels" in decision.reasons[0]


@pytest.mark.parametrize(("latest_drop", "low"), [(0.001, -0.02), (0.013, -0.01)])
def test_drop_that_is_over(latest_drop, low):
    """When the newest week is back at the level of the first, the drop is watched, not retrained."""
    over = AccuracyFacts(
        verdict="falling", drop=0.1, latest=0.87, latest_drop=latest_drop, latest_drop_low=low
    )
    decision = decide(drift=CALM, accuracy=over)

    assert Action.WATCH is decision.action
    assert "this week's (0.870) is back" in decision.reasons[0]


@pytest.mark.parametrize(("latest_drop", "low"), [(0.03, 0.005), (0.012, 0.011)])
def test_drop_that_goes_on(latest_drop, low):
    """A steady decline is not called over by a noisy week, nor by one that is credibly low."""
    on = AccuracyFacts(
        verdict="falling", drop=0.03, latest=0.84, latest_drop=latest_drop, latest_drop_low=low
    )

    assert Action.RETRAIN is decide(drift=CALM, accuracy=on).action


def test_trend_is_boiled_down():
    """A trend gives the newest week's own drop with its lower end, from the weeks themselves."""
    trend = Trend.of([evaluation(week, quality) for week, quality in enumerate([9, 9, 9, 9, 2, 9])])
    facts = Evidence(accuracy=trend).accuracy

    assert facts is not None
    assert abs(facts.latest_drop) < 0.05
    assert facts.latest_drop_low < facts.latest_drop
    assert facts.drop == pytest.approx(trend.drop)


def test_golden_trend_is_no_accuracy():
    """The trend of the golden set is refused as accuracy, and the error says where it belongs."""
    golden = Trend.of([evaluation(week, 9, role="golden") for week in range(3)])

    with pytest.raises(errors.InputError, match="golden_intact="):
        Evidence(accuracy=golden)
    assert Evidence(golden_intact=golden).golden_intact is True


def test_comparison_is_boiled_down():
    """A comparison of this week with the baseline gives a drop whose interval is turned round."""
    comparison = evaluation(5, 2).compare(evaluation(0, 9))
    facts = Evidence(accuracy=comparison).accuracy

    assert facts is not None
    assert "falling" == facts.verdict
    assert facts.drop_low <= facts.drop <= facts.drop_high


def test_broken_golden_set_is_no_drift():
    """A golden set that scores differently is an integrity fault, never a reason to retrain."""
    decision = decide(drift=CALM, accuracy=HOLDS, golden_intact=False)

    assert Action.INVESTIGATE is decision.action


@pytest.mark.parametrize(
    ("policy", "facts", "word"),
    [
        (RetrainPolicy(minimum_gain=0.1), {}, "minimum_gain"),
        (RetrainPolicy(), {"since_retrain": timedelta(days=3)}, "cooldown"),
        (RetrainPolicy(budget=10.0), {"retrain_cost": 25.0}, "budget"),
    ],
)
def test_held_back(policy, facts, word):
    """A drop too small, a cooldown and a budget hold a retraining back, and each says so."""
    decision = policy.decide(Evidence(drift=MOVED, accuracy=FELL, **facts))

    assert Action.WATCH is decision.action
    assert word in decision.reasons[0]


def test_unknown_cost_is_not_within_the_budget():
    """A budget that no cost could be held against is told, not passed over."""
    fell = {"drift": MOVED, "accuracy": FELL}
    asked = RetrainPolicy(budget=10).decide(Evidence(**fell))

    assert Action.RETRAIN is asked.action
    assert asked.reasons[0].endswith("what it would cost is not known, the budget is 10")
    for policy, facts in (
        (RetrainPolicy(), fell),
        (RetrainPolicy(budget=10), {**fell, "retrain_cost": 9}),
    ):
        assert "cost" not in policy.decide(Evidence(**facts)).reasons[0]


def test_stale_holdout_is_renewed():
    """A holdout of a quarter is to be drawn again: from the day on which it says so itself."""
    drawn = datetime(2026, 8, 3, tzinfo=UTC)
    origin = Provenance(part="recent", added_at=drawn)
    holdout = Holdout(
        frames=[
            LabelledFrame(
                truth=Truth(xyxy=[], class_id=[], image_size=(8, 8)), image="a.png", id="a"
            )
        ],
        class_names={0: "circle"},
        provenance={"a": origin},
    )
    day_before, on_the_day = (holdout.age(holdout.due - timedelta(days=n)) for n in (1, 0))
    decision = decide(drift=CALM, accuracy=HOLDS, holdout_age=on_the_day)

    assert Action.NONE is decide(drift=CALM, accuracy=HOLDS, holdout_age=day_before).action
    assert Action.COLLECT is decision.action
    assert "91 days old; it is refreshed every 91" in decision.reasons[0]
    assert [300] == [request.frames for request in decision.collect]


def test_stale_holdout_holds_nothing_back():
    """Where labels fell it is told besides, and its frames are asked for besides."""
    facts = {"drift": MOVED, "accuracy": FELL}
    stale = decide(**facts, holdout_age=timedelta(days=100))

    assert Action.RETRAIN is stale.action
    assert decide(**facts).reasons == stale.reasons
    assert ["the holdout is 100 days old; it is refreshed every 91"] == [
        found.reason for found in stale.also
    ]
    assert "refresh the holdout" == stale.collect[-1].why


def test_own_clause():
    """A user's clause is a small function, asked beside the guide's."""

    def frozen_for_audit(evidence, policy):
        return Finding(action=Action.WATCH, reason="audit week", runbook="Wait until Monday.")

    policy = RetrainPolicy(clauses=(*RetrainPolicy().clauses, frozen_for_audit))
    decision = policy.decide(Evidence(drift=CALM, accuracy=HOLDS))

    assert ("audit week",) == decision.reasons


@pytest.mark.parametrize(
    ("drop", "text"),
    [
        (0.02, "fell by 2.0 points (95 % -1.0 to 5.0)"),
        (-0.02, "rose by 2.0 points (95 % -1.0 to 5.0)"),
    ],
)
def test_interval_follows_the_word(drop, text):
    """The interval is that of what the sentence says: of a rise, the rise."""
    ends = sorted([drop - 0.03, drop + 0.03])
    facts = AccuracyFacts(verdict="holding", drop=drop, drop_low=ends[0], drop_high=ends[1])

    assert f"mAP@0.5:0.95 {text}" == str(facts)


def test_finding_needs_runbook():
    """A finding nobody could act on cannot be made."""
    with pytest.raises(errors.InputError, match="one-line runbook"):
        Finding(action=Action.WATCH, reason="x", runbook="")


def test_text_for_people():
    """The text of a decision has the action, the reasons, what to do first and what to label."""
    text = str(decide(drift=MOVED, accuracy=FELL))

    assert text.startswith("RETRAIN (strong)")
    assert "  because " in text
    assert "  first: " in text
    assert "  next: label " in text


shifts = st.builds(
    Shift,
    feature=st.sampled_from(["confidence", "area", "class"]),
    effect=st.floats(0, 1),
    p_value=st.none() | st.floats(0, 1),
    camera=st.sampled_from(["", "cam-1"]),
)
evidences = st.builds(
    Evidence,
    drift=st.none()
    | st.builds(
        DriftFacts,
        verdict=st.sampled_from(["calm", "watch", "drift", "too little data"]),
        shifts=st.lists(shifts, max_size=3).map(tuple),
    ),
    accuracy=st.none()
    | st.builds(
        AccuracyFacts,
        verdict=st.sampled_from(["holding", "falling", "too little data"]),
        drop=st.none() | st.floats(-1, 1),
        latest=st.floats(0, 1),
        latest_drop=st.none() | st.floats(-1, 1),
    ),
    golden_intact=st.sampled_from([None, True, False]),
    alerts=st.lists(
        st.sampled_from(["latency", "errors", "health", "traffic", "detections", "other"]).map(
            alert
        ),
        max_size=3,
    ),
    healthy=st.sampled_from([None, True, False]),
    holdout_age=st.none() | st.timedeltas(timedelta(0), timedelta(days=300)),
    estimated_precision_drop=st.none() | st.floats(-1, 1),
    at=st.just(AT),
)


@given(evidences)
@settings(deadline=None)
def test_evidence_survives_storage(evidence):
    """Evidence that went through JSON gives the same decision."""
    stored = Evidence.from_dict(json.loads(json.dumps(evidence.to_dict())))

    assert evidence == stored
    assert RetrainPolicy().decide(evidence) == RetrainPolicy().decide(stored)


@given(evidences)
@settings(deadline=None)
def test_decision_survives_storage(evidence):
    """A decision can be stored and read back whole."""
    decision = RetrainPolicy().decide(evidence)

    assert decision == Decision.from_dict(json.loads(json.dumps(decision.to_dict())))


@given(evidences)
@settings(deadline=None)
def test_every_finding_is_told(evidence):
    """Whatever leads, what every clause found is in the decision."""
    policy = RetrainPolicy()
    decision = policy.decide(evidence)
    found = [finding.reason for clause in policy.clauses if (finding := clause(evidence, policy))]

    told = [*decision.reasons, *(finding.reason for finding in decision.also)]
    assert set(found) <= set(told)


@given(evidences)
@settings(deadline=None)
def test_labels_decide_retraining(evidence):
    """Nothing but labels that fell ever asks for a retraining."""
    decision = RetrainPolicy().decide(evidence)

    if decision.action is Action.RETRAIN:
        assert evidence.accuracy is not None
        assert "falling" == evidence.accuracy.verdict


def test_unreadable_evidence():
    """Stored evidence that is not ours is refused by name."""
    with pytest.raises(errors.UnreadableData, match="no stored evidence"):
        Evidence.from_dict({"drift": 3})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DriftFacts(verdict="fine"), "verdict='fine'"),
        (lambda: AccuracyFacts(verdict="ok"), "verdict='ok'"),
        (lambda: alert("cpu"), "concern='cpu'"),
        (lambda: Evidence(drift="drift"), "drift='drift'"),
        (lambda: Evidence(accuracy=0.8), "accuracy=0.8"),
        (lambda: Evidence(golden_intact="yes"), "golden_intact='yes'"),
        (lambda: Evidence(holdout_age=90), "holdout_age=90"),
        (lambda: Evidence(estimated_precision_drop=5), "estimated_precision_drop=5"),
    ],
)
def test_unknown_words_are_no_calm(make, said):
    """A value the policy does not know is refused; it must not pass for a calm one."""
    with pytest.raises(errors.InputError, match=said):
        make()


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimum_gain": 1},  # meant as a point; it would be all of mAP, and never retrain
        {"minimum_gain": -0.01},
        {"minimum_gain": float("nan")},
        {"cooldown": 14},
        {"cooldown": timedelta(days=-1)},
        {"budget": -1},
        {"holdout_frames": 0},
    ],
)
def test_bounds_nobody_can_mean(wrong):
    """A policy with a bound out of its range is refused, by name, when it is made."""
    with pytest.raises(errors.InputError, match=next(iter(wrong))):
        RetrainPolicy(**wrong)


def test_alert_without_a_row():
    """An alert the table has no row for keeps calm from leading, and outranks nothing."""
    alone = decide(drift=CALM, accuracy=HOLDS, alerts=[alert("other")])
    assert Action.WATCH is alone.action
    assert "other out of bounds" in alone.reasons

    beside = decide(drift=MOVED, accuracy=FELL, alerts=[alert("other")])
    assert Action.RETRAIN is beside.action


def test_calm_tells_no_more_than_is_known():
    """Without a health check the decision does not say that the endpoint is well."""
    assert "no alert was handed in" in decide(drift=CALM, accuracy=HOLDS).reasons[0]

    checked = decide(drift=CALM, accuracy=HOLDS, healthy=True)
    assert "the last health check passed" in checked.reasons[0]


def test_newest_week_is_told_beside_the_mean():
    """The drop of the last weeks together hides how deep the newest one lies: both are told."""
    fell = AccuracyFacts(
        verdict="falling", drop=0.094, drop_low=0.077, drop_high=0.111, latest=0.47, latest_drop=0.4
    )
    reason = decide(drift=MOVED, accuracy=fell).reasons[0]

    assert "fell by 9.4 points" in reason
    assert "the newest week alone is 40.0 below the first weeks" in reason
    assert "newest week" not in decide(drift=MOVED, accuracy=FELL).reasons[0]


@pytest.mark.parametrize("stored", [{}, {"at": 3}, {**NOTHING_TO_DO, "action": "panic"}])
def test_unreadable_decision(stored):
    """A stored decision that is not ours is refused by name."""
    with pytest.raises(errors.UnreadableData, match="no stored decision"):
        Decision.from_dict(stored)


def test_finding_takes_an_action():
    """A word in place of an action is refused, and the error lists the actions."""
    with pytest.raises(errors.InputError, match=r"action='retrain' must be one of Action\.RETRAIN"):
        Finding(action="retrain", reason="x", runbook="y")
