"""What a workspace holds beside deployments: datasets, uploads, model records, trainings, credits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, field, frozen

from driftline._checks import number
from driftline.testing._platform._time import iso

if TYPE_CHECKING:
    from driftline.testing._platform._datasets import LocalDataset
    from driftline.testing._platform._models import ModelRecord
    from driftline.testing._platform._training import TrainingData
    from driftline.testing._platform._uploads import Session
    from driftline.testing._platform._world import Detector

REGION = "eu"


@frozen(kw_only=True)
class TrainedModel:
    """What a trainer may give back in place of a bare detector.

    Attributes:
        detector: what the model detects with from then on.
        weights: content of its ``best.pt``; None is a placeholder.
        metrics: scores of its last epoch, by the Platform's names.
    """

    detector: Detector
    weights: bytes | None = field(default=None, repr=False)
    metrics: Mapping[str, float] = field(factory=dict)


Trainer: TypeAlias = (
    "Callable[[TrainingData, Detector, Mapping[str, Any]], Detector | TrainedModel]"
)
"""``trainer(data, base, args)``: what a training gives; `args` are those of the call."""


@define(kw_only=True)
class Workspace:
    """All of it; the lock of the world guards it."""

    owner: str
    trainer: Trainer
    epoch_seconds: float = field(validator=number("above 0", above=0))
    ingest_seconds: float = field(validator=number("0 or more", least=0))
    credits_cents: float = field(validator=number("a number of cents"))
    storage_url: str = ""
    datasets: dict[str, LocalDataset] = field(factory=dict)
    sessions: dict[str, Session] = field(factory=dict)
    records: dict[str, ModelRecord] = field(factory=dict)
    blobs: dict[str, bytes] = field(factory=dict, repr=False)
    break_ingest: str | None = None
    break_training: tuple[str, int] | None = None
    _made: int = 0

    def new_id(self, kind: str) -> str:
        """A database id: 24 hexadecimal digits, the same for the same history."""
        self._made += 1
        text = f"{self.owner}/{kind}/{self._made}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def publish(self, content: bytes) -> str:
        """A signed address that answers with `content`."""
        token = hashlib.sha256(f"{self.new_id('file')}".encode()).hexdigest()
        self.blobs[token] = content
        return f"{self.storage_url}/files/{token}"

    def fetch(self, url: str) -> bytes | None:
        """The content of an address that was given out here."""
        return self.blobs.get(url.removeprefix(f"{self.storage_url}/files/"))


def error_of(message: str, us: int) -> dict[str, object]:
    """A message with its time, as the Platform writes what failed."""
    return {"message": message, "timestamp": iso(us)}
