"""From evidence to a decision, and from a decision to a better model."""

from driftline.retrain._decision import Action, Collection, Decision, Finding, Strength
from driftline.retrain._evidence import AccuracyFacts, AlertFacts, DriftFacts, Evidence, Shift
from driftline.retrain._policy import GUIDE_CLAUSES, Clause, RetrainPolicy, frames_to_see

__all__ = [
    "GUIDE_CLAUSES",
    "AccuracyFacts",
    "Action",
    "AlertFacts",
    "Clause",
    "Collection",
    "Decision",
    "DriftFacts",
    "Evidence",
    "Finding",
    "RetrainPolicy",
    "Shift",
    "Strength",
    "frames_to_see",
]
