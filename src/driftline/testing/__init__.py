"""Fakes and conformance suites: what Driftline is tested with, for users' tests as well."""

from driftline.testing._perturb import (
    Perturbation,
    blur,
    compose,
    darken,
    elongate,
    hollow,
    jpeg,
    noise,
    shift,
    zoom_out,
)
from driftline.testing._scenes import CLASS_NAMES, Frame, Scenes, write_yolo
from driftline.testing._sinks import RecordingSink

__all__ = [
    "CLASS_NAMES",
    "Frame",
    "Perturbation",
    "RecordingSink",
    "Scenes",
    "blur",
    "compose",
    "darken",
    "elongate",
    "hollow",
    "jpeg",
    "noise",
    "shift",
    "write_yolo",
    "zoom_out",
]
