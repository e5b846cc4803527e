"""The key goes where it must and shows nowhere."""

from __future__ import annotations

import io
import logging
import traceback
import zipfile
from datetime import datetime, timedelta

import httpx
import numpy as np
import pytest
from platform_server import KEY, Answer, Face, deployment_row

from driftline._wire import Call
from driftline.errors import DriftlineError, InputError, MissingCredential
from driftline.platform import AsyncPlatformClient, PlatformClient, Retry
from driftline.platform._images import encode_png
from driftline.testing import LocalPlatform

FACES = [PlatformClient, AsyncPlatformClient]


def everything_shown(exc: BaseException) -> str:
    """What a tool that prints tracebacks with local variables shows, of Driftline's frames."""
    shown = traceback.TracebackException.from_exception(exc, capture_locals=True)
    text, link = "", shown
    while link is not None:
        text += "".join(str(f.locals) for f in link.stack if "/tests/" not in f.filename)
        text += "".join(link.format_exception_only())
        link = link.__cause__ or link.__context__
    return text


@pytest.mark.parametrize("kind", FACES)
def test_from_environment(kind, monkeypatch):
    """Key and address come from the environment where they are not passed."""
    monkeypatch.setenv("ULTRALYTICS_API_KEY", KEY)
    monkeypatch.setenv("ULTRALYTICS_PLATFORM_URL", "https://eu.example/")
    assert "https://eu.example" in repr(kind())

    monkeypatch.delenv("ULTRALYTICS_PLATFORM_URL")
    assert "https://platform.ultralytics.com" in repr(kind())

    monkeypatch.delenv("ULTRALYTICS_API_KEY")
    with pytest.raises(MissingCredential, match="ULTRALYTICS_API_KEY"):
        kind()


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": f"{KEY}\n"},
        {"api_key": KEY.encode()},
        {"base_url": "http://platform.example"},
        {"base_url": "nowhere"},
        {"owner": "Not An Owner"},
        {"base_url": 8080},
        {"base_url": "https://platform.example/?tenant=1"},
        {"rate_limits": {"default": -1}},
        {"rate_limits": {"default": "many"}},
        {"rate_limits": {"defualt": 50}},
        {"timeout": timedelta(0)},
        {"timeout": 30},
        {"metrics_lag": 120},
        {"retry": 3},
        {"clock": datetime.now},
    ],
)
def test_not_in_frames_of_the_constructor(kind, wrong):
    """A client that cannot be made says which argument, and leaves the key in no frame."""
    with pytest.raises(InputError) as caught:
        kind(**{"api_key": KEY, **wrong})

    assert KEY not in everything_shown(caught.value)
    name = next(iter(wrong))
    assert name in str(caught.value) or name in {"api_key", "base_url"}


def test_wrong_clock_harms_no_other_client():
    """Clients of one process share their pace; one that could not be made is no part of that."""
    with pytest.raises(InputError, match="monotonic"):
        PlatformClient(KEY, clock=datetime.now)

    assert PlatformClient(f"{KEY}2")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=401, json={"error": f"Key {KEY} is revoked"}),
        Answer(status=403, body=f"<html>{KEY}</html>".encode()),
        Answer(status=302, headers={"Location": f"https://{KEY}.example/?key={KEY}"}),
        Answer(status=500, headers={"x-request-id": f"req-{KEY}"}),
        Answer(status=302, json={"error": f"Bearer {KEY}"}),
        Answer(status=401, headers={"x-request-id": KEY}),
        Answer(status=401, body=rb'{"error": "\u0075%b"}' % KEY[1:].encode()),
        Answer(body=f"not json {KEY}".encode()),
        Answer(body=f"{'x' * 20} {KEY} {KEY}".encode()),
        Answer(json={"deployment": {"name": f"{'x' * 60}{KEY}"}, "region": KEY}),
        Answer(json={"deployment": deployment_row(status=KEY), "region": "us"}),
        httpx.ConnectError(f"cannot send Bearer {KEY}"),
        httpx.ReadTimeout("slow"),
    ],
)
def test_not_in_errors(face, answer):
    """No error shows the key, not even when the other side quotes it."""
    client = face(lambda _: answer, retry=Retry(attempts=1))
    with pytest.raises(DriftlineError) as caught:
        client.deployment("acme/line-3")

    error = caught.value
    assert KEY not in everything_shown(error)
    assert KEY[:12] not in f"{error} {error!r}"  # nor the beginning of one that was cut off
    assert all(KEY[:12] not in str(value) for value in vars(error).values())


def test_not_in_logs(face, caplog):
    """No log line of ours, of httpx or of its parts holds the key."""
    caplog.set_level(logging.DEBUG)
    body = {"deployments": [deployment_row()], "total": 7, "region": "us"}
    face(lambda _: Answer(json=body)).deployments()

    assert caplog.records
    assert KEY not in caplog.text


def test_signed_address_not_in_logs(caplog):
    """Whoever has a signed address may write there: its query is in no log line, and in no repr."""
    caplog.set_level(logging.DEBUG)
    with LocalPlatform() as local, PlatformClient(local.api_key, base_url=local.url) as client:
        client.datasets.create("boxes")
        client.datasets.upload("boxes", archive_of_one(), split="train")

    assert "PUT" in caplog.text
    assert "signature" not in caplog.text
    assert "signature" not in repr(Call(method="PUT", path="https://bucket.example/a?signature=s"))


def archive_of_one() -> bytes:
    """A zip of one picture."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("images/a.png", encode_png(np.zeros((32, 32, 3), dtype=np.uint8)))
    return content.getvalue()


def test_not_in_reprs():
    """No repr along the way holds it."""
    client = Face("sync", lambda _: Answer())
    parts = [client.client, client.client._transport, client.client._core, vars(client.client)]
    client.shut()

    assert all(KEY not in repr(part) for part in parts)


def test_every_call_carries_it(face):
    """It goes with every call, and we say who we are."""
    client = face(lambda _: Answer(json={"username": "jane"}), owner=None)
    client.owner()

    assert f"Bearer {KEY}" == client.calls[0].headers["authorization"]
    assert client.calls[0].headers["user-agent"].startswith("driftline/")
    assert KEY not in client.calls[0].path + str(client.calls[0].query)


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize(
    "url",
    [f"user:{KEY}@host", f"https:/user:{KEY}@host", f"https://host?{KEY}", f"https://host:{KEY}"],
)
def test_not_quoted_from_an_address(kind, url):
    """An address that holds a credential is refused without quoting it."""
    with pytest.raises(InputError) as caught:
        kind("ul_other", base_url=url)

    assert KEY not in str(caught.value)
