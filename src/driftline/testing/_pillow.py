"""Pillow, of the extra ``testing``: loaded when the first image file is read or written."""

from __future__ import annotations

from types import ModuleType

from driftline.errors import MissingExtra


def pillow(needed_for: str) -> ModuleType:
    """``PIL.Image``.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - of an extra
    except ImportError as exc:
        extra = "testing"
        raise MissingExtra(extra, needed_for=needed_for, package="pillow") from exc
    return Image
