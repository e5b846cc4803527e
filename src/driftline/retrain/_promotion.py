"""Whether a candidate is proven better: on the golden holdout and on recent frames, paired."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from driftline._checks import refuse_number
from driftline._stats.intervals import Estimate, normal_quantile
from driftline.errors import InputError
from driftline.holdout import Change, Comparison

ONE_SIDED = 0.90
"""Level of the two-sided interval whose lower end is the one-sided 95 % bound."""


@frozen(kw_only=True)
class PromotionRule:
    """When a candidate may take the incumbent's place.

    The guide asks for better on the holdout and on recent frames. On a holdout of the old world a
    model that learned the new one can hardly gain, so the default asks for gain on recent frames
    and for no loss, up to a margin, on the golden ones. All bounds are one-sided, 95 %, of the
    difference on the same frames: its standard error is about half of an unpaired one's.

    Attributes:
        golden_margin: mAP@0.5:0.95 that the golden holdout may lose at most, 0 to 1. What can be
            shown depends on the holdout: with 500 frames the paired standard error is about
            0.008, so that 0.01 wants a gain, or a larger holdout.
        class_margin: average precision that no class may lose, on either set, 0 to 1.
        class_objects: labelled objects below which a class need not be proven whole; it is refused
            only where its fall is proven, and `Promotion.reasons` name it.
        strict: the guide's wording: better on both.
        replicates: bootstrap resamples.
    """

    golden_margin: float = 0.01
    class_margin: float = 0.05
    class_objects: int = 50
    strict: bool = False
    replicates: int = 1000

    def __attrs_post_init__(self) -> None:
        """Refuse margins that are none."""
        for name in ("golden_margin", "class_margin"):
            refuse_number(name, getattr(self, name), "a number from 0 to 1", least=0, most=1)
        for name in ("class_objects", "replicates"):
            refuse_number(name, getattr(self, name), "1 or more", least=1, whole=True)

    def judge(self, *, golden: Comparison, recent: Comparison) -> Promotion:
        """Hold the candidate to the rule; each comparison is candidate less incumbent.

        Raises:
            InputError: a comparison is not of the same frames.
        """
        for name, one in (("golden", golden), ("recent", recent)):
            if one.pairing != "paired":
                msg = f"the {name} comparison is {one.pairing}; evaluate both models on the same frames"
                raise InputError(msg)
        least = {"golden": 0.0 if self.strict else -self.golden_margin, "recent": 0.0}
        sets = {"golden": golden, "recent": recent}
        lines = {name: _line(name, one.difference, least[name]) for name, one in sets.items()}
        fails = [
            line
            for name, line in lines.items()
            if not lower_bound(sets[name].difference) > least[name]
        ]
        fails += [
            _line(_class(change, name), change.difference, -self.class_margin, "average precision")
            for name, one in sets.items()
            for change in one.per_class.values()
            if self._judged(change) and not lower_bound(change.difference) > -self.class_margin
        ]
        fails += [
            f"{_class(change, name)}: average precision {change.difference.value:+.3f}, at "
            f"most {upper_bound(change.difference):+.3f} (95 %), below {-self.class_margin:+.3f}"
            for name, one in sets.items()
            for change in self._small(one)
            if upper_bound(change.difference) < -self.class_margin
        ]
        passed = [*lines.values(), *filter(None, map(self._unproven, sets, sets.values()))]
        return Promotion(promote=not fails, reasons=tuple(fails or passed))

    def _small(self, one: Comparison) -> list[Change]:
        return [change for change in one.per_class.values() if not self._judged(change)]

    def _unproven(self, name: str, one: Comparison) -> str:
        few = ", ".join(f"{change.name} ({min(change.n_truth)})" for change in self._small(one))
        return few and f"too few objects of a class on {name} to prove it whole: {few}"

    def _judged(self, change: Change) -> bool:
        return min(change.n_truth) >= self.class_objects


@frozen(kw_only=True)
class Promotion:
    """What the rule concludes.

    Attributes:
        promote: whether the candidate may take the incumbent's place.
        reasons: what it rests on; what is not met where it may not.
    """

    promote: bool
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"promote": self.promote, "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Promotion:
        """What `to_dict` wrote."""
        return cls(promote=values["promote"], reasons=tuple(values["reasons"]))

    def __str__(self) -> str:
        """The verdict and what it rests on."""
        return f"{'promote' if self.promote else 'refuse'}: {'; '.join(self.reasons)}"


def lower_bound(difference: Estimate) -> float:
    """One-sided lower 95 % bound; minus infinity where there is none."""
    if difference.corrected is None or difference.standard_error is None:
        return -math.inf
    return difference.corrected - normal_quantile(ONE_SIDED) * difference.standard_error


def upper_bound(difference: Estimate) -> float:
    """One-sided upper 95 % bound; infinity where there is none."""
    if difference.corrected is None or difference.standard_error is None:
        return math.inf
    return difference.corrected + normal_quantile(ONE_SIDED) * difference.standard_error


def _class(change: Change, name: str) -> str:
    return f"class {change.name} on {name}"


def _line(name: str, difference: Estimate, least: float, measure: str = "mAP") -> str:
    if difference.value is None:
        return f"{name}: unknown ({difference.reason})"
    bound = lower_bound(difference)
    met = "above" if bound > least else "not above"
    return f"{name}: {measure} {difference.value:+.3f}, at least {bound:+.3f} (95 %), {met} {least:+.3f}"
