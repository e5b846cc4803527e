"""What a reply that is no success means: status → error, with the platform's own words."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from driftline._retry import SERVER_ERROR
from driftline._wire import Call, Reply
from driftline.errors import (
    Conflict,
    Forbidden,
    NotAuthorized,
    NotFound,
    PaymentRequired,
    PlatformBroken,
    PlatformError,
    RateLimited,
    RefusedInput,
    UnreadableReply,
)
from driftline.platform._reading import one_line

_MEANING: dict[int, tuple[type[PlatformError], str]] = {
    401: (NotAuthorized, "the key is missing, malformed or revoked; check ULTRALYTICS_API_KEY"),
    402: (PaymentRequired, "the workspace has not the credits; top up, then call again"),
    403: (Forbidden, "the plan, a quota or the key's permissions do not allow it"),
    404: (NotFound, "it is absent or not visible to this key; check owner and name"),
    405: (RefusedInput, "the path or verb is not served (any more)"),
    408: (PlatformBroken, "the platform gave up waiting"),
    409: (Conflict, "the present state does not allow it; read the state and decide again"),
    413: (RefusedInput, "what was sent is too large"),
    429: (RateLimited, "too many calls"),
}


def succeeded(reply: Reply) -> bool:
    """Whether the status is of the 200s."""
    return HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES


def path_of(call: Call) -> str:
    """The path of a call, without host and query."""
    return urlsplit(call.path).path


def request_id_of(reply: Reply) -> str | None:
    """The platform's own name for the exchange, None when it gave none."""
    found = one_line(reply.headers.get("x-request-id", ""), longest=100)
    return found or None


def error_of(call: Call, reply: Reply, *, said: str, wait: float | None) -> PlatformError:
    """The error that a reply which is no success means.

    Args:
        call: what was asked.
        reply: the answer.
        said: the platform's own words, one line.
        wait: seconds it asks to wait, None where it does not say.
    """
    kind, meaning = _meaning(reply)
    error = kind(
        _message(call, reply, meaning, said, wait),
        method=call.method,
        path=path_of(call),
        status=reply.status,
        request_id=request_id_of(reply),
        said=said,
    )
    if isinstance(error, RateLimited):
        error.retry_after_seconds = wait
    if isinstance(error, UnreadableReply):
        error.problems = (f"$: {meaning}",)
    return error


def unreadable(call: Call, reply: Reply, problems: tuple[str, ...]) -> UnreadableReply:
    """The error of a success that is not what the contract says."""
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""  # noqa: PLR2004 - three are readable
    error = UnreadableReply(
        f"{call.method} {path_of(call)}: the reply is not what the contract says: "
        f"{'; '.join(problems[:3])}{more}",
        method=call.method,
        path=path_of(call),
        status=reply.status,
        request_id=request_id_of(reply),
    )
    error.problems = problems
    return error


def _meaning(reply: Reply) -> tuple[type[PlatformError], str]:
    if reply.status in _MEANING:
        return _MEANING[reply.status]
    if reply.status >= SERVER_ERROR:
        return PlatformBroken, "the platform failed; nothing is wrong with the call"
    if reply.status >= HTTPStatus.BAD_REQUEST:
        return RefusedInput, "the platform refuses what was sent"
    return UnreadableReply, f"no answer but {_redirection(reply)}; check base_url"


def _redirection(reply: Reply) -> str:
    target = reply.headers.get("location", "")
    try:
        host = urlsplit(target).hostname
    except ValueError:
        host = None
    # Only the host: the rest of a redirection may be a signed URL.
    to = f" to {one_line(host, longest=100)}" if host else ""
    return f"a redirection{to}, which is not followed because the key would go along"


def _message(call: Call, reply: Reply, meaning: str, said: str, wait: float | None) -> str:
    words = f" ({said!r})" if said else ""
    later = f"; wait {wait:g} s" if wait is not None else ""
    ident = request_id_of(reply)
    trace = f" [request {ident}]" if ident else ""
    return f"{call.method} {path_of(call)}: {reply.status}, {meaning}{words}{later}{trace}"
