"""The edge: what goes out, what comes back, and what never leaves."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
import traceback
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from platform_server import KEY, Answer, HandClock, ScriptedServer

from driftline import _http
from driftline._http import AsyncTransport, Transport, checked_base_url, same_origin
from driftline._secret import Secret
from driftline._wire import Call, Upload
from driftline.errors import ConfigError, InputError, Unreachable


def sync_send(url, *calls, **options):
    with Transport(url, authorization=Secret(KEY), **options) as transport:
        return [transport.send(call) for call in calls][-1]


def async_send(url, *calls, **options):
    async def run():
        async with AsyncTransport(url, authorization=Secret(KEY), **options) as transport:
            return [await transport.send(call) for call in calls][-1]

    return asyncio.run(run())


@pytest.fixture(params=[sync_send, async_send], ids=["sync", "async"])
def send(request):
    return request.param


def frames(exc: BaseException) -> str:
    """Everything a tool that shows local variables could print of an exception and its causes."""
    shown = traceback.TracebackException.from_exception(exc, capture_locals=True)
    text, link = "", shown
    while link is not None:
        text += "".join(str(f.locals) for f in link.stack if "/tests/" not in f.filename)
        text += "".join(link.format_exception_only())
        link = link.__cause__ or link.__context__
    return text


def test_credential_goes_to_its_host(send):
    """The key goes to the base URL's host, with our own headers."""
    with ScriptedServer(lambda _: Answer(json={})) as server:
        send(server.url, Call(method="GET", path="/a"), headers={"user-agent": "driftline/0"})

    headers = server.asked[0].headers
    assert f"Bearer {KEY}" == headers["authorization"]
    assert "driftline/0" == headers["user-agent"]


def test_credential_stays_from_others(send):
    """Another host, or another port, sees neither key nor our headers; nor does a call without."""
    with (
        ScriptedServer(lambda _: Answer(json={})) as own,
        ScriptedServer(lambda _: Answer(json={})) as other,
    ):
        send(
            own.url,
            Call(method="PUT", path=f"{other.url}/signed?sig=1", content=b"x"),
            Call(method="GET", path="/open", credential=False),
            headers={"x-team": "line"},
        )

    assert "authorization" not in other.asked[0].headers
    assert "x-team" not in other.asked[0].headers
    assert b"x" == other.asked[0].body
    assert "authorization" not in own.asked[0].headers


def test_named_origin(send):
    """An origin that the call names may see the key; a neighbour of it may not."""
    with (
        ScriptedServer(lambda _: Answer(json={})) as own,
        ScriptedServer(lambda _: Answer(json={})) as service,
        ScriptedServer(lambda _: Answer(json={})) as third,
    ):
        send(
            own.url,
            Call(method="GET", path=f"{service.url}/predict", credential_origin=service.url),
            Call(method="GET", path=f"{third.url}/predict", credential_origin=service.url),
        )

    assert f"Bearer {KEY}" == service.asked[0].headers["authorization"]
    assert "authorization" not in third.asked[0].headers


def test_named_origin_must_be_encrypted(send):
    """The key goes unencrypted to no host but loopback, whoever named it."""
    call = Call(method="GET", path="http://example.com/x", credential_origin="http://example.com")
    with pytest.raises(InputError, match="unencrypted") as caught:
        send("https://platform.example", call)

    assert KEY not in frames(caught.value)


def test_redirections_are_answers(send):
    """A redirection is handed back, not followed: the key would go along."""
    with ScriptedServer(lambda _: Answer(json={})) as other:
        script = lambda _: Answer(status=302, headers={"Location": f"{other.url}/next"})  # noqa: E731
        with ScriptedServer(script) as server:
            reply = send(server.url, Call(method="GET", path="/a"))

    assert 302 == reply.status
    assert [] == other.asked


def test_redirections_with_a_following_client():
    """An injected client that follows redirections does not do so for us."""
    with ScriptedServer(lambda _: Answer(json={})) as other:
        script = lambda _: Answer(status=302, headers={"Location": f"{other.url}/next"})  # noqa: E731
        with ScriptedServer(script) as server, httpx.Client(follow_redirects=True) as client:
            reply = Transport(server.url, authorization=Secret(KEY), client=client).send(
                Call(method="GET", path="/a")
            )

    assert 302 == reply.status
    assert [] == other.asked


def test_error_replies_do_not_echo_the_key(send):
    """A server that quotes the key in its error does not get it into our reply."""
    script = lambda asked: Answer(  # noqa: E731
        status=401, json={"error": f"bad key {asked.headers['authorization']}"}
    )
    with ScriptedServer(script) as server:
        reply = send(server.url, Call(method="GET", path="/a"))

    assert b'{"error": "bad key Bearer ***"}' == reply.content


def test_multipart(send):
    """Text fields and files travel as multipart; text fields alone as well."""
    with ScriptedServer(lambda _: Answer(json={})) as server:
        upload = Upload(content=b"\x89PNG", filename="image.png", content_type="image/png")
        send(
            server.url,
            Call(method="POST", path="/p", form={"conf": "0.25"}, files={"file": upload}),
            Call(method="POST", path="/p", form={"source": "https://example.com/a.jpg"}),
        )

    with_file, without = server.asked
    assert b'name="conf"\r\n\r\n0.25' in with_file.body
    assert b'filename="image.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG' in with_file.body
    assert without.headers["content-type"].startswith("multipart/form-data")
    assert b'name="source"\r\n\r\nhttps://example.com/a.jpg' in without.body


def test_json_and_params(send):
    """JSON bodies and query parameters arrive as they were given."""
    with ScriptedServer(lambda _: Answer(json={"ok": True})) as server:
        reply = send(
            server.url,
            Call(method="PATCH", path="/p", json={"action": "stop"}, params={"limit": 100}),
        )

    assert b'{"action":"stop"}' == server.asked[0].body.replace(b" ", b"")
    assert {"limit": "100"} == server.asked[0].query
    assert b'{"ok": true}' == reply.content
    assert "application/json" not in reply.headers.get("Content-Type", "")
    assert all(name == name.lower() for name in reply.headers)


def test_connection_refused(send):
    """A connection that never stood is unreachable and was surely not sent."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"GET /a: no reply from 127\.0\.0\.1") as caught:
            send(url, Call(method="GET", path="/a", params={"token": "s3cret"}))

    assert not caught.value.sent
    assert ("GET", "/a", None) == (caught.value.method, caught.value.path, caught.value.status)
    assert caught.value.__context__ is None
    assert KEY not in frames(caught.value)
    assert "s3cret" not in str(caught.value)


def test_read_timeout(send):
    """No answer in time: it may have been done."""
    ended = threading.Event()

    def script(asked):
        assert asked.path == "/first" or ended.wait(60)
        return Answer(json={})

    with ScriptedServer(script) as server:
        # The first call connects: what the second has too little time for is the answer alone.
        calls = [
            Call(method="GET", path="/first"),
            Call(method="GET", path="/a", timeout_seconds=0.05),
        ]
        with pytest.raises(Unreachable, match="GET /a: no reply") as caught:
            send(server.url, *calls)
        ended.set()

    assert caught.value.sent
    assert KEY not in frames(caught.value)


def dripping(parts, machine):
    """A server that sends its reply a byte at a time; by the machine's clock each takes a second."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % parts)
                for _ in range(parts):
                    connection.sendall(b"x")
                    machine.sleep(1)
            except OSError:
                pass  # the client has left, as it should

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


def test_dripping_reply(send, monkeypatch):
    """A reply that never ends although bytes keep coming is given up."""
    machine = HandClock()
    monkeypatch.setattr(_http, "_MACHINE", machine)
    listener, thread = dripping(100_000, machine)
    try:
        with pytest.raises(Unreachable, match=r"not complete 60 s after it began"):
            send(
                f"http://127.0.0.1:{listener.getsockname()[1]}",
                Call(method="GET", path="/a", timeout_seconds=60),
            )
    finally:
        listener.close()
        thread.join()


def test_endless_reply(send, monkeypatch):
    """A reply that is too long is not read to its end."""
    monkeypatch.setattr(_http, "LONGEST_REPLY_BYTES", 1000)
    with ScriptedServer(lambda _: Answer(body=b"x" * 5000)) as server:
        with pytest.raises(Unreachable, match="longer than 1000 bytes"):
            send(server.url, Call(method="GET", path="/a"))


def test_unreadable_encoding(send):
    """A body that does not decompress is a failure of the other side, not a crash."""
    script = lambda _: Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"})  # noqa: E731
    with ScriptedServer(script) as server, pytest.raises(Unreachable):
        send(server.url, Call(method="GET", path="/a"))


def test_bad_path(send):
    """A path that is no URL is an error of ours by name."""
    with pytest.raises((Unreachable, InputError)):
        send("http://127.0.0.1:9", Call(method="GET", path="/a\x00b"))


def test_interrupts_carry_no_headers(monkeypatch):
    """Ctrl-C in the middle of a call leaves without the frames that hold the key."""

    def interrupted(request):
        held = request.headers["authorization"]
        raise KeyboardInterrupt(len(held))

    client = httpx.Client(transport=httpx.MockTransport(interrupted))
    with client, pytest.raises(KeyboardInterrupt) as caught:
        Transport("https://platform.example", authorization=Secret(KEY), client=client).send(
            Call(method="GET", path="/a")
        )

    assert KEY not in frames(caught.value)


def test_cancellation_carries_no_headers():
    """So does a cancelled task."""

    async def run():
        asked = asyncio.Event()

        async def stuck(request):
            held = str(request.headers["authorization"])
            asked.set()
            await asyncio.Event().wait()
            return held

        async with httpx.AsyncClient(transport=httpx.MockTransport(stuck)) as client:
            transport = AsyncTransport(
                "https://platform.example", authorization=Secret(KEY), client=client
            )
            task = asyncio.create_task(transport.send(Call(method="GET", path="/a")))
            await asyncio.wait_for(asked.wait(), 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            return caught.value

    assert KEY not in frames(asyncio.run(run()))


def test_frames_of_the_caller_stay():
    """What the caller was handling when it called keeps its frames."""

    def interrupted(request):
        raise KeyboardInterrupt

    caught = None
    client = httpx.Client(transport=httpx.MockTransport(interrupted))
    transport = Transport("https://platform.example", authorization=Secret(KEY), client=client)
    with client:
        try:
            try:
                raise ValueError("the caller's own")
            except ValueError as exc:
                caught = exc
                transport.send(Call(method="GET", path="/a"))
        except KeyboardInterrupt as exc:
            assert exc.__context__ is caught

    assert caught.__traceback__ is not None


def test_groups_carry_no_headers():
    """A group of exceptions leaves without the frames of its members."""

    def failing(request):
        held = str(request.headers["authorization"])
        try:
            raise ValueError(len(held))
        except ValueError as exc:
            raise ExceptionGroup("several", [exc])  # noqa: B904 - the context is part of the test

    client = httpx.Client(transport=httpx.MockTransport(failing))
    with client, pytest.raises(ExceptionGroup) as caught:
        Transport("https://platform.example", authorization=Secret(KEY), client=client).send(
            Call(method="GET", path="/a")
        )

    assert caught.value.exceptions[0].__traceback__ is None
    assert KEY not in frames(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "@other.example/x",
        "https://platform.example@other.example/x",
        "https://platform.example.other.example/x",
        "https://platform.example:444/x",
        "http://platform.example/x",
        "https://platform.example\\@other.example/x",
    ],
)
def test_look_alikes(path):
    """A URL that only looks like the base does not see the key."""
    seen = []

    def keep(request):
        seen.append(request)
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(keep)) as client:
        try:
            Transport("https://platform.example", authorization=Secret(KEY), client=client).send(
                Call(method="GET", path=path)
            )
        except (InputError, Unreachable):
            return

    # httpx makes a "Basic" of its own out of the user in a URL; ours is not in it.
    assert all(KEY not in str(list(request.headers.items())) for request in seen)
    assert all(
        not request.headers.get("authorization", "").startswith("Bearer") for request in seen
    )


def test_logs_hold_no_key(send, caplog):
    """Nothing of the key is logged, by us or by httpx, at any level."""
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(lambda _: Answer(json={})) as server:
        send(server.url, Call(method="GET", path="/a"))

    assert caplog.records
    assert KEY not in caplog.text


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_without_proxy(send, monkeypatch, name):
    """A proxy of the environment sees no key that goes to loopback unencrypted."""
    with ScriptedServer(lambda _: Answer(json={})) as proxy:
        monkeypatch.setenv(name, proxy.url)
        with ScriptedServer(lambda _: Answer(json={})) as server:
            send(server.url, Call(method="GET", path="/a"))

    assert [] == proxy.asked
    assert 1 == len(server.asked)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "ftp://user:hunter2@proxy.example", "Unknown scheme"),
        ("ALL_PROXY", "http://user:hunter2/x@proxy.example", "does not parse"),
        ("HTTPS_PROXY", "http://user:hunter2\x07@proxy.example", "does not parse"),
        ("SSL_CERT_FILE", "/nowhere/at-all.pem", "SSL_CERT_FILE"),
    ],
)
def test_environment_that_cannot_be(send, monkeypatch, name, value, words):
    """What the environment asks of connections and cannot be is named, without a proxy's password."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words) as caught:
        send("https://platform.example", Call(method="GET", path="/a"))

    assert "hunter2" not in f"{caught.value}{caught.value.__context__}{caught.value.__cause__}"


def test_waits(send):
    """It waits as long as the call asks, then for its turn, and only then sends."""
    clock = HandClock()
    seen = []

    def pace(call):
        seen.append(clock.time)
        return 2.0

    with ScriptedServer(lambda _: Answer(json={})) as server:
        send(server.url, Call(method="GET", path="/a", after_seconds=3.0), clock=clock, pace=pace)

    assert [3.0, 2.0] == clock.slept
    assert [3.0] == seen


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com", "must begin with https"),
        ("platform.ultralytics.com", "must begin with https"),
        ("https://", "must begin with https"),
        ("http://[", "does not parse"),
        ("https://example.com:port", "does not parse"),
        ("https://me:pw@example.com", "must not carry credentials"),
        ("http://example.com", "unencrypted"),
    ],
)
def test_bad_base_url(url, words):
    """A base URL that cannot be used, or would give the key away, is refused at once."""
    with pytest.raises(InputError, match=words) as caught:
        Transport(url, authorization=Secret(KEY))

    assert "pw" not in str(caught.value)


def test_base_url():
    """A trailing slash is dropped; loopback needs no encryption, nor does a call without a key."""
    assert "https://example.com/x" == checked_base_url("https://example.com/x/", credential=True)
    assert "http://[::1]:8" == checked_base_url("http://[::1]:8", credential=True)
    assert "http://example.com" == checked_base_url("http://example.com", credential=False)
    assert same_origin("https://example.com/a", "https://EXAMPLE.com/b")
    assert not same_origin("https://example.com", "http://example.com")


def test_one_client_for_many_threads():
    """Threads that send the first call at once open one client, not several."""
    opened = []

    class Counting(httpx.Client):
        def __init__(self, *args, **options):
            opened.append(self)
            time.sleep(0.02)
            super().__init__(*args, **options)

    with pytest.MonkeyPatch.context() as patch, ScriptedServer(lambda _: Answer(json={})) as server:
        patch.setattr(_http.httpx, "Client", Counting)
        with Transport(server.url, authorization=Secret(KEY)) as transport:
            call = Call(method="GET", path="/a")
            threads = [threading.Thread(target=transport.send, args=(call,)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    assert 1 == len(opened)
    assert 6 == len(server.asked)


def test_two_event_loops():
    """One transport serves `asyncio.run` twice: connections of a closed loop are left behind."""
    with ScriptedServer(lambda _: Answer(json={})) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the first loop took its sockets along
        transport = AsyncTransport(server.url, authorization=Secret(KEY))

        loops = []

        async def once(*, close):
            loops.append(weakref.ref(asyncio.get_running_loop()))
            reply = await transport.send(Call(method="GET", path="/a"))
            if close:
                await transport.aclose()
            gc.collect()
            return reply.status

        assert 200 == asyncio.run(once(close=False))
        assert 200 == asyncio.run(once(close=True))
        assert loops[0]() is None


def test_event_loops_side_by_side():
    """Loops in several threads share a transport: none waits on a connection of another's."""

    async def many(transport):
        call = Call(method="GET", path="/a")
        for _ in range(3):
            await asyncio.gather(*(transport.send(call) for _ in range(5)))
        await transport.aclose()

    with ScriptedServer(lambda _: Answer(json={})) as server:
        transport = AsyncTransport(server.url, authorization=Secret(KEY))
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(asyncio.run, many(transport)) for _ in range(4)]
            assert [None] * 4 == [one.result(timeout=60) for one in done]

    assert 60 == len(server.asked)


def test_closed_in_use():
    """Calls under way go on while another thread closes the transport, and later ones open it anew."""
    over = threading.Event()

    def close():
        while not over.is_set():
            transport.close()
            time.sleep(0.05)

    def use():
        return [transport.send(Call(method="GET", path="/a")).status for _ in range(10)]

    with ScriptedServer(lambda _: Answer(json={})) as server:
        transport = Transport(server.url, authorization=Secret(KEY))
        closer = threading.Thread(target=close)
        closer.start()
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(use) for _ in range(4)]
            assert [[200] * 10] * 4 == [one.result(timeout=60) for one in done]
        over.set()
        closer.join()
        transport.close()

    assert 40 == len(server.asked)


@pytest.mark.parametrize("client", [httpx.Client, httpx.AsyncClient])
def test_closed_before(client):
    """A call over a client that its owner has closed is refused as never sent."""
    given = client()
    call = Call(method="GET", path="/a")
    with pytest.raises(Unreachable, match="closed") as caught:
        if isinstance(given, httpx.Client):
            given.close()
            Transport("https://platform.example", client=given).send(call)
        else:
            asyncio.run(given.aclose())
            asyncio.run(AsyncTransport("https://platform.example", client=given).send(call))

    assert not caught.value.sent


def test_injected_client_stays_open(send):
    """A client that was passed in is used as it is, and not closed."""
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(204))) as client:
        with Transport("https://platform.example", client=client) as transport:
            assert 204 == transport.send(Call(method="GET", path="/a")).status

        assert not client.is_closed


def test_reprs():
    """A transport says where it leads, never the key."""
    transport = Transport("https://platform.example", authorization=Secret(KEY))

    assert "Transport('https://platform.example')" == repr(transport)
