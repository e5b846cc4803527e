"""Datasets of a `LocalPlatform`: their images, labels, versions, ingests and batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from attrs import define, evolve, field, frozen

from driftline.errors import InputError
from driftline.records import Detections
from driftline.testing._platform._archive import BrokenArchiveError, Member, label_of, members_of
from driftline.testing._platform._pictures import decoded, jpeg, png
from driftline.testing._platform._router import Refused
from driftline.testing._platform._time import iso
from driftline.testing._platform._uploads import Session
from driftline.testing._platform._workspace import REGION, error_of

if TYPE_CHECKING:
    from driftline.testing._platform._world import Image, World
    from driftline.testing._scenes import Frame

SPLITS: Final = ("train", "val", "test")
TASKS: Final = ("detect", "segment", "semantic", "depth", "classify", "pose", "obb")
SMALLEST_PX: Final = 28
"""Smallest side of an image: the Platform's page on datasets."""
SECONDS_PER_IMAGE: Final = 0.5
"""Simulated seconds that labelling an image by a model takes."""
DIGITS: Final = 5
"""Decimal places to which labels and confidences are kept."""


@frozen(kw_only=True)
class LocalImage:
    """One image of a dataset of a `LocalPlatform`.

    Attributes:
        id: its id.
        name: its file name.
        content: the stored file, JPEG.
        source: digest of the file that was uploaded.
        width: px.
        height: px.
        split: ``train``, ``val`` or ``test``.
        labels: its labels as the Platform's contract writes them.
        created_us: when it came, microseconds since 1970.
    """

    id: str
    name: str
    content: bytes = field(repr=False)
    source: str = field(repr=False)
    width: int
    height: int
    split: str
    labels: tuple[Mapping[str, Any], ...] = field(repr=False)
    created_us: int = field(repr=False)

    @property
    def array(self) -> Image:
        """Its pixels, ``(height, width, 3)`` uint8 RGB."""
        return decoded(self.content)

    @property
    def truth(self) -> Detections:
        """Its labels as boxes in pixels, with confidence 1."""
        boxes = np.array([label["bbox"] for label in self.labels if "bbox" in label]).reshape(-1, 4)
        scale = np.array([self.width, self.height])
        centre, half = boxes[:, :2] * scale, boxes[:, 2:] * scale / 2
        return Detections(
            xyxy=np.concatenate([centre - half, centre + half], axis=1),
            confidence=np.ones(len(boxes)),
            class_id=np.array([b["classId"] for b in self.labels if "bbox" in b], dtype=np.int64),
            image_size=(self.height, self.width),
        )


@frozen(kw_only=True)
class LocalVersion:
    """A frozen state of a dataset."""

    number: int
    description: str
    content_hash: str
    images: tuple[LocalImage, ...] = field(repr=False)
    class_names: tuple[str, ...]
    created_us: int


@frozen(kw_only=True)
class _Ingest:
    """An ingest on its way."""

    job: str
    session: Session
    split: str | None
    policy: str
    due: float
    failure: str | None


@frozen(kw_only=True)
class _Batch:
    """A model that labels images, on its way or done."""

    job: str
    model: str
    conf: float
    everything: bool
    images: tuple[str, ...]
    begun: float
    begun_us: int


@define(kw_only=True)
class LocalDataset:
    """A dataset of a `LocalPlatform`, for tests to look at."""

    id: str
    owner: str
    slug: str
    name: str
    task: str
    visibility: str
    description: str
    metadata: Mapping[str, Any]
    class_names: tuple[str, ...]
    created_us: int
    updated_us: int
    versions: tuple[LocalVersion, ...] = ()
    _images: dict[str, LocalImage] = field(factory=dict, repr=False)
    _ingest: _Ingest | None = field(default=None, init=False)
    _last_job: str | None = field(default=None, init=False)
    _summary: dict[str, Any] | None = field(default=None, init=False)
    _error: dict[str, object] | None = field(default=None, init=False)
    _batch: _Batch | None = field(default=None, init=False)
    _last_run: dict[str, Any] | None = field(default=None, init=False)

    @property
    def images(self) -> tuple[LocalImage, ...]:
        """Its images, oldest first."""
        return tuple(self._images.values())

    @property
    def status(self) -> str:
        """``processing``, ``ready`` or ``failed``."""
        if self._ingest is not None:
            return "processing"
        return "failed" if self._error is not None else "ready"

    # -- what happens to it

    def settle(self, world: World) -> None:
        """Let whatever is due happen."""
        now = world.stopwatch.seconds()
        if self._ingest is not None and self._ingest.due <= now:
            ingest, self._ingest = self._ingest, None
            self._take(world, ingest)
        if self._batch is not None and self._processed(now) >= len(self._batch.images):
            batch, self._batch = self._batch, None
            self._annotate(world, batch)

    def begin_ingest(
        self, world: World, session: Session, *, split: str | None, policy: str
    ) -> str:
        """Queue an upload; answers the id of the job."""
        if self._ingest is not None:
            raise Refused(409, "Dataset is already processing")
        work = world.workspace
        failure, work.break_ingest = work.break_ingest, None
        session.ingested = True
        self._last_job = work.new_id("ingest")
        self._error = None
        due = world.stopwatch.seconds() + work.ingest_seconds
        self._ingest = _Ingest(
            job=self._last_job,
            session=session,
            split=split,
            policy=policy,
            due=due,
            failure=failure,
        )
        return self._last_job

    def _take(self, world: World, ingest: _Ingest) -> None:
        now = world.now_us()
        session = ingest.session
        if ingest.failure is not None:
            self._error = error_of(ingest.failure, now)
            return
        try:
            found, names = members_of(
                session.content or b"", session.filename, world.workspace.fetch
            )
        except BrokenArchiveError as exc:
            self._error = error_of(str(exc), now)
            return
        self._name_classes(names, found)
        self._summary = self.add(world, found, split=ingest.split, policy=ingest.policy)

    def _name_classes(self, names: tuple[str, ...], found: list[Member]) -> None:
        most = max((label["classId"] for one in found for label in one.labels), default=-1)
        known = list(self.class_names or names)
        known += [f"class-{index}" for index in range(len(known), most + 1)]
        self.class_names = tuple(known)

    def add(
        self, world: World, found: Iterable[Member], *, split: str | None, policy: str
    ) -> dict[str, Any]:
        """Add images; answers what became of them."""
        added = errors = skipped = 0
        for member in found:
            try:
                image = self._image(world, member, split)
            except Refused:
                errors += 1
                continue
            rivals = [
                other
                for other in self._images.values()
                if image.source == other.source or image.name == other.name
            ]
            if rivals and policy == "skip":
                skipped += 1
                continue
            for rival in rivals if policy == "replace" else ():
                del self._images[rival.id]
            self._images[image.id] = image
            added += 1
        self.updated_us = world.now_us()
        counts = {"duplicate": skipped} if skipped else {}
        return {"added": added, "errors": errors, "skippedCounts": counts}

    def _image(self, world: World, member: Member, split: str | None) -> LocalImage:
        if member.content is None:
            raise Refused(400, "The file could not be fetched")
        pixels = decoded(member.content)
        height, width = pixels.shape[:2]
        if min(height, width) < SMALLEST_PX:
            raise Refused(400, "The image is too small")
        return LocalImage(
            id=world.workspace.new_id("image"),
            name=member.name,
            content=jpeg(pixels),
            source=hashlib.sha256(member.content).hexdigest(),
            width=width,
            height=height,
            split=split or member.split,
            labels=tuple(member.labels),
            created_us=world.now_us(),
        )

    def relabel(self, image: LocalImage, labels: Iterable[Mapping[str, Any]], us: int) -> None:
        """Replace the labels of an image."""
        self._images[image.id] = evolve(image, labels=tuple(labels))
        self.updated_us = us

    def freeze(self, description: str, us: int) -> tuple[LocalVersion, bool]:
        """A version of the present state, and whether it was there already."""
        digest = self._digest()
        if self.versions and self.versions[-1].content_hash == digest:
            return self.versions[-1], True
        version = LocalVersion(
            number=len(self.versions) + 1,
            description=description,
            content_hash=digest,
            images=self.images,
            class_names=self.class_names,
            created_us=us,
        )
        self.versions = (*self.versions, version)
        return version, False

    def _digest(self) -> str:
        rows = [
            (i.name, i.source, i.split, [dict(label) for label in i.labels]) for i in self.images
        ]
        text = json.dumps([self.class_names, rows], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    # -- a model that labels it

    def begin_batch(self, world: World, *, model: str, conf: float, everything: bool) -> str:
        """Queue it; answers the id of the job."""
        if self._batch is not None or self._ingest is not None:
            raise Refused(409, "A run is already in progress")
        self.freeze("Before auto-annotation", world.now_us())
        self._batch = _Batch(
            job=world.workspace.new_id("batch"),
            model=model,
            conf=conf,
            everything=everything,
            images=tuple(i.id for i in self.images if everything or not i.labels),
            begun=world.stopwatch.seconds(),
            begun_us=world.now_us(),
        )
        self._last_run = None
        return self._batch.job

    def _processed(self, now: float) -> int:
        return 0 if self._batch is None else int((now - self._batch.begun) / SECONDS_PER_IMAGE)

    def _annotate(self, world: World, batch: _Batch) -> None:
        made, classes = 0, set()
        failure: str | None = None
        for image in [self._images[i] for i in batch.images if i in self._images]:
            try:
                found, _ = self.found(world, image, batch.model, conf=batch.conf)
            except Refused as refused:
                failure = str(refused)
                break
            self.relabel(image, found, world.now_us())
            made += len(found)
            classes |= {label["classId"] for label in found}
        results = {"processed": len(batch.images), "annotations": made, "classes": len(classes)}
        self._last_run = _run(batch, error=failure, results=None if failure else results)

    def cancel_batch(self) -> dict[str, Any]:
        """Stop the run, or dismiss its summary."""
        if self._batch is not None:
            batch, self._batch = self._batch, None
            self._last_run = {**_run(batch, error=None, results=None), "stopped": True}
            return {"action": "cancelled", "jobId": batch.job}
        last, self._last_run = self._last_run, None
        return {"action": "dismissed" if last else "none", "jobId": last["id"] if last else None}

    def batch_wire(self, now: float) -> dict[str, Any]:
        """How far the run is, as the vendor's SDK 0.1.99 reads it."""
        batch = self._batch
        active = None
        if batch is not None:
            progress = {"processed": self._processed(now), "total": len(batch.images)}
            active = {
                "id": batch.job,
                "confidence": batch.conf,
                "boxScale": 1,
                "stopping": False,
                "progress": progress,
                "startedAt": iso(batch.begun_us),
            }
        return {"activeJob": active, "lastRun": self._last_run}

    def found(
        self, world: World, image: LocalImage, model: str, *, conf: float
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """What a model finds in an image, as labels, and how sure it is.

        Raises:
            Refused: 422, its classes are not those of the dataset.
        """
        with world.detecting:
            seen = world.detector(model)(image.array)
        wrong = [n for i, n in seen.class_names.items() if self.class_names[i : i + 1] != (n,)]
        beyond = [int(i) for i in seen.class_id if i >= len(self.class_names)]
        if wrong or beyond:
            raise Refused(422, f"Model classes do not match the dataset: {wrong or beyond}")
        order = np.argsort(-seen.confidence, kind="stable")
        kept = order[seen.confidence[order] >= conf]
        scale = np.array([image.width, image.height, image.width, image.height])
        labels = []
        for row, (x1, y1, x2, y2) in zip(kept, (seen.xyxy[kept] / scale).clip(0, 1), strict=True):
            place = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
            labels.append(label_of([int(seen.class_id[row]), *(float(v) for v in place)]))
        return labels, [round(float(seen.confidence[row]), DIGITS) for row in kept]

    # -- what it looks like

    def wire(self, *, detail: bool = False) -> dict[str, Any]:
        """As the contract writes it."""
        images = self.images
        row: dict[str, Any] = {
            "id": self.id,
            "owner": self.owner,
            "dataset": self.slug,
            "name": self.name,
            "visibility": self.visibility,
            "task": self.task,
            "imageCount": len(images),
            "classCount": len(self.class_names),
            "classNames": list(self.class_names),
            "format": "yolo",
            "splits": _counts(images),
            "annotationCount": sum(len(image.labels) for image in images),
            "totalBytes": sum(len(image.content) for image in images),
            "starCount": 0,
            "isStarred": False,
            "status": self.status,
            "region": REGION,
            "createdAt": iso(self.created_us),
            "updatedAt": iso(self.updated_us),
        }
        optional = {
            "description": self.description or None,
            "lastIngestJobId": self._last_job,
            "lastIngestSummary": self._summary,
            "processingError": self._error,
        }
        row |= {name: value for name, value in optional.items() if value is not None}
        if detail:
            row["versions"] = [_version_wire(version) for version in self.versions]
            row["metadata"] = dict(self.metadata)
        return row

    def lines(self, version: LocalVersion | None, publish: Any) -> Iterator[bytes]:
        """It, or a version of it, as NDJSON."""
        images = self.images if version is None else version.images
        names = self.class_names if version is None else version.class_names
        head = {
            "type": "dataset",
            "task": self.task,
            "name": self.name,
            "class_names": {str(index): name for index, name in enumerate(names)},
        }
        yield json.dumps(head).encode() + b"\n"
        for image in images:
            boxes = [
                [label["classId"], *label["bbox"]] for label in image.labels if "bbox" in label
            ]
            row = {
                "type": "image",
                "file": image.name,
                "url": publish(image.content),
                "width": image.width,
                "height": image.height,
                "split": image.split,
                "annotations": {"boxes": boxes},
            }
            yield json.dumps(row).encode() + b"\n"


def _run(batch: _Batch, *, error: str | None, results: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": batch.job,
        "confidence": batch.conf,
        "boxScale": 1,
        "failed": error is not None,
        "stopped": False,
        "error": error,
        "results": results,
    }


def _counts(images: Iterable[LocalImage]) -> dict[str, int]:
    rows = list(images)
    counts = {split: sum(image.split == split for image in rows) for split in SPLITS}
    return {**counts, "labeled": sum(bool(image.labels) for image in rows)}


def _version_wire(version: LocalVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "description": version.description,
        "contentHash": version.content_hash,
        "imageCount": len(version.images),
        "classCount": len(version.class_names),
        "annotationCount": sum(len(image.labels) for image in version.images),
        "splits": _counts(version.images),
        "createdAt": iso(version.created_us),
    }


def member_of(frame: Frame, split: str) -> Member:
    """A frame and what is truly in it, as if it had come in an archive."""
    height, width = frame.truth.image_size
    labels = []
    for class_id, (x1, y1, x2, y2) in zip(
        frame.truth.class_id.tolist(), frame.truth.xyxy.tolist(), strict=True
    ):
        centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
        labels.append(label_of([class_id, *centre, (x2 - x1) / width, (y2 - y1) / height]))
    return Member(
        name=f"{frame.camera}-{frame.number:06d}.png",
        content=png(frame.image),
        split=split,
        labels=tuple(labels),
    )


def make_dataset(
    world: World,
    slug: str,
    *,
    name: str,
    task: str = "detect",
    visibility: str = "private",
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    class_names: Iterable[str] = (),
) -> LocalDataset:
    """Add an empty dataset to a world."""
    now = world.now_us()
    made = LocalDataset(
        id=world.workspace.new_id("dataset"),
        owner=world.owner,
        slug=slug,
        name=name,
        task=task,
        visibility=visibility,
        description=description,
        metadata=metadata or {},
        class_names=tuple(class_names),
        created_us=now,
        updated_us=now,
    )
    world.workspace.datasets[slug] = made
    return made


def require_free(world: World, slug: str) -> None:
    """Refuse a name that is taken.

    Raises:
        InputError: it is.
    """
    if slug in world.workspace.datasets:
        msg = f"dataset {slug!r} is there already"
        raise InputError(msg)
