"""Where a log lies: a folder, or an object store through fsspec; what may be said of it aloud."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import field, frozen

from driftline._secret import MASK
from driftline.errors import InputError, MissingExtra

_MARGIN = timedelta(days=1)
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"\?[^\s'\"]*=[^\s'\"]*")


@frozen(kw_only=True, repr=False)
class Location:
    """A place for files, whose text holds no credentials.

    Attributes:
        path: of a folder, file or glob, in the words of its file system.
        protocol: ``""`` for this machine's own files.
        filesystem: fsspec's, None for this machine's own files.
        secrets: texts that must not be shown.
    """

    path: str
    protocol: str = ""
    filesystem: Any = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls, place: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
    ) -> Location:
        """From what the user says.

        Raises:
            InputError: it is no place, or the options are none; or fsspec knows no such place, or
                lacks the package for it, which it names.
            MissingExtra: fsspec is not installed.
        """
        text = _text(place)
        _refuse_no_options(storage_options)
        if "://" not in text:
            return cls(path=text)
        secrets = tuple(_texts(storage_options or {}))
        hidden = cls(path=text, secrets=secrets)
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415  only object stores need it
        except ImportError as exc:
            extra = "lake"
            raise MissingExtra(extra, needed_for=str(hidden), package="fsspec") from exc
        try:
            filesystem, path = url_to_fs(text, **(storage_options or {}))
        except Exception as exc:  # noqa: BLE001  each store has errors of its own, some with keys in them
            said = hidden.redacted(f"{type(exc).__name__}: {exc}")
        else:
            if text.startswith(("file://", "local://")):
                return cls(path=path)
            return cls(
                path=path,
                protocol=text.partition("://")[0],
                filesystem=filesystem,
                secrets=secrets,
            )
        msg = f"{hidden} cannot be opened: {said}"
        raise InputError(msg)

    @property
    def remote(self) -> bool:
        """Whether fsspec leads there."""
        return self.filesystem is not None

    def patterns(self, start: datetime | None, end: datetime | None) -> list[str]:
        """Globs of the Parquet files there, for DuckDB: one a day where folders are days.

        `start` and `end` are UTC; a day more on both sides is kept, for days may be local ones.

        Raises:
            InputError: the place cannot be listed.
        """
        names = self._listed()
        if names is None:
            return [self._address(self.path)]
        root = self._address(glob.escape(self.path.rstrip("/")))
        days = [_day(name) for name in names if not name.startswith((".", "_"))]
        if not days or None in days:
            return [f"{root}/**/*.parquet"]
        first = date.min if start is None else start.date() - _MARGIN
        last = date.max if end is None else end.date() + _MARGIN
        wanted = sorted(day for day in days if day is not None and first <= day <= last)
        return [f"{root}/day={day}/**/*.parquet" for day in wanted]

    def _listed(self) -> list[str] | None:
        """Names in the folder; None where the place is a file or a glob."""
        try:
            if not self.remote:
                folder = Path(self.path)
                return [entry.name for entry in folder.iterdir()] if folder.is_dir() else None
            if not self.filesystem.isdir(self.path):
                return None
            found = self.filesystem.ls(self.path, detail=False)
            return [name.rstrip("/").rpartition("/")[2] for name in found]
        except Exception as exc:  # noqa: BLE001  each store has errors of its own, some with keys in them
            said = self.redacted(f"{type(exc).__name__}: {exc}")
        msg = f"{self} cannot be listed: {said}"
        raise InputError(msg)

    def _address(self, path: str) -> str:
        return f"{self.protocol}://{path.lstrip('/')}" if self.protocol else path

    def redacted(self, text: str) -> str:
        """`text` without the credentials of this place."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return _QUERY.sub(f"?{MASK}", _USER.sub(f"{MASK}@", text))

    def __str__(self) -> str:
        """The place, without credentials."""
        return self.redacted(self._address(self.path))

    def __repr__(self) -> str:
        """The place, without credentials."""
        return f"<Location: {self}>"


def _day(name: str) -> date | None:
    """The day of a folder that `DetectionLogger` has made; None: it is another."""
    try:
        return date.fromisoformat(name.removeprefix("day=")) if name.startswith("day=") else None
    except ValueError:
        return None


def _text(place: str | os.PathLike[str]) -> str:
    """The place as text; what is shown of another thing is its type, for it may hold a password."""
    given: object = place
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else given
    if not isinstance(text, str) or not text:
        what = "an empty text" if isinstance(text, str) else f"a {type(given).__name__}"
        msg = f"the place of a log is a path or a URL, such as s3://bucket/log, got {what}"
        raise InputError(msg)
    return text


def _refuse_no_options(options: Mapping[str, Any] | None) -> None:
    given: object = options
    if not (given is None or isinstance(given, Mapping)):
        msg = f"storage_options are a dict of what fsspec takes, got a {type(given).__name__}"
        raise InputError(msg)


def _texts(value: object) -> Iterator[str]:
    """Every text of some length in nested options."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str) and len(value) > 3:  # noqa: PLR2004  shorter ones are flags
        yield value
