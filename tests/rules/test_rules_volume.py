"""Volume: the plain test, and the statistical ones against scipy, simulations and quoted rates."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from rules_support import MINUTE, START
from scipy import stats

from driftline import rules
from driftline._stats import volume as tests
from driftline.errors import InputError
from driftline.records import Metric, Series
from driftline.rules import Change, Phase
from driftline.rules._follow import Segment, follow
from driftline.rules._state import State
from driftline.rules._time import micros
from driftline.rules._volume_statistics import HOURLY_P, RUN_P

RUNBOOK = "Call the site"
HOUR = timedelta(hours=1)


class TestPlain:
    def judged(self, rule, requests, **how):
        first = np.datetime64(START.replace(tzinfo=None), "us")
        values = np.repeat(np.array(requests, dtype=float), 5)
        series = Series(
            metric=Metric.REQUESTS,
            times=first + np.arange(len(values)) * np.timedelta64(60, "s"),
            values=values,
            width=MINUTE,
        )
        end = START + len(values) * MINUTE
        return rule.judge(
            rules.Reading(
                deployment="d", series={Metric.REQUESTS: series}, start=START, end=end, **how
            )
        )

    def test_half_of_the_usual_breaches(self):
        """Below half of the median of the calm windows breaches; half exactly does not."""
        rule = rules.RequestVolume(runbook=RUNBOOK)
        found = self.judged(rule, [60] * 6 + [31, 30, 29, 0])
        assert [False, False, True, True] == found.breach.tolist()

    def test_learning_is_unjudged(self):
        """Until six windows are known, the time is unjudged, in one gap."""
        found = self.judged(rules.RequestVolume(runbook=RUNBOOK), [60] * 4)
        assert (0, 1) == (len(found), len(found.gaps))
        assert "learning" in found.gaps[0].reason

    def test_what_is_learnt_is_remembered(self):
        """The next run goes on where this one was; the last hour's calm windows are kept."""
        rule = rules.RequestVolume(runbook=RUNBOOK)
        first = self.judged(rule, [10] * 3 + [60] * 11 + [1])
        second = self.judged(rule, [31, 29], memory=first.memory)

        assert (12, 1) == (len(first.memory["rates"]), first.memory["rates"].count(10.0))
        assert ([False, True], [30.0, 30.0]) == (
            second.breach.tolist(),
            second.thresholds.tolist(),
        )
        assert 5 * MINUTE == (second.ends - second.starts)[0].astype(object)

    def test_gaps_join(self):
        """Neighbouring windows that are unjudged for one reason are one gap, with its ends."""
        found = self.judged(rules.RequestVolume(runbook=RUNBOOK), [60] * 4)
        both = self.judged(rules.RequestVolume(runbook=RUNBOOK), [3] * 8)

        assert (START, START + 20 * MINUTE) == (found.gaps[0].start, found.gaps[0].end)
        assert [
            (START, START + 30 * MINUTE, "learning what is usual: 6 windows are needed"),
            (
                START + 30 * MINUTE,
                START + 40 * MINUTE,
                "fewer than 20 are usual in a window: half of few is chance",
            ),
        ] == [(gap.start, gap.end, gap.reason) for gap in both.gaps]

    def test_just_enough(self):
        """A window that expects just `min_expected` is judged; at just the limit it is calm."""
        rule = rules.RequestVolume(usual=4, drop=0.25, runbook=RUNBOOK)
        found = self.judged(rule, [3, 2])

        assert ([3.0, 2.0], [3.0, 3.0]) == (found.values.tolist(), found.thresholds.tolist())
        assert ([False, True], [True, False]) == (found.breach.tolist(), found.good.tolist())

    def test_only_whole_windows(self):
        """Of an answered time only whole windows count; what lies before or after is left out."""
        rule = rules.RequestVolume(usual=60, runbook=RUNBOOK)
        first = np.datetime64(START.replace(tzinfo=None), "us")
        one = Series(
            metric=Metric.REQUESTS,
            times=first + np.array([1, 4, 5, 9, 10, 11]) * np.timedelta64(60, "s"),
            values=np.array([7.0, 20, 30, 40, 50, 60]),
            width=MINUTE,
        )
        reading = rules.Reading(
            deployment="d",
            series={Metric.REQUESTS: one},
            start=START + 2 * MINUTE,
            end=START + 12 * MINUTE,
            answered=True,
        )

        assert [14.0] == rule.judge(reading).values.tolist()  # 70 in the minutes 5 to 9

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [
            ("plain", (2, 0.5, 5 * MINUTE, 10 * MINUTE)),
            ("hourly", (2, 0.5, HOUR, 0 * MINUTE)),
            ("daily", (1, 0.5, HOUR, 0 * MINUTE)),
            ("weekly", (1, 0.15, HOUR, 0 * MINUTE)),
        ],
    )
    def test_defaults(self, mode, expected):
        """What each mode takes for granted: samples to recover, drop, window and hold."""
        rule = rules.RequestVolume(mode=mode, runbook=RUNBOOK)

        assert expected == (rule.recover_samples, rule.drop, rule.every, rule.hold)

    def test_a_drop_does_not_become_usual(self):
        """What breaches does not enter the median, however long it lasts."""
        found = self.judged(rules.RequestVolume(runbook=RUNBOOK), [60] * 6 + [10] * 200)
        assert found.breach.all()

    def test_slow_change_is_followed(self):
        """A slow decline is the usual: the plain test looks back an hour."""
        found = self.judged(rules.RequestVolume(runbook=RUNBOOK), np.linspace(200, 20, 60))
        assert not found.breach.any()

    def test_stated_usual(self):
        """With a stated usual nothing is learnt and nothing remembered."""
        found = self.judged(rules.RequestVolume(usual=100, runbook=RUNBOOK), [60, 40])
        assert ([False, True], {}) == (found.breach.tolist(), found.memory)
        with pytest.raises(InputError, match="nothing would be judged"):
            rules.RequestVolume(usual=1, runbook=RUNBOOK)

    def test_little_traffic_is_unjudged(self):
        """Where fewer than 20 are usual in a window, half of them missing is chance."""
        found = self.judged(rules.RequestVolume(runbook=RUNBOOK), [3] * 20)
        assert (0, True) == (len(found), "chance" in found.gaps[-1].reason)

    def test_absent_minutes_had_none_where_the_source_answered(self):
        """No bucket in an answered minute is no request; in passed samples it is not observed."""
        rule = rules.RequestVolume(usual=60, runbook=RUNBOOK)
        empty = rules.Reading(
            deployment="d", series={}, start=START, end=START + 10 * MINUTE, answered=True
        )
        assert [True, True] == rule.judge(empty).breach.tolist()
        passed = rules.Reading(deployment="d", series={}, start=START, end=START + 10 * MINUTE)
        assert 0 == len(rule.judge(passed))

    def test_detections_per_frame(self):
        """Detections are judged per frame: fewer frames are no drop; frames missing are unjudged."""
        rule = rules.DetectionVolume(usual=4, runbook=RUNBOOK)
        first = np.datetime64(START.replace(tzinfo=None), "us")

        def made(metric, values):
            times = first + np.arange(len(values)) * np.timedelta64(300, "s")
            return Series(
                metric=metric, times=times, values=np.array(values, float), width=5 * MINUTE
            )

        def judged(*series):
            return rule.judge(
                rules.Reading(
                    deployment="d",
                    series={s.metric: s for s in series},
                    start=START,
                    end=START + HOUR,
                )
            )

        frames = made(Metric.FRAMES, [100, 10, 100, 0])
        found = judged(made(Metric.DETECTIONS, [400, 40, 100, 0]), frames)
        assert ([4.0, 4.0, 1.0], [False, False, True]) == (
            found.values.tolist(),
            found.breach.tolist(),
        )
        alone = judged(made(Metric.DETECTIONS, [400]))
        assert (0, True) == (len(alone), "need the frames" in alone.gaps[0].reason)

    @pytest.mark.parametrize(
        "bad",
        [
            {"mode": "fast"},
            {"drop": 1},
            {"drop": 0},
            {"minutes": 0},
            {"weeks": 0},
            {"weeks": 1, "mode": "weekly"},
        ],
    )
    def test_refuses(self, bad):
        """A mode that does not exist and shares out of range are refused."""
        with pytest.raises(InputError, match=next(iter(bad))):
            rules.RequestVolume(runbook=RUNBOOK, **bad)

    def test_fewest_weeks(self):
        """Hours and days can be learnt from one week, weeks from two."""
        assert 1 == rules.RequestVolume(runbook=RUNBOOK, weeks=1, mode="daily").weeks
        assert 2 == rules.DetectionVolume(runbook=RUNBOOK, weeks=2, mode="weekly").weeks


class TestTails:
    @pytest.mark.parametrize("mean", [5.0, 20.0, 300.0])
    @pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
    def test_negative_binomial_is_scipys(self, mean, alpha):
        """The lower tail is scipy's negative binomial with r = 1/alpha and p = r / (r + mean)."""
        r = 1 / alpha
        for count in (0, int(mean / 2), int(mean), int(3 * mean)):
            expected = stats.nbinom.cdf(count, r, r / (r + mean))
            # Two routes through the incomplete beta function: agreement to rounding.
            assert pytest.approx(expected, rel=1e-9) == tests.lower_tail(count, mean, alpha)

    def test_poisson_without_scatter(self):
        """With no scatter beyond Poisson's it is Poisson's tail, and continuous there."""
        assert pytest.approx(stats.poisson.cdf(7, 20)) == tests.lower_tail(7, 20, 0.0)
        assert pytest.approx(stats.poisson.cdf(7, 20), rel=1e-4) == tests.lower_tail(7, 20, 2e-8)

    def test_dispersion_by_moments(self):
        """Alpha is found again from counts that have it, per cell and in all."""
        rng = np.random.default_rng(1)
        cells = np.tile(np.arange(48), 100)
        means = rng.uniform(50, 400, 48)[cells]
        counts = rng.negative_binomial(20, 20 / (20 + means)).astype(float)
        fitted = tests.rates(cells, counts, np.ones(len(cells)), 48)[cells]
        # 4800 counts: the standard error of alpha = 0.05 is about 0.001 (seen over 20 seeds).
        assert pytest.approx(0.05, abs=0.004) == tests.dispersion(counts, fitted, cells)
        poisson = rng.poisson(means).astype(float)
        fitted = tests.rates(cells, poisson, np.ones(len(cells)), 48)[cells]
        assert tests.dispersion(poisson, fitted, cells) < 0.001

    def test_days_of_the_week(self):
        """Monday is 0, for days before and after 1970."""
        for day in (datetime(1969, 12, 29), datetime(2026, 11, 23), datetime(2026, 11, 29)):
            number = (day - datetime(1970, 1, 1)).days
            assert day.weekday() == tests.weekday(np.array([number]))[0]

    def test_week_without_scatter_between_weeks_is_the_t_test(self):
        """With few weeks and one value a day, p is that of the t distribution written out."""
        rng = np.random.default_rng(2)
        days = np.arange(14)
        ratios = rng.normal(0, 0.1, 14)
        reference = tests.reference_week(ratios, days)
        week = rng.normal(-0.2, 0.1, 7)
        residuals = (
            ratios
            - np.array([ratios[tests.weekday(days) == d].mean() for d in range(7)])[
                tests.weekday(days)
            ]
        )
        s2 = np.sum(residuals**2) / 7
        t = (week.mean() - ratios.mean()) / np.sqrt(s2 * (1 / 7 + 1 / 14))
        p, ratio = tests.week_p(reference, week)

        assert (7, 0.0) == (reference.df, reference.between)
        assert pytest.approx(stats.t.cdf(t, 7)) == p
        assert pytest.approx(np.exp(week.mean() - ratios.mean())) == ratio


# --- simulations -----------------------------------------------------------------------------

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def site(rng, weeks, *, mean=300.0, k=20.0, day_sd=0.12, week_sd=0.0, drop=None):
    """Hourly counts and exposures of a site: shape over day and week, scatter by day and hour."""
    hours = np.arange(weeks * 168)
    of_day, of_week = hours % 24, hours // 24 % 7
    shape = (1 + 0.8 * np.sin((of_day - 6) / 24 * 2 * np.pi)) * np.where(of_week >= 5, 0.6, 1.0)
    day = np.repeat(rng.normal(0, day_sd, weeks * 7), 24)
    week = np.repeat(rng.normal(0, week_sd, weeks), 168) if week_sd else 0.0
    m = mean * shape * np.exp(day + week)
    if drop is not None:
        m[drop[0] :] *= 1 - drop[1]
    counts = rng.negative_binomial(k, k / (k + m)).astype(float)
    return counts, np.full(len(hours), mean * 10.0)


def segment(counts, frames):
    """Counts and frames as samples of a camera."""
    first = np.datetime64(MONDAY.replace(tzinfo=None), "us")
    times = first + np.arange(len(counts)) * np.timedelta64(3600, "s")
    series = {
        Metric.DETECTIONS: Series(metric=Metric.DETECTIONS, times=times, values=counts, width=HOUR),
        Metric.FRAMES: Series(metric=Metric.FRAMES, times=times, values=frames, width=HOUR),
    }
    return Segment(series=series, start=None, end=micros(MONDAY) + len(counts) * 3_600_000_000)


def alarms(mode, counts, frames, **how):
    """Firing times in weeks since the reference ended."""
    rule = rules.DetectionVolume(mode=mode, flap_detection=False, runbook=RUNBOOK, **how)
    one = segment(counts, frames)
    found = follow(rule, State(), {}, [one], deployment="d", labels={}, now=one.end)
    reference = micros(MONDAY) + 28 * 86_400_000_000
    return [
        (step.at - reference) / (7 * 86_400_000_000)
        for step in found.steps
        if step.change is Change.FIRING
    ], found


class TestStatistics:
    def test_reference_is_unjudged(self):
        """For four weeks nothing is judged, and the report says how far the learning is."""
        fired, found = alarms("hourly", *site(np.random.default_rng(0), 4))
        assert ([], 0) == (fired, found.judged)
        assert "27 of 28 days" in found.gaps[-1].reason

    @pytest.mark.parametrize("mode", ["hourly", "daily", "weekly"])
    def test_calm_sites_stay_calm(self, mode):
        """False alarms of 20 site-years stay near the quoted rates.

        Quoted: hours at p < 1e-4 0.7 a year and three in a row 0.17; days at p < 1e-3 0.6;
        weeks 0.7 % (0.4 a year) before the 15 % gate. In 20 site-years with a Poisson number of
        alarms, mean 20 is passed with probability under 1 % for a true rate of 0.6 (mean 12).
        Monte-Carlo only; seeds fixed.
        """
        rng = np.random.default_rng(20261123)
        number = sum(len(alarms(mode, *site(rng, 4 + 13))[0]) for _ in range(80))
        years = 80 * 13 / 52
        assert number / years < 1.2

    def test_poisson_would_cry_wolf(self):
        """The same hours against Poisson's tail at the same p: hundreds of alarms a site-year."""
        rng = np.random.default_rng(3)
        counts, _ = site(rng, 56)
        cells = tests.hour_of_day_kind(np.arange(len(counts)))
        rate = tests.rates(cells[: 4 * 168], counts[: 4 * 168], np.ones(4 * 168), 48)
        p = stats.poisson.cdf(counts[4 * 168 :], rate[cells[4 * 168 :]])
        assert (p < HOURLY_P).sum() > 500

    def test_an_outage_is_seen_within_hours(self):
        """Nothing at all is seen at once by day, and by the end of a quiet night."""
        for hour in range(0, 24, 3):
            counts, frames = site(np.random.default_rng(hour), 6)
            counts[4 * 168 + 48 + hour :] = 0
            fired, _ = alarms("hourly", counts, frames)
            after = (min(fired) * 168) - 48 - hour
            assert after <= 3, hour

    def test_a_large_part_missing_is_seen_by_the_end_of_the_day(self):
        """Two thirds gone is seen within a day in almost every run, by hours."""
        seen = 0
        for seed in range(30):
            start = 4 * 168 + 24
            counts, frames = site(np.random.default_rng(seed), 6, drop=(start, 0.66))
            fired, _ = alarms("hourly", counts, frames)
            seen += any(24 <= week * 168 <= 48 for week in fired)
        # Quoted for -60 %: 1.0 by the end of the day.
        assert seen >= 28

    def test_a_quarter_missing_for_a_week(self):
        """What creeps is found by the week: power at -25 % is near one, at -5 % none."""
        found = {0.25: 0, 0.05: 0}
        for drop in found:
            for seed in range(40):
                counts, frames = site(np.random.default_rng(seed), 5, drop=(4 * 168, drop))
                found[drop] += bool(alarms("weekly", counts, frames)[0])
        # Quoted with the between-week term: .98 at -30 %, .92-.95 at -20 to -25 %; SE .035 at 40.
        assert found[0.25] >= 34
        assert found[0.05] <= 3  # the 15 % gate

    def test_few_expected_are_judged_together(self):
        """Hours that expect fewer than five wait until twenty are expected of several."""
        counts, frames = site(np.random.default_rng(5), 6, mean=2.0)
        _, found = alarms("hourly", counts, frames)
        assert 0 < found.judged < 2 * 168 / 5

    def test_pieces(self):
        """Learning and judging in runs of any length gives what one run gives."""
        counts, frames = site(np.random.default_rng(6), 6, drop=(5 * 168, 0.5))
        whole = segment(counts, frames)
        for mode in ("hourly", "daily", "weekly"):
            rule = rules.DetectionVolume(mode=mode, runbook=RUNBOOK)
            at_once = follow(rule, State(), {}, [whole], deployment="d", labels={}, now=whole.end)
            state, memory, steps = State(), {}, []
            for hours in range(7, 6 * 168 + 7, 53):
                now = micros(MONDAY) + min(hours, 6 * 168) * 3_600_000_000
                part = follow(rule, state, memory, [whole], deployment="d", labels={}, now=now)
                state, memory, steps = part.state, part.memory, [*steps, *part.steps]
            assert list(at_once.steps) == steps
            assert at_once.memory == memory

    def test_three_low_hours_in_a_row(self):
        """Three hours in a row at once in a hundred are an alarm, although none is one alone."""
        counts, frames = site(np.random.default_rng(7), 5, day_sd=0.0, k=1e9)
        hour = 4 * 168 + 24 + 12
        _, calm = alarms("hourly", counts[:hour], frames[:hour])
        fit = calm.memory["fit"]
        for own in range(hour, hour + 3):
            expected = fit["rate"][own % 24] * frames[own]
            p = tests.lower_tail
            low = next(
                c for c in range(int(expected), 0, -1) if p(c, expected, fit["alpha"]) < RUN_P
            )
            assert p(low, expected, fit["alpha"]) > HOURLY_P
            counts[own] = low
        fired, _ = alarms("hourly", counts, frames)
        assert [pytest.approx((hour + 3 - 4 * 168) / 168)] == fired[:1]

    def test_week_with_few_days_is_unjudged(self):
        """A week of which fewer than five days were observed is unjudged."""
        counts, frames = site(np.random.default_rng(8), 6)
        frames[4 * 168 + 96 : 5 * 168] = 0
        _, found = alarms("weekly", counts, frames)
        assert any("only 4 days" in gap.reason for gap in found.gaps)
        assert Phase.OK is found.state.phase
