"""The plain test: this much below the median of the last hour's calm windows.

It needs an hour of history and no more. It knows neither weekday nor time of day, so a site whose
traffic halves within the hour at closing time will hear from it; the statistical modes know both.
What breaches does not enter the median, so a drop that lasts does not become the usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

from driftline.records import as_timedelta64
from driftline.rules._judgement import Floats, Gap, Judgement
from driftline.rules._time import Micros, as_times, instant, span

MEMORY: Final = 12
"""Calm windows remembered: an hour of 5-minute windows."""
ENOUGH: Final = 6
"""Windows needed before anything is judged."""


class Counts(NamedTuple):
    """``(n,)`` windows: their starts (microseconds), counts, and exposures (frames, minutes)."""

    starts: Micros
    counts: Floats
    exposures: Floats


def judge(
    counts: Counts,
    memory: Mapping[str, Any],
    *,
    every: timedelta,
    drop: float,
    usual: float | None,
    min_expected: float,
) -> Judgement:
    """A verdict for each window whose usual count is known and large enough."""
    calm: list[float] = list(memory.get("rates", ()))
    kept: list[int] = []
    limits: list[float] = []
    gaps: list[Gap] = []
    rates = counts.counts / counts.exposures
    for i, (start, rate, exposure) in enumerate(
        zip(counts.starts.tolist(), rates.tolist(), counts.exposures.tolist(), strict=True)
    ):
        base = usual if usual is not None else (median(calm) if len(calm) >= ENOUGH else None)
        if base is not None and base * exposure >= min_expected:
            kept.append(i)
            limits.append((1 - drop) * base)
            if rate < limits[-1]:
                continue
        else:
            _note(gaps, start, span(every), _why(base, min_expected))
        calm = [*calm, rate][-MEMORY:]
    thresholds = np.array(limits)
    breach = rates[kept] < thresholds
    starts = as_times(counts.starts[kept])
    return Judgement(
        starts=starts,
        ends=starts + as_timedelta64(every),
        values=rates[kept],
        breach=breach,
        good=~breach,
        thresholds=thresholds,
        gaps=tuple(gaps),
        memory={} if usual is not None else {"rates": calm},
    )


def _why(base: float | None, min_expected: float) -> str:
    if base is None:
        return f"learning what is usual: {ENOUGH} windows are needed"
    return f"fewer than {min_expected:g} are usual in a window: half of few is chance"


def _note(gaps: list[Gap], start: int, every: int, reason: str) -> None:
    if gaps and gaps[-1].reason == reason and gaps[-1].end == instant(start):
        start_time = gaps.pop().start
    else:
        start_time = instant(start)
    gaps.append(Gap(start=start_time, end=instant(start + every), reason=reason))
