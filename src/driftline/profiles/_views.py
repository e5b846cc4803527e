"""What there is to see of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from driftline._draw import Table, View
from driftline.profiles._cells import BOXES

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile


def view(one: Profile) -> View:
    """A profile for a notebook: how much of what, camera by camera and class by class."""
    frames, boxes = one.frames_by_block().sum(axis=0), one.boxes_by_block().sum(axis=0)
    cameras = [
        (camera, f"{f:,}", f"{b:,}", f"{b / f:.2f}" if f else "-")
        for camera, f, b in zip(one.cameras, frames.tolist(), boxes.tolist(), strict=True)
    ]
    totals = one.counts(BOXES).sum(axis=(0, 1))
    classes = [
        (name, f"{n:,}", f"{100 * n / max(1, int(np.sum(totals))):.1f} %")
        for name, n in zip(one.class_names.values(), totals.tolist(), strict=True)
    ]
    return View(
        kind="profile",
        headline=repr(one)[1:-1].removeprefix("Profile: "),
        tables=[
            Table(head=("camera", "frames", "boxes", "boxes a frame"), rows=cameras),
            Table(head=("class", "boxes", "share"), rows=classes),
        ],
        notes=[f"rejected for its {reason}: {n:,}" for reason, n in one.rejected.items()],
    )
