"""Lines of a deployment's log, and which severities may be asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from attrs import field, frozen
from attrs.validators import optional

from driftline._checks import number
from driftline._clock import as_utc
from driftline.errors import InputError
from driftline.platform._paging import Walk
from driftline.records import LogLine

_log = logging.getLogger("driftline.platform")

SEVERITIES: Final = (
    "DEBUG",
    "INFO",
    "NOTICE",
    "WARNING",
    "ERROR",
    "CRITICAL",
    "ALERT",
    "EMERGENCY",
)
"""What may be asked for, least urgent first. Lines may also be ``DEFAULT``, which may not."""

ERROR_SEVERITIES: Final = ("WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
"""What people mean by "errors". The Platform matches severities exactly, not as a threshold, and
its own page counts warnings in: an aborted cold start is a WARNING with HTTP status 429."""

PAGE_SIZE: Final = 200
"""Most lines of one page (contract 0.1.9)."""


LOG_PAGES: Final = 50
"""Most pages of one walk through a log: pages may be empty and yet name a next one."""


@frozen(kw_only=True)
class HttpRequest:
    """The request a log line is about.

    Attributes:
        method: HTTP verb.
        url: what was asked for.
        status: HTTP status of the answer.
        latency_ms: how long it took, ms.
        user_agent: who asked, "" where not said.
    """

    method: str
    url: str
    status: int
    latency_ms: float
    user_agent: str = ""


@frozen(kw_only=True)
class LogEntry:
    """One line of a deployment's log. Whatever looks like a Platform key in it is masked.

    Attributes:
        at: when, UTC.
        severity: one of `SEVERITIES`, or ``DEFAULT``.
        message: the words; may be ``"{}"`` where the request says it all.
        request: the request it is about, None for none.
    """

    at: datetime
    severity: str
    message: str
    request: HttpRequest | None = None

    def to_line(self) -> LogLine:
        """The same as an alert carries it."""
        return LogLine(
            at=self.at,
            severity=self.severity,
            message=self.message,
            http_status=None if self.request is None else self.request.status,
        )

    def __str__(self) -> str:
        """One line for people."""
        request = self.request
        asked = f" {request.method} {request.url} → {request.status}" if request else ""
        return f"{self.at:%Y-%m-%dT%H:%M:%SZ} {self.severity}{asked} {self.message}"


@frozen(kw_only=True)
class LogPage:
    """One page of a log, newest line first.

    Attributes:
        entries: the lines; may be empty although there is a next page.
        next_token: what to ask the next page with, None after the last.
    """

    entries: tuple[LogEntry, ...]
    next_token: str | None


def checked_severities(severity: str | Iterable[str] | None) -> tuple[str, ...]:
    """The severities to ask for, empty for all of them.

    Raises:
        InputError: one of them does not exist, or may not be asked for.

    >>> checked_severities("error")
    ('ERROR',)
    """
    if severity is None:
        return ()
    asked: object = severity
    if not isinstance(asked, Iterable):
        msg = f"severity={asked!r} must be one or several of {', '.join(SEVERITIES)}"
        raise InputError(msg)
    given = severity.split(",") if isinstance(severity, str) else severity
    names = tuple(str(name).strip().upper() for name in given)
    if unknown := [name for name in names if name not in SEVERITIES]:
        msg = (
            f"severity {unknown[0]!r} cannot be asked for; it may be any of {', '.join(SEVERITIES)}"
        )
        raise InputError(msg)
    return tuple(dict.fromkeys(names))


def _utc(value: datetime | None) -> datetime | None:
    return None if value is None else as_utc(value, name="since")


@frozen(kw_only=True)
class LogQuestion:
    """Which log lines, and how many.

    Attributes:
        severities: exactly these; empty for all.
        limit: most lines; None for as many as there are.
        since: none older than this, UTC.
        max_pages: most pages.
    """

    severities: tuple[str, ...] = field(default=None, converter=checked_severities)
    limit: int | None = field(
        default=None,
        validator=optional(number("a whole number, 0 or more", least=0, whole=True)),
    )
    since: datetime | None = field(default=None, converter=_utc)
    max_pages: int = field(
        default=LOG_PAGES, validator=number("a whole number, 1 or more", least=1, whole=True)
    )


class LogWalk(Walk):
    """Where a walk through the pages of a log stands."""

    def __init__(self, asked: LogQuestion) -> None:
        """Stand before the first page."""
        super().__init__(limit=asked.limit, page_size=PAGE_SIZE, path="/logs", key="nextPageToken")
        self.asked = asked

    def take(self, page: LogPage) -> list[LogEntry]:
        """The lines of a page that were asked for; then stand before the next.

        Raises:
            UnreadableReply: the page leads back to an earlier one.
        """
        since = self.asked.since
        fresh = [entry for entry in page.entries if since is None or entry.at >= since]
        wanted = fresh[: self.left]
        self.step(len(wanted), page.next_token, last=len(fresh) < len(page.entries))
        if self.more and self.pages >= self.asked.max_pages:
            self._break_off()
        return wanted

    def _break_off(self) -> None:
        _log.warning(
            "the log has more than %d pages; %d lines were read, older ones were not: "
            "raise max_pages, or ask for fewer severities",
            self.pages,
            self.taken,
        )
        self._over = True
