"""A model is run over the frames: in its own pace, and on from where it stopped."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from holdout_scenes import scene

from driftline.errors import (
    ContextMismatch,
    InputError,
    PlatformBroken,
    RateLimited,
    UnreadableData,
)
from driftline.holdout import HoldoutValidator, LabelledFrame, Settings, evaluate
from driftline.records import Context

NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)


class Clock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self):
        self.seconds = 0.0
        self.slept = []

    def now(self):
        return NOW

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds

    async def asleep(self, seconds):
        self.sleep(seconds)


class Model:
    """A detector that knows the answers by frame, and may fail at some calls."""

    context = Context(model="best.pt", weights_digest="sha256:1", imgsz=640)

    def __init__(self, answers, *, failures=(), clock=None, takes=0.0):
        self.answers = answers
        self.failures = dict(failures)
        self.calls = []
        self.clock = clock
        self.takes = takes

    def predict(self, image):
        self.calls.append(int(image))
        if self.clock is not None:
            self.clock.seconds += self.takes
        if failure := self.failures.pop(len(self.calls) - 1, None):
            raise failure
        return self.answers[int(image)]


@pytest.fixture(scope="module")
def world():
    labels, predictions = scene(np.random.default_rng(4), frames=12)
    frames = [
        LabelledFrame(truth=label, image=np.array(index), id=f"f{index}")
        for index, label in enumerate(labels)
    ]
    return frames, predictions


def limited(wait):
    error = RateLimited("429")
    error.retry_after_seconds = wait
    return error


def test_scores_a_predictor(world):
    """The same as evaluating its predictions, filed under what the model says of itself."""
    frames, predictions = world

    ours = HoldoutValidator(frames, Model(predictions), clock=Clock(), replicates=20).validate()

    assert ours.map == evaluate(frames, predictions, replicates=2).map
    assert ours.settings.weights_digest == "sha256:1"
    assert ours.settings.imgsz == 640
    assert ours.at == NOW


def test_scores_predictions(world):
    """In the order of the frames, or by name."""
    frames, predictions = world
    named = {frame.id: found for frame, found in zip(frames, predictions, strict=True)}

    listed = HoldoutValidator(data=frames, model=predictions, replicates=2).validate()
    mapped = HoldoutValidator(data=frames, model=named, replicates=2).validate()

    assert listed.map == mapped.map
    with pytest.raises(InputError, match="no prediction for 1 of 12 frames, such as 'f3'"):
        HoldoutValidator(frames, {k: v for k, v in named.items() if k != "f3"}).validate()


def test_options_reach_the_score(world):
    """What evaluate takes, the validator takes."""
    frames, predictions = world
    settings = Settings(model="other")

    ours = HoldoutValidator(
        frames,
        Model(predictions),
        ap="ultralytics",
        role="golden",
        settings=settings,
        deployment="acme/line-3",
        at=NOW,
        replicates=2,
    ).validate()

    assert (ours.settings.ap, ours.settings.model) == ("ultralytics", "other")
    assert (ours.role, ours.deployment) == ("golden", "acme/line-3")


def test_goes_on_after_a_failure(world):
    """What was predicted is not asked for again."""
    frames, predictions = world
    model = Model(predictions, failures={5: PlatformBroken("503")})
    validator = HoldoutValidator(frames, model, clock=Clock(), replicates=2)

    with pytest.raises(PlatformBroken):
        validator.validate()
    assert repr(validator) == "HoldoutValidator(12 frames, 5 predicted)"
    evaluation = validator.validate()

    assert model.calls == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11]
    assert evaluation.n_frames == 12


def test_keeps_the_pace(world):
    """Thirty calls a minute are two seconds apart, the model's own time included."""
    frames, predictions = world
    clock = Clock()
    model = Model(predictions, clock=clock, takes=0.5)

    HoldoutValidator(frames, model, clock=clock, calls_per_minute=30, replicates=2).validate()

    assert clock.slept == [1.5] * 12


def test_waits_for_a_rate_limit(world):
    """As long as the platform says, a minute where it does not, and not for ever."""
    frames, predictions = world
    clock = Clock()
    model = Model(predictions, failures={2: limited(7.0), 3: limited(None)})

    HoldoutValidator(frames, model, clock=clock, replicates=2).validate()

    assert clock.slept == [7.0, 60.0]
    stubborn = Model(predictions, failures={index: limited(1.0) for index in range(9)})
    with pytest.raises(RateLimited):
        HoldoutValidator(frames, stubborn, clock=Clock(), replicates=2).validate()
    assert len(stubborn.calls) == 5


def test_goes_on_in_a_later_process(world, tmp_path):
    """With a checkpoint the predictions outlive the process; a torn line is predicted again."""
    frames, predictions = world
    file = tmp_path / "week-45.jsonl"
    broken = Model(predictions, failures={6: PlatformBroken("503")})
    with pytest.raises(PlatformBroken):
        HoldoutValidator(frames, broken, checkpoint=file, clock=Clock()).validate()
    file.write_text(file.read_text()[:-20])  # the power went while the sixth line was written

    later = Model(predictions)
    evaluation = HoldoutValidator(
        frames, later, checkpoint=file, clock=Clock(), replicates=2
    ).validate()

    assert later.calls == [5, 6, 7, 8, 9, 10, 11]
    assert evaluation.map == evaluate(frames, predictions, replicates=2).map
    again = Model(predictions)
    same = HoldoutValidator(frames, again, checkpoint=str(file), replicates=2).validate()
    assert again.calls == []
    assert same.predictions_digest == evaluation.predictions_digest


def test_checkpoint_of_something_else_is_refused(world, tmp_path):
    """Neither other frames nor another model may take over the predictions."""
    frames, predictions = world
    file = tmp_path / "week-45.jsonl"
    HoldoutValidator(frames, Model(predictions), checkpoint=file, replicates=2).validate()

    with pytest.raises(ContextMismatch) as caught:
        HoldoutValidator(frames[:-1], Model(predictions), checkpoint=file).validate()
    assert caught.value.fields == ("holdout",)
    other = Model(predictions)
    other.context = Context(model="new.pt")
    with pytest.raises(ContextMismatch) as caught:
        HoldoutValidator(frames, other, checkpoint=file).validate()
    assert caught.value.fields == ("settings",)


@pytest.mark.parametrize("content", ["no json\n", "[]\n", json.dumps({"schema": "x"}) + "\n"])
def test_a_file_of_another_kind_is_refused(world, tmp_path, content):
    """Nothing is added to a file that is no checkpoint."""
    frames, predictions = world
    file = tmp_path / "notes.txt"
    file.write_text(content)

    with pytest.raises(UnreadableData, match="no checkpoint"):
        HoldoutValidator(frames, Model(predictions), checkpoint=file).validate()
    assert file.read_text() == content


def test_progress_goes_to_standard_error(world, capsys):
    """Only when asked for."""
    frames, predictions = world

    HoldoutValidator(frames, Model(predictions), replicates=2).validate()
    assert capsys.readouterr().err == ""
    HoldoutValidator(frames, Model(predictions), replicates=2).validate(progress=True)
    out = capsys.readouterr()

    assert out.err.endswith("12 of 12 frames\n")
    assert out.out == ""


def test_refuses_what_cannot_predict(world):
    """A frame without image, a model without predict, a pace of zero."""
    frames, predictions = world
    bare = [LabelledFrame(truth=frames[0].truth, id="x")]

    with pytest.raises(InputError, match="frame x has no image"):
        HoldoutValidator(bare, Model(predictions)).validate()
    with pytest.raises(InputError, match="must have predict"):
        HoldoutValidator(frames, 7)
    with pytest.raises(InputError, match="must be above 0"):
        HoldoutValidator(frames, Model(predictions), calls_per_minute=0)
