"""What an evaluation says, and what it refuses to say."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from holdout_scenes import SIZE, box, nothing, scene

from driftline.errors import ContextMismatch, InputError, TooLittleData, UnreadableData
from driftline.holdout import Evaluation, LabelledFrame, Settings, Truth, evaluate
from driftline.holdout._evaluation import EvaluationOptions, Scoring
from driftline.records import Context, Detections, Metric

WEEK = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def evaluation():
    labels, predictions = scene(np.random.default_rng(8), frames=60)
    frames = [
        LabelledFrame(truth=label, id=f"f{index}", tags={"camera": f"cam-{index % 2}"})
        for index, label in enumerate(labels)
    ]
    return evaluate(
        frames,
        predictions,
        class_names={0: "cup", 1: "plate", 2: "fork", 3: "never seen"},
        replicates=100,
        at=WEEK,
        deployment="acme/line-3",
        settings=Settings(model="best.pt", imgsz=640, versions={"ultralytics": "8.4.190"}),
    )


def test_no_labels_is_too_little_data():
    """Without labelled objects mAP is unknown, not zero."""
    found = box((0, 0, 10, 10))

    with pytest.raises(TooLittleData, match="unknown, not zero"):
        evaluate([nothing()], [found])
    with pytest.raises(TooLittleData):
        evaluate([], [])


def test_only_ignored_labels_is_too_little_data():
    """Crowds and ignored objects are nothing to score by."""
    truth = Truth(xyxy=[[0, 0, 9, 9]], class_id=[0], ignore=[True], image_size=(100, 100))

    with pytest.raises(TooLittleData, match="crowds or ignored"):
        evaluate([truth], [box((0, 0, 9, 9))])


def test_no_predictions_is_said():
    """A model that finds nothing scores 0, and the result says that nothing was found."""
    evaluation = evaluate([box((0, 0, 10, 10))] * 30, [nothing()] * 30, class_names=["cup"])

    assert evaluation.map == 0.0
    assert "no prediction" in evaluation.overall.reason
    assert any("nothing is found" in note for note in evaluation.notes)
    assert evaluation.map_interval == pytest.approx((0.0, 0.1), abs=0.01)  # rule of three: 3 / 30
    point = evaluation.overall.operating
    assert point.precision.value is None
    assert "no detection" in point.precision.reason
    assert point.recall.value == 0.0


def test_absent_class_is_unknown(evaluation):
    """A class without labels has no score, a reason, and no part in the mean."""
    absent = evaluation.per_class["never seen"]
    others = [evaluation.per_class[name].map for name in ("cup", "plate", "fork")]

    assert absent.map is None
    assert absent.map_interval is None
    assert np.isnan(float(absent))
    assert "no labelled object of never seen" in absent.reason
    assert evaluation.map == pytest.approx(np.mean(others))
    assert any("never seen" in note for note in evaluation.notes)


def test_class_that_is_never_predicted_scores_zero_and_says_so():
    """Labelled but never found: 0 by definition, with the reason."""
    labels = [box((0, 0, 10, 10)), box((0, 0, 10, 10), 1)] * 15
    found = [box((0, 0, 10, 10)), nothing()] * 15

    evaluation = evaluate(labels, found, class_names=["cup", "plate"])

    assert evaluation.per_class["plate"].map == 0.0
    assert "no prediction of plate" in evaluation.per_class["plate"].reason
    assert evaluation.map == pytest.approx(0.5)


def test_absent_size_is_unknown():
    """Only small objects: nothing is said about large ones."""
    evaluation = evaluate([box((0, 0, 10, 10))] * 30, [box((0, 0, 10, 10))] * 30)

    assert evaluation.per_size["small"].map == pytest.approx(1.0)
    assert evaluation.per_size["large"].map is None
    assert "no labelled object of large" in evaluation.per_size["large"].reason


def test_rare_classes_are_named(evaluation):
    """A class with few labels makes the mean unsure and too high: a note says which."""
    labels = [box((0, 0, 10, 10))] * 30 + [box((0, 0, 10, 10), 1)] * 3

    noted = evaluate(labels, labels, class_names=["cup", "spoon"])

    assert any("fewer than 25" in note and "spoon" in note for note in noted.notes)
    assert not any("fewer than 25" in note for note in evaluation.notes)


def test_few_frames_are_said():
    """One frame has no interval; ten have a rough one."""
    one = evaluate([box((0, 0, 10, 10))], [box((0, 0, 10, 9))])
    labels, predictions = scene(np.random.default_rng(1), frames=10)
    ten = evaluate(labels, predictions)

    assert one.map_interval is None
    assert "no interval" in one.overall.reason
    assert ten.map_interval is not None
    assert "fewer than 20" in ten.overall.reason


def test_interval_surrounds_the_score(evaluation):
    """Low below the score, high above, unpacked in this order."""
    low, high = evaluation.map_interval

    assert 0 < low < evaluation.map < high < 1
    assert evaluation.overall.estimate.bias > 0  # small samples flatter


def test_tags_break_the_score_down(evaluation):
    """The score of a camera is that of its frames alone."""
    cameras = evaluation.per_tag["camera"]
    labels, predictions = scene(np.random.default_rng(8), frames=60)

    alone = evaluate(labels[::2], predictions[::2], replicates=2)

    assert cameras["cam-0"].map == pytest.approx(alone.map, abs=1e-12)
    assert evaluation.n_frames == 60
    assert sum(one.n_truth for one in cameras.values()) == evaluation.overall.n_truth


def test_operating_point_counts():
    """True, false and missed at the confidence the detector is used at."""
    labels = [box((0, 0, 10, 10))] * 30
    found = [
        Detections(
            xyxy=[[0, 0, 10, 10], [50, 50, 60, 60], [70, 70, 80, 80]],
            confidence=[0.9, 0.6, 0.2],
            class_id=[0, 0, 0],
            image_size=(100, 100),
        )
    ] * 29 + [nothing()]

    at = {
        confidence: evaluate(
            labels, found, operating_confidence=confidence, replicates=50
        ).overall.operating
        for confidence in (0.25, 0.7)
    }

    assert at[0.25].precision.value == pytest.approx(0.5)
    assert at[0.25].recall.value == pytest.approx(29 / 30)
    assert at[0.25].f1.value == pytest.approx(2 * 29 / (58 + 30))
    counts = (at[0.25].true_positives, at[0.25].false_positives, at[0.25].false_negatives)
    assert counts == (29, 29, 1)
    assert at[0.7].precision.value == pytest.approx(1.0)


def test_calibration_tells_confidence_from_precision():
    """Half of the detections of confidence 0.9 are right: off by 0.4."""
    labels = [box((0, 0, 10, 10))] * 40
    found = [box((0, 0, 10, 10), confidence=0.9), box((50, 50, 60, 60), confidence=0.9)] * 20

    calibration = evaluate(labels, found).calibration

    assert calibration.error == pytest.approx(0.4)
    last = calibration.bins[9]
    assert (last.n, last.precision.value) == (40, pytest.approx(0.5))
    assert last.precision.interval.low < 0.5 < last.precision.interval.high
    assert calibration.bins[0].confidence is None


def test_cut_predictions_are_noted():
    """A threshold of 0.25 cuts the end off the curve; 0.001 does not."""
    label = box((0, 0, 9, 9))
    cut, whole = (
        evaluate([label] * 20, [label] * 20, settings=Settings(conf=conf)) for conf in (0.25, 0.001)
    )

    assert any("stop at confidence 0.25" in note for note in cut.notes)
    assert not any("stop at" in note for note in whole.notes)


def test_names_must_agree():
    """A model that calls class 0 a dog must not be scored against cats."""
    label = Truth(xyxy=[[0, 0, 9, 9]], class_id=[0], image_size=(100, 100), class_names={0: "cat"})
    found = Detections(
        xyxy=[[0, 0, 9, 9]],
        confidence=[0.9],
        class_id=[0],
        image_size=(100, 100),
        class_names={0: "dog"},
    )

    with pytest.raises(ContextMismatch, match="'cat' in one place and 'dog'") as caught:
        evaluate([label], [found])
    assert caught.value.fields == ("class_names",)
    with pytest.raises(ContextMismatch):
        evaluate([label], [nothing()], class_names=["dog"])


def test_unnamed_class_is_refused():
    """A detection of class 7 has no place in a holdout of one class."""
    with pytest.raises(InputError, match="predictions hold class 7"):
        evaluate([box((0, 0, 9, 9))], [box((0, 0, 9, 9), 7)], class_names=["cup"])
    with pytest.raises(InputError, match="labels hold class 7"):
        evaluate([box((0, 0, 9, 9), 7)], [nothing()], class_names=["cup"])


def test_names_come_with_the_data():
    """Without class_names the names that labels and predictions carry are used."""
    label = Truth(xyxy=[[0, 0, 9, 9]], class_id=[0], image_size=(100, 100), class_names={0: "cat"})

    evaluation = evaluate([label], [box((0, 0, 9, 9), 3)])

    assert list(evaluation.per_class) == ["cat", "3"]


def test_sizes_must_agree():
    """Predictions in pixels of a resized image are an error, not a low score."""
    with pytest.raises(InputError, match=r"labels are for \(100, 100\)"):
        evaluate([box((0, 0, 9, 9))], [box((0, 0, 9, 9), image_size=(640, 640))])


def test_numbers_must_agree():
    """One prediction per frame."""
    with pytest.raises(InputError, match="2 labelled frames and 1 predictions"):
        evaluate([box((0, 0, 9, 9))] * 2, [nothing()])


@pytest.mark.parametrize("wrong", [[np.nan, 0, 9, 9], [0, 0, np.inf, 9]])
def test_detections_must_be_numbers(wrong):
    """A box that is no number is an error."""
    with pytest.raises(InputError, match="NaN or infinite"):
        evaluate([box((0, 0, 9, 9))], [box(wrong)])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"xyxy": [[9, 0, 0, 9]]}, "left, top, right, bottom"),
        ({"xyxy": [[0, 0, np.nan, 9]]}, "finite"),
        ({"crowd": [True, False]}, "crowd has shape"),
        ({"area": [1.0, 2.0]}, "area has shape"),
        ({"class_id": [0.5]}, "whole numbers"),
        ({"class_id": [0, 1]}, "for one n"),
    ],
)
def test_labels_must_fit(fields, said):
    """Labels that cannot be meant are refused where they are made."""
    good = {"xyxy": [[0, 0, 9, 9]], "class_id": [0], "image_size": SIZE}

    with pytest.raises(InputError, match=said):
        Truth(**good | fields)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_must_be_positive(weight):
    """1 / probability is above 0."""
    with pytest.raises(InputError, match="must be above 0"):
        LabelledFrame(truth=nothing(), weight=weight)


def test_frames_have_names_of_their_own():
    """Two frames of one name, or some without, are refused."""
    label = box((0, 0, 9, 9))
    twice = [LabelledFrame(truth=label, id="a")] * 2
    some = [LabelledFrame(truth=label, id="a"), LabelledFrame(truth=label)]

    with pytest.raises(InputError, match="two frames have the id 'a'"):
        evaluate(twice, [label] * 2)
    with pytest.raises(InputError, match="1 of 2 frames have no id"):
        evaluate(some, [label] * 2)


def test_selected_frames_are_counted_and_noted():
    """A score of hard cases is not the score of the stream."""
    label = box((0, 0, 9, 9))
    frames = [
        LabelledFrame(truth=label, chosen="selected" if index < 3 else "random")
        for index in range(20)
    ]

    evaluation = evaluate(frames, [label] * 20)

    assert evaluation.n_selected == 3
    assert any("3 of 20 frames were selected" in note for note in evaluation.notes)


def test_takes_anything_with_image_and_truth():
    """Frames of other makes need no conversion; their camera becomes a tag."""

    class Picture:
        image = None
        truth = box((0, 0, 9, 9))
        camera = "dock"

    evaluation = evaluate([Picture()] * 20, [box((0, 0, 9, 9))] * 20)

    assert list(evaluation.per_tag["camera"]) == ["dock"]
    with pytest.raises(InputError, match="got str"):
        evaluate(["frame.jpg"], [nothing()])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ap": "voc07"}, "coco101"),
        ({"role": "test"}, "golden"),
        ({"operating_confidence": 1.5}, "between 0 and 1"),
        ({"replicates": 1}, "at least 2"),
        ({"level": 95}, "such as 0.95"),
    ],
)
def test_options_are_checked(options, said):
    """A value no score can be made with is named."""
    with pytest.raises(InputError, match=said):
        evaluate([box((0, 0, 9, 9))] * 3, [nothing()] * 3, **options)


def test_options_and_their_defaults_are_the_same():
    """Each documented option has a default, and none is hidden."""
    assert set(EvaluationOptions.__annotations__) == {one.name for one in Scoring.__attrs_attrs__}


@pytest.mark.parametrize("table", [True, False])
def test_goes_through_json(evaluation, table):
    """What is written can be read, to the last digit."""
    written = json.loads(json.dumps(evaluation.to_dict(table=table)))

    read = Evaluation.from_dict(written)

    assert read.to_dict(table=table) == evaluation.to_dict(table=table)
    assert read.map_interval == evaluation.map_interval
    assert read.settings == evaluation.settings
    assert (read.table is not None) == table
    assert str(read) == str(evaluation)
    if table:
        assert np.array_equal(read.table.confidence, evaluation.table.confidence)
        assert np.array_equal(read.table.hits, evaluation.table.hits)


def test_unknown_schema_is_refused(evaluation):
    """A later form is not guessed at."""
    with pytest.raises(UnreadableData, match="evaluation/9"):
        Evaluation.from_dict(evaluation.to_dict() | {"schema": "driftline.evaluation/9"})


def test_samples(evaluation):
    """mAP with its interval, and every part that is known, at the week's time."""
    samples = evaluation.to_samples()
    whole = {one.metric: one.value for one in samples if set(one.labels) == {"set"}}
    classes = {one.labels["class"] for one in samples if "class" in one.labels}

    assert whole == {
        Metric.MAP: evaluation.map,
        Metric.MAP50: evaluation.map50,
        Metric.MAP_LOW: evaluation.map_interval.low,
        Metric.MAP_HIGH: evaluation.map_interval.high,
    }
    assert classes == {"cup", "plate", "fork"}
    assert {one.at for one in samples} == {WEEK}
    assert {one.deployment for one in samples} == {"acme/line-3"}


def test_samples_need_a_time():
    """Nobody knows when: an error that says what to pass."""
    evaluation = evaluate([box((0, 0, 9, 9))], [nothing()], class_names=["cup"])

    with pytest.raises(InputError, match="pass at="):
        evaluation.to_samples()
    assert evaluation.to_samples(at=WEEK)[0].at == WEEK


def test_reads_well(evaluation):
    """The repr is short; the text names classes, sizes, cameras and notes."""
    text = str(evaluation)

    assert repr(evaluation).startswith("Evaluation(map=0.")
    assert len(repr(evaluation)) < 80
    for word in ("class cup", "size small", "camera cam-0", "note: no labelled object"):
        assert word in text


def test_settings_come_from_a_context():
    """What a predictor recorded is what the score is filed under."""
    context = Context(model="m", weights_digest="sha256:1", imgsz=320, ultralytics="8.4.190")

    settings = Settings.of(context)

    assert settings.flat() == {
        "model": "m",
        "weights_digest": "sha256:1",
        "imgsz": 320,
        "versions.ultralytics": "8.4.190",
    }


def test_calibration_reads_well(evaluation):
    """Confidence against precision, a line a bin, empty bins left out."""
    lines = str(evaluation.calibration).splitlines()

    assert lines[0].startswith("expected calibration error 0.")
    assert len(lines) == 1 + sum(one.n > 0 for one in evaluation.calibration.bins)
    assert "said 0." in lines[1]


def test_calibration_of_nothing():
    """Without detections there is no error, not a perfect one."""
    calibration = evaluate([box((0, 0, 9, 9))] * 20, [nothing()] * 20).calibration

    assert calibration.error is None
    assert str(calibration) == "expected calibration error unknown: no detections"


def test_two_classes_of_one_name_are_refused():
    """per_class is by name."""
    with pytest.raises(InputError, match="two classes have one name"):
        evaluate([box((0, 0, 9, 9))], [nothing()], class_names=["cup", "cup"])


def test_records_say_their_counts(evaluation):
    """Short, true reprs."""
    table = evaluation.table

    assert repr(table) == (
        f"MatchTable(60 frames, {len(table.confidence)} detections, {len(table.truth_frame)} objects)"
    )
    assert str(evaluation.overall.operating).startswith("at confidence 0.25: precision 0.")
