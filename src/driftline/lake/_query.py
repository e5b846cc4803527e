"""One expression from a table of detections to a profile, in whatever engine holds the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import a, one_of, part, parts, some_text
from driftline.errors import InputError, UnreadableData
from driftline.lake._columns import LogColumns
from driftline.lake._dialects import SPELLINGS, Dialect
from driftline.lake._sql import BOXES, CLOSE, FRAMES, MEAN, PER_FRAME, Text
from driftline.profiles._cells import BOXES as BOXES_BIN
from driftline.profiles._cells import FRAMES as FRAMES_BIN
from driftline.profiles._cells import REJECTED_BINS
from driftline.profiles._context import joined
from driftline.profiles._features import (
    BOXES_PER_FRAME,
    DEFAULT_FEATURES,
    FRAME_CONFIDENCE,
    Feature,
    IntArray,
)
from driftline.profiles._file import context_of
from driftline.profiles._judge import Invalid, counted
from driftline.profiles._periods import MONDAY, Calendar
from driftline.profiles._profile import Profile
from driftline.records import Context, as_datetime64, as_timedelta64

Execute: TypeAlias = Callable[[str], Iterable[Sequence[Any]]]
"""Runs a statement and gives its rows: ``lambda sql: connection.execute(sql).fetchall()``."""

Column: TypeAlias = npt.NDArray[Any]

_MICROSECOND = timedelta(microseconds=1)


def _features(value: Iterable[Feature]) -> tuple[Feature, ...]:
    return parts(value, Feature, name="features", what="a Feature, such as driftline.profiles.AREA")


@frozen(kw_only=True)
class LogQuery:
    """Counts a detection log where it is: the group-by that makes a `Profile`.

    The counts are those of `ProfileBuilder` on the same detections, to the last one. Run here in
    tests: DuckDB, PostgreSQL, SQLite, Polars, Spark. Written from their manuals, and parsed only:
    BigQuery, Snowflake, ClickHouse.

    Attributes:
        table: name of the table, or a subquery in parentheses; as it stands in the statement.
        dialect: the engine's.
        columns: where the table holds what.
        features: what is counted, among those that come with Driftline.
        period: length of a period.
        utc_offset: as in `Calendar`.
    """

    table: str = field(validator=some_text)
    dialect: Dialect = field(default="duckdb", validator=one_of(*SPELLINGS))
    columns: LogColumns = field(factory=LogColumns, validator=a(LogColumns, "a LogColumns(…)"))
    features: tuple[Feature, ...] = field(default=DEFAULT_FEATURES, converter=_features)
    period: timedelta = timedelta(days=1)
    utc_offset: timedelta = timedelta(0)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be written in SQL."""
        if strange := [f.name for f in self.features if f not in DEFAULT_FEATURES]:
            msg = f"features {strange} have no SQL; count them with Profile.from_arrays"
            raise InputError(msg)
        Calendar(period=self.period, utc_offset=self.utc_offset)

    @property
    def counts(self) -> str:
        """The statement that counts: a row a block, class, feature and bin."""
        return self._text.counts()

    @property
    def close_calls(self) -> str:
        """The statement for boxes whose logarithm lies on an edge: a handful in a billion pixels."""
        return self._text.close_calls()

    def profile(
        self, execute: Execute, *, context: Context | None = None, invalid: Invalid = "raise"
    ) -> Profile:
        """Run it.

        It is up to three statements, which must see the same rows: where the table still grows, run
        them in a transaction that sees one state of it, or leave out the present period.

        Args:
            execute: runs a statement in the engine and gives the rows, as sequences.
            context: settings the detections were made under, where the log does not say.
            invalid: as in `ProfileBuilder`; ``"raise"`` refuses the log if one box cannot be counted.

        Raises:
            InputError: a row lacks its time or camera, or boxes cannot be counted.
            ContextMismatch: the log was made under several settings.
        """
        counts = counted(invalid)
        if context is not None:
            part(context, Context, name="context", what="a driftline.records.Context(…)")
        given: object = execute
        if not callable(given):
            msg = f"execute={execute!r} must be a function that runs a statement and gives its rows"
            raise InputError(msg)
        profile = Profile.from_rows(
            **self._rows(execute),
            features=self.features,
            period_length=self.period,
            utc_offset=self.utc_offset,
            context=self._context(execute, context),
        )
        if profile.rejected and not counts:
            said = ", ".join(f"{n} for {reason!r}" for reason, n in profile.rejected.items())
            msg = (
                f"boxes of the log cannot be counted ({said}); correct them, or count them as "
                'rejected with invalid="count"'
            )
            raise InputError(msg)
        return profile

    @property
    def _text(self) -> Text:
        return Text(
            words=SPELLINGS[self.dialect],
            columns=self.columns,
            table=self.table,
            features=self._boxes,
            anchor=(MONDAY - _EPOCH - self.utc_offset) // _MICROSECOND,
            period=self.period // _MICROSECOND,
        )

    @property
    def _boxes(self) -> tuple[Feature, ...]:
        return tuple(f for f in self.features if f.level == "box")

    def _rows(self, execute: Execute) -> dict[str, Any]:
        """The columns that `Profile.from_rows` takes."""
        columns = _columns(execute(self.counts), _COUNT_TYPES)
        close = columns[4] == CLOSE
        if close.any():
            told = self._told_apart(_columns(execute(self.close_calls), _CLOSE_TYPES))
            columns = [np.concatenate([c[~close], t]) for c, t in zip(columns, told, strict=True)]
        camera, period, class_id, kind, bins, count = columns
        names = np.array([""] * (MEAN + 1), dtype=np.object_)
        for number, feature in enumerate(self._boxes, start=BOXES + 1):
            names[number] = feature.name
        names[[BOXES, FRAMES]] = BOXES_BIN, FRAMES_BIN
        for number, feature in ((PER_FRAME, BOXES_PER_FRAME), (MEAN, FRAME_CONFIDENCE)):
            names[number] = feature.name if feature in self.features else ""
        named = names[kind]
        of_frame = kind == PER_FRAME
        bins[of_frame] = BOXES_PER_FRAME.bin(bins[of_frame])
        rejected = ((kind == BOXES) | (kind == FRAMES)) & (bins > 0)
        reason = np.where(kind == FRAMES, len(REJECTED_BINS) - 1, bins - 1)
        named[rejected] = np.array(REJECTED_BINS, dtype=np.object_)[reason[rejected]]
        bins[rejected] = 0
        wanted = named != ""
        step = as_timedelta64(self.period)
        start = as_datetime64(MONDAY - self.utc_offset) + period * step
        return {
            "camera": camera[wanted],
            "period": start[wanted],
            "class_id": class_id[wanted],
            "feature": named[wanted],
            "bin": bins[wanted],
            "count": count[wanted],
        }

    def _told_apart(self, columns: list[Column]) -> list[Column]:
        """The rows of boxes on an edge, binned by the code that `ProfileBuilder` counts with."""
        camera, period, class_id, kind, *box, count = columns
        bins = np.zeros(len(kind), dtype=np.int64)
        for number in np.unique(kind).tolist():
            mine = np.flatnonzero(kind == number)
            feature = self._boxes[number - 1 - BOXES]
            for low in range(0, len(mine), _CHUNK):
                part = mine[low : low + _CHUNK]
                bins[part] = _bins(feature, [side[part] for side in box])
        return [camera, period, class_id, kind, bins, count]

    def _context(self, execute: Execute, given: Context | None) -> Context:
        if self.columns.context is None:
            return given or Context()
        logged = [_read_context(text) for (text,) in execute(self._text.contexts())]
        return joined([given or Context(), *logged])


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK = 2**16
_COUNT_TYPES = "OIIIII"
_CLOSE_TYPES = "OIIIFFFFFFI"
_DTYPES: Mapping[str, npt.DTypeLike] = {"O": np.object_, "I": np.int64, "F": np.float64}


def _columns(rows: Iterable[Sequence[Any]], types: str) -> list[Column]:
    """Rows as columns, a chunk of them at a time."""
    source, chunks = iter(rows), []
    while chunk := list(islice(source, _CHUNK)):
        try:
            chunks.append(
                [
                    np.array(column).astype(_DTYPES[kind]) if kind != "O" else _objects(column)
                    for kind, column in zip(types, zip(*chunk, strict=True), strict=True)
                ]
            )
        except (TypeError, ValueError) as exc:
            msg = f"a row of the log has no time, or the statement gave other columns: {chunk[0]!r}"
            raise InputError(msg) from exc
    if not chunks:
        return [np.zeros(0, dtype=_DTYPES[kind]) for kind in types]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _objects(column: Sequence[object]) -> Column:
    array = np.empty(len(column), dtype=np.object_)
    array[:] = column
    return array


def _bins(feature: Feature, box: list[Column]) -> IntArray:
    """``(n,)`` bin of each box: each is counted as a camera of its own."""
    x1, y1, x2, y2, width, height = box
    n = len(x1)
    rows = Profile.from_arrays(
        xyxy=np.column_stack([x1, y1, x2, y2]),
        confidence=np.ones(n),
        class_id=np.zeros(n, dtype=np.int64),
        frame=np.arange(n),
        image_size=np.column_stack([height, width]),
        camera=[str(i) for i in range(n)],
        at=_EPOCH,
        features=(feature,),
    ).to_rows()
    mine = rows["feature"] == feature.name
    bins = np.zeros(n, dtype=np.int64)
    bins[rows["camera"][mine].astype(np.int64)] = rows["bin"][mine]
    return bins


def _read_context(text: object) -> Context:
    """The settings of a log, as `DetectionLogger` writes them."""
    if text is None:
        return Context()
    try:
        said = json.loads(text) if isinstance(text, str) else text
        return context_of({"context": said})
    except (ValueError, UnreadableData) as exc:
        msg = f"context={text!r:.300} of the log is not what DetectionLogger writes: {exc}"
        raise UnreadableData(msg) from exc
