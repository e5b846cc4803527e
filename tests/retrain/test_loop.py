"""From a decision to a better model: the loop on a LocalPlatform, with the real detector."""

from datetime import timedelta

import numpy as np
import pytest
from attrs import evolve
from loop_kit import DECISION, OLD, WEIGHTS, Week, forget, retraining
from loop_signs import Callers, Signs, asking, drive
from ultralytics_platform import Platform

from driftline import Profile, ProfileBuilder
from driftline.errors import DeliveryRefused, StoreError
from driftline.holdout import Holdout
from driftline.records import Context, Receipt
from driftline.retrain import Move
from driftline.retrain._loop_frames import keep
from driftline.testing import OnnxDetector
from faults.full_disk import no_room_beyond

DETECTOR = OnnxDetector(WEIGHTS, conf=0.01)


@pytest.fixture(scope="module")
def week():
    return Week(DETECTOR)


class Markers:
    """A sink that shows events."""

    def __init__(self):
        self.seen = []

    def mark(self, summary, *, at, deployment="", details=None):
        self.seen.append((summary, deployment, dict(details)))
        return Receipt(sink="markers")


class Closed:
    """A sink that takes none."""

    def mark(self, summary, *, at, deployment="", details=None):
        raise DeliveryRefused("no key")


class Days:
    """Profiles of the days after the rollout; on the first that was asked for something was wrong."""

    def __init__(self):
        self.asked = []

    def __call__(self, start, end):
        self.asked.append(end - start)
        if len(self.asked) == 1:
            return None
        builder = ProfileBuilder(context=Context(model="m", conf=0.25, iou=0.7, imgsz=128))
        found = DETECTOR(np.full((64, 64, 3), 128, np.uint8))
        for k in range(8):
            builder.observe(found, camera="cam-1", at=start + k * (end - start) / 8)
        return builder.profile()


def test_from_decision_to_baseline(tmp_path, week):
    """Drift halves the score; the loop ends with a model that sees, the old world unforgotten."""
    markers, days = Markers(), Days()
    options = {"sinks": [markers, Closed()], "baseline": days}
    with retraining(tmp_path, week=week, **options) as (local, loop):
        loop.open(DECISION)
        callers = Callers(loop)
        served = drive(loop, local, week, callers, until=lambda s: s.move is Move.BASELINE)
        before = loop.advance()
        local.clock.advance(timedelta(days=7))
        unhealthy = loop.advance()
        done = drive(loop, local, week, callers)
        dataset = local.dataset("frames")
        grown = Holdout.open(done.holdout)

        assert served.scores["recent"]["incumbent"] < 0.6
        assert served.scores["recent"]["candidate"] > 0.8
        assert served.scores["golden"]["candidate"] > served.scores["golden"]["incumbent"] - 0.02
        assert "7 healthy days" in before.waits_for
        assert "7 healthy days" in unhealthy.waits_for
        assert Move.DONE is done.move
        assert {timedelta(days=7)} == set(days.asked)
        assert 1 == len(dataset.versions)
        assert done.candidate == local.deployment("line-3").model
        assert {"money": "Ana", "rollout": "Ana"} == done.approved
        assert 1 == len(markers.seen)
        assert "no key" in done.notes[-1].said
        assert Profile.read(done.reference).frames == 8
        assert len(grown) == 60 + 16
        assert 7 == str(done).count("[x]")
        check_the_law(dataset, grown, loop.review())
        check_vendor(local, done)


def check_the_law(dataset, holdout, batch):
    """No frame is both learned from and evaluated on."""
    learned = {image.name.split(".")[0] for image in dataset.images}
    drawn = {one.id for one in batch.frames if one.probability is not None}
    chosen = {one.id for one in batch.frames if one.probability is None}
    held = {one.image_sha256.removeprefix("sha256:") for one in holdout.manifest().frames.values()}

    assert chosen <= learned
    assert not drawn & learned
    assert drawn <= held
    assert not chosen & held


def check_vendor(local, done):
    """The vendor's own client finds the version, the labelled frames, the training, the model."""
    with Platform(api_key=local.api_key, base_url=local.url, max_retries=0) as sdk:
        dataset = sdk.datasets.retrieve("acme", "frames")["dataset"]
        model = sdk.models.retrieve("acme", *done.candidate.split("/"))["model"]
        images = sdk.datasets.images("acme", "frames", limit=500)["images"]
        serving = sdk.deployments.retrieve("acme", "line-3")["deployment"]

    args = model["trainArgs"]
    assert 1 == len(dataset["versions"])
    assert 40 + 48 == len(images)
    assert (0.001, "AdamW", f"ul://acme/{OLD}") == (args["lr0"], args["optimizer"], args["model"])
    assert 1 == model["datasetVersion"]["version"]
    assert done.candidate.split("/")[1] == serving["model"]


def test_bad_candidate_refused(tmp_path, week):
    """A model that learned the new world and lost the old never sees traffic; all is kept."""
    with retraining(tmp_path, week=week, trainer=forget) as (local, loop):
        loop.open(DECISION)
        refused = drive(loop, local, week, until=asking("rollout"))

        assert Move.REFUSED is refused.move
        assert "golden" in refused.reasons[0]
        assert refused.scores["recent"]["candidate"] > 0.8
        assert refused.scores["golden"]["candidate"] < 0.6
        assert local.deployment("line-3").model == OLD
        assert "dataset" in refused.facts
        assert "[!] 5 validate" in str(refused)
        assert evolve(loop.advance(), at=refused.at, did=refused.did) == refused


def test_frames_on_a_full_disk(tmp_path):
    """What found no room is written once there is some, and nothing lies beside it."""
    frames = Signs().sample()
    with no_room_beyond(64), pytest.raises(StoreError, match="File too large"):
        keep(frames, tmp_path, read=bytes.fromhex)
    assert [] == list(tmp_path.iterdir())
    kept, broken = keep(frames, tmp_path, read=bytes.fromhex)

    assert (len(frames), 0) == (len(kept), broken)
    assert {one.file for one in kept} == {path.name for path in tmp_path.iterdir()}
