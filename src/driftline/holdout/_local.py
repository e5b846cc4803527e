"""Weights on this machine, run by ultralytics in a child process.

Ultralytics writes settings, sets threads, changes the environment and asks the network at import;
none of that may happen in the process of a user, so nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from driftline._checks import part, refuse_no_time, refuse_number
from driftline._files import writing
from driftline._progress import Progress, bar
from driftline.errors import ConfigError, InputError, MissingExtra, ModelError, UnreadableData
from driftline.holdout._checks import ClassMapping, class_numbers, translate
from driftline.holdout._dataset import label_lines
from driftline.holdout._frames import LabelledFrame
from driftline.holdout._images import sha256_of, write_png
from driftline.holdout._settings import Settings
from driftline.holdout._table import MatchTable
from driftline.records import Detections

__all__ = ["LocalModel", "LocalRun"]

_CHILD: Final = Path(__file__).with_name("_child.py")
_POLL_SECONDS = 0.1
_TAIL = 2000
_AGREE = 1e-3  # ultralytics overlaps boxes in 32 bits

# All that the child may know of this machine; keys and tokens are not among it.
_ALLOWED: Final = frozenset(
    {
        "COMSPEC", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES",
        "DYLD_LIBRARY_PATH", "HIP_VISIBLE_DEVICES", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH",
        "NUMBER_OF_PROCESSORS", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_VISIBLE_DEVICES", "PATH",
        "PATHEXT", "PROCESSOR_ARCHITECTURE", "ROCR_VISIBLE_DEVICES", "SYSTEMDRIVE", "SYSTEMROOT",
        "TZ", "WINDIR",
    }
)  # fmt: skip

_REMEDY = (
    "torch and torchvision are of two builds (a CPU torch beside a CUDA torchvision, or versions "
    "that do not fit); uninstall both and install the two together from one index, such as "
    "PyTorch's CPU index; see the page 'Install YOLO'"
)


def _path(value: str | Path) -> Path:
    return Path(part(value, (str, Path), name="weights", what="the path of weights"))


@frozen(eq=False)
class LocalModel:
    """Weights to validate, and how to run them.

    Attributes:
        weights: ``.pt``, ``.onnx``, a folder of an OpenVINO export, or what else ultralytics
            loads; a file that is there, never a name to download.
        imgsz: inference size, px; None: the size the model was trained at.
        batch: images per batch; the padding, and so the score, depends on it a little.
        conf: confidence above which a detection is kept, [0, 1]; 0.001 as ``yolo val``.
        iou: IoU threshold of the non-maximum suppression, [0, 1].
        max_det: detections kept per image.
        device: "cpu", "cuda:0", "mps" …
        threads: threads of a computation on the CPU; one gives the same score every time.
        time_limit: after which the child is ended.
        trust_pickle: a ``.pt`` is a pickle, and loading one may run code. False: only classes of
            torch and ultralytics are loaded. True: for weights with layers of your own.
    """

    weights: Path = field(converter=_path)
    imgsz: int | None = field(default=None, kw_only=True)
    batch: int = field(default=16, kw_only=True)
    conf: float = field(default=0.001, kw_only=True)
    iou: float = field(default=0.7, kw_only=True)
    max_det: int = field(default=300, kw_only=True)
    device: str = field(default="cpu", kw_only=True)
    threads: int = field(default=1, kw_only=True)
    time_limit: timedelta = field(default=timedelta(hours=1), kw_only=True)
    trust_pickle: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot run."""
        whole = {"batch": self.batch, "max_det": self.max_det, "threads": self.threads}
        if self.imgsz is not None:
            whole["imgsz"] = self.imgsz
        for name, value in whole.items():
            refuse_number(name, value, "1 or more", least=1, whole=True)
        refuse_number("conf", self.conf, "a number from 0 to 1", least=0, most=1)
        refuse_number("iou", self.iou, "a number from 0 to 1", least=0, most=1)
        refuse_no_time("time_limit", self.time_limit)

    def __repr__(self) -> str:
        """The file."""
        return f"LocalModel({self.weights.name!r}, device={self.device!r})"

    def run(
        self,
        frames: Sequence[LabelledFrame],
        class_names: Mapping[int, str],
        *,
        class_mapping: ClassMapping | None = None,
        progress: bool | None = None,
    ) -> LocalRun:
        """Detect in every frame, in a child process.

        Args:
            frames: the labelled frames, each with a picture.
            class_names: index → name, as the labels count.
            class_mapping: what differing names of the model mean.
            progress: write how far it is to standard error; None: from two seconds on, where
                that is a terminal.

        Raises:
            InputError: there are no such weights, or a frame has no picture.
            ContextMismatch: the model names or numbers its classes otherwise.
            MissingExtra: ultralytics is not installed.
            ModelError: it failed, did not end in time, or the weights changed meanwhile.
            UnreadableData: ultralytics left out a picture.
            StoreError: the disk of temporary files is full, or fails.
        """
        self._require()
        digest = sha256_of(self.weights)
        with TemporaryDirectory(prefix="driftline-val-", ignore_cleanup_errors=True) as place:
            folder = Path(place).resolve()
            with writing(folder, what="the dataset for the child"):
                _write_dataset(folder / "dataset", frames, labels=class_mapping is None)
                self._write_request(
                    folder, len(frames), class_names if class_mapping is None else None
                )
            _run_child(folder, self, progress=progress)
            answer = _answer(folder, self, class_names)
            self._require_same(digest)
            found = _predictions(folder, frames, answer)
        names = {int(key): name for key, name in answer["names"].items()}
        numbers = class_numbers(class_names, names, class_mapping)
        return LocalRun(
            predictions=tuple(translate(one, numbers, class_names) for one in found),
            settings=Settings(
                model=self.weights.name,
                weights_digest=digest,
                conf=self.conf,
                iou=self.iou,
                imgsz=answer["imgsz"],
                batch=answer["batch"],
                device=answer["device"],
                versions=answer["versions"],
            ),
            model_classes=names,
            val_map=answer["map"] if class_mapping is None else None,
            val_map50=answer["map50"] if class_mapping is None else None,
            end2end=answer["end2end"],
        )

    def _require(self) -> None:
        if "://" in str(self.weights) or not self.weights.exists():
            msg = (
                f"no weights at {str(self.weights)!r}; pass a file on this machine "
                "(.pt, .onnx, a folder of an OpenVINO export): nothing is downloaded"
            )
            raise InputError(msg)
        if self.weights.suffix.lower() in (".yaml", ".yml"):
            msg = f"{str(self.weights)!r} describes a model without weights: its score is 0"
            raise InputError(msg)
        if find_spec("ultralytics") is None:
            extra = "yolo"
            raise MissingExtra(extra, needed_for="validating local weights", package="ultralytics")
        if not sys.executable:
            msg = "this interpreter does not know its own path, so that no child can be started"
            raise ConfigError(msg)

    def _require_same(self, digest: str) -> None:
        """Refuse a score of which nobody knows whose it is: the child loads by name, and later."""
        if not self.weights.exists() or sha256_of(self.weights) != digest:
            msg = (
                f"the weights {str(self.weights)!r} changed while they were validated; pass a copy "
                "that nobody writes to"
            )
            raise ModelError(msg)

    def _write_request(
        self, folder: Path, frames: int, class_names: Mapping[int, str] | None
    ) -> None:
        request = {
            "weights": str(self.weights.resolve()),
            "imgsz": self.imgsz,
            "batch": self.batch,
            "conf": self.conf,
            "iou": self.iou,
            "max_det": self.max_det,
            "device": self.device,
            "safe": not self.trust_pickle,
            "frames": frames,
            "class_names": None
            if class_names is None
            else {str(k): v for k, v in class_names.items()},
            # packages are found where this process finds them, the working directory left out
            "paths": [path for path in sys.path if path and Path(path).is_absolute()],
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")


@frozen(kw_only=True, eq=False, repr=False)
class LocalRun:
    """What local weights found.

    Attributes:
        predictions: the detections of each frame, in the numbers of the holdout's classes.
        settings: what they were made under.
        model_classes: index → name, as the model carries them.
        val_map: mAP@0.5:0.95 that ultralytics' own ``val`` gave on the same frames; None where it
            was not comparable (a class mapping, no labels).
        val_map50: the same at IoU 0.5.
        end2end: whether the model is end-to-end (YOLO26): ``val`` and ``predict`` then work
            differently (ultralytics thread 24452).
    """

    predictions: tuple[Detections, ...]
    settings: Settings
    model_classes: Mapping[int, str]
    val_map: float | None
    val_map50: float | None
    end2end: bool

    def notes(self, frames: Sequence[LabelledFrame]) -> tuple[str, ...]:
        """What ``yolo val`` says of the same frames, and what to know of the model."""
        notes = []
        if self.val_map is not None and not any(frame.truth.unjudged.any() for frame in frames):
            ours = _as_val(frames, self.predictions)
            agree = "which" if abs(ours - self.val_map) <= _AGREE else "but"
            notes.append(
                f"yolo val gives mAP {self.val_map:.4f} on the same frames, {agree} its rules give "
                f"{ours:.4f} from the same detections"
            )
        if self.end2end:
            notes.append(
                "end-to-end model: val and predict choose boxes differently (ultralytics 24452), "
                "so a score of its endpoint is another"
            )
        return tuple(notes)

    def __repr__(self) -> str:
        """Frames, boxes and what ``val`` says."""
        boxes = sum(len(one) for one in self.predictions)
        told = "" if self.val_map is None else f", val mAP {self.val_map:.4f}"
        return f"LocalRun({len(self.predictions)} frames, {boxes} boxes{told})"


def _as_val(frames: Sequence[LabelledFrame], predictions: Sequence[Detections]) -> float:
    """mAP@0.5:0.95 by the rules of ``yolo val``: every frame counts once, every detection counts."""
    arrays = [*(frame.truth.class_id for frame in frames), *(one.class_id for one in predictions)]
    classes = sorted({int(one) for array in arrays for one in array})
    table = MatchTable.of(frames, predictions, classes=tuple(classes), max_detections=None)
    points = table.average_precision(np.ones(len(frames)), method="ultralytics")
    known = points[~np.isnan(points)]  # classes without labelled objects are left out
    return float(known.mean()) if known.size else float("nan")


def _write_dataset(root: Path, frames: Sequence[LabelledFrame], *, labels: bool) -> None:
    """A dataset of its own, named by number.

    The label cache that ultralytics writes beside the labels, and its tables by basename, then
    touch nobody's files and mix up no two of them.
    """
    for kind in ("images", "labels"):
        (root / kind / "test").mkdir(parents=True)
    for number, frame in enumerate(frames):
        if frame.image is None:
            msg = f"frame {frame.id or number} has no picture to detect in"
            raise InputError(msg)
        _link(frame.image, root / "images" / "test", number)
        label = root / "labels" / "test" / f"{number:06d}.txt"
        label.write_text(label_lines(frame) if labels else "", encoding="ascii")


def _link(image: object, folder: Path, number: int) -> None:
    if not isinstance(image, (str, Path)):
        write_png(np.asarray(image), folder / f"{number:06d}.png")
        return
    origin = Path(image).resolve()
    if not origin.is_file():
        msg = f"no image at {str(image)!r}"
        raise UnreadableData(msg)
    target = folder / f"{number:06d}{origin.suffix.lower()}"
    try:
        target.symlink_to(origin)
    except OSError:  # Windows without the right to make links
        shutil.copyfile(origin, target)


def child_environment(home: Path, *, threads: int, trust_pickle: bool) -> dict[str, str]:
    """What ultralytics may see of this machine, with a home of its own to write into.

    Args:
        home: an empty folder.
        threads: of a computation on the CPU.
        trust_pickle: whether a checkpoint may hold any class.
    """
    own = {name: value for name, value in os.environ.items() if name.upper() in _ALLOWED}
    number = str(threads)
    return own | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "TMPDIR": str(home),
        "TEMP": str(home),
        "TMP": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "TORCH_HOME": str(home / "torch"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "MPLBACKEND": "Agg",
        "YOLO_CONFIG_DIR": str(home / "yolo"),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
        "ULTRALYTICS_SAFE_LOAD": "false" if trust_pickle else "true",
        "OMP_NUM_THREADS": number,
        "MKL_NUM_THREADS": number,
        "OPENBLAS_NUM_THREADS": number,
        "NUMEXPR_MAX_THREADS": number,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _run_child(folder: Path, model: LocalModel, *, progress: bool | None) -> None:
    """Start it, wait for it, and leave nothing of it behind, whatever happens here."""
    home, work = folder / "home", folder / "cwd"
    home.mkdir()
    work.mkdir()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        child = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [sys.executable, "-I", str(_CHILD), str(folder)],
            cwd=work,
            env=child_environment(home, threads=model.threads, trust_pickle=model.trust_pickle),
            stdin=subprocess.PIPE,  # held open: its end tells the child that we are gone
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            _wait(child, folder, model, progress=progress)
        finally:
            _end(child)
    if child.returncode:
        raise _failed(model, folder, child.returncode)


def _wait(
    child: subprocess.Popen[bytes], folder: Path, model: LocalModel, *, progress: bool | None
) -> None:
    deadline = time.monotonic() + model.time_limit.total_seconds()
    with Progress(shown=progress) as line:
        while child.poll() is None:
            if time.monotonic() > deadline:
                msg = f"{model.weights.name!r} was not validated within {model.time_limit}; raise time_limit="
                raise ModelError(msg)
            line.tell(_progress(folder))
            time.sleep(_POLL_SECONDS)
        line.tell(_progress(folder))


def _progress(folder: Path) -> str:
    try:
        done, whole = map(int, (folder / "progress").read_text(encoding="ascii").split())
    except (OSError, ValueError):  # not written yet, or half
        return "loading the model"
    return bar(done, whole, "frames")


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started."""
    if child.stdin is not None:
        child.stdin.close()
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # it has ended (macOS says the latter)
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _failed(model: LocalModel, folder: Path, code: int) -> ModelError:
    said = (folder / "stderr").read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
    why = f"signal {-code} (out of memory?)" if code < 0 else f"code {code}"
    return ModelError(
        f"validating {model.weights.name!r} ended with {why}: {said or 'nothing said'}"
    )


def _answer(folder: Path, model: LocalModel, class_names: Mapping[int, str]) -> dict[str, Any]:
    """What the child says; where it refused, the error it means."""
    try:
        answer: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise _failed(model, folder, 0) from exc
    match answer.get("refused"):
        case None:
            return answer
        case "classes":
            class_numbers(class_names, {int(key): name for key, name in answer["names"].items()})
        case "task":
            msg = f"{model.weights.name!r} is a model for {answer['task']!r}; boxes of detectors are scored"
            raise ModelError(msg)
        case "unsafe":
            msg = (
                f"this ultralytics with torch {answer['version']} loads {model.weights.name!r} as a "
                "pickle, which may run code; upgrade both, or if you trust where it comes from: "
                "LocalModel(..., trust_pickle=True)"
            )
            raise ModelError(msg)
        case _:
            pass
    raise _translated(model, str(answer.get("type")), str(answer.get("said")))


def _translated(model: LocalModel, kind: str, said: str) -> Exception:
    name = model.weights.name
    if "torchvision::nms" in said:
        return ModelError(f"{name!r} cannot be run: {said.strip()}: {_REMEDY}")
    if kind in ("ModuleNotFoundError", "ImportError"):
        msg = f"{name!r} needs a package that is missing here ({said[:_TAIL].strip()}); install it, nothing is installed for you"
        return ModelError(msg)
    if kind == "UnpicklingError" or "outside the supported Ultralytics checkpoint" in said:
        msg = (
            f"{name!r} holds more than weights, or is no checkpoint ({said[:_TAIL].strip()}); if you "
            "trust where it comes from: LocalModel(..., trust_pickle=True)"
        )
        return ModelError(msg)
    return ModelError(f"validating {name!r} failed with {kind}: {said[:_TAIL].strip()}")


def _predictions(
    folder: Path, frames: Sequence[LabelledFrame], answer: Mapping[str, Any]
) -> list[Detections]:
    names = {int(key): name for key, name in answer["names"].items()}
    with np.load(folder / "predictions.npz", allow_pickle=False) as stored:
        table = {name: stored[name] for name in stored.files}
    ends = np.cumsum(table["count"])
    place = {int(number): index for index, number in enumerate(table["frame"])}
    if missing := [number for number in range(len(frames)) if number not in place]:
        name = frames[missing[0]].id or missing[0]
        msg = f"ultralytics left out {len(missing)} of {len(frames)} frames, such as {name!r}; do they open?"
        raise UnreadableData(msg)
    answers = []
    for number, frame in enumerate(frames):
        index = place[number]
        rows = slice(int(ends[index] - table["count"][index]), int(ends[index]))
        height, width = (int(side) for side in table["size"][index])
        if (height, width) != tuple(frame.truth.image_size):
            msg = f"frame {frame.id or number} has {width} x {height} px for ultralytics, its labels are for {frame.truth.image_size}"
            raise UnreadableData(msg)
        answers.append(
            Detections(
                xyxy=table["xyxy"][rows],
                confidence=table["confidence"][rows],
                class_id=table["class_id"][rows],
                image_size=(height, width),
                class_names=names,
            )
        )
    return answers
