"""HTTP/1.1 on loopback: reads requests to their end, writes replies whole, or damaged as asked.

One thread a connection, a bounded number of connections, and nothing left behind on `close`:
every socket is closed and every thread joined.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from driftline.testing._platform._router import Request, Response

Answer = Callable[[Request], Response]

MAX_CONNECTIONS: Final = 128
_JSON: Final = "application/json"
_GARBAGE: Final = b'{"deployments": [{"id": "0000'
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_CHUNK: Final = 1 << 16
_DRAIN_FACTOR: Final = 4
"""An oversized body is read up to this many times the limit, so that its sender hears the 413."""


class Server(HTTPServer):
    """Serves `answer` on a free port of 127.0.0.1."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, answer: Answer, *, request_id: Callable[[], str], max_body: int, hang_seconds: float
    ) -> None:
        """Bind; `open` serves."""
        super().__init__(("127.0.0.1", 0), Connection)
        self.answer = answer
        self.request_id = request_id
        self.max_body = max_body
        self.hang_seconds = hang_seconds
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._live: set[socket.socket] = set()
        self._conversing: list[threading.Thread] = []  # a little longer than its connection lives
        self._accepting = threading.Thread(
            target=self.serve_forever, args=(0.02,), name="driftline-local-platform", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def open(self) -> None:
        """Serve until `close`."""
        self._accepting.start()

    def close(self) -> None:
        """Stop accepting, end every conversation, and wait until nothing is left."""
        self.closing.set()
        self.shutdown()
        self._accepting.join()
        with self._lock:
            live = set(self._live)
        for connection in live:
            _quietly(connection.shutdown, socket.SHUT_RDWR)
        for thread in self._conversing:
            thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own; one too many is closed without a word."""
        with self._lock:
            if len(self._live) < MAX_CONNECTIONS:
                thread = threading.Thread(
                    target=self._converse, args=(request, client_address), daemon=True
                )
                self._live.add(request)
                self._conversing = [t for t in self._conversing if t.is_alive()]
                self._conversing.append(thread)
                thread.start()
                return
        request.close()

    def _converse(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except (ConnectionError, TimeoutError):
            pass  # The other side went away; there is nobody left to tell.
        finally:
            with self._lock:
                self._live.remove(request)
            request.close()


class Connection(BaseHTTPRequestHandler):
    """One connection: requests one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = "driftline-local"
    disable_nagle_algorithm = True
    timeout = 60

    @property
    def _local(self) -> Server:
        if not isinstance(self.server, Server):
            msg = f"a connection of {type(self.server).__name__}"
            raise TypeError(msg)
        return self.server

    def _serve(self) -> None:
        try:
            request = self._request()
        except ValueError:  # a length that is no number: where the next request begins is unknown
            self.close_connection = True
            self._send(Response(status=400, body={"error": "Invalid request"}))
            return
        self._send(self._answer(request))

    def _answer(self, request: Request) -> Response:
        try:
            return self._local.answer(request)
        except Exception as exc:  # noqa: BLE001 - the border of a server: a fault of one call is its 500
            said = f"Internal server error: {type(exc).__name__}: {exc}"
            return Response(status=500, body={"error": said})

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815 - the names http.server calls

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body, oversized = self._body(headers)
        return Request(
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=headers,
            body=body,
            oversized=oversized,
        )

    def _body(self, headers: dict[str, str]) -> tuple[bytes, bool]:
        """The whole body; of one that is too large nothing, and that it was."""
        pieces: list[bytes] = []
        size, limit = 0, self._local.max_body
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        source = self._chunks() if chunked else self._blocks(int(headers.get("content-length", 0)))
        for piece in source:
            size += len(piece)
            if size <= limit:
                pieces.append(piece)
            elif size > limit * _DRAIN_FACTOR:
                self.close_connection = True
                break
        return (b"", True) if size > limit else (b"".join(pieces), False)

    def _blocks(self, left: int) -> Iterator[bytes]:
        while left > 0:
            piece = self.rfile.read(min(left, _CHUNK))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        """A body in chunks (RFC 9112, 7.1)."""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield from self._blocks(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send(self, response: Response) -> None:
        if response.damage in {"hang", "reset"}:
            self._lose(hang=response.damage == "hang")
            return
        body = response.content
        if body is None:
            body = json.dumps(response.body, separators=(",", ":")).encode()
        if response.damage == "malformed":
            body = _GARBAGE
        length = len(body)
        if response.damage == "truncated":
            body = body[: max(1, length // 2)]
            self.close_connection = True
        head = self._head(response, length)
        # Head and body in one write: two would wait for each other (Nagle, delayed ACK).
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def _head(self, response: Response, length: int) -> bytes:
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": _JSON,
            "Content-Length": str(length),
            "x-request-id": self._local.request_id(),
            **response.headers,
        }
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"{self.protocol_version} {response.status} {_REASONS.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _lose(self, *, hang: bool) -> None:
        """Say nothing, then end the connection: with a reset, or after a hang without a word."""
        self.close_connection = True
        if hang:
            self._hang()
        else:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _hang(self) -> None:
        """Wait until the client gives up, the platform closes, or the bound is reached."""
        until = time.monotonic() + self._local.hang_seconds
        self.connection.settimeout(0.05)
        while time.monotonic() < until and not self._local.closing.is_set():
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return
                self._local.closing.wait(0.05)
            except TimeoutError:
                continue

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of its base
        """Write nothing to stderr: calls are kept in `LocalPlatform.calls`."""


def _quietly(act: Callable[..., object], *args: object) -> None:
    """Do something to a socket that may be gone already."""
    with contextlib.suppress(OSError):
        act(*args)
