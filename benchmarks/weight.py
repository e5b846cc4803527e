"""What Driftline weighs: wheel, packages, disk, and the import of it and of each of its rooms.

    OMP_NUM_THREADS=1 python benchmarks/weight.py [--peers FOLDER]

Every import is a process of its own, started five times after a first that writes the byte code;
the median is printed, of user and system CPU seconds, and the peak memory (Linux). The folder of
the peers is the one that ``drift_peers.py --keep FOLDER --sizes`` filled: what one would install
instead, in its own environment, with the first line of its documentation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from kit import Process, process
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ROOMS = (
    *("drift", "holdout", "lake", "monitor", "platform", "profiles", "records", "reports"),
    *("retrain", "rules", "sinks", "stores", "testing", "typing"),
)
EVERY_NAME = "import driftline\nfor name in driftline.__all__: getattr(driftline, name)"
MUST = "import numpy, httpx, attr"
"""What a monitor of arrays and endpoints imports whoever writes it."""
STATEMENTS = {
    "(Python itself)": "pass",
    "`import driftline`": "import driftline",
    "every public name": EVERY_NAME,
    **{f"`import driftline.{room}`": f"import driftline.{room}" for room in ROOMS},
    "`import numpy`": "import numpy",
    "`import numpy, httpx, attr`": MUST,
    "`from scipy.stats import ks_2samp`": "from scipy.stats import ks_2samp",
}
PEERS = {
    "scipy": ("scipy", "from scipy.stats import ks_2samp"),
    "River": ("river", "from river import drift"),
    "Frouros": ("frouros", "from frouros.detectors.data_drift import KSTest"),
    "whylogs": ("whylogs", "import whylogs"),
    "alibi-detect": ("alibi-detect", "from alibi_detect.cd import KSDrift"),
    "NannyML": ("nannyml", "import nannyml"),
    "Evidently": ("evidently", "from evidently import Report"),
}


def imported(code: str, python: Path | str = sys.executable, times: int = 5) -> Process:
    """The median cost of some imports, in processes that find the byte code written."""
    process(code, python=python)
    runs = [process(code, python=python) for _ in range(times)]
    return Process(
        cpu_seconds=median(run.cpu_seconds for run in runs),
        peak_mb=median(run.peak_mb for run in runs),
        modules=runs[0].modules,
    )


def wheel(folder: Path) -> Path:
    """Build the wheel of this tree into a folder."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(ROOT)], check=True)
    return next(folder.glob("driftline-*.whl"))


def packages(name: str) -> set[str]:
    """The distributions that a plain install of one brings, itself included."""
    found: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop().lower().replace("_", "-")
        if one not in found:
            found.add(one)
            wanted = map(Requirement, importlib.metadata.requires(one) or ())
            todo += [r.name for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def installed(python: Path) -> tuple[int, float]:
    """Distributions and MB of an environment, less pip, setuptools and byte code."""
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    names = {path.name.split("-")[0].lower() for path in site.glob("*.dist-info")}
    tools = ("pip", "setuptools", "_distutils_hack")
    sizes = (
        path.stat().st_size
        for path in site.rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and path.relative_to(site).parts[0].split("-")[0] not in tools
    )
    return len(names - {"pip", "setuptools"}), sum(sizes) / 1e6


def row(name: str, cost: Process, base: Process, more: Sequence[str] = ()) -> None:
    print(
        f"| {name} | {cost.cpu_seconds:.3f} | {cost.cpu_seconds / base.cpu_seconds:.2f}x "
        f"| {cost.peak_mb:.0f} | {cost.peak_mb / base.peak_mb:.2f}x | {cost.modules} "
        f"|{''.join(f' {cell} |' for cell in more)}",
        flush=True,
    )


def heading(*more: str) -> None:
    columns = ("import", "CPU s", "x", "peak MB", "x", "modules", *more)
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")


def beside_peers(python: Path, folder: Path, names: Iterable[str]) -> None:
    """Driftline in a plain environment, and each peer in its own."""
    heading("packages", "MB on disk")
    ours = imported(EVERY_NAME, python)
    homes = {"driftline": (python, "import driftline")}
    homes |= {n: (folder / PEERS[n][0] / "bin" / "python", PEERS[n][1]) for n in names}
    count, size = installed(python)
    row("driftline, every public name", ours, ours, (str(count), f"{size:.0f}"))
    for name, (home, code) in homes.items():
        if home.exists():
            count, size = installed(home)
            row(f"{name}: `{code}`", imported(code, home), ours, (str(count), f"{size:.0f}"))
        else:
            print(f"SKIPPED {name}: {home} is not there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="environments that drift_peers.py --keep made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        built = wheel(folder)
        venv.create(folder / "plain", with_pip=True)
        python = folder / "plain" / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", str(built)]
        subprocess.run(pip, check=True)
        count, size = installed(python)
        print(f"{built.name}: {built.stat().st_size / 1e3:.0f} kB")
        print(f"a plain install: {count} packages, {size:.0f} MB")
        heading()
        base = imported(STATEMENTS["`import numpy`"], python)
        for name, code in STATEMENTS.items():
            row(name, imported(code, python), base)
        if options.peers:
            beside_peers(python, options.peers.resolve(), PEERS)


if __name__ == "__main__":
    main()
