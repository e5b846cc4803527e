"""``python -m driftline doctor``: what is installed and configured, and what is wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from driftline.errors import InputError
from driftline.monitor import Monitor
from driftline.reports import check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answer 0 where all is well, 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m driftline")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="look at what is installed and configured")
    doctor.add_argument(
        "monitor", nargs="?", help="where your monitor is, such as 'service.monitoring:monitor'"
    )
    asked = parser.parse_args(arguments)
    try:
        monitor = _monitor(asked.monitor) if asked.monitor else None
    except InputError as exc:
        parser.error(str(exc))
    found = check(monitor)
    print(found)  # noqa: T201 - a command speaks through standard output
    return 0 if found.ok else 1


def _monitor(where: str) -> Monitor:
    """The monitor at ``module:name``; ``python -m`` finds modules of the working directory."""
    module, _, name = where.partition(":")
    try:
        monitor = getattr(import_module(module), name, None)
    except ModuleNotFoundError as exc:
        msg = f"{where!r} cannot be imported: {exc}"
        raise InputError(msg) from exc
    if not isinstance(monitor, Monitor):
        msg = f"{where!r} is {monitor!r} and no driftline.Monitor; say module:name"
        raise InputError(msg)
    return monitor


if __name__ == "__main__":
    sys.exit(main())
