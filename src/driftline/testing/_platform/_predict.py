"""Predictions: through the Platform, and on the endpoint's own address."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import frozen

from driftline.records import Detections
from driftline.testing._platform._deployments import TASK
from driftline.testing._platform._endpoint import LocalDeployment
from driftline.testing._platform._multipart import Part, parts_of
from driftline.testing._platform._pictures import decoded
from driftline.testing._platform._router import (
    Refused,
    Request,
    Response,
    Route,
    choice,
    number,
    whole,
)

if TYPE_CHECKING:
    from driftline.testing._platform._world import Image, World

MAX_DETECTIONS: Final = 300
"""Most boxes of one image: ``max_det`` of Ultralytics."""
LONGEST_SOURCE: Final = 4096
VERSION: Final = {
    "ultralytics": "8.4.150",
    "torch": "2.14.0+cpu",
    "torchvision": "0.29.0+cpu",
    "python": "3.14.7",
}
"""What the reply says the endpoint runs on; nothing of it is installed here."""
_STAGES: Final = {"preprocess": 0.04, "inference": 0.85, "postprocess": 0.1}
"""Shares of a prediction's scripted latency; the rest is the way to the endpoint."""
_PREDICT: Final = "/predict"


@frozen(kw_only=True)
class Options:
    """What a caller may set; the defaults are those of the Platform's inference page."""

    conf: float = 0.25
    iou: float = 0.7
    imgsz: int = 640
    normalize: bool = False
    decimals: int = 5


def options_of(fields: dict[str, Part]) -> Options:
    """The options of a form.

    Raises:
        Refused: 400, one of them is out of its range.
    """
    texts = {name: part.text for name, part in fields.items() if part.filename is None}
    choice(texts, "bits", ("8", "12", "16"))
    whole(texts, "vid_stride", low=1, high=10_000, default=1)
    return Options(
        conf=number(texts, "conf", low=0.01, high=1, default=0.25),
        iou=number(texts, "iou", low=0, high=0.95, default=0.7),
        imgsz=whole(texts, "imgsz", low=32, high=1280, default=640),
        normalize=choice(texts, "normalize", ("true", "false"), default="false") == "true",
        decimals=whole(texts, "decimals", low=0, high=10, default=5),
    )


def image_of(fields: dict[str, Part]) -> Image:
    """The frame of a form: its ``file``, or its ``source`` in base64.

    Raises:
        Refused: 400, there is none, or it is no image.
    """
    if "file" in fields:
        return decoded(fields["file"].content)
    source = fields["source"].text if "source" in fields else ""
    if not source:
        raise Refused(400, "A file or source is required")
    if len(source) > LONGEST_SOURCE:
        raise Refused(400, f"source is longer than {LONGEST_SOURCE} characters")
    if source.startswith(("http://", "https://")):
        raise Refused(400, "source could not be fetched: this local platform opens no URL")
    try:
        content = base64.b64decode(source.rpartition("base64,")[2], validate=True)
    except binascii.Error:
        raise Refused(400, "source is neither a URL nor base64") from None
    return decoded(content)


def _predict(world: World, request: Request) -> Response:
    with world.lock:
        deployment = world.deployment(request)
    return _run(world, deployment, request)


def _direct(world: World, request: Request) -> Response:
    return _run(world, world.service(request), request)


def _run(world: World, deployment: LocalDeployment, request: Request) -> Response:
    with world.lock:
        model = deployment.serving
        if model is None:
            raise Refused(400, f"Deployment is not ready: {deployment.status}")
        awake = deployment.wake()
        healthy = not deployment.fails()
        ms = deployment.draw_ms() if awake else 0.0
    try:
        if not awake:
            response, status = _unavailable("Deployment is starting"), 429
        elif not healthy:
            response, status = _unavailable("Deployment service unavailable"), 503
        else:
            response, status = _detect(world, model, request, ms), 200
    except Refused as refused:
        response, status = refused.response, refused.response.status
    except Exception as exc:  # noqa: BLE001 - the detector is the user's: as on any server, its fault is a 500
        said = f"Prediction with {model} failed: {type(exc).__name__}: {exc}"
        response, status = Response(status=500, body={"error": said}), 500
    with world.lock:
        agent = request.headers.get("user-agent", "")
        deployment.record(method="POST", path=_PREDICT, status=status, ms=ms, agent=agent)
        if status == 500:  # noqa: PLR2004 - an HTTP status
            deployment.log(str(response.body["error"]), severity="CRITICAL")
    return response


def _unavailable(said: str) -> Response:
    return Response(status=503, body={"error": said})


def _detect(world: World, model: str, request: Request, ms: float) -> Response:
    if request.oversized:
        raise Refused(413, "Prediction input too large")
    fields = parts_of(request)
    options = options_of(fields)
    image = image_of(fields)
    with world.detecting:
        detections = world.detector(model)(image)
    metadata: dict[str, object] = {
        "imageCount": 1,
        "functionTimeAlive": round(world.stopwatch.seconds(), 3),
        "functionTimeCall": round(ms / 1000, 3),
        "model": f"{model}.pt",
        "task": TASK,
        "version": VERSION,
    }
    if world.rules.newer_fields:
        names = detections.class_names
        metadata["classNames"] = [names.get(i, str(i)) for i in range(max(names, default=-1) + 1)]
    found = {
        "shape": list(image.shape[:2]),
        "speed": {stage: round(share * ms, 5) for stage, share in _STAGES.items()},
        "results": results_of(detections, options),
    }
    return Response(body={"images": [found], "metadata": metadata})


def results_of(detections: Detections, options: Options) -> list[dict[str, object]]:
    """The boxes at or above the threshold, most confident first, as the contract writes them."""
    height, width = detections.image_size
    scale = np.array([width, height, width, height]) if options.normalize else np.ones(4)
    order = np.argsort(-detections.confidence, kind="stable")
    kept = order[detections.confidence[order] >= options.conf][:MAX_DETECTIONS]
    digits = options.decimals
    return [
        {
            "name": detections.class_names.get(int(class_id), str(class_id)),
            "class": int(class_id),
            "confidence": round(float(confidence), digits),
            "box": {
                corner: round(float(value), digits)
                for corner, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)
            },
        }
        for class_id, confidence, box in zip(
            detections.class_id[kept],
            detections.confidence[kept],
            detections.xyxy[kept] / scale,
            strict=True,
        )
    ]


ROUTES: Final = (
    Route(
        "POST",
        "/api/deployments/{owner}/{deployment}/predict",
        _predict,
        "predict",
        category="predict",
    ),
    Route("POST", "/service/{service}/predict", _direct, "predict", category=None),
)
