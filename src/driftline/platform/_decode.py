"""Replies about deployments: their wire names. Fields nobody reads are ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from attrs import frozen

from driftline._retry import http_date, retry_after_seconds
from driftline._wire import Reply
from driftline.platform._buckets import Points, as_series, bucket_width
from driftline.platform._calls import PredictOptions
from driftline.platform._deployment import (
    SLUG,
    Deployment,
    DeploymentList,
    DeploymentStatus,
    Resources,
)
from driftline.platform._health import Health
from driftline.platform._logs import HttpRequest, LogEntry, LogPage
from driftline.platform._metrics import (
    DeploymentMetrics,
    ErrorRateUnit,
    MetricsSummary,
    View,
    Window,
)
from driftline.platform._prediction import ClassScore, Frame, Prediction
from driftline.platform._reading import Node, UnreadableError, one_line, parse, read
from driftline.records import Context, Detections, Metric, Series

Box = tuple[float, float, float, float]


# --- errors ---------------------------------------------------------------------------------


def words(reply: Reply) -> str:
    """The Platform's own words on what went wrong, one line, "" for none."""
    try:
        return read(parse(reply.content), lambda body: one_line(body["error"].text()))
    except UnreadableError:
        return ""


def wait_seconds(reply: Reply) -> float | None:
    """How long a reply asks to wait: header or body, seconds or a time; None where it does not.

    The docs promise both headers and both fields, the contract neither: all are read, none needed.
    """
    if (asked := retry_after_seconds(reply)) is not None:
        return asked
    try:
        return read(parse(reply.content), lambda body: _wait_in(body, reply))
    except UnreadableError:
        return _until(reply.headers.get("x-ratelimit-reset", ""), reply)


def _wait_in(body: Node, reply: Reply) -> float | None:
    if seconds := body.get("retryAfter"):
        return seconds.number(low=0)
    reset = body.get("resetAt")
    at = reset.text() if reset else reply.headers.get("x-ratelimit-reset", "")
    return _until(at, reply)


def _until(value: str, reply: Reply) -> float | None:
    # Held against the reply's own date: the Platform's clock and ours may differ.
    sent = http_date(reply.headers.get("date", ""))
    try:
        at = read(value, Node.time)
    except UnreadableError:
        return None
    return None if sent is None else max(0.0, (at - sent).total_seconds())


# --- account and deployments ----------------------------------------------------------------


def username(body: Node) -> str:
    """Whose key this is."""
    name = body["username"].text()
    if not SLUG.fullmatch(name):
        body["username"].fault("is no name that can stand in a URL")
    return name


def deployment_list(body: Node) -> DeploymentList:
    """The rows of a listing."""
    return DeploymentList(
        [deployment(row) for row in body["deployments"].items()],
        total=body["total"].whole(low=0),
        region=body["region"].text(),
    )


def deployment_detail(body: Node) -> Deployment:
    """One deployment."""
    return deployment(body["deployment"])


def deployment(row: Node) -> Deployment:
    """One deployment, as it stands in a listing or alone."""
    return Deployment(
        id=row["id"].text(),
        owner=row["owner"].text(),
        slug=row["deployment"].text(),
        name=row["name"].text(),
        status=row["status"].choice(DeploymentStatus),
        status_message=row.optional_text("statusMessage") or "",
        region=row["region"].text(),
        resources=_resources(row["resources"]),
        project=row.optional_text("project"),
        model=row.optional_text("model"),
        task=row.optional_text("task"),
        service_url=row.optional_text("serviceUrl"),
        api_key_id=row.optional_text("apiKeyId"),
        metered=row.optional("metered", Node.flag),
        camera=row.optional_text("camera"),
        metadata=row.optional("metadata", Node.plain_object) or {},
        deployed_at=row.optional("deployedAt", Node.time),
        created_at=row["createdAt"].time(),
        updated_at=row["updatedAt"].time(),
    )


def _resources(node: Node) -> Resources:
    return Resources(
        cpu=node["cpu"].number(low=0),
        memory_gib=node["memoryGi"].number(low=0),
        min_instances=node["minInstances"].whole(low=0),
        max_instances=node["maxInstances"].whole(low=0),
    )


def succeeded(body: Node) -> None:
    """Report a reply that says it is no success although its status says so."""
    if not body["success"].flag():
        body["success"].fault("is not true although the status is of the 200s")


@frozen(kw_only=True)
class Accepted:
    """The Platform took a start, stop or replace.

    Attributes:
        status: where the deployment stands now.
        message: the Platform's words.
        slug: the deployment's name from now on; None where it did not say (before 0.1.99).
    """

    status: DeploymentStatus
    message: str
    slug: str | None


def accepted(body: Node) -> Accepted:
    """The answer to a change."""
    succeeded(body)
    return Accepted(
        status=body["status"].choice(DeploymentStatus),
        message=body.optional_text("message") or "",
        slug=body.optional_text("deployment"),
    )


# --- health and logs ------------------------------------------------------------------------


def health(body: Node, *, deployment: str, at: datetime) -> Health:
    """The answer to a ping."""
    return Health(
        deployment=deployment,
        healthy=body["healthy"].flag(),
        latency_ms=body["latencyMs"].number(low=0),
        status=body.optional("status", Node.whole),
        error=one_line(body.optional_text("error") or ""),
        at=at,
    )


def log_page(body: Node) -> LogPage:
    """One page of a log."""
    return LogPage(
        entries=tuple(_log_entry(row) for row in body["entries"].items()),
        next_token=_token(body),
    )


def _token(body: Node) -> str | None:
    # Not masked: it goes back as it came.
    token = body.get("nextPageToken")
    return (token.raw_text() or None) if token else None


def _log_entry(row: Node) -> LogEntry:
    return LogEntry(
        at=row["timestamp"].time(),
        severity=row["severity"].text(),
        message=row["message"].text(),
        request=row.optional("httpRequest", _http_request),
    )


def _http_request(node: Node) -> HttpRequest:
    return HttpRequest(
        method=node["method"].text(),
        url=node["url"].text(),
        status=node["status"].whole(),
        latency_ms=node["latencyMs"].number(),
        user_agent=node.optional_text("userAgent") or "",
    )


# --- metrics --------------------------------------------------------------------------------

_OVERVIEW_SERIES: Final[Mapping[str, Metric]] = {
    "requests": Metric.REQUESTS,
    "errors": Metric.ERRORS,
    "latencyP95": Metric.LATENCY_P95_MS,
}
_FULL_SERIES: Final[Mapping[str, Metric]] = {
    **_OVERVIEW_SERIES,
    "latencyP50": Metric.LATENCY_P50_MS,
    "cpuUtilization": Metric.CPU_UTILIZATION,
    "memoryUtilization": Metric.MEMORY_UTILIZATION,
    "instanceCount": Metric.INSTANCES,
}


@frozen(kw_only=True)
class Question:
    """What was asked of the metrics, which their reply alone does not say.

    Attributes:
        deployment: ``"owner/deployment"``.
        window: the window asked for.
        view: the view asked for.
        lag: how late the Platform's metrics are.
        error_rate_unit: what the user says of the unit of ``errorRate``; None: not known.
        at: when the reply came.
    """

    deployment: str
    window: Window
    view: View
    lag: timedelta
    error_rate_unit: ErrorRateUnit | None
    at: datetime


def metrics(body: Node, asked: Question) -> DeploymentMetrics:
    """Metrics in whichever of the three shapes came."""
    view = _view(body, asked.view)
    if view == "sparkline":
        return _sparkline(body, asked)
    start, end = (body["timeRange"][name].time() for name in ("start", "end"))
    names = _FULL_SERIES if view == "full" else _OVERVIEW_SERIES
    points = {metric: _points(body["timeSeries"][name]) for name, metric in names.items()}
    summarize = _full_summary if view == "full" else _overview_summary
    return DeploymentMetrics(
        deployment=asked.deployment,
        window=asked.window,
        view=view,
        received_at=asked.at,
        start=start,
        end=end,
        settled_until=end - asked.lag,
        summary=summarize(body["summary"], points, asked),
        series=MappingProxyType(_series(points, asked, end - asked.lag)),
    )


def _view(body: Node, asked: View) -> View:
    # The contract tags the shapes with nothing. A deployment older than 0.1.99 may answer an
    # overview in full; whoever asked for all of it wants to hear what is missing.
    if asked == "full":
        return "full"
    if "requests24h" in body:
        return "sparkline"
    return "full" if "errorCount" in body["summary"] else "overview"


_MOST: Final = 1e15  # no count, latency or share is larger; sums of them stay finite


def _points(node: Node) -> dict[datetime, float]:
    points: dict[datetime, float] = {}
    for row in node.items():
        at, value = row["timestamp"].time(), row["value"].number(low=0, high=_MOST)
        if points.setdefault(at, value) != value:
            row["timestamp"].fault(f"comes twice, with {points[at]:g} and {value:g}")
    return points


def _series(
    points: Mapping[Metric, Points], asked: Question, settled_until: datetime
) -> dict[str, Series]:
    width = bucket_width(asked.window, (at for one in points.values() for at in one))
    return {
        metric: as_series(
            metric, one, deployment=asked.deployment, width=width, settled_until=settled_until
        )
        for metric, one in points.items()
    }


def _full_summary(node: Node, _points: object, _asked: object) -> MetricsSummary:
    total, errors = node["totalRequests"].number(low=0), node["errorCount"].number(low=0)
    rate, raw = _ratio(errors, total), node["errorRate"].number(low=0)
    return MetricsSummary(
        total_requests=total,
        error_count=errors,
        error_rate=rate,
        error_rate_raw=raw,
        error_rate_unit=_unit_of(raw, rate),
        avg_latency_ms=_latency(node["avgLatencyMs"], total),
        p50_latency_ms=_latency(node["p50LatencyMs"], total),
        p95_latency_ms=_latency(node["p95LatencyMs"], total),
        p99_latency_ms=_latency(node["p99LatencyMs"], total),
    )


def _overview_summary(
    node: Node, points: Mapping[Metric, Points], asked: Question
) -> MetricsSummary:
    total, raw = node["totalRequests"].number(low=0), node["errorRate"].number(low=0)
    counted = _ratio(
        math.fsum(points[Metric.ERRORS].values()), math.fsum(points[Metric.REQUESTS].values())
    )
    return MetricsSummary(
        total_requests=total,
        error_rate=_stated_rate(node["errorRate"], total, asked) if counted is None else counted,
        error_rate_raw=raw,
        error_rate_unit=_unit_of(raw, counted),
        p95_latency_ms=_latency(node["p95LatencyMs"], total),
    )


def _sparkline(body: Node, asked: Question) -> DeploymentMetrics:
    total, raw = body["totalRequests"].number(low=0), body["errorRate"].number(low=0)
    return DeploymentMetrics(
        deployment=asked.deployment,
        window="24h",
        view="sparkline",
        received_at=asked.at,
        requests_24h=tuple(node.number(low=0) for node in body["requests24h"].items()),
        summary=MetricsSummary(
            total_requests=total,
            error_rate=_stated_rate(body["errorRate"], total, asked),
            error_rate_raw=raw,
            error_rate_unit=_unit_of(raw, None),
            avg_latency_ms=_latency(body["avgLatencyMs"], total),
        ),
    )


def _latency(node: Node, total: float) -> float | None:
    # Zero is how the Platform writes "no data": no answer takes no time.
    value = node.number(low=0)
    return value if value > 0 and total > 0 else None


def _ratio(errors: float, requests: float) -> float | None:
    # More errors than requests: the counts are of different moments, and tell no rate.
    return errors / requests if requests > 0 and errors <= requests else None


def _stated_rate(node: Node, total: float, asked: Question) -> float | None:
    """The Platform's own rate as a fraction, if its unit was told and there were requests."""
    if asked.error_rate_unit is None or total <= 0:
        return None
    rate = node.number(low=0) / (100 if asked.error_rate_unit == "percent" else 1)
    if rate > 1:
        node.fault(f"cannot be a {asked.error_rate_unit}; set error_rate_unit to the other unit")
    return rate


def _unit_of(raw: float, rate: float | None) -> ErrorRateUnit | None:
    """The unit that the Platform's rate has, told by the rate that the counts give."""
    if raw > 1:
        return "percent"
    if not rate:
        return None
    # A rate may come rounded to two places; where both units fit within that, nothing is told.
    fraction = math.isclose(raw, rate, rel_tol=0.05, abs_tol=0.005)
    percent = math.isclose(raw, 100 * rate, rel_tol=0.05, abs_tol=0.005)
    if fraction == percent:
        return None
    return "fraction" if fraction else "percent"


# --- predictions ----------------------------------------------------------------------------


def prediction(body: Node, options: PredictOptions) -> Prediction:
    """What was found in an image or a video."""
    metadata = body["metadata"]
    names = _class_names(metadata)
    frames = tuple(_frame(node, names, options) for node in body["images"].items())
    if not frames:
        body["images"].fault("is empty: nothing was looked at")
    return Prediction(
        frames=frames,
        task=metadata.optional_text("task"),
        call_seconds=metadata.optional("functionTimeCall", Node.number),
        context=Context(
            model=metadata.optional_text("model"),
            conf=options.conf,
            iou=options.iou,
            imgsz=options.imgsz,
            ultralytics=metadata["version"].optional_text("ultralytics"),
            class_names=names,
        ),
    )


def _class_names(metadata: Node) -> dict[int, str]:
    listed = metadata.get("classNames")
    return {} if listed is None else dict(enumerate(node.text() for node in listed.items()))


def _frame(node: Node, names: Mapping[int, str], options: PredictOptions) -> Frame:
    height, width = _shape(node["shape"])
    scale = (float(width), float(height)) if options.normalize else (1.0, 1.0)
    results = node["results"].items()
    boxed = [(_box(row, scale), row) for row in results if _located(row)]
    return Frame(
        detections=Detections(
            xyxy=[box for box, _ in boxed],
            confidence=[row["confidence"].number(low=0, high=1) for _, row in boxed],
            class_id=[_class_of(row) for _, row in boxed],
            image_size=(height, width),
            class_names={**names, **{_class_of(row): row["name"].text() for row in results}},
        ),
        scores=tuple(_score(row) for row in results if not _located(row)),
        speed_ms={
            name: node["speed"][name].number(low=0)
            for name in ("preprocess", "inference", "postprocess")
        },
    )


def _located(row: Node) -> bool:
    return row.get("box") is not None or row.get("segments") is not None


def _class_of(row: Node) -> int:
    return row["class"].whole(low=0)


def _score(row: Node) -> ClassScore:
    return ClassScore(
        class_id=_class_of(row),
        name=row["name"].text(),
        confidence=row.optional("confidence", lambda node: node.number(low=0, high=1)),
        pixel_ratio=row.optional("pixel_ratio", lambda node: node.number(low=0, high=1)),
    )


def _shape(node: Node) -> tuple[int, int]:
    sides = [side.whole(low=1, high=10**6) for side in node.items()]
    if len(sides) == 2:  # noqa: PLR2004 - height and width
        return sides[0], sides[1]
    node.fault("must be [height, width]")
    return 1, 1


def _box(row: Node, scale: tuple[float, float]) -> Box:
    """The upright box around a box, an oriented box or a mask, in pixels."""
    box = row.get("box")
    if box is None:
        return _around(*_outline(row["segments"]), scale)
    corners = "1234" if "x3" in box else "12"
    xs, ys = ([_coordinate(box[f"{axis}{corner}"]) for corner in corners] for axis in "xy")
    if corners == "12" and (xs[0] > xs[1] or ys[0] > ys[1]):
        box.fault("has its right or lower side before the left or upper one")
    return _around(xs, ys, scale)


def _outline(segments: Node) -> tuple[list[float], list[float]]:
    xs, ys = ([_coordinate(node) for node in segments[axis].items()] for axis in "xy")
    if not xs or len(xs) != len(ys):
        segments.fault(f"has {len(xs)} x for {len(ys)} y")
    return xs or [0.0], ys or [0.0]


def _coordinate(node: Node) -> float:
    return node.number(low=-1e9, high=1e9)


def _around(xs: list[float], ys: list[float], scale: tuple[float, float]) -> Box:
    across, down = scale
    return (min(xs) * across, min(ys) * down, max(xs) * across, max(ys) * down)
