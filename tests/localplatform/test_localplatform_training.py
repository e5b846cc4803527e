"""Models and trainings of the local platform: simulated time, a trainer of yours, credits."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from localkit import LINE, client_of, two_boxes
from ultralytics_platform import Platform

from driftline.errors import InputError
from driftline.records import Detections
from driftline.testing import LocalPlatform, Scenes, TrainedModel

NEW = "/api/models/acme/vision/model-v3"
ARGS = {"model": "ul://acme/vision/model-v1", "data": "ul://acme/datasets/frames", "epochs": 10}


def nothing(image: np.ndarray) -> Detections:
    return Detections(xyxy=[], confidence=[], class_id=[], image_size=image.shape[:2])


class Trainer:
    """Keeps what it was given and gives what it was told to."""

    def __init__(self, gives):
        self.gives = gives
        self.seen = []

    def __call__(self, data, base, args):
        self.seen.append((data, base, args))
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


@pytest.fixture
def trainer():
    return Trainer(
        TrainedModel(detector=nothing, weights=b"weights", metrics={"metrics/mAP50-95(B)": 0.5})
    )


@pytest.fixture
def local(trainer):
    with LocalPlatform(detector=two_boxes, trainer=trainer, rate_limits=None) as platform:
        platform.add_dataset("frames", frames=Scenes(seed=1).frames(3))
        yield platform


def start(http, changes=None, **args):
    made = http.post("/api/models", json={"project": "vision", "model": "model-v3"})
    ident = made.json().get("id") or http.get(NEW).json()["model"]["id"]
    body = {"modelId": ident, "trainArgs": {**ARGS, **args}, **(changes or {})}
    return http.post("/api/training/start", json=body)


def job(http):
    return http.get(f"{NEW}/training").json()["job"]


def test_life_conforms(local, http, conforms):
    """Made, trained, read and listed: every reply is one the contract allows."""
    replies = [http.post("/api/models", json={"project": "vision", "model": "model-v3"})]
    replies += [http.get(NEW), http.get(f"{NEW}/training"), http.get(f"{NEW}/files")]
    replies += [start(http, {"captureDatasetVersion": True}), http.get(f"{NEW}/training")]
    local.clock.sleep(100)
    replies += [http.get(f"{NEW}/training"), http.get(NEW), start(http)]
    local.clock.sleep(600)
    replies += [http.get(f"{NEW}/training"), http.get(NEW), http.get(f"{NEW}/files")]
    replies += [http.get("/api/models/acme/vision"), http.delete(f"{NEW}/training")]

    for reply in replies:
        conforms(reply)
    expected = [201, 200, 200, 200, 200, 200, 200, 200, 409, 200, 200, 200, 200, 409]
    assert expected == [reply.status_code for reply in replies]


def test_progress(local, http):
    """A training starts, runs epoch by epoch, and ends when its time is over."""
    before = http.get(f"{NEW}/training").status_code
    start(http)
    seen = []
    for seconds in (0, 5, 60, 500, 40):
        local.clock.sleep(seconds)
        row = job(http)
        seen.append((row["status"], row["progress"]["currentEpoch"], row["progress"]["percentage"]))

    expected = [
        ("starting", 0, 0),
        ("running", 0, 0),
        ("running", 1, 10),
        ("running", 9, 90),
        ("completed", 10, 100),
    ]
    assert (404, expected) == (before, seen)
    assert {"elapsedMs": 605_000, "timePerEpochMs": 60_000, "etaMs": 0} == job(http)["timing"]


def test_trainer(local, http, trainer, image, tmp_path):
    """The trainer learns from the dataset as it was; what it gives can be deployed."""
    start(http, lr0=0.001, optimizer="AdamW")
    path = f"/api/images/{local.dataset('frames').images[0].id}"
    http.patch(path, json={"labels": []})
    early = http.patch(LINE, json={"action": "replace", "project": "vision", "model": "model-v3"})
    local.clock.sleep(605)
    model = http.get(NEW).json()["model"]
    file = http.get(f"{NEW}/files").json()["files"][0]
    late = http.patch(LINE, json={"action": "replace", "project": "vision", "model": "model-v3"})
    local.clock.sleep(60)
    found = http.post(f"{LINE}/predict", files={"file": image}).json()["images"][0]["results"]
    (data, base, args), *more = trainer.seen

    assert (404, 202, [], []) == (early.status_code, late.status_code, found, more)
    assert (True, {"metrics/mAP50-95(B)": 0.5}) == (model["hasWeights"], model["metrics"])
    assert ("best.pt", b"weights") == (
        file["name"],
        httpx.get(file["downloadUrl"], timeout=60).content,
    )
    assert (0.001, "AdamW", two_boxes) == (args["lr0"], args["optimizer"], base)
    assert len(data.images[0].labels) > 0
    assert 3 == len(data.of("train"))
    yaml = data.write(tmp_path)
    labels = sorted((tmp_path / "labels" / "train").iterdir())
    assert "train: images/train" in yaml.read_text()
    assert sum(len(i.labels) for i in data.images) == sum(
        len(path.read_text().splitlines()) for path in labels
    )


def test_plain_detector(image):
    """Without a trainer a training takes its time and the model stays as it was."""
    with LocalPlatform(detector=two_boxes, epoch_seconds=1) as local, client_of(local) as http:
        local.add_dataset("frames", frames=Scenes(seed=1).frames(1))
        start(http)
        local.clock.sleep(15)
        row = http.get(NEW).json()["model"]

    assert ("completed", True, ["circle", "square", "triangle"]) == (
        row["status"],
        row["hasWeights"],
        row["classNames"],
    )


@pytest.mark.parametrize("scripted", [True, False])
def test_failure(local, http, trainer, scripted):
    """A training fails when told to, or when the trainer does; it is billed as far as it got."""
    if scripted:
        local.break_next_training("CUDA out of memory", epoch=3)
    else:
        trainer.gives = RuntimeError("loss is nan")
    start(http)
    local.clock.sleep(605)
    row = job(http)
    words = "CUDA out of memory" if scripted else "RuntimeError: loss is nan"

    assert ("failed", words) == (row["status"], row["error"]["message"])
    assert (3 if scripted else 10) == row["progress"]["currentEpoch"]
    assert not http.get(NEW).json()["model"]["hasWeights"]
    seconds = 185 if scripted else 605
    assert 2500 - 69 * seconds / 3600 == pytest.approx(local.credits_cents)


def test_credits(local, http):
    """A start quotes price and balance; the end is billed; a cancelled one as far as it got."""
    quote = start(http).json()
    local.clock.sleep(305)
    cancelled = http.delete(f"{NEW}/training").json()

    # 605 s at 0.69 an hour.
    assert 11.6 == quote["billing"]["estimatedCostCents"]
    assert "$0.12" == quote["billing"]["estimatedCostDisplay"]
    assert {"success": True, "status": "cancelled"} == cancelled
    assert ("cancelled", 5) == (job(http)["status"], job(http)["progress"]["currentEpoch"])
    # The stopwatch counts real milliseconds as well: a hundredth of a cent is half a second.
    assert 2500 - 69 * 305 / 3600 == pytest.approx(local.credits_cents, abs=0.2)
    assert round(local.credits_cents) == http.get("/api/account/summary").json()["creditsCents"]


def test_no_credits(conforms):
    """Fifteen minutes' worth must be there before anything starts."""
    with LocalPlatform(credits_cents=17) as local, client_of(local) as http:
        local.add_dataset("frames", frames=Scenes(seed=1).frames(1))
        conforms(reply := start(http))

        assert (402, 17) == (reply.status_code, local.credits_cents)
        assert job(http) is None


def test_clears_the_run_before(local, http):
    """Training a model again clears its weights at once."""
    start(http)
    local.clock.sleep(605)
    start(http)

    assert not http.get(NEW).json()["model"]["hasWeights"]


@pytest.mark.parametrize(
    ("status", "args"),
    [
        (400, {"lr0": 0.5}),
        (400, {"epochs": 0}),
        (400, {"epochs": None}),
        (400, {"optimizer": "Lion"}),
        (400, {"model": "weights"}),
        (404, {"model": "ul://acme/vision/model-v9"}),
        (404, {"data": "ul://acme/datasets/nothing"}),
        (404, {"data": "ul://other/datasets/frames"}),
        (400, {"data": "ul://acme/datasets/empty"}),
    ],
)
def test_refused_starts(local, http, conforms, status, args):
    """A training that cannot be is refused, and nothing is billed."""
    local.add_dataset("empty")
    conforms(reply := start(http, **args))

    assert (status, 2500) == (reply.status_code, local.credits_cents)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"project": "nothing", "model": "model-v3"}),
        (409, {"project": "vision", "model": "model-v1"}),
        (400, {"project": "vision", "model": "Model"}),
        (403, {"project": "vision", "model": "model-v3", "owner": "other"}),
    ],
)
def test_refused_models(http, conforms, status, body):
    """A model that cannot be made is refused."""
    conforms(reply := http.post("/api/models", json=body))

    assert status == reply.status_code


def test_unknown(http, conforms):
    """What is not there is not found."""
    for path in ("other/vision/model-v1", "acme/vision/model-v9", "acme/nothing"):
        conforms(reply := http.get(f"/api/models/{path}"))
        assert 404 == reply.status_code


def test_official_weights(local, http, trainer):
    """A training may start from weights by name."""
    start(http, model="yolo26n.pt")
    local.clock.sleep(605)

    assert "completed" == job(http)["status"]


def test_vendor_sdk(local):
    """The vendor's SDK starts, watches and reads a training here."""
    with Platform(api_key=local.api_key, base_url=local.url, max_retries=0) as sdk:
        made = sdk.models.create(body={"project": "vision", "model": "model-v3"})
        quote = sdk.training.start(model_id=made["id"], train_args=ARGS)
        during = sdk.models.training("acme", "vision", "model-v3")["job"]
        local.clock.sleep(605)
        after = sdk.models.retrieve("acme", "vision", "model-v3")["model"]
        listed = sdk.models.list("acme", "vision")["models"]

    assert ("starting", "starting", "completed") == (
        quote["status"],
        during["status"],
        after["status"],
    )
    assert {"model-v1", "model-v2", "model-v3"} == {row["model"] for row in listed}


def test_impossible():
    """Times that cannot be are refused."""
    for options in ({"epoch_seconds": 0}, {"ingest_seconds": -1}):
        with pytest.raises(InputError):
            LocalPlatform(**options)
