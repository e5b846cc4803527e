"""A line that says how far it is, for people at a terminal and for nobody else."""

import io
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from driftline import Evidence, HoldoutValidator, RetrainPolicy, _progress
from driftline.testing import Scenes, ShapeFinder
from terminal import Terminal, at_a_terminal


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

    out = at_a_terminal(monkeypatch)
    with pytest.raises(RuntimeError, match="out of memory"):
        HoldoutValidator(list(Scenes(seed=1).frames(3)), Broken()).validate()

    assert out.getvalue().endswith("1 of 3 frames\n")


@pytest.mark.parametrize("text", ["x" * 60, "a\nb\x1b[2J" + "c" * 60])
def test_one_row(text, monkeypatch):
    """What a terminal could not write over is cut to its width, and nothing moves the cursor."""
    screen = at_a_terminal(monkeypatch, columns=20)
    with _progress.Progress(shown=None) as line:
        line.tell(text)
        line.tell(text + " and more that nobody sees")

    assert ("\r" + text.replace("\n", " ").replace("\x1b", " ")[:19] + "\n") == screen.getvalue()


def test_one_line(monkeypatch):
    """Who spoke first has the line until it has ended; who waited for it goes on from there."""
    screen = at_a_terminal(monkeypatch)
    with _progress.Progress(shown=None) as other:
        with _progress.Progress(shown=None) as first:
            first.tell("first 1")
            other.tell("other 1")
            first.tell("first 2")
        other.tell("other 2")

    assert "\rfirst 1\rfirst 2\n\rother 2\n" == screen.getvalue()


def test_who_says_nothing_has_no_line(monkeypatch):
    """Who is never told, or not yet, keeps nobody from the line."""
    screen = at_a_terminal(monkeypatch)
    with _progress.Progress(shown=False) as silent, _progress.Progress(shown=None) as line:
        silent.tell("silent")
        line.tell("line")

    assert "\rline\n" == screen.getvalue()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_with_a_line(monkeypatch):
    """A process that was forked while its parent wrote has a line of its own."""
    screen = at_a_terminal(monkeypatch)
    reader, writer = os.pipe()
    with _progress.Progress(shown=None) as parents:
        parents.tell("parent")
        if not (child := os.fork()):
            with _progress.Progress(shown=None) as line:
                line.tell("child")
            os.write(writer, screen.getvalue().encode())
            os._exit(0)
        os.waitpid(child, 0)

    assert b"\rparent\rchild\n" == os.read(reader, 100)
    os.close(reader)
    os.close(writer)


def test_backtest(monkeypatch):
    """A replay under many thresholds says how many of them are done."""
    screen = at_a_terminal(monkeypatch)
    start = datetime(2026, 1, 5, tzinfo=UTC)
    history = [Evidence(at=start + week * timedelta(weeks=1)) for week in range(3)]
    RetrainPolicy().backtest(history, thresholds={"minimum_gain": [0.02, 0.03, 0.04]})

    assert screen.getvalue().endswith("3 of 3 choices of thresholds\n")
