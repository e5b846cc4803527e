"""Detections become integer histograms by (period, camera, class): merge is addition."""

from driftline.profiles._builder import ProfileBuilder
from driftline.profiles._cells import Cells, Layout, Table
from driftline.profiles._coco import from_coco
from driftline.profiles._comparable import require_comparable
from driftline.profiles._features import (
    AREA,
    ASPECT,
    BOXES_PER_FRAME,
    CENTER_X,
    CENTER_Y,
    CONFIDENCE,
    DEFAULT_FEATURES,
    FRAME_CONFIDENCE,
    HEIGHT,
    WIDTH,
    Batch,
    Feature,
)
from driftline.profiles._frames import (
    Drift,
    DriftedCell,
    FrameReservoir,
    Region,
    SampledFrame,
    class_weights,
    queue,
    uncertainty,
    within,
)
from driftline.profiles._periods import Calendar
from driftline.profiles._profile import Profile

__all__ = [
    "AREA",
    "ASPECT",
    "BOXES_PER_FRAME",
    "CENTER_X",
    "CENTER_Y",
    "CONFIDENCE",
    "DEFAULT_FEATURES",
    "FRAME_CONFIDENCE",
    "HEIGHT",
    "WIDTH",
    "Batch",
    "Calendar",
    "Cells",
    "Drift",
    "DriftedCell",
    "Feature",
    "FrameReservoir",
    "Layout",
    "Profile",
    "ProfileBuilder",
    "Region",
    "SampledFrame",
    "Table",
    "class_weights",
    "from_coco",
    "queue",
    "require_comparable",
    "uncertainty",
    "within",
]
