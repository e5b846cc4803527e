"""From a log in Parquet to a drift report, with DuckDB inside this process.

Run it as it is: ``python examples/lake_duckdb.py``. It logs three weeks of two cameras, the last of
them seen through a dirty lens, and compares that week with the two before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from driftline import Detections, DriftDetector
from driftline.lake import DetectionLogger, profile_from_log
from driftline.records import Context

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
WEEK = timedelta(days=7)


def write_log(folder: Path) -> None:
    """Three weeks, a frame every five minutes of each camera; less confidence in the last."""
    rng = np.random.default_rng(7)
    with DetectionLogger(folder, context=Context(model="line-3", conf=0.1)) as log:
        for minute in range(0, 3 * 7 * 1440, 5):
            at = MONDAY + timedelta(minutes=minute)
            dirty = at >= MONDAY + 2 * WEEK
            for camera in ("cam-1", "cam-2"):
                corner = rng.random((rng.integers(0, 6), 2)) * 400
                found = Detections(
                    xyxy=np.hstack([corner, corner + 20 + rng.random(corner.shape) * 100]),
                    confidence=rng.beta(3.4 if dirty else 5, 2, len(corner)),
                    class_id=rng.integers(0, 3, len(corner)),
                    image_size=(640, 640),
                )
                log.observe(found, camera=camera, at=at)


def main() -> None:
    with TemporaryDirectory() as scratch:
        logs = Path(scratch) / "logs"
        write_log(logs)
        before = profile_from_log(logs, end=MONDAY + 2 * WEEK)
        week = profile_from_log(logs, start=MONDAY + 2 * WEEK)
        print(DriftDetector(reference=before).compare(week))


if __name__ == "__main__":
    main()
