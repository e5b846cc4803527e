"""A folder as a store of datasets: pictures by their digest, versions that never change.

A version is one JSON file, named by the digest of what it says; pictures lie beside them once,
however many versions hold them. Nothing is ever overwritten but the name of the newest version.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

from attrs import field, frozen

from driftline._files import placing, write_whole
from driftline.errors import ContextMismatch, InputError, UnreadableData
from driftline.holdout import LabelledFrame
from driftline.holdout._dataset import label_lines
from driftline.holdout._images import sha256_of
from driftline.holdout._parsed import text_of
from driftline.holdout._yolo_format import write_yaml

__all__ = ["DatasetStore", "Entry", "Version", "named", "write_once"]

Split: TypeAlias = Literal["train", "val"]
SCHEMA: Final = "driftline.dataset/1"
_MOST_BYTES = 4_000_000_000
_DIGEST: Final = re.compile("[0-9a-f]{64}")


@frozen(kw_only=True)
class Entry:
    """One picture of a version.

    Attributes:
        suffix: of its file, such as ".png".
        split: the split it is in.
        labels: its label file.
    """

    suffix: str
    split: Split
    labels: str


@frozen(kw_only=True)
class Version:
    """What a dataset held at a time.

    Attributes:
        class_names: index → name.
        entries: SHA-256 of a picture → what is known of it.
    """

    class_names: Mapping[int, str]
    entries: Mapping[str, Entry] = field(factory=dict)

    @property
    def digest(self) -> str:
        """64 hex digits: the same classes, pictures, splits and labels, the same digest."""
        return sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """As JSON, one form for one content."""
        content = {
            "schema": SCHEMA,
            "class_names": {str(index): name for index, name in sorted(self.class_names.items())},
            "frames": {
                name: [one.suffix, one.split, one.labels]
                for name, one in sorted(self.entries.items())
            },
        }
        return json.dumps(content, indent=0) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """The version of a file, which must be named by its digest.

        Raises:
            UnreadableData: it is none, or was changed.
        """
        try:
            content = json.loads(text_of(path, most_bytes=_MOST_BYTES))
            made = cls(
                class_names={int(key): str(name) for key, name in content["class_names"].items()},
                entries={
                    str(name): Entry(suffix=suffix, split=split, labels=labels)
                    for name, (suffix, split, labels) in content["frames"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            msg = f"{str(path)!r} is no version of a dataset: {exc!r}"
            raise UnreadableData(msg) from exc
        if made.digest != path.stem:
            msg = f"{str(path)!r} was changed: its content has the digest {made.digest[:12]}…"
            raise UnreadableData(msg)
        return made

    def count(self, split: Split) -> int:
        """Pictures of a split."""
        return sum(one.split == split for one in self.entries.values())

    def plus(
        self, frames: Mapping[Split, Sequence[LabelledFrame]], class_names: Mapping[int, str]
    ) -> Version:
        """The same and some frames; new labels of a picture take the place of old ones.

        Raises:
            ContextMismatch: the classes are others.
            InputError: a picture is in both splits, is no file, or has an id that is no digest.
        """
        if self.entries and dict(class_names) != dict(self.class_names):
            msg = f"the dataset has the classes {dict(self.class_names)}, the new frames {dict(class_names)}"
            raise ContextMismatch(msg, fields=("class_names",))
        added: dict[str, Entry] = {}
        for split, some in frames.items():
            for frame in some:
                if frame.id in added:
                    msg = (
                        f"the picture {frame.id} is there twice; in both splits it would choose the "
                        "best epoch by what was learned by heart: leave it out of one"
                    )
                    raise InputError(msg)
                suffix = _file_of(frame).suffix.lower()
                added[frame.id] = Entry(suffix=suffix, split=split, labels=label_lines(frame))
        return Version(class_names=dict(class_names), entries={**self.entries, **added})


def _file_of(frame: LabelledFrame) -> Path:
    """The file of a frame that is named as it must be, so that its name is safe as a path.

    Raises:
        InputError: it has no file, or its id is no digest.
    """
    if not isinstance(frame.image, (str, Path)):
        msg = f"frame {frame.id!r} is no file; write its picture to one"
        raise InputError(msg)
    if not _DIGEST.fullmatch(frame.id):
        msg = f"the id of {str(frame.image)!r} is {frame.id!r}; it must be the file's SHA-256, 64 hex digits"
        raise InputError(msg)
    return Path(frame.image)


@frozen
class DatasetStore:
    """The folder.

    Attributes:
        folder: where pictures, versions, and what was made under which key are.
    """

    folder: Path

    def pictures(self) -> frozenset[str]:
        """SHA-256 of every picture that any version holds."""
        found = self.folder.glob("pictures/*/[!.]*")  # with a dot: it is being written
        return frozenset(path.stem for path in found)

    def newest(self) -> Version | None:
        """The version that was made last; None before the first."""
        head = self.folder / "newest"
        return self.version(head.read_text(encoding="ascii").strip()) if head.is_file() else None

    def version(self, digest: str) -> Version:
        """The version of a digest."""
        return Version.read(self.folder / "versions" / f"{digest}.json")

    def noted(self, key: str) -> dict[str, Any] | None:
        """What was noted under a key; None before."""
        path = self._note(key)
        if not path.is_file():
            return None
        note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return note

    def keep(
        self, key: str, version: Version, frames: Sequence[LabelledFrame], note: Mapping[str, Any]
    ) -> None:
        """Keep a version and its new pictures; the note that it is done comes last."""
        for frame in frames:
            self._keep_picture(frame)
        digest = version.digest
        write_once(self.folder / "versions" / f"{digest}.json", version.text())
        write_whole(self.folder / "newest", digest.encode(), what="the dataset")
        write_once(self._note(key), json.dumps({"key": key, "digest": digest, **note}))

    def write(self, version: Version, folder: Path) -> Path:
        """Write a version as a YOLO dataset; pictures are links where the file system has them.

        Returns:
            The path of ``data.yaml``.
        """
        splits = sorted({one.split for one in version.entries.values()})
        for split in splits:
            for kind in ("images", "labels"):
                (folder / kind / split).mkdir(parents=True)
        for name, one in version.entries.items():
            file = f"{name}{one.suffix}"
            _link(self._picture(name, one.suffix), folder / "images" / one.split / file)
            label = folder / "labels" / one.split / f"{name}.txt"
            label.write_text(one.labels, encoding="ascii")
        data = folder / "data.yaml"
        write_yaml(data, {split: f"images/{split}" for split in splits}, version.class_names)
        return data

    def _keep_picture(self, frame: LabelledFrame) -> None:
        origin = _file_of(frame)
        target = self._picture(frame.id, origin.suffix.lower())
        if target.is_file():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with placing(target) as part:
            shutil.copyfile(origin, part)
            if (digest := sha256_of(part).removeprefix("sha256:")) != frame.id:
                msg = f"the id of {str(origin)!r} is {frame.id!r}; it must be the file's SHA-256, {digest}"
                raise InputError(msg)

    def _picture(self, name: str, suffix: str) -> Path:
        return self.folder / "pictures" / name[:2] / f"{name}{suffix}"

    def _note(self, key: str) -> Path:
        return self.folder / "keys" / f"{named(key)}.json"


def named(key: str) -> str:
    """A key as the name of a file: readable, and one for each key."""
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in key)[:60]
    return f"{readable}-{sha256(key.encode()).hexdigest()[:16]}"


def write_once(path: Path, text: str) -> None:
    """Write a file whole or not at all; one that is there already stays."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), what="the dataset")


def _link(origin: Path, target: Path) -> None:
    """A hard link, or a copy where the file system knows none."""
    try:
        target.hardlink_to(origin)
    except OSError:
        shutil.copyfile(origin, target)
