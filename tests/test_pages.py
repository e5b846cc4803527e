"""What the pages of the site need beside their words."""

import re
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent.parent / "docs"


def test_pictures_for_both_themes():
    """Each picture on a page has a twin of its size for the dark theme, on a dark ground."""
    shown = {
        DOCS / "_static" / name
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"_static/([\w-]+\.png)", page.read_text(encoding="utf-8"))
    }
    assert shown
    for path in sorted(shown):
        light, dark = Image.open(path), Image.open(path.with_stem(f"{path.stem}-dark"))
        assert light.size == dark.size, path.name
        assert sum(_corner(light)) > 700, path.name
        assert sum(_corner(dark)) < 100, path.name


def _corner(picture):
    return picture.convert("RGB").getpixel((0, 0))
