"""Frames with proposed boxes go to people, and come back as labels.

The batch is a folder: pictures in the order of the queue, a label file and a COCO entry for each
with what the model proposes, a list to tick off, and a manifest that remembers what was proposed.
People may work on it with any tool that knows YOLO labels or COCO JSON.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from attrs import evolve, field, frozen

from driftline._clock import as_utc
from driftline._draw import Shown, View
from driftline._files import placing_folder, write_whole, writing
from driftline.errors import InputError, TooLittleData, UnreadableData
from driftline.holdout import Holdout, LabelledFrame, Provenance, Truth
from driftline.holdout._dataset import label_lines
from driftline.holdout._images import image_size, sha256_of
from driftline.holdout._parsed import inside, text_of
from driftline.holdout._yolo_format import write_yaml
from driftline.profiles import SampledFrame
from driftline.records import Detections
from driftline.retrain._review_edits import Edits, ReviewProgress, edits_of
from driftline.retrain._review_files import (
    CLASSES_NAME,
    COCO_NAME,
    LIST_NAME,
    coco_of,
    read_coco_labels,
    read_list,
    read_yolo_labels,
    to_json,
    write_list,
)

__all__ = ["Review", "ReviewBatch", "ReviewFrame"]

SCHEMA: Final = "driftline.review/1"
MANIFEST_NAME: Final = "driftline-review.json"
_MOST_BYTES = 512_000_000


def _utc(value: datetime) -> datetime:
    return as_utc(value, name="at")


@frozen(kw_only=True, eq=False)
class ReviewFrame:
    """One frame for people to look at.

    Attributes:
        image: the file of the picture.
        proposal: the boxes that the model proposes; people correct them.
        camera: where it comes from.
        at: when it was taken, UTC.
        score: its uncertainty, bits.
        probability: with which it was picked, (0, 1]; None where it was chosen by rank.
        id: SHA-256 of the picture, 64 hex digits; "" reads it from the file.
    """

    image: Path = field(converter=Path)
    proposal: Detections
    camera: str
    at: datetime = field(converter=_utc)
    score: float = 0.0
    probability: float | None = None
    id: str = ""

    def __attrs_post_init__(self) -> None:
        """Name it after its picture."""
        if not self.id:
            object.__setattr__(self, "id", sha256_of(self.image).removeprefix("sha256:"))

    @classmethod
    def of(
        cls, frame: SampledFrame, *, image: str | Path, proposal: Detections | None = None
    ) -> Self:
        """A frame of a `Selection`.

        Args:
            frame: the frame.
            image: the file of its picture.
            proposal: the boxes to propose; None: what was found in production.
        """
        return cls(
            image=Path(image),
            proposal=frame.detections if proposal is None else proposal,
            camera=frame.camera,
            at=frame.at,
            score=frame.score,
            probability=frame.inclusion_probability if frame.source == "uniform" else None,
        )


@frozen(kw_only=True, eq=False, repr=False)
class ReviewBatch:
    """A folder of frames that people look at, in the order of the queue.

    Attributes:
        folder: where it is.
        files: file names of the pictures in ``images``, first the one to look at first.
        frames: the frames, in the same order.
        class_names: index → name of every class.
    """

    folder: Path
    files: tuple[str, ...]
    frames: tuple[ReviewFrame, ...]
    class_names: Mapping[int, str]

    @classmethod
    def write(
        cls,
        folder: str | Path,
        frames: Iterable[ReviewFrame],
        class_names: Mapping[int, str] | Sequence[str],
    ) -> Self:
        """Write a batch, whole or not at all.

        Where the folder already holds the batch of these frames it is opened as it is: what
        people have done in it stays.

        Args:
            folder: where to; made where it is missing.
            frames: the frames, first the one to look at first.
            class_names: names of all classes.

        Raises:
            InputError: the folder holds something else, two frames are one picture, or a
                proposed box is of a class without a name.
            UnreadableData: a picture does not open.
            StoreError: the machine failed, such as a full disk; nothing of it stays.
        """
        root = Path(folder)
        names = dict(
            class_names.items() if isinstance(class_names, Mapping) else enumerate(class_names)
        )
        listed = [evolve(one, proposal=_clipped(one.proposal, names)) for one in frames]
        _refuse_twice(listed)
        files = tuple(_file_name(rank, one) for rank, one in enumerate(listed, start=1))
        if root.exists() and any(root.iterdir()):
            return cls._same(root, listed)
        with writing(root, what="the batch"), placing_folder(root) as part:
            _write(part, files, listed, names)
        return cls._same(root, listed)  # another call may have been faster

    @classmethod
    def _same(cls, root: Path, frames: Sequence[ReviewFrame]) -> Self:
        if (root / MANIFEST_NAME).is_file():
            there = cls.open(root)
            if [one.id for one in there.frames] == [one.id for one in frames]:
                return there
        msg = f"{str(root)!r} holds something else; write into a folder of its own"
        raise InputError(msg)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The batch that `write` made.

        Raises:
            UnreadableData: it is none.
        """
        root = Path(folder)
        file = root / MANIFEST_NAME
        try:
            content = json.loads(text_of(file, most_bytes=_MOST_BYTES))
            if content["schema"] != SCHEMA:
                msg = f"schema {content['schema']!r} of {str(file)!r} is not {SCHEMA!r}, which this version reads"
                raise UnreadableData(msg)
            names = {int(key): str(name) for key, name in content["class_names"].items()}
            return cls(
                folder=root,
                files=tuple(str(one["file"]) for one in content["frames"]),
                frames=tuple(_frame(one, root, names) for one in content["frames"]),
                class_names=names,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            msg = f"{str(file)!r} is no manifest of a review: {exc!r}"
            raise UnreadableData(msg) from exc

    def read(self, source: str | Path | None = None, *, whole: bool = False) -> Review:
        """What people have done so far.

        A frame is reviewed when it is ticked off in ``review.csv``, or when its labels are other
        than what was proposed. A label file that is empty says that nothing is in the picture.

        Args:
            source: a folder with labels (and, where classes are numbered otherwise, a data YAML),
                or a COCO JSON, as a tool exported it; None: the folder of the batch.
            whole: every frame that `source` holds was looked at, such as in the export of a task
                that is done.

        Raises:
            InputError: there is no such file or folder.
            UnreadableData: labels or list do not parse; all faults are told, by file and line.
        """
        place = self.folder if source is None else Path(source)
        found = self._labels(place)
        own_list = place / LIST_NAME
        ticked = read_list(own_list if own_list.is_file() else self.folder / LIST_NAME, self.files)
        done, edits = dict[str, Truth](), dict[str, Mapping[int, Edits]]()
        for name, frame in zip(self.files, self.frames, strict=True):
            if name not in found:
                continue
            changed = edits_of(frame.proposal, found[name])
            if whole or name in ticked or any(one.any for one in changed.values()):
                done[name], edits[name] = found[name], changed
        return Review(batch=self, labels=done, edits=edits)

    def label(self, frame_id: str, truth: Truth | Detections) -> None:
        """Write what somebody found in a frame, and tick it off.

        For reviews that are done in a notebook or a tool of your own.

        Raises:
            InputError: there is no such frame in the batch.
        """
        place = next((k for k, one in enumerate(self.frames) if one.id == frame_id), None)
        if place is None:
            msg = f"no frame {frame_id!r} in the batch; it has {len(self)}"
            raise InputError(msg)
        name = self.files[place]
        path = (self.folder / "labels" / name).with_suffix(".txt")
        lines = label_lines(LabelledFrame(truth=truth))
        write_whole(path, lines.encode("ascii"), what="a label file")
        ticked = read_list(self.folder / LIST_NAME, self.files)
        write_list(self.folder / LIST_NAME, _rows(self.files, self.frames, {*ticked, name}))

    def _labels(self, place: Path) -> dict[str, Truth]:
        if place.suffix.lower() == ".json":
            return read_coco_labels(place, self.folder / "images", self.files, self.class_names)
        sizes = {
            name: frame.proposal.image_size
            for name, frame in zip(self.files, self.frames, strict=True)
        }
        return read_yolo_labels(place, sizes, self.class_names)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __repr__(self) -> str:
        """Frames and where they are."""
        return f"ReviewBatch({len(self)} frames in {str(self.folder)!r})"


@frozen(kw_only=True, eq=False, repr=False)
class Review(Shown):
    """What people made of a batch.

    Attributes:
        batch: the batch.
        labels: file → what is truly in the frame, of the reviewed ones.
        edits: file → class → what became of its proposed boxes, of the reviewed ones.
    """

    batch: ReviewBatch
    labels: Mapping[str, Truth]
    edits: Mapping[str, Mapping[int, Edits]]

    @property
    def progress(self) -> ReviewProgress:
        """How far people are, by frame and by class."""
        batch, names = self.batch, self.batch.class_names
        by_class: dict[str, Edits] = {}
        waiting: Counter[str] = Counter()
        for name, frame in zip(batch.files, batch.frames, strict=True):
            for kind, edits in self.edits.get(name, {}).items():
                by_class[names[kind]] = by_class.get(names[kind], Edits()) + edits
            if name not in self.labels:
                waiting.update(names[kind] for kind in frame.proposal.class_id.tolist())
        at_random = [
            name
            for name, frame in zip(batch.files, batch.frames, strict=True)
            if frame.probability is not None
        ]
        return ReviewProgress(
            reviewed=len(self.labels),
            of=len(batch),
            missing=tuple(name for name in batch.files if name not in self.labels),
            random_reviewed=sum(name in self.labels for name in at_random),
            random_of=len(at_random),
            random_edits=sum(
                (one for name in at_random for one in self.edits.get(name, {}).values()), Edits()
            ),
            by_class=by_class,
            unreviewed=dict(waiting),
        )

    @property
    def chosen(self) -> tuple[LabelledFrame, ...]:
        """The reviewed frames that were chosen by rank: to train on, never to evaluate on."""
        return self._frames(at_random=False)

    @property
    def random(self) -> tuple[LabelledFrame, ...]:
        """The reviewed frames of the random part, weighted: to evaluate on, never to train on."""
        return self._frames(at_random=True)

    def recent(self, *, at: datetime) -> Holdout:
        """The random part as the recent set of a holdout.

        Args:
            at: when it came into the holdout, aware.

        Raises:
            TooLittleData: random frames are left to review: those that people did first need not
                be like the others, so that a part of the sample is no sample.
        """
        progress = self.progress
        if progress.random_reviewed < progress.random_of or not progress.random_of:
            msg = (
                f"{progress.random_reviewed} of {progress.random_of} random frames are reviewed; "
                "all of them are needed to tell how good a model is"
            )
            raise TooLittleData(msg)
        known = {one.id: one for one in self.batch.frames}
        frames = self.random
        return Holdout(
            frames=frames,
            class_names=self.batch.class_names,
            provenance={
                frame.id: Provenance(
                    part="recent",
                    source=known[frame.id].camera,
                    taken_at=known[frame.id].at,
                    added_at=at,
                    probability=known[frame.id].probability,
                    image_sha256=f"sha256:{frame.id}",
                )
                for frame in frames
            },
        )

    def _frames(self, *, at_random: bool) -> tuple[LabelledFrame, ...]:
        return tuple(
            LabelledFrame(
                truth=self.labels[name],
                image=frame.image,
                id=frame.id,
                tags={"camera": frame.camera, "day": frame.at.date().isoformat()},
                weight=1.0 / frame.probability if frame.probability else 1.0,
                chosen="random" if at_random else "selected",
            )
            for name, frame in zip(self.batch.files, self.batch.frames, strict=True)
            if name in self.labels and (frame.probability is not None) == at_random
        )

    def _view(self) -> View:
        """How far people are."""
        return self.progress._view()  # noqa: SLF001 - a protocol of the house

    def __repr__(self) -> str:
        """Frames done, of how many."""
        return f"Review({len(self.labels)} of {len(self.batch)} frames)"

    def __str__(self) -> str:
        """How far people are."""
        return str(self.progress)


# Writing ------------------------------------------------------------------------------------


def _clipped(found: Detections, class_names: Mapping[int, str]) -> Detections:
    """What is proposed, cut off at the edges of the frame; what lies outside is left out."""
    if unknown := sorted({int(one) for one in found.class_id} - class_names.keys()):
        msg = f"a proposed box is of class {unknown[0]}, which has no name in {dict(class_names)}"
        raise InputError(msg)
    height, width = found.image_size
    boxes = np.clip(found.xyxy, 0.0, [width, height] * 2)
    inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)  # also leaves out nan
    return evolve(
        found,
        xyxy=boxes[inside],
        confidence=found.confidence[inside],
        class_id=found.class_id[inside],
        class_names=dict(class_names),
    )


def _refuse_twice(frames: Sequence[ReviewFrame]) -> None:
    seen = Counter(one.id for one in frames)
    if twice := [one for one in frames if seen[one.id] > 1]:
        msg = f"{str(twice[0].image)!r} and {str(twice[1].image)!r} are one picture; review it once"
        raise InputError(msg)


def _file_name(rank: int, frame: ReviewFrame) -> str:
    """Sorted by name, files are in the order of the queue."""
    camera = re.sub(r"[^A-Za-z0-9.-]+", "_", frame.camera)[:60].strip(".") or "camera"
    return f"{rank:05d}-{camera}-{frame.at:%Y%m%dT%H%M%SZ}{frame.image.suffix.lower()}"


def _write(
    root: Path,
    files: Sequence[str],
    frames: Sequence[ReviewFrame],
    class_names: Mapping[int, str],
) -> None:
    for kind in ("images", "labels"):
        (root / kind).mkdir()
    for name, frame in zip(files, frames, strict=True):
        shutil.copyfile(frame.image, root / "images" / name)
        size = image_size(root / "images" / name)
        if size != tuple(frame.proposal.image_size):
            msg = (
                f"{str(frame.image)!r} has {size} px, its boxes are for {frame.proposal.image_size}"
            )
            raise UnreadableData(msg)
        label = (root / "labels" / name).with_suffix(".txt")
        label.write_text(label_lines(LabelledFrame(truth=frame.proposal)), encoding="ascii")
    lines = "".join(f"{name}\n" for _, name in sorted(class_names.items()))
    (root / "labels" / CLASSES_NAME).write_text(lines, encoding="utf-8")
    proposals = [(name, frame.proposal) for name, frame in zip(files, frames, strict=True)]
    to_json(root / COCO_NAME, coco_of(proposals, class_names))
    write_list(root / LIST_NAME, _rows(files, frames, set()))
    # no train: in it, so that nobody trains on proposals by mistake
    write_yaml(root / "data.yaml", {"val": "images"}, class_names)
    to_json(
        root / MANIFEST_NAME,
        {
            "schema": SCHEMA,
            "class_names": {str(index): name for index, name in class_names.items()},
            "frames": [_plain(name, frame) for name, frame in zip(files, frames, strict=True)],
        },
    )


def _rows(
    files: Sequence[str], frames: Sequence[ReviewFrame], ticked: set[str]
) -> list[dict[str, object]]:
    return [
        {
            "rank": rank,
            "file": name,
            "camera": frame.camera,
            "taken_at": frame.at.isoformat(),
            "score_bits": f"{frame.score:.2f}",
            "why": "chosen" if frame.probability is None else "random",
            "proposed_boxes": len(frame.proposal),
            "reviewed": "yes" if name in ticked else "",
        }
        for rank, (name, frame) in enumerate(zip(files, frames, strict=True), start=1)
    ]


def _plain(name: str, frame: ReviewFrame) -> dict[str, Any]:
    found = frame.proposal
    return {
        "file": name,
        "id": frame.id,
        "camera": frame.camera,
        "at": frame.at.isoformat(),
        "score": frame.score,
        "probability": frame.probability,
        "image_size": list(found.image_size),
        "xyxy": found.xyxy.tolist(),
        "confidence": found.confidence.tolist(),
        "class_id": found.class_id.tolist(),
    }


def _frame(plain: Mapping[str, Any], root: Path, class_names: Mapping[int, str]) -> ReviewFrame:
    height, width = plain["image_size"]
    return ReviewFrame(
        image=inside(root / "images", plain["file"]),
        proposal=Detections(
            xyxy=plain["xyxy"],
            confidence=plain["confidence"],
            class_id=plain["class_id"],
            image_size=(int(height), int(width)),
            class_names=class_names,
        ),
        camera=str(plain["camera"]),
        at=datetime.fromisoformat(plain["at"]),
        score=float(plain["score"]),
        probability=plain["probability"],
        id=str(plain["id"]),
    )
