"""Detection logs as tables: written as Parquet, counted into profiles where they are."""

from driftline.lake._columns import LogColumns
from driftline.lake._dialects import Dialect
from driftline.lake._embedded import profile_from_log
from driftline.lake._logger import DetectionLogger
from driftline.lake._query import Execute, LogQuery

__all__ = [
    "DetectionLogger",
    "Dialect",
    "Execute",
    "LogColumns",
    "LogQuery",
    "profile_from_log",
]
