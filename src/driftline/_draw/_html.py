"""Result objects in notebooks and terminals: one view, as HTML without scripts and as rich text.

Names of classes and cameras, log lines and errors come from outside: `escaped` is the only way
into the page, and nothing here takes HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import field, frozen

from driftline._draw._picture import Dots, Line, Mark, Picture
from driftline._draw._svg import escaped, svg
from driftline._draw._theme import STYLE, Tone, paint

_NUMBER: Final = re.compile(r"[-+]?[\d,.]+( to [-+]?[\d,.]+)?( ?(%|ms|s|points?|h|days?))?|-|")
_SHORT: Final = 16
"""Letters of a cell, such as a time, that stay in one line."""
_LONG: Final = 40
"""Letters of a cell from which its column must not become a narrow tower."""
_BRACKET: Final = re.compile(r"(\\*)\[(?=([a-z#/@][^[]*?])?)")
_STYLES: Final[dict[Tone, str]] = {
    "good": "bold green",
    "warn": "bold yellow",
    "bad": "bold red",
    "unknown": "bold",
}


def _strings(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _rows(values: Iterable[Iterable[object]]) -> tuple[tuple[str, ...], ...]:
    return tuple(_strings(row) for row in values)


def _pairs(values: Iterable[tuple[str, object]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values)


@frozen(kw_only=True)
class Table:
    """Rows under a head; columns of numbers are set to the right.

    Attributes:
        head: names of the columns.
        rows: cells, as many a row as the head has.
        caption: what the table shows, "" for none.
    """

    head: tuple[str, ...] = field(converter=_strings)
    rows: tuple[tuple[str, ...], ...] = field(converter=_rows)
    caption: str = ""


@frozen(kw_only=True)
class View:
    """What there is to see of a result: all of it plain text and numbers.

    Attributes:
        kind: what it is, such as "Drift report".
        verdict: what it concludes, in a word or two; "" for none.
        tone: what that means.
        headline: the conclusion in one sentence.
        facts: name and value, such as the time and how much was seen.
        lines: reasons or findings, in order.
        pictures: pictures.
        tables: tables.
        notes: what to know before it is trusted.
    """

    kind: str
    verdict: str = ""
    tone: Tone = "unknown"
    headline: str = ""
    facts: tuple[tuple[str, str], ...] = field(default=(), converter=_pairs)
    lines: tuple[str, ...] = field(default=(), converter=_strings)
    pictures: tuple[Picture, ...] = field(default=(), converter=tuple[Picture, ...])
    tables: tuple[Table, ...] = field(default=(), converter=tuple[Table, ...])
    notes: tuple[str, ...] = field(default=(), converter=_strings)

    @property
    def conclusion(self) -> str:
        """What there is to know in one sentence, the verdict first."""
        said = self.headline or next((one.title for one in self.pictures), self.kind)
        repeated = said.lower().startswith(self.verdict.lower())
        return said if repeated else f"{self.verdict}: {said}"

    def __str__(self) -> str:
        """The view as plain text, without its pictures."""
        lines = [*self.lines, *(f"{name}: {value}" for name, value in self.facts)]
        lines += ["  ".join(row) for one in self.tables for row in one.rows]
        return "\n  ".join([self.conclusion, *lines, *self.notes])


class Shown:
    """Gives a result its looks in notebooks and in terminals that use rich, and a short repr."""

    __slots__ = ()

    def _view(self) -> View:
        """What there is to see; as it stands, what `str` says."""
        first, *more = str(self).splitlines() or [""]
        lines = [line.strip() for line in more]
        return View(kind=type(self).__name__, headline=first, lines=lines)

    def __repr__(self) -> str:
        """What it is and concludes; a class that says more has its own."""
        return f"<{type(self).__name__} {self._view().conclusion}>"

    def _repr_html_(self) -> str:
        """The result as HTML, light and dark, without scripts."""
        return html(self._view())

    def __rich__(self) -> str:
        """The result as console markup of rich: its own text where it has one."""
        view = self._view()
        return rich(view.tone, str(view if type(self).__str__ is object.__str__ else self))


def html(view: View) -> str:
    """The view with its style sheet, to stand alone in a notebook's cell."""
    return f'<style>{STYLE}</style><article class="driftline">{body(view)}</article>'


def body(view: View) -> str:
    """The view without style sheet, to stand inside ``class="driftline"``."""
    parts = [
        "<header>",
        badge(view.verdict, view.tone) if view.verdict else "",
        f'<span class="dl-kind">{escaped(view.kind)}</span>',
        f'<span class="dl-headline">{escaped(view.headline)}</span>' if view.headline else "",
        "</header>",
        _listed(view.lines),
        facts(view.facts),
        figures(view.pictures),
        *(table(one) for one in view.tables),
        _listed(view.notes, "dl-notes"),
    ]
    return "".join(parts)


def badge(word: str, tone: Tone) -> str:
    """A verdict on a ground of its tone."""
    return f'<span class="dl-badge" style="background:{paint(tone)}">{escaped(word)}</span>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names with their values."""
    told = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in pairs)
    return f"<dl>{told}</dl>" if told else ""


def figures(pictures: Sequence[Picture]) -> str:
    """Pictures side by side, one below the other where the page is narrow."""
    told = "".join(figure(picture) for picture in pictures)
    return f'<div class="dl-figures">{told}</div>' if told else ""


def figure(picture: Picture) -> str:
    """A picture under its conclusion and its legend."""
    keys = "".join(
        f'<span class="dl-key"><i style="{_key(mark)}"></i>{escaped(name)}</span>'
        for name, mark in picture.legend.items()
    )
    details = [escaped(picture.detail), keys]
    told = "".join(f'<span class="dl-detail">{detail}</span>' for detail in details if detail)
    return f"<figure><figcaption>{escaped(picture.title)}{told}</figcaption>{svg(picture)}</figure>"


def _key(mark: Mark) -> str:
    """How a mark looks in a legend."""
    colour = paint(mark.role)
    if isinstance(mark, Line) and mark.dashed:
        return f"background:repeating-linear-gradient(90deg,{colour} 0 4px,transparent 4px 6px)"
    if isinstance(mark, Dots) and mark.hollow:
        return f"box-shadow:inset 0 0 0 2px {colour};border-radius:50%"
    return f"background:{colour}"


def table(one: Table) -> str:
    """A table that scrolls sideways where the page is narrow."""
    if not one.rows:
        return ""
    classes = [_kind(column) for column in zip(*one.rows, strict=True)]
    head = "".join(
        f'<th scope="col"{kind}>{escaped(name)}</th>'
        for name, kind in zip(one.head, classes, strict=True)
    )
    rows = "".join(
        f"<tr>{''.join(f'<td{kind}>{escaped(cell)}</td>' for cell, kind in zip(row, classes, strict=True))}</tr>"
        for row in one.rows
    )
    caption = f"<caption>{escaped(one.caption)}</caption>" if one.caption else ""
    # What scrolls must be reached by the keyboard, and say what it is (WCAG 2.2, 2.1.1).
    region = (
        f'tabindex="0" role="region" aria-label="{escaped(one.caption or ", ".join(one.head))}"'
    )
    return (
        f'<div class="dl-wide" {region}><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _kind(column: Sequence[str]) -> str:
    """The class of a column's cells: numbers, short words, long text, or none of them."""
    if all(_NUMBER.fullmatch(cell) for cell in column):
        return ' class="dl-number"'
    longest = max(map(len, column))
    kind = "dl-short" if longest <= _SHORT else "dl-long" if longest >= _LONG else ""
    return f' class="{kind}"' if kind else ""


def _listed(lines: Sequence[str], kind: str = "dl-lines") -> str:
    told = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{told}</ul>' if told else ""


def rich(tone: Tone, text: str) -> str:
    """Console markup: the first line in the colour of its tone, nothing else read as markup."""
    first, end, more = (_BRACKET.sub(_kept, part) for part in text.partition("\n"))
    slashes = "\\" * (len(first) - len(first.rstrip("\\")))  # or they would escape the closing tag
    return f"[{_STYLES[tone]}]{first}{slashes}[/]{end}{more}"


def _kept(bracket: re.Match[str]) -> str:
    """A bracket that rich prints as it was: it halves backslashes before a tag, else drops one."""
    slashes, is_tag = bracket[1], bracket[2] is not None
    more = f"{slashes}\\" if is_tag else slashes[:1]
    return f"{slashes}{more}["
