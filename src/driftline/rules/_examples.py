"""Series made up for drills and for `check_rule`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np

from driftline._checks import part, refuse_no_time
from driftline.records import Metric, Series, as_datetime64, as_timedelta64
from driftline.rules._rule import Rule

MINUTE = timedelta(minutes=1)


def lasting(rule: Rule, *, breach: bool, width: timedelta = MINUTE) -> timedelta:
    """How long a state must last to make `rule` fire, or to end its alert, with one sample over."""
    sample = rule.every or width
    count = max(rule.samples, rule.of or 0) if breach else rule.recover_samples
    held = rule.hold if breach else rule.keep_firing
    return sample * (count + 1) + max(held, timedelta(0)) + (rule.warm_up if breach else width * 0)


def constant(
    rule: Rule,
    values: Mapping[str, float] | Mapping[Metric, float],
    *,
    breach: bool,
    start: datetime,
    width: timedelta = MINUTE,
    moments: bool = False,
) -> tuple[Series, ...]:
    """One series a metric, each constant, for as long as the rule needs to make up its mind.

    Buckets are `width` long; with `moments` they are measurements that far apart.

    Raises:
        InputError: an argument is of another kind.
    """
    part(rule, Rule, name="rule", what="a rule")
    part(values, Mapping, name="values", what="the value of each metric")
    refuse_no_time("width", width)
    buckets = -(-lasting(rule, breach=breach, width=width) // width)
    times = as_datetime64(start) + np.arange(buckets) * as_timedelta64(width)
    return tuple(
        Series(
            metric=metric,
            times=times,
            values=np.full(buckets, value),
            width=timedelta(0) if moments else width,
        )
        for metric, value in values.items()
    )
