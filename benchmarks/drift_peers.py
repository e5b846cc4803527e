"""Are these confidences distributed as those were? Driftline beside what one would install instead.

    python benchmarks/drift_peers.py [--keep FOLDER] [--sizes 100000 1000000] [--tools scipy river]

Each peer is installed into a virtual environment of its own: the newest versions of everything,
and where these do not import, the newest that do (both are printed). Every run is a process of its
own on the same saved arrays: it imports the tool, loads both sides, compares a thousand values
(what is loaded late is loaded then), and is measured while it compares all of them. CPU seconds
are user and system time, the least of up to three runs; peak memory is of the whole process.

The script itself imports no numpy: a process inherits the peak memory of the one that began it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from driftline.drift import DriftDetector
    from driftline.profiles import Profile

    Values: TypeAlias = npt.NDArray[np.float64]

Answer: TypeAlias = dict[str, float]
Compare: TypeAlias = "Callable[[Values, Values], Answer]"

SIZES = (100_000, 1_000_000, 10_000_000)
REPEATS = 3
ENOUGH_SECONDS = 60.0
"""No further repeat of a run after this long, by the wall clock."""
RUN_SECONDS = 400.0
INSTALL_SECONDS = 1200.0
WEEKS = (datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 9, tzinfo=UTC))
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "PYTHONWARNINGS": "ignore",
    "DO_NOT_TRACK": "1",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "WHYLOGS_NO_ANALYTICS": "True",
}

# What each tool does; this part runs in the tool's own environment. ------------------------------


def driftline_counts() -> Compare:
    """Two profiles of the confidences, and the plain KS test of their counts."""
    import numpy as np

    from driftline.drift import DriftDetector
    from driftline.profiles import CONFIDENCE, Profile

    def counted(values: Values) -> npt.NDArray[np.int64]:
        total = np.zeros(CONFIDENCE.n_bins, dtype=np.int64)
        for start in range(0, len(values), 1 << 17):
            bins = CONFIDENCE.bin(values[start : start + (1 << 17)])
            total += np.bincount(bins, minlength=len(total))
        return total

    def compare(a: Values, b: Values) -> Answer:
        reference, week = (
            Profile.from_counts(
                {"confidence": counted(values)[None, None, None]},
                periods=[at],
                cameras=["line-3"],
                frames=[[len(values)]],
            )
            for values, at in zip((a, b), WEEKS, strict=True)
        )
        return _plain(DriftDetector(reference=reference, method="ks"), week)

    return compare


def driftline_boxes() -> Compare:
    """The same from boxes: each is judged, and the class mix is counted as well."""
    import numpy as np

    from driftline.drift import DriftDetector
    from driftline.profiles import CONFIDENCE, Profile

    def profile(values: Values, at: datetime) -> Profile:
        n = len(values)
        return Profile.from_arrays(
            xyxy=np.broadcast_to([0.0, 0.0, 9.0, 9.0], (n, 4)),
            confidence=values,
            class_id=np.broadcast_to(0, n),
            frame=np.broadcast_to(0, n),
            image_size=(10, 10),
            camera="line-3",
            at=at,
            frames=1,
            features=[CONFIDENCE],
        )

    def compare(a: Values, b: Values) -> Answer:
        detector = DriftDetector(reference=profile(a, WEEKS[0]), method="ks")
        return _plain(detector, profile(b, WEEKS[1]))

    return compare


def driftline_all() -> Compare:
    """Boxes of a detector with all default features, ten a frame and of five classes.

    Their corners, classes and frames are made before the clock starts, like the confidences.
    """
    from functools import cache

    import numpy as np

    from driftline.drift import DriftDetector
    from driftline.profiles import Profile

    @cache
    def boxes(n: int) -> dict[str, npt.NDArray[np.generic]]:
        rng = np.random.default_rng(7)
        xyxy = rng.random((n, 4), dtype=np.float32) * np.float32(200)
        xyxy[:, 2:] += xyxy[:, :2] + 1
        kinds = rng.integers(0, 5, n)
        return {"xyxy": xyxy, "class_id": kinds, "frame": np.arange(n) // 10}

    def profile(values: Values, at: datetime) -> Profile:
        return Profile.from_arrays(
            **boxes(len(values)),
            confidence=values,
            image_size=(640, 640),
            camera="line-3",
            at=at,
            frames=len(values) // 10,
        )

    def compare(a: Values, b: Values) -> Answer:
        detector = DriftDetector(reference=profile(a, WEEKS[0]), method="ks")
        return _plain(detector, profile(b, WEEKS[1]))

    compare.prepare = boxes  # type: ignore[attr-defined]  what is there before the comparison
    return compare


def _plain(detector: DriftDetector, week: Profile) -> Answer:
    cell = detector.compare(week)["confidence"]
    return {"d": cell.statistic, "hidden": cell.ks_high - cell.statistic, "p": cell.p_value}


def driftline_raw() -> Compare:
    from driftline.drift import ks_2samp

    def compare(a: Values, b: Values) -> Answer:
        result = ks_2samp(a, b)
        return {"d": result.statistic, "p": result.p_value}

    return compare


def scipy() -> Compare:
    from scipy.stats import ks_2samp

    def compare(a: Values, b: Values) -> Answer:
        result = ks_2samp(a, b)
        return {"d": float(result.statistic), "p": float(result.pvalue)}

    return compare


def evidently() -> Compare:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(numerical_columns=["confidence"])

    def compare(a: Values, b: Values) -> Answer:
        before, now = (
            Dataset.from_pandas(pd.DataFrame({"confidence": side}), data_definition=definition)
            for side in (a, b)
        )
        snapshot = Report([ValueDrift(column="confidence", method="ks")]).run(now, before)
        return {"p": float(snapshot.dict()["metrics"][0]["value"])}

    return compare


def nannyml() -> Compare:
    import pandas as pd
    from nannyml import UnivariateDriftCalculator

    def compare(a: Values, b: Values) -> Answer:
        calculator = UnivariateDriftCalculator(
            column_names=["confidence"], continuous_methods=["kolmogorov_smirnov"], chunk_number=1
        )
        calculator.fit(pd.DataFrame({"confidence": a}))
        found = calculator.calculate(pd.DataFrame({"confidence": b}))
        table = found.filter(period="analysis").to_df()
        return {"d": float(table["confidence", "kolmogorov_smirnov", "value"].iloc[0])}

    return compare


def alibi_detect() -> Compare:
    from alibi_detect.cd import KSDrift

    def compare(a: Values, b: Values) -> Answer:
        data = KSDrift(a[:, None], p_val=0.01).predict(b[:, None])["data"]
        return {"d": float(data["distance"][0]), "p": float(data["p_val"][0])}

    return compare


def frouros() -> Compare:
    from frouros.detectors.data_drift import KSTest

    def compare(a: Values, b: Values) -> Answer:
        detector = KSTest()
        detector.fit(X=a)
        result = detector.compare(X=b)[0]
        return {"d": float(result.statistic), "p": float(result.p_value)}

    return compare


def whylogs() -> Compare:
    import pandas as pd
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import KS

    def compare(a: Values, b: Values) -> Answer:
        before, now = (
            why.log(pd.DataFrame({"confidence": side})).view().get_column("confidence")
            for side in (a, b)
        )
        result = KS().calculate(now, before)
        return {"d": float(result.statistic), "p": float(result.pvalue)}

    return compare


# What takes one frame or one value at a time. ------------------------------------------------


def driftline_observe(n: int, *, everything: bool) -> Compare:
    """Frames of ten boxes, all features or the confidence alone; `n` boxes a side."""
    import numpy as np

    from driftline import Detections, ProfileBuilder
    from driftline.profiles import CONFIDENCE, DEFAULT_FEATURES

    corner = np.random.default_rng(3).random((10, 2)) * 400
    xyxy = np.hstack([corner, corner + 50])
    kinds = np.arange(10) % 3

    def compare(a: Values, b: Values) -> Answer:
        builder = ProfileBuilder(features=DEFAULT_FEATURES if everything else [CONFIDENCE])
        values = np.concatenate([a[:n], b[:n]])
        for start in range(0, len(values) - 9, 10):
            found = Detections(
                xyxy=xyxy,
                confidence=values[start : start + 10],
                class_id=kinds,
                image_size=(480, 640),
            )
            builder.observe(found, camera="line-3", at=WEEKS[0] + timedelta(seconds=start))
        return {"boxes": float(builder.profile().boxes)}

    return compare


def river_detector(name: str, n: int) -> Compare:
    """`n` values of the first side, then `n` of the second."""
    import numpy as np
    from river import drift

    def compare(a: Values, b: Values) -> Answer:
        detector = drift.KSWIN(alpha=0.01, seed=0) if name == "KSWIN" else getattr(drift, name)()
        alarms = [0, 0]
        values = np.concatenate([a[:n], b[:n]]).tolist()
        for i, value in enumerate(values):
            detector.update(value)
            alarms[2 * i >= len(values)] += detector.drift_detected
        return {"before": float(alarms[0]), "after": float(alarms[1])}

    return compare


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What is installed and run.

    Attributes:
        make: imports the tool; gives the comparison. Called in the tool's environment.
        home: name of the environment; "": that of this script.
        attempts: what pip is asked for, until something imports.
        versions: distributions whose versions matter.
        items: values a side of a detector that takes them one by one; 0: takes arrays.
    """

    make: Callable[[], Compare]
    home: str = ""
    attempts: tuple[tuple[str, ...], ...] = ()
    versions: tuple[str, ...] = ("numpy", "scipy")
    items: int = 0


def _observe(*, everything: bool) -> Tool:
    return Tool(
        make=lambda: driftline_observe(100_000, everything=everything),
        versions=("driftline", "numpy"),
        items=100_000,
    )


def _river(name: str, items: int) -> Tool:
    return Tool(
        make=lambda: river_detector(name, items),
        home="river",
        attempts=(("river",),),
        versions=("river", "numpy"),
        items=items,
    )


TOOLS = {
    "driftline, counts": Tool(make=driftline_counts, versions=("driftline", "numpy")),
    "driftline, boxes": Tool(make=driftline_boxes, versions=("driftline", "numpy")),
    "driftline, all features": Tool(make=driftline_all, versions=("driftline", "numpy")),
    "driftline, raw": Tool(make=driftline_raw, versions=("driftline", "numpy", "scipy")),
    "scipy": Tool(make=scipy, home="scipy", attempts=(("scipy",),)),
    "Frouros": Tool(
        make=frouros,
        home="frouros",
        attempts=(("frouros",), ("frouros", "numpy<2"), ("frouros", "numpy<2", "scipy<1.14")),
        versions=("frouros", "numpy", "scipy"),
    ),
    "alibi-detect": Tool(
        make=alibi_detect,
        home="alibi-detect",
        attempts=(("alibi-detect",),),
        versions=("alibi-detect", "numpy", "scipy"),
    ),
    "NannyML": Tool(
        make=nannyml,
        home="nannyml",
        attempts=(
            ("nannyml",),
            ("nannyml", "statsmodels"),
            ("nannyml", "statsmodels", "pandas<3"),
        ),
        versions=("nannyml", "pandas", "numpy"),
    ),
    "Evidently": Tool(
        make=evidently,
        home="evidently",
        attempts=(("evidently",), ("evidently", "pandas<3")),
        versions=("evidently", "pandas", "numpy"),
    ),
    "whylogs": Tool(
        make=whylogs,
        home="whylogs",
        attempts=(
            ("whylogs[viz]", "pandas"),
            ("whylogs[viz]", "pandas", "numpy<2"),
            ("whylogs[viz]", "pandas<2.3", "numpy<2"),
        ),
        versions=("whylogs", "pandas", "numpy"),
    ),
    "driftline, observe": _observe(everything=False),
    "driftline, observe all": _observe(everything=True),
    "River ADWIN": _river("ADWIN", 100_000),
    "River Page-Hinkley": _river("PageHinkley", 100_000),
    "River KSWIN": _river("KSWIN", 5_000),
}
OURS = "driftline, counts"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a process says of its run: versions of distributions, and numbers by name."""

    versions: dict[str, str]
    numbers: Answer


def make_sides(folder: Path, sizes: Iterable[int]) -> None:
    """Confidences as a detector gives them, and slightly lower ones: D is about 0.03."""
    import numpy as np

    for n in sizes:
        rng = np.random.default_rng([2026, n])
        np.save(folder / f"{n}-a.npy", 0.25 + 0.75 * rng.beta(3.0, 1.6, n))
        np.save(folder / f"{n}-b.npy", 0.25 + 0.75 * rng.beta(2.9, 1.65, n))


def run_here(name: str, folder: Path, n: int) -> Outcome:
    """One run, in the environment of the tool; n = 0: the thousand values only."""
    tool = TOOLS[name]
    compare = tool.make()
    import numpy as np

    rng = np.random.default_rng(1)
    answer = compare(rng.random(1000), rng.random(1000))
    versions = {v: importlib.metadata.version(v) for v in tool.versions}
    if not n:
        return Outcome(versions=versions, numbers={})
    a, b = np.load(folder / f"{n}-a.npy"), np.load(folder / f"{n}-b.npy")
    getattr(compare, "prepare", int)(len(a))
    before = resource.getrusage(resource.RUSAGE_SELF)
    answer = compare(a, b)
    after = resource.getrusage(resource.RUSAGE_SELF)
    numbers = {
        "items": 2.0 * min(tool.items or n, n),
        "work": _seconds(after) - _seconds(before),
        "whole": _seconds(after),
        "peak": after.ru_maxrss / 1024,
        "added": (after.ru_maxrss - before.ru_maxrss) / 1024,
    }
    return Outcome(versions=versions, numbers=numbers | answer)


def _seconds(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


# What installs, runs and prints ------------------------------------------------------------------


class Skipped(Exception):
    """A tool that did not install or did not finish, and why."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where things are, and when to stop."""

    folder: Path
    environments: Path
    until: float

    def left(self, at_most: float) -> float:
        """Seconds that may still pass."""
        left = min(at_most, self.until - time.monotonic())
        if left <= 0:
            msg = "the time of the whole benchmark is over; give it more with --minutes"
            raise Skipped(msg)
        return left

    def python(self, tool: Tool) -> Path:
        """The interpreter of a tool's environment."""
        return (
            self.environments / tool.home / "bin" / "python" if tool.home else Path(sys.executable)
        )

    def run(self, name: str, n: int) -> Outcome:
        """One process of a tool."""
        out = self.folder / "out.json"
        out.unlink(missing_ok=True)
        script = [str(self.python(TOOLS[name])), "-P", __file__]
        self._call([*script, "--child", name, str(self.folder), str(n)], RUN_SECONDS)
        return Outcome(**json.loads(out.read_text()))

    def _call(self, command: Sequence[str], seconds: float) -> None:
        limit = self.left(seconds)
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=limit,
                env=os.environ | QUIET,
                cwd=self.folder,
            )
        except subprocess.TimeoutExpired:
            msg = f"not done after {limit:.0f} s"
            raise Skipped(msg) from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
            msg = f"exit {done.returncode}: {said.partition(' (')[0][:160]}"
            raise Skipped(msg)

    def install(self, name: str) -> str:
        """Install a tool, unless it is; versions, and what did not import."""
        tool = TOOLS[name]
        home = self.environments / tool.home
        notes = home / "notes.json"
        if not tool.home or notes.exists():
            return self._versions(name, json.loads(notes.read_text()) if tool.home else [])
        venv.create(home, with_pip=True)
        failed = []
        for wanted in tool.attempts:
            try:
                pip = [str(self.python(tool)), "-m", "pip", "install", "-q", *wanted]
                self._call(pip, INSTALL_SECONDS)
                self.run(name, 0)
            except Skipped as exc:
                failed.append(f"{' '.join(wanted)}: {exc}")
                continue
            if failed:
                failed.append(f"{' '.join(wanted)}: imports")
            notes.write_text(json.dumps(failed))
            return self._versions(name, failed)
        raise Skipped("; ".join(failed))

    def _versions(self, name: str, notes: Sequence[str]) -> str:
        versions = self.run(name, 0).versions
        found = ", ".join(f"{package} {version}" for package, version in versions.items())
        return "\n    ".join([found, *notes])

    def best(self, name: str, n: int) -> Answer:
        """The least of the numbers of a few runs; what they answer is the last one's."""
        runs: list[Answer] = []
        began = time.monotonic()
        while not runs or (len(runs) < REPEATS and time.monotonic() - began < ENOUGH_SECONDS):
            runs.append(self.run(name, n).numbers)
        least = {key: min(run[key] for run in runs) for key in ("work", "whole", "peak", "added")}
        return runs[-1] | least


def ratio(value: float, base: float) -> str:
    return f"{value / base:.3g}x"


def print_arrays(n: int, results: dict[str, Answer]) -> None:
    ours = results.get(OURS)
    print(f"\n{n:,} confidences a side, {2 * 8 * n / 1e6:.4g} MB of arrays\n")
    print("| tool | compare, CPU s | x | whole process, CPU s | x | peak MB | x | added MB | D |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in results.items():
        cells = [name]
        for key, form in (("work", ".4f"), ("whole", ".2f"), ("peak", ".0f")):
            cells += [format(found[key], form), ratio(found[key], ours[key]) if ours else ""]
        hidden = f" to {found['d'] + found['hidden']:.6f}" if "hidden" in found else ""
        d = f"{found['d']:.6f}{hidden}" if "d" in found else f"p {found['p']:.3g} only"
        print(f"| {' | '.join([*cells, format(found['added'], '.0f'), d])} |")


def print_items(results: dict[str, Answer]) -> None:
    ours = results.get(OURS)
    each = {name: found["work"] / found["items"] * 1e6 for name, found in results.items()}
    print("\nOne value at a time, a change of D = 0.03 halfway (first row: arrays, as above)\n")
    print("| tool | values | CPU us a value | x | alarms before | after |")
    print("|---|---|---|---|---|---|")
    for name, found in results.items():
        times = ratio(each[name], each[OURS]) if ours else ""
        alarms = " | ".join(f"{found[k]:.0f}" if k in found else "" for k in ("before", "after"))
        print(f"| {name} | {found['items']:,.0f} | {each[name]:.4f} | {times} | {alarms} |")


def rows(bench: Bench, names: Iterable[str], n: int) -> dict[str, Answer]:
    """Name → numbers of the tools that finish; the others are named aloud."""
    found = {}
    for name in names:
        try:
            found[name] = bench.best(name, n)
        except Skipped as exc:
            print(f"  SKIPPED {name} at {n:,}: {exc}", flush=True)
    return found


def installed(bench: Bench, names: Iterable[str]) -> list[str]:
    """The tools that are there, after printing their versions and what did not install."""
    there = []
    for name in names:
        try:
            print(f"  {name}: {bench.install(name)}", flush=True)
        except Skipped as exc:
            print(f"  SKIPPED {name}: {exc}", flush=True)
        else:
            there.append(name)
    return there


def compare_all(bench: Bench, names: Sequence[str], sizes: Sequence[int]) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}")
    there = installed(bench, names)
    for_arrays = [name for name in there if not TOOLS[name].items]
    largest: dict[str, Answer] = {}
    for n in sizes:
        make = [sys.executable, "-P", __file__, "--child", "", str(bench.folder), str(n)]
        subprocess.run(make, check=True, timeout=RUN_SECONDS)
        largest = rows(bench, for_arrays, n)
        print_arrays(n, largest)
    if sizes:
        ours = {name: row for name, row in largest.items() if name == OURS}
        one_by_one = [name for name in there if TOOLS[name].items]
        print_items(ours | rows(bench, one_by_one, sizes[0]))


def child(name: str, folder: Path, n: int) -> None:
    if not name:
        make_sides(folder, [n])
        return
    (folder / "out.json").write_text(json.dumps(asdict(run_here(name, folder, n))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder of the environments, kept for next time")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="none: install only")
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--minutes", type=float, default=90.0, help="for all of it")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]), int(options.child[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        environments = (options.keep or Path(folder) / "environments").resolve()
        environments.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + 60 * options.minutes
        bench = Bench(folder=Path(folder), environments=environments, until=until)
        compare_all(bench, options.tools, options.sizes)


if __name__ == "__main__":
    main()
