"""Frames go to people and come back: what they get, what is understood, what is counted."""

import csv
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from driftline.errors import (
    ContextMismatch,
    DriftlineError,
    InputError,
    TooLittleData,
    UnreadableData,
)
from driftline.holdout import Truth
from driftline.profiles import SampledFrame
from driftline.records import Detections
from driftline.retrain import Edits, Review, ReviewBatch, ReviewFrame, Selection
from driftline.retrain._review_edits import edits_of

MONDAY = datetime(2026, 11, 2, 8, tzinfo=UTC)
NAMES = {0: "circle", 1: "square", 2: "triangle"}
SIZE = (48, 64)


def boxes(*rows):
    """Detections of rows: class, left, top, right, bottom."""
    return Detections(
        xyxy=[row[1:] for row in rows],
        confidence=[0.9] * len(rows),
        class_id=[row[0] for row in rows],
        image_size=SIZE,
    )


def picture(path, number):
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def frames(tmp_path):
    """Four frames: two boxes, one, none, one; the second and the fourth are random."""
    proposed = [
        boxes((0, 5, 5, 20, 20), (1, 30, 10, 50, 40)),
        boxes((2, 1, 1, 9, 9)),
        boxes(),
        boxes((0, 2, 2, 30, 30)),
    ]
    (tmp_path / "in").mkdir()
    return [
        ReviewFrame(
            image=picture(tmp_path / "in" / f"{number}.png", number),
            proposal=one,
            camera="hall 3/north",
            at=MONDAY + timedelta(minutes=number),
            score=4.0 - number,
            probability=0.25 if number % 2 else None,
        )
        for number, one in enumerate(proposed)
    ]


@pytest.fixture
def batch(tmp_path, frames):
    return ReviewBatch.write(tmp_path / "batch", frames, NAMES)


def tick(batch, *places, word="yes", folder=None):
    """Tick frames off in the list, as a spreadsheet would."""
    path = (folder or batch.folder) / "review.csv"
    rows = [*csv.reader(path.read_text().splitlines())]
    for place in places:
        rows[place + 1][-1] = word
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def label(batch, place, text):
    (batch.folder / "labels" / batch.files[place]).with_suffix(".txt").write_text(text)


# What people get ----------------------------------------------------------------------------


def test_the_order_of_the_queue_is_the_order_of_the_files(batch):
    """Names begin with the rank, and say camera and time."""
    assert [*batch.files] == sorted(path.name for path in (batch.folder / "images").iterdir())
    assert "00001-hall_3_north-20261102T080000Z.png" == batch.files[0]
    assert [4.0, 3.0, 2.0, 1.0] == [one.score for one in batch.frames]


@pytest.mark.parametrize("camera", ['=HYPERLINK("http://x","y")', "+1", "-2+3", "@SUM(A1)", "\t=1"])
def test_no_formula_in_the_list(tmp_path, frames, camera):
    """The name of a camera is no formula when a spreadsheet opens the list."""
    made = ReviewBatch.write(tmp_path / "b", [evolve(one, camera=camera) for one in frames], NAMES)
    rows = [*csv.DictReader((made.folder / "review.csv").read_text().splitlines())]

    assert {f"'{camera}"} == {row["camera"] for row in rows}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_the_list_tells_why_a_frame_is_there(batch):
    """Rank, file, camera, time, score, chosen or random, boxes; nothing is ticked off."""
    rows = [*csv.DictReader((batch.folder / "review.csv").read_text().splitlines())]

    assert ["chosen", "random", "chosen", "random"] == [row["why"] for row in rows]
    assert ["2", "1", "0", "1"] == [row["proposed_boxes"] for row in rows]
    assert {""} == {row["reviewed"] for row in rows}
    assert "2026-11-02T08:00:00+00:00" == rows[0]["taken_at"]


def test_it_opens_as_it_was_written(batch):
    """Frames, proposals, probabilities; ids are the digests of the pictures."""
    again = ReviewBatch.open(batch.folder)

    assert batch.files == again.files
    for one, two in zip(batch.frames, again.frames, strict=True):
        assert (one.id, one.camera, one.at, one.probability) == (
            two.id,
            two.camera,
            two.at,
            two.probability,
        )
        assert one.proposal.xyxy.tolist() == two.proposal.xyxy.tolist()
        assert 64 == len(one.id)
    assert "ReviewBatch(4 frames in" in repr(again)


def test_writing_again_keeps_what_people_did(batch, frames):
    """A step that is repeated finds its folder; another batch does not go into it."""
    label(batch, 0, "")
    again = ReviewBatch.write(batch.folder, frames, NAMES)

    assert 1 == again.read().progress.reviewed
    with pytest.raises(InputError, match="something else"):
        ReviewBatch.write(batch.folder, frames[:2], NAMES)


def test_a_batch_is_written_whole_or_not_at_all(tmp_path, frames):
    """A picture that does not open leaves nothing behind."""
    (tmp_path / "in" / "3.png").write_bytes(b"no picture")

    with pytest.raises(UnreadableData, match=r"3\.png|00004"):
        ReviewBatch.write(tmp_path / "batch", frames, NAMES)
    assert ["in"] == [path.name for path in tmp_path.iterdir()]


def test_proposals_are_cut_off_at_the_frame(tmp_path, frames):
    """Boxes that reach out are cut, boxes outside or without extent are left out."""
    wild = boxes((0, -10, -10, 20, 20), (1, 70, 50, 80, 60), (2, 5, 5, 5, 9))
    one = ReviewFrame(image=frames[0].image, proposal=wild, camera="c", at=MONDAY)
    made = ReviewBatch.write(tmp_path / "batch", [one], NAMES)

    assert [[0, 0, 20, 20]] == made.frames[0].proposal.xyxy.tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"proposal": boxes((7, 1, 1, 5, 5))}, "class 7"),
        ({"proposal": Detections(xyxy=[], confidence=[], class_id=[], image_size=(9, 9))}, "px"),
    ],
)
def test_a_proposal_that_does_not_fit_is_refused(tmp_path, frames, change, says):
    """A class without a name; boxes of a picture of another size."""
    given = {"image": frames[0].image, "proposal": boxes(), "camera": "c", "at": MONDAY, **change}

    with pytest.raises(DriftlineError, match=says):
        ReviewBatch.write(tmp_path / "batch", [ReviewFrame(**given)], NAMES)


def test_one_picture_is_reviewed_once(tmp_path, frames):
    """Two frames of one content are one picture."""
    shutil.copyfile(frames[0].image, frames[1].image)
    twice = [
        ReviewFrame(image=one.image, proposal=boxes(), camera="c", at=MONDAY) for one in frames
    ]

    with pytest.raises(InputError, match="one picture"):
        ReviewBatch.write(tmp_path / "batch", twice, NAMES)


def test_a_selection_becomes_a_batch(tmp_path, frames):
    """Random frames bring their probability; what was found in production is proposed."""
    sampled = [
        SampledFrame(
            frame=str(one.image),
            camera=one.camera,
            at=one.at,
            detections=one.proposal,
            score=one.score,
            source="uniform" if one.probability else "uncertain",
            inclusion_probability=one.probability,
        )
        for one in frames
    ]
    selection = Selection.of(sampled, budget=4, random_share=0.5, gap=timedelta(0))
    batch = ReviewBatch.write(
        tmp_path / "batch",
        [ReviewFrame.of(one, image=one.frame) for one in selection.frames],
        NAMES,
    )

    assert {None, 0.25} == {one.probability for one in batch.frames}
    assert sorted(one.id for one in frames) == sorted(one.id for one in batch.frames)


# What comes back ----------------------------------------------------------------------------


def test_nothing_is_reviewed_before_somebody_looked(batch):
    """Proposals are no labels."""
    review = batch.read()

    assert (0, 4, batch.files) == (
        review.progress.reviewed,
        review.progress.of,
        review.progress.missing,
    )
    assert {"circle": 2, "square": 1, "triangle": 1} == review.progress.unreviewed
    assert () == review.chosen + review.random
    assert f"next: {batch.files[0]} and 3 more" in str(review)


def test_a_changed_label_file_is_a_reviewed_frame(batch):
    """Moved, added, removed; an empty file says that nothing is there."""
    label(batch, 0, "0 0.2 0.27 0.25 0.31\n1 0.625 0.52 0.31 0.62\n2 0.9 0.9 0.1 0.1\n")
    label(batch, 1, "")
    progress = batch.read().progress

    assert (2, 1, 2) == (progress.reviewed, progress.random_reviewed, progress.random_of)
    assert {
        "circle": Edits(kept=1),
        "square": Edits(kept=1),
        "triangle": Edits(removed=1, added=1),
    } == progress.by_class
    assert (3, 3) == (progress.edits.proposed, progress.edits.labelled)
    assert 0.5 == progress.edits.agreement
    assert Edits(removed=1) == progress.random_edits


def test_a_frame_left_as_it_was_counts_when_ticked_off(batch):
    """Also one where nothing was proposed and nothing is: an empty frame that is confirmed."""
    tick(batch, 2, 3)
    review = batch.read()

    assert {batch.files[2], batch.files[3]} == set(review.labels)
    assert [0] == [len(one.truth) for one in review.chosen]
    assert {"circle": Edits(kept=1)} == review.progress.by_class


@pytest.mark.parametrize("word", ["yes", "X", " y ", "1", "TRUE"])
def test_ways_to_say_yes(batch, word):
    """As people write it."""
    tick(batch, 0, word=word)

    assert 1 == batch.read().progress.reviewed


def test_a_label_file_that_is_gone_is_no_empty_one(batch):
    """Nobody said that the picture is empty."""
    (batch.folder / "labels" / batch.files[0]).with_suffix(".txt").unlink()
    tick(batch, 0, 1)

    assert (batch.files[1],) == tuple(batch.read().labels)


def test_what_is_trained_on_and_what_is_evaluated_on(batch):
    """Chosen frames carry no weight; random ones the inverse of their probability."""
    review = batch.read(whole=True)

    assert ["selected"] * 2 == [one.chosen for one in review.chosen]
    assert ["random"] * 2 == [one.chosen for one in review.random]
    assert [4.0, 4.0] == [one.weight for one in review.random]
    assert {"camera": "hall 3/north", "day": "2026-11-02"} == review.random[0].tags
    assert review.progress.complete


def test_the_recent_set_needs_every_random_frame(batch):
    """The ones that people did first need not be like the others."""
    tick(batch, 0, 1)
    with pytest.raises(TooLittleData, match="1 of 2"):
        batch.read().recent(at=MONDAY)
    tick(batch, 3)
    recent = batch.read().recent(at=MONDAY)

    assert (2, 2) == (len(recent), len(recent.recent))
    assert {0.25} == {one.probability for one in recent.provenance.values()}
    assert {one.id for one in recent} == {batch.frames[1].id, batch.frames[3].id}


def test_progress_is_seen_at_a_glance(batch):
    """In a notebook, by class."""
    waiting = batch.read()._repr_html_()
    label(batch, 0, "")
    some = batch.read()
    done = batch.read(whole=True).progress._repr_html_()

    assert "waits for people" in waiting
    assert "<th" in waiting
    assert "1 of 4 frames reviewed" in repr(some.progress)
    assert "complete" in done
    assert ">circle</td>" in done


def test_labels_from_code(batch):
    """What a notebook or a tool of one's own found, ticked off at once."""
    batch.label(batch.frames[0].id, boxes((2, 1, 1, 9, 9)))
    batch.label(batch.frames[2].id, boxes())
    review = batch.read()

    assert {batch.files[0], batch.files[2]} == set(review.labels)
    assert [2] == review.labels[batch.files[0]].class_id.tolist()
    with pytest.raises(InputError, match="no frame 'x'"):
        batch.label("x", boxes())


# From other tools ---------------------------------------------------------------------------


def test_coco_json_comes_back(batch, tmp_path):
    """With categories in another order, a frame without annotations, and a frame left out."""
    content = json.loads((batch.folder / "annotations.json").read_text())
    content["categories"] = [
        {"id": 5, "name": "triangle"},
        {"id": 9, "name": "circle"},
        {"id": 11, "name": "square"},
    ]
    of_name = {1: 9, 2: 11, 3: 5}
    content["annotations"] = [
        {**one, "category_id": of_name[one["category_id"]]} for one in content["annotations"][:2]
    ]
    content["images"] = content["images"][:3]
    exported = tmp_path / "export.json"
    exported.write_text(json.dumps(content))
    review = batch.read(exported, whole=True)

    assert batch.files[:3] == tuple(review.labels)
    assert [0, 1] == review.labels[batch.files[0]].class_id.tolist()
    assert {
        "circle": Edits(kept=1),
        "square": Edits(kept=1),
        "triangle": Edits(removed=1),
    } == review.progress.by_class


def test_a_yolo_export_comes_back(batch, tmp_path):
    """With its own data YAML, which numbers the classes otherwise, and labels in a split."""
    out = tmp_path / "export"
    (out / "labels" / "train").mkdir(parents=True)
    (out / "data.yaml").write_text("names: [triangle, circle, square]\ntrain: images/train\n")
    (out / "train.txt").write_text("data/images/train/0.png\n")
    stem = Path(batch.files[0]).stem
    (out / "labels" / "train" / f"{stem}.txt").write_text("1 0.2 0.27 0.25 0.31\n")
    (out / "labels" / "classes.txt").write_text("triangle\ncircle\nsquare\n")
    review = batch.read(out, whole=True)

    assert {batch.files[0]: [0]} == {
        name: one.class_id.tolist() for name, one in review.labels.items()
    }
    assert {"circle": Edits(kept=1), "square": Edits(removed=1)} == review.progress.by_class


def test_a_label_studio_export_comes_back(batch, tmp_path):
    """Classes sorted by name, in a list; digits before the name of each file."""
    out = tmp_path / "export"
    (out / "labels").mkdir(parents=True)
    (out / "classes.txt").write_text("square\ntriangle\ncircle\n")
    stem = Path(batch.files[1]).stem
    (out / "labels" / f"3f2a1b2c-{stem}.txt").write_text("1 0.078125 0.104167 0.125 0.166667\n")
    content = json.loads((batch.folder / "annotations.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"images\\3f2a1b2c-{image['file_name']}"
    (tmp_path / "result.json").write_text(json.dumps(content))

    assert {"triangle": Edits(kept=1)} == batch.read(out, whole=True).progress.by_class
    assert 4 == batch.read(tmp_path / "result.json", whole=True).progress.edits.kept


def test_a_cvat_export_comes_back(batch, tmp_path):
    """Its YOLO 1.1: a list of names, a folder of labels of its own."""
    out = tmp_path / "export"
    (out / "obj_train_data").mkdir(parents=True)
    (out / "obj.names").write_text("triangle\r\nsquare\r\ncircle\r\n")
    (out / "train.txt").write_text("data/obj_train_data/a.png\n")
    for name in batch.files[1:3]:
        (out / "obj_train_data" / name).with_suffix(".txt").write_text("")
    (out / "obj_train_data" / batch.files[1]).with_suffix(".txt").write_text(
        "0 0.078125 0.104167 0.125 0.166667\n"
    )
    review = batch.read(out, whole=True)

    assert batch.files[1:3] == tuple(review.labels)
    assert {"triangle": Edits(kept=1)} == review.progress.by_class


def test_classes_that_a_tool_renumbered_in_place(batch):
    """Some labels are by the old numbers and some by the new: nobody can tell which."""
    (batch.folder / "labels" / "classes.txt").write_text("square\ncircle\ntriangle\n")

    with pytest.raises(ContextMismatch, match="start labelImg"):
        batch.read()


def test_a_copy_that_was_ticked_off_comes_back(batch, tmp_path):
    """The folder was sent away, worked in, and sent back."""
    shutil.copytree(batch.folder, tmp_path / "copy")
    tick(batch, 0, 1, folder=tmp_path / "copy")

    assert 0 == batch.read().progress.reviewed
    assert 2 == batch.read(tmp_path / "copy").progress.reviewed


def test_pycocotools_reads_it(batch, capsys):
    """The reference implementation: images by rank, boxes by class."""
    coco = pytest.importorskip("pycocotools.coco").COCO(batch.folder / "annotations.json")
    capsys.readouterr()

    assert [*batch.files] == [coco.imgs[k]["file_name"] for k in sorted(coco.imgs)]
    assert ["circle", "square", "triangle"] == [coco.cats[k]["name"] for k in sorted(coco.cats)]
    assert [5.0, 5.0, 15.0, 15.0] == coco.loadAnns(coco.getAnnIds(imgIds=[1]))[0]["bbox"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_supervision_reads_both(batch):
    """A tool of the field's own reads the folder and the JSON, with the same boxes."""
    sv = pytest.importorskip("supervision")
    images, labels = batch.folder / "images", batch.folder / "labels"
    yolo = sv.DetectionDataset.from_yolo(str(images), str(labels), str(batch.folder / "data.yaml"))
    coco = sv.DetectionDataset.from_coco(str(images), str(batch.folder / "annotations.json"))

    assert ["circle", "square", "triangle"] == [*yolo.classes]
    for name, frame in zip(batch.files, batch.frames, strict=True):
        for dataset in (yolo, coco):
            found = dataset.annotations[str(images / name)]
            assert np.abs(found.xyxy - frame.proposal.xyxy).max(initial=0.0) < 1.0  # whole pixels
            assert frame.proposal.class_id.tolist() == found.class_id.tolist()


# Hostile input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 0.5 0.5 0.1 0.1\n0 0.5 0.5\n", "line 2 has 3 values"),
        ("0 0.5 0.5 0.1 0.1\n\ncircle 0 0 0 0\n", "line 3 is no row of numbers"),
        ("9 0.5 0.5 0.1 0.1\n", "class 9"),
        ("0 320 240 40 40\n", "pixels"),
        ("0 nan 0.5 0.1 0.1\n", "line 1"),
    ],
)
def test_a_label_that_is_none_is_told_by_file_and_line(batch, text, says):
    """All faults at once."""
    label(batch, 0, text)
    label(batch, 1, "x\n")
    with pytest.raises(UnreadableData, match=says) as caught:
        batch.read()

    assert f"labels/{Path(batch.files[0]).stem}.txt" in str(caught.value)
    assert "2 faults" in str(caught.value)


def test_labels_of_a_strange_frame(batch):
    """A file that no picture of the batch stands for."""
    (batch.folder / "labels" / "holiday.txt").write_text("")

    with pytest.raises(UnreadableData, match=r"labels/holiday\.txt: labels of a frame"):
        batch.read()


def test_two_label_files_of_one_frame(batch):
    """Which of them is meant?"""
    (batch.folder / "labels" / "again").mkdir()
    stem = Path(batch.files[0]).stem
    (batch.folder / "labels" / "again" / f"{stem}.txt").write_text("")

    with pytest.raises(UnreadableData, match="a second file"):
        batch.read()


def test_a_list_that_says_maybe(batch):
    """By file and line."""
    tick(batch, 2, word="maybe")

    with pytest.raises(UnreadableData, match=r"review\.csv: line 4: reviewed='maybe'"):
        batch.read()


def test_a_list_of_another_batch(batch):
    """A row of a frame that is not here."""
    path = batch.folder / "review.csv"
    path.write_text(path.read_text() + "9,other.png,c,,,chosen,0,yes\n")

    with pytest.raises(UnreadableData, match=r"line 6: no frame 'other\.png'"):
        batch.read()


def test_a_class_nobody_knows(batch, tmp_path):
    """A label of a class that this batch does not have says so by name; a class without any may be."""
    content = json.loads((batch.folder / "annotations.json").read_text())
    content["categories"].append({"id": 77, "name": "zebra"})
    (tmp_path / "export.json").write_text(json.dumps(content))
    assert 4 == batch.read(tmp_path / "export.json", whole=True).progress.reviewed

    content["annotations"][0]["category_id"] = 77
    (tmp_path / "export.json").write_text(json.dumps(content))
    with pytest.raises(
        ContextMismatch, match=rf"export\.json: image {batch.files[0]} has a 'zebra'"
    ):
        batch.read(tmp_path / "export.json")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "x.png"])
def test_a_coco_file_that_leads_elsewhere(batch, tmp_path, name):
    """Names lead to pictures of the batch, or nowhere."""
    content = json.loads((batch.folder / "annotations.json").read_text())
    content["images"][0]["file_name"] = name
    (tmp_path / "export.json").write_text(json.dumps(content))

    with pytest.raises((InputError, UnreadableData)):
        batch.read(tmp_path / "export.json")


def test_an_image_listed_twice(batch, tmp_path):
    """Which of the two is meant?"""
    content = json.loads((batch.folder / "annotations.json").read_text())
    content["images"][1]["file_name"] = f"copy/{batch.files[0]}"
    (tmp_path / "export.json").write_text(json.dumps(content))

    with pytest.raises(UnreadableData, match="is listed twice"):
        batch.read(tmp_path / "export.json")


@pytest.mark.parametrize("source", ["nothing", "nothing.json"])
def test_a_source_that_is_not_there(batch, tmp_path, source):
    """Not an empty review."""
    with pytest.raises(InputError, match="nothing"):
        batch.read(tmp_path / source)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("frames"),
        lambda m: m.update(schema="driftline.review/9"),
        lambda m: m["frames"][0].update(file="../x.png"),
        lambda m: m["frames"][0].update(xyxy=[[1, 2]]),
        lambda m: m["frames"][0].update(at="yesterday"),
    ],
)
def test_a_manifest_that_is_none(batch, change):
    """An error of ours, whatever it holds."""
    path = batch.folder / "driftline-review.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

    with pytest.raises((UnreadableData, InputError)):
        ReviewBatch.open(batch.folder)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.one_of(st.text(max_size=80), st.text("0123456789.- e\n", max_size=80)))
def test_any_label_file_is_read_or_refused(batch, text):
    """With an error of ours."""
    (batch.folder / "labels" / batch.files[0]).with_suffix(".txt").write_text(
        text, encoding="utf-8"
    )
    try:
        review = batch.read()
    except DriftlineError:
        return

    assert isinstance(review, Review)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.one_of(st.text(max_size=80), st.text('0123456789,;"yesno\n', max_size=80)))
def test_any_list_is_read_or_refused(batch, text):
    """With an error of ours."""
    (batch.folder / "review.csv").write_text("rank,file,reviewed\n" + text, encoding="utf-8")
    try:
        review = batch.read()
    except DriftlineError:
        return

    assert 0 == review.progress.reviewed


# The laws -----------------------------------------------------------------------------------

rectangles = st.tuples(
    st.integers(0, 2), st.floats(0, 40), st.floats(0, 30), st.floats(2, 20), st.floats(2, 15)
).map(lambda r: (r[0], r[1], r[2], r[1] + r[3], r[2] + r[4]))
found = st.lists(rectangles, max_size=6, unique=True).map(lambda rows: boxes(*rows))


@settings(max_examples=30, deadline=None)
@given(proposed=found, truth=found)
def test_what_goes_out_comes_back(tmp_path_factory, proposed, truth):
    """Labels by way of YOLO files and of COCO JSON, to a thousandth of a pixel."""
    root = tmp_path_factory.mktemp("trip")
    one = ReviewFrame(image=picture(root / "a.png", 1), proposal=proposed, camera="c", at=MONDAY)
    batch = ReviewBatch.write(root / "batch", [one], NAMES)
    by_json = batch.read(batch.folder / "annotations.json", whole=True).labels[batch.files[0]]
    batch.label(one.id, truth)
    by_file = batch.read().labels[batch.files[0]]

    for given_, back in ((proposed, by_json), (truth, by_file)):
        assert given_.class_id.tolist() == back.class_id.tolist()
        assert np.abs(given_.xyxy - back.xyxy).max(initial=0.0) < 1e-3


@settings(deadline=None)
@given(proposed=found, truth=found)
def test_every_box_is_counted_once(proposed, truth):
    """Proposed ones are kept, moved, renamed or removed; objects are among these or added."""
    labels = Truth(xyxy=truth.xyxy, class_id=truth.class_id, image_size=SIZE)
    edits = sum(edits_of(proposed, labels).values(), Edits())

    assert len(proposed) == edits.proposed
    assert len(truth) == edits.labelled


@settings(deadline=None)
@given(proposed=found)
def test_who_changes_nothing_agrees(proposed):
    """Every box is kept, however they overlap."""
    labels = Truth(xyxy=proposed.xyxy, class_id=proposed.class_id, image_size=SIZE)
    edits = sum(edits_of(proposed, labels).values(), Edits())

    assert edits.agreement == (1.0 if len(proposed) else None)
    assert not edits.any


def test_moved_and_renamed():
    """Half a box away it is the same object; of another class it is renamed; farther it is new."""
    proposed = boxes((0, 0, 0, 20, 20), (1, 30, 0, 50, 20), (2, 0, 30, 10, 40))
    labels = Truth(
        xyxy=[[4, 0, 24, 20], [30, 0, 50, 20], [40, 30, 50, 40]],
        class_id=[0, 2, 2],
        image_size=SIZE,
    )

    assert {0: Edits(moved=1), 1: Edits(renamed=1), 2: Edits(removed=1, added=1)} == edits_of(
        proposed, labels
    )
    assert "3 proposed: 0 kept, 1 moved, 1 renamed, 1 removed; 1 added, agreement 0%" == str(
        sum(edits_of(proposed, labels).values(), Edits())
    )
