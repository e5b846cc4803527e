"""Detections that hurt, as columns, as a table and as a profile; and the engines that count them."""

import os
import shutil
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from driftline import Profile
from driftline.lake import LogColumns, LogQuery
from driftline.profiles import (
    AREA,
    ASPECT,
    CENTER_X,
    CONFIDENCE,
    FRAME_CONFIDENCE,
    HEIGHT,
    WIDTH,
)

START = datetime(2026, 11, 2, tzinfo=UTC)
SIDE = 1920.0, 1080.0
COLUMNS = (
    *("timestamp", "camera", "frame_id", "class_id", "confidence"),
    *("x1", "y1", "x2", "y2", "width", "height"),
)


def near(values, rng, steps=3):
    """The values themselves, and floats up to some steps beside them."""
    out = np.array(values, dtype=np.float64)
    for _ in range(steps):
        out = np.where(rng.random(out.shape) < 0.5, out, np.nextafter(out, rng.choice([-9, 9])))
    return out


def at_edges(seed, n, dtype=np.float64):
    """``(confidence, xyxy, width, height)`` of n boxes of which each is near an edge of some bin."""
    rng = np.random.default_rng(seed)
    width, height = np.full(n, SIDE[0]), np.full(n, SIDE[1])
    odd = rng.random(n) < 0.2
    width[odd] = rng.integers(1, 5000, int(odd.sum()))
    height[odd] = rng.integers(1, 5000, int(odd.sum()))
    confidence = np.clip(near(rng.choice(CONFIDENCE.edges, n), rng), 0, 1)
    share_w = near(2 ** rng.choice(WIDTH.edges, n), rng)
    share_h = near(2 ** rng.choice(HEIGHT.edges, n), rng)
    kind = rng.integers(0, 4, n)
    on_area = np.clip(2 ** rng.choice(AREA.edges, n) / share_w, 0, 1)
    on_aspect = np.clip(share_w * width / height / 2 ** rng.choice(ASPECT.edges, n), 0, 1)
    share_h = np.select([kind == 0, kind == 1], [near(on_area, rng), near(on_aspect, rng)], share_h)
    x2, y2 = share_w * width, share_h * height
    x1, y1 = np.zeros(n), np.zeros(n)
    centered = kind == 3
    middle = near(rng.choice(CENTER_X.edges, n), rng) * width
    x1 = np.where(centered, middle - x2 / 2, x1)
    x2 = np.where(centered, middle + x2 / 2, x2)
    y1 = np.where(centered, y1 + rng.random(n) * height, y1)
    y2 = np.where(centered, y1 + y2, y2)
    xyxy = np.column_stack([x1, y1, x2, y2]).astype(dtype)
    return confidence.astype(dtype), xyxy, width, height


def frames_of(seed, n, cameras=("cam-1", "../b=c'/ü", "1e3")):
    """``(frame, camera, at, ids)``: which frame each of n boxes is of, and the frames."""
    rng = np.random.default_rng(seed)
    m = max(1, n // 4)
    frame = np.sort(rng.integers(0, m, n))
    camera = rng.choice(np.array(cameras, dtype=object), m)
    seconds = rng.integers(0, 3 * 86400, m)
    seconds[: m // 10] = 86400 * rng.integers(0, 3, m // 10)  # midnights
    at = [START + timedelta(seconds=int(s)) for s in seconds]
    ids = [f"{i % 7}-{i}" for i in range(m)]
    return frame, camera, at, ids


def log_of(seed, n, *, dtype=np.float64, hostile=False):
    """The arguments of `Profile.from_arrays`, and the same as rows of a log."""
    rng = np.random.default_rng(seed)
    confidence, xyxy, width, height = at_edges(seed, n, dtype)
    frame, camera, at, ids = frames_of(seed + 1, n)
    m = len(ids)
    # one size a frame: the box's own frame decides
    sizes = np.column_stack([np.full(m, SIDE[1]), np.full(m, SIDE[0])])
    first = np.unique(frame, return_index=True)
    sizes[first[0]] = np.column_stack([height, width])[first[1]]
    mates = rng.random(n) < 0.3  # means of a frame that lie on an edge
    confidence[mates] = (rng.integers(0, 100_001, int(mates.sum())) / 1e5).astype(dtype)
    ties = frame % 3 == 0
    confidence[ties] = np.clip(rng.choice(FRAME_CONFIDENCE.edges, m)[frame[ties]], 0, 1).astype(
        dtype
    )
    class_id = rng.integers(0, 5, n)
    inside = (xyxy[:, 0] <= sizes[frame, 1]) & (xyxy[:, 1] <= sizes[frame, 0])
    xyxy[~inside, :2] = 0
    if hostile:
        bad = rng.random(n) < 0.2
        xyxy[bad] = rng.choice([-1e10, -5.0, 0.0, 1e9, 1e9 + 200, 3.0], (int(bad.sum()), 4)).astype(
            dtype
        )
        worse = rng.random(n) < 0.05
        confidence[worse] = rng.choice([-1e-9, 1.0000001, np.inf, -0.0, 1.0], int(worse.sum()))
        class_id[rng.random(n) < 0.05] = rng.choice([-1, 65535, 65536])
        sizes[rng.random(m) < 0.03] = (0, 640)
        sizes[rng.random(m) < 0.02] = (480, 2e9)
    arrays = {
        "xyxy": xyxy,
        "confidence": confidence,
        "class_id": class_id,
        "frame": frame,
        "image_size": sizes,
        "camera": camera.tolist(),
        "at": at,
    }
    empty = np.setdiff1d(np.arange(m), frame)
    rows = np.concatenate([frame, empty])
    order = rng.permutation(len(rows))
    rows = rows[order]

    def boxes(values, kind):
        given = [*values.tolist(), *([None] * len(empty))]
        return pa.array([given[i] for i in order], kind)

    number = pa.from_numpy_dtype(dtype)
    table = pa.table(
        {
            "timestamp": pa.array([at[i] for i in rows], pa.timestamp("us", tz="UTC")),
            "camera": pa.array([camera[i] for i in rows]),
            "frame_id": pa.array([ids[i] for i in rows]),
            "class_id": boxes(class_id, pa.int64()),
            "confidence": boxes(confidence, number),
            **{name: boxes(xyxy[:, i], number) for i, name in enumerate(("x1", "y1", "x2", "y2"))},
            "width": pa.array(sizes[rows, 1]),
            "height": pa.array(sizes[rows, 0]),
        }
    )
    return arrays, table


# The engines -------------------------------------------------------------------------------


@contextmanager
def duckdb_engine(table, _request):
    import duckdb

    with duckdb.connect() as connection:
        connection.register("detections", table)
        yield lambda sql: connection.execute(sql).fetchall()


@contextmanager
def polars_engine(table, _request):
    pl = pytest.importorskip("polars", reason="NOT RUN ON POLARS: pip install polars")
    context = pl.SQLContext(detections=pl.from_arrow(table))
    yield lambda sql: context.execute(sql, eager=True).rows()


@contextmanager
def sqlite_engine(table, _request):
    connection = sqlite3.connect(":memory:")
    plain = table.set_column(
        0, "timestamp", pa.array([t.isoformat() for t in table["timestamp"].to_pylist()])
    )
    connection.execute(f"CREATE TABLE detections ({', '.join(COLUMNS)})")
    connection.executemany(
        f"INSERT INTO detections VALUES ({', '.join('?' * len(COLUMNS))})",
        zip(*(column.to_pylist() for column in plain.columns), strict=True),
    )
    try:
        yield lambda sql: connection.execute(sql).fetchall()
    finally:
        connection.close()


@contextmanager
def postgres_engine(table, request):
    import psycopg

    single = table.schema.field("confidence").type == pa.float32()
    number = "real" if single else "double precision"
    kinds = ("timestamptz", "text", "text", "bigint", *([number] * 5), *(["double precision"] * 2))
    typed = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, kinds, strict=True))
    with psycopg.connect(request.getfixturevalue("postgres").url()) as connection:
        connection.execute(f"CREATE TEMPORARY TABLE detections ({typed})")
        with connection.cursor() as cursor, cursor.copy("COPY detections FROM STDIN") as copy:
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                copy.write_row(row)
        yield lambda sql: connection.execute(sql).fetchall()
        connection.rollback()


@contextmanager
def spark_engine(table, request):
    import pyarrow.parquet as pq

    session = request.getfixturevalue("spark")
    folder = request.getfixturevalue("tmp_path")
    pq.write_table(table, folder / "log.parquet")
    session.read.parquet(str(folder / "log.parquet")).createOrReplaceTempView("detections")
    yield lambda sql: session.sql(sql).collect()


ENGINES = {
    "duckdb": duckdb_engine,
    "polars": polars_engine,
    "sqlite": sqlite_engine,
    "postgres": postgres_engine,
    "spark": spark_engine,
}


def missing(what):
    """Skip, saying so; in continuous integration fail instead."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def java():
    """The folder or program of Java, None where there is none."""
    return shutil.which("java") or os.environ.get("JAVA_HOME")


def query(dialect, **rest):
    return LogQuery(table="detections", dialect=dialect, columns=LogColumns(), **rest)


def expected(arrays, **rest):
    return Profile.from_arrays(**arrays, **rest)
