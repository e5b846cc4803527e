"""Predictions on disk, one line each, so that a long validation can go on after a stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from driftline._checks import refuse_number
from driftline._files import write_whole
from driftline.errors import ContextMismatch, InputError, StoreError, UnreadableData
from driftline.holdout._frames import LabelledFrame, content_digest
from driftline.holdout._parsed import MALFORMED
from driftline.holdout._settings import Settings
from driftline.records import Detections

__all__ = ["Checkpoint"]

_SCHEMA = "driftline.predictions/1"


class Checkpoint:
    """A file of predictions: a head that says of what, then a line per frame.

    A line cut off by a crash is left out, and its frame is predicted again.
    """

    def __init__(self, path: Path) -> None:
        """Keep the path; nothing is opened yet."""
        self._path = path

    def open(self, frames: Sequence[LabelledFrame], settings: Settings) -> dict[int, Detections]:
        """What was predicted of these frames already; makes the file if there is none.

        Raises:
            ContextMismatch: the file is of other frames or other settings.
            InputError: the file cannot be made.
            UnreadableData: the file is no checkpoint, or one of its lines is damaged.
            StoreError: the machine failed, such as a full disk; what was predicted stays.
        """
        head = {"schema": _SCHEMA, "holdout": _digest(frames), "settings": settings.to_dict()}
        text = self._text()
        if not text:
            self._write(head)
            return {}
        whole, _, torn = text.rpartition("\n")
        lines = whole.split("\n")
        self._require(head, lines[0])
        if torn:
            write_whole(self._path, f"{whole}\n".encode(), what="the checkpoint")
        return dict(self._read(line, number) for number, line in enumerate(lines[1:], start=2))

    def add(self, index: int, found: Detections) -> None:
        """Add one prediction, on disk when this returns."""
        self._write(
            {
                "frame": index,
                "xyxy": found.xyxy.tolist(),
                "confidence": found.confidence.tolist(),
                "class_id": found.class_id.tolist(),
                "image_size": list(found.image_size),
                "class_names": {str(key): name for key, name in found.class_names.items()},
            }
        )

    def _text(self) -> str:
        """What is in the file; "" where there is none yet."""
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as exc:
            msg = f"{self._path} is no checkpoint of predictions: it is no text"
            raise UnreadableData(msg) from exc
        except (OSError, ValueError) as exc:  # ValueError: no name that a file could have
            msg = f"the checkpoint {str(self._path)!r} cannot be read: {exc}; pass another path"
            raise InputError(msg) from exc

    def _read(self, line: str, number: int) -> tuple[int, Detections]:
        try:
            values = json.loads(line)
            refuse_number("frame", values["frame"], "a place", least=0, whole=True)
            return values["frame"], _detections(values)
        except MALFORMED as exc:
            msg = (
                f"line {number} of {self._path} holds no prediction ({exc!r:.200}); remove it, "
                "and its frame is predicted again"
            )
            raise UnreadableData(msg) from exc

    def _write(self, values: dict[str, Any]) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:  # a buffer would write its rest later
                _append(file, f"{json.dumps(values)}\n".encode())
        except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError) as exc:
            msg = f"the checkpoint {str(self._path)!r} cannot be written: {exc}; pass another path"
            raise InputError(msg) from exc
        except OSError as exc:
            msg = f"a prediction could not be added to {str(self._path)!r}: {exc}"
            raise StoreError(msg) from exc

    def _require(self, head: dict[str, Any], line: str) -> None:
        try:
            recorded = json.loads(line)
        except ValueError as exc:
            msg = f"{self._path} is no checkpoint of predictions: its first line is no JSON"
            raise UnreadableData(msg) from exc
        if not isinstance(recorded, dict) or recorded.get("schema") != _SCHEMA:
            msg = f"{self._path} is no checkpoint of predictions of schema {_SCHEMA!r}"
            raise UnreadableData(msg)
        differing = tuple(name for name in head if not _alike(name, recorded.get(name), head[name]))
        if differing:
            msg = (
                f"{self._path} holds predictions of another {' and other '.join(differing)}; "
                "use another checkpoint file for this validation"
            )
            raise ContextMismatch(msg, fields=differing)


def _append(file: FileIO, line: bytes) -> None:
    """Add a line, or leave what was there before: half of one would join with the next."""
    end = file.tell()
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        file.truncate(end)
        raise


def _alike(name: str, recorded: Any, now: Any) -> bool:
    """Whether a part of the head is the same; what an endpoint tells only later does not differ."""
    if name != "settings":
        return bool(recorded == now)
    try:
        return not Settings.from_dict(recorded).differences(Settings.from_dict(now))
    except (TypeError, KeyError, AttributeError, ValueError):
        return False


def _digest(frames: Sequence[LabelledFrame]) -> str:
    parts = [content_digest([frame.id, frame.truth.xyxy, frame.truth.class_id]) for frame in frames]
    return content_digest(parts)


def _detections(values: dict[str, Any]) -> Detections:
    height, width = values["image_size"]
    return Detections(
        xyxy=values["xyxy"],
        confidence=values["confidence"],
        class_id=values["class_id"],
        image_size=(height, width),
        class_names={int(key): name for key, name in values["class_names"].items()},
    )
