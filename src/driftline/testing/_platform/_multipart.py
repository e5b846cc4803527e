"""Reads ``multipart/form-data`` (RFC 7578), whole and in memory."""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from driftline.testing._platform._router import Refused, Request

_BOUNDARY: Final = re.compile(r'boundary="?([^";]+)"?')
_NAME: Final = re.compile(r'\bname="((?:[^"\\]|\\.)*)"')
_FILENAME: Final = re.compile(r'\bfilename="((?:[^"\\]|\\.)*)"')


@frozen(kw_only=True)
class Part:
    """One field of a form; `filename` is None for a plain value."""

    content: bytes = field(repr=lambda content: f"<{len(content)} bytes>")
    filename: str | None = None

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


def parts_of(request: Request) -> dict[str, Part]:
    """The fields of a request's form; the last of each name counts.

    Raises:
        Refused: 400, the body is no such form.
    """
    kind = request.headers.get("content-type", "")
    boundary = _BOUNDARY.search(kind)
    if not kind.lower().startswith("multipart/form-data") or boundary is None:
        raise Refused(400, "Expected multipart/form-data with a file or source")
    # With a line break in front of the body every delimiter begins with one.
    pieces = (b"\r\n" + request.body).split(b"\r\n--" + boundary[1].encode())
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - preamble, a part, the end
        raise Refused(400, "Invalid multipart body")
    fields: dict[str, Part] = {}
    for piece in pieces[1:-1]:
        head, found, content = piece.partition(b"\r\n\r\n")
        name = _NAME.search(header := head.decode("utf-8", "replace"))
        if not found or name is None:
            raise Refused(400, "Invalid multipart body")
        filename = _FILENAME.search(header)
        fields[name[1]] = Part(content=content, filename=filename[1] if filename else None)
    return fields
