"""One process of a retraining that is killed over and over: ``loop_worker.py URL KEY DB FOLDER``.

It forks, so that a killed worker costs no start of an interpreter: each child drives the loop, and
is killed with -9 after a time that differs from child to child.
"""

import os
import signal
import sys
import time

import scipy.special  # noqa: F401 - loaded once, not by every child
from loop_kit import DECISION
from loop_signs import Callers, Signs, client, drive

from driftline.stores import SqlStore

SIGNS = Signs()
SHORTEST_SECONDS, LONGER_SECONDS, MOST = 0.15, 0.08, 60


class RealTime:
    """Stands where tests have a local platform: time passes by itself."""

    class clock:
        @staticmethod
        def advance(_duration):
            time.sleep(0.005)


def work(url, api_key, database, folder):
    """What one process does: everything, unless it dies."""
    with SqlStore(database) as store, client(url, api_key) as platform:
        loop = SIGNS.loop(platform, folder, store)
        loop.open(DECISION)
        drive(loop, RealTime, SIGNS, Callers(loop), calls=10_000)


def main():
    for attempt in range(MOST):
        child = os.fork()
        if not child:
            work(*sys.argv[1:])
            os._exit(0)
        deadline = time.monotonic() + SHORTEST_SECONDS + attempt * LONGER_SECONDS
        while time.monotonic() < deadline:
            done, code = os.waitpid(child, os.WNOHANG)
            if done:
                print(f"{attempt} killed, then code {code}")
                sys.exit(1 if code else 0)
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    sys.exit("it never came to its end")


if __name__ == "__main__":
    main()
