"""A deployment: one dedicated inference endpoint, as the Platform describes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from attrs import field, frozen

from driftline.errors import InputError

SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
"""How the Platform writes a name in a URL (its API contract 0.1.9)."""
DATABASE_ID = re.compile(r"[0-9a-f]{24}")
"""How it writes a database id; calls by id have been gone since August 2026."""


class DeploymentStatus(StrEnum):
    """Where a deployment stands in its life."""

    CREATING = "creating"
    DEPLOYING = "deploying"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def transitional(self) -> bool:
        """Whether it is on its way to another one."""
        return self.value in {"creating", "deploying", "stopping"}


@frozen(kw_only=True)
class Resources:
    """What a deployment may use.

    Attributes:
        cpu: virtual CPUs of an instance.
        memory_gib: memory of an instance, GiB.
        min_instances: instances kept while there is no traffic; 0 scales to zero.
        max_instances: bound on instances.
    """

    cpu: float
    memory_gib: float
    min_instances: int
    max_instances: int


@frozen(kw_only=True)
class Deployment:
    """One dedicated inference endpoint.

    Attributes:
        id: database id, 24 hexadecimal digits; no address since August 2026.
        owner: workspace that owns it, as in URLs.
        slug: its name in URLs.
        name: its name for people.
        status: where it stands in its life.
        status_message: the Platform's words on that, "" when it says nothing.
        region: cloud region it runs in.
        resources: what it may use.
        project: project of the deployed model; None once that was deleted.
        model: name of the deployed model; None once that was deleted.
        task: ``detect``, ``segment``, ``semantic``, ``depth``, ``classify``, ``pose`` or
            ``obb``; None where not said.
        service_url: its own address; None before it was ready for the first time.
        api_key_id: which key that address takes; None for anybody but the owner.
        metered: whether its use is billed by consumption; None where not said.
        camera: address of the camera stream it reads; None for none.
        metadata: what its owner wrote on it.
        deployed_at: when it was ready for the first time, UTC; None before.
        created_at: when it was made, UTC.
        updated_at: when it was changed last, UTC.
    """

    id: str
    owner: str
    slug: str
    name: str
    status: DeploymentStatus
    region: str
    resources: Resources
    created_at: datetime
    updated_at: datetime
    status_message: str = ""
    project: str | None = None
    model: str | None = None
    task: str | None = None
    service_url: str | None = None
    api_key_id: str | None = None
    metered: bool | None = None
    camera: str | None = field(default=None, repr=False)  # a stream's URL may hold a password
    metadata: Mapping[str, object] = field(factory=dict, repr=False, hash=False)
    deployed_at: datetime | None = None

    @property
    def ref(self) -> str:
        """Its address: ``"owner/slug"``."""
        return f"{self.owner}/{self.slug}"

    @property
    def model_ref(self) -> str | None:
        """``"project/model"`` of the deployed model, as `PlatformClient.replace` takes it.

        None once the model was deleted: then nothing can roll back to it.
        """
        if self.project is None or self.model is None:
            return None
        return f"{self.project}/{self.model}"

    @property
    def model_address(self) -> str | None:
        """``"owner/project/model"``, as `driftline.records.Context` names it; None as above."""
        return None if self.model_ref is None else f"{self.owner}/{self.model_ref}"

    def __str__(self) -> str:
        """One line for people."""
        said = f" ({self.status_message})" if self.status_message else ""
        return (
            f"{self.ref}: {self.status}{said}, {self.model_ref or 'model deleted'}, {self.region}"
        )


Ref: TypeAlias = str | Deployment
"""``"owner/deployment"``, a slug (with the client's owner), a 24-digit id, or a `Deployment`."""


class DeploymentList(list[Deployment]):
    """The deployments the Platform lets one list, which may be fewer than there are.

    Attributes:
        total: how many it says there are.
        region: region of the workspace's data: ``us``, ``eu`` or ``ap``.
    """

    def __init__(
        self, rows: Iterable[Deployment] = (), *, total: int = 0, region: str = ""
    ) -> None:
        """Keep the rows and what was said about them."""
        super().__init__(rows)
        self.total = max(total, len(self))
        self.region = region

    @property
    def unlisted(self) -> int:
        """How many there are that the Platform did not list; reach those by ``owner/deployment``."""
        return self.total - len(self)


@frozen
class Address:
    """Where a deployment is: the two names its calls are addressed by."""

    owner: str
    slug: str

    def __str__(self) -> str:
        """``owner/slug``."""
        return f"{self.owner}/{self.slug}"


@frozen
class Wanted:
    """A reference before it is resolved.

    Attributes:
        owner: the owner named in it, None where none is.
        name: the slug, or the id.
    """

    owner: str | None
    name: str

    @property
    def may_be_id(self) -> bool:
        """Whether the name looks like a database id."""
        return DATABASE_ID.fullmatch(self.name) is not None


def parse_ref(ref: Ref) -> Wanted:
    """The parts of a reference.

    Raises:
        InputError: it is none.

    >>> parse_ref("acme/line-3")
    Wanted(owner='acme', name='line-3')
    """
    parts = _names(ref.ref if isinstance(ref, Deployment) else ref)
    if len(parts) not in {1, 2}:
        msg = (
            f"{ref!r} is no deployment; pass 'owner/deployment' as in its URL "
            "(small letters, digits and single hyphens), a bare name, or a 24-digit id"
        )
        raise InputError(msg)
    return Wanted(parts[0] if len(parts) > 1 else None, parts[-1])


def parse_model(model: str) -> tuple[str, str]:
    """Project and name of ``"project/model"``.

    Raises:
        InputError: it is none.

    >>> parse_model("line-3/yolo26s-v4")
    ('line-3', 'yolo26s-v4')
    """
    parts = _names(model)
    if len(parts) != 2:  # noqa: PLR2004 - two names
        msg = f"{model!r} is no model; pass 'project/model' of the deployment's own workspace"
        raise InputError(msg)
    return parts[0], parts[1]


def checked_owner(owner: str) -> str:
    """The owner.

    Raises:
        InputError: it is no name of a workspace.
    """
    if len(_names(owner)) != 1:
        msg = f"owner={owner!r} is no workspace; pass its name as in URLs, such as 'acme'"
        raise InputError(msg)
    return owner


def _names(text: object) -> list[str]:
    """The names that slashes divide; empty where one of them is none."""
    parts = text.split("/") if isinstance(text, str) else []
    return parts if all(SLUG.fullmatch(part) for part in parts) else []


def checked_status(status: DeploymentStatus | str) -> DeploymentStatus:
    """The status of that name.

    Raises:
        InputError: there is none.
    """
    try:
        return DeploymentStatus(status)
    except ValueError:
        msg = f"status={status!r} must be one of {', '.join(DeploymentStatus)}"
        raise InputError(msg) from None
