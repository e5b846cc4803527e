"""PagerDuty: one attempt a call, over PagerDuty's own client."""

import logging
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from sinks_support import wait_for

from driftline.errors import DeliveryFailed, DeliveryRefused, InputError, MissingCredential
from driftline.records import AlertStatus, Link, LogLine, Severity
from driftline.sinks.pagerduty import PagerDutySink
from driftline.testing import LocalVendors, VendorReply, example_alert

KEY = "R0UTINGkey0R0UTINGkey0R0UTINGkey"
NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)


@pytest.fixture
def sink(judged):
    with PagerDutySink(KEY, events_url=judged.url) as made:
        yield made


@pytest.fixture
def plain(vendors):
    with PagerDutySink(KEY, events_url=vendors.url) as made:
        yield made


def events(vendors):
    return [call.json for call in vendors.calls]


def test_trigger(judged, sink):
    """A firing alert triggers under its key, with what happened, where and what to do."""
    receipt = sink.send(example_alert(at=NOW))

    (event,) = events(judged)
    assert "latency-budget:acme/line-3" == receipt.reference == event["dedup_key"]
    assert ("trigger", KEY) == (event["event_action"], event["routing_key"])
    payload = event["payload"]
    assert "acme/line-3: p95 latency is 412 ms" == payload["summary"]
    assert ("acme/line-3", "acme") == (payload["source"], payload["group"])
    assert ("latency_budget", "endpoint.latency_p95_ms") == (payload["class"], payload["component"])
    assert "2026-11-22T21:00:00.000Z" == payload["timestamp"]
    details = payload["custom_details"]
    assert (412.0, 250.0, "ms") == (details["value"], details["threshold"], details["unit"])
    assert "504 worker timed out" in details["logs"][0]
    assert details["runbook"].startswith("Compare with the deployment before")
    assert event["client_url"] == event["links"][0]["href"]


@pytest.mark.parametrize("severity", Severity)
def test_severities(judged, sink, severity):
    """The severities are PagerDuty's own."""
    sink.send(example_alert(severity=severity))

    assert severity.value == events(judged)[0]["payload"]["severity"]


def test_resolve(judged, sink):
    """A resolve carries the key and nothing else; it closes the incident."""
    sink.send(example_alert())
    assert {"latency-budget:acme/line-3"} == judged.open_keys
    sink.send(example_alert(status=AlertStatus.RESOLVED))

    assert frozenset() == judged.open_keys
    assert {"routing_key", "event_action", "dedup_key"} == set(events(judged)[1])


def test_never_acknowledges(judged, sink):
    """Acknowledging is a person's word: no call of the sink's does it."""
    sink.send(example_alert())
    sink.send(example_alert())
    sink.send(example_alert(status=AlertStatus.RESOLVED))
    sink.check()

    assert {"trigger", "resolve"} == {event["event_action"] for event in events(judged)}


def test_limits(judged, sink):
    """What is too long is cut with a mark; a body over the limit loses its details, not the page."""
    line = LogLine(at=NOW, severity="ERROR", message="x" * 10_000)
    links = tuple(Link(url=f"https://wiki.example/{n}", text="t") for n in range(50))
    labels = {f"label-{n}": "é" * 5000 for n in range(400)}
    alert = example_alert(summary="s" * 5000, logs=(line,) * 99, links=links, runbook="r" * 5000)
    sink.send(alert)
    sink.send(evolve(alert, labels=labels))

    small, large = events(judged)
    assert (1024, "…") == (len(small["payload"]["summary"]), small["payload"]["summary"][-1])
    assert (5, 20) == (len(small["payload"]["custom_details"]["logs"]), len(small["links"]))
    assert {"runbook", "cut"} == set(large["payload"]["custom_details"])
    assert "…" == large["payload"]["custom_details"]["runbook"][-1]
    assert max(call.size for call in judged.calls) < 512_000


def test_long_keys(judged, sink):
    """Keys that differ beyond the limit stay two incidents."""
    for last in "ab":
        sink.send(example_alert(key="k" * 300 + last))

    assert 2 == len(judged.open_keys)
    assert {255} == {len(key) for key in judged.open_keys}


def test_not_finite(judged, sink):
    """A number that is none is left out; the client would crash on it."""
    sink.send(example_alert(value=float("nan"), threshold=float("-inf")))

    assert not {"value", "threshold"} & set(events(judged)[0]["payload"]["custom_details"])


def test_change_event(judged, sink):
    """A deployment is marked beside the incidents; without a client that crashes on its time."""
    sink.mark(
        "model v7 deployed\nto line 3",
        at=NOW,
        deployment="acme/line-3",
        details={"map": 0.412, "from": "v6"},
        links=[Link(url="https://platform.example", text="Platform"), Link(url="no url", text="")],
    )

    (call,) = judged.calls
    assert "/v2/change/enqueue" == call.path
    payload = call.json["payload"]
    assert "model v7 deployed to line 3" == payload["summary"]
    assert ("acme/line-3", "2026-11-22T21:00:00.000Z") == (payload["source"], payload["timestamp"])
    assert {"map": 0.412, "from": "v6"} == payload["custom_details"]
    assert ["https://platform.example"] == [link["href"] for link in call.json["links"]]


def test_change_event_without_details(judged, sink):
    """A summary and a time are enough; a number that is none is left out here as well."""
    sink.mark("baseline locked", at=NOW, details={"map": float("nan")})

    payload = judged.calls[0].json["payload"]
    assert ("driftline", {}) == (payload["source"], payload["custom_details"])


def test_check(judged, sink):
    """A check resolves what was never opened: nobody is paged."""
    assert "takes events under the key" in sink.check().detail
    assert ["resolve"] == [event["event_action"] for event in events(judged)]
    assert frozenset() == judged.open_keys


# -- answers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, DeliveryRefused),
        (401, DeliveryRefused),
        (403, DeliveryRefused),
        (404, DeliveryRefused),
        (413, DeliveryRefused),
        (307, DeliveryRefused),
        (408, DeliveryFailed),
        (429, DeliveryFailed),
        (500, DeliveryFailed),
        (502, DeliveryFailed),
        (503, DeliveryFailed),
        (504, DeliveryFailed),
        (521, DeliveryFailed),
    ],
)
@pytest.mark.parametrize("verb", ["send", "resolve", "mark", "check"])
def test_statuses(vendors, plain, verb, monkeypatch, *, status, kind):
    """Whatever comes back, one request is made at once: the client left alone would sleep."""
    vendors.trouble(status, times=9)
    call = {
        "send": lambda: plain.send(example_alert()),
        "resolve": lambda: plain.send(example_alert(status=AlertStatus.RESOLVED)),
        "mark": lambda: plain.mark("deployed", at=NOW),
        "check": plain.check,
    }[verb]
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(kind) as caught:
        call()

    assert status == caught.value.status
    assert 1 == len(vendors.calls)
    assert [] == pauses


def test_wait(vendors, plain):
    """The wait that PagerDuty asks for reaches the outbox; the client would ignore it."""
    vendors.trouble(VendorReply(status=429, headers={"Retry-After": "120"}))
    with pytest.raises(DeliveryFailed) as caught:
        plain.send(example_alert())

    assert 120.0 == caught.value.retry_after_seconds


def test_words(vendors, plain):
    """What PagerDuty says about a bad event is told, with what to look at."""
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": ["key"]}
    vendors.trouble(VendorReply(status=400, body=body))
    with pytest.raises(DeliveryRefused, match=r"Event object is invalid.*of this region"):
        plain.send(example_alert())


@pytest.mark.parametrize("trouble", ["hang", "reset"])
def test_no_reply(vendors, trouble, monkeypatch):
    """A hang ends at the time-out, which the client's constructor would have ignored."""
    vendors.trouble(trouble)
    pauses = []
    with PagerDutySink(KEY, events_url=vendors.url, timeout_seconds=0.5) as hurried:
        monkeypatch.setattr(time, "sleep", pauses.append)
        with pytest.raises(DeliveryFailed, match="no usable reply"):
            hurried.send(example_alert())
    monkeypatch.undo()

    assert [] == pauses
    wait_for(lambda: vendors.calls)  # the server may read it later than the client gives up
    assert 1 == len(vendors.calls)


@pytest.mark.parametrize(
    "content", [b"<html>accepted</html>", b"", b"null", b'{"status": "success"}']
)
def test_accepted_with_a_page(vendors, plain, content):
    """A 202 without the promised body was taken all the same: PagerDuty says not to repeat it."""
    vendors.trouble(VendorReply(status=202, content=content))

    assert plain.send(example_alert()).reference


def test_damaged_reply(vendors, plain):
    """A reply that does not unpack escapes the client as an error of its HTTP library, not us."""
    headers = {"Content-Encoding": "gzip"}
    vendors.trouble(VendorReply(status=202, content=b"no gzip", headers=headers))
    with pytest.raises(DeliveryFailed, match="no usable reply"):
        plain.send(example_alert())


def test_redirect(vendors, plain):
    """A redirect is not followed: the key stays with the host it was meant for."""
    with LocalVendors() as elsewhere:
        vendors.trouble(VendorReply(status=308, headers={"Location": elsewhere.url}))
        with pytest.raises(DeliveryRefused):
            plain.send(example_alert())

        assert () == elsewhere.calls


# -- where it goes


@pytest.mark.parametrize(
    ("region", "url"),
    [("us", "https://events.pagerduty.com"), ("eu", "https://events.eu.pagerduty.com")],
)
def test_region(region, url):
    """Each region has its address."""
    with PagerDutySink(KEY, region=region) as sink:
        assert f"PagerDutySink({url!r})" == repr(sink)
        assert url == sink._client.url


def test_key_of_environment(monkeypatch):
    """Left out, the key comes from the environment; missing, the message names the variable."""
    with pytest.raises(MissingCredential, match="PAGERDUTY_ROUTING_KEY"):
        PagerDutySink()

    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", KEY)
    with PagerDutySink() as sink:
        assert KEY == sink._key.reveal()


@pytest.mark.parametrize(
    "options", [{"region": "apac"}, {"events_url": "http://events.example"}, {"events_url": "x"}]
)
def test_bad_addresses(options):
    """A region that does not exist and an unencrypted address are refused at once."""
    with pytest.raises(InputError):
        PagerDutySink(KEY, **options)


def test_encrypted(tmp_path):
    """Over TLS the client checks certificates: a server without a good one is no PagerDuty."""
    with (
        LocalVendors() as local,
        PagerDutySink(
            KEY, events_url=local.url.replace("http://", "https://"), timeout_seconds=2
        ) as sink,
    ):
        with pytest.raises(DeliveryFailed):
            sink.send(example_alert())

        assert () == local.calls
    assert ssl.CERT_REQUIRED == ssl.create_default_context().verify_mode


def test_quiet(vendors, plain, caplog):
    """The key is in no record of any level."""
    vendors.trouble(503)
    vendors.trouble("reset")
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with pytest.raises(DeliveryFailed):
                plain.send(example_alert())
        plain.send(example_alert())

    assert caplog.records
    assert KEY not in caplog.text


def test_old_alert(judged, sink):
    """An alert that waited for days in the outbox is sent with its own time."""
    sink.send(example_alert(at=NOW - timedelta(days=3)))

    assert "2026-11-19T21:00:00.000Z" == events(judged)[0]["payload"]["timestamp"]
