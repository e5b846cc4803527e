"""Files are there whole or not at all, wherever their name leads."""

import os
import sys
from pathlib import Path

import pytest

from driftline._files import placing, placing_folder, read_whole, write_whole
from driftline.errors import InputError, StoreError
from driftline.holdout import Manifest
from driftline.reports import Exported, WeeklyReport

WRITERS = {
    "manifest": Manifest(class_names={0: "cup"}, frames={}).save,
    "rules": Exported(text="groups: []\n").write,
    "page": WeeklyReport(title="Week", detail="all", sections=()).write,
    "any": lambda path: write_whole(path, b"a", what="the file"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
@pytest.mark.parametrize("name", ["missing/file", "file/below", "a\0b", "\ud800", 3, None])
def test_a_path_that_cannot_be_used(write, name, tmp_path, monkeypatch):
    """The message names it; nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(InputError, match=r"path|cannot be written"):
        write(name)

    assert [tmp_path / "file"] == list(tmp_path.iterdir())


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
def test_a_full_disk_keeps_the_old_file(write, tmp_path, monkeypatch):
    """It is the machine's fault, and nothing lies beside the file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write(path)

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")
def test_a_link_stays_a_link(tmp_path):
    """What it leads to is replaced."""
    (tmp_path / "data").mkdir()
    link = tmp_path / "newest"
    link.symlink_to(tmp_path / "data" / "week-45")
    write_whole(link, b"a", what="the file")

    assert link.is_symlink()
    assert b"a" == read_whole(tmp_path / "data" / "week-45", what="the file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_takes_what_comes(tmp_path):
    """Neither a pipe nor a device is replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, b"abc", what="the file")
        found = os.read(reader, 9)
    finally:
        os.close(reader)

    assert b"abc" == found
    assert Path(pipe).is_fifo()


def test_a_file_that_is_refused_takes_no_name(tmp_path):
    """What was looked at and found wrong is gone, and the old file stays."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="no picture"), placing(path) as part:
        part.write_bytes(b"new")
        raise InputError("no picture")

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    """It takes its name at the end, with all that is in it; after an error nothing is left."""
    path = tmp_path / "above" / "folder"
    with pytest.raises(OSError, match="No space left"), placing_folder(path) as part:
        (part / "file").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    assert [] == list(path.parent.iterdir())

    with placing_folder(path) as part:
        (part / "file").write_bytes(b"whole")

        assert not path.exists()

    assert b"whole" == (path / "file").read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_the_first_of_two_folders_stays(tmp_path):
    """Who comes second finds the other's, and leaves nothing beside it."""
    path = tmp_path / "folder"
    with placing_folder(path) as second:
        (second / "file").write_bytes(b"second")
        with placing_folder(path) as first:
            (first / "file").write_bytes(b"first")

    assert b"first" == (path / "file").read_bytes()
    assert [path] == list(tmp_path.iterdir())
