"""The weekly report: what it says, what it leaves out, and that a browser agrees."""

import html
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib.resources import files

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline import Decision, Detections
from driftline.errors import InputError
from driftline.reports import weekly
from driftline.retrain import Action
from driftline.rules import Change


@pytest.fixture(scope="module")
def report(week):
    """A report with every part that there is, names in it that attack."""
    return weekly(
        decision=week.decision,
        drift=week.drift,
        accuracy=week.accuracy,
        evaluation=week.evaluation,
        alerts=week.alerts,
        frames=week.frames,
        deployment="acme/line-3",
        at=week.at,
    )


class Read(HTMLParser):
    """Tags with their attributes, in order, and the text of headings."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.headings = [], []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if re.fullmatch(r"h\d", tag):
            self._inside = tag
            self.headings.append([tag, ""])

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data):
        if self._inside:
            self.headings[-1][1] += data


SECTIONS = [
    "Decision",
    "What changed",
    "Accuracy",
    "Alerts of the week",
    "Rollout and retraining",
    "What to label next",
]


def test_order(report):
    """The decision stands on top; the headings are in order, none is left out."""
    read = Read(report.html)

    assert [["h1", "Weekly report"], *(["h2", title] for title in SECTIONS)] == read.headings
    assert report.html.index("retrain</span>") < report.html.index("drift report")


def test_says_it(report):
    """Verdicts and their numbers are there: decision, drift, accuracy, alerts."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", report.html))

    assert "mAP@0.5:0.95 is falling" in text
    assert "A shift this week, not confirmed yet" in text
    assert "2 fired" in text
    assert "resolved" in text
    assert "acme/line-3, 2026-11-23 06:00 UTC" in text


def test_missing(week):
    """A part that was not handed in is said to be missing, and is no good news."""
    empty = weekly(at=week.at)

    assert 3 == empty.html.count("That is no sign that all is well")
    assert "No decision was made" in empty.html
    assert "all deployments" in repr(empty)
    assert [title for title in SECTIONS if f"## {title}" not in empty.markdown] == []


def test_calm(week):
    """A week in which nothing happened says so, in words that differ from not knowing."""
    calm = weekly(
        decision=Decision(
            action=Action.NONE, reasons=("all is calm",), runbook="Nothing", confidence="strong"
        ),
        alerts=(),
        at=week.at,
    )

    assert "No alert has fired" in calm.html
    assert "all is calm" in calm.html
    assert "no history of alerts was handed in" not in calm.html


def test_still_firing(week):
    """An alert that began before the week and is not over is not forgotten."""
    (began,) = [step for step in week.alerts if step.change is Change.FIRING][:1]
    page = weekly(alerts=[began], at=week.at + timedelta(days=30))

    assert "1 firing</span>" in page.html
    assert "is firing since 2026-11-20" in page.html


def test_progress(week):
    """Where a retraining stands is shown: its steps, and what it waits for."""
    from driftline.retrain._loop_state import begin
    from driftline.retrain._loop_status import status_of

    state = begin(week.decision, name="line-3", incumbent="vision/v1", now=week.at)
    status = status_of(state, now=week.at, waits_for="forty labels <b>")
    page = weekly(progress=status, at=week.at)

    assert "forty labels &lt;b&gt;" in page.html
    assert "No rollout or retraining was handed in" not in page.html


def test_self_contained(report):
    """No script, no link, no request: the page forbids them, and asks for none."""
    read = Read(report.html)
    names = {tag for tag, _ in read.tags}
    targets = [
        value
        for _, attributes in read.tags
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "action", "srcset"}
    ]

    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "a"}
    assert 4 == len(targets)
    assert all(target.startswith("data:image/jpeg;base64,") for target in targets)
    assert not [name for _, a in read.tags for name in a if name.startswith("on")]
    assert "default-src 'none'" in report.html
    assert "url(" not in report.html


def test_escaped(report):
    """Names of cameras, classes, rules and lines cannot write HTML or Markdown."""
    assert "<script" not in report.html
    assert "&lt;script&gt;" in report.html
    assert "<script" not in report.markdown
    assert "<img" not in report.markdown
    nasty = weekly(deployment="*a*_b_ [x](y) | @team #12 `c`\n# head", title="<b>week</b>")
    assert "\n# head" not in nasty.markdown
    assert r"\*a\*\_b\_ \[x\](y) \| @" in nasty.markdown
    assert "@team" not in nasty.markdown
    assert "<b>week" not in nasty.html + nasty.markdown


def test_accessible_by_itself(report):
    """Language, alternative texts and scopes are there without a browser to look."""
    read = Read(report.html)
    attributes = [found for tag, found in read.tags if tag == "svg"]

    assert ("html", {"lang": "en"}) == read.tags[0]
    assert attributes
    assert all(found["role"] == "img" and found["aria-label"] for found in attributes)
    assert all(found.get("scope") == "col" for tag, found in read.tags if tag == "th")


def test_frames(report, week):
    """Each frame shows its boxes, where and when it was taken, and why it is there."""
    text = html.unescape(report.html)

    assert sum(len(frame.detections) for frame in week.frames) == text.count('stroke="#000"')
    assert "(random)" in text
    assert "(unsure)" in text


@pytest.mark.parametrize("kept", [True, False])
def test_frames_alike(week, kept):
    """Frames a camera took within a minute are told apart, and those taken at once are all there."""
    one = week.frames[1]
    picture = one.frame if kept else "id-4711"
    times = [timedelta(0), timedelta(0), timedelta(seconds=10)]
    made = weekly(frames=[attrs.evolve(one, frame=picture, at=one.at + after) for after in times])

    assert (3 if kept else 0) == made.html.count("<figure>")
    assert 2 == made.markdown.count("04:00:00 UTC")
    assert 1 == made.markdown.count("04:00:10 UTC")
    assert "04:00:10 UTC" in made.html


def test_broken_frames(week):
    """A frame whose picture is damaged, wherever, leaves a page all the same."""
    whole = bytes(week.frames[1].frame)
    rng = np.random.default_rng(0)
    for _ in range(60):
        torn = bytearray(whole[: rng.integers(8, len(whole))])
        for place in rng.integers(8, len(torn), 6):
            torn[place] = rng.integers(0, 256)
        assert weekly(frames=[attrs.evolve(week.frames[1], frame=bytes(torn))]).html

    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", b"\x89PNG\r\n\x1a\n"):
        page = weekly(frames=[attrs.evolve(week.frames[1], frame=content)]).html
        assert "<image" not in page


def test_frame_upright(week):
    """A camera that was held sideways says so in its file; boxes are of the upright picture."""
    import base64
    import io

    from PIL import Image

    lying = Image.new("RGB", (200, 100), "white")
    lying.paste("red", (0, 0, 20, 100))  # its left edge, which is above when it stands
    told = Image.Exif()
    told[0x0112] = 6  # orientation: turn it by 90 degrees clockwise
    written = io.BytesIO()
    lying.save(written, "JPEG", exif=told)
    page = weekly(frames=[attrs.evolve(week.frames[1], frame=written.getvalue())]).html
    (shown,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)

    with Image.open(io.BytesIO(base64.b64decode(shown))) as upright:
        assert (100, 200) == upright.size
        red, green, _ = upright.getpixel((50, 5))
    assert red > 2 * green


def test_frames_bounded(week):
    """Eight frames at most; a large one is made small, so that a page can be sent around."""
    rng = np.random.default_rng(0)
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (1000, 1500, 3), dtype=np.uint8)).save(written, "PNG")
    many = Detections(
        xyxy=np.tile([10.0, 10.0, 500.0, 500.0], (200, 1)),
        confidence=np.ones(200),
        class_id=np.zeros(200, dtype=int),
        image_size=(1000, 1500),
    )
    large = attrs.evolve(week.frames[0], frame=written.getvalue(), detections=many)
    page = weekly(frames=[large] * 30).html

    assert len(page) < 2_000_000
    assert "140 boxes not drawn" in page


@pytest.mark.parametrize(
    "frame", ["id-4711", "/no/such/file.png", "/dev/zero", ".", "a\0b", b"no image", b""]
)
def test_frames_not_at_hand(week, frame):
    """A frame whose picture is not at hand is named, and none is made up."""
    page = weekly(frames=[attrs.evolve(week.frames[1], frame=frame)])

    assert "frames, not at hand here" in page.html
    assert "cam-1, 2026-11-23 04:00:00 UTC" in page.html
    assert "<image" not in page.html
    assert "cam-1, 2026-11-23 04:00:00 UTC" in page.markdown


def test_frame_from_file(week, tmp_path):
    """A frame may be the path of its file."""
    path = tmp_path / "frame.png"
    path.write_bytes(week.frames[1].frame)

    assert "data:image/jpeg" in weekly(frames=[attrs.evolve(week.frames[1], frame=str(path))]).html


def test_frames_without_pillow(week, monkeypatch):
    """Without Pillow a small picture goes in as it is, a large one is only named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    small = week.frames[1]
    large = attrs.evolve(small, frame=small.frame + bytes(150_000))
    disguised = attrs.evolve(small, frame=b"<svg onload='alert(1)'/>")

    assert "data:image/png" in weekly(frames=[small]).html
    assert "not at hand" in weekly(frames=[large]).html
    assert "not at hand" in weekly(frames=[disguised]).html


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1))
def test_any_text(text):
    """No text adds a tag to the page, or a line to the Markdown."""
    plain = weekly(title="a", deployment="a", at=datetime(2026, 11, 23, tzinfo=UTC))
    other = weekly(title=text, deployment=text, at=datetime(2026, 11, 23, tzinfo=UTC))

    assert Read(plain.html).tags == Read(other.html).tags
    assert len(plain.markdown.splitlines()) == len(other.markdown.splitlines())


def test_written(report, tmp_path):
    """A name that ends in .md gets Markdown, any other the page."""
    assert report.html == report.write(tmp_path / "week.html").read_text(encoding="utf-8")
    assert report.markdown == report.write(tmp_path / "week.md").read_text(encoding="utf-8")
    assert report._repr_html_().count("<h2>") == len(SECTIONS)


def test_time():
    """A time without a zone could be any."""
    with pytest.raises(InputError, match="at="):
        weekly(at=datetime(2026, 11, 23))


# -- in a real browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """``chromium(*options)``: run it headless; its standard output."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed (apt-get install chromium)")
        pytest.skip("chromium is not installed (apt-get install chromium)")
    profile = tmp_path_factory.mktemp("chromium")

    def run(*options):
        base = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        done = subprocess.run(
            [path, *base, *options], capture_output=True, text=True, timeout=1200, check=False
        )
        assert 0 == done.returncode, done.stderr[-2000:]
        return done.stdout

    return run


LOOK = """<script>axe.run().then(found => {
  parent.document.documentElement.setAttribute("data-found", JSON.stringify({
    violations: found.violations.map(v => v.id + ": " + v.nodes.map(n => n.html.slice(0, 200))),
    passes: found.passes.map(p => p.id),
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    ground: getComputedStyle(document.body).backgroundColor,
  }))})</script>"""


def looked_at(chromium, page, folder, *, width, dark=False):
    """What axe-core and the layout say of a page, in a frame of some width."""
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    inner = open_page.replace("</body>", f"<script>{axe}</script>{LOOK}</body>")
    outer = folder / "outer.html"
    outer.write_text(
        f'<iframe width="{width}" height="2000" srcdoc="{html.escape(inner)}"></iframe>',
        encoding="utf-8",
    )
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    said = chromium(
        *scheme, "--window-size=1500,2200", "--virtual-time-budget=20000", "--dump-dom",
        f"file://{outer}",
    )  # fmt: skip
    found = re.search(r'data-found="([^"]*)"', said)
    assert found, said[:500]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (390, False)], ids=["desk", "dark", "phone"]
)
def test_accessible(chromium, report, tmp_path, width, dark):
    """axe-core finds nothing, contrast included, and nothing is wider than the page."""
    found = looked_at(chromium, report.html, tmp_path, width=width, dark=dark)

    assert [] == found["violations"]
    assert {"color-contrast", "html-has-lang", "heading-order", "svg-img-alt"} <= set(
        found["passes"]
    )
    assert 0 == found["over"]
    assert dark is found["dark"]
    assert ("rgb(22, 24, 29)" if dark else "rgb(255, 255, 255)") == found["ground"]


def test_browser_sees_faults(chromium, report, tmp_path):
    """The browser's check can fail: without language and alternative texts it complains."""
    broken = report.html.replace('<html lang="en">', "<html>").replace('role="img"', "")
    broken = broken.replace("<h2>", "<h4>").replace("</h2>", "</h4>")
    found = looked_at(chromium, broken, tmp_path, width=1280)

    assert {"html-has-lang", "heading-order"} <= {v.split(":")[0] for v in found["violations"]}


def test_prints(chromium, report, tmp_path):
    """It prints on some pages, without a script and under its own ban of every request."""
    source, target = report.write(tmp_path / "week.html"), tmp_path / "week.pdf"
    chromium("--no-pdf-header-footer", f"--print-to-pdf={target}", f"file://{source}")
    pages = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))

    assert 3 <= pages <= 12
