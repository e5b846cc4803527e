"""A profile: what was detected, as integer counts by (period, camera[, class]) block."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from numbers import Integral

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline._checks import chosen, part, parts
from driftline._clock import as_duration
from driftline._draw import Shown, View
from driftline._files import read_whole, write_whole
from driftline.errors import InputError, UnreadableData
from driftline.profiles import _parquet, _views, _words
from driftline.profiles._bulk import Cameras, FrameTimes, count_many
from driftline.profiles._cells import (
    BOXES,
    FRAMES,
    REJECTED_BINS,
    Cells,
    Layout,
    Table,
    check_names,
)
from driftline.profiles._columns import Values
from driftline.profiles._context import joined, refuse_other_shape
from driftline.profiles._counter import Counter
from driftline.profiles._features import (
    DEFAULT_FEATURES,
    Feature,
    FloatArray,
    IntArray,
    class_feature,
)
from driftline.profiles._file import (
    MAX_BYTES,
    calendar_of,
    context_of,
    decode,
    digest,
    encode,
    features_of,
)
from driftline.profiles._given import (
    Times,
    as_cameras,
    as_class_ids,
    as_starts,
    as_words,
    dense_tables,
    distinct,
    long_tables,
    one_a_row,
    whole,
)
from driftline.profiles._judge import CLASSES, Invalid
from driftline.profiles._parts import Part, kept, narrowed, united
from driftline.profiles._periods import Calendar
from driftline.profiles._settings import Settings
from driftline.records import Context, Sample, as_datetime, as_datetime64


def _no_times() -> Times:
    return np.zeros(0, dtype="datetime64[us]")


def _no_ids() -> IntArray:
    return np.zeros(0, dtype=np.int64)


def _features(value: Iterable[Feature]) -> tuple[Feature, ...]:
    return check_names(tuple(value))


@frozen(kw_only=True, eq=False, repr=False)
class Profile(Shown):
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
    histograms: tuple[Feature, ...] = field(default=DEFAULT_FEATURES, converter=_features)
    calendar: Calendar = field(factory=Calendar)
    context: Context = field(factory=Context)
    box_cells: Cells = field(factory=Cells)
    frame_cells: Cells = field(factory=Cells)

    # How profiles are made ---------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        *,
        xyxy: npt.ArrayLike,
        confidence: npt.ArrayLike,
        class_id: npt.ArrayLike,
        frame: npt.ArrayLike,
        image_size: npt.ArrayLike,
        camera: Cameras,
        at: FrameTimes,
        frames: int | None = None,
        values: Values | None = None,
        features: Sequence[Feature] = DEFAULT_FEATURES,
        period: timedelta = timedelta(days=1),
        utc_offset: timedelta = timedelta(0),
        context: Context | None = None,
        invalid: Invalid = "raise",
    ) -> Profile:
        """A profile of n boxes of m frames; millions take less than a tenth of a microsecond each.

        Args:
            xyxy: as this and the next eight in `ProfileBuilder.observe_many`.
            confidence: see `xyxy`.
            class_id: see `xyxy`.
            frame: see `xyxy`.
            image_size: see `xyxy`.
            camera: see `xyxy`.
            at: see `xyxy`.
            frames: see `xyxy`.
            values: see `xyxy`.
            features: as this and the next four in `ProfileBuilder`.
            period: see `features`.
            utc_offset: see `features`.
            context: see `features`.
            invalid: see `features`.

        Raises:
            InputError: as in `ProfileBuilder.observe_many`.
        """
        settings = Settings.of(
            features=features,
            context=context,
            period=period,
            utc_offset=utc_offset,
            invalid=invalid,
        )
        counts = count_many(
            settings,
            xyxy=xyxy,
            confidence=confidence,
            class_id=class_id,
            frame=frame,
            image_size=image_size,
            camera=camera,
            at=at,
            frames=frames,
            values=values,
        )
        return assemble(
            [counts],
            histograms=settings.features,
            calendar=settings.calendar,
            context=settings.context,
        )

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, npt.ArrayLike],
        *,
        periods: Sequence[datetime] | Times,
        cameras: Sequence[str],
        class_ids: npt.ArrayLike = (0,),
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
            periods: start of each period, each at the start of a period; aware, or datetime64
                in UTC.
            cameras: name of each camera, in the order of the arrays.
            class_ids: ``(n_classes,)`` index of each class, in the order of the arrays.
            frames: ``(n_periods, n_cameras)`` frames; by default the sum over
                ``boxes_per_frame``.
            features: where the names are looked up.
            period: length of a period.
            utc_offset: as in `Calendar`.
            context: settings the detections were made under.

        Raises:
            InputError: an array does not fit, or holds something other than counts.
        """
        settings = Settings.of(
            features=features, context=context, period=period, utc_offset=utc_offset
        )
        part(counts, Mapping, name="counts", what="a mapping of names of features to arrays")
        given = tuple(f for f in settings.features if f.name in counts)
        unknown = sorted(map(str, set(counts) - {f.name for f in given} - {BOXES}))
        if unknown:
            msg = f"counts of {unknown}, which are not among the features; pass features=[…]"
            raise InputError(msg)
        starts, ids = as_starts(periods, settings.calendar), as_class_ids(class_ids)
        names = as_cameras(cameras).tolist()
        boxes, seen = dense_tables(
            counts,
            block=(len(starts), len(names)),
            class_count=len(ids),
            frames=frames,
            features=given,
        )
        packed = _packed(boxes, seen, cameras=names, periods=starts, class_ids=ids, features=given)
        return assemble(
            [packed], histograms=given, calendar=settings.calendar, context=settings.context
        )

    @classmethod
    def from_rows(
        cls,
        *,
        camera: npt.ArrayLike,
        period: Sequence[datetime] | Times,
        class_id: npt.ArrayLike,
        feature: npt.ArrayLike,
        bin: npt.ArrayLike,  # noqa: A002  the field's word, as a column of the rows
        count: npt.ArrayLike,
        features: Sequence[Feature] = DEFAULT_FEATURES,
        period_length: timedelta = timedelta(days=1),
        utc_offset: timedelta = timedelta(0),
        context: Context | None = None,
    ) -> Profile:
        """A profile from one row a count, as a ``GROUP BY`` gives them; equal rows add up.

        Args:
            camera: ``(n,)`` names.
            period: ``(n,)`` starts of periods; aware, or datetime64 in UTC.
            class_id: ``(n,)`` whole numbers; of no meaning (0, -1) in rows of frame features.
            feature: ``(n,)`` names; besides those of `features`, ``"class"`` (bin 0: boxes, by
                default the sum over the first box feature) and ``"frames"`` (bin 0: frames, by
                default the sum over ``boxes_per_frame``).
            bin: ``(n,)`` bin of the feature, from 0.
            count: ``(n,)`` whole numbers, at least 0.
            features: what the profile counts; a feature without rows is counted as empty.
            period_length: length of a period.
            utc_offset: as in `Calendar`.
            context: settings the detections were made under.

        Raises:
            InputError: a row that fits no feature, bin or period.
        """
        settings = Settings.of(
            features=features, context=context, period=period_length, utc_offset=utc_offset
        )
        names = as_words(feature, "feature")
        box_names = [BOXES, *(f.name for f in settings.features if f.level == "box")]
        of_box = np.array([n in box_names for n in names.tolist()], dtype=bool)
        starts, to_period = distinct(as_starts(period, settings.calendar), "period", len(names))
        cameras, to_camera = distinct(as_cameras(camera), "camera", len(names))
        ids = as_class_ids(np.where(of_box, one_a_row(class_id, "class_id", len(names)), 0))
        classes, to_class = distinct(ids, "class_id", len(names))
        boxes, seen = long_tables(
            feature=names,
            period=to_period,
            camera=to_camera,
            class_index=to_class,
            bins=whole(bin, "bin", names.shape),
            count=whole(count, "count", names.shape),
            features=settings.features,
        )
        packed = _packed(
            boxes,
            seen,
            cameras=cameras.tolist(),
            periods=starts,
            class_ids=classes,
            features=settings.features,
        )
        return assemble(
            [packed],
            histograms=settings.features,
            calendar=settings.calendar,
            context=settings.context,
        )

    # What is in it -----------------------------------------------------------------------

    @property
    def period(self) -> timedelta:
        """Length of a period."""
        return self.calendar.period

    @property
    def start(self) -> datetime | None:
        """Where the first period begins, UTC; None where nothing was observed."""
        return as_datetime(self.periods[0]) if len(self.periods) else None

    @property
    def end(self) -> datetime | None:
        """Where the last period ends, UTC; None where nothing was observed."""
        return as_datetime(self.periods[-1]) + self.period if len(self.periods) else None

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
        found = {
            name.partition(".")[2]: int(self._frame_counts(name).sum()) for name in REJECTED_BINS
        }
        return {reason: n for reason, n in found.items() if n}

    def frames_by_block(self) -> IntArray:
        """``(n_periods, n_cameras)`` int64 frames of each block."""
        return self._frame_counts(FRAMES)[..., 0]

    def boxes_by_block(self) -> IntArray:
        """``(n_periods, n_cameras)`` int64 boxes of each block."""
        return self._box_counts(BOXES, by_class=False)[..., 0]

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
        part(feature, str, name="feature", what="the name of a feature")
        if feature == BOXES:
            return self._box_counts(BOXES, by_class=True)[..., 0]
        known = self.features
        if feature not in known:
            msg = f"no feature {feature!r} in this profile; it has {', '.join(known)}"
            raise InputError(msg)
        if known[feature].level == "box":
            return self._box_counts(feature, by_class=by_class)
        if by_class:
            msg = f"{feature!r} is a number of a frame, which has no class; leave out by_class"
            raise InputError(msg)
        return self._frame_counts(feature)

    def mean_confidence(self) -> FloatArray:
        """``(n_periods, n_cameras)`` float64 mean confidence of each block; nan without boxes.

        It is the mean of the bins' middles: at most 0.0005 from the mean of the scores.
        """
        counts = self.counts("confidence")
        n = counts.sum(axis=2)
        total = (counts * self.features["confidence"].centers).sum(axis=2)
        mean: FloatArray = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
        return mean

    def _frame_counts(self, name: str) -> IntArray:
        layout = Layout.frames(self.histograms)
        return self._dense(self.frame_cells, layout, name, classes=1, fold=1)[:, :, 0]

    def _box_counts(self, name: str, *, by_class: bool) -> IntArray:
        layout, n = Layout.boxes(self.histograms), len(self.class_ids)
        if by_class:
            return self._dense(self.box_cells, layout, name, classes=n, fold=1)
        return self._dense(self.box_cells, layout, name, classes=1, fold=max(1, n))[:, :, 0]

    def _dense(
        self, cells: Cells, layout: Layout, name: str, *, classes: int, fold: int
    ) -> IntArray:
        """``(n_periods, n_cameras, classes, n_bins)``; `fold` classes of a block are added up."""
        offset, size = layout.span(name)
        block, flat = np.divmod(cells.keys, layout.width)
        mine = (flat >= offset) & (flat < offset + size)
        table = np.zeros((len(self.periods), len(self.cameras), classes, size), dtype=np.int64)
        index = block[mine] // fold * size + flat[mine] - offset
        np.add.at(table.reshape(-1), index, cells.counts[mine])
        return table

    def tables(self) -> tuple[Table, Table]:
        """The counts of boxes and of frames, one row a cell."""
        n, k = len(self.cameras), max(1, len(self.class_ids))
        boxes, frames = Layout.boxes(self.histograms).width, Layout.frames(self.histograms).width
        return (
            Table.of(self.box_cells, n_cameras=n, n_classes=k, width=boxes),
            Table.of(self.frame_cells, n_cameras=n, n_classes=1, width=frames),
        )

    # Parts of it -------------------------------------------------------------------------

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
            camera: name or names; one that was not seen adds nothing.
            class_id: index or indexes.
            start: periods that begin at this time or later, aware.
            end: periods that begin before this time, aware.

        Raises:
            InputError: a time is naive, or a name or index is none.
        """
        wanted = np.ones((len(self.periods), len(self.cameras)), dtype=bool)
        if camera is not None:
            names = chosen(camera, str, name="camera", what="the name of a camera")
            wanted &= np.array([c in names for c in self.cameras], dtype=bool)
        if start is not None:
            wanted &= (self.periods >= as_datetime64(start))[:, None]
        if end is not None:
            wanted &= (self.periods < as_datetime64(end))[:, None]
        blocks = kept(self._part(), self.histograms, lambda p, c, _: wanted[p, c])
        if class_id is None:
            return self._with(blocks)
        ids = chosen(class_id, Integral, name="class_id", what="the index of a class")
        mine = np.isin(self.class_ids, [i for i in ids if i < CLASSES])
        boxes = kept(evolve(blocks, frames=Cells()), self.histograms, lambda _p, _c, k: mine[k])
        box_features = [f.name for f in self.histograms if f.level == "box"]
        return self._with(evolve(boxes, frames=blocks.frames)).select(box_features)

    def select(self, features: Iterable[str]) -> Profile:
        """The same blocks with some of the features only; the class mix and frames stay.

        Args:
            features: name or names; one that is not counted here adds nothing.
        """
        wanted = chosen(features, str, name="features", what="the name of a feature")
        stay = tuple(f for f in self.histograms if f.name in wanted)
        less = narrowed(self._part(), self.histograms, stay)
        return evolve(self, histograms=stay, box_cells=less.boxes, frame_cells=less.frames)

    def coarsen(self, period: timedelta) -> Profile:
        """The same counts in longer periods: hours become days, days become weeks, exactly.

        Raises:
            InputError: `period` is not a multiple of this profile's.
        """
        if as_duration(period, name="period") < self.period or period % self.period:
            msg = f"period={period} must be a multiple of this profile's {self.period}"
            raise InputError(msg)
        calendar = Calendar(period=period, utc_offset=self.calendar.utc_offset)
        longer = evolve(self._part(), periods=calendar.starts(self.periods))
        return evolve(self._with(longer), calendar=calendar)

    def _part(self) -> Part:
        return Part(
            cameras=self.cameras,
            periods=self.periods,
            class_ids=self.class_ids,
            boxes=self.box_cells,
            frames=self.frame_cells,
        )

    def _with(self, part: Part) -> Profile:
        return assemble(
            [part], histograms=self.histograms, calendar=self.calendar, context=self.context
        )

    # Sums of them ------------------------------------------------------------------------

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
        first, *_ = parts(profiles, Profile, name="profiles", what="a Profile")
        for other in profiles[1:]:
            refuse_other_shape(first, other, doing="merge")
        return assemble(
            [p._part() for p in profiles],  # noqa: SLF001  of its own class
            histograms=first.histograms,
            calendar=first.calendar,
            context=joined(
                (p.context for p in profiles),
                ignore=chosen(ignore, str, name="ignore", what="the name of a setting"),
            ),
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
            and self.box_cells.same_as(other.box_cells)
            and self.frame_cells.same_as(other.frame_cells)
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, and content is arrays

    def __reduce__(self) -> tuple[Callable[[bytes], Profile], tuple[bytes]]:
        """Pickle as a file's content: formulas of features need not be importable."""
        return Profile.from_bytes, (self.to_bytes(),)

    @property
    def digest(self) -> str:
        """``sha256:…`` of counts, names and settings: equal profiles have equal digests."""
        return digest(self)

    # On disk -----------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The content of a profile file."""
        return encode(self)

    @classmethod
    def from_bytes(cls, content: bytes, *, max_bytes: int = MAX_BYTES) -> Profile:
        """The profile that a file's content tells.

        Args:
            content: as `to_bytes` gave it, by this version or another.
            max_bytes: refuse what unpacks to more.

        Raises:
            InputError: `content` is no bytes, or `max_bytes` no whole number.
            UnreadableData: it is not a profile, is damaged, or needs a later version.
        """
        return assemble(**decode(content, max_bytes=max_bytes, name="the profile"))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a file, in one step: a reader sees the old one or the new one, never a part.

        Raises:
            InputError: the path cannot be written.
            StoreError: the machine failed, such as a full disk; the old file stays.
        """
        write_whole(path, self.to_bytes(), what="the profile")

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Profile:
        """Read a file that `write` wrote.

        Args:
            path: of the file.
            max_bytes: refuse what unpacks to more.

        Raises:
            InputError: the path cannot be read, such as one where there is no file.
            UnreadableData: it is not a profile, is damaged, or needs a later version.
        """
        content = read_whole(path, what="the profile")
        return assemble(**decode(content, max_bytes=max_bytes, name=str(path)))

    def to_rows(self) -> dict[str, npt.NDArray[np.generic]]:
        """One row a count that is not zero, as columns; the inverse of `from_rows`.

        Returns:
            ``camera``, ``period`` (datetime64[us], UTC), ``class_id`` (-1 in rows of frames),
            ``feature``, ``bin`` and ``count``. Besides the features there are ``"class"`` (boxes),
            ``"frames"`` and ``"rejected.…"``, each with the one bin 0.
        """
        boxes, frames = self.tables()
        names = np.array([*self.class_ids.tolist(), -1], dtype=np.int64)
        parts = [
            (boxes, Layout.boxes(self.histograms), names[boxes.class_index]),
            (frames, Layout.frames(self.histograms), np.full(len(frames.bin), -1)),
        ]
        cameras = np.array([*self.cameras, ""], dtype=np.object_)[:-1]
        feature, bins = zip(*(layout.named(table.bin) for table, layout, _ in parts), strict=True)
        return {
            "camera": np.concatenate([cameras[t.camera] for t, _, _ in parts]),
            "period": np.concatenate([self.periods[t.period] for t, _, _ in parts]),
            "class_id": np.concatenate([ids for _, _, ids in parts]),
            "feature": np.concatenate(feature),
            "bin": np.concatenate(bins),
            "count": np.concatenate([t.count for t, _, _ in parts]),
        }

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write `to_rows` and the settings as Parquet, in one step.

        Raises:
            InputError: the path cannot be written.
            StoreError: as in `write`.
            MissingExtra: pyarrow is not installed (extra ``lake``).
        """
        _parquet.write(self, path)

    @classmethod
    def from_parquet(cls, path: str | os.PathLike[str]) -> Profile:
        """Read a file that `to_parquet` wrote.

        Raises:
            InputError: the path cannot be read, such as one where there is no file.
            MissingExtra: pyarrow is not installed (extra ``lake``).
            UnreadableData: it is no such file.
        """
        head, rows = _parquet.read(path)
        try:
            calendar = calendar_of(head)
            return cls.from_rows(
                **rows,
                features=features_of(head),
                period_length=calendar.period,
                utc_offset=calendar.utc_offset,
                context=context_of(head),
            )
        except InputError as exc:
            msg = f"{path} tells what no profile can hold: {exc}"
            raise UnreadableData(msg) from exc

    # For metrics and people --------------------------------------------------------------

    def to_samples(
        self, *, deployment: str = "", until: datetime | None = None
    ) -> tuple[Sample, ...]:
        """Frames, boxes and mean confidence of each camera and period, for the volume rule.

        A block without frames gives nothing ("not observed"), one without boxes no mean.

        Args:
            deployment: ``"owner/deployment"`` to say in each sample.
            until: leave out periods that end after this time, because they are still filling.
        """
        return _words.samples(self, deployment=deployment, until=until)

    def __repr__(self) -> str:
        """How much of what, from when to when."""
        return _words.line(self)

    def __str__(self) -> str:
        """The same with the settings, and a line a camera."""
        return _words.page(self)

    def _view(self) -> View:
        return _views.view(self)


def _packed(
    boxes: Table,
    frames: Table,
    *,
    cameras: Sequence[str],
    periods: Times,
    class_ids: IntArray,
    features: Sequence[Feature],
) -> Part:
    """Counts by indexes into names, as cells."""
    n, k = max(1, len(cameras)), max(1, len(class_ids))
    return Part(
        cameras=cameras,
        periods=periods,
        class_ids=class_ids,
        boxes=boxes.packed(n_cameras=n, n_classes=k, width=Layout.boxes(features).width),
        frames=frames.packed(n_cameras=n, n_classes=1, width=Layout.frames(features).width),
    )


def assemble(
    parts: Sequence[Part],
    *,
    histograms: tuple[Feature, ...],
    calendar: Calendar,
    context: Context,
) -> Profile:
    """A profile of some parts: the one canonical form of what they hold together."""
    whole = united(parts, histograms)
    return Profile(
        cameras=tuple(whole.cameras),
        periods=whole.periods,
        class_ids=whole.class_ids,
        histograms=histograms,
        calendar=calendar,
        context=context,
        box_cells=whole.boxes,
        frame_cells=whole.frames,
    )


def of_counter(counter: Counter, calendar: Calendar, context: Context) -> Profile:
    """What a counter has counted."""
    return assemble(
        [counter.part()], histograms=counter.features, calendar=calendar, context=context
    )
