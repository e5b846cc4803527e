"""What the two arms of a rollout did, as sums that add up over workers, machines and time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen
from attrs.validators import optional

from driftline._checks import a, number, refuse_number
from driftline.errors import InputError
from driftline.records import Detections

FloatArray = npt.NDArray[np.float64]

SAME_BOX_IOU: Final = 0.5
"""Overlap from which two boxes count as one: that of mAP@0.5 (PASCAL VOC, COCO)."""


class Arm(StrEnum):
    """Which of the two models a frame went to."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"


class Measure(StrEnum):
    """What is compared between the arms; each is a number from 0 to 1 a frame."""

    ERRORS = "errors"
    """1 when the call failed"""
    SLOW = "slow"
    """1 when the answer took longer than the budget"""
    BOXES = "boxes"
    """boxes in the frame, capped, as a share of the cap"""
    CONFIDENCE = "confidence"
    """mean confidence of the boxes of a frame that has some"""

    @property
    def up_is_worse(self) -> bool:
        """Whether less is never a fault; for boxes and confidence either way is a change."""
        return self in {Measure.ERRORS, Measure.SLOW}


PAIRED: Final = "paired"
"""Group of the differences between two answers to one frame, in place of an arm."""
AGREEMENT: Final = "agreement"
"""Share of the boxes that both answers to a frame have; reported, not judged."""


@frozen(kw_only=True)
class Outcome:
    """What came of sending one frame to one deployment.

    Attributes:
        ok: whether it was answered.
        latency_ms: how long the answer took, ms; None where not measured.
        detections: what was found; None where there was no answer or it is not to be compared.
    """

    ok: bool = field(default=True, validator=a((bool, np.bool_), "True or False"))
    latency_ms: float | None = field(
        default=None, validator=optional(number("0 or more milliseconds", least=0, below=math.inf))
    )
    detections: Detections | None = field(
        default=None, validator=optional(a(Detections, "Detections; see its from_… methods"))
    )


@frozen(kw_only=True)
class Scale:
    """How an outcome becomes numbers from 0 to 1; one for all workers of a rollout.

    Attributes:
        latency_ms: answers that took longer are slow.
        boxes: count of boxes that stands for 1; more count as this.
    """

    latency_ms: float = 250.0
    boxes: int = 20

    def __attrs_post_init__(self) -> None:
        """Refuse scales on which nothing can be measured."""
        refuse_number("latency_ms", self.latency_ms, "above 0: the budget of one answer", above=0)
        what = "a whole number, 1 or more: the count that stands for 1"
        refuse_number("boxes", self.boxes, what, least=1, whole=True)

    def of(self, outcome: Outcome) -> dict[str, float]:
        """The measures of one outcome; what it does not tell is left out."""
        seen: dict[str, float] = {Measure.ERRORS: 0.0 if outcome.ok else 1.0}
        if not outcome.ok:
            return seen
        if outcome.latency_ms is not None:
            seen[Measure.SLOW] = float(outcome.latency_ms > self.latency_ms)
        if outcome.detections is not None:
            count = len(outcome.detections)
            seen[Measure.BOXES] = min(count, self.boxes) / self.boxes
            if count:
                mean = float(outcome.detections.confidence.mean())
                if not 0 <= mean <= 1:
                    msg = f"confidences must lie in [0, 1], their mean is {mean!r}"
                    raise InputError(msg)
                seen[Measure.CONFIDENCE] = mean
        return seen

    def of_pair(self, incumbent: Outcome, candidate: Outcome) -> dict[str, float]:
        """Candidate less incumbent on one frame, moved from [-1, 1] to [0, 1]."""
        ours, theirs = self.of(incumbent), self.of(candidate)
        seen = {name: (theirs[name] - ours[name] + 1) / 2 for name in theirs if name in ours}
        if incumbent.detections is not None and candidate.detections is not None:
            seen[AGREEMENT] = agreement(incumbent.detections, candidate.detections)
        return seen


@frozen(kw_only=True)
class Tally:
    """Numbers from 0 to 1, boiled down; tallies add.

    Attributes:
        n: how many.
        total: their sum.
        spread: sum of squared distances, each to a guess of the mean made before the number
            was seen (the running mean): the variance process of an empirical Bernstein bound.
    """

    n: int = 0
    total: float = 0.0
    spread: float = 0.0

    @property
    def mean(self) -> float:
        """Plain mean; nan without numbers."""
        return self.total / self.n if self.n else math.nan

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            n=self.n + other.n, total=self.total + other.total, spread=self.spread + other.spread
        )

    def times(self, factor: float) -> Tally:
        """As it would be with so many times the numbers, all like these."""
        return Tally(
            n=round(self.n * factor), total=self.total * factor, spread=self.spread * factor
        )


@define
class Running:
    """A tally in the making, on top of one that is known already."""

    known: Tally
    n: int = 0
    total: float = 0.0
    spread: float = 0.0

    def add(self, value: float) -> None:
        """Count one number; its guess is made of those before it."""
        guess = (0.5 + self.known.total + self.total) / (1 + self.known.n + self.n)
        self.n += 1
        self.total += value
        self.spread += (value - guess) ** 2

    @property
    def tally(self) -> Tally:
        """What came on top."""
        return Tally(n=self.n, total=self.total, spread=self.spread)


@frozen(kw_only=True)
class Counts:
    """Tallies by ``"group/measure"``, where a group is an arm or ``"paired"``; counts add.

    Attributes:
        tallies: by name; a block of frames counts once (see `driftline.retrain.Guard.block`).
        frames: frames by group.
    """

    tallies: Mapping[str, Tally] = field(factory=dict)
    frames: Mapping[str, int] = field(factory=dict)

    def of(self, group: str, measure: str) -> Tally:
        """One tally, empty when there is none."""
        return self.tallies.get(f"{group}/{measure}", Tally())

    def only(self, group: str) -> Counts:
        """Those of one group."""
        return Counts(
            tallies={k: v for k, v in self.tallies.items() if k.startswith(f"{group}/")},
            frames={k: v for k, v in self.frames.items() if k == group},
        )

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            tallies={
                name: self.tallies.get(name, Tally()) + other.tallies.get(name, Tally())
                for name in {**self.tallies, **other.tallies}
            },
            frames={
                name: self.frames.get(name, 0) + other.frames.get(name, 0)
                for name in {**self.frames, **other.frames}
            },
        )

    def times(self, factor: float) -> Counts:
        """As they would be with so many times the frames, all like these."""
        return Counts(
            tallies={name: tally.times(factor) for name, tally in self.tallies.items()},
            frames={name: round(n * factor) for name, n in self.frames.items()},
        )

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "tallies": {name: [t.n, t.total, t.spread] for name, t in self.tallies.items()},
            "frames": dict(self.frames),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Mapping[str, list[float]]]) -> Counts:
        """What `to_json` wrote."""
        return cls(
            tallies={
                name: Tally(n=int(n), total=total, spread=spread)
                for name, (n, total, spread) in value["tallies"].items()
            },
            frames={name: int(str(n)) for name, n in value["frames"].items()},
        )


@define
class Block:
    """The frames of one key in one stretch of time, averaged as they come.

    Frames of one camera that follow each other show the same scene: they are one observation,
    not sixty.
    """

    end: float
    frames: int = 0
    sums: dict[str, list[float]] = field(factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """One more frame."""
        self.frames += 1
        for name, value in values.items():
            cell = self.sums.setdefault(name, [0.0, 0.0])
            cell[0] += 1
            cell[1] += value

    def means(self) -> Iterator[tuple[str, float]]:
        """Mean of each measure."""
        return ((name, total / n) for name, (n, total) in self.sums.items())


@define
class Recorder:
    """Gathers what one worker sees until it is handed in.

    Attributes:
        known: the counts of all workers when this one asked last.
        block_seconds: length of a block, 0 when each frame counts alone.
    """

    known: Counts
    block_seconds: float
    _open: dict[tuple[str, str, int], Block] = field(factory=dict)
    _running: dict[str, Running] = field(factory=dict)
    _frames: dict[str, int] = field(factory=dict)

    def add(self, group: str, key: str, values: Mapping[str, float], *, at: float) -> None:
        """Count one frame.

        Args:
            group: arm, or ``"paired"``.
            key: whose frame it is; those of one key and block are one observation.
            values: its measures.
            at: when, seconds of any clock that all calls share.
        """
        self._frames[group] = self._frames.get(group, 0) + 1
        if not self.block_seconds:
            self._count(group, values.items())
            return
        number = math.floor(at / self.block_seconds)
        place = (group, key, number)
        block = self._open.get(place)
        if block is None:
            block = self._open[place] = Block(end=(number + 1) * self.block_seconds)
        block.add(values)

    def _count(self, group: str, values: Iterable[tuple[str, float]]) -> None:
        for measure, value in values:
            name = f"{group}/{measure}"
            running = self._running.get(name)
            if running is None:
                running = self._running[name] = Running(self.known.of(group, measure))
            running.add(value)

    def close_blocks(self, before: float) -> None:
        """Count the blocks that end by then; `math.inf` for all."""
        done = [place for place, block in self._open.items() if block.end <= before]
        for place in done:
            self._count(place[0], self._open.pop(place).means())

    def take(self) -> Counts:
        """What was gathered; it is the taker's from now on. Open blocks stay."""
        counts = Counts(
            tallies={name: running.tally for name, running in self._running.items()},
            frames=self._frames,
        )
        self._running, self._frames = {}, {}
        return counts


def agreement(one: Detections, other: Detections) -> float:
    """Share of the boxes of two answers that both have: 2 * common / (n + m), 1 without any.

    Boxes are common when they are of one class and overlap by IoU >= 0.5; each counts once, the
    best overlap first.

    >>> both = Detections(xyxy=[[0, 0, 9, 9]], confidence=[0.9], class_id=[0], image_size=(9, 9))
    >>> none = Detections(xyxy=[], confidence=[], class_id=[], image_size=(9, 9))
    >>> agreement(both, both), agreement(both, none)
    (1.0, 0.0)
    """
    if not len(one) or not len(other):
        return float(len(one) == len(other))
    overlaps = _overlaps(one.xyxy, other.xyxy)
    overlaps[one.class_id[:, None] != other.class_id] = 0.0
    common = 0
    while overlaps.size and overlaps.max() >= SAME_BOX_IOU:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row, :] = 0.0
        overlaps[:, column] = 0.0
        common += 1
    return 2 * common / (len(one) + len(other))


def _overlaps(one: FloatArray, other: FloatArray) -> FloatArray:
    """``(n, m)`` intersection over union."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = (one[:, 2:] - one[:, :2]).prod(axis=1)[:, None] + (other[:, 2:] - other[:, :2]).prod(
        axis=1
    )
    union = areas - common
    shares: FloatArray = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares
