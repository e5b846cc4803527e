"""Has the world changed? One week of detections against the weeks after deployment."""

from driftline.drift._cell import Cell, Curve, Direction
from driftline.drift._detector import DriftDetector
from driftline.drift._raw import KSResult, ks_2samp
from driftline.drift._report import DriftReport, Memory, Method, Verdict
from driftline.drift._volume import VolumeCell, VolumeReport, VolumeVerdict

__all__ = [
    "Cell",
    "Curve",
    "Direction",
    "DriftDetector",
    "DriftReport",
    "KSResult",
    "Memory",
    "Method",
    "Verdict",
    "VolumeCell",
    "VolumeReport",
    "VolumeVerdict",
    "ks_2samp",
]
