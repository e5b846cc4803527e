"""A profile straight from COCO-style JSON."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftline import Detections, ProfileBuilder
from driftline.errors import DriftlineError, InputError, UnreadableData
from driftline.profiles import from_coco
from driftline.records import Context

CATEGORIES = [{"id": 3, "name": "bolt"}, {"id": 7, "name": "nut"}]


def week(images=40, boxes=120, seed=3):
    """A dataset and its results: three cameras, a week, some images without a box."""
    rng = np.random.default_rng(seed)
    listed = [
        {
            "id": f"frame-{k}",
            "file_name": f"cam-{k % 3}/{k}.jpg",
            "width": 640,
            "height": 480,
            "date_captured": f"2026-01-{5 + k % 7:02d} 10:00:00",
        }
        for k in range(images)
    ]
    results = [
        {
            "image_id": f"frame-{rng.integers(images // 2)}",
            "category_id": int(rng.choice([3, 7])),
            "bbox": [float(v) for v in rng.uniform(10, 200, size=4)],
            "score": float(rng.uniform(0.25, 1)),
        }
        for _ in range(boxes)
    ]
    return {"images": listed, "categories": CATEGORIES}, results


def test_counts():
    """It counts what a builder counts of the same images."""
    dataset, results = week()
    builder = ProfileBuilder(context=Context(class_names={3: "bolt", 7: "nut"}))
    for image in dataset["images"]:
        builder.observe(
            Detections.from_coco(
                [row for row in results if row["image_id"] == image["id"]],
                image_size=(480, 640),
                categories=CATEGORIES,
            ),
            camera=image["file_name"].split("/")[0],
            at=datetime.fromisoformat(image["date_captured"]).replace(tzinfo=UTC),
        )

    profile = from_coco(dataset, results)

    assert builder.profile() == profile
    assert (40, 120) == (profile.frames, profile.boxes)
    assert {3: "bolt", 7: "nut"} == profile.class_names


def test_files(tmp_path):
    """Files and objects give the same profile, with the results beside the images or among them."""
    dataset, results = week()
    (tmp_path / "images.json").write_text(json.dumps(dataset), encoding="utf-8")
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")

    from_files = from_coco(tmp_path / "images.json", str(tmp_path / "results.json"))

    assert from_coco(dataset, results) == from_files
    assert from_coco({**dataset, "annotations": results}) == from_files


def test_byte_order_mark(tmp_path):
    """The mark that Windows writes first is no content."""
    dataset, results = week()
    for name, content in (("images.json", dataset), ("results.json", results)):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8-sig")

    from_files = from_coco(tmp_path / "images.json", tmp_path / "results.json")

    assert from_coco(dataset, results) == from_files


def test_gzipped(tmp_path):
    """Gzipped files are read, and half ones refused."""
    dataset, results = week()
    packed = gzip.compress(json.dumps(dataset).encode("utf-8-sig"))
    (tmp_path / "images.json.gz").write_bytes(packed)
    (tmp_path / "half.json.gz").write_bytes(packed[:-20])

    assert from_coco(dataset, results) == from_coco(tmp_path / "images.json.gz", results)
    with pytest.raises(UnreadableData, match=r"half.json.gz' is no whole gzip file"):
        from_coco(tmp_path / "half.json.gz", results)


def test_cameras_and_times():
    """Cameras and times come from wherever the user keeps them."""
    dataset, results = week()
    profile = from_coco(
        dataset,
        results,
        camera=lambda image: "gate",
        at=lambda image: datetime(2026, 3, 1, tzinfo=UTC),
        period=timedelta(hours=1),
    )

    assert ["gate"] == list(profile.cameras)
    assert 1 == len(profile.periods)


def test_labels():
    """Labels count with the confidence that the user gives them, and crowds do not count."""
    dataset, results = week(boxes=10)
    labels = [{k: v for k, v in row.items() if k != "score"} for row in results]
    labels[0]["iscrowd"] = 1
    with pytest.raises(InputError, match=r"no score.*confidence=1.0"):
        from_coco({**dataset, "annotations": labels})
    assert 9 == from_coco({**dataset, "annotations": labels}, confidence=1.0).boxes


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda d, r: d["images"][0].pop("date_captured"), InputError, "frame-0.*pass at="),
        (lambda d, r: d["images"][0].update(date_captured="soon"), InputError, "'soon'"),
        (
            lambda d, r: d["images"][0].update(date_captured="0001-01-01T00:00:00+14:00"),
            InputError,
            "outside the years",
        ),
        (lambda d, r: d["images"][0].pop("width"), UnreadableData, "width"),
        (lambda d, r: d["images"][1].update(id="frame-0"), UnreadableData, "share an id"),
        (lambda d, r: d.pop("images"), UnreadableData, "'images' is no list"),
        (lambda d, r: r[0].update(image_id="frame-x"), InputError, "frame-x.*not among the 40"),
        (
            lambda d, r: [
                x.update(id=n) or r[0].update(image_id=str(n)) for n, x in enumerate(d["images"])
            ],
            InputError,
            "'39'.*it is, but not as str: let both files write ids alike",
        ),
        (lambda d, r: r[0].update(category_id="car"), InputError, "category_id 'car' is a text"),
        (lambda d, r: r[2].pop("image_id"), UnreadableData, "box 2 has no image_id"),
        (lambda d, r: r[0].pop("bbox"), InputError, "neither bbox nor polygons"),
        (
            lambda d, r: r[0].update(bbox=[1, 2, 3]),
            InputError,
            r"four numbers each, got \[1, 2, 3\]",
        ),
        (lambda d, r: r[0].update(bbox="wide"), InputError, "four numbers each, got 'wide'"),
        (lambda d, r: [x.update(bbox=x["bbox"][:3]) for x in r], InputError, "four numbers each"),
        (lambda d, r: r[0].update(score=float("nan")), InputError, "confidence"),
        (lambda d, r: r.append("box"), UnreadableData, "no list of records"),
        (lambda d, r: d.update(categories=[{"id": 1}]), UnreadableData, "name"),
        (
            lambda d, r: d.update(categories=[{"id": "x", "name": "y"}]),
            UnreadableData,
            "COCO's form",
        ),
        (lambda d, r: d.update(categories=7), UnreadableData, "COCO's form"),
        (lambda d, r: d["images"][3].update(width="wide"), DriftlineError, "wide"),
    ],
)
def test_wrong(change, error, says):
    """What is wrong is named, with the next step."""
    dataset, results = week()
    change(dataset, results)
    with pytest.raises(error, match=says):
        from_coco(dataset, results)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"7"])
def test_no_dataset(tmp_path, content):
    """A file that is no dataset is refused by name."""
    file = tmp_path / "images.json"
    file.write_bytes(content)
    with pytest.raises(UnreadableData, match=r"images\.json|COCO dataset"):
        from_coco(file)


def test_no_file(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.json"):
        from_coco(tmp_path / "nowhere.json")
