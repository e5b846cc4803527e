"""No credential goes to another host, or into anything that a person or a tool may read."""

import base64
import pickle
import traceback
from datetime import UTC, datetime

import pytest

from driftline.errors import ConfigError, DeliveryError, InputError
from driftline.records import Sample
from driftline.sinks.alertmanager import AlertmanagerSink
from driftline.sinks.apprise import AppriseSink
from driftline.sinks.datadog import DatadogSink
from driftline.sinks.grafana import GrafanaSink
from driftline.sinks.pagerduty import PagerDutySink
from driftline.testing import LocalVendors, VendorReply, example_alert

CANARY = "CANARYcanaryCANARYcanaryCANARY01"
BASIC = base64.b64encode(f"user:{CANARY}".encode()).decode()
BAD = f"{CANARY} copied with a word too many"

SINKS = {
    "datadog": lambda url: DatadogSink(CANARY, app_key=CANARY, base_url=url),
    "pagerduty": lambda url: PagerDutySink(CANARY, events_url=url),
    "alertmanager": lambda url: AlertmanagerSink(url, auth=("user", CANARY)),
    "otlp": lambda url: GrafanaSink(metrics_url=url, metrics_auth=("user", CANARY)),
    "markers": lambda url: GrafanaSink(markers_url=url, markers_token=CANARY),
    "irm": lambda url: GrafanaSink(irm_url=f"{url}/integrations/{CANARY}/"),
    "apprise": lambda url: AppriseSink(f"json://user:{CANARY}@{url.removeprefix('http://')}/"),
}


PAIRS = {"alertmanager", "otlp", "apprise"}


def everything(sink):
    """Every call a sink has, with the errors it raised."""
    now = datetime.now(UTC)
    calls = [
        sink.check,
        lambda: sink.send(example_alert()),
        lambda: sink.push([Sample(metric="a.b", value=1, at=now)]) if has(sink, "push") else None,
        lambda: sink.mark("deployed", at=now) if has(sink, "mark") else None,
    ]
    for call in calls:
        try:
            call()
        except DeliveryError as error:
            yield error


def has(sink, verb):
    return hasattr(sink, verb)


def shown(error):
    """What a tool that shows local variables would show of our own frames and those below."""
    yield "".join(traceback.format_exception(error))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "driftline" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
            yield from map(safe_repr, frame.f_locals.values())


def safe_repr(value):
    """The repr, as such tools take it: an object that was never finished may have none."""
    try:
        return repr(value)
    except AttributeError:
        return ""


def assert_hidden(*texts):
    text = "\n".join(texts)
    assert CANARY not in text
    assert BASIC not in text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", sorted(set(SINKS) - {"apprise"}))
def test_no_other_host(vendors, name, status):
    """A redirect is refused, not followed: no other host sees a call, let alone a credential."""
    with LocalVendors() as elsewhere, SINKS[name](vendors.url) as sink:
        vendors.trouble(
            VendorReply(status=status, headers={"Location": f"{elsewhere.url}/x"}), times=9
        )
        errors = list(everything(sink))

        assert () == elsewhere.calls
        assert errors
        assert_hidden(*(text for error in errors for text in shown(error)))


@pytest.mark.parametrize("name", SINKS)
@pytest.mark.parametrize("trouble", [400, 401, 403, 429, 503, "reset", "echo"])
def test_nowhere_to_read(vendors, caplog, name, trouble):
    """Whatever goes wrong, even a server that quotes the credential: it is shown nowhere."""
    caplog.set_level(0)
    echo = VendorReply(
        status=400, content=f"bad key {CANARY} {BASIC if name in PAIRS else ''}".encode()
    )
    vendors.trouble(echo if trouble == "echo" else trouble, times=9)
    sink = SINKS[name](vendors.url)
    errors = list(everything(sink))
    close = getattr(sink, "close", None)
    if close is not None:
        close()

    assert errors
    assert_hidden(repr(sink), str(sink), caplog.text)
    assert_hidden(*(text for error in errors for text in shown(error)))


@pytest.mark.parametrize("name", SINKS)
def test_never_in_a_file(vendors, name):
    """A sink does not let itself be pickled with its credential."""
    sink = SINKS[name](vendors.url)
    with pytest.raises(TypeError, match="a Secret cannot be pickled"):
        pickle.dumps(sink)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DatadogSink(BAD),
        lambda: DatadogSink(CANARY, app_key=BAD),
        lambda: DatadogSink(CANARY, app_key=CANARY, site="datadoghq.con"),
        lambda: DatadogSink(CANARY, base_url="http://intake.example"),
        lambda: PagerDutySink(BAD),
        lambda: PagerDutySink(CANARY, region="apac"),
        lambda: PagerDutySink(CANARY, events_url="http://events.example"),
        lambda: AlertmanagerSink("https://am.example", auth=BAD),
        lambda: AlertmanagerSink("https://am.example", auth=("us:er", CANARY)),
        lambda: AlertmanagerSink("https://acme.grafana.net", auth=CANARY),
        lambda: AlertmanagerSink("http://am.example", auth=("user", CANARY)),
        lambda: GrafanaSink(alerts_url="https://acme.grafana.net", alerts_auth=CANARY),
        lambda: GrafanaSink(metrics_url="http://otlp.example", metrics_auth=("user", CANARY)),
        lambda: GrafanaSink(metrics_url="https://otlp.example", metrics_auth=BAD),
        lambda: GrafanaSink(markers_url="https://g.example", markers_token=BAD),
        lambda: GrafanaSink(markers_url="http://g.example", markers_token=CANARY),
        lambda: GrafanaSink(irm_url=f"http://irm.example/{CANARY}"),
        lambda: GrafanaSink(irm_url=f"https://irm.example/{BAD}"),
        lambda: GrafanaSink(irm_url=f"https://irm.example/{CANARY}", alerts_url="https://a.b"),
        lambda: AppriseSink(f"nonsense://{CANARY}@host"),
        lambda: AppriseSink(f"slack://{CANARY}"),
    ],
)
def test_bad_credentials(make, caplog):
    """A credential that cannot be used, or an address beside it, is refused without quoting it."""
    caplog.set_level(0)
    with pytest.raises((InputError, ConfigError)) as caught:
        make()

    assert_hidden(*shown(caught.value), caplog.text)


MAKERS = {
    "datadog": lambda url: DatadogSink("d" * 32, base_url=url),
    "pagerduty": lambda url: PagerDutySink("p" * 32, events_url=url),
    "alertmanager": AlertmanagerSink,
    "alerts": lambda url: GrafanaSink(alerts_url=url),
    "otlp": lambda url: GrafanaSink(metrics_url=url),
    "irm": lambda url: GrafanaSink(irm_url=url),
    "markers": lambda url: GrafanaSink(markers_url=url, markers_token="g" * 32),
}


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{CANARY}@acme.grafana.net",
        f"https://user:{CANARY}@host/api/alertmanager/grafana/{CANARY}",
        f"https://{CANARY}@host",
        f"ftp://user:{CANARY}@host/a",
        f"user:{CANARY}@host",
        f"https://host:{CANARY}",
        f"https:user:{CANARY}@host",
    ],
)
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_credentials_in_addresses(name, url):
    """An address that carries credentials, however it is written, is refused without quoting it."""
    with pytest.raises(InputError) as caught:
        MAKERS[name](url)

    assert_hidden(str(caught.value))


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"irm"}))
def test_credentials_in_queries(name):
    """A token in the query of an address would be shown with it: no query is taken."""
    with pytest.raises(InputError, match="query") as caught:
        MAKERS[name](f"https://host/a?token={CANARY}")

    assert_hidden(str(caught.value))


@pytest.mark.parametrize("name", sorted(set(SINKS) - {"apprise", "pagerduty"}))
def test_no_proxy_on_the_way_to_loopback(vendors, monkeypatch, name):
    """What goes to loopback unencrypted is seen by no proxy of the environment."""
    with LocalVendors() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with SINKS[name](vendors.url) as sink:
            list(everything(sink))

        assert () == proxy.calls
    assert vendors.calls
