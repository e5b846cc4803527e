"""The nouns that cross borders between the parts: frozen, checked at birth."""

from driftline.records._alerts import (
    Alert,
    AlertSink,
    AlertStatus,
    Delivery,
    Link,
    LogLine,
    MetricSink,
    Receipt,
    Severity,
)
from driftline.records._detections import Context, Detections, Predictor
from driftline.records._metrics import Metric
from driftline.records._samples import (
    Sample,
    Series,
    as_datetime,
    as_datetime64,
    as_timedelta64,
)

__all__ = [
    "Alert",
    "AlertSink",
    "AlertStatus",
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
    "as_datetime",
    "as_datetime64",
    "as_timedelta64",
]
