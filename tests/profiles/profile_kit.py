"""What the tests of profiles share: frames, streams of them, and hypothesis strategies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import strategies as st

from driftline.profiles import Profile, ProfileBuilder
from driftline.records import Context, Detections

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HEIGHT, WIDTH = 480, 640


def frame(rng: np.random.Generator, n: int = 10, *, classes: int = 5) -> Detections:
    """n boxes inside a frame of 640 x 480 px."""
    corner = rng.random((n, 2)) * (WIDTH - 200, HEIGHT - 200)
    side = 1 + rng.random((n, 2)) * 199
    return Detections(
        xyxy=np.hstack([corner, corner + side]),
        confidence=rng.random(n),
        class_id=rng.integers(0, classes, n),
        image_size=(HEIGHT, WIDTH),
    )


def one_box(
    xyxy=(10.0, 20.0, 110.0, 70.0), confidence=0.5, class_id=0, image_size=(HEIGHT, WIDTH)
) -> Detections:
    """A frame with one box."""
    return Detections(
        xyxy=[xyxy], confidence=[confidence], class_id=[class_id], image_size=image_size
    )


def nothing() -> Detections:
    """A frame without boxes."""
    return Detections(xyxy=[], confidence=[], class_id=[], image_size=(HEIGHT, WIDTH))


def stream(seed: int, n: int, *, cameras: int = 3, step: timedelta = timedelta(hours=1)):
    """n frames: detections, camera, time."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        yield frame(rng, int(rng.integers(0, 6))), f"cam-{i % cameras}", MONDAY + i * step


def profile_of(frames, **settings) -> Profile:
    """What a builder makes of a stream."""
    builder = ProfileBuilder(**settings)
    for found, camera, at in frames:
        builder.observe(found, camera=camera, at=at)
    return builder.profile()


boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h),
    st.floats(0, WIDTH - 1),
    st.floats(0, HEIGHT - 1),
    st.floats(0, WIDTH),
    st.floats(0, HEIGHT),
)
"""Boxes that can be counted; some reach over the frame's border, some have no area."""

detections = st.lists(st.tuples(boxes, st.floats(0, 1), st.integers(0, 4)), max_size=6).map(
    lambda rows: Detections(
        xyxy=[box for box, _, _ in rows],
        confidence=[confidence for _, confidence, _ in rows],
        class_id=[class_id for _, _, class_id in rows],
        image_size=(HEIGHT, WIDTH),
    )
)

times = st.datetimes(datetime(2026, 11, 1), datetime(2026, 11, 20)).map(
    lambda t: t.replace(tzinfo=UTC)
)

frames = st.tuples(detections, st.sampled_from(["cam-1", "cam-2", "cam-3"]), times)

profiles = st.lists(frames, max_size=8).map(profile_of)

contexts = st.builds(
    Context,
    model=st.sampled_from([None, "a.pt", "b.pt"]),
    conf=st.sampled_from([None, 0.25, 0.5]),
    imgsz=st.sampled_from([None, 640]),
    class_names=st.dictionaries(st.integers(0, 2), st.sampled_from(["cat", "dog"]), max_size=2),
)
