"""The async faces of datasets, models and trainings: the blocking ones with ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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


class AsyncRun(Protocol):
    """What drives a conversation to its answer."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]:
        """The answer, to be awaited."""
        ...


class AsyncDatasets:
    """`Datasets` with ``await``; `AsyncPlatformClient.datasets`."""

    def __init__(self, run: AsyncRun, learning: Learning) -> None:
        """Made by `AsyncPlatformClient`."""
        self._run = run
        self._learning = learning

    async def create(
        self,
        ref: str,
        *,
        name: str | None = None,
        task: Task = "detect",
        class_names: Sequence[str] = (),
        description: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> Dataset:
        """Make an empty dataset, private; see `Datasets.create`."""
        refuse_other("task", task, TASKS)
        return await self._run(
            self._learning.create_dataset(
                ref,
                name=name,
                task=task,
                class_names=parts(class_names, str, name="class_names", what="a name"),
                description=description,
                metadata=metadata or {},
            )
        )

    async def get(self, ref: DatasetRef) -> Dataset:
        """One dataset, with its versions and the state of its last ingest."""
        return await self._run(self._learning.dataset(ref))

    async def wait(
        self,
        ref: DatasetRef,
        *,
        timeout: timedelta = PROCESSING_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = PROCESSING_POLL,
    ) -> Dataset:
        """Wait until nothing is processed any more; see `Datasets.wait`."""
        return await self._run(
            self._learning.wait_for_dataset(ref, Ending(timeout=timeout, poll=poll))
        )

    async def upload(
        self,
        ref: DatasetRef,
        archive: Archive,
        *,
        split: Split,
        conflict: OnConflict = "skip",
        resume: DatasetUpload | None = None,
        on_stage: Callable[[DatasetUpload], None] | None = None,
        wait: bool = True,
        timeout: timedelta = PROCESSING_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = PROCESSING_POLL,
    ) -> DatasetUpload:
        """Bring an archive of images and labels into a dataset, and wait until it is ready; see `Datasets.upload`."""
        refuse_other("split", split, SPLITS)
        refuse_other("conflict", conflict, CONFLICTS)
        package = await asyncio.to_thread(load_archive, archive)
        ending = Ending(wait=wait, timeout=timeout, poll=poll)
        return await self._run(
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

    async def freeze_version(self, ref: DatasetRef, description: str = "") -> DatasetVersion:
        """Freeze the present state under a number that trainings and scores can name; see `Datasets.freeze_version`."""
        return await self._run(self._learning.freeze(ref, description))

    async def export(self, ref: DatasetRef, version: int | None = None) -> bytes:
        """The dataset as NDJSON: a line about it, then a line an image, with its labels; see `Datasets.export`."""
        return await self._run(self._learning.export(ref, version))

    def images(
        self,
        ref: DatasetRef,
        *,
        split: Split | None = None,
        labelled: bool | None = None,
        with_labels: bool = True,
        limit: int | None = None,
        page_size: int = 500,
    ) -> AsyncIterator[DatasetImage]:
        """The images of a dataset, newest first; pages are fetched as they are needed; see `Datasets.images`."""
        asked = ImageQuestion(
            split=split,
            labelled=labelled,
            with_labels=with_labels,
            limit=limit,
            page_size=page_size,
        )
        return self._images(ref, ImageWalk(asked))

    async def _images(self, ref: DatasetRef, walk: ImageWalk) -> AsyncIterator[DatasetImage]:
        while walk.more:
            page = await self._run(self._learning.image_page(ref, walk))
            for image in walk.take(page):
                yield image

    async def image(self, image_id: str | DatasetImage) -> DatasetImage:
        """One image with all its labels."""
        return await self._run(self._learning.image(checked_image(image_id)))

    async def save_labels(self, image_id: str | DatasetImage, labels: Labels) -> tuple[Label, ...]:
        """Replace the labels of an image; see `Datasets.save_labels`."""
        saved = self._learning.save_labels(checked_image(image_id), labels_of(labels))
        return await self._run(saved)

    async def predict_image(
        self,
        image_id: str | DatasetImage,
        model: ModelRef,
        *,
        conf: float = 0.25,
        iou: float = 0.7,
    ) -> ImagePrediction:
        """What a model finds in an image; nothing is saved; see `Datasets.predict_image`."""
        return await self._run(
            self._learning.predict_image(checked_image(image_id), model, conf=conf, iou=iou)
        )

    async def predict_batch(
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
        """Let a model label the images of a dataset (the Platform of 0.1.99 and later); see `Datasets.predict_batch`."""
        checked_approval(approve_cost=approve_cost, what="labelling a dataset")
        return await self._run(
            self._learning.start_batch(
                ref,
                model,
                conf=conf,
                iou=iou,
                include_annotated=include_annotated,
                class_mapping=class_mapping,
            )
        )

    async def batch(self, ref: DatasetRef) -> BatchRun | None:
        """The batch under way, else the last one, else None."""
        return await self._run(self._learning.batch(ref))

    async def cancel_batch(self, ref: DatasetRef) -> None:
        """Stop the batch under way, or dismiss the summary of the last one."""
        await self._run(self._learning.cancel_batch(ref))

    async def wait_batch(
        self,
        ref: DatasetRef,
        *,
        timeout: timedelta = PROCESSING_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = PROCESSING_POLL,
    ) -> BatchRun:
        """Wait for the end of a batch; see `Datasets.wait_batch`."""
        return await self._run(
            self._learning.wait_for_batch(ref, Ending(timeout=timeout, poll=poll))
        )


class AsyncModels:
    """`Models` with ``await``; `AsyncPlatformClient.models`."""

    def __init__(self, run: AsyncRun, learning: Learning) -> None:
        """Made by `AsyncPlatformClient`."""
        self._run = run
        self._learning = learning

    async def create(
        self,
        ref: str,
        *,
        name: str | None = None,
        task: Task = "detect",
        description: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> Model:
        """Make a model, without weights yet; each training wants one of its own; see `Models.create`."""
        refuse_other("task", task, TASKS)
        return await self._run(
            self._learning.create_model(
                ref, name=name, task=task, description=description, metadata=metadata or {}
            )
        )

    async def get(self, ref: ModelRef) -> Model:
        """One model."""
        return await self._run(self._learning.model(ref))

    async def files(self, ref: ModelRef) -> tuple[ModelFile, ...]:
        """Its files, with addresses that are good for a short time."""
        return await self._run(self._learning.files(ref))

    async def download(self, file: ModelFile) -> bytes:
        """The content of a file, from the storage host, without the key."""
        return await self._run(self._learning.download(file))


class AsyncTraining:
    """`Training` with ``await``; `AsyncPlatformClient.training`."""

    def __init__(self, run: AsyncRun, learning: Learning) -> None:
        """Made by `AsyncPlatformClient`."""
        self._run = run
        self._learning = learning

    async def start(
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
        """Start a training. It spends money; it is sent once and never repeated by itself; see `Training.start`."""
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
        return await self._run(
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

    async def status(self, model: ModelRef) -> TrainingJob | None:
        """How far a training is; None where there was none."""
        return await self._run(self._learning.training(model))

    async def cancel(self, model: ModelRef) -> str:
        """Stop a training; see `Training.cancel`."""
        return await self._run(self._learning.cancel_training(model))

    async def wait(
        self,
        model: ModelRef,
        *,
        timeout: timedelta = TRAINING_TIMEOUT,  # noqa: ASYNC109 - how long the Platform may take
        poll: timedelta = TRAINING_POLL,
    ) -> TrainingJob:
        """Wait until a training is completed; it goes on by itself if nobody waits; see `Training.wait`."""
        ending = Ending(timeout=timeout, poll=poll)
        return await self._run(self._learning.wait_for_training(model, ending))
