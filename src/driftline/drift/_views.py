"""What there is to see of a drift report and its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from driftline._draw import Axis, Picture, Role, Table, Tone, View
from driftline._draw._pictures import Row, mix, ranked, shift
from driftline.drift._days import DAYS_OF_WEEK

if TYPE_CHECKING:
    from driftline.drift._cell import Cell, Curve
    from driftline.drift._report import DriftReport

TONES: Final[Mapping[str, Tone]] = {
    "calm": "good",
    "watch": "warn",
    "drift": "bad",
    "too little data": "unknown",
}
_LOG2: Final = "log2 of "
_PER_CENT: Final = "\N{NO-BREAK SPACE}%"
_MEANING: Final[Mapping[Role, str]] = {"bad": "flagged", "reference": "not flagged"}
_CONCLUSION: Final[Mapping[str, str]] = {
    "calm": "No shift worth an alarm",
    "watch": "A shift this week, not confirmed yet",
    "drift": "Drift is confirmed: two of the last three weeks are flagged",
    "too little data": "Too little data for a verdict",
}


def headline(report: DriftReport) -> str:
    """The verdict in one sentence."""
    said = _CONCLUSION[report.verdict]
    return f"{said}: {report.reason}" if report.reason else said


def named_changes(report: DriftReport) -> list[str]:
    """What has a name and needs no test: an odd week, cameras and classes that came or went."""
    spanned = len(report.days) + len(report.empty_days)
    # A look at a week that is not over, or a period of a week, is no odd week.
    odd = report.method == "block" and not report.look and spanned not in (0, DAYS_OF_WEEK)
    changes = {
        f"not a week of seven days but {spanned}": report.days[:1] if odd else (),
        "no frame of any camera on": report.empty_days,
        "no frame this week": report.silent,
        "too little data this week": [c for c in report.missing if c not in report.silent],
        "not in the reference": report.new_cameras,
        "classes not in the reference": report.new_classes,
        "classes not found this week": report.gone_classes,
    }
    return [f"{change}: {', '.join(names)}" for change, names in changes.items() if names]


def told(cell: Cell) -> str:
    """What a cell concludes, in words that need no statistics."""
    name = _named(cell)
    name = name[:1].upper() + name[1:]
    if not cell.tested:
        return f"{name}: too little data, {cell.reason}"
    moved = f"is {cell.direction}" if cell.flagged and cell.direction else "holds"
    if cell.curve is None or not cell.curve.at:
        return f"{name} {moved}"
    place = _widest(cell.curve)
    before, now = cell.curve.reference[place], cell.curve.current[place]
    if cell.feature == "class":
        way = "holds" if not cell.flagged else "moved"
        return f"{name} {way}: {_class(cell.curve, place)} is {_share(now)} of boxes, before {_share(before)}"
    side = "below"
    if cell.direction == "higher":
        side, before, now = "above", 1 - before, 1 - now
    return f"{name} {moved}: {_share(now)} lie {side} {_threshold(cell, place)}, before {_share(before)}"


def numbers(cell: Cell) -> str:
    """The numbers that a cell's conclusion rests on."""
    if not cell.tested:
        return ""
    ends = f" ({cell.effect_low:.2f} to {cell.effect_high:.2f})" if cell.effect_low >= 0 else ""
    p = f", p = {cell.p_value:.2g}" if math.isfinite(cell.p_value) else ""
    return (
        f"largest difference D = {cell.effect:.2f}{ends}{p}; {cell.n_blocks} days, "
        f"{cell.n_frames:,} frames, {cell.n_boxes:,} boxes"
    )


def pair(cell: Cell) -> Picture | None:
    """The two distributions of a cell; None where it keeps no curve."""
    curve = cell.curve
    if curve is None or not curve.at:
        return None
    if cell.feature == "class":
        return mix(
            title=told(cell),
            detail=numbers(cell),
            names=[_class(curve, place) for place in range(len(curve.at))],
            reference=curve.reference,
            current=curve.current,
        )
    log, place = cell.unit.startswith(_LOG2), _widest(curve)
    label = cell.unit.removeprefix(_LOG2) or cell.feature
    return shift(
        title=told(cell),
        detail=numbers(cell),
        axis=Axis(
            label=label.removeprefix("the box's "),
            scale="log" if log else "linear",
            percent="share of" in label,
        ),
        at=np.exp2(curve.at) if log else curve.at,
        reference=curve.reference,
        current=curve.current,
        marked=_value(cell, curve.at[place]),
        mark=_threshold(cell, place),
    )


def leading(report: DriftReport) -> Picture:
    """The two distributions of the first cell that keeps them: cells come by importance."""
    pairs = (pair(cell) for cell in report.cells if cell.tested)
    return next((picture for picture in pairs if picture is not None), effects(report))


def effects(report: DriftReport) -> Picture:
    """The effects of cameras and classes, flagged cells first, then the largest."""
    tested = [cell for cell in report.cells if cell.tested]
    order = sorted(tested, key=lambda cell: (not cell.flagged, -cell.effect))
    rows = [
        Row(
            name=_named(cell),
            value=cell.effect,
            low=cell.effect_low,
            high=cell.effect_high,
            role="bad" if cell.flagged else "reference",
        )
        for cell in order
    ]
    n, flagged = len(rows), len(report.flags)
    counted = f"{flagged} of {n} cells are flagged" if flagged else f"none of {n} cells is flagged"
    by_others = report.verdict == "drift" and not report.flagged
    told = f"{counted} this week, the two before it were" if by_others else counted
    return ranked(
        title=f"{report.verdict.capitalize()}: {told}" if rows else headline(report),
        axis=Axis(label="D, largest difference of the shares, 0 to 1", low=0.0),
        rows=rows,
        labels=_MEANING,
    )


def view(report: DriftReport) -> View:
    """The report for a notebook."""
    pictures = [leading(report), effects(report)] if report.tested else []
    facts = [
        ("week", report.when),
        ("data", _counted(report.n_frames, report.n_boxes)),
        ("reference", _counted(report.n_reference_frames, report.n_reference_boxes)),
        ("test", f"{report.method}, family-wise level {report.alpha:g}"),
    ]
    return View(
        kind="drift report",
        verdict=report.verdict,
        tone=TONES[report.verdict],
        headline=headline(report),
        facts=facts,
        pictures=pictures,
        tables=[_table(report)],
        notes=named_changes(report),
    )


def view_of_cell(cell: Cell) -> View:
    """A cell for a notebook."""
    picture = pair(cell)
    words: tuple[str, Tone] = ("flagged", "bad") if cell.flagged else ("not flagged", "good")
    return View(
        kind=f"drift of {cell.name}",
        verdict=words[0] if cell.tested else "too little data",
        tone=words[1] if cell.tested else "unknown",
        headline="" if picture else told(cell),
        pictures=[picture] if picture else [],
        lines=[] if picture else [numbers(cell)],
    )


def _table(report: DriftReport) -> Table:
    rows = [
        (
            cell.feature,
            cell.camera or "all",
            cell.class_name or "all",
            cell.direction or "-",
            f"{cell.effect:.3f}",
            f"{cell.p_value:.2g}" if math.isfinite(cell.p_value) else "-",
            f"{cell.n_boxes:,}",
        )
        for cell in report.flags[:12]
    ]
    more = len(report.flags) - len(rows)
    caption = f"flagged cells{f', {more} more not shown' if more else ''}"
    head = ("feature", "camera", "class", "moved", "D", "p", "boxes")
    return Table(head=head, rows=rows, caption=caption)


def _counted(frames: int, boxes: int) -> str:
    return f"{frames:,} frames, {boxes:,} boxes"


def _named(cell: Cell) -> str:
    name = cell.name.replace("_", " ")
    if cell.feature == "class":
        return name.replace("class", "class mix", 1)
    return name


def _class(curve: Curve, place: int) -> str:
    return curve.names[place] if curve.names else f"class {curve.at[place]:g}"


def _widest(curve: Curve) -> int:
    """Where the two distributions lie furthest apart."""
    return int(np.abs(np.subtract(curve.current, curve.reference)).argmax())


def _value(cell: Cell, at: float) -> float:
    return 2.0**at if cell.unit.startswith(_LOG2) else at


def _threshold(cell: Cell, place: int) -> str:
    assert cell.curve is not None
    return read(cell, cell.curve.at[place]).replace(" %", _PER_CENT)


def read(cell: Cell, at: float) -> str:
    """A threshold as people read it: not its logarithm, and shares of the frame in per cent."""
    value = _value(cell, at)
    return f"{100 * value:.2g} %" if "share of" in cell.unit else f"{value:.3g}"


def _share(share: float) -> str:
    digits = 0 if share >= 0.01 else 1  # noqa: PLR2004  one per cent
    return f"{100 * share:.{digits}f}{_PER_CENT}"
