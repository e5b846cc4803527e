"""What a user passes by mistake is named: the argument, the value and what would do."""

from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest
from attrs import field, frozen
from attrs.validators import optional

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
from driftline.errors import InputError
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
