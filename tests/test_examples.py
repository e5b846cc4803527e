"""Every example that stands by itself runs, offline and to its end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
OTHERWISE_TESTED = {
    "demo.py",  # nox -s demo
    "demo_retrain.py",  # nox -s demo_retrain
    "weekly_holdout_cron.py",  # with its schedulers, in tests/holdout
    "apscheduler_job.py",
    "airflow_dag.py",
    "prefect_flow.py",
    "lake_spark.py",  # with Spark, in tests/lake
}
ALONE = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in OTHERWISE_TESTED)
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def run(*command, cwd):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment | {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(cwd)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def test_exceptions_exist():
    """The list of what is tested elsewhere names files that are there."""
    assert set() == OTHERWISE_TESTED - {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", ALONE)
def test_runs(name, tmp_path):
    """The script ends well and has something to say."""
    done = run(sys.executable, EXAMPLES / name, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert done.stdout.strip()


def test_readme_shows_the_report(tmp_path):
    """The report that the README shows is the one that the example prints."""
    page = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^(?:watch:| +\w+ on gate-2:).*….*$", page, flags=re.MULTILINE)
    printed = run(sys.executable, EXAMPLES / "coco_drift.py", cwd=tmp_path).stdout

    assert 3 == len(shown)
    assert [] == [part for line in shown for part in line.split("…") if part not in printed]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, tmp_path):
    """Every cell of the notebook runs in a kernel of its own."""
    copy = tmp_path / name
    copy.write_bytes((EXAMPLES / name).read_bytes())
    code = "import sys; from nbclient.cli import main; sys.exit(main([sys.argv[1]]))"
    done = run(sys.executable, "-c", code, str(copy), cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
