"""What is shown to an endpoint, and what it finds."""

from __future__ import annotations

import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from platform_server import KEY, Answer, deployment_row

from driftline.errors import (
    Conflict,
    InputError,
    NotAuthorized,
    PlatformBroken,
    Unreachable,
    UnreadableReply,
)
from driftline.platform import _images, encode_png
from driftline.platform._images import load_image

FRAME = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def result(name="box", index=0, confidence=0.9, **more):
    return {"name": name, "class": index, "confidence": confidence, **more}


def box(x1=10, y1=20, x2=110, y2=220, **more):
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **more}


def reply(*results, metadata=None, shape=(480, 640), images=1):
    image = {
        "shape": list(shape),
        "speed": {"preprocess": 1.5, "inference": 20, "postprocess": 0.5},
        "results": list(results),
    }
    return {
        "images": [image] * images,
        "metadata": {
            "imageCount": images,
            "functionTimeAlive": 12.0,
            "functionTimeCall": 0.031,
            "version": {"ultralytics": "8.4.190", "torch": "2.13.0"},
            **(metadata or {}),
        },
    }


def show(face, body, image=FRAME, **options):
    return face(lambda _: Answer(json=body)).predict("acme/line-3", image, **options)


def test_boxes(face):
    """Boxes in pixels, confidences, classes and their names, with the settings beside them."""
    body = reply(
        result(box=box()),
        result("cup", 3, 0.5, box=box(0, 0, 640, 480)),
        metadata={"model": "yolo26s.pt", "task": "detect", "classNames": ["box", "a", "b", "cup"]},
    )
    found = show(face, body, conf=0.1, iou=0.5, imgsz=960)

    dets = found.detections
    assert [[10, 20, 110, 220], [0, 0, 640, 480]] == dets.xyxy.tolist()
    assert [0.9, 0.5] == dets.confidence.tolist()
    assert [0, 3] == dets.class_id.tolist()
    assert (480, 640) == dets.image_size
    assert {0: "box", 1: "a", 2: "b", 3: "cup"} == dets.class_names
    context = found.context
    assert ("yolo26s.pt", 0.1, 0.5, 960, "8.4.190") == (
        context.model,
        context.conf,
        context.iou,
        context.imgsz,
        context.ultralytics,
    )
    assert {0: "box", 1: "a", 2: "b", 3: "cup"} == context.class_names
    assert {"preprocess": 1.5, "inference": 20.0, "postprocess": 0.5} == found.speed_ms
    assert ("detect", 0.031) == (found.task, found.call_seconds)
    assert "Prediction(1 frames, 2 detections, 'yolo26s.pt')" == repr(found)


def test_names_without_a_list(face):
    """Without the model's list the names are those seen; the context does not pretend to know."""
    found = show(face, reply(result("cup", 3, box=box())))

    assert {3: "cup"} == found.detections.class_names
    assert {} == found.context.class_names
    assert found.context.model is None


def test_nothing_found(face):
    """An image without a find is an answer with no boxes, of that image's size."""
    dets = show(face, reply()).detections

    assert 0 == len(dets)
    assert (0, 4) == dets.xyxy.shape
    assert (480, 640) == dets.image_size


def test_normalized(face):
    """Coordinates from 0 to 1 are pixels again."""
    client = face(
        lambda _: Answer(json=reply(result(box=box(0.25, 0.5, 0.75, 1.0)), shape=(200, 400)))
    )
    found = client.predict("acme/line-3", FRAME, normalize=True)

    assert [[100, 100, 300, 200]] == found.detections.xyxy.tolist()
    assert b'name="normalize"\r\n\r\ntrue' in client.calls[0].body


def test_oriented(face):
    """An oriented box counts with the upright box around it."""
    corners = {"x1": 50, "y1": 10, "x2": 90, "y2": 50, "x3": 50, "y3": 90, "x4": 10, "y4": 50}

    assert [[10, 10, 90, 90]] == show(face, reply(result(box=corners))).detections.xyxy.tolist()


def test_mask(face):
    """A mask has its box; one without counts with the box around its outline."""
    outline = {"x": [5.0, 30.0, 12.0], "y": [7.0, 8.0, 44.0]}
    body = reply(result(segments=outline), result(segments=outline, box=box()))

    assert [[5, 7, 30, 44], [10, 20, 110, 220]] == show(face, body).detections.xyxy.tolist()


def test_classifier(face):
    """A classifier's answer has scores and no boxes."""
    body = reply(result("ok", 1, 0.97), {"name": "floor", "class": 2, "pixel_ratio": 0.4})
    found = show(face, body)

    assert 0 == len(found.detections)
    assert [("ok", 1, 0.97, None), ("floor", 2, None, 0.4)] == [
        (one.name, one.class_id, one.confidence, one.pixel_ratio) for one in found.scores
    ]


def test_video(face):
    """A video has many frames; asking for the only one says so."""
    found = show(face, reply(result(box=box()), images=3))

    assert 3 == len(found.frames)
    assert [1, 1, 1] == [len(frame.detections) for frame in found.frames]
    with pytest.raises(InputError, match="covers 3 frames"):
        _ = found.detections


def test_what_is_sent(face):
    """The settings are sent as they are recorded, defaults included."""
    client = face(lambda _: Answer(json=reply()))
    found = client.predict("acme/line-3", FRAME, decimals=2, bits=12, vid_stride=5)
    body = client.calls[0].body

    fields = {"conf": 0.25, "iou": 0.7, "decimals": 2, "bits": 12, "vid_stride": 5}
    for name, value in fields.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body
    assert b"imgsz" not in body
    assert b"normalize" not in body
    assert (0.25, 0.7, None) == (found.context.conf, found.context.iou, found.context.imgsz)
    assert ("POST", "/api/deployments/acme/line-3/predict") == (
        client.calls[0].method,
        client.calls[0].path,
    )


def test_url(face):
    """A URL is read by the endpoint, not by us."""
    client = face(lambda _: Answer(json=reply()))
    client.predict("acme/line-3", "https://example.com/a.jpg?sig=1")

    assert b'name="source"\r\n\r\nhttps://example.com/a.jpg?sig=1' in client.calls[0].body
    assert b'name="file"' not in client.calls[0].body
    with pytest.raises(InputError, match="has 4120 characters; the Platform takes 4096"):
        client.predict("acme/line-3", "https://example.com/" + "a" * 4100)


def test_path(face, tmp_path):
    """A file is sent with its type, without its name: that may say more than the picture."""
    photo = tmp_path / "customer-4711.jpg"
    photo.write_bytes(b"\xff\xd8\xffphoto")
    client = face(lambda _: Answer(json=reply()))
    client.predict("acme/line-3", photo)
    client.predict("acme/line-3", str(photo))

    for asked in client.calls:
        assert b'filename="image.jpg"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xffphoto' in (
            asked.body
        )
        assert b"4711" not in asked.body


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"anything", "application/octet-stream"),
    ],
)
def test_bytes(content, kind):
    """Bytes are sent as what they begin like."""
    assert kind == load_image(content).content_type


def test_unusable_images(face, tmp_path, monkeypatch):
    """What cannot be sent is refused by name, before anything is asked."""
    client = face(lambda _: Answer(json=reply()))
    monkeypatch.setattr(_images, "LARGEST_BYTES", 10)
    large = tmp_path / "large.png"
    large.write_bytes(b"x" * 11)
    empty = tmp_path / "empty.png"
    empty.touch()
    cases = {
        "cannot be read": [tmp_path / "missing.png", "nul\x00.png"],
        "it is no file": [tmp_path],
        "has 11 bytes; the Platform takes 10": [large, b"x" * 11],
        "empty": [empty, b""],
        "NoneType is no image": [None],
        "list is no image": [[1, 2]],
        r"float64 \(4, 6, 3\)": [FRAME.astype(np.float64)],
        r"uint8 \(4, 6, 2\)": [FRAME[..., :2]],
        r"uint8 \(6,\)": [FRAME[0, :, 0]],
        "no pixels": [FRAME[:0]],
    }
    for words, images in cases.items():
        for image in images:
            with pytest.raises(InputError, match=words):
                client.predict("acme/line-3", image)

    assert [] == client.calls


def test_largest_file():
    """The bound is 100 MB, and a larger file is refused without being read."""
    assert 100_000_000 == _images.LARGEST_BYTES


@pytest.mark.parametrize(
    "wrong",
    [
        {"conf": 0.001},
        {"conf": "0.5"},
        {"conf": True},
        {"imgsz": (640, 640)},
        {"imgsz": 640.5},
        {"bits": "8"},
        {"conf": 1.1},
        {"conf": float("nan")},
        {"iou": 0.96},
        {"imgsz": 16},
        {"imgsz": 2000},
        {"decimals": 11},
        {"bits": 10},
        {"vid_stride": 0},
    ],
)
def test_unusable_settings(face, wrong):
    """Settings that the Platform would refuse are refused here, by name."""
    client = face(lambda _: Answer(json=reply()))
    with pytest.raises(InputError, match=next(iter(wrong))):
        client.predict("acme/line-3", FRAME, **wrong)

    assert [] == client.calls


def test_faults(face):
    """A reply that is not what the contract says is reported with all its paths."""
    body = reply(
        {"name": "a", "box": box()},
        result(confidence=1.5, box={"x1": 1, "y1": "two", "x2": 3, "y2": 4}),
        result(box=box(x1=200)),
        result(segments={"x": [1], "y": []}),
        shape=(480,),
    )
    del body["metadata"]["version"]
    with pytest.raises(UnreadableReply) as caught:
        show(face, body)

    assert {
        "$.metadata.version",
        "$.images[0].shape",
        "$.images[0].results[0].class",
        "$.images[0].results[0].confidence",
        "$.images[0].results[1].confidence",
        "$.images[0].results[1].box.y1",
        "$.images[0].results[2].box",
        "$.images[0].results[3].segments",
    } == {problem.partition(":")[0] for problem in caught.value.problems}


def test_no_images(face):
    """An answer about no image at all is none."""
    with pytest.raises(UnreadableReply, match=r"\$\.images: is empty"):
        show(face, reply(images=0))


def test_not_repeated(face):
    """A prediction is billed: it is not repeated when it may have been made."""
    for failure in (Answer(status=503), httpx.ReadTimeout("slow")):
        client = face(lambda _, failure=failure: failure)
        with pytest.raises((PlatformBroken, Unreachable), match="predict"):
            client.predict("acme/line-3", FRAME)
        assert 1 == len(client.calls)

    answers = iter([Answer(status=429, headers={"Retry-After": "5"}), Answer(json=reply())])
    client = face(lambda _: next(answers))
    client.predict("acme/line-3", FRAME)
    assert 5.0 == client.clock.time


def service(asked):
    if asked.path.startswith("/api/"):
        return Answer(json={"deployment": deployment_row(), "region": "us"})
    return Answer(json=reply(result(box=box())))


def test_direct(face):
    """At its own address an endpoint gets the key, is looked up once, and is not paced."""
    client = face(service)
    for _ in range(25):
        client.predict("acme/line-3", FRAME, direct=True)

    assert 1 == client.paths.count("GET /api/deployments/acme/line-3")
    assert 25 == client.paths.count("POST /predict")
    assert {"line-3.example.run.app"} == {asked.headers["host"] for asked in client.calls[1:]}
    assert f"Bearer {KEY}" == client.calls[1].headers["authorization"]
    assert 0.0 == client.clock.time


def test_direct_with_another_key(face):
    """An endpoint takes only the key it was made with, and the error says so."""
    script = lambda asked: service(asked) if asked.method == "GET" else Answer(status=401)  # noqa: E731
    with pytest.raises(NotAuthorized) as caught:
        face(script).predict("acme/line-3", FRAME, direct=True)

    assert "only the key it was made with" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "url", ["http://line-3.example.com", "ftp://x", "https://a:b@c", "http://["]
)
def test_direct_without_encryption(face, url):
    """The key goes to no address that is not encrypted, even when the Platform names it."""
    client = face(
        lambda _: Answer(json={"deployment": deployment_row(serviceUrl=url), "region": "us"})
    )
    with pytest.raises(UnreadableReply):
        client.predict("acme/line-3", FRAME, direct=True)

    assert 1 == len(client.calls)


def test_direct_before_first_ready(face):
    """A deployment that was never ready has no address of its own."""
    row = deployment_row(serviceUrl=..., status="creating")
    client = face(lambda _: Answer(json={"deployment": row, "region": "us"}))
    with pytest.raises(Conflict, match="before it was ready for the first time"):
        client.predict("acme/line-3", FRAME, direct=True)


def test_direct_address_is_forgotten_on_trouble(face):
    """An address that does not answer any more is looked up again the next time."""
    answers = iter(
        [
            httpx.ConnectError("gone"),
            httpx.ConnectError("gone"),
            httpx.ConnectError("gone"),
            Answer(json=reply()),
        ]
    )
    client = face(lambda asked: service(asked) if asked.method == "GET" else next(answers))
    with pytest.raises(Unreachable, match="no reply"):
        client.predict("acme/line-3", FRAME, direct=True)
    client.predict("acme/line-3", FRAME, direct=True)

    assert 2 == client.paths.count("GET /api/deployments/acme/line-3")


def test_endpoint(face):
    """An endpoint as a detector: detections, and a context that names the model."""
    metadata = {"classNames": ["box"]}
    script = lambda asked: (  # noqa: E731
        Answer(json={"deployment": deployment_row(), "region": "us"})
        if asked.method == "GET"
        else Answer(json=reply(result(box=box()), metadata=metadata))
    )
    client = face(script)
    endpoint = client.endpoint("acme/line-3", imgsz=640)
    before = endpoint.context
    found = endpoint.predict(FRAME)
    if client._runner is not None:
        found = client._runner.run(found)

    assert ("acme/line/yolo26s-v3", 0.01, 0.7, 640, None) == (
        before.model,
        before.conf,
        before.iou,
        before.imgsz,
        before.ultralytics,
    )
    assert ("8.4.190", {0: "box"}) == (endpoint.context.ultralytics, endpoint.context.class_names)
    assert [[10, 20, 110, 220]] == found.xyxy.tolist()
    assert "Endpoint('acme/line-3', model='acme/line/yolo26s-v3')" in repr(endpoint)
    assert b'name="conf"\r\n\r\n0.01' in client.calls[-1].body


def unpng(data):
    """Decode what `encode_png` makes: one IDAT, 8 bits, filter "Sub" on each row."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        assert int.from_bytes(data[at + 8 + size : at + 12 + size]) == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height = (int.from_bytes(chunks[b"IHDR"][i : i + 4]) for i in (0, 4))
    channels = {0: 1, 2: 3, 6: 4}[chunks[b"IHDR"][9]]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert set(rows[:, 0]) == {1}
    pixels = rows[:, 1:].reshape(height, width, channels)
    return np.cumsum(pixels, axis=1, dtype=np.uint8)


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
    )
)
def test_png_is_lossless(pixels):
    """What is encoded is what was given, pixel for pixel."""
    assert np.array_equal(pixels, unpng(encode_png(pixels)))


def test_png_is_png(tmp_path):
    """Pillow reads the same pixels, in colour, in grey, and from a strided view."""
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(7)
    frame = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    for image in (
        frame,
        frame[..., 0],
        frame[::-1, ::2],
        frame[..., ::-1],
        np.dstack([frame, frame[..., :1]]),
    ):
        path = Path(tmp_path / "x.png")
        path.write_bytes(encode_png(image))
        with pillow.open(path) as opened:
            assert np.array_equal(image, np.asarray(opened))


def test_unready(face):
    """A deployment that is not there to answer is the Platform's failure."""
    with pytest.raises(PlatformBroken, match="503"):
        face(lambda _: Answer(status=503, json={"error": "not available"})).predict(
            "acme/line-3", FRAME
        )


def deployed(**changes):
    return Answer(json={"deployment": deployment_row(**changes), "region": "us"})


@pytest.mark.parametrize(
    ("detail", "named"),
    [
        (Answer(status=403, json={"error": "Forbidden"}), "yolo26s.pt"),
        (Answer(status=503), None),
        (deployed(status="deploying"), None),
        (deployed(project=..., model=...), None),
        (deployed(), "acme/line/yolo26s-v3"),
    ],
)
def test_the_model_behind_a_path(face, detail, named):
    """A name that is not known for sure is not recorded; a prediction is never lost for it."""
    body = reply(metadata={"model": "yolo26s.pt"})
    client = face(lambda asked: detail if asked.method == "GET" else Answer(json=body))

    assert named == client.predict("acme/line-3", FRAME).context.model
