"""What the policy concludes: one action, the reasons for it, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from attrs import asdict, field, frozen

from driftline._draw import Shown, View
from driftline.errors import InputError, UnreadableData
from driftline.retrain import _views
from driftline.retrain._plain import optional_utc, plain

Strength = Literal["strong", "moderate", "weak"]
STRENGTHS: tuple[Strength, ...] = ("strong", "moderate", "weak")


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
        feature: the feature whose shift points there, "" where none does.
        why: what the labels will tell, in one line.
    """

    frames: int
    why: str
    camera: str = ""
    class_name: str = ""
    feature: str = ""

    def __str__(self) -> str:
        """A request that can be sent to annotators as it is."""
        where = f" of camera {self.camera}" if self.camera else ""
        what = f" that show {self.class_name}" if self.class_name else ""
        return f"label {self.frames} frames{where}{what}: {self.why}"


def _an_action(_instance: object, _attribute: object, value: Any) -> None:
    if not isinstance(value, Action):
        msg = f"action={value!r} must be one of {', '.join(map(str, Action))}"
        raise InputError(msg)


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

    action: Action = field(validator=_an_action)
    reason: str
    runbook: str
    strength: Strength = "moderate"
    collect: tuple[Collection, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse a finding nobody could act on."""
        if not self.reason.strip() or not self.runbook.strip() or "\n" in self.runbook:
            msg = (
                f"a finding needs a reason and a one-line runbook, got reason={self.reason!r}, "
                f"runbook={self.runbook!r}"
            )
            raise InputError(msg)


@frozen(kw_only=True)
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

    action: Action
    reasons: tuple[str, ...]
    runbook: str
    confidence: Strength
    collect: tuple[Collection, ...] = ()
    also: tuple[Finding, ...] = ()
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
