"""The conversations about datasets, uploads, models and trainings, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

from attrs import evolve

from driftline._checks import part, refuse_number
from driftline._retry import Retry
from driftline._wire import Flow
from driftline.errors import (
    Conflict,
    InputError,
    PlatformBroken,
    PlatformError,
    RefusedInput,
    TransitionFailed,
    Unreachable,
    UnreadableReply,
)
from driftline.platform import _learning_calls as _calls
from driftline.platform import _learning_decode as _decode
from driftline.platform._calls import within
from driftline.platform._datasets import (
    LONGEST_DESCRIPTION,
    BatchRun,
    Dataset,
    DatasetAddress,
    DatasetImage,
    DatasetRef,
    DatasetStatus,
    DatasetVersion,
    ImagePage,
    ImagePrediction,
    ImageWalk,
    Label,
    OnConflict,
    Split,
    parse_dataset,
)
from driftline.platform._flows import Core
from driftline.platform._models import (
    Model,
    ModelAddress,
    ModelFile,
    ModelRef,
    ModelStatus,
    parse_model_ref,
)
from driftline.platform._training import TrainArgs, TrainingJob, TrainingStart
from driftline.platform._transition import UNMOVED, Ending
from driftline.platform._uploads import DatasetUpload, Package, UploadStage, resumable
from driftline.platform._waiting import Patience

T = TypeVar("T")
OnStage = Callable[[DatasetUpload], None]

ONCE: Final = Retry(attempts=1)
"""For what spends money: not even a call that was surely refused is sent again by itself."""
_WEIGHTS: Final = (".pt", ".yaml", ".yml")
_IN_DOUBT: Final = (Unreachable, PlatformBroken, UnreadableReply)


class Learning:
    """What a model learns from, and the learning; shares the client's core."""

    def __init__(self, core: Core) -> None:
        """Keep the core; nothing is asked yet."""
        self.core = core
        self._clock = core.clock

    # --- where things are -------------------------------------------------------------------

    def dataset_address(self, ref: DatasetRef) -> Flow[DatasetAddress]:
        """Where a dataset is."""
        owner, slug = parse_dataset(ref)
        return DatasetAddress(owner or (yield from self.core.owner()), slug)

    def model_address(self, ref: ModelRef) -> Flow[ModelAddress]:
        """Where a model is."""
        owner, project, slug = parse_model_ref(ref)
        return ModelAddress(owner or (yield from self.core.owner()), project, slug)

    def _at(self, ref: DatasetRef, ask: Callable[[DatasetAddress], Flow[T]]) -> Flow[T]:
        return (yield from ask((yield from self.dataset_address(ref))))

    def _at_model(self, ref: ModelRef, ask: Callable[[ModelAddress], Flow[T]]) -> Flow[T]:
        return (yield from ask((yield from self.model_address(ref))))

    # --- datasets ---------------------------------------------------------------------------

    def create_dataset(
        self,
        ref: DatasetRef,
        *,
        name: str | None,
        task: str,
        class_names: Sequence[str],
        description: str,
        metadata: Mapping[str, object],
    ) -> Flow[Dataset]:
        """A new dataset, private."""
        _check_metadata(metadata)
        address = yield from self.dataset_address(ref)
        call = _calls.create_dataset(
            address,
            name=name or address.slug,
            task=task,
            class_names=class_names,
            description=description,
            metadata=metadata,
        )
        made = yield from self._doubtful(
            self.core.ask(call, _decode.created_dataset), f"the dataset {address}"
        )
        found = yield from self.dataset_at(made)
        require_private(found)
        return found

    def dataset(self, ref: DatasetRef) -> Flow[Dataset]:
        """One dataset."""
        return self._at(ref, self.dataset_at)

    def dataset_at(self, address: DatasetAddress) -> Flow[Dataset]:
        """The dataset that is there."""
        return self.core.ask(_calls.dataset(address), _decode.dataset)

    def wait_for_dataset(self, ref: DatasetRef, ending: Ending) -> Flow[Dataset]:
        """The dataset once nothing is processed any more."""

        def ask(address: DatasetAddress) -> Flow[Dataset]:
            return self.processed(address, ending, lambda seen, _: _done(seen))

        return self._at(ref, ask)

    def processed(
        self, address: DatasetAddress, ending: Ending, done: Callable[[Dataset, Patience], bool]
    ) -> Flow[Dataset]:
        """The dataset once `done` says so.

        Raises:
            TransitionFailed: its processing failed, or took too long.
        """
        patience = Patience(f"dataset {address}", ending, clock=self._clock)
        seen = yield from self.core.watched(
            _calls.dataset(address), _decode.dataset, patience, lambda row: done(row, patience)
        )
        if seen.status is DatasetStatus.FAILED:
            why = seen.processing_error or "no reason was given"
            raise patience.failed(why)
        return seen

    def freeze(self, ref: DatasetRef, description: str) -> Flow[DatasetVersion]:
        """Freeze the present state."""
        part(description, str, name="description", what="text")
        if len(description) > LONGEST_DESCRIPTION:
            msg = f"the description has {len(description)} characters; {LONGEST_DESCRIPTION} fit"
            raise InputError(msg)

        def ask(address: DatasetAddress) -> Flow[DatasetVersion]:
            decode = partial(_decode.frozen_version, description=description)
            asked = self.core.ask(_calls.freeze(address, description), decode)
            return self._doubtful(asked, f"a version of {address}")

        return self._at(ref, ask)

    def export(self, ref: DatasetRef, version: int | None) -> Flow[bytes]:
        """The NDJSON of the present state, or of a version."""
        address = yield from self.dataset_address(ref)
        url = yield from self.core.ask(_calls.export(address, version), _decode.exported)
        return (yield from self.fetch(url))

    def fetch(self, url: str) -> Flow[bytes]:
        """The content of a signed address."""
        try:
            return (yield from self.core.exchange(_calls.fetch(url))).content
        except PlatformError as exc:
            exc.add_note("it was the storage host that answered: signed addresses are short-lived")
            raise

    def image_page(self, ref: DatasetRef, walk: ImageWalk) -> Flow[ImagePage]:
        """The next page of a walk through images."""

        def ask(address: DatasetAddress) -> Flow[ImagePage]:
            call = _calls.images(address, walk.asked, limit=walk.page_size, cursor=walk.token)
            return self.core.ask(call, _decode.image_page)

        return self._at(ref, ask)

    def image(self, image_id: str) -> Flow[DatasetImage]:
        """One image."""
        return self.core.ask(_calls.image(image_id), _decode.image)

    def save_labels(self, image_id: str, labels: Sequence[Label]) -> Flow[tuple[Label, ...]]:
        """Replace the labels of an image."""
        return self.core.ask(_calls.save_labels(image_id, labels), _decode.saved_labels)

    def predict_image(
        self, image_id: str, model: ModelRef, *, conf: float, iou: float
    ) -> Flow[ImagePrediction]:
        """What a model finds in an image."""
        _check_thresholds(conf, iou)
        address = yield from self.model_address(model)
        call = _calls.predict_image(image_id, address.uri, conf=conf, iou=iou)
        return (yield from self.core.ask(call, _decode.image_prediction))

    def start_batch(
        self,
        ref: DatasetRef,
        model: ModelRef,
        *,
        conf: float,
        iou: float,
        include_annotated: bool,
        class_mapping: Mapping[int, int] | None,
    ) -> Flow[BatchRun]:
        """Let a model label the images; billed, so sent once."""
        _check_thresholds(conf, iou)
        if class_mapping is not None:
            what = "class indices of the model and those of the dataset"
            part(class_mapping, Mapping, name="class_mapping", what=what)
        address = yield from self.dataset_address(ref)
        uri = (yield from self.model_address(model)).uri
        call = _calls.start_batch(
            address,
            uri,
            conf=conf,
            iou=iou,
            include_annotated=include_annotated,
            class_mapping=class_mapping,
        )
        asked = self.core.ask(call, _decode.started_batch, retry=ONCE)
        return (yield from self._doubtful(asked, f"a batch on {address}"))

    def batch(self, ref: DatasetRef) -> Flow[BatchRun | None]:
        """The run under way, else the last one."""
        return self._at(ref, lambda at: self.core.ask(_calls.batch(at), _decode.batch))

    def cancel_batch(self, ref: DatasetRef) -> Flow[None]:
        """Stop the run."""

        def ask(address: DatasetAddress) -> Flow[None]:
            yield from self.core.exchange(_calls.cancel_batch(address))

        return self._at(ref, ask)

    def wait_for_batch(self, ref: DatasetRef, ending: Ending) -> Flow[BatchRun]:
        """The run once it ended."""
        address = yield from self.dataset_address(ref)
        patience = Patience(f"batch on {address}", ending, clock=self._clock)
        call = _calls.batch(address)
        run = yield from self.core.watched(
            call, _decode.batch, patience, lambda seen: seen is None or not seen.active
        )
        if run is None or run.failed or run.stopped:
            why = "there is none" if run is None else run.error
            raise patience.failed(why or "it was stopped")
        return run

    # --- uploads ----------------------------------------------------------------------------

    def upload(
        self,
        ref: DatasetRef,
        package: Package,
        *,
        split: Split,
        conflict: OnConflict,
        resume: DatasetUpload | None,
        on_stage: OnStage | None,
        ending: Ending,
    ) -> Flow[DatasetUpload]:
        """Bring an archive into a dataset, from wherever it stands."""
        if resume is not None:
            what = "the DatasetUpload that on_stage was given"
            part(resume, DatasetUpload, name="resume", what=what)
        address = yield from self.dataset_address(ref)
        if resume is not None:
            resumable(resume, dataset=str(address), package=package, split=split)
        talk = _Upload(self, address, package, split=split, conflict=conflict, on_stage=on_stage)
        try:
            return (yield from talk.run(resume, ending))
        except PlatformError as exc:
            if talk.record is not None:
                exc.add_note(
                    f"the upload got to {talk.record.stage.name}: go on with "
                    f"resume=DatasetUpload.from_dict({talk.record.to_dict()})"
                )
            raise

    # --- models -----------------------------------------------------------------------------

    def create_model(
        self,
        ref: ModelRef,
        *,
        name: str | None,
        task: str,
        description: str,
        metadata: Mapping[str, object],
    ) -> Flow[Model]:
        """A new model."""
        _check_metadata(metadata)
        address = yield from self.model_address(ref)
        call = _calls.create_model(
            address,
            name=name or address.slug,
            task=task,
            description=description,
            metadata=metadata,
        )
        asked = self.core.ask(call, _decode.created_model)
        made = yield from self._doubtful(asked, f"the model {address}")
        return (yield from self._model(made))

    def model(self, ref: ModelRef) -> Flow[Model]:
        """One model."""
        return self._at_model(ref, self._model)

    def _model(self, address: ModelAddress) -> Flow[Model]:
        return self.core.ask(_calls.model(address), _decode.model)

    def files(self, ref: ModelRef) -> Flow[tuple[ModelFile, ...]]:
        """Its files."""
        return self._at_model(ref, lambda at: self.core.ask(_calls.files(at), _decode.files))

    def download(self, file: ModelFile) -> Flow[bytes]:
        """The content of a file of a model, whole."""
        part(file, ModelFile, name="file", what="one of models.files(…)")
        content = yield from self.fetch(file.url)
        if len(content) != file.size_bytes:
            msg = f"{file.name} has {len(content)} bytes in place of {file.size_bytes}"
            raise UnreadableReply(msg, method="GET")
        return content

    # --- trainings --------------------------------------------------------------------------

    def start_training(
        self,
        ref: ModelRef,
        args: TrainArgs,
        *,
        data: DatasetRef,
        base: str,
        gpu: str,
        capture_version: bool,
        budget_cents: float | None,
    ) -> Flow[TrainingStart]:
        """Start a training: one call, never a second."""
        if budget_cents is not None:  # a bound that cannot be compared would be none, and too late
            refuse_number("budget_cents", budget_cents, "0 or more, or None for no bound", least=0)
        address = yield from self.model_address(ref)
        dataset = yield from self.dataset_address(data)
        weights = yield from self._base(base)
        if weights == address.uri:
            msg = f"{address} cannot be trained from itself: make a new model for each training"
            raise InputError(msg)
        model = yield from self._model(address)
        self._require_untrained(model)
        call = _calls.start_training(
            model.id,
            args,
            base=weights,
            data=dataset.uri,
            gpu=gpu,
            capture_version=capture_version,
        )
        decode = partial(_decode.training_start, model=str(address))
        asked = self.core.ask(call, decode, retry=ONCE)
        started = yield from self._doubtful(asked, f"a training of {address}, which spends money")
        if budget_cents is not None and started.estimated_cost_cents > budget_cents:
            yield from self._over_budget(address, started, budget_cents)
        return started

    def _base(self, base: str) -> Flow[str]:
        given: object = base
        if isinstance(given, str) and given.endswith(_WEIGHTS) and "/" not in given:
            return base
        return (yield from self.model_address(base)).uri

    def _require_untrained(self, model: Model) -> None:
        active = model.status is not None and model.status.active
        if model.has_weights or active or model.status is ModelStatus.COMPLETED:
            msg = (
                f"{model}: a training would clear what is there; make a new model for each "
                "training with models.create()"
            )
            raise Conflict(msg, method="POST", path="/api/training/start")

    def _over_budget(
        self, address: ModelAddress, started: TrainingStart, budget_cents: float
    ) -> Flow[None]:
        why = (
            f"{address}: the training is estimated at {started.estimated_cost_cents:g} cents, "
            f"above budget_cents={budget_cents:g}"
        )
        try:
            yield from self._cancel(address)
        except PlatformError as exc:
            exc.add_note(f"{why}, and could not be cancelled: it goes on and spends money")
            raise
        msg = f"{why}; it was cancelled"
        raise TransitionFailed(msg, method="POST", path="/api/training/start")

    def training(self, ref: ModelRef) -> Flow[TrainingJob | None]:
        """How far a training is."""

        def ask(address: ModelAddress) -> Flow[TrainingJob | None]:
            return self.core.ask(_calls.training(address), _decode.training)

        return self._at_model(ref, ask)

    def cancel_training(self, ref: ModelRef) -> Flow[str]:
        """Stop a training."""
        return self._at_model(ref, self._cancel)

    def _cancel(self, address: ModelAddress) -> Flow[str]:
        return self.core.ask(_calls.cancel_training(address), _decode.cancelled)

    def wait_for_training(self, ref: ModelRef, ending: Ending) -> Flow[TrainingJob]:
        """The training once it is completed."""
        address = yield from self.model_address(ref)
        patience = Patience(f"training of {address}", ending, clock=self._clock)
        job = yield from self.core.watched(
            _calls.training(address),
            _decode.training,
            patience,
            lambda seen: seen is None or not seen.status.active,
        )
        if job is None or job.status is not ModelStatus.COMPLETED:
            raise patience.failed("there is none" if job is None else f"it ended at: {job}")
        return job

    # --- in doubt ---------------------------------------------------------------------------

    def _doubtful(self, asked: Flow[T], what: str) -> Flow[T]:
        try:
            return (yield from asked)
        except _IN_DOUBT as exc:
            exc.add_note(f"{what} may have been made: look before asking again")
            raise


def require_private(dataset: Dataset) -> None:
    """Refuse a dataset that others can see.

    Raises:
        InputError: it is public.
    """
    if dataset.visibility != "private":
        msg = (
            f"{dataset.ref} is {dataset.visibility}: frames of production belong into a "
            "private dataset; make it private on the Platform, or use another"
        )
        raise InputError(msg)


def _check_metadata(metadata: Mapping[str, object]) -> None:
    part(metadata, Mapping, name="metadata", what="names and their values")


def _check_thresholds(conf: float, iou: float) -> None:
    """Refuse what the Platform would refuse (contract 0.1.9)."""
    within("conf", conf, 0.01, 1)
    within("iou", iou, 0, 0.95)


def _done(dataset: Dataset) -> bool:
    return dataset.status is not DatasetStatus.PROCESSING


class _Upload:
    """One archive on its way; `record` says how far it is known to have got."""

    def __init__(
        self,
        learning: Learning,
        address: DatasetAddress,
        package: Package,
        *,
        split: Split,
        conflict: OnConflict,
        on_stage: OnStage | None,
    ) -> None:
        self._learning = learning
        self._core = learning.core
        self._address = address
        self._package = package
        self._split: Split = split
        self._conflict: OnConflict = conflict
        self._on_stage = on_stage
        self.record: DatasetUpload | None = None

    def run(self, resume: DatasetUpload | None, ending: Ending) -> Flow[DatasetUpload]:
        dataset = yield from self._learning.dataset_at(self._address)
        require_private(dataset)
        # What was signed and not stored begins anew: the address is not kept, and may be used up.
        if resume is None or resume.stage is UploadStage.SIGNED:
            record = yield from self._store(dataset)
        else:
            record = self.record = resume
        if record.stage is UploadStage.STORED:
            record = yield from self._complete(record)
        if record.stage is UploadStage.COMPLETED:
            record = yield from self._ingest(record, ending)
        if record.stage is UploadStage.QUEUED and ending.wait:
            record = yield from self._finish(record, ending)
        return record

    def _reached(self, record: DatasetUpload) -> DatasetUpload:
        self.record = record
        if self._on_stage is not None:
            self._on_stage(record)
        return record

    def _store(self, dataset: Dataset) -> Flow[DatasetUpload]:
        call = _calls.signed_url(dataset.id, self._package)
        signed = yield from self._core.ask(call, _decode.signed)
        record = self._reached(
            DatasetUpload(
                dataset=str(self._address),
                digest=self._package.digest,
                size_bytes=len(self._package.content),
                split=self._split,
                stage=UploadStage.SIGNED,
                session_id=signed.session_id,
            )
        )
        try:
            yield from self._core.exchange(_calls.store(signed.url, self._package, signed.headers))
        except RefusedInput as exc:
            # Addresses are create-only (0.1.99): a repeat after a lost reply finds its own bytes.
            if exc.status != HTTPStatus.PRECONDITION_FAILED:
                raise
        except PlatformError as exc:
            exc.add_note("it was the storage host that answered, not the Platform")
            raise
        return self._reached(evolve(record, stage=UploadStage.STORED))

    def _complete(self, record: DatasetUpload) -> Flow[DatasetUpload]:
        call = _calls.complete(record.session_id)
        size = yield from self._core.ask(call, _decode.completed_bytes)
        if size != record.size_bytes:
            msg = f"the Platform found {size} bytes of {record.size_bytes} of {self._address}"
            raise UnreadableReply(msg, method=call.method, path=call.path)
        return self._reached(evolve(record, stage=UploadStage.COMPLETED))

    def _ingest(self, record: DatasetUpload, ending: Ending) -> Flow[DatasetUpload]:
        # One ingest at a time: a second is a conflict, so an earlier one is waited for.
        patience = Patience(f"dataset {self._address}", ending, clock=self._core.clock)
        look = _calls.dataset(self._address)
        before = yield from self._core.watched(look, _decode.dataset, patience, _done)
        call = _calls.ingest(
            self._address, record.session_id, split=record.split, conflict=self._conflict
        )
        try:
            job = yield from self._core.ask(call, _decode.queued)
        except _IN_DOUBT as exc:
            job = yield from self._found_queued(before, exc)
        return self._reached(evolve(record, stage=UploadStage.QUEUED, job_id=job))

    def _found_queued(self, before: Dataset, doubt: PlatformError) -> Flow[str]:
        """The job of an ingest whose reply was lost, if the dataset names a new one."""
        after = yield from self._learning.dataset_at(self._address)
        if after.ingest_job is None or after.ingest_job == before.ingest_job:
            raise doubt
        return after.ingest_job

    def _finish(self, record: DatasetUpload, ending: Ending) -> Flow[DatasetUpload]:
        moved = False

        def done(seen: Dataset, patience: Patience) -> bool:
            nonlocal moved
            moved = moved or seen.status is DatasetStatus.PROCESSING
            named = seen.ingest_job == record.job_id or (moved and seen.ingest_job is None)
            # Just after the ingest the state may still be the one before it; long after, others
            # may have ingested since.
            return _done(seen) and (named or patience.elapsed >= UNMOVED)

        seen = yield from self._learning.processed(self._address, ending, done)
        ours = seen.ingest_job in {None, record.job_id}
        summary = seen.ingest_summary if ours else None
        return self._reached(evolve(record, stage=UploadStage.READY, summary=summary))
