"""The weekly script as cron runs it: an interpreter of its own, everything from arguments and environment."""

import ast
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from driftline.testing import LocalPlatform, Scenes, ShapeFinder, write_yolo

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(local, *arguments, cwd):
    environment = {
        "ULTRALYTICS_API_KEY": local.api_key,
        "ULTRALYTICS_PLATFORM_URL": local.url,
        "PATH": os.environ["PATH"],
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "weekly_holdout_cron.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        cwd=cwd,
        env=environment,
    )


def test_weekly_holdout_cron(tmp_path):
    """It scores, keeps, judges, and run again in the same week asks nothing twice.

    20 frames: as many as the Platform answers in a minute, so that nothing waits.
    """
    week = f"{datetime.now(UTC):%G-W%V}"
    write_yolo(tmp_path / "holdout" / week, Scenes(seed=5).frames(20), "test")
    with LocalPlatform(deployments=["line-3"], detector=ShapeFinder()) as local:
        arguments = ("holdout/{week}/data.yaml", f"{local.owner}/line-3", "history")
        first = run(local, *arguments, cwd=tmp_path)
        assert (0, "") == (first.returncode, first.stderr)
        asked = len([one for one in local.calls if "predict" in one.path])
        again = run(local, *arguments, cwd=tmp_path)
        calls = [one for one in local.calls if "predict" in one.path]

    assert 20 == asked == len(calls)
    assert 0 == again.returncode
    assert "mAP@0.5:0.95" in first.stdout
    assert "too little data" in first.stdout
    kept = json.loads((tmp_path / "history" / f"{week}.json").read_text())
    assert ("acme/line-3", 20) == (kept["deployment"], kept["n_frames"])


@pytest.mark.parametrize("name", ["apscheduler_job", "airflow_dag", "prefect_flow"])
def test_the_schedulers_call_what_is_there(name):
    """Their packages are not ours; what they call is, with the arguments it takes."""
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]

    assert "weekly_holdout_cron" in {node.module for node in imports}
    weekly = ast.parse((EXAMPLES / "weekly_holdout_cron.py").read_text())
    (main,) = [one for one in weekly.body if isinstance(one, ast.FunctionDef)]
    assert ["data", "ref", "folder"] == [one.arg for one in main.args.args]
    assert 30 >= len((EXAMPLES / "weekly_holdout_cron.py").read_text().splitlines())


def test_apscheduler_job(tmp_path):
    """Where APScheduler is installed, it takes the job."""
    pytest.importorskip("apscheduler", reason="APScheduler is not installed")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "apscheduler_job.py")],
        capture_output=True,
        text=True,
        timeout=1200,
        check=True,
        cwd=tmp_path,
    )

    assert "holdout acme/line-3: cron[day_of_week='mon', hour='6']" in done.stdout
