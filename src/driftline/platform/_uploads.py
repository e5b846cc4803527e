"""An archive on its way into a dataset: what is sent, and how far it got."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from driftline._checks import part, refuse_other
from driftline.errors import InputError, UnreadableData
from driftline.platform._datasets import SPLITS, IngestSummary, Split

ArchiveKind: TypeAlias = Literal[".zip", ".tar", ".tar.gz", ".tgz", ".ndjson"]
KINDS: Final[tuple[ArchiveKind, ...]] = (".tar.gz", ".tgz", ".tar", ".zip", ".ndjson")
"""What the Platform takes (contract 0.1.9)."""
LARGEST_ARCHIVE: Final = 2**30
"""Archives are held in memory while they are sent. More images go in several archives."""

Archive: TypeAlias = str | os.PathLike[str] | bytes
"""A path to an archive, or its bytes."""


class UploadStage(IntEnum):
    """How far an upload got; each stage is known to be reached."""

    SIGNED = 1
    """An address to send to was given."""
    STORED = 2
    """The storage host has the bytes."""
    COMPLETED = 3
    """The Platform has seen them."""
    QUEUED = 4
    """They are being ingested."""
    READY = 5
    """The dataset is ready with them."""


@frozen(kw_only=True)
class DatasetUpload:
    """How far an archive got on its way into a dataset; resume with it.

    It holds no address and no credential, so that it may be kept anywhere.

    Attributes:
        dataset: ``"owner/dataset"``.
        digest: SHA-256 of the archive, hexadecimal.
        size_bytes: size of the archive.
        split: the part of the dataset its images go to.
        stage: how far it got.
        session_id: id of the upload, as the Platform gave it.
        job_id: id of the ingest; None before it was queued.
        summary: what became of the files; None before the end, or where not said.
    """

    dataset: str
    digest: str
    size_bytes: int
    split: Split
    stage: UploadStage
    session_id: str
    job_id: str | None = None
    summary: IngestSummary | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse an upload that was queued under no job."""
        refuse_other("split", self.split, SPLITS)
        if self.stage >= UploadStage.QUEUED and self.job_id is None:
            msg = f"stage={self.stage.name} needs the job_id of the ingest"
            raise InputError(msg)

    def to_dict(self) -> dict[str, object]:
        """As plain values, for a store or a file; the summary stays behind."""
        return {
            "dataset": self.dataset,
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "split": self.split,
            "stage": self.stage.name.lower(),
            "session_id": self.session_id,
            "job_id": self.job_id,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DatasetUpload:
        """What `to_dict` gave.

        Raises:
            UnreadableData: it is something else.
        """
        try:
            return cls(
                dataset=str(values["dataset"]),
                digest=str(values["digest"]),
                size_bytes=int(values["size_bytes"]),
                split=values["split"],
                stage=UploadStage[str(values["stage"]).upper()],
                session_id=str(values["session_id"]),
                job_id=values["job_id"],
            )
        except (KeyError, TypeError, ValueError) as exc:  # an InputError is a ValueError
            msg = f"no record of an upload: {exc}"
            raise UnreadableData(msg) from exc


@frozen(kw_only=True)
class Package:
    """An archive as it is sent.

    Attributes:
        content: its bytes.
        kind: its suffix.
        digest: SHA-256 of the bytes, hexadecimal.
    """

    content: bytes = field(repr=lambda content: f"<{len(content)} bytes>")
    kind: ArchiveKind
    digest: str

    @property
    def filename(self) -> str:
        """What it is called on the way: the same bytes have the same name, and a name says no more.

        The name on the user's disk may say more than the archive.
        """
        return f"driftline-{self.digest[:16]}{self.kind}"


def load_archive(archive: Archive) -> Package:
    """Read an archive.

    Raises:
        InputError: there is no such file, it is empty or too large, or no archive the Platform
            takes.
    """
    part(archive, (bytes, str, os.PathLike), name="archive", what="a path, or the bytes of a file")
    content = archive if isinstance(archive, bytes) else _read(Path(archive))
    _check_size(len(content))
    kind = _kind_of(content) if isinstance(archive, bytes) else _suffix(Path(archive))
    return Package(content=content, kind=kind, digest=hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            msg = f"{str(path)!r} is no file; pack the folder into a .zip first"
            raise InputError(msg)
        _check_size(found.st_size)
        return path.read_bytes()
    except (OSError, ValueError) as exc:  # ValueError: a null byte in the path
        if isinstance(exc, InputError):
            raise
        msg = f"the archive {str(path)!r} cannot be read: {exc}"
        raise InputError(msg) from exc


def _check_size(size: int) -> None:
    if not 0 < size <= LARGEST_ARCHIVE:
        msg = f"the archive has {size} bytes; send 1 to {LARGEST_ARCHIVE} at a time"
        raise InputError(msg)


def _suffix(path: Path) -> ArchiveKind:
    for kind in KINDS:
        if path.name.lower().endswith(kind):
            return kind
    msg = f"{path.name!r} is no archive the Platform takes; use one of {', '.join(KINDS)}"
    raise InputError(msg)


_TAR_AT: Final = 257  # POSIX ustar: the magic stands there


def _kind_of(content: bytes) -> ArchiveKind:
    if content.startswith(b"PK"):
        return ".zip"
    if content.startswith(b"\x1f\x8b"):
        return ".tar.gz"
    if content[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return ".tar"
    if content.lstrip().startswith(b"{"):
        return ".ndjson"
    msg = f"these bytes are no archive the Platform takes; use one of {', '.join(KINDS)}"
    raise InputError(msg)


def resumable(upload: DatasetUpload, *, dataset: str, package: Package, split: Split) -> None:
    """Refuse to go on with an upload of something else.

    Raises:
        InputError: dataset, archive or split differ.
    """
    ours = (dataset, package.digest, split)
    theirs = (upload.dataset, upload.digest, upload.split)
    if ours != theirs:
        msg = (
            f"resume= is of {theirs[0]}, sha256 {theirs[1][:12]}…, split {theirs[2]!r}; this is "
            f"{ours[0]}, {ours[1][:12]}…, {ours[2]!r}: begin anew without resume="
        )
        raise InputError(msg)
