"""The seven steps without a Platform: a folder, a child that "trains", people with files.

Only torch is missing: a package of the test's own writes what ultralytics writes, and its models
answer from the table of what is in each picture. The real one is in test_loop_local.py.
"""

import json
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from local_kit import put_ultralytics
from loop_kit import DECISION, MAIN
from loop_signs import RULE, Signs
from PIL import Image

from driftline.errors import ConfigError
from driftline.holdout import Holdout
from driftline.platform import TrainArgs
from driftline.retrain import LocalBackend, Move, RetrainLoop
from driftline.retrain._local_training import TrainingFolder
from driftline.stores import MemoryStore
from driftline.testing import Scenes, write_yolo

SIGNS = Signs()


class Model:
    """Answers from the table; what was trained sees everything."""

    def __init__(self, sees):
        self.sees = sees

    def predict(self, image):
        opened = np.asarray(Image.open(image)) if isinstance(image, Path) else image
        return self.sees(opened)


class Folder(LocalBackend):
    """The local back end, but for torch."""

    def detector(self, model):
        trained = Path(model).read_text().startswith("best of")
        return Model(SIGNS.seeing if trained else SIGNS.half_blind)


@pytest.fixture
def backend(tmp_path, monkeypatch):
    """A back end with the dataset of the incumbent; whatever runs is ended."""
    if find_spec("ultralytics") is not None:
        pytest.skip("the real ultralytics is installed here, and would be found first")
    monkeypatch.syspath_prepend(str(put_ultralytics(tmp_path / "packages")))
    write_yolo(tmp_path / "old", Scenes(seed=3).frames(4), "train")
    made = Folder(tmp_path / "training")
    made.begin(write_yolo(tmp_path / "old", Scenes(seed=4).frames(2), "val"))
    (tmp_path / "incumbent.pt").write_text("weights")
    yield made
    for folder in (made.folder / "trainings").glob("[!.]*"):
        TrainingFolder(folder).cancel()


def make(backend, deploy, **more):
    root = backend.folder.parent
    return RetrainLoop(
        backend,
        MemoryStore(),
        MAIN,
        incumbent=str(root / "incumbent.pt"),
        sample=SIGNS.sample,
        holdout=SIGNS.holdout(),
        args=TrainArgs(epochs=3, batch=16, imgsz=128, **more),
        deploy=deploy,
        folder=root / "loop",
        rule=RULE,
    )


def until(loop, something):
    """Call after call, until something is so."""
    deadline = time.monotonic() + 60
    while not something(status := loop.advance()):
        assert time.monotonic() < deadline, str(status)
        time.sleep(0.02)
    return status


def asking(status):
    return status.asks is not None


def annotated(loop, root):
    """What a tool exports as COCO: every frame, with all that is in it."""
    batch = loop.review()
    content = json.loads((batch.folder / "annotations.json").read_text())
    number = {image["file_name"]: image["id"] for image in content["images"]}
    content["annotations"] = []
    for name, frame in zip(batch.files, batch.frames, strict=True):
        truth = SIGNS.truth[np.asarray(Image.open(frame.image)).tobytes()]
        for kind, (left, top, right, bottom) in zip(truth.class_id, truth.xyxy, strict=True):
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": next(n for file, n in number.items() if file.endswith(name)),
                    "category_id": int(kind) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                }
            )
    (root / "coco.json").write_text(json.dumps(content))
    return root / "coco.json"


def test_from_decision_to_baseline(backend, tmp_path):
    """A version by digest, labels from a tool, one training of old and new, a yes, a new holdout."""
    served = []
    loop = make(backend, served.append)
    loop.open(DECISION)
    until(loop, asking)
    loop.import_labels(annotated(loop, tmp_path))
    asked = until(loop, asking)
    loop.approve("rollout", by="Ana")
    done = until(loop, lambda status: status.over)
    told, _, _ = json.loads((Path(done.facts["run"]["ref"]) / "cwd" / "told.json").read_text())
    review = done.facts["review"]

    assert Move.DONE is done.move, str(done)
    assert "rollout" == asked.asks.gate
    assert {"rollout": "Ana"} == done.approved  # nothing costs money here
    assert [done.candidate] == served
    assert 4 == done.facts["dataset"]["replayed"]
    assert (0.001, "AdamW") == (told["lr0"], told["optimizer"])
    assert done.scores["recent"]["incumbent"] < done.scores["recent"]["candidate"]
    assert (16, 16) == (review["reviewed"], review["of"])
    assert 6 + 8 == len(Holdout.open(done.holdout))
    assert 7 == str(done).count("[x]")


def test_abort_while_it_trains(backend, tmp_path):
    """The child ends, and what served serves."""
    served = []
    loop = make(backend, served.append, more={"stops_at": 2})
    loop.open(DECISION)
    until(loop, asking)
    loop.import_labels(annotated(loop, tmp_path))
    training = until(loop, lambda status: status.move is Move.TRAIN)
    folder = TrainingFolder(Path(training.facts["run"]["ref"]))
    aborted = loop.abort("the camera was replaced")

    assert Move.ABORTED is aborted.move
    assert not folder.alive
    assert [] == served


def test_handed_over_in_place_of_the_incumbent(backend, tmp_path):
    """New weights in the very file that served: both models are kept, and an abort brings back."""
    serves = tmp_path / "incumbent.pt"
    before = serves.read_text()

    def hand_over(model):
        serves.write_bytes(Path(model).read_bytes())

    loop = make(backend, hand_over)
    loop.open(DECISION)
    until(loop, asking)
    loop.import_labels(annotated(loop, tmp_path))
    until(loop, asking)
    loop.approve("rollout", by="Ana")
    done = until(loop, lambda status: status.over)

    assert Move.DONE is done.move, str(done)
    assert "best of 3" == serves.read_text()
    assert done.candidate == backend.keep(serves)

    following = evolve(DECISION, at=DECISION.at + timedelta(days=30))

    assert done.candidate == make(backend, print).open(following).incumbent

    loop.abort("customers complain")

    assert before == serves.read_text()
    assert done.incumbent == backend.keep(serves)


def test_somebody_overwrites_the_incumbent(backend, tmp_path):
    """Other weights under the same path are another model: nothing is compared with them."""
    loop = make(backend, print)
    loop.open(DECISION)
    until(loop, asking)
    (tmp_path / "incumbent.pt").write_text("weights of somebody else")
    loop.import_labels(annotated(loop, tmp_path))
    with pytest.raises(ConfigError, match=r"serves acme/line-3 now, and not .*\.pt, with which"):
        until(loop, asking)
