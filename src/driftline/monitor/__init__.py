"""The monitor ties platform, rules, store and sinks together: one call a tick."""

from driftline.monitor._backoff import Backoff
from driftline.monitor._monitor import Budget, Monitor
from driftline.monitor._run import (
    DeadLetter,
    Delivered,
    Failed,
    Problem,
    Run,
    Transition,
    Unjudged,
)
from driftline.monitor._sources import AsyncPlatform, Platform

__all__ = [
    "AsyncPlatform",
    "Backoff",
    "Budget",
    "DeadLetter",
    "Delivered",
    "Failed",
    "Monitor",
    "Platform",
    "Problem",
    "Run",
    "Transition",
    "Unjudged",
]
