"""Samples that callers pass: kept until every rule has judged them, in the store.

A window is judged when it is whole, and its samples may come in several runs; a run may be
repeated with the samples of the last one. So what is not judged yet is remembered, and what is
older than that is old news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import numpy as np
from attrs import define, field

from driftline.monitor._run import Problem
from driftline.monitor._subjects import Subject
from driftline.records import Change, Document, Put, Remove, Sample, Series
from driftline.rules._time import as_times, micros, span

KEEP: Final = 20_000
"""Samples of one series that are kept at most; a rule that judges never lets them pile up."""


@define
class _Column:
    """One series as it is kept: time (microseconds) → value, and up to when it was forwarded."""

    width: int = 0
    values: dict[int, float] = field(factory=dict)
    forwarded: int = -1


@define
class Intake:
    """What callers passed and is not judged yet, by subject and metric."""

    space: str
    columns: dict[Subject, dict[str, _Column]] = field(factory=dict)
    stored: dict[Subject, Mapping[str, Any]] = field(factory=dict)

    @classmethod
    def load(cls, space: str, documents: Iterable[Document]) -> Intake:
        """As the last run left it."""
        intake = cls(space=space)
        for document in documents:
            subject = Subject.from_text(document.key)
            intake.stored[subject] = document.value
            intake.columns[subject] = {
                metric: _Column(
                    width=kept["w"],
                    values=dict(zip(kept["t"], kept["v"], strict=True)),
                    forwarded=kept["f"],
                )
                for metric, kept in document.value.items()
            }
        return intake

    def add(self, samples: Iterable[Sample]) -> tuple[list[Sample], list[Problem]]:
        """Take samples in; answer those that were not forwarded yet, and what is wrong."""
        fresh: list[Sample] = []
        problems: dict[tuple[Subject, str], Problem] = {}
        before: dict[int, int] = {}
        for sample in samples:
            subject = Subject.of(sample.deployment, sample.labels)
            metric = str(sample.metric)
            column = self.columns.setdefault(subject, {}).setdefault(metric, _Column())
            width, at = span(sample.width), micros(sample.at)
            if column.values and column.width != width:
                problems[subject, metric] = _mixed(subject, metric, column.width, width)
                continue
            known = before.setdefault(id(column), column.forwarded)
            if at > known:
                fresh.append(sample)
            column.width = width
            column.values[at] = sample.value
            column.forwarded = max(column.forwarded, at)
        return fresh, list(problems.values())

    def series(self) -> dict[Subject, dict[str, Series]]:
        """Everything that is kept, as series."""
        return {
            subject: {
                metric: _series(subject, metric, column)
                for metric, column in columns.items()
                if column.values
            }
            for subject, columns in self.columns.items()
        }

    def forget(self, subject: Subject, metric: str, before: int) -> None:
        """Drop what begins before a time: every rule has judged it."""
        column = self.columns.get(subject, {}).get(metric)
        if column is not None:
            kept = sorted(at for at in column.values if at >= before)[-KEEP:]
            column.values = {at: column.values[at] for at in kept}

    def changes(self) -> list[Change]:
        """What to write."""
        changes: list[Change] = []
        for subject, columns in self.columns.items():
            value = {
                metric: {
                    "w": column.width,
                    "t": list(column.values),
                    "v": list(column.values.values()),
                    "f": column.forwarded,
                }
                for metric, column in columns.items()
            }
            if not value:
                changes.append(Remove(space=self.space, key=subject.text))
            elif value != self.stored.get(subject):
                changes.append(Put(space=self.space, key=subject.text, value=value))
        return changes


def _series(subject: Subject, metric: str, column: _Column) -> Series:
    times = np.array(sorted(column.values), dtype=np.int64)
    return Series(
        metric=metric,
        times=as_times(times),
        values=np.array([column.values[at] for at in times.tolist()], dtype=np.float64),
        width=timedelta(microseconds=column.width),
        deployment=subject.deployment,
        labels=dict(subject.labels),
    )


def _mixed(subject: Subject, metric: str, kept: int, came: int) -> Problem:
    return Problem(
        deployment=subject.deployment,
        message=(
            f"samples of {metric} with labels {dict(subject.labels)} cover "
            f"{timedelta(microseconds=kept)} and {timedelta(microseconds=came)}; the latter were left "
            "out: give samples of another width another label"
        ),
    )
