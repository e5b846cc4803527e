"""Frames worth a look, kept while detections are counted: a bounded, seeded, stratified sample.

Every (camera, time) stratum keeps two bottom-k samples. Each frame has two random numbers, made from
the seed and the frame itself, so that the sample depends neither on order nor on threads.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from driftline._checks import numbers, part, parts, refuse_no_time, refuse_number
from driftline._clock import as_duration, as_optional_utc, as_utc
from driftline._fork import begin_anew_after_fork
from driftline.errors import InputError
from driftline.profiles._cells import check_names
from driftline.profiles._choose import apart, descriptors, proportional, spread
from driftline.profiles._columns import batch_of_one_frame
from driftline.profiles._features import DEFAULT_FEATURES, Feature
from driftline.profiles._judge import countable, refuse_foreign, refuse_nameless
from driftline.profiles._periods import MONDAY
from driftline.profiles._profile import Profile
from driftline.records import Detections

Frame: TypeAlias = str | bytes
Source: TypeAlias = Literal["uncertain", "uniform"]
Probability: TypeAlias = Callable[[Detections], npt.ArrayLike]

TOP = 10
"""Boxes of a frame that count towards its score: a plain sum prefers crowds (Lyu et al. 2023)."""
_MICROSECOND = timedelta(microseconds=1)


def uncertainty(
    detections: Detections,
    *,
    class_weights: Mapping[int, float] | None = None,
    probability: Probability | None = None,
) -> float:
    """How unsure the detector is of a frame: 0 for a frame without boxes, at most 50.

    The sum of the ten largest v·u over its boxes, u = -p·log2 p - (1 - p)·log2(1 - p) the entropy in
    bits of "this is a true positive", v the weight of its class (Brust et al. 2019: entropy, summed,
    weighted by class). From logged detections p is all there is: margins and entropies between
    classes need scores that are gone.

    Args:
        detections: of the frame, best logged from a confidence of 0.05 or 0.1 on: a higher
            threshold cuts off what is unsure.
        class_weights: class → v, by default 1 (see `class_weights`).
        probability: p of each box, ``(n,)``, by default its confidence; pass a calibrated one
            where there is one.

    Raises:
        InputError: an argument is of another kind, or there is not one p a box.
    """
    refuse_foreign(detections)
    if class_weights is not None:
        part(class_weights, Mapping, name="class_weights", what="a mapping of classes to weights")
    if probability is not None:
        part(probability, Callable, name="probability", what="a function of Detections")
    if not len(detections):
        return 0.0
    given = detections.confidence if probability is None else probability(detections)
    p = numbers(given, "probability")
    if p.shape != (len(detections),):
        msg = f"probability gave shape {p.shape}, expected ({len(detections)},), one a box"
        raise InputError(msg)
    inside = (p > 0) & (p < 1)  # also leaves out nan
    p = p[inside]
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    if class_weights:
        own = [class_weights.get(k, 1.0) for k in detections.class_id[inside].tolist()]
        bits *= numbers(own, "class_weights")
    if len(bits) > TOP:
        bits = np.partition(bits, len(bits) - TOP)[-TOP:]
    return float(bits.sum())


def class_weights(profile: Profile) -> dict[int, float]:
    """Class → v = min(5, sqrt(median boxes of a class / its boxes)): rare classes weigh more."""
    part(profile, Profile, name="profile", what="a Profile")
    boxes = profile.counts("class").sum(axis=(0, 1))
    middle = float(np.median(boxes)) if len(boxes) else 0.0
    return {
        int(class_id): min(5.0, math.sqrt(middle / n))
        for class_id, n in zip(profile.class_ids, boxes.tolist(), strict=True)
    }


class DriftedCell(Protocol):
    """What is read of a cell of a drift report."""

    @property
    def feature(self) -> str:
        """Name of the feature."""
        ...

    @property
    def camera(self) -> str | None:
        """Name of the camera; None: all together."""
        ...

    @property
    def class_name(self) -> str | None:
        """Name of the class; None: all together."""
        ...

    @property
    def direction(self) -> str:
        """Where the values went: "lower", "higher", "fewer", "more" or something else."""
        ...

    @property
    def at(self) -> float:
        """The threshold of the strongest evidence; for the class mix the class's index."""
        ...

    @property
    def flagged(self) -> bool:
        """Whether it drifted."""
        ...


class Drift(Protocol):
    """What is read of a drift report (`driftline.drift.DriftReport`)."""

    @property
    def cells(self) -> Sequence[DriftedCell]:
        """What was found."""
        ...

    @property
    def start(self) -> datetime | None:
        """Start of the week; None where nothing was observed."""
        ...

    @property
    def end(self) -> datetime | None:
        """End of the week; None where nothing was observed."""
        ...


@frozen(kw_only=True)
class Region:
    """Detections of some camera, class and range of a feature: what a drift report points at.

    Attributes:
        camera: name; None: all.
        class_id: index; None: all.
        class_name: name, by the frame's own detections; None: all.
        feature: name of the feature `low` and `high` belong to; None: all values.
        low: least value, in the feature's unit.
        high: values are below it.
    """

    camera: str | None = None
    class_id: int | None = None
    class_name: str | None = None
    feature: str | None = None
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def of_drift(cls, drift: Drift) -> list[Region]:
        """Where the drifted frames of a report are: one region for each of its flagged cells."""
        return [cls.of(cell) for cell in drift.cells if cell.flagged]

    @classmethod
    def of(cls, cell: DriftedCell) -> Region:
        """Where the drifted frames of a cell are.

        Values that went lower are below the threshold, those that went higher above it. A class
        that became rarer is looked for in all frames of the camera: it is there, and not found.
        """
        if cell.feature == "class":
            more = cell.direction == "more" and math.isfinite(cell.at)
            return cls(camera=cell.camera, class_id=int(cell.at) if more else None)
        return cls(
            camera=cell.camera,
            class_name=cell.class_name,
            feature=cell.feature,
            low=cell.at if cell.direction == "higher" else -math.inf,
            high=cell.at if cell.direction == "lower" else math.inf,
        )


@frozen(kw_only=True, eq=False)
class SampledFrame:
    """One frame that was kept.

    Attributes:
        frame: what the caller gave for it: an id, or the bytes of the image.
        camera: where it comes from.
        at: when it was taken, UTC.
        detections: what was found in it.
        score: its `uncertainty`, bits.
        source: the sample it was kept for.
        inclusion_probability: P(it is in this sample), (0, 1]: weigh its labels by the inverse.
            None where it was chosen by rank, which has no such probability: never evaluate on it.
    """

    frame: Frame = field(
        repr=lambda frame: repr(frame) if isinstance(frame, str) else f"<{len(frame)} bytes>"
    )
    camera: str
    at: datetime
    detections: Detections
    score: float
    source: Source
    inclusion_probability: float | None

    @property
    def key(self) -> tuple[str, datetime, Frame]:
        """What tells it from every other frame: camera, time and the frame itself."""
        return self.camera, self.at, self.frame


class _Bottom:
    """The k frames of the smallest ranks, and the smallest rank that did not stay."""

    __slots__ = ("heap", "k", "threshold")

    def __init__(self, k: int) -> None:
        self.k = k
        self.heap: list[tuple[float, int, SampledFrame]] = []
        self.threshold = math.inf

    def wants(self, rank: float) -> bool:
        """Whether a rank stays for now; one that does not moves the threshold."""
        if len(self.heap) < self.k or (self.heap and rank < -self.heap[0][0]):
            return rank < math.inf
        self.threshold = min(self.threshold, rank)
        return False

    def put(self, rank: float, frame: SampledFrame) -> None:
        """Keep a frame, and let go the one of the largest rank where there are too many."""
        heapq.heappush(self.heap, (-rank, id(frame), frame))
        if len(self.heap) > self.k:
            gone, _, _ = heapq.heappop(self.heap)
            self.threshold = min(self.threshold, -gone)

    def frames(self) -> list[SampledFrame]:
        """By rank, smallest first."""
        return [frame for _, _, frame in sorted(self.heap, key=lambda entry: -entry[0])]


class _Stratum:
    __slots__ = ("offered", "samples")

    def __init__(self, uncertain: int, uniform: int) -> None:
        self.offered = 0
        self.samples = (_Bottom(uncertain), _Bottom(uniform))


class FrameReservoir:
    """A bounded sample of frames, by camera and time: the unsure ones, and some at random.

    `driftline.retrain.Selection` makes a labelling queue of it.

    Give it to a `ProfileBuilder`, and a frame to each `ProfileBuilder.observe`. It keeps at most
    cameras x `keep` x (`uncertain` + `uniform`) frames. It is safe to share between threads.

    Args:
        uncertain: frames kept of each stratum with a chance that grows with `uncertainty`
            (weighted sampling without replacement, Efraimidis & Spirakis 2006).
        uniform: frames kept of each stratum with equal chance, for the holdout and the recent
            set: only these tell how good the model is.
        per: length of a stratum; 6 hours keep night and day apart.
        keep: newest strata kept of each camera; older frames are let go.
        seed: same seed and same frames, same sample.
        class_weights: as in `uncertainty`.
        probability: as in `uncertainty`.
        features: where the feature of a `Region` is looked up.
    """

    def __init__(
        self,
        *,
        uncertain: int = 50,
        uniform: int = 20,
        per: timedelta = timedelta(days=1),
        keep: int = 14,
        seed: int = 0,
        class_weights: Mapping[int, float] | None = None,
        probability: Probability | None = None,
        features: Sequence[Feature] = DEFAULT_FEATURES,
    ) -> None:
        """Store and check."""
        refuse_number("uncertain", uncertain, "at least 0", least=0, whole=True)
        refuse_number("uniform", uniform, "at least 0", least=0, whole=True)
        refuse_number("keep", keep, "at least 1", least=1, whole=True)
        refuse_no_time("per", per)
        what = "a whole number of at most 127 bits"
        refuse_number("seed", seed, what, above=-(2**127), below=2**127, whole=True)
        if probability is not None:
            part(probability, Callable, name="probability", what="a function of Detections")
        self._sizes = (uncertain, uniform)
        self._per, self._keep = per, keep
        self._key = int(seed).to_bytes(16, "little", signed=True)
        self._class_weights = _weights(class_weights)
        self._probability = probability
        self._features = check_names(features)
        self._begin_anew()
        begin_anew_after_fork(self)

    def _begin_anew(self) -> None:
        """Nothing sampled: at birth, and in a forked process, whose parent keeps what it has."""
        self._lock = threading.Lock()
        self._cameras: dict[str, dict[int, _Stratum]] = {}

    def offer(
        self,
        detections: Detections,
        *,
        camera: str,
        at: datetime,
        frame: Frame | Callable[[], Frame],
    ) -> bool:
        """Offer one frame; the answer is whether it is kept, for now.

        Args:
            detections: what was found in it.
            camera: where it comes from.
            at: when it was taken, aware.
            frame: its id, its bytes, or a function that gives one of them: it is called only when
                the frame is kept, so that nothing is encoded in vain.

        Raises:
            InputError: `detections` is something else, `camera` is no name, `at` is naive, or
                `frame` is neither text nor bytes.
        """
        at = as_utc(at, name="at")
        refuse_nameless(camera)
        score = uncertainty(
            detections, class_weights=self._class_weights, probability=self._probability
        )
        first, second = self._randoms(detections, camera, at, frame)
        ranks = (-math.log(first) / score if score > 0 else math.inf, second)
        with self._lock:
            stratum = self._stratum(camera, (at - MONDAY) // self._per)
            if stratum is None:
                return False
            stratum.offered += 1
            wanted = [i for i, sample in enumerate(stratum.samples) if sample.wants(ranks[i])]
        if not wanted:
            return False
        kept = SampledFrame(
            frame=_checked(frame() if callable(frame) else frame),
            camera=camera,
            at=at,
            detections=_copied(detections),
            score=score,
            source="uncertain",
            inclusion_probability=None,
        )
        with self._lock:
            for i in wanted:
                stratum.samples[i].put(ranks[i], kept)
        return True

    def uncertain(
        self,
        *,
        regions: Collection[Region] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> tuple[SampledFrame, ...]:
        """All that was kept for being unsure, highest score first.

        The inclusion probability is 1 - exp(-score·t), t the smallest rank of the stratum that
        did not stay (rank conditioning for bottom-k samples, Cohen & Kaplan 2007).

        Args:
            regions: frames in any of them only; none: all.
            start: frames from this time on, aware.
            end: frames before this time, aware.

        Raises:
            InputError: a time is naive, or as in `within`.
        """
        with self._lock:
            found = [
                evolve(frame, inclusion_probability=_weighted(frame.score, sample.threshold))
                for _, stratum in self._all()
                for sample in (stratum.samples[0],)
                for frame in sample.frames()
            ]
        found = within(found, regions=regions, start=start, end=end, features=self._features)
        return tuple(sorted(found, key=lambda f: (-f.score, f.camera, f.at)))

    def uniform(
        self,
        budget: int | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> tuple[SampledFrame, ...]:
        """Frames of equal chance within each stratum, the strata in proportion to their traffic.

        The inclusion probability is frames taken over frames offered, of the stratum. Strata are
        taken whole: one that begins in [start, end) is in.

        Args:
            budget: how many at most; None: all that were kept.
            start: strata that begin at this time or later, aware.
            end: strata that begin before this time, aware.
        """
        if budget is not None:
            refuse_number("budget", budget, "at least 0, or None", least=0, whole=True)
        start, end = as_optional_utc(start, name="start"), as_optional_utc(end, name="end")
        with self._lock:
            strata = [
                (stratum.offered, stratum.samples[1].frames())
                for number, stratum in self._all()
                if (start is None or MONDAY + number * self._per >= start)
                and (end is None or MONDAY + number * self._per < end)
            ]
        kept = [len(frames) for _, frames in strata]
        taken = kept if budget is None else proportional([n for n, _ in strata], kept, budget)
        return tuple(
            evolve(frame, source="uniform", inclusion_probability=n / offered)
            for n, (offered, frames) in zip(taken, strata, strict=True)
            for frame in frames[:n]
        )

    def _randoms(
        self, detections: Detections, camera: str, at: datetime, frame: object
    ) -> tuple[float, float]:
        """Two numbers in (0, 1) that belong to this frame under this seed."""
        name = (
            frame.encode(errors="surrogatepass")
            if isinstance(frame, str)
            else detections.confidence.tobytes()
        )
        moment = (at - MONDAY) // _MICROSECOND
        said = b"%d:%b:%b" % (moment, camera.encode(), name)
        digest = hashlib.blake2b(said, digest_size=16, key=self._key).digest()
        first, second = (int.from_bytes(part, "little") for part in (digest[:8], digest[8:]))
        return (first + 0.5) / _TWO_64, (second + 0.5) / _TWO_64

    def _stratum(self, camera: str, number: int) -> _Stratum | None:
        """The stratum, new or known; None when it is older than those that are kept."""
        strata = self._cameras.setdefault(camera, {})
        stratum = strata.get(number)
        if stratum is not None:
            return stratum
        if len(strata) >= self._keep:
            oldest = min(strata)
            if number < oldest:
                return None
            del strata[oldest]
        strata[number] = _Stratum(*self._sizes)
        return strata[number]

    def _all(self) -> Iterator[tuple[int, _Stratum]]:
        """The strata, by camera and time."""
        for camera in sorted(self._cameras):
            yield from sorted(self._cameras[camera].items(), key=lambda item: item[0])

    def __len__(self) -> int:
        """Number of frames kept; one that is in both samples counts twice."""
        with self._lock:
            return sum(len(sample.heap) for _, stratum in self._all() for sample in stratum.samples)

    def __repr__(self) -> str:
        """How many frames of how many cameras are kept."""
        return f"<FrameReservoir: {len(self)} frames of {len(self._cameras)} cameras>"


_TWO_64 = 2.0**64


def _copied(detections: Detections) -> Detections:
    """The boxes that can be counted, in arrays of their own: the caller may go on to change its."""
    fine = countable(detections)
    return evolve(
        detections,
        xyxy=detections.xyxy[fine],
        confidence=detections.confidence[fine],
        class_id=detections.class_id[fine],
    )


def _checked(frame: Frame) -> Frame:
    return part(frame, (str, bytes), name="frame", what="an id, or the bytes of the image")


def _weights(given: Mapping[int, float] | None) -> dict[int, float]:
    weights: Mapping[int, float] = {} if given is None else given
    part(weights, Mapping, name="class_weights", what="a mapping of classes to weights")
    for class_id, weight in weights.items():
        refuse_number(f"class_weights[{class_id!r}]", weight, "at least 0", least=0, below=math.inf)
    return dict(weights)


def _weighted(score: float, threshold: float) -> float:
    return 1.0 if math.isinf(threshold) else -math.expm1(-score * threshold)


def within(
    frames: Iterable[SampledFrame],
    *,
    regions: Collection[Region] = (),
    start: datetime | None = None,
    end: datetime | None = None,
    features: Sequence[Feature] = DEFAULT_FEATURES,
) -> list[SampledFrame]:
    """The frames of a time, [start, end), that have something of any of the regions.

    Raises:
        InputError: a region is of a feature without a formula, or a time is naive.
    """
    start, end = as_optional_utc(start, name="start"), as_optional_utc(end, name="end")
    of_name = {feature.name: feature for feature in check_names(features)}
    wanted = parts(regions, Region, name="regions", what="a Region")
    return [
        frame
        for frame in parts(frames, SampledFrame, name="frames", what="a SampledFrame")
        if (start is None or frame.at >= start)
        and (end is None or frame.at < end)
        and (not wanted or any(_in(frame, region, of_name) for region in wanted))
    ]


def _in(frame: SampledFrame, region: Region, features: Mapping[str, Feature]) -> bool:
    """Whether the frame has something of the region."""
    if region.camera not in (None, frame.camera):
        return False
    found = frame.detections
    of_class = np.ones(len(found), dtype=bool)
    if region.class_id is not None:
        of_class &= found.class_id == region.class_id
    if region.class_name is not None:
        names = [found.class_names.get(k, str(k)) for k in found.class_id.tolist()]
        of_class &= np.array([name == region.class_name for name in names], dtype=bool)
    if region.feature in (None, "class"):
        any_class = region.class_id is None and region.class_name is None
        return any_class or bool(of_class.any())
    feature = features.get(region.feature or "")
    if feature is None or feature.compute is None:
        msg = f"no formula of the feature {region.feature!r}; pass it in features=[…]"
        raise InputError(msg)
    values = np.asarray(feature.compute(batch_of_one_frame(found)), dtype=np.float64)
    inside = (values >= region.low) & (values < region.high)
    return bool(inside.any() if feature.level == "frame" else (inside & of_class).any())


def queue(frames: Sequence[SampledFrame], n: int, *, gap: timedelta) -> list[SampledFrame]:
    """N of some frames, by rank: apart in time and by camera and day, then unlike one another.

    The first is the first of the frames, and each next one the least like those before it.
    They have no inclusion probability: they were chosen by what they look like.

    Args:
        frames: what to choose from, best first.
        n: how many.
        gap: least time between two of a camera.

    Raises:
        InputError: an argument is of another kind.
    """
    refuse_number("n", n, "a whole number", whole=True)
    as_duration(gap, name="gap")
    frames = parts(frames, SampledFrame, name="frames", what="a SampledFrame")
    if n <= 0 or not frames:
        return []
    places = [(f.camera, f.at) for f in frames]
    days = len({(camera, at.date()) for camera, at in places})
    pool = apart(places, limit=4 * n, gap=gap, quota=2 * -(-n // days))
    if len(pool) < n:
        pool = apart(places, limit=n, gap=gap, quota=None)
    kept = [evolve(frames[i], inclusion_probability=None) for i in pool]
    return [kept[i] for i in spread(descriptors([f.detections for f in kept]), n)]
