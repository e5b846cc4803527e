"""What profiles must have in common; a setting that was not recorded on one side fits anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from attrs import fields

from driftline.errors import ContextMismatch
from driftline.records import Context

if TYPE_CHECKING:
    from driftline.profiles._profile import Profile


def differing(a: Context, b: Context) -> tuple[str, ...]:
    """Names of the settings that are recorded on both sides and are not the same."""
    plain = [f.name for f in fields(Context) if f.name != "class_names"]
    found = [
        n
        for n in plain
        if None not in (mine := getattr(a, n), its := getattr(b, n)) and mine != its
    ]
    shared = set(a.class_names) & set(b.class_names)
    if any(a.class_names[i] != b.class_names[i] for i in shared):
        found.append("class_names")
    return tuple(found)


def refuse_mixed(a: Context, b: Context, *, doing: str, ignore: Collection[str] = ()) -> None:
    """Raise `ContextMismatch` with each setting that differs, both values in the message."""
    found = tuple(name for name in differing(a, b) if name not in ignore)
    if found:
        said = "; ".join(f"{name}: {_said(a, b, name)}" for name in found)
        msg = (
            f"cannot {doing} profiles of different contexts ({said}): detections made under "
            "different settings are not comparable; profile both sides under the same ones"
        )
        raise ContextMismatch(msg, fields=found)


def _said(a: Context, b: Context, name: str) -> str:
    if name != "class_names":
        return f"{getattr(a, name)!r} and {getattr(b, name)!r}"
    shared = sorted(set(a.class_names) & set(b.class_names))
    one = next(i for i in shared if a.class_names[i] != b.class_names[i])
    return f"class {one} is {a.class_names[one]!r} and {b.class_names[one]!r}"


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


def joined(contexts: Iterable[Context], *, ignore: Collection[str] = ()) -> Context:
    """What all of them together recorded; a setting in `ignore` that differs is dropped.

    Raises:
        ContextMismatch: two of them recorded different values.
    """
    several = list(contexts)
    for context in several[1:]:
        refuse_mixed(several[0], context, doing="merge", ignore=ignore)
    result = Context()
    for context in several:
        refuse_mixed(result, context, doing="merge", ignore=ignore)
        result = _union(result, context)
    return _without(result, several, ignore)


def _union(a: Context, b: Context) -> Context:
    plain = {
        f.name: getattr(a, f.name) if getattr(a, f.name) is not None else getattr(b, f.name)
        for f in fields(Context)
        if f.name != "class_names"
    }
    return Context(**plain, class_names={**b.class_names, **a.class_names})


def _without(result: Context, several: list[Context], ignore: Collection[str]) -> Context:
    lost = {n for n in ignore if any(n in differing(result, context) for context in several)}
    if not lost:
        return result
    kept = {f.name: getattr(result, f.name) for f in fields(Context) if f.name not in lost}
    return Context(**kept)
