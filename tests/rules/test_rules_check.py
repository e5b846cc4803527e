"""The public suite: ours pass, and every way to be a bad rule is found."""

from datetime import timedelta

import numpy as np
import pytest
from attrs import field, frozen

from driftline import rules
from driftline.records import Series
from driftline.rules import Judgement, NoDataPolicy
from driftline.testing import check_rule

RUNBOOK = "Look"
MINUTES = timedelta(minutes=1)

OURS = [
    rules.LatencyBudget(p95_ms=250, runbook=RUNBOOK),
    rules.LatencyBudget(
        p95_ms=250, samples=2, of=4, recover_below_ms=200, keep_firing=12 * MINUTES,
        warm_up=30 * MINUTES, delay=3 * MINUTES, no_data=NoDataPolicy.ALERT, runbook=RUNBOOK,
    ),
    rules.ErrorRate(above=0.01, runbook=RUNBOOK),
    rules.ErrorRate(above=0, minutes=12, min_requests=5000, recover_samples=1, runbook=RUNBOOK),
    rules.EndpointHealth(runbook=RUNBOOK),
    rules.NoData(runbook=RUNBOOK),
    rules.Threshold(series="accuracy.map", below=0.5, runbook=RUNBOOK),
    rules.Threshold(
        series="a", above=0, recovery=-1, every=5 * MINUTES, aggregate="last", hold=12 * MINUTES,
        no_data=NoDataPolicy.BREACH, runbook=RUNBOOK,
    ),
    *[
        kind(mode=mode, runbook=RUNBOOK)
        for kind in (rules.RequestVolume, rules.DetectionVolume)
        for mode in ("plain", "hourly", "daily", "weekly")
    ],
    rules.RequestVolume(usual=7, runbook=RUNBOOK),
    rules.DetectionVolume(usual=0.3, runbook=RUNBOOK),
]  # fmt: skip


@pytest.mark.parametrize("rule", OURS, ids=lambda rule: f"{rule.name}-{getattr(rule, 'mode', '')}")
def test_ours(rule):
    """Every rule of ours passes, with its defaults and with its knobs turned."""
    check_rule(rule)


@frozen(kw_only=True)
class QueueTooLong(rules.Rule):
    """A user's rule, as small as it gets."""

    longest: float = field()

    def metrics(self):
        return ("queue.length",)

    def judge(self, reading):
        queue = reading.get("queue.length")
        return Judgement.of(queue, breach=queue.values > self.longest, threshold=self.longest)

    def example(self, *, breach, start):
        first = np.datetime64(start.replace(tzinfo=None), "us")
        times = first + np.arange(3) * np.timedelta64(60, "s")
        values = np.full(3, self.longest * (2 if breach else 0.5))
        return (Series(metric="queue.length", times=times, values=values, width=MINUTES),)


def test_a_users_rule():
    """A class with three short methods is a rule."""
    check_rule(QueueTooLong(longest=10, runbook=RUNBOOK))


class _Spoilt(QueueTooLong):
    """Base of the bad ones."""


class NeverFires(_Spoilt):
    def example(self, *, breach, start):
        return super().example(breach=False, start=start)


class NeverEnds(_Spoilt):
    def example(self, *, breach, start):
        return super().example(breach=True, start=start)


_SEEN = []


class KeepsState(_Spoilt):
    def judge(self, reading):
        _SEEN.append(1)
        queue = reading.get("queue.length")
        return Judgement.of(queue, breach=queue.values > self.longest, threshold=len(_SEEN))


class WritesIntoItsInput(_Spoilt):
    def judge(self, reading):
        found = super().judge(reading)
        found.values[:] = 99.0
        return found


class LooksAtTheWhole(_Spoilt):
    def judge(self, reading):
        queue = reading.get("queue.length")
        high = queue.values > queue.values.min() / 2 if len(queue) > 2 else queue.values < 0
        return Judgement.of(queue, breach=high & (queue.values > 10), threshold=10.0)


class InventsSamples(_Spoilt):
    def judge(self, reading):
        queue = reading.get("queue.length")
        if len(queue):
            return super().judge(reading)
        start = np.array([reading.start.replace(tzinfo=None)], dtype="datetime64[us]")
        one = np.ones(1)
        return Judgement(
            starts=start, ends=start, values=one, breach=one > 2, good=one > 0, thresholds=one
        )


class NotANumber(_Spoilt):
    def judge(self, reading):
        found = super().judge(reading)
        with np.errstate(all="ignore"):
            odd = found.values / (found.values - found.values)
        return Judgement(
            starts=found.starts, ends=found.ends, values=odd, breach=found.breach,
            good=found.good, thresholds=found.thresholds,
        )  # fmt: skip


class RemembersTuples(_Spoilt):
    def judge(self, reading):
        queue = reading.get("queue.length")
        breach = queue.values > self.longest
        return Judgement.of(queue, breach=breach, threshold=1.0, memory={"a": (1, 2)})


class SaysTwoLines(_Spoilt):
    def summary(self, value, threshold):
        return "one\ntwo"


class Raises(_Spoilt):
    def judge(self, reading):
        raise ZeroDivisionError(reading)


class ShowsNothing(_Spoilt):
    def example(self, *, breach, start):
        return ()


class NamesNoMetric(_Spoilt):
    def metrics(self):
        return ()


BAD = {
    NeverFires: "must make it fire once",
    NeverEnds: "must end the alert",
    KeepsState: "keep no state",
    WritesIntoItsInput: "must not change the arrays",
    LooksAtTheWhole: "in several",
    InventsSamples: "there is no sample",
    NotANumber: "finite",
    RemembersTuples: "comes back equal",
    SaysTwoLines: "one line each",
    Raises: "ZeroDivisionError",
    ShowsNothing: "has no bucket",
    NamesNoMetric: "metrics\\(\\) must be a tuple",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_bad_rules_are_found(bad):
    """Each fault is named in the group."""
    with pytest.raises(ExceptionGroup) as caught:
        check_rule(bad(longest=10, runbook=RUNBOOK))

    assert caught.group_contains(AssertionError, match=BAD[bad])
