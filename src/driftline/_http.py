"""The edge: the only file that knows httpx.

A transport does two things, *send* and *sleep*. It adds the credential to calls for its own base
URL and to no other host, follows no redirect, and turns every transport failure into
`driftline.errors.Unreachable` without a word of the request's headers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from driftline._clock import Clock, SystemClock
from driftline._secret import Secret
from driftline._wire import Call, Reply
from driftline.errors import InputError, Unreachable

Pace = Callable[[Call], float]
"""Seconds to wait before a call may go; reserves its place."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def checked_base_url(base_url: str, *, credential: bool) -> str:
    """The base URL without a trailing slash.

    Raises:
        InputError: it is no http(s) URL, carries credentials, or would send a credential
            unencrypted over a network.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"base_url={base_url!r} must begin with https:// (or http:// on loopback) and name a host"
        raise InputError(msg)
    if parts.username or parts.password:
        msg = (
            f"the URL of host {parts.hostname!r} must not carry credentials; pass them as arguments"
        )
        raise InputError(msg)
    if credential and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        msg = f"http://{parts.hostname} would carry the credential unencrypted; use https://"
        raise InputError(msg)
    return base_url.rstrip("/")


class _Edge:
    """What both transports share: building requests, reading replies, naming failures."""

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

    def _wait_seconds(self, call: Call) -> float:
        paced = self._pace(call) if self._pace is not None else 0.0
        return max(call.after_seconds, paced)

    def _own(self, url: str) -> bool:
        ours, theirs = urlsplit(self.base_url), urlsplit(url)
        return (ours.scheme, ours.hostname, ours.port) == (
            theirs.scheme,
            theirs.hostname,
            theirs.port,
        )

    def _request(self, call: Call) -> dict[str, Any]:
        absolute = call.path.startswith(("http://", "https://"))
        url = call.path if absolute else self.base_url + call.path
        headers = dict(call.headers)
        if self._own(url):
            headers = {**self._headers, **headers}
            if call.credential and self._authorization is not None:
                headers["Authorization"] = f"{self._scheme} {self._authorization.reveal()}"
        request: dict[str, Any] = {
            "method": call.method,
            "url": url,
            "headers": headers,
            "timeout": call.timeout_seconds or self._timeout_seconds,
            "follow_redirects": False,
        }
        if call.params:
            request["params"] = dict(call.params)
        if call.json is not None:
            request["json"] = call.json
        if call.content is not None:
            request["content"] = call.content
        if call.form or call.files:
            request["data"] = dict(call.form)
            # A field without a filename makes httpx send multipart even when no file is there.
            request["files"] = {
                name: (upload.filename, upload.content, upload.content_type)
                for name, upload in call.files.items()
            } or {name: (None, value) for name, value in call.form.items()}
            if not call.files:
                del request["data"]
        return request

    def _unreachable(self, call: Call, exc: Exception) -> Unreachable:
        host = urlsplit(call.path if call.path.startswith("http") else self.base_url).hostname
        path = urlsplit(call.path).path
        text = str(exc) or type(exc).__name__
        if self._authorization is not None:
            text = self._authorization.redact(text)
        error = Unreachable(
            f"{call.method} {path}: no reply from {host}: {text}", method=call.method, path=path
        )
        error.sent = not isinstance(
            exc,
            httpx.ConnectError
            | httpx.ConnectTimeout
            | httpx.PoolTimeout
            | httpx.UnsupportedProtocol,
        )
        return error

    @staticmethod
    def _reply(response: httpx.Response) -> Reply:
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            content=response.content,
        )

    def __repr__(self) -> str:
        """Say where it leads; never the credential."""
        return f"{type(self).__name__}({self.base_url!r})"


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
        self._owned = client is None
        self._client = client

    def send(self, call: Call) -> Reply:
        """Wait as long as the call asks, send it, read the whole reply.

        Raises:
            Unreachable: there was no reply.
        """
        if (wait := self._wait_seconds(call)) > 0:
            self._clock.sleep(wait)
        if self._client is None:
            self._client = httpx.Client()
        try:
            return self._reply(self._client.request(**self._request(call)))
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as exc:
            error = self._unreachable(call, exc)
        # Raised outside the handler: the cause's traceback holds the request and its headers.
        raise error

    def close(self) -> None:
        """Close the connections it opened itself."""
        if self._owned and self._client is not None:
            self._client.close()
            self._client = None

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
        self._owned = client is None
        self._client = client

    async def send(self, call: Call) -> Reply:
        """Wait as long as the call asks, send it, read the whole reply.

        Raises:
            Unreachable: there was no reply.
        """
        if (wait := self._wait_seconds(call)) > 0:
            await self._clock.asleep(wait)
        if self._client is None:
            self._client = httpx.AsyncClient()
        try:
            return self._reply(await self._client.request(**self._request(call)))
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as exc:
            error = self._unreachable(call, exc)
        raise error

    async def aclose(self) -> None:
        """Close the connections it opened itself."""
        if self._owned and self._client is not None:
            await self._client.aclose()
            self._client = None

    async def __aenter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()
