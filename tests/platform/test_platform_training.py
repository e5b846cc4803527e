"""Models and trainings over the client: nothing is paid for twice, or without a word."""

from __future__ import annotations

from datetime import timedelta

import pytest
from platform_server import Answer, Face

from driftline import AsyncPlatformClient, PlatformClient
from driftline.errors import (
    Conflict,
    InputError,
    NotFound,
    PaymentRequired,
    PlatformError,
    RateLimited,
    TransitionFailed,
    UnreadableReply,
)
from driftline.platform import ModelFile, ModelStatus
from driftline.platform._models import parse_model_ref
from driftline.testing import LocalPlatform, Scenes, TrainedModel

NEW = "vision/model-v3"


def trainer(_data, base, _args):
    return TrainedModel(detector=base, weights=b"weights", metrics={"metrics/mAP50-95(B)": 0.5})


@pytest.fixture
def local():
    with LocalPlatform(trainer=trainer) as platform:
        platform.add_dataset("frames", frames=Scenes(seed=1).frames(2))
        yield platform


@pytest.fixture
def client(local):
    with PlatformClient(local.api_key, local.url, clock=local.clock) as platform:
        yield platform


def start(client, **changes):
    options = {"data": "frames", "base": "vision/model-v1", "epochs": 10, "approve_cost": True}
    return client.training.start(NEW, **{**options, **changes})


def starts(local):
    return sum(call.operation == "training-start" for call in local.calls)


def test_models(client):
    """A model is made without weights, in a project that is there, under a name that is free."""
    made = client.models.create(NEW, description="Week 31", metadata={"base": "model-v1"})

    assert ("acme/vision/model-v3", NEW) == (made.ref, made.model_ref)
    assert "ul://acme/vision/model-v3" == made.uri
    assert (ModelStatus.UNTRAINED, False, {}) == (made.status, made.has_weights, made.metrics)
    assert made == client.models.get(made) == client.models.get(made.uri)
    assert () == client.models.files(made)
    with pytest.raises(Conflict):
        client.models.create(NEW)
    with pytest.raises(NotFound):
        client.models.create("nothing/model-v3")


def test_training(local, client):
    """Started, watched, waited for; then the model has weights, scores and a dataset version."""
    model = client.models.create(NEW)
    nothing = client.training.status(model)
    started = start(client)
    first = client.training.status(NEW)
    local.clock.advance(timedelta(seconds=185))
    during = client.training.status(NEW)
    done = client.training.wait(NEW)
    trained = client.models.get(NEW)

    assert nothing is None
    assert ("acme/vision/model-v3", "rtx-4090", 0.69) == (
        started.model,
        started.gpu,
        started.price_per_hour,
    )
    assert (11.6, "$0.12", 2500) == (
        started.estimated_cost_cents,
        started.estimated_cost,
        started.balance_cents,
    )
    assert (ModelStatus.STARTING, 0, 0.0) == (first.status, first.epoch, first.share)
    assert (ModelStatus.RUNNING, 3, 10, 0.3) == (
        during.status,
        during.epoch,
        during.epochs,
        during.share,
    )
    # Real milliseconds pass as well.
    assert timedelta(seconds=185) <= during.elapsed < timedelta(seconds=190)
    assert timedelta(seconds=415) < during.eta <= timedelta(seconds=420)
    assert (ModelStatus.COMPLETED, 1.0, {"metrics/mAP50-95(B)": 0.5}) == (
        done.status,
        done.share,
        done.metrics,
    )
    assert (True, 1, done.metrics) == (
        trained.has_weights,
        trained.dataset_version,
        trained.metrics,
    )
    assert trained.dataset_hash == client.datasets.get("frames").versions[0].content_hash
    assert (0.001, "AdamW") == (trained.train_args["lr0"], trained.train_args["optimizer"])
    assert ("circle", "square", "triangle") == trained.class_names
    file = client.models.files(NEW)[0]
    assert (b"weights", "best.pt") == (client.models.download(file), file.name)
    assert file.url not in repr(file)
    assert NEW == client.replace("line-3", trained.model_ref).model_ref


@pytest.mark.parametrize("approval", [False, None, 1, "yes"])
def test_approval(local, client, approval):
    """Without a plain True nothing is asked, let alone spent; there is no default."""
    with pytest.raises(InputError, match="approve_cost=True"):
        start(client, approve_cost=approval)
    with pytest.raises(TypeError, match="approve_cost"):
        client.training.start(NEW, data="frames", base="yolo26n.pt", epochs=1)

    assert () == local.calls


def test_auto_ignores_lr0(local, client):
    """A learning rate that the optimizer would ignore without a word is refused."""
    with pytest.raises(InputError, match="silently ignored"):
        start(client, optimizer="auto")
    client.models.create(NEW)
    start(client, optimizer="auto", lr0=None)
    args = client.models.get(NEW).train_args

    assert ("auto", False) == (args["optimizer"], "lr0" in args)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"epochs": 10_001},
        {"lr0": 0.00001},
        {"lr0": 1},
        {"optimizer": "Lion"},
        {"imgsz": 16},
        {"batch": 1000},
        {"patience": 0},
        {"seed": -1},
        {"freeze": 101},
        {"more": {"epochs": 3}},
        {"more": {"model": "yolo26n.pt"}},
        {"base": "model-v1"},
        {"data": "Frames"},
        {"base": NEW},
    ],
)
def test_refused_here(local, client, changes):
    """What the Platform would refuse or ignore is not sent."""
    with pytest.raises(InputError):
        start(client, **changes)

    assert 0 == starts(local)


@pytest.mark.parametrize("kind", [429, 500, 503, "reset", "malformed", "unexpected", "truncated"])
def test_sent_once(local, client, kind):
    """Whatever goes wrong with a start, it is not sent again; where it is in doubt that is said."""
    client.models.create(NEW)
    local.fault(kind, on="training-start", retry_after_seconds=1)
    with pytest.raises(PlatformError) as trouble:
        start(client)

    assert 1 == starts(local)
    if kind == 429:
        assert isinstance(trouble.value, RateLimited)
    else:
        assert "spends money may have been made" in trouble.value.__notes__[0]


def test_refused_connection_is_not_repeated(face):
    """Not even a connection that never stood is tried again with money at stake."""
    import httpx

    def script(asked):
        if asked.method == "POST":
            return httpx.ConnectError("refused")
        return Answer(json={"model": row(), "isOwner": True})

    one = face(script)
    with pytest.raises(PlatformError):
        start(one)

    assert 1 == sum(asked.method == "POST" for asked in one.calls)


def row(**changes):
    return {
        "id": "65f0000000000000000000e1",
        "owner": "acme",
        "project": "vision",
        "projectName": "Vision",
        "model": "model-v3",
        "visibility": "private",
        "name": "v3",
        "hasWeights": False,
        "starCount": 0,
        "isStarred": False,
        "createdAt": "2026-11-01T00:00:00Z",
        "updatedAt": "2026-11-01T00:00:00Z",
        "metadata": {},
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [{"hasWeights": True}, {"status": "completed"}, {"status": "running"}, {"status": "starting"}],
)
def test_nothing_is_cleared(face, changes):
    """A model with weights or a training is not trained again: that would clear what is there."""
    one = face(lambda _: Answer(json={"model": row(**changes), "isOwner": True}))
    with pytest.raises(Conflict, match="new model"):
        start(one)

    assert ["GET /api/models/acme/vision/model-v3"] == one.paths


@pytest.mark.parametrize("status", ["failed", "cancelled", "untrained", "pending", None])
def test_second_try(face, status):
    """A model whose training came to nothing may be trained; a pending one is under way."""
    changes = {} if status is None else {"status": status}
    one = face(lambda _: Answer(json={"model": row(**changes), "isOwner": True}))
    kind = Conflict if status == "pending" else UnreadableReply
    with pytest.raises(kind):
        start(one)


def test_budget(local, client):
    """A training estimated above the budget is cancelled at once, and an error."""
    client.models.create(NEW)
    with pytest.raises(TransitionFailed, match=r"11.6 cents.*budget_cents=11; it was cancelled"):
        start(client, budget_cents=11)

    assert ModelStatus.CANCELLED is client.training.status(NEW).status
    # A second of real time at most, at 0.02 cents a second.
    assert local.credits_cents == pytest.approx(2500, abs=0.02)
    client.models.create("vision/model-v4")
    started = client.training.start(
        "vision/model-v4",
        data="frames",
        base="yolo26n.pt",
        epochs=10,
        approve_cost=True,
        budget_cents=12,
    )
    assert 11.6 == started.estimated_cost_cents


def test_budget_that_cannot_be_kept(local, client):
    """If the cancelling fails the error says that the training goes on."""
    client.models.create(NEW)
    local.fault(503, on="training-cancel", times=None)
    with pytest.raises(PlatformError) as trouble:
        start(client, budget_cents=1)

    assert "goes on and spends money" in trouble.value.__notes__[-1]


def test_no_credits():
    """Without credits the error is one of payment."""
    with (
        LocalPlatform(credits_cents=10) as local,
        PlatformClient(local.api_key, local.url, clock=local.clock) as client,
    ):
        local.add_dataset("frames", frames=Scenes(seed=1).frames(1))
        client.models.create(NEW)
        with pytest.raises(PaymentRequired):
            start(client)


def test_cancel(local, client):
    """A training is cancelled once; waiting for it is an error then."""
    client.models.create(NEW)
    start(client)
    warning = client.training.cancel(NEW)

    assert "" == warning
    with pytest.raises(Conflict):
        client.training.cancel(NEW)
    with pytest.raises(TransitionFailed, match="cancelled"):
        client.training.wait(NEW)


def test_warning(face):
    """What the Platform warns of at a cancel is handed on."""
    body = {"success": True, "status": "cancelled", "warning": "The machine still runs"}

    assert "The machine still runs" == face(lambda _: Answer(json=body)).training.cancel(NEW)


def test_failure(local, client):
    """A failed training is an error with the Platform's words and how far it got."""
    client.models.create(NEW)
    local.break_next_training("CUDA out of memory", epoch=3)
    start(client)
    with pytest.raises(TransitionFailed, match=r"CUDA out of memory.*epoch 3 of 10"):
        client.training.wait(NEW)

    assert "CUDA out of memory" == client.models.get(NEW).training_error


def test_nothing_to_wait_for(client):
    """Waiting for no training is an error, no day spent."""
    client.models.create(NEW)
    with pytest.raises(TransitionFailed, match="none"):
        client.training.wait(NEW)


def test_waiting(local, client):
    """Waiting outlives a bad minute, looks every half minute, and has an end."""
    client.models.create(NEW)
    start(client)
    local.fault(502, on="training", times=7)
    with pytest.raises(TransitionFailed, match="it stands at: running"):
        client.training.wait(NEW, timeout=timedelta(minutes=5))

    assert ModelStatus.COMPLETED is client.training.wait(NEW).status
    looks = [call for call in local.calls if call.operation == "training"]
    assert len(looks) < 40


def test_one_epoch_too_many(face):
    """The Platform may count one epoch more than there are, and more than all of it."""
    progress = {"currentEpoch": 11, "totalEpochs": 10, "percentage": 110}
    job = {
        "id": "job",
        "status": "running",
        "progress": progress,
        "timing": {"elapsedMs": 1, "timePerEpochMs": 1, "etaMs": 0},
        "compute": None,
        "trainArgs": None,
        "epochMetrics": None,
        "error": None,
        "createdAt": "2026-11-01T00:00:00Z",
        "updatedAt": "2026-11-01T00:00:00Z",
    }
    found = face(lambda _: Answer(json={"job": job})).training.status(NEW)

    assert (11, 1.0) == (found.epoch, found.share)
    assert "running, epoch 11 of 10, 100%" == str(found)


def test_no_job_is_said(face):
    """No job is null; a reply without the word is no reply."""
    assert face(lambda _: Answer(json={"job": None})).training.status(NEW) is None
    with pytest.raises(UnreadableReply, match=r"\$\.job: is missing"):
        face(lambda _: Answer(json={})).training.status(NEW)


def test_short_download(face):
    """Weights that arrive cut off are an error; the key does not go along."""
    file = ModelFile(name="best.pt", size_bytes=7, url="https://storage.example/w?s=secret")
    one = face(lambda _: Answer(body=b"weigh"))
    with pytest.raises(UnreadableReply, match="5 bytes in place of 7"):
        one.models.download(file)

    assert "authorization" not in one.calls[0].headers
    whole = face(lambda _: Answer(body=b"weights"))
    assert b"weights" == whole.models.download(file)


@pytest.mark.parametrize("ref", ["model", "a/b/c/d", "Vision/model", "ul://vision/model", 7])
def test_no_model(ref):
    """What is no model is refused with the way to name one."""
    with pytest.raises(InputError, match="owner/project/model"):
        parse_model_ref(ref)


def test_async(local):
    """The async face trains as well."""
    import asyncio

    async def main():
        async with AsyncPlatformClient(local.api_key, local.url, clock=local.clock) as client:
            await client.models.create(NEW)
            await start(client)
            return await client.training.wait(NEW)

    assert ModelStatus.COMPLETED is asyncio.run(main()).status


def test_our_bodies():
    """Everything that is sent is what the official contract allows."""
    contract = pytest.importorskip("test_platform_contract")
    document = _document()
    sent = _everything()

    for asked in sent:
        documented, _ = contract.operation(document, asked)
        for name, value in asked.query.items():
            schemas = {one["name"]: one["schema"] for one in documented["parameters"]}
            schema = schemas[name]
            contract.check(document, schema, int(value) if schema["type"] == "integer" else value)
        body = documented.get("requestBody", {}).get("content", {})
        if "application/json" in body:
            import json

            contract.check(document, body["application/json"]["schema"], json.loads(asked.body))
    assert {"POST", "GET", "PATCH", "DELETE"} == {asked.method for asked in sent}
    assert 17 == len({(asked.method, asked.path) for asked in sent})


def _document():
    import json
    import os
    from pathlib import Path

    folder = os.environ.get("DRIFTLINE_CONTRACTS")
    if not folder:
        pytest.skip("DRIFTLINE_CONTRACTS names no folder with the official contracts")
    return json.loads((Path(folder) / "ultralytics-platform-0.1.9.openapi.json").read_text())


def _everything():
    """Every call that the contract knows, as a client makes it."""
    from test_platform_datasets import IMAGE, Uploads, page
    from test_platform_datasets import row as dataset_row

    uploads = Uploads()
    started = {
        "modelId": "m",
        "gpuType": "l4",
        "status": "starting",
        "estimatedCost": {"pricePerHour": 1, "gpuMemoryGb": 1},
        "billing": {
            "estimatedCostCents": 1,
            "estimatedCostDisplay": "$0.01",
            "balanceCents": 1,
        },
    }
    made = {"id": "x", "owner": "acme", "project": "vision", "model": "model-v3", "region": "eu"}
    image = {
        "id": IMAGE,
        "filename": "a",
        "hash": "h",
        "width": 9,
        "height": 9,
        "split": "val",
        "annotationCount": 0,
    }
    url = "https://storage.example/x"
    known = {
        "POST /api/datasets": {**made, "dataset": "frames"},
        "GET /api/datasets/acme/frames": {"dataset": dataset_row("job-now")},
        "GET /api/datasets/acme/frames/export": {"downloadUrl": url, "version": 1},
        "POST /api/datasets/acme/frames/export": {
            "version": 1,
            "downloadUrl": url,
            "reused": False,
        },
        f"GET /api/images/{IMAGE}": {"properties": image, "labels": [], "classNames": []},
        f"PATCH /api/images/{IMAGE}": {"labels": []},
        f"POST /api/images/{IMAGE}/predict": {"predictions": [], "modelUsed": "m"},
        "POST /api/models": made,
        "GET /api/models/acme/vision/model-v3": {"model": row(), "isOwner": True},
        "GET /api/models/acme/vision/model-v3/files": {"files": []},
        "GET /api/models/acme/vision/model-v3/training": {"job": None},
        "DELETE /api/models/acme/vision/model-v3/training": {"success": True},
        "POST /api/training/start": started,
    }

    def answer(asked):
        name = f"{asked.method} {asked.path}"
        if name in known:
            return Answer(json=known[name])
        if asked.path.endswith("/images"):
            return page("a")
        ours = asked.path.startswith("/api/") or asked.method == "PUT"
        return uploads(asked) if ours else Answer(body=b"content")

    face = Face("sync", answer, owner="acme")
    datasets, models = face.datasets, face.models
    datasets.create("frames", class_names=["a"], description="d", metadata={"a": [1]})
    for split in ("train", "val", "test"):
        for conflict in ("skip", "keep_both", "replace"):
            uploads.content = None
            datasets.upload("frames", b"PK archive", split=split, conflict=conflict)
    datasets.freeze_version("frames", "Week 31")
    datasets.freeze_version("frames")
    datasets.export("frames", 1)
    list(datasets.images("frames", split="val", labelled=True, with_labels=False))
    datasets.image(IMAGE)
    from driftline.platform import Label

    datasets.save_labels(
        IMAGE,
        [
            Label(class_id=0, bbox=(0.5, 0.5, 1, 1), keypoints=(0.1, 0.2), skeleton_id="s"),
            Label(class_id=1, segments=(0.1, 0.1, 0.2, 0.2), obb=(0, 0, 1, 0, 1, 1, 0, 1)),
        ],
    )
    datasets.predict_image(IMAGE, "vision/model-v1")
    models.create(NEW, description="d", metadata={"a": 1})
    models.files(NEW)
    start(face, freeze=10, gpu="l4", more={"mosaic": 0.5})
    start(face, base="yolo26n.pt", optimizer="auto", lr0=None)
    face.training.status(NEW)
    face.training.cancel(NEW)
    face.shut()
    return [asked for asked in face.calls if asked.path.startswith("/api/")]
