"""Both faces of the Platform client, over a script in place of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from platform_server import Face, Script


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Iterator[Callable[..., Face]]:
    """``face(script)``: a client that asks the script; each test runs over both faces."""
    made: list[Face] = []

    def make(script: Script, **options: Any) -> Face:
        made.append(Face(request.param, script, **options))
        return made[-1]

    yield make
    for one in made:
        one.shut()
