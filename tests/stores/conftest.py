"""Stores of each kind, each empty."""

import pytest

from driftline.stores import MemoryStore, SqlStore


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/d.db"
    return request.getfixturevalue("postgres").new_schema()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path}/d.db"
    else:
        found = request.getfixturevalue("postgres").new_schema()
    with SqlStore(found) as opened:
        yield opened
