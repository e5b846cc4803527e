"""Coverage-guided fuzzing of every decoder: `python fuzz/run.py [--seconds 10] [target ...]`.

Each target runs in a process of its own (libFuzzer ends with the process) for so many seconds.
An input that lets anything but a `DriftlineError` out, or takes longer than ten seconds, is
printed, kept in `fuzz/found/`, and makes the exit code 1. Put it into the tests when it is mended.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOUND = HERE / "found"
ROOMS = ("platform", "profiles", "holdout", "records", "_http", "_wire")
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e308, -1e-308, float("inf"),
    float("nan"), "", "0", "nan", "\x00", "\ud800", "é" * 50, "../../etc/passwd", "<script>", "x" * 70_000,
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", [], {}, [[]], [None], {"": None}, [0] * 5, [1e400] * 4,
)  # fmt: skip


def mutated(value: Any, rng: random.Random) -> Any:
    """The value with one node, somewhere in it, replaced, removed, doubled or nested deeper."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.1:
            return {**value, rng.choice(["", "id", "__proto__", key.upper()]): value[key]}
        return {**value, key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.15:
            return value[:at] + value[at + 1 :]
        if rng.random() < 0.15:
            return value + value[at : at + 1] * rng.choice([1, 2, 100])
        return [*value[:at], mutated(value[at], rng), *value[at + 1 :]]
    if rng.random() < 0.2:
        return [value] if rng.random() < 0.5 else {"value": value}
    if isinstance(value, int | float) and rng.random() < 0.4:
        return value * rng.choice([-1, 0.5, 1e9]) + rng.choice([0, 1, 1e-9])
    return rng.choice(HOSTILE)


def bent(content: bytes, rng: random.Random) -> bytes:
    """The bytes cut, doubled or changed in one place."""
    at, length = rng.randrange(len(content) + 1), rng.choice([0, 1, 4, 64])
    middle = rng.choice([b"", rng.randbytes(length), content[at : at + length] * 2])
    return content[:at] + middle + content[at + length :]


def mutator(kind: str) -> Callable[[bytes, int, int], bytes]:
    """Mutations that keep JSON well formed most of the time, so that they reach the reader."""

    def document(text: bytes, rng: random.Random) -> bytes:
        return json.dumps(mutated(json.loads(text), rng)).encode()

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        try:
            if rng.random() < 0.05:
                return bent(content, rng)[:most]
            if kind == "json":
                return document(content, rng)[:most]
            lines = content.splitlines()
            at = rng.randrange(len(lines))
            return b"\n".join([*lines[:at], document(lines[at], rng), *lines[at + 1 :]])[:most]
        except (ValueError, RecursionError, OverflowError):
            return bent(content, rng)[:most]

    return mutate


def fuzz(name: str, seconds: int, scratch: Path) -> None:
    """Fuzz one target in this process, which ends with it: nothing after that can tidy up."""
    import atheris

    with atheris.instrument_imports(include=[f"driftline.{room}" for room in ROOMS]):
        import targets

        from driftline.errors import DriftlineError
    if name in targets.CALLS:
        target = targets.platform_targets()[name]
    else:
        target = targets.file_targets(scratch / "frames")[name]

    def one(content: bytes) -> None:
        try:
            target.read(content)
        except DriftlineError as error:
            str(error).encode()

    corpus = scratch / "corpus"
    corpus.mkdir()
    FOUND.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        target.read(seed)  # a seed that is refused would fuzz nothing
        (corpus / str(number)).write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-max_len=100000", "-verbosity=1", "-print_final_stats=1",
               f"-artifact_prefix={FOUND / name.replace(' ', '-')}-"]  # fmt: skip
    own = {} if target.kind == "bytes" else {"custom_mutator": mutator(target.kind)}
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, **own)
    atheris.Fuzz()


def every_target() -> list[str]:
    import targets

    with tempfile.TemporaryDirectory() as scratch:
        return [*targets.CALLS, *targets.file_targets(Path(scratch))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--in-process", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_process:
        fuzz(asked.targets[0], asked.seconds, asked.in_process)
        return 0
    failed = []
    for name in asked.targets or every_target():
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="driftline-fuzz-") as scratch:
            done = subprocess.run(
                [sys.executable, __file__, "--in-process", scratch, "--seconds", str(asked.seconds), name],
                capture_output=True, text=True, errors="replace", check=False, timeout=asked.seconds + 120,
            )  # fmt: skip
        runs = [
            line.split()[-1]
            for line in done.stderr.splitlines()
            if "number_of_executed_units" in line
        ]
        covered = [
            line.split("cov: ")[1].split()[0]
            for line in done.stderr.splitlines()
            if "cov: " in line
        ]
        print(f"{name:16} {(runs or ['?'])[0]:>8} inputs, {(covered or ['?'])[-1]:>5} edges, "
              f"{time.monotonic() - begun:5.0f} s{'' if done.returncode == 0 else '  FAILED'}", flush=True)  # fmt: skip
        if done.returncode:
            failed.append(name)
            print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
