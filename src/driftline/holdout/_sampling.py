"""A random sample of production frames to label: who was picked, with which probability."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import evolve, field, frozen

from driftline._checks import a, parts
from driftline._clock import as_optional_utc
from driftline._stats.bootstrap import generator
from driftline.errors import InputError, TooLittleData
from driftline.holdout._frames import names_of
from driftline.holdout._images import sha256_of, write_png
from driftline.holdout._manifest import Manifest, Provenance
from driftline.holdout._parsed import inside, new_folder
from driftline.holdout._sizing import expected_half_width
from driftline.holdout._yolo_format import write_yaml

__all__ = ["DAYPART", "DrawnSample", "PoolFrame", "Stratum", "draw"]

FEWEST: Final = 20
MOST: Final = 500
RECOMMENDED: Final = 200
"""20 to 500 frames are accepted and 200 to 500 recommended (the guide)."""

DAYPART: Final = "daypart"
_PARTS = ("night", "morning", "afternoon", "evening")  # from 0, 6, 12 and 18 o'clock


@frozen(kw_only=True, eq=False)
class PoolFrame:
    """One frame of production that may be picked for labelling.

    Attributes:
        image: a path, or ``(height, width, 3)`` uint8 RGB.
        id: name, unique among the frames; "" takes the path, or camera and place.
        camera: name of the camera; "" where there is one only.
        at: when it was taken, aware; None where unknown.
        tags: what else to draw or break down by.
        source: where it was taken from.
    """

    image: Any = field(repr=False)
    id: str = field(default="", validator=a(str, "text"))
    camera: str = field(default="", validator=a(str, "text"))
    at: datetime | None = field(default=None, converter=as_optional_utc)
    tags: Mapping[str, str] = field(factory=dict, validator=a(Mapping, "a mapping of text to text"))
    source: str = ""

    @classmethod
    def of(cls, value: object, place: int) -> PoolFrame:
        """A frame from itself, a path, an array, or anything with an image."""
        if isinstance(value, PoolFrame):
            made = value
        elif isinstance(value, (str, Path, np.ndarray)):
            made = cls(image=value)
        elif (image := getattr(value, "image", None)) is not None:
            made = cls(
                image=image,
                id=str(getattr(value, "id", "")),
                camera=str(getattr(value, "camera", "")),
                at=getattr(value, "at", None),
                tags=getattr(value, "tags", {}),
            )
        else:
            msg = f"frame {place} is a {type(value).__name__}; pass PoolFrame, a path or an array"
            raise InputError(msg)
        return made if made.id else evolve(made, id=made._name(place))

    def _name(self, place: int) -> str:
        stem = Path(self.image).stem if isinstance(self.image, (str, Path)) else f"{place:06d}"
        return f"{self.camera}-{stem}" if self.camera else stem

    def labels_by(self, by: Sequence[str], zone: tzinfo) -> dict[str, str]:
        """Value of each tag to draw by.

        Raises:
            InputError: it has no such tag, or no time for the part of the day.
        """
        return {name: self._tag(name, zone) for name in by}

    def _tag(self, name: str, zone: tzinfo) -> str:
        if name in self.tags:
            return self.tags[name]
        if name == "camera":
            return self.camera or "all"
        if name == DAYPART and self.at is not None:
            return _PARTS[self.at.astimezone(zone).hour // 6]
        msg = (
            f"frame {self.id!r} has no tag {name!r}"
            + (" and no time (at=) to tell the part of the day from" if name == DAYPART else "")
            + f"; pass by= without it, or frames with it (it has {sorted(self.tags)})"
        )
        raise InputError(msg)


@frozen(kw_only=True)
class Stratum:
    """Frames that are alike in what the sample is drawn by.

    Attributes:
        tags: what they have in common.
        size: frames there are.
        picked: frames that were drawn.
    """

    tags: Mapping[str, str]
    size: int
    picked: int

    @property
    def probability(self) -> float:
        """With which each of its frames was picked."""
        return self.picked / self.size


@frozen(kw_only=True, eq=False, repr=False)
class DrawnSample:
    """Frames drawn at random, to be labelled.

    Attributes:
        frames: the frames, in the order of their ids.
        strata: what they were drawn from.
        by: the tags they were drawn by.
        seed: of the draw.
        drawn_at: when they were drawn, UTC; None where not said.
        notes: what to know before they are labelled.
    """

    frames: tuple[PoolFrame, ...]
    tags: tuple[Mapping[str, str], ...]
    probabilities: tuple[float, ...]
    strata: tuple[Stratum, ...]
    by: tuple[str, ...]
    seed: int
    drawn_at: datetime | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __repr__(self) -> str:
        """Frames drawn, of how many."""
        whole = sum(one.size for one in self.strata)
        return f"DrawnSample({len(self)} of {whole} frames, {len(self.strata)} strata, seed {self.seed})"

    def export(self, folder: str | Path, class_names: Sequence[str] | Mapping[int, str]) -> Path:
        """Write the frames as a dataset to label, with the manifest that remembers the draw.

        Pictures go to ``images/test``; label files belong into ``labels/test``, one for **each**
        picture: an empty one says that nothing is in it, a missing one that nobody looked.
        The YAML has no ``train:``, so that nobody trains on a holdout by mistake.

        Args:
            folder: where to; made where it is missing, and must hold no sample yet.
            class_names: names of the classes, in the model's order.

        Returns:
            The path of ``data.yaml``; open it with `Holdout.open` when the labels are there.

        Raises:
            InputError: the folder holds something already, or an id leads out of it.
            MissingExtra: Pillow is not installed (for arrays).
            StoreError: the machine failed, such as a full disk; nothing of it stays.
        """
        names = names_of(class_names)
        frames, tags = {}, {}
        with new_folder(folder) as root:
            pictures = root / "images" / "test"
            for frame, own, probability in zip(
                self.frames, self.tags, self.probabilities, strict=True
            ):
                path = _write(frame, pictures)
                name = path.relative_to(root).as_posix()
                tags[name] = {**frame.tags, **own}
                frames[name] = Provenance(
                    source=frame.source or frame.camera,
                    taken_at=frame.at,
                    added_at=self.drawn_at,
                    probability=probability,
                    image_sha256=sha256_of(path),
                )
            Manifest(class_names=names, frames=frames, tags=tags, drawn=True).save(root)
            data = root / "data.yaml"
            write_yaml(data, {"val": "images/test", "test": "images/test"}, names)
        return data


def _write(frame: PoolFrame, folder: Path) -> Path:
    if isinstance(frame.image, (str, Path)):
        origin = Path(frame.image)
        if not origin.is_file():
            msg = f"no image at {str(origin)!r}"
            raise InputError(msg)
        target = inside(folder, _flat(frame.id) + origin.suffix.lower())
        shutil.copyfile(origin, target)
        return target
    target = inside(folder, _flat(frame.id) + ".png")
    write_png(frame.image, target)
    return target


def _flat(name: str) -> str:
    """An id as the name of one file."""
    return name.replace("\\", "_").replace("/", "_").replace(":", "_").lstrip(".") or "_"


def draw(
    frames: Iterable[object],
    *,
    n: int,
    by: Sequence[str],
    seed: int,
    zone: tzinfo = UTC,
    drawn_at: datetime | None = None,
) -> DrawnSample:
    """Draw a stratified random sample in one pass; see `Holdout.sample`."""
    asked: object = n
    if not isinstance(asked, int) or not FEWEST <= asked <= MOST:
        msg = f"n={n!r}: a holdout takes {FEWEST} to {MOST} frames; {RECOMMENDED} to {MOST} are recommended"
        raise InputError(msg)
    rng = generator(seed)
    by = (by,) if isinstance(by, str) else parts(by, str, name="by", what="a tag")
    kept, sizes = _reservoirs(_listed(frames), n=n, by=by, zone=zone, rng=rng)
    whole = sum(sizes.values())
    if whole < n:
        msg = f"{whole} frames cannot give a sample of {n}; collect more, or ask for fewer"
        raise TooLittleData(msg)
    picked = _allocate(sizes, n)
    chosen = [
        (frame, dict(zip(by, key, strict=True)), picked[key] / sizes[key])
        for key in sorted(sizes)
        for frame in _some(kept[key], picked[key], rng)
    ]
    chosen.sort(key=lambda one: one[0].id)
    return DrawnSample(
        frames=tuple(one[0] for one in chosen),
        tags=tuple(one[1] for one in chosen),
        probabilities=tuple(one[2] for one in chosen),
        strata=tuple(
            Stratum(tags=dict(zip(by, key, strict=True)), size=sizes[key], picked=picked[key])
            for key in sorted(sizes)
        ),
        by=by,
        seed=seed,
        drawn_at=as_optional_utc(drawn_at),
        notes=_notes(n),
    )


def _listed(frames: Iterable[object]) -> Iterator[object]:
    try:
        return iter(frames)
    except TypeError as exc:
        msg = (
            f"frames={frames!r:.200} must be a list of frames, or whatever gives one after another"
        )
        raise InputError(msg) from exc


def _notes(n: int) -> tuple[str, ...]:
    if n >= RECOMMENDED:
        return ()
    note = (
        f"{n} frames: the 95 % interval of mAP will be about ±{expected_half_width(n):.3f}; "
        f"with {RECOMMENDED} it is ±{expected_half_width(RECOMMENDED):.3f}"
    )
    warnings.warn(note, UserWarning, stacklevel=4)
    return (note,)


def _reservoirs(
    frames: Iterable[object],
    *,
    n: int,
    by: Sequence[str],
    zone: tzinfo,
    rng: np.random.Generator,
) -> tuple[dict[tuple[str, ...], list[PoolFrame]], Counter[tuple[str, ...]]]:
    """Up to n frames of each stratum, every one as likely (algorithm R, Vitter 1985)."""
    kept: dict[tuple[str, ...], list[PoolFrame]] = {}
    sizes: Counter[tuple[str, ...]] = Counter()
    seen: set[str] = set()
    for place, value in enumerate(frames):
        frame = PoolFrame.of(value, place)
        name = _flat(frame.id)
        if name in seen:
            msg = f"two frames have the id {frame.id!r}; an id names one frame"
            raise InputError(msg)
        seen.add(name)
        key = tuple(frame.labels_by(by, zone).values())
        sizes[key] += 1
        own = kept.setdefault(key, [])
        if len(own) < n:
            own.append(frame)
        elif (slot := int(rng.integers(sizes[key]))) < n:
            own[slot] = frame
    return kept, sizes


def _allocate(sizes: Mapping[tuple[str, ...], int], n: int) -> dict[tuple[str, ...], int]:
    """Frames to pick of each stratum: in proportion, one of each at least, largest rests first.

    Raises:
        InputError: there are more strata than frames to pick.
    """
    if len(sizes) > n:
        msg = f"{len(sizes)} strata cannot each give one of {n} frames; draw by fewer tags"
        raise InputError(msg)
    whole = sum(sizes.values())
    ideal = {key: n * size / whole for key, size in sizes.items()}
    picked = {key: min(sizes[key], max(1, int(share))) for key, share in ideal.items()}
    while sum(picked.values()) != n:
        step = 1 if sum(picked.values()) < n else -1
        able = [
            key
            for key in sorted(sizes)
            if (picked[key] < sizes[key] if step > 0 else picked[key] > 1)
        ]
        best = max(able, key=lambda key: step * (ideal[key] - picked[key]))
        picked[best] += step
    return picked


def _some(frames: Sequence[PoolFrame], n: int, rng: np.random.Generator) -> list[PoolFrame]:
    return [frames[index] for index in rng.permutation(len(frames))[:n]]
