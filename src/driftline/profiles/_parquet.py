"""Profiles as Parquet: one row a count, for engines and notebooks; needs the extra ``lake``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from driftline._files import read_whole, write_whole
from driftline.errors import MissingExtra, UnreadableData
from driftline.profiles._file import MAX_BYTES, header, parse_header

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile

KEY = b"driftline.profile"
"""Key of the header in the file's metadata."""
_NAMES = ("camera", "feature")
_BYTES_A_ROW = 10
"""As little as a row can take in memory with its time; a profile file has as many cells."""
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
        # Names stay in dictionaries: written out a row, a long one would fill the memory.
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(_NAMES))
        _refuse_large(file.metadata, path)
        table = file.read(columns=list(COLUMNS))
        said = (table.schema.metadata or {}).get(KEY)
        columns = {name: table.column(name) for name in COLUMNS}
        rows = {
            name: _names(column) if name in _NAMES else column.to_numpy()
            for name, column in columns.items()
        }
    except UnreadableData:
        raise
    except (pa.ArrowException, AttributeError, KeyError, IndexError, OSError, ValueError) as exc:
        msg = f"{path} is not a profile in Parquet: {type(exc).__name__}: {exc}"
        raise UnreadableData(msg) from exc
    if said is None:
        msg = f"{path} has no {KEY.decode()!r} in its metadata; make a profile of such rows with Profile.from_rows"
        raise UnreadableData(msg)
    return parse_header(said), rows | {"period": np.asarray(rows["period"], dtype="datetime64[us]")}


def _refuse_large(metadata: Any, path: str | os.PathLike[str]) -> None:
    """Refuse a file that unpacks to more than a profile file may."""
    packed = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    unpacked = max(packed, metadata.num_rows * _BYTES_A_ROW)
    if unpacked > MAX_BYTES:
        msg = f"{path} unpacks to {unpacked:,} bytes; at most {MAX_BYTES:,} are read"
        raise UnreadableData(msg)


def _names(column: Any) -> Any:
    """A column of names as an array in which equal ones are one object."""
    whole = column.unify_dictionaries().combine_chunks()
    chunks = whole.chunks if hasattr(whole, "chunks") else [whole]
    parts = [
        one.dictionary.to_numpy(zero_copy_only=False)[one.indices.to_numpy(zero_copy_only=False)]
        for one in chunks
    ]
    return np.concatenate([np.zeros(0, dtype=np.object_), *parts])
