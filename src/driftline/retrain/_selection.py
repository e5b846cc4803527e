"""Which frames people are to look at: the ones that teach most, and a quarter at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Self
from zlib import crc32

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline._checks import number, parts
from driftline.errors import InputError
from driftline.profiles import (
    DEFAULT_FEATURES,
    Drift,
    Feature,
    Region,
    SampledFrame,
    queue,
    within,
)
from driftline.profiles._choose import near

__all__ = ["RANDOM_SHARE", "Selection"]

RANDOM_SHARE = 0.25
"""Part of a budget that is random: the only frames that tell how good a model is."""

GAP = timedelta(seconds=60)
"""Least time between two chosen frames of a camera: neighbours show the same."""

FloatArray = npt.NDArray[np.float64]


def _frames(value: Iterable[SampledFrame]) -> tuple[SampledFrame, ...]:
    return parts(value, SampledFrame, name="frames", what="a SampledFrame")


@frozen(kw_only=True, eq=False, repr=False)
class Selection:
    """Frames for people to label, in the order they should be looked at.

    The chosen ones and the random ones are spread evenly, so that who stops early has looked at
    both in proportion. No measure of uncertainty beats chance everywhere (Kassem Sbeyti et al.
    2025): the random ones are what shows whether it did here.

    Attributes:
        frames: every frame once. Those with source "uniform" are random and carry the probability
            they were picked with; the others were chosen by rank and carry none.
        budget: how many were asked for.
    """

    frames: tuple[SampledFrame, ...] = field(converter=_frames)
    budget: int = field(validator=number("0 or more", least=0, whole=True))

    @classmethod
    def of(
        cls,
        frames: Iterable[SampledFrame],
        *,
        budget: int,
        drift: Drift | None = None,
        regions: Collection[Region] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        random_share: float = RANDOM_SHARE,
        gap: timedelta = GAP,
        features: Sequence[Feature] = DEFAULT_FEATURES,
        seed: int = 0,
    ) -> Self:
        """Choose from frames that were sampled.

        The random part is drawn first, from the frames that were themselves sampled at random
        (source "uniform"), with a chance that makes all frames of production as likely where
        that can be; the probability that each carries is that of both draws. Of the others the
        most uncertain of the drifted regions come first: none within `gap` of a random one of its
        camera, for a model would be evaluated on what it has learned by heart; no two of a camera
        within `gap` of each other, no camera and day more than twice its part, four times as many
        as are needed, and of these by greedy k-centre the ones that are unlike one another.

        Args:
            frames: what was sampled, such as ``[*reservoir.uncertain(), *reservoir.uniform()]``;
                a frame that is there twice counts once.
            budget: how many frames people can look at.
            drift: a report: the regions of its flagged cells, and its week, are looked at.
            regions: further regions; where there are none in all, frames are of everywhere.
            start: frames from this time on, aware; by default the start of the report's week.
            end: frames before this time, aware; by default the end of the report's week.
            random_share: part of the budget that is random, [0, 1].
            gap: least time between a chosen frame and another one of its camera.
            features: where the feature of a region is looked up.
            seed: of the draw: same frames and seed, same selection.

        Raises:
            InputError: budget or share are out of range, or a region is of an unknown feature.
        """
        if budget < 0 or not 0.0 <= random_share <= 1.0:
            msg = f"budget={budget} must be at least 0 and random_share={random_share} in [0, 1]"
            raise InputError(msg)
        if drift is not None:
            regions = [*regions, *Region.of_drift(drift)]
            start, end = start or drift.start, end or drift.end
        pool = within(frames, start=start, end=end)
        random = _drawn(pool, round(budget * random_share), np.random.default_rng(seed))
        regional = within(_once(pool), regions=regions, features=features)
        chosen = queue(_apart_from(random, regional, gap), budget - len(random), gap=gap)
        return cls(
            frames=_spread([evolve(f, source="uncertain") for f in chosen], random), budget=budget
        )

    @property
    def random(self) -> tuple[SampledFrame, ...]:
        """The random part: labelled, it belongs to the recent set and is never trained on."""
        return tuple(frame for frame in self.frames if frame.source == "uniform")

    @property
    def chosen(self) -> tuple[SampledFrame, ...]:
        """The part that was chosen by rank: to train on, never to evaluate on."""
        return tuple(frame for frame in self.frames if frame.source != "uniform")

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __repr__(self) -> str:
        """How many frames of each part."""
        return f"Selection({len(self.chosen)} chosen and {len(self.random)} random of {self.budget} frames)"

    def __str__(self) -> str:
        """The parts and the cameras, and what is short."""
        cameras = Counter(frame.camera for frame in self.frames)
        lines = [repr(self), *(f"  {name}: {n}" for name, n in sorted(cameras.items()))]
        if short := self.budget - len(self):
            lines.append(f"  {short} short: keep more frames, or look at more regions or time")
        return "\n".join(lines)


def _order(frame: SampledFrame) -> tuple[str, datetime, str]:
    """An order that depends on nothing but the frame; of pictures the checksum, not the content."""
    own = frame.frame
    return frame.camera, frame.at, own if isinstance(own, str) else f"{crc32(own):08x}"


def _once(frames: Iterable[SampledFrame]) -> list[SampledFrame]:
    """Every frame once, most uncertain first."""
    unique = {frame.key: frame for frame in frames}
    return sorted(unique.values(), key=lambda frame: (-frame.score, _order(frame)))


def _apart_from(
    random: Sequence[SampledFrame], frames: Sequence[SampledFrame], gap: timedelta
) -> list[SampledFrame]:
    """The frames that are not random ones, nor within the gap of one of their camera."""
    taken = {frame.key for frame in random}
    times: dict[str, list[datetime]] = {}
    for frame in sorted(random, key=lambda frame: frame.at):
        times.setdefault(frame.camera, []).append(frame.at)
    return [
        frame
        for frame in frames
        if frame.key not in taken and not near(frame.at, times.get(frame.camera, []), gap)
    ]


def _drawn(pool: Sequence[SampledFrame], n: int, rng: np.random.Generator) -> list[SampledFrame]:
    """N of the frames that are a random sample, in random order, with both draws' probability.

    Systematic sampling by size (Madow 1949) with the inverse of the first probability as size:
    where none is capped, every frame of production was as likely. Going by camera and time it
    spreads over both.
    """
    there = sorted(
        {f.key: f for f in pool if f.source == "uniform" and f.inclusion_probability}.values(),
        key=_order,
    )
    first = np.array([frame.inclusion_probability for frame in there], dtype=np.float64)
    second = _proportional(1.0 / first, min(n, len(there)))
    passed = np.floor(np.cumsum(second) + rng.random() + 1e-9)
    picked = np.flatnonzero(np.diff(passed, prepend=0.0) >= 1)
    return [
        evolve(there[i], inclusion_probability=float(min(1.0, first[i] * second[i])))
        for i in rng.permutation(picked).tolist()
    ]


def _proportional(sizes: FloatArray, n: int) -> FloatArray:
    """``(m,)`` probabilities in (0, 1] that sum to n, in proportion to the sizes."""
    certain = np.zeros(len(sizes), dtype=np.bool_)
    while True:
        share = np.ones(len(sizes))
        rest = n - int(certain.sum())
        if rest and not certain.all():
            share[~certain] = rest * sizes[~certain] / sizes[~certain].sum()
        elif not rest:
            share[~certain] = 0.0
        over = (share > 1.0) & ~certain
        if not over.any():
            return share
        certain |= over


def _spread(chosen: Sequence[SampledFrame], random: Sequence[SampledFrame]) -> list[SampledFrame]:
    """Both in their order, evenly mixed."""
    placed = [
        ((place + 0.5) / len(part), which, frame)
        for which, part in enumerate((chosen, random))
        for place, frame in enumerate(part)
    ]
    return [frame for _, _, frame in sorted(placed, key=lambda one: one[:2])]
