"""What authors of plug-ins import: protocols and the records they take and give."""

from driftline._clock import Clock
from driftline.records import (
    Alert,
    AlertSink,
    AlertStatus,
    Context,
    Delivery,
    Detections,
    Link,
    LogLine,
    Metric,
    MetricSink,
    Predictor,
    Receipt,
    Sample,
    Series,
    Severity,
)

__all__ = [
    "Alert",
    "AlertSink",
    "AlertStatus",
    "Clock",
    "Context",
    "Delivery",
    "Detections",
    "Link",
    "LogLine",
    "Metric",
    "MetricSink",
    "Predictor",
    "Receipt",
    "Sample",
    "Series",
    "Severity",
]
