"""Labelled frames and made-up detections with everything that evaluation trips over."""

import contextlib
import io

import numpy as np

from driftline.holdout import Truth
from driftline.records import Detections

SIZE = (480, 640)


def scene(
    rng: np.random.Generator,
    *,
    frames: int = 60,
    classes: int = 3,
    objects: float = 6.0,
    false: float = 4.0,
    crowd: float = 0.0,
    ignore: float = 0.0,
    empty: float = 0.05,
    ties: bool = False,
    mask_areas: bool = False,
    quality: float = 0.0,
    scale: float = 1.0,
    size_matters: float = 0.0,
    invented: float = 0.0,
    misplaced: float = 0.0,
    overlooked: float = 0.0,
) -> tuple[list[Truth], list[Detections]]:
    """Frames with boxes of all sizes; detections that miss, repeat, shift and invent boxes.

    Args:
        rng: generator.
        frames: number of frames.
        classes: number of classes.
        objects: objects per frame, on average.
        false: false detections per frame, on average, mostly of low confidence.
        crowd: share of objects that are crowds.
        ignore: share of objects that are ignored.
        empty: share of frames without objects.
        ties: confidences rounded to one decimal.
        mask_areas: areas smaller than the boxes, as of masks.
        quality: how visible objects are; below 0 as through a blurred lens.
        scale: size of the objects, times the usual.
        size_matters: how much more visible large objects are.
        invented: false detections per frame that are as sure as true ones.
        misplaced: how far boxes sit off, times the side.
        overlooked: share of the detections of objects that do not come at all.
    """
    height, width = SIZE
    labels, predictions = [], []
    for _ in range(frames):
        n = 0 if rng.random() < empty else int(rng.poisson(objects))
        side = scale * np.exp(rng.normal(np.log(50), 0.7, (n, 1))).clip(6, 300)
        sides = side * np.exp(rng.normal(0, 0.2, (n, 2)))
        corner = rng.random((n, 2)) * [width - 300, height - 300]
        boxes = np.concatenate([corner, corner + sides], axis=1).round(1)
        kind = rng.integers(classes, size=n)
        seen = rng.normal(1.2 + quality, 1.0, n) + rng.normal(0, 0.5)
        seen += size_matters * np.log(side[:, 0] / 50)
        shift = rng.normal(0, 0.08, (n, 4)) * np.tile(sides, 2) * np.exp(-0.5 * seen)[:, None]
        shift += misplaced * np.tile(sides, 2)
        found = (seen > 0) & (rng.random(n) >= overlooked)
        sure = 1 / (1 + np.exp(-(seen[found] - 0.5 + rng.normal(0, 0.5, found.sum()))))
        again = rng.random(found.sum()) < 0.2
        m = int(rng.poisson(false))
        at = rng.random((m, 2)) * [width, height] * 0.8
        wide = np.exp(rng.normal(np.log(50), 0.7, (m, 1)))
        hits = (boxes + shift)[found]
        xyxy = np.concatenate([hits, hits[again] + 3.0, np.concatenate([at, at + wide], axis=1)])
        xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
        doubt = rng.beta(1.2, 5, m)
        surely = rng.random(m) < invented / max(false, 1e-9)
        doubt[surely] = 1 / (1 + np.exp(-rng.normal(0.7, 1.0, surely.sum())))
        confidence = np.concatenate([sure, 0.6 * sure[again], doubt])
        predictions.append(
            Detections(
                xyxy=xyxy,
                confidence=confidence.round(1) if ties else confidence,
                class_id=np.concatenate(
                    [kind[found], kind[found][again], rng.integers(classes, size=m)]
                ),
                image_size=SIZE,
            )
        )
        labels.append(
            Truth(
                xyxy=boxes,
                class_id=kind,
                image_size=SIZE,
                crowd=rng.random(n) < crowd,
                ignore=rng.random(n) < ignore,
                area=sides.prod(axis=1) * rng.uniform(0.5, 1.0, n) if mask_areas else None,
            )
        )
    return labels, predictions


def box(xyxy, class_id=0, confidence=1.0, image_size=(100, 100)) -> Detections:
    """Detections with one box."""
    return Detections(
        xyxy=[xyxy], confidence=[confidence], class_id=[class_id], image_size=image_size
    )


def nothing(image_size=(100, 100)) -> Detections:
    """Detections of a frame in which nothing is found."""
    return Detections(xyxy=[], confidence=[], class_id=[], image_size=image_size)


def coco_reference(labels, predictions, classes: int):
    """What pycocotools makes of the same data.

    Returns:
        Its 12 summary numbers, and precision ``(thresholds, recalls, classes, areas, limits)``.

    pycocotools overwrites the flag ``ignore`` of an object by ``iscrowd`` when it prepares, so
    that objects can be ignored one by one only by setting the flag again afterwards.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class WithIgnored(COCOeval):
        def _prepare(self):
            super()._prepare()
            for objects in self._gts.values():
                for one in objects:
                    one["ignore"] = one["unjudged"]

    truth, found = [], []
    for image, (label, prediction) in enumerate(zip(labels, predictions, strict=True), start=1):
        truth += [
            {
                "id": len(truth) + index + 1,
                "image_id": image,
                "category_id": int(label.class_id[index]) + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(label.areas[index]),
                "iscrowd": int(label.crowds[index]),
                "unjudged": int(label.unjudged[index]),
            }
            for index, (x0, y0, x1, y1) in enumerate(label.xyxy.tolist())
        ]
        found += [
            {
                "image_id": image,
                "category_id": int(prediction.class_id[index]) + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(prediction.confidence[index]),
            }
            for index, (x0, y0, x1, y1) in enumerate(prediction.xyxy.tolist())
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image + 1} for image in range(len(labels))],
            "annotations": truth,
            "categories": [{"id": index + 1, "name": str(index)} for index in range(classes)],
        }
        coco.createIndex()
        evaluator = WithIgnored(coco, coco.loadRes(found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats, evaluator.eval["precision"]
