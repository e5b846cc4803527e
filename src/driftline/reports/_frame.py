"""Frames with the boxes that were found in them, small enough for a page that is sent around."""

from __future__ import annotations

import base64
import importlib.util
import io
from pathlib import Path
from typing import Final

from driftline._draw import escaped
from driftline.holdout._images import MOST_PIXELS, broken, known_formats, quiet
from driftline.profiles import SampledFrame

SIDE: Final = 640
"""Longest side of a picture, px."""
LARGEST: Final = 150_000
"""Bytes of a picture that is put in as it is, where nothing is there to make it smaller."""
LARGEST_FILE: Final = 50_000_000
"""Bytes of a file that is looked into."""
BOXES: Final = 60
"""Boxes that are drawn; more would hide the picture."""
_KINDS: Final = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def figure(frame: SampledFrame) -> str:
    """The frame as a figure, "" where its picture is not at hand."""
    picture = _data(frame)
    if not picture:
        return ""
    height, width = frame.detections.image_size
    words = caption(frame)
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(words)}" '
        f'font-family="system-ui,sans-serif" font-size="{width / 26:.0f}">'
        f'<image href="{picture}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f"{''.join(_boxes(frame))}</svg><figcaption>{escaped(words)}</figcaption></figure>"
    )


def caption(frame: SampledFrame) -> str:
    """Where and when it was taken, what was found, and why it is shown."""
    found = frame.detections
    counted = {
        name: names.count(name) for names in [_names(frame)] for name in dict.fromkeys(names)
    }
    told = ", ".join(f"{count} {name}" for name, count in counted.items()) or "nothing found"
    more = f", {len(found) - BOXES} boxes not drawn" if len(found) > BOXES else ""
    why = "random" if frame.source == "uniform" else "unsure"
    return f"{frame.camera}, {frame.at:%Y-%m-%d %H:%M:%S} UTC: {told}{more} ({why})"


def _names(frame: SampledFrame) -> list[str]:
    found = frame.detections
    return [found.class_names.get(int(i), f"class {i}") for i in found.class_id]


def _boxes(frame: SampledFrame) -> list[str]:
    """Each box twice, dark under light, so that it shows on any ground."""
    found = frame.detections
    line, letter = found.image_size[1] / 250, found.image_size[1] / 26
    drawn = []
    rows = zip(found.xyxy.tolist(), found.confidence.tolist(), _names(frame), strict=True)
    for (left, top, right, bottom), confidence, name in list(rows)[:BOXES]:
        place = (
            f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
        )
        word = f"{name} {confidence:.2f}"
        foot = max(top, letter * 1.2)
        drawn.append(
            f'<rect {place} fill="none" stroke="#000" stroke-width="{2 * line:.1f}"/>'
            f'<rect {place} fill="none" stroke="#ffd23f" stroke-width="{line:.1f}"/>'
            f'<rect x="{left:.1f}" y="{foot - letter * 1.2:.1f}" height="{letter * 1.2:.1f}" '
            f'width="{len(word) * letter * 0.58:.1f}" fill="#000"/>'
            f'<text x="{left + line:.1f}" y="{foot - letter * 0.25:.1f}" fill="#ffd23f">'
            f"{escaped(word)}</text>"
        )
    return drawn


def _data(frame: SampledFrame) -> str:
    """The picture as a data URI, "" where it is not at hand or cannot be made small."""
    content = _content(frame)
    if content and importlib.util.find_spec("PIL") is not None:
        return _uri("jpeg", _smaller(content))
    kind = next((kind for magic, kind in _KINDS.items() if content.startswith(magic)), "")
    return _uri(kind, content) if kind and len(content) <= LARGEST else ""


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}" if content else ""


def _content(frame: SampledFrame) -> bytes:
    if isinstance(frame.frame, bytes):
        return frame.frame
    try:
        path = Path(frame.frame)
        readable = path.is_file() and path.stat().st_size <= LARGEST_FILE
        return path.read_bytes() if readable else b""
    except (OSError, ValueError):  # ValueError: no name that a file could have
        return b""


def _smaller(content: bytes) -> bytes:
    """The picture as a small JPEG, upright as detectors read it; b"" where it is none."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - of an extra, for pictures only

    try:
        with quiet(), Image.open(io.BytesIO(content), formats=known_formats()) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return b""
            upright = ImageOps.exif_transpose(opened)
            upright.thumbnail((SIDE, SIDE))
            small = upright.convert("RGB")
    except broken():
        return b""
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80)
    return written.getvalue()
