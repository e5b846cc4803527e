"""Which profiles may meet: of the same features, in the same periods, under the same settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from driftline.errors import ContextMismatch
from driftline.profiles._context import refuse_mixed

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile


def refuse_other_shape(a: Profile, b: Profile, *, doing: str) -> None:
    """Raise `ContextMismatch` unless both count the same features in the same periods."""
    found = {}
    if a.calendar.period != b.calendar.period:
        found["period"] = f"{a.calendar.period} and {b.calendar.period}, coarsen one"
    if a.calendar.utc_offset != b.calendar.utc_offset:
        found["utc_offset"] = f"{a.calendar.utc_offset} and {b.calendar.utc_offset}"
    if a.histograms != b.histograms:
        found["features"] = f"{_named(a)} and {_named(b)}, select the common ones"
    if found:
        said = "; ".join(f"{name}: {both}" for name, both in found.items())
        msg = f"cannot {doing} profiles that count differently ({said})"
        raise ContextMismatch(msg, fields=tuple(found))


def _named(profile: Profile) -> str:
    return "[" + ", ".join(f"{f.name} in {f.n_bins} bins" for f in profile.histograms) + "]"


def require_comparable(a: Profile, b: Profile, *, ignore: Collection[str] = ()) -> None:
    """Refuse two profiles that must not be compared.

    Args:
        a: one profile.
        b: another.
        ignore: names of settings of the context that may differ.

    Raises:
        ContextMismatch: they were made under different settings, count different features or
            have periods of different lengths; `.fields` names what differs.
    """
    refuse_other_shape(a, b, doing="compare")
    refuse_mixed(a.context, b.context, doing="compare", ignore=ignore)
