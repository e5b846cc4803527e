"""A report: its verdict, its cells, and its way through JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from driftline.drift import Cell, Curve, DriftReport, Memory
from driftline.errors import InputError, UnreadableData
from driftline.profiles import AREA, ASPECT

START = datetime(2026, 2, 2, tzinfo=UTC)


def cell(feature="confidence", *, flagged=False, **fields):
    defaults = {
        "statistic": 0.12,
        "p_value": 0.004,
        "effect": 0.12,
        "effect_low": 0.07,
        "effect_high": 0.18,
        "direction": "lower",
        "at": 0.61,
        "n_boxes": 1000,
        "n_frames": 200,
        "n_blocks": 7,
    }
    return Cell(feature=feature, flagged=flagged, **{**defaults, **fields})


def report(*, flagged=False, tested=True, before=(), **fields):
    one = cell(flagged=flagged) if tested else cell(reason="2 days", p_value=math.nan)
    return DriftReport(
        start=START,
        end=START + timedelta(weeks=1),
        method="block",
        alpha=0.01,
        cells=(one,),
        before=before,
        **fields,
    )


class TestVerdict:
    @pytest.mark.parametrize(
        ("flagged", "before", "drifted", "verdict"),
        [
            (False, [], None, "calm"),
            (True, [], None, "watch"),
            (True, [True], True, "drift"),
            (True, [False], None, "watch"),
            (False, [False], False, "calm"),
            (False, [True], None, "calm"),
            (True, [False, True], True, "drift"),
            (True, [False, False], False, "watch"),
            (False, [True, True], True, "drift"),
            (False, [True, False], False, "calm"),
        ],
    )
    def test_two_of_three(self, flagged, before, drifted, verdict):
        """Two flagged of the last three weeks confirm; None where the unknown weeks decide."""
        found = report(flagged=flagged, before=before)

        assert (found.drifted, found.verdict) == (drifted, verdict)

    @pytest.mark.parametrize("before", [[], [True], [False, True]])
    def test_too_little(self, before):
        """A week that could not be tested is neither calm nor confirmed."""
        found = report(tested=False, before=before)

        assert (found.flagged, found.drifted, found.verdict) == (False, None, "too little data")

    def test_blind(self):
        """A tenth of the frames missing takes the word calm away, but not watch."""
        assert report(blind=0.2).verdict == "too little data"
        assert report(blind=0.05).verdict == "calm"
        assert report(blind=0.2, flagged=True).verdict == "watch"

    @given(st.booleans(), st.lists(st.booleans(), max_size=2), st.booleans())
    def test_more_never_less(self, flagged, before, older):
        """One more known week never turns a known answer into another."""
        known = report(flagged=flagged, before=before).drifted
        more = report(flagged=flagged, before=[*before, older]).drifted

        assert known is None or more == known


class TestCells:
    def test_keys(self):
        """A cell is found by feature, camera and class."""
        cells = [cell(), cell(camera="cam-1"), cell(class_name="car"),
                 cell(camera="cam-1", class_name="car")]  # fmt: skip
        found = evolve(report(), cells=cells)

        assert found["confidence"] is found.cells[0]
        assert found["confidence", "cam-1"] is found.cells[1]
        assert found["confidence", None, "car"] is found.cells[2]
        assert found["confidence", "cam-1", "car"] is found.cells[3]
        assert ("confidence", "cam-1") in found
        assert "area" not in found
        assert 3 not in found

    def test_unknown(self):
        """An unknown key is answered with what there is."""
        with pytest.raises(InputError, match="it has confidence"):
            report()["area"]

    def test_flags(self):
        """The flagged cells, in order."""
        found = evolve(report(), cells=[cell("area", flagged=True), cell()])

        assert [c.feature for c in found.flags] == ["area"]

    def test_name(self):
        """A cell names itself as people would."""
        assert cell("area", camera="cam-1", class_name="car").name == "area of car on cam-1"


class TestWords:
    def test_people(self):
        """The text holds verdict, effect with interval, p-value, and what was counted."""
        text = str(report(flagged=True))

        assert text.startswith("watch: 2026-02-02 00:00 to 2026-02-09 00:00 UTC, method block")
        assert "confidence: lower around 0.61 D=0.120 (0.070 to 0.180), p=0.004" in text
        assert "7 days, 200 frames, 1,000 boxes FLAGGED" in text

    def test_short(self):
        """The repr names verdict and flagged cells."""
        assert "watch" in repr(report(flagged=True))
        assert "flagged: confidence" in repr(report(flagged=True))

    def test_reason(self):
        """A cell with too little data says why."""
        assert "too little data, 2 days" in str(report(tested=False).cells[0])


def test_class_by_name():
    """A share of a class that moved is told by the name of the class."""
    curve = Curve(at=[3, 7], reference=[1, 0], current=[0.5, 0.5], names=["car", "truck"])

    assert "class: more truck D=" in str(cell("class", direction="more", at=7.0, curve=curve))
    assert "class: more around 7 D=" in str(cell("class", direction="more", at=7.0))


def test_values_as_people_read_them():
    """A threshold is told as the plots show it: shares of the frame in per cent, ratios as such."""
    area, aspect = AREA.unit, ASPECT.unit
    far_left = "share of the frame's width, from the left"

    assert "area: lower around 7.8 % D=" in str(cell("area", at=-3.68, unit=area))
    assert "aspect: lower around 2.83 D=" in str(cell("aspect", at=1.5, unit=aspect))
    assert "x: lower around 12 % D=" in str(cell("x", at=0.12, unit=far_left))


class TestJson:
    def test_round_trip(self):
        """What is written is read again, unknown numbers included."""
        curve = Curve(at=[0.1, 0.2], reference=[0.3, 0.6], current=[0.4, 0.7])
        memory = Memory(days=["2026-02-02"], cameras=["cam-1"], means={"area": [[[0.1, math.nan]]]})
        before = evolve(
            report(flagged=True, before=[True, False], memory=memory),
            cells=(cell(curve=curve), cell("area", reason="2 days", statistic=math.nan)),
        )
        after = DriftReport.from_json(before.to_json())

        assert after == before
        assert after.memory.means["area"][0][0][0] == 0.1
        assert math.isnan(after.memory.means["area"][0][0][1])
        assert after.cells[0].curve == curve

    def test_strict(self):
        """The JSON is JSON: no NaN, and a schema with its version."""
        text = report(tested=False).to_json()

        assert "NaN" not in text
        assert json.loads(text)["schema"] == "driftline.drift_report/1"

    def test_to_dict(self):
        """Plain values with the verdict, which is that of the JSON."""
        found = report(flagged=True, before=[True], new_classes=["truck"])
        plain = found.to_dict()

        assert json.loads(found.to_json()) == plain
        assert (plain["verdict"], plain["new_classes"]) == ("drift", ["truck"])
        assert plain["start"] == "2026-02-02T00:00:00+00:00"

    @pytest.mark.parametrize(
        "text", ["", "{}", "[1]", '{"schema": "driftline.drift_report/9"}', '{"schema": "x"}']
    )
    def test_unreadable(self, text):
        """Anything else is refused as unreadable data."""
        with pytest.raises(UnreadableData):
            DriftReport.from_json(text)

    def test_unknown_fields(self):
        """A damaged report is refused, not half read."""
        plain = json.loads(report().to_json())
        del plain["cells"]
        with pytest.raises(UnreadableData):
            DriftReport.from_json(json.dumps(plain))

    @pytest.mark.parametrize("day", ["0001-01-01", "2026-01-31", "2026-02-11", "9999-12-31"])
    @pytest.mark.parametrize("start", ["2026-02-02T00:00:00+00:00", None])
    def test_days_of_another_week(self, day, start):
        """A memory with a day that is not of the report's week is damaged."""
        days = ["2026-02-02", day] if start else [day]
        memory = Memory(days=days, cameras=["cam-1"], means={"area": [[[0.1]]] * len(days)})
        plain = report(memory=memory).to_dict() | {"start": start}
        with pytest.raises(UnreadableData, match=f"its memory has a day, {day}, that is not"):
            DriftReport.from_json(json.dumps(plain))

    def test_without_memory(self):
        """The memory may be left out where a report is only to be shown."""
        memory = Memory(days=["2026-02-02"], cameras=["cam-1"], means={"area": [[[0.1]]]})

        assert report(memory=memory).without_memory().memory == Memory()
