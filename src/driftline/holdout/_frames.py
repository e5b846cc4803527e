"""What a labelled frame is, and how frames of other makes become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from driftline._checks import a, array_of, is_size, number, numbers, one_of, part
from driftline.errors import InputError
from driftline.records import Detections

__all__ = ["Labelled", "LabelledFrame", "LabelledFrames", "Truth", "content_digest"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def _boxes(value: npt.ArrayLike) -> FloatArray:
    array = numbers(value, "xyxy")
    return array.reshape(0, 4) if array.size == 0 else array


def _ints(value: npt.ArrayLike) -> IntArray:
    array = numbers(value, "class_id").reshape(-1)
    if not bool(np.all((np.abs(array) < _TOO_GREAT) & (array == np.round(array)))):
        msg = f"class_id must hold whole numbers, got {array[:5]!r}"
        raise InputError(msg)
    return array.astype(np.int64)


def _optional_bools(value: npt.ArrayLike | None) -> BoolArray | None:
    return None if value is None else array_of(value, "crowd, ignore").astype(np.bool_).reshape(-1)


def _optional_floats(value: npt.ArrayLike | None) -> FloatArray | None:
    return None if value is None else numbers(value, "area").reshape(-1)


_TOO_GREAT = 2.0**53
"""Greater doubles are no indexes: they have no neighbours to tell them from."""


@frozen(kw_only=True, eq=False)
class Truth:
    """The labelled objects of one frame; a frame without any has empty arrays.

    Attributes:
        xyxy: ``(n, 4)`` float64: left, top, right, bottom in pixels of the frame.
        class_id: ``(n,)`` int64 index of the class.
        image_size: ``(height, width)`` of the frame in pixels.
        crowd: ``(n,)`` True where the box holds a group (COCO ``iscrowd``): any number of
            detections inside it count neither for nor against, measured by how much of the
            detection lies inside. None: no crowds.
        ignore: ``(n,)`` True where a single object is not to be judged (too blurred, cut off):
            the detection that fits it counts neither for nor against. None: none.
        area: ``(n,)`` area in px² that decides small, medium or large, such as COCO's mask area.
            None: the area of the box.
        class_names: index → name, where known.
    """

    xyxy: FloatArray = field(converter=_boxes)
    class_id: IntArray = field(converter=_ints)
    image_size: tuple[int, int]
    crowd: BoolArray | None = field(default=None, converter=_optional_bools)
    ignore: BoolArray | None = field(default=None, converter=_optional_bools)
    area: FloatArray | None = field(default=None, converter=_optional_floats)
    class_names: Mapping[int, str] = field(
        factory=dict, validator=a(Mapping, 'names by index, such as {0: "person"}')
    )

    def __attrs_post_init__(self) -> None:
        """Refuse arrays that do not fit each other, and boxes that are none."""
        n = len(self.class_id)
        sizes = {
            "crowd": self.crowd,
            "ignore": self.ignore,
            "area": self.area,
        }
        if self.xyxy.shape != (n, 4):
            msg = f"xyxy {self.xyxy.shape} and class_id {self.class_id.shape} must be (n, 4) and (n,) for one n"
            raise InputError(msg)
        for name, value in sizes.items():
            if value is not None and value.shape != (n,):
                msg = (
                    f"{name} has shape {value.shape}; one value for each of the {n} boxes is needed"
                )
                raise InputError(msg)
        if not is_size(self.image_size):
            msg = f"image_size={self.image_size!r} must be (height, width) in pixels, both above 0"
            raise InputError(msg)
        sides = self.xyxy[:, 2:] - self.xyxy[:, :2]
        wrong = np.flatnonzero(~(np.isfinite(sides).all(axis=1) & (sides >= 0).all(axis=1)))
        if len(wrong):
            msg = (
                f"labelled box {self.xyxy[wrong[0]].tolist()} (number {wrong[0]}) is not "
                "left, top, right, bottom in finite pixels"
            )
            raise InputError(msg)

    def __len__(self) -> int:
        """Number of labelled objects, crowds and ignored ones included."""
        return len(self.class_id)

    @property
    def crowds(self) -> BoolArray:
        """``(n,)`` `crowd`, filled in."""
        return np.zeros(len(self), dtype=np.bool_) if self.crowd is None else self.crowd

    @property
    def unjudged(self) -> BoolArray:
        """``(n,)`` True where the object is a crowd or ignored."""
        return self.crowds if self.ignore is None else self.crowds | self.ignore

    @property
    def areas(self) -> FloatArray:
        """``(n,)`` `area`, or that of the boxes, px²."""
        if self.area is not None:
            return self.area
        sides = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return sides[:, 0] * sides[:, 1]


def truth_of(value: Truth | Detections) -> Truth:
    """A label record from itself, or from `Detections` (whose confidences are not used)."""
    if isinstance(value, Truth):
        return value
    part(value, Detections, name="truth", what="a Truth, or Detections")
    return Truth(
        xyxy=value.xyxy,
        class_id=value.class_id,
        image_size=value.image_size,
        class_names=value.class_names,
    )


def names_of(given: Mapping[int, str] | Sequence[str]) -> dict[int, str]:
    """Index → name of classes, also from a list of names.

    Raises:
        InputError: it is neither.
    """
    named: object = given
    if isinstance(named, str) or not isinstance(named, Mapping | Sequence):
        msg = f"class_names={named!r} must be a list of names, or a mapping of index → name"
        raise InputError(msg)
    pairs = given.items() if isinstance(given, Mapping) else enumerate(given)
    try:
        return {int(index): str(name) for index, name in pairs}
    except (TypeError, ValueError) as exc:
        msg = f"class_names={given!r} holds an index that is no number: {exc}"
        raise InputError(msg) from exc


@frozen(kw_only=True, eq=False)
class LabelledFrame:
    """One frame of a holdout: where its pixels are, what is truly in it, and what it stands for.

    Attributes:
        truth: its labelled objects; `Detections` are taken as `Truth` without flags.
        image: what a `Predictor` takes: ``(height, width, 3)`` uint8 RGB, or a path; None when
            predictions are at hand.
        id: name of the frame, unique in its holdout; "" lets its place name it.
        tags: what to break the score down by, such as ``{"camera": "cam-1", "day": "2026-11-02"}``.
        weight: 1 / the probability that this frame was picked for labelling.
        chosen: "random": by chance, with that probability; "selected": because it drifted or
            looked unsure, with no known probability, so that it stands for nothing but itself.
    """

    truth: Truth = field(converter=truth_of)
    image: Any = field(default=None, repr=False)
    id: str = field(default="", validator=a(str, "text"))
    tags: Mapping[str, str] = field(factory=dict, validator=a(Mapping, "a mapping of text to text"))
    weight: float = field(
        default=1.0,
        validator=number(
            "above 0: 1 / the probability that the frame was picked", above=0, most=1e15
        ),
    )
    chosen: Literal["random", "selected"] = field(
        default="random", validator=one_of("random", "selected")
    )

    @classmethod
    def of(cls, value: object) -> LabelledFrame:
        """A labelled frame from itself, from labels alone, or from anything with image and truth.

        An attribute ``camera`` becomes the tag of that name.
        """
        if isinstance(value, LabelledFrame):
            return value
        if isinstance(value, (Truth, Detections)):
            return cls(truth=value)
        if not isinstance(value, Labelled):
            msg = (
                f"a labelled frame must be a LabelledFrame, Truth or Detections, or have image and "
                f"truth; got {type(value).__name__}"
            )
            raise InputError(msg)
        camera = getattr(value, "camera", "")
        return cls(
            truth=value.truth,
            image=value.image,
            id=str(getattr(value, "id", "")),
            tags=getattr(value, "tags", {"camera": str(camera)} if camera else {}),
            weight=getattr(value, "weight", 1.0),
            chosen=getattr(value, "chosen", "random"),
        )


@runtime_checkable
class Labelled(Protocol):
    """Anything that holds a picture and what is truly in it."""

    @property
    def image(self) -> Any:
        """What a `Predictor` takes."""
        ...

    @property
    def truth(self) -> Truth | Detections:
        """The labelled objects."""
        ...


class LabelledFrames(Protocol):
    """A sequence of labelled frames: a `Holdout`, or a plain list."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __getitem__(self, index: int, /) -> LabelledFrame | Labelled | Truth | Detections:
        """One frame."""
        ...


def frames_of(labels: LabelledFrames | Sequence[Any]) -> tuple[LabelledFrame, ...]:
    """Every frame with a name of its own.

    Raises:
        InputError: two frames have one name, or only some of the frames have one.
    """
    sequence = hasattr(labels, "__len__") and hasattr(labels, "__getitem__")
    if not sequence or isinstance(labels, Mapping):
        msg = f"labels={labels!r:.200} must be a sequence, one LabelledFrame or Detections a frame"
        raise InputError(msg)
    frames = [LabelledFrame.of(labels[index]) for index in range(len(labels))]
    named = [frame.id for frame in frames if frame.id]
    if named and len(named) < len(frames):
        msg = f"{len(frames) - len(named)} of {len(frames)} frames have no id; name all or none"
        raise InputError(msg)
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        msg = f"two frames have the id {twice!r}; an id names one frame (a path, not a basename)"
        raise InputError(msg)
    return tuple(frames)


def content_digest(arrays: Iterable[npt.NDArray[Any] | str]) -> str:
    """First 16 hex digits of the SHA-256 of some arrays: the same content, the same digest."""
    digest = sha256()
    for piece in arrays:
        if isinstance(piece, str):
            content = piece.encode()
        else:
            content = (
                f"{piece.dtype.str}{piece.shape}".encode() + np.ascontiguousarray(piece).tobytes()
            )
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]
