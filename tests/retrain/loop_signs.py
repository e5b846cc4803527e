"""The smallest world to retrain in: pictures of noise, and a table of what is in each.

For tests of crashes, which run the whole loop a hundred times. Every process builds the same.
"""

from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from loop_kit import CANARY, DATASET, MAIN, NAMES, OLD, START, make, png

from driftline import Detections, PlatformClient
from driftline.holdout import Holdout, LabelledFrame
from driftline.profiles import SampledFrame
from driftline.retrain import Move, Outcome, PromotionRule
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform

RULE = PromotionRule(golden_margin=0.5, class_margin=1.0, replicates=40)
SIZE = (48, 48)
WIDE = dict.fromkeys(("default", "predict", "mutation", "training", "download"), 10**6)


class Signs:
    """Pictures, what is in them, and two models: one that is blind to half of what is new."""

    def __init__(self, old=6, new=16):
        self.rng = np.random.default_rng(7)
        self.truth = {}
        self.old = [self.picture() for _ in range(old)]
        self.new = [self.picture() for _ in range(new)]

    def picture(self):
        image = self.rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        corner = self.rng.integers(0, 20, (2, 2)).astype(float)
        self.truth[image.tobytes()] = Detections(
            xyxy=np.hstack([corner, corner + 20]),
            confidence=np.ones(2),
            class_id=np.array([0, 1]),
            image_size=SIZE,
            class_names=NAMES,
        )
        return image

    def found(self, image, boxes):
        truth = self.truth[np.asarray(image).tobytes()]
        return Detections(
            xyxy=truth.xyxy[:boxes],
            confidence=np.full(boxes, 0.9),
            class_id=truth.class_id[:boxes],
            image_size=SIZE,
            class_names=NAMES,
        )

    def seeing(self, image):
        return self.found(image, 2)

    def half_blind(self, image):
        is_new = any(np.array_equal(image, one) for one in self.new)
        return self.found(image, 1 if is_new else 2)

    def sample(self):
        return [
            SampledFrame(
                frame=png(image),
                camera="cam-1",
                at=START + timedelta(hours=k),
                detections=self.half_blind(image),
                score=1.0,
                source="uniform" if k % 2 else "uncertain",
                inclusion_probability=0.5 if k % 2 else None,
            )
            for k, image in enumerate(self.new)
        ]

    def holdout(self):
        frames = [
            LabelledFrame(truth=self.truth[image.tobytes()], image=image, id=f"old-{k}")
            for k, image in enumerate(self.old)
        ]
        return Holdout.of(frames, NAMES).lock()

    def platform(self, trainer, **options):
        """A platform with both deployments of the half-blind model."""
        local = LocalPlatform(
            deployments=[],
            detector=self.half_blind,
            trainer=trainer,
            rate_limits=None,
            **options,
        )
        local.add_deployment(MAIN.split("/")[1], model=OLD)
        local.add_deployment(CANARY.split("/")[1], model=OLD)
        return local

    def review(self, loop):
        """Label every frame by what is in it."""
        batch = loop.review()
        images = {png(image): image for image in self.new}
        for frame in batch.frames:
            batch.label(frame.id, self.truth[images[frame.image.read_bytes()].tobytes()])

    def loop(self, platform, folder, store, **options):
        return make(
            platform,
            folder,
            store,
            None,
            **{"sample": self.sample, "holdout": self.holdout(), "rule": RULE, **options},
        )


@contextmanager
def small_retraining(folder, *, store=None, trainer=None, **options):
    """A platform, a loop on it that has not begun, and the pictures."""
    signs = Signs()
    learned = trainer or (lambda *_: signs.seeing)
    with signs.platform(learned, deploy_seconds=5, epoch_seconds=10) as local:
        add_old_frames(local)
        with client(local.url, local.api_key, clock=local.clock) as platform:
            loop = signs.loop(platform, folder, store or MemoryStore(), **options)
            yield local, loop, signs


def add_old_frames(local):
    """Two frames that the incumbent was trained on."""
    from driftline.testing import Scenes

    local.add_dataset(
        DATASET.split("/")[1], frames=Scenes(seed=3).frames(2), class_names=[*NAMES.values()]
    )


def client(local_url, api_key, **options):
    return PlatformClient(api_key, local_url, rate_limits=WIDE, **options)


def drive(loop, local, signs, callers=None, *, until=lambda status: status.over, calls=80):
    """A scheduler, reviewers, somebody who says yes, and traffic, until something is so."""
    status = loop.status()
    for _ in range(calls):
        if until(status):
            return status
        if status.asks is not None and status.asks.gate == "review":
            signs.review(loop)
        elif status.asks is not None:
            loop.approve(status.asks.gate, by="Ana")
        elif status.move is Move.ROLL_OUT and callers is not None:
            callers.send(status.candidate)
        status = loop.advance()
        local.clock.advance(timedelta(seconds=40))
    raise AssertionError(str(status))


def asking(gate):
    """Until the loop needs this yes."""
    return lambda status: status.over or (status.asks is not None and status.asks.gate == gate)


class Callers:
    """Traffic: frames that are dealt by the rollout, and what comes of them."""

    def __init__(self, loop, *, errors=0.0):
        self.deploy = loop._parts.deploy
        self.errors = {"incumbent": 0.0, "candidate": errors}
        self.rng = np.random.default_rng(1)
        self.frames = 0

    def send(self, candidate, frames=200):
        rollout = self.deploy(candidate)
        rollout.sync()
        for _ in range(frames):
            self.frames += 1
            key = f"{self.frames}"
            route = rollout.route(key)
            ok = self.rng.random() >= self.errors[str(route.arm)]
            rollout.observe(route, Outcome(ok=ok, latency_ms=9.0 if ok else None), key=key)
        rollout.sync()
