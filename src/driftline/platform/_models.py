"""Models of the Platform: what was trained, on what, and how well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from attrs import field, frozen

from driftline.errors import InputError
from driftline.platform._deployment import SLUG


class ModelStatus(StrEnum):
    """Where a model, or the training of it, stands."""

    PENDING = "pending"
    UNTRAINED = "untrained"
    STARTING = "starting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def active(self) -> bool:
        """Whether a training is under way."""
        return self.value in {"pending", "starting", "running"}


@frozen(kw_only=True)
class Model:
    """A model of the Platform: one record for one training.

    Attributes:
        id: database id; a training is started by it.
        owner: workspace that owns it, as in URLs.
        project: its project in URLs.
        slug: its name in URLs.
        name: its name for people.
        visibility: ``private`` or ``public``, as its project.
        status: where its training stands; None where not said.
        task: what it does; None where not said.
        has_weights: whether it can be deployed and downloaded.
        metrics: its scores at the end of the training, by the Platform's names, on the
            validation split of its own dataset: they are not those of your holdout.
        best_epoch: the epoch its weights are of; None where not said.
        dataset_version: number of the dataset's version it was trained on; None where no
            version was captured.
        dataset_hash: content hash of that version.
        train_args: how it was trained.
        class_names: names of its classes, by index.
        training_error: why its training failed, "" when it did not.
        metadata: what its owner wrote on it.
        created_at: when it was made, UTC.
        updated_at: when it was changed last, UTC.
        completed_at: when its training ended, UTC; None before.
    """

    id: str
    owner: str
    project: str
    slug: str
    name: str
    visibility: str
    status: ModelStatus | None
    task: str | None
    has_weights: bool
    metrics: Mapping[str, float] = field(factory=dict, hash=False)
    best_epoch: int | None = None
    dataset_version: int | None = None
    dataset_hash: str | None = None
    train_args: Mapping[str, object] = field(factory=dict, repr=False, hash=False)
    class_names: tuple[str, ...] = ()
    training_error: str = ""
    metadata: Mapping[str, object] = field(factory=dict, repr=False, hash=False)
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None

    @property
    def ref(self) -> str:
        """Its address: ``"owner/project/model"``."""
        return f"{self.owner}/{self.project}/{self.slug}"

    @property
    def model_ref(self) -> str:
        """``"project/model"``, as `PlatformClient.replace` takes it."""
        return f"{self.project}/{self.slug}"

    @property
    def uri(self) -> str:
        """How a training or a prediction names it: ``"ul://owner/project/model"``."""
        return f"ul://{self.ref}"

    def __str__(self) -> str:
        """One line for people."""
        said = f" ({self.training_error})" if self.training_error else ""
        weights = "with weights" if self.has_weights else "no weights"
        return f"{self.ref}: {self.status or 'no training'}{said}, {weights}"


ModelRef: TypeAlias = str | Model
"""``"owner/project/model"``, ``"project/model"`` (with the client's owner), or a `Model`."""


@frozen(kw_only=True)
class ModelFile:
    """One file of a model.

    Attributes:
        name: its name, such as ``best.pt``.
        size_bytes: its size.
        url: where it can be downloaded, signed and short-lived.
    """

    name: str
    size_bytes: int
    url: str = field(repr=False)  # whoever has it may read the weights


@frozen
class ModelAddress:
    """Where a model is: the three names its calls are addressed by."""

    owner: str
    project: str
    slug: str

    def __str__(self) -> str:
        """``owner/project/model``."""
        return f"{self.owner}/{self.project}/{self.slug}"

    @property
    def uri(self) -> str:
        """``ul://owner/project/model``."""
        return f"ul://{self}"


_WITH_OWNER: Final = 3


def parse_model_ref(ref: ModelRef) -> tuple[str | None, str, str]:
    """Owner (None where not said), project and name of a model.

    Raises:
        InputError: it is none.

    >>> parse_model_ref("line/yolo26s-v4")
    (None, 'line', 'yolo26s-v4')
    >>> parse_model_ref("ul://acme/line/yolo26s-v4")
    ('acme', 'line', 'yolo26s-v4')
    """
    text: object = ref.ref if isinstance(ref, Model) else ref
    parts = text.removeprefix("ul://").split("/") if isinstance(text, str) else []
    fits = len(parts) in {2, _WITH_OWNER} and all(SLUG.fullmatch(part) for part in parts)
    if not fits or (str(text).startswith("ul://") and len(parts) != _WITH_OWNER):
        msg = (
            f"{ref!r} is no model; pass 'owner/project/model' as in its URL, "
            "or 'project/model' of the client's workspace"
        )
        raise InputError(msg)
    return (parts[0] if len(parts) == _WITH_OWNER else None), parts[-2], parts[-1]
