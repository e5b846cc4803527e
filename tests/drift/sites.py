"""Weeks of a simulated world as Driftline profiles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from worlds import CALM, CLASS_SHARES, DAYS, HOURS, Boxes, Shift, Site, World

from driftline.profiles import AREA, BOXES_PER_FRAME, CONFIDENCE, FRAME_CONFIDENCE, Profile
from driftline.records import Context

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
FEATURES = (CONFIDENCE, AREA, BOXES_PER_FRAME, FRAME_CONFIDENCE)
CLASS_NAMES = dict(enumerate(("car", "person", "bicycle", "truck", "bus")))


def profile(boxes: Boxes, world: World, week: int, *, hours: int = 6) -> Profile:
    """One week, counted in periods of `hours`; cameras are cam-1, cam-2, ..."""
    slots = HOURS // hours
    n_frames = len(boxes.frame_day)
    per_frame = np.bincount(boxes.frame, minlength=n_frames)
    total = np.bincount(boxes.frame, weights=boxes.confidence, minlength=n_frames)
    some = per_frame > 0
    box_block = (boxes.day * slots + boxes.hour // hours) * world.cameras + boxes.camera
    frame_block = (
        boxes.frame_day * slots + boxes.frame_hour // hours
    ) * world.cameras + boxes.frame_camera
    n_classes, block = len(CLASS_SHARES), (DAYS * slots, world.cameras)
    with_class = box_block * n_classes + boxes.class_id
    counts = {
        "confidence": _count(CONFIDENCE, boxes.confidence, with_class, (*block, n_classes)),
        "area": _count(AREA, boxes.log2_area, with_class, (*block, n_classes)),
        "boxes_per_frame": _count(BOXES_PER_FRAME, per_frame, frame_block, block),
        "frame_confidence": _count(
            FRAME_CONFIDENCE, total[some] / per_frame[some], frame_block[some], block
        ),
    }
    start = MONDAY + timedelta(weeks=week)
    return Profile.from_counts(
        counts,
        periods=[start + k * timedelta(hours=hours) for k in range(DAYS * slots)],
        cameras=[f"cam-{c + 1}" for c in range(world.cameras)],
        class_ids=np.arange(n_classes),
        features=FEATURES,
        period=timedelta(hours=hours),
        context=Context(model="simulated", conf=0.25, class_names=CLASS_NAMES),
    )


def _count(feature, values, block, shape):
    flat = block * feature.n_bins + feature.bin(values)
    size = int(np.prod(shape)) * feature.n_bins
    return np.bincount(flat, minlength=size).reshape(*shape, feature.n_bins)


def weeks(
    world: World,
    seed: int,
    n: int,
    *,
    shift: Shift = CALM,
    shifted_from: int | None = None,
    hours: int = 6,
    reference_weeks: int = 4,
) -> list[Profile]:
    """`n` weeks of one draw of a world; from week `shifted_from` on with the shift."""
    site = Site(world, np.random.default_rng(seed), reference_weeks)
    first = n if shifted_from is None else shifted_from
    return [
        profile(site.week(CALM if k < first else shift), world, k, hours=hours) for k in range(n)
    ]


def reference_and_weeks(
    world: World, seed: int, n: int, **options
) -> tuple[Profile, list[Profile]]:
    """Four merged reference weeks, and the weeks after them."""
    reference_weeks = options.pop("reference_weeks", 4)
    all_weeks = weeks(world, seed, reference_weeks + n, reference_weeks=reference_weeks, **options)
    return Profile.merge(*all_weeks[:reference_weeks]), all_weeks[reference_weeks:]
