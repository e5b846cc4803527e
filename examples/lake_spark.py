"""Count a detection log where Spark keeps it: the same statement, the same counts.

Run it as it is: ``python examples/lake_spark.py`` (needs pyspark and Java 17 or newer; here Spark
runs inside this machine). On a cluster only ``session`` differs: the log stays where it is, and what
comes back is a row a count.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pyspark.sql import SparkSession

from driftline import Detections
from driftline.lake import DetectionLogger, LogColumns, LogQuery, profile_from_log

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def write_log(folder: Path) -> None:
    """A day of two cameras."""
    rng = np.random.default_rng(7)
    with DetectionLogger(folder) as log:
        for minute in range(1440):
            corner = rng.random((rng.integers(0, 6), 2)) * 400
            found = Detections(
                xyxy=np.hstack([corner, corner + 20 + rng.random(corner.shape) * 100]),
                confidence=rng.beta(5, 2, len(corner)),
                class_id=rng.integers(0, 3, len(corner)),
                image_size=(640, 640),
            )
            log.observe(found, camera=f"cam-{minute % 2}", at=MONDAY + timedelta(minutes=minute))


def main() -> None:
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    with TemporaryDirectory() as scratch:
        logs = Path(scratch) / "logs"
        write_log(logs)
        session.read.parquet(str(logs)).createOrReplaceTempView("detections")
        query = LogQuery(table="detections", dialect="spark", columns=LogColumns(context="context"))
        profile = query.profile(lambda sql: session.sql(sql).collect())
        print(profile)
        same = profile == profile_from_log(logs)
        print("the same as DuckDB counts" if same else "DIFFERENT from what DuckDB counts")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
