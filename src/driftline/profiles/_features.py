"""What is counted: each feature has a name, a level, a unit and edges that are fixed at birth.

Edges are put where no recorded value can lie on them (see `CONFIDENCE` and `AREA`), so that a
query in a database, float32 and float64, and a log rounded to five decimals all count alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import numbers, part, refuse_number, refuse_other
from driftline.errors import InputError

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

Level: TypeAlias = Literal["box", "frame"]
Kind: TypeAlias = Literal["ordered", "nominal"]
Scale: TypeAlias = Literal["linear", "log2"]

MOST_BINS = 2**20
"""More bins than this are no histogram."""
SMALLEST_SIDE_PX = 1e-6
"""A side shorter than this counts as this long, so that a degenerate box has a logarithm."""

UNITS = 2.0**32
"""A frame's confidences are added up in whole 2**-32ths (2.3e-10): a double holds the sum of two
million of these exactly, so that neither the order of boxes nor the engine that adds them matters."""


class Batch:
    """The columns that features are computed from: n boxes of m frames.

    What a formula does not ask for is not worked out.

    Attributes:
        left: ``(n,)`` float64, px; as `top`, `right` and `bottom`.
        top: see `left`.
        right: see `left`.
        bottom: see `left`.
        confidence: ``(n,)`` float64, [0, 1].
        class_id: ``(n,)`` int64.
        frame: ``(n,)`` int64: which of the m frames a box belongs to.
        frame_height: ``(n,)`` or ``(1,)`` float64: height of the frame of each box, px.
        frame_width: ``(n,)`` or ``(1,)`` float64: width of the frame of each box, px.
    """

    def __init__(
        self,
        *,
        sides: FloatArray,
        confidence: FloatArray,
        class_id: IntArray,
        frame: IntArray,
        frame_height: FloatArray,
        frame_width: FloatArray,
        tally: Tally,
    ) -> None:
        """Store; `sides` is ``(4, n)``: left, top, right, bottom."""
        self.left, self.top, self.right, self.bottom = sides
        self._sides = sides
        self.confidence, self.class_id, self.frame = confidence, class_id, frame
        self.frame_height, self.frame_width = frame_height, frame_width
        self._tally = tally

    def where(self, keep: npt.NDArray[np.bool_]) -> Batch:
        """The boxes that are kept."""
        height, width = self.frame_height, self.frame_width
        return Batch(
            sides=self._sides[:, keep],
            confidence=self.confidence[keep],
            class_id=self.class_id[keep],
            frame=self.frame[keep],
            frame_height=height if len(height) == 1 else height[keep],
            frame_width=width if len(width) == 1 else width[keep],
            tally=self._tally,
        )

    @property
    def xyxy(self) -> FloatArray:
        """``(n, 4)`` float64: left, top, right, bottom, px."""
        return self._sides.T

    @cached_property
    def log2_height(self) -> FloatArray:
        """``(n,)`` float64: log2 of a box's height as a share of its frame's."""
        return log2_share(self.top, self.bottom, self.frame_height)

    @cached_property
    def log2_width(self) -> FloatArray:
        """``(n,)`` float64: log2 of a box's width as a share of its frame's."""
        return log2_share(self.left, self.right, self.frame_width)

    @property
    def boxes_per_frame(self) -> FloatArray:
        """``(m,)`` float64: boxes of each frame."""
        return self._tally.boxes

    @property
    def mean_confidence(self) -> FloatArray:
        """``(m,)`` float64: mean confidence of each frame; nan where there are no boxes."""
        return self._tally.mean_confidence


class Tally:
    """Number and total confidence of the boxes of each frame, added up chunk by chunk."""

    def __init__(self, n_frames: int) -> None:
        """Nothing yet."""
        self.boxes = np.zeros(n_frames)
        self._units = np.zeros(n_frames)

    def add(self, frame: npt.NDArray[np.integer], confidence: FloatArray) -> None:
        """Add some boxes."""
        if len(frame) == 0:
            return
        low, high = int(frame.min()), int(frame.max()) + 1
        index = frame - low if low else frame
        self.boxes[low:high] += np.bincount(index, minlength=high - low)
        units = np.floor(confidence * UNITS)
        self._units[low:high] += np.bincount(index, weights=units, minlength=high - low)

    @property
    def mean_confidence(self) -> FloatArray:
        """``(m,)`` float64, nan for frames without boxes."""
        nothing = np.full(len(self.boxes), np.nan)
        mean: FloatArray = np.divide(
            self._units / UNITS, self.boxes, out=nothing, where=self.boxes > 0
        )
        return mean


def log2_share(low: FloatArray, high: FloatArray, side: FloatArray) -> FloatArray:
    """log2 of the length from `low` to `high` over `side`; see `SMALLEST_SIDE_PX`."""
    length: FloatArray = np.subtract(high, low)
    np.maximum(length, SMALLEST_SIDE_PX, out=length)
    np.divide(length, side, out=length)
    np.log2(length, out=length)
    return length


Compute: TypeAlias = Callable[[Batch], npt.ArrayLike]


def _edges(value: npt.ArrayLike) -> FloatArray:
    edges = numbers(value, "edges").copy()
    edges.setflags(write=False)
    return edges


@frozen(kw_only=True, eq=False)
class Feature:
    """One number of a box or a frame, and the bins it is counted in.

    Bin ``i`` holds ``edges[i - 1] <= value < edges[i]``; the first bin is open below and the
    last is open above, so that every number has a bin. Two features are equal when their
    names, levels, units and edges are: histograms of equal features add up.

    Attributes:
        name: short name, such as ``"confidence"``.
        level: ``"box"``: one value a box; ``"frame"``: one value a frame.
        edges: ``(n_bins - 1,)`` float64, strictly increasing, finite, in `unit`.
        unit: unit of the values and edges, for people.
        kind: ``"nominal"`` where the order of the bins means nothing (classes).
        scale: ``"log2"`` where values are base-2 logarithms; ``2 ** edges`` reads better.
        compute: the values from the columns of a batch: ``(n,)`` for a box feature, ``(m,)``
            for a frame feature, nan for "has none". None: the caller of
            `ProfileBuilder.observe` passes the values itself.
        affine: bins per unit and first edge where the bins are equally wide (`uniform`).
    """

    name: str
    level: Level
    edges: FloatArray = field(converter=_edges, repr=lambda edges: f"<{len(edges)} edges>")
    unit: str = ""
    kind: Kind = "ordered"
    scale: Scale = "linear"
    compute: Compute | None = field(default=None, repr=False)
    affine: tuple[float, float] | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        """Refuse edges that leave a number without a bin or in two."""
        if not part(self.name, str, name="name", what="the name of the feature"):
            msg = "name='' must be the name of the feature"
            raise InputError(msg)
        refuse_other("level", self.level, get_args(Level))
        refuse_other("kind", self.kind, get_args(Kind))
        refuse_other("scale", self.scale, get_args(Scale))
        ordered = self.edges.ndim == 1 and bool(
            np.all(np.isfinite(self.edges)) and np.all(np.diff(self.edges) > 0)
        )
        if not ordered:
            msg = f"the edges of {self.name!r} must be finite and strictly increasing, got {self.edges!r}"
            raise InputError(msg)

    @classmethod
    def uniform(
        cls,
        name: str,
        *,
        level: Level,
        bins_per_unit: float,
        first_edge: float,
        n_bins: int,
        unit: str = "",
        scale: Scale = "linear",
        compute: Compute | None = None,
    ) -> Feature:
        """A feature whose inner bins are equally wide: its bin is a multiplication away.

        Args:
            name: as in `Feature`.
            level: as in `Feature`.
            bins_per_unit: how many bins one unit of the value is cut into.
            first_edge: upper edge of the first (open) bin.
            n_bins: number of bins, at least 2, both open ones included.
            unit: as in `Feature`.
            scale: as in `Feature`.
            compute: as in `Feature`.

        Raises:
            InputError: a number is out of its range, or as in `Feature`.
        """
        what = f"2 to {MOST_BINS:,}: two bins are open"
        refuse_number("n_bins", n_bins, what, least=2, most=MOST_BINS, whole=True)
        refuse_number("bins_per_unit", bins_per_unit, "in 1e-9 to 1e9", least=1e-9, most=1e9)
        refuse_number("first_edge", first_edge, "in -1e9 to 1e9", least=-1e9, most=1e9)
        affine = (float(bins_per_unit), float(first_edge))
        return cls(
            name=name,
            level=level,
            edges=_uniform_edges(*affine, n_bins),
            unit=unit,
            scale=scale,
            compute=compute,
            affine=affine,
        )

    @property
    def n_bins(self) -> int:
        """Number of bins, both open ones included."""
        return len(self.edges) + 1

    @property
    def centers(self) -> FloatArray:
        """``(n_bins,)`` float64 middle of each bin; an open bin is as wide as its neighbour."""
        edges = self.edges
        if len(edges) < 2:  # noqa: PLR2004  no bin has two edges
            return np.repeat(edges, 2) if len(edges) else np.zeros(1)
        first, last = edges[1] - edges[0], edges[-1] - edges[-2]
        wide = np.concatenate([[edges[0] - first], edges, [edges[-1] + last]])
        middles: FloatArray = (wide[1:] + wide[:-1]) / 2
        return middles

    def bin(self, values: npt.ArrayLike) -> IntArray:
        """The bin of each value, 0 to ``n_bins - 1``; -1 for nan.

        >>> CONFIDENCE.bin([0.123, 0.12299999, 1.0]).tolist()
        [123, 123, 999]
        """
        array = numbers(values, "values")
        missing = np.isnan(array)
        if not missing.any():
            return self.bin_numbers(array)
        bins = self.bin_numbers(np.where(missing, 0.0, array))
        return np.where(missing, -1, bins)

    def bin_numbers(self, values: FloatArray) -> IntArray:
        """The bin of each value, none of which is nan: `bin` without the look for nan."""
        if self.affine is None:
            return self.edges.searchsorted(values, side="right").astype(np.int64, copy=False)
        per_unit, first_edge = self.affine
        half = 0.5 / per_unit
        scaled = np.clip(values, first_edge - half, self.edges[-1] + half)  # a product may overflow
        scaled *= per_unit
        scaled += 1.0 - first_edge * per_unit
        return scaled.astype(np.int64)

    def __eq__(self, other: object) -> bool:
        """Whether histograms of both add up."""
        if not isinstance(other, Feature):
            return NotImplemented
        return self.signature == other.signature and bool(np.array_equal(self.edges, other.edges))

    def __hash__(self) -> int:
        """By what is compared first."""
        return hash(self.signature)

    @property
    def signature(self) -> tuple[str, str, str, str, str]:
        """What is said of a feature in words, all of which must agree to add up."""
        return (self.name, self.level, self.unit, self.kind, self.scale)


def _uniform_edges(scale: float, first_edge: float, n_bins: int) -> FloatArray:
    """The least float of each bin but the first, as `Feature.bin_numbers` tells them.

    The floating-point product and sum are monotone, so that bisection finds the exact step:
    `Feature.bin` and a search in `Feature.edges` agree on every float.
    """
    shift = 1.0 - first_edge * scale
    target = np.arange(1, n_bins, dtype=np.float64)
    nominal = (target - shift) / scale
    low, high = nominal - 1e-6 / scale, nominal + 1e-6 / scale
    for _ in range(80):
        middle = low + (high - low) / 2
        reached = middle * scale + shift >= target
        high = np.where(reached, middle, high)
        low = np.where(reached, low, middle)
    return high


CONFIDENCE = Feature.uniform(
    "confidence",
    level="box",
    bins_per_unit=1000,
    first_edge=0.001 - 0.000005,
    n_bins=1000,
    unit="confidence, 0 to 1",
    compute=lambda batch: batch.confidence,
)
"""Confidence of a box: bin k holds what rounds at five decimals to [k, k + 1) thousandths.

Ultralytics rounds a logged confidence to five decimals (``Results.summary(decimals=5)``); an edge
halfway between two such numbers makes a rounded log and the raw scores count alike. The SQL is
``floor((confidence + 0.000005) * 1000)``, at most 999.
"""

AREA = Feature.uniform(
    "area",
    level="box",
    bins_per_unit=32,
    first_edge=-24 + 0.5 / 32,
    n_bins=24 * 32 + 1,
    unit="log2 of the box's share of the frame's area",
    scale="log2",
    compute=lambda batch: batch.log2_width + batch.log2_height,
)
"""Width x height of a box over that of its frame, in log2, 32 bins an octave (2.2 % each).

An edge is 2 to the power of an odd 64th: irrational, so that no ratio of pixels lies on it.
"""

WIDTH = Feature.uniform(
    "width",
    level="box",
    bins_per_unit=32,
    first_edge=-12 + 0.5 / 32,
    n_bins=12 * 32 + 1,
    unit="log2 of the box's share of the frame's width",
    scale="log2",
    compute=lambda batch: batch.log2_width,
)
"""Width of a box over that of its frame, in log2, 32 bins an octave."""

HEIGHT = Feature.uniform(
    "height",
    level="box",
    bins_per_unit=32,
    first_edge=-12 + 0.5 / 32,
    n_bins=12 * 32 + 1,
    unit="log2 of the box's share of the frame's height",
    scale="log2",
    compute=lambda batch: batch.log2_height,
)
"""Height of a box over that of its frame, in log2, 32 bins an octave."""

ASPECT = Feature.uniform(
    "aspect",
    level="box",
    bins_per_unit=32,
    first_edge=-6 + 0.5 / 32,
    n_bins=12 * 32 + 1,
    unit="log2 of width over height, in px",
    scale="log2",
    compute=lambda batch: (
        batch.log2_width - batch.log2_height + np.log2(batch.frame_width / batch.frame_height)
    ),
)
"""Width over height of a box in pixels, in log2: 0 is a square, 1 twice as wide as high."""

CENTER_X = Feature.uniform(
    "center_x",
    level="box",
    bins_per_unit=100,
    first_edge=0.01 - 0.0000025,
    n_bins=100,
    unit="share of the frame's width, from the left",
    compute=lambda batch: (batch.left + batch.right) * (0.5 / batch.frame_width),
)
"""Middle of a box from left to right; edges halfway between halves of five decimals."""

CENTER_Y = Feature.uniform(
    "center_y",
    level="box",
    bins_per_unit=100,
    first_edge=0.01 - 0.0000025,
    n_bins=100,
    unit="share of the frame's height, from the top",
    compute=lambda batch: (batch.top + batch.bottom) * (0.5 / batch.frame_height),
)
"""Middle of a box from top to bottom; edges halfway between halves of five decimals."""

BOXES_PER_FRAME = Feature(
    name="boxes_per_frame",
    level="frame",
    edges=np.concatenate([np.arange(40), np.rint(40 * 2 ** (np.arange(1, 49) / 8))]) + 0.5,
    unit="boxes",
    compute=lambda batch: batch.boxes_per_frame,
)
"""Number of boxes of a frame, frames without any included: one bin each to 40, then 8 an octave."""

FRAME_CONFIDENCE = Feature.uniform(
    "frame_confidence",
    level="frame",
    bins_per_unit=1000,
    first_edge=0.001 - 0.000005,
    n_bins=1000,
    unit="mean confidence, 0 to 1",
    compute=lambda batch: batch.mean_confidence,
)
"""Mean confidence of the boxes of a frame; frames without boxes have none."""

DEFAULT_FEATURES = (
    CONFIDENCE,
    AREA,
    WIDTH,
    HEIGHT,
    ASPECT,
    CENTER_X,
    CENTER_Y,
    BOXES_PER_FRAME,
    FRAME_CONFIDENCE,
)
"""What a profile counts unless told otherwise; the class mix (``"class"``) is always counted."""


def class_feature(class_ids: IntArray) -> Feature:
    """The class mix as a feature: one bin a class, in the order of `class_ids`."""
    return Feature(
        name="class",
        level="box",
        edges=(class_ids[1:] + class_ids[:-1]) / 2.0 if len(class_ids) else np.zeros(0),
        unit="class",
        kind="nominal",
    )
