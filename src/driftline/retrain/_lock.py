"""The last step: what the new model sees in its first healthy days is the new normal."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from attrs import evolve

from driftline.errors import DeliveryRefused
from driftline.holdout import Holdout, Provenance
from driftline.retrain._loop_frames import LoopFrame
from driftline.retrain._loop_parts import Answer, Done, Parts, Wait
from driftline.retrain._loop_state import State


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
    if path.exists():
        return
    part = path.with_name(f"holdout-{uuid.uuid4().hex}.part")
    try:
        holdout.write_yolo(part)
        part.replace(path)
    except OSError:
        if not path.exists():  # else another call was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def announce(parts: Parts, state: State) -> Answer:
    """Tell the sinks; one that refuses for good does not hold the loop up."""
    said = f"{state.candidate} follows {state.incumbent} on {parts.name}"
    at = datetime.fromisoformat(state.facts["serving_since"])
    scores = {
        f"mAP {role} on {name}": value
        for name, two in state.facts["scores"].items()
        for role, value in two.items()
        if value is not None
    }
    details = {"decision": state.decision.trigger, **scores}
    refused = []
    for sink in parts.sinks:
        try:
            sink.mark(said, at=at, deployment=parts.name, details=details)
        except DeliveryRefused as exc:
            refused.append(str(exc))
    more = "".join(f"; {one}" for one in refused)
    return Done(
        said=f"{said}; told {len(parts.sinks) - len(refused)} of {len(parts.sinks)} sinks{more}"
    )
