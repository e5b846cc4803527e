"""What every format of a holdout is read into, and how its faults are gathered."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import part
from driftline._files import writing
from driftline.errors import InputError, UnreadableData
from driftline.holdout._frames import LabelledFrame, Truth

__all__ = [
    "MALFORMED",
    "MissingLabels",
    "Parsed",
    "Problems",
    "edges",
    "inside",
    "text_of",
    "truth_from_shares",
]

MissingLabels = Literal["background", "refuse"]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MALFORMED: Final = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading JSON of another form than was expected raises."""
TOLERANCE: Final = 0.01
"""Shares of the frame may lie this far outside [0, 1] and are cut off (Ultralytics' own rule)."""

_LONGEST_NAME = 240  # bytes; file systems take 255, and what is written beside has a longer one
_SHOWN = 5
_KEPT = 100


@contextmanager
def reading(what: str) -> Generator[None]:
    """Whatever plain values of another form raise becomes one error.

    Raises:
        UnreadableData: they do not parse.
    """
    try:
        yield
    except UnreadableData:
        raise
    except MALFORMED as exc:
        said = str(exc) if isinstance(exc, InputError) else repr(exc)
        msg = f"no {what} of this version: {said:.300}; pass what its to_dict() gave"
        raise UnreadableData(msg) from exc


@frozen(kw_only=True, eq=False)
class Parsed:
    """The content of a dataset.

    Attributes:
        frames: the labelled frames, each with an id of its own.
        class_names: index → name of every class.
        root: folder that ids are relative to.
        unlabelled: ids of the frames for which nobody wrote anything down.
    """

    frames: tuple[LabelledFrame, ...]
    class_names: Mapping[int, str]
    root: Path
    unlabelled: tuple[str, ...] = ()


@frozen(eq=False)
class Problems:
    """Faults of a dataset, gathered so that all are told at once.

    Attributes:
        source: what is read.
        found: one line a fault.
    """

    source: str
    found: list[str] = field(factory=list)

    def add(self, where: object, what: object) -> None:
        """Keep one fault."""
        self.found.append(f"{where}: {what}")

    def refuse(self) -> None:
        """Raise if there is any.

        Raises:
            UnreadableData: with the first faults in its message and up to 100 in its notes.
        """
        if not self.found:
            return
        shown = "; ".join(self.found[:_SHOWN])
        more = f"; and {len(self.found) - _SHOWN} more" if len(self.found) > _SHOWN else ""
        faults = "fault" if len(self.found) == 1 else "faults"
        exc = UnreadableData(f"{len(self.found)} {faults} in {self.source}: {shown}{more}")
        for line in self.found[:_KEPT]:
            exc.add_note(line)
        raise exc


def _writable(name: str) -> bool:
    """Whether file systems take the name."""
    try:
        return "\0" not in name and len(name.encode()) <= _LONGEST_NAME
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def inside(root: Path, name: object) -> Path:
    """The path of a file that a dataset names, which must lie below its folder.

    Raises:
        InputError: it is absolute, or climbs out.
    """
    if not isinstance(name, str) or not name or not _writable(name):
        msg = f"{str(name)[:80]!r} is no name of a file"
        raise InputError(msg)
    ways = (PurePosixPath(name), PureWindowsPath(name))
    if any(way.is_absolute() or way.drive or ".." in way.parts for way in ways):
        msg = f"{name!r} leads out of the folder of the dataset; only names below {str(root)!r} are read"
        raise InputError(msg)
    return root / name


@contextmanager
def new_folder(given: str | Path) -> Generator[Path]:
    """A folder to write a dataset into, with those for pictures and labels of a split ``test``.

    What was written when it fails is removed, so that it can be tried again.

    Raises:
        InputError: it holds something already, or cannot be made.
        StoreError: the machine failed, such as a full disk.
    """
    root = Path(part(given, (str, Path), name="folder", what="the path of a folder"))
    try:
        taken = root.exists() and any(root.iterdir())
        for kind in () if taken else ("images", "labels"):
            (root / kind / "test").mkdir(parents=True)
    except (OSError, ValueError) as exc:  # ValueError: no name that a folder could have
        msg = f"{str(root)!r} cannot be made a folder: {exc}; pass the path of one"
        raise InputError(msg) from exc
    if taken:
        msg = f"{str(root)!r} is not empty; pass a folder of its own"
        raise InputError(msg)
    try:
        with writing(root, what="the dataset"):
            yield root
    except BaseException:
        for one in root.iterdir():
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        raise


def text_of(path: Path, *, most_bytes: int) -> str:
    """The text of a file of bounded size.

    Raises:
        UnreadableData: there is none, it is too large, or it is no UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > most_bytes:
            msg = f"{str(path)!r} has {size} bytes; at most {most_bytes} are read as labels"
            raise UnreadableData(msg)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as exc:
        msg = f"{str(path)!r} cannot be read as text: {exc}"
        raise UnreadableData(msg) from exc


def edges(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a box of centre and extent, cut off at the frame.

    Raises:
        UnreadableData: a number is not finite, negative, or no share of the frame.
    """
    given = [x, y, width, height]
    if not np.isfinite(given).all() or min(width, height) < 0:
        msg = f"box {given} has a negative extent, or a value that is not finite"
        raise UnreadableData(msg)
    if max(given) > 1.0 + TOLERANCE or min(x, y) < -TOLERANCE:
        msg = f"box {given} is no centre and extent as shares of the frame in [0, 1]; are they pixels?"
        raise UnreadableData(msg)
    corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    left, top, right, bottom = np.clip(corners, 0.0, 1.0).tolist()
    return left, top, right, bottom


def truth_from_shares(
    class_id: IntArray,
    shares: FloatArray,
    image_size: tuple[int, int],
    class_names: Mapping[int, str],
) -> Truth:
    """Labels from ``(n, 4)`` left, top, right, bottom as shares of the frame.

    Raises:
        UnreadableData: a share lies outside the frame, or a class has no name.
    """
    wrong = ~np.isfinite(shares) | (shares < -TOLERANCE) | (shares > 1.0 + TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        msg = f"box {row + 1} has edges {shares[row].round(4).tolist()}, which are no shares of the frame in [0, 1]"
        raise UnreadableData(msg)
    unknown = sorted({int(one) for one in class_id} - class_names.keys())
    if unknown:
        msg = f"class {unknown[0]} is none of the {len(class_names)} classes that the dataset names"
        raise UnreadableData(msg)
    height, width = image_size
    return Truth(
        xyxy=np.clip(shares, 0.0, 1.0) * (width, height, width, height),
        class_id=class_id,
        image_size=image_size,
        class_names=class_names,
    )
