"""Sphinx configuration."""

import inspect
import re
import sys
from importlib.metadata import version as _version
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform

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


def setup(app: Sphinx) -> None:
    """Put the constants and type aliases of a module on its page; autodoc finds classes and functions."""
    app.connect("autodoc-process-docstring", _name_the_rest)
    app.add_transform(DarkTwins)


class DarkTwins(SphinxTransform):
    """Shows ``a-dark.png`` in the dark theme where a page has ``a.png``, and there is such a twin.

    The classes are Furo's own; a reader of the Markdown sees one picture.
    """

    default_priority = 200

    def apply(self, **_: object) -> None:
        """Put the twin behind each picture that has one."""
        page = Path(self.document["source"]).parent
        for light in list(self.document.findall(nodes.image)):
            there = Path(light["uri"])
            twin = there.with_stem(f"{there.stem}-dark")
            if not (page / twin).is_file():
                continue
            dark = light.deepcopy()
            dark["uri"] = twin.as_posix()
            light["classes"].append("only-light")
            dark["classes"].append("only-dark")
            light.parent.insert(light.parent.index(light) + 1, dark)


def _name_the_rest(
    _app: Sphinx, what: str, name: str, module: object, _options: object, lines: list[str]
) -> None:
    if what != "module":
        return
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if isinstance(value, ModuleType | type) or inspect.isroutine(value):
            continue
        lines += ["", f".. py:data:: {public}", f"   :value: {_told(value)}", ""]
        lines += [f"   {line}" for line in _said_of(name, public, value)]


def _told(value: object) -> str:
    return re.sub(r"\bdriftline(\.\w+)*\.|\btyping\.|\bcollections\.abc\.", "", repr(value))


def _said_of(package: str, public: str, value: object) -> list[str]:
    """The text under a name where it is defined, which is in a private module of the package."""
    for module in [m for m in sys.modules if m.startswith(f"{package}.")]:
        if getattr(sys.modules[module], public, None) is value:
            said = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", public))
            if said:
                return said
    msg = f"{package}.{public} has no text under its definition"
    raise ExtensionError(msg)
