"""Distances between two histograms of counts, each with what the bins can hide.

Counts are all that is needed: values that share a bin are only known to lie between its edges,
so every distance here carries a certified interval, or a bound, for what the raw values would
have given. Boxes of a frame are not independent: the p-values here treat them as if they were,
and are kept as the field's plain tests; `driftline._stats.permutation` is the honest one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.errors import InputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SERIES_TERMS = 20
"""Terms of either Kolmogorov series; the last is below 1e-100 on its own side of the switch."""
_SERIES_SWITCH = 1.18
"""Below it the theta form converges faster, above it the alternating one (Marsaglia et al. 2003)."""
_RAW_BINS = 2**14
"""Bins that raw values are counted in before a few are sorted."""
_RAW_CHUNK = 2**15
"""Raw values that are looked at together: they fit the cache."""


def kolmogorov_sf(x: npt.ArrayLike) -> FloatArray:
    """Survival function of the Kolmogorov distribution: P(sup of a Brownian bridge > x).

    Two series, each used where it converges within 20 terms; agrees with
    ``scipy.special.kolmogorov`` to 1e-14 without its import.

    >>> float(kolmogorov_sf(1.3581).round(4))
    0.05
    """
    value = np.asarray(x, dtype=np.float64)
    result = np.ones(value.shape)
    large = value > _SERIES_SWITCH
    small = (value > 0.03) & ~large  # noqa: PLR2004  below it the survival function is 1 in float64
    k = np.arange(1, _SERIES_TERMS + 1, dtype=np.float64)
    v = value[large][:, None]
    result[large] = 2 * ((-1.0) ** (k - 1) * np.exp(-2 * (k * v) ** 2)).sum(axis=1)
    v = value[small][:, None]
    theta = np.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * v**2)).sum(axis=1)
    result[small] = 1 - math.sqrt(2 * math.pi) / value[small] * theta
    return np.clip(result, 0.0, 1.0)


def ks_p_value(statistic: npt.ArrayLike, n: npt.ArrayLike, m: npt.ArrayLike) -> FloatArray:
    """Two-sided p-value of a two-sample KS statistic of independent values.

    The Kolmogorov limit at Stephens' argument, ``(sqrt(e) + 0.12 + 0.11 / sqrt(e)) * D`` with
    ``e = n * m / (n + m)`` (Stephens 1970): within 4 % of the asymptotic p-value of
    ``scipy.stats.ks_2samp`` for p above 0.001 and both sizes above 50.

    Args:
        statistic: in [0, 1].
        n: size of one sample; real-valued where it is an effective size.
        m: size of the other.
    """
    a, b = np.asarray(n, dtype=np.float64), np.asarray(m, dtype=np.float64)
    size = a * b / (a + b)
    root = np.sqrt(size)
    return kolmogorov_sf((root + 0.12 + 0.11 / root) * np.asarray(statistic, dtype=np.float64))


@frozen(kw_only=True, eq=False)
class KSRows:
    """The two-sample Kolmogorov-Smirnov statistics of pairs of histograms, as far as counts tell.

    Attributes:
        statistic: ``(n_rows,)`` largest distance of the two distribution functions at a bin edge,
            [0, 1]; that of the raw values is no smaller.
        high: ``(n_rows,)`` what that of the raw values is at most; ``high - statistic`` is at most
            the largest share that one bin holds.
        signed: ``(n_rows,)`` the distance at its largest, current less reference: positive where
            the current values are smaller.
        edge: ``(n_rows,)`` index of the inner bin edge where it is largest.
        p_value: ``(n_rows,)`` asymptotic two-sided p-value of `statistic` for independent values.
    """

    statistic: FloatArray
    high: FloatArray
    signed: FloatArray
    edge: IntArray
    p_value: FloatArray


def ks_of_rows(reference: FloatArray, current: FloatArray) -> KSRows:
    """KS from pairs of histograms with the same ordered bins.

    With F and G the cumulative shares, the raw statistic lies in [L, U]: L = max |F - G| over
    the edges, U = max over bins of F(right edge) - G(left edge), either way round: within a bin
    one sample can at most have arrived in full before the other starts.

    Args:
        reference: ``(n_rows, n_bins)`` counts, no row empty.
        current: ``(n_rows, n_bins)`` counts, no row empty.

    >>> ks = ks_of_rows(np.array([[50, 50, 0]]), np.array([[20, 30, 50]]))
    >>> ks.statistic.tolist(), ks.signed.tolist(), ks.edge.tolist(), ks.high.round(2).tolist()
    ([0.5], [-0.5], [1], [0.8])
    """
    n, m = reference.sum(axis=1), current.sum(axis=1)
    f, g = _distribution(reference, n), _distribution(current, m)
    inner = (g - f)[:, 1:-1] if f.shape[1] > 2 else np.zeros((len(f), 1))  # noqa: PLR2004  one bin
    edge = np.abs(inner).argmax(axis=1)
    signed = inner[np.arange(len(inner)), edge]
    high = np.maximum((f[:, 1:] - g[:, :-1]).max(axis=1), (g[:, 1:] - f[:, :-1]).max(axis=1))
    statistic = np.abs(signed)
    return KSRows(
        statistic=statistic,
        high=high,
        signed=signed,
        edge=edge,
        p_value=ks_p_value(statistic, n, m),
    )


def _distribution(counts: FloatArray, total: FloatArray) -> FloatArray:
    """``(n_rows, n_bins + 1)`` cumulative shares, from 0 to 1."""
    shares = np.zeros((len(counts), counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=shares[:, 1:])
    shares[:, 1:] /= total[:, None]
    return shares


def ks_of_values(reference: FloatArray, current: FloatArray) -> tuple[float, float]:
    """The KS distance of raw values, without sorting them all, and the value where it is.

    Both sides are counted in equal bins first. By the bounds of `ks_of_rows` only the few
    bins around the largest differences can hold it: their values alone are sorted. The shares
    are divided and subtracted as scipy does it, and the first of equals is taken in its order,
    so that the numbers are those of scipy 1.17 to the last bit.

    Args:
        reference: ``(n,)`` finite.
        current: ``(m,)`` finite.

    Returns:
        The distance, positive where the reference's share below the value is larger (the current
        values are higher), and the value.

    >>> ks_of_values(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.3, 0.4, 0.5, 0.6]))
    (0.5, 0.2)
    """
    low, high = (min(reference.min(), current.min()), max(reference.max(), current.max()))
    place = _Bins(float(low), float(high))
    sides = (reference, current)
    counts = [np.concatenate([[0], np.cumsum(place.counts(side))]) for side in sides]
    f, g = (c / len(side) for c, side in zip(counts, sides, strict=True))
    gap = (f - g)[1:]
    wanted = (f[1:] - g[:-1] >= gap.max()) | (f[:-1] - g[1:] <= gap.min())
    values = [np.sort(place.inside(side, wanted)) for side in sides]
    at = np.concatenate(values)
    bin_of = place.numbers(at)
    shares = []
    for count, mine, side in zip(counts, values, sides, strict=True):
        left_out = np.cumsum(np.where(wanted, 0, np.diff(count)))
        shares.append((left_out[bin_of] + np.searchsorted(mine, at, side="right")) / len(side))
    difference = shares[0] - shares[1]
    least, most = int(difference.argmin()), int(difference.argmax())
    place_of = least if max(-difference[least], 0.0) > difference[most] else most
    return float(difference[place_of]), float(at[place_of])


class _Bins:
    """Equal bins from `low` to `high`; one bin where their width is no number."""

    def __init__(self, low: float, high: float) -> None:
        """Store and divide."""
        span = high - low
        scale = _RAW_BINS / span if span > 0 else 0.0
        self._low, self._scale = low, scale if math.isfinite(span) and math.isfinite(scale) else 0.0

    def numbers(self, values: FloatArray) -> IntArray:
        """The bin of each value; it never falls as values rise."""
        if not self._scale:
            return np.zeros(len(values), dtype=np.int64)
        scaled = (values - self._low) * self._scale
        return np.minimum(scaled.astype(np.int64), _RAW_BINS - 1)

    def counts(self, values: FloatArray) -> IntArray:
        """``(n_bins,)`` values in each bin."""
        total = np.zeros(_RAW_BINS, dtype=np.int64)
        for start in range(0, len(values), _RAW_CHUNK):
            np.add.at(total, self.numbers(values[start : start + _RAW_CHUNK]), 1)
        return total

    def inside(self, values: FloatArray, wanted: npt.NDArray[np.bool_]) -> FloatArray:
        """The values of the bins that are wanted."""
        parts = (values[i : i + _RAW_CHUNK] for i in range(0, len(values), _RAW_CHUNK))
        return np.concatenate([part[wanted[self.numbers(part)]] for part in parts])


def wasserstein_of_rows(
    reference: FloatArray, current: FloatArray, positions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """First Wasserstein distances of pairs of histograms, with a bound for what the bins hide.

    Every value is moved to the position of its bin. Doing so moves a sample by at most half the
    width of a bin on average, so that the raw distance differs from this one by at most one
    width (two samples, half a width each), open end bins aside.

    Args:
        reference: ``(n_rows, n_bins)`` counts, no row empty.
        current: ``(n_rows, n_bins)`` counts, no row empty.
        positions: ``(n_bins,)`` middle of each bin, increasing.

    Returns:
        ``(n_rows,)`` distances and ``(n_rows,)`` bounds, in the unit of `positions`.
    """
    n, m = reference.sum(axis=1), current.sum(axis=1)
    step = np.diff(positions)
    gap = np.abs(_distribution(reference, n) - _distribution(current, m))[:, 1:-1]
    width = np.concatenate([step, step[-1:]]) if len(positions) > 1 else np.zeros(1)
    held = (reference / n[:, None] + current / m[:, None]) / 2
    return gap @ step, held @ width


def standard_deviations(counts: FloatArray, positions: FloatArray) -> FloatArray:
    """Standard deviations of histograms in the unit of `positions`; nan where one is empty.

    Args:
        counts: ``(n_rows, n_bins)`` counts.
        positions: ``(n_bins,)`` middle of each bin.

    Returns:
        ``(n_rows,)`` deviations.
    """
    n = counts.sum(axis=1)
    total = np.where(n > 0, n, np.nan)
    mean = counts @ positions / total
    square = (counts * (positions - mean[:, None]) ** 2).sum(axis=1) / total
    result: FloatArray = np.sqrt(square)
    return result


def quantile_groups(reference: npt.ArrayLike, n_groups: int = 10) -> IntArray:
    """``(n_bins,)`` int64: which of about `n_groups` equal parts of the reference each bin is in.

    PSI and Jensen-Shannon need few, well-filled bins: ten reference deciles are the custom of
    the credit-scoring literature that PSI comes from (Siddiqi 2006). Every group holds
    reference values; a bin that holds none goes with the filled bin below it.
    """
    counts = np.asarray(reference, dtype=np.float64)
    filled = np.flatnonzero(counts > 0)
    middle = (np.cumsum(counts) - counts / 2)[filled] / counts.sum()
    groups = np.unique(np.floor(n_groups * middle), return_inverse=True)[1]
    below = np.searchsorted(filled, np.arange(len(counts)), side="right") - 1
    return groups[np.maximum(below, 0)].astype(np.int64)


def grouped(counts: npt.ArrayLike, groups: IntArray) -> FloatArray:
    """Counts added up within each group."""
    return np.bincount(groups, weights=np.asarray(counts, dtype=np.float64)).astype(np.float64)


def population_stability(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, prior: float = 0.5
) -> tuple[float, float]:
    """Population stability index of two histograms, and what chance alone gives.

    ``sum (q - p) * log(q / p)`` over shares smoothed with `prior` a bin (0.5: Jeffreys), so that
    an empty bin is a rare one rather than an infinity. Two samples of one distribution give
    about ``(bins - 1) * (1 / n + 1 / m)`` (Yurdakul and Naranjo 2020), the second number.

    >>> index, chance = population_stability([100, 100, 100], [90, 100, 110])
    >>> round(index, 4), round(chance, 4)
    (0.0066, 0.0133)
    """
    a, b = _pair(reference, current)
    n, m = a.sum(), b.sum()
    p = (a + prior) / (n + prior * len(a))
    q = (b + prior) / (m + prior * len(b))
    return float(((q - p) * np.log(q / p)).sum()), float((len(a) - 1) * (1 / n + 1 / m))


def jensen_shannon(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[float, float]:
    """Jensen-Shannon distance (square root of the divergence, base 2), and what chance gives.

    In [0, 1]; needs no prior, because the mixture is positive wherever either side is. Two
    samples of one distribution give a divergence of about
    ``(bins - 1) * (1 / n + 1 / m) / (8 log 2)``, whose root is the second number.
    """
    a, b = _pair(reference, current)
    n, m = a.sum(), b.sum()
    p, q = a / n, b / m
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    chance = (len(a) - 1) * (1 / n + 1 / m) / (8 * math.log(2))
    return math.sqrt(max(0.0, divergence)), math.sqrt(chance)


def _relative_entropy(p: FloatArray, q: FloatArray) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())


def chi_square(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[float, float, float]:
    """Pearson's chi-square of homogeneity of two histograms over categories.

    Categories empty on both sides are left out. Exact on counts: nothing is hidden by bins.

    Returns:
        The statistic, its p-value for independent values, and Cramer's V in [0, 1].
    """
    from scipy.special import chdtrc  # noqa: PLC0415  heavy, and only this test needs it

    a, b = _pair(reference, current)
    table = np.stack([a, b])[:, (a + b) > 0]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    freedom = table.shape[1] - 1
    p_value = float(chdtrc(freedom, statistic)) if freedom else 1.0
    return statistic, p_value, math.sqrt(statistic / table.sum())


def _pair(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        msg = f"histograms of shapes {a.shape} and {b.shape} have no common bins"
        raise InputError(msg)
    for name, counts in (("reference", a), ("current", b)):
        if not bool(np.all(counts >= 0)) or counts.sum() <= 0:
            msg = f"the {name} histogram must hold counts of at least 0 and not be empty"
            raise InputError(msg)
    return a, b
