"""Image files, as the local platform reads and stores them."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Final

import numpy as np

from driftline.testing._pillow import pillow
from driftline.testing._platform._router import Refused

if TYPE_CHECKING:
    from driftline.testing._platform._world import Image

JPEG_QUALITY: Final = 92
"""Images are stored as JPEG of this quality (the Platform's page on datasets), so that their bytes
are not the sender's."""


def decoded(content: bytes) -> Image:
    """An image file as pixels, turned as its EXIF says.

    Raises:
        Refused: 400, it is no image Pillow can read.
        MissingExtra: Pillow is not installed.
    """
    files = pillow("an image for LocalPlatform")
    turned = import_module("PIL.ImageOps").exif_transpose
    try:
        with files.open(io.BytesIO(content)) as opened:
            return np.asarray(turned(opened).convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, files.DecompressionBombError):
        # Pillow's readers raise SyntaxError for broken files of known formats.
        raise Refused(400, "The file is not an image that can be read") from None


def jpeg(pixels: Image) -> bytes:
    """Pixels as the platform stores them."""
    return _encoded(pixels, "JPEG", quality=JPEG_QUALITY)


def png(pixels: Image) -> bytes:
    """Pixels as somebody sends them, without loss."""
    return _encoded(pixels, "PNG")


def _encoded(pixels: Image, kind: str, **how: int) -> bytes:
    buffer = io.BytesIO()
    pillow("an image for LocalPlatform").fromarray(pixels).save(buffer, kind, **how)
    return buffer.getvalue()
