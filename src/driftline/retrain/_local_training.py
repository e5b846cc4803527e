"""A training on this machine: a folder that says what is asked, a child that outlives us.

Whoever opens the folder later, in whatever process, finds how far it is: the child holds a lock
while it lives, ultralytics writes a row an epoch, and the result comes last and whole.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from driftline._files import placing_folder
from driftline.errors import ModelError
from driftline.holdout._local import child_environment
from driftline.retrain._train_child import hold

__all__ = ["ATTEMPTS", "BASE", "DATASET", "TrainingFolder"]

ATTEMPTS: Final = 3
"""How often a training is started whose process was killed: what kills it thrice will do so again."""

BASE: Final = "base.pt"
"""The weights that a training starts from, in its folder."""
DATASET: Final = "dataset"
"""The folder of what it learns from, in its folder."""

_CHILD: Final = Path(__file__).with_name("_train_child.py")
_START_SECONDS = 30.0
_CANCEL_SECONDS = 30.0
_POLL_SECONDS = 0.05
_TAIL = 2000


@frozen
class TrainingFolder:
    """The folder of one training.

    Attributes:
        folder: where it is.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether it was asked for."""
        return (self.folder / "request.json").is_file()

    @property
    def cancelled(self) -> bool:
        """Whether somebody stopped it."""
        return (self.folder / "cancelled").exists()

    @property
    def alive(self) -> bool:
        """Whether its process lives."""
        descriptor = hold(self.folder / "lock")
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    @property
    def request(self) -> dict[str, Any]:
        """What is asked."""
        return _json(self.folder / "request.json")

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of it; None before the end."""
        path = self.folder / "result.json"
        return _json(path) if path.is_file() else None

    @property
    def attempts(self) -> int:
        """Processes that began with it."""
        return len(self._pids())

    @property
    def pid(self) -> int | None:
        """Id of its process, for people to look at; None where it does not live."""
        return int(self._pids()[-1]) if self.alive and self._pids() else None

    def _pids(self) -> list[str]:
        path = self.folder / "attempts"
        return path.read_text(encoding="ascii").split() if path.is_file() else []

    def rows(self) -> list[dict[str, float]]:
        """One row an epoch, as ultralytics writes them; one that is half written is left out.

        A row comes before the checkpoint: an epoch whose checkpoint was lost is trained again, and
        its second row counts.
        """
        path = self.folder / "run" / "results.csv"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for raw in csv.DictReader(file) if (row := _numbers(raw))]
        return list({row["epoch"]: row for row in rows}.values())

    def said(self) -> str:
        """The end of what the process said."""
        path = self.folder / "log"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return text[-_TAIL:].strip()

    @contextmanager
    def asking(self, request: Mapping[str, Any]) -> Generator[Path]:
        """Make the folder, whole or not at all; where another process was first, its own stays.

        Args:
            request: what is asked.

        Yields:
            The folder in the making, for the weights (`BASE`) and the dataset (`DATASET`).
        """
        with placing_folder(self.folder) as part:
            for name in ("home", "cwd"):
                (part / name).mkdir()
            yield part
            (part / "request.json").write_text(json.dumps(request), encoding="utf-8")

    def start(self) -> None:
        """See that its process lives, unless it is over; there is never a second one.

        Raises:
            ModelError: it did not start.
        """
        if self.cancelled or self.result is not None or self.alive:
            return
        before, request = self.attempts, self.request
        with (self.folder / "log").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own file, no shell
                [sys.executable, "-I", str(_CHILD), str(self.folder), *_paths()],
                cwd=self.folder / "cwd",
                env=child_environment(
                    self.folder / "home",
                    threads=request["threads"],
                    trust_pickle=not request["safe"],
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if sys.platform != "win32":
            child.wait()  # it has left the training to a process of its own
        deadline = time.monotonic() + _START_SECONDS
        while not self._began(before):
            if time.monotonic() > deadline:
                msg = f"the training in {str(self.folder)!r} did not start: {self.said() or 'nothing said'}"
                raise ModelError(msg)
            time.sleep(_POLL_SECONDS)

    def _began(self, before: int) -> bool:
        """Whether a process began since, or need not any more."""
        return self.attempts > before or self.result is not None or self.cancelled

    def cancel(self) -> None:
        """Stop it for good, and wait until its process is gone.

        Raises:
            ModelError: the process does not end.
        """
        if self.result is not None:
            return
        (self.folder / "cancelled").touch()
        deadline = time.monotonic() + _CANCEL_SECONDS
        while self.alive:
            if time.monotonic() > deadline:
                msg = f"the training in {str(self.folder)!r} (process {self.pid}) does not end"
                raise ModelError(msg)
            time.sleep(_POLL_SECONDS)


def _paths() -> list[str]:
    """Packages are found where this process finds them, the working directory left out."""
    return [path for path in sys.path if path and Path(path).is_absolute()]


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _numbers(raw: Mapping[str | None, Any]) -> dict[str, float]:
    """A row of numbers; empty where one is missing or half."""
    try:
        row = {str(name).strip(): float(value) for name, value in raw.items()}
    except (TypeError, ValueError):
        return {}
    return row if "epoch" in row else {}
