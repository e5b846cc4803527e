"""What both faces do with their arguments, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import Final

from attrs import frozen

from driftline._checks import part, refuse_negative, refuse_no_time, refuse_number, refuse_other
from driftline._clock import Clock, as_clock
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
UNLIMITED: Final = "direct"
"""The category of calls to an endpoint's own address: no limit unless one is passed."""


@frozen(kw_only=True)
class Parts:
    """What a face is made of."""

    base_url: str
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
    timer = as_clock(clock)
    pace = Pace(shared_pacer(checked, key, timer), {**PER_MINUTE, **(rate_limits or {})})
    settings = Settings(
        clock=timer,
        pace=pace,
        retry=_checked_retry(retry),
        metrics_lag=metrics_lag,
        error_rate_unit=error_rate_unit,
    )
    return Parts(
        base_url=checked,
        clock=timer,
        pace=pace,
        core=Core(settings, owner=owner),
        headers={"User-Agent": _user_agent()},
    )


@cache
def _user_agent() -> str:
    return f"driftline/{version('driftline')}"


def _checked_retry(retry: Retry | None) -> Retry:
    what = "a driftline.platform.Retry, such as Retry(attempts=3)"
    return Retry() if retry is None else part(retry, Retry, name="retry", what=what)


def _check_rate_limits(rate_limits: Mapping[str, int]) -> None:
    part(rate_limits, Mapping, name="rate_limits", what="categories of calls and their limits")
    known = (*PER_MINUTE, UNLIMITED)
    if unknown := [name for name in rate_limits if name not in known]:
        msg = f"rate_limits={unknown[0]!r} is no category of calls; those are {', '.join(known)}"
        raise InputError(msg)
    for name, limit in rate_limits.items():
        what = "a whole number of calls, 1 a minute or more"
        refuse_number(f"rate_limits[{name!r}]", limit, what, least=1, whole=True)


def _check(
    rate_limits: Mapping[str, int],
    metrics_lag: timedelta,
    error_rate_unit: str | None,
    timeout: timedelta,
) -> None:
    refuse_no_time("timeout", timeout)
    _check_rate_limits(rate_limits)
    refuse_negative("metrics_lag", metrics_lag)
    refuse_other("error_rate_unit", error_rate_unit, ("fraction", "percent", None))
