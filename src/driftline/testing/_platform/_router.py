"""Requests, replies, and the table that joins a method and a path to its handler.

A resource of the Platform is one module with a tuple of `Route`; the table is their sum.
Nothing here does I/O: a handler takes the world and a request and gives a reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import Factory, evolve, field, frozen

if TYPE_CHECKING:
    from driftline.testing._platform._world import World

Operation: TypeAlias = Literal[
    "account",
    "list",
    "create",
    "detail",
    "update",
    "delete",
    "metrics",
    "health",
    "logs",
    "predict",
    "dataset-list",
    "dataset-create",
    "dataset",
    "images",
    "ingest",
    "export",
    "freeze",
    "batch-start",
    "batch",
    "batch-cancel",
    "image",
    "image-labels",
    "image-predict",
    "upload-url",
    "upload-complete",
    "store",
    "fetch",
    "model-list",
    "model-create",
    "model",
    "model-files",
    "training-start",
    "training",
    "training-cancel",
]
"""What a call asks for: the name faults and received calls go by."""

Damage: TypeAlias = Literal["hang", "reset", "truncated", "malformed"]
"""What can happen to a reply on its way, instead of arriving whole."""

OWNER: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
OWNER_LENGTH: Final = range(4, 33)
SLUG_LENGTH: Final = range(1, 129)


@frozen(kw_only=True)
class Request:
    """One HTTP request, read to its end. Header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    oversized: bool = False
    slugs: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Response:
    """One reply, before it is written.

    Attributes:
        status: HTTP status.
        body: the JSON object to send.
        content: what to send instead of JSON; then `headers` name its ``Content-Type``.
        headers: further headers.
        damage: what shall go wrong with it.
    """

    status: int = 200
    body: Mapping[str, object] = field(factory=dict)
    content: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(factory=dict)
    damage: Damage | None = None


class Refused(Exception):
    """The Platform says no: a status, its words, and what else it says with them."""

    def __init__(
        self,
        status: int,
        said: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Keep what the reply is made of."""
        super().__init__(f"{status}: {said}")
        self.response = Response(
            status=status, body={"error": said, **(more or {})}, headers=dict(headers or {})
        )


Handler: TypeAlias = Callable[["World", Request], Response]


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


@frozen
class Route:
    """One line of the table.

    Attributes:
        method: HTTP verb.
        template: path with names in braces.
        handler: what answers.
        operation: what the call asks for.
        category: rate-limit category it counts against; None for none.
        anonymous: whether it may be asked without a key.
    """

    method: str
    template: str
    handler: Handler
    operation: Operation
    category: str | None = field(default="default", kw_only=True)
    anonymous: bool = field(default=False, kw_only=True)
    pattern: re.Pattern[str] = field(
        init=False, default=Factory(lambda self: _pattern(self.template), takes_self=True)
    )


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route], *, retired: Iterable[str] = ()) -> None:
        """Keep the table, and the paths that answer 405 since they were retired."""
        self._routes = tuple(routes)
        self._retired = frozenset(retired)

    def find(self, request: Request) -> tuple[Route, Request]:
        """The route, and the request with the slugs of its path.

        Raises:
            Refused: 404 for a path nobody knows, 405 for a method it does not take.
        """
        known = request.path in self._retired
        for route in self._routes:
            if match := route.pattern.fullmatch(request.path):
                if route.method == request.method:
                    return route, evolve(request, slugs=match.groupdict())
                known = True
        raise Refused(405, "Method not allowed") if known else Refused(404, "Not found")


def check_slugs(slugs: Mapping[str, str]) -> None:
    """Refuse names that are not exactly lower-case words joined by hyphens.

    The lengths are the contract's: 4 to 32 for an owner, 1 to 128 for the rest.

    Raises:
        Refused: 400.
    """
    for name, value in slugs.items():
        lengths = OWNER_LENGTH if name == "owner" else SLUG_LENGTH
        if len(value) not in lengths or not OWNER.fullmatch(value):
            raise Refused(400, f"Invalid {name}: {value}")


def choice(
    values: Mapping[str, str], name: str, options: Iterable[str], *, default: str | None = None
) -> str | None:
    """A value that is one of a few.

    Raises:
        Refused: 400, it is something else.
    """
    value = values.get(name)
    if value is None:
        return default
    if value not in (known := tuple(options)):
        raise Refused(400, f"Invalid {name}: expected one of {', '.join(known)}")
    return value


def number(
    values: Mapping[str, str], name: str, *, low: float, high: float, default: float
) -> float:
    """A number between two others, ends included.

    Raises:
        Refused: 400, it is none, or outside.
    """
    text = values.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise Refused(400, f"Invalid {name}: expected a number") from None
    if not low <= value <= high:
        raise Refused(400, f"Invalid {name}: must be between {low:g} and {high:g}")
    return value


def whole(values: Mapping[str, str], name: str, *, low: int, high: int, default: int) -> int:
    """A whole number between two others, ends included.

    Raises:
        Refused: 400, it is none, or outside.
    """
    value = number(values, name, low=low, high=high, default=default)
    if value != int(value):
        raise Refused(400, f"Invalid {name}: expected a whole number")
    return int(value)
