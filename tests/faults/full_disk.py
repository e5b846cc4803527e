"""A disk that is full, for this process."""

from contextlib import contextmanager

import pytest


@contextmanager
def no_room_beyond(size):
    """Files of this process, and of those it starts, grow to `size` bytes and no further."""
    resource = pytest.importorskip("resource")  # POSIX
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
