"""The guard and the verdict of a cell, piece by piece, against closed forms and small examples."""

from datetime import date, timedelta
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from attrs import evolve
from scipy import stats
from sites import MONDAY as START
from sites import reference_and_weeks
from worlds import World

from driftline._stats.multiplicity import weighted_max_t
from driftline.drift._block import Options, _direction, _worth, enough_splits, judge
from driftline.drift._days import Days
from driftline.drift._family import (
    ALL,
    CAMERA,
    CAMERA_CLASS,
    CLASS,
    OTHER,
    SHARES,
    Candidate,
    Reference,
    Sides,
    spread,
)
from driftline.drift._guard import (
    CLASSES,
    LARGEST_RATIO,
    LONGEST_HISTORY,
    MEAN_RATIO,
    SUMMARIES,
    TRUE_RATIO,
    Baseline,
    History,
    Inflation,
    _at,
    _bounded,
    _known,
    _nanmean,
    _pooled,
    _ratio,
    _true,
    chi_square_quantile,
)
from driftline.drift._report import Memory
from driftline.profiles import CONFIDENCE, Feature, Profile

MONDAY = date(2026, 1, 5)


def memory(means, *, first=0, name="confidence", skip=()):
    """What is remembered of days; ``means``: (n_days, n_cameras + 1, n_summaries)."""
    days = [i for i in range(len(means)) if i not in skip]
    return Memory(
        days=[(MONDAY + timedelta(days=first + i)).isoformat() for i in days],
        cameras=[f"cam-{u}" for u in range(means.shape[1] - 1)],
        means={name: means[days].tolist()},
    )


def week(means, *, first, flagged=False, **how):
    """An earlier report, as far as the guard looks at it."""
    return SimpleNamespace(memory=memory(means, first=first, **how), flagged=flagged)


class TestBaseline:
    """Two reference weeks of three cameras, and a week in which one was silent on two days."""

    PART = timedelta(hours=6)

    @pytest.fixture(scope="class")
    @staticmethod
    def sides():
        reference, (week,) = reference_and_weeks(
            World(frames=12, cameras=3), 0, 1, reference_weeks=2
        )
        tuesday = START + timedelta(weeks=2, days=1)
        silent = Profile.merge(
            week.slice(end=tuesday),
            week.slice(camera=["cam-1", "cam-3"], start=tuesday, end=tuesday + timedelta(days=2)),
            week.slice(start=tuesday + timedelta(days=2, hours=6)),  # and a morning without any
        )
        laid = Reference.of(reference, features=("confidence", "class"), part=TestBaseline.PART)
        return Baseline(reference=laid), Days.of(silent, part=TestBaseline.PART)

    @staticmethod
    def curve(counts, at, *, ordered):
        """Share at or below each bin, or in it; None of nothing."""
        if not counts.sum():
            return None
        return np.array([(counts[: b + 1] if ordered else counts[b]).sum() for b in at]) / (
            counts.sum()
        )

    @pytest.mark.parametrize("name", ["confidence", "class"])
    def test_by_definition(self, sides, name):
        """How far a day lay, part by part, from days of its kind at the reference's quantiles.

        Parts count as much as they did for that camera in the reference, cameras as much as they
        did there: those that were there.
        """
        baseline, week = sides
        reference, ordered = baseline.reference, name == "confidence"
        mine, its = reference.by_camera[name], reference.count(week, name)
        found = np.array(baseline.summarise(week).means[name])
        traffic = mine.sum(axis=3)
        for d, weekend in enumerate(week.weekend):
            alike = mine[reference.days.weekend == weekend].sum(axis=0)
            cameras = {}
            for c in range(3):
                total = mine[:, :, c].sum(axis=(0, 1))
                at = (
                    [np.searchsorted(np.cumsum(total), q * total.sum()) for q in SUMMARIES]
                    if ordered
                    else range(5)
                )
                parts = [
                    (traffic[:, p, c].sum(), self.curve(its[d, p, c], at, ordered=ordered)
                     - self.curve(alike[p, c], at, ordered=ordered))
                    for p in range(4) if its[d, p, c].sum()
                ]  # fmt: skip
                if parts:
                    shares, far = zip(*parts, strict=True)
                    cameras[c] = np.average(far, axis=0, weights=shares)
            expected = [cameras.get(c, np.full(5, np.nan)) for c in range(3)]
            of_camera = [traffic[:, :, c].sum() for c in cameras]
            expected.append(np.average(list(cameras.values()), axis=0, weights=of_camera))

            np.testing.assert_allclose(found[d], expected, atol=1e-6)
        assert np.isnan(found).any(axis=(1, 2)).tolist() == [False, True, True] + [False] * 4

    def test_of_itself(self, sides):
        """The reference is remembered as any week is, by name of day and camera."""
        own, days = sides[0].own, sides[0].reference.days

        assert (tuple(map(str, days.dates)), days.cameras) == (own.days, own.cameras)
        assert own.means == sides[0].summarise(days).means

    @pytest.mark.parametrize(("end", "kinds"), [(6, [False]), (7, [False, True])])
    def test_kinds_of_day(self, end, kinds):
        """From two days of weekend on, weekends are compared with weekends."""
        profile, _ = reference_and_weeks(World(frames=12, cameras=1), 0, 0, reference_weeks=1)
        until = profile.slice(end=START + timedelta(days=end))
        reference = Reference.of(until, features=("confidence",), part=self.PART)
        found = Baseline(reference=reference)._kinds

        assert kinds == list(found)
        assert end == sum(of_kind.sum() for of_kind in found.values())

    def test_most_frequent_classes(self):
        """The class mix is summarised by the eight most frequent classes, in order of their ids."""
        counts = np.array([9, 1, 8, 7, 2, 6, 5, 4, 3, 10])[None, None, None]
        found = Baseline._thresholds(counts, ordered=False)

        assert CLASSES == 8
        assert [[0, 2, 3, 5, 6, 7, 8, 9]] == found.tolist()


class TestRatio:
    def test_is_the_squared_t_of_one_sample(self):
        """The difference of two weeks over what one variance of all their days gives."""
        values = np.random.default_rng(0).normal(size=14)
        values[3] = np.nan  # a day without data
        a, b = values[:7][np.isfinite(values[:7])], values[7:]
        expected = (b.mean() - a.mean()) ** 2 / (np.nanvar(values, ddof=1) * (1 / 6 + 1 / 7))

        assert _ratio(values[None, :, None, None]) == pytest.approx(np.array([[expected]]))

    def test_averages_over_summaries(self):
        """One number a unit: the mean over what is known of its summaries."""
        values = np.random.default_rng(1).normal(size=(14, 1, 3))
        values[:, 0, 2] = 0.5  # no day differs: nothing is known
        both = [_ratio(values[None, :, :, [s]])[0, 0] for s in (0, 1)]

        assert _ratio(values[None])[0, 0] == pytest.approx(np.mean(both))
        assert np.isnan(_ratio(values[None, :, :, [2]])[0, 0])

    def test_needs_four_days_each(self):
        """A pair with a week of fewer days is unknown."""
        for missing, known in ((3, True), (4, False)):
            for side in (0, 7):
                values = np.random.default_rng(2).normal(size=14)
                values[side : side + missing] = np.nan
                assert known is bool(np.isfinite(_ratio(values[None, :, None, None])[0, 0]))

    def test_mean_of_what_is_known(self):
        """Unknown numbers are left out; the mean of none is unknown."""
        found = _nanmean(np.array([[1.0, np.nan, 5.0], [np.nan, np.nan, np.nan]]), axis=1)

        np.testing.assert_equal(found, [3.0, np.nan])


class TestFactor:
    def test_lower_bound(self):
        """The sum of n ratios is chi-square with n degrees: the bound divides by its quantile."""
        ratios = np.array([3.0, np.nan, 5.0, 4.0, 2.0])

        assert _bounded(ratios, 0.9, 1.0) == pytest.approx(14 / chi_square_quantile(0.9, 4))
        assert _bounded(ratios, 0.9, 2.0) == pytest.approx(28 / chi_square_quantile(0.9, 8))
        assert 1.0 == _bounded(ratios / 10, 0.9, 1.0)

    def test_fewest(self):
        """Of fewer than three independent ratios nothing is concluded."""
        assert 1.0 == _bounded(np.array([9.0, 9.0]), 0.9, 1.0)
        assert 1.0 < _bounded(np.array([9.0, 9.0, 9.0]), 0.9, 1.0)
        assert 1.0 < _bounded(np.array([9.0, 9.0]), 0.9, 1.5)

    def test_pooled_where_shown(self):
        """Where the bound shows an excess the median-unbiased factor counts; elsewhere none."""
        much, little = np.full(6, 4.0), np.full(6, 1.3)

        assert _pooled([much, much], 1.0) == pytest.approx(24 / chi_square_quantile(0.5, 6))
        assert 1.0 == _pooled([little, little], 1.0)
        assert _pooled([much, 3 * much, np.full(6, np.nan)], 1.0) == pytest.approx(
            48 / chi_square_quantile(0.5, 6)
        )

    def test_from_ratio_to_t(self):
        """Calm weeks need no factor; the reference's own moods take part of a large one back."""
        assert 1.0 == _true(1.0, 4)
        for true, mean in zip(TRUE_RATIO, MEAN_RATIO, strict=True):
            assert _true(mean, 1) == pytest.approx(true)
            assert _true(mean, 4) == pytest.approx(true / (1 + (true - 1) * 3 / 33))
        assert TRUE_RATIO[0] < _true(1.1, 1) < TRUE_RATIO[1]

    def test_quantile(self):
        """Within 1 % of chi-square's."""
        assert chi_square_quantile(0.9, 12) == pytest.approx(stats.chi2.ppf(0.9, 12), rel=0.01)

    def test_of_a_cell(self):
        """Cells of all cameras have their feature's factor, single ones at most the cameras'."""
        inflation = Inflation(together={"area": 3.0, "confidence": 1.5}, cameras=2.0)
        cells = [Candidate(feature=f, camera=c) for f in ("area", "confidence", "other")
                 for c in (-1, 0)]  # fmt: skip

        assert [3.0, 2.0, 1.5, 1.5, 1.0, 1.0] == [inflation.phi(cell) for cell in cells]


class TestHistory:
    def test_days_find_their_place(self):
        """Every day of the calendar has its row, in whatever order reports come; gaps are nan."""
        means = np.arange(28.0)[:, None, None] * np.ones((1, 2, 1))
        history = History.of(
            memory(means[:7]),
            [week(means[14:21], first=14, flagged=True), week(means[7:14], first=7, skip=(2,))],
        )
        together = history.means["confidence"][:, -1, 0]

        np.testing.assert_equal(together, [*range(9), np.nan, *range(10, 21)])
        assert [False] * 14 + [True] * 7 == history.flagged.tolist()
        assert 14 == history.newest

    def test_reference_alone(self):
        """Before the first week the reference is the newest."""
        history = History.of(memory(np.zeros((28, 2, 1))), [])

        assert (0, 28) == (history.newest, len(history.flagged))

    def test_other_reports_are_passed_over(self):
        """A report without the feature, of other cameras or without days adds nothing."""
        own = memory(np.ones((7, 2, 1)))
        others = [
            week(np.ones((7, 2, 1)), first=7, name="area"),
            week(np.ones((7, 3, 1)), first=14),
            SimpleNamespace(memory=Memory(), flagged=True),
        ]
        history = History.of(own, others)

        assert 7 == np.isfinite(history.means["confidence"][:, -1, 0]).sum()
        assert not history.flagged.any()

    def test_pairs_keep_to_the_weekday_of_the_newest(self):
        """Pairs of weeks step back from the newest week; those that begin daily are all there."""
        rng = np.random.default_rng(3)
        means = rng.normal(size=(31, 2, 2))
        history = History.of(memory(means[:24]), [week(means[24:], first=24)])
        ratios = history.ratios("confidence", step=7)
        daily = history.ratios("confidence", step=1)

        assert ((3, 2), (18, 2)) == (ratios.shape, daily.shape)
        for row, start in zip(ratios, (3, 10, 17), strict=True):
            pair = _ratio(means[None, start : start + 14])[0]
            assert row[-1] == pytest.approx(min(pair[-1], LARGEST_RATIO))
            assert daily[start][-1] == row[-1]

    def test_pairs_half_in_flagged_weeks_are_left_out(self):
        """A step that was told of is no mood; two flagged weeks differ as any two do."""
        means = np.random.default_rng(4).normal(size=(35, 2, 1))
        earlier = [week(means[i : i + 7], first=i, flagged=i in (14, 21)) for i in (28, 21, 14, 7)]
        history = History.of(memory(means[:7]), earlier)

        assert 2 == len(history.ratios("confidence", step=7))  # 0+1 and 2+3, not 1+2 and 3+4

    def test_one_pair_counts_no_more_than_so_much(self):
        """A single odd week is not a site's nature."""
        means = np.zeros((14, 2, 1))
        means[7:] = 1.0
        means[::2] += 1e-3

        assert LARGEST_RATIO == History.of(memory(means), []).ratios("confidence", step=7)[0, -1]

    def test_too_short(self):
        """Thirteen days hold no pair of weeks."""
        history = History.of(memory(np.zeros((13, 3, 2))), [])

        assert (0, 3) == history.ratios("confidence", step=7).shape

    def test_half_a_year(self):
        """Only the newest 27 weeks count, and older days cost nothing."""
        means = np.random.default_rng(5).normal(size=(300, 2, 1))
        history = History.of(memory(means[:280]), [week(means[280:287], first=280)])
        newest = History.of(memory(means[98:280], first=98), [week(means[280:287], first=280)])

        assert 26 == len(history.ratios("confidence", step=7))
        assert LONGEST_HISTORY == len(history.flagged)
        np.testing.assert_equal(
            newest.ratios("confidence", step=7), history.ratios("confidence", step=7)
        )

    def test_days_far_apart(self):
        """Days thousands of years apart take no more room than half a year does."""
        means = np.zeros((2, 2, 1))
        for days in (("0001-01-01", "9999-12-31"), ("2026-01-01", "9999-12-31")):
            own = Memory(days=days, cameras=("c",), means={"confidence": means})
            history = History.of(own, [week(np.ones((7, 2, 1)), first=7)])

            assert (LONGEST_HISTORY, 2, 1) == history.means["confidence"].shape
            assert 1 == np.isfinite(history.means["confidence"][:, -1, 0]).sum()

    def test_no_week_has_days(self):
        """Where no earlier report has kept its days the reference is the newest."""
        nothing = SimpleNamespace(memory=Memory(), flagged=True)
        history = History.of(memory(np.zeros((28, 2, 1))), [nothing])

        assert (0, 28) == (history.newest, len(history.flagged))


class TestInflation:
    @staticmethod
    def moody(size, *, weeks=12):
        """Days of two cameras and of both, of weeks with moods of that size."""
        rng = np.random.default_rng(6)
        mood = np.repeat(rng.normal(0, size, (weeks, 1, 1)), 7, axis=0)
        return rng.normal(size=(7 * weeks, 3, 5)) + mood

    def test_calm(self):
        """Weeks that are their days need no factor."""
        inflation = Inflation.of(memory(self.moody(0.0)), [])

        assert ({"confidence": 1.0}, 1.0) == (inflation.together, inflation.cameras)

    def test_moods(self):
        """Weeks that differ by as much as days do are allowed for, by more where they differ more."""
        some = Inflation.of(memory(self.moody(1.0)), [])
        severe = Inflation.of(memory(self.moody(2.0)), [])

        assert 1.5 < some.together["confidence"] < severe.together["confidence"]
        assert 1.0 <= some.cameras <= some.together["confidence"]

    def test_by_definition(self):
        """Of each feature the larger of what all show together and its own bound; see `Inflation`.

        What all show is the larger of pairs that begin weekly and daily; cells of one camera are
        allowed for what cameras show, and no more than all together.
        """
        larger = {"daily": 0, "own": 0, "camera": 0}
        for seed in range(12):
            rng = np.random.default_rng(seed)
            moods = rng.normal(0, 0.9, (8, 1, 1)) * rng.uniform(0.2, 1.2, (1, 3, 1))
            moods = np.roll(np.repeat(moods, 7, axis=0), seed % 2 * 3, axis=0)  # or from Thursdays
            own = Memory(
                days=[(MONDAY + timedelta(days=i)).isoformat() for i in range(56)],
                cameras=["cam-0", "cam-1"],
                means={
                    name: (rng.normal(size=(56, 3, 5)) + part * moods).tolist()
                    for name, part in (("area", 0.3), ("confidence", 1.4))
                },
            )
            history = History.of(own, [])
            weekly, daily = (
                {name: history.ratios(name, step=step) for name in own.means} for step in (7, 1)
            )
            by_week = _pooled([r[:, -1] for r in weekly.values()], 1)
            by_day = _pooled([r[:, -1] for r in daily.values()], 1.5 / 7)
            single = _pooled([r[:, :-1].mean(axis=1) for r in weekly.values()], 2)
            together = max(by_week, by_day)
            bounds = {name: _bounded(r[:, -1], 0.9, 1.0) for name, r in weekly.items()}
            found = Inflation.of(own, [])

            assert found.together == pytest.approx(
                {name: _true(max(together, bound), 8) for name, bound in bounds.items()}
            )
            assert found.cameras == pytest.approx(_true(min(together, single), 8))
            larger["daily"] += by_day > by_week
            larger["own"] += max(bounds.values()) > together
            larger["camera"] += single < together
        assert all(0 < times < 12 for times in larger.values()), larger

    def test_nothing_known(self):
        """From a reference of one week nothing is concluded."""
        inflation = Inflation.of(memory(self.moody(2.0, weeks=1)), [])

        assert ({"confidence": 1.0}, 1.0) == (inflation.together, inflation.cameras)


class TestCounts:
    def test_at_thresholds(self):
        """Cumulative shares at each camera's own bins; plain shares where bins have no order."""
        counts = np.array([[[[1, 2, 5], [0, 0, 0]]]])
        at = np.array([[0, 1], [1, 2]])
        ordered, total = _at(counts, at, ordered=True)
        plain, _ = _at(counts, at, ordered=False)

        assert [[8, 0]] == total[0].tolist()
        assert [[1 / 8, 3 / 8], [0, 0]] == ordered[0, 0].tolist()
        assert [[1 / 8, 2 / 8], [0, 0]] == plain[0, 0].tolist()

    def test_classes_of_the_reference(self):
        """Counts by class are put in the reference's order; classes it has not are left out."""
        counts = np.array([[5, 6, 7]])

        assert [[0, 7, 5]] == _known(counts, np.array([2, 4, 9]), np.array([1, 9, 2])).tolist()
        assert [[0]] == _known(counts, np.array([2, 4, 9]), np.zeros(0, dtype=int)).tolist()
        assert [[0, 0]] == _known(counts, np.array([2, 4, 9]), np.array([7, 8])).tolist()

    def test_classes_of_both(self):
        """Counts by class are spread over the classes of both sides."""
        wanted = np.array([1, 2, 4, 9])

        assert [[0, 5, 0, 6]] == spread(np.array([[5, 6]]), np.array([2, 9]), wanted).tolist()
        assert [[0, 0, 0, 0]] == spread(np.zeros((1, 1)), np.zeros(0, dtype=int), wanted).tolist()


class TestWorth:
    @pytest.mark.parametrize(
        ("difference", "share", "worth"),
        [
            ([0.05, 0.0], 0.5, True),  # D itself
            ([0.0, -0.05], 0.5, True),
            ([0.049, 0.0], 0.5, False),
            ([0.012, 0.0], 0.02, True),  # a rare event by half more, and by a hundredth
            ([-0.012, 0.0], 0.98, True),  # the same seen from above
            ([0.012, 0.0], 0.03, False),  # less than half
            ([0.009, 0.0], 0.01, False),  # less than a hundredth
            ([0.01, 0.0], 0.02, True),  # exactly both
        ],
    )
    def test_effects(self, difference, share, worth):
        """At least 0.05 of the distribution, or half of a tail that moved by a hundredth."""
        cell = Candidate(feature="confidence", pooled=np.array([share, 0.5]))

        assert worth is _worth(cell, np.array(difference), 0, 0.05)

    @pytest.mark.parametrize(
        ("difference", "column", "ordered", "direction"),
        [
            ([0.1, 0.3, 0.1], 1, True, "lower"),
            ([-0.1, -0.3, -0.1], 1, True, "higher"),
            ([0.3, 0.0, -0.2], 0, True, "wider"),
            ([-0.2, 0.0, 0.3], 2, True, "narrower"),
            ([0.3, 0.0, -0.15], 0, True, "wider"),  # half of the largest is enough
            ([0.3, 0.0, -0.14], 0, True, "lower"),
            ([0.3, 0.0, -0.3], 1, True, ""),
            ([0.3, 0.0, -0.3], 0, False, "more"),
            ([0.3, 0.0, -0.3], 2, False, "fewer"),
        ],
    )
    def test_directions(self, difference, column, ordered, direction):
        """Shares below a threshold that rose are lower values; both ways at once is a width."""
        assert direction == _direction(np.array(difference), column, ordered=ordered)


def two_means(values, weights, current):
    """Difference of two weighted means, and its error from one scatter within both."""
    w, marks = weights[:, None], current[:, None]
    mean, sums = {}, {}
    for side in (True, False):
        mine = w * (marks == side)
        sums[side] = mine.sum()
        mean[side] = (mine * values).sum(axis=0) / sums[side]
    rss = (w * (values - np.where(marks, mean[True], mean[False])) ** 2).sum(axis=0)
    error = np.sqrt(rss / (len(values) - 2) * (1 / sums[True] + 1 / sums[False]))
    return mean[True] - mean[False], error


class TestJudge:
    """Ten days of one kind, three of them of the week: 120 relabellings, all of them tried."""

    SIDES = SimpleNamespace(
        current=np.arange(10) >= 7,
        kind=np.zeros(10, dtype=bool),
        reference=SimpleNamespace(ordered=lambda name: name != "class"),
    )
    OPTIONS = Options(alpha=0.05, permutations=120, seed=0, min_effect=0.05)

    @staticmethod
    def cells():
        """One of all cameras, one of a camera, whose neighbours moved with it, one of classes."""
        rng = np.random.default_rng(8)
        made = []
        for feature, group, k, shift in (
            ("confidence", ALL, 3, 0.06), ("area", CAMERA, 2, 0.3), ("class", ALL, 2, -0.004),
        ):  # fmt: skip
            values = rng.normal(0, 0.03, size=(10, k))
            values[7:] += shift * np.arange(1, k + 1)
            judged = values if group == ALL else values - rng.normal(0.1, 0.02, size=(10, k))
            made.append(
                Candidate(feature=feature, group=group, values=values, judged=judged,
                          weight=rng.uniform(0.4, 1, 10), pooled=np.full(k, 0.4))
            )  # fmt: skip
        return made

    @staticmethod
    def phi(cell):
        return {"confidence": 1.0, "area": 2.25, "class": 1.44}[cell.feature]

    def test_by_definition(self):
        """Least squares on every relabelling: evidence, p-values, and an interval cell by cell."""
        cells, current = self.cells(), self.SIDES.current
        found = judge(cells, self.SIDES, self.phi, self.OPTIONS)
        days = range(10)
        splits = [np.isin(days, three) for three in combinations(days, 3)]
        t = np.array(
            [
                [np.abs(np.divide(*two_means(c.judged, c.weight, split))).max() for c in cells]
                for split in splits
            ]
        )
        factor = np.sqrt([self.phi(c) for c in cells])
        truth = next(i for i, split in enumerate(splits) if (split == current).all())
        evidence = t[truth] / factor
        adjusted = weighted_max_t(
            t, evidence, np.array([c.group for c in cells]), SHARES, alpha=0.05
        )
        for i, (cell, one) in enumerate(zip(cells, found, strict=True)):
            difference, error = two_means(cell.values, cell.weight, current)
            reach = np.quantile(t[:, i], 0.95) * error * factor[i]
            ends = np.abs(difference) - reach, np.abs(difference) + reach
            own = np.abs(np.divide(*two_means(cell.judged, cell.weight, current)))

            assert evidence[i] == pytest.approx(one.evidence)
            assert (t[:, i] >= evidence[i] * (1 - 1e-9)).mean() == pytest.approx(one.p_unadjusted)
            assert adjusted[i] == pytest.approx(one.p_value)
            assert np.abs(difference).max() == pytest.approx(one.effect)
            assert max(0.0, ends[0].max()) == pytest.approx(one.effect_low)
            assert min(1.0, ends[1].max()) == pytest.approx(one.effect_high)
            assert (own.argmax(), factor[i] ** 2) == (one.column, pytest.approx(one.phi))

    def test_alarms(self):
        """What is significant, at exactly the level too, and worth it alarms, and says where to."""
        moved, shifted, classes = self.cells()
        gone = classes.values - 0.2 * self.SIDES.current[:, None]
        cells = [moved, shifted, evolve(classes, values=gone, judged=gone), classes]
        found = judge(cells, self.SIDES, self.phi, self.OPTIONS)
        least = found[0].p_value

        def alarms(cell, **options):
            return judge([cell], self.SIDES, self.phi, evolve(self.OPTIONS, **options))[0].flagged

        assert [True, True, True, False] == [one.flagged for one in found]
        assert ["lower", "lower", "fewer"] == [one.direction for one in found[:3]]
        assert alarms(moved, alpha=least)
        assert not alarms(moved, alpha=least * 0.999)
        assert alarms(moved, min_effect=found[0].effect * 0.999)
        assert not alarms(moved, min_effect=found[0].effect * 1.001)

    def test_interval_is_of_shares(self):
        """A difference of shares is from 0 to 1, and so is its interval."""
        cells = [
            evolve(c, values=c.values * 40 * scale, judged=c.judged)
            for c in self.cells()[:1]
            for scale in (1e-4, 1.0)
        ]
        none, all_of_it = judge(cells, self.SIDES, self.phi, self.OPTIONS)

        assert 0.0 <= none.effect_low < none.effect < none.effect_high < 0.02
        assert 1.0 == all_of_it.effect_high

    def test_kinds_of_day_are_kept_apart(self):
        """A week that has a weekend in it differs from five weekdays by no weekend's doing."""
        rng = np.random.default_rng(9)
        current, kind = np.arange(16) >= 9, np.isin(np.arange(16), (5, 6, 14, 15))
        values = rng.normal(0, 0.01, size=(16, 1)) + 0.5 * kind[:, None]
        cell = Candidate(feature="confidence", values=values, judged=values, weight=np.ones(16),
                         pooled=np.full(1, 0.5))  # fmt: skip
        sides = SimpleNamespace(**{**vars(self.SIDES), "current": current, "kind": kind})
        (found,) = judge([cell], sides, self.phi, self.OPTIONS)

        assert found.effect < 0.02
        assert found.p_value > 0.05

    def test_enough_days(self):
        """The rarest order of days must be rarer than the level asks of the largest group, twice."""
        said = (
            "3 days of the week and 7 of the reference can be told apart in 120 ways, "
            "466 are needed for level 0.01"
        )

        assert not enough_splits(self.SIDES, 0.05)
        assert said == enough_splits(self.SIDES, 0.01)


SHARPNESS = Feature(name="sharpness", level="frame", edges=np.linspace(0, 1, 11))


def counted(first, boxes, *, cameras, class_ids, rng, sharp=50):
    """Whole days from `first` on; ``boxes``: (n_days, n_cameras, n_classes) how many each has."""
    shares = rng.dirichlet(np.ones(CONFIDENCE.n_bins), size=boxes.shape[1:])
    return Profile.from_counts(
        {
            "confidence": rng.multinomial(boxes, shares),
            "sharpness": rng.multinomial(sharp * (boxes.sum(axis=2) > 0), np.ones(12) / 12),
        },
        periods=[START + timedelta(days=first + day) for day in range(len(boxes))],
        cameras=cameras,
        class_ids=class_ids,
        frames=50 * (boxes.sum(axis=2) > 0),
        features=(CONFIDENCE, SHARPNESS),
    )


class TestFamily:
    """Three cameras, of which one is gone in the week and one was there on Monday and Tuesday."""

    FEATURES = ("confidence", "sharpness", "class")
    NEEDS = "100 are needed on each side"

    @pytest.fixture(scope="class")
    @staticmethod
    def sides():
        rng = np.random.default_rng(10)
        daily = np.array([[30, 20, 1], [30, 30, 1], [30, 0, 0]])
        reference = counted(0, np.tile(daily, (28, 1, 1)), cameras=["a", "b", "c"],
                            class_ids=[0, 2, 7], rng=rng)  # fmt: skip
        now = np.tile([[31, 0, 2, 21], [32, 0, 3, 22], [9, 9, 9, 9]], (7, 1, 1))
        now[2:, 0] = 0
        week = counted(28, now, cameras=["b", "a", "new"], class_ids=[0, 1, 7, 2], rng=rng)
        laid = Reference.of(reference, features=TestFamily.FEATURES, part=timedelta(days=1))
        return Sides(reference=laid, week=Days.of(week, part=timedelta(days=1)))

    def test_cells(self, sides):
        """Each feature of all and of each camera, then of each class of enough boxes, and both."""
        pairs = [(0, (0, 1, 2)), (1, (0, 1))]  # class 7 had 28 boxes
        expected = [
            (name, camera, -1, OTHER if name == "sharpness" else ALL if camera < 0 else CAMERA)
            for name in self.FEATURES
            for camera in (-1, 0, 1, 2)
        ] + [
            ("confidence", camera, class_index, CLASS if camera < 0 else CAMERA_CLASS)
            for class_index, cameras in pairs
            for camera in (-1, *cameras)
        ]
        for cells in (sides.cells(), sides.candidates()):
            assert expected == [(c.feature, c.camera, c.class_index, c.group) for c in cells]

    def test_week_is_counted_as_the_reference_is(self, sides):
        """Cameras and classes find their place by name; what the reference has not is left out."""
        of_camera, of_pair = sides.by_camera["confidence"][28:], sides.by_pair["confidence"][28:]
        mix = sides.by_camera["class"]

        assert [[57, 54, 0]] * 2 + [[57, 0, 0]] * 5 == of_camera.sum(axis=(1, 3)).tolist()
        assert [[32, 22, 31, 21, 0]] * 2 + [[32, 22, 0, 0, 0]] * 5 == (
            of_pair.sum(axis=(1, 3)).tolist()
        )
        assert [0, 1, 2, 7] == sides.class_ids.tolist()
        assert [30, 0, 20, 1] == mix[0, 0, 0].tolist()
        assert [32, 0, 22, 3] == mix[28, 0, 0].tolist()
        assert [False] * 28 + [True] * 7 == sides.current.tolist()
        assert ([False] * 5 + [True] * 2) * 5 == sides.kind.tolist()

    def test_thresholds(self, sides):
        """The curve at a threshold is the share of the camera's boxes up to its bin."""
        cells = {(c.feature, c.camera, c.class_index): c for c in sides.candidates()}
        cell, whole = cells["confidence", 0, -1], 0
        for days in (sides.reference.days, sides.week):
            only = np.where(np.array(days.cameras) == "a", 0, -1)
            whole = whole + days.whole("confidence", unit=only, n_units=1)[0]

        assert np.cumsum(whole)[cell.at] / whole.sum() == pytest.approx(cell.pooled)
        assert (35, len(cell.at)) == cell.values.shape == cell.judged.shape
        assert len(cell.at) > 20

    def test_reasons(self, sides):
        """A camera that is gone or was there for two days is not tested, and it is said why."""
        reasons = {(c.feature, c.camera, c.class_index): c.reason for c in sides.candidates()}
        two = "2 days with {} this week and 20 in the reference, 3 and 7 are needed"
        none = "0 {} this week and 0 in the reference in comparable hours, " + self.NEEDS

        assert two.format("boxes") == reasons["confidence", 1, -1]
        assert two.format("frames") == reasons["sharpness", 1, -1]
        assert none.format("boxes") == reasons["confidence", 2, -1]
        assert none.format("boxes") == reasons["confidence", 2, 0]
        assert none.format("frames") == reasons["sharpness", 2, -1]
        for cell in (("confidence", -1, -1), ("confidence", 0, -1), ("confidence", -1, 1),
                     ("confidence", 0, 0), ("sharpness", 0, -1), ("class", -1, -1)):  # fmt: skip
            assert not reasons[cell]

    @pytest.mark.parametrize(("each", "tested"), [(14, False), (15, True)])
    def test_fewest(self, each, tested):
        """A hundred boxes on either side are enough, and 98 are not."""
        rng = np.random.default_rng(11)
        week = np.full((7, 1, 1), each)
        week[6] = 100 - 6 * 15 if tested else each
        sides = Sides(
            reference=Reference.of(
                counted(0, np.full((14, 1, 1), 300), cameras=["a"], class_ids=[0], rng=rng),
                features=("confidence", "sharpness"),
                part=timedelta(days=1),
            ),
            week=Days.of(
                counted(14, week, cameras=["a"], class_ids=[0], rng=rng, sharp=14),
                part=timedelta(days=1),
            ),
        )
        cells = sides.candidates()
        joint = (
            "98 {} this week and {} in the reference from cameras with 3 days this week and "
            "7 in the reference in comparable hours, " + self.NEEDS
        )
        single = "98 boxes this week and 4,200 in the reference in comparable hours, " + self.NEEDS
        boxes, frames = joint.format("boxes", "4,200"), joint.format("frames", "700")

        assert ("" if tested else boxes) == cells[0].reason
        assert ("" if tested else single) == cells[1].reason
        assert frames == cells[2].reason
        assert [tested] * 2 + [False] * 2 + [tested] * 2 == [not c.reason for c in cells]

    @pytest.mark.parametrize(
        ("before", "now", "tested"), [(7, 3, True), (6, 7, False), (7, 2, False)]
    )
    def test_fewest_days(self, before, now, tested):
        """Seven days of the reference and three of the week are enough; fewer of either are not."""
        rng = np.random.default_rng(12)
        of = {"cameras": ["a"], "class_ids": [0], "rng": rng}
        # Thursday to Wednesday, so that the first days of the week are of either kind of day.
        reference = counted(3, np.full((before, 1, 1), 300), **of)
        week = counted(12, np.full((now, 1, 1), 300), **of)  # from Saturday on
        day = timedelta(days=1)
        sides = Sides(
            reference=Reference.of(reference, features=("confidence",), part=day),
            week=Days.of(week, part=day),
        )

        assert [tested] * 4 == [not cell.reason for cell in sides.candidates()]
