"""``/api/images``: one image of a dataset, its labels, and what a model finds in it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from driftline.testing._platform._body import json_of, known_only
from driftline.testing._platform._datasets import DIGITS, LocalDataset, LocalImage
from driftline.testing._platform._models import model_of, prediction_asked
from driftline.testing._platform._router import Refused, Request, Response, Route
from driftline.testing._platform._time import iso

if TYPE_CHECKING:
    from driftline.testing._platform._world import World


def _image_at(world: World, request: Request) -> tuple[LocalDataset, LocalImage]:
    for dataset in world.workspace.datasets.values():
        for image in dataset.images:
            if image.id == request.slugs["image"]:
                return dataset, image
    raise Refused(404, "Image not found")


def _image(world: World, request: Request) -> Response:
    with world.lock:
        dataset, image = _image_at(world, request)
    properties = {
        "id": image.id,
        "datasetId": dataset.id,
        "filename": image.name,
        "hash": hashlib.md5(image.content, usedforsecurity=False).hexdigest(),
        "extension": "jpg",
        "width": image.width,
        "height": image.height,
        "split": image.split,
        "annotationCount": len(image.labels),
        "bytes": len(image.content),
        "retainedByVersion": any(image.id in {i.id for i in v.images} for v in dataset.versions),
        "createdAt": iso(image.created_us),
    }
    labels = [dict(label) for label in image.labels]
    names = list(dataset.class_names)
    return Response(
        body={"metadata": {}, "properties": properties, "labels": labels, "classNames": names}
    )


_LABEL: Final = {"classId", "bbox", "segments", "keypoints", "obb", "skeletonId"}


def _save_labels(world: World, request: Request) -> Response:
    body = json_of(request)
    known_only(body, {"labels"})
    rows = body.get("labels")
    if not isinstance(rows, list) or len(rows) > 10_000:  # noqa: PLR2004 - the contract's
        raise Refused(400, "Invalid labels")
    labels = [_rounded(row) for row in rows]
    with world.lock:
        dataset, image = _image_at(world, request)
        if any(label["classId"] >= len(dataset.class_names) for label in labels):
            raise Refused(400, "Invalid labels: a classId is beyond the classes of the dataset")
        dataset.relabel(image, labels, world.now_us())
    return Response(body={"success": True, "labels": labels, "labelCount": len(labels)})


def _rounded(row: object) -> dict[str, Any]:
    if not isinstance(row, dict) or set(row) - _LABEL or not isinstance(row.get("classId"), int):
        raise Refused(400, f"Invalid label: {row}")
    box = row.get("bbox", [0, 0, 0, 0])
    if len(box) != 4 or not all(0 <= value <= 1 for value in box):  # noqa: PLR2004 - cx, cy, w, h
        raise Refused(400, f"Invalid bbox: {box}")
    return {
        name: [round(v, DIGITS) for v in value] if isinstance(value, list) else value
        for name, value in row.items()
    }


def _predict(world: World, request: Request) -> Response:
    body = json_of(request)
    known_only(body, {"modelId", "confidence", "iou"})
    uri, conf = prediction_asked(body)
    with world.lock:
        dataset, image = _image_at(world, request)
        model = model_of(world, uri)
    labels, confidences = dataset.found(world, image, model, conf=conf)
    reply: dict[str, object] = {
        "success": True,
        "predictions": labels,
        "modelUsed": uri,
        "inferenceTime": 40.0,
    }
    if world.rules.newer_fields:
        reply["confidences"] = confidences
    return Response(body=reply)


_IMAGE: Final = "/api/images/{image}"
ROUTES: Final = (
    Route("GET", _IMAGE, _image, "image"),
    Route("PATCH", _IMAGE, _save_labels, "image-labels"),
    Route("POST", f"{_IMAGE}/predict", _predict, "image-predict", category="predict"),
)
