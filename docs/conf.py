"""Sphinx configuration."""

from importlib.metadata import version as _version

project = "Driftline"
author = "The Driftline authors"
copyright = "2026, The Driftline authors"
release = version = _version("driftline")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Driftline {version}"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True
napoleon_use_ivar = True
default_role = "code"
# Names of the standard library and of numpy are shown, not linked: the build must not need a network.
intersphinx_mapping: dict[str, tuple[str, None]] = {}
nitpick_ignore_regex = [(r"py:.*", r"(?!driftline\.).*"), (r"py:.*", r"driftline(\.\w+)*\._.*")]
linkcheck_ignore = [r"https?://.*"]
