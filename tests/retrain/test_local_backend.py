"""A folder in the place of the Platform: versions that never change, trainings that are never lost.

A package of the test's own stands in for ultralytics; everything else is real: the child, its
lock, its files, kill -9. The real one is in test_local_backend_yolo.py.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from local_kit import put_ultralytics

from driftline.errors import (
    ContextMismatch,
    InputError,
    MissingExtra,
    NotFound,
    StoreBusy,
    StoreError,
    UnreadableData,
)
from driftline.holdout import Holdout, LabelledFrame, LocalModel, Truth
from driftline.platform import TrainArgs
from driftline.retrain import LocalBackend, TrainingRequest, TrainingStatus
from driftline.retrain._local_training import TrainingFolder
from driftline.retrain._train_child import hold
from driftline.testing import CLASS_NAMES, Scenes, write_yolo
from faults.full_disk import no_room_beyond

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What the present model was trained on: six frames, and two to choose its epoch by."""
    root = tmp_path_factory.mktemp("old")
    write_yolo(root, Scenes(seed=5).frames(6), "train")
    return write_yolo(root, Scenes(seed=6).frames(2), "val")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Ten new frames, named by the digests of their pictures."""
    data = write_yolo(tmp_path_factory.mktemp("new"), Scenes(seed=7).frames(10), "test")
    return [
        LabelledFrame(
            truth=one.truth, image=one.image, id=sha256(one.image.read_bytes()).hexdigest()
        )
        for one in Holdout.open(data)
    ]


@pytest.fixture
def backend(tmp_path, data):
    made = LocalBackend(tmp_path / "store")
    made.begin(data)
    return made


def add(backend, key, train, val=()):
    return backend.dataset_version(key, train=train, val=val, class_names=CLASS_NAMES)


# Weights ------------------------------------------------------------------------------------


def test_what_is_kept_survives_a_handover(tmp_path):
    """New weights in the place of the old leave the old ones to go back to."""
    backend, serves = LocalBackend(tmp_path / "store"), tmp_path / "best.pt"
    serves.write_bytes(b"the incumbent")
    kept = backend.keep(serves)
    serves.write_bytes(b"the candidate")

    assert b"the incumbent" == Path(kept).read_bytes()
    assert kept != backend.keep(serves)
    serves.write_bytes(b"the incumbent")
    assert kept == backend.keep(serves)
    assert 2 == len(list(Path(kept).parent.iterdir()))


def test_only_weights_are_kept(tmp_path):
    """What is not there, or is no .pt, is refused."""
    with pytest.raises(InputError, match=r"pass a \.pt"):
        LocalBackend(tmp_path).keep(tmp_path / "best.pt")


# Datasets -----------------------------------------------------------------------------------


def test_it_begins_with_the_dataset_of_the_incumbent(tmp_path, data):
    """Once, however often it is called."""
    backend = LocalBackend(tmp_path / "store")
    first = backend.begin(data)

    assert (8, 0) == (first.added, first.replayed)
    assert first == backend.begin(data)
    assert first.digest.startswith(first.version)
    assert 8 == len(backend.trained_on())


def test_a_version_holds_new_and_old_frames(backend, fresh):
    """Old frames are replayed; the pictures of all versions are known as trained on."""
    version = add(backend, "loop-1", fresh[:4], fresh[4:5])

    assert (5, 6) == (version.added, version.replayed)
    assert {one.id for one in fresh[:5]} <= backend.trained_on()
    assert 8 + 5 == len(backend.trained_on())


def test_the_same_key_is_the_same_version(backend, fresh):
    """Whatever is passed the second time; and the next key builds on it."""
    first = add(backend, "loop-1", fresh[:4])
    again = add(backend, "loop-1", fresh[5:])
    second = add(LocalBackend(backend.folder), "loop-2", fresh[4:6])

    assert first == again
    assert 6 + 4 == second.replayed
    assert first.digest != second.digest


def test_pictures_are_kept_once(backend, fresh):
    """However many versions hold them."""
    for number in range(3):
        add(backend, f"loop-{number}", fresh[: number + 2])

    assert 8 + 4 == len([*backend.folder.glob("pictures/*/*")])
    assert 4 == len([*backend.folder.glob("versions/*.json")])


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(4)))
def test_the_digest_is_of_the_content(tmp_path_factory, order):
    """Not of the order in which frames came, nor of the folder."""
    root = tmp_path_factory.mktemp("order")
    frames = []
    for number in range(4):
        picture = root / f"{number}.png"
        picture.write_bytes(b"picture %d" % number)
        truth = Truth(xyxy=[[0, 0, 5, 5 + number]], class_id=[0], image_size=(20, 20))
        frames.append(
            LabelledFrame(truth=truth, image=picture, id=sha256(picture.read_bytes()).hexdigest())
        )

    one = add(LocalBackend(root / "a"), "k", frames[1:], frames[:1])
    two = LocalBackend(root / "b")
    for place in order:
        if place:
            add(two, "first", frames[1:2], frames[:1])
            add(two, f"{place}", [frames[place]])
    digests = {two._store.newest().digest, one.digest}

    assert 1 == len(digests)


def test_new_labels_take_the_place_of_old_ones(backend, fresh, tmp_path):
    """And the version before stays as it was."""
    frame = next(one for one in fresh if len(one.truth))
    before = add(backend, "loop-1", [frame])
    nothing = Truth(xyxy=[], class_id=[], image_size=(128, 128))
    after = add(backend, "loop-2", [LabelledFrame(truth=nothing, image=frame.image, id=frame.id)])
    texts = [
        (backend.write_dataset(version, tmp_path / version.version).parent / "labels" / "train")
        .joinpath(f"{frame.id}.txt")
        .read_text()
        for version in (before, after)
    ]

    assert len(frame.truth) == texts[0].count("\n")
    assert "" == texts[1]


def test_a_version_is_a_yolo_dataset(backend, fresh, tmp_path):
    """What was put in comes out, box by box to a hundredth of a pixel."""
    version = add(backend, "loop-1", fresh[:3], fresh[3:5])
    written = backend.write_dataset(version, tmp_path / "out")
    back = {Path(one.id).stem: one for one in Holdout.open(written, split="val")}

    assert 4 == len(back)
    for one in fresh[3:5]:
        assert one.truth.xyxy.shape == back[one.id].truth.xyxy.shape
        assert np.abs(one.truth.xyxy - back[one.id].truth.xyxy).max(initial=0.0) < 0.01
    with pytest.raises(InputError, match="not empty"):
        backend.write_dataset(version, tmp_path / "out")


def test_a_wrong_id_is_refused(backend, fresh):
    """An id that is not the digest would let a picture be trained and evaluated on."""
    truth, image = fresh[0].truth, fresh[0].image
    for wrong in (
        LabelledFrame(truth=truth, image=image, id=fresh[1].id),
        LabelledFrame(truth=truth, image=image, id="../../../etc/passwd"),
        LabelledFrame(truth=truth, image=np.zeros((128, 128, 3), np.uint8), id=fresh[0].id),
    ):
        with pytest.raises(InputError, match=r"the file's SHA-256|is no file"):
            add(backend, "loop-1", [wrong])
    assert fresh[1].id not in backend.trained_on()
    assert 8 == add(backend, "loop-1", fresh[:2]).replayed + 2


def test_other_classes_are_refused(backend, fresh):
    """A dataset has one list of classes."""
    with pytest.raises(ContextMismatch, match="zebra"):
        backend.dataset_version("k", train=fresh, val=[], class_names={0: "zebra"})


def test_a_picture_in_both_splits_is_refused(backend, fresh):
    """The best epoch would be chosen by what was learned by heart."""
    with pytest.raises(InputError, match="twice"):
        add(backend, "k", fresh[:2], fresh[:1])


def test_a_split_without_frames_is_refused(tmp_path, fresh):
    """Ultralytics cannot choose an epoch by nothing."""
    with pytest.raises(InputError, match="begin"):
        add(LocalBackend(tmp_path / "store"), "k", fresh)


def test_a_version_that_was_changed_is_found_out(backend, fresh, tmp_path):
    """It is named by its digest."""
    version = add(backend, "k", fresh[:2])
    file = backend.folder / "versions" / f"{version.digest}.json"
    file.write_text(file.read_text().replace('"val"', '"train"', 1))

    with pytest.raises(UnreadableData, match="was changed"):
        backend.write_dataset(version, tmp_path / "out")


def test_one_writes_at_a_time(backend, data, fresh):
    """The other is told to call again; nothing is lost."""
    descriptor = hold(backend.folder / "lock")
    try:
        busy = add(backend, "k", fresh[:2])
        with pytest.raises(StoreBusy, match="call again"):
            LocalBackend(backend.folder).begin(data)
    finally:
        os.close(descriptor)

    assert busy is None
    assert 2 == add(backend, "k", fresh[:2]).added


CROWD = Truth(xyxy=[[1, 1, 9, 9]] * 9000, class_id=[0] * 9000, image_size=(128, 128))


def test_a_full_disk(backend, fresh):
    """What found no room is added once there is some, under the same key."""
    newest = backend.dataset_version("before", train=[], val=[], class_names=CLASS_NAMES)
    before = sorted(path for path in backend.folder.rglob("*") if path.is_file())
    largest = max(path.stat().st_size for path in before if path.suffix == ".png")
    for room in (64, 2 * largest):  # for no picture; for all, and not for the list of a version
        crowd = evolve(fresh[0], truth=CROWD) if room > 64 else fresh[0]
        with no_room_beyond(room), pytest.raises(StoreError, match="File too large"):
            add(backend, "k", [crowd])
        left = {path for path in backend.folder.rglob("*") if path.is_file()} - set(before)
        assert {".png"} >= {path.suffix for path in left}

    assert newest.digest == add(backend, "again", []).digest
    assert 2 == add(backend, "k", fresh[:2]).added


def test_a_full_disk_of_others(backend, fresh, tmp_path):
    """Copies of weights and of a version are whole or not there at all."""
    weights = tmp_path / "best.pt"
    weights.write_bytes(b"w" * 1000)
    version = add(backend, "k", fresh[:2])
    with no_room_beyond(64), pytest.raises(StoreError, match="File too large"):
        backend.keep(weights)
    with no_room_beyond(64), pytest.raises(StoreError, match="File too large"):
        backend.write_dataset(version, tmp_path / "copy")
    assert [weights] == list(tmp_path.glob("*.pt"))
    assert not (tmp_path / "copy").exists()

    assert weights.read_bytes() == Path(backend.keep(weights)).read_bytes()
    assert backend.write_dataset(version, tmp_path / "copy").is_file()


# Trainings ----------------------------------------------------------------------------------


@pytest.fixture
def trainer(tmp_path, monkeypatch, backend):
    """A back end with a package in the place of ultralytics; whatever runs is ended."""
    if find_spec("ultralytics") is not None:
        pytest.skip("the real ultralytics is installed here, and would be found first")
    monkeypatch.syspath_prepend(str(put_ultralytics(tmp_path / "packages")))
    yield backend
    for folder in (backend.folder / "trainings").glob("[!.]*"):
        TrainingFolder(folder).cancel()


def request(backend, tmp_path, **more):
    base = tmp_path / "incumbent.pt"
    base.write_text("weights")
    return TrainingRequest(
        base=str(base),
        dataset=backend.dataset_version("begin", train=[], val=[], class_names=CLASS_NAMES),
        args=TrainArgs(epochs=more.pop("epochs", 3), batch=16, imgsz=128, more=more),
    )


def until(backend, run, *, epoch=None, seconds=60.0):
    """Progress, once it is over or an epoch is done."""
    deadline = time.monotonic() + seconds
    while True:
        progress = backend.progress(run)
        over = progress.status is not TrainingStatus.RUNNING
        if over or (epoch is not None and progress.epoch >= epoch):
            return progress
        assert time.monotonic() < deadline, progress
        time.sleep(0.02)


def go_on(run):
    """Let a training that stopped before an epoch have it."""
    (Path(run.ref) / "cwd" / "go").touch()


def gone(folder, seconds=60.0):
    """Wait until the process of a training has ended."""
    deadline = time.monotonic() + seconds
    while folder.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_training_ends_with_a_model(trainer, tmp_path):
    """The recipe as it was asked, the rate as it was named, one batch a step."""
    run = trainer.train("k-1", request(trainer, tmp_path, mosaic=0.5))
    progress = until(trainer, run)
    told, _, _ = json.loads((Path(run.ref) / "cwd" / "told.json").read_text())

    assert TrainingStatus.FINISHED is progress.status, progress
    assert (3, 3, {"mAP50-95(B)": 0.3}) == (progress.epoch, progress.epochs, progress.metrics)
    assert "best of 3" == Path(progress.model).read_text()
    assert {
        "lr0": 0.001,
        "optimizer": "AdamW",
        "nbs": 16,
        "warmup_epochs": 0,
        "mosaic": 0.5,
    }.items() <= told.items()
    assert isinstance(trainer.detector(progress.model), LocalModel)
    assert trainer.cost(request(trainer, tmp_path)) is None


def test_the_child_knows_no_secret(trainer, tmp_path, monkeypatch):
    """No key, no home, no working directory of ours."""
    monkeypatch.setenv("ULTRALYTICS_API_KEY", "secret")
    run = trainer.train("k-1", request(trainer, tmp_path))
    until(trainer, run)
    told, environment, cwd = json.loads((Path(run.ref) / "cwd" / "told.json").read_text())

    assert "secret" not in environment.values()
    assert cwd.startswith(run.ref)
    assert environment["HOME"].startswith(run.ref)
    assert told["data"].startswith(run.ref)
    assert "true" == environment["YOLO_OFFLINE"]
    assert "threads 1" in (Path(run.ref) / "log").read_text()


def test_the_same_key_is_the_same_training(trainer, tmp_path):
    """While it runs and when it is over; another request under the key is a mistake."""
    asked = request(trainer, tmp_path, stops_at=2)
    run = trainer.train("k-1", asked)
    again = LocalBackend(trainer.folder).train("k-1", asked)
    go_on(run)
    until(trainer, run)
    after = trainer.train("k-1", asked)

    assert (run.ref, run.pid) == (again.ref, again.pid)
    assert run.ref == after.ref
    assert 1 == TrainingFolder(Path(run.ref)).attempts
    with pytest.raises(InputError, match="of another training"):
        trainer.train("k-1", request(trainer, tmp_path, epochs=9))


def test_many_who_start_it_start_one(trainer, tmp_path):
    """Four at once: one process, one result."""
    asked, runs = request(trainer, tmp_path, stops_at=2), []
    threads = [
        threading.Thread(
            target=lambda: runs.append(LocalBackend(trainer.folder).train("k-1", asked))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    go_on(runs[0])
    progress = until(trainer, runs[0])

    assert TrainingStatus.FINISHED is progress.status
    assert 1 == len({run.ref for run in runs}) == TrainingFolder(Path(runs[0].ref)).attempts
    assert [1, 2, 3] == [row["epoch"] for row in TrainingFolder(Path(runs[0].ref)).rows()]


@POSIX
def test_it_survives_who_started_it(trainer, tmp_path):
    """The parent is killed with -9 in mid-training; a later process finds the same training."""
    asked = request(trainer, tmp_path, epochs=8, stops_at=4)
    script = (
        "import sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from driftline.platform import TrainArgs\n"
        "from driftline.retrain import LocalBackend, TrainingRequest, DatasetVersion\n"
        f"backend = LocalBackend({str(trainer.folder)!r})\n"
        f"dataset = DatasetVersion(**{ {n: getattr(asked.dataset, n) for n in ('ref', 'version', 'digest', 'added', 'replayed')}!r})\n"
        f"args = TrainArgs(epochs=8, batch=16, imgsz=128, more={dict(asked.args.more)!r})\n"
        f"run = backend.train('k-1', TrainingRequest(base={asked.base!r}, dataset=dataset, args=args))\n"
        "print(run.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        pid = int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    run = trainer.train("k-1", asked)
    go_on(run)
    progress = until(trainer, run)

    assert pid == run.pid
    assert TrainingStatus.FINISHED is progress.status
    assert 1 == TrainingFolder(Path(run.ref)).attempts


@POSIX
def test_a_killed_training_goes_on_where_it_was(trainer, tmp_path):
    """From its last epoch; no epoch is trained twice, and its result is one."""
    run = trainer.train("k-1", request(trainer, tmp_path, epochs=6, stops_at=4))
    until(trainer, run, epoch=3)
    os.kill(run.pid, signal.SIGKILL)
    go_on(run)
    progress = until(trainer, run)
    folder = TrainingFolder(Path(run.ref))

    assert TrainingStatus.FINISHED is progress.status
    assert 2 == folder.attempts
    assert [1, 2, 3, 4, 5, 6] == [row["epoch"] for row in folder.rows()]


@POSIX
def test_a_torn_checkpoint_begins_anew(trainer, tmp_path):
    """A file that was half written when the process was killed."""
    run = trainer.train("k-1", request(trainer, tmp_path, epochs=4, stops_at=3))
    until(trainer, run, epoch=2)
    os.kill(run.pid, signal.SIGKILL)
    go_on(run)
    gone(TrainingFolder(Path(run.ref)))
    (Path(run.ref) / "run" / "weights" / "last.pt").write_text("torn")
    progress = until(trainer, run)

    assert TrainingStatus.FINISHED is progress.status
    assert [1, 2, 3, 4] == [row["epoch"] for row in TrainingFolder(Path(run.ref)).rows()]


@POSIX
def test_what_is_killed_thrice_has_failed(trainer, tmp_path):
    """Memory that is too small does not grow by trying."""
    run = trainer.train("k-1", request(trainer, tmp_path, stops_at=1))
    for attempt in (1, 2, 3):
        folder = TrainingFolder(Path(run.ref))
        assert TrainingStatus.RUNNING is trainer.progress(run).status  # takes it up
        assert attempt == folder.attempts
        os.kill(folder.pid, signal.SIGKILL)
        gone(folder)
    progress = trainer.progress(run)

    assert TrainingStatus.FAILED is progress.status
    assert "killed 3 times" in progress.error


def test_an_error_is_told(trainer, tmp_path):
    """In the words of ultralytics; it is not tried again."""
    run = trainer.train("k-1", request(trainer, tmp_path, says="no images found"))
    progress = until(trainer, run)

    assert TrainingStatus.FAILED is progress.status
    assert "ValueError: no images found" == progress.error
    assert 1 == TrainingFolder(Path(run.ref)).attempts


def test_a_training_on_a_full_disk(trainer, tmp_path):
    """It is asked for again where nothing of it could be written, and else has failed, in words."""
    asked = request(trainer, tmp_path)
    with no_room_beyond(16), pytest.raises(StoreError, match="File too large"):
        trainer.train("k-1", asked)
    run = trainer.train("k-1", asked)
    assert TrainingStatus.FINISHED is until(trainer, run).status

    with no_room_beyond(2_000_000):  # room for what is asked, and not for the weights
        run = trainer.train("k-2", request(trainer, tmp_path, bytes=3_000_000))
        progress = until(trainer, run)
    assert TrainingStatus.FAILED is progress.status
    assert "File too large" in progress.error


def test_the_network_is_closed(trainer, tmp_path):
    """Whatever ultralytics would like to fetch, or to tell."""
    progress = until(trainer, trainer.train("k-1", request(trainer, tmp_path, calls=9)))

    assert "the network is closed to this process" in progress.error


def test_cancel_ends_this_training_alone(trainer, tmp_path):
    """And for good: it is not taken up again, and another goes on."""
    run = trainer.train("k-1", request(trainer, tmp_path, stops_at=2))
    other = trainer.train("k-2", request(trainer, tmp_path, stops_at=2))
    trainer.cancel("k-1")
    trainer.cancel("k-1")
    trainer.cancel("nothing")

    assert not TrainingFolder(Path(run.ref)).alive
    assert TrainingStatus.CANCELLED is trainer.progress(run).status
    assert (
        TrainingStatus.CANCELLED
        is trainer.progress(trainer.train("k-1", request(trainer, tmp_path, stops_at=2))).status
    )
    go_on(other)
    assert TrainingStatus.FINISHED is until(trainer, other).status


def test_cancel_after_the_end_changes_nothing(trainer, tmp_path):
    """The model stays."""
    run = trainer.train("k-1", request(trainer, tmp_path))
    until(trainer, run)
    trainer.cancel("k-1")

    assert TrainingStatus.FINISHED is trainer.progress(run).status


def test_a_row_that_is_half_written_is_no_row(tmp_path):
    """Progress is read while ultralytics writes."""
    folder = TrainingFolder(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.csv").write_text(" epoch, time\n1,0.5\n1,0.7\n2,")

    assert [{"epoch": 1.0, "time": 0.7}] == folder.rows()


def test_what_cannot_be_trained_is_refused(trainer, tmp_path):
    """A base that is not there, or is no checkpoint; a key that nobody used."""
    asked = request(trainer, tmp_path)
    for base in ("yolo11n.pt", str(tmp_path / "x.onnx")):
        with pytest.raises(InputError, match="no weights to start from"):
            trainer.train("k", TrainingRequest(base=base, dataset=asked.dataset, args=asked.args))
    run = trainer.train("k-1", asked)
    with pytest.raises(NotFound, match="no training"):
        LocalBackend(tmp_path / "other").progress(run)
    assert [] == [*(trainer.folder / "trainings").glob(".*")]
    until(trainer, run)


@pytest.mark.skipif(find_spec("ultralytics") is not None, reason="ultralytics is installed here")
def test_without_the_extra(backend, tmp_path):
    """The error names it."""
    with pytest.raises(MissingExtra, match="yolo"):
        backend.train("k", request(backend, tmp_path))


# kill -9 within a call -------------------------------------------------------------------------

CRASHES = """
import os, sys, shutil
from hashlib import sha256
from pathlib import Path
folder, data, new, packages, base, step = sys.argv[1:]
sys.path[:0] = [packages]
from driftline.errors import DriftlineError
from driftline.holdout import Holdout, LabelledFrame
from driftline.platform import TrainArgs
from driftline.retrain import LocalBackend, TrainingRequest
from driftline.retrain._local_training import TrainingFolder
from driftline.testing import CLASS_NAMES

frames = [
    LabelledFrame(truth=one.truth, image=one.image, id=sha256(one.image.read_bytes()).hexdigest())
    for one in Holdout.open(new)
]

def dying(function, left):
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        return function(*args, **kwargs)
    return call

def work(place):
    backend = LocalBackend(place)
    begun = backend.begin(data)
    version = backend.dataset_version("k", train=frames, val=[], class_names=CLASS_NAMES)
    args = TrainArgs(epochs=1, batch=1, imgsz=128)
    run = backend.train("k", TrainingRequest(base=base, dataset=version, args=args))
    return begun, version, run

seen = set()
n = 1 - int(step)
while True:
    n += int(step)
    place = Path(folder) / str(n)
    child = os.fork()
    if child == 0:
        left = [n]
        for name in ("replace", "mkdir", "write_text", "hardlink_to", "unlink"):
            setattr(Path, name, dying(getattr(Path, name), left))
        for name in ("copyfile", "rmtree"):
            setattr(shutil, name, dying(getattr(shutil, name), left))
        work(place)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    begun, version, run = work(place)
    again = work(place)
    backend = LocalBackend(place)
    while str(backend.progress(run).status) == "running":
        pass
    training = TrainingFolder(Path(run.ref))
    versions = len([*Path(place).glob("versions/*.json")])
    seen.add((begun.digest, version.digest, version.added, version.replayed, versions))
    assert (begun, version) == again[:2], n
    assert [1] == [row["epoch"] for row in training.rows()], (n, training.said())
    assert len(backend.trained_on()) == 3 + 1 + 1, n
    assert len([*Path(place).glob("trainings/[!.]*")]) == 1, n
    if code == 0:
        break
assert 1 == len(seen), seen
print(n)
"""


@POSIX
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_point_it_is_done_once(tmp_path, step):
    """At its file operations in turn; called again, it ends where it would have ended."""
    if find_spec("ultralytics") is not None:
        pytest.skip("the real ultralytics is installed here, and would be found first")
    write_yolo(tmp_path / "old", Scenes(seed=5).frames(3), "train")
    data = write_yolo(tmp_path / "old", Scenes(seed=6).frames(1), "val")
    new = write_yolo(tmp_path / "new", Scenes(seed=7).frames(1), "test")
    (tmp_path / "base.pt").write_text("weights")
    packages = put_ultralytics(tmp_path / "packages")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            CRASHES,
            *map(str, (tmp_path / "out", data, new, packages, tmp_path / "base.pt", step)),
        ],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert int(done.stdout) > 50
