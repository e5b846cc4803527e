"""What a rule is shown and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline.errors import InputError
from driftline.records import Series, as_timedelta64

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]


@frozen(kw_only=True, eq=False)
class Reading:
    """What a rule is shown: the new, settled part of the series of one subject.

    A subject is a deployment, or one slice of it by labels (a camera, a class).
    Nothing in it was shown before and nothing in it is still filling; where the rule has
    windows, they are whole.

    Attributes:
        deployment: ``"owner/deployment"``, or "" where the numbers belong to none.
        labels: the slice; empty for the whole deployment.
        series: metric → its series; a metric nobody delivered is missing.
        start: start of the time that is judged, UTC.
        end: end of it, UTC.
        answered: True when the source answered for the whole time, so that a bucket that is
            absent had no traffic; False when what is absent was merely not observed.
        memory: what the rule wanted to remember at its last judgement, ``{}`` at the first.
    """

    deployment: str
    labels: Mapping[str, str] = field(factory=dict)
    series: Mapping[str, Series]
    start: datetime
    end: datetime
    answered: bool = False
    memory: Mapping[str, Any] = field(factory=dict)

    def get(self, metric: str) -> Series:
        """The series of a metric, empty where nobody delivered it."""
        found = self.series.get(metric)
        return found if found is not None else empty(metric)


@frozen(kw_only=True)
class Gap:
    """Time a rule could not judge; it counts neither as calm nor as a breach.

    Attributes:
        start: start of it, UTC.
        end: end of it, UTC.
        reason: why.
    """

    start: datetime
    end: datetime
    reason: str


@frozen(kw_only=True, eq=False)
class Judgement:
    """What a rule answers: its samples in order, each with a verdict.

    A sample that breaches counts towards firing, one that is good towards recovery; one that is
    neither (between the threshold and the recovery threshold) only interrupts both.

    Attributes:
        starts: ``(n,)`` datetime64[us], UTC, strictly increasing: start of each sample.
        ends: ``(n,)`` datetime64[us]: end of each sample.
        values: ``(n,)`` float64, finite, in the rule's unit.
        breach: ``(n,)`` bool.
        good: ``(n,)`` bool; never True where `breach` is.
        thresholds: ``(n,)`` float64: what each value was held against.
        gaps: time that could not be judged.
        memory: what to remember until the next judgement; a JSON object.
    """

    starts: Times
    ends: Times
    values: Floats
    breach: Bools
    good: Bools
    thresholds: Floats
    gaps: tuple[Gap, ...] = ()
    memory: Mapping[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Refuse arrays that do not fit each other."""
        shapes = {
            a.shape for a in (self.ends, self.values, self.breach, self.good, self.thresholds)
        }
        if shapes != {self.starts.shape} or self.starts.ndim != 1:
            msg = (
                f"the arrays of a judgement must have one shape, starts has {self.starts.shape}, "
                f"the others {sorted(shapes)}"
            )
            raise InputError(msg)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.starts)

    @classmethod
    def of(
        cls,
        series: Series,
        *,
        breach: Bools,
        good: Bools | None = None,
        threshold: float | Floats,
        memory: Mapping[str, Any] | None = None,
    ) -> Judgement:
        """A verdict for each bucket of a series; without `good`, what does not breach is good."""
        thresholds = np.empty(len(series), dtype=np.float64)
        thresholds[:] = threshold
        return cls(
            starts=series.times,
            ends=series.times + as_timedelta64(series.width),
            values=series.values,
            breach=breach,
            good=~breach if good is None else good & ~breach,
            thresholds=thresholds,
            memory=memory or {},
        )

    @classmethod
    def nothing(
        cls, *, gaps: tuple[Gap, ...] = (), memory: Mapping[str, Any] | None = None
    ) -> Judgement:
        """No sample at all."""
        times = np.zeros(0, dtype="datetime64[us]")
        floats = np.zeros(0, dtype=np.float64)
        bools = np.zeros(0, dtype=np.bool_)
        return cls(
            starts=times,
            ends=times,
            values=floats,
            breach=bools,
            good=bools,
            thresholds=floats,
            gaps=gaps,
            memory=memory or {},
        )


def empty(metric: str) -> Series:
    """A series without a bucket."""
    return Series(
        metric=metric,
        times=np.zeros(0, dtype="datetime64[us]"),
        values=np.zeros(0, dtype=np.float64),
    )
