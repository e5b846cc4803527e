"""What shall go wrong, for which call, how often."""

from __future__ import annotations

import threading
from typing import Final, Literal, TypeAlias, get_args

from attrs import define, field

from driftline.errors import InputError
from driftline.testing._platform._router import Damage, Operation, Response

Fault: TypeAlias = Literal["hang", "reset", "truncated", "malformed", "unexpected"] | int
"""What goes wrong with a reply:

- ``"hang"``: no reply until the client gives up (or `LocalPlatform.hang_seconds` real seconds pass)
- ``"reset"``: the connection is reset
- ``"truncated"``: the body ends before its ``Content-Length``
- ``"malformed"``: 200, complete, and no JSON
- ``"unexpected"``: 200, JSON, and nothing the contract knows
- an HTTP status from 400 to 599, with an error body
"""

_WORDS: Final = {
    401: "Invalid API key",
    402: "Insufficient credits",
    403: "Forbidden",
    404: "Deployment not found",
    409: "Deployment state changed",
    413: "Payload too large",
    422: "Unprocessable input",
    429: "Rate limit exceeded",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
}
_DAMAGES: Final = frozenset(get_args(Damage))
_STATUSES: Final = range(400, 600)


@define(kw_only=True)
class _Planned:
    kind: Fault
    on: Operation | None
    slug: str | None
    left: int | None
    retry_after_seconds: float | None = field(default=None)

    def fits(self, operation: Operation, slug: str | None) -> bool:
        return self.on in {None, operation} and self.slug in {None, slug}

    def response(self) -> Response:
        kind = self.kind
        if isinstance(kind, int):
            return self._refusal(kind)
        if kind == "unexpected":
            return Response(body={"unexpected": [1, "two", None]})
        return Response(damage=kind)

    def _refusal(self, status: int) -> Response:
        said: dict[str, object] = {"error": _WORDS.get(status, f"HTTP {status}")}
        headers: dict[str, str] = {}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = f"{self.retry_after_seconds:g}"
        return Response(status=status, body=said, headers=headers)


class FaultPlan:
    """The faults still to come, oldest first."""

    def __init__(self) -> None:
        """Plan nothing."""
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []

    def add(
        self,
        kind: Fault,
        *,
        on: Operation | None,
        slug: str | None,
        times: int | None,
        retry_after_seconds: float | None,
    ) -> None:
        """Plan a fault.

        Raises:
            InputError: a kind, an operation or a number that means nothing here.
        """
        known = kind in _STATUSES if isinstance(kind, int) else kind in {*_DAMAGES, "unexpected"}
        if not known:
            msg = f"fault {kind!r}: use a status from 400 to 599, or one of {sorted(_DAMAGES)} or 'unexpected'"
            raise InputError(msg)
        if on is not None and on not in get_args(Operation):
            msg = f"on={on!r}: use one of {get_args(Operation)}, or None for every call"
            raise InputError(msg)
        if times is not None and times < 1:
            msg = f"times={times!r}: use 1 or more, or None for until clear_faults()"
            raise InputError(msg)
        planned = _Planned(
            kind=kind, on=on, slug=slug, left=times, retry_after_seconds=retry_after_seconds
        )
        with self._lock:
            self._planned.append(planned)

    def next(self, operation: Operation, slug: str | None) -> Response | None:
        """What goes wrong with this call; None when nothing does. Each use counts."""
        with self._lock:
            for planned in self._planned:
                if planned.fits(operation, slug):
                    if planned.left is not None:
                        planned.left -= 1
                        if planned.left == 0:
                            self._planned.remove(planned)
                    return planned.response()
        return None

    def clear(self, slug: str | None = None) -> None:
        """Forget what was planned; only one deployment's when it is named."""
        with self._lock:
            self._planned = [p for p in self._planned if slug is not None and p.slug != slug]
