"""Week after week: falling, holding, too little data; and the golden set that cannot move."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from attrs import evolve
from holdout_scenes import scene

from driftline._stats.intervals import Estimate, Interval
from driftline._stats.trend import excess_scatter, union_test
from driftline.errors import ContextMismatch, InputError, UnreadableData
from driftline.holdout import LabelledFrame, Trend, evaluate
from driftline.records import Detections, Metric

START = datetime(2026, 9, 7, tzinfo=UTC)
SE = 0.0145  # of mAP on 200 frames


@pytest.fixture(scope="module")
def blank():
    labels, predictions = scene(np.random.default_rng(0), frames=30)
    return evaluate(labels, predictions, replicates=20)


def weeks(blank, values, *, se=SE, timed=True, **fields):
    """Evaluations of the given scores, a week apart, each of frames of its own."""
    answer = []
    for index, value in enumerate(values):
        estimate = Estimate(
            value=value,
            interval=Interval(value - 1.96 * se, value + 1.96 * se),
            standard_error=se,
            bias=0.0,
        )
        answer.append(
            evolve(
                blank,
                overall=evolve(blank.overall, estimate=estimate),
                at=START + index * timedelta(weeks=1) if timed else None,
                truth_digest=str(index),
                **fields,
            )
        )
    return answer


def test_a_collapse_is_falling(blank):
    """From 0.62 to 0.50 in one week: said in the third week, with drop and interval."""
    trend = Trend.of(weeks(blank, [0.62, 0.50, 0.51]))

    assert trend.verdict == "falling"
    assert trend.drop == pytest.approx(0.62 - 0.505)
    assert trend.drop_interval.low > 0
    assert trend.slope_per_week == pytest.approx(-0.055)
    assert trend.interval.excludes(0.0)
    assert "points a week" in trend.reason


def test_the_guides_example(blank):
    """0.62, 0.60 is within one week's noise of 200 frames; 0.62 to 0.56 over a month is not."""
    noise = Trend.of(weeks(blank, [0.62, 0.61, 0.62, 0.60]))
    fall = Trend.of(weeks(blank, [0.62, 0.62, 0.62, 0.62, 0.56, 0.56, 0.56, 0.56]))

    assert noise.verdict == "holding"
    assert fall.verdict == "falling"


def test_a_slow_decline_is_falling(blank):
    """Half a point a week is found by the slope."""
    trend = Trend.of(weeks(blank, 0.6 - 0.005 * np.arange(12)))

    assert trend.verdict == "falling"
    assert trend.slope_per_week == pytest.approx(-0.005)
    assert trend.weeks_down == 11
    assert trend.median_slope_per_week == pytest.approx(-0.005)
    assert trend.mann_kendall_p == pytest.approx(0.0, abs=1e-4)
    assert trend.scatter == 1.0


def test_a_rise_is_holding(blank):
    """What goes up does not fall; the drop is negative."""
    trend = Trend.of(weeks(blank, [0.5, 0.5, 0.6, 0.6]))

    assert trend.verdict == "holding"
    assert trend.drop == pytest.approx(-0.1)
    assert trend.weeks_down == 0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_weeks_are_too_little(blank, count):
    """No verdict and no slope before the third week."""
    trend = Trend.of(weeks(blank, [0.6, 0.4][:count]))

    assert trend.verdict == "too little data"
    assert trend.slope_per_week is None
    assert trend.drop is None
    assert trend.to_samples() == ()
    assert f"weeks so far: {count}" in trend.reason


def test_a_rise_is_told_as_one(blank):
    """What lies above the first weeks is never said to be minus points below them."""
    reason = Trend.of(weeks(blank, [0.5, 0.5, 0.6, 0.6])).reason

    assert "10.0 points above the first (95 % " in reason


def test_a_week_without_an_interval_is_too_little(blank):
    """A score that does not know its error cannot be part of a trend."""
    good = weeks(blank, [0.6, 0.6, 0.6])
    bad = evolve(good[2], overall=evolve(good[2].overall, estimate=Estimate(value=0.6)))

    assert Trend.of([*good[:2], bad]).verdict == "too little data"


def test_weak_rules_are_named_weak(blank):
    """Three falling weeks alone are an alarm only for those who ask for it."""
    values = [0.620, 0.619, 0.618, 0.617]

    honest = Trend.of(weeks(blank, values))
    rule = Trend.of(weeks(blank, values), rule="three falling weeks")

    assert (honest.verdict, honest.weeks_down) == ("holding", 3)
    assert rule.verdict == "falling"
    assert "86 % of years" in rule.notes[0]


def test_the_guides_one_point(blank):
    """More than 1.0 point below the first weeks, three weeks running."""
    rule = "one point below for three weeks"

    below = Trend.of(weeks(blank, [0.62, 0.605, 0.606, 0.604]), rule=rule)
    twice = Trend.of(weeks(blank, [0.62, 0.62, 0.605, 0.606]), rule=rule)

    assert below.verdict == "falling"
    assert twice.verdict == "holding"
    assert "weak evidence" in below.notes[0]


def test_order_is_by_time(blank):
    """Evaluations may come in any order if they carry their week; else the order is theirs."""
    ordered = weeks(blank, [0.62, 0.60, 0.58, 0.50])

    assert Trend.of(ordered[::-1]) == Trend.of(ordered)
    untimed = Trend.of(weeks(blank, [0.62, 0.60, 0.58, 0.50], timed=False))
    assert untimed.slope_per_week == Trend.of(ordered).slope_per_week
    assert [point.week for point in untimed.points] == [0.0, 1.0, 2.0, 3.0]


def test_a_missed_week_is_a_gap(blank):
    """The slope is per week of the calendar, not per evaluation."""
    all_weeks = weeks(blank, 0.6 - 0.01 * np.arange(6))

    trend = Trend.of([all_weeks[index] for index in (0, 1, 4, 5)])

    assert trend.slope_per_week == pytest.approx(-0.01)


def test_refuses_what_does_not_belong_together(blank):
    """Another model, another image size, mixed roles, doubled or missing times."""
    three = weeks(blank, [0.6, 0.6, 0.6])
    retrained = evolve(
        three[2], settings=evolve(three[2].settings, weights_digest="sha256:2", imgsz=320)
    )
    first = evolve(
        three[0], settings=evolve(three[0].settings, weights_digest="sha256:1", imgsz=640)
    )

    with pytest.raises(ContextMismatch) as caught:
        Trend.of([first, three[1], retrained])
    assert caught.value.fields == ("imgsz", "weights_digest")
    with pytest.raises(InputError, match="golden and recent"):
        Trend.of([three[0], evolve(three[1], role="golden")])
    with pytest.raises(InputError, match="same time"):
        Trend.of([three[0], three[0]])
    with pytest.raises(InputError, match="1 of 2 evaluations have no time"):
        Trend.of([three[0], evolve(three[1], at=None)])
    with pytest.raises(InputError, match="must be one of"):
        Trend.of(three, rule="vibes")


def test_selected_frames_make_no_trend(blank):
    """Frames that were labelled because they drifted or looked unsure tell of the selection."""
    three = weeks(blank, [0.6, 0.6, 0.6])
    worst = evolve(three[2], n_selected=7)

    with pytest.raises(InputError, match="7 frames were selected, not drawn"):
        Trend.of([*three[:2], worst])


def test_the_same_frames_twice_are_noted(blank):
    """A recent set that never changes is a golden set in disguise."""
    three = [evolve(one, truth_digest="same") for one in weeks(blank, [0.6, 0.6, 0.6])]

    assert any('role="golden"' in note for note in Trend.of(three).notes)


def test_uneven_weeks_are_noted(blank):
    """Small samples are biased upward: a week of 50 frames beside one of 500 is said."""
    three = weeks(blank, [0.6, 0.6, 0.6])
    uneven = [three[0], three[1], evolve(three[2], n_frames=500)]

    assert any("30 to 500 frames" in note for note in Trend.of(uneven).notes)


def test_power_is_stated(blank):
    """Eight weeks of 200 frames: a drop of 3.9 points is found with 80 %."""
    trend = Trend.of(weeks(blank, [0.6] * 8))

    assert trend.detectable_drop == pytest.approx((2.93 + 0.8416) * SE * np.sqrt(1 / 2), rel=1e-3)


def test_samples_and_json(blank):
    """Slope, drop and verdict are metrics; the whole goes through JSON."""
    trend = Trend.of(weeks(blank, [0.62, 0.50, 0.51]))

    samples = {one.metric: one.value for one in trend.to_samples()}

    assert samples == {
        Metric.MAP_FALLING: 1.0,
        Metric.MAP_SLOPE: trend.slope_per_week,
        Metric.MAP_DROP: trend.drop,
    }
    assert {one.at for one in trend.to_samples()} == {START + timedelta(weeks=2)}
    assert Trend.from_dict(json.loads(json.dumps(trend.to_dict()))) == trend
    with pytest.raises(UnreadableData):
        Trend.from_dict({"schema": "driftline.trend/9"})
    assert repr(trend) == "Trend('falling', -0.0550 a week, 3 weeks, recent)"
    assert str(trend).startswith("falling: ")
    assert "week 2: 0.510" in str(trend)


def golden(predictions=None, *, seed=5, **options):
    labels, found = scene(np.random.default_rng(seed), frames=40)
    frames = [LabelledFrame(truth=one, id=str(index)) for index, one in enumerate(labels)]
    return evaluate(
        frames,
        predictions or found,
        class_names=["a", "b", "c"],
        role="golden",
        replicates=20,
        **options,
    )


def nudged(by, *, frames=slice(None)):
    """The detections of the golden set, some with another confidence."""
    found = scene(np.random.default_rng(5), frames=40)[1]
    chosen = set(range(40)[frames])
    return [
        evolve(one, confidence=np.clip(one.confidence + by, 0, 1)) if index in chosen else one
        for index, one in enumerate(found)
    ]


def test_golden_is_intact():
    """The same detections: nothing moved. Numerical noise is none either."""
    base = golden(at=START)

    same = Trend.of([base, golden(at=START + timedelta(weeks=1))])
    noise = Trend.of([base, golden(nudged(0.004), at=START + timedelta(weeks=1))])

    assert same.verdict == "intact"
    assert same.drop == 0.0
    assert noise.verdict == "intact"
    assert noise.changed_frames == ()
    assert {one.metric: one.value for one in same.to_samples()} == {Metric.GOLDEN_BROKEN: 0.0}


def test_golden_that_moves_is_broken():
    """Other confidences on five frames: mAP hardly moves, the frames are named."""
    trend = Trend.of([golden(), golden(nudged(-0.1, frames=slice(5)))])

    assert trend.verdict == "broken integrity"
    assert set(trend.changed_frames) <= {"0", "1", "2", "3", "4"}
    assert len(trend.changed_frames) >= 4
    assert "not at the world" in trend.reason


def test_golden_with_a_box_less_is_broken():
    """One sure detection gone is a change, however little mAP says."""
    found = scene(np.random.default_rng(5), frames=40)[1]
    victim = max(range(40), key=lambda index: found[index].confidence.max(initial=0))
    keep = found[victim].confidence < found[victim].confidence.max()
    found[victim] = Detections(
        xyxy=found[victim].xyxy[keep],
        confidence=found[victim].confidence[keep],
        class_id=found[victim].class_id[keep],
        image_size=found[victim].image_size,
    )

    trend = Trend.of([golden(), golden(found)])

    assert trend.changed_frames == (str(victim),)
    assert trend.verdict == "broken integrity"


def test_golden_is_judged_by_its_score_where_detections_were_not_kept():
    """Without detections a move of mAP by more than 0.002 breaks it."""
    base, moved = golden(), golden(nudged(-0.1, frames=slice(20)))
    bare = [evolve(one, table=None) for one in (base, moved)]

    trend = Trend.of(bare)

    assert abs(trend.drop) > 0.002
    assert trend.verdict == "broken integrity"
    assert "not compared" in trend.reason


def test_golden_alone_is_too_little():
    """The first run is what the next is held against."""
    assert Trend.of([golden()]).verdict == "too little data"


def test_golden_set_is_frozen():
    """Another set of frames is another golden set."""
    with pytest.raises(InputError, match="golden set changed"):
        Trend.of([golden(), golden(seed=6)])


def alarms(values, errors, *, start=3):
    """Whether each year holds an alarm, judged as `Trend.of` judges, week after week."""
    found = np.zeros(len(values), dtype=bool)
    for week in range(start, values.shape[1] + 1):
        times = np.arange(week, dtype=float)
        for year in np.flatnonzero(~found):
            part, error = values[year, :week], errors[:week]
            widened = error * excess_scatter(part, error) ** 0.5
            found[year] = union_test(times, part, widened).lowest < -2.93
    return found


def rate(found):
    return found.mean(), 1.96 * np.sqrt(max(found.mean() * (1 - found.mean()), 1e-9) / len(found))


def test_false_alarms_in_a_year():
    """Without any change about 5 % of years hold an alarm (here at most 5 %: the scatter guard)."""
    values = np.random.default_rng(1).normal(0.6, SE, (300, 52))

    share, error = rate(alarms(values, np.full(52, SE)))

    assert share - error < 0.05  # 300 years: 95 % Monte-Carlo error about 2.5 %
    assert share > 0.01


def test_three_falling_weeks_alarm_falsely_most_years():
    """The rule of thumb: 86 % of quiet years hold three declines in a row."""
    values = np.random.default_rng(1).normal(size=(4000, 52))
    down = np.diff(values, axis=1) < 0
    runs = (down[:, :-2] & down[:, 1:-1] & down[:, 2:]).any(axis=1)

    assert runs.mean() == pytest.approx(0.86, abs=0.02)  # Monte-Carlo error 1.1 %


def test_power():
    """A step of 3 points after week 8 is found within 8 weeks in at least three of four years."""
    values = np.random.default_rng(2).normal(0.6, SE, (150, 16))
    values[:, 8:] -= 0.03

    share, _ = rate(alarms(values, np.full(16, SE)))

    assert share > 0.75  # 0.83 expected, Monte-Carlo error 6 %


@pytest.mark.slow
def test_false_alarms_in_a_year_closely():
    """As above with 4 000 years: 4.6 % within 0.7 %."""
    values = np.random.default_rng(3).normal(0.6, SE, (4000, 52))

    share, error = rate(alarms(values, np.full(52, SE)))

    assert share == pytest.approx(0.046, abs=error + 0.003)


@pytest.mark.parametrize("wrong", [None, "week", [3], [Detections]])
def test_a_trend_is_of_evaluations(wrong):
    """Anything else is refused by name."""
    with pytest.raises(InputError, match="evaluations"):
        Trend.of(wrong)
