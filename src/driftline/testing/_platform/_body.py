"""Reads JSON bodies, and refuses what the contract does not take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from driftline.testing._platform._router import OWNER, SLUG_LENGTH, Refused, Request


def json_of(request: Request) -> dict[str, Any]:
    """The object of a body.

    Raises:
        Refused: 400, it is none.
    """
    try:
        body = json.loads(request.body)
    except ValueError:
        raise Refused(400, "Invalid JSON body") from None
    if not isinstance(body, dict):
        raise Refused(400, "Invalid body: expected an object")
    return body


def known_only(body: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a body with names the contract does not know.

    Raises:
        Refused: 400.
    """
    if unknown := sorted(set(body) - set(names)):
        raise Refused(400, f"Invalid body: unknown {unknown[0]}")


def text_of(body: Mapping[str, Any], name: str, *, longest: int, default: str | None = None) -> str:
    """A text that is not empty.

    Raises:
        Refused: 400, it is none, or too long.
    """
    value = body.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.strip():
        raise Refused(400, f"Invalid {name}: {value}")
    return value


def slug_of(body: Mapping[str, Any], name: str) -> str:
    """A name that can stand in a URL.

    Raises:
        Refused: 400, it is none.
    """
    value = body.get(name)
    if not isinstance(value, str) or len(value) not in SLUG_LENGTH or not OWNER.fullmatch(value):
        raise Refused(400, f"Invalid {name}: {value}")
    return value


def number_of(
    body: Mapping[str, Any], name: str, *, low: float, high: float, default: float | None
) -> float | None:
    """A number between two others; null is the default.

    Raises:
        Refused: 400, it is none, or outside.
    """
    value = body.get(name)
    if value is None:
        return default
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not numeric or not low <= value <= high:
        raise Refused(400, f"Invalid {name}: must be between {low:g} and {high:g}")
    return float(value)


def choice_of(
    body: Mapping[str, Any], name: str, options: Iterable[str], *, default: str | None = None
) -> str | None:
    """A value that is one of a few.

    Raises:
        Refused: 400, it is something else.
    """
    value: object = body.get(name, default)
    known = tuple(options)
    if value is None or (isinstance(value, str) and value in known):
        return value
    raise Refused(400, f"Invalid {name}: expected one of {', '.join(known)}")
