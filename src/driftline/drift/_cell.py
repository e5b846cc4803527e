"""One cell of a drift report: a feature, of one camera or all, of one class or all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import field, frozen

from driftline._draw import Shown, View, plot
from driftline.drift import _views
from driftline.errors import TooLittleData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Direction: TypeAlias = Literal["", "lower", "higher", "wider", "narrower", "fewer", "more"]
"""Where the values of a cell moved, as `Cell.direction` says it; "" where nothing differs."""


def _floats(value: Iterable[float]) -> tuple[float, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Curve:
    """The two distributions of a cell at its thresholds, for drawing.

    Attributes:
        at: thresholds in the feature's unit; class indexes for the class mix.
        reference: share of the reference at or below each; of each class for the class mix.
        current: the same of the week.
        names: names of the classes for the class mix, else empty.
    """

    at: tuple[float, ...] = field(converter=_floats)
    reference: tuple[float, ...] = field(converter=_floats)
    current: tuple[float, ...] = field(converter=_floats)
    names: tuple[str, ...] = field(default=(), converter=tuple[str, ...])


def _unless_nan(value: float) -> float | None:
    """What a number is compared by: two unknowns are alike."""
    return None if math.isnan(value) else value


def _number() -> float:
    return field(default=math.nan, eq=_unless_nan)


@frozen(kw_only=True, repr=False)
class Cell(Shown):
    """What was found for one feature, camera and class.

    A cell with too little data has nan where a number would be, and `reason` says why.

    Attributes:
        feature: name of the feature.
        camera: name of the camera; None for all cameras together.
        class_name: name of the class; None for all classes together.
        statistic: the method's distance: for ``"block"`` and ``"deff"`` the largest difference
            of the two distributions, [0, 1]; for ``"ks"`` the plain one; else the method's own.
        statistic_error: how far the statistic of the raw values can lie from it because values
            of one bin count alike; nan for ``"block"`` and ``"deff"``, which look at thresholds.
        p_value: p-value adjusted for all cells of the report, [0, 1]; nan where the method
            compares with a threshold and has none.
        p_unadjusted: p-value of this cell alone.
        effect: D, the largest difference of the two distribution functions (the class shares),
            cameras and hours standardised, [0, 1].
        effect_low: lower end of a 95 % interval for D, simultaneous over the thresholds.
        effect_high: upper end of it.
        direction: "lower" and "higher": the values moved; "wider" and "narrower": both tails
            did; "fewer" and "more": the share of the class at `at`; "": no difference.
        at: threshold where the evidence is strongest, in `unit`; for the class mix the class's
            index.
        unit: unit of `at`.
        wasserstein_sd: mean shift of the values (first Wasserstein distance) in standard
            deviations of the reference; nan for the class mix.
        ks_statistic: plain pooled KS distance at the bins of the profile, [0, 1].
        ks_high: largest the plain KS distance of the raw values can be, given these counts;
            `ks_statistic` is the smallest.
        ks_p_value: p-value of the plain test, which takes boxes as independent (chi-square for
            the class mix): shown beside, judged only by ``method="ks"``.
        n_boxes: boxes of the week (all boxes of the camera or class).
        n_frames: frames of the week.
        n_blocks: days of the week with data.
        n_effective: independent boxes (frames) the week's are worth, by Rao and Scott's design
            effect with days as clusters.
        n_reference_boxes: boxes of the reference.
        n_reference_frames: frames of the reference.
        n_reference_blocks: days of the reference with data.
        n_reference_effective: as `n_effective`, of the reference.
        phi: factor by which the variance between weeks exceeds that of days, at least 1: the
            statistic was divided by its root.
        flagged: whether the cell is significant and its effect is worth an alarm.
        reason: why there is no test; "" where there is one.
        curve: the two distributions; None in cells that are neither flagged nor of all cameras.
    """

    feature: str
    camera: str | None = None
    class_name: str | None = None
    statistic: float = _number()
    statistic_error: float = _number()
    p_value: float = _number()
    p_unadjusted: float = _number()
    effect: float = _number()
    effect_low: float = _number()
    effect_high: float = _number()
    direction: Direction = ""
    at: float = _number()
    unit: str = ""
    wasserstein_sd: float = _number()
    ks_statistic: float = _number()
    ks_high: float = _number()
    ks_p_value: float = _number()
    n_boxes: int = 0
    n_frames: int = 0
    n_blocks: int = 0
    n_effective: float = _number()
    n_reference_boxes: int = 0
    n_reference_frames: int = 0
    n_reference_blocks: int = 0
    n_reference_effective: float = _number()
    phi: float = 1.0
    flagged: bool = False
    reason: str = ""
    curve: Curve | None = None

    @property
    def tested(self) -> bool:
        """Whether there was enough data for a test."""
        return not self.reason

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """Feature, camera and class: how a report finds the cell."""
        return (self.feature, self.camera, self.class_name)

    @property
    def name(self) -> str:
        """The cell in words: ``"area of car on cam-1"``."""
        of_class = f" of {self.class_name}" if self.class_name is not None else ""
        on_camera = f" on {self.camera}" if self.camera is not None else ""
        return f"{self.feature}{of_class}{on_camera}"

    def __str__(self) -> str:
        """The finding in one line."""
        if not self.tested:
            return f"{self.name}: too little data, {self.reason}"
        interval = (
            f" ({self.effect_low:.3f} to {self.effect_high:.3f})"
            if math.isfinite(self.effect_low)
            else ""
        )
        p_value = f", p={self.p_value:.2g}" if math.isfinite(self.p_value) else ""
        moved = f" {self.direction} {self._where}" if self.direction else ""
        return (
            f"{self.name}:{moved} D={self.effect:.3f}{interval}{p_value}, {self.n_blocks} days, "
            f"{self.n_frames:,} frames, {self.n_boxes:,} boxes"
            f"{' FLAGGED' if self.flagged else ''}"
        )

    @property
    def _where(self) -> str:
        """The threshold in words; for the class mix the class."""
        if self.curve is not None and self.at in self.curve.at and self.curve.names:
            return self.curve.names[self.curve.at.index(self.at)]
        return f"around {_views.read(self, self.at)}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """The reference and the week as a pair of histograms, titled with what moved.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            TooLittleData: the cell keeps no curve, or all its values are alike.
            MissingExtra: matplotlib is not installed.
        """
        picture = _views.pair(self)
        if picture is None:
            msg = (
                f"{self.name} has no curve to draw: cells of all cameras and flagged ones keep one, "
                "where values differ"
            )
            raise TooLittleData(msg)
        return plot(picture, ax)

    def _view(self) -> View:
        return _views.view_of_cell(self)
