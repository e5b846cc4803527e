"""The volume of a week: fewer boxes in as many frames, with exposure, season and honest intervals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from driftline import Action, DriftDetector, Evidence, Profile, RetrainPolicy
from driftline.drift import VolumeReport
from driftline.errors import ContextMismatch, InputError
from driftline.profiles import BOXES_PER_FRAME
from driftline.records import Context

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
CAMERAS = ("gate", "line-1", "line-2")


def counted(
    frames, boxes, *, first=0, cameras=CAMERAS, period=timedelta(days=1), conf=None, **fields
):
    """A profile of ``(n_periods, n_cameras)`` frames and boxes."""
    n = len(frames)
    histogram = np.zeros((n, len(cameras), BOXES_PER_FRAME.n_bins), dtype=np.int64)
    histogram[..., 3] = frames
    return Profile.from_counts(
        {"boxes_per_frame": histogram, "class": np.asarray(boxes)[..., None]},
        periods=[MONDAY + timedelta(days=first) + i * period for i in range(n)],
        cameras=cameras,
        features=(BOXES_PER_FRAME,),
        period=period,
        context=Context(conf=conf),
        **fields,
    )


def days(first, n, *, rate=3.0, share=1.0, weekend=1.0, seed=0):
    """Days of 1,000 frames a camera, more or less, that scatter by a twentieth."""
    rng = np.random.default_rng([seed, first])
    day = np.arange(first, first + n)
    usual = rate * np.where(day % 7 >= 5, weekend, 1.0)[:, None] * rng.normal(1, 0.05, (n, 3))
    frames = rng.poisson(1000 * share, (n, 3))
    return frames, rng.poisson(frames * usual)


@pytest.fixture
def detector():
    return DriftDetector(reference=counted(*days(0, 28)))


def week(*, fall=(1, 1, 1), **fields):
    frames, boxes = days(28, 7, **fields)
    return counted(frames, (boxes * fall).astype(int), first=28)


class TestVerdict:
    def test_one_camera(self, detector):
        """A camera that finds half of what it did is named, and the others are not."""
        report = detector.volume(week(fall=(1, 0.5, 1)))

        assert report.verdict == "fewer"
        assert [cell.camera for cell in report.cells[1:] if cell.fell] == ["line-1"]
        assert report.cells[2].ratio == pytest.approx(0.5, abs=0.05)
        assert report.summary.startswith("line-1: ")

    def test_calm(self, detector):
        """A week as the others is as usual, and its interval holds one."""
        report = detector.volume(week())

        assert report.verdict == "usual"
        assert report.cells[0].ratio_low < 1 < report.cells[0].ratio_high

    def test_small_drop(self, detector):
        """A tenth less is significant here, and not worth telling."""
        report = detector.volume(week(fall=(0.9, 0.9, 0.9)))

        assert (report.cells[0].p_value < 0.01, report.verdict) == (True, "usual")

    def test_less_traffic(self, detector):
        """Half of the frames with half of the boxes is traffic, not volume."""
        assert detector.volume(week(share=0.5)).verdict == "usual"

    def test_traffic_mix(self):
        """A camera with few boxes that sends most of the frames now is no drop of all together."""
        frames, boxes = days(0, 28)
        boxes[:, 0] //= 10
        now, found = days(28, 7)
        now[:, 0], found[:, 0] = now[:, 0] * 20, found[:, 0] * 2
        report = DriftDetector(reference=counted(frames, boxes)).volume(
            counted(now, found, first=28)
        )

        assert report.verdict == "usual"

    def test_season_of_the_week(self):
        """Quiet weekends are compared with quiet weekends."""
        reference = counted(*days(0, 28, weekend=0.2))
        report = DriftDetector(reference=reference).volume(week(weekend=0.2))

        assert report.verdict == "usual"
        assert report.cells[0].ratio == pytest.approx(1.0, abs=0.1)

    def test_hours(self):
        """Frames that move from a busy hour into a quiet one are no drop."""
        rate = np.where(np.arange(28 * 24) % 24 < 12, 1, 9)[:, None]
        noise = np.random.default_rng(1).normal(1, 0.03, (28, 3)).repeat(24, axis=0)
        frames = np.full((28 * 24, 3), 200)
        reference = counted(frames, (frames * rate * noise).astype(int), period=timedelta(hours=1))
        now = np.where(np.arange(7 * 24) % 24 < 12, 390, 10)[:, None] * np.ones((1, 3), dtype=int)
        found = now * rate[: 7 * 24]
        report = DriftDetector(reference=reference).volume(
            counted(now, found, first=28, period=timedelta(hours=1))
        )

        assert report.verdict == "usual"


class TestTest:
    def test_by_hand(self):
        """The p-value and interval are those of a t-test on the log-ratios of days."""
        frames, boxes = days(0, 28)
        now, found = days(28, 7)
        one = slice(0, 1)
        reference = counted(frames[:, one], boxes[:, one], cameras=["gate"])
        report = DriftDetector(reference=reference).volume(
            counted(now[:, one], found[:, one], first=28, cameras=["gate"])
        )
        by_weekday = frames[:, 0].reshape(4, 7), boxes[:, 0].reshape(4, 7)
        rate = by_weekday[1].sum(0) / by_weekday[0].sum(0)
        ratios = np.log((by_weekday[1] + 0.5) / (by_weekday[0] * rate + 0.5))
        variance = ((ratios - ratios.mean(0)) ** 2).sum() / 21
        between = max(0.0, ratios.mean(1).var(ddof=1) - variance / 7)
        error = np.sqrt(variance * (1 / 7 + 1 / 28) + between * (1 + 1 / 4))
        gap = np.log((found[:, 0] + 0.5) / (now[:, 0] * rate + 0.5)).mean() - ratios.mean()

        both = min(1.0, 2 * stats.t.cdf(gap / error, 21))  # Holm: all cameras and the one
        assert report.cells[1].p_value == pytest.approx(both, rel=1e-9)
        assert report.cells[1].ratio == pytest.approx(np.exp(gap), rel=1e-12)
        reach = stats.t.ppf(0.975, 21) * error
        assert report.cells[1].ratio_low == pytest.approx(np.exp(gap - reach), rel=1e-9)
        assert report.cells[1].ratio_high == pytest.approx(np.exp(gap + reach), rel=1e-9)

    def test_calm_weeks(self):
        """Of 100 calm weeks at 5 % no more fall than chance allows, the least drop left aside."""
        low = 0
        for seed in range(100):
            detector = DriftDetector(reference=counted(*days(0, 28, seed=seed)), alpha=0.05)
            cells = detector.volume(counted(*days(28, 7, seed=seed), first=28)).cells
            low += min(cell.p_value for cell in cells) < 0.05

        assert low / 100 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


class TestLittle:
    def test_few_days(self, detector):
        """Four days are too few, and the report says how many would do."""
        report = detector.volume(counted(*days(28, 4), first=28))

        assert report.verdict == "too little data"
        assert "4 days this week" in str(report)
        assert np.isnan(report.cells[0].ratio)

    def test_short_reference(self):
        """One week of reference shows no scatter of weekdays."""
        assert DriftDetector(reference=counted(*days(0, 7))).volume(week()).cells[0].reason

    def test_nothing(self, detector):
        """A week in which nothing was observed."""
        report = detector.volume(week().slice(camera="nobody"))

        assert (report.verdict, report.start) == ("too little data", None)

    def test_silent_camera(self, detector):
        """A camera without frames is not tested, and takes nothing from the rest."""
        report = detector.volume(week().slice(camera=["gate", "line-1"]))

        assert report.verdict == "usual"
        assert [bool(cell.reason) for cell in report.cells] == [False, False, False, True]

    def test_dark_camera(self, detector):
        """Frames without any box are the largest drop there is."""
        report = detector.volume(week(fall=(1, 1, 0)))

        assert report.cells[3].fell
        assert report.cells[3].ratio < 0.01

    def test_other_settings(self):
        """Another confidence threshold finds fewer boxes: such weeks are refused."""
        detector = DriftDetector(reference=counted(*days(0, 28), conf=0.1))
        with pytest.raises(ContextMismatch, match="conf"):
            detector.volume(counted(*days(28, 7), first=28, conf=0.5))

    def test_weeks(self):
        """Periods of a week hold no days."""
        weekly = counted(*days(0, 28)).coarsen(timedelta(days=7))
        with pytest.raises(InputError, match="too long"):
            DriftDetector(reference=weekly).volume(week().coarsen(timedelta(days=7)))


class TestEvidence:
    def test_investigate(self, detector):
        """Fewer boxes are evidence to investigate, also after a way through JSON."""
        report = detector.volume(week(fall=(0.5, 0.5, 0.5)))
        evidence = Evidence.from_dict(json.loads(json.dumps(Evidence(volume=report).to_dict())))
        decision = RetrainPolicy().decide(evidence)

        assert evidence == Evidence(volume=report)
        assert decision.action is Action.INVESTIGATE
        assert report.summary in str(decision)

    def test_usual(self, detector):
        """A usual week is no reason for anything."""
        decision = RetrainPolicy().decide(Evidence(volume=detector.volume(week())))

        assert "usual boxes" not in str(decision)

    @pytest.mark.parametrize(("moved", "said"), [(True, "moved as well"), (False, "is stable")])
    def test_confidence(self, moved, said):
        """The report says whether confidence moved in the same week."""
        frames, boxes = days(28, 7)
        report = DriftDetector(reference=counted(*days(0, 28))).volume(
            counted(frames, boxes // 2, first=28)
        )
        fields = {name: getattr(report, name) for name in ("start", "end", "alpha", "cells")}

        assert said in str(VolumeReport(**fields, confidence_moved=moved))
        assert "confidence" not in str(report)

    def test_of_drift(self, detector):
        """The drift report of the week says whether confidence moved."""
        one = week(fall=(0.5, 0.5, 0.5))

        assert detector.volume(one, detector.compare(one)).confidence_moved is False

    def test_to_dict(self, detector):
        """Plain values without nan."""
        plain = detector.volume(counted(*days(28, 4), first=28)).to_dict()

        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert (plain["verdict"], plain["cells"][0]["ratio"]) == ("too little data", None)

    def test_more(self, detector):
        """A summary names the three surest."""
        report = detector.volume(week(fall=(0.5, 0.5, 0.5)))

        assert report.summary.endswith("and 1 more")
