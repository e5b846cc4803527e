"""A conversation is a generator: it yields calls and is sent replies.

Nothing here does I/O. `drive` and `adrive` run the same conversation over a blocking and an
async transport; waiting is part of a call (`Call.after_seconds`), decided here and done at the edge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, TypeAlias, TypeVar

from attrs import Factory, field, frozen

from driftline.errors import Unreachable

T = TypeVar("T")

READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Verbs that change nothing (RFC 9110, 9.2.1)."""


def _size(content: bytes | None) -> str:
    return "None" if content is None else f"<{len(content)} bytes>"


@frozen(kw_only=True)
class Upload:
    """One file of a multipart body, or the whole body of a PUT."""

    content: bytes = field(repr=_size)
    filename: str = "file"
    content_type: str = "application/octet-stream"


def _without_query(path: str) -> str:
    """A path as it may be shown: the query of a signed URL is a credential."""
    return repr(path.partition("?")[0])


def _reads(call: Call) -> bool:
    return call.method in READS


@frozen(kw_only=True)
class Call:
    """One HTTP request, before it is sent.

    Attributes:
        method: HTTP verb.
        path: path below the base URL, or an absolute URL for another host.
        params: query parameters.
        json: JSON body.
        form: text fields of a multipart body.
        files: file fields of a multipart body.
        content: raw body.
        headers: further headers; never the credential.
        credential: whether the transport adds the credential. It never does so for another
            host than the base URL's and `credential_origin`'s.
        credential_origin: URL of another host that may see the credential, because the
            holder of the account named it; "" for none.
        category: rate-limit category the call counts against.
        idempotent: whether repeating it is harmless; unless said otherwise, a read is and
            nothing else.
        after_seconds: wait this long before sending.
        timeout_seconds: bound on connecting, on each pause while sending, on the wait for the
            reply to begin and on reading the whole of it; None is the client's default.
    """

    method: str
    path: str = field(repr=_without_query)
    params: Mapping[str, str | int | float] = field(factory=dict)
    json: Any = None
    form: Mapping[str, str] = field(factory=dict)
    files: Mapping[str, Upload] = field(factory=dict)
    content: bytes | None = field(default=None, repr=_size)
    headers: Mapping[str, str] = field(factory=dict)
    credential: bool = True
    credential_origin: str = ""
    category: str = "default"
    idempotent: bool = Factory(_reads, takes_self=True)
    after_seconds: float = 0.0
    timeout_seconds: float | None = None


@frozen(kw_only=True)
class Reply:
    """One HTTP response, read to its end. Header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=lambda headers: f"<{len(headers)}>")
    content: bytes = field(default=b"", repr=_size)


Flow: TypeAlias = Generator[Call, Reply, T]


def drive(flow: Flow[T], send: Callable[[Call], Reply]) -> T:
    """Run a conversation over a blocking transport and return its answer."""
    try:
        call = next(flow)
        while True:
            try:
                reply = send(call)
            except Unreachable as exc:
                call = flow.throw(exc)
            else:
                call = flow.send(reply)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    finally:
        flow.close()


async def adrive(flow: Flow[T], send: Callable[[Call], Awaitable[Reply]]) -> T:
    """Run a conversation over an async transport and return its answer."""
    try:
        call = next(flow)
        while True:
            try:
                reply = await send(call)
            except Unreachable as exc:
                call = flow.throw(exc)
            else:
                call = flow.send(reply)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
    finally:
        flow.close()
