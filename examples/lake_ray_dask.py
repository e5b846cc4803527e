"""Count detections on many workers and merge: a profile is what each of them sends back.

Run it as it is: ``python examples/lake_ray_dask.py``. It makes a log of a week, gives each day to a
worker of Dask and of Ray (whichever is installed), and checks that the merged profile is the one
that DuckDB counts from the whole log. Profiles pickle, and merging is addition: neither the order
of the workers nor how the log is cut changes a count.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from driftline import Detections, Profile
from driftline.lake import DetectionLogger, profile_from_log

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def write_log(folder: Path) -> None:
    """A week of two cameras."""
    rng = np.random.default_rng(7)
    with DetectionLogger(folder) as log:
        for minute in range(0, 7 * 1440, 10):
            corner = rng.random((rng.integers(0, 6), 2)) * 400
            found = Detections(
                xyxy=np.hstack([corner, corner + 20 + rng.random(corner.shape) * 100]),
                confidence=rng.beta(5, 2, len(corner)),
                class_id=rng.integers(0, 3, len(corner)),
                image_size=(640, 640),
            )
            log.observe(
                found, camera=f"cam-{minute // 10 % 2}", at=MONDAY + timedelta(minutes=minute)
            )


def count(day: str) -> Profile:
    """What a worker does: count the files of a day, on one core."""
    return profile_from_log(day, threads=1)


def with_dask(days: Sequence[str]) -> Profile:
    from dask.base import compute  # noqa: PLC0415  one of the two may be missing
    from dask.delayed import delayed  # noqa: PLC0415

    parts = compute(*[delayed(count)(day) for day in days], scheduler="threads")
    return Profile.merge(*parts)


def with_ray(days: Sequence[str]) -> Profile:
    import ray  # noqa: PLC0415

    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1")
    try:
        remote = ray.remote(count)
        return Profile.merge(*ray.get([remote.remote(day) for day in days]))
    finally:
        ray.shutdown()


def main() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home otherwise
    workers: dict[str, Callable[[Sequence[str]], Profile]] = {"dask": with_dask, "ray": with_ray}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "logs"
        write_log(folder)
        whole = profile_from_log(folder)
        print(f"DuckDB, the whole log: {whole!r}")
        for name, work in workers.items():
            if importlib.util.find_spec(name) is None:
                print(f"{name}: NOT RUN, it is not installed (pip install {name})")
                continue
            merged = work(sorted(str(day) for day in folder.iterdir()))
            print(f"{name}, a day a task: {'the same' if merged == whole else 'DIFFERENT'}")
            if merged != whole:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
