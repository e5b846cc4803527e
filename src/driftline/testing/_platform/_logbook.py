"""The log of an endpoint: newest first, page by page, as Cloud Logging serves it.

A page looks back over one day at most and may therefore be empty and still name a next page.
Lines of synthetic requests are made when they are read: a week of them is never stored.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
from attrs import frozen

from driftline.testing._platform._ledger import SHARES, Minutes
from driftline.testing._platform._router import Refused
from driftline.testing._platform._time import DAY, iso

LogSeverity: TypeAlias = Literal[
    "DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"
]
LOGS_RETENTION_US: Final = 7 * DAY
"""How long log lines are kept: the Platform's monitoring page."""
SCAN_US: Final = DAY
"""How far back one page looks."""

Key: TypeAlias = tuple[int, int, int]
"""Place of a line: time, and two numbers that tell lines of one time apart."""
_UPPER: Final = np.cumsum(SHARES)[:-1]
_GOLDEN: Final = 0.6180339887498949
"""Multiples of it fill the unit interval evenly: lines show the whole distribution of a minute."""
_TOKEN: Final = re.compile(r"(-?\d+)\.(-?\d+)\.(-?\d+)")


@frozen(kw_only=True)
class HttpRequest:
    """The request a log line tells of."""

    method: str
    url: str
    status: int
    latency_ms: float
    user_agent: str = "traffic/1.0"


@frozen(kw_only=True)
class Line:
    """One line of the log; `key` begins with its time in microseconds since 1970."""

    key: Key
    severity: LogSeverity
    message: str
    request: HttpRequest | None = None

    def wire(self) -> dict[str, object]:
        """As the contract writes it."""
        entry: dict[str, object] = {
            "timestamp": iso(self.key[0], digits=6),
            "severity": self.severity,
            "message": self.message,
        }
        if (request := self.request) is not None:
            entry["httpRequest"] = {
                "method": request.method,
                "url": request.url,
                "status": request.status,
                "latencyMs": round(request.latency_ms, 3),
                "userAgent": request.user_agent,
            }
        return entry


def severity_of(status: int) -> LogSeverity:
    """INFO for what worked, WARNING for 4xx, ERROR for 5xx, as Cloud Run logs requests."""
    if status >= 500:  # noqa: PLR2004 - a class of HTTP statuses
        return "ERROR"
    return "WARNING" if status >= 400 else "INFO"  # noqa: PLR2004 - a class of HTTP statuses


class Logbook:
    """What was written down, and the pages of it."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._lines: list[Line] = []
        self._written = 0

    def write(
        self,
        at: int,
        message: str,
        *,
        severity: LogSeverity,
        request: HttpRequest | None = None,
    ) -> None:
        """Add a line."""
        self._written += 1
        line = Line(key=(at, self._written, 0), severity=severity, message=message, request=request)
        self._lines.append(line)

    def forget_before(self, us: int) -> None:
        """Drop what is older; done when there is a day of it."""
        if self._lines and self._lines[0].key[0] < us - DAY:
            self._lines = [line for line in self._lines if line.key[0] >= us]

    def page(
        self,
        rows: Minutes,
        *,
        url: str,
        now: int,
        before: Key | None,
        severities: frozenset[str] | None,
        limit: int,
    ) -> tuple[list[Line], Key | None]:
        """The newest `limit` lines before a place, and the place where the next page starts."""
        oldest = now - LOGS_RETENTION_US
        newest: Key = before or (now + 1, 0, 0)
        floor = max(oldest, newest[0] - SCAN_US)
        found = [
            line
            for line in self._lines
            if floor <= line.key[0]
            and line.key < newest
            and (severities is None or line.severity in severities)
        ]
        window = rows.where((rows.at + rows.span > floor) & (rows.at <= newest[0]))
        made = _made(window, url=url, severities=severities, limit=limit, before=newest)
        found += [line for line in made if line.key[0] >= floor]
        found.sort(key=lambda line: line.key, reverse=True)
        if len(found) > limit:
            return found[:limit], found[limit - 1].key
        more = floor > oldest and self._older(rows, floor, oldest)
        return found, (floor, 0, 0) if more else None

    def _older(self, rows: Minutes, floor: int, oldest: int) -> bool:
        written = any(oldest <= line.key[0] < floor for line in self._lines)
        return written or bool(np.any((rows.at >= oldest) & (rows.at < floor)))


def _made(
    rows: Minutes, *, url: str, severities: frozenset[str] | None, limit: int, before: Key
) -> list[Line]:
    """The newest lines of synthetic requests, at least `limit` + 1 where there are as many."""
    good, bad = (severities is None or name in severities for name in ("INFO", "ERROR"))
    wanted = rows.errors * bad + (rows.requests - rows.errors) * good
    rows = rows.where(wanted > 0)
    lines: list[Line] = []
    for index in np.argsort(rows.at + rows.span, kind="stable")[::-1]:
        ends = int(rows.at[index] + rows.span[index])
        if len(lines) > limit and ends <= min(line.key[0] for line in lines):
            break
        lines += [
            line
            for line in _lines_of(rows, int(index), url=url)
            if line.key < before and (severities is None or line.severity in severities)
        ]
    return lines


def _lines_of(rows: Minutes, index: int, *, url: str) -> Iterable[Line]:
    """The lines of one row, newest first: requests and errors at equal distances."""
    at, span = int(rows.at[index]), int(rows.span[index])
    requests, errors = int(rows.requests[index]), int(rows.errors[index])
    levels = rows.ms[index]
    for i in reversed(range(requests)):
        failed = (i + 1) * errors // requests > i * errors // requests
        status = 503 if failed else 200
        yield Line(
            key=(at + (2 * i + 1) * span // (2 * requests), -1, i),
            severity=severity_of(status),
            message=f"POST /predict {status}",
            request=HttpRequest(
                method="POST",
                url=url,
                status=status,
                latency_ms=float(levels[np.searchsorted(_UPPER, i * _GOLDEN % 1.0, side="right")]),
            ),
        )


def token_of(key: Key) -> str:
    """A page token: opaque to whoever gets it."""
    return base64.urlsafe_b64encode(".".join(map(str, key)).encode()).decode()


def key_of(token: str) -> Key:
    """The place a token stands for.

    Raises:
        Refused: 400, it is none of ours.
    """
    try:
        match = _TOKEN.fullmatch(base64.urlsafe_b64decode(token.encode()).decode())
    except (binascii.Error, UnicodeError):
        match = None
    if match is None:
        raise Refused(400, "Invalid pageToken")
    return int(match[1]), int(match[2]), int(match[3])


def severities_of(query: Mapping[str, str]) -> frozenset[str] | None:
    """The severities asked for: exact ones, not a threshold; DEFAULT cannot be asked for.

    Raises:
        Refused: 400.
    """
    text = query.get("severity")
    if text is None:
        return None
    known = {"DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}
    asked = frozenset(text.split(","))
    if not asked <= known or len(text) > 100:  # noqa: PLR2004 - the contract's longest list
        raise Refused(400, f"Invalid severity: {text}")
    return asked
