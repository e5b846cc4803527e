"""The floor: whole days permuted, cameras standardised, thresholds studentised, maxT, a guard.

The plain reading of the method that the default must not fall behind, written for clarity and
kept as an oracle; counts come as ``(days, cameras, bins)`` a feature.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.stats import chi2

CATEGORICAL = "class"


def masks(n_reference: int, n_current: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """``(n, days)`` 0/1: which days are called current; row 0 is the truth (days 5, 6 weekend)."""
    days = n_reference + n_current
    observed = np.arange(days) >= n_reference
    rows = np.tile(observed, (n, 1))
    weekend = np.arange(days) % 7 >= 5
    for stratum in (weekend, ~weekend):
        where = np.flatnonzero(stratum)
        order = np.argsort(rng.random((n, len(where))), axis=1)
        rows[:, where] = observed[where][order]
    rows[0] = observed
    return rows.astype(float)


def compare(counts: dict[str, np.ndarray], n_reference: int, M: np.ndarray):
    """Cells ``(feature, camera or -1)`` with observed T, permuted T, D and whether gated."""
    names, T, gates = [], [], []
    for feature, X in counts.items():
        category = feature == CATEGORICAL
        C = X.astype(float) if category else np.cumsum(X, axis=2).astype(float)
        t = X.sum(axis=2).astype(float)
        w = t.sum(axis=0) / t.sum()
        pooled = C.sum(axis=(0, 1)) / t.sum()
        deltas = []
        for c in range(X.shape[1]):
            m, mt = M @ C[:, c], M @ t[:, c]
            rest, rt = C[:, c].sum(axis=0) - m, t[:, c].sum() - mt
            deltas.append(m / mt[:, None] - rest / rt[:, None])
        deltas.append(sum(wc * d for wc, d in zip(w, deltas, strict=True)))
        for c, delta in enumerate(deltas):
            F = pooled if c == X.shape[1] else C[:, c].sum(axis=0) / t[:, c].sum()
            keep = F > 0.002 if category else (F > 0.01) & (F < 0.99)
            sd = delta.std(axis=0)
            keep &= sd > 0
            Z = np.abs(delta[:, keep]) / sd[keep]
            at = Z[0].argmax()
            d0 = np.abs(delta[0])
            F0, tail = F[keep][at], d0[keep][at]
            gate = d0.max() >= 0.05 or (tail >= 0.01 and tail >= 0.5 * min(F0, 1 - F0))
            names.append((feature, -1 if c == X.shape[1] else c))
            T.append(Z.max(axis=1))
            gates.append(gate)
    return names, np.array(T), np.array(gates)


def day_means(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Per feature ``(days, k)``: camera-weighted mean bin, or share of each class."""
    out = {}
    for feature, X in counts.items():
        t = X.sum(axis=2)
        w = t.sum(axis=0) / t.sum()
        if feature == CATEGORICAL:
            out[feature] = np.einsum("dcb,c->db", X / t[..., None], w)
        else:
            mean = (X * np.arange(X.shape[2])).sum(axis=2) / t
            out[feature] = (mean * w).sum(axis=1)[:, None]
    return out


def inflation(means: np.ndarray, skip: set[int]) -> float:
    """phi of one feature from its day means of all weeks before this one."""
    weeks = [w for w in range(len(means) // 7) if w not in skip]
    r = []
    for a, b in pairwise(weeks):
        first, second = means[7 * a : 7 * a + 7], means[7 * b : 7 * b + 7]
        s2 = np.concatenate([first, second]).var(axis=0, ddof=1)
        step = (second.mean(axis=0) - first.mean(axis=0)) ** 2 / (s2 * 2 / 7)
        r.append(min(step.mean(), 6.63))
    r = r[-26:]
    return max(1.0, sum(r) / chi2.isf(0.10, len(r))) if len(r) >= 3 else 1.0


def watch(counts: dict[str, np.ndarray], reference_weeks: int = 4, n: int = 500, alpha=0.01):
    """Flag of each monitored week, with and without the guard: two bool arrays."""
    days = 7 * reference_weeks
    n_weeks = next(iter(counts.values())).shape[0] // 7
    M = masks(days, 7, n, np.random.default_rng(0))
    means = day_means(counts)
    skip = {f: set() for f in counts}
    guarded, plain = [], []
    for w in range(reference_weeks, n_weeks):
        view = {f: np.concatenate([X[:days], X[7 * w : 7 * w + 7]]) for f, X in counts.items()}
        names, T, gates = compare(view, days, M)
        top = T.max(axis=0)
        phi = {f: inflation(means[f][: 7 * w], skip[f]) for f in counts}
        scale = np.array([np.sqrt(phi[f]) for f, _ in names])
        p_plain = (top[None] >= T[:, :1]).mean(axis=1)
        p = (top[None] >= T[:, :1] / scale[:, None]).mean(axis=1)
        hit_plain, hit = gates & (p_plain <= alpha), gates & (p <= alpha)
        for (f, _), h in zip(names, hit_plain, strict=True):
            if h:
                skip[f].add(w)
        guarded.append(hit.any())
        plain.append(hit_plain.any())
    return np.array(guarded), np.array(plain)


def confirmed(flags: np.ndarray) -> np.ndarray:
    """Two of the last three weeks."""
    return np.array([flags[max(0, i - 2) : i + 1].sum() >= 2 for i in range(len(flags))])
