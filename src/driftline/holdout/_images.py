"""Pictures on disk: their size, their pixels, their digest; only this file knows Pillow."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import file_digest
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.errors import MissingExtra, UnreadableData

__all__ = [
    "IMAGE_SUFFIXES",
    "THUMBNAIL",
    "image_size",
    "is_image",
    "pixels",
    "sha256_of",
    "thumbnail",
    "write_png",
]

Image = npt.NDArray[np.uint8]
Colours = npt.NDArray[np.float32]

IMAGE_SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".jpeg", ".jpg", ".jp2", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)
"""What is taken for an image in a folder: what Ultralytics takes and Pillow opens."""

_FORMATS: Final = ("AVIF", "BMP", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")
"""What is opened, whatever the name says: Pillow knows forty more, and runs Ghostscript for one."""

MOST_PIXELS: Final = 150_000_000
"""Larger pictures are refused unread: a small file can unfold to gigabytes. The largest sensors of
cameras have about 150 megapixels."""

THUMBNAIL: Final = 32
"""Side of a thumbnail, cells."""

_ORIENTATION = 0x0112  # EXIF tag
_LYING = frozenset({5, 6, 7, 8})  # its values that swap height and width
_ROTATED_FORMATS = frozenset({"JPEG", "MPO", "TIFF"})


def is_image(path: Path) -> bool:
    """Whether the name is that of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def image_size(path: Path) -> tuple[int, int]:
    """``(height, width)`` in pixels as it is shown, from the file's head.

    Detectors see a picture turned as its EXIF says (OpenCV and Ultralytics turn it), so labels are
    shares of the turned picture.

    Raises:
        UnreadableData: there is no such file, or it is no picture.
        MissingExtra: Pillow is not installed.
    """
    with quiet(), _opened(path) as picture:
        width, height = picture.size
        try:
            lying = picture.format in _ROTATED_FORMATS and picture.getexif().get(_ORIENTATION)
        except broken() as exc:
            raise _unreadable(path, exc) from exc
    return (width, height) if lying in _LYING else (height, width)


def pixels(path: Path) -> Image:
    """``(height, width, 3)`` uint8 RGB, turned as its EXIF says; errors as in `image_size`."""
    turned = import_module("PIL.ImageOps").exif_transpose
    with quiet(), _opened(path) as picture:
        try:
            return np.asarray(turned(picture).convert("RGB"))
        except broken() as exc:
            raise _unreadable(path, exc) from exc


def thumbnail(image: Image | Path) -> Colours:
    """``(32, 32, 3)`` RGB, 0 to 255: what stays when a picture is resized or compressed."""
    picture = _pillow()
    whole = pixels(image) if isinstance(image, Path) else np.asarray(image)
    small = (
        picture.fromarray(whole)
        .convert("RGB")
        .resize((THUMBNAIL, THUMBNAIL), picture.Resampling.BOX)
    )
    return np.asarray(small, dtype=np.float32)


def write_png(image: npt.ArrayLike, path: Path) -> None:
    """Write ``(height, width, 3)`` uint8 RGB without loss."""
    _pillow().fromarray(np.ascontiguousarray(image)).save(path, format="PNG")


def sha256_of(path: Path) -> str:
    """``sha256:…`` of a file, or of the names and contents of all files of a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
    from hashlib import sha256  # noqa: PLC0415 - one use

    whole = sha256()
    for part in sorted(one for one in path.rglob("*") if one.is_file()):
        whole.update(f"{part.relative_to(path).as_posix()}\0{sha256_of(part)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def known_formats() -> list[str]:
    """Those of our formats that this Pillow can open."""
    picture = _pillow()
    picture.init()
    return [name for name in _FORMATS if name in picture.OPEN]


def _pillow() -> Any:
    try:
        return import_module("PIL.Image")
    except ImportError as exc:
        extra = "holdout"
        raise MissingExtra(extra, needed_for="opening images", package="pillow") from exc


@contextmanager
def quiet() -> Generator[None]:
    """Pillow warns of size, for which the limit is ours, and of metadata nobody asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(path: Path) -> Any:
    picture = _pillow()
    try:
        if not path.is_file():
            msg = f"no image at {str(path)!r}"
            raise UnreadableData(msg)
        opened = picture.open(path, formats=known_formats())
    except broken() as exc:
        raise _unreadable(path, exc) from exc
    width, height = opened.size
    if width * height > MOST_PIXELS:
        opened.close()
        msg = f"the image {str(path)!r} claims {width} x {height} px; at most {MOST_PIXELS} pixels are opened"
        raise UnreadableData(msg)
    return opened


def broken() -> tuple[type[Exception], ...]:
    """What Pillow raises on files that are not what they claim; its decoders know no base class."""
    return (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        TypeError,
        struct.error,
        _pillow().DecompressionBombError,
    )


def _unreadable(path: Path, exc: Exception) -> UnreadableData:
    return UnreadableData(f"the image {str(path)!r} does not open: {exc}")
