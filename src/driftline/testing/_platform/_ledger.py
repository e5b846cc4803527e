"""What passed through an endpoint, and its counts and percentiles per bucket.

Real requests are kept one by one. Synthetic ones are kept a minute a row: how many, how many
failed, and the latency at fifteen fixed levels of its distribution, so that a month costs the
same at one request a minute as at a thousand, and the median, p95 and p99 stay exact.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from driftline.testing._platform._time import DAY, HOUR, MINUTE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WIDTH_US: Final = {
    "1h": MINUTE,
    "6h": 5 * MINUTE,
    "24h": HOUR,
    "7d": HOUR,
    "30d": 4 * HOUR,
}
"""Bucket width of each range. The Platform's monitoring page gives the first and the last, and
that its 24-hour card works on hourly values; 6h and 7d are chosen to lie between."""
LENGTH_US: Final = {"1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
METRICS_RETENTION_US: Final = 30 * DAY
"""How long metrics are kept: the Platform's monitoring page."""

_NEVER: Final = 1 << 62
_MANY: Final = 64
_EDGES: Final = np.array(
    [0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.55, 0.65, 0.75, 0.85, 0.92, 0.94, 0.96, 0.985, 0.995, 1.0]
)
LEVELS: Final[Floats] = np.array(
    [0.05, 0.15, 0.25, 0.35, 0.425, 0.5, 0.6, 0.7, 0.8, 0.885, 0.93, 0.95, 0.9725, 0.99, 0.998]
)
"""Levels of the distribution that a synthetic minute stores: one inside each stratum."""
SHARES: Final[Floats] = np.diff(_EDGES)
"""Share of the requests that each level stands for."""


@frozen(kw_only=True, eq=False)
class Minutes:
    """Rows of synthetic traffic.

    Attributes:
        at: ``(n,)`` start, microseconds since 1970.
        span: ``(n,)`` length, microseconds, above 0 and at most a minute.
        requests: ``(n,)`` how many.
        errors: ``(n,)`` how many of them failed.
        ms: ``(n, 15)`` latency at each of `LEVELS`, milliseconds.
    """

    at: Ints
    span: Ints
    requests: Ints
    errors: Ints
    ms: Floats

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.at)

    def where(self, keep: npt.NDArray[np.bool_]) -> Minutes:
        """The rows to keep."""
        return Minutes(
            at=self.at[keep],
            span=self.span[keep],
            requests=self.requests[keep],
            errors=self.errors[keep],
            ms=self.ms[keep],
        )

    def seen_until(self, cut: int) -> Minutes:
        """What of each row had happened by `cut`: requests spread evenly over a row's span."""
        share = np.clip((cut - self.at) / self.span, 0.0, 1.0)
        part = evolve(
            self,
            requests=np.floor(self.requests * share).astype(np.int64),
            errors=np.floor(self.errors * share).astype(np.int64),
        )
        return part.where(part.requests > 0)


EMPTY: Final = Minutes(
    at=np.empty(0, np.int64),
    span=np.empty(0, np.int64),
    requests=np.empty(0, np.int64),
    errors=np.empty(0, np.int64),
    ms=np.empty((0, len(LEVELS))),
)


def joined(parts: list[Minutes]) -> Minutes:
    """All rows, in the order of the parts."""
    return Minutes(
        at=np.concatenate([part.at for part in parts]),
        span=np.concatenate([part.span for part in parts]),
        requests=np.concatenate([part.requests for part in parts]),
        errors=np.concatenate([part.errors for part in parts]),
        ms=np.concatenate([part.ms for part in parts]),
    )


@frozen(kw_only=True, eq=False)
class Buckets:
    """Counts and percentiles of the buckets that saw a request, and of all of them together.

    Attributes:
        at: ``(n,)`` start of each bucket, microseconds since 1970, increasing.
        requests: ``(n,)`` above 0.
        errors: ``(n,)``.
        p50_ms: ``(n,)``.
        p95_ms: ``(n,)``.
        mean_ms: of all requests; 0 without any, as the Platform says it.
        percentiles_ms: p50, p95 and p99 of all requests; 0 without any.
    """

    at: Ints
    requests: Ints
    errors: Ints
    p50_ms: Floats
    p95_ms: Floats
    mean_ms: float
    percentiles_ms: tuple[float, float, float]


class Ledger:
    """The traffic of one endpoint.

    New rows wait beside the old ones and join them when they are a tenth as many, so that
    adding and reading a window cost no copy of a month.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._old = EMPTY
        self._new: list[Minutes] = []
        self._new_rows = 0
        self._oldest = _NEVER
        self._requests: list[tuple[int, float, bool]] = []

    def add_request(self, at: int, *, ms: float, failed: bool) -> None:
        """One real request."""
        self._requests.append((at, ms, failed))

    def add_minutes(self, rows: Minutes) -> None:
        """Synthetic traffic; rows without requests are dropped."""
        rows = rows.where(rows.requests > 0)
        if not len(rows):
            return
        self._oldest = min(self._oldest, int(rows.at.min()))
        self._new.append(rows)
        self._new_rows += len(rows)
        if self._new_rows > _MANY + len(self._old) // 10:
            self._merge()

    def minutes(self, start: int, end: int) -> Minutes:
        """The synthetic rows that begin from `start` up to `end`, in the order they were added."""
        if len(self._new) > 1:
            self._new = [joined(self._new)]
        parts = [self._old, *self._new]
        return joined([part.where((part.at >= start) & (part.at < end)) for part in parts])

    def forget_before(self, us: int) -> None:
        """Drop what is older; done when there is a day of it, because it copies the rest."""
        if self._oldest < us - DAY:
            self._merge()
            self._old = self._old.where(self._old.at >= us)
            self._oldest = int(self._old.at.min()) if len(self._old) else _NEVER
        if self._requests and self._requests[0][0] < us - DAY:
            self._requests = [request for request in self._requests if request[0] >= us]

    def _merge(self) -> None:
        self._old = joined([self._old, *self._new])
        self._new.clear()
        self._new_rows = 0

    def buckets(self, *, start: int, cut: int, width: int) -> Buckets:
        """Buckets of `width`, aligned to it, of what happened from `start` up to `cut`."""
        rows = self.minutes(start, cut).seen_until(cut)
        real = np.array(
            [request for request in self._requests if start <= request[0] < cut], dtype=np.float64
        ).reshape(-1, 3)
        keys = np.concatenate([rows.at // width, real[:, 0].astype(np.int64) // width])
        ids, group = np.unique(keys, return_inverse=True)
        ones = np.ones(len(real))
        requests = np.concatenate([rows.requests, ones])
        errors = np.concatenate([rows.errors, real[:, 2]])
        ms = np.concatenate([rows.ms.ravel(), real[:, 1]])
        weights = np.concatenate([(rows.requests[:, None] * SHARES).ravel(), ones])
        of = np.concatenate([np.repeat(group[: len(rows)], len(LEVELS)), group[len(rows) :]])
        p50, p95 = _quantiles(ms, weights, of, len(ids), (0.5, 0.95))
        whole = _quantiles(ms, weights, np.zeros_like(of), min(1, len(ids)), (0.5, 0.95, 0.99))
        return Buckets(
            at=ids * width,
            requests=np.bincount(group, requests, len(ids)).astype(np.int64),
            errors=np.bincount(group, errors, len(ids)).astype(np.int64),
            p50_ms=p50,
            p95_ms=p95,
            mean_ms=float(np.average(ms, weights=weights)) if len(ids) else 0.0,
            percentiles_ms=(_first(whole[0]), _first(whole[1]), _first(whole[2])),
        )


def _first(values: Floats) -> float:
    return float(values[0]) if len(values) else 0.0


def _quantiles(
    values: Floats, weights: Floats, group: Ints, groups: int, levels: tuple[float, ...]
) -> list[Floats]:
    """Weighted quantiles of each group: the least value with at least that share at or below it."""
    order = np.lexsort((values, group))
    total = np.bincount(group, weights, groups)
    below = np.concatenate([[0.0], np.cumsum(total)[:-1]]) if groups else total
    running = np.cumsum(weights[order])
    # A rounding error of the running sum must not push a quantile to the next value.
    slack = 1e-9 * float(running[-1]) if len(running) else 0.0
    return [
        values[order][
            np.minimum(np.searchsorted(running, below + q * total - slack), len(values) - 1)
        ]
        for q in levels
    ]
