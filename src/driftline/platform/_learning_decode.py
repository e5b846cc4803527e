"""Replies about datasets, uploads, models and trainings: their wire names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from attrs import field, frozen

from driftline._http import LOOPBACK
from driftline.platform._datasets import (
    BatchRun,
    Dataset,
    DatasetAddress,
    DatasetImage,
    DatasetStatus,
    DatasetVersion,
    ImagePage,
    ImagePrediction,
    IngestSummary,
    Label,
)
from driftline.platform._decode import succeeded
from driftline.platform._models import Model, ModelAddress, ModelFile, ModelStatus
from driftline.platform._reading import Node, one_line
from driftline.platform._training import TrainingJob, TrainingStart

_SPLITS = ("train", "val", "test", "labeled")


def _count(node: Node, name: str) -> int | None:
    return node.optional(name, lambda member: member.whole(low=0))


def _texts(node: Node, name: str) -> tuple[str, ...]:
    return node.optional(name, lambda rows: tuple(row.text() for row in rows.items())) or ()


def _said(node: Node, name: str) -> str:
    """The ``message`` of an error, one line; "" for none."""
    said = node.optional(name, lambda error: error["message"].text())
    return one_line(said or "")


def _numbers(node: Node) -> dict[str, float]:
    # A score that is no number (a class without objects) is missing, and not a broken reply.
    return {
        name: float(value)
        for name, value in node.plain_object().items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


# --- datasets -------------------------------------------------------------------------------


def created_dataset(body: Node) -> DatasetAddress:
    """Where a new dataset is; the Platform may choose another name than was asked for."""
    return DatasetAddress(body["owner"].text(), body["dataset"].text())


def dataset(body: Node) -> Dataset:
    """One dataset."""
    row = body["dataset"]
    return Dataset(
        id=row["id"].text(),
        owner=row["owner"].text(),
        slug=row["dataset"].text(),
        name=row["name"].text(),
        visibility=row["visibility"].text(),
        task=row["task"].text(),
        status=row.optional("status", lambda node: node.choice(DatasetStatus)),
        class_names=_texts(row, "classNames"),
        image_count=row["imageCount"].whole(low=0),
        splits={name: _count(row["splits"], name) or 0 for name in _SPLITS},
        versions=tuple(sorted(_versions(row), key=lambda version: version.version)),
        ingest_job=row.optional_text("lastIngestJobId"),
        ingest_summary=row.optional("lastIngestSummary", _summary),
        processing_error=_said(row, "processingError"),
        metadata=row.optional("metadata", Node.plain_object) or {},
        created_at=row["createdAt"].time(),
        updated_at=row["updatedAt"].time(),
    )


def _versions(row: Node) -> list[DatasetVersion]:
    listed = row.get("versions")
    return [] if listed is None else [_version(node) for node in listed.items()]


def _version(node: Node) -> DatasetVersion:
    return DatasetVersion(
        version=node["version"].whole(low=0),
        description=node.optional_text("description") or "",
        content_hash=node.optional_text("contentHash"),
        image_count=_count(node, "imageCount"),
        created_at=node.optional("createdAt", Node.time),
    )


def _summary(node: Node) -> IngestSummary:
    return IngestSummary(
        added=node["added"].whole(low=0),
        errors=node["errors"].whole(low=0),
        skipped={
            name: int(count)
            for name, count in (node.optional("skippedCounts", _numbers) or {}).items()
        },
    )


def frozen_version(body: Node, *, description: str) -> DatasetVersion:
    """The answer to a freeze; 0.1.99 may leave the address out."""
    return DatasetVersion(
        version=body["version"].whole(low=0),
        description=description,
        reused=body["reused"].flag(),
        url=body.optional("downloadUrl", _signed),
    )


def exported(body: Node) -> str:
    """Where it can be downloaded."""
    return _signed(body["downloadUrl"])


def _signed(node: Node) -> str:
    """A signed address. It is not masked, never shown, and never plain http over a network."""
    url = node.raw_text()
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        safe = safe and bool(parts.hostname)
    except ValueError:
        safe = False
    if not safe:
        node.fault("is no https:// address")
    return url


def image_page(body: Node) -> ImagePage:
    """One page of images."""
    cursor = body.optional_text("nextCursor")
    more = body["hasMore"].flag()
    if more and cursor is None:
        body.fault("says hasMore and names no nextCursor")
    return ImagePage(
        images=tuple(_listed_image(row) for row in body["images"].items()),
        next_cursor=cursor if more else None,
    )


def _listed_image(row: Node) -> DatasetImage:
    return DatasetImage(
        id=row["id"].text(),
        name=row["name"].text(),
        content_hash=row["hash"].text(),
        width=row["width"].whole(low=0),
        height=row["height"].whole(low=0),
        split=row["split"].text(),
        label_count=row["labelCount"].whole(low=0),
        labels=_labels(row),
        labels_truncated=row.optional("labelsTruncated", Node.flag) or False,
        error=one_line(row.optional_text("error") or ""),
    )


def image(body: Node) -> DatasetImage:
    """One image with its labels."""
    row = body["properties"]
    return DatasetImage(
        id=row["id"].text(),
        name=row["filename"].text(),
        content_hash=row["hash"].text(),
        width=row["width"].whole(low=0),
        height=row["height"].whole(low=0),
        split=row["split"].text(),
        label_count=row["annotationCount"].whole(low=0),
        labels=_labels(body),
        labels_truncated=body.optional("labelsTruncated", Node.flag) or False,
        error=one_line(row.optional_text("error") or ""),
    )


def _labels(node: Node, name: str = "labels") -> tuple[Label, ...]:
    listed = node.get(name)
    return () if listed is None else tuple(_label(row) for row in listed.items())


def _label(row: Node) -> Label:
    return Label(
        class_id=row["classId"].whole(low=0),
        bbox=row.optional("bbox", _bbox),
        segments=row.optional("segments", _floats) or (),
        keypoints=row.optional("keypoints", _floats) or (),
        obb=row.optional("obb", _floats) or (),
        skeleton_id=row.optional_text("skeletonId"),
    )


def _floats(node: Node) -> tuple[float, ...]:
    return tuple(value.number() for value in node.items())


def _bbox(node: Node) -> tuple[float, float, float, float] | None:
    values = node.items()
    if len(values) != 4:  # noqa: PLR2004 - cx, cy, w, h
        node.fault("must be [centre x, centre y, width, height]")
        return None
    # Rounded to five places the sum of a box at the edge may be a hair outside.
    x, y, width, height = (min(max(v.number(low=-0.01, high=1.01), 0.0), 1.0) for v in values)
    return x, y, width, height


def saved_labels(body: Node) -> tuple[Label, ...]:
    """The labels as they were saved."""
    return _labels(body)


def image_prediction(body: Node) -> ImagePrediction:
    """What a model found in an image."""
    labels = _labels(body, "predictions")
    confidences = body.optional("confidences", _confidences)
    if confidences is not None and len(confidences) != len(labels):
        body["confidences"].fault(f"has {len(confidences)} values for {len(labels)} predictions")
    return ImagePrediction(
        labels=labels,
        confidences=confidences,
        model=body["modelUsed"].text(),
        inference_ms=body.optional("inferenceTime", lambda node: node.number(low=0)),
    )


def _confidences(node: Node) -> tuple[float, ...]:
    return tuple(value.number(low=0, high=1) for value in node.items())


def started_batch(body: Node) -> BatchRun:
    """The answer to a batch."""
    return BatchRun(job_id=body["jobId"].text(), active=True)


def batch(body: Node) -> BatchRun | None:
    """The run under way, else the last one."""
    if (active := body.get("activeJob")) is not None:
        return BatchRun(
            job_id=active["id"].text(),
            active=True,
            processed=active["progress"]["processed"].whole(low=0),
            total=active["progress"]["total"].whole(low=0),
        )
    return body.optional("lastRun", _last_run)


def _last_run(run: Node) -> BatchRun:
    results = run.get("results")
    return BatchRun(
        job_id=run["id"].text(),
        active=False,
        processed=None if results is None else _count(results, "processed"),
        annotations=None if results is None else _count(results, "annotations"),
        failed=run.optional("failed", Node.flag) or False,
        stopped=run.optional("stopped", Node.flag) or False,
        error=one_line(run.optional_text("error") or ""),
    )


# --- uploads --------------------------------------------------------------------------------


@frozen
class Signed:
    """Where an archive is to be sent.

    Attributes:
        session_id: id of the upload.
        url: the address; whoever has it may write there.
        headers: what must be sent along (0.1.99).
    """

    session_id: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)


_NEVER_SENT = frozenset({"authorization", "cookie", "host", "content-length", "transfer-encoding"})


def signed(body: Node) -> Signed:
    """The answer to a wish to upload."""
    return Signed(
        body["sessionId"].raw_text(),
        _signed(body["uploadUrl"]),
        body.optional("headers", _headers) or {},
    )


def _headers(node: Node) -> dict[str, str]:
    asked = {name: node[name].raw_text() for name in node.plain_object()}
    return {name: value for name, value in asked.items() if name.lower() not in _NEVER_SENT}


def completed_bytes(body: Node) -> int:
    """How many bytes the Platform found."""
    return body["file"]["size"].whole(low=0)


def queued(body: Node) -> str:
    """Id of an ingest."""
    return body["jobId"].text()


# --- models and trainings -------------------------------------------------------------------


def created_model(body: Node) -> ModelAddress:
    """Where a new model is."""
    return ModelAddress(body["owner"].text(), body["project"].text(), body["model"].text())


def model(body: Node) -> Model:
    """One model."""
    row = body["model"]
    version = row.get("datasetVersion")
    return Model(
        id=row["id"].text(),
        owner=row["owner"].text(),
        project=row["project"].text(),
        slug=row["model"].text(),
        name=row["name"].text(),
        visibility=row["visibility"].text(),
        status=row.optional("status", lambda node: node.choice(ModelStatus)),
        task=row.optional_text("task"),
        has_weights=row["hasWeights"].flag(),
        metrics=row.optional("metrics", _numbers) or {},
        best_epoch=_count(row, "bestEpoch"),
        dataset_version=None if version is None else version["version"].whole(low=0),
        dataset_hash=None if version is None else version["contentHash"].text(),
        train_args=row.optional("trainArgs", Node.plain_object) or {},
        class_names=_texts(row, "classNames"),
        training_error=_said(row, "trainingError"),
        metadata=row.optional("metadata", Node.plain_object) or {},
        created_at=row["createdAt"].time(),
        updated_at=row["updatedAt"].time(),
        completed_at=row.optional("completedAt", Node.time),
    )


def files(body: Node) -> tuple[ModelFile, ...]:
    """Its files."""
    return tuple(
        ModelFile(
            name=row["name"].text(),
            size_bytes=row["size"].whole(low=0),
            url=_signed(row["downloadUrl"]),
        )
        for row in body["files"].items()
    )


def training_start(body: Node, *, model: str) -> TrainingStart:
    """The answer to a start."""
    cost, billing = body["estimatedCost"], body["billing"]
    return TrainingStart(
        model=model,
        model_id=body["modelId"].text(),
        gpu=body["gpuType"].text(),
        gpu_memory_gb=cost["gpuMemoryGb"].number(low=0),
        price_per_hour=cost["pricePerHour"].number(low=0),
        estimated_cost_cents=billing["estimatedCostCents"].number(low=0),
        estimated_cost=billing["estimatedCostDisplay"].text(),
        balance_cents=billing["balanceCents"].number(),
    )


def training(body: Node) -> TrainingJob | None:
    """How far a training is; None where there was none."""
    if "job" not in body:  # null is an answer, absence is none
        _ = body["job"]
    return body.optional("job", _job)


def _job(job: Node) -> TrainingJob:
    progress, timing = job["progress"], job["timing"]
    return TrainingJob(
        id=job["id"].text(),
        status=job["status"].choice(ModelStatus),
        epoch=progress["currentEpoch"].whole(low=0),
        epochs=progress["totalEpochs"].whole(low=0),
        share=min(progress["percentage"].number(low=0), 100.0) / 100,
        elapsed=_duration(timing["elapsedMs"]),
        eta=_duration(timing["etaMs"]),
        gpu=job.optional("compute", lambda node: node["gpuType"].text()),
        metrics=job.optional("epochMetrics", _numbers) or {},
        error=_said(job, "error"),
        started_at=progress.optional("startedAt", Node.time),
        completed_at=progress.optional("completedAt", Node.time),
    )


def _duration(node: Node) -> timedelta:
    return timedelta(milliseconds=node.number(low=0, high=1e12))


def cancelled(body: Node) -> str:
    """What the Platform warns of, "" for nothing."""
    succeeded(body)
    return one_line(body.optional_text("warning") or "")
