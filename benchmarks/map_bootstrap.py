"""A bootstrap interval of mAP: resampling weights against evaluating again with a COCO library.

Run it as a script; it prints CPU seconds and ratios. The libraries are timed on a few replicates
and scaled up: once as most people write it (a new data set per replicate, evaluated from the
start) and once as well as their interface allows (matched once, accumulated per replicate).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from driftline.holdout import Truth, evaluate
from driftline.holdout._evaluation import Scoring, _resample
from driftline.records import Detections

SIZE = (480, 640)


def world(frames: int, classes: int, seed: int) -> tuple[list[Truth], list[Detections]]:
    """Frames with about 6 objects and 10 detections each."""
    rng = np.random.default_rng(seed)
    labels, predictions = [], []
    for _ in range(frames):
        n, m = rng.poisson(6), rng.poisson(5)
        side = np.exp(rng.normal(np.log(50), 0.7, (n, 1))).clip(6, 250)
        corner = rng.random((n, 2)) * [640 - 250, 480 - 250]
        boxes = np.concatenate([corner, corner + side], axis=1)
        kind = rng.integers(classes, size=n)
        seen = rng.normal(1.2, 1.0, n)
        found = seen > 0
        shift = rng.normal(0, 0.08, (n, 4)) * side * np.exp(-0.5 * seen)[:, None]
        at = rng.random((m, 2)) * [500, 350]
        false = np.concatenate([at, at + rng.uniform(10, 120, (m, 1))], axis=1)
        labels.append(Truth(xyxy=boxes, class_id=kind, image_size=SIZE))
        predictions.append(
            Detections(
                xyxy=np.concatenate([(boxes + shift)[found], false]),
                confidence=np.concatenate([1 / (1 + np.exp(-seen[found])), rng.beta(1, 4, m)]),
                class_id=np.concatenate([kind[found], rng.integers(classes, size=m)]),
                image_size=SIZE,
            )
        )
    return labels, predictions


def coco_data(
    labels: list[Truth], predictions: list[Detections], picked: list[int], classes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Data set and results of some frames, a frame picked twice being two images."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, index in enumerate(picked, start=1):
        label, prediction = labels[index], predictions[index]
        for (x0, y0, x1, y1), kind in zip(label.xyxy.tolist(), label.class_id, strict=True):
            box = [x0, y0, x1 - x0, y1 - y0]
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": int(kind) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        rows = zip(
            prediction.xyxy.tolist(), prediction.class_id, prediction.confidence, strict=True
        )
        for (x0, y0, x1, y1), kind, score in rows:
            found.append(
                {
                    "image_id": image,
                    "category_id": int(kind) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": float(score),
                }
            )
    data = {
        "images": [{"id": image + 1} for image in range(len(picked))],
        "annotations": truth,
        "categories": [{"id": index + 1, "name": str(index)} for index in range(classes)],
        "info": {},
    }
    return data, found


def seconds(run: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times


def by_pycocotools(data: dict[str, Any], found: list[dict[str, Any]]) -> Any:
    """One full evaluation by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = data
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def accumulate_again(evaluator: Any, rng: np.random.Generator) -> None:
    """One replicate from the matches of pycocotools: its images drawn anew."""
    images = len(evaluator.params.imgIds)
    blocks = np.array(evaluator.evalImgs, dtype=object).reshape(-1, images)
    drawn = blocks[:, rng.integers(images, size=images)]
    kept, evaluator.evalImgs = evaluator.evalImgs, drawn.reshape(-1).tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
        evaluator.summarize()
    evaluator.evalImgs = kept


def by_faster(data: dict[str, Any], found: list[dict[str, Any]]) -> Any:
    """One full evaluation by faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(data)
        evaluator = COCOeval_faster(coco, coco.loadRes(found), "bbox", print_function=str)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--timed", type=int, default=5, help="replicates to time of a library")
    options = parser.parse_args()
    labels, predictions = world(options.frames, options.classes, seed=1)
    rng = np.random.default_rng(2)
    everything = list(range(options.frames))
    data, found = coco_data(labels, predictions, everything, options.classes)
    first = by_pycocotools(data, found)
    reference = first.stats[0]

    evaluation = evaluate(labels, predictions, replicates=options.replicates)
    table = evaluation.table
    assert table is not None
    scoring = Scoring(replicates=options.replicates)
    kernel = seconds(lambda: table.replicates(_resample(table, scoring).weights, method="coco101"))
    whole = seconds(lambda: evaluate(labels, predictions, replicates=options.replicates))
    point = seconds(lambda: evaluate(labels, predictions, replicates=2))

    def again(library: Callable[[Any, Any], Any]) -> float:
        picked = rng.integers(options.frames, size=options.frames).tolist()
        resampled = coco_data(labels, predictions, picked, options.classes)
        return seconds(lambda: library(*resampled))

    full = np.mean([again(by_pycocotools) for _ in range(options.timed)])
    faster = np.mean([again(by_faster) for _ in range(options.timed)])
    cached = seconds(lambda: accumulate_again(first, rng), options.timed)

    print(
        f"{options.frames} frames, {len(found)} detections, {options.classes} classes, "
        f"{options.replicates} replicates; mAP {evaluation.map:.6f} here, "
        f"{reference:.6f} by pycocotools"
    )
    print(f"{'':44s} CPU s   times ours")
    rows = {
        "driftline: 1 score (all parts, no interval)": (point, None),
        "driftline: the replicates of mAP": (kernel, kernel),
        "driftline: all of it, sizes and classes too": (whole, kernel),
        "pycocotools, matched once, accumulated again": (cached * options.replicates, kernel),
        "faster-coco-eval, evaluated again": (faster * options.replicates, kernel),
        "pycocotools, evaluated again": (full * options.replicates, kernel),
    }
    for name, (cost, base) in rows.items():
        ratio = "" if base is None else f"{cost / base:10.1f}"
        print(f"{name:44s} {cost:7.2f} {ratio}")


if __name__ == "__main__":
    main()
