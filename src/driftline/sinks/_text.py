"""An alert in words: what every sink says, cut to what the other side takes.

A page is never refused for its length: what is too long is cut and marked. Numbers that are not
finite are left out, because JSON has no word for them and intakes drop the whole payload.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from driftline.records import Alert, AlertStatus, LogLine, Sample

MARK: Final = "…"
"""Stands at the end of a text that was cut."""

_UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

LOG_LINES: Final = 5
"""How many log lines travel with an alert: enough to recognise a fault, few enough to read."""


def clean(text: str) -> str:
    r"""`text` as it can stand in UTF-8 JSON: no lone surrogates, no control characters.

    Line feeds and tabs stay.

    >>> clean("a\x00b\ud800c")
    'a�b�c'
    """
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    r"""`text` on one line, so that no value can begin a line of its own.

    >>> one_line("first\n  second\x1b[31m")
    'first second�[31m'
    """
    return clean(" ".join(text.split()))


_CALLS: Final = re.compile(
    r"@(?=everyone|here|channel|room|all\b)|(?<![\w/])@(?=\w)|<(?=[@!#&])", re.IGNORECASE
)


def uncalled(text: str) -> str:
    """`text` that calls nobody in a chat: names and log lines come from whoever uses the endpoint.

    >>> uncalled("@everyone <!channel> a@b.example") == "@\u200beveryone <\u200b!channel> a@b.example"
    True
    """
    return _CALLS.sub("\\g<0>\u200b", text)


def clip(text: str, limit: int) -> str:
    """At most `limit` characters of `text`; a mark stands where it was cut.

    >>> clip("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - len(MARK)] + MARK


def clip_bytes(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between characters, with a mark.

    >>> clip_bytes("ééé", 5)
    'é…'
    """
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - len(MARK.encode())].decode(errors="ignore") + MARK


def web_url(text: str, *, limit: int = 2048) -> str:
    """`text` where it is a whole http(s) URL of at most `limit` characters, else "".

    A URL is never cut: half an address leads nowhere, and servers refuse the payload for it.

    >>> web_url("https://wiki.example/p95"), web_url("see the wiki")
    ('https://wiki.example/p95', '')
    """
    url = text.strip().rstrip(".,;)")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable()
    except ValueError:
        return ""
    return url if usable and not any(map(str.isspace, url)) and len(url) <= limit else ""


def iso(at: datetime) -> str:
    """A time as RFC 3339 in UTC with milliseconds.

    >>> iso(datetime(2026, 11, 22, 21, tzinfo=UTC))
    '2026-11-22T21:00:00.000Z'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite(value: float | None) -> float | None:
    """The number, or None where there is none that can be sent."""
    return value if value is not None and math.isfinite(value) else None


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit for people, "" where there is none.

    >>> quantity(412.0, "ms")
    '412 ms'
    """
    number = finite(value)
    return "" if number is None else f"{number:.6g} {unit}".strip()


def headline(alert: Alert) -> str:
    """What happened, where, in one line; says so when it is a drill or the end of it."""
    marks = [
        "[DRILL]" if alert.test else "",
        "Resolved:" if alert.status is AlertStatus.RESOLVED else "",
        f"{alert.deployment}:" if alert.deployment else "",
    ]
    return one_line(" ".join([*filter(None, marks), alert.summary]))


def dedup_key(alert: Alert, limit: int) -> str:
    """The alert's key in at most `limit` characters; a longer one keeps its start and a digest.

    Never cut alone: two keys that differ at the end would become one alert.
    """
    key = one_line(alert.key)
    if 0 < len(key) <= limit:
        return key
    digest = hashlib.sha256(
        (alert.key or f"{alert.rule} {alert.deployment}").encode("utf-8", "replace")
    )
    return f"{key[: limit - 33]}-{digest.hexdigest()[:32]}"


def log_line(line: LogLine) -> str:
    """One log line on one line."""
    status = f" {line.http_status}" if line.http_status is not None else ""
    return one_line(f"{iso(line.at)} {line.severity}{status} {line.message}")


def facts(alert: Alert) -> dict[str, str | float]:
    """What an alert knows beside its headline, in reading order; empty fields are left out."""
    known: dict[str, str | float | None] = {
        "runbook": one_line(alert.runbook),
        "expected": one_line(alert.expected),
        "value": finite(alert.value),
        "threshold": finite(alert.threshold),
        "unit": one_line(alert.unit),
        "reason": one_line(alert.reason),
        "rule": one_line(alert.rule),
        "deployment": one_line(alert.deployment),
        "window": f"{iso(alert.window_start)} to {iso(alert.window_end)}",
        "since": iso(alert.since),
        **{f"label {one_line(k)}": one_line(v) for k, v in sorted(alert.labels.items())},
        "drill": "this alert is synthetic" if alert.test else "",
    }
    return {name: value for name, value in known.items() if value is not None and value != ""}


def fitted(details: Mapping[str, str | float], limit: int) -> dict[str, str | float]:
    """Names and values as they can be sent: one line each, cut, numbers finite.

    >>> fitted({"map": 0.4, "loss": math.nan, "from": "v6 to v7"}, 4)
    {'map': 0.4, 'from': 'v6 …'}
    """
    return {
        one_line(name): clip(one_line(value), limit) if isinstance(value, str) else value
        for name, value in details.items()
        if isinstance(value, str) or math.isfinite(value)
    }


def paragraphs(alert: Alert) -> str:
    """The whole alert as lines of text, the most useful first."""
    known = {name: str(value) for name, value in facts(alert).items()}
    known.pop("unit", None)
    known |= {
        name: told
        for name, value in (("value", alert.value), ("threshold", alert.threshold))
        if (told := quantity(value, one_line(alert.unit)))
    }
    lines = [headline(alert)]
    lines += [f"{name}: {value}" for name, value in known.items()]
    lines += [f"{one_line(link.text)}: {one_line(link.url)}" for link in alert.links]
    lines += [f"log: {log_line(line)}" for line in alert.logs[:LOG_LINES]]
    return "\n".join(lines)


def sample_line(sample: Sample) -> str:
    """One sample on one line."""
    where = [f"deployment={sample.deployment}"] if sample.deployment else []
    where += [f"{name}={value}" for name, value in sorted(sample.labels.items())]
    return one_line(" ".join([iso(sample.at), f"{sample.metric}={sample.value:.6g}", *where]))
