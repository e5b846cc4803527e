"""A week of a line, with real parts: profiles, evaluations, a monitor, frames."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from driftline import (
    Detections,
    DriftDetector,
    Evidence,
    Monitor,
    ProfileBuilder,
    RetrainPolicy,
    Sample,
    Trend,
    rules,
)
from driftline.holdout import evaluate
from driftline.profiles import SampledFrame
from driftline.records import Metric
from driftline.testing import FrozenClock, Scenes

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
WEEK = timedelta(days=7)
NASTY = '<script>alert("cam")</script> & <img src=x onerror=alert(1)>'
NAMES = {0: "car", 1: NASTY}


def profile(start, days, *, shift, seed):
    """Detections of two cameras, a few each quarter of an hour."""
    rng = np.random.default_rng(seed)
    builder = ProfileBuilder()
    for day in range(days):
        for quarter in range(96):
            for camera in ("cam-1", NASTY):
                n = rng.poisson(4)
                corner = rng.uniform(0, 500, (n, 2))
                size = rng.lognormal(4 - shift * (camera == "cam-1"), 0.4, (n, 2))
                found = Detections(
                    xyxy=np.c_[corner, corner + size],
                    confidence=rng.beta(8 - 4 * shift, 2, n),
                    class_id=rng.integers(0, 2, n),
                    image_size=(720, 1280),
                    class_names=NAMES,
                )
                at = start + timedelta(days=day, minutes=15 * quarter)
                builder.observe(found, camera=camera, at=at)
    return builder.profile()


def score(week, quality):
    """An evaluation of forty frames, on which the model is as good as that."""
    rng = np.random.default_rng(week)
    truth, found = [], []
    for _ in range(40):
        corner = rng.uniform(0, 900, (4, 2))
        boxes = np.c_[corner, corner + rng.uniform(40, 200, (4, 2))]
        kinds = rng.integers(0, 2, 4)
        ones = np.ones(4)
        options = {"image_size": (1100, 1100), "class_names": NAMES}
        truth.append(Detections(xyxy=boxes, confidence=ones, class_id=kinds, **options))
        moved = boxes + rng.normal(0, 60 * (1 - quality), boxes.shape)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 5)
        sure = rng.uniform(0.3, 1, 4)
        found.append(Detections(xyxy=moved, confidence=sure, class_id=kinds, **options))
    return evaluate(truth, found, class_names=NAMES, at=NOW - (8 - week) * WEEK, replicates=100)


def transitions():
    """What a monitor did in a week in which the p95 was over budget twice."""
    clock = FrozenClock(NOW - timedelta(days=3))
    rule = rules.LatencyBudget(p95_ms=250, runbook="Scale out", name=f"p95 {NASTY}")
    monitor = Monitor(None, rules=[rule], clock=clock)
    for hour in range(24):
        start = clock.now() - timedelta(hours=1)
        p95 = 600.0 if hour in {5, 20} else 120.0
        monitor.run_once(
            Sample(
                metric=metric,
                value=value,
                at=start + timedelta(minutes=minute),
                width=timedelta(minutes=1),
                deployment="acme/line-3",
            )
            for metric, value in ((Metric.LATENCY_P95_MS, p95), (Metric.REQUESTS, 60.0))
            for minute in range(60)
        )
        clock.advance(timedelta(hours=1))
    return monitor.transitions()


def frames():
    """Pictures with their objects, one of which is named after an attack."""
    import io

    from PIL import Image

    for number, frame in enumerate(Scenes(seed=3).frames(4)):
        written = io.BytesIO()
        Image.fromarray(frame.image).save(written, "PNG")
        yield SampledFrame(
            frame=written.getvalue(),
            camera=NASTY if number == 0 else f"cam-{number}",
            at=NOW - timedelta(hours=number + 1),
            detections=frame.truth,
            score=1.0,
            source="uniform" if number % 2 else "uncertain",
            inclusion_probability=0.1 if number % 2 else None,
        )


@pytest.fixture(scope="session")
def week():
    """Everything a weekly report can be made of."""
    reference = profile(NOW - 5 * WEEK, 14, shift=0, seed=1)
    drift = DriftDetector(reference=reference).compare(profile(NOW - WEEK, 7, shift=0.6, seed=2))
    scores = [score(number, 0.8 - 0.07 * max(0, number - 3)) for number in range(8)]
    trend = Trend.of(scores)
    decision = RetrainPolicy().decide(Evidence(drift=drift, accuracy=trend, at=NOW))
    return SimpleNamespace(
        drift=drift,
        accuracy=trend,
        evaluation=scores[-1],
        decision=decision,
        alerts=transitions(),
        frames=tuple(frames()),
        at=NOW,
    )
