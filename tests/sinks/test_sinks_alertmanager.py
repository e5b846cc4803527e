"""Alertmanager: a real one keeps what it is told, neither flapping nor forgetting."""

import base64
import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from sinks_support import alertmanager, get_json, wait_for

from driftline.errors import DeliveryFailed, DeliveryRefused, InputError
from driftline.records import AlertStatus, Delivery, Link, LogLine, Severity
from driftline.sinks.alertmanager import AlertmanagerSink, alert_labels, label_name
from driftline.testing import FrozenClock, LocalVendors, VendorReply, check_sink, example_alert

NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)
NOBODY = "http://127.0.0.1:9"


def resolved(alert, **changes):
    return evolve(alert, status=AlertStatus.RESOLVED, at=datetime.now(UTC), **changes)


def active(url):
    return [
        (alert["labels"]["alert_key"], alert["labels"]["severity"], alert["status"]["state"])
        for alert in get_json(f"{url}/api/v2/alerts")
    ]


def told(hook, key):
    """What the receiver was told about a key, in order."""
    return [
        alert["status"]
        for call in hook.calls
        if call.path == "/hook"
        for alert in call.json["alerts"]
        if alert["labels"]["alert_key"] == key
    ]


@pytest.fixture(scope="module")
def hook():
    with LocalVendors() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def real(tmp_path_factory, hook):
    """A real Alertmanager that ends by itself what has no end after one second."""
    folder = tmp_path_factory.mktemp("alertmanager")
    with alertmanager(folder, hook=f"{hook.url}/hook", resolve_timeout="1s") as url:
        yield url


# -- the real one


def test_life(real, hook):
    """An alert is posted, shown as firing, told to the receiver, resolved, and told again."""
    alert = example_alert(key="life")
    with AlertmanagerSink(real) as sink:
        assert "takes alerts" in sink.check().detail
        assert "life" == sink.send(alert).reference
        assert ("life", "critical", "active") in active(real)
        wait_for(lambda: told(hook, "life") == ["firing"])

        sink.send(resolved(alert))
        assert "life" not in [key for key, _, _ in active(real)]
        wait_for(lambda: told(hook, "life") == ["firing", "resolved"])


def test_no_flapping(real, hook):
    """A schedule slower than ``resolve_timeout`` does not flap; without an end it would.

    The control is posted beside it without an end, and must flap for this test to count.
    """
    alert = example_alert(key="steady")
    with AlertmanagerSink(real) as sink:
        for _ in range(2):
            sink.send(alert)
            flap(real, hook)
        wait_for(lambda: told(hook, "steady"))
        assert ["firing"] == told(hook, "steady")

        sink.send(resolved(alert))
        wait_for(lambda: told(hook, "steady") == ["firing", "resolved"])


def flap(url, hook):
    """Tell of an alert without an end, until people are told, and let ``resolve_timeout`` pass."""
    control = {"alert_key": "control", "alertname": "control", "severity": "error"}

    def fires():
        post(url, [{"labels": control}])
        return told(hook, "control")[-1:] == ["firing"]

    wait_for(fires)
    wait_for(lambda: told(hook, "control")[-1:] == ["resolved"])


def post(url, alerts):
    body = json.dumps(alerts).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v2/alerts", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60):
        pass


def test_monitor_gone(real, hook):
    """When nobody repeats it any more, an alert ends four intervals later, not before."""
    clock, interval = FrozenClock(datetime.now(UTC)), timedelta(hours=1)
    with AlertmanagerSink(real, interval=interval, clock=clock) as sink:
        sink.send(example_alert(key="gone", at=clock.now()))
        flap(real, hook)  # beyond resolve_timeout
        (kept,) = [one for one in get_json(f"{real}/api/v2/alerts") if named(one) == "gone"]
        left = datetime.fromisoformat(kept["endsAt"]) - clock.now()
        assert abs(left - 4 * interval) < timedelta(milliseconds=2)

        # As if the last word had come almost four intervals ago.
        earlier = clock.now() - 4 * interval + timedelta(seconds=1)
        clock.set(earlier)
        sink.send(example_alert(key="soon", at=earlier, since=earlier))
    wait_for(lambda: "soon" not in [key for key, _, _ in active(real)])
    assert "gone" in [key for key, _, _ in active(real)]


def named(alert):
    return alert["labels"]["alert_key"]


@pytest.mark.parametrize("key", ["plain", 'quo"ted', "back\\slash", "é — 温度"])
def test_severity_rises(real, key):
    """A risen severity is another alert to an Alertmanager; the old one ends in the same call.

    A new sink does it as well: a schedule starts a new process each time.
    """
    key = f"rising {key}"
    alert = example_alert(key=key, severity=Severity.WARNING)
    for severity in (Severity.WARNING, Severity.CRITICAL):
        with AlertmanagerSink(real) as sink:
            sink.send(evolve(alert, severity=severity))
        assert [(key, severity.value, "active")] == [one for one in active(real) if one[0] == key]

    with AlertmanagerSink(real) as sink:  # resolved under the first severity: both are ended
        sink.send(resolved(alert))
    assert [] == [one for one in active(real) if one[0] == key]


def test_conformance(real):
    """The real server takes the longest and strangest that the suite has."""
    check_sink(
        lambda: AlertmanagerSink(real),
        open_keys=lambda: [one for one in active(real) if one[0].startswith("check-")],
    )


def test_restart(tmp_path, hook):
    """An Alertmanager that lost everything is told everything again: a sink asks for that."""
    alert = example_alert(key="restart")
    with AlertmanagerSink("http://127.0.0.1:9") as never:
        assert never.delivery.repeat_firing

    for run in ("first", "second"):
        folder = tmp_path / run
        folder.mkdir()
        with alertmanager(folder, hook=f"{hook.url}/none") as url:
            assert [] == active(url)
            with AlertmanagerSink(url) as sink:
                sink.send(alert)
            assert ["restart"] == [key for key, _, _ in active(url)]


# -- payloads


@pytest.fixture
def clock():
    return FrozenClock(NOW)


def test_payload(judged, clock):
    """Labels say what, where and how bad; annotations tell people; both times are sent."""
    alert = example_alert(
        at=NOW,
        since=NOW - timedelta(minutes=9),
        runbook="Open https://wiki.example/p95, then roll back.",
        labels={"camera-id": "cam 1", "severity": "mine", "empty": ""},
        links=(Link(url="ftp://x", text="no"), Link(url="https://p.example/d", text="Deployment")),
    )
    with AlertmanagerSink(judged.url, clock=clock, labels={"env": "prod"}) as sink:
        sink.send(alert)

    (item,) = judged.calls[-1].json
    assert {
        "alertname": "latency_budget",
        "deployment": "acme/line-3",
        "severity": "critical",
        "metric": "endpoint.latency_p95_ms",
        "alert_key": "latency-budget:acme/line-3",
        "camera_id": "cam 1",
        "env": "prod",
    } == item["labels"]
    assert ("2026-11-22T20:51:00.000Z", "2026-11-22T21:20:00.000Z") == (
        item["startsAt"],
        item["endsAt"],
    )
    assert "https://p.example/d" == item["generatorURL"]
    assert "https://wiki.example/p95" == item["annotations"]["runbook_url"]
    assert "acme/line-3: p95 latency is 412 ms" == item["annotations"]["summary"]
    assert item["annotations"]["logs"].endswith("504 worker timed out")


def test_identity_is_steady(vendors, clock):
    """Value, time and words may change without making another alert."""
    alert = example_alert(at=NOW, since=NOW)
    with AlertmanagerSink(vendors.url, clock=clock) as sink:
        sink.send(alert)
        later = NOW + timedelta(minutes=5)
        sink.send(evolve(alert, at=later, window_end=later, value=999.0, summary="p95 is 999 ms"))

    posted = [call.json[0] for call in vendors.calls if call.method == "POST"]
    assert posted[0]["labels"] == posted[1]["labels"]
    assert posted[0]["startsAt"] == posted[1]["startsAt"]
    assert posted[0]["annotations"] != posted[1]["annotations"]


times = st.timedeltas(timedelta(days=-30), timedelta(days=30)).map(lambda offset: NOW + offset)


@given(since=times, at=times, now=times, firing=st.booleans())
def test_times(since, at, now, firing):
    """Whatever the clocks say: a start is not after its end, and an end is truly one."""
    status = AlertStatus.FIRING if firing else AlertStatus.RESOLVED
    sink = AlertmanagerSink(NOBODY, clock=FrozenClock(now))
    item = sink._item(example_alert(since=since, at=at, status=status))

    starts, ends = (datetime.fromisoformat(item[name]) for name in ("startsAt", "endsAt"))
    millisecond = timedelta(milliseconds=1)  # what is sent is cut to whole ones
    assert starts <= ends
    assert ends > now + timedelta(minutes=20) - millisecond if firing else ends <= now


@given(st.text(min_size=1))
def test_label_names(name):
    """Any name becomes one that every version of Alertmanager takes."""
    assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", label_name(name))


@given(st.dictionaries(st.text(), st.text()))
def test_labels(labels):
    """Labels are never empty, never override our own, and can be written as JSON."""
    alert = example_alert(labels=labels)
    made = alert_labels(alert, {})

    assert "critical" == made["severity"]
    assert alert.key == made["alert_key"]
    assert all(made.values())
    json.dumps(made, ensure_ascii=False).encode()


def test_long_keys(vendors):
    """Keys that differ beyond any limit stay two alerts."""
    with AlertmanagerSink(vendors.url) as sink:
        for last in "ab":
            sink.send(example_alert(key="é" * 2000 + last))

    assert 2 == len(vendors.open_keys)
    assert all(len(key.encode()) <= 1024 for key in vendors.open_keys)


def test_drill_is_marked(vendors):
    """A drill can be routed apart by its label, and is called one in its summary."""
    with AlertmanagerSink(vendors.url) as sink:
        sink.send(example_alert(test=True))

    (item,) = vendors.calls[-1].json
    assert "true" == item["labels"]["drill"]
    assert item["annotations"]["summary"].startswith("[DRILL]")


def test_long_logs(vendors):
    """An annotation is cut with a mark."""
    line = LogLine(at=NOW, severity="ERROR", message="x" * 3000)
    with AlertmanagerSink(vendors.url) as sink:
        sink.send(example_alert(logs=(line,) * 9))

    logs = vendors.calls[-1].json[0]["annotations"]["logs"]
    assert (4000, "…") == (len(logs), logs[-1])


# -- conversations


def test_looks_up_once(vendors):
    """A sink that knows what it sent does not look it up; a new one and a resolve do."""
    with AlertmanagerSink(vendors.url) as sink:
        for _ in range(3):
            sink.send(example_alert())
        sink.send(resolved(example_alert()))

    assert ["GET", "POST", "POST", "POST", "GET", "POST"] == [c.method for c in vendors.calls]


def test_look_up_fails(vendors):
    """A look-up that fails or answers nonsense does not hold up the alert."""
    for answer in (500, "reset", VendorReply(content=b"<html>"), VendorReply(body={"labels": 1})):
        vendors.trouble(answer)
        with AlertmanagerSink(vendors.url) as sink:
            assert 1 == sink.send(example_alert()).count

    assert 4 == sum(call.method == "POST" for call in vendors.calls)


def test_members(vendors):
    """Every member is told; one that took it is enough, and the receipt names the other."""
    with LocalVendors() as second, AlertmanagerSink([vendors.url, second.url]) as sink:
        sink.send(example_alert())
        assert {"latency-budget:acme/line-3"} == vendors.open_keys == second.open_keys

        second.trouble(503, times=2)
        assert "answered 503" in sink.send(resolved(example_alert())).detail


@pytest.mark.parametrize(("other", "kind"), [(503, DeliveryFailed), (404, DeliveryRefused)])
def test_members_all_down(vendors, other, kind):
    """When no member took it, it is worth another attempt as long as one may recover."""
    with LocalVendors() as second, AlertmanagerSink([vendors.url, second.url]) as sink:
        vendors.trouble(400, times=9)
        second.trouble(other, times=9)
        with pytest.raises(kind) as caught:
            sink.send(example_alert())

    assert caught.value.status in {other, 400}


def test_credentials(vendors):
    """Basic and bearer credentials and a tenant go with every call."""
    with AlertmanagerSink(vendors.url, auth=("user", "pass word"), tenant="team-1") as sink:
        sink.send(example_alert())
    with AlertmanagerSink(vendors.url, auth="token") as sink:
        sink.send(example_alert())

    basic = base64.b64encode(b"user:pass word").decode()
    assert {f"Basic {basic}", "Bearer token"} == {c.headers["authorization"] for c in vendors.calls}
    assert "team-1" == vendors.calls[0].headers["x-scope-orgid"]


@pytest.mark.parametrize("status", [400, 404, 422])
def test_partial_refusal(vendors, status):
    """A 400 may have kept the good alerts of a batch: trying it again changes nothing."""
    with AlertmanagerSink(vendors.url) as sink:
        vendors.trouble(status, times=9)
        with pytest.raises(DeliveryRefused) as caught:
            sink.send(example_alert())

    assert status == caught.value.status


def test_delivery():
    """It wants the firing set at each run, resolves for 15 minutes, and nothing that is over."""
    expected = Delivery(
        repeat_firing=True,
        repeat_resolved_for=timedelta(minutes=15),
        time_to_live=timedelta(minutes=8),
    )
    assert expected == AlertmanagerSink(NOBODY, interval=timedelta(minutes=2)).delivery


# -- addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.grafana.net",
        "https://acme.grafana.net/api/v2/alerts",
        "https://grafana.example/api/alertmanager/grafana",
        "https://grafana.example/api/alertmanager/grafana/api/v2/alerts",
    ],
)
def test_grafana_itself(url):
    """Grafana's own Alertmanager is refused, with the reason and what to do instead."""
    with pytest.raises(InputError, match=r"takes no alerts from outside.*irm_url"):
        AlertmanagerSink(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://alertmanager-prod-us-central-0.grafana.net/alertmanager",
        "https://mimir.example/alertmanager",
        "https://am.example/api/v2/alerts",
        "https://am.example/",
    ],
)
def test_alertmanagers(url):
    """Grafana Cloud's, Mimir's and a plain one are taken; a pasted API path is cut off."""
    assert "/api/v2" not in repr(AlertmanagerSink(url))


@pytest.mark.parametrize(
    "options",
    [
        {"url": []},
        {"url": "am.example:9093"},
        {"url": "http://am.example", "auth": "token"},
        {"url": NOBODY, "interval": timedelta(0)},
        {"url": NOBODY, "auth": ("us:er", "pass")},
        {"url": NOBODY, "auth": ("user", "pass\n")},
    ],
)
def test_bad_options(options):
    """No address, none that can be used, a credential that cannot, no interval: refused at once."""
    with pytest.raises(InputError):
        AlertmanagerSink(**options)


@pytest.mark.parametrize(
    "reply",
    [404, VendorReply(content=b"<html>Grafana</html>"), VendorReply(body={"database": "ok"})],
)
def test_check_of_something_else(vendors, reply):
    """A check tells when the address is no Alertmanager, and why that may be."""
    vendors.trouble(reply)
    with AlertmanagerSink(vendors.url) as sink:
        with pytest.raises(DeliveryRefused, match="if it is Grafana itself"):
            sink.check()

    assert frozenset() == vendors.open_keys
