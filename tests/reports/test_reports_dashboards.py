"""Dashboards, alert rules of Grafana and monitors of Datadog, held against the vendors' own types."""

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from driftline import rules
from driftline.records import Metric
from driftline.reports import (
    datadog_dashboard,
    datadog_monitors,
    grafana_alert_rules,
    grafana_dashboard,
    prometheus_rules,
)
from driftline.rules import NoDataPolicy

BOOK = "Read the logs of {{the endpoint}}"
MINUTE = timedelta(minutes=1)
RULES = [
    rules.LatencyBudget(p95_ms=250, recover_below_ms=200, runbook=BOOK, renotify=60 * MINUTE),
    rules.ErrorRate(above=0.01, minutes=5, runbook=BOOK, deployments="acme/*"),
    rules.DetectionVolume(runbook=BOOK),
    rules.DetectionVolume(name="told", usual=4, runbook=BOOK),
    rules.RequestVolume(usual=60, runbook=BOOK),
    rules.EndpointHealth(runbook=BOOK),
    rules.NoData(runbook=BOOK),
    rules.Threshold(series=Metric.MAP, below=0.4, where={"set": "recent"}, runbook=BOOK),
    rules.Threshold(series="queue.depth", above=9, every=5 * MINUTE, samples=2, runbook=BOOK),
    rules.RequestVolume(mode="weekly", name="weekly", runbook=BOOK),
]


def lost(sent, kept, path="$"):
    """What of `sent` is not in `kept`."""
    if isinstance(sent, dict):
        for name, value in sent.items():
            if not isinstance(kept, dict) or name not in kept:
                yield f"{path}.{name}"
            else:
                yield from lost(value, kept[name], f"{path}.{name}")
    elif isinstance(sent, list):
        if not isinstance(kept, list) or len(sent) != len(kept):
            yield path
        else:
            for at, (one, other) in enumerate(zip(sent, kept, strict=True)):
                yield from lost(one, other, f"{path}[{at}]")
    elif sent != kept:
        yield f"{path}: {sent!r} is {kept!r}"


# -- Grafana


def test_grafana_dashboard():
    """Grafana's own types read every field, and each panel asks for a metric as it arrives."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    board = json.loads(grafana_dashboard(RULES).text)

    assert [] == list(lost(board, json.loads(JSONEncoder().encode(Dashboard.from_json(board)))))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert any("driftline_endpoint_latency_p95_ms{" in one for one in asked)
    assert any("last_over_time(driftline_accuracy_map_low{" in one for one in asked)
    assert any("driftline_queue_depth{" in one for one in asked)
    assert len(board["panels"]) == len({panel["id"] for panel in board["panels"]})


def test_grafana_limits():
    """A limit of a rule is a line of the panel that shows its number, red on the bad side."""
    panels = {p["title"]: p for p in json.loads(grafana_dashboard(RULES).text)["panels"]}

    steps = panels["p95 latency"]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(None, "green"), (250, "red")] == [(s["value"], s["color"]) for s in steps]
    steps = panels["mAP@0.5:0.95 with its 95 % interval"]["fieldConfig"]["defaults"]["thresholds"]
    assert [(None, "red"), (0.4, "green")] == [(s["value"], s["color"]) for s in steps["steps"]]


def test_panels_of_the_monitor():
    """The monitor's own numbers are of no deployment: choosing one must not hide them."""
    asked = [p["targets"][0]["expr"] for p in json.loads(grafana_dashboard([]).text)["panels"]]
    widgets = json.loads(datadog_dashboard([]).text)["widgets"]
    queries = [w["definition"]["requests"][0]["queries"][0]["query"] for w in widgets]

    assert "driftline_monitor_open_alerts" in asked
    assert "avg:driftline.monitor.open_alerts{*} by {monitor}" in queries
    assert "avg:driftline.endpoint.latency_p95_ms{$deployment} by {deployment}" in queries


def test_limit_of_another_number():
    """A limit on a count of errors is no limit of their share."""
    rule = rules.Threshold(series=Metric.ERRORS, above=40, runbook=BOOK)
    panels = json.loads(grafana_dashboard([rule]).text)["panels"]

    assert 40 not in [
        step["value"]
        for panel in panels
        for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    ]


def test_grafana_grid():
    """No two panels lie on each other."""
    cells = [
        (x, y)
        for panel in json.loads(grafana_dashboard(RULES).text)["panels"]
        for g in [panel["gridPos"]]
        for x in range(g["x"], g["x"] + g["w"])
        for y in range(g["y"], g["y"] + g["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_grafana_alert_rules():
    """Grafana's own types read the rules; they ask what the rules of Prometheus ask."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.alerting import Rule

    made = grafana_alert_rules(RULES, datasource_uid="prom")
    (group,) = json.loads(made.text)["groups"]

    assert ["weekly"] == list(made.left_out)
    for rule in group["rules"]:
        # file provisioning has one field more than the API that these types are of:
        # AlertRuleV1 in grafana/pkg/services/provisioning/alerting/rules_types.go
        rule.pop("keepFiringFor", None)
        assert [] == list(lost(rule, json.loads(JSONEncoder().encode(Rule.from_json(rule)))))
        assert rule["data"][0]["model"]["expr"]
        assert {"A", "B", "C"} == {query["refId"] for query in rule["data"]}
    alike = prometheus_rules([RULES[1]]).text
    assert json.dumps(group["rules"][1]["data"][0]["model"]["expr"]) in alike


def test_grafana_words():
    """The value is filled in where Grafana keeps it; a runbook stays as it was written."""
    rule = rules.Threshold(series="cost", above=3, runbook="Compare $value with {{budget}}")
    (group,) = json.loads(grafana_alert_rules([rule], datasource_uid="prom").text)["groups"]
    told = group["rules"][0]["annotations"]

    assert "$values.A.Value" in told["summary"]
    assert told["runbook"].startswith("Compare $value with ")


def test_grafana_environment():
    """Provisioning fills in nothing: a dollar in a name stays one."""
    rule = rules.Threshold(series="cost", above=3, name="over $HOME", runbook=BOOK)
    (group,) = json.loads(grafana_alert_rules([rule], datasource_uid="prom").text)["groups"]

    assert "over $$HOME" == group["rules"][0]["title"]


# -- Datadog


def test_datadog_monitors():
    """Each is a body that Datadog's specification takes, without a field it does not know."""
    folder = os.environ.get("DRIFTLINE_CONTRACTS")
    if not folder:
        pytest.skip("DRIFTLINE_CONTRACTS names no folder with the vendors' official specifications")
    spec = json.loads((Path(folder) / "datadog_v1.openapi.json").read_text())
    parts = spec["components"]["schemas"]
    made = json.loads(datadog_monitors(RULES, notify="@pagerduty-line-3").text)

    for monitor in made:
        schema = {"$ref": "#/components/schemas/Monitor", "components": spec["components"]}
        jsonschema.validate(monitor, schema)
        assert set(monitor) <= set(parts["Monitor"]["properties"])
        assert set(monitor["options"]) <= set(parts["MonitorOptions"]["properties"])
        assert monitor["message"].endswith("@pagerduty-line-3")
        assert "{{{{raw}}}}" in monitor["message"]


def test_datadog_semantics():
    """Three windows of five minutes are all above; one per cent is held for five minutes."""
    queries = [monitor["query"] for monitor in json.loads(datadog_monitors(RULES).text)]

    assert [
        (
            "min(last_15m):avg:driftline.endpoint.latency_p95_ms{*} by {deployment}.rollup(avg, 300)"
            " > 250"
        ),
        (
            "min(last_5m):default_zero(sum:driftline.endpoint.errors{deployment:acme/*}"
            " by {deployment}.rollup(sum, 60)) / sum:driftline.endpoint.requests{deployment:acme/*}"
            " by {deployment}.rollup(sum, 60) > 0.01"
        ),
        (
            "pct_change(avg(last_10m),1h_ago):sum:driftline.detections.count{*} by {deployment}"
            ".rollup(sum, 300) / sum:driftline.detections.frames{*} by {deployment}.rollup(sum, 300)"
            " < -50"
        ),
        (
            "max(last_10m):sum:driftline.detections.count{*} by {deployment}.rollup(sum, 300)"
            " / sum:driftline.detections.frames{*} by {deployment}.rollup(sum, 300) < 2"
        ),
        (
            "max(last_10m):default_zero(sum:driftline.endpoint.requests{*} by {deployment}"
            ".rollup(sum, 300)) < 150"
        ),
        "max(last_10m):min:driftline.endpoint.healthy{*} by {deployment} < 1",
        "max(last_30m):max:driftline.endpoint.requests{*} by {deployment} < -1000000000",
        "max(last_1440m):min:driftline.accuracy.map{set:recent} by {deployment} < 0.4",
        "min(last_10m):max:driftline.queue.depth{*} by {deployment}.rollup(avg, 300) > 9",
    ] == queries


def test_datadog_slices():
    """Tags are asked for as Datadog stores them."""
    rule = rules.Threshold(
        series=Metric.MAP,
        below=0.5,
        where={"camera": "Cam 1, left!", "set": "a*b"},
        deployments="acme/line_*",
        runbook=BOOK,
    )
    (made,) = json.loads(datadog_monitors([rule]).text)

    assert "{deployment:acme/line_*,camera:cam_1_left,set:a_b}" in made["query"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"deployments": "acme/line?"}, r"acme/line\?.*only \*"),
        ({"deployments": "acme/line-[12]"}, r"acme/line-\[12\].*only \*"),
        ({"where": {"camera": "c" * 200}}, "cccc.*no such tag"),
        ({"where": {"camera": ", "}}, "', '.*no such tag"),
    ],
)
def test_datadog_unsaid(options, reason):
    """A rule whose slices Datadog cannot name is left out with the reason, never silently."""
    rule = rules.Threshold(series=Metric.MAP, below=0.5, runbook=BOOK, name="mine", **options)
    made = datadog_monitors([rule])

    assert [] == json.loads(made.text)
    assert re.search(reason, made.left_out["mine"])


def test_datadog_options():
    """Recovery, repeats, lateness and what silence means go where Datadog looks for them."""
    made = {m["name"].split()[0]: m["options"] for m in json.loads(datadog_monitors(RULES).text)}
    quiet = rules.ErrorRate(above=0.01, no_data=NoDataPolicy.ALERT, runbook=BOOK, delay=MINUTE)
    (loud,) = json.loads(datadog_monitors([quiet]).text)

    assert {"critical": 250, "critical_recovery": 200} == made["latency-budget"]["thresholds"]
    assert 60 == made["latency-budget"]["renotify_interval"]
    assert not made["error-rate"]["notify_no_data"]
    assert made["no-data:endpoint.requests"]["notify_no_data"]
    assert (480, 37) == (
        loud["options"]["evaluation_delay"],
        loud["options"]["no_data_timeframe"],
    )


def test_datadog_dashboard():
    """Datadog's client, made of its specification, knows every widget, field and option."""
    from datadog_api_client.configuration import Configuration
    from datadog_api_client.model_utils import validate_and_convert_types
    from datadog_api_client.v1.model.dashboard import Dashboard

    board = json.loads(datadog_dashboard(RULES).text)
    read = validate_and_convert_types(
        board, (Dashboard,), ["board"], True, True, configuration=Configuration()
    )

    assert not read._unparsed
    assert [] == list(lost(board, read.to_dict()))
    markers = [m["value"] for w in board["widgets"] for m in w["definition"]["markers"]]
    assert {"y = 250", "y = 0.01", "y = 30", "y = 2", "y = 1", "y = 0.4", "y = 9"} == set(markers)


def test_written(tmp_path):
    """A file is written as it is shown."""
    made = datadog_dashboard(RULES, title="Linie 3 · Überblick")
    path = made.write(tmp_path / "board.json")

    assert str(made) == path.read_text(encoding="utf-8")
    assert "Überblick" in str(made)
