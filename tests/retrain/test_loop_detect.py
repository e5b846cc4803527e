"""Frames are shown to a model a little at a time, each once, however often a call is cut short."""

from datetime import timedelta

import numpy as np
import pytest

from driftline import Detections
from driftline.errors import ContextMismatch, RateLimited
from driftline.holdout import LabelledFrame, Truth
from driftline.records import Context
from driftline.retrain._loop_detect import Found, NotYet, show
from driftline.testing import FrozenClock

NAMES = {0: "cup"}
SECOND = timedelta(seconds=1)


class Model:
    """Takes a second a frame, and may be refused."""

    def __init__(self, clock, *, names=NAMES, refuses_at=None):
        self.clock, self.refuses_at = clock, refuses_at
        self.context = Context(model="m", class_names=names)
        self.seen = []

    def predict(self, image):
        self.clock.advance(SECOND)
        if len(self.seen) == self.refuses_at:
            self.refuses_at = None
            msg = "20 a minute"
            raise RateLimited(msg, method="POST", path="/predict")
        self.seen.append(int(image[0, 0, 0]))
        return Detections(
            xyxy=[[1, 1, 5, 5]], confidence=[0.9], class_id=[0], image_size=image.shape[:2]
        )


def frames(n):
    empty = {"xyxy": [], "class_id": [], "image_size": (8, 8)}
    return [
        LabelledFrame(truth=Truth(**empty), image=np.full((8, 8, 3), k, np.uint8), id=f"{k}")
        for k in range(n)
    ]


@pytest.fixture
def shown(tmp_path):
    clock = FrozenClock()

    def call(model, n=5, *, patience=timedelta(seconds=2.5)):
        file = tmp_path / "answers.jsonl"
        return show(model, frames(n), NAMES, file=file, clock=clock, patience=patience)

    return clock, call


def test_a_little_at_a_time(shown):
    """A call ends when its patience does; the next goes on there, also in another process."""
    clock, call = shown
    first, second = Model(clock), Model(clock)
    answers = [call(first), call(second)]

    assert [NotYet(done=3, frames=5), Found] == [answers[0], type(answers[1])]
    assert "3 of 5 frames" in str(answers[0])
    assert ([0, 1, 2], [3, 4]) == (first.seen, second.seen)
    assert 5 == len(answers[1].detections)
    assert "m" == answers[1].settings.model


def test_rate_limit(shown):
    """A model that refuses for a while is asked again by the next call."""
    clock, call = shown
    model = Model(clock, refuses_at=1)
    answers = [call(model), call(model), call(model)]

    assert [NotYet(done=1, frames=5), NotYet(done=4, frames=5)] == answers[:2]
    assert [0, 1, 2, 3, 4] == model.seen


def test_other_classes(shown):
    """A model that names its classes otherwise is refused."""
    clock, call = shown

    with pytest.raises(ContextMismatch):
        call(Model(clock, names={0: "can"}), patience=timedelta(minutes=1))
