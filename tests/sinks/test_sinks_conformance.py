"""Every sink passes the suite that is offered to users, and the suite finds what is wrong."""

import io
import logging
import time

import pytest

from driftline.errors import DeliveryFailed
from driftline.records import Receipt
from driftline.sinks import LogSink
from driftline.sinks.alertmanager import AlertmanagerSink
from driftline.sinks.apprise import AppriseSink
from driftline.sinks.datadog import DatadogSink
from driftline.sinks.grafana import GrafanaSink
from driftline.sinks.pagerduty import PagerDutySink
from driftline.testing import RecordingSink, check_sink

KEY = "CANARYkey0CANARYkey0CANARYkey012"
APP_KEY = "CANARYapp0CANARYapp0CANARYapp0CANARYapp0"
TOKEN = "CANARYtoken"
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


def datadog(url):
    return DatadogSink(KEY, app_key=APP_KEY, base_url=url)


def pagerduty(url):
    return PagerDutySink(KEY, events_url=url)


def alertmanager(url):
    return AlertmanagerSink(url, auth=("user", TOKEN))


def grafana(url):
    return GrafanaSink(
        alerts_url=url,
        alerts_auth=TOKEN,
        metrics_url=url,
        metrics_auth=("12345", TOKEN),
        markers_url=url,
        markers_token=TOKEN,
    )


def metrics_only(url):
    return GrafanaSink(metrics_url=url, metrics_auth=TOKEN)


def irm(url):
    return GrafanaSink(irm_url=f"{url}/integrations/v1/formatted_webhook/{TOKEN}/")


def apprise(url):
    host = url.removeprefix("http://")
    return AppriseSink(f"json://user:{TOKEN}@{host}/{TOKEN}-path?+X-Key={TOKEN}-header")


@pytest.mark.parametrize(
    "make", [datadog, pagerduty, alertmanager, grafana, irm], ids=lambda make: make.__name__
)
def test_keyed_sinks(vendors, make):
    """A sink with a key opens one thing, closes it, and shows its credentials nowhere."""
    check_sink(
        lambda: make(vendors.url),
        make_broken=lambda: make(NOBODY),
        secrets=[KEY, APP_KEY, TOKEN],
        open_keys=lambda: vendors.open_keys,
    )


@pytest.mark.parametrize("make", [apprise], ids=lambda make: make.__name__)
def test_sinks_without_keys(vendors, make):
    """A sink whose service knows no key passes all the rest."""
    check_sink(
        lambda: make(vendors.url), make_broken=lambda: make(NOBODY), secrets=[KEY, APP_KEY, TOKEN]
    )


def test_metrics_only(vendors):
    """A sink made for metrics only takes metrics, and says that it took no alert."""
    check_sink(lambda: metrics_only(vendors.url), secrets=[TOKEN])


@pytest.mark.parametrize("status", [400, 403, 404, 413, 429, 500, 503])
@pytest.mark.parametrize(
    "make", [datadog, pagerduty, alertmanager, irm, apprise], ids=lambda make: make.__name__
)
def test_failing_sinks(vendors, make, status):
    """Whatever status comes back, a sink raises a delivery error and shows no credential."""
    vendors.trouble(status, times=99)
    check_sink(RecordingSink, make_broken=lambda: make(vendors.url), secrets=[KEY, APP_KEY, TOKEN])


def test_log_sinks():
    """Both kinds of log sink pass; a closed stream fails as a sink should."""
    logger = logging.getLogger("test.sinks.conformance")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    closed = io.StringIO()
    closed.close()

    check_sink(lambda: LogSink(logger=logger))
    check_sink(lambda: LogSink(stream=io.StringIO()), make_broken=lambda: LogSink(stream=closed))


def test_recording_sink():
    """The fake passes what it is a fake of."""

    def broken():
        sink = RecordingSink()
        sink.fail(DeliveryFailed("down"), times=None)
        return sink

    sinks = []

    def make():
        sinks.append(RecordingSink())
        return sinks[-1]

    check_sink(
        make,
        make_broken=broken,
        open_keys=lambda: [alert.key for sink in sinks for alert in sink.firing],
    )


class Plain:
    """The smallest sink: an object with send."""

    def send(self, alert):
        return Receipt(sink="plain", reference=alert.key)


def test_smallest_sink():
    """An object with one method passes."""
    check_sink(Plain)


def test_async_sink():
    """A sink whose verbs are async is held to the same."""

    class Later:
        async def send(self, alert):
            return Receipt(sink="later", reference=alert.key)

    class Never(Later):
        async def send(self, alert):
            raise ConnectionError("no DeliveryError")

    check_sink(Later)
    with pytest.raises(ExceptionGroup, match="Later is no sink"):
        check_sink(Later, make_broken=Never)


class Shouting(Plain):
    def __init__(self):
        self.token = TOKEN

    def __repr__(self):
        return f"Shouting({self.token})"


class Logging(Plain):
    def send(self, alert):
        logging.getLogger("test.sinks").debug("posting with %s", TOKEN)
        return super().send(alert)


class Silent(Plain):
    def send(self, alert):
        return None


class Leaky(Plain):
    def send(self, alert):
        raise ConnectionError(alert.key)


class Fussy(Plain):
    def send(self, alert):
        if len(alert.summary) > 1024:
            raise DeliveryFailed("the summary is too long")
        return super().send(alert)


class Encoding(Plain):
    def send(self, alert):
        alert.summary.encode()
        return super().send(alert)


class Misnamed(Plain):
    name = "other"


class Nothing:
    pass


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        (Shouting, "its repr shows a credential"),
        (Logging, "a log record shows a credential"),
        (Silent, "instead of a Receipt"),
        (Leaky, "only DeliveryError may leave a sink"),
        (Fussy, "send refused"),
        (Encoding, "UnicodeEncodeError"),
        (Misnamed, "the receipt says 'plain', the sink 'other'"),
        (Nothing, "neither send"),
    ],
)
def test_suite_finds(sink, words):
    """Each kind of misbehaviour is found and named."""
    with pytest.raises(ExceptionGroup) as caught:
        check_sink(sink, secrets=[TOKEN])

    assert any(words in str(fault) for fault in caught.value.exceptions)


class Duplicating(Plain):
    """Opens another incident for each trigger and closes one for each resolve."""

    opened: list

    def send(self, alert):
        if alert.status.value == "firing":
            self.opened.append(alert.key)
        elif alert.key in self.opened:
            self.opened.remove(alert.key)
        return super().send(alert)


class Opening(Duplicating):
    """Opens an incident whatever it is sent."""

    def send(self, alert):
        self.opened.append(alert.key)
        return Receipt(sink="plain")


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        (Duplicating, "sending twice under one key must open one thing"),
        (Opening, "an end without a beginning opened something"),
    ],
)
def test_suite_counts(sink, words):
    """Duplicates and false openings are found where the other side can be seen."""
    opened = []
    made = type(sink.__name__, (sink,), {"opened": opened})

    with pytest.raises(ExceptionGroup) as caught:
        check_sink(made, open_keys=lambda: list(opened))

    assert any(words in str(fault) for fault in caught.value.exceptions)


class Chained(Plain):
    """Fails as it should, and drags the credential along in a frame below."""

    def send(self, alert):
        try:
            self._post(f"Bearer {TOKEN}")
        except ConnectionError as exc:
            raise DeliveryFailed("no reply") from exc

    def _post(self, header):
        raise ConnectionError("refused")


class Crashing(Plain):
    def send(self, alert):
        raise OSError("refused")


class Content(Plain):
    """Says yes to everything."""


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Chained, "an error shows a credential"),
        (Crashing, "only DeliveryError may leave a sink"),
        (Content, "instead of raising DeliveryError"),
    ],
)
def test_suite_finds_bad_failures(broken, words):
    """How a sink fails is looked at as closely as how it works."""
    with pytest.raises(ExceptionGroup) as caught:
        check_sink(Plain, make_broken=broken, secrets=[TOKEN])

    assert [words in str(fault) for fault in caught.value.exceptions] == [True]


def test_suite_finds_waiting(monkeypatch):
    """A sink that repeats by itself takes too long."""
    passed = iter([0.0, 31.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(passed, 31.0))

    class Waiting(Plain):
        def send(self, alert):
            raise DeliveryFailed("after much patience")

    with pytest.raises(ExceptionGroup) as caught:
        check_sink(Plain, make_broken=Waiting)

    assert "one attempt a call" in str(caught.value.exceptions[0])
