"""Numbers over time, as they cross the borders between the parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen
from attrs.converters import optional

from driftline._checks import a, not_negative, part
from driftline._clock import as_duration, as_utc
from driftline._draw import Shown, View, plot
from driftline.errors import InputError
from driftline.records import _views

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Times = npt.NDArray[np.datetime64]
Values = npt.NDArray[np.float64]


_METRIC = a(str, "a dotted name")
_WHOSE = a(str, 'text, "" where it belongs to none')
_LABELS = a(Mapping, 'labels such as {"camera": "cam-1"}')


def _utc(value: datetime) -> datetime:
    return as_utc(value, name="a sample's time")


def _times(value: npt.ArrayLike) -> Times:
    found = _array(value, "times", "datetime64")
    if found.dtype.kind != "M" and found.size:
        msg = f"times must be an array of datetime64 in UTC, got {value!r:.200}"
        raise InputError(msg)
    return found.astype("datetime64[us]", copy=False)


def _values(value: npt.ArrayLike) -> Values:
    found = _array(value, "values", "numbers")
    if found.dtype.kind not in "iuf" and found.size:
        msg = f"values must be an array of numbers, got {value!r:.200}"
        raise InputError(msg)
    return found.astype(np.float64, copy=False)


def _array(value: npt.ArrayLike, name: str, what: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError as exc:  # rows of different lengths
        msg = f"{name} must be an array of {what}, got {value!r:.200}"
        raise InputError(msg) from exc


def _number(value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as exc:
        msg = f"a sample's value must be a number, got {value!r}"
        raise InputError(msg) from exc


def _finite(_instance: object, _attribute: object, value: float) -> None:
    if not math.isfinite(value):
        msg = f"a sample's value must be finite, got {value!r}; leave out what was not observed"
        raise InputError(msg)


@frozen(kw_only=True)
class Sample:
    """One number of one metric at one time.

    What is left out is "not observed", never zero.

    Attributes:
        metric: dotted name whose last part ends in its unit where it has one, such as
            ``endpoint.latency_p95_ms``, ``detections.count``, ``accuracy.map``.
        value: finite number in that unit.
        at: start of the time the value covers, aware, kept in UTC.
        width: length of the time it covers; zero for a measurement at one moment.
        deployment: ``"owner/deployment"``, or "" where the number belongs to none.
        labels: further dimensions, such as ``{"camera": "cam-1"}``.
    """

    metric: str = field(validator=_METRIC)
    value: float = field(converter=_number, validator=_finite)
    at: datetime = field(converter=_utc)
    width: timedelta = field(default=timedelta(0), validator=not_negative)
    deployment: str = field(default="", validator=_WHOSE)
    labels: Mapping[str, str] = field(factory=dict, validator=_LABELS)


@frozen(kw_only=True, eq=False, repr=False)
class Series(Shown):
    """One metric of one deployment over time, as arrays.

    Attributes:
        metric: as in `Sample`.
        deployment: as in `Sample`.
        labels: as in `Sample`.
        times: ``(n,)`` datetime64[us], UTC, strictly increasing: the start of each bucket.
        values: ``(n,)`` float64, finite, in the metric's unit.
        width: length of a bucket; zero for measurements at one moment.
        settled_until: a bucket that ends after this is still filling and must not be judged;
            None when all are settled.
    """

    metric: str = field(validator=_METRIC)
    times: Times = field(converter=_times)
    values: Values = field(converter=_values)
    width: timedelta = field(default=timedelta(0), validator=not_negative)
    deployment: str = field(default="", validator=_WHOSE)
    labels: Mapping[str, str] = field(factory=dict, validator=_LABELS)
    settled_until: datetime | None = field(default=None, converter=optional(_utc))

    def __attrs_post_init__(self) -> None:
        """Refuse arrays that do not fit each other."""
        if self.times.shape != self.values.shape or self.times.ndim != 1:
            msg = (
                f"times {self.times.shape} and values {self.values.shape} of {self.metric!r} "
                "must be two arrays of one length"
            )
            raise InputError(msg)
        if len(self.times) > 1 and not bool(np.all(np.diff(self.times) > np.timedelta64(0, "us"))):
            msg = f"the times of {self.metric!r} must be strictly increasing; sort and merge them first"
            raise InputError(msg)
        if not bool(np.all(np.isfinite(self.values))):
            msg = f"the values of {self.metric!r} must be finite; leave out what was not observed"
            raise InputError(msg)

    def __len__(self) -> int:
        """Number of buckets."""
        return len(self.times)

    @property
    def settled(self) -> Series:
        """The buckets that are complete, without those still filling."""
        if self.settled_until is None:
            return self
        keep = self.times + as_timedelta64(self.width) <= as_datetime64(self.settled_until)
        return Series(
            metric=self.metric,
            times=self.times[keep],
            values=self.values[keep],
            width=self.width,
            deployment=self.deployment,
            labels=self.labels,
        )

    def samples(self) -> tuple[Sample, ...]:
        """The same numbers one by one."""
        return tuple(
            Sample(
                metric=self.metric,
                value=float(value),
                at=as_datetime(at),
                width=self.width,
                deployment=self.deployment,
                labels=self.labels,
            )
            for at, value in zip(self.times, self.values, strict=True)
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """The numbers over time; buckets that are still filling are rings.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.series(self), ax)

    def _view(self) -> View:
        return _views.view_of_series(self)


def as_datetime64(value: datetime) -> np.datetime64:
    """An aware time as datetime64[us] in UTC."""
    return np.datetime64(as_utc(value, name="time").replace(tzinfo=None), "us")


def as_datetime(value: np.datetime64) -> datetime:
    """A datetime64 (UTC) as an aware time."""
    part(value, np.datetime64, name="value", what="a time of numpy, datetime64 in UTC")
    plain = value.astype("datetime64[us]").item()
    if not isinstance(plain, datetime):
        msg = f"{value!r} is not a time"
        raise InputError(msg)
    return plain.replace(tzinfo=UTC)


def as_timedelta64(value: timedelta) -> np.timedelta64:
    """A duration as timedelta64[us]."""
    return np.timedelta64(as_duration(value, name="value"), "us")
