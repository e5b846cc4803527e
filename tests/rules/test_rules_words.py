"""What rules say to people, and the examples that drills are made of."""

from datetime import timedelta

import numpy as np
import pytest
from rules_support import MINUTE, START

from driftline import rules
from driftline.records import Metric

RUNBOOK = "Look"


@pytest.mark.parametrize(
    ("rule", "value", "threshold", "summary", "expected"),
    [
        (
            rules.ErrorRate(above=0.02, minutes=7, runbook=RUNBOOK),
            0.0345,
            0.02,
            "3.45 % of requests fail, the limit is 2 %",
            "at most 2 % of requests failing; pages after 7 min above it",
        ),
        (
            rules.LatencyBudget(p95_ms=250, samples=4, runbook=RUNBOOK),
            412.4,
            250.0,
            "p95 latency is 412 ms, the budget is 250 ms",
            "p95 at or below 250 ms; pages after 4 samples of 5 min above it",
        ),
        (
            rules.Threshold(series="map", below=0.5, unit="of 1", runbook=RUNBOOK),
            0.43219,
            0.5,
            "map is 0.4322 of 1, below 0.5 of 1",
            "map at least 0.5 of 1",
        ),
        (
            rules.Threshold(series="queue", above=9, runbook=RUNBOOK),
            12.0,
            9.0,
            "queue is 12, above 9",
            "queue at most 9",
        ),
        (
            rules.NoData(series="requests", no_data_after=timedelta(hours=2), runbook=RUNBOOK),
            0.0,
            0.0,
            "no requests has been seen",
            "something at least every 2 h",
        ),
        (
            rules.RequestVolume(drop=0.4, minutes=15, runbook=RUNBOOK),
            12.0,
            60.0,
            "12 requests/min come in, 100 are usual",
            "about 100 requests/min; pages after 15 min more than 40 % below it",
        ),
        (
            rules.DetectionVolume(mode="daily", weeks=3, runbook=RUNBOOK),
            1.2,
            4.0,
            "1.2 detections/frame are found, 4 are usual",
            "about 4 detections/frame, as in the first 3 weeks; so few in a day come by chance once in 1,000",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, rules.Rule) else "",
)
def test_words(rule, value, threshold, summary, expected):
    """Value and limit with their units, and what it takes to page."""
    assert (summary, expected) == (rule.summary(value, threshold), rule.expected(threshold))


def numbers(rule, *, breach):
    """Metric → (first value, number, minutes of a bucket) of an example."""
    return {
        one.metric: (one.values[0], len(one), one.width / MINUTE)
        for one in rule.example(breach=breach, start=START)
    }


class TestExamples:
    def test_errors(self):
        """Half-way between the limit and all failing, of a thousand requests or the fewest."""
        rule = rules.ErrorRate(above=0.2, min_requests=4000, runbook=RUNBOOK)

        assert {Metric.ERRORS: (2400.0, 7, 1.0), Metric.REQUESTS: (4000.0, 7, 1.0)} == numbers(
            rule, breach=True
        )
        assert {Metric.ERRORS: (0.0, 6, 1.0), Metric.REQUESTS: (4000.0, 6, 1.0)} == numbers(
            rule, breach=False
        )
        few = rules.ErrorRate(above=0.2, runbook=RUNBOOK)
        assert 1000.0 == numbers(few, breach=True)[Metric.REQUESTS][0]

    def test_latency(self):
        """Half as much again as the budget, or half of what counts as good; an hour's traffic."""
        rule = rules.LatencyBudget(p95_ms=200, recover_below_ms=100, runbook=RUNBOOK)

        assert {Metric.LATENCY_P95_MS: (300.0, 20, 1.0), Metric.REQUESTS: (60.0, 20, 1.0)} == (
            numbers(rule, breach=True)
        )
        assert 50.0 == numbers(rule, breach=False)[Metric.LATENCY_P95_MS][0]

    @pytest.mark.parametrize(
        ("limits", "breach", "value"),
        [
            ({"above": 4.0}, True, 6.0),
            ({"above": 4.0}, False, 2.0),
            ({"below": 4.0}, True, 2.0),
            ({"below": 4.0}, False, 6.0),
            ({"above": 4.0, "recovery": 1.0}, True, 6.0),
            ({"above": 4.0, "recovery": 1.0}, False, -1.0),
            ({"above": 0.0}, True, 1.0),
            ({"below": -4.0}, True, -6.0),
        ],
    )
    def test_threshold(self, limits, breach, value):
        """Half of the limit to either side, from the recovery threshold on where it is to end."""
        rule = rules.Threshold(series="x", runbook=RUNBOOK, **limits)

        assert {"x": (value, 2, 1.0)} == numbers(rule, breach=breach)
        wide = rules.Threshold(series="x", every=5 * MINUTE, runbook=RUNBOOK, **limits)
        assert {"x": (value, 2, 5.0)} == numbers(wide, breach=breach)

    def test_no_data(self):
        """One bucket and then nothing, or a bucket each minute; whatever comes is good."""
        rule = rules.NoData(series="x", runbook=RUNBOOK)
        (gone,) = rule.example(breach=True, start=START)
        (there,) = rule.example(breach=False, start=START)

        assert ([1.0], MINUTE, "x") == (gone.values.tolist(), gone.width, gone.metric)
        assert ([1.0, 1.0], MINUTE) == (there.values.tolist(), there.width)
        found = rule.judge(
            rules.Reading(deployment="d", series={"x": there}, start=START, end=START + 2 * MINUTE)
        )
        assert ([True, True], [False, False], [0.0, 0.0]) == (
            found.good.tolist(),
            found.breach.tolist(),
            found.thresholds.tolist(),
        )

    @pytest.mark.parametrize(
        ("how", "learn", "told", "width"),
        [
            ({}, 60, 15 + 10, 1.0),  # an hour, then a window more than the rule holds for
            ({"usual": 90}, 0, 15 + 10 - 5, 1.0),
            ({"mode": "hourly", "weeks": 2}, 15 * 24, 168, 60.0),
            ({"mode": "weekly", "weeks": 2}, 15 * 24, 336, 60.0),
        ],
    )
    def test_volume(self, how, learn, told, width):
        """Usual counts, a little uneven, until they are learnt; then a twentieth of them."""
        rule = rules.RequestVolume(runbook=RUNBOOK, **how)
        (breach,) = rule.example(breach=True, start=START)
        (calm,) = rule.example(breach=False, start=START)
        usual = how.get("usual", 60.0) * width

        assert (width, Metric.REQUESTS) == (breach.width / MINUTE, breach.metric)
        assert abs(len(breach) - learn - told) <= 5
        assert calm.values == pytest.approx(
            usual * (1 + 0.05 * np.sin(np.arange(len(calm)))), abs=0.5
        )
        assert breach.values[:learn] == pytest.approx(calm.values[:learn])
        assert breach.values[learn:].max() <= 0.05 * 1.05 * usual + 0.5
        steps = np.diff(breach.times) / np.timedelta64(60, "s")
        assert (width, width) == (steps.min(), steps.max())

    def test_enough_is_expected(self):
        """Where a window would hold too few to be judged, the example has twice what it takes."""
        rule = rules.RequestVolume(min_expected=1000, runbook=RUNBOOK)
        per_frame = rules.DetectionVolume(min_expected=300, usual=2.0, runbook=RUNBOOK)
        detections, frames = per_frame.example(breach=False, start=START)

        assert 400.0 == rule.example(breach=False, start=START)[0].values[0]
        assert (Metric.DETECTIONS, Metric.FRAMES) == (detections.metric, frames.metric)
        assert {300.0} == set(frames.values)
        assert 600.0 == detections.values[0]
        plain = rules.DetectionVolume(runbook=RUNBOOK).example(breach=False, start=START)
        assert [4.0 * 30, 30.0] == [one.values[0] for one in plain]
