"""How engines spell the few words that they do not share; only this file knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import frozen

Dialect: TypeAlias = Literal[
    "duckdb", "postgres", "sqlite", "polars", "spark", "bigquery", "snowflake", "clickhouse"
]
"""The engine whose SQL is written."""


@frozen(kw_only=True)
class Spelling:
    """The words of one engine.

    Attributes:
        micros: whole microseconds since 1970 of the time ``{}``.
        double: IEEE double precision.
        bigint: whole numbers of 64 bits.
        least: the smaller of two.
        greatest: the larger of two.
        fence: ends a subquery that is to be worked out once, not wherever a column of it is used.
        nan: whether the double ``{}`` is nan, where comparing it with bounds does not tell.
    """

    micros: str
    double: str = "DOUBLE"
    bigint: str = "BIGINT"
    least: str = "LEAST"
    greatest: str = "GREATEST"
    fence: str = ""
    nan: str = ""


SPELLINGS: Mapping[Dialect, Spelling] = {
    # Parquet's least and largest values leave nan out (parquet.thrift, Statistics), and DuckDB decides
    # comparisons by them, isnan(x) and isnan(x % 2) too (duckdb/duckdb#25521), but not of a list
    "duckdb": Spelling(micros="epoch_us({})", nan="isnan([{}][1])"),
    "postgres": Spelling(
        micros="EXTRACT(EPOCH FROM {}) * 1000000", double="DOUBLE PRECISION", fence=" OFFSET 0"
    ),
    # No type for times: ISO 8601 text. strftime rounds to milliseconds, the last of a day into the
    # next, so that the fraction of a second is read by itself
    "sqlite": Spelling(
        micros="CAST(strftime('%s', substr({0}, 1, 19) || ltrim(substr({0}, 20), '.0123456789'))"
        " AS INTEGER) * 1000000 + CAST(round(CAST('0' || substr({0}, 20) AS REAL) * 1000000)"
        " AS INTEGER)",
        double="REAL",
        bigint="INTEGER",
        least="MIN",
        greatest="MAX",
        fence=" LIMIT -1",
    ),
    "polars": Spelling(micros="CAST(CAST({} AS TIMESTAMP) AS BIGINT)"),
    "spark": Spelling(micros="unix_micros({})"),
    "bigquery": Spelling(micros="UNIX_MICROS({})", double="FLOAT64", bigint="INT64"),
    "snowflake": Spelling(micros="DATE_PART(EPOCH_MICROSECOND, {})"),
    "clickhouse": Spelling(
        micros="toUnixTimestamp64Micro(toDateTime64({}, 6, 'UTC'))",
        double="Nullable(Float64)",
        bigint="Nullable(Int64)",
    ),
}
