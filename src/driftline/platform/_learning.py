"""The blocking faces of datasets, models and trainings: one line a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

from driftline._checks import parts, refuse_other
from driftline._wire import Flow
from driftline.platform._datasets import (
    CONFLICTS,
    SPLITS,
    TASKS,
    BatchRun,
    Dataset,
    DatasetImage,
    DatasetRef,
    DatasetVersion,
    ImagePrediction,
    ImageQuestion,
    ImageWalk,
    Label,
    Labels,
    OnConflict,
    Split,
    Task,
    checked_image,
    labels_of,
)
from driftline.platform._learning_flows import Learning
from driftline.platform._models import Model, ModelFile, ModelRef
from driftline.platform._training import (
    TRAINING_POLL,
    TRAINING_TIMEOUT,
    Gpu,
    Optimizer,
    TrainArgs,
    TrainingJob,
    TrainingStart,
    checked_approval,
)
from driftline.platform._transition import Ending
from driftline.platform._uploads import Archive, DatasetUpload, load_archive
from driftline.platform._waiting import PROCESSING_POLL, PROCESSING_TIMEOUT

T = TypeVar("T")


class Run(Protocol):
    """What drives a conversation to its answer."""

    def __call__(self, flow: Flow[T], /) -> T:
        """The answer."""
        ...


class Datasets:
    """Datasets of the Platform; `PlatformClient.datasets`.

    A dataset is named ``"owner/dataset"`` as in its URL; a bare name takes the client's owner.
    Everything made here is private, and nothing is uploaded into a dataset that is not.
    """

    def __init__(self, run: Run, learning: Learning) -> None:
        """Made by `PlatformClient`."""
        self._run = run
        self._learning = learning

    def create(
        self,
        ref: str,
        *,
        name: str | None = None,
        task: Task = "detect",
        class_names: Sequence[str] = (),
        description: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> Dataset:
        """Make an empty dataset, private.

        Args:
            ref: its name, ``"owner/dataset"`` or bare.
            name: its name for people; None is the same.
            task: what models trained on it will do.
            class_names: names of its classes, by index; keep the order of the model's.
            description: what it is for.
            metadata: whatever else shall stand on it.

        Returns:
            The dataset as the Platform made it; it may have changed the name.
        """
        refuse_other("task", task, TASKS)
        return self._run(
            self._learning.create_dataset(
                ref,
                name=name,
                task=task,
                class_names=parts(class_names, str, name="class_names", what="a name"),
                description=description,
                metadata=metadata or {},
            )
        )

    def get(self, ref: DatasetRef) -> Dataset:
        """One dataset, with its versions and the state of its last ingest."""
        return self._run(self._learning.dataset(ref))

    def wait(
        self,
        ref: DatasetRef,
        *,
        timeout: timedelta = PROCESSING_TIMEOUT,
        poll: timedelta = PROCESSING_POLL,
    ) -> Dataset:
        """Wait until nothing is processed any more.

        Raises:
            TransitionFailed: processing failed, or took longer than `timeout`.
        """
        return self._run(self._learning.wait_for_dataset(ref, Ending(timeout=timeout, poll=poll)))

    def upload(
        self,
        ref: DatasetRef,
        archive: Archive,
        *,
        split: Split,
        conflict: OnConflict = "skip",
        resume: DatasetUpload | None = None,
        on_stage: Callable[[DatasetUpload], None] | None = None,
        wait: bool = True,
        timeout: timedelta = PROCESSING_TIMEOUT,
        poll: timedelta = PROCESSING_POLL,
    ) -> DatasetUpload:
        """Bring an archive of images and labels into a dataset, and wait until it is ready.

        The bytes go to a storage host, which never sees the key. A lost reply is looked into
        rather than answered with a second ingest, and with ``conflict="skip"`` images that are
        there already stay as they are: an upload that broke off may simply be repeated. To
        repeat only what is missing, keep the record that `on_stage` is given and pass it on.

        Args:
            ref: the dataset.
            archive: path or bytes of a .zip, .tar, .tar.gz, .tgz or .ndjson, 1 GiB at most.
            split: ``train``, ``val`` or ``test``. It has no default: left to itself the
                Platform may move training images to validation.
            conflict: what becomes of an image that is there, by name or content.
            resume: how far this upload had got.
            on_stage: called with the record at each stage that is reached.
            wait: whether to wait until the dataset is ready.
            timeout: how long an earlier ingest, and this one, may take.
            poll: how often to look.

        Raises:
            InputError: the archive cannot be used, or the dataset is public.
            TransitionFailed: the ingest failed, or took longer than `timeout`.
        """
        refuse_other("split", split, SPLITS)
        refuse_other("conflict", conflict, CONFLICTS)
        package = load_archive(archive)
        ending = Ending(wait=wait, timeout=timeout, poll=poll)
        return self._run(
            self._learning.upload(
                ref,
                package,
                split=split,
                conflict=conflict,
                resume=resume,
                on_stage=on_stage,
                ending=ending,
            )
        )

    def freeze_version(self, ref: DatasetRef, description: str = "") -> DatasetVersion:
        """Freeze the present state under a number that trainings and scores can name.

        Args:
            ref: the dataset.
            description: what it is, 200 characters at most.

        Returns:
            The version; an earlier one, with ``reused``, if nothing changed since.
        """
        return self._run(self._learning.freeze(ref, description))

    def export(self, ref: DatasetRef, version: int | None = None) -> bytes:
        """The dataset as NDJSON: a line about it, then a line an image, with its labels.

        Args:
            ref: the dataset.
            version: a frozen version; None is the present state.
        """
        return self._run(self._learning.export(ref, version))

    def images(
        self,
        ref: DatasetRef,
        *,
        split: Split | None = None,
        labelled: bool | None = None,
        with_labels: bool = True,
        limit: int | None = None,
        page_size: int = 500,
    ) -> Iterator[DatasetImage]:
        """The images of a dataset, newest first; pages are fetched as they are needed.

        Args:
            ref: the dataset.
            split: only those of this part.
            labelled: only those with labels (True) or without (False).
            with_labels: whether to bring the labels along; many are cut off, see
                `DatasetImage.labels_truncated`.
            limit: most images; None for all.
            page_size: images of one page, 1 to 5000.
        """
        asked = ImageQuestion(
            split=split,
            labelled=labelled,
            with_labels=with_labels,
            limit=limit,
            page_size=page_size,
        )
        return self._images(ref, ImageWalk(asked))

    def _images(self, ref: DatasetRef, walk: ImageWalk) -> Iterator[DatasetImage]:
        while walk.more:
            page = self._run(self._learning.image_page(ref, walk))
            yield from walk.take(page)

    def image(self, image_id: str | DatasetImage) -> DatasetImage:
        """One image with all its labels."""
        return self._run(self._learning.image(checked_image(image_id)))

    def save_labels(self, image_id: str | DatasetImage, labels: Labels) -> tuple[Label, ...]:
        """Replace the labels of an image.

        Args:
            image_id: the image.
            labels: its labels from now on; boxes of `Detections` are clipped to the image.

        Returns:
            The labels as the Platform saved them, rounded to five decimal places.
        """
        saved = self._learning.save_labels(checked_image(image_id), labels_of(labels))
        return self._run(saved)

    def predict_image(
        self,
        image_id: str | DatasetImage,
        model: ModelRef,
        *,
        conf: float = 0.25,
        iou: float = 0.7,
    ) -> ImagePrediction:
        """What a model finds in an image; nothing is saved.

        Args:
            image_id: the image.
            model: ``"owner/project/model"``, or ``"project/model"`` of the client's owner.
            conf: confidence threshold, 0.01 to 1.
            iou: IoU threshold of the non-maximum suppression, 0 to 0.95.

        Raises:
            RefusedInput: the model's classes are not those of the dataset.
        """
        return self._run(
            self._learning.predict_image(checked_image(image_id), model, conf=conf, iou=iou)
        )

    def predict_batch(
        self,
        ref: DatasetRef,
        model: ModelRef,
        *,
        approve_cost: bool,
        conf: float = 0.5,
        iou: float = 0.7,
        include_annotated: bool = False,
        class_mapping: Mapping[int, int] | None = None,
    ) -> BatchRun:
        """Let a model label the images of a dataset (the Platform of 0.1.99 and later).

        It is billed for the images it processes, freezes a version first, and is never sent
        twice by itself. People have to review what it finds before anything learns from it.

        Args:
            ref: the dataset.
            model: as in `predict_image`.
            approve_cost: True says that it may spend credits.
            conf: confidence threshold; the guide's runbook has 0.5 for labels.
            iou: as in `predict_image`.
            include_annotated: also label images that have labels.
            class_mapping: class index of the model → that of the dataset.
        """
        checked_approval(approve_cost=approve_cost, what="labelling a dataset")
        return self._run(
            self._learning.start_batch(
                ref,
                model,
                conf=conf,
                iou=iou,
                include_annotated=include_annotated,
                class_mapping=class_mapping,
            )
        )

    def batch(self, ref: DatasetRef) -> BatchRun | None:
        """The batch under way, else the last one, else None."""
        return self._run(self._learning.batch(ref))

    def cancel_batch(self, ref: DatasetRef) -> None:
        """Stop the batch under way, or dismiss the summary of the last one."""
        self._run(self._learning.cancel_batch(ref))

    def wait_batch(
        self,
        ref: DatasetRef,
        *,
        timeout: timedelta = PROCESSING_TIMEOUT,
        poll: timedelta = PROCESSING_POLL,
    ) -> BatchRun:
        """Wait for the end of a batch.

        Raises:
            TransitionFailed: it failed, was stopped, or took longer than `timeout`.
        """
        return self._run(self._learning.wait_for_batch(ref, Ending(timeout=timeout, poll=poll)))


class Models:
    """Models of the Platform; `PlatformClient.models`.

    A model is named ``"owner/project/model"`` as in its URL, or ``"project/model"`` in the
    client's workspace. None is ever deleted here: its deployments would go with it.
    """

    def __init__(self, run: Run, learning: Learning) -> None:
        """Made by `PlatformClient`."""
        self._run = run
        self._learning = learning

    def create(
        self,
        ref: str,
        *,
        name: str | None = None,
        task: Task = "detect",
        description: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> Model:
        """Make a model, without weights yet; each training wants one of its own.

        Args:
            ref: its name, in a project that is there.
            name: its name for people; None is the same.
            task: what it will do.
            description: what it is for.
            metadata: whatever else shall stand on it.

        Raises:
            Conflict: there is one of that name.
            NotFound: there is no such project.
        """
        refuse_other("task", task, TASKS)
        return self._run(
            self._learning.create_model(
                ref, name=name, task=task, description=description, metadata=metadata or {}
            )
        )

    def get(self, ref: ModelRef) -> Model:
        """One model."""
        return self._run(self._learning.model(ref))

    def files(self, ref: ModelRef) -> tuple[ModelFile, ...]:
        """Its files, with addresses that are good for a short time."""
        return self._run(self._learning.files(ref))

    def download(self, file: ModelFile) -> bytes:
        """The content of a file, from the storage host, without the key."""
        return self._run(self._learning.download(file))


class Training:
    """Trainings on the Platform; `PlatformClient.training`."""

    def __init__(self, run: Run, learning: Learning) -> None:
        """Made by `PlatformClient`."""
        self._run = run
        self._learning = learning

    def start(
        self,
        model: ModelRef,
        *,
        data: DatasetRef,
        base: str,
        epochs: int,
        approve_cost: bool,
        budget_cents: float | None = None,
        lr0: float | None = 0.001,
        optimizer: Optimizer = "AdamW",
        imgsz: int = 640,
        batch: int = -1,
        patience: int = 100,
        seed: int = 0,
        freeze: int | None = None,
        gpu: Gpu = "rtx-4090",
        capture_version: bool = True,
        more: Mapping[str, object] | None = None,
    ) -> TrainingStart:
        """Start a training. It spends money; it is sent once and never repeated by itself.

        Args:
            model: the model to train; it must have no weights and no training yet, because a
                training clears what is there.
            data: the dataset.
            base: what to start from: a model such as ``"project/model"``, or the name of
                official weights such as ``"yolo26n.pt"``.
            epochs: passes over the training split, 1 to 10000.
            approve_cost: True says that it may spend credits.
            budget_cents: cancel at once if the Platform estimates more; None for no bound.
                The estimate comes with the answer to the start, not before.
            lr0: learning rate at the start; None leaves it to the optimizer.
            optimizer: how weights are updated. ``auto`` ignores `lr0` without a word, so that
                it is refused together with one.
            imgsz: size of the longer side, px.
            batch: images a step; -1 as many as fit.
            patience: epochs without progress after which it ends.
            seed: of everything random.
            freeze: layers that are not trained, from the first.
            gpu: what it runs on.
            capture_version: freeze the dataset under a number that the model then names.
            more: further arguments by the Platform's names.

        Raises:
            InputError: the cost is not approved, or an argument would be refused or ignored.
            PaymentRequired: the workspace has not the credits.
            Conflict: the model has weights or a training, or one is under way.
            TransitionFailed: it was estimated above `budget_cents` and cancelled.
        """
        checked_approval(approve_cost=approve_cost, what="a training")
        args = TrainArgs(
            epochs=epochs,
            lr0=lr0,
            optimizer=optimizer,
            imgsz=imgsz,
            batch=batch,
            patience=patience,
            seed=seed,
            freeze=freeze,
            more=more or {},
        )
        return self._run(
            self._learning.start_training(
                model,
                args,
                data=data,
                base=base,
                gpu=gpu,
                capture_version=capture_version,
                budget_cents=budget_cents,
            )
        )

    def status(self, model: ModelRef) -> TrainingJob | None:
        """How far a training is; None where there was none."""
        return self._run(self._learning.training(model))

    def cancel(self, model: ModelRef) -> str:
        """Stop a training.

        Returns:
            What the Platform warns of (that a machine could not be stopped, say); "" for nothing.

        Raises:
            Conflict: none is under way.
        """
        return self._run(self._learning.cancel_training(model))

    def wait(
        self,
        model: ModelRef,
        *,
        timeout: timedelta = TRAINING_TIMEOUT,
        poll: timedelta = TRAINING_POLL,
    ) -> TrainingJob:
        """Wait until a training is completed; it goes on by itself if nobody waits.

        Raises:
            TransitionFailed: it failed, was cancelled, or took longer than `timeout`.
        """
        ending = Ending(timeout=timeout, poll=poll)
        return self._run(self._learning.wait_for_training(model, ending))
