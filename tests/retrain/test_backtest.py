"""Months of evidence, replayed: when a policy would have retrained, how often, and others beside it."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import InputError, UnreadableData
from driftline.records import Append
from driftline.retrain import AccuracyFacts, Action, Evidence, Finding, RetrainPolicy
from driftline.stores import MemoryStore

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)
FALL = 0.04


def week(number: int, drop: float, **facts) -> Evidence:
    """A week whose labels show this drop; from two and a half points on it counts as a fall."""
    accuracy = AccuracyFacts(
        verdict="falling" if drop > 0.025 else "holding", drop=drop, latest_drop=drop
    )
    return Evidence(at=START + number * WEEK, accuracy=accuracy, **facts)


def weeks(*drops: float, **facts) -> list[Evidence]:
    return [week(number, drop, **facts) for number, drop in enumerate(drops)]


def on(*numbers: int) -> tuple[datetime, ...]:
    return tuple(START + number * WEEK for number in numbers)


def replay(history, thresholds=None, **policy):
    return RetrainPolicy(**policy).backtest(history, thresholds=thresholds or {})


def test_calm_months_never_fire():
    """Months without a fall ask for nothing, under any thresholds."""
    found = RetrainPolicy().backtest(weeks(*[0.0] * 20))

    assert () == found.own.retrainings
    assert all(not one.retrainings for one in found.variants)
    assert found.sentence.endswith("never in 133 days")


def test_two_falls():
    """Both ends of what is not known: each retraining cured its fall, or none cured anything."""
    found = replay(weeks(0, 0, FALL, FALL, FALL, FALL, 0, 0, FALL, FALL))

    assert on(2, 8) == found.own.if_cured
    assert on(2, 4, 8) == found.own.retrainings
    assert "2 to 3 times in 63 days, at the least on 2026-01-19, 2026-03-02" in found.sentence


def test_cooldown_runs_from_what_was_replayed():
    """A retraining that was only replayed holds back those after it, and the reason says so."""
    found = replay(weeks(FALL, FALL, FALL), cooldown=2 * WEEK)

    assert [Action.RETRAIN, Action.WATCH, Action.RETRAIN] == [row.action for row in found.rows]
    assert "the last one was 7 days ago (cooldown 14)" in found.rows[1].reason
    assert [True, True, True] == [row.wanted for row in found.rows]
    assert [True, False, True] == [row.fired for row in found.rows]


def test_recorded_retrainings_count():
    """A retraining that was really made starts the cooldown as well, whichever is later."""
    history = weeks(FALL, FALL, FALL, FALL, FALL)
    history[1] = evolve(history[1], since_retrain=timedelta(days=1))
    history[2] = evolve(history[2], since_retrain=timedelta(days=8))
    history[3] = evolve(history[3], since_retrain=timedelta(days=15))
    found = replay(history)

    assert on(0, 3) == found.own.retrainings


def test_budget():
    """What costs more than the budget is not done; what is done is added up."""
    dear = replay(weeks(FALL, FALL, FALL, retrain_cost=12.0), budget=10.0)
    assert () == dear.own.retrainings
    assert all(row.wanted for row in dear.rows)
    assert 0 == dear.own.cost

    cheap = replay(weeks(FALL, FALL, FALL, retrain_cost=12.0), budget=20.0)
    assert (24.0, 12.0) == (cheap.own.cost, cheap.own.cost_if_cured)
    assert "and for at most 20" in cheap.trigger


def test_cost_from_least_to_most():
    """Retrainings that cured may have been dearer than more of them that did not."""
    history = weeks(FALL, FALL, FALL, FALL, 0, FALL, FALL, retrain_cost=1.0)
    history[5] = evolve(history[5], retrain_cost=100.0)
    found = replay(history, cooldown=timedelta(days=21), budget=200.0)

    assert (3.0, 101.0) == (found.own.cost, found.own.cost_if_cured)
    assert "3 to 101" in str(found)


def test_unknown_cost_is_no_zero():
    """A cost that was not recorded makes the sum unknown."""
    assert replay(weeks(FALL)).own.cost is None


def test_model_is_young_after_a_retraining():
    """The replayed model is as old as its retraining, for clauses that ask for its age."""

    def old(evidence, _policy):
        return Finding(
            action=Action.RETRAIN, reason=f"{evidence.model_age.days} days old", runbook="Do it."
        )

    history = weeks(0, 0, 0, model_age=timedelta(days=400))
    found = RetrainPolicy(clauses=(old,)).backtest(history, thresholds={})

    assert ["400 days old", "7 days old", "7 days old"] == [row.reason for row in found.rows]
    assert "retrain when old asks for it: 1 to 3 times in 14 days" in found.sentence


def test_other_thresholds():
    """Every combination of the named thresholds is replayed, the policy's own once."""
    days = [timedelta(days=7), timedelta(days=14)]
    found = replay(weeks(FALL, FALL, 0.06, 0.06), {"minimum_gain": [0.01, 0.05], "cooldown": days})
    by = {
        (one.thresholds["minimum_gain"], one.thresholds["cooldown"].days): one
        for one in found.variants
    }

    assert {(0.01, 7), (0.05, 7), (0.05, 14)} == set(by)
    assert {"minimum_gain": 0.01, "cooldown": days[1]} == found.own.thresholds
    assert on(0, 1, 2, 3) == by[0.01, 7].retrainings
    assert on(2) == by[0.05, 14].retrainings
    assert on(2) == by[0.05, 7].if_cured


def test_default_grid():
    """Without a word, gains of 0 to 5 points are tried with cooldowns of one to eight weeks."""
    found = RetrainPolicy().backtest(weeks(FALL))
    assert 19 == len(found.variants)

    other = RetrainPolicy(minimum_gain=0.015).backtest(weeks(FALL))
    assert 20 == len(other.variants)


def test_history_of_a_store():
    """What a store kept is replayed as it is, and in the order of time."""
    store = MemoryStore()
    history = weeks(0, FALL, FALL, 0)
    for evidence in reversed(history):
        put = Append(space="evidence", key="acme/line-3", at=evidence.at, record=evidence.to_dict())
        store.write([put])
    stored = store.history("evidence", "acme/line-3")

    assert RetrainPolicy().backtest(history) == RetrainPolicy().backtest(stored)
    assert RetrainPolicy().backtest(history) == RetrainPolicy().backtest(reversed(history))


def test_evidence_without_a_time_takes_the_entry_s():
    """An entry of a store has a time of its own."""
    store = MemoryStore()
    record = evolve(week(0, FALL), at=None).to_dict()
    store.write([Append(space="evidence", key="a", at=START, record=record)])

    assert START == replay(store.history("evidence")).rows[0].at


def test_text_for_people():
    """The trigger in one sentence, each week that wanted a retraining, a row a choice, the assumptions."""
    history = weeks(0, FALL, FALL, 0, retrain_cost=12.0)
    text = str(RetrainPolicy().backtest(history))
    lines = text.splitlines()

    assert lines[0].startswith(
        "retrain when labels show mAP@0.5:0.95 to have fallen by 1 point or more and not to be "
        "back, 14 days or more after the last retraining: once in 21 days on 2026-01-12"
    )
    assert lines[1].startswith("  2026-01-12 retrain: mAP@0.5:0.95 fell by 4.0 points")
    assert lines[2].startswith("  2026-01-19 watch: ")
    assert "minimum_gain, cooldown  retrainings  if each cures  cost      first" == lines[3]
    assert "1 point, 14 d           1            1              12        2026-01-12" == lines[4]
    assert "0 points, 7 d           2            1              12 to 24  2026-01-12" == lines[5]
    assert 3 == sum(line.startswith("assumed: ") for line in lines)
    assert "<Backtest: 4 pieces of evidence over 21 days, once, 19 other" in repr(
        RetrainPolicy().backtest(history)
    )


def test_plain_values():
    """The record is ready for JSON: times in ISO 8601, durations in seconds."""
    plain = json.loads(json.dumps(RetrainPolicy().backtest(weeks(0, FALL)).to_dict()))

    assert ["2026-01-12T00:00:00+00:00"] == plain["own"]["retrainings"]
    assert {"minimum_gain": 0.01, "cooldown": 14 * 86_400.0} == plain["own"]["thresholds"]
    assert "retrain" == plain["rows"][1]["action"]


def test_picture():
    """A row for each choice of thresholds, the policy's own on top, a dot a retraining."""
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    found = replay(weeks(0, FALL, FALL, FALL, 0), {"cooldown": [timedelta(days=7)]})
    ax = found.plot()
    plt.close(ax.figure)

    assert ["14 d", "7 d"] == [label.get_text() for label in ax.get_yticklabels()]
    assert "1 to 3 times" not in ax.get_title()
    html = found._repr_html_()
    assert "1 to 2 times in 28 days" in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("history", "thresholds", "said"),
    [
        ([], {}, r"history=\[\] holds no evidence"),
        ("evidence", {}, "history='evidence' must be a list"),
        ([3], {}, r"history\[0\]=3 must be an Evidence"),
        ([Evidence()], {}, r"history\[0\] has no time"),
        (weeks(0), {"gain": [1]}, "threshold='gain' must be one of 'minimum_gain'"),
        (weeks(0), {"clauses": [()]}, "threshold='clauses' must be one of"),
        (weeks(0), {"cooldown": 7}, r"thresholds\['cooldown'\]=7 must be a list"),
        (weeks(0), {"cooldown": []}, r"thresholds\['cooldown'\]=\[\] must be a list"),
        (weeks(0), {"cooldown": [7]}, "cooldown=7 must be a timedelta"),
        (weeks(0), {"minimum_gain": [1]}, "minimum_gain=1 must be"),
    ],
)
def test_refused(history, thresholds, said):
    """What cannot be replayed is named, with what would do."""
    with pytest.raises(InputError, match=said):
        RetrainPolicy().backtest(history, thresholds=thresholds)


def test_an_entry_that_is_no_evidence():
    """A store's entry of something else is unreadable data."""
    store = MemoryStore()
    store.write([Append(space="evidence", key="a", at=START, record={"drift": 3})])
    with pytest.raises(UnreadableData, match="no stored evidence"):
        replay(store.history("evidence"))


GRID = {"minimum_gain": [0.01, 0.05], "cooldown": [timedelta(days=7), timedelta(days=28)]}
histories = st.lists(st.sampled_from([0.0, 0.03, 0.06]), min_size=1, max_size=16).map(
    lambda drops: weeks(*drops)
)
quick = settings(max_examples=40, deadline=None)  # the machine of the tests may be busy


@quick
@given(histories)
def test_cured_are_never_more(history):
    """Retrainings that cure are never more often than those that cure nothing."""
    found = replay(history, GRID)

    for one in (found.own, *found.variants):
        assert len(one.if_cured) <= len(one.retrainings)


@quick
@given(histories)
def test_stricter_is_never_more_often(history):
    """A longer cooldown or a larger gain never asks for more retrainings."""
    found = replay(history, GRID)
    count = {
        (one.thresholds["minimum_gain"], one.thresholds["cooldown"]): len(one.retrainings)
        for one in (found.own, *found.variants)
    }

    for (gain, cooldown), n in count.items():
        assert all(n >= m for (g, c), m in count.items() if g >= gain and c >= cooldown)


@quick
@given(histories, st.integers(0, 60))
def test_cooldown_is_kept(history, days):
    """Between two retrainings the cooldown has always passed."""
    cooldown = timedelta(days=days)
    found = replay(history, cooldown=cooldown).own

    for times in (found.retrainings, found.if_cured):
        assert all(b - a >= cooldown for a, b in pairwise(times))


@quick
@given(histories)
def test_replaying_is_deciding(history):
    """As long as nothing was retrained, the replay decides what the policy decided at the time."""
    found = replay(history)
    first = next((i for i, row in enumerate(found.rows) if row.fired), len(history))

    for row, evidence in zip(found.rows[: first + 1], history, strict=False):
        decision = RetrainPolicy().decide(evidence)
        assert (decision.action, decision.reasons[0]) == (row.action, row.reason)
