"""The same as Markdown, for chats and issues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from driftline._draw import Table, View, straight

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~#])")
_CALLS: Final = re.compile(r"(?<!\w)(@|\\#)(?=\w)")
ROWS: Final = 20
"""Rows of a table; a chat is no place for more."""


def plain(text: str) -> str:
    r"""Text in which Markdown finds nothing, and which calls nobody by ``@name`` or ``#1``.

    >>> print(plain("*[x](http://y)* | <b> mAP@0.5"))
    \*\[x\](http://y)\* \| &lt;b> mAP@0.5
    """
    escaped = _SPECIAL.sub(r"\\\1", " ".join(straight(text).split()))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;")
    return _CALLS.sub("\\1\u200b", escaped)


def view(one: View) -> str:
    """What there is to see of a result, without its pictures."""
    blocks = [" ".join(_head(one)), _listed([*one.lines, *(p.title for p in one.pictures)])]
    blocks.append(_listed([f"{name}: {value}" for name, value in one.facts]))
    blocks += [table(found) for found in one.tables]
    blocks.append(_listed(one.notes))
    return "\n\n".join(filter(None, blocks))


def _head(one: View) -> Iterator[str]:
    if one.verdict:
        yield f"**{plain(one.verdict.upper())}**"
    if one.headline:
        yield plain(one.headline)


def table(one: Table) -> str:
    """A table, its caption before it."""
    if not one.rows:
        return ""
    lines = [_row(one.head), _row(["---"] * len(one.head), raw=True)]
    lines += [_row(row) for row in one.rows[:ROWS]]
    caption = f"{plain(one.caption)}:\n\n" if one.caption else ""
    left = f"\n\n{len(one.rows) - ROWS} more rows" if len(one.rows) > ROWS else ""
    return caption + "\n".join(lines) + left


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    told = cells if raw else [plain(cell) for cell in cells]
    return f"| {' | '.join(told)} |"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)
