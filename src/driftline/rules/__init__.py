"""Samples → verdicts → the life of an alert. Rules know no clients, no stores and no sinks."""

from driftline.rules._controls import INHIBITIONS, Inhibition, Silence
from driftline.rules._errors import ErrorRate
from driftline.rules._examples import constant
from driftline.rules._health import EndpointHealth
from driftline.rules._judgement import Gap, Judgement, Reading
from driftline.rules._latency import LatencyBudget
from driftline.rules._no_data import NoData
from driftline.rules._rule import NoDataPolicy, Rule
from driftline.rules._state import Change, Phase
from driftline.rules._threshold import Threshold
from driftline.rules._volume import DetectionVolume, RequestVolume

__all__ = [
    "INHIBITIONS",
    "Change",
    "DetectionVolume",
    "EndpointHealth",
    "ErrorRate",
    "Gap",
    "Inhibition",
    "Judgement",
    "LatencyBudget",
    "NoData",
    "NoDataPolicy",
    "Phase",
    "Reading",
    "RequestVolume",
    "Rule",
    "Silence",
    "Threshold",
    "constant",
]
