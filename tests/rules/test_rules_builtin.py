"""Each rule by itself: what is a sample, when it breaches, what is refused at birth."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from rules_support import MINUTE, START

from driftline import rules
from driftline.errors import InputError
from driftline.records import Metric, Severity
from driftline.rules import Judgement, NoDataPolicy
from driftline.rules._latency import minutes_text

RUNBOOK = "Roll back to the previous model"
ALL = {
    "latency": lambda **how: rules.LatencyBudget(p95_ms=250, **how),
    "errors": lambda **how: rules.ErrorRate(above=0.01, **how),
    "requests": rules.RequestVolume,
    "detections": rules.DetectionVolume,
    "health": rules.EndpointHealth,
    "threshold": lambda **how: rules.Threshold(series="x", above=1, **how),
    "no data": rules.NoData,
}


@pytest.fixture(params=ALL, ids=list(ALL))
def make(request):
    return ALL[request.param]


class TestEveryRule:
    def test_needs_a_runbook(self, make):
        """There is no rule without a runbook."""
        with pytest.raises(TypeError, match="runbook"):
            make()

    @pytest.mark.parametrize("bad", ["", "   ", "\n", "one\ntwo", None])
    def test_the_runbook_is_one_line(self, make, bad):
        """An empty runbook is none, and two lines are too many."""
        with pytest.raises(InputError, match="one line"):
            make(runbook=bad)

    @pytest.mark.parametrize(
        "bad",
        [
            {"samples": 0},
            {"samples": "3"},
            {"of": "3"},
            {"keep_firing": 5},
            {"renotify": 3600},
            {"name": 3},
            {"recover_samples": 0},
            {"keep_firing": timedelta(minutes=-1)},
            {"warm_up": timedelta(minutes=-1)},
            {"delay": timedelta(minutes=-1)},
            {"renotify": timedelta(0)},
            {"name": " "},
            {"severity": "critical"},
            {"links": "https://example.com"},
            {"deployments": ["acme/a"]},
        ],
    )
    def test_refuses_nonsense(self, make, bad):
        """A value that cannot be used is named with the field."""
        with pytest.raises(InputError, match=next(iter(bad))):
            make(runbook=RUNBOOK, **bad)

    def test_takes_every_knob(self, make):
        """Each rule has all the knobs of a rule."""
        rule = make(
            runbook=RUNBOOK,
            name="mine",
            severity=Severity.INFO,
            recover_samples=4,
            keep_firing=MINUTE,
            no_data_after=MINUTE,
            warm_up=MINUTE,
            delay=MINUTE,
            renotify=MINUTE,
            deployments="acme/*",
        )
        assert ("mine", Severity.INFO, 4) == (rule.name, rule.severity, rule.recover_samples)
        assert rule.applies("acme/line-3", {})
        assert not rule.applies("other/line-3", {})

    def test_is_a_value(self, make):
        """Equal rules are equal and can be keys."""
        assert {make(runbook=RUNBOOK)} == {make(runbook=RUNBOOK)}


class TestLatencyBudget:
    def rule(self, **how):
        return rules.LatencyBudget(p95_ms=250, runbook=RUNBOOK, **how)

    def test_weighted_by_requests(self, traffic):
        """The p95 of a window is the mean of its buckets' p95, weighted by their requests."""
        p95, requests = [100, 200, 300, 400, 500], [10, 20, 30, 40, 0]
        found = self.rule().judge(traffic(p95, requests))

        assert [pytest.approx(np.average(p95, weights=requests))] == found.values.tolist()
        assert [True] == found.breach.tolist()

    def test_lies_between_its_buckets(self, traffic):
        """An approximation never lies outside the smallest and the largest bucket."""
        rng = np.random.default_rng(0)
        p95, requests = rng.gamma(2, 100, 60), rng.poisson(3, 60)
        found = self.rule().judge(traffic(p95, requests))
        for i, value in enumerate(found.values):
            window = slice(5 * i, 5 * i + 5)
            seen = requests[window] > 0
            assert p95[window][seen].min() <= value <= p95[window][seen].max()

    def test_windows_of_the_clock(self, series, reading):
        """Windows are aligned to the clock, wherever the buckets begin."""
        start = START + 3 * MINUTE
        p95 = series(Metric.LATENCY_P95_MS, [100.0] * 12, start=start)
        requests = series(Metric.REQUESTS, [60.0] * 12, start=start)
        found = self.rule().judge(reading(p95, requests))

        expected = [START + i * 5 * MINUTE for i in range(3)]
        assert [np.datetime64(at.replace(tzinfo=None), "us") for at in expected] == list(
            found.starts
        )

    def test_no_requests_is_no_sample(self, series, reading):
        """A window without requests is missing, not calm; so is a p95 of 0 on the wire."""
        p95 = series(Metric.LATENCY_P95_MS, [400, 0, 400], minutes=[0, 6, 11])
        requests = series(Metric.REQUESTS, [10, 10, 10], minutes=[0, 6, 11])
        assert 2 == len(self.rule().judge(reading(p95, requests)))

        idle = series(Metric.REQUESTS, [10, 0], minutes=[0, 11])
        assert 1 == len(self.rule().judge(reading(p95, idle)))

    def test_series_need_not_align(self, series, reading):
        """Buckets are joined by their times; a p95 without a count of requests is left out."""
        p95 = series(Metric.LATENCY_P95_MS, [900, 100], minutes=[0, 1])
        requests = series(Metric.REQUESTS, [5, 5], minutes=[1, 2])
        assert [100.0] == self.rule().judge(reading(p95, requests)).values.tolist()

    def test_without_any_counts(self, series, reading):
        """Where nobody delivers requests, every bucket weighs the same."""
        p95 = series(Metric.LATENCY_P95_MS, [100, 200])
        assert [150.0] == self.rule().judge(reading(p95)).values.tolist()

    def test_at_the_budget_is_within_it(self, traffic):
        """Only more than the budget is over it."""
        found = self.rule().judge(traffic([250.0] * 5, [1] * 5))
        assert (False, True) == (found.breach[0], found.good[0])

    def test_recovery_threshold(self, traffic):
        """Between the recovery threshold and the budget a sample is neither."""
        found = self.rule(recover_below_ms=200).judge(traffic([220.0] * 5, [1] * 5))
        assert (False, False) == (found.breach[0], found.good[0])
        with pytest.raises(InputError, match="recover_below_ms"):
            self.rule(recover_below_ms=251)

    @pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
    def test_refuses_a_budget_that_is_none(self, bad):
        """A budget is a number of milliseconds above 0."""
        with pytest.raises(InputError, match="p95_ms"):
            rules.LatencyBudget(p95_ms=bad, runbook=RUNBOOK)

    def test_words(self):
        """The alert says value, budget and how it is judged."""
        rule = self.rule()
        assert "p95 latency is 412 ms, the budget is 250 ms" == rule.summary(412.4, 250)
        assert "3 samples of 5 min" in rule.expected(250)


class TestErrorRate:
    def rule(self, **how):
        return rules.ErrorRate(above=0.01, runbook=RUNBOOK, **how)

    def test_from_counts_by_the_minute(self, series, reading):
        """The rate of a minute is errors by requests; the Platform's own rate is never asked."""
        errors = series(Metric.ERRORS, [0, 1, 5])
        requests = series(Metric.REQUESTS, [100, 100, 100])
        found = self.rule().judge(reading(errors, requests))

        assert [0.0, 0.01, 0.05] == found.values.tolist()
        assert [False, False, True] == found.breach.tolist()
        assert Metric.REQUESTS in self.rule().metrics()

    def test_no_errors_listed_are_none(self, series, reading):
        """A minute with requests for which no errors are listed had none."""
        errors = series(Metric.ERRORS, [5], minutes=[1])
        requests = series(Metric.REQUESTS, [100, 100])
        assert [0.0, 0.05] == self.rule().judge(reading(errors, requests)).values.tolist()

    def test_errors_without_requests_say_nothing(self, series, reading):
        """A minute without requests is no sample, whatever is listed for it."""
        errors = series(Metric.ERRORS, [5, 5])
        requests = series(Metric.REQUESTS, [0, 100])
        assert [0.05] == self.rule().judge(reading(errors, requests)).values.tolist()

    def test_few_requests(self, series, reading):
        """A minute with fewer requests than asked for is no sample."""
        errors, requests = series(Metric.ERRORS, [1, 1]), series(Metric.REQUESTS, [9, 10])
        assert 1 == len(self.rule(min_requests=10).judge(reading(errors, requests)))

    def test_a_missing_count_is_unjudged(self, series, reading):
        """Without one of the counts the time is unjudged, not calm."""
        found = self.rule().judge(reading(series(Metric.ERRORS, [0.0])))
        assert (0, 1) == (len(found), len(found.gaps))

    def test_minutes_are_the_hold(self):
        """m minutes are a hold of m minutes."""
        assert timedelta(minutes=7) == self.rule(minutes=7).hold

    @pytest.mark.parametrize("bad", [-0.1, 1, 5, float("nan")])
    def test_the_limit_is_a_fraction(self, bad):
        """1 % is 0.01: a percentage by mistake is refused."""
        with pytest.raises(InputError, match="fraction"):
            rules.ErrorRate(above=bad, runbook=RUNBOOK)


class TestThreshold:
    def rule(self, **how):
        return rules.Threshold(series="x", runbook=RUNBOOK, **how)

    def test_above_and_below(self, series, reading):
        """Strictly above, or strictly below."""
        values = series("x", [0, 1, 2])
        assert [False, False, True] == self.rule(above=1).judge(reading(values)).breach.tolist()
        assert [True, False, False] == self.rule(below=1).judge(reading(values)).breach.tolist()

    @pytest.mark.parametrize(
        "bad", [{}, {"above": 1, "below": 0}, {"above": float("nan")}, {"above": 1, "recovery": 2}]
    )
    def test_refuses(self, bad):
        """Exactly one finite limit, and a recovery on its calm side."""
        with pytest.raises(InputError):
            self.rule(**bad)

    def test_zero_is_a_limit(self, series, reading):
        """Below 0 is a limit as any other."""
        assert [True] == self.rule(below=0).judge(reading(series("x", [-1]))).breach.tolist()

    @pytest.mark.parametrize(
        ("how", "expected"),
        [("mean", 3.0), ("min", 1.0), ("max", 5.0), ("sum", 15.0), ("last", 5.0)],
    )
    def test_windows(self, series, reading, how, expected):
        """With `every`, the buckets of a window become one sample."""
        rule = self.rule(above=1, every=timedelta(minutes=5), aggregate=how)
        found = rule.judge(reading(series("x", [1, 2, 3, 4, 5, 9], minutes=[0, 1, 2, 3, 4, 5])))
        assert [expected, 9.0] == found.values.tolist()

    def test_slices(self):
        """`where` picks the slices that carry its labels."""
        rule = self.rule(above=1, where={"feature": "confidence"})
        assert rule.applies("d", {"feature": "confidence", "camera": "a"})
        assert not rule.applies("d", {"feature": "area"})

    def test_named_after_its_metric(self):
        """Two thresholds on two metrics get two names by themselves."""
        assert "threshold:x" == self.rule(above=1).name


class TestEndpointHealth:
    def test_unhealthy_breaches(self, series, reading):
        """0 is a breach, 1 is good."""
        rule = rules.EndpointHealth(runbook=RUNBOOK)
        found = rule.judge(reading(series(Metric.HEALTHY, [1, 0], width=timedelta(0))))
        assert [False, True] == found.breach.tolist()


class TestNoData:
    def test_policy_is_its_nature(self):
        """A rule about missing data alerts on missing data."""
        rule = rules.NoData(runbook=RUNBOOK, no_data_after=timedelta(hours=2))
        assert NoDataPolicy.ALERT is rule.no_data
        assert "every 2 h" in rule.expected(0)


def test_judgement_refuses_arrays_that_do_not_fit():
    """All arrays of a judgement have one length."""
    nothing = Judgement.nothing()
    with pytest.raises(InputError, match="one shape"):
        Judgement(
            starts=nothing.starts,
            ends=nothing.ends,
            values=np.zeros(1),
            breach=nothing.breach,
            good=nothing.good,
            thresholds=nothing.thresholds,
        )


def test_silence_is_checked():
    """A silence has an author, a reason, aware times and an end after its start."""
    good = {"author": "ada", "reason": "deploy", "start": START, "end": START + MINUTE}
    assert rules.Silence.from_json(rules.Silence(**good).to_json()) == rules.Silence(**good)
    for bad, said in (
        ({"author": " "}, "author=' '"),
        ({"reason": ""}, "reason=''"),
        ({"end": START}, "must begin before"),
        ({"start": datetime(2026, 1, 1)}, "no time zone"),
        ({"rule": 5}, "rule=5"),
        ({"deployment": None}, "deployment=None"),
        ({"labels": ["camera"]}, "labels="),
        ({"labels": {"camera": 3}}, r"labels\[1\]=3"),
    ):
        with pytest.raises(InputError, match=said):
            rules.Silence(**{**good, **bad})
    tokyo = timezone(timedelta(hours=9))
    moved = rules.Silence(**{**good, "end": (START + MINUTE).astimezone(tokyo)})
    assert moved.end == START + MINUTE


def test_inhibition_is_checked():
    """A single pattern is not taken for its letters, of which ``*`` would silence every rule."""
    fine = rules.Inhibition(by="health*", silences=["latency*"])
    assert (True, False) == (fine.covers("latency-budget"), fine.covers("error-rate"))
    for bad in ({"by": None}, {"silences": "latency*"}, {"silences": (5,)}):
        with pytest.raises(InputError, match=next(iter(bad))):
            rules.Inhibition(**{"by": "a", "silences": ("b",), **bad})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: rules.ErrorRate(above=0, flap_detection="no", runbook=RUNBOOK),
            "flap_detection='no' must be",
        ),
        (lambda: rules.Threshold(series="a.b", above=3, unit=5, runbook=RUNBOOK), "unit=5 must"),
        (lambda: rules.LatencyBudget(p95_ms="250", runbook=RUNBOOK), "p95_ms='250' must be"),
        (lambda: rules.ErrorRate(above=0.01, minutes="5", runbook=RUNBOOK), "minutes='5' must be"),
        (lambda: rules.DetectionVolume(minutes=None, runbook=RUNBOOK), "minutes=None must be"),
        (lambda: rules.DetectionVolume(usual="many", runbook=RUNBOOK), "usual='many' must be"),
        (lambda: rules.Threshold(series="a.b", above="3", runbook=RUNBOOK), "above='3' must be"),
        (lambda: rules.ErrorRate(above=0, no_data="ok", runbook=RUNBOOK), "no_data='ok' must be"),
        (lambda: rules.Threshold(series=3, above=3, runbook=RUNBOOK), "series=3 must be"),
    ],
)
def test_text_is_no_number(make, said):
    """What a settings file gave as text is named, with what would do."""
    with pytest.raises(InputError, match=said):
        make()


class TestEdges:
    def test_error_rate_at_the_limit(self, series, reading):
        """A rate of just the limit does not breach; of just the recovery limit it is good."""
        rule = rules.ErrorRate(above=0.02, recover_below=0.01, runbook=RUNBOOK)
        found = rule.judge(
            reading(
                series(Metric.ERRORS, [3.0, 2.0, 1.0, 0.0]),
                series(Metric.REQUESTS, [100.0] * 4),
            )
        )

        assert [True, False, False, False] == found.breach.tolist()
        assert [False, False, True, True] == found.good.tolist()

    def test_latency_at_the_budget(self, series, reading):
        """A p95 of just the budget does not breach; of just the recovery limit it is good."""
        rule = rules.LatencyBudget(p95_ms=250, recover_below_ms=200, every=MINUTE, runbook=RUNBOOK)
        found = rule.judge(reading(series(Metric.LATENCY_P95_MS, [251.0, 250.0, 201.0, 200.0])))

        assert [True, False, False, False] == found.breach.tolist()
        assert [False, False, False, True] == found.good.tolist()
        assert [250.0] * 4 == found.thresholds.tolist()

    @pytest.mark.parametrize("side", ["above", "below"])
    def test_threshold_at_the_limit(self, series, reading, side):
        """Just the limit is good unless a recovery threshold says otherwise, which is good itself."""
        values = [3.0, 2.0, 1.5, 1.0, 0.0]
        sign = 1 if side == "above" else -1
        plain = rules.Threshold(series="x", runbook=RUNBOOK, **{side: sign * 2.0})
        far = rules.Threshold(
            series="x", runbook=RUNBOOK, recovery=sign * 1.0, **{side: sign * 2.0}
        )
        given = reading(series("x", [sign * v for v in values]))

        assert [True, False, False, False, False] == plain.judge(given).breach.tolist()
        assert [False, True, True, True, True] == plain.judge(given).good.tolist()
        assert [False, False, False, True, True] == far.judge(given).good.tolist()
        assert [sign * 2.0] * 5 == far.judge(given).thresholds.tolist()

    @pytest.mark.parametrize(
        ("how", "expected"),
        [("mean", [2.0, 7.0]), ("min", [1.0, 7.0]), ("max", [4.0, 7.0]), ("sum", [6.0, 7.0]),
         ("last", [1.0, 7.0])],
    )  # fmt: skip
    def test_windows_of_a_threshold(self, series, reading, how, expected):
        """The buckets of a window become one sample; a window without any is none."""
        rule = rules.Threshold(
            series="x", above=1, every=5 * MINUTE, aggregate=how, runbook=RUNBOOK
        )
        found = rule.judge(reading(series("x", [1.0, 4.0, 1.0, 7.0], minutes=[0, 2, 4, 11])))

        assert expected == found.values.tolist()
        assert 5 * MINUTE == (found.ends - found.starts)[0].astype(object)
        assert 0 == len(rule.judge(reading()))

    def test_slices(self):
        """A rule applies to the deployments and labels that it names, both."""
        rule = rules.Threshold(
            series="x", above=1, where={"camera": "a"}, deployments="acme/*", runbook=RUNBOOK
        )

        assert [True, False, False, False] == [
            rule.applies(deployment, labels)
            for deployment, labels in (
                ("acme/x", {"camera": "a", "class": "cup"}),
                ("acme/x", {"camera": "b"}),
                ("acme/x", {}),
                ("other/x", {"camera": "a"}),
            )
        ]

    def test_one_frame_is_enough(self, series, reading):
        """A window of a single frame is a sample; one without frames is none."""
        rule = rules.DetectionVolume(usual=4, min_expected=1, runbook=RUNBOOK)
        found = rule.judge(
            reading(series(Metric.DETECTIONS, [3.0, 9.0]), series(Metric.FRAMES, [1.0, 0.0]))
        )

        assert [3.0] == found.values.tolist()

    def test_judgement_of_a_series(self, series):
        """A verdict for each bucket, with what is remembered; a breach is never good."""
        one = series("x", [1.0, 2.0, 3.0])
        breach = np.array([False, True, True])
        found = Judgement.of(
            one,
            breach=breach,
            good=np.array([True, True, False]),
            threshold=np.array([1.0, 1.5, 2.0]),
            memory={"n": 1},
        )

        assert ([True, False, False], [1.0, 1.5, 2.0], {"n": 1}) == (
            found.good.tolist(),
            found.thresholds.tolist(),
            found.memory,
        )
        assert {} == Judgement.of(one, breach=breach, threshold=1.0).memory
        assert [True, False, False] == Judgement.of(one, breach=breach, threshold=1.0).good.tolist()
        assert [MINUTE] * 3 == (found.ends - found.starts).astype(object).tolist()

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (1.5, "1.5 s"), (90, "90 s"), (120, "2 min"), (5400, "90 min"),
         (7200, "2 h"), (129_600, "36 h"), (172_800, "2 d")],
    )  # fmt: skip
    def test_durations(self, seconds, text):
        """A duration in its largest whole unit."""
        assert text == minutes_text(timedelta(seconds=seconds))
