"""The edge: the only file that knows httpx.

A transport does two things, *send* and *sleep*. It adds the credential to calls for its own base
URL (and the one origin a call names) and to no other host, follows no redirect, and turns every
transport failure into `driftline.errors.Unreachable` without a word of the request's headers.
Every other exception leaves it without the frames that hold the request, and what httpx logs
meanwhile is searched for the credential and for the query of a signed URL.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit

import httpx

from driftline._clock import Clock, SystemClock
from driftline._discreet import discreet
from driftline._fork import begin_anew_after_fork
from driftline._secret import MASK, Secret
from driftline._wire import Call, Reply
from driftline.errors import ConfigError, InputError, PlatformError, Unreachable, UnreadableReply

Pace = Callable[[Call], float]
"""Seconds to wait before a call may go; reserves its place."""

HttpClient: TypeAlias = httpx.Client
AsyncHttpClient: TypeAlias = httpx.AsyncClient

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy")))
"""What logs addresses, and the headers of replies, while a call is under way."""
LONGEST_REPLY_BYTES = 256 * 2**20
"""A reply longer than this (after decompression) is not read to its end: a broken or hostile
server must not fill the memory of a monitoring process."""

_Opened = TypeVar("_Opened")
_MACHINE = SystemClock()  # bytes on a real wire take the machine's time, whatever clock was given


def as_url(url: str) -> str:
    """`url`, which is text.

    Raises:
        InputError: it is none; what it is instead is not shown, for it may hold a credential.
    """
    given: object = url
    if not isinstance(given, str):
        msg = f"a URL is text, such as https://host.example, got a {type(given).__name__}"
        raise InputError(msg)
    return url


def _split(url: str) -> SplitResult:
    text = as_url(url)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # not quoted, nor kept as context: what should be a port may be a password
        pass
    else:
        return parts
    msg = "a URL does not parse: it must be such as https://host:8443/path"
    raise InputError(msg)


def shown_url(url: str) -> str:
    """A URL as a message may quote it: without what stands before an @ or after a question mark.

    >>> shown_url("https://user:word@host/a?token=b"), shown_url("user:word@host")
    ('https://***@host/a?***', '***@host')
    """
    place, mark, _ = url.partition("?")
    head, at, host = place.rpartition("@")
    scheme, slashes, _ = head.partition("://")
    account = f"{scheme}://{MASK}@" if slashes else f"{MASK}@"
    return f"{account if at else ''}{host}{mark}{MASK if mark else ''}"


def checked_base_url(base_url: str, *, credential: bool) -> str:
    """The base URL without a trailing slash.

    Raises:
        InputError: it is no http(s) URL, carries credentials, a query or a fragment, or would
            send a credential unencrypted over a network.
    """
    parts = _split(base_url)
    if parts.username or parts.password:
        msg = (
            f"the URL of host {parts.hostname!r} must not carry credentials; pass them as arguments"
        )
        raise InputError(msg)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = (
            f"the address {shown_url(base_url)!r} must begin with https:// (or http:// on loopback) "
            "and name a host"
        )
        raise InputError(msg)
    if "?" in base_url or "#" in base_url:
        msg = f"the address of host {parts.hostname!r} must have no query and no fragment"
        raise InputError(msg)
    if credential and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        msg = f"http://{parts.hostname} would carry the credential unencrypted; use https://"
        raise InputError(msg)
    return base_url.rstrip("/")


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs lead to one scheme, host and port.

    Read by httpx, which decides where the bytes go: two parsers may disagree on an odd URL.

    Raises:
        InputError: one of them does not parse.
    """
    try:
        ours, theirs = httpx.URL(one), httpx.URL(other)
    except httpx.InvalidURL as exc:
        msg = f"a URL does not parse: {exc}"
        raise InputError(msg) from None
    return (ours.scheme, ours.host, ours.port) == (theirs.scheme, theirs.host, theirs.port)


def _open(kind: Callable[..., _Opened]) -> _Opened:
    """A client of httpx, which takes proxies and certificates from the environment.

    Loopback is reached without a proxy, whatever the environment says: a credential may go there
    unencrypted because nobody else sees it.

    Raises:
        ConfigError: the environment asks for what cannot be.
    """
    direct = {f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK}
    try:
        return kind(mounts=direct)
    except (ImportError, OSError, ValueError) as exc:
        why = f"{type(exc).__name__}: {exc}"
    except httpx.InvalidURL:  # its words may be part of a proxy's password
        why = "the URL of a proxy does not parse"
    msg = (
        f"no connection can be made as the environment asks ({why}); look at HTTPS_PROXY, "
        "HTTP_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
    )
    raise ConfigError(msg)


def _is_absolute(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _json_of(call: Call) -> bytes:
    """The JSON body of a call.

    Raises:
        InputError: it holds what JSON has no word for.
    """
    try:
        text = json.dumps(call.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except (TypeError, ValueError) as exc:
        msg = f"{call.method} {_split(call.path).path}: only plain JSON can be sent: {exc}"
        raise InputError(msg) from None


def _drop_frames(exc: BaseException, *, handled: BaseException | None) -> None:
    """Take the frames off an exception and its causes: they hold the request and its headers.

    Args:
        exc: what leaves.
        handled: what was being handled when the call began; that is the caller's and stays.
    """
    todo: list[BaseException | None] = [exc]
    seen = {id(None), id(handled)}
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


class _ReplyTooMuchError(Exception):
    """The reply is longer, or takes longer, than it may."""


class _ClosedError(Exception):
    """The connections were closed before the call was sent."""


@contextmanager
def _still_open(client: httpx.Client | httpx.AsyncClient) -> Generator[None]:
    """Around the start of a call: another thread or task may have closed the client just now."""
    try:
        yield
    except RuntimeError:
        if not client.is_closed:
            raise
        msg = "the connections were closed before it was sent"
        raise _ClosedError(msg) from None


class _Body:
    """Collects the bytes of a reply, within bounds of size and time."""

    def __init__(self, seconds: float) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._seconds = seconds
        self._deadline = _MACHINE.monotonic() + seconds

    def feed(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > LONGEST_REPLY_BYTES:
            msg = f"the reply is longer than {LONGEST_REPLY_BYTES} bytes"
            raise _ReplyTooMuchError(msg)
        if _MACHINE.monotonic() > self._deadline:
            msg = f"the reply was not complete {self._seconds:g} s after it began"
            raise _ReplyTooMuchError(msg)
        self._parts.append(part)

    def content(self) -> bytes:
        return b"".join(self._parts)


_FAILURES = (
    httpx.TransportError,
    httpx.DecodingError,
    httpx.InvalidURL,
    _ReplyTooMuchError,
    _ClosedError,
)


class _Edge:
    """What both transports share: building requests, reading replies, naming failures."""

    base_url: str = ""  # shown by a traceback in the midst of __init__

    def __init__(
        self,
        base_url: str,
        *,
        authorization: Secret | None,
        scheme: str,
        headers: dict[str, str] | None,
        clock: Clock | None,
        pace: Pace | None,
        timeout_seconds: float,
    ) -> None:
        self.base_url = checked_base_url(base_url, credential=authorization is not None)
        self._authorization = authorization
        self._scheme = scheme
        self._headers = dict(headers or {})
        self._clock: Clock = clock or SystemClock()
        self._pace = pace
        self._timeout_seconds = timeout_seconds

    def _pause_seconds(self, call: Call) -> float:
        return self._pace(call) if self._pace is not None else 0.0

    def _trusted(self, call: Call, url: str) -> bool:
        if same_origin(self.base_url, url):
            return True
        named = call.credential_origin
        return bool(named) and same_origin(checked_base_url(named, credential=True), url)

    def _headers_of(self, call: Call, url: str) -> dict[str, str]:
        if not self._trusted(call, url):
            return dict(call.headers)
        headers = {**self._headers, **call.headers}
        if call.credential and self._authorization is not None:
            headers["Authorization"] = f"{self._scheme} {self._authorization.reveal()}"
        return headers

    def _timeout_of(self, call: Call) -> float:
        return self._timeout_seconds if call.timeout_seconds is None else call.timeout_seconds

    def _request(self, call: Call) -> dict[str, Any]:
        url = call.path if _is_absolute(call.path) else self.base_url + call.path
        request: dict[str, Any] = {
            "method": call.method,
            "url": url,
            "headers": self._headers_of(call, url),
            "timeout": self._timeout_of(call),
            "follow_redirects": False,
        }
        if call.params:
            request["params"] = dict(call.params)
        if call.json is not None:
            request["content"] = _json_of(call)
            request["headers"].setdefault("Content-Type", "application/json")
        if call.content is not None:
            request["content"] = call.content
        if call.form or call.files:
            # A field without a filename makes httpx send multipart even when no file is there.
            request["files"] = {
                **{name: (None, value) for name, value in call.form.items()},
                **{
                    name: (upload.filename, upload.content, upload.content_type)
                    for name, upload in call.files.items()
                },
            }
        return request

    def _redacted(self, text: str) -> str:
        return text if self._authorization is None else self._authorization.redact(text)

    def _discreet(self, call: Call) -> AbstractContextManager[None]:
        secrets = [] if self._authorization is None else [self._authorization.reveal()]
        if _is_absolute(call.path):
            secrets += [_split(call.path).query, httpx.URL(call.path).query.decode()]
        return discreet(LOGGERS, [secret for secret in secrets if secret])

    @contextmanager
    def masking(self) -> Generator[None]:
        """Mask the credential in every word of an error: the other side may have quoted it."""
        try:
            yield
        except PlatformError as error:
            error.args = tuple(self._redacted(str(one)) for one in error.args)
            error.said = self._redacted(error.said)
            error.request_id = error.request_id and self._redacted(error.request_id)
            if isinstance(error, UnreadableReply):
                error.problems = tuple(map(self._redacted, error.problems))
            raise

    def _unreachable(self, call: Call, exc: Exception) -> Unreachable:
        host = _split(call.path if _is_absolute(call.path) else self.base_url).hostname
        path = _split(call.path).path
        text = self._redacted(str(exc) or type(exc).__name__)
        error = Unreachable(
            f"{call.method} {path}: no reply from {host}: {text}", method=call.method, path=path
        )
        error.sent = not isinstance(
            exc,
            httpx.ConnectError
            | httpx.ConnectTimeout
            | httpx.PoolTimeout
            | httpx.ProxyError
            | httpx.UnsupportedProtocol
            | httpx.InvalidURL
            | _ClosedError,
        )
        return error

    def _reply(self, response: httpx.Response, body: _Body) -> Reply:
        content = body.content()
        if response.is_error and self._authorization is not None:  # it may echo the credential
            content = content.replace(self._authorization.reveal().encode(), MASK.encode())
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            content=content,
        )

    def __repr__(self) -> str:
        """Say where it leads; never the credential."""
        return f"{type(self).__name__}({self.base_url!r})"


class _Lent:
    """A client and how many calls are under way over it; the last one closes it once it is retired.

    A connection that is closed under a thread that waits for its reply leaves it waiting until its
    time is over, so that nobody's connection is closed under him.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    @contextmanager
    def used(self) -> Generator[httpx.Client]:
        with self._lock:
            self._users += 1
        try:
            yield self.client
        finally:
            self._left(users=1)

    def retire(self) -> None:
        self._left(users=0, retired=True)

    def _left(self, *, users: int, retired: bool = False) -> None:
        with self._lock:
            self._users -= users
            self._retired |= retired
            over = self._retired and not self._users
        if over:
            self.client.close()


class Transport(_Edge):
    """Sends calls over a blocking httpx client."""

    def __init__(
        self,
        base_url: str,
        *,
        authorization: Secret | None = None,
        scheme: str = "Bearer",
        headers: dict[str, str] | None = None,
        client: httpx.Client | None = None,
        clock: Clock | None = None,
        pace: Pace | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        """Keep where to send; the connection opens with the first call.

        A client that was passed in is used as it is and not closed.
        """
        super().__init__(
            base_url,
            authorization=authorization,
            scheme=scheme,
            headers=headers,
            clock=clock,
            pace=pace,
            timeout_seconds=timeout_seconds,
        )
        self._given = client
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """At birth, and in a forked process: two must not read replies from one connection."""
        self._opening = threading.Lock()
        self._lent: _Lent | None = None

    def send(self, call: Call) -> Reply:
        """Wait as long as the call asks, send it, read the whole reply.

        Raises:
            Unreachable: there was no reply.
        """
        # Two waits, not the longer one: a place in the pace is taken when the call is ready to go.
        if call.after_seconds > 0:
            self._clock.sleep(call.after_seconds)
        if (pause := self._pause_seconds(call)) > 0:
            self._clock.sleep(pause)
        handled = sys.exception()
        try:
            with self._discreet(call):
                return self._exchange(call)
        except _FAILURES as exc:
            error = self._unreachable(call, exc)
        except BaseException as exc:  # border: what leaves must not carry the request's headers
            _drop_frames(exc, handled=handled)
            raise
        # Raised outside the handler: the cause's traceback holds the request and its headers.
        raise error

    def _exchange(self, call: Call) -> Reply:
        with ExitStack() as exchange:
            client = self._opened(exchange)
            with _still_open(client):
                response = exchange.enter_context(client.stream(**self._request(call)))
            body = _Body(self._timeout_of(call))
            for part in response.iter_bytes():
                body.feed(part)
            return self._reply(response, body)

    def _opened(self, exchange: ExitStack) -> httpx.Client:
        if self._given is not None:
            return self._given
        with self._opening:
            if self._lent is None:
                self._lent = _Lent(_open(httpx.Client))
            return exchange.enter_context(self._lent.used())

    def close(self) -> None:
        """Close the connections it opened itself, as soon as the calls under way are over."""
        with self._opening:
            lent, self._lent = self._lent, None
        if lent is not None:
            lent.retire()

    def __enter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class AsyncTransport(_Edge):
    """Sends calls over an async httpx client."""

    def __init__(
        self,
        base_url: str,
        *,
        authorization: Secret | None = None,
        scheme: str = "Bearer",
        headers: dict[str, str] | None = None,
        client: httpx.AsyncClient | None = None,
        clock: Clock | None = None,
        pace: Pace | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        """Keep where to send; the connection opens with the first call.

        A client that was passed in is used as it is and not closed.
        """
        super().__init__(
            base_url,
            authorization=authorization,
            scheme=scheme,
            headers=headers,
            clock=clock,
            pace=pace,
            timeout_seconds=timeout_seconds,
        )
        self._given = client
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """At birth, and in a forked process: two must not read replies from one connection."""
        # Connections belong to the event loop that opened them, and loops may run side by side.
        self._clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    async def send(self, call: Call) -> Reply:
        """Wait as long as the call asks, send it, read the whole reply.

        Raises:
            Unreachable: there was no reply.
        """
        if call.after_seconds > 0:
            await self._clock.asleep(call.after_seconds)
        if (pause := self._pause_seconds(call)) > 0:
            await self._clock.asleep(pause)
        handled = sys.exception()
        try:
            with self._discreet(call):
                return await self._exchange(call)
        except _FAILURES as exc:
            error = self._unreachable(call, exc)
        except BaseException as exc:  # border: what leaves must not carry the request's headers
            _drop_frames(exc, handled=handled)
            raise
        raise error

    async def _exchange(self, call: Call) -> Reply:
        client = self._opened()
        async with AsyncExitStack() as exchange:
            with _still_open(client):
                stream = client.stream(**self._request(call))
                response = await exchange.enter_async_context(stream)
            body = _Body(self._timeout_of(call))
            async for part in response.aiter_bytes():
                body.feed(part)
            return self._reply(response, body)

    def _opened(self) -> httpx.AsyncClient:
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for ended in [one for one in list(self._clients) if one.is_closed()]:
                self._clients.pop(ended, None)  # nobody can close its connections any more
            self._clients[loop] = _open(httpx.AsyncClient)
        return self._clients[loop]

    async def aclose(self) -> None:
        """Close the connections it opened itself, in the event loop that it is called from."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()
