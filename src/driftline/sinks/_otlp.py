"""Samples as OTLP/HTTP JSON: gauges without an SDK.

The format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (camelCase names,
64-bit integers as strings).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from driftline.records import Sample
from driftline.sinks._intake import batches, stamped
from driftline.sinks._text import clip_bytes, one_line

RETRY_LATER: Final = frozenset({429, 502, 503, 504})
"""Statuses after which OTLP lets a client try again; after any other it must not
(https://opentelemetry.io/docs/specs/otlp/#failures-1)."""

OLDEST_POINT: Final = timedelta(hours=1)
"""Prometheus and Mimir take samples up to an hour behind their newest (half a block)."""

PAYLOAD_BYTES: Final = 1_000_000
"""Of one call, about: well below the least of the receivers' limits (Prometheus and Mimir 100
and 10 MB, a collector 20 MB), and quick enough for the time-out."""
POINT_BYTES: Final = 250
NAME_BYTES: Final = 255
VALUE_BYTES: Final = 1024
"""Bytes of an attribute: Mimir drops the series for a label's value over 2048, or a name over 1024."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def payloads(
    samples: Sequence[Sample], *, namespace: str, now: datetime, standing: Sequence[str]
) -> Iterator[tuple[dict[str, Any], int]]:
    """Bodies of ``POST /v1/metrics``, each with the number of its points."""
    finite = (sample for sample in samples if math.isfinite(sample.value))
    for part in batches(((sample, _size(sample)) for sample in finite), PAYLOAD_BYTES):
        metrics = _metrics(part, namespace=namespace, now=now, standing=standing)
        yield _envelope(metrics), len(part)


def _size(sample: Sample) -> int:
    """About how many bytes a sample takes: at most four a character."""
    texts = (sample.metric, sample.deployment, *sample.labels, *sample.labels.values())
    return POINT_BYTES * (1 + len(sample.labels)) + sum(
        min(4 * len(text), VALUE_BYTES) for text in texts
    )


def empty() -> dict[str, Any]:
    """A body without a point, which a receiver takes and keeps nothing of."""
    return {"resourceMetrics": []}


def _envelope(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    scope = {"scope": {"name": "driftline"}, "metrics": metrics}
    resource = {"attributes": _attributes({"service.name": "driftline"})}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}


def _metrics(
    samples: Iterable[Sample], *, namespace: str, now: datetime, standing: Sequence[str]
) -> list[dict[str, Any]]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        name = clip_bytes(one_line(f"{namespace}.{sample.metric}"), NAME_BYTES)
        point = _point(sample, now=now, standing=standing)
        by_name.setdefault(name, []).append(point)
    # No unit: our names end in theirs, and Prometheus would append it once more.
    return [{"name": name, "gauge": {"dataPoints": points}} for name, points in by_name.items()]


def _point(sample: Sample, *, now: datetime, standing: Sequence[str]) -> dict[str, Any]:
    at, _ = stamped(sample, now=now, oldest=OLDEST_POINT, standing=standing)
    labels = {**sample.labels, "deployment": sample.deployment}
    point: dict[str, Any] = {
        "attributes": _attributes(labels),
        # What is too old and does not stand keeps its time: how old is too old is the
        # receiver's to say.
        "timeUnixNano": _nanoseconds(at or sample.at + sample.width),
        "asDouble": sample.value,
    }
    if sample.width:
        point["startTimeUnixNano"] = _nanoseconds(sample.at)
    return point


def _attributes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "key": clip_bytes(one_line(name), NAME_BYTES),
            "value": {"stringValue": clip_bytes(one_line(value), VALUE_BYTES)},
        }
        for name, value in sorted(labels.items())
        if name and value
    ]


def _nanoseconds(at: datetime) -> str:
    # Whole microseconds: a float of seconds would lose the last digits.
    return str((at - _EPOCH) // timedelta(microseconds=1) * 1000)
