"""A rollout on a LocalPlatform in a few lines, and traffic for it."""

from contextlib import contextmanager
from datetime import timedelta
from functools import cache

import numpy as np

from driftline import Detections, PlatformClient
from driftline.retrain import Guard, Outcome, Rollout, Stage
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform

MAIN, CANARY = "acme/line-3", "acme/line-3-next"
OLD, NEW = "vision/model-v1", "vision/model-v2"
HOUR = timedelta(hours=1)
GUARD = Guard(block=timedelta(0), errors=0.02, slow=0.05, boxes=1.0, confidence=0.1)
STAGES = tuple(Stage(share=share, dwell=HOUR, frames=200) for share in (0.05, 0.25, 0.5, 1.0))


@cache
def found(boxes=3, confidence=0.7):
    xyxy = np.array([[10 * i, 0, 10 * i + 8, 8] for i in range(boxes)], dtype=float)
    return Detections(
        xyxy=xyxy,
        confidence=np.full(boxes, confidence),
        class_id=np.zeros(boxes, dtype=int),
        image_size=(100, 400),
    )


class World:
    """The two models as they behave, and a service that asks them."""

    def __init__(self, seed=1):
        self.rng = np.random.default_rng(seed)
        self.error_rate = {"incumbent": 0.01, "candidate": 0.01}
        self.slow_rate = {"incumbent": 0.03, "candidate": 0.03}
        self.boxes = {"incumbent": 3.0, "candidate": 3.0}
        self.confidence = {"incumbent": 0.7, "candidate": 0.7}
        self.frames = 0

    def outcome(self, arm):
        if self.rng.random() < self.error_rate[arm]:
            return Outcome(ok=False)
        ms = 400.0 if self.rng.random() < self.slow_rate[arm] else 100.0
        confidence = min(max(self.rng.normal(self.confidence[arm], 0.08), 0.05), 0.99)
        boxes = int(self.rng.poisson(self.boxes[arm]))
        return Outcome(latency_ms=ms, detections=found(boxes, round(confidence, 2)))

    def serve(self, rollout, frames):
        """Ask for so many frames, each with a key of its own."""
        for _ in range(frames):
            self.frames += 1
            key = f"frame-{self.frames}"
            route = rollout.route(key)
            if route.copy_to is None:
                rollout.observe(route, self.outcome(str(route.arm)), key=key)
            else:
                pair = self.outcome("incumbent"), self.outcome("candidate")
                rollout.compare(route, *pair, key=key)


@contextmanager
def rolling(store=None, *, deploy_seconds=60, **options):
    """A platform with both deployments, a client, and a rollout that has not begun."""
    with LocalPlatform(deployments=[], deploy_seconds=deploy_seconds) as local:
        local.add_deployment("line-3", model=OLD)
        local.add_deployment("line-3-next", model=NEW)
        with PlatformClient(
            base_url=local.url, api_key=local.api_key, clock=local.clock
        ) as platform:
            rollout = Rollout(
                platform,
                MemoryStore() if store is None else store,
                MAIN,
                canary=CANARY,
                candidate=NEW,
                clock=local.clock,
                **{"stages": STAGES, "guard": GUARD, **options},
            )
            yield local, rollout


def replaces(local):
    """What was asked to be replaced, with the answers."""
    return [
        (call.path.rsplit("/", 1)[-1], call.status)
        for call in local.calls
        if call.method == "PATCH"
    ]
