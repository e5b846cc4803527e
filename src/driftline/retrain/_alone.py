"""One at a time on this machine, of all that would write to a folder."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from driftline.retrain._train_child import hold


@contextmanager
def alone(file: Path) -> Generator[bool]:
    """Whether nobody else on this machine is at it; a process that is killed lets go."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = hold(file)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
