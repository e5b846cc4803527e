"""``/api/datasets``: making, listing, filling, freezing and labelling datasets."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from driftline.testing._platform._body import choice_of, json_of, known_only, slug_of, text_of
from driftline.testing._platform._datasets import (
    SPLITS,
    TASKS,
    LocalDataset,
    LocalImage,
    make_dataset,
)
from driftline.testing._platform._models import model_of, prediction_asked
from driftline.testing._platform._router import (
    Refused,
    Request,
    Response,
    Route,
    choice,
    whole,
)
from driftline.testing._platform._uploads import session_of
from driftline.testing._platform._workspace import REGION

if TYPE_CHECKING:
    from driftline.testing._platform._world import World

POLICIES: Final = ("skip", "keep_both", "replace")
_LONGEST_NAME: Final = 100


def _at(world: World, request: Request) -> LocalDataset:
    found = world.workspace.datasets.get(request.slugs["dataset"])
    if found is None or request.slugs["owner"] != world.owner:
        raise Refused(404, "Dataset not found")
    return found


def _list(world: World, request: Request) -> Response:
    limit = whole(request.query, "limit", low=1, high=1000, default=1000)
    if request.slugs["owner"] != world.owner:
        raise Refused(404, "Owner not found")
    with world.lock:
        rows = [dataset.wire() for dataset in world.workspace.datasets.values()]
    return Response(body={"datasets": rows[:limit], "total": len(rows), "region": REGION})


_CREATE: Final = frozenset(
    [
        "dataset",
        "name",
        "description",
        "metadata",
        "visibility",
        "task",
        "imageCount",
        "classNames",
        "format",
        "tags",
        "license",
        "owner",
    ]
)


def _create(world: World, request: Request) -> Response:
    body = json_of(request)
    known_only(body, _CREATE)
    slug, name = slug_of(body, "dataset"), text_of(body, "name", longest=_LONGEST_NAME)
    task = choice_of(body, "task", TASKS, default="detect") or "detect"
    # Left out it is public, the Platform's pages say; the contract does not.
    visibility = choice_of(body, "visibility", ("public", "private"), default="public") or "public"
    names = body.get("classNames", [])
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        raise Refused(400, "Invalid classNames")
    if body.get("owner", world.owner) != world.owner:
        raise Refused(403, "Workspace access required")
    with world.lock:
        if slug in world.workspace.datasets:
            raise Refused(400, "Dataset name already exists")
        made = make_dataset(
            world,
            slug,
            name=name,
            task=task,
            visibility=visibility,
            description=body.get("description", ""),
            metadata=body.get("metadata", {}),
            class_names=names,
        )
    reply = {"id": made.id, "owner": world.owner, "dataset": slug, "region": REGION}
    return Response(status=201, body=reply)


def _detail(world: World, request: Request) -> Response:
    with world.lock:
        return Response(body={"dataset": _at(world, request).wire(detail=True)})


def _images(world: World, request: Request) -> Response:
    query = request.query
    limit = whole(query, "limit", low=1, high=5000, default=50)
    split = choice(query, "split", SPLITS)
    labelled = choice(query, "hasLabel", ("true", "false"))
    with_labels = choice(query, "includeLabels", ("true", "false"), default="false") == "true"
    with_total = choice(query, "includeTotal", ("true", "false"), default="true") == "true"
    choice(query, "includeThumbnails", ("true", "false"))
    with world.lock:
        dataset = _at(world, request)
        rows = [
            image
            for image in reversed(dataset.images)
            if split in {None, image.split}
            and labelled in {None, "true" if image.labels else "false"}
        ]
        page, following = _page(rows, query.get("cursor"), limit)
        body: dict[str, object] = {
            "images": [_listed(image, with_labels=with_labels) for image in page],
            "hasMore": following is not None,
            "classes": list(dataset.class_names),
            "errorCount": 0,
        }
    if with_total:
        body["total"] = len(rows)
    if following is not None:
        body["nextCursor"] = following
    return Response(body=body)


def _page(
    rows: list[LocalImage], cursor: str | None, limit: int
) -> tuple[list[LocalImage], str | None]:
    at = 0
    if cursor is not None:
        ids = [image.id for image in rows]
        if cursor not in ids:
            raise Refused(400, f"Invalid cursor: {cursor}")
        at = ids.index(cursor) + 1
    page = rows[at : at + limit]
    return page, page[-1].id if at + limit < len(rows) else None


def _listed(image: LocalImage, *, with_labels: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": image.id,
        "hash": hashlib.md5(image.content, usedforsecurity=False).hexdigest(),
        "ext": "jpg",
        "width": image.width,
        "height": image.height,
        "split": image.split,
        "labelCount": len(image.labels),
        "name": image.name,
        "bytes": len(image.content),
    }
    if with_labels:
        row["labels"] = [dict(label) for label in image.labels]
    return row


_INGEST: Final = frozenset(
    [
        "targetSplit",
        "conflictPolicy",
        "sessionId",
        "sourceUrl",
        "reference",
        "classMapping",
        "imageMetadata",
    ]
)


def _ingest(world: World, request: Request) -> Response:
    body = json_of(request)
    known_only(body, _INGEST)
    split = choice_of(body, "targetSplit", SPLITS)
    policy = choice_of(body, "conflictPolicy", POLICIES, default="skip") or "skip"
    if "sourceUrl" in body or "reference" in body:
        raise Refused(400, "This local platform takes a sessionId only: it opens no URL")
    with world.lock:
        dataset = _at(world, request)
        session = session_of(world, text_of(body, "sessionId", longest=128))
        if session.content is None or session.dataset != dataset.slug:
            raise Refused(404, "Upload session not found")
        if session.ingested:
            raise Refused(409, "The upload was ingested already")
        job = dataset.begin_ingest(world, session, split=split, policy=policy)
    return Response(status=201, body={"jobId": job, "status": "queued"})


def _export(world: World, request: Request) -> Response:
    number = whole(request.query, "v", low=1, high=10**6, default=0)
    with world.lock:
        dataset = _at(world, request)
        _require_ready(dataset)
        version = next((v for v in dataset.versions if v.number == number), None)
        if number and version is None:
            raise Refused(404, "Dataset version not found")
        url = world.workspace.publish(b"".join(dataset.lines(version, world.workspace.publish)))
    if version is None:
        return Response(body={"downloadUrl": url, "cached": False})
    return Response(body={"downloadUrl": url, "version": version.number})


def _freeze(world: World, request: Request) -> Response:
    body = json_of(request)
    known_only(body, {"description"})
    description = body.get("description", "")
    if not isinstance(description, str) or len(description) > 200:  # noqa: PLR2004 - the contract's
        raise Refused(400, "Invalid description")
    with world.lock:
        dataset = _at(world, request)
        _require_ready(dataset)
        version, reused = dataset.freeze(description, world.now_us())
        url = world.workspace.publish(b"".join(dataset.lines(version, world.workspace.publish)))
    return Response(body={"version": version.number, "downloadUrl": url, "reused": reused})


def _require_ready(dataset: LocalDataset) -> None:
    if dataset.status != "ready":
        raise Refused(409, f"Dataset is {dataset.status}")


# -- a model that labels


def _start_batch(world: World, request: Request) -> Response:
    body = json_of(request)
    uri, conf = prediction_asked(body)
    with world.lock:
        dataset = _at(world, request)
        model = model_of(world, uri)
        if world.workspace.credits_cents <= 0:
            raise Refused(402, "Insufficient credits")
        everything = body.get("includeAnnotated") is True
        job = dataset.begin_batch(world, model=model, conf=conf, everything=everything)
    return Response(body={"jobId": job})


def _batch(world: World, request: Request) -> Response:
    with world.lock:
        return Response(body=_at(world, request).batch_wire(world.stopwatch.seconds()))


def _cancel_batch(world: World, request: Request) -> Response:
    with world.lock:
        return Response(body=_at(world, request).cancel_batch())


_ONE: Final = "/api/datasets/{owner}/{dataset}"
ROUTES: Final = (
    Route("GET", "/api/datasets/{owner}", _list, "dataset-list"),
    Route("POST", "/api/datasets", _create, "dataset-create", category="mutation"),
    Route("GET", _ONE, _detail, "dataset"),
    Route("GET", f"{_ONE}/images", _images, "images"),
    Route("POST", f"{_ONE}/ingest", _ingest, "ingest", category="upload"),
    Route("GET", f"{_ONE}/export", _export, "export", category="export"),
    Route("POST", f"{_ONE}/export", _freeze, "freeze", category="export"),
    Route("POST", f"{_ONE}/predict/batch", _start_batch, "batch-start", category="predict"),
    Route("GET", f"{_ONE}/predict/batch", _batch, "batch"),
    Route("DELETE", f"{_ONE}/predict/batch", _cancel_batch, "batch-cancel"),
)
