"""A drift report of your own detections in COCO-style JSON: the last week against the four before.

    python examples/coco_drift.py images.json results.json

`images.json` lists the images (id, width, height, file_name, date_captured) and the categories;
`results.json` is the list of detections (image_id, category_id, bbox, score). The camera is the
folder of the file name; change `camera=` and `at=` below where yours are kept elsewhere.
Without arguments it makes up five weeks of three cameras, one of which turns doubtful.
"""

import json
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from driftline import DriftDetector, DriftReport, Profile
from driftline.profiles import from_coco

DAY, WEEK = timedelta(days=1), timedelta(weeks=1)


def last_week(profile: Profile) -> DriftReport:
    """Compare the last seven days with the 28 days before them."""
    start, end = profile.start, profile.end
    if start is None or end is None:
        sys.exit('no image is listed: the first file needs them under "images", with their dates')
    if end - start < 2 * WEEK:
        sys.exit(
            f"the images are of {(end - start).days} days, {start:%Y-%m-%d} to {end - DAY:%Y-%m-%d}: "
            "the last 7 days are compared with those before, and that takes 14; list more images"
        )
    reference = profile.slice(start=end - 5 * WEEK, end=end - WEEK)
    return DriftDetector(reference=reference).compare(profile.slice(start=end - WEEK, end=end))


def made_up(folder: Path, seed: int = 4) -> tuple[Path, Path]:
    """Five weeks of three cameras, 40 frames a day; in the last, gate-2's confidences fall."""
    rng = np.random.default_rng(seed)
    images, results = [], []
    for day in range(35):
        for camera in ("gate-1", "gate-2", "gate-3"):
            mood = rng.normal(0, 0.02) - 0.12 * (camera == "gate-2" and day >= 28)
            for shot in range(40):
                when = datetime(2026, 1, 5, 8) + timedelta(days=day, minutes=15 * shot)  # noqa: DTZ001
                name = f"{camera}/{when:%Y%m%d-%H%M}.jpg"
                images.append({"id": name, "file_name": name, "width": 1280, "height": 720})
                images[-1]["date_captured"] = when.isoformat()
                for _ in range(rng.poisson(4)):
                    width, height = rng.lognormal(4, 0.4, size=2)
                    results.append(
                        {
                            "image_id": name,
                            "category_id": int(rng.integers(2)),
                            "bbox": [rng.uniform(0, 900), rng.uniform(0, 500), width, height],
                            "score": float(np.clip(rng.beta(6, 2) + mood, 0.25, 1.0)),
                        }
                    )
    categories = [{"id": 0, "name": "pallet"}, {"id": 1, "name": "forklift"}]
    paths = folder / "images.json", folder / "results.json"
    paths[0].write_text(json.dumps({"images": images, "categories": categories}))
    paths[1].write_text(json.dumps(results))
    return paths


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(given) for given in sys.argv[1:3]] or list(made_up(Path(folder)))
        profile = from_coco(*files)
    print(profile, end="\n\n")
    print(last_week(profile))


if __name__ == "__main__":
    main()
