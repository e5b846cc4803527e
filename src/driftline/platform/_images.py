"""What may be shown to an endpoint: a path, bytes, an array or a URL → what is sent."""

from __future__ import annotations

import mimetypes
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from driftline._checks import part
from driftline._wire import Upload
from driftline.errors import InputError

Image: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
"""A path, an ``http(s)://`` URL, the bytes of a file, or an array: ``(height, width)`` grey,
``(height, width, 3)`` RGB or ``(height, width, 4)`` RGBA, uint8. OpenCV's frames are BGR: pass
``frame[..., ::-1]``."""

LARGEST_BYTES: Final = 100_000_000
"""The Platform takes images and videos up to 100 MB (contract 0.1.9 and its docs)."""

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
_PNG_COLOUR: Final = {1: 0, 3: 2, 4: 6}  # channels → colour type (PNG specification, 11.2.2)


def load_image(image: Image) -> Upload | str:
    """Read or encode an image for the wire.

    The name of a file is not sent: it may say more than the picture.

    Returns:
        The file to send, or the URL that the endpoint reads itself.

    Raises:
        InputError: there is no such file, it is too large, or it is no image.
    """
    given: object = image
    if isinstance(given, np.ndarray):
        return _checked(encode_png(given), "png")
    if isinstance(given, bytes):
        return _checked(given, _kind_of(given))
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        return given
    if isinstance(given, str | os.PathLike):
        return _read(Path(given))
    msg = f"{type(given).__name__} is no image; pass a path, a URL, bytes or a uint8 array"
    raise InputError(msg)


def _read(path: Path) -> Upload:
    try:
        found = path.stat()
    except (OSError, ValueError) as exc:  # ValueError: a null byte in the path
        raise _unreadable(path, str(exc)) from exc
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "it is no file")
    _check_size(found.st_size)
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise _unreadable(path, str(exc)) from exc
    return _checked(content, path.suffix.lstrip(".").lower() or _kind_of(content))


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(f"the image {str(path)!r} cannot be read: {why}")


def _check_size(size: int) -> None:
    if not size:
        msg = "the image is empty: it has no bytes"
        raise InputError(msg)
    if size > LARGEST_BYTES:
        msg = f"the image has {size} bytes; the Platform takes {LARGEST_BYTES}"
        raise InputError(msg)


def _kind_of(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[4:8] == b"ftyp":
        return "mp4"
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "bin")


def _checked(content: bytes, kind: str) -> Upload:
    _check_size(len(content))
    name = f"image.{kind}"
    guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Upload(content=content, filename=name, content_type=guessed)


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    r"""An array as PNG, without loss, so that what is judged is what was given.

    Args:
        image: ``(height, width)`` grey, ``(height, width, 3)`` RGB or ``(height, width, 4)``
            RGBA, uint8.

    Raises:
        InputError: another shape or dtype.

    >>> encode_png(np.zeros((2, 3, 3), np.uint8))[:8]
    b'\x89PNG\r\n\x1a\n'
    """
    part(image, np.ndarray, name="image", what="an array of pixels")
    pixels = image[..., None] if image.ndim == 2 else image  # noqa: PLR2004 - grey has no channel axis
    if image.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in _PNG_COLOUR:  # noqa: PLR2004
        msg = (
            f"an image must be uint8 of shape (height, width), (…, 3) RGB or (…, 4) RGBA; "
            f"got {image.dtype} {image.shape}"
        )
        raise InputError(msg)
    height, width, channels = pixels.shape
    if not height or not width:
        msg = f"an image of shape {image.shape} has no pixels"
        raise InputError(msg)
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR[channels], 0, 0, 0)
    # Level 1: level 6 takes more than twice the time to save an eighth (1080p, noise of 3 grey levels).
    body = zlib.compress(_filtered(pixels), 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def _filtered(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Rows as differences to the pixel on the left (filter 1, "Sub"), each led by its filter."""
    height, width, channels = pixels.shape
    difference = pixels.copy()
    difference[:, 1:] -= pixels[:, :-1]
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = 1
    rows[:, 1:] = difference.reshape(height, -1)
    return rows.tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
