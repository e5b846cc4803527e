"""The holdout as one object: labelled frames, what they are called, and where they come from."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from attrs import evolve, field, frozen

from driftline._checks import a, chosen, part, parts, refuse_number, refuse_other
from driftline._clock import as_optional_utc, as_utc
from driftline._stats.bootstrap import generator
from driftline.errors import ContextMismatch, InputError, UnreadableData
from driftline.holdout._checks import ClassMapping, Leak, check_pictures, class_numbers, leaks
from driftline.holdout._coco_format import read_coco
from driftline.holdout._frames import LabelledFrame, content_digest, frames_of, names_of
from driftline.holdout._images import sha256_of, write_png
from driftline.holdout._manifest import MANIFEST_NAME, QUARTER, Manifest, Part, Provenance
from driftline.holdout._ndjson import Fetch, read_ndjson
from driftline.holdout._parsed import MissingLabels, Parsed, new_folder
from driftline.holdout._sampling import DrawnSample, draw
from driftline.holdout._yolo_format import label_line, read_folder, read_yolo, write_yaml

__all__ = ["Holdout"]

_SHOWN = 5


def _frames(given: Iterable[LabelledFrame]) -> tuple[LabelledFrame, ...]:
    return parts(given, LabelledFrame, name="frames", what="a LabelledFrame")


@frozen(kw_only=True, eq=False, repr=False)
class Holdout:
    """Labelled frames that a model was never trained on.

    A sequence of `LabelledFrame`. Pictures stay on disk until somebody looks at them.

    Attributes:
        frames: the labelled frames, each with an id of its own.
        class_names: index → name of every class, in the order the labels count in.
        provenance: id of a frame → where it comes from.
        source: the file or folder it was read from; "" where it was not read.
        refreshed_at: when it was last drawn as a whole, UTC; None: when the first of its recent
            frames came. From then on the quarter counts.
    """

    frames: tuple[LabelledFrame, ...] = field(converter=_frames)
    class_names: Mapping[int, str] = field(converter=names_of)
    provenance: Mapping[str, Provenance] = field(
        factory=dict, validator=a(Mapping, "a mapping of frames to their Provenance")
    )
    source: str = field(default="", validator=a(str, "text"))
    refreshed_at: datetime | None = field(default=None, converter=as_optional_utc)

    def __attrs_post_init__(self) -> None:
        """Refuse frames without a name, or two of one."""
        names = [frame.id for frame in self.frames]
        if len(set(names)) < len(names) or "" in names:
            frames_of(self.frames)  # says which
            msg = "a frame of a holdout needs an id; Holdout.of names frames that have none"
            raise InputError(msg)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __getitem__(self, index: int, /) -> LabelledFrame:
        """One frame."""
        return self.frames[index]

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Every frame."""
        return iter(self.frames)

    def __repr__(self) -> str:
        """Frames, classes and parts."""
        parts = ", ".join(
            f"{count} {part}"
            for part in ("recent", "golden", "link")
            if (count := len(self._ids_of(part)))
        )
        return f"Holdout({len(self)} frames ({parts}), {len(self.class_names)} classes)"

    # --- where it comes from ----------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        split: str | None = None,
        images: str | Path | None = None,
        class_names: Mapping[int, str] | Sequence[str] | None = None,
        missing_labels: MissingLabels | None = None,
        fetch: Fetch | None = None,
    ) -> Self:
        """Read a holdout: a data YAML, a folder, COCO JSON, or the Platform's NDJSON export.

        A manifest beside the data (``driftline-holdout.json``, from `save` or
        `DrawnSample.export`) gives tags, weights and provenance, and what it records must fit.

        Args:
            path: ``.yaml`` or ``.yml``, ``.json``, ``.ndjson`` or ``.jsonl``, or a folder with one
                data YAML or with images.
            split: which split of a YAML (None: ``test``, else ``val``) or export (None: all).
            images: folder of the images of COCO or NDJSON, where it is not beside the file.
            class_names: names of the classes; for a folder without a YAML only.
            missing_labels: what an image without a label file is: "background" has no objects
                (Ultralytics' rule), "refuse" was not labelled. None: "refuse" for frames drawn by
                `sample`, else "background".
            fetch: gets the images of an NDJSON export; None: nothing is fetched.

        Raises:
            InputError: there is no such file or split, a name leads out of the folder, or a
                ``download:`` key is there.
            UnreadableData: labels or pictures do not parse, are missing or not labelled yet; all
                faults are told at once.
            ContextMismatch: a frame is not what the manifest recorded.
            MissingExtra: Pillow or PyYAML is not installed (extra ``holdout``).
        """
        file = _path(path, "path")
        if missing_labels is not None:
            refuse_other("missing_labels", missing_labels, get_args(MissingLabels))
        if split is not None:
            part(split, str, name="split", what="the name of a split")
        found = _read(file, split=split, images=images, class_names=class_names, fetch=fetch)
        folder = file if file.is_dir() else file.parent
        manifest = Manifest.load(folder) if (folder / MANIFEST_NAME).is_file() else None
        drawn = manifest is not None and manifest.drawn
        if (missing_labels or ("refuse" if drawn else "background")) == "refuse":
            _require_labels(found, str(file))
        made = cls(frames=found.frames, class_names=found.class_names, source=str(file))
        return made if manifest is None else made._with(manifest)

    @classmethod
    def of(
        cls,
        frames: Iterable[Any],
        class_names: Mapping[int, str] | Sequence[str],
        *,
        source: str = "",
        part: Part = "recent",
        added_at: datetime | None = None,
    ) -> Self:
        """A holdout of frames at hand: `LabelledFrame`, or anything with image and truth.

        Args:
            frames: the frames; those without id are numbered.
            class_names: names of the classes.
            source: where they were taken from.
            part: the part they belong to.
            added_at: when they were put together, aware.

        Raises:
            InputError: a frame has no truth, two have one id, or `added_at` is naive.
        """
        given = parts(frames, object, name="frames", what="a labelled frame")
        labelled = [LabelledFrame.of(one) for one in given]
        named = [
            frame if frame.id else evolve(frame, id=f"frame-{place:06d}")
            for place, frame in enumerate(labelled)
        ]
        origin = {
            frame.id: Provenance(part=part, source=source, added_at=added_at) for frame in named
        }
        return cls(frames=named, class_names=class_names, provenance=origin, source=source)

    @staticmethod
    def sample(
        frames: Iterable[object],
        *,
        n: int,
        by: Sequence[str] = ("camera", "daypart"),
        seed: int,
        zone: tzinfo = UTC,
        at: datetime | None = None,
    ) -> DrawnSample:
        """Draw frames of production at random, to be labelled.

        Each stratum (camera and part of the day) gives its share, at least one frame, and each of
        its frames is as likely as another: only such a sample tells how good the model is on what
        it sees. Frames picked because they look unsure, or drifted, would tell of those.
        The frames are gone through once; of those not picked none is kept.

        Args:
            frames: `PoolFrame`, paths, arrays, or anything with an attribute ``image``.
            n: frames to pick, 20 to 500.
            by: tags to draw by; ``"daypart"`` (night, morning, afternoon, evening: six hours
                each) comes from the frame's time.
            seed: of the draw: the same frames and seed, the same sample.
            zone: time zone of the parts of the day.
            at: when the sample was drawn, aware; from then on the quarter counts.

        Raises:
            InputError: `n` is out of range, or a frame has no such tag.
            TooLittleData: there are fewer frames than `n`.

        Warns:
            UserWarning: below 200 frames: how wide the interval will be.
        """
        return draw(frames, n=n, by=by, seed=seed, zone=zone, drawn_at=at)

    def _with(self, manifest: Manifest) -> Self:
        """The same frames with what a manifest knows of them, held against what it recorded."""
        if dict(manifest.class_names) != dict(self.class_names):
            manifest.require_same(evolve(manifest, class_names=self.class_names))
        here = {frame.id for frame in self.frames}
        gone = [name for name in manifest.frames if name not in here]
        changed = [
            frame.id
            for frame in self.frames
            if (known := manifest.frames.get(frame.id)) is not None and _changed(frame, known)
        ]
        if gone or changed:
            what = [f"{name}: missing" for name in gone] + [f"{name}: changed" for name in changed]
            msg = (
                f"{self.source} is not what its manifest recorded: {'; '.join(what[:_SHOWN])}"
                f"{f' and {len(what) - _SHOWN} more' if len(what) > _SHOWN else ''}; restore them, "
                f"or remove {MANIFEST_NAME} and save a new one if the change is meant"
            )
            raise ContextMismatch(msg, fields=("holdout",))
        frames = [
            evolve(
                frame,
                tags={**frame.tags, **manifest.tags.get(frame.id, {})},
                weight=_weight(manifest.frames.get(frame.id)),
            )
            for frame in self.frames
        ]
        return evolve(
            self,
            frames=frames,
            provenance=dict(manifest.frames),
            refreshed_at=manifest.refreshed_at,
        )

    # --- what it consists of ----------------------------------------------------------------

    @property
    def golden(self) -> Self:
        """The locked frames."""
        return self._part("golden")

    @property
    def recent(self) -> Self:
        """The random sample of this quarter."""
        return self._part("recent")

    @property
    def link(self) -> Self:
        """The frames kept from the quarter before."""
        return self._part("link")

    @property
    def due(self) -> datetime | None:
        """When the next refresh is due, UTC; None where nobody said when the last one was.

        A quarter (13 weeks, the guide) after it was drawn or refreshed as a whole. Frames that
        join in between, such as the random ones of a retraining, are no new sample of the stream:
        they postpone nothing.
        """
        return None if self._drawn is None else self._drawn + QUARTER

    def is_due(self, now: datetime) -> bool:
        """Whether the quarter is over."""
        return self.due is not None and as_utc(now, name="now") >= self.due

    def age(self, now: datetime) -> timedelta | None:
        """Time since it was drawn or refreshed as a whole; None where nobody said when that was.

        Raises:
            InputError: `now` is before that.
        """
        if self._drawn is None:
            return None
        age = as_utc(now, name="now") - self._drawn
        if age < timedelta(0):
            msg = (
                f"now={now.isoformat()} is before the holdout was drawn, {self._drawn.isoformat()}"
            )
            raise InputError(msg)
        return age

    @property
    def _drawn(self) -> datetime | None:
        """When the quarter began: with the first of the recent frames, unless it is known better."""
        times = [
            one.added_at
            for one in self.provenance.values()
            if one.part == "recent" and one.added_at is not None
        ]
        return self.refreshed_at or min(times, default=None)

    @property
    def digest(self) -> str:
        """``sha256:…`` of classes, pictures and labels; reads every picture."""
        return self.manifest().digest

    def manifest(self) -> Manifest:
        """What it consists of, by digests; reads every picture."""
        return Manifest(
            class_names=self.class_names,
            frames={
                frame.id: evolve(
                    self.provenance.get(frame.id, Provenance(source=self.source)),
                    image_sha256=_picture_digest(frame),
                    labels_digest=_labels_digest(frame),
                    probability=1.0 / frame.weight if frame.weight > 1.0 else None,
                )
                for frame in self.frames
            },
            tags={frame.id: frame.tags for frame in self.frames},
            refreshed_at=self.refreshed_at,
        )

    def save(self, path: str | Path | None = None) -> Path:
        """Write the manifest; without a path beside the data, where `open` holds the data against it.

        Raises:
            InputError: it was not read from a file and no path is given.
        """
        if path is None:
            if not self.source:
                msg = "the holdout was not read from a file; pass a path for its manifest"
                raise InputError(msg)
            origin = Path(self.source)
            path = origin if origin.is_dir() else origin.parent
        return self.manifest().save(path)

    # --- what must hold ---------------------------------------------------------------------

    def check(
        self,
        model_classes: Mapping[int, str] | Sequence[str] | None = None,
        *,
        train: Holdout | Iterable[str | Path] | None = None,
        class_mapping: ClassMapping | None = None,
    ) -> None:
        """Hold it against what must be true before a score means anything.

        Every picture is opened and decoded.

        Args:
            model_classes: names of the model's classes, in its order; None: not checked.
            train: what the model was trained on; None: not checked.
            class_mapping: what differing names mean, see `HoldoutValidator`.

        Raises:
            UnreadableData: a picture is missing, does not open, or has another size than its labels.
            ContextMismatch: the model names or numbers its classes otherwise.
            InputError: a picture of the holdout is among those the model was trained on.
        """
        check_pictures(self.frames, self.source or "the holdout")
        if model_classes is not None:
            class_numbers(self.class_names, names_of(model_classes), class_mapping)
        if train is not None and (found := self.leaks(train)):
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            msg = (
                f"{len(found)} of {len(self)} frames are pictures the model was trained on: "
                f"{'; '.join(str(one) for one in found[:_SHOWN])}{more}; leave them out with "
                "holdout.without([leak.frame for leak in holdout.leaks(train)])"
            )
            raise InputError(msg)

    def leaks(self, train: Holdout | Iterable[str | Path]) -> tuple[Leak, ...]:
        """Frames that are pictures of the training set, also compressed or resized anew.

        Frames without labelled objects are left out: before a camera that stands still they all
        look alike.

        Args:
            train: a holdout, or paths of the training pictures.

        Raises:
            InputError: `train` is neither.
            UnreadableData: a picture does not open.
        """
        theirs: list[tuple[str, Any]] = (
            [(frame.id, frame.image) for frame in train.frames]
            if isinstance(train, Holdout)
            else [
                (str(one), Path(one))
                for one in parts(train, (str, Path), name="train", what="the path of a picture")
            ]
        )
        return leaks(
            [
                (frame.id, frame.image)
                for frame in self.frames
                if frame.image is not None and len(frame.truth)
            ],
            [one for one in theirs if one[1] is not None],
        )

    # --- what becomes of it -----------------------------------------------------------------

    def without(self, ids: Collection[str]) -> Self:
        """The same without some frames.

        Raises:
            InputError: it has no such frame.
        """
        gone = chosen(ids, str, name="ids", what="the id of a frame")
        if unknown := gone - {frame.id for frame in self.frames}:
            msg = f"no frame {min(unknown)!r} in the holdout"
            raise InputError(msg)
        return self._only({frame.id for frame in self.frames} - gone)

    def lock(self) -> Self:
        """The same frames as golden ones, with digests that `open` holds them against once saved.

        When they were drawn is kept: a quarter later a recent sample is due, whatever else joined.
        """
        locked = {name: evolve(one, part="golden") for name, one in self.manifest().frames.items()}
        return evolve(self, provenance=locked, refreshed_at=self._drawn)

    def refresh(self, new: Holdout, *, at: datetime, overlap: float = 0.25, seed: int = 0) -> Self:
        """The holdout of the next quarter.

        Golden frames stay. Of the recent ones a random share stays as link, on which the same
        model is scored before and after, so that the two series can be told apart from the two
        samples. The frames of `new` become the recent ones.

        Args:
            new: this quarter's labelled sample.
            at: when the quarter begins, aware.
            overlap: share of the recent frames that stay as link, [0, 1].
            seed: of the draw.

        Raises:
            ContextMismatch: the two name their classes differently.
            InputError: a frame is in both, or the share is out of range.
        """
        refuse_number("overlap", overlap, "a number from 0 to 1", least=0, most=1)
        part(new, Holdout, name="new", what="a Holdout")
        class_numbers(self.class_names, new.class_names)
        old = sorted(self._ids_of("recent"))
        rng = generator(seed)
        kept = {old[index] for index in rng.permutation(len(old))[: round(overlap * len(old))]}
        stays = self._only(kept | self._ids_of("golden"))
        origin = {
            name: evolve(one, part="link") if name in kept else one
            for name, one in origins_of(stays).items()
        }
        fresh = {
            name: evolve(one, part="recent", added_at=at) for name, one in origins_of(new).items()
        }
        if both := sorted(origin.keys() & fresh.keys()):
            msg = f"the frame {both[0]!r} is in both quarters; a new sample has new frames"
            raise InputError(msg)
        return evolve(
            self,
            frames=(*stays.frames, *new.frames),
            provenance=origin | fresh,
            source="",
            refreshed_at=at,
        )

    def write_yolo(self, folder: str | Path) -> Path:
        """Write it as a dataset of its own: images, labels, ``data.yaml`` and the manifest.

        Crowds and ignored objects are left out: label files cannot say what they are.

        Returns:
            The path of ``data.yaml``.

        Raises:
            InputError: the folder is not empty, or a frame has no picture.
            StoreError: the machine failed, such as a full disk; nothing of it stays.
        """
        named = {}
        with new_folder(folder) as root:
            for place, frame in enumerate(self.frames):
                named[frame.id] = name = _copy(frame, root / "images" / "test", place)
                label = (root / "labels" / "test" / name).with_suffix(".txt")
                label.write_text(label_lines(frame), encoding="utf-8")
            data = root / "data.yaml"
            write_yaml(data, {"val": "images/test", "test": "images/test"}, self.class_names)
            self._copied(data, named).save()
        return data

    def _copied(self, data: Path, named: Mapping[str, str]) -> Self:
        """What was written to a data YAML, with what is known of each frame."""
        known = {
            f"images/test/{name}": frame for frame in self.frames for name in [named[frame.id]]
        }
        origin = origins_of(self)
        return evolve(
            self,
            frames=[
                evolve(one, tags=known[one.id].tags, weight=known[one.id].weight)
                for one in read_yolo(data).frames
            ],
            provenance={name: origin[frame.id] for name, frame in known.items()},
            source=str(data),
        )

    def _ids_of(self, part: str) -> set[str]:
        return {name for name, one in origins_of(self).items() if one.part == part}

    def _part(self, part: Part) -> Self:
        return self._only(self._ids_of(part))

    def _only(self, ids: Collection[str]) -> Self:
        frames = [frame for frame in self.frames if frame.id in ids]
        origin = {name: one for name, one in self.provenance.items() if name in ids}
        return evolve(self, frames=frames, provenance=origin)


def _path(value: str | Path, name: str) -> Path:
    return Path(part(value, (str, Path), name=name, what="a file or folder"))


def origins_of(holdout: Holdout) -> dict[str, Provenance]:
    """Where every frame comes from, those that nobody recorded included."""
    default = Provenance(source=holdout.source)
    return {frame.id: holdout.provenance.get(frame.id, default) for frame in holdout.frames}


def label_lines(frame: LabelledFrame) -> str:
    """The label file of a frame; crowds and ignored objects are left out."""
    truth = frame.truth
    return "".join(
        label_line(int(kind), box, truth.image_size) + "\n"
        for kind, box, unjudged in zip(truth.class_id, truth.xyxy, truth.unjudged, strict=True)
        if not unjudged
    )


def _copy(frame: LabelledFrame, folder: Path, place: int) -> str:
    """Write the picture of a frame under a name that is its own; returns the name."""
    if frame.image is None:
        msg = f"frame {frame.id!r} has no picture to write"
        raise InputError(msg)
    stem = f"{place:06d}-{Path(frame.id).stem}"
    if isinstance(frame.image, (str, Path)):
        name = stem + Path(frame.image).suffix.lower()
        shutil.copyfile(frame.image, folder / name)
        return name
    write_png(frame.image, folder / f"{stem}.png")
    return f"{stem}.png"


def _read(
    file: Path,
    *,
    split: str | None,
    images: str | Path | None,
    class_names: Mapping[int, str] | Sequence[str] | None,
    fetch: Fetch | None,
) -> Parsed:
    folder = None if images is None else _path(images, "images")
    if file.is_dir():
        found = sorted([*file.glob("*.yaml"), *file.glob("*.yml")])
        if len(found) == 1 and class_names is None:
            return read_yolo(found[0], split=split)
        if class_names is None:
            msg = f"{str(file)!r} holds {len(found)} data YAMLs; pass the path of one, or class_names="
            raise InputError(msg)
        return read_folder(file, names_of(class_names))
    match file.suffix.lower():
        case ".yaml" | ".yml":
            return read_yolo(file, split=split)
        case ".json":
            return read_coco(file, images=folder)
        case ".ndjson" | ".jsonl":
            return read_ndjson(file, images=folder, split=split, fetch=fetch)
        case _:
            pass
    what = "is none of" if file.exists() else "does not exist; pass"
    msg = f"{str(file)!r} {what} .yaml, .json (COCO), .ndjson or a folder"
    raise InputError(msg)


def _require_labels(found: Parsed, source: str) -> None:
    if not found.unlabelled:
        return
    shown = ", ".join(found.unlabelled[:_SHOWN])
    msg = (
        f"{len(found.unlabelled)} of {len(found.frames)} frames of {source} have no label file "
        f"({shown}); an empty one says that nothing is in the picture"
    )
    raise UnreadableData(msg)


def _weight(origin: Provenance | None) -> float:
    return 1.0 if origin is None or origin.probability is None else 1.0 / origin.probability


def _changed(frame: LabelledFrame, known: Provenance) -> bool:
    """Whether picture or labels are not what was recorded."""
    if known.labels_digest is not None and known.labels_digest != _labels_digest(frame):
        return True
    return known.image_sha256 is not None and known.image_sha256 != _picture_digest(frame)


def _picture_digest(frame: LabelledFrame) -> str | None:
    if frame.image is None:
        return None
    if isinstance(frame.image, (str, Path)):
        return sha256_of(Path(frame.image))
    return f"pixels:{content_digest([np.asarray(frame.image)])}"


def _labels_digest(frame: LabelledFrame) -> str:
    truth = frame.truth
    return content_digest([truth.xyxy, truth.class_id, truth.unjudged])
