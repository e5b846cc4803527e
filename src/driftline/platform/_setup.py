"""What both faces do with their arguments, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import Final

from attrs import frozen

from driftline._clock import Clock, SystemClock
from driftline._http import checked_base_url
from driftline._retry import Retry
from driftline._secret import Secret
from driftline.errors import InputError
from driftline.platform._calls import PER_MINUTE
from driftline.platform._flows import Core, Settings
from driftline.platform._metrics import ErrorRateUnit
from driftline.platform._pace import Pace, shared_pacer

KEY_VARIABLE: Final = "ULTRALYTICS_API_KEY"
URL_VARIABLE: Final = "ULTRALYTICS_PLATFORM_URL"
DEFAULT_URL: Final = "https://platform.ultralytics.com"
TIMEOUT: Final = timedelta(seconds=60)
"""As the official client 0.1.99 has it."""


@frozen(kw_only=True)
class Parts:
    """What a face is made of."""

    base_url: str
    key: Secret
    clock: Clock
    pace: Pace
    core: Core
    headers: dict[str, str]


def set_up(
    key: Secret,
    *,
    base_url: str | None,
    owner: str | None,
    clock: Clock | None,
    retry: Retry | None,
    rate_limits: Mapping[str, int] | None,
    metrics_lag: timedelta,
    error_rate_unit: ErrorRateUnit | None,
    timeout: timedelta,
) -> Parts:
    """Check the arguments of a client and put its parts together.

    Raises:
        InputError: one of them cannot be used.
    """
    url = base_url if base_url is not None else os.environ.get(URL_VARIABLE) or DEFAULT_URL
    checked = checked_base_url(url, credential=True)
    _check(rate_limits or {}, metrics_lag, error_rate_unit, timeout)
    timer = clock or SystemClock()
    pace = Pace(shared_pacer(checked, key, timer), {**PER_MINUTE, **(rate_limits or {})})
    settings = Settings(
        clock=timer,
        pace=pace,
        retry=retry or Retry(),
        metrics_lag=metrics_lag,
        error_rate_unit=error_rate_unit,
    )
    return Parts(
        base_url=checked,
        key=key,
        clock=timer,
        pace=pace,
        core=Core(settings, owner=owner),
        headers={"User-Agent": _user_agent()},
    )


@cache
def _user_agent() -> str:
    return f"driftline/{version('driftline')}"


def _check(
    rate_limits: Mapping[str, int],
    metrics_lag: timedelta,
    error_rate_unit: str | None,
    timeout: timedelta,
) -> None:
    if timeout <= timedelta(0):
        msg = f"timeout={timeout} must be above 0"
        raise InputError(msg)
    if wrong := [name for name, limit in rate_limits.items() if limit < 1]:
        msg = f"rate_limits[{wrong[0]!r}]={rate_limits[wrong[0]]} must be 1 call a minute or more"
        raise InputError(msg)
    if metrics_lag < timedelta(0):
        msg = f"metrics_lag={metrics_lag} must not be negative"
        raise InputError(msg)
    if error_rate_unit not in {None, "fraction", "percent"}:
        msg = f"error_rate_unit={error_rate_unit!r} must be 'fraction', 'percent' or None"
        raise InputError(msg)
