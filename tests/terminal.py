"""A terminal that remembers what was written on it."""

import io
import sys

from driftline import _progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def at_a_terminal(monkeypatch, *, columns=120):
    """A person looks on from the first moment; what is written to the terminal is answered."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(_progress, "PATIENCE_SECONDS", 0.0)
    return screen
