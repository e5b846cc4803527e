"""A profile from COCO-style JSON: the form in which most detectors can leave their results."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from attrs import evolve

from driftline._checks import part
from driftline._clock import as_utc
from driftline.errors import DriftlineError, InputError, UnreadableData
from driftline.profiles._features import DEFAULT_FEATURES, Feature
from driftline.profiles._judge import Invalid
from driftline.profiles._profile import Profile
from driftline.records import Context
from driftline.records._adapters import coco_boxes, coco_category, coco_score

Image: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Sequence[Mapping[str, Any]]
Json: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Rows

MAX_BYTES = 2_000_000_000
"""The largest file that is read, bytes: some 15 million boxes; more belong into Parquet."""


def camera_of(image: Image) -> str:
    """The image's field ``camera``, else the folder of its file name, else ``"camera"``."""
    named = str(image.get("camera") or "")
    folder = str(image.get("file_name", "")).replace("\\", "/").rpartition("/")[0]
    return named or folder or "camera"


def captured_at(image: Image) -> datetime:
    """The image's ``date_captured`` (ISO 8601; without an offset: UTC).

    Raises:
        InputError: there is none, or it is no date.
    """
    text = image.get("date_captured")
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        msg = (
            f"image {image.get('id')!r} has date_captured={text!r}, which is no ISO date: "
            "pass at=, a function from the image's record to its time"
        )
        raise InputError(msg) from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def from_coco(
    dataset: Json,
    results: Json | None = None,
    *,
    camera: Callable[[Image], str] = camera_of,
    at: Callable[[Image], datetime] = captured_at,
    confidence: float | None = None,
    features: Sequence[Feature] = DEFAULT_FEATURES,
    period: timedelta = timedelta(days=1),
    utc_offset: timedelta = timedelta(0),
    context: Context | None = None,
    invalid: Invalid = "raise",
) -> Profile:
    """A profile of detections in COCO's form; images without a detection count as frames.

    Source: COCO's data and results formats, https://cocodataset.org/#format-data.

    Args:
        dataset: path of a JSON, gzipped where its name ends in ``.gz``, or what it holds:
            ``images`` (``id``, ``width``, ``height`` in px and, for the defaults of `camera` and
            `at`, ``file_name`` and ``date_captured``), ``categories``, and ``annotations`` where
            `results` is None.
        results: path of a JSON list of ``{"image_id", "category_id", "bbox", "score"}``, or the
            list; ``bbox`` is left, top, width, height in px.
        camera: image record → name of the camera.
        at: image record → time it was taken, aware.
        confidence: of boxes without a ``score``, such as 1.0 for labels.
        features: as this and the next four in `Profile.from_arrays`.
        period: see `features`.
        utc_offset: see `features`.
        context: see `features`; class names come from the categories where it has none.
        invalid: see `features`.

    Raises:
        InputError: a file is not there, an image has no time, or a box is of no listed image.
        UnreadableData: a file is no JSON, or not of COCO's form.
    """
    part(camera, Callable, name="camera", what="a function of an image's record")
    part(at, Callable, name="at", what="a function of an image's record")
    content = _dataset(dataset)
    images = _listed(content, "images")
    rows = _listed(content, "annotations") if results is None else _results(results)
    rows = [row for row in rows if not row.get("iscrowd")]
    cameras = [camera(image) for image in images]
    times = [as_utc(at(image), name="at") for image in images]
    try:
        return Profile.from_arrays(
            xyxy=coco_boxes(rows),
            confidence=[coco_score(row, confidence) for row in rows],
            class_id=[coco_category(row) for row in rows],
            frame=_frames(images, rows),
            frames=len(images),
            image_size=[(image["height"], image["width"]) for image in images],
            camera=cameras,
            at=times,
            features=features,
            period=period,
            utc_offset=utc_offset,
            context=_context(context or Context(), content.get("categories", ())),
            invalid=invalid,
        )
    except DriftlineError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        msg = f"this is not COCO's form: {exc!r}; images need id, width, height; boxes image_id, category_id, bbox"
        raise UnreadableData(msg) from exc


def _frames(images: Rows, rows: Rows) -> list[int]:
    number = {image["id"]: index for index, image in enumerate(images)}
    if len(number) < len(images):
        msg = f"{len(images) - len(number)} images share an id with another: give each its own"
        raise UnreadableData(msg)
    if lost := [index for index, row in enumerate(rows) if "image_id" not in row]:
        msg = f"box {lost[0]} has no image_id (nor have {len(lost) - 1} more): say which image it is of"
        raise UnreadableData(msg)
    try:
        return [number[row["image_id"]] for row in rows]
    except KeyError as exc:
        msg = f"a box is of image_id {exc}, which is not among the {len(images)} images listed"
        (wanted,) = exc.args
        if str(wanted) in map(str, number):
            msg += f"; it is, but not as {type(wanted).__name__}: let both files write ids alike"
        raise InputError(msg) from None


def _context(context: Context, categories: Iterable[Mapping[str, Any]]) -> Context:
    if context.class_names:
        return context
    return evolve(context, class_names={int(one["id"]): str(one["name"]) for one in categories})


def _dataset(given: Json) -> Mapping[str, Any]:
    content = _read(given)
    if not isinstance(content, Mapping):
        msg = f"a COCO dataset is an object with images and categories, not a {type(content).__name__}: pass the list of detections as results="
        raise UnreadableData(msg)
    return content


def _results(given: Json) -> Rows:
    content = _read(given)
    if isinstance(content, Mapping):
        return _listed(content, "annotations")
    return _listed({"results": content}, "results")


def _listed(content: Mapping[str, Any], name: str) -> Rows:
    rows = content.get(name)
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        msg = f"{name!r} is no list of records: {sorted(content)[:5]} were found beside it"
        raise UnreadableData(msg)
    return rows


def _read(given: Json) -> object:
    if not isinstance(given, str | os.PathLike):
        return given
    opened = gzip.open if os.fspath(given).endswith(".gz") else open
    try:
        with opened(given, "rt", encoding="utf-8-sig") as file:
            text = file.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        msg = f"{os.fspath(given)!r} is no whole gzip file: {exc}"
        raise UnreadableData(msg) from exc
    except UnicodeDecodeError as exc:
        msg = f"{os.fspath(given)!r} is not UTF-8 text: {exc.reason} at byte {exc.start}"
        raise UnreadableData(msg) from exc
    except (OSError, ValueError) as exc:  # ValueError: no name that a file could have
        msg = f"cannot read {os.fspath(given)!r}: {exc}"
        raise InputError(msg) from exc
    if len(text) > MAX_BYTES:
        msg = f"{os.fspath(given)!r} is larger than {MAX_BYTES:,} bytes: write a detection log in Parquet"
        raise InputError(msg)
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError) as exc:
        msg = f"{os.fspath(given)!r} is no JSON: {str(exc)[:200]}"
        raise UnreadableData(msg) from exc
    return content
