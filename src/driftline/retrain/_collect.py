"""Which frames to label next: of all that moved, each by how much of it moved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import fmean
from typing import Final

from driftline.profiles._choose import proportional
from driftline.retrain._decision import Collection, Size
from driftline.retrain._evidence import Shift

LEAST: Final = 25
"""Frames of a place where there is room: a class with fewer objects says nothing of its accuracy
(as in `driftline.holdout`)."""

Place = tuple[str, str, Size]
"""Camera, class and size; "" for all."""

_SIZED: Final = frozenset({"area", "width", "height"})
_SIZES: Final[dict[str, Size]] = {"lower": "small", "higher": "large"}


def spread(shifts: Sequence[Shift], frames: int, why: str) -> tuple[Collection, ...]:
    """Requests for the frames of every camera, class and size that moved.

    Args:
        shifts: what moved; at least one.
        frames: how many in all; more when there are more places than that.
        why: what all of them together will tell.

    Returns:
        One request a place, the largest first. The order of `shifts` does not matter.
    """
    strongest: dict[Place, Shift] = {}
    for shift in sorted(shifts, key=_by_strength):
        strongest.setdefault(_place(shift), shift)
    wider = {other for place in strongest for other in _wider(place)}
    places = sorted(set(strongest) - wider)  # a narrower place stands for a wider one
    picked = [strongest[place] for place in places]
    requests = [
        Collection(
            frames=n,
            camera=place[0],
            class_name=place[1],
            size=place[2],
            feature=shift.feature,
            why=f"{shift.feature} moved there (D={shift.effect:.2f}); {why}",
        )
        for place, shift, n in zip(places, picked, _shares(picked, frames), strict=True)
    ]
    return tuple(sorted(requests, key=lambda request: -request.frames))


def _by_strength(shift: Shift) -> tuple[float, str, int]:
    return -shift.effect, shift.feature, -(shift.frames or 0)


def _place(shift: Shift) -> Place:
    size = _SIZES.get(shift.direction, "") if shift.feature in _SIZED else ""
    return shift.camera, shift.class_name, size


def _wider(place: Place) -> set[Place]:
    """The places that hold this one and more."""
    camera, class_name, size = place
    sizes: tuple[Size, Size] = ("", size)
    return set(product(("", camera), ("", class_name), sizes)) - {place}


def _shares(shifts: Sequence[Shift], frames: int) -> list[int]:
    """Frames of each: some of all, the rest by how many frames moved (D times the frames seen)."""
    n = len(shifts)
    known = [shift.frames for shift in shifts if shift.frames]
    usual = fmean(known) if known else 1.0
    moved = [max(shift.effect, 1e-6) * (shift.frames or usual) for shift in shifts]
    total = max(frames, n)
    least = min(LEAST, total // n)
    rest = total - n * least
    return [least + more for more in proportional(moved, [rest] * n, rest)]
