"""A training: what is asked for, what it costs, how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, get_args

from attrs import field, frozen

from driftline._checks import part, refuse_other
from driftline.errors import InputError
from driftline.platform._calls import within
from driftline.platform._models import ModelStatus

Optimizer: TypeAlias = Literal[
    "auto", "SGD", "MuSGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp", "Adamax"
]
"""How weights are updated; ``auto`` chooses its own learning rate."""
Gpu: TypeAlias = Literal[
    "rtx-2000-ada",
    "rtx-a4500",
    "rtx-a5000",
    "rtx-4000-ada",
    "l4",
    "a40",
    "rtx-3090",
    "rtx-a6000",
    "rtx-pro-4000",
    "rtx-pro-4500",
    "rtx-4090",
    "rtx-6000-ada",
    "l40s",
    "rtx-pro-5000",
    "rtx-5090",
    "l40",
    "a100-80gb-pcie",
    "a100-80gb-sxm",
    "rtx-pro-6000",
    "h100-pcie",
    "h100-nvl",
    "h100-sxm",
    "h200-nvl",
    "h200-sxm",
    "b200",
    "b300",
]
"""What it runs on (contract 0.1.9)."""

TRAINING_POLL: Final = timedelta(seconds=30)
"""How often a training is looked at: it takes hours, and calls are limited to 100 a minute."""
TRAINING_TIMEOUT: Final = timedelta(days=1)
"""How long a training may take before waiting for it counts as failed; it goes on by itself."""

_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "epochs": (1, 10_000),
    "lr0": (0.0001, 0.1),
    "imgsz": (32, 4096),
    "batch": (-1, 512),
    "patience": (1, 1000),
    "seed": (0, 2**31 - 1),
    "freeze": (0, 100),
}
"""What the Platform takes (contract 0.1.9)."""
_OPTIONAL: Final = frozenset({"lr0", "freeze"})
"""Those of which None says something."""


@frozen(kw_only=True)
class TrainArgs:
    """How a model is trained.

    The defaults of `lr0` and `optimizer` are the guide's recipe for a retraining, in which a
    model that works is moved a little: 0.001 in place of the Platform's 0.01.

    Attributes:
        epochs: passes over the training split, 1 to 10000.
        lr0: learning rate at the start, 0.0001 to 0.1; None leaves it to the optimizer.
        optimizer: how weights are updated.
        imgsz: size of the longer side, px, 32 to 4096.
        batch: images a step; -1 as many as fit.
        patience: epochs without progress after which it ends, 1 to 1000.
        seed: of everything random.
        freeze: layers that are not trained, from the first; None for none.
        more: further arguments of the contract, by its names (``mosaic``, ``degrees``, …).
    """

    epochs: int
    lr0: float | None = 0.001
    optimizer: Optimizer = "AdamW"
    imgsz: int = 640
    batch: int = -1
    patience: int = 100
    seed: int = 0
    freeze: int | None = None
    more: Mapping[str, object] = field(factory=dict, hash=False)

    def __attrs_post_init__(self) -> None:
        """Refuse what the Platform would refuse, and what it would take and ignore."""
        refuse_other("optimizer", self.optimizer, get_args(Optimizer))
        if self.optimizer == "auto" and self.lr0 is not None:
            # ultralytics 8.4.190, engine/trainer.py, build_optimizer; ultralytics#8400
            msg = (
                f"lr0={self.lr0!r} is silently ignored by optimizer='auto'; name an optimizer "
                "such as 'AdamW', or pass lr0=None"
            )
            raise InputError(msg)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name not in _OPTIONAL:
                msg = f"{name}=None must be a whole number from {low:g} to {high:g}"
                raise InputError(msg)
            within(name, value, low, high, whole=name != "lr0")
        part(self.more, Mapping, name="more", what="arguments by their names")
        if twice := {*self.more} & {"model", "data", *self.wire()}:
            msg = f"more={sorted(twice)} have parameters of their own"
            raise InputError(msg)

    def wire(self) -> dict[str, Any]:
        """Those with a parameter of their own that are set."""
        names = ("epochs", "lr0", "optimizer", "imgsz", "batch", "patience", "seed", "freeze")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@frozen(kw_only=True)
class TrainingStart:
    """A training that was started, and what it is expected to cost.

    Attributes:
        model: ``"owner/project/model"`` that is trained.
        model_id: its database id.
        gpu: what it runs on.
        gpu_memory_gb: memory of that.
        price_per_hour: of that, in the currency of the account.
        estimated_cost_cents: of the whole training.
        estimated_cost: the same, as the Platform shows it.
        balance_cents: credits left.
    """

    model: str
    model_id: str
    gpu: str
    gpu_memory_gb: float
    price_per_hour: float
    estimated_cost_cents: float
    estimated_cost: str
    balance_cents: float

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.model}: training on {self.gpu}, about {self.estimated_cost}"


@frozen(kw_only=True)
class TrainingJob:
    """How far a training is.

    Attributes:
        id: id of the job.
        status: where it stands.
        epoch: epochs done; the Platform may count one more than there are.
        epochs: epochs it was started with.
        share: how much is done, 0 to 1.
        elapsed: how long it has taken.
        eta: how long it is expected to take from here.
        gpu: what it runs on; None where not said.
        metrics: scores of the last epoch, by the Platform's names.
        error: why it failed, "" when it did not.
        started_at: when it began, UTC; None before.
        completed_at: when it ended, UTC; None before.
    """

    id: str
    status: ModelStatus
    epoch: int
    epochs: int
    share: float
    elapsed: timedelta
    eta: timedelta
    gpu: str | None = None
    metrics: Mapping[str, float] = field(factory=dict, hash=False)
    error: str = ""
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def __str__(self) -> str:
        """One line for people."""
        said = f" ({self.error})" if self.error else ""
        return f"{self.status}{said}, epoch {self.epoch} of {self.epochs}, {self.share:.0%}"


def checked_approval(*, approve_cost: object, what: str) -> None:
    """Refuse to spend money that nobody approved.

    Raises:
        InputError: `approve_cost` is not True.
    """
    if approve_cost is not True:
        msg = f"{what} spends credits of the workspace; pass approve_cost=True to say that it may"
        raise InputError(msg)
