"""Is the model still right? Its score on labelled frames, week after week, with intervals."""

from driftline._stats.intervals import Estimate, Interval
from driftline.holdout._calibration import Calibration, CalibrationBin
from driftline.holdout._comparison import Change, Comparison, ComparisonVerdict, Pairing
from driftline.holdout._evaluation import Evaluation, EvaluationOptions, Role, evaluate
from driftline.holdout._frames import Holdout, Labelled, LabelledFrame, Truth
from driftline.holdout._label_free import PrecisionCalibrator, PrecisionEstimate
from driftline.holdout._scores import OperatingPoint, Score
from driftline.holdout._settings import Settings
from driftline.holdout._strata import ConfidenceCounts, Strata
from driftline.holdout._trend import Trend, TrendPoint, TrendRule, TrendVerdict
from driftline.holdout._val_row import ValRow
from driftline.holdout._validator import HoldoutValidator

__all__ = [
    "Calibration",
    "CalibrationBin",
    "Change",
    "Comparison",
    "ComparisonVerdict",
    "ConfidenceCounts",
    "Estimate",
    "Evaluation",
    "EvaluationOptions",
    "Holdout",
    "HoldoutValidator",
    "Interval",
    "Labelled",
    "LabelledFrame",
    "OperatingPoint",
    "Pairing",
    "PrecisionCalibrator",
    "PrecisionEstimate",
    "Role",
    "Score",
    "Settings",
    "Strata",
    "Trend",
    "TrendPoint",
    "TrendRule",
    "TrendVerdict",
    "Truth",
    "ValRow",
    "evaluate",
]
