"""What a retraining asks people for, and what it tells them when it does."""

from __future__ import annotations

from driftline.errors import ConfigError
from driftline.retrain._backend import DatasetVersion, TrainingRequest
from driftline.retrain._loop_parts import Ask, Parts
from driftline.retrain._loop_state import State
from driftline.retrain._review import ReviewBatch


def for_labels(parts: Parts, state: State) -> Ask | None:
    """People have to look at every frame, or to say that it is enough."""
    batch = ReviewBatch.open(parts.review(state))
    progress = batch.read().progress
    if progress.complete:
        return None
    said = f"{str(progress).splitlines()[0]}, in {batch.folder}; a yes ends the review as it is"
    return Ask(gate="review", name=parts.name, said=said)


def request_of(parts: Parts, state: State) -> TrainingRequest:
    """The training of this loop."""
    dataset = DatasetVersion(**state.facts["dataset"])
    return TrainingRequest(base=state.incumbent, dataset=dataset, args=parts.args)


def for_money(parts: Parts, state: State) -> Ask | None:
    """What it costs, and a second training after one that failed, are somebody's to approve."""
    request = request_of(parts, state)
    cost = parts.backend.cost(request)
    if cost is None and state.attempt == 1:
        return None
    what = f"train {request.base} for {request.args.epochs} epochs on {request.dataset}"
    again = f", attempt {state.attempt} after: {state.facts['ended']}" if state.attempt > 1 else ""
    price = "no money" if cost is None else cost.said
    most = None if cost is None else cost.most_cents
    return Ask(gate="money", name=parts.name, said=f"{what}{again}: {price}", most_cents=most)


def for_traffic(parts: Parts, state: State) -> Ask | None:
    """Traffic moves only with a yes, and only away from the model that was beaten."""
    if state.handing_over:
        return None
    require_incumbent(parts, state)
    ground = "; ".join(state.facts["promotion"]["reasons"])
    said = f"{state.candidate} to follow {state.incumbent}: {ground}"
    return Ask(gate="rollout", name=parts.name, said=said)


def require_incumbent(parts: Parts, state: State) -> None:
    """Refuse to compare with, or to displace, another model than the one it began with.

    Raises:
        ConfigError: another one serves.
    """
    if (serving := parts.serving()) != state.incumbent:
        msg = (
            f"{serving} serves {parts.name} now, and not {state.incumbent}, with which this "
            "retraining began: abort() it, or bring that model back"
        )
        raise ConfigError(msg)
