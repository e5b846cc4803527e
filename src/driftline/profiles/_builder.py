"""`ProfileBuilder` sits in the request path of a service: it counts, and keeps no detection."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from driftline._clock import as_utc
from driftline.errors import InputError
from driftline.profiles._cells import check_names
from driftline.profiles._columns import Values
from driftline.profiles._context import joined
from driftline.profiles._counter import Counter
from driftline.profiles._features import DEFAULT_FEATURES, Feature
from driftline.profiles._judge import Invalid, refuse_bad
from driftline.profiles._periods import Calendar
from driftline.profiles._profile import Profile, assemble
from driftline.records import Context, Detections, as_datetime64


class ProfileBuilder:
    """Counts detections as they come in.

    It is safe to share between threads, does no I/O, and holds counts only: its memory depends on
    the number of cameras, periods and classes, never on traffic.

    Args:
        features: what is counted; the class mix always is.
        context: settings the detections are made under; recorded in every profile.
        period: length of a period, by default a day.
        utc_offset: how far local midnight lies before midnight UTC (see `Calendar`).
        invalid: what to do with a box that cannot be counted (a confidence outside [0, 1] or nan,
            a box that is inverted, not finite or outside its frame, a negative class):
            ``"raise"`` refuses the whole call and counts nothing of it; ``"count"`` leaves the
            box out and counts it in `Profile.rejected`, by reason.
    """

    def __init__(
        self,
        *,
        features: Sequence[Feature] = DEFAULT_FEATURES,
        context: Context | None = None,
        period: timedelta = timedelta(days=1),
        utc_offset: timedelta = timedelta(0),
        invalid: Invalid = "raise",
    ) -> None:
        """Store and check."""
        if invalid not in ("raise", "count"):
            msg = f'invalid={invalid!r} must be "raise" or "count"'
            raise InputError(msg)
        self._features = check_names(features)
        self._calendar = Calendar(period=period, utc_offset=utc_offset)
        self._context = context or Context()
        self._invalid: Invalid = invalid
        self._lock = threading.Lock()
        self._snapshot_lock = threading.Lock()
        self._counter = self._new_counter()
        self._sealed: list[Counter] = []
        self._base = self._empty()
        self._span = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))

    def observe(
        self, detections: Detections, *, camera: str, at: datetime, values: Values | None = None
    ) -> None:
        """Count one frame; a frame without boxes counts as a frame.

        Args:
            detections: what was found in it.
            camera: where it comes from.
            at: when it was taken, aware.
            values: name → value of features that have no formula: a number for a feature of the
                frame, ``(n,)`` numbers for one of its boxes; nan: has none.

        Raises:
            InputError: a box cannot be counted and `invalid` is ``"raise"``, `at` is naive, or
                the values do not fit. Nothing of the frame is counted then.
            ContextMismatch: a class has another name than in earlier frames.
        """
        if not isinstance(camera, str):
            msg = f"camera={camera!r} must be a str"
            raise InputError(msg)
        if self._invalid == "raise":
            refuse_bad(detections)
        start = self._start(as_utc(at, name="at"))
        names = detections.class_names
        if names and not names.items() <= self._context.class_names.items():
            self._learn(Context(class_names=names))
        with self._lock:
            counter = self._counter
            own = counter.own_values(detections, values) if values or counter.has_own else {}
            counter.add(detections, counter.block(camera, start), own)

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
            self._base = Profile.merge(self._base, self._of(self._sealed[0], context))
            self._sealed.pop(0)
        return self._base

    def _of(self, counter: Counter, context: Context) -> Profile:
        boxes, frames, class_ids = counter.tables()
        blocks = list(counter.blocks)
        return assemble(
            boxes,
            frames,
            cameras=[camera for camera, _ in blocks],
            periods=np.array([as_datetime64(start) for _, start in blocks], dtype="datetime64[us]"),
            class_ids=np.array(class_ids, dtype=np.int64),
            histograms=self._features,
            calendar=self._calendar,
            context=context,
        )

    def _start(self, at: datetime) -> datetime:
        start, end = self._span
        if start <= at < end:
            return start
        start = self._calendar.start(at)
        self._span = (start, start + self._calendar.period)
        return start

    def _learn(self, context: Context) -> None:
        with self._lock:
            self._context = joined((self._context, context))

    def _new_counter(self) -> Counter:
        return Counter(self._features, count_invalid=self._invalid == "count")

    def _empty(self) -> Profile:
        return Profile(histograms=self._features, calendar=self._calendar, context=self._context)

    def __repr__(self) -> str:
        """What it counts, not what it has counted: that is `profile`."""
        names = ", ".join(f.name for f in self._features)
        return f"<ProfileBuilder: {names} by camera and {self._calendar.period}>"
