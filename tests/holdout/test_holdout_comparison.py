"""Whether the number moved, and which class, size or camera moved it."""

import numpy as np
import pytest
from attrs import evolve
from holdout_scenes import scene

from driftline.errors import ContextMismatch, InputError
from driftline.holdout import Evaluation, LabelledFrame, Settings, evaluate
from driftline.records import Detections

NAMES = ["cup", "plate", "fork"]


def named(labels, prefix="f"):
    return [
        LabelledFrame(truth=label, id=f"{prefix}{index}", tags={"camera": f"cam-{index % 2}"})
        for index, label in enumerate(labels)
    ]


def without(predictions, class_id, every=2):
    """The same, with every other detection of a class gone."""
    answer = []
    for found in predictions:
        keep = np.ones(len(found), dtype=bool)
        keep[np.flatnonzero(found.class_id == class_id)[::every]] = False
        answer.append(
            Detections(
                xyxy=found.xyxy[keep],
                confidence=found.confidence[keep],
                class_id=found.class_id[keep],
                image_size=found.image_size,
            )
        )
    return answer


def shaken(rng, predictions, pixels):
    """The same boxes, less exact."""
    return [
        evolve(found, xyxy=found.xyxy + rng.normal(0, pixels, found.xyxy.shape))
        for found in predictions
    ]


@pytest.fixture(scope="module")
def world():
    return scene(np.random.default_rng(21), frames=150)


def test_itself_is_no_difference(world):
    """The same detections on the same frames: 0, with no error at all."""
    labels, predictions = world
    one = evaluate(named(labels), predictions, class_names=NAMES, replicates=100)

    same = one.compare(one, replicates=100)

    assert same.pairing == "paired"
    assert same.n_shared == 150
    assert same.difference.value == 0.0
    assert same.verdict == "no difference shown"
    assert same.moved == ()


def test_pairing_narrows_the_interval(world):
    """On the same frames what is hard in them cancels."""
    labels, predictions = world
    worse = shaken(np.random.default_rng(1), predictions, 1.0)
    first = evaluate(named(labels), predictions, class_names=NAMES, replicates=50)
    other = evaluate(named(labels), worse, class_names=NAMES, replicates=50)
    elsewhere = evaluate(named(labels, "g"), worse, class_names=NAMES, replicates=50)

    paired = first.compare(other, replicates=300)
    unpaired = first.compare(elsewhere, replicates=300)

    assert ("paired", "unpaired") == (paired.pairing, unpaired.pairing)
    assert paired.difference.value == unpaired.difference.value > 0
    assert paired.difference.standard_error < 0.6 * unpaired.difference.standard_error
    assert paired.verdict == "better"
    assert paired.probability > 0.99


def test_names_the_class_that_moved(world):
    """Half of the plates are missed: plate moved, the others did not, contributions add up."""
    labels, predictions = world
    before = evaluate(named(labels), predictions, class_names=NAMES, replicates=50)
    after = evaluate(named(labels), without(predictions, 1), class_names=NAMES, replicates=50)

    change = after.compare(before, replicates=200)

    assert change.verdict == "worse"
    assert [one.name for one in change.moved if one.name in NAMES] == ["plate"]
    contributions = [one.contribution for one in change.per_class.values()]
    assert sum(contributions) == pytest.approx(change.difference.value, abs=1e-12)
    plate = change.per_class["plate"]
    assert plate.adjusted_p_value >= plate.p_value
    assert plate.contribution == pytest.approx(change.difference.value, abs=1e-12)


def test_names_the_camera_that_moved(world):
    """Only one camera's frames got worse."""
    labels, predictions = world
    blurred = shaken(np.random.default_rng(3), predictions, 2.0)
    mixed = [blurred[i] if i % 2 else predictions[i] for i in range(len(labels))]
    before = evaluate(named(labels), predictions, class_names=NAMES, replicates=50)
    after = evaluate(named(labels), mixed, class_names=NAMES, replicates=50)

    cameras = after.compare(before, replicates=200).per_tag["camera"]

    assert cameras["cam-1"].moved
    assert not cameras["cam-0"].moved
    assert cameras["cam-0"].difference.value == 0.0


def test_some_frames_are_shared(world):
    """Half of the frames are the same: between paired and unpaired."""
    labels, predictions = world
    worse = shaken(np.random.default_rng(1), predictions, 1.0)
    frames = named(labels)
    first = evaluate(frames[:100], predictions[:100], class_names=NAMES, replicates=50)
    other = evaluate(frames[50:], worse[50:], class_names=NAMES, replicates=50)

    comparison = first.compare(other, replicates=100)

    assert (comparison.pairing, comparison.n_shared) == ("partly paired", 50)


def test_numbers_are_no_names(world):
    """Two weeks of unnamed frames are not paired by their numbers; one set twice is."""
    labels, predictions = world
    monday = evaluate(labels[:70], predictions[:70], class_names=NAMES, replicates=50)
    tuesday = evaluate(labels[70:140], predictions[70:140], class_names=NAMES, replicates=50)

    assert monday.compare(tuesday, replicates=50).pairing == "unpaired"
    assert monday.compare(monday, replicates=50).pairing == "paired"


def test_relabelled_frames_are_not_the_same(world):
    """A name with other labels is another frame."""
    labels, predictions = world
    first = evaluate(named(labels), predictions, class_names=NAMES, replicates=50)
    moved = [evolve(label, xyxy=label.xyxy + 1) for label in labels]
    other = evaluate(named(moved), predictions, class_names=NAMES, replicates=50)

    shared = first.compare(other, replicates=50).n_shared

    assert shared == sum(len(label) == 0 for label in labels)  # only the empty ones are equal


def test_without_detections_it_is_unpaired(world):
    """From two summaries alone the errors add up, and the result says so."""
    labels, predictions = world
    first = evaluate(named(labels), predictions, class_names=NAMES, replicates=100)
    other = evaluate(named(labels), without(predictions, 1), class_names=NAMES, replicates=100)

    short = Evaluation.from_dict(first.to_dict(table=False)).compare(other, replicates=2000)

    errors = [one.overall.estimate.standard_error for one in (first, other)]
    assert short.pairing == "unpaired"
    assert any("were not kept" in note for note in short.notes)
    assert short.difference.value == pytest.approx(first.map - other.map)
    assert short.difference.standard_error == pytest.approx(np.hypot(*errors), rel=0.05)
    biases = [one.overall.estimate.bias for one in (first, other)]
    assert short.difference.bias == pytest.approx(biases[0] - biases[1], abs=1e-9)


def test_settings_must_agree(world):
    """Another image size is another score; another model is what a comparison is for."""
    labels, predictions = world[0][:30], world[1][:30]

    def scored(**settings):
        return evaluate(
            labels, predictions, class_names=NAMES, replicates=20, settings=Settings(**settings)
        )

    base = scored(model="old", weights_digest="sha256:1", imgsz=640, versions={"torch": "2.13"})
    other = scored(model="new", weights_digest="sha256:2", imgsz=640, versions={"torch": "2.13"})
    assert base.compare(other, replicates=20).notes == ()
    with pytest.raises(ContextMismatch, match="imgsz: 640 and 320") as caught:
        base.compare(scored(imgsz=320, versions={"torch": "2.12"}))
    assert caught.value.fields == ("imgsz", "versions.torch")
    silent = base.compare(scored(model="new", imgsz=640), replicates=20)
    assert silent.notes == (
        "recorded by one evaluation only, so not known to be equal: versions.torch",
    )
    assert base.compare(scored(imgsz=320), allow=("imgsz",), replicates=20).pairing == "paired"


def test_conventions_must_agree(world):
    """COCO's average precision is not held against that of yolo val."""
    labels, predictions = world[0][:30], world[1][:30]
    coco, val = (
        evaluate(labels, predictions, class_names=NAMES, ap=ap, replicates=20)
        for ap in ("coco101", "ultralytics")
    )

    with pytest.raises(ContextMismatch) as caught:
        coco.compare(val)
    assert caught.value.fields == ("ap",)


def test_levels_must_agree(world):
    """A 90 % interval is not held against a 95 % one."""
    labels, predictions = world[0][:30], world[1][:30]
    one, other = (
        evaluate(labels, predictions, class_names=NAMES, level=level, replicates=20)
        for level in (0.9, 0.95)
    )

    with pytest.raises(InputError, match=r"0\.9 and 0\.95"):
        one.compare(other)


def test_reads_well(world):
    """Verdict, difference and what moved."""
    labels, predictions = world
    before = evaluate(named(labels), predictions, class_names=NAMES, replicates=50)
    after = evaluate(named(labels), without(predictions, 1), class_names=NAMES, replicates=50)

    text = str(after.compare(before, replicates=100))

    assert text.startswith("mAP@0.5:0.95 worse: -0.")
    assert "plate" in text


def test_clusters_are_drawn_together(world):
    """Camera-days of both weeks are units; on the same frames they are the same units."""
    labels, predictions = world
    frames = [
        evolve(frame, tags={"camera": f"cam-{index % 3}", "day": str(index % 10)})
        for index, frame in enumerate(named(labels))
    ]
    options = {"class_names": NAMES, "replicates": 50, "cluster_by": ("camera", "day"), "by": ()}
    worse = shaken(np.random.default_rng(1), predictions, 1.0)
    first = evaluate(frames, predictions, **options)
    other = evaluate(frames, worse, **options)
    elsewhere = evaluate([evolve(one, id=f"g{one.id}") for one in frames], worse, **options)

    paired = first.compare(other, replicates=200)
    unpaired = first.compare(elsewhere, replicates=200)

    assert first.n_units == 30
    assert paired.difference.standard_error < unpaired.difference.standard_error
    assert unpaired.pairing == "unpaired"


def test_a_class_of_one_week_only_is_unknown(world):
    """A class without labels in one of the two has no difference, and the reason says so."""
    labels, predictions = world
    frames = named(labels)
    names = [*NAMES, "spoon"]
    first = evaluate(frames, predictions, class_names=names, replicates=20)

    change = first.compare(first, replicates=20).per_class["spoon"]

    assert change.difference.value is None
    assert change.p_value is None
    assert change.contribution is None
    assert not change.moved
    assert "no labelled object of spoon" in str(change)


def test_one_frame_is_too_little(world):
    """One frame cannot tell which of two models is better."""
    labels, predictions = world
    one = evaluate(labels[:1], predictions[:1], class_names=NAMES, replicates=20)
    short = Evaluation.from_dict(one.to_dict(table=False))

    assert one.compare(one).verdict == "too little data"
    assert one.compare(one).probability is None
    assert short.compare(one).verdict == "too little data"
