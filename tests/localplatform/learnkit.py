"""Archives and raw calls that the tests of datasets and trainings share."""

from __future__ import annotations

import io
import tarfile
import zipfile

import httpx
from localkit import encoded

from driftline.testing import LocalPlatform

NAMES = "names:\n  0: box\n  1: can\n"


def files(n: int = 3, *, start: int = 0) -> dict[str, bytes]:
    """A YOLO dataset: image `i` is grey `40 + i`, with one box of class `i % 2`."""
    found = {"data.yaml": f"train: images/train\n{NAMES}".encode()}
    for i in range(start, start + n):
        found[f"images/train/{i:03d}.png"] = encoded(grey=40 + i)
        found[f"labels/train/{i:03d}.txt"] = f"{i % 2} 0.5 0.5 0.25 0.5\n".encode()
    return found


def zipped(found: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(found: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in found.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def created(http: httpx.Client, **changes) -> httpx.Response:
    body = {"dataset": "frames", "name": "Frames", "visibility": "private", **changes}
    return http.post("/api/datasets", json=body)


def signed(http: httpx.Client, ident: str, content: bytes, name: str = "a.zip") -> httpx.Response:
    body = {
        "assetType": "datasets",
        "assetId": ident,
        "filename": name,
        "contentType": "application/zip",
        "totalBytes": len(content),
    }
    return http.post("/api/upload/signed-url", json=body)


def put(url: str, content: bytes, **headers: str) -> httpx.Response:
    return httpx.put(
        url, content=content, headers={"Content-Type": "application/zip", **headers}, timeout=60
    )


def filled(
    local: LocalPlatform, http: httpx.Client, content: bytes, name: str = "a.zip", **options
) -> list[httpx.Response]:
    """The whole conversation; answers the replies of the Platform, the storage host's left out."""
    made = created(http)
    ident = local.dataset("frames").id
    asked = signed(http, ident, content, name)
    assert 200 == put(asked.json()["uploadUrl"], content).status_code
    session = asked.json()["sessionId"]
    done = http.post("/api/upload/complete", json={"sessionId": session})
    body = {"sessionId": session, "targetSplit": "train", **options}
    queued = http.post("/api/datasets/acme/frames/ingest", json=body)
    return [made, asked, done, queued]
