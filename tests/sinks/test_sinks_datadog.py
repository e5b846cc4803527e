"""Datadog: what is sent, within which limits, and what its answers mean."""

import logging
import sys
from datetime import UTC, datetime, timedelta
from subprocess import run

import pytest
from attrs import evolve
from sinks_support import judge, wait_for

from driftline.errors import DeliveryFailed, DeliveryRefused, InputError, MissingCredential
from driftline.records import AlertStatus, Link, LogLine, Metric, Sample, Severity
from driftline.sinks._names import datadog_name
from driftline.sinks.datadog import DatadogSink
from driftline.testing import FrozenClock, LocalVendors, VendorCall, VendorReply, example_alert

KEY = "a1b2c3d4" * 4
NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)


@pytest.fixture
def clock():
    return FrozenClock(NOW)


@pytest.fixture
def sink(judged, clock):
    with DatadogSink(KEY, base_url=judged.url, clock=clock) as made:
        yield made


def alert(**changes):
    return example_alert(at=NOW, since=NOW, window_start=NOW, window_end=NOW, **changes)


def bodies(vendors, path):
    return [call.json for call in vendors.calls if call.path == path]


def test_alert(judged, sink):
    """A firing alert sets the service check, then posts an event joined by its key."""
    receipt = sink.send(alert(runbook="See https://wiki.example/p95 first"))

    assert "latency-budget:acme/line-3" == receipt.reference
    assert ["/api/v1/check_run", "/api/v2/events"] == [call.path for call in judged.calls]
    (check,) = bodies(judged, "/api/v1/check_run")[0]
    assert ("driftline.alert", 2) == (check["check"], check["status"])
    assert "deployment:acme/line-3" in check["tags"]
    event = bodies(judged, "/api/v2/events")[0]["data"]["attributes"]
    assert "acme/line-3: p95 latency is 412 ms" == event["title"]
    assert "2026-11-22T21:00:00.000Z" == event["timestamp"]
    assert "error" == event["attributes"]["status"]
    assert 412.0 == event["attributes"]["custom"]["value"]
    links = {link["category"]: link["url"] for link in event["attributes"]["links"]}
    assert "https://wiki.example/p95" == links["runbook"]
    assert {"runbook", "resource"} == set(links)


@pytest.mark.parametrize(
    ("severity", "status", "priority", "check"),
    [
        (Severity.CRITICAL, "error", "1", [2]),
        (Severity.ERROR, "error", "2", [2]),
        (Severity.WARNING, "warn", "3", [1]),
        (Severity.INFO, "warn", "5", []),
    ],
)
def test_severities(judged, sink, *, severity, status, priority, check):
    """Each severity has its status, priority and level; information sets no check."""
    sink.send(alert(severity=severity))

    attributes = bodies(judged, "/api/v2/events")[0]["data"]["attributes"]["attributes"]
    assert (status, priority) == (attributes["status"], attributes["priority"])
    assert check == [one["status"] for body in bodies(judged, "/api/v1/check_run") for one in body]


def test_resolve(judged, sink):
    """A resolve says OK in both, under the same key."""
    sink.send(alert())
    sink.send(alert(status=AlertStatus.RESOLVED, reason="recovered"))

    assert [2, 0] == [body[0]["status"] for body in bodies(judged, "/api/v1/check_run")]
    first, last = (body["data"]["attributes"] for body in bodies(judged, "/api/v2/events"))
    assert first["aggregation_key"] == last["aggregation_key"]
    assert "ok" == last["attributes"]["status"]
    assert frozenset() == judged.open_keys


def test_old_event(judged, sink):
    """An alert older than the intake takes is posted with the present time, not refused."""
    sink.send(evolve(alert(), at=NOW - timedelta(hours=19)))

    event = bodies(judged, "/api/v2/events")[0]["data"]["attributes"]
    assert "2026-11-22T21:00:00.000Z" == event["timestamp"]


def test_limits(judged, sink):
    """What is too long is cut and marked; a key that is too long keeps its identity."""
    line = LogLine(at=NOW, severity="ERROR", message="x" * 10_000)
    links = tuple(Link(url=f"https://wiki.example/{n}", text="t" * 999) for n in range(30))
    for key in ("k" * 100 + "a", "k" * 100 + "b"):
        labels = {f"label-{n}": "v" * 999 for n in range(150)}
        sink.send(alert(key=key, summary="s" * 9999, logs=(line,), links=links, labels=labels))

    first, last = (body["data"]["attributes"] for body in bodies(judged, "/api/v2/events"))
    assert (500, "…") == (len(first["title"]), first["title"][-1])
    assert (4000, "…") == (len(first["message"]), first["message"][-1])
    assert (20, 100) == (len(first["attributes"]["links"]), len(first["tags"]))
    assert "rule:latency_budget" in first["tags"]
    assert 100 == len(first["aggregation_key"])
    assert first["aggregation_key"] != last["aggregation_key"]


def test_not_finite(judged, sink):
    """A number that is none is left out, not sent as NaN."""
    sink.send(alert(value=float("nan"), threshold=float("inf")))

    (event,) = bodies(judged, "/api/v2/events")
    assert not {"value", "threshold"} & set(event["data"]["attributes"]["attributes"]["custom"])


def test_metrics(judged, sink):
    """Samples become gauges, stamped with the end of the time they cover."""
    five = timedelta(minutes=5)
    receipt = sink.push(
        [
            Sample(metric=Metric.LATENCY_P95_MS, value=412, at=NOW - 2 * five, width=five),
            Sample(metric=Metric.LATENCY_P95_MS, value=398, at=NOW - five, width=five),
            Sample(metric=Metric.REQUESTS, value=7, at=NOW - five, width=five, labels={"a": "b"}),
        ]
    )

    assert 3 == receipt.count
    latency, requests = bodies(judged, "/api/v2/series")[0]["series"]
    end = int(NOW.timestamp())
    assert "driftline.endpoint.latency_p95_ms" == latency["metric"]
    assert [(end - 300, 412.0), (end, 398.0)] == [
        (point["timestamp"], point["value"]) for point in latency["points"]
    ]
    assert (3, ["a:b"]) == (requests["type"], requests["tags"])


def test_keys_per_call(judged, clock):
    """Metrics and checks carry the API key alone; events carry both."""
    with DatadogSink(KEY, app_key="b" * 40, base_url=judged.url, clock=clock) as sink:
        sink.push([Sample(metric="a.b", value=1, at=NOW)])
        sink.send(alert())

    sent = {call.path: call.headers for call in judged.calls}
    assert all(headers["dd-api-key"] == KEY for headers in sent.values())
    assert {"/api/v2/events"} == {p for p, h in sent.items() if "dd-application-key" in h}


def test_compressed(judged, sink):
    """A thousand series fit one call, compressed; what fits no call is split."""
    few = [Sample(metric="a.b", value=n, at=NOW, labels={"n": str(n)}) for n in range(1000)]
    sink.push(few)

    (call,) = judged.calls
    assert "gzip" == call.headers["content-encoding"]
    assert call.size < len(call.body) / 5

    long = [Sample(metric="a.b", value=n, at=NOW, labels={f"{n}": "é" * 150}) for n in range(2000)]
    sink.push(long)

    sizes = [len(call.body) for call in judged.calls[1:]]
    assert max(sizes) < 512_000 and 2000 == sum(
        len(call.json["series"]) for call in judged.calls[1:]
    )


def test_many_points(judged, sink):
    """One series of many points is split as well."""
    second = timedelta(seconds=1)
    sink.push([Sample(metric="a.b", value=n, at=NOW - n * second / 10) for n in range(9000)])

    parts = [s for call in judged.calls for s in call.json["series"]]
    assert 9000 == sum(len(part["points"]) for part in parts)
    assert max(len(call.body) for call in judged.calls) < 512_000


def test_standing_results(judged, sink):
    """A week's accuracy is stamped with the present and tagged with its day; a bucket is not."""
    week = timedelta(days=7)
    receipt = sink.push(
        [
            Sample(metric=Metric.MAP, value=0.41, at=NOW - 2 * week, width=week),
            Sample(metric=Metric.LATENCY_P95_MS, value=412, at=NOW - timedelta(hours=2)),
        ]
    )

    assert 1 == receipt.count
    assert "1 of 2 samples" in receipt.detail
    (series,) = bodies(judged, "/api/v2/series")[0]["series"]
    assert ["evaluated:2026-11-15"] == series["tags"]
    assert [int(NOW.timestamp())] == [point["timestamp"] for point in series["points"]]


def test_all_too_old(judged, sink):
    """When nothing can be taken, that is loud, and no call is made."""
    old = Sample(metric=Metric.LATENCY_P95_MS, value=412, at=NOW - timedelta(hours=2))
    with pytest.raises(DeliveryRefused, match="1 of 1 samples end more than 1:00:00 ago"):
        sink.push([old])

    assert () == judged.calls
    assert sink.push([]).count == 0


def test_historical(judged, clock):
    """Where historical ingestion is on, old points are sent with their own time."""
    hour = timedelta(hours=1)
    with DatadogSink(KEY, base_url=judged.url, clock=clock, oldest_point=9 * hour) as sink:
        sink.push([Sample(metric="endpoint.requests", value=1, at=NOW - 3 * hour)])

    (series,) = bodies(judged, "/api/v2/series")[0]["series"]
    assert int((NOW - 3 * hour).timestamp()) == series["points"][0]["timestamp"]


def test_never_in_the_future(judged, sink):
    """A bucket that is still filling is stamped with the present: the intake bars the future."""
    sink.push([Sample(metric="a.b", value=1, at=NOW, width=timedelta(days=1))])

    (series,) = bodies(judged, "/api/v2/series")[0]["series"]
    assert int(NOW.timestamp()) == series["points"][0]["timestamp"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("driftline.a-b.c", "driftline.a_b.c"), ("1st.é", "m1st._"), ("d" * 300, "d" * 200)],
)
def test_metric_name(name, kept):
    """A name is made of what Datadog keeps, so that it is found under the name that was sent."""
    assert kept == datadog_name(name)


def test_own_tags(judged, clock):
    """Tags and namespace of one's own go with everything."""
    with DatadogSink(
        KEY, base_url=judged.url, clock=clock, tags=("env:prod",), namespace="vision"
    ) as sink:
        sink.push([Sample(metric="a.b", value=1, at=NOW)])
        sink.send(alert())

    (series,) = bodies(judged, "/api/v2/series")[0]["series"]
    assert ("vision.a.b", ["env:prod"]) == (series["metric"], series["tags"])
    assert "vision.alert" == bodies(judged, "/api/v1/check_run")[0][0]["check"]
    assert "env:prod" in bodies(judged, "/api/v2/events")[0]["data"]["attributes"]["tags"]


def test_change_event(judged, sink):
    """A deployment is posted as a change of a configuration; it opens no alert."""
    sink.mark(
        "model v7 deployed",
        at=NOW,
        deployment="acme/line-3",
        details={"map": 0.412, "loss": float("nan"), "from": "v6"},
        links=[Link(url="https://platform.example", text="Platform"), Link(url="no", text="")],
    )
    sink.mark("baseline locked", at=NOW - timedelta(days=2))

    event, bare = (body["data"]["attributes"] for body in bodies(judged, "/api/v2/events"))
    assert ("change", "model v7 deployed") == (event["category"], event["title"])
    assert "acme/line-3" == event["attributes"]["changed_resource"]["name"]
    assert {"map": 0.412, "from": "v6"} == event["attributes"]["change_metadata"]
    assert event["message"].endswith("Platform: https://platform.example")
    assert "2026-11-22T21:00:00.000Z" == bare["timestamp"]
    assert not any("check_run" in call.path for call in judged.calls)


# -- answers


@pytest.fixture
def plain(vendors, clock):
    with DatadogSink(KEY, base_url=vendors.url, clock=clock) as made:
        yield made


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, DeliveryRefused),
        (401, DeliveryRefused),
        (403, DeliveryRefused),
        (404, DeliveryRefused),
        (408, DeliveryFailed),
        (413, DeliveryRefused),
        (429, DeliveryFailed),
        (500, DeliveryFailed),
        (502, DeliveryFailed),
        (503, DeliveryFailed),
    ],
)
def test_statuses(vendors, plain, status, kind):
    """Each status is for ever or for now; one request is made, whatever comes back."""
    vendors.trouble(status, times=9)
    with pytest.raises(kind) as caught:
        plain.push([Sample(metric="a.b", value=1, at=NOW)])

    assert status == caught.value.status
    assert f"answered {status} and said 'scripted {status}'" in str(caught.value)
    assert 1 == len(vendors.calls)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-Reset": "42"}, 42.0),
        ({"x-ratelimit-reset": "7", "Retry-After": "99"}, 7.0),
        ({"Retry-After": "13"}, 13.0),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Reset": "nan"}, None),
        ({}, None),
    ],
)
def test_wait(vendors, plain, headers, wait):
    """The wait that Datadog asks for reaches the outbox."""
    vendors.trouble(VendorReply(status=429, headers=headers))
    with pytest.raises(DeliveryFailed) as caught:
        plain.push([Sample(metric="a.b", value=1, at=NOW)])

    assert wait == caught.value.retry_after_seconds


@pytest.mark.parametrize("trouble", ["hang", "reset"])
def test_no_reply(vendors, clock, trouble):
    """A hang ends at the time-out; neither it nor a reset is repeated here."""
    vendors.trouble(trouble)
    with (
        DatadogSink(KEY, base_url=vendors.url, clock=clock, timeout_seconds=0.5) as hurried,
        pytest.raises(DeliveryFailed, match="no usable reply") as caught,
    ):
        hurried.push([Sample(metric="a.b", value=1, at=NOW)])

    assert caught.value.status is None
    wait_for(lambda: vendors.calls)  # the server may read it later than the client gives up
    assert 1 == len(vendors.calls)


@pytest.mark.parametrize("content", [b"<html>accepted</html>", b"", b"null", b"[1]", b"\xff"])
def test_accepted_with_a_page(vendors, plain, content):
    """A 202 whose body is a proxy's page was delivered; failing would send it again."""
    vendors.trouble(VendorReply(status=202, content=content), times=3)

    assert 1 == plain.push([Sample(metric="a.b", value=1, at=NOW)]).count
    assert plain.send(alert()).reference


@pytest.mark.parametrize("status", [403, 502])
def test_undecodable(vendors, plain, status):
    """An error page that is no UTF-8 is a delivery error as well."""
    headers = {"Content-Type": "text/html; charset=nonsense"}
    vendors.trouble(VendorReply(status=status, content=b"\xff\xfe\xe9", headers=headers))
    with pytest.raises(DeliveryFailed, match="no usable reply"):
        plain.push([Sample(metric="a.b", value=1, at=NOW)])


def test_page_of_a_proxy(vendors, plain):
    """A page of markup is not quoted in an error."""
    vendors.trouble(VendorReply(status=502, content=b"<html><body>" + b"x" * 9999))
    with pytest.raises(DeliveryFailed) as caught:
        plain.push([Sample(metric="a.b", value=1, at=NOW)])

    assert len(str(caught.value)) < 200
    assert "<html" not in str(caught.value)


def test_redirect(vendors, plain):
    """A redirect is not followed: the key stays with the host it was meant for."""
    with LocalVendors() as elsewhere:
        headers = {"Location": f"{elsewhere.url}/api/v2/series"}
        vendors.trouble(VendorReply(status=307, headers=headers))
        with pytest.raises(DeliveryRefused) as caught:
            plain.push([Sample(metric="a.b", value=1, at=NOW)])

        assert 307 == caught.value.status
        assert () == elsewhere.calls


@pytest.mark.parametrize("status", [401, 403])
def test_event_without_application_key(vendors, plain, status):
    """The check pages; an event refused for want of a key is told in the receipt, not raised."""
    vendors.trouble(status, on="/api/v2/events")
    receipt = plain.send(alert())

    assert "DD_APP_KEY" in receipt.detail
    assert ["/api/v1/check_run", "/api/v2/events"] == [call.path for call in vendors.calls]


@pytest.mark.parametrize(
    ("app_key", "severity", "status"),
    [("b" * 40, "critical", 403), (None, "info", 403), (None, "critical", 400)],
)
def test_refused_event(vendors, clock, app_key, severity, status):
    """With both keys, without a check, or for another reason, a refused event is an error."""
    vendors.trouble(status, on="/api/v2/events")
    with DatadogSink(KEY, app_key=app_key, base_url=vendors.url, clock=clock) as sink:
        with pytest.raises(DeliveryRefused):
            sink.send(alert(severity=Severity(severity)))


# -- where it goes


@pytest.mark.parametrize("site", ["datadoghq.eu", "us5.datadoghq.com", "ddog-gov.com"])
def test_site_over_environment(monkeypatch, site):
    """The site that was passed wins over DD_SITE, for events as for metrics."""
    monkeypatch.setenv("DD_SITE", "ap1.datadoghq.com")
    sink = DatadogSink(KEY, site=site)

    assert f"DatadogSink('https://api.{site}')" == repr(sink)
    assert {"site": site} == sink._client.configuration.server_variables


def test_site_of_environment(monkeypatch):
    """Left out, site and keys come from the vendor's own variables."""
    monkeypatch.setenv("DD_SITE", "us3.datadoghq.com")
    monkeypatch.setenv("DD_API_KEY", KEY)
    monkeypatch.setenv("DD_APP_KEY", "b" * 40)
    sink = DatadogSink()

    assert "DatadogSink('https://api.us3.datadoghq.com')" == repr(sink)
    assert {"apiKeyAuth": KEY, "appKeyAuth": "b" * 40} == sink._client.configuration.api_key


@pytest.mark.parametrize("site", ["datadoghq.co", "https://app.datadoghq.eu", ""])
def test_unknown_site(site):
    """A site that does not exist is refused at once, with those that do."""
    with pytest.raises(InputError, match=r"datadoghq\.eu"):
        DatadogSink(KEY, site=site)


def test_missing_key():
    """Without a key the message names the variable."""
    with pytest.raises(MissingCredential, match="DD_API_KEY"):
        DatadogSink()


def test_unencrypted():
    """A key is not sent unencrypted over a network."""
    with pytest.raises(InputError, match="unencrypted"):
        DatadogSink(KEY, base_url="http://intake.example")


def test_proxy(monkeypatch):
    """The proxy of the environment is used, except where the environment excepts the host."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert "http://proxy.example:3128" == DatadogSink(KEY)._client.configuration.proxy

    monkeypatch.setenv("NO_PROXY", "datadoghq.com")
    assert DatadogSink(KEY)._client.configuration.proxy is None


def test_check(judged):
    """A check asks whether the key is good and submits nothing."""
    with DatadogSink(KEY, base_url=judged.url) as sink:
        assert "takes the API key" in sink.check().detail

    assert [("GET", "/api/v1/validate")] == [(call.method, call.path) for call in judged.calls]


def test_check_of_both_keys(vendors):
    """With an application key, both are asked about."""
    with DatadogSink(KEY, app_key="b" * 40, base_url=vendors.url) as sink:
        assert "takes both keys" in sink.check().detail
        vendors.trouble(403, on="/api/v2/validate_keys")
        with pytest.raises(DeliveryRefused):
            sink.check()


@pytest.mark.parametrize("reply", [403, VendorReply(body={"valid": False})])
def test_check_of_bad_key(vendors, plain, reply):
    """A key that is not good is told apart from an address that is not."""
    vendors.trouble(reply)
    with pytest.raises(DeliveryRefused, match="a key belongs to one site"):
        plain.check()


# -- the client


def test_light_import():
    """Importing the sink loads its own models, not the thousands of the client."""
    code = (
        "import sys, driftline.sinks.datadog as d\n"
        "print(sum(m.startswith('datadog_api_client') for m in sys.modules))\n"
        "print('datadog_api_client.v2.models' in sys.modules)"
    )
    told = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    count, everything = told.split()
    assert int(count) < 120  # v2.models alone is above 8000
    assert "False" == everything


def test_forgotten(vendors):
    """A sink that nobody closed leaves no socket behind."""
    sink = DatadogSink(KEY, base_url=vendors.url)
    sink.check()
    pool = sink._client.rest_client.pool_manager
    del sink

    assert 0 == len(pool.pools)


def test_quiet(vendors, plain, caplog):
    """A failing call writes nothing on its own above DEBUG: the outbox tells it once."""
    vendors.trouble(503)
    with caplog.at_level(logging.INFO), pytest.raises(DeliveryFailed):
        plain.push([Sample(metric="a.b", value=1, at=NOW)])

    assert [] == caplog.records


@pytest.mark.parametrize(
    "body", [b'{"series": [{"metric": "a", "points": [{"timestamp": 1, "value": NaN}]}]}', b"{}"]
)
def test_schema_judges(body):
    """The schema these tests rely on does refuse what is wrong."""
    call = VendorCall(method="POST", path="/api/v2/series", body=body)

    assert judge(call)
