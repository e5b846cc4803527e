"""A credential that cannot be printed by accident."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from driftline._secret import Secret
from driftline.errors import InputError, MissingCredential

KEY = "ul_0123456789abcdef0123456789abcdef01234567"


def locals_shown(exc: BaseException) -> str:
    """The traceback as a tool that shows local variables prints it, of Driftline's frames only.

    Frames of the test itself hold the key by design.
    """
    shown = traceback.TracebackException.from_exception(exc, capture_locals=True)
    frames = [frame for frame in shown.stack if "/tests/" not in frame.filename]
    return "".join(str(frame.locals) for frame in frames) + str(exc) + repr(exc)


def test_masked():
    """repr, str and formatting show a mask; reveal shows the credential."""
    secret = Secret(KEY)

    assert KEY == secret.reveal()
    assert all(KEY not in text for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}"))
    assert "Bearer ***" == secret.redact(f"Bearer {KEY}")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_not_copied(copied):
    """It can be neither pickled nor copied into a file's way."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        copied(Secret(KEY))


@pytest.mark.parametrize("value", ["", f"{KEY}\n", f"Bearer {KEY}", f"{KEY}\x00", f"{KEY}é"])
def test_refused(value):
    """What cannot go into a header is refused, and no frame that raises still holds it."""
    with pytest.raises(InputError, match="printable ASCII") as caught:
        Secret(value)

    assert KEY not in locals_shown(caught.value)


def test_argument_first(monkeypatch):
    """The argument counts, then the environment, then there is none."""
    monkeypatch.setenv("SOME_KEY", "from-environment")

    def found(value):
        return Secret.from_argument(value, variable="SOME_KEY", what="key").reveal()

    assert "given" == found("given")
    assert "given" == found(Secret("given"))
    assert "from-environment" == found(None)
    with pytest.raises(MissingCredential, match="SOME_KEY"):
        found("")
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(MissingCredential, match="no key was passed"):
        found(None)


def test_argument_not_in_frames(monkeypatch):
    """A malformed credential is in no local variable of the traceback, wherever it came from."""
    monkeypatch.setenv("SOME_KEY", f"{KEY} ")
    for value in (f"{KEY} ", None):
        with pytest.raises(InputError) as caught:
            Secret.from_argument(value, variable="SOME_KEY", what="key")

        assert KEY not in locals_shown(caught.value)
