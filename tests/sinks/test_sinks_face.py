"""The face of the sinks: what is imported when, and what is alike."""

import inspect
import subprocess
import sys

import pytest

import driftline.sinks
from driftline.errors import InputError, MissingExtra
from driftline.records import AlertSink, MetricSink
from driftline.sinks import LogSink
from driftline.sinks.alertmanager import AlertmanagerSink
from driftline.sinks.apprise import AppriseSink
from driftline.sinks.datadog import DatadogSink
from driftline.sinks.grafana import GrafanaSink
from driftline.sinks.pagerduty import PagerDutySink
from driftline.testing import FrozenClock, LocalVendors, RecordingSink, check_sink

HERE = "http://127.0.0.1:9"
HEAVY = ("httpx", "httpx2", "datadog_api_client", "pagerduty", "apprise", "scipy")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_light():
    """Importing the package of the sinks imports no client of any vendor, nor an HTTP library."""
    code = "import sys, driftline.sinks; print([m for m in sys.modules])"
    loaded = python(code).stdout

    assert not [name for name in HEAVY if f"'{name}'" in loaded]
    assert ["LogSink"] == driftline.sinks.__all__


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DatadogSink("k", tags="env:prod"), "tags='env:prod' must be a list"),
        (lambda: DatadogSink("k", standing="accuracy."), "standing='accuracy.' must be a list"),
        (lambda: DatadogSink("k", oldest_point=3600), "oldest_point=3600 must be a timedelta"),
        (lambda: DatadogSink("k", timeout_seconds=None), "timeout_seconds=None must be a finite"),
        (lambda: DatadogSink("k", clock=FrozenClock), "clock=.* is a class"),
        (lambda: PagerDutySink("k", timeout_seconds=0), "timeout_seconds=0 must be a finite"),
        (lambda: AlertmanagerSink(HERE, clock=3), r"clock=3 has no now\(\)"),
        (lambda: AlertmanagerSink(HERE, interval=300), "interval=300 must be a timedelta"),
        (lambda: AlertmanagerSink([HERE, 3]), r"url\[1\]=3 must be an address"),
        (lambda: GrafanaSink(metrics_url=HERE, standing="drift."), "standing='drift.' must be"),
        (lambda: GrafanaSink(metrics_url=HERE, clock=3), r"clock=3 has no now\(\)"),
        (lambda: GrafanaSink(markers_url=HERE, markers_token="t", timeout_seconds="9"), "='9'"),
    ],
)
def test_wrong_kinds(make, said):
    """A tag is no list of letters, and a number of seconds says its unit: refused by name."""
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize(
    ("module", "package"),
    [("datadog", "datadog_api_client"), ("pagerduty", "pagerduty"), ("apprise", "apprise")],
)
def test_missing_extra(module, package):
    """Without its extra, importing a sink's module names the extra, as an ImportError."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from driftline.errors import MissingExtra\n"
        "try:\n"
        f"    import driftline.sinks.{module}\n"
        "except MissingExtra as error:\n"
        "    print(error.extra, '|', error, '|', isinstance(error, ImportError))\n"
    )
    extra, words, kind = python(code).stdout.strip().split(" | ")

    assert (module, "True") == (extra, kind)
    assert f'pip install "driftline[{module}]"' in words
    assert issubclass(MissingExtra, ImportError)


@pytest.mark.parametrize("module", ["log", "alertmanager", "grafana"])
def test_no_extra(module):
    """The others need none."""
    blocked = ("datadog_api_client", "pagerduty", "apprise", "httpx2")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import driftline.sinks.{module}"

    assert "" == python(code).stderr


SINKS = [
    LogSink,
    AlertmanagerSink,
    AppriseSink,
    DatadogSink,
    GrafanaSink,
    PagerDutySink,
    RecordingSink,
]


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
def test_protocols(sink):
    """Every sink takes alerts and can be checked; the verbs are spelled alike."""
    assert issubclass(sink, AlertSink)
    assert inspect.signature(LogSink.send) == inspect.signature(sink.send)
    assert inspect.signature(LogSink.check) == inspect.signature(sink.check)
    if issubclass(sink, MetricSink):
        assert inspect.signature(LogSink.push) == inspect.signature(sink.push)


def test_marks_are_alike():
    """The sinks that mark changes do it with the same words."""
    marking = [sink for sink in SINKS if hasattr(sink, "mark")]

    assert {"DatadogSink", "GrafanaSink", "PagerDutySink"} == {s.__name__ for s in marking}
    assert 1 == len({str(inspect.signature(sink.mark)) for sink in marking})


def test_local_vendors_outside_with():
    """The fake says how it wants to be used, and leaves nothing behind."""
    vendors = LocalVendors()
    with pytest.raises(Exception, match="with statement"):
        _ = vendors.url
    with vendors:
        assert vendors.url in repr(vendors)
    assert "closed" in repr(vendors)


def test_recording_sink():
    """It follows its script: failures first in line, then what comes, until it recovers."""
    from driftline.errors import DeliveryFailed
    from driftline.testing import example_alert

    sink = RecordingSink(name="mine")
    sink.fail(DeliveryFailed("down"))
    sink.accept()
    sink.fail(DeliveryFailed("down"), times=None)
    with pytest.raises(DeliveryFailed):
        sink.send(example_alert())
    assert "mine" == sink.send(example_alert()).sink
    for _ in range(3):
        with pytest.raises(DeliveryFailed):
            sink.push([])
    sink.recover()
    sink.send(example_alert(key="other"))

    assert (3, 2) == (len(sink.attempts), len(sink.alerts))
    assert ["latency-budget:acme/line-3", "other"] == [alert.key for alert in sink.firing]
    assert "RecordingSink(2 alerts, 0 samples)" == repr(sink)


def test_suite_takes_protocols():
    """The suite takes a sink of metrics only."""
    from driftline.records import Receipt

    class Counting:
        def push(self, samples):
            return Receipt(sink="counting", count=len(samples))

    check_sink(Counting)
