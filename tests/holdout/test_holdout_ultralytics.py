"""With ap="ultralytics" the score is that of ``yolo val``."""

import numpy as np
import pytest
from holdout_scenes import scene

from driftline.holdout import evaluate


def val_by_hand(labels, predictions):
    """The rules of ``yolo val`` written out plainly, from its documentation and behaviour.

    Returns:
        AP ``(classes, thresholds)``, mean precision and mean recall at the best mean F1.
    """
    thresholds = np.linspace(0.5, 0.95, 10)
    classes = sorted({int(one) for label in labels for one in label.class_id})
    ap, curves = [], []
    grid = np.linspace(0, 1, 1000)
    for wanted in classes:
        rows = []
        total = 0
        for label, found in zip(labels, predictions, strict=True):
            truth = label.xyxy[label.class_id == wanted]
            total += len(truth)
            chosen = found.class_id == wanted
            order = np.argsort(-found.confidence[chosen], kind="stable")
            boxes, sure = found.xyxy[chosen][order], found.confidence[chosen][order]
            taken = np.zeros((10, len(truth)), dtype=bool)
            for one, confidence in zip(boxes, sure, strict=True):
                right = np.zeros(10, dtype=bool)
                for t, threshold in enumerate(thresholds):
                    overlap = [
                        0.0 if used else iou(one, b)
                        for used, b in zip(taken[t], truth, strict=True)
                    ]
                    if overlap and max(overlap) >= threshold:
                        right[t] = taken[t, int(np.argmax(overlap))] = True
                rows.append((confidence, right))
        rows.sort(key=lambda row: -row[0])
        if not rows:
            ap.append(np.zeros(10))
            curves.append((np.zeros(1000), np.zeros(1000)))
            continue
        confidence = np.array([row[0] for row in rows])
        hits = np.cumsum([row[1] for row in rows], axis=0)
        precision, recall = hits / np.arange(1, len(rows) + 1)[:, None], hits / total
        ap.append([area(recall[:, t], precision[:, t]) for t in range(10)])
        curves.append(
            (
                np.interp(-grid, -confidence, precision[:, 0], left=1),
                np.interp(-grid, -confidence, recall[:, 0], left=0),
            )
        )
    p, r = (np.array([pair[part] for pair in curves]) for part in (0, 1))
    f1 = (2 * p * r / (p + r + 1e-16)).mean(axis=0)
    padded = np.concatenate([np.full(50, f1[0]), f1, np.full(50, f1[-1])])
    best = np.convolve(padded, np.full(101, 1 / 101), mode="valid").argmax()
    return np.array(ap), p[:, best].mean(), r[:, best].mean()


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return common / (sum(areas) - common)


def area(recall, precision):
    x = [0.0, *recall, recall[-1], 1.0]
    y = [1.0, *precision, 0.0, 0.0]
    envelope = [max(y[index:]) for index in range(len(y))]
    at = np.linspace(0, 1, 101)
    values = np.interp(at, x, envelope)
    return ((values[1:] + values[:-1]) / 2 * 0.01).sum()


@pytest.mark.parametrize("world", [{}, {"classes": 8, "frames": 20}, {"quality": -1.0}])
def test_equals_the_rules_by_hand(world):
    """mAP, mAP50, mAP75, and the printed precision and recall, to rounding."""
    labels, predictions = scene(np.random.default_rng(11), **world)

    ap, precision, recall = val_by_hand(labels, predictions)
    ours = evaluate(labels, predictions, ap="ultralytics", replicates=2)

    assert ours.map == pytest.approx(ap.mean(), abs=1e-9)
    assert ours.map50 == pytest.approx(ap[:, 0].mean(), abs=1e-9)
    assert ours.map75 == pytest.approx(ap[:, 5].mean(), abs=1e-9)
    assert ours.val_row.precision == pytest.approx(precision, abs=1e-9)
    assert ours.val_row.recall == pytest.approx(recall, abs=1e-9)


def test_conventions_differ_a_little():
    """The two ways of reading one curve are told apart, and stay within 5e-3 of each other."""
    labels, predictions = scene(np.random.default_rng(11))

    coco = evaluate(labels, predictions, replicates=2)
    val = evaluate(labels, predictions, ap="ultralytics", replicates=2)

    assert 1e-5 < abs(coco.map - val.map) < 5e-3
    assert ("coco101", 100) == (coco.settings.ap, coco.settings.max_detections)
    assert ("ultralytics", None) == (val.settings.ap, val.settings.max_detections)


@pytest.mark.yolo
@pytest.mark.parametrize("world", [{"frames": 150}, {"classes": 12, "frames": 60}])
def test_equals_ultralytics_itself(world, monkeypatch, tmp_path):
    """The functions that ``yolo val`` calls give the same numbers, to its 32-bit overlaps."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("ultralytics.utils.metrics")
    from ultralytics.engine.validator import BaseValidator

    class Matcher:
        iouv = torch.linspace(0.5, 0.95, 10)

    labels, predictions = scene(np.random.default_rng(3), **world)
    hits = []
    for label, found in zip(labels, predictions, strict=True):
        order = np.argsort(-found.confidence, kind="stable")
        if not len(label) or not len(order):
            hits.append(np.zeros((len(order), 10), dtype=bool))
            continue
        overlap = metrics.box_iou(torch.tensor(label.xyxy), torch.tensor(found.xyxy[order]))
        classes = torch.tensor(found.class_id[order]), torch.tensor(label.class_id)
        hits.append(BaseValidator.match_predictions(Matcher, *classes, overlap).numpy())
    orders = [np.argsort(-found.confidence, kind="stable") for found in predictions]
    theirs = metrics.ap_per_class(
        np.concatenate(hits),
        np.concatenate(
            [one.confidence[order] for one, order in zip(predictions, orders, strict=True)]
        ),
        np.concatenate(
            [one.class_id[order] for one, order in zip(predictions, orders, strict=True)]
        ),
        np.concatenate([one.class_id for one in labels]),
    )
    ours = evaluate(labels, predictions, ap="ultralytics", replicates=2)

    assert ours.map == pytest.approx(theirs[5].mean(), abs=1e-3)
    assert ours.map50 == pytest.approx(theirs[5][:, 0].mean(), abs=1e-3)
    assert ours.val_row.precision == pytest.approx(theirs[2].mean(), abs=1e-3)
    assert ours.val_row.recall == pytest.approx(theirs[3].mean(), abs=1e-3)
