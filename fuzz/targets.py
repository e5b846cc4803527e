"""What is fuzzed: each target takes bytes, and only a `DriftlineError` may come out of it.

Seeds are real: replies that the `LocalPlatform` gave, files that Driftline wrote.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from attrs import frozen

from driftline import Detections, PlatformClient, Profile, ProfileBuilder
from driftline.holdout import Holdout
from driftline.profiles import from_coco
from driftline.records import Context
from driftline.testing import FrozenClock, LocalPlatform, Scenes, write_yolo

LONG_AGO = datetime(2026, 1, 5, tzinfo=UTC)


@frozen(kw_only=True)
class Target:
    """Something that reads bytes of unknown worth.

    Attributes:
        seeds: valid inputs to begin with.
        read: what reads them.
        kind: ``"json"`` (one document), ``"lines"`` (one a line) or ``"bytes"``: how to mutate.
    """

    seeds: tuple[bytes, ...]
    read: Callable[[bytes], object]
    kind: str = "json"


# Replies of the Platform ----------------------------------------------------------------------

CALLS: Mapping[str, Callable[[PlatformClient], object]] = {
    "deployments": lambda p: p.deployments(),
    "deployment": lambda p: p.deployment("acme/line-3"),
    "metrics": lambda p: p.metrics("acme/line-3", window="1h"),
    "overview": lambda p: p.metrics("acme/line-3", window="24h", view="overview"),
    "sparkline": lambda p: p.metrics("acme/line-3", window="24h", view="sparkline"),
    "logs": lambda p: list(p.logs("acme/line-3", limit=20)),
    "health": lambda p: p.health("acme/line-3"),
    "predict": lambda p: p.predict("acme/line-3", np.zeros((64, 64, 3), dtype=np.uint8)),
    "dataset": lambda p: p.datasets.get("acme/frames"),
    "images": lambda p: list(p.datasets.images("acme/frames", limit=5)),
    "model": lambda p: p.models.get("acme/vision/model-v1"),
    "training": lambda p: p.training.status("acme/vision/model-v1"),
}


class _Recorder(httpx.HTTPTransport):
    """Sends for real and keeps what is answered, by path."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: dict[str, bytes] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        self.replies[request.url.path] = answer.read()
        return httpx.Response(answer.status_code, content=answer.content)


def platform_targets() -> dict[str, Target]:
    """A target for each call, whose seed is what the `LocalPlatform` really answers."""
    recorder, targets = _Recorder(), {}
    with LocalPlatform(deployments=["line-3"]) as local, httpx.Client(transport=recorder) as http:
        client = PlatformClient(local.api_key, local.url, "acme", local.clock, http_client=http)
        local.deployment("line-3").behave(requests_per_minute=20, p95_ms=120, error_rate=0.1)
        local.clock.advance(timedelta(minutes=30))
        _fill(client)
        for name, call in CALLS.items():
            recorder.replies.clear()
            call(client)
            replies = dict(recorder.replies)
            path = next((p for p in replies if p.endswith(f"/{name}")), list(replies)[-1])
            targets[name] = Target(
                seeds=(replies[path],), read=partial(_answered, call, replies, path)
            )
    return targets


def _fill(client: PlatformClient) -> None:
    dataset = client.datasets.create("frames", class_names=["circle", "square", "triangle"])
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w") as archive:
        write_yolo(folder, Scenes(seed=1).frames(4))
        for path in sorted(Path(folder).rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    client.datasets.upload(dataset, packed.getvalue(), split="train")


def _answered(
    call: Callable[[PlatformClient], object],
    replies: Mapping[str, bytes],
    path: str,
    content: bytes,
) -> None:
    """Make a call of which one request is answered with these bytes."""

    def answer(request: httpx.Request) -> httpx.Response:
        known = {**replies, path: content}.get(request.url.path)
        return httpx.Response(404 if known is None else 200, content=known or b"")

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        key, url = "ul_" + "0" * 40, "https://platform.example"
        call(PlatformClient(key, url, "acme", FrozenClock(LONG_AGO), http_client=http))


# Files ----------------------------------------------------------------------------------------


def _profile() -> Profile:
    builder = ProfileBuilder(context=Context(model="m", class_names={0: "bolt"}))
    rng = np.random.default_rng(0)
    for hour in range(30):
        corner = rng.uniform(0, 300, size=(4, 2))
        builder.observe(
            Detections(
                xyxy=np.concatenate([corner, corner + 40], axis=1),
                confidence=rng.uniform(0.2, 1, size=4),
                class_id=np.zeros(4, dtype=int),
                image_size=(480, 640),
            ),
            camera=f"cam-{hour % 2}",
            at=LONG_AGO + timedelta(hours=hour),
        )
    return builder.profile()


def _repacked(content: bytes) -> bytes:
    """A profile file from its members one after the other, each behind a line with its name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in content.split(b"\n--member "):
            name, _, body = part.partition(b"\n")
            archive.writestr(name[:80].replace(bytes(1), b"").decode("latin-1") or "none", body)
    return packed.getvalue()


def _unpacked(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return b"".join(
            b"\n--member " + name.encode() + b"\n" + archive.read(name)
            for name in archive.namelist()
        )


COCO: Mapping[str, Any] = {
    "images": [
        {"id": k, "file_name": f"{k}.png", "width": 64, "height": 64, "date_captured": "2026-01-05"}
        for k in range(3)
    ],
    "categories": [{"id": 1, "name": "bolt"}, {"id": 4, "name": "nut"}],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0, "score": 0.5},
        {"id": 2, "image_id": 2, "category_id": 4, "segmentation": [[1, 1, 9, 1, 9, 9]], "bbox": [1, 1, 8, 8], "score": 0.9},
    ],
}  # fmt: skip


def file_targets(folder: Path) -> dict[str, Target]:
    """A target for each kind of file that Driftline reads.

    Each input is written as one file beside three frames, for which the folder must be empty.
    """
    write_yolo(folder, Scenes(seed=1, size=64).frames(3), split="val")
    profile = _profile().to_bytes()
    yaml = next(folder.rglob("*.yaml"))
    labels = min(folder.rglob("*.txt"))
    manifest = _manifest(yaml)

    def opened(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        Holdout.open(path)

    def beside(path: Path, content: bytes) -> None:
        valid = path.read_bytes() if path.exists() else None
        try:
            path.write_bytes(content)
            Holdout.open(yaml)
        finally:
            path.unlink() if valid is None else path.write_bytes(valid)

    return {
        "profile": Target(seeds=(profile,), read=Profile.from_bytes, kind="bytes"),
        "profile members": Target(
            seeds=(_unpacked(profile),),
            read=lambda content: Profile.from_bytes(_repacked(content)),
            kind="bytes",
        ),
        "COCO results": Target(
            seeds=(json.dumps(COCO).encode(),),
            read=lambda content: from_coco(_written(folder / "fuzzed-results.json", content)),
        ),
        "COCO holdout": Target(
            seeds=(_coco_of(folder),), read=partial(opened, yaml.parent / "fuzzed.json")
        ),
        "YAML": Target(seeds=(yaml.read_bytes(),), read=partial(opened, yaml.parent / "fuzzed.yaml"), kind="bytes"),
        "labels": Target(seeds=(labels.read_bytes(),), read=partial(beside, labels), kind="bytes"),
        "NDJSON": Target(
            seeds=(_ndjson(folder),), read=partial(opened, yaml.parent / "fuzzed.ndjson"), kind="lines"
        ),
        "manifest": Target(
            seeds=(manifest,), read=partial(beside, yaml.parent / "driftline-holdout.json")
        ),
    }  # fmt: skip


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _images(folder: Path) -> list[str]:
    return [str(p.relative_to(folder / "images")) for p in sorted(folder.rglob("*.png"))]


def _coco_of(folder: Path) -> bytes:
    images = [
        {**one, "file_name": name}
        for one, name in zip(COCO["images"], _images(folder), strict=True)
    ]
    return json.dumps({**COCO, "images": images}).encode()


def _ndjson(folder: Path) -> bytes:
    head = {"type": "dataset", "task": "detect", "class_names": {"0": "circle", "1": "square", "2": "triangle"}}  # fmt: skip
    rows = [
        {"type": "image", "file": f"images/{name}", "width": 64, "height": 64, "split": "val",
         "annotations": {"boxes": [[0, 0.5, 0.5, 0.2, 0.2]]}}
        for name in _images(folder)
    ]  # fmt: skip
    return b"\n".join(json.dumps(row).encode() for row in (head, *rows)) + b"\n"


def _manifest(yaml: Path) -> bytes:
    path = Path(Holdout.open(yaml).save(yaml.parent))
    content = path.read_bytes()
    path.unlink()
    return content
