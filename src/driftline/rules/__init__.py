"""Samples → verdicts → the life of an alert. Rules know no clients, no stores and no sinks."""

from driftline.rules._controls import INHIBITIONS, Inhibition, Silence
from driftline.rules._errors import ErrorRate
from driftline.rules._follow import Followed, Segment, follow
from driftline.rules._health import EndpointHealth
from driftline.rules._judgement import Gap, Judgement, Reading
from driftline.rules._latency import LatencyBudget
from driftline.rules._lifecycle import advance, close
from driftline.rules._no_data import NoData
from driftline.rules._notify import Notice, Told, notify
from driftline.rules._rehearsal import after, rehearsal, step_of
from driftline.rules._rule import NoDataPolicy, Rule
from driftline.rules._state import Change, Phase, State, Step
from driftline.rules._threshold import Threshold
from driftline.rules._time import as_times, floor, instant, micros, span, starts_of
from driftline.rules._volume import DetectionVolume, RequestVolume

__all__ = [
    "INHIBITIONS",
    "Change",
    "DetectionVolume",
    "EndpointHealth",
    "ErrorRate",
    "Followed",
    "Gap",
    "Inhibition",
    "Judgement",
    "LatencyBudget",
    "NoData",
    "NoDataPolicy",
    "Notice",
    "Phase",
    "Reading",
    "RequestVolume",
    "Rule",
    "Segment",
    "Silence",
    "State",
    "Step",
    "Threshold",
    "Told",
    "advance",
    "after",
    "as_times",
    "close",
    "floor",
    "follow",
    "instant",
    "micros",
    "notify",
    "rehearsal",
    "span",
    "starts_of",
    "step_of",
]
