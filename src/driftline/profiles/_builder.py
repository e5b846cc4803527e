"""`ProfileBuilder` sits in the request path of a service: it counts, and keeps no detection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy.typing as npt

from driftline._checks import part
from driftline._clock import as_utc
from driftline._fork import begin_anew_after_fork
from driftline.errors import InputError
from driftline.profiles._bulk import Cameras, FrameTimes, count_many
from driftline.profiles._columns import Values, own_features, own_values
from driftline.profiles._context import joined
from driftline.profiles._counter import Counter
from driftline.profiles._features import DEFAULT_FEATURES, Feature
from driftline.profiles._frames import Frame, FrameReservoir
from driftline.profiles._judge import Invalid, refuse_bad, refuse_foreign, refuse_nameless
from driftline.profiles._profile import Profile, of_counter
from driftline.profiles._settings import Settings
from driftline.records import Context, Detections


class ProfileBuilder:
    """Counts detections as they come in.

    It is safe to share between threads, does no I/O, and holds counts only: its memory depends on
    the number of cameras, periods and classes, never on traffic. A forked process begins with
    nothing counted: what was counted before the fork is the parent's.

    Args:
        features: what is counted; the class mix always is.
        context: settings the detections are made under; recorded in every profile.
        period: length of a period, by default a day.
        utc_offset: how far local midnight lies before midnight UTC (see `Calendar`).
        invalid: what to do with a box that cannot be counted (a confidence outside [0, 1] or nan,
            a box that is inverted, not finite or outside its frame, a negative class):
            ``"raise"`` refuses the whole call and counts nothing of it; ``"count"`` leaves the
            box out and counts it in `Profile.rejected`, by reason.
        frames: where the frames that `observe` is given are sampled.
    """

    def __init__(
        self,
        *,
        features: Sequence[Feature] = DEFAULT_FEATURES,
        context: Context | None = None,
        period: timedelta = timedelta(days=1),
        utc_offset: timedelta = timedelta(0),
        invalid: Invalid = "raise",
        frames: FrameReservoir | None = None,
    ) -> None:
        """Store and check."""
        self._settings = Settings.of(
            features=features,
            context=context,
            period=period,
            utc_offset=utc_offset,
            invalid=invalid,
        )
        self._own = own_features(self._settings.features)
        self._reservoir = (
            None
            if frames is None
            else part(frames, FrameReservoir, name="frames", what="a FrameReservoir")
        )
        self._context = self._settings.context
        self._span = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """Nothing counted, no lock held: at birth, and in a forked process."""
        self._lock = threading.Lock()
        self._snapshot_lock = threading.Lock()
        self._counter = self._new_counter()
        self._sealed: list[Counter] = []
        self._base = self._empty()

    def observe(
        self,
        detections: Detections,
        *,
        camera: str,
        at: datetime,
        values: Values | None = None,
        frame: Frame | Callable[[], Frame] | None = None,
    ) -> None:
        """Count one frame; a frame without boxes counts as a frame.

        Args:
            detections: what was found in it.
            camera: where it comes from.
            at: when it was taken, aware.
            values: name → value of features that have no formula: a number for a feature of the
                frame, ``(n,)`` numbers for one of its boxes; nan: has none.
            frame: offered to the builder's `FrameReservoir` (see `FrameReservoir.offer`): an id,
                bytes, or a function that gives them and is called only when the frame is kept.

        Raises:
            InputError: `detections` is something else, a box cannot be counted and `invalid` is
                ``"raise"``, `at` is naive, or the values do not fit. Nothing of the frame is
                counted then.
            ContextMismatch: a class has another name than in earlier frames.
        """
        at = as_utc(at, name="at")
        refuse_nameless(camera)
        refuse_foreign(detections)
        if not self._settings.count_invalid:
            refuse_bad(detections)
        own = {} if values is None and not self._own else own_values(detections, values, self._own)
        names = detections.class_names
        if names and not names.items() <= self._context.class_names.items():
            self._learn(Context(class_names=names))
        start = self._start(at)
        if frame is not None:
            self._offer(detections, camera, at, frame)
        with self._lock:
            counter = self._counter
            counter.add(detections, counter.block(camera, start), own)

    def _offer(
        self, detections: Detections, camera: str, at: datetime, frame: Frame | Callable[[], Frame]
    ) -> None:
        if self._reservoir is None:
            msg = (
                "the builder keeps no frames; make it with ProfileBuilder(frames=FrameReservoir())"
            )
            raise InputError(msg)
        self._reservoir.offer(detections, camera=camera, at=at, frame=frame)

    def observe_many(
        self,
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
    ) -> None:
        """Count n boxes of m frames at once: millions take less than a tenth of a microsecond each.

        The work is done in chunks outside the lock, so that memory is bounded and `observe` is not
        held up; the counts are added when all of them are known.

        Args:
            xyxy: ``(n, 4)`` left, top, right, bottom, px.
            confidence: ``(n,)``.
            class_id: ``(n,)`` whole numbers.
            frame: ``(n,)`` which frame a box belongs to, 0 to m - 1, in any order.
            image_size: ``(height, width)`` of all frames, or ``(m, 2)``, px.
            camera: name of the camera of all frames, or ``(m,)`` names.
            at: when all frames were taken, aware, or ``(m,)`` times: aware, or datetime64 in UTC.
            frames: m, where none of the three above says it.
            values: as in `observe`; ``(n,)`` or ``(m,)`` numbers.

        Raises:
            InputError: as in `observe`; nothing of the call is counted then.
        """
        counts = count_many(
            self._settings,
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
        with self._lock:
            self._counter.absorb(counts)

    def profile(self) -> Profile:
        """What was counted so far. Observing may go on meanwhile, undisturbed."""
        with self._snapshot_lock:
            return self._settled()

    def drain(self) -> Profile:
        """What was counted so far; the builder begins anew, and forgets it."""
        with self._snapshot_lock:
            profile = self._settled()
            self._base = self._empty()
            return profile

    def _settled(self) -> Profile:
        """Move what was counted into the base, holding up observers for a pointer's swap only."""
        fresh = self._new_counter()
        with self._lock:
            self._sealed.append(self._counter)
            self._counter = fresh
            context = self._context
        while self._sealed:
            self._base = Profile.merge(
                self._base, of_counter(self._sealed[0], self._settings.calendar, context)
            )
            self._sealed.pop(0)
        return self._base

    def _start(self, at: datetime) -> datetime:
        start, end = self._span
        if start <= at < end:
            return start
        start = self._settings.calendar.start(at)
        self._span = (start, start + self._settings.calendar.period)
        return start

    def _learn(self, context: Context) -> None:
        with self._lock:
            self._context = joined((self._context, context))

    def _new_counter(self) -> Counter:
        return Counter(self._settings.features, count_invalid=self._settings.count_invalid)

    def _empty(self) -> Profile:
        return Profile(
            histograms=self._settings.features,
            calendar=self._settings.calendar,
            context=self._context,
        )

    def __repr__(self) -> str:
        """What it counts, not what it has counted: that is `profile`."""
        names = ", ".join(f.name for f in self._settings.features)
        return f"<ProfileBuilder: {names} by camera and {self._settings.calendar.period}>"
