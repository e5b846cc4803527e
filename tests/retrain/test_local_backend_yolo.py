"""A real training on this machine: killed with its parent, killed itself, taken up, finished."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from driftline.holdout import Holdout, HoldoutValidator, LabelledFrame, Truth
from driftline.platform import TrainArgs
from driftline.retrain import (
    LocalBackend,
    ReviewBatch,
    ReviewFrame,
    TrainingRequest,
    TrainingStatus,
)
from driftline.retrain._local_training import TrainingFolder
from driftline.testing import CLASS_NAMES, Scenes, write_yolo

pytestmark = pytest.mark.yolo

PT = Path(__file__).parents[2] / "detector" / "shapes.pt"
EPOCHS = 4

PARENT = """
import sys, time
from driftline.platform import TrainArgs
from driftline.retrain import LocalBackend, TrainingRequest
folder, data, base = sys.argv[1:]
backend = LocalBackend(folder)
args = TrainArgs(epochs=4, imgsz=128, batch=16, more={"mosaic": 0.0})
run = backend.train("loop-1", TrainingRequest(base=base, dataset=backend.begin(data), args=args))
print(run.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """48 frames to learn from, 16 to choose the epoch by."""
    root = tmp_path_factory.mktemp("set")
    write_yolo(root, Scenes(seed=5).frames(48), "train")
    return write_yolo(root, Scenes(seed=6).frames(16), "val")


def asked(backend, data, **more):
    args = TrainArgs(epochs=EPOCHS, imgsz=128, batch=16, more={"mosaic": 0.0, **more})
    return TrainingRequest(base=str(PT), dataset=backend.begin(data), args=args)


def until(backend, run, *, epoch=None, seconds=120.0):
    deadline = time.monotonic() + seconds
    while True:
        progress = backend.progress(run)
        over = progress.status is not TrainingStatus.RUNNING
        if over or (epoch is not None and progress.epoch >= epoch):
            return progress
        assert time.monotonic() < deadline, progress
        time.sleep(0.05)


def test_a_training_that_is_killed_twice_is_one_training(tmp_path, data):
    """-9 to the parent before the first epoch, -9 to the child after the second: one model of four epochs.

    The model that comes out still finds what is in frames it was not trained on.
    """
    backend = LocalBackend(tmp_path / "store")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(backend.folder), str(data), str(PT)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        pid = int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGKILL)
    run = backend.train("loop-1", asked(backend, data))
    first = until(backend, run, epoch=2)  # ultralytics saves an epoch after it has told of it
    os.kill(run.pid, signal.SIGKILL)
    folder = TrainingFolder(Path(run.ref))
    done = folder.rows()[0]
    last = until(backend, run)
    held = write_yolo(tmp_path / "held", Scenes(seed=9).frames(40), "test")
    after = HoldoutValidator(held, backend.detector(last.model), replicates=100).validate()

    assert pid == run.pid
    assert TrainingStatus.RUNNING is first.status
    assert TrainingStatus.FINISHED is last.status, last
    assert [1, 2, 3, 4] == [row["epoch"] for row in folder.rows()]
    assert done == folder.rows()[0]  # to the microsecond: not trained again
    assert 2 == folder.attempts
    assert 0.7 < last.metrics["mAP50-95(B)"] <= 1.0
    assert 0.75 < after.map < 0.95  # the incumbent has 0.84 on 500; 40 frames, so ±.04
    assert sha256(Path(last.model).read_bytes()).digest() != sha256(PT.read_bytes()).digest()


def test_the_recipe_reaches_ultralytics(tmp_path, data):
    """The rate that was asked for is the rate of the first epoch, and what is cancelled ends."""
    backend = LocalBackend(tmp_path / "store")
    run = backend.train("loop-1", asked(backend, data))
    progress = until(backend, run, epoch=1)
    backend.cancel("loop-1")
    folder = TrainingFolder(Path(run.ref))

    assert TrainingStatus.RUNNING is progress.status
    assert TrainingStatus.CANCELLED is backend.progress(run).status
    assert not folder.alive
    assert 0.001 == pytest.approx(folder.rows()[0]["lr/pg0"], rel=0.05)


def test_a_file_that_is_no_checkpoint(tmp_path, data):
    """The training fails in words, once."""
    base = tmp_path / "incumbent.pt"
    base.write_bytes(b"not weights")
    backend = LocalBackend(tmp_path / "store")
    request = TrainingRequest(
        base=str(base), dataset=backend.begin(data), args=TrainArgs(epochs=1, imgsz=128, batch=16)
    )
    progress = until(backend, backend.train("k", request))

    assert TrainingStatus.FAILED is progress.status
    assert "incumbent" in progress.error or "base.pt" in progress.error


def test_proposals_are_a_dataset_for_ultralytics(tmp_path, data):
    """Its own loader takes every picture with the boxes that were proposed, and finds no fault."""
    frames = [
        ReviewFrame(
            image=one.image,
            proposal=found,
            camera="cam-1",
            at=datetime(2026, 11, 2, tzinfo=UTC),
        )
        for one, found in proposals(tmp_path, data)
    ]
    batch = ReviewBatch.write(tmp_path / "review", frames, CLASS_NAMES)
    script = (
        "import json, sys\n"
        "from ultralytics.data.dataset import YOLODataset\n"
        "names = {0: 'circle', 1: 'square', 2: 'triangle'}\n"
        "made = YOLODataset(img_path=sys.argv[1], data={'names': names, 'nc': 3, 'channels': 3}, imgsz=128, augment=False)\n"
        "print(json.dumps([[one['im_file'], len(one['cls'])] for one in made.labels]))\n"
    )
    seen = subprocess.run(
        [sys.executable, "-c", script, str(batch.folder / "images")],
        env={**os.environ, "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=1200,
    )
    counts = json.loads(seen.stdout.splitlines()[-1])

    assert {
        name: len(one.proposal) for name, one in zip(batch.files, batch.frames, strict=True)
    } == {Path(file).name: count for file, count in counts}
    assert sum(count for _, count in counts) > 20


def proposals(tmp_path, data):
    """Frames of the val split with what the incumbent sees in them."""
    backend = LocalBackend(tmp_path / "store")
    frames = Holdout.open(data, split="val").frames
    empty = [
        LabelledFrame(
            truth=Truth(xyxy=[], class_id=[], image_size=one.truth.image_size),
            image=one.image,
            id=one.id,
        )
        for one in frames
    ]
    return zip(frames, backend.detector(str(PT)).run(empty, CLASS_NAMES).predictions, strict=True)
