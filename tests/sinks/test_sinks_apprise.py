"""Apprise: its real client against a loopback receiver."""

import base64
import time

import pytest

from driftline._secret import Secret
from driftline.errors import DeliveryFailed, InputError, MissingCredential
from driftline.records import AlertStatus, LogLine, Severity
from driftline.sinks.apprise import AppriseSink
from driftline.testing import VendorReply, example_alert

TOKEN = "CANARYtoken"


@pytest.fixture
def url(vendors):
    return f"json://{vendors.url.removeprefix('http://')}/{TOKEN}"


def test_message(vendors, url):
    """An alert is a message with a title, what to do, and how bad it is."""
    receipt = AppriseSink(url).send(example_alert())

    (call,) = vendors.calls
    assert ("apprise-json", "latency-budget:acme/line-3") == (receipt.sink, receipt.reference)
    assert "acme/line-3: p95 latency is 412 ms" == call.json["title"]
    assert "failure" == call.json["type"]
    lines = call.json["message"].splitlines()
    assert "expected: at most 250 ms in 3 windows of 5 minutes" in lines
    assert "value: 412 ms" in lines
    assert any(line.startswith("runbook: Compare") for line in lines)


@pytest.mark.parametrize(
    ("severity", "kind"),
    [
        (Severity.CRITICAL, "failure"),
        (Severity.ERROR, "failure"),
        (Severity.WARNING, "warning"),
        (Severity.INFO, "info"),
    ],
)
def test_severities(vendors, url, severity, kind):
    """Each severity has its kind of notification."""
    AppriseSink(url).send(example_alert(severity=severity))

    assert kind == vendors.calls[0].json["type"]


def test_resolve(vendors, url):
    """An end is a success, and says what has ended."""
    AppriseSink(url).send(example_alert(status=AlertStatus.RESOLVED))

    assert "success" == vendors.calls[0].json["type"]
    assert vendors.calls[0].json["title"].startswith("Resolved: acme/line-3")


def test_calls_nobody(vendors, monkeypatch):
    """A log line that calls everyone in a chat, as Discord reads it, calls nobody."""
    AppriseSink("json://localhost")  # the services are imported by now
    from apprise.plugins.discord import NotifyDiscord

    monkeypatch.setattr(NotifyDiscord, "notify_url", vendors.url)
    words = "@everyone x@here <@123> <@&4> <!channel> @jane, ask jane@host.example"
    line = LogLine(at=example_alert().at, severity="ERROR", message=words)
    AppriseSink(f"discord://1234567890/{TOKEN}{TOKEN}").send(
        example_alert(summary=words, logs=(line,))
    )

    text = vendors.calls[0].json["content"]
    assert 2 == text.count("jane@host.example")
    for call in ("@everyone", "@here", "<@", "<!", "@jane"):
        assert call not in text


def test_no_pause(vendors, url, monkeypatch):
    """Messages follow one another: a used notifier of Apprise would sleep in between."""
    sink, pauses = AppriseSink(url.replace("json://", "form://")), []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for _ in range(3):
        sink.send(example_alert())

    assert 3 == len(vendors.calls)
    assert [] == pauses


def test_cut(vendors, url):
    """What the service does not take is cut here, with a mark."""
    AppriseSink(url).send(example_alert(summary="s" * 9999, runbook="r" * 99_999))

    body = vendors.calls[0].json
    assert (250, "…") == (len(body["title"]), body["title"][-1])
    assert "…" == body["message"][-1]


@pytest.mark.parametrize("trouble", [400, 403, 429, 500, 503, "reset"])
def test_refused(vendors, url, trouble):
    """Whatever the service answers, it may be tried again: Apprise does not tell which it was."""
    vendors.trouble(trouble)
    with pytest.raises(DeliveryFailed, match="did not take the message"):
        AppriseSink(url).send(example_alert())

    assert 1 == len(vendors.calls)


def test_address_is_secret(vendors, url, caplog):
    """The address is in no log record, although Apprise and urllib3 log addresses."""
    caplog.set_level(0)
    caplog.set_level(0, logger="urllib3")  # Datadog's client silences it for the whole process
    sink = AppriseSink(Secret(url))
    sink.send(example_alert())
    vendors.trouble(VendorReply(status=500, content=f"{url}".encode()))
    with pytest.raises(DeliveryFailed) as caught:
        sink.send(example_alert())

    assert any(record.name == "urllib3.connectionpool" for record in caplog.records)
    assert any(record.name == "apprise" for record in caplog.records)
    assert TOKEN not in caplog.text + str(caught.value) + repr(sink)


@pytest.mark.parametrize(
    "address", ["nonsense://host", "json://", "not an address", "json://a,json://b"]
)
def test_unknown_address(address):
    """An address Apprise cannot use, or more than one, is refused at once and not quoted."""
    with pytest.raises(InputError) as caught:
        AppriseSink(address)

    assert address not in str(caught.value)


def test_address_of_environment(monkeypatch, vendors, url):
    """Left out, the address comes from Apprise's own variable; missing, the message names it."""
    with pytest.raises(MissingCredential, match="APPRISE_URLS"):
        AppriseSink()

    monkeypatch.setenv("APPRISE_URLS", url)
    AppriseSink(name="chat").send(example_alert())
    assert 1 == len(vendors.calls)


def test_check_sends_nothing(vendors, url):
    """A check sends no message: it can only tell that the address is well formed."""
    assert "well formed" in AppriseSink(url).check().detail
    assert () == vendors.calls


def test_password_with_accents(vendors):
    """A password beyond ASCII is taken as it was typed."""
    host = vendors.url.removeprefix("http://")
    AppriseSink(f"json://user:pässwörd@{host}/").send(example_alert())

    credential = vendors.calls[0].headers["authorization"].removeprefix("Basic ")
    assert "user:pässwörd" == base64.b64decode(credential).decode("latin-1")
