"""The logger: whole files, bounded memory, true names, and silence about credentials."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from driftline import Detections, ProfileBuilder
from driftline.errors import ContextMismatch, InputError, StoreError, UnreadableData
from driftline.lake import DetectionLogger, profile_from_log
from driftline.records import Context
from driftline.testing import FrozenClock
from terminal import at_a_terminal

WHEN = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
HOSTILE = [
    "../../up",
    "a=b",
    "a/b",
    "/",
    "..",
    ".",
    "cam 1",
    "ü日本" * 40,
    "%2F",
    "x'y\"z",
    "1e3",
    "*",
    "NULL",
]


def found(n, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.random((n, 2)) * 400
    return Detections(
        xyxy=np.hstack([corner, corner + 1 + rng.random((n, 2)) * 100]),
        confidence=rng.random(n).round(5),
        class_id=rng.integers(0, 3, n),
        image_size=(600, 800),
        class_names={0: "bolt", 1: "nut", 2: "gear"},
    )


def files(folder):
    return sorted(folder.glob("**/*.parquet"))


@pytest.fixture
def memory_url():
    """A folder of its own in fsspec's memory."""
    name = f"/lake-{uuid.uuid4().hex}"
    yield f"memory:/{name}/logs"
    store = fsspec.filesystem("memory")
    if store.exists(name):
        store.rm(name, recursive=True)


@pytest.mark.parametrize("store", ["path", "file", "memory"])
def test_same_as_builder(store, tmp_path, memory_url):
    """What is logged and counted later is what a builder counts at once, names and context too."""
    place = {"path": tmp_path, "file": f"file://{tmp_path}", "memory": memory_url}[store]
    context = Context(model="line-3", conf=0.1, imgsz=640, weights_digest="sha256:00")
    builder = ProfileBuilder(context=context)
    with DetectionLogger(place, context=context, max_rows=50) as log:
        for i in range(120):
            frame = found(i % 5, seed=i)
            at = WHEN + timedelta(minutes=i)
            builder.observe(frame, camera=HOSTILE[i % len(HOSTILE)], at=at)
            log.observe(frame, camera=HOSTILE[i % len(HOSTILE)], at=at)

    assert builder.profile() == profile_from_log(place)


def test_says_how_many_days_are_counted(tmp_path, monkeypatch):
    """At a terminal a log of several days tells how far it is."""
    with DetectionLogger(tmp_path) as log:
        for day in range(3):
            log.observe(found(2), camera="a", at=WHEN + timedelta(days=day))
    screen = at_a_terminal(monkeypatch)
    profile_from_log(tmp_path)

    assert screen.getvalue().startswith("\r[######..............] 1 of 3 days\r")
    assert screen.getvalue().endswith("3 of 3 days\n")


def test_one_day_needs_no_bar(tmp_path, monkeypatch):
    """A log that is counted in one go has nothing to tell before its end."""
    with DetectionLogger(tmp_path) as log:
        log.observe(found(2), camera="a", at=WHEN)
    screen = at_a_terminal(monkeypatch)
    profile_from_log(tmp_path)

    assert "" == screen.getvalue()


def test_layout(tmp_path):
    """A folder a day and camera; no name leads out of it, and the true name is in the file."""
    with DetectionLogger(tmp_path / "logs") as log:
        for camera in HOSTILE:
            log.observe(found(1), camera=camera, at=WHEN)

    assert ["logs"] == [path.name for path in tmp_path.iterdir()]
    (day,) = (tmp_path / "logs").iterdir()
    assert "day=2026-11-02" == day.name
    assert len(HOSTILE) == len(list(day.iterdir()))
    seen = {pq.ParquetFile(path).read()["camera"][0].as_py() for path in files(tmp_path)}
    assert set(HOSTILE) == seen


def test_written_by_size(tmp_path):
    """The call that fills the buffer writes it; frames without boxes take a row as well."""
    log = DetectionLogger(tmp_path, max_rows=10)
    for i in range(9):
        log.observe(found(0), camera="a", at=WHEN + timedelta(seconds=i))
    assert [] == files(tmp_path)
    log.observe(found(0), camera="a", at=WHEN)

    assert 1 == len(files(tmp_path))
    assert "0 rows wait" in repr(log)
    log.close()


def test_written_by_age(tmp_path):
    """A row waits no longer than `max_age` while calls come in."""
    clock = FrozenClock(WHEN)
    with DetectionLogger(tmp_path, max_age=timedelta(minutes=1), clock=clock) as log:
        log.observe(found(2), camera="a", at=WHEN)
        clock.advance(timedelta(seconds=59))
        log.observe(found(2), camera="a", at=WHEN)
        assert [] == files(tmp_path)
        clock.advance(timedelta(seconds=1))
        log.observe(found(2), camera="a", at=WHEN)

        assert 1 == len(files(tmp_path))


def test_input_may_be_reused(tmp_path):
    """The caller may write into its arrays afterwards: what was observed is kept."""
    boxes = np.array([[0.0, 0.0, 10.0, 10.0]])
    frame = Detections(xyxy=boxes, confidence=[0.5], class_id=[0], image_size=(20, 20))
    with DetectionLogger(tmp_path) as log:
        log.observe(frame, camera="a", at=WHEN)
        boxes[:] = 5.0

    assert [10.0] == pq.read_table(files(tmp_path)[0], partitioning=None)["x2"].to_pylist()


def test_threads(tmp_path):
    """Many threads share a logger: every frame is there once, and what waits stays bounded."""
    log = DetectionLogger(tmp_path, max_rows=40)
    most = []

    def work(k):
        for i in range(100):
            log.observe(found(2, seed=i), camera=f"cam-{k}", at=WHEN + timedelta(seconds=i))
            most.append(log._rows)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    log.close()
    profile = profile_from_log(tmp_path)

    assert (800, 1600) == (profile.frames, profile.boxes)
    assert max(most) < 2 * 40  # one buffer, and a frame of each thread that waits for the writer


def test_killed(tmp_path):
    """A process killed while it writes leaves whole files only, and loses one buffer at most."""
    code = f"""
import sys
from datetime import datetime, timedelta, timezone
from driftline import Detections
from driftline.lake import DetectionLogger
log = DetectionLogger({str(tmp_path)!r}, max_rows=500)
at = datetime(2026, 11, 2, tzinfo=timezone.utc)
box = Detections(xyxy=[[0, 0, 9, 9]] * 5, confidence=[0.5] * 5, class_id=[0] * 5, image_size=(9, 9))
i = 0
while True:
    log.observe(box, camera="a", at=at + timedelta(milliseconds=i))
    i += 1
    if i % 100 == 0:
        print(i, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        said = 0
        while said < 2000:
            said = int(child.stdout.readline())
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=30)
        said = int((child.stdout.read().split() or [said])[-1])
        child.stdout.close()
    profile = profile_from_log(tmp_path)

    assert 0 == profile.frames % 100  # files of 500 rows, each whole
    assert said - 100 <= profile.frames


class Flaky(MemoryFileSystem):
    """A store in memory that refuses what it is told to, and says too much then."""

    protocol = "flaky"
    store: dict = {}  # noqa: RUF012 - fsspec keeps the files of a protocol in its class
    pseudo_dirs = [""]  # noqa: RUF012
    refuse = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky://"))

    def __init__(self, secret="", **rest):
        super().__init__(**rest)
        self.secret = secret

    def pipe_file(self, path, value, **rest):
        if "cam=b" in path and Flaky.refuse > 0:
            Flaky.refuse -= 1
            raise OSError(
                f"403 for key {self.secret} at https://u:{self.secret}@h/?sig={self.secret}"
            )
        super().pipe_file(path, value, **rest)


@pytest.fixture
def flaky():
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    Flaky.store.clear()
    Flaky.refuse = 0
    return Flaky


def test_failed_write_is_repeated(flaky):
    """What a store refused is kept and written later: nothing is lost, nothing doubled."""
    log = DetectionLogger("flaky://logs", max_rows=4)
    log.observe(found(2), camera="a", at=WHEN)
    flaky.refuse = 2
    with pytest.raises(StoreError, match="its rows are kept"):
        log.observe(found(2), camera="b", at=WHEN)
    with pytest.raises(StoreError):
        log.observe(found(1), camera="a", at=WHEN)
    log.observe(found(1), camera="b", at=WHEN)
    log.close()
    profile = profile_from_log("flaky://logs")

    assert (4, 6) == (profile.frames, profile.boxes)


def test_memory_is_bounded(flaky):
    """While nothing can be written, frames are refused beyond twice the buffer, loudly."""
    log = DetectionLogger("flaky://logs", max_rows=4)
    flaky.refuse = 1000
    taken = 0
    for _ in range(20):
        try:
            log.observe(found(2), camera="b", at=WHEN)
        except StoreError as error:
            taken += "not logged" not in str(error)
        else:
            taken += 1
    assert 4 == taken
    flaky.refuse = 0
    log.close()

    assert 8 == profile_from_log("flaky://logs").boxes


def test_secrets_stay(flaky):
    """A credential is in no repr, and not in the error, whatever the store says."""
    secret = "AKIA-very-secret-0123456789"
    log = DetectionLogger("flaky://logs", max_rows=1, storage_options={"secret": secret})
    flaky.refuse = 1
    with pytest.raises(StoreError) as caught:
        log.observe(found(1), camera="b", at=WHEN)
    error = caught.value

    assert secret not in f"{error} {error!r} {log!r} {log._place!r}"
    assert error.__cause__ is None and error.__context__ is None
    log.close()


def test_secrets_in_urls():
    """User, password and signature of a URL are not repeated either."""
    with pytest.raises(InputError) as caught:
        profile_from_log("nosuch://user:hunter2hunter2@host/log?sig=hunter3hunter3")

    assert "hunter" not in str(caught.value)


def test_store_package_missing():
    """Where fsspec lacks the package of a store, its word on which is passed on, without secrets."""
    lacking = {"class": "no_such_package.Store", "err": "Install no-such-package for secret-key"}
    known_implementations["lacking"] = lacking
    try:
        with pytest.raises(InputError, match=r"lacking://logs.*Install no-such-package") as caught:
            DetectionLogger("lacking://logs", storage_options={"key": "secret-key"})
    finally:
        del known_implementations["lacking"]

    assert "secret-key" not in str(caught.value)


def test_contexts_do_not_mix(tmp_path):
    """Logs made under different settings are not counted together."""
    for conf in (0.1, 0.25):
        with DetectionLogger(tmp_path, context=Context(conf=conf)) as log:
            log.observe(found(1), camera="a", at=WHEN)

    with pytest.raises(ContextMismatch, match=r"0\.1 and 0\.25|0\.25 and 0\.1"):
        profile_from_log(tmp_path)


def test_names_do_not_change(tmp_path):
    """A class that changes its name within a log is an error, as it is for a builder."""
    with DetectionLogger(tmp_path) as log:
        log.observe(found(1), camera="a", at=WHEN)
        other = Detections(
            xyxy=np.zeros((0, 4)),
            confidence=[],
            class_id=[],
            image_size=(9, 9),
            class_names={0: "screw"},
        )
        with pytest.raises(ContextMismatch, match="'bolt' and 'screw'"):
            log.observe(other, camera="a", at=WHEN)


@pytest.mark.parametrize(
    ("wrong", "named"), [({"memory": "lots"}, "memory='lots'"), ({"threads": 0}, "threads=0")]
)
def test_bad_limits(wrong, named, tmp_path):
    """A limit that DuckDB cannot keep is named."""
    with pytest.raises(InputError, match=named):
        profile_from_log(tmp_path, **wrong)


def test_start_and_end(tmp_path):
    """A part of the time is counted by the frame's own time."""
    with DetectionLogger(tmp_path) as log:
        for hour in range(48):
            log.observe(found(1), camera="a", at=WHEN + timedelta(hours=hour))
    part = profile_from_log(
        tmp_path, start=WHEN + timedelta(hours=3), end=WHEN + timedelta(hours=10)
    )

    assert 7 == part.frames


def test_other_layouts(tmp_path):
    """Files beside the days are counted as well; a day without files, or before the time, is not opened."""
    with DetectionLogger(tmp_path / "logs") as log:
        for day in range(4):
            log.observe(found(1), camera="a", at=WHEN + timedelta(days=day))
    (tmp_path / "logs/day=2026-11-09/cam=a").mkdir(parents=True)
    broken = tmp_path / "logs/day=2026-11-02/cam=a/broken.parquet"
    broken.write_bytes(b"")
    late = profile_from_log(tmp_path / "logs", start=WHEN + timedelta(days=2))
    broken.unlink()
    whole = profile_from_log(tmp_path / "logs")
    first = next((tmp_path / "logs/day=2026-11-03").rglob("*.parquet"))
    first.rename(tmp_path / "logs/beside.parquet")

    assert (2, 4) == (late.frames, whole.frames)
    assert whole == profile_from_log(tmp_path / "logs")
    assert whole == profile_from_log(f"{tmp_path}/logs/**/*.parquet")


def test_nothing_there(tmp_path):
    """A folder without files is an error that names it, not an empty profile."""
    with pytest.raises(UnreadableData, match="holds no file in Parquet"):
        profile_from_log(tmp_path)


def test_not_a_log(tmp_path):
    """Half a file, or another table, is said to be none."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UnreadableData, match="cannot be read as a detection log"):
        profile_from_log(tmp_path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"camera": 3}, "must be a"),
        ({"camera": "\ud800"}, "UTF-8"),
        ({"at": datetime(2026, 1, 1)}, "no time zone"),
        ({"frame_id": 7}, "frame_id=7"),
    ],
)
def test_bad_arguments(bad, message, tmp_path):
    """What cannot be logged is refused with its value, and nothing of it is kept."""
    log = DetectionLogger(tmp_path)
    with pytest.raises(InputError, match=message):
        log.observe(found(1), **({"camera": "a", "at": WHEN} | bad))
    log.close()

    assert [] == files(tmp_path)


def test_bad_settings(tmp_path):
    """Sizes and ages that make no sense are refused at birth, frames after the end as well."""
    with pytest.raises(InputError, match="max_rows=0"):
        DetectionLogger(tmp_path, max_rows=0)
    with pytest.raises(InputError, match="max_age"):
        DetectionLogger(tmp_path, max_age=timedelta(0))
    log = DetectionLogger(tmp_path)
    log.close()
    with pytest.raises(InputError, match="closed"):
        log.observe(found(1), camera="a", at=WHEN)


FORKS = """
import os, sys
from datetime import datetime, timedelta, timezone
from driftline import Detections
from driftline.lake import DetectionLogger
found = Detections(xyxy=[[1, 1, 50, 60]], confidence=[0.5], class_id=[0], image_size=(100, 100))
at = datetime(2026, 11, 2, tzinfo=timezone.utc)
log = DetectionLogger(sys.argv[1])
log.observe(found, camera="parent", at=at)
children = []
with log._lock, log._writing:  # another thread of the parent may hold them just now
    for _ in range(2):
        child = os.fork()
        if not child:
            for i in range(10):
                log.observe(found, camera="child", at=at + timedelta(seconds=i))
            log.close()
            os._exit(0)
        children.append(child)
ended = [os.waitpid(child, 0)[1] for child in children]
log.close()
sys.exit(max(ended))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked(tmp_path):
    """Processes forked with a logger, as by gunicorn --preload, write beside one another.

    What waited at the fork is written once, by the parent; a lock held then holds up no child.
    """
    subprocess.run([sys.executable, "-c", FORKS, str(tmp_path)], check=True, timeout=1200)
    profile = profile_from_log(tmp_path, threads=1)

    assert ["child", "parent"] == list(profile.cameras)
    assert [[20, 1]] == profile.frames_by_block().tolist()


def test_no_thread(tmp_path):
    """It starts no thread of its own."""
    before = set(threading.enumerate())
    with DetectionLogger(tmp_path) as log:
        log.observe(found(1), camera="a", at=WHEN)

        assert set(threading.enumerate()) <= before
    assert 1 == len(files(tmp_path))
