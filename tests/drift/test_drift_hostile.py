"""What no comparison can be made of is refused by name; damaged reports are told."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftline.drift import DriftDetector, DriftReport, ks_2samp
from driftline.errors import InputError, UnreadableData
from driftline.profiles import Profile

MONDAY = datetime(2026, 8, 3, tzinfo=UTC)
NAIVE = datetime(2026, 9, 6)


def days(start, n, seed):
    """n days of two cameras, a hundred frames of two boxes each."""
    rng = np.random.default_rng(seed)
    frames = 200 * n
    corner = rng.uniform(0, 50, (2 * frames, 2))
    return Profile.from_arrays(
        xyxy=np.hstack([corner, corner + rng.uniform(5, 40, (2 * frames, 2))]),
        confidence=rng.uniform(0.1, 1, 2 * frames),
        class_id=rng.integers(0, 2, 2 * frames),
        frame=np.repeat(np.arange(frames), 2),
        image_size=(100, 100),
        camera=[("a", "b")[place % 2] for place in range(frames)],
        at=[start + timedelta(days=place // 200, minutes=place % 200) for place in range(frames)],
    )


REFERENCE = days(MONDAY, 28, 1)
WEEK, NEXT = days(MONDAY + timedelta(28), 7, 2), days(MONDAY + timedelta(35), 7, 3)


@pytest.fixture(scope="module")
def detector():
    """As quick as it can be."""
    return DriftDetector(reference=REFERENCE, permutations=100)


@pytest.fixture(scope="module")
def report(detector):
    """A week, with its memory and curves."""
    return detector.compare(WEEK)


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": "1 %"},
        {"permutations": 2**63},
        {"permutations": 150.5},
        {"threshold": float("nan")},
        {"threshold": "high"},
        {"threshold": -0.1},
        {"seed": -1},
        {"seed": "one"},
        {"part_of_day": 6},
        {"part_of_day": timedelta(0)},
        {"features": ()},
        {"features": 3},
        {"features": [["area"]]},
        {"ignore": 3},
        {"method": np.zeros(2)},
        {"reference": 3},
    ],
    ids=repr,
)
def test_wrong_settings(settings):
    """Refused at birth, by the name of the argument."""
    with pytest.raises(InputError, match=next(iter(settings))):
        DriftDetector(**({"reference": REFERENCE} | settings))


def test_one_name_is_a_name():
    """Not the letters it is made of."""
    assert ("area",) == DriftDetector(reference=REFERENCE, features="area").features
    assert ("model",) == DriftDetector(reference=REFERENCE, ignore="model").ignore


@pytest.mark.parametrize("previous", [3, ["calm"], [None]])
def test_earlier_weeks_are_reports(previous, detector):
    """Neither verdicts nor nothing."""
    with pytest.raises(InputError, match="previous"):
        detector.compare(NEXT, previous=previous)


def test_until_is_an_aware_time(detector):
    """A naive one could mean any hour."""
    for until in (NAIVE, "today"):
        with pytest.raises(InputError, match="until"):
            detector.peek(NEXT, until=until)


@pytest.mark.parametrize("key", [3, None, np.zeros(2)])
def test_a_cell_is_found_by_names(key, report):
    """Whatever else is asked for is not there."""
    with pytest.raises(InputError):
        report[key]

    assert key not in report


@pytest.mark.parametrize("values", [[1, 10**400], "abc", [[1, 2], [3]], None])
def test_raw_values_are_numbers(values):
    """On either side."""
    for both in ((values, [1.0]), ([1.0], values)):
        with pytest.raises(InputError, match="side"):
            ks_2samp(*both)


@pytest.mark.parametrize("text", [None, 3, object()])
def test_a_report_is_read_from_text(text):
    """Not from what it was decoded to."""
    with pytest.raises(InputError, match="text"):
        DriftReport.from_json(text)


ODD = [None, True, -1, 10**400, 1.5, "x", "\ud800", [], [1], ["a"], [None], {}, {"a": 1}]


@pytest.mark.parametrize("part", ["", "cells", "memory", "curve"])
def test_damaged_reports(part, detector, report):
    """Whatever stands for a field: unreadable, or the report prints and serves the next week."""
    plain = json.loads(report.to_json())
    cell = next(cell for cell in plain["cells"] if "curve" in cell)
    wholes = {
        "": (plain, lambda change: plain | change),
        "cells": (cell, lambda change: plain | {"cells": [cell | change]}),
        "memory": (plain["memory"], lambda c: plain | {"memory": plain["memory"] | c}),
        "curve": (
            cell["curve"],
            lambda c: plain | {"cells": [cell | {"curve": cell["curve"] | c}]},
        ),
    }
    fields, changed = wholes[part]
    readable = 0
    for name in fields:
        for odd in ODD:
            try:
                read = DriftReport.from_json(json.dumps(changed({name: odd})))
            except UnreadableData:
                continue
            readable += 1
            str(read)
            read.to_samples()
            read._repr_html_()
            if part == "memory":
                detector.compare(NEXT, previous=[read])

    assert readable < len(fields) * len(ODD)


def test_a_deep_report():
    """Brackets without end are no report."""
    with pytest.raises(UnreadableData, match="not a drift report"):
        DriftReport.from_json("[" * 200_000)
