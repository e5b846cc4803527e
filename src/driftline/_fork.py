"""What was made before a fork and is used after it, as under ``gunicorn --preload``.

A lock may be held at the fork by a thread that the child does not have, a connection is the
parent's, and what was collected is the parent's to hand in. So in the child such objects begin
anew. Where processes cannot fork (Windows) there is nothing to do; spawned ones share nothing.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object with locks, connections or collected numbers of its own."""

    def _begin_anew(self) -> None:
        """Hold no lock, no connection, and nothing that the parent will hand in."""


_MADE: weakref.WeakSet[Forkable] = weakref.WeakSet()


def begin_anew_after_fork(one: Forkable) -> None:
    """Let an object begin anew in every child that is forked while it lives."""
    _MADE.add(one)


def _forked() -> None:
    for one in _MADE:
        one._begin_anew()  # noqa: SLF001  private to users, not to the package


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
