"""How far it is, in one line for a person who waits at a terminal."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import Final, Self

from driftline._fork import begin_anew_after_fork

PATIENCE_SECONDS: Final = 2.0
"""What takes no longer needs no line."""
_CELLS: Final = 20


class _Line:
    """The one line of a terminal: one writes on it, and others when that one is done."""

    def __init__(self) -> None:
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """At birth, and in a forked process, where nobody writes yet."""
        self.writer = threading.Lock()


_LINE: Final = _Line()


class Progress:
    """A line on standard error that is written over; logs and pipes get none.

    Of several that are to be told at once, in threads, in tasks or one within another, the one
    that spoke first is, and the next when it has ended.

    Args:
        shown: True: from the start; False: never; None: from two seconds on, where standard
            error is a terminal.
    """

    def __init__(self, *, shown: bool | None) -> None:
        self._on = _at_a_terminal() if shown is None else shown
        self._starts = time.monotonic() + (PATIENCE_SECONDS if shown is None else 0.0)
        self._told = ""
        self._held: threading.Lock | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the line, so that what follows begins on its own."""
        if self._held is not None:
            sys.stderr.write("\n")
            self._held.release()

    def tell(self, text: str) -> None:
        """Say where it is, in as much of the text as one row of the terminal holds."""
        if not self._on or time.monotonic() < self._starts or not self._has_the_line():
            return
        row = _row(text)
        if row != self._told:
            sys.stderr.write(f"\r{row:<{len(self._told)}}")
            sys.stderr.flush()
            self._told = row

    def _has_the_line(self) -> bool:
        if self._held is None and (line := _LINE.writer).acquire(blocking=False):
            self._held = line
        return self._held is not None


def bar(done: int, whole: int, what: str) -> str:
    """So many of how many, with a bar.

    >>> bar(5, 20, "frames")
    '[#####...............] 5 of 20 frames'
    """
    full = _CELLS * done // max(1, whole)
    return f"[{'#' * full}{'.' * (_CELLS - full)}] {done} of {whole} {what}"


def _row(text: str) -> str:
    """What can be written over by a carriage return: one row, and nothing that moves the cursor."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain[: shutil.get_terminal_size().columns - 1]


def _at_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()  # None: a process without a console
