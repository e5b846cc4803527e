"""The query: your own columns, your own cut of time, hostile numbers, and what it refuses."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_kit import ENGINES, START, expected, log_of, query, sqlite_engine

from driftline import Detections, Profile, ProfileBuilder
from driftline.errors import ContextMismatch, InputError, UnreadableData
from driftline.lake import LogColumns, LogQuery, profile_from_log
from driftline.lake._dialects import SPELLINGS
from driftline.profiles import (
    AREA,
    ASPECT,
    BOXES_PER_FRAME,
    CENTER_X,
    CONFIDENCE,
    DEFAULT_FEATURES,
    HEIGHT,
    WIDTH,
    Feature,
)
from driftline.records import Context

HOW_TO = Path(__file__).parents[2] / "docs/how-to/detection-logs.md"


def on(feature):
    """Values at the edges of a feature, and one or two floats beside them."""
    edge = st.sampled_from(feature.edges.tolist())
    steps = st.integers(-2, 2)

    def moved(value, n):
        for _ in range(abs(n)):
            value = np.nextafter(value, np.sign(n) * np.inf)
        return float(value)

    return st.builds(moved, edge, steps)


@st.composite
def boxes(draw):
    """``x1, y1, x2, y2, confidence`` in a frame of 640 x 480 px."""
    wide = 2 ** draw(on(WIDTH))
    high = draw(
        st.one_of(
            on(HEIGHT).map(lambda v: 2**v),
            on(AREA).map(lambda v: min(1.0, 2**v / wide)),
            on(ASPECT).map(lambda v: min(1.0, wide * 640 / 480 / 2**v)),
        )
    )
    left = draw(st.one_of(st.just(0.0), on(CENTER_X).map(lambda v: (v - wide / 2) * 640)))
    score = draw(st.one_of(on(CONFIDENCE), st.integers(0, 100_000).map(lambda i: i / 1e5)))
    return (left, 0.0, left + wide * 640, high * 480, min(1.0, max(0.0, score)))


@pytest.mark.parametrize("single", [False, True])
@given(seen=st.lists(st.lists(boxes(), max_size=4), min_size=1, max_size=8))
@settings(max_examples=12, deadline=None)
def test_edges_law(single, seen):
    """Whatever floats lie on the edges, engines with other logarithms count as numpy does."""
    dtype = np.float32 if single else np.float64
    rows = [(i, box) for i, frame in enumerate(seen) for box in (frame or [(None,) * 5])]
    numbers = [[None if v is None else dtype(v).item() for v in box] for _, box in rows]
    n = len(seen)
    table = pa.table(
        {
            "timestamp": pa.array([START] * len(rows), pa.timestamp("us", tz="UTC")),
            "camera": ["a"] * len(rows),
            "frame_id": [str(i) for i, _ in rows],
            "class_id": pa.array([None if box[0] is None else 0 for _, box in rows], pa.int64()),
            "confidence": pa.array([v[4] for v in numbers], pa.float64()),
            **{
                f: pa.array([v[i] for v in numbers], pa.float64())
                for i, f in enumerate(("x1", "y1", "x2", "y2"))
            },
            "width": [640] * len(rows),
            "height": [480] * len(rows),
        }
    )
    found = np.array([v for v in numbers if v[0] is not None], dtype=dtype).reshape(-1, 5)
    profile = Profile.from_arrays(
        xyxy=found[:, :4],
        confidence=found[:, 4],
        class_id=np.zeros(len(found), dtype=int),
        frame=[i for i, box in rows if box[0] is not None],
        image_size=(480, 640),
        camera="a",
        at=START,
        frames=n,
        invalid="count",
    )

    for engine in ("duckdb", "sqlite"):
        with ENGINES[engine](table, None) as execute:
            assert profile == query(engine).profile(execute, invalid="count")


def test_order_of_boxes_does_not_matter():
    """The mean confidence of a frame is the same in whatever order its boxes come."""
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 100_001, 40_000).reshape(-1, 8) / 1e5
    scores[:, -1] = np.clip(
        np.rint(scores.mean(1) * 1000) * 8e-3 - 4e-5 - scores[:, :-1].sum(1), 0, 1
    )

    def profile(each):
        m, k = each.shape
        return Profile.from_arrays(
            xyxy=np.tile([0, 0, 9, 9], (m * k, 1)),
            confidence=each.reshape(-1),
            class_id=np.zeros(m * k, dtype=int),
            frame=np.repeat(np.arange(m), k),
            image_size=(10, 10),
            camera="a",
            at=START,
            frames=m,
        )

    assert profile(scores) == profile(rng.permuted(scores, axis=1))


@pytest.mark.parametrize(
    ("period", "offset"),
    [
        (timedelta(hours=1), timedelta(0)),
        (timedelta(days=7), timedelta(hours=-7)),
        (timedelta(days=1), timedelta(hours=5, minutes=30)),
    ],
)
def test_periods(period, offset):
    """Hours, weeks and days that begin elsewhere are cut as a builder cuts them."""
    arrays, table = log_of(4, 300)
    cut = {"period": period, "utc_offset": offset}
    with ENGINES["duckdb"](table, None) as execute:
        assert expected(arrays, **cut) == query("duckdb", **cut).profile(execute)


def test_some_features():
    """What is not asked for is not counted."""
    arrays, table = log_of(5, 300)
    some = (CONFIDENCE, BOXES_PER_FRAME)
    with ENGINES["duckdb"](table, None) as execute:
        assert expected(arrays, features=some) == query("duckdb", features=some).profile(execute)
        assert (
            expected(arrays, features=()).frames
            == query("duckdb", features=()).profile(execute).frames
        )


def test_refused_rows():
    """By default a log with boxes that cannot be counted is refused, and says why."""
    _, table = log_of(6, 300, hostile=True)
    with (
        ENGINES["duckdb"](table, None) as execute,
        pytest.raises(InputError, match=r"\d+ for 'box'"),
    ):
        query("duckdb").profile(execute)


def test_empty_table():
    """A table without rows is an empty profile."""
    _, table = log_of(7, 10)
    with ENGINES["duckdb"](table.slice(0, 0), None) as execute:
        assert 0 == query("duckdb").profile(execute).frames


@pytest.mark.parametrize("column", ["timestamp", "camera"])
def test_missing_block(column):
    """A frame of no time or no camera is an error, not a block of its own."""
    _, table = log_of(8, 10)
    place = table.column_names.index(column)
    table = table.set_column(place, column, pa.nulls(len(table), table.schema.field(column).type))
    with ENGINES["duckdb"](table, None) as execute, pytest.raises(InputError, match="None"):
        query("duckdb").profile(execute)


def test_own_columns_normalized():
    """Own names, another form of boxes, shares of the frame: expressions say so."""
    arrays, _ = log_of(9, 400)
    rng = np.random.default_rng(0)
    n = len(arrays["class_id"])
    shares = np.column_stack([rng.random((n, 2)) / 2, 0.1 + rng.random((n, 2)) / 3])  # x, y, w, h
    arrays["xyxy"] = np.column_stack(
        [shares[:, 0], shares[:, 1], shares[:, 0] + shares[:, 2], shares[:, 1] + shares[:, 3]]
    ) * np.array([640, 480, 640, 480])
    arrays["image_size"] = (480, 640)
    frame, used = arrays["frame"], np.unique(arrays["frame"])
    renumbered = np.searchsorted(used, frame)
    arrays |= {
        "frame": renumbered,
        "camera": [arrays["camera"][i] for i in used],
        "at": [arrays["at"][i] for i in used],
    }
    own = pa.table(
        {
            "seconds": [(arrays["at"][i] - START).total_seconds() for i in renumbered],
            "line": [arrays["camera"][i] for i in renumbered],
            "shot": renumbered,
            "label": [f"class-{k}" for k in arrays["class_id"]],
            "score": arrays["confidence"],
            **{name: shares[:, i] for i, name in enumerate(("ax", "ay", "bw", "bh"))},
        }
    )
    columns = LogColumns(
        timestamp="TIMESTAMP '2026-11-02' + to_microseconds(CAST(seconds * 1e6 AS BIGINT))",
        camera="line",
        frame_id="shot",
        class_id="CAST(replace(label, 'class-', '') AS INTEGER)",
        confidence="score",
        x1="ax",
        y1="ay",
        x2="ax + bw",
        y2="ay + bh",
        width="640",
        height="480",
        normalized=True,
    )
    with ENGINES["duckdb"](own, None) as execute:
        counted = LogQuery(table="(SELECT * FROM detections)", columns=columns).profile(execute)

    assert expected(arrays) == counted


def replies():
    """Replies of the Platform, one a row, as they are logged; some of several images, some of none."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(60):
        images = []
        for _ in range(rng.integers(1, 3)):
            results = [
                {
                    "name": f"class-{k}",
                    "class": int(k),
                    "confidence": float(rng.random().__round__(5)),
                    "box": dict(
                        zip(("x1", "y1", "x2", "y2"), (x, y, x + 30.25, y + 70.5), strict=True)
                    ),
                }
                for k, x, y in zip(
                    rng.integers(0, 3, i % 4),
                    rng.random(4) * 600,
                    rng.random(4) * 400,
                    strict=False,
                )
            ]
            images.append({"shape": [480, 640], "speed": {}, "results": results})
        at = START + timedelta(minutes=37 * i)
        rows.append((f"r{i}", at, f"cam-{i % 2}", json.dumps({"images": images, "metadata": {}})))
    return rows


def how_to_sql(engine):
    """The statement that the how-to page gives for an engine."""
    page = HOW_TO.read_text(encoding="utf-8")
    return re.search(rf"```sql\n-- {engine}\n(.*?)```", page, re.DOTALL)[1]


def same_counts(profile):
    builder = ProfileBuilder()
    for _, at, camera, body in replies():
        for frame in Detections.frames_from_platform(json.loads(body)):
            builder.observe(frame, camera=camera, at=at)
    whole = builder.profile()
    assert whole.frames == profile.frames
    for name in whole.features:
        np.testing.assert_array_equal(whole.counts(name), profile.counts(name))


def test_nested_replies_duckdb():
    """A reply a row, as JSON: the statement of the how-to page makes rows of boxes of it."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE replies (id TEXT, received TIMESTAMPTZ, camera TEXT, body JSON)"
        )
        connection.executemany("INSERT INTO replies VALUES (?, ?, ?, ?)", replies())
        same_counts(
            LogQuery(table=f"({how_to_sql('DuckDB')})").profile(
                lambda sql: connection.execute(sql).fetchall()
            )
        )


def test_nested_replies_postgres(postgres):
    """The same in PostgreSQL."""
    import psycopg

    with psycopg.connect(postgres.url()) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE replies (id text, received timestamptz, camera text, body jsonb)"
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO replies VALUES (%s, %s, %s, %s)", replies())
        same_counts(
            LogQuery(table=f"({how_to_sql('PostgreSQL')})", dialect="postgres").profile(
                lambda sql: connection.execute(sql).fetchall()
            )
        )
        connection.rollback()


def with_context(*texts):
    with duckdb.connect() as connection:
        values = ", ".join(f"({'NULL' if t is None else repr(t)})" for t in texts)
        connection.execute(
            "CREATE TABLE detections AS SELECT TIMESTAMP '2026-11-02' AS timestamp, 'a' AS camera, "
            "CAST(row_number() OVER () AS TEXT) AS frame_id, 0 AS class_id, 0.5 AS confidence, 0 AS x1, 0 AS y1, "
            f"9 AS x2, 9 AS y2, 10 AS width, 10 AS height, context FROM (VALUES {values}) AS t(context)"
        )
        return LogQuery(table="detections", columns=LogColumns(context="context")).profile(
            lambda sql: connection.execute(sql).fetchall(), context=Context(model="m")
        )


def test_context_of_rows():
    """What rows say of their settings is joined with what the caller says."""
    context = with_context(
        '{"conf": 0.1, "class_names": {"0": "bolt"}}', None, '{"imgsz": 640}'
    ).context

    assert Context(model="m", conf=0.1, imgsz=640, class_names={0: "bolt"}) == context


def test_contexts_of_rows_differ():
    """Rows of other settings are not counted together."""
    with pytest.raises(ContextMismatch):
        with_context('{"model": "other"}')


@pytest.mark.parametrize("text", ["{", "[1]", '{"conf": "high"}'])
def test_broken_context(text):
    """Settings that cannot be read are an error that shows them."""
    with pytest.raises(UnreadableData, match="context="):
        with_context(text)


def test_cannot_be_written():
    """An unknown engine, a feature of one's own, and a period that cuts no day are refused at birth."""
    own = Feature.uniform("own", level="box", bins_per_unit=1, first_edge=0, n_bins=2)
    for wrong, message in (
        ({"dialect": "oracle"}, "must be one of 'duckdb'"),
        ({"features": (*DEFAULT_FEATURES, own)}, r"\['own'\] have no SQL"),
        ({"period": timedelta(hours=5)}, "divide a day"),
    ):
        with pytest.raises(InputError, match=message):
            LogQuery(table="detections", **wrong)


def test_sqlite_period_of_a_minute():
    """SQLite cuts minutes."""
    arrays, table = log_of(10, 100)
    cut = {"period": timedelta(minutes=1)}
    with sqlite_engine(table, None) as execute:
        assert expected(arrays, **cut) == query("sqlite", **cut).profile(execute)


TIMES = (
    *("2026-11-02T23:59:59.999999+00:00", "2026-11-03T00:00:00", "2026-11-03 00:00:00.000001"),
    *("2026-11-02T23:59:59.9999Z", "2026-11-03T05:29:59.999998+05:30", "2026-11-02T18:59-05:00"),
    *("1969-12-31T23:59:59.999999+00:00", "2026-11-04", "2026-11-02T12:00:00.25+00:00"),
)


def test_sqlite_times():
    """SQLite keeps microseconds: the last of a day is no part of the next, nor two frames one."""
    at = [datetime.fromisoformat(text) for text in TIMES]
    at = [time if time.tzinfo else time.replace(tzinfo=UTC) for time in at]
    n = len(at)
    profile = Profile.from_arrays(
        xyxy=[(0, 0, 9, 9)] * n,
        confidence=[0.5] * n,
        class_id=[0] * n,
        frame=range(n),
        image_size=(10, 10),
        camera="a",
        at=at,
    )
    rows = " UNION ALL ".join(
        f"SELECT '{text}' AS timestamp, 'a' AS camera, 0 AS frame_id, 0 AS class_id, 0.5 AS confidence,"
        " 0 AS x1, 0 AS y1, 9 AS x2, 9 AS y2, 10 AS width, 10 AS height"
        for text in TIMES
    )
    with closing(sqlite3.connect(":memory:")) as connection:
        query = LogQuery(table=f"({rows})", dialect="sqlite")

        assert profile == query.profile(lambda sql: connection.execute(sql).fetchall())


@pytest.mark.parametrize("dialect", [d for d in SPELLINGS if d != "polars"])
def test_statements_parse(dialect):
    """Also where no engine runs here, the statements are of its dialect, by a parser's word."""
    sqlglot = pytest.importorskip("sqlglot")
    written = LogQuery(table="detections", dialect=dialect)

    for statement in (written.counts, written.close_calls):
        assert sqlglot.parse_one(statement, dialect=dialect) is not None


def test_without_duckdb(monkeypatch):
    """Where DuckDB is not installed, the extra is named."""
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"driftline\[lake\]"):
        profile_from_log("logs")
