"""Datasets over the client: private, filled without the key, never ingested twice."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from attrs import evolve
from platform_server import Answer, Asked, Face, HandClock

from driftline import AsyncPlatformClient, Detections, PlatformClient
from driftline.errors import (
    InputError,
    PlatformBroken,
    PlatformError,
    TransitionFailed,
    Unreachable,
    UnreadableData,
    UnreadableReply,
)
from driftline.platform import DatasetUpload, Label, UploadStage
from driftline.testing import LocalPlatform, Scenes, write_yolo

BASE = "/api/datasets/acme/frames"
STAGES = ["SIGNED", "STORED", "COMPLETED", "QUEUED", "READY"]
IMAGE = "0123456789abcdef01234567"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A zip of five labelled frames."""
    folder = tmp_path_factory.mktemp("frames")
    write_yolo(folder, Scenes(seed=1).frames(5))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for path in sorted(folder.rglob("*.*")):
            packed.write(path, path.relative_to(folder))
    return buffer.getvalue()


@pytest.fixture
def local():
    with LocalPlatform() as platform:
        yield platform


@pytest.fixture
def client(local):
    with PlatformClient(local.api_key, local.url, clock=local.clock) as platform:
        yield platform


def counted(local, operation):
    return sum(call.operation == operation for call in local.calls)


def test_create(local, client):
    """A dataset is made private, whatever the Platform's default, and answered whole."""
    made = client.datasets.create("line-3", class_names=["box", "can"], metadata={"week": 31})

    assert ("acme/line-3", "private", "detect") == (made.ref, made.visibility, made.task)
    assert ("box", "can") == made.class_names
    assert {"week": 31} == made.metadata
    assert "ul://acme/datasets/line-3" == made.uri
    assert "acme/line-3: ready, 0 images, private" == str(made)
    assert made == client.datasets.get(made) == client.datasets.get(made.uri)


def test_upload(local, client, archive):
    """The whole conversation, stage by stage, and what became of the files."""
    client.datasets.create("frames")
    seen = []
    done = client.datasets.upload("frames", archive, split="val", on_stage=seen.append)
    dataset = client.datasets.get("frames")

    assert STAGES == [record.stage.name for record in seen]
    assert done == seen[-1]
    assert (5, 0, {}) == (done.summary.added, done.summary.errors, done.summary.skipped)
    assert (5, 5) == (dataset.image_count, dataset.splits["val"])
    assert ("circle", "square", "triangle") == dataset.class_names
    assert done.job_id == dataset.ingest_job


def test_upload_again(local, client, archive, tmp_path):
    """Repeating an upload from its beginning adds nothing: images that are there are skipped."""
    path = tmp_path / "customer-acme-line-3.ZIP"
    path.write_bytes(archive)
    client.datasets.create("frames")
    client.datasets.upload("frames", path, split="train")
    again = client.datasets.upload("frames", str(path), split="train")

    assert (0, {"duplicate": 5}) == (again.summary.added, again.summary.skipped)
    assert 5 == client.datasets.get("frames").image_count


def test_no_key_leaves(archive):
    """The storage host gets the bytes, the headers it asked for, and neither key nor file name."""
    script = Uploads()
    face = Face("sync", script)
    face.datasets.upload("frames", archive, split="train")
    face.shut()
    stored = next(asked for asked in face.calls if asked.method == "PUT")
    wish = json.loads(next(a for a in face.calls if a.path.endswith("signed-url")).body)

    assert archive == stored.body
    assert {"authorization", "cookie"}.isdisjoint(stored.headers)
    assert "driftline" not in stored.headers["user-agent"]
    assert ("0", "kind/given") == (stored.headers["x-guard"], stored.headers["content-type"])
    assert wish["filename"].startswith("driftline-")
    assert len(archive) == wish["totalBytes"]
    others = [asked for asked in face.calls if asked.method != "PUT"]
    assert all(asked.headers["authorization"].startswith("Bearer ul_") for asked in others)


@pytest.mark.parametrize("broken", range(4), ids=["store", "complete", "ingest", "poll"])
def test_resume(local, client, archive, broken):
    """What broke off goes on where it stood, from a record kept as plain values."""
    operation = ["store", "upload-complete", "ingest", "dataset"][broken]
    client.datasets.create("frames")
    seen: list[DatasetUpload] = []

    def keep(record):
        seen.append(record)
        if record.stage is UploadStage.QUEUED and operation == "dataset":
            raise KeyboardInterrupt

    if operation != "dataset":
        local.fault(400, on=operation)
    with pytest.raises((PlatformError, KeyboardInterrupt)) as trouble:
        client.datasets.upload("frames", archive, split="train", on_stage=keep)
    if operation != "dataset":
        assert "go on with resume" in trouble.value.__notes__[-1]
    kept = DatasetUpload.from_dict(json.loads(json.dumps(seen[-1].to_dict())))
    done = client.datasets.upload("frames", archive, split="train", resume=kept)

    assert kept == seen[-1]
    assert UploadStage.READY is done.stage
    assert 5 == client.datasets.get("frames").image_count
    # Only what is missing is sent: a signed address alone is worth a new one.
    assert (2 if operation == "store" else 1) == counted(local, "upload-url")
    assert (2 if operation == "ingest" else 1) == counted(local, "ingest")
    again = client.datasets.upload("frames", archive, split="train", resume=done)
    assert done == again


def test_resume_something_else(client, archive):
    """A record of another archive, dataset or split is refused."""
    client.datasets.create("frames")
    done = client.datasets.upload("frames", archive, split="train")
    for changed in (
        evolve(done, digest=64 * "0"),
        evolve(done, dataset="acme/other"),
        evolve(done, split="val"),
    ):
        with pytest.raises(InputError, match="begin anew"):
            client.datasets.upload("frames", archive, split="train", resume=changed)


@pytest.mark.parametrize("values", [{}, {"stage": "lost"}, None])
def test_unreadable_record(values):
    """What is no record is said to be none."""
    with pytest.raises(UnreadableData):
        DatasetUpload.from_dict(values if values is not None else {"stage": "queued"})


class Uploads:
    """The Platform and a storage host, in which one reply may be lost."""

    def __init__(self, *, lose="", taken=True, size=None, visibility="private"):
        self.lose, self.taken, self.size = lose, taken, size
        self.visibility = visibility
        self.content: bytes | None = None
        self.job: str | None = "job-before"
        self.reads = 0

    def __call__(self, asked: Asked):
        if asked.method == "PUT":
            return self._put(asked)
        tail = asked.path.rpartition("/")[2]
        return getattr(self, "_" + tail.replace("-", "_"))(asked)

    def _lost(self, what):
        lost, self.lose = self.lose == what, "" if self.lose == what else self.lose
        import httpx

        return httpx.ReadTimeout("lost") if lost else None

    def _put(self, asked):
        if self.content is not None:
            return Answer(status=412, json={})
        self.content = asked.body
        return self._lost("put") or Answer(body=b"")

    def _signed_url(self, _asked):
        headers = {"X-Guard": "0", "Content-Type": "kind/given", "Authorization": "Basic x"}
        return Answer(
            json={
                "sessionId": "session-1",
                "uploadUrl": "https://storage.example/bucket/1?signature=secret",
                "expiresAt": "2026-11-23T00:00:00Z",
                "headers": headers,
            }
        )

    def _complete(self, _asked):
        size = len(self.content or b"") if self.size is None else self.size
        return Answer(json={"success": True, "file": {"size": size}})

    def _ingest(self, _asked):
        if self.taken:
            self.job = "job-now"
        return self._lost("ingest") or Answer(
            status=201, json={"jobId": "job-now", "status": "queued"}
        )

    def _frames(self, _asked):
        self.reads += 1
        return Answer(json={"dataset": row(self.job, visibility=self.visibility)})


def row(job=None, **changes):
    return {
        "id": "65f0000000000000000000d1",
        "owner": "acme",
        "dataset": "frames",
        "name": "Frames",
        "visibility": "private",
        "task": "detect",
        "imageCount": 0,
        "splits": {"train": 0, "val": 0},
        "starCount": 0,
        "isStarred": False,
        "status": "ready",
        "createdAt": "2026-11-01T00:00:00Z",
        "updatedAt": "2026-11-01T00:00:00Z",
        "metadata": {},
        **({"lastIngestJobId": job} if job else {}),
        **changes,
    }


def test_lost_put(face):
    """After a lost reply of the storage host the repeat finds its own bytes, and all is well."""
    script = Uploads(lose="put")
    one = face(script)
    done = one.datasets.upload("frames", b"PK archive", split="train")

    assert 2 == sum(asked.method == "PUT" for asked in one.calls)
    assert UploadStage.READY is done.stage


def test_lost_ingest(face):
    """After a lost reply to an ingest the dataset is asked, and nothing is ingested twice."""
    one = face(Uploads(lose="ingest"))
    done = one.datasets.upload("frames", b"PK archive", split="train")

    assert 1 == sum(asked.path.endswith("ingest") for asked in one.calls)
    assert "job-now" == done.job_id


def test_ingest_never_arrived(face):
    """If the dataset names no new ingest the error stays, with the way to go on."""
    one = face(Uploads(lose="ingest", taken=False))
    with pytest.raises(Unreachable) as lost:
        one.datasets.upload("frames", b"PK archive", split="train")

    assert "COMPLETED" in lost.value.__notes__[-1]
    assert 1 == sum(asked.path.endswith("ingest") for asked in one.calls)


def test_size_is_checked(face):
    """Bytes that went missing on the way are noticed before anything is ingested."""
    one = face(Uploads(size=3))
    with pytest.raises(UnreadableReply, match="3 bytes of 10"):
        one.datasets.upload("frames", b"PK archive", split="train")

    assert not any(asked.path.endswith("ingest") for asked in one.calls)


def test_public_is_refused(face):
    """Nothing is uploaded where others can see it."""
    one = face(Uploads(visibility="public"))
    with pytest.raises(InputError, match="public"):
        one.datasets.upload("frames", b"PK archive", split="train")

    assert [f"GET {BASE}"] == one.paths


@pytest.mark.parametrize(
    "url", ["http://storage.example/x", "ftp://storage.example/x", "storage", "https:///%"]
)
def test_unsafe_address(face, url):
    """An address without TLS is not written to, and not shown."""
    script = Uploads()

    def answer(asked):
        reply = script(asked)
        if asked.path.endswith("signed-url"):
            reply.json["uploadUrl"] = url
        return reply

    one = face(answer)
    with pytest.raises(UnreadableReply, match="uploadUrl: is no https") as unsafe:
        one.datasets.upload("frames", b"PK archive", split="train")

    assert url not in str(unsafe.value)


def test_signature_is_not_shown(face):
    """No error shows the signed address: whoever has it may write there."""

    def answer(asked):
        return Answer(status=403, body=b"<Error/>") if asked.method == "PUT" else Uploads()(asked)

    one = face(answer)
    with pytest.raises(PlatformError) as refused:
        one.datasets.upload("frames", b"PK archive", split="train")

    assert "secret" not in "".join([str(refused.value), *refused.value.__notes__])
    assert "storage host" in refused.value.__notes__[0]


def test_waits_for_its_turn(local, client, archive):
    """An ingest that is under way is waited for: a second at once would be a conflict."""
    client.datasets.create("frames")
    first = client.datasets.upload("frames", archive, split="train", wait=False)
    second = client.datasets.upload("frames", archive, split="train")

    assert UploadStage.QUEUED is first.stage
    assert {"duplicate": 5} == second.summary.skipped
    assert [201, 201] == [call.status for call in local.calls if call.operation == "ingest"]


def test_failed_ingest(local, client, archive):
    """A failed ingest is an error with the Platform's words."""
    client.datasets.create("frames")
    local.break_next_ingest("Labels out of range")
    with pytest.raises(TransitionFailed, match="Labels out of range"):
        client.datasets.upload("frames", archive, split="train")

    with pytest.raises(TransitionFailed, match="Labels out of range"):
        client.datasets.wait("frames")


def test_too_slow(archive):
    """Waiting has an end, which says where things stand."""
    from datetime import timedelta

    with (
        LocalPlatform(ingest_seconds=3600) as local,
        PlatformClient(local.api_key, local.url, clock=local.clock) as client,
    ):
        client.datasets.create("frames")
        with pytest.raises(
            TransitionFailed, match="0:10:00; it stands at: acme/frames: processing"
        ):
            client.datasets.upload("frames", archive, split="train", timeout=timedelta(minutes=10))
        local.clock.advance(timedelta(hours=1))

        assert 5 == client.datasets.wait("frames").image_count


def test_bad_minute(local, client, archive):
    """Waiting outlives a bad minute of the Platform's."""
    client.datasets.create("frames")
    client.datasets.upload("frames", archive, split="train", wait=False)
    local.fault(503, on="dataset", times=7)

    assert 5 == client.datasets.wait("frames").image_count


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "0 bytes"),
        (b"nothing known", "no archive"),
        ("absent.zip", "cannot be read"),
        (".", "no file"),
        ("a\0.zip", "cannot be read"),
    ],
)
def test_no_archive(client, given, said):
    """What cannot be sent is refused before anything is asked."""
    with pytest.raises(InputError, match=said):
        client.datasets.upload("frames", given, split="train")


def test_no_suffix(client, tmp_path):
    """A file is judged by its name, as the Platform does."""
    path = tmp_path / "frames.rar"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="rar"):
        client.datasets.upload("frames", path, split="train")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_images(local, client, size):
    """Images come newest first, whatever the size of a page."""
    local.add_dataset("frames", frames=Scenes(seed=1).frames(5))
    found = list(client.datasets.images("frames", page_size=size))

    assert [image.id for image in reversed(local.dataset("frames").images)] == [i.id for i in found]
    assert -(-5 // size) == counted(local, "images")
    assert found[0].label_count == len(found[0].labels)
    assert 3 == len(list(client.datasets.images("frames", page_size=size, limit=3)))
    assert [] == list(client.datasets.images("frames", limit=0))
    assert [] == list(client.datasets.images("frames", split="val"))
    assert [] == list(client.datasets.images("frames", labelled=False))
    assert () == next(client.datasets.images("frames", with_labels=False)).labels


def page(*ids, cursor=None, more=None):
    rows = [
        {
            "id": one,
            "hash": "h",
            "ext": "jpg",
            "width": 10,
            "height": 10,
            "split": "train",
            "labelCount": 0,
            "name": f"{one}.jpg",
        }
        for one in ids
    ]
    body = {"images": rows, "hasMore": bool(cursor) if more is None else more, "classes": []}
    return Answer(json={**body, "errorCount": 0, **({"nextCursor": cursor} if cursor else {})})


def test_circle(face):
    """Pages that lead in a circle are an error, no endless walk."""
    one = face(lambda _: page("a", cursor=24 * "a"))
    with pytest.raises(UnreadableReply, match="circle"):
        list(one.datasets.images("frames"))

    assert 2 == len(one.calls)


def test_no_cursor(face):
    """A page that promises more and does not say where is an error, no silent end."""
    one = face(lambda _: page("a", more=True))
    with pytest.raises(UnreadableReply, match="nextCursor"):
        list(one.datasets.images("frames"))


def test_labels(local, client):
    """Labels go there and back; boxes of detections are clipped to the image."""
    local.add_dataset("frames", frames=Scenes(seed=1, size=128).frames(1))
    image = next(client.datasets.images("frames"))
    boxes = Detections(
        xyxy=[[-10, 32, 64, 96]], confidence=[0.9], class_id=[1], image_size=(128, 128)
    )
    saved = client.datasets.save_labels(image, boxes)
    polygon = Label(class_id=2, segments=(0.1, 0.1, 0.2, 0.1, 0.2, 0.2))
    both = client.datasets.save_labels(image.id, [*saved, polygon])

    assert (Label(class_id=1, bbox=(0.25, 0.5, 0.5, 0.5)),) == saved
    assert (*saved, polygon) == both == client.datasets.image(image).labels
    assert () == client.datasets.save_labels(image, [])


@pytest.mark.parametrize(
    "make",
    [
        lambda c: c.datasets.get("Acme/frames"),
        lambda c: c.datasets.get("a/b/c"),
        lambda c: c.datasets.get("ul://acme/models/frames"),
        lambda c: c.datasets.create("frames", task="guess"),
        lambda c: c.datasets.upload("frames", b"PK", split="holdout"),
        lambda c: c.datasets.upload("frames", b"PK", split="train", conflict="merge"),
        lambda c: c.datasets.freeze_version("frames", "x" * 201),
        lambda c: list(c.datasets.images("frames", page_size=0)),
        lambda c: list(c.datasets.images("frames", limit=-1)),
        lambda c: list(c.datasets.images("frames", split="holdout")),
        lambda c: c.datasets.image("nothing"),
        lambda c: c.datasets.save_labels(IMAGE, [Label(class_id=-1)]),
        lambda c: c.datasets.save_labels(IMAGE, [Label(class_id=0, bbox=(0, 0, 2, 1))]),
        lambda c: c.datasets.save_labels(IMAGE, [Label(class_id=0)] * 10_001),
        lambda c: c.datasets.predict_image(IMAGE, "model"),
        lambda c: c.datasets.predict_batch("frames", "vision/model-v1", approve_cost=False),
    ],
)
def test_refused_here(local, client, make):
    """What the Platform would refuse, or nobody approved, is not sent."""
    with pytest.raises(InputError):
        make(client)

    assert {"account"} >= {call.operation for call in local.calls}


def test_predict_image():
    """A model's finds are labels with confidences where the Platform tells them."""
    for newer in (False, True):
        with (
            LocalPlatform(newer_fields=newer) as local,
            PlatformClient(local.api_key, local.url, clock=local.clock) as client,
        ):
            local.add_dataset("frames", frames=Scenes(seed=1).frames(1))
            image = next(client.datasets.images("frames"))
            found = client.datasets.predict_image(image, "vision/model-v1", conf=0.1)

            assert len(image.labels) == len(found.labels)
            assert newer is (found.confidences is not None)
            assert "ul://acme/vision/model-v1" == found.model


def test_predictions_and_confidences_match(face):
    """Confidences that do not fit the predictions are an error."""
    body = {"success": True, "predictions": [], "modelUsed": "m", "confidences": [0.5]}
    with pytest.raises(UnreadableReply, match="1 values for 0"):
        face(lambda _: Answer(json=body)).datasets.predict_image(IMAGE, "vision/m")


def test_batch(local, client):
    """A batch labels what has no labels, is waited for, and is asked for once."""
    local.add_dataset("frames", frames=Scenes(seed=1).frames(4))
    for image in client.datasets.images("frames"):
        client.datasets.save_labels(image, [])
    assert client.datasets.batch("frames") is None
    started = client.datasets.predict_batch("frames", "vision/model-v1", approve_cost=True)
    during = client.datasets.batch("frames")
    done = client.datasets.wait_batch("frames")

    assert (True, 0, 4) == (during.active, during.processed, during.total)
    assert (started.job_id, False, 4) == (done.job_id, done.active, done.processed)
    assert done.annotations == sum(len(i.labels) for i in local.dataset("frames").images)
    client.datasets.predict_batch(
        "frames", "vision/model-v1", approve_cost=True, include_annotated=True
    )
    client.datasets.cancel_batch("frames")
    with pytest.raises(TransitionFailed, match="stopped"):
        client.datasets.wait_batch("frames")
    client.datasets.cancel_batch("frames")
    with pytest.raises(TransitionFailed, match="none"):
        client.datasets.wait_batch("frames")


@pytest.mark.parametrize("status", [429, 503])
def test_batch_is_sent_once(local, client, status):
    """What is billed is not repeated, not even where it was surely refused."""
    local.add_dataset("frames")
    local.fault(status, on="batch-start")
    with pytest.raises(PlatformError):
        client.datasets.predict_batch("frames", "vision/model-v1", approve_cost=True)

    assert 1 == counted(local, "batch-start")


def test_versions(local, client):
    """A frozen version has a number, is reused while nothing changes, and can be read back."""
    local.add_dataset("frames", frames=Scenes(seed=1).frames(3))
    first = client.datasets.freeze_version("frames", "Week 31")
    again = client.datasets.freeze_version("frames")
    text = client.datasets.export("frames", first.version)
    listed = client.datasets.get("frames").versions

    assert ((1, False), (1, True)) == ((first.version, first.reused), (again.version, again.reused))
    assert 4 == len(text.splitlines()) == len(client.datasets.export("frames").splitlines())
    assert ("Week 31", 3) == (listed[0].description, listed[0].image_count)
    assert "http" not in repr(first)
    assert all(call.status == 200 for call in local.calls if call.operation == "fetch")


def test_in_doubt(face):
    """What may have been made is said to be in doubt, and is not made twice."""
    one = face(lambda _: Answer(status=502, json={"error": "Bad gateway"}))
    for ask in (
        lambda: one.datasets.create("frames"),
        lambda: one.datasets.freeze_version("frames"),
    ):
        with pytest.raises(PlatformBroken) as doubt:
            ask()
        assert "look before asking again" in doubt.value.__notes__[0]

    assert ["POST /api/datasets", f"POST {BASE}/export"] == one.paths


def test_async(local, archive):
    """The async face brings an archive in as well."""
    import asyncio

    async def main():
        async with AsyncPlatformClient(local.api_key, local.url, clock=local.clock) as client:
            await client.datasets.create("frames")
            done = await client.datasets.upload("frames", archive, split="train")
            images = [image async for image in client.datasets.images("frames", page_size=2)]
            return done, images

    done, images = asyncio.run(main())

    assert (UploadStage.READY, 5) == (done.stage, len(images))


def test_nothing_said_of_the_job(face):
    """A dataset that names no ingest is watched through processing, or for half a minute."""
    script = Uploads()

    def silent(asked):
        reply = script(asked)
        if asked.path == BASE and asked.method == "GET":
            reply.json["dataset"].pop("lastIngestJobId", None)
        return reply

    clock = HandClock()
    one = face(silent, clock=clock)
    done = one.datasets.upload("frames", b"PK archive", split="train")

    assert UploadStage.READY is done.stage
    assert 30 <= clock.time <= 35


def test_boxes_round_trip():
    """Boxes of detections as labels are the same boxes, to the pixel."""
    from driftline.platform._datasets import labels_of

    rng = np.random.default_rng(5)
    corners = np.sort(rng.uniform(0, 1, (50, 2, 2)), axis=1) * [640, 480]
    boxes = corners.reshape(-1, 4)
    found = Detections(
        xyxy=boxes,
        confidence=np.ones(50),
        class_id=np.zeros(50, int),
        image_size=(480, 640),
    )
    places = np.array([label.bbox for label in labels_of(found)]) * [640, 480, 640, 480]
    back = np.concatenate(
        [places[:, :2] - places[:, 2:] / 2, places[:, :2] + places[:, 2:] / 2], axis=1
    )

    assert np.allclose(boxes, back, atol=1e-9)
