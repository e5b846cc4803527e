"""What runs in the child process: one model over one holdout, with ultralytics.

The parent (`_local`) starts this file by its path, in an interpreter of its own; nothing of
Driftline is imported here and the parent never imports this; the child of a training borrows from
it. What goes in is ``request.json``, what comes out ``result.json`` and ``predictions.npz``, all in
one private folder.

The order matters: the network is closed, the folder of settings filled and the number of threads
set before ultralytics is imported, for it acts on all three at import.
"""

# ultralytics is an extra: of all files only this one imports it
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import traceback
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_SILENT = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb")
_TASK = "detect"


class RefusedError(Exception):
    """Something the parent has words for.

    Attributes:
        kind: which words.
        facts: what they are about.
    """

    def __init__(self, kind: str, **facts: Any) -> None:
        """Keep both."""
        super().__init__(kind)
        self.kind = kind
        self.facts = facts


def close_network() -> None:
    """Whatever tries to leave this process fails: offline is a fact, not a setting."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in (
            "socket.connect",
            "socket.sendto",
            "socket.getaddrinfo",
            "socket.gethostbyname",
        ):
            msg = f"the network is closed to this process ({event} {arguments[-1]!r})"
            raise OSError(msg)

    sys.addaudithook(refuse)


def _end_with_parent() -> None:
    """The parent holds the other end of standard input: when it is gone, so is this."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def give_font(config: Path) -> None:
    """Every validation looks for Arial.ttf and fetches it where it is missing, even offline."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return
    font = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    folder = config / "Ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    if font.is_file():
        for name in ("Arial.ttf", "Arial.Unicode.ttf"):
            shutil.copyfile(font, folder / name)


def load_model(request: dict[str, Any]) -> Any:
    """The model of a request's ``weights``, loaded as a pickle only where ``safe`` is not asked for."""
    from ultralytics import YOLO, settings  # noqa: PLC0415 - only now is the house in order

    if request["safe"] and Path(request["weights"]).suffix.lower() == ".pt" and not _loads_safely():
        kind = "unsafe"
        raise RefusedError(kind, version=version("torch"))
    known = {name: False for name in _SILENT if name in settings}
    settings.update({**known, "sync": False})
    model = YOLO(request["weights"], task=_TASK)
    if model.task != _TASK:
        kind = "task"
        raise RefusedError(kind, task=str(model.task))
    return model


def limit_threads(model: Any, threads: int) -> None:
    """Keep a training to some threads: ultralytics takes every core but one, whatever it is told."""
    from torch import set_num_threads  # noqa: PLC0415 - as above

    model.add_callback("on_train_start", lambda _: set_num_threads(threads))


def _loads_safely() -> bool:
    """Whether this ultralytics can load weights alone; where it cannot it would load all, silently."""
    from ultralytics.nn import tasks  # noqa: PLC0415 - as above

    return bool(getattr(getattr(tasks, "_SafeLoad", None), "SUPPORTED", False))


def _names(model: Any) -> dict[int, str]:
    names = model.names
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    return {int(index): str(name) for index, name in pairs}


def _image_size(model: Any, request: dict[str, Any]) -> int:
    """The size that was asked for, or that the model was trained at."""
    return _side(request["imgsz"] or model.overrides.get("imgsz") or 640)


def _side(size: Any) -> int:
    return int(max(size)) if isinstance(size, (list, tuple)) else int(size)


def _unpadded(boxes: Any, ratio_pad: Any) -> Any:
    """Boxes in pixels of the picture, not cut off at its edge: ``val`` scores them so.

    Cutting off would flatter: 0.8940 for 0.8924 on 60 frames of 128 px, measured.
    """
    (tall, wide), (right, down) = ratio_pad
    return (boxes - (right, down, right, down)) / (wide, tall, wide, tall)


def _validator(
    found: dict[int, Any], used: dict[str, Any], progress: Path, total: int
) -> type[Any]:
    from ultralytics.models.yolo.detect import DetectionValidator  # noqa: PLC0415 - as above

    class Collecting(DetectionValidator):  # type: ignore[misc]  # a base without types
        """Keeps the boxes of each picture in its own pixels before they become counts."""

        def update_metrics(self, preds: Any, batch: Any) -> None:
            for index, pred in enumerate(preds):
                part = self._prepare_batch(index, batch)
                found[int(Path(part["im_file"]).stem)] = (
                    _unpadded(pred["bboxes"].cpu().numpy().astype(np.float64), part["ratio_pad"]),
                    pred["conf"].cpu().numpy().astype(np.float64),
                    pred["cls"].cpu().numpy().astype(np.int64),
                    tuple(int(side) for side in part["ori_shape"]),
                )
            super().update_metrics(preds, batch)
            used.update(imgsz=self.args.imgsz, batch=self.args.batch, device=str(self.device))
            progress.write_text(f"{len(found)} {total}", encoding="ascii")

    return Collecting


def versions() -> dict[str, str]:
    """Version of what runs here."""
    there = {}
    for name in ("ultralytics", "ultralytics-opencv-headless", "torch", "onnxruntime", "openvino"):
        try:
            there[name.removesuffix("-opencv-headless")] = version(name)
        except PackageNotFoundError:
            continue
    there["python"] = ".".join(str(part) for part in sys.version_info[:3])
    return there


def _run(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    model = load_model(request)
    names = _names(model)
    expected = request["class_names"]
    if expected is not None and {int(key): name for key, name in expected.items()} != names:
        kind = "classes"
        raise RefusedError(kind, names={str(key): name for key, name in names.items()})
    dataset = folder / "dataset"
    data = dataset / "data.yaml"
    splits = dict.fromkeys(("train", "val", "test"), "images/test")  # all three are asked for
    content = {"path": str(dataset), **splits, "names": names}
    data.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    found: dict[int, Any] = {}
    imgsz = _image_size(model, request)
    used: dict[str, Any] = {}
    collecting = _validator(found, used, folder / "progress", request["frames"])
    metrics = model.val(
        validator=collecting,
        data=str(data),
        split="test",
        imgsz=imgsz,
        batch=request["batch"],
        conf=request["conf"],
        iou=request["iou"],
        max_det=request["max_det"],
        device=request["device"],
        workers=0,
        plots=False,
        save_json=False,
        save_txt=False,
        verbose=False,
        project=str(folder / "runs"),
        name="val",
        exist_ok=True,
    )
    order = sorted(found)
    np.savez(
        folder / "predictions.npz",
        frame=np.array(order, dtype=np.int64),
        count=np.array([len(found[key][1]) for key in order], dtype=np.int64),
        size=np.array([found[key][3] for key in order], dtype=np.int64).reshape(-1, 2),
        xyxy=np.concatenate([np.zeros((0, 4)), *(found[key][0] for key in order)]),
        confidence=np.concatenate([np.zeros(0), *(found[key][1] for key in order)]),
        class_id=np.concatenate([np.zeros(0, np.int64), *(found[key][2] for key in order)]),
    )
    labelled = bool(metrics.nt_per_class is not None and metrics.nt_per_class.sum() > 0)
    return {
        "names": {str(key): name for key, name in names.items()},
        "imgsz": _side(used["imgsz"]),  # an export of a fixed size sets size and batch itself
        "batch": int(used["batch"]),
        "device": used["device"],
        "end2end": bool(getattr(getattr(model, "model", None), "end2end", False)),
        "versions": versions(),
        "map": float(metrics.box.map) if labelled else None,
        "map50": float(metrics.box.map50) if labelled else None,
    }


def main(folder: Path) -> int:
    """Do what ``request.json`` asks; what came of it is in ``result.json``."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    sys.path += [path for path in request["paths"] if path not in sys.path]
    _end_with_parent()
    close_network()
    give_font(Path(os.environ["YOLO_CONFIG_DIR"]))
    try:
        answer = _run(request, folder)
    except RefusedError as exc:
        answer = {"refused": exc.kind, **exc.facts}
    except Exception as exc:  # noqa: BLE001 - the border of the process: told to the parent, whatever it is
        traceback.print_exc()
        answer = {"refused": "error", "type": type(exc).__name__, "said": str(exc)}
    part = folder / "result.part"
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.replace(folder / "result.json")
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # exit handlers of a dozen libraries have nothing to say here
