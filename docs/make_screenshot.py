"""Make the pictures of the README and the docs, from real detections: ``python docs/make_screenshot.py``.

The demo's small detector looks at the demo's scenes. After the first month half of the objects
before camera 2 come as outlines, a variant it has never seen. What Driftline makes of that is drawn:
``_static/drift-report.png`` is the report's view as a notebook shows it, in headless Chromium; the
others are drawn for the light and for the dark theme of the site, which shows one of each pair.
Needs the extras ``plots`` and ``testing``, onnxruntime, and Chromium on the path.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image, ImageChops

from driftline import DriftDetector, DriftReport, Evaluation, HoldoutValidator, Profile, Trend
from driftline.profiles import ProfileBuilder
from driftline.testing import Frame, OnnxDetector, Scenes, hollow

HERE = Path(__file__).parent
OUT = HERE / "_static"
CAMERAS = ("cam-1", "cam-2", "cam-3")
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)
FRAMES_A_WEEK = 420
LABELLED_A_WEEK = 120
REFERENCE_WEEKS = 4
GROUNDS = {"": "#ffffff", "-dark": "#131416"}
"""What is appended to the name of a picture, and what it stands on: the grounds of the site."""
SCALE = 2
WIDTH, HEIGHT = 960, 1200


def main() -> None:
    """Draw everything anew."""
    mpl.use("agg")
    detector = OnnxDetector(HERE.parent / "detector" / "shapes.onnx")
    weeks = [profile(detector, number) for number in range(REFERENCE_WEEKS + 2)]
    drift = DriftDetector(reference=weeks[:REFERENCE_WEEKS])
    reports: list[DriftReport] = []
    for week in weeks[REFERENCE_WEEKS:]:
        reports.append(drift.compare(week, previous=reports))
    evaluations = [evaluation(detector, number) for number in range(2 * REFERENCE_WEEKS)]
    OUT.mkdir(exist_ok=True)
    screenshot(reports[-1]._repr_html_(), OUT / "drift-report.png")
    pictures = {
        "shift": reports[-1].plot,
        "effects": reports[-1].plot_effects,
        "trend": Trend.of(evaluations).plot,
        "precision-recall": evaluations[-1].plot,
    }
    for name, plot in pictures.items():
        draw_pair(lambda plot=plot: plot().figure, f"plot-{name}", colours=32)


def frames(number: int, *, labelled: bool) -> Iterator[Frame]:
    """Frames of one week; camera 2 sees the new variant after the first month."""
    outlines = hollow(0.5)
    for frame in Scenes(seed=2 * number + labelled, cameras=CAMERAS).stream():
        changed = number >= REFERENCE_WEEKS and frame.camera == "cam-2"
        yield outlines(frame) if changed else frame


def profile(detector: OnnxDetector, number: int) -> Profile:
    """What the detector finds in one week."""
    builder = ProfileBuilder()
    start = FIRST_DAY + number * WEEK
    for k, frame in enumerate(islice(frames(number, labelled=False), FRAMES_A_WEEK)):
        at = start + (k + 0.5) * WEEK / FRAMES_A_WEEK
        builder.observe(detector.predict(frame.image), camera=frame.camera, at=at)
    return builder.profile()


def evaluation(detector: OnnxDetector, number: int) -> Evaluation:
    """How the detector scores on labelled frames of one week."""
    labelled = list(islice(frames(number, labelled=True), LABELLED_A_WEEK))
    return HoldoutValidator(
        data=labelled, model=detector, at=FIRST_DAY + number * WEEK, replicates=300
    ).validate()


def screenshot(html: str, path: Path) -> None:
    """A page as headless Chromium draws it, cut to what is on it."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on the path")
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder, "page.html"), Path(folder, "shot.png")
        page.write_text(f"<!doctype html><meta charset=utf-8><body style='margin:0'>{html}")
        subprocess.run(  # noqa: S603  our own page
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--force-device-scale-factor={SCALE}",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={shot}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        image = Image.open(shot).convert("RGB")
        white = Image.new("RGB", image.size, "white")
        box = ImageChops.difference(image, white).getbbox()
        assert box is not None
        shrink(image.crop((0, 0, image.width, min(image.height, box[3] + 30))), path, colours=64)


def draw_pair(draw: Callable[[], Figure], name: str, *, colours: int) -> None:
    """A picture for each theme of the site; `draw` is called for each, and follows its ground."""
    for more, ground in GROUNDS.items():
        style = {"figure.facecolor": ground, "axes.facecolor": ground, "savefig.facecolor": ground}
        with mpl.rc_context(style):
            drawn = io.BytesIO()
            figure = draw()
            figure.savefig(drawn, dpi=110)
            plt.close(figure)
        shrink(Image.open(drawn), OUT / f"{name}{more}.png", colours=colours)


def shrink(image: Image.Image, path: Path, *, colours: int) -> None:
    """A picture of few colours is small."""
    image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path.name, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
