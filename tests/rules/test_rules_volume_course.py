"""Hour by hour through the statistical volume rules, with a reference that is written down."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from driftline import rules
from driftline._stats import volume as tests
from driftline.records import Metric, Series
from driftline.rules._time import as_times, micros
from driftline.rules._volume_plain import Counts
from driftline.rules._volume_statistics import DAILY_P, HOURLY_P, RUN_P, judge
from driftline.rules._windows import at_times, binned, windows

MONDAY = micros(datetime(2026, 1, 5, tzinfo=UTC)) // 3_600_000_000
"""Hours since 1970."""
HOUR = 3_600_000_000


def hourly(counts, *, first=0, exposure=1.0, skip=()):
    """Counts of hours from Monday midnight on, some not observed."""
    kept = [i for i in range(len(counts)) if i not in skip]
    return Counts(
        starts=np.array([(MONDAY + first + i) * HOUR for i in kept], dtype=np.int64),
        counts=np.array([float(counts[i]) for i in kept]),
        exposures=np.full(len(kept), exposure),
    )


def usual(rate, *, cells=48, **found):
    """What is remembered of a reference in which every hour had the same rate, without scatter."""
    return {"from": MONDAY // 24, "fit": {"rate": [rate] * cells, "alpha": 0.0, **found}}


def judged(resolution, counts, memory, *, weeks=1, drop=0.15, **how):
    return judge(hourly(counts, **how), memory, resolution=resolution, weeks=weeks, drop=drop)


def spans(found):
    """(first hour, hour after the last) of each sample, from Monday midnight on."""
    ends = zip(found.starts.astype(np.int64), found.ends.astype(np.int64), strict=True)
    return [(int(a) // HOUR - MONDAY, int(b) // HOUR - MONDAY) for a, b in ends]


class TestHours:
    def test_each_hour_alone(self):
        """Below 1e-4 of Poisson's tail an hour breaches, from 1e-2 on it is good."""
        counts = range(12)
        found = judged("hourly", [c for n in counts for c in (n, 10)], usual(10.0))
        p = stats.poisson.cdf(list(counts), 10.0)

        assert (p < HOURLY_P).tolist() == found.breach[::2].tolist()
        assert (p >= RUN_P).tolist() == found.good[::2].tolist()
        assert not (found.breach | ~found.good)[1::2].any()

    def test_what_is_told(self):
        """A sample is a rate by exposure, held against the usual rate, over its own hour."""
        found = judged("hourly", [30, 20], usual(10.0), exposure=4.0, first=5)

        assert ([7.5, 5.0], [10.0, 10.0]) == (found.values.tolist(), found.thresholds.tolist())
        assert [(5, 6), (6, 7)] == spans(found)

    def test_three_low_ones_in_a_row(self):
        """Two of ten come by chance in 0.3 % of hours: three in a row, without a better between."""
        found = judged("hourly", [2, 2, 9, 2, 2, 2, 2, 9], usual(10.0))

        assert [False] * 5 + [True, True, False] == found.breach.tolist()
        assert [False, False, True] + [False] * 4 + [True] == found.good.tolist()

    def test_a_row_goes_on_after_a_restart(self):
        """The row is remembered between runs, and forgotten with the first better hour."""
        one = judged("hourly", [9, 2, 2], usual(10.0))
        other = judged("hourly", [2], one.memory, first=3)

        assert ([True], 3) == (other.breach.tolist(), other.memory["low"])
        assert "low" not in judged("hourly", [9], other.memory, first=4).memory

    def test_five_are_enough_alone(self):
        """An hour that expects five is judged; below, hours wait for twenty together."""
        assert [(0, 1), (1, 2)] == spans(judged("hourly", [5, 5], usual(5.0)))

        found = judged("hourly", [4] * 5 + [0] * 5 + [4], usual(4.0))
        assert [(0, 5), (5, 10)] == spans(found)
        assert ([4.0, 0.0], [False, True]) == (found.values.tolist(), found.breach.tolist())
        assert [MONDAY + 10, 1, 4.0, 1.0, 4.0] == found.memory["kept"]

    def test_waiting_survives_a_restart(self):
        """In runs of two hours the same samples come as at once."""
        memory, found = usual(4.0), []
        for first in range(0, 12, 2):
            part = judged("hourly", [4, 4], memory, first=first)
            memory, found = part.memory, found + spans(part)

        assert [(0, 5), (5, 10)] == found

    def test_hours_the_reference_does_not_know(self):
        """They are unjudged, neighbours in one gap that says so."""
        memory = usual(10.0)
        memory["fit"]["rate"][1] = memory["fit"]["rate"][2] = None
        found = judged("hourly", [10] * 4, memory)

        assert [(0, 1), (3, 4)] == spans(found)
        (gap,) = found.gaps
        assert (timedelta(hours=2), "the reference has nothing at this hour of the week") == (
            gap.end - gap.start,
            gap.reason,
        )

    def test_scatter_makes_it_patient(self):
        """With the reference's dispersion the tail is the negative binomial's."""
        counts, alpha = range(0, 100, 4), 0.05
        found = judged("hourly", [c for n in counts for c in (n, 100)], usual(100.0, alpha=alpha))
        p = stats.nbinom.cdf(list(counts), 1 / alpha, 1 / (1 + alpha * 100))

        assert (p < HOURLY_P).tolist() == found.breach[::2].tolist()

    def test_by_way_of_the_rule(self):
        """The rule hands on what it remembers; its exposure of an hour is sixty minutes."""
        rule = rules.RequestVolume(mode="hourly", runbook="Look")
        start = datetime(2026, 1, 5, tzinfo=UTC)
        requests = Series(
            metric=Metric.REQUESTS,
            times=hourly([60, 10]).starts.view("datetime64[us]"),
            values=np.array([60.0, 10.0]),
            width=timedelta(hours=1),
        )
        found = rule.judge(
            rules.Reading(
                deployment="d",
                series={Metric.REQUESTS: requests},
                start=start,
                end=start + timedelta(hours=2),
                memory=usual(1.0),
            )
        )

        assert ([1.0, 10 / 60], [False, True]) == (found.values.tolist(), found.breach.tolist())
        assert usual(1.0)["fit"] == found.memory["fit"]


class TestDays:
    def test_a_day_is_judged_when_it_is_over(self):
        """Its last hour ends it; its sample is the whole day, its tail that of its sum."""
        lows = [next(c for c in range(240, 0, -1) if stats.poisson.cdf(c, 240) < p) for p in
                (DAILY_P, RUN_P)]  # fmt: skip
        for total, breach, good in ((lows[0], True, False), (lows[1], False, False),
                                    (lows[1] + 1, False, True)):  # fmt: skip
            found = judged("daily", [total, *[0] * 23], usual(10.0))
            assert ([breach], [good]) == (found.breach.tolist(), found.good.tolist())
            assert ([(0, 24)], [10.0]) == (spans(found), found.thresholds.tolist())
        assert 0 == len(judged("daily", [10] * 23, usual(10.0)))

    def test_a_day_without_its_last_hour(self):
        """The next day's first hour ends it; what was not observed is not expected either."""
        found = judged("daily", [10] * 50, usual(10.0), skip=(0, 22, 23))

        assert [(0, 24), (24, 48)] == spans(found)
        assert [10.0, 10.0] == found.values.tolist()
        assert [MONDAY + 48, 2, 20.0, 2.0, 20.0] == found.memory["day"]


class TestWeeks:
    WEEK = (0.0, 0.01, 0.0, 4, 21)  # mean, variance of a day, between weeks, weeks, freedom

    def found(self, factor, *, days=7, drop=0.15, first=0, **how):
        counts = np.repeat(np.full(days, 100.0 * factor), 24)
        memory = usual(100.0, cells=168, week=list(self.WEEK))
        return judged("weekly", counts, memory, drop=drop, first=first, **how)

    def test_low_and_much(self):
        """A week breaches if chance is below 1 % and the share that is missing large enough."""
        assert [True] == self.found(0.8).breach.tolist()
        assert [False] == self.found(0.88).breach.tolist()  # surely low, not by much
        assert [True] == self.found(0.88, drop=0.1).breach.tolist()
        assert [False] == self.found(0.95, drop=0.01).breach.tolist()  # not surely low
        assert [(0, 168)] == spans(self.found(0.8))
        assert [True] == self.found(0.95).good.tolist()

    def test_five_days_are_enough(self):
        """Of a week with fewer days nothing is said; a missing last day ends with the next week."""
        five = self.found(0.8, days=8, skip=range(120, 168))
        four = self.found(0.8, days=8, skip=range(96, 168))

        assert ([(0, 168)], ()) == (spans(five), five.gaps)
        assert [] == spans(four)
        assert ["only 4 days of the week were observed"] == [gap.reason for gap in four.gaps]
        assert timedelta(days=7) == four.gaps[0].end - four.gaps[0].start

    def test_weeks_keep_the_rhythm_of_the_reference(self):
        """A week begins on the weekday that the reference began on, wherever the counts do."""
        memory = usual(100.0, cells=168, week=list(self.WEEK))
        memory["from"] += 2
        found = judged("weekly", [100.0] * 24 * 10, memory)

        assert [(48, 216)] == spans(found)[-1:]


class TestLearning:
    @pytest.mark.parametrize(("resolution", "weeks"), [("hourly", 1), ("daily", 1), ("weekly", 2)])
    def test_from_the_first_whole_day(self, resolution, weeks):
        """An incomplete first day is left out; then whole weeks, then every hour is judged."""
        rng = np.random.default_rng(1)
        days = 7 * weeks
        counts = rng.poisson(200.0, 24 * 24).astype(float)
        found = judged(resolution, counts, {}, weeks=weeks, first=7)
        part = judged(resolution, counts[: 17 + 24 * days], {}, weeks=weeks, first=7)
        reasons = [gap.reason for gap in part.gaps]

        assert 0 == len(part)
        assert [f"learning what is usual: {n} of {days} days" for n in range(days)] == reasons
        assert MONDAY // 24 + 1 == found.memory["from"]
        assert spans(found)[0][0] == 24 + 24 * days
        assert set(found.memory) <= {"from", "fit", "low", "kept", "day", "week"}

    def test_the_reference_is_rates(self):
        """Counts by exposure in each hour of the day, weekends apart; nothing where none was."""
        counts = np.tile(np.arange(24.0), 8) * np.repeat([1, 1, 1, 1, 1, 3, 3, 1], 24)
        found = judged("hourly", counts, {}, exposure=2.0, skip=range(4, 168, 24))
        rate = found.memory["fit"]["rate"]

        assert [None, None] == [rate[4], rate[28]]
        assert ([1.5, 4.5], [11.5, 34.5]) == ([rate[3], rate[27]], [rate[23], rate[47]])
        assert 48 == len(rate)

    def test_scatter_of_days(self):
        """Alpha of days by moments: five weekdays share their mean, and the two of the weekend."""
        days = np.array([300.0, 200, 250, 350, 150, 90, 30])
        found = judged("daily", [*np.repeat(days / 24, 24), 0.0], {})
        means = np.array([250.0] * 5 + [60.0] * 2)
        scaled = (days - means) ** 2 * np.array([5 / 4] * 5 + [2 / 1] * 2)

        assert found.memory["fit"]["alpha"] == pytest.approx(
            (scaled - means).sum() / (means**2).sum()
        )

    def test_three_quarters_of_the_days(self):
        """With fewer days observed the learning goes on until there are enough."""
        counts = np.random.default_rng(2).poisson(200.0, 24 * 20).astype(float)
        five, six = (
            judged("hourly", counts, {}, skip=range(24 * (7 - missing), 168)) for missing in (2, 1)
        )

        assert 168 == spans(six)[0][0]
        assert 168 + 24 == spans(five)[0][0]  # the day after the week made it six


class TestTests:
    def test_between_weeks(self):
        """With three weeks what they scatter beyond their days is the variance between them."""
        days = np.arange(MONDAY // 24, MONDAY // 24 + 21)
        mood = np.repeat([-0.3, 0.0, 0.3], 7)
        rng = np.random.default_rng(3)
        ratios = mood + rng.normal(0, 0.05, 21)
        found = tests.reference_week(ratios, days)
        means = ratios.reshape(3, 7).mean(axis=1)
        residuals = ratios.reshape(3, 7) - ratios.reshape(3, 7).mean(axis=0)

        assert found.variance == pytest.approx((residuals**2).sum() / 14)
        assert found.between == pytest.approx(means.var(ddof=1) - found.variance / 7)
        assert (14, 3, pytest.approx(ratios.mean())) == (found.df, found.weeks, found.mean)
        assert 0.0 == tests.reference_week(ratios[:14], days[:14]).between

    def test_week_with_scatter_between(self):
        """t has the variance of the days of both sides and that of one week and of K."""
        reference = tests.Week(mean=0.1, variance=0.04, between=0.01, weeks=4, df=21)
        week = np.array([-0.3, -0.2, 0.0, -0.4, -0.1])
        t = (week.mean() - 0.1) / np.sqrt(0.04 * (1 / 5 + 1 / 28) + 0.01 * (1 + 1 / 4))
        p, ratio = tests.week_p(reference, week)

        assert (p, ratio) == pytest.approx((stats.t.cdf(t, 21), np.exp(week.mean() - 0.1)))

    def test_week_without_any_scatter(self):
        """Where nothing ever scatters, any fall is certain and no fall is none."""
        reference = tests.Week(mean=0.0, variance=0.0, between=0.0, weeks=1, df=6)

        assert [0.0, 1.0, 1.0] == [
            tests.week_p(reference, np.full(7, x))[0] for x in (-0.01, 0.0, 0.01)
        ]

    def test_dispersion_by_hand(self):
        """Two of a cell: residuals of 10 about 100, scaled by 2; a cell seen once says nothing."""
        counts, means = np.array([110.0, 90.0, 500.0]), np.array([100.0, 100.0, 300.0])
        cells = np.array([0, 0, 1])

        assert tests.dispersion(counts, means, cells) == pytest.approx((200 - 100) / 100**2)
        counts = np.array([120.0, 80.0, 500.0])
        assert tests.dispersion(counts, means, cells) == pytest.approx((800 - 100) / 100**2)
        three = np.array([110.0, 100.0, 90.0]), np.full(3, 100.0), np.zeros(3, dtype=int)
        assert tests.dispersion(*three) == pytest.approx((100 - 100) / 100**2, abs=1e-12)
        assert 0.0 == tests.dispersion(counts[2:], means[2:], cells[:1])
        assert 0.0 == tests.dispersion(means, means, cells)

    def test_hours(self):
        """Cells of the week from Monday midnight on, and of the day with weekends apart."""
        hours = MONDAY + np.array([0, 23, 24, 119, 120, 167, 168])

        assert [0, 23, 24, 119, 120, 167, 0] == tests.hour_of_week(hours).tolist()
        assert [0, 23, 0, 23, 24, 47, 0] == tests.hour_of_day_kind(hours).tolist()

    def test_log_ratio(self):
        """Half a count on both sides keeps a day of nothing finite."""
        found = tests.log_ratios(np.array([0.0, 19.5]), np.array([9.5, 9.5]))

        assert found.tolist() == pytest.approx([np.log(0.05), np.log(2)])

    def test_cells_never_seen(self):
        """A rate is counts by exposure; without exposure there is none."""
        found = tests.rates(
            np.array([0, 0, 2]), np.array([3.0, 5.0, 7.0]), np.array([2.0, 2.0, 1.0]), 4
        )

        np.testing.assert_equal(found, [2.0, np.nan, 7.0, np.nan])


class TestWindows:
    def test_aligned_to_the_clock(self):
        """A bucket belongs to the window it begins in; windows without one are not there."""
        times = np.array([4, 5, 9, 20, 21], dtype=np.int64) * 60_000_000
        found = windows(times, timedelta(minutes=5))

        assert [0, 5, 20] == (found.starts // 60_000_000).tolist()
        assert ([0, 1, 1, 2, 2], [1.0, 5.0, 9.0]) == (
            found.of_bucket.tolist(),
            found.sum(np.array([1.0, 2, 3, 4, 5])).tolist(),
        )
        assert (0, 0) == tuple(map(len, (windows(times[:0], timedelta(minutes=5)).starts,
                                         windows(times[:0], timedelta(minutes=5)).of_bucket)))  # fmt: skip

    def test_binned(self):
        """Sums by index, up to the last one asked for."""
        assert [3.0, 0.0, 4.0, 0.0] == binned(
            np.array([0, 2, 0]), np.array([1.0, 4.0, 2.0]), 4
        ).tolist()

    def test_joined_by_time(self):
        """The value of the bucket that begins just then; elsewhere what stands for missing."""
        own = Series(
            metric=Metric.ERRORS,
            times=as_times(np.array([10, 20, 30], dtype=np.int64)),
            values=np.array([1.0, 2.0, 3.0]),
        )
        at = np.array([5, 10, 15, 30, 35], dtype=np.int64)
        none = Series(metric=Metric.ERRORS, times=own.times[:0], values=own.values[:0])

        assert [-1.0, 1.0, -1.0, 3.0, -1.0] == at_times(own, at, missing=-1.0).tolist()
        assert [1.0, 2.0, 3.0] == at_times(own, np.array([10, 20, 30]), missing=0.0).tolist()
        assert [3.0, 1.0, 2.0] == at_times(own, np.array([30, 10, 20]), missing=0.0).tolist()
        assert [7.0] * 5 == at_times(none, at, missing=7.0).tolist()
