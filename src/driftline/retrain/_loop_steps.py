"""What each move of a retraining does: one function a move.

Every function may be killed anywhere and called again: what it made is found by the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import asdict, evolve

from driftline.errors import ConfigError
from driftline.holdout import Evaluation, LabelledFrame
from driftline.records import Detections
from driftline.retrain import _lock
from driftline.retrain._backend import TrainingRun, TrainingStatus
from driftline.retrain._loop_asks import request_of, require_incumbent
from driftline.retrain._loop_detect import Found, NotYet, score, show
from driftline.retrain._loop_frames import LoopFrame, keep
from driftline.retrain._loop_parts import PROPOSE_ABOVE, Answer, Done, Parts, Wait
from driftline.retrain._loop_state import Move, State
from driftline.retrain._review import ReviewBatch, ReviewFrame
from driftline.retrain._stages import Phase

Frames = Sequence[LoopFrame]
ROLES: Final = ("incumbent", "candidate")


# --- 2 sample ---------------------------------------------------------------------------------


def sample(parts: Parts, _state: State) -> Answer:
    """Keep frames; none that was trained on is evaluated on, none of the holdout is trained on."""
    trained, held = parts.backend.trained_on(), _lock.held(parts.holdout)
    if leaked := _lock.held(parts.golden) & trained:
        msg = (
            f"{len(leaked)} of {len(parts.golden)} golden frames are in the dataset, such as "
            f"{min(leaked)}: no score on them is one; take them out of the one or the other"
        )
        raise ConfigError(msg)
    kept, broken = keep(parts.sample(), parts.pixels, read=parts.read)
    shown = held | parts.book.drawn_before(parts.class_names)  # learned from, they prove nothing
    fresh = [one for one in kept if one.digest not in (held | trained if one.drawn else shown)]
    chosen, drawn = _counts(fresh)
    known = len(kept) - len(fresh)
    more = f"; {known} left out, known from training or holdout" if known else ""
    more += f"; {broken} left out, gone or no whole picture" if broken else ""
    if not chosen or not drawn:
        said = f"{chosen} frames to learn from and {drawn} to evaluate on were sampled"
        return Wait(said + more)
    said = f"{chosen} frames to learn from, {drawn} drawn at random to evaluate on"
    return Done(said=said + more, frames=tuple(fresh))


def _counts(frames: Frames) -> tuple[int, int]:
    drawn = sum(one.drawn for one in frames)
    return len(frames) - drawn, drawn


# --- 3 annotate -------------------------------------------------------------------------------


def annotate(parts: Parts, state: State) -> Answer:
    """Let the previous best model propose labels, and hand them to people."""
    detector = parts.backend.detector(state.incumbent)
    if detector is None:
        return Wait(f"{state.incumbent} is being brought up")
    frames = parts.frames(state)
    found = show(
        detector,
        _labelled(parts, frames),
        parts.class_names,
        file=parts.folder / state.id / "proposals.jsonl",
        clock=parts.clock,
        patience=parts.patience,
    )
    if isinstance(found, NotYet):
        return Wait(str(found))
    proposed = [
        ReviewFrame(
            image=parts.pixels / frame.file,
            proposal=_sure(one),
            camera=frame.camera,
            at=frame.at,
            score=frame.score,
            probability=frame.probability,
            id=frame.digest,
        )
        for frame, one in zip(frames, found.detections, strict=True)
    ]
    batch = ReviewBatch.write(parts.review(state), proposed, parts.class_names)
    boxes = sum(len(frame.proposal) for frame in proposed)
    said = f"{state.incumbent} proposed {boxes} boxes in {len(batch)} frames, in {batch.folder}"
    return Done(said=said)


def _sure(found: Detections) -> Detections:
    sure = found.confidence >= PROPOSE_ABOVE
    return evolve(
        found,
        xyxy=found.xyxy[sure],
        confidence=found.confidence[sure],
        class_id=found.class_id[sure],
    )


def _labelled(parts: Parts, frames: Frames) -> list[LabelledFrame]:
    return [frame.labelled(parts.pixels) for frame in frames]


def take_review(parts: Parts, state: State) -> Answer:
    """Take the labels as people left them; frames that nobody looked at are left out."""
    review = ReviewBatch.open(parts.review(state)).read()
    progress = review.progress
    labels = {one.id: one.truth for one in (*review.chosen, *review.random)}
    if not review.chosen or progress.random_reviewed < progress.random_of:
        at_random = f"{progress.random_reviewed} of {progress.random_of} random frames"
        return Wait(
            f"{at_random} and {len(review.chosen)} chosen ones are reviewed: it takes all random ones"
        )
    reviewed = tuple(
        evolve(one, truth=labels[one.digest]) for one in parts.frames(state) if one.digest in labels
    )
    boxes = sum(len(one.truth) for one in reviewed)
    yes = state.approved.get("review")
    by = "people, every frame" if yes is None else yes.by
    said = f"{len(reviewed)} frames with {boxes} boxes reviewed, by {by}; {progress.edits}"
    return Done(said=said, frames=reviewed, facts={"review": progress.to_dict()})


# --- 4 retrain --------------------------------------------------------------------------------


def freeze(parts: Parts, state: State) -> Answer:
    """Add the reviewed frames to the dataset, old frames staying in it, and freeze a version."""
    chosen = [one for one in parts.frames(state) if not one.drawn]
    val = [one for one in chosen if one.split == "val"]
    train = [one for one in chosen if one.split == "train"]
    version = parts.backend.dataset_version(
        state.id,
        train=_labelled(parts, train),
        val=_labelled(parts, val),
        class_names=parts.class_names,
    )
    if version is None:
        return Wait("the dataset is being processed")
    if not version.replayed:
        msg = (
            f"{version} has no old frames to replay, and a model trained on drifted frames alone "
            "forgets the rest; put the frames that the incumbent was trained on into it"
        )
        raise ConfigError(msg)
    return Done(said=str(version), facts={"dataset": asdict(version)})


def start(parts: Parts, state: State) -> Answer:
    """Start the training, once."""
    run = parts.backend.train(state.key, request_of(parts, state))
    args = parts.args
    recipe = f"{args.epochs} epochs, {args.optimizer}, lr0={args.lr0}"
    said = f"training of {run.ref} from {state.incumbent} started: {recipe}. {run.said}".strip()
    return Done(said=said, facts={"run": run.to_dict()})


def train(parts: Parts, state: State) -> Answer:
    """Look how far the training is."""
    progress = parts.backend.progress(TrainingRun(**state.facts["run"]))
    if progress.status is TrainingStatus.RUNNING:
        return Wait(str(progress))
    if progress.status is TrainingStatus.FINISHED:
        candidate = parts.backend.keep(progress.model)
        return Done(said=f"{candidate} was trained", facts={"candidate": candidate})
    # Frozen anew: it may have ended because the dataset is another than the one that was frozen.
    return Done(
        said=f"the training ended: {progress}", to=Move.FREEZE, facts={"ended": str(progress)}
    )


# --- 5 validate -------------------------------------------------------------------------------


def validate(parts: Parts, state: State) -> Answer:
    """Score candidate and incumbent on golden and recent frames, and hold them to the rule."""
    require_incumbent(parts, state)
    sets: dict[str, Sequence[LabelledFrame]] = {
        "golden": parts.golden.frames,
        "recent": _labelled(parts, [one for one in parts.frames(state) if one.drawn]),
    }
    answers: dict[tuple[str, str], Found] = {}
    for role, model in zip(ROLES, (state.incumbent, state.candidate), strict=True):
        detector = parts.backend.detector(model)
        if detector is None:
            return Wait(f"{model} is being brought up")
        for name, shown in sets.items():
            found = show(
                detector,
                shown,
                parts.class_names,
                file=parts.folder / state.id / f"{role}-{name}-{state.attempt}.jsonl",
                clock=parts.clock,
                patience=parts.patience,
            )
            if isinstance(found, NotYet):
                return Wait(f"{role} on {name} frames: {found}")
            answers[name, role] = found
    trained = parts.backend.trained_on()  # by now others may have added what was evaluated on
    fresh = [index for index, one in enumerate(sets["recent"]) if one.id not in trained]
    if not fresh or _lock.held(parts.golden) & trained:
        reason = "the golden frames, or all recent ones, are in the dataset: nothing can be proven"
        return Done(said=reason, to=Move.REFUSED, reasons=(reason,))
    left_out = len(sets["recent"]) - len(fresh)
    sets["recent"] = [sets["recent"][index] for index in fresh]
    for role in ROLES:
        all_found = answers["recent", role]
        kept = tuple(all_found.detections[index] for index in fresh)
        answers["recent", role] = evolve(all_found, detections=kept)
    scores = {
        name: {
            role: score(
                shown, answers[name, role], parts.class_names, replicates=parts.rule.replicates
            )
            for role in ROLES
        }
        for name, shown in sets.items()
    }
    judged = _judged(parts, scores)
    more = f"; {left_out} recent frames left out, trained on meanwhile" if left_out else ""
    return evolve(judged, said=judged.said + more)


def _judged(parts: Parts, scores: Mapping[str, Mapping[str, Evaluation]]) -> Done:
    compared = {
        # a candidate may be meant for another size of image: each is scored as it would serve
        name: two["candidate"].compare(
            two["incumbent"], replicates=parts.rule.replicates, allow=("imgsz",)
        )
        for name, two in scores.items()
    }
    promotion = parts.rule.judge(golden=compared["golden"], recent=compared["recent"])
    facts = {
        "scores": {
            name: {role: one.map for role, one in two.items()} for name, two in scores.items()
        },
        "promotion": promotion.to_dict(),
    }
    to = None if promotion.promote else Move.REFUSED
    reasons = () if promotion.promote else promotion.reasons
    return Done(said=str(promotion), facts=facts, to=to, reasons=reasons)


# --- 6 deploy ---------------------------------------------------------------------------------


def roll_out(parts: Parts, state: State) -> Answer:
    """Hand over at once, or take the rollout as far as it goes now."""
    now = parts.clock.now().isoformat()
    if not state.handing_over:  # written before it is done, so that a stop knows what to undo
        require_incumbent(parts, state)
        said = f"the handover to {state.candidate} begins"
        return Done(said=said, facts={"handover": now}, to=Move.ROLL_OUT)
    rollout = parts.deploy(state.candidate)
    if rollout is None:
        said = f"{state.candidate} was handed over"
        return Done(said=said, facts={"serving_since": now})
    status = rollout.advance(wait=False)
    if status.phase is Phase.PROMOTED:
        return Done(said=status.reason, facts={"serving_since": now})
    if status.phase is Phase.ROLLED_BACK:
        said = f"the rollout went back: {status.reason}"
        return Done(said=said, to=Move.ROLLED_BACK, reasons=(status.reason,))
    note = f"; {status.note}" if status.note else ""
    return Wait(f"{status.phase}, {status.share:.0%} of the keys: {status.reason}{note}")


def stop(parts: Parts, state: State) -> Answer:
    """Bring traffic back where a handover began; before that, stop the training."""
    if state.handing_over:  # the training is over then, and traffic does not wait for it
        return _go_back(parts, state)
    parts.backend.cancel(state.key)
    said = f"stopped; {state.incumbent} serves as before"
    return Done(said=said, to=Move.ABORTED, reasons=state.reasons)


def _go_back(parts: Parts, state: State) -> Answer:
    """To the incumbent: the candidate is never asked for again, it may be what does not load."""
    rollout = parts.deploy(state.incumbent)
    if rollout is None:
        said = f"{state.incumbent} was handed over again"
        return Done(said=said, to=Move.ROLLED_BACK, reasons=state.reasons)
    try:
        status = rollout.status()
    except ConfigError:  # none has begun, or it was forgotten
        return _nothing_to_undo(parts, state)
    if status.candidate != state.candidate:
        return _nothing_to_undo(parts, state)
    status = rollout.roll_back("; ".join(state.reasons), wait=False)
    if status.phase is not Phase.ROLLED_BACK:
        return Wait(f"{status.phase}: {status.note or status.reason}")
    return Done(said=status.reason, to=Move.ROLLED_BACK, reasons=state.reasons)


def _nothing_to_undo(parts: Parts, state: State) -> Answer:
    """No rollout of the candidate is known; what serves is looked at, not guessed."""
    serving = parts.serving()
    if serving == state.candidate:
        return Wait(
            f"{serving} serves, and no rollout of it is known that could go back: replace it with "
            f"{state.incumbent} by hand"
        )
    known = "" if isinstance(parts.incumbent, str) else f"; {serving} serves"
    said = f"no rollout of {state.candidate} is there to go back{known}"
    return Done(said=said, to=Move.ABORTED, reasons=state.reasons)
