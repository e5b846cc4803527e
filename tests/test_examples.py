"""Every example that stands by itself runs, offline and to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
OTHERWISE_TESTED = {
    "demo.py",  # nox -s demo
    "weekly_holdout_cron.py",  # with its schedulers, in tests/holdout
    "apscheduler_job.py",
    "airflow_dag.py",
    "prefect_flow.py",
}
ALONE = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in OTHERWISE_TESTED)


def test_exceptions_exist():
    """The list of what is tested elsewhere names files that are there."""
    assert set() == OTHERWISE_TESTED - {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", ALONE)
def test_runs(name, tmp_path):
    """The script ends well and has something to say."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")} | {
        "OMP_NUM_THREADS": "1"
    }
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert done.stdout.strip()
