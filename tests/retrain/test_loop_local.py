"""The loop on this machine: a real training by ultralytics, of a minute, killed on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loop_kit import DECISION, NAMES, WEIGHTS, Week, scenes

from driftline.holdout import Holdout
from driftline.platform import TrainArgs
from driftline.retrain import LocalBackend, Move, PromotionRule, RetrainLoop
from driftline.stores import SqlStore
from driftline.testing import ShapeFinder, write_yolo

pytestmark = pytest.mark.yolo

ARGS = TrainArgs(
    epochs=3,
    imgsz=128,
    batch=16,
    more={"nbs": 16, "mosaic": 0.0, "warmup_epochs": 0},
)
RULE = PromotionRule(golden_margin=0.1, class_margin=0.3)


def make(folder, store, week, served):
    backend = LocalBackend(folder / "training")
    if not backend.trained_on():
        write_yolo(folder / "old", scenes(3).frames(40), "train")
        write_yolo(folder / "old", scenes(4).frames(10), "val")
        backend.begin(folder / "old" / "data.yaml")
    return RetrainLoop(
        backend,
        store,
        "acme/line-3",
        incumbent=str(WEIGHTS.with_suffix(".pt")),
        sample=week.select,
        holdout=Holdout.of(scenes(1).frames(40), NAMES).lock(),
        args=ARGS,
        deploy=served.append,
        folder=folder / "loop",
        rule=RULE,
    )


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_loop_local import SqlStore, Week, ShapeFinder, make
folder = Path(sys.argv[2])
with SqlStore(f"sqlite:///{folder}/loop.db") as store:
    loop = make(folder, store, Week(ShapeFinder(conf=0.05)), [])
    while not loop.advance().over:
        pass
"""


def test_real_training(tmp_path):
    """A process is killed while its training runs; the next one finds it, and ends the loop."""
    week, served = Week(ShapeFinder(conf=0.05)), []
    with SqlStore(f"sqlite:///{tmp_path}/loop.db") as store:
        loop = make(tmp_path, store, week, served)
        loop.open(DECISION)
        until(loop, lambda status: status.asks is not None)
        week.review(loop)
        until(loop, lambda status: status.move is Move.START)
        child = subprocess.Popen([sys.executable, "-c", CHILD, Path(__file__).parent, tmp_path])
        until_status(loop, Move.TRAIN)
        time.sleep(2)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        asking = until(loop, lambda status: status.asks is not None)
        trainings = list((tmp_path / "training" / "trainings").iterdir())
        if not asking.over:
            loop.approve("rollout", by="Ana")
        done = until(loop, lambda _: False)

        assert 1 == len([one for one in trainings if not one.name.startswith(".")])
        assert "money" not in done.approved
        assert done.scores["recent"]["incumbent"] < done.scores["recent"]["candidate"]
        assert Move.DONE is done.move, str(done)
        assert Path(served[-1]).is_file()


def until(loop, something, *, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = loop.advance()
        if status.over or something(status):
            return status
        time.sleep(0.2)
    raise AssertionError(str(loop.status()))


def until_status(loop, move, *, seconds=120):
    deadline = time.monotonic() + seconds
    while loop.status().move is not move and time.monotonic() < deadline:
        time.sleep(0.1)
