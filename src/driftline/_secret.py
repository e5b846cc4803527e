"""A credential that cannot be printed by accident."""

from __future__ import annotations

import os
from typing import Final

from driftline.errors import InputError, MissingCredential

MASK: Final = "***"


class Secret:
    """Holds a credential; ``repr``, ``str`` and formatting show a mask, pickling is refused.

    Call :meth:`reveal` at the very edge, where the credential goes onto the wire.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep a non-empty credential.

        Raises:
            InputError: it is empty, or holds white space or control characters.
        """
        if not value or not value.isprintable() or any(char.isspace() for char in value):
            msg = "a credential must be a non-empty line of printable characters without spaces"
            raise InputError(msg)
        self._value = value

    def reveal(self) -> str:
        """The credential itself."""
        return self._value

    def redact(self, text: str) -> str:
        """`text` with every occurrence of the credential masked."""
        return text.replace(self._value, MASK)

    def __repr__(self) -> str:
        """Show a mask."""
        return f"Secret({MASK})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        """Refuse to be pickled: a credential must not reach a file."""
        msg = "a Secret cannot be pickled; pass the credential again on the other side"
        raise TypeError(msg)

    @classmethod
    def from_argument(cls, value: str | Secret | None, *, variable: str, what: str) -> Secret:
        """The credential that was passed, else the one in the environment.

        Raises:
            MissingCredential: neither is there; the message names the variable.
        """
        if isinstance(value, Secret):
            return value
        found = value if value is not None else os.environ.get(variable, "")
        if not found:
            msg = f"no {what} was passed and the environment variable {variable} is not set"
            raise MissingCredential(msg)
        return cls(found)
