"""What a picture consists of, said once for both renderers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from driftline._draw._theme import Role

Scale: TypeAlias = Literal["linear", "log", "time", "names"]

_FIVE_DIGITS: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def days(at: datetime) -> float:
    """A time as days since 1970, which a time axis takes (and matplotlib counts)."""
    return (at - _EPOCH) / timedelta(days=1)


def date(at: float) -> datetime:
    """The time that `days` gave."""
    return _EPOCH + timedelta(days=at)


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@frozen(kw_only=True)
class Axis:
    """One axis.

    Attributes:
        label: what is shown, with its unit.
        scale: "names" has one row for each of `names`, the first on top (or left).
        low: lower end; None: what the marks need.
        high: upper end; None: what the marks need.
        names: names of the rows.
        percent: show shares as per cent.
    """

    label: str
    scale: Scale = "linear"
    low: float | None = None
    high: float | None = None
    names: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    percent: bool = False

    def read(self, value: float) -> str:
        """A number as a tick of this axis shows it."""
        number = 100 * value if self.percent else value
        text = f"{number:,.0f}" if abs(number) >= _FIVE_DIGITS else f"{number:.6g}"
        return f"{text} %" if self.percent else text


@frozen(kw_only=True)
class Line:
    """A line through points; broken where a number is not finite.

    Attributes:
        x: ``(n,)`` places.
        y: ``(n,)`` values.
        role: its colour.
        label: its name in the legend, "" for none.
        dashed: whether it is dashed.
        width: in points.
    """

    x: tuple[float, ...] = field(converter=_floats)
    y: tuple[float, ...] = field(converter=_floats)
    role: Role = "reference"
    label: str = ""
    dashed: bool = False
    width: float = 2.0


@frozen(kw_only=True)
class Band:
    """The area between two lines.

    Attributes:
        x: ``(n,)`` places.
        low: ``(n,)`` lower line.
        high: ``(n,)`` upper line.
        role: its colour, pale.
        label: its name in the legend, "" for none.
    """

    x: tuple[float, ...] = field(converter=_floats)
    low: tuple[float, ...] = field(converter=_floats)
    high: tuple[float, ...] = field(converter=_floats)
    role: Role = "reference"
    label: str = ""


@frozen(kw_only=True)
class Dots:
    """Points.

    Attributes:
        x: ``(n,)`` places.
        y: ``(n,)`` values.
        role: their colour.
        label: their name in the legend, "" for none.
        hollow: whether they are rings.
    """

    x: tuple[float, ...] = field(converter=_floats)
    y: tuple[float, ...] = field(converter=_floats)
    role: Role = "reference"
    label: str = ""
    hollow: bool = False


@frozen(kw_only=True)
class Bar:
    """A horizontal bar in a row.

    Attributes:
        row: which row of a "names" axis.
        start: its left end.
        end: its right end.
        role: its colour.
        label: its name in the legend, "" for none.
    """

    row: float
    start: float
    end: float
    role: Role = "reference"
    label: str = ""


@frozen(kw_only=True)
class Rule:
    """A line across the whole picture at one value.

    Attributes:
        at: where.
        across: "y": horizontal, at a value of y; "x": vertical, at a value of x.
        role: its colour.
        text: what is written beside it.
    """

    at: float
    across: Literal["x", "y"] = "y"
    role: Role = "muted"
    text: str = ""


Mark: TypeAlias = Line | Band | Dots | Bar | Rule


@frozen(kw_only=True)
class Picture:
    """A picture.

    Attributes:
        title: the conclusion, in one sentence.
        x: the horizontal axis.
        y: the vertical axis.
        marks: what is drawn, from back to front.
        detail: the numbers behind the conclusion, in one line.
    """

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...] = field(converter=tuple[Mark, ...])
    detail: str = ""

    @property
    def legend(self) -> dict[str, Mark]:
        """Names that need a key beside them, with the mark each is of, in order."""
        return {
            mark.label: mark for mark in self.marks if not isinstance(mark, Rule) and mark.label
        }

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see: no mark has a place."""
        return not any(_places(mark) or _values(mark) for mark in self.marks)

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Both ends of both axes: what was asked for, else what the marks need and a margin."""
        x = _limits(self.x, [value for mark in self.marks for value in _places(mark)])
        low, high = _limits(self.y, [value for mark in self.marks for value in _values(mark)])
        if any(isinstance(mark, Rule) and mark.across == "x" and mark.text for mark in self.marks):
            if self.y.scale == "names":  # the words beside a vertical rule need room on top
                low -= 0.8
            else:
                high += 0.1 * (high - low)
        return x, (low, high)


def _places(mark: Mark) -> tuple[float, ...]:
    match mark:
        case Line() | Band() | Dots():
            return mark.x
        case Bar():
            return (mark.start, mark.end)
        case Rule():
            return (mark.at,) if mark.across == "x" else ()


def _values(mark: Mark) -> tuple[float, ...]:
    match mark:
        case Line() | Dots():
            return mark.y
        case Band():
            return mark.low + mark.high
        case Bar():
            return (mark.row,)
        case Rule():
            return (mark.at,) if mark.across == "y" else ()


def _limits(axis: Axis, values: list[float]) -> tuple[float, float]:
    if axis.scale == "names":
        return -0.6, len(axis.names) - 0.4
    wanted = [end for end in (axis.low, axis.high) if end is not None]
    known = [v for v in values if math.isfinite(v) and (v > 0 or axis.scale != "log")]
    low, high = min([*known, *wanted], default=0.0), max([*known, *wanted], default=1.0)
    if axis.scale == "log":
        margin = (high / low) ** 0.04 if high > low else 2.0
        low, high = low / margin, high * margin
    else:
        margin = 0.06 * (high - low) or 0.5
        low, high = low - margin, high + margin
    low, high = (low if axis.low is None else axis.low, high if axis.high is None else axis.high)
    return low, high if high > low else low + 1
