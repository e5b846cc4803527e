"""Log lines leave the house in alerts: what looks like a credential is masked first."""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve

from driftline._secret import MASK
from driftline.records import LogLine

LONGEST: Final = 500
"""Characters of one line that are kept; an alert is no log file."""

_PATTERNS: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # Platform keys, and the well-known shapes of others (GitHub, Slack, AWS, Google, OpenAI).
        (r"\bul_[0-9a-zA-Z]{8,}\b", 0),
        (r"\b(?:gh[pousr]|github_pat|xox[abprs]|sk|pk|rk|glsa|glc)[_-][0-9A-Za-z_-]{10,}", 0),
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", 0),
        (r"\bAIza[0-9A-Za-z_-]{30,}", 0),
        # JSON web tokens.
        (r"\beyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*", 0),
        # Signed URLs and query parameters.
        (
            r"(?<=[?&])(?:[^=&\s]*(?:sig|signature|token|key|secret|credential)[^=&\s]*)=[^&\s\"']+",
            re.IGNORECASE,
        ),
        # PEM blocks.
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    )
)
_AFTER_NAME: Final = re.compile(
    r"""(?P<name>\b(?:proxy-)?authorization\b|[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|cookie)[\w-]*)
        (?P<between>["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token)\s+)?)
        (?P<value>[^\s"',;&}]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME: Final = re.compile(r"\b(bearer|basic)\s+[0-9a-z._~+/=-]{8,}", re.IGNORECASE)
_USER_IN_URL: Final = re.compile(r"(?<=://)[^/\s@]+:[^/\s@]+(?=@)")


def redact(text: str) -> str:
    """`text` with everything masked that looks like a credential.

    >>> redact("GET /predict Authorization: Bearer abcdef123456 -> 401")
    'GET /predict Authorization: Bearer *** -> 401'
    >>> redact("redis://app:hunter2@cache:6379 refused")
    'redis://***@cache:6379 refused'
    """
    text = _USER_IN_URL.sub(MASK, text)
    text = _AFTER_NAME.sub(lambda found: found["name"] + found["between"] + MASK, text)
    text = _SCHEME.sub(lambda found: f"{found[1]} {MASK}", text)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text


def redacted(line: LogLine) -> LogLine:
    """A log line, masked and cut."""
    message = redact(line.message)
    return evolve(line, message=message if len(message) <= LONGEST else message[:LONGEST] + "…")
