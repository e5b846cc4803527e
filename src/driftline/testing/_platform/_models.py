"""``/api/models``: the records of models, with and without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from driftline.testing._platform._body import choice_of, json_of, number_of, slug_of, text_of
from driftline.testing._platform._datasets import TASKS
from driftline.testing._platform._router import Refused, Request, Response, Route, whole
from driftline.testing._platform._time import iso
from driftline.testing._platform._workspace import REGION

if TYPE_CHECKING:
    from driftline.testing._platform._training import Job
    from driftline.testing._platform._world import World


@define(kw_only=True)
class ModelRecord:
    """The record of one model.

    Attributes:
        id: database id.
        owner: the workspace.
        project: its project.
        slug: its name in addresses.
        name: its name for people.
        task: what it does.
        description: what it is for.
        metadata: whatever else stands on it.
        weights: content of its weights; None where it has none.
        metrics: scores of its last epoch.
        class_names: names of its classes.
        job: its training; None before one.
        created_us: when it was made.
        updated_us: when it was changed.
    """

    id: str
    owner: str
    project: str
    slug: str
    name: str
    task: str
    description: str = ""
    metadata: Mapping[str, Any] = field(factory=dict)
    weights: bytes | None = field(default=None, repr=False)
    metrics: Mapping[str, float] = field(factory=dict)
    class_names: tuple[str, ...] = ()
    job: Job | None = None
    created_us: int
    updated_us: int

    @property
    def reference(self) -> str:
        """``"project/model"``."""
        return f"{self.project}/{self.slug}"

    def wire(self, *, detail: bool = False) -> dict[str, Any]:
        """As the contract writes it."""
        row: dict[str, Any] = {
            "id": self.id,
            "owner": self.owner,
            "project": self.project,
            "projectName": self.project,
            "model": self.slug,
            "visibility": "private",
            "name": self.name,
            "status": self._status(),
            "task": self.task,
            "hasWeights": self.weights is not None,
            "starCount": 0,
            "isStarred": False,
            "createdAt": iso(self.created_us),
            "updatedAt": iso(self.updated_us),
        }
        optional = {
            "description": self.description,
            "metrics": dict(self.metrics),
            "classNames": list(self.class_names),
            "file": {"size": len(self.weights)} if self.weights is not None else None,
        }
        row |= {name: value for name, value in optional.items() if value}
        if self.job is not None:
            row |= self.job.model_fields()
        if detail:
            row["metadata"] = dict(self.metadata)
        return row

    def _status(self) -> str:
        if self.job is not None:
            return self.job.status
        return "completed" if self.weights is not None else "untrained"


def record_of(world: World, reference: str) -> ModelRecord | None:
    """The record of ``"project/model"``, made for a model that was there from the beginning."""
    records = world.workspace.records
    if reference not in records and reference in world.models:
        weights = f"local weights of {reference}".encode()
        made = make_record(world, reference)
        made.weights = weights
    return records.get(reference)


def make_record(
    world: World,
    reference: str,
    *,
    name: str | None = None,
    task: str = "detect",
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> ModelRecord:
    """Add the record of a model without weights."""
    project, _, slug = reference.partition("/")
    now = world.now_us()
    made = ModelRecord(
        id=world.workspace.new_id("model"),
        owner=world.owner,
        project=project,
        slug=slug,
        name=name or slug,
        task=task,
        description=description,
        metadata=metadata or {},
        created_us=now,
        updated_us=now,
    )
    world.workspace.records[reference] = made
    return made


def model_at(world: World, request: Request) -> ModelRecord:
    """The model of a path.

    Raises:
        Refused: 404, there is none.
    """
    names = request.slugs
    found = record_of(world, f"{names['project']}/{names['model']}")
    if found is None or names["owner"] != world.owner:
        raise Refused(404, "Model not found")
    return found


def model_of(world: World, uri: str) -> str:
    """``"project/model"`` of a model of this workspace that has weights.

    Raises:
        Refused: 400, it is no address; 404, there is none.
    """
    parts = uri.removeprefix("ul://").split("/")
    if not uri.startswith("ul://") or len(parts) != 3:  # noqa: PLR2004 - owner/project/model
        raise Refused(400, f"Invalid modelId: {uri}; expected ul://owner/project/model")
    reference = "/".join(parts[1:])
    if parts[0] != world.owner or reference not in world.models:
        raise Refused(404, "Model not found")
    return reference


def prediction_asked(body: Mapping[str, Any]) -> tuple[str, float]:
    """Address of the model and confidence threshold of a call that lets a model look.

    Raises:
        Refused: 400, one of them is none.
    """
    uri = text_of(body, "modelId", longest=256)
    number_of(body, "iou", low=0, high=0.95, default=0.7)
    return uri, number_of(body, "confidence", low=0.01, high=1, default=0.25) or 0.25


def _projects(world: World) -> set[str]:
    return {reference.split("/")[0] for reference in (*world.models, *world.workspace.records)}


def _list(world: World, request: Request) -> Response:
    limit = whole(request.query, "limit", low=1, high=100, default=20)
    project = request.slugs["project"]
    with world.lock:
        if request.slugs["owner"] != world.owner or project not in _projects(world):
            raise Refused(404, "Project not found")
        names = dict.fromkeys((*world.models, *world.workspace.records))
        found = [record_of(world, name) for name in names if name.startswith(f"{project}/")]
        rows = [record.wire() for record in found if record is not None]
    return Response(body={"models": rows[:limit], "region": REGION})


def _create(world: World, request: Request) -> Response:
    body = json_of(request)
    project, slug = slug_of(body, "project"), slug_of(body, "model")
    name = text_of(body, "name", longest=100, default=slug)
    task = choice_of(body, "task", TASKS, default="detect") or "detect"
    if body.get("owner", world.owner) != world.owner:
        raise Refused(403, "Project editor access required")
    with world.lock:
        if project not in _projects(world):
            raise Refused(404, "Project not found")
        if record_of(world, f"{project}/{slug}") is not None:
            raise Refused(409, "Model name already exists")
        made = make_record(
            world,
            f"{project}/{slug}",
            name=name,
            task=task,
            description=body.get("description", ""),
            metadata=body.get("metadata", {}),
        )
    reply = {
        "id": made.id,
        "owner": world.owner,
        "project": project,
        "model": slug,
        "region": REGION,
    }
    return Response(status=201, body=reply)


def _detail(world: World, request: Request) -> Response:
    with world.lock:
        wire = model_at(world, request).wire(detail=True)
    return Response(body={"model": wire, "isOwner": True})


def _files(world: World, request: Request) -> Response:
    with world.lock:
        model = model_at(world, request)
        files = []
        if model.weights is not None:
            url = world.workspace.publish(model.weights)
            files = [{"name": "best.pt", "size": len(model.weights), "downloadUrl": url}]
    return Response(body={"files": files})


_ONE: Final = "/api/models/{owner}/{project}/{model}"
ROUTES: Final = (
    Route("POST", "/api/models", _create, "model-create", category="mutation"),
    Route("GET", "/api/models/{owner}/{project}", _list, "model-list"),
    Route("GET", _ONE, _detail, "model"),
    Route("GET", f"{_ONE}/files", _files, "model-files", category="download"),
)
