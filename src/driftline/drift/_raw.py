"""The guide's test on raw values, number for number what scipy gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import frozen

from driftline.errors import InputError


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

    It takes values as independent, which boxes of one frame or one parked car are not: on real
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
    from scipy.stats import ks_2samp as scipy_ks_2samp  # noqa: PLC0415  1.4 s that few need

    a, b = (
        _numbers(v, n) for v, n in ((reference_values, "reference"), (current_values, "current"))
    )
    result = scipy_ks_2samp(a, b)
    sign = int(result.statistic_sign)
    direction = "" if result.statistic == 0 else "higher" if sign > 0 else "lower"
    return KSResult(
        statistic=float(result.statistic),
        p_value=float(result.pvalue),
        at=float(result.statistic_location),
        direction=direction,
        n_reference=len(a),
        n_current=len(b),
    )


def _numbers(values: npt.ArrayLike, side: str) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not len(array) or not bool(np.all(np.isfinite(array))):
        wrong = "is empty" if not len(array) else f"holds {array[~np.isfinite(array)][0]}"
        msg = f"the {side} side {wrong}; the test needs finite numbers on both sides"
        raise InputError(msg)
    return array
