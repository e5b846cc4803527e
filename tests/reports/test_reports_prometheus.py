"""The rule file of Prometheus says what the rules say, judged by Prometheus itself."""

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftline import rules
from driftline.records import Metric, Series, as_datetime64
from driftline.reports import grafana_dashboard, prometheus_rules
from driftline.reports._promql import regex
from driftline.rules._follow import Segment, follow
from driftline.rules._state import Change, State
from driftline.rules._time import micros
from driftline.sinks._names import prometheus_name

START = datetime(2026, 11, 23, tzinfo=UTC)  # midnight: windows of both sides are aligned alike
MINUTE = timedelta(minutes=1)
LATE = timedelta(minutes=7)
RUNBOOK = "Look at {{the logs}}, then roll back"


@pytest.fixture(scope="module")
def promtool():
    """The real thing."""
    path = shutil.which("promtool")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is not installed (apt-get install prometheus)")
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return path


def firing(rule, values, minutes):
    """For each minute, whether our engine's alert is open, by what it knows then."""
    times = as_datetime64(START) + np.arange(minutes) * np.timedelta64(1, "m")
    series = {}
    for metric, numbers in values.items():
        kept = ~np.isnan(numbers)
        series[metric] = Series(
            metric=metric, times=times[kept], values=numbers[kept], width=MINUTE
        )
    end = micros(START + minutes * MINUTE)
    segment = Segment(series=series, start=micros(START), end=end)
    found = follow(rule, State(), {}, [segment], deployment="acme/line-3", labels={}, now=end)
    turns = [
        ((step.at - micros(START)) // 60_000_000, step.change is Change.FIRING)
        for step in found.steps
        if step.change in {Change.FIRING, Change.RESOLVED}
    ]
    return [next((on for at, on in reversed(turns) if at <= m), False) for m in range(minutes)]


def written(metric, numbers, **labels):
    """A series as promtool reads it: a bucket's number stands at its end."""
    told = ", ".join(f'{k}="{v}"' for k, v in {"deployment": "acme/line-3", **labels}.items())
    values = " ".join("_" if np.isnan(n) else repr(float(n)) for n in numbers)
    name = prometheus_name(f"driftline.{metric}")
    return f"  - series: '{name}{{{told}}}'\n    values: '_ {values}'\n"


def ran(promtool, *arguments, folder):
    """Run promtool, which must be content."""
    done = subprocess.run(
        [promtool, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )

    assert 0 == done.returncode, done.stdout[:4000] + done.stderr[:4000]


def judged(promtool, folder, rule, values, expected):
    """Run promtool: at each minute the alert must be open, or not, as expected."""
    prometheus_rules([rule], late=LATE).write(folder / "rules.yml")
    wait = int(LATE / MINUTE)
    lines = ["rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n"]
    lines += ["  input_series:\n", *(written(metric, v) for metric, v in values.items())]
    lines += ["  promql_expr_test:\n"]
    for minute, on in enumerate(expected):
        lines.append(
            f'  - expr: \'count(ALERTS{{alertname="{rule.name}", alertstate="firing"}})\'\n'
            f"    eval_time: {minute + wait}m\n"
            f"    exp_samples: [{'{value: 1}' if on else ''}]\n"
        )
    (folder / "test.yml").write_text("".join(lines))
    ran(promtool, "test", "rules", "test.yml", folder=folder)


def restless(seed, low, high, minutes=180):
    """Minutes that are low or high for a while, with some scatter."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.random(minutes // 4 + 1) < 0.5, rng.integers(2, 9, minutes // 4 + 1))
    level = np.resize(level, minutes)
    return np.where(level, high, low) * rng.uniform(0.9, 1.1, minutes), rng


def test_gap(promtool, tmp_path):
    """Where they differ: over a window without a sample the monitor waits, and ``for`` begins anew."""
    rule = rules.LatencyBudget(p95_ms=250, runbook=RUNBOOK)
    p95 = np.r_[np.full(10, 400.0), np.full(5, np.nan), np.full(20, 400.0)]
    values = {Metric.LATENCY_P95_MS: p95, Metric.REQUESTS: np.where(np.isnan(p95), np.nan, 60.0)}

    assert 20 == firing(rule, values, len(p95)).index(True)
    judged(promtool, tmp_path, rule, values, [minute >= 30 for minute in range(len(p95))])


def test_dashboard_asks_promql(promtool, tmp_path):
    """Prometheus understands what the panels of Grafana's dashboard ask."""
    mine = [rules.Threshold(series="queue-depth", above=3, runbook=RUNBOOK)]
    board = json.loads(grafana_dashboard(mine).text)
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    records = [{"record": f"panel:{at}", "expr": one} for at, one in enumerate(asked)]
    groups = {"groups": [{"name": "panels", "rules": records}]}
    (tmp_path / "rules.yml").write_text(json.dumps(groups))

    assert len(asked) > 10
    ran(promtool, "check", "rules", "rules.yml", folder=tmp_path)


SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"samples": 1, "recover_samples": 1},
        {"recover_below_ms": 200.0},
        {"keep_firing": timedelta(minutes=20)},
    ],
    ids=str,
)
def test_latency(promtool, tmp_path, seed, options):
    """A p95 over budget opens and ends an alert with the sample with which ours does."""
    rule = rules.LatencyBudget(p95_ms=250, runbook=RUNBOOK, **options)
    p95, rng = restless(seed, 215, 330)
    values = {
        Metric.LATENCY_P95_MS: p95,
        Metric.REQUESTS: rng.integers(1, 90, len(p95)).astype(float),
    }

    expected = firing(rule, values, len(p95))

    assert any(expected)
    assert not all(expected)
    judged(promtool, tmp_path, rule, values, expected)


def test_latency_unweighted(promtool, tmp_path):
    """Where nobody counts requests, every minute counts alike, here as there."""
    rule = rules.LatencyBudget(p95_ms=250, runbook=RUNBOOK)
    p95, _ = restless(7, 215, 330)
    values = {Metric.LATENCY_P95_MS: p95}

    expected = firing(rule, values, len(p95))

    assert any(expected)
    judged(promtool, tmp_path, rule, values, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_errors(promtool, tmp_path, seed):
    """More than 1 % for five minutes fires after five minutes; no errors listed means none."""
    rule = rules.ErrorRate(above=0.01, minutes=5, runbook=RUNBOOK)
    errors, rng = restless(seed, 0, 3)
    errors[errors == 0] = np.nan
    requests = rng.integers(90, 200, len(errors)).astype(float)
    values = {Metric.ERRORS: np.round(errors), Metric.REQUESTS: requests}

    expected = firing(rule, values, len(errors))

    assert any(expected)
    assert not all(expected)
    judged(promtool, tmp_path, rule, values, expected)


@pytest.mark.parametrize("usual", [None, 4.0])
def test_detections(promtool, tmp_path, usual):
    """Half of the objects missing for ten minutes fires, learnt or told what is usual."""
    rule = rules.DetectionVolume(usual=usual, runbook=RUNBOOK)
    found = np.r_[np.full(90, 120.0), np.full(20, 20.0), np.full(40, 120.0)]
    values = {Metric.DETECTIONS: found, Metric.FRAMES: np.full(len(found), 30.0)}

    expected = firing(rule, values, len(found))

    assert 100 == expected.index(True)
    judged(promtool, tmp_path, rule, values, expected)


@pytest.mark.parametrize("usual", [None, 60.0])
def test_requests(promtool, tmp_path, usual):
    """No request at all is a drop as long as the monitor looks, and unknown when it does not."""
    rule = rules.RequestVolume(usual=usual, runbook=RUNBOOK)
    requests = np.r_[np.full(60, 60.0), np.full(30, np.nan), np.full(40, 60.0)]
    values = {Metric.REQUESTS: requests}

    expected = firing(rule, values, len(requests))

    assert 70 == expected.index(True)
    heard = {**values, "monitor.heartbeat": np.ones(len(requests) + 8)}
    judged(promtool, tmp_path, rule, heard, expected)
    judged(promtool, tmp_path, rule, values, [False] * len(requests))


def test_no_data(promtool, tmp_path):
    """Silence fires after thirty minutes of it, and ends with the first number."""
    rule = rules.NoData(runbook=RUNBOOK)
    requests = np.r_[np.full(20, 60.0), np.full(45, np.nan), np.full(20, 60.0)]
    values = {Metric.REQUESTS: requests}

    expected = firing(rule, values, len(requests))

    assert 50 == expected.index(True)
    judged(promtool, tmp_path, rule, values, expected)


def test_weekly(promtool, tmp_path):
    """A weekly accuracy stands until the next one, only where the labels are those of the rule."""
    rule = rules.Threshold(series=Metric.MAP, below=0.5, where={"set": "recent"}, runbook=RUNBOOK)
    prometheus_rules([rule], late=timedelta(0)).write(tmp_path / "rules.yml")
    count = "count(ALERTS{alertstate='firing'})"
    (tmp_path / "test.yml").write_text(
        "rule_files: [rules.yml]\nevaluation_interval: 1h\ntests:\n- interval: 1d\n"
        "  input_series:\n"
        "  - {series: 'driftline_accuracy_map{set=\"recent\"}', values: '0.6 _x6 0.4 _x6 0.6'}\n"
        "  - {series: 'driftline_accuracy_map{set=\"golden\"}', values: '0.1 _x6 0.1 _x6 0.1'}\n"
        "  promql_expr_test:\n"
        f'  - {{expr: "{count}", eval_time: 3d, exp_samples: []}}\n'
        f'  - {{expr: "{count}", eval_time: 10d, exp_samples: [{{value: 1}}]}}\n'
        f'  - {{expr: "{count}", eval_time: 14d, exp_samples: []}}\n'
    )
    ran(promtool, "test", "rules", "test.yml", folder=tmp_path)


def test_health(promtool, tmp_path):
    """Two failed checks in a row fire; the first good one ends it."""
    rule = rules.EndpointHealth(runbook=RUNBOOK)
    prometheus_rules([rule], late=timedelta(0)).write(tmp_path / "rules.yml")
    count = "count(ALERTS{alertstate='firing'})"
    (tmp_path / "test.yml").write_text(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 5m\n"
        "  input_series: [{series: driftline_endpoint_healthy, values: '1 1 0 1 0 0 0 1 1'}]\n"
        "  promql_expr_test:\n"
        f'  - {{expr: "{count}", eval_time: 14m, exp_samples: []}}\n'
        f'  - {{expr: "{count}", eval_time: 24m, exp_samples: []}}\n'
        f'  - {{expr: "{count}", eval_time: 25m, exp_samples: [{{value: 1}}]}}\n'
        f'  - {{expr: "{count}", eval_time: 35m, exp_samples: []}}\n'
    )
    ran(promtool, "test", "rules", "test.yml", folder=tmp_path)


class Own(rules.LatencyBudget):
    """A rule nobody can translate."""


def test_left_out():
    """What PromQL has no word for is left out by name and with the reason, never silently."""
    made = prometheus_rules(
        [
            rules.RequestVolume(mode="weekly", name="weekly", runbook=RUNBOOK),
            Own(p95_ms=250, name="own", runbook=RUNBOOK),
            rules.Threshold(series="queue", above=3, samples=2, name="loose", runbook=RUNBOOK),
            rules.ErrorRate(above=0.01, samples=2, of=9, name="some", runbook=RUNBOOK),
            rules.ErrorRate(above=0.01, runbook=RUNBOOK),
        ]
    )

    assert ["weekly", "own", "loose", "some"] == list(made.left_out)
    assert 1 == made.text.count("alert:")
    assert "left out: weekly" in repr(made)


PIECES = st.sampled_from([*"ab-]!^[*?.\\&~| ", "[", "]", "[!", "a-b"])


@given(pattern=st.lists(PIECES, max_size=8).map("".join), name=st.text("ab-]!^[.\\&| ", max_size=4))
@example(pattern="[]-a]", name="]")
@example(pattern="[b-a]", name="a")
@example(pattern="[!b-a]", name="a")
def test_patterns(pattern, name):
    """A pattern names the same deployments here and there."""
    assert fnmatchcase(name, pattern) is bool(re.fullmatch(regex(pattern), name))


@pytest.mark.parametrize(
    ("pattern", "fires"),
    [
        ("acme/line-[12]", False),
        ("acme/line-[1-3]", True),
        ("acme/line-[!12]", True),
        ("acme/line-[!3]", False),
        ("acme/line-[9-1]", False),
        ("acme/line-[!9-1]", True),
        ("[a]*-?", True),
    ],
)
def test_whose(promtool, tmp_path, pattern, fires):
    """Prometheus takes the deployments that the monitor takes; the series is of line 3."""
    rule = rules.LatencyBudget(
        p95_ms=250, samples=1, every=MINUTE, deployments=pattern, runbook=RUNBOOK
    )
    p95 = np.full(5, 400.0)
    values = {Metric.LATENCY_P95_MS: p95, Metric.REQUESTS: np.full(5, 60.0)}

    assert fires is rule.applies("acme/line-3", {})
    expected = firing(rule, values, len(p95))
    assert any(expected)
    judged(promtool, tmp_path, rule, values, [fires and on for on in expected])


def test_strings_survive(promtool, tmp_path):
    """Quotes, braces and line ends in what a user writes reach the alert as they are."""
    nasty = 'queue "a\\b" {{ .Values }} 7'
    camera = 'cam "1" \\d\nof two'
    runbook = 'See {{ $labels.camera }}: "stop", then roll back'
    rule = rules.Threshold(
        series="queue-depth",
        above=3,
        unit="{{m}}",
        name=nasty,
        where={"camera": camera},
        deployments="acme/line-?.*",
        runbook=runbook,
    )
    prometheus_rules([rule], late=timedelta(0)).write(tmp_path / "rules.yml")
    labels = {"deployment": "acme/line-3.a", "camera": camera}
    told = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    alert = {
        "exp_labels": {**labels, "rule": nasty, "severity": "warning"},
        "exp_annotations": {
            "summary": f"{nasty} is at 5 {{{{m}}}}",
            "expected": "queue-depth at most 3 {{m}}",
            "runbook": runbook,
        },
    }
    asked = {"eval_time": "15m", "alertname": nasty, "exp_alerts": [alert]}
    series = {"series": f"driftline_queue_depth{{{told}}}", "values": "5x20"}
    test = {"interval": "1m", "input_series": [series], "alert_rule_test": [asked]}
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [test]}))
    ran(promtool, "test", "rules", "test.yml", folder=tmp_path)
