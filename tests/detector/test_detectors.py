"""The two detectors: what they find, how they fail, and that they agree with ultralytics."""

import hashlib
import json
import os
import pickletools
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from driftline.errors import InputError, MissingExtra, ModelError, UnreadableData
from driftline.testing import (
    CLASS_NAMES,
    OnnxDetector,
    Scenes,
    ShapeFinder,
    blur,
    darken,
    hollow,
    jpeg,
    noise,
    zoom_out,
)
from driftline.testing._detectors import letterbox, non_max_suppression

FOLDER = Path(__file__).parents[2] / "detector"
WEIGHTS = FOLDER / "shapes.onnx"
FRAMES = list(Scenes(seed=21).frames(120))

# the source distribution carries the tests and not the weights (another licence)
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="no detector/ beside the tests")


def detector(**options):
    """The shipped weights on onnxruntime."""
    pytest.importorskip("onnxruntime")
    return OnnxDetector(WEIGHTS, **options)


def iou(a, b):
    """(len(a), len(b)) overlaps."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(sides, 0, None).prod(axis=2)
    area = [(x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b)]
    return shared / (area[0][:, None] + area[1][None, :] - shared)


def recall_precision(detect, frames):
    """Shares of true boxes found and of found boxes true, of the right class, IoU above 0.5."""
    hits = truths = founds = 0
    for frame in frames:
        found = detect(frame.image)
        same = frame.truth.class_id[:, None] == found.class_id[None, :]
        hits += ((iou(frame.truth.xyxy, found.xyxy) > 0.5) & same).any(axis=1).sum()
        truths, founds = truths + len(frame.truth), founds + len(found)
    return hits / truths, hits / max(founds, 1)


def mean_confidence(detect, step=None):
    """Mean confidence over the frames after a step."""
    images = [(step(frame) if step else frame).image for frame in FRAMES]
    return np.concatenate([detect(image).confidence for image in images]).mean()


@pytest.fixture(scope="module")
def confidence_of_finder():
    """Mean confidence of the finder over the frames as they are."""
    return mean_confidence(ShapeFinder())


# ShapeFinder ---------------------------------------------------------------------------------


def test_finder_finds_shapes():
    """The finder sees most shapes and is mostly right.

    Over 300 frames of each of six seeds recall is 0.86 to 0.91 and precision 0.93 to 0.95;
    with 330 objects a share near 0.87 has a standard error of 0.02.
    """
    recall, precision = recall_precision(ShapeFinder(), FRAMES)

    assert recall > 0.82
    assert precision > 0.89


@pytest.mark.parametrize(
    "step", [blur(2), darken(0.4), jpeg(15), zoom_out(0.6), hollow(1)], ids=repr
)
def test_finder_doubts_what_it_should(step, confidence_of_finder):
    """Its confidence falls when the camera or the objects change, as a trained detector's does."""
    assert mean_confidence(ShapeFinder(), step) < confidence_of_finder - 0.05


def test_finder_sees_nothing_in_nothing():
    """A flat picture, a tiny one and pure grain hold no shapes."""
    rng = np.random.default_rng(3)
    grain = np.clip(128 + rng.normal(0, 8, (128, 128, 3)), 0, 255).astype(np.uint8)

    for image in (np.full((128, 128, 3), 77, np.uint8), np.zeros((3, 5, 3), np.uint8), grain):
        assert 0 == len(ShapeFinder(conf=0.0)(image))


def test_finder_threshold_and_order():
    """Only what reaches the threshold is told, the surest first."""
    every = ShapeFinder(conf=0.0)(FRAMES[1].image)
    sure = ShapeFinder(conf=0.8)(FRAMES[1].image)

    assert len(every) == 5
    assert (np.diff(every.confidence) <= 0).all()
    np.testing.assert_array_equal(every.confidence[every.confidence >= 0.8], sure.confidence)
    assert CLASS_NAMES == sure.class_names


def test_finder_takes_other_sizes():
    """A wide frame is searched whole: what was cut off the right is not found elsewhere."""
    image = FRAMES[1].image[:, :100]
    found = ShapeFinder()(image)

    assert (128, 100) == found.image_size
    assert found.xyxy[:, 2].max() <= 100


def test_finder_context():
    """The finder says what it is and with which threshold."""
    context = ShapeFinder(conf=0.4).context

    assert ("shape-finder", 0.4, dict(CLASS_NAMES)) == (
        context.model,
        context.conf,
        dict(context.class_names),
    )
    with pytest.raises(InputError, match=r"conf=1\.5"):
        ShapeFinder(conf=1.5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=lambda image: f"{image.shape} {image.dtype}",
)
def test_image_must_be_an_image(image):
    """Anything but (height, width, 3) uint8 is refused with its shape and type."""
    with pytest.raises(InputError, match=re.escape(f"{image.shape} {image.dtype}")):
        ShapeFinder()(image)


def test_a_path_will_do(tmp_path):
    """A path is the same as the picture in it, and `predict` the same as calling."""
    from PIL import Image

    path = tmp_path / "frame.png"
    Image.fromarray(FRAMES[1].image).save(path)
    by_path, by_pixels = ShapeFinder().predict(path), ShapeFinder()(FRAMES[1].image)

    np.testing.assert_array_equal(by_path.xyxy, by_pixels.xyxy)
    assert len(by_path) > 0


def test_a_path_must_lead_to_an_image(tmp_path):
    """No file is your fault, a file that is no image is the data's; both are named."""
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")

    with pytest.raises(InputError, match=r"nowhere\.png"):
        ShapeFinder()(tmp_path / "nowhere.png")
    with pytest.raises(UnreadableData, match=r"notes\.txt"):
        ShapeFinder()(str(text))


# OnnxDetector --------------------------------------------------------------------------------


@needs_weights
def test_weights_find_shapes():
    """The shipped weights are worth their name.

    COCO's mAP@0.5:0.95 is 0.86 to 0.87, at 0.5 it is 0.97 to 0.99, over 120 frames of each of
    five seeds.
    """
    pytest.importorskip("pycocotools")
    score = runpy.run_path(str(FOLDER / "measure.py"))["score"]
    detect = detector(conf=0.001)
    overall, at_half = score([(frame.truth, detect(frame.image)) for frame in FRAMES])

    assert overall > 0.83
    assert at_half > 0.95


def test_measure_scores_perfection():
    """The ruler itself: the truth scores 1, the truth of other frames next to nothing."""
    pytest.importorskip("pycocotools")
    if not FOLDER.is_dir():
        pytest.skip("no detector/ beside the tests")
    score = runpy.run_path(str(FOLDER / "measure.py"))["score"]
    truths = [frame.truth for frame in FRAMES]

    assert (1.0, 1.0) == score([(truth, truth) for truth in truths])
    assert score(list(zip(truths, truths[1:] + truths[:1], strict=True)))[0] < 0.1


@needs_weights
@pytest.mark.parametrize(
    "step", [blur(3), darken(0.25), noise(50), jpeg(8), zoom_out(0.5), hollow(1)], ids=repr
)
def test_weights_feel_the_weather(step):
    """Each perturbation lowers the mean confidence by more than 0.05."""
    assert mean_confidence(detector(), step) < mean_confidence(detector()) - 0.05


@needs_weights
def test_context_of_weights():
    """The context names the file without its folder, its digest, and the settings."""
    context = detector(conf=0.3, iou=0.6).context

    assert "shapes.onnx" == context.model
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert f"sha256:{digest}" == context.weights_digest
    assert (0.3, 0.6, 128) == (context.conf, context.iou, context.imgsz)
    assert CLASS_NAMES == context.class_names
    assert re.fullmatch(r"8\.\d+\.\d+", context.ultralytics)
    assert "OnnxDetector('shapes.onnx', conf=0.3, iou=0.6)" == repr(detector(conf=0.3, iou=0.6))


@needs_weights
def test_larger_frames_give_larger_boxes():
    """A frame of three times the side gives the boxes three times as large.

    Every pixel tripled comes back from the letterbox as it was: bilinear sampling hits the
    middle of each block.
    """
    small, large = FRAMES[1].image, FRAMES[1].image.repeat(3, axis=0).repeat(3, axis=1)
    detect = detector()

    np.testing.assert_allclose(3 * detect(small).xyxy, detect(large).xyxy, atol=1e-3)
    assert len(detect(small)) >= len(FRAMES[1].truth)


@needs_weights
def test_wide_frames_are_padded():
    """A wide frame is fitted in whole; boxes come back in its own pixels, inside it."""
    image = np.concatenate([FRAMES[1].image, FRAMES[2].image], axis=1)
    found = detector().predict(image)

    assert (128, 256) == found.image_size
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [256, 128, 256, 128]).all()
    assert found.xyxy[:, 0].max() > 128 > found.xyxy[:, 2].min()


@needs_weights
def test_threshold_of_weights():
    """A higher threshold tells the same detections without the doubtful ones."""
    every, sure = detector(conf=0.1)(FRAMES[3].image), detector(conf=0.8)(FRAMES[3].image)

    assert (np.diff(every.confidence) <= 0).all()
    np.testing.assert_array_equal(every.confidence[every.confidence > 0.8], sure.confidence)
    assert 0 == len(detector(conf=1.0)(FRAMES[3].image))


@needs_weights
def test_wrong_settings():
    """Numbers out of range, and a size the model was not exported for, are refused."""
    for wrong in ({"conf": -0.1}, {"iou": 1.1}, {"imgsz": 0}, {"threads": 0}, {"conf": "high"}):
        with pytest.raises(InputError, match=re.escape(next(iter(wrong)))):
            OnnxDetector(WEIGHTS, **wrong)
    with pytest.raises(InputError, match=r"imgsz=640.*\[128, 128\]"):
        detector(imgsz=640)(FRAMES[0].image)


def test_missing_and_broken_weights(tmp_path):
    """No file is your fault; a file that is no model is the model's, and both are named."""
    with pytest.raises(InputError, match=r"nowhere\.onnx"):
        OnnxDetector(tmp_path / "nowhere.onnx")
    with pytest.raises(InputError, match="path=3 must be the path of a"):
        OnnxDetector(3)
    pytest.importorskip("onnxruntime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.onnx.*export it again"):
        OnnxDetector(broken)(FRAMES[0].image)


@needs_weights
def test_without_onnxruntime(monkeypatch):
    """Without onnxruntime the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtra, match=r"driftline\[onnx\]"):
        OnnxDetector(WEIGHTS)(FRAMES[0].image)


@needs_weights
def test_weights_tell_nothing_of_their_maker():
    """Neither file holds a path, a host or the state of a repository."""
    with zipfile.ZipFile(FOLDER / "shapes.pt") as archive:
        pickled = archive.read("shapes/data.pkl")
    texts = {str(value) for _, value, _ in pickletools.genops(pickled) if isinstance(value, str)}
    session = pytest.importorskip("onnxruntime").InferenceSession(str(WEIGHTS))
    texts |= set(session.get_modelmeta().custom_metadata_map.values())
    rooted = {text for text in texts if text.startswith(("/", "~")) or re.search(r"[A-Z]:\\", text)}

    assert "DetectionModel" in {
        text.rpartition(".")[2].split()[-1] for text in texts if text.strip()
    }
    assert set() == rooted
    assert {"git", "branch", "commit", "date"}.isdisjoint(texts)
    for file in ("shapes.pt", "shapes.onnx"):
        assert not re.search(rb"/(home|root|tmp|usr|var|opt|Users)/", (FOLDER / file).read_bytes())


# The parts -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_letterbox_keeps_proportions(height, width):
    """The picture fits, is centred to a pixel, touches two sides, and all around it is grey."""
    image = np.full((height, width, 3), 255, np.uint8)
    padded, scale, (left, top) = letterbox(image, (96, 128))
    right, bottom = (
        128 - left - max(1, round(width * scale)),
        96 - top - max(1, round(height * scale)),
    )

    assert (96, 128, 3) == padded.shape
    assert min(left, top, right, bottom) == 0
    assert abs(left - right) <= 1
    assert abs(top - bottom) <= 1
    white = (padded == 1.0).all(axis=2)
    assert white.sum() == (128 - left - right) * (96 - top - bottom)
    np.testing.assert_allclose(padded[~white], 114 / 255, rtol=1e-6)


def test_letterbox_is_bilinear():
    """Between two columns the values go over linearly, sampled at the centres of pixels."""
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 200
    padded, scale, _ = letterbox(image, (8, 8))

    assert 4.0 == scale
    np.testing.assert_allclose(
        padded[4, :, 0] * 255, [0, 0, 25, 75, 125, 175, 200, 200], atol=0.001
    )


def slow_nms(boxes, scores, classes, threshold):
    """The definition, box by box."""
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        rivals = [j for j in kept if classes[j] == classes[i]]
        if all(iou(boxes[[i]], boxes[[j]])[0, 0] <= threshold for j in rivals):
            kept.append(i)
    return kept


@settings(max_examples=80, deadline=None)
@given(
    corners=hnp.arrays(
        float, st.tuples(st.integers(0, 25), st.just(4)), elements=st.integers(0, 12)
    ),
    seed=st.integers(0, 99),
    threshold=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
@example(corners=np.array([[8.0, 8, 7, 8], [6, 8, 8, 8]]), seed=1, threshold=0.7)  # IoU is 0.7
def test_nms_is_the_definition(corners, seed, threshold):
    """Suppression is what the box-by-box definition gives, ties in the given order."""
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + 1 + corners[:, 2:]], axis=1)
    scores, classes = rng.integers(0, 6, len(boxes)) / 5.0, rng.integers(0, 2, len(boxes))

    kept = non_max_suppression(boxes, scores, classes, iou=threshold)

    assert slow_nms(boxes, scores, classes, threshold) == kept.tolist()


# Against ultralytics, onnx and torch ---------------------------------------------------------


def secluded(folder):
    """Environment in which ultralytics keeps to the folder and opens no connection."""
    mpl = pytest.importorskip("matplotlib")
    (folder / "Ultralytics").mkdir()
    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    shutil.copyfile(font, folder / "Ultralytics" / "Arial.ttf")
    return os.environ | {
        "YOLO_CONFIG_DIR": str(folder),
        "MPLCONFIGDIR": str(folder),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "0",
        "YOLO_VERBOSE": "0",
        "OMP_NUM_THREADS": "1",
    }


PREDICT = """
import json, sys
import numpy as np
from ultralytics import YOLO
model = YOLO(sys.argv[1], task="detect")
out = []
for image in np.load("frames.npy"):
    boxes = model.predict(image[..., ::-1], imgsz=128, conf=0.25, iou=0.7, verbose=False)[0].boxes
    out.append([boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist()])
json.dump(out, open("out.json", "w"))
"""


@needs_weights
@pytest.mark.yolo
def test_agrees_with_ultralytics(tmp_path):
    """Our onnxruntime detections are ultralytics' own with the ``.pt``.

    Both run float32 on one picture; fused convolutions and another order of sums leave
    differences of 1e-4 and below.
    """
    pytest.importorskip("ultralytics")
    np.save(tmp_path / "frames.npy", np.stack([frame.image for frame in FRAMES[:40]]))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREDICT, str(FOLDER / "shapes.pt")],
        cwd=tmp_path,
        env=secluded(tmp_path),
        check=True,
        timeout=1200,
    )
    theirs = json.loads((tmp_path / "out.json").read_text())

    for frame, (boxes, scores, classes) in zip(FRAMES, theirs, strict=False):
        ours = detector()(frame.image)
        np.testing.assert_array_equal(classes, ours.class_id)
        np.testing.assert_allclose(scores, ours.confidence, atol=1e-3)
        np.testing.assert_allclose(np.reshape(boxes, (-1, 4)), ours.xyxy, atol=0.02)


@pytest.mark.yolo
def test_nms_is_torchvision_s():
    """Suppression keeps the boxes that torchvision keeps, class by class."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 100, (500, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (500, 2))], axis=1)
    scores, classes = rng.random(500), rng.integers(0, 3, 500)
    theirs = torchvision.ops.batched_nms(
        *(torch.from_numpy(x) for x in (boxes, scores, classes)), iou_threshold=0.5
    )

    assert theirs.tolist() == non_max_suppression(boxes, scores, classes, iou=0.5).tolist()


def constant_model(path, answer, *, shape=(1, 3, 128, 128), **facts):
    """An ``.onnx`` that answers the same to every picture."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    value = onnx.numpy_helper.from_array(np.asarray(answer, np.float32))
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["output0"], value=value)],
        "constant",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output0", kind, np.shape(answer))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    onnx.save(model, path)
    return path


@pytest.mark.yolo
def test_models_that_suppress_inside(tmp_path):
    """A model exported end to end answers boxes, confidence and class: they are taken as given."""
    answer = [[[10, 20, 30, 40, 0.9, 1], [0, 0, 64, 64, 0.1, 0]]]
    path = constant_model(tmp_path / "e2e.onnx", answer, end2end=True, names={0: "a", 1: "b"})
    found = OnnxDetector(path)(np.zeros((256, 256, 3), np.uint8))

    np.testing.assert_allclose([[20, 40, 60, 80]], found.xyxy)
    assert ([1], {0: "a", 1: "b"}) == (found.class_id.tolist(), found.class_names)


@pytest.mark.yolo
def test_models_of_any_size(tmp_path):
    """A model with free sides runs at `imgsz`, or at the size it was exported at."""
    answer = np.zeros((1, 5, 1))
    free = {"shape": (1, 3, "height", "width"), "imgsz": [96, 160]}
    path = constant_model(tmp_path / "free.onnx", answer, **free)

    assert 64 == OnnxDetector(path, imgsz=64).context.imgsz
    assert 160 == OnnxDetector(path).context.imgsz
    assert 0 == len(OnnxDetector(path)(FRAMES[0].image))


@pytest.mark.yolo
def test_names_that_do_not_parse(tmp_path):
    """Class names that are no mapping are the model's fault, and quoted."""
    path = constant_model(tmp_path / "odd.onnx", np.zeros((1, 5, 1)), names="person; car")

    with pytest.raises(ModelError, match=r"odd\.onnx.*person; car"):
        OnnxDetector(path)(FRAMES[0].image)


@pytest.mark.yolo
def test_models_that_are_no_detectors(tmp_path):
    """A classifier, or a model of grey images, is told from a detector."""
    classifier = constant_model(tmp_path / "cls.onnx", [[0.1, 0.9]])
    grey = constant_model(tmp_path / "grey.onnx", np.zeros((1, 5, 1)), shape=(1, 1, 64, 64))

    with pytest.raises(ModelError, match=r"cls\.onnx.*no YOLO detection model"):
        OnnxDetector(classifier)(FRAMES[0].image)
    with pytest.raises(ModelError, match=r"grey\.onnx.*not RGB"):
        OnnxDetector(grey)(FRAMES[0].image)


@needs_weights
@pytest.mark.yolo
def test_training_repeats_itself(tmp_path):
    """Trained twice with the same settings, the weights are the same bit for bit."""
    pytest.importorskip("ultralytics")
    digests = []
    for run in ("one", "two"):
        command = [sys.executable, "-W", "ignore", str(FOLDER / "train.py")]
        options = ["--out", str(tmp_path / run), "--epochs", "1", "--frames", "32"]
        subprocess.run([*command, *options], check=True, timeout=1200, cwd=tmp_path)
        files = sorted((tmp_path / run).iterdir())
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])

    assert ["shapes.onnx", "shapes.pt"] == [file.name for file in files]
    assert digests[0] == digests[1]
