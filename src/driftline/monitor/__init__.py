"""The monitor ties platform, rules, store and sinks together: one call a tick."""

from driftline.monitor._backoff import Backoff
from driftline.monitor._drill import Drill, DrillLine
from driftline.monitor._drive import Budget
from driftline.monitor._fire_drills import FireDrill, drill_bad_images, drill_paused_traffic
from driftline.monitor._fleet import Fleet
from driftline.monitor._groups import Grouping
from driftline.monitor._monitor import Monitor
from driftline.monitor._run import (
    DeadLetter,
    Delivered,
    Failed,
    Notice,
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
    "Drill",
    "DrillLine",
    "Failed",
    "FireDrill",
    "Fleet",
    "Grouping",
    "Monitor",
    "Notice",
    "Platform",
    "Problem",
    "Run",
    "Standing",
    "Transition",
    "Unjudged",
    "drill_bad_images",
    "drill_paused_traffic",
]
