"""The detector on real pixels: clean weeks are calm, and what harms it is found as it gets worse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driftline.drift import DriftDetector
from driftline.profiles import Profile, ProfileBuilder
from driftline.testing import (
    OnnxDetector,
    Scenes,
    blur,
    darken,
    elongate,
    hollow,
    jpeg,
    noise,
    zoom_out,
)

WEIGHTS = Path(__file__).parents[2] / "detector" / "shapes.onnx"
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
FRAMES_A_DAY = 32
RISING = {
    "darken": ("frame_confidence", [darken(f) for f in (0.6, 0.4, 0.25)]),
    "jpeg": ("confidence", [jpeg(q) for q in (60, 30, 8)]),
}
MORE = {
    "zoom out": ("area", [zoom_out(f) for f in (0.95, 0.85, 0.55)]),
    "noise": ("confidence", [noise(s) for s in (8, 24, 50)]),
    "blur": ("confidence", [blur(s) for s in (0.5, 2.0, 3.0)]),
    "hollow": ("confidence", [hollow(f) for f in (0.1, 0.5, 1.0)]),
    "elongate": ("confidence", [elongate(f) for f in (1.1, 1.6, 2.0)]),
}
"""The feature that shows each, and three severities; in each the feature's values fall."""


def film(start: int, weeks: int, perturbation=None) -> Profile:
    """Weeks of a site with four cameras, new scenes every day."""
    detector, scenes = OnnxDetector(WEIGHTS), Scenes(seed=1)
    builder = ProfileBuilder(context=detector.context)
    days = range(7 * start, 7 * (start + weeks))
    for day in days:
        for frame in scenes.frames(FRAMES_A_DAY, start=day * FRAMES_A_DAY):
            seen = frame if perturbation is None else perturbation(frame)
            builder.observe(
                detector(seen.image), camera=frame.camera, at=MONDAY + timedelta(days=day, hours=12)
            )
    return builder.profile()


@pytest.fixture(scope="module")
def detector():
    """Four clean weeks as the reference."""
    return DriftDetector(reference=film(0, 4))


def test_clean(detector):
    """Two clean weeks are calm."""
    first = detector.compare(film(4, 1))
    second = detector.compare(film(5, 1), previous=[first])

    assert [first.flagged, second.flagged] == [False, False]
    assert second.drifted is False


def rises(detector, feature, levels):
    reports = [detector.compare(film(4, 1, level)) for level in levels]
    effects = [r[feature].effect for r in reports]

    assert effects[0] < effects[1] < effects[2]
    assert reports[2][feature].flagged
    assert reports[2][feature].direction == "lower"
    assert [r.flagged for r in reports] == sorted(r.flagged for r in reports)


@pytest.mark.parametrize("name", RISING)
def test_rising(detector, name):
    """The effect rises with the severity, and the worst is flagged in its first week."""
    rises(detector, *RISING[name])


def test_night(detector):
    """A camera too dark to see anything is drift of boxes per frame, although no box is left."""
    report = detector.compare(film(4, 1, darken(0.03)))

    assert report["boxes_per_frame"].flagged
    assert report["boxes_per_frame"].direction == "lower"
    assert not report["confidence"].tested


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_rising_too(detector, name):
    """The same for the other ways a camera goes wrong."""
    rises(detector, *MORE[name])
