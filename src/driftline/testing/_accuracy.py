"""Accuracy as a test: a candidate that is credibly worse fails the build."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from driftline._checks import part, refuse_number
from driftline.errors import TooLittleData
from driftline.holdout import Comparison, Evaluation

__all__ = ["assert_not_worse"]


def assert_not_worse(
    candidate: Evaluation,
    incumbent: Evaluation,
    *,
    by: float = 0.0,
    allow: Sequence[str] = (),
    replicates: int = 1000,
    rng: np.random.Generator | int = 0,
) -> Comparison:
    """Fail if the candidate's mAP@0.5:0.95 is credibly below the incumbent's.

    Credibly: the whole interval of the difference, paired where the frames are the same, lies
    below ``-by``. It fails on what is shown, not on noise; that a candidate passes does not show
    that it is as good, for which a small holdout is too small (`driftline.holdout.smallest_drop`).

    Args:
        candidate: the evaluation of the new model.
        incumbent: that of the model in use, on the same holdout under the same settings.
        by: how much worse it may be, a share in [0, 1): 0.01 is one point of mAP.
        allow: names of settings that may differ; the model and its weights always may.
        replicates: bootstrap resamples.
        rng: seed or generator of the bootstrap.

    Returns:
        The comparison, for more to be asserted of it.

    Raises:
        AssertionError: it is; the message names the classes that moved.
        TooLittleData: nothing can be said of so few frames.
        ContextMismatch: the two were evaluated under different settings.
        InputError: `by` is out of range.
    """
    refuse_number("by", by, "in [0, 1); 0.01 is one point of mAP", least=0, below=1)
    for name, one in (("candidate", candidate), ("incumbent", incumbent)):
        part(one, Evaluation, name=name, what="the Evaluation of a model")
    comparison = candidate.compare(incumbent, replicates=replicates, rng=rng, allow=allow)
    interval = comparison.difference.interval
    if interval is None:
        msg = (
            f"{candidate.n_frames} and {incumbent.n_frames} frames cannot tell the two models apart "
            f"({comparison.difference.reason or 'no interval'}); 200 to 500 are recommended"
        )
        raise TooLittleData(msg)
    if interval.high < -by:
        margin = f" by more than {by:g}" if by else ""
        msg = (
            f"the candidate is worse{margin}: mAP@0.5:0.95 {candidate.map:.4f} after "
            f"{incumbent.map:.4f}\n{comparison}"
        )
        raise AssertionError(msg)
    return comparison
