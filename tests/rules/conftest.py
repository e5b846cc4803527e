"""Series and verdicts, made quickly."""

from datetime import timedelta

import numpy as np
import pytest
from rules_support import MINUTE, START

from driftline.records import Metric, Series
from driftline.rules import Reading


def _series(metric, values, *, start=START, width=MINUTE, minutes=None, spacing=None):
    """A series of buckets from `start` on; `minutes` says which ones, else all in a row."""
    step = spacing or width or MINUTE
    at = range(len(values)) if minutes is None else minutes
    first = np.datetime64(start.replace(tzinfo=None), "us")
    return Series(
        metric=metric,
        times=first + np.array(list(at), dtype=np.int64) * np.timedelta64(step, "us"),
        values=np.array(values, dtype=np.float64),
        width=width,
    )


def _reading(*series, start=START, end=None, answered=True, memory=None):
    """A reading of some series, an hour long unless told."""
    return Reading(
        deployment="acme/line-3",
        series={one.metric: one for one in series},
        start=start,
        end=end or start + timedelta(hours=1),
        answered=answered,
        memory=memory or {},
    )


@pytest.fixture
def series():
    return _series


@pytest.fixture
def reading():
    return _reading


@pytest.fixture
def traffic():
    """p95 and requests by minute, as a reading."""

    def made(p95, requests, **how):
        return _reading(
            _series(Metric.LATENCY_P95_MS, p95), _series(Metric.REQUESTS, requests), **how
        )

    return made
