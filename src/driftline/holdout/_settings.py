"""Under which settings a score was made: scores of different settings must not be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import asdict, field, fields, frozen

from driftline._checks import refuse_kinds
from driftline._stats.average_precision import ApMethod
from driftline.errors import ContextMismatch
from driftline.holdout._parsed import reading
from driftline.records import Context

__all__ = ["Settings"]

WHICH_MODEL = frozenset({"model", "weights_digest"})
"""Fields that say which model was scored, rather than how."""


@frozen(kw_only=True)
class Settings:
    """What a score depends on besides the frames; None and empty mean "not recorded".

    The same weights score differently under another batch size (padding), image size, device or
    version (ultralytics threads 20295, 6402 and 16992), so each score carries them.

    Attributes:
        model: name or address of the model.
        weights_digest: ``sha256:…`` of the weights.
        conf: confidence threshold of the predictions, [0, 1].
        iou: IoU threshold of the non-maximum suppression, [0, 1].
        imgsz: inference size, px.
        batch: images per batch.
        device: where it ran, such as "cpu" or "cuda:0".
        versions: name → version of what ran it, such as ``{"ultralytics": "8.4.190"}``.
        class_names: index → name of the classes scored.
        ap: how average precision was computed.
        max_detections: detections of a class kept per image; None: all.
    """

    model: str | None = None
    weights_digest: str | None = None
    conf: float | None = None
    iou: float | None = None
    imgsz: int | None = None
    batch: int | None = None
    device: str | None = None
    versions: Mapping[str, str] = field(factory=dict)
    class_names: Mapping[int, str] = field(factory=dict)
    ap: ApMethod | None = None
    max_detections: int | None = None

    @classmethod
    def of(cls, context: Context) -> Settings:
        """The settings that a context of detections records."""
        versions = {} if context.ultralytics is None else {"ultralytics": context.ultralytics}
        return cls(
            model=context.model,
            weights_digest=context.weights_digest,
            conf=context.conf,
            iou=context.iou,
            imgsz=context.imgsz,
            versions=versions,
            class_names=context.class_names,
        )

    def flat(self) -> dict[str, Any]:
        """Every recorded field by name, versions as ``versions.name``; what is not recorded is left out."""
        plain = {
            one.name: getattr(self, one.name) for one in fields(Settings) if one.name != "versions"
        }
        plain |= {f"versions.{name}": version for name, version in self.versions.items()}
        return {name: value for name, value in plain.items() if value not in (None, {})}

    def differences(self, other: Settings) -> tuple[str, ...]:
        """Names of the fields that both record and that differ, sorted."""
        mine, theirs = self.flat(), other.flat()
        return tuple(sorted(name for name in mine.keys() & theirs if mine[name] != theirs[name]))

    def unverified(self, other: Settings) -> tuple[str, ...]:
        """Names of the fields that only one of the two records, sorted."""
        return tuple(sorted(self.flat().keys() ^ other.flat().keys()))

    def require_same(self, other: Settings, *, but: Collection[str] = ()) -> None:
        """Refuse settings that differ in any field but the named ones.

        Raises:
            ContextMismatch: with the names of the fields.
        """
        differing = tuple(name for name in self.differences(other) if name not in but)
        if differing:
            mine, theirs = self.flat(), other.flat()
            told = "; ".join(f"{name}: {mine[name]!r} and {theirs[name]!r}" for name in differing)
            msg = f"scores made under different settings must not be compared ({told}); validate again under one"
            raise ContextMismatch(msg, fields=differing)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = asdict(self)
        plain["class_names"] = {str(index): name for index, name in self.class_names.items()}
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The settings that `to_dict` wrote.

        Raises:
            UnreadableData: they were written in a form this version does not know.
        """
        with reading("settings"):
            refuse_kinds(values, {"versions": Mapping, "class_names": Mapping})
            return cls._read(values)

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> Settings:
        names = {int(index): name for index, name in values["class_names"].items()}
        return cls(**dict(values, class_names=names))
