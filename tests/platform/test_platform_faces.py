"""The blocking and the async face are one: names, signatures and words."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import driftline.platform
from driftline._http import AsyncHttpClient, HttpClient
from driftline.platform import (
    AsyncDatasets,
    AsyncEndpoint,
    AsyncModels,
    AsyncPlatformClient,
    AsyncTraining,
    Datasets,
    Endpoint,
    Models,
    PlatformClient,
    Training,
)

FACES = [
    (PlatformClient, AsyncPlatformClient),
    (Endpoint, AsyncEndpoint),
    (Datasets, AsyncDatasets),
    (Models, AsyncModels),
    (Training, AsyncTraining),
]


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("one", "other"), FACES)
def test_names(one, other):
    """Every public name of one is one of the other."""
    assert public(one) == public(other)


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [(*pair, name) for pair in FACES for name in sorted(public(pair[0]) | {"__init__"})],
)
def test_signatures(one, other, name):
    """Every signature of one is that of the other, but for what awaiting changes."""
    first, second = getattr(one, name), getattr(other, name)
    if not callable(first):
        return

    ours, theirs = inspect.signature(first), inspect.signature(second)
    swapped = {
        "AsyncIterator[LogEntry]": "Iterator[LogEntry]",
        "AsyncIterator[DatasetImage]": "Iterator[DatasetImage]",
        "AsyncRun": "Run",
        "AsyncEndpoint": "Endpoint",
        "AsyncHttpClient | None": "HttpClient | None",
        "Callable[[Image], Awaitable[Prediction]]": "Callable[[Image], Prediction]",
    }

    assert list(ours.parameters) == list(theirs.parameters)
    for mine, their in zip(ours.parameters.values(), theirs.parameters.values(), strict=True):
        assert (mine.kind, mine.default) == (their.kind, their.default)
        assert mine.annotation == swapped.get(their.annotation, their.annotation)
    assert ours.return_annotation == swapped.get(theirs.return_annotation, theirs.return_annotation)


@pytest.mark.parametrize(("one", "other"), FACES)
def test_awaiting(one, other):
    """Every method that asks the Platform is awaited in the async face; lists are iterated."""
    for name in public(one) - {"logs", "images", "context"}:
        if callable(getattr(one, name)):
            assert inspect.iscoroutinefunction(getattr(other, name)), name
            assert not inspect.iscoroutinefunction(getattr(one, name)), name


def test_injected_client_types():
    """Each face takes the httpx client of its kind."""
    import httpx

    assert (httpx.Client, httpx.AsyncClient) == (HttpClient, AsyncHttpClient)


def test_all():
    """What the package offers is what its `__all__` says, sorted."""
    names = driftline.platform.__all__
    offered = {
        name
        for name, value in vars(driftline.platform).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert set(names) == offered
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))


@pytest.mark.parametrize(
    "module",
    [info.name for info in pkgutil.iter_modules(driftline.platform.__path__)],
)
def test_doctests(module):
    """The examples in the docstrings are true."""
    failed, _ = doctest.testmod(importlib.import_module(f"driftline.platform.{module}"))

    assert 0 == failed
