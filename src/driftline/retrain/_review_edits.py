"""What people changed: boxes kept, moved, renamed, removed and added; frames done and to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from driftline._draw import Shown, Table, View
from driftline.holdout import Truth
from driftline.holdout._matching import overlaps
from driftline.records import Detections

__all__ = ["Edits", "ReviewProgress", "edits_of"]

SAME_OBJECT: Final = 0.5
"""Least overlap (IoU) of a proposed box and the box that took its place: COCO's least threshold."""

KEPT_PX: Final = 1.0
"""Edges that moved by no more were left alone: tools round to whole pixels."""

_EDITS: Final = ("kept", "moved", "renamed", "removed", "added")


@frozen(kw_only=True)
class Edits:
    """What became of the boxes that the model proposed.

    Attributes:
        kept: left as they were, to the pixel.
        moved: same class, other edges.
        renamed: same place, other class.
        removed: nothing is there.
        added: objects that the model had not found.
    """

    kept: int = 0
    moved: int = 0
    renamed: int = 0
    removed: int = 0
    added: int = 0

    @property
    def proposed(self) -> int:
        """Boxes that the model had proposed."""
        return self.kept + self.moved + self.renamed + self.removed

    @property
    def labelled(self) -> int:
        """Objects that people found."""
        return self.kept + self.moved + self.renamed + self.added

    @property
    def agreement(self) -> float | None:
        """Share of boxes, proposed or added, that model and people have alike; None without any."""
        whole = self.proposed + self.added
        return self.kept / whole if whole else None

    @property
    def any(self) -> bool:
        """Whether anything was changed."""
        return self.proposed + self.added > self.kept

    def __add__(self, other: Edits) -> Edits:
        """Both together."""
        return Edits(
            kept=self.kept + other.kept,
            moved=self.moved + other.moved,
            renamed=self.renamed + other.renamed,
            removed=self.removed + other.removed,
            added=self.added + other.added,
        )

    def __str__(self) -> str:
        """One line for people."""
        share = "" if self.agreement is None else f", agreement {self.agreement:.0%}"
        return (
            f"{self.proposed} proposed: {self.kept} kept, {self.moved} moved, {self.renamed} "
            f"renamed, {self.removed} removed; {self.added} added{share}"
        )


@frozen(kw_only=True, repr=False)
class ReviewProgress(Shown):
    """How far people are.

    Attributes:
        reviewed: frames that somebody looked at.
        of: frames of the batch.
        missing: files of the frames to do, in the order they should be done.
        random_reviewed: frames of the random part that somebody looked at.
        random_of: frames of the random part.
        random_edits: edits of the random part: how well the model does on what cameras see. Fewer
            than in the others say that choosing by uncertainty found what is worth labelling.
        by_class: name → edits of the reviewed frames. Kept, moved, renamed and removed boxes
            count for the class that was proposed, added ones for that of the object.
        unreviewed: name → boxes that wait in frames to do, as the model sees them.
    """

    reviewed: int
    of: int
    missing: tuple[str, ...]
    random_reviewed: int
    random_of: int
    random_edits: Edits = field(factory=Edits)
    by_class: Mapping[str, Edits] = field(factory=dict, hash=False)
    unreviewed: Mapping[str, int] = field(factory=dict, hash=False)

    @property
    def complete(self) -> bool:
        """Whether every frame was looked at."""
        return self.reviewed == self.of

    @property
    def edits(self) -> Edits:
        """Those of all classes."""
        return sum(self.by_class.values(), Edits())

    def __str__(self) -> str:
        """A few lines for people."""
        at_random = f"{self.random_reviewed} of {self.random_of} random ones"
        lines = [f"{self.reviewed} of {self.of} frames reviewed ({at_random})"]
        lines += [f"  random frames: {self.random_edits}"] if self.random_reviewed else []
        lines += [f"  {name}: {edits}" for name, edits in sorted(self.by_class.items())]
        waiting = sorted(self.unreviewed.items())
        lines += [f"  {name}: {boxes} proposed boxes to look at" for name, boxes in waiting]
        for name in self.missing[:1]:
            more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
            lines.append(f"  next: {name}{more}")
        return "\n".join(lines)

    def _view(self) -> View:
        """The same as a table by class."""
        names = sorted({*self.by_class, *self.unreviewed})
        edits = [self.by_class.get(name, Edits()) for name in names]
        rows = [
            (name, *(getattr(one, what) for what in _EDITS), self.unreviewed.get(name, 0))
            for name, one in zip(names, edits, strict=True)
        ]
        share = self.edits.agreement
        facts = [("random frames", f"{self.random_reviewed} of {self.random_of}")]
        facts += (
            [] if share is None else [("boxes that model and people have alike", f"{share:.0%}")]
        )
        facts += [("next", name) for name in self.missing[:1]]
        return View(
            kind="review",
            verdict="complete" if self.complete else "waits for people",
            tone="good" if self.complete else "warn",
            headline=f"{self.reviewed} of {self.of} frames reviewed",
            facts=facts,
            tables=[Table(head=("class", *_EDITS, "to look at"), rows=rows)],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "reviewed": self.reviewed,
            "of": self.of,
            "random_reviewed": self.random_reviewed,
            "random_of": self.random_of,
            "agreement": self.edits.agreement,
            "missing": list(self.missing),
        }


def edits_of(proposed: Detections, truth: Truth) -> dict[int, Edits]:
    """Class → what became of the boxes of one frame.

    Pairs are taken by overlap, best first, those of one class before those of two.
    """
    iou = overlaps(proposed.xyxy, truth.xyxy, truth.crowds)
    alike = proposed.class_id[:, None] == truth.class_id[None, :]
    far = np.abs(proposed.xyxy[:, None, :] - truth.xyxy[None, :, :]).max(axis=2, initial=0.0)
    counts: dict[str, Counter[int]] = {what: Counter() for what in _EDITS}
    free_boxes, free_objects = np.ones(len(proposed), bool), np.ones(len(truth), bool)
    near = np.argwhere(iou >= SAME_OBJECT)
    rank = np.lexsort((-iou[tuple(near.T)], ~alike[tuple(near.T)]))
    for box, thing in near[rank].tolist():
        if not (free_boxes[box] and free_objects[thing]):
            continue
        free_boxes[box] = free_objects[thing] = False
        same = "kept" if far[box, thing] <= KEPT_PX else "moved"
        counts[same if alike[box, thing] else "renamed"][int(proposed.class_id[box])] += 1
    counts["removed"].update(proposed.class_id[free_boxes].tolist())
    counts["added"].update(truth.class_id[free_objects].tolist())
    classes = {one for counter in counts.values() for one in counter}
    return {one: Edits(**{what: counts[what][one] for what in counts}) for one in sorted(classes)}
