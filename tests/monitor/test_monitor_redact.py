"""Log lines come from whoever calls the endpoint: no credential in them goes on, and none holds us up."""

from datetime import UTC, datetime
from time import process_time

import pytest

from driftline.monitor._redact import LONGEST, LOOKED_AT, redact, redacted
from driftline.records import LogLine

HIDDEN = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f'password="correct horse {HIDDEN}"',
        f"password='correct horse {HIDDEN}",
        f'{{"password": "a {HIDDEN}", "status": 1}}',
        rf"{{\"api_key\": \"{HIDDEN}\", \"status\": 1}}",
        f"redis://:{HIDDEN}@cache:6379 refused",
        f"redis://app:p@{HIDDEN}@cache refused",
        f"git clone https://{HIDDEN}@git.example/x",
        f"Authorization: ApiKey {HIDDEN}",
        f"Proxy-Authorization: Basic {HIDDEN}",
        f"GET / Cookie: theme=dark; session={HIDDEN}",
        f"PUT https://bucket.example/a?part=1&X-Goog-Signature={HIDDEN}&x=2",
        f"DB_PASSWORD={HIDDEN}",
    ],
)
def test_masked(text):
    """A credential is masked in whatever words a log has for it."""
    assert HIDDEN not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["GET /predict 500 in 31 ms", "monkey=3", "see http://h/a?e=x@y", "keyboard: none"]
)
def test_left_alone(text):
    """What is no credential stays as it is."""
    assert text == redact(text)


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "token",
        "?sig",
        "://a:",
        "eyJ",
        "-eyJ",
        "authorization: ",
        "basic ",
        'token="',
        "?&",
        "@",
    ],
)
def test_soon(part):
    """A line made to keep a pattern busy costs no more than another: 20,000 letters took minutes."""
    text = part * (200_000 // len(part))
    began = process_time()
    redact(text)

    assert process_time() - began < 2.0  # 0.1 s on a slow machine


@pytest.mark.parametrize("before", range(LOOKED_AT - 60, LOOKED_AT + 1))
def test_cut_between_words(before):
    """Where the search ends no half of a credential is left over, wherever it begins."""
    text = "password=" + "x" * (before - 10) + f" ul_{HIDDEN.replace('-', '')} and more"
    line = LogLine(at=datetime(2026, 11, 2, tzinfo=UTC), severity="ERROR", message=text)
    message = redacted(line).message

    assert len(message) <= LONGEST + 1
    assert "ul_" not in message
    assert "hunt" not in message
