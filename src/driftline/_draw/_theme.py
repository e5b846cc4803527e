"""Colours of all pictures and pages, light and dark.

Hues are those of Okabe & Ito (2008, "Color universal design"), which people with any of the
common colour deficiencies tell apart; they are darkened or lightened until text reads (WCAG 2.2,
1.4.3: 4.5 to 1) and lines show (1.4.11: 3 to 1) on their ground.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Tone: TypeAlias = Literal["good", "warn", "bad", "unknown"]
"""What a verdict means for its reader."""
Role: TypeAlias = Literal[
    "ground",
    "ink",
    "muted",
    "grid",
    "reference",
    "current",
    "good",
    "warn",
    "bad",
    "unknown",
    "other",
]
"""What a colour stands for."""
Palette: TypeAlias = Mapping[Role, str]

LIGHT: Final[Palette] = {
    "ground": "#ffffff",
    "ink": "#1f2328",
    "muted": "#59636e",
    "grid": "#d9dee3",
    "reference": "#0072b2",
    "current": "#c65300",
    "good": "#007a5a",
    "warn": "#8a6100",
    "bad": "#b84300",
    "unknown": "#59636e",
    "other": "#a8527e",
}
DARK: Final[Palette] = {
    "ground": "#16181d",
    "ink": "#e8eaed",
    "muted": "#a3abb5",
    "grid": "#3b4048",
    "reference": "#56b4e9",
    "current": "#f59a4a",
    "good": "#35c79b",
    "warn": "#e6b035",
    "bad": "#ff8552",
    "unknown": "#a3abb5",
    "other": "#e08cbb",
}


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 to 1 (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]  # noqa: PLR2004  sRGB
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2).

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _variables(palette: Palette) -> str:
    return "".join(f"--dl-{role}:{colour};" for role, colour in palette.items())


_IS_LIGHT: Final = (
    'body[data-jp-theme-light="true"] .driftline,html[data-theme="light"] .driftline,'
    'body[data-theme="light"] .driftline,body.vscode-light .driftline'
)
_IS_DARK: Final = (
    'body[data-jp-theme-light="false"] .driftline,html[data-theme="dark"] .driftline,'
    'body[data-theme="dark"] .driftline,body.vscode-dark .driftline'
)
STYLE: Final = f"""
.driftline{{{_variables(LIGHT)}color-scheme:light;background:var(--dl-ground);color:var(--dl-ink);
font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
max-width:60rem;padding:.9rem 1.1rem;box-sizing:border-box;border-radius:6px}}
@media (prefers-color-scheme:dark){{.driftline{{{_variables(DARK)}color-scheme:dark}}}}
{_IS_LIGHT}{{{_variables(LIGHT)}color-scheme:light}}
{_IS_DARK}{{{_variables(DARK)}color-scheme:dark}}
@media print{{.driftline.driftline.driftline{{{_variables(LIGHT)}color-scheme:light;padding:0}}}}
.driftline header{{display:flex;flex-wrap:wrap;gap:.2rem .7rem;align-items:baseline;margin:0 0 .5rem}}
.driftline .dl-badge{{color:var(--dl-ground);border-radius:4px;padding:.05rem .5rem;font-weight:650;
white-space:nowrap;print-color-adjust:exact}}
.driftline .dl-kind{{color:var(--dl-muted)}}
.driftline .dl-headline{{font-size:1.1rem;font-weight:650;flex-basis:100%}}
.driftline p,.driftline ul{{margin:.3rem 0}}
.driftline ul{{padding-left:1.2rem}}
.driftline dl{{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.5rem 0}}
.driftline dt{{color:var(--dl-muted);font-weight:400}}
.driftline dd{{margin:0;overflow-wrap:anywhere}}
.driftline .dl-notes{{color:var(--dl-muted)}}
.driftline .dl-figures{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(25rem,100%),1fr));
gap:1rem 1.5rem;margin:.8rem 0}}
.driftline figure{{margin:0;max-width:31rem;break-inside:avoid}}
.driftline figcaption{{font-weight:650;margin-bottom:.2rem}}
.driftline .dl-detail{{color:var(--dl-muted);font-weight:400;font-size:.9em;display:block}}
.driftline .dl-key{{white-space:nowrap;margin-right:.9rem;unicode-bidi:isolate}}
.driftline .dl-key i{{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em;
vertical-align:-.05em;print-color-adjust:exact}}
.driftline svg{{width:100%;height:auto;display:block}}
.driftline .dl-wide{{overflow-x:auto;margin:.7rem 0}}
.driftline table{{border-collapse:collapse;font-size:.95em;font-variant-numeric:tabular-nums;margin:0;
color:inherit;background:none}}
.driftline caption{{text-align:left;font-weight:650;padding-bottom:.25rem;color:inherit}}
.driftline th,.driftline td{{text-align:left;padding:.2rem .9rem .2rem 0;border:0;
border-bottom:1px solid var(--dl-grid);vertical-align:top;background:none;color:inherit}}
.driftline th{{color:var(--dl-muted);font-weight:500}}
.driftline .dl-number{{text-align:right;white-space:nowrap}}
.driftline td.dl-short{{white-space:nowrap}}
.driftline td.dl-long{{min-width:12rem;overflow-wrap:anywhere}}
""".strip()
"""The style sheet of everything inside ``class="driftline"``.

It follows JupyterLab, VS Code and Sphinx themes where they say what they are, else the system;
paper is white.
"""


def paint(role: Role) -> str:
    """A role as a CSS colour: the page's, or the light one where no page says."""
    return f"var(--dl-{role},{LIGHT[role]})"
