"""How small a drop a holdout can show, and how many frames a drop needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from driftline._checks import numbers, part, refuse_number
from driftline.errors import InputError, TooLittleData
from driftline.holdout._evaluation import Evaluation

__all__ = ["expected_half_width", "frames_needed", "smallest_drop"]

# Fitted to the spread of mAP@0.5:0.95 over samples of simulated worlds (1 to 20 classes, even and
# Zipf-mixed, 2 to 12 objects a frame whose difficulty is partly shared, mAP about 0.44): within 7 %
# of each. `tests/holdout/test_dataset_sizing.py` draws them again.
_FRAME: Final = 0.0165
"""Variance that the objects of a frame have in common."""
_OBJECT: Final = 0.166
"""Variance of an object of an evenly mixed class."""
_PAIRED: Final = 0.55
"""Standard error of a difference on the same frames, over that on different frames (0.45 to 0.58)."""


def _spread(
    classes: Sequence[float] | Mapping[str, float] | None, objects_per_frame: float
) -> float:
    """Standard error of mAP times the square root of the number of frames."""
    refuse_number("objects_per_frame", objects_per_frame, "above 0", above=0, most=1e9)
    given: Any = [1.0] if classes is None else classes
    mix = numbers(list(given.values()) if isinstance(given, Mapping) else given, "classes")
    if mix.ndim != 1 or not mix.size or not (np.isfinite(mix).all() and (mix > 0).all()):
        msg = f"the mix of classes {given!r:.200} must be positive numbers, one a class"
        raise InputError(msg)
    share = mix / mix.sum()
    # mAP is the plain mean of classes: a rare one is measured on few objects and counts in full
    unevenness = float((1.0 / share).mean() / len(share))
    return math.sqrt(_FRAME + _OBJECT * unevenness / objects_per_frame)


def _z(probability: float) -> float:
    from scipy.special import ndtri  # noqa: PLC0415 - heavy

    return float(ndtri(probability))


def _factor(power: float, alpha: float) -> float:
    refuse_number("power", power, "a number in [0.5, 1)", least=0.5, below=1)
    refuse_number("alpha", alpha, "a number in (0, 0.5)", above=0, below=0.5)
    return _z(power) + _z(1.0 - alpha)


def _per_root_frame(
    classes: Sequence[float] | Mapping[str, float] | None,
    objects_per_frame: float,
    evaluation: Evaluation | None,
) -> float:
    if evaluation is None:
        return _spread(classes, objects_per_frame)
    part(evaluation, Evaluation, name="evaluation", what="an Evaluation, or None")
    error = evaluation.overall.estimate.standard_error
    if error is None:
        msg = f"the evaluation of {evaluation.n_frames} frames has no standard error to go by"
        raise TooLittleData(msg)
    return error * math.sqrt(evaluation.n_frames)


def smallest_drop(
    frames: int,
    *,
    classes: Sequence[float] | Mapping[str, float] | None = None,
    objects_per_frame: float = 6.0,
    evaluation: Evaluation | None = None,
    paired: bool = False,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """The smallest drop in mAP@0.5:0.95 that two evaluations show with the wanted power.

    A normal law: the drop is (z of the power + z of 1 - alpha) standard errors of a difference,
    one-sided (Cohen 1988, Statistical Power Analysis, ch. 2). Without an evaluation the standard
    error is that of simulated detectors of mAP about 0.44; one that is much better or worse
    spreads less. With an evaluation it is its own.

    Args:
        frames: labelled frames of each evaluation.
        classes: how many objects each class has, or their shares; None: one class, or evenly
            mixed ones.
        objects_per_frame: labelled objects in a frame, on average.
        evaluation: an evaluation of the model on such frames, whose spread replaces the formula.
        paired: both on the same frames (a candidate against the deployed model), rather than on
            different ones (this week against an earlier one).
        power: probability that a drop of this size is shown, [0.5, 1).
        alpha: probability that a drop is shown where there is none, one-sided.

    Returns:
        The drop, a share in [0, 1]: 0.03 is three points of mAP.

    Raises:
        InputError: a number is out of its range.
        TooLittleData: the evaluation has no standard error.

    >>> round(smallest_drop(200), 3), round(smallest_drop(500), 3)
    (0.052, 0.033)
    >>> round(smallest_drop(500, paired=True), 3)
    0.018
    """
    refuse_number("frames", frames, "1 to a billion", least=1, most=1e9)
    spread = _per_root_frame(classes, objects_per_frame, evaluation)
    error = spread * math.sqrt(2.0 / frames) * (_PAIRED if paired else 1.0)
    return min(1.0, _factor(power, alpha) * error)


def frames_needed(
    drop: float,
    *,
    classes: Sequence[float] | Mapping[str, float] | None = None,
    objects_per_frame: float = 6.0,
    evaluation: Evaluation | None = None,
    paired: bool = False,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """How many labelled frames show a drop of mAP@0.5:0.95; arguments as in `smallest_drop`.

    Args:
        drop: the drop to be seen, a share in (0, 1): 0.03 is three points of mAP.
        classes: see `smallest_drop`.
        objects_per_frame: see `smallest_drop`.
        evaluation: see `smallest_drop`.
        paired: see `smallest_drop`.
        power: see `smallest_drop`.
        alpha: see `smallest_drop`.

    Raises:
        InputError: a number is out of its range.
        TooLittleData: the evaluation has no standard error.

    >>> frames_needed(0.03), frames_needed(0.03, paired=True)
    (607, 184)
    """
    what = "between 0 and 1; 0.03 is three points of mAP"
    refuse_number("drop", drop, what, above=0, below=1)
    spread = _per_root_frame(classes, objects_per_frame, evaluation)
    error = spread * (_PAIRED if paired else 1.0)
    return math.ceil(2.0 * (_factor(power, alpha) * error / drop) ** 2)


def expected_half_width(frames: int, *, objects_per_frame: float = 6.0) -> float:
    """Half the width of the 95 % interval of mAP that so many frames will give, about."""
    return 1.96 * _spread(None, objects_per_frame) / math.sqrt(frames)
