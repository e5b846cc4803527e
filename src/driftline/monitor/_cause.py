"""What most likely makes requests fail, told from the statuses and the words in the log.

The families are the guide's: authentication, payload, capacity, infrastructure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from driftline.records import LogLine


@frozen(kw_only=True)
class Family:
    """One kind of cause.

    Attributes:
        name: as people call it.
        hint: where to look.
        statuses: HTTP statuses that belong to it.
        words: what lines without a status say.
    """

    name: str
    hint: str
    statuses: frozenset[int]
    words: re.Pattern[str]


FAMILIES: Final = (
    Family(
        name="authentication",
        hint="a key is missing, revoked or not allowed to",
        statuses=frozenset({401, 403}),
        words=re.compile(
            r"unauthori[sz]ed|forbidden|invalid (api )?key|permission denied", re.IGNORECASE
        ),
    ),
    Family(
        name="payload",
        hint="what is sent cannot be read: format, size or parameters",
        statuses=frozenset({400, 413, 415, 422}),
        words=re.compile(
            r"cannot identify image|decode|malformed|invalid image|too large|unprocessable|corrupt",
            re.IGNORECASE,
        ),
    ),
    Family(
        name="capacity",
        hint="more comes in than the endpoint takes, or it was starting",
        statuses=frozenset({429}),
        words=re.compile(
            r"too many requests|rate limit|no available instance|quota", re.IGNORECASE
        ),
    ),
    Family(
        name="infrastructure",
        hint="the endpoint itself fails",
        statuses=frozenset(range(500, 600)),
        words=re.compile(
            r"out of memory|cuda|timed? ?out|deadline|connection (reset|refused)|killed|crash|"
            r"internal server error",
            re.IGNORECASE,
        ),
    ),
)


def family_of(line: LogLine) -> Family | None:
    """The family of one line: by its status, else by its words."""
    for family in FAMILIES:
        if line.http_status is not None:
            if line.http_status in family.statuses:
                return family
        elif family.words.search(line.message):
            return family
    return None


def likely_cause(lines: Iterable[LogLine]) -> str:
    """The most frequent family, in one line, with the counts it rests on; "" when nothing tells.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 11, 22, tzinfo=UTC)
    >>> line = LogLine(at=at, severity="WARNING", message="{}", http_status=429)
    >>> likely_cause([line, line])
    'likely cause: capacity (2 of 2 error lines: 2 x 429): more comes in than the endpoint takes, or it was starting'
    """
    found = [(family, line) for line in lines if (family := family_of(line)) is not None]
    if not found:
        return ""
    name, count = Counter(family.name for family, _ in found).most_common(1)[0]
    family = next(family for family in FAMILIES if family.name == name)
    statuses = Counter(
        line.http_status for f, line in found if f is family and line.http_status is not None
    )
    told = ", ".join(f"{n} x {status}" for status, n in statuses.most_common(3))
    detail = f"{count} of {len(found)} error lines" + (f": {told}" if told else "")
    return f"likely cause: {name} ({detail}): {family.hint}"
