"""`Detections` from what people have, without importing what made it."""

import json
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_kit import MONDAY, profile_of

from driftline.errors import InputError
from driftline.records import Detections

SIZE = (100, 200)


def reply(*results, shape=(100, 200)):
    """A Platform predict reply of one image, as the contract writes it."""
    return {
        "images": [
            {
                "shape": list(shape),
                "speed": {"preprocess": 1.0, "inference": 2.0, "postprocess": 0.5},
                "results": list(results),
            }
        ],
        "metadata": {
            "imageCount": 1,
            "functionTimeAlive": 3.0,
            "functionTimeCall": 0.1,
            "version": {"ultralytics": "8.4.190"},
        },
    }


def result(box=None, **more):
    """One entry of its results."""
    entry = {"name": "bolt", "class": 3, "confidence": 0.75, **more}
    return entry if box is None else {**entry, "box": box}


CORNERS = {"x1": 20, "y1": 10, "x2": 60, "y2": 50}


# Plain arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boxes", "form", "normalized"),
    [
        ([20, 10, 60, 50], "xyxy", False),
        ([0.1, 0.1, 0.3, 0.5], "xyxy", True),
        ([20, 10, 40, 40], "xywh", False),
        ([0.1, 0.1, 0.2, 0.4], "xywh", True),
        ([40, 30, 40, 40], "cxcywh", False),
        ([0.2, 0.3, 0.2, 0.4], "cxcywh", True),
        ([40, 30, 40, 40, 0.0], "cxcywhr", False),
        ([40, 30, 40, 40, np.pi / 2], "cxcywhr", False),
    ],
)
def test_arrays(boxes, form, normalized):
    """One box in every format, in pixels and as shares of the frame."""
    found = Detections.from_arrays(
        [boxes], [0.75], [3], image_size=SIZE, format=form, normalized=normalized
    )

    assert np.allclose([[20, 10, 60, 50]], found.xyxy)


@given(st.floats(1, 50), st.floats(1, 50), st.floats(-10, 10))
def test_a_turned_box_is_boxed_like_its_corners(w, h, angle):
    """The upright box around cxcywhr is the box around the four turned corners."""
    cos, sin = np.cos(angle), np.sin(angle)
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 @ [[cos, sin], [-sin, cos]] + [
        70,
        40,
    ]
    turned = Detections.from_arrays(
        [[70, 40, w, h, angle]], [1], [0], image_size=SIZE, format="cxcywhr"
    )
    outline = Detections.from_polygons([corners], [1], [0], image_size=SIZE)

    assert np.allclose(outline.xyxy, turned.xyxy)


def test_polygons_of_different_lengths():
    """Corners, segments and keypoints, as points or flat."""
    found = Detections.from_polygons(
        [[[1, 2], [5, 9], [3, 0]], [10, 20, 30, 5], np.array([[7.0, 7.0]])],
        [0.1, 0.2, 0.3],
        [0, 1, 2],
        image_size=SIZE,
    )
    share = Detections.from_polygons(
        [[0.1, 0.1, 0.3, 0.5]], [1], [0], image_size=SIZE, normalized=True
    )

    assert [[1, 0, 5, 9], [10, 5, 30, 20], [7, 7, 7, 7]] == found.xyxy.tolist()
    assert np.allclose([[20, 10, 60, 50]], share.xyxy)
    assert 0 == len(Detections.from_polygons([], [], [], image_size=SIZE))


@pytest.mark.parametrize("boxes", [[[1, 2, 3]], [1, 2, 3, 4], [[1, 2, 3, 4, 5]]])
def test_arrays_of_another_shape_are_refused(boxes):
    """Four numbers a row."""
    with pytest.raises(InputError, match=r"\(n, 4\)"):
        Detections.from_arrays(boxes, [1], [0], image_size=SIZE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "xyxyn"}, "format='xyxyn'"),
        ({"confidence": ["high"]}, "confidence must be an array of numbers"),
        ({"class_id": ["cat"]}, "class_id must hold whole numbers"),
        ({"class_id": [0.5]}, "class_id must hold whole numbers"),
        ({"confidence": [0.1, 0.2]}, "for one n"),
        ({"image_size": (0, 5)}, "image_size"),
    ],
)
def test_wrong_arguments_are_refused(change, said):
    """The message names the value."""
    good = {"boxes": [[0, 0, 9, 9]], "confidence": [0.5], "class_id": [0], "image_size": SIZE}

    with pytest.raises(InputError, match=said):
        Detections.from_arrays(**{**good, **change})


def test_no_points_and_odd_points_are_refused():
    """An outline needs a point, a point two numbers."""
    for outline in ([], [1, 2, 3], [[1, 2, 3]]):
        with pytest.raises(InputError, match="polygon 0"):
            Detections.from_polygons([outline], [1], [0], image_size=SIZE)


def test_repr_is_short():
    """A notebook shows no arrays."""
    assert "<Detections: 1 box in 200 x 100 px>" == repr(
        Detections.from_arrays([[0, 0, 9, 9]], [0.5], [0], image_size=SIZE)
    )


# Platform ------------------------------------------------------------------------------------


def test_platform_boxes():
    """Boxes in pixels, class, name and confidence."""
    found = Detections.from_platform(reply(result(CORNERS), result(CORNERS, confidence=0.5)))

    assert [[20, 10, 60, 50]] * 2 == found.xyxy.tolist()
    assert [0.75, 0.5] == found.confidence.tolist()
    assert [3, 3] == found.class_id.tolist()
    assert ((100, 200), {3: "bolt"}) == (found.image_size, dict(found.class_names))


@pytest.mark.parametrize(
    "entry",
    [
        result({"x1": 40, "y1": 10, "x2": 60, "y2": 30, "x3": 40, "y3": 50, "x4": 20, "y4": 30}),
        result(CORNERS, segments={"x": [0, 1], "y": [0, 1]}),
        result(segments={"x": [20, 60, 30], "y": [30, 50, 10]}),
        result(keypoints={"x": [20, 60, 0], "y": [50, 10, 0], "visible": [1, 0.5, 0]}),
        result(keypoints={"x": [20, 60], "y": [50, 10]}),
        result(CORNERS, keypoints={"x": [0], "y": [0]}),
    ],
    ids=["obb", "segment with box", "segment", "pose", "pose without visibility", "pose with box"],
)
def test_platform_of_other_tasks(entry):
    """Oriented boxes, segments and poses count by the upright box around them."""
    found = Detections.from_platform(reply(entry))

    assert [[20, 10, 60, 50]] == found.xyxy.tolist()


def test_platform_without_detections():
    """An empty list is a frame without boxes; it counts."""
    found = Detections.from_platform(reply())
    week = profile_of([(found, "c", MONDAY)])

    assert (1, 0) == (week.frames, week.boxes)


def test_platform_normalised():
    """The reply does not say that it is; all boxes within one pixel are refused."""
    share = reply(result({"x1": 0.1, "y1": 0.1, "x2": 0.3, "y2": 0.5}))
    found = Detections.from_platform(share, normalized=True)

    assert np.allclose([[20, 10, 60, 50]], found.xyxy)
    with pytest.raises(InputError, match="normalized=True"):
        Detections.from_platform(share)


def test_a_box_of_nothing_is_not_taken_for_normalised():
    """A degenerate box in the corner is a box in pixels."""
    assert 1 == len(Detections.from_platform(reply(result(dict.fromkeys(CORNERS, 0)))))


def test_platform_video():
    """One entry a frame; a single frame is asked for by its entry."""
    video = reply(result(CORNERS))
    video["images"].append({"shape": [100, 200], "speed": {}, "results": []})

    assert [1, 0] == [len(d) for d in Detections.frames_from_platform(video)]
    assert 1 == len(Detections.from_platform(video["images"][0]))
    with pytest.raises(InputError, match="2 images"):
        Detections.from_platform(video)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "Unauthorized"}, "only \\['error'\\]"),
        ({"images": {}}, "no list of images"),
        ({"images": []}, "0 images"),
        (reply(result()), "no box, segment or keypoints"),
        (reply({"name": "a", "class": 1, "pixel_ratio": 0.5}), "no box"),
        (reply({"class": 1, "box": CORNERS}), "lacks 'confidence'"),
        (reply({"confidence": 1, "box": CORNERS}), "lacks 'class'"),
        (reply(result({"x1": 1})), "lacks 'y1'"),
        (reply(result({**CORNERS, "x1": "left"})), "four numbers"),
        (reply(shape=(1, 2, 3)), "shape"),
        ({"images": [{"shape": [1, 2]}]}, "results=None"),
        (reply(result(keypoints={"x": [1], "y": [1], "visible": [0]})), "at least one point"),
    ],
)
def test_platform_replies_that_hold_no_detections(body, said):
    """Errors, other tasks and broken replies are refused with what is there."""
    with pytest.raises(InputError, match=said):
        Detections.from_platform(body)


def test_platform_reply_of_the_contract():
    """A reply made of the official schema's fields is read; every field it may have is known."""
    folder = os.environ.get("DRIFTLINE_CONTRACTS")
    if not folder:
        pytest.skip("DRIFTLINE_CONTRACTS names no folder with the official specification")
    (path,) = Path(folder).glob("ultralytics-platform-*.json")
    schema = json.loads(path.read_text())["components"]["schemas"]["PredictResponse"]
    image = schema["properties"]["images"]["items"]["properties"]
    entry = image["results"]["items"]["properties"]

    assert {"shape", "speed", "results"} <= set(image)
    assert {"name", "class", "confidence", "box", "segments", "keypoints"} <= set(entry)
    assert {f"{axis}{i}" for axis in "xy" for i in range(1, 5)} == set(entry["box"]["properties"])
    assert {"x", "y"} <= set(entry["segments"]["properties"])
    assert {"x", "y", "visible"} == set(entry["keypoints"]["properties"])


def test_summary_rows():
    """What `Results.to_json()` logs; the size of the frame is the caller's to know."""
    rows = [result(CORNERS, track_id=7)]

    assert [[20, 10, 60, 50]] == Detections.from_summary(rows, image_size=SIZE).xyxy.tolist()
    assert 0 == len(Detections.from_summary([], image_size=SIZE))


# Ultralytics ---------------------------------------------------------------------------------


class Tensor:
    """A tensor on another device, as far as it is looked at: it must be brought over first."""

    def __init__(self, value, here=False):
        self.value, self.here = np.asarray(value, dtype=np.float32), here

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.value, here=True)

    def __array__(self, dtype=None, copy=None):
        if not self.here:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.value.astype(dtype or self.value.dtype)


def results(**parts):
    """The attributes of a `Results` that are looked at."""
    names = ("boxes", "obb", "masks", "probs", "keypoints", "semantic_mask", "depth")
    return SimpleNamespace(
        **{**dict.fromkeys(names), "orig_shape": SIZE, "names": {0: "nut", 3: "bolt"}, **parts}
    )


def rows_of(xyxy, n=1):
    """`Boxes` or `OBB`."""
    return SimpleNamespace(xyxy=Tensor(xyxy), conf=Tensor([0.75] * n), cls=Tensor([3] * n))


def test_ultralytics_boxes():
    """From whatever device, without torch."""
    found = Detections.from_ultralytics(results(boxes=rows_of([[20, 10, 60, 50]])))

    assert [[20, 10, 60, 50]] == found.xyxy.tolist()
    assert ([0.75], [3]) == (found.confidence.tolist(), found.class_id.tolist())
    assert (SIZE, {0: "nut", 3: "bolt"}) == (found.image_size, dict(found.class_names))


def test_ultralytics_obb():
    """Oriented boxes by their upright ones, which Ultralytics gives."""
    found = Detections.from_ultralytics(results(obb=rows_of([[20, 10, 60, 50]])))

    assert [[20, 10, 60, 50]] == found.xyxy.tolist()


def test_ultralytics_without_boxes():
    """No boxes is a frame; no `boxes` is another task."""
    empty = results(boxes=rows_of(np.zeros((0, 4)), n=0))

    assert 0 == len(Detections.from_ultralytics(empty))
    with pytest.raises(InputError, match="but probs"):
        Detections.from_ultralytics(results(probs=1))
    with pytest.raises(InputError, match="a list of 1 results"):
        Detections.from_ultralytics([empty])


@pytest.mark.yolo
def test_ultralytics_itself():
    """Real `Results` of every task, and their own summaries, agree."""
    import torch
    from ultralytics.engine.results import Results

    picture = np.zeros((100, 200, 3), dtype=np.uint8)
    names = {0: "nut", 3: "bolt"}
    boxes = torch.tensor([[20.0, 10, 60, 50, 0.75, 3], [0, 0, 199.5, 99.25, 0.123456, 0]])
    turned = torch.tensor([[70.0, 40, 30, 10, 0.3, 0.75, 3]])
    mask = torch.zeros((2, 100, 200))
    mask[:, 10:50, 20:60] = 1
    pose = torch.rand((2, 17, 3)) * 90

    for parts in (
        {"boxes": boxes},
        {"boxes": boxes, "masks": mask},
        {"boxes": boxes, "keypoints": pose},
        {"obb": turned},
        {"boxes": boxes[:0]},
    ):
        made = Results(picture, "a.jpg", names, **parts)
        direct = Detections.from_ultralytics(made)
        logged = Detections.from_summary(json.loads(made.to_json()), image_size=SIZE)

        # the log is rounded to five decimals
        assert np.allclose(direct.xyxy, logged.xyxy, atol=1e-4)
        assert np.allclose(direct.confidence, logged.confidence, atol=1e-5)
        assert np.array_equal(direct.class_id, logged.class_id)
        assert profile_of([(direct, "c", MONDAY)]).counts("confidence").tolist() == (
            profile_of([(logged, "c", MONDAY)]).counts("confidence").tolist()
        )
    with pytest.raises(InputError, match="probs"):
        Detections.from_ultralytics(Results(picture, "a.jpg", names, probs=torch.rand(2)))


# supervision ---------------------------------------------------------------------------------


def test_supervision():
    """Real ones, with and without names; unknown confidence or class is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns at import that OpenCV is missing
        sv = pytest.importorskip("supervision")
    boxes = np.array([[20, 10, 60, 50]], dtype=np.float32)
    full = sv.Detections(
        xyxy=boxes,
        confidence=np.array([0.75], dtype=np.float32),
        class_id=np.array([3]),
        data={"class_name": np.array(["bolt"])},
    )
    found = Detections.from_supervision(full, image_size=SIZE)
    bare = sv.Detections(xyxy=boxes, confidence=np.array([0.75]), class_id=np.array([3]))

    assert [[20, 10, 60, 50]] == found.xyxy.tolist()
    assert ({3: "bolt"}, [0.75]) == (dict(found.class_names), found.confidence.tolist())
    assert {} == Detections.from_supervision(bare, image_size=SIZE).class_names
    assert 0 == len(Detections.from_supervision(sv.Detections.empty(), image_size=SIZE))
    for missing in ("confidence", "class_id"):
        setattr(bare, missing, None)
        with pytest.raises(InputError, match=f"{missing} of the detections is None"):
            Detections.from_supervision(bare, image_size=SIZE)
        setattr(bare, missing, getattr(full, missing))


def test_nothing_foreign_is_imported():
    """The adapters look at attributes only."""
    import subprocess

    code = (
        "import sys, driftline.profiles\n"
        "bad = {'torch', 'ultralytics', 'supervision', 'pyarrow', 'scipy', 'pandas', 'cv2'}\n"
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=1200, check=True
    )

    assert "[]" == done.stdout.strip()


# COCO ----------------------------------------------------------------------------------------


def test_coco_results():
    """Left, top, width, height; score; category."""
    rows = [{"image_id": 1, "category_id": 3, "bbox": [20, 10, 40, 40], "score": 0.75}]
    found = Detections.from_coco(rows, image_size=SIZE, categories=[{"id": 3, "name": "bolt"}])

    assert [[20, 10, 60, 50]] == found.xyxy.tolist()
    assert ([0.75], [3]) == (found.confidence.tolist(), found.class_id.tolist())
    assert {3: "bolt"} == dict(found.class_names)
    assert 0 == len(Detections.from_coco([], image_size=SIZE))


def test_coco_labels():
    """Labels have no score; polygons stand in for boxes; crowds are no objects."""
    rows = [
        {"category_id": 1, "segmentation": [[20, 10, 60, 20], [30, 50, 25, 15]], "iscrowd": 0},
        {"category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ]
    found = Detections.from_coco(rows, image_size=SIZE, confidence=1.0)

    assert [[20, 10, 60, 50]] == found.xyxy.tolist()
    assert [1.0] == found.confidence.tolist()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"category_id": 1, "bbox": [0, 0, 9, 9]}], "no score"),
        ([{"category_id": 1, "score": 1}], "neither bbox nor polygons"),
        ([{"category_id": 1, "score": 1, "segmentation": {"counts": "x"}}], "neither bbox"),
        ([{"category_id": 1, "score": 1, "bbox": [1, 2, 3]}], "four numbers"),
        ([{"score": 1, "bbox": [1, 2, 3, 4]}], "category_id"),
        (
            [{"image_id": i, "category_id": 1, "score": 1, "bbox": [0, 0, 9, 9]} for i in (1, 2)],
            "2 images",
        ),
    ],
)
def test_coco_that_cannot_be_read(rows, said):
    """What is missing is named."""
    with pytest.raises(InputError, match=said):
        Detections.from_coco(rows, image_size=SIZE)


JUNK = [None, 3, "x", [None], [3], object(), {"images": [None]}, {"results": [{"box": 3}]}]
SIZED = {"image_size": (4, 4)}
ADAPTERS = {
    "arrays": lambda value: Detections.from_arrays(value, value, value, **SIZED),
    "polygons": lambda value: Detections.from_polygons(value, value, value, **SIZED),
    "platform": Detections.from_platform,
    "frames of platform": Detections.frames_from_platform,
    "summary": lambda value: Detections.from_summary(value, **SIZED),
    "ultralytics": Detections.from_ultralytics,
    "supervision": lambda value: Detections.from_supervision(value, **SIZED),
    "coco": lambda value: Detections.from_coco(value, **SIZED),
}


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))
@pytest.mark.parametrize("value", JUNK, ids=lambda value: type(value).__name__)
def test_anything_else_is_refused(adapter, value):
    """What is no such object is the caller's error, never one of attributes or indexes."""
    with pytest.raises(InputError):
        adapter(value)


def test_says_what_to_pass():
    """The message shows what was passed and says what would do."""
    with pytest.raises(InputError, match=r"\[\] is not the JSON of a predict call"):
        Detections.from_platform([])
    with pytest.raises(InputError, match="None is not one Results of Ultralytics; pass each"):
        Detections.from_ultralytics(None)
