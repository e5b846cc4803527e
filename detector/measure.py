"""What the weather does to the demo detector, as a Markdown table.

``python detector/measure.py`` needs onnxruntime, pillow and pycocotools; no torch. It scores
the ``.onnx`` on 500 clean frames of cameras it has never seen, then on 300 frames under each
perturbation. ``--finder`` scores `ShapeFinder` in its place.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from driftline.testing import (
    Frame,
    OnnxDetector,
    Scenes,
    ShapeFinder,
    blur,
    compose,
    darken,
    elongate,
    hollow,
    jpeg,
    noise,
    shift,
    zoom_out,
)
from driftline.typing import Detections

HERE = Path(__file__).resolve().parent
WORLD = Scenes(seed=4, cameras=tuple(f"road-{i}" for i in range(100)))
WEATHER = [
    *(blur(s) for s in (1.0, 2.0, 3.0)),
    *(darken(f) for f in (0.8, 0.6, 0.4, 0.25)),
    *(noise(s) for s in (8, 16, 24, 36, 50)),
    *(jpeg(q) for q in (60, 30, 15, 8)),
    *(zoom_out(s) for s in (0.85, 0.7, 0.55, 0.4)),
    *(shift(px) for px in (8, 16, 32)),
    *(hollow(f) for f in (0.25, 0.5, 1.0)),
    *(elongate(f) for f in (1.3, 1.6, 2.0)),
]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=HERE / "shapes.onnx")
    parser.add_argument("--finder", action="store_true", help="score ShapeFinder instead")
    options = parser.parse_args()
    # 0.001 is where the COCO protocol and ultralytics' val cut; 0.25 is where predict cuts.
    detect = (
        ShapeFinder(conf=0.001) if options.finder else OnnxDetector(options.weights, conf=0.001)
    )
    holdout = Scenes(seed=3, cameras=tuple(f"holdout-{i}" for i in range(100)))
    print("| frames | mAP50-95 | mAP50 | mean confidence | detections / frame | empty frames |")
    print("|---|---|---|---|---|---|")
    print(row("clean, holdout (500)", detect, holdout.frames(500)))
    print(row("clean", detect, WORLD.frames(300)))
    for step in WEATHER:
        print(row(compose(step).name, detect, map(step, WORLD.frames(300))), flush=True)


def row(name: str, detect: Callable[[np.ndarray], Detections], frames: Iterable[Frame]) -> str:
    """One line of the table; confidence and counts are of detections from 0.25 up."""
    pairs = [(frame.truth, detect(frame.image)) for frame in frames]
    overall, at_half = score(pairs)
    sure = [found.confidence[found.confidence >= 0.25] for _, found in pairs]  # noqa: PLR2004 - as said
    pooled = np.concatenate(sure)
    mean = f"{pooled.mean():.3f}" if pooled.size else "none"
    empty = sum(len(c) == 0 for c in sure) / len(sure)
    return f"| {name} | {overall:.3f} | {at_half:.3f} | {mean} | {pooled.size / len(sure):.2f} | {empty:.0%} |"


def score(pairs: list[tuple[Detections, Detections]]) -> tuple[float, float]:
    """COCO's mAP@0.5:0.95 and mAP@0.5 of (truth, found) pairs, by pycocotools."""
    ids = itertools.count(1)
    truth, found = COCO(), []
    categories = [{"id": i} for i in sorted({int(c) for t, _ in pairs for c in t.class_id})]
    truth.dataset = {"info": {}, "images": [], "categories": categories, "annotations": []}
    for image, (real, seen) in enumerate(pairs):
        truth.dataset["images"].append({"id": image})
        for box, cls in zip(extents(real), real.class_id, strict=True):
            truth.dataset["annotations"].append(
                {
                    "id": next(ids),
                    "image_id": image,
                    "category_id": int(cls),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        for box, cls, conf in zip(extents(seen), seen.class_id, seen.confidence, strict=True):
            found.append(
                {"image_id": image, "category_id": int(cls), "bbox": box, "score": float(conf)}
            )
    if not found:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def extents(boxes: Detections) -> list[list[float]]:
    """Boxes as COCO writes them: left, top, width, height."""
    return np.c_[boxes.xyxy[:, :2], boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]].tolist()


if __name__ == "__main__":
    main()
