"""What an endpoint did over a window: counts, latencies and their time series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from attrs import field, frozen

from driftline.records import Sample, Series

Window: TypeAlias = Literal["1h", "6h", "24h", "7d", "30d"]
"""The windows the Platform offers, each ending now."""

View: TypeAlias = Literal["full", "overview", "sparkline"]
"""How much of it: everything; requests, errors and p95 (since 0.1.99); or 24 hourly counts."""

ErrorRateUnit: TypeAlias = Literal["fraction", "percent"]
"""What an `errorRate` of 0.5 means: every second request, or one in 200."""

METRICS_LAG = timedelta(minutes=2)
"""How late the Platform's metrics are. Its monitoring page (docs, ``deploy/monitoring.md``, the
wording of spring 2026) speaks of about two minutes; at one-minute buckets that leaves the
newest two or three out."""


@frozen(kw_only=True)
class MetricsSummary:
    """One number of each kind over the whole window; None is "no data", never zero.

    Attributes:
        total_requests: requests in the window, health checks included.
        error_count: 4xx and 5xx answers in the window; None where the view has no count.
        error_rate: errors by requests, 0 to 1, computed from counts; None without requests, and
            where there are no counts and nobody said what unit the Platform's own rate has.
        error_rate_raw: the Platform's ``errorRate`` as it came. Its unit is stated nowhere.
        error_rate_unit: the unit that `error_rate_raw` turns out to have when held against the
            counts; None where they cannot tell.
        avg_latency_ms: mean latency, ms.
        p50_latency_ms: median latency, ms.
        p95_latency_ms: 95th percentile of the latency, ms. For long windows the Platform
            averages the percentiles of its buckets; it is no percentile of the whole then.
        p99_latency_ms: 99th percentile of the latency, ms.
    """

    total_requests: float
    error_count: float | None = None
    error_rate: float | None = None
    error_rate_raw: float | None = None
    error_rate_unit: ErrorRateUnit | None = None
    avg_latency_ms: float | None = None
    p50_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    p99_latency_ms: float | None = None


@frozen(kw_only=True, eq=False)
class DeploymentMetrics:
    """What an endpoint did over a window.

    Attributes:
        deployment: ``"owner/deployment"``.
        window: the window asked for.
        view: what the reply turned out to be.
        summary: one number of each kind.
        series: metric (`driftline.records.Metric`) → its series; a metric without traffic is an
            empty series, one that the view does not have is missing.
        start: start of the window, UTC; None in a sparkline.
        end: end of the window, UTC; None in a sparkline.
        settled_until: `end` less the Platform's lag: a bucket that ends later is still filling.
            None in a sparkline.
        requests_24h: requests of the last 24 hours as the sparkline has them, oldest first,
            without times; empty in the other views.
        received_at: when the reply came, UTC, by the client's clock.
    """

    deployment: str
    window: Window
    view: View
    summary: MetricsSummary
    received_at: datetime
    series: Mapping[str, Series] = field(factory=dict)
    start: datetime | None = None
    end: datetime | None = None
    settled_until: datetime | None = None
    requests_24h: tuple[float, ...] = ()

    def to_samples(self) -> tuple[Sample, ...]:
        """Every settled bucket of every series, one by one."""
        return tuple(
            sample for series in self.series.values() for sample in series.settled.samples()
        )

    def __repr__(self) -> str:
        """Say what it covers."""
        return (
            f"DeploymentMetrics({self.deployment!r}, window={self.window!r}, view={self.view!r}, "
            f"requests={self.summary.total_requests:g})"
        )

    def __str__(self) -> str:
        """One line for people."""
        summary = self.summary
        if not summary.total_requests:
            return f"{self.deployment}, last {self.window}: no requests"
        rate, p95 = summary.error_rate, summary.p95_latency_ms
        errors = "error rate unknown" if rate is None else f"{100 * rate:.2g} % errors"
        latency = "p95 unknown" if p95 is None else f"p95 {p95:.0f} ms"
        return (
            f"{self.deployment}, last {self.window}: {summary.total_requests:g} requests, "
            f"{errors}, {latency}"
        )
