"""How often calm weeks alarm, and how soon shifts are seen: the table of the documentation.

    python study.py --sites 48 --out table.md

Every site is one draw of a world with its own seed: four reference weeks, then monitored ones,
each compared with the earlier reports passed along, as a weekly job would. Standard errors are
over sites, because the weeks of one site share a reference.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import floor
from sites import reference_and_weeks
from worlds import CALM, NULL_WORLDS, SHIFTS, Shift, World, simulate

from driftline.drift import DriftDetector

WEEKS = 16
CALM_BEFORE = 4
SHIFTED = 4
POWER_WORLDS = {
    **{name: (World(), shift) for name, shift in SHIFTS.items()},
    "confidence -.05, weather ICC .01": (
        NULL_WORLDS["weather, AR(.6) days ICC .01"],
        SHIFTS["confidence -.05"],
    ),
    "confidence -.05, weather ICC .03": (
        NULL_WORLDS["weather, AR(.6) days ICC .03"],
        SHIFTS["confidence -.05"],
    ),
    "a class gone, week effect ICC .02": (
        NULL_WORLDS["week effect ICC .02"],
        SHIFTS["a class gone"],
    ),
    "20 % blurred, weather ICC .03": (
        NULL_WORLDS["weather, AR(.6) days ICC .03"],
        SHIFTS["20 % of frames blurred"],
    ),
}


@dataclass
class Flags:
    """Which weeks were flagged, ``(n_sites, n_weeks)``, by each way of looking."""

    by: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, name: str, flags: np.ndarray) -> None:
        self.by.setdefault(name, []).append(np.asarray(flags, dtype=bool))

    def single(self, name: str) -> np.ndarray:
        return np.array(self.by[name])

    def confirmed(self, name: str) -> np.ndarray:
        return np.array([floor.confirmed(f) for f in self.by[name]])


def rate(flags: np.ndarray) -> tuple[float, float]:
    """Mean over all weeks and its standard error over sites."""
    per_site = flags.mean(axis=1)
    return float(per_site.mean()), float(per_site.std(ddof=1) / np.sqrt(len(per_site)))


def lower_bound(flags: np.ndarray) -> float:
    """Lower end of the two-sided 95 % Monte Carlo interval of a rate."""
    mean, error = rate(flags)
    return max(0.0, mean - 1.96 * error)


def watch_site(
    world: World,
    seed: int,
    n_weeks: int,
    *,
    shift: Shift = CALM,
    shifted_from: int | None = None,
    permutations: int = 1000,
    methods: tuple[str, ...] = ("block", "ks"),
    **options,
) -> dict[str, np.ndarray]:
    """Flags of each monitored week of one site, by method, through the public interface."""
    start = None if shifted_from is None else 4 + shifted_from
    reference, weeks = reference_and_weeks(world, seed, n_weeks, shift=shift, shifted_from=start)
    result = {}
    for method in methods:
        detector = DriftDetector(
            reference=reference, method=method, permutations=permutations, **options
        )
        reports = []
        for week in weeks:
            reports.append(detector.compare(week, previous=reports))
        result[method] = np.array([r.flagged for r in reports])
    return result


def study(
    world: World,
    n_sites: int,
    *,
    shift: Shift = CALM,
    seed: int = 0,
    with_floor: bool = True,
    weeks: int = WEEKS,
    **options,
) -> Flags:
    """Many sites of one world; calm throughout, or shifted after `CALM_BEFORE` weeks."""
    flags, calm = Flags(), shift == CALM
    n_weeks = weeks if calm else CALM_BEFORE + SHIFTED
    for i in range(n_sites):
        shifted_from = None if calm else CALM_BEFORE
        found = watch_site(
            world, seed + i, n_weeks, shift=shift, shifted_from=shifted_from, **options
        )
        for method, f in found.items():
            flags.add(method, f)
        if with_floor:
            counts = simulate(
                world,
                seed + i,
                calm_weeks=n_weeks if calm else CALM_BEFORE,
                shifted_weeks=0 if calm else SHIFTED,
                shift=shift,
            )
            flags.add("floor", floor.watch({f: h.sum(axis=1) for f, h in counts.items()})[0])
    return flags


def delays(flags: Flags, name: str) -> tuple[float, float, float]:
    """Share of sites seen in the first shifted week, within three, and confirmed within four."""
    single, confirmed = flags.single(name), flags.confirmed(name)
    c = CALM_BEFORE
    return (
        float(single[:, c].mean()),
        float(single[:, c : c + 3].any(axis=1).mean()),
        float(confirmed[:, c : c + 4].any(axis=1).mean()),
    )


def false_alarm_row(name: str, flags: Flags) -> str:
    cells = []
    for way in ("block", "floor", "ks"):
        single, confirmed = rate(flags.single(way)), rate(flags.confirmed(way))
        cells += [f"{single[0]:.3f} ± {single[1]:.3f}", f"{confirmed[0]:.3f} ± {confirmed[1]:.3f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def power_row(name: str, flags: Flags) -> str:
    cells = [" / ".join(f"{v:.2f}" for v in delays(flags, way)) for way in ("block", "floor")]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sites", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--only", default="", help="part of a row's name")
    parser.add_argument("--table", choices=["calm", "shifts", "both"], default="both")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)
        if args.out is not None:
            args.out.write_text("\n".join(lines) + "\n")

    began = time.process_time()
    say(
        "| calm world | default week | confirmed | floor week | confirmed | plain KS week | confirmed |"
    )
    say("|---|---|---|---|---|---|---|")
    options = {"permutations": args.permutations}
    for name, world in NULL_WORLDS.items():
        if args.only in name and args.table != "shifts":
            flags = study(world, args.sites, seed=args.seed, weeks=args.weeks, **options)
            say(false_alarm_row(name, flags))
    say("")
    say("| shift | default: first week / within 3 / confirmed within 4 | floor |")
    say("|---|---|---|")
    for name, (world, shift) in POWER_WORLDS.items():
        if args.only in name and args.table != "calm":
            flags = study(
                world,
                2 * args.sites,
                shift=shift,
                seed=5 * args.seed,
                methods=("block",),
                **options,
            )
            say(power_row(name, flags))
    print(f"{time.process_time() - began:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main()
