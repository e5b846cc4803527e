"""A retraining killed anywhere goes on where it was: one version, one training, one rollout."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from loop_kit import DECISION
from loop_signs import Callers, Signs, add_old_frames, client, drive

from driftline.retrain import Move
from driftline.stores import MemoryStore, SqlStore

SIGNS = Signs()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class Fuse:
    """Burns at the n-th thing that happens, before or after it happened."""

    def __init__(self, at=None, *, after=False):
        self.at, self.after, self.count = at, after, 0

    def around(self, act):
        self.count += 1
        dies = self.count - 1 == self.at
        if dies and not self.after:
            raise Killed
        answer = act()
        if dies:
            raise Killed
        return answer


class Wire(httpx.Client):
    """HTTP that may die around every call but predictions, which change nothing."""

    fuse: Fuse

    def send(self, request, **options):
        def act():
            return super(Wire, self).send(request, **options)

        return act() if request.url.path.endswith("/predict") else self.fuse.around(act)


class Fragile(MemoryStore):
    """A store that may die around every write."""

    fuse: Fuse

    def write(self, changes, *, lease=None):
        self.fuse.around(lambda: super(Fragile, self).write(changes, lease=lease))


def a_whole_run(folder, fuse):
    """From the decision to the end, with one death on the way; all was made once."""
    with SIGNS.platform(lambda *_: SIGNS.seeing, deploy_seconds=5, epoch_seconds=10) as local:
        add_old_frames(local)
        store = Fragile()
        with Wire() as wire:
            store.fuse = wire.fuse = fuse
            try:
                to_the_end(local, store, folder, wire)
            except Killed:
                to_the_end(local, store, folder, wire)
            with client(local.url, local.api_key, clock=local.clock) as platform:
                check_once(local, SIGNS.loop(platform, folder, store).status())


def to_the_end(local, store, folder, wire):
    """What one process does: everything, unless it dies."""
    with client(local.url, local.api_key, clock=local.clock, http_client=wire) as platform:
        loop = SIGNS.loop(platform, folder, store)
        loop.open(DECISION)
        drive(loop, local, SIGNS, Callers(loop))


def check_once(local, status):
    """The loop ended well, and made everything once."""
    starts = [call for call in local.calls if call.path == "/api/training/start"]
    cancels = [
        call for call in local.calls if (call.operation, call.status) == ("training-cancel", 200)
    ]
    replaces = [
        call.path.rsplit("/", 1)[-1]
        for call in local.calls
        if call.method == "PATCH" and call.status in {200, 202}
    ]
    images = local.dataset("frames").images

    assert status.move is Move.DONE, str(status)
    assert 1 == len(local.dataset("frames").versions)
    # who dies before it knows the estimate leaves a training that the next one cancels
    assert 1 == len([call for call in starts if call.status == 200]) - len(cancels)
    assert ["line-3-next", "line-3"] == replaces
    assert status.candidate == local.deployment("line-3").model
    assert len({image.name for image in images}) == len(images) == 2 + 8


def a_run_killed_at(folder, points, *, after):
    for at in points:
        a_whole_run(folder / f"{at}", Fuse(at, after=after))


def things_that_happen(folder):
    fuse = Fuse()
    a_whole_run(folder, fuse)
    return fuse.count


def test_killed_at_a_call_or_write(tmp_path):
    """Whatever call or write is the last before death, the next process makes nothing twice."""
    count = things_that_happen(tmp_path / "whole")

    a_run_killed_at(tmp_path / "before", range(3, count, 29), after=False)
    a_run_killed_at(tmp_path / "after", range(13, count, 29), after=True)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_call_and_write(tmp_path, after):
    """The same, at each of them."""
    count = things_that_happen(tmp_path / "whole")

    a_run_killed_at(tmp_path, range(count), after=after)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 needs a POSIX system")
def test_kill_minus_nine(tmp_path):
    """Real processes that share a database and a folder, killed one after the other."""
    quick = {"deploy_seconds": 0.1, "epoch_seconds": 0.02, "ingest_seconds": 0.1}
    database = f"sqlite:///{tmp_path}/loop.db"
    with SIGNS.platform(lambda *_: SIGNS.seeing, **quick) as local:
        add_old_frames(local)
        worker = [sys.executable, Path(__file__).with_name("loop_worker.py")]
        done = subprocess.run(
            [*worker, local.url, local.api_key, database, tmp_path],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        with SqlStore(database) as store, client(local.url, local.api_key) as platform:
            status = SIGNS.loop(platform, tmp_path, store).status()

        assert 0 == done.returncode, done.stderr
        assert not done.stdout.startswith("0 killed")
        check_once(local, status)
