"""A week against the reference: what it says, and what it says when it cannot say."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from attrs import evolve
from scipy import stats
from sites import CLASS_NAMES, FEATURES, MONDAY, profile, reference_and_weeks
from worlds import CALM, SHIFTS, Shift, Site, World

from driftline.drift import DriftDetector, DriftReport
from driftline.errors import ContextMismatch, InputError
from driftline.profiles import CONFIDENCE, Feature, Profile
from driftline.records import Context, Metric

SMALL = World(frames=80)


@pytest.fixture(scope="module")
def calm():
    """Four reference weeks and four calm weeks of five cameras.

    One calm week in a hundred is flagged by design; this draw has none.
    """
    return reference_and_weeks(SMALL, 4, 4)


@pytest.fixture(scope="module")
def detector(calm):
    return DriftDetector(reference=calm[0], permutations=500)


def shifted(shift, seed=1, **world):
    """The first week after the reference, with a shift."""
    w = evolve_world(**world)
    return reference_and_weeks(w, seed, 1, shift=shift, shifted_from=4)


def evolve_world(**changes):
    from dataclasses import replace

    return replace(SMALL, **changes)


def without(week, camera):
    return week.slice(camera=[c for c in week.cameras if c != camera])


class TestCalm:
    def test_calm_weeks(self, calm, detector):
        """Calm weeks are calm, and confirmed as such once three are known."""
        reports = []
        for week in calm[1]:
            reports.append(detector.compare(week, previous=reports))

        assert [r.verdict for r in reports] == ["calm"] * 4
        assert [r.drifted for r in reports] == [None, False, False, False]

    def test_plain_ks_alarms(self, calm):
        """The plain rule alarms on the same calm weeks."""
        plain = DriftDetector(reference=calm[0], method="ks")

        assert all(plain.compare(week).flagged for week in calm[1])

    def test_same_seed_same_report(self, calm, detector):
        """Nothing is random between two runs."""
        assert detector.compare(calm[1][0]).to_json() == detector.compare(calm[1][0]).to_json()


class TestFound:
    def test_confidence_fell(self):
        """A large fall is flagged in all cameras together, with its direction and size."""
        reference, (week,) = shifted(Shift(confidence=-0.12))
        report = DriftDetector(reference=reference).compare(week)
        cell = report["confidence"]

        assert report.verdict == "watch"
        assert cell.flagged
        assert cell.direction == "lower"
        assert cell.effect_low < cell.effect < cell.effect_high
        assert cell.effect > 0.15
        assert CONFIDENCE.edges[0] < cell.at < CONFIDENCE.edges[-1]
        assert cell.p_value <= 0.01
        assert cell.p_unadjusted <= cell.p_value

    def test_names_the_camera(self):
        """One camera that moved is named, and no other is."""
        reference, (week,) = shifted(Shift(moved=-2.0))
        report = DriftDetector(reference=reference).compare(week)

        assert report["area", "cam-1"].flagged
        assert report["area", "cam-1"].direction == "lower"
        assert {c.camera for c in report.flags} <= {None, "cam-1"}

    def test_names_the_class(self):
        """A class that is gone is found in the class mix, by index."""
        reference, (week,) = shifted(SHIFTS["a class gone"])
        report = DriftDetector(reference=reference).compare(week)

        assert report["class"].flagged
        assert report["class"].direction == "fewer"
        assert report["class"].at == SHIFTS["a class gone"].gone
        assert not report["area", None, "truck"].tested

    def test_confirmed(self):
        """Two flagged weeks of three are drift; a rerun of a week says the same."""
        reference, weeks = reference_and_weeks(
            SMALL, 2, 3, shift=Shift(confidence=-0.15), shifted_from=4
        )
        detector = DriftDetector(reference=reference)
        first = detector.compare(weeks[0])
        second = detector.compare(weeks[1], previous=[first])

        assert (first.verdict, second.verdict) == ("watch", "drift")
        assert second.drifted is True
        assert detector.compare(weeks[1], previous=[second, first]) == second

    def test_blind_camera(self):
        """Frames without any box are drift of boxes per frame, not missing data."""
        reference, (week,) = shifted(CALM)
        counts = {
            "boxes_per_frame": np.zeros((len(week.periods), 5, FEATURES[2].n_bins), dtype=np.int64)
        }
        counts["boxes_per_frame"][..., 0] = week.frames_by_block()
        dark = Profile.from_counts(
            {**{f.name: zeros(week, f) for f in FEATURES if f.name != "boxes_per_frame"}, **counts},
            periods=week.periods,
            cameras=week.cameras,
            class_ids=np.arange(5),
            features=FEATURES,
            period=week.period,
            context=week.context,
        )
        report = DriftDetector(reference=reference).compare(dark)

        assert report.verdict == "watch"
        assert report["boxes_per_frame"].direction == "lower"
        assert not report["confidence"].tested
        assert "0 boxes this week" in report["confidence", "cam-1"].reason

    def test_new_class(self, calm, detector):
        """A class the reference has never seen shows in the class mix."""
        week = calm[1][0]
        counts = {f.name: week.counts(f.name, by_class=f.level == "box") for f in FEATURES}
        counts["confidence"][:, :, 4], counts["area"][:, :, 4] = 0, 0
        other = Profile.from_counts(
            {**counts, "class": class_counts(week)},
            periods=week.periods,
            cameras=week.cameras,
            class_ids=[0, 1, 2, 3, 9],
            features=FEATURES,
            period=week.period,
            context=week.context,
        )
        report = detector.compare(other)

        assert report["class"].flagged
        assert report["class"].at in (4.0, 9.0)
        assert (report.new_classes, report.gone_classes) == (("9",), ("bus",))
        assert "classes not in the reference: 9" in str(report)


def zeros(week, feature):
    shape = (len(week.periods), 5, 5, feature.n_bins)
    return np.zeros(shape if feature.level == "box" else (*shape[:2], shape[3]), dtype=np.int64)


def class_counts(week):
    return week.counts("class")


class TestLikeWithLike:
    def test_traffic_between_cameras(self, calm, detector):
        """A camera with low confidences that gets ten times the traffic changes nothing."""
        week = calm[1][0]
        busy = week.slice(camera="cam-1")
        report = detector.compare(Profile.merge(week, *[busy] * 9))
        plain = DriftDetector(reference=calm[0], method="ks").compare(
            Profile.merge(week, *[busy] * 9)
        )

        assert report["confidence"].effect < 0.06
        assert plain["confidence"].effect > report["confidence"].effect + 0.03
        assert not report.flagged

    def test_offline_at_night(self, calm, detector):
        """A week without nights is compared with the days of the reference."""
        week = calm[1][0]
        hour = (week.periods - week.periods.astype("datetime64[D]")).astype("timedelta64[h]")
        kept = [
            week.slice(start=as_utc(p), end=as_utc(p) + week.period)
            for p, h in zip(week.periods, hour.astype(int), strict=True)
            if h >= 6
        ]
        report = detector.compare(Profile.merge(*kept))

        assert report.verdict == "calm"
        assert report["confidence"].effect < 0.08

    def test_one_busy_day(self, calm, detector):
        """A day with a thousand times the frames counts as a day."""
        week = calm[1][0]
        day = week.slice(start=MONDAY + timedelta(weeks=4), end=MONDAY + timedelta(weeks=4, days=1))
        report = detector.compare(Profile.merge(week, *[day] * 200))

        assert report.verdict == "calm"
        assert report["confidence"].n_boxes > 20 * detector.compare(week)["confidence"].n_boxes

    def test_size_does_not_matter(self, calm):
        """The same curves with a hundred times the boxes give nearly the same p-values."""
        reference, weeks = calm
        one = DriftDetector(reference=reference, permutations=500).compare(weeks[0])
        many = DriftDetector(reference=Profile.merge(*[reference] * 100), permutations=500).compare(
            Profile.merge(*[weeks[0]] * 100)
        )

        assert many["confidence"].p_unadjusted == pytest.approx(
            one["confidence"].p_unadjusted, abs=0.1
        )
        assert many["confidence"].ks_p_value < one["confidence"].ks_p_value
        assert many["confidence"].n_effective < 2 * one["confidence"].n_effective


def as_utc(period):
    from driftline.records import as_datetime

    return as_datetime(period)


class TestTooLittle:
    def test_empty_week(self, calm, detector):
        """A week in which nothing was observed is no verdict on the world."""
        week = calm[1][0]
        report = detector.compare(week.slice(camera="nobody"))

        assert report.verdict == "too little data"
        assert (report.flagged, report.drifted) == (False, None)
        assert report.to_samples() == ()
        assert "nothing was observed" in str(report)

    def test_two_days(self, calm, detector):
        """Two days are too few, and the report says how many would do."""
        week = calm[1][0].slice(end=MONDAY + timedelta(weeks=4, days=2))
        report = detector.compare(week)

        assert report.verdict == "too little data"
        assert "2 days" in report["confidence", "cam-1"].reason

    def test_short_reference(self, calm):
        """Three days of reference can judge nothing."""
        reference = calm[0].slice(end=MONDAY + timedelta(days=3))
        report = DriftDetector(reference=reference).compare(calm[1][0])

        assert report.verdict == "too little data"

    def test_missing_camera(self, calm, detector):
        """A fifth of the frames gone is too little data, and the camera is named."""
        report = detector.compare(without(calm[1][0], "cam-3"))

        assert report.verdict == "too little data"
        assert report.missing == ("cam-3",)
        assert 0.1 < report.blind < 0.4
        assert "cam-3" in str(report)
        assert report["confidence"].tested

    def test_missing_camera_of_a_fleet(self):
        """One silent camera of twelve is named, and leaves the others their verdict."""
        reference, (week,) = shifted(CALM, cameras=12)
        report = DriftDetector(reference=reference, permutations=500).compare(
            without(week, "cam-3")
        )

        assert (report.verdict, report.missing) == ("calm", ("cam-3",))

    def test_no_pass_for_little(self, calm, detector):
        """A week of too little data is skipped when weeks are confirmed, not counted as calm."""
        week = calm[1][3]
        flagged = evolve_flagged(detector.compare(calm[1][0]))
        silent = evolve(
            detector.compare(calm[1][1].slice(camera="nobody")),
            start=calm_start(5), end=calm_start(6),
        )  # fmt: skip
        report = detector.compare(week, previous=[flagged, silent])

        assert report.before == (True,)

    def test_silent_camera(self, calm, detector):
        """A camera that sends nothing is told from one that sends too little."""
        week = without(calm[1][0], "cam-3")
        one_day = calm[1][0].slice(camera="cam-3", end=MONDAY + timedelta(weeks=4, days=1))
        silent, little = detector.compare(week), detector.compare(Profile.merge(week, one_day))

        assert (silent.silent, little.silent) == (("cam-3",), ())
        assert "no frame this week: cam-3" in str(silent)
        assert "too little data this week: cam-3" in str(little)

    def test_odd_week(self, calm, detector):
        """A day without frames and a week that is too short or too long are named."""
        monday, day = MONDAY + timedelta(weeks=4), timedelta(days=1)
        week = calm[1][0]
        assert (7, ()) == (len((whole := detector.compare(week)).days), whole.empty_days)
        assert "not a week" not in str(whole)
        ends = Profile.merge(week.slice(end=monday + day), week.slice(start=monday + 3 * day))
        assert ("2026-02-03", "2026-02-04") == detector.compare(ends).empty_days
        assert "no frame of any camera on: 2026-02-03, 2026-02-04" in str(detector.compare(ends))
        short = detector.compare(week.slice(end=monday + 5 * day))
        assert f"not a week of seven days but 5: {monday.date()}" in str(short)
        assert short.days == tuple(str((monday + n * day).date()) for n in range(5))
        assert "not a week" not in str(detector.peek(week.slice(end=monday + 5 * day)))

    def test_all_dark(self, calm, detector):
        """Where nothing was observed, cameras are gone, not classes."""
        report = detector.compare(calm[1][0].slice(camera="nobody"))

        assert report.silent == calm[0].cameras
        assert report.gone_classes == ()

    def test_unknown_camera(self, calm, detector):
        """A camera the reference has not seen has nothing to be compared with."""
        week = calm[1][0]
        extra = profile_of_camera(week, "cam-1", "cam-9")
        report = detector.compare(Profile.merge(week, extra))

        assert report.new_cameras == ("cam-9",)
        assert ("confidence", "cam-9") not in report

    def test_one_value(self, calm):
        """A feature whose values are all alike cannot move, and does not fail."""
        constant = Feature(name="sharpness", level="frame", edges=np.linspace(0, 1, 11))
        reference, week = (with_constant(p, constant) for p in (calm[0], calm[1][0]))
        report = DriftDetector(reference=reference, permutations=200).compare(week)

        assert "one bin" in report["sharpness"].reason
        assert report["confidence"].tested


def calm_start(week):
    return MONDAY + timedelta(weeks=week)


def evolve_flagged(report):
    cells = (evolve(report.cells[0], flagged=True), *report.cells[1:])
    return evolve(report, cells=cells)


def profile_of_camera(week, camera, name):
    one = week.slice(camera=camera)
    counts = {f.name: one.counts(f.name, by_class=f.level == "box") for f in FEATURES}
    return Profile.from_counts(
        counts,
        periods=one.periods,
        cameras=[name],
        class_ids=one.class_ids,
        features=FEATURES,
        period=one.period,
        context=one.context,
    )


def with_constant(p, feature):
    counts = {f.name: p.counts(f.name, by_class=f.level == "box") for f in FEATURES}
    counts[feature.name] = np.zeros((len(p.periods), 5, feature.n_bins), dtype=np.int64)
    counts[feature.name][..., 3] = p.frames_by_block()
    return Profile.from_counts(
        counts,
        periods=p.periods,
        cameras=p.cameras,
        class_ids=p.class_ids,
        features=(*FEATURES, feature),
        period=p.period,
        context=p.context,
    )


class TestOtherFeatures:
    def test_brightness(self, calm):
        """A number of the frame that the user brings is tested like any other."""
        brightness = Feature(name="brightness", level="frame", edges=np.linspace(0, 1, 65))
        rng = np.random.default_rng(0)
        reference, week = (
            with_values(p, brightness, rng, level)
            for p, level in ((calm[0], 0.5), (calm[1][0], 0.3))
        )
        report = DriftDetector(reference=reference, permutations=1000).compare(week)

        assert report["brightness"].flagged
        assert report["brightness"].direction == "lower"

    def test_chosen_features(self, calm):
        """Only the features that were chosen are compared."""
        report = DriftDetector(reference=calm[0], features=["area"], permutations=200).compare(
            calm[1][0]
        )

        assert {c.feature for c in report.cells} == {"area"}


def with_values(p, feature, rng, level):
    counts = {f.name: p.counts(f.name, by_class=f.level == "box") for f in FEATURES}
    frames = p.frames_by_block()
    days = rng.normal(level, 0.03, size=frames.shape)
    table = np.zeros((*frames.shape, feature.n_bins), dtype=np.int64)
    for index in np.ndindex(frames.shape):
        values = rng.normal(days[index], 0.1, size=frames[index])
        table[index] = np.bincount(feature.bin(values), minlength=feature.n_bins)
    return Profile.from_counts(
        {**counts, feature.name: table},
        periods=p.periods,
        cameras=p.cameras,
        class_ids=p.class_ids,
        features=(*FEATURES, feature),
        period=p.period,
        context=p.context,
    )


class TestPlain:
    @pytest.fixture(scope="class")
    @staticmethod
    def raw():
        """Raw detections of a week each, and their profiles."""
        site = Site(SMALL, np.random.default_rng(3), 1)
        a, b = site.week(), site.week(SHIFTS["confidence -.05"])
        return a, b, profile(a, SMALL, 0), profile(b, SMALL, 1)

    def test_ks_is_scipy(self, raw):
        """Statistic and p-value are those of scipy on the raw values, within the stated error."""
        a, b, reference, week = raw
        report = DriftDetector(reference=reference, method="ks").compare(week)
        for name, x, y in (
            ("confidence", a.confidence, b.confidence),
            ("area", a.log2_area, b.log2_area),
        ):
            cell, expected = report[name], stats.ks_2samp(x, y)

            assert cell.statistic <= expected.statistic + 1e-12
            assert expected.statistic <= cell.statistic + cell.statistic_error + 1e-12
            assert cell.statistic_error < (0.004 if name == "confidence" else 0.02)
        assert report["confidence"].p_value == pytest.approx(
            stats.ks_2samp(a.confidence, b.confidence).pvalue, rel=0.05
        )

    def test_ks_per_camera_and_class(self, raw):
        """Cameras and classes carry their own plain test, and do not alarm."""
        a, b, reference, week = raw
        report = DriftDetector(reference=reference, method="ks").compare(week)
        mine = (
            x[(s.camera == 1) & (s.class_id == 0)] for s, x in ((a, a.log2_area), (b, b.log2_area))
        )
        cell = report["area", "cam-2", "car"]

        assert cell.statistic == pytest.approx(stats.ks_2samp(*mine).statistic, abs=0.03)
        assert not any(c.flagged for c in report.cells if c.camera or c.class_name)

    def test_wasserstein_is_scipy(self, raw):
        """The distance in standard deviations is scipy's on the raw values."""
        a, b, reference, week = raw
        cell = DriftDetector(reference=reference, method="wasserstein").compare(week)["confidence"]
        expected = stats.wasserstein_distance(a.confidence, b.confidence) / a.confidence.std()

        assert cell.statistic == pytest.approx(expected, abs=cell.statistic_error)
        assert cell.statistic_error < 0.01

    def test_chi_square_is_scipy(self, raw):
        """The class mix is judged by Pearson's test on the counts."""
        a, b, reference, week = raw
        cell = DriftDetector(reference=reference, method="chi_square").compare(week)["class"]
        table = [np.bincount(x.class_id, minlength=5) for x in (a, b)]

        assert cell.p_value == pytest.approx(stats.chi2_contingency(table).pvalue)

    @pytest.mark.parametrize("method", ["wasserstein", "psi", "jensen_shannon"])
    def test_threshold(self, raw, method):
        """A distance alarms at its threshold, which may be set."""
        _, _, reference, week = raw
        statistic = (
            DriftDetector(reference=reference, method=method).compare(week)["confidence"].statistic
        )
        flagged = [
            DriftDetector(reference=reference, method=method, threshold=t, features=["confidence"])
            .compare(week)
            .flagged
            for t in (statistic * 0.9, statistic * 1.1)
        ]

        assert flagged == [True, False]

    def test_no_order(self, raw):
        """A Wasserstein distance of classes is refused by the cell, not invented."""
        _, _, reference, week = raw
        report = DriftDetector(
            reference=reference, method="wasserstein", features=["class"]
        ).compare(week)

        assert "order" in report["class"].reason
        assert report.verdict == "too little data"

    def test_deff(self, calm):
        """Effective sizes are far below the number of boxes, and calm weeks stay calm."""
        report = DriftDetector(reference=calm[0], method="deff").compare(calm[1][0])
        cell = report["confidence"]

        assert cell.n_effective < cell.n_boxes / 5
        assert not report.flagged

    def test_weekly_profiles(self, calm):
        """The plain rule needs no days; the default does, and says so."""
        reference, week = (p.coarsen(timedelta(weeks=1)) for p in (calm[0], calm[1][0]))

        assert DriftDetector(reference=reference, method="ks").compare(week).tested
        with pytest.raises(InputError, match="by day or hour"):
            DriftDetector(reference=reference).compare(week)


class TestRefused:
    def test_overlap(self, calm, detector):
        """A week of the reference is not compared with the reference."""
        with pytest.raises(InputError, match="in the week and in the reference"):
            detector.compare(calm[0].slice(end=MONDAY + timedelta(weeks=1)))

    def test_context(self, calm, detector):
        """Another confidence threshold truncates the distribution: refused."""
        week = evolve(calm[1][0], context=Context(conf=0.5, class_names=CLASS_NAMES))
        with pytest.raises(ContextMismatch) as caught:
            detector.compare(week)

        assert caught.value.fields == ("conf",)
        loose = DriftDetector(reference=calm[0], permutations=200, ignore=["conf"])
        assert loose.compare(week).tested

    def test_period(self, calm, detector):
        """Days are not compared with quarter days; the message says what to do."""
        with pytest.raises(ContextMismatch, match="coarsen"):
            detector.compare(calm[1][0].coarsen(timedelta(days=1)))

    def test_other_reference(self, calm, detector):
        """Reports about another reference teach nothing here."""
        other = DriftDetector(
            reference=calm[0].slice(end=MONDAY + timedelta(weeks=3)), permutations=200
        ).compare(calm[1][0])
        with pytest.raises(ContextMismatch) as caught:
            detector.compare(calm[1][1], previous=[other])

        assert caught.value.fields == ("reference_digest",)

    @pytest.mark.parametrize(
        "options",
        [
            {"alpha": 0},
            {"alpha": 0.6},
            {"method": "kss"},
            {"permutations": 10},
            {"min_effect": 1.0},
            {"features": ["colour"]},
        ],
    )
    def test_settings(self, calm, options):
        """Settings that cannot be meant are refused at birth."""
        with pytest.raises(InputError):
            DriftDetector(reference=calm[0], **options)

    def test_empty_reference(self):
        """A reference without frames is refused at birth."""
        with pytest.raises(InputError, match="no frame"):
            DriftDetector(reference=Profile())

    def test_several_profiles(self, calm):
        """Several profiles are one reference."""
        halves = [
            calm[0].slice(end=MONDAY + timedelta(weeks=2)),
            calm[0].slice(start=MONDAY + timedelta(weeks=2)),
        ]

        assert DriftDetector(reference=halves).reference == calm[0]


class TestSamples:
    def test_metrics(self, calm, detector):
        """Cells and verdict become samples of the week, without single classes on cameras."""
        report = detector.compare(calm[1][0])
        samples = report.to_samples(deployment="acme/line-3")
        flagged = [s for s in samples if s.metric == Metric.DRIFT_FLAGGED]
        statistic = [s for s in samples if s.metric == Metric.DRIFT_STATISTIC]

        assert [s.value for s in flagged] == [0.0]
        assert not [s for s in samples if s.metric == Metric.DRIFT_CONFIRMED]
        assert {s.deployment for s in samples} == {"acme/line-3"}
        assert all(s.at == report.start and s.width == timedelta(weeks=1) for s in samples)
        assert not [s for s in statistic if s.labels["camera"] and s.labels["class"]]
        assert {"feature", "camera", "class", "test"} == set(statistic[0].labels)

    def test_is_a_report(self, calm, detector):
        """What comes back is a DriftReport, sorted by importance."""
        report = detector.compare(calm[1][0])
        p = [c.p_value for c in report.cells if c.tested]

        assert isinstance(report, DriftReport)
        assert p == sorted(p)
