"""Driftline watches YOLO detectors in production and drives their retraining.

Importing it does nothing and loads nothing heavy: each public name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from driftline import drift, errors, holdout, rules
    from driftline.drift import DriftDetector, DriftReport
    from driftline.holdout import Evaluation, HoldoutValidator, Trend
    from driftline.monitor import Monitor
    from driftline.platform import AsyncPlatformClient, PlatformClient
    from driftline.profiles import Profile, ProfileBuilder
    from driftline.records import (
        Alert,
        AlertSink,
        Detections,
        MetricSink,
        Receipt,
        Sample,
        Severity,
    )
    from driftline.reports import check
    from driftline.retrain import (
        Action,
        Decision,
        Evidence,
        RetrainLoop,
        RetrainPolicy,
        Rollout,
    )

__all__ = [
    "Action",
    "Alert",
    "AlertSink",
    "AsyncPlatformClient",
    "Decision",
    "Detections",
    "DriftDetector",
    "DriftReport",
    "Evaluation",
    "Evidence",
    "HoldoutValidator",
    "MetricSink",
    "Monitor",
    "PlatformClient",
    "Profile",
    "ProfileBuilder",
    "Receipt",
    "RetrainLoop",
    "RetrainPolicy",
    "Rollout",
    "Sample",
    "Severity",
    "Trend",
    "__version__",
    "check",
    "drift",
    "errors",
    "holdout",
    "rules",
]

_HOMES = {
    "drift": ("DriftDetector", "DriftReport"),
    "holdout": ("Evaluation", "HoldoutValidator", "Trend"),
    "monitor": ("Monitor",),
    "platform": ("AsyncPlatformClient", "PlatformClient"),
    "profiles": ("Profile", "ProfileBuilder"),
    "records": (
        "Alert",
        "AlertSink",
        "Detections",
        "MetricSink",
        "Receipt",
        "Sample",
        "Severity",
    ),
    "reports": ("check",),
    "retrain": ("Action", "Decision", "Evidence", "RetrainLoop", "RetrainPolicy", "Rollout"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = frozenset({"drift", "errors", "holdout", "rules"})


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - costs 20 ms that few need

        value: Any = version("driftline")
    elif name in _ROOMS:
        value = import_module(f"driftline.{name}")
    elif name in _HOME_OF:
        value = getattr(import_module(f"driftline.{_HOME_OF[name]}"), name)
    else:
        msg = f"module 'driftline' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return list(__all__)
