"""What a retraining needs of the place where models are trained: one small protocol.

The Platform is one such place (`PlatformBackend`), a folder on this machine another. Every call
that makes something takes a key: the same key finds what an earlier call made, so that a loop that
was killed in between simply calls again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from attrs import asdict, field, frozen

from driftline.errors import InputError
from driftline.holdout import LabelledFrame, LocalModel
from driftline.platform import TrainArgs
from driftline.records import Predictor

Detector: TypeAlias = Predictor | LocalModel
"""A model that can be shown frames; `driftline.HoldoutValidator` takes either."""


@frozen(kw_only=True)
class DatasetVersion:
    """A frozen state of a dataset that a training reads.

    Attributes:
        ref: its address for the back end: a dataset of the Platform, a folder.
        version: its number or name there.
        digest: digest of what it holds, as the back end computes it.
        added: frames of this loop in it.
        replayed: older frames in its training split. They keep the new model from forgetting:
            trained on drifted frames alone, the demo detector fell from .84 to .71 on its old
            holdout.
    """

    ref: str
    version: str
    digest: str
    added: int
    replayed: int

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.ref} version {self.version}: {self.added} new and {self.replayed} old frames"


@frozen(kw_only=True)
class TrainingRequest:
    """A training that is asked for.

    Attributes:
        base: the model to start from: the previous best.
        dataset: what to learn from.
        args: how: the guide's recipe is a rate of 0.001 with an optimizer that is named, because
            with ``auto`` the rate is ignored.
    """

    base: str
    dataset: DatasetVersion
    args: TrainArgs


@frozen(kw_only=True)
class Cost:
    """What a training may cost, for somebody to say yes to.

    Attributes:
        most_cents: it is cancelled above; None where nothing bounds it.
        said: the same for people.
    """

    most_cents: float | None
    said: str

    def __str__(self) -> str:
        """For people."""
        return self.said


@frozen(kw_only=True)
class TrainingRun:
    """A training that was started.

    Attributes:
        key: the key it was started under.
        ref: its address for the back end: a model of the Platform, a folder.
        pid: id of the child process where it runs on this machine.
        said: what the back end says of it, such as the estimated cost.
    """

    key: str
    ref: str
    pid: int | None = None
    said: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class TrainingStatus(StrEnum):
    """Where a training stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@frozen(kw_only=True)
class TrainingProgress:
    """How far a training is.

    Attributes:
        status: where it stands.
        epoch: epochs done.
        epochs: epochs it was started with.
        model: the model it made, as `RetrainBackend.detector` takes it; "" before the end.
        error: why it failed, "" when it did not.
        metrics: scores on its own validation split; they are not those of your holdout.
    """

    status: TrainingStatus
    epoch: int = 0
    epochs: int = 0
    model: str = ""
    error: str = ""
    metrics: Mapping[str, float] = field(factory=dict, hash=False)

    def __attrs_post_init__(self) -> None:
        """Refuse a finished training without a model."""
        if (self.status is TrainingStatus.FINISHED) != bool(self.model):
            msg = f"a training that is {self.status} cannot have the model {self.model!r}"
            raise InputError(msg)

    def __str__(self) -> str:
        """One line for people."""
        said = f": {self.error}" if self.error else ""
        return f"{self.status}, epoch {self.epoch} of {self.epochs}{said}"


class RetrainBackend(Protocol):
    """Where datasets are kept and models are trained.

    No call waits for long: what takes its time answers "not yet" and is called again. Every
    method may raise `driftline.errors.DriftlineError`; nothing is lost by that, the call is
    repeated at the next `RetrainLoop.advance`.
    """

    def trained_on(self) -> frozenset[str]:
        """SHA-256 (64 hex digits) of every picture the dataset is known to hold, in any version.

        None of them may come into a holdout or a recent set.
        """
        ...

    def dataset_version(
        self,
        key: str,
        *,
        train: Sequence[LabelledFrame],
        val: Sequence[LabelledFrame],
        class_names: Mapping[int, str],
    ) -> DatasetVersion | None:
        """The dataset with reviewed frames added to what it held; older frames stay in it.

        Args:
            key: of this version.
            train: new frames to learn from. The ``id`` of each is the SHA-256 of its picture, and
                ``image`` the path of the file.
            val: new frames by which the training chooses its best epoch.
            class_names: index → name of every class.

        Returns:
            The frozen version; None while it is being made: call again.
        """
        ...

    def cost(self, request: TrainingRequest) -> Cost | None:
        """What the training may cost; None where it costs nothing but time."""
        ...

    def train(self, key: str, request: TrainingRequest) -> TrainingRun:
        """Start the training, once for each key; it goes on by itself."""
        ...

    def progress(self, run: TrainingRun) -> TrainingProgress:
        """How far it is. A child that is gone without a result has failed."""
        ...

    def cancel(self, key: str) -> None:
        """Stop the training of a key; nothing happens when there is none, or it is over."""
        ...

    def keep(self, model: str) -> str:
        """A name of the model that goes on meaning these very weights, whatever serves later.

        The same weights have the same one, so that it tells which model serves; what is such a
        name already stays as it is. Where names never change their meaning it is the name itself.
        """
        ...

    def detector(self, model: str) -> Detector | None:
        """The model, ready to be shown frames; None while it is being brought up: call again."""
        ...
