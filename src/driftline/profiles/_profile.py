"""A profile: what was detected, as integer counts by (period, camera[, class]) block."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline.errors import ContextMismatch, InputError
from driftline.profiles._cells import (
    BOXES,
    FRAMES,
    REJECTED,
    Cells,
    Layout,
    check_names,
    pack,
    unpack,
)
from driftline.profiles._context import joined, refuse_mixed
from driftline.profiles._features import (
    DEFAULT_FEATURES,
    Feature,
    FloatArray,
    IntArray,
    class_feature,
)
from driftline.profiles._periods import Calendar
from driftline.records import Context, Metric, Sample, as_datetime, as_datetime64
from driftline.records._samples import Times


def _no_times() -> Times:
    return np.zeros(0, dtype="datetime64[us]")


def _no_ids() -> IntArray:
    return np.zeros(0, dtype=np.int64)


@frozen(kw_only=True, eq=False, repr=False)
class Profile:
    """Detections of some time, as histograms: integer counts that merge by addition.

    Make one with `ProfileBuilder`, `Profile.from_arrays`, `Profile.from_counts` or
    `Profile.from_rows`. What was not observed is not there: a period or camera without any
    frame is neither listed nor zero.

    Attributes:
        cameras: the cameras seen, sorted.
        periods: ``(n_periods,)`` datetime64[us], UTC, strictly increasing: starts of the
            periods seen.
        class_ids: ``(n_classes,)`` int64, strictly increasing: the classes seen.
        histograms: what is counted, in order, without the class mix.
        calendar: length of a period, and where days begin.
        context: settings the detections were made under.
        box_cells: counts by (period, camera, class, bin).
        frame_cells: counts by (period, camera, bin).
    """

    cameras: tuple[str, ...] = ()
    periods: Times = field(factory=_no_times)
    class_ids: IntArray = field(factory=_no_ids)
    histograms: tuple[Feature, ...] = field(default=DEFAULT_FEATURES, converter=tuple)
    calendar: Calendar = field(factory=Calendar)
    context: Context = field(factory=Context)
    box_cells: Cells = field(factory=Cells)
    frame_cells: Cells = field(factory=Cells)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, npt.ArrayLike],
        *,
        periods: Sequence[datetime] | Times,
        cameras: Sequence[str],
        class_ids: Sequence[int] | IntArray = (0,),
        frames: npt.ArrayLike | None = None,
        features: Sequence[Feature] = DEFAULT_FEATURES,
        period: timedelta = timedelta(days=1),
        utc_offset: timedelta = timedelta(0),
        context: Context | None = None,
    ) -> Profile:
        """A profile from histograms that are already counted, as dense arrays.

        Args:
            counts: name of a feature → whole numbers, each at least 0. A box feature:
                ``(n_periods, n_cameras, n_classes, n_bins)``; a frame feature:
                ``(n_periods, n_cameras, n_bins)``; ``"class"``:
                ``(n_periods, n_cameras, n_classes)``, by default the sum over the bins of the
                first box feature given. Features that are left out are not in the profile.
            periods: start of each period, each at the start of a period.
            cameras: name of each camera, in the order of the arrays.
            class_ids: index of each class, in the order of the arrays.
            frames: ``(n_periods, n_cameras)`` frames; by default the sum over
                ``boxes_per_frame``.
            features: where the names are looked up.
            period: length of a period.
            utc_offset: as in `Calendar`.
            context: settings the detections were made under.

        Raises:
            InputError: an array does not fit, or holds something other than counts.
        """
        chosen = [f for f in check_names(features) if f.name in counts]
        unknown = set(counts) - {f.name for f in chosen} - {BOXES}
        if unknown:
            msg = (
                f"counts of {sorted(unknown)}, which are not among the features; pass features=[…]"
            )
            raise InputError(msg)
        starts = as_starts(periods, Calendar(period=period, utc_offset=utc_offset))
        ids = np.asarray(class_ids, dtype=np.int64)
        block = (len(starts), len(cameras))
        tables = {
            f.name: _whole(
                counts[f.name],
                (*block, len(ids), f.n_bins) if f.level == "box" else (*block, f.n_bins),
                f.name,
            )
            for f in chosen
        }
        boxes = _whole(
            counts.get(BOXES, _first_total(chosen, tables, (*block, len(ids)))),
            (*block, len(ids)),
            BOXES,
        )
        seen = _whole(
            tables["boxes_per_frame"].sum(axis=-1)
            if frames is None and "boxes_per_frame" in tables
            else frames
            if frames is not None
            else _missing_frames(),
            block,
            FRAMES,
        )
        rows = [_dense_rows(BOXES, boxes[..., None]), _dense_rows(FRAMES, seen[..., None])]
        rows += [_dense_rows(name, table) for name, table in tables.items()]
        return assemble(
            rows,
            cameras=list(cameras),
            periods=starts,
            class_ids=ids,
            histograms=tuple(chosen),
            calendar=Calendar(period=period, utc_offset=utc_offset),
            context=context or Context(),
        )

    @property
    def period(self) -> timedelta:
        """Length of a period."""
        return self.calendar.period

    @property
    def features(self) -> Mapping[str, Feature]:
        """Name → feature, the class mix (``"class"``) last."""
        own = {f.name: f for f in self.histograms}
        return {**own, BOXES: class_feature(self.class_ids)}

    @property
    def class_names(self) -> Mapping[int, str]:
        """Index → name of each class seen; the index in words where no name is recorded."""
        return {int(i): self.context.class_names.get(int(i), str(i)) for i in self.class_ids}

    @property
    def frames(self) -> int:
        """Number of frames, those without boxes included."""
        return int(self.frames_by_block().sum())

    @property
    def boxes(self) -> int:
        """Number of boxes counted."""
        return int(self.boxes_by_block().sum())

    @property
    def rejected(self) -> Mapping[str, int]:
        """Reason → how many boxes (or frames) were not counted for it; empty when none."""
        found = {r: int(self._block_counts(f"rejected.{r}").sum()) for r in REJECTED}
        return {reason: n for reason, n in found.items() if n}

    def frames_by_block(self) -> IntArray:
        """``(n_periods, n_cameras)`` int64 frames of each block."""
        return self._block_counts(FRAMES)

    def boxes_by_block(self) -> IntArray:
        """``(n_periods, n_cameras)`` int64 boxes of each block."""
        return self._dense_boxes(BOXES)[..., 0].sum(axis=2)

    def counts(self, feature: str, *, by_class: bool = False) -> IntArray:
        """The histogram of a feature in every block, zero where nothing was seen.

        Args:
            feature: a name in `features`.
            by_class: keep the classes apart (box features only).

        Returns:
            ``(n_periods, n_cameras, n_bins)`` int64, with `by_class`
            ``(n_periods, n_cameras, n_classes, n_bins)``. For ``"class"`` the bins are the
            classes: ``(n_periods, n_cameras, n_classes)`` either way.

        Raises:
            InputError: the profile has no such feature, or it has no classes.
        """
        if feature == BOXES:
            return self._dense_boxes(BOXES)[..., 0]
        if feature not in self.features:
            msg = f"no feature {feature!r} in this profile; it has {', '.join(self.features)}"
            raise InputError(msg)
        if self.features[feature].level == "box":
            return (
                self._dense_boxes(feature)
                if by_class
                else self._dense_boxes(feature, classes=False)
            )
        if by_class:
            msg = f"{feature!r} is a number of a frame, which has no class; leave out by_class"
            raise InputError(msg)
        return self._dense_frames(feature)

    def _block_counts(self, name: str) -> IntArray:
        return self._dense_frames(name)[..., 0]

    def _dense_frames(self, name: str) -> IntArray:
        layout = Layout.frames(self.histograms)
        offset, size = layout.span(name)
        block, flat = np.divmod(self.frame_cells.keys, layout.width)
        return self._dense((block,), flat - offset, self.frame_cells.counts, size)

    def _dense_boxes(self, name: str, *, classes: bool = True) -> IntArray:
        layout = Layout.boxes(self.histograms)
        offset, size = layout.span(name)
        rest, flat = np.divmod(self.box_cells.keys, layout.width)
        if classes:
            n = len(self.class_ids)
            return self._dense((rest,), flat - offset, self.box_cells.counts, size, n)
        return self._dense(
            (rest // max(1, len(self.class_ids)),), flat - offset, self.box_cells.counts, size
        )

    def _dense(
        self, block: tuple[IntArray], flat: IntArray, counts: IntArray, size: int, *inner: int
    ) -> IntArray:
        shape = (len(self.periods), len(self.cameras), *inner, size)
        table = np.zeros(shape, dtype=np.int64)
        mine = (flat >= 0) & (flat < size)
        np.add.at(table.reshape(-1), block[0][mine] * size + flat[mine], counts[mine])
        return table

    def slice(
        self,
        *,
        camera: str | Collection[str] | None = None,
        class_id: int | Collection[int] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Profile:
        """The part of some cameras, some classes, some time.

        A slice by class keeps the frames (they are what its rate is measured against) and drops
        the other frame features, which are of all classes together.

        Args:
            camera: name or names; a name that was not seen gives nothing, not an error.
            class_id: index or indexes.
            start: periods that begin at this time or later, aware.
            end: periods that begin before this time, aware.
        """
        result = self
        if class_id is not None:
            result = result._of_classes({class_id} if isinstance(class_id, int) else set(class_id))
        cameras = (
            {camera} if isinstance(camera, str) else set(self.cameras if camera is None else camera)
        )
        keep = np.ones(len(self.periods), dtype=bool)
        if start is not None:
            keep &= self.periods >= as_datetime64(start)
        if end is not None:
            keep &= self.periods < as_datetime64(end)
        return result._rebuilt(
            cameras=[c if c in cameras else None for c in self.cameras],
            periods=np.where(keep, self.periods, np.datetime64("NaT")),
        )

    def _of_classes(self, wanted: set[int]) -> Profile:
        layout = Layout.boxes(self.histograms)
        index = self.box_cells.keys // layout.width % max(1, len(self.class_ids))
        mine = np.isin(self.class_ids, sorted(wanted))[index]
        cells = Cells(keys=self.box_cells.keys[mine], counts=self.box_cells.counts[mine])
        kept = tuple(f for f in self.histograms if f.level == "box")
        return evolve(self, box_cells=cells)._with_features(kept)

    def _with_features(self, kept: tuple[Feature, ...]) -> Profile:
        rows = [
            r
            for r in self.rows()
            if r[0] in {BOXES, FRAMES, *(f.name for f in kept)} or "." in r[0]
        ]
        return self._assembled(rows, self.cameras, self.periods, histograms=kept)

    def coarsen(self, period: timedelta) -> Profile:
        """The same counts in longer periods: hours become days, days become weeks, exactly.

        Raises:
            InputError: `period` is not a multiple of this profile's.
        """
        if period < self.period or period % self.period:
            msg = f"period={period} must be a multiple of this profile's {self.period}"
            raise InputError(msg)
        calendar = Calendar(period=period, utc_offset=self.calendar.utc_offset)
        starts = calendar.starts(self.periods)
        return self._assembled(self.rows(), self.cameras, starts, calendar=calendar)

    def _rebuilt(self, *, cameras: Sequence[str | None], periods: Times) -> Profile:
        """The same counts under other names; a block whose name is None or NaT is dropped."""
        kept_camera = np.array([c is not None for c in cameras], dtype=bool)
        kept_period = ~np.isnat(periods)
        rows = []
        for name, (p, c, k, b, n) in self.rows():
            mine = kept_period[p] & kept_camera[c]
            rows.append((name, (p[mine], c[mine], k[mine], b[mine], n[mine])))
        return self._assembled(
            rows, [c or "" for c in cameras], np.where(kept_period, periods, np.datetime64(0, "us"))
        )

    def _assembled(
        self,
        rows: Sequence[Rows],
        cameras: Sequence[str],
        periods: Times,
        *,
        histograms: tuple[Feature, ...] | None = None,
        calendar: Calendar | None = None,
    ) -> Profile:
        return assemble(
            rows,
            cameras=cameras,
            periods=periods,
            class_ids=self.class_ids,
            histograms=self.histograms if histograms is None else histograms,
            calendar=calendar or self.calendar,
            context=self.context,
        )

    @staticmethod
    def merge(*profiles: Profile, ignore: Collection[str] = ()) -> Profile:
        """All of them together: counts add up, exactly, in any order and grouping.

        Args:
            profiles: at least one.
            ignore: names of settings of the context that may differ; one that does is
                unknown in the result.

        Raises:
            ContextMismatch: they were made under different settings, count different features
                or have periods of different lengths; `.fields` names what differs.
            InputError: there is nothing to merge.
        """
        if not profiles:
            msg = "nothing to merge: pass at least one profile"
            raise InputError(msg)
        first = profiles[0]
        for other in profiles[1:]:
            refuse_other_shape(first, other, doing="merge")
        cameras = [c for p in profiles for c in p.cameras]
        return assemble(
            _stacked(profiles),
            cameras=cameras,
            periods=np.concatenate([p.periods for p in profiles]),
            class_ids=np.concatenate([p.class_ids for p in profiles]),
            histograms=first.histograms,
            calendar=first.calendar,
            context=joined((p.context for p in profiles), ignore=ignore),
        )

    def __add__(self, other: Profile) -> Profile:
        """`merge` of two."""
        if not isinstance(other, Profile):
            return NotImplemented
        return Profile.merge(self, other)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same counts of the same features under the same settings."""
        if not isinstance(other, Profile):
            return NotImplemented
        return (
            self.cameras == other.cameras
            and np.array_equal(self.periods, other.periods)
            and np.array_equal(self.class_ids, other.class_ids)
            and self.histograms == other.histograms
            and self.calendar == other.calendar
            and self.context == other.context
            and self.box_cells == other.box_cells
            and self.frame_cells == other.frame_cells
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside: not a dictionary key

    def rows(self) -> list[Rows]:
        """The cells by feature: name → period, camera and class index, bin, count."""
        n_cameras, n_classes = len(self.cameras), len(self.class_ids)
        boxes, frames = Layout.boxes(self.histograms), Layout.frames(self.histograms)
        shape = (len(self.periods), n_cameras, max(1, n_classes), boxes.width)
        p, c, k, flat = unpack(self.box_cells.keys, shape)
        result = [_rows_of(span, p, c, k, flat, self.box_cells.counts) for span in boxes]
        p, c, flat = unpack(self.frame_cells.keys, (len(self.periods), n_cameras, frames.width))
        none = np.zeros_like(p)
        return result + [
            _rows_of(span, p, c, none, flat, self.frame_cells.counts) for span in frames
        ]

    def to_samples(
        self, *, deployment: str = "", until: datetime | None = None
    ) -> tuple[Sample, ...]:
        """Frames, boxes and mean confidence of each camera and period, for the volume rule.

        A block without frames gives nothing ("not observed"), one without boxes no mean.
        The mean is that of the bins' middles: at most 0.0005 from the mean of the scores.

        Args:
            deployment: ``"owner/deployment"`` to say in each sample.
            until: leave out periods that end after this time, because they are still filling.
        """
        frames, boxes, mean = self.frames_by_block(), self.boxes_by_block(), self.mean_confidence()
        result: list[Sample] = []
        for p, start in enumerate(self.periods):
            at = as_datetime(start)
            if until is not None and at + self.period > until:
                continue
            for c, camera in enumerate(self.cameras):
                if frames[p, c] == 0:
                    continue
                values = {Metric.FRAMES: frames[p, c], Metric.DETECTIONS: boxes[p, c]}
                if boxes[p, c] and mean is not None:
                    values[Metric.CONFIDENCE_MEAN] = mean[p, c]
                result += [
                    Sample(
                        metric=metric,
                        value=value,
                        at=at,
                        width=self.period,
                        deployment=deployment,
                        labels={"camera": camera},
                    )
                    for metric, value in values.items()
                ]
        return tuple(result)

    def mean_confidence(self) -> FloatArray | None:
        """``(n_periods, n_cameras)`` float64, nan without boxes; None where it is not counted."""
        if "confidence" not in self.features:
            return None
        counts = self.counts("confidence")
        n = counts.sum(axis=2)
        total = counts @ self.features["confidence"].centers
        return np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)

    def __repr__(self) -> str:
        """How much of what, from when to when."""
        cameras = f"{len(self.cameras)} camera{'' if len(self.cameras) == 1 else 's'}"
        if not len(self.periods):
            return "<Profile: nothing observed>"
        first, last = as_datetime(self.periods[0]), as_datetime(self.periods[-1]) + self.period
        return (
            f"<Profile: {self.frames:,} frames, {self.boxes:,} boxes of {len(self.class_ids)} "
            f"classes, {cameras}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC>"
        )


Table = tuple[IntArray, IntArray, IntArray, IntArray, IntArray]
Rows = tuple[str, Table]


def as_starts(periods: Sequence[datetime] | Times, calendar: Calendar) -> Times:
    """Starts of periods as datetime64[us]; refuse a time inside a period."""
    if isinstance(periods, np.ndarray):
        times = periods.astype("datetime64[us]")
    else:
        times = np.array([as_datetime64(p) for p in periods], dtype="datetime64[us]")
    inside = calendar.starts(times) != times
    if inside.any():
        msg = (
            f"{times[inside][0]} is inside a period of {calendar.period}, not at its start "
            f"{calendar.starts(times)[inside][0]}"
        )
        raise InputError(msg)
    return times


def _whole(value: npt.ArrayLike, shape: tuple[int, ...], name: str) -> IntArray:
    array = np.asarray(value)
    if array.shape != shape:
        msg = f"counts of {name!r} have shape {array.shape}, expected {shape}"
        raise InputError(msg)
    whole = array.astype(np.int64)
    if array.size and (bool(np.any(whole != array)) or int(whole.min()) < 0):
        msg = f"counts of {name!r} must be whole numbers of at least 0, got {array.min()} to {array.max()}"
        raise InputError(msg)
    return whole


def _first_total(
    chosen: Sequence[Feature], tables: Mapping[str, IntArray], shape: tuple[int, ...]
) -> npt.ArrayLike:
    for feature in chosen:
        if feature.level == "box":
            return tables[feature.name].sum(axis=-1)
    return np.zeros(shape, dtype=np.int64)


def _missing_frames() -> npt.ArrayLike:
    msg = "pass frames=, the frames of each (period, camera), or counts of 'boxes_per_frame'"
    raise InputError(msg)


def _dense_rows(name: str, table: IntArray) -> Rows:
    where = np.nonzero(table)
    p, c, *rest = where
    k = rest[0] if len(rest) == 2 else np.zeros_like(p)  # noqa: PLR2004  class and bin
    return name, (p, c, k, rest[-1], table[where])


def _rows_of(
    span: tuple[str, int, int],
    p: IntArray,
    c: IntArray,
    k: IntArray,
    flat: IntArray,
    counts: IntArray,
) -> Rows:
    name, offset, size = span
    mine = (flat >= offset) & (flat < offset + size)
    return name, (p[mine], c[mine], k[mine], flat[mine] - offset, counts[mine])


def _stacked(profiles: Sequence[Profile]) -> list[Rows]:
    """The rows of all, indexes counted on through their joined names."""
    result: list[Rows] = []
    p0 = c0 = k0 = 0
    for profile in profiles:
        result += [
            (name, (p + p0, c + c0, k + k0, b, n)) for name, (p, c, k, b, n) in profile.rows()
        ]
        p0 += len(profile.periods)
        c0 += len(profile.cameras)
        k0 += len(profile.class_ids)
    return result


def assemble(
    rows: Sequence[Rows],
    *,
    cameras: Sequence[str],
    periods: Times,
    class_ids: IntArray,
    histograms: tuple[Feature, ...],
    calendar: Calendar,
    context: Context,
) -> Profile:
    """A profile from rows whose names may repeat and be in any order: the one canonical form.

    Names without any count are left out, names are sorted, cells of equal names are added.
    """
    boxes, frames = Layout.boxes(histograms), Layout.frames(histograms)
    box_rows = [r for r in rows if r[0] in boxes.names]
    seen_p = _seen(rows, 0, len(periods))
    seen_c = _seen(rows, 1, len(cameras))
    seen_k = _seen(box_rows, 2, len(class_ids))
    new_periods, to_p = np.unique(periods[seen_p], return_inverse=True)
    names = np.array(cameras, dtype=np.object_)
    new_cameras, to_c = np.unique(names[seen_c], return_inverse=True)
    new_ids, to_k = np.unique(class_ids[seen_k], return_inverse=True)
    move = [_moved(seen_p, to_p), _moved(seen_c, to_c), _moved(seen_k, to_k)]
    shape = (len(new_periods), len(new_cameras), max(1, len(new_ids)))
    return Profile(
        cameras=tuple(str(c) for c in new_cameras),
        periods=new_periods,
        class_ids=new_ids,
        histograms=histograms,
        calendar=calendar,
        context=context,
        box_cells=_cells(box_rows, boxes, move, shape),
        frame_cells=_cells([r for r in rows if r[0] in frames.names], frames, move, shape[:2]),
    )


def _seen(rows: Sequence[Rows], column: int, size: int) -> IntArray:
    seen = np.zeros(size, dtype=bool)
    for _, table in rows:
        seen[table[column]] = True
    return np.flatnonzero(seen)


def _moved(seen: IntArray, to: IntArray) -> IntArray:
    move = np.full(int(seen.max()) + 1 if len(seen) else 0, -1, dtype=np.int64)
    move[seen] = to
    return move


def _cells(
    rows: Sequence[Rows], layout: Layout, move: Sequence[IntArray], shape: tuple[int, ...]
) -> Cells:
    if not rows:
        return Cells()
    keys, counts = [], []
    for name, table in rows:
        offset, _ = layout.span(name)
        indexes = [m[i] for m, i in zip(move[: len(shape)], table[:3], strict=False)]
        keys.append(pack([*indexes, table[3] + offset], (*shape, layout.width)))
        counts.append(table[4])
    return Cells.total(np.concatenate(keys), np.concatenate(counts))


def refuse_other_shape(a: Profile, b: Profile, *, doing: str) -> None:
    """Raise `ContextMismatch` unless both count the same features in the same periods."""
    found = []
    if a.calendar.period != b.calendar.period:
        found.append(("period", f"{a.calendar.period} and {b.calendar.period}; coarsen one"))
    if a.calendar.utc_offset != b.calendar.utc_offset:
        found.append(("utc_offset", f"{a.calendar.utc_offset} and {b.calendar.utc_offset}"))
    if a.histograms != b.histograms:
        found.append(("features", f"{_named(a)} and {_named(b)}"))
    if found:
        said = "; ".join(f"{name}: {both}" for name, both in found)
        raise ContextMismatch(
            f"cannot {doing} profiles that count differently ({said})", fields=[n for n, _ in found]
        )


def _named(profile: Profile) -> str:
    return "[" + ", ".join(f"{f.name}/{f.n_bins}" for f in profile.histograms) + "]"


def require_comparable(a: Profile, b: Profile, *, ignore: Collection[str] = ()) -> None:
    """Refuse two profiles that must not be compared.

    Args:
        a: one profile.
        b: another.
        ignore: names of settings of the context that may differ.

    Raises:
        ContextMismatch: they were made under different settings, count different features or
            have periods of different lengths; `.fields` names what differs.
    """
    refuse_other_shape(a, b, doing="compare")
    refuse_mixed(a.context, b.context, doing="compare", ignore=ignore)
