"""Is the model still right? Its score on labelled frames, week after week, with intervals."""

from driftline._stats.intervals import Estimate, Interval
from driftline.holdout._calibration import Calibration, CalibrationBin
from driftline.holdout._checks import ClassMapping, Leak
from driftline.holdout._comparison import Change, Comparison, ComparisonVerdict, Pairing
from driftline.holdout._dataset import Holdout
from driftline.holdout._evaluation import Evaluation, EvaluationOptions, Role, evaluate
from driftline.holdout._frames import Labelled, LabelledFrame, LabelledFrames, Truth
from driftline.holdout._label_free import PrecisionCalibrator, PrecisionEstimate
from driftline.holdout._local import LocalModel, LocalRun
from driftline.holdout._manifest import Manifest, Part, Provenance
from driftline.holdout._ndjson import Fetch
from driftline.holdout._sampling import DrawnSample, PoolFrame, Stratum
from driftline.holdout._scores import OperatingPoint, Score
from driftline.holdout._settings import Settings
from driftline.holdout._sizing import frames_needed, smallest_drop
from driftline.holdout._strata import ConfidenceCounts, Strata
from driftline.holdout._trend import Trend, TrendPoint, TrendRule, TrendVerdict
from driftline.holdout._val_row import ValRow
from driftline.holdout._validator import HoldoutValidator

__all__ = [
    "Calibration",
    "CalibrationBin",
    "Change",
    "ClassMapping",
    "Comparison",
    "ComparisonVerdict",
    "ConfidenceCounts",
    "DrawnSample",
    "Estimate",
    "Evaluation",
    "EvaluationOptions",
    "Fetch",
    "Holdout",
    "HoldoutValidator",
    "Interval",
    "Labelled",
    "LabelledFrame",
    "LabelledFrames",
    "Leak",
    "LocalModel",
    "LocalRun",
    "Manifest",
    "OperatingPoint",
    "Pairing",
    "Part",
    "PoolFrame",
    "PrecisionCalibrator",
    "PrecisionEstimate",
    "Provenance",
    "Role",
    "Score",
    "Settings",
    "Strata",
    "Stratum",
    "Trend",
    "TrendPoint",
    "TrendRule",
    "TrendVerdict",
    "Truth",
    "ValRow",
    "evaluate",
    "frames_needed",
    "smallest_drop",
]
