"""What runs in the child process of a training: ultralytics, from the previous best weights.

The parent (`_local_training`) starts this file by its path, in an interpreter of its own that
outlives it. What goes in is ``request.json``; what comes out is what ultralytics writes to ``run``
while it goes on, and ``result.json`` at the end. A lock that ends with the process says that
there is one; a file ``cancelled`` ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.2
_TRIES = 150
"""Half a minute, as long as who started us waits: on a busy machine a moment may be long."""


def hold(path: Path) -> int | None:
    """Lock a file until this process ends or closes the descriptor; None where it is locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - of one platform

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - of the others

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _hold_soon(path: Path) -> int | None:
    """Lock a file; those who look whether it is locked lock it for a moment themselves."""
    for _ in range(_TRIES):
        if (descriptor := hold(path)) is not None:
            return descriptor
        time.sleep(_LOOK_SECONDS)
    return None


def _leave_parent() -> None:
    """Go on without the parent: its end, its terminal and its signals are not ours."""
    if sys.platform != "win32":
        if os.fork():
            os._exit(0)
        os.setsid()


def _end_when_cancelled(folder: Path) -> None:
    """Only this process ends itself: from outside an id may have become somebody else's."""

    def watch() -> None:
        while not (folder / "cancelled").exists():
            time.sleep(_LOOK_SECONDS)
        if sys.platform != "win32":
            os.killpg(0, signal.SIGKILL)
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()


def _train(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    from driftline.holdout._child import versions  # noqa: PLC0415 - only now it is found

    last = folder / "run" / "weights" / "last.pt"
    if last.is_file():
        try:
            model = _fit({**request, "weights": str(last)}, resume=True)
        except Exception:  # noqa: BLE001 - half written, or at its end: whatever it is, begin anew
            traceback.print_exc()
        else:
            return _result(model, versions())
    shutil.rmtree(folder / "run", ignore_errors=True)
    model = _fit(request, data=request["data"], **request["settings"])
    return _result(model, versions())


def _fit(request: dict[str, Any], **settings: Any) -> Any:
    from driftline.holdout._child import limit_threads, load_model  # noqa: PLC0415 - as above

    model = load_model(request)
    limit_threads(model, request["threads"])
    model.train(**settings)
    return model


def _result(model: Any, versions: dict[str, str]) -> dict[str, Any]:
    return {
        "model": str(Path(model.trainer.best).relative_to(Path(model.trainer.save_dir).parent)),
        "names": {str(index): name for index, name in model.names.items()},
        "versions": versions,
    }


def main(folder: Path, paths: list[str]) -> int:
    """Do what ``request.json`` asks, unless another process does; tell in ``result.json``."""
    _leave_parent()
    if _hold_soon(folder / "lock") is None or (folder / "cancelled").exists():
        return 0
    if (folder / "result.json").exists():
        return 0
    with (folder / "attempts").open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    _end_when_cancelled(folder)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    sys.path += [path for path in paths if path not in sys.path]
    from driftline._files import write_whole  # noqa: PLC0415 - only now it is found
    from driftline.holdout._child import (  # noqa: PLC0415 - as above
        RefusedError,
        close_network,
        give_font,
    )

    close_network()
    give_font(Path(os.environ["YOLO_CONFIG_DIR"]))
    try:
        answer = _train(request, folder)
    except RefusedError as exc:
        answer = {"failed": exc.kind, **exc.facts}
    except Exception as exc:  # noqa: BLE001 - the border of the process: told to the parent, whatever it is
        traceback.print_exc()
        answer = {"failed": type(exc).__name__, "said": str(exc)}
    write_whole(folder / "result.json", json.dumps(answer).encode(), what="the result")
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # exit handlers of a dozen libraries have nothing to say here
