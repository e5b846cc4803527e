"""How an endpoint behaves, and the synthetic traffic that follows from it."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from attrs import define, field, frozen

from driftline._checks import refuse_number
from driftline.testing._platform._ledger import EMPTY, LEVELS, Floats, Ints, Minutes
from driftline.testing._platform._time import MINUTE

_NORMAL: Final = NormalDist()
_SCORES: Final = np.array([_NORMAL.inv_cdf(float(level)) for level in LEVELS])
_SCORE_95: Final = _NORMAL.inv_cdf(0.95)


@frozen(kw_only=True)
class Behaviour:
    """What an endpoint does, from one moment on.

    Latencies are log-normal with the given median and 95th percentile.

    Attributes:
        requests_per_minute: synthetic requests a minute, beside the real ones.
        p95_ms: 95th percentile of the latency, milliseconds.
        p50_ms: median of the latency, milliseconds; None is half of `p95_ms`.
        error_rate: share of the requests that fail, 0 to 1, real and synthetic ones.
        healthy: whether it answers at all.
    """

    requests_per_minute: float = 0.0
    p95_ms: float = 160.0
    p50_ms: float | None = None
    error_rate: float = 0.0
    healthy: bool = True

    def __attrs_post_init__(self) -> None:
        """Refuse what no endpoint could do."""
        refuse_number("requests_per_minute", self.requests_per_minute, "0 or more", least=0)
        refuse_number("error_rate", self.error_rate, "a share, 0 to 1", least=0, most=1)
        refuse_number("p95_ms", self.p95_ms, "above 0", above=0)
        what = f"above 0 and at most p95_ms={self.p95_ms!r}"
        refuse_number("p50_ms", self.median_ms, what, above=0, most=self.p95_ms)

    @property
    def median_ms(self) -> float:
        """The median latency, milliseconds."""
        return self.p95_ms / 2 if self.p50_ms is None else self.p50_ms

    @property
    def failing(self) -> float:
        """Share of the requests that fail: all of them when it does not answer."""
        return self.error_rate if self.healthy else 1.0

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm of the latency."""
        return math.log(self.p95_ms / self.median_ms) / _SCORE_95

    def latency_ms(self, level: float) -> float:
        """The latency at a level of its distribution, 0 < level < 1."""
        return self.median_ms * math.exp(self.sigma * _NORMAL.inv_cdf(level))


@define
class Even:
    """Traffic without chance: requests at equal distances, every minute like the last."""

    _requests: float = field(default=0.0, init=False)
    _errors: float = field(default=0.0, init=False)

    def rows(self, behaviour: Behaviour, start: int, end: int) -> Minutes:
        """The traffic from `start` to `end`; fractions of a request are carried over."""
        at, span = _minutes(start, end)
        if not len(at):
            return EMPTY
        due = self._requests + np.cumsum(behaviour.requests_per_minute * span / MINUTE)
        # 20 * 0.05 must be one error although the floats fall short of it.
        requests = np.diff(np.floor(due + 1e-9), prepend=np.floor(self._requests + 1e-9))
        failed = self._errors + np.cumsum(requests * behaviour.failing)
        errors = np.diff(np.floor(failed + 1e-9), prepend=np.floor(self._errors + 1e-9))
        self._requests, self._errors = float(due[-1] % 1), float(failed[-1] % 1)
        ms = behaviour.median_ms * np.exp(behaviour.sigma * _SCORES)
        return Minutes(
            at=at,
            span=span,
            requests=requests.astype(np.int64),
            errors=errors.astype(np.int64),
            ms=np.broadcast_to(ms, (len(at), len(ms))),
        )


@define
class Noisy:
    """Traffic with chance: Poisson arrivals, binomial errors, percentiles as uncertain as they are.

    The latencies of a minute are order statistics of that many log-normal draws: the spacings
    of uniform order statistics are Dirichlet distributed (David and Nagaraja, Order Statistics,
    6.4), so fifteen levels cost the same whatever the number of requests.
    Each quantity has a random stream of its own, so that it does not matter in how many
    pieces the time is asked for.
    """

    _counts: np.random.Generator
    _failures: np.random.Generator
    _latencies: np.random.Generator

    @classmethod
    def of(cls, rng: np.random.Generator) -> Noisy:
        """Streams that spring from `rng`."""
        return cls(*rng.spawn(3))

    def rows(self, behaviour: Behaviour, start: int, end: int) -> Minutes:
        """The traffic from `start` to `end`."""
        at, span = _minutes(start, end)
        if not len(at):
            return EMPTY
        requests = self._counts.poisson(behaviour.requests_per_minute * span / MINUTE)
        n = np.maximum(requests, 1)[:, None] + 1
        spacings = self._latencies.standard_gamma(n * np.diff(LEVELS, prepend=0.0, append=1.0))
        drawn = np.cumsum(spacings, axis=1)[:, :-1] / spacings.sum(axis=1, keepdims=True)
        return Minutes(
            at=at,
            span=span,
            requests=requests,
            errors=self._failures.binomial(requests, behaviour.failing),
            ms=behaviour.median_ms * np.exp(behaviour.sigma * _scores(drawn)),
        )


Arrivals = Even | Noisy


def _scores(levels: Floats) -> Floats:
    from scipy.special import ndtri  # noqa: PLC0415 - heavy, and only noisy traffic needs it

    return np.asarray(ndtri(np.clip(levels, 1e-6, 1 - 1e-6)), dtype=np.float64)


def _minutes(start: int, end: int) -> tuple[Ints, Ints]:
    """Starts and spans of the pieces that the whole minutes cut ``[start, end)`` into."""
    if end <= start:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    inner = np.arange((start // MINUTE + 1) * MINUTE, end, MINUTE, dtype=np.int64)
    edges = np.concatenate([[start], inner, [end]]).astype(np.int64)
    return edges[:-1], np.diff(edges)
