"""The parent's side of local weights, with children that behave badly; torch is not needed.

A script of the test's own stands in for the child: what is tested is that the parent gives it
little, waits for it no longer than it said, ends it with all it started, and says what went wrong.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from driftline.errors import (
    ContextMismatch,
    InputError,
    MissingExtra,
    ModelError,
    StoreError,
    UnreadableData,
)
from driftline.holdout import (
    Holdout,
    HoldoutValidator,
    LabelledFrame,
    LocalModel,
    Truth,
    _local,
)
from driftline.testing import CLASS_NAMES, Scenes
from faults.full_disk import no_room_beyond

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")

HEAD = """
import json, os, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
request = json.loads((folder / "request.json").read_text())
def answer(**values):
    (folder / "result.json").write_text(json.dumps(values))
"""


@pytest.fixture
def holdout():
    return Holdout.of(Scenes(seed=5).frames(4), CLASS_NAMES)


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / "best.pt"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Puts a script in the place of the child."""

    def put(body):
        file = tmp_path / "child.py"
        file.write_text(HEAD + body)
        monkeypatch.setattr(_local, "_CHILD", file)
        monkeypatch.setattr(_local, "find_spec", lambda name: name)

    return put


ANSWER = """
import numpy as np
n = request["frames"]
np.savez(folder / "predictions.npz", frame=np.arange(n), count=np.ones(n, int),
         size=np.full((n, 2), 128), xyxy=np.tile([10.0, 10, 30, 30], (n, 1)),
         confidence=np.full(n, 0.5), class_id=np.zeros(n, int))
(folder / "progress").write_text(f"{n} {n}")
time.sleep(0.3)
answer(names={"0": "circle", "1": "square", "2": "triangle"}, imgsz=128, batch=1, device="cpu",
       versions={"ultralytics": "8.4.190"}, map=0.25, map50=0.5, end2end=True)
"""


def test_what_comes_back(child, holdout, weights, capsys):
    """Detections by frame, the settings they were made under, and what val said."""
    child(ANSWER)

    evaluation = HoldoutValidator(holdout, weights, replicates=2).validate(progress=True)

    settings = evaluation.settings
    assert ("best.pt", 128, 1, "cpu") == (
        settings.model,
        settings.imgsz,
        settings.batch,
        settings.device,
    )
    assert (0.001, 0.7) == (settings.conf, settings.iou)
    assert {"ultralytics": "8.4.190"} == settings.versions
    assert settings.weights_digest.startswith("sha256:")
    assert any(
        "yolo val gives mAP 0.2500 on the same frames, but" in one for one in evaluation.notes
    )
    assert any("end-to-end model" in one for one in evaluation.notes)
    out = capsys.readouterr()
    assert "" == out.out
    assert out.err.endswith("4 of 4 frames\n")


def test_what_the_child_may_know(child, holdout, weights, tmp_path, monkeypatch):
    """No key, no token, no home, no working directory of ours; offline, pinned, without a shell."""
    for name in ("ULTRALYTICS_API_KEY", "DD_API_KEY", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "secret")
    told = tmp_path / "told.json"
    child(
        f"Path({str(told)!r}).write_text(json.dumps([dict(os.environ), os.getcwd(), sys.flags.isolated]))\n"
        + ANSWER
    )

    LocalModel(weights, threads=2).run(holdout.frames, CLASS_NAMES)

    environment, cwd, isolated = json.loads(told.read_text())
    assert "secret" not in environment.values()
    assert {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "OMP_NUM_THREADS": "2",
    }.items() <= (environment.items())
    private = Path(environment["HOME"]).parent
    assert private.name.startswith("driftline-val-")
    assert str(Path.home()) not in (environment["HOME"], environment["YOLO_CONFIG_DIR"])
    assert Path(cwd).parent == private
    assert 1 == isolated
    assert not private.exists()


def test_the_dataset_is_private(child, holdout, weights, tmp_path):
    """Numbered links and labels of our own: no cache beside anybody's labels, no equal names."""
    told = tmp_path / "told.json"
    child(
        "files = sorted(p.relative_to(folder).as_posix() for p in (folder / 'dataset').rglob('*.*'))\n"
        f"Path({str(told)!r}).write_text(json.dumps([files, request['class_names']]))\n" + ANSWER
    )

    LocalModel(weights).run(holdout.frames, CLASS_NAMES)

    files, names = json.loads(told.read_text())
    assert [f"dataset/images/test/{n:06d}.png" for n in range(4)] == files[:4]
    assert [f"dataset/labels/test/{n:06d}.txt" for n in range(4)] == files[4:]
    assert {str(k): v for k, v in CLASS_NAMES.items()} == names


@POSIX
def test_time_is_limited(child, holdout, weights, tmp_path, monkeypatch):
    """The child is ended with what it started, and nothing is left on disk."""
    pids = tmp_path / "pids"

    def seconds():
        """Time is over when the child has said who it is."""
        return 2.5 if pids.exists() and len(pids.read_text().split()) == 3 else 0.0

    monkeypatch.setattr(_local, "time", SimpleNamespace(monotonic=seconds, sleep=time.sleep))
    child(
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        f"Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{other.pid}} {{folder}}')\n"
        "time.sleep(3600)\n"
    )

    with pytest.raises(ModelError, match=r"'best.pt' was not validated within 0:00:02"):
        LocalModel(weights, time_limit=timedelta(seconds=2)).run(holdout.frames, CLASS_NAMES)

    own, other, folder = pids.read_text().split()
    assert gone(int(own))
    assert gone(int(other))
    assert not Path(folder).exists()


def gone(pid):
    """Whether a process has ended (a zombie nobody waits for has)."""
    for _ in range(600):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


@POSIX
def test_an_interrupt_ends_the_child(child, holdout, weights, tmp_path):
    """Ctrl-C leaves no process behind."""
    pids = tmp_path / "pids"
    child(f"Path({str(pids)!r}).write_text(str(os.getpid()))\ntime.sleep(3600)\n")

    def interrupt():
        while not (pids.exists() and pids.read_text()):
            time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)

    # A shell makes its background jobs ignore the signal; a person at a terminal does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            LocalModel(weights).run(holdout.frames, CLASS_NAMES)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()

    assert gone(int(pids.read_text()))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.kill(os.getpid(), 9)", r"signal 9 \(out of memory\?\)"),
        ("sys.exit('no room left')", "code 1: no room left"),
        ("", "ended with code 0"),
        ("(folder / 'result.json').write_text('{')", "ended with code 0"),
        (
            (
                "answer(refused='error', type='RuntimeError', "
                "said='operator torchvision::nms does not exist')"
            ),
            "torch and torchvision are of two builds",
        ),
        (
            "answer(refused='error', type='ModuleNotFoundError', said='no openvino')",
            "needs a package that is missing here",
        ),
        ("answer(refused='error', type='UnpicklingError', said='x')", "trust_pickle=True"),
        ("answer(refused='error', type='KeyError', said='x')", "failed with KeyError: x"),
        ("answer(refused='task', task='segment')", "a model for 'segment'"),
        ("answer(refused='unsafe', version='2.0')", "torch 2.0 loads 'best.pt' as a pickle"),
    ],
)
def test_what_went_wrong_is_said(child, holdout, weights, body, said):
    """With the remedy, where there is one."""
    child(body + "\n")

    with pytest.raises(ModelError, match=said):
        HoldoutValidator(holdout, weights).validate()


def test_what_it_says_is_bounded(child, holdout, weights):
    """A child that talks without end is quoted with its last words."""
    child("for _ in range(200): sys.stderr.write('x' * 100_000)\nsys.exit('no more room')\n")

    with pytest.raises(ModelError, match=r"no more room$") as caught:
        LocalModel(weights).run(holdout.frames, CLASS_NAMES)

    assert len(str(caught.value)) < 3000


@POSIX
@pytest.mark.parametrize(
    ("largest_bytes", "error"), [(40, StoreError), (100_000, ModelError)], ids=["parent", "child"]
)
def test_a_full_disk(child, holdout, weights, largest_bytes, error):
    """Where parent or child find no room that is said, and it works when there is some."""
    child("(folder / 'cache').write_bytes(bytes(200_000))\n" + ANSWER)
    with no_room_beyond(largest_bytes), pytest.raises(error, match="File too large"):
        LocalModel(weights).run(holdout.frames, CLASS_NAMES)

    assert 4 == len(LocalModel(weights).run(holdout.frames, CLASS_NAMES).predictions)


def test_other_classes(child, holdout, weights):
    """Refused with the difference; with a mapping no label is shown to val and all is translated."""
    child("answer(refused='classes', names={'0': 'square', '1': 'circle', '2': 'triangle'})\n")
    with pytest.raises(ContextMismatch, match="class 0 is 'circle' in the holdout and 'square'"):
        HoldoutValidator(holdout, weights).validate()

    child("assert request['class_names'] is None\n" + ANSWER.replace('"circle"', '"disc"'))
    run = LocalModel(weights).run(
        holdout.frames, CLASS_NAMES, class_mapping={"disc": "triangle", "triangle": None}
    )
    assert {2} == {int(one) for found in run.predictions for one in found.class_id}
    assert run.val_map is None


def test_a_frame_that_was_left_out(child, holdout, weights):
    """Ultralytics drops what it cannot read with a warning; here it is an error."""
    child(ANSWER.replace("frame=np.arange(n)", "frame=np.arange(n) + 1"))

    with pytest.raises(UnreadableData, match="left out 1 of 4 frames, such as 'frame-000000'"):
        LocalModel(weights).run(holdout.frames, CLASS_NAMES)


def test_a_frame_of_another_size(child, holdout, weights):
    """Pixels that are read otherwise would move every box."""
    child(ANSWER.replace("np.full((n, 2), 128)", "np.full((n, 2), 64)"))

    with pytest.raises(UnreadableData, match="has 64 x 64 px for ultralytics"):
        LocalModel(weights).run(holdout.frames, CLASS_NAMES)


@pytest.mark.parametrize("name", ["yolo11n.pt", "ul://acme/p/m", "https://example.com/best.pt"])
def test_nothing_is_downloaded(holdout, name):
    """Ultralytics would fetch weights it knows by name."""
    with pytest.raises(InputError, match=r"no weights at .*nothing is downloaded"):
        HoldoutValidator(holdout, name).validate()


def test_what_cannot_run(holdout, weights, tmp_path, monkeypatch):
    """Said before anything is started."""
    monkeypatch.setattr(_local, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="ultralytics") as caught:
        HoldoutValidator(holdout, weights).validate()
    assert "yolo" == caught.value.extra
    (tmp_path / "yolo11n.yaml").write_text("nc: 3")
    with pytest.raises(InputError, match="describes a model without weights"):
        HoldoutValidator(holdout, tmp_path / "yolo11n.yaml").validate()
    for options in ({"batch": 0}, {"imgsz": 0}, {"conf": 2}, {"time_limit": timedelta()}):
        with pytest.raises(InputError):
            LocalModel(weights, **options)
    monkeypatch.setattr(_local, "find_spec", lambda name: name)
    bare = Holdout.of([frame.truth for frame in holdout], CLASS_NAMES)
    with pytest.raises(InputError, match="no picture to detect in"):
        HoldoutValidator(bare, weights).validate()
    unnamed = [
        LabelledFrame(truth=Truth(xyxy=[], class_id=[], image_size=(8, 8)), image="x.png", id="x")
    ]
    with pytest.raises(InputError, match="pass class_names="):
        HoldoutValidator(unnamed, weights).validate()


REAL_CHILD = Path(_local.__file__).with_name("_child.py")


def in_child(code):
    """Run code that has the real child's functions at hand, without ultralytics."""
    whole = f"import runpy; child = runpy.run_path({str(REAL_CHILD)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-c", whole],
        input="",
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def test_the_network_is_closed_to_the_child():
    """Names are not looked up and nobody is connected to, whoever asks."""
    done = in_child(
        "child['close_network']()\n"
        "import socket\n"
        "for call in (lambda: socket.getaddrinfo('example.com', 80),\n"
        "             lambda: socket.create_connection(('127.0.0.1', 9), 1)):\n"
        "    try: call()\n"
        "    except OSError as exc: print(exc)\n"
    )

    assert 2 == done.stdout.count("the network is closed to this process"), done.stderr


def test_the_child_ends_with_its_parent():
    """When the other end of its standard input is gone."""
    done = in_child("import time; child['_end_with_parent'](); time.sleep(30)")

    assert 3 == done.returncode
