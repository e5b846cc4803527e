"""Fakes and conformance suites: what Driftline is tested with, for users' tests as well."""

from driftline.testing._accuracy import assert_not_worse
from driftline.testing._check_rule import check_rule
from driftline.testing._check_sink import check_sink, example_alert
from driftline.testing._clock import FrozenClock
from driftline.testing._detectors import OnnxDetector, ShapeFinder
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
from driftline.testing._platform import (
    Behaviour,
    Fault,
    LocalDataset,
    LocalDeployment,
    LocalImage,
    LocalPlatform,
    ReceivedCall,
    TrainedModel,
    Trainer,
    TrainingData,
)
from driftline.testing._recording_sink import RecordingSink
from driftline.testing._scenes import CLASS_NAMES, Frame, Scene, Scenes, write_yolo
from driftline.testing._vendors import LocalVendors, VendorCall, VendorReply

__all__ = [
    "CLASS_NAMES",
    "Behaviour",
    "Fault",
    "Frame",
    "FrozenClock",
    "LocalDataset",
    "LocalDeployment",
    "LocalImage",
    "LocalPlatform",
    "LocalVendors",
    "OnnxDetector",
    "Perturbation",
    "ReceivedCall",
    "RecordingSink",
    "Scene",
    "Scenes",
    "ShapeFinder",
    "TrainedModel",
    "Trainer",
    "TrainingData",
    "VendorCall",
    "VendorReply",
    "assert_not_worse",
    "blur",
    "check_rule",
    "check_sink",
    "compose",
    "darken",
    "elongate",
    "example_alert",
    "hollow",
    "jpeg",
    "noise",
    "shift",
    "write_yolo",
    "zoom_out",
]
