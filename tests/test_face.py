"""The public face: what it offers, and that looking at it costs nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import driftline


def test_all_sorted():
    """The public names are listed in order, once each."""
    assert sorted(set(driftline.__all__)) == driftline.__all__


def test_all_load():
    """Every public name can be reached, and says that it lives in driftline."""
    for name in driftline.__all__:
        value = getattr(driftline, name)

        if isinstance(value, type):
            assert value.__module__.startswith("driftline")


def test_all_have_a_home():
    """The reference tells where each public name is documented."""
    page = Path(__file__).parent.parent / "docs/reference/index.md"
    told = set(re.findall(r"`(\w+)`", page.read_text(encoding="utf-8")))

    assert set() == set(driftline.__all__) - told


def test_dir_is_all():
    """Completion in a notebook shows the public names only."""
    assert set(driftline.__all__) == set(dir(driftline))


def test_unknown_name():
    """A name that does not exist is an AttributeError that tells which."""
    with pytest.raises(AttributeError, match="no attribute 'Monitr'"):
        getattr(driftline, "Monitr")  # noqa: B009 - the name is meant to be wrong


def test_import_is_light():
    """Importing the package loads neither numpy nor scipy nor an HTTP client."""
    code = (
        "import sys, driftline;"
        "print(sorted({'numpy','scipy','httpx','asyncio','torch'} & set(sys.modules)))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=1200
    )

    assert "[]" == seen.stdout.strip()


def test_core_never_loads_scipy_stats():
    """Reaching every public name loads neither scipy.stats nor any extra."""
    code = (
        "import sys, driftline; [getattr(driftline, name) for name in driftline.__all__];"
        "print(sorted({'scipy.stats','matplotlib','PIL','torch','datadog_api_client'}"
        " & set(sys.modules)))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=1200
    )

    assert "[]" == seen.stdout.strip()


def test_error_tree_is_drawn():
    """The drawing in the docstring of errors names every error class."""
    missing = [name for name in driftline.errors.__all__ if name not in driftline.errors.__doc__]

    assert [] == missing


def test_error_tree_has_one_root():
    """One except clause catches all that Driftline raises on purpose."""
    strangers = [
        name
        for name in driftline.errors.__all__
        if not issubclass(getattr(driftline.errors, name), driftline.errors.DriftlineError)
    ]

    assert [] == strangers
