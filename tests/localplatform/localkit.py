"""What the tests of the local platform share."""

from __future__ import annotations

import io
import time

import httpx
import numpy as np
from PIL import Image

from driftline.records import Detections
from driftline.testing import LocalPlatform

NAMES = {0: "box", 1: "can"}
LINE = "/api/deployments/acme/line-3"


def two_boxes(image: np.ndarray) -> Detections:
    """Finds a box and a can in whatever it is shown."""
    return Detections(
        xyxy=[[8.0, 12.0, 24.0, 36.123456789], [0.0, 0.0, 6.0, 6.0]],
        confidence=[0.4, 0.9],
        class_id=[0, 1],
        image_size=image.shape[:2],
        class_names=NAMES,
    )


def encoded(height: int = 48, width: int = 64, *, kind: str = "PNG", grey: int = 127) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), grey, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def client_of(local: LocalPlatform, **options) -> httpx.Client:
    key = {"Authorization": f"Bearer {local.api_key}"}
    return httpx.Client(base_url=local.url, headers=key, **{"timeout": 60, **options})


def wait_for_a_call(local: LocalPlatform) -> None:
    """Until the platform has read one: a client that hurries may give up before that."""
    until = time.monotonic() + 60
    while not local.calls:
        assert time.monotonic() < until
        time.sleep(0.005)
