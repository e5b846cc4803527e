"""Ultralytics Platform: its deployments, what they do, and what they see."""

from driftline._retry import Retry
from driftline._wire import Call, Upload
from driftline.platform._async_client import AsyncPlatformClient
from driftline.platform._client import PlatformClient
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
from driftline.platform._logs import ERROR_SEVERITIES, SEVERITIES, HttpRequest, LogEntry
from driftline.platform._metrics import (
    METRICS_LAG,
    DeploymentMetrics,
    ErrorRateUnit,
    MetricsSummary,
    View,
    Window,
)
from driftline.platform._prediction import ClassScore, Frame, Prediction

__all__ = [
    "ERROR_SEVERITIES",
    "METRICS_LAG",
    "SEVERITIES",
    "AsyncEndpoint",
    "AsyncPlatformClient",
    "Call",
    "ClassScore",
    "Deployment",
    "DeploymentList",
    "DeploymentMetrics",
    "DeploymentStatus",
    "Endpoint",
    "ErrorRateUnit",
    "Frame",
    "Health",
    "HttpRequest",
    "Image",
    "LogEntry",
    "MetricsSummary",
    "PlatformClient",
    "Prediction",
    "Ref",
    "Resources",
    "Retry",
    "Upload",
    "View",
    "Window",
    "encode_png",
]
