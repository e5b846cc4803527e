"""``/api/training`` and the training of a model: simulated time, real credits of a play account."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from driftline.testing._platform._body import choice_of, json_of, known_only, number_of, text_of
from driftline.testing._platform._datasets import LocalDataset, LocalImage, LocalVersion
from driftline.testing._platform._models import ModelRecord, model_at, model_of, record_of
from driftline.testing._platform._router import Refused, Request, Response, Route
from driftline.testing._platform._time import SECOND, iso
from driftline.testing._platform._workspace import TrainedModel, error_of

if TYPE_CHECKING:
    from driftline.testing._platform._world import Detector, World

PRICES: Final[Mapping[str, tuple[float, int]]] = {
    "rtx-2000-ada": (0.24, 16),
    "rtx-a5000": (0.29, 24),
    "l4": (0.49, 24),
    "rtx-3090": (0.46, 24),
    "rtx-4090": (0.69, 24),
    "a100-80gb-sxm": (1.89, 80),
    "h100-sxm": (3.29, 80),
}
"""Price an hour and memory, GiB: invented; others cost as an rtx-4090."""
OPTIMIZERS: Final = (
    "auto",
    "SGD",
    "MuSGD",
    "Adam",
    "AdamW",
    "NAdam",
    "RAdam",
    "RMSProp",
    "Adamax",
)
RESERVED_HOURS: Final = 0.25
"""Credits for 15 minutes must be there before a training starts."""
STARTING_SECONDS: Final = 5.0
"""How long a machine takes to come up, simulated."""
_HOUR_SECONDS: Final = 3600


@frozen(kw_only=True)
class TrainingData:
    """What a trainer learns from: the dataset as it was when the training was started.

    Attributes:
        dataset: ``"owner/dataset"``.
        images: its images with their labels; `LocalImage.array` and `LocalImage.truth`.
        class_names: names of its classes.
    """

    dataset: str
    images: tuple[LocalImage, ...]
    class_names: tuple[str, ...]

    def of(self, split: str) -> tuple[LocalImage, ...]:
        """The images of one split."""
        return tuple(image for image in self.images if image.split == split)

    def write(self, folder: str | Path) -> Path:
        """Write it as a YOLO dataset; answers the path of its ``data.yaml``."""
        root = Path(folder)
        for image in self.images:
            for kind in ("images", "labels"):
                (root / kind / image.split).mkdir(parents=True, exist_ok=True)
            (root / "images" / image.split / f"{image.id}.jpg").write_bytes(image.content)
            lines = [
                " ".join(map(str, [label["classId"], *label["bbox"]]))
                for label in image.labels
                if "bbox" in label
            ]
            text = "".join(f"{line}\n" for line in lines)
            (root / "labels" / image.split / f"{image.id}.txt").write_text(text, encoding="utf-8")
        splits = sorted({image.split for image in self.images})
        rows = [f"{split}: images/{split}" for split in splits]
        rows += ["names:", *(f"  {index}: {name}" for index, name in enumerate(self.class_names))]
        path = root / "data.yaml"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path


def same_detector(_data: TrainingData, base: Detector, _args: Mapping[str, Any]) -> Detector:
    """The trainer unless told otherwise: it learns nothing, and takes its time over it."""
    return base


@define(kw_only=True)
class Job:
    """One training."""

    id: str
    model: str
    args: Mapping[str, Any]
    data: TrainingData
    base: Detector
    gpu: str
    version: LocalVersion | None
    epoch_seconds: float
    begun: float
    begun_us: int
    failure: tuple[str, int] | None
    ended: str | None = None
    ended_seconds: float | None = None
    error: dict[str, object] | None = field(default=None)
    metrics: Mapping[str, float] = field(factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs it was started with."""
        return int(self.args["epochs"])

    @property
    def seconds(self) -> float:
        """How long it takes: to its end, or to where it breaks."""
        epochs = self.epochs if self.failure is None else min(self.failure[1], self.epochs)
        return STARTING_SECONDS + epochs * self.epoch_seconds

    @property
    def status(self) -> str:
        """Where it stood when it was last looked at."""
        return self.ended or self._stage

    _stage: str = "starting"

    def look(self, now: float) -> None:
        """Note where it stands."""
        self._stage = "starting" if now - self.begun < STARTING_SECONDS else "running"

    def elapsed(self, now: float) -> float:
        """Seconds since it began, or that it took."""
        return now - self.begun if self.ended_seconds is None else self.ended_seconds

    def epoch(self, now: float) -> int:
        """Epochs done."""
        done = (self.elapsed(now) - STARTING_SECONDS) / self.epoch_seconds
        return max(0, min(self.epochs, math.floor(done + 1e-9)))

    def end(self, status: str, now: float) -> None:
        """Come to an end."""
        self.ended, self.ended_seconds = status, now - self.begun

    def cents(self, now: float) -> float:
        """What it has cost."""
        return price_of(self.gpu)[0] * 100 * self.elapsed(now) / _HOUR_SECONDS

    def model_fields(self) -> dict[str, Any]:
        """What the record of its model says of it."""
        row: dict[str, Any] = {
            "epochs": self.epochs,
            "trainArgs": dict(self.args),
            "startedAt": iso(self.begun_us),
        }
        if self.version is not None:
            version = {
                "version": self.version.number,
                "contentHash": self.version.content_hash,
            }
            row["datasetVersion"] = version
        if self.ended_seconds is not None:
            row["completedAt"] = self._ended_at()
        if self.error is not None:
            row["trainingError"] = self.error
        return row

    def _ended_at(self) -> str:
        return iso(self.begun_us + round((self.ended_seconds or 0) * SECOND))

    def wire(self, now: float, now_us: int) -> dict[str, Any]:
        """As the contract writes it."""
        epoch, elapsed = self.epoch(now), self.elapsed(now)
        left = 0.0 if self.ended else STARTING_SECONDS + self.epochs * self.epoch_seconds - elapsed
        progress: dict[str, Any] = {
            "currentEpoch": epoch,
            "totalEpochs": self.epochs,
            "startedAt": iso(self.begun_us),
            "percentage": round(100 * epoch / self.epochs, 2),
        }
        if self.ended_seconds is not None:
            progress["completedAt"] = self._ended_at()
        args = {name: self.args[name] for name in _SHOWN if name in self.args}
        return {
            "id": self.id,
            "status": self.status,
            "progress": progress,
            "timing": {
                "elapsedMs": round(elapsed * 1000),
                "timePerEpochMs": round(self.epoch_seconds * 1000),
                "etaMs": max(0, round(left * 1000)),
            },
            "compute": {
                "gpuType": self.gpu,
                "gpuDisplayName": self.gpu.upper(),
                "gpuMemoryGb": price_of(self.gpu)[1],
            },
            "trainArgs": args,
            "epochMetrics": dict(self.metrics) or None,
            "error": self.error,
            "createdAt": iso(self.begun_us),
            "updatedAt": iso(now_us),
        }


_SHOWN: Final = ("model", "epochs", "batch", "imgsz")


def price_of(gpu: str) -> tuple[float, int]:
    """Price an hour and memory, GiB."""
    return PRICES.get(gpu, PRICES["rtx-4090"])


def settle(world: World, record: ModelRecord) -> None:
    """Let a training that is due end: well, or as it was told to."""
    job = record.job
    if job is None or job.ended is not None:
        return
    now = world.stopwatch.seconds()
    job.look(now)
    if now - job.begun < job.seconds:
        return
    due = job.begun + job.seconds
    if job.failure is not None:
        _fail(world, record, job, job.failure[0], due)
        return
    try:
        made = world.workspace.trainer(job.data, job.base, job.args)
    except Exception as exc:  # noqa: BLE001 - the trainer is the user's: its fault is the training's
        _fail(world, record, job, f"{type(exc).__name__}: {exc}", due)
        return
    trained = made if isinstance(made, TrainedModel) else TrainedModel(detector=made)
    job.end("completed", due)
    job.metrics = record.metrics = trained.metrics
    record.class_names = job.data.class_names
    record.weights = trained.weights or f"local weights of {record.reference}".encode()
    record.updated_us = world.now_us()
    world.models[record.reference] = trained.detector
    world.workspace.credits_cents -= job.cents(due)


def _fail(world: World, record: ModelRecord, job: Job, message: str, due: float) -> None:
    job.end("failed", due)
    job.error = error_of(message, world.now_us())
    record.updated_us = world.now_us()
    world.workspace.credits_cents -= job.cents(due)


_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "lr0": (0.0001, 0.1),
    "epochs": (1, 10_000),
    "batch": (-1, 512),
    "imgsz": (32, 4096),
    "patience": (1, 1000),
    "seed": (0, 2**31 - 1),
    "freeze": (0, 100),
}


def _checked_args(body: Mapping[str, Any]) -> dict[str, Any]:
    args = body.get("trainArgs")
    if not isinstance(args, dict):
        raise Refused(400, "Invalid training configuration: trainArgs is missing")
    for name in ("model", "data"):
        text_of(args, name, longest=256)
    if not isinstance(args.get("epochs"), int):
        raise Refused(400, "Invalid training configuration: epochs is missing")
    for name, (low, high) in _RANGES.items():
        number_of(args, name, low=low, high=high, default=None)
    choice_of(args, "optimizer", OPTIMIZERS)
    return args


def _start(world: World, request: Request) -> Response:
    body = json_of(request)
    known_only(body, {"modelId", "gpuType", "captureDatasetVersion", "trainArgs"})
    args = _checked_args(body)
    gpu = text_of(body, "gpuType", longest=50, default="rtx-4090")
    ident = text_of(body, "modelId", longest=128)
    with world.lock:
        found = [r for r in (record_of(world, name) for name in _names(world)) if r]
        record = next((one for one in found if one.id == ident), None)
        if record is None:
            raise Refused(404, "Model not found")
        if record.job is not None and record.job.ended is None:
            raise Refused(409, "Training already active")
        dataset = _dataset_of(world, args["data"])
        base = _base_of(world, args["model"])
        estimate = _estimate_cents(world, gpu, args["epochs"])
        price, memory = price_of(gpu)
        if world.workspace.credits_cents < price * 100 * RESERVED_HOURS:
            raise Refused(402, "Insufficient credits")
        capture = body.get("captureDatasetVersion") is True
        record.job = _job(world, record, dataset, args, base=base, gpu=gpu, capture=capture)
        record.weights, record.metrics = None, {}  # a training clears the run before it
        balance = world.workspace.credits_cents
    return Response(
        body={
            "modelId": ident,
            "status": "starting",
            "gpuType": gpu,
            "estimatedCost": {"pricePerHour": price, "gpuMemoryGb": memory},
            "billing": {
                "estimatedCostCents": round(estimate, 2),
                "estimatedCostDisplay": f"${estimate / 100:.2f}",
                "balanceCents": round(balance, 2),
            },
        }
    )


def _names(world: World) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*world.models, *world.workspace.records)))


def _dataset_of(world: World, uri: str) -> LocalDataset:
    owner, _, slug = uri.removeprefix("ul://").partition("/datasets/")
    dataset = world.workspace.datasets.get(slug)
    if not uri.startswith("ul://") or owner != world.owner or dataset is None:
        raise Refused(404, "Dataset not found")
    if dataset.status != "ready" or not any(image.split == "train" for image in dataset.images):
        raise Refused(400, "Invalid training configuration: the dataset has no training images")
    return dataset


def _base_of(world: World, base: str) -> Detector:
    if base.startswith("ul://"):
        return world.detector(model_of(world, base))
    if not base.endswith((".pt", ".yaml", ".yml")):
        raise Refused(400, f"Invalid training configuration: model {base}")
    return world.detector("")  # official weights: whatever the platform detects with


def _estimate_cents(world: World, gpu: str, epochs: int) -> float:
    seconds = STARTING_SECONDS + epochs * world.workspace.epoch_seconds
    return price_of(gpu)[0] * 100 * seconds / _HOUR_SECONDS


def _job(
    world: World,
    record: ModelRecord,
    dataset: LocalDataset,
    args: Mapping[str, Any],
    *,
    base: Detector,
    gpu: str,
    capture: bool,
) -> Job:
    work = world.workspace
    failure, work.break_training = work.break_training, None
    version = dataset.freeze("Captured for training", world.now_us())[0] if capture else None
    return Job(
        id=work.new_id("training"),
        model=record.reference,
        args=dict(args),
        data=TrainingData(
            dataset=f"{world.owner}/{dataset.slug}",
            images=dataset.images,
            class_names=dataset.class_names,
        ),
        base=base,
        gpu=gpu,
        version=version,
        epoch_seconds=work.epoch_seconds,
        begun=world.stopwatch.seconds(),
        begun_us=world.now_us(),
        failure=failure,
    )


def _progress(world: World, request: Request) -> Response:
    with world.lock:
        job = model_at(world, request).job
        wire = None if job is None else job.wire(world.stopwatch.seconds(), world.now_us())
    return Response(body={"job": wire})


def _cancel(world: World, request: Request) -> Response:
    with world.lock:
        record = model_at(world, request)
        if record.job is None or record.job.ended is not None:
            raise Refused(409, "Training is no longer active")
        now = world.stopwatch.seconds()
        record.job.end("cancelled", now)
        world.workspace.credits_cents -= record.job.cents(now)
    return Response(body={"success": True, "status": "cancelled"})


_TRAINING: Final = "/api/models/{owner}/{project}/{model}/training"
ROUTES: Final = (
    Route("POST", "/api/training/start", _start, "training-start", category="training"),
    Route("GET", _TRAINING, _progress, "training"),
    Route("DELETE", _TRAINING, _cancel, "training-cancel", category="training"),
)
