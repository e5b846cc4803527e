"""Checks that rules share; each message names the field and the value."""

from __future__ import annotations

from typing import Any

from attrs import Attribute

from driftline._checks import Check, a, number, refuse_number
from driftline.errors import InputError
from driftline.records import Severity

SEVERITY = a(Severity, "a driftline.Severity, such as Severity.WARNING")
AT_LEAST_ONE = number("1 or more", least=1, whole=True)


def as_minutes(value: float) -> float:
    """A converter, which runs before the defaults that are made of it."""
    refuse_number("minutes", value, "a number of minutes above 0", above=0)
    return value


def recovery_side(limit: str, *, least: float = 0.0) -> Check:
    """A check that a recovery threshold lies between `least` and the field `limit`."""

    def check(instance: object, attribute: Attribute[Any], value: float | None) -> None:
        bound: float = getattr(instance, limit)
        if value is not None:
            what = f"a number in [{least:g}, {limit}={bound!r}]"
            refuse_number(attribute.name, value, what, least=least, most=bound)

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


def named(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """A name that can be printed."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        msg = f"{attribute.name}={value!r} must be a printable name"
        raise InputError(msg)
