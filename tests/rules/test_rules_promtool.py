"""Prometheus as an outside oracle: `promtool test rules` agrees on hold and keep-firing."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftline import rules
from driftline.rules import Judgement, Phase
from driftline.rules._lifecycle import advance
from driftline.rules._state import State
from driftline.rules._time import as_times, micros

START = micros(datetime(2026, 11, 23, 12, tzinfo=UTC))
MINUTE = 60_000_000
LENGTH = 45
HOLDS_AND_KEEPS = [(0, 0), (1, 0), (3, 0), (5, 0), (0, 1), (0, 4), (3, 2), (5, 7), (2, 5)]
SERIES_PER_RULE = 12


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is not installed (apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def firing(hold: int, keep: int, values: np.ndarray) -> list[bool]:
    """Whether our engine fires after each measurement, one run a measurement."""
    rule = rules.Threshold(
        series="x", above=0.5, hold=timedelta(minutes=hold), keep_firing=timedelta(minutes=keep),
        flap_detection=False, runbook="Look",
    )  # fmt: skip
    state, found = State(), []
    for i, value in enumerate(values):
        at = as_times(np.array([START + i * MINUTE]))
        one = Judgement(
            starts=at, ends=at, values=np.array([float(value)]), breach=np.array([value > 0.5]),
            good=np.array([value <= 0.5]), thresholds=np.array([0.5]),
        )  # fmt: skip
        state, _ = advance(rule, state, one, horizon=START + i * MINUTE)
        found.append(state.phase is Phase.FIRING)
    return found


def alert_name(hold: int, keep: int) -> str:
    return f"Hold{hold}Keep{keep}"


def test_promtool_agrees(promtool, tmp_path):
    """At every minute of 12 random series, Prometheus and our engine have the same alerts firing.

    A measurement a minute, evaluated at the minute it is of, so that both see the same sequence;
    each series stays in a state for a geometric time, so that holds are met and missed.
    """
    rng = np.random.default_rng(20261123)
    series = []
    for _ in range(SERIES_PER_RULE):
        stay = rng.choice([0.5, 0.75, 0.9])
        changes = rng.random(LENGTH) > stay
        series.append((np.cumsum(changes) % 2).astype(float))
    lines = ["groups:", "- name: oracle", "  interval: 1m", "  rules:"]
    for hold, keep in HOLDS_AND_KEEPS:
        lines += [
            f"  - alert: {alert_name(hold, keep)}",
            "    expr: x > 0.5",
            f"    for: {hold}m",
            f"    keep_firing_for: {keep}m",
        ]
    (tmp_path / "rules.yml").write_text("\n".join(lines))

    test = [
        "rule_files: [rules.yml]",
        "evaluation_interval: 1m",
        "tests:",
        "- interval: 1m",
        "  input_series:",
    ]
    for number, values in enumerate(series):
        told = " ".join(f"{value:g}" for value in values)
        test += [f"  - series: 'x{{n=\"{number}\"}}'", f"    values: '{told}'"]
    test += ["  alert_rule_test:"]
    fired = 0
    for hold, keep in HOLDS_AND_KEEPS:
        ours = [firing(hold, keep, values) for values in series]
        for minute in range(LENGTH):
            now = [number for number, found in enumerate(ours) if found[minute]]
            fired += len(now)
            expected = "[" + ", ".join(f"{{exp_labels: {{n: '{number}'}}}}" for number in now) + "]"
            test += [
                f"  - eval_time: {minute}m",
                f"    alertname: {alert_name(hold, keep)}",
                f"    exp_alerts: {expected}",
            ]
    (tmp_path / "test.yml").write_text("\n".join(test))

    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )

    assert 0 == done.returncode, (done.stdout + done.stderr)[-3000:]
    assert fired > 500  # the test would be empty if nothing ever fired


def test_promtool_can_disagree(promtool, tmp_path):
    """The oracle is awake: it refuses an alert a minute before its hold is over."""
    (tmp_path / "rules.yml").write_text(
        "groups:\n- name: o\n  interval: 1m\n  rules:\n  - alert: A\n    expr: x > 0.5\n    for: 3m\n"
    )
    (tmp_path / "test.yml").write_text(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n"
        "  - series: x\n    values: '1 1 1 1 1'\n  alert_rule_test:\n"
        "  - eval_time: 2m\n    alertname: A\n    exp_alerts:\n    - exp_labels: {}\n"
    )
    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        timeout=1200,
        check=False,
    )

    assert 0 != done.returncode
