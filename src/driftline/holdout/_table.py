"""Every detection and object of a holdout after matching: all scores are computed from this."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import Factory, evolve, field, frozen

from driftline._checks import parts
from driftline._stats.average_precision import (
    ApMethod,
    Ranking,
    average_precision,
    replicate_average_precision,
)
from driftline.errors import InputError, UnreadableData
from driftline.holdout._frames import LabelledFrame, content_digest
from driftline.holdout._matching import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    box_areas,
    match_frame,
    outside,
)
from driftline.records import Detections

__all__ = ["MatchTable"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BitArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]

_MOST_BYTES = 2**30
"""An array that unpacks to more is refused: that of a hundred million detections."""
_BIT = (1 << np.arange(len(IOU_THRESHOLDS))).astype(np.uint16)


def _ranked(table: MatchTable) -> IntArray:
    """Rows of falling confidence; equal ones stay in the order of frames (COCO API)."""
    return np.argsort(-table.confidence, kind="stable")


@frozen(kw_only=True, eq=False, repr=False)
class MatchTable:
    """Matched detections and objects, n frames, d detections, m objects.

    Attributes:
        frames: ``n`` names of the frames.
        named: whether the frames came with names of their own (else they are numbered).
        truth_digests: ``n`` digests of the labels.
        prediction_digests: ``n`` digests of the predictions.
        tags: ``n`` tags of the frames.
        weights: ``(n,)`` 1 / inclusion probability.
        classes: the class ids, in the order `class_index` counts in.
        frame: ``(d,)`` index of the frame of each detection, frames in order, and within one in
            order of falling confidence.
        class_index: ``(d,)`` its class.
        confidence: ``(d,)`` its confidence.
        area: ``(d,)`` its area, px².
        hits: ``(d, sizes)`` bit t set where it is a true positive at threshold t.
        ignored: ``(d, sizes)`` bit t set where it does not count at threshold t.
        truth_frame: ``(m,)`` frame of each object.
        truth_class: ``(m,)`` its class.
        truth_area: ``(m,)`` its area, px².
        truth_unjudged: ``(m,)`` True for crowds and ignored objects.
    """

    frames: tuple[str, ...]
    named: bool
    truth_digests: tuple[str, ...]
    prediction_digests: tuple[str, ...]
    tags: tuple[Mapping[str, str], ...]
    weights: FloatArray
    classes: tuple[int, ...]
    frame: IntArray
    class_index: IntArray
    confidence: FloatArray
    area: FloatArray
    hits: BitArray
    ignored: BitArray
    truth_frame: IntArray
    truth_class: IntArray
    truth_area: FloatArray
    truth_unjudged: BoolArray
    _rank: IntArray = field(init=False, default=Factory(_ranked, takes_self=True))

    def __repr__(self) -> str:
        """Its counts."""
        return (
            f"MatchTable({len(self.frames)} frames, {len(self.confidence)} detections, "
            f"{len(self.truth_frame)} objects)"
        )

    def hit_at(self, threshold: int = 0, size: int = 0) -> BoolArray:
        """``(d,)`` true positives at one IoU threshold (by index) and size range."""
        return np.asarray((self.hits[:, size] & _BIT[threshold]) != 0)

    def ignored_at(self, threshold: int = 0, size: int = 0) -> BoolArray:
        """``(d,)`` uncounted detections at one IoU threshold (by index) and size range."""
        return np.asarray((self.ignored[:, size] & _BIT[threshold]) != 0)

    def judged(self, size: int = 0) -> BoolArray:
        """``(m,)`` objects that count in a size range."""
        return ~(self.truth_unjudged | outside(self.truth_area)[:, size])

    def truth_counts(self, class_index: int, size: int = 0) -> FloatArray:
        """``(n,)`` counted objects of a class in each frame."""
        chosen = self.judged(size) & (self.truth_class == class_index)
        return np.bincount(self.truth_frame[chosen], minlength=len(self.frames)).astype(float)

    def ranking(self, class_index: int, size: int = 0) -> Ranking:
        """The detections of a class in order of falling confidence."""
        rows = self._rank[self.class_index[self._rank] == class_index]
        return Ranking(
            unit=self.frame[rows],
            hit=(self.hits[rows, size] & _BIT[:, None]) != 0,
            ignored=(self.ignored[rows, size] & _BIT[:, None]) != 0,
            truth=self.truth_counts(class_index, size),
        )

    def average_precision(
        self, weights: FloatArray, *, method: ApMethod, size: int = 0
    ) -> FloatArray:
        """``(classes, thresholds)`` average precision under one weight per frame; NaN: no objects."""
        return np.array(
            [
                average_precision(self.ranking(index, size), weights, method=method)
                for index in range(len(self.classes))
            ]
        ).reshape(len(self.classes), len(IOU_THRESHOLDS))

    def replicates(self, weights: FloatArray, *, method: ApMethod, size: int = 0) -> FloatArray:
        """``(replicates, classes, thresholds)`` the same under each row of weights."""
        shape = (len(weights), len(self.classes), len(IOU_THRESHOLDS))
        answer = np.full(shape, np.nan)
        for index in range(len(self.classes)):
            ranking = self.ranking(index, size)
            if ranking.truth.any():
                answer[:, index] = replicate_average_precision(ranking, weights, method=method)
        return answer

    def part(self, frames: IntArray) -> MatchTable:
        """The same for some of the frames, in the order of `frames`."""
        place = np.full(len(self.frames), -1)
        place[frames] = np.arange(len(frames))
        rows, objects = place[self.frame] >= 0, place[self.truth_frame] >= 0
        return evolve(
            self,
            frames=tuple(self.frames[index] for index in frames),
            truth_digests=tuple(self.truth_digests[index] for index in frames),
            prediction_digests=tuple(self.prediction_digests[index] for index in frames),
            tags=tuple(self.tags[index] for index in frames),
            weights=self.weights[frames],
            frame=place[self.frame[rows]],
            class_index=self.class_index[rows],
            confidence=self.confidence[rows],
            area=self.area[rows],
            hits=self.hits[rows],
            ignored=self.ignored[rows],
            truth_frame=place[self.truth_frame[objects]],
            truth_class=self.truth_class[objects],
            truth_area=self.truth_area[objects],
            truth_unjudged=self.truth_unjudged[objects],
        )

    @classmethod
    def of(
        cls,
        frames: Sequence[LabelledFrame],
        predictions: Sequence[Detections],
        *,
        classes: tuple[int, ...],
        max_detections: int | None,
    ) -> MatchTable:
        """Match every frame.

        Raises:
            InputError: a frame and its predictions have different sizes, or the numbers of
                frames and predictions differ.
        """
        if len(frames) != len(predictions):
            msg = f"{len(frames)} labelled frames and {len(predictions)} predictions: one each is needed"
            raise InputError(msg)
        index_of = {class_id: index for index, class_id in enumerate(classes)}
        matches = []
        for place, (frame, found) in enumerate(zip(frames, predictions, strict=True)):
            _require_same_size(frame, found, place)
            match = match_frame(frame.truth, found, max_detections=max_detections)
            matches.append((match, found))
        counts = [len(match.order) for match, _ in matches]
        truths = [frame.truth for frame in frames]
        return cls(
            frames=tuple(frame.id or str(place) for place, frame in enumerate(frames)),
            named=any(frame.id for frame in frames),
            truth_digests=tuple(_truth_digest(frame) for frame in frames),
            prediction_digests=tuple(_prediction_digest(found) for found in predictions),
            tags=tuple(dict(frame.tags) for frame in frames),
            weights=np.array([frame.weight for frame in frames], dtype=np.float64),
            classes=classes,
            frame=np.repeat(np.arange(len(frames)), counts),
            class_index=_indexed(
                [found.class_id[match.order] for match, found in matches], index_of
            ),
            confidence=_joined([found.confidence[match.order] for match, found in matches]),
            area=_joined([box_areas(found.xyxy[match.order]) for match, found in matches]),
            hits=_packed([match.hit for match, _ in matches]),
            ignored=_packed([match.ignored for match, _ in matches]),
            truth_frame=np.repeat(np.arange(len(frames)), [len(truth) for truth in truths]),
            truth_class=_indexed([truth.class_id for truth in truths], index_of),
            truth_area=_joined([truth.areas for truth in truths]),
            truth_unjudged=_joined([truth.unjudged for truth in truths]).astype(np.bool_),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; arrays are compressed and lose nothing."""
        return {
            "frames": list(self.frames),
            "named": self.named,
            "truth_digests": list(self.truth_digests),
            "prediction_digests": list(self.prediction_digests),
            "tags": [dict(tags) for tags in self.tags],
            "classes": list(self.classes),
        } | {name: _written(getattr(self, name)) for name in _ARRAYS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatchTable:
        """The table that `to_dict` wrote.

        Raises:
            UnreadableData: its columns do not fit each other, or an array is damaged.
        """
        table = cls(
            frames=_texts(values, "frames"),
            named=bool(values["named"]),
            truth_digests=_texts(values, "truth_digests"),
            prediction_digests=_texts(values, "prediction_digests"),
            tags=parts(values["tags"], Mapping, name="tags", what="a mapping"),
            classes=parts(values["classes"], Integral, name="classes", what="an index"),
            **{name: _read(name, values[name], dtype) for name, dtype in _ARRAYS.items()},
        )
        table._require_fit()
        return table

    def _require_fit(self) -> None:
        """Refuse columns that do not belong together."""
        n, d, m = len(self.frames), len(self.frame), len(self.truth_frame)
        shapes = {
            **dict.fromkeys(("truth_digests", "prediction_digests", "tags", "weights"), (n,)),
            **dict.fromkeys(("class_index", "confidence", "area"), (d,)),
            **{name: (d, len(AREA_RANGES)) for name in ("hits", "ignored")},
            **dict.fromkeys(("truth_class", "truth_area", "truth_unjudged"), (m,)),
        }
        wrong = [name for name, shape in shapes.items() if _shape(getattr(self, name)) != shape]
        bounds = {"frame": n, "class_index": len(self.classes)}
        bounds |= {"truth_frame": n, "truth_class": len(self.classes)}
        for name, below in bounds.items():
            index = getattr(self, name)
            if index.ndim != 1 or (index.size and not 0 <= index.min() <= index.max() < below):
                wrong.append(name)
        if wrong:
            msg = f"columns {sorted(set(wrong))} of the matched detections do not fit the others"
            raise UnreadableData(msg)


_ARRAYS: Mapping[str, str] = {
    "weights": "<f8",
    "frame": "<i8",
    "class_index": "<i8",
    "confidence": "<f8",
    "area": "<f8",
    "hits": "<u2",
    "ignored": "<u2",
    "truth_frame": "<i8",
    "truth_class": "<i8",
    "truth_area": "<f8",
    "truth_unjudged": "|b1",
}


def _written(array: npt.NDArray[Any]) -> dict[str, Any]:
    """An array as base64 of its compressed bytes, as 32-bit numbers where that loses nothing."""
    narrow = {"f": np.float32, "i": np.int32}.get(array.dtype.kind)
    if narrow is not None and np.array_equal(array.astype(narrow), array):
        array = array.astype(narrow)
    little = array.astype(array.dtype.newbyteorder("<"))
    content = base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii")
    return {"dtype": little.dtype.str, "shape": list(array.shape), "zlib": content}


def _read(name: str, values: Mapping[str, Any], dtype: str) -> npt.NDArray[Any]:
    try:
        content = _unpacked(base64.b64decode(values["zlib"]))
        array = np.frombuffer(content, dtype=np.dtype(values["dtype"])).reshape(values["shape"])
        return array.astype(np.dtype(dtype).newbyteorder("="))
    except (zlib.error, KeyError, TypeError, ValueError) as exc:
        msg = f"the array {name!r} of the matched detections does not unpack: {exc}"
        raise UnreadableData(msg) from exc


def _unpacked(content: bytes) -> bytes:
    unpack = zlib.decompressobj()
    whole = unpack.decompress(content, _MOST_BYTES)
    if not unpack.eof:
        msg = f"it is cut off, or unpacks to more than {_MOST_BYTES:,} bytes"
        raise UnreadableData(msg)
    return whole


def _shape(column: npt.NDArray[Any] | Sequence[Any]) -> tuple[int, ...]:
    return column.shape if isinstance(column, np.ndarray) else (len(column),)


def _texts(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return parts(values[name], str, name=name, what="text")


def _require_same_size(frame: LabelledFrame, found: Detections, place: int) -> None:
    if tuple(frame.truth.image_size) != tuple(found.image_size):
        msg = (
            f"frame {frame.id or place}: labels are for {tuple(frame.truth.image_size)} and predictions for "
            f"{tuple(found.image_size)} (height, width); give both in pixels of one image"
        )
        raise InputError(msg)


def _truth_digest(frame: LabelledFrame) -> str:
    truth = frame.truth
    return content_digest([truth.xyxy, truth.class_id, truth.unjudged, truth.crowds, truth.areas])


def _prediction_digest(found: Detections) -> str:
    return content_digest([found.xyxy, found.class_id, found.confidence])


def _joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0)


def _indexed(parts: Sequence[IntArray], index_of: Mapping[int, int]) -> IntArray:
    return np.array([index_of[int(one)] for one in _joined(parts)], dtype=np.int64)


def _packed(parts: Sequence[BoolArray]) -> BitArray:
    if not parts:
        return np.zeros((0, len(AREA_RANGES)), dtype=np.uint16)
    return np.asarray((np.concatenate(parts) * _BIT).sum(axis=2), dtype=np.uint16)
