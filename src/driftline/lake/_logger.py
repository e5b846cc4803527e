"""`DetectionLogger` writes detections down as Parquet, whole files or none."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from attrs import asdict, frozen

from driftline._checks import part, refuse_no_time, refuse_number
from driftline._clock import Clock, as_clock, as_utc
from driftline._files import write_whole
from driftline._fork import begin_anew_after_fork
from driftline.errors import InputError, MissingExtra, StoreError
from driftline.lake._columns import LogColumns
from driftline.lake._location import Location
from driftline.profiles._context import joined
from driftline.profiles._judge import refuse_nameless
from driftline.records import Context, Detections

COLUMNS = LogColumns(context="context")
"""The columns that `DetectionLogger` writes."""
_LONGEST = 150
_MAX_ROWS = 100_000_000


@frozen(kw_only=True, eq=False)
class _Frame:
    """One frame that waits to be written."""

    camera: str
    at: datetime
    frame_id: str
    size: tuple[int, int]
    boxes: np.ndarray[Any, np.dtype[np.float64]]
    class_id: np.ndarray[Any, np.dtype[np.int64]]


class DetectionLogger:
    """Logs detections to Parquet: one row a box, one row for a frame without boxes.

    It may be shared between threads and starts none of its own: the call that fills the buffer
    writes it. Files lie in ``day=2026-11-02/cam=line-3/`` under the folder (the day is UTC, the name
    percent-encoded; the true name is the column ``camera``). A file is there whole or not at all: on
    disk it is written beside and renamed, an object store takes it in one put. A forked process goes
    on with an empty buffer and file names of its own; the parent writes what waited. A process that
    dies loses what was observed since the last write, at most `max_rows` rows or `max_age`, and
    nothing else.

    Args:
        folder: a path, or a URL of fsspec (``s3://…``, ``gs://…``, ``memory://…``).
        context: settings the detections are made under; written with every row.
        max_rows: rows that are held back at most; 100,000 in frames of five take about 14 MB.
        max_age: how long a row is held back at most, while calls come in; a service whose cameras
            may fall silent calls `flush` now and then.
        storage_options: for fsspec; never shown.
        clock: what tells the age of the rows.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        context: Context | None = None,
        max_rows: int = 100_000,
        max_age: timedelta = timedelta(minutes=5),
        storage_options: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Store and check; nothing is written yet.

        Raises:
            InputError: an argument cannot be used.
            MissingExtra: the folder is a URL, and fsspec is not installed.
        """
        self._place = Location.of(folder, storage_options)
        del storage_options  # no traceback through here shows it
        what = f"1 to {_MAX_ROWS:,}"
        refuse_number("max_rows", max_rows, what, least=1, most=_MAX_ROWS, whole=True)
        refuse_no_time("max_age", max_age)
        if context is not None:
            part(context, Context, name="context", what="a driftline.records.Context(…)")
        self._max_rows, self._max_age = max_rows, max_age.total_seconds()
        self._clock = as_clock(clock)
        self._context = context or Context()
        self._closed = False
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """Nothing waits, no lock is held, and no other process writes under this name."""
        self._lock = threading.Lock()  # around the buffer, for a moment
        self._writing = threading.Lock()  # around a write: whoever fills the next buffer waits here
        self._frames: list[_Frame] = []
        self._rows = 0
        self._since = 0.0
        self._id = uuid.uuid4().hex[:12]
        self._numbers = itertools.count(1)
        self._batch = 0

    def observe(
        self, detections: Detections, *, camera: str, at: datetime, frame_id: str | None = None
    ) -> None:
        """Log one frame; a frame without boxes is logged as well.

        Args:
            detections: what was found in it; numbers are judged when the log is counted.
            camera: where it comes from.
            at: when it was taken, aware.
            frame_id: tells it from other frames of the camera at that time, by default a new id.

        Raises:
            InputError: `detections` is something else, `camera` is no text, or `at` is naive.
            ContextMismatch: a class has another name than in earlier frames.
            StoreError: the log could not be written. The rows are kept and tried again with the
                next call; once twice `max_rows` wait, frames are refused until a write succeeds.
        """
        given: object = detections
        if not isinstance(given, Detections):
            msg = f"{type(given).__name__} is no Detections; see its from_… methods"
            raise InputError(msg)
        refuse_nameless(camera)
        frame = _Frame(
            camera=_writable(camera, "camera"),
            at=as_utc(at, name="at"),
            frame_id=f"{self._id}-{next(self._numbers)}"
            if frame_id is None
            else _writable(frame_id, "frame_id"),
            size=detections.image_size,
            boxes=np.column_stack([detections.xyxy, detections.confidence]),  # a copy
            class_id=detections.class_id.copy(),
        )
        with self._lock:
            self._refuse_full()
            if not detections.class_names.items() <= self._context.class_names.items():
                named = Context(class_names=detections.class_names)
                self._context = joined((self._context, named))
            if not self._frames:
                self._since = self._clock.monotonic()
            self._frames.append(frame)
            self._rows += max(1, len(detections))
            due = self._due()
        if due:
            self._write(only_if_due=True)

    def flush(self) -> None:
        """Write what waits.

        Raises:
            StoreError: as in `observe`.
        """
        self._write(only_if_due=False)

    def close(self) -> None:
        """Write what waits, and take no more.

        Raises:
            StoreError: as in `observe`; it may be called again.
        """
        with self._lock:
            self._closed = True
        self.flush()

    def __enter__(self) -> Self:
        """The logger itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, also after an error: what was observed was observed."""
        self.close()

    def __repr__(self) -> str:
        """Where it writes, without credentials, and how much waits."""
        return f"<DetectionLogger: {self._place}, {self._rows} rows wait>"

    def _refuse_full(self) -> None:
        if self._closed:
            msg = "the DetectionLogger is closed; make a new one"
            raise InputError(msg)
        if self._rows >= 2 * self._max_rows:
            msg = f"{self._rows:,} rows could not be written to {self._place}; this frame is not logged"
            raise StoreError(msg)

    def _due(self) -> bool:
        age = self._clock.monotonic() - self._since
        return self._rows >= self._max_rows or (bool(self._frames) and age >= self._max_age)

    def _write(self, *, only_if_due: bool) -> None:
        """Take the buffer and write it; what fails is put back, and written under the same names."""
        with self._writing:
            with self._lock:
                if only_if_due and not self._due():
                    return  # another thread has just written it
                frames, rows, since = self._frames, self._rows, self._since
                context = _context_text(self._context)
                self._frames, self._rows = [], 0
            try:
                for folder, part in _parts(frames).items():
                    self._put(f"{folder}/{self._id}-{self._batch:06}.parquet", part, context)
            except BaseException:
                with self._lock:
                    self._frames = [*frames, *self._frames]
                    self._rows += rows
                    self._since = since
                raise
            self._batch += 1

    def _put(self, name: str, frames: Sequence[_Frame], context: str) -> None:
        content = _parquet(frames, context)
        place = self._place
        path = f"{place.path.rstrip('/')}/{name}"
        try:
            if place.remote:
                place.filesystem.pipe_file(path, content)
                return
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, what="a part of the log")
        except Exception as exc:  # noqa: BLE001  each store has errors of its own, some with keys in them
            said = place.redacted(f"{type(exc).__name__}: {exc}")
        else:
            return
        msg = f"a part of the log cannot be written to {place}: {said}; its rows are kept"
        raise StoreError(msg)


def _writable(text: str, name: str) -> str:
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError) as exc:
        msg = f"{name}={text!r} must be text that UTF-8 can hold"
        raise InputError(msg) from exc
    return text


def _parts(frames: Sequence[_Frame]) -> dict[str, list[_Frame]]:
    """The frames of each folder."""
    parts: dict[str, list[_Frame]] = {}
    for frame in frames:
        parts.setdefault(f"day={frame.at:%Y-%m-%d}/cam={_folder(frame.camera)}", []).append(frame)
    return parts


def _folder(camera: str) -> str:
    """The name as part of a path: nothing that a file system or Hive reads anything into."""
    name = quote(camera, safe="")
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}~{hashlib.sha256(camera.encode()).hexdigest()[:16]}"


def _context_text(context: Context) -> str:
    said = {key: value for key, value in asdict(context).items() if value is not None}
    said["class_names"] = {str(i): name for i, name in sorted(context.class_names.items())}
    return json.dumps(said, ensure_ascii=False)


def _parquet(frames: Sequence[_Frame], context: str) -> bytes:
    """A file of some frames of a camera."""
    pa, pq = _pyarrow()
    n = np.array([len(frame.class_id) for frame in frames])
    row = np.repeat(np.arange(len(frames)), np.maximum(n, 1))
    empty = np.repeat(n == 0, np.maximum(n, 1))
    boxes = np.full((len(row), 5), np.nan)
    class_id = np.zeros(len(row), dtype=np.int64)
    boxes[~empty] = np.concatenate([frame.boxes for frame in frames])
    class_id[~empty] = np.concatenate([frame.class_id for frame in frames])
    each = {
        "timestamp": pa.array([f.at for f in frames], pa.timestamp("us", tz="UTC")),
        "camera": pa.array([f.camera for f in frames]),
        "frame_id": pa.array([f.frame_id for f in frames]),
        "width": pa.array([f.size[1] for f in frames], pa.int32()),
        "height": pa.array([f.size[0] for f in frames], pa.int32()),
        "context": pa.array([context] * len(frames)),
    }
    columns = {name: column.take(pa.array(row)) for name, column in each.items()}
    columns["class_id"] = pa.array(class_id, mask=empty)
    for i, name in enumerate(("x1", "y1", "x2", "y2", "confidence")):
        columns[name] = pa.array(boxes[:, i], mask=empty)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: columns[name] for name in _ORDER}), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


_ORDER = (
    *("timestamp", "camera", "frame_id", "class_id", "confidence"),
    *("x1", "y1", "x2", "y2", "width", "height", "context"),
)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415  165 MB that only writing needs
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as exc:
        extra = "lake"
        raise MissingExtra(extra, needed_for="DetectionLogger", package="pyarrow") from exc
    return pa, pq
