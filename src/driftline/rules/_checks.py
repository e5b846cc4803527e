"""Checks that rules share; each message names the field and the value."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

from attrs import Attribute

from driftline.errors import InputError

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]
ZERO = timedelta(0)


def number(
    *, above: float = -math.inf, below: float = math.inf, least: float = -math.inf, what: str
) -> Check:
    """A check that a number lies where it must; None, where a field allows it, passes."""

    def check(_instance: object, attribute: Attribute[Any], value: float | None) -> None:
        if value is not None and not (above < value < below and value >= least):
            msg = f"{attribute.name}={value!r} must be {what}"
            raise InputError(msg)

    return check


def one_of(*options: str) -> Check:
    """A check that a word is one of some."""

    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if value not in options:
            msg = f"{attribute.name}={value!r} must be one of {', '.join(map(repr, options))}"
            raise InputError(msg)

    return check


AT_LEAST_ONE = number(least=1, what="1 or more")


def recovery_side(limit: str, *, least: float = 0.0) -> Check:
    """A check that a recovery threshold lies between `least` and the field `limit`."""

    def check(instance: object, attribute: Attribute[Any], value: float | None) -> None:
        bound: float = getattr(instance, limit)
        if value is not None and not least <= value <= bound:
            msg = f"{attribute.name}={value!r} must lie in [{least:g}, {limit}={bound!r}]"
            raise InputError(msg)

    return check


def one_line(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """A runbook: there, and one line."""
    if not isinstance(value, str) or not value.strip():
        msg = (
            f"{attribute.name}={value!r}: a rule needs one line that tells whoever is woken what "
            'to do first, such as "Roll back to the previous model, then read the logs"'
        )
        raise InputError(msg)
    if len(value.splitlines()) > 1:
        msg = f"a runbook is one line, got {len(value.splitlines())}; put the rest behind a link"
        raise InputError(msg)


def named(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A name that can be printed."""
    if not value.strip() or not value.isprintable():
        msg = f"{attribute.name}={value!r} must be a printable name"
        raise InputError(msg)


def not_negative(_instance: object, attribute: Attribute[Any], value: timedelta) -> None:
    """A duration of zero or more."""
    if value < ZERO:
        msg = f"{attribute.name}={value} must not be negative"
        raise InputError(msg)


def positive_or_none(_instance: object, attribute: Attribute[Any], value: timedelta | None) -> None:
    """A duration above zero, or None."""
    if value is not None and value <= ZERO:
        msg = f"{attribute.name}={value} must be above 0, or None for off"
        raise InputError(msg)
