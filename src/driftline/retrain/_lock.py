"""The last step: what the new model sees in its first healthy days is the new normal."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import evolve

from driftline._files import placing_folder, writing
from driftline.errors import DeliveryRefused, DriftlineError
from driftline.holdout import Holdout, Provenance
from driftline.retrain._loop_frames import LoopFrame
from driftline.retrain._loop_parts import Answer, Done, MarkSink, Parts, Wait
from driftline.retrain._loop_state import Move, State

_log = logging.getLogger("driftline.retrain")

TRIES: Final = 5
"""Times that a sink which does not answer is told."""


def held(holdout: Holdout) -> frozenset[str]:
    """SHA-256 of every file of a holdout, 64 hex digits each."""
    digests = (one.image_sha256 or "" for one in holdout.manifest().frames.values())
    return frozenset(one.removeprefix("sha256:") for one in digests if one.startswith("sha256:"))


def take_baseline(parts: Parts, state: State) -> Answer:
    """Take the profile of the first healthy days as reference, and recent frames as holdout."""
    facts: dict[str, str] = {}
    said = ["no profile is kept as reference"]
    if parts.baseline is not None:
        days = timedelta(days=parts.baseline_days)
        end = parts.clock.now()
        start = max(datetime.fromisoformat(state.facts["serving_since"]), end - days)
        profile = parts.baseline(start, end) if end - start >= days else None
        if profile is None:
            return Wait(f"{parts.baseline_days} healthy days in a row of {state.candidate}")
        path = parts.folder / state.id / "reference.profile"
        path.parent.mkdir(parents=True, exist_ok=True)
        profile.write(path)
        facts["reference"] = str(path)
        said = [f"the profile of {start:%Y-%m-%d} to {end:%Y-%m-%d} is the reference"]
    trained = parts.backend.trained_on()
    fresh = [one for one in parts.frames(state) if one.drawn and one.digest not in trained]
    path = parts.folder / state.id / "holdout"
    _write(_grown(parts, fresh), path)
    facts["holdout"] = str(path / "data.yaml")
    said.append(f"{len(fresh)} reviewed frames joined the holdout")
    return Done(said="; ".join(said), facts=facts)


def _grown(parts: Parts, fresh: Sequence[LoopFrame]) -> Holdout:
    """The holdout with reviewed frames that were never trained on."""
    now = parts.clock.now()
    origin = {
        one.digest: Provenance(
            part="recent",
            source=parts.name,
            taken_at=one.at,
            added_at=now,
            probability=one.probability,
        )
        for one in fresh
    }
    # where nothing is locked all of it was the golden set, and must not become a recent sample
    old = parts.holdout if len(parts.holdout.golden) else parts.holdout.lock()
    return evolve(
        old,
        frames=(*old.frames, *(one.labelled(parts.pixels) for one in fresh)),
        provenance={**old.provenance, **origin},
    )


def _write(holdout: Holdout, path: Path) -> None:
    """Write it whole or not at all; what is there from an earlier try is the same."""
    if not path.exists():
        with writing(path, what="the holdout"), placing_folder(path) as part:
            holdout.write_yolo(part)


def announce(parts: Parts, state: State) -> Answer:
    """Tell one sink a call, each once; one that refuses, or stays silent, holds nothing up."""
    told: dict[str, str] = {**state.facts.get("told", {})}  # number → "", or why it was not told
    tries: dict[str, int] = {**state.facts.get("tries", {})}
    left = [f"{number}" for number in range(len(parts.sinks)) if f"{number}" not in told]
    if not left:
        return _announced(parts, state, [why for why in told.values() if why])
    number = min(left, key=lambda one: tries.get(one, 0))
    tries[number] = tries.get(number, 0) + 1
    try:
        _tell(parts.sinks[int(number)], parts, state)
    except DeliveryRefused as exc:
        told[number] = came = f"{exc}"
    except Exception as exc:  # noqa: BLE001 - border: a sink of the user's may raise anything
        _log.info("%s was not told", parts.name, exc_info=True)
        # what others write into an error may hold a key, and the record is kept
        why = f"{exc}" if isinstance(exc, DriftlineError) else type(exc).__name__
        came = f"try {tries[number]} of {TRIES}: {why}"
        if tries[number] >= TRIES:
            told[number] = came
    else:
        told[number], came = "", "told"
    said = f"sink {int(number) + 1} of {len(parts.sinks)}: {came}"
    return Done(said=said, facts={"told": told, "tries": tries}, to=Move.ANNOUNCE)


def _news(parts: Parts, state: State) -> str:
    return f"{state.candidate} follows {state.incumbent} on {parts.name}"


def _tell(sink: MarkSink, parts: Parts, state: State) -> None:
    scores = {
        f"mAP {role} on {name}": value
        for name, two in state.facts["scores"].items()
        for role, value in two.items()
        if value is not None
    }
    sink.mark(
        _news(parts, state),
        at=datetime.fromisoformat(state.facts["serving_since"]),
        deployment=parts.name,
        details={"decision": state.decision.trigger, **scores},
    )


def _announced(parts: Parts, state: State, failed: Sequence[str]) -> Done:
    count = len(parts.sinks)
    more = "".join(f"; {one}" for one in failed)
    said = f"{_news(parts, state)}; told {count - len(failed)} of {count} sinks{more}"
    return Done(said=said)
