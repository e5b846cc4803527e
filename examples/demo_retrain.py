"""A detector that no longer sees its world is retrained: really, on this machine, in minutes.

The world of ``demo.py`` again: a small YOLO answers on a LocalPlatform, three cameras send it
frames, time is simulated. Half of the objects turn hollow. The weekly run decides to retrain, and
a `RetrainLoop` carries it through, with a real training by ultralytics in a child process. The
reviewers are simulated: they know what was rendered.

Run it with ``python -m nox -s demo_retrain``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from attrs import define, field
from demo import (
    CAMERAS,
    FIRST_DAY,
    HEADER,
    REFERENCE_WEEKS,
    SERVED,
    USUAL_REQUESTS_A_MINUTE,
    WEIGHTS,
    Seen,
    Site,
    Week,
    look_back,
    show_week,
)

from driftline import Action, Decision, Detections, PlatformClient, Profile, ProfileBuilder
from driftline.holdout import Holdout
from driftline.platform import TrainArgs, encode_png
from driftline.profiles import FrameReservoir, SampledFrame
from driftline.retrain import (
    Guard,
    LocalBackend,
    LoopStatus,
    Move,
    RetrainLoop,
    Rollout,
    RolloutRouter,
    Selection,
    Stage,
)
from driftline.stores import SqlStore
from driftline.testing import CLASS_NAMES, Frame, LocalPlatform, OnnxDetector, Scenes, hollow
from driftline.testing import write_yolo as write_dataset

PRESENT = WEIGHTS.with_suffix(".pt")  # the model of today, to start from
MAIN, CANARY, CANDIDATE = "acme/line-3", "acme/line-3-next", "vision/model-after"
FRAMES_A_WEEK = 420
GOLDEN_FRAMES, OLD_FRAMES, NEW_FRAMES = 300, 300, 240
HOLLOW = hollow(0.5)
ARGS = TrainArgs(
    epochs=10,
    imgsz=128,
    batch=16,
    lr0=0.001,
    optimizer="AdamW",
    more={"nbs": 16, "mosaic": 0.0, "warmup_epochs": 0},  # small frames, few steps
)
STAGES = [Stage(share=share, dwell=timedelta(hours=12), frames=25) for share in (0.25, 0.5, 1.0)]
# A week of 420 frames shows no finer difference; boxes and confidence are meant to change.
GUARD = Guard(errors=0.15, slow=None, boxes=None, confidence=None, block=timedelta(0))
WEEK = timedelta(days=7)
EXPORT = (
    "import sys; from ultralytics import YOLO; YOLO(sys.argv[1]).export(format='onnx', imgsz=128)"
)
ORDINARY, DRIFTED = Week("an ordinary week"), Week("half of the objects are hollow", change=HOLLOW)


@define
class Line:
    """The site of ``demo.py`` with what a retraining needs: frames that are kept, and traffic."""

    site: Site
    folder: Path
    store: SqlStore
    reservoir: FrameReservoir = field(factory=lambda: FrameReservoir(uncertain=30, uniform=10))
    truth: dict[bytes, Detections] = field(factory=dict)
    healthy: Profile | None = None
    router: RolloutRouter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.router = RolloutRouter(self.store, MAIN, clock=self.site.local.clock)

    def keep(self, frame: Frame) -> bytes:
        """What the reservoir keeps of a frame; a simulated reviewer will know what is in it."""
        content = encode_png(frame.image)
        self.truth[content] = frame.truth
        return content

    def serve(self, week: Week, number: int) -> Iterator[ProfileBuilder]:
        """A week of frames through the router and the endpoints, an hour or so at a time."""
        start = FIRST_DAY + (number - 1) * WEEK
        frames = self.site.frames(week, number, labelled=False)
        builder: ProfileBuilder | None = None
        for k, frame in enumerate(islice(frames, FRAMES_A_WEEK)):
            self.site.until(start + (k + 0.5) * SERVED / FRAMES_A_WEEK)
            ask = partial(self.site.platform.predict, image=frame.image)
            prediction = self.router.run(f"{number}/{k}", ask)
            builder = builder or ProfileBuilder(context=prediction.context, frames=self.reservoir)
            builder.observe(
                prediction.detections,
                camera=frame.camera,
                at=self.site.now,
                frame=partial(self.keep, frame),
            )
            yield builder

    def whole_week(self, week: Week, number: int) -> Profile:
        *_, builder = self.serve(week, number)
        return builder.profile()


def watch(line: Line) -> tuple[Decision, int]:
    """Weeks as they come, until one of them ends in the decision to retrain."""
    weeks = [*[ORDINARY] * (REFERENCE_WEEKS + 1), *[DRIFTED] * 6]
    for number, week in enumerate(weeks, start=1):
        seen = look_back(line.site, week, number, line.whole_week(week, number), None)
        show_week(seen, week.story)
        if seen.decision is not None and seen.decision.action is Action.RETRAIN:
            return seen.decision, number
    sys.exit("the drift led to no retraining")


def begin(line: Line) -> LocalBackend:
    """What the team has: the dataset that the present model was trained on."""
    learn = Scenes(seed=1, cameras=tuple(f"learn-{i}" for i in range(200)))
    choose = Scenes(seed=2, cameras=tuple(f"choose-{i}" for i in range(50)))
    write_dataset(line.folder / "old", learn.frames(OLD_FRAMES), "train")
    write_dataset(line.folder / "old", choose.frames(60), "val")
    backend = LocalBackend(line.folder / "training")
    backend.begin(line.folder / "old" / "data.yaml")
    return backend


def export(weights: str, folder: Path) -> Path:
    """The weights as ONNX, so that the endpoint needs no torch."""
    copy = folder / Path(weights).name
    shutil.copyfile(weights, copy)
    own = {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    command = [sys.executable, "-c", EXPORT, str(copy)]
    subprocess.run(command, cwd=folder, env=os.environ | own, check=True, capture_output=True)  # noqa: S603 - our own command
    return copy.with_suffix(".onnx")


def put_together(line: Line) -> RetrainLoop:
    """The loop, with all that it asks and calls."""
    site = line.site

    def deploy(model: str) -> Rollout:
        if site.local.deployment("line-3-next").model != CANDIDATE:  # bring it to the canary, once
            site.local.add_model(CANDIDATE, OnnxDetector(export(model, line.folder)).predict)
            site.platform.replace(CANARY, CANDIDATE)
        return Rollout(
            site.platform,
            line.store,
            MAIN,
            canary=CANARY,
            candidate=CANDIDATE,
            stages=STAGES,
            guard=GUARD,
            auto_promote=True,
            clock=site.local.clock,
        )

    def sample() -> tuple[SampledFrame, ...]:
        pool = [*line.reservoir.uncertain(), *line.reservoir.uniform()]
        report = site.reports[-1]  # pyright takes attrs' converters for what the fields hold
        return Selection.of(pool, budget=NEW_FRAMES, drift=report).frames

    scenes = Scenes(seed=60 + site.seed, cameras=CAMERAS)
    return RetrainLoop(
        begin(line),
        line.store,
        MAIN,
        incumbent=str(PRESENT),
        sample=sample,
        holdout=Holdout.of(scenes.frames(GOLDEN_FRAMES), CLASS_NAMES).lock(),
        args=ARGS,
        deploy=deploy,
        folder=line.folder / "loop",
        baseline=lambda _start, _end: line.healthy,
        sinks=[],
        clock=site.local.clock,
    )


def review(line: Line, loop: RetrainLoop) -> None:
    """What people do: look at every frame, and correct what the model proposes."""
    batch = loop.review()
    for frame in batch.frames:
        batch.label(frame.id, line.truth[frame.image.read_bytes()])


def say_yes(line: Line, loop: RetrainLoop, status: LoopStatus) -> None:
    """What people do when the loop asks them."""
    assert status.asks is not None
    match status.asks.gate:
        case "review":
            review(line, loop)
        case "money":  # it costs nothing here, so that it is asked after a failure only
            sys.exit(str(status))
        case "rollout":
            print(f"          waits for: {status.waits_for}")
            loop.approve("rollout", by="the team")


def carry_through(line: Line, loop: RetrainLoop, decision: Decision, number: int) -> LoopStatus:
    """A scheduler that calls the loop, people who look and say yes, and traffic meanwhile."""
    traffic = line.serve(DRIFTED, number + 1)
    status = loop.open(decision)
    began = time.perf_counter()
    while not (status.over or status.move is Move.BASELINE):
        status = loop.advance()
        if status.did:
            print(f"  {time.perf_counter() - began:4.0f} s  {status.notes[-1].step} {status.did}")
        if status.asks is not None:
            say_yes(line, loop, status)
        elif status.move is Move.TRAIN:
            time.sleep(1)  # the training is real, and takes real time
        elif status.move is Move.ROLL_OUT:
            print(f"          {status.waits_for or status.did}")
            if not [*islice(traffic, 40)]:
                sys.exit("a week of traffic was too little for the rollout")
    for _ in traffic:  # the rest of the week
        pass
    line.healthy = line.whole_week(DRIFTED, number + 2)
    line.site.until(FIRST_DAY + (number + 2) * WEEK)
    while not status.over:
        status = loop.advance()
    return status


def next_week(line: Line, status: LoopStatus, number: int) -> Seen:
    """The weekly run again, against the new reference."""
    assert status.reference is not None
    line.site.reference = Profile.read(status.reference)
    line.site.reports.clear()
    line.site.evaluations.clear()  # scores of another model
    return look_back(line.site, DRIFTED, number, line.whole_week(DRIFTED, number), None)


def live(line: Line) -> None:
    """The whole story."""
    print(HEADER)
    decision, number = watch(line)
    print(f"\nWeek {number}: {decision.trigger}")
    loop = put_together(line)
    status = carry_through(line, loop, decision, number)
    print(f"\n{status}\n")
    if status.move is not Move.DONE:
        sys.exit(f"the loop ended {status.move}")
    print(HEADER)
    show_week(
        next_week(line, status, number + 3), "half of the objects are hollow, as is usual now"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description="A detector is retrained, on this machine.")
    arguments.add_argument("--seed", type=int, default=0, help="of the world (default 0)")
    chosen = arguments.parse_args()
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="demo-retrain-") as folder,
        SqlStore(f"sqlite:///{folder}/driftline.db") as store,
        LocalPlatform(
            start=FIRST_DAY,
            deployments=["line-3", "line-3-next"],
            detector=OnnxDetector(WEIGHTS).predict,
            seed=chosen.seed,
        ) as local,
        PlatformClient(local.api_key, local.url, clock=local.clock) as platform,
    ):
        deployment = local.deployment("line-3")
        deployment.behave(requests_per_minute=USUAL_REQUESTS_A_MINUTE)
        live(Line(Site(local, platform, chosen.seed, deployment), Path(folder), store))
    print(f"\nall of it in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
