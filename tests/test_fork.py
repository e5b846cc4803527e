"""What was made before a fork and is used after it, in parent and child, as under gunicorn --preload."""

import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from driftline._clock import SystemClock
from driftline._http import Transport
from driftline._wire import Call
from driftline.lake import DetectionLogger
from driftline.platform._pace import Pacer
from driftline.profiles import FrameReservoir, ProfileBuilder
from driftline.records import Detections, Put
from driftline.retrain import RolloutRouter
from driftline.stores import MemoryStore, SqlStore

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]
WHEN = datetime(2026, 11, 2, 12, tzinfo=UTC)
FOUND = Detections(
    xyxy=[[1, 2, 20, 30]], confidence=[0.5], class_id=[0], image_size=(48, 64), class_names={0: "a"}
)
LOCKS = (type(threading.Lock()), type(threading.RLock()))


@contextmanager
def forked(work):
    """Do some work in a child meanwhile; it must end well, and within half a minute."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    yield
    _, status = os.waitpid(child, 0)
    assert 0 == status


@contextmanager
def all_locks_held(one):
    """Another thread is in the midst of everything."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with ExitStack() as stack:
            for lock in vars(one).values():
                if isinstance(lock, LOCKS):
                    stack.enter_context(lock)
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    yield
    done.set()
    holder.join()


def observe(builder, times=1):
    for second in range(times):
        at = WHEN + timedelta(seconds=second)
        builder.observe(FOUND, camera="c", at=at)


class Echo(BaseHTTPRequestHandler):
    """Answers with the path, and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def transport():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        with Transport(f"http://127.0.0.1:{server.server_port}") as made:
            yield made
        server.shutdown()
        thread.join()


def ask(transport, name, times=50):
    """Every reply is that of its own call."""
    for number in range(times):
        path = f"/{name}-{number}"
        assert path.encode() == transport.send(Call(method="GET", path=path)).content


CHANGE = Put(space="a", key="k", value={})
SHARED = {  # what makes it, and what uses it
    "builder": (
        lambda _folder: ProfileBuilder(),
        lambda one: (observe(one), one.profile()),
    ),
    "reservoir": (
        lambda _folder: FrameReservoir(),
        lambda one: one.offer(FOUND, camera="c", at=WHEN, frame="f"),
    ),
    "logger": (DetectionLogger, lambda one: (observe(one), one.flush())),
    "router": (
        lambda _folder: RolloutRouter(MemoryStore(), "acme/line-3"),
        lambda one: (one.run("k", lambda _deployment: FOUND), one.sync()),
    ),
    "memory": (lambda _folder: MemoryStore(), lambda one: one.write([CHANGE])),
    "sqlite": (
        lambda folder: SqlStore(f"sqlite:///{folder}/d.db"),
        lambda one: one.write([CHANGE]),
    ),
    "pacer": (lambda _folder: Pacer(SystemClock()), lambda one: one.reserve("default", 10)),
}


@pytest.mark.parametrize("kind", SHARED)
def test_a_lock_held_at_the_fork(kind, tmp_path):
    """A thread of the parent that is in the midst of something holds up no child."""
    make, use = SHARED[kind]
    one = make(tmp_path)
    with all_locks_held(one), forked(lambda: use(one)):
        pass
    use(one)


def test_a_call_under_way_at_the_fork(transport):
    """Nor does a thread that is opening the connection."""
    with all_locks_held(transport), forked(lambda: ask(transport, "child", 1)):
        pass


def test_what_was_counted_is_the_parents():
    """Profiles of parent and child add up to what was seen, nothing twice."""
    builder = ProfileBuilder(frames=FrameReservoir())
    observe(builder, 3)

    def child():
        observe(builder, 5)
        assert 5 == builder.profile().frames_by_block().sum()

    with forked(child):
        observe(builder, 1)

    assert 4 == builder.profile().frames_by_block().sum()


def test_a_connection_is_not_shared(transport):
    """Parent and child ask at once over what was one client: nobody reads a reply of the other."""
    ask(transport, "before", 1)
    with forked(lambda: ask(transport, "child")):
        ask(transport, "parent")


def test_the_connection_of_a_store_outlives_a_child_that_ends_as_programs_do(tmp_path):
    """A child that leaves by `sys.exit`, with all that runs then, closes nothing of its parent's."""
    with SqlStore(f"sqlite:///{tmp_path}/d.db") as store:
        store.write([Put(space="a", key="parent", value={})])
        opened, closer = store._open, store._closer

        def child():
            store.write([Put(space="a", key="child", value={})])
            assert not closer.alive
            assert store._open is not opened

        with forked(child):
            pass

        assert closer.alive
        assert ["child", "parent"] == [document.key for document in store.scan("a")]
