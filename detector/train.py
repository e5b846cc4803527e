"""Train the demo detector from nothing and export it: ``python detector/train.py``.

Needs ultralytics, torch, onnx, onnxslim and onnxruntime; see ``docs/how-to/install-yolo.md``.
One thread and fixed seeds: the same versions on the same kind of processor give the same
weights, bit for bit. Ultralytics runs with a settings folder, a working folder and a font of
its own, all temporary, and opens no connection.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# A P3 + P4 head on 8/16/32/64 channels: 0.2 million parameters, strides 8 and 16.
MICRO = """\
nc: 3
reg_max: 16
end2end: False
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3k2, [16, False]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, C3k2, [32, False]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, C3k2, [64, False]]
  - [-1, 1, SPPF, [64, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 1, C3k2, [32, False]]
  - [[10, 7], 1, Detect, [nc]]
"""

# nbs=batch: with the default of 64 four batches make one step, too few for 600 frames.
SETTINGS: dict[str, Any] = {
    "imgsz": 128,
    "batch": 16,
    "nbs": 16,
    "optimizer": "AdamW",
    "lr0": 0.004,
    "warmup_epochs": 1,
    "mosaic": 0.0,
    "seed": 0,
    "deterministic": True,
    "workers": 0,
    "amp": False,
    "pretrained": False,
    "device": "cpu",
}


def main() -> None:
    """Train, clean, export, and put ``shapes.pt`` and ``shapes.onnx`` into the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="where the weights go")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--frames", type=int, default=600, help="frames to train on")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    start = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="train-") as scratch:
        os.chdir(scratch)
        try:
            seclude()
            check_torchvision()
            best = train(write_data(options.frames), epochs=options.epochs)
            clean(best, Path("shapes.pt"))
            export(Path("shapes.pt"))
            for name in ("shapes.pt", "shapes.onnx"):
                digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
                print(f"{name}: {Path(name).stat().st_size / 1e6:.2f} MB, sha256 {digest}")
                shutil.copyfile(name, out / name)
        finally:
            os.chdir(start)


def seclude() -> None:
    """Keep ultralytics to this folder and to itself; call it before ultralytics is imported.

    Without a font in its settings folder it asks github.com for one, even when offline.
    """
    home = Path("settings")
    (home / "Ultralytics").mkdir(parents=True)
    os.environ |= {
        "YOLO_CONFIG_DIR": str(home.resolve()),
        "MPLCONFIGDIR": str(home.resolve()),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "0",
        "YOLO_VERBOSE": "0",
        "OMP_NUM_THREADS": "1",
    }
    import matplotlib as mpl

    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    shutil.copyfile(font, home / "Ultralytics" / "Arial.ttf")


def check_torchvision() -> None:
    """Stop before the work where torch and torchvision are not of one build.

    ``import ultralytics`` succeeds with such a pair; the first training or prediction fails.
    """
    try:
        import torchvision  # noqa: F401 - importing it is the check
    except RuntimeError as exc:
        if "torchvision::nms" not in str(exc):
            raise
        sys.exit(
            "torch is a CPU build and torchvision is not (operator torchvision::nms does not "
            "exist): install both from one index, see docs/how-to/install-yolo.md"
        )


def write_data(frames: int) -> str:
    """Frames of 200 cameras to learn from and of 50 others to choose the best epoch by."""
    from driftline.testing import Scenes, write_yolo

    learn = Scenes(seed=1, cameras=tuple(f"learn-{i}" for i in range(200)))
    choose = Scenes(seed=2, cameras=tuple(f"choose-{i}" for i in range(50)))
    write_yolo("data", learn.frames(frames), "train")
    write_yolo("data", choose.frames(200), "val")
    return "data/data.yaml"


def train(data: str, *, epochs: int) -> Path:
    """Train and return the path of the best epoch's checkpoint."""
    import torch
    from ultralytics import YOLO

    Path("shapes.yaml").write_text(MICRO, encoding="utf-8")
    model = YOLO("shapes.yaml", task="detect")
    # ultralytics takes every core but one; more than one thread sums in another order.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(1))
    model.add_callback("on_train_epoch_end", lambda t: print(f"epoch {t.epoch + 1}/{t.epochs}"))
    model.train(
        data=data,
        epochs=epochs,
        plots=False,
        project="runs",
        name="shapes",
        verbose=False,
        **SETTINGS,
    )
    return Path(model.trainer.best)


def clean(checkpoint: Path, target: Path) -> None:
    """Save the weights without the paths, the git state, the dates and the times of this run."""
    import torch

    loaded = torch.load(checkpoint, map_location="cpu", weights_only=False)
    kept = {name: loaded[name] for name in ("epoch", "train_metrics", "version", "license", "docs")}
    arguments = {"task": "detect", "mode": "train", "data": "data.yaml", **SETTINGS}
    model = loaded["model"]
    model.args = dict(arguments)
    model.yaml["yaml_file"] = "shapes.yaml"
    for name in ("best_fitness", "ema", "updates", "optimizer", "scaler", "train_results"):
        kept[name] = None
    torch.save({**kept, "model": model, "train_args": arguments}, target)


def export(weights: Path) -> None:
    """Write the ``.onnx`` beside the ``.pt``, without paths and dates in its metadata."""
    import onnx
    from ultralytics import YOLO

    path = YOLO(weights.name, task="detect").export(format="onnx", imgsz=128, verbose=False)
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    facts["description"] = "A micro YOLO that finds the circles, squares and triangles of Driftline"
    del facts["date"]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts)
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:  # the exporter may leave stack traces here
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main()
