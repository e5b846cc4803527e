"""Datasets of the local platform: private rooms for archives, on a storage host of their own."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pytest
from learnkit import created, files, filled, put, signed, tarred, zipped
from localkit import client_of, encoded, two_boxes
from ultralytics_platform import Platform

from driftline.errors import InputError
from driftline.testing import LocalPlatform, Scenes

ONE = "/api/datasets/acme/frames"
MODEL = "ul://acme/vision/model-v1"


@pytest.fixture
def full(local, http):
    """A ready dataset of three images."""
    filled(local, http, zipped(files()))
    local.clock.sleep(5)
    return local.dataset("frames")


def images(http, **query):
    return http.get(f"{ONE}/images", params=query).json()


def test_life_conforms(local, http, conforms):
    """Made, filled, read, labelled and frozen: every reply is one the contract allows."""
    replies = filled(local, http, zipped(files()))
    replies += [http.get(ONE), http.get(f"{ONE}/export"), http.post(f"{ONE}/export", json={})]
    local.clock.sleep(5)
    replies += [http.get(ONE), http.get("/api/datasets/acme")]
    replies += [http.get(f"{ONE}/images", params={"limit": 2, "includeLabels": "true"})]
    first = replies[-1].json()["images"][0]["id"]
    replies += [
        http.get(f"/api/images/{first}"),
        http.post(f"/api/images/{first}/predict", json={"modelId": MODEL}),
        http.patch(f"/api/images/{first}", json={"labels": [{"classId": 1, "bbox": [0, 0, 1, 1]}]}),
        http.post(f"{ONE}/export", json={"description": "Week 31"}),
        http.get(f"{ONE}/export"),
        http.get(f"{ONE}/export", params={"v": 1}),
        http.get(ONE),
    ]

    for reply in replies:
        conforms(reply)
    expected = [201, 200, 200, 201, 200, 409, 409, *[200] * 10]
    assert expected == [reply.status_code for reply in replies]


REFUSED = [
    (400, "POST", "/api/datasets", {"dataset": "Frames", "name": "Frames"}),
    (400, "POST", "/api/datasets", {"dataset": "frames", "name": " "}),
    (400, "POST", "/api/datasets", {"dataset": "frames", "name": "x", "owners": "acme"}),
    (400, "POST", "/api/datasets", {"dataset": "frames", "name": "x", "task": "guess"}),
    (400, "POST", "/api/datasets", {"dataset": "frames", "name": "x", "classNames": [1]}),
    (403, "POST", "/api/datasets", {"dataset": "frames", "name": "x", "owner": "other"}),
    (404, "GET", "/api/datasets/other", None),
    (404, "GET", "/api/datasets/acme/frames", None),
    (404, "GET", "/api/images/0123456789abcdef01234567", None),
    (400, "GET", "/api/datasets/acme/frames/images?limit=5001", None),
    (400, "GET", "/api/datasets/acme/frames/images?split=holdout", None),
    (400, "POST", f"{ONE}/ingest", {"sourceUrl": "https://example.com/a.zip"}),
    (404, "POST", f"{ONE}/ingest", {"sessionId": "nothing"}),
    (400, "POST", f"{ONE}/ingest", {"sessionId": "x", "targetSplit": "holdout"}),
    (400, "POST", f"{ONE}/export", {"description": "x" * 201}),
    (404, "POST", "/api/upload/complete", {"sessionId": "nothing"}),
    (400, "POST", "/api/upload/signed-url", {"assetType": "models"}),
]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refusals(http, conforms, case):
    """What is wrong is refused as the contract says."""
    status, method, path, body = case
    reply = http.request(method, path, json=body)
    conforms(reply)

    assert status == reply.status_code, reply.text


def test_public_unless_told(local, http):
    """A dataset whose visibility is left out is public, as the Platform's pages say."""
    http.post("/api/datasets", json={"dataset": "frames", "name": "Frames"})

    assert "public" == local.dataset("frames").visibility


def test_storage_is_another_host(local, http):
    """The storage host is another port, and a key that comes there is an error, heard of."""
    created(http)
    content = zipped(files())
    url = signed(http, local.dataset("frames").id, content).json()["uploadUrl"]
    leaked = put(url, content, Authorization=f"Bearer {local.api_key}")

    assert local.storage_url != local.url
    assert url.startswith(local.storage_url)
    assert (400, True) == (leaked.status_code, "leaked" in leaked.json()["error"])


def test_storage_keeps_its_word(local, http):
    """Signed is signed: size, type, one object, and twelve hours."""
    created(http)
    content = zipped(files())

    def url():
        return signed(http, local.dataset("frames").id, content).json()["uploadUrl"]

    first, late = url(), url()
    replies = [
        put(first, content[:-1]),
        put(first, content, **{"Content-Type": "text/plain"}),
        put(first.replace("signature=local", "signature=x"), content),
        put(first, content),
        put(first, content),
    ]
    local.clock.sleep(12 * 3600 + 1)
    replies.append(put(late, content))

    assert [400, 403, 403, 200, 412, 403] == [reply.status_code for reply in replies]
    assert 404 == httpx.get(f"{local.storage_url}/files/nothing", timeout=60).status_code


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (zipped, "a.zip"),
        (tarred, "a.tar.gz"),
        (tarred, "a.tgz"),
        (lambda found: tarred(found, "w"), "a.tar"),
    ],
)
def test_archives(local, http, pack, name):
    """Each kind of archive is read: images, labels, and the names of the classes."""
    filled(local, http, pack(files()), name)
    during = local.dataset("frames").status
    local.clock.sleep(5)
    dataset = local.dataset("acme/frames")

    assert ("processing", "ready") == (during, dataset.status)
    assert ("box", "can") == dataset.class_names
    assert ["000.png", "001.png", "002.png"] == [image.name for image in dataset.images]
    assert [{"classId": 1, "bbox": [0.5, 0.5, 0.25, 0.5]}] == list(dataset.images[1].labels)
    # JPEG at quality 92 keeps a grey picture within a grey level.
    assert np.allclose(41, dataset.images[1].array, atol=1)
    assert [[24.0, 12.0, 40.0, 36.0]] == dataset.images[1].truth.xyxy.tolist()


def test_round_trip(local, http):
    """What was exported as NDJSON can be taken in again."""
    local.add_dataset("source", frames=Scenes(seed=1).frames(4))
    url = http.get("/api/datasets/acme/source/export").json()["downloadUrl"]
    text = httpx.get(url, timeout=60).content
    filled(local, http, text, "a.ndjson", targetSplit="test")
    local.clock.sleep(5)
    before, after = local.dataset("source"), local.dataset("frames")

    assert 5 == len(text.splitlines())
    assert before.class_names == after.class_names
    assert [i.labels for i in before.images] == [i.labels for i in after.images]
    assert {"test"} == {image.split for image in after.images}


@pytest.mark.parametrize(
    "case",
    [
        ("skip", 4, {"added": 1, "errors": 0, "skippedCounts": {"duplicate": 2}}),
        ("replace", 4, {"added": 3, "errors": 0, "skippedCounts": {}}),
        ("keep_both", 6, {"added": 3, "errors": 0, "skippedCounts": {}}),
    ],
)
def test_conflicts(local, http, full, case):
    """Images that are there by name or content are skipped, replaced or kept as asked."""
    policy, left, summary = case
    content = zipped(files(3, start=1))
    asked = signed(http, full.id, content).json()
    put(asked["uploadUrl"], content)
    body = {"sessionId": asked["sessionId"], "conflictPolicy": policy}
    http.post(f"{ONE}/ingest", json=body)
    local.clock.sleep(5)

    assert summary == http.get(ONE).json()["dataset"]["lastIngestSummary"]
    assert left == len(local.dataset("frames").images)
    assert 409 == http.post(f"{ONE}/ingest", json=body).status_code


def test_broken_archives(local, http):
    """What cannot be read fails the dataset, with a reason; single images only count as errors."""
    filled(local, http, b"PK no archive at all")
    local.clock.sleep(5)
    row = http.get(ONE).json()["dataset"]

    assert ("failed", True) == (
        row["status"],
        "cannot be read" in row["processingError"]["message"],
    )

    content = zipped({"a.png": b"no image", "b.png": encoded(20, 20), "c.png": encoded()})
    asked = signed(http, row["id"], content).json()
    put(asked["uploadUrl"], content)
    http.post(f"{ONE}/ingest", json={"sessionId": asked["sessionId"]})
    local.clock.sleep(5)
    row = http.get(ONE).json()["dataset"]

    assert ("ready", 2) == (row["status"], row["lastIngestSummary"]["errors"])


def test_scripted_ingest_failure(local, http):
    """A test may break the next ingest, once."""
    local.break_next_ingest("Disk full")
    filled(local, http, zipped(files()))
    local.clock.sleep(5)

    assert "Disk full" == http.get(ONE).json()["dataset"]["processingError"]["message"]


def test_images(http, full):
    """Images come newest first, page by page, by split and by whether they are labelled."""
    first = images(http, limit=2)
    second = images(http, limit=2, cursor=first["nextCursor"])
    http.patch(f"/api/images/{first['images'][0]['id']}", json={"labels": []})

    names = [image["name"] for page in (first, second) for image in page["images"]]
    assert ["002.png", "001.png", "000.png"] == names
    assert (3, True, False) == (first["total"], first["hasMore"], second["hasMore"])
    assert ["002.png"] == [image["name"] for image in images(http, hasLabel="false")["images"]]
    assert [] == images(http, split="val")["images"]
    assert "labels" not in first["images"][0]
    assert 400 == http.get(f"{ONE}/images", params={"cursor": 24 * "0"}).status_code


def test_labels(http, full):
    """Labels are replaced, rounded to five places, and refused where they mean nothing."""
    path = f"/api/images/{full.images[0].id}"
    saved = http.patch(
        path, json={"labels": [{"classId": 1, "bbox": [0.123456789, 0.5, 0.1, 0.1]}]}
    )
    wrong = [
        http.patch(path, json={"labels": [{"classId": 2}]}),
        http.patch(path, json={"labels": [{"classId": 0, "bbox": [0, 0, 1.2, 1]}]}),
        http.patch(path, json={"labels": [{"class": 0}]}),
    ]

    assert [0.12346, 0.5, 0.1, 0.1] == saved.json()["labels"][0]["bbox"]
    assert saved.json()["labels"] == http.get(path).json()["labels"]
    assert [400] * 3 == [reply.status_code for reply in wrong]


def test_predict(local, http, full):
    """A model predicts labels above the threshold; nothing is saved."""
    path = f"/api/images/{full.images[0].id}"
    both = http.post(f"{path}/predict", json={"modelId": MODEL, "confidence": 0.3}).json()
    sure = http.post(f"{path}/predict", json={"modelId": MODEL, "confidence": 0.5}).json()
    absent = http.post(f"{path}/predict", json={"modelId": "ul://acme/vision/model-v9"})

    assert [1, 0] == [label["classId"] for label in both["predictions"]]
    assert [0.25, 0.50129, 0.25, 0.50257] == both["predictions"][1]["bbox"]
    assert 1 == len(sure["predictions"])
    assert "confidences" not in both
    assert 404 == absent.status_code
    assert 1 == len(local.dataset("frames").images[0].labels)


def test_wrong_classes(local, http, conforms):
    """A model whose classes are not the dataset's is refused, and says so."""
    dataset = local.add_dataset("frames", frames=Scenes(seed=1).frames(1))
    path = f"/api/images/{dataset.images[0].id}/predict"
    conforms(reply := http.post(path, json={"modelId": MODEL}))

    assert 422 == reply.status_code


def test_versions(http, full):
    """A version is a snapshot: what changes later is not in it; nothing new makes no new one."""
    first = http.post(f"{ONE}/export", json={"description": "Week 31"}).json()
    again = http.post(f"{ONE}/export", json={}).json()
    http.patch(f"/api/images/{full.images[0].id}", json={"labels": []})
    second = http.post(f"{ONE}/export", json={}).json()
    old = httpx.get(http.get(f"{ONE}/export", params={"v": 1}).json()["downloadUrl"], timeout=60)
    labelled = [json.loads(line)["annotations"]["boxes"] for line in old.text.splitlines()[1:]]

    assert [(1, False), (1, True), (2, False)] == [
        (reply["version"], reply["reused"]) for reply in (first, again, second)
    ]
    assert [1, 1, 1] == [len(boxes) for boxes in labelled]
    assert 404 == http.get(f"{ONE}/export", params={"v": 3}).status_code
    hashes = [v["contentHash"] for v in http.get(ONE).json()["dataset"]["versions"]]
    assert 2 == len(set(hashes))


def test_add_dataset(local):
    """A test may begin with a dataset that is there; names are taken once."""
    frames = list(Scenes(seed=3).frames(3))
    dataset = local.add_dataset("frames", frames=frames, split="val")
    image = dataset.images[0]

    # Labels have five places: a hundredth of a pixel of 128 at most.
    assert np.allclose(frames[0].truth.xyxy, image.truth.xyxy, atol=0.01)
    assert frames[0].truth.class_id.tolist() == image.truth.class_id.tolist()
    # JPEG halves the resolution of colour: what is lost is sensor noise, of 8 grey levels.
    assert np.abs(frames[0].image.astype(float) - image.array).mean() < 8
    assert "val" == image.split
    for slug in ("frames", "Frames 2"):
        with pytest.raises(InputError):
            local.add_dataset(slug)
    with pytest.raises(InputError, match="frames"):
        local.dataset("nothing")


@pytest.fixture
def newer():
    """A platform of today, after the published contract."""
    with LocalPlatform(detector=two_boxes, newer_fields=True, ingest_seconds=0) as platform:
        yield platform


def test_vendor_sdk(newer):
    """The vendor's SDK sees what is here, and its whole upload conversation works."""
    content = zipped(files())
    with Platform(api_key=newer.api_key, base_url=newer.url, max_retries=0) as sdk:
        made = sdk.datasets.create(
            owner="acme", dataset="frames", name="Frames", visibility="private"
        )
        asked = sdk.upload.signed_url(
            body={
                "assetType": "datasets",
                "assetId": made["id"],
                "filename": "a.zip",
                "contentType": "application/zip",
                "totalBytes": len(content),
            }
        )
        httpx.put(asked["uploadUrl"], content=content, headers=asked["headers"], timeout=60)
        sdk.upload.complete(session_id=asked["sessionId"])
        sdk.datasets.ingest("acme", "frames", body={"sessionId": asked["sessionId"]})
        row = sdk.datasets.retrieve("acme", "frames")["dataset"]
        listed = sdk.datasets.images("acme", "frames", include_labels="true")
        version = sdk.datasets.create_export("acme", "frames", description="Week 31")
        found = sdk.images.predict(listed["images"][0]["id"], model_id=MODEL)
        job = sdk.datasets.create_batch("acme", "frames", body={"modelId": MODEL})
        run = sdk.datasets.batch("acme", "frames")

    assert ("ready", 3) == (row["status"], row["imageCount"])
    assert 3 == len(listed["images"])
    assert (1, False) == (version["version"], version["reused"])
    assert [0.9, 0.4] == found["confidences"]
    # Every image is labelled: there is nothing to do.
    assert (job["jobId"], 0) == (run["lastRun"]["id"], run["lastRun"]["results"]["processed"])
    assert 1 == sdk_total(newer)


def sdk_total(local):
    with Platform(api_key=local.api_key, base_url=local.url, max_retries=0) as sdk:
        return sdk.datasets.list("acme")["total"]


def test_batch(local, http, full):
    """A batch takes its time, labels what has no labels, freezes a version first, can be stopped."""
    path = f"{ONE}/predict/batch"
    for image in full.images[:2]:
        http.patch(f"/api/images/{image.id}", json={"labels": []})
    http.post(path, json={"modelId": MODEL})
    busy = http.post(path, json={"modelId": MODEL}).status_code
    local.clock.sleep(0.5)
    during = http.get(path).json()["activeJob"]["progress"]
    local.clock.sleep(0.5)
    after = http.get(path).json()
    counts = [len(image.labels) for image in local.dataset("frames").images]
    http.post(path, json={"modelId": MODEL, "includeAnnotated": True})
    ends = [http.delete(path).json()["action"] for _ in range(3)]

    assert (409, {"processed": 1, "total": 2}) == (busy, during)
    assert {"processed": 2, "annotations": 4, "classes": 2} == after["lastRun"]["results"]
    assert [2, 2, 1] == counts
    assert ["cancelled", "dismissed", "none"] == ends
    assert "Before auto-annotation" == local.dataset("frames").versions[0].description


def test_no_credits(image):
    """A batch is billed: without credits there is none."""
    with LocalPlatform(detector=two_boxes, credits_cents=0) as local, client_of(local) as http:
        local.add_dataset("frames")
        reply = http.post(f"{ONE}/predict/batch", json={"modelId": MODEL})

    assert 402 == reply.status_code
