"""A credential that cannot be printed by accident."""

from __future__ import annotations

import os
from typing import Final

from driftline.errors import InputError, MissingCredential

MASK: Final = "***"
_SHORTEST: Final = 8
"""A shorter beginning of a credential tells nothing, and is found in innocent text."""


def _usable(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


class Secret:
    """Holds a credential; ``repr``, ``str`` and formatting show a mask, pickling is refused.

    Call :meth:`reveal` at the very edge, where the credential goes onto the wire.
    No frame that raises keeps the credential in a local variable: tracebacks that show locals
    (rich, Sentry, cgitb) must not print it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep a non-empty credential.

        Raises:
            InputError: it is no text, empty, or holds white space, control or non-ASCII
                characters.
        """
        usable = _usable(value)
        self._value = value if usable else ""
        del value
        if not usable:
            msg = (
                "a credential must be a non-empty line of printable ASCII characters without spaces"
            )
            raise InputError(msg)

    def reveal(self) -> str:
        """The credential itself."""
        return self._value

    def redact(self, text: str) -> str:
        """`text` with every occurrence of the credential masked, also one that was cut short."""
        for length in range(len(self._value), min(len(self._value), _SHORTEST) - 1, -1):
            text = text.replace(self._value[:length], MASK)
        return text

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
            InputError: it is no credential, see `Secret`.
        """
        try:
            if isinstance(value, Secret):
                return value
            if value or (value is None and os.environ.get(variable)):
                return cls(os.environ[variable] if value is None else value)
        finally:
            del value
        msg = f"no {what} was passed and the environment variable {variable} is not set"
        raise MissingCredential(msg)
