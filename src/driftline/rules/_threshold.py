"""A limit on any series: mAP, a KS statistic, a number of your own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from attrs import Factory, field, frozen
from attrs.validators import optional

from driftline._checks import a, number, one_of
from driftline.errors import InputError
from driftline.records import Series, Severity, as_timedelta64
from driftline.rules._checks import SEVERITY, named
from driftline.rules._examples import constant
from driftline.rules._judgement import Floats, Judgement, Reading
from driftline.rules._rule import Rule
from driftline.rules._time import Micros, as_times, starts_of
from driftline.rules._windows import windows

Aggregate = Literal["mean", "min", "max", "sum", "last"]

_FINITE = optional(number("a finite number"))


def _own_name(rule: Threshold) -> str:
    return f"threshold:{rule.series}"


@frozen(kw_only=True)
class Threshold(Rule):
    """Fires when a number is above a limit, or below one.

    Attributes:
        series: name of the metric, a `driftline.records.Metric` or your own.
        above: a sample above it breaches; exactly one of `above` and `below` is given.
        below: a sample below it breaches.
        recovery: the value from which on a sample is good (at or below it with `above`, at or
            above it with `below`); None: the limit itself.
        where: only slices that carry these labels; empty: all of them, each judged on its own.
        aggregate: how the buckets of a window become one sample, where `every` is given.
    """

    series: str = field(validator=named)
    above: float | None = field(default=None, validator=_FINITE)
    below: float | None = field(default=None, validator=_FINITE)
    recovery: float | None = field(default=None, validator=_FINITE)
    where: Mapping[str, str] = field(
        factory=dict, hash=False, validator=a(Mapping, "labels, such as {'camera': 'cam-1'}")
    )
    aggregate: Aggregate = field(
        default="mean", validator=one_of("mean", "min", "max", "sum", "last")
    )
    severity: Severity = field(default=Severity.WARNING, validator=SEVERITY)
    name: str = field(default=Factory(_own_name, takes_self=True), validator=named)

    def __attrs_post_init__(self) -> None:
        """Refuse limits that contradict each other."""
        given = [limit for limit in (self.above, self.below) if limit is not None]
        if len(given) != 1:
            msg = f"above={self.above!r}, below={self.below!r}: give exactly one limit"
            raise InputError(msg)
        if self.recovery is not None:
            inside = (
                self.recovery <= given[0] if self.above is not None else self.recovery >= given[0]
            )
            if not inside:
                msg = f"recovery={self.recovery!r} lies on the breaching side of {given[0]!r}"
                raise InputError(msg)

    @property
    def limit(self) -> float:
        """The limit that was given."""
        return self.above if self.above is not None else self.below or 0.0

    def metrics(self) -> tuple[str, ...]:
        """The one metric."""
        return (self.series,)

    def applies(self, deployment: str, labels: Mapping[str, str]) -> bool:
        """Whether a slice carries the labels of `where`."""
        return super().applies(deployment, labels) and all(
            labels.get(name) == value for name, value in self.where.items()
        )

    def judge(self, reading: Reading) -> Judgement:
        """One sample for each bucket, or for each window that holds any."""
        found = reading.get(self.series)
        limit = self.limit
        recovered = limit if self.recovery is None else self.recovery
        if self.every is None:
            starts, values = found.times, found.values
            ends = starts + as_timedelta64(found.width)
        else:
            moments, values = _windowed(found, self.every, self.aggregate)
            starts = as_times(moments)
            ends = starts + as_timedelta64(self.every)
        up = self.above is not None
        return Judgement(
            starts=starts,
            ends=ends,
            values=values,
            breach=values > limit if up else values < limit,
            good=values <= recovered if up else values >= recovered,
            thresholds=np.full(len(values), limit),
        )

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """A constant value, half of the limit (1 where that is 0) to either side."""
        step = (abs(self.limit) / 2 or 1.0) * (1 if self.above is not None else -1)
        base = self.limit if self.recovery is None or breach else self.recovery
        value = base + step if breach else base - step
        return constant(
            self, {self.series: value}, breach=breach, start=start, width=self.every or _MINUTE
        )

    def summary(self, value: float, threshold: float) -> str:
        """The value and the limit."""
        side = "above" if self.above is not None else "below"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.series} is {value:.4g}{unit}, {side} {threshold:.4g}{unit}"

    def expected(self, threshold: float) -> str:
        """The side it should be on."""
        side = "at most" if self.above is not None else "at least"
        return f"{self.series} {side} {threshold:.4g} {self.unit}".strip()


_MINUTE = timedelta(minutes=1)


def _windowed(series: Series, every: timedelta, how: Aggregate) -> tuple[Micros, Floats]:
    times = starts_of(series)
    found = windows(times, every)
    if not len(times):
        return found.starts, series.values
    first = np.searchsorted(found.of_bucket, np.arange(len(found.starts)))
    if how == "last":
        return found.starts, series.values[np.append(first[1:], len(times)) - 1]
    if how in ("min", "max"):
        extreme = np.minimum if how == "min" else np.maximum
        return found.starts, extreme.reduceat(series.values, first)
    total = found.sum(series.values)
    return found.starts, total if how == "sum" else total / found.sum(np.ones(len(times)))
