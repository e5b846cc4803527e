"""What a holdout consists of, by digests: so that "the same holdout" is a fact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, get_args

from attrs import asdict, field, frozen
from attrs.validators import optional

from driftline._checks import number, part, refuse_other
from driftline._clock import as_optional_utc
from driftline._files import write_whole
from driftline.errors import ContextMismatch, UnreadableData
from driftline.holdout._parsed import MALFORMED, text_of

__all__ = ["MANIFEST_NAME", "QUARTER", "Manifest", "Part", "Provenance"]

Part = Literal["recent", "golden", "link"]
"""Which part of a holdout a frame is of; "link" frames are in the old and the new set."""

SCHEMA: Final = "driftline.holdout/1"
MANIFEST_NAME: Final = "driftline-holdout.json"
QUARTER: Final = timedelta(weeks=13)
"""A holdout is refreshed every quarter (the guide)."""

_MOST_BYTES = 256_000_000
_SHOWN = 5


@frozen(kw_only=True)
class Provenance:
    """Where a frame of a holdout comes from.

    Attributes:
        part: "golden": locked, a fixed model cannot move on it; "recent": a random sample of this
            quarter; "link": kept from the quarter before, so that the two can be linked.
        source: what it was taken from, such as a camera's stream or an export.
        taken_at: when the picture was taken, UTC; None where unknown.
        added_at: when it came into the holdout, UTC; None where unknown.
        probability: with which it was picked, (0, 1]; None where it was not drawn.
        image_sha256: ``sha256:…`` of the file; None where not recorded.
        labels_digest: digest of its labels; None where not recorded, such as before labelling.
    """

    part: Part = "recent"
    source: str = ""
    taken_at: datetime | None = field(default=None, converter=as_optional_utc)
    added_at: datetime | None = field(default=None, converter=as_optional_utc)
    probability: float | None = field(
        default=None, validator=optional(number("a number in (0, 1]", above=0, most=1))
    )
    image_sha256: str | None = None
    labels_digest: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse an unknown part."""
        refuse_other("part", self.part, get_args(Part))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = asdict(self)
        return plain | {
            name: None if plain[name] is None else plain[name].isoformat()
            for name in ("taken_at", "added_at")
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Provenance:
        """The provenance that `to_dict` wrote."""
        times = {name: _time(values.get(name)) for name in ("taken_at", "added_at")}
        plain: dict[str, Any] = {**values, **times}
        return cls(**plain)


def _time(text: str | None) -> datetime | None:
    """A time as ISO 8601 writes it, or none."""
    return None if text is None else datetime.fromisoformat(text)


@frozen(kw_only=True)
class Manifest:
    """The content of a holdout by digests.

    Attributes:
        class_names: index → name.
        frames: id of a frame → where it comes from, with the digests of its picture and labels.
        tags: id → tags, such as ``{"camera": "cam-1"}``.
        drawn: whether the frames were drawn for labelling, so that each needs a label file.
        refreshed_at: when the holdout was last drawn as a whole, UTC; None: when the first of its
            recent frames came.
    """

    class_names: Mapping[int, str]
    frames: Mapping[str, Provenance]
    tags: Mapping[str, Mapping[str, str]] = field(factory=dict)
    drawn: bool = False
    refreshed_at: datetime | None = field(default=None, converter=as_optional_utc)

    @property
    def digest(self) -> str:
        """``sha256:…`` of classes, pictures and labels: the same holdout, the same digest."""
        lines = [f"{index}\0{name}" for index, name in sorted(self.class_names.items())]
        lines += [
            f"{name}\0{one.image_sha256}\0{one.labels_digest}"
            for name, one in sorted(self.frames.items())
        ]
        return f"sha256:{sha256(chr(10).join(lines).encode()).hexdigest()}"

    def differences(self, other: Manifest) -> tuple[str, ...]:
        """What `other` has otherwise, a line each; what either did not record does not differ."""
        lines = []
        if dict(self.class_names) != dict(other.class_names):
            lines.append(f"classes {dict(self.class_names)} and {dict(other.class_names)}")
        for name in sorted(self.frames.keys() | other.frames.keys()):
            mine, theirs = self.frames.get(name), other.frames.get(name)
            if mine is None or theirs is None:
                lines.append(f"{name}: only in the {'second' if mine is None else 'first'}")
                continue
            lines += [
                f"{name}: another {what}"
                for what, a, b in (
                    ("picture", mine.image_sha256, theirs.image_sha256),
                    ("set of labels", mine.labels_digest, theirs.labels_digest),
                )
                if a is not None and b is not None and a != b
            ]
        return tuple(lines)

    def require_same(self, other: Manifest) -> None:
        """Refuse a holdout that is another one.

        Raises:
            ContextMismatch: with what differs.
        """
        if lines := self.differences(other):
            more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
            msg = f"not the same holdout: {'; '.join(lines[:_SHOWN])}{more}"
            raise ContextMismatch(msg, fields=("holdout",))

    def part(self, part: Part) -> Manifest:
        """The frames of one part."""
        chosen = {name: one for name, one in self.frames.items() if one.part == part}
        return Manifest(class_names=self.class_names, frames=chosen)

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, in one step; into a folder under the name that `Holdout.open` finds.

        Raises:
            InputError: the path cannot be written.
            StoreError: the machine failed, such as a full disk; the old file stays.
        """
        target = Path(part(path, (str, Path), name="path", what="a file or folder"))
        if target.is_dir():
            target /= MANIFEST_NAME
        content = {
            "schema": SCHEMA,
            "digest": self.digest,
            "drawn": self.drawn,
            "refreshed_at": None if self.refreshed_at is None else self.refreshed_at.isoformat(),
            "class_names": {str(index): name for index, name in self.class_names.items()},
            "frames": {name: one.to_dict() for name, one in self.frames.items()},
            "tags": {name: dict(one) for name, one in self.tags.items() if one},
        }
        text = json.dumps(content, indent=1) + "\n"
        write_whole(target, text.encode(), what="the manifest")
        return target

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """The manifest that `save` wrote.

        Raises:
            InputError: `path` is no path.
            UnreadableData: it is none, or its content does not fit its own digest.
        """
        file = Path(part(path, (str, Path), name="path", what="a file or folder"))
        if file.is_dir():
            file /= MANIFEST_NAME
        try:
            content = json.loads(text_of(file, most_bytes=_MOST_BYTES))
            if content["schema"] != SCHEMA:
                msg = f"schema {content['schema']!r} of {str(file)!r} is not {SCHEMA!r}, which this version reads"
                raise UnreadableData(msg)
            made = cls(
                class_names={int(key): str(name) for key, name in content["class_names"].items()},
                frames={
                    str(name): Provenance.from_dict(one) for name, one in content["frames"].items()
                },
                tags={
                    str(frame): {str(key): str(value) for key, value in one.items()}
                    for frame, one in content["tags"].items()
                },
                drawn=bool(content["drawn"]),
                refreshed_at=_time(content.get("refreshed_at")),
            )
            as_recorded = made.digest == content.get("digest")
        except MALFORMED as exc:
            msg = f"{str(file)!r} is no manifest of a holdout: {exc!r}"
            raise UnreadableData(msg) from exc
        if not as_recorded:
            msg = f"{str(file)!r} was changed by hand: its content has another digest than it says"
            raise UnreadableData(msg)
        return made
