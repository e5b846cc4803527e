"""A line that says how far it is, for people at a terminal and for nobody else."""

import io
import sys

import pytest

from driftline.holdout import HoldoutValidator, _progress
from driftline.testing import Scenes, ShapeFinder


class Terminal(io.StringIO):
    def isatty(self):
        return True


def validated(monkeypatch, out, *, patience=0.0, **options):
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(_progress, "PATIENCE_SECONDS", patience)
    frames = list(Scenes(seed=1).frames(3))
    HoldoutValidator(frames, ShapeFinder(), replicates=2).validate(**options)
    return out.getvalue()


def test_terminal(monkeypatch):
    """At a terminal the line is written over and ended; the last says that all are done."""
    told = validated(monkeypatch, Terminal())

    assert told.startswith("\r[######..............] 1 of 3 frames\r")
    assert told.endswith("\r[####################] 3 of 3 frames\n")


@pytest.mark.parametrize(
    ("out", "options"),
    [(io.StringIO(), {}), (Terminal(), {"progress": False}), (Terminal(), {"patience": 1e6})],
)
def test_silent(monkeypatch, out, options):
    """A log or a pipe gets nothing, nor who asked for nothing, nor what is over soon."""
    assert "" == validated(monkeypatch, out, **options)


def test_asked_for(monkeypatch):
    """Who asks for it gets it anywhere, from the start."""
    assert "3 of 3 frames\n" in validated(monkeypatch, io.StringIO(), patience=1e6, progress=True)


def test_no_console(monkeypatch):
    """A process that has no standard error at all validates all the same."""
    monkeypatch.setattr(sys, "stderr", None)
    frames = list(Scenes(seed=1).frames(2))

    assert HoldoutValidator(frames, ShapeFinder(), replicates=2).validate().n_frames == 2


def test_broken_off(monkeypatch):
    """What is said of an error begins on a line of its own."""

    class Broken:
        def predict(self, image):
            self.asked = getattr(self, "asked", 0) + 1
            if self.asked > 1:
                msg = "out of memory"
                raise RuntimeError(msg)
            return ShapeFinder()(image)

    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(_progress, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="out of memory"):
        HoldoutValidator(list(Scenes(seed=1).frames(3)), Broken()).validate()

    assert out.getvalue().endswith("1 of 3 frames\n")
