"""What the choice is worth: corrections that people make in chosen frames and in random ones.

The detector and the pixels are real; a quarter of the frames is darkened.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from driftline.holdout import Truth
from driftline.profiles import FrameReservoir
from driftline.retrain import Edits, Selection
from driftline.retrain._review_edits import edits_of
from driftline.testing import OnnxDetector, Scenes

pytest.importorskip("onnxruntime")

ONNX = Path(__file__).parents[2] / "detector" / "shapes.onnx"
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
FRAMES, BUDGET = 900, 80


def corrections(frames, truth):
    """Boxes that people rename, remove or add, a frame; proposed above a confidence of 0.5."""
    whole = Edits()
    for frame in frames:
        found = frame.detections
        sure = found.confidence >= 0.5
        proposal = evolve(
            found,
            xyxy=found.xyxy[sure],
            confidence=found.confidence[sure],
            class_id=found.class_id[sure],
        )
        seen = truth[frame.frame]
        labels = Truth(xyxy=seen.xyxy, class_id=seen.class_id, image_size=seen.image_size)
        whole = sum(edits_of(proposal, labels).values(), whole)
    return (whole.renamed + whole.removed + whole.added) / len(frames)


def world(seed):
    """Corrections a frame, chosen and random, of one week of three cameras."""
    rng, detector = np.random.default_rng(seed), OnnxDetector(ONNX, conf=0.05)
    reservoir, truth = FrameReservoir(uncertain=50, uniform=20, seed=seed), {}
    for k, frame in enumerate(Scenes(seed=100 + seed, cameras=("a", "b", "c")).frames(FRAMES)):
        dark = rng.random() < 0.25
        image = (frame.image * 0.4).astype(np.uint8) if dark else frame.image
        truth[str(k)] = frame.truth
        reservoir.offer(
            detector.predict(image),
            camera=frame.camera,
            at=MONDAY + timedelta(minutes=11 * k),
            frame=str(k),
        )
    pool = [*reservoir.uncertain(), *reservoir.uniform()]
    selection = Selection.of(pool, budget=BUDGET, seed=seed)
    return corrections(selection.chosen, truth), corrections(selection.random, truth)


@pytest.mark.parametrize("worlds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_chosen_frames_hold_what_people_correct(worlds):
    """More than twice as much as random ones.

    Measured over eight worlds: 0.83 (standard error 0.02) corrections a chosen frame and 0.19
    (0.03) a random one.
    """
    chosen, random = np.mean([world(seed) for seed in range(worlds)], axis=0)

    assert chosen > 2 * random
    assert 0.5 < chosen < 1.2
