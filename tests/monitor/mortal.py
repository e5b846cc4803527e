"""A process that may die by SIGKILL wherever the platform, the store or a sink is called."""

import fcntl
import json
import os
import signal
import traceback
from pathlib import Path

from driftline.stores import SqlStore


class Mortal:
    """Counts the points a process comes by, and kills it at one of them; at none for None."""

    def __init__(self, dies_at: int | None) -> None:
        self.dies_at = dies_at
        self.passed = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(SqlStore):
    """A store at whose every call the process may die, before it or after."""

    def __init__(self, url: str, mortal: Mortal) -> None:
        super().__init__(url)
        self.point = mortal.point

    def scan(self, space):
        self.point()
        return super().scan(space)

    def waiting(self, queue, *, limit=None):
        self.point()
        return super().waiting(queue, limit=limit)

    def write(self, changes, *, lease=None):
        self.point()
        super().write(changes, lease=lease)
        self.point()

    def acquire(self, name, **how):
        found = super().acquire(name, **how)
        self.point()
        return found

    def release(self, lease):
        self.point()
        super().release(lease)
        self.point()


def noted(path: Path, line) -> None:
    """A line in a file, safely on disk."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def fork(work, *who, **how) -> int:
    """The child that does some work; it ends with 1 when that breaks down."""
    child = os.fork()
    if child:
        return child
    try:
        work(*who, **how)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
