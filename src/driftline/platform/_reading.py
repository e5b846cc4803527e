"""Reads JSON of unknown worth: what is missing or wrong is gathered with its path, then raised once.

Knows no names of the Platform. Readers give back a harmless value where they report a fault, so
that one pass finds all of them; `read` throws that pass's result away.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, TypeVar

from driftline.errors import InputError

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

MOST_FAULTS: Final = 100
LONGEST_SHOWN: Final = 60
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Times outside 1970 to 2200 are faults of the sender, and would overflow arithmetic here."""

_MISSING: Final = object()
_KEY = re.compile(r"ul_[0-9a-fA-F]{8,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


class UnreadableError(Exception):
    """What was read is not what was expected; carries a line for each fault."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Keep the lines."""
        super().__init__("; ".join(problems[:3]))
        self.problems = problems


def masked(text: str) -> str:
    """The text with whatever looks like a Platform key masked, and encodable.

    >>> masked("key ul_0123456789abcdef is revoked")
    'key ul_*** is revoked'
    """
    whole = text.encode("utf-8", "replace").decode()  # JSON may hold half of a surrogate pair
    return _KEY.sub("ul_***", whole)


def _is_encodable(text: str) -> bool:
    return text.isascii() or text == text.encode("utf-8", "replace").decode()


def one_line(text: str, *, longest: int = 300) -> str:
    """The text as one printable line of bounded length, masked."""
    line = _CONTROL.sub(" ", masked(text[: 2 * longest])).strip()
    return line if len(line) <= longest else line[: longest - 1] + "…"


def shown(value: object) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**LONGEST_SHOWN:
        return f"a number of {value.bit_length()} bits"
    return one_line(repr(value), longest=LONGEST_SHOWN)


class _Faults:
    """The faults found so far, each once, and not without bound."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, path: str, what: str) -> None:
        line = f"{path}: {what}"
        if line in self._lines:
            return
        if len(self._lines) < MOST_FAULTS:
            self._lines[line] = None
        else:
            self._more += 1

    def lines(self) -> tuple[str, ...]:
        more = (f"$: and {self._more} more",) if self._more else ()
        return (*self._lines, *more)


class Node:
    """One value of a JSON document, with its path."""

    __slots__ = ("_faults", "_value", "path")

    def __init__(self, value: object, path: str, faults: _Faults) -> None:
        """Keep the value, where it is, and where faults go."""
        self._value = value
        self.path = path
        self._faults = faults

    def fault(self, what: str) -> None:
        """Report that this value is not what was expected; a missing one was reported before."""
        if self._value is not _MISSING:
            self._faults.add(self.path, what)

    def _wrong(self, expected: str) -> None:
        self.fault(f"expected {expected}, got {shown(self._value)}")

    def __getitem__(self, name: str) -> Node:
        """A member that must be there."""
        member = self.get(name)
        if member is not None:
            return member
        path = f"{self.path}.{name}"
        if isinstance(self._value, dict):
            self._faults.add(path, "is missing")
        else:
            self._wrong("an object")
        return Node(_MISSING, path, self._faults)

    def get(self, name: str) -> Node | None:
        """A member that may be absent or null."""
        if not isinstance(self._value, dict):
            return None
        value = self._value.get(name)
        return None if value is None else Node(value, f"{self.path}.{name}", self._faults)

    def optional(self, name: str, reader: Callable[[Node], T]) -> T | None:
        """What `reader` makes of a member, None where it is absent or null."""
        member = self.get(name)
        return None if member is None else reader(member)

    def optional_text(self, name: str) -> str | None:
        """A string that may be absent or null, masked."""
        return self.optional(name, Node.text)

    def __contains__(self, name: str) -> bool:
        """Whether it is an object with that member, null or not."""
        return isinstance(self._value, dict) and name in self._value

    def items(self) -> list[Node]:
        """The elements of a list."""
        if not isinstance(self._value, list):
            self._wrong("a list")
            return []
        return [
            Node(value, f"{self.path}[{index}]", self._faults)
            for index, value in enumerate(self._value)
        ]

    def plain_object(self) -> dict[str, Any]:
        """The value as it is, when it is an object."""
        if isinstance(self._value, dict):
            return self._value
        self._wrong("an object")
        return {}

    def text(self) -> str:
        """A string, masked."""
        if isinstance(self._value, str):
            return masked(self._value)
        self._wrong("a string")
        return ""

    def raw_text(self) -> str:
        """A string as it came, to go back as it is: half of a surrogate pair cannot."""
        if isinstance(self._value, str) and _is_encodable(self._value):
            return self._value
        self._wrong("a string")
        return ""

    def flag(self) -> bool:
        """A boolean."""
        if isinstance(self._value, bool):
            return self._value
        self._wrong("true or false")
        return False

    def number(self, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number, within bounds."""
        value = self._value
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and low <= number <= high:
                return number
        bounds = "" if math.isinf(low) else f" from {low:g}"
        bounds += "" if math.isinf(high) else f" to {high:g}"
        self._wrong(f"a finite number{bounds}")
        return float(max(low, 0.0))

    def whole(self, *, low: int = -(2**53), high: int = 2**53) -> int:
        """A whole number, within bounds; JSON may write it 3.0."""
        number = self.number(low=low, high=high)
        if not number.is_integer():
            self._wrong("a whole number")
        return int(number)

    def time(self) -> datetime:
        """An ISO 8601 time with its zone, in UTC."""
        if isinstance(self._value, str) and "T" in self._value:
            try:
                at = datetime.fromisoformat(self._value)
                if at.tzinfo is not None and EPOCH <= at <= LATEST:
                    return at.astimezone(UTC)
            except (ValueError, OverflowError):
                pass
        self._wrong("an ISO 8601 time with its zone")
        return EPOCH

    def choice(self, kind: type[E]) -> E:
        """A member of an enumeration."""
        known = list(kind)
        for member in known:
            if isinstance(self._value, str) and member.value == self._value:
                return member
        self._wrong("one of " + ", ".join(str(member.value) for member in known))
        return known[0]


def _no_constant(name: str) -> float:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def parse(content: bytes) -> object:
    """The value of a JSON document.

    Raises:
        UnreadableError: it is none.
    """
    try:
        value: object = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        begins = one_line(content[:200].decode("utf-8", "replace"), longest=LONGEST_SHOWN)
        reason = "is nested too deep" if isinstance(exc, RecursionError) else "is no JSON"
        raise UnreadableError((f"$: the reply {reason}; it begins {begins!r}",)) from None
    return value


def read(value: object, decode: Callable[[Node], T]) -> T:
    """What `decode` makes of a JSON value.

    Raises:
        UnreadableError: something was missing or wrong; carries all of it.
    """
    faults = _Faults()
    try:
        answer = decode(Node(value, "$", faults))
    except InputError as exc:  # a record refused a value, perhaps one that stood in for a fault
        if not faults:
            faults.add("$", str(exc))
    else:
        if not faults:
            return answer
    raise UnreadableError(faults.lines())
