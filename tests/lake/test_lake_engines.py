"""The same counts, to the last one, on every engine that runs here."""

import numpy as np
import pytest
from lake_kit import ENGINES, expected, log_of, query


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("engine", ENGINES)
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
