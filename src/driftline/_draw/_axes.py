"""A picture on matplotlib axes: the extra ``plots``, loaded when the first picture is drawn."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

from driftline._draw._picture import Axis, Band, Bar, Dots, Line, Mark, Picture, Rule
from driftline._draw._svg import shortened
from driftline._draw._theme import DARK, LIGHT, Palette, luminance
from driftline.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as Ticked

_DARK_BELOW = 0.2
_LETTERS_AN_INCH = 12
_KEY = 6
"""Letters that the key before a name takes, and the gap behind it."""
_EXTRA = "plots"


def plot(picture: Picture, ax: Axes | None = None) -> Axes:
    """Draw the picture.

    Args:
        picture: what to draw.
        ax: where; None makes a figure of its own with pyplot, so that a notebook shows it.
            Axes that are given are all that is touched. Colours follow their ground.

    Returns:
        The axes.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    ax = _new(picture) if ax is None else ax
    palette = _palette(ax)
    for mark in picture.marks:
        _draw(mark, ax, palette)
    _frame(picture, ax, palette)
    return ax


def _new(picture: Picture) -> Axes:
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415  heavy, and an extra
    except ImportError as exc:
        raise MissingExtra(_EXTRA, needed_for="plot()", package="matplotlib") from exc
    named = picture.y.scale == "names"
    height = max(2.4, 1.6 + 0.3 * len(picture.y.names)) if named else 4.2
    return plt.subplots(figsize=(7.5, height), layout="constrained")[1]


def _palette(ax: Axes) -> Palette:
    """The colours for what the axes stand on: their own ground, or the figure's through it."""
    from matplotlib.colors import to_hex, to_rgba  # noqa: PLC0415  heavy, and an extra

    grounds = [to_rgba(ax.get_facecolor()), to_rgba(ax.figure.get_facecolor())]
    seen = next((ground for ground in grounds if ground[3]), (1.0, 1.0, 1.0, 1.0))
    return DARK if luminance(to_hex(seen)) < _DARK_BELOW else LIGHT


def _draw(mark: Mark, ax: Axes, palette: Palette) -> None:
    colour = palette[mark.role]
    match mark:
        case Line():
            style = "--" if mark.dashed else "-"
            ax.plot(
                mark.x, mark.y, style, color=colour, linewidth=mark.width, label=_name(mark.label)
            )
        case Band():
            ax.fill_between(
                mark.x,
                mark.low,
                mark.high,
                color=colour,
                alpha=0.22,
                linewidth=0,
                label=_name(mark.label),
            )
        case Dots():
            face = palette["ground"] if mark.hollow else colour
            ax.plot(
                mark.x,
                mark.y,
                "o",
                color=colour,
                markerfacecolor=face,
                markersize=6,
                label=_name(mark.label),
            )
        case Bar():
            width = mark.end - mark.start
            ax.barh(
                mark.row,
                width,
                left=mark.start,
                height=0.6,
                color=colour,
                label=_name(mark.label),
            )
        case Rule():
            _rule(mark, ax, colour)


def _rule(rule: Rule, ax: Axes, colour: str) -> None:
    if rule.across == "y":
        ax.axhline(rule.at, color=colour, linewidth=1.3, linestyle="--")
        place, where, side, up = (1.0, rule.at), ax.get_yaxis_transform(), "right", 3
    else:
        ax.axvline(rule.at, color=colour, linewidth=1.3, linestyle="--")
        place, where, side, up = (rule.at, 0.97), ax.get_xaxis_transform(), "left", 0
    ax.annotate(
        _plain(rule.text),
        place,
        xycoords=where,
        xytext=(4 if side == "left" else -2, up),
        textcoords="offset points",
        color=colour,
        fontsize="small",
        ha=side,
        va="bottom" if up else "top",
    )


def _frame(picture: Picture, ax: Axes, palette: Palette) -> None:
    """Limits, labels, title, grid and legend."""
    x, y = picture.limits()
    ax.set_xlim(*x)
    ax.set_ylim(*(reversed(y) if picture.y.scale == "names" else y))
    _scale(picture.x, ax, ax.xaxis)
    _scale(picture.y, ax, ax.yaxis)
    ax.set_xlabel(_plain(picture.x.label), color=palette["ink"])
    ax.set_ylabel(_plain(picture.y.label), color=palette["ink"])
    ax.tick_params(colors=palette["muted"], which="both")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(palette["muted"])
    ax.grid(visible=True, axis="y", color=palette["grid"], linewidth=0.8)
    ax.set_axisbelow(True)
    if picture.empty:  # an axis would tell of numbers that nobody has seen
        ax.set(xticks=[], yticks=[])
    _title(picture, ax, palette)


def _title(picture: Picture, ax: Axes, palette: Palette) -> None:
    """Conclusion, numbers and legend, from top to bottom, above the data and never on it."""
    inches = _room(picture, ax)
    letters = max(24, int(_LETTERS_AN_INCH * inches))
    detail = fill(_plain(picture.detail), int(letters * 1.25))
    columns = _columns(picture, letters)
    legend = 16 * math.ceil(len(picture.legend) / columns)
    if legend:
        ax.legend(
            frameon=False,
            labelcolor=palette["ink"],
            fontsize="small",
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0,
            borderpad=0.2,
            ncols=columns,
        )
    ax.annotate(
        detail,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 5 + legend),
        textcoords="offset points",
        color=palette["muted"],
        fontsize="small",
        va="bottom",
    )
    ax.set_title(
        fill(_plain(picture.title), letters),
        loc="left",
        color=palette["ink"],
        fontweight="bold",
        fontsize="medium",
        pad=6 + legend + 12 * (detail.count("\n") + 1 if detail else 0),
    )


def _columns(picture: Picture, letters: int) -> int:
    """Names of the legend side by side, so that no row is wider than the paper."""
    longest = max((len(shortened(name)) for name in picture.legend), default=0)
    return max(1, min(len(picture.legend), int(letters * 1.2) // (longest + _KEY)))


def _room(picture: Picture, ax: Axes) -> float:
    """Inches from the left of the axes to the right of the paper, once the layout is done."""
    names = max((len(shortened(name)) for name in picture.y.names), default=0) / _LETTERS_AN_INCH
    figure = ax.figure
    if figure.get_layout_engine() is not None and len(figure.axes) == 1:
        return float(figure.bbox.width / figure.dpi) - max(0.8, 0.3 + names)
    return float(ax.get_window_extent().width / figure.dpi) - max(0.0, names - 1)


def _scale(axis: Axis, ax: Axes, ticked: Ticked) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: PLC0415  an extra

    horizontal = ticked is ax.xaxis
    if axis.scale == "names":
        names = [_plain(shortened(name)) for name in axis.names]
        ticked.set_ticks(range(len(names)), labels=names, fontsize="small")
    elif axis.scale == "time":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

        locator = AutoDateLocator(minticks=3, maxticks=7)
        ticked.set_major_locator(locator)
        ticked.set_major_formatter(ConciseDateFormatter(locator))
    elif axis.scale == "log":
        (ax.set_xscale if horizontal else ax.set_yscale)("log")
        ticked.set_minor_formatter(NullFormatter())
    if axis.scale in {"linear", "log"}:
        ticked.set_major_formatter(FuncFormatter(lambda value, _place: axis.read(value)))


def _name(label: str) -> str:
    """A legend's name; matplotlib leaves out what begins with an underscore."""
    return _plain(shortened(label)) if label else "_"


def _plain(text: str) -> str:
    r"""Text that matplotlib does not read as a formula: a class may be called ``$10$``."""
    return text.replace("$", r"\$")
