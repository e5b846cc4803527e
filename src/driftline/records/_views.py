"""What there is to see of the records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from driftline._draw import Axis, Dots, Line, Mark, Picture, Table, Tone, View, days

if TYPE_CHECKING:
    from driftline.records._alerts import Alert
    from driftline.records._detections import Detections
    from driftline.records._samples import Series

_TONES: Final[Mapping[str, Tone]] = {
    "critical": "bad",
    "error": "bad",
    "warning": "warn",
    "info": "unknown",
}
_LINE_FROM: Final = 60
"""Points from which a line alone reads better than points on it."""


def view_of_alert(one: Alert) -> View:
    """An alert for a notebook."""
    firing = one.status.value == "firing"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
    facts: list[tuple[str, object]] = [
        ("deployment", one.deployment or "-"),
        ("expected", one.expected),
        ("since", f"{one.since:%Y-%m-%d %H:%M:%S} UTC"),
        ("evaluated", f"{one.window_start:%Y-%m-%d %H:%M} to {one.window_end:%H:%M} UTC"),
        ("first", one.runbook),
        ("reason", one.reason),
        ("labels", labels),
        *((link.text, link.url) for link in one.links),
    ]
    rows = [(f"{line.at:%H:%M:%S}", line.severity, line.message) for line in one.logs]
    return View(
        kind=f"{'drill of ' if one.test else ''}{one.rule}, {one.status.value}",
        verdict=one.severity.value if firing else one.status.value,
        tone=_TONES[one.severity.value] if firing else "good",
        headline=one.summary,
        facts=[(name, value) for name, value in facts if value],
        tables=[Table(head=("at", "severity", "message"), rows=rows, caption="newest log lines")],
    )


def series(one: Series) -> Picture:
    """The numbers over time; what is still filling is a ring."""
    at = [days(when.replace(tzinfo=UTC)) for when in one.times.astype("datetime64[us]").tolist()]
    values = one.values.tolist()
    n, gaps = len(one.settled), _gaps(one)
    marks: list[Mark] = [
        Line(x=at[start:end], y=values[start:end], role="reference")
        for start, end in pairwise([0, *gaps, len(at)])
    ]
    if n <= _LINE_FROM or gaps:  # a bucket between two gaps is no line
        marks.append(Dots(x=at[:n], y=values[:n], role="reference"))
    if n < len(at):
        marks.append(Dots(x=at[n:], y=values[n:], hollow=True, label="ring: still filling"))
    return Picture(
        title=_series_told(one),
        x=Axis(label="time, UTC", scale="time"),
        y=Axis(label=one.metric),
        marks=marks,
    )


def _gaps(one: Series) -> list[int]:
    """Where a bucket does not follow the one before: nothing was observed in between."""
    if not one.width:
        return []
    apart = np.diff(one.times) > np.timedelta64(one.width, "us")
    return (np.flatnonzero(apart) + 1).tolist()


def _series_told(one: Series) -> str:
    known = one.settled.values
    if not len(known):
        return f"{one.metric}: nothing observed"
    ends = f"between {known.min():.4g} and {known.max():.4g}"
    return f"{one.metric} is {known[-1]:.4g} at the end, {ends}"


def view_of_series(one: Series) -> View:
    """A series for a notebook."""
    labels = ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
    facts = [("deployment", one.deployment), ("labels", labels), ("buckets", str(len(one)))]
    return View(
        kind="series",
        headline="" if len(one) else _series_told(one),
        facts=[(name, value) for name, value in facts if value],
        pictures=[series(one)] if len(one) else [],
    )


def view_of_detections(one: Detections) -> View:
    """The boxes of a frame for a notebook, by class."""
    rows = []
    for k in np.unique(one.class_id).tolist():
        mine = one.confidence[one.class_id == k]
        rows.append(
            (one.class_names.get(k, str(k)), len(mine), f"{mine.min():.3f}", f"{mine.max():.3f}")
        )
    head = ("class", "boxes", "least confidence", "most confidence")
    return View(kind="detections", headline=repr(one)[1:-1], tables=[Table(head=head, rows=rows)])
