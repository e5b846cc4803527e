"""The pictures, each a function of plain numbers; who calls says the conclusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._draw._picture import Axis, Band, Bar, Dots, Line, Mark, Picture, Rule
from driftline._draw._theme import Role, Tone

Numbers: TypeAlias = Sequence[float] | npt.NDArray[np.float64]
FloatArray: TypeAlias = npt.NDArray[np.float64]

MOST_ROWS: Final = 12
"""Rows of a ranked picture: a screenful."""
_BINS: Final = 28
_CURVES: Final[tuple[tuple[Role, bool], ...]] = (
    ("reference", False),
    ("current", False),
    ("good", False),
    ("other", False),
    ("reference", True),
    ("current", True),
)
"""Colour and dash of each curve among several; more than these could not be told apart."""


def shift(
    *,
    title: str,
    detail: str = "",
    axis: Axis,
    at: Numbers,
    reference: Numbers,
    current: Numbers,
    marked: float = math.nan,
    mark: str = "",
) -> Picture:
    """Two distributions as a pair of histograms, the place of the shift marked.

    Args:
        title: the conclusion.
        detail: the numbers behind it.
        axis: of the values.
        at: ``(n,)`` increasing thresholds.
        reference: ``(n,)`` share of the reference at or below each.
        current: ``(n,)`` share of the present at or below each.
        marked: where they differ most; nan for nowhere.
        mark: what is written there.
    """
    edges = bins(np.asarray(at, dtype=np.float64), log=axis.scale == "log")
    x = np.repeat(edges, 2)[1:-1]
    before, now = (np.repeat(_shares(edges, at, f), 2) for f in (reference, current))
    marks: list[Mark] = [
        Band(x=x, low=np.zeros(len(x)), high=before, role="reference", label="reference"),
        Line(x=x, y=before, role="reference", width=1.0),
        Line(x=x, y=now, role="current", label="now"),
    ]
    if math.isfinite(marked):
        marks.append(Rule(at=marked, across="x", role="ink", text=mark))
    y = Axis(label="share in each bin", low=0.0, percent=True)
    return Picture(title=title, detail=detail, x=axis, y=y, marks=marks)


def bins(at: FloatArray, *, log: bool = False) -> FloatArray:
    """Edges of equal bins that lie on the thresholds' own grid, one more at either end.

    A bin is a whole number of the smallest gap wide, so that none holds one value more of a
    count than its neighbours.
    """
    places = np.log(at) if log else at
    if len(places) == 1:
        ends = places[0] + np.array([-1.0, 0.0, 1.0])
    else:
        gap = float(np.diff(places).min())
        width = gap * max(1, math.ceil(float(places[-1] - places[0]) / gap / _BINS))
        n = math.ceil(float(places[-1] - places[0]) / width - 1e-9)
        ends = places[0] + width * np.arange(-1, n + 2)
    edges: FloatArray = np.exp(ends) if log else ends
    return edges


def _shares(edges: FloatArray, at: Numbers, below: Numbers) -> FloatArray:
    """Share between the edges; the first and last bin hold all that lies beyond."""
    inner = np.interp(edges[1:-1], np.asarray(at), np.asarray(below))
    return np.diff(inner, prepend=0.0, append=1.0)


def mix(
    *, title: str, detail: str = "", names: Sequence[str], reference: Numbers, current: Numbers
) -> Picture:
    """Shares of named classes before and now, those that moved most first."""
    moved = np.abs(np.asarray(current) - np.asarray(reference))
    order: list[int] = np.argsort(-moved, kind="stable")[:MOST_ROWS].tolist()
    rows = list(range(len(order)))
    before, now = ([float(side[i]) for i in order] for side in (reference, current))
    return Picture(
        title=title,
        detail=detail,
        x=Axis(label="share of boxes", low=0.0, percent=True),
        y=Axis(label="", scale="names", names=[names[i] for i in order]),
        marks=[
            *(
                Line(x=(b, n), y=(row, row), role="muted")
                for row, b, n in zip(rows, before, now, strict=True)
            ),
            Dots(x=before, y=rows, role="reference", label="reference", hollow=True),
            Dots(x=now, y=rows, role="current", label="now"),
        ],
    )


@frozen(kw_only=True)
class Row:
    """One row of a ranked picture.

    Attributes:
        name: what it is about.
        value: its number.
        low: lower end of its interval, nan for none.
        high: upper end.
        role: its colour.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    role: Role = "reference"


def ranked(
    *,
    title: str,
    detail: str = "",
    axis: Axis,
    rows: Sequence[Row],
    rules: Mapping[str, float] | None = None,
    labels: Mapping[Role, str] | None = None,
) -> Picture:
    """Numbers with their intervals, a row each in the order given.

    Args:
        title: the conclusion.
        detail: the numbers behind it.
        axis: of the numbers.
        rows: the rows, the first on top; more than `MOST_ROWS` are left out.
        rules: text → a value that is marked across all rows.
        labels: colour → what it means, for the legend.
    """
    shown = rows[:MOST_ROWS]
    marks: list[Mark] = [Rule(at=at, across="x", text=text) for text, at in (rules or {}).items()]
    marks += [
        Line(x=(row.low, row.high), y=(i, i), role=row.role)
        for i, row in enumerate(shown)
        if math.isfinite(row.low)
    ]
    roles: dict[Role, None] = dict.fromkeys(row.role for row in shown)
    for role in roles:
        mine = [(row.value, float(i)) for i, row in enumerate(shown) if row.role == role]
        x, y = zip(*mine, strict=True)
        marks.append(Dots(x=x, y=y, role=role, label=(labels or {}).get(role, "")))
    names = [row.name for row in shown]
    return Picture(
        title=title,
        detail="; ".join(filter(None, (detail, _more(len(rows) - len(shown))))),
        x=axis,
        y=Axis(label="", scale="names", names=names),
        marks=marks,
    )


def _more(left: int) -> str:
    return f"{left} more are not shown" if left > 0 else ""


def weeks(
    *,
    title: str,
    detail: str = "",
    x: Axis,
    y: Axis,
    at: Numbers,
    value: Numbers,
    low: Numbers,
    high: Numbers,
    tone: Tone,
    levels: Sequence[tuple[float, float, float, str]] = (),
) -> Picture:
    """A number over time with its intervals, and the levels that are held against each other.

    Args:
        title: the conclusion.
        detail: the numbers behind it.
        x: axis of time.
        y: axis of the number.
        at: ``(n,)`` times, as the axis counts them.
        value: ``(n,)`` the number.
        low: ``(n,)`` lower ends of the intervals, nan for none.
        high: ``(n,)`` upper ends.
        tone: of the conclusion, the colour of the last level.
        levels: from, to, height and name of each level.
    """
    marks: list[Mark] = [
        Line(x=(t, t), y=(a, b), role="reference", width=1.4)
        for t, a, b in zip(at, low, high, strict=True)
        if math.isfinite(a)
    ]
    marks += [
        Line(x=at, y=value, role="reference", width=1.0),
        Dots(x=at, y=value, role="reference"),
    ]
    roles: tuple[Role, ...] = ("muted", tone)
    for (start, end, height, name), role in zip(levels, roles, strict=False):
        marks.append(Line(x=(start, end), y=(height, height), role=role, label=name, width=3.0))
    return Picture(title=title, detail=detail, x=x, y=y, marks=marks)


def timeline(
    *,
    title: str,
    detail: str = "",
    names: Sequence[str],
    spans: Sequence[tuple[int, float, float, Role, str]],
    start: float,
    end: float,
) -> Picture:
    """When things lasted, a row for each.

    Args:
        title: the conclusion.
        detail: the numbers behind it.
        names: names of the rows.
        spans: row, start and end (days since 1970), colour, and its meaning for the legend.
        start: left end of the picture.
        end: right end: now.
    """
    labelled: set[str] = set()
    marks: list[Mark] = []
    for row, left, right, role, label in spans:
        first = "" if label in labelled else label
        labelled.add(label)
        marks.append(Bar(row=row, start=max(left, start), end=right, role=role, label=first))
    return Picture(
        title=title,
        detail=detail,
        x=Axis(label="time, UTC", scale="time", low=start, high=end),
        y=Axis(label="", scale="names", names=names),
        marks=marks,
    )


def reliability(
    *,
    title: str,
    detail: str = "",
    confidence: Numbers,
    precision: Numbers,
    low: Numbers,
    high: Numbers,
) -> Picture:
    """Confidence against precision, the diagonal of a calibrated detector beside."""
    bars = [
        Line(x=(c, c), y=(a, b), role="current", width=1.4)
        for c, a, b in zip(confidence, low, high, strict=True)
        if math.isfinite(a)
    ]
    return Picture(
        title=title,
        detail=detail,
        x=Axis(label="confidence, 0 to 1", low=0.0, high=1.02),
        y=Axis(label="precision at IoU 0.5", low=0.0, high=1.02),
        marks=[
            Line(
                x=(0, 1),
                y=(0, 1),
                role="muted",
                dashed=True,
                width=1.2,
                label="as often right as it says",
            ),
            *bars,
            Line(x=confidence, y=precision, role="current"),
            Dots(x=confidence, y=precision, role="current", label="this detector"),
        ],
    )


def precision_recall(
    *,
    title: str,
    detail: str = "",
    curves: Mapping[str, tuple[Numbers, Numbers]],
    points: Mapping[str, tuple[float, float]],
) -> Picture:
    """Precision over recall of each class, with the point where the detector is used.

    Args:
        title: the conclusion.
        detail: the numbers behind it.
        curves: name → recall and precision, those that matter most first; more than can be told
            apart are left out.
        points: name → recall and precision where the detector is used.
    """
    marks: list[Mark] = []
    for (name, (recall, precision)), (role, dashed) in zip(curves.items(), _CURVES, strict=False):
        marks.append(Line(x=recall, y=precision, role=role, dashed=dashed, label=name))
        if name in points:
            x, y = points[name]
            marks.append(Dots(x=(x,), y=(y,), role=role, hollow=True))
    left = len(curves) - len(_CURVES)
    return Picture(
        title=title,
        detail="; ".join(filter(None, (detail, _more(left)))),
        x=Axis(label="recall at IoU 0.5", low=0.0, high=1.02),
        y=Axis(label="precision at IoU 0.5", low=0.0, high=1.04),
        marks=marks,
    )
