"""Accuracy as a test of a build."""

import numpy as np
import pytest
from attrs import evolve
from holdout_scenes import scene

from driftline.errors import ContextMismatch, InputError, TooLittleData
from driftline.holdout import Settings, evaluate
from driftline.testing import assert_not_worse


def evaluations(*, shift=0.0, frames=150, settings=(None, None)):
    """A detector, and the same with every box moved by a share of its size."""
    labels, found = scene(np.random.default_rng(3), frames=frames)
    worse = [
        evolve(one, xyxy=one.xyxy + shift * np.tile(one.xyxy[:, 2:] - one.xyxy[:, :2], 2))
        for one in found
    ]
    return [
        evaluate(labels, predictions, replicates=200, settings=one or Settings())
        for predictions, one in zip((worse, found), settings, strict=True)
    ]


def test_a_worse_candidate_fails():
    """With both scores, the interval, and what moved."""
    candidate, incumbent = evaluations(shift=0.08)

    with pytest.raises(AssertionError, match=r"the candidate is worse: mAP@0\.5:0\.95") as caught:
        assert_not_worse(candidate, incumbent, replicates=200)
    assert "(paired)" in str(caught.value)
    assert_not_worse(candidate, incumbent, by=0.5, replicates=200)


def test_an_equal_or_better_one_passes():
    """And the comparison comes back."""
    candidate, incumbent = evaluations()

    assert 0.0 == assert_not_worse(candidate, incumbent, replicates=200).difference.value
    worse, good = evaluations(shift=0.08)
    assert "better" == assert_not_worse(good, worse, replicates=200).verdict


def test_what_cannot_be_compared_does_not_pass():
    """Unknown is not "not worse"."""
    with pytest.raises(ContextMismatch, match="imgsz"):
        assert_not_worse(*evaluations(settings=(Settings(imgsz=640), Settings(imgsz=320))))
    with pytest.raises(TooLittleData, match="cannot tell the two models apart"):
        assert_not_worse(*evaluations(frames=1))
    with pytest.raises(InputError, match="by=1"):
        assert_not_worse(*evaluations(), by=1)
