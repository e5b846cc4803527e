"""A retraining on a LocalPlatform in a few lines: real frames, the real detector, a fast trainer.

The world turns dark, on which the detector truly fails. The trainer truly learns: from the frames
it is given it works out by how much those that are dark must be brightened before the same weights
see them. So every score is of real detections on real pixels.
"""

import io
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from driftline import Action, Decision, PlatformClient, Rollout
from driftline.holdout import Holdout, LabelledFrame
from driftline.platform import TrainArgs
from driftline.profiles import FrameReservoir
from driftline.retrain import Guard, PlatformBackend, PromotionRule, RetrainLoop, Selection, Stage
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform, OnnxDetector, Scenes, darken

WEIGHTS = Path(__file__).parents[2] / "detector" / "shapes.onnx"
NAMES = {0: "circle", 1: "square", 2: "triangle"}
MAIN, CANARY, DATASET, OLD = "acme/line-3", "acme/line-3-next", "acme/frames", "vision/model-v1"
FACTOR = 0.15
DRIFT = darken(FACTOR)
START = datetime(2026, 11, 2, tzinfo=UTC)
RULE = PromotionRule(golden_margin=0.05, replicates=200)  # 60 frames show no less
ARGS = TrainArgs(epochs=5, imgsz=128)
DECISION = Decision(
    action=Action.RETRAIN,
    reasons=("mAP@0.5:0.95 fell by 0.3 in three weeks",),
    runbook="Label frames of this week.",
    confidence="strong",
    at=START,
)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def brightness(image):
    return float(np.quantile(image, 0.95))


def brightened(detector, gain, below):
    """The detector with what was learned: dark frames are brightened before it looks."""

    def look(image):
        if brightness(image) < below:
            image = np.clip(image * gain, 0, 255).astype(np.uint8)
        return detector(image)

    return look


def learn(data, base, args):
    """How much brighter the older frames are than the newer dark ones, from the pixels alone."""
    levels = np.sort([brightness(image.array) for image in data.of("train")])
    place = int(np.argmax(np.diff(levels))) + 1  # the widest gap parts the two kinds
    dark, light = levels[:place], levels[place:]
    below = float(dark.max() + light.min()) / 2
    return brightened(base, float(light.mean() / dark.mean()), below)


def forget(data, base, args):
    """A training gone wrong: it learned that all the world is dark."""
    return brightened(base, 1 / FACTOR, 256)


def scenes(seed):
    return Scenes(seed=seed, cameras=("cam-1", "cam-2"))


@cache
def golden(n=60):
    """A locked holdout; drawn once, because machines make a loop for every look at it."""
    frames = [
        LabelledFrame(truth=one.truth, image=one.image, id=f"golden-{k}")
        for k, one in enumerate(scenes(1).frames(n))
    ]
    return Holdout.of(frames, NAMES).lock()


class Week:
    """A week of dark frames as the reservoir saw them, and people who know what is in them."""

    def __init__(self, detector, n=120, seed=2):
        self.reservoir = FrameReservoir(uncertain=20, uniform=8)
        self.truth = {}
        for k, frame in enumerate(scenes(seed).frames(n)):
            dark = DRIFT(frame)
            content = png(dark.image)
            self.truth[content] = dark.truth
            self.reservoir.offer(
                detector(dark.image),
                camera=frame.camera,
                at=START - timedelta(hours=n - k),
                frame=content,
            )

    def select(self, budget=64):
        pool = [*self.reservoir.uncertain(), *self.reservoir.uniform()]
        return Selection.of(pool, budget=budget).frames

    def review(self, loop):
        """Label every frame by what was rendered."""
        batch = loop.review()
        for one in batch.frames:
            batch.label(one.id, self.truth[one.image.read_bytes()])


def rolling_out(platform, store, clock):
    """A gradual handover in two quick stages."""
    stages = tuple(Stage(share=s, dwell=timedelta(0), frames=50) for s in (0.5, 1.0))
    guard = Guard(errors=0.1, slow=None, boxes=None, confidence=None, block=timedelta(0))

    def deploy(candidate):
        return Rollout(
            platform,
            store,
            MAIN,
            canary=CANARY,
            candidate=candidate,
            stages=stages,
            guard=guard,
            auto_promote=True,
            clock=clock,
        )

    return deploy


@contextmanager
def retraining(folder, *, detector=None, trainer=learn, store=None, week=None, **options):
    """A platform, a loop on it that has not begun, and the week that drifted."""
    real = OnnxDetector(WEIGHTS, conf=0.01) if detector is None else detector
    with LocalPlatform(
        deployments=[],
        detector=real,
        trainer=trainer,
        deploy_seconds=10,
        epoch_seconds=10,
        rate_limits=None,
    ) as local:
        local.add_deployment("line-3", model=OLD)
        local.add_deployment("line-3-next", model=OLD)
        local.add_dataset("frames", frames=scenes(3).frames(40))
        with PlatformClient(local.api_key, local.url, clock=local.clock) as platform:
            yield local, make(platform, folder, store or MemoryStore(), week, **options)


def make(platform, folder, store, week, **options):
    backend = PlatformBackend(
        platform,
        store,
        dataset=DATASET,
        project="vision",
        deployment=MAIN,
        canary=CANARY,
        budget_cents=500,
    )
    if "holdout" not in options:  # takes a second to draw
        options["holdout"] = golden()
    return RetrainLoop(
        backend,
        store,
        MAIN,
        **{
            "incumbent": backend.incumbent,
            "sample": (lambda: ()) if week is None else week.select,
            "args": ARGS,
            "deploy": rolling_out(platform, store, platform.clock),
            "folder": folder,
            "rule": RULE,
            "clock": platform.clock,
            **options,
        },
    )
