"""The score is that of the COCO reference implementation."""

import numpy as np
import pytest
from holdout_scenes import SIZE, box, coco_reference, nothing, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.holdout import Truth, evaluate
from driftline.records import Detections

EXACT = 1e-9  # the same sums in another order; the requirement is 1e-6


def names(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"crowd": 0.15},
        {"ignore": 0.15},
        {"crowd": 0.1, "ignore": 0.1, "ties": True, "empty": 0.5, "mask_areas": True},
        {"classes": 12, "frames": 25, "ties": True},
        {"frames": 8, "objects": 30.0, "false": 60.0, "classes": 1},
    ],
    ids=["plain", "crowds", "ignored", "everything", "absent classes", "crowded"],
)
def test_equals_pycocotools(world):
    """Overall, by threshold, by size and by class, with crowds, ignored, empty, absent and ties."""
    labels, predictions = scene(np.random.default_rng(5), **world)
    classes = world.get("classes", 3) + 1  # the last is never labelled

    ours = evaluate(labels, predictions, class_names=names(classes), replicates=2)
    stats, precision = coco_reference(labels, predictions, classes)

    assert ours.map == pytest.approx(stats[0], abs=EXACT)
    assert ours.map50 == pytest.approx(stats[1], abs=EXACT)
    assert ours.map75 == pytest.approx(stats[2], abs=EXACT)
    for size, expected in zip(("small", "medium", "large"), stats[3:6], strict=True):
        found = ours.per_size[size].map
        assert (-1.0 if found is None else found) == pytest.approx(expected, abs=EXACT)
    for index in range(classes):
        expected = precision[:, :, index, 0, -1].mean()
        found = ours.per_class[str(index)].map
        assert (-1.0 if found is None else found) == pytest.approx(expected, abs=EXACT)


@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 6),
    classes=st.integers(1, 4),
    crowd=st.sampled_from([0.0, 0.4]),
    ignore=st.sampled_from([0.0, 0.4]),
    ties=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_equals_pycocotools_on_anything(*, seed, frames, classes, crowd, ignore, ties):
    """Small random sets, where every tie and every empty corner is near."""
    labels, predictions = scene(
        np.random.default_rng(seed),
        frames=frames,
        classes=classes,
        crowd=crowd,
        ignore=ignore,
        ties=ties,
        empty=0.3,
    )
    if not any((~label.unjudged).any() for label in labels):
        return
    if not any(len(one) for one in predictions):
        return  # pycocotools cannot load an empty list

    ours = evaluate(labels, predictions, class_names=names(classes), replicates=2)
    stats, _ = coco_reference(labels, predictions, classes)

    sizes = [ours.per_size[size].map for size in ("small", "medium", "large")]
    found = [ours.map, ours.map50, ours.map75, *(-1 if one is None else one for one in sizes)]
    assert found == pytest.approx(stats[:6].tolist(), abs=EXACT)


def test_keeps_a_hundred_detections_of_a_class():
    """COCO looks at the 100 most confident of a class and frame; the limit can be moved."""
    boxes = np.array([[5.0 * index, 0, 5.0 * index + 4, 4] for index in range(110)])
    truth = Truth(xyxy=boxes, class_id=np.zeros(110), image_size=SIZE)
    found = Detections(
        xyxy=boxes, confidence=np.linspace(0.9, 0.1, 110), class_id=np.zeros(110), image_size=SIZE
    )

    coco = evaluate([truth], [found], replicates=2)
    wider = evaluate([truth], [found], replicates=2, max_detections=200)
    stats, _ = coco_reference([truth], [found], 1)

    assert stats[0] == pytest.approx(coco.map, abs=EXACT)
    assert 91 / 101 == pytest.approx(coco.map)  # recall 100/110: 91 of the 101 recalls
    assert wider.map == pytest.approx(1.0)


def test_hand_counted():
    """One of two objects found, one false alarm below it: 51 of 101 recalls at precision 1."""
    labels = [box((0, 0, 10, 10)), box((50, 50, 60, 60))]
    found = [
        Detections(
            xyxy=[[0, 0, 10, 10], [70, 70, 80, 80]],
            confidence=[0.9, 0.8],
            class_id=[0, 0],
            image_size=(100, 100),
        ),
        nothing(),
    ]

    evaluation = evaluate(labels, found, class_names=["cup"])

    assert evaluation.map == pytest.approx(51 / 101)


def test_crowd_is_measured_by_the_detection():
    """A detection inside a crowd does not count, however small its overlap with the whole."""
    truth = Truth(
        xyxy=[[0, 0, 90, 90], [0, 0, 5, 5]],
        class_id=[0, 0],
        crowd=[True, False],
        image_size=(100, 100),
    )
    inside = Detections(
        xyxy=[[20, 20, 30, 30], [40, 40, 50, 50], [0, 0, 5, 5]],
        confidence=[0.9, 0.8, 0.7],
        class_id=[0, 0, 0],
        image_size=(100, 100),
    )

    evaluation = evaluate([truth], [inside])
    point = evaluation.overall.operating

    assert evaluation.map == pytest.approx(1.0)
    assert point is not None
    assert (point.true_positives, point.false_positives) == (1.0, 0.0)
