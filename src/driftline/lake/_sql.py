"""The text of the query: one pass over the boxes, one over the frames, no arithmetic that differs.

What every engine computes alike to the last bit (IEEE sums, products, quotients, floor) is done
there. A logarithm is not such: a box whose size lies within `NEAR` of an edge of its bin is not
binned there but handed out, and counted by the code that `ProfileBuilder` counts with.
"""

# ruff: noqa: S608  this file writes SQL; what it puts in is the caller's own, or numbers of ours

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from driftline.lake._columns import LogColumns
from driftline.lake._dialects import Spelling
from driftline.profiles._features import (
    AREA,
    ASPECT,
    CENTER_X,
    CENTER_Y,
    CONFIDENCE,
    FRAME_CONFIDENCE,
    HEIGHT,
    SMALLEST_SIDE_PX,
    UNITS,
    WIDTH,
    Feature,
)
from driftline.profiles._judge import CLASSES, LARGEST_PX

NEAR = 1e-6
"""Share of a bin: far wider than the error of any engine's logarithm; a box in 500,000 is in it."""
CLOSE = -1
"""Bin of a value that is too near to an edge for an engine to tell."""
BOXES, FRAMES, PER_FRAME, MEAN = 0, 100, 101, 102
"""Numbers of what is counted beside the box features, which follow `BOXES` in their order."""

LOGARITHMS: Mapping[str, str] = {
    WIDTH.name: "log_w",
    HEIGHT.name: "log_h",
    AREA.name: "log_w + log_h",
    ASPECT.name: "log_w - log_h + log_frame",
}
PLAIN: Mapping[str, str] = {
    CONFIDENCE.name: "conf",
    CENTER_X.name: "(xa + xb) * ({half} / w)",
    CENTER_Y.name: "(ya + yb) * ({half} / h)",
}


@frozen(kw_only=True)
class Text:
    """Writes the query in one engine's words.

    Attributes:
        words: the engine's.
        columns: where the table holds what.
        table: its name, or a subquery in parentheses.
        features: box features to count.
        anchor: microseconds from 1970 to the start of a period.
        period: length of a period, microseconds.
    """

    words: Spelling
    columns: LogColumns
    table: str
    features: Sequence[Feature]
    anchor: int
    period: int

    def counts(self) -> str:
        """One row a count: cam, period, cls, k (what), bin, n."""
        return f"""SELECT cam, period, cls, k, bin, COUNT(*) AS n
FROM ({self._binned()}) AS binned GROUP BY cam, period, cls, k, bin
UNION ALL
SELECT cam, period, 0 AS cls, k, bin, COUNT(*) AS n
FROM ({self._frame_bins()}) AS frame_bins GROUP BY cam, period, k, bin"""

    def close_calls(self) -> str:
        """One row a box that `counts` gave the bin `CLOSE`: its block, k, the box and how often."""
        box = "cam, period, cls, k, xa, ya, xb, yb, w, h"
        return f"""SELECT {box}, COUNT(*) AS n
FROM ({self._binned()}) AS binned WHERE bin = {CLOSE} GROUP BY {box}"""

    def contexts(self) -> str:
        """Every setting the log was made under."""
        return f"SELECT DISTINCT {self.columns.context} AS context FROM {self.table} AS detections"

    def _judged(self) -> str:
        """The log in our names, doubles and pixels; what is wrong with each box and frame."""
        c = self.columns
        across, down = (
            (f" * {self.double(c.width)}", f" * {self.double(c.height)}")
            if c.normalized
            else ("", "")
        )
        zero, most = self.double(0.0), self.double(LARGEST_PX)
        area = f"w > {zero} AND w <= {most} AND h > {zero} AND h <= {most}{self.no_nan('w', 'h')}"
        anchor, period = self.double(float(self.anchor)), self.double(float(self.period))
        return f"""
SELECT cam, taken, fid, cls, conf, xa, ya, xb, yb, w, h,
{self.whole(f"(taken - {anchor}) / {period}")} AS period,
CASE WHEN {area} THEN 1 ELSE 0 END AS good,
CASE WHEN conf IS NULL THEN {CLOSE}
WHEN conf >= {zero} AND conf <= {self.double(1.0)}{self.no_nan("conf")} THEN
CASE WHEN -{most} <= xa AND xa <= xb AND xb <= {most}
AND -{most} <= ya AND ya <= yb AND yb <= {most}{self.no_nan("xa", "ya", "xb", "yb")} THEN
CASE WHEN xb >= {zero} AND yb >= {zero} AND xa <= w AND ya <= h AND {area} THEN
CASE WHEN cls >= 0 AND cls < {CLASSES}{self.no_nan(self.double("cls"))} THEN 0 ELSE 4 END
ELSE 3 END ELSE 2 END ELSE 1 END AS fault
FROM (
SELECT {c.camera} AS cam, {self.double(self.words.micros.format(c.timestamp))} AS taken,
{c.frame_id} AS fid, {c.class_id} AS cls, {self.double(c.confidence)} AS conf,
{self.double(c.x1)}{across} AS xa, {self.double(c.y1)}{down} AS ya,
{self.double(c.x2)}{across} AS xb, {self.double(c.y2)}{down} AS yb,
{self.double(c.width)} AS w, {self.double(c.height)} AS h
FROM {self.table} AS detections{self.words.fence}) AS named{self.words.fence}"""

    def _scaled(self) -> str:
        """The boxes; each feature of the countable ones in bins, not yet cut (`_position`)."""
        least = self.double(SMALLEST_SIDE_PX)
        width, height = self.greatest("xb - xa", least), self.greatest("yb - ya", least)
        half = self.double(0.5)
        positions = "".join(
            f",\nCASE WHEN fault = 0 THEN {self._position(feature, _value(feature, half))} END AS f{k}"
            for k, feature in self._numbered
        )
        return f"""
SELECT cam, period, CASE WHEN fault = 0 THEN cls ELSE 0 END AS cls, fault,
xa, ya, xb, yb, w, h{positions}
FROM (
SELECT cam, period, cls, fault, conf, xa, ya, xb, yb, w, h,
CASE WHEN fault = 0 THEN {self.log2(f"{width} / w")} END AS log_w,
CASE WHEN fault = 0 THEN {self.log2(f"{height} / h")} END AS log_h,
CASE WHEN fault = 0 THEN {self.log2("w / h")} END AS log_frame
FROM ({self._judged()}) AS judged WHERE fault >= 0{self.words.fence}) AS sized{self.words.fence}"""

    def _binned(self) -> str:
        """A row a box and feature, so that one pass over the log counts them all."""
        bins = "".join(f"\nWHEN {k} THEN {self._cut(f, f'f{k}')}" for k, f in self._numbered)
        kinds = [BOXES, *(k for k, _ in self._numbered)]
        return f"""
SELECT cam, period, cls, k, xa, ya, xb, yb, w, h, CASE k WHEN {BOXES} THEN fault{bins} END AS bin
FROM ({self._scaled()}) AS scaled CROSS JOIN ({_numbers(kinds)}) AS kinds
WHERE k = {BOXES} OR fault = 0"""

    def _frame_bins(self) -> str:
        """A row a frame and what is counted of it."""
        units = f"FLOOR(conf * {self.double(UNITS)})"
        mean = f"units / {self.double(UNITS)} / {self.double('boxes')}"
        position = self._position(FRAME_CONFIDENCE, mean)
        return f"""
SELECT cam, period, k, CASE k WHEN {FRAMES} THEN 1 - good WHEN {PER_FRAME} THEN boxes
ELSE {self._cut(FRAME_CONFIDENCE, position)} END AS bin
FROM (
SELECT cam, period, MIN(good) AS good, SUM(CASE WHEN fault = 0 THEN 1 ELSE 0 END) AS boxes,
SUM(CASE WHEN fault = 0 THEN {units} ELSE {self.double(0.0)} END) AS units
FROM ({self._judged()}) AS judged GROUP BY cam, period, taken, fid) AS framed
CROSS JOIN ({_numbers((FRAMES, PER_FRAME, MEAN))}) AS kinds
WHERE k = {FRAMES} OR (good = 1 AND (k = {PER_FRAME} OR boxes > 0))"""

    @property
    def _numbered(self) -> list[tuple[int, Feature]]:
        return list(enumerate(self.features, start=BOXES + 1))

    def _position(self, feature: Feature, value: str) -> str:
        """Where a value lies among the bins, by the sums and products of `Feature.bin_numbers`."""
        assert feature.affine is not None
        per_unit, first_edge = feature.affine
        scaled = f"({value}) * {self.double(per_unit)} + {self.double(1.0 - first_edge * per_unit)}"
        above = self.greatest(scaled, self.double(0.5))
        return f"{self.words.least}({above}, {self.double(feature.n_bins - 0.5)})"

    def _cut(self, feature: Feature, position: str) -> str:
        """The bin of a position, or `CLOSE`."""
        bin_number = self.whole(position)
        if feature.name not in LOGARITHMS:
            return bin_number
        off = f"ABS({position} - FLOOR({position} + {self.double(0.5)}))"
        return f"CASE WHEN {off} < {self.double(NEAR)} THEN {CLOSE} ELSE {bin_number} END"

    def double(self, value: float | str) -> str:
        """A double: of an expression, or a constant to the last bit.

        Engines read decimals as they please; quotients of whole numbers by powers of two are exact.
        """
        if isinstance(value, str):
            return f"CAST({value} AS {self.words.double})"
        numerator, denominator = value.as_integer_ratio()
        power = denominator.bit_length() - 1
        parts = [2 ** (power // 2), 2 ** (power - power // 2)] if power else []
        return f"({' / '.join(self.double(str(n)) for n in (numerator, *parts))})"

    def no_nan(self, *doubles: str) -> str:
        """And none of them is nan; nothing where the comparisons before it have found that out."""
        if not self.words.nan:
            return ""
        return "".join(f" AND NOT {self.words.nan.format(double)}" for double in doubles)

    def whole(self, text: str) -> str:
        """The whole number below a double."""
        return f"CAST(FLOOR({text}) AS {self.words.bigint})"

    def greatest(self, a: str, b: str) -> str:
        """The larger of two."""
        return f"{self.words.greatest}({a}, {b})"

    def log2(self, text: str) -> str:
        """The logarithm to base 2, within a few units in the last place."""
        return f"LN({text}) / LN({self.double(2.0)})"


def _value(feature: Feature, half: str) -> str:
    return LOGARITHMS.get(feature.name) or PLAIN[feature.name].format(half=half)


def _numbers(numbers: Sequence[int]) -> str:
    return " UNION ALL ".join(f"SELECT {number} AS k" for number in numbers)
