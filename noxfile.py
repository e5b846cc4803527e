"""All set-up lives here: `python -m pip install nox`, then `python -m nox -s <session>`."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
APT_PACKAGES = {
    "chromium": "chromium",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
    "pg_ctlcluster": "postgresql",
}
JAVA = {"java": "default-jre-headless"}


def _install(session: nox.Session, *groups: str) -> None:
    """Install the project with the packages of some dependency groups."""
    requirements = [
        requirement
        for group in groups
        for requirement in nox.project.dependency_groups(PYPROJECT, group)
    ]
    extras = sorted(
        {
            extra.strip()
            for requirement in requirements
            if requirement.startswith("driftline[")
            for extra in requirement.removeprefix("driftline[").split("]")[0].split(",")
        }
    )
    others = sorted({item for item in requirements if not item.startswith("driftline[")})
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("--quiet", "--upgrade", "pip")
    session.install("--quiet", "-e", target, *others)


def _servers(session: nox.Session, packages: dict[str, str]) -> None:
    """Install the real servers some tests talk to, where this is a Debian machine and we may."""
    missing = sorted({package for tool, package in packages.items() if not shutil.which(tool)})
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        session.warn(f"not installed here, so their tests will be skipped: {', '.join(missing)}")
        return
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    session.run("apt-get", "update", "-qq", external=True, env=environment, silent=True)
    session.run(
        *("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing),
        external=True,
        env=environment,
        silent=True,
    )


@nox.session
def demo(session: nox.Session) -> None:
    """Watch eleven weeks of a deployment's life, with a real detector, ending in decisions."""
    _install(session, "demo")
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def demo_retrain(session: nox.Session) -> None:
    """Retrain a detector that no longer sees its world: really, on this machine, in minutes."""
    _install(session, "demo", "yolo")
    session.run(
        *("python", "examples/demo_retrain.py", *session.posargs), env={"OMP_NUM_THREADS": "1"}
    )


@nox.session
def tests(session: nox.Session) -> None:
    """All that needs no torch."""
    _servers(session, APT_PACKAGES)
    _install(session, "tests")
    session.run(
        *("pytest", "--numprocesses=auto", "--dist=loadfile", "--cov", "--cov-report="),
        *session.posargs,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    session.run("coverage", "report", "--skip-covered", "--format=total")


@nox.session(python=["3.11", "3.12", "3.13"])
def versions(session: nox.Session) -> None:
    """The same tests with each Python and the newest of everything that it can have."""
    _install(session, "tests")
    session.run("pytest", "--numprocesses=auto", "--dist=loadfile", *session.posargs)


@nox.session
def tests_yolo(session: nox.Session) -> None:
    """What needs torch and ultralytics, installed as users get them."""
    _install(session, "tests", "yolo")
    session.run("pytest", "-m", "yolo", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def engines(session: nox.Session) -> None:
    """Detection logs counted by Spark, Ray and the rest, for real (needs Java 17)."""
    _servers(session, APT_PACKAGES | JAVA)
    _install(session, "tests", "engines")
    session.run("pytest", "tests/lake", "tests/test_examples.py", "-k", "lake", *session.posargs)


@nox.session
def studies(session: nox.Session) -> None:
    """The simulations of nightly size."""
    _install(session, "tests")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Coverage-guided fuzzing of every decoder, a few seconds each (`-- --seconds 600` by hand)."""
    _install(session, "fuzz")
    session.run("python", "fuzz/run.py", *session.posargs)


def _mutation_folder(folder: Path, area: str) -> Path:
    """A folder of its own for mutmut, which reads one set of settings from where it stands."""
    common = PYPROJECT["tool"]["mutation"]
    settings = {key: value for key, value in common.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in (settings | common[area]).items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("src", "tests"):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    text = "\n".join([(ROOT / "pyproject.toml").read_text(), "[tool.mutmut]", *lines, ""])
    (folder / "pyproject.toml").write_text(text)
    return folder


@nox.session
def mutation(session: nox.Session) -> None:
    """Do the tests notice? `-- stats`, rules, drift or retrain; a tenth: `'*__mutmut_*3'`."""
    if not session.posargs:
        session.error("name an area of [tool.mutation]: -- stats, rules, drift or retrain")
    area, *mutants = session.posargs
    _install(session, "mutation")
    session.chdir(_mutation_folder(session.cache_dir / "mutation" / area, area))
    session.run("mutmut", "run", "--max-children", "1", *mutants, env={"OMP_NUM_THREADS": "1"})


@nox.session
def typing(session: nox.Session) -> None:
    """Mypy strict and pyright."""
    _install(session, "typing")
    session.run("mypy")
    session.run("pyright")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and the import contracts."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, without a warning."""
    _install(session, "docs")
    session.run(
        "sphinx-build", "-W", "-n", "--keep-going", "-b", "html", "docs", "docs/_build/html"
    )


@nox.session
def bare(session: nox.Session) -> None:
    """No extra at all: importing loads nothing heavy, and the core works."""
    session.install("--quiet", ".", "pytest")
    session.run("python", "-I", "tests/bare/check_bare.py")


@nox.session
def train_detector(session: nox.Session) -> None:
    """Train the small detector again, from nothing, and export it (a few minutes on a CPU)."""
    _install(session, "yolo")
    session.run("python", "detector/train.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel, install the wheel, import it."""
    session.install("--quiet", "build")
    session.run("python", "-m", "build", "--outdir", "dist")
    wheel = max((ROOT / "dist").glob("*.whl"))
    session.install("--quiet", "--force-reinstall", str(wheel))
    session.run("python", "-I", "-c", "import driftline; print(driftline.__version__)")


@nox.session
def sbom(session: nox.Session) -> None:
    """Write the bill of materials of a plain install, CycloneDX JSON, for the release."""
    session.install("--quiet", ".")
    made = session.run("python", "-c", "import sys; print(sys.executable)", silent=True)
    assert isinstance(made, str)
    with tempfile.TemporaryDirectory() as folder:  # the tool is no material of ours
        session.run("python", "-m", "venv", folder, silent=True)
        session.run(
            f"{folder}/bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "cyclonedx-bom",
            external=True,
        )
        session.run(
            *(f"{folder}/bin/cyclonedx-py", "environment", "--pyproject", "pyproject.toml"),
            *("--of", "JSON", "-o", "dist/driftline.cdx.json", made.strip()),
            external=True,
        )


if __name__ == "__main__":
    sys.exit("run it with: python -m nox -s <session>")
