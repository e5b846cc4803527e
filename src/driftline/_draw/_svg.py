"""A picture as inline SVG: no extra, no script, readable on a telephone and on paper."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Final

from attrs import frozen

from driftline._draw._picture import (
    Axis,
    Band,
    Bar,
    Dots,
    Line,
    Mark,
    Picture,
    Rule,
    date,
)
from driftline._draw._theme import Role, paint

WIDTH: Final = 420
HEIGHT: Final = 230
ROW: Final = 20
SMALL: Final = 11
"""Height of the names of rows."""
LETTER: Final = 6.5
"""Mean width of a letter at 12 units of height."""
LONGEST: Final = 32
"""Letters of a row's name that are shown."""
_TURNING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_DECADES: Final = 2.0
_STEPS_OF_TIME: Final = (
    1 / 1440,
    1 / 288,
    1 / 96,
    1 / 48,
    1 / 24,
    0.125,
    0.25,
    0.5,
    1,
    2,
    7,
    14,
    28,
    91,
    182,
    365,
)


def straight(text: str) -> str:
    """Text in which nothing turns the direction of the words around it.

    A class may be named after an attack (Unicode TR 36, 2.2): such a character is shown as a
    replacement character.
    """
    return _TURNING.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: object) -> str:
    """Text as it may stand in HTML, in an element or a quoted attribute."""
    return escape(straight(str(text)), quote=True)


def svg(picture: Picture, *, width: int = WIDTH) -> str:
    """The picture as an ``<svg>`` element that scales to its place; all text is escaped.

    Args:
        picture: what to draw.
        width: its width in units; its text is 12 units high.
    """
    frame = _Frame.of(picture, width)
    head = (
        f'<svg viewBox="0 0 {width} {frame.bottom + 42:.0f}" role="img" '
        f'aria-label="{escaped(picture.title)}" xmlns="http://www.w3.org/2000/svg" '
        'font-family="system-ui,sans-serif" font-size="12">'
    )
    parts = [
        head,
        *frame.axes(),
        *(part for mark in picture.marks for part in frame.mark(mark)),
        "</svg>",
    ]
    return "".join(parts)


def ticks(axis: Axis, low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most about so many round places between two ends, and how each reads."""
    if axis.scale == "names":
        return [(float(row), shortened(name)) for row, name in enumerate(axis.names)]
    if axis.scale == "log":
        return [(value, axis.read(value)) for value in _log_ticks(low, high, most)]
    if axis.scale == "time":
        return _times(low, high, most)
    step = _nice((high - low) / most)
    first = math.ceil(low / step - 1e-9)
    places = [step * (first + i) for i in range(int((high - low) / step) + 2)]
    inside = [0.0 if abs(v) < step / 1e6 else v for v in places if v <= high + step * 1e-9]
    return [(v, axis.read(v)) for v in inside]


def shortened(name: str) -> str:
    """A name no longer than its place; both ends tell names apart, so the middle goes."""
    if len(name) <= LONGEST:
        return name
    end = LONGEST // 2
    return f"{name[: LONGEST - end - 1]}…{name[-end:]}"


def _nice(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    many = math.log10(high / low) >= _DECADES
    found = [m * 10.0**d for d in decades for m in ((1,) if many else (1, 2, 5))]
    inside = [value for value in found if low <= value <= high]
    return inside[:: max(1, math.ceil(len(inside) / most))]


def _times(low: float, high: float, most: int) -> list[tuple[float, str]]:
    step = next((s for s in _STEPS_OF_TIME if (high - low) / s <= most), (high - low) / most)
    first = math.ceil(low / step)
    places = [step * (first + i) for i in range(int((high - low) / step) + 2)]
    return [(v, _moment(v, step, high - low)) for v in places if v <= high]


def _moment(at: float, step: float, span: float) -> str:
    """A time as precise as its axis needs."""
    when = date(at)
    day, clock = f"{when:%b} {when.day}", f"{when:%H:%M}"
    return day if step >= 1 else clock if span <= 1 else f"{day} {clock}"


@frozen(kw_only=True)
class _Frame:
    """Where numbers lie on the paper."""

    picture: Picture
    left: float
    right: float
    top: float
    bottom: float
    x: Callable[[float], float]
    y: Callable[[float], float]

    @classmethod
    def of(cls, picture: Picture, width: int) -> _Frame:
        (x_low, x_high), (y_low, y_high) = picture.limits()
        rows = picture.y.scale == "names"
        named = ticks(picture.y, y_low, y_high, 5)
        letter = LETTER * (SMALL / 12 if rows else 1)
        left = (14 if rows else 32) + letter * max((len(text) for _, text in named), default=1)
        top, right = 12.0, width - 16.0
        bottom = top + (ROW * (y_high - y_low) if rows else HEIGHT - 60)
        ends = (top, bottom) if rows else (bottom, top)
        return cls(
            picture=picture,
            left=left,
            right=right,
            top=top,
            bottom=bottom,
            x=_scaled(picture.x, (x_low, x_high), (left, right)),
            y=_scaled(picture.y, (y_low, y_high), ends),
        )

    def axes(self) -> Iterator[str]:
        """Grid, ticks and labels."""
        (x_low, x_high), (y_low, y_high) = self.picture.limits()
        for value, text in ticks(self.picture.y, y_low, y_high, 5):
            y = self.y(value)
            yield _line((self.left, y), (self.right, y), "grid", 1)
            size = SMALL if self.picture.y.scale == "names" else 12
            yield _text(self.left - 6, y + 4, text, "muted", "end", size=size)
        most = 9 if self.picture.x.scale == "names" else 5
        for value, text in ticks(self.picture.x, x_low, x_high, most):
            x = self.x(value)
            yield _line((x, self.bottom), (x, self.bottom + 4), "muted", 1)
            yield _text(x, self.bottom + 17, text, "muted", "middle")
        yield _line((self.left, self.bottom), (self.right, self.bottom), "muted", 1)
        half = LETTER / 2 * len(self.picture.x.label)
        middle = min((self.left + self.right) / 2, self.right + 12 - half)
        yield _text(max(middle, half), self.bottom + 35, self.picture.x.label)
        if self.picture.y.label and self.picture.y.scale != "names":
            y = (self.top + self.bottom) / 2
            yield _text(11, y, self.picture.y.label, turned=True)

    def mark(self, mark: Mark) -> Iterator[str]:
        """One mark."""
        match mark:
            case Band():
                yield from self._band(mark)
            case Line():
                yield from self._polylines(mark)
            case Dots():
                for x, y in self._points(mark.x, mark.y):
                    yield _dot(x, y, mark.role, hollow=mark.hollow)
            case Bar():
                x, y = self.x(mark.start), self.y(mark.row)
                yield (
                    f'<rect x="{x:.1f}" y="{y - 6:.1f}" width="{max(1.5, self.x(mark.end) - x):.1f}" '
                    f'height="12" rx="2" style="fill:{paint(mark.role)}"/>'
                )
            case Rule():
                yield from self._rule(mark)

    def _points(self, xs: tuple[float, ...], ys: tuple[float, ...]) -> list[tuple[float, float]]:
        known = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x + y)]
        return [(self.x(x), self.y(y)) for x, y in known]

    def _band(self, band: Band) -> Iterator[str]:
        there, back = self._points(band.x, band.high), self._points(band.x, band.low)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*there, *reversed(back)])
        yield f'<polygon points="{points}" opacity="0.22" style="fill:{paint(band.role)}"/>'

    def _polylines(self, line: Line) -> Iterator[str]:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        runs: list[list[str]] = [[]]
        for x, y in zip(line.x, line.y, strict=True):
            if math.isfinite(x + y):
                runs[-1].append(f"{self.x(x):.1f},{self.y(y):.1f}")
            elif runs[-1]:
                runs.append([])
        for run in filter(None, runs):
            yield (
                f'<polyline points="{" ".join(run)}" fill="none" stroke-width="{line.width}" '
                f'stroke-linejoin="round"{dash} style="stroke:{paint(line.role)}"/>'
            )

    def _rule(self, rule: Rule) -> Iterator[str]:
        if rule.across == "x":
            x = self.x(rule.at)
            yield _line((x, self.top), (x, self.bottom), rule.role, 1.5, dashed=True)
            side = x > (self.left + self.right) / 2
            place, anchor = (x - 5, "end") if side else (x + 5, "start")
            yield _text(place, self.top + 10, rule.text, rule.role, anchor)
        else:
            y = self.y(rule.at)
            yield _line((self.left, y), (self.right, y), rule.role, 1.5, dashed=True)
            yield _text(self.right, y - 4, rule.text, rule.role, "end")


def _scaled(
    axis: Axis, ends: tuple[float, float], paper: tuple[float, float]
) -> Callable[[float], float]:
    (low, high), (start, end) = ends, paper
    if axis.scale == "log":
        return lambda v: start + (end - start) * math.log(max(v, low) / low) / math.log(high / low)
    return lambda v: start + (end - start) * (v - low) / (high - low)


def _line(
    one: tuple[float, float],
    other: tuple[float, float],
    role: Role,
    width: float,
    *,
    dashed: bool = False,
) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<line x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}" '
        f'stroke-width="{width}"{dash} style="stroke:{paint(role)}"/>'
    )


def _dot(x: float, y: float, role: Role, *, hollow: bool) -> str:
    fill = paint("ground") if hollow else paint(role)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" stroke-width="2" '
        f'style="fill:{fill};stroke:{paint(role)}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    role: Role = "ink",
    anchor: str = "middle",
    *,
    turned: bool = False,
    size: int = 12,
) -> str:
    if not text:
        return ""
    small = "" if size == 12 else f' font-size="{size}"'  # noqa: PLR2004  that of the picture
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}{small} '
        f'style="fill:{paint(role)}">{escaped(text)}</text>'
    )
