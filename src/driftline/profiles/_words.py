"""What a profile tells people and metrics."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from driftline.profiles._cells import BOXES
from driftline.records import Context, Metric, Sample, as_datetime, as_datetime64

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile


def samples(profile: Profile, *, deployment: str, until: datetime | None) -> tuple[Sample, ...]:
    """See `Profile.to_samples`."""
    frames, boxes = profile.frames_by_block(), profile.boxes_by_block()
    mean = (
        profile.mean_confidence()
        if "confidence" in profile.features
        else np.full(frames.shape, np.nan)
    )
    ended = np.ones(len(profile.periods), dtype=bool)
    if until is not None:
        ended = profile.periods + np.timedelta64(profile.period, "us") <= as_datetime64(until)
    result: list[Sample] = []
    for p, c in np.argwhere((frames > 0) & ended[:, None]).tolist():
        values = {Metric.FRAMES: float(frames[p, c]), Metric.DETECTIONS: float(boxes[p, c])}
        if np.isfinite(mean[p, c]):
            values[Metric.CONFIDENCE_MEAN] = float(mean[p, c])
        result += [
            Sample(
                metric=metric,
                value=value,
                at=as_datetime(profile.periods[p]),
                width=profile.period,
                deployment=deployment,
                labels={"camera": profile.cameras[c]},
            )
            for metric, value in values.items()
        ]
    return tuple(result)


def line(profile: Profile) -> str:
    """How much of what, from when to when."""
    if profile.start is None:
        return "<Profile: nothing observed>"
    rejected = sum(profile.rejected.values())
    return (
        f"<Profile: {_many(profile.frames, 'frame')}, {_many(profile.boxes, 'box')} of "
        f"{_many(len(profile.class_ids), 'class')}, {_many(len(profile.cameras), 'camera')}, "
        f"{profile.start:%Y-%m-%d %H:%M} to {profile.end:%Y-%m-%d %H:%M} UTC"
        f"{f', {rejected:,} rejected' if rejected else ''}>"
    )


def page(profile: Profile) -> str:
    """The same with the settings, and a line a camera and class."""
    frames, boxes = profile.frames_by_block().sum(axis=0), profile.boxes_by_block().sum(axis=0)
    lines = [line(profile)]
    lines += [f"  {name}: {value}" for name, value in _recorded(profile.context)]
    lines += [f"  rejected for its {reason}: {n:,}" for reason, n in profile.rejected.items()]
    lines += [
        f"  {camera}: {_many(f, 'frame')}, {_many(b, 'box')}{f', {b / f:.2f} a frame' if f else ''}"
        for camera, f, b in zip(profile.cameras, frames.tolist(), boxes.tolist(), strict=True)
    ]
    totals = dict(
        zip(
            profile.class_names.values(),
            profile.counts(BOXES).sum(axis=(0, 1)).tolist(),
            strict=True,
        )
    )
    lines += [f"  {name}: {_many(n, 'box')}" for name, n in totals.items()]
    return "\n".join(lines)


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 'es' if noun[-1] in 'sx' else 's'}"


def _recorded(context: Context) -> list[tuple[str, object]]:
    settings = ("model", "weights_digest", "conf", "iou", "imgsz", "ultralytics")
    found = [(name, getattr(context, name)) for name in settings]
    return [(name, value) for name, value in found if value is not None]
