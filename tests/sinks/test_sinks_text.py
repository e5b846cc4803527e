"""Cutting and cleaning text, within the limits of whoever reads it."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.records import AlertStatus
from driftline.sinks._text import (
    clean,
    clip,
    clip_bytes,
    dedup_key,
    facts,
    fitted,
    headline,
    one_line,
    paragraphs,
    quantity,
    web_url,
)
from driftline.testing import example_alert

surrogates = st.characters(categories=["Cs"])
texts = st.text(st.characters() | surrogates)


@given(texts)
def test_clean(text):
    """Whatever the text, it can be written as UTF-8 and as JSON, and keeps its length."""
    cleaned = clean(text)

    json.dumps(cleaned, ensure_ascii=False).encode()
    assert len(text) == len(cleaned)
    assert cleaned == clean(cleaned)


@given(texts)
def test_one_line(text):
    """One line is one line, for Python and for a terminal."""
    line = one_line(text)

    assert len(line.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@given(st.text(), st.integers(1, 40))
def test_clip(text, limit):
    """A cut text ends in a mark and is as long as it may be; a short one is left alone."""
    cut = clip(text, limit)

    assert len(cut) == min(len(text), limit)
    assert cut == text if len(text) <= limit else cut == f"{text[: limit - 1]}…"


@given(st.text(), st.integers(3, 40))
def test_clip_bytes(text, limit):
    """A text cut to bytes is whole letters and a mark, and as long as it may be."""
    cut = clip_bytes(text, limit)

    assert len(cut.encode()) <= limit
    assert cut == text if len(text.encode()) <= limit else text.startswith(cut.removesuffix("…"))


@given(st.text(max_size=300), st.text(max_size=300))
def test_dedup_key(first, second):
    """A key is never empty and within the limit; keys that differ stay different."""
    one, other = (dedup_key(example_alert(key=key), 100) for key in (first, second))

    assert 0 < len(one) <= 100
    assert one == dedup_key(example_alert(key=first), 100)
    if one_line(first) != one_line(second):
        assert one != other


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://wiki.example/a?b=c#d", "https://wiki.example/a?b=c#d"),
        ("  http://10.0.0.1:3000/x.", "http://10.0.0.1:3000/x"),
        ("javascript:alert(1)", ""),
        ("ftp://wiki.example", ""),
        ("https://", ""),
        ("https://[::1", ""),
        ("https://a b.example", ""),
        ("https://wiki.example/\x00", ""),
        ("https://wiki.example/" + "x" * 2048, ""),
        ("", ""),
    ],
)
def test_web_url(text, url):
    """Only a whole http(s) address is a link; it is never cut."""
    assert url == web_url(text)


def test_headline():
    """A headline says where, and whether it is a drill or an end."""
    drill = example_alert(test=True, status=AlertStatus.RESOLVED)

    assert "[DRILL] Resolved: acme/line-3: p95 latency is 412 ms" == headline(drill)
    assert "p95 latency is 412 ms" == headline(example_alert(deployment=""))


def test_paragraphs():
    """For people a number stands with its unit; for machines it is a number."""
    alert = example_alert(reason="", labels={"camera": "cam-1"})
    lines = paragraphs(alert).splitlines()

    assert {"value: 412 ms", "threshold: 250 ms", "label camera: cam-1"} < set(lines)
    assert not [line for line in lines if line.startswith(("unit", "reason", "drill"))]
    assert (412.0, "ms") == (facts(alert)["value"], facts(alert)["unit"])


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_not_a_number(value):
    """What is no number is told nowhere."""
    alert = example_alert(value=value, threshold=value)

    assert "" == quantity(value, "ms")
    assert not {"value", "threshold"} & set(facts(alert))
    assert "value:" not in paragraphs(alert) and "nan" not in paragraphs(alert)


@given(st.dictionaries(texts, texts | st.floats(), max_size=5))
def test_fitted(details):
    """Details can be written as JSON without NaN, whatever they hold."""
    text = json.dumps(fitted(details, 20), allow_nan=False, ensure_ascii=False)

    text.encode()
