"""The Platform as back end: found again by the key, bounded in money, never another's data."""

import hashlib
from contextlib import contextmanager
from datetime import timedelta

import httpx
import numpy as np
import pytest
from attrs import evolve
from loop_kit import CANARY, DATASET, MAIN, NAMES, OLD, png, rolling_out, scenes
from loop_signs import SIZE, client

from driftline.errors import (
    ConfigError,
    ContextMismatch,
    InputError,
    PlatformError,
    TransitionFailed,
    UnreadableData,
)
from driftline.holdout import LabelledFrame, Truth
from driftline.platform import TrainArgs
from driftline.records import Remove
from driftline.retrain import (
    Phase,
    PlatformBackend,
    RetrainBackend,
    TrainingRequest,
    TrainingRun,
    TrainingStatus,
)
from driftline.stores import MemoryStore
from driftline.testing import LocalPlatform

ARGS = TrainArgs(epochs=3, imgsz=64)


@contextmanager
def backend(store=None, **options):
    with LocalPlatform(deployments=[], rate_limits=None, deploy_seconds=5, **options) as local:
        for slug in ("line-3", "line-3-next"):
            local.add_deployment(slug, model=OLD)
        local.add_dataset("frames", frames=scenes(3).frames(4))
        with client(local.url, local.api_key, clock=local.clock) as platform:
            yield local, make(platform, store)


def make(platform, store=None, **options):
    return PlatformBackend(
        platform,
        store or MemoryStore(),
        **{
            "dataset": DATASET,
            "project": "vision",
            "deployment": MAIN,
            "canary": CANARY,
            "budget_cents": 500,
            **options,
        },
    )


def labelled(folder, n, *, start=0):
    """Frames as the loop hands them over: named by the digest of their file."""
    found = []
    for frame in scenes(8).frames(n, start=start):
        content = png(frame.image)
        digest = hashlib.sha256(content).hexdigest()
        path = folder / f"{digest}.png"
        path.write_bytes(content)
        found.append(LabelledFrame(truth=frame.truth, image=path, id=digest))
    return found


def frozen(local, made, key, train, val):
    """Ask until it is there."""
    for _ in range(10):
        version = made.dataset_version(key, train=train, val=val, class_names=NAMES)
        if version is not None:
            return version
        local.clock.advance(timedelta(seconds=10))
    raise AssertionError


def test_a_back_end():
    """It is one, in the eyes of a type checker and at run time."""
    with backend() as (_local, made):
        typed: RetrainBackend = made

        assert OLD == typed.incumbent()


def test_version_once(tmp_path):
    """New frames join the old ones with split and labels; the same key finds the same version."""
    train, val = labelled(tmp_path, 5), labelled(tmp_path, 2, start=5)
    with backend() as (local, made):
        version = frozen(local, made, "k", train, val)
        again = frozen(local, make(made._platform), "k", train, val)
        images = {image.name.split(".")[0]: image for image in local.dataset("frames").images}

        assert (7, 4) == (version.added, version.replayed)
        assert version == again
        assert 1 == len(local.dataset("frames").versions)
        assert made.trained_on() == {one.id for one in (*train, *val)}
        assert {"train"} == {images[one.id].split for one in train}
        assert {"val"} == {images[one.id].split for one in val}
        for one in train:
            np.testing.assert_allclose(images[one.id].truth.xyxy, one.truth.xyxy, atol=0.01)


def test_unreadable_pictures(tmp_path):
    """What the Platform cannot read is not sent again and again."""
    good = labelled(tmp_path, 3)
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    broken = LabelledFrame(truth=good[0].truth, image=path, id="0" * 64)
    with backend() as (local, made):
        with pytest.raises(UnreadableData, match=r"took none of 1 pictures.*broken\.png"):
            frozen(local, made, "k", [*good, broken], [])
        with pytest.raises(UnreadableData, match="split 'val'"):
            frozen(local, made, "k", good, [broken])
        uploads = [call for call in local.calls if call.path.endswith("/ingest")]

        assert 3 == len(uploads)  # with the others, alone, and to the other split
        assert 3 == frozen(local, made, "k", good, []).added


def test_reviewed_again(tmp_path):
    """Frames that are there already get the labels that were reviewed last, and only those do."""
    frames = labelled(tmp_path, 3)
    with backend() as (local, made):
        first = frozen(local, made, "k", frames, [])
        moved = evolve(frames[0], truth=evolve(frames[0].truth, xyxy=frames[0].truth.xyxy / 2))
        emptied = evolve(
            frames[1], truth=Truth(xyxy=[], class_id=[], image_size=frames[1].truth.image_size)
        )
        second = frozen(local, made, "k-2", [moved, emptied, frames[2]], [])
        saves = [call for call in local.calls if call.path.startswith("/api/images/")]
        images = {image.name.split(".")[0]: image for image in local.dataset("frames").images}

        assert 2 == len([call for call in saves if call.method == "PATCH"])
        assert first.digest != second.digest
        assert 0 == len(images[emptied.id].truth.xyxy)
        np.testing.assert_allclose(images[moved.id].truth.xyxy, moved.truth.xyxy, atol=0.01)


def test_class_names_that_yaml_would_read_otherwise(tmp_path):
    """Names of classes arrive as they are, whatever they look like to YAML."""
    names = {0: "no", 1: "person: adult", 2: "a #b", 3: "1"}
    with backend() as (local, made):
        local.add_dataset("odd")
        odd = make(made._platform, dataset="acme/odd")
        for _ in range(3):
            odd.dataset_version("k", train=labelled(tmp_path, 1), val=[], class_names=names)

        assert tuple(names.values()) == local.dataset("odd").class_names


def test_ingest_that_failed(tmp_path):
    """What the Platform says of a failed upload is told, and the next call sends it again."""
    frames = labelled(tmp_path, 3)
    with backend() as (local, made):
        local.break_next_ingest("out of space")
        with pytest.raises(TransitionFailed, match="out of space"):
            frozen(local, made, "k", frames, [])

        assert 3 == frozen(local, made, "k", frames, []).added


def test_slow_ingest(tmp_path):
    """A call does not wait for a long ingest; nor does it send anything meanwhile."""
    frames = labelled(tmp_path, 3)
    with backend(ingest_seconds=300) as (local, made):
        first = made.dataset_version("k", train=frames, val=[], class_names=NAMES)
        second = made.dataset_version("k", train=frames, val=[], class_names=NAMES)
        uploads = [call for call in local.calls if call.path.endswith("/ingest")]
        local.clock.advance(timedelta(minutes=5))
        version = made.dataset_version("k", train=frames, val=[], class_names=NAMES)

        assert (None, None) == (first, second)
        assert 1 == len(uploads)
        assert 3 == version.added


def test_other_classes(tmp_path):
    """A dataset that numbers its classes otherwise takes nothing."""
    with backend() as (_local, made), pytest.raises(ContextMismatch, match="classes"):
        made.dataset_version("k", train=labelled(tmp_path, 1), val=[], class_names={0: "cup"})


def request(version):
    return TrainingRequest(base=OLD, dataset=version, args=ARGS)


def test_training_once(tmp_path):
    """One training a key, with what was asked for; it is cancelled by the key alone."""
    with backend(epoch_seconds=60) as (local, made):
        asked = request(frozen(local, made, "k", labelled(tmp_path, 3), []))
        first, second = made.train("k-1", asked), made.train("k-1", asked)
        running = made.progress(first)
        made.cancel("k-1")
        made.cancel("k-1")
        made.cancel("never-started")
        starts = [call for call in local.calls if call.path == "/api/training/start"]

        assert first.ref == second.ref
        assert 1 == len(starts)
        assert TrainingStatus.RUNNING is running.status
        assert TrainingStatus.CANCELLED is made.progress(first).status


def test_finished(tmp_path):
    """A training that ended well names the model, which the canary then shows frames to."""
    with backend(epoch_seconds=1) as (local, made):
        run = made.train("k-1", request(frozen(local, made, "k", labelled(tmp_path, 3), [])))
        local.clock.advance(timedelta(minutes=1))
        done = made.progress(run)
        coming = made.detector(done.model)
        local.clock.advance(timedelta(minutes=1))
        there = made.detector(done.model)
        found = there.predict(np.zeros((*SIZE, 3), np.uint8))

        assert TrainingStatus.FINISHED is done.status
        assert coming is None
        assert f"acme/{done.model}" == there.context.model
        assert SIZE == found.image_size
        assert local.deployment("line-3").model == OLD


def test_failed(tmp_path):
    """A training that failed says why."""
    with backend(epoch_seconds=1) as (local, made):
        version = frozen(local, made, "k", labelled(tmp_path, 3), [])
        local.break_next_training("CUDA out of memory", epoch=1)
        run = made.train("k-1", request(version))
        local.clock.advance(timedelta(minutes=1))
        failed = made.progress(run)

        assert TrainingStatus.FAILED is failed.status
        assert "CUDA out of memory" in str(failed)


def test_budget(tmp_path):
    """A training whose estimate is above the budget is cancelled at once."""
    with backend(epoch_seconds=3600) as (local, made):
        poor = make(made._platform, budget_cents=1)
        asked = request(frozen(local, made, "k", labelled(tmp_path, 3), []))
        with pytest.raises(TransitionFailed, match="cancelled"):
            poor.train("k-1", asked)

        assert "$0.01" in str(poor.cost(asked))
        refused = poor.progress(poor.train("k-1", asked))
        assert TrainingStatus.FAILED is refused.status
        assert "budget of 1 cents" in refused.error


class Lossy(httpx.Client):
    """HTTP that loses replies, or dies, on one kind of call."""

    def __init__(self, method, path, *, arrives):
        super().__init__()
        self.method, self.path, self.arrives, self.worn = method, path, arrives, False

    def send(self, request, **options):
        hit = (request.method, request.url.path) == (self.method, self.path) and not self.worn
        if not hit:
            return super().send(request, **options)
        self.worn = True
        if self.arrives:
            super().send(request, **options)
            msg = "the reply was lost"
            raise httpx.ReadError(msg, request=request)
        return httpx.Response(503, request=request, json={"error": "try later"})


TRAINING = "/api/models/acme/vision/retrain-k-1/training"


@pytest.mark.parametrize(
    "broken",
    [
        {"method": "POST", "path": "/api/training/start", "arrives": True},
        {"method": "DELETE", "path": TRAINING, "arrives": False},
    ],
    ids=["the reply to the start is lost", "the cancel is refused"],
)
@pytest.mark.parametrize("asks", ["train", "progress"])
def test_budget_when_something_is_lost(tmp_path, broken, asks):
    """Whatever is lost on the way, the next call stops what is not known to be paid for."""
    with backend(epoch_seconds=3600) as (local, made):
        asked = request(frozen(local, made, "k", labelled(tmp_path, 3), []))
        with (
            Lossy(**broken) as wire,
            client(local.url, local.api_key, clock=local.clock, http_client=wire) as platform,
        ):
            poor = make(platform, budget_cents=1)
            with pytest.raises(PlatformError):
                poor.train("k-1", asked)
            assert made._platform.training.status("vision/retrain-k-1").status.active
            if asks == "train":
                poor.train("k-1", asked)
            failed = poor.progress(TrainingRun(key="k-1", ref="vision/retrain-k-1"))
        starts = [call for call in local.calls if call.path == "/api/training/start"]

        assert 1 == len(starts)
        assert TrainingStatus.FAILED is failed.status
        assert "not known to be within the budget" in failed.error
        assert not made._platform.training.status("vision/retrain-k-1").status.active


class Late(httpx.Client):
    """HTTP on which a training ends just before it would be cancelled."""

    def send(self, request, **options):
        if request.method == "DELETE":
            self.clock.advance(timedelta(hours=9))
        return super().send(request, **options)


def test_end_before_the_cancel(tmp_path):
    """A training that ends while it would be cancelled is not given up: it is paid for."""
    with backend(epoch_seconds=3600) as (local, made):
        asked = request(frozen(local, made, "k", labelled(tmp_path, 3), []))
        run = made.train("k-1", asked)
        made._store.write([Remove(space="retrain/training", key=run.ref)])
        with (
            Late() as wire,
            client(local.url, local.api_key, clock=local.clock, http_client=wire) as platform,
        ):
            wire.clock = local.clock
            late = make(platform)

            assert TrainingStatus.RUNNING is late.progress(run).status
            assert TrainingStatus.FINISHED is late.progress(run).status


def test_dataset_that_changed(tmp_path):
    """A training that reads other frames than the version asked for is stopped, and says so."""
    with backend(epoch_seconds=3600) as (local, made):
        asked = request(frozen(local, made, "k", labelled(tmp_path, 3), []))
        frozen(local, made, "other", labelled(tmp_path, 2, start=10), [])
        refused = made.progress(made.train("k-1", asked))

        assert TrainingStatus.FAILED is refused.status
        assert asked.dataset.digest in refused.error
        assert not made._platform.training.status("vision/retrain-k-1").status.active


def test_finished_before_anybody_looked(tmp_path):
    """A training whose reply was lost and that is over is used, if it learned what was asked."""
    with backend(epoch_seconds=1) as (local, made):
        asked = request(frozen(local, made, "k", labelled(tmp_path, 3), []))
        other = evolve(asked, dataset=evolve(asked.dataset, digest="f" * 64))
        for key, wanted in (("k-1", asked), ("k-2", other)):
            start = {"method": "POST", "path": "/api/training/start", "arrives": True}
            with (
                Lossy(**start) as wire,
                client(local.url, local.api_key, clock=local.clock, http_client=wire) as platform,
            ):
                with pytest.raises(PlatformError):
                    make(platform, made._store).train(key, wanted)
            local.clock.advance(timedelta(minutes=1))
        used, refused = (made.progress(made.train(f"k-{n}", asked)) for n in (1, 2))

        assert TrainingStatus.FINISHED is used.status
        assert TrainingStatus.FAILED is refused.status
        assert "was changed" in refused.error


def test_canary_of_a_rollout():
    """A canary that a rollout uses keeps its model until the rollout is over."""
    store = MemoryStore()
    with backend(store) as (local, made):
        local.add_model("vision/model-v3")
        made._platform.replace(CANARY, "vision/model-v2")
        rollout = rolling_out(made._platform, store, local.clock)("vision/model-v2")
        assert rollout.advance().phase is Phase.RUNNING
        with pytest.raises(ConfigError, match="is scored there when it is over"):
            made.detector("vision/model-v3")

        assert local.deployment("line-3-next").model == "vision/model-v2"

        rollout.roll_back("enough")
        assert made.detector("vision/model-v3") is None
        local.clock.advance(timedelta(seconds=20))
        assert made.detector("vision/model-v3") is not None


def test_main_that_is_replaced():
    """While the deployment that serves is being replaced, the canary is left alone."""
    with backend() as (_local, made):
        made._platform.replace(MAIN, "vision/model-v2", wait=False)

        assert made.detector("vision/model-v3") is None
        assert not made._platform.deployment(CANARY).status.transitional


def test_canary_that_sleeps():
    """A canary that was stopped is not started: it costs, and that is the user's to say."""
    with backend() as (local, made):
        made._platform.stop(CANARY)
        with pytest.raises(ConfigError, match=r"platform\.start"):
            made.detector("vision/model-v2")

        assert local.deployment("line-3-next").model == OLD


@pytest.mark.parametrize(
    ("wrong", "said"), [({"canary": MAIN}, "must be two"), ({"budget_cents": 0}, "above 0")]
)
def test_refused(wrong, said):
    """One deployment for both, or no budget, is refused when it is made."""
    with backend() as (_local, made), pytest.raises(InputError, match=said):
        make(made._platform, **wrong)
