"""Datasets, their images and labels, as the Platform describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from driftline._checks import parts, refuse_number, refuse_other
from driftline.errors import InputError
from driftline.platform._calls import within
from driftline.platform._deployment import DATABASE_ID, SLUG
from driftline.platform._paging import Walk
from driftline.records import Detections

Split: TypeAlias = Literal["train", "val", "test"]
"""Which part of a dataset an image belongs to."""
Task: TypeAlias = Literal["detect", "segment", "semantic", "depth", "classify", "pose", "obb"]
"""What a model does."""
OnConflict: TypeAlias = Literal["skip", "keep_both", "replace"]
"""What becomes of an image that is there already, by its name or its content."""

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
TASKS: Final[tuple[Task, ...]] = (
    "detect",
    "segment",
    "semantic",
    "depth",
    "classify",
    "pose",
    "obb",
)
CONFLICTS: Final[tuple[OnConflict, ...]] = ("skip", "keep_both", "replace")
MOST_IMAGES: Final = 5000
"""Most images of one page (contract 0.1.9)."""
MOST_LABELS: Final = 10_000
"""Most labels of one image (contract 0.1.9)."""
LONGEST_DESCRIPTION: Final = 200
"""Longest description of a version, characters (contract 0.1.9)."""


class DatasetStatus(StrEnum):
    """Whether a dataset can be used."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


@frozen(kw_only=True)
class DatasetVersion:
    """A frozen state of a dataset: a number that a training and a score may name.

    Attributes:
        version: its number, from 1.
        description: what its maker wrote on it.
        content_hash: digest of what it holds, as the Platform computes it; None where not said.
        image_count: how many images it has; None where not said.
        reused: whether nothing had changed since, so that an earlier version was answered.
        url: where it can be downloaded as NDJSON, signed and short-lived; None where not said.
        created_at: when it was frozen, UTC; None where not said.
    """

    version: int
    description: str = ""
    content_hash: str | None = None
    image_count: int | None = None
    reused: bool = False
    url: str | None = field(default=None, repr=False)  # whoever has it may read the data
    created_at: datetime | None = None


@frozen(kw_only=True)
class IngestSummary:
    """What became of the files of an upload.

    Attributes:
        added: images that were added.
        errors: images that could not be read.
        skipped: reason → images that were left out for it.
    """

    added: int
    errors: int
    skipped: Mapping[str, int] = field(factory=dict, hash=False)


@frozen(kw_only=True)
class Dataset:
    """A dataset of the Platform.

    Attributes:
        id: database id.
        owner: workspace that owns it, as in URLs.
        slug: its name in URLs.
        name: its name for people.
        visibility: ``private`` or ``public``.
        task: what models trained on it do.
        status: whether it can be used; None where not said (nothing was ingested yet).
        class_names: names of its classes, by index.
        image_count: how many images it has.
        splits: how many images each split has, and how many are ``labeled``.
        versions: its frozen versions, oldest first.
        ingest_job: id of the last ingest; None for none.
        ingest_summary: what became of that; None where not said.
        processing_error: why processing failed, "" when it did not.
        metadata: what its owner wrote on it.
        created_at: when it was made, UTC.
        updated_at: when it was changed last, UTC.
    """

    id: str
    owner: str
    slug: str
    name: str
    visibility: str
    task: str
    status: DatasetStatus | None
    class_names: tuple[str, ...] = ()
    image_count: int = 0
    splits: Mapping[str, int] = field(factory=dict, hash=False)
    versions: tuple[DatasetVersion, ...] = ()
    ingest_job: str | None = None
    ingest_summary: IngestSummary | None = None
    processing_error: str = ""
    metadata: Mapping[str, object] = field(factory=dict, repr=False, hash=False)
    created_at: datetime
    updated_at: datetime

    @property
    def ref(self) -> str:
        """Its address: ``"owner/dataset"``."""
        return f"{self.owner}/{self.slug}"

    @property
    def uri(self) -> str:
        """How a training names it: ``"ul://owner/datasets/dataset"``."""
        return f"ul://{self.owner}/datasets/{self.slug}"

    def __str__(self) -> str:
        """One line for people."""
        said = f" ({self.processing_error})" if self.processing_error else ""
        return f"{self.ref}: {self.status or 'new'}{said}, {self.image_count} images, {self.visibility}"


DatasetRef: TypeAlias = str | Dataset
"""``"owner/dataset"``, a bare name (with the client's owner), or a `Dataset`."""


@frozen(kw_only=True)
class Label:
    """One labelled object of an image; coordinates are shares of its width and height, 0 to 1.

    Attributes:
        class_id: index of its class in the dataset.
        bbox: centre x, centre y, width, height; None for none.
        segments: outline, x and y in turn.
        keypoints: points, x and y (and visibility) in turn.
        obb: four corners of an oriented box, x and y in turn.
        skeleton_id: which skeleton the keypoints are of; None for none.
    """

    class_id: int
    bbox: tuple[float, float, float, float] | None = None
    segments: tuple[float, ...] = ()
    keypoints: tuple[float, ...] = ()
    obb: tuple[float, ...] = ()
    skeleton_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what is no place in an image."""
        box: Sequence[float] | None = self.bbox
        inside = box is None or (len(box) == 4 and all(0 <= value <= 1 for value in box))  # noqa: PLR2004 - cx, cy, w, h
        if self.class_id < 0 or not inside:
            msg = (
                f"class_id={self.class_id} must not be negative, and bbox={box} must be (centre x, "
                "centre y, width, height) as shares of the image, 0 to 1"
            )
            raise InputError(msg)


Labels: TypeAlias = Iterable[Label] | Detections
"""Labels, or detections whose boxes become labels."""


def labels_of(labels: Labels) -> tuple[Label, ...]:
    """Labels as records; boxes of detections are clipped to the image and become shares of it.

    Raises:
        InputError: one is none, or there are more than the Platform takes.
    """
    if isinstance(labels, Detections):
        found = _of_detections(labels)
    else:
        found = parts(labels, Label, name="labels", what="a Label(…)")
    if len(found) > MOST_LABELS:
        msg = f"{len(found)} labels: the Platform takes {MOST_LABELS} an image"
        raise InputError(msg)
    return found


def _of_detections(found: Detections) -> tuple[Label, ...]:
    height, width = found.image_size
    labels = []
    for class_id, (left, top, right, bottom) in zip(
        found.class_id.tolist(), found.xyxy.tolist(), strict=True
    ):
        x1, x2 = (min(max(value / width, 0.0), 1.0) for value in (left, right))
        y1, y2 = (min(max(value / height, 0.0), 1.0) for value in (top, bottom))
        box = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        labels.append(Label(class_id=class_id, bbox=box))
    return tuple(labels)


@frozen(kw_only=True)
class DatasetImage:
    """One image of a dataset.

    The Platform re-encodes images, so that `content_hash` is not that of the file uploaded.

    Attributes:
        id: database id, which `save_labels` and `predict_image` take.
        name: its file name.
        content_hash: digest of the stored image, as the Platform computes it.
        width: px.
        height: px.
        split: which part of the dataset it belongs to.
        label_count: how many labels it has.
        labels: those labels; empty where they were not asked for.
        labels_truncated: whether `labels` is only the beginning: read `image` for all.
        error: why it could not be processed, "" when it could.
    """

    id: str
    name: str
    content_hash: str
    width: int
    height: int
    split: str
    label_count: int
    labels: tuple[Label, ...] = ()
    labels_truncated: bool = False
    error: str = ""


@frozen(kw_only=True)
class ImagePage:
    """One page of a dataset's images.

    Attributes:
        images: the images, newest first.
        next_cursor: what to ask the next page with, None after the last.
    """

    images: tuple[DatasetImage, ...]
    next_cursor: str | None


@frozen(kw_only=True)
class ImageQuestion:
    """Which images of a dataset, and how many.

    Attributes:
        split: only those of this part; None for all.
        labelled: only those with (or without) labels; None for all.
        with_labels: whether to bring the labels along.
        limit: most images; None for as many as there are.
        page_size: images of one page, 1 to 5000.
    """

    split: Split | None = None
    labelled: bool | None = None
    with_labels: bool = True
    limit: int | None = None
    page_size: int = 500

    def __attrs_post_init__(self) -> None:
        """Refuse what the Platform would refuse (contract 0.1.9)."""
        refuse_other("split", self.split, (*SPLITS, None))
        within("page_size", self.page_size, 1, MOST_IMAGES, whole=True)
        if self.limit is not None:
            refuse_number("limit", self.limit, "0 or more, or None for all", least=0, whole=True)


class ImageWalk(Walk):
    """Where a walk through the pages of a dataset's images stands."""

    def __init__(self, asked: ImageQuestion) -> None:
        """Stand before the first page."""
        super().__init__(
            limit=asked.limit, page_size=asked.page_size, path="/images", key="nextCursor"
        )
        self.asked = asked

    def take(self, page: ImagePage) -> tuple[DatasetImage, ...]:
        """The images of a page that were asked for; then stand before the next.

        Raises:
            UnreadableReply: the page leads back to an earlier one.
        """
        wanted = page.images[: self.left]
        self.step(len(wanted), page.next_cursor)
        return wanted


@frozen(kw_only=True)
class ImagePrediction:
    """What a model finds in an image of a dataset; nothing is saved by it.

    Attributes:
        labels: what it found.
        confidences: of each label, 0 to 1; None where the Platform does not tell (contract
            0.1.9 has none; 0.1.99 adds them).
        model: the model that looked, as the Platform names it.
        inference_ms: how long that took, ms; None where not said.
    """

    labels: tuple[Label, ...]
    confidences: tuple[float, ...] | None
    model: str
    inference_ms: float | None = None


@frozen(kw_only=True)
class BatchRun:
    """A model that labels the images of a dataset, or did.

    Attributes:
        job_id: id of the run.
        active: whether it is under way.
        processed: images done so far; None where not said.
        total: images it is about; None where not said.
        annotations: labels it made; None before its end.
        failed: whether it failed.
        stopped: whether it was cancelled.
        error: why it failed, "" when it did not.
    """

    job_id: str
    active: bool
    processed: int | None = None
    total: int | None = None
    annotations: int | None = None
    failed: bool = False
    stopped: bool = False
    error: str = ""

    def __str__(self) -> str:
        """One line for people."""
        state = "under way" if self.active else "failed" if self.failed else "ended"
        done = "?" if self.processed is None else self.processed
        return f"{state}, {done} of {'?' if self.total is None else self.total} images"


@frozen
class DatasetAddress:
    """Where a dataset is: the two names its calls are addressed by."""

    owner: str
    slug: str

    def __str__(self) -> str:
        """``owner/dataset``."""
        return f"{self.owner}/{self.slug}"

    @property
    def uri(self) -> str:
        """``ul://owner/datasets/dataset``."""
        return f"ul://{self.owner}/datasets/{self.slug}"


def parse_dataset(ref: DatasetRef) -> tuple[str | None, str]:
    """Owner (None where not said) and name of a dataset.

    Raises:
        InputError: it is none.

    >>> parse_dataset("acme/line-3"), parse_dataset("ul://acme/datasets/line-3")
    (('acme', 'line-3'), ('acme', 'line-3'))
    """
    text: object = ref.ref if isinstance(ref, Dataset) else ref
    parts = _uri_parts(text) if isinstance(text, str) else []
    if len(parts) not in {1, 2} or not all(SLUG.fullmatch(part) for part in parts):
        msg = (
            f"{ref!r} is no dataset; pass 'owner/dataset' as in its URL "
            "(small letters, digits and single hyphens) or a bare name"
        )
        raise InputError(msg)
    return (parts[0] if len(parts) > 1 else None), parts[-1]


def _uri_parts(text: str) -> list[str]:
    if not text.startswith("ul://"):
        return text.split("/")
    owner, kind, *rest = [*text.removeprefix("ul://").split("/"), "", ""][:4]
    return [owner, rest[0]] if kind == "datasets" else []


def checked_image(image_id: str | DatasetImage) -> str:
    """The id of an image.

    Raises:
        InputError: it is none.
    """
    ident = image_id.id if isinstance(image_id, DatasetImage) else str(image_id)
    if DATABASE_ID.fullmatch(ident.lower()) is None:
        msg = f"{ident!r} is no image; pass the 24-digit id of a DatasetImage"
        raise InputError(msg)
    return ident
