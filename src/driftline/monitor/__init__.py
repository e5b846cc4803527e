"""The monitor ties platform, rules, store and sinks together: one call a tick."""

from driftline.monitor._backoff import Backoff
from driftline.monitor._groups import Grouping
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
from driftline.monitor._standing import Standing

__all__ = [
    "AsyncPlatform",
    "Backoff",
    "Budget",
    "DeadLetter",
    "Delivered",
    "Failed",
    "Grouping",
    "Monitor",
    "Platform",
    "Problem",
    "Run",
    "Standing",
    "Transition",
    "Unjudged",
]
