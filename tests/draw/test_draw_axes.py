"""Pictures on matplotlib axes."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import matplotlib as mpl
import numpy as np
import pytest

from driftline._draw import DARK, LIGHT, Axis, Band, Bar, Dots, Line, Picture, Rule, days, plot
from driftline.errors import MissingExtra

mpl.use("agg")

from matplotlib import pyplot as plt  # after the backend
from matplotlib.figure import Figure


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def picture(*marks, **axes):
    given = {"x": Axis(label="time, s"), "y": Axis(label="latency, ms")} | axes
    return Picture(title="p95 holds at $200$ ms", detail="7 days", marks=marks, **given)


def test_title_and_units():
    """The title is the conclusion and the axes name what they show; a dollar is a dollar."""
    ax = plot(picture(Line(x=[0, 1], y=[1, 2])))

    assert r"p95 holds at \$200\$ ms" == ax.get_title(loc="left")
    assert ("time, s", "latency, ms") == (ax.get_xlabel(), ax.get_ylabel())


def test_data_is_what_is_drawn():
    """Lines and points hold the very numbers that were given."""
    ax = plot(picture(Line(x=[0, 1, 2], y=[5, 6, 7]), Dots(x=[0, 2], y=[1, 3], label="seen")))
    line, dots = ax.lines

    assert [[0, 5], [1, 6], [2, 7]] == line.get_xydata().tolist()
    assert [[0, 1], [2, 3]] == dots.get_xydata().tolist()
    assert ["seen"] == [text.get_text() for text in ax.get_legend().get_texts()]


def test_bars_and_bands():
    """Bars last from start to end in their row, bands reach from low to high."""
    names = Axis(label="", scale="names", names=["a", "b"])
    ax = plot(picture(Bar(row=1, start=2, end=5), y=names))
    bar = ax.patches[0]

    assert (2, 3) == (bar.get_x(), bar.get_width())
    assert ["a", "b"] == [label.get_text() for label in ax.get_yticklabels()]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top

    band = plot(picture(Band(x=[0, 1], low=[0, 1], high=[2, 3]))).collections[0]

    assert (0, 3) == (
        band.get_paths()[0].vertices[:, 1].min(),
        band.get_paths()[0].vertices[:, 1].max(),
    )


def test_given_axes_are_all_that_is_touched():
    """On axes of the user's, no figure is made and none becomes current."""
    ax = Figure().add_subplot()

    assert ax is plot(picture(Rule(at=1, text="budget")), ax)
    assert [] == plt.get_fignums()


def test_one_figure_of_its_own():
    """Without axes there is one new figure, which a notebook shows."""
    plot(picture())

    assert 1 == len(plt.get_fignums())


@pytest.mark.parametrize(
    ("ground", "palette"), [("black", DARK), ("white", LIGHT), ("none", LIGHT)]
)
def test_colours_follow_the_ground(ground, palette):
    """On dark axes the light colours are used."""
    ax = Figure(facecolor="white").add_subplot(facecolor=ground)
    plot(picture(Line(x=[0, 1], y=[0, 1], role="current")), ax)

    assert palette["current"] == ax.lines[0].get_color()


@pytest.mark.parametrize("minutes", [1, 7, 45, 200, 2000, 20_000, 200_000, 3_000_000])
def test_any_span_of_time(minutes):
    """An axis of a minute and one of years draw without a warning."""
    start = datetime(2026, 11, 2, tzinfo=UTC)
    at = [days(start), days(start + timedelta(minutes=minutes))]
    ax = plot(picture(Line(x=at, y=[0, 1]), x=Axis(label="time, UTC", scale="time")))
    ax.figure.draw_without_rendering()

    assert at == ax.lines[0].get_xdata().tolist()


def test_logarithmic_shares():
    """A logarithmic axis of shares reads in per cent."""
    axis = Axis(label="share of the frame's area", scale="log", percent=True)
    ax = plot(picture(Line(x=[0.0005, 0.5], y=[0, 1]), x=axis))
    ax.figure.draw_without_rendering()
    told = {label.get_text() for label in ax.get_xticklabels()}

    assert "log" == ax.get_xscale()
    assert {"0.1 %", "1 %", "10 %"} <= told


def test_nothing_lies_outside():
    """Titles, names and legends of a crowded picture stay on the paper."""
    names = [f"confidence of class number {i} on camera {i}" for i in range(16)]
    ax = plot(
        Picture(
            title="A conclusion that goes on for longer than any line of a narrow picture can hold it",
            detail="largest difference D = 0.74 (0.67 to 0.81), p = 0.0005; 7 days, 840 frames, 4,200 boxes",
            x=Axis(label="D"),
            y=Axis(label="", scale="names", names=names),
            marks=[Dots(x=np.arange(16) / 16, y=range(16), label="flagged", role="bad")],
        )
    )
    ax.figure.draw_without_rendering()
    paper, drawn = ax.figure.bbox, ax.figure.get_tightbbox().transformed(ax.figure.dpi_scale_trans)

    assert drawn.x0 >= paper.x0 - 1
    assert drawn.x1 <= paper.x1 + 1
    assert drawn.y1 <= paper.y1 + 1


def test_missing_extra(monkeypatch):
    """Without matplotlib the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)

    with pytest.raises(MissingExtra, match=r"driftline\[plots\]") as caught:
        plot(picture())

    assert "plots" == caught.value.extra


def test_matplotlib_loads_late():
    """Importing what can draw does not load matplotlib."""
    code = (
        "import sys, driftline.drift, driftline.holdout, driftline.retrain, driftline.monitor;"
        "print(sorted({'matplotlib'} & set(sys.modules)))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=1200
    )

    assert "[]" == seen.stdout.strip()


def test_legend_stays_on_the_paper():
    """Names of any length leave room for the data: they are shortened, and go into rows."""
    names = [f"{'a-very-long-class-name-' * 12}{i}" for i in range(5)]
    ax = plot(picture(*(Line(x=[0, 1], y=[i, i], label=name) for i, name in enumerate(names))))
    figure = ax.figure
    figure.canvas.draw()
    paper, legend = figure.bbox, ax.get_legend().get_window_extent()

    assert legend.x1 <= paper.x1
    assert ax.get_window_extent().height > paper.height / 3
    assert 5 == len({text.get_text() for text in ax.get_legend().get_texts()})


def test_nothing_has_no_axis():
    """Where nothing was seen, no tick tells of a place or a time."""
    ax = plot(picture(Line(x=[], y=[]), x=Axis(label="time, UTC", scale="time")))

    assert [[], []] == [list(ax.get_xticks()), list(ax.get_yticks())]
