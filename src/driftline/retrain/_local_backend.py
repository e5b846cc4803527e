"""Retraining on this machine: a folder for datasets, a child process for each training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from driftline._checks import part
from driftline._files import placing, placing_folder, writing
from driftline.errors import InputError, MissingExtra, NotFound, StoreBusy
from driftline.holdout import Holdout, LabelledFrame, LocalModel
from driftline.holdout._images import sha256_of
from driftline.platform import TrainArgs
from driftline.retrain._alone import alone
from driftline.retrain._backend import (
    DatasetVersion,
    TrainingProgress,
    TrainingRequest,
    TrainingRun,
    TrainingStatus,
)
from driftline.retrain._local_datasets import DatasetStore, Split, Version, named
from driftline.retrain._local_training import ATTEMPTS, BASE, DATASET, TrainingFolder

__all__ = ["LocalBackend"]

_QUIET: Final[Mapping[str, object]] = {
    "plots": False,
    "verbose": False,
    "workers": 0,  # as many as a GPU needs: TrainArgs(more={"workers": 8})
    "amp": False,  # the check for it downloads weights
}
_WARMUP: Final = 0.0
"""Epochs of warm-up: it starts at a rate of 0.1 for biases, which a model that works need not."""


def _folder(value: str | Path) -> Path:
    return Path(part(value, (str, Path), name="folder", what="the path of a folder")).resolve()


@frozen(eq=False)
class LocalBackend:
    """A folder on this machine in the place of the Platform; a `RetrainBackend`.

    Datasets lie in it as versions that never change, pictures once for all of them. A training is
    a child process with nothing of this process's environment, that goes on when this one ends; a
    later process that opens the folder finds it. A training that was killed is taken up from its
    last epoch, at most three times in all. Nothing is sent anywhere.

    Attributes:
        folder: where everything is.
        device: what a training and its models run on: "cpu", "cuda:0", "mps" …
        threads: threads of a computation on the CPU; one gives the same weights every time.
        trust_pickle: load base weights with layers of your own (`driftline.holdout.LocalModel`).
    """

    folder: Path = field(converter=_folder)
    device: str = field(default="cpu", kw_only=True)
    threads: int = field(default=1, kw_only=True)
    trust_pickle: bool = field(default=False, kw_only=True)

    def __repr__(self) -> str:
        """Where it is."""
        return f"LocalBackend({str(self.folder)!r}, device={self.device!r})"

    # --- datasets ---------------------------------------------------------------------------

    def begin(self, data: str | Path) -> DatasetVersion:
        """Begin with the dataset that the present model was trained on.

        New frames are added to it, and its training split is what keeps a new model from
        forgetting.

        Args:
            data: the data YAML, with a split ``train`` and a split ``val``.

        Raises:
            InputError: there is no such file or split.
            UnreadableData: labels or pictures do not parse.
            StoreBusy: another process is writing.
        """
        splits: dict[Split, Holdout] = {
            split: Holdout.open(data, split=split) for split in ("train", "val")
        }
        frames: dict[Split, Sequence[LabelledFrame]] = {
            split: _by_digest(holdout) for split, holdout in splits.items()
        }
        names = splits["train"].class_names
        key = f"begin {Version(class_names=names).plus(frames, names).digest}"
        made = self.dataset_version(
            key, train=frames["train"], val=frames["val"], class_names=names
        )
        if made is None:
            msg = f"another process is writing to {str(self.folder)!r}; call again"
            raise StoreBusy(msg)
        return made

    def trained_on(self) -> frozenset[str]:
        """SHA-256 of every picture of the store."""
        return self._store.pictures()

    def dataset_version(
        self,
        key: str,
        *,
        train: Sequence[LabelledFrame],
        val: Sequence[LabelledFrame],
        class_names: Mapping[int, str],
    ) -> DatasetVersion | None:
        """The newest version with frames added, once for each key; see `RetrainBackend`.

        Raises:
            ContextMismatch: the classes are others than those of the dataset.
            InputError: a split would be empty, or an id is not the SHA-256 of the picture.
            StoreError: the machine failed, such as a full disk; the same key goes on later.
        """
        with writing(self.folder, what="the dataset"), alone(self.folder / "lock") as free:
            if not free:
                return None
            if (note := self._store.noted(key)) is None:
                note = self._make(key, {"train": train, "val": val}, class_names)
        return DatasetVersion(
            ref=str(self.folder),
            version=note["digest"][:12],
            digest=note["digest"],
            added=note["added"],
            replayed=note["replayed"],
        )

    def _make(
        self,
        key: str,
        frames: Mapping[Split, Sequence[LabelledFrame]],
        class_names: Mapping[int, str],
    ) -> dict[str, Any]:
        names = dict(class_names)
        version = (self._store.newest() or Version(class_names=names)).plus(frames, names)
        for split in ("train", "val"):
            if not version.count(split):
                msg = f"no frame to {split} on: pass some, or begin() with the dataset of before"
                raise InputError(msg)
        new = [*frames["train"], *frames["val"]]
        replayed = version.count("train") - len(frames["train"])
        self._store.keep(key, version, new, {"added": len(new), "replayed": replayed})
        return {"digest": version.digest, "added": len(new), "replayed": replayed}

    def write_dataset(self, version: DatasetVersion, folder: str | Path) -> Path:
        """Write a version as a YOLO dataset, to look at or to train on elsewhere.

        Returns:
            The path of ``data.yaml``.

        Raises:
            InputError: the folder is not empty.
            StoreError: the machine failed, such as a full disk; nothing of it stays.
        """
        root = Path(folder)
        if root.exists() and any(root.iterdir()):
            msg = f"{str(root)!r} is not empty; write into a folder of its own"
            raise InputError(msg)
        asked = self._store.version(version.digest)
        with writing(root, what="the dataset"), placing_folder(root) as part:
            data = self._store.write(asked, part)
        return root / data.name

    # --- weights ----------------------------------------------------------------------------

    def keep(self, model: str | Path) -> str:
        """A copy of weights that nothing overwrites; a `RetrainLoop` keeps both of its models.

        A handover often puts the new weights in the place of the old; a loop that knew only that
        path would go back to the candidate.

        Args:
            model: a ``.pt`` on this machine.

        Returns:
            The path of the copy, named by the digest of its content.

        Raises:
            InputError: there are no such weights, or they were changed meanwhile.
            StoreError: the machine failed, such as a full disk; call again.
        """
        origin = _weights(model)
        name = sha256_of(origin).removeprefix("sha256:")
        target = self.folder / "weights" / f"{name}.pt"
        if not target.is_file():
            with writing(target, what="a copy of the weights"):
                self._copy(origin, target)
        return str(target)

    @staticmethod
    def _copy(origin: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with placing(target) as part:
            shutil.copyfile(origin, part)
            if sha256_of(part).removeprefix("sha256:") != target.stem:
                msg = f"{str(origin)!r} was changed while it was copied; call again"
                raise InputError(msg)

    # --- trainings --------------------------------------------------------------------------

    def cost(self, request: TrainingRequest) -> None:
        """None: a training on this machine costs nothing but time."""

    def train(self, key: str, request: TrainingRequest) -> TrainingRun:
        """Start a training, once for each key; it goes on without this process.

        Raises:
            InputError: the base is no ``.pt`` on this machine, or the key is of another training.
            MissingExtra: ultralytics is not installed.
            ModelError: the child did not start.
            StoreError: the machine failed, such as a full disk; the same key goes on later.
        """
        if find_spec("ultralytics") is None:
            extra = "yolo"
            raise MissingExtra(extra, needed_for="training on this machine", package="ultralytics")
        training = self._training(key)
        if not training.exists:
            self._ask(training, request)
        elif training.request["asked"] != (asked := _asked(request)):
            msg = (
                f"the key {key!r} is of another training ({training.request['asked']}), not {asked}"
            )
            raise InputError(msg)
        training.start()
        return TrainingRun(
            key=key, ref=str(training.folder), pid=training.pid, said="on this machine"
        )

    def progress(self, run: TrainingRun) -> TrainingProgress:
        """How far a training is; one whose process was killed is taken up again.

        Raises:
            NotFound: there is no such training.
        """
        training = self._training(run.key)
        if not training.exists:
            msg = f"no training of the key {run.key!r} in {str(self.folder)!r}"
            raise NotFound(msg)
        epochs = int(training.request["settings"]["epochs"])
        rows = training.rows()
        so_far = TrainingProgress(
            status=TrainingStatus.RUNNING,
            epoch=int(rows[-1]["epoch"]) if rows else 0,
            epochs=epochs,
            metrics={
                name.removeprefix("metrics/"): value
                for name, value in (rows[-1].items() if rows else ())
                if name.startswith("metrics/")
            },
        )
        return self._ended(training, so_far) or so_far

    def cancel(self, key: str) -> None:
        """Stop the training of a key, and nothing else."""
        training = self._training(key)
        if training.exists:
            training.cancel()

    def detector(self, model: str) -> LocalModel:
        """The weights, run in a child process of their own."""
        return LocalModel(
            Path(model), device=self.device, threads=self.threads, trust_pickle=self.trust_pickle
        )

    # --- parts ------------------------------------------------------------------------------

    @property
    def _store(self) -> DatasetStore:
        return DatasetStore(self.folder)

    def _training(self, key: str) -> TrainingFolder:
        return TrainingFolder(self.folder / "trainings" / named(key))

    def _ask(self, training: TrainingFolder, request: TrainingRequest) -> None:
        base, version = _weights(request.base), self._store.version(request.dataset.digest)
        asked = self._request(training.folder, request)
        with writing(training.folder, what="the training"), training.asking(asked) as folder:
            shutil.copyfile(base, folder / BASE)
            self._store.write(version, folder / DATASET)

    def _request(self, folder: Path, request: TrainingRequest) -> dict[str, Any]:
        return {
            "asked": _asked(request),
            "weights": str(folder / BASE),
            "data": str(folder / DATASET / "data.yaml"),
            "settings": {
                **_QUIET,
                **_recipe(request.args),
                "device": self.device,
                "project": str(folder),
                "name": "run",
                "exist_ok": True,
            },
            "safe": not self.trust_pickle,
            "threads": self.threads,
        }

    def _ended(self, training: TrainingFolder, so_far: TrainingProgress) -> TrainingProgress | None:
        """How a training ended; None while it goes on."""
        alive, result = training.alive, training.result  # in this order: the result comes first
        if result is not None and "failed" not in result:
            model = str(training.folder / result["model"])
            return evolve(so_far, status=TrainingStatus.FINISHED, model=model)
        if result is not None:
            error = f"{result['failed']}: {result.get('said') or training.said()}"
            return evolve(so_far, status=TrainingStatus.FAILED, error=error)
        if training.cancelled:
            return evolve(so_far, status=TrainingStatus.CANCELLED)
        if alive:
            return None
        if training.attempts >= ATTEMPTS:
            error = f"its process was killed {ATTEMPTS} times (out of memory?): {training.said()}"
            return evolve(so_far, status=TrainingStatus.FAILED, error=error)
        training.start()
        return None


def _weights(given: str | Path) -> Path:
    path = Path(given)
    if path.suffix.lower() != ".pt" or not path.is_file():
        msg = f"no weights to start from at {str(given)!r}; pass a .pt on this machine"
        raise InputError(msg)
    return path


def _recipe(args: TrainArgs) -> dict[str, Any]:
    """What ultralytics is to do; a step takes one batch, not the 64 frames that are its default."""
    own = {"warmup_epochs": _WARMUP} | ({"nbs": args.batch} if args.batch > 0 else {})
    return {**own, **args.wire(), **args.more}


def _asked(request: TrainingRequest) -> dict[str, Any]:
    """What tells one training from another."""
    base = Path(request.base)
    return {
        "base": sha256_of(base) if base.is_file() else request.base,
        "dataset": request.dataset.digest,
        "args": _recipe(request.args),
    }


def _by_digest(holdout: Holdout) -> list[LabelledFrame]:
    """The frames of a dataset by the digests of their pictures, each picture once."""
    named_so = {
        digest: evolve(frame, id=digest)
        for frame in holdout.frames
        for digest in [sha256_of(Path(frame.image)).removeprefix("sha256:")]
    }
    return list(named_so.values())
