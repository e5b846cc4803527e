"""When a call is sent again: pure policy, no I/O. Waiting is put into the call (`_wire`).

A call is repeated when that cannot do its work twice: always for an idempotent one, and for any
other only where the other side surely did not do it (429, or a connection that never stood).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from driftline._checks import number
from driftline._wire import Call, Flow, Reply
from driftline.errors import Unreachable

_log = logging.getLogger("driftline")

TOO_MANY = 429
TRANSIENT = frozenset({408, 409, TOO_MANY})
"""Below 500, what a later try may answer: time-out, "still processing", too many calls. The
official Platform client (0.1.99) repeats the same ones."""
SERVER_ERROR = 500


_SECONDS = number("a finite number of seconds, 0 or more", least=0)
_ATTEMPTS = number("1 (never repeat) or more", least=1, whole=True)


@frozen(kw_only=True)
class Retry:
    """How often, and how patiently, a call is sent again.

    The defaults are those of the official Platform client 0.1.99: two repeats, 0.5 s doubled up
    to 8 s, or the wait that the reply names. Where that wait is longer than
    `longest_wait_seconds` the reply is final: coming back earlier than asked would only be
    refused again, and the caller may have better things to do.

    Attributes:
        attempts: how often a call is sent at most, the first included.
        first_backoff_seconds: wait before the first repeat where the reply names none.
        longest_backoff_seconds: bound on the doubled wait.
        longest_wait_seconds: longest wait on the other side's word that is waited out.
    """

    attempts: int = field(default=3, validator=_ATTEMPTS)
    first_backoff_seconds: float = field(default=0.5, validator=_SECONDS)
    longest_backoff_seconds: float = field(default=8.0, validator=_SECONDS)
    longest_wait_seconds: float = field(default=60.0, validator=_SECONDS)

    def backoff_seconds(self, repeats: int) -> float:
        """Wait before the repeat after `repeats` earlier ones: doubled each time, bounded.

        >>> [Retry().backoff_seconds(n) for n in range(6)]
        [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
        """
        return min(
            self.first_backoff_seconds * 2.0 ** min(repeats, 60), self.longest_backoff_seconds
        )


def transient(call: Call, reply: Reply) -> bool:
    """Whether a later try may answer better, and repeating the call is harmless."""
    if reply.status == TOO_MANY:
        return True
    return call.idempotent and (reply.status in TRANSIENT or reply.status >= SERVER_ERROR)


def retry_after_seconds(reply: Reply) -> float | None:
    """The wait of a ``Retry-After`` header (RFC 9110, 10.2.3: seconds or a date), 0 or more.

    A date is held against the reply's own ``Date``, so that clocks that differ do no harm.
    None when the header is missing or says nothing usable.

    >>> retry_after_seconds(Reply(status=429, headers={"retry-after": "7"}))
    7.0
    """
    value = reply.headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        at, sent = http_date(value), http_date(reply.headers.get("date", ""))
        seconds = (at - sent).total_seconds() if at and sent else math.nan
    return max(0.0, seconds) if math.isfinite(seconds) else None


def http_date(value: str) -> datetime | None:
    """The time of an HTTP date header, in UTC; None when it is none."""
    try:
        at = parsedate_to_datetime(value)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def exchange(
    call: Call,
    retry: Retry,
    *,
    wait_of: Callable[[Reply], float | None] = retry_after_seconds,
) -> Flow[Reply]:
    """Send a call, again where that is harmless and may help; answer the last reply.

    Args:
        call: what to send.
        retry: how often and how patiently.
        wait_of: seconds a reply asks to wait, None where it does not say.

    Returns:
        The last reply, whatever its status: its meaning is the caller's.

    Raises:
        Unreachable: the last attempt had no reply.
    """
    for repeats in count():
        last = repeats + 1 >= retry.attempts
        wait = retry.backoff_seconds(repeats)
        try:
            reply = yield call
        except Unreachable as exc:
            if last or (exc.sent and not call.idempotent):
                raise
            why = "no reply"
        else:
            if last or not transient(call, reply):
                return reply
            asked = wait_of(reply)
            if asked is not None and asked > retry.longest_wait_seconds:
                return reply
            wait = wait if asked is None else asked
            why = str(reply.status)
        path = urlsplit(call.path).path
        _log.info("%s %s: %s, again in %.1f s", call.method, path, why, wait)
        call = evolve(call, after_seconds=wait)
    raise AssertionError  # count() has no end; the type checker asks for this line
