"""The default method: whole days permuted, every cell judged in one family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._stats.multiplicity import unadjusted, weighted_max_t
from driftline._stats.permutation import contrast, count_splits, splits, studentised
from driftline.drift._cell import Direction
from driftline.drift._family import SHARES, Candidate, Sides

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

CONFIDENCE_LEVEL = 0.95
"""Level of the intervals for D."""
BOTH_TAILS = 0.5
"""A shift whose opposite difference is at least this share of the largest widens or narrows."""
TAIL_EFFECT = 0.01
"""Least difference that a shift of a tail needs, and ..."""
TAIL_SHARE = 0.5
"""... least share of the smaller side of the threshold that moved: a rare event got half again
as frequent, such as frames without any box."""


@frozen(kw_only=True)
class Finding:
    """What the test says of one cell.

    Attributes:
        p_value: adjusted for the family.
        p_unadjusted: of this cell alone.
        effect: D.
        effect_low: lower end of its interval.
        effect_high: upper end.
        direction: where the values moved.
        column: index of the threshold with the strongest evidence.
        phi: the guard's factor.
        flagged: significant, and worth an alarm.
        evidence: t-statistic after the guard, for the order of cells.
    """

    p_value: float
    p_unadjusted: float
    effect: float
    effect_low: float
    effect_high: float
    direction: Direction
    column: int
    phi: float
    flagged: bool
    evidence: float


@frozen(kw_only=True)
class Options:
    """How the test is run.

    Attributes:
        alpha: family-wise level.
        permutations: relabellings, the truth included.
        seed: of the relabellings: same counts and seed, same report.
        min_effect: least D that is worth an alarm (or the rule for tails, `TAIL_EFFECT`).
    """

    alpha: float
    permutations: int
    seed: int
    min_effect: float


Guard: TypeAlias = Callable[[Candidate], float]


def enough_splits(sides: Sides, alpha: float) -> str:
    """Why there are too few days for a p-value below `alpha`; "" where there are enough."""
    n, needed = count_splits(sides.current, sides.kind.astype(np.int64)), 2 / (alpha * SHARES.max())
    if n >= needed:
        return ""
    return (
        f"{int(sides.current.sum())} days of the week and {int((~sides.current).sum())} of the "
        f"reference can be told apart in {n} ways, {math.ceil(needed)} are needed for level {alpha:g}"
    )


def judge(
    candidates: Sequence[Candidate], sides: Sides, guard: Guard, options: Options
) -> list[Finding]:
    """Test all candidates together; all of them must be testable."""
    strata = sides.kind.astype(np.int64)
    rows = splits(
        sides.current, strata, n=options.permutations, rng=np.random.default_rng(options.seed)
    )
    values = np.concatenate([c.judged for c in candidates], axis=1)
    sizes = np.array([c.judged.shape[1] for c in candidates])
    starts = np.cumsum(sizes) - sizes
    weights = np.stack([c.weight for c in candidates], axis=1)
    scores = studentised(values, weights, starts, strata=strata, rows=rows)
    phi = np.array([guard(c) for c in candidates])
    observed = scores.t[0] / np.sqrt(phi)
    p_value = weighted_max_t(
        scores.t, observed, np.array([c.group for c in candidates]), SHARES, alpha=options.alpha
    )
    alone = unadjusted(scores.t, observed)
    band = np.quantile(scores.t, CONFIDENCE_LEVEL, axis=0)
    of_cell = np.repeat(np.arange(len(sizes)), sizes)
    shown = np.concatenate([c.values for c in candidates], axis=1)
    differences, errors = contrast(shown, weights[:, of_cell], strata=strata, current=sides.current)
    reach = band[of_cell] * errors * np.sqrt(phi)[of_cell]
    largest = np.maximum.reduceat(np.abs(differences), starts)
    low = np.maximum.reduceat(np.maximum(np.abs(differences) - reach, 0.0), starts)
    high = np.minimum(np.maximum.reduceat(np.abs(differences) + reach, starts), 1.0)
    result = []
    for i, candidate in enumerate(candidates):
        mine = slice(int(starts[i]), int(starts[i] + sizes[i]))
        difference = differences[mine]
        column = int(np.abs(scores.t_column[mine]).argmax())
        worth = _worth(candidate, difference, column, options.min_effect)
        result.append(
            Finding(
                p_value=float(p_value[i]),
                p_unadjusted=float(alone[i]),
                effect=float(largest[i]),
                effect_low=float(low[i]),
                effect_high=float(high[i]),
                direction=_direction(
                    difference, column, ordered=sides.reference.ordered(candidate.feature)
                ),
                column=column,
                phi=float(phi[i]),
                flagged=bool(p_value[i] <= options.alpha) and worth,
                evidence=float(observed[i]),
            )
        )
    return result


def _worth(candidate: Candidate, difference: FloatArray, column: int, min_effect: float) -> bool:
    """Whether the effect is worth an alarm: D itself, or a tail that grew or shrank by half."""
    if float(np.abs(difference).max()) >= min_effect:
        return True
    share, moved = float(candidate.pooled[column]), abs(float(difference[column]))
    return moved >= TAIL_EFFECT and moved >= TAIL_SHARE * min(share, 1 - share)


def _direction(difference: FloatArray, column: int, *, ordered: bool) -> Direction:
    """Where values moved: a distribution function that rose means lower values."""
    strongest = float(difference[column])
    if strongest == 0:
        return ""
    if not ordered:
        return "more" if strongest > 0 else "fewer"
    up, down = float(difference.max()), float(-difference.min())
    if min(up, down) >= BOTH_TAILS * max(up, down):
        rising = int(difference.argmax()) < int(difference.argmin())
        return "wider" if rising else "narrower"
    return "lower" if strongest > 0 else "higher"
