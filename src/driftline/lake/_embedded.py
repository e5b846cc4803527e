"""DuckDB inside this process: no server, no set-up, larger logs than memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from driftline._clock import as_utc
from driftline.errors import InputError, MissingExtra, UnreadableData
from driftline.lake._columns import LogColumns
from driftline.lake._location import Location
from driftline.lake._logger import COLUMNS
from driftline.lake._query import LogQuery
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
    duckdb = _duckdb()
    place = Location.of(log, storage_options)
    del storage_options  # no traceback through here shows it
    start = None if start is None else as_utc(start, name="start")
    end = None if end is None else as_utc(end, name="end")
    bounds = [
        f"{columns.timestamp} {sign} TIMESTAMPTZ '{at.isoformat()}'"
        for at, sign in ((start, ">="), (end, "<"))
        if at is not None
    ]
    query = LogQuery(
        table="", columns=columns, features=features, period=period, utc_offset=utc_offset
    )
    with tempfile.TemporaryDirectory(prefix="driftline-") as spill, duckdb.connect() as connection:
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

        # No frame is of two days, so that a day is counted at a time, and its frames forgotten
        profile = query.profile(lambda _: (), context=context)
        for pattern in place.patterns(start, end):
            part = evolve(query, table=_files(pattern, bounds))
            profile += part.profile(execute, context=context, invalid=invalid)
        return profile


def _files(pattern: str, bounds: Sequence[str]) -> str:
    """A subquery of the rows in some files."""
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    quoted = pattern.replace("'", "''")
    # no hive_partitioning: the true name of a camera is a column, its folder's is encoded
    rows = f"read_parquet('{quoted}', union_by_name=true, hive_partitioning=false)"
    return f"(SELECT * FROM {rows}{where})"  # noqa: S608  the quotes of the path are doubled


def _duckdb() -> Any:
    try:
        import duckdb  # noqa: PLC0415  only logs need it
    except ImportError as exc:
        extra = "lake"
        raise MissingExtra(extra, needed_for="profile_from_log", package="duckdb") from exc
    return duckdb
