"""Only this file knows how a profile lies on disk.

A profile file is a zip archive: ``profile.json`` says what is counted, and four members hold the
cells, as variable-length integers (LEB128, as in protocol buffers and DWARF). A reader ignores
members and fields it does not know; ``readable_by`` is the lowest schema number whose readers
understand the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np

from driftline._checks import part, refuse_number
from driftline.errors import InputError, UnreadableData
from driftline.profiles._cells import Cells, Layout, check_names
from driftline.profiles._features import DEFAULT_FEATURES, Feature, IntArray
from driftline.profiles._given import as_class_ids, as_starts
from driftline.profiles._parts import Part
from driftline.profiles._periods import Calendar
from driftline.records import Context, as_datetime

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile

T = TypeVar("T")

FORMAT = "driftline-profile"
SCHEMA = 1
MAX_BYTES = 2**30
"""A file that unpacks to more is refused unless the caller allows it: 1 GiB is some 10^8 cells."""
_MOST = 2.0**62
_MORE = 128
"""The eighth bit of a byte says that more of the integer follows."""
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
_MEMBERS = ("box_keys", "box_counts", "frame_keys", "frame_counts")
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)
"""What `zipfile` raises on damaged, encrypted or exotic archives."""


# Writing -----------------------------------------------------------------------------------


def encode(profile: Profile) -> bytes:
    """A profile as the content of a file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in _members_of(profile).items():
            info = zipfile.ZipInfo(name, date_time=_EPOCH_OF_ZIP)
            archive.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def digest(profile: Profile) -> str:
    """``sha256:…`` of what a file holds before it is compressed: compressors differ by build."""
    total = hashlib.sha256()
    for name, content in _members_of(profile).items():
        total.update(b"%b:%d:" % (name.encode(), len(content)))
        total.update(content)
    return f"sha256:{total.hexdigest()}"


def _members_of(profile: Profile) -> dict[str, bytes]:
    head = json.dumps(header(profile), indent=1, ensure_ascii=False, sort_keys=True)
    return {
        # half of a surrogate pair, which UTF-8 cannot hold, becomes an escape of JSON
        "profile.json": head.encode(errors="backslashreplace"),
        "box_keys": _packed(np.diff(profile.box_cells.keys, prepend=0)),
        "box_counts": _packed(profile.box_cells.counts),
        "frame_keys": _packed(np.diff(profile.frame_cells.keys, prepend=0)),
        "frame_counts": _packed(profile.frame_cells.counts),
    }


def header(profile: Profile) -> dict[str, object]:
    """What is counted, in which names, under which settings: all but the counts."""
    context = profile.context
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "readable_by": 1,
        "period_seconds": profile.period.total_seconds(),
        "utc_offset_seconds": profile.calendar.utc_offset.total_seconds(),
        "cameras": list(profile.cameras),
        "periods": [as_datetime(p).isoformat() for p in profile.periods],
        "class_ids": profile.class_ids.tolist(),
        "features": [_described(f) for f in profile.histograms],
        "context": {
            "model": context.model,
            "weights_digest": context.weights_digest,
            "conf": context.conf,
            "iou": context.iou,
            "imgsz": context.imgsz,
            "ultralytics": context.ultralytics,
            "class_names": {str(i): name for i, name in sorted(context.class_names.items())},
        },
    }


def _described(feature: Feature) -> dict[str, object]:
    plain: dict[str, object] = {
        "name": feature.name,
        "level": feature.level,
        "unit": feature.unit,
        "scale": feature.scale,
    }
    if feature.affine is None:
        return plain | {"kind": feature.kind, "edges": feature.edges.tolist()}
    per_unit, first_edge = feature.affine
    uniform = {"bins_per_unit": per_unit, "first_edge": first_edge, "n_bins": feature.n_bins}
    return plain | {"uniform": uniform}


def _packed(values: IntArray) -> bytes:
    """Whole numbers of at least 0 as LEB128: seven bits a byte, the lowest first."""
    rest = values.astype(np.uint64)
    lines = []
    more = np.ones(len(rest), dtype=bool)
    while more.any():
        low, rest = (rest & np.uint64(127)).astype(np.uint8), rest >> np.uint64(7)
        lines.append((low, more))
        more = more & (rest > 0)
    if not lines:
        return b""
    table = np.stack([low for low, _ in lines], axis=1)
    used = np.stack([there for _, there in lines], axis=1)
    goes_on = np.zeros_like(used)
    goes_on[:, :-1] = used[:, 1:]
    return bytes((table | (goes_on.astype(np.uint8) << 7))[used].tobytes())


# Reading -----------------------------------------------------------------------------------


class Parts(TypedDict):
    """What a profile is put together from."""

    parts: list[Part]
    histograms: tuple[Feature, ...]
    calendar: Calendar
    context: Context


def decode(content: bytes, *, max_bytes: int, name: str) -> Parts:
    """The parts of the profile that a file's content tells.

    Raises:
        InputError: `content` or `max_bytes` is of another kind.
        UnreadableData: it is not a profile, is damaged, or was written by a later version.
    """
    part(
        content, (bytes, bytearray, memoryview), name="content", what="the bytes of a profile file"
    )
    refuse_number("max_bytes", max_bytes, "a whole number of bytes", least=0, whole=True)
    try:
        members = _unzipped(content, max_bytes)
        head = parse_header(members["profile.json"])
        return _parts(head, {member: _unpacked(members[member]) for member in _MEMBERS})
    except UnreadableData as exc:
        msg = f"{name} cannot be read: {exc}"
        raise UnreadableData(msg) from exc
    except InputError as exc:
        msg = f"{name} tells what no profile can hold: {exc}"
        raise UnreadableData(msg) from exc


def _unzipped(content: bytes, max_bytes: int) -> dict[str, bytes]:
    """The members that are known; no more bytes in all than allowed, whatever sizes are claimed."""
    members: dict[str, bytes] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in ("profile.json", *_MEMBERS):
                with archive.open(name) as member:
                    members[name] = member.read(min(left, sys.maxsize - 1) + 1)
                left -= len(members[name])
                if left < 0:
                    break
    except _BROKEN as exc:
        msg = f"it is no profile, or damaged ({type(exc).__name__}: {exc})"
        raise UnreadableData(msg) from exc
    if left < 0:
        msg = f"it unpacks to more than max_bytes={max_bytes:,}; raise that if you trust it"
        raise UnreadableData(msg)
    return members


def parse_header(content: bytes) -> dict[str, Any]:
    """The header, of a schema that this version understands."""
    try:
        head = json.loads(content)
    except (ValueError, RecursionError) as exc:
        msg = f"its header is no JSON: {exc}"
        raise UnreadableData(msg) from exc
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        msg = f"its header does not say that it is a {FORMAT!r}"
        raise UnreadableData(msg)
    if _said(head, "readable_by", int) > SCHEMA:
        msg = (
            f"it has schema {head.get('schema')!r}, for readers of schema {head['readable_by']} and "
            f"later, and this version knows schema {SCHEMA}: update driftline"
        )
        raise UnreadableData(msg)
    return head


def _said(head: Mapping[str, Any], key: str, *kinds: type[T]) -> T:
    """A field of the header, of a type it must have (a truth value is no number)."""
    value = head.get(key)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        msg = f"its header has {key}={value!r:.100}, not a {' or '.join(k.__name__ for k in kinds)}"
        raise UnreadableData(msg)
    return value


def _all(head: Mapping[str, Any], key: str, *kinds: type[T]) -> list[T]:
    """A list of the header whose entries all have a type."""
    return [_said({key: value}, key, *kinds) for value in _said(head, key, list)]


def _unpacked(content: bytes) -> IntArray:
    """The inverse of `_packed`."""
    line = np.frombuffer(content, dtype=np.uint8)
    if not len(line):
        return np.zeros(0, dtype=np.int64)
    ends = np.flatnonzero(line < _MORE)
    if not len(ends) or ends[-1] != len(line) - 1:
        msg = "an integer ends in the middle"
        raise UnreadableData(msg)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(line)) - np.repeat(starts, ends - starts + 1)
    if int(place.max()) > 8:  # noqa: PLR2004  nine times seven bits are 63
        msg = "an integer has more than 63 bits"
        raise UnreadableData(msg)
    bits = (line & np.uint8(127)).astype(np.int64) << (7 * place)
    values: IntArray = np.add.reduceat(bits, starts)
    return values


def _parts(head: Mapping[str, Any], numbers: Mapping[str, IntArray]) -> Parts:
    calendar, features = calendar_of(head), features_of(head)
    cameras, ids = _all(head, "cameras", str), as_class_ids(_all(head, "class_ids", int))
    periods = as_starts([_time(text) for text in _all(head, "periods", str)], calendar)
    if not len(ids) and len(numbers["box_keys"]):
        msg = "it counts boxes of no class"
        raise UnreadableData(msg)
    blocks = len(periods) * len(cameras)
    counts = Part(
        cameras=cameras,
        periods=periods,
        class_ids=ids,
        boxes=_cells(numbers, "box", blocks * len(ids), Layout.boxes(features).width),
        frames=_cells(numbers, "frame", blocks, Layout.frames(features).width),
    )
    return Parts(parts=[counts], histograms=features, calendar=calendar, context=context_of(head))


def _cells(numbers: Mapping[str, IntArray], level: str, blocks: int, width: int) -> Cells:
    steps, counts = numbers[f"{level}_keys"], numbers[f"{level}_counts"]
    if len(steps) != len(counts):
        msg = f"{len(steps)} cells have {len(counts)} counts"
        raise UnreadableData(msg)
    for values, least in ((steps[1:], 1), (counts, 1), (steps[:1], 0)):
        if len(values) and (int(values.min()) < least or values.sum(dtype=np.float64) > _MOST):
            msg = "its cells are out of order, or hold no counts"
            raise UnreadableData(msg)
    keys = np.cumsum(steps)
    if len(keys) and int(keys[-1]) // width >= blocks:
        msg = "a cell lies outside the periods, cameras and classes it names"
        raise UnreadableData(msg)
    return Cells(keys=keys, counts=counts)


def calendar_of(head: Mapping[str, Any]) -> Calendar:
    """How the header cuts time."""
    try:
        period, offset = (
            timedelta(seconds=_said(head, key, int, float))
            for key in ("period_seconds", "utc_offset_seconds")
        )
    except (OverflowError, ValueError) as exc:
        msg = f"its header has no length of a period: {exc}"
        raise UnreadableData(msg) from exc
    return Calendar(period=period, utc_offset=offset)


def features_of(head: Mapping[str, Any]) -> tuple[Feature, ...]:
    """The features of the header; those that come with Driftline have their formulas again."""
    return check_names([_known(_feature(said)) for said in _all(head, "features", dict)])


def _feature(said: Mapping[str, Any]) -> Feature:
    plain: dict[str, Any] = {
        key: _said(said, key, str) for key in ("name", "level", "unit", "scale")
    }
    if "uniform" not in said:
        plain["kind"] = _said(said, "kind", str)
        return Feature(edges=_all(said, "edges", int, float), **plain)
    uniform = _said(said, "uniform", dict)
    return Feature.uniform(
        plain.pop("name"),
        bins_per_unit=_said(uniform, "bins_per_unit", int, float),
        first_edge=_said(uniform, "first_edge", int, float),
        n_bins=_said(uniform, "n_bins", int),
        **plain,
    )


def _known(feature: Feature) -> Feature:
    return next((own for own in DEFAULT_FEATURES if own == feature), feature)


def context_of(head: Mapping[str, Any]) -> Context:
    """The settings of the header; those it does not tell were not recorded."""
    said = _said(head, "context", dict)
    names = _said({"class_names": {}} | said, "class_names", dict)
    kinds: dict[str, tuple[type, ...]] = {
        "model": (str,),
        "weights_digest": (str,),
        "conf": (int, float),
        "iou": (int, float),
        "imgsz": (int,),
        "ultralytics": (str,),
    }
    there: dict[str, Any] = {
        k: _said(said, k, *types) for k, types in kinds.items() if said.get(k) is not None
    }
    try:
        by_index = {int(index): _said(names, index, str) for index in names}
    except ValueError as exc:
        msg = f"its header has class_names of no index: {sorted(names)[:5]}"
        raise UnreadableData(msg) from exc
    return Context(**there, class_names=by_index)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        msg = f"its header has a period that begins at {text!r:.50}"
        raise UnreadableData(msg) from exc
    return at if at.tzinfo else at.replace(tzinfo=UTC)
