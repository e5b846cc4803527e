"""The guide's test on raw values, number for number what scipy gives."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline._checks import numbers
from driftline._stats.two_sample import ks_of_values
from driftline.errors import InputError

FloatArray: TypeAlias = npt.NDArray[np.float64]

EXACT_UP_TO = 10_000
"""Values a side up to which scipy's p-value is exact; beyond, both use Smirnov's asymptotic one."""


@frozen(kw_only=True)
class KSResult:
    """A two-sample Kolmogorov-Smirnov test of raw values.

    Attributes:
        statistic: largest distance of the two distribution functions, [0, 1].
        p_value: two-sided p-value for independent values, [0, 1].
        at: value where the distance is largest, in the unit of the values.
        direction: where the current values lie: "lower", "higher", or "" at no distance.
        n_reference: number of reference values.
        n_current: number of current values.
    """

    statistic: float
    p_value: float
    at: float
    direction: str
    n_reference: int
    n_current: int


def ks_2samp(reference_values: npt.ArrayLike, current_values: npt.ArrayLike) -> KSResult:
    """The plain two-sample KS test: the numbers of ``scipy.stats.ks_2samp``.

    Above ten thousand values only those near the largest difference are sorted, which is an order
    of magnitude quicker. It takes values as independent, which boxes of one frame or one parked car are not: on real
    cameras ``p_value < 0.01`` alarms in most weeks of a year. `DriftDetector` is for weeks.

    Args:
        reference_values: ``(n,)`` finite numbers.
        current_values: ``(m,)`` finite numbers.

    Raises:
        InputError: one side is empty or holds nan or infinity.

    >>> result = ks_2samp([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6])
    >>> result.statistic, round(result.p_value, 3), result.direction
    (0.5, 0.771, 'higher')
    """
    a, b = (
        _numbers(v, n) for v, n in ((reference_values, "reference"), (current_values, "current"))
    )
    signed, at, p_value = (_exact if max(len(a), len(b)) <= EXACT_UP_TO else _asymptotic)(a, b)
    return KSResult(
        statistic=abs(signed),
        p_value=p_value,
        at=at,
        direction="" if signed == 0 else "higher" if signed > 0 else "lower",
        n_reference=len(a),
        n_current=len(b),
    )


def _exact(a: FloatArray, b: FloatArray) -> tuple[float, float, float]:
    from scipy.stats import ks_2samp as scipy_ks_2samp  # noqa: PLC0415  1.4 s that few need

    result = scipy_ks_2samp(a, b)
    signed = float(result.statistic) * int(result.statistic_sign)
    return signed, float(result.statistic_location), float(result.pvalue)


def _asymptotic(a: FloatArray, b: FloatArray) -> tuple[float, float, float]:
    from scipy.stats import kstwo  # noqa: PLC0415  1.4 s that few need

    signed, at = ks_of_values(a, b)
    m, n = sorted((float(len(a)), float(len(b))), reverse=True)
    p_value = float(np.clip(kstwo.sf(abs(signed), np.round(m * n / (m + n))), 0.0, 1.0))
    return signed, at, p_value


def _numbers(values: npt.ArrayLike, side: str) -> npt.NDArray[np.float64]:
    array = numbers(values, f"the {side} side").ravel()
    if not len(array) or not bool(np.all(np.isfinite(array))):
        wrong = "is empty" if not len(array) else f"holds {array[~np.isfinite(array)][0]}"
        msg = f"the {side} side {wrong}; the test needs finite numbers on both sides"
        raise InputError(msg)
    return array
