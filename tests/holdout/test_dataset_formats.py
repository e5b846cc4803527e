"""A holdout is read from what users have, and refused with reasons where it does not parse."""

import asyncio
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from driftline.errors import InputError, UnreadableData
from driftline.holdout import Holdout, HoldoutValidator
from driftline.holdout._images import image_size, pixels
from driftline.holdout._yolo_format import label_line
from driftline.testing import CLASS_NAMES, Scenes, write_yolo


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    return write_yolo(root, Scenes(seed=5).frames(6), "test")


@pytest.fixture
def data(written, tmp_path):
    shutil.copytree(written.parent, tmp_path / "set")
    return tmp_path / "set" / "data.yaml"


def one_label(data, text):
    """The first label file, with another content."""
    file = min((data.parent / "labels" / "test").glob("*.txt"))
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def truths(holdout):
    return [frame.truth for frame in holdout]


# --- YOLO ---------------------------------------------------------------------------------------


def test_reads_a_data_yaml(data):
    """The frames of the split with their labels in pixels, named by their path in the dataset."""
    holdout = Holdout.open(data)

    frames = list(Scenes(seed=5).frames(6))
    assert {0: "circle", 1: "square", 2: "triangle"} == holdout.class_names
    assert "images/test/cam-1-000000.png" == holdout[0].id
    by_name = {frame.id: frame for frame in holdout}
    for frame in frames:
        ours = by_name[f"images/test/{frame.camera}-{frame.number:06d}.png"]
        # label files have six digits: half of 1e-6 of 128 px at each edge of centre and extent
        np.testing.assert_allclose(ours.truth.xyxy, frame.truth.xyxy, atol=2e-4)
        assert ours.truth.class_id.tolist() == frame.truth.class_id.tolist()
    assert "Holdout(6 frames (6 recent), 3 classes)" == repr(holdout)


def test_train_is_not_needed(data):
    """A test-only YAML is enough (the stock validator needs train: and val: as well)."""
    assert "train" not in data.read_text()
    assert 6 == len(Holdout.open(data, split="test"))
    with pytest.raises(InputError, match=r"no split 'val'; it has \['test'\]"):
        Holdout.open(data, split="val")


def test_never_falls_back_to_train(data):
    """Scoring on what the model was trained on has to be asked for."""
    data.write_text(data.read_text().replace("test:", "train:"))

    with pytest.raises(InputError, match=r"no split test: or val:; it has \['train'\]"):
        Holdout.open(data)
    assert 6 == len(Holdout.open(data, split="train"))


def test_a_folder(data):
    """With one data YAML in it, or with images and the names of the classes."""
    assert 6 == len(Holdout.open(data.parent))
    data.unlink()
    assert 6 == len(Holdout.open(data.parent, class_names=list(CLASS_NAMES.values())))
    with pytest.raises(InputError, match="0 data YAMLs; pass the path of one, or class_names="):
        Holdout.open(data.parent)


def test_paths_are_relative_to_the_yaml(data, monkeypatch, tmp_path):
    """Not to the working directory, nor to a folder of the user's settings."""
    content = data.read_text()
    monkeypatch.chdir(tmp_path)
    for line in ("", "path: .\n", f"path: {data.parent}\n"):
        data.write_text(line + content)
        assert 6 == len(Holdout.open(data))
    listing = data.parent / "frames.txt"
    names = sorted((data.parent / "images" / "test").iterdir())[:2]
    listing.write_text("".join(f"./images/test/{one.name}\n" for one in names))
    data.write_text(content.replace("images/test", "frames.txt"))
    assert 2 == len(Holdout.open(data))


def test_equal_names_in_two_folders_are_two_frames(data):
    """The stock tables go by basename and mix them up."""
    for kind in ("images", "labels"):
        shutil.copytree(data.parent / kind / "test", data.parent / kind / "test" / "other")

    holdout = Holdout.open(data)

    assert 12 == len({frame.id for frame in holdout})


def test_download_key_is_refused(data):
    """The stock validator runs it with exec() or a shell."""
    data.write_text(data.read_text() + "download: |\n  import os\n")

    with pytest.raises(InputError, match="download: key, which the stock validator would execute"):
        Holdout.open(data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- a\n- b\n", "no mapping"),
        ("a: [1, 2", "is no YAML"),
        ("!!python/object/apply:os.system ['true']\n", "is no YAML"),
        ("test: images/test\n", "no names:"),
        ("test: images/test\nnames: [a, a]\n", "two classes have one name"),
        ("test: images/test\nnames: {0: a, 2: b}\n", "count from 0 without a gap"),
        ("test: images/test\nnames: [a, b]\nnc: 3\n", "count from 0 without a gap"),
        ("test: images/test\nnames: {x: a}\n", "index that is no whole number"),
        ("test: 7\nnames: [a, b, c]\n", "a split that is no path"),
        (b"\xff\xfe\x00garbage", "cannot be read as text"),
    ],
)
def test_a_yaml_that_does_not_parse(data, content, said):
    """Says what is wrong; nothing in it is executed."""
    data.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(UnreadableData, match=said):
        Holdout.open(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0.5 0.5 0.1\n", "has 4 values"),
        ("cat 0.5 0.5 0.1 0.1\n", "no row of numbers"),
        ("0.5 0.5 0.5 0.1 0.1\n", "class '0.5'"),
        ("-1 0.5 0.5 0.1 0.1\n", "class '-1'"),
        ("7 0.5 0.5 0.1 0.1\n", "class 7 is none of the 3 classes"),
        ("0 64 64 10 10\n", "are they pixels"),
        ("0 nan 0.5 0.1 0.1\n", "not finite"),
        ("0 0.5 0.5 -0.1 0.1\n", "negative extent"),
        (b"\x00\xff\xfe\x93", "cannot be read as text"),
    ],
)
def test_corrupt_labels_are_refused(data, text, said):
    """The stock validator drops such a picture with a warning, and scores the others."""
    file = one_label(data, text)

    with pytest.raises(UnreadableData, match=said) as caught:
        Holdout.open(data)
    assert file.stem in str(caught.value)


def test_all_faults_are_told_at_once(data):
    """One reading of a broken dataset is enough to mend it."""
    for file in (data.parent / "labels" / "test").glob("*.txt"):
        file.write_text("9 0.5 0.5 0.1 0.1\n")

    with pytest.raises(UnreadableData, match=r"6 faults in .*and 1 more") as caught:
        Holdout.open(data)
    assert 6 == len(caught.value.__notes__)


def test_repeated_labels_are_one_object(data):
    """As for ultralytics; a score on doubled labels would count every one missed once."""
    one_label(data, "0 0.5 0.5 0.25 0.25\n" * 3)

    assert 1 == len(Holdout.open(data)[0].truth)


def test_outlines_become_boxes(data):
    """A segment or an oriented box counts with the upright box around it."""
    one_label(data, "1 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.5\n")

    np.testing.assert_allclose(Holdout.open(data)[0].truth.xyxy, [[32, 32, 64, 96]])


def test_missing_images_are_refused(data):
    """Labels without a picture, a list that names none, and a picture that does not open."""
    image = min((data.parent / "images" / "test").glob("*.png"))
    content = image.read_bytes()
    image.unlink()
    with pytest.raises(UnreadableData, match="labels without an image"):
        Holdout.open(data)
    image.write_bytes(b"not a picture")
    with pytest.raises(UnreadableData, match="does not open"):
        Holdout.open(data)
    image.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableData, match="does not open"):
        Holdout.open(data).check()
    image.write_bytes(content)
    (data.parent / "list.txt").write_text("images/test/none.png\n")
    data.write_text(data.read_text().replace("images/test", "list.txt"))
    with pytest.raises(UnreadableData, match="no image at"):
        Holdout.open(data)


def test_no_label_file_at_all_is_refused(data):
    """A wrong folder of labels gives mAP 0 with a warning in the stock validator."""
    shutil.move(data.parent / "labels", data.parent / "annotations")

    with pytest.raises(UnreadableData, match="no label file for any of the images"):
        Holdout.open(data)


def test_an_image_without_labels_is_background_or_not_done(data):
    """Ultralytics takes it for background; who labels can have it refused."""
    min((data.parent / "labels" / "test").glob("*.txt")).unlink()

    assert 0 == len(Holdout.open(data)[0].truth)
    with pytest.raises(UnreadableData, match=r"1 of 6 frames of .* have no label file"):
        Holdout.open(data, missing_labels="refuse")


@pytest.mark.parametrize(
    ("side", "says"),
    [(12_500, "claims 12500 x 12500 px; at most 150000000"), (40_000, "does not open")],
    ids=["our limit", "Pillow's"],
)
def test_huge_pictures_are_refused_unread(data, side, says):
    """A small file may unfold to gigabytes."""
    bomb = min((data.parent / "images" / "test").glob("*.png"))
    size = b"IHDR" + struct.pack(">II", side, side) + bytes([8, 2, 0, 0, 0])
    plain = bomb.read_bytes()  # 8 bytes of signature, then the header with length and checksum
    bomb.write_bytes(plain[:12] + size + struct.pack(">I", zlib.crc32(size)) + plain[33:])

    with pytest.raises(UnreadableData, match=says):
        Holdout.open(data)


def test_turned_pictures(data):
    """Labels are shares of the picture as it is shown, and detectors see it so."""
    image = min((data.parent / "images" / "test").glob("*.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(image.with_suffix(".jpg"), exif=exif)
    image.unlink()
    one_label(data, "0 0.5 0.5 0.5 0.5\n")

    frame = Holdout.open(data)[0]

    assert (80, 40) == frame.truth.image_size
    np.testing.assert_allclose(frame.truth.xyxy, [[10, 20, 30, 60]])
    Holdout.open(data).check()


@given(
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_label_lines_give_the_box_back(edges, size):
    """To eight digits of the frame's side."""
    height, width = size
    left, right = sorted((edges[0] * width, edges[2] * width))
    top, bottom = sorted((edges[1] * height, edges[3] * height))

    _, x, y, w, h = (
        float(part) for part in label_line(0, [left, top, right, bottom], size).split()
    )

    back = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
    np.testing.assert_allclose(back, [left, top, right, bottom], atol=2e-8 * max(size))


# --- COCO ---------------------------------------------------------------------------------------


def coco(data, tmp_path, **changes):
    """The same dataset as COCO JSON, ids with gaps, categories out of order."""
    holdout = Holdout.open(data)
    ids = {0: 11, 1: 17, 2: 90}
    images = [
        {"id": 100 + place, "file_name": frame.id, "height": 128, "width": 128}
        for place, frame in enumerate(holdout)
    ]
    annotations = [
        {
            "id": 1000 * place + index,
            "image_id": 100 + place,
            "category_id": ids[int(kind)],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
        }
        for place, frame in enumerate(holdout)
        for index, (kind, (x0, y0, x1, y1)) in enumerate(
            zip(frame.truth.class_id, frame.truth.xyxy.tolist(), strict=True)
        )
    ]
    categories = [{"id": ids[index], "name": name} for index, name in CLASS_NAMES.items()][::-1]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for part, change in changes.items():
        change(content[part])
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(content))
    return file


def test_reads_coco(data, tmp_path):
    """The same labels as the YOLO dataset; classes in the order of their ids."""
    holdout = Holdout.open(coco(data, tmp_path), images=data.parent)

    assert dict(CLASS_NAMES) == holdout.class_names
    for ours, theirs in zip(truths(holdout), truths(Holdout.open(data)), strict=True):
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-9)
        assert ours.class_id.tolist() == theirs.class_id.tolist()


def test_coco_crowds_and_areas(data, tmp_path):
    """A crowd stays a crowd, and the area of the mask decides the size."""

    def change(annotations):
        annotations[0].update(iscrowd=1, area=5.0)

    holdout = Holdout.open(coco(data, tmp_path, annotations=change), images=data.parent)

    first = next(one for one in truths(holdout) if len(one))
    assert first.crowds[0]
    assert 5.0 == first.areas[0]
    assert not first.crowds[1:].any()


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "C:\\x.png", "..\\x.png", "", 7, "a" * 300, "\ud800"]
)
def test_coco_names_stay_in_the_folder(data, tmp_path, name):
    """A file from elsewhere must not choose which files are read."""

    def change(images):
        images[0]["file_name"] = name

    with pytest.raises(InputError, match=r"leads out of the folder|no name of a file"):
        Holdout.open(coco(data, tmp_path, images=change), images=data.parent)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": lambda some: some[0].update(image_id=5)}, "image 5, which is not listed"),
        ({"annotations": lambda some: some[0].update(category_id=5)}, "category 5 is not listed"),
        ({"annotations": lambda some: some[0].update(bbox=[1, 2, -3, 4])}, "negative width"),
        ({"annotations": lambda some: some[0].update(bbox=[1, 2, 300, 4])}, "does not lie in"),
        ({"annotations": lambda some: some[0].pop("bbox")}, "does not parse: KeyError"),
        ({"annotations": lambda some: some[0].update(bbox=["a", 2, 3, 4])}, "does not parse"),
        ({"images": lambda some: some[0].update(id=101)}, "two have one id"),
        ({"images": lambda some: some[0].update(id={})}, "that is a number or text"),
        ({"images": lambda some: some[0].pop("id")}, "that is a number or text"),
        ({"images": lambda some: some[0].update(width=64)}, "is listed as 64 x 128 px"),
        ({"images": lambda some: some[0].update(file_name="none.png")}, "no image at"),
        ({"categories": lambda some: some[0].update(name="circle")}, "two with one id or name"),
    ],
)
def test_coco_that_does_not_fit(data, tmp_path, changes, said):
    """Every fault with the id it is at."""
    with pytest.raises(UnreadableData, match=said):
        Holdout.open(coco(data, tmp_path, **changes), images=data.parent)


@pytest.mark.parametrize("content", ["[]", "{}", '{"images": 1}', "{", "[" * 100_000])
def test_json_that_is_no_coco(tmp_path, content):
    """Also where it is deep enough to exhaust a parser."""
    (tmp_path / "x.json").write_text(content)

    with pytest.raises(UnreadableData):
        Holdout.open(tmp_path / "x.json")


def test_a_category_numbered_infinity_is_unreadable(tmp_path):
    """JSON of Python's writing holds Infinity."""
    image = {"id": 1, "file_name": "a.png", "width": 8, "height": 8}
    content = {"images": [image], "annotations": [], "categories": [{"id": 1e999, "name": "a"}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(UnreadableData, match="a category"):
        Holdout.open(tmp_path / "x.json")


# --- NDJSON -------------------------------------------------------------------------------------


def ndjson(data, tmp_path, *, head=None, change=None):
    """The same dataset as the Platform exports it: a test split only."""
    holdout = Holdout.open(data)
    lines = [
        {
            "type": "dataset",
            "task": "detect",
            "name": "x",
            "class_names": dict(CLASS_NAMES),
            **(head or {}),
        }
    ]
    for frame in holdout:
        boxes = [
            [int(part) if place == 0 else round(float(part), 9) for place, part in enumerate(row)]
            for row in (
                label_line(int(kind), box, (128, 128)).split()
                for kind, box in zip(frame.truth.class_id, frame.truth.xyxy, strict=True)
            )
        ]
        record = {
            "type": "image",
            "file": frame.id.rpartition("/")[2],
            "url": f"https://storage.example/{frame.id}?signed",
            "width": 128,
            "height": 128,
            "split": "test",
            "annotations": {"boxes": boxes},
        }
        lines.append(record)
    if change is not None:
        change(lines)
    file = tmp_path / "export.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize(
    "change",
    [{"width": 10**400}, {"height": 0}, {"annotations": {"boxes": [[0, 0.5, 0.5, 0.1, 10**400]]}}],
)
def test_numbers_beyond_any_picture_are_refused(data, tmp_path, change):
    """JSON knows integers of any length; no float does."""
    file = ndjson(data, tmp_path, change=lambda lines: lines[1].update(change))
    with pytest.raises(UnreadableData, match=r"line 2: .*(no width and height|no number)"):
        Holdout.open(file)


def test_reads_an_export_with_a_test_split_only(data, tmp_path):
    """The stock converter refuses it, and moves training images to val where that is missing."""
    holdout = Holdout.open(ndjson(data, tmp_path), images=data.parent / "images" / "test")

    for ours, theirs in zip(truths(holdout), truths(Holdout.open(data)), strict=True):
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-5)
        assert ours.class_id.tolist() == theirs.class_id.tolist()
    assert {"test"} == {frame.tags["split"] for frame in holdout}
    with pytest.raises(InputError, match=r"no image of split 'val' in .* the splits \['test'\]"):
        Holdout.open(ndjson(data, tmp_path), split="val")


def test_reads_an_export_inside_a_running_event_loop(data, tmp_path):
    """The stock converter starts a loop of its own, which an async service refuses."""
    file = ndjson(data, tmp_path)

    async def service():
        return Holdout.open(file, images=data.parent / "images" / "test")

    assert 6 == len(asyncio.run(service()))


def test_fetches_only_when_told(data, tmp_path):
    """Without fetch nothing is asked for; with it every picture once, also after a stop."""
    file = ndjson(data, tmp_path)
    asked = []

    def fetch(url):
        asked.append(url)
        if len(asked) == 4:
            raise ConnectionError
        name = url.removeprefix("https://storage.example/").removesuffix("?signed")
        return (data.parent / name).read_bytes()

    bare = Holdout.open(file)
    assert {None} == {frame.image for frame in bare}
    with pytest.raises(ConnectionError):
        Holdout.open(file, fetch=fetch)
    whole = Holdout.open(file, fetch=fetch)
    whole.check()
    assert 7 == len(asked)
    assert len(Holdout.open(file, fetch=fetch)) == 6
    assert 7 == len(asked)


def test_an_export_without_pictures_is_scored_with_predictions_at_hand(data, tmp_path):
    """Sizes and labels are in the export."""
    perfect = [frame.truth for frame in Scenes(seed=5).frames(6)]
    order = np.argsort([f"{frame.camera}-{frame.number:06d}" for frame in Scenes(seed=5).frames(6)])

    score = HoldoutValidator(
        ndjson(data, tmp_path), [perfect[index] for index in order], replicates=2
    ).validate()

    assert score.map > 0.99  # labels are rounded to six digits of a side


def record(**changes):
    return lambda lines: lines[1].update(changes)


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "C:/x.png", None])
def test_export_names_stay_in_the_folder(data, tmp_path, name):
    """Neither read nor written outside."""
    file = ndjson(data, tmp_path, change=record(file=name))

    with pytest.raises(InputError, match=r"leads out of the folder|no name of a file"):
        Holdout.open(file, fetch=lambda _: b"")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("name", ["link/x.png", "dangling.png"])
def test_export_links_stay_in_the_folder(data, tmp_path, name):
    """A picture that is fetched is not written through a link that came with the export."""
    outside = tmp_path / "outside"
    outside.mkdir()
    images = tmp_path / "images"
    images.mkdir()
    (images / "link").symlink_to(outside)
    (images / "dangling.png").symlink_to(outside / "x.png")
    file = ndjson(data, tmp_path, change=record(file=name))

    with pytest.raises(InputError, match="by a link"):
        Holdout.open(file, images=images, fetch=lambda _: b"anything")
    assert [] == [*outside.iterdir()]


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(a program) show
%%EOF
"""


def test_no_program_is_run_for_a_picture(tmp_path):
    """A picture that is PostScript, which Pillow has Ghostscript run, is none, whatever its name."""
    path = tmp_path / "frame.png"
    path.write_bytes(EPS)

    with pytest.raises(UnreadableData, match="does not open"):
        pixels(path)
    with pytest.raises(UnreadableData, match="does not open"):
        image_size(path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://storage.example/x", None, 7])
def test_export_addresses_must_be_https(data, tmp_path, url):
    """Anything else is not what the Platform signs."""
    with pytest.raises(InputError, match="no https address"):
        Holdout.open(ndjson(data, tmp_path, change=record(url=url)), fetch=lambda _: b"")


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ([], "no object"),
        ({"boxes": 7}, "no list of lists"),
        ({"boxes": [[0, 0.5, 0.5]]}, "no class and its coordinates"),
        ({"boxes": [[0.5, 0.5, 0.5, 0.1, 0.1]]}, "no class and its coordinates"),
        ({"boxes": [[0, 0.5, 0.5, 0.1, "x"]]}, "no number"),
        ({"boxes": [[0, 64, 64, 10, 10]]}, "are they pixels"),
        ({"boxes": [[9, 0.5, 0.5, 0.1, 0.1]]}, "class 9 is none of"),
        ({"segments": [[0, 0.5, 0.5, 0.1, 0.1, 0.3]]}, "5 coordinates|x and y in turn"),
        ({"boxes": [[float("nan"), 0.5, 0.5, 0.1, 0.1]]}, "no class|not finite"),
    ],
)
def test_export_labels_that_do_not_parse(data, tmp_path, annotations, said):
    """With the number of the line."""
    with pytest.raises(UnreadableData, match=said) as caught:
        Holdout.open(ndjson(data, tmp_path, change=record(annotations=annotations)))
    assert "line 2" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01", b"7\n", b'{"type": "image"}\n', b"{" * 50_000]
)
def test_a_file_that_is_no_export(tmp_path, content):
    """Garbage is told as such."""
    (tmp_path / "x.ndjson").write_bytes(content)

    with pytest.raises(UnreadableData):
        Holdout.open(tmp_path / "x.ndjson")


def test_a_path_of_another_kind(tmp_path):
    """Says what would do."""
    (tmp_path / "x.csv").write_text("")

    with pytest.raises(InputError, match=r"is none of .yaml"):
        Holdout.open(tmp_path / "x.csv")
    with pytest.raises(InputError, match="no data YAML at"):
        Holdout.open(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="does not exist"):
        Holdout.open(tmp_path / "none")
