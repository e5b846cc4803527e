"""How much comes in, and how much is found in it: two numbers, judged apart.

log(detections) = log(requests) + log(detections per request). The first term is traffic: a camera
or a network is gone. The second is the model or the scene. One rule on their product could not
tell an operator whom to call.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from attrs import Factory, field, frozen
from attrs.validators import optional

from driftline._checks import number, one_of
from driftline.errors import InputError
from driftline.records import Metric, Series, Severity, as_datetime64, as_timedelta64
from driftline.rules import _volume_plain, _volume_statistics
from driftline.rules._checks import AT_LEAST_ONE, SEVERITY, as_minutes
from driftline.rules._examples import MINUTE, lasting
from driftline.rules._judgement import Floats, Gap, Judgement, Reading
from driftline.rules._latency import minutes_text
from driftline.rules._rule import Rule
from driftline.rules._time import ceil, micros, span, starts_of
from driftline.rules._volume_plain import Counts
from driftline.rules._windows import at_times, binned, windows

VolumeMode = Literal["plain", "hourly", "daily", "weekly"]


WEEKLY_DROP = 0.15
"""The least drop a week is told of: smaller ones are of no use to anybody, however significant."""
_FEWEST_WEEKS = 2
"""A weekday that was seen once has no scatter that the t-test could measure a week in."""


def _every(rule: VolumeRule) -> timedelta:
    return timedelta(minutes=5) if rule.mode == "plain" else timedelta(hours=1)


def _hold(rule: VolumeRule) -> timedelta:
    return timedelta(minutes=rule.minutes) if rule.mode == "plain" else timedelta(0)


def _drop(rule: VolumeRule) -> float:
    return WEEKLY_DROP if rule.mode == "weekly" else 0.5


def _recover(rule: VolumeRule) -> int:
    return 2 if rule.mode in {"plain", "hourly"} else 1


def _tells_a_week(rule: VolumeRule, _attribute: object, weeks: int) -> None:
    if rule.mode == "weekly" and weeks < _FEWEST_WEEKS:
        msg = f"weeks={weeks}: mode='weekly' needs {_FEWEST_WEEKS} to learn how a weekday scatters"
        raise InputError(msg)


@frozen(kw_only=True)
class VolumeRule(Rule):
    """What `RequestVolume` and `DetectionVolume` share.

    Modes:

    - ``"plain"``: more than `drop` below the median of the last hour's calm windows, for
      `minutes`. It works from the first half hour on, and knows no time of day.
    - ``"hourly"``: an hour whose count chance would bring once in ten thousand (negative-binomial
      lower tail, scatter and time of day learnt from `weeks` weeks), or three hours in a row at
      once in a hundred. An outage is seen within the hour, a third missing by the end of the day;
      about one false alarm a year.
    - ``"daily"``: the same for a whole UTC day at once in a thousand; 0.6 false alarms a year.
    - ``"weekly"``: the days of a week against those of the reference (t-test on log-ratios,
      p < 0.01) and a drop of at least `drop`; for what creeps in. 0.7 % of calm weeks pass it.

    The last three report their time as unjudged until the reference is learnt.

    Attributes:
        mode: how a count is held against what was expected.
        drop: the share that must be missing, in (0, 1): half (plain) or 15 % (weekly); hours and
            days go by their p-value alone.
        minutes: for how many minutes (plain).
        usual: what is usual, in `unit` (plain); None: learnt.
        min_expected: a sample for which fewer are expected is not judged (plain): half of few is
            chance.
        weeks: how many weeks are learnt (all but plain); at least 2 for ``"weekly"``.
    """

    mode: VolumeMode = field(
        default="plain", validator=one_of("plain", "hourly", "daily", "weekly")
    )
    drop: float = field(
        default=Factory(_drop, takes_self=True),
        validator=number("a share in (0, 1), 0.5 for half", above=0, below=1),
    )
    minutes: float = field(default=10, converter=as_minutes)
    usual: float | None = field(
        default=None,
        validator=optional(number("a rate above 0, or None to learn it", above=0)),
    )
    min_expected: float = field(default=20, validator=number("a count above 0", above=0))
    weeks: int = field(default=4, validator=[AT_LEAST_ONE, _tells_a_week])
    severity: Severity = field(default=Severity.ERROR, validator=SEVERITY)
    recover_samples: int = field(default=Factory(_recover, takes_self=True), validator=AT_LEAST_ONE)
    every: timedelta = field(default=Factory(_every, takes_self=True), init=False)
    hold: timedelta = field(default=Factory(_hold, takes_self=True), init=False)

    @abstractmethod
    def counts(self, reading: Reading) -> Counts | Gap:
        """Counts and exposures by window, or why there are none."""

    def judge(self, reading: Reading) -> Judgement:
        """One sample for each window that can be held against something."""
        counts = self.counts(reading)
        if isinstance(counts, Gap):
            return Judgement.nothing(gaps=(counts,), memory=reading.memory)
        if self.mode == "plain":
            return _volume_plain.judge(
                counts,
                reading.memory,
                every=self.every,
                drop=self.drop,
                usual=self.usual,
                min_expected=self.min_expected,
            )
        return _volume_statistics.judge(
            counts, reading.memory, resolution=self.mode, weeks=self.weeks, drop=self.drop
        )

    def expected(self, threshold: float) -> str:
        """The least that is calm, and for how long less is borne."""
        usual = f"about {self._usual(threshold):.3g} {self.unit}"
        if self.mode == "plain":
            return (
                f"{usual}; pages after {minutes_text(self.hold)} more than "
                f"{100 * self.drop:.0f} % below it"
            )
        return f"{usual}, as in the first {self.weeks} weeks; {_LEVELS[self.mode]}"

    def _usual(self, threshold: float) -> float:
        """What is usual where the threshold is this."""
        return threshold / (1 - self.drop) if self.mode == "plain" else threshold

    def _example_rates(self, usual: float, *, breach: bool) -> Floats:
        """A rate a minute, or an hour: usual until it is learnt, then a twentieth, or the same."""
        if self.mode == "plain":
            learn = (
                0 if self.usual is not None else _volume_plain.MEMORY * int(self.every // MINUTE)
            )
            told = -(-lasting(self, breach=breach) // MINUTE)
        else:
            learn = 24 * (7 * self.weeks + 1)
            told = 24 * 7 * (2 if self.mode == "weekly" else 1)
        # A little unevenness, as a reference without any would call the least change a breach.
        rates = usual * (1 + 0.05 * np.sin(np.arange(learn + told)))
        rates[learn:] *= 0.05 if breach else 1.0
        return rates

    def _example_width(self) -> timedelta:
        return MINUTE if self.mode == "plain" else timedelta(hours=1)


_LEVELS = {
    "hourly": "so few in an hour come by chance once in 10,000, or 3 hours in a row once in 100",
    "daily": "so few in a day come by chance once in 1,000",
    "weekly": "a week so low comes by chance once in 100",
}


@frozen(kw_only=True)
class RequestVolume(VolumeRule):
    """Fires when far fewer requests come in than usual.

    The Platform lists no bucket for a minute without requests. Where it has answered for that
    minute, the minute had none, and that is what this rule is for; where the numbers come from
    your own samples, a minute you left out was not observed, so report zeros.
    """

    unit: str = "requests/min"

    def __attrs_post_init__(self) -> None:
        """Refuse a usual rate at which no window could ever be judged."""
        minutes = self.every / MINUTE
        if self.usual is not None and self.usual * minutes < self.min_expected:
            msg = (
                f"usual={self.usual} requests/min is {self.usual * minutes:g} in a window, below "
                f"min_expected={self.min_expected:g}, so that nothing would be judged; lower that"
            )
            raise InputError(msg)

    def metrics(self) -> tuple[str, ...]:
        """Requests."""
        return (Metric.REQUESTS,)

    def counts(self, reading: Reading) -> Counts | Gap:
        """Requests by window; exposure is minutes."""
        requests = reading.get(Metric.REQUESTS)
        every = span(self.every)
        minutes = self.every / MINUTE
        times = starts_of(requests)
        if not reading.answered:
            found = windows(times, self.every)
            seen = found.sum(requests.values)
            return Counts(found.starts, seen, np.full(len(seen), minutes))
        first = ceil(micros(reading.start), every)
        starts = np.arange(first, micros(reading.end) - every + 1, every, dtype=np.int64)
        index = (times - first) // every
        inside = (index >= 0) & (index < len(starts))
        total = binned(index[inside], requests.values[inside], len(starts))
        return Counts(starts, total, np.full(len(starts), minutes))

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """Usual traffic until it is learnt, then a twentieth of it, or the same."""
        width = self._example_width()
        usual = self.usual if self.usual is not None else 60.0
        usual = max(usual, 2 * self.min_expected / (self.every / MINUTE))
        counts = np.round(self._example_rates(usual, breach=breach) * (width / MINUTE))
        return (_steady(Metric.REQUESTS, counts, start, width),)

    def summary(self, value: float, threshold: float) -> str:
        """Rate and usual rate."""
        usual = self._usual(threshold)
        return f"{value:.3g} requests/min come in, {usual:.3g} are usual"


@frozen(kw_only=True)
class DetectionVolume(VolumeRule):
    """Fires when far fewer objects are found in a frame than usual.

    The Platform's metrics hold no detections: pass your counts as samples,
    `Metric.DETECTIONS` and `Metric.FRAMES` of the same minutes. What you leave out is not
    observed; report zeros. A window without frames is no sample.

    Attributes:
        exposure: what the detections are counted per: `Metric.FRAMES`, or `Metric.REQUESTS` to
            take the Platform's count.
    """

    exposure: str = Metric.FRAMES
    unit: str = "detections/frame"

    def metrics(self) -> tuple[str, ...]:
        """Detections and what they are counted per."""
        return (Metric.DETECTIONS, self.exposure)

    def counts(self, reading: Reading) -> Counts | Gap:
        """Detections and frames by window, of the buckets that have both."""
        detections = reading.get(Metric.DETECTIONS)
        if self.exposure not in reading.series:
            reason = f"no samples of {self.exposure!r}: detections per frame need the frames"
            return Gap(start=reading.start, end=reading.end, reason=reason)
        times = starts_of(detections)
        frames = at_times(reading.series[self.exposure], times, missing=0.0)
        seen = frames > 0
        found = windows(times[seen], self.every)
        return Counts(found.starts, found.sum(detections.values[seen]), found.sum(frames[seen]))

    def example(self, *, breach: bool, start: datetime) -> tuple[Series, ...]:
        """Usual counts until they are learnt, then a twentieth of them, or the same."""
        width = self._example_width()
        usual = self.usual if self.usual is not None else 4.0
        rates = self._example_rates(usual, breach=breach)
        frames = np.full(len(rates), np.ceil(max(30.0, 2 * self.min_expected / usual)))
        return (
            _steady(Metric.DETECTIONS, np.round(rates * frames), start, width),
            _steady(self.exposure, frames, start, width),
        )

    def summary(self, value: float, threshold: float) -> str:
        """Detections per frame and the usual."""
        usual = self._usual(threshold)
        return f"{value:.3g} detections/frame are found, {usual:.3g} are usual"


def _steady(metric: str, values: Floats, start: datetime, width: timedelta) -> Series:
    times = as_datetime64(start) + np.arange(len(values)) * as_timedelta64(width)
    return Series(metric=metric, times=times, values=values, width=width)
