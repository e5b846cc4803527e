"""What the policy concludes: one action, the reasons for it, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Literal, get_args

from attrs import asdict, field, frozen

from driftline._checks import a, number, one_of, parts
from driftline._draw import Shown, View
from driftline.errors import InputError, UnreadableData
from driftline.retrain import _views
from driftline.retrain._plain import optional_utc, plain

Size = Literal["", "small", "large"]
Strength = Literal["strong", "moderate", "weak"]
"""How much the evidence of a decision carries."""
STRENGTHS: tuple[Strength, ...] = ("strong", "moderate", "weak")
_TEXT = a(str, "text")


class Action(Enum):
    """What to do about the model; the words are those of the guide's decision table."""

    RETRAIN = "retrain"
    INFRA = "infra"
    INVESTIGATE = "investigate"
    COLLECT = "collect"
    WATCH = "watch"
    NONE = "none"


@frozen(kw_only=True)
class Collection:
    """Frames to label next.

    Attributes:
        frames: how many, at least 1.
        camera: of which camera, "" for all.
        class_name: that show which class, "" for all.
        size: whether it is the small or the large boxes that matter, "" for all.
        hours: of which hours of the day. A drift report compares like hours with like, so it
            points to none; a clause of your own may.
        feature: the feature whose shift points there, "" where none does.
        why: what the labels will tell, in one line.
    """

    frames: int = field(validator=number("a whole number, 1 or more", least=1, whole=True))
    why: str = field(validator=_TEXT)
    camera: str = field(default="", validator=_TEXT)
    class_name: str = field(default="", validator=_TEXT)
    size: Size = field(default="", validator=one_of(*get_args(Size)))
    hours: str = field(default="all hours alike", validator=_TEXT)
    feature: str = field(default="", validator=_TEXT)

    def __str__(self) -> str:
        """A request that can be sent to annotators as it is."""
        where = f" of camera {self.camera}" if self.camera else ""
        sized = f"{self.size} boxes" if self.size else ""
        shown = f"{sized} of {self.class_name}" if sized and self.class_name else sized
        what = f" that show {shown or self.class_name}" if shown or self.class_name else ""
        return f"label {self.frames} frames{where}{what}, {self.hours}: {self.why}"


_ACTION = a(Action, f"one of {', '.join(map(str, Action))}")


def _collected(values: Iterable[Collection]) -> tuple[Collection, ...]:
    return parts(values, Collection, name="collect", what="a Collection(…)")


@frozen(kw_only=True)
class Finding:
    """What one clause of a policy has to say.

    Attributes:
        action: what it asks for.
        reason: why, in one sentence with the numbers.
        runbook: what to do first, in one line.
        strength: "strong" rests on labels or on confirmed drift, "moderate" on one confirmed
            source without labels, "weak" on a single week or on an estimate.
        collect: frames to label next.
    """

    action: Action = field(validator=_ACTION)
    reason: str = field(validator=_TEXT)
    runbook: str = field(validator=_TEXT)
    strength: Strength = field(default="moderate", validator=one_of(*STRENGTHS))
    collect: tuple[Collection, ...] = field(default=(), converter=_collected)

    def __attrs_post_init__(self) -> None:
        """Refuse a finding nobody could act on."""
        if not self.reason.strip() or not self.runbook.strip() or "\n" in self.runbook:
            msg = (
                f"a finding needs a reason and a one-line runbook, got reason={self.reason!r}, "
                f"runbook={self.runbook!r}"
            )
            raise InputError(msg)


def _reasons(values: Iterable[str]) -> tuple[str, ...]:
    reasons = parts(values, str, name="reasons", what="a sentence")
    if not reasons:
        msg = "reasons=() must not be empty: a decision has a reason"
        raise InputError(msg)
    return reasons


def _findings(values: Iterable[Finding]) -> tuple[Finding, ...]:
    return parts(values, Finding, name="also", what="a Finding(…)")


@frozen(kw_only=True, repr=False)
class Decision(Shown):
    """One action with its reasons.

    Attributes:
        action: what to do.
        reasons: why, most telling first; never empty.
        runbook: what to do first, in one line.
        confidence: how firm the ground is (`Finding.strength` of the leading reason).
        collect: frames to label next.
        also: what else was found and would have asked for another action.
        at: the time of the evidence, UTC; None where it carried none.
    """

    action: Action = field(validator=_ACTION)
    reasons: tuple[str, ...] = field(converter=_reasons)
    runbook: str = field(validator=_TEXT)
    confidence: Strength = field(validator=one_of(*STRENGTHS))
    collect: tuple[Collection, ...] = field(default=(), converter=_collected)
    also: tuple[Finding, ...] = field(default=(), converter=_findings)
    at: datetime | None = field(default=None, converter=optional_utc)

    @property
    def trigger(self) -> str:
        """The decision in one sentence: what fired and what it asks for."""
        return f"{self.action.value}: {self.reasons[0]}"

    def __str__(self) -> str:
        """The decision as a short text for people."""
        lines = [f"{self.action.value.upper()} ({self.confidence})"]
        lines += [f"  because {reason}" for reason in self.reasons]
        lines.append(f"  first: {self.runbook}")
        lines += [f"  next: {collection}" for collection in self.collect]
        lines += [f"  also: {found.action.value}: {found.reason}" for found in self.also]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self, value_serializer=plain)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """The decision that `to_dict` wrote.

        Raises:
            UnreadableData: it is not what `to_dict` writes.
        """
        try:
            return cls(**_fields(values))
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            msg = f"this is no stored decision: {type(exc).__name__}: {exc}"
            raise UnreadableData(msg) from exc

    def _view(self) -> View:
        return _views.view_of_decision(self)


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    at = values["at"]
    return {
        **values,
        "action": Action(values["action"]),
        "reasons": tuple(values["reasons"]),
        "collect": _collections(values["collect"]),
        "also": tuple(_finding(found) for found in values["also"]),
        "at": None if at is None else datetime.fromisoformat(at),
    }


def _collections(values: Sequence[Mapping[str, Any]]) -> tuple[Collection, ...]:
    return tuple(Collection(**item) for item in values)


def _finding(values: Mapping[str, Any]) -> Finding:
    fields: dict[str, Any] = {
        **values,
        "action": Action(values["action"]),
        "collect": _collections(values["collect"]),
    }
    return Finding(**fields)
