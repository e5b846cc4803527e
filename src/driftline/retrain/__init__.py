"""From evidence to a decision, and from a decision to a better model."""

from driftline.retrain._arms import Arm, Measure, Outcome
from driftline.retrain._backend import (
    Cost,
    DatasetVersion,
    Detector,
    RetrainBackend,
    TrainingProgress,
    TrainingRequest,
    TrainingRun,
    TrainingStatus,
)
from driftline.retrain._backtest import Backtest, BacktestRow, BacktestVariant
from driftline.retrain._decision import Action, Collection, Decision, Finding, Strength
from driftline.retrain._evidence import (
    AccuracyFacts,
    AlertFacts,
    DriftFacts,
    Evidence,
    Shift,
    VolumeFacts,
)
from driftline.retrain._guard import Difference, Guard, Judgement, Verdict
from driftline.retrain._local_backend import LocalBackend
from driftline.retrain._loop import RetrainLoop
from driftline.retrain._loop_parts import ApproveFunction, Ask, Deploy, MarkSink
from driftline.retrain._loop_state import Gate, Move, Note
from driftline.retrain._loop_status import LoopStatus
from driftline.retrain._platform_backend import PlatformBackend
from driftline.retrain._policy import GUIDE_CLAUSES, Clause, RetrainPolicy
from driftline.retrain._promotion import Promotion, PromotionRule
from driftline.retrain._review import Review, ReviewBatch, ReviewFrame
from driftline.retrain._review_edits import Edits, ReviewProgress
from driftline.retrain._rollout import Proposal, Rollout, RolloutPlatform, RolloutStatus
from driftline.retrain._router import Route
from driftline.retrain._selection import Selection
from driftline.retrain._stages import Phase, Stage, Step
from driftline.retrain._worker import RolloutRouter

__all__ = [
    "GUIDE_CLAUSES",
    "AccuracyFacts",
    "Action",
    "AlertFacts",
    "ApproveFunction",
    "Arm",
    "Ask",
    "Backtest",
    "BacktestRow",
    "BacktestVariant",
    "Clause",
    "Collection",
    "Cost",
    "DatasetVersion",
    "Decision",
    "Deploy",
    "Detector",
    "Difference",
    "DriftFacts",
    "Edits",
    "Evidence",
    "Finding",
    "Gate",
    "Guard",
    "Judgement",
    "LocalBackend",
    "LoopStatus",
    "MarkSink",
    "Measure",
    "Move",
    "Note",
    "Outcome",
    "Phase",
    "PlatformBackend",
    "Promotion",
    "PromotionRule",
    "Proposal",
    "RetrainBackend",
    "RetrainLoop",
    "RetrainPolicy",
    "Review",
    "ReviewBatch",
    "ReviewFrame",
    "ReviewProgress",
    "Rollout",
    "RolloutPlatform",
    "RolloutRouter",
    "RolloutStatus",
    "Route",
    "Selection",
    "Shift",
    "Stage",
    "Step",
    "Strength",
    "TrainingProgress",
    "TrainingRequest",
    "TrainingRun",
    "TrainingStatus",
    "Verdict",
    "VolumeFacts",
]
