"""All set-up lives here: `python -m pip install nox`, then `python -m nox -s <session>`."""

import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
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
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.14t"]
"""All that Driftline is meant for; 3.14t is the build without a global lock."""
MUST_BE_HERE = PYTHONS[:3]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


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


def _pytest(session: nox.Session, *options: str) -> None:
    """Run the default tests, a process a core; a file stays in one, with what it has started."""
    session.run(
        *("pytest", "--numprocesses=auto", "--dist=loadfile", *options),
        *session.posargs,
        env=ONE_THREAD | {"PYTHONDONTWRITEBYTECODE": ""},  # else every process compiles it all anew
    )


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
    session.run("python", "examples/demo_retrain.py", *session.posargs, env=ONE_THREAD)


@nox.session
def tests(session: nox.Session) -> None:
    """All that needs no torch."""
    _servers(session, APT_PACKAGES)
    _install(session, "tests")
    _pytest(session, "--cov", "--cov-report=")
    session.run("coverage", "report", "--skip-covered", "--format=total")


@nox.session
def versions(session: nox.Session) -> None:
    """The same tests with each Python that is here and the newest of everything it can have.

    A Python of `MUST_BE_HERE` that is missing is an error, another one is named aloud.
    """
    for python in PYTHONS:
        if python in MUST_BE_HERE or shutil.which(f"python{python}"):
            session.notify(f"newest-{python}")
        else:
            session.warn(f"NOT TESTED with Python {python}: no python{python} is installed here")


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The tests with one Python and the newest of everything (`versions` runs all there are)."""
    _install(session, "tests")
    _pytest(session)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The tests with the oldest Python and the oldest of everything that pyproject.toml admits.

    Each bound is taken by its word: ``scipy>=1.12`` is tested with 1.12.0. What only tests need is as
    new as it can be beside that.
    """
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    tested = [name for name in extras if name != "yolo"]  # needs torch: `tests_yolo`
    declared = [*project["dependencies"], *(one for name in tested for one in extras[name])]
    tools = [
        requirement
        for requirement in nox.project.dependency_groups(PYPROJECT, "tests")
        if not requirement.startswith("driftline[")
    ]
    constraints = Path(session.create_tmp()) / "lowest.txt"
    known = ["pyparsing<3.3"]  # newer ones warn of what Matplotlib 3.8 does; tests take no warning
    constraints.write_text("\n".join(sorted({_lowest(one) for one in declared}) + known))
    target = f".[{','.join(tested)}]"
    session.install("--quiet", "--upgrade", "pip")
    session.install("--quiet", "-e", target, *tools, "--constraint", str(constraints))
    _pytest(session)


def _lowest(requirement: str) -> str:
    """``attrs>=23.2`` → ``attrs==23.2``; a constraint names no extra."""
    name, bound = requirement.split(">=")
    return f"{name.split('[')[0]}=={bound.split(',')[0]}"


@nox.session
def bench(session: nox.Session) -> None:
    """Fail when something became dearer, beside what one would use instead, than it may be."""
    _install(session, "bench")
    session.run("python", "benchmarks/ratios.py", *session.posargs, env=ONE_THREAD)


@nox.session
def tests_yolo(session: nox.Session) -> None:
    """What needs torch and ultralytics, installed as users get them."""
    _install(session, "tests", "yolo")
    session.run("pytest", "-m", "yolo", *session.posargs, env=ONE_THREAD)


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
    """Do the tests notice? `-- <area>`, as `[tool.mutation]` has them; a tenth: `'*__mutmut_*3'`."""
    areas = [
        name for name, value in PYPROJECT["tool"]["mutation"].items() if isinstance(value, dict)
    ]
    area, *mutants = session.posargs or [""]
    if area not in areas:
        session.error(f"name an area of [tool.mutation] in pyproject.toml: -- {' or '.join(areas)}")
    _install(session, "mutation")
    session.chdir(_mutation_folder(session.cache_dir / "mutation" / area, area))
    session.run("mutmut", "run", "--max-children", "1", *mutants, env=ONE_THREAD)


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
    """Build twice, look inside, and test what was built as users install it.

    The wheel of the sdist must be, to the byte, the wheel of the tree, and a second sdist the first.
    Both are installed in turn in environments of their own, and tests run on each from elsewhere.
    """
    session.install("--quiet", "build", "twine")
    dist, again = ROOT / "dist", Path(session.create_tmp()) / "again"
    for stale in (*dist.glob("driftline-*[lz]"), *again.glob("driftline-*[lz]")):
        stale.unlink()
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    session.run(
        *("python", "-m", "build", "--sdist", "--wheel", "--outdir", str(again)), silent=True
    )
    built = sorted(dist.glob("driftline-*[lz]"))
    for made in built:
        if _digest(made) != _digest(again / made.name):
            session.error(f"a second build of {made.name} differs")
        session.log(f"{made.name}: {made.stat().st_size:,} bytes, sha256 {_digest(made)}")
    session.run("twine", "check", "--strict", *map(str, built))
    faults = [fault for made in built for fault in _faults(made)]
    if faults:
        session.error("; ".join(faults))
    for made in built:
        _test_installed(session, made)


SHIPPED = ("driftline/py.typed", "licenses/LICENSE", "METADATA")
NOT_SHIPPED = ("tests/", "detector/", "benchmarks/", ".pt", ".onnx", ".npz", ".pyc")
INSTALLED_TESTS = (
    *("tests/test_face.py", "tests/rules", "tests/profiles", "tests/stores"),
    *("tests/drift/test_drift_detector.py", "tests/drift/test_drift_two_sample.py"),
    *("tests/platform/test_platform_faces.py", "tests/platform/test_platform_wire.py"),
    *("tests/monitor/test_monitor_async.py", "tests/monitor/test_monitor_drill.py"),
)
"""Pure code, I/O, an optional package each way, and what is loaded late: minutes, not all."""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _faults(path: Path) -> list[str]:
    """What a wheel lacks or should not hold, and what an sdist lacks."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
        missing = [one for one in SHIPPED if not any(name.endswith(one) for name in names)]
        extra = [name for name in names for one in NOT_SHIPPED if one in name]
    else:
        with tarfile.open(path) as sdist:
            names = [name.partition("/")[2] for name in sdist.getnames()]
        wanted = ("LICENSE", "src/driftline/py.typed", "noxfile.py", "tests/conftest.py")
        missing = [one for one in wanted if one not in names]
        extra = [name for name in names if name.endswith((".pt", ".onnx", ".pyc"))]
    return [f"{path.name} lacks {one}" for one in missing] + [
        f"{path.name} holds {one}" for one in extra
    ]


def _test_installed(session: nox.Session, made: Path) -> None:
    """Install one file in an environment of its own, and run tests on it from another folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        session.run("python", "-m", "venv", str(folder / "venv"), silent=True)
        python = str(folder / "venv" / "bin" / "python")
        extras = "datadog,pagerduty,apprise,postgres,plots,testing,lake,holdout"
        tools = ("pytest>=8.4", "hypothesis", "sybil>=9", "jsonschema", "polars")
        pip = (python, "-m", "pip", "install", "--quiet", f"{made}[{extras}]", *tools)
        session.run(*pip, external=True)
        for one in ("tests", "docs", "pyproject.toml"):  # a test looks into the reference
            copy = shutil.copytree if (ROOT / one).is_dir() else shutil.copy
            copy(ROOT / one, folder / one)
        with session.chdir(folder):
            session.run(
                *(python, "-I", "-c", "import driftline; print(driftline.__file__)"), external=True
            )
            session.run(
                *(python, "-m", "pytest", "-q", *INSTALLED_TESTS, *session.posargs), external=True
            )


@contextmanager
def _tool_apart(session: nox.Session, package: str) -> Iterator[str]:
    """The folder with the programs of a tool that must not be part of what it looks at."""
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "venv", folder, silent=True)
        pip = (f"{folder}/bin/python", "-m", "pip", "install", "--quiet", package)
        session.run(*pip, external=True)
        yield f"{folder}/bin"


@nox.session
def audit(session: nox.Session) -> None:
    """Ask the database of the Python Packaging Authority about everything a user may install."""
    extras = [name for name in PYPROJECT["project"]["optional-dependencies"] if name != "yolo"]
    session.install("--quiet", f".[{','.join(extras)}]")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    installed = str(session.run("python", "-c", code, silent=True)).strip()
    with _tool_apart(session, "pip-audit") as programs:
        session.run(
            *(f"{programs}/pip-audit", "--path", installed, "--skip-editable", "--strict"),
            *session.posargs,
            external=True,
        )


@nox.session
def sbom(session: nox.Session) -> None:
    """Write the bill of materials of a plain install, CycloneDX JSON, for the release."""
    session.install("--quiet", ".")
    (ROOT / "dist").mkdir(exist_ok=True)
    with _tool_apart(session, "cyclonedx-bom") as programs:
        session.run(
            *(f"{programs}/cyclonedx-py", "environment", "--pyproject", "pyproject.toml"),
            *("--of", "JSON", "-o", "dist/driftline.cdx.json", f"{session.bin}/python"),
            external=True,
        )


if __name__ == "__main__":
    sys.exit("run it with: python -m nox -s <session>")
