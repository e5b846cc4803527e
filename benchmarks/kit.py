"""What several benchmarks share: CPU seconds of work here, and of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from driftline import Alert, Receipt

T = TypeVar("T")

QUIET = os.environ | dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


def cpu(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of some work, of all threads, and what it answers."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


class Discard:
    """A sink that takes everything and keeps nothing."""

    name = "discard"

    def send(self, alert: Alert) -> Receipt:
        """Take an alert."""
        del alert
        return Receipt(sink=self.name)


@dataclass(frozen=True, kw_only=True)
class Process:
    """What a process cost: CPU seconds (user and system), peak memory, modules that it loaded."""

    cpu_seconds: float
    peak_mb: float
    modules: int


_REPORT = """
import json, resource, sys
spent = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:  # ru_maxrss would begin with the peak of the parent
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps([spent.ru_utime + spent.ru_stime, peak / 1024, len(sys.modules)]))
"""


def process(
    code: str, *, python: Path | str = sys.executable, flags: Sequence[str] = ()
) -> Process:
    """Run some code in a Python of its own, away from this folder (Linux)."""
    done = subprocess.run(
        [str(python), *flags, "-P", "-c", f"{code}\n{_REPORT}"],
        check=True,
        capture_output=True,
        text=True,
        env=QUIET,
        cwd="/",
        timeout=300,
    )
    seconds, peak, modules = json.loads(done.stdout.splitlines()[-1])
    return Process(cpu_seconds=seconds, peak_mb=peak, modules=modules)
