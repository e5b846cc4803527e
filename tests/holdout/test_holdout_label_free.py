"""Precision of a week without labels: right where its assumption holds, corrected by labels."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from attrs import evolve
from holdout_scenes import nothing, scene

from driftline._stats.prediction_powered import prediction_powered_ratio
from driftline.errors import ContextMismatch, InputError, TooLittleData
from driftline.holdout import LabelledFrame, PrecisionCalibrator, Settings, evaluate
from driftline.records import Detections, Metric

NAMES = ["cup", "plate", "fork"]
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
USUAL = {"size_matters": 0.4}


def scored(labels, predictions, **options):
    return evaluate(labels, predictions, class_names=NAMES, replicates=2, **options)


def counted(calibrator, predictions, *, cameras=2, days=7):
    week = calibrator.counts()
    for index, found in enumerate(predictions):
        week.observe(
            found, at=MONDAY + timedelta(days=index % days), camera=f"cam-{index % cameras}"
        )
    return week


@pytest.fixture(scope="module")
def calibrator():
    labels, predictions = scene(np.random.default_rng(1), frames=300, **USUAL)
    return PrecisionCalibrator(scored(labels, predictions), replicates=100)


@pytest.fixture(scope="module")
def week(calibrator):
    labels, predictions = scene(np.random.default_rng(2), frames=420, **USUAL)
    return labels, predictions, counted(calibrator, predictions)


def test_right_without_a_shift(calibrator, week):
    """Another week of the same world: the intervals hold what labels would have said."""
    labels, predictions, counts = week
    point = scored(labels, predictions).overall.operating

    estimate = calibrator.estimate(counts)

    assert not estimate.precision.interval.excludes(point.precision.value)
    assert not estimate.true_positives_per_frame.interval.excludes(point.true_positives / 420)
    assert estimate.method == "calibration"
    assert repr(calibrator).endswith("detections of 300 units)")
    assert "as often as it was on the holdout" in estimate.assumption
    assert (estimate.n_frames, estimate.confidence) == (420, 0.25)
    assert estimate.n_detections == point.true_positives + point.false_positives
    assert set(estimate.per_class) == set(NAMES)
    assert set(estimate.per_camera) == {"cam-0", "cam-1"}
    assert estimate.overlap_precision.value < estimate.precision.value


def test_says_what_it_cannot_see(calibrator, week):
    """No mAP, no recall; the text names the assumption and the blind spots."""
    text = str(calibrator.estimate(week[2]))

    assert "missed objects" in text
    assert "assumes: " in text
    assert "mAP" not in text


def test_follows_worse_confidences(calibrator, week):
    """Blur lowers confidences, and with them the estimate."""
    _, blurred = scene(np.random.default_rng(3), frames=420, quality=-0.7, **USUAL)

    clear = calibrator.estimate(week[2]).precision
    blind = calibrator.estimate(counted(calibrator, blurred)).precision

    assert blind.interval.high < clear.interval.low


def test_drifted_cameras_are_left_out(calibrator, week):
    """A camera that was moved is named and not estimated; with no other left nothing is."""
    counts = week[2]

    estimate = calibrator.estimate(counts, drifted_cameras=["cam-1", "cam-9"])

    assert estimate.invalid_cameras == ("cam-1",)
    assert set(estimate.per_camera) == {"cam-0"}
    assert estimate.n_frames == 210
    assert "invalid for cameras cam-1" in str(estimate)
    with pytest.raises(TooLittleData, match="label random frames"):
        calibrator.estimate(counts, drifted_cameras=["cam-0", "cam-1"])


def test_nothing_observed_is_too_little(calibrator):
    """No frame, no estimate; frames without detections have no precision."""
    with pytest.raises(TooLittleData, match="no frame was observed"):
        calibrator.estimate(calibrator.counts())
    empty = counted(calibrator, [nothing((480, 640))] * 14)

    estimate = calibrator.estimate(empty)

    assert estimate.precision.value is None
    assert "no detection" in estimate.precision.reason
    assert estimate.true_positives_per_frame.value == 0.0


def test_one_day_is_said(calibrator, week):
    """Days cannot be compared when there is one."""
    _, predictions, _ = week

    estimate = calibrator.estimate(counted(calibrator, predictions[:60], days=1))

    assert any("one day" in note for note in estimate.notes)


def test_counts_add_up(calibrator, week):
    """Two machines count what one would have counted."""
    _, predictions, counts = week
    halves = [calibrator.counts(), calibrator.counts()]
    for index, found in enumerate(predictions):
        halves[index % 3 == 0].observe(
            found, at=MONDAY + timedelta(days=index % 7), camera=f"cam-{index % 2}"
        )

    merged = halves[0].merge(halves[1])

    assert merged.frames == counts.frames
    assert all(np.array_equal(merged.blocks[key], counts.blocks[key]) for key in counts.blocks)
    assert repr(merged) == "ConfidenceCounts(420 frames, 2 cameras, 7 days)"


def test_counts_of_another_calibration_are_refused(calibrator, week):
    """Other strata, other meaning."""
    labels, predictions = scene(np.random.default_rng(9), frames=150)
    other = PrecisionCalibrator(scored(labels, predictions), replicates=2)

    with pytest.raises(ContextMismatch):
        other.estimate(week[2])
    with pytest.raises(ContextMismatch):
        other.counts().merge(week[2])


def test_unknown_classes_are_refused(calibrator):
    """A class the holdout does not know has no calibration."""
    stranger = Detections(
        xyxy=[[0, 0, 9, 9]], confidence=[0.9], class_id=[7], image_size=(480, 640)
    )

    with pytest.raises(InputError, match="class 7"):
        calibrator.counts().observe(stranger, at=MONDAY)


def test_needs_detections_to_learn_from():
    """A hundred at the threshold, and kept."""
    labels, predictions = scene(np.random.default_rng(1), frames=10)
    small = scored(labels, predictions)

    with pytest.raises(TooLittleData, match="at least 100"):
        PrecisionCalibrator(small)
    with pytest.raises(InputError, match="not kept"):
        PrecisionCalibrator(evolve(small, table=None))


def test_samples(calibrator, week):
    """Overall, by class and by camera, labelled by the method."""
    estimate = calibrator.estimate(week[2])

    samples = estimate.to_samples(at=MONDAY, deployment="acme/line-3")

    assert {one.metric for one in samples} == {Metric.PRECISION_ESTIMATE}
    assert len(samples) == 1 + 3 + 2
    assert samples[0].labels == {"method": "calibration"}
    assert samples[0].value == estimate.precision.value


SHIFTS = {
    "none": {},
    "blur": {"quality": -0.7},
    "invented boxes": {"invented": 0.5},
    "misplaced boxes": {"misplaced": 0.15},
    "overlooked objects": {"overlooked": 0.15},
    "smaller objects": {"scale": 0.6},
}


@pytest.mark.parametrize("shift", SHIFTS)
def test_some_labels_correct_any_shift(calibrator, shift):
    """With 120 random frames labelled the interval holds the truth, and is no wider."""
    world = USUAL | SHIFTS[shift]
    labels, predictions = scene(np.random.default_rng(4), frames=420, **world)
    counts = counted(calibrator, predictions)
    truth = scored(labels, predictions).overall.operating
    chosen = np.random.default_rng(5).choice(420, 120, replace=False)

    combined = calibrator.combine(
        counts, scored([labels[i] for i in chosen], [predictions[i] for i in chosen])
    )

    assert combined.method == "PPI++"
    assert combined.n_labelled == 120
    assert not combined.precision.interval.excludes(truth.precision.value)
    per_frame = combined.true_positives_per_frame
    assert not per_frame.interval.excludes(truth.true_positives / 420)
    errors = (combined.precision.standard_error, combined.labels_alone.standard_error)
    assert errors[0] <= errors[1]
    assert 0 <= combined.trust <= 1


def test_labels_must_be_a_sample_of_the_week(calibrator, week):
    """Too few, the holdout itself, or made under other settings: refused."""
    labels, predictions, counts = week

    with pytest.raises(TooLittleData, match="at least 50"):
        calibrator.combine(counts, scored(labels[:40], predictions[:40]))
    own = scene(np.random.default_rng(1), frames=300, **USUAL)
    with pytest.raises(InputError, match="other frames than the holdout"):
        calibrator.combine(counts, scored(*own))
    with pytest.raises(ContextMismatch):
        calibrator.combine(counts, scored(labels[:60], predictions[:60], ap="ultralytics"))
    blank = [nothing((480, 640))] * 60
    with pytest.raises(TooLittleData, match="no detection"):
        calibrator.combine(counts, scored(labels[:60], blank))


def test_weighted_labels_count_by_weight(calibrator, week):
    """Frames picked for their many detections stand for few when weighted by 1 / probability."""
    labels, predictions, counts = week
    crowded = np.array([len(found) for found in predictions], dtype=float)
    chance = crowded / crowded.sum()
    chosen = np.random.default_rng(6).choice(420, 150, replace=False, p=chance)
    frames = [LabelledFrame(truth=labels[i], weight=1 / chance[i]) for i in chosen]
    truth = scored(labels, predictions).overall.operating.true_positives / 420

    weighted = calibrator.combine(counts, scored(frames, [predictions[i] for i in chosen]))
    plain = calibrator.combine(
        counts, scored([labels[i] for i in chosen], [predictions[i] for i in chosen])
    )

    assert not weighted.true_positives_per_frame.interval.excludes(truth)
    error = abs(weighted.true_positives_per_frame.value - truth)
    assert error < abs(plain.true_positives_per_frame.value - truth)


def test_all_right_is_no_certainty():
    """Sixty frames without an error: there may still be one in twenty."""
    ones = np.ones(60)

    powered = prediction_powered_ratio(
        ones, ones * 0.8, ones, ones, predicted_of_all=0.8, units_of_all=1000
    )

    assert powered.estimate.interval == pytest.approx((0.95, 1.0), abs=3e-3)
    assert "rule of three" in powered.estimate.reason


def test_settings_travel(calibrator):
    """Labels made by other weights say nothing of this detector."""
    labels, predictions = scene(np.random.default_rng(7), frames=300, **USUAL)
    first = scored(labels, predictions, settings=Settings(weights_digest="sha256:1"))
    own = PrecisionCalibrator(first, replicates=2)
    labels, predictions = scene(np.random.default_rng(8), frames=60, **USUAL)
    other = scored(labels, predictions, settings=Settings(weights_digest="sha256:2"))

    with pytest.raises(ContextMismatch) as caught:
        own.combine(counted(own, predictions), other)
    assert caught.value.fields == ("weights_digest",)


def test_powered_mean_covers():
    """The formula on its own: 95 % with good, bad and useless predictions."""
    rng = np.random.default_rng(1)
    for noise, shift in ((0.3, 0.0), (0.3, 0.7), (5.0, 0.0)):
        held, gained = [], []
        for _ in range(400):
            said = rng.normal(1.0, 1.0, 2000)
            truth = said + shift + rng.normal(0, noise, 2000)
            ones = np.ones(100)
            powered = prediction_powered_ratio(
                truth[:100], said[:100], ones, ones,
                predicted_of_all=said.mean(), units_of_all=2000, bounds=(-99.0, 99.0),
            )  # fmt: skip
            held.append(not powered.estimate.interval.excludes(1.0 + shift))
            errors = (powered.estimate.standard_error, powered.labels_alone.standard_error)
            gained.append(errors[0] / errors[1])

        assert np.mean(held) == pytest.approx(0.95, abs=0.025)  # Monte-Carlo error 2.1 %
        assert np.mean(gained) < (0.5 if noise < 1 else 1.01)


def shifted_week(rng, change):
    """Seven days of 100 frames, each day a little clearer or hazier than the next."""
    days = []
    for _ in range(7):
        world = USUAL | change
        haze = world.pop("quality", 0.0) + rng.normal(0, 0.1)
        days.append(scene(rng, frames=100, quality=haze, **world))
    # day after day in turn, as `counted` deals them out
    labels = [days[index % 7][0][index // 7] for index in range(700)]
    return labels, [days[index % 7][1][index // 7] for index in range(700)]


@pytest.mark.slow
def test_coverage_under_every_shift():
    """A hundred weeks of each shift: PPI++ holds the truth, calibration alone where nothing moved."""
    rng = np.random.default_rng(10)
    shifts = {"light blur": {"quality": -0.35}, **SHIFTS}
    held = {name: [] for name in shifts}
    for _ in range(100):
        calibrator = PrecisionCalibrator(scored(*scene(rng, frames=400, **USUAL)), replicates=100)
        for name, change in shifts.items():
            labels, predictions = shifted_week(rng, change)
            counts = counted(calibrator, predictions)
            truth = scored(labels, predictions).overall.operating.precision.value
            chosen = rng.choice(700, 100, replace=False)
            combined = calibrator.combine(
                counts, scored([labels[i] for i in chosen], [predictions[i] for i in chosen])
            )
            alone = calibrator.estimate(counts)
            held[name].append(
                [not one.precision.interval.excludes(truth) for one in (alone, combined)]
            )
    shares = {name: np.mean(rows, axis=0) for name, rows in held.items()}
    print({name: share.round(2).tolist() for name, share in shares.items()})

    for share in shares.values():
        assert share[1] >= 0.9  # 0.95 less two Monte-Carlo errors of 100 weeks (0.022 each)
    assert shares["none"][0] >= 0.9
    assert shares["invented boxes"][0] < 0.5
    assert shares["misplaced boxes"][0] < 0.5
