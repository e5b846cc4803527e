"""The Grafana stack: metrics by OTLP, markers as annotations, pages through IRM."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from sinks_support import otlp_collector, prometheus, wait_for

from driftline._secret import Secret
from driftline.errors import DeliveryFailed, DeliveryRefused, InputError, MissingCredential
from driftline.records import AlertStatus, Delivery, Link, Metric, Sample
from driftline.sinks import _otlp
from driftline.sinks.grafana import GrafanaSink
from driftline.testing import FrozenClock, LocalVendors, VendorReply, example_alert

NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)
FIVE = timedelta(minutes=5)
TOKEN = "CANARYtoken"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def clock():
    return FrozenClock(NOW)


def resolved(alert, **changes):
    return evolve(alert, status=AlertStatus.RESOLVED, **changes)


def points(call):
    """Name, value and time in seconds of every point of a call."""
    request = ParseDict(call.json, ExportMetricsServiceRequest())
    return [
        (metric.name, point.as_double, point.time_unix_nano / 1e9)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.gauge.data_points
    ]


def points_labels(call):
    """The values of all labels of a call."""
    request = ParseDict(call.json, ExportMetricsServiceRequest())
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    points = (point for metric in metrics for point in metric.gauge.data_points)
    return {label.value.string_value for point in points for label in point.attributes}


# -- metrics


def test_real_receiver(tmp_path):
    """A real OTLP receiver takes our JSON and reads the numbers, names and labels out of it."""
    now = datetime.now(UTC)
    with otlp_collector(tmp_path) as (url, log), GrafanaSink(metrics_url=url) as sink:
        assert "takes OTLP" in sink.check().detail
        receipt = sink.push(
            [
                Sample(
                    metric=Metric.LATENCY_P95_MS,
                    value=412.5,
                    at=now - FIVE,
                    width=FIVE,
                    deployment="acme/line-3",
                    labels={"camera": "Förderband 温度"},
                )
            ]
        )
        wait_for(lambda: "Value: 412.5" in log.read_text())
    text = log.read_text()

    assert 1 == receipt.count
    for line in (
        "Name: driftline.endpoint.latency_p95_ms",
        "DataType: Gauge",
        "Value: 412.5",
        "deployment: Str(acme/line-3)",
        "camera: Str(Förderband 温度)",
        "service.name: Str(driftline)",
        f"Timestamp: {int(now.timestamp()) // 10}",
    ):
        assert line in text


def test_old_prometheus(tmp_path):
    """A Prometheus without OTLP is told apart, with the versions and the switch that have it."""
    with prometheus(tmp_path) as url, GrafanaSink(metrics_url=f"{url}/api/v1/otlp") as sink:
        for call in (sink.check, lambda: sink.push([Sample(metric="a.b", value=1, at=NOW)])):
            with pytest.raises(DeliveryRefused, match=r"2\.47.*--web\.enable-otlp-receiver"):
                call()


def test_metrics(vendors, clock):
    """Samples become gauges that end with the time they cover; names keep their units."""
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink:
        receipt = sink.push(
            [
                Sample(metric=Metric.LATENCY_P95_MS, value=412, at=NOW - 2 * FIVE, width=FIVE),
                Sample(metric=Metric.LATENCY_P95_MS, value=398, at=NOW - FIVE, width=FIVE),
                Sample(metric=Metric.HEALTHY, value=1, at=NOW),
            ]
        )

    (call,) = vendors.calls
    end = NOW.timestamp()
    assert 3 == receipt.count
    assert [
        ("driftline.endpoint.latency_p95_ms", 412.0, end - 300),
        ("driftline.endpoint.latency_p95_ms", 398.0, end),
        ("driftline.endpoint.healthy", 1.0, end),
    ] == points(call)
    metrics = call.json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert all("unit" not in metric for metric in metrics)
    first, last = metrics[0]["gauge"]["dataPoints"][0], metrics[1]["gauge"]["dataPoints"][0]
    assert str(int(end - 600) * 10**9) == first["startTimeUnixNano"]
    assert "startTimeUnixNano" not in last


def test_standing_results(vendors, clock):
    """A week's accuracy is stamped with the present; an old bucket keeps its own time."""
    week = timedelta(days=7)
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink:
        sink.push(
            [
                Sample(metric=Metric.MAP, value=0.41, at=NOW - 2 * week, width=week),
                Sample(metric=Metric.LATENCY_P95_MS, value=412, at=NOW - week),
            ]
        )

    end = NOW.timestamp()
    assert [end, end - week.total_seconds()] == [at for _, _, at in points(vendors.calls[0])]


samples = st.builds(
    Sample,
    metric=st.text(min_size=1),
    value=st.floats(allow_nan=False, allow_infinity=False),
    at=st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(lambda offset: NOW + offset),
    width=st.timedeltas(timedelta(0), timedelta(days=9)),
    deployment=st.text(max_size=30),
    labels=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
)


@given(st.lists(samples, max_size=20))
def test_payload_parses(batch):
    """Whatever the samples: OpenTelemetry's own definition reads back every number."""
    bodies = list(_otlp.payloads(batch, namespace="driftline", now=NOW, standing=("accuracy.",)))
    text = json.dumps([body for body, _ in bodies], allow_nan=False, ensure_ascii=False)

    values = []
    for body in json.loads(text.encode()):
        request = ParseDict(body, ExportMetricsServiceRequest())
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        values += [point.as_double for metric in metrics for point in metric.gauge.data_points]
    assert sorted(sample.value for sample in batch) == sorted(values)
    assert len(batch) == sum(count for _, count in bodies)


def test_microseconds(vendors, clock):
    """A time is sent to its last digit: a float of seconds would lose it."""
    at = NOW - timedelta(seconds=1, microseconds=-123457)
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink:
        sink.push([Sample(metric="a.b", value=1, at=at)])

    text = vendors.calls[0].body.decode()
    assert f'"{int(NOW.timestamp()) - 1}123457000"' in text


@pytest.mark.parametrize("label", ["x", "é" * 9999])
def test_many_samples(vendors, clock, label):
    """Many samples go in several calls of bounded size, none lost, labels cut to whole letters."""
    labels = {f"label {n}": label for n in range(5)}
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink:
        batch = [Sample(metric="a.b", value=n, at=NOW, labels=labels) for n in range(2500)]
        assert 2500 == sink.push(batch).count

    sent = [value for call in vendors.calls for _, value, _ in points(call)]
    assert list(range(2500)) == sorted(sent)
    assert len(vendors.calls) > 1
    assert max(call.size for call in vendors.calls) < 1_100_000
    cut = points_labels(vendors.calls[0])
    assert {label if label == "x" else "é" * 510 + "…"} == cut
    assert all(len(value.encode()) <= 1024 for value in cut)


def test_partial_success(vendors, clock):
    """What a receiver rejected is counted and told, and not sent again."""
    partial = {"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": "out of order"}}
    vendors.trouble(VendorReply(body=partial), times=2)
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink:
        sample = Sample(metric="a.b", value=1, at=NOW)
        receipt = sink.push([sample, evolve(sample, value=2.0)])
        assert (1, "out of order") == (receipt.count, receipt.detail)

        with pytest.raises(DeliveryRefused, match="out of order"):
            sink.push([sample])


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"null", b'{"partialSuccess": null}', b'{"partialSuccess": {}}',
     b'{"partialSuccess": {"rejectedDataPoints": "many"}}', b"\xff"],
)  # fmt: skip
def test_odd_success(vendors, clock, content):
    """A 200 is a success whatever its body says."""
    vendors.trouble(VendorReply(content=content))
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink:
        assert 1 == sink.push([Sample(metric="a.b", value=1, at=NOW)]).count


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, DeliveryRefused),
        (401, DeliveryRefused),
        (404, DeliveryRefused),
        (408, DeliveryRefused),
        (413, DeliveryRefused),
        (415, DeliveryRefused),
        (500, DeliveryRefused),
        (429, DeliveryFailed),
        (502, DeliveryFailed),
        (503, DeliveryFailed),
        (504, DeliveryFailed),
    ],
)
def test_otlp_statuses(vendors, clock, status, kind):
    """Only four statuses may be tried again: OTLP says so."""
    vendors.trouble(VendorReply(status=status, headers={"Retry-After": "30"}))
    with GrafanaSink(metrics_url=vendors.url, clock=clock) as sink, pytest.raises(kind) as caught:
        sink.push([Sample(metric="a.b", value=1, at=NOW)])

    assert (status, 30.0) == (caught.value.status, caught.value.retry_after_seconds)
    assert 1 == len(vendors.calls)


def test_metrics_url(vendors, clock):
    """A pasted path of the signal is not sent twice; a prefix is kept."""
    for url in ("/otlp", "/otlp/", "/otlp/v1/metrics"):
        with GrafanaSink(metrics_url=vendors.url + url, clock=clock) as sink:
            sink.check()

    assert {"/otlp/v1/metrics"} == {call.path for call in vendors.calls}


def test_metrics_credentials(vendors, monkeypatch):
    """A pair is basic, a word is bearer; tenants are named."""
    for auth in (("12345", TOKEN), ("12345", Secret(TOKEN)), TOKEN, Secret(TOKEN), None):
        with GrafanaSink(metrics_url=vendors.url, metrics_auth=auth, tenant="t") as sink:
            sink.check()

    basic = base64.b64encode(f"12345:{TOKEN}".encode()).decode()
    expected = [f"Basic {basic}", f"Basic {basic}", f"Bearer {TOKEN}", f"Bearer {TOKEN}", None]
    assert expected == [call.headers.get("authorization") for call in vendors.calls]
    assert {"t"} == {call.headers["x-scope-orgid"] for call in vendors.calls}


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ("Authorization=Basic%20" + base64.b64encode(b"1:tok").decode(), "Basic MTp0b2s="),
        ("x-other=1,authorization=Bearer abc", "Bearer abc"),
        ("authorization=", None),
        ("nonsense", None),
    ],
)
def test_credential_of_environment(vendors, monkeypatch, headers, sent):
    """OpenTelemetry's variables are used for the host they name, and for no other."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{vendors.url}/otlp")
    with LocalVendors() as other:
        for url in (vendors.url, other.url):
            with GrafanaSink(metrics_url=url) as sink:
                sink.check()

        assert sent == vendors.calls[0].headers.get("authorization")
        assert "authorization" not in other.calls[0].headers


# -- markers


@pytest.fixture
def markers(judged):
    with GrafanaSink(markers_url=judged.url, markers_token=TOKEN) as sink:
        yield sink


def test_marker(judged, markers):
    """An alert is a marker from its start, and a region once it has ended."""
    alert = example_alert(since=NOW, at=NOW + FIVE)
    first = markers.send(alert)
    last = markers.send(resolved(alert, at=NOW + 3 * FIVE, summary="p95 was 412 ms"))

    (marker,) = judged.markers
    assert str(marker["id"]) == first.reference == last.reference
    begin = int(NOW.timestamp()) * 1000
    assert (begin, begin + 900_000) == (marker["time"], marker["timeEnd"])
    assert {"driftline", "acme/line-3", "critical"} < set(marker["tags"])
    assert "Resolved: acme/line-3: p95 was 412 ms" in marker["text"]
    assert all(f"Bearer {TOKEN}" == call.headers["authorization"] for call in judged.calls)


def test_marker_is_set_once(judged, markers):
    """Annotations know no key: repeating looks the first one up instead of adding another."""
    alert = example_alert()
    for _ in range(3):
        markers.send(alert)
    with GrafanaSink(markers_url=judged.url, markers_token=TOKEN) as another:
        another.send(alert)
        another.send(resolved(alert))
        another.send(resolved(alert))

    assert 1 == len(judged.markers)
    assert 1 == sum(call.method == "PATCH" for call in judged.calls)


def test_marker_of_the_next_time(judged, markers):
    """The same alert a week later is another marker."""
    alert = example_alert()
    markers.send(alert)
    markers.send(resolved(alert))
    markers.send(evolve(alert, since=alert.since + timedelta(days=7)))

    assert 2 == len(judged.markers)


def test_resolve_without_marker(judged, markers):
    """An end whose beginning was never marked is marked as a region."""
    markers.send(resolved(example_alert(since=NOW, at=NOW + FIVE)))

    (marker,) = judged.markers
    assert 300_000 == marker["timeEnd"] - marker["time"]


def test_mark(judged, markers):
    """A deployment is marked once, with its details."""
    for _ in range(2):
        markers.mark(
            "model v7 deployed",
            at=NOW,
            deployment="acme/line-3",
            details={"map": 0.412, "loss": float("nan")},
            links=[Link(url="https://p.example", text="Platform"), Link(url="no", text="no")],
        )

    (marker,) = judged.markers
    assert "model v7 deployed\nmap: 0.412\nPlatform: https://p.example" == marker["text"]
    assert "acme/line-3" in marker["tags"]


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'[{"text": "no id"}]', b"[1]"])
def test_no_grafana(vendors, content):
    """What does not answer as annotations do is refused: posting blindly could duplicate."""
    vendors.trouble(VendorReply(content=content))
    with GrafanaSink(markers_url=vendors.url, markers_token=TOKEN) as sink:
        with pytest.raises(DeliveryRefused, match="does not answer as Grafana"):
            sink.send(example_alert())

    assert () == vendors.markers


def test_marker_without_number(vendors):
    """A marker that was set but not numbered was set."""
    vendors.trouble(VendorReply(content=b"[]"))
    vendors.trouble(VendorReply(content=b"ok"))
    with GrafanaSink(markers_url=vendors.url, markers_token=TOKEN) as sink:
        assert "0" == sink.send(example_alert()).reference


# -- pages through IRM


def irm_url(vendors):
    return f"{vendors.url}/integrations/v1/formatted_webhook/{TOKEN}/"


def test_irm(judged):
    """An alert opens a group under its key, and its end closes it."""
    with GrafanaSink(irm_url=irm_url(judged)) as sink:
        assert "knows the integration" in sink.check().detail
        assert frozenset() == judged.open_keys
        sink.send(example_alert())
        assert {"latency-budget:acme/line-3"} == judged.open_keys
        sink.send(resolved(example_alert()))

    assert frozenset() == judged.open_keys
    page, opened, closed = judged.calls
    assert "GET" == page.method  # only a POST makes an alert
    assert "https://platform.example/acme/line-3" == opened.json["link_to_upstream_details"]
    assert ("alerting", "ok") == (opened.json["state"], closed.json["state"])
    assert Delivery() == sink.delivery


@pytest.mark.parametrize("trouble", [403, 404, 500, "reset"])
def test_irm_url_is_secret(vendors, caplog, trouble):
    """The webhook's URL is its credential: it is in no record, error or repr."""
    caplog.set_level(0)
    with GrafanaSink(irm_url=Secret(irm_url(vendors))) as sink:
        sink.send(example_alert())
        vendors.trouble(trouble)
        with pytest.raises((DeliveryFailed, DeliveryRefused)) as caught:
            sink.send(example_alert())

    assert any(record.name == "httpx" for record in caplog.records)
    assert TOKEN not in caplog.text + str(caught.value) + repr(sink)


def test_irm_echo(vendors):
    """A server that quotes the address it was called at does not make us quote it."""
    vendors.trouble(VendorReply(status=404, content=irm_url(vendors).encode()))
    with GrafanaSink(irm_url=irm_url(vendors)) as sink, pytest.raises(DeliveryRefused) as caught:
        sink.send(example_alert())

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("url", ["https://irm.example", "http://irm.example/x/y", "no url"])
def test_bad_irm_urls(url):
    """A URL without its path, or one that would go unencrypted, is refused at once."""
    with pytest.raises(InputError):
        GrafanaSink(irm_url=url)


# -- the parts together


def test_everything(vendors):
    """One sink pages, counts and marks, each by its own part."""
    with GrafanaSink(
        alerts_url=vendors.url,
        metrics_url=vendors.url,
        markers_url=vendors.url,
        markers_token=TOKEN,
    ) as sink:
        detail = sink.check().detail
        sink.send(example_alert())
        sink.push([Sample(metric="a.b", value=1, at=NOW)])

    assert ["alerts:", "metrics:", "markers:"] == [w for w in detail.split() if w.endswith(":")]
    assert (1, 1) == (len(vendors.alerts), len(vendors.markers))
    assert sink.delivery.repeat_firing


def test_delivery():
    """Alerts are repeated as an Alertmanager wants it; numbers wait as long as they are taken."""
    alerts = GrafanaSink(alerts_url=NOBODY).delivery
    both = GrafanaSink(alerts_url=NOBODY, metrics_url=NOBODY).delivery

    assert timedelta(minutes=20) == alerts.time_to_live
    assert timedelta(hours=1) == both.time_to_live
    assert alerts.repeat_resolved_for == both.repeat_resolved_for == timedelta(minutes=15)
    assert Delivery() == GrafanaSink(metrics_url=NOBODY).delivery


def test_marker_is_no_page(vendors):
    """When only the marker failed, the alert was delivered, and the receipt tells the rest."""
    with GrafanaSink(alerts_url=vendors.url, markers_url=vendors.url, markers_token=TOKEN) as sink:
        vendors.trouble(403, on="/api/annotations")
        receipt = sink.send(example_alert())

    assert "the marker was not set" in receipt.detail
    assert "annotations:create" in receipt.detail
    assert 1 == len(vendors.alerts)


def test_parts_left_out(vendors):
    """What was left out takes nothing and says so."""
    with GrafanaSink(metrics_url=vendors.url) as sink:
        assert 0 == sink.send(example_alert()).count
        with pytest.raises(DeliveryRefused, match="markers_url"):
            sink.mark("deployed", at=NOW)
    with GrafanaSink(alerts_url=vendors.url) as sink:
        assert 0 == sink.push([Sample(metric="a.b", value=1, at=NOW)]).count

    assert () == vendors.calls


def test_check_of_every_part(vendors):
    """A check tells all that is wrong, not only the first."""
    with GrafanaSink(
        alerts_url=vendors.url, metrics_url=NOBODY, markers_url=vendors.url, markers_token=TOKEN
    ) as sink:
        vendors.trouble(401, on="/api/annotations")
        with pytest.raises(DeliveryFailed) as caught:
            sink.check()

    told = str(caught.value)
    assert "takes alerts" in told and "no usable reply" in told and "service account" in told


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alerts_url": "https://acme.grafana.net"},
        {"alerts_url": NOBODY, "irm_url": "https://irm.example/path"},
        {"metrics_url": "otlp.example"},
        {"metrics_url": "http://otlp.example", "metrics_auth": TOKEN},
        {"markers_url": "http://grafana.example", "markers_token": TOKEN},
    ],
)
def test_bad_options(options):
    """Nothing named, Grafana itself, two ways to page, no address, no encryption: refused."""
    with pytest.raises(InputError):
        GrafanaSink(**options)


def test_token_of_environment(monkeypatch):
    """Markers take their token from the environment; missing, the message names the variable."""
    with pytest.raises(MissingCredential, match="GRAFANA_SERVICE_ACCOUNT_TOKEN"):
        GrafanaSink(markers_url=NOBODY)

    monkeypatch.setenv("GRAFANA_SERVICE_ACCOUNT_TOKEN", TOKEN)
    assert TOKEN not in repr(GrafanaSink(markers_url=NOBODY))
