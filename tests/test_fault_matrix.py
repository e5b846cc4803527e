"""The fault matrix: what its page names exists, and the cells no other test shows."""

import ast
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest
from attrs import evolve
from pyarrow import parquet

from driftline import Detections, HoldoutValidator, Monitor, ProfileBuilder, _http
from driftline.errors import (
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    InputError,
    PlatformError,
    StoreError,
    Unreachable,
)
from driftline.holdout import Holdout, PoolFrame
from driftline.lake import DetectionLogger
from driftline.platform import PlatformClient
from driftline.records import Put, Sample
from driftline.retrain import LocalBackend, ReviewBatch, ReviewFrame
from driftline.sinks import LogSink
from driftline.sinks.alertmanager import AlertmanagerSink
from driftline.sinks.apprise import AppriseSink
from driftline.sinks.datadog import DatadogSink
from driftline.sinks.grafana import GrafanaSink
from driftline.sinks.pagerduty import PagerDutySink
from driftline.stores import MemoryStore, SqlStore
from driftline.testing import (
    CLASS_NAMES,
    FrozenClock,
    RecordingSink,
    Scenes,
    ShapeFinder,
    example_alert,
    write_yolo,
)
from faults.fault_server import FaultServer, self_signed
from faults.full_disk import no_room_beyond
from monitor.monitor_support import LINE, MINUTE, START, Table, latency, told
from monitor.mortal import fork

TREE = Path(__file__).parent.parent
PAGE = TREE / "docs/explanation/faults.md"
FAULTS = ("slow", "hang", "reset", "garbage", "partial", "wrong_type", "huge", "redirect")
HURRIED = {"slow": 0.4, "hang": 0.4}
PATIENT = 60.0
"""Seconds of a call's time-out: short only where the time-out is what ends the call."""
DAY = timedelta(days=1)
NOBODY = 65534
LONG = {"x": "y" * 100_000}
NO_DEADLINE = {"apprise", "datadog", "pagerduty"}
"""Their clients bound each read, not the whole reply: what drips may come to its end."""

ENDS = dict.fromkeys(FAULTS, DeliveryFailed) | {"redirect": DeliveryError}
"""How a sink fails: for now, whatever it was; where a redirect leads for ever is for each to say."""

SINKS = {
    "alertmanager": lambda url, s: AlertmanagerSink(url, timeout_seconds=s),
    "apprise": lambda url, s: AppriseSink(f"{url.replace('http', 'json')}?rto={s}&cto=60"),
    "datadog": lambda url, s: DatadogSink("a" * 32, base_url=url, timeout_seconds=s),
    "grafana": lambda url, s: GrafanaSink(alerts_url=url, timeout_seconds=s),
    "pagerduty": lambda url, s: PagerDutySink("R" * 32, events_url=url, timeout_seconds=s),
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    """No proxy and no credential of the machine that runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "DD_SITE", "DD_APP_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def elsewhere():
    with FaultServer() as server:
        yield server


@pytest.fixture
def server(elsewhere):
    with FaultServer(elsewhere=elsewhere.url) as server:
        yield server


@pytest.fixture
def stranger(tmp_path):
    """A server with a certificate that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path))
    with FaultServer(context=context) as server:
        yield server


def _asked(server):
    """The requests that came; a server may read the first one later than its client gives up."""
    until = time.monotonic() + 60
    while not server.requests and time.monotonic() < until:
        time.sleep(0.01)
    return server.requests


def _named_in(path):
    """The names of the tests of a file, those of classes as ``Class::name``."""
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else []
        yield from (f"{node.name}::{each.name}" for each in inner if hasattr(each, "name"))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def _glance(text):
    """The table at the top of the page, as (fault, part, mark), and the reasons by letter."""
    head = text.partition("## At a glance")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in head.splitlines() if line.startswith("| ")]
    (_, *parts), *rows = lines
    cells = [
        (row[0], part, mark) for row in rows for part, mark in zip(parts, row[1:], strict=True)
    ]
    return cells, set(re.findall(r"- \*\*(\w)\*\*: ", head))


def test_page_leaves_no_cell_out():
    """Each fault of each part has a row of its own, or a reason why there is none."""
    text = PAGE.read_text()
    cells, reasons = _glance(text)
    rows = {
        section.partition("\n")[0]: [
            line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")
        ]
        for section in text.split("\n## ")
    }
    faults = {fault for fault, _, _ in cells}
    assert {name.replace("_", " ") for name in FAULTS} <= faults | {"redirect"}
    assert reasons == {mark for _, _, mark in cells} - {"✓"}
    assert [] == [
        (fault, part)
        for fault, part, mark in cells
        if mark == "✓"
        for named in [next(row for head, row in rows.items() if head.startswith(part))]
        if not any(fault in cell for cell in named)
    ]


def test_page_names_tests_that_exist():
    """Each row of the page names a test, and each test that it names is there."""
    text = PAGE.read_text()
    details = text.partition("## At a glance")[2].partition("\n## ")[2]
    cells = [line for line in details.splitlines() if re.match(r"\| (?!Fault)", line)]
    assert len(cells) > 60
    assert [] == [line for line in cells if "::test_" not in line]
    named: dict[str, set[str]] = {}
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", text):
        named.setdefault(path, set()).add(name)

    assert {} == {
        path: missing
        for path, names in named.items()
        if (missing := names - set(_named_in(TREE / path)))
    }


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sink", SINKS)
def test_sink(sink, fault, server, elsewhere, monkeypatch):
    """A sink raises an error of ours, in time, goes nowhere else, and delivers when it is over."""
    monkeypatch.setattr(_http, "LONGEST_REPLY_BYTES", 2**20)
    server.fault = fault
    made = SINKS[sink](server.url, HURRIED.get(fault, PATIENT))
    if fault == "wrong_type":  # 2xx with an odd body: sending it again would double it
        assert made.send(example_alert())
    else:
        drips = fault == "slow" and sink in NO_DEADLINE
        with suppress(DeliveryFailed) if drips else pytest.raises(ENDS[fault]) as caught:
            made.send(example_alert())
        assert drips or len(str(caught.value)) < 1000

    assert not server.outwaited
    assert _asked(server)
    assert [] == elsewhere.requests
    server.fault = None
    again = SINKS[sink](server.url, PATIENT) if fault in HURRIED else made
    assert again.send(example_alert())


@pytest.mark.parametrize("sink", SINKS)
def test_sink_meets_a_strange_certificate(sink, stranger):
    """Nothing is said to a server whose certificate nobody signed, and the error is ours."""
    with pytest.raises(DeliveryError):
        SINKS[sink](stranger.url, PATIENT).send(example_alert())

    assert [] == stranger.requests


@pytest.mark.parametrize("fault", FAULTS)
def test_platform(fault, server, elsewhere, monkeypatch):
    """Each fault is an error of the Platform's kind, in time, and the key goes nowhere else."""
    monkeypatch.setattr(_http, "LONGEST_REPLY_BYTES", 2**20)
    server.fault = fault
    with (
        PlatformClient(
            "ul_" + "k" * 40,
            base_url=server.url,
            clock=FrozenClock(),
            timeout=timedelta(seconds=HURRIED.get(fault, PATIENT)),
        ) as client,
        pytest.raises(PlatformError) as caught,
    ):
        client.deployment("acme/line-3")

    assert len(str(caught.value)) < 1000
    assert not server.outwaited
    assert _asked(server)
    assert [] == elsewhere.requests


def test_platform_meets_a_strange_certificate(stranger):
    """The key is not said to a server whose certificate nobody signed."""
    with (
        PlatformClient("ul_" + "k" * 40, base_url=stranger.url, clock=FrozenClock()) as client,
        pytest.raises(Unreachable, match="certificate"),
    ):
        client.deployment("acme/line-3")

    assert [] == stranger.requests


@contextmanager
def read_only(folder):
    """The folder cannot be written to, not even by root."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@pytest.fixture
def open_folder():
    """A folder that other users may enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_sqlite_on_a_full_disk(tmp_path):
    """A write that finds no room writes nothing, and the same connection writes later."""
    with SqlStore(f"sqlite:///{tmp_path}/d.db") as store:
        store.write([Put(space="a", key="before", value={})])
        with no_room_beyond((tmp_path / "d.db-wal").stat().st_size + 4096):
            for _ in range(2):
                with pytest.raises(StoreError, match=r"d\.db"):
                    store.write(
                        [Put(space="a", key="half", value={}), Put(space="a", key="k", value=LONG)]
                    )
        store.write([Put(space="a", key="later", value={})])

        assert ["before", "later"] == [document.key for document in store.scan("a")]


def test_sqlite_in_a_read_only_folder(open_folder):
    """A database that cannot be written is a store error that names it; later it works."""
    store = SqlStore(f"sqlite:///{open_folder}/d.db")
    with read_only(open_folder), pytest.raises(StoreError, match=r"d\.db"):
        store.write([Put(space="a", key="k", value={})])
    store.write([Put(space="a", key="k", value={})])
    store.close()


def test_sqlite_that_was_cut_off(tmp_path):
    """A file that lost its end, as half a copy has, is refused and left as it is."""
    path = tmp_path / "d.db"
    with SqlStore(f"sqlite:///{path}") as store:
        store.write([Put(space="a", key=f"{k}", value=LONG) for k in range(10)])
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(half)
    with SqlStore(f"sqlite:///{path}") as store, pytest.raises(StoreError, match=r"d\.db"):
        store.scan("a")

    assert half == path.read_bytes()


def test_postgres_locked(postgres):
    """A lock that nobody gives back is a store error, not a hang; once it is free, it works."""
    with SqlStore(postgres.new_schema()) as store:
        store.write([Put(space="a", key="before", value={})])
        raw = store._open._raw
        assert ("30s",) == raw.execute("SHOW lock_timeout").fetchone()
        raw.execute("SET lock_timeout = '100ms'")
        (path,) = raw.execute("SHOW search_path").fetchone()
        with psycopg.connect(postgres.url()) as other:
            other.execute(f"LOCK TABLE {path}.driftline_documents")
            with pytest.raises(StoreError, match="lock timeout"):
                store.write([Put(space="a", key="k", value={})])
        store.write([Put(space="a", key="later", value={})])

        assert ["before", "later"] == [document.key for document in store.scan("a")]


def test_postgres_read_only(postgres):
    """A replica, which cannot be written, is a store error; nothing is written."""
    url = postgres.new_schema()
    with SqlStore(url) as store:
        store.write([Put(space="a", key="before", value={})])
        with SqlStore(f"{url}%20-cdefault_transaction_read_only%3Don") as replica:
            with pytest.raises(StoreError, match="read-only"):
                replica.write([Put(space="a", key="k", value={})])

        assert ["before"] == [document.key for document in store.scan("a")]


def test_postgres_without_tls(postgres):
    """Who asks for TLS gets an error where there is none, and no connection in the clear."""
    with pytest.raises(StoreError, match="SSL"):
        SqlStore(f"{postgres.url()}?sslmode=require").get("a", "k")


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit of util-linux")
def test_postgres_on_a_full_disk(postgres):
    """What the server has no room for is a store error, and nothing of it is kept."""

    def limit(pid, size):  # only the user that the server runs as may
        command = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
        subprocess.run(command, check=True, timeout=60, **postgres.as_user)

    with SqlStore(postgres.new_schema()) as store:
        store.write([Put(space="a", key="before", value={})])
        server = store._open._raw.info.backend_pid
        # More than a segment of the server's log: where that finds no room the server ends.
        limit(server, 17 * 2**20)
        with pytest.raises(StoreError, match=r"too large|No space"):
            store.write(
                [
                    Put(space="a", key="half", value={}),
                    Put(space="a", key="k", value={"x": os.urandom(12 * 2**20).hex()}),
                ]
            )
        limit(server, "unlimited")
        store.write([Put(space="a", key="later", value={})])

        assert ["before", "later"] == [document.key for document in store.scan("a")]


def test_postgres_slow(postgres):
    """What a server does not finish in the time that its role has for it is a store error."""
    url = postgres.new_schema()
    with SqlStore(url) as store, SqlStore(f"{url}%20-cstatement_timeout%3D100ms") as hurried:
        store.write([Put(space="a", key="before", value={})])
        assert hurried.get("a", "before")
        with store._transaction():  # holds what the other waits for
            store._open._raw.execute("LOCK TABLE driftline_documents")
            with pytest.raises(StoreError, match="statement timeout"):
                hurried.write([Put(space="a", key="k", value={})])
        hurried.write([Put(space="a", key="later", value={})])

        assert ["before", "later"] == [document.key for document in store.scan("a")]


def test_postgres_frozen(postgres):
    """A call that a frozen server holds up ends well when the server goes on."""
    with SqlStore(postgres.new_schema()) as store:
        store.write([Put(space="a", key="before", value={})])
        server = store._open._raw.info.backend_pid
        writing = threading.Thread(
            target=store.write, args=([Put(space="a", key="held up", value={})],)
        )
        os.kill(server, signal.SIGSTOP)
        try:
            writing.start()
            writing.join(0.5)
            assert writing.is_alive()
        finally:
            os.kill(server, signal.SIGCONT)
        writing.join(60)

        assert ["before", "held up"] == [document.key for document in store.scan("a")]


@pytest.mark.parametrize(
    "answer",
    [b"220 mail.example ESMTP\r\n", b"R\0\0\0\x08\0", b"R\x7f\xff\xff\xff", b""],
    ids=["another", "partial", "huge", "nothing"],
)
def test_postgres_that_is_something_else(answer):
    """Another service at the address, or a reply that breaks off, is a store error, soon."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        answering = threading.Thread(target=_answer_once, args=(listening, answer))
        answering.start()
        with pytest.raises(StoreError, match=str(port)):
            SqlStore(f"postgresql://u@127.0.0.1:{port}/x").get("a", "k")
        answering.join(10)


def _answer_once(listening, answer):
    connection, _ = listening.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


def test_monitor_with_a_full_disk(tmp_path):
    """A run that cannot remember tells nobody; the next one tells, once."""
    clock, sink = FrozenClock(START), RecordingSink()
    table = Table(clock)
    table.bad_between(0, 600)
    clock.advance(30 * MINUTE)
    with SqlStore(f"sqlite:///{tmp_path}/d.db") as store:
        store.write([Put(space="a", key="k", value={})])
        parts = {"deployments": [LINE], "rules": [latency()], "sinks": [sink], "clock": clock}
        monitor = Monitor(table, store=store, **parts)
        with no_room_beyond((tmp_path / "d.db-wal").stat().st_size), pytest.raises(StoreError):
            monitor.run_once()
        assert [] == told(sink)
        clock.advance(timedelta(minutes=20))  # the lease of the run that died
        monitor.run_once()
        monitor.run_once()

    assert [("latency-budget", "firing")] == told(sink)


def boxes(n):
    return Detections(
        xyxy=np.tile([1.0, 1.0, 9.0, 9.0], (n, 1)),
        confidence=np.linspace(0.1, 0.9, n),
        class_id=np.zeros(n, int),
        image_size=(480, 640),
    )


def rows_of(folder):
    return sum(parquet.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))


def test_log_on_a_full_disk(tmp_path):
    """What found no room is written later; no half file and no leftover lies about."""
    log = DetectionLogger(tmp_path / "log")
    log.observe(boxes(500), camera="line-3", at=START)
    with no_room_beyond(1024), pytest.raises(StoreError, match="rows are kept"):
        log.flush()
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]
    log.close()

    assert 500 == rows_of(tmp_path)


def test_log_in_a_read_only_folder(open_folder):
    """The same where the folder is read-only for a while."""
    log = DetectionLogger(open_folder)
    log.observe(boxes(3), camera="line-3", at=START)
    with read_only(open_folder), pytest.raises(StoreError, match="rows are kept"):
        log.flush()
    log.close()

    assert 3 == rows_of(open_folder)


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=str)
def test_log_under_a_clock_that_is_wrong(tmp_path, jump):
    """A clock set forward or back keeps no row longer than its time; the frame's own time counts."""
    clock = FrozenClock(START)
    with DetectionLogger(tmp_path, max_age=10 * MINUTE, clock=clock) as log:
        log.observe(boxes(2), camera="line-3", at=START)
        clock.set(START + jump)
        clock.advance(10 * MINUTE)
        log.observe(boxes(1), camera="line-3", at=START)

        assert 3 == rows_of(tmp_path)
        assert ["day=2026-11-23"] == [path.name for path in tmp_path.iterdir()]


def test_profile_on_a_full_disk(tmp_path):
    """The profile of before stays, whole, and nothing lies beside it."""
    path, builder = tmp_path / "week.driftline", ProfileBuilder()
    builder.observe(boxes(1), camera="line-3", at=START)
    builder.profile().write(path)
    before = path.read_bytes()
    builder.observe(boxes(9), camera="line-4", at=START)
    with no_room_beyond(64), pytest.raises(StoreError, match="large"):
        builder.profile().write(path)

    assert [path] == list(tmp_path.iterdir())
    assert before == path.read_bytes()


def test_training_in_a_read_only_folder(open_folder):
    """A folder that is not yours to write is named; later it works."""
    data = write_yolo(open_folder / "old", Scenes(seed=5).frames(3), "train")
    write_yolo(open_folder / "old", Scenes(seed=6).frames(2), "val")
    backend = LocalBackend(open_folder / "retraining")
    begun = backend.begin(data)
    again = {"train": [], "val": [], "class_names": CLASS_NAMES}
    with read_only(open_folder), pytest.raises(InputError, match="retraining"):
        backend.dataset_version("november", **again)

    assert begun.digest == backend.dataset_version("november", **again).digest


DATASETS = {
    "holdout": lambda frames, folder: Holdout.of(frames, CLASS_NAMES).write_yolo(folder),
    "sample": lambda frames, folder: _sample(frames).export(folder, CLASS_NAMES),
    "review": lambda frames, folder: ReviewBatch.write(folder, _reviewed(frames), CLASS_NAMES),
}


def _sample(frames):
    pool = [
        PoolFrame(image=one.image, camera="line-3", id=f"{number}", at=START)
        for number, one in enumerate(frames)
    ]
    return Holdout.sample(pool, n=20, seed=1, at=START)


def _reviewed(frames):
    return [
        ReviewFrame(
            id=f"{number}",
            camera="line-3",
            at=START,
            image=one.image,
            proposal=evolve(boxes(0), image_size=(128, 128)),
        )
        for number, one in enumerate(frames)
    ]


@pytest.mark.filterwarnings("ignore:20 frames")
@pytest.mark.parametrize("write", DATASETS.values(), ids=list(DATASETS))
def test_dataset_on_a_full_disk(tmp_path, write):
    """Nothing of it stays, so that it can be written once there is room."""
    data = write_yolo(tmp_path / "old", Scenes(seed=5).frames(20), "test")
    frames, folder = Holdout.open(data).frames, tmp_path / "new"
    with no_room_beyond(64), pytest.raises(StoreError, match="could not be written"):
        write(frames, folder)
    assert not folder.exists() or [] == list(folder.iterdir())
    write(frames, folder)

    assert 20 == len(list((folder / "images").rglob("*.png")))


def test_checkpoint_on_a_full_disk(tmp_path):
    """A prediction that found no room is made again; those before it, and their lines, are whole."""
    path, frames = tmp_path / "week.jsonl", list(Scenes(seed=5).frames(6))
    with no_room_beyond(900), pytest.raises(StoreError, match=r"week\.jsonl"):
        HoldoutValidator(frames, ShapeFinder(), checkpoint=path, replicates=2).validate()
    written = path.read_bytes()
    assert written.endswith(b"}\n")
    assert 1 < written.count(b"\n") < 7
    again = HoldoutValidator(frames, ShapeFinder(), checkpoint=path, replicates=2).validate()

    assert again.map == HoldoutValidator(frames, ShapeFinder(), replicates=2).validate().map
    assert path.read_bytes().startswith(written)


def test_profile_in_a_read_only_folder(open_folder):
    """A folder that is not yours to write is named."""
    with read_only(open_folder), pytest.raises(InputError, match=r"week\.driftline"):
        ProfileBuilder().profile().write(open_folder / "week.driftline")


def test_a_stream_that_cannot_be_written(tmp_path):
    """A stream that was opened for reading never takes an alert: that is said, and not repeated."""
    path = tmp_path / "alerts.log"
    path.touch()
    with path.open() as stream, pytest.raises(DeliveryRefused, match="not for writing"):
        LogSink(stream=stream).send(example_alert())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_log_sink_on_a_full_device():
    """No room for a line is a failure that the outbox tries again."""
    stream = Path("/dev/full").open("w")
    with pytest.raises(DeliveryFailed, match="No space left"):
        LogSink(stream=stream).send(example_alert())
    with pytest.raises(OSError, match="No space left"):
        stream.close()


@pytest.mark.parametrize("jump", [DAY, -DAY, timedelta(hours=1), -timedelta(hours=1)], ids=str)
@pytest.mark.parametrize(("first", "last"), [(3, 9), (9, 99), (3, 99)])
def test_clock_that_is_wrong(jump, first, last):
    """Our clock off by a day or an hour, from here to there: the story told is the same, once."""
    theirs, ours = FrozenClock(START), FrozenClock(START)
    table, sink, store = Table(theirs), RecordingSink(), MemoryStore()
    table.bad_between(30, 60)
    for tick in range(24):
        theirs.advance(5 * MINUTE)
        ours.set(theirs.now() + (jump if first <= tick < last else timedelta(0)))
        parts = {"deployments": [LINE], "rules": [latency()], "sinks": [sink], "store": store}
        Monitor(table, clock=ours, seed=0, **parts).run_once()

    assert [("latency-budget", "firing"), ("latency-budget", "resolved")] == told(sink)


@pytest.mark.parametrize("asked", [None, 60.0])
def test_clock_that_was_set_back_holds_no_page_up(asked):
    """What a sink did not take while the clock was a day ahead is told once it is right again."""
    clock, store = FrozenClock(START), MemoryStore()
    table = Table(clock)
    table.bad_between(0, 10_000)
    sink = RecordingSink()
    sink.fail(DeliveryFailed("down", retry_after_seconds=asked), times=None)
    clock.set(START + DAY)
    for _ in range(4):
        clock.advance(20 * MINUTE)
        parts = {"deployments": [LINE], "rules": [latency()], "sinks": [sink], "store": store}
        Monitor(table, clock=clock, **parts).run_once()
    sink.recover()
    clock.set(START + timedelta(hours=2))
    Monitor(table, clock=clock, **parts).run_once()

    assert [("latency-budget", "firing")] == told(sink)


@pytest.mark.parametrize("cadence", [None, 5 * MINUTE], ids=["alone", "shared"])
@pytest.mark.parametrize("place", ["asking", "telling"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_killed_while_the_clock_was_ahead(database, place, cadence, tmp_path, request):
    """What a run held that was killed a day ahead is free as soon as the clock is right."""
    url = f"sqlite:///{tmp_path}/d.db"
    if database == "postgres":
        url = request.getfixturevalue("postgres").new_schema()
    theirs, ours = FrozenClock(START), FrozenClock(START + DAY)
    table, sink = Table(theirs), RecordingSink()
    table.bad_between(-60, 60)

    class Deadly:
        name = sink.name

        def send(self, _alert):
            os.kill(os.getpid(), signal.SIGKILL)

    def run(sink):
        with SqlStore(url) as store:
            parts = {"deployments": [LINE], "rules": [latency()], "store": store}
            return Monitor(table, clock=ours, cadence=cadence, sinks=[sink], **parts).run_once()

    if place == "asking":
        table.fault = Deadly.send
    _, status = os.waitpid(fork(run, Deadly()), 0)
    assert signal.SIGKILL == os.waitstatus_to_exitcode(status) * -1
    table.fault = lambda *_: None
    ours.set(START)

    assert not run(sink).busy
    assert [("latency-budget", "firing")] == told(sink)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_daylight_saving(zone):
    """Local times on both sides of both changes are instants: none is lost, doubled or misplaced."""
    local = ZoneInfo(zone)
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + n * timedelta(hours=1) for n in range(365 * 24)]
    turns = [a for a, b in pairwise(hours) if utcoffset(a, local) != utcoffset(b, local)]
    assert 2 == len(turns)
    for turn in turns:
        near = [turn + n * timedelta(minutes=30) for n in range(-6, 7)]
        theirs, ours = ProfileBuilder(), ProfileBuilder()
        samples = []
        for at in near:
            ours.observe(boxes(1), camera="line-3", at=at)
            theirs.observe(boxes(1), camera="line-3", at=at.astimezone(local))
            samples.append(Sample(metric="a.b", value=1, at=at.astimezone(local)))

        assert ours.profile() == theirs.profile()
        assert near == [sample.at for sample in samples]
        assert {UTC} == {sample.at.tzinfo for sample in samples}


def utcoffset(at, zone):
    return at.astimezone(zone).utcoffset()
