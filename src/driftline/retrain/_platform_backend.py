"""The Platform as the place where a retraining keeps its dataset and trains its models."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Final, get_args

import numpy as np

from driftline._checks import part, refuse_no_text, refuse_number, refuse_other
from driftline.errors import (
    ConfigError,
    Conflict,
    ContextMismatch,
    InputError,
    NotFound,
    StoreConflict,
    TransitionFailed,
    UnreadableData,
)
from driftline.holdout import LabelledFrame
from driftline.holdout._dataset import label_lines
from driftline.holdout._yolo_format import yaml_text
from driftline.platform import (
    Dataset,
    DatasetImage,
    DatasetStatus,
    Deployment,
    DeploymentStatus,
    Gpu,
    Label,
    Model,
    ModelStatus,
    PlatformClient,
    Split,
)
from driftline.records import Document, Put, Store
from driftline.retrain._backend import (
    Cost,
    DatasetVersion,
    Detector,
    TrainingProgress,
    TrainingRequest,
    TrainingRun,
    TrainingStatus,
)
from driftline.retrain._stages import State
from driftline.retrain._worker import SPACE as ROLLOUTS

SHA256_DIGITS: Final = 64
ARCHIVE_BYTES: Final = 2**28
"""More pictures go in several archives, which are held in memory one at a time."""
INGEST_PATIENCE: Final = timedelta(seconds=30)
"""How long a call waits for an upload to be processed; the next one goes on."""
EPOCH_OF_ZIP: Final = (1980, 1, 1, 0, 0, 0)
UPLOADS: Final = "retrain/upload"
"""Space of the archives that were sent, by key and digest."""
TRAININGS: Final = "retrain/training"
"""Space of the trainings that were asked for, by model; those within the budget with an estimate."""

_ROUNDED: Final = 2e-5
_SHOWN: Final = 5


class PlatformBackend:
    """Ultralytics Platform: one dataset that grows, a model for each training, a canary to score.

    New frames join the dataset that the incumbent was trained on, so that its old frames are
    replayed. The candidate is scored by the canary deployment, which serves nobody; the incumbent
    by whichever of the two deployments serves it.
    """

    def __init__(
        self,
        platform: PlatformClient,
        store: Store,
        *,
        dataset: str,
        project: str,
        deployment: str,
        canary: str,
        budget_cents: float,
        gpu: Gpu = "rtx-4090",
        direct: bool = False,
    ) -> None:
        """Keep what to use; nothing is asked yet.

        Args:
            platform: the client.
            store: the one that keeps your rollouts: while one of them uses the canary, nothing
                else is brought there. Trainings within the budget are remembered in it too.
            dataset: ``"owner/dataset"`` that the incumbent was trained on.
            project: project in which a model is made for each training.
            deployment: ``"owner/deployment"`` that serves.
            canary: a second deployment, which serves nobody outside a `Rollout`.
            budget_cents: a training whose estimate is higher is cancelled: the Platform tells its
                estimate only with the answer to a start. So is one whose answer was lost.
            gpu: what trainings run on.
            direct: ask deployments at their own addresses: without it 20 frames a minute.

        Raises:
            InputError: the two deployments are one, or the budget is none.
        """
        names = {"dataset": dataset, "project": project, "deployment": deployment, "canary": canary}
        for name, value in names.items():
            refuse_no_text(name, value)
        if deployment == canary:
            msg = f"deployment={deployment!r} and canary={canary!r} must be two"
            raise InputError(msg)
        part(platform, PlatformClient, name="platform", what="a driftline.PlatformClient(…)")
        part(store, Store, name="store", what='a store, such as SqlStore("sqlite:///driftline.db")')
        refuse_number("budget_cents", budget_cents, "cents, above 0", above=0)
        refuse_other("gpu", gpu, get_args(Gpu))
        part(direct, bool, name="direct", what="True or False")
        self._platform, self._store = platform, store
        self._dataset, self._project = dataset, project
        self._deployment, self._canary = deployment, canary
        self._gpu: Gpu = gpu
        self._budget_cents, self._direct = budget_cents, direct

    def incumbent(self) -> str:
        """The model that the deployment serves: ``"project/model"``.

        Raises:
            InputError: it was deleted.
        """
        found = self._platform.deployment(self._deployment)
        if found.model_ref is None:
            msg = f"the model of {found.ref} was deleted: there is nothing to start from"
            raise InputError(msg)
        return found.model_ref

    # --- the dataset --------------------------------------------------------------------------

    def trained_on(self) -> frozenset[str]:
        """Digests of the pictures that came from here; the Platform re-encodes all others."""
        return frozenset(name for name in self._names() if len(name) == SHA256_DIGITS)

    def _names(self) -> Iterator[str]:
        images = self._platform.datasets.images(self._dataset, with_labels=False, page_size=5000)
        return (Path(image.name).stem for image in images)

    def dataset_version(
        self,
        key: str,
        *,
        train: Sequence[LabelledFrame],
        val: Sequence[LabelledFrame],
        class_names: Mapping[int, str],
    ) -> DatasetVersion | None:
        """Upload what is missing, an archive a call, then freeze.

        Frames that are there get the labels they have now.

        Raises:
            ContextMismatch: the classes are others than those of the dataset.
            UnreadableData: the Platform took none of the pictures of an archive.
        """
        dataset = self._platform.datasets.get(self._dataset)
        if dataset.status is DatasetStatus.PROCESSING:
            return None
        _require_same_classes(dataset, class_names)
        there = frozenset(self._names())
        splits: tuple[tuple[Split, Sequence[LabelledFrame]], ...] = (("train", train), ("val", val))
        for split, frames in splits:
            missing = [frame for frame in frames if frame.id not in there]
            if missing:
                self._send(key, dataset, _fitting(missing), split, class_names)
                return None
        self._relabel({frame.id: frame for frame in (*train, *val)})
        frozen = self._platform.datasets.freeze_version(dataset, f"driftline {key}")
        return DatasetVersion(
            ref=dataset.ref,
            version=str(frozen.version),
            digest=self._digest(dataset, frozen.version),
            added=len(train) + len(val),
            replayed=dataset.splits.get("train", 0) - len(train),
        )

    def _digest(self, dataset: Dataset, number: int) -> str:
        """The content hash of a version, which the answer to a freeze leaves out."""
        versions = self._platform.datasets.get(dataset).versions
        return next((one.content_hash or "" for one in versions if one.version == number), "")

    def _send(
        self,
        key: str,
        dataset: Dataset,
        frames: Sequence[LabelledFrame],
        split: Split,
        names: Mapping[int, str],
    ) -> None:
        """Send an archive once; whether it is there, and whole, the next call sees."""
        archive = _zipped(frames, split, names)
        attempt = f"{key} {sha256(archive).hexdigest()}"
        failed = dataset.status is DatasetStatus.FAILED
        if not failed and self._store.get(UPLOADS, attempt) is not None:
            files = ", ".join(str(frame.image) for frame in frames[:_SHOWN])
            msg = (
                f"{dataset.ref} took none of {len(frames)} pictures that were sent to its split "
                f"{split!r}: {files}{' …' if len(frames) > _SHOWN else ''}; are they pictures? "
                "Leave them out of the review"
            )
            raise UnreadableData(msg)
        try:
            # a picture that is there under another name is replaced, and then has its digest
            self._platform.datasets.upload(
                dataset, archive, split=split, conflict="replace", timeout=INGEST_PATIENCE
            )
        except Conflict:  # somebody else's is being processed
            return
        except TransitionFailed:
            if self._platform.datasets.get(dataset).status is not DatasetStatus.PROCESSING:
                raise
        self._store.write([Put(space=UPLOADS, key=attempt, value={"frames": len(frames)})])

    def _relabel(self, frames: Mapping[str, LabelledFrame]) -> None:
        """Save the labels of frames that were there with others: they were reviewed again."""
        images = self._platform.datasets.images(self._dataset)
        for image in images if frames else ():
            frame = frames.get(Path(image.name).stem)
            if frame is not None and not _same(labels := _labels(frame), self._present(image)):
                self._platform.datasets.save_labels(image, labels)

    def _present(self, image: DatasetImage) -> Sequence[Label]:
        cut = image.labels_truncated
        return (self._platform.datasets.image(image) if cut else image).labels

    # --- the training -------------------------------------------------------------------------

    def cost(self, request: TrainingRequest) -> Cost:
        """The budget: the Platform has no estimate before a start."""
        said = (
            f"up to ${self._budget_cents / 100:.2f} on {self._gpu} by the Platform's estimate, "
            "which comes with the start: a higher one is cancelled at once, one that got lost at "
            f"the next call, and costs until then; then {self._canary} is replaced by the new "
            f"model instead of {request.base}, to be scored"
        )
        return Cost(most_cents=self._budget_cents, said=said)

    def train(self, key: str, request: TrainingRequest) -> TrainingRun:
        """Make the model of the key and start its training, unless that was done.

        Raises:
            TransitionFailed: it was estimated above the budget and cancelled.
        """
        model = self._model(key)
        run = TrainingRun(key=key, ref=model.model_ref)
        if model.has_weights or self._platform.training.status(model) is not None:
            self.progress(run)  # cancels what must not go on
            return run
        self._begin(run.ref, request)
        args = request.args
        try:
            started = self._platform.training.start(
                model,
                data=request.dataset.ref,
                base=request.base,
                epochs=args.epochs,
                lr0=args.lr0,
                optimizer=args.optimizer,
                imgsz=args.imgsz,
                batch=args.batch,
                patience=args.patience,
                seed=args.seed,
                freeze=args.freeze,
                more=args.more,
                gpu=self._gpu,
                budget_cents=self._budget_cents,
                approve_cost=True,  # the loop asks before
            )
        except Conflict:  # another call was faster
            return run
        priced = {"dataset": request.dataset.digest, "cents": started.estimated_cost_cents}
        self._store.write([Put(space=TRAININGS, key=run.ref, value=priced)])
        return TrainingRun(key=key, ref=model.model_ref, said=str(started))

    def _begin(self, ref: str, request: TrainingRequest) -> None:
        """Write down what is asked, without the estimate, which comes with the answer."""
        asked = {"dataset": request.dataset.digest, "cents": None}
        with suppress(StoreConflict):  # an earlier call wrote it
            self._store.write([Put(space=TRAININGS, key=ref, value=asked, version=0)])

    def _model(self, key: str) -> Model:
        ref = self._ref(key)
        try:
            return self._platform.models.create(ref, description=f"driftline {key}")
        except Conflict:
            return self._platform.models.get(ref)

    def _ref(self, key: str) -> str:
        return f"{self._project}/retrain-{key}"

    def progress(self, run: TrainingRun) -> TrainingProgress:
        """How far it is; one that may cost too much, or learns other frames, is cancelled."""
        job = self._platform.training.status(run.ref)
        if job is None:
            return TrainingProgress(status=TrainingStatus.FAILED, error="no training is there")
        status = _STATUS.get(job.status, TrainingStatus.RUNNING)
        error = self._wrong(run.ref, status)
        if error and job.status.active and not self._stop(run.ref):
            error = ""  # it ended meanwhile: how, the next call sees
        elif error:
            status, error = TrainingStatus.FAILED, f"{error} {job.error}".strip()
        return TrainingProgress(
            status=status,
            epoch=job.epoch,
            epochs=job.epochs,
            model=run.ref if status is TrainingStatus.FINISHED else "",
            error=error or job.error,
            metrics=job.metrics,
        )

    def _wrong(self, ref: str, status: TrainingStatus) -> str:
        """Why a training cannot be used; "" where nothing is wrong."""
        begun = self._store.get(TRAININGS, ref)
        priced = begun is not None and begun.value["cents"] is not None
        if not priced and status is not TrainingStatus.FINISHED:
            # a process died, or a reply or a cancel was lost; what is finished costs no more
            return (
                f"it is not known to be within the budget of {self._budget_cents:g} cents, so that "
                "it was cancelled."
            )
        asked = None if begun is None else begun.value["dataset"]
        read = self._platform.models.get(ref).dataset_hash
        if asked and read and asked != read:
            return (
                f"{self._dataset} was changed between freezing and training: the version asked for "
                f"has the digest {asked}, what was read {read}."
            )
        return ""

    def cancel(self, key: str) -> None:
        """Stop the training of the key, if it is under way."""
        self._stop(self._ref(key))

    def _stop(self, ref: str) -> bool:
        """Whether a training was under way, and is stopped by this call."""
        try:
            job = self._platform.training.status(ref)
            if job is None or not job.status.active:
                return False
            self._platform.training.cancel(ref)
        except (NotFound, Conflict):  # it was never started, or ended meanwhile
            return False
        return True

    # --- the models ---------------------------------------------------------------------------

    def keep(self, model: str) -> str:
        """The model itself: the Platform never puts other weights under the name of a model."""
        return model

    def detector(self, model: str) -> Detector | None:
        """The deployment that serves the model; else the canary is brought to serve it.

        Raises:
            ConfigError: the canary is stopped, or a `Rollout` is using it.
        """
        for ref in (self._deployment, self._canary):
            found = self._platform.deployment(ref)
            if found.model_ref == model and found.status is DeploymentStatus.READY:
                return self._platform.endpoint(ref, direct=self._direct)
        canary, main = (self._platform.deployment(r) for r in (self._canary, self._deployment))
        if not (canary.status.transitional or main.status.transitional):
            self._bring(canary, model)
        return None

    def _bring(self, canary: Deployment, model: str) -> None:
        if canary.status is not DeploymentStatus.READY:
            msg = f"{canary.ref} is {canary.status}: platform.start({canary.ref!r})"
            raise ConfigError(msg)
        for rollout in map(_state, self._store.scan(ROLLOUTS)):
            if canary.ref in {rollout.canary, rollout.deployment} and not rollout.phase.over:
                msg = (
                    f"the rollout of {rollout.candidate} on {canary.ref} is {rollout.phase}; "
                    f"{model} is scored there when it is over: end it, or roll_back() it"
                )
                raise ConfigError(msg)
        try:
            self._platform.replace(canary, model, wait=False)
        except Conflict:  # it is on its way, or there already
            return


def _state(document: Document) -> State:
    return State.from_json(document.value)


_STATUS: Final[Mapping[ModelStatus, TrainingStatus]] = {
    ModelStatus.COMPLETED: TrainingStatus.FINISHED,
    ModelStatus.FAILED: TrainingStatus.FAILED,
    ModelStatus.CANCELLED: TrainingStatus.CANCELLED,
}


def _require_same_classes(dataset: Dataset, class_names: Mapping[int, str]) -> None:
    names = dict(enumerate(dataset.class_names))
    if names and names != dict(class_names):
        msg = f"{dataset.ref} has the classes {names}, the holdout {dict(class_names)}"
        raise ContextMismatch(msg, fields=("class_names",))


def _labels(frame: LabelledFrame) -> list[Label]:
    """The labels of a frame, as its label file says them."""
    rows = [line.split() for line in label_lines(frame).splitlines()]
    return [Label(class_id=int(kind), bbox=_box(shares)) for kind, *shares in rows]


def _box(shares: Sequence[str]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, shares)
    return x, y, width, height


def _same(ours: Sequence[Label], theirs: Sequence[Label]) -> bool:
    """Whether labels are those that the Platform saved, which rounds to five places."""
    if len(ours) != len(theirs) or any(one.bbox is None for one in theirs):
        return False
    one, other = (
        np.array(sorted((label.class_id, *(label.bbox or ())) for label in labels))
        for labels in (ours, theirs)
    )
    return np.allclose(one, other, rtol=0, atol=_ROUNDED)


def _fitting(frames: Sequence[LabelledFrame]) -> Sequence[LabelledFrame]:
    """As many frames, from the first, as one archive holds; at least one."""
    sizes = accumulate(Path(str(frame.image)).stat().st_size for frame in frames)
    return frames[: max(1, sum(size <= ARCHIVE_BYTES for size in sizes))]


def _zipped(frames: Sequence[LabelledFrame], split: Split, names: Mapping[int, str]) -> bytes:
    """An archive of some frames; the same frames, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, date_time=EPOCH_OF_ZIP), content)

        ordered = dict(sorted(names.items()))
        add("data.yaml", yaml_text({split: f"images/{split}"}, ordered).encode())
        for frame in frames:
            picture = Path(frame.image)
            add(f"images/{split}/{frame.id}{picture.suffix}", picture.read_bytes())
            add(f"labels/{split}/{frame.id}.txt", label_lines(frame).encode())
    return buffer.getvalue()
