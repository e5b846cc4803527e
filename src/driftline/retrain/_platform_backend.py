"""The Platform as the place where a retraining keeps its dataset and trains its models."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from driftline.errors import (
    ConfigError,
    Conflict,
    ContextMismatch,
    InputError,
    NotFound,
    TransitionFailed,
    UnreadableData,
)
from driftline.holdout import LabelledFrame
from driftline.holdout._dataset import label_lines
from driftline.platform import (
    Dataset,
    DatasetStatus,
    Deployment,
    DeploymentStatus,
    Gpu,
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
TRAININGS: Final = "retrain/training"
"""Space of the trainings whose estimate was within the budget, by model."""


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
        if deployment == canary or not budget_cents > 0:
            msg = (
                f"deployment={deployment!r} and canary={canary!r} must be two, and "
                f"budget_cents={budget_cents!r} above 0"
            )
            raise InputError(msg)
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
        """Upload what is missing, an archive a call, then freeze."""
        dataset = self._platform.datasets.get(self._dataset)
        if dataset.status is DatasetStatus.PROCESSING:
            return None
        _require_same_classes(dataset, class_names)
        there = frozenset(self._names())
        splits: tuple[tuple[Split, Sequence[LabelledFrame]], ...] = (("train", train), ("val", val))
        for split, frames in splits:
            missing = [frame for frame in frames if frame.id not in there]
            if missing:
                _require_readable(dataset, missing, begun=len(missing) < len(frames))
                archive = _zipped(missing, split, class_names)
                # a picture that is there under another name is replaced, and then has its digest
                self._upload(dataset, archive, split)
                return None
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

    def _upload(self, dataset: Dataset, archive: bytes, split: Split) -> None:
        """Send an archive; whether it is there, and whole, the next call sees."""
        try:
            self._platform.datasets.upload(
                dataset, archive, split=split, conflict="replace", timeout=INGEST_PATIENCE
            )
        except Conflict:  # somebody else's is being processed
            return
        except TransitionFailed:
            if self._platform.datasets.get(dataset).status is not DatasetStatus.PROCESSING:
                raise

    # --- the training -------------------------------------------------------------------------

    def cost(self, request: TrainingRequest) -> Cost:
        """The budget: the Platform has no estimate before a start."""
        said = (
            f"up to ${self._budget_cents / 100:.2f} on {self._gpu} by the Platform's estimate; "
            "what is estimated higher, or whose estimate is lost, is cancelled after its start, "
            f"in the next call where this one dies; then {self._canary} is replaced by the new "
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
        within = {"cents": started.estimated_cost_cents, "dataset": request.dataset.digest}
        self._store.write([Put(space=TRAININGS, key=run.ref, value=within)])
        return TrainingRun(key=key, ref=model.model_ref, said=str(started))

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
        if error:
            self._stop(run.ref)
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
        within = self._store.get(TRAININGS, ref)
        if within is None:  # a process died, or a reply or a cancel was lost
            spent = status is TrainingStatus.FINISHED
            return (
                ""
                if spent
                else (
                    f"it is not known to be within the budget of {self._budget_cents:g} cents, so that "
                    "it was cancelled."
                )
            )
        frozen, read = within.value["dataset"], self._platform.models.get(ref).dataset_hash
        if frozen and read and frozen != read:
            return (
                f"{self._dataset} was changed between freezing and training: the version asked for "
                f"has the digest {frozen}, what was read {read}."
            )
        return ""

    def cancel(self, key: str) -> None:
        """Stop the training of the key, if it is under way."""
        self._stop(self._ref(key))

    def _stop(self, ref: str) -> None:
        try:
            job = self._platform.training.status(ref)
            if job is not None and job.status.active:
                self._platform.training.cancel(ref)
        except (NotFound, Conflict):  # it was never started, or ended meanwhile
            return

    # --- the models ---------------------------------------------------------------------------

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


def _require_readable(dataset: Dataset, missing: Sequence[LabelledFrame], *, begun: bool) -> None:
    """Refuse to send again and again what the Platform cannot read."""
    summary = dataset.ingest_summary
    if begun and summary is not None and summary.errors >= len(missing):
        msg = (
            f"the Platform could not read {summary.errors} pictures of the last upload to "
            f"{dataset.ref}; missing is {missing[0].image}"
        )
        raise UnreadableData(msg)


def _zipped(frames: Sequence[LabelledFrame], split: Split, names: Mapping[int, str]) -> bytes:
    """An archive of some frames; the same frames, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, date_time=EPOCH_OF_ZIP), content)

        rows = "".join(f"  {index}: {names[index]}\n" for index in sorted(names))
        add("data.yaml", f"{split}: images/{split}\nnames:\n{rows}".encode())
        for frame in frames:
            if buffer.tell() > ARCHIVE_BYTES:
                break  # the next call sends the rest
            picture = Path(frame.image)
            add(f"images/{split}/{frame.id}{picture.suffix}", picture.read_bytes())
            add(f"labels/{split}/{frame.id}.txt", label_lines(frame).encode())
    return buffer.getvalue()
