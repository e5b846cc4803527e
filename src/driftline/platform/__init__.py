"""Ultralytics Platform: its deployments, what they do, and what they see."""

from driftline._retry import Retry
from driftline._wire import Call, Upload
from driftline.platform._async_client import AsyncPlatformClient
from driftline.platform._async_learning import AsyncDatasets, AsyncModels, AsyncTraining
from driftline.platform._card import Card
from driftline.platform._client import PlatformClient
from driftline.platform._datasets import (
    BatchRun,
    Dataset,
    DatasetImage,
    DatasetRef,
    DatasetStatus,
    DatasetVersion,
    ImagePrediction,
    IngestSummary,
    Label,
    Labels,
    OnConflict,
    Split,
    Task,
)
from driftline.platform._deployment import (
    Deployment,
    DeploymentList,
    DeploymentStatus,
    Ref,
    Resources,
)
from driftline.platform._endpoint import AsyncEndpoint, Endpoint
from driftline.platform._health import Health
from driftline.platform._images import Image, encode_png
from driftline.platform._learning import Datasets, Models, Training
from driftline.platform._logs import ERROR_SEVERITIES, SEVERITIES, HttpRequest, LogEntry
from driftline.platform._metrics import (
    METRICS_LAG,
    DeploymentMetrics,
    ErrorRateUnit,
    MetricsSummary,
    View,
    Window,
)
from driftline.platform._models import Model, ModelFile, ModelRef, ModelStatus
from driftline.platform._prediction import ClassScore, Frame, Prediction
from driftline.platform._training import Gpu, Optimizer, TrainArgs, TrainingJob, TrainingStart
from driftline.platform._uploads import Archive, DatasetUpload, UploadStage

__all__ = [
    "ERROR_SEVERITIES",
    "METRICS_LAG",
    "SEVERITIES",
    "Archive",
    "AsyncDatasets",
    "AsyncEndpoint",
    "AsyncModels",
    "AsyncPlatformClient",
    "AsyncTraining",
    "BatchRun",
    "Call",
    "Card",
    "ClassScore",
    "Dataset",
    "DatasetImage",
    "DatasetRef",
    "DatasetStatus",
    "DatasetUpload",
    "DatasetVersion",
    "Datasets",
    "Deployment",
    "DeploymentList",
    "DeploymentMetrics",
    "DeploymentStatus",
    "Endpoint",
    "ErrorRateUnit",
    "Frame",
    "Gpu",
    "Health",
    "HttpRequest",
    "Image",
    "ImagePrediction",
    "IngestSummary",
    "Label",
    "Labels",
    "LogEntry",
    "MetricsSummary",
    "Model",
    "ModelFile",
    "ModelRef",
    "ModelStatus",
    "Models",
    "OnConflict",
    "Optimizer",
    "PlatformClient",
    "Prediction",
    "Ref",
    "Resources",
    "Retry",
    "Split",
    "Task",
    "TrainArgs",
    "Training",
    "TrainingJob",
    "TrainingStart",
    "Upload",
    "UploadStage",
    "View",
    "Window",
    "encode_png",
]
