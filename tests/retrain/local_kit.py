"""A package that takes the place of ultralytics: it "trains" by writing the same files.

It can be told to take its time for an epoch, or to stop before one until there is a file ``go``.
"""

from pathlib import Path

TORCH = "def set_num_threads(n): print('threads', n, flush=True)\n"

ULTRALYTICS = """
import json, os, socket, time
from pathlib import Path

settings = {"sync": True, "mlflow": True}


class Trainer:
    def __init__(self, save_dir):
        self.save_dir, self.best = save_dir, save_dir / "weights" / "best.pt"


class YOLO:
    task, names = "detect", {0: "circle", 1: "square", 2: "triangle"}

    def __init__(self, weights, task=None):
        self.weights, self.callbacks = Path(weights), []
        self.state = self.weights.read_text()
        if self.state == "torn":
            raise RuntimeError("PytorchStreamReader failed")

    def add_callback(self, name, function):
        self.callbacks.append(function)

    def train(self, *, resume=False, **given):
        for function in self.callbacks:
            function(None)
        if resume:
            given = json.loads(self.state)
            done = given["done"]
        else:
            done = 0
            Path("told.json").write_text(json.dumps([given, dict(os.environ), os.getcwd()]))
        if given.get("calls"):
            socket.create_connection(("127.0.0.1", given["calls"]), 1)
        if given.get("says"):
            raise ValueError(given["says"])
        run = Path(given["project"]) / given["name"]
        (run / "weights").mkdir(parents=True, exist_ok=True)
        self.trainer = Trainer(run)
        for epoch in range(done + 1, given["epochs"] + 1):
            time.sleep(given.get("seconds", 0.0))
            while epoch == given.get("stops_at") and not Path("go").exists():
                time.sleep(0.01)
            table = run / "results.csv"
            head = "" if table.exists() else "epoch,time,metrics/mAP50-95(B)\\n"
            with table.open("a") as file:
                file.write(f"{head}{epoch},0.1,{epoch / 10}\\n")
            weights = "w" * given.get("bytes", 0)
            state = json.dumps({**given, "done": epoch, "weights": weights})
            (run / "weights" / "last.pt").write_text(state)
        self.trainer.best.write_text(f"best of {given['epochs']}")
"""


def put_ultralytics(folder: Path) -> Path:
    """Write the packages; the folder belongs on the path."""
    (folder / "ultralytics" / "nn").mkdir(parents=True)
    (folder / "ultralytics" / "__init__.py").write_text(ULTRALYTICS)
    (folder / "ultralytics" / "nn" / "__init__.py").write_text("")
    (folder / "ultralytics" / "nn" / "tasks.py").write_text(
        "class _SafeLoad:\n    SUPPORTED = True\n"
    )
    (folder / "torch.py").write_text(TORCH)
    return folder
