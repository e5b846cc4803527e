"""A detection service that watches itself: counts in the request path, a monitor beside it.

    uvicorn fastapi_service:app            (pip install fastapi uvicorn)

Counting a reply takes some ten microseconds and no I/O. Once a week, whoever schedules your work
reads `builder.profile()` from GET /profile and compares it (see how-to "Compare a week").
Run as a script it serves made-up frames to itself, without a network.
"""

# pyright: reportMissingImports=false
import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.testclient import TestClient
from PIL import Image, UnidentifiedImageError

from driftline import Monitor, ProfileBuilder, rules
from driftline.sinks import LogSink
from driftline.testing import Scenes, ShapeFinder

EVERY_SECONDS = 300
detector = ShapeFinder()  # your model
builder = ProfileBuilder(context=detector.context)
monitor = Monitor(
    None,  # no endpoint to ask: the numbers come from this side
    rules=[rules.DetectionVolume(runbook="Look at the last frames: camera covered or moved?")],
    sinks=[LogSink()],  # DatadogSink(), PagerDutySink(routing_key=...)
)


async def watch() -> None:
    """Every five minutes, hand the monitor what was counted."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        await monitor.arun_once(samples=builder.profile().to_samples())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    task = asyncio.create_task(watch())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict/{camera}")
async def predict(camera: str, request: Request) -> list[dict[str, Any]]:
    try:
        image = np.asarray(Image.open(io.BytesIO(await request.body())).convert("RGB"))
    except UnidentifiedImageError as error:
        raise HTTPException(422, "the body is no image") from error
    found = await asyncio.to_thread(detector, image)
    builder.observe(found, camera=camera, at=datetime.now(UTC))
    return [
        {"box": box, "confidence": confidence, "class": detector.context.class_names[number]}
        for box, confidence, number in zip(
            found.xyxy.tolist(), found.confidence.tolist(), found.class_id.tolist(), strict=True
        )
    ]


@app.get("/profile")
def profile() -> Response:
    """What was counted, as the file that `Profile.from_bytes` reads."""
    return Response(builder.profile().to_bytes(), media_type="application/octet-stream")


def main() -> None:
    with TestClient(app) as client:
        for frame in Scenes(seed=3).frames(30):
            body = io.BytesIO()
            Image.fromarray(frame.image).save(body, "PNG")
            reply = client.post(f"/predict/{frame.camera}", content=body.getvalue())
            assert reply.status_code == 200, reply.text
        assert client.post("/predict/cam-1", content=b"no image").status_code == 422
    print(builder.profile())


if __name__ == "__main__":
    main()
