"""Which of some frames to label: apart in time, and unlike one another. Pure functions."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from driftline.profiles._features import FloatArray
from driftline.records import Detections

GRID = 8


def apart(
    places: Sequence[tuple[str, datetime]], *, limit: int, gap: timedelta, quota: int | None
) -> list[int]:
    """The first frames that are no closer than a gap to an earlier choice of the same camera.

    Args:
        places: camera and time of each frame, best first.
        limit: how many to choose at most.
        gap: least time between two of one camera.
        quota: most of one camera and day (UTC); None: any number.
    """
    chosen: list[int] = []
    times: dict[str, list[datetime]] = {}
    days: Counter[tuple[str, object]] = Counter()
    for index, (camera, at) in enumerate(places):
        if len(chosen) >= limit:
            break
        own = times.setdefault(camera, [])
        full = quota is not None and days[camera, at.date()] >= quota
        if full or near(at, own, gap):
            continue
        chosen.append(index)
        insort(own, at)
        days[camera, at.date()] += 1
    return chosen


def near(at: datetime, times: Sequence[datetime], gap: timedelta) -> bool:
    """Whether a time is within the gap of any of some sorted ones: of its neighbours, that is."""
    place = bisect_left(times, at)
    return any(abs(at - other) < gap for other in times[max(0, place - 1) : place + 1])


def spread(points: FloatArray, n: int) -> list[int]:
    """Greedy k-centre: the first point, then always the one farthest from all chosen (Gonzalez 1985).

    Args:
        points: ``(m, d)``, best first.
        n: how many to choose.
    """
    chosen: list[int] = []
    distance = np.full(len(points), np.inf)
    for _ in range(min(n, len(points))):
        index = int(np.argmax(distance)) if chosen else 0
        chosen.append(index)
        distance = np.minimum(distance, ((points - points[index]) ** 2).sum(axis=1))
        distance[index] = -1.0
    return chosen


def descriptors(frames: Sequence[Detections]) -> FloatArray:
    """``(m, d)`` what each frame's detections look like, each column standardised.

    Square roots of the counts by class, an 8 x 8 grid of where the boxes' centres lie, mean and
    least confidence, quartiles of the log area.
    """
    classes = sorted({k for found in frames for k in found.class_id.tolist()})
    rows = [_described(found, classes) for found in frames]
    table = np.array(rows, dtype=np.float64).reshape(len(frames), len(classes) + GRID**2 + 5)
    deviation = table.std(axis=0)
    standard: FloatArray = (table - table.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return standard


def _described(found: Detections, classes: Sequence[int]) -> list[float]:
    counts = Counter(found.class_id.tolist())
    by_class = [counts[k] ** 0.5 for k in classes]
    if not len(found):
        return by_class + [0.0] * (GRID**2 + 5)
    height, width = found.image_size
    left, top, right, bottom = found.xyxy.T
    column, row = _cell((left + right) / (2 * width)), _cell((top + bottom) / (2 * height))
    grid = np.bincount(row * GRID + column, minlength=GRID**2) / len(found)
    share = np.maximum((right - left) * (bottom - top), 1e-12) / (height * width)
    quartiles = np.quantile(np.log2(share), [0.25, 0.5, 0.75])
    confidence = [float(found.confidence.mean()), float(found.confidence.min())]
    return [*by_class, *grid.tolist(), *confidence, *quartiles.tolist()]


def _cell(share: FloatArray) -> npt.NDArray[np.int64]:
    return np.clip((share * GRID).astype(np.int64), 0, GRID - 1)


def proportional(sizes: Sequence[float], limits: Sequence[int], n: int) -> list[int]:
    """How many of each part to take so that the parts keep their proportions (largest remainder).

    Args:
        sizes: size of each part, 0 or more.
        limits: most that can be taken of each.
        n: how many to take in all; fewer where the limits do not allow it.
    """
    taken = [0] * len(sizes)
    parts = [i for i, size in enumerate(sizes) if size > 0 and limits[i] > 0]
    while parts and (left := n - sum(taken)) > 0:
        total = sum(sizes[i] for i in parts)
        ideal = {i: left * sizes[i] / total for i in parts}
        full = {i for i in parts if ideal[i] >= limits[i]}
        if not full:
            _round_off(taken, ideal, left)
            break
        for i in full:
            taken[i] = limits[i]
        parts = [i for i in parts if i not in full]
    return taken


def _round_off(taken: list[int], ideal: Mapping[int, float], left: int) -> None:
    """Whole numbers for the ideal ones; what is left goes to the largest remainders."""
    for i, number in ideal.items():
        taken[i] = int(number)
    rest = left - sum(int(number) for number in ideal.values())
    for i in sorted(ideal, key=lambda i: (-(ideal[i] % 1), i))[:rest]:
        taken[i] += 1
