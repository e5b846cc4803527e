"""Values as JSON knows them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from driftline._clock import as_utc


def plain(_instance: object, _attribute: object, value: Any) -> Any:
    """A value of a record as JSON knows it (a value serializer of attrs)."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else value


def optional_utc(value: datetime | None) -> datetime | None:
    """The same instant in UTC, or None."""
    return None if value is None else as_utc(value, name="at")
