"""What a user passes by mistake is named: the argument, the value and what would do."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest
from attrs import field, frozen
from attrs.validators import optional

from driftline import Detections, DriftDetector, Monitor, Profile, Sample, rules
from driftline._checks import (
    not_negative,
    number,
    one_of,
    part,
    parts,
    positive,
    refuse_number,
)
from driftline._clock import SystemClock, as_clock
from driftline.drift import ks_2samp
from driftline.errors import InputError
from driftline.holdout import (
    Holdout,
    LabelledFrame,
    Provenance,
    evaluate,
    frames_needed,
    smallest_drop,
)
from driftline.records import Series
from driftline.retrain import Guard, PromotionRule, Stage
from driftline.stores import SqlStore
from driftline.testing import FrozenClock


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1), Fraction(1, 2)])
def test_numbers(value):
    """Whatever is a number is taken, numpy's and Python's alike."""
    refuse_number("share", value, "from 0 to 1", least=0, most=1)


@pytest.mark.parametrize(
    "value", ["0.5", None, True, np.bool_(True), (0, 1), [0.5], -0.1, 1.1, float("nan"), 1j]
)
def test_no_numbers(value):
    """Text, truth, lists, nothing, and what lies outside are refused."""
    with pytest.raises(InputError, match=r"share=.* must be from 0 to 1"):
        refuse_number("share", value, "from 0 to 1", least=0, most=1)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinity(value):
    """Without bounds a number must still be finite."""
    with pytest.raises(InputError):
        refuse_number("cost", value, "finite")


def test_open_ends():
    """`above` and `below` leave the ends out, `least` and `most` keep them."""
    for end in (0, 1):
        refuse_number("x", end, "in [0, 1]", least=0, most=1)
        with pytest.raises(InputError):
            refuse_number("x", end, "in (0, 1)", above=0, below=1)


def test_whole():
    """Where a count is meant, 3.0 is no count."""
    refuse_number("n", np.int32(3), "1 or more", least=1, whole=True)
    with pytest.raises(InputError):
        refuse_number("n", 3.0, "1 or more", least=1, whole=True)


@frozen(kw_only=True)
class Settings:
    """A record that checks its fields at birth."""

    share: float | None = field(
        default=None, validator=optional(number("from 0 to 1", least=0, most=1))
    )
    mode: str = field(default="plain", validator=one_of("plain", "weekly"))
    hold: timedelta = field(default=timedelta(0), validator=not_negative)
    every: timedelta = field(default=timedelta(1), validator=positive)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"share": 2}, "share=2 must be from 0 to 1"),
        ({"mode": "Plain"}, "mode='Plain' must be one of 'plain', 'weekly'"),
        ({"hold": -timedelta(1)}, "hold=.* must not be negative"),
        ({"hold": 5}, "hold=5 must be a timedelta"),
        ({"every": timedelta(0)}, "every=.* must be above 0"),
        ({"every": None}, "every=None must be a timedelta"),
    ],
)
def test_validators(bad, said):
    """The same checks stand behind the fields of records."""
    with pytest.raises(InputError, match=said):
        Settings(**bad)


def test_a_class_is_no_object():
    """A class has the methods that its objects have, and is told apart all the same."""
    assert as_clock(None) is not None
    with pytest.raises(InputError, match=r"pass an object of it, FrozenClock\(\)"):
        as_clock(FrozenClock)
    with pytest.raises(InputError, match="is a class"):
        part(SystemClock, SystemClock, name="clock", what="a clock")


@pytest.mark.parametrize("values", ["abc", 3, None, str])
def test_a_list_is_a_list(values):
    """Text is no list of letters."""
    with pytest.raises(InputError, match=r"names=.* must be a list"):
        parts(values, str, name="names", what="a name")


def test_which_of_them():
    """The one that is wrong is named by its place."""
    assert ("a", "b") == parts(iter("ab"), str, name="names", what="a name")
    with pytest.raises(InputError, match=r"names\[1\]=2 must be a name"):
        parts(["a", 2], str, name="names", what="a name")


NOW = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = np.datetime64("2026-11-23T12")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sample(metric="a.b", value="x", at=NOW), "value must be a number, got 'x'"),
        (lambda: Sample(metric="a.b", value=None, at=NOW), "value must be a number, got None"),
        (lambda: Sample(metric=3, value=1, at=NOW), "metric=3 must be a dotted name"),
        (lambda: Sample(metric="a.b", value=1, at=NOW, width=60), "width=60 must be a timedelta"),
        (lambda: rules.Silence(author=3, reason="x", start=NOW, end=None), "author=3 must not be"),
        (lambda: rules.Threshold(series="a", above=1, runbook="x", where="a"), "where='a' must be"),
        (lambda: Profile.merge(3), r"profiles\[0\]=3 must be a Profile"),
        (lambda: SqlStore(3), "the URL of a store begins with"),
        (
            lambda: Detections(xyxy=[], confidence=0.5, class_id=[], image_size=(3, 3)),
            r"must be \(n, 4\)",
        ),
        (
            lambda: Detections(xyxy=None, confidence=None, class_id=None, image_size=(3, 3)),
            "class_id must hold whole numbers",
        ),
        (
            lambda: Detections(xyxy=[], confidence=[], class_id=[[1], [1, 2]], image_size=(3, 3)),
            "class_id must hold whole numbers",
        ),
        (lambda: Series(metric="a", times=[1], values=[1]), "times must be an array of datetime64"),
        (lambda: Series(metric="a", times=[[1], [1, 2]], values=[1]), "times must be an array"),
        (lambda: Series(metric="a", times=[HOUR], values=["x"]), "values must be an array of num"),
        (lambda: Series(metric="a", times=[HOUR], values=[1], width=60), "width=60 must be a time"),
        (lambda: Series(metric="a", times=[HOUR], values=[1], settled_until=5), "must be an aware"),
    ],
)
def test_records(make, said):
    """What would have gone wrong later, or in the night, is refused where it was written."""
    with pytest.raises(InputError, match=said):
        make()


def test_series_of_lists():
    """Lists, whole numbers and coarser times become the arrays a series is made of."""
    made = Series(metric="a", times=[HOUR], values=[1])

    assert ("datetime64[us]", "float64") == (str(made.times.dtype), str(made.values.dtype))
    assert [1.0] == [sample.value for sample in made.samples()]
    assert 0 == len(Series(metric="a", times=[], values=[]))


def test_a_password_is_not_shown():
    """The address of a store may hold one, whatever kind of text it is."""
    with pytest.raises(InputError) as caught:
        SqlStore(b"postgresql://user:hunter2@localhost/driftline")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Guard(errors="x"), "errors='x' must be a number above 0, or None"),
        (lambda: Guard(alpha=1), "alpha=1 must be a number between 0 and 1"),
        (lambda: Guard(block=60), "block=60 must be a timedelta"),
        (lambda: Stage(share="5 %"), "share='5 %' must be a share, 0 to 1"),
        (lambda: Stage(share=0.5, dwell=3), "dwell=3 must be a timedelta"),
        (lambda: Stage(share=0.5, frames=-1), "frames=-1 must be a whole number"),
        (lambda: PromotionRule(golden_margin="x"), "golden_margin='x' must be"),
        (lambda: PromotionRule(replicates=0), "replicates=0 must be 1 or more"),
        (lambda: frames_needed("x"), "drop='x' must be between 0 and 1"),
        (lambda: frames_needed(0.03, power="x"), "power='x' must be"),
        (lambda: smallest_drop("x"), "frames='x' must be 1 to a billion"),
        (lambda: Provenance(probability="x"), "probability='x' must be a number in"),
    ],
)
def test_numbers_of_rollouts_and_holdouts(make, said):
    """So are those that decide which model serves, and how many frames are labelled."""
    with pytest.raises(InputError, match=said):
        make()


def _box() -> Detections:
    return Detections(xyxy=[[0, 0, 9, 9]], confidence=[1], class_id=[0], image_size=(16, 16))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: evaluate(None, [_box()]), "labels=None must be a sequence"),
        (lambda: evaluate([3], [_box()]), "a labelled frame must be"),
        (lambda: evaluate([_box()], [3]), r"predictions\[0\]=3 must be the Detections"),
        (
            lambda: evaluate([_box()], [_box()], class_names="car"),
            "class_names='car' must be a list",
        ),
        (lambda: evaluate([_box()], [_box()], class_names={"a": "car"}), "index that is no number"),
        (lambda: LabelledFrame(truth=3), "truth=3 must be a Truth, or Detections"),
        (lambda: Holdout.open(None), "path=None must be a file or folder"),
        (lambda: DriftDetector(reference=None), "reference=None must be a list"),
        (lambda: DriftDetector(reference=Profile(), alpha="x"), "alpha='x' must be in"),
        (lambda: DriftDetector(reference=Profile(), permutations=2.5), "permutations=2.5 must be"),
        (lambda: ks_2samp(["a"], [1.0]), "the reference side must be an array of numbers"),
        (lambda: Monitor(None, rules=[]).drill(3), "rule=3 must be the name of a rule"),
    ],
)
def test_calls(make, said):
    """A list of letters is no list of classes, and nothing is no reference."""
    with pytest.raises(InputError, match=said):
        make()
