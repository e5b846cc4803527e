"""One address a sink talks to: one attempt a call, every failure as a delivery error."""

from __future__ import annotations

import base64
import json
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Self, TypeAlias
from urllib.parse import urlsplit

from attrs import evolve, frozen

from driftline._checks import part, parts, refuse_number
from driftline._discreet import discreet, masked_text
from driftline._http import LOGGERS, Transport, checked_base_url
from driftline._retry import retry_after_seconds
from driftline._secret import Secret
from driftline._wire import Call, Reply
from driftline.errors import (
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    InputError,
    Unreachable,
)
from driftline.sinks._text import clip, one_line

Auth: TypeAlias = str | Secret | tuple[str, str | Secret] | None
"""A bearer token, or a pair of user and password for basic authentication."""

TIMEOUT_SECONDS: Final = 10.0
"""Bound on one attempt: a sink that hangs must not hold up the run (the outbox tries again)."""

SUCCESS: Final = range(200, 300)
_REDIRECTION: Final = range(300, 400)
"""Classes of statuses (RFC 9110, 15)."""

RETRY_LATER: Final = frozenset({408, 425, 429, *range(500, 600)})
"""What a later attempt may answer: RFC 9110 (408, 5xx), RFC 8470 (425), RFC 6585 (429)."""

SAID_LIMIT: Final = 300

SHORTEST_TOKEN: Final = 16
"""A part of a webhook's path shorter than this is a word of its API."""


@frozen
class Credential:
    """What an ``Authorization`` header holds, and the password inside it where there is one."""

    secret: Secret
    scheme: str = "Bearer"
    password: Secret | None = None


def credential(auth: Auth | Credential) -> Credential | None:
    """The credential as the ``Authorization`` header wants it (RFC 7617, 6750).

    Raises:
        InputError: neither a token nor a pair, a token that is none, or a user name with a
            colon, which basic authentication cannot carry.
    """
    try:
        if auth is None or isinstance(auth, Credential):
            return auth
        if isinstance(auth, Secret):
            return Credential(auth)
        if isinstance(auth, str):
            return Credential(Secret(auth))
        user, password = _pair(auth)
        if ":" not in user:
            return _basic(user, password)
    finally:
        del auth
        password = ""
    msg = f"the user name {user!r} must not contain a colon"
    raise InputError(msg)


def _pair(auth: object) -> tuple[str, str | Secret]:
    """User and password.

    Raises:
        InputError: it is no such pair; what it is instead is not shown, for it may be a secret.
    """
    try:
        match auth:
            case (str(user), str() | Secret() as password):
                return user, password
            case _:
                kind = type(auth).__name__
    finally:
        del auth
        password = ""
    msg = f"a credential is a token or (user, password), all of it text; got a {kind}"
    raise InputError(msg)


def _basic(user: str, password: str | Secret) -> Credential:
    try:
        plain = password.reveal() if isinstance(password, Secret) else password
        whole = Secret(base64.b64encode(f"{user}:{plain}".encode()).decode())
        return Credential(whole, scheme="Basic", password=_maskable(plain))
    finally:
        del password
        plain = ""


def _maskable(plain: str) -> Secret | None:
    """The password alone, where it is not too ordinary to be masked in a text.

    Raises:
        InputError: it holds a line feed or the like, as copied ones do.
    """
    try:
        if plain.isprintable() and (not plain.isascii() or " " in plain or not plain):
            return None
        return Secret(plain)
    finally:
        del plain


def checked_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Labels of your own.

    Raises:
        InputError: they are no mapping of text to text.
    """
    if labels is None:
        return {}
    found = dict(part(labels, Mapping, name="labels", what='labels such as {"env": "prod"}'))
    parts((*found, *found.values()), str, name="labels", what="text, the names and the values")
    return found


def checked_timeout(seconds: float) -> float:
    """The bound on one call.

    Raises:
        InputError: it is none: a call without end would hold up the run.
    """
    refuse_number("timeout_seconds", seconds, "a finite number of seconds, above 0", above=0)
    return seconds


def failure(
    sink: str,
    status: int,
    *,
    said: str,
    retry_after: float | None = None,
    retry_later: frozenset[int] = RETRY_LATER,
    hint: str = "",
) -> DeliveryError:
    """What a reply that is no success means for the outbox."""
    words = f"{sink}: answered {status}"
    words += f" and said {clip(one_line(said), SAID_LIMIT)!r}" if said else ""
    words += f"; {hint}" if hint else ""
    kind = DeliveryFailed if status in retry_later else DeliveryRefused
    return kind(words, status=status, retry_after_seconds=retry_after)


def no_reply(sink: str, why: str) -> DeliveryFailed:
    """What silence means: it may have arrived, so that only a keyed message may be repeated."""
    return DeliveryFailed(f"{sink}: no usable reply: {clip(one_line(why), SAID_LIMIT)}")


class Closing:
    """Closes what a sink opened: when told to, at the end of a ``with``, or when it is forgotten."""

    def _closes(self, *closers: Callable[[], None]) -> None:
        """Keep what to call; none of `closers` may hold the sink itself, or it is never freed."""
        self._closers = closers
        weakref.finalize(self, _call_each, closers)

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        _call_each(self._closers)

    def __enter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        self.close()


def _call_each(closers: Sequence[Callable[[], None]]) -> None:
    for close in closers:
        close()


class Channel:
    """Calls to one base URL."""

    def __init__(
        self,
        base_url: str,
        *,
        sink: str,
        auth: Auth | Credential = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry_later: frozenset[int] = RETRY_LATER,
        path: Secret | None = None,
    ) -> None:
        """Keep where to send.

        Args:
            base_url: address without credentials.
            sink: name of the sink, for its errors.
            auth: credential for the ``Authorization`` header.
            headers: further headers of every call.
            timeout_seconds: bound on one call.
            retry_later: statuses after which a later attempt may succeed.
            path: a path that is itself the credential (a webhook's); every call goes to it.

        Raises:
            InputError: the URL is none, carries credentials, or would send one unencrypted; or
                the time-out is no time.
        """
        try:
            held = credential(auth)
        finally:
            del auth
        if path is not None:
            checked_base_url(base_url, credential=True)
        self._sink = sink
        self._retry_later = retry_later
        self._path = path
        self._secrets = [*_parts_of(held), *_parts_of_path(path)]
        self._lock = threading.Lock()  # a Transport opens its client at the first call
        self._transport = Transport(
            base_url,
            authorization=held.secret if held else None,
            scheme=held.scheme if held else "",
            headers=dict(headers or {}),
            timeout_seconds=checked_timeout(timeout_seconds),
        )

    @property
    def base_url(self) -> str:
        """The address, without a trailing slash."""
        return self._transport.base_url

    def call(self, call: Call, *, hints: Mapping[int, str] | None = None) -> Reply:
        """Send once and answer the reply of a success.

        Args:
            call: what to send.
            hints: the next step, by status, where the sink knows it better than HTTP does.

        Raises:
            DeliveryFailed: no reply, or one after which a later attempt may succeed.
            DeliveryRefused: any other reply.
        """
        reply = self._send(call)
        if reply.status in SUCCESS:
            return reply
        raise failure(
            self._sink,
            reply.status,
            said=self._redacted(said(reply)),
            retry_after=retry_after_seconds(reply),
            retry_later=self._retry_later,
            hint=(hints or {}).get(reply.status) or _hint(reply),
        )

    def _send(self, call: Call) -> Reply:
        try:
            with self._lock:
                if self._path is None:
                    return self._transport.send(call)
                return self._send_to_secret_path(call)
        except Unreachable as exc:
            why = self._redacted(str(exc))
        raise no_reply(self._sink, why)

    def _redacted(self, text: str) -> str:
        return masked_text(text, [secret.reveal() for secret in self._secrets])

    def _send_to_secret_path(self, call: Call) -> Reply:
        assert self._path is not None
        with discreet(LOGGERS, [secret.reveal() for secret in self._secrets]):
            return self._transport.send(evolve(call, path=self._path.reveal()))

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._transport.close()

    def __repr__(self) -> str:
        """Say where it leads; never a credential."""
        return f"Channel({self.base_url!r})"


def _parts_of(held: Credential | None) -> list[Secret]:
    if held is None:
        return []
    return [held.secret] if held.password is None else [held.secret, held.password]


def _parts_of_path(path: Secret | None) -> list[Secret]:
    """The path, and the parts of it that are long enough to be its credential."""
    if path is None:
        return []
    parts = [Secret(part) for part in path.reveal().split("/") if len(part) >= SHORTEST_TOKEN]
    return [path, *parts]


def said(reply: Reply) -> str:
    """The other side's own words: the ``error``, ``message`` or ``errors`` of JSON, else text."""
    text = reply.content.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        return "" if "<html" in text.lower() else text
    if not isinstance(body, dict):
        return text
    return ": ".join(str(body[name]) for name in ("error", "message", "errors") if body.get(name))


def _hint(reply: Reply) -> str:
    if reply.status in _REDIRECTION:
        host = urlsplit(reply.headers.get("location", "")).hostname
        return f"it redirects to {host!r}, which is not followed; pass the final address"
    if reply.status in {401, 403}:
        return "check the credential and what it is allowed to do"
    if reply.status == HTTPStatus.NOT_FOUND:
        return "check the address"
    return ""
