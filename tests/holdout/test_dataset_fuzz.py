"""Whatever a file holds, it is read or refused by an error of ours; nothing outside is touched."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from driftline.errors import DriftlineError
from driftline.holdout import Holdout, Manifest, Provenance

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 300)
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["../x", "/x", "0", "a.png", "images", "test", "detect"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 16}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12}
    ],
    "categories": [{"id": 3, "name": "cup"}, {"id": 7, "name": "plate"}],
}
NDJSON = [
    {"type": "dataset", "task": "detect", "class_names": {"0": "cup", "1": "plate"}},
    {
        "type": "image",
        "file": "a.png",
        "url": "https://x/a.png",
        "width": 16,
        "height": 16,
        "split": "test",
        "annotations": {
            "boxes": [[0, 0.5, 0.5, 0.1, 0.1]],
            "segments": [[1, 0.1, 0.1, 0.5, 0.5, 0.1, 0.5]],
        },
    },
]
YAML = {"path": ".", "test": "images", "names": {"0": "cup", "1": "plate"}, "nc": 2}
MANIFEST = json.loads(
    json.dumps(
        {
            "schema": "driftline.holdout/1",
            "digest": "x",
            "drawn": False,
            "class_names": {"0": "cup", "1": "plate"},
            "frames": {"images/a.png": Provenance(probability=0.5).to_dict()},
            "tags": {"images/a.png": {"camera": "a"}},
        }
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    Image.new("RGB", (16, 16)).save(root / "images" / "a.png")
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    return root


@st.composite
def changed(draw, content):
    """The content with one or two of its parts replaced by anything."""
    whole = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        place = whole
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
                place = inner
                continue
            place[key] = draw(VALUES)
            break
    return whole


def opens_or_is_refused(path, **options):
    try:
        holdout = Holdout.open(path, **options)
    except DriftlineError:
        return
    assert len(holdout) >= 1
    assert all(frame.image is None or path.parent in frame.image.parents for frame in holdout)


fuzz = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(content=changed(COCO))
@fuzz
def test_coco(folder, content):
    """A COCO file of any content."""
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    opens_or_is_refused(path)


@given(content=changed(NDJSON))
@fuzz
def test_ndjson(folder, content):
    """An export of any content, which also says what is fetched."""
    path = folder / "export.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in content))
    opens_or_is_refused(path, images=folder / "fetched", fetch=lambda _: b"not a picture")


@given(content=changed(YAML))
@fuzz
def test_yaml(folder, content):
    """A data YAML of any content; JSON is YAML."""
    path = folder / "data.yaml"
    path.write_text(json.dumps(content))
    try:
        Holdout.open(path)
    except DriftlineError:
        pass


@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
@fuzz
def test_label_files(folder, text):
    """A label file of any content."""
    (folder / "data.yaml").write_text("test: images\nnames: [cup, plate]\n")
    label = folder / "labels" / "a.txt"
    label.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        opens_or_is_refused(folder / "data.yaml")
    finally:
        label.write_text("0 0.5 0.5 0.1 0.1\n")


@given(content=changed(MANIFEST))
@fuzz
def test_manifests(folder, content):
    """A manifest of any content."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(content))
    try:
        Manifest.load(path)
    except DriftlineError:
        pass


@given(
    raw=st.binary(max_size=200),
    header=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\x00", b"RIFF"]
    ),
)
@fuzz
def test_pictures(tmp_path, raw, header):
    """A picture of any content."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "images" / "a.png").write_bytes(header + raw)
    (tmp_path / "labels" / "a.txt").write_text("")
    (tmp_path / "data.yaml").write_text("test: images\nnames: [cup]\n")
    try:
        Holdout.open(tmp_path / "data.yaml").check()
    except DriftlineError:
        pass
