"""Log lines leave the house in alerts: what looks like a credential is masked first.

Whoever can call an endpoint chooses what its log says. A pattern that tries a repetition from many
places and at many lengths would take minutes over a line made for it: what is searched is bounded,
and repetitions are possessive where they can be.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve

from driftline._secret import MASK
from driftline.records import LogLine

LONGEST: Final = 500
"""Characters of one line that are kept; an alert is no log file."""
LOOKED_AT: Final = 8 * LONGEST
"""Characters that are searched; what lies behind them is left out."""

_PATTERNS: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # Platform keys, and the well-known shapes of others (GitHub, Slack, AWS, Google, OpenAI).
        (r"\bul_[0-9a-zA-Z]{8,}\b", 0),
        (r"\b(?:gh[pousr]|github_pat|xox[abprs]|sk|pk|rk|glsa|glc)[_-][0-9A-Za-z_-]{10,}", 0),
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", 0),
        (r"\bAIza[0-9A-Za-z_-]{30,}", 0),
        # JSON web tokens.
        (r"\beyJ[0-9A-Za-z_-]++\.[0-9A-Za-z_-]++\.[0-9A-Za-z_-]*+", 0),
        # Signed URLs and query parameters.
        (
            r"(?<=[?&])(?=[^=?&\s]*(?:sig|token|key|secret|credential))[^=?&\s]*+=[^&\s\"']++",
            re.IGNORECASE,
        ),
        # All that a browser sends along.
        (r"\b(?:set-)?cookie\s*+[:=][^\r\n\"']++", re.IGNORECASE),
        # PEM blocks.
        (
            r"-----BEGIN [A-Z ]*+PRIVATE KEY-----.*?(?:-----END [A-Z ]*+PRIVATE KEY-----|$)",
            re.DOTALL,
        ),
    )
)
_AFTER_NAME: Final = re.compile(
    r"""(?P<name>(?:authorization\b|(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|cookie)[\w-]*+)
        \\*+["']?\s*+[:=]\s*+\\*+)
        (?P<value>"[^"]*+"?|'[^']*+'?|(?P<scheme>(?:bearer|basic|digest|negotiate|token|api[_-]?key)\s+)?[^\s"',;&}]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME: Final = re.compile(r"\b(bearer|basic)\s+[0-9a-z._~+/=-]{8,}", re.IGNORECASE)
_USER_IN_URL: Final = re.compile(r"(?<=://)[^/\s]+(?=@)")


def redact(text: str) -> str:
    """`text` with everything masked that looks like a credential; of a very long one, its start.

    >>> redact("GET /predict Authorization: Bearer abcdef123456 -> 401")
    'GET /predict Authorization: Bearer *** -> 401'
    >>> redact("redis://app:hunter2@cache:6379 refused")
    'redis://***@cache:6379 refused'
    """
    if len(text) > LOOKED_AT:
        text = _cut(text)
    text = _USER_IN_URL.sub(MASK, text)
    text = _AFTER_NAME.sub(_after_name, text)
    text = _SCHEME.sub(lambda found: f"{found[1]} {MASK}", text)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text


def _cut(text: str) -> str:
    """The words that lie whole in what is searched: half a credential has no known shape."""
    *whole, _ = text[:LOOKED_AT].rsplit(maxsplit=1)
    return "".join(whole) + "…"


def _after_name(found: re.Match[str]) -> str:
    value = found["value"]
    quote = value[0] if value[0] in "\"'" else ""
    return found["name"] + quote + (found["scheme"] or "") + MASK + quote


def redacted(line: LogLine) -> LogLine:
    """A log line, masked and cut."""
    message = redact(line.message)
    return evolve(line, message=message if len(message) <= LONGEST else message[:LONGEST] + "…")
