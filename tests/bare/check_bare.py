"""Run with no extra installed: the core imports light and works alone. Exits non-zero otherwise."""

import importlib
import importlib.util
import sys

HEAVY = {
    "PIL",
    "apprise",
    "datadog_api_client",
    "duckdb",
    "httpx2",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pagerduty",
    "psycopg",
    "pyarrow",
    "scipy",
    "torch",
    "ultralytics",
}
STILL_HEAVY_AFTER_USE = HEAVY - {"numpy"}
EXTRAS = ("apprise", "datadog", "pagerduty")


def loaded(names: set[str]) -> list[str]:
    return sorted(names & {module.split(".")[0] for module in sys.modules})


def main() -> int:
    faults = []
    driftline = importlib.import_module("driftline")
    if found := loaded(HEAVY | {"httpx", "asyncio"}):
        faults.append(f"import driftline loads {found}")
    for name in driftline.__all__:
        getattr(driftline, name)
    if found := loaded(STILL_HEAVY_AFTER_USE):
        faults.append(f"touching every public name loads {found}")
    for extra in EXTRAS:
        if importlib.util.find_spec({"datadog": "datadog_api_client"}.get(extra, extra)):
            faults.append(f"{extra} is installed here: this check proves nothing")
            continue
        try:
            importlib.import_module(f"driftline.sinks.{extra}")
        except driftline.errors.MissingExtra as exc:
            if f"driftline[{extra}]" not in str(exc):
                faults.append(f"the error for {extra} does not name it: {exc}")
        else:
            faults.append(f"driftline.sinks.{extra} imported without its extra")
    for fault in faults:
        print("FAULT:", fault)
    print(f"bare: {len(faults)} faults; python {sys.version.split()[0]}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
