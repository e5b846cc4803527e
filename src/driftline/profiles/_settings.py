"""What is counted, and how: the settings that a builder and a single call have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from attrs import frozen

from driftline.errors import InputError
from driftline.profiles._cells import check_names
from driftline.profiles._features import Feature
from driftline.profiles._judge import Invalid, counted
from driftline.profiles._periods import Calendar
from driftline.records import Context


@frozen(kw_only=True)
class Settings:
    """Checked settings.

    Attributes:
        features: what is counted.
        calendar: how time is cut into periods.
        context: settings the detections are made under.
        count_invalid: count boxes that cannot be counted as rejected; otherwise refuse them.
    """

    features: tuple[Feature, ...]
    calendar: Calendar
    context: Context
    count_invalid: bool

    @classmethod
    def of(
        cls,
        *,
        features: Sequence[Feature],
        context: Context | None,
        period: timedelta,
        utc_offset: timedelta,
        invalid: Invalid = "raise",
    ) -> Settings:
        """Check what a user passed to `ProfileBuilder` or to one of `Profile.from_…`."""
        return cls(
            features=check_names(features),
            calendar=Calendar(period=period, utc_offset=utc_offset),
            context=_checked_context(context),
            count_invalid=counted(invalid),
        )


def _checked_context(context: Context | None) -> Context:
    given: object = context
    if given is not None and not isinstance(given, Context):
        msg = f"context={given!r} must be a Context, such as that of a Prediction or an Endpoint"
        raise InputError(msg)
    return context or Context()
