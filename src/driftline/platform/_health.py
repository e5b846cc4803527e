"""Whether an endpoint answers."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from driftline.records import Metric, Sample


@frozen(kw_only=True)
class Health:
    """The answer of one ping.

    Attributes:
        deployment: ``"owner/deployment"``.
        healthy: whether the endpoint answered well.
        status: HTTP status of the endpoint's own answer; None where there was none.
        latency_ms: how long the ping took, ms; a cold start may take a minute.
        error: what went wrong, "" for nothing.
        at: when the answer came, UTC, by the client's clock.
    """

    deployment: str
    healthy: bool
    latency_ms: float
    at: datetime
    status: int | None = None
    error: str = ""

    def to_samples(self) -> tuple[Sample, ...]:
        """1 when healthy, 0 when not, as `driftline.records.Metric.HEALTHY`."""
        return (
            Sample(
                metric=Metric.HEALTHY,
                value=float(self.healthy),
                at=self.at,
                deployment=self.deployment,
            ),
        )
