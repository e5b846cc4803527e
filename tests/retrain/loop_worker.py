"""One process of a retraining that is killed over and over: ``loop_worker.py URL KEY DB FOLDER``.

It forks, so that a killed worker costs no start of an interpreter: each child drives the loop, and
is killed with -9 while it makes one of its calls, or soon after; each gets a little further.
"""

import os
import signal
import sys
import time

import httpx
import scipy.special  # noqa: F401 - loaded once, not by every child
from loop_kit import DECISION
from loop_signs import Callers, Signs, client, drive

from driftline.stores import SqlStore

SIGNS = Signs()
FEWEST_CALLS, MORE_CALLS, MOST = 3, 4, 60


class RealTime:
    """Stands where tests have a local platform: time passes by itself."""

    class clock:
        @staticmethod
        def advance(_duration):
            time.sleep(0.005)


class Told(httpx.Client):
    """HTTP that tells of every call but predictions, which change nothing."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def send(self, request, **options):
        if not request.url.path.endswith("/predict"):
            os.write(self.pipe, b".")
        return super().send(request, **options)


def work(pipe, url, api_key, database, folder):
    """What one process does: everything, unless it dies."""
    with (
        SqlStore(database) as store,
        Told(pipe) as wire,
        client(url, api_key, http_client=wire) as platform,
    ):
        loop = SIGNS.loop(platform, folder, store)
        loop.open(DECISION)
        drive(loop, RealTime, SIGNS, Callers(loop), calls=10_000)


def calls_until(most, pipe):
    """Wait for so many calls of a child; whether it made them before it ended."""
    made = 0
    while made < most and (told := os.read(pipe, most - made)):
        made += len(told)
    return made == most


def main():
    for attempt in range(MOST):
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            work(theirs, *sys.argv[1:])
            os._exit(0)
        os.close(theirs)
        if calls_until(FEWEST_CALLS + attempt * MORE_CALLS, ours):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(ours)
        if not os.WIFSIGNALED(status):
            print(f"{attempt} killed, then code {status}")
            sys.exit(1 if status else 0)
    sys.exit("it never came to its end")


if __name__ == "__main__":
    main()
