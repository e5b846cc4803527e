"""JSON as stores keep it: compact, and without the numbers JSON has no word for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from driftline.errors import InputError, StoreError
from driftline.records import JsonObject


def encode(value: JsonObject) -> str:
    """A JSON object as text.

    Raises:
        InputError: it holds what JSON cannot (NaN, a date, a set).
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError) as exc:
        msg = f"only plain JSON can be stored: {exc}"
        raise InputError(msg) from exc


def decode(text: str) -> JsonObject:
    """The object again.

    Raises:
        StoreError: the text is no JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as exc:
        msg = f"the store holds a text that is no JSON: {text[:80]!r}"
        raise StoreError(msg) from exc
    if not isinstance(value, dict):
        msg = (
            f"the store holds a JSON {type(value).__name__} where an object belongs: {text[:80]!r}"
        )
        raise StoreError(msg)
    found: dict[str, Any] = value
    return found


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"{type(value).__name__} is not JSON"
    raise TypeError(msg)
