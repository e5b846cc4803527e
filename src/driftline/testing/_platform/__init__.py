"""The local platform: see `driftline.testing.LocalPlatform`."""

from driftline.testing._platform._behaviour import Behaviour
from driftline.testing._platform._datasets import LocalDataset, LocalImage
from driftline.testing._platform._endpoint import LocalDeployment
from driftline.testing._platform._faults import Fault
from driftline.testing._platform._local import LocalPlatform
from driftline.testing._platform._training import TrainingData
from driftline.testing._platform._workspace import TrainedModel, Trainer
from driftline.testing._platform._world import ReceivedCall

__all__ = [
    "Behaviour",
    "Fault",
    "LocalDataset",
    "LocalDeployment",
    "LocalImage",
    "LocalPlatform",
    "ReceivedCall",
    "TrainedModel",
    "Trainer",
    "TrainingData",
]
