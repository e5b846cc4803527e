"""Files of a user: written whole or not at all, and errors that say whose fault it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from driftline.errors import InputError, StoreError

_WRONG_PATH = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def read_whole(path: str | os.PathLike[str], *, what: str) -> bytes:
    """The content of a file.

    Args:
        path: of the file.
        what: what it should hold, for the message.

    Raises:
        InputError: it cannot be read: it is not there, is a folder, or is not yours to read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, TypeError, ValueError) as exc:
        msg = f"{what} {path!r:.300} cannot be read: {exc}"
        raise InputError(msg) from exc


def write_whole(path: str | os.PathLike[str], content: bytes, *, what: str) -> None:
    """Put content under a name in one step: a reader sees the old file or the new, never a part.

    What a symbolic link leads to is replaced, and the link stays.

    Args:
        path: of the file; its folder must be there.
        content: what it shall hold.
        what: what that is, for the message.

    Raises:
        InputError: it cannot be written: no such folder, a folder itself, or not yours to write.
        StoreError: the machine failed, such as a full disk; what was there before stays.
    """
    with writing(path, what=what):
        try:
            target = Path(path)
            device = target.exists() and not target.is_file()
            whole = Path(os.path.realpath(target))
        except (TypeError, ValueError) as exc:  # a null byte, or half of a surrogate pair
            raise _refused(path, exc, what=what) from exc
        if device:  # a pipe or a device takes what comes
            target.write_bytes(content)
        else:
            with placing(whole) as part:
                part.write_bytes(content)


@contextmanager
def writing(path: str | os.PathLike[str], *, what: str) -> Generator[None]:
    """Say whose fault it is when the machine refuses to write.

    Args:
        path: where to.
        what: what is written, for the message.

    Raises:
        InputError: there is no such folder, or it is not yours to write.
        StoreError: the machine failed, such as a full disk.
    """
    try:
        yield
    except _WRONG_PATH as exc:
        raise _refused(path, exc, what=what) from exc
    except OSError as exc:
        msg = f"{what} could not be written to {path!r:.300}: {exc}; what was there before stays"
        raise StoreError(msg) from exc


def _refused(path: str | os.PathLike[str], exc: Exception, *, what: str) -> InputError:
    msg = f"{what} cannot be written to {path!r:.300}: {exc}; pass a path that you may write to"
    return InputError(msg)


@contextmanager
def placing(path: Path) -> Generator[Path]:
    """A file to write, and to look at, that takes a name when the block ends well.

    Else it is removed, and what was there before stays. Its own name begins with a dot, which is
    what a process that is killed leaves behind.

    Args:
        path: the name; its folder must be there.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        _flush(part)
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def placing_folder(path: Path) -> Generator[Path]:
    """A folder to fill that takes a name when the block ends well; else it is removed.

    Where another process was first, its folder stays: look into it if it may be another one.

    Args:
        path: the name; folders above it are made.
    """
    part = path.with_name(f".{path.name}.{token_hex(4)}.part")
    part.mkdir(parents=True)
    try:
        yield part
        _take_name(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _take_name(part: Path, path: Path) -> None:
    try:
        part.replace(path)
    except OSError:
        if not path.exists():  # else another process was first
            raise


def _flush(path: Path) -> None:
    """See that the content is on the disk before the name is, or a power cut could leave it empty."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's umask; it can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
