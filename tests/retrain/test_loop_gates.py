"""Who may let a retraining go on, what stops it, and what it never does by itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest
from attrs import evolve
from loop_kit import DATASET, DECISION, MAIN, NAMES, OLD, START, png
from loop_signs import Callers, asking, client, drive, small_retraining

from driftline.errors import (
    ConfigError,
    DeliveryFailed,
    InputError,
    PlatformError,
    RefusedInput,
    TransitionFailed,
    UnreadableData,
)
from driftline.holdout import Holdout, LabelledFrame
from driftline.records import Receipt
from driftline.retrain import Action, Move
from driftline.sinks.datadog import DatadogSink
from driftline.sinks.grafana import GrafanaSink
from driftline.sinks.pagerduty import PagerDutySink
from driftline.testing import LocalVendors


def test_opened_once(tmp_path):
    """A decision opens one loop; another one waits until that is over; watching opens none."""
    other = evolve(DECISION, at=START + timedelta(days=7))
    with small_retraining(tmp_path) as (_local, loop, _signs):
        with pytest.raises(ConfigError, match="open"):
            loop.status()
        first = loop.open(DECISION)
        again = loop.open(DECISION)
        meanwhile = loop.open(other)
        with pytest.raises(InputError, match="watch"):
            loop.open(evolve(DECISION, action=Action.WATCH))
        loop.abort("not now")
        after = loop.open(DECISION)
        second = loop.open(other)
        with pytest.raises(InputError, match="no date"):
            loop.open(evolve(DECISION, at=None))
        loop.abort("not now")
        old = loop.open(DECISION)

        assert first.id == again.id == meanwhile.id == after.id == old.id
        assert Move.ABORTED is after.move
        assert Move.ABORTED is old.move
        assert second.id != first.id
        assert Move.SAMPLE is second.move


def test_nothing_without_a_yes(tmp_path):
    """Nothing is paid or moved without a yes, and a yes to something else is none."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        with pytest.raises(ConfigError, match="asks for no"):
            loop.approve("money", by="Ana")
        held = drive(loop, local, signs, until=asking("review"))
        status = drive(loop, local, signs, until=asking("money"))
        for _ in range(3):
            loop.advance()
        with pytest.raises(InputError, match="names a person"):
            loop.approve("money", by=" ")

        assert "0 of 16 frames reviewed" in held.waits_for
        assert status.asks.most_cents == 500
        assert "$5.00" in str(status)
        assert not [call for call in local.calls if call.path == "/api/training/start"]
        assert local.deployment("line-3-next").model == OLD


def test_a_yes_to_something_else(tmp_path):
    """Where the training is another one by the time it would start, it is asked for again."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("money"))
        loop.approve("money", by="Ana")
        args = loop._parts.args
        loop._parts = evolve(loop._parts, args=evolve(args, epochs=500))
        other = loop.advance()
        loop._parts = evolve(loop._parts, args=args)
        started = loop.advance()

        assert "500 epochs" in other.asks.said
        assert Move.TRAIN is started.move


def test_a_label_that_is_half_written(tmp_path):
    """Where it stands can be asked while somebody saves a label."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("review"))
        frame = loop.review().frames[0]
        label = next(loop.review().folder.rglob(f"{frame.image.stem}.txt"))
        label.write_text("0 0.5 0.")
        status = loop.status()

        assert label.name in status.waits_for
        with pytest.raises(UnreadableData):
            loop.advance()


def test_approve_function(tmp_path):
    """A function is asked at each gate, with what it would say yes to."""
    asked = []

    def approve(ask):
        asked.append(ask.gate)
        return ask.gate == "money" and ask.most_cents <= 500

    with small_retraining(tmp_path, approve=approve) as (local, loop, signs):
        loop.open(DECISION)
        status = drive(loop, local, signs, until=asking("rollout"))

        assert {"review", "money", "rollout"} == set(asked)
        assert {"money": "the approve function"} == status.approved


def test_review_that_stops_early(tmp_path):
    """A yes ends the review as it is, but never with a part of the random frames."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("review"))
        loop.approve("review", by="Ana")
        early = loop.advance()
        batch = loop.review()
        chosen = [one for one in batch.frames if one.probability is None]
        for one in [one for one in batch.frames if one not in chosen[3:]]:
            batch.label(one.id, one.proposal)
        again = loop.advance()
        loop.approve("review", by="Ana")
        taken = loop.advance()
        status = drive(loop, local, signs, until=asking("money"))

        assert "0 of 8 random frames" in early.waits_for
        assert "11 of 16 frames reviewed" in again.asks.said
        assert "by Ana" in taken.did
        assert 3 == status.facts["dataset"]["added"]


def test_labels_from_elsewhere(tmp_path):
    """Labels that a tool exported as files are taken, every frame counting as reviewed."""
    exported = tmp_path / "exported"
    exported.mkdir()
    with small_retraining(tmp_path / "loop") as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("review"))
        for name in loop.review().files:
            (exported / name).with_suffix(".txt").write_text("2 0.5 0.5 0.25 0.25\n")
        progress = loop.import_labels(exported)
        taken = loop.advance()

        assert progress.asks is None
        assert "16 frames with 16 boxes reviewed, by people, every frame" in taken.did


def test_training_that_failed(tmp_path):
    """A failed training is not repeated without another yes; the second makes a new model."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("money"))
        local.break_next_training("CUDA out of memory", epoch=2)
        loop.approve("money", by="Ana")
        again = drive(
            loop,
            local,
            signs,
            until=lambda s: s.asks is not None and "attempt 2" in s.asks.said,
        )
        trained = drive(loop, local, signs, until=lambda s: s.move is Move.VALIDATE)

        assert "CUDA out of memory" in str(again)
        assert "money" not in again.approved
        assert trained.candidate.endswith("-2")


def test_dataset_that_was_changed_after_the_yes(tmp_path):
    """What was approved is not trained; the next question is about the dataset as it is now."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        asked = drive(loop, local, signs, until=asking("money"))
        with client(local.url, local.api_key, clock=local.clock) as platform:
            image = next(iter(platform.datasets.images(DATASET)))
            platform.datasets.save_labels(image, ())
        loop.approve("money", by="Ana")
        again = drive(
            loop, local, signs, until=lambda s: s.asks is not None and "attempt 2" in s.asks.said
        )
        trained = drive(loop, local, signs, until=lambda s: s.move is Move.VALIDATE)

        assert "version 1:" in asked.asks.said
        assert "version 1:" not in again.asks.said
        assert "was changed" in again.asks.said
        assert trained.candidate.endswith("-2")


def test_no_function_pays_twice(tmp_path):
    """A function that always says yes pays for one training; after a failure a person must."""
    with small_retraining(tmp_path, approve=lambda _ask: True) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=lambda s: s.move is Move.REVIEW)
        signs.review(loop)
        local.break_next_training("CUDA out of memory", epoch=2)
        for _ in range(12):
            status = loop.advance()
            local.clock.advance(timedelta(minutes=1))
        starts = [call for call in local.calls if call.path == "/api/training/start"]

        assert 1 == len(starts)
        assert "attempt 2" in status.waits_for


def test_approved_by_function_and_aborted(tmp_path):
    """Traffic that a function let move is moved back as well."""
    with small_retraining(tmp_path, approve=lambda ask: ask.gate != "review") as run:
        local, loop, signs = run
        loop.open(DECISION)
        callers = Callers(loop)
        split = drive(
            loop,
            local,
            signs,
            callers,
            until=lambda s: "50%" in s.waits_for or s.over,
        )
        loop.abort("customers complain")
        back = drive(loop, local, signs, callers)

        assert not split.over
        assert "rollout" in split.approved
        assert Move.ROLLED_BACK is back.move


def test_two_schedulers(tmp_path):
    """Calls from two threads at once make everything once."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        callers = Callers(loop)
        for _ in range(60):
            with ThreadPoolExecutor(2) as both:
                for one in [both.submit(loop.advance) for _ in range(2)]:
                    one.result()
            status = loop.status()
            if status.over:
                break
            if status.asks is not None and status.asks.gate == "review":
                signs.review(loop)
            elif status.asks is not None:
                loop.approve(status.asks.gate, by="Ana")
            elif status.move is Move.ROLL_OUT:
                callers.send(status.candidate)
            local.clock.advance(timedelta(minutes=1))
        starts = [call for call in local.calls if call.path == "/api/training/start"]

        assert Move.DONE is loop.status().move
        assert 1 == len([call for call in starts if call.status == 200])
        assert 1 == len(local.dataset("frames").versions)
        assert len({image.name for image in local.dataset("frames").images}) == 2 + 8


def test_degrades_in_mid_rollout(tmp_path):
    """A candidate that was better on frames and fails in traffic goes back by itself."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        back = drive(loop, local, signs, Callers(loop, errors=0.5))

        assert Move.ROLLED_BACK is back.move
        assert "errors" in back.reasons[0]
        assert local.deployment("line-3").model == OLD
        assert "[!] 6 deploy" in str(back)


STEPS = {
    Move.SAMPLE: "2 sample",
    Move.ANNOTATE: "3 annotate",
    Move.REVIEW: "3 annotate",
    Move.FREEZE: "4 retrain",
    Move.START: "4 retrain",
    Move.TRAIN: "4 retrain",
    Move.VALIDATE: "5 validate",
    Move.ROLL_OUT: "6 deploy",
}


@pytest.mark.parametrize("move", STEPS)
def test_abort(tmp_path, move):
    """Wherever it stands it can be stopped: trainings end, the incumbent serves."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        stands = drive(loop, local, signs, until=lambda status: status.move is move)
        aborted = loop.abort("the camera was replaced")
        training = [call for call in local.calls if call.method == "DELETE"]

        assert Move.ABORTED is aborted.move
        assert ("the camera was replaced",) == aborted.reasons
        assert local.deployment("line-3").model == OLD
        assert (move is Move.TRAIN) == bool(training)
        assert f"[>] {STEPS[move]}" in str(stands)
        assert f"[!] {STEPS[move]} stopped;" in " ".join(str(aborted).split())
        with pytest.raises(ConfigError, match="aborted"):
            loop.abort("again")


@pytest.mark.parametrize("move", [Move.ROLL_OUT, Move.BASELINE, Move.DONE])
def test_rolled_back(tmp_path, move):
    """Traffic that was moved, a little or all of it, is moved back to the model of before."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        callers = Callers(loop)
        drive(
            loop,
            local,
            signs,
            callers,
            until=lambda s: (
                s.move is move and (move is not Move.ROLL_OUT or "rollout" in s.approved)
            ),
        )
        loop.advance()
        loop.abort("customers complain")
        back = drive(loop, local, signs, callers)

        assert Move.ROLLED_BACK is back.move
        assert local.deployment("line-3").model == OLD
        assert "customers complain" in back.reasons


def test_abort_while_a_training_starts(tmp_path):
    """A step that was overtaken by an abort leaves no training behind."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("money"))
        loop.approve("money", by="Ana")
        train = loop._parts.backend.train

        def overtaken(key, request):
            loop.abort("changed my mind")
            return train(key, request)

        loop._parts.backend.train = overtaken
        stopping = loop.advance()
        status = loop.advance()
        model = f"vision/retrain-{status.id}-1"

        assert Move.STOP is stopping.move
        assert Move.ABORTED is status.move
        assert "cancelled" == loop._parts.backend._platform.training.status(model).status.value


def test_direct_handover(tmp_path):
    """Without a rollout a function brings the model to its users, and the old one back."""
    served = []
    with small_retraining(tmp_path, deploy=served.append) as (local, loop, signs):
        loop.open(DECISION)
        done = drive(loop, local, signs)
        back = loop.abort("customers complain")

        assert Move.DONE is done.move
        assert Move.ROLLED_BACK is back.move
        assert OLD == served[-1]
        assert done.candidate == served[0]


def test_stopped_before_the_handover(tmp_path):
    """A model that was stopped after the yes, and before the handover, never serves."""
    served = []
    with small_retraining(tmp_path, deploy=served.append) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("rollout"))
        loop.approve("rollout", by="Ben")
        stopped = loop.abort("no")

        assert Move.ABORTED is stopped.move
        assert [] == served


def test_stop_of_what_does_not_load(tmp_path):
    """A candidate that fails in the handover does not keep the incumbent from coming back."""
    served = []

    def deploy(model):
        if model != OLD:
            raise TransitionFailed("it does not load", method="PATCH", path="/deployments")
        served.append(model)

    with small_retraining(tmp_path, deploy=deploy) as (local, loop, signs):
        loop.open(DECISION)
        with pytest.raises(TransitionFailed):
            drive(loop, local, signs)
        back = loop.abort("it does not load")

        assert Move.ROLLED_BACK is back.move
        assert [OLD] == served


def test_traffic_waits_for_nothing(tmp_path):
    """Going back needs neither the training nor the holdout."""
    served = []

    def cancel(_key):
        raise PlatformError("no reply", method="DELETE", path="/training")

    with small_retraining(tmp_path, deploy=served.append) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs)
        loop._parts.backend.cancel = cancel
        loop._parts = evolve(loop._parts, source=tmp_path / "gone.yaml")
        back = loop.abort("customers complain")

        assert Move.ROLLED_BACK is back.move
        assert OLD == served[-1]


def test_rollout_that_was_forgotten(tmp_path):
    """What serves is looked at: nobody is told that it went back while the candidate serves."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        done = drive(loop, local, signs, Callers(loop))
        loop._parts.deploy(done.candidate).forget()
        waits = loop.abort("customers complain")
        loop._parts.backend._platform.replace(MAIN, OLD)
        local.clock.advance(timedelta(minutes=1))
        ended = loop.advance()

        assert Move.STOP is waits.move
        assert f"{done.candidate} serves" in waits.waits_for
        assert Move.ABORTED is ended.move
        assert f"{OLD} serves" in ended.notes[-1].said


@pytest.mark.parametrize("approved", [False, True])
def test_another_model_to_displace(tmp_path, approved):
    """The model that is displaced is the one that was beaten: before the question, and after."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=asking("rollout"))
        if approved:
            loop.approve("rollout", by="Ben")
        loop._parts.backend._platform.replace(MAIN, "vision/model-v2")
        local.clock.advance(timedelta(minutes=1))
        with pytest.raises(ConfigError, match="model-v2 serves"):
            loop.advance()
        if not approved:
            with pytest.raises(ConfigError, match="model-v2 serves"):
                loop.approve("rollout", by="Ben")

        assert "model-v2 serves" in loop.status().waits_for
        assert Move.ABORTED is loop.abort("replaced by hand").move
        assert "model-v2" in local.deployment("line-3").model


def test_frames_known_already(tmp_path):
    """A frame of the holdout is not learned from, one that was learned from not evaluated on."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        done = drive(loop, local, signs, Callers(loop))
        swapped = [
            evolve(
                one,
                source="uncertain" if one.source == "uniform" else "uniform",
                inclusion_probability=None if one.source == "uniform" else 0.5,
            )
            for one in signs.sample()
        ]
        loop._parts = evolve(loop._parts, sample=lambda: swapped, source=done.holdout)
        loop.open(evolve(DECISION, at=START + timedelta(days=30)))
        known = loop.advance()

        assert "0 frames to learn from and 0 to evaluate on were sampled" in known.waits_for
        assert "16 left out, known from training or holdout" in known.waits_for


def test_evaluated_on_before(tmp_path):
    """What an earlier retraining was evaluated on is not learned from, whatever the holdout."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, Callers(loop))
        swapped = [
            evolve(one, source="uncertain", inclusion_probability=None) for one in signs.sample()
        ]
        loop._parts = evolve(loop._parts, sample=lambda: swapped)
        loop.open(evolve(DECISION, at=START + timedelta(days=30)))
        known = loop.advance()

        assert "8 frames to learn from and 0 to evaluate on" in known.waits_for
        assert "8 left out, known" in known.waits_for


def frames_of(signs, folder, images):
    """Labelled frames in files, named by their content as a loop names its own."""
    folder.mkdir()
    found = []
    for image in images:
        content = png(image)
        digest = sha256(content).hexdigest()
        (folder / f"{digest}.png").write_bytes(content)
        truth = signs.truth[image.tobytes()]
        found.append(LabelledFrame(truth=truth, image=folder / f"{digest}.png", id=digest))
    return found


def learned_from(loop, local, frames):
    """Another retraining adds frames to the dataset."""
    for _ in range(9):
        if loop._parts.backend.dataset_version("other", train=frames, val=[], class_names=NAMES):
            return
        local.clock.advance(timedelta(minutes=1))
    raise AssertionError


def test_golden_frames_that_were_learned(tmp_path):
    """A golden set of training pictures is told before money is spent; nothing is proven on it."""
    with small_retraining(tmp_path / "loop") as (local, loop, signs):
        frames = frames_of(signs, tmp_path / "old", signs.old)
        loop._parts = evolve(loop._parts, source=Holdout.of(frames, NAMES).lock())
        loop.open(DECISION)
        drive(loop, local, signs, until=lambda s: s.move is Move.VALIDATE)
        learned_from(loop, local, frames)
        refused = drive(loop, local, signs)
        loop.open(evolve(DECISION, at=START + timedelta(days=30)))

        assert Move.REFUSED is refused.move
        assert "golden frames" in refused.reasons[0]
        with pytest.raises(ConfigError, match="6 of 6 golden frames are in the dataset"):
            loop.advance()


def test_recent_frames_that_were_learned(tmp_path):
    """Random frames that another retraining learned from meanwhile are not evaluated on."""
    with small_retraining(tmp_path / "loop") as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=lambda s: s.move is Move.VALIDATE)
        learned_from(loop, local, frames_of(signs, tmp_path / "new", signs.new[1:4:2]))
        judged = drive(loop, local, signs, until=asking("rollout"))

        assert "2 recent frames left out" in judged.notes[-1].said


def test_picture_that_was_cut_off(tmp_path):
    """A picture that does not open is left out, and said; the others go on."""
    with small_retraining(tmp_path) as (_local, loop, signs):
        first, *more = signs.sample()
        bad = evolve(first, frame=first.frame[:400])
        gone = evolve(first, frame=str(tmp_path / "gone.png"))
        loop._parts = evolve(loop._parts, sample=lambda: [bad, gone, *more])
        loop.open(DECISION)
        sampled = loop.advance()

        assert "7 frames to learn from, 8 drawn" in sampled.did
        assert "2 left out, gone or no whole picture" in sampled.did


def test_holdout_that_was_never_locked(tmp_path):
    """What nobody locked was the golden set; as the holdout grows it does not become recent."""
    with small_retraining(tmp_path / "loop") as (local, loop, signs):
        drawn = local.clock.now() - timedelta(weeks=12)
        frames = frames_of(signs, tmp_path / "old", signs.old)
        plain = Holdout.of(frames, NAMES, added_at=drawn)
        loop._parts = evolve(loop._parts, source=plain)
        loop.open(DECISION)
        done = drive(loop, local, signs, Callers(loop))
        grown = Holdout.open(done.holdout)

        assert 6 == len(grown.golden)
        assert 8 == len(grown.recent)
        assert plain.due == grown.due == drawn + timedelta(weeks=13)


def test_another_model_serves(tmp_path):
    """A candidate is not compared with a model that somebody replaced meanwhile."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        drive(loop, local, signs, until=lambda s: s.move is Move.VALIDATE)
        loop._parts.backend._platform.replace("acme/line-3", "vision/model-v2")
        with pytest.raises(ConfigError, match="model-v2 serves acme/line-3 now"):
            loop.advance()

        assert Move.ABORTED is loop.abort("replaced by hand").move


def test_vendors_are_told(tmp_path):
    """Datadog, Grafana and PagerDuty show the change, with what it rests on."""
    key = "0" * 32
    with (
        LocalVendors() as vendors,
        DatadogSink(key, base_url=vendors.url) as datadog,
        PagerDutySink(key, events_url=vendors.url) as pagerduty,
        GrafanaSink(markers_url=vendors.url, markers_token="glsa_token") as grafana,
        small_retraining(tmp_path, sinks=[datadog, pagerduty, grafana]) as (local, loop, signs),
    ):
        loop.open(DECISION)
        done = drive(loop, local, signs, Callers(loop))
        told = [call for call in vendors.calls if done.candidate.encode() in call.body]

        assert "told 3 of 3 sinks" in done.notes[-1].said
        assert 3 == len(told)
        assert all(b"mAP candidate on recent" in call.body for call in told)


class Wall:
    """A sink that does not answer at first; one of a user's may raise whatever it likes."""

    def __init__(self, error, silent=0):
        self.error, self.silent, self.asked, self.seen = error, silent, 0, 0

    def mark(self, summary, *, at, deployment="", details=None):
        self.asked += 1
        if self.asked <= self.silent:
            raise self.error
        self.seen += 1
        return Receipt(sink="wall")


@pytest.mark.parametrize(
    ("error", "said"),
    [(DeliveryFailed("no reply"), "no reply"), (KeyError("glsa_secret"), "KeyError")],
)
def test_told_once(tmp_path, error, said):
    """A sink that answers is told once, whatever the others do; one that never does is given up."""
    quick, slow, dead = Wall(error), Wall(error, silent=2), Wall(error, silent=99)
    with small_retraining(tmp_path, sinks=[dead, slow, quick]) as (local, loop, signs):
        loop.open(DECISION)
        done = drive(loop, local, signs, Callers(loop))

        assert (1, 1, 0) == (quick.seen, slow.seen, dead.seen)
        assert 5 == dead.asked
        assert done.notes[-1].said.endswith(f"told 2 of 3 sinks; try 5 of 5: {said}")


def test_no_healthy_week(tmp_path):
    """The next decision ends the wait for a healthy week, and keeps the better model."""
    other = evolve(DECISION, at=START + timedelta(days=90))
    with small_retraining(tmp_path, baseline=lambda *_: None) as (local, loop, signs):
        loop.open(DECISION)
        waits = drive(loop, local, signs, Callers(loop), until=lambda s: s.move is Move.BASELINE)
        second = loop.open(other)
        first = loop.open(DECISION)

        assert Move.SAMPLE is second.move
        assert waits.candidate == second.incumbent == local.deployment("line-3").model
        assert Move.DONE is first.move
        assert "no reference was taken" in first.notes[-1].said


def test_nothing_sampled(tmp_path):
    """Without frames the loop waits, and says so."""
    with small_retraining(tmp_path, sample=tuple) as (_local, loop, _signs):
        loop.open(DECISION)
        status = loop.advance()

        assert "0 frames to learn from" in status.waits_for
        assert Move.SAMPLE is status.move


def test_no_old_frames(tmp_path):
    """A training on drifted frames alone is refused: it forgets."""
    with small_retraining(tmp_path) as (local, loop, signs):
        local.add_dataset("empty", class_names=["circle", "square", "triangle"])
        loop._parts.backend._dataset = "acme/empty"
        loop.open(DECISION)
        with pytest.raises(ConfigError, match="forgets"):
            drive(loop, local, signs, until=asking("money"))


def test_broken_part(tmp_path):
    """An error of a part changes nothing: the next call does the same again."""
    with small_retraining(tmp_path) as (local, loop, signs):
        loop.open(DECISION)
        before = drive(loop, local, signs, until=asking("money"))
        loop.approve("money", by="Ana")
        local.fault(400, on="training-start")
        with pytest.raises(RefusedInput, match="400"):
            loop.advance()
        started = loop.advance()

        assert before.id == started.id
        assert Move.TRAIN is started.move


@pytest.mark.parametrize("wrong", [{"baseline_days": 0}, {"patience": timedelta(0)}])
def test_refused(tmp_path, wrong):
    """A number that makes no sense is refused when the loop is made."""
    with pytest.raises(InputError), small_retraining(tmp_path, **wrong):
        pass
