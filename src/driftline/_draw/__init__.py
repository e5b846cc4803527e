"""Drawing on plain numbers: a picture is described once and drawn as SVG or on matplotlib axes.

This room knows no result class: what stands above it says what to draw (`View`, `Picture`), and
the colours, the escaping and the two renderers are here.
"""

from driftline._draw._axes import plot
from driftline._draw._html import Shown, Table, View, body, figure, html, rich, table
from driftline._draw._picture import Axis, Band, Bar, Dots, Line, Mark, Picture, Rule, days
from driftline._draw._svg import escaped, straight, svg
from driftline._draw._theme import DARK, LIGHT, STYLE, Palette, Role, Tone, contrast

__all__ = [
    "DARK",
    "LIGHT",
    "STYLE",
    "Axis",
    "Band",
    "Bar",
    "Dots",
    "Line",
    "Mark",
    "Palette",
    "Picture",
    "Role",
    "Rule",
    "Shown",
    "Table",
    "Tone",
    "View",
    "body",
    "contrast",
    "days",
    "escaped",
    "figure",
    "html",
    "plot",
    "rich",
    "straight",
    "svg",
    "table",
]
