"""Profiles on disk: small, the same for ever, readable by older readers, and safe to open."""

import io
import json
import os
import stat
import threading
import tracemalloc
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profile_kit import MONDAY, contexts, frames, profile_of, stream

from driftline.errors import InputError, MissingExtra, StoreError, UnreadableData
from driftline.profiles import DEFAULT_FEATURES, Feature, Profile, ProfileBuilder
from driftline.profiles._file import _packed, _unpacked
from driftline.records import Context

OWN = Feature(name="own", level="frame", edges=[0.1, 1 / 3, 2.5], unit="furlongs", kind="nominal")


@pytest.fixture(scope="module")
def week():
    """A profile with everything in it."""
    return profile_of(
        ((d, c, at) for d, c, at in stream(2, 100)),
        context=Context(model="bést.pt", conf=0.25, imgsz=640, class_names={0: "cat", 7: "döner"}),
        utc_offset=timedelta(hours=5, minutes=30),
    )


def rewritten(profile, change=None, **members) -> bytes:
    """The file of a profile with its header changed, and members replaced (None: left out)."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(profile.to_bytes())) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name == "profile.json" and change is not None:
                head = json.loads(content)
                change(head)
                content = json.dumps(head).encode()
            content = members.get(name, content)
            if content is not None:
                new.writestr(name, content)
        for name in members.keys() - set(old.namelist()):
            new.writestr(name, members[name])
    return out.getvalue()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(frames, max_size=6), contexts, st.sampled_from([1, 24, 168]))
def test_what_is_written_is_read(seen, context, hours):
    """Every profile comes back equal, and so does its file."""
    profile = profile_of(seen, context=context, period=timedelta(hours=hours))
    again = Profile.from_bytes(profile.to_bytes())

    assert profile == again
    assert profile.digest == again.digest


def test_own_features_are_written():
    """Name, unit, kind and every edge, to the last bit; the formula is the user's to bring."""
    builder = ProfileBuilder(features=[*DEFAULT_FEATURES, OWN])
    for found, camera, at in stream(3, 20):
        builder.observe(found, camera=camera, at=at, values={"own": 0.5})
    profile = builder.profile()
    again = Profile.from_bytes(profile.to_bytes())

    assert profile == again
    assert OWN == again.features["own"]
    assert again.features["confidence"].compute is not None


def test_a_path_and_back(tmp_path, week):
    """A str or a Path; the file has the process's usual permissions."""
    week.write(tmp_path / "week.driftline")
    mode = stat.S_IMODE((tmp_path / "week.driftline").stat().st_mode)
    (tmp_path / "plain").touch()

    assert week == Profile.read(str(tmp_path / "week.driftline"))
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == mode


def test_it_is_small(week):
    """2,000 frames with 20,000 boxes of one camera and day take less than 10 kB."""
    rng = np.random.default_rng(0)
    n = 20_000
    corner = rng.random((n, 2)) * 400
    profile = Profile.from_arrays(
        xyxy=np.hstack([corner, corner + 1 + rng.random((n, 2)) * 99]),
        confidence=rng.beta(4, 2, n),
        class_id=np.zeros(n, dtype=int),
        frame=np.arange(n) // 10,
        image_size=(640, 640),
        camera="c",
        at=MONDAY,
        frames=2000,
    )

    assert len(profile.to_bytes()) < 10_000


def test_writing_is_one_step(tmp_path, week):
    """Readers of a file that is written again and again always see a whole profile."""
    path = tmp_path / "week.driftline"
    other = week + week
    week.write(path)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            other.write(path)
            week.write(path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {Profile.read(path).frames for _ in range(60)}
    finally:
        stop.set()
        writer.join()

    assert seen <= {100, 200}
    assert ["week.driftline"] == [p.name for p in tmp_path.iterdir()]


def test_a_failed_write_leaves_the_old_file(tmp_path, week, monkeypatch):
    """And nothing beside it."""
    path = tmp_path / "week.driftline"
    week.write(path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space"):
        (week + week).write(path)

    assert week == Profile.read(path)
    assert ["week.driftline"] == [p.name for p in tmp_path.iterdir()]


def test_later_fields_are_ignored(week):
    """A later version may add members and fields; this one reads what it knows."""

    def change(head):
        head["schema"] = 7
        head["weather"] = {"rain": True}
        head["context"]["half"] = True
        head["features"][0]["colour"] = "red"

    assert week == Profile.from_bytes(rewritten(week, change, weather=b"\x00" * 9))


def test_a_later_schema_that_cannot_be_read_says_so(week):
    """`readable_by` is above what this version knows."""
    content = rewritten(week, lambda head: head.update(schema=3, readable_by=2))

    with pytest.raises(UnreadableData, match=r"schema 3, .* schema 2 and later.*update driftline"):
        Profile.from_bytes(content)


def test_settings_that_were_not_written_were_not_recorded(week):
    """An older writer knew fewer of them."""

    def change(head):
        head["context"] = {"conf": 0.25}

    assert Context(conf=0.25) == Profile.from_bytes(rewritten(week, change)).context


DAMAGE = {
    "format": lambda h: h.update(format="other"),
    "no format": lambda h: h.pop("format"),
    "list": lambda h: h.update(cameras="cam"),
    "number": lambda h: h.update(cameras=[1]),
    "few cameras": lambda h: h["cameras"].pop(),
    "few periods": lambda h: h["periods"].pop(),
    "no periods": lambda h: h.update(periods=[]),
    "no classes": lambda h: h.update(class_ids=[]),
    "class": lambda h: h.update(class_ids=[-1]),
    "bigint class": lambda h: h.update(class_ids=[10**30]),
    "period": lambda h: h.update(period_seconds=7),
    "huge period": lambda h: h.update(period_seconds=1e300),
    "nan period": lambda h: h.update(period_seconds=float("nan")),
    "true period": lambda h: h.update(period_seconds=True),
    "offset": lambda h: h.update(utc_offset_seconds=10**6),
    "time": lambda h: h.update(periods=["yesterday"]),
    "inside": lambda h: h.update(periods=["2026-11-02T01:02:03+00:00"] * len(h["periods"])),
    "bins": lambda h: h["features"][0]["uniform"].update(n_bins=10**12),
    "one bin": lambda h: h["features"][0]["uniform"].update(n_bins=1),
    "width": lambda h: h["features"][0]["uniform"].update(bins_per_unit=10**400),
    "level": lambda h: h["features"][0].update(level="image"),
    "twice": lambda h: h["features"].append(h["features"][0]),
    "edges": lambda h: h["features"].append(
        {
            "name": "x",
            "level": "box",
            "unit": "",
            "scale": "linear",
            "kind": "ordered",
            "edges": [2, 1],
        }
    ),
    "big edges": lambda h: h["features"].append(
        {
            "name": "x",
            "level": "box",
            "unit": "",
            "scale": "linear",
            "kind": "ordered",
            "edges": [10**400],
        }
    ),
    "names": lambda h: h["context"].update(class_names={"cat": "0"}),
    "context": lambda h: h.update(context=[]),
    "conf": lambda h: h["context"].update(conf="high"),
    "schema": lambda h: h.update(readable_by="1"),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_header_is_unreadable(week, change):
    """Whatever is wrong with it, the error is one, and names the file."""
    with pytest.raises(UnreadableData, match="the profile"):
        Profile.from_bytes(rewritten(week, change))


def test_boxes_of_no_class_are_unreadable():
    """The only class was left out of the header."""
    profile = profile_of(stream(1, 9), features=[]).slice(class_id=3)

    with pytest.raises(UnreadableData, match="no class"):
        Profile.from_bytes(rewritten(profile, lambda head: head.update(class_ids=[])))


@pytest.mark.parametrize(
    "members",
    [
        {"profile.json": b"{"},
        {"profile.json": b"[]"},
        {"profile.json": b"\xff\xfe"},
        {"profile.json": b"[" * 100_000},
        {"profile.json": None},
        {"box_keys": None},
        {"box_keys": b""},
        {"box_keys": b"\x80"},
        {"box_counts": b"\xff" * 20 + b"\x01"},
        {"box_counts": _packed(np.zeros(3, dtype=np.int64)), "box_keys": b"\x01\x01\x01"},
        {"frame_keys": b"\x01\x00", "frame_counts": b"\x01\x01"},
        {"frame_keys": _packed(np.array([2**62])), "frame_counts": b"\x01"},
    ],
)
def test_damaged_members_are_unreadable(week, members):
    """Missing, cut off, out of order, of other lengths, beyond the names."""
    with pytest.raises(UnreadableData):
        Profile.from_bytes(rewritten(week, **members))


@pytest.mark.parametrize("content", [b"", b"PK", b"garbage" * 99, bytes(10_000)])
def test_garbage_is_unreadable(tmp_path, content):
    """The message names the path."""
    path = tmp_path / "week.driftline"
    path.write_bytes(content)

    with pytest.raises(UnreadableData, match=r"week\.driftline"):
        Profile.read(path)


def test_every_truncation_is_unreadable(week):
    """A copy that was cut off is never taken for a profile."""
    content = week.to_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        with pytest.raises(UnreadableData):
            Profile.from_bytes(content[:length])


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_flipped_bits_never_lie(week, data):
    """A file with a wrong byte is unreadable or the same profile, and never anything else."""
    content = bytearray(week.to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        again = Profile.from_bytes(bytes(content))
    except UnreadableData:
        return

    assert week == again


def test_bombs_do_not_unpack(week):
    """A member that unpacks to far more than allowed is not unpacked whole."""
    bomb = rewritten(week, box_counts=b"\x01" * 50_000_000)

    assert len(bomb) < 200_000
    with pytest.raises(UnreadableData, match="max_bytes=1,000,000"):
        Profile.from_bytes(bomb, max_bytes=1_000_000)


def test_a_size_that_lies_is_no_way_around(week):
    """The limit counts what comes out, not what the archive says."""
    content = rewritten(week, box_counts=b"\x01" * 3_000_000)
    size = (3_000_000).to_bytes(4, "little")
    assert content.count(size) >= 2
    lying = content.replace(size, (5).to_bytes(4, "little"))

    with pytest.raises(UnreadableData):
        Profile.from_bytes(lying, max_bytes=1_000_000)


def test_a_path_that_cannot_be_used(week, tmp_path):
    """A missing file, a folder or no path at all is the caller's, and not unreadable data."""
    for path in (tmp_path / "none", tmp_path, None, "a\0b"):
        with pytest.raises(InputError, match="cannot be read"):
            Profile.read(path)
        with pytest.raises(InputError, match="cannot be read"):
            Profile.from_parquet(path)
    for path in (tmp_path / "none" / "week", tmp_path, None, "a\0b"):
        with pytest.raises(InputError, match="cannot be written"):
            week.write(path)
        with pytest.raises(InputError, match="cannot be written"):
            week.to_parquet(path)
    assert [] == list(tmp_path.iterdir())


@given(st.lists(st.integers(0, 2**62)))
def test_integers_pack_and_unpack(values):
    """Seven bits a byte, as in protocol buffers."""
    array = np.array(values, dtype=np.int64)

    assert np.array_equal(array, _unpacked(_packed(array)))


def test_integers_are_leb128():
    """300 is AC 02, the example of the protocol buffers' encoding guide."""
    assert b"\xac\x02\x01" == _packed(np.array([300, 1]))


# Parquet -------------------------------------------------------------------------------------


def test_parquet_and_back(tmp_path, week):
    """Rows and settings; other engines read the rows."""
    pq = pytest.importorskip("pyarrow.parquet")
    week.to_parquet(tmp_path / "week.parquet")
    table = pq.read_table(tmp_path / "week.parquet")

    assert week == Profile.from_parquet(tmp_path / "week.parquet")
    assert ["camera", "period", "class_id", "feature", "bin", "count"] == table.column_names
    assert ["week.parquet"] == [p.name for p in tmp_path.iterdir()]


def test_parquet_bomb(tmp_path, week):
    """A small file is refused that would unpack to gigabytes, by its rows or by long names in them."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    week.to_parquet(tmp_path / "week.parquet")
    honest = pq.read_table(tmp_path / "week.parquet")
    path = tmp_path / "bomb.parquet"
    rows = 400_000
    name = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), ["c" * 9_000])
    first = honest.take(pa.repeat(0, rows))
    pq.write_table(first.set_column(0, "camera", name), path, compression="zstd")
    tracemalloc.start()
    with pytest.raises((InputError, UnreadableData)):  # 400,000 times one count; 3.6 GB as texts
        Profile.from_parquet(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert path.stat().st_size < 1_000_000
    assert peak < 500_000_000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftline.profiles._parquet.MAX_BYTES", 1000)
        with pytest.raises(UnreadableData, match="unpacks to"):
            Profile.from_parquet(tmp_path / "week.parquet")


def test_parquet_of_nothing(tmp_path):
    """An empty profile has no rows and its features."""
    pytest.importorskip("pyarrow")
    empty = ProfileBuilder(features=[*DEFAULT_FEATURES, OWN]).profile()
    empty.to_parquet(tmp_path / "e.parquet")

    assert empty == Profile.from_parquet(tmp_path / "e.parquet")


def test_parquet_counts_in_sql(tmp_path, week):
    """A query over the file gives the boxes of each camera."""
    duckdb = pytest.importorskip("duckdb")
    week.to_parquet(tmp_path / "week.parquet")
    with duckdb.connect() as connection:
        found = connection.sql(
            f"select camera, sum(count) from '{tmp_path / 'week.parquet'}' "
            "where feature = 'class' group by camera order by camera"
        ).fetchall()

    assert dict(zip(week.cameras, week.boxes_by_block().sum(axis=0).tolist(), strict=True)) == {
        camera: int(n) for camera, n in found
    }


def test_other_parquet_is_unreadable(tmp_path, week):
    """Garbage, and tables that are no profile; the message says what to do with rows."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    (tmp_path / "a").write_bytes(b"PAR1 garbage")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "b")
    week.to_parquet(tmp_path / "c")
    pq.write_table(pq.read_table(tmp_path / "c").replace_schema_metadata(None), tmp_path / "c")
    week.to_parquet(tmp_path / "d")
    damaged = pq.read_table(tmp_path / "d")
    metadata = damaged.schema.metadata
    damaged = damaged.set_column(4, "bin", pa.array([10**6] * len(damaged), pa.int32()))
    pq.write_table(damaged.replace_schema_metadata(metadata), tmp_path / "d")

    for name, said in [
        ("a", "not a profile"),
        ("b", "not a profile"),
        ("c", "from_rows"),
        ("d", "bin"),
    ]:
        with pytest.raises(UnreadableData, match=said):
            Profile.from_parquet(tmp_path / name)


def test_parquet_needs_an_extra(tmp_path, week, monkeypatch):
    """Without pyarrow the error names the extra."""
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r"driftline\[lake\]"):
        week.to_parquet(tmp_path / "week.parquet")


def test_the_file_is_a_zip_with_a_header_in_words(week):
    """Somebody without Driftline can look inside."""
    with zipfile.ZipFile(io.BytesIO(week.to_bytes())) as archive:
        head = json.loads(archive.read("profile.json"))
        assert None is archive.testzip()

    assert ("driftline-profile", 1, 1) == (head["format"], head["schema"], head["readable_by"])
    assert ["cam-0", "cam-1", "cam-2"] == head["cameras"]
    assert "bést.pt" == head["context"]["model"]
