"""Did the number move, and which class, camera or size moved it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from driftline._draw import Shown, View, plot
from driftline._stats.average_precision import ApMethod
from driftline._stats.bootstrap import generator, half_samples
from driftline._stats.intervals import Estimate, bias_corrected, normal_cdf
from driftline._stats.multiplicity import holm
from driftline.errors import InputError
from driftline.holdout import _views
from driftline.holdout._matching import AREA_RANGES
from driftline.holdout._scores import AP_BIAS_ORDER, AT_50, Score, cluster_keys, mean_where_known
from driftline.holdout._settings import WHICH_MODEL
from driftline.holdout._table import MatchTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from driftline.holdout._evaluation import Evaluation  # which offers `compare` as a method

__all__ = ["Change", "Comparison", "ComparisonVerdict", "Pairing"]

FloatArray = npt.NDArray[np.float64]

Pairing = Literal["paired", "partly paired", "unpaired"]
"""Whether the two evaluations are of the same frames: all, some or none."""
ComparisonVerdict = Literal["better", "worse", "no difference shown", "too little data"]
"""What a comparison concludes of the first evaluation."""

ALPHA = 0.05
_HALF: float = 2.0**AP_BIAS_ORDER - 1.0


@frozen(kw_only=True)
class Change:
    """How the score of one part differs between two evaluations.

    Attributes:
        name: name of the part.
        difference: average precision (IoU 0.50 to 0.95) of the first less that of the other.
        p_value: two-sided p-value against "no difference"; None where it is unknown.
        adjusted_p_value: the same, adjusted for the number of parts looked at (Holm 1979).
        contribution: classes: the part of the difference in mAP that this class makes; they
            add up to it when both evaluations score the same classes. Else None.
        n_truth: labelled objects, of the first and of the other.
    """

    name: str
    difference: Estimate
    p_value: float | None = None
    adjusted_p_value: float | None = None
    contribution: float | None = None
    n_truth: tuple[int, int] = (0, 0)

    @property
    def moved(self) -> bool:
        """Whether it differs, at 5 % for all parts of its kind together."""
        return self.adjusted_p_value is not None and self.adjusted_p_value < ALPHA

    def __str__(self) -> str:
        """Name, difference and adjusted p-value."""
        told = "" if self.adjusted_p_value is None else f", adjusted p={self.adjusted_p_value:.2g}"
        return f"{self.name}: {self.difference}{told}"


@frozen(kw_only=True, repr=False)
class Comparison(Shown):
    """One evaluation held against another; every difference is the first less the other.

    Attributes:
        difference: difference in mAP@0.5:0.95.
        difference50: difference in mAP@0.5.
        probability: how surely the first is better: the share of a normal law around the
            bias-corrected difference that lies above 0, 0 to 1; None: unknown.
        pairing: "paired": the same frames, so that their difficulty cancels; "unpaired":
            different frames; "partly paired": some are the same.
        n_shared: frames that are in both.
        per_class: name of the class → change.
        per_size: name of the size → change.
        per_tag: tag → value of the tag → change.
        notes: what to know before the numbers are trusted.
    """

    difference: Estimate
    difference50: Estimate
    probability: float | None
    pairing: Pairing
    n_shared: int
    per_class: Mapping[str, Change]
    per_size: Mapping[str, Change]
    per_tag: Mapping[str, Mapping[str, Change]]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> ComparisonVerdict:
        """Whether the interval of the difference excludes 0, and on which side."""
        interval = self.difference.interval
        if interval is None:
            return "too little data"
        if interval.low > 0:
            return "better"
        return "worse" if interval.high < 0 else "no difference shown"

    @property
    def moved(self) -> tuple[Change, ...]:
        """The classes, sizes and tags that differ after correction, largest difference first."""
        kinds = [self.per_class, self.per_size, *self.per_tag.values()]
        found = [change for kind in kinds for change in kind.values() if change.moved]
        return tuple(sorted(found, key=lambda change: -abs(change.difference.value or 0.0)))

    def __str__(self) -> str:
        """The difference, what moved, and what to know."""
        lines = [f"mAP@0.5:0.95 {self.verdict}: {self.difference} ({self.pairing})"]
        lines += [f"  {change}" for change in self.moved]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Differences of classes, sizes and tags with intervals, those that moved in colour.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.comparison(self), ax)

    def _view(self) -> View:
        return _views.view_of_comparison(self)


@frozen(kw_only=True, eq=False)
class _Draws:
    """Average precision of every part of one evaluation on every resample, ``(replicates,)`` each."""

    whole: FloatArray
    at_50: FloatArray
    per_class: Mapping[str, FloatArray]
    per_size: Mapping[str, FloatArray]
    per_tag: Mapping[str, Mapping[str, FloatArray]]

    @classmethod
    def of_table(cls, evaluation: Evaluation, table: MatchTable, weights: FloatArray) -> _Draws:
        """Draws of matched detections under the given weights."""
        method = evaluation.settings.ap or "coco101"
        draws = table.replicates(weights, method=method)
        sizes = {
            size.name: mean_where_known(table.replicates(weights, method=method, size=index))
            for index, size in enumerate(AREA_RANGES)
            if size.name in evaluation.per_size
        }
        tags = {
            tag: {value: _of_tag(table, weights, tag, value, method) for value in parts}
            for tag, parts in evaluation.per_tag.items()
        }
        return cls(
            whole=mean_where_known(draws),
            at_50=mean_where_known(draws[:, :, [AT_50]]),
            per_class={
                name: mean_where_known(draws[:, [index]])
                for index, name in enumerate(evaluation.per_class)
            },
            per_size=sizes,
            per_tag=tags,
        )

    @classmethod
    def of_summary(cls, evaluation: Evaluation, normals: FloatArray) -> _Draws:
        """Draws of a normal law, from the standard errors and biases that were kept."""

        def of(estimate: Estimate) -> FloatArray:
            if estimate.value is None or estimate.standard_error is None:
                return np.full(len(normals), np.nan)
            shift = (estimate.bias or 0.0) * _HALF  # as half-samples have it
            return estimate.value + shift + estimate.standard_error * normals

        def each(scores: Mapping[str, Score]) -> dict[str, FloatArray]:
            return {name: of(one.estimate) for name, one in scores.items()}

        return cls(
            whole=of(evaluation.overall.estimate),
            at_50=of(evaluation.overall.estimate50),
            per_class=each(evaluation.per_class),
            per_size=each(evaluation.per_size),
            per_tag={tag: each(scores) for tag, scores in evaluation.per_tag.items()},
        )


def _of_tag(
    table: MatchTable, weights: FloatArray, tag: str, value: str, method: ApMethod
) -> FloatArray:
    chosen = np.array([i for i, tags in enumerate(table.tags) if tags.get(tag) == value])
    return mean_where_known(table.part(chosen).replicates(weights[:, chosen], method=method))


def compare(
    first: Evaluation,
    other: Evaluation,
    *,
    replicates: int = 1000,
    rng: np.random.Generator | int = 0,
    allow: Collection[str] = (),
) -> Comparison:
    """Hold one evaluation against another.

    The frames that are in both (same name, same labels) are drawn together in each resample, so
    that what is hard in them cancels: for a candidate against the deployed model on the same 500
    images the standard error is about half as large. The other frames are drawn independently.

    Args:
        first: the evaluation of interest, such as the candidate's.
        other: what it is held against, such as the deployed model's.
        replicates: bootstrap resamples.
        rng: seed or generator of the bootstrap.
        allow: names of settings that may differ; the model and its weights always may.

    Raises:
        ContextMismatch: the evaluations were made under different settings.
        InputError: their intervals have different levels.
    """
    first.settings.require_same(other.settings, but={*WHICH_MODEL, *allow})
    if first.level != other.level:
        msg = f"intervals at levels {first.level} and {other.level}; evaluate both at one"
        raise InputError(msg)
    notes = _notes(first, other)
    source = generator(rng)
    if first.table is None or other.table is None:
        notes.append(
            "the detections of one evaluation were not kept: compared as if no frame were in both"
        )
        sides = [_Draws.of_summary(one, _normals(replicates, source)) for one in (first, other)]
        return _comparison(first, other, sides, shared=0, pairing="unpaired", notes=notes)
    tables = (first.table, other.table)
    shared = _shared(*tables)
    drawn = _drawn_together((first, other), tables, shared, replicates=replicates, source=source)
    sides = [
        _Draws.of_table(one, table, counts * table.weights)
        for one, table, counts in zip((first, other), tables, drawn, strict=True)
    ]
    whole = len(shared) == len(tables[0].frames) == len(tables[1].frames)
    pairing: Pairing = "paired" if whole else "partly paired" if shared else "unpaired"
    return _comparison(first, other, sides, shared=len(shared), pairing=pairing, notes=notes)


def _normals(replicates: int, source: np.random.Generator) -> FloatArray:
    """Standard normal numbers whose mean is exactly 0."""
    drawn = source.standard_normal((replicates + 1) // 2)
    return np.concatenate([drawn, -drawn])


def _notes(first: Evaluation, other: Evaluation) -> list[str]:
    unverified = [
        name for name in first.settings.unverified(other.settings) if name not in WHICH_MODEL
    ]
    if not unverified:
        return []
    return [f"recorded by one evaluation only, so not known to be equal: {', '.join(unverified)}"]


def _shared(first: MatchTable, other: MatchTable) -> set[tuple[str, str]]:
    """Frames that are in both: the same name and the same labels."""
    mine = zip(first.frames, first.truth_digests, strict=True)
    theirs = zip(other.frames, other.truth_digests, strict=True)
    if first.named and other.named:
        return set(mine) & set(theirs)
    # Numbers are no names: only whole sets in the same order are known to be the same.
    return set(mine) if first.truth_digests == other.truth_digests else set()


def _drawn_together(
    evaluations: tuple[Evaluation, Evaluation],
    tables: tuple[MatchTable, MatchTable],
    shared: set[tuple[str, str]],
    *,
    replicates: int,
    source: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """How much each frame of both counts, those of a shared unit alike.

    Units of both, of the first alone and of the other alone are strata: each keeps its number.
    """
    keys = [
        _unit_keys(table, one.cluster_by, shared, side)
        for side, (one, table) in enumerate(zip(evaluations, tables, strict=True))
    ]
    names = sorted({*keys[0], *keys[1]})
    place = {name: index for index, name in enumerate(names)}
    mine, theirs = set(keys[0]), set(keys[1])
    strata = np.array([2 * (name in mine) + (name in theirs) for name in names])
    drawn = half_samples(np.arange(len(names)), replicates=replicates, rng=source, strata=strata)
    first, other = (drawn[:, [place[key] for key in side]] for side in keys)
    return first, other


def _unit_keys(
    table: MatchTable, cluster_by: tuple[str, ...], shared: set[tuple[str, str]], side: int
) -> list[str]:
    """Unit of each frame, named alike in both evaluations where it is the same one.

    A cluster is the same where its tags are and frames are shared; a frame where it is shared.
    """
    if cluster_by:
        prefix = "" if shared else f"{side}\x1f"
        return [prefix + key for key in cluster_keys(table, cluster_by)]
    pairs = zip(table.frames, table.truth_digests, strict=True)
    return [name if (name, digest) in shared else f"{side}\x1f{name}" for name, digest in pairs]


def _comparison(
    first: Evaluation,
    other: Evaluation,
    sides: Sequence[_Draws],
    *,
    shared: int,
    pairing: Pairing,
    notes: Sequence[str],
) -> Comparison:
    a, b = sides
    units = min(first.n_units, other.n_units)
    whole = _difference(first.overall.estimate, other.overall.estimate, a.whole, b.whole, units)
    classes = _changes(first.per_class, other.per_class, a.per_class, b.per_class, units)
    scored = sum(change.difference.value is not None for change in classes.values())
    return Comparison(
        difference=whole,
        difference50=_difference(
            first.overall.estimate50, other.overall.estimate50, a.at_50, b.at_50, units
        ),
        probability=_probability(whole),
        pairing=pairing,
        n_shared=shared,
        per_class={
            name: evolve(change, contribution=_share(change.difference.value, scored))
            for name, change in classes.items()
        },
        per_size=_changes(first.per_size, other.per_size, a.per_size, b.per_size, units),
        per_tag={
            tag: _changes(scores, other.per_tag[tag], a.per_tag[tag], b.per_tag[tag], units)
            for tag, scores in first.per_tag.items()
            if tag in other.per_tag
        },
        notes=tuple(notes),
    )


def _share(value: float | None, scored: int) -> float | None:
    return None if value is None else value / scored


def _changes(
    first: Mapping[str, Score],
    other: Mapping[str, Score],
    a: Mapping[str, FloatArray],
    b: Mapping[str, FloatArray],
    units: int,
) -> dict[str, Change]:
    """Changes of the parts that both have, p-values adjusted among them."""
    names = [name for name in first if name in other]
    differences = [
        _difference(first[name].estimate, other[name].estimate, a[name], b[name], units)
        for name in names
    ]
    p_values = [_p_value(difference) for difference in differences]
    adjusted = iter(holm([p for p in p_values if p is not None]).tolist())
    return {
        name: Change(
            name=name,
            difference=difference,
            p_value=p,
            adjusted_p_value=None if p is None else next(adjusted),
            n_truth=(first[name].n_truth, other[name].n_truth),
        )
        for name, difference, p in zip(names, differences, p_values, strict=True)
    }


def _difference(
    first: Estimate, other: Estimate, a: FloatArray, b: FloatArray, units: int
) -> Estimate:
    if first.value is None or other.value is None:
        reason = first.reason if first.value is None else other.reason
        return Estimate(value=None, level=first.level, reason=reason)
    return bias_corrected(
        first.value - other.value,
        a - b,
        level=first.level,
        units=units,
        bias_order=AP_BIAS_ORDER,
        bounds=(-1.0, 1.0),
    )


def _z(difference: Estimate) -> float | None:
    if difference.corrected is None or not difference.standard_error:
        return None
    return difference.corrected / difference.standard_error


def _probability(difference: Estimate) -> float | None:
    z = _z(difference)
    return None if z is None else normal_cdf(z)


def _p_value(difference: Estimate) -> float | None:
    z = _z(difference)
    return None if z is None else 2 * normal_cdf(-abs(z))
