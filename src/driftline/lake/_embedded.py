"""DuckDB inside this process: no server, no set-up, larger logs than memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from driftline._checks import part, refuse_no_text, refuse_number
from driftline._clock import as_optional_utc
from driftline._progress import Progress, bar
from driftline.errors import InputError, MissingExtra, UnreadableData
from driftline.lake._columns import LogColumns
from driftline.lake._location import Location
from driftline.lake._logger import COLUMNS
from driftline.lake._query import Execute, LogQuery
from driftline.profiles._features import DEFAULT_FEATURES, Feature
from driftline.profiles._judge import Invalid
from driftline.profiles._profile import Profile
from driftline.records import Context


def profile_from_log(
    log: str | os.PathLike[str],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    columns: LogColumns = COLUMNS,
    features: Iterable[Feature] = DEFAULT_FEATURES,
    period: timedelta = timedelta(days=1),
    utc_offset: timedelta = timedelta(0),
    context: Context | None = None,
    invalid: Invalid = "raise",
    memory: str = "1GB",
    threads: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Profile:
    """The profile of a detection log in Parquet, counted by DuckDB within this process.

    At a terminal a bar says how many of the log's days are counted, from two seconds on.

    Args:
        log: folder that `DetectionLogger` writes to, or any folder, file or glob of Parquet; a
            path, or a URL of fsspec (``s3://…``, ``gs://…``, ``memory://…``).
        start: frames taken at this time or later, aware.
        end: frames taken before this time, aware.
        columns: where the files hold what, by default as `DetectionLogger` writes them.
        features: as this and the next two in `LogQuery`.
        period: see `features`.
        utc_offset: see `features`.
        context: as this and the next in `LogQuery.profile`.
        invalid: see `context`.
        memory: how much DuckDB may take; beyond it a folder for temporary files is used.
        threads: how many DuckDB may use, by default one a core.
        storage_options: for fsspec; credentials in it are not shown in errors.

    Raises:
        InputError: as in `LogQuery.profile`; or an argument that cannot be.
        ContextMismatch: as in `LogQuery.profile`.
        UnreadableData: no such file, or files without these columns.
        MissingExtra: DuckDB is not installed.
    """
    place = Location.of(log, storage_options)
    del storage_options  # no traceback through here shows it
    start, end = as_optional_utc(start, name="start"), as_optional_utc(end, name="end")
    part(columns, LogColumns, name="columns", what="a driftline.lake.LogColumns(…)")
    refuse_no_text("memory", memory)
    if threads is not None:
        what = f"1 to {_MOST_THREADS}, or None for one a core"
        refuse_number("threads", threads, what, least=1, most=_MOST_THREADS, whole=True)
    query = LogQuery(
        table=_table(columns.timestamp, start, end),
        columns=columns,
        features=features,
        period=period,
        utc_offset=utc_offset,
    )
    profile, read = query.profile(lambda _: (), context=context), 0
    patterns = place.patterns(start, end)
    line = Progress(shown=None if len(patterns) > 1 else False)
    with _duckdb(place, memory, threads) as execute, line:
        # No frame is of two days, so that a day is counted at a time, and its frames forgotten
        for number, pattern in enumerate(patterns, start=1):
            # Listed once: a file that appears between two statements waits for the next call
            ((files,),) = execute(
                f"SET VARIABLE files = ({_LIST.format(_quoted(pattern))}); {_SIZE}"
            )
            if files:
                read += files
                profile += query.profile(execute, context=context, invalid=invalid)
            line.tell(bar(number, len(patterns), "days"))
    if patterns and not read:
        msg = f"{place} holds no file in Parquet; pass its folder, a file or a glob"
        raise UnreadableData(msg)
    return profile


_MOST_THREADS = 1024
_LIST = "SELECT list(file ORDER BY file) FROM glob({})"
_SIZE = "SELECT coalesce(len(getvariable('files')), 0)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _table(timestamp: str, start: datetime | None, end: datetime | None) -> str:
    """A subquery of the rows in the files that are listed."""
    bounds = [
        f"{timestamp} {sign} TIMESTAMPTZ '{at.isoformat()}'"
        for at, sign in ((start, ">="), (end, "<"))
        if at is not None
    ]
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    # no hive_partitioning: the true name of a camera is a column, its folder's is encoded
    rows = "read_parquet(getvariable('files'), union_by_name=true, hive_partitioning=false)"
    return f"(SELECT * FROM {rows}{where})"  # noqa: S608  times and the caller's own expression


@contextmanager
def _duckdb(place: Location, memory: str, threads: int | None) -> Generator[Execute]:
    """A database in this process, gone afterwards, and what runs a statement in it."""
    try:
        import duckdb  # noqa: PLC0415  only logs need it
    except ImportError as exc:
        extra = "lake"
        raise MissingExtra(extra, needed_for="profile_from_log", package="duckdb") from exc
    with tempfile.TemporaryDirectory(prefix="driftline-") as spill, duckdb.connect() as connection:

        def execute(sql: str) -> Iterator[Sequence[Any]]:
            try:
                result = connection.execute(sql)
                while rows := result.fetchmany(10_000):
                    yield from rows
            except duckdb.Error as exc:
                said = place.redacted(str(exc).partition("\n\nLINE ")[0])
            else:
                return
            msg = f"{place} cannot be read as a detection log: {said}"
            raise UnreadableData(msg)

        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET temp_directory = ?", [spill])
        try:
            connection.execute("SET memory_limit = ?", [memory])
            if threads is not None:
                connection.execute("SET threads = ?", [threads])
        except duckdb.Error as exc:
            msg = f"memory={memory!r} and threads={threads!r} must be such as '1GB' and 2: {exc}"
            raise InputError(msg) from exc
        if place.remote:
            connection.register_filesystem(place.filesystem)
        yield execute
