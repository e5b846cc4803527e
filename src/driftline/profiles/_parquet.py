"""Profiles as Parquet: one row a count, for engines and notebooks; needs the extra ``lake``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from driftline._files import read_whole, write_whole
from driftline.errors import MissingExtra, UnreadableData
from driftline.profiles._file import header, parse_header

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile

KEY = b"driftline.profile"
"""Key of the header in the file's metadata."""
COLUMNS = ("camera", "period", "class_id", "feature", "bin", "count")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415  165 MB that only this needs
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as exc:
        extra = "lake"
        raise MissingExtra(extra, needed_for="Parquet", package="pyarrow") from exc
    return pa, pq


def write(profile: Profile, path: str | os.PathLike[str]) -> None:
    """Write the rows and the header, in one step."""
    pa, pq = _pyarrow()
    rows = profile.to_rows()
    table = pa.table(
        {
            "camera": pa.array(rows["camera"], pa.string()).dictionary_encode(),
            "period": pa.array(rows["period"], pa.timestamp("us", tz="UTC")),
            "class_id": pa.array(rows["class_id"], pa.int32()),
            "feature": pa.array(rows["feature"], pa.string()).dictionary_encode(),
            "bin": pa.array(rows["bin"], pa.int32()),
            "count": pa.array(rows["count"], pa.int64()),
        }
    )
    said = json.dumps(header(profile), ensure_ascii=False).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({KEY: said}), sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes(), what="the profile")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The header and the rows of a file.

    Raises:
        InputError: it cannot be read.
        UnreadableData: it is no Parquet, or none that `write` wrote.
    """
    pa, pq = _pyarrow()
    content = read_whole(path, what="the profile")
    try:
        table = pq.read_table(pa.BufferReader(content))
        said = (table.schema.metadata or {}).get(KEY)
        columns = {name: table.column(name) for name in COLUMNS}
        rows = {
            name: column.combine_chunks().cast(pa.string()).to_numpy(zero_copy_only=False)
            if name in ("camera", "feature")
            else column.to_numpy()
            for name, column in columns.items()
        }
    except (pa.ArrowException, KeyError, OSError, ValueError) as exc:
        msg = f"{path} is not a profile in Parquet: {type(exc).__name__}: {exc}"
        raise UnreadableData(msg) from exc
    if said is None:
        msg = f"{path} has no {KEY.decode()!r} in its metadata; make a profile of such rows with Profile.from_rows"
        raise UnreadableData(msg)
    return parse_header(said), rows | {"period": np.asarray(rows["period"], dtype="datetime64[us]")}
