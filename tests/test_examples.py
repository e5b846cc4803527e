"""Every example that stands by itself runs, offline and to its end."""

import json
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


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (0, "no image is listed: the first file needs them"),
        (
            13,
            "of 13 days, 2026-01-05 to 2026-01-17: the last 7 days are compared with those before",
        ),
    ],
)
def test_own_detections_of_too_few_days(days, told, tmp_path):
    """Who brings too little to the report of his own detections is told what it takes."""
    at = [f"2026-01-{5 + day:02}T08:00:00" for day in range(days)]
    images = [{"id": i, "file_name": f"cam-1/{i}.jpg", "width": 640, "height": 480,
               "date_captured": when} for i, when in enumerate(at)]  # fmt: skip
    Path(tmp_path, "images.json").write_text(json.dumps({"images": images, "categories": []}))
    Path(tmp_path, "results.json").write_text("[]")
    example = EXAMPLES / "coco_drift.py"
    done = run(sys.executable, example, "images.json", "results.json", cwd=tmp_path)

    assert 1 == done.returncode
    assert told in done.stderr
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, tmp_path):
    """Every cell of the notebook runs in a kernel of its own."""
    copy = tmp_path / name
    copy.write_bytes((EXAMPLES / name).read_bytes())
    code = "import sys; from nbclient.cli import main; sys.exit(main([sys.argv[1]]))"
    done = run(sys.executable, "-c", code, str(copy), cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
