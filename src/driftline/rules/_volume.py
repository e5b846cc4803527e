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

from driftline.records import Metric, Series, Severity, as_datetime64, as_timedelta64
from driftline.rules import _volume_plain
from driftline.rules._checks import number
from driftline.rules._examples import MINUTE, lasting
from driftline.rules._judgement import Floats, Gap, Judgement, Reading
from driftline.rules._latency import minutes_text
from driftline.rules._rule import Rule
from driftline.rules._time import ceil, micros, span, starts_of
from driftline.rules._volume_plain import Counts
from driftline.rules._windows import at_times, binned, windows

VolumeMode = Literal["plain"]


def _every(rule: VolumeRule) -> timedelta:
    del rule
    return timedelta(minutes=5)


def _hold(rule: VolumeRule) -> timedelta:
    return timedelta(minutes=rule.minutes)


@frozen(kw_only=True)
class VolumeRule(Rule):
    """What `RequestVolume` and `DetectionVolume` share.

    Attributes:
        mode: how a count is held against what was expected.
        drop: the share that must be missing, in (0, 1).
        minutes: for how many minutes (mode "plain").
        usual: what is usual, in `unit`; None: learnt, see the mode.
        min_expected: a sample for which fewer are expected is not judged: half of few is chance.
    """

    mode: VolumeMode = "plain"
    drop: float = field(
        default=0.5, validator=number(above=0, below=1, what="a share in (0, 1), 0.5 for half")
    )
    minutes: float = field(default=10, validator=number(above=0, what="minutes above 0"))
    usual: float | None = field(
        default=None, validator=number(above=0, what="a rate above 0, or None to learn it")
    )
    min_expected: float = field(default=20, validator=number(above=0, what="a count above 0"))
    severity: Severity = Severity.ERROR
    recover_samples: int = 2
    every: timedelta = field(default=Factory(_every, takes_self=True))
    hold: timedelta = field(default=Factory(_hold, takes_self=True), init=False)

    @abstractmethod
    def counts(self, reading: Reading) -> Counts | Gap:
        """Counts and exposures by window, or why there are none."""

    def judge(self, reading: Reading) -> Judgement:
        """One sample for each window that can be held against something."""
        counts = self.counts(reading)
        if isinstance(counts, Gap):
            return Judgement.nothing(gaps=(counts,), memory=reading.memory)
        return _volume_plain.judge(
            counts,
            reading.memory,
            every=self.every,
            drop=self.drop,
            usual=self.usual,
            min_expected=self.min_expected,
        )

    def expected(self, threshold: float) -> str:
        """The least that is calm, and for how long less is borne."""
        return (
            f"at least {threshold:.3g} {self.unit}, that is, not {100 * self.drop:.0f} % below "
            f"the usual; pages after {minutes_text(self.hold)} below it"
        )

    def _example_minutes(self, *, breach: bool) -> tuple[int, int]:
        learn = 0 if self.usual is not None else _volume_plain.MEMORY
        told = -(-lasting(self, breach=breach) // MINUTE)
        return learn * int(self.every // MINUTE), told


@frozen(kw_only=True)
class RequestVolume(VolumeRule):
    """Fires when far fewer requests come in than usual.

    The Platform lists no bucket for a minute without requests. Where it has answered for that
    minute, the minute had none, and that is what this rule is for; where the numbers come from
    your own samples, a minute you left out was not observed, so report zeros.
    """

    unit: str = "requests/min"

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
        usual = self.usual if self.usual is not None else 60.0
        usual = max(usual, 2 * self.min_expected / (self.every / MINUTE))
        learn, rest = self._example_minutes(breach=breach)
        rates = np.full(learn + rest, usual)
        rates[learn:] *= (1 - self.drop) / 10 if breach else 1.0
        return (_minutely(Metric.REQUESTS, rates, start),)

    def summary(self, value: float, threshold: float) -> str:
        """Rate and usual rate."""
        usual = threshold / (1 - self.drop)
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
        usual = self.usual if self.usual is not None else 4.0
        learn, rest = self._example_minutes(breach=breach)
        rates = np.full(learn + rest, usual)
        rates[learn:] *= (1 - self.drop) / 10 if breach else 1.0
        frames = np.full(len(rates), np.ceil(max(30.0, 2 * self.min_expected / usual)))
        return (
            _minutely(Metric.DETECTIONS, rates * frames, start),
            _minutely(self.exposure, frames, start),
        )

    def summary(self, value: float, threshold: float) -> str:
        """Detections per frame and the usual."""
        usual = threshold / (1 - self.drop)
        return f"{value:.3g} detections/frame are found, {usual:.3g} are usual"


def _minutely(metric: str, values: Floats, start: datetime) -> Series:
    times = as_datetime64(start) + np.arange(len(values)) * as_timedelta64(MINUTE)
    return Series(metric=metric, times=times, values=values, width=MINUTE)
