"""What people pass by mistake, argument by argument: it is refused at once, in our words."""

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftline import Detections, Monitor, PlatformClient, Sample, check, rules
from driftline.errors import InputError
from driftline.holdout import Truth
from driftline.lake import DetectionLogger, LogColumns, LogQuery, profile_from_log
from driftline.platform import TrainArgs, encode_png
from driftline.profiles import within
from driftline.records import Context, Series, as_datetime, as_timedelta64
from driftline.reports import (
    datadog_dashboard,
    datadog_monitors,
    grafana_alert_rules,
    grafana_dashboard,
    prometheus_rules,
    weekly,
)
from driftline.retrain import (
    LocalBackend,
    Outcome,
    PlatformBackend,
    RetrainLoop,
    Rollout,
    Selection,
)
from driftline.sinks import LogSink
from driftline.sinks.alertmanager import AlertmanagerSink
from driftline.sinks.grafana import GrafanaSink
from driftline.sinks.pagerduty import PagerDutySink
from driftline.stores import MemoryStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NAIVE = datetime(2026, 11, 23)
LATENCY = rules.LatencyBudget(p95_ms=250, runbook="Roll back.")
BOX = {"xyxy": [[1, 1, 2, 2]], "class_id": [0], "image_size": (8, 8)}
ALERTS = "http://127.0.0.1:9093"
CANARY = "acme/canary"


def logger(folder="log", **how):
    return DetectionLogger(folder, **how)


def counted(**how):
    return LogQuery(table="t").profile(**{"execute": lambda _: (), **how})


def backend(**how):
    with PlatformClient("ul_" + 40 * "a") as client:  # nothing is asked
        given = {"platform": client, "store": MemoryStore(), "dataset": "acme/d"}
        given |= {"project": "acme/p", "deployment": "acme/line-3", "canary": CANARY}
        return PlatformBackend(**{**given, "budget_cents": 100, **how})


def loop(**how):
    given = {"backend": LocalBackend("work"), "store": MemoryStore(), "name": "line-3"}
    given |= {"incumbent": "best.pt", "sample": list, "holdout": "holdout.yaml", "folder": "loop"}
    given |= {"args": TrainArgs(epochs=3), "deploy": lambda _: None}
    return RetrainLoop(**{**given, **how})


def rollout(**how):
    given = {"store": MemoryStore(), "deployment": "acme/line-3", "canary": CANARY}
    return Rollout(None, **{**given, "candidate": "p/m", **how})


def made(**how):
    return rules.constant(
        **{"rule": LATENCY, "values": {"a": 1}, "breach": True, "start": NOW, **how}
    )


CASES = [
    # detections and numbers
    (lambda **how: Detections(**BOX, confidence=[0.5], **how), "class_names", None, "names by ind"),
    (lambda **how: Detections(**BOX, confidence=[0.5], **how), "class_names", ["a"], "names by in"),
    (lambda **how: Truth(**BOX, **how), "class_names", ["a"], "names by index"),
    (Context, "class_names", ["a"], "names by index"),
    (Context, "conf", "0.25", "a number from 0 to 1"),
    (Context, "iou", [0.5], "a number from 0 to 1"),
    (lambda **how: Sample(metric="a", value=1, at=NOW, **how), "deployment", None, "text"),
    (lambda **how: Sample(metric="a", value=1, at=NOW, **how), "labels", None, "labels such as"),
    (lambda **how: Series(times=[], values=[], **how), "metric", None, "a dotted name"),
    (lambda **how: Series(metric="a", times=[], values=[], **how), "deployment", 3, "text"),
    (as_datetime, "value", NOW, "a time of numpy"),
    (as_timedelta64, "value", 60, "a timedelta"),
    (encode_png, "image", None, "an array of pixels"),
    (lambda **how: within([], **how), "regions", ["area"], "a Region"),
    # logs
    (logger, "max_rows", "many", "1 to 100,000,000"),
    (logger, "max_rows", 10.5, "1 to 100,000,000"),
    (logger, "max_age", 60, "a timedelta"),
    (logger, "context", {"conf": 0.25}, "a driftline.records.Context"),
    (LogColumns, "camera", None, "text"),
    (LogColumns, "context", 5, "text"),
    (LogColumns, "normalized", "yes", "True or False"),
    (LogQuery, "table", None, "text"),
    (lambda **how: LogQuery(table="t", **how), "dialect", ["duckdb"], "one of 'duckdb'"),
    (lambda **how: LogQuery(table="t", **how), "columns", "camera", "a LogColumns"),
    (lambda **how: LogQuery(table="t", **how), "features", "area", "a list"),
    (lambda **how: LogQuery(table="t", **how), "features", ["area"], "a Feature"),
    (counted, "execute", "SELECT 1", "a function that runs a statement"),
    (counted, "context", {"conf": 0.25}, "a driftline.records.Context"),
    (lambda **how: profile_from_log("log", **how), "columns", None, "a driftline.lake.LogColumns"),
    (lambda **how: profile_from_log("log", **how), "memory", None, "text"),
    (lambda **how: profile_from_log("log", **how), "threads", True, "1 to 1024"),
    # the week
    (weekly, "decision", "retrain", "a Decision"),
    (weekly, "drift", {}, "a DriftReport"),
    (weekly, "accuracy", 0.5, "a Trend"),
    (weekly, "evaluation", "best.pt", "an Evaluation"),
    (weekly, "progress", "promoted", "the status of a rollout"),
    (weekly, "alerts", 5, "a list"),
    (weekly, "alerts", ["page"], "a Transition"),
    (weekly, "frames", ["a.jpg"], "a SampledFrame"),
    (weekly, "deployment", None, "text"),
    (weekly, "title", 5, "text"),
    (check, "monitor", "monitor", "a driftline.Monitor"),
    (check, "monitor", Monitor, "pass an object of it"),
    (check, "policy", 0.05, "a driftline.RetrainPolicy"),
    (check, "evaluated", NAIVE, "has no time zone"),
    # dashboards and rules as code
    *[
        (export, "rules", bad, message)
        for export in (
            datadog_dashboard,
            datadog_monitors,
            grafana_dashboard,
            prometheus_rules,
            lambda **how: grafana_alert_rules(datasource_uid="u", **how),
        )
        for bad, message in (
            (LATENCY, "a list"),
            (["latency-budget"], "a rule"),
            ([rules.LatencyBudget], "pass an object of it"),
        )
    ],
    (lambda **how: prometheus_rules([LATENCY], **how), "late", 60, "a timedelta"),
    (lambda **how: datadog_monitors([LATENCY], **how), "late", -MINUTE, "not be negative"),
    (lambda **how: datadog_monitors([LATENCY], **how), "notify", ["@me"], "text"),
    (lambda **how: datadog_dashboard([LATENCY], **how), "title", None, "text"),
    (lambda **how: grafana_dashboard([LATENCY], **how), "title", "", "is empty"),
    (lambda **how: grafana_alert_rules([LATENCY], **how), "datasource_uid", None, "text"),
    (made, "rule", "latency-budget", "a rule"),
    (made, "values", 5, "the value of each metric"),
    (made, "width", timedelta(0), "must be above 0"),
    # sinks
    (lambda **how: AlertmanagerSink(ALERTS, **how), "labels", [("env", "prod")], "labels such as"),
    (lambda **how: AlertmanagerSink(ALERTS, **how), "labels", {"env": 1}, "text, the names and"),
    (lambda **how: AlertmanagerSink(ALERTS, **how), "tenant", 7, "text"),
    (lambda **how: AlertmanagerSink(ALERTS, **how), "name", "", "is empty"),
    (lambda **how: GrafanaSink(alerts_url=ALERTS, **how), "namespace", None, "text"),
    (lambda **how: PagerDutySink("R" * 32, **how), "region", ["us"], "one of 'eu', 'us'"),
    (lambda **how: PagerDutySink("R" * 32, **how), "name", None, "text"),
    (LogSink, "logger", "driftline.alerts", "a logger"),
    (LogSink, "stream", "alerts.log", "an open text file"),
    (LogSink, "name", None, "text"),
    # retraining
    *[
        (lambda **how: TrainArgs(**{"epochs": 3, **how}), name, None, "a whole number from")
        for name in ("epochs", "imgsz", "batch", "patience", "seed")
    ],
    (LocalBackend, "folder", None, "the path of a folder"),
    (backend, "platform", "acme", "a driftline.PlatformClient"),
    (backend, "store", "sqlite:///d.db", "a store"),
    (backend, "dataset", None, "text"),
    (backend, "canary", "acme/line-3", "must be two"),
    (backend, "budget_cents", None, "cents, above 0"),
    (backend, "budget_cents", 0, "cents, above 0"),
    (backend, "gpu", "abacus", "one of 'rtx"),
    (backend, "direct", "yes", "True or False"),
    (loop, "name", "", "is empty"),
    (loop, "store", "sqlite:///d.db", "a store"),
    (loop, "args", {"epochs": 3}, "a driftline.platform.TrainArgs"),
    (loop, "folder", None, "the path of a folder"),
    (loop, "baseline_days", 0.5, "1 or more"),
    (loop, "patience", 60, "a timedelta"),
    (loop, "sinks", LogSink(stream=io.StringIO()), "a list"),
    (rollout, "stages", 0.5, "a list"),
    (Outcome, "ok", None, "True or False"),
    (Outcome, "latency_ms", "12", "0 or more milliseconds"),
    (Outcome, "latency_ms", float("nan"), "0 or more milliseconds"),
    (Outcome, "detections", [], "Detections; see its from"),
    (lambda **how: Selection(budget=1, **how), "frames", ["a.jpg"], "a SampledFrame"),
    (lambda **how: Selection(frames=[], **how), "budget", None, "0 or more"),
]


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("make", "name", "bad", "message"), CASES)
def test_refused(make, name, bad, message):
    """The argument is named, and what would do is said."""
    with pytest.raises(InputError, match=rf"{name}.*{message}"):
        make(**{name: bad})


@pytest.mark.parametrize("place", [None, "", 5, ["log"], b"log", str])
@pytest.mark.parametrize("use", [logger, profile_from_log])
def test_a_place_that_is_none(use, place):
    """A log lies at a path or a URL; an empty text is not the whole disk."""
    with pytest.raises(InputError, match="the place of a log is a path or a URL"):
        use(place)


@pytest.mark.parametrize("use", [logger, profile_from_log])
def test_options_that_are_none(use):
    """What was passed for storage options is not shown, for it may be the key itself."""
    with pytest.raises(InputError, match=r"storage_options are a dict .* got a str") as caught:
        use("memory://log", storage_options="s3cr3t-key")

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("auth", [[], {}, 5, ("user",), ("user", "s3cr3t", 1), ("user", 5), ["x"]])
def test_credentials_that_are_none(auth):
    """A credential is a token or a pair; what else was passed is not shown."""
    with pytest.raises(InputError, match="a token or \\(user, password\\)") as caught:
        AlertmanagerSink(ALERTS, auth=auth)

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda url: GrafanaSink(metrics_url=url),
        lambda url: PagerDutySink("R" * 32, events_url=url),
        lambda url: PlatformClient("ul_" + 40 * "a", url),
    ],
)
def test_addresses_that_are_none(make):
    """An address is text; what else was passed is not shown."""
    with pytest.raises(InputError, match=r"a URL is text, .* got a list") as caught:
        make(["https://user:s3cr3t@host.example"])

    assert "s3cr3t" not in str(caught.value)


def test_what_is_taken():
    """Numpy's truth, a list for a pair and rules from anywhere are as good as Python's own."""
    outcome = Outcome(ok=np.bool_(True), latency_ms=np.float32(12))

    assert (True, 12.0) == (outcome.ok, outcome.latency_ms)
    AlertmanagerSink(ALERTS, auth=["user", "password"], labels={"env": "prod"}).close()
    assert datadog_monitors([LATENCY]).text == datadog_monitors(r for r in [LATENCY]).text
