"""Records to plain values and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["revised"]


def revised(values: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The same values with some of them changed or added."""
    return {**values, **changes}
