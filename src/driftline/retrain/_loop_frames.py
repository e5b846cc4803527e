"""The frames of a retraining: pixels in files named by their content, all else in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from driftline._files import placing, writing
from driftline.errors import InputError, UnreadableData
from driftline.holdout import LabelledFrame, Truth
from driftline.holdout._images import pixels
from driftline.platform._images import load_image
from driftline.profiles import SampledFrame

VAL_SHARE: Final = 5
"""One in so many new frames goes to validation, by which the training chooses its best epoch."""


@frozen(kw_only=True, eq=False)
class LoopFrame:
    """One frame of a retraining.

    Attributes:
        digest: SHA-256 of its file, 64 hex digits: its name everywhere.
        file: name of its file.
        camera: where it comes from.
        at: when it was taken, UTC.
        score: its uncertainty, bits.
        probability: with which it was drawn; None: it was chosen by rank. The drawn ones are the
            recent set and are never trained on; the chosen ones are never evaluated on.
        truth: its labels as people left them; empty before.
    """

    digest: str
    file: str
    camera: str
    at: datetime
    score: float
    probability: float | None
    truth: Truth = field(repr=False)

    @property
    def drawn(self) -> bool:
        """Whether it belongs to the recent set."""
        return self.probability is not None

    @property
    def split(self) -> str:
        """The part of the dataset it goes to: the same frame, the same part."""
        return "val" if int(self.digest[:8], 16) % VAL_SHARE == 0 else "train"

    def labelled(self, folder: Path) -> LabelledFrame:
        """As a labelled frame, with its digest as id and the path of its file as image."""
        return LabelledFrame(
            truth=self.truth,
            image=folder / self.file,
            id=self.digest,
            tags={"camera": self.camera, "day": f"{self.at:%Y-%m-%d}"},
            weight=1.0 if self.probability is None else 1.0 / self.probability,
            chosen="random" if self.drawn else "selected",
        )

    def to_json(self) -> list[Any]:
        """Plain values."""
        truth = self.truth
        boxes = [
            [kind, *box]
            for kind, box in zip(truth.class_id.tolist(), truth.xyxy.tolist(), strict=True)
        ]
        at, size = self.at.isoformat(), list(truth.image_size)
        place = [self.digest, self.file, self.camera, at]
        return [*place, self.score, self.probability, size, boxes]

    @classmethod
    def from_json(cls, value: Sequence[Any], class_names: Mapping[int, str]) -> LoopFrame:
        """What `to_json` wrote."""
        digest, file, camera, at, score, probability, (height, width), boxes = value
        table = np.array(boxes, dtype=np.float64).reshape(-1, 5)
        return cls(
            digest=digest,
            file=file,
            camera=camera,
            at=datetime.fromisoformat(at),
            score=score,
            probability=probability,
            truth=Truth(
                xyxy=table[:, 1:],
                class_id=table[:, 0].astype(np.int64),
                image_size=(height, width),
                class_names=class_names,
            ),
        )


def keep(
    frames: Iterable[SampledFrame], folder: Path, *, read: Callable[[str], bytes]
) -> tuple[list[LoopFrame], int]:
    """Write the pixels of sampled frames; the same picture is written, and listed, once.

    A picture that was both drawn and chosen counts as drawn.

    Args:
        frames: what was sampled.
        folder: where the files go.
        read: gives the content of a frame that was sampled by its id.

    Returns:
        The frames, and how many were left out because they are gone or do not open: a picture
        that was cut off must not hold up the others for good.

    Raises:
        InputError: the folder is not yours to write.
        StoreError: the machine failed, such as a full disk; what was written stays.
    """
    found: dict[str, LoopFrame] = {}
    broken = 0
    with writing(folder, what="a sampled frame"):
        folder.mkdir(parents=True, exist_ok=True)
        for one in frames:
            try:
                kept = _kept(one, _content(one, read), folder)
            except UnreadableData:
                broken += 1
                continue
            if kept.drawn or kept.digest not in found:
                found[kept.digest] = kept
    return list(found.values()), broken


def _content(one: SampledFrame, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(one.frame) if isinstance(one.frame, str) else one.frame
    except OSError as exc:
        msg = f"the sampled frame {one.frame!r} cannot be read: {exc}"
        raise UnreadableData(msg) from exc


def _kept(one: SampledFrame, content: bytes, folder: Path) -> LoopFrame:
    digest = hashlib.sha256(content).hexdigest()
    file = digest + _suffix(content)
    if not (folder / file).exists():
        with placing(folder / file) as part:
            part.write_bytes(content)
            pixels(part)  # refuses what is no whole picture
    return LoopFrame(
        digest=digest,
        file=file,
        camera=one.camera,
        at=one.at,
        score=one.score,
        probability=one.inclusion_probability if one.source == "uniform" else None,
        truth=Truth(xyxy=[], class_id=[], image_size=one.detections.image_size),
    )


def _suffix(content: bytes) -> str:
    msg = f"a sampled frame of {len(content)} bytes is no picture (PNG, JPEG, BMP, TIFF, WebP)"
    try:
        upload = load_image(content)
    except InputError as exc:
        raise UnreadableData(msg) from exc
    if isinstance(upload, str) or upload.filename.endswith(".bin"):
        raise UnreadableData(msg)
    return Path(upload.filename).suffix
