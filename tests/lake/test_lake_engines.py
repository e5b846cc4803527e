"""The same counts, to the last one, on every engine that runs here."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from lake_kit import ENGINES, expected, log_of, query

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


def test_spark_example(spark, capsys):
    """The example for Spark runs to its end, in the session that is there."""
    assert spark is not None
    runpy.run_path(str(EXAMPLE), run_name="__main__")

    assert "the same as DuckDB counts" in capsys.readouterr().out
