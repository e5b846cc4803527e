"""A file for somebody else's system, and what it could not say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from driftline._files import write_whole


@frozen(kw_only=True, repr=False)
class Exported:
    """A file to import elsewhere.

    Attributes:
        text: the file.
        left_out: name of a rule → why it is not in it.
    """

    text: str
    left_out: Mapping[str, str] = field(factory=dict)

    def write(self, path: str | Path) -> Path:
        """Write the file, in one step; answer where it is.

        Raises:
            InputError: the path cannot be written.
            StoreError: the machine failed, such as a full disk; the old file stays.
        """
        write_whole(path, self.text.encode(), what="the file")
        return Path(path)

    def __str__(self) -> str:
        """The file."""
        return self.text

    def __repr__(self) -> str:
        """Its length, and which rules it leaves out."""
        left = f", left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"<Exported: {len(self.text.splitlines())} lines{left}>"


def as_json(value: Any) -> str:
    """JSON for people and version control."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_yaml(value: Any, indent: int = 0) -> str:
    """The same as YAML of which every scalar is JSON, which YAML includes.

    >>> print(as_yaml({"groups": [{"name": "a", "for": "5m"}]}), end="")
    groups:
      - name: "a"
        for: "5m"
    """
    pad = "  " * indent
    if isinstance(value, Mapping):
        items = {key: as_yaml(item, indent + 1) for key, item in value.items()}
        return "".join(
            f"{pad}{key}:\n{text}" if _nested(value[key]) else f"{pad}{key}: {text}"
            for key, text in items.items()
        )
    if isinstance(value, list) and value:
        parts = [as_yaml(item, indent + 1) for item in value]
        return "".join(f"{pad}- {part.removeprefix(pad + '  ')}" for part in parts)
    return json.dumps(value, ensure_ascii=False) + "\n"


def _nested(value: Any) -> bool:
    return bool(value) and isinstance(value, (Mapping, list))
