"""Predict runs the detector on the image it gets, with the caller's settings."""

from __future__ import annotations

import base64
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from localkit import LINE, client_of, encoded, two_boxes
from PIL import Image

from driftline.records import Detections
from driftline.testing import LocalPlatform, Scenes
from driftline.testing._platform._predict import Options, results_of

PREDICT = f"{LINE}/predict"


def results(reply):
    assert 200 == reply.status_code, reply.text
    return reply.json()["images"][0]["results"]


def test_order_and_threshold(http, image):
    """Most confident first, at 0.25 unless asked otherwise, the threshold included."""
    default = results(http.post(PREDICT, files={"file": image}))
    strict = results(http.post(PREDICT, files={"file": image}, data={"conf": "0.41"}))
    edge = results(http.post(PREDICT, files={"file": image}, data={"conf": "0.4"}))

    assert ["can", "box"] == [found["name"] for found in default]
    assert ["can"] == [found["name"] for found in strict]
    assert default == edge


@pytest.mark.parametrize(
    ("decimals", "expected"), [("0", 36.0), ("2", 36.12), (None, 36.12346), ("10", 36.123456789)]
)
def test_decimals(http, image, decimals, expected):
    """Coordinates are rounded as asked, to five places by default."""
    data = {} if decimals is None else {"decimals": decimals}
    found = results(http.post(PREDICT, files={"file": image}, data=data))

    assert expected == found[1]["box"]["y2"]


def test_normalize(http, image):
    """Normalized boxes are shares of width and height."""
    found = results(http.post(PREDICT, files={"file": image}, data={"normalize": "true"}))

    assert {"x1": 0.125, "y1": 0.25, "x2": 0.375, "y2": 0.75257} == found[1]["box"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_the_detector_sees_the_pixels(kind):
    """The detector gets the decoded image: its size, RGB, its grey."""
    seen = []

    def watch(frame):
        seen.append(frame)
        return two_boxes(frame)

    with LocalPlatform(deployments=["line-3"], detector=watch) as local, client_of(local) as http:
        reply = http.post(PREDICT, files={"file": encoded(30, 50, kind=kind, grey=90)})

    assert [30, 50] == reply.json()["images"][0]["shape"]
    assert ((30, 50, 3), np.uint8) == (seen[0].shape, seen[0].dtype)
    # Lossy formats may be a grey level off.
    assert abs(seen[0].astype(int) - 90).max() <= 1


def test_exif_is_applied(http):
    """A picture taken with the camera turned comes out upright."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to show"
    Image.new("RGB", (60, 20)).save(buffer, "JPEG", exif=exif)
    reply = http.post(PREDICT, files={"file": buffer.getvalue()})

    assert [60, 20] == reply.json()["images"][0]["shape"]


def test_default_detector_finds_shapes():
    """Without a detector it finds the shapes that `Scenes` draws."""
    frame = Scenes(seed=7).frame(3)
    buffer = io.BytesIO()
    Image.fromarray(frame.image).save(buffer, "PNG")
    with LocalPlatform(deployments=["line-3"]) as local, client_of(local) as http:
        found = results(http.post(PREDICT, files={"file": buffer.getvalue()}))

    assert len(frame.truth) == len(found)


def test_source(http):
    """An image may come as base64, as a data URI as well; URLs are not opened."""
    small = base64.b64encode(encoded(4, 4)).decode()
    good = [
        http.post(PREDICT, files={"source": (None, text)})
        for text in (small, f"data:image/png;base64,{small}")
    ]
    bad = [
        http.post(PREDICT, files={"source": (None, text)})
        for text in ("", "https://example.org/a.png", "no base64!", "A" * 5000)
    ]

    assert [200, 200] == [reply.status_code for reply in good]
    assert [400] * 4 == [reply.status_code for reply in bad]


@pytest.mark.parametrize(
    ("name", "fine", "wrong"),
    [
        ("conf", ["0.01", "1"], ["0", "0.009", "1.1", "-1", "nan", "inf", "high", ""]),
        ("iou", ["0", "0.95"], ["-0.1", "0.96", "1"]),
        ("imgsz", ["32", "1280"], ["31", "1281", "640.5"]),
        ("decimals", ["0", "10"], ["-1", "11", "2.5"]),
        ("normalize", ["true", "false"], ["yes", "1", "True"]),
        ("bits", ["8", "12", "16"], ["10"]),
        ("vid_stride", ["1"], ["0"]),
    ],
)
def test_ranges(image, name, fine, wrong):
    """Each setting has the contract's range, ends included."""
    with (
        LocalPlatform(deployments=["line-3"], detector=two_boxes, rate_limits=None) as local,
        client_of(local) as http,
    ):
        for value in fine:
            reply = http.post(PREDICT, files={"file": image}, data={name: value})
            assert 200 == reply.status_code, value
        for value in wrong:
            reply = http.post(PREDICT, files={"file": image}, data={name: value})
            assert (400, True) == (reply.status_code, name in reply.json()["error"]), value


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\xff\xd8\xff\xe0 cut", encoded()[:-30], encoded(kind="JPEG")[:200]],
)
def test_no_image(http, content):
    """What is not a whole image is a 400."""
    reply = http.post(PREDICT, files={"file": content})

    assert 400 == reply.status_code, reply.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b\r\nno name\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"'),
    ],
)
def test_no_form(http, kind, body):
    """A body that is no such form is a 400."""
    reply = http.post(PREDICT, content=body, headers={"Content-Type": kind})

    assert 400 == reply.status_code


def test_detector_that_fails(image):
    """A detector that raises is a 500 with its words, and a line in the log."""

    def broken(_frame):
        raise ZeroDivisionError("no scale")

    with LocalPlatform(deployments=["line-3"], detector=broken) as local, client_of(local) as http:
        reply = http.post(PREDICT, files={"file": image})
        (line,) = http.get(f"{LINE}/logs", params={"severity": "CRITICAL"}).json()["entries"]

    assert 500 == reply.status_code
    assert "ZeroDivisionError: no scale" in reply.json()["error"]
    assert "no scale" in line["message"]


def test_without_pillow(http, image, monkeypatch):
    """Where Pillow is missing, the reply names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    reply = http.post(PREDICT, files={"file": image})

    assert 500 == reply.status_code
    assert "driftline[testing]" in reply.json()["error"]


def test_scripted_failures(local, http, image):
    """A share of the real predictions fails as scripted, in metrics as well."""
    local.deployment("line-3").behave(error_rate=0.5)
    local._world.limiter._limits = None
    statuses = [http.post(PREDICT, files={"file": image}).status_code for _ in range(100)]
    local.clock.advance(timedelta(minutes=5))
    summary = http.get(f"{LINE}/metrics", params={"range": "1h"}).json()["summary"]

    # Binomial(100, 0.5): five standard deviations are 25.
    assert 25 <= statuses.count(503) <= 75
    assert {200, 503} == set(statuses)
    assert statuses.count(503) == summary["errorCount"]


def test_own_address(local, http, image):
    """The endpoint's own address has no limit, wants the key, and counts as traffic."""
    service = http.get(LINE).json()["deployment"]["serviceUrl"]
    replies = [http.post(f"{service}/predict", files={"file": image}) for _ in range(30)]
    stranger = httpx.post(f"{service}/predict", files={"file": image}, timeout=60)
    absent = http.post(f"{local.url}/service/nowhere/predict", files={"file": image})
    local.clock.advance(timedelta(minutes=5))
    summary = http.get(f"{LINE}/metrics").json()["summary"]

    assert {200} == {reply.status_code for reply in replies}
    assert (401, 404) == (stranger.status_code, absent.status_code)
    assert (31, 1) == (summary["totalRequests"], summary["errorCount"])


def test_many_at_once(image):
    """Requests of many threads all get their own answer, and all are counted."""
    grey = [encoded(10 + i, 20) for i in range(40)]
    with (
        LocalPlatform(deployments=["line-3"], detector=two_boxes, rate_limits=None) as local,
        client_of(local) as http,
        ThreadPoolExecutor(16) as pool,
    ):
        replies = list(pool.map(lambda file: http.post(PREDICT, files={"file": file}), grey))
        counted = len(local.calls)

    assert [10 + i for i in range(40)] == [r.json()["images"][0]["shape"][0] for r in replies]
    assert 40 == counted


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), max_size=400),
    st.floats(0.01, 1),
    st.booleans(),
)
def test_results_of(found, conf, normalize):
    """At or above the threshold, falling confidence, at most 300; a box stays a box."""
    n = len(found)
    detections = Detections(
        xyxy=np.tile([10.0, 20.0, 30.0, 60.0], (n, 1)),
        confidence=[confidence for confidence, _ in found],
        class_id=[class_id for _, class_id in found],
        image_size=(100, 200),
        class_names={0: "box"},
    )
    written = results_of(detections, Options(conf=conf, normalize=normalize, decimals=10))
    kept = sorted((c for c, _ in found if c >= conf), reverse=True)[:300]

    assert pytest.approx(kept, abs=1e-9) == [result["confidence"] for result in written]
    box = [0.05, 0.2, 0.15, 0.6] if normalize else [10, 20, 30, 60]
    assert all(box == list(result["box"].values()) for result in written)
    assert all(("box" if r["class"] == 0 else str(r["class"])) == r["name"] for r in written)
