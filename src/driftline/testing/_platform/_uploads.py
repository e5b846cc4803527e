"""``/api/upload``, and the storage host that takes and gives files: a host of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from driftline.testing._platform._body import json_of, text_of
from driftline.testing._platform._router import Refused, Request, Response, Route
from driftline.testing._platform._time import HOUR, iso

if TYPE_CHECKING:
    from driftline.testing._platform._world import World

SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".ndjson")
VALID_US: Final = 12 * HOUR
"""How long an address to upload to is valid: 12 hours, says the vendor's SDK 0.1.99."""
_LONGEST: Final = 256
_LARGEST: Final = 10 * 2**30


@define(kw_only=True)
class Session:
    """One upload on its way.

    Attributes:
        dataset: slug of the dataset it is for.
        filename: what it is called.
        content_type: what it said it was.
        total: how many bytes it said it has.
        expires: when its address ends, microseconds since 1970.
        content: what was stored; None before.
        completed: whether that was confirmed.
        ingested: whether it was taken in.
    """

    dataset: str
    filename: str
    content_type: str
    total: int
    expires: int
    content: bytes | None = None
    completed: bool = False
    ingested: bool = False


def _signed_url(world: World, request: Request) -> Response:
    body = json_of(request)
    filename = text_of(body, "filename", longest=_LONGEST)
    kind = text_of(body, "contentType", longest=50)
    total = body.get("totalBytes")
    if body.get("assetType") != "datasets" or not filename.lower().endswith(SUFFIXES):
        raise Refused(400, f"Invalid upload request: {filename}; expected a dataset archive")
    if not isinstance(total, int) or not 0 < total <= _LARGEST:
        raise Refused(400, f"Invalid file size: {total}")
    with world.lock:
        ident = text_of(body, "assetId", longest=128)
        found = next((d for d in world.workspace.datasets.values() if d.id == ident), None)
        if found is None:
            raise Refused(404, "Target resource not found")
        session = world.workspace.new_id("session")
        expires = world.now_us() + VALID_US
        world.workspace.sessions[session] = Session(
            dataset=found.slug, filename=filename, content_type=kind, total=total, expires=expires
        )
        reply: dict[str, object] = {
            "sessionId": session,
            "uploadUrl": f"{world.workspace.storage_url}/uploads/{session}?signature=local",
            "expiresAt": iso(expires),
        }
    if world.rules.newer_fields:
        reply["headers"] = {"Content-Type": kind, "x-goog-if-generation-match": "0"}
    return Response(body=reply)


def _complete(world: World, request: Request) -> Response:
    with world.lock:
        session = session_of(world, text_of(json_of(request), "sessionId", longest=128))
        if session.content is None:
            raise Refused(404, "Uploaded file not found")
        session.completed = True
        size, kind = len(session.content), session.content_type
    return Response(body={"success": True, "file": {"size": size, "contentType": kind}})


def session_of(world: World, ident: str) -> Session:
    """The upload of that id.

    Raises:
        Refused: 404, there is none.
    """
    session = world.workspace.sessions.get(ident)
    if session is None:
        raise Refused(404, "Upload session not found")
    return session


def _no_key(request: Request) -> None:
    """A storage host is another company's: a key that comes here has leaked."""
    if "authorization" in request.headers:
        raise Refused(400, "The storage host got an Authorization header: the key has leaked")


def _store(world: World, request: Request) -> Response:
    _no_key(request)
    if request.oversized:
        raise Refused(413, "Archive too large for this local platform")
    with world.lock:
        session = world.workspace.sessions.get(request.slugs["session"])
        if session is None or request.query.get("signature") != "local":
            raise Refused(403, "Signature does not match")
        if world.now_us() > session.expires:
            raise Refused(403, "The address has expired")
        if request.headers.get("content-type") != session.content_type:
            raise Refused(403, "The Content-Type is not the one that was signed")
        if session.content is not None:
            raise Refused(412, "There is an object already")
        if len(request.body) != session.total:
            raise Refused(400, f"Expected {session.total} bytes, got {len(request.body)}")
        session.content = request.body
    return Response(content=b"", headers={"Content-Type": "text/plain"})


def _fetch(world: World, request: Request) -> Response:
    _no_key(request)
    with world.lock:
        content = world.workspace.blobs.get(request.slugs["token"])
    if content is None:
        raise Refused(404, "No such object")
    return Response(content=content, headers={"Content-Type": "application/octet-stream"})


ROUTES: Final = (
    Route("POST", "/api/upload/signed-url", _signed_url, "upload-url", category="upload"),
    Route("POST", "/api/upload/complete", _complete, "upload-complete", category="upload"),
)
STORAGE_ROUTES: Final = (
    Route("PUT", "/uploads/{session}", _store, "store", category=None, anonymous=True),
    Route("GET", "/files/{token}", _fetch, "fetch", category=None, anonymous=True),
)
"""The routes of the storage host."""
