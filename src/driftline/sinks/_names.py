"""What metrics are called on the other side: one home, for sinks, dashboards and alert rules."""

from __future__ import annotations

import re
from typing import Final

NAMESPACE: Final = "driftline"
"""First part of every metric's name."""

METRIC_LIMIT: Final = 200
"""Characters of a metric name of Datadog's
(https://docs.datadoghq.com/metrics/custom_metrics/#naming-custom-metrics)."""


def datadog_name(name: str) -> str:
    """A metric name that Datadog keeps as it is: ASCII letters, digits, ``_`` and ``.``.

    >>> datadog_name("driftline.queue-depth")
    'driftline.queue_depth'
    """
    safe = re.sub(r"[^a-zA-Z0-9_.]", "_", name)[:METRIC_LIMIT]
    return safe if safe[:1].isalpha() else f"m{safe[: METRIC_LIMIT - 1]}"


def prometheus_name(name: str) -> str:
    """What a receiver of OTLP makes of a metric name, and of a label's, in Prometheus.

    https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1:
    what is neither letter nor digit becomes an underscore, several of them one.

    >>> prometheus_name("driftline.endpoint.latency_p95_ms")
    'driftline_endpoint_latency_p95_ms'
    """
    safe = re.sub(r"[^a-zA-Z0-9:]+", "_", name)
    return f"_{safe}" if safe[:1].isdigit() else safe
