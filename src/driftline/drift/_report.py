"""What a comparison of a week with the reference found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import asdict, evolve, field, fields_dict, frozen

from driftline._checks import numbers, part, parts, refuse_kinds
from driftline._clock import as_utc
from driftline._draw import Shown, View, plot
from driftline.drift import _views
from driftline.drift._cell import Cell, Curve
from driftline.errors import InputError, UnreadableData
from driftline.records import Metric, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict: TypeAlias = Literal["calm", "watch", "drift", "too little data"]
"""What a report concludes: nothing, this week alone, confirmed over weeks, or that it cannot say."""
Method: TypeAlias = Literal[
    "block", "ks", "deff", "wasserstein", "psi", "jensen_shannon", "chi_square"
]
"""How two weeks are compared: "block" permutes whole days and is the default, "ks" is the plain rule."""

SCHEMA = "driftline.drift_report/1"
"""Name and version of the JSON form."""
_KEY: Final = "a feature, or a tuple of feature, camera and class"
CONFIRMED_OF = 3
"""Weeks that are looked at for a confirmation."""
CONFIRMED_BY = 2
"""Flagged weeks among them that make drift confirmed."""


def as_strings(value: Iterable[str]) -> tuple[str, ...]:
    """Any number of names as a tuple."""
    return tuple(value)


def _bools(value: Iterable[bool]) -> tuple[bool, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Memory:
    """What the guard of later weeks needs of this one: its days, in the reference's terms.

    Attributes:
        days: ``(n_days,)`` ISO dates.
        cameras: names of the cameras, in the order of the second axis; the last entry of that
            axis is all of them together.
        means: feature → ``[day][camera][summary]``: how far the day lay from the reference,
            as differences of cumulative shares; nan where the camera had nothing.
    """

    days: tuple[str, ...] = field(default=(), converter=as_strings)
    cameras: tuple[str, ...] = field(default=(), converter=as_strings)
    means: Mapping[str, Sequence[Sequence[Sequence[float]]]] = field(factory=dict)


@frozen(kw_only=True, repr=False)
class DriftReport(Shown):
    """One week against the reference: cells, and a verdict that says what they amount to.

    Attributes:
        start: start of the first period of the week, UTC; None when nothing was observed.
        end: end of its last period, UTC.
        method: the test, as in `DriftDetector`.
        alpha: family-wise level of the week.
        cells: what was found, most important first: flagged cells by evidence, then the tested
            ones, then those with too little data.
        n_frames: frames of the week.
        n_boxes: boxes of the week.
        n_reference_frames: frames of the reference.
        n_reference_boxes: boxes of the reference.
        days: ISO dates of the local days of the week with a frame. A period longer than a day,
            which only the plain methods take, stands for its first day.
        empty_days: ISO dates of the days between them without a frame of any camera.
        missing: cameras of the reference without enough data this week.
        silent: those of them that sent no frame at all.
        new_cameras: cameras of the week that the reference has not seen: nothing to compare.
        new_classes: classes of the week that the reference has not seen, by name.
        gone_classes: classes of which the reference has a hundred boxes or more and the week none.
        blind: share of the reference's frames that come from `missing` cameras, [0, 1].
        before: for each earlier week that counts for a confirmation, newest first, whether it
            was flagged; weeks with too little data are left out.
        reference_digest: ``sha256:…`` of the reference the week was compared with.
        memory: day-level means for the guard of later weeks.
        reason: why nothing could be tested; "" when something could.
        look: complete days the look was taken after (`DriftDetector.peek`); 0 for a week that
            was compared once.
    """

    start: datetime | None
    end: datetime | None
    method: Method
    alpha: float
    cells: tuple[Cell, ...]
    n_frames: int = 0
    n_boxes: int = 0
    n_reference_frames: int = 0
    n_reference_boxes: int = 0
    days: tuple[str, ...] = field(default=(), converter=as_strings)
    empty_days: tuple[str, ...] = field(default=(), converter=as_strings)
    missing: tuple[str, ...] = field(default=(), converter=as_strings)
    silent: tuple[str, ...] = field(default=(), converter=as_strings)
    new_cameras: tuple[str, ...] = field(default=(), converter=as_strings)
    new_classes: tuple[str, ...] = field(default=(), converter=as_strings)
    gone_classes: tuple[str, ...] = field(default=(), converter=as_strings)
    blind: float = 0.0
    before: tuple[bool, ...] = field(default=(), converter=_bools)
    reference_digest: str = ""
    memory: Memory = field(factory=Memory, eq=False, repr=False)
    reason: str = ""
    look: int = 0

    BLIND_FROM = 0.10
    """Share of the reference's frames from missing cameras at which calm is no verdict."""

    # The verdict ---------------------------------------------------------------------------

    @property
    def tested(self) -> bool:
        """Whether any cell had enough data."""
        return any(cell.tested for cell in self.cells)

    @property
    def flagged(self) -> bool:
        """Whether this week alone shows a shift worth an alarm; never with too little data."""
        return any(cell.flagged for cell in self.cells)

    @property
    def drifted(self) -> bool | None:
        """Whether drift is confirmed: two of the last three weeks flagged.

        None where that cannot be said yet: too few earlier reports were passed, or this week
        had too little data.
        """
        weeks = ([self.flagged] if self.tested else []) + list(self.before)
        weeks = weeks[:CONFIRMED_OF]
        unknown = CONFIRMED_OF - len(weeks)
        if sum(weeks) >= CONFIRMED_BY:
            return True
        return False if sum(weeks) + unknown < CONFIRMED_BY and self.tested else None

    @property
    def verdict(self) -> Verdict:
        """Confirmed is "drift", this week alone "watch"; else "too little data" or "calm".

        Cameras that together gave at least a tenth of the reference's frames and cannot be
        tested now make the verdict "too little data": half a fleet being well says nothing
        about the dark half.
        """
        if self.tested and self.drifted:
            return "drift"
        if self.flagged:
            return "watch"
        if not self.tested or self.blind >= self.BLIND_FROM:
            return "too little data"
        return "calm"

    # Its cells -----------------------------------------------------------------------------

    def __getitem__(self, key: str | tuple[str | None, ...]) -> Cell:
        """The cell of a feature; of a feature and camera; of a feature, camera and class.

        ``report["area"]`` is all cameras and classes together, ``report["area", "cam-1"]`` one
        camera, ``report["area", None, "car"]`` one class, ``report["area", "cam-1", "car"]``
        one class on one camera.

        Raises:
            InputError: the report has no such cell.
        """
        given = (key,) if isinstance(key, str) else part(key, tuple, name="key", what=_KEY)
        wanted = (*given, None, None)[:3]
        for cell in self.cells:
            if cell.key == wanted:
                return cell
        near = sorted({cell.name for cell in self.cells if cell.feature == wanted[0]})
        known = near or sorted({cell.feature for cell in self.cells})
        msg = f"no cell {key!r} in this report; it has {', '.join(known[:20])}"
        raise InputError(msg)

    def __contains__(self, key: object) -> bool:
        """Whether there is such a cell."""
        given = (key,) if isinstance(key, str) else key
        if not isinstance(given, tuple):
            return False
        return any(cell.key == (*given, None, None)[:3] for cell in self.cells)

    @property
    def flags(self) -> tuple[Cell, ...]:
        """The flagged cells, most important first."""
        return tuple(cell for cell in self.cells if cell.flagged)

    # To look at ------------------------------------------------------------------------------

    def plot(self, ax: Axes | None = None) -> Axes:
        """The most telling cell: reference and week as a pair of histograms, the shift marked.

        Other cells draw themselves: ``report["area", "cam-1"].plot()``.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.leading(self), ax)

    def plot_effects(self, ax: Axes | None = None) -> Axes:
        """How far every tested camera and class moved, with intervals, flagged cells on top.

        Args:
            ax: where to draw; None makes a figure of its own.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return plot(_views.effects(self), ax)

    def _view(self) -> View:
        return _views.view(self)

    # For metrics, stores and people ----------------------------------------------------------

    def to_samples(self, *, deployment: str = "") -> tuple[Sample, ...]:
        """Statistic and p-value of the tested cells, and the verdict of the week as 0 or 1.

        The cells of single classes on single cameras are left out unless flagged: their number
        would swamp a metrics store. What could not be tested gives nothing ("not observed").

        Args:
            deployment: ``"owner/deployment"`` to say in each sample.
        """
        start, end = self.start, self.end
        if start is None or end is None:
            return ()

        def sample(metric: Metric, value: float, labels: Mapping[str, str]) -> Sample:
            return Sample(
                metric=metric,
                value=value,
                at=start,
                width=end - start,
                deployment=deployment,
                labels=labels,
            )

        result: list[Sample] = []
        for cell in self.cells:
            deep = cell.camera is not None and cell.class_name is not None
            if not cell.tested or (deep and not cell.flagged):
                continue
            labels = {
                "feature": cell.feature,
                "camera": cell.camera or "",
                "class": cell.class_name or "",
                "test": self.method,
            }
            numbers_of = {
                Metric.DRIFT_STATISTIC: cell.statistic,
                Metric.DRIFT_P_VALUE: cell.p_value,
            }
            result += [
                sample(metric, value, labels)
                for metric, value in numbers_of.items()
                if math.isfinite(value)
            ]
        if self.tested:
            result.append(sample(Metric.DRIFT_FLAGGED, float(self.flagged), {}))
        if self.drifted is not None:
            result.append(sample(Metric.DRIFT_CONFIRMED, float(self.drifted), {}))
        return tuple(result)

    def to_dict(self) -> dict[str, Any]:
        """The whole report as plain values, ready for JSON: nan becomes None, times ISO 8601 in UTC."""
        plain = {name: getattr(self, name) for name in fields_dict(DriftReport)}
        plain |= {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "start": None if self.start is None else self.start.isoformat(),
            "end": None if self.end is None else self.end.isoformat(),
            "cells": [_lean(asdict(cell)) for cell in self.cells],
            "memory": asdict(self.memory),
        }
        finite: dict[str, Any] = _finite(plain)
        return finite

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> DriftReport:
        """The report that `to_json` wrote.

        Raises:
            InputError: `text` is no text.
            UnreadableData: it is no JSON of a report, or of a version this one does not know.
        """
        part(text, (str, bytes), name="text", what="the JSON of a report")
        try:
            plain: dict[str, Any] = json.loads(text)
            if plain.pop("schema") != SCHEMA:
                msg = f"not a {SCHEMA}: {text[:60]!r}"
                raise UnreadableData(msg)
            plain.pop("verdict")  # follows from the rest
            plain |= {
                "start": _time(plain["start"]),
                "end": _time(plain["end"]),
                "cells": tuple(_cell(cell) for cell in plain["cells"]),
                **{name: _texts(plain[name]) for name in _NAMES},
                "before": parts(plain["before"], bool, name="before", what="true or false"),
                "memory": _memory(plain["memory"]),
            }
            _refuse_strange_days(plain["memory"], plain["start"], plain["end"])
            refuse_kinds(plain, _REPORT)
            return cls(**plain)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            msg = f"not a drift report: {exc}; starts with {text[:60]!r}"
            raise UnreadableData(msg) from exc

    @property
    def when(self) -> str:
        """Start and end of the week in words."""
        if self.start is None or self.end is None:
            return "no time"
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"

    def __repr__(self) -> str:
        """Verdict, time and the strongest cells."""
        top = ", ".join(cell.name for cell in self.flags[:3])
        return (
            f"<DriftReport {self.verdict}: {self.when}, "
            f"{self.n_frames:,} frames, {self.n_boxes:,} boxes"
            f"{f', flagged: {top}' if top else ''}>"
        )

    def __str__(self) -> str:
        """The verdict and what it rests on, a line each."""
        head = (
            f"{self.verdict}: {self.when}, method {self.method}, "
            f"family-wise level {self.alpha:g}, {self.n_frames:,} frames, {self.n_boxes:,} boxes "
            f"against {self.n_reference_frames:,} and {self.n_reference_boxes:,}"
        )
        lines = [head]
        if self.reason:
            lines.append(f"  {self.reason}")
        lines += [f"  {change}" for change in _views.named_changes(self)]
        shown = self.flags or tuple(cell for cell in self.cells if cell.tested)[:3]
        lines += [f"  {cell}" for cell in shown[:12]]
        if len(shown) > 12:  # noqa: PLR2004  a screenful
            lines.append(f"  and {len(shown) - 12} more")
        return "\n".join(lines)

    def without_memory(self) -> DriftReport:
        """The same report without the numbers that only later weeks need."""
        return evolve(self, memory=Memory())


def _lean(plain: dict[str, Any]) -> dict[str, Any]:
    """Without what is at its default."""
    defaults = fields_dict(Cell)
    return {
        name: value
        for name, value in plain.items()
        if not (value == defaults[name].default or (isinstance(value, float) and math.isnan(value)))
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def _time(text: str | None) -> datetime | None:
    return None if text is None else as_utc(datetime.fromisoformat(text), name="a report's time")


_REPORT: Final[Mapping[str, type]] = {
    "method": str,
    "alpha": Real,
    "blind": Real,
    "n_frames": Integral,
    "n_boxes": Integral,
    "n_reference_frames": Integral,
    "n_reference_boxes": Integral,
    "reference_digest": str,
    "reason": str,
    "look": Integral,
}
"""What fields of a report are made of, where a wrong kind would show only later."""
_KIND_OF: Final[Mapping[type, type]] = {str: str, bool: bool, int: Integral, float: Real}
_CELL: Final[Mapping[str, type]] = {
    one.name: _KIND_OF[type(one.default)]
    for one in fields_dict(Cell).values()
    if type(one.default) in _KIND_OF
} | {"feature": str, "camera": str, "class_name": str}


_NAMES: Final = (
    *("days", "empty_days", "missing", "silent"),
    *("new_cameras", "new_classes", "gone_classes"),
)
"""Fields of a report that hold days, or names of cameras or classes."""


def _texts(plain: Iterable[str]) -> tuple[str, ...]:
    return parts(plain, str, name="names", what="text")


def _cell(plain: Mapping[str, Any]) -> Cell:
    fields = {name: value for name, value in plain.items() if value is not None}
    if "curve" in fields:
        curve = Curve(**fields["curve"])
        lengths = {len(numbers(c, "curve")) for c in (curve.at, curve.reference, curve.current)}
        if len(lengths) > 1 or len(_texts(curve.names)) not in (0, *lengths):
            msg = f"a curve of {plain['feature']!r} has columns of several lengths"
            raise UnreadableData(msg)
        fields["curve"] = curve
    refuse_kinds(fields, _CELL)
    return Cell(**fields)


def _memory(plain: Mapping[str, Any]) -> Memory:
    days = [date.fromisoformat(day).isoformat() for day in plain["days"]]
    for feature, table in plain["means"].items():
        if len(numbers(table, f"means of {feature!r}")) != len(days):
            msg = f"the means of {feature!r} are not of {len(days)} days"
            raise UnreadableData(msg)
    means = {
        feature: [[[math.nan if x is None else x for x in unit] for unit in day] for day in days]
        for feature, days in plain["means"].items()
    }
    return Memory(days=days, cameras=_texts(plain["cameras"]), means=means)


def _refuse_strange_days(memory: Memory, start: datetime | None, end: datetime | None) -> None:
    """Raise unless the days are those of the week; local ones may lie a day outside of it."""
    of_week = range(0)
    if start is not None and end is not None:
        of_week = range(start.toordinal() - 1, end.toordinal() + 2)
    if strange := [d for d in memory.days if date.fromisoformat(d).toordinal() not in of_week]:
        msg = f"its memory has a day, {strange[0]}, that is not of its week, {start} to {end}"
        raise UnreadableData(msg)
