"""The same counts, to the last one, on every engine that runs here."""

import runpy
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_kit import COLUMNS, ENGINES, START, expected, log_of, query

from driftline import Detections
from driftline.errors import InputError
from driftline.lake import DetectionLogger, profile_from_log

EXAMPLE = Path(__file__).parents[2] / "examples/lake_spark.py"
ONCE = [*(e for e in ENGINES if e != "spark"), pytest.param("spark", marks=pytest.mark.slow)]
"""Spark takes half a minute of a core: one of its tests is enough for every day."""


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("engine", ONCE)
def test_edges(engine, dtype, request):
    """Values at the edges of bins, and a few floats beside them, are counted as here."""
    arrays, table = log_of(1, 4000, dtype=dtype)
    with ENGINES[engine](table, request) as execute:
        counted = query(engine).profile(execute)

    assert expected(arrays) == counted


@pytest.mark.parametrize("engine", ENGINES)
def test_hostile(engine, request):
    """Boxes that cannot be counted are rejected for the same reasons."""
    arrays, table = log_of(2, 3000, hostile=True)
    with ENGINES[engine](table, request) as execute:
        counted = query(engine).profile(execute, invalid="count")
    profile = expected(arrays, invalid="count")

    assert profile.rejected == counted.rejected
    assert profile == counted


NAN = {
    "confidence": {"confidence": 1},
    **{side: {"box": 1} for side in ("x1", "y1", "x2", "y2")},
    **{side: {"outside": 1, "frame": 1} for side in ("width", "height")},
    "class_id": {"class": 1},
}
"""What a nan in a column is rejected as."""


def log_with_nan(column, folder, step):
    """A file of `DetectionLogger` with three boxes, the last of which has a nan.

    Where `step` is 0 the others are alike, for which an engine that trusts statistics has other rules.
    """
    with DetectionLogger(folder) as log:
        for i in range(3):
            side = 1 + i * step
            box = {"confidence": side / 8, "x1": side, "y1": side, "x2": 2 * side, "y2": 2 * side}
            if i == 2 and column in box:
                box[column] = np.nan
            log.observe(
                Detections(
                    xyxy=[[box[name] for name in ("x1", "y1", "x2", "y2")]],
                    confidence=[box["confidence"]],
                    class_id=[i * step],
                    image_size=(480 + i * step, 640 + i * step),
                ),
                camera="a",
                at=START,
            )
    (path,) = folder.glob("**/*.parquet")
    if column in ("width", "height", "class_id"):  # a log of one's own may hold doubles there
        table = pq.ParquetFile(path).read()
        values = pa.array([*table[column].to_pylist()[:2], np.nan], pa.float64())
        table = table.set_column(table.column_names.index(column), column, values)
        pq.write_table(table, path)
    return path


@contextmanager
def engine_of_file(engine, path, request):
    """Runs statements on a file; DuckDB and Polars read it themselves, with what it says of itself."""
    table = pq.ParquetFile(path).read(columns=list(COLUMNS))
    with ENGINES[engine](table, request) as execute:
        if engine == "polars":
            frames = pl.SQLContext(detections=pl.scan_parquet(path))
            yield lambda sql: frames.execute(sql, eager=True).rows()
        elif engine == "duckdb":
            with duckdb.connect() as connection:
                connection.read_parquet(str(path)).create_view("detections")
                yield lambda sql: connection.execute(sql).fetchall()
        else:
            yield execute


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("column", NAN)
@pytest.mark.parametrize("engine", [e for e in ONCE if e != "sqlite"])
def test_nan_is_no_number(engine, column, step, tmp_path, request):
    """A box with a nan is refused, or counted as rejected, also where a file's statistics hide it."""
    if engine == "postgres" and column == "class_id":
        pytest.skip("the column is of whole numbers there, which have no nan")
    path = log_with_nan(column, tmp_path / "log", step)
    with engine_of_file(engine, path, request) as execute:
        profile = query(engine).profile(execute, invalid="count")
        with pytest.raises(InputError, match="boxes of the log cannot be counted"):
            query(engine).profile(execute)

    assert NAN[column] == profile.rejected
    assert 2 == profile.boxes


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("column", NAN)
def test_nan_in_a_folder(column, step, tmp_path):
    """The same where the folder is counted as a whole."""
    log_with_nan(column, tmp_path, step)

    assert NAN[column] == profile_from_log(tmp_path, invalid="count", threads=1).rejected
    with pytest.raises(InputError, match="boxes of the log cannot be counted"):
        profile_from_log(tmp_path, threads=1)


@pytest.mark.parametrize("column", [c for c in NAN if c != "confidence"])
def test_nan_is_null_in_sqlite(column, tmp_path, request):
    """SQLite stores a nan as NULL, and the box is rejected for the same reason."""
    path = log_with_nan(column, tmp_path, 1)
    with engine_of_file("sqlite", path, request) as execute:
        assert NAN[column] == query("sqlite").profile(execute, invalid="count").rejected


def test_spark_example(spark, capsys):
    """The example for Spark runs to its end, in the session that is there."""
    assert spark is not None
    runpy.run_path(str(EXAMPLE), run_name="__main__")

    assert "the same as DuckDB counts" in capsys.readouterr().out
