"""What no holdout, score or trend can be made of is refused by name; damaged records are told."""

import base64
import json
import zlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftline.errors import DriftlineError, InputError, UnreadableData
from driftline.holdout import (
    Evaluation,
    Holdout,
    HoldoutValidator,
    LabelledFrame,
    LocalModel,
    Manifest,
    PoolFrame,
    PrecisionCalibrator,
    Settings,
    Trend,
    Truth,
    evaluate,
    frames_needed,
    smallest_drop,
)
from driftline.records import Detections

NAMES = {0: "cup", 1: "plate"}
WHEN = datetime(2026, 11, 2, tzinfo=UTC)
NAIVE = datetime(2026, 11, 2)
BOX = {"xyxy": [[0, 0, 9, 9]], "class_id": [0], "image_size": (32, 32)}


def scene(n=30):
    """Labels and predictions of n frames, two boxes each, of which the second is a little off."""
    rng = np.random.default_rng(0)
    labels, found = [], []
    for place in range(n):
        corner = rng.uniform(0, 60, (2, 2))
        boxes = np.hstack([corner, corner + rng.uniform(10, 30, (2, 2))])
        truth = Truth(xyxy=boxes, class_id=[0, 1], image_size=(96, 96), class_names=NAMES)
        labels.append(LabelledFrame(truth=truth, id=f"frame-{place}", tags={"camera": "a"}))
        moved = boxes + rng.normal(0, 2, (2, 4))
        found.append(
            Detections(xyxy=moved, confidence=[0.9, 0.4], class_id=[0, 1], image_size=(96, 96))
        )
    return labels, found


LABELS, FOUND = scene()


@pytest.fixture(scope="module")
def evaluation():
    """A small one, with its table."""
    return evaluate(LABELS, FOUND, class_names=NAMES, replicates=10, at=WHEN)


@pytest.mark.parametrize(
    "change",
    [
        {"xyxy": "box"},
        {"xyxy": [[0, 0, np.nan, 9]]},
        {"class_id": [np.inf]},
        {"class_id": ["cup"]},
        {"class_id": [[1, 2], [3]]},
        {"area": ["large"]},
        {"crowd": [[True, False], [True]]},
        {"image_size": (0, 32)},
        {"image_size": "32x32"},
    ],
    ids=repr,
)
def test_wrong_labels(change):
    """Before anything is scored with them."""
    with pytest.raises(InputError):
        Truth(**(BOX | change))


@pytest.mark.parametrize(
    "options",
    [
        {"operating_confidence": "high"},
        {"max_detections": 1.5},
        {"max_detections": 0},
        {"replicates": "many"},
        {"replicates": 10**9},
        {"level": None},
        {"rng": "seed"},
        {"rng": -1},
        {"by": 3},
        {"cluster_by": [["camera"]]},
        {"settings": {"conf": 0.1}},
        {"at": NAIVE},
        {"class_names": "cup"},
    ],
    ids=repr,
)
def test_wrong_options(options):
    """Each is named before the work begins."""
    with pytest.raises(InputError):
        evaluate(LABELS, FOUND, **({"class_names": NAMES} | options))


WRONG = {
    "compare with a number": lambda one: one.compare(0.7),
    "allow a number": lambda one: one.compare(one, allow=3),
    "a trend of letters": lambda _: Trend.of("abc"),
    "a calibrator of a number": lambda _: PrecisionCalibrator(0.7),
    "calibrate above a word": lambda one: PrecisionCalibrator(one, confidence="high"),
    "labels by name": lambda _: evaluate({"a": 1}, FOUND),
    "frame of a number": lambda _: LabelledFrame(truth=LABELS[0].truth, id=3),
    "tags in a list": lambda _: LabelledFrame(truth=LABELS[0].truth, tags=["a"]),
    "chosen at will": lambda _: LabelledFrame(truth=LABELS[0].truth, chosen="at will"),
    "holdout of words": lambda _: Holdout(frames=["a"], class_names=NAMES),
    "holdout of a number": lambda _: Holdout.of(3, NAMES),
    "open without a word": lambda _: Holdout.open("data.yaml", missing_labels="bakground"),
    "open half a split": lambda _: Holdout.open("data.yaml", split=["test"]),
    "manifest of a number": lambda _: Manifest.load(3),
    "weights of a number": lambda _: LocalModel(3),
    "sample of a number": lambda _: Holdout.sample(3, n=20, seed=0),
    "sample by a word": lambda _: Holdout.sample([], n="20", seed=0),
    "sample with a word": lambda _: Holdout.sample([], n=20, seed="one"),
    "camera of a number": lambda _: PoolFrame(image="a.jpg", camera=3),
    "drop of no mix": lambda _: smallest_drop(200, classes={}),
    "drop of words": lambda _: smallest_drop(200, classes=["a"]),
    "frames of a score": lambda _: frames_needed(0.03, evaluation=0.7),
    "mapping in a list": lambda _: HoldoutValidator(LABELS, FOUND, class_mapping=["a"]),
    "time as a clock": lambda _: HoldoutValidator(LABELS, FOUND, clock=3),
    "checkpoint in a number": lambda _: HoldoutValidator(LABELS, FOUND, checkpoint=3),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=list(WRONG))
def test_wrong_arguments(call, evaluation):
    """An error of ours, and no other."""
    with pytest.raises(InputError):
        call(evaluation)


def test_a_refresh_needs_a_holdout():
    """And a folder of a dataset a name that is free."""
    holdout = Holdout.of(LABELS, NAMES, added_at=WHEN)
    for call in (
        lambda: holdout.refresh([], at=WHEN),
        lambda: holdout.leaks(3),
        lambda: holdout.without(3),
        lambda: holdout.write_yolo(__file__),
        lambda: holdout.write_yolo("a\0b"),
    ):
        with pytest.raises(InputError):
            call()


class Predicts:
    """A model that answers what it was made with."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, _image):
        return self.answer


@pytest.mark.parametrize("answer", [None, [], {"boxes": []}])
def test_a_model_that_gives_no_detections(answer, tmp_path):
    """It is told at the first frame, and no checkpoint holds it."""
    frame = LabelledFrame(truth=LABELS[0].truth, id="a", image=np.zeros((96, 96, 3), np.uint8))
    path = tmp_path / "checkpoint"
    with pytest.raises(InputError, match="must be Detections"):
        HoldoutValidator([frame], Predicts(answer), checkpoint=path).validate()

    assert 1 == len(path.read_text().splitlines())


LINE = {
    "frame": 0,
    "xyxy": [],
    "confidence": [],
    "class_id": [],
    "image_size": [96, 96],
    "class_names": {},
}


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "[]",
        "{}",
        "[" * 100_000,
        *(json.dumps(LINE | odd) for odd in ({"frame": "a"}, {"image_size": None})),
        json.dumps(LINE | {"class_names": {"a": "b"}}),
    ],
    ids=range(7),
)
def test_a_damaged_checkpoint_line(line, tmp_path):
    """The message says which line, and what to do."""
    frame = LabelledFrame(truth=LABELS[0].truth, id="a", image=np.zeros((96, 96, 3), np.uint8))
    path = tmp_path / "checkpoint"
    HoldoutValidator([frame], Predicts(FOUND[0]), checkpoint=path).validate()
    head = path.read_text().splitlines()[0]
    path.write_text(f"{head}\n{line}\n")
    with pytest.raises(UnreadableData, match=r"line 2 of .*remove it"):
        HoldoutValidator([frame], Predicts(FOUND[0]), checkpoint=path).validate()


@pytest.mark.parametrize("path", ["missing/checkpoint", ".", "a\0b"])
def test_a_checkpoint_where_none_can_be(path, tmp_path, monkeypatch):
    """The path is named."""
    monkeypatch.chdir(tmp_path)
    frame = LabelledFrame(truth=LABELS[0].truth, id="a", image=np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(InputError, match="pass another path"):
        HoldoutValidator([frame], Predicts(FOUND[0]), checkpoint=path).validate()


ODD = [None, True, -1, 10**400, "x", [], ["a"], {}, {"a": 1}]


def told(evaluation, other):
    """Everything that reads an evaluation."""
    str(evaluation)
    evaluation.to_samples(at=WHEN)
    evaluation.compare(other, replicates=4)
    evaluation._repr_html_()


@pytest.mark.parametrize("part", ["", "overall", "table", "calibration", "val_row", "settings"])
def test_damaged_evaluations(part, evaluation):
    """Whatever stands for a field: it is unreadable, or reads, prints and compares."""
    plain = json.loads(json.dumps(evaluation.to_dict()))
    for name in plain[part] if part else plain:
        for odd in ODD:
            change = {name: odd} if not part else {part: {**plain[part], name: odd}}
            try:
                told(Evaluation.from_dict({**plain, **change}), evaluation)
            except DriftlineError:
                continue


def test_a_table_does_not_unpack_to_gigabytes(evaluation, monkeypatch):
    """An array says how long it is, and is not believed."""
    monkeypatch.setattr("driftline.holdout._table._MOST_BYTES", 1000)
    plain = evaluation.to_dict()
    bomb = base64.b64encode(zlib.compress(bytes(100_000))).decode()
    plain["table"]["area"] |= {"zlib": bomb, "shape": [12_500], "dtype": "<f8"}
    with pytest.raises(UnreadableData, match="unpacks to more than 1,000 bytes"):
        Evaluation.from_dict(plain)


def test_damaged_trends(evaluation):
    """As evaluations."""
    weeks = [
        evaluate(LABELS, FOUND, class_names=NAMES, replicates=4, at=WHEN + timedelta(weeks=week))
        for week in range(3)
    ]
    plain = json.loads(json.dumps(Trend.of(weeks).to_dict()))
    changes = [{name: odd} for name in plain for odd in ODD]
    for name in plain["points"][0]:
        changes += [{"points": [{**plain["points"][0], name: odd}]} for odd in ODD]
    for change in changes:
        try:
            trend = Trend.from_dict({**plain, **change})
        except UnreadableData:
            continue
        str(trend)
        trend.to_samples(at=WHEN)
        trend._repr_html_()


def test_settings_of_another_form():
    """Told as what they are."""
    with pytest.raises(UnreadableData, match="no settings of this version"):
        Settings.from_dict({"class_names": [], "versions": {}})
