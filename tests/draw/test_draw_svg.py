"""Pictures as SVG."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline._draw import Axis, Band, Bar, Dots, Line, Picture, Rule, days, svg
from driftline._draw._pictures import bins, shift
from driftline._draw._svg import ticks

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '"><script>alert(1)</script>&'


def read(picture):
    return ET.fromstring(svg(picture))


def picture(*marks, x=None, y=None, title="it holds"):
    return Picture(title=title, x=x or Axis(label="s"), y=y or Axis(label="ms"), marks=marks)


def test_axes_are_labelled():
    """Both axes say what they show, and the picture its conclusion to those who cannot see it."""
    root = read(picture(Line(x=[0, 1], y=[0, 1])))
    words = [text.text for text in root.iter(f"{SVG}text")]

    assert {"s", "ms"} <= set(words)
    assert ("img", "it holds") == (root.get("role"), root.get("aria-label"))


def test_data_is_what_is_drawn():
    """Points lie where their numbers say: the places on the paper are a line of the numbers."""
    x = np.array([0.0, 1.0, 4.0, 10.0])
    root = read(picture(Dots(x=x, y=3 * x)))
    circles = list(root.iter(f"{SVG}circle"))
    at = np.array([[float(c.get("cx")), float(c.get("cy"))] for c in circles])

    assert np.corrcoef(x, at[:, 0])[0, 1] == pytest.approx(1, abs=1e-5)  # rounded to 0.1 units
    assert np.corrcoef(x, at[:, 1])[0, 1] == pytest.approx(-1, abs=1e-5)  # up is more


def test_gaps_are_gaps():
    """A line breaks where a number is missing, and missing points are not drawn."""
    nan = float("nan")
    line = Line(x=[0, 1, 2, 3, 4], y=[1, 1, nan, 2, 2])
    root = read(picture(line, Dots(x=[0, 1], y=[nan, 1])))

    assert 2 == len(list(root.iter(f"{SVG}polyline")))
    assert 1 == len(list(root.iter(f"{SVG}circle")))


def test_foreign_words_stay_words():
    """Names from outside become text, wherever they are drawn."""
    names = Axis(label=EVIL, scale="names", names=[EVIL])
    marks = [Bar(row=0, start=0, end=1, label=EVIL), Rule(at=0.5, across="x", text=EVIL)]
    text = svg(picture(*marks, x=Axis(label=EVIL), y=names, title=EVIL))

    assert "<script" not in text
    assert EVIL in [one.text for one in ET.fromstring(text).iter(f"{SVG}text")]


def test_nothing_to_draw():
    """A picture without marks, or without any span of time, is drawn all the same."""
    at = days(datetime(2026, 11, 2, tzinfo=UTC))

    assert svg(picture())
    assert svg(picture(x=Axis(label="time", scale="time", low=at, high=at)))


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6), most=st.integers(3, 9))
def test_ticks_are_round_and_inside(low, span, most):
    """Ticks are few, inside the axis, evenly spaced and told apart."""
    found = ticks(Axis(label=""), low, low + span, most)
    at = np.array([value for value, _ in found])

    assert 1 <= len(at) <= most + 1
    assert at.min() >= low - 1e-6 * span - 1e-9
    assert at.max() <= low + span + 1e-6 * span + 1e-9
    np.testing.assert_allclose(np.diff(at, 2), 0, atol=1e-6 * span + 1e-8)


@given(hours=st.floats(0.05, 24 * 1000))
def test_ticks_of_time(hours):
    """An axis of three minutes and one of three years have a handful of ticks each."""
    start = days(datetime(2026, 11, 2, 7, 12, tzinfo=UTC))

    assert len(ticks(Axis(label="", scale="time"), start, start + hours / 24, 5)) <= 6


def test_dates_of_ticks():
    """Days are named for weeks, hours for a morning."""
    start = days(datetime(2026, 11, 2, tzinfo=UTC))
    axis = Axis(label="", scale="time")

    assert "Nov 2" in [text for _, text in ticks(axis, start, start + 5, 6)]
    assert "06:00" in [text for _, text in ticks(axis, start, start + 0.5, 5)]


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=2, max_size=60),
    gap=st.sampled_from([0.001, 0.01, 1.0]),
)
def test_histogram_holds_everything(shares, gap):
    """However thresholds are binned, the shares of both sides add up to 1."""
    at = gap * np.arange(len(shares))
    below = np.cumsum(shares) / (sum(shares) + 0.5)
    made = shift(title="", axis=Axis(label=""), at=at, reference=below, current=below[::1])
    band = next(mark for mark in made.marks if isinstance(mark, Band))

    assert sum(band.high[::2]) == pytest.approx(1)


def test_counts_have_a_bin_each():
    """Whole numbers are not binned two in one and one in the next."""
    edges = bins(np.arange(12) + 0.5)

    assert np.arange(-0.5, 13).tolist() == edges.tolist()


def test_bins_are_even():
    """Many thresholds become equal bins of a whole number of their gaps."""
    widths = np.diff(bins(np.arange(0, 1, 0.001)))

    np.testing.assert_allclose(widths, widths[0])
    assert 20 <= len(widths) <= 32
