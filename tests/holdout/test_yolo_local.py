"""A real YOLO over a real holdout: weights in a child, the endpoint, predictions at hand."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from driftline import PlatformClient
from driftline.errors import ContextMismatch, ModelError, PlatformBroken, TooLittleData
from driftline.holdout import Holdout, HoldoutValidator, LocalModel, evaluate
from driftline.holdout._images import sha256_of
from driftline.testing import CLASS_NAMES, LocalPlatform, OnnxDetector, Scenes, write_yolo

pytestmark = pytest.mark.yolo

DETECTOR = Path(__file__).parents[2] / "detector"
PT, ONNX = DETECTOR / "shapes.pt", DETECTOR / "shapes.onnx"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("set"), Scenes(seed=5).frames(60), "test")


@pytest.fixture(scope="module")
def local(data):
    """The .pt, once for all tests that only read the result."""
    return HoldoutValidator(data, PT, ap="ultralytics", replicates=100).validate()


def test_equals_yolo_val(local):
    """The detections that come back give, under val's rules, the mAP that val gave."""
    (note,) = [one for one in local.notes if one.startswith("yolo val gives mAP")]
    theirs = float(note.split()[4])

    assert abs(theirs - local.map) < 1e-3
    assert "which its rules give" in note
    assert 0.8 < local.map < 0.95  # a detector that works; detector/README.md says 0.84 on 500


def test_settings_are_recorded(local):
    """What a score depends on, down to the weights."""
    settings = local.settings

    assert ("shapes.pt", 128, 16, "cpu") == (
        settings.model,
        settings.imgsz,
        settings.batch,
        settings.device,
    )
    assert {"ultralytics", "torch", "python"} <= settings.versions.keys()
    assert f"sha256:{sha256(PT.read_bytes()).hexdigest()}" == settings.weights_digest
    assert dict(CLASS_NAMES) == settings.class_names


def test_three_ways_agree(data, local):
    """Within their stated reasons.

    - the .pt and its .onnx: 32-bit arithmetic in another order, and padding of a rectangle (the
      .pt is shown 160 px for 128 px frames): 0.01
    - the child and OnnxDetector, on one .onnx: val keeps several classes for a box (multi_label),
      predict one: 0.01
    - OnnxDetector and the endpoint that serves it: the endpoint's lowest threshold is 0.01 rather
      than 0.001, and it rounds to five decimals: 0.005
    - the endpoint and the predictions it gave: nothing
    """
    onnx = HoldoutValidator(data, ONNX, ap="ultralytics", replicates=2).validate()
    detector = OnnxDetector(ONNX, conf=0.001)
    direct = HoldoutValidator(data, detector, ap="ultralytics", replicates=2).validate()
    kept = {}

    class Keeping:
        """The endpoint, whose answers are kept."""

        def __init__(self, endpoint):
            self.endpoint = endpoint

        @property
        def context(self):
            return self.endpoint.context

        def predict(self, image):
            kept[image] = self.endpoint.predict(image)
            return kept[image]

    with (
        LocalPlatform(deployments=["line-3"], detector=detector) as local_platform,
        PlatformClient(
            api_key=local_platform.api_key,
            base_url=local_platform.url,
            owner="acme",
            clock=local_platform.clock,
        ) as platform,
    ):
        endpoint = HoldoutValidator(
            data,
            Keeping(platform.endpoint("acme/line-3")),
            ap="ultralytics",
            clock=local_platform.clock,
            replicates=2,
        ).validate()
    holdout = Holdout.open(data)
    at_hand = HoldoutValidator(
        data, [kept[frame.image] for frame in holdout], ap="ultralytics", replicates=2
    ).validate()

    assert abs(local.map - onnx.map) < 0.01
    assert abs(onnx.map - direct.map) < 0.01
    assert abs(direct.map - endpoint.map) < 0.005
    assert at_hand.map == endpoint.map
    assert 0.01 == endpoint.settings.conf
    for other in (onnx, endpoint):
        with pytest.raises(ContextMismatch, match="different settings"):
            local.compare(other)


def test_an_endpoint_that_fails_is_gone_on_with(data, tmp_path):
    """In the same process and in a later one, though the endpoint has told more of itself by then."""
    file = tmp_path / "week-45.jsonl"
    with (
        LocalPlatform(deployments=["line-3"], detector=OnnxDetector(ONNX, conf=0.001)) as platform,
        PlatformClient(
            api_key=platform.api_key, base_url=platform.url, owner="acme", clock=platform.clock
        ) as client,
    ):
        validator = HoldoutValidator(
            data,
            client.endpoint("acme/line-3"),
            checkpoint=file,
            clock=platform.clock,
            replicates=2,
        )
        calls = []

        def failing(image):
            calls.append(image)
            if len(calls) in (20, 21):
                raise PlatformBroken("503")
            return ask(image)

        ask = validator._model._ask
        validator._model._ask = failing
        with pytest.raises(PlatformBroken):
            validator.validate()
        with pytest.raises(PlatformBroken):
            validator.validate()
        later = HoldoutValidator(
            data,
            client.endpoint("acme/line-3"),
            checkpoint=file,
            clock=platform.clock,
            replicates=2,
        ).validate()

    assert 60 == later.n_frames
    assert 61 == len(file.read_text().splitlines())


def test_nothing_is_left_in_this_process(data, tmp_path, monkeypatch):
    """Environment, directory, threads, logging, random states, modules, settings: as before.

    Run in a fresh interpreter under an audit hook that sees every socket and every file written.
    """
    script = tmp_path / "host.py"
    script.write_text(
        """
import json, logging, os, random, sys, threading
from pathlib import Path
import numpy as np
from driftline.holdout import HoldoutValidator
seen = []
def hook(event, arguments):
    if event.startswith("socket."):
        seen.append(event)
    if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[1], str):
        if set(arguments[1]) & set("wax+") and "driftline-val-" not in arguments[0]:
            seen.append(f"write {arguments[0]}")
def state():
    return dict(
        environment=dict(os.environ), cwd=os.getcwd(), threads=threading.active_count(),
        level=logging.getLogger().level, handlers=len(logging.getLogger().handlers),
        loggers=sorted(name for name in logging.root.manager.loggerDict if "ultra" in name),
        random=hash(random.getstate()), numpy=hash(np.random.get_state()[1].tobytes()),
        printed=str(np.get_printoptions()), path=list(sys.path), filters=len(__import__("warnings").filters),
        modules=sorted({"ultralytics", "torch", "cv2", "matplotlib"} & set(sys.modules)))
import PIL.Image, PIL.PngImagePlugin, yaml, scipy.special  # what reading a data set needs
before = state()
sys.addaudithook(hook)
HoldoutValidator(sys.argv[1], sys.argv[2], replicates=2).validate()
after = state()
print(json.dumps([{k: [before[k], after[k]] for k in before if before[k] != after[k]}, seen]))
"""
    )
    home = tmp_path / "home"
    home.mkdir()
    before = {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    done = subprocess.run(
        [sys.executable, str(script), str(data), str(PT)],
        capture_output=True,
        text=True,
        timeout=1200,
        check=True,
        cwd=home,
        env={
            **os.environ,
            "HOME": str(home),
            "TMPDIR": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )

    changed, seen = json.loads(done.stdout)
    assert {} == changed
    assert [] == [one for one in seen if one != "write /dev/null"]
    assert [] == list(home.rglob("*"))
    assert [] == list(tmp_path.glob("driftline-val-*"))
    assert before == {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    assert "" == done.stderr


def test_absent_classes_are_said_to_be_absent(tmp_path):
    """The stock table fills them with the mean of the others."""
    data = write_yolo(tmp_path / "set", Scenes(seed=5, mix=(1.0, 1.0, 0.0)).frames(20), "test")

    score = HoldoutValidator(data, PT, replicates=2).validate()

    assert score.per_class["triangle"].map is None
    known = [score.per_class[name].map for name in ("circle", "square")]
    assert score.map == pytest.approx(np.mean(known))


def test_equal_basenames_stay_apart(tmp_path):
    """The stock per-image table has a row for each basename only."""
    for folder, seed in (("a", 1), ("b", 2)):
        write_yolo(tmp_path / folder, Scenes(seed=seed).frames(10), "test")
    (tmp_path / "data.yaml").write_text(
        "test: [a/images/test, b/images/test]\nnames: [circle, square, triangle]\n"
    )

    both = HoldoutValidator(tmp_path / "data.yaml", PT, replicates=2).validate()

    assert 20 == both.n_frames == len(set(both.table.frames))
    run = LocalModel(PT).run(Holdout.open(tmp_path / "data.yaml").frames, CLASS_NAMES)
    assert (
        both.map
        == evaluate(Holdout.open(tmp_path / "data.yaml"), run.predictions, replicates=2).map
    )


def test_other_classes_are_refused_and_mapped(data, tmp_path):
    """The stock validator scores them without a word."""
    swapped = tmp_path / "data.yaml"
    swapped.write_text(f"test: {data.parent}/images/test\nnames: [square, circle, triangle]\n")

    with pytest.raises(ContextMismatch, match="class 0 is 'square' in the holdout and 'circle'"):
        HoldoutValidator(swapped, PT).validate()
    wrong = HoldoutValidator(swapped, PT, class_mapping={}, replicates=2).validate()
    assert wrong.per_class["triangle"].map > 0.7
    # the labels say square where circles are; val also lists the less sure class of each box
    assert wrong.per_class["circle"].map < 0.5
    assert not any("yolo val" in note for note in wrong.notes)


def test_without_labels_nothing_is_scored(tmp_path):
    """The stock validator says mAP 0.0 and warns."""
    data = write_yolo(tmp_path / "set", Scenes(seed=5).frames(4), "test")
    for file in (tmp_path / "set" / "labels" / "test").iterdir():
        file.write_text("")

    with pytest.raises(TooLittleData, match="mAP is unknown, not zero"):
        HoldoutValidator(data, PT).validate()


def test_pixels_at_hand(local):
    """Frames whose pictures are arrays give the same score as their files."""
    frames = list(Scenes(seed=5).frames(60))

    ours = HoldoutValidator(frames, PT, ap="ultralytics", replicates=2).validate()

    assert ours.map == pytest.approx(local.map, abs=1e-4)  # labels in files have six digits


def test_garbage_weights(tmp_path, data):
    """No traceback of somebody else's."""
    (tmp_path / "best.pt").write_bytes(b"\x80\x04garbage")
    (tmp_path / "best.onnx").write_bytes(b"garbage")

    for name in ("best.pt", "best.onnx"):
        with pytest.raises(ModelError, match=name):
            HoldoutValidator(data, tmp_path / name).validate()


def test_a_checkpoint_runs_no_code(tmp_path, data):
    """A .pt is a pickle; one that would run something is refused unless it is trusted."""
    mark = tmp_path / "mark"
    subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import os, sys, torch\n"
                "class Evil:\n"
                "    def __reduce__(self): return os.mkdir, (sys.argv[2],)\n"
                "torch.save({'model': Evil()}, sys.argv[1])"
            ),
            str(tmp_path / "best.pt"),
            str(mark),
        ],
        check=True,
        timeout=1200,
    )

    with pytest.raises(ModelError, match="trust_pickle=True"):
        HoldoutValidator(data, tmp_path / "best.pt").validate()

    assert not mark.exists()


def test_weights_replaced_meanwhile(tmp_path):
    """A score of weights that were written over while they were validated is nobody's."""
    weights = tmp_path / "best.pt"
    weights.write_bytes(PT.read_bytes())
    model = LocalModel(weights)
    digest = sha256_of(weights)
    model._require_same(digest)

    weights.write_bytes(PT.read_bytes() + b"0")
    with pytest.raises(ModelError, match="changed while they were validated"):
        model._require_same(digest)
