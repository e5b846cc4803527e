"""Requests about datasets, uploads, models and trainings: their paths, bodies and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from driftline._wire import Call
from driftline.platform._datasets import (
    DatasetAddress,
    ImageQuestion,
    Label,
    OnConflict,
    Split,
)
from driftline.platform._models import ModelAddress
from driftline.platform._training import TrainArgs
from driftline.platform._uploads import Package

STORAGE_TIMEOUT_SECONDS: Final = 300.0
"""A storage host answers once it has taken all of an archive."""
_BYTES: Final = "application/octet-stream"


def _dataset(address: DatasetAddress, tail: str = "") -> str:
    return f"/api/datasets/{quote(address.owner, safe='')}/{quote(address.slug, safe='')}{tail}"


def _model(address: ModelAddress, tail: str = "") -> str:
    names = (address.owner, address.project, address.slug)
    return f"/api/models/{'/'.join(quote(name, safe='') for name in names)}{tail}"


def _image(image_id: str, tail: str = "") -> str:
    return f"/api/images/{quote(image_id, safe='')}{tail}"


# --- datasets -------------------------------------------------------------------------------


def create_dataset(
    address: DatasetAddress,
    *,
    name: str,
    task: str,
    class_names: Sequence[str],
    description: str,
    metadata: Mapping[str, object],
) -> Call:
    """Make a dataset: private, always. Left out, the Platform's docs say, it would be public."""
    body: dict[str, Any] = {
        "owner": address.owner,
        "dataset": address.slug,
        "name": name,
        "task": task,
        "visibility": "private",
        "classNames": list(class_names),
    }
    if description:
        body["description"] = description
    if metadata:
        body["metadata"] = dict(metadata)
    return Call(
        method="POST", path="/api/datasets", json=body, category="mutation", idempotent=False
    )


def dataset(address: DatasetAddress) -> Call:
    """One dataset."""
    return Call(method="GET", path=_dataset(address))


def images(
    address: DatasetAddress, asked: ImageQuestion, *, limit: int, cursor: str | None
) -> Call:
    """One page of its images, newest first: images that come meanwhile shift no page."""
    params: dict[str, str | int | float] = {
        "limit": limit,
        "includeTotal": "false",
        "includeThumbnails": "false",
        "includeLabels": "true" if asked.with_labels else "false",
    }
    if asked.split is not None:
        params["split"] = asked.split
    if asked.labelled is not None:
        params["hasLabel"] = "true" if asked.labelled else "false"
    if cursor is not None:
        params["cursor"] = cursor
    return Call(method="GET", path=_dataset(address, "/images"), params=params)


def export(address: DatasetAddress, version: int | None) -> Call:
    """Where its present state, or a version, can be downloaded."""
    params: dict[str, str | int | float] = {} if version is None else {"v": version}
    return Call(method="GET", path=_dataset(address, "/export"), params=params, category="export")


def freeze(address: DatasetAddress, description: str) -> Call:
    """Freeze its present state under a number."""
    return Call(
        method="POST",
        path=_dataset(address, "/export"),
        json={"description": description} if description else {},
        category="export",
        idempotent=False,
    )


def ingest(address: DatasetAddress, session_id: str, *, split: Split, conflict: OnConflict) -> Call:
    """Take a completed upload into it.

    The split is always named: without one the Platform may move training images to validation.
    """
    body = {"sessionId": session_id, "targetSplit": split, "conflictPolicy": conflict}
    return Call(
        method="POST",
        path=_dataset(address, "/ingest"),
        json=body,
        category="upload",
        idempotent=False,
    )


def start_batch(
    address: DatasetAddress,
    model: str,
    *,
    conf: float,
    iou: float,
    include_annotated: bool,
    class_mapping: Mapping[int, int] | None,
) -> Call:
    """Let a model label its images; billed (the Platform of 0.1.99 and later)."""
    body: dict[str, Any] = {"modelId": model, "confidence": conf, "iou": iou}
    if include_annotated:
        body["includeAnnotated"] = True
    if class_mapping is not None:
        body["classMapping"] = {str(theirs): ours for theirs, ours in class_mapping.items()}
    return Call(
        method="POST",
        path=_dataset(address, "/predict/batch"),
        json=body,
        category="predict",
        idempotent=False,
    )


def batch(address: DatasetAddress) -> Call:
    """How far that is."""
    return Call(method="GET", path=_dataset(address, "/predict/batch"))


def cancel_batch(address: DatasetAddress) -> Call:
    """Stop it, or dismiss its summary."""
    return Call(method="DELETE", path=_dataset(address, "/predict/batch"), idempotent=False)


# --- images ---------------------------------------------------------------------------------


def image(image_id: str) -> Call:
    """One image with all its labels."""
    return Call(method="GET", path=_image(image_id))


def save_labels(image_id: str, labels: Sequence[Label]) -> Call:
    """Replace the labels of an image; doing it twice does no more than once."""
    body = {"labels": [_label(label) for label in labels]}
    return Call(method="PATCH", path=_image(image_id), json=body, idempotent=True)


def _label(label: Label) -> dict[str, Any]:
    body: dict[str, Any] = {"classId": label.class_id}
    if label.bbox is not None:
        body["bbox"] = list(label.bbox)
    for name in ("segments", "keypoints", "obb"):
        if values := getattr(label, name):
            body[name] = list(values)
    if label.skeleton_id is not None:
        body["skeletonId"] = label.skeleton_id
    return body


def predict_image(image_id: str, model: str, *, conf: float, iou: float) -> Call:
    """What a model finds in an image; it may be billed, so it is not repeated on a doubt."""
    return Call(
        method="POST",
        path=_image(image_id, "/predict"),
        json={"modelId": model, "confidence": conf, "iou": iou},
        category="predict",
        idempotent=False,
        timeout_seconds=90.0,  # as a deployment's: the model may have to be loaded
    )


# --- uploads --------------------------------------------------------------------------------


def signed_url(dataset_id: str, package: Package) -> Call:
    """Ask for an address to send an archive to; asking twice costs nothing but a session."""
    body = {
        "assetType": "datasets",
        "assetId": dataset_id,
        "filename": package.filename,
        "contentType": _BYTES,
        "totalBytes": len(package.content),
    }
    return Call(
        method="POST", path="/api/upload/signed-url", json=body, category="upload", idempotent=True
    )


def store(url: str, package: Package, headers: Mapping[str, str]) -> Call:
    """Send an archive to the storage host: never with the key, which that host must not see."""
    named = {name.lower() for name in headers}
    kind = {} if "content-type" in named else {"Content-Type": _BYTES}
    return Call(
        method="PUT",
        path=url,
        content=package.content,
        headers={**headers, **kind},
        credential=False,
        category="storage",
        idempotent=True,
        timeout_seconds=STORAGE_TIMEOUT_SECONDS,
    )


def fetch(url: str) -> Call:
    """Read a file of a signed address: never with the key."""
    return Call(
        method="GET",
        path=url,
        credential=False,
        category="storage",
        timeout_seconds=STORAGE_TIMEOUT_SECONDS,
    )


def complete(session_id: str) -> Call:
    """Say that the bytes are there; saying it twice changes nothing."""
    return Call(
        method="POST",
        path="/api/upload/complete",
        json={"sessionId": session_id},
        category="upload",
        idempotent=True,
    )


# --- models and trainings -------------------------------------------------------------------


def create_model(
    address: ModelAddress,
    *,
    name: str,
    task: str,
    description: str,
    metadata: Mapping[str, object],
) -> Call:
    """Make a model, without weights yet, in a project that is there."""
    body: dict[str, Any] = {
        "owner": address.owner,
        "project": address.project,
        "model": address.slug,
        "name": name,
        "task": task,
    }
    if description:
        body["description"] = description
    if metadata:
        body["metadata"] = dict(metadata)
    return Call(method="POST", path="/api/models", json=body, category="mutation", idempotent=False)


def model(address: ModelAddress) -> Call:
    """One model."""
    return Call(method="GET", path=_model(address))


def files(address: ModelAddress) -> Call:
    """Where its files can be downloaded."""
    return Call(method="GET", path=_model(address, "/files"), category="download")


def start_training(
    model_id: str, args: TrainArgs, *, base: str, data: str, gpu: str, capture_version: bool
) -> Call:
    """Start a training. It spends money: whoever sends this sends it once."""
    body = {
        "modelId": model_id,
        "gpuType": gpu,
        "captureDatasetVersion": capture_version,
        "trainArgs": {"model": base, "data": data, **args.wire(), **args.more},
    }
    return Call(
        method="POST",
        path="/api/training/start",
        json=body,
        category="training",
        idempotent=False,
        timeout_seconds=90.0,  # finding a machine takes longer than reading a record
    )


def training(address: ModelAddress) -> Call:
    """How far it is."""
    return Call(method="GET", path=_model(address, "/training"))


def cancel_training(address: ModelAddress) -> Call:
    """Stop it."""
    return Call(
        method="DELETE",
        path=_model(address, "/training"),
        category="training",
        idempotent=False,
    )
