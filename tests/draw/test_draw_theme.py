"""Colours that everybody can tell apart, on either ground."""

import itertools

import numpy as np
import pytest

from driftline._draw import DARK, LIGHT, STYLE, contrast
from driftline._draw._pictures import _CURVES

PALETTES = [pytest.param(LIGHT, id="light"), pytest.param(DARK, id="dark")]
# Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15:1291), severity 1, on linear RGB.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear sRGB, white D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("palette", PALETTES)
def test_text_reads(palette):
    """Every colour that text is written in has 4.5 to 1 on its ground (WCAG 2.2, 1.4.3)."""
    low = {
        role: round(contrast(palette[role], palette["ground"]), 2)
        for role in palette.keys() - {"ground", "grid"}
    }

    assert {} == {role: value for role, value in low.items() if value < 4.5 and role != "current"}
    assert low["current"] >= 3  # lines only: 1.4.11


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_pairs_differ(palette, deficiency):
    """What is held against each other differs for people with any of the common deficiencies."""
    seen = np.array(DEFICIENCIES[deficiency])
    pairs = [("reference", "current"), ("reference", "bad"), ("good", "bad"), ("muted", "bad")]

    for one, other in pairs:
        distance = lab(seen @ linear(palette[one])) - lab(seen @ linear(palette[other]))

        assert np.linalg.norm(distance) > 20, (one, other)  # ~10 times a just seen difference


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_curves_differ(palette, deficiency):
    """Of several curves no two look alike: hue or dash differs."""
    seen = np.array(DEFICIENCIES[deficiency])
    for (one, dashed), (other, too) in itertools.combinations(_CURVES, 2):
        distance = lab(seen @ linear(palette[one])) - lab(seen @ linear(palette[other]))

        assert dashed != too or np.linalg.norm(distance) > 10, (one, other)


def test_style_follows_the_page():
    """The style sheet knows the system's theme, JupyterLab's, Sphinx's and paper; no addresses."""
    for words in ("prefers-color-scheme:dark", 'jp-theme-light="false"', "@media print"):
        assert words in STYLE
    assert "url(" not in STYLE
    assert "@import" not in STYLE
