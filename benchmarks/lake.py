"""What counting a detection log costs as it grows, beside what a user would reach for instead.

Run it as a script: ``python benchmarks/lake.py`` (needs the extra ``lake``, pandas and Polars; 1e8
boxes take 4 GB of disk, in a temporary folder, and an hour). Every tool works in a process of its
own, so that its peak memory is its own; what needs more than ``--limit-gb`` is ended and said so.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 11, 2, tzinfo=UTC)
CAMERAS, PER_FRAME, CLASSES = 4, 5, 10


def write_log(folder: Path, boxes: int, days: int) -> None:
    """Some days of four cameras, five boxes a frame, as `DetectionLogger` lays it out."""
    import duckdb

    each = boxes // (days * CAMERAS)
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute("CREATE MACRO px(v) AS CAST(CAST(v AS FLOAT) AS DOUBLE)")  # a detector's
        for day in range(days):
            for camera in range(CAMERAS):
                begin = START + timedelta(days=day)
                place = folder / f"day={begin:%Y-%m-%d}" / f"cam=cam-{camera}"
                place.mkdir(parents=True)
                connection.execute(f"""
COPY (SELECT TIMESTAMPTZ '{begin.isoformat()}'
+ to_microseconds(CAST((i // {PER_FRAME}) * (86400e6 / {each} * {PER_FRAME}) AS BIGINT)) AS timestamp,
'cam-{camera}' AS camera, '{day}-{camera}-' || (i // {PER_FRAME}) AS frame_id,
CAST(random() * random() * {CLASSES} AS BIGINT) AS class_id,
round(0.25 + 0.75 * sqrt(random()), 5) AS confidence, x1, y1, x1 + w AS x2, y1 + h AS y2,
1920 AS width, 1080 AS height, '{{"conf": 0.25, "imgsz": 640}}' AS context
FROM (SELECT i, px(random() * 1500) AS x1, px(random() * 800) AS y1,
px(exp(1 + random() * 4)) AS w, px(exp(1 + random() * 4)) AS h FROM range({each}) AS t(i)))
TO '{place / "0.parquet"}' (FORMAT parquet, COMPRESSION zstd)""")


def driftline(folder: str) -> object:
    """All nine features by camera, day and class."""
    from driftline.lake import profile_from_log

    profile = profile_from_log(folder)
    return profile.boxes, profile.frames, int(profile.counts("area").argmax())


def polars(folder: str) -> object:
    """The same statement, in Polars."""
    import polars as pl

    from driftline.lake import LogQuery

    log = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=False)
    context = pl.SQLContext(detections=log)
    profile = LogQuery(table="detections", dialect="polars").profile(
        lambda sql: context.execute(sql).collect(engine="streaming").rows()
    )
    return profile.boxes, profile.frames, int(profile.counts("area").argmax())


def pandas(folder: str) -> object:
    """The same counts as one would write them with pandas: read, bin, group."""
    import numpy as np
    import pandas as pd

    log = pd.read_parquet(
        folder,
        columns=[
            *("timestamp", "camera", "frame_id", "class_id", "confidence"),
            *("x1", "y1", "x2", "y2", "width", "height"),
        ],
    )
    log["camera"] = log["camera"].astype("category")
    log["period"] = log["timestamp"].dt.floor("D")
    wide = np.log2((log["x2"] - log["x1"]) / log["width"])
    high = np.log2((log["y2"] - log["y1"]) / log["height"])
    bins = {
        "confidence": np.floor((log["confidence"] + 0.000005) * 1000),
        "area": np.floor((wide + high) * 32 + 768.5),
        "width": np.floor(wide * 32 + 384.5),
        "height": np.floor(high * 32 + 384.5),
        "aspect": np.floor((wide - high + np.log2(log["width"] / log["height"])) * 32 + 192.5),
        "center_x": np.floor((log["x1"] + log["x2"]) / log["width"] * 50),
        "center_y": np.floor((log["y1"] + log["y2"]) / log["height"] * 50),
    }
    block = [log["period"], log["camera"], log["class_id"]]
    counts = {
        name: log.groupby([*block, values.astype("int16").rename("bin")], observed=True).size()
        for name, values in bins.items()
    }
    frames = log.groupby(["period", "camera", "timestamp", "frame_id"], observed=True)["confidence"]
    means = frames.agg(["size", "mean"])
    return int(counts["confidence"].sum()), len(means), 0


def scipy(folder: str) -> object:
    """No counts: a KS test of the raw confidences and areas, the first days against the rest."""
    import numpy as np
    import pyarrow.parquet as pq
    from scipy.stats import ks_2samp

    sides, every = [], sorted(Path(folder).iterdir())
    middle = (len(every) + 1) // 2
    for days in (every[:middle], every[middle:]):
        parts = [
            pq.read_table(file, columns=["confidence", "x1", "y1", "x2", "y2"], partitioning=None)
            for day in days
            for file in day.glob("*/*.parquet")
        ]
        column = {
            n: np.concatenate([p[n].to_numpy() for p in parts]) for n in parts[0].column_names
        }
        area = (column["x2"] - column["x1"]) * (column["y2"] - column["y1"])
        sides.append((column["confidence"], area))
    (a, b), (c, d) = sides
    return float(ks_2samp(a, c).statistic), float(ks_2samp(b, d).statistic), len(a) + len(c)


def duckdb_confidence(folder: str) -> object:
    """One feature by hand in DuckDB: confidence by camera, day and class."""
    import duckdb

    with duckdb.connect() as connection:
        rows = connection.execute(f"""
SELECT camera, epoch_us(timestamp) // 86400000000, class_id, floor((confidence + 0.000005) * 1000), count(*)
FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = false) GROUP BY ALL""").fetchall()
    return sum(row[-1] for row in rows), 0, 0


TOOLS: dict[str, Callable[[str], object]] = {
    "driftline": driftline,
    "polars": polars,
    "pandas": pandas,
    "scipy": scipy,
    "duckdb_confidence": duckdb_confidence,
}


def child(tool: str, folder: str, limit_gb: float) -> None:
    """Run one tool here, and print what it took."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gb * 2**30), resource.RLIM_INFINITY))
    began = time.perf_counter()
    found = TOOLS[tool](folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "wall": time.perf_counter() - began,
                "cpu": used.ru_utime + used.ru_stime,
                "mb": used.ru_maxrss / 1024,
                "found": found,
            }
        )
    )


def measured(tool: str, folder: Path, limit_gb: float) -> str:
    command = [sys.executable, __file__, "--child", tool, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--limit-gb", str(limit_gb)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1][:60]
        return f"failed within {limit_gb:g} GB: {last}"
    took = json.loads(done.stdout.splitlines()[-1])
    return f"{took['wall']:.1f} | {took['cpu']:.1f} | {took['mb']:.0f} | {took['found']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--days", type=int, default=7, help="that a log has, whatever its size")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--limit-gb", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, help="keep the logs here, and use those that are")
    parser.add_argument("--child", choices=list(TOOLS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, str(arguments.folder), arguments.limit_gb)
        return
    print("boxes | file MB | tool | wall s | CPU s | peak MB | found")
    with tempfile.TemporaryDirectory() as scratch:
        for boxes in map(int, arguments.sizes):
            folder = (arguments.folder or Path(scratch)) / str(boxes)
            if not folder.exists():
                write_log(folder, boxes, arguments.days)
            size = sum(file.stat().st_size for file in folder.glob("**/*.parquet")) / 1e6
            for tool in arguments.tools:
                result = measured(tool, folder, arguments.limit_gb)
                print(f"{boxes:,} | {size:.0f} | {tool} | {result}", flush=True)


if __name__ == "__main__":
    main()
