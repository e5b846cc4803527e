"""Checks of what a user passes; each message names the argument, the value and what would do.

A check that is a validator of attrs takes no None: `attrs.validators.optional` lets it pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import timedelta
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from attrs import Attribute

from driftline._clock import as_duration
from driftline.errors import InputError

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]
T = TypeVar("T")
ZERO = timedelta(0)
LARGEST_PX = 10**9
"""No side of a frame is longer."""
LARGEST_INTEGER = 2**63 - 1
"""What a column of a database, or of an array, holds at most: 64 bits, one of them the sign."""


def refuse_number(
    name: str,
    value: float,
    what: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> None:
    """Raise unless a value is a finite number that lies where it must.

    Args:
        name: name of the argument.
        value: what was passed for it.
        what: what would do, in words.
        least: smallest that will do.
        most: greatest that will do.
        above: too small by a hair.
        below: too great by a hair.
        whole: whether 3.0 is refused where 3 is meant.
    """
    kind: type[Any] = Integral if whole else Real
    given: object = value
    a_number = isinstance(given, kind) and not isinstance(given, bool)
    if not (a_number and above < value < below and least <= value <= most):
        msg = f"{name}={value!r} must be {what}"
        raise InputError(msg)


def number(
    what: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> Check:
    """A validator: `refuse_number` for a field."""

    def check(_instance: object, attribute: Attribute[Any], value: float) -> None:
        refuse_number(
            attribute.name,
            value,
            what,
            least=least,
            most=most,
            above=above,
            below=below,
            whole=whole,
        )

    return check


def refuse_other(name: str, value: Any, options: Iterable[object]) -> None:
    """Raise unless a value is one of some: an unknown word must not pass for the default."""
    known = tuple(options)
    if not isinstance(value, Hashable) or value not in known:  # an array equals nothing and all
        msg = f"{name}={value!r} must be one of {', '.join(map(repr, known))}"
        raise InputError(msg)


def one_of(*options: object) -> Check:
    """A validator: `refuse_other` for a field."""

    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        refuse_other(attribute.name, value, options)

    return check


def refuse_negative(name: str, value: timedelta) -> None:
    """Raise unless a value is a duration of zero or more."""
    if as_duration(value, name=name) < ZERO:
        msg = f"{name}={value} must not be negative"
        raise InputError(msg)


def refuse_no_time(name: str, value: timedelta) -> None:
    """Raise unless a value is a duration above zero."""
    if as_duration(value, name=name) <= ZERO:
        msg = f"{name}={value} must be above 0"
        raise InputError(msg)


def not_negative(_instance: object, attribute: Attribute[Any], value: timedelta) -> None:
    """A validator: `refuse_negative` for a field."""
    refuse_negative(attribute.name, value)


def positive(_instance: object, attribute: Attribute[Any], value: timedelta) -> None:
    """A validator: `refuse_no_time` for a field."""
    refuse_no_time(attribute.name, value)


def part(value: T, kind: Any, *, name: str, what: str) -> T:
    """`value`, which is an object of a class or protocol (or of one of several).

    Args:
        value: what was passed.
        kind: as `isinstance` takes it.
        name: name of the argument.
        what: what would do, in words.

    Raises:
        InputError: it is none; a class passed for its object has the same methods, so it is
            told apart.
    """
    if isinstance(value, type):
        msg = f"{name}={value!r} is a class; pass an object of it, {value.__name__}(…)"
        raise InputError(msg)
    if not isinstance(value, kind):
        msg = f"{name}={value!r} must be {what}"
        raise InputError(msg)
    return value


def a(kind: Any, what: str) -> Check:
    """A validator: `part` for a field."""

    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        part(value, kind, name=attribute.name, what=what)

    return check


def refuse_no_text(name: str, value: str) -> None:
    """Raise unless a value is text with something in it."""
    if not part(value, str, name=name, what="text"):
        msg = f"{name}={value!r} is empty"
        raise InputError(msg)


def some_text(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: `refuse_no_text` for a field."""
    refuse_no_text(attribute.name, value)


def parts(values: Iterable[T], kind: Any, *, name: str, what: str) -> tuple[T, ...]:
    """`values`, each as in `part`.

    Raises:
        InputError: it is no list, or one of them is no such object.
    """
    given: object = values
    try:
        listed = None if isinstance(given, str | type) else tuple(values)
    except TypeError:  # nothing to go through
        listed = None
    if listed is None:
        msg = f"{name}={given!r} must be a list; each of {name} is {what}"
        raise InputError(msg)
    return tuple(part(v, kind, name=f"{name}[{i}]", what=what) for i, v in enumerate(listed))


def refuse_kinds(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raise unless each value that is there is of its kind.

    Args:
        values: name → value, such as the JSON of a record.
        kinds: name → class, or classes, as `isinstance` takes them; a truth value is no number,
            and neither is one of more than 64 bits.
    """
    for name in kinds.keys() & values.keys():
        value, kind = values[name], kinds[name]
        untrue = isinstance(value, bool) and kind is not bool
        if (
            not isinstance(value, kind)
            or untrue
            or (isinstance(value, int) and abs(value) > LARGEST_INTEGER)
        ):
            msg = f"{name}={value!r:.60} is not of the kind that belongs there"
            raise InputError(msg)


def chosen(given: Any, kind: Any, *, name: str, what: str) -> frozenset[Any]:
    """What was chosen, one or several, as a set; refuse what is of no such kind.

    Args:
        given: one such object, or a list of them.
        kind: as `isinstance` takes it.
        name: name of the argument.
        what: what would do, in words.

    Raises:
        InputError: as in `parts`.
    """
    return frozenset(
        [given] if isinstance(given, kind) else parts(given, kind, name=name, what=what)
    )


def is_size(value: tuple[int, int]) -> bool:
    """Whether it is (height, width) of a frame, px, both above 0."""
    try:
        height, width = value
        fits = 0 < height <= LARGEST_PX and 0 < width <= LARGEST_PX
    except (TypeError, ValueError, OverflowError):  # not two, or no numbers
        return False
    return bool(fits)


def array_of(value: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """`value` as numpy reads it.

    Raises:
        InputError: it is no array, such as a list of rows of several lengths.
    """
    try:
        return np.asarray(value)
    except (TypeError, ValueError, OverflowError) as exc:
        msg = f"{name} must be an array, got {value!r:.200}: {exc}"
        raise InputError(msg) from exc


def numbers(value: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """`value` as an array of doubles, nan for None.

    Raises:
        InputError: it holds something that is no number.
    """
    try:
        array: npt.NDArray[np.float64] = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as exc:
        msg = f"{name} must be an array of numbers, got {value!r:.200}: {exc}"
        raise InputError(msg) from exc
    return array
